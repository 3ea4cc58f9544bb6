-- attach_rights.sql -- what the owner of an attached table controls runs with that owner's rights, whoever attached the table
--
-- To plan a query over a table can run functions of its owner (the expression of an index is simplified then), and so can
-- row-level security and the operators of a schema in the search_path. Here they all belong to mallory, who owns the table;
-- the extension's owner, a superuser, attaches it, and the triggers of the members read it as well.
--
-- Not in one transaction: there the relation cache would keep the index's expression.
\set ON_ERROR_STOP on
\set QUIET on
CREATE EXTENSION egress;
SELECT plan(17);

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'provider', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'gateway');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type)
VALUES (1, 1, 'credential', 'everyone');

-- a run that was interrupted leaves the role
SET client_min_messages = warning;
DROP ROLE IF EXISTS attach_rights_mallory;
CREATE ROLE attach_rights_mallory;
SELECT egress_grant_access('attach_rights_mallory', 'app') \g /dev/null
CREATE SCHEMA mallory AUTHORIZATION attach_rights_mallory;
CREATE SEQUENCE ran_as_mallory;
CREATE SEQUENCE ran_as_other;
CREATE SEQUENCE left_behind;
GRANT USAGE ON SEQUENCE ran_as_mallory, ran_as_other, left_behind TO attach_rights_mallory;

SET ROLE attach_rights_mallory;
-- says who runs it, and tries to leave in the caller's session what can run later, with the caller's rights
CREATE FUNCTION mallory.told() RETURNS boolean LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
BEGIN
    IF current_user = 'attach_rights_mallory' THEN
        BEGIN
            CREATE TEMPORARY TABLE left_behind ();
            DROP TABLE left_behind;
            PERFORM nextval('public.left_behind');
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END IF;
    PERFORM nextval(CASE current_user WHEN 'attach_rights_mallory' THEN 'public.ran_as_mallory' ELSE 'public.ran_as_other' END);
    RETURN true;
END $$;
CREATE FUNCTION mallory.immutable() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM mallory.told(); RETURN ''; END $$;
CREATE FUNCTION mallory.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN mallory.told(); END $$;
CREATE FUNCTION mallory.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.told(); RETURN ''; END $$;
CREATE OPERATOR mallory.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mallory.equal);
CREATE OPERATOR mallory.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = mallory.equal);
CREATE TABLE mallory.trap (id text, g text, n int);
INSERT INTO mallory.trap VALUES ('t1', 'g', 1), ('t1', 'g', 2), ('t2', 'g', 3), ('t3', 'g', 4);
CREATE INDEX trap_expression ON mallory.trap ((id || mallory.immutable()));
CREATE POLICY trap ON mallory.trap USING (mallory.told());
ALTER TABLE mallory.trap ENABLE ROW LEVEL SECURITY;
ALTER TABLE mallory.trap FORCE ROW LEVEL SECURITY;
RESET ROLE;
SELECT count(egress_acquire_credential('mallory', NULL, 1, 't' || n)) FROM generate_series(1, 3) n \g /dev/null

-- who ran mallory's functions since the trap was set, and whether they could leave something behind
CREATE FUNCTION ran() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', CASE WHEN m.is_called THEN 'mallory' END, CASE WHEN o.is_called THEN 'other' END,
                     CASE WHEN l.is_called THEN 'unrestricted' END)
    FROM ran_as_mallory m, ran_as_other o, left_behind l $$;
-- forget, and let the relation cache forget the index's expression, so that the next query's planner simplifies it anew
\set set_trap 'ALTER INDEX mallory.trap_expression SET (fillfactor = 80); ALTER SEQUENCE ran_as_mallory RESTART; ALTER SEQUENCE ran_as_other RESTART; ALTER SEQUENCE left_behind RESTART;'

:set_trap
SELECT count(*) FROM mallory.trap \g /dev/null
SELECT is(ran(), 'other', 'the trap works: who reads the table runs the function');

:set_trap
SET search_path = mallory, pg_catalog, public;
SELECT egress_attach_sessions('mallory.trap', 'id', 'NEW.n OPERATOR(pg_catalog.=) 3') \g /dev/null
SET search_path = public, tap;
SELECT is(ran(), 'mallory', 'sessions are taken over with the rights of the table''s owner');
SELECT is(string_agg(session_id, ' '), 't2', 'and they are') FROM egress_lease_history;

:set_trap
SET search_path = mallory, pg_catalog, public;
SELECT egress_attach_group_members('mallory.trap', 'id', 'g') \g /dev/null
SET search_path = public, tap;
SELECT is(ran(), 'mallory', 'members are read with the rights of the table''s owner');
SELECT is(string_agg(user_id, ' ' ORDER BY user_id), 't1 t2 t3', 'and they are') FROM egress_group_member;

