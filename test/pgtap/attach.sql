-- attach.sql -- egress_attach_sessions, egress_attach_group_members and their opposites
--
-- Two roles have app access and nothing else: app, who owns the application's tables, and stranger. What they attach is
-- watched by the superuser: which leases are left, and what egress_group_member holds.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
CREATE ROLE attach_app;
CREATE ROLE attach_stranger;
SELECT vpn.egress_grant_access('attach_app', 'app'), vpn.egress_grant_access('attach_stranger', 'app') \g /dev/null
GRANT USAGE ON SCHEMA tap TO attach_app, attach_stranger;
CREATE SCHEMA "My ""App""" AUTHORIZATION attach_app;
CREATE SCHEMA app AUTHORIZATION attach_app;
GRANT USAGE ON SCHEMA app TO attach_stranger;
CREATE SCHEMA stranger AUTHORIZATION attach_stranger;

INSERT INTO vpn.egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'all', 'custom'), (2, 'staff', 'custom');
INSERT INTO vpn.egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'open'), (2, 2, 'closed');
INSERT INTO vpn.egress_provider_mapping (egress_provider_id, subject_type, subject_id)
VALUES (1, 'everyone', NULL), (2, 'group', 'staff');
INSERT INTO vpn.egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'c1', 'everyone'), (2, 'c2', 'everyone');

/* ------------------------------------------------------- what a test looks at */

CREATE SCHEMA look;
GRANT USAGE ON SCHEMA look TO PUBLIC;
-- gives each session of a list a lease, unless it has one
CREATE FUNCTION look.lease(VARIADIC sessions text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM vpn.egress_acquire_credential('ann', NULL, 1, session) FROM unnest(sessions) session;
END $$;
-- the sessions whose leases have ended since the last look, and why, where it is not the end of the session
CREATE FUNCTION look.ended() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    WITH gone AS (DELETE FROM vpn.egress_lease_history RETURNING session_id, release_reason)
    SELECT coalesce(string_agg(session_id || CASE release_reason WHEN 'session_end' THEN '' ELSE ':' || release_reason END,
                               ' ' ORDER BY session_id), '') FROM gone $$;
CREATE FUNCTION look.forget() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    DELETE FROM vpn.egress_lease; DELETE FROM vpn.egress_lease_history $$;
CREATE FUNCTION look.members() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(string_agg(user_id || '/' || group_id, ' ' ORDER BY user_id, group_id), '') FROM vpn.egress_group_member $$;
-- every trigger that there is but PostgreSQL's own, each with its table
CREATE FUNCTION look.triggers() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(tgrelid::regclass || '.' || tgname, ' ' ORDER BY tgrelid::regclass::text, tgname), '')
    FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text NOT LIKE 'vpn.%' $$;
-- what a statement fails with; '' when it does not
CREATE FUNCTION look.error(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN '';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

/* ------------------------------------------- sessions, quoted names, app access */

SET ROLE attach_app;
SET search_path = "My ""App""", public, tap;
CREATE TYPE "State" AS ENUM ('Running', 'Stopped');
CREATE FUNCTION "Is Over"("State") RETURNS boolean LANGUAGE sql AS $$ SELECT $1::text = 'Stopped' $$;
CREATE TABLE "Session ""Table""" (
    dropped int, "Session Id's" uuid UNIQUE, state "State" DEFAULT 'Running', note text);
ALTER TABLE "Session ""Table""" DROP COLUMN dropped;
INSERT INTO "Session ""Table"""
SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, CASE WHEN n <= 2 THEN 'Stopped' ELSE 'Running' END::"State"
FROM generate_series(1, 9) n;
SELECT look.lease(VARIADIC array_agg("Session Id's"::text)) FROM "Session ""Table""" \g /dev/null
SELECT look.lease('of another table') \g /dev/null

SELECT lives_ok($$
    SELECT vpn.egress_attach_sessions('"Session ""Table"""', 'Session Id''s',
        $_$OLD.state IS DISTINCT FROM NEW.state AND "Is Over"(NEW.state) AND NEW.state = 'Stopped'::"State" -- over $_$)$$,
    'a role with app access attaches a table that it owns');
CREATE FUNCTION ended() RETURNS text LANGUAGE sql AS $$ SELECT replace(look.ended(), '00000000-0000-4000-8000-00000000000', '') $$;
SELECT is(ended(), '1 2', 'sessions that are over already lose their leases; OLD is NULL for them');

-- from here on the names in the condition would mean nothing
CREATE FUNCTION app.ended() RETURNS text LANGUAGE sql AS $$ SELECT "My ""App""".ended() $$;
SET search_path = app, public, tap;
\set table '"My ""App"""."Session ""Table"""'
\set id '"Session Id\'s"'
UPDATE :table SET note = 'touched';
SELECT is(ended(), '', 'an update ends nothing');
UPDATE :table SET state = 'Stopped' WHERE :id::text LIKE '%3';
SELECT is(ended(), '3', 'unless the condition holds then');
DELETE FROM :table WHERE :id::text LIKE '%4';
SELECT is(ended(), '4', 'DELETE');
MERGE INTO :table s USING (VALUES ('5', 'stop'), ('6', 'delete')) t (n, what) ON s.:id::text LIKE '%' || t.n
WHEN MATCHED AND what = 'stop' THEN UPDATE SET state = 'Stopped' WHEN MATCHED THEN DELETE;
SELECT is(ended(), '5 6', 'MERGE');
INSERT INTO :table (:id) VALUES ('00000000-0000-4000-8000-000000000007')
ON CONFLICT (:id) DO UPDATE SET note = 'again';
SELECT is(ended(), '', 'ON CONFLICT DO UPDATE that touches the row');
INSERT INTO :table (:id) VALUES ('00000000-0000-4000-8000-000000000007')
ON CONFLICT (:id) DO UPDATE SET state = 'Stopped';
SELECT is(ended(), '7', 'ON CONFLICT DO UPDATE that ends the session');
UPDATE :table SET :id = '00000000-0000-4000-8000-0000000000aa' WHERE :id::text LIKE '%8';
SELECT is(ended(), '8', 'the id changes: nobody can end the session of the old one any more');
UPDATE :table SET :id = NULL WHERE :id::text LIKE '%9';
SELECT is(ended(), '9', 'the id changes to NULL');
SELECT look.lease('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000aa') \g /dev/null
UPDATE :table SET :id = '00000000-0000-4000-8000-000000000000' WHERE :id IS NULL;
TRUNCATE :table;
SELECT is(ended(), '1 00000000-0000-4000-8000-0000000000aa', 'TRUNCATE');
INSERT INTO :table VALUES ('00000000-0000-4000-8000-000000000001');
SELECT look.lease('00000000-0000-4000-8000-000000000001') \g /dev/null

-- another name, schema and owner's path are no matter
ALTER TABLE :table RENAME TO renamed;
ALTER TABLE "My ""App""".renamed SET SCHEMA app;
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.renamed', 'note')$$),
          '42710 table app.renamed is attached already', 'a table is attached once, whatever its name');
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.renamed', 'nothing of the kind')$$),
          '42703 column "nothing of the kind" of table app.renamed does not exist', 'its column is checked first');
