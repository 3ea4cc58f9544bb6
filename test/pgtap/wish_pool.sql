-- wish_pool.sql -- a big pool of credentials that select their gateways: those that fit are found from the gateway's side
--
-- What an acquire and a wish take is held against plain queries, on random pools. What they cost is counted in pages, not seconds.
-- Statements commit by themselves: what an open transaction has taken is full for nobody else.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();
SELECT setseed(0.16) \gset

CREATE FUNCTION pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    explained jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || statement INTO explained;
    RETURN (explained->0->'Plan'->>'Shared Hit Blocks')::bigint + (explained->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;

-- what an acquire comes to, gateway and credential, or the SQLSTATE
CREATE FUNCTION acquired(session text, gateway bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN gateway || ' ' || (SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, gateway, session));
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE FUNCTION wished(session text, countries text[] DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN egress_gateway_id || ' ' || egress_credential_id FROM egress_acquire_gateway('ann', NULL, session, countries);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

/* ---------------------------------------------------------------- what is taken */

-- provider 1 has the rule first, 2 spread; each has 24 gateways in three countries, and 150 credentials
INSERT INTO egress_provider (egress_provider_id, name, provider_type, credential_order)
VALUES (1, 'first', 'custom', 'first'), (2, 'spread', 'custom', 'spread');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country)
SELECT p * 100 + g, p, 'g' || g, 'Country ' || g % 3 FROM generate_series(1, 2) p, generate_series(1, 24) g;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone');
INSERT INTO egress_group_member VALUES ('ann', 'staff');

-- a pool of a kind of its own; some credentials are for nobody who asks
CREATE FUNCTION new_pool() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    all_gateways float8 := (ARRAY[0, 0, 0.02, 0.2])[1 + floor(random() * 4)::int];
    scarce float8 := (ARRAY[0, 0.5, 0.98, 1])[1 + floor(random() * 4)::int];
    selected float8 := (ARRAY[0.1, 1, 3, 20])[1 + floor(random() * 4)::int] / 24;
BEGIN
    PERFORM egress_release_credential(session_id) FROM egress_lease;
    DELETE FROM egress_credential;
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled, allow_all_gateways,
                                   limit_active_connections, active_connection_limit, once_per_gateway)
    SELECT p * 1000 + n, p, 'c' || n, s[1]::egress_subject_type, s[2], random() < 0.95, random() < all_gateways, random() < 0.99,
           CASE WHEN random() < scarce THEN 0 ELSE floor(random() * 3) END, random() < 0.1
    FROM generate_series(1, 2) p, generate_series(1, 150) n,
         LATERAL (SELECT CASE floor(random() * 4 + n * 0) WHEN 0 THEN ARRAY['everyone', NULL] WHEN 1 THEN ARRAY['user', 'ann']
                                                          WHEN 2 THEN ARRAY['group', 'staff'] ELSE ARRAY['user', 'bob'] END) AS of (s);
    INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id)
    SELECT egress_credential_id, egress_gateway_id FROM egress_credential JOIN egress_gateway USING (egress_provider_id)
    WHERE random() < selected;
END $$;

-- the credentials that fit a gateway, and whether one has a connection free for it
CREATE VIEW fitting AS
WITH held AS MATERIALIZED (SELECT egress_credential_id, count(*) AS held FROM egress_lease GROUP BY 1)
SELECT g.egress_gateway_id AS gateway, g.country, egress_credential_id AS id, c.egress_provider_id AS provider,
       (NOT c.limit_active_connections OR
        c.active_connection_limit > coalesce(held, 0)) AND
       NOT (c.once_per_gateway AND EXISTS (SELECT FROM egress_lease l
                                           WHERE (l.egress_credential_id, l.egress_gateway_id) = (c.egress_credential_id, g.egress_gateway_id))) AS free
FROM egress_gateway g JOIN egress_credential c USING (egress_provider_id) LEFT JOIN held USING (egress_credential_id)
WHERE c.enabled AND c.subject_id IS DISTINCT FROM 'bob' AND
      (c.allow_all_gateways OR (c.egress_credential_id, g.egress_gateway_id) IN (SELECT egress_credential_id, egress_gateway_id FROM egress_credential_gateway));

-- all that an acquire may come to, and all that a wish may
CREATE FUNCTION may_acquire(of bigint) RETURNS text[] LANGUAGE sql AS $$
    SELECT CASE WHEN count(*) = 0 THEN '{NG003}'
                WHEN NOT bool_or(free) THEN '{NG004}'
                WHEN of < 200 THEN ARRAY[of || ' ' || min(id) FILTER (WHERE free)]
                ELSE array_agg(of || ' ' || id) FILTER (WHERE free) END
    FROM fitting WHERE gateway = of
$$;
CREATE FUNCTION may_wish(countries text[]) RETURNS text[] LANGUAGE sql AS $$
    WITH at_place AS (
        SELECT gateway, coalesce(array_position(countries, country), 0) AS place, bool_or(free) AS free
        FROM fitting WHERE country = ANY (countries) OR countries IS NULL GROUP BY 1, 2)
    SELECT CASE WHEN count(*) = 0 THEN '{NG002}'
                WHEN NOT bool_or(free) THEN '{NG004}'
                ELSE (SELECT array_agg(may) FROM at_place p, unnest(may_acquire(p.gateway)) may
                      WHERE p.free AND p.place = (SELECT min(place) FROM at_place WHERE free)) END
    FROM at_place
