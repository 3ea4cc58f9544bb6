-- user_limit.sql -- egress_user_limit: the table, the words of NG008 and of the explanation, and what a limit costs
--
-- Which row counts, in menu, acquire and explanation, is in rules.sql, on random worlds; what sessions do at the same time in
-- test/isolation/specs/user_limit.spec.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES
    (1, 'Lanternway', 'custom'), (2, 'Mistral', 'custom'), (3, 'Sirocco', 'wireguard');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'ams'), (2, 2, 'ber'), (3, 3, 'cdg');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
SELECT egress_provider_id, 'everyone' FROM egress_provider;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit, private_key)
VALUES (1, 1, 'alpha', 'everyone', true, 20, NULL), (2, 2, 'beta', 'everyone', false, NULL, NULL),
       (3, 3, 'gamma', 'everyone', false, NULL, egress_generate_wireguard_key());

-- the menu of a user in one line
CREATE FUNCTION menu(u text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(coalesce(available_connections::text, '-'), ' ' ORDER BY egress_gateway_id) FROM egress_available_gateways(u)
$$;
-- how an acquire ends: the credential, or the error as psql shows it
CREATE FUNCTION acquire(u text, gateway bigint, session text, ttl interval DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    RETURN credential_name FROM egress_acquire_credential(u, NULL, gateway, session, ttl);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, detail, hint);
END $$;
CREATE FUNCTION said(u text, gateway bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', verdict, egress_credential_id, detail) FROM egress_explain_access(u, NULL, gateway)
$$;

/* ------------------------------------------------------------ the table */

SELECT lives_ok($$INSERT INTO egress_user_limit VALUES ('user', 'ana', 2), ('group', 'ana', 3), ('everyone', NULL, 0)$$,
                'a user, a group of the same name, and everyone');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('workspace', 'w', 1)$$, '23514', NULL, 'no workspace has a limit');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('user', NULL, 1)$$, '23514', NULL, 'a user is somebody');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('group', NULL, 1)$$, '23514', NULL, 'so is a group');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('everyone', 'all', 1)$$, '23514', NULL, 'everyone has no id');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('user', '', 1)$$, '23514', NULL, 'an id is not empty');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('user', repeat('x', 256), 1)$$, '23514', NULL, 'nor too long');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('user', 'bob', -1)$$, '23514', NULL, 'a limit is not negative');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('user', 'bob', NULL)$$, '23502', NULL, 'and not NULL: that is no row');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES (NULL, 'bob', 1)$$, '23502', NULL, 'whose it is has to be said');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('user', 'ana', 1)$$, '23505', NULL, 'a user has one');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('group', 'ana', 1)$$, '23505', NULL, 'a group has one');
SELECT throws_ok($$INSERT INTO egress_user_limit VALUES ('everyone', NULL, 1)$$, '23505', NULL, 'everyone has one, though its id is NULL');
SELECT lives_ok($$INSERT INTO egress_user_limit VALUES ('everyone', NULL, 5)
                  ON CONFLICT (subject_type, subject_id) DO UPDATE SET active_connection_limit = excluded.active_connection_limit$$,
                'and is found by ON CONFLICT');
SELECT lives_ok($$UPDATE egress_user_limit SET active_connection_limit = 2147483647 WHERE subject_type = 'everyone'$$,
                'the largest limit is the largest integer');
SELECT is(menu('zoe'), '20 2147483647 1', 'which leaves as much');
SELECT is(acquire('zoe', 2, 'z1'), 'beta', 'and may be taken');
SELECT is(menu('zoe'), '20 2147483646 1', 'of which one is gone then');
SELECT ok(egress_release_credential('z1'), '(it is given back)');
DELETE FROM egress_user_limit;

/* ------------------------------------------------------------- the menu */

SELECT is(menu('ana'), '20 - 1', 'without a limit of the user, what the credentials have: no limit is NULL');
INSERT INTO egress_user_limit VALUES ('group', 'ana', 0);
SELECT is(menu('ana'), '20 - 1', 'a group''s limit is none of a user who only has its name');
DELETE FROM egress_user_limit;
INSERT INTO egress_user_limit VALUES ('user', 'ana', 7);
SELECT is(menu('ana'), '7 7 1', 'with one, no more than that leaves; also where a credential has no limit');
SELECT is(menu('bob'), '20 - 1', 'another user''s is not touched');
SELECT is((SELECT count(acquire('ana', 2, 's' || i)) FROM generate_series(1, 6) i)::int, 6, '(six are taken)');
SELECT is(menu('ana'), '1 1 1', 'they are taken off');
SELECT is(acquire('ana', 3, 's7'), 'gamma', 'the last one, of a credential that is at each gateway once');
SELECT is(menu('ana'), '0 0 0', 'then none is left');
UPDATE egress_user_limit SET active_connection_limit = 3;
SELECT is(menu('ana'), '0 0 0', 'nor less than none, when the limit is lowered');
SELECT is((SELECT string_agg(DISTINCT verdict, ',') FROM egress_explain_access('ana')), 'user_limit', 'every gateway is explained by that');