CREATE TRIGGER by_hand AFTER DELETE ON app.renamed
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_release_on_session_end('Session Id''s');
RESET ROLE;
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SET ROLE attach_app;
SELECT is(look.triggers(), 'renamed.by_hand renamed.egress_session_changed renamed.egress_session_deleted '
          'renamed.egress_session_ended renamed.egress_session_truncated', 'the triggers have these names');
SELECT lives_ok($$SELECT vpn.egress_detach_sessions('app.renamed')$$, 'it detaches the table');
SELECT is(look.triggers(), 'renamed.by_hand', 'all that it made is gone, what was made by hand stays');
SELECT is(ended(), '', 'and so do leases');
SELECT is(look.error($$SELECT vpn.egress_detach_sessions('app.renamed')$$), '42704 table app.renamed is not attached',
          'not attached any more');

-- a trigger of the name is not ours when it executes something else
DROP TRIGGER by_hand ON app.renamed;
CREATE TRIGGER egress_session_truncated AFTER DELETE ON app.renamed FOR EACH ROW EXECUTE FUNCTION public.nothing();
SELECT is(look.error($$SELECT vpn.egress_detach_sessions('app.renamed')$$), '42704 table app.renamed is not attached',
          'another trigger of that name is not taken for ours');
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.renamed', 'Session Id''s')$$),
          '42710 trigger "egress_session_truncated" for relation "renamed" already exists', 'nor replaced');
SELECT is(look.triggers(), 'renamed.egress_session_truncated', 'and nothing else is left behind');
DROP TABLE app.renamed;
RESET ROLE;
SELECT look.forget() \g /dev/null

/* --------------------------------------------------------------- kinds of ids */

SET ROLE attach_app;
CREATE DOMAIN app.session_id AS varchar(40) CHECK (VALUE <> '');
CREATE DOMAIN app.padded AS char(12);
CREATE TYPE app.color AS ENUM ('red', 'blue');
CREATE DOMAIN app.color_id AS app.color;
CREATE DOMAIN app.numbers AS int4range;
CREATE TYPE app.pair AS (a int, b text);
CREATE COLLATION app.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
-- a table with ids of a type: which leases it takes over, ends by a changed id, by DELETE, and by TRUNCATE
CREATE FUNCTION app.try_type(type text, first text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('CREATE TABLE app.try (over boolean, id %s)', type);
    EXECUTE format('INSERT INTO app.try VALUES (true, %1$L), (false, %2$L), (true, NULL)', first, second);
    PERFORM look.lease(first, second);
    PERFORM vpn.egress_attach_sessions('app.try', 'id', 'NEW.over');
    result := 'taken over ' || look.ended();
    UPDATE app.try SET id = id;
    result := result || ', touched ' || look.ended();
    PERFORM look.lease(first);
    EXECUTE format('UPDATE app.try SET id = %L, over = false WHERE over AND id IS NOT NULL', second);
    result := result || ', changed ' || look.ended();
    DELETE FROM app.try;
    result := result || ', deleted ' || look.ended();
    PERFORM look.lease(first);
    EXECUTE format('INSERT INTO app.try VALUES (true, %1$L), (true, NULL)', first);
    TRUNCATE app.try;
    result := result || ', truncated ' || look.ended();
    DROP TABLE app.try;
    RETURN result;
END $$;
SELECT is(app.try_type(type, first, second),
          format('taken over %1$s, touched %3$s, changed %1$s, deleted %2$s, truncated %1$s', first, second, touched),
          'ids of type ' || type)
FROM (VALUES
    ('uuid', '00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b', ''),
    ('bigint', '-9223372036854775808', '42', ''),
    ('text', E'any '' "thing"\t%s \\', 'x', ''),
    ('text COLLATE app.nocase', 'ABC', 'abc', ''),
    ('app.session_id', 'of a domain', 'another', ''),
    ('character(10)', 'padded', 'padded too', ''),
    ('app.padded', 'padded', 'padded too', ''),
    ('name', 'a name', 'another', ''),
    ('numeric', '1.0', '1.00', ''),
    ('app.pair', '(1,y)', '(1,x)', ''),
    ('int[]', '{1,2}', '{1,3}', ''),
    -- no equality
    ('json', '{"a":1}', '{"a": 1}', ''),
    ('point', '(1,2)', '(1,3)', '')) ids (type, first, second, touched);
RESET ROLE;
SELECT is(count(*), 0::bigint, 'no lease is left') FROM vpn.egress_lease WHERE session_id <> 'of another table';

/* -------------------------------------------------------------------- errors */

SET ROLE attach_app;
CREATE TABLE app.session (id text, status text, twice int GENERATED ALWAYS AS (length(status)) STORED);
CREATE VIEW app.session_view AS SELECT * FROM app.session;
CREATE TABLE app.member (user_id text, group_id text);
CREATE VIEW app.member_view AS SELECT * FROM app.member;
INSERT INTO app.session VALUES ('s1', 'stopped');
SELECT look.lease('s1') \g /dev/null
INSERT INTO app.member VALUES ('ann', 'staff');
RESET ROLE;
INSERT INTO vpn.egress_group_member VALUES ('by', 'hand');
SET ROLE attach_app;

SELECT is(look.error(format('SELECT vpn.%s', call)), error, call)
FROM (VALUES
    ('egress_attach_sessions(NULL, ''id'')', '22004 session_table must not be null'),
    ('egress_attach_sessions(''app.session'', NULL)', '22004 session_id_column must not be null'),
    ('egress_detach_sessions(NULL)', '22004 session_table must not be null'),
    ('egress_attach_group_members(NULL, ''user_id'', ''group_id'')', '22004 member_table must not be null'),
    ('egress_attach_group_members(''app.member'', NULL, ''group_id'')', '22004 user_id_column must not be null'),
    ('egress_attach_group_members(''app.member'', ''user_id'', NULL)', '22004 group_id_column must not be null'),
    ('egress_detach_group_members(NULL)', '22004 member_table must not be null'),
    ('egress_attach_sessions(1::regclass, ''id'')', '42P01 table with OID 1 does not exist'),
    ('egress_detach_group_members(1::regclass)', '42P01 table with OID 1 does not exist'),
    ('egress_attach_sessions(''app.session'', ''ID'')', '42703 column "ID" of table app.session does not exist'),
    ('egress_attach_sessions(''app.session'', ''ctid'')', '42P10 column "ctid" of table app.session cannot hold ids'),
    ('egress_attach_group_members(''app.member'', ''user'', ''group_id'')', '42703 column "user" of table app.member does not exist'),
    ('egress_attach_group_members(''app.member'', ''user_id'', ''group'')', '42703 column "group" of table app.member does not exist'),
    ('egress_attach_group_members(''app.member'', ''user_id'', ''tableoid'')', '42P10 column "tableoid" of table app.member cannot hold ids'),
    ('egress_attach_sessions(''app.session_view'', ''id'')', '42809 app.session_view is not a table'),
    ('egress_attach_group_members(''app.member_view'', ''user_id'', ''group_id'')', '42809 app.member_view is not a table'),
    ('egress_detach_sessions(''app.session'')', '42704 table app.session is not attached'),
    ('egress_detach_group_members(''app.member'')', '42704 table app.member is not attached'),
    ('egress_attach_sessions(''vpn.egress_lease'', ''session_id'')', '42501 must be owner of table egress_lease'),
    ('egress_attach_sessions(''app.session'', ''id'', ''NEW.nothing'')', '42703 column new.nothing does not exist'),
    ('egress_attach_sessions(''app.session'', ''id'', ''NEW.id'')', '42804 argument of WHEN must be type boolean, not type text'),
    ('egress_attach_sessions(''app.session'', ''id'', ''EXISTS (SELECT FROM app.session)'')',
     '0A000 cannot use subquery in trigger WHEN condition'),
    -- only the take-over comes upon it, with the triggers made by then
    ('egress_attach_sessions(''app.session'', ''id'', ''1 / (length(NEW.status) - 7) = 1'')', '22012 division by zero')
) calls (call, error);
-- from PostgreSQL 18 on
SELECT look.error('CREATE TABLE app.virtual (id text, v text GENERATED ALWAYS AS (id) VIRTUAL)') = '' AS has_virtual \gset
\if :has_virtual
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.virtual', 'v')$$),
          '42P10 column "v" of table app.virtual cannot hold ids', 'not a virtual column');
