-- cool_down: a connection that was given back counts as held for a while, whatever ended its lease.
\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only on
BEGIN;
CREATE EXTENSION egress;
SELECT no_plan();

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'p', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (11, 1, 'a'), (12, 1, 'b');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit, cool_down)
VALUES (1, 1, 'c', 'everyone', true, 2, '1 hour');

CREATE FUNCTION acquire(session text, gateway bigint DEFAULT 11, ttl interval DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN egress_credential_id FROM egress_acquire_credential('ann', NULL, gateway, session, ttl);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE FUNCTION free(gateway bigint DEFAULT 11) RETURNS bigint LANGUAGE sql AS
    $$SELECT available_connections FROM egress_available_gateways('ann') WHERE egress_gateway_id = gateway$$;
CREATE FUNCTION explained() RETURNS text LANGUAGE sql AS
    $$SELECT verdict || ': ' || regexp_replace(detail, '\d{4}-\d\d-\d\d [0-9:.]+[0-9+-]+', 'T') FROM egress_explain_access('ann', NULL, 11)$$;
-- what the refusal of an acquire says
CREATE FUNCTION refused(session text, gateway bigint DEFAULT 11) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    PERFORM egress_acquire_credential('ann', NULL, gateway, session);
    RETURN 'not refused';
EXCEPTION WHEN SQLSTATE 'NG004' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(detail, '\d{4}-\d\d-\d\d [0-9:.]+ ?[A-Z0-9+-]+', 'T') || ' ' || hint;
END $$;
-- time passes for what has ended
CREATE FUNCTION elapse(by interval) RETURNS void LANGUAGE sql AS
    'UPDATE egress_lease SET acquired_at = acquired_at - by WHERE cooling;
     UPDATE egress_lease_expiry SET expires_at = expires_at - by';

SELECT is(free(), 2::bigint, 'two connections');
SELECT is(acquire('a'), '1', 'one is taken');
SELECT is(egress_release_credential('a'), true, 'and given back');
SELECT is(free(), 1::bigint, 'it counts as held');
SELECT is(explained(), 'available: credential 1 ''c'' has 1 of 2 connections free', 'in the explanation, too');
SELECT is(egress_release_credential('a'), false, 'the session has no lease');
SELECT is((SELECT count(*) FROM egress_connection), 0::bigint, 'nobody is connected');
SELECT is((SELECT count(*) FROM egress_connections_at(clock_timestamp())), 0::bigint, '... now');
SELECT is((SELECT string_agg(session_id || ' ' || release_reason, ', ') FROM egress_lease_history), 'a released',
          'the history has one row');
SELECT is((SELECT count(*) FROM egress_lease WHERE user_id = 'ann'), 0::bigint, 'what cools down has no user');
SELECT is((SELECT row(active_connections, available_connections, cooling_connections)::text FROM egress_credential_usage), '(0,1,1)',
          'the usage says that none is live, one available, and one cools down');
SELECT is(acquire('a'), '1', 'the session takes the other one');
SELECT is(acquire('b'), 'NG004', 'that was the last');
SELECT is(explained(), 'at_limit: credential 1 ''c'' is at its limit of 2, with 1 in use and 1 that cools down until T: '
          'raise a limit, or wait until a session ends, or until then', 'the explanation says why');
SELECT is(refused('b'), '1 credential fits user "ann" without a workspace, and it is at its limit. The next connection that cools down is '
          'free at T. Try again then, or when a session has ended, or raise a limit.', '... so does NG004');
SELECT elapse('59 minutes');
SELECT is(acquire('b'), 'NG004', 'nearly an hour later, too');
SELECT elapse('2 minutes');
SELECT is(free(), 1::bigint, 'after an hour it is free');
SELECT is(acquire('b'), '1', 'and taken');
SELECT is((SELECT count(*) FROM egress_lease), 2::bigint, 'in the place of what held it');
SELECT is((SELECT count(*) FROM egress_lease_history), 1::bigint, 'of which the history says nothing more');

-- a change counts at once
SELECT egress_release_credential('b') AS released \gset
SELECT is(acquire('c'), 'NG004', 'b''s cools down');
UPDATE egress_credential SET cool_down = NULL;
SELECT is(free(), 1::bigint, 'not without a cool_down');
SELECT is(acquire('c'), '1', '... for an acquire either');
SELECT egress_release_credential('c') AS released \gset
UPDATE egress_credential SET cool_down = '1 hour';
SELECT is(acquire('c'), '1', 'what was given back without one does not cool down');
UPDATE egress_credential SET active_connection_limit = 3;
SELECT egress_release_credential('c') AS released \gset
UPDATE egress_credential SET active_connection_limit = 1;
SELECT is(acquire('d'), 'NG004', 'a lower limit: one in use, one cools down');
SELECT egress_release_credential('a') AS released \gset
UPDATE egress_credential SET active_connection_limit = 2;
SELECT is(acquire('d'), 'NG004', 'two cool down');
SELECT elapse('2 hours');
SELECT is(acquire('d'), '1', 'until it is over');
SELECT is(acquire('e'), '1', '... for both');
SELECT is(acquire('f'), 'NG004', '... and no more');

-- whatever ends the lease
CREATE TABLE session (id text PRIMARY KEY);
INSERT INTO session VALUES ('d');
SELECT egress_attach_sessions('session', 'id') AS attached \gset
DELETE FROM session;
SELECT is(free(), 0::bigint, 'the end of a session');
SELECT elapse('2 hours');
SELECT is(free(), 1::bigint, '... cools down');
SELECT is((SELECT count(*) FROM egress_end_leases(orphaned => true)), 1::bigint, 'an administrator');
SELECT is(free(), 1::bigint, '... too: e''s connection is held');
SELECT is(acquire('g', ttl => '1 minute'), '1', 'with a ttl');
SELECT is(acquire('h'), 'NG004', '...');
UPDATE egress_lease_expiry SET expires_at = clock_timestamp() - interval '1 second' WHERE session_id = 'g';
SELECT is(acquire('h'), 'NG004', 'an expired lease''s connection cools down');
SELECT is((SELECT count(*) FROM egress_connection), 0::bigint, '... though nobody is connected');
SELECT is(egress_expire_leases(), 1::bigint, 'a sweep ends it');
SELECT is(egress_expire_leases(), 0::bigint, '... once');
SELECT is(acquire('h'), 'NG004', '... and it cools down as before');
SELECT is((SELECT count(*) FROM egress_lease WHERE cooling), 2::bigint, 'two connections do');
SELECT elapse('2 hours');
SELECT is(egress_expire_leases(), 0::bigint, 'what has cooled down is no lease that a sweep ends');
SELECT is(acquire('g', ttl => '1 minute'), '1', 'the same session');
UPDATE egress_lease_expiry SET expires_at = clock_timestamp() - interval '1 second';
SELECT is(acquire('g'), '1', '... acquires again');
SELECT is(acquire('h'), 'NG004', '... beside what cools down');

-- what holds a connection that cools down has an id that is no session's
SELECT egress_release_credential('g') AS released \gset
SELECT session_id AS cooling FROM egress_lease WHERE cooling ORDER BY acquired_at DESC LIMIT 1 \gset
SELECT is(egress_release_credential(:'cooling'), false, 'nobody can release it');
SELECT is(egress_renew_lease(:'cooling', '1 hour'), NULL, '... nor renew it');
SELECT is(acquire(:'cooling'), '22023', '... nor acquire in its name');
SELECT is((SELECT count(*) FROM egress_lease WHERE session_id = :'cooling' AND cooling), 1::bigint, '... and it goes on');
SELECT elapse('2 hours');
SELECT is(acquire('g'), '1', 'until it is over');

-- rolled back, nothing cools down
SELECT elapse('2 hours');
SAVEPOINT before;
SELECT egress_release_credential('g') AS released \gset
SELECT is((SELECT count(*) FROM egress_lease WHERE cooling AND acquired_at > clock_timestamp() - interval '1 hour'), 1::bigint, 'in a savepoint');
ROLLBACK TO before;
SELECT is((SELECT count(*) FROM egress_lease WHERE cooling AND acquired_at > clock_timestamp() - interval '1 hour'), 0::bigint, '... rolled back');

-- at each gateway once, without a limit
UPDATE egress_credential SET limit_active_connections = false, once_per_gateway = true;
SELECT egress_release_credential('g') AS released \gset
SELECT is(free(), 0::bigint, 'the place cools down');
SELECT is(free(12), 1::bigint, '... not the other gateway''s');
SELECT is(acquire('i'), 'NG004', 'nobody gets it');
SELECT is(explained(), 'at_limit: credential 1 ''c'' is at the gateway already, where it may be once, or was until a moment ago: '
          '1 of its connections cools down until T: add a credential, or wait until a session ends, or until then',
          '... the explanation says why');
SELECT is(refused('i'), '1 credential fits user "ann" without a workspace, and it is at the gateway, or was until a moment ago, where '
          'it may be once. The next connection that cools down is free at T. Try again then, or add a credential.', '... so does NG004');
SELECT is(acquire('i', 12), '1', '... there one does');
SELECT elapse('2 hours');
SELECT is(acquire('j'), '1', 'until it is over');

-- what cools down keeps its gateway, and not its credential
SELECT egress_release_credential('i'), egress_release_credential('j') \gset released_
SELECT throws_ok('DELETE FROM egress_gateway WHERE egress_gateway_id = 12', '23503',
    'gateway 12 cannot be deleted while a connection cools down there', 'a gateway stays');
SAVEPOINT over;
SELECT elapse('2 hours');
SELECT lives_ok('DELETE FROM egress_gateway WHERE egress_gateway_id = 12', '... until it is over');
ROLLBACK TO over;
SELECT lives_ok('DELETE FROM egress_credential', 'a credential goes');
SELECT is((SELECT count(*) FROM egress_lease), 0::bigint, '... with what held its connections');
SELECT throws_ok($$UPDATE egress_provider SET name = name; INSERT INTO egress_credential (egress_provider_id, name, subject_type, cool_down)
    VALUES (1, 'x', 'everyone', '0')$$, '23514', NULL, 'a cool_down is above 0');

-- a big pool: what is full and cools down is found free when it has
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
                               active_connection_limit, cool_down)
SELECT n, 1, 'c', 'everyone', true, 1, '1 hour' FROM generate_series(101, 150) n;
SELECT is((SELECT count(DISTINCT acquire('p' || n)) FROM generate_series(1, 50) n), 50::bigint, 'a pool of 50 is taken');
SELECT is(acquire('q'), 'NG004', '... to the last');
SELECT egress_release_credential('p7') AS released \gset
SELECT is(acquire('q'), 'NG004', 'one cools down');
SELECT is(free(), 0::bigint, '... in the menu, too');
SELECT elapse('2 hours');
SELECT is(free(), 1::bigint, 'until it is over');
SELECT is(acquire('q'), '107', '... and that one is found');

SELECT * FROM finish();
ROLLBACK;