/* ------------------------------------------------------------ the words */

SELECT matches(acquire('ana', 1, 'more'),
               '^NG008 \| user "ana" has as many connections as are allowed \| '
               'The limit of user "ana" in egress_user_limit is 3, and connections are held by sessions "s1", "s2", "s3", "s4", "s5" and 2 more. \| '
               'Try again when enough of these sessions have ended. An administrator can raise the limit in egress_user_limit.$', 'five sessions are named');
SELECT matches(said('ana', 1), '^user_limit \| the limit of user ''ana'' is 3, and user ''ana'' has 7 connections, by sessions ''s1'', ''s2'', ''s3'', ''s4'', ''s5'' '
               'and 2 more: raise it in egress_user_limit, or wait until enough of these have ended$', 'so does the explanation');
SELECT is((SELECT count(egress_release_credential('s' || i)) FROM generate_series(1, 6) i)::int, 6, '(six end)');
UPDATE egress_user_limit SET active_connection_limit = 1;
SELECT is(acquire('ana', 1, 'more'),
          'NG008 | user "ana" has as many connections as are allowed | '
          'The limit of user "ana" in egress_user_limit is 1, and connections are held by session "s7". | '
          'Try again when enough of these sessions have ended. An administrator can raise the limit in egress_user_limit.', 'one session');
SELECT is(said('ana', 3), 'user_limit | the limit of user ''ana'' is 1, and user ''ana'' has 1 connection, by session ''s7'': '
          'raise it in egress_user_limit, or wait until enough of these have ended', 'likewise');
UPDATE egress_user_limit SET active_connection_limit = 0;
SELECT ok(egress_release_credential('s7'), '(it ends)');
SELECT is(acquire('ana', 1, 'more'),
          'NG008 | user "ana" has as many connections as are allowed | The limit of user "ana" in egress_user_limit is 0. | An administrator can raise the limit in egress_user_limit.',
          'a limit of 0: no session that could end');
SELECT is(said('ana', 1), 'user_limit | the limit of user ''ana'' is 0: raise it in egress_user_limit', 'likewise');

-- whose limit it is
DELETE FROM egress_user_limit;
INSERT INTO egress_user_limit VALUES ('everyone', NULL, 1), ('group', 'staff', 0), ('group', 'Staff', 9), ('user', 'Ana', 9), ('group', 'ana', 9);
SELECT is(acquire('ana', 1, 's1'), 'alpha', 'ids are compared byte by byte');
SELECT is(acquire('ana', 2, 's2'),
          'NG008 | user "ana" has as many connections as are allowed | '
          'The limit of everyone in egress_user_limit is 1, and connections are held by session "s1". | '
          'Try again when enough of these sessions have ended. An administrator can raise the limit in egress_user_limit.', 'the limit of everyone is named');
SELECT is(said('ana', 2), 'user_limit | the limit of everyone is 1, and user ''ana'' has 1 connection, by session ''s1'': '
          'raise it in egress_user_limit, or wait until enough of these have ended', 'likewise');
SELECT is(said('bob', 2), 'available | 2 | credential 2 ''beta'' has no limit; the limit of everyone leaves the user 1 of 1',
          'it is that of each user, not of all together');
SELECT is(acquire('bob', 2, 'b1'), 'beta', 'so another one has a connection');
INSERT INTO egress_group_member VALUES ('ana', 'staff');
SELECT is(acquire('ana', 2, 's2'),
          'NG008 | user "ana" has as many connections as are allowed | '
          'The limit of group "staff" in egress_user_limit is 0, and connections are held by session "s1". | An administrator can raise the limit in egress_user_limit.', 'a group''s');
INSERT INTO egress_group_member VALUES ('ana', 'night');
INSERT INTO egress_user_limit VALUES ('group', 'night', 2);
SELECT is(said('ana', 1), 'available | 1 | credential 1 ''alpha'' has 19 of 20 connections free; the limit of group ''night'' leaves the user 1 of 2',
          'the largest of the groups');
SELECT is(acquire('ana', 2, 's2'), 'beta', 'is taken');

