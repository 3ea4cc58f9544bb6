-- Bad input: each is a clear error of class 22, 23 or NG, or 25006; and nothing is lost or half done after it.
-- Where the text of an error is PostgreSQL's own, only its SQLSTATE is shown.
\set SHOW_CONTEXT never
SET search_path = vpn;

-- compared with what it was after each group of errors
\set check_state 'SELECT public.state() = :''state'' AS nothing_changed;'
CREATE SCHEMA test;
SELECT credential_name FROM egress_acquire_credential('ann', 'lab', 11, 'live');
SELECT public.state() AS state \gset

------------------------------------------------------------------------------------------------------------------
-- arguments that are NULL: 22004. Only the workspace may be
SELECT * FROM egress_available_gateways(NULL);
\echo :SQLSTATE
SELECT * FROM egress_available_gateways(NULL, 'lab');
SELECT egress_acquire_credential(NULL, 'lab', 11, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', 'lab', NULL, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', 'lab', 11, NULL);
\echo :SQLSTATE
SELECT egress_release_credential(NULL);
\echo :SQLSTATE
SELECT egress_grant_access(NULL, 'app');
\echo :SQLSTATE
SELECT egress_grant_access('postgres', NULL);
\echo :SQLSTATE
-- empty: 22023
SELECT * FROM egress_available_gateways('');
\echo :SQLSTATE
SELECT * FROM egress_available_gateways('ann', '');
\echo :SQLSTATE
SELECT egress_acquire_credential('', 'lab', 11, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', '', 11, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', 'lab', 11, '');
\echo :SQLSTATE
SELECT egress_release_credential('');
\echo :SQLSTATE
-- 256 bytes: 22023
SELECT * FROM egress_available_gateways(repeat('u', 256));
\echo :SQLSTATE
SELECT * FROM egress_available_gateways('ann', repeat('w', 256));
\echo :SQLSTATE
SELECT egress_acquire_credential(repeat('u', 256), 'lab', 11, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', repeat('w', 256), 11, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', 'lab', 11, repeat('s', 256));
\echo :SQLSTATE
SELECT egress_release_credential(repeat('s', 256));
\echo :SQLSTATE
SELECT egress_release_credential(repeat('s', 1000000));
\echo :SQLSTATE
-- an administrator who says nothing of the leases that are to end, or what nobody can mean
SELECT * FROM egress_end_leases();
\echo :SQLSTATE
SELECT * FROM egress_end_leases(session_id => NULL, user_id => NULL);
\echo :SQLSTATE
SELECT * FROM egress_end_leases(unentitled => false);
\echo :SQLSTATE
SELECT * FROM egress_end_leases('live', orphaned => false);
\echo :SQLSTATE
SELECT * FROM egress_end_leases(session_id => '');
\echo :SQLSTATE
SELECT * FROM egress_end_leases(user_id => repeat('u', 256));
\echo :SQLSTATE
SELECT * FROM egress_end_leases(workspace_id => '', egress_gateway_id => 11);
\echo :SQLSTATE
SELECT * FROM egress_end_leases(egress_gateway_id => -1);
SELECT egress_expire_leases(NULL);
\echo :SQLSTATE
SELECT egress_expire_leases(0);
\echo :SQLSTATE
-- an access that does not exist, a role that does not
SELECT egress_grant_access(current_user, 'root');
\echo :SQLSTATE
SELECT egress_grant_access(current_user, '');
SELECT egress_grant_access(current_user, 'APP');
\set VERBOSITY sqlstate
SELECT egress_grant_access('regress_no_such_role', 'app');
\set VERBOSITY default
:check_state

