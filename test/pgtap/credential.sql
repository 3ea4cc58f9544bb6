-- credential.sql -- what the fields of a credential have to be like, by its provider's type
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE EXTENSION egress;
SELECT no_plan();
SET client_min_messages = warning;

INSERT INTO egress_provider (egress_provider_id, name, provider_type)
VALUES (1, 'alpha', 'openvpn'), (2, 'bravo', 'wireguard'), (3, 'carol', 'custom');

-- certificates, and their keys in the formats that there are; the passphrase is x
CREATE TABLE pem (name text PRIMARY KEY, block text NOT NULL);
INSERT INTO pem VALUES
('issuer', $$-----BEGIN CERTIFICATE-----
MIIBcTCCARegAwIBAgIUBYwwSyShvWWW7kHOHuSt8tx667UwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwIBcNMjYxMTI4MTMyMzU5WhgPMjEyNjExMDQxMzIzNTla
MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZXC6awWb
4AmSp1tBze+k4Q1jwYTU6+1birngcnxjlzqIMxLyq+h2tuPsIBCb4+U+FflF6oxQ
3HSz20OQ3WutqqNTMFEwHQYDVR0OBBYEFAK9Jojd8V72Ytpn/g/9bfnrf1nEMB8G
A1UdIwQYMBaAFAK9Jojd8V72Ytpn/g/9bfnrf1nEMA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDSAAwRQIgT1ALVUXbRB6+SnMIjzdGKz1nlNijozHBWIaaDLXk
LzwCIQDlZmTLj8G34toWNLevtsiR0x52AHHdblMNn9JqBWYZJg==
-----END CERTIFICATE-----
$$),
('certificate', $$-----BEGIN CERTIFICATE-----
MIIBGjCBwQIUDZVDd6LMIGwkRXqdbX/nacdPZb4wCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCY2EwIBcNMjYxMTI4MTMyMzU5WhgPMjEyNjExMDQxMzIzNTlaMBExDzAN
BgNVBAMMBmNsaWVudDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJxIft1DBmTQ
aJE6FMwMwo5uqMMSMKdFkz84nQg2+LneGgXi9NBM8GQ4ZTQ51o5h9Am4Etn4U/Gf
OlznAnLD57YwCgYIKoZIzj0EAwIDSAAwRQIgVcAlBM9k3gNMHHE2K+WU1jEYsla7
CgFNCxbXVPbdeYYCIQDrCWISAd5skX9YWWdqt4VjOcOv9L0DfU+kQE3OFiYtmw==
-----END CERTIFICATE-----
$$),
('issuer''s key', $$-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/dy31I/m/e73lBBM
vjocQqNw8gfNM2O3K3G7rI4T/NihRANCAARlcLprBZvgCZKnW0HN76ThDWPBhNTr
7VuKueByfGOXOogzEvKr6Ha24+wgEJvj5T4V+UXqjFDcdLPbQ5Dda62q
-----END PRIVATE KEY-----
$$),
('key', $$-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOFfJ2kA8A2ZZrFO0
c/QPyeFHGXUI5opXN+EopMfqnVihRANCAAScSH7dQwZk0GiROhTMDMKObqjDEjCn
RZM/OJ0INvi53hoF4vTQTPBkOGU0OdaOYfQJuBLZ+FPxnzpc5wJyw+e2
-----END PRIVATE KEY-----
$$),
('old key', $$-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIDhXydpAPANmWaxTtHP0D8nhRxl1COaKVzfhKKTH6p1YoAoGCCqGSM49
AwEHoUQDQgAEnEh+3UMGZNBokToUzAzCjm6owxIwp0WTPzidCDb4ud4aBeL00Ezw
ZDhlNDnWjmH0CbgS2fhT8Z86XOcCcsPntg==
-----END EC PRIVATE KEY-----
$$),
('encrypted key', $$-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj7rnQeuD6VqgICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEIoRhBpWbre2gJMjuUlN0qwEgZCi
nsL2qeb9y3OsTAxSlxMEb2FkI8ompCRxP07YvkV6ENMrlZ2iN9/tEzGLPc0vhDTA
uaJf6I6o+PZcNiFebHbkiYPllFAKIC1RBZPosTyTZyxO4stflKywnZoQB/qiaOoF
d6x70wZytnlO2g+veHjg++yBj6gI2kDpR2bhzzBgY3rt1deiN+iXYQ5TeYvdJY0=
-----END ENCRYPTED PRIVATE KEY-----
$$),
('old encrypted key', $$-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,0547E1617F8D825DE10A23E4008F535C

FtPz8iJGRoCh75qBi0t16hFgu+fnmX1rvyjpkVuOd/6hFBWJsaDMEwnBjMMFvHsI
r8cQe1IW7hctbfkc+PR+NJNbSucJr+dB6WU+7TuEXhEDczWC8Q+aY9aS8FE2K4BH
CIvtvZ8xwvgD2ZWN4kngEcz0kurYIdOeImyLIXLqqU0=
-----END EC PRIVATE KEY-----
$$);

