-- end_leases.sql -- who has what access no longer gives, and which leases an administrator ends
--
-- Both are compared with the rules as one query, in random worlds: the functions answer_* are written from the rules themselves, in
-- SQL, without any thought of speed. What the leases of these worlds are of is random too, as it is when everything has changed since.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

/* ------------------------------------------------------ the rules again */

CREATE FUNCTION is_subject(type egress_subject_type, id text, u text, w text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE type
           WHEN 'everyone' THEN true
           WHEN 'user' THEN id = u
           WHEN 'workspace' THEN coalesce(id = w, false)
           WHEN 'group' THEN EXISTS (SELECT FROM egress_group_member WHERE user_id = u AND group_id = id) END
$$;

-- what of the rules does not give a user in a workspace a credential for a gateway; NULL when they give it
CREATE FUNCTION answer_refusal(u text, w text, gateway bigint, credential bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
           WHEN NOT g.enabled THEN 'gateway disabled'
           WHEN g.withdrawn THEN 'gateway withdrawn'
           WHEN NOT p.enabled THEN 'provider disabled'
           WHEN NOT EXISTS (SELECT FROM egress_provider_mapping m
                            WHERE m.egress_provider_id = g.egress_provider_id AND m.enabled
                              AND is_subject(m.subject_type, m.subject_id, u, w)
                              AND (m.subject_type = 'workspace'
                                   OR NOT EXISTS (SELECT FROM egress_workspace WHERE workspace_id = w AND override_egress_gateways))
                              AND (m.allow_all_gateways
                                   OR EXISTS (SELECT FROM egress_provider_mapping_gateway s
                                              WHERE s.egress_provider_mapping_id = m.egress_provider_mapping_id
                                                AND s.egress_gateway_id = gateway)))
           THEN 'not mapped'
           WHEN NOT c.enabled THEN 'credential disabled'
           WHEN NOT is_subject(c.subject_type, c.subject_id, u, w) THEN 'credential of others'
           WHEN NOT c.allow_all_gateways
                AND NOT EXISTS (SELECT FROM egress_credential_gateway s
                                WHERE s.egress_credential_id = credential AND s.egress_gateway_id = gateway)
           THEN 'credential not for the gateway' END
    FROM egress_gateway g JOIN egress_provider p USING (egress_provider_id) JOIN egress_credential c USING (egress_provider_id)
    WHERE g.egress_gateway_id = gateway AND c.egress_credential_id = credential
$$;

CREATE TABLE session (id text PRIMARY KEY);
-- the leases, and what is to be known of each
CREATE VIEW answer_lease AS
SELECT l.*, g.egress_provider_id, answer_refusal(user_id, workspace_id, egress_gateway_id, l.egress_credential_id) AS refusal,
       session_id NOT IN (SELECT id FROM session) AS orphaned,
       NOT cooling AND coalesce(e.expires_at > clock_timestamp(), true) AS live
FROM egress_lease l JOIN egress_gateway g USING (egress_gateway_id) LEFT JOIN egress_lease_expiry e USING (session_id);

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
    DELETE FROM egress_lease;
    DELETE FROM egress_provider;
    DELETE FROM egress_group_member;
    DELETE FROM egress_workspace;
    DELETE FROM session;

    INSERT INTO egress_workspace (workspace_id, override_egress_gateways)
    SELECT w, chance(0.6) FROM unnest('{a,b,c}'::text[]) w WHERE chance(0.6);
    INSERT INTO egress_group_member
    SELECT pick('a', 'b', 'c'), pick('a', 'b', 'c') FROM generate_series(1, pick_id(5)) ON CONFLICT DO NOTHING;
    INSERT INTO egress_provider (egress_provider_id, name, provider_type, enabled)
    SELECT n, 'p' || n, 'custom', chance(0.85) FROM generate_series(1, 3) n;
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, enabled, withdrawn)
    SELECT n, pick_id(3), 'g' || n, chance(0.9), chance(0.1) FROM generate_series(1, 8) n;
    INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id,
                                         enabled, allow_all_gateways)
    SELECT n, pick_id(3), s.type, s.id, chance(0.85), chance(0.5)
    FROM generate_series(1, 12) n, pick_subject(n) s;
    INSERT INTO egress_provider_mapping_gateway
    SELECT egress_provider_mapping_id, egress_gateway_id
    FROM egress_provider_mapping JOIN egress_gateway USING (egress_provider_id) WHERE chance(0.4);
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled, allow_all_gateways,
                                   cool_down)
    SELECT n, pick_id(3), 'c', s.type, s.id, chance(0.85), chance(0.5), pick('1 hour', NULL)::interval
    FROM generate_series(1, 8) n, pick_subject(n) s;
    INSERT INTO egress_credential_gateway
    SELECT egress_credential_id, egress_gateway_id
    FROM egress_credential JOIN egress_gateway USING (egress_provider_id) WHERE chance(0.5);

    -- of whatever there is, some expired, and some that are nobody's any more
    INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at, slot, cooling)
    SELECT 's' || n, egress_credential_id, egress_gateway_id, pick('a', 'b', 'c', 'nobody'), pick('a', 'b', 'c', NULL),
           clock_timestamp(), n, chance(0.1)
    FROM generate_series(1, 20) n,
         LATERAL (SELECT * FROM egress_credential JOIN egress_gateway USING (egress_provider_id)
                  WHERE n > 0 ORDER BY random() LIMIT 1) one;
    INSERT INTO egress_lease_expiry
    SELECT session_id, egress_credential_id, clock_timestamp() + pick('-1 hour', '1 hour')::interval
    FROM egress_lease WHERE NOT cooling AND chance(0.4);
    INSERT INTO session SELECT session_id FROM egress_lease WHERE chance(0.7);