\endif
SELECT is(look.error(format('SET LOCAL transaction_read_only = on; SELECT vpn.%s(%s)', function, arguments)),
          format('25006 cannot execute %s() in a read-only transaction', function), function || ' in a read-only transaction')
FROM (VALUES
    ('egress_attach_sessions', '''app.session'', ''id'''), ('egress_detach_sessions', '''app.session'''),
    ('egress_attach_group_members', '''app.member'', ''user_id'', ''group_id'''),
    ('egress_detach_group_members', '''app.member''')) calls (function, arguments);
RESET ROLE;
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('vpn.egress_lease', 'session_id')$$),
          '42809 table vpn.egress_lease is one of extension egress itself', 'not the extension''s own tables');
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('vpn.egress_group_member', 'user_id', 'group_id')$$),
          '42809 table vpn.egress_group_member is one of extension egress itself', 'not the mirror of itself');
SET ROLE attach_stranger;
SELECT is(look.error(format('SELECT vpn.%s', call)), error, 'a stranger: ' || call)
FROM (VALUES
    ('egress_attach_sessions(''app.session'', ''id'')', '42501 must be owner of table session'),
    ('egress_detach_sessions(''app.session'')', '42501 must be owner of table session'),
    ('egress_attach_group_members(''app.member'', ''user_id'', ''group_id'')', '42501 must be owner of table member'),
    ('egress_detach_group_members(''app.member'')', '42501 must be owner of table member'),
    ('egress_attach_sessions(''app.session_view'', ''id'')', '42501 must be owner of view session_view')
) calls (call, error);
RESET ROLE;
GRANT ALL ON app.session TO attach_stranger;
SET ROLE attach_stranger;
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.session', 'id')$$),
          '42501 must be owner of table session', 'the privilege to make triggers is not enough');
RESET ROLE;

/* ----------------------------------------------- smuggling through ended_when */

CREATE SEQUENCE public.smuggled;
GRANT ALL ON SEQUENCE public.smuggled TO attach_app;
SET ROLE attach_app;
CREATE FUNCTION app.evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.smuggled''); RETURN NULL; END';
SELECT matches(look.error(format('SELECT vpn.egress_attach_sessions(''app.session'', ''id'', %L)', condition)),
               '^42601 ', 'refused: ' || condition)
FROM unnest(ARRAY[
    '', ' ', '-- nothing', 'NEW.status =', 'NEW.status = ''stopped', 'NEW.status /* ',
    'true) EXECUTE FUNCTION app.evil() --', 'true) EXECUTE FUNCTION app.evil(); SELECT (true', 'true, true) --',
    'true;', 'true)', '(true', ')(']) condition;
-- what is a statement, or several, and not an expression
SELECT is(look.error(format('SELECT vpn.egress_attach_sessions(''app.session'', ''id'', %L)', condition)),
          '42601 ended_when is not one condition', 'refused: ' || condition)
FROM unnest(ARRAY[
    'true), (true', 'true); SELECT nextval(''public.smuggled''); SELECT (true', 'true) FROM (VALUES (1)) AS v (a) WHERE (true',
    'true) WHERE (true', 'true) UNION ALL SELECT (true', 'true) ORDER BY (1', 'true) LIMIT (1', 'true) GROUP BY (1',
    'true) HAVING (true', 'true) WINDOW w AS (ORDER BY 1', 'true) AS x, (true', 'true) OFFSET (0']) condition;
CREATE FUNCTION app.context_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN context;
END $$;
SELECT matches(app.context_of($$SELECT vpn.egress_attach_sessions('app.session', 'id', 'NEW.status =')$$),
               'argument ended_when', 'and so does the context of what the parser finds');
CREATE FUNCTION app.hint_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN hint;
END $$;
SELECT is(app.hint_of($$SELECT vpn.egress_attach_sessions('app.session', 'id', 'status = ''stopped''')$$),
          'In ended_when a column has NEW. or OLD. before its name, as in NEW.status = ''stopped''.',
          'a column without NEW. or OLD.: a hint says what is missing');
SELECT doesnt_match(app.hint_of($$SELECT vpn.egress_attach_sessions('app.session', 'id', 'NEW.statue = ''stopped''')$$),
                    'In ended_when', 'which another error has not');
RESET ROLE;
SELECT ok(NOT is_called, 'none of it ran') FROM public.smuggled;

SELECT is(look.triggers(), '', 'after all these errors no trigger is left behind');
SELECT is(look.members(), 'by/hand', 'the group members are as they were');
SELECT is(look.ended(), '', 'and so are the leases');
SELECT ok(EXISTS (SELECT FROM vpn.egress_lease WHERE session_id = 's1'), 's1 still has its lease');

-- what looks odd and is one condition
SET ROLE attach_app;
SELECT is(look.error(format($$SELECT vpn.egress_attach_sessions('app.session', 'id', %L)$$, condition)) ||
          look.error($$SELECT vpn.egress_detach_sessions('app.session')$$), '', 'accepted: ' || condition)
