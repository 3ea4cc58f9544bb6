-- cost.sql -- what acquire and release cost, in pages visited: "Capacity" of doc/operations.md; and what the history costs
--
-- While a connection is free, the limit and the leases of other credentials do not matter; finding that every
-- credential of a pool is full costs a few pages a credential; and no lock of ours is left when an acquire returns.
-- In a long history, who was connected is found, and a few rows are pruned, for what these cost, whatever its
-- statistics say. Pages are counted, not seconds. A B-tree of 100,000 leases is a level or two higher than one of three,
-- hence the slack of a few pages; a scan of those leases would visit hundreds.
\set ON_ERROR_STOP on
\set QUIET on
CREATE EXTENSION egress;
SELECT plan(16);

-- pages that a statement visits
CREATE FUNCTION pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    explained jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || statement INTO explained;
    RETURN (explained->0->'Plan'->>'Shared Hit Blocks')::bigint + (explained->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;

CREATE FUNCTION pages_of_acquire(gateway_id bigint, session_id text) RETURNS bigint LANGUAGE sql AS $$
    SELECT pages(format('SELECT * FROM egress_acquire_credential(%L, NULL, %s, %L)', 'user', gateway_id, session_id))
$$;

CREATE FUNCTION pages_of_release(session_id text) RETURNS bigint LANGUAGE sql AS $$
    SELECT pages(format('SELECT egress_release_credential(%L)', session_id))
$$;

-- provider n has the gateway n and a credential, or a pool of them
INSERT INTO egress_provider (egress_provider_id, name, provider_type)
SELECT i, 'provider ' || i, 'custom' FROM generate_series(1, 4) i;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
SELECT i, i, 'gateway ' || i FROM generate_series(1, 4) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
SELECT i, 'everyone' FROM generate_series(1, 4) i;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
                               limit_active_connections, active_connection_limit)
VALUES (1, 1, 'limit 1', 'everyone', true, 1),
       (2, 2, 'limit 100,000', 'everyone', true, 100000),
       (3, 3, 'limit 100,000, half full', 'everyone', true, 100000);
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
                               limit_active_connections, active_connection_limit)
SELECT 1000 + i, 4, 'pool ' || i, 'everyone', true, 2 FROM generate_series(1, 1000) i;

-- every function is called once before it counts: the backend's caches fill
DO $$ BEGIN PERFORM pages_of_acquire(1, 'first'), pages_of_release('first'); END $$;

CREATE TABLE cost (what text, call text, pages bigint);
CREATE FUNCTION measure(what text, gateway_id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cost VALUES (what, 'acquire', pages_of_acquire(gateway_id, 'measured'));
    INSERT INTO cost VALUES (what, 'release', pages_of_release('measured'));
END $$;

DO $$ BEGIN PERFORM measure('limit 1, nobody else', 1); END $$;

-- others: 50,000 leases of credential 3 in every second slot, and a full pool
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT 'other-' || i, 3, 3, 'other', now(), 2 * i FROM generate_series(1, 50000) i;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT 'pool-' || i || '-' || slot, 1000 + i, 4, 'other', now(), slot
FROM generate_series(1, 1000) i, generate_series(1, 2) slot;

DO $$ BEGIN
    PERFORM measure('limit 1, 52,000 leases of others', 1);
    PERFORM measure('limit 100,000', 2);
    PERFORM measure('limit 100,000, half full', 3);
END $$;

-- an index of 50,000 entries is one or two levels deeper than one of a page, and is gone down a few times
SELECT cmp_ok(more.pages, '<=', base.pages + 16,
              format('%s, %s: %s pages, not many more than the %s with a limit of 1 and nobody else',
                     more.call, more.what, more.pages, base.pages))
FROM cost more JOIN cost base ON base.call = more.call AND base.what = 'limit 1, nobody else'
WHERE more.what <> base.what ORDER BY more.call, more.what;

-- a pool of 1,000 full credentials: a few pages each
CREATE FUNCTION refusal() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM egress_acquire_credential('user', NULL, 4, 'refused');
    RETURN 'acquired';
EXCEPTION WHEN SQLSTATE 'NG004' THEN
    RETURN 'NG004';
END $$;
SELECT is(refusal(), 'NG004', 'the pool is full');
SELECT cmp_ok(pages('SELECT refusal()'), '<', 20000::bigint,
              'to find a pool of 1,000 credentials full takes less than 20 pages a credential');

INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
                               limit_active_connections, active_connection_limit)
VALUES (5000, 4, 'last', 'everyone', true, 1);
SELECT is(credential_name, 'last', 'a connection free behind 1,000 full credentials is found')
FROM egress_acquire_credential('user', NULL, 4, 'found');

-- short locks only: acquired in this transaction, none is left
BEGIN;
SELECT is(egress_credential_id, 2::bigint, 'a lease, its transaction still open')
FROM egress_acquire_credential('user', NULL, 2, 'open');
SELECT is(count(*), 0::bigint, 'no lock of ours lives longer than the call')
FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;