-- bytes count, not characters: 127 of two bytes and one of one are 255, 128 of two are too many
SELECT convert_from('\xc3a9', getdatabaseencoding()) AS e \gset
SELECT repeat(:'e', 127) || 'x' AS fits, repeat(:'e', 128) AS too_long \gset
SELECT octet_length(:'fits') AS fits, octet_length(:'too_long') AS too_long;
SELECT * FROM egress_available_gateways(:'too_long');
SELECT * FROM egress_available_gateways('ann', :'too_long');
SELECT egress_acquire_credential(:'too_long', NULL, 11, 's1');
SELECT egress_acquire_credential('ann', :'too_long', 11, 's1');
SELECT egress_acquire_credential('ann', NULL, 11, :'too_long');
SELECT egress_release_credential(:'too_long');
:check_state
-- 255 bytes are an id like any other, everywhere
BEGIN;
INSERT INTO egress_group_member VALUES (:'fits', :'fits');
UPDATE egress_provider_mapping SET subject_type = 'group', subject_id = :'fits' WHERE egress_provider_mapping_id = 103;
UPDATE egress_credential SET subject_id = :'fits' WHERE egress_credential_id = 204;
SELECT gateway_name FROM egress_available_gateways(:'fits', :'fits');
SELECT credential_name FROM egress_acquire_credential(:'fits', :'fits', 31, :'fits');
SELECT session_id = :'fits' AND user_id = :'fits' AND workspace_id = :'fits' AS whole FROM egress_connection WHERE egress_gateway_id = 31;
SELECT egress_release_credential(:'fits');
SELECT session_id = :'fits' AND user_id = :'fits' AND workspace_id = :'fits' AS whole FROM egress_lease_history;
ROLLBACK;

-- ids that do not exist: an unknown gateway is an error, an unknown user or workspace has no access, a session no lease
SELECT egress_acquire_credential('ann', 'lab', 12345, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', 'lab', -11, 's1');
SELECT egress_acquire_credential('nobody', 'lab', 11, 's1');
\echo :SQLSTATE
SELECT egress_acquire_credential('ann', 'nowhere', 31, 's1');
\echo :SQLSTATE
SELECT egress_release_credential('s1');
-- what looks like SQL is an id
SELECT count(*) FROM egress_available_gateways($$' OR true --$$, $$'; DROP TABLE egress_lease; --$$);
SELECT egress_release_credential($$' OR true --$$);
:check_state

------------------------------------------------------------------------------------------------------------------
-- rows that are wrong in themselves
\set VERBOSITY sqlstate
-- names: missing, empty, too long, taken
INSERT INTO egress_provider (provider_type) VALUES ('custom');
INSERT INTO egress_provider (name, provider_type) VALUES ('', 'custom');
INSERT INTO egress_provider (name, provider_type) VALUES (repeat('n', 256), 'custom');
INSERT INTO egress_provider (name, provider_type) VALUES ('alpha', 'custom');
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'new', 'custom');
UPDATE egress_provider SET name = 'alpha' WHERE egress_provider_id = 2;
INSERT INTO egress_gateway (egress_provider_id) VALUES (1);
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, '');
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, :'too_long');
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, 'us1');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (11, 1, 'new');
INSERT INTO egress_gateway (egress_provider_id, name, country) VALUES (1, 'new', '');
INSERT INTO egress_gateway (egress_provider_id, name, city) VALUES (1, 'new', repeat('c', 256));
UPDATE egress_gateway SET name = 'us1' WHERE egress_gateway_id = 11;
INSERT INTO egress_credential (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, '', 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, :'too_long', 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type) VALUES (201, 1, 'new', 'everyone');
-- types and switches: unknown, missing
INSERT INTO egress_provider (name, provider_type) VALUES ('new', 'ipsec');
INSERT INTO egress_provider (name) VALUES ('new');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'nobody');
UPDATE egress_provider SET enabled = NULL WHERE egress_provider_id = 1;
UPDATE egress_gateway SET withdrawn = NULL WHERE egress_gateway_id = 11;
UPDATE egress_provider_mapping SET allow_all_gateways = NULL WHERE egress_provider_mapping_id = 101;
UPDATE egress_credential SET limit_active_connections = NULL WHERE egress_credential_id = 201;
-- the subject: an id given for everyone, missing for a user, a group, a workspace; empty; too long
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'everyone', 'ann');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'everyone', '');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'user');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'group');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'workspace');
INSERT INTO egress_provider_mapping (egress_provider_id) VALUES (1);
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'user', '');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'user', :'too_long');
UPDATE egress_provider_mapping SET subject_type = 'everyone' WHERE egress_provider_mapping_id = 101;
UPDATE egress_provider_mapping SET subject_type = 'user' WHERE egress_provider_mapping_id = 103;
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id) VALUES (1, 'new', 'everyone', 'ann');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'new', 'user');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'new', 'group');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'new', 'workspace');
INSERT INTO egress_credential (egress_provider_id, name) VALUES (1, 'new');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id) VALUES (1, 'new', 'user', '');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id) VALUES (1, 'new', 'user', repeat('u', 256));
UPDATE egress_credential SET subject_id = NULL WHERE egress_credential_id = 202;
-- limits: negative, missing while they count, out of range
INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
VALUES (1, 'new', 'everyone', true, -1);
INSERT INTO egress_credential (egress_provider_id, name, subject_type, active_connection_limit) VALUES (1, 'new', 'everyone', -1);
INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections) VALUES (1, 'new', 'everyone', true);
UPDATE egress_credential SET active_connection_limit = NULL WHERE egress_credential_id = 201;
UPDATE egress_credential SET limit_active_connections = true WHERE egress_credential_id = 203;
UPDATE egress_credential SET active_connection_limit = 2147483648 WHERE egress_credential_id = 201;
-- group members: missing, empty, too long, twice
INSERT INTO egress_group_member VALUES ('ann', NULL);
INSERT INTO egress_group_member VALUES (NULL, 'staff');
INSERT INTO egress_group_member VALUES ('', 'staff');
INSERT INTO egress_group_member VALUES ('ann', repeat('g', 256));
INSERT INTO egress_group_member VALUES ('ann', 'staff');
\set VERBOSITY default
:check_state

