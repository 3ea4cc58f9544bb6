-- What drivers send: parameters of a declared type, which PostgreSQL converts less readily than a literal.
\set VERBOSITY default
SET search_path = vpn;
BEGIN;

-- enums: a string is assigned
PREPARE add_provider (varchar, varchar) AS INSERT INTO egress_provider (name, provider_type) VALUES ($1, $2) RETURNING provider_type;
EXECUTE add_provider ('delta', 'custom');
PREPARE add_mapping (int, text, text) AS
    INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES ($1, $2, $3) RETURNING subject_type;
EXECUTE add_mapping (1, 'user', 'dan');
EXECUTE add_mapping (1, 'everyone', NULL);
PREPARE add_credential (bigint, varchar, varchar, varchar, varchar) AS
    INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, username, password)
    VALUES ($1, $2, $3, $4, $2, $5) ON CONFLICT (egress_credential_id) DO UPDATE SET subject_type = excluded.subject_type
    RETURNING subject_type;
EXECUTE add_credential (1, 'dans', 'group', 'night', 'hunter2');
PREPARE change (text, text, varchar) AS
    UPDATE egress_credential SET subject_type = $1, subject_id = $2 WHERE name = $3 RETURNING subject_type, subject_id;
EXECUTE change ('workspace', 'desk', 'dans');
PREPARE from_rows (text[], varchar[]) AS
    INSERT INTO egress_provider (name, provider_type) SELECT * FROM unnest($1, $2) RETURNING name, provider_type;
EXECUTE from_rows ('{e,f}', '{openvpn,wireguard}');
SAVEPOINT before;
EXECUTE add_mapping (1, 'users', 'dan');
ROLLBACK TO before;
-- but not compared: a cast says as what (terse: PostgreSQL 19 has another hint)
\set VERBOSITY terse
PREPARE compare (text) AS SELECT FROM egress_provider_mapping WHERE subject_type = $1;
\set VERBOSITY default
ROLLBACK TO before;
PREPARE compare (text) AS SELECT count(*) FROM egress_provider_mapping WHERE subject_type = $1::egress_subject_type;
EXECUTE compare ('everyone');
PREPARE compare_varchar (varchar) AS SELECT count(*) FROM egress_provider_mapping WHERE subject_type::text = $1;
EXECUTE compare_varchar ('user');
-- a literal is compared with the enum's own operator, and finds its index
SELECT count(*) FROM egress_provider_mapping WHERE subject_type = 'user' AND 'everyone' <> subject_type AND subject_type IN ('user', 'group');
SELECT pg_typeof(CASE WHEN true THEN provider_type ELSE 'custom' END), pg_typeof(coalesce(provider_type, 'custom'))
FROM egress_provider LIMIT 1;

-- calls with narrower types, and with none
PREPARE acquire (varchar, varchar, int, char(2), interval) AS
    SELECT credential_name FROM egress_acquire_credential($1, $2, $3, $4, $5);
EXECUTE acquire ('ann', NULL, 21, 'd1', '1 hour');
PREPARE untyped AS SELECT credential_name FROM egress_acquire_credential($1, $2, $3, $4);
EXECUTE untyped ('ann', NULL, 21, 'd1');
PREPARE explain_one (varchar, smallint) AS SELECT verdict FROM egress_explain_access($1, egress_gateway_id => $2);
EXECUTE explain_one ('ann', 21);
-- ids that are no text: a uuid, a number, beside a parameter of no type
PREPARE release (uuid) AS SELECT egress_release_credential($1);
EXECUTE release ('00000000-0000-0000-0000-000000000001');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, custom_credential) VALUES (3, 'number', 'user', '42', 'x');
PREPARE acquire_typed (bigint, unknown, smallint, uuid) AS
    SELECT credential_name FROM egress_acquire_credential($1, $2, $3, $4);
EXECUTE acquire_typed (42, NULL, 31, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11');
SELECT session_id, user_id FROM egress_lease WHERE user_id = '42';
PREPARE menu (int) AS SELECT gateway_name FROM egress_available_gateways($1) ORDER BY gateway_name LIMIT 1;
EXECUTE menu (42);
\df egress_release_credential
PREPARE renew (varchar, varchar) AS SELECT egress_renew_lease($1, $2::interval);
EXECUTE renew ('nobody', '1 hour');

-- a list of gateways: jsonb, or a literal that is to become it
UPDATE egress_provider SET managed = true WHERE egress_provider_id = 3;
SAVEPOINT before;
SELECT action, name FROM egress_sync_gateways(3, '[]');
SELECT action, name FROM egress_sync_gateways(gateways => '[{"name": "relay"}]', egress_provider_id => 3);
SELECT action, name FROM egress_sync_gateways(3, '[]', '1');
PREPARE untyped_sync AS SELECT action, name FROM egress_sync_gateways($1, $2, $3);
EXECUTE untyped_sync (3, '[{"name": "relay"}]', 0.7);
PREPARE typed_sync (int, jsonb, numeric) AS SELECT action, name FROM egress_sync_gateways($1, $2, $3);
EXECUTE typed_sync (3, '[{"name": "relay", "city": "x"}]', 1);
\set VERBOSITY terse
PREPARE json_sync (json) AS SELECT action, name FROM egress_sync_gateways(3, $1);
\set VERBOSITY default
ROLLBACK TO before;
PREPARE json_sync (json, varchar) AS
    SELECT action, name FROM egress_sync_gateways(3, $1::jsonb) UNION ALL SELECT action, name FROM egress_sync_gateways(3, $2::jsonb);
EXECUTE json_sync ('[{"name": "a"}]', '[{"name": "relay"}]');

-- secrets: any kind of string, and bytes; bytes for a text column have to be said to be text
PREPARE secret (bytea, varchar) AS
    UPDATE egress_credential SET password = $1, username = $2 WHERE egress_credential_id = 201 RETURNING username, egress_reveal_secret(password) AS password;
EXECUTE secret ('\x74657374', 'pool');
PREPARE config (bytea) AS UPDATE egress_gateway SET config = convert_from($1, 'UTF8') WHERE egress_gateway_id = 31 RETURNING config;
EXECUTE config ('\x74657374');

-- a row that a function returns, in the ways in which drivers and functions take one apart
SELECT (egress_acquire_credential('bob', NULL, 12, 'd2')).gateway_name;
SELECT gateway_name, c.provider_type FROM egress_acquire_credential('bob', NULL, 12, 'd2') c;
SELECT pg_typeof(egress_acquire_credential('bob', NULL, 12, 'd2')), pg_typeof(m) FROM egress_available_gateways('bob') m LIMIT 1;
SELECT credential ->> 'gateway_name' AS name, (SELECT count(*) FROM jsonb_object_keys(credential)) AS columns
FROM to_jsonb(egress_acquire_credential('bob', NULL, 12, 'd2')) credential;
SELECT a, f FROM egress_acquire_credential('bob', NULL, 12, 'd2') c (a, b, d, e, g, h, f);
DO $$
DECLARE
    whole record;
    named egress_acquired_credential;
    name text;
BEGIN
    SELECT * INTO whole FROM egress_acquire_credential('bob', NULL, 12, 'd2');
    named := egress_acquire_credential('bob', NULL, 12, 'd2');
    SELECT c.gateway_name INTO name FROM egress_acquire_credential('bob', NULL, 12, 'd2') c;
    RAISE NOTICE '% % %', whole.username, named.gateway_name, name;
END $$;

ROLLBACK;
DEALLOCATE ALL;

SELECT state = public.state() AS world_is_whole FROM public.world;
