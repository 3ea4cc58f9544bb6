-- Acquire: which credential, what comes back, asked again, and every error of its own.
\set SHOW_CONTEXT never
SET search_path = vpn;

-- all columns, for each type of provider; acquired_at is now, and is the lease's
CREATE TEMP TABLE leases AS SELECT * FROM egress_acquire_credential('ann', NULL, 11, 's1');
INSERT INTO leases SELECT * FROM egress_acquire_credential('ann', 'lab', 21, 's2');
INSERT INTO leases SELECT * FROM egress_acquire_credential(session_id => 's3', egress_gateway_id => 31,
                                                           workspace_id => 'desk', user_id => 'cat');
SELECT session_id, acquired_at > now() - interval '1 minute' AND acquired_at <= clock_timestamp() AS now
FROM leases JOIN egress_lease USING (egress_credential_id, acquired_at) ORDER BY 1;
ALTER TABLE leases DROP COLUMN acquired_at;
\x on
TABLE leases;
\x off
DROP TABLE leases;
SELECT session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, slot FROM egress_lease ORDER BY 1;
SELECT count(egress_release_credential(session_id)) FROM egress_lease;

------------------------------------------------------------------------------------------------------------------
-- the first credential by ascending id that fits and has a connection free
PREPARE acquire(text, text, bigint, text) AS
SELECT egress_credential_id AS credential, credential_name FROM egress_acquire_credential($1, $2, $3, $4);
BEGIN;
EXECUTE acquire('ann', NULL, 11, 's1');
EXECUTE acquire('ann', NULL, 11, 's2');
EXECUTE acquire('ann', 'lab', 14, 's3');
-- the first one again as soon as it is free
SELECT egress_release_credential('s1');
EXECUTE acquire('ann', NULL, 15, 's4');
-- all full
SAVEPOINT all_full;
EXECUTE acquire('ann', NULL, 11, 's5');
\echo :SQLSTATE
ROLLBACK TO all_full;
-- a credential that does not fit is passed over: disabled, of another user, for other gateways
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled, allow_all_gateways,
                               username, password)
SELECT *, 'user', 'pass'
FROM (VALUES (205, 1, 'off', 'everyone'::egress_subject_type, NULL, false, true), (206, 1, 'of bob', 'user', 'bob', true, true),
             (207, 1, 'for 12', 'user', 'ann', true, false), (208, 1, 'in group', 'group', 'dev', true, true)) c;
INSERT INTO egress_credential_gateway VALUES (207, 12);
EXECUTE acquire('ann', NULL, 11, 's5');
EXECUTE acquire('ann', NULL, 12, 's6');
EXECUTE acquire('bob', NULL, 12, 's7');
ROLLBACK;
-- by id, not in the order of subjects or of creation
BEGIN;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password)
SELECT *, 'user', 'pass'
FROM (VALUES (190, 1, 'fifth', 'everyone'::egress_subject_type, NULL), (150, 1, 'second', 'group', 'staff'),
             (170, 1, 'third', 'workspace', 'lab'), (180, 1, 'fourth', 'user', 'ann'), (-5, 1, 'first', 'group', 'dev')) c;
EXECUTE acquire('ann', 'lab', 11, 's1');
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = -5;
EXECUTE acquire('ann', 'lab', 11, 's2');
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 150;
EXECUTE acquire('ann', 'lab', 11, 's3');
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 170;
EXECUTE acquire('ann', 'lab', 11, 's4');
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 180;
EXECUTE acquire('ann', 'lab', 11, 's5');
ROLLBACK;

-- without a limit there is always one free, and a lease has no slot
BEGIN;
SELECT count(*), min(credential_name), max(credential_name)
FROM generate_series(1, 500) n, LATERAL egress_acquire_credential('ann', NULL, 21, 's' || n);
SELECT count(*), count(slot) FROM egress_lease;
ROLLBACK;
-- a limit that is stored but not switched on does not count
BEGIN;
UPDATE egress_credential SET limit_active_connections = false, active_connection_limit = 0 WHERE egress_credential_id = 204;
EXECUTE acquire('cat', 'desk', 31, 's1');
ROLLBACK;
-- in one statement as many as are free, each counted at once
BEGIN;
UPDATE egress_credential SET active_connection_limit = 100 WHERE egress_credential_id = 204;
SELECT count(*) FROM generate_series(1, 100) n, LATERAL egress_acquire_credential('cat', 'desk', 31, 's' || n);
SELECT count(*), count(DISTINCT slot), min(slot), max(slot) FROM egress_lease;
SELECT egress_release_credential('s50');
EXECUTE acquire('cat', 'desk', 31, 'again');
EXECUTE acquire('cat', 'desk', 31, 'one too many');
ROLLBACK;
-- one more than are free: none of them stays
SELECT count(*) FROM generate_series(1, 2) n, LATERAL egress_acquire_credential('cat', 'desk', 31, 's' || n);
SELECT count(*) FROM egress_lease;