END $$;

/* ----------------------------------------------------------- comparison */

CREATE TABLE given (world int, refusal text, session_id text);
CREATE TABLE shown (world int, what text, got text[], expected text[]);
CREATE TABLE ended (world int, which jsonb, got text[], expected text[], leases int);

-- what is ended by a call; nothing of it stays
CREATE FUNCTION ended_by(which jsonb) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    result text[];
BEGIN
    SELECT array_agg(concat_ws(' ', e.session_id, e.user_id, e.workspace_id, e.egress_gateway_id, e.egress_credential_id)
                     ORDER BY e.session_id COLLATE "C") INTO result
    FROM egress_end_leases(which->>'session_id', which->>'user_id', which->>'workspace_id', (which->>'gateway')::bigint,
                           (which->>'credential')::bigint, (which->>'provider')::bigint, (which->>'unentitled')::boolean,
                           (which->>'orphaned')::boolean) e;
    IF EXISTS (SELECT FROM egress_lease WHERE session_id = ANY (SELECT split_part(r, ' ', 1) FROM unnest(result) r)) OR
       (SELECT count(*) FROM egress_lease_history WHERE release_reason = 'ended') <> coalesce(cardinality(result), 0) THEN
        RAISE 'what has ended is there, or not in the history';
    END IF;
    RAISE SQLSTATE 'OK000';
EXCEPTION WHEN SQLSTATE 'OK000' THEN
    RETURN result;
END $$;

