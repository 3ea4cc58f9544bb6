-- pool_usage.sql -- how full the pools are, and at how many gateways they have nothing left
--
-- The view is compared with what it says as one query, in random worlds: answer_pool is written without any thought of speed.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

/* ------------------------------------------------------ the view again */

-- leases whose connection is held, by a session or because it cools down
CREATE VIEW answer_held AS
SELECT l.*, NOT l.cooling AND coalesce(e.expires_at > now(), true) AS live
FROM egress_lease l JOIN egress_credential c USING (egress_credential_id) LEFT JOIN egress_lease_expiry e USING (session_id)
WHERE NOT l.cooling AND coalesce(e.expires_at > now(), true)
   OR CASE WHEN l.cooling THEN l.acquired_at ELSE e.expires_at END + c.cool_down > now();

-- as they are in the world that is compared; and how full each pool is at each gateway
CREATE TABLE held AS SELECT * FROM answer_held;
CREATE TABLE benched AS SELECT * FROM egress_benched WHERE egress_credential_id IS NOT NULL;
CREATE TABLE at_gateway (egress_provider_id bigint, subject_type egress_subject_type, subject_id text, egress_gateway_id bigint,
                         fullness float8, exhausted boolean);

-- what an enabled credential gives at a gateway of the menus: NULL for any number
CREATE VIEW answer_give AS
SELECT c.egress_credential_id, c.egress_provider_id, c.subject_type, c.subject_id, g.egress_gateway_id, g.name AS gateway_name,
       CASE WHEN c.once_per_gateway THEN least(coalesce(max_held, 1), 1) ELSE max_held END AS most,
       CASE WHEN EXISTS (SELECT FROM benched b WHERE b.egress_credential_id = c.egress_credential_id) THEN 0
            WHEN c.once_per_gateway AND EXISTS (SELECT FROM held h WHERE h.egress_credential_id = c.egress_credential_id
                                                  AND h.egress_gateway_id = g.egress_gateway_id) THEN 0
            WHEN c.once_per_gateway THEN CASE WHEN max_held <= held THEN 0 ELSE 1 END
            WHEN max_held IS NOT NULL THEN greatest(max_held - held, 0) END AS available
FROM (SELECT *, CASE WHEN limit_active_connections THEN active_connection_limit END AS max_held,
             (SELECT count(*) FROM held h WHERE h.egress_credential_id = egress_credential.egress_credential_id) AS held
      FROM egress_credential) c
JOIN egress_provider p USING (egress_provider_id) JOIN egress_gateway g USING (egress_provider_id)
WHERE c.enabled AND p.enabled AND g.enabled AND NOT g.withdrawn
  AND (c.allow_all_gateways OR EXISTS (SELECT FROM egress_credential_gateway s WHERE s.egress_credential_id = c.egress_credential_id
                                         AND s.egress_gateway_id = g.egress_gateway_id));

CREATE VIEW answer_gateway AS
SELECT egress_provider_id, subject_type, subject_id, egress_gateway_id,
       -- benched ones without a limit give nothing, and have no limit that could be taken
       CASE WHEN bool_or(available IS NULL) THEN NULL
            WHEN coalesce(sum(most), 0) = 0 THEN 1
            ELSE 1 - sum(available)::float8 / sum(most) END AS fullness,
       sum(available) = 0 AND NOT bool_or(available IS NULL) AS exhausted
FROM answer_give GROUP BY egress_provider_id, subject_type, subject_id, egress_gateway_id;

