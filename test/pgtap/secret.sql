-- secret.sql -- who may see what of a secret, and what must be true of the type's objects
--
-- This server has no key file; test/t/secrets.pl has one.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
CREATE ROLE egress_secret_app;
CREATE ROLE egress_secret_admin;
CREATE ROLE egress_secret_monitor;
CREATE ROLE egress_secret_nobody;
GRANT USAGE ON SCHEMA vpn TO egress_secret_nobody;
GRANT USAGE ON SCHEMA tap TO PUBLIC;
SELECT vpn.egress_grant_access('egress_secret_app', 'app'),
       vpn.egress_grant_access('egress_secret_admin', 'admin'),
       vpn.egress_grant_access('egress_secret_monitor', 'monitor') \gset
SET search_path = vpn, public, tap;
SELECT no_plan();

-- PUBLIC has nothing
SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
    WHERE proname ~ 'secret|wireguard|misfit' AND pronamespace = 'vpn'::regnamespace AND a.grantee = 0
$$, 'PUBLIC may call no function about secrets');
SELECT is_empty($$
    SELECT typname FROM pg_type t, aclexplode(coalesce(typacl, acldefault('T', typowner))) a
    WHERE typnamespace = 'vpn'::regnamespace AND typname = 'egress_secret' AND a.grantee = 0
$$, 'PUBLIC may not use the type');
SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'vpn'::regnamespace AND prosecdef AND
          coalesce(array_to_string(proconfig, ','), '') !~ 'search_path=.*pg_temp'
$$, 'every SECURITY DEFINER function has its search_path fixed, ending in pg_temp');
SELECT is_empty($$
    SELECT castsource::regtype, casttarget::regtype FROM pg_cast
    WHERE 'egress_secret'::regtype IN (castsource, casttarget) AND castcontext = 'i'
$$, 'no cast from or to it happens by itself');

-- an administrator writes secrets and uses the helpers, though none of their functions is granted
SET ROLE egress_secret_admin;
SELECT lives_ok($$
    INSERT INTO egress_provider (egress_provider_id, name, provider_type)
    VALUES (1, 'alpha', 'openvpn'), (2, 'bravo', 'wireguard')
$$, 'admin: adds providers');
SELECT lives_ok($$
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
    VALUES (1, 1, 'us1', E'client\nremote us1.example.net 1194\n')
$$, 'admin: adds a gateway, whose config is checked');
SELECT lives_ok($$
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password)
    VALUES (1, 1, 'pool', 'everyone', 'pool', 'swordfish')
$$, 'admin: adds a credential, which is checked');
SELECT throws_ok($$
    INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password)
    VALUES (1, 'bad', 'everyone', E'po\nol', 'swordfish')
$$, 'NG007', NULL, 'admin: one that does not fit is refused');
SELECT lives_ok($$
    PREPARE add (text, egress_secret) AS
    INSERT INTO egress_credential (egress_provider_id, name, subject_type, private_key) VALUES (2, $1, 'everyone', $2)
$$, 'admin: may prepare with a parameter of the type');
SELECT lives_ok($$
    INSERT INTO egress_credential (egress_provider_id, name, subject_type, private_key)
    VALUES (2, 'key', 'everyone', egress_generate_wireguard_key())
$$, 'admin: generates a WireGuard key');
SELECT is(egress_wireguard_public_key('dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo='),
          'hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=', 'admin: derives a public key (RFC 7748, section 6.1)');
SELECT lives_ok($$
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key)
    VALUES (77, 2, 'known key', 'everyone', 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=')
$$, 'admin: stores a known key');
SELECT is(egress_credential_public_key(77), 'hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=',
          'admin: shows the public key of a credential');
