-- The type egress_secret, and what is checked when a credential or a config is written. The server may have a key file
-- or not: what is stored is looked at through stored(). What a key file changes is in test/t/secrets.pl.
-- In a database of its own.
\set SHOW_CONTEXT never
SELECT current_database() AS before \gset
CREATE DATABASE regress_egress_secret TEMPLATE template0 ENCODING 'UTF8';
\c regress_egress_secret
CREATE EXTENSION egress;

-- the text that was given, when it is stored as it has to be here: in clear, or sealed under the first key
CREATE FUNCTION stored(secret egress_secret) RETURNS text STRICT LANGUAGE sql AS $$
    SELECT CASE WHEN CASE current_setting('egress.secret_key_file')
                     WHEN '' THEN egress_secret_state(secret) = 'not sealed' AND egress_reveal_secret(secret) = secret::text
                     ELSE egress_secret_state(secret) = 'active key' AND secret::text LIKE 'egress:v1:%' END
                THEN egress_reveal_secret(secret) END
$$;

-- text goes in, and comes out
CREATE TABLE secrets (id int PRIMARY KEY, secret egress_secret);
INSERT INTO secrets VALUES (1, 'a literal'), (2, NULL), (3, 'naïve – ☃');
INSERT INTO secrets VALUES (4, 'cast'::egress_secret), (5, 'text'::text), (6, 'varchar'::varchar);
PREPARE by_type (int, egress_secret) AS INSERT INTO secrets VALUES ($1, $2);
PREPARE by_text (int, text) AS INSERT INTO secrets VALUES ($1, $2);
EXECUTE by_type (7, 'parameter');
EXECUTE by_text (8, 'parameter of type text');
DO $$
DECLARE
    value text := 'PL/pgSQL text';
    value_varchar varchar(20) := 'PL/pgSQL varchar';
    value_secret egress_secret := 'PL/pgSQL secret';
BEGIN
    INSERT INTO secrets VALUES (9, value), (10, value_varchar), (11, value_secret);
    UPDATE secrets SET secret = value WHERE id = 2;
END $$;
COPY secrets FROM stdin;
12	copied\twith a tab
13	\N
\.
INSERT INTO secrets SELECT id + 20, secret FROM secrets WHERE id = 1;
INSERT INTO secrets VALUES (1, 'other') ON CONFLICT (id) DO UPDATE SET secret = excluded.secret;
SELECT id, stored(secret) FROM secrets ORDER BY id;
SELECT egress_reveal_secret(NULL);
SELECT pg_typeof(secret), convert_from(egress_secret_send(secret), 'UTF8') = secret::text AS sent,
       to_jsonb(s) = jsonb_build_object('id', 4, 'secret', secret::text) AS in_jsonb
FROM secrets s WHERE id = 4;

-- long ones are compressed and toasted, and have a limit
INSERT INTO secrets VALUES (100, repeat('x', 16384));
INSERT INTO secrets SELECT 101, string_agg(md5(i::text), '') FROM generate_series(1, 512) i;
SELECT id, length(stored(secret)), md5(stored(secret)) FROM secrets WHERE id >= 100 ORDER BY id;
INSERT INTO secrets VALUES (102, repeat('x', 16385));
INSERT INTO secrets VALUES (103, '');
DELETE FROM secrets WHERE id >= 100;

-- equality of what is stored, in every way in which rows are compared; of sealed forms, which are kept as they are whether the
-- server has a key file or not
CREATE FUNCTION form(bytes bytea) RETURNS egress_secret IMMUTABLE STRICT LANGUAGE sql AS $$
    SELECT ('egress:v1:0123456789abcdef:' || translate(encode(sha256(bytes) || bytes, 'base64'), E'\n', ''))::egress_secret
