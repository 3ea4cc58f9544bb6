-- expiry.sql -- leases with a ttl, in one session: arguments, answers, and what is shown of a lease that has expired
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'nl-ams-01'), (2, 1, 'de-fra-01');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
        limit_active_connections, active_connection_limit)
    VALUES (1, 1, 'alpha', 'everyone', true, 3);

CREATE TABLE session (id text);
CREATE TRIGGER session_deleted AFTER DELETE ON session
    FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');

CREATE FUNCTION acquire(session text, ttl interval DEFAULT NULL) RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT acquired_at FROM egress_acquire_credential('ana', NULL, 1, session, ttl) $$;

-- the end of a session's lease, counted from the moment when it was taken
CREATE FUNCTION lasts(session text) RETURNS interval LANGUAGE sql AS
    $$ SELECT expires_at - acquired_at FROM egress_connection WHERE session_id = session $$;

-- time is not waited for: the lease ended when it began
CREATE FUNCTION expire(session text) RETURNS void LANGUAGE sql AS $$
    UPDATE egress_lease_expiry e SET expires_at = acquired_at FROM egress_lease l
    WHERE l.session_id = session AND e.session_id = session
$$;

CREATE FUNCTION history(session text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(release_reason || CASE WHEN released_at = acquired_at THEN ' at its end' ELSE '' END, ', '
                      ORDER BY egress_lease_history_id)
    FROM egress_lease_history WHERE session_id = session
$$;

/* ------------------------------------------------------------ arguments */

SELECT throws_ok(format('SELECT acquire(''desk'', %L)', ttl), '22023', NULL, 'acquire with a ttl of ' || ttl)
FROM unnest(ARRAY['0', '-1 microsecond', '-1 month', '1 month -40 days', '101 years', '-101 years', '40000 days', '1000000 hours',
                  '178000000 years', '-178000000 years', '2147483647 months 2147483647 days',
                  '2562047788 hours']::text[]) ttl;
SELECT throws_ok(format('SELECT egress_renew_lease(''desk'', %L)', ttl), '22023', NULL, 'renew with a ttl of ' || ttl)
FROM unnest(ARRAY['0', '-1 microsecond', '-1 month', '1 month -40 days', '101 years', '-101 years', '40000 days', '1000000 hours',
                  '178000000 years', '-178000000 years', '2147483647 months 2147483647 days',
                  '2562047788 hours']::text[]) ttl;
SELECT CASE WHEN current_setting('server_version_num')::int >= 170000
       THEN throws_ok(format('SELECT %s(''desk'', %L)', f, ttl), '22023', NULL, f || ' with a ttl of ' || ttl)
       ELSE pass('intervals are finite') END
FROM unnest(ARRAY['acquire', 'egress_renew_lease']) f, unnest(ARRAY['infinity', '-infinity']) ttl;
SELECT throws_ok($$ SELECT egress_renew_lease(NULL, '1 hour') $$, '22004', NULL, 'renew without a session');
SELECT throws_ok($$ SELECT egress_renew_lease('', '1 hour') $$, '22023', NULL, 'renew with an empty session');
SELECT throws_ok($$ SELECT egress_renew_lease(repeat('x', 256), '1 hour') $$, '22023', NULL, 'renew with a long session');
SELECT is((SELECT count(*) FROM egress_lease), 0::bigint, 'none of them has taken anything');

SELECT lives_ok(format('SELECT acquire(%L, %L)', 'ttl ' || ttl, ttl), 'acquire with a ttl of ' || ttl)
FROM unnest(ARRAY['1 microsecond', '1 month', '100 years']) ttl;
SELECT is(lasts('ttl 100 years') > '36500 days', true, '100 years are 100 years');
SELECT is((SELECT count(*) FROM egress_lease WHERE egress_release_credential(session_id)), 2::bigint,
          'two of them had not expired');

-- A day is 24 hours and a month one of UTC's calendar, whatever the session's clocks do on the way; some of these meet a change.
CREATE FUNCTION utc_plus(moment timestamptz, ttl interval) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
    $$ SELECT (moment AT TIME ZONE 'UTC' + ttl) AT TIME ZONE 'UTC' $$;
CREATE FUNCTION ends_in_zone(zone text, ttl interval, OUT acquired boolean, OUT renewed boolean, OUT clocks_change boolean)
LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz := clock_timestamp();
BEGIN
    PERFORM set_config('TimeZone', zone, true);
    PERFORM acquire('zone', ttl);
    SELECT expires_at BETWEEN utc_plus(before, ttl) AND utc_plus(clock_timestamp(), ttl) INTO acquired
    FROM egress_connection WHERE session_id = 'zone';
    renewed := egress_renew_lease('zone', ttl) BETWEEN utc_plus(before, ttl) AND utc_plus(clock_timestamp(), ttl);
    PERFORM egress_release_credential('zone');
    clocks_change := before + ttl <> utc_plus(before, ttl);
    PERFORM set_config('TimeZone', 'UTC', true);
END $$;
CREATE TEMPORARY TABLE zone_ends AS SELECT zone, acquired, renewed, clocks_change
FROM unnest(ARRAY['Europe/Berlin', 'America/New_York', 'UTC']) zone,
     unnest(ARRAY['1 month', '30 days', '720 hours']::interval[]) unit, generate_series(1, 12) n, ends_in_zone(zone, n * unit);
SELECT is(format('%s acquired, %s renewed', count(*) FILTER (WHERE acquired), count(*) FILTER (WHERE renewed)),
          '36 acquired, 36 renewed', 'a lease ends when it ends in UTC: ' || zone)
FROM zone_ends GROUP BY zone;
SELECT is(bool_or(clocks_change), zone <> 'UTC', zone || ': its clocks change on the way, or not') FROM zone_ends GROUP BY zone;

/* ---------------------------------------------------- acquire and renew */

SELECT isnt(acquire('desk', '1 hour'), NULL, 'a lease with a ttl');
SELECT is(lasts('desk'), '1 hour', 'ends when the ttl is over');
SELECT is(acquire('desk', '1 day'), (SELECT acquired_at FROM egress_lease), 'asked again it is the same lease');
SELECT is(lasts('desk'), '1 hour', 'with the same end');
SELECT isnt(acquire('desk'), NULL, 'asked again without a ttl');
SELECT is(lasts('desk'), '1 hour', 'it has the same end');

CREATE TEMPORARY TABLE row_before AS SELECT concat_ws(' ', xmin, cmin, xmax, ctid, egress_lease) AS version FROM egress_lease;
SELECT is(count(DISTINCT renewed), 100::bigint, 'each of 100 renewals returns another end')
FROM (SELECT egress_renew_lease('desk', '30 seconds') AS renewed FROM generate_series(1, 100)) r;
SELECT is((SELECT expires_at FROM egress_connection WHERE session_id = 'desk') - clock_timestamp() BETWEEN '20 seconds' AND '30 seconds',
          true, 'the end is counted from the renewal, and may be sooner than it was');
CREATE TEMPORARY TABLE renewed AS SELECT egress_renew_lease('desk', '1 day') AS until;
SELECT is((SELECT until FROM renewed), (SELECT expires_at FROM egress_connection WHERE session_id = 'desk'),
          'a renewal returns the end');
SELECT is(egress_renew_lease('desk', NULL), 'infinity', 'infinity when there is none any more');
SELECT is((SELECT expires_at FROM egress_connection WHERE session_id = 'desk'), NULL, 'which is shown as NULL');
SELECT is(egress_renew_lease('desk', NULL), 'infinity', 'again');
SELECT isnt(egress_renew_lease('desk', '1 hour'), 'infinity', 'a lease without an end gets one');
SELECT is(egress_renew_lease('nobody', '1 hour'), NULL, 'NULL without a lease');
SELECT is(egress_renew_lease('nobody', NULL), NULL, 'NULL without a lease, and without a ttl');
SELECT is((SELECT concat_ws(' ', xmin, cmin, xmax, ctid, egress_lease) FROM egress_lease), (SELECT version FROM row_before),
          'the row of the lease is the one that was inserted');

/* ------------------------------- what is shown of leases that have expired */

SELECT acquire('gone', '1 hour'), acquire('forever');
SELECT is((SELECT count(*) FROM egress_connection), 3::bigint, 'three leases are live');
SELECT is((SELECT available_connections FROM egress_available_gateways('bruno') WHERE egress_gateway_id = 1), 0::bigint,
          'the menu shows none free');
SELECT is((SELECT verdict FROM egress_explain_access('bruno', NULL, 1)), 'at_limit', 'the explanation says so');
SELECT throws_ok($$ SELECT acquire('more') $$, 'NG004', NULL, 'and an acquire too');

SELECT expire('gone');
SELECT is((SELECT available_connections FROM egress_available_gateways('bruno') WHERE egress_gateway_id = 1), 1::bigint,
          'once a lease has expired, the menu shows one free');
SELECT is((SELECT verdict || ' ' || egress_credential_id FROM egress_explain_access('bruno', NULL, 1)), 'available 1',
          'the explanation says so');
SELECT is((SELECT string_agg(session_id, ' ' ORDER BY session_id) FROM egress_connection), 'desk forever',
          'egress_connection does not show it');
SELECT is((SELECT active_connections || ' ' || available_connections FROM egress_credential_usage), '2 1',
          'egress_credential_usage does not count it');
SELECT is((SELECT active_connections FROM egress_gateway_usage WHERE egress_gateway_id = 1), 2::bigint,
          'egress_gateway_usage does not count it');
SELECT is((SELECT count(*) FROM egress_lease), 3::bigint, 'although nobody has ended it');
SELECT is(history('gone'), NULL, 'and it has no history yet');
SELECT results_eq('SELECT expired_leases, expired_since FROM egress_upkeep',
                  $$SELECT 1::bigint, expires_at FROM egress_lease_expiry WHERE session_id = 'gone'$$, 'egress_upkeep says since when');

/* ------------------------------------------------------------- its end */

SELECT is(egress_renew_lease('gone', '1 hour'), NULL, 'it cannot be renewed');
SELECT is(egress_renew_lease('gone', NULL), NULL, 'nor for ever');
SELECT lives_ok($$ SELECT acquire('more', '1 hour') $$, 'an acquire takes it over');
SELECT is(history('gone'), 'expired at its end', 'the history says when it ended');
SELECT is((SELECT count(*) FROM egress_lease_expiry WHERE session_id = 'gone'), 0::bigint, 'nothing is left of it');
SELECT throws_ok($$ SELECT acquire('gone', '1 hour') $$, 'NG004', NULL, 'its session comes too late');

SELECT expire('more');
SELECT is(egress_release_credential('more'), false, 'the release of an expired lease ends nothing');
SELECT is(history('more'), 'expired at its end', 'and it is written that it expired');

SELECT acquire('trigger', '1 hour'), expire('trigger');
INSERT INTO session VALUES ('trigger');
DELETE FROM session;
SELECT is(history('trigger'), 'expired at its end', 'the same by the trigger');

SELECT acquire('again', '1 hour'), expire('again');
SELECT is(egress_credential_id, 1::bigint, 'the session of an expired lease acquires for another gateway')
FROM egress_acquire_credential('bruno', 'browser', 2, 'again');
SELECT is(history('again'), 'expired at its end', 'the expired lease has its history');
SELECT is(lasts('again'), NULL, 'the new one has no end');
SELECT throws_ok($$ SELECT acquire('again') $$, 'NG005', NULL, 'and is a lease like any other');
SELECT is(egress_release_credential('again'), true, 'also when it is released');
SELECT is(history('again'), 'expired at its end, released', 'a lease has one row of history, a session one for each');

SELECT is(egress_expire_leases(), 0::bigint, 'a sweep has nothing to do');
SELECT acquire('sweep', '1 hour'), expire('sweep'), expire('desk');
SELECT is(egress_expire_leases(), 2::bigint, 'a sweep says how many it ended');
SELECT is(egress_expire_leases(), 0::bigint, 'once');
SELECT is(history('sweep') || '; ' || history('desk'), 'expired at its end; expired at its end', 'each has its history');
SELECT is((SELECT string_agg(session_id, ' ') FROM egress_lease), 'forever', 'the sweep left the others');
SELECT is((SELECT count(*) FROM egress_lease_expiry), 0::bigint, 'no end is left without a lease');

-- some of them
SELECT throws_ok('SELECT egress_expire_leases(NULL)', '22004', NULL, 'a batch of no size');
SELECT throws_ok('SELECT egress_expire_leases(0)', '22023', NULL, 'a batch of 0');
SELECT throws_ok('SELECT egress_expire_leases(-1)', '22023', NULL, 'a batch below 0');
SELECT acquire('batch 1', '1 hour'), acquire('batch 2', '1 hour'), expire('batch 1'), expire('batch 2');
SELECT is(egress_expire_leases(1), 1::bigint, 'a batch ends as many as it may');
SELECT is((SELECT count(*) FROM egress_lease), 2::bigint, 'and no more');
SELECT is(egress_expire_leases(2), 1::bigint, 'the last one fewer');
SELECT is(egress_expire_leases(2), 0::bigint, 'and then none');
SELECT is(history('batch 1') || '; ' || history('batch 2'), 'expired at its end; expired at its end', 'each has its history');

-- in batches, each in a transaction of its own, which this is not
SELECT throws_ok('CALL egress_sweep_leases(NULL)', '22004', NULL, 'batches of no size');
SELECT throws_ok('CALL egress_sweep_leases(0)', '22023', NULL, 'batches of 0');
SELECT throws_ok('CALL egress_sweep_leases()', '2D000', NULL, 'batches inside a transaction');

-- a release and a renewal before the end are what they were
SELECT acquire('early', '1 hour');
SELECT is(egress_release_credential('early'), true, 'a lease that has not expired is released');
SELECT is(history('early'), 'released', 'and the history says so');
SELECT is((SELECT count(*) FROM egress_lease_expiry), 0::bigint, 'its end goes with it');

-- by hand, which writes no history
SELECT acquire('by hand', '1 hour');
DELETE FROM egress_lease WHERE session_id = 'by hand';
SELECT is((SELECT count(*) FROM egress_lease_expiry), 0::bigint, 'a lease deleted by hand takes its end with it');

-- in one statement
SELECT is(array_agg(x::text), ARRAY['true', 'true', 'false'], 'acquire, renew and release in one statement')
FROM (SELECT acquire('one', '1 hour') IS NOT NULL
      UNION ALL SELECT egress_renew_lease('one', '1 microsecond') IS NOT NULL
      UNION ALL SELECT egress_release_credential('one')) s(x);
SELECT is((SELECT release_reason FROM egress_lease_history WHERE session_id = 'one'), 'expired', 'which came too late');

/* ------------------------------------- above the limit, and to be deleted */

UPDATE egress_credential SET active_connection_limit = 1000;
SELECT count(acquire('many ' || i, '1 hour')) FROM generate_series(1, 500) i;
UPDATE egress_lease_expiry SET expires_at = acquired_at FROM egress_lease WHERE egress_lease.session_id = egress_lease_expiry.session_id;
UPDATE egress_credential SET active_connection_limit = 2;
SELECT lives_ok($$ SELECT acquire('two') $$, 'above a lowered limit as many expired leases end as have to');
SELECT is((SELECT string_agg(session_id, ' ' ORDER BY session_id) FROM egress_lease), 'forever two', 'which is all here');
SELECT is((SELECT count(*) FROM egress_lease_history WHERE session_id LIKE 'many %' AND release_reason = 'expired'), 500::bigint,
          'each with its history');

SELECT egress_release_credential('forever'), egress_release_credential('two');

-- a lease that another session takes, and that expires, while the provider is being deleted: by then the provider's row, and
-- perhaps the gateway's, is gone
CREATE FUNCTION come_and_expire() RETURNS trigger LANGUAGE plpgsql SET search_path = vpn, public AS $$
BEGIN
    INSERT INTO egress_lease SELECT 'last', 1, 1, 'ana', NULL, now(), 1 ON CONFLICT DO NOTHING;
    INSERT INTO egress_lease_expiry SELECT 'last', 1, now() ON CONFLICT DO NOTHING;
    RETURN OLD;
END $$;
SAVEPOINT deletion;
SELECT acquire('last', '1 hour');
SELECT throws_ok($$ DELETE FROM egress_provider $$, '23503', 'provider 1 cannot be deleted while a lease uses it',
                 'what a live lease uses stays');
ROLLBACK TO deletion;
CREATE TRIGGER a_moment_before BEFORE DELETE ON egress_gateway FOR EACH ROW WHEN (OLD.egress_gateway_id = 1)
    EXECUTE FUNCTION come_and_expire();
SELECT lives_ok($$ DELETE FROM egress_provider $$, 'a lease that has expired before its gateway is deleted with the provider');
SELECT is((SELECT credential_name || ' ' || gateway_name || ' ' || provider_name FROM egress_lease_history WHERE session_id = 'last'),
          'alpha nl-ams-01 Lanternway', 'has its history, with the names');
ROLLBACK TO deletion;
UPDATE egress_provider SET name = 'Renamed';
UPDATE egress_gateway SET name = 'renamed' WHERE egress_gateway_id = 1;
-- the foreign keys, which would refuse the lease by hand, are not asked
ALTER TABLE egress_lease DISABLE TRIGGER ALL;
CREATE TRIGGER a_moment_before BEFORE DELETE ON egress_credential FOR EACH ROW EXECUTE FUNCTION come_and_expire();
SELECT lives_ok($$ DELETE FROM egress_provider $$, 'or before its credential is, after its gateway was changed');
SELECT is((SELECT gateway_name || ' ' || provider_name FROM egress_lease_history WHERE session_id = 'last'),
          'renamed Renamed', 'in the same transaction');
ROLLBACK TO deletion;

SELECT acquire('last', '1 hour'), expire('last');
SELECT lives_ok($$ DELETE FROM egress_provider $$, 'what only expired leases use can be deleted');
SELECT is((SELECT credential_name || ' ' || gateway_name || ' ' || provider_name FROM egress_lease_history WHERE session_id = 'last'),
          'alpha nl-ams-01 Lanternway', 'the history has the names');

SELECT finish();
ROLLBACK;
