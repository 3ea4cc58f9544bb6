-- hostile.sql -- nothing that a caller can create changes what the extension does
--
-- The caller has app access and nothing else. Its search_path begins with pg_temp, which shadows every table, sequence
-- and type of the extension, and with a schema that has its own version of every operator and function of PostgreSQL
-- over the types that the extension uses. Whoever runs one of these moves a sequence, also when it is rolled back.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE ROLE mallory;
CREATE SCHEMA evil AUTHORIZATION mallory;

/* ------------------------------------------------- operators, functions */

SET ROLE mallory;
CREATE SEQUENCE evil.ran;
DO $$
DECLARE
    types oid[] := '{text,name,bigint,integer,oid,boolean,timestamptz,interval,regclass}'::regtype[]::oid[];
    body text := 'BEGIN PERFORM pg_catalog.nextval(''evil.ran''); RETURN NULL; END';
    f record;
BEGIN
    FOR f IN
        SELECT p.oid, proname, oidvectortypes(proargtypes) AS arguments, format_type(prorettype, NULL) AS result
        FROM pg_catalog.pg_proc p
        WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset AND provariadic = 0
          AND proargtypes::oid[] <@ types AND pronargs > 0 AND prorettype = ANY (types)
    LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result, body);
    END LOOP;

    FOR f IN
        SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
        FROM pg_catalog.pg_operator
        WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b'
          AND oprleft = ANY (types) AND oprright = ANY (types) AND oprresult = ANY (types)
    LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
                       'operator ' || f.oprname, f.l, f.r, f.result, body);
        EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.%I)',
                       f.oprname, f.l, f.r, 'operator ' || f.oprname);
    END LOOP;
END $$;
CREATE FUNCTION evil.next_state(bigint) RETURNS bigint LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_catalog.nextval(''evil.ran''); RETURN 0; END';
CREATE AGGREGATE evil.count(*) (SFUNC = evil.next_state, STYPE = bigint);
RESET ROLE;

SELECT cmp_ok((SELECT count(*) FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace), '>', 100::bigint,
              'there are hostile operators');
SELECT cmp_ok((SELECT count(*) FROM pg_proc WHERE pronamespace = 'evil'::regnamespace), '>', 300::bigint,
              'and functions');

-- who has moved the sequence since the last look
CREATE FUNCTION hostile_code_ran() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    ran boolean := is_called FROM evil.ran;
BEGIN
    PERFORM setval('evil.ran', 1, false);
    RETURN ran;
END $$;

-- the trap works: it takes effect where code is not qualified
SET search_path = evil, pg_catalog;
SELECT 'a'::text = 'b'::text AS trapped \gset
SET search_path = public, tap;
SELECT ok(hostile_code_ran(), 'an operator that is not qualified would run hostile code');
SET search_path = evil, pg_catalog;
SELECT octet_length('abc'::text) AS trapped \gset
SET search_path = public, tap;
SELECT ok(hostile_code_ran(), 'so would a function');
SET search_path = evil, pg_catalog;
SELECT count(*) AS trapped \gset
SET search_path = public, tap;
SELECT ok(hostile_code_ran(), 'so would an aggregate');

/* ------------------------------------------------------------- creation */

CREATE SCHEMA vpn;
SET search_path = evil, pg_catalog;
CREATE EXTENSION egress SCHEMA vpn;
SET search_path = public, tap;
SELECT ok(NOT hostile_code_ran(), 'CREATE EXTENSION runs no hostile code');
SELECT is_empty($$
    SELECT pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, refobjsubid)
    FROM pg_depend
    WHERE (refclassid, refobjid) IN (
              SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'evil'::regnamespace
              UNION ALL
              SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace)
      AND classid NOT IN ('pg_operator'::regclass, 'pg_proc'::regclass)$$,
    'no check, index, view or trigger was built on it');

-- Two users, two credentials of one connection each. The second world, in the shadows, lets everybody do everything.
INSERT INTO vpn.egress_provider VALUES (1, 'real', 'custom');
INSERT INTO vpn.egress_gateway (egress_gateway_id, egress_provider_id, name)
VALUES (11, 1, 'first'), (12, 1, 'second');
INSERT INTO vpn.egress_provider_mapping
VALUES (101, 1, 'user', 'ann', true, true), (102, 1, 'group', 'staff', true, false);
INSERT INTO vpn.egress_provider_mapping_gateway VALUES (102, 12);
INSERT INTO vpn.egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
                                   custom_credential, limit_active_connections, active_connection_limit)
VALUES (201, 1, 'shared', 'everyone', NULL, 'secret 1', true, 1), (202, 1, 'staff', 'group', 'staff', 'secret 2', true, 1);
INSERT INTO vpn.egress_group_member VALUES ('bob', 'staff');
SELECT vpn.egress_grant_access('mallory', 'app') AS granted \gset

