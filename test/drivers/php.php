<?php
// What doc/drivers.md says of PDO.

function connect(array $options = [], string $port = null): PDO
{
    return new PDO($port === null ? 'pgsql:' : "pgsql:port=$port", null, null, $options);
}

function says(string $what, $value): void
{
    echo "$what: ", is_bool($value) ? ($value ? 'true' : 'false') : $value ?? 'null', "\n";
}

// what a query answers in its first column, or the SQLSTATE of its error
function answer(PDO $db, string $sql, ...$values)
{
    try {
        $statement = $db->prepare($sql);
        $statement->execute($values);
        return $statement->fetchColumn();
    } catch (PDOException $error) {
        return $error->getCode();
    }
}

$acquire = 'SELECT credential_name FROM egress.egress_acquire_credential(?, ?, 1, ?)';
$renew = 'SELECT egress.egress_renew_lease(?, ?)';
$ways = ['as it is' => [], 'DISABLE_PREPARES' => [PDO::PGSQL_ATTR_DISABLE_PREPARES => true],
    'EMULATE_PREPARES' => [PDO::ATTR_EMULATE_PREPARES => true]];
foreach ($ways as $way => $options) {
    echo "$way\n";
    $db = connect($options);
    $new_session = 'INSERT INTO session (user_id, workspace_id) VALUES (1, 1) RETURNING id';
    [$one, $two] = [answer($db, $new_session), answer($db, $new_session)];
    says('ids are an int, null and a string', answer($db, $acquire, 1, null, $one));
    says('NG004', answer($db, $acquire, 1, null, $two));
    says('a bigint is', gettype(answer($db, 'SELECT egress_gateway_id FROM egress.egress_available_gateways(?)', 1)));
    says('a string is compared with an enum', answer($db,
        'SELECT name FROM egress.egress_provider WHERE egress_provider_id = 1 AND provider_type = ?', 'openvpn'));
    says('false', answer($db,
        'UPDATE egress.egress_gateway SET enabled = ? WHERE egress_gateway_id = 2 RETURNING enabled', false));
    $statement = $db->prepare('UPDATE egress.egress_gateway SET enabled = ? WHERE egress_gateway_id = 2 RETURNING enabled');
    $statement->bindValue(1, false, PDO::PARAM_BOOL);
    $statement->execute();
    says('... by PARAM_BOOL', $statement->fetchColumn());
    $db->exec('UPDATE egress.egress_gateway SET enabled = true');
    says('countries and ids as literals of arrays', answer($db,
        'SELECT gateway_name FROM egress.egress_acquire_gateway(?, ?, ?, countries => ?, avoid => ?)',
        1, null, $one, '{NL}', '{2}'));
    says('a list by json_encode', answer($db, 'SELECT action FROM egress.egress_sync_gateways(900, ?)',
        json_encode([['name' => 'one', 'country' => 'SE']])));
    says('a lease without an end', answer($db, $renew, $one, null));

    // two clients, who share the pooler's connection, each with a statement that it executes twice
    $mine = connect($options, getenv('POOLER_PORT'))->prepare('SELECT ? || ?');
    $other = connect($options, getenv('POOLER_PORT'))->prepare("SELECT 'not mine: ' || ? || ?");
    $outcome = [];
    foreach ([$mine, $other, $mine] as $statement) {
        $statement->execute(['a', 'b']);
        $outcome[] = $statement->fetchColumn();
    }
    says('through pgbouncer', implode(', ', $outcome));
    $mine = $other = $statement = null;
    $db->exec("UPDATE session SET status = 'stopped'");
}
