// What doc/drivers.md says of JDBC.
import java.sql.*;
import java.util.*;

class Says {
    static void says(String what, Object value) {
        System.out.println(what + ": " + value);
    }

    // what a query answers in its first column, or its SQLSTATE
    static Object answer(Connection db, String sql, Object... values) {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++)
                statement.setObject(i + 1, values[i]);
            ResultSet rows = statement.executeQuery();
            return rows.next() ? rows.getObject(1) : null;
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    static Connection connect(String port, String options) throws SQLException {
        Map<String, String> env = System.getenv();
        return DriverManager.getConnection("jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get(port) + "/"
            + env.get("PGDATABASE") + options, env.get("PGUSER"), env.get("PGPASSWORD"));
    }

    static UUID newSession(Connection db) throws SQLException {
        return (UUID) answer(db, "INSERT INTO session (user_id, workspace_id) VALUES (1, 1) RETURNING id");
    }

    public static void main(String[] args) throws Exception {
        String acquire = "SELECT credential_name FROM egress.egress_acquire_credential(?, ?, 1, ?)";
        String renew = "SELECT egress.egress_renew_lease(?, make_interval(secs => ?))";
        String enums = "SELECT name FROM egress.egress_provider WHERE egress_provider_id = 1 AND provider_type = ?";
        String sync = "SELECT action FROM egress.egress_sync_gateways(900, ?)";
        String list = "[{\"name\": \"one\", \"country\": \"SE\"}]";
        Connection db = connect("PGPORT", ""), unspecified = connect("PGPORT", "?stringtype=unspecified");
        UUID one = newSession(db), two = newSession(db);

        says("ids are a long, null and a UUID", answer(db, acquire, 1L, null, one));
        says("NG004", answer(db, acquire, 1L, null, two));
        says("a bigint is", answer(db, "SELECT egress_gateway_id FROM egress.egress_available_gateways(1)").getClass().getName());
        says("an enum is", answer(db, "SELECT provider_type FROM egress.egress_available_gateways(1)").getClass().getName());
        says("a String is assigned to an enum", answer(db, "UPDATE egress.egress_provider SET credential_order = ?"
            + " WHERE egress_provider_id = 900 RETURNING credential_order", "spread"));
        says("a String is compared with an enum", answer(db, enums, "openvpn"));
        says("... with a cast", answer(db, enums + "::egress.egress_provider_type", "openvpn"));
        says("... with stringtype=unspecified", answer(unspecified, enums, "openvpn"));
        says("a list", answer(db, sync, list));
        says("... with a cast", answer(db, sync.replace("?", "?::jsonb"), list));
        says("... with stringtype=unspecified", answer(unspecified, sync, list));
        String ttl = "SELECT egress.egress_renew_lease(?, ?) IS NOT NULL";
        says("a ttl", answer(db, ttl, one, "90 seconds"));
        says("... with a cast", answer(db, ttl.replace("?)", "?::interval)"), one, "90 seconds"));
        says("... with stringtype=unspecified", answer(unspecified, ttl, one, "90 seconds"));
        says("a session id as a String, with stringtype=unspecified", answer(unspecified, ttl, one.toString(), "90 seconds"));
        says("countries and ids as arrays", answer(db,
            "SELECT gateway_name FROM egress.egress_acquire_gateway(?, ?, ?, countries => ?, avoid => ?)",
            1L, null, one, db.createArrayOf("text", new String[] { "NL" }), db.createArrayOf("bigint", new Long[] { 2L })));
        says("a lease without an end", answer(db, "SELECT egress.egress_renew_lease(?, NULL)", one).equals(
            new Timestamp(org.postgresql.PGStatement.DATE_POSITIVE_INFINITY)) ? "DATE_POSITIVE_INFINITY" : "a date");

        // two clients, who share the pooler's connection, each with the same statement again and again
        for (String options : new String[] { "?prepareThreshold=0", "" }) {
            Connection[] clients = { connect("POOLER_PORT", options), connect("POOLER_PORT", options) };
            Object outcome = "works";
            for (int i = 0; i < 10; i++)
                for (Connection client : clients) {
                    Object answer = answer(client, renew, one, 60);
                    if (!(answer instanceof Timestamp) && outcome.equals("works"))
                        outcome = answer + ", the " + (i + 1) + "th time";
                }
            says("through pgbouncer, " + (options.isEmpty() ? "as it is" : options.substring(1)), outcome);
        }
        db.createStatement().execute("UPDATE session SET status = 'stopped'");
    }
}