CREATE FUNCTION compare(worlds int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    which jsonb;
BEGIN
    FOR world IN 1 .. worlds LOOP
        PERFORM new_world();
        INSERT INTO given SELECT world, refusal, session_id FROM answer_lease;
        INSERT INTO shown
        SELECT world, 'sessions', (SELECT array_agg(s ORDER BY s COLLATE "C") FROM egress_unentitled_sessions() s),
               (SELECT array_agg(session_id ORDER BY session_id) FROM answer_lease WHERE NOT cooling AND refusal IS NOT NULL)
        UNION ALL
        SELECT world, 'view', (SELECT array_agg(c::text ORDER BY session_id) FROM egress_unentitled_connection c),
               (SELECT array_agg(c::text ORDER BY session_id) FROM egress_connection c JOIN answer_lease l USING (session_id)
                WHERE l.live AND l.refusal IS NOT NULL);
        FOR try IN 1 .. 12 LOOP
            -- of each kind sometimes, and most often of a lease that there is
            SELECT jsonb_strip_nulls(jsonb_build_object(
                       'session_id', CASE WHEN chance(0.1) THEN l.session_id END,
                       'user_id', CASE WHEN chance(0.35) THEN l.user_id END,
                       'workspace_id', CASE WHEN chance(0.25) THEN coalesce(l.workspace_id, 'a') END,
                       'gateway', CASE WHEN chance(0.2) THEN l.egress_gateway_id END,
                       'credential', CASE WHEN chance(0.2) THEN l.egress_credential_id END,
                       'provider', CASE WHEN chance(0.3) THEN l.egress_provider_id END,
                       'unentitled', CASE WHEN chance(0.4) THEN true END,
                       'orphaned', CASE WHEN chance(0.3) THEN true END)) INTO which
            FROM (SELECT * FROM answer_lease ORDER BY random() LIMIT 1) l;
            CONTINUE WHEN which IS NULL OR which = '{}';
            INSERT INTO ended
            SELECT world, which, ended_by(which),
                   (SELECT array_agg(concat_ws(' ', l.session_id, l.user_id, l.workspace_id, l.egress_gateway_id, l.egress_credential_id)
                                     ORDER BY l.session_id)
                    FROM answer_lease l
                    WHERE l.live AND coalesce(l.session_id = which->>'session_id', true) AND coalesce(l.user_id = which->>'user_id', true)
                      AND (which->'workspace_id' IS NULL OR coalesce(l.workspace_id = which->>'workspace_id', false))
                      AND coalesce(l.egress_gateway_id = (which->>'gateway')::bigint, true)
                      AND coalesce(l.egress_credential_id = (which->>'credential')::bigint, true)
                      AND coalesce(l.egress_provider_id = (which->>'provider')::bigint, true)
                      AND (which->'unentitled' IS NULL OR l.refusal IS NOT NULL)
                      AND (which->'orphaned' IS NULL OR l.orphaned)),
                   (SELECT count(*) FROM answer_lease);
        END LOOP;
    END LOOP;
END $$;

SELECT egress_attach_sessions('session', 'id') \g /dev/null
SELECT setseed(0.3317);
SELECT compare(120) \g /dev/null

SELECT is((SELECT count(*)::int FROM shown), 240, 'what is shown was compared');
SELECT is_empty('SELECT * FROM shown WHERE got IS DISTINCT FROM expected LIMIT 5',
                'the sessions, and the view, are those that the rules do not give what they have');
SELECT cmp_ok((SELECT count(*) FROM ended), '>', 1000::bigint, 'calls were compared');
SELECT is_empty('SELECT world, which, got, expected FROM ended WHERE got IS DISTINCT FROM expected LIMIT 5',
                'each call ends the live leases that fit all that it says, and returns them');
-- the worlds had something of everything
SELECT cmp_ok((SELECT count(*) FROM given WHERE refusal IS NOT DISTINCT FROM kind), '>=', 40::bigint,
              'there were leases: ' || coalesce(kind, 'given'))
FROM unnest(ARRAY['gateway disabled', 'gateway withdrawn', 'provider disabled', 'not mapped', 'credential disabled',
                  'credential of others', 'credential not for the gateway', NULL]) kind;
SELECT cmp_ok((SELECT count(*) FROM ended WHERE which ? kind AND expected IS NOT NULL), '>=', 40::bigint, 'calls with ' || kind || ' ended some')
FROM unnest(ARRAY['session_id', 'user_id', 'workspace_id', 'gateway', 'credential', 'provider', 'unentitled', 'orphaned']) kind;
SELECT cmp_ok((SELECT count(*) FROM ended WHERE cardinality(expected) > 1), '>=', 100::bigint, 'more than one at once');
SELECT cmp_ok((SELECT count(*) FROM ended WHERE expected IS NULL), '>=', 100::bigint, 'or none');

/* ------------------------------------ credentials that select many gateways */

-- of one that selects few, they are kept; of one that selects more, each is looked up
DELETE FROM egress_lease;
DELETE FROM egress_provider;
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'p', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) SELECT n, 1, 'g' || n FROM generate_series(1, 140) n;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, allow_all_gateways)
SELECT n, 1, 'c', 'everyone', false FROM unnest(ARRAY[0, 1, 63, 64, 65, 130]) n;
INSERT INTO egress_credential_gateway SELECT c, g FROM unnest(ARRAY[1, 63, 64, 65, 130]) c, generate_series(1, c) g;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT c || ' ' || g, c, g, 'a', clock_timestamp(), g FROM unnest(ARRAY[0, 1, 63, 64, 65, 130]) c, unnest(ARRAY[1, 2, 64, 65, 130, 140]) g;
SELECT bag_eq('SELECT egress_unentitled_sessions()',
              'SELECT session_id FROM egress_lease WHERE egress_gateway_id > egress_credential_id',
              'leases at gateways that their credentials do not select');