FROM unnest(ARRAY['NEW.id = '')'' -- )', '(NEW.id = ''x'') AND (NEW.id = ''y'')', 'NEW.id = ''x'') AND (NEW.id = ''y''',
                  'NEW IS NULL', 'OLD IS NOT NULL', 'NEW.tableoid = 1', 'OLD.* IS DISTINCT FROM NEW.* AND false']) condition;
RESET ROLE;
SELECT is(look.ended(), '', 'none of which held for s1: OLD is a row of NULLs');

/* ------------------------------------------------------- partitioned sessions */

SET ROLE attach_app;
CREATE TABLE app.part (region text, id text, n int, status text) PARTITION BY LIST (region);
CREATE TABLE app.part_eu PARTITION OF app.part FOR VALUES IN ('eu') PARTITION BY RANGE (n);
CREATE TABLE app.part_eu_1 (dropped int, status text, n int, id text, region text);
ALTER TABLE app.part_eu_1 DROP COLUMN dropped;
ALTER TABLE app.part_eu ATTACH PARTITION app.part_eu_1 FOR VALUES FROM (0) TO (100);
CREATE TABLE app.part_eu_2 PARTITION OF app.part_eu FOR VALUES FROM (100) TO (200);
CREATE TABLE app.part_us PARTITION OF app.part FOR VALUES IN ('us');
INSERT INTO app.part VALUES ('eu', 'e1', 1, 'stopped'), ('us', 'u1', 1, 'stopped');
INSERT INTO app.part SELECT 'eu', 'e' || n, n, 'running' FROM generate_series(2, 9) n;
INSERT INTO app.part SELECT 'eu', 'e' || n, n, 'running' FROM generate_series(102, 109) n;
INSERT INTO app.part SELECT 'us', 'u' || n, n, 'running' FROM generate_series(2, 9) n;
SELECT look.lease(VARIADIC array_agg(id)) FROM app.part \g /dev/null
SELECT vpn.egress_attach_sessions('app.part', 'id', $$NEW.status = 'stopped'$$) \g /dev/null
SELECT is(look.ended(), 'e1 u1', 'partitions: taken over');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = any (ARRAY['app.part', 'app.part_eu', 'app.part_eu_1', 'app.part_eu_2',
                                                                       'app.part_us']::regclass[])), 20::bigint,
          'each of the five tables has the four triggers');
UPDATE app.part SET status = 'stopped' WHERE n = 2;
SELECT is(look.ended(), 'e2 u2', 'partitions: ended through the root');
UPDATE app.part_eu_1 SET status = 'stopped' WHERE n = 3;
DELETE FROM app.part WHERE n = 4 OR n = 104;
DELETE FROM app.part_eu WHERE n = 105;
UPDATE app.part_us SET id = 'new' WHERE n = 5;
SELECT is(look.ended(), 'e104 e105 e3 e4 u4 u5', 'partitions: ended, deleted and changed through root, middle and leaf');
UPDATE app.part SET region = 'us' WHERE n = 6;
UPDATE app.part SET n = 206 - 100 WHERE n = 7 AND region = 'eu';
SELECT is(look.ended(), 'e6 e7', 'a row that moves to another partition is deleted in the old one, which ends its lease');
TRUNCATE app.part_eu_2;
SELECT is(look.ended(), 'e102 e103 e106 e107 e108 e109', 'TRUNCATE of a leaf');
TRUNCATE app.part_eu;
SELECT is(look.ended(), 'e5 e8 e9', 'TRUNCATE of the middle');
TRUNCATE app.part;
SELECT is(look.ended(), 'u3 u6 u7 u8 u9', 'TRUNCATE of the root');
CREATE TABLE app.part_new PARTITION OF app.part DEFAULT;
INSERT INTO app.part VALUES ('xx', 'x1', 1, 'running'), ('xx', 'x2', 1, 'running');
SELECT look.lease('x1', 'x2') \g /dev/null
DELETE FROM app.part_new WHERE id = 'x1';
TRUNCATE app.part;
SELECT is(look.ended(), 'x1 x2', 'a partition that is made later');
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.part_us', 'id')$$),
          '42710 table app.part_us is attached already', 'a partition of it is attached with it');
SELECT is(look.error($$SELECT vpn.egress_detach_sessions('app.part_us')$$), '42704 table app.part_us is not attached',
          'and is not detached alone');
ALTER TABLE app.part DETACH PARTITION app.part_us;
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.part_us', 'id')$$),
          '42710 table app.part_us is attached already', 'one that was a partition still has the TRUNCATE trigger');
SELECT lives_ok($$SELECT vpn.egress_detach_sessions('app.part_us')$$, 'until it is detached itself');
SELECT lives_ok($$SELECT vpn.egress_attach_sessions('app.part_us', 'id')$$, 'and can be attached by itself');
SELECT lives_ok($$SELECT vpn.egress_detach_sessions('app.part')$$, 'the rest is detached');
SELECT is(look.triggers(), 'part_us.egress_session_changed part_us.egress_session_deleted part_us.egress_session_truncated',
          'at every level, and only that');
SELECT vpn.egress_detach_sessions('app.part_us') \g /dev/null
-- a partition that is attached already
SELECT vpn.egress_attach_sessions('app.part_eu_1', 'id') \g /dev/null
SELECT is(look.error($$SELECT vpn.egress_attach_sessions('app.part', 'id')$$),
          '42710 table app.part_eu_1 is attached already', 'a table of which one partition is attached');
SELECT vpn.egress_detach_sessions('app.part_eu_1') \g /dev/null
RESET ROLE;
SELECT is(look.triggers(), '', 'no trigger is left');

/* -------------------------------------------------------------- group members */

SET ROLE attach_app;
TRUNCATE app.member;
ALTER TABLE app.member ADD role text;
INSERT INTO app.member VALUES
    ('ann', 'staff', 'a'), ('ann', 'staff', 'b'), ('ann', 'other', 'a'), ('bob', 'other', 'a'),
    (NULL, 'staff', 'a'), ('bob', NULL, 'a'), ('', 'staff', 'a'), ('bob', '', 'a'), (repeat('x', 256), 'staff', 'a'),
    ('bob', repeat('x', 256), 'a');
SELECT is((SELECT string_agg(gateway_name, ' ') FROM vpn.egress_available_gateways('ann')), 'open', 'ann''s menu before');
SELECT lives_ok($$SELECT vpn.egress_attach_group_members('app.member', 'user_id', 'group_id')$$,
                'a role with app access attaches a table that it owns');
SELECT is((SELECT string_agg(gateway_name, ' ') FROM vpn.egress_available_gateways('ann')), 'open closed', 'ann''s menu after');
SELECT is(look.members(), 'ann/other ann/staff bob/other', 'egress_group_member holds what the table holds, once, and nothing else');
SELECT is(look.triggers(), 'member.egress_group_member_changed member.egress_group_member_truncated', 'two triggers');