------------------------------------------------------------------------------------------------------------------
-- asked again: the lease already held, the same row to the byte, and no second one
CREATE TEMP TABLE answers AS SELECT * FROM egress_acquire_credential('cat', 'desk', 31, 's1');
INSERT INTO answers SELECT * FROM egress_acquire_credential('cat', 'desk', 31, 's1');
SELECT count(*), count(DISTINCT answers) AS different FROM answers;
SELECT count(*) FROM egress_lease;
-- in one statement and in one transaction too: a row that is taken apart this way calls the function for each column
BEGIN;
CREATE TEMP TABLE apart AS SELECT (egress_acquire_credential('bob', 'lab', 11, 's2')).*;
SELECT credential_name, gateway_name FROM apart;
SELECT count(*) FROM egress_lease WHERE session_id = 's2';
ROLLBACK;
-- also when access was lost since: what is live stays live until it is released
BEGIN;
UPDATE egress_credential SET enabled = false;
UPDATE egress_gateway SET enabled = false, withdrawn = true;
UPDATE egress_provider SET enabled = false;
DELETE FROM egress_provider_mapping;
EXECUTE acquire('cat', 'desk', 31, 's1');
ROLLBACK;
-- with the credential as it is now
BEGIN;
UPDATE egress_credential SET custom_credential = 'rotated' WHERE egress_credential_id = 204;
SELECT custom_credential FROM egress_acquire_credential('cat', 'desk', 31, 's1');
ROLLBACK;
DROP TABLE answers;

------------------------------------------------------------------------------------------------------------------
-- NG001: no such gateway
EXECUTE acquire('ann', NULL, 99, 's2');
\echo :SQLSTATE
EXECUTE acquire('ann', NULL, 0, 's2');
EXECUTE acquire('ann', NULL, -9223372036854775808, 's2');

-- NG002: rule 1 or 2 fails
EXECUTE acquire('cat', 'desk', 11, 's2');
\echo :SQLSTATE
EXECUTE acquire('cat', NULL, 11, 's2');
EXECUTE acquire('ann', NULL, 22, 's2');
BEGIN;
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 11;
EXECUTE acquire('ann', NULL, 11, 's2');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
UPDATE egress_gateway SET withdrawn = true WHERE egress_gateway_id = 11;
EXECUTE acquire('ann', NULL, 11, 's2');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
UPDATE egress_provider SET enabled = false WHERE egress_provider_id = 1;
EXECUTE acquire('ann', NULL, 11, 's2');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
UPDATE egress_provider_mapping SET enabled = false WHERE egress_provider_mapping_id = 101;
EXECUTE acquire('ann', NULL, 11, 's2');
\echo :SQLSTATE
ROLLBACK;
-- rule 2 is asked before rule 3
BEGIN;
DELETE FROM egress_credential WHERE egress_credential_id <> 204;
EXECUTE acquire('cat', NULL, 11, 's2');
\echo :SQLSTATE
ROLLBACK;

-- NG003: mapped, and no enabled credential fits
EXECUTE acquire('cat', NULL, 31, 's2');
\echo :SQLSTATE
BEGIN;
UPDATE egress_credential SET enabled = false WHERE egress_credential_id IN (201, 202);
EXECUTE acquire('ann', 'lab', 11, 's2');
\echo :SQLSTATE
ROLLBACK;
BEGIN;
UPDATE egress_credential SET allow_all_gateways = false WHERE egress_credential_id IN (201, 202);
INSERT INTO egress_credential_gateway VALUES (201, 12), (202, 13);
EXECUTE acquire('ann', 'lab', 12, 's2');
EXECUTE acquire('ann', 'lab', 11, 's3');
\echo :SQLSTATE
ROLLBACK;

