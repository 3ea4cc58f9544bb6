-- pool.sql -- a pool of many credentials: what is full is not read, and nothing that comes free is forgotten
--
-- Pages are counted, not seconds. Statements commit by themselves: what an open transaction has taken is full for nobody else.
-- Beside other sessions: test/isolation/specs/pool_*.spec, test/t/pool_under_load.pl.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();

CREATE FUNCTION pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    explained jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || statement INTO explained;
    RETURN (explained->0->'Plan'->>'Shared Hit Blocks')::bigint + (explained->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;

-- which credential an acquire gets, or the SQLSTATE
CREATE FUNCTION taken(session text, gateway bigint DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT egress_credential_id FROM egress_acquire_credential('ann', 'desk', gateway, session));
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

CREATE FUNCTION available(gateway bigint DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
    SELECT available_connections FROM egress_available_gateways('ann', 'desk') WHERE egress_gateway_id = gateway
$$;

-- provider 1: credentials 1 to 3000 with two connections each, of all subjects of ann; every third one selects the gateways 1 and 2
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'big', 'custom'), (2, 'small', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
SELECT i, 1, 'g' || i FROM generate_series(1, 10) i UNION ALL SELECT 20, 2, 'small';
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone');
INSERT INTO egress_group_member SELECT 'ann', 'group ' || i FROM generate_series(1, 5) i;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, allow_all_gateways,
                               limit_active_connections, active_connection_limit)
SELECT i, 1, 'c' || i,
       (ARRAY['everyone', 'user', 'workspace', 'group', 'group']::egress_subject_type[])[1 + i % 5],
       (ARRAY[NULL, 'ann', 'desk', 'group ' || (1 + i % 4), 'group 5'])[1 + i % 5], i % 3 > 0, true, 2
FROM generate_series(1, 3000) i;
INSERT INTO egress_credential_gateway SELECT i, g FROM generate_series(3, 3000, 3) i, generate_series(1, 2) g;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit)
SELECT 10000 + i, 2, 's' || i, 'everyone', true, 2 FROM generate_series(1, 5) i;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT format('s-%s-%s', c.egress_credential_id, n), c.egress_credential_id, CASE egress_provider_id WHEN 1 THEN 1 ELSE 20 END,
       'ann', now(), n
FROM egress_credential c, generate_series(1, 2) n;
VACUUM ANALYZE;

/* ---------------------------------------------------------------- cost */

SELECT is(taken('new'), 'NG004', 'all are full');
SELECT is(taken('new', 20), 'NG004', 'those of the small pool, too');
SELECT is(available(), 0::bigint, 'and so says the menu');
SELECT is(available(10), 0::bigint, 'of a gateway that is not selected, too');
-- what it costs when all is known to be full: of the small pool with five credentials, and of the big one with 3,000
CREATE TABLE cost AS
SELECT pages($$SELECT taken('new', 20)$$) AS small, pages($$SELECT taken('new')$$) AS big,
       pages($$SELECT count(*) FROM egress_available_gateways('ann', 'desk')$$) AS menu;
SELECT cmp_ok(big, '<=', 5 * small, format('a refusal visits %s pages of the big pool, and %s of the small one', big, small)) FROM cost;
SELECT cmp_ok(menu, '<=', 6 * small, format('the menu visits %s', menu)) FROM cost;

SELECT ok(egress_release_credential('s-2999-1'), 'one connection is given back');
SELECT cmp_ok(available(), '=', 1::bigint, 'the menu has it');
SELECT cmp_ok(pages($$SELECT taken('new')$$), '<=', (SELECT 8 * small FROM cost), 'who finds it visits as few pages');
SELECT is((SELECT egress_credential_id FROM egress_lease WHERE session_id = 'new'), 2999::bigint, 'and gets it');
SELECT is(taken('other'), 'NG004', 'nobody else does');
SELECT is(available(), 0::bigint, 'nor is it in the menu');

/* ----------------------------------------------- nothing is forgotten */

-- each in its turn: something frees a connection, and the next acquire has it, after which all is full again
CREATE PROCEDURE full_again() LANGUAGE plpgsql AS $$
BEGIN
    IF taken('nobody') <> 'NG004' OR available() <> 0 THEN RAISE 'not full'; END IF;
