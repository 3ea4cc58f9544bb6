// server.js -- the launcher: how does a platform put egress between its users and their sessions?
//
//   node server.js      serves http://127.0.0.1:8080 until it is interrupted
//
// A user picks a gateway for a session in a workspace, and ends it; an administrator sees pools and live connections. Every
// page is sent anew when what it shows has changed, at most a poll later. There is no login: the page says who the user is,
// where a platform knows it.
//
// Environment: PGHOST, PGPORT and so on, as for psql; PGDATABASE (launcher); PORT (8080); LAUNCHER_TTL, how many seconds a
// lease lasts that nobody renews (90).
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const { Client, Pool } = require('pg');

const ttl = Number(process.env.LAUNCHER_TTL || 90);
const database = {      // one that does not answer is an error, after so many milliseconds
    database: process.env.PGDATABASE || 'launcher', connectionTimeoutMillis: 5000, query_timeout: 10000,
};
const app = new Pool({ user: 'launcher_app', ...database });
const monitor = new Pool({ user: 'launcher_monitor', ...database, max: 3 });

const log = error => console.error(...[error.code, error.message, error.detail].filter(Boolean));
const parse = text => { try { return JSON.parse(text) ?? {}; } catch { return {}; } };
const isAlive = pid => { try { return process.kill(pid, 0); } catch { return false; } };
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

// what a user is told: an HTTP status and a sentence for each SQLSTATE that egress answers an acquire with
const sentences = {
    NG001: [404, 'This gateway is not there any more.'],
    NG002: [409, 'This gateway is not open to you now. Pick another one.'],
    NG003: [409, 'No account fits you at this gateway. Ask your administrator for one.'],
    NG004: [409, 'All connections are taken. Pick another gateway, or try again when one is free.'],
    NG005: [409, 'This session leaves through another gateway already.'],
    NG006: [503, 'The account for this gateway cannot be used now. Your administrator knows more.'],
    NG007: [503, 'This gateway is not set up as it has to be. Your administrator knows more.'],
    NG008: [409, 'You have as many connections as you may have at once. End one of your sessions first.'],
    NG009: [409, 'This session is over. Start a new one.'],
    starting: [409, 'A session of yours is being started. Wait until it is there.'],
    25006: [503, 'No session can be started or ended for the moment. Try again in a minute.'],
};
const senseless = [400, 'There is no such user, workspace, gateway or session.'];     // classes 22 and 23: bad arguments
const unknown = [503, 'This does not work now. Try again in a minute.'];
const told = ({ code }) => sentences[code] || (/^2[23]/.test(code) ? senseless : unknown);

// The connection was lost, or the server asks to try again (a failover, an update of egress). What was not answered may
// have been done: so what is tried again has to do nothing the second time.
const isPassing = error => !error.code || /^(40001|40P01|57P0[1-3]|08...|E[A-Z]+)$/.test(error.code);

// work(client) in a transaction of its own, up to three times
async function transaction(work) {
    for (let attempt = 1; ; attempt++) {
        let client, lost = false;
        try {
            client = await app.connect();
            await client.query('BEGIN');
            const result = await work(client);
            await client.query('COMMIT');
            return result;
        } catch (error) {
            lost = isPassing(error);
            if (!lost)
                await client?.query('ROLLBACK').catch(() => {});
            if (!lost || attempt === 3)
                throw error;
            log(error);
        } finally {
            client?.release(lost);      // the pool closes a connection that may be lost, which is a rollback, too
        }
        await pause(200 * attempt);
    }
}

// ------------------------------------------------------------------ sessions

// The config of a session has its credential in it. It goes to the host of the workspace, here a file that an agent there
// would run openvpn or wg-quick with, and never to the page. The folder goes when the launcher ends. What one that was killed
// has left goes when the next one starts: the name has the process.
const folder = 'egress-launcher-configs-';
for (const name of fs.readdirSync(os.tmpdir()).filter(name => name.startsWith(folder))) {
    const left = path.join(os.tmpdir(), name);
    if (fs.lstatSync(left, { throwIfNoEntry: false })?.uid === process.getuid() && !isAlive(parseInt(name.slice(folder.length), 10)))
        fs.rmSync(left, { recursive: true, force: true });
}
const configs = fs.mkdtempSync(path.join(os.tmpdir(), `${folder}${process.pid}-`));
const configFile = id => path.join(configs, `${id}.conf`);
const forget = ({ id }) => fs.rmSync(configFile(id), { force: true });

// who starts a session now: a user starts one at a time, so what is sent twice at once is one session
const starting = new Set();

async function startOne(wish) {
    if (starting.has(wish.user))
        throw Object.assign(new Error('the user starts one already'), { code: 'starting' });
    starting.add(wish.user);
    try {
        return await start(wish);
    } finally {
        starting.delete(wish.user);
    }
}

