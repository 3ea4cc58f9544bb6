-- history.sql -- one row of history for each lease that ended, who was connected at a moment, and pruning
--
-- What needs several clients, a million rows or autovacuum is in test/t/history.pl.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET search_path = vpn, public, tap;
SELECT no_plan();

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom');
-- the last two ids are the largest that there are
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city)
VALUES (1, 1, 'nl-ams-01', 'NL', 'Amsterdam'), (2, 1, 'de-fra-01', 'DE', NULL), (3, 1, 'fr-par-01', NULL, NULL),
       (9223372036854775806, 1, 'last but one', NULL, NULL), (9223372036854775807, 1, 'last', NULL, NULL);
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type)
VALUES (1, 1, 'alpha', 'everyone');

CREATE TABLE session (id text PRIMARY KEY, status text);
CREATE TRIGGER session_deleted AFTER DELETE ON session
    FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER session_stopped AFTER UPDATE ON session
    FOR EACH ROW WHEN (NEW.status = 'stopped') EXECUTE FUNCTION egress_release_on_session_end('id');
CREATE TRIGGER session_truncated BEFORE TRUNCATE ON session
    FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');

CREATE FUNCTION acquire(session text, gateway bigint DEFAULT 1) RETURNS timestamptz LANGUAGE sql
AS $$ SELECT acquired_at FROM egress_acquire_credential('ana', 'desk', gateway, session) $$;
-- what the history says of a session
CREATE FUNCTION history_of(session text) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT coalesce(string_agg(release_reason, ', ' ORDER BY egress_lease_history_id), 'nothing')
      FROM egress_lease_history WHERE session_id = session $$;

/* -------------------------------------------- once, whatever ended it */

INSERT INTO session SELECT unnest(ARRAY['deleted', 'stopped', 'released first', 'rolled back', 'truncated']);
SELECT count(acquire(id)) AS acquired FROM session \gset
SELECT acquire('released') AS acquired_at \gset

SELECT is(history_of('released'), 'nothing', 'a live lease has no history');
SELECT ok(egress_release_credential('released'), 'a release ends a lease');
SELECT ok(NOT egress_release_credential('released'), 'once');
SELECT is(history_of('released'), 'released', 'and writes one row');

DELETE FROM session WHERE id = 'deleted';
SELECT is(history_of('deleted'), 'session_end', 'a session that is deleted: one row');
UPDATE session SET status = 'stopped' WHERE id = 'stopped';
UPDATE session SET status = 'stopped' WHERE id = 'stopped';
DELETE FROM session WHERE id = 'stopped';
SELECT is(history_of('stopped'), 'session_end', 'one that is stopped twice and deleted: one row');
SELECT ok(egress_release_credential('released first'), 'a release before the session ends');
DELETE FROM session WHERE id = 'released first';
SELECT is(history_of('released first'), 'released', 'one row, of the release');

SAVEPOINT undone;
DELETE FROM session WHERE id = 'rolled back';
SELECT is(history_of('rolled back'), 'session_end', 'the transaction sees its own history');
ROLLBACK TO undone;
SELECT is(history_of('rolled back'), 'nothing', 'which is rolled back with the end of the lease');
SELECT is((SELECT session_id FROM egress_connection WHERE session_id = 'rolled back'), 'rolled back', 'that is live again');
TRUNCATE session;
SELECT is(history_of('rolled back') || ' ' || history_of('truncated'), 'session_end session_end', 'TRUNCATE: one row each');

SELECT acquire('released') AS acquired_at \gset
SELECT ok(egress_release_credential('released'), 'the session has another lease');
SELECT is(history_of('released'), 'released, released', 'which has a row of its own');

-- all of the row
SELECT acquire('whole', 2) AS acquired_at, clock_timestamp() AS before \gset
SELECT egress_release_credential('whole') AS released, clock_timestamp() AS after \gset
UPDATE egress_gateway SET name = 'renamed' WHERE egress_gateway_id = 2;
SELECT results_eq($$SELECT egress_credential_id, credential_name, egress_gateway_id, gateway_name, provider_name, country, city,
                           user_id, workspace_id, release_reason
                    FROM egress_lease_history WHERE session_id = 'whole'$$,
                  $$VALUES (1::bigint, 'alpha', 2::bigint, 'de-fra-01', 'Lanternway', 'DE', NULL::text,
                            'ana' COLLATE "C", 'desk' COLLATE "C", 'released')$$, 'the names are those of then');