END $$;

SELECT ok(egress_release_credential('s-1500-2'), 'given back');
SELECT is(taken('a'), '1500', 'released');
CALL full_again();
DELETE FROM egress_lease WHERE session_id = 's-1501-1';
SELECT is(taken('b'), '1501', 'deleted by hand');
CALL full_again();
UPDATE egress_lease SET egress_credential_id = 1501, slot = 3 WHERE session_id = 's-1502-1';
SELECT is(taken('c'), '1502', 'moved by hand');
DELETE FROM egress_lease WHERE session_id = 'c';
UPDATE egress_lease SET egress_credential_id = 1502, slot = 1 WHERE session_id = 's-1502-1';
CALL full_again();
SET session_replication_role = replica;
DELETE FROM egress_lease WHERE session_id = 's-1503-1';
RESET session_replication_role;
SELECT is(taken('d'), '1503', 'deleted without triggers');
CALL full_again();
UPDATE egress_credential SET active_connection_limit = 3 WHERE egress_credential_id = 700;
SELECT is(taken('e'), '700', 'a limit is raised');
CALL full_again();
UPDATE egress_credential SET active_connection_limit = 1 WHERE egress_credential_id = 701;
SELECT ok(egress_release_credential('s-701-1'), 'given back');
CALL full_again();
SELECT pass('a limit below what is in use');
SELECT ok(egress_release_credential('s-701-2'), 'given back');
SELECT is(taken('f'), '701', 'and the last above it is');
CALL full_again();
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 702;
SELECT ok(egress_release_credential('s-702-1'), 'given back');
CALL full_again();
UPDATE egress_credential SET enabled = true WHERE egress_credential_id = 702;
SELECT is(taken('g'), '702', 'enabled');
CALL full_again();
UPDATE egress_credential SET limit_active_connections = false WHERE egress_credential_id = 703;
SELECT is(taken('h'), '703', 'without a limit');
SELECT is(available(), NULL, 'which is what the menu says');
UPDATE egress_credential SET limit_active_connections = true WHERE egress_credential_id = 703;
CALL full_again();
UPDATE egress_credential SET subject_type = 'user', subject_id = 'bob' WHERE egress_credential_id = 704;
SELECT ok(egress_release_credential('s-704-1'), 'given back');
CALL full_again();
UPDATE egress_credential SET subject_id = 'ann' WHERE egress_credential_id = 704;
SELECT is(taken('i'), '704', 'given to the user');
CALL full_again();
DELETE FROM egress_group_member WHERE group_id = 'group 5';
SELECT ok(egress_release_credential('s-709-1'), 'given back');
CALL full_again();
INSERT INTO egress_group_member VALUES ('ann', 'group 5');
SELECT is(taken('j'), '709', 'a member');
CALL full_again();
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit) VALUES (-5, 1, 'new', 'everyone', true, 1);
SELECT is(taken('k'), '-5', 'a new one, before all others');
CALL full_again();
SELECT ok(egress_release_credential('s-300-1'), 'given back');
SELECT is(taken('l', 10), 'NG004', 'one that selects other gateways');
SELECT is(available(10), 0::bigint, 'is not in the menu for this one');
INSERT INTO egress_credential_gateway VALUES (300, 10);
SELECT is(taken('l', 10), '300', 'until it selects it');
CALL full_again();

-- leases that end by themselves
INSERT INTO egress_lease_expiry VALUES ('s-800-1', 800, now() + interval '1 hour');
CALL full_again();
SELECT isnt(egress_renew_lease('s-800-1', '2 hours'), NULL, 'renewed');
CALL full_again();
SELECT isnt(egress_renew_lease('s-800-1', '0.05 seconds'), NULL, 'renewed to end soon');
CALL full_again();
SELECT pg_sleep(0.06) \g /dev/null
SELECT is(available(), 1::bigint, 'when it is over it is in the menu');
SELECT is(taken('m'), '800', 'and taken over');
CALL full_again();
SELECT ok(egress_release_credential('m'), 'given back');
SELECT is((SELECT egress_credential_id FROM egress_acquire_credential('ann', 'desk', 1, 'n', '0.05 seconds')), 800::bigint,
          'taken for a moment');