// the session and its lease are there both or not at all; asked again, an acquire gives the same lease
async function start({ user, workspace, gateway, country }) {
    const id = crypto.randomUUID();
    const lease = await transaction(async client => {
        await client.query(`INSERT INTO launcher.session (id, account_id, workspace_id) VALUES ($1, $2, $3)
                            ON CONFLICT DO NOTHING`, [id, user, workspace]);
        const { rows: [row] } = country
            ? await client.query(`SELECT * FROM egress_acquire_gateway($1, $2, $3, countries => ARRAY[$4::text],
                                                                       ttl => $5::interval)`,
                                 [user, workspace, id, country, `${ttl} s`])
            : await client.query('SELECT * FROM egress_acquire_credential($1, $2, $3, $4, ttl => $5::interval)',
                                 [user, workspace, gateway, id, `${ttl} s`]);
        await client.query('UPDATE launcher.session SET gateway = $2, country = $3, city = $4 WHERE id = $1',
                           [id, row.gateway_name, row.country, row.city]);
        return row;
    });
    try {
        fs.writeFileSync(configFile(id), lease.config ?? '', { mode: 0o600 });
    } catch (error) {
        await end(id, user);
        throw error;
    }
    return { id, gateway: lease.gateway_name, country: lease.country, city: lease.city };
}

// the trigger of egress on the table ends the lease; a user ends sessions of his own only. Returns whether there was one.
async function end(id, user) {
    const { rows } = user === undefined
        ? await monitor.query(`UPDATE launcher.session SET ended_at = now(), ended_by = 'admin'
                               WHERE id = $1 AND ended_at IS NULL RETURNING id`, [id])
        : await app.query(`UPDATE launcher.session SET ended_at = now(), ended_by = 'user'
                           WHERE id = $1 AND ended_at IS NULL AND account_id = $2 RETURNING id`, [id, user]);
    rows.forEach(forget);
    return rows.length > 0;
}

// Ends the sessions, or the one session, whose lease somebody else has ended. Not what was told counts, but what is so.
async function endWithoutLease(by, session) {
    const { rows } = await monitor.query(
        `UPDATE launcher.session s SET ended_at = now(), ended_by = $1
         WHERE ended_at IS NULL AND ($2::text IS NULL OR s.id::text = $2)
         AND NOT EXISTS (SELECT FROM egress_connection c WHERE c.session_id = s.id::text) RETURNING id`, [by, session]);
    rows.forEach(forget);
}

// whoever ends the lease of another session tells it: an administrator in psql, a sweep, an acquire that takes it over
async function listen() {
    const client = new Client({ user: 'launcher_monitor', ...database });
    client.on('error', log);
    client.on('end', () => setTimeout(listen, 1000));
    client.on('notification', ({ payload }) => {
        const { session_id, reason } = parse(payload);
        endWithoutLease(reason === 'ended' ? 'admin' : 'expiry', session_id).then(showAll, log);
    });
    try {
        await client.connect();
        await client.query('LISTEN egress_lease_ended');
        await endWithoutLease('expiry', null);      // what was told while nobody listened
    } catch (error) {
        log(error);
        client.end().catch(() => {});
    }
}

// the sessions of users who have a page open go on; those of others end with their leases
async function renew() {
    await app.query(`SELECT egress_renew_lease(id, $2::interval) FROM launcher.session
                     WHERE ended_at IS NULL AND account_id = ANY ($1)`, [[...pages].map(({ user }) => user), `${ttl} s`]);
    await endWithoutLease('expiry', null);
}

// --------------------------------------------------------------------- pages

// the pages that are open: what each reads, what it shows, and where that is sent
const pages = new Set();

async function readMenu(user, workspace) {
    const [accounts, workspaces] = await Promise.all(['account', 'workspace'].map(async table =>
        (await app.query(`SELECT id, name FROM launcher.${table} ORDER BY name, id`)).rows));
    if (!accounts.some(({ id }) => id === user) || !workspaces.some(({ id }) => id === workspace))
        return { accounts, workspaces };        // the page chooses
    const [menu, sessions] = await Promise.all([
        app.query(`SELECT egress_gateway_id AS id, gateway_name AS name, country, city, provider_name AS provider,
                          available_connections AS available
                   FROM egress_available_gateways($1, $2)`, [user, workspace]),
        app.query(`SELECT s.id, gateway, country, city, w.name AS workspace, started_at, ended_by
                   FROM launcher.session s JOIN launcher.workspace w ON w.id = workspace_id
                   WHERE account_id = $1 AND (ended_at IS NULL OR ended_at > now() - interval '1 minute' AND ended_by <> 'user')
                   ORDER BY started_at DESC, s.id`, [user]),
    ]);
    return { accounts, workspaces, menu: menu.rows, sessions: sessions.rows };
}