INSERT INTO app.member VALUES ('cat', 'staff', 'a'), ('cat', 'staff', 'b'), ('ann', 'staff', 'c'), (NULL, 'x', 'a'),
    ('', 'x', 'a'), ('x', repeat('x', 256), 'a'), (repeat('y', 255), repeat('z', 255), 'a');
SELECT is(look.members(), 'ann/other ann/staff bob/other cat/staff ' || repeat('y', 255) || '/' || repeat('z', 255), 'INSERT');
DELETE FROM app.member WHERE length(user_id) = 255 OR user_id IS NULL OR group_id IS NULL;
SELECT is(look.members(), 'ann/other ann/staff bob/other cat/staff', 'DELETE of the one row of a pair, and of rows that are no members');
DELETE FROM app.member WHERE user_id = 'ann' AND role = 'a';
SELECT is(look.members(), 'ann/staff bob/other cat/staff', 'DELETE of one of several rows');
DELETE FROM app.member WHERE user_id = 'ann';
SELECT is(look.members(), 'bob/other cat/staff', 'DELETE of the others, in one statement');
SELECT is((SELECT string_agg(gateway_name, ' ') FROM vpn.egress_available_gateways('ann')), 'open', 'ann''s menu has followed');

UPDATE app.member SET role = 'z';
SELECT is(look.members(), 'bob/other cat/staff', 'UPDATE of another column');
UPDATE app.member SET group_id = 'new' WHERE user_id = 'bob' AND group_id = 'other';
SELECT is(look.members(), 'bob/new cat/staff', 'UPDATE of the group');
UPDATE app.member SET user_id = 'dan' WHERE ctid = (SELECT max(ctid) FROM app.member WHERE user_id = 'cat');
SELECT is(look.members(), 'bob/new cat/staff dan/staff', 'UPDATE of the user in one of two rows');
UPDATE app.member SET user_id = CASE user_id WHEN 'cat' THEN 'dan' ELSE 'cat' END WHERE user_id IN ('cat', 'dan');
SELECT is(look.members(), 'bob/new cat/staff dan/staff', 'UPDATE that swaps two');
UPDATE app.member SET group_id = NULL WHERE user_id = 'cat';
SELECT is(look.members(), 'bob/new dan/staff', 'UPDATE to NULL');
UPDATE app.member SET group_id = 'staff' WHERE user_id = 'cat';
SELECT is(look.members(), 'bob/new cat/staff dan/staff', 'UPDATE from NULL');

CREATE UNIQUE INDEX ON app.member (user_id, group_id, role);
INSERT INTO app.member VALUES ('dan', 'staff', 'z') ON CONFLICT (user_id, group_id, role) DO UPDATE SET group_id = 'moved';
SELECT is(look.members(), 'bob/new cat/staff dan/moved', 'ON CONFLICT DO UPDATE');
MERGE INTO app.member m USING (VALUES ('cat', 'delete'), ('dan', 'update'), ('eve', 'insert')) t (id, what) ON m.user_id = t.id
WHEN MATCHED AND what = 'delete' THEN DELETE WHEN MATCHED THEN UPDATE SET group_id = 'merged'
WHEN NOT MATCHED THEN INSERT VALUES (id, 'merged', 'a');
SELECT is(look.members(), 'bob/new dan/merged eve/merged', 'MERGE');
WITH gone AS (DELETE FROM app.member WHERE user_id = 'eve' RETURNING *)
INSERT INTO app.member SELECT user_id, group_id, 'again' FROM gone;
SELECT is(look.members(), 'bob/new dan/merged eve/merged', 'DELETE and INSERT in one statement');

SAVEPOINT undone;
DELETE FROM app.member;
INSERT INTO app.member VALUES ('fay', 'staff');
SELECT is(look.members(), 'fay/staff', 'all deleted, one inserted');
ROLLBACK TO undone;
SELECT is(look.members(), 'bob/new dan/merged eve/merged', 'and undone');
SAVEPOINT undone;
TRUNCATE app.member;
SELECT is(look.members(), '', 'TRUNCATE');
ROLLBACK TO undone;
SELECT is(look.members(), 'bob/new dan/merged eve/merged', 'and undone');

-- one table at a time
CREATE TABLE app.other (u text, g text);
INSERT INTO app.other VALUES ('other', 'table');
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('app.member', 'user_id', 'group_id')$$),
          '42710 table app.member is attached already', 'attached once');
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('app.other', 'u', 'g')$$),
          '42710 table app.member is attached already', 'the other table is named');
SELECT is(look.error($$SELECT vpn.egress_detach_group_members('app.other')$$), '42704 table app.other is not attached',
          'the other table is not attached');
RESET ROLE;
SET ROLE attach_stranger;
CREATE TABLE stranger.other (u text, g text);
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('stranger.other', 'u', 'g')$$),
          '42710 table app.member is attached already', 'nor may another owner attach a second');
RESET ROLE;
SET ROLE attach_app;
SELECT is(look.members(), 'bob/new dan/merged eve/merged', 'the members are as they were');
SELECT is(look.triggers(), 'member.egress_group_member_changed member.egress_group_member_truncated', 'and so are the triggers');
CREATE TRIGGER by_hand AFTER INSERT ON app.member
    FOR EACH STATEMENT EXECUTE FUNCTION vpn.egress_follow_group_members('user_id', 'group_id');
SELECT lives_ok($$SELECT vpn.egress_detach_group_members('app.member')$$, 'it detaches the table');
SELECT is(look.members(), '', 'the members are gone');
SELECT is(look.triggers(), 'member.by_hand', 'so are the triggers, but for what was made by hand');
SELECT is(look.error($$INSERT INTO app.member VALUES ('x', 'y')$$),
          '22023 trigger "by_hand" of table "member" cannot follow group members', 'which cannot work');
DROP TRIGGER by_hand ON app.member;
CREATE TRIGGER egress_group_member_changed BEFORE INSERT ON app.member
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_follow_group_members('user_id', 'group_id');
SELECT is(look.error($$INSERT INTO app.member VALUES ('x', 'y')$$),
          '22023 trigger "egress_group_member_changed" of table "member" cannot follow group members', 'nor BEFORE');
DROP TRIGGER egress_group_member_changed ON app.member;
CREATE TRIGGER egress_group_member_changed AFTER INSERT ON app.member
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_follow_group_members('user_id');
SELECT is(look.error($$INSERT INTO app.member VALUES ('x', 'y')$$),
          '22023 trigger "egress_group_member_changed" of table "member" cannot follow group members', 'nor with one argument');