CALL full_again();
SELECT pg_sleep(0.06) \g /dev/null
SELECT is(taken('o'), '800', 'it ends by itself');
CALL full_again();
UPDATE egress_lease_expiry SET expires_at = now() WHERE session_id = 'o';
INSERT INTO egress_lease_expiry VALUES ('o', 800, now()) ON CONFLICT DO NOTHING;
SELECT is(taken('p'), '800', 'an end that is written by hand');
CALL full_again();

-- the index is made anew, and cleaned up
REINDEX INDEX egress_credential_pool;
SELECT is(taken('q'), 'NG004', 'after a REINDEX all are looked at again');
CALL full_again();
REINDEX INDEX CONCURRENTLY egress_credential_pool;
CALL full_again();
VACUUM FULL egress_credential;
CALL full_again();
SELECT ok(egress_release_credential('s-2000-1'), 'given back');
SELECT is(taken('q'), '2000', 'and what comes free then is found');
CALL full_again();
SELECT pages($$SELECT taken('nobody')$$) AS before \gset
DELETE FROM egress_lease WHERE egress_credential_id BETWEEN 2001 AND 2500;
DELETE FROM egress_credential WHERE egress_credential_id BETWEEN 2001 AND 2500;
CALL full_again();
SELECT cmp_ok(pages($$SELECT taken('nobody')$$), '>', :before::bigint + 400, 'what was deleted is stepped over');
VACUUM egress_credential;
CALL full_again();
SELECT cmp_ok(pages($$SELECT taken('nobody')$$), '<=', :before::bigint + 10, 'until VACUUM has taken it out');
SELECT pg_relation_size('egress_credential_pool') AS size \gset
DO $$ BEGIN
    FOR i IN 1..3000 LOOP
        UPDATE egress_credential SET active_connection_limit = 2 + i % 2 WHERE egress_credential_id = 5;
    END LOOP;
END $$;
SELECT is(pg_relation_size('egress_credential_pool'), :size::bigint, 'the index does not grow with changes');
TRUNCATE egress_lease CASCADE;
SELECT is(taken('r'), '-5', 'when all leases have gone the first is the first again');
SELECT cmp_ok(available(), '>', 4000::bigint, 'and the menu counts them all');

/* -------------------------------------------------------- own leases */

TRUNCATE egress_lease CASCADE;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT format('s-%s-%s', egress_credential_id, n), egress_credential_id, 1, 'ann', now(), n
FROM egress_credential, generate_series(1, 3) n WHERE egress_provider_id = 1 AND n <= active_connection_limit AND egress_credential_id <> 50;
BEGIN;
SELECT is(taken('own-1'), '50', 'taken in an open transaction');
SAVEPOINT before;
SELECT is(taken('own-2'), '50', 'and the last one');
SELECT is(taken('own-3'), 'NG004', 'full, counting its own');
SELECT is(taken('own-3'), 'NG004', 'and it knows');
ROLLBACK TO before;
SELECT is(taken('own-3'), '50', 'a rollback to a savepoint gives one back');
SELECT is(taken('own-4'), 'NG004', 'full again');
SELECT ok(egress_release_credential('own-1'), 'it gives one back itself');
SELECT is(taken('own-5'), '50', 'and takes it again');
SELECT is(available(), 0::bigint, 'its menu counts its own');
ROLLBACK;
SELECT is(available(), 2::bigint, 'after a rollback both are free');
SELECT is(taken('own-1') || ' ' || taken('own-2') || ' ' || taken('own-3'), '50 50 NG004', 'for everybody');

-- many acquires in one transaction look once at what they have filled
BEGIN;
DELETE FROM egress_lease;
UPDATE egress_credential SET active_connection_limit = 200 WHERE egress_provider_id = 2;
SELECT count(taken('many-' || n, 20)) FROM generate_series(1, 900) n \g /dev/null
SELECT cmp_ok(pages($$SELECT taken('many', 20)$$), '<=', 120::bigint, 'also where each credential has 200');
ROLLBACK;