async function readOperations() {
    const [totals, pools, connections] = await Promise.all([
        monitor.query('SELECT count(*) AS connections, count(DISTINCT user_id) AS users FROM egress_connection'),
        monitor.query(`SELECT egress_credential_id AS id, credential_name AS name, provider_name AS provider, subject_type,
                              subject_id, active_connections AS active, active_connection_limit AS most,
                              available_connections AS available, once_per_gateway AS once, enabled
                       FROM egress_credential_usage ORDER BY provider_name, credential_name, id`),
        monitor.query(`SELECT session_id AS id, COALESCE(a.name, user_id) AS user, COALESCE(w.name, workspace_id) AS workspace,
                              gateway_name AS gateway, country, city, provider_name AS provider, credential_name AS pool,
                              acquired_at
                       FROM egress_connection
                       LEFT JOIN launcher.account a ON a.id = user_id
                       LEFT JOIN launcher.workspace w ON w.id = workspace_id
                       ORDER BY acquired_at DESC, session_id LIMIT 200`),
    ]);
    return { totals: totals.rows[0], pools: pools.rows, connections: connections.rows };
}

// sends a page what it shows now, if that has changed; asked while it reads, it reads once more
async function show(page) {
    page.again = true;
    if (page.reading)
        return;
    page.reading = true;
    while (page.again) {
        page.again = false;
        const state = await page.read().catch(error => {
            log(error);
            return { trouble: told(error)[1] };
        });
        const text = JSON.stringify(state);
        if (text !== page.text && !page.response.destroyed)
            page.response.write(`data: ${page.text = text}\n\n`);
    }
    page.reading = false;
}
const showAll = () => pages.forEach(show);

// server-sent events, for as long as the page is open
function open(response, page) {
    response.writeHead(200, { ...headers, 'Content-Type': 'text/event-stream' });
    response.on('close', () => pages.delete(page));
    pages.add(Object.assign(page, { response }));
    show(page);
}

// ---------------------------------------------------------------------- HTTP

const headers = {
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
};
const files = {
    '/': ['index.html', 'text/html; charset=utf-8'],
    '/app.js': ['app.js', 'text/javascript; charset=utf-8'],
    '/style.css': ['style.css', 'text/css; charset=utf-8'],
};

function answer(response, status, body) {
    response.writeHead(status, { ...headers, 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

async function readBody(request) {
    let body = '';
    for await (const chunk of request.setEncoding('utf8'))
        if ((body += chunk).length > 10000)
            throw Object.assign(new Error('a body of more than 10 kB'), { code: '22023' });
    return parse(body);
}

async function serve(request, response) {
    // other sites that the user's browser has open can neither read nor write here
    const here = ['127.0.0.1', 'localhost'].map(name => new URL(`http://${name}:${server.address().port}`).host)    // no :80
        .find(name => name === request.headers.host);
    if (!here || request.headers.origin && request.headers.origin !== `http://${here}`)
        return answer(response, 403, { sentence: 'This is not for other sites.' });

    const url = new URL(request.url, `http://${here}`);
    const session = /^(?:\/operations)?\/sessions\/([^/]+)$/.exec(url.pathname)?.[1];
    const user = url.searchParams.get('user') ?? '';
    if (request.method === 'GET' && Object.hasOwn(files, url.pathname)) {
        const [name, type] = files[url.pathname];
        const file = fs.readFileSync(path.join(__dirname, 'page', name));
        response.writeHead(200, { ...headers, 'Content-Type': type }).end(file);
    } else if (request.method === 'GET' && url.pathname === '/menu') {
        open(response, { user, read: () => readMenu(user, url.searchParams.get('workspace')) });
    } else if (request.method === 'GET' && url.pathname === '/operations') {
        open(response, { user, read: readOperations });
    } else if (request.method === 'POST' && url.pathname === '/sessions') {
        answer(response, 201, await startOne(await readBody(request)));
        showAll();
    } else if (request.method === 'DELETE' && session) {
        if (await end(session, url.pathname.startsWith('/operations') ? undefined : user))
            answer(response, 200, {});
        else
            answer(response, 404, { sentence: 'There is no such session, or it has ended.' });
        showAll();
    } else {
        answer(response, 404, { sentence: 'There is nothing here.' });
    }
}

const server = http.createServer((request, response) => {
    serve(request, response).catch(error => {
        const [status, sentence] = told(error);
        log(error);
        answer(response, status, { code: error.code, sentence });
    });
});

process.on('exit', () => fs.rmSync(configs, { recursive: true, force: true }));
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'])
    process.on(signal, () => process.exit());
for (const pool of [app, monitor]) {
    pool.on('error', () => {});                             // its connection has told it to the next line
    pool.on('connect', client => client.on('error', log));
}
listen();
setInterval(() => renew().catch(log), ttl * 1000 / 3);
setInterval(showAll, 1000);
server.listen(process.env.PORT || 8080, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