CREATE VIEW answer_pool AS
SELECT c.egress_provider_id, c.subject_type, c.subject_id,
       count(*) FILTER (WHERE c.enabled) AS credentials,
       count(*) FILTER (WHERE c.enabled AND c.once_per_gateway) AS once_per_gateway,
       count(b.failures) AS benched,
       sum((SELECT count(*) FROM held h WHERE h.egress_credential_id = c.egress_credential_id AND live)) AS active_connections,
       sum((SELECT count(*) FROM held h WHERE h.egress_credential_id = c.egress_credential_id AND NOT live)) AS cooling_connections,
       coalesce(sum(c.active_connection_limit) FILTER (WHERE c.enabled AND c.limit_active_connections), 0) AS active_connection_limit,
       (SELECT count(*) FROM at_gateway a WHERE (a.egress_provider_id, a.subject_type, coalesce(a.subject_id, ''))
            = (c.egress_provider_id, c.subject_type, coalesce(c.subject_id, ''))) AS gateways,
       (SELECT count(*) FROM at_gateway a WHERE (a.egress_provider_id, a.subject_type, coalesce(a.subject_id, ''))
            = (c.egress_provider_id, c.subject_type, coalesce(c.subject_id, '')) AND exhausted) AS exhausted_gateways,
       (SELECT max(fullness) FROM at_gateway a WHERE (a.egress_provider_id, a.subject_type, coalesce(a.subject_id, ''))
            = (c.egress_provider_id, c.subject_type, coalesce(c.subject_id, ''))) AS fullness
FROM egress_credential c LEFT JOIN benched b USING (egress_credential_id)
GROUP BY c.egress_provider_id, c.subject_type, c.subject_id;

/* --------------------------------------------------------------- worlds */

CREATE FUNCTION chance(probability float8) RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT random() < probability';
CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
    'SELECT choices[1 + floor(random() * cardinality(choices))::int]';
CREATE FUNCTION pick_id(ids int) RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT 1 + floor(random() * ids)::bigint';

CREATE FUNCTION new_world() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM egress_lease;
    DELETE FROM egress_provider;
    INSERT INTO egress_provider (egress_provider_id, name, provider_type, enabled, bench_after, bench_for)
    SELECT n, 'p' || n, 'custom', chance(0.85), 1, '1 hour' FROM generate_series(1, 2) n;
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, enabled, withdrawn)
    SELECT n, pick_id(2), 'g' || n, chance(0.85), chance(0.1) FROM generate_series(1, 6) n;
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled,
                                   allow_all_gateways, limit_active_connections, active_connection_limit, once_per_gateway, cool_down)
    SELECT n, pick_id(2), 'c', s::egress_subject_type, CASE s WHEN 'group' THEN pick('a', 'b') END, chance(0.85),
           chance(0.4), chance(0.8), pick('0', '1', '1', '2', '3')::int, chance(0.3), pick('1 hour', NULL)::interval
    FROM generate_series(1, 7) n, LATERAL (SELECT pick('everyone', 'everyone', 'group') AS s WHERE n > 0) subject;
    INSERT INTO egress_credential_gateway
    SELECT egress_credential_id, egress_gateway_id
    FROM egress_credential JOIN egress_gateway USING (egress_provider_id) WHERE chance(0.4);
    -- some have expired or cool down, and some are at gateways that their credentials do not allow any more
    INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot, cooling)
    SELECT 's' || n, egress_credential_id, egress_gateway_id, 'u', clock_timestamp() - pick('0', '2 hours')::interval, n, chance(0.2)
    FROM generate_series(1, 8) n,
         LATERAL (SELECT * FROM egress_credential JOIN egress_gateway USING (egress_provider_id)
                  WHERE n > 0 ORDER BY random() LIMIT 1) one
    ON CONFLICT DO NOTHING;
    INSERT INTO egress_lease_expiry
    SELECT session_id, egress_credential_id, clock_timestamp() + pick('-2 hours', '-10 minutes', '1 hour')::interval
    FROM egress_lease WHERE NOT cooling AND chance(0.4);
    INSERT INTO egress_report (egress_credential_id, session_id, reported_at)
    SELECT egress_credential_id, 'failed', now() - interval '1 minute' FROM egress_credential WHERE chance(0.15);
END $$;

/* ----------------------------------------------------------- comparison */