$$;
CREATE FUNCTION form(value text) RETURNS egress_secret IMMUTABLE STRICT LANGUAGE sql AS $$ SELECT form(sha256(convert_to(value, 'UTF8'))) $$;
SELECT form('a literal') AS a_literal, form('cast') AS a_cast \gset
CREATE TABLE forms (id int PRIMARY KEY, secret egress_secret);
INSERT INTO forms SELECT id, CASE WHEN secret IS NOT NULL THEN form(egress_reveal_secret(secret)) END FROM secrets;
CREATE TABLE twice (id int, secret egress_secret);
INSERT INTO twice SELECT id, secret FROM forms UNION ALL SELECT id + 100, secret FROM forms;
SELECT count(*) FROM forms WHERE secret = :'a_literal';
SELECT count(*) FROM forms WHERE secret IN (:'a_literal', :'a_cast');
SELECT count(*) FROM forms a JOIN forms b ON a.secret = b.secret;
SELECT count(*) FROM forms WHERE secret <> secret;
SELECT count(*) FROM forms WHERE secret IS DISTINCT FROM secret;
SELECT s = s AS same, s IS DISTINCT FROM s AS distinct, s <> s AS other FROM forms s WHERE id IN (1, 2);
SELECT count(*) FROM forms a, forms b WHERE a = b;
SELECT count(*) FROM (SELECT DISTINCT secret FROM twice) d;
SELECT count(*) FROM (SELECT DISTINCT t.secret, t.* FROM twice t) d;
SELECT count(*), min(n), max(n) FROM (SELECT secret, count(*) AS n FROM twice GROUP BY secret) g;
SELECT count(*) FROM (SELECT secret FROM forms UNION SELECT secret FROM twice) u;
SELECT count(*) FROM (SELECT secret FROM twice INTERSECT SELECT secret FROM forms) i;
SELECT count(*) FROM (SELECT secret FROM twice EXCEPT SELECT secret FROM forms WHERE id <> 9) e;
SELECT count(*) FROM twice WHERE secret IN (SELECT secret FROM forms);
SELECT count(*) FROM twice WHERE secret NOT IN (SELECT secret FROM forms WHERE id = 9);
SELECT count(*) FROM twice a FULL JOIN forms b USING (secret);
SELECT count(*) FROM forms WHERE secret = ANY (ARRAY[:'a_cast', :'a_literal']::egress_secret[]);
SELECT array_agg(secret) = array_agg(secret) AS arrays FROM forms;
CREATE INDEX twice_secret ON twice USING hash (secret);
SET enable_seqscan = off;
SELECT count(*) FROM twice WHERE secret = :'a_cast';
RESET enable_seqscan;
-- long ones, compressed or not, and ones that differ at the end
INSERT INTO twice SELECT 1000, form(convert_to(string_agg(md5(i::text), '') || 'a', 'UTF8')) FROM generate_series(1, 512) i;
ALTER TABLE twice ALTER secret SET STORAGE external;
INSERT INTO twice SELECT 1001, secret FROM twice WHERE id = 1000;
INSERT INTO twice SELECT 1002, form(convert_to(string_agg(md5(i::text), '') || 'b', 'UTF8')) FROM generate_series(1, 512) i;
SELECT a.id, b.id FROM twice a JOIN twice b USING (secret) WHERE a.id >= 1000 ORDER BY a.id, b.id;