/* -------------------------------------------------------------- shadows */

-- a temporary table, sequence or type for each of the extension, with its name
DO $$
DECLARE
    relation record;
BEGIN
    FOR relation IN SELECT relname, relkind FROM pg_class
                    WHERE relnamespace = 'vpn'::regnamespace AND relkind IN ('r', 'v', 'S') LOOP
        IF relation.relkind = 'S' THEN
            EXECUTE format('CREATE TEMP SEQUENCE %I', relation.relname);
        ELSE
            EXECUTE format('CREATE TEMP TABLE %I (LIKE vpn.%1$I INCLUDING DEFAULTS INCLUDING INDEXES)', relation.relname);
        END IF;
        EXECUTE format('ALTER %s pg_temp.%I OWNER TO mallory',
                       CASE relation.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relation.relname);
    END LOOP;
END $$;
-- the copy of an index that includes a column is named after all of its columns
ALTER INDEX pg_temp.egress_lease_egress_credential_id_slot_cooling_egress_gatew_key RENAME TO egress_lease_egress_credential_id_slot_key;
INSERT INTO pg_temp.egress_provider
VALUES (1, 'shadow', 'custom', true, false, false), (2, 'shadow 2', 'custom', true, false, false);
INSERT INTO pg_temp.egress_gateway
VALUES (11, 1, 'shadow', NULL, NULL, NULL, true, false, 'custom'), (21, 2, 'shadow', NULL, NULL, NULL, true, false, 'custom');
INSERT INTO pg_temp.egress_provider_mapping VALUES (1, 1, 'everyone', NULL, true, true), (2, 2, 'everyone', NULL, true, true);
INSERT INTO pg_temp.egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type)
VALUES (1, 1, 'shadow', 'everyone', 'custom'), (2, 2, 'shadow', 'everyone', 'custom');
INSERT INTO pg_temp.egress_lease VALUES ('s9', 1, 11, 'ann', NULL, now(), 1);
SET ROLE mallory;
CREATE TYPE pg_temp.egress_provider_type AS ENUM ('shadow');
CREATE TYPE pg_temp.egress_subject_type AS ENUM ('everyone', 'workspace', 'group', 'user');
RESET ROLE;
SELECT is_empty($$
    SELECT relname FROM pg_class
    WHERE relnamespace = 'vpn'::regnamespace AND (relkind IN ('r', 'S') OR relname ~ '_(pkey|key)$')
      AND to_regclass('pg_temp.' || relname) IS NULL$$,
    'every table, every sequence and every index of a key has a shadow');

-- what is in the shadows, as one value
CREATE FUNCTION shadows() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    relation regclass;
    rows text := '';
    this text;
BEGIN
    FOR relation IN SELECT oid FROM pg_class
                    WHERE relnamespace = pg_my_temp_schema() AND relname ~ '^egress_' AND relkind IN ('r', 'S')
                    ORDER BY relname LOOP
        EXECUTE format('SELECT string_agg(t::text, '';'') FROM (SELECT * FROM %s) t', relation) INTO this;
        rows := rows || relation || ': ' || coalesce(this, '') || E'\n';
    END LOOP;
    RETURN rows;
END $$;
SELECT md5(shadows()) AS shadows \gset

/* ---------------------------------------------------- the calls, twice */

-- What comes back is collected in a table of the caller's, by statements that use no operator or function themselves.
-- Before the first call, the C code is made to forget where its tables are, so that it looks in these surroundings.
CREATE TABLE public.answers (round int, step text, answer text);
GRANT ALL ON public.answers TO mallory;
CREATE TABLE evil.sessions (id text, note text);
ALTER TABLE evil.sessions OWNER TO mallory;

\set hostile 'SET ROLE mallory; SET search_path = pg_temp, evil, pg_catalog;'
\set friendly 'RESET ROLE; SET search_path = public, tap;'

ALTER TABLE vpn.egress_lease SET (autovacuum_enabled = true);
:hostile
INSERT INTO public.answers SELECT 1, 'menu ann', g.gateway_name FROM vpn.egress_available_gateways('ann') g;
INSERT INTO public.answers SELECT 1, 'menu bob', g.gateway_name FROM vpn.egress_available_gateways('bob', 'desk') g;
INSERT INTO public.answers SELECT 1, 'menu cat', g.gateway_name FROM vpn.egress_available_gateways('cat') g;
INSERT INTO public.answers SELECT 1, 'acquire', a.custom_credential FROM vpn.egress_acquire_credential('ann', NULL, 11, 's1') a;
INSERT INTO public.answers SELECT 1, 'acquire', a.custom_credential FROM vpn.egress_acquire_credential('bob', NULL, 12, 's2') a;
INSERT INTO public.answers SELECT 1, 'again', a.custom_credential FROM vpn.egress_acquire_credential('bob', NULL, 12, 's2') a;
INSERT INTO public.answers SELECT 1, 'free', g.available_connections::text FROM vpn.egress_available_gateways('bob') g;
:friendly
SELECT ok(NOT hostile_code_ran(), 'menu and acquire run no hostile code');
SELECT results_eq($$SELECT step, answer FROM public.answers WHERE round = 1$$, $$VALUES
    ('menu ann', 'first'), ('menu ann', 'second'), ('menu bob', 'second'),
    ('acquire', 'secret 1'), ('acquire', 'secret 2'), ('again', 'secret 2'), ('free', '0')$$,
    'and answer from the real tables');