SELECT results_eq('SELECT DISTINCT egress_credential_public_key(egress_credential_id) IS NULL FROM egress_credential
                   WHERE private_key IS NULL', 'VALUES (true)', 'admin: which a credential without a private key does not have');
SELECT is((SELECT count(egress_credential_public_key(egress_credential_id)) FROM egress_credential), 2::bigint,
          'admin: of all that have one');
SELECT throws_ok('SELECT egress_credential_public_key(0)', '22023', 'credential 0 does not exist',
                 'admin: not of one that does not exist');
SELECT throws_ok('SELECT egress_credential_public_key(NULL)', '22004', NULL, 'admin: nor of NULL');
DELETE FROM egress_credential WHERE egress_credential_id = 77;
SELECT is((SELECT not_sealed FROM egress_secret_usage WHERE secret = 'password'), 1::bigint, 'admin: reads the usage');
SELECT throws_ok('SELECT egress_reveal_secret(password) FROM egress_credential', '42501', NULL,
                 'admin: opens no secret');
SELECT throws_ok('SELECT egress_rotate_secrets()', '55000', NULL, 'admin: may rotate, if there were a key file');
SELECT lives_ok($$
    INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')
$$, 'admin: adds a mapping');
SELECT throws_ok($$ SELECT egress_acquire_credential('ann', NULL, 1, 's') $$, '42501', NULL,
                 'admin: acquires nothing, which would open one');

SET ROLE egress_secret_app;
SELECT results_eq($$ SELECT password, config ~ 'pool\nswordfish\n' FROM egress_acquire_credential('ann', NULL, 1, 's') $$,
                  $$ VALUES ('swordfish'::text, true) $$, 'app: an acquire opens the secret and puts it into the config');
SELECT throws_ok('SELECT password FROM egress_credential', '42501', NULL, 'app: reads no secret');
SELECT throws_ok($$ SELECT egress_reveal_secret('x') $$, '42501', NULL, 'app: opens none');
SELECT throws_ok('SELECT egress_rotate_secrets()', '42501', NULL, 'app: does not rotate');
SELECT throws_ok('SELECT * FROM egress_secret_usage', '42501', NULL, 'app: does not read the usage');
SELECT throws_ok('SELECT egress_generate_wireguard_key()', '42501', NULL, 'app: generates no key');
SELECT throws_ok('SELECT egress_credential_public_key(1)', '42501', NULL, 'app: shows none');

SET ROLE egress_secret_monitor;
SELECT is((SELECT sum(not_sealed) FROM egress_secret_usage), 2::numeric, 'monitor: reads the usage');
SELECT throws_ok('SELECT password FROM egress_credential', '42501', NULL, 'monitor: reads no secret');
SELECT throws_ok($$ SELECT egress_reveal_secret('x') $$, '42501', NULL, 'monitor: opens none');
SELECT throws_ok('SELECT egress_rotate_secrets()', '42501', NULL, 'monitor: does not rotate');
SELECT throws_ok('SELECT egress_credential_public_key(1)', '42501', NULL, 'monitor: shows no public key');
SELECT throws_ok('SHOW egress.secret_key_file', '42501', NULL, 'monitor: does not see where the keys are');

SET ROLE egress_secret_nobody;
SELECT throws_ok('CREATE TEMPORARY TABLE mine (secret egress_secret)', '42501', NULL, 'others: may not use the type');
SELECT throws_ok($$ SELECT egress_secret_state('x') $$, '42501', NULL, 'others: call nothing of it');
SELECT throws_ok($$ SELECT egress_secret_in('x'::cstring) $$, '42501', NULL, 'others: not its input function either');
SELECT throws_ok('SELECT egress_wireguard_public_key(NULL)', '42501', NULL, 'others: derive no key');
RESET ROLE;

-- rotation reads and writes the extension's own table, whatever the caller has made
CREATE TEMPORARY TABLE egress_credential (egress_credential_id bigint, name text, password text, private_key text,
                                          custom_credential text);
SELECT throws_ok('SELECT egress_rotate_secrets()', '55000', NULL, 'a temporary table changes nothing');
DROP TABLE pg_temp.egress_credential;

-- what a trigger did not check is found out when its public key is asked for
SET LOCAL session_replication_role = replica;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key, provider_type)
VALUES (78, 2, 'no key', 'everyone', 'swordfish', 'wireguard');
SET LOCAL session_replication_role = origin;
SELECT throws_ok('SELECT egress_credential_public_key(78)', 'NG007', 'private_key of credential 78 "no key" is not a WireGuard key',
                 'a private key that is none has no public key');
DELETE FROM egress_credential WHERE egress_credential_id = 78;

-- NULL is no secret
SELECT throws_ok('SELECT egress_reveal_secret(NULL)', '22004', NULL, 'NULL is nothing to open');
SELECT is(egress_secret_state(NULL), NULL, 'NULL has no state');

-- a sealed form of another server
CREATE TEMPORARY TABLE foreign_secret (secret vpn.egress_secret);
INSERT INTO foreign_secret VALUES ('egress:v1:0123456789abcdef:' || repeat('A', 64));
SELECT is((SELECT egress_secret_state(secret) FROM foreign_secret), 'missing key', 'a sealed form whose key is not here');
SELECT throws_ok('SELECT egress_reveal_secret(secret) FROM foreign_secret', 'NG006', 'the secret cannot be opened',
                 '... cannot be opened');

SELECT * FROM finish();
ROLLBACK;
