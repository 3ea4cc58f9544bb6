-- bench_reports.sql -- what sessions report of gateways and credentials: when these are benched, for how long, and who sees it
--
-- Random sequences of reports, successes and time are compared with an oracle that goes step by step, where the extension reads
-- what is left of all steps. Time passes by moving what was reported into the past.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country) SELECT i, 1, 'gateway ' || i, 'country ' || i FROM generate_series(1, 3) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type)
    SELECT i, 1, 'credential ' || i, 'everyone' FROM generate_series(1, 2) i;
-- session 1 is at gateway 1 with credential 1, session 2 at gateway 2 with credential 2, and so on
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at)
    SELECT i, 1 + (i + 1) % 2, 1 + (i + 1) % 2, 'ana', now() FROM generate_series(1, 12) i;

CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement INTO answer;
    RETURN coalesce(answer, 'nothing');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', SQLSTATE, SQLERRM, '|', detail, '|', hint);
END $$;
-- what an acquire would get, which is undone
CREATE FUNCTION acquire(gateway bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    credential bigint;
BEGIN
    SELECT egress_credential_id INTO credential FROM egress_acquire_credential('bruno', NULL, gateway, 'probe');
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN RETURN credential::text;
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
-- what a wish would get, which is undone
CREATE FUNCTION wish(countries text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    SELECT concat_ws(' ', egress_gateway_id, egress_credential_id) INTO answer FROM egress_acquire_gateway('bruno', NULL, 'probe', countries);
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN RETURN answer;
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
CREATE FUNCTION menu() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(egress_gateway_id || CASE available_connections WHEN 0 THEN ' full' ELSE '' END, ', ' ORDER BY egress_gateway_id)
    FROM egress_available_gateways('bruno')
$$;
CREATE FUNCTION explain(gateway bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', verdict, coalesce(egress_credential_id::text, 'none'), detail) FROM egress_explain_access('bruno', NULL, gateway)
$$;
-- who is benched, after how many reports, and how long still
CREATE FUNCTION benched() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s: %s, %s s', coalesce('gateway ' || egress_gateway_id, 'credential ' || egress_credential_id),
                                      failures, round(extract(epoch FROM benched_until - clock_timestamp()) / 10) * 10),
                               '; ' ORDER BY egress_gateway_id, egress_credential_id), 'none')
    FROM egress_benched
$$;
CREATE FUNCTION fail(session int, failure text DEFAULT 'gateway') RETURNS void LANGUAGE sql AS $$ SELECT egress_report_failure(session, failure) $$;
CREATE FUNCTION later(length interval) RETURNS void LANGUAGE sql AS $$ UPDATE egress_report SET reported_at = reported_at - length $$;

/* ---------------------------------------------------------- one after the other */

SELECT fail(1), fail(1), fail(3) \g /dev/null
SELECT is(benched(), 'none', 'two sessions are not three, however often one of them reports');
SELECT fail(2), fail(4) \g /dev/null
SELECT is(benched(), 'none', 'and what others report of another gateway is not of this one');
SELECT fail(5) \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s', 'three are, for a minute');
SELECT is(menu(), '2, 3', 'not in the menu');
SELECT is(acquire(1), 'NG002', 'an acquire of it is refused');
SELECT is(acquire(2), '1', 'one of another is not');
SELECT matches(outcome($$SELECT egress_acquire_credential('bruno', NULL, 1, 'probe')$$),
    '^NG002 gateway 1 "gateway 1" is not available to user "bruno" without a workspace \| It is benched until [-0-9: .+]+, after 3 reports of sessions that could not connect\. \| Acquire another gateway, or try again then\.$',
    'and says until when');
SELECT matches(explain(1),
    '^benched none the gateway is benched until [-0-9: .+]+, after 3 reports of sessions that could not connect, the last of session ''5'' at [-0-9: .+]+: call egress_unbench\(egress_gateway_id => 1\), or wait until then$',
    'the explanation says after which reports, and how to lift it');
