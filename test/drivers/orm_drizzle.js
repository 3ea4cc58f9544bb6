// What doc/drivers.md says of drizzle-kit push.
const { spawnSync } = require('node:child_process');
const { closeSync, mkdtempSync, openSync, readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const folder = mkdtempSync(join(__dirname, 'drizzle-'));
const schema = join(folder, 'schema.js');
writeFileSync(schema, `const { pgTable, uuid } = require('drizzle-orm/pg-core');
exports.person = pgTable('person', { id: uuid('id').primaryKey() });
exports.session = pgTable('session', { id: uuid('id').primaryKey() });`);

function push(database, options) {
    const config = join(folder, 'drizzle.config.js');
    const { PGHOST: host, PGPORT: port, PGUSER: user, NODE_PATH } = process.env;
    const dbCredentials = { host, port: Number(port), user, database, ssl: false };
    writeFileSync(config, `module.exports = ${JSON.stringify({ dialect: 'postgresql', schema, dbCredentials, ...options })}`);
    // into a file, as it ends before a pipe has everything
    const output = join(folder, 'output');
    const file = openSync(output, 'w');
    spawnSync(process.execPath, [join(NODE_PATH, 'drizzle-kit', 'bin.cjs'), 'push', `--config=${config}`, '--force', '--verbose'],
        { stdio: ['ignore', file, file], cwd: folder });
    closeSync(file);
    return readFileSync(output, 'utf8');
}

for (const [what, database, options] of [
    ['together', 'together', {}],
    ['together, with tablesFilter', 'together', { tablesFilter: ['!egress_*'] }],
    ['apart', 'apart', {}],
    ['apart, with schemaFilter', 'apart', { schemaFilter: ['public', 'egress'] }]]) {
    const said = push(database, options);
    console.log(what);
    console.log(`it would drop tables of egress: ${/^DROP TABLE .*egress_/m.test(said)}`);
    console.log(`it would drop views of egress: ${/^DROP VIEW .*egress_/m.test(said)}`);
    console.log(`it would drop types of egress: ${/^DROP TYPE .*egress_/m.test(said)}`);
    console.log(`it would drop sequences of egress: ${/^DROP SEQUENCE .*egress_/m.test(said)}`);
    console.log(`it says: ${(said.match(/No changes detected|Changes applied|code: '\w+'/) ?? [said])[0]}`);
}
