-- scaling.sql -- every look-up costs what the user has, not what is in the tables
--
-- One user and her credentials, first alone, then among 1,000,000 users, 100,000 credentials, 20,000 gateways,
-- 1,000,000 leases and 40,000 reports of others. The same calls are made in both worlds, and what they read is counted by PostgreSQL:
-- scans and rows of the extension's tables, and buffers. Nothing is timed. No statistics are gathered in between.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

CREATE TABLE sessions (id text PRIMARY KEY);
CREATE TRIGGER ended AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');

/* -------------------------------------------------------- what ann has */

-- of each provider that she can use, something else: selected gateways, all of them, a pool that is full
INSERT INTO egress_provider (egress_provider_id, name, provider_type)
VALUES (1, 'selected', 'custom'), (2, 'all', 'custom'), (3, 'full', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
SELECT p * 10 + n, p, 'g' || n FROM generate_series(1, 3) p, generate_series(1, 4) n;
INSERT INTO egress_group_member VALUES ('ann', 'staff'), ('ann', 'dev');
INSERT INTO egress_provider_mapping VALUES
    (1, 1, 'user', 'ann', true, false), (2, 2, 'group', 'staff', true, true), (3, 3, 'workspace', 'desk', true, true);
INSERT INTO egress_provider_mapping_gateway VALUES (1, 11), (1, 12);
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, allow_all_gateways,
                               limit_active_connections, active_connection_limit) VALUES
    (1, 1, 'own', 'user', 'ann', true, true, 5), (2, 1, 'of dev', 'group', 'dev', false, true, 2),
    (3, 2, 'of all', 'everyone', NULL, true, false, NULL),
    (4, 3, 'pool', 'group', 'staff', true, true, 2), (5, 3, 'pool', 'user', 'ann', true, true, 1),
    (6, 3, 'pool', 'workspace', 'desk', true, true, 3);
INSERT INTO egress_credential_gateway VALUES (2, 12);
SELECT count(egress_acquire_credential('ann', 'desk', 31, 'full' || n)) AS leases FROM generate_series(1, 6) n \gset
SELECT count(egress_acquire_credential('ann', 'desk', 21, 'live')) AS leases \gset
INSERT INTO sessions VALUES ('live');
-- and somebody with one gateway of the many that the mapping and the credential will select, and with a credential of
-- a high limit, of which half will be in use
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (4, 'hot', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (41, 4, 'g');
INSERT INTO egress_provider_mapping VALUES (4, 4, 'user', 'hot', true, false);
INSERT INTO egress_provider_mapping_gateway VALUES (4, 41);
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, allow_all_gateways,
                               limit_active_connections, active_connection_limit)
VALUES (7, 4, 'hot', 'user', 'hot', false, true, 100000);
INSERT INTO egress_credential_gateway VALUES (7, 41);
-- and a gateway that somebody could not connect to
INSERT INTO egress_report (egress_gateway_id, session_id, reported_at) VALUES (14, 'elsewhere', now());

/* ------------------------------------------------------ what is counted */