/* ------------------------------------------------- in a parallel worker */

SELECT new_world() \g /dev/null
SELECT set_config(name, 'on', true) AS forced FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN plan;
END $$;
SELECT matches(plan_of('SELECT session FROM egress_unentitled_sessions() session'),
               '"Node Type": "Gather".*"Function Name": "egress_unentitled_sessions"', 'a worker may look for them');
CREATE TABLE by_worker AS SELECT session FROM egress_unentitled_sessions() session;
SELECT set_config(name, 'off', true) AS forced FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
SELECT bag_eq('SELECT session FROM by_worker', 'SELECT session_id FROM answer_lease WHERE NOT cooling AND refusal IS NOT NULL',
              'and finds the same');

/* ------------------------------------------------------------ by itself */

DELETE FROM egress_lease;
DELETE FROM egress_provider;
DELETE FROM egress_group_member;
DELETE FROM egress_workspace;
SELECT egress_detach_sessions('session') \g /dev/null
INSERT INTO egress_provider (egress_provider_id, name, provider_type, bench_after) VALUES (1, 'Lanternway', 'custom', 1);
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'nl-ams-01'), (2, 1, 'de-fra-01');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'group', 'staff');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit, cool_down)
VALUES (1, 1, 'alpha', 'everyone', true, 2, NULL), (2, 1, 'beta', 'everyone', true, 5, '1 hour');
INSERT INTO egress_group_member VALUES ('ann', 'staff'), ('bob', 'staff');
SELECT count(egress_acquire_credential(u, 'desk', 1, s)) FROM unnest(ARRAY['ann', 'bob', 'ann'], ARRAY['s1', 's2', 's3']) one (u, s) \g /dev/null

SELECT is_empty('SELECT * FROM egress_unentitled_connection', 'those who have what they may have are not shown');
UPDATE egress_credential SET active_connection_limit = 0;
SELECT egress_report_failure(s, f) FROM unnest(ARRAY['s1', 's1'], ARRAY['gateway', 'credential']) one (s, f) \g /dev/null
SELECT is((SELECT count(*)::int FROM egress_benched), 2, 'a gateway and a credential are benched');
SELECT is_empty('SELECT * FROM egress_unentitled_connection', 'what is full or benched takes nothing from who has it');
SELECT is_empty('SELECT * FROM egress_end_leases(unentitled => true)', 'nor is it ended');
UPDATE egress_credential SET active_connection_limit = 5;

DELETE FROM egress_group_member WHERE user_id = 'ann';
SELECT results_eq('SELECT session_id COLLATE "default", credential_name COLLATE "default" FROM egress_unentitled_connection ORDER BY 1',
                  $$VALUES ('s1', 'alpha'), ('s3', 'beta')$$, 'who leaves the group is shown');
SELECT results_eq('SELECT session_id COLLATE "default", user_id COLLATE "default", workspace_id COLLATE "default",
                          egress_gateway_id, egress_credential_id FROM egress_end_leases(unentitled => true) ORDER BY 1',
                  $$VALUES ('s1', 'ann', 'desk', 1::bigint, 1::bigint), ('s3', 'ann', 'desk', 1, 2)$$, 'and ended');
SELECT results_eq('SELECT session_id COLLATE "default", release_reason COLLATE "default" FROM egress_lease_history ORDER BY 1',
                  $$VALUES ('s1', 'ended'), ('s3', 'ended')$$, 'the history says so');
SELECT is((SELECT count(*)::int FROM egress_lease WHERE cooling), 1, 'a connection cools down');
SELECT is_empty('SELECT * FROM egress_end_leases(egress_credential_id => 2)', 'which is nobody''s lease');
SELECT is_empty($$SELECT * FROM egress_end_leases(session_id => (SELECT session_id FROM egress_lease WHERE cooling))$$, 'by whatever name');
SELECT is_empty($$SELECT * FROM egress_end_leases(user_id => (SELECT user_id FROM egress_lease WHERE cooling))$$, 'of whatever user');
SELECT is((SELECT count(*)::int FROM egress_lease WHERE cooling), 1, 'and stays');