SELECT ok(acquired_at = :'acquired_at' AND released_at BETWEEN :'before' AND :'after', 'the times are those of the lease')
FROM egress_lease_history WHERE session_id = 'whole';

/* ------------------------------------------- a release must not fail */

SELECT acquire('clock') AS acquired_at \gset
UPDATE egress_lease SET acquired_at = now() + interval '1 hour' WHERE session_id = 'clock';
SELECT ok(egress_release_credential('clock'), 'a lease ends, though a clock that was set back says it has not begun');
SELECT ok(acquired_at = now() + interval '1 hour' AND released_at = acquired_at, 'it ended when it began')
FROM egress_lease_history WHERE session_id = 'clock';
SELECT is_empty($$SELECT FROM egress_connections_at(now() + interval '1 hour') WHERE session_id = 'clock'$$,
                'and was never connected');

SELECT acquire('last', 9223372036854775807) AS acquired_at \gset
SELECT ok(egress_release_credential('last'), 'a lease ends, though its gateway has the largest id that there is');

/* --------------------------------------- who was connected at a moment */

SELECT throws_ok('SELECT egress_connections_at(NULL)', '22004', 'moment must not be null', 'moment must be given');
SELECT throws_ok('SELECT egress_connections_at(NULL, 1)', '22004', 'moment must not be null', 'also with a gateway');

-- Ends and beginnings that meet, each other and the moments that are asked for. Gateway 4 has been deleted since.
DELETE FROM egress_lease_history;
SELECT setseed(0.4);
CREATE FUNCTION pick(below integer) RETURNS integer LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * below)::integer $$;
CREATE FUNCTION at(minute integer) RETURNS timestamptz LANGUAGE sql STABLE
AS $$ SELECT now() - interval '2 hours' + minute * interval '1 minute' $$;
CREATE TABLE gateways AS SELECT id FROM unnest(ARRAY[1, 2, 3, 4, 5, 9223372036854775806, 9223372036854775807, NULL]) id;

INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                  provider_name, country, city, user_id, workspace_id, acquired_at, released_at, release_reason)
SELECT 'ended ' || n, pick(3), 'credential of then', (ARRAY[1, 2, 3, 4, 9223372036854775806, 9223372036854775807])[1 + pick(6)],
       'gateway of then', 'provider of then', 'NL', NULL, 'user ' || pick(5), CASE WHEN pick(2) = 0 THEN 'desk' END,
       at(begin), at(begin + (ARRAY[0, 1, 2, 5, 30])[1 + pick(5)]), (ARRAY['released', 'session_end', 'expired'])[1 + pick(3)]
FROM (SELECT n, pick(20) AS begin FROM generate_series(1, 400) n OFFSET 0) r;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at)
SELECT 'live ' || n, 1, (ARRAY[1, 2, 9223372036854775806, 9223372036854775807])[1 + pick(4)], 'user ' || pick(5),
       CASE WHEN pick(2) = 0 THEN 'desk' END, at(pick(20))
FROM generate_series(1, 100) n;
-- a third of them lasts until it is released, a third has expired, a third will
INSERT INTO egress_lease_expiry
SELECT session_id, egress_credential_id,
       CASE kind WHEN 1 THEN acquired_at + (ARRAY[1, 2, 5, 30])[1 + pick(4)] * interval '1 minute'
                 ELSE now() + (1 + pick(3)) * interval '1 day' END
FROM (SELECT *, pick(3) AS kind FROM egress_lease OFFSET 0) l WHERE kind > 0;

CREATE FUNCTION expected(moment timestamptz, gateway bigint) RETURNS SETOF egress_lease_history LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        SELECT * FROM egress_lease_history
        UNION ALL
        SELECT NULL, session_id, l.egress_credential_id, c.name, egress_gateway_id, g.name, p.name, country, city,
               user_id, workspace_id, acquired_at, expires_at, CASE WHEN expires_at < now() THEN 'expired' END
        FROM egress_lease l NATURAL LEFT JOIN egress_lease_expiry
        JOIN egress_gateway g USING (egress_gateway_id), egress_credential c, egress_provider p) connected
    WHERE moment >= acquired_at AND (released_at IS NULL OR moment < released_at)
      AND (gateway IS NULL OR egress_gateway_id = gateway)
    ORDER BY acquired_at, session_id $$;
