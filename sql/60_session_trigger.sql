-- The trigger on the application's session table: every way in which a session ends, every kind of id.
-- The session table is the application's: here in a schema of its own, owned by a role without any right on egress.
\set SHOW_CONTEXT never
SET search_path = vpn;
CREATE SCHEMA app;

-- gives each session of a list a lease of the credential without a limit
CREATE FUNCTION app.lease(VARIADIC sessions text[]) RETURNS bigint LANGUAGE sql
AS $$ SELECT count(*) FROM unnest(sessions) s, LATERAL egress_acquire_credential('ann', NULL, 21, s) $$;
-- who is left, and who ended how; the history is forgotten at each look
CREATE FUNCTION app.look(OUT live text, OUT ended text) LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM egress_lease_history RETURNING session_id, release_reason)
    SELECT (SELECT string_agg(session_id, ' ' ORDER BY session_id) FROM egress_lease),
           (SELECT string_agg(session_id || ':' || release_reason, ' ' ORDER BY session_id) FROM gone) $$;

------------------------------------------------------------------------------------------------------------------
-- DELETE, UPDATE ... WHEN, TRUNCATE
CREATE TABLE app.sessions (id text PRIMARY KEY, status text NOT NULL DEFAULT 'running');
CREATE TRIGGER session_deleted AFTER DELETE ON app.sessions
    FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER session_stopped AFTER UPDATE ON app.sessions
    FOR EACH ROW WHEN (NEW.status = 'stopped') EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER sessions_truncated BEFORE TRUNCATE ON app.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');

INSERT INTO app.sessions VALUES ('a'), ('b'), ('c'), ('d'), ('without lease');
SELECT app.lease('a', 'b', 'c', 'd', 'of another table');
DELETE FROM app.sessions WHERE id = 'a';
SELECT * FROM app.look();
-- only when the condition holds
UPDATE app.sessions SET status = 'paused';
SELECT * FROM app.look();
UPDATE app.sessions SET status = 'stopped' WHERE id = 'b';
SELECT * FROM app.look();
-- the session that had no lease, or has none any more
DELETE FROM app.sessions WHERE id IN ('b', 'without lease');
SELECT * FROM app.look();
-- a session that stops and gets another id in one statement had its lease by the old one
BEGIN;
UPDATE app.sessions SET id = 'd, archived', status = 'stopped' WHERE id = 'd';
SELECT * FROM app.look();
ROLLBACK;
-- rolled back: the lease stays
BEGIN;
DELETE FROM app.sessions;
ROLLBACK;
BEGIN;
SAVEPOINT truncate;
TRUNCATE app.sessions;
SELECT count(*) FROM egress_lease;
ROLLBACK TO truncate;
COMMIT;
SELECT * FROM app.look();
-- many in one statement, and the leases of other tables' sessions stay
DELETE FROM app.sessions;
SELECT * FROM app.look();
INSERT INTO app.sessions VALUES ('e'), ('f'), ('without lease');
SELECT app.lease('e', 'f');
TRUNCATE app.sessions;
SELECT * FROM app.look();
-- more than are read at a time
INSERT INTO app.sessions SELECT 'n' || n FROM generate_series(1, 2500) n;
SELECT app.lease(VARIADIC array_agg(id)) FROM app.sessions WHERE id <> 'n2000';
TRUNCATE app.sessions;
SELECT live, length(ended) - length(replace(ended, ':session_end', '')) AS characters FROM app.look();
TRUNCATE app.sessions;
-- the connection of a limited credential is free again
INSERT INTO app.sessions VALUES ('g');
SELECT credential_name FROM egress_acquire_credential('cat', 'desk', 31, 'g');
DELETE FROM app.sessions;
SELECT credential_name FROM egress_acquire_credential('cat', 'desk', 31, 'h');
SELECT egress_release_credential('h'), egress_release_credential('of another table');
SELECT * FROM app.look();

-- what ends the session does not matter: a cascade, MERGE, a deferred trigger
CREATE TABLE app.users (id text PRIMARY KEY);
ALTER TABLE app.sessions ADD user_id text REFERENCES app.users ON DELETE CASCADE;
INSERT INTO app.users VALUES ('ann'), ('bob');
INSERT INTO app.sessions VALUES ('i', 'running', 'ann'), ('j', 'running', 'bob'), ('k', 'running', 'bob');
SELECT app.lease('i', 'j', 'k');
DELETE FROM app.users WHERE id = 'ann';
SELECT * FROM app.look();
MERGE INTO app.sessions s USING (VALUES ('j', 'stop'), ('k', 'delete')) do_to (id, what) ON s.id = do_to.id
WHEN MATCHED AND what = 'stop' THEN UPDATE SET status = 'stopped' WHEN MATCHED THEN DELETE;
SELECT * FROM app.look();
-- truncated along with the table that it refers to, or in one command with it
INSERT INTO app.sessions VALUES ('m', 'running', 'bob');
SELECT app.lease('m');
TRUNCATE app.users CASCADE;
SELECT * FROM app.look();
INSERT INTO app.sessions VALUES ('n');
SELECT app.lease('n');
TRUNCATE app.users, app.sessions RESTART IDENTITY;
SELECT * FROM app.look();
-- a deferred trigger: at commit
DROP TRIGGER session_deleted ON app.sessions;
CREATE CONSTRAINT TRIGGER session_deleted AFTER DELETE ON app.sessions DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
INSERT INTO app.sessions VALUES ('l');
SELECT app.lease('l');
BEGIN;
DELETE FROM app.sessions;
SELECT * FROM app.look();
COMMIT;
SELECT * FROM app.look();
DROP TABLE app.sessions, app.users;