-- an audit trigger
CREATE TABLE audit (said text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit
    VALUES (format('%s %s %s %s', TG_NAME, OLD.* IS DISTINCT FROM NEW.*, OLD IS DISTINCT FROM NEW, NOT (OLD = NEW)));
    RETURN NULL;
END $$;
CREATE TRIGGER each AFTER UPDATE ON secrets FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION audit();
CREATE TRIGGER changed AFTER UPDATE ON secrets FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION audit();
CREATE TRIGGER same BEFORE UPDATE ON secrets FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
UPDATE secrets SET secret = secret;
DROP TRIGGER same ON secrets;
UPDATE secrets SET secret = secret;
SELECT * FROM audit;
UPDATE secrets SET secret = 'another' WHERE id = 1;
UPDATE secrets SET secret = NULL WHERE id = 1;
SELECT * FROM audit;

-- no order, no opening, and no cast that happens by itself
\set VERBOSITY terse
SELECT count(*) FROM secrets WHERE secret = 'a literal'::text;
SELECT count(*) FROM secrets WHERE secret < 'b';
SELECT count(*) FROM secrets WHERE secret LIKE 'a%';
SELECT secret FROM secrets ORDER BY secret;
SELECT count(DISTINCT secret) FROM secrets;
SELECT max(secret) FROM secrets;
SELECT s < s FROM secrets s;
SELECT length(secret) FROM secrets;
CREATE INDEX ON secrets (secret);
CREATE UNIQUE INDEX ON secrets (secret);
\set VERBOSITY default
SELECT oprname, oprcode, oprcanmerge, oprcanhash FROM pg_operator WHERE 'egress_secret'::regtype IN (oprleft, oprright) ORDER BY oprname;
SELECT opcname, amname, opcdefault FROM pg_opclass JOIN pg_am a ON a.oid = opcmethod WHERE opcintype = 'egress_secret'::regtype;
SELECT castsource::regtype, casttarget::regtype, castcontext, castmethod
FROM pg_cast WHERE 'egress_secret'::regtype IN (castsource, casttarget) ORDER BY castsource::regtype::text;
SELECT typtype, typcategory, typispreferred, typlen, typbyval, typstorage FROM pg_type WHERE oid = 'egress_secret'::regtype;

-- bytes are taken for the text that they are
SELECT convert_to('naïve – ☃', 'UTF8') AS bytes, 'egress:v1:0123456789abcdef:' || repeat('A', 56) AS sealed \gset
PREPARE by_bytea (bytea) AS INSERT INTO secrets VALUES (200, $1) RETURNING stored(secret);
EXECUTE by_bytea (:'bytes');
SELECT convert_to(:'sealed', 'UTF8')::egress_secret = :'sealed' AS kept;
DELETE FROM secrets WHERE id = 200;
EXECUTE by_bytea ('\xff');
EXECUTE by_bytea ('\x6100');
EXECUTE by_bytea ('');

-- statistics hold no value, however often it is there
INSERT INTO secrets SELECT n, 'often' FROM generate_series(300, 400) n;
ANALYZE secrets, twice;
SELECT count(*) FROM pg_stats WHERE tablename IN ('secrets', 'twice') AND attname = 'secret';
SELECT count(*) FROM pg_statistic WHERE starelid IN ('secrets'::regclass, 'twice'::regclass)
    AND concat_ws(' ', stavalues1, stavalues2, stavalues3) ~ 'often|literal|cast';
DROP TABLE twice;

-- a sealed form is kept as it is, whether its key is here or not
TRUNCATE secrets;
\set sealed 'egress:v1:0123456789abcdef:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
INSERT INTO secrets VALUES (1, :'sealed');
SELECT secret::text = :'sealed' AS kept, egress_secret_state(secret) FROM secrets;
\set VERBOSITY terse
SELECT egress_reveal_secret(secret) FROM secrets;
\set VERBOSITY default
UPDATE secrets SET secret = secret;
SELECT secret::text = :'sealed' AS kept FROM secrets;
-- what only looks like one is no sealed form
INSERT INTO secrets VALUES (2, 'egress:v1'), (3, ' egress:v1:'), (4, 'Egress:v1:x'), (5, 'egress:v2:x');
SELECT id, stored(secret) FROM secrets WHERE id > 1 ORDER BY id;

-- a damaged one is refused, and the message does not repeat it
CREATE FUNCTION try(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
    context text;
BEGIN
    INSERT INTO secrets VALUES (1000, value);
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    RETURN sqlstate || CASE WHEN position(value IN concat(message, detail, hint, context)) > 0 AND value <> '' AND
        value <> 'egress:v1:' THEN ', with the value!' ELSE '' END;
END $$;
SELECT damage, try(value) FROM (VALUES
    ('nothing after the prefix', 'egress:v1:'),
    ('no base64', 'egress:v1:0123456789abcdef'),
    ('empty base64', 'egress:v1:0123456789abcdef:'),
    ('key id too short', 'egress:v1:0123456789abcde:' || repeat('A', 56)),
    ('key id too long', 'egress:v1:0123456789abcdef0:' || repeat('A', 56)),
    ('key id in upper case', 'egress:v1:0123456789ABCDEF:' || repeat('A', 56)),
    ('no key id', 'egress:v1::' || repeat('A', 56)),
    ('nonce and tag only', 'egress:v1:0123456789abcdef:' || repeat('A', 52) || 'AA=='),
    ('too short', 'egress:v1:0123456789abcdef:' || repeat('A', 40)),
    ('not base64', 'egress:v1:0123456789abcdef:' || repeat('A', 55) || '*'),
    ('a character cut off', 'egress:v1:0123456789abcdef:' || repeat('A', 55)),
    ('padding missing', 'egress:v1:0123456789abcdef:' || repeat('A', 58)),
    ('padding too long', 'egress:v1:0123456789abcdef:' || repeat('A', 56) || '===='),
    ('bits in the padding', 'egress:v1:0123456789abcdef:' || repeat('A', 57) || 'B=='),
    ('URL-safe base64', 'egress:v1:0123456789abcdef:' || repeat('-', 56)),
    ('newline at the end', 'egress:v1:0123456789abcdef:' || repeat('A', 56) || E'\n'),
    ('space within', 'egress:v1:0123456789abcdef:' || repeat('A', 28) || ' ' || repeat('A', 28)),
    ('too long', 'egress:v1:0123456789abcdef:' || repeat('A', 2 * 1024 * 1024)),
    ('empty', '')) damaged (damage, value);
\set value 'egress:v1:0123456789abcdef:hunter2'
SELECT :'value'::egress_secret;
COPY secrets FROM stdin;
9	egress:v1:0123456789abcdef:hunter2
\.

-- what a credential has to have, by its provider's type
INSERT INTO egress_provider (egress_provider_id, name, provider_type)
VALUES (1, 'alpha', 'openvpn'), (2, 'bravo', 'wireguard'), (3, 'carol', 'custom');
CREATE FUNCTION try_credential(provider_id bigint, username text, password text, private_key text, custom text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    context text;
BEGIN
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
                                   username, password, private_key, custom_credential)
    VALUES (77, provider_id, 'tried', 'everyone', $2, $3, $4, $5);
    DELETE FROM egress_credential WHERE egress_credential_id = 77;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
    RETURN concat_ws(' / ', sqlstate, message, nullif(detail, ''), nullif(context, ''));
END $$;
\set key 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk='
SELECT fields, try_credential(p, username, password, private_key, custom) FROM (VALUES
    (1, 'both', 'u', 'p', NULL, NULL),
    (1, 'neither', NULL, NULL, NULL, NULL),
    (1, 'no password', 'u', NULL, NULL, NULL),
    (1, 'no username', NULL, 'p', NULL, NULL),
    (1, 'a key', 'u', 'p', :'key', NULL),
    (1, 'custom', 'u', 'p', NULL, 'c'),
    (1, 'newline in the password', 'u', E'swordfish\nup /bin/sh', NULL, NULL),
    (1, 'newline in the username', E'sword\nfish', 'p', NULL, NULL),
    (2, 'a key', NULL, NULL, :'key', NULL),
    (2, 'no key', NULL, NULL, NULL, NULL),
    (2, 'a short key', NULL, NULL, 'c3dvcmRmaXNo', NULL),
    (2, 'a username', 'u', NULL, :'key', NULL),
    (2, 'a password', NULL, 'p', :'key', NULL),
    (2, 'custom', NULL, NULL, :'key', 'c'),
    (3, 'custom', NULL, NULL, NULL, E'any\nthing'),
    (3, 'nothing', NULL, NULL, NULL, NULL),
    (3, 'a username', 'u', NULL, NULL, NULL),
    (3, 'a password', NULL, 'p', NULL, NULL),
    (3, 'a key', NULL, NULL, :'key', NULL)) tried (p, fields, username, password, private_key, custom);

-- an UPDATE is checked as an INSERT is; one of other columns is not
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password)
VALUES (11, 1, 'pool', 'everyone', 'pool', 'swordfish');
UPDATE egress_credential SET password = NULL WHERE egress_credential_id = 11;
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 11;
-- a secret whose key is missing is accepted unread, and no lease is held when it cannot be opened
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password)
VALUES (12, 1, 'lost', 'everyone', 'lost', :'sealed');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key)
VALUES (21, 2, 'lost too', 'everyone', :'sealed');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, custom_credential)
VALUES (31, 3, 'token', 'everyone', E'any\nthing');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES
    (1, 1, 'us1', E'client\nremote us1.example.net 1194\n'),
    (2, 2, 'ch1', E'[Interface]\nAddress = 10.9.0.2/32\n\n[Peer]\nPublicKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\n'),
    (3, 3, 'relay', 'relay --to desk'),
    (4, 1, 'bare', NULL);
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) SELECT i, 'everyone' FROM generate_series(1, 3) i;
SELECT secret, active_key + not_sealed AS opens, older_key, missing_key FROM egress_secret_usage ORDER BY secret;
\set VERBOSITY terse
SELECT * FROM egress_acquire_credential('ann', NULL, 1, 's1');
SELECT * FROM egress_acquire_credential('ann', NULL, 2, 's1');
\set VERBOSITY default
SELECT count(*) AS held FROM egress_lease;
SELECT custom_credential, config FROM egress_acquire_credential('ann', NULL, 3, 's1');
-- opened, and put into the config
DELETE FROM egress_credential WHERE egress_credential_id IN (12, 21);
UPDATE egress_credential SET enabled = true WHERE egress_credential_id = 11;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key)
VALUES (22, 2, 'key', 'everyone', :'key');
SELECT username, password, config FROM egress_acquire_credential('ann', NULL, 1, 's2');
SELECT username, password, config FROM egress_acquire_credential('ann', NULL, 1, 's2');
SELECT private_key, config FROM egress_acquire_credential('ann', NULL, 2, 's3');
SELECT username, password, config FROM egress_acquire_credential('ann', NULL, 4, 's4');
-- nothing to log in with
UPDATE egress_credential SET username = NULL, password = NULL WHERE egress_credential_id = 11;
SELECT * FROM egress_acquire_credential('ann', NULL, 1, 's5');
UPDATE egress_gateway SET config = E'client\nremote us1.example.net 1194\n<cert>\n</cert>\n<key>\n</key>\n'
WHERE egress_gateway_id = 1;
SELECT username, password, config FROM egress_acquire_credential('ann', NULL, 1, 's5');
SELECT session_id FROM egress_lease ORDER BY session_id;

