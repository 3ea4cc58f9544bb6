-- The tables: defaults, what is filled in, what goes with what, what may not go. Bad rows are in 70_bad_input.
\set SHOW_CONTEXT never
SET search_path = vpn;

-- defaults: enabled and allow_all_gateways on, everything else off; ids by themselves
BEGIN;
INSERT INTO egress_provider (name, provider_type) VALUES ('delta', 'custom')
RETURNING egress_provider_id, enabled, managed, enable_new_managed_gateways;
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1001, 'new')
RETURNING egress_gateway_id, country, city, config, enabled, withdrawn;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1001, 'everyone')
RETURNING egress_provider_mapping_id, subject_id, enabled, allow_all_gateways;
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1001, 'new', 'everyone')
RETURNING egress_credential_id, subject_id, enabled, username, password, private_key, custom_credential,
          allow_all_gateways, limit_active_connections, active_connection_limit;
-- the tables of selected gateways need only their two ids
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (1001, 1001);
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (1001, 1001);
INSERT INTO egress_provider_mapping_gateway VALUES (101, 11);
INSERT INTO egress_credential_gateway VALUES (201, 11);
-- what is filled in cannot be given wrong
INSERT INTO egress_provider_mapping_gateway VALUES (101, 12, 3);
INSERT INTO egress_credential_gateway VALUES (201, 12, 3);
INSERT INTO egress_gateway (egress_provider_id, name, provider_type) VALUES (1001, 'typed', 'openvpn')
RETURNING provider_type;
SELECT * FROM egress_provider_mapping_gateway ORDER BY 1, 2;
SELECT * FROM egress_credential_gateway ORDER BY 1, 2;
-- a provider and all that is of it, in one statement, and by COPY
WITH provider AS (INSERT INTO egress_provider VALUES (9, 'echo', 'wireguard') RETURNING egress_provider_id),
gateway AS (INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
            SELECT 91, egress_provider_id, 'one' FROM provider RETURNING egress_gateway_id, egress_provider_id),
mapping AS (INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type)
            SELECT 901, egress_provider_id, 'everyone' FROM provider RETURNING egress_provider_mapping_id)
INSERT INTO egress_provider_mapping_gateway SELECT egress_provider_mapping_id, egress_gateway_id FROM mapping, gateway;
COPY egress_gateway (egress_gateway_id, egress_provider_id, name) FROM stdin;
92	9	two
93	1	three
\.
SELECT egress_gateway_id, provider_type FROM egress_gateway WHERE egress_gateway_id > 90 ORDER BY 1;
SELECT * FROM egress_provider_mapping_gateway WHERE egress_provider_mapping_id = 901;
-- the same subject may be mapped twice, the same person own two credentials, two providers a gateway of one name
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'group', 'staff');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id) VALUES (1, 'annown', 'user', 'ann');
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (2, 'us1');
ROLLBACK;

-- the provider's type may be corrected as long as it has nothing, and is fixed once it has a gateway or a credential
BEGIN;
INSERT INTO egress_provider VALUES (9, 'echo', 'openvpn');
UPDATE egress_provider SET provider_type = 'wireguard' WHERE egress_provider_id = 9;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (9, 'everyone');
UPDATE egress_provider SET provider_type = 'custom' WHERE egress_provider_id = 9;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (91, 9, 'one');
\set VERBOSITY sqlstate
SAVEPOINT fixed;
UPDATE egress_provider SET provider_type = 'openvpn' WHERE egress_provider_id = 9;
ROLLBACK TO fixed;
DELETE FROM egress_gateway WHERE egress_gateway_id = 91;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type) VALUES (901, 9, 'c', 'everyone');
SAVEPOINT fixed;
UPDATE egress_provider SET provider_type = 'openvpn' WHERE egress_provider_id = 9;
ROLLBACK TO fixed;
-- nor can a gateway or a credential say that it is of another type
UPDATE egress_credential SET provider_type = 'openvpn' WHERE egress_credential_id = 901;
ROLLBACK TO fixed;
UPDATE egress_gateway SET provider_type = 'custom' WHERE egress_gateway_id = 11;
ROLLBACK TO fixed;
DELETE FROM egress_credential WHERE egress_credential_id = 901;
UPDATE egress_provider SET provider_type = 'openvpn' WHERE egress_provider_id = 9;
ROLLBACK;
\set VERBOSITY default