CREATE TABLE questions AS
SELECT moment, id AS gateway,
       ARRAY(SELECT e::text FROM (SELECT egress_lease_history_id, session_id, egress_credential_id, credential_name,
                                         egress_gateway_id, gateway_name, provider_name, country, city, user_id, workspace_id,
                                         acquired_at, CASE WHEN release_reason IS NOT NULL THEN released_at END, release_reason
                                  FROM expected(moment, id)) e) AS expected,
       ARRAY(SELECT c::text FROM egress_connections_at(moment, id) c) AS answer
FROM (SELECT at(minute) + delta * interval '1 microsecond' FROM generate_series(-1, 55) minute, generate_series(-1, 1) delta
      UNION ALL SELECT unnest(ARRAY['-infinity', 'infinity', now(), now() + interval '1 day', now() + interval '36 hours',
                                    'epoch']::timestamptz[])) m (moment), gateways;

SELECT is_empty('SELECT moment, gateway, expected, answer FROM questions WHERE answer <> expected',
                (SELECT format('%s answers are right, their order too', count(*)) FROM questions));
SELECT cmp_ok((SELECT count(*) FROM questions WHERE cardinality(answer) > 1), '>', 500::bigint, 'to many the answer is somebody');
SELECT cmp_ok((SELECT count(DISTINCT row) FROM questions, unnest(answer) row WHERE row ~ what), '>=', 10::bigint,
              format('rows like %s are among them', what))
FROM unnest(ARRAY['^\(\d.*,4,"gateway of then"', ',released\)$', ',session_end\)$', '^\(\d.*,expired\)$', '^\(,.*,expired\)$',
                  '^\(,.*,,\)$', ',9223372036854775806,', ',9223372036854775807,']) what;
SELECT is_empty($$SELECT FROM questions WHERE moment = '-infinity' AND cardinality(answer) > 0$$,
                'nobody was connected before everything');
SELECT is_empty($$SELECT FROM egress_lease l NATURAL LEFT JOIN egress_lease_expiry
                  WHERE (expires_at IS NULL) <> (session_id IN (SELECT session_id FROM egress_connections_at('infinity')))$$,
                'at infinity, who holds a lease that lasts');

-- Connections of lengths in each class of the index, and where one ends and the next begins; and what only a hand writes:
-- times that are infinite, and the first and the last that there are. Some go on while clocks are changed.
CREATE TABLE connections AS
SELECT began AS acquired_at, (began AT TIME ZONE 'UTC' + length) AT TIME ZONE 'UTC' AS released_at
FROM unnest(ARRAY['2026-03-28 20:00 UTC', '2025-10-24 20:00 UTC', '9998-12-31 23:59:59.999999 UTC']::timestamptz[]) began,
     (SELECT interval '1 minute' * 2 ^ n + delta * interval '1 microsecond'
      FROM generate_series(-1, 18) n, generate_series(-1, 1) delta
      UNION ALL SELECT unnest(ARRAY['0', '1 microsecond', '3 months', '1 year', '40 years']::interval[])) l (length)
UNION ALL VALUES ('-infinity'::timestamptz, '-infinity'::timestamptz), ('-infinity', '2026-03-29'), ('-infinity', 'infinity'),
    ('2026-03-29', 'infinity'), ('infinity', 'infinity'), ('4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00'),
    ('4714-11-24 00:00:00+00 BC', '9998-12-31 23:59:59.999999+00'),
    ('294276-12-31 23:00:00+00', '294276-12-31 23:59:59.999999+00');