-- the index is gone while the superuser writes, so that nothing but the triggers' own queries reads the trap
ALTER TABLE mallory.trap DISABLE ROW LEVEL SECURITY;
DROP INDEX mallory.trap_expression;
SET search_path = mallory, pg_catalog, public;
ALTER SEQUENCE ran_as_mallory RESTART;
ALTER SEQUENCE ran_as_other RESTART;
ALTER SEQUENCE left_behind RESTART;
DELETE FROM mallory.trap WHERE n OPERATOR(pg_catalog.=) 1;
DELETE FROM mallory.trap WHERE n OPERATOR(pg_catalog.=) 4;
UPDATE mallory.trap SET n = 0;
SET search_path = public, tap;
SELECT is(ran(), '', 'operators and functions of mallory''s schema are not run by the triggers');
SELECT is(string_agg(user_id, ' ' ORDER BY user_id), 't1 t2', 'which know what goes and what stays') FROM egress_group_member;
SELECT is(string_agg(session_id, ' ' ORDER BY session_id), 't1 t2 t3', 'and which sessions ended') FROM egress_lease_history;

SET ROLE attach_rights_mallory;
CREATE INDEX trap_expression ON mallory.trap ((id || mallory.immutable()));
RESET ROLE;
:set_trap
SET ROLE attach_rights_mallory;
TRUNCATE mallory.trap;
RESET ROLE;
SELECT is(ran(), 'mallory', 'TRUNCATE is followed with the rights of the table''s owner');
SELECT is_empty('SELECT * FROM egress_group_member', 'and leaves no member');
SELECT egress_detach_group_members('mallory.trap') \g /dev/null

-- a row of one partition goes: the trigger looks into the other, which the statement has nothing to do with
SET ROLE attach_rights_mallory;
CREATE TABLE mallory.part (id text, g text, n int) PARTITION BY LIST (n);
CREATE TABLE mallory.part_1 PARTITION OF mallory.part FOR VALUES IN (1);
CREATE TABLE mallory.part_2 PARTITION OF mallory.part FOR VALUES IN (2);
INSERT INTO mallory.part VALUES ('t1', 'g', 1), ('t1', 'g', 2), ('t2', 'g', 1);
DROP INDEX mallory.trap_expression;
CREATE INDEX trap_expression ON mallory.part_2 ((id || mallory.immutable()));
SELECT egress_attach_group_members('mallory.part', 'id', 'g') \g /dev/null
RESET ROLE;
:set_trap
SET ROLE attach_rights_mallory;
DELETE FROM mallory.part_1;
RESET ROLE;
SELECT is(ran(), 'mallory', 'rows are followed with the rights of the table''s owner');
SELECT is(string_agg(user_id, ' '), 't1', 'and what is looked for is found') FROM egress_group_member;
SELECT egress_detach_group_members('mallory.part'), egress_detach_sessions('mallory.trap') \g /dev/null
SELECT is(count(*), 0::bigint, 'detached') FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 'mallory.trap'::regclass;

-- and a function of hers sets a search_path for whoever makes an acquire, or a query, that looks a session up
SET ROLE attach_rights_mallory;
CREATE FUNCTION mallory.over(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'mallory', false);
    RETURN $1 OPERATOR(pg_catalog.=) 'over';
END $$;
CREATE TABLE mallory.session (id text PRIMARY KEY, status text);
INSERT INTO mallory.session VALUES ('s1', 'running'), ('s2', 'over');
SELECT mallory.over('') \g /dev/null
SELECT pg_catalog.current_setting('search_path') AS set_by_mallory \gset
SET search_path = public, tap;
RESET ROLE;
SELECT is(:'set_by_mallory'::text, 'mallory', 'a function can set a search_path');
SELECT egress_attach_sessions('mallory.session', 'id', 'mallory.over(NEW.status)', true) \g /dev/null
SELECT pg_catalog.current_setting('search_path') AS left_by_mallory \gset
SET search_path = public, tap;
SELECT is(:'left_by_mallory'::text, 'public, tap', 'what she sets does not outlast an attach');
SELECT count(egress_acquire_credential('mallory', NULL, 1, 's1')) \g /dev/null
SELECT pg_catalog.current_setting('search_path') AS left_by_mallory \gset
SET search_path = public, tap;
SELECT is(:'left_by_mallory'::text, 'public, tap', 'nor an acquire');
SELECT count(*) FROM egress_orphaned_connection \g /dev/null
SELECT pg_catalog.current_setting('search_path') AS left_by_mallory \gset
SET search_path = public, tap;
SELECT is(:'left_by_mallory'::text, 'public, tap', 'nor a look at orphans');

DROP OWNED BY attach_rights_mallory CASCADE;
DROP ROLE attach_rights_mallory;
SELECT * FROM finish();