-- in the order of the verdicts: before at_limit, after all that is said of the gateway
UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = 0 WHERE egress_credential_id = 1;
SELECT matches(said('ana', 1), '^user_limit ', 'a user at the limit is told so also where the credentials are full');
SELECT matches(acquire('ana', 1, 's3'), '^NG008 ', 'by an acquire, too');
UPDATE egress_user_limit SET active_connection_limit = 3;
SELECT matches(said('ana', 1), '^at_limit ', 'one who is not is told about these');
SELECT matches(acquire('ana', 1, 's3'), '^NG004 ', 'likewise');
UPDATE egress_user_limit SET active_connection_limit = 0;
UPDATE egress_provider SET bench_after = 1 WHERE egress_provider_id = 2;
SELECT egress_report_failure('s2', 'credential') AS reported \gset
SELECT matches(said('ana', 2), '^user_limit ', 'that all credentials are benched comes after it, as that they are full');
SELECT matches(acquire('ana', 2, 's3'), '^NG008 ', 'likewise');
SELECT ok(egress_unbench(egress_credential_id => 2), '(it is no longer)');
SELECT egress_report_failure('s2', 'gateway') AS reported \gset
SELECT matches(said('ana', 2), '^benched ', 'that the gateway is benched comes first');
SELECT matches(acquire('ana', 2, 's3'), '^NG002 ', 'likewise');
SELECT ok(egress_unbench(egress_gateway_id => 2), '(it is no longer)');
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 1;
SELECT matches(said('ana', 1), '^gateway_disabled ', 'that the gateway is disabled comes first');
SELECT matches(acquire('ana', 1, 's3'), '^NG002 ', 'likewise');
SELECT matches(acquire('ana', 17, 's3'), '^NG001 ', 'and that there is none');
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 2;
SELECT matches(said('ana', 2), '^no_credential ', 'and that no credential fits');
SELECT matches(acquire('ana', 2, 's3'), '^NG003 ', 'likewise');
UPDATE egress_gateway SET enabled = true;
UPDATE egress_credential SET enabled = true;
SELECT is(acquire('ana', 1, 's1'), 'alpha', 'a session that asks again has what it has, above the limit, too');
SELECT matches(acquire('ana', 2, 's1'), '^NG005 ', 'and is told that it has something else');

-- ids that are no text, and any gateway
SELECT throws_ok($$SELECT egress_acquire_credential('ana', NULL::uuid, 2, gen_random_uuid())$$, 'NG008', NULL, 'ids that are no text');
SELECT throws_ok($$SELECT egress_acquire_gateway('ana', NULL, 's3')$$, 'NG008',
                 'user "ana" has as many connections as are allowed', 'a gateway by wishes');
SELECT throws_ok($$SELECT egress_acquire_gateway('ana', NULL::uuid, gen_random_uuid())$$, 'NG008', NULL, 'likewise with other ids');
SELECT throws_ok($$SELECT egress_acquire_gateway('ana', NULL, 's3', '{NL}')$$, 'NG002', NULL, 'that nothing fits the wish comes first');
SELECT is((SELECT count(*)::int FROM egress_available_gateways('ana'::egress_id)), 3, 'the menu has all');
SELECT is((SELECT string_agg(available_connections::text, ' ') FROM egress_available_gateways('ana'::egress_id)), '0 0 0', 'with none left');
SELECT is((SELECT string_agg(DISTINCT verdict, ' ') FROM egress_explain_access('ana'::egress_id)), 'user_limit', 'and is explained');

/* ------------------------------------- leases that expire, and cool down */

DO $$ BEGIN PERFORM egress_release_credential(session_id) FROM egress_lease; END $$;
DELETE FROM egress_user_limit;
INSERT INTO egress_user_limit VALUES ('user', 'ana', 1);
UPDATE egress_credential SET limit_active_connections = false, cool_down = '1 hour' WHERE egress_credential_id IN (1, 2);
SELECT is(acquire('ana', 1, 's1', '1 hour'), 'alpha', 'one with an end');
SELECT is(menu('ana'), '0 0 0', 'counts');
UPDATE egress_lease_expiry SET expires_at = clock_timestamp() - interval '1 second';
SELECT is(menu('ana'), '1 1 1', 'does not, when it has expired, also while its connection cools down');
SELECT matches(said('ana', 2), '^available .* leaves the user 1 of 1$', 'likewise');
SELECT is(acquire('ana', 2, 's2'), 'beta', 'so it is in nobody''s way');
SELECT is((SELECT release_reason::text FROM egress_lease_history WHERE session_id = 's1' ORDER BY egress_lease_history_id DESC LIMIT 1),
          'expired', 'but ended');
SELECT is((SELECT count(*)::int FROM egress_lease WHERE cooling AND egress_credential_id = 1 AND user_slot IS NULL AND user_id <> 'ana'), 1,
          'and its connection cools down, for no user');
