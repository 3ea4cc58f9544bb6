-- Release: true when it ended a lease; what the history says; what is free again, and when.
\set SHOW_CONTEXT never
SET search_path = vpn;
PREPARE acquire(text, text, bigint, text) AS
SELECT egress_credential_id AS credential, credential_name FROM egress_acquire_credential($1, $2, $3, $4);

-- true once, false when there is none
EXECUTE acquire('ann', 'lab', 11, 's1');
SELECT egress_release_credential('s1');
SELECT egress_release_credential('s1');
SELECT egress_release_credential('never seen');
SELECT egress_release_credential(session_id => repeat('s', 255));
SELECT count(*) FROM egress_lease;

-- one row of history, with everything of the lease
\x on
SELECT egress_lease_history_id > 0 AS has_id, session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
       provider_name, country, city, user_id, workspace_id,
       acquired_at > now() - interval '1 minute' AND acquired_at <= released_at AND released_at <= clock_timestamp() AS times,
       release_reason
FROM egress_lease_history;
\x off
-- what has no value has none there
EXECUTE acquire('ann', NULL, 15, 's2');
SELECT egress_release_credential('s2');
SELECT country, city, workspace_id FROM egress_lease_history WHERE session_id = 's2';

-- the names stay as they were, whatever becomes of what they named
BEGIN;
UPDATE egress_provider SET name = 'was alpha' WHERE egress_provider_id = 1;
UPDATE egress_gateway SET name = 'was us2', country = 'ca', city = 'yyz' WHERE egress_gateway_id = 11;
UPDATE egress_credential SET name = 'was pool' WHERE egress_credential_id = 201;
SELECT credential_name, gateway_name, provider_name, country, city FROM egress_lease_history WHERE session_id = 's1';
DELETE FROM egress_provider;
SELECT credential_name, gateway_name, provider_name, country, city FROM egress_lease_history WHERE session_id = 's1';
ROLLBACK;

-- a session may come again: one row a connection
EXECUTE acquire('bob', NULL, 14, 's1');
SELECT egress_release_credential('s1');
SELECT session_id, user_id, gateway_name, release_reason FROM egress_lease_history WHERE session_id = 's1'
ORDER BY egress_lease_history_id;

-- it ends the lease of this session only: ids are compared byte by byte
BEGIN;
EXECUTE acquire('ann', NULL, 21, 'S');
EXECUTE acquire('ann', NULL, 21, 's');
EXECUTE acquire('ann', NULL, 21, 's ');
SELECT egress_release_credential('s');
SELECT quote_literal(session_id) FROM egress_lease ORDER BY 1;
ROLLBACK;

-- the connection is free again, in this transaction too
BEGIN;
EXECUTE acquire('cat', 'desk', 31, 's1');
SELECT egress_release_credential('s1');
EXECUTE acquire('cat', 'desk', 31, 's2');
-- the same session takes, gives back and takes again
SELECT egress_release_credential('s2');
EXECUTE acquire('cat', 'desk', 31, 's2');
SELECT egress_release_credential('s2');
EXECUTE acquire('cat', 'desk', 31, 's2');
SELECT session_id FROM egress_lease;
COMMIT;

-- a release that is rolled back leaves the lease where it was, and no history
SELECT count(*) AS history FROM egress_lease_history \gset
BEGIN;
SELECT egress_release_credential('s2');
ROLLBACK;
BEGIN;
SAVEPOINT release;
SELECT egress_release_credential('s2');
ROLLBACK TO release;
SELECT egress_release_credential('s2');
SELECT egress_release_credential('s2');
ROLLBACK;
SELECT session_id, egress_credential_id FROM egress_lease;
SELECT count(*) - :history AS more_history FROM egress_lease_history;

-- several in one statement; a credential that was disabled or limited since makes no difference
BEGIN;
EXECUTE acquire('ann', NULL, 21, 's3');
UPDATE egress_credential SET enabled = false, limit_active_connections = true, active_connection_limit = 0;
UPDATE egress_gateway SET enabled = false, withdrawn = true;
UPDATE egress_provider SET enabled = false;
SELECT session_id, egress_release_credential(session_id) FROM egress_lease ORDER BY 1;
SELECT count(*) FROM egress_lease;
SELECT count(*) - :history AS more_history FROM egress_lease_history;
ROLLBACK;

-- the application may look and release in one query
SELECT egress_release_credential(session_id) FROM egress_lease WHERE workspace_id = 'desk';
SELECT count(*) FROM egress_lease;
SELECT count(*) - :history AS more_history FROM egress_lease_history;

-- a history cannot say what is not a reason
\set VERBOSITY sqlstate
UPDATE egress_lease_history SET release_reason = 'because';
\set VERBOSITY default

DELETE FROM egress_lease_history;
DEALLOCATE ALL;

SELECT state = public.state() AS world_is_whole FROM public.world;