-- block: one of these by name, or several behind each other
CREATE FUNCTION block(VARIADIC names text[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(block, '' ORDER BY i) FROM unnest(names) WITH ORDINALITY n (name, i) JOIN pem USING (name)
$$;

-- verdict: what a provider says to a credential with these fields: ok, or what is refused, why, and what helps
CREATE TABLE said (everything text);
CREATE FUNCTION verdict(provider bigint, fields jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text; context text;
BEGIN
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password,
                                   client_certificate, client_key, private_key, address, preshared_key, custom_credential)
    VALUES (1, provider, 'c', 'everyone', fields->>'username', fields->>'password', fields->>'client_certificate',
            (fields->>'client_key')::egress_secret, (fields->>'private_key')::egress_secret, fields->>'address',
            (fields->>'preshared_key')::egress_secret, (fields->>'custom_credential')::egress_secret);
    DELETE FROM egress_credential;
    RETURN 'ok';
EXCEPTION WHEN SQLSTATE 'NG007' THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
                            context = PG_EXCEPTION_CONTEXT;
    INSERT INTO said VALUES (concat_ws(' ', message, detail, hint, context));
    RETURN concat_ws(' | ', regexp_replace(message, ' of credential 1 "c"', ''), detail, nullif(hint, ''));
END
$$;

-- which fields there are
SELECT is(verdict(provider, fields::jsonb), coalesce(refusal, 'ok'), format('provider %s: %s', provider, fields))
FROM (VALUES
    (1, '{}',                                          NULL),
    (1, '{"username": "u", "password": "p"}',          NULL),
    (1, '{"username": "u"}',                           'password does not fit its provider | It must not be null when there is a username.'),
    (1, '{"password": "p"}',                           'username does not fit its provider | It must not be null when there is a password.'),
    (1, '{"client_certificate": "c"}',
        'client_key does not fit its provider | It must not be null when there is a client_certificate.'),
    (1, '{"client_key": "k"}',
        'client_certificate does not fit its provider | It must not be null when there is a client_key.'),
    (1, '{"private_key": "k"}',                        'private_key does not fit its provider | Providers of type openvpn do not use it: it must be null.'),
    (1, '{"address": "10.0.0.1"}',                     'address does not fit its provider | Providers of type openvpn do not use it: it must be null.'),
    (1, '{"preshared_key": "k"}',                      'preshared_key does not fit its provider | Providers of type openvpn do not use it: it must be null.'),
    (1, '{"custom_credential": "x"}',                  'custom_credential does not fit its provider | Providers of type openvpn do not use it: it must be null.'),
    (2, '{}',                                          'private_key does not fit its provider | Providers of type wireguard need it: it must not be null.'),
    (2, '{"private_key": "k", "client_certificate": "c"}',                 'client_certificate does not fit its provider | Providers of type wireguard do not use it: it must be null.'),
    (2, '{"private_key": "k", "client_key": "k"}',                         'client_key does not fit its provider | Providers of type wireguard do not use it: it must be null.'),
    (3, '{}',                                          NULL),
    (3, '{"custom_credential": "any\nthing"}',         NULL),
    (3, '{"client_certificate": "c"}',                 'client_certificate does not fit its provider | Providers of type custom do not use it: it must be null.'),
    (3, '{"client_key": "k"}',                         'client_key does not fit its provider | Providers of type custom do not use it: it must be null.'),
    (3, '{"address": "10.0.0.1"}',                     'address does not fit its provider | Providers of type custom do not use it: it must be null.'),
    (3, '{"preshared_key": "k"}',                      'preshared_key does not fit its provider | Providers of type custom do not use it: it must be null.')
) AS field (provider, fields, refusal);

-- certificates and keys of OpenVPN
CREATE FUNCTION openvpn(certificate text, key text, more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT verdict(1, jsonb_build_object('client_certificate', certificate, 'client_key', key) || more)
$$;

SELECT is(openvpn(certificate, key), 'ok', 'good: ' || what)
FROM (VALUES
    ('a certificate and its key',                   block('certificate'), block('key')),
    ('the key in the older format',                 block('certificate'), block('old key')),
    ('a chain',                                     block('certificate', 'issuer'), block('key')),
    ('lines that end with CR and LF',               replace(block('certificate', 'issuer'), E'\n', E'\r\n'),
                                                    replace(block('key'), E'\n', E'\r\n')),
    ('no newline at the end',                       rtrim(block('certificate'), E'\n'), rtrim(block('key'), E'\n')),
    ('a lone CR at the end, of which psql has taken the newline', rtrim(replace(block('certificate'), E'\n', E'\r\n'), E'\n'),
        rtrim(replace(block('key'), E'\n', E'\r\n'), E'\n')),
    ('text around, as easy-rsa writes it',          E'Certificate:\n    Data:\n        Version: 3 (0x2)\n' || block('certificate'),
                                                    E'Bag Attributes\n    friendlyName: client\n' || block('key') || E'end\n'),
    ('letters beyond ASCII in it',                  E'subject=CN = J\u00f6rg\n' || block('certificate'), block('key')),
    ('the parameters of the curve before its key',  block('certificate'),
                                                    E'-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n' ||
                                                    block('old key')),
    ('the certificate behind the key, too',         block('certificate'), block('key', 'certificate'))
) AS good (what, certificate, key);
SELECT is(openvpn(block('certificate'), block('key'), '{"username": "u", "password": "p"}'), 'ok',
          'a certificate and a username, together');
SELECT is(openvpn(block('certificate'), block('key'), '{"username": "u"}'),
          'password does not fit its provider | It must not be null when there is a username.', '... or no username alone');

SELECT is(openvpn(certificate, key), field || ' does not fit its provider | ' || refusal, 'bad: ' || what)
FROM (VALUES
    ('no certificate',       'client_certificate', '', block('key'),
        'It has no certificate: no block that begins with -----BEGIN CERTIFICATE-----.'),
    ('a path',               'client_certificate', '/etc/openvpn/client.crt', block('key'),
        'It has no certificate: no block that begins with -----BEGIN CERTIFICATE-----.'),
    ('no base64',            'client_certificate', overlay(block('certificate') PLACING '!!' FROM 40), block('key'),
        'Its certificate cannot be read.'),
    ('no end',               'client_certificate', left(block('certificate'), 200), block('key'), 'Its certificate cannot be read.'),
    ('a chain whose second certificate has no end', 'client_certificate', block('certificate') || left(block('issuer'), 200), block('key'),
        'A certificate behind its first one cannot be read.'),
    ('the key in the certificate', 'client_certificate', block('certificate', 'key'), block('key'),
        'It has a private key as well, which belongs in client_key.'),
    ('the end of the block', 'client_certificate', E'</cert>\nup /bin/true\n' || block('certificate'), block('key'),
        'It has "</", with which openvpn would take the block that it stands in to end.'),
    ('a control character in the certificate', 'client_certificate', E'\x1b[2J\n' || block('certificate'), block('key'),
        'It has a control character other than the ends of its lines.'),
    ('a carriage return in a line', 'client_certificate', E'a\rb\n' || block('certificate'), block('key'),
        'It has a control character other than the ends of its lines.'),
    ('a control character of Unicode', 'client_certificate', E'\u0085\n' || block('certificate'), block('key'),
        'It has a control character other than the ends of its lines.'),
    ('a certificate that is too long', 'client_certificate', repeat('x', 65537), block('key'), 'It has more than 64 kB.'),
    ('no key',               'client_key', block('certificate'), 'secret',
        'It has no private key: no block that begins with -----BEGIN PRIVATE KEY-----.'),
    ('a certificate as the key', 'client_key', block('certificate'), block('certificate'),
        'It has no private key: no block that begins with -----BEGIN PRIVATE KEY-----.'),
    ('a broken key',         'client_key', block('certificate'), overlay(block('key') PLACING 'AAAAAAAA' FROM 29),
        'Its private key cannot be read.'),
    ('the end of the block in a key', 'client_key', block('certificate'), block('key') || E'</key>\nup /bin/true\n',
        'It has "</", with which openvpn would take the block that it stands in to end.'),
    ('a control character in the key', 'client_key', block('certificate'), E'\t' || block('key'),
        'It has a control character other than the ends of its lines.'),
    ('a passphrase',         'client_key', block('certificate'), block('encrypted key'),
        'It has a passphrase, for which openvpn would ask at the agent''s console. | openssl pkey -in client.key -out plain.key takes it off.'),
    ('a passphrase, the older way', 'client_key', block('certificate'), block('old encrypted key'),
        'It has a passphrase, for which openvpn would ask at the agent''s console. | openssl pkey -in client.key -out plain.key takes it off.'),
    ('another''s key',       'client_key', block('certificate'), block('issuer''s key'),
        'It is not the key of the client_certificate. | The client''s certificate comes first, those of its issuers behind it.'),
    ('a chain in the wrong order', 'client_key', block('issuer', 'certificate'), block('key'),
        'It is not the key of the client_certificate. | The client''s certificate comes first, those of its issuers behind it.')
) AS bad (what, field, certificate, key, refusal);

-- a key that is sealed under a key that is not there is accepted unread; its certificate is not
SELECT is(openvpn(block('certificate'), 'egress:v1:0123456789abcdef:' || repeat('A', 160)), 'ok', 'a sealed key without its key');
SELECT is(openvpn('secret', 'egress:v1:0123456789abcdef:' || repeat('A', 160)),
          'client_certificate does not fit its provider | It has no certificate: no block that begins with -----BEGIN CERTIFICATE-----.',
          '... with a certificate that is none');

-- an UPDATE is checked as an INSERT is
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, client_certificate, client_key)
VALUES (2, 1, 'pair', 'everyone', block('certificate'), block('key')::egress_secret);
SELECT throws_ok($$UPDATE egress_credential SET client_certificate = block('issuer') WHERE egress_credential_id = 2$$, 'NG007',
                 'client_key of credential 2 "pair" does not fit its provider', 'an UPDATE of the certificate alone');
SELECT throws_ok($$UPDATE egress_credential SET client_key = block('issuer''s key')::egress_secret WHERE egress_credential_id = 2$$,
                 'NG007', 'client_key of credential 2 "pair" does not fit its provider', 'an UPDATE of the key alone');
SELECT lives_ok($$UPDATE egress_credential SET client_certificate = block('issuer'), client_key = block('issuer''s key')::egress_secret
                  WHERE egress_credential_id = 2$$, 'an UPDATE of both');

-- addresses and preshared keys of WireGuard
CREATE FUNCTION wireguard(more jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT verdict(2, '{"private_key": "KKj9BQcfDB1oC5v+x0JwnWIDcZsQO3jDsFqnkWRjxlA="}' || more)
$$;
SELECT is(wireguard(jsonb_build_object('address', address)), 'ok', 'good: address ' || address)
FROM unnest(ARRAY['10.64.0.2', '10.64.0.2/32', '10.64.0.2/32,fc00:bbbb:bbbb:bb01::1:1/128', ' 10.64.0.2/32 , fc00::2 ', '::1']) address;
SELECT is(wireguard(jsonb_build_object('address', address)),
          'address cannot be used with WireGuard | It takes addresses, each with or without the length of a prefix, separated by commas.',
          format('bad: address %s', to_json(address)))
FROM unnest(ARRAY['', ' ', ',', '10.64.0.2/33', '10.64.0', 'fc00::2/129', '10.64.0.2;id', '10.64.0.2 $(id)', 'host',
                  E'10.64.0.2\nPostUp = id', E'10.64.0.2\t', E'10.64.0.2\r', '10.64.0.2 # x', '*', E'10.64.0.2\u0085']) address;
SELECT is(wireguard(jsonb_build_object('preshared_key', key)), coalesce(refusal, 'ok'), 'preshared_key ' || to_json(key))
FROM (VALUES
    ('dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=', NULL),
    ('egress:v1:0123456789abcdef:' || repeat('A', 160), NULL),
    ('dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo', 'preshared_key cannot be used with WireGuard | '
     'It takes a key: 32 bytes in base64, 44 characters of which the last is "=", and "+" and "/" but not "-" and "_".'),
    (E'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\nPostUp = id', 'preshared_key cannot be used with WireGuard | '
     'It takes a key: 32 bytes in base64, 44 characters of which the last is "=", and "+" and "/" but not "-" and "_".')
) AS preshared (key, refusal);
SELECT is(verdict(2, '{"private_key": "egress:v1:0123456789abcdef:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "address": "nowhere"}'),
          'address cannot be used with WireGuard | It takes addresses, each with or without the length of a prefix, separated by commas.',
          'an address beside a private key that cannot be read');

SELECT cmp_ok((SELECT count(*) FROM said), '>', 40::bigint, 'all that was said is known');
SELECT is_empty($$SELECT * FROM said WHERE everything ~ 'MIG|MHc|MIH|KKj9|dwdt|secret'$$, 'and shows nothing of a secret');

SELECT * FROM finish();
ROLLBACK;
