-- sessions.sql -- sessions that have to exist, and leases whose sessions do not
--
-- What an attached table says of a session, for every kind of id and table: whether an acquire gets a lease (must_exist), which
-- leases egress_orphaned_connection shows, and which egress_end_leases() ends. With the rights of the table's owner, who has app
-- access and nothing else.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
CREATE EXTENSION citext;
CREATE ROLE sessions_app;
CREATE ROLE sessions_monitor;
CREATE ROLE sessions_admin;
SELECT vpn.egress_grant_access('sessions_app', 'app'), vpn.egress_grant_access('sessions_monitor', 'monitor'),
       vpn.egress_grant_access('sessions_admin', 'admin') \g /dev/null
GRANT USAGE ON SCHEMA tap TO sessions_app, sessions_monitor, sessions_admin;
CREATE SCHEMA app AUTHORIZATION sessions_app;

INSERT INTO vpn.egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'all', 'custom');
INSERT INTO vpn.egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'open');
INSERT INTO vpn.egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO vpn.egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'c1', 'everyone');

/* ------------------------------------------------------- what a test looks at */

-- what an acquire for a session says: '' for a lease
CREATE FUNCTION acquire(session text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM vpn.egress_acquire_credential('ann', NULL, 1, session);
    RETURN '';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION orphans() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(session_id, ' ' ORDER BY session_id COLLATE "C"), '') FROM vpn.egress_orphaned_connection $$;
CREATE FUNCTION leases() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(session_id, ' ' ORDER BY session_id COLLATE "C"), '') FROM vpn.egress_lease $$;
CREATE FUNCTION forget() RETURNS void LANGUAGE sql AS $$
    DELETE FROM vpn.egress_lease; DELETE FROM vpn.egress_lease_history $$;