SELECT ok(egress_release_credential('s2'), 'one that is given back');
SELECT is(menu('ana'), '1 1 1', 'is free for the user, though it cools down, too');
SELECT is((SELECT count(*)::int FROM egress_lease WHERE cooling), 2, '(it does)');
SELECT is(acquire('ana', 1, 's3'), 'alpha', 'and is taken');
SELECT matches(acquire('ana', 2, 's4'), 'held by session "s3"', 'sessions are named that hold one, no other');

-- one that this transaction has ended, and one that it has taken, count as it has left them
BEGIN;
SELECT ok(egress_release_credential('s3'), 'in one transaction: given back');
SELECT is(acquire('ana', 2, 's4'), 'beta', 'and taken');
SELECT matches(acquire('ana', 1, 's3'), 'held by session "s4"', 'and at the limit');
UPDATE egress_user_limit SET active_connection_limit = 2;
SELECT is(acquire('ana', 1, 's3'), 'alpha', 'by the limit that it has set itself');
ROLLBACK;
SELECT is((SELECT string_agg(session_id, ' ') FROM egress_lease WHERE NOT cooling), 's3', 'and it is as before');

-- in one statement, too: each call sees what the ones before it have done
SELECT is((SELECT string_agg(left(acquire('ana', 2, 's' || i), 5), ' ') FROM generate_series(4, 6) i), 'NG008 NG008 NG008', 'at the limit');
UPDATE egress_user_limit SET active_connection_limit = 3;
SELECT is((SELECT string_agg(left(acquire('ana', 2, 's' || i), 5), ' ') FROM generate_series(4, 6) i), 'beta beta NG008', 'up to it');

/* ------------------------------------------------------------- what it costs */

-- pages that a statement visits
CREATE FUNCTION pages(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    explained jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || statement INTO explained;
    RETURN (explained->0->'Plan'->>'Shared Hit Blocks')::bigint + (explained->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;
CREATE TABLE cost (what text, call text, pages bigint);
CREATE FUNCTION measure(what text, u text) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
    acquire text := format('SELECT egress_acquire_credential(%L, NULL, 2, ''measured'')', u);
BEGIN
    INSERT INTO cost VALUES (what, 'acquire', pages(acquire));
    INSERT INTO cost VALUES (what, 'release', pages($$SELECT egress_release_credential('measured')$$));
    INSERT INTO cost VALUES (what, 'acquire_gateway',
                             pages(format($$SELECT egress_acquire_gateway(%L, NULL, 'measured', providers => '{Mistral}')$$, u)));
    PERFORM egress_release_credential('measured');
END $function$;
UPDATE egress_credential SET cool_down = NULL;
DO $$ BEGIN PERFORM egress_release_credential(session_id) FROM egress_lease; END $$;
TRUNCATE egress_user_limit, egress_group_member;
INSERT INTO egress_user_limit VALUES ('user', 'one', 1), ('user', 'many', 100000), ('user', 'half', 100000);
DO $$ BEGIN PERFORM measure('once', 'one'); TRUNCATE cost; PERFORM measure('limit 1, nobody else', 'one'); END $$;

-- 50,000 leases of a user in every second slot, and 100,000 limits and groups of others
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, user_slot)
SELECT 'half-' || i, 2, 2, 'half', now(), 2 * i FROM generate_series(1, 50000) i;
INSERT INTO egress_user_limit SELECT 'user', 'user ' || i, 1 FROM generate_series(1, 50000) i;
INSERT INTO egress_user_limit SELECT 'group', 'group ' || i, 1 FROM generate_series(1, 50000) i;
INSERT INTO egress_group_member SELECT 'other ' || i, 'group ' || i FROM generate_series(1, 50000) i;
DO $$ BEGIN
    -- once for what the first look after so many rows does
    PERFORM measure('first look', 'one');
    DELETE FROM cost WHERE what = 'first look';
    PERFORM measure('limit 1, 50,000 leases of others', 'one');
    PERFORM measure('limit 100,000', 'many');
    PERFORM measure('limit 100,000, half full', 'half');
END $$;
SELECT cmp_ok(more.pages, '<=', base.pages + 24,
              format('%s, %s: %s pages, not many more than the %s with a limit of 1 and nobody else',
                     more.call, more.what, more.pages, base.pages))
FROM cost more JOIN cost base ON base.call = more.call AND base.what = 'limit 1, nobody else'
WHERE more.what <> base.what ORDER BY more.call, more.what;

-- short locks only: none is left when a call returns, also one that is refused
BEGIN;
SELECT is(acquire('one', 2, 'open'), 'beta', 'a lease, its transaction still open');
SELECT matches(acquire('one', 2, 'open 2'), '^NG008 ', 'and one that is refused');
SELECT is(acquire('nobody', 2, 'open 3'), 'beta', 'and one of a user without a limit');
SELECT is(count(*), 0::bigint, 'no lock of ours lives longer than the call')
FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;

SELECT * FROM finish();