SELECT is((SELECT egress_credential_id FROM egress_acquire_credential('ana', NULL, 1, '1')), 1::bigint, 'who is there stays, and may ask again');
SELECT is((SELECT egress_gateway_id || ' ' || egress_credential_id FROM egress_acquire_gateway('ana', NULL, '1', '{"country 1"}')), '1 1', 'also by a wish');
SELECT is(wish('{"country 1"}') || ' ' || wish('{"country 1","country 2"}'), 'NG002 2 1', 'another''s goes on to the next');
SELECT fail(7), fail(9), fail(11), fail(1) \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s', 'what is reported while it is benched counts for nothing');
SELECT later('50 s') \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 10 s', 'time passes');
SELECT later('10 s') \g /dev/null
SELECT is(benched(), 'none', 'the bench ends by the clock');
SELECT is(menu(), '1, 2, 3', 'in the menu again');
SELECT is(acquire(1), '1', 'and to be had');
SELECT fail(1), fail(3) \g /dev/null
SELECT is(benched(), 'none', 'then it takes three again, who may be the same');
SELECT fail(5) \g /dev/null
SELECT is(benched(), 'gateway 1: 6, 120 s', 'for two minutes');
SELECT later('2 min'), fail(1) FROM generate_series(1, 5) \g /dev/null
SELECT is(benched(), 'none', 'one who reports again and again is one');
SELECT egress_report_success(1) \g /dev/null
SELECT is(benched() || (SELECT count(*) FROM egress_report WHERE egress_gateway_id = 1), 'none0', 'after a success there is nothing left');
SELECT fail(1), fail(3), fail(5) \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s', 'and it begins anew');

-- a success is one of the gateway and of the credential, of any session that is there
SELECT fail(2, 'credential'), fail(4, 'credential'), fail(6, 'credential') \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s; credential 2: 3, 60 s', 'a gateway and a credential');
SELECT egress_report_success(8) \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s', 'the success of a session with that credential takes it off, and leaves the gateway where it is not');
SELECT egress_report_success(7) \g /dev/null
SELECT is(benched(), 'none', 'until one there is connected');

-- an administrator
SELECT fail(1), fail(3), fail(5), fail(1, 'credential'), fail(3, 'credential'), fail(5, 'credential') \g /dev/null
SELECT is((SELECT egress_credential_id FROM egress_acquire_credential('ana', NULL, 1, '1')), 1::bigint, 'who has both stays, and may ask again');
SELECT is(menu(), '2, 3', 'a benched credential leaves the others');
SELECT is(acquire(2), '2', 'and is passed over');
SELECT matches(explain(2), '^available 2 credential 2 ''credential 2'' has no limit; passed over: credential 1 ''credential 1'' is benched until [-0-9: .+]+, after 3 reports of sessions that could not connect, the last of session ''5'' at [-0-9: .+]+: call egress_unbench\(egress_credential_id => 1\), or wait until then$',
    'as the explanation says');
SELECT fail(2, 'credential'), fail(4, 'credential'), fail(6, 'credential') \g /dev/null
SELECT is(menu(), '2 full, 3 full', 'all of them leave none');
SELECT is(outcome($$SELECT egress_acquire_credential('bruno', NULL, 2, 'probe')$$),
    'NG004 no connection is free for gateway 2 "gateway 2" | 2 credentials fit user "bruno" without a workspace, and all are at their limits, or benched.'
    ' | Try again later, or add a credential. egress_explain_access() says until when they are benched, and egress_unbench() lifts it.', 'NG004');
SELECT matches(explain(2), '^at_limit none credential 1 ''credential 1'' is benched until .*, credential 2 ''credential 2'' is benched until .*: call egress_unbench\(egress_credential_id => 1\), or wait until then$',
    'and the explanation names both');
SELECT is(egress_unbench(1), true, 'unbench: a gateway');
SELECT is(egress_unbench(1), false, 'which is not benched then');
SELECT is(egress_unbench(egress_credential_id => 1), true, 'unbench: a credential');
SELECT is(egress_unbench(1, 2), true, 'unbench: both, one of which is');
SELECT is(benched() || ' ' || menu() || (SELECT count(*) FROM egress_report), 'none 1, 2, 30', 'all is well');
SELECT is(egress_unbench(77, 78), false, 'what is not there is not benched');

/* ---------------------------------------------------------- settings */