/* -------------------------------------------------------- the history */

-- 200,000 connections, of which one ended every minute, the first ten a day earlier: after 18 to 30 minutes, every 5,000th
-- after a week
ALTER TABLE egress_lease_history SET (autovacuum_enabled = off);
TRUNCATE egress_lease, egress_lease_expiry, egress_lease_history;
INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                  provider_name, user_id, acquired_at, released_at, release_reason)
SELECT n, 1, 'limit 1', 1 + n % 10, 'gateway', 'provider 1', 'user',
       released_at - CASE WHEN n % 5000 = 0 THEN interval '1 week' ELSE interval '2 minutes' * (9 + n % 7) END,
       released_at, 'released'
FROM generate_series(1, 200000) n,
     LATERAL (SELECT now() - interval '1 minute' * (200000 - n + CASE WHEN n <= 10 THEN 1440 ELSE 0 END)) e (released_at);
SELECT now() - interval '100000 minutes' AS middle, interval '200000 minutes 12 hours' AS old \gset
SELECT count(*) AS connected, count(*) FILTER (WHERE egress_gateway_id = 7) AS by_7
FROM egress_lease_history WHERE acquired_at <= :'middle' AND released_at > :'middle' \gset

CREATE TABLE history_call (nr int, call text, answer bigint);
INSERT INTO history_call VALUES
    (1, format('count(*) FROM egress_connections_at(%L)', :'middle'), :connected),
    (2, format('count(*) FROM egress_connections_at(%L, 7)', :'middle'), :by_7),
    (3, $$count(*) FROM egress_connections_at('-infinity')$$, 0),
    (4, $$count(*) FROM egress_connections_at('infinity')$$, 0),
    (5, $$count(*) FROM egress_connections_at('1 January 2000')$$, 0),
    (6, $$egress_prune_history('1 minute', 10)$$, 10),
    (7, $$egress_prune_history('100001 minutes', 10)$$, 10),
    (8, format('egress_prune_history(%L, 100000)', :'old'), 10),
    (9, format('egress_prune_history(%L)', :'old'), 10),
    (10, $$egress_prune_history('10 years', 100000)$$, 0),
    (11, $$egress_prune_history('10 years')$$, 0);
CREATE TABLE history_cost (statistics text, nr int, answer bigint, pages bigint, scans bigint, rows bigint);

CREATE VIEW history_counters AS
SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'egress_lease_history';

-- Makes each call, counts what it reads of the history, and undoes what it did. It was made before, as above.
CREATE FUNCTION measure_history(statistics text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c history_call;
    cost history_cost;
    before record;
    after record;
BEGIN
    FOR c IN SELECT * FROM history_call ORDER BY nr LOOP
        BEGIN
            EXECUTE 'SELECT ' || c.call INTO cost.answer;
            RAISE SQLSTATE 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
        END;
        BEGIN
            SELECT * INTO before FROM history_counters;
            cost.pages := pages('SELECT ' || c.call);
            SELECT * INTO after FROM history_counters;
            RAISE SQLSTATE 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
        END;
        INSERT INTO history_cost VALUES (statistics, c.nr, cost.answer, cost.pages, after.seq_scan - before.seq_scan,
                                         after.idx_tup_fetch - before.idx_tup_fetch);
    END LOOP;
END $$;

DO $$ BEGIN PERFORM measure_history('without statistics'); END $$;
ANALYZE egress_lease_history;
DO $$ BEGIN PERFORM measure_history('with statistics'); END $$;
-- and with those of a time when all had ended in the minutes after the moment that will be asked for
CREATE TABLE kept AS TABLE egress_lease_history;
TRUNCATE egress_lease_history;
INSERT INTO egress_lease_history SELECT * FROM kept
WHERE released_at > :'middle' AND released_at < :'middle'::timestamptz + interval '20 minutes';
ANALYZE egress_lease_history;
INSERT INTO egress_lease_history SELECT * FROM kept ON CONFLICT DO NOTHING;
DO $$ BEGIN PERFORM measure_history('with statistics of before'); END $$;

SELECT cmp_ok(:connected, '>', 20, 'some were connected');
CREATE VIEW history_measured AS
SELECT statistics, call, h.answer, c.answer AS expected, pages, scans, rows
FROM history_cost h JOIN history_call c USING (nr);
SELECT is_empty('SELECT * FROM history_measured WHERE answer <> expected', 'of the history, the answers are right');
-- 18 classes are looked up in an index of three levels. The table has 3,279 pages, the index 1,780.
SELECT is_empty('SELECT * FROM history_measured WHERE pages >= 150', 'they take few pages, whatever the statistics');
SELECT is_empty('SELECT * FROM history_measured WHERE scans > 0', 'the table is never scanned');
-- a batch looks at the next of each class that there is
SELECT is_empty('SELECT * FROM history_measured WHERE rows > 2 * answer + 5', 'about twice the rows are read, at most');

SELECT * FROM finish();
