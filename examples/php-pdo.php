<?php
// php-pdo.php -- a session and its lease, with PDO
//
//   PGHOST=... PGUSER=workspaces PGPASSWORD=... PGDATABASE=... php php-pdo.php USER WORKSPACE GATEWAY TTL
//
// Debian: php-cli, php-pgsql. A bigint is an int, a uuid a string. world.sql makes the role and the tables.

[, $user, $workspace, $gateway, $ttl] = $argv;

// The parameters of the connection are those of libpq, from the environment. DISABLE_PREPARES: a pooler in transaction mode
// gives each transaction another connection, on which the statements prepared before are not.
$db = new PDO('pgsql:', null, null, [
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_OBJ,
    PDO::PGSQL_ATTR_DISABLE_PREPARES => true,
]);

function query(string $sql, ...$values): PDOStatement
{
    global $db;
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement;
}

// The session's row and its lease, both or neither. When all connections are taken, again after a while, and a longer one.
function start_session($user, $workspace, int $gateway_id, $ttl): string
{
    global $db;
    for ($attempt = 0; ; $attempt++) {
        try {
            $db->beginTransaction();
            $session = query('INSERT INTO session (user_id, workspace_id) VALUES (?, ?) RETURNING id',
                $user, $workspace)->fetchColumn();
            $lease = query('SELECT credential_name, config
                FROM egress.egress_acquire_credential(?, ?, ?, ?, make_interval(secs => ?))',
                $user, $workspace, $gateway_id, $session, $ttl)->fetch();
            $db->commit();
            printf("session %s has %s, and a config of %d characters\n",
                $session, $lease->credential_name, strlen($lease->config));
            return $session;
        } catch (PDOException $error) {
            try {
                $db->rollBack();
            } catch (PDOException) {
                // this fails too when the connection is gone, and what was first says why
            }
            // the code is the SQLSTATE, a string
            if ($error->getCode() !== 'NG004' || $attempt == 9)
                throw $error;
        }
        echo "full: again\n";
        usleep((int) (100000 * 2 ** $attempt * (0.5 + lcg_value())));
    }
}

// the launch menu: null is any number of connections, 0 a full gateway
$menu = query('SELECT egress_gateway_id, gateway_name, available_connections FROM egress.egress_available_gateways(?, ?)',
    $user, $workspace)->fetchAll();
$lines = array_map(fn($row) => "$row->gateway_name (" . ($row->available_connections ?? 'any') . ')', $menu);
echo 'menu: ', implode(', ', $lines), "\n";
$picked = array_column($menu, null, 'gateway_name')[$gateway];

$session = start_session($user, $workspace, $picked->egress_gateway_id, $ttl);

// A renewal each third of the ttl, while the session runs: here for a whole one. null: too late, or it was ended by hand.
for ($renewal = 0; $renewal < 3; $renewal++) {
    usleep((int) (1000000 * $ttl / 3));
    $until = query('SELECT egress.egress_renew_lease(?, make_interval(secs => ?))', $session, $ttl)->fetchColumn();
    if ($until === null) {
        echo "the lease is over: stop the tunnel\n";
        break;
    }
    echo "renewed until $until\n";
}

// the trigger of the table ends the lease
query("UPDATE session SET status = 'stopped' WHERE id = ?", $session);
echo "stopped\n";