SELECT fail(1), fail(3), fail(5) \g /dev/null
UPDATE egress_provider SET bench_for = '1 month';
SELECT is(benched(), 'gateway 1: 3, 3600 s', 'an hour is the most');
UPDATE egress_provider SET bench_for = '90 s';
SELECT is(benched(), 'gateway 1: 3, 90 s', 'a change of bench_for counts at once');
UPDATE egress_provider SET bench_after = 4;
SELECT is(benched(), 'none', 'so does one of bench_after');
UPDATE egress_provider SET bench_after = NULL;
SELECT fail(7), fail(9) \g /dev/null
SELECT is(benched() || ' ' || acquire(1), 'none 1', 'with NULL nothing is benched');
UPDATE egress_provider SET bench_after = 1;
SELECT egress_unbench(1), fail(11) \g /dev/null
SELECT is(benched(), 'gateway 1: 1, 90 s', 'with 1 the first report benches');
SELECT matches(outcome($$SELECT egress_acquire_credential('bruno', NULL, 1, 'probe')$$), 'after 1 report of a session that could not connect\.', 'and it is one');
SELECT is(left(outcome('UPDATE egress_provider SET ' || change), 5), '23514', change)
FROM unnest('{bench_after = 0,bench_after = -1,bench_for = ''0'',bench_for = ''-1 s''}'::text[]) change;
SELECT is(left(outcome('UPDATE egress_provider SET bench_for = NULL'), 5), '23502', 'bench_for is not NULL');
UPDATE egress_provider SET bench_after = DEFAULT, bench_for = DEFAULT;
SELECT egress_unbench(1) \g /dev/null

-- rounds that make no difference go: one of each hour, for ten hours
UPDATE egress_provider SET bench_after = 1, bench_for = '1 hour';
SELECT fail(1), later('1 hour') FROM generate_series(1, 10) \g /dev/null
SELECT cmp_ok((SELECT count(*)::int FROM egress_report), '<=', 3, 'a gateway that is dead for long does not fill the table');
SELECT fail(1) \g /dev/null
SELECT is((SELECT round(extract(epoch FROM benched_until - clock_timestamp()) / 10) * 10 FROM egress_benched), 3600::numeric, 'and stays benched as long');
UPDATE egress_provider SET bench_after = DEFAULT, bench_for = DEFAULT;
SELECT egress_unbench(1) \g /dev/null

/* ---------------------------------------------------------- who may not be heard */

SELECT is(left(outcome(call), 5), expected, call) FROM (VALUES
    ($$SELECT egress_report_failure(NULL::text, 'gateway')$$, '22004'),
    ($$SELECT egress_report_failure('1', NULL)$$, '22004'),
    ($$SELECT egress_report_success(NULL::text)$$, '22004'),
    ($$SELECT egress_report_failure('', 'gateway')$$, '22023'),
    ($$SELECT egress_report_failure(repeat('x', 256), 'gateway')$$, '22023'),
    ($$SELECT egress_report_failure('1', 'weather')$$, '22023'),
    ($$SELECT egress_report_failure('1', 'Gateway')$$, '22023'),
    ($$SELECT egress_report_failure('1', '')$$, '22023'),
    ($$SELECT egress_report_failure('nobody', 'gateway')$$, '22023'),
    ($$SELECT egress_report_success('nobody')$$, '22023'),
    ($$SELECT egress_unbench()$$, '22023')) calls (call, expected);
SELECT is(outcome($$SELECT egress_report_success('nobody')$$),
    '22023 session "nobody" holds no lease | A report is about the gateway and the credential of the session''s lease.'
    ' | Report before the lease is released or ended, and before its time is over.', 'and says what to do');
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at) VALUES ('late', 1, 1, 'ana', now());
INSERT INTO egress_lease_expiry VALUES ('late', 1, clock_timestamp());
SELECT is(left(outcome($$SELECT egress_report_failure('late', 'gateway')$$), 5), '22023', 'who has had a lease, and has none any more');

UPDATE egress_credential SET cool_down = '1 hour' WHERE egress_credential_id = 1;
SELECT egress_release_credential('11') \g /dev/null
SELECT is(left(outcome($$SELECT egress_report_failure('11', 'gateway')$$), 5), '22023', 'whose connection cools down');
SELECT is(left(outcome(format('SELECT egress_report_failure(%L, ''gateway'')', session_id)), 5), '22023', 'that connection itself')
FROM egress_lease WHERE session_id LIKE 'egress%' OR session_id NOT SIMILAR TO '[0-9]+|late' LIMIT 1;
UPDATE egress_credential SET cool_down = NULL;
DELETE FROM egress_lease WHERE session_id NOT SIMILAR TO '[0-9]+|late';
DELETE FROM egress_lease_history;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at) VALUES ('11', 1, 1, 'ana', now());