DROP TRIGGER egress_group_member_changed ON app.member;
CREATE TRIGGER egress_group_member_changed AFTER INSERT ON app.member
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_follow_group_members('user_id', 'nothing');
SELECT is(look.error($$INSERT INTO app.member VALUES ('x', 'y')$$),
          '22023 trigger "egress_group_member_changed" of table "member" cannot follow group members', 'nor with a column that is not there');
DROP TRIGGER egress_group_member_changed ON app.member;
CREATE TRIGGER by_hand AFTER INSERT ON app.member
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_follow_group_members('user_id', 'group_id');
SELECT is(look.error($$INSERT INTO app.member VALUES ('x', 'y')$$),
          '22023 trigger "by_hand" of table "member" cannot follow group members', 'nor under another name');
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('app.other', 'u', 'g')$$), '', 'which keeps nobody from attaching');
SELECT vpn.egress_detach_group_members('app.other') \g /dev/null
DROP TRIGGER by_hand ON app.member;
SELECT is(look.error('SELECT vpn.egress_follow_group_members()'),
          '22023 egress_follow_group_members() is a trigger function', 'nor as a function');
SELECT lives_ok($$SELECT vpn.egress_attach_group_members('app.other', 'u', 'g')$$, 'now the other table can be attached');
SELECT is(look.members(), 'other/table', 'with its members');
DROP TABLE app.other;
SELECT lives_ok($$SELECT vpn.egress_attach_group_members('app.member', 'user_id', 'group_id')$$, 'a table that went is not in the way');
SELECT is(look.members(), 'bob/new dan/merged eve/merged', 'nor are its members');

-- triggers like ours, made by hand on a table of somebody else, are nothing to the one that is attached
RESET ROLE;
GRANT TEMPORARY ON DATABASE :"DBNAME" TO attach_stranger;
SET ROLE attach_stranger;
CREATE TEMP TABLE temporary (u text, g text);
SELECT is(look.error($$CREATE TRIGGER egress_group_member_changed AFTER INSERT OR UPDATE OR DELETE ON $$ || hand || $$
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_follow_group_members('u', 'g');
    CREATE TRIGGER egress_group_member_truncated AFTER TRUNCATE ON $$ || hand || $$
    FOR EACH STATEMENT EXECUTE FUNCTION vpn.egress_follow_group_members('u', 'g')$$), '', 'triggers by hand on ' || hand)
FROM (VALUES ('stranger.other'), ('pg_temp.temporary')) tables (hand);
SELECT is(look.error(format(command, hand)),
          format('22023 trigger "egress_group_member_%s" of table "%s" cannot follow group members', fired, split_part(hand, '.', 2)),
          format(command, hand) || ', which nobody attached')
FROM (VALUES ('stranger.other'), ('pg_temp.temporary')) tables (hand),
    (VALUES ('TRUNCATE %s', 'truncated'), ('INSERT INTO %s VALUES (''eve'', ''staff'')', 'changed')) commands (command, fired);
RESET ROLE;
SET ROLE attach_app;
SELECT is(look.members(), 'bob/new dan/merged eve/merged', 'no member has come or gone');
INSERT INTO app.member VALUES ('fay', 'staff', 'a');
SELECT is(look.members(), 'bob/new dan/merged eve/merged fay/staff', 'what is attached is followed');
RESET ROLE;
SELECT is(look.error($$INSERT INTO vpn.egress_group_member VALUES ('gus', 'staff'), ('fay', 'staff')$$), '', 'by hand nothing is inserted');
SELECT is(look.members(), 'bob/new dan/merged eve/merged fay/staff', 'what is there twice is no error either');
SET ROLE attach_app;
DELETE FROM app.member WHERE user_id = 'fay';
TRUNCATE app.member;
SELECT is(look.members(), '', 'and its TRUNCATE');
INSERT INTO app.member VALUES ('fay', 'staff', 'a');
SELECT is(look.error($$SELECT vpn.egress_detach_group_members('app.member')$$), '', 'it can be detached');
SELECT is(look.members(), '', 'with its members');
RESET ROLE;
DROP TABLE stranger.other;
SELECT is(look.error($$INSERT INTO vpn.egress_group_member VALUES ('gus', 'staff')$$), '', 'then they are written by hand');
SELECT is(look.error($$INSERT INTO vpn.egress_group_member VALUES ('gus', 'staff')$$),
          '23505 duplicate key value violates unique constraint "egress_group_member_pkey"', 'once');
SET ROLE attach_app;
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('app.member', 'user_id', 'group_id')$$), '',
          'and attached in spite of those of a temporary table');
SELECT vpn.egress_detach_group_members('app.member') \g /dev/null
RESET ROLE;
SET ROLE attach_stranger;
SELECT is(look.error(command), '22023 trigger "egress_group_member_changed" of table "temporary" cannot follow group members',
          'which is never followed')
FROM (VALUES ($$INSERT INTO pg_temp.temporary VALUES ('eve', 'staff')$$)) commands (command);
DROP TABLE pg_temp.temporary;
CREATE TEMP TABLE temporary (u text, g text);
SELECT matches(look.error($$SELECT vpn.egress_attach_group_members('pg_temp.temporary', 'u', 'g')$$),
          '^42809 table .*temporary is a temporary table', 'nor attached');
DROP TABLE pg_temp.temporary;
RESET ROLE;

/* ----------------------------------------------- kinds of ids of group members */

