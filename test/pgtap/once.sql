-- once.sql -- once_per_gateway, in one session: its default, and what the menu, the explanation and an acquire say of it
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

-- provider 1 has keys, provider 2 anything
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES
    (1, 'Lanternway', 'wireguard'), (2, 'Quillport', 'custom'), (3, 'Birch', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
    SELECT i, 1, 'key ' || i, E'[Interface]\nAddress = 10.0.0.1/32\n[Peer]\nPublicKey = kz4N+i+CzCforkH92fMX6BaO9jOViIl3SfoyT4dMQTM=\n'
    FROM generate_series(1, 3) i;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (11, 2, 'any 1'), (12, 2, 'any 2');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone');

CREATE FUNCTION acquire(gateway bigint, session text) RETURNS bigint LANGUAGE sql AS
    $$ SELECT egress_credential_id FROM egress_acquire_credential('ana', NULL, gateway, session) $$;
CREATE FUNCTION release(session text) RETURNS boolean LANGUAGE sql AS $$ SELECT egress_release_credential(session) $$;

-- available_connections of these gateways
CREATE FUNCTION menu(VARIADIC gateways bigint[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(coalesce(available_connections::text, 'unlimited'), ' ' ORDER BY egress_gateway_id)
    FROM egress_available_gateways('ana') WHERE egress_gateway_id = ANY (gateways)
$$;
CREATE FUNCTION explain(gateway bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s: %s', verdict, coalesce(egress_credential_id::text, 'none'), detail)
    FROM egress_explain_access('ana', NULL, gateway)
$$;

-- everything that an acquire that is refused says
CREATE FUNCTION refusal(gateway bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    PERFORM acquire(gateway, 'refused');
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', SQLSTATE, SQLERRM, detail, hint);
END
$$;

/* ------------------------------------------------------------ the default */

INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key, address)
    SELECT i, 1, 'key ' || i, 'everyone', egress_generate_wireguard_key(), '10.1.0.' || i FROM generate_series(1, 2) i;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password, once_per_gateway)
    VALUES (31, 3, 'account', 'everyone', 'u', 'p', DEFAULT), (32, 3, 'account 2', 'everyone', 'u', 'p', true),
        (33, 3, 'account 3', 'everyone', 'u', 'p', NULL);
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, once_per_gateway)
    VALUES (21, 2, 'custom', 'everyone', true);
SAVEPOINT others;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type) VALUES (22, 2, 'custom 2', 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key, once_per_gateway)
    VALUES (41, 1, 'shared key', 'everyone', egress_generate_wireguard_key(), false),
        (42, 1, 'null key', 'everyone', egress_generate_wireguard_key(), NULL);
SELECT is((SELECT string_agg(egress_credential_id || CASE WHEN once_per_gateway THEN ' once' ELSE '' END, ', '
                             ORDER BY egress_credential_id) FROM egress_credential),
          '1 once, 2 once, 21 once, 22, 31, 32 once, 33, 41, 42 once',
          'a wireguard credential is once per gateway, another is not, if nothing else is said');
UPDATE egress_credential SET once_per_gateway = NULL;
SELECT is(menu(1, 11), '4 unlimited', 'NULL, which only an UPDATE or a table of before leaves, is as the provider''s type has it');
ROLLBACK TO others;

/* ------------------------------------------------------------ keys */

SELECT is(menu(1, 2, 3), '2 2 2', 'each key counts for one connection at each gateway');
SELECT is(explain(1), 'available 1: credential 1 ''key 1'' has no limit, and is not at the gateway', 'and can be taken');
SELECT is(acquire(1, 'a'), 1::bigint, 'the first takes the first key');
SELECT is(acquire(1, 'a'), 1::bigint, 'and has it when it asks again');
SELECT is(menu(1, 2, 3), '1 2 2', 'one is left there');
SELECT is(explain(1), 'available 2: credential 2 ''key 2'' has no limit, and is not at the gateway', 'the second key');
SELECT is(acquire(1, 'b'), 2::bigint, 'the second the second');
SELECT is((SELECT count(DISTINCT line) FROM egress_acquire_credential('ana', NULL, 1, 'a') a,
                  egress_acquire_credential('ana', NULL, 1, 'b') b,
                  unnest(string_to_array(a.config, E'\n') || string_to_array(b.config, E'\n')) line
           WHERE line ~ '^(PrivateKey|Address) = '), 4::bigint, 'their configs have keys and addresses of their own');
SELECT is(menu(1, 2, 3), '0 2 2', 'nothing is left there, and as much as before elsewhere');
SELECT is(refusal(1), 'NG004 no connection is free for gateway 1 "key 1" 2 credentials fit user "ana" without a workspace, and all are at their limits, '
          || 'or at the gateway already, where each may be once. Try again when a session has ended, or add a credential.',
          'the third is refused, and told why');
SELECT is(explain(1), 'at_limit none: credential 1 ''key 1'' is at the gateway already, where it may be once, '
          || 'credential 2 ''key 2'' is at the gateway already, where it may be once: add a credential, or wait until a session ends',
          'and the administrator which keys are in use');
SELECT is(acquire(2, 'c'), 1::bigint, 'another gateway has them all');
SELECT is(menu(1, 2, 3), '0 1 2', 'and one less now');
SELECT is(release('a'), true, 'one leaves');
SELECT is(menu(1, 2, 3), '1 1 2', 'its place is free');
SELECT is(acquire(1, 'd'), 1::bigint, 'and taken again');
SELECT throws_ok($$ SELECT acquire(3, 'd') $$, 'NG005', NULL, 'a session that is at one gateway is not at another');

/* ------------------------------------------------------------ on top of a limit */

SELECT is(release(s), true, s || ' leaves') FROM unnest(ARRAY['b', 'c', 'd']) s;
UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = 2 WHERE egress_credential_id = 1;
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 2;
SELECT is(menu(1, 2, 3), '1 1 1', 'with a limit of two, one at each gateway');
SELECT is(acquire(1, 'a'), 1::bigint, 'the limit allows one');
SELECT is(menu(1, 2, 3), '0 1 1', 'one is left, elsewhere');
SELECT is(refusal(1), 'NG004 no connection is free for gateway 1 "key 1" 1 credential fits user "ana" without a workspace, and it '
          || 'is at the gateway already, where it may be once. Try again when a session has ended, or add a credential.',
          'the place is taken, not the limit reached');
SELECT is(acquire(2, 'b'), 1::bigint, 'the limit allows two');
SELECT is(menu(1, 2, 3), '0 0 0', 'and no more');
SELECT is(refusal(3), 'NG004 no connection is free for gateway 3 "key 3" 1 credential fits user "ana" without a workspace, and it '
          || 'is at its limit. Try again when a session has ended, or raise a limit.', 'the limit is reached, the place is free');
SELECT is(explain(3), 'at_limit none: credential 1 ''key 1'' is at its limit of 2: raise a limit, or wait until a session ends',
          'that is explained, too');
UPDATE egress_credential SET active_connection_limit = 0 WHERE egress_credential_id = 1;
SELECT is(menu(1, 2, 3), '0 0 0', 'a limit of 0 leaves nothing');
UPDATE egress_credential SET active_connection_limit = 5 WHERE egress_credential_id = 1;
SELECT is(menu(1, 2, 3), '0 0 1', 'a higher one a place where it is not');

/* ------------------------------------------------------------ expired */

SELECT ok(egress_renew_lease('a', '1 hour') IS NOT NULL, 'a lease gets an end');
UPDATE egress_lease_expiry SET expires_at = acquired_at FROM egress_lease l WHERE l.session_id = 'a' AND egress_lease_expiry.session_id = 'a';
SELECT is(menu(1, 2, 3), '1 0 1', 'where it has expired, it can be taken');
SELECT is(acquire(1, 'e'), 1::bigint, 'and is');
SELECT is((SELECT string_agg(session_id || ' ' || release_reason, ', ') FROM egress_lease_history WHERE release_reason = 'expired'),
          'a expired', 'and the lease that had expired has ended');

/* ------------------------------------------------------------ beside others, and of those that a gateway is selected for */

SELECT is(menu(11, 12), '1 1', 'any credential can be once per gateway');
SELECT is(acquire(11, 'f'), 21::bigint, 'it is taken');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections,
        active_connection_limit) VALUES (22, 2, 'shared', 'everyone', true, 3);
