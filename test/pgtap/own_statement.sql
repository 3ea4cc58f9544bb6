-- own_statement.sql -- an acquire sees what its own statement has done before it, as a function in SQL would; and a
-- parent and its child may be inserted by one statement
\set ON_ERROR_STOP on
\set QUIET on
CREATE EXTENSION egress;
SELECT plan(10);

-- provider, gateway, mapping, selection and credential in one statement
WITH provider AS (
    INSERT INTO egress_provider (name, provider_type) VALUES ('provider', 'custom') RETURNING egress_provider_id
), gateway AS (
    INSERT INTO egress_gateway (egress_provider_id, name) SELECT egress_provider_id, 'gateway' FROM provider
    RETURNING egress_gateway_id, egress_provider_id
), mapping AS (
    INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id, allow_all_gateways)
    SELECT egress_provider_id, 'group', 'staff', false FROM gateway RETURNING egress_provider_mapping_id
), selection AS (
    INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id)
    SELECT egress_provider_mapping_id, egress_gateway_id FROM mapping, gateway
)
INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
SELECT egress_provider_id, 'credential', 'everyone', true, 2 FROM gateway;
SELECT is((SELECT egress_provider_id FROM egress_provider_mapping_gateway), (SELECT egress_provider_id FROM egress_provider),
          'one statement inserts a provider and all that hangs on it');

-- a membership that the statement itself inserts
WITH member AS (INSERT INTO egress_group_member VALUES ('ann', 'staff') RETURNING user_id)
SELECT is(credential_name, 'credential', 'a membership that the statement inserted counts')
FROM member, egress_gateway, egress_acquire_credential(member.user_id, NULL, egress_gateway_id, 'one');

-- many acquires in one statement; the limit is 2, and one is held
PREPARE two AS SELECT credential_name FROM generate_series(2, 3) i, egress_gateway,
    egress_acquire_credential('ann', NULL, egress_gateway_id, 'session-' || i);
SELECT throws_ok('two', 'NG004', NULL, 'the second acquire of a statement sees the first');
SELECT is(count(*), 1::bigint, 'and the statement leaves nothing') FROM egress_lease;

-- a limit that the statement itself lowers
PREPARE lowered AS WITH lowered AS (UPDATE egress_credential SET active_connection_limit = 1 RETURNING egress_provider_id)
SELECT credential_name FROM lowered, egress_acquire_credential('ann', NULL,
    (SELECT egress_gateway_id FROM egress_gateway g WHERE g.egress_provider_id = lowered.egress_provider_id), 'two');
SELECT throws_ok('lowered', 'NG004', NULL, 'a limit that the statement lowered counts');

-- take and give back in one statement
SELECT is(released, true, 'a lease that the statement took can be given back by it')
FROM egress_gateway, egress_acquire_credential('ann', NULL, egress_gateway_id, 'two') a,
     LATERAL (SELECT egress_release_credential('two') AS released OFFSET 0 * length(a.credential_name)) r;

-- columns that somebody added to our tables
ALTER TABLE egress_lease ADD COLUMN note text;
ALTER TABLE egress_lease_history ADD COLUMN must integer NOT NULL DEFAULT 1;
SELECT is(credential_name, 'credential', 'a column that may be NULL is in nobody''s way')
FROM egress_gateway, egress_acquire_credential('ann', NULL, egress_gateway_id, 'three');
SELECT is(egress_release_credential('three'), true, 'one that may not be NULL');
SELECT is((SELECT max(must) FROM egress_lease_history), 1, 'has its default');
ALTER TABLE egress_lease_history ALTER must DROP DEFAULT;
SELECT throws_ok($$SELECT egress_release_credential(session_id) FROM egress_acquire_credential('ann', NULL,
                          (SELECT egress_gateway_id FROM egress_gateway), 'four') a, LATERAL (SELECT 'four' || left(a.credential_name, 0)) s (session_id)$$,
                 '23502', NULL, 'and is not left NULL when it has none');

SELECT * FROM finish();