------------------------------------------------------------------------------------------------------------------
-- the id may be of any type with a text form, its column have any name, and be NULL
CREATE DOMAIN app.session_id AS varchar(40) CHECK (VALUE <> '');
CREATE DOMAIN app.padded AS char(12);
CREATE TYPE app.kind AS ENUM ('first', 'second');
CREATE TABLE app.kinds (
    uuid uuid, int int, "Session Id" bigint, text text, char char(10), varchar app.session_id, padded app.padded,
    name name, numeric numeric(20, 0), "enum" app.kind, """; DROP TABLE x; --" text, dropped int, last text);
ALTER TABLE app.kinds DROP COLUMN dropped;
CREATE FUNCTION app.attach(id_column text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER deleted AFTER DELETE ON app.kinds
                    FOR EACH ROW EXECUTE FUNCTION vpn.egress_release_on_session_end(%L)', id_column);
    EXECUTE format('CREATE TRIGGER truncated BEFORE TRUNCATE ON app.kinds
                    FOR EACH STATEMENT EXECUTE FUNCTION vpn.egress_release_on_session_end(%L)', id_column);
END $$;
-- a row with an id in one column, the lease of its text form, deleted or truncated away
CREATE FUNCTION app.try(id_column text, value text, lease text)
RETURNS TABLE ("column" text, session text, by_delete text, by_truncate text) LANGUAGE plpgsql AS $$
BEGIN
    "column" := id_column;
    session := lease;
    PERFORM app.attach(id_column);
    EXECUTE format('INSERT INTO app.kinds (%1$I) VALUES (%2$L), (NULL)', id_column, value);
    PERFORM app.lease(lease);
    DELETE FROM app.kinds;
    SELECT ended INTO by_delete FROM app.look();
    EXECUTE format('INSERT INTO app.kinds (%1$I) VALUES (%2$L), (NULL)', id_column, value);
    PERFORM app.lease(lease);
    TRUNCATE app.kinds;
    SELECT ended INTO by_truncate FROM app.look();
    DROP TRIGGER deleted ON app.kinds;
    DROP TRIGGER truncated ON app.kinds;
    RETURN NEXT;
END $$;
SELECT tried.*
FROM (VALUES
    (1, 'uuid', '0a0b0c0d-0000-4000-8000-00000000000a', '0a0b0c0d-0000-4000-8000-00000000000a'),
    (2, 'int', '-42', '-42'),
    (3, 'Session Id', '9223372036854775807', '9223372036854775807'),
    (4, 'text', E'any '' "thing"\t%s', E'any '' "thing"\t%s'),
    (5, 'char', 'padded', 'padded'),
    (6, 'varchar', 'of a domain', 'of a domain'),
    (7, 'padded', 'padded too', 'padded too'),
    (8, 'name', 'a name', 'a name'),
    (9, 'numeric', '18446744073709551616', '18446744073709551616'),
    (10, 'enum', 'second', 'second'),
    (11, '"; DROP TABLE x; --', 'quoted', 'quoted'),
    (12, 'last', 'behind a dropped column', 'behind a dropped column')) ids (n, id_column, value, lease),
    LATERAL app.try(id_column, value, lease) tried
ORDER BY n;
-- what cannot be the id of a lease has none: empty, only padding, longer than 255 bytes
SELECT app.attach('text');
INSERT INTO app.kinds (text) VALUES (''), (repeat('x', 256)), (repeat('x', 100000)), (repeat('y', 255));
SELECT app.lease(repeat('y', 255));
TRUNCATE app.kinds;
SELECT count(*) FROM egress_lease;
INSERT INTO app.kinds (text) VALUES (''), (repeat('x', 256)), (repeat('x', 100000));
DELETE FROM app.kinds;
DROP TRIGGER deleted ON app.kinds;
DROP TRIGGER truncated ON app.kinds;
SELECT app.attach('char');
INSERT INTO app.kinds (char) VALUES ('');
DELETE FROM app.kinds;
SELECT live, length(ended) FROM app.look();
DROP TABLE app.kinds;

------------------------------------------------------------------------------------------------------------------
-- a table of quoted names, in a quoted schema
CREATE SCHEMA "App's ""Schema""";
CREATE TABLE "App's ""Schema"""."Session Table" ("Session Id" text, "Over?" boolean);
CREATE TRIGGER "On End" AFTER DELETE ON "App's ""Schema"""."Session Table"
    FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('Session Id');
CREATE TRIGGER "On Truncate" BEFORE TRUNCATE ON "App's ""Schema"""."Session Table"
    FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('Session Id');
INSERT INTO "App's ""Schema"""."Session Table" VALUES ('a'), ('b');
SELECT app.lease('a', 'b');
DELETE FROM "App's ""Schema"""."Session Table" WHERE "Session Id" = 'a';
TRUNCATE "App's ""Schema"""."Session Table";
SELECT * FROM app.look();
DROP SCHEMA "App's ""Schema""" CASCADE;

------------------------------------------------------------------------------------------------------------------
-- a partitioned table, whose partitions have their columns in another order
CREATE TABLE app.sessions (id uuid, region text, status text DEFAULT 'running') PARTITION BY LIST (region);
CREATE TABLE app.sessions_eu PARTITION OF app.sessions FOR VALUES IN ('eu');
CREATE TABLE app.sessions_us (dropped int, status text, region text, id uuid);
ALTER TABLE app.sessions_us DROP COLUMN dropped;
ALTER TABLE app.sessions ATTACH PARTITION app.sessions_us FOR VALUES IN ('us');
CREATE TRIGGER deleted AFTER DELETE ON app.sessions
    FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER stopped AFTER UPDATE ON app.sessions
    FOR EACH ROW WHEN (NEW.status = 'stopped') EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER truncated BEFORE TRUNCATE ON app.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');
INSERT INTO app.sessions
SELECT format('00000000-0000-4000-8000-00000000000%s', n)::uuid, CASE WHEN n % 2 = 0 THEN 'eu' ELSE 'us' END
FROM generate_series(1, 8) n;
SELECT app.lease(VARIADIC array_agg(id::text)) FROM app.sessions;
DELETE FROM app.sessions WHERE id::text LIKE '%1' OR id::text LIKE '%2';
UPDATE app.sessions SET status = 'stopped' WHERE id::text LIKE '%3' OR id::text LIKE '%4';
DELETE FROM app.sessions_us WHERE id::text LIKE '%5';
SELECT right(unnest, 13) AS ended FROM app.look(), unnest(string_to_array(ended, ' '));
TRUNCATE app.sessions;
SELECT live, right(unnest, 13) AS ended FROM app.look(), unnest(string_to_array(ended, ' '));
DROP TABLE app.sessions;

------------------------------------------------------------------------------------------------------------------
-- the role that ends the session needs no right on anything of egress, nor to see its schema
CREATE ROLE regress_egress_app;
GRANT USAGE ON SCHEMA app TO regress_egress_app;
CREATE TABLE app.sessions (id text, status text);
ALTER TABLE app.sessions OWNER TO regress_egress_app;
CREATE TRIGGER deleted AFTER DELETE ON app.sessions
    FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER stopped AFTER UPDATE ON app.sessions
    FOR EACH ROW WHEN (NEW.status = 'stopped') EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER truncated BEFORE TRUNCATE ON app.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');
INSERT INTO app.sessions VALUES ('a'), ('b'), ('c');
SELECT app.lease('a', 'b', 'c');
SET ROLE regress_egress_app;
DELETE FROM app.sessions WHERE id = 'a';
UPDATE app.sessions SET status = 'stopped' WHERE id = 'b';
TRUNCATE app.sessions;
-- it cannot end a lease in another way, nor make triggers that do
\set VERBOSITY sqlstate
SELECT vpn.egress_release_credential('a');
CREATE TRIGGER mine AFTER DELETE ON app.sessions
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_release_on_session_end('id');
\set VERBOSITY default
RESET ROLE;
SELECT * FROM app.look();

------------------------------------------------------------------------------------------------------------------
-- an id that several rows may have: the end of one takes the lease of the other, and attach says so
CREATE TABLE app.desks (tenant text, id text, key text GENERATED ALWAYS AS (tenant || '/' || id) STORED UNIQUE, PRIMARY KEY (tenant, id));
SELECT egress_attach_sessions('app.desks', 'id');
SELECT egress_detach_sessions('app.desks');
-- without a word
SELECT egress_attach_sessions('app.desks', 'key');
DROP TABLE app.desks;
-- a unique index with a condition keeps nothing apart; one of a deferrable constraint does
CREATE TABLE app.desks (id text, gone boolean);
CREATE UNIQUE INDEX ON app.desks (id) WHERE NOT gone;
SELECT egress_attach_sessions('app.desks', 'id');
SELECT egress_detach_sessions('app.desks');
ALTER TABLE app.desks ADD UNIQUE (id) DEFERRABLE;
SELECT egress_attach_sessions('app.desks', 'id');
DROP TABLE app.desks;

SELECT count(*) FROM egress_lease;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA app CASCADE;
DROP ROLE regress_egress_app;

SELECT state = public.state() AS world_is_whole FROM public.world;