$$;

CREATE TABLE wrong (what text);
CREATE TABLE seen (what text);
CREATE FUNCTION step(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    gateway bigint := (ARRAY[100, 200])[1 + floor(random() * 2)::int] + 1 + floor(random() * 24)::int;
    countries text[] := (ARRAY['{Country 0}', '{Country 2,Country 1}', NULL])[1 + floor(random() * 3)::int];
    expected text[];
    outcome text;
BEGIN
    IF n % 60 = 1 THEN
        PERFORM new_pool();
    ELSIF n % 10 = 0 THEN
        PERFORM egress_release_credential(session_id)
        FROM (SELECT session_id FROM egress_lease ORDER BY random() LIMIT 1 + floor(random() * 12)::int) AS ended;
    ELSIF n % 29 = 0 THEN
        UPDATE egress_credential SET enabled = random() < 0.9, active_connection_limit = floor(random() * 3) WHERE random() < 0.05;
    ELSE
        IF n % 2 = 0 THEN
            expected := may_acquire(gateway);
            outcome := acquired('s' || n, gateway);
        ELSE
            expected := may_wish(countries);
            outcome := wished('s' || n, countries);
        END IF;
        INSERT INTO seen VALUES (CASE WHEN outcome ~ '^NG' THEN outcome ELSE 'taken' END || ' by ' || n % 2);
        IF outcome IS NULL OR outcome <> ALL (expected) THEN
            INSERT INTO wrong VALUES (format('step %s, %s: %s and not %s', n, CASE WHEN n % 2 = 0 THEN gateway::text ELSE countries::text END,
                                             outcome, expected));
        END IF;
    END IF;
END $$;
\o /dev/null
SELECT format('SELECT step(%s)', n) FROM generate_series(1, 1500) n \gexec
\o
SELECT is_empty('SELECT what FROM wrong LIMIT 5', 'random pools: what acquires and wishes take');
SELECT results_eq('SELECT DISTINCT what FROM seen ORDER BY 1',
                  $$VALUES ('NG003 by 0'), ('NG004 by 0'), ('NG004 by 1'), ('taken by 0'), ('taken by 1')$$, 'each outcome was seen');

/* ---------------------------------------------------------------- what it costs */

SELECT egress_release_credential(session_id) FROM egress_lease \g /dev/null
DELETE FROM egress_provider;
-- 2,000 gateways in 40 countries; each has a credential of its own, with one connection
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (3, 'own', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country)
SELECT 10000 + i, 3, 'g' || i, 'Country ' || i % 40 FROM generate_series(1, 2000) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (3, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, allow_all_gateways,
                               limit_active_connections, active_connection_limit)
SELECT 10000 + i, 3, 'c' || i, 'everyone', false, true, 1 FROM generate_series(1, 2000) i;
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) SELECT 10000 + i, 10000 + i FROM generate_series(1, 2000) i;
VACUUM ANALYZE;

SELECT is(acquired('s', 11999), '11999 11999', 'a gateway whose credential is behind all others');
SELECT egress_release_credential('s') \g /dev/null
SELECT cmp_ok(pages($$SELECT acquired('s', 11999)$$), '<', 150::bigint, '... is found among few pages');
SELECT is(acquired('t', 11999), 'NG004', '... once');
SELECT cmp_ok(pages($$SELECT acquired('t', 11999)$$), '<', 100::bigint, '... and that it is full is, too');
SELECT count(egress_acquire_credential('ann', NULL, 10000 + i, 's' || i)) FROM generate_series(40, 2000, 40) i \g /dev/null
SELECT is(wished('t', '{country 0}'), 'NG004', 'a country of 50 that are full');
SELECT cmp_ok(pages($$SELECT wished('t', '{country 0}')$$), '<', 5000::bigint, '... is known among pages that are some for each of them');

-- all of them
SELECT count(egress_acquire_credential('ann', NULL, 10000 + i, 's' || i)) FROM generate_series(1, 1998) i WHERE i % 40 <> 0 \g /dev/null
SELECT is(wished('t'), 'NG004', 'all are full');
SELECT cmp_ok(pages($$SELECT wished('t')$$), '<', 300::bigint, '... which is known from few pages');
SELECT egress_release_credential('s1234') \g /dev/null
SELECT is(wished('t'), '11234 11234', 'the only one that is free is found');
SELECT egress_release_credential('t') \g /dev/null
-- the gateways are gone through, but one credential says for all where there may be one
SELECT cmp_ok(pages($$SELECT wished('t')$$), '<', 1000::bigint, '... among few pages');

-- one that allows all gateways, and is full, is no reason to search the pool
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
VALUES (1, 3, 'all', 'everyone', true, 1);
SELECT is(acquired('all', 10007), '10007 1', 'one for all gateways is the first');
SELECT egress_release_credential('s' || i) FROM generate_series(1, 1800) i \g /dev/null
SELECT is(acquired('u', 11700), '11700 11700', '... and the last is the gateway''s own');
SELECT egress_release_credential('u') \g /dev/null
SELECT cmp_ok(pages($$SELECT acquired('u', 11700)$$), '<', 400::bigint, '... found among few pages');

SELECT * FROM finish();