/* ---------------------------------------------------------- the history of it */

SELECT is((SELECT count(*) FROM egress_failure), 50::bigint, 'each report is in the history, whatever it counted for');
SELECT results_eq($$SELECT session_id COLLATE "default", failure, egress_gateway_id, gateway_name, egress_credential_id, credential_name, provider_name, user_id COLLATE "default"
                    FROM egress_failure ORDER BY egress_failure_id LIMIT 1$$,
    $$VALUES ('1', 'gateway', 1::bigint, 'gateway 1', 1::bigint, 'credential 1', 'Lanternway', 'ana')$$, 'with the names of everything');
UPDATE egress_failure SET reported_at = reported_at - interval '2 days' WHERE egress_failure_id <= 45;
INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name, provider_name, user_id,
                                  acquired_at, released_at, release_reason)
    SELECT 's', 1, 'c', 1, 'g', 'p', 'u', now() - interval '3 days', now() - interval '2 days', 'released' FROM generate_series(1, 5);
SELECT is(egress_prune_history('1 day', 7), 7::bigint, 'a batch is of both');
SELECT is((SELECT count(*) FROM egress_failure) || ' ' || (SELECT count(*) FROM egress_lease_history), '48 0', 'first of one, then of the other');
SELECT is((SELECT min(egress_failure_id) FROM egress_failure), 3::bigint, 'the oldest first');
SELECT is(egress_prune_history('1 day'), 43::bigint, 'and the rest of what is old');
SELECT is(egress_prune_history('1 day', 7), 0::bigint, 'no more are left');
SELECT is((SELECT count(*) FROM egress_failure), 5::bigint, 'what is not stays');

/* ---------------------------------------------------------- lengths and clocks */

-- lengths of any kind
UPDATE egress_provider SET bench_for = '1 month -29 days -23 hours';
SELECT fail(1), fail(3), fail(5) \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 3600 s', 'months and days that almost cancel each other');
UPDATE egress_provider SET bench_for = '170000000 years';
SELECT is(benched(), 'gateway 1: 3, 3600 s', 'the longest that there are');
UPDATE egress_provider SET bench_for = '1 microsecond';
SELECT is(benched() || ' ' || acquire(1), 'none 1', 'a microsecond is over at once');
SELECT fail(1), fail(3), fail(5), later('1 hour') FROM generate_series(1, 50) \g /dev/null
SELECT cmp_ok((SELECT count(*)::int FROM egress_report), '<=', 3 * 35, 'and fifty rounds of it do not fill the table');
SELECT fail(1), fail(3), fail(5) \g /dev/null
SELECT matches(benched(), '^gateway 1: [0-9]+, 3600 s$', 'but come to an hour');
UPDATE egress_provider SET bench_for = DEFAULT;
SELECT egress_unbench(1) \g /dev/null

-- a clock that is set back, by a day: what was reported then is in the future
SELECT fail(1), fail(3), fail(5), fail(1, 'credential'), fail(3, 'credential'), fail(5, 'credential') \g /dev/null
SELECT later('-1 day') \g /dev/null
SELECT is(benched() || ' ' || menu() || ' ' || acquire(1) || ' ' || wish('{"country 1"}'), 'none 1, 2, 3 1 1 1', 'nothing stays benched until the clock is there again');
SELECT fail(1), fail(3) \g /dev/null
SELECT is(benched(), 'none', 'it takes three anew');
SELECT fail(5) \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s', 'who bench as ever');
SELECT later('1 day') \g /dev/null
SELECT is(benched(), 'credential 1: 3, 60 s', 'and who reports takes away what would come again');
SELECT egress_unbench(1, 1), later('-1 day') \g /dev/null
SELECT fail(1), fail(3), fail(5), later('-10 s') \g /dev/null
SELECT is(benched(), 'none', 'by a few seconds: then they count later');
SELECT later('10 s') \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s', 'when it is time');
SELECT egress_unbench(1) \g /dev/null