CREATE TABLE compared (world int, got jsonb, expected jsonb);
CREATE TABLE fullest (world int, got float8, expected float8);
CREATE FUNCTION compare(worlds int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR world IN 1 .. worlds LOOP
        PERFORM new_world();
        DELETE FROM held;
        INSERT INTO held SELECT * FROM answer_held;
        DELETE FROM benched;
        INSERT INTO benched SELECT * FROM egress_benched WHERE egress_credential_id IS NOT NULL;
        DELETE FROM at_gateway;
        INSERT INTO at_gateway SELECT * FROM answer_gateway;
        INSERT INTO compared
        SELECT world, to_jsonb(u) - '{provider_name,fullest_gateway_id,fullest_gateway_name}'::text[], to_jsonb(a)
        FROM egress_pool_usage u FULL JOIN answer_pool a
             ON (u.egress_provider_id, u.subject_type, coalesce(u.subject_id, ''))
              = (a.egress_provider_id, a.subject_type, coalesce(a.subject_id, ''));
        INSERT INTO fullest
        SELECT world, u.fullness, a.fullness
        FROM egress_pool_usage u LEFT JOIN at_gateway a
             ON (u.egress_provider_id, u.subject_type, coalesce(u.subject_id, ''), fullest_gateway_id)
              = (a.egress_provider_id, a.subject_type, coalesce(a.subject_id, ''), egress_gateway_id)
        WHERE u.fullest_gateway_id IS NOT NULL;
    END LOOP;
END $$;
SELECT setseed(0.1849);
SELECT compare(120) \g /dev/null

SELECT cmp_ok((SELECT count(*) FROM compared), '>', 250::bigint, 'pools were compared');
SELECT is_empty('SELECT * FROM compared WHERE got IS DISTINCT FROM expected LIMIT 5', 'each is as full as the query says');
SELECT cmp_ok((SELECT count(*) FROM fullest), '>', 50::bigint, 'gateways are said to be the fullest');
SELECT is_empty('SELECT * FROM fullest WHERE got IS DISTINCT FROM expected LIMIT 5', 'and are as full');
-- the worlds had something of everything
SELECT cmp_ok((SELECT count(*) FROM compared WHERE jsonb_path_match(expected, what::jsonpath)), '>=', 8::bigint, 'there were pools: ' || what)
FROM unnest(ARRAY[
    '$.benched > 0', '$.cooling_connections > 0', '$.once_per_gateway > 0', '$.credentials == 0', '$.gateways == 0',
    '$.gateways > 0 && $.exhausted_gateways == $.gateways', '$.exhausted_gateways > 0 && $.exhausted_gateways < $.gateways',
    '$.fullness == null && $.gateways > 0', '$.fullness > 0 && $.fullness < 1', '$.fullness == 1 && $.active_connection_limit == 0']) what;

/* ------------------------------------------------------------ by itself */

DELETE FROM egress_lease;
DELETE FROM egress_provider;
SELECT is_empty('SELECT * FROM egress_pool_usage', 'no credential, no pool');
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'zrh-1'), (2, 1, 'ber-1'), (3, 1, 'fra-1');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, allow_all_gateways,
                               limit_active_connections, active_connection_limit)
VALUES (1, 1, 'alps', 'everyone', false, true, 2), (2, 1, 'europe', 'everyone', false, true, 6);
INSERT INTO egress_credential_gateway VALUES (1, 1), (2, 2), (2, 3);
SELECT count(egress_acquire_credential('ann', NULL, 1, 's' || n)) FROM generate_series(1, 2) n \g /dev/null
SELECT throws_ok($$SELECT egress_acquire_credential('ann', NULL, 1, 's3')$$, 'NG004', NULL, 'at one of three gateways all is taken');
SELECT results_eq('SELECT gateways, exhausted_gateways, fullness, fullest_gateway_name FROM egress_pool_usage',
                  $$VALUES (3::bigint, 1::bigint, 1::float8, 'zrh-1')$$, 'and the pool says so, of whose eight connections six are free');
UPDATE egress_credential SET once_per_gateway = true, allow_all_gateways = true, limit_active_connections = false;
SELECT results_eq('SELECT gateways, exhausted_gateways, fullness, fullest_gateway_name FROM egress_pool_usage',
                  $$VALUES (3::bigint, 0::bigint, 0.5::float8, 'zrh-1')$$, 'one of two keys is at a gateway');
SELECT * FROM finish();
ROLLBACK;
