-- rules.sql -- menu, acquire and explanation against the rules as one query, on random worlds
--
-- The functions answer_* below are written from the rules themselves, in SQL, without any thought of speed. The
-- worlds are small, and users, groups and workspaces share their few ids, so that everything collides with everything.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

/* ------------------------------------------------------ the rules again */

-- does a subject name this call?
CREATE FUNCTION is_subject(type egress_subject_type, id text, u text, w text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE type
           WHEN 'everyone' THEN true
           WHEN 'user' THEN id = u
           WHEN 'workspace' THEN coalesce(id = w, false)
           WHEN 'group' THEN EXISTS (SELECT FROM egress_group_member WHERE user_id = u AND group_id = id) END
$$;

-- is the workspace's override on?
CREATE FUNCTION overrides(w text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM egress_workspace WHERE workspace_id = w AND override_egress_gateways)
$$;

-- is a gateway mapped to the call, by mappings of the workspace alone or by any?
CREATE FUNCTION is_mapped(u text, w text, gateway bigint, workspace_only boolean) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM egress_provider_mapping m JOIN egress_gateway g USING (egress_provider_id)
                   WHERE g.egress_gateway_id = gateway AND m.enabled
                     AND is_subject(m.subject_type, m.subject_id, u, w)
                     AND (NOT workspace_only OR m.subject_type = 'workspace')
                     AND (m.allow_all_gateways
                          OR EXISTS (SELECT FROM egress_provider_mapping_gateway s
                                     WHERE s.egress_provider_mapping_id = m.egress_provider_mapping_id
                                       AND s.egress_gateway_id = gateway)))
$$;

-- rules 1 and 2: the gateways that are on, and mapped
CREATE FUNCTION answer_mapped(u text, w text) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT g.egress_gateway_id
    FROM egress_gateway g JOIN egress_provider p USING (egress_provider_id)
    WHERE g.enabled AND NOT g.withdrawn AND p.enabled AND is_mapped(u, w, g.egress_gateway_id, overrides(w))
$$;

-- rule 3: the credentials that fit a gateway, and how many connections each has free; NULL without a limit. One that may be at
-- each gateway once has none where it is, and one at most elsewhere
CREATE FUNCTION answer_credentials(u text, w text, gateway bigint, OUT credential bigint, OUT free bigint)
RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT c.egress_credential_id,
           least(CASE WHEN c.limit_active_connections THEN greatest(c.active_connection_limit - live.everywhere, 0) END,
                 CASE WHEN c.once_per_gateway THEN CASE WHEN live.here = 0 THEN 1 ELSE 0 END END)
    FROM egress_credential c JOIN egress_gateway g USING (egress_provider_id)
    CROSS JOIN LATERAL (SELECT count(*) AS everywhere, count(*) FILTER (WHERE l.egress_gateway_id = gateway) AS here
                        FROM egress_lease l LEFT JOIN egress_lease_expiry e USING (session_id)
                        WHERE l.egress_credential_id = c.egress_credential_id
                          AND coalesce(CASE WHEN l.cooling THEN l.acquired_at ELSE e.expires_at END
                                       + coalesce(c.cool_down, '0') > clock_timestamp(), true)) live
    WHERE g.egress_gateway_id = gateway AND c.enabled AND is_subject(c.subject_type, c.subject_id, u, w)
      AND (c.allow_all_gateways
           OR EXISTS (SELECT FROM egress_credential_gateway s
                      WHERE s.egress_credential_id = c.egress_credential_id AND s.egress_gateway_id = gateway))
$$;