-- who is the same
SELECT fail(1), egress_release_credential('1') \g /dev/null
SELECT egress_acquire_credential('ana', NULL, 1, '1') \g /dev/null
SELECT fail(1), fail(3) \g /dev/null
SELECT is(benched(), 'none', 'a session that left and came back is the same');
SELECT fail(5) \g /dev/null
SELECT is(benched(), 'gateway 1: 3, 60 s', 'it takes another');
SELECT egress_unbench(1) \g /dev/null

/* ---------------------------------------------------------- what goes with what */

SELECT fail(2), fail(4), fail(6), fail(2, 'credential'), fail(4, 'credential'), fail(6, 'credential') \g /dev/null
DELETE FROM egress_lease WHERE egress_gateway_id = 2;
DELETE FROM egress_gateway WHERE egress_gateway_id = 2;
SELECT is(benched(), 'credential 2: 3, 60 s', 'the reports of a gateway go with it');
DELETE FROM egress_credential WHERE egress_credential_id = 2;
SELECT is((SELECT count(*) FROM egress_report), 0::bigint, 'and those of a credential');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country) VALUES (2, 1, 'gateway 2', 'country 2');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type) VALUES (2, 1, 'credential 2', 'everyone');
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at)
    SELECT i, 2, 2, 'ana', now() FROM generate_series(2, 12, 2) i;

/* ---------------------------------------------------------- an oracle */

-- what is reported, about what, as of a clock that starts at 0
CREATE TEMP TABLE oracle (kind text, id int, sessions int[] NOT NULL DEFAULT '{}', failures int NOT NULL DEFAULT 0,
                          times int NOT NULL DEFAULT 0, until float8 NOT NULL DEFAULT '-infinity', PRIMARY KEY (kind, id));
CREATE FUNCTION oracle_failure(clock float8, session int, failure text, after int, length float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    o oracle;
BEGIN
    SELECT * INTO o FROM oracle WHERE kind = failure AND id = 1 + (session + 1) % 2;
    IF after IS NULL OR clock < o.until OR session = ANY (o.sessions) THEN
        RETURN;
    END IF;
    o.sessions := o.sessions || session;
    o.failures := o.failures + 1;
    IF cardinality(o.sessions) = after THEN
        o.until := clock + least(length * 2::float8 ^ o.times, 3600);
        o.times := o.times + 1;
        o.sessions := '{}';
    END IF;
    UPDATE oracle SET sessions = o.sessions, failures = o.failures, times = o.times, until = o.until WHERE kind = o.kind AND id = o.id;
END $$;
-- who is benched by the oracle, and by egress_benched; without the number of reports where some have become spare
CREATE FUNCTION oracle_benched(clock float8, rounds int) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s %s: %s, %s s', kind, id, CASE WHEN times < rounds THEN failures::text ELSE 'many' END,
                                      round((until - clock) / 10) * 10),
                               '; ' ORDER BY kind, id), 'none')
    FROM oracle WHERE until > clock
$$;
CREATE FUNCTION benched_by_view(rounds int) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s %s: %s, %s s', o.kind, o.id, CASE WHEN o.times < rounds THEN b.failures::text ELSE 'many' END,
                                      round(extract(epoch FROM b.benched_until - clock_timestamp()) / 10) * 10),
                               '; ' ORDER BY o.kind, o.id), 'none')
    FROM egress_benched b JOIN oracle o
        ON o.kind = CASE WHEN b.egress_gateway_id IS NULL THEN 'credential' ELSE 'gateway' END
       AND o.id = coalesce(b.egress_gateway_id, b.egress_credential_id)
$$;
-- what the menu, acquires and wishes should say of each gateway, and do say
CREATE FUNCTION oracle_access(clock float8) RETURNS text LANGUAGE sql AS $$
    WITH benched AS (SELECT kind, id FROM oracle WHERE until > clock),
         free AS (SELECT min(c) AS first FROM generate_series(1, 2) c WHERE ('credential', c) NOT IN (SELECT kind, id FROM benched))
    SELECT string_agg(CASE WHEN ('gateway', g) IN (SELECT kind, id FROM benched) THEN 'NG002, NG002, not listed, benched none'
                           ELSE concat_ws(', ', coalesce(first::text, 'NG004'), coalesce(g || ' ' || first, 'NG004'), CASE WHEN first IS NULL THEN 'full' ELSE 'listed' END,
                                          CASE WHEN first IS NULL THEN 'at_limit none' ELSE 'available ' || first END) END, '; ' ORDER BY g)
    FROM generate_series(1, 3) g, free