-- all that a statement fails with; '' when it does not
CREATE FUNCTION error(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN '';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', state, message, nullif(detail, ''), nullif(hint, ''));
END $$;

/* -------------------------------------------------- nothing is attached */

SELECT is(acquire('free'), '', 'without a session table anybody acquires');
SELECT is(orphans(), '', 'and nothing is orphaned: nothing says which sessions there are');
SELECT is((SELECT count(*) FROM vpn.egress_end_leases(orphaned => true)), 0::bigint, 'so nothing is ended');
SELECT is(leases(), 'free', 'the lease stays');
SELECT is(error('SELECT vpn.egress_end_leases()'), '22023 | nothing says which leases are to end | '
          'Every argument is null. | Name what they have in common, as in egress_end_leases(user_id => ''ada'').',
          'all arguments NULL');
SELECT throws_ok('SELECT vpn.egress_end_leases(orphaned => false)', '22023', NULL, 'false says nothing either');

/* ------------------------------------------------------ attached, may be absent */

SET ROLE sessions_app;
CREATE TABLE app.session (dropped int, id text PRIMARY KEY, status text NOT NULL DEFAULT 'running', since date);
ALTER TABLE app.session DROP COLUMN dropped;
INSERT INTO app.session VALUES ('live', 'running'), ('over', 'stopped');
SELECT vpn.egress_attach_sessions('app.session', 'id', $$NEW.status = 'stopped'$$) \g /dev/null
RESET ROLE;
SELECT is(acquire(session), '', session || ': a lease, if need be of a session that is not there')
FROM unnest('{live,over,absent}'::text[]) session;
SELECT is(orphans(), 'absent free over', 'those of which nothing will come are orphaned');
SET ROLE sessions_monitor;
SELECT set_eq('SELECT session_id, credential_name, gateway_name FROM vpn.egress_orphaned_connection',
              $$VALUES ('absent', 'c1', 'open'), ('free', 'c1', 'open'), ('over', 'c1', 'open')$$, 'a monitor sees them');
SELECT throws_ok('SELECT vpn.egress_end_leases(orphaned => true)', '42501', NULL, 'and ends none');
SET ROLE sessions_admin;
SELECT bag_eq('SELECT * FROM vpn.egress_end_leases(orphaned => true)',
              $$VALUES ('absent', 'ann', NULL, 1::bigint, 1::bigint), ('free', 'ann', NULL, 1, 1), ('over', 'ann', NULL, 1, 1)$$,
              'an administrator does');
RESET ROLE;
SELECT is(leases(), 'live', 'the others stay');
SELECT bag_eq('SELECT session_id, release_reason FROM vpn.egress_lease_history',
              $$VALUES ('absent', 'ended'), ('free', 'ended'), ('over', 'ended')$$, 'history says ended');
SELECT columns_are('vpn', 'egress_orphaned_connection', array_agg(attname ORDER BY attnum), 'the view has the columns of egress_connection')
FROM pg_attribute WHERE attrelid = 'vpn.egress_connection'::regclass AND attnum > 0;

-- what is open in this very transaction, and a lease that has expired
SELECT vpn.egress_acquire_credential('ann', NULL, 1, 'expired', '1 hour') \g /dev/null
SELECT vpn.egress_renew_lease('expired', '1 microsecond') \g /dev/null
SELECT is(orphans(), '', 'an expired lease is not live');
SELECT is((SELECT count(*) FROM vpn.egress_end_leases(orphaned => true)), 0::bigint, 'and is left to the sweep');
SELECT is(vpn.egress_expire_leases(), 1::bigint, 'which ends it');
SELECT forget() \g /dev/null

/* ------------------------------------------------------------- must exist */

SET ROLE sessions_app;
SELECT vpn.egress_detach_sessions('app.session') \g /dev/null
SELECT vpn.egress_attach_sessions('app.session', 'id', $$NEW.status = 'stopped'$$, must_exist => true) \g /dev/null
SELECT is(acquire('live'), '', 'a session that is there');
SELECT is(acquire('live'), '', 'that asks again');
SELECT is(error($$SELECT vpn.egress_acquire_credential('ann', NULL, 1, 'absent')$$),
          'NG009 | session "absent" does not exist | No row of the attached table app.session has this id. | '
          'A session''s row has to be there before the session acquires.', 'one that is not');
SELECT is(error($$SELECT vpn.egress_acquire_credential('ann', NULL, 1, 'over')$$),
          'NG009 | session "over" is over | The condition with which its table was attached holds for its row.',
          'one that is over');
WITH new AS (INSERT INTO app.session VALUES ('new', 'running') RETURNING id)
SELECT is(acquire(id), '', 'one that the same statement inserts') FROM new;
UPDATE app.session SET status = 'stopped' WHERE id = 'live';
SELECT is(acquire('live'), 'NG009 session "live" is over', 'and one that has stopped');
SELECT throws_ok($$SELECT vpn.egress_attach_sessions('app.session', 'id', NULL, NULL)$$, '22004', NULL, 'must_exist is not null');
RESET ROLE;
SELECT is(leases(), 'new', 'who was refused holds nothing');

-- the lock to commit: as a foreign key's
SELECT set_eq($$SELECT DISTINCT mode FROM pg_locks WHERE relation = 'app.session'::regclass AND pid = pg_backend_pid() AND mode = 'RowShareLock'$$,
              $$VALUES ('RowShareLock')$$, 'the table is locked as by SELECT ... FOR NO KEY UPDATE');

-- a second table: it is enough to be in one of them, whichever asked for it
SET ROLE sessions_app;
CREATE TABLE app.job (number integer PRIMARY KEY);
INSERT INTO app.job VALUES (7);
SELECT vpn.egress_attach_sessions('app.job', 'number') \g /dev/null
SELECT is(acquire('7'), '', 'a number in the other table');
SELECT is(acquire('8'), 'NG009 session "8" does not exist', 'one that is not there');
SELECT is(acquire('07'), 'NG009 session "07" does not exist', 'an equal number, written otherwise, is another session');
SELECT is(error($$SELECT vpn.egress_acquire_credential('ann', NULL, 1, '99999999999999')$$),
          'NG009 | session "99999999999999" does not exist | No row of the attached session tables has this id. | '
          'A session''s row has to be there before the session acquires.', 'one that no integer can be');

-- renamed: what it says, and how it is put right
ALTER TABLE app.session RENAME TO "Session";
ALTER TABLE app."Session" RENAME status TO "Status";
INSERT INTO app."Session" VALUES ('renamed', 'running'), ('renamed over', 'stopped');
SELECT is(acquire('renamed'), '', 'a table and a column of the condition may be renamed');
SELECT is(acquire('renamed over'), 'NG009 session "renamed over" is over', 'the condition still holds');
ALTER TABLE app."Session" RENAME id TO "Id";
SELECT is(error(statement), said ||
          ' | If the column was renamed, detach the table with egress_detach_sessions(), and attach it again.', statement)
FROM (VALUES
    ($$SELECT vpn.egress_acquire_credential('ann', NULL, 1, 'renamed')$$, '42703 | column "id" of table app."Session" does not exist | '
     'The table is attached as one of sessions, with that column as their id.'),
    ($$DELETE FROM app."Session"$$, '22023 | trigger "egress_session_deleted" of table "Session" cannot end leases | '
     'The table has no column "id".')) renamed (statement, said);
SELECT vpn.egress_detach_sessions('app."Session"') \g /dev/null
SELECT vpn.egress_attach_sessions('app."Session"', 'Id', must_exist => true) \g /dev/null
SELECT is(acquire('renamed over'), '', 'attached again, without a condition');
SELECT vpn.egress_detach_sessions('app."Session"') \g /dev/null
SELECT is(acquire('101'), '', 'detached: any number acquires, because a table of numbers is attached still');
DROP TABLE app.job;
RESET ROLE;
SELECT is(orphans(), '', 'and nothing is orphaned');
SELECT forget() \g /dev/null

-- by hand: rows count, conditions do not, because they may be about a change
SET ROLE sessions_app;
CREATE TABLE app.hand (id text PRIMARY KEY, status text);
CREATE TRIGGER ended AFTER UPDATE ON app.hand FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id OR NEW.status = 'stopped')
    EXECUTE FUNCTION vpn.egress_release_on_session_end('id', 'must_exist');