-- configs are checked too
UPDATE egress_gateway SET config = E'client\nremote us1.example.net 1194\nup /bin/sh\n' WHERE egress_gateway_id = 1;
\set SHOW_CONTEXT errors
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (5, 2, 'bad', E'[Interface]\nPostUp = /bin/sh\n');
\set SHOW_CONTEXT never

-- nobody sets the key file but the server's configuration
SET egress.secret_key_file = '/tmp/keys';
SELECT set_config('egress.secret_key_file', '/tmp/keys', false);
SET egress.other = 1;
RESET egress.secret_key_file;

-- WireGuard keys
SELECT egress_wireguard_public_key('AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=');
SELECT egress_wireguard_public_key('c3dvcmRmaXNo');
SELECT egress_wireguard_public_key('AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= ');
SELECT egress_wireguard_public_key('');
SELECT egress_wireguard_public_key(NULL);
SELECT count(DISTINCT key) AS keys, min(length(key)) AS length,
       bool_and(get_byte(decode(key, 'base64'), 0) & 7 = 0 AND get_byte(decode(key, 'base64'), 31) & 192 = 64) AS clamped,
       count(egress_wireguard_public_key(key)) AS public_keys
FROM (SELECT egress_generate_wireguard_key() AS key FROM generate_series(1, 100)) keys;

\c :before
DROP DATABASE regress_egress_secret;