-- how many connections the user has left of the limit that counts for him; NULL without one
CREATE FUNCTION answer_left(u text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest(coalesce((SELECT active_connection_limit FROM egress_user_limit WHERE subject_type = 'user' AND subject_id = u),
                             (SELECT max(active_connection_limit) FROM egress_user_limit
                              WHERE subject_type = 'group'
                                AND subject_id IN (SELECT group_id FROM egress_group_member WHERE user_id = u)),
                             (SELECT active_connection_limit FROM egress_user_limit WHERE subject_type = 'everyone'))
                    - (SELECT count(*) FROM egress_lease l LEFT JOIN egress_lease_expiry e USING (session_id)
                       WHERE l.user_id = u AND NOT l.cooling AND coalesce(e.expires_at > clock_timestamp(), true)), 0)
    FROM (SELECT FROM egress_user_limit
          WHERE subject_type = 'everyone' OR is_subject(subject_type, subject_id, u, NULL) LIMIT 1) limited
$$;

-- the menu: NULL connections when one credential has no limit, else the sum; no more than the user has left
CREATE FUNCTION answer_menu(u text, w text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(to_jsonb(row) ORDER BY provider_name, country, city, gateway_name, egress_gateway_id)
    FROM (SELECT g.egress_gateway_id, g.name AS gateway_name, g.country, g.city, p.egress_provider_id, p.name AS provider_name,
                 p.provider_type, least(c.available_connections, answer_left(u)) AS available_connections
          FROM answer_mapped(u, w) mapped
          JOIN egress_gateway g ON g.egress_gateway_id = mapped
          JOIN egress_provider p USING (egress_provider_id)
          CROSS JOIN LATERAL (SELECT count(*) AS fitting,
                                     CASE WHEN bool_and(free IS NOT NULL) THEN sum(free)::bigint END AS available_connections
                              FROM answer_credentials(u, w, g.egress_gateway_id)) c
          WHERE c.fitting > 0) row
$$;

-- what an acquire of a session without a lease comes to: a credential's id, or the SQLSTATE
CREATE FUNCTION answer_acquire(u text, w text, gateway bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
           WHEN NOT EXISTS (SELECT FROM egress_gateway WHERE egress_gateway_id = gateway) THEN 'NG001'
           WHEN gateway NOT IN (SELECT answer_mapped(u, w)) THEN 'NG002'
           WHEN NOT EXISTS (SELECT FROM answer_credentials(u, w, gateway)) THEN 'NG003'
           WHEN answer_left(u) = 0 THEN 'NG008'
           ELSE coalesce((SELECT min(credential) FROM answer_credentials(u, w, gateway)
                          WHERE free IS NULL OR free > 0)::text, 'NG004') END
$$;

-- the explanation of a gateway: the first verdict that applies, and the credential that an acquire would take
CREATE FUNCTION answer_explain(u text, w text, gateway bigint, OUT verdict text, OUT credential bigint)
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN g.withdrawn THEN 'gateway_withdrawn'
                WHEN NOT g.enabled THEN 'gateway_disabled'
                WHEN NOT p.enabled THEN 'provider_disabled'
                WHEN NOT is_mapped(u, w, gateway, overrides(w)) THEN
                    CASE WHEN is_mapped(u, w, gateway, false) THEN 'overridden' ELSE 'not_mapped' END
                WHEN acquired.outcome = 'NG003' THEN 'no_credential'
                WHEN acquired.outcome = 'NG008' THEN 'user_limit'
                WHEN acquired.outcome = 'NG004' THEN 'at_limit'
                ELSE 'available' END,
           CASE WHEN acquired.outcome !~ '^NG' THEN acquired.outcome::bigint END
    FROM egress_gateway g JOIN egress_provider p USING (egress_provider_id), answer_acquire(u, w, gateway) acquired (outcome)
    WHERE g.egress_gateway_id = gateway
$$;

/* ------------------------------------------------- what is under test */

CREATE FUNCTION menu(u text, w text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(to_jsonb(m) - 'n' ORDER BY n)
    FROM egress_available_gateways(u, w) WITH ORDINALITY
         m (egress_gateway_id, gateway_name, country, city, egress_provider_id, provider_name, provider_type,
            available_connections, n)
$$;

CREATE FUNCTION acquire(u text, w text, gateway bigint, session text, ttl interval DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN egress_credential_id FROM egress_acquire_credential(u, w, gateway, session, ttl);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

/* --------------------------------------------------------------- worlds */

CREATE FUNCTION chance(probability float8) RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT random() < probability';
CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
    'SELECT choices[1 + floor(random() * cardinality(choices))::int]';
CREATE FUNCTION pick_id(ids int) RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT 1 + floor(random() * ids)::bigint';
-- (takes a number so that it is called once a row)
CREATE FUNCTION pick_subject(n int, OUT type egress_subject_type, OUT id text) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    type := pick('user', 'group', 'workspace', 'everyone');
    IF type <> 'everyone' THEN
        id := pick('a', 'b', 'c');
    END IF;
END $$;

CREATE FUNCTION new_world() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM egress_release_credential(session_id) FROM egress_lease;
    DELETE FROM egress_provider;
    DELETE FROM egress_group_member;
    DELETE FROM egress_workspace;
    DELETE FROM egress_user_limit;

    INSERT INTO egress_workspace (workspace_id, override_egress_gateways)
    SELECT w, chance(0.6) FROM unnest('{a,b,c}'::text[]) w WHERE chance(0.6);
    INSERT INTO egress_group_member
    SELECT pick('a', 'b', 'c'), pick('a', 'b', 'c') FROM generate_series(1, pick_id(5)) ON CONFLICT DO NOTHING;
    INSERT INTO egress_user_limit
    SELECT s.type, s.id, pick_id(3) - 1 FROM generate_series(1, pick_id(6)::int - 1) n, pick_subject(n) s
    WHERE s.type <> 'workspace' ON CONFLICT DO NOTHING;
    INSERT INTO egress_provider (egress_provider_id, name, provider_type, enabled)
    SELECT n, pick('l', 'm', 'n') || n % 2 || n, pick('openvpn', 'wireguard', 'custom')::egress_provider_type,
           chance(0.85)
    FROM generate_series(1, 3) n;
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, enabled, withdrawn)
    SELECT n, pick_id(3), pick('p', 'q', 'r', 's', 't'), pick('x', 'y', NULL), pick('x', 'y', NULL),
           chance(0.85), chance(0.15)
    FROM generate_series(1, 10) n ON CONFLICT DO NOTHING;
    INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id,
                                         enabled, allow_all_gateways)
    SELECT n, pick_id(3), s.type, s.id, chance(0.8), chance(0.5)
    FROM generate_series(1, 8) n, pick_subject(n) s;
    INSERT INTO egress_provider_mapping_gateway
    SELECT egress_provider_mapping_id, egress_gateway_id
    FROM egress_provider_mapping JOIN egress_gateway USING (egress_provider_id) WHERE chance(0.4);
    -- in an order that is not that of their ids
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled, allow_all_gateways,
                                   limit_active_connections, active_connection_limit, once_per_gateway, cool_down, private_key)
    SELECT n, provider, 'c', type, id, chance(0.8), chance(0.5), chance(0.75), pick_id(3) - 1, chance(0.4), pick('1 hour', NULL)::interval,
           CASE (SELECT provider_type FROM egress_provider WHERE egress_provider_id = provider)
               WHEN 'wireguard' THEN encode(sha256(n::text::bytea), 'base64') END
    FROM (SELECT n, pick_id(3) AS provider, s.type, s.id FROM generate_series(1, 10) n, pick_subject(n) s) c
    ORDER BY random();
    INSERT INTO egress_credential_gateway
    SELECT egress_credential_id, egress_gateway_id
    FROM egress_credential JOIN egress_gateway USING (egress_provider_id) WHERE chance(0.4);
END $$;

-- an administrator's day: something changes while leases are live
CREATE FUNCTION change_world() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CASE pick_id(14)
    WHEN 1, 11 THEN UPDATE egress_credential SET active_connection_limit = pick_id(3) - 1, limit_active_connections = chance(0.9),
                       once_per_gateway = chance(0.4), cool_down = pick('1 hour', '1 minute', NULL)::interval
                   WHERE egress_credential_id IN (SELECT egress_credential_id FROM egress_lease);
    WHEN 2 THEN UPDATE egress_credential SET enabled = chance(0.5) WHERE egress_credential_id = pick_id(10);
    WHEN 3 THEN UPDATE egress_gateway SET enabled = chance(0.5), withdrawn = chance(0.5)
                WHERE egress_gateway_id = pick_id(10);
    WHEN 4 THEN UPDATE egress_provider_mapping SET enabled = chance(0.5), allow_all_gateways = chance(0.5)
                WHERE egress_provider_mapping_id = pick_id(8);
    WHEN 5 THEN DELETE FROM egress_group_member WHERE user_id = pick('a', 'b', 'c');
    WHEN 6 THEN UPDATE egress_provider SET name = pick('l', 'm', 'n') || egress_provider_id WHERE egress_provider_id = pick_id(3);
    -- time passes for some
    WHEN 7, 10, 12 THEN UPDATE egress_lease_expiry SET expires_at = least(expires_at, clock_timestamp()) - pick('0', '10 minutes', '2 hours')::interval
                        WHERE chance(0.5);
                        UPDATE egress_lease SET acquired_at = acquired_at - pick('0', '10 minutes', '2 hours')::interval
                        WHERE cooling AND chance(0.5);
    WHEN 13 THEN DELETE FROM egress_user_limit WHERE chance(0.3);
                 UPDATE egress_user_limit SET active_connection_limit = pick_id(3) - 1 WHERE chance(0.5);
    WHEN 14 THEN INSERT INTO egress_group_member VALUES (pick('a', 'b', 'c'), pick('a', 'b', 'c')) ON CONFLICT DO NOTHING;
    WHEN 9 THEN INSERT INTO egress_workspace VALUES (pick('a', 'b', 'c'), chance(0.5))
                ON CONFLICT (workspace_id) DO UPDATE SET override_egress_gateways = NOT egress_workspace.override_egress_gateways;
    ELSE PERFORM egress_release_credential(session_id) FROM egress_lease WHERE chance(0.5);
    END CASE;
END $$;

/* ----------------------------------------------------------- comparison */

CREATE TABLE menus (world int, u text, w text, menu jsonb, expected jsonb);
CREATE TABLE acquires (world int, u text, w text, gateway bigint, listed boolean, free bigint,
                       got text, expected text);
CREATE TABLE worlds (world int, over_limit bigint, expired bigint);
-- one row a gateway of an explanation, and what the rules and the menu say of it
CREATE TABLE explanations (world int, u text, w text, gateway bigint, row egress_access_explanation, n bigint,
                           verdict text, credential bigint, rest bigint, listed boolean, one egress_access_explanation[]);
-- what was explained just before an acquire
CREATE TABLE predictions (verdict text, credential bigint, detail text, got text);
-- every kind of call: with and without a workspace, and of somebody whom nothing names
CREATE TABLE calls AS
SELECT u, w FROM unnest('{a,b,c,nobody}'::text[]) u, unnest('{a,b,c,NULL}'::text[]) w;

CREATE FUNCTION compare(worlds int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    call record;
    gateway bigint;
    item jsonb;
    explained egress_access_explanation;
    w_id int;
    session int := 0;
    expected text;
    got text;
BEGIN
    FOR world IN 1 .. worlds LOOP
        w_id := world;
        PERFORM new_world();
        -- sessions come, and the world changes between them
        FOR try IN 1 .. 20 LOOP
            SELECT pick('a', 'b', 'c', 'nobody') AS u, pick('a', 'b', 'c', NULL) AS w INTO call;
            gateway := pick_id(11);
            session := session + 1;
            item := NULL;
            SELECT i INTO item FROM jsonb_array_elements(menu(call.u, call.w)) i
            WHERE (i ->> 'egress_gateway_id')::bigint = gateway;
            expected := answer_acquire(call.u, call.w, gateway);
            explained := NULL;
            IF expected <> 'NG001' THEN
                SELECT * INTO explained FROM egress_explain_access(call.u, call.w, gateway);
            END IF;
            got := acquire(call.u, call.w, gateway, 's' || session, CASE WHEN chance(0.7) THEN interval '1 hour' END);
            INSERT INTO predictions
            SELECT explained.verdict, explained.egress_credential_id, explained.detail, got WHERE expected <> 'NG001';
            INSERT INTO acquires VALUES (world, call.u, call.w, gateway, item IS NOT NULL,
                                         (item ->> 'available_connections')::bigint, got, expected);
            IF chance(0.6) THEN
                PERFORM change_world();
            END IF;
        END LOOP;
        INSERT INTO menus SELECT world, u, w, menu(u, w), answer_menu(u, w) FROM calls;
        INSERT INTO explanations
        SELECT world, u, w, e.egress_gateway_id, row(e.egress_gateway_id, e.gateway_name, e.provider_name, e.verdict,
                                                     e.egress_credential_id, e.detail)::egress_access_explanation, n,
               a.verdict, a.credential, answer_left(u),
               EXISTS (SELECT FROM egress_available_gateways(u, w) m WHERE m.egress_gateway_id = e.egress_gateway_id),
               ARRAY(SELECT o FROM egress_explain_access(u, w, e.egress_gateway_id) o)
        FROM (SELECT * FROM calls ORDER BY random() LIMIT 3) calls, egress_explain_access(u, w) WITH ORDINALITY e (egress_gateway_id, gateway_name, provider_name, verdict,
                                                                    egress_credential_id, detail, n),
             answer_explain(u, w, e.egress_gateway_id) a;
        INSERT INTO worlds
        SELECT world, (SELECT count(*) FROM egress_credential_usage
                       WHERE enabled AND active_connections > active_connection_limit),
               (SELECT count(*) FROM egress_lease_expiry WHERE expires_at <= clock_timestamp());
        IF (SELECT count(*) FROM explanations e WHERE e.world = w_id) <> 3 * (SELECT count(*) FROM egress_gateway) THEN
            RAISE 'an explanation is not of every gateway';
        END IF;
    END LOOP;
END $$;

SELECT setseed(0.4218);
SELECT compare(200);

SELECT is((SELECT count(*)::int FROM menus), 200 * 16, 'menus were compared');
SELECT is_empty('SELECT * FROM menus WHERE menu IS DISTINCT FROM expected LIMIT 5',
                'each menu is what the rules say, row for row, in order, with its connections');
SELECT is((SELECT count(*)::int FROM acquires), 200 * 20, 'acquires were compared');
SELECT is_empty('SELECT * FROM acquires WHERE got IS DISTINCT FROM expected LIMIT 5',
                'each acquire takes the lowest credential that fits and is free, or fails as the rules say');
SELECT is_empty($$SELECT * FROM acquires WHERE listed <> (got ~ '^[0-9]+$' OR got IN ('NG004', 'NG008')) LIMIT 5$$,
                'a gateway is on the menu exactly when an acquire succeeds, or finds it full, or the user at the limit');
SELECT is_empty($$SELECT * FROM acquires WHERE listed AND (free IS DISTINCT FROM 0) <> (got ~ '^[0-9]+$') LIMIT 5$$,
                'and has connections available exactly when an acquire succeeds');

SELECT cmp_ok((SELECT count(*) FROM explanations), '>', 3000::bigint, 'thousands of explanations were compared');
SELECT is_empty($$SELECT u, w, row, verdict, credential FROM explanations
                  WHERE ((row).verdict, (row).egress_credential_id) IS DISTINCT FROM (verdict, credential) LIMIT 5$$,
                'each verdict is the first that applies, each credential the one that the rules say');
SELECT is_empty($$SELECT * FROM explanations WHERE listed <> ((row).verdict IN ('available', 'user_limit', 'at_limit')) LIMIT 5$$,
                'a gateway is on the menu exactly when it is explained as available, user_limit or at_limit');
SELECT is_empty($$SELECT * FROM explanations WHERE one <> ARRAY[row] LIMIT 5$$, 'a gateway alone is explained as among all');
SELECT is_empty($$SELECT * FROM predictions WHERE got <> CASE verdict WHEN 'available' THEN credential::text
                      WHEN 'user_limit' THEN 'NG008' WHEN 'at_limit' THEN 'NG004' WHEN 'no_credential' THEN 'NG003' ELSE 'NG002' END LIMIT 5$$,
                'what an acquire does is what the explanation just before it says, to the credential');
SELECT is_empty($$SELECT * FROM explanations WHERE (row).detail IS NULL OR NOT CASE (row).verdict
                      WHEN 'at_limit' THEN (row).detail ~ '^credential \d+ ''c'' is ((at|over) its limit of \d+(, with \d+ in use and \d+ that cool)?|at the gateway already)'
                      WHEN 'available' THEN (row).detail ~ format('^credential %s ''c'' has (\d+ of \d+ connections free|no limit(, and is not at the gateway)?)%s$', credential,
                                                '; the limit of (everyone|(user|group) ''[abc]'') leaves the user ' || rest || ' of \d+')
                      WHEN 'user_limit' THEN (row).detail ~ format('^the limit of (everyone|user ''%s''|group ''[abc]'') is \d+(, and user ''%1$s'' has \d+ connections?, by sessions? .*)?: raise it in egress_user_limit', u)
                      WHEN 'no_credential' THEN (row).detail ~ '^(credential \d+ ''c''|no enabled credential) of provider ''.*'' names '
                      WHEN 'not_mapped' THEN (row).detail ~ '^(mapping \d+|no enabled mapping) of provider ''.*'' names '
                      WHEN 'overridden' THEN (row).detail ~ format('^workspace ''%s'' overrides', w)
                      ELSE (row).detail <> '' END LIMIT 5$$,
                'the sentence is of its verdict');

-- the worlds had something of everything, or nothing of this would mean much
SELECT cmp_ok(count(*), '>=', 40::bigint, 'acquires ended with ' || outcome)
FROM unnest('{NG001,NG002,NG003,NG004,NG008,credential}'::text[]) outcome
LEFT JOIN acquires ON expected ~ CASE outcome WHEN 'credential' THEN '^[0-9]+$' ELSE outcome END
GROUP BY outcome ORDER BY outcome;
SELECT cmp_ok((SELECT count(*) FROM menus WHERE jsonb_array_length(expected) > 3), '>=', 100::bigint, 'there are long menus');
SELECT cmp_ok((SELECT count(*) FROM menus WHERE expected IS NULL), '>=', 100::bigint, 'and empty ones');
SELECT cmp_ok((SELECT count(*) FROM menus, jsonb_array_elements(expected) i WHERE i -> 'available_connections' = available),
              '>=', 50::bigint, 'there are rows ' || what)
FROM (VALUES ('null'::jsonb, 'without a limit'), ('0', 'that are full'), ('1', 'with one connection'), ('2', 'with two'))
     rows (available, what);
SELECT cmp_ok((SELECT count(*) FROM worlds WHERE over_limit > 0), '>=', 4::bigint,
              'there are credentials that are over their limit');
SELECT cmp_ok((SELECT count(*) FROM worlds WHERE expired > 0), '>=', 15::bigint, 'there are leases that have expired');
SELECT cmp_ok((SELECT count(*) FROM egress_lease_history WHERE release_reason = 'expired'), '>=', 25::bigint,
              'and some whose connection was taken');
SELECT cmp_ok(count(row), '>=', 100::bigint, 'explanations say ' || kind)
FROM unnest('{gateway_withdrawn,gateway_disabled,provider_disabled,overridden,not_mapped,no_credential,user_limit,at_limit,available}'::text[]) kind
LEFT JOIN explanations ON verdict = kind GROUP BY kind ORDER BY kind;
SELECT cmp_ok(count(row), '>=', 5::bigint, 'details say: ' || words)
FROM unnest(ARRAY['no enabled mapping', 'mapping \d+ .* is disabled', 'mapping \d+ .* does not select', 'no enabled credential',
                  'credential \d+ .* is disabled', 'credential \d+ .* does not select', 'is over its limit', 'one of the 2 groups',
                  'is at the gateway already', 'that cools? down', 'limit of group .* leaves', 'limit of everyone is \d+, and user',
                  'limit of user ''.'' is 0: raise it',
                  'no group', ', credential']) words
LEFT JOIN explanations ON (row).detail ~ words GROUP BY words ORDER BY words;
SELECT cmp_ok((SELECT count(*) FROM menus
               WHERE (SELECT count(DISTINCT i -> 'available_connections') FROM jsonb_array_elements(expected) i
                      WHERE i -> 'egress_provider_id' = expected -> 0 -> 'egress_provider_id') > 1),
              '>=', 50::bigint, 'there are providers whose gateways differ in their connections');

/* ------------------------------------------------- in a parallel worker */

-- The function is marked parallel-safe: a worker gives the same answer, with the leases of this open transaction.
SELECT new_world();
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit,
                               private_key)
SELECT 100 + egress_provider_id, egress_provider_id, 'all', 'everyone', true, 5,
       CASE provider_type WHEN 'wireguard' THEN encode(sha256('all'), 'base64') END
FROM egress_provider;
INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type)
SELECT 100 + egress_provider_id, egress_provider_id, 'everyone' FROM egress_provider;
SELECT count(acquire('a', 'a', egress_gateway_id, 'p' || egress_gateway_id)) AS leases FROM egress_gateway \gset
-- PostgreSQL 16 renamed the setting that makes the planner use a worker wherever it may
SELECT set_config(name, 'on', true) AS forced FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN plan;
END $$;
SELECT matches(plan_of('SELECT u, w, m.* FROM calls, LATERAL egress_available_gateways(u, w) m'),
               '"Node Type": "Gather".*"Function Name": "egress_available_gateways"', 'a worker may make the menu');
CREATE TABLE by_worker AS SELECT u, w, m.* FROM calls, LATERAL egress_available_gateways(u, w) m;
SELECT cmp_ok((SELECT count(*) FROM by_worker WHERE available_connections < 5), '>=', 16::bigint,
              'it sees the leases of this transaction');
SELECT bag_eq('SELECT * FROM by_worker',
              $$SELECT u, w, r.* FROM calls, jsonb_to_recordset(answer_menu(u, w)) r
                (egress_gateway_id bigint, gateway_name text, country text, city text, egress_provider_id bigint,
                 provider_name text, provider_type egress_provider_type, available_connections bigint)$$,
              'and answers the same');

SELECT * FROM finish();
ROLLBACK;