INSERT INTO app.hand VALUES ('by hand', 'stopped');
SELECT is(acquire('by hand') || acquire('absent'), 'NG009 session "absent" does not exist', 'a trigger made by hand');
RESET ROLE;
SELECT is(orphans(), '', 'its sessions are there');
DROP TABLE app.hand;
CREATE TABLE app.wrong (id text);
CREATE TRIGGER wrong AFTER DELETE ON app.wrong FOR EACH ROW EXECUTE FUNCTION vpn.egress_release_on_session_end('id', 'may exist');
INSERT INTO app.wrong VALUES ('a');
SELECT matches(error('DELETE FROM app.wrong'), 'Its second argument can only be ''must_exist''\.', 'an argument that means nothing');
DROP TABLE app.wrong;
SELECT forget() \g /dev/null

-- a condition is read as it was written, whatever strings mean to the session by now
SET ROLE sessions_app;
CREATE TABLE app.escaped (id text PRIMARY KEY, status text);
INSERT INTO app.escaped VALUES ('escaped', 'run');
SELECT vpn.egress_attach_sessions('app.escaped', 'id', $$NEW.status = E'a\\b'$$) \g /dev/null
SELECT acquire('escaped') \g /dev/null
ALTER TABLE app.escaped DISABLE TRIGGER USER;
UPDATE app.escaped SET status = E'a\\b';
-- what it is about is known from here on
SELECT acquire('escaped') \g /dev/null
RESET ROLE;
-- (from PostgreSQL 19 on strings mean one thing)
SELECT set_config(name, 'off', true) FROM pg_settings
WHERE name IN ('escape_string_warning', 'standard_conforming_strings')
  AND EXISTS (SELECT FROM pg_settings WHERE name = 'escape_string_warning') \g /dev/null