SAVEPOINT long;
DELETE FROM egress_lease;
DELETE FROM egress_lease_history;
INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                  provider_name, user_id, acquired_at, released_at, release_reason)
SELECT row_number() OVER (), 1, 'c', 1, 'g', 'p', 'ana', acquired_at, released_at, 'released' FROM connections;
CREATE FUNCTION misfits(zone text) RETURNS TABLE (moment timestamptz, expected text, answer text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('TimeZone', zone, true);
    RETURN QUERY
    SELECT * FROM (
        SELECT m.moment, (SELECT string_agg(e.session_id, ' ') FROM expected(m.moment, NULL) e),
               (SELECT string_agg(c.session_id, ' ') FROM egress_connections_at(m.moment) c)
        FROM (SELECT unnest(ARRAY[acquired_at, released_at]) FROM connections
              UNION SELECT t - interval '1 microsecond' FROM connections, unnest(ARRAY[acquired_at, released_at]) t
                    WHERE isfinite(t) AND t > '4714-11-24 00:00:00+00 BC') m (moment)) a (moment, expected, answer)
    WHERE a.expected IS DISTINCT FROM a.answer;
END $$;
SELECT is_empty(format('SELECT * FROM misfits(%L)', zone), 'connections of any length, and at any time: ' || zone)
FROM unnest(ARRAY['UTC', 'Europe/Berlin']) zone;
SET LOCAL TimeZone = DEFAULT;
SELECT count(*) AS over FROM connections WHERE released_at < now() - interval '10 days' \gset
SELECT cmp_ok(:over, '>', 100, 'many are over');
SELECT is(egress_prune_history('10 days', 50), 50::bigint, 'a batch of them is removed');
SELECT cmp_ok((SELECT max(released_at) FROM connections c
               WHERE NOT EXISTS (SELECT FROM egress_lease_history h WHERE h.released_at = c.released_at)), '<=',
              (SELECT min(released_at) FROM egress_lease_history), 'the oldest, of any length');
SELECT is(egress_prune_history('10 days', 9223372036854775807), :over - 50::bigint, 'and all others');
ROLLBACK TO long;

-- it only reads
SELECT throws_ok($$DO $do$ BEGIN SET LOCAL transaction_read_only = on; PERFORM egress_connections_at(now());
                   RAISE 'it can'; END $do$ $$, 'P0001', 'it can', 'a read-only transaction can ask');

-- columns that somebody added
CREATE TABLE now_connected AS SELECT session_id FROM egress_connections_at(now(), 1);
SAVEPOINT added;
ALTER TABLE egress_lease_history ADD COLUMN note text, ADD COLUMN kept boolean NOT NULL DEFAULT true;
SELECT results_eq('SELECT session_id, note, kept FROM egress_connections_at(now(), 1)',
                  'SELECT session_id, NULL::text, NULL::boolean FROM now_connected', 'are NULL');
ROLLBACK TO added;

/* -------------------------------------------------------------- pruning */

SELECT throws_ok(format('SELECT egress_prune_history(%s)', arguments), state, message, arguments || ': ' || message)
FROM (VALUES ('NULL', '22004', 'older_than must not be null'),
             ('NULL, 1', '22004', 'older_than must not be null'),
             ($$'1 day', NULL$$, '22004', 'max_rows must not be null'),
             ($$'-1 microsecond'$$, '22023', 'older_than must not be negative'),
             ($$'-1 microsecond', 1$$, '22023', 'older_than must not be negative'),
             ($$'1 month -31 days'$$, '22023', 'older_than must not be negative'),
             ($$'1000 years 1 month'$$, '22023', 'older_than is too long'),
             ($$'178956970 years'$$, '22023', 'older_than is too long'),
             ($$'2147483647 days'$$, '22023', 'older_than is too long'),
             ($$'2562047788 hours'$$, '22023', 'older_than is too long'),
             ($$'-70000000 months 2147483647 days'$$, '22023', 'older_than is too long'),
             ($$'2562047788 hours', 1$$, '22023', 'older_than is too long'),
             ($$'1 day', 0$$, '22023', 'max_rows must be more than 0'),
             ($$'1 day', -1$$, '22023', 'max_rows must be more than 0')) refused (arguments, state, message);
-- PostgreSQL 17 has infinite intervals
SELECT throws_ok($$SELECT egress_prune_history('infinity')$$,
                 CASE WHEN current_setting('server_version_num')::int < 170000 THEN '22007' ELSE '22023' END, NULL, 'infinity');
SELECT throws_ok($$SELECT egress_prune_history('-infinity')$$,
                 CASE WHEN current_setting('server_version_num')::int < 170000 THEN '22007' ELSE '22023' END, NULL, '-infinity');
SELECT throws_ok(format($$DO $do$ BEGIN SET LOCAL transaction_read_only = on; PERFORM egress_prune_history(%s); END $do$ $$, arguments),
                 '25006', 'cannot execute egress_prune_history() in a read-only transaction', format('a read-only transaction cannot prune (%s)', arguments))
FROM unnest(ARRAY[$$'1 day'$$, $$'1 day', 1$$]) arguments;

-- The clock goes on while they are pruned: no bound is within a minute.
CREATE FUNCTION fill(ended timestamptz[]) RETURNS void LANGUAGE sql AS $$
    DELETE FROM egress_lease_history;
    INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                      provider_name, user_id, acquired_at, released_at, release_reason)
    SELECT n, 1, 'c', 1, 'g', 'p', 'ana', released_at - interval '1 hour', released_at, 'released'
    FROM unnest(ended) WITH ORDINALITY e (released_at, n) ORDER BY random() $$;