-- what it says then; and a provider keeps its id once anything refers to it
UPDATE egress_provider SET provider_type = 'openvpn' WHERE egress_provider_id = 2;
UPDATE egress_provider SET egress_provider_id = 9 WHERE egress_provider_id = 2;
UPDATE egress_provider SET egress_provider_id = egress_provider_id, provider_type = provider_type, enabled = enabled;
BEGIN;
INSERT INTO egress_provider VALUES (9, 'echo', 'openvpn');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (9, 'everyone');
UPDATE egress_provider SET provider_type = 'custom' WHERE egress_provider_id = 9;
SAVEPOINT mapped;
UPDATE egress_provider SET egress_provider_id = 10 WHERE egress_provider_id = 9;
ROLLBACK TO mapped;
DELETE FROM egress_provider_mapping WHERE egress_provider_id = 9;
UPDATE egress_provider SET egress_provider_id = 10, provider_type = 'wireguard' WHERE egress_provider_id = 9;
ROLLBACK;

-- a gateway and a credential keep their id and their provider; everything else of them may change
UPDATE egress_gateway SET egress_provider_id = 3 WHERE egress_gateway_id = 11;
\echo :SQLSTATE
UPDATE egress_gateway SET egress_gateway_id = 99 WHERE egress_gateway_id = 11;
\echo :SQLSTATE
UPDATE egress_credential SET egress_provider_id = 3 WHERE egress_credential_id = 201;
\echo :SQLSTATE
UPDATE egress_credential SET egress_credential_id = 99 WHERE egress_credential_id = 201;
\echo :SQLSTATE
BEGIN;
UPDATE egress_gateway SET egress_gateway_id = 11, egress_provider_id = 1, name = 'renamed', country = 'ca', city = NULL,
    config = NULL, enabled = false, withdrawn = true WHERE egress_gateway_id = 11
RETURNING egress_gateway_id, egress_provider_id, name, country, city, config, enabled, withdrawn;
UPDATE egress_credential SET name = 'renamed', subject_type = 'group', subject_id = 'dev', enabled = false, username = 'new',
    password = 'newer', allow_all_gateways = false, limit_active_connections = false, active_connection_limit = NULL
WHERE egress_credential_id = 201
RETURNING egress_credential_id, name, subject_type, subject_id, enabled, username,
    egress_reveal_secret(password) AS password, allow_all_gateways, limit_active_connections, active_connection_limit;
-- a selection may be changed to another gateway of the provider
UPDATE egress_provider_mapping_gateway SET egress_gateway_id = 22 WHERE egress_provider_mapping_id = 102 RETURNING *;
ROLLBACK;

-- deleting a gateway, a mapping or a credential takes their selections along
BEGIN;
INSERT INTO egress_credential_gateway VALUES (203, 21), (203, 22);
DELETE FROM egress_gateway WHERE egress_gateway_id = 21;
SELECT count(*) FROM egress_provider_mapping_gateway;
SELECT * FROM egress_credential_gateway;
DELETE FROM egress_credential WHERE egress_credential_id = 203;
SELECT count(*) FROM egress_credential_gateway;
INSERT INTO egress_provider_mapping_gateway VALUES (102, 22);
DELETE FROM egress_provider_mapping WHERE egress_provider_mapping_id = 102;
SELECT count(*) FROM egress_provider_mapping_gateway;
ROLLBACK;