/* ------------------------------------------- groups and ids in any order */

-- each in a database of its own would do: what matters is that the index has pages before a group, or an id, comes that is
-- before all that it has
CREATE FUNCTION wrong_menus() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT subject_id FROM egress_credential c WHERE egress_provider_id = 3 AND subject_type = 'user' GROUP BY subject_id
    HAVING sum(active_connection_limit) <>
           (SELECT available_connections FROM egress_available_gateways(c.subject_id) WHERE egress_gateway_id = 30)
$$;
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (3, 'order', 'custom'), (4, 'descending', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (30, 3, 'order'), (40, 4, 'descending');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (3, 'everyone'), (4, 'everyone');
ALTER TABLE egress_credential ALTER egress_credential_id RESTART WITH 20001;
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, limit_active_connections, active_connection_limit)
SELECT 3, 'u' || u || '-' || i, 'user', 'user ' || u, true, 1 FROM generate_series(1, 60) u, generate_series(1, 40) i;
SELECT is_empty('SELECT wrong_menus()', 'groups come in any order');
UPDATE egress_credential SET active_connection_limit = 2 WHERE egress_provider_id = 3;
SELECT is_empty('SELECT wrong_menus()', 'also when each is changed');
REINDEX INDEX egress_credential_pool;
SELECT is_empty('SELECT wrong_menus()', 'and after a REINDEX');

INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit)
SELECT -10 - i, 4, 'd' || i, 'everyone', true, 1 FROM generate_series(1, 2000) i;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit)
VALUES (-9223372036854775808, 4, 'first', 'everyone', true, 1), (9223372036854775807, 4, 'last', 'everyone', true, 1);
UPDATE egress_credential SET active_connection_limit = 2 WHERE egress_provider_id = 4;
UPDATE egress_credential SET active_connection_limit = 1 WHERE egress_provider_id = 4;
SELECT is(available(40), 2002::bigint, 'ids come in descending order');
SET statement_timeout = '60s';
SELECT is((SELECT string_agg(taken('first-' || n, 40), ' ' ORDER BY n) FROM generate_series(1, 3) n),
          '-9223372036854775808 -2010 -2009', 'the first is the lowest');
\o /dev/null
SELECT format('SELECT taken(%L, 40)', 'all-' || n) FROM generate_series(1, 1997) n \gexec
\o
SELECT is(taken('end-1', 40) || ' ' || taken('end-2', 40) || ' ' || taken('end-3', 40), '-11 9223372036854775807 NG004',
          'and the last the highest');
SELECT is(taken('end-4', 40), 'NG004', 'all are full');
DELETE FROM egress_lease WHERE egress_credential_id IN (-2010, -777, 9223372036854775807);
SELECT is(available(40), 3::bigint, 'three are given back');
SELECT is(taken('end-5', 40) || ' ' || taken('end-6', 40) || ' ' || taken('end-7', 40), '-2010 -777 9223372036854775807', 'and found');
RESET statement_timeout;

/* ---------------------------------------------- the access method */

CREATE TABLE elsewhere (id bigint, subject_type text, subject_id text, provider bigint);
SELECT throws_ok('CREATE INDEX ON elsewhere USING egress_pool (id)', '0A000', NULL, 'it is for one index only');
SELECT throws_ok('CREATE INDEX ON elsewhere USING egress_pool (id) INCLUDE (subject_type, subject_id, provider)', '0A000', NULL,
                 'with columns of its types');
SELECT throws_ok('CREATE INDEX ON elsewhere USING egress_pool (subject_id)', '42704', NULL, 'and for ids');
SELECT is_empty($$SELECT FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'egress_pool' AND NOT amvalidate(c.oid)$$,
                'its operator class is valid');
SET enable_seqscan = off;
CREATE FUNCTION plan_of(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN ' || statement;
END $$;
SELECT is_empty($$
    SELECT line FROM plan_of('SELECT FROM egress_credential WHERE egress_credential_id > 0 ORDER BY egress_credential_id, enabled') line
    WHERE line ~ 'egress_credential_pool'$$, 'no plan reads it');
SELECT * FROM finish();