-- what this very transaction has done counts
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 1;
SELECT results_eq('SELECT session_id COLLATE "default" FROM egress_end_leases(unentitled => true)', ARRAY['s2'], 'a gateway is disabled, and all end');
UPDATE egress_gateway SET enabled = true;

-- one that has expired is left to who sweeps
INSERT INTO egress_group_member VALUES ('ann', 'staff');
SELECT count(egress_acquire_credential('ann', NULL, 2, s, '1 microsecond')) FROM unnest(ARRAY['s4']) s \g /dev/null
SELECT is_empty($$SELECT * FROM egress_end_leases(user_id => 'ann')$$, 'a lease that has expired does not end once more');
SELECT is(egress_expire_leases(1), 1::bigint, 'but in a sweep');
SELECT is(egress_expire_leases(max_rows => 1), 0::bigint, 'of so many rows');

-- in the same transaction a session may have another after the one that was ended
SELECT count(egress_acquire_credential('ann', NULL, 2, 's5')) \g /dev/null
SELECT is((SELECT count(*)::int FROM egress_end_leases(session_id => 's5')), 1, 'by its session');
SELECT count(egress_acquire_credential('ann', 'desk', 2, 's5')) \g /dev/null
SELECT is((SELECT count(*)::int FROM egress_end_leases('s5', 'ann', 'other')), 0, 'one thing that does not fit is enough');
SELECT is((SELECT count(*)::int FROM egress_end_leases('s5', 'ann', 'desk', 2, 2, 1)), 1, 'or else all of it');
SELECT is_empty($$SELECT * FROM egress_end_leases(egress_provider_id => 999)$$, 'there is no such provider');

/* ------------------------------------------------------------ arguments */

CREATE FUNCTION error(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'none';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT is(error('SELECT egress_end_leases(' || arguments || ')'),
          '22023 | nothing says which leases are to end | Every argument is null. | '
          'Name what they have in common, as in egress_end_leases(user_id => ''ada'').', 'nothing is said: ' || arguments)
FROM unnest(ARRAY['', 'user_id => NULL', 'unentitled => NULL', 'NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL', 'session_id => NULL::uuid',
                  'user_id => NULL::bigint', 'workspace_id => NULL::uuid', 'egress_gateway_id => NULL']) arguments;
SELECT is(error(format('SELECT egress_end_leases(%s => false)', name)),
          format('22023 | %s must be true or null | With true, only leases that are %1$s end; with null, it does not matter.', name),
          name || ' is not false')
FROM unnest(ARRAY['unentitled', 'orphaned']) name;
SELECT is(error(format('SELECT egress_end_leases(user_id => ''ann'', %s => false)', name)) LIKE '22023 | %', true, name || ', beside another either')
FROM unnest(ARRAY['unentitled', 'orphaned']) name;
SELECT is(error(format('SELECT egress_end_leases(%s => %L)', name, '')),
          format('22023 | %s must not be empty | An id has 1 to 255 bytes.', name), name || ' is not empty')
FROM unnest(ARRAY['session_id', 'user_id', 'workspace_id']) name;
SELECT is(error(format('SELECT egress_end_leases(%s => %L)', name, repeat('x', 256))),
          format('22023 | %s is too long | It has 256 bytes; an id has 1 to 255.', name), name || ' is not longer than an id')
FROM unnest(ARRAY['session_id', 'user_id', 'workspace_id']) name;
SELECT is_empty(format('SELECT * FROM egress_end_leases(%s => %L)', name, repeat('x', 255)), name || ' may be as long as an id')
FROM unnest(ARRAY['session_id', 'user_id', 'workspace_id']) name;
SET LOCAL transaction_read_only = on;
SELECT throws_ok($$SELECT egress_end_leases(user_id => 'ann')$$, '25006', NULL, 'a read-only transaction ends none');
SELECT lives_ok('SELECT * FROM egress_unentitled_connection', 'and may look');
SELECT * FROM finish();
ROLLBACK;