-- the calls, as functions, so that all they do is inside one plan node, and an error is a result
CREATE FUNCTION menu(u text, w text) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM egress_available_gateways(u, w)';
CREATE FUNCTION acquire(u text, gateway bigint, session text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN egress_credential_id FROM egress_acquire_credential(u, 'desk', gateway, session);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE FUNCTION release(session text) RETURNS boolean LANGUAGE sql AS 'SELECT egress_release_credential(session)';
CREATE FUNCTION fail(session text) RETURNS text LANGUAGE sql AS $$ SELECT 'done' || egress_report_failure(session, 'gateway')::text $$;
CREATE FUNCTION succeed(session text) RETURNS text LANGUAGE sql AS $$ SELECT 'done' || egress_report_success(session)::text $$;
CREATE FUNCTION end_session(session text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM sessions WHERE id = session;
    RETURN count(*) FROM egress_lease WHERE session_id = session;
END $$;

CREATE TABLE calls (nr int PRIMARY KEY, call text, answer text);
INSERT INTO calls VALUES
    (1, $$menu('ann', 'desk')$$, '10'),
    (2, $$menu('ann', NULL)$$, '6'),
    (3, $$menu('nobody', NULL)$$, '0'),
    (4, $$acquire('ann', 11, 'new')$$, '1'),           -- limited
    (5, $$acquire('ann', 12, 'new')$$, '1'),           -- limited, two that fit
    (6, $$acquire('ann', 21, 'new')$$, '3'),           -- not limited
    (7, $$acquire('ann', 21, 'live')$$, '3'),          -- asked again
    (8, $$acquire('ann', 31, 'new')$$, 'NG004'),
    (9, $$acquire('ann', 13, 'new')$$, 'NG002'),
    (10, $$acquire('ann', 99, 'new')$$, 'NG001'),
    (11, $$release('live')$$, 'true'),
    (12, $$release('none')$$, 'false'),
    (13, $$end_session('live')$$, '0'),
    (14, $$acquire('hot', 41, 'new')$$, '7'),
    (15, $$fail('live')$$, 'done'),
    (16, $$succeed('live')$$, 'done');

CREATE FUNCTION counters(OUT seq_scans bigint, OUT index_scans bigint, OUT rows_read bigint, OUT rows_written bigint)
LANGUAGE sql AS $$
    SELECT sum(seq_scan), sum(idx_scan), sum(idx_tup_fetch) + sum(seq_tup_read),
           sum(n_tup_ins) + sum(n_tup_del) + sum(n_tup_upd)
    FROM pg_stat_xact_all_tables WHERE schemaname = 'vpn'
$$;

CREATE TABLE costs (world text, nr int, answer text,
                    seq_scans bigint, index_scans bigint, rows_read bigint, rows_written bigint, buffers bigint);

-- Makes a call, and undoes what it did.
CREATE FUNCTION undone(call text, OUT answer text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT ' || call INTO answer;
    RAISE SQLSTATE 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
END $$;
-- Counts what each call reads and writes. It was made before, so that what the session keeps of the catalogs is read.
CREATE FUNCTION measure(this_world text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c calls;
    cost costs;
    before record;
    after record;
    plan json;
BEGIN
    FOR c IN SELECT * FROM calls ORDER BY nr LOOP
        cost := NULL;
        cost.world := this_world;
        cost.nr := c.nr;
        PERFORM undone(c.call);
        cost.answer := undone(c.call);
        BEGIN
            SELECT * INTO before FROM counters();
            EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT ' || c.call INTO plan;
            SELECT * INTO after FROM counters();
            cost.seq_scans := after.seq_scans - before.seq_scans;
            cost.index_scans := after.index_scans - before.index_scans;
            cost.rows_read := after.rows_read - before.rows_read;
            cost.rows_written := after.rows_written - before.rows_written;
            cost.buffers := (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint
                            + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
            RAISE SQLSTATE 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
        END;
        INSERT INTO costs SELECT cost.*;
    END LOOP;
END $$;

SELECT measure('small');

/* ------------------------------------------------------ everybody else */

-- in bulk: without triggers and checks of foreign keys, so what a trigger fills in is given
SET LOCAL session_replication_role = replica;
SET LOCAL synchronous_commit = off;

INSERT INTO egress_provider (egress_provider_id, name, provider_type)
SELECT n, 'p' || n, 'custom' FROM generate_series(5, 200) n;
-- 20,000 gateways, 3,000 of them ann's first provider's
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, provider_type)
SELECT n, CASE WHEN n <= 4000 THEN 1 ELSE 5 + n % 196 END, 'g' || n, 'c' || n % 50, 'c' || n % 500, 'custom'
FROM generate_series(1001, 21000) n;
-- 1,000,000 users, each in a group, 100,000 of them in one of ann's
INSERT INTO egress_group_member
SELECT 'u' || lpad(n::text, 7, '0'), CASE WHEN n % 10 = 0 THEN 'dev' ELSE 'team ' || n % 5000 END
FROM generate_series(1, 1000000) n;
-- 100,000 of everything that names them, a third of it at ann's providers, with selections of her gateways too
INSERT INTO egress_provider_mapping
SELECT 1000 + n, CASE WHEN n % 3 = 0 THEN 1 + n % 2 ELSE 5 + n % 196 END,
       CASE WHEN n % 2 = 0 THEN 'user' ELSE 'workspace' END::egress_subject_type, 'u' || lpad(n::text, 7, '0'),
       true, n % 5 = 0
FROM generate_series(1, 100000) n;
INSERT INTO egress_provider_mapping_gateway
SELECT egress_provider_mapping_id, 11 + n, 1
FROM egress_provider_mapping, generate_series(0, 1) n WHERE egress_provider_id = 1 AND egress_provider_mapping_id > 1000;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, allow_all_gateways,
                               limit_active_connections, active_connection_limit, provider_type)
SELECT 1000 + n, CASE WHEN n % 3 = 0 THEN 1 + n % 2 ELSE 5 + n % 196 END, 'c' || n,
       CASE WHEN n % 2 = 0 THEN 'user' ELSE 'group' END::egress_subject_type, 'u' || lpad(n::text, 7, '0'),
       n % 5 = 0, true, 20, 'custom'
FROM generate_series(1, 100000) n;
INSERT INTO egress_credential_gateway
SELECT egress_credential_id, 11 + n, 1
FROM egress_credential, generate_series(0, 1) n WHERE egress_provider_id = 1 AND egress_credential_id > 1000;
-- 1,000,000 leases, ten a credential, every fifth through a gateway of ann's
INSERT INTO egress_lease
SELECT 's' || lpad(n::text, 7, '0'), 1001 + n / 10, CASE WHEN n % 5 = 0 THEN 11 ELSE 1001 + n / 50 END,
       'u' || lpad((n / 10)::text, 7, '0'), 'desk', now(), 1 + n % 10
FROM generate_series(0, 999999) n;
-- 1,000 more gateways that the hot mapping and the hot credential select
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type)
SELECT n, 4, 'g' || n, 'custom' FROM generate_series(30001, 31000) n;
INSERT INTO egress_provider_mapping_gateway SELECT 4, n, 4 FROM generate_series(30001, 31000) n;
INSERT INTO egress_credential_gateway SELECT 7, n, 4 FROM generate_series(30001, 31000) n;
-- every other of the 100,000 connections of the hot credential
INSERT INTO egress_lease SELECT 'h' || lpad(n::text, 7, '0'), 7, 41, 'hot', NULL, now(), n FROM generate_series(2, 100000, 2) n;
-- and some that have ended
INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                  provider_name, user_id, acquired_at, released_at, release_reason)
SELECT 's' || n, 1, 'c', 11, 'g', 'p', 'ann', now(), now(), 'released' FROM generate_series(1, 100000) n;
-- of all the gateways and of a fifth of the credentials there was a report
INSERT INTO egress_report (egress_gateway_id, egress_credential_id, session_id, reported_at)
SELECT gateway_id, credential_id, 's', now()
FROM (SELECT egress_gateway_id, NULL FROM egress_gateway WHERE egress_gateway_id > 1000
      UNION ALL SELECT NULL, egress_credential_id FROM egress_credential WHERE egress_credential_id BETWEEN 1001 AND 21000) r (gateway_id, credential_id);
INSERT INTO sessions SELECT 's' || lpad(n::text, 7, '0') FROM generate_series(1, 100000) n;

SET LOCAL session_replication_role = origin;

SELECT cmp_ok(has, '>=', wants, what || ' of the big world')
FROM (VALUES ((SELECT count(DISTINCT user_id) FROM egress_group_member), 1000000::bigint, 'users'),
             ((SELECT count(*) FROM egress_credential), 100000, 'credentials'),
             ((SELECT count(*) FROM egress_gateway), 20000, 'gateways'),
             ((SELECT count(*) FROM egress_lease), 1000000, 'leases'),
             ((SELECT count(*) FROM egress_report), 40000, 'reports')) big (has, wants, what);

SELECT measure('big');

/* ----------------------------------------------------------- comparison */

CREATE VIEW compared AS
SELECT c.nr, c.call, c.answer AS expected, s AS small, b AS big
FROM calls c JOIN costs s ON s.nr = c.nr AND s.world = 'small' JOIN costs b ON b.nr = c.nr AND b.world = 'big';

SELECT is((big).answer, expected, call || ' is the same in the big world') FROM compared ORDER BY nr;
SELECT is((small).answer, expected, call || ' was that in the small one') FROM compared ORDER BY nr;
SELECT is((big).seq_scans, 0::bigint, call || ' scans no table') FROM compared ORDER BY nr;
SELECT is((big).rows_written, (small).rows_written, call || ' writes as many rows') FROM compared ORDER BY nr;
-- the search for a free slot begins at random, and looks at one lease when that slot is held
SELECT cmp_ok((big).rows_read, '<=', (small).rows_read + CASE call WHEN $$acquire('hot', 41, 'new')$$ THEN 1 ELSE 0 END,
              call || ' reads no more rows')
FROM compared ORDER BY nr;
-- An index of a million entries is two levels deeper than one of a page. Of the lease's indexes and the history's, each
-- row written descends at most four; of the few buffers more, some are maps of free space.
SELECT cmp_ok((big).buffers, '<=', (small).buffers + 2 * ((big).index_scans + 4 * (big).rows_written) + 4,
              format('%s reads %s buffers, where %s were read', call, (big).buffers, (small).buffers))
FROM compared ORDER BY nr;
-- what was counted is what the calls read: each reads something
SELECT is_empty($$
    SELECT call FROM compared WHERE (small).index_scans < 1 OR (big).index_scans < 1 OR (small).buffers < 1$$,
    'the counters count');

-- What sessions took and gave back leaves dead entries in the index until VACUUM comes. They lie where the search for
-- a free slot began, at random, so that a later search does not step over all of them.
SELECT bool_and(acquire('hot', 41, 'worn') = '7' AND release('worn')) AS worn FROM generate_series(1, 500) \gset
SELECT measure('worn');
SELECT ok(:'worn', 'a connection was taken and given back many times');
SELECT cmp_ok(w.buffers, '<=', b.buffers + 20,
              format('after that, an acquire reads %s buffers, where %s were read', w.buffers, b.buffers))
FROM costs w JOIN costs b USING (nr) JOIN calls USING (nr)
WHERE w.world = 'worn' AND b.world = 'big' AND call = $$acquire('hot', 41, 'new')$$;

/* ------------------------------------------------- the views for people */

-- the tables that a plan reads from end to end
CREATE FUNCTION scanned(query text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN ARRAY(SELECT name #>> '{}'
                 FROM jsonb_path_query(plan, 'strict $.** ? (@."Node Type" == "Seq Scan")."Relation Name"') name);
END $$;
CREATE TABLE queries (query text);
INSERT INTO queries VALUES
    ('SELECT * FROM egress_credential_usage WHERE egress_credential_id = 1001'),
    ('SELECT * FROM egress_gateway_usage WHERE egress_gateway_id = 1501'),
    ($$SELECT * FROM egress_connection WHERE session_id = 'live'$$),
    ('SELECT * FROM egress_connection WHERE egress_credential_id = 1001'),
    ('SELECT * FROM egress_connection WHERE egress_gateway_id = 1501'),
    ($$SELECT * FROM egress_connection WHERE user_id = 'ann'$$);
SELECT ok('egress_lease' = ANY (scanned($$SELECT * FROM egress_connection WHERE workspace_id = 'desktop'$$)),
          'a scan would be seen');
SELECT ok('egress_lease' <> ALL (scanned(query)), query || ' does not scan the leases, without statistics')
FROM queries;
ANALYZE egress_lease, egress_credential, egress_gateway,
        egress_credential_gateway, egress_provider_mapping, egress_provider_mapping_gateway;
SELECT ok(NOT scanned(query) && '{egress_lease,egress_credential,egress_gateway}',
          query || ' scans no large table, with statistics')
FROM queries;

/* -------------------------------------------------- the administrator */

-- deletions look for what refers to the row, and find by an index that there is nothing, or what there is
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (900001, 1, 'unused');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type)
VALUES (900001, 1, 'unused', 'everyone');
INSERT INTO egress_credential_gateway VALUES (900001, 900001);
INSERT INTO egress_provider_mapping_gateway VALUES (1, 900001);
SELECT seq_scans AS scans_before FROM counters() \gset
DELETE FROM egress_credential WHERE egress_credential_id = 900001;
DELETE FROM egress_gateway WHERE egress_gateway_id = 900001;
SELECT throws_ok('DELETE FROM egress_credential WHERE egress_credential_id = 1001', '23503', NULL,
                 'a credential in use is found to be so');
SELECT throws_ok('DELETE FROM egress_gateway WHERE egress_gateway_id = 1501', '23503', NULL,
                 'a gateway in use too');
SELECT is((SELECT seq_scans FROM counters()), :scans_before::bigint, 'deletions scan no table');

SELECT * FROM finish();
ROLLBACK;