------------------------------------------------------------------------------------------------------------------
-- rows that refer to what does not exist
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (99, 'new');
\echo :SQLSTATE
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (99, 'new', 'everyone');
\echo :SQLSTATE
INSERT INTO egress_provider_mapping_gateway VALUES (999, 11);
\echo :SQLSTATE
INSERT INTO egress_provider_mapping_gateway VALUES (101, 99);
\echo :SQLSTATE
INSERT INTO egress_credential_gateway VALUES (999, 11);
\echo :SQLSTATE
INSERT INTO egress_credential_gateway VALUES (201, 99);
\echo :SQLSTATE
\set VERBOSITY sqlstate
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (99, 'everyone');
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (NULL, 'new');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (NULL, 'new', 'everyone');
INSERT INTO egress_provider_mapping_gateway VALUES (NULL, 11);
INSERT INTO egress_credential_gateway VALUES (201, NULL);
INSERT INTO egress_provider_mapping_gateway VALUES (102, 21);
UPDATE egress_provider_mapping SET egress_provider_id = 99 WHERE egress_provider_mapping_id = 101;
-- a mapping that selects gateways cannot move to another provider and leave them behind
UPDATE egress_provider_mapping SET egress_provider_id = 1 WHERE egress_provider_mapping_id = 102;
\set VERBOSITY default
-- or selects a gateway of another provider
INSERT INTO egress_provider_mapping_gateway VALUES (101, 21);
\echo :SQLSTATE
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id, egress_provider_id) VALUES (101, 21, 1);
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id, egress_provider_id) VALUES (101, 21, 2);
UPDATE egress_provider_mapping_gateway SET egress_gateway_id = 11 WHERE egress_provider_mapping_id = 102;
\echo :SQLSTATE
UPDATE egress_provider_mapping_gateway SET egress_provider_mapping_id = 101 WHERE egress_provider_mapping_id = 102;
INSERT INTO egress_credential_gateway VALUES (201, 31);
\echo :SQLSTATE
INSERT INTO egress_credential_gateway VALUES (203, 11), (203, 21);
-- one bad row of a statement, and none of its good ones stays
INSERT INTO egress_provider_mapping_gateway VALUES (101, 11), (101, 12), (101, 31);
:check_state

------------------------------------------------------------------------------------------------------------------
-- deleting what is in use
\set VERBOSITY sqlstate
DELETE FROM egress_provider WHERE egress_provider_id = 1;
DELETE FROM egress_provider;
DELETE FROM egress_gateway WHERE egress_gateway_id = 11;
DELETE FROM egress_credential WHERE egress_credential_id = 201;
DELETE FROM egress_credential;
UPDATE egress_provider SET egress_provider_id = 9 WHERE egress_provider_id = 1;
UPDATE egress_provider SET provider_type = 'custom' WHERE egress_provider_id = 1;
\set VERBOSITY default
:check_state

