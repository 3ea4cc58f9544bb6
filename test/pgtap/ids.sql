-- ids.sql -- ids that are no text: which function a call is of, whatever the types of its ids are
--
-- Every function that takes ids of the application is there twice, for text and for egress_id. No call may be refused as
-- ambiguous, a call whose ids are all strings has to go on to be one of the function for text, and what drivers send (a uuid,
-- an integer as narrow as its value, a parameter of no type) has to find a function in every mixture.
BEGIN;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
CREATE EXTENSION citext SCHEMA public;
SET LOCAL search_path = vpn, public, tap;

CREATE DOMAIN name_id AS text;
CREATE DOMAIN key_id AS uuid;
CREATE TABLE application (c char(40), v varchar(40), n name, t text, u uuid, i int, b bigint, k key_id, d name_id);

-- an id as an expression: of which kind it is
CREATE TABLE id (label text, expression text, is_string boolean);
INSERT INTO id VALUES
    ('null', 'NULL', true), ('literal', $$'a'$$, true), ('text', $$'a'::text$$, true), ('varchar', $$'a'::varchar(36)$$, true),
    ('char', $$'a'::char(36)$$, true), ('name', $$'a'::name$$, true), ('domain over text', $$'a'::name_id$$, true),
    ('text column', 'application.t', true), ('varchar column', 'application.v', true), ('char column', 'application.c', true),
    ('uuid', $$'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid$$, false), ('smallint', '1::int2', false), ('integer', '1', false),
    ('bigint', '1::bigint', false), ('beyond bigint', '9223372036854775808', false), ('domain over uuid', 'application.k', false),
    ('uuid column', 'application.u', false), ('null of a type', 'NULL::uuid', false);

-- the function that a call resolves to; or the error
CREATE FUNCTION resolved(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    lines text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) SELECT ' || call || ' FROM application' LOOP
        lines := lines || line;
    END LOOP;
    RETURN CASE WHEN lines ~ 'egress_id' THEN 'egress_id' ELSE 'text' END;
EXCEPTION WHEN undefined_function OR ambiguous_function THEN
    RETURN SQLSTATE;
END $$;

SET LOCAL client_min_messages = warning;
SELECT is_empty($$
    SELECT u.label, w.label, s.label, resolved(format('egress_acquire_credential(%s, %s, 1, %s)', u.expression, w.expression, s.expression))
    FROM id u, id w, id s
    WHERE resolved(format('egress_acquire_credential(%s, %s, 1, %s)', u.expression, w.expression, s.expression))
          <> CASE WHEN u.is_string AND w.is_string AND s.is_string THEN 'text' ELSE 'egress_id' END$$,
    'acquire: text where all ids are strings, else egress_id, in every mixture');
SELECT is_empty($$
    SELECT call, resolved(call), is_string
    FROM (SELECT format(form, u.expression, w.expression) AS call, u.is_string AND (w.is_string OR form !~ '2\$') AS is_string
          FROM id u, id w,
               unnest(ARRAY['egress_available_gateways(%1$s)', 'egress_available_gateways(%1$s, %2$s)',
                            'egress_available_gateways(workspace_id => %2$s, user_id => %1$s)',
                            'egress_acquire_credential(session_id => %1$s, egress_gateway_id => 1, workspace_id => NULL, user_id => %2$s)',
                            'egress_acquire_credential(%1$s, %2$s, 1, ''s'', ''1 hour'')',
                            'egress_acquire_credential(%1$s, %2$s, 1::int2, ''s'', NULL)',
                            'egress_release_credential(%1$s)', 'egress_release_credential(session_id => %1$s)',
                            'egress_renew_lease(%1$s, ''1 hour'')', 'egress_renew_lease(%1$s, NULL)',
                            'egress_gateway_required(%1$s)',
                            'egress_explain_access(%1$s)', 'egress_explain_access(%1$s, %2$s)',
                            'egress_explain_access(%1$s, %2$s, 1)', 'egress_explain_access(%1$s, egress_gateway_id => 1)',
                            'egress_explain_access(%1$s, %2$s, NULL)',
                            'egress_end_leases(session_id => %1$s)', 'egress_end_leases(user_id => %1$s)',
                            'egress_end_leases(workspace_id => %1$s)', 'egress_end_leases(session_id => %1$s, user_id => %2$s)',
                            'egress_end_leases(workspace_id => %2$s, session_id => %1$s)',
                            'egress_end_leases(user_id => %1$s, workspace_id => %2$s)',
                            'egress_end_leases(user_id => %1$s, egress_provider_id => 1, unentitled => true)',
                            'egress_end_leases(workspace_id => %1$s, egress_gateway_id => 1::int2, orphaned => NULL)',
                            'egress_end_leases(session_id => %1$s, user_id => %2$s, workspace_id => %1$s, egress_credential_id => NULL)']) form) calls
    WHERE resolved(call) <> CASE WHEN is_string THEN 'text' ELSE 'egress_id' END$$,
    'every function, with defaults and named arguments');
SELECT is(resolved($$egress_end_leases('a')$$), 'text', 'a string that is not named is a session, of all that may be first');
SELECT is(resolved('egress_end_leases(application.u)'), '42725', 'what is no string has to be named there');
SELECT is(resolved($$egress_end_leases(unentitled => true)$$), 'text', 'without an id it is the function for text');
SELECT is(resolved($$egress_release_credential('a'::citext)$$), 'text', 'citext is text');
SELECT is(resolved($$egress_release_credential(true)$$), '42883', 'a boolean is no id');
SELECT is(resolved($$egress_acquire_credential('a', NULL, 1, '1'::egress_id)$$), 'egress_id', 'egress_id itself');
SELECT is(resolved($$egress_acquire_credential('a'::text, NULL, 1, '1'::egress_id)$$), 'egress_id', 'and beside text');
-- an application may have casts of its own
SAVEPOINT casts;
CREATE CAST (uuid AS text) WITH INOUT AS IMPLICIT;
SELECT is_empty($$
    SELECT u.label, s.label, resolved(format('egress_acquire_credential(%s, %s, 1, %s)', u.expression, s.expression, s.expression))
    FROM id u, id s
    WHERE resolved(format('egress_acquire_credential(%s, %s, 1, %s)', u.expression, s.expression, s.expression)) ~ '^[0-9]'$$,
    'with an implicit cast of uuid to text either, and no error');
SELECT is(resolved('egress_release_credential(application.u)'), 'egress_id', 'egress_id where nothing else decides');
ROLLBACK TO casts;
SELECT is_empty($$SELECT castsource::regtype, casttarget::regtype FROM pg_cast WHERE castsource = 'egress_id'::regtype$$,
                'nothing is cast from it');

/* ------------------------------------------------------- prepared statements */

INSERT INTO egress_provider VALUES (1, 'one', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'gateway');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES
    (1, 'user', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (1, 'user', '42');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, custom_credential) VALUES (1, 'credential', 'everyone', 'x');


-- parameters as drivers declare them: all of a type, some of none, all of none
PREPARE typed (uuid, bigint, int, uuid) AS SELECT credential_name FROM egress_acquire_credential($1, $2, $3, $4);
PREPARE mixed (unknown, bigint, smallint, uuid) AS SELECT credential_name FROM egress_acquire_credential($1, $2, $3, $4);
PREPARE number (bigint, varchar) AS SELECT credential_name FROM egress_acquire_credential($1, NULL, 1, $2);
PREPARE untyped AS SELECT credential_name FROM egress_acquire_credential($1, $2, $3, $4);
PREPARE strings (varchar, text, int) AS SELECT credential_name FROM egress_acquire_credential($1, $2, $3, $4);
PREPARE release_uuid (uuid) AS SELECT egress_release_credential($1);
PREPARE release_number (int) AS SELECT egress_release_credential($1);
SELECT results_eq($$
    SELECT name COLLATE "default", parameter_types::text COLLATE "default" FROM pg_prepared_statements
    WHERE name IN ('mixed', 'number', 'strings', 'typed', 'untyped') ORDER BY name COLLATE "C"$$,
$$VALUES ('mixed', '{egress_id,bigint,smallint,uuid}'), ('number', '{bigint,"character varying"}'),
         ('strings', '{"character varying",text,integer,text}'), ('typed', '{uuid,bigint,integer,uuid}'),
         ('untyped', '{text,text,bigint,text}')$$,
    'a parameter of no type becomes text, or an egress_id beside one that is no string');
SELECT results_eq($$EXECUTE typed ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', NULL, 1, '{B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}')$$,
                  ARRAY['credential'], 'typed parameters');
SELECT results_eq($$EXECUTE mixed ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL, 1, 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')$$,
                  ARRAY['credential'], 'the same call again, by parameters of other types');
SELECT results_eq($$EXECUTE untyped ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL, 1, 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')$$,
                  ARRAY['credential'], 'and by texts');
SELECT results_eq($$EXECUTE number (42, 's')$$, ARRAY['credential'], 'a number');
SELECT results_eq($$EXECUTE strings ('42', NULL, 1, 's')$$, ARRAY['credential'], 'is the user that its text is');
SELECT results_eq($$SELECT session_id COLLATE "default", user_id COLLATE "default" FROM egress_lease ORDER BY session_id$$,
$$VALUES ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('s', '42')$$,
    'the ids are the text forms of what was given');

SELECT is((egress_acquire_credential(42, NULL, 1, 's')).gateway_name, 'gateway', 'a column of the row');
SELECT results_eq($$SELECT (egress_acquire_credential(42::bigint, NULL, 1, 7)).*$$,
                  $$SELECT * FROM egress_acquire_credential('42', NULL, 1, '7')$$, 'all of them');
SELECT results_eq($$SELECT gateway_name FROM egress_available_gateways('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 5)$$,
                  ARRAY['gateway'], 'the menu of a uuid in a workspace with a number');
SELECT results_eq($$SELECT verdict FROM egress_explain_access(43, NULL, 1)$$, ARRAY['not_mapped'], 'an explanation');
INSERT INTO egress_workspace VALUES ('5', true);
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'workspace', '5');
SELECT ok(egress_gateway_required(5) AND NOT egress_gateway_required(6) AND NOT egress_gateway_required(NULL::int),
          'workspaces with numbers');
SELECT cmp_ok(egress_renew_lease(7, '1 hour'), '>', now(), 'a renewal');
SELECT results_eq($$EXECUTE release_uuid ('B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')$$, ARRAY[true], 'a release by a uuid');
SELECT results_eq($$EXECUTE release_number (7)$$, ARRAY[true], 'by a number');
SELECT ok(egress_release_credential('s'::char(5)), 'by a padded string');
SELECT is_empty('SELECT session_id FROM egress_lease', 'nothing is held any more');
SELECT count(egress_acquire_credential(42, w, 1, s)) FROM unnest(ARRAY[5, 6, 6], ARRAY[101, 102, 103]) one (w, s) \g /dev/null
PREPARE end_typed (bigint, int) AS SELECT session_id COLLATE "default" FROM egress_end_leases(user_id => $1, workspace_id => $2);
PREPARE end_untyped AS SELECT session_id COLLATE "default" FROM egress_end_leases(workspace_id => $1);
SELECT results_eq('EXECUTE end_typed (42, 5)', ARRAY['101'], 'leases are ended by numbers');
SELECT results_eq($$SELECT session_id COLLATE "default" FROM egress_end_leases(session_id => 102, user_id => '42')$$, ARRAY['102'],
                  'by a number and a string');
SELECT results_eq('EXECUTE end_untyped (6)', ARRAY['103'], 'by a parameter of no type');
SELECT is_empty('SELECT * FROM egress_end_leases(workspace_id => 6)', 'and then there is none');
SELECT throws_ok('SELECT * FROM egress_end_leases(workspace_id => NULL::uuid)', '22023', NULL, 'NULL of a type says nothing');
SELECT throws_ok($$SELECT egress_release_credential(NULL::uuid)$$, '22004', NULL, 'NULL of a type is NULL');

-- in the other direction an egress_id is what it is everywhere: text has to be asked for
SELECT is('7'::egress_id::text, '7', 'a cast to text');
SELECT throws_ok($$SELECT length('7'::egress_id)$$, '42883', NULL, 'no function of text takes it');

SELECT * FROM finish();
ROLLBACK;