-- NG004: some fit, and all are at their limits
EXECUTE acquire('cat', 'desk', 31, 's2');
\echo :SQLSTATE
BEGIN;
UPDATE egress_credential SET active_connection_limit = 0 WHERE egress_credential_id IN (201, 202);
EXECUTE acquire('ann', NULL, 11, 's2');
\echo :SQLSTATE
ROLLBACK;
-- also when the limit was lowered below what is in use, until enough have ended
BEGIN;
UPDATE egress_credential SET active_connection_limit = 3 WHERE egress_credential_id = 204;
EXECUTE acquire('cat', 'desk', 31, 's2');
EXECUTE acquire('cat', 'desk', 31, 's3');
UPDATE egress_credential SET active_connection_limit = 2 WHERE egress_credential_id = 204;
SAVEPOINT lowered;
EXECUTE acquire('cat', 'desk', 31, 's4');
ROLLBACK TO lowered;
SELECT egress_release_credential('s1');
SAVEPOINT one_ended;
EXECUTE acquire('cat', 'desk', 31, 's4');
ROLLBACK TO one_ended;
SELECT egress_release_credential('s3');
EXECUTE acquire('cat', 'desk', 31, 's4');
EXECUTE acquire('cat', 'desk', 31, 's5');
ROLLBACK;
-- or set on a credential in use without one
BEGIN;
EXECUTE acquire('ann', NULL, 21, 's2');
EXECUTE acquire('ann', NULL, 21, 's3');
UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = 2 WHERE egress_credential_id = 203;
SAVEPOINT limited;
EXECUTE acquire('ann', NULL, 21, 's4');
ROLLBACK TO limited;
SELECT egress_release_credential('s2');
EXECUTE acquire('ann', NULL, 21, 's4');
SELECT session_id, slot BETWEEN 1 AND 2 AS slot_in_limit FROM egress_lease WHERE egress_credential_id = 203 ORDER BY 1;
ROLLBACK;

-- NG005: the session holds a lease for another gateway, user or workspace
BEGIN;
EXECUTE acquire('ann', 'lab', 11, 's2');
SAVEPOINT held;
EXECUTE acquire('ann', 'lab', 12, 's2');
\echo :SQLSTATE
ROLLBACK TO held;
EXECUTE acquire('bob', 'lab', 11, 's2');
\echo :SQLSTATE
ROLLBACK TO held;
EXECUTE acquire('ann', 'desk', 11, 's2');
\echo :SQLSTATE
ROLLBACK TO held;
EXECUTE acquire('ann', NULL, 11, 's2');
\echo :SQLSTATE
ROLLBACK TO held;
-- it goes before what would be wrong with the new one: no access, no connection
EXECUTE acquire('cat', NULL, 22, 's2');
\echo :SQLSTATE
ROLLBACK TO held;
-- and once it has ended, the session may have another
SELECT egress_release_credential('s2');
EXECUTE acquire('bob', NULL, 12, 's2');
SAVEPOINT held;
-- a lease without a workspace is not one for any workspace
EXECUTE acquire('bob', 'lab', 12, 's2');
\echo :SQLSTATE
ROLLBACK;

------------------------------------------------------------------------------------------------------------------
-- what a transaction undoes is free again, and what failed left no lock of the extension
BEGIN;
SAVEPOINT one;
EXECUTE acquire('bob', NULL, 11, 's2');
ROLLBACK TO one;
EXECUTE acquire('bob', NULL, 11, 's3');
SAVEPOINT two;
EXECUTE acquire('bob', NULL, 11, 's4');
ROLLBACK TO two;
SELECT egress_release_credential('s3');
EXECUTE acquire('bob', NULL, 11, 's4');
SELECT session_id FROM egress_lease WHERE egress_gateway_id = 11;
SELECT count(*) AS locks_kept FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
ROLLBACK;
-- an application that tries the next gateway when one is full
DO $$
DECLARE
    lease record;
    gateway bigint;
BEGIN
    FOR gateway IN SELECT egress_gateway_id FROM egress_available_gateways('cat', 'desk') UNION ALL VALUES (99) UNION ALL VALUES (31) LOOP
        BEGIN
            SELECT * INTO lease FROM egress_acquire_credential('cat', 'desk', gateway, 's2');
            RAISE NOTICE 'gateway % with %', gateway, lease.credential_name;
        EXCEPTION WHEN SQLSTATE 'NG004' OR SQLSTATE 'NG001' THEN
            RAISE NOTICE 'gateway %: %', gateway, SQLSTATE;
            PERFORM egress_release_credential('s1');
        END;
    END LOOP;
END $$;
SELECT session_id, slot FROM egress_lease;

SELECT egress_release_credential('s2');
DELETE FROM egress_lease_history;
DEALLOCATE ALL;

SELECT state = public.state() AS world_is_whole FROM public.world;
