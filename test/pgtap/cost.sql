-- cost.sql -- what acquire and release cost, in pages visited: "Cost" of the README
--
-- While a connection is free, the limit and the leases of other credentials do not matter; finding that every
-- credential of a pool is full costs a few pages a credential; and no lock of ours is left when an acquire returns.
-- Pages are counted, not seconds. A B-tree of 100,000 leases is a level or two higher than one of three, hence the
-- slack of a few pages; a scan of those leases would visit hundreds.
\set ON_ERROR_STOP on
\set QUIET on
CREATE EXTENSION egress;
SELECT plan(11);

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

SELECT * FROM finish();