SELECT results_eq('SELECT session_id, egress_credential_id, slot FROM vpn.egress_lease ORDER BY 1',
                  $$VALUES ('s1' COLLATE "C", 201::bigint, 1), ('s2' COLLATE "C", 202, 1)$$, 'the leases are real');

-- errors: the same as ever, and the names in them are the real ones
CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL ROLE mallory;
    SET LOCAL search_path = pg_temp, evil, pg_catalog;
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) SQLERRM;
END $$;
SELECT is(error_of($$SELECT vpn.egress_acquire_credential('ann', NULL, 21, 's3')$$),
          'NG001 gateway 21 does not exist', 'NG001');
SELECT is(error_of($$SELECT vpn.egress_acquire_credential('cat', NULL, 11, 's3')$$),
          'NG002 gateway 11 "first" is not available to user "cat" without a workspace', 'NG002');
SELECT is(error_of($$SELECT vpn.egress_acquire_credential('ann', NULL, 11, 's3')$$),
          'NG004 no connection is free for gateway 11 "first"', 'NG004');
SELECT is(error_of($$SELECT vpn.egress_acquire_credential('ann', NULL, 12, 's1')$$),
          'NG005 session "s1" already holds a lease', 'NG005');
SELECT ok(NOT hostile_code_ran(), 'errors run no hostile code');

-- release, and the trigger in all its forms, on a table of the caller's whose every door is a trap as well
ALTER TABLE vpn.egress_lease RESET (autovacuum_enabled);
SET ROLE mallory;
CREATE FUNCTION evil.spy(text) RETURNS boolean LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_catalog.nextval(''evil.ran''); RETURN true; END';
CREATE TRIGGER deleted AFTER DELETE ON evil.sessions
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_release_on_session_end('id');
CREATE TRIGGER updated AFTER UPDATE ON evil.sessions
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_release_on_session_end('id');
CREATE TRIGGER truncated BEFORE TRUNCATE ON evil.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION vpn.egress_release_on_session_end('id');
INSERT INTO evil.sessions VALUES ('s1'), ('s9');
RESET ROLE;
:hostile
INSERT INTO public.answers SELECT 2, 'release', pg_catalog.text(vpn.egress_release_credential('s2'));
INSERT INTO public.answers SELECT 2, 'release', pg_catalog.text(vpn.egress_release_credential('s9'));
DELETE FROM evil.sessions;
INSERT INTO evil.sessions VALUES ('s4');
INSERT INTO public.answers SELECT 2, 'acquire', a.custom_credential FROM vpn.egress_acquire_credential('ann', NULL, 11, 's4') a;
UPDATE evil.sessions SET note = 'over';
INSERT INTO public.answers SELECT 2, 'acquire', a.custom_credential FROM vpn.egress_acquire_credential('ann', NULL, 11, 's5') a;
TRUNCATE evil.sessions;
INSERT INTO evil.sessions VALUES ('s5');
-- a policy for row security, which runs with the rights of whoever reads the table
ALTER TABLE evil.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE evil.sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY trap ON evil.sessions USING (evil.spy(id));
TRUNCATE evil.sessions;
:friendly
SELECT ok(NOT hostile_code_ran(), 'release and the trigger run no hostile code');
SELECT results_eq($$SELECT step, answer FROM public.answers WHERE round = 2$$, $$VALUES
    ('release', 'true'), ('release', 'false'), ('acquire', 'secret 1'), ('acquire', 'secret 1')$$,
    'and know the real leases only');
SELECT is_empty('SELECT * FROM vpn.egress_lease', 'all leases have ended');
SELECT results_eq('SELECT session_id, credential_name, gateway_name, provider_name, release_reason
                   FROM vpn.egress_lease_history ORDER BY session_id', $$VALUES
    ('s1' COLLATE "C", 'shared', 'first', 'real', 'session_end'), ('s2', 'staff', 'second', 'real', 'released'),
    ('s4', 'shared', 'first', 'real', 'session_end'), ('s5', 'shared', 'first', 'real', 'session_end')$$,
    'their history is the real one');

