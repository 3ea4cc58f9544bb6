-- end_leases_cost.sql -- what an administrator says of the leases that are to end is what they are looked for by
--
-- 10,000 leases in another order than any index has. Pages are counted, not seconds, of calls that end none of them.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();

-- pages that a statement visits
CREATE FUNCTION pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    explained jsonb;
BEGIN
    EXECUTE statement;
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || statement INTO explained;
    RETURN (explained->0->'Plan'->>'Shared Hit Blocks')::bigint + (explained->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;
INSERT INTO egress_provider (egress_provider_id, name, provider_type) SELECT i, 'provider ' || i, 'custom' FROM generate_series(1, 20) i;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
SELECT i, 1 + i % 20, 'gateway ' || i FROM generate_series(1, 1000) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) SELECT i, 'everyone' FROM generate_series(1, 20) i;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type)
SELECT i, 1 + i % 20, 'credential ' || i, 'everyone' FROM generate_series(1, 2000) i;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at, slot)
SELECT 'session ' || i, 1 + i % 2000, 1 + i % 1000, 'user ' || i % 500, 'desk', clock_timestamp(), 1 + i / 2000
FROM generate_series(1, 10000) i ORDER BY md5(i::text);

SELECT cmp_ok(pages(format('SELECT * FROM egress_end_leases(%s, workspace_id => ''other'')', which)), '<', 120::bigint, which)
FROM unnest(ARRAY[$$session_id => 'session 7'$$, $$user_id => 'user 7'$$, 'egress_gateway_id => 7', 'egress_credential_id => 7',
                  $$user_id => 'user 7', egress_gateway_id => 8, egress_provider_id => 3$$]) which;
SELECT cmp_ok(pages(format('SELECT * FROM egress_end_leases(%s, workspace_id => ''other'')', which)), '<',
              50 + pg_relation_size('egress_lease') / current_setting('block_size')::int, which || ' goes over the table once')
FROM unnest(ARRAY['egress_provider_id => 7', 'unentitled => true', 'orphaned => true']) which;
-- what the rules ask about is read once, whatever the number of leases and users
SELECT cmp_ok(pages('SELECT egress_unentitled_sessions()'), '<',
              (SELECT 50 + sum(pg_relation_size(t))::bigint / current_setting('block_size')::int
               FROM unnest('{egress_lease,egress_provider_mapping,egress_credential,egress_gateway}'::regclass[]) t),
              'who judges all leases goes over each table once');
SELECT is_empty('SELECT * FROM egress_unentitled_connection', 'of those none is shown');
SELECT is((SELECT count(*)::int FROM egress_end_leases(egress_provider_id => 7)), 500, 'a provider''s leases end');
SELECT is((SELECT count(*)::int FROM egress_end_leases(egress_provider_id => 7)), 0, 'once');
SELECT * FROM finish();