-- a membership twice, of a type; which members there are at each step
CREATE FUNCTION app.try_member(type text, first text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('CREATE TABLE app."Try" (n int, "User" text, "Group" %s)', type);
    EXECUTE format('INSERT INTO app."Try" VALUES (1, ''u'', %1$L), (2, ''u'', %1$L)', first);
    PERFORM vpn.egress_attach_group_members('app."Try"', 'User', 'Group');
    result := 'filled ' || look.members();
    EXECUTE format('INSERT INTO app."Try" VALUES (3, ''u'', %1$L), (4, ''u'', %1$L)', second);
    result := result || ', inserted ' || look.members();
    DELETE FROM app."Try" WHERE n = 1;
    result := result || ', one of two deleted ' || look.members();
    DELETE FROM app."Try" WHERE n = 2;
    result := result || ', both ' || look.members();
    EXECUTE format('UPDATE app."Try" SET "Group" = %L WHERE n = 3', first);
    result := result || ', changed ' || look.members();
    TRUNCATE app."Try";
    result := result || ', truncated ' || look.members();
    PERFORM vpn.egress_detach_group_members('app."Try"');
    DROP TABLE app."Try";
    RETURN result;
END $$;
SELECT is(app.try_member(type, first, second),
          format('filled u/%1$s, inserted u/%3$s u/%4$s, one of two deleted u/%3$s u/%4$s, both u/%2$s, changed u/%3$s u/%4$s, truncated ',
                 first, second, least(first COLLATE "C", second COLLATE "C"), greatest(first COLLATE "C", second COLLATE "C")),
          'group ids of type ' || type)
FROM (VALUES
    ('uuid', '00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'),
    ('bigint', '-9223372036854775808', '42'),
    ('text', E'any '' "thing"\t%s \\', 'x'),
    ('app.session_id', 'of a domain', 'another'),
    ('character(10)', 'padded', 'padded too'),
    ('app.padded', 'padded', 'padded too'),
    ('app.color_id', 'red', 'blue'),
    ('app.numbers', '[1,2)', '[1,3)'),
    ('int[]', '{1,2}', '{1,3}'),
    ('app.pair', '(1,)', '(1,x)'),
    -- equal, and yet not the same id
    ('numeric', '1.0', '1.00'),
    ('text COLLATE app.nocase', 'ABC', 'abc'),
    ('interval', '24:00:00', '1 day'),
    -- no equality
    ('json', '{"a":1}', '{"a": 1}'),
    ('point', '(1,2)', '(1,3)')) ids (type, first, second);

/* ---------------------------------------- ids whose text depends on settings */

-- written with the usual settings, and gone with others: every one of them changes a text
-- the leases that are left, and the members, at each step
CREATE FUNCTION look.leases() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(string_agg(session_id, ' ' ORDER BY session_id), '') FROM vpn.egress_lease WHERE session_id <> 'of another table' $$;
SELECT look.forget() \g /dev/null
SET ROLE attach_app;
CREATE DOMAIN app.bytes AS bytea;
CREATE TABLE app.ids (n int, bytes app.bytes, at timestamptz, day date[], number float8, span interval, over boolean);
CREATE FUNCTION app.try_settings(id text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    usual text[];
    other text := $_$SET bytea_output = escape; SET datestyle = 'German'; SET extra_float_digits = -5; SET intervalstyle = iso_8601;
                     SET timezone = 'Asia/Tokyo'$_$;
BEGIN
    SET bytea_output = hex; SET datestyle = 'ISO'; SET extra_float_digits = 1; SET intervalstyle = postgres; SET timezone = 'UTC';
    TRUNCATE app.ids;
    INSERT INTO app.ids SELECT n, convert_to('id ' || chr(92) || n, 'UTF8'), timestamptz '2026-01-01 00:00Z' + n * interval '1 day',
        ARRAY[date '2026-01-12' + n], 0.1::float8 + n + 1e-12, n * interval '26 hours', n = 1 FROM generate_series(1, 4) n;
    EXECUTE format('SELECT array_agg(%I::text ORDER BY n) FROM app.ids', id) INTO usual;
    PERFORM look.lease(VARIADIC usual);
    EXECUTE other;
    PERFORM vpn.egress_attach_sessions('app.ids', id, 'NEW.over');
    PERFORM vpn.egress_attach_group_members('app.ids', id, id);
    RETURN NEXT current_setting('datestyle') || current_setting('timezone');
    SET bytea_output = hex; SET datestyle = 'ISO'; SET extra_float_digits = 1; SET intervalstyle = postgres; SET timezone = 'UTC';
    RETURN NEXT (look.leases() = array_to_string(ARRAY(SELECT u FROM unnest(usual[2:]) u ORDER BY u COLLATE "C"), ' '))::text;
    RETURN NEXT (look.members() = (SELECT string_agg(u || '/' || u, ' ' ORDER BY u COLLATE "C") FROM unnest(usual) u))::text;
    EXECUTE other;
    DELETE FROM app.ids WHERE n = 2;
    DELETE FROM app.ids WHERE n = 1;
    INSERT INTO app.ids SELECT * FROM app.ids WHERE n = 3;
    DELETE FROM app.ids WHERE ctid = (SELECT max(ctid) FROM app.ids);
    RETURN NEXT (look.leases() = usual[4])::text;
    RETURN NEXT (look.members() = (SELECT string_agg(u || '/' || u, ' ' ORDER BY u COLLATE "C") FROM unnest(usual[3:]) u))::text;
    TRUNCATE app.ids;
    RETURN NEXT look.leases() || look.members();
    PERFORM vpn.egress_detach_sessions('app.ids'), vpn.egress_detach_group_members('app.ids');
END $$;
SELECT is(array_to_string(ARRAY(SELECT app.try_settings(id)), ' '), 'German, DMYAsia/Tokyo true true true true ',
          'whatever the session''s settings: an id of type ' || type)
FROM (VALUES ('bytes', 'app.bytes'), ('at', 'timestamptz'), ('day', 'date[]'), ('number', 'float8'), ('span', 'interval')) ids (id, type);
DROP TABLE app.ids;
RESET ROLE;
SELECT look.forget() \g /dev/null
RESET bytea_output; RESET datestyle; RESET extra_float_digits; RESET intervalstyle; RESET timezone;

/* ------------------------------------------------ partitioned group members */

CREATE TABLE app.pm (tenant text, u text, g bigint) PARTITION BY LIST (tenant);
CREATE TABLE app.pm_a PARTITION OF app.pm FOR VALUES IN ('a') PARTITION BY LIST (g);
CREATE TABLE app.pm_a_1 (g bigint, u text, tenant text);
ALTER TABLE app.pm_a ATTACH PARTITION app.pm_a_1 FOR VALUES IN (1);
CREATE TABLE app.pm_a_2 PARTITION OF app.pm_a FOR VALUES IN (2);
CREATE TABLE app.pm_b PARTITION OF app.pm FOR VALUES IN ('b');
INSERT INTO app.pm VALUES ('a', 'ann', 1), ('a', 'ann', 2), ('b', 'ann', 1), ('b', 'bob', 2);
SELECT lives_ok($$SELECT vpn.egress_attach_group_members('app.pm', 'u', 'g')$$, 'partitions: attached');
SELECT is(look.members(), 'ann/1 ann/2 bob/2', 'partitions: filled');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'pm%'), 10::bigint, 'two triggers for each of the five tables');
CREATE TABLE app.other (u text, g text);
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('app.other', 'u', 'g')$$),
          '42710 table app.pm is attached already', 'partitions: the root is what is attached');
