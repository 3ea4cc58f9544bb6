-- usage.sql -- what a dashboard shows and a schedule does costs what it shows and does
--
-- 10,000 leases with an end, in another order than any index has, at 1,000 gateways and 2,000 credentials. Pages are
-- counted, not seconds. All rows of a view, and a sweep that finds nothing to do, read each table once; a look-up of each
-- lease would visit some pages for each. One row of a view costs what it has, and no statistics are there to tell the planner.
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
-- pages that tables have
CREATE FUNCTION pages_of(VARIADIC tables regclass[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(pg_relation_size(name) / current_setting('block_size')::int)::bigint FROM unnest(tables) name
$$;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) SELECT i, 'provider ' || i, 'custom' FROM generate_series(1, 20) i;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
SELECT i, 1 + i % 20, 'gateway ' || i FROM generate_series(1, 1000) i;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
                               limit_active_connections, active_connection_limit)
SELECT i, 1 + i % 20, 'credential ' || i, 'user', 'user ' || i, i % 3 <> 0, i % 6 FROM generate_series(1, 2000) i;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT 'session ' || i, 1 + i % 2000, 1 + i % 999, 'user', clock_timestamp() - i * interval '1 second' - i % 2 * interval '2 days', 1 + i / 2000
FROM generate_series(1, 10000) i ORDER BY md5(i::text);
INSERT INTO egress_lease_expiry
SELECT session_id, egress_credential_id, clock_timestamp() + interval '1 day' FROM egress_lease ORDER BY md5(session_id || 'x');

/* ---------------------------------------------------------------- costs */

SELECT cmp_ok(pages('SELECT egress_expire_leases()'), '<', pages_of('egress_lease_expiry') + 50,
              'a sweep with nothing to do reads the ends once');
SELECT cmp_ok(pages('SELECT egress_expire_leases(1)'), '<', pages_of('egress_lease_expiry') + 50, 'so does a batch');
SELECT cmp_ok(pages('SELECT * FROM ' || view), '<',
              2 * pages_of('egress_lease', 'egress_lease_expiry', 'egress_gateway', 'egress_credential') + 50,
              view || ' reads each table once, and little more')
FROM unnest(ARRAY['egress_gateway_usage', 'egress_credential_usage']) view;
SELECT cmp_ok(pages('SELECT * FROM ' || query), '<', 150::bigint, query || ' reads what it shows')
FROM unnest(ARRAY['egress_gateway_usage WHERE egress_gateway_id = 5', 'egress_gateway_usage WHERE egress_gateway_id = 1000',
                  'egress_credential_usage WHERE egress_credential_id = 5',
                  $$egress_gateway_usage WHERE egress_gateway_id = ANY ('{5,6}')$$]) query;
SELECT cmp_ok(pages('SELECT * FROM ' || query), '<', 250::bigint, query || ' reads what it shows, and looks for the rows')
FROM unnest(ARRAY[$$egress_gateway_usage WHERE gateway_name = 'gateway 5'$$,
                  $$egress_credential_usage WHERE credential_name = 'credential 5'$$]) query;

-- an explanation asks for mappings and credentials once for each of the user's subjects, not for each provider, and finds the
-- same words for all gateways of a provider that get the same answer
INSERT INTO egress_group_member SELECT 'member', 'group ' || i FROM generate_series(1, 200) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone');
UPDATE egress_credential SET subject_type = 'everyone', subject_id = NULL, limit_active_connections = false
WHERE egress_credential_id = 20;
SELECT is(count(*) || ' ' || count(DISTINCT detail), v.expected, 'an explanation has ' || v.verdict)
FROM (VALUES ('available', '50 1'), ('no_credential', '50 1'), ('not_mapped', '900 18')) v (verdict, expected)
LEFT JOIN egress_explain_access('member', NULL) e USING (verdict) GROUP BY v.verdict, v.expected;
-- a look-up of mappings and one of credentials for each of 202 subjects, of three pages at most; 1,000 gateways by their index
SELECT cmp_ok(pages($$SELECT * FROM egress_explain_access('member', NULL)$$), '<', 202 * 2 * 3 + 1000 + 500::bigint,
              'and costs a look-up a subject');

/* -------------------------------------------------------------- answers */

-- the same as counted row by row, in different plans
CREATE FUNCTION same() RETURNS boolean LANGUAGE sql AS $$
    SELECT NOT EXISTS (
        SELECT egress_gateway_id, active_connections, not_renewed FROM egress_gateway_usage
        EXCEPT
        SELECT g.egress_gateway_id, count(l),
               count(l) FILTER (WHERE expires_at IS NULL AND acquired_at < now() - interval '1 day')
        FROM egress_gateway g LEFT JOIN egress_live_lease l USING (egress_gateway_id) GROUP BY 1)
    AND NOT EXISTS (
        SELECT egress_credential_id, active_connections, available_connections, oldest_lease_at FROM egress_credential_usage
        EXCEPT
        SELECT c.egress_credential_id, l.active,
               CASE WHEN limit_active_connections THEN greatest(active_connection_limit - active, 0) END, oldest
        FROM egress_credential c, LATERAL (SELECT count(*) AS active, min(acquired_at) AS oldest FROM egress_live_lease l
                                           WHERE l.egress_credential_id = c.egress_credential_id) l)