SELECT is(orphans(), 'escaped', 'a backslash in a condition');
SET LOCAL standard_conforming_strings = on;
DROP TABLE app.escaped;
SELECT forget() \g /dev/null

/* ------------------------------------------------------- kinds of ids and tables */

-- (these ids are not unique: a warning says so each time)
SET LOCAL client_min_messages = error;
SET ROLE sessions_app;
CREATE DOMAIN app.id AS text CHECK (value <> 'checked');
CREATE TYPE app.pair AS (a int, b text);
CREATE TYPE app.checked AS (id app.id);
-- with an index and without; each kind has one id that is there, and one that another value might equal, or that no value has
SELECT is(error(format('DROP TABLE IF EXISTS app.kind; CREATE TABLE app.kind (id %s); INSERT INTO app.kind VALUES (%L);'
                       'SELECT vpn.egress_attach_sessions(''app.kind'', ''id'', must_exist => true)', kind, present))
          || acquire(present) || acquire(absent),
          CASE WHEN writable THEN format('NG009 session "%s" does not exist', absent) ELSE format('22023 session_id "%s" is no session''s', absent) END,
          format('an id of type %s', kind))
FROM (VALUES ('uuid', '4ab2a1b4-5cfb-4b29-8d5b-5d06bf60d6a1', '4AB2A1B4-5CFB-4B29-8D5B-5D06BF60D6A1', false), ('citext', 'Desk', 'desk', true),
             ('numeric', '1.0', '1.00', true), ('character(9)', 'short', 'short ', false), ('bytea', '\x00ff', '\x00FF', false),
             ('app.id', 'a', 'checked', true), ('timestamptz', '2026-01-01 00:00:00+00', '2026-01-01 01:00:00+01', false),
             ('inet', '10.0.0.1', '10.0.0.1/32', false), ('app.pair', '(1,a)', '(1,"a")', false), ('json', '{"a": 1}', '{"a":1}', true),
             ('name', 'short', repeat('long', 20), false), ('bigint', '1', 'one', false), ('varchar(5)', 'abcde', 'abcdef', false),
             ('tsvector', '''a'':1', '''', false), ('app.checked', '(a)', '(checked)', false)) AS kinds (kind, present, absent, writable);

-- a lease with an id that the trigger never writes would stay; so it is refused whether sessions have to be there or not
CREATE DOMAIN app.key AS uuid;
SELECT is(error(format('DROP TABLE app.kind; CREATE TABLE app.kind (id %s);'
                       'SELECT vpn.egress_attach_sessions(''app.kind'', ''id'')', kind)) || acquire(id), '', format('%s: "%s"', kind, id))
FROM (VALUES ('uuid', '4ab2a1b4-5cfb-4b29-8d5b-5d06bf60d6a1'), ('app.key', '00000000-0000-0000-0000-00000000000f'),
             ('smallint', '32767'), ('smallint', '-32768'), ('integer', '2147483647'), ('integer', '-2147483648'), ('integer', '0'),
             ('bigint', '9223372036854775807'), ('bigint', '-9223372036854775808'), ('bigint', '10'), ('text', ' x '), ('varchar', '007'),
             ('varchar(2)', 'öö'), ('character(2)', 'öö'), ('character(20)', ' x'), ('bpchar', 'x'), ('numeric', '7'), ('numeric(9,2)', '7.00'),
             ('citext', 'X'), ('boolean', 't'), ('date', '2026-01-01'), ('bytea', '\x00ff'), ('interval', '1 day'), ('text[]', '{a}'),
             ('xid', '7'), ('oid', '4294967295'), ('"char"', 'x')) AS kinds (kind, id);
SELECT is(error(format('DROP TABLE app.kind; CREATE TABLE app.kind (id %s);'
                       'SELECT vpn.egress_attach_sessions(''app.kind'', ''id'')', kind))
          || error(format('SELECT vpn.egress_acquire_credential(''ann'', NULL, 1, %L)', id)),
          concat_ws(' | ', '22023', format('session_id "%s" is no session''s', id),
                    coalesce(format('Column "id" of the attached table app.kind writes this id as "' || written || '".'),
                             format('Column "id" of the attached table app.kind is of type %s, which has no such value.', coalesce(base, kind))),
                    'Its lease would not end with the session. Give the id as PostgreSQL shows it, or as a uuid or a number.'),
          format('%s: not "%s"', kind, id))
FROM (VALUES ('uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL),
             ('uuid', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL),
             ('uuid', 'a0eebc999c0b4ef8bb6d6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL),
             ('uuid', 'desk 7', NULL, NULL), ('app.key', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL),
             ('app.key', 'x', NULL, 'uuid'), ('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g', NULL, NULL),
             ('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1', NULL, NULL), ('uuid', 'a0eebc99-9c0b-4ef8-bb6da6bb9bd380a11', NULL, NULL),
             ('integer', ' 7', '7', NULL), ('integer', '7 ', '7', NULL), ('integer', '007', '7', NULL), ('integer', '+7', '7', NULL), ('integer', '-0', '0', NULL),
             ('integer', 'x', NULL, NULL), ('integer', '-', NULL, NULL), ('integer', '2147483648', NULL, NULL), ('integer', '-2147483649', NULL, NULL),
             ('smallint', '32768', NULL, NULL), ('bigint', '9223372036854775808', NULL, NULL), ('bigint', '-9223372036854775809', NULL, NULL),
             ('bigint', '7.0', NULL, NULL), ('bigint', repeat('9', 200), NULL, NULL), ('varchar(2)', 'ööö', NULL, 'character varying(2)'), ('character(2)', 'x ', 'x', NULL),
             ('character(2)', 'ööö', NULL, NULL), ('numeric', '07', '7', NULL), ('numeric(9,2)', '7', '7.00', NULL), ('boolean', 'true', 't', NULL),
             ('date', 'January 1, 2026', '2026-01-01', NULL), ('bytea', 'x', '\x78', NULL), ('interval', '24:00', '24:00:00', NULL),
             ('oid', '-1', '4294967295', NULL)) AS kinds (kind, id, written, base);

-- of several tables one is enough
SELECT is(error($$DROP TABLE app.kind; CREATE TABLE app.kind (id uuid); SELECT vpn.egress_attach_sessions('app.kind', 'id');
                  CREATE TABLE app.job (id int); SELECT vpn.egress_attach_sessions('app.job', 'id')$$), '', 'two tables');
SELECT is(ARRAY[acquire('7'), acquire('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')], ARRAY['', ''], 'an id of either');
SELECT is(error($$SELECT vpn.egress_acquire_credential('ann', NULL, 1, '08')$$),
          '22023 | session_id "08" is no session''s | Column "id" of the attached table app.job writes this id as "8". | '
          'Its lease would not end with the session. Give the id as PostgreSQL shows it, or as a uuid or a number.', 'the one that knows it');
SELECT matches(error($$SELECT vpn.egress_acquire_credential('ann', NULL, 1, 'x')$$),
               'No attached session table has an id column with such a value\.', 'neither');
SELECT is(error($$SELECT vpn.egress_detach_sessions('app.job'); ALTER TABLE app.job ALTER id TYPE text;
                  SELECT vpn.egress_attach_sessions('app.job', 'id')$$), '', 'attached again with another type');
SELECT is(acquire('x'), '', 'another type is noticed at once');
ALTER TABLE app.job RENAME id TO key;
SELECT is(acquire('y'), '', 'of a column that is not there any more nothing is known');
DROP TABLE app.job;
SELECT matches(acquire('z'), '^22023', 'a table that was dropped does not count');
SELECT vpn.egress_detach_sessions('app.kind') \g /dev/null
SELECT is(acquire('z'), '', 'nor one that was detached');

-- functions of the table's owner, in the types that a type is made of, have that owner's rights
CREATE FUNCTION app.whoever(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO 'called as %', current_user;
    RETURN current_user = 'sessions_app';
END $$;
CREATE DOMAIN app.seen AS text CHECK (app.whoever(value));
CREATE TYPE app.seeing AS (id app.seen);
SELECT is(error($$DROP TABLE app.kind; CREATE TABLE app.kind (id app.seeing); SELECT vpn.egress_attach_sessions('app.kind', 'id')$$)
          || acquire('(a)'), '', 'a check sees the table''s owner');
DROP TABLE app.kind;
RESET ROLE;
SELECT forget() \g /dev/null
SET ROLE sessions_app;

-- partitioned: found in any partition, by the parent's columns
CREATE TABLE app.parted (id text, status text, day date NOT NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE app.parted_1 (day date NOT NULL, status text, gone int, id text NOT NULL);
ALTER TABLE app.parted_1 DROP COLUMN gone;
ALTER TABLE app.parted ATTACH PARTITION app.parted_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT vpn.egress_attach_sessions('app.parted', 'id', $$NEW.status = 'stopped'$$, true) \g /dev/null
CREATE TABLE app.parted_2 PARTITION OF app.parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO app.parted VALUES ('january', NULL, '2026-01-05'), ('february', NULL, '2026-02-05'), ('stopped', 'stopped', '2026-01-05');
SELECT is(ARRAY[acquire('january'), acquire('february'), acquire('stopped'), acquire('march')],
          ARRAY['', '', 'NG009 session "stopped" is over', 'NG009 session "march" does not exist'], 'partitions');
RESET ROLE;
SELECT results_eq($$SELECT tgenabled::text || ' ' || tgrelid::regclass FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'app.parted%' AND NOT tgisinternal
                    AND tgname = 'egress_session_deleted' ORDER BY 1$$,
                  $$VALUES ('A app.parted'), ('A app.parted_1'), ('A app.parted_2')$$, 'their triggers are ENABLE ALWAYS, those of a later partition, too');
SELECT is(orphans(), '', 'none of them is orphaned');
DROP TABLE app.parted;
SELECT forget() \g /dev/null

SET LOCAL client_min_messages = warning;

/* ------------------------------------------- with session_replication_role = replica */

SET ROLE sessions_app;
CREATE TABLE app.replicated (id text PRIMARY KEY, status text);
INSERT INTO app.replicated VALUES ('a'), ('b'), ('c');
SELECT vpn.egress_attach_sessions('app.replicated', 'id', $$NEW.status = 'stopped'$$) \g /dev/null
SELECT acquire(id) FROM app.replicated \g /dev/null
RESET ROLE;
SET LOCAL session_replication_role = replica;
DELETE FROM app.replicated WHERE id = 'a';
UPDATE app.replicated SET status = 'stopped' WHERE id = 'b';
SELECT is(leases(), 'c', 'a deletion and an end are followed');
TRUNCATE app.replicated;
SELECT is(leases(), '', 'and a TRUNCATE');
SET LOCAL session_replication_role = origin;
SELECT vpn.egress_detach_sessions('app.replicated') \g /dev/null
SELECT vpn.egress_attach_sessions('app.replicated', 'id', $$NEW.status = 'stopped'$$) \g /dev/null
SELECT results_eq($$SELECT DISTINCT tgenabled::text FROM pg_trigger WHERE tgrelid = 'app.replicated'::regclass$$, $$VALUES ('A')$$,
                  'detached and attached, they are ENABLE ALWAYS again');
DROP TABLE app.replicated;

-- members
SET ROLE sessions_app;
CREATE TABLE app.member (u text, g text);
INSERT INTO app.member VALUES ('ann', 'staff'), ('bob', 'staff');
SELECT vpn.egress_attach_group_members('app.member', 'u', 'g') \g /dev/null
RESET ROLE;
SET LOCAL session_replication_role = replica;
INSERT INTO app.member VALUES ('eve', 'staff');
DELETE FROM app.member WHERE u = 'bob';
SELECT set_eq('SELECT user_id FROM vpn.egress_group_member', $$VALUES ('ann'), ('eve')$$, 'members are followed');
SET LOCAL client_min_messages = error;
INSERT INTO vpn.egress_group_member VALUES ('eve', 'staff'), ('fay', 'staff');
SELECT set_eq('SELECT user_id FROM vpn.egress_group_member', $$VALUES ('ann'), ('eve')$$, 'what comes to the mirror otherwise is left out');
SET LOCAL session_replication_role = origin;

/* ----------------------------------------------- the mirror changed by hand */

UPDATE vpn.egress_group_member SET group_id = 'owners';
DELETE FROM vpn.egress_group_member;
SELECT bag_eq('SELECT * FROM vpn.egress_group_member', $$VALUES ('ann', 'staff'), ('eve', 'staff')$$,
              'UPDATE and DELETE by hand are left out as INSERT is');
SELECT is(error('TRUNCATE vpn.egress_group_member'), '55000 | group members come from table app.member | '
          'Table "egress_group_member" is its mirror, and cannot be truncated. | '
          'Truncate that table, or detach it with egress_detach_group_members().', 'TRUNCATE is refused');
-- a copy of the table, with triggers that are older than those of the original: as a restore may leave them
SET LOCAL client_min_messages = warning;
SET ROLE sessions_app;
SELECT vpn.egress_detach_group_members('app.member') \g /dev/null
RESET ROLE;
CREATE SCHEMA backup AUTHORIZATION sessions_app;
SET ROLE sessions_app;
CREATE TABLE backup.member (u text, g text);
CREATE TRIGGER egress_group_member_changed AFTER INSERT OR UPDATE OR DELETE ON backup.member
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_follow_group_members('u', 'g', 'app.member');
CREATE TRIGGER egress_group_member_changed AFTER INSERT OR UPDATE OR DELETE ON app.member
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_follow_group_members('u', 'g', 'app.member');
INSERT INTO app.member VALUES ('gus', 'staff');
RESET ROLE;
SELECT set_eq('SELECT user_id FROM vpn.egress_group_member', $$VALUES ('gus')$$, 'the one that says its own name is the source');
SELECT matches(error($$INSERT INTO backup.member VALUES ('x', 'y')$$), 'Its table is not the one that is attached\.', 'its copy is not');
SELECT matches(error($$ALTER TABLE app.member RENAME u TO "user"; DELETE FROM app.member$$),
               'If the column was renamed, detach the table with egress_detach_group_members\(\), and attach it again\.',
               'a renamed column: what to do');

/* --------------------------------- event triggers that look up names as they please */

CREATE TABLE public.ddl_log (tag text);
GRANT INSERT, SELECT ON public.ddl_log TO sessions_app;
CREATE FUNCTION public.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO ddl_log VALUES (tg_tag); END';
CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION public.log_ddl();
DROP TABLE backup.member, app.member;
SET ROLE sessions_app;
SET search_path = public, tap;
CREATE TABLE app.watched (id text PRIMARY KEY, g text);
SELECT lives_ok(call, call) FROM unnest(ARRAY[
    $$SELECT vpn.egress_attach_sessions('app.watched', 'id', $q$NEW.g = 'stopped'$q$)$$, $$SELECT vpn.egress_detach_sessions('app.watched')$$,
    $$SELECT vpn.egress_attach_group_members('app.watched', 'id', 'g')$$, $$SELECT vpn.egress_detach_group_members('app.watched')$$]) call;
SELECT cmp_ok(count(*), '>=', 6::bigint, 'the event trigger has seen what they do') FROM ddl_log WHERE tag = 'CREATE TRIGGER';
RESET ROLE;
SELECT lives_ok($$SELECT vpn.egress_grant_access('sessions_monitor', 'admin')$$, 'and a grant of access');
SELECT cmp_ok(count(*), '>=', 9::bigint, 'which it has seen, too') FROM ddl_log WHERE tag = 'GRANT';

SELECT * FROM finish();
ROLLBACK;