SELECT is(menu(11, 12), '3 4', 'beside one that is not, and has a limit');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, once_per_gateway, allow_all_gateways)
    VALUES (23, 2, 'selected', 'everyone', true, false);
INSERT INTO egress_credential_gateway VALUES (23, 11);
SELECT is(menu(11, 12), '4 4', 'one that only one of the gateways may have');
SELECT is(acquire(11, 'g'), 22::bigint, 'the first that is free, by id');
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 22;
SELECT is(acquire(11, 'h'), 23::bigint, 'that one');
SELECT is(menu(11, 12), '0 1', 'is gone then');
UPDATE egress_credential SET enabled = true, limit_active_connections = false WHERE egress_credential_id = 22;
SELECT is(menu(11, 12), 'unlimited unlimited', 'beside one without a limit there is no number');
UPDATE egress_credential SET once_per_gateway = true WHERE egress_credential_id = 22;
SELECT is(menu(11, 12), '0 2', 'which is once per gateway from now on, and is there');
SELECT is(refusal(11), 'NG004 no connection is free for gateway 11 "any 1" 3 credentials fit user "ana" without a workspace, and all are at their limits, '
          || 'or at the gateway already, where each may be once. Try again when a session has ended, or add a credential.',
          'so nobody else comes');
UPDATE egress_credential SET once_per_gateway = false WHERE egress_provider_id = 2;
SELECT is(menu(11, 12), 'unlimited unlimited', 'and all may come when none is');

SELECT finish();
ROLLBACK;