CREATE FUNCTION kept() RETURNS text LANGUAGE sql
AS $$ SELECT string_agg(session_id, ', ' ORDER BY released_at DESC) FROM egress_lease_history $$;
CREATE FUNCTION days(first int, last int) RETURNS text LANGUAGE sql
AS $$ SELECT string_agg(n::text, ', ' ORDER BY n) FROM generate_series(first, last) n $$;
SELECT count(acquire('live')) AS acquired \gset

SELECT fill(ARRAY[clock_timestamp() - interval '1 month' + interval '1 minute',
                  clock_timestamp() - interval '1 month' - interval '1 minute']) \g /dev/null
SELECT is(egress_prune_history('1000 years'), 0::bigint, 'nothing is older than a thousand years');
SELECT is(egress_prune_history('1000 years 366000 days 8784000 hours'), 0::bigint, 'nor than the longest that may be');
SELECT is(egress_prune_history('1 month'), 1::bigint, 'one is older than a month');
SELECT is(kept(), '1', 'the other is kept');
SELECT is((SELECT history_since FROM egress_upkeep), (SELECT released_at FROM egress_lease_history), 'egress_upkeep has its end');

-- ended 1 to 30 days ago
SELECT fill(ARRAY(SELECT clock_timestamp() - n * interval '24 hours' FROM generate_series(1, 30) n)) \g /dev/null
SELECT is(egress_prune_history('240 hours 1 minute'), 20::bigint, 'twenty are older than ten days');
SELECT is(kept(), days(1, 10), 'the others are kept');
SELECT is(egress_prune_history('240 hours 1 minute'), 0::bigint, 'no more are left');

SELECT is(egress_prune_history('120 hours 1 minute', 3), 3::bigint, 'a batch has as many rows as it may');
SELECT is(kept(), days(1, 7), 'the oldest first');
SELECT is(egress_prune_history('120 hours 1 minute', 3), 2::bigint, 'fewer when no more are left');
SELECT is(kept(), days(1, 5), 'the others are kept');
SELECT is(egress_prune_history('120 hours 1 minute', 3), 0::bigint, 'and none then');
SELECT is(egress_prune_history('96 hours 1 minute', 9223372036854775807), 1::bigint, 'max_rows may be any number');
SELECT is(egress_prune_history('0'), 4::bigint, 'older than nothing: all that has ended');
SELECT is(kept(), NULL, 'is gone');
SELECT is((SELECT history_since FROM egress_upkeep), NULL, 'and egress_upkeep knows');
SELECT is((SELECT session_id FROM egress_connections_at(clock_timestamp()) WHERE session_id = 'live'), 'live',
          'what is live is not');

-- a day is 24 hours, also when the session's clocks have changed since: a row half an hour younger than each age is kept
CREATE FUNCTION kept_of(zone text, days int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('TimeZone', zone, true);
    PERFORM fill(ARRAY[clock_timestamp() - days * interval '24 hours' + interval '30 minutes',
                       clock_timestamp() - days * interval '24 hours' - interval '30 minutes']);
    PERFORM egress_prune_history(days * interval '1 day');
    RETURN kept();
END $$;
SELECT is(string_agg(DISTINCT kept_of(zone, 30 * n), ' or '), '1', 'older than so many days: ' || zone)
FROM unnest(ARRAY['Europe/Berlin', 'America/New_York', 'UTC']) zone, generate_series(1, 11) n GROUP BY zone;
SET LOCAL TimeZone = DEFAULT;

SELECT * FROM finish();
ROLLBACK;