-- deleting a provider takes everything of it along, and nothing of another
BEGIN;
INSERT INTO egress_credential_gateway VALUES (203, 21);
DELETE FROM egress_provider WHERE egress_provider_id = 2;
SELECT 'gateway' AS kept, egress_provider_id, count(*) FROM egress_gateway GROUP BY 2
UNION ALL SELECT 'mapping', egress_provider_id, count(*) FROM egress_provider_mapping GROUP BY 2
UNION ALL SELECT 'mapping selects', egress_provider_id, count(*) FROM egress_provider_mapping_gateway GROUP BY 2
UNION ALL SELECT 'credential', egress_provider_id, count(*) FROM egress_credential GROUP BY 2
UNION ALL SELECT 'credential selects', egress_provider_id, count(*) FROM egress_credential_gateway GROUP BY 2
ORDER BY 1, 2;
ROLLBACK;

-- a live lease keeps its credential, its gateway and their provider from being deleted; its mapping it does not need
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 11, 's1');
DELETE FROM egress_credential WHERE egress_credential_id = 201;
\echo :SQLSTATE
DELETE FROM egress_gateway WHERE egress_gateway_id = 11;
\echo :SQLSTATE
DELETE FROM egress_provider WHERE egress_provider_id = 1;
\echo :SQLSTATE
SELECT count(*) FROM egress_gateway WHERE egress_provider_id = 1;
SELECT count(*) FROM egress_lease;
BEGIN;
DELETE FROM egress_provider_mapping WHERE egress_provider_mapping_id = 101;
DELETE FROM egress_gateway WHERE egress_gateway_id = 12;
DELETE FROM egress_credential WHERE egress_credential_id = 202;
SELECT session_id FROM egress_lease;
ROLLBACK;

-- when it has ended they can be deleted, also in the transaction that ended it, and its history stays
BEGIN;
SELECT egress_release_credential('s1');
DELETE FROM egress_provider WHERE egress_provider_id = 1;
SELECT count(*) FROM egress_gateway WHERE egress_provider_id = 1;
SELECT session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name, provider_name
FROM egress_lease_history;
ROLLBACK;
-- the same in a savepoint that is rolled back: the lease is live again and keeps them
BEGIN;
SAVEPOINT release;
SELECT egress_release_credential('s1');
ROLLBACK TO release;
\set VERBOSITY sqlstate
DELETE FROM egress_credential WHERE egress_credential_id = 201;
\set VERBOSITY default
ROLLBACK;

-- the views for people
SELECT egress_credential_id, credential_name, provider_name, subject_type, subject_id, enabled,
       active_connections, active_connection_limit, available_connections, oldest_lease_at IS NOT NULL AS has_lease
FROM egress_credential_usage ORDER BY 1;
SELECT egress_gateway_id, gateway_name, country, city, provider_name, enabled, withdrawn, active_connections
FROM egress_gateway_usage ORDER BY 1;
SELECT session_id, user_id, workspace_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
       country, city, egress_provider_id, provider_name, provider_type
FROM egress_connection;
-- oldest_lease_at is the oldest, available_connections never negative, a limit that is switched off none
BEGIN;
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 12, 's2');
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 12, 's3');
UPDATE egress_credential SET active_connection_limit = 1 WHERE egress_credential_id = 202;
UPDATE egress_credential SET limit_active_connections = false WHERE egress_credential_id = 201;
SELECT u.egress_credential_id, active_connections, active_connection_limit, available_connections,
       oldest_lease_at = (SELECT acquired_at FROM egress_lease WHERE session_id = 's2') AS oldest_is_s2
FROM egress_credential_usage u WHERE egress_provider_id = 1 ORDER BY 1;
ROLLBACK;
-- no secret in any of them
SELECT count(*) AS columns_with_secrets
FROM information_schema.columns
WHERE table_schema = 'vpn' AND table_name IN ('egress_credential_usage', 'egress_gateway_usage', 'egress_connection')
  AND column_name IN ('username', 'password', 'private_key', 'custom_credential', 'config');

SELECT egress_release_credential('s1');
DELETE FROM egress_lease_history;

SELECT state = public.state() AS world_is_whole FROM public.world;
