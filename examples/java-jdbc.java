// java-jdbc.java -- a session and its lease, with PostgreSQL's JDBC driver
//
//   PGHOST=... PGPORT=... PGUSER=... PGPASSWORD=... PGDATABASE=... java -cp postgresql.jar java-jdbc.java USER WORKSPACE GATEWAY TTL
//
// Debian: default-jdk-headless, libpostgresql-jdbc-java. Ids are long, int and UUID; world.sql has the tables.
import java.sql.*;
import java.util.*;

class Session {
    static Connection db;

    static PreparedStatement prepare(String sql, Object... values) throws SQLException {
        PreparedStatement statement = db.prepareStatement(sql);
        for (int i = 0; i < values.length; i++)
            statement.setObject(i + 1, values[i]);
        return statement;
    }

    // The session's row and its lease, both or neither. When all connections are taken, again after a while, and a longer one.
    static UUID start(long user, int workspace, long gatewayId, int ttl) throws Exception {
        for (int attempt = 0; ; attempt++) {
            UUID session = UUID.randomUUID();
            db.setAutoCommit(false);
            try {
                prepare("INSERT INTO session (id, user_id, workspace_id) VALUES (?, ?, ?)", session, user, workspace).execute();
                ResultSet lease = prepare("SELECT credential_name, config"
                    + " FROM egress.egress_acquire_credential(?, ?, ?, ?, make_interval(secs => ?))",
                    user, workspace, gatewayId, session, ttl).executeQuery();
                lease.next();
                db.commit();
                db.setAutoCommit(true);
                System.out.printf("session %s has %s, and a config of %d characters%n",
                    session, lease.getString("credential_name"), lease.getString("config").length());
                return session;
            } catch (SQLException error) {
                // these fail too when the connection is gone, and what was first says why
                try { db.rollback(); db.setAutoCommit(true); } catch (SQLException next) { error.addSuppressed(next); }
                if (!"NG004".equals(error.getSQLState()) || attempt == 9)
                    throw error;
            }
            System.out.println("full: again");
            Thread.sleep((long) (100 * Math.pow(2, attempt) * (0.5 + Math.random())));
        }
    }

    public static void main(String[] args) throws Exception {
        long user = Long.parseLong(args[0]);
        int workspace = Integer.parseInt(args[1]), ttl = Integer.parseInt(args[3]);
        Map<String, String> env = System.getenv();
        // prepareThreshold: a pooler in transaction mode gives a transaction another connection, without what was prepared before
        db = DriverManager.getConnection("jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/"
            + env.get("PGDATABASE") + "?prepareThreshold=0", env.get("PGUSER"), env.get("PGPASSWORD"));

        // the launch menu: null is any number of connections, 0 a full gateway
        Map<String, Long> ids = new HashMap<>();
        StringJoiner menu = new StringJoiner(", ", "menu: ", "");
        ResultSet row = prepare("SELECT * FROM egress.egress_available_gateways(?, ?)", user, workspace).executeQuery();
        while (row.next()) {
            ids.put(row.getString("gateway_name"), row.getLong("egress_gateway_id"));
            Object available = row.getObject("available_connections");
            menu.add(row.getString("gateway_name") + " (" + (available == null ? "any" : available) + ")");
        }
        System.out.println(menu);
        UUID session = start(user, workspace, ids.get(args[2]), ttl);

        // A renewal each third of the ttl, while the session runs: here for a whole one. null: too late, or it was ended by hand.
        for (int renewal = 0; renewal < 3; renewal++) {
            Thread.sleep(1000L * ttl / 3);
            row = prepare("SELECT egress.egress_renew_lease(?, make_interval(secs => ?))", session, ttl).executeQuery();
            row.next();
            Timestamp until = row.getTimestamp(1);
            System.out.println(until == null ? "the lease is over: stop the tunnel" : "renewed until " + until.toInstant());
            if (until == null)
                break;
        }
        prepare("UPDATE session SET status = 'stopped' WHERE id = ?", session).execute();   // the trigger ends the lease
        System.out.println("stopped");
    }
}
