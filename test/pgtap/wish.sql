-- wish.sql -- egress_acquire_gateway: which gateway it may choose, on random worlds; what it refuses; that it spreads
--
-- What the menu has is proved in rules.sql, and what an acquire of a gateway does, too. Here a wish is held against both: it takes
-- one of the gateways of the menu that a plain query has as the most wanted among those that an acquire gets.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

/* ------------------------------------------------------ what is under test */

-- the gateway's id, or the SQLSTATE
CREATE FUNCTION wish(u text, w text, session text, countries text[] DEFAULT NULL, cities text[] DEFAULT NULL,
                     providers text[] DEFAULT NULL, avoid bigint[] DEFAULT NULL, ttl interval DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN egress_gateway_id FROM egress_acquire_gateway(u, w, session, countries, cities, providers, avoid, ttl);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

-- everything that a wish that is refused says
CREATE FUNCTION refusal(countries text[] DEFAULT NULL, cities text[] DEFAULT NULL, providers text[] DEFAULT NULL,
                        avoid bigint[] DEFAULT NULL, u text DEFAULT 'ana') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM egress_acquire_gateway(u, NULL, 'refused', countries, cities, providers, avoid);
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN concat_ws(' ', SQLSTATE, SQLERRM, detail);
END $$;

/* ------------------------------------------------------ the rules again */

-- would an acquire of the gateway get a credential?
CREATE FUNCTION has_free(u text, w text, gateway bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM egress_acquire_credential(u, w, gateway, 'has free');
    RAISE EXCEPTION USING ERRCODE = 'XX001';
EXCEPTION WHEN SQLSTATE 'XX001' THEN
    RETURN true;
WHEN SQLSTATE 'NG004' THEN
    RETURN false;
END $$;

-- where a name is in a list, by lower(); 0 without a list, NULL when it is not there
CREATE FUNCTION place(name text, list text[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT CASE WHEN list IS NULL THEN 0
                ELSE (SELECT min(n) FROM unnest(list) WITH ORDINALITY l (wished, n) WHERE lower(wished) = lower(name)) END
$$;

-- the ids that the wish of a session without a lease may come to, or the SQLSTATE
CREATE FUNCTION answer_wish(u text, w text, countries text[], cities text[], providers text[], avoid bigint[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    result text[];
BEGIN
    CREATE TEMP TABLE fitting ON COMMIT DROP AS
        SELECT egress_gateway_id AS id,
               ARRAY[place(country, countries), place(city, cities), place(provider_name, providers)] AS place
        FROM egress_available_gateways(u, w)
        WHERE (egress_gateway_id = ANY (avoid)) IS NOT TRUE;
    DELETE FROM fitting WHERE array_position(place, NULL) IS NOT NULL;
    IF NOT EXISTS (SELECT FROM fitting) THEN
        result := '{NG002}';
    ELSE
        DELETE FROM fitting WHERE NOT has_free(u, w, id);
        SELECT coalesce(array_agg(id::text), '{NG004}') INTO result
        FROM fitting WHERE place = (SELECT min(place) FROM fitting);
    END IF;
    DROP TABLE fitting;
    RETURN result;
END $$;

/* --------------------------------------------------------------- worlds */

CREATE FUNCTION chance(probability float8) RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT random() < probability';
CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
    'SELECT choices[1 + floor(random() * cardinality(choices))::int]';
CREATE FUNCTION pick_id(ids int) RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT 1 + floor(random() * ids)::bigint';
CREATE FUNCTION pick_country() RETURNS text LANGUAGE sql VOLATILE AS
    $$SELECT pick('Sweden', 'SWEDEN', 'Åland', 'ÅLAND', 'İstanbul', 'straße', 'Norway', NULL)$$;
CREATE FUNCTION pick_city() RETURNS text LANGUAGE sql VOLATILE AS $$SELECT pick('Oslo', 'OSLO', 'Malmö', 'MALMÖ', NULL)$$;
CREATE FUNCTION pick_subject(n int, OUT type egress_subject_type, OUT id text) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    type := pick('user', 'group', 'workspace', 'everyone', 'everyone');
    IF type <> 'everyone' THEN
        id := pick('a', 'b');
    END IF;
END $$;

CREATE FUNCTION new_world() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM egress_release_credential(session_id) FROM egress_lease;
    DELETE FROM egress_provider;
    DELETE FROM egress_group_member;
    DELETE FROM egress_workspace;

    INSERT INTO egress_workspace (workspace_id, override_egress_gateways) SELECT w, chance(0.4) FROM unnest('{a,b}'::text[]) w;
    INSERT INTO egress_group_member
    SELECT pick('a', 'b'), pick('a', 'b') FROM generate_series(1, pick_id(3)) ON CONFLICT DO NOTHING;
    INSERT INTO egress_provider (egress_provider_id, name, provider_type, enabled, credential_order, bench_after)
    SELECT n, pick('Nord ', 'NORD ') || n, 'custom', chance(0.9), pick('first', 'spread'), pick('1', '1', NULL)::int FROM generate_series(1, 3) n;
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, enabled, withdrawn)
    SELECT n, pick_id(3), n, pick_country(), pick_city(), chance(0.85), chance(0.15) FROM generate_series(1, 14) n;
    INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id,
                                         enabled, allow_all_gateways)
    SELECT n, pick_id(3), s.type, s.id, chance(0.9), chance(0.6) FROM generate_series(1, 6) n, pick_subject(n) s;
    INSERT INTO egress_provider_mapping_gateway
    SELECT egress_provider_mapping_id, egress_gateway_id
    FROM egress_provider_mapping JOIN egress_gateway USING (egress_provider_id) WHERE chance(0.5);
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled, allow_all_gateways,
                                   limit_active_connections, active_connection_limit, once_per_gateway)
    SELECT n, pick_id(3), 'c' || n, type, id, chance(0.9), chance(0.6), chance(0.8), pick_id(3) - 1, chance(0.3)
    FROM generate_series(1, CASE WHEN chance(0.2) THEN 80 ELSE 6 END) n, pick_subject(n);
    INSERT INTO egress_credential_gateway
    SELECT egress_credential_id, egress_gateway_id
    FROM egress_credential JOIN egress_gateway USING (egress_provider_id) WHERE chance(0.4);
END $$;

-- wishes in one world, as long as they are answered as the rules say; returns the first that was not
CREATE FUNCTION wrong_wish(world int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    u text;
    w text;
    countries text[];
    cities text[];
    providers text[];
    avoid bigint[];
    expected text[];
    outcome text;
BEGIN
    PERFORM new_world();
    FOR n IN 1..12 LOOP
        u := pick('a', 'b');
        w := pick('a', 'b', NULL);
        countries := CASE WHEN chance(0.5) THEN ARRAY(SELECT coalesce(pick_country(), 'straSSe') FROM generate_series(1, pick_id(4))) END;
        cities := CASE WHEN chance(0.4) THEN ARRAY(SELECT coalesce(pick_city(), 'x') FROM generate_series(1, pick_id(3))) END;
        providers := CASE WHEN chance(0.4) THEN ARRAY(SELECT pick('nord ', 'Nord ') || pick_id(4) FROM generate_series(1, pick_id(3))) END;
        avoid := CASE WHEN chance(0.4) THEN ARRAY(SELECT pick_id(16) FROM generate_series(0, pick_id(6) - 1)) END;
        expected := answer_wish(u, w, countries, cities, providers, avoid);
        outcome := wish(u, w, 'session ' || n, countries, cities, providers, avoid);
        INSERT INTO seen VALUES (CASE WHEN outcome ~ '^NG' THEN outcome ELSE 'taken' END);
        IF outcome <> ALL (expected) THEN
            RETURN format('%s and not one of %s: user %s, workspace %s, countries %s, cities %s, providers %s, avoid %s', outcome, expected,
                          u, w, countries, cities, providers, avoid);
        END IF;
        IF outcome !~ '^NG' AND chance(0.2) THEN
            PERFORM egress_report_failure('session ' || n, pick('gateway', 'credential'));
        END IF;
        IF chance(0.3) THEN
            PERFORM egress_release_credential(session_id) FROM egress_lease ORDER BY random() LIMIT 1;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TEMP TABLE seen (outcome text);
SELECT is_empty('SELECT wrong FROM generate_series(1, 100) world, wrong_wish(world) wrong WHERE wrong IS NOT NULL',
                'random worlds: a wish takes what the rules say is wanted most, and else says why not');
SELECT results_eq('SELECT outcome FROM seen GROUP BY 1 HAVING count(*) > 30 ORDER BY 1', $$VALUES ('NG002'), ('NG004'), ('taken')$$,
                  'each outcome was seen often');

/* ------------------------------------------------------ one world for the rest */

SELECT egress_release_credential(session_id) FROM egress_lease \g /dev/null
DELETE FROM egress_provider;
DELETE FROM egress_workspace;
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom'), (2, 'Quillport', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city) VALUES
    (11, 1, 'se 1', 'Sweden', 'Malmö'), (12, 1, 'se 2', 'Sweden', 'Stockholm'), (13, 1, 'no 1', 'Norway', 'Oslo'),
    (21, 2, 'se 1', 'SWEDEN', 'STOCKHOLM'), (22, 2, 'nowhere', NULL, NULL);
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
    VALUES (1, 1, 'one', 'everyone', true, 5), (2, 2, 'two', 'everyone', true, 5);

-- the row
SELECT results_eq($$
    SELECT egress_gateway_id, egress_credential_id, credential_name, gateway_name, country, city, egress_provider_id, provider_name,
           provider_type::text
    FROM egress_acquire_gateway('ana', 'desk', 's1', '{norway}')$$,
    $$VALUES (13::bigint, 1::bigint, 'one', 'no 1', 'Norway', 'Oslo', 1::bigint, 'Lanternway', 'custom')$$, 'what it returns');
SELECT results_eq($$SELECT concat_ws(' ', session_id, user_id, workspace_id, egress_gateway_id, egress_credential_id) COLLATE "default" FROM egress_lease$$,
                  $$VALUES ('s1 ana desk 13 1')$$, 'and what it leases');

-- asked again
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 13;
UPDATE egress_credential SET active_connection_limit = 0 WHERE egress_credential_id = 1;
SELECT is(wish('ana', 'desk', 's1', '{norway}'), '13', 'asked again: the same lease, though its gateway is disabled and full');
SELECT is(wish('ana', 'desk', 's1'), '13', 'also by another wish that it fits');
SELECT is(wish('ana', 'desk', 's1', '{Sweden,NORWAY}', '{bergen,OSLO}', '{x,lanternWay}', '{11}'), '13', 'whatever its position');
SELECT is(wish('ana', 'desk', 's1', '{sweden}'), 'NG005', 'not by one that it does not fit: country');
SELECT is(wish('ana', 'desk', 's1', NULL, '{stockholm}'), 'NG005', 'city');
SELECT is(wish('ana', 'desk', 's1', NULL, NULL, '{quillport}'), 'NG005', 'provider');
SELECT is(wish('ana', 'desk', 's1', NULL, NULL, NULL, '{11,13}'), 'NG005', 'avoid');
SELECT is(wish('bob', 'desk', 's1'), 'NG005', 'user');
SELECT is(wish('ana', NULL, 's1'), 'NG005', 'workspace');
SELECT is((SELECT count(*)::int FROM egress_lease), 1, 'there is one lease');
SELECT egress_release_credential('s1') \g /dev/null
UPDATE egress_gateway SET enabled = true WHERE egress_gateway_id = 13;
UPDATE egress_credential SET active_connection_limit = 5 WHERE egress_credential_id = 1;

-- asked by an id that is no text, and with a ttl
SELECT results_eq($$SELECT egress_gateway_id FROM egress_acquire_gateway(7, 'desk'::varchar, '6f1f3a0e-2c5b-4a57-9a3e-0d6d0f4c9b11'::uuid,
                           ARRAY['norway'::varchar], ttl => '1 hour')$$, 'VALUES (13::bigint)', 'ids that are no text');
SELECT results_eq($$SELECT concat_ws(' ', session_id, user_id, expires_at - acquired_at) COLLATE "default" FROM egress_live_lease$$,
                  $$VALUES ('6f1f3a0e-2c5b-4a57-9a3e-0d6d0f4c9b11 7 01:00:00')$$, 'the lease ends by itself');
SELECT egress_release_credential('6f1f3a0e-2c5b-4a57-9a3e-0d6d0f4c9b11'::uuid) \g /dev/null

-- an expired lease of the session is not returned
SELECT is(wish('ana', NULL, 'late', '{norway}', ttl => '1 microsecond'), '13', 'a lease that has expired at once');
SELECT is(wish('ana', NULL, 'late', '{sweden}', '{malmö}'), '11', 'is no lease any more');
SELECT egress_release_credential('late') \g /dev/null

/* ------------------------------------------------------ what is refused, and why */

SELECT is(refusal(u => ''), '22023 user_id must not be empty An id has 1 to 255 bytes.', 'bad user_id');
SELECT is(refusal(u => NULL), '22004 user_id must not be null Only workspace_id, ttl and arguments whose default is null may be null.', 'no user_id');
SELECT is(wish('ana', NULL, NULL), '22004', 'no session_id');
SELECT is(wish('ana', '', 's'), '22023', 'bad workspace_id');
SELECT is(wish('ana', NULL, 's', ttl => '1000 years'), '22023', 'bad ttl');
SELECT is(refusal('{}'), '22023 countries must not be empty An empty list names nothing, and no gateway would fit.', 'no countries');
SELECT is(refusal(NULL, '{}'), '22023 cities must not be empty An empty list names nothing, and no gateway would fit.', 'no cities');
SELECT is(refusal(NULL, NULL, '{}'), '22023 providers must not be empty An empty list names nothing, and no gateway would fit.', 'no providers');
SELECT is(refusal('{a,NULL}'), '22004 countries must not contain null Element 2 is null.', 'a country that is NULL');
SELECT is(refusal(NULL, NULL, NULL, '{1,NULL}'), '22004 avoid must not contain null Element 2 is null.', 'a gateway to avoid that is NULL');
SELECT is(refusal(NULL, '{{a},{b}}'), '22023 cities must have one dimension It has 2.', 'two dimensions');
SELECT is(refusal(NULL, NULL, NULL, '{{1},{2}}'), '22023 avoid must have one dimension It has 2.', 'two dimensions to avoid');
SELECT is(wish('ana', NULL, 'none', '{norway}', avoid => '{}'), '13', 'nothing to avoid');
SELECT egress_release_credential('none') \g /dev/null

SELECT is(refusal('{Denmark}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "Denmark" '
          'None that is available to them is in such a country.', 'no such country');
SELECT is(refusal('{a,b,c,d,e,A,f,g}', '{x}', '{quillPORT}', '{1,2}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "a" or "b" or "c" or "d" or "e" or 2 more, '
          'city "x", provider "quillPORT", avoiding 2 gateways None of such a provider is in such a country.', 'no such country of a provider');
SELECT is(refusal(NULL, '{Bergen}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: city "Bergen" '
          'None that is available to them is in such a city.', 'no such city');
SELECT is(refusal('{sweden}', '{oslo}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "sweden", city "oslo" '
          'None of what is left by the other parts of the wish is in such a city.', 'no such city in the country');
SELECT is(refusal(NULL, NULL, '{nobody}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: provider "nobody" '
          'None that is available to them is of such a provider.', 'no such provider');
SELECT is(refusal('{norway}', avoid => '{13}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "norway", avoiding 1 gateway '
          'All others are to be avoided.', 'all avoided');
SAVEPOINT nothing;
UPDATE egress_provider_mapping SET enabled = false;
SELECT is(refusal('{norway}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "norway" '
          'No gateway at all is available to them.', 'nothing is available');
ROLLBACK TO nothing;
SAVEPOINT long;
SELECT is(refusal(ARRAY[repeat('å', 1000)]),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "' || repeat('å', 30) || '..." '
          'None that is available to them is in such a country.', 'a long name');
ROLLBACK TO long;

SELECT ok(wish('ana', NULL, 'f' || i, NULL, NULL, '{lanternway}') ~ '^1[123]$', 'connection ' || i) FROM generate_series(1, 5) i;
SELECT is(refusal('{sweden}', providers => '{lanternway}'),
          'NG004 no connection is free for user "ana" without a workspace at a gateway that fits the wish: country "sweden", provider "lanternway" '
          'The credentials that fit are at their limits.', 'full');
SELECT is(wish('ana', NULL, 'f6', '{norway,sweden}'), '21', 'full in the first country: on to the second, where another provider has one free');
SELECT is(wish('ana', NULL, 'f7', '{sweden}', NULL, '{lanternway,quillport}'), '21', 'full at the first provider: on to the second');
UPDATE egress_credential SET once_per_gateway = true WHERE egress_credential_id = 2;
SELECT is(refusal('{sweden}'),
          'NG004 no connection is free for user "ana" without a workspace at a gateway that fits the wish: country "sweden" '
          'The credentials that fit are at their limits, or at the gateways already, where each may be once.', 'at the gateway already');
SELECT egress_release_credential(session_id) FROM egress_lease \g /dev/null

-- a credential that cannot be opened is passed over; when there is no other, that is said
UPDATE egress_credential SET custom_credential = 'egress:v1:0123456789abcdef:' || repeat('A', 64);
SELECT matches(refusal('{norway}'), '^NG006 ', 'no credential that can be opened');
UPDATE egress_credential SET custom_credential = NULL WHERE egress_credential_id = 2;
SELECT is(wish('ana', NULL, 'sealed', '{norway,sweden}'), '21', 'one that cannot be opened is passed over');
SELECT matches(refusal('{norway,sweden}'), '^NG004 .* at the gateways already', 'and the other is full');
SELECT egress_release_credential('sealed') \g /dev/null
UPDATE egress_credential SET custom_credential = NULL, once_per_gateway = false;

-- a big pool, full but for one that selects a gateway
SAVEPOINT big;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, allow_all_gateways,
                               limit_active_connections, active_connection_limit)
    SELECT 100 + i, 1, 'big ' || i, 'everyone', i < 40, true, CASE WHEN i < 40 THEN 0 ELSE 1 END FROM generate_series(1, 40) i;
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (140, 13);
UPDATE egress_credential SET active_connection_limit = 0 WHERE egress_credential_id = 1;
SELECT is(wish('ana', NULL, 'big', '{sweden,norway}', NULL, '{lanternway}'), '13', 'the last of a big pool, which is for one gateway');
SELECT is(wish('ana', NULL, 'big 2', '{sweden,norway}', NULL, '{lanternway}'), 'NG004', 'and then none');
ROLLBACK TO big;

-- what is benched is passed over, and is no reason to change what is held
SAVEPOINT bench;
UPDATE egress_provider SET bench_after = 1;
SELECT is(wish('ana', NULL, 'dead', '{norway}'), '13', 'a gateway that is dead');
SELECT egress_report_failure('dead', 'gateway') \g /dev/null
SELECT is(wish('ana', NULL, 'dead', '{norway}'), '13', 'benched: the lease is held as it was');
SELECT is(wish('ana', NULL, 'next', '{norway,sweden}', NULL, '{quillport,lanternway}'), '21', 'the next wish has the next place');
SELECT is(refusal('{norway}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "norway" '
          'The one that would fit, gateway 13, is benched until ' || (SELECT benched_until FROM egress_benched) || '.', 'and none in that place');
SELECT is(refusal('{denmark}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "denmark" '
          'None that is available to them is in such a country.', 'one that is benched, but does not fit');
SELECT is(refusal('{norway}', avoid => '{13}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: country "norway", avoiding 1 gateway '
          'None that is available to them is in such a country.', 'one that is benched, and to be avoided');
SELECT egress_report_failure('next', 'credential') \g /dev/null
SELECT is(refusal('{sweden}', NULL, '{quillport}'),
          'NG004 no connection is free for user "ana" without a workspace at a gateway that fits the wish: country "sweden", provider "quillport" '
          'The credentials that fit are at their limits, or benched.', 'a credential that is benched');
-- several: the first to come back; selected or not
SELECT is(wish('ana', NULL, 'dead 11', '{sweden}', '{malmö}'), '11', 'another that is dead');
UPDATE egress_provider SET bench_for = bench_for * 2;
SELECT egress_report_failure('dead 11', 'gateway') \g /dev/null
CREATE TEMP TABLE until AS SELECT benched_until AS first FROM egress_benched WHERE egress_gateway_id = 13;
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 12;
SELECT is(refusal(providers => '{lanternway}'),
          'NG002 no gateway that is available to user "ana" without a workspace fits the wish: provider "lanternway" '
          '2 that would fit are benched; the first until ' || first || ', gateway 13.', 'two that are benched') FROM until;
UPDATE egress_provider_mapping SET allow_all_gateways = false WHERE egress_provider_id = 1;
INSERT INTO egress_provider_mapping_gateway SELECT egress_provider_mapping_id, 11 FROM egress_provider_mapping WHERE egress_provider_id = 1;
SELECT matches(refusal(providers => '{lanternway}'), ' The one that would fit, gateway 11, is benched until ', 'one that was selected');
UPDATE egress_gateway SET enabled = true WHERE egress_gateway_id = 12;
UPDATE egress_provider_mapping SET allow_all_gateways = true;
SELECT egress_unbench(egress_gateway_id => 13) \g /dev/null
SELECT is(wish('ana', NULL, 'back', '{norway}'), '13', 'off the bench');
ROLLBACK TO bench;

-- what cools down is said, and until when
SAVEPOINT cooling;
UPDATE egress_credential SET cool_down = '1 hour', active_connection_limit = 2 WHERE egress_credential_id = 2;
SELECT wish('ana', NULL, 'cools ' || i, NULL, NULL, '{quillport}') FROM generate_series(1, 2) i \g /dev/null
SELECT matches(refusal(NULL, NULL, '{quillport}'), '^NG004 .* The credentials that fit are at their limits\.$', 'nothing cools down');
SELECT egress_release_credential('cools ' || i) FROM generate_series(1, 2) i \g /dev/null
UPDATE egress_lease SET acquired_at = acquired_at - interval '10 minutes' * slot WHERE cooling;
CREATE TEMP TABLE cooled AS SELECT min(acquired_at) + interval '1 hour' AS first FROM egress_lease WHERE cooling;
SELECT matches(refusal(NULL, NULL, '{quillport}'),
               '^NG004 .* The credentials that fit are at their limits\. The next connection that cools down is free at (.*)\.$', 'two cool down');
SELECT is(substring(refusal(NULL, NULL, '{quillport}') FROM 'is free at (.*)\.$')::timestamptz, first, 'until the first of them has') FROM cooled;
CREATE FUNCTION acquire_detail(gateway bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM egress_acquire_credential('ana', NULL, gateway, 'refused');
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN detail;
END $$;
SELECT matches(acquire_detail(21), '^1 credential fits user "ana" without a workspace, and it is at its limit\. '
               'The next connection that cools down is free at .*\.$', 'so says an acquire');
UPDATE egress_credential SET cool_down = '1 minute' WHERE egress_credential_id = 2;
SELECT is(wish('ana', NULL, 'cooled', NULL, NULL, '{quillport}') ~ '^2[12]$', true, 'and then it is free');
ROLLBACK TO cooling;

-- must_exist
CREATE TABLE public.sessions (id text PRIMARY KEY);
SELECT egress_attach_sessions('public.sessions', 'id', must_exist => true) \g /dev/null
INSERT INTO public.sessions VALUES ('there');
SELECT is(wish('ana', NULL, 'not there'), 'NG009', 'a session that is not there');
SELECT is(wish('ana', NULL, 'there', '{norway}'), '13', 'one that is');
DELETE FROM public.sessions;
SELECT is_empty('SELECT FROM egress_lease', 'its end ends the lease');
SELECT egress_detach_sessions('public.sessions') \g /dev/null

/* ------------------------------------------------------ letters */

-- names are the same when lower() says so, in the database's collation
CREATE TEMP TABLE names (name text);
INSERT INTO names VALUES ('Åland'), ('åland'), ('ÅLAND'), (U&'A\030Aland'), ('straße'), ('STRASSE'), ('straSSe'), ('Izmir'), ('izmir'), ('İzmir'),
    ('ızmir'), ('ΣΑΣ'), ('σας'), ('σασ'), ('Ǆ'), ('ǆ'), (' Oslo'), ('Oslo'), (''), ('$%"''\'), (repeat('Ü', 40));
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city)
SELECT 1000 + row_number() OVER (), 1, 'letters ' || name, nullif(name, ''), nullif(reverse(name), '') FROM names;
CREATE FUNCTION same_country(name text, gateway bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    outcome text := wish('ana', NULL, 'letters', ARRAY[name], avoid => ARRAY(SELECT egress_gateway_id FROM egress_gateway WHERE egress_gateway_id <> gateway));
BEGIN
    PERFORM egress_release_credential('letters');
    RETURN outcome = gateway::text;
END $$;
CREATE FUNCTION same_city(name text, gateway bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    outcome text := wish('ana', NULL, 'letters', NULL, ARRAY[reverse(name)], avoid => ARRAY(SELECT egress_gateway_id FROM egress_gateway WHERE egress_gateway_id <> gateway));
BEGIN
    PERFORM egress_release_credential('letters');
    RETURN outcome = gateway::text;
END $$;
SELECT is_empty($$
    SELECT names.name, country FROM names, egress_gateway
    WHERE egress_gateway_id > 1000 AND (same_country(names.name, egress_gateway_id) IS DISTINCT FROM coalesce(lower(names.name) = lower(country), false)
                                        OR same_city(names.name, egress_gateway_id) IS DISTINCT FROM coalesce(lower(reverse(names.name)) = lower(city), false))$$,
    'names are compared as lower() has them');
DELETE FROM egress_gateway WHERE egress_gateway_id > 1000;

/* ------------------------------------------------------ long lists */

SELECT is(wish('ana', NULL, 'long', (SELECT array_agg('c' || i) || 'norway'::text FROM generate_series(1, 10000) i),
               (SELECT array_agg('c' || i) || 'oslo'::text FROM generate_series(1, 10000) i),
               (SELECT array_agg('c' || i) || 'lanternway'::text FROM generate_series(1, 10000) i),
               (SELECT array_agg(i) FROM generate_series(1, 10000) i WHERE i <> 13)), '13', '10,000 of each');
SELECT egress_release_credential('long') \g /dev/null
SELECT is(wish('ana', NULL, 'long', (SELECT array_agg('norway'::text) FROM generate_series(1, 10000) i),
               (SELECT array_agg('oslo'::text) FROM generate_series(1, 10000) i)), '13', '10,000 times the same');
SELECT egress_release_credential('long') \g /dev/null

-- 1,000 countries, each with a city of its own, are 1,000,000 places, of which 1,000 are there; they are gone through in their order
SAVEPOINT places;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city)
    SELECT 5000 + i, 1, 'p ' || i, 'Country ' || i, 'City ' || i FROM generate_series(1, 1000) i;
CREATE FUNCTION listed(name text, step int) RETURNS text[] LANGUAGE sql AS
    $$SELECT array_agg(name || ' ' || i ORDER BY i * step) FROM generate_series(1, 1000) i$$;
SET LOCAL statement_timeout = '10s';
SELECT is(wish('ana', NULL, 'places 1', listed('COUNTRY', 1), listed('CITY', -1)), '5001', 'the first country, though its city is the last');
SELECT is(wish('ana', NULL, 'places 2', listed('COUNTRY', -1), listed('CITY', 1)), '6000', 'the first country, though its city is the first');
SELECT is(wish('ana', NULL, 'places 3', listed('country', 1), listed('city', 1), NULL, ARRAY(SELECT i FROM generate_series(5001, 5999) i)), '6000',
          'the last, where all others are to be avoided');
SELECT matches(refusal(listed('country', 1), listed('city', 1), avoid => ARRAY(SELECT i FROM generate_series(5001, 6000) i)), '^NG002 .*All others are to be avoided',
               'where all are');
UPDATE egress_gateway SET city = 'Ålborg' WHERE egress_gateway_id IN (5500, 5600);
SELECT is(wish('ana', NULL, 'places 4', listed('country', -1), listed('x', 1) || '{ÅLBORG}'::text[]), '5600', 'of two places the first');
SET LOCAL statement_timeout = 0;
ROLLBACK TO places;

/* ------------------------------------------------------ few active connections */

UPDATE egress_credential SET limit_active_connections = false;
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (3, 'Equal', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city)
    SELECT 10000 + i, 3, 'e ' || i, 'Equal', 'City ' || i % 10 FROM generate_series(1, 100) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (3, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type) VALUES (3, 3, 'c', 'everyone');
SELECT count(egress_acquire_gateway('ana', NULL, 'equal ' || i, providers => '{equal}')) FROM generate_series(1, 10000) i \g /dev/null
-- 1.3 is what is promised; chance alone would come near to that, so a narrower bound shows that the least used is taken
SELECT cmp_ok(most, '<=', 110::bigint, '10,000 sessions on 100 gateways: none has more than 1.1 times the mean')
FROM (SELECT max(active_connections) AS most FROM egress_gateway_usage) usage;
SELECT cmp_ok(least, '>=', 90::bigint, 'and none less than 0.9 times')
FROM (SELECT min(active_connections) AS least FROM egress_gateway_usage WHERE egress_gateway_id > 10000) usage;
SELECT egress_release_credential(session_id) FROM egress_lease \g /dev/null

-- what has expired is no reason to go elsewhere, nor what cools down: half of the gateways have 400 of the one or the other
CREATE FUNCTION shares(label text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    outcome text;
BEGIN
    PERFORM egress_acquire_gateway('ana', NULL, label || i, providers => '{equal}') FROM generate_series(1, 1000) i;
    SELECT CASE WHEN count(*) BETWEEN 350 AND 650 THEN 'half' WHEN count(*) < 200 THEN 'few' ELSE count(*)::text END || ' of ' || (SELECT count(*) FROM egress_lease WHERE session_id ~ label)
    INTO outcome FROM egress_lease WHERE session_id ~ label AND egress_gateway_id <= 10050;
    PERFORM egress_release_credential(session_id) FROM egress_lease WHERE session_id ~ label;
    RETURN outcome;
END $$;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at)
    SELECT format('gone %s %s', g, i), 3, 10000 + g, 'ana', now() - interval '2 hours' FROM generate_series(1, 50) g, generate_series(1, 400) i;
INSERT INTO egress_lease_expiry (session_id, egress_credential_id, expires_at)
    SELECT session_id, 3, now() - interval '1 hour' FROM egress_lease;
SELECT is(shares('after gone'), 'half of 1000', '1,000 sessions beside what has expired');
-- the same leases, which have not
UPDATE egress_lease_expiry SET expires_at = now() + interval '1 hour';
SELECT is(shares('live'), 'few of 1000', '... and beside what has not: by chance, all that are drawn are those');
UPDATE egress_lease SET cooling = true;
DELETE FROM egress_lease_expiry;
UPDATE egress_credential SET cool_down = '1 day' WHERE egress_credential_id = 3;
SELECT is(shares('after cooling'), 'half of 1000', '1,000 sessions beside what cools down');
UPDATE egress_credential SET cool_down = NULL WHERE egress_credential_id = 3;
DELETE FROM egress_lease;

-- of many, those of a country, or of a city, that are spread over pages of the index with others
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city)
    SELECT 20000 + i, 3, 'm ' || i, 'Country ' || i % 50, 'Town ' || i % 500 FROM generate_series(1, 10000) i;
SELECT is_empty($$
    SELECT egress_gateway_id FROM generate_series(1, 2000) i, egress_acquire_gateway('ana', NULL, 'many ' || i, '{"country 7"}')
    WHERE country <> 'Country 7'$$, '2,000 sessions in a country of 200');
SELECT results_eq($$SELECT count(*), min(active_connections) >= 4, max(active_connections) <= 13
                    FROM egress_gateway_usage WHERE active_connections > 0$$, 'VALUES (200::bigint, true, true)', 'each gateway has its share');
SELECT egress_release_credential(session_id) FROM egress_lease \g /dev/null
SELECT is_empty($$
    SELECT egress_gateway_id FROM generate_series(1, 200) i, egress_acquire_gateway('ana', NULL, 'many ' || i, NULL, '{"town 77"}')
    WHERE city <> 'Town 77'$$, '200 sessions in a city of 20');
SELECT results_eq($$SELECT count(*), min(active_connections) >= 4, max(active_connections) <= 13
                    FROM egress_gateway_usage WHERE active_connections > 0$$, 'VALUES (20::bigint, true, true)', 'each gateway has its share');
SELECT egress_release_credential(session_id) FROM egress_lease \g /dev/null

-- the last is found: each may have one
UPDATE egress_credential SET once_per_gateway = true WHERE egress_credential_id = 3;
SELECT is((SELECT count(DISTINCT wish('ana', NULL, 'each ' || i, '{"country 7","country 8"}'))::int FROM generate_series(1, 400) i), 400,
          'each gateway once');
SELECT is(wish('ana', NULL, 'no more', '{"country 7","country 8"}'), 'NG004', 'and then none');
SELECT is((SELECT count(*)::int FROM egress_lease JOIN egress_gateway USING (egress_gateway_id)
           WHERE country = 'Country 7' AND substring(session_id, '\d+')::int <= 200), 200, 'the first country first');
SELECT egress_release_credential(session_id) FROM egress_lease \g /dev/null

-- all are full, by credentials that are full for all: one look is enough
UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = 0, once_per_gateway = false WHERE egress_credential_id = 3;
CREATE FUNCTION milliseconds(command text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz := clock_timestamp();
BEGIN
    EXECUTE command;
    RETURN extract(epoch FROM clock_timestamp() - start) * 1000;
END $$;
SELECT is(wish('ana', NULL, 'full', NULL, NULL, '{equal}'), 'NG004', '10,100 gateways are full');
SELECT cmp_ok((SELECT min(milliseconds($$SELECT wish('ana', NULL, 'full', NULL, NULL, '{equal}')$$)) FROM generate_series(1, 5)), '<', 10::float8,
              'which is said in milliseconds');

SELECT * FROM finish();
ROLLBACK;