$$;
-- and so is each row by itself
CREATE FUNCTION same_alone(gateway bigint, credential bigint) RETURNS boolean LANGUAGE sql AS $$
    SELECT (SELECT (active_connections, not_renewed) FROM egress_gateway_usage WHERE egress_gateway_id = gateway)
         = (SELECT (count(*), count(*) FILTER (WHERE expires_at IS NULL AND acquired_at < now() - interval '1 day'))
            FROM egress_live_lease WHERE egress_gateway_id = gateway)
       AND (SELECT (active_connections, oldest_lease_at) IS NOT DISTINCT FROM (l.active, l.oldest)
            FROM egress_credential_usage,
                 (SELECT count(*) AS active, min(acquired_at) AS oldest FROM egress_live_lease
                  WHERE egress_credential_id = credential) l
            WHERE egress_credential_id = credential)
$$;
SELECT ok(same(), 'the views count what is live');
SELECT ok(same_alone(5, 5), 'of one row, too');
SELECT ok(same_alone(1000, 5), 'also when there is none');

BEGIN;
UPDATE egress_lease_expiry SET expires_at = clock_timestamp() WHERE session_id IN ('session 2004', 'session 5', 'session 10000');
SELECT ok(same(), 'without those that have expired');
SELECT ok(same_alone(5, 5), 'of one row, too');
SELECT is((SELECT sum(active_connections) FROM egress_gateway_usage), 9997::numeric, 'which are three');
DELETE FROM egress_lease WHERE egress_credential_id = 5 OR egress_gateway_id = 6;
SELECT ok(same(), 'nor those that the transaction itself has ended');
SELECT ok(same_alone(6, 5), 'of one row, too');
-- the same expression, evaluated again: what it counted before is of another snapshot
DO $$
DECLARE
    before bigint;
    after bigint;
BEGIN
    FOR i IN 1..2 LOOP
        after := (egress_gateway_leases(7)).active_connections;
        IF i = 1 THEN
            before := after;
            DELETE FROM egress_lease WHERE session_id = 'session 6';
        END IF;
    END LOOP;
    IF before - after <> 1 THEN
        RAISE '% before, % after', before, after;
    END IF;
END $$;
SELECT pass('a count is as of its statement');
UPDATE egress_lease_expiry SET expires_at = clock_timestamp();
SELECT is((SELECT sum(active_connections) FROM egress_gateway_usage), 0::numeric, 'when all have expired, none is live');
SELECT is((SELECT count(oldest_lease_at) FROM egress_credential_usage), 0::bigint, 'nor the oldest');
SELECT ok(same(), 'as counted row by row');
ROLLBACK;

-- half of these leases are old, and so are half of the others, which have an end
BEGIN;
DELETE FROM egress_lease_expiry WHERE session_id LIKE 'session %3_';
SELECT is((SELECT sum(not_renewed) FROM egress_gateway_usage), 500::numeric, 'old leases without an end are not renewed');
SELECT ok(same(), 'at each gateway');
SELECT is((SELECT not_renewed FROM egress_gateway_usage WHERE egress_gateway_id = 32), 1::bigint, 'of one row, too');
SELECT ok(same_alone(32, 5), 'as counted row by row');
UPDATE egress_lease_expiry SET expires_at = clock_timestamp();
SELECT is((SELECT sum(not_renewed) FROM egress_gateway_usage), 500::numeric, 'an end that has passed is one');
DELETE FROM egress_lease_expiry;
SELECT is((SELECT sum(not_renewed) FROM egress_gateway_usage), 5000::numeric, 'when no lease has an end, all that are old');
ROLLBACK;

/* ------------------------------------------------- a sweep that commits */

-- a batch goes on where the one before stopped: with one lease a batch, 500 of them do not read the table 500 times
UPDATE egress_lease_expiry SET expires_at = clock_timestamp() WHERE session_id LIKE 'session %5_';
SELECT count(*) AS expired FROM egress_lease_expiry WHERE expires_at <= clock_timestamp() \gset
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT heap_blks_hit + heap_blks_read AS before FROM pg_statio_all_tables WHERE relid = 'egress_lease_expiry'::regclass \gset
CALL egress_sweep_leases(1);
SELECT is((SELECT count(*) FROM egress_lease), 10000 - :expired::bigint, 'a sweep in batches of one ends all that have expired');
SELECT is((SELECT count(*) FROM egress_lease_history WHERE release_reason = 'expired'), :expired::bigint, 'each once');
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT cmp_ok(heap_blks_hit + heap_blks_read - :before, '<', 10 * :expired::bigint,
              'and reads some pages for each, not the table')
FROM pg_statio_all_tables WHERE relid = 'egress_lease_expiry'::regclass;

SELECT * FROM finish();
