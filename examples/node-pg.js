// node-pg.js -- a session and its lease, with pg (node-postgres)
//
//   PGHOST=... PGUSER=workspaces PGPASSWORD=... PGDATABASE=... node node-pg.js USER WORKSPACE GATEWAY TTL
//
// npm install pg. A bigint is a string, or a BigInt; a Number would lose digits from 2^53 on. world.sql makes the role
// and the tables.
const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const { Client, types } = require('pg');

// what comes back as bigint (type 20) is a string unless it is told otherwise
types.setTypeParser(20, BigInt);

// The session's row and its lease, both or neither. When all connections are taken, again after a while, and a longer one.
async function startSession(db, user, workspace, gatewayId, ttl) {
    for (let attempt = 0; ; attempt++) {
        const session = randomUUID();
        try {
            await db.query('BEGIN');
            await db.query('INSERT INTO session (id, user_id, workspace_id) VALUES ($1, $2, $3)', [session, user, workspace]);
            const { rows: [lease] } = await db.query(
                `SELECT credential_name, config
                 FROM egress.egress_acquire_credential($1, $2, $3, $4, make_interval(secs => $5))`,
                [user, workspace, gatewayId, session, ttl]);
            await db.query('COMMIT');
            console.log(`session ${session} has ${lease.credential_name}, and a config of ${lease.config.length} characters`);
            return session;
        } catch (error) {
            // this fails too when the connection is gone, and what was first says why; code is the SQLSTATE
            await db.query('ROLLBACK').catch(() => {});
            if (error.code !== 'NG004' || attempt === 9)
                throw error;
        }
        console.log('full: again');
        await sleep(100 * 2 ** attempt * (0.5 + Math.random()));
    }
}

async function main() {
    const gateway = process.argv[4];
    const [user, workspace, ttl] = [BigInt(process.argv[2]), Number(process.argv[3]), Number(process.argv[5])];

    // The parameters of the connection are from the environment. A query without a name prepares nothing that a pooler in
    // transaction mode would miss. A transaction needs one client: pool.query() takes another each time.
    const db = new Client();
    db.on('error', () => {});    // of a connection that is lost: without this it ends the program before the query can say why
    await db.connect();

    // the launch menu: null is any number of connections, 0 a full gateway
    const { rows: menu } = await db.query(
        'SELECT egress_gateway_id, gateway_name, available_connections FROM egress.egress_available_gateways($1, $2)',
        [user, workspace]);
    console.log('menu:', menu.map(row => `${row.gateway_name} (${row.available_connections ?? 'any'})`).join(', '));
    const picked = menu.find(row => row.gateway_name === gateway);

    const session = await startSession(db, user, workspace, picked.egress_gateway_id, ttl);

    // A renewal each third of the ttl, while the session runs: here for a whole one. null: too late, or it was ended by hand.
    for (let renewal = 0; renewal < 3; renewal++) {
        await sleep(1000 * ttl / 3);
        const { rows: [{ until }] } = await db.query(
            'SELECT egress.egress_renew_lease($1, make_interval(secs => $2)) AS until', [session, ttl]);
        if (until === null) {
            console.log('the lease is over: stop the tunnel');
            break;
        }
        console.log('renewed until', until.toISOString());
    }

    // the trigger of the table ends the lease
    await db.query(`UPDATE session SET status = 'stopped' WHERE id = $1`, [session]);
    console.log('stopped');
    await db.end();
}

main();