DROP TABLE app.other;
INSERT INTO app.pm VALUES ('a', 'cat', 1);
INSERT INTO app.pm_b VALUES ('b', 'cat', 2);
DELETE FROM app.pm_a_1 WHERE u = 'ann';
DELETE FROM app.pm_a WHERE u = 'ann';
SELECT is(look.members(), 'ann/1 bob/2 cat/1 cat/2', 'partitions: a pair that another partition still has stays');
UPDATE app.pm SET tenant = 'a' WHERE u = 'bob';
SELECT is(look.members(), 'ann/1 bob/2 cat/1 cat/2', 'partitions: a row that moves stays a member');
UPDATE app.pm SET tenant = 'b', g = 7 WHERE u = 'bob';
SELECT is(look.members(), 'ann/1 bob/7 cat/1 cat/2', 'partitions: unless its pair changes');
TRUNCATE app.pm_a_1;
SELECT is(look.members(), 'ann/1 bob/7 cat/2', 'partitions: TRUNCATE of a leaf');
INSERT INTO app.pm VALUES ('a', 'ann', 1), ('a', 'ann', 2);
TRUNCATE app.pm_a;
SELECT is(look.members(), 'ann/1 bob/7 cat/2', 'partitions: TRUNCATE of the middle');
INSERT INTO app.pm VALUES ('a', 'ann', 1), ('a', 'eve', 1), ('a', 'eve', 2);
TRUNCATE app.pm_a_1;
TRUNCATE app.pm_a_2;
SELECT is(look.members(), 'ann/1 bob/7 cat/2', 'partitions: one TRUNCATE right behind another');
INSERT INTO app.pm VALUES ('a', 'eve', 1), ('a', 'eve', 2);
SELECT pg_stat_get_xact_tuples_inserted('vpn.egress_group_member'::regclass) AS inserted \gset
TRUNCATE app.pm_a;
SELECT is(pg_stat_get_xact_tuples_inserted('vpn.egress_group_member'::regclass) - :inserted, 3::bigint,
          'partitions: one TRUNCATE of three tables fills the mirror once');
SELECT is(look.members(), 'ann/1 bob/7 cat/2', 'partitions: with what is left');
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('app.pm_b', 'u', 'g')$$),
          '42710 table app.pm_b is attached already', 'partitions: attached with the root');
SELECT is(look.error($$SELECT vpn.egress_detach_group_members('app.pm_b')$$),
          '42704 table app.pm_b is not attached', 'partitions: not detached alone');
ALTER TABLE app.pm DETACH PARTITION app.pm_a;
INSERT INTO app.pm_a VALUES ('a', 'dan', 1);
SELECT is(look.members(), 'ann/1 bob/7 cat/2', 'one that was a partition is followed no more');
TRUNCATE app.pm_a;
SELECT is(look.members(), 'ann/1 bob/7 cat/2', 'nor is its TRUNCATE');
SELECT lives_ok($$SELECT vpn.egress_detach_group_members('app.pm_a')$$, 'though it has the trigger, until it is detached itself');
SELECT is(look.members(), 'ann/1 bob/7 cat/2', 'which takes no members away');
TRUNCATE app.pm;
SELECT is(look.members(), '', 'partitions: TRUNCATE of the root');
INSERT INTO app.pm VALUES ('b', 'ann', 1);
SELECT lives_ok($$SELECT vpn.egress_detach_group_members('app.pm')$$, 'partitions: detached');
SELECT is(look.members(), '', 'partitions: no members are left');
SELECT is(look.triggers(), '', 'partitions: nor triggers');
-- a partition alone: its own rows, not the root's
INSERT INTO app.pm VALUES ('b', 'bob', 2);
CREATE TABLE app.pm_c PARTITION OF app.pm FOR VALUES IN ('c');
INSERT INTO app.pm VALUES ('c', 'ann', 1), ('c', 'cat', 3);
SELECT vpn.egress_attach_group_members('app.pm_b', 'u', 'g') \g /dev/null
DELETE FROM app.pm WHERE u = 'ann';
SELECT is(look.members(), 'bob/2', 'one partition can be attached by itself');
SELECT is(look.error($$SELECT vpn.egress_attach_group_members('app.pm', 'u', 'g')$$),
          '42710 table app.pm_b is attached already', 'then the root cannot');
TRUNCATE app.pm_b;
SELECT is(look.members(), '', 'TRUNCATE of it');
SELECT vpn.egress_detach_group_members('app.pm_b') \g /dev/null
RESET ROLE;

/* ------------------------------------------- tables that inherit, and indexes */

SET ROLE attach_app;
CREATE TABLE app.parent (u text, g text, over boolean);
CREATE TABLE app.child () INHERITS (app.parent);
INSERT INTO app.parent VALUES ('p', 'g', true);
INSERT INTO app.child VALUES ('p', 'g', true), ('c', 'g', true);
SELECT look.lease('p', 'c') \g /dev/null
SELECT vpn.egress_attach_sessions('app.parent', 'u', 'NEW.over'), vpn.egress_attach_group_members('app.parent', 'u', 'g') \g /dev/null
SELECT is(look.ended(), 'p', 'sessions of a table that inherits are not taken over: triggers do not see them');
SELECT is(look.members(), 'p/g', 'nor are members');
DELETE FROM ONLY app.parent;
SELECT is(look.members(), '', 'nor do they keep a member');
SELECT vpn.egress_detach_group_members('app.parent') \g /dev/null

CREATE TABLE app.big (u varchar(20), g app.session_id, PRIMARY KEY (u, g));
INSERT INTO app.big SELECT 'user ' || n, 'group' FROM generate_series(1, 5000) n;
ANALYZE app.big;
SELECT vpn.egress_attach_group_members('app.big', 'u', 'g') \g /dev/null
SELECT seq_scan AS seq_scans, idx_scan AS index_scans FROM pg_stat_xact_user_tables WHERE relid = 'app.big'::regclass \gset
DELETE FROM app.big WHERE u IN ('user 1', 'user 2') AND g = 'group';
SELECT is(seq_scan || ' ' || (idx_scan > :index_scans + 1), :seq_scans || ' true',
          'the trigger looks for other rows of a pair by the table''s index')
FROM pg_stat_xact_user_tables WHERE relid = 'app.big'::regclass;
SELECT vpn.egress_detach_group_members('app.big') \g /dev/null
RESET ROLE;

/* --------------------------------------------------------- row-level security */

SET ROLE attach_app;
CREATE TABLE app.hidden (id text, g text, over boolean);
INSERT INTO app.hidden VALUES ('h1', 'g', true), ('h1', 'g', false), ('h2', 'g', true);
ALTER TABLE app.hidden ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.hidden FORCE ROW LEVEL SECURITY;
CREATE POLICY writable ON app.hidden FOR DELETE USING (true);
CREATE POLICY readable ON app.hidden FOR SELECT USING (over AND id = 'h1');
SELECT look.lease('h1', 'h2') \g /dev/null
SELECT vpn.egress_attach_sessions('app.hidden', 'id', 'NEW.over'), vpn.egress_attach_group_members('app.hidden', 'id', 'g') \g /dev/null
SELECT is(look.ended(), 'h1 h2', 'a policy hides no session that is over from the take-over');
SELECT is(look.members(), 'h1/g h2/g', 'and no membership');
DELETE FROM app.hidden WHERE over;
SELECT is(look.members(), 'h1/g h2/g', 'nor the second row of a pair that loses its first');
SELECT vpn.egress_detach_group_members('app.hidden') \g /dev/null
DROP TABLE app.hidden;
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