-- a session table that is temporary itself
:hostile
CREATE TEMP TABLE sessions (id text);
CREATE TRIGGER truncated BEFORE TRUNCATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION vpn.egress_release_on_session_end('id');
INSERT INTO sessions VALUES ('s6');
INSERT INTO public.answers SELECT 3, 'acquire', a.custom_credential FROM vpn.egress_acquire_credential('ann', NULL, 11, 's6') a;
TRUNCATE sessions;
:friendly
SELECT is_empty('SELECT * FROM vpn.egress_lease', 'a temporary session table ends its sessions'' leases');
SELECT is(md5(shadows()), :'shadows', 'nothing was written to the shadows');

/* ---------------------------------------------- views instead of tables */

DO $$
DECLARE
    relation record;
BEGIN
    FOR relation IN SELECT relname FROM pg_class
                    WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r' AND relname ~ '^egress_' LOOP
        EXECUTE format('DROP TABLE pg_temp.%I', relation.relname);
        EXECUTE format('CREATE TEMP VIEW %I AS SELECT v.* FROM vpn.%1$I v WHERE evil.spy(%1$L)', relation.relname);
        EXECUTE format('ALTER VIEW pg_temp.%I OWNER TO mallory', relation.relname);
    END LOOP;
END $$;
ALTER TABLE vpn.egress_lease SET (autovacuum_enabled = true);
:hostile
INSERT INTO public.answers SELECT 4, 'menu', g.gateway_name FROM vpn.egress_available_gateways('bob') g;
INSERT INTO public.answers SELECT 4, 'acquire', a.credential_name FROM vpn.egress_acquire_credential('bob', NULL, 12, 's7') a;
INSERT INTO public.answers SELECT 4, 'release', pg_catalog.text(vpn.egress_release_credential('s7'));
:friendly
SELECT ok(NOT hostile_code_ran(), 'temporary views are not read');
SELECT results_eq($$SELECT step, answer FROM public.answers WHERE round = 4$$, $$VALUES
    ('menu', 'second'), ('acquire', 'shared'), ('release', 'true')$$, 'and change nothing');

/* ------------------------------- administrators and monitors, also superusers */

SELECT vpn.egress_grant_access('mallory', 'admin') AS granted \gset
:hostile
INSERT INTO vpn.egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (13, 1, 'third');
INSERT INTO vpn.egress_credential (egress_credential_id, egress_provider_id, name, subject_type)
VALUES (203, 1, 'open', 'everyone');
INSERT INTO vpn.egress_credential_gateway VALUES (203, 13);
DELETE FROM vpn.egress_provider_mapping_gateway;
INSERT INTO vpn.egress_provider_mapping_gateway VALUES (102, 13);
UPDATE vpn.egress_provider_mapping_gateway SET egress_gateway_id = 11;
UPDATE vpn.egress_gateway SET city = 'moved';
INSERT INTO public.answers SELECT 5, 'acquire', a.credential_name FROM vpn.egress_acquire_credential('bob', NULL, 11, 's8') a;
INSERT INTO public.answers SELECT 5, 'connection', u.gateway_name FROM vpn.egress_connection u;
INSERT INTO public.answers SELECT 5, 'credential', u.credential_name FROM vpn.egress_credential_usage u;
INSERT INTO public.answers SELECT 5, 'gateway', u.gateway_name FROM vpn.egress_gateway_usage u;
INSERT INTO public.answers SELECT 5, 'release', pg_catalog.text(vpn.egress_release_credential('s8'));
DELETE FROM vpn.egress_credential;
DELETE FROM vpn.egress_provider;
:friendly
SELECT ok(NOT hostile_code_ran(), 'the triggers, keys and checks of the tables, and the views, run no hostile code');
SELECT results_eq($$SELECT step, answer FROM public.answers WHERE round = 5 ORDER BY 1, 2$$, $$VALUES
    ('acquire', 'shared'), ('connection', 'first'), ('credential', 'open'), ('credential', 'shared'), ('credential', 'staff'),
    ('gateway', 'first'), ('gateway', 'second'), ('gateway', 'third'), ('release', 'true')$$, 'and show the real rows');
SELECT is_empty('SELECT egress_gateway_id FROM vpn.egress_gateway
                 UNION ALL SELECT egress_credential_id FROM vpn.egress_credential', 'which a deletion takes away');

CREATE ROLE trent;
SET search_path = pg_temp, evil, pg_catalog;
SELECT vpn.egress_grant_access('trent', 'admin') AS granted \gset
SELECT vpn.egress_grant_access('trent', 'monitor') AS granted \gset
SET search_path = public, tap;
SELECT ok(NOT hostile_code_ran(), 'nor does a grant');
SELECT ok(has_table_privilege('trent', 'vpn.egress_gateway', 'INSERT')
          AND NOT has_table_privilege('trent', 'pg_temp.egress_gateway', 'INSERT'), 'which is on the real tables');

SELECT * FROM finish();
ROLLBACK;