------------------------------------------------------------------------------------------------------------------
-- a read-only transaction: 25006 from what writes, and nothing written
BEGIN READ ONLY;
\set VERBOSITY sqlstate
SAVEPOINT ok;
SELECT egress_acquire_credential('ann', 'lab', 12, 's1');
ROLLBACK TO ok;
-- also when the answer would be the lease already held, or that there is none
SELECT egress_acquire_credential('ann', 'lab', 11, 'live');
ROLLBACK TO ok;
SELECT egress_release_credential('live');
ROLLBACK TO ok;
SELECT egress_release_credential('none');
ROLLBACK TO ok;
\set VERBOSITY default
SELECT count(*) FROM egress_available_gateways('ann', 'lab');
COMMIT;
:check_state

------------------------------------------------------------------------------------------------------------------
-- the session trigger attached in a way that cannot work: the statement fails, the session and its lease stay
CREATE TABLE test.sessions (id text, status text);
INSERT INTO test.sessions VALUES ('live', 'running');
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('no such column');
DELETE FROM test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('ID');
DELETE FROM test.sessions;
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('ctid');
DELETE FROM test.sessions;
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('');
DELETE FROM test.sessions;
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end();
DELETE FROM test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id', 'status');
DELETE FROM test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');
DELETE FROM test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad BEFORE DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
DELETE FROM test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad BEFORE UPDATE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
UPDATE test.sessions SET status = 'stopped';
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER UPDATE ON test.sessions FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');
UPDATE test.sessions SET status = 'stopped';
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER INSERT OR DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
INSERT INTO test.sessions VALUES ('live', 'again');
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER TRUNCATE ON test.sessions FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');
TRUNCATE test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad BEFORE TRUNCATE ON test.sessions FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('no such column');
TRUNCATE test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad BEFORE TRUNCATE ON test.sessions FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end();
TRUNCATE test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
-- a column that was dropped or renamed since
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
ALTER TABLE test.sessions RENAME id TO session_id;
DELETE FROM test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
-- the triggers of the extension's own tables are for these only
CREATE TRIGGER bad BEFORE INSERT ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_fill_provider_type();
INSERT INTO test.sessions VALUES ('new');
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
CREATE TRIGGER bad AFTER DELETE ON test.sessions FOR EACH ROW EXECUTE FUNCTION egress_refuse_delete_in_use();
DELETE FROM test.sessions;
\echo :SQLSTATE
DROP TRIGGER bad ON test.sessions;
-- a trigger function is no function to call
SELECT egress_release_on_session_end();
\echo :SQLSTATE
SELECT egress_refuse_move();
\echo :SQLSTATE
SELECT * FROM test.sessions;
:check_state

------------------------------------------------------------------------------------------------------------------
-- no error leaves a lock of the extension behind that would stand in another session's way
BEGIN;
SAVEPOINT before;
SELECT egress_acquire_credential('ann', 'lab', 99, 's1');
ROLLBACK TO before;
SELECT egress_acquire_credential('cat', 'lab', 11, 's1');
ROLLBACK TO before;
SELECT egress_acquire_credential('cat', 'lab', 31, 's1');
ROLLBACK TO before;
UPDATE egress_credential SET active_connection_limit = 0;
SELECT egress_acquire_credential('ann', 'lab', 12, 's1');
ROLLBACK TO before;
SELECT egress_acquire_credential('ann', 'lab', 12, 'live');
ROLLBACK TO before;
\set VERBOSITY sqlstate
DELETE FROM egress_gateway WHERE egress_gateway_id = 11;
ROLLBACK TO before;
SELECT count(*) AS locks_kept FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
COMMIT;
\set VERBOSITY default
:check_state

-- and the session goes on
SELECT credential_name FROM egress_acquire_credential('ann', 'lab', 12, 's1');
SELECT egress_release_credential('s1'), egress_release_credential('live');
DELETE FROM egress_lease_history;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA test CASCADE;

SELECT state = public.state() AS world_is_whole FROM public.world;