$$;
CREATE FUNCTION access() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(', ', acquire(g), wish(ARRAY['country ' || g]), CASE WHEN m.egress_gateway_id IS NULL THEN 'not listed'
                                                       WHEN available_connections = 0 THEN 'full' ELSE 'listed' END,
                                e.verdict || ' ' || coalesce(e.egress_credential_id::text, 'none')), '; ' ORDER BY g)
    FROM generate_series(1, 3) g
    LEFT JOIN egress_available_gateways('bruno') m ON m.egress_gateway_id = g
    JOIN egress_explain_access('bruno') e ON e.egress_gateway_id = g
$$;

CREATE FUNCTION sequence(seed int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    after int := (ARRAY[1, 2, 3, 4, 3, NULL])[1 + seed % 6];
    length float8 := (ARRAY[30, 60, 420, 1000, 7200])[1 + seed % 5];
    -- so many times in a row are known exactly
    rounds int := (ARRAY[9, 8, 6, 4, 3])[1 + seed % 5];
    clock float8 := 0;
    step float8;
    session int;
    failure text;
    die float8;
    story text := '';
    most int := 0;
BEGIN
    PERFORM setseed(seed / 1000.0);
    TRUNCATE oracle, egress_report;
    INSERT INTO oracle (kind, id) SELECT k, i FROM unnest('{gateway,credential}'::text[]) k, generate_series(1, 2) i;
    UPDATE egress_provider SET bench_after = after, bench_for = length * interval '1 s';
    FOR n IN 1 .. 150 LOOP
        die := random();
        session := 1 + (random() * 12)::int % 12;
        IF die < 0.6 THEN
            failure := CASE WHEN random() < 0.5 THEN 'gateway' ELSE 'credential' END;
            PERFORM egress_report_failure(session, failure), oracle_failure(clock, session, failure, after, length);
            story := story || format(' %s of %s', failure, session);
        ELSIF die < 0.62 + (seed % 2) * 0.03 THEN
            PERFORM egress_report_success(session);
            UPDATE oracle SET sessions = '{}', failures = 0, times = 0, until = '-infinity' WHERE id = 1 + (session + 1) % 2;
            story := story || format(' success of %s', session);
        ELSIF die < 0.63 THEN
            PERFORM egress_unbench(egress_credential_id => 1);
            UPDATE oracle SET sessions = '{}', failures = 0, times = 0, until = '-infinity' WHERE kind = 'credential' AND id = 1;
            story := story || ' unbench';
        ELSE
            step := 20 * (1 + (random() * (CASE WHEN random() < 0.2 THEN 200 ELSE 5 END))::int);
            PERFORM later(step * interval '1 s');
            clock := clock + step;
            story := story || format(' %s s', step);
        END IF;
        most := greatest(most, (SELECT count(*) FROM egress_report));
        IF benched_by_view(rounds) <> oracle_benched(clock, rounds) OR access() <> oracle_access(clock) THEN
            RETURN NEXT ok(false, format('seed %s', seed));
            RETURN NEXT diag(format(E'after%s\nbenched %s\nnot     %s\naccess  %s\nnot     %s', story, benched_by_view(rounds),
                                    oracle_benched(clock, rounds), access(), oracle_access(clock)));
            RETURN;
        END IF;
    END LOOP;
    RETURN NEXT pass(format('seed %s: reports of %s sessions bench for %s s', seed, coalesce(after::text, 'no number of'), length));
    -- of each of four, as many rounds as make a difference and two more, and one that has begun
    RETURN NEXT cmp_ok(most, '<=', 4 * coalesce((rounds + 3) * after, 0), format('seed %s: and at most %s rows are kept', seed, most));
END $$;
SELECT sequence(seed) FROM generate_series(1, 30) seed;

SELECT * FROM finish();
ROLLBACK;
