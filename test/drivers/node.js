// What doc/drivers.md says of pg for Node.
const { randomUUID } = require('node:crypto');
const { Client, Pool } = require('pg');

const says = (what, value) => console.log(`${what}: ${value}`);

// what a query answers in its first column, or its SQLSTATE
async function answer(db, query) {
    try {
        const { rows: [row] } = await db.query(query);
        return row && Object.values(row)[0];
    } catch (error) {
        return error.code;
    }
}

async function newSession(db) {
    const session = randomUUID();
    await db.query('INSERT INTO session (id, user_id, workspace_id) VALUES ($1, 1, 1)', [session]);
    return session;
}

const acquire = 'SELECT credential_name FROM egress.egress_acquire_credential($1, $2, 1, $3)';
const renew = 'SELECT egress.egress_renew_lease($1, $2)';

async function main() {
    const db = new Client();
    await db.connect();
    const [one, two] = [await newSession(db), await newSession(db)];

    says('ids are a number, null and a string', await answer(db, { text: acquire, values: [1, null, one] }));
    says('NG004', await answer(db, { text: acquire, values: [1, null, two] }));
    says('typeof a bigint', typeof await answer(db, 'SELECT egress_gateway_id FROM egress.egress_available_gateways(1)'));
    const number = 'SELECT available_connections FROM egress.egress_available_gateways(1)';
    says('available_connections === 0', await answer(db, number) === 0);
    says("available_connections === '0'", await answer(db, number) === '0');
    says('an id as a Number', await answer(db, { text: 'SELECT $1::text', values: [9007199254740993] }));
    says('an id as a BigInt', await answer(db, { text: 'SELECT $1::text', values: [9007199254740993n] }));
    says('a string is compared with an enum', await answer(db, {
        text: 'SELECT name FROM egress.egress_provider WHERE egress_provider_id = 1 AND provider_type = $1',
        values: ['openvpn'] }));
    const sync = 'SELECT action FROM egress.egress_sync_gateways(900, $1)';
    const entries = [{ name: 'one', country: 'SE' }];
    says('a list', await answer(db, { text: sync, values: [entries] }));
    says('a list by JSON.stringify', await answer(db, { text: sync, values: [JSON.stringify(entries)] }));
    says('countries and ids as arrays', await answer(db, {
        text: 'SELECT gateway_name FROM egress.egress_acquire_gateway($1, $2, $3, countries => $4, avoid => $5)',
        values: [1, null, one, ['NL'], [2]] }));
    says('a lease without an end', await answer(db, { text: renew, values: [one, null] }));
    says('a function in the SELECT list', await answer(db,
        { text: 'SELECT egress.egress_available_gateways($1)', values: [1] }));

    // a pool gives each query a connection that is free
    const pool = new Pool({ max: 2 });
    const [first, second] = await Promise.all([pool.query('SELECT pg_backend_pid()'), pool.query('SELECT pg_backend_pid()')]);
    says('two queries of a pool have one connection', first.rows[0].pg_backend_pid === second.rows[0].pg_backend_pid);
    await pool.end();

    // two clients, who share the pooler's connection, with the same statement
    const clients = [0, 1].map(() => new Client({ port: process.env.POOLER_PORT }));
    for (const client of clients)
        await client.connect();
    for (const query of [{ text: renew }, { text: renew, name: 'node_renew' }]) {
        const answers = [];
        for (const client of clients)
            answers.push(await answer(client, { ...query, values: [one, '1 minute'] }));
        says(`through pgbouncer, ${query.name ? 'with' : 'without'} a name`,
            answers.map(value => value instanceof Date ? 'works' : value).join(', '));
    }
    for (const client of clients)
        await client.end();
    await db.query(`UPDATE session SET status = 'stopped'`);
    await db.end();
}

main();
