-- privileges.sql -- who may do what, over every member object of the extension
--
-- The lists of members come from the catalogs, so an object that is added without a decision fails here.
-- The surroundings are unfriendly on purpose: the installing role's default privileges give everything to PUBLIC,
-- and the schema and the roles have names that need quoting.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE ROLE "Egress ""Owner""" SUPERUSER;
CREATE ROLE "App ""1"", role";
CREATE ROLE "ADMIN";
CREATE ROLE monitor_1;
CREATE ROLE nobody_1;

SET ROLE "Egress ""Owner""";
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO PUBLIC;
CREATE SCHEMA "Egress's ""Schema""";
CREATE EXTENSION egress SCHEMA "Egress's ""Schema""";
-- they do apply to what is created now
CREATE TABLE "Egress's ""Schema""".not_a_member ();
RESET ROLE;

-- Row types of tables and array types come and go with what they are of; PostgreSQL 17 and later list them as members.
CREATE FUNCTION is_dependent_type(type oid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_class WHERE reltype = type AND relkind <> 'c')
           OR EXISTS (SELECT FROM pg_type WHERE typarray = type)
$$;
-- Every other member object: what it is, its owner, its privileges. A NULL acl stands for PostgreSQL's defaults.
CREATE VIEW members AS
SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE c.relkind::text END
       || ' ' || c.relname AS object,
       d.classid, d.objid, c.relowner AS owner,
       coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl
FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'egress')
UNION ALL
SELECT format('function %s(%s)', p.proname, oidvectortypes(p.proargtypes)),
       d.classid, d.objid, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'egress')
UNION ALL
SELECT 'type ' || t.typname, d.classid, d.objid, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
FROM pg_depend d JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'egress')
  AND NOT is_dependent_type(t.oid);
-- The functions through which PostgreSQL itself reads, writes and analyzes a type: strict by its rules, and run without a
-- check of privileges when a value comes in or goes out. They look up nothing by name. So do those of its operators and casts,
-- whose strictness lets a NULL pass unchecked; further down they are called with more.
CREATE VIEW io_functions AS
SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend, typanalyze])::oid AS oid
FROM pg_type JOIN members ON classid = 'pg_type'::regclass AND objid = pg_type.oid WHERE typtype = 'b'
UNION ALL
SELECT objid FROM members WHERE object ~ '^function egress_(secret_(eq|ne|hash|from_bytea)|id_from_character|pool_handler)\(';

-- What a role gets when it runs a statement: a SQLSTATE, or 'ok'. Nothing stays of it.
CREATE FUNCTION outcome(who name, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', who, true);
    EXECUTE statement;
    RAISE SQLSTATE 'OK000';
EXCEPTION
    WHEN SQLSTATE 'OK000' THEN RETURN 'ok';
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;

/* ------------------------------------------------------------ ownership */

SELECT is((SELECT count(*)::int FROM pg_depend
           WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
             AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'egress')
             AND (classid, objid) NOT IN (SELECT classid, objid FROM members)
             AND classid NOT IN ('pg_cast'::regclass, 'pg_operator'::regclass, 'pg_opfamily'::regclass, 'pg_opclass'::regclass,
                             'pg_am'::regclass)
             AND NOT (classid = 'pg_type'::regclass AND is_dependent_type(objid))), 0,
          'the members are relations, functions, types, and what has no privileges: casts, operators and their classes, an access method');
SELECT cmp_ok((SELECT count(*) FROM members), '>', 20::bigint, 'there are members');
SELECT is_empty($$SELECT object, owner::regrole FROM members WHERE owner <> '"Egress ""Owner"""'::regrole$$,
                'all are owned by the role that installed them');

/* --------------------------------------------------------------- PUBLIC */

SELECT isnt_empty($$
    SELECT * FROM pg_class, aclexplode(relacl) WHERE relname = 'not_a_member' AND grantee = 0$$,
    'the default privileges of the installing role do give everything to PUBLIC');
SELECT is_empty($$
    SELECT object, privilege_type FROM members, aclexplode(acl) WHERE grantee = 0$$,
    'nothing is granted to PUBLIC');
-- pg_dump warns of each initial privilege of a row type, so these have what PostgreSQL gives to every row type
SELECT is_empty($$
    SELECT c.oid::regclass FROM members JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
    JOIN pg_type t ON t.oid = c.reltype
    WHERE typacl IS NOT NULL OR EXISTS (SELECT FROM pg_init_privs i WHERE i.classoid = 'pg_type'::regclass AND i.objoid = t.oid)$$,
    'and nothing is said of the row type of a table or view');
SELECT is_empty($$
    SELECT object, privilege_type FROM members, aclexplode(acl) WHERE grantee <> owner$$,
    'nor to any other role');
SELECT is_empty($$
    SELECT object, attname FROM members JOIN pg_attribute ON attrelid = objid
    WHERE classid = 'pg_class'::regclass AND attacl IS NOT NULL$$,
    'nor any column');

/* ----------------------------------------------------- a role without privileges */

GRANT USAGE ON SCHEMA "Egress's ""Schema""", tap TO nobody_1;
SET LOCAL search_path = "Egress's ""Schema""", public, tap;

INSERT INTO egress_provider VALUES (1, 'one', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (11, 1, 'gateway');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, custom_credential)
VALUES (21, 1, 'credential', 'everyone', 'secret');

-- what a statement on each kind of object looks like
CREATE VIEW statements AS
SELECT object, classid, objid, action, format(action, objid::regclass) AS statement
FROM members, unnest(ARRAY['SELECT FROM %s', 'INSERT INTO %s DEFAULT VALUES', 'DELETE FROM %s',
                           'TRUNCATE %s CASCADE', 'LOCK %s']) action
WHERE object ~ '^table' OR (object ~ '^view' AND action ~ '^SELECT')
UNION ALL
SELECT object, classid, objid, 'nextval', format('SELECT nextval(%L)', objid::regclass) FROM members WHERE object ~ '^sequence'
UNION ALL
SELECT object, classid, objid, 'call',
       format('%s %s(%s)', CASE prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, objid::regproc,
              (SELECT string_agg('NULL::' || format_type(type, NULL), ', ') FROM unnest(proargtypes) type))
FROM members JOIN pg_proc ON oid = objid WHERE object ~ '^function'
UNION ALL
SELECT object, classid, objid, 'use', format('CREATE TEMP TABLE t (c %s)', objid::regtype) FROM members WHERE object ~ '^type';

SELECT cmp_ok((SELECT count(DISTINCT object) FROM statements), '=', (SELECT count(*) FROM members),
              'there is a statement for each member');
SELECT is_empty($$
    SELECT statement, outcome('nobody_1', statement) FROM statements
    WHERE outcome('nobody_1', statement) <> '42501' AND objid NOT IN (SELECT oid FROM io_functions)$$,
    'a role that may see the schema and nothing else gets 42501 from every object');
SELECT is_empty($$
    SELECT statement FROM statements WHERE outcome('Egress "Owner"', statement) = '42501'$$,
    'the owner gets it from none');
SELECT is(outcome('nobody_1', 'CREATE TABLE "Egress''s ""Schema""".t ()'), '42501', 'it cannot create in the schema');

/* --------------------------------------------------- egress_grant_access */

SELECT lives_ok($$SELECT egress_grant_access('App "1", role', 'app')$$, 'grants app to a role whose name needs quoting');
SELECT lives_ok($$SELECT egress_grant_access('ADMIN', 'admin')$$, 'grants admin to a role in upper case');
SELECT lives_ok($$SELECT egress_grant_access(role => 'monitor_1', access => 'monitor')$$, 'grants monitor');
SELECT lives_ok($$SELECT egress_grant_access('monitor_1', 'monitor')$$, 'may be asked again');

-- the whole matrix: no member is missing, and no role has more
SELECT results_eq($$
    SELECT object COLLATE "default",
           string_agg(privilege_type, ' ' ORDER BY privilege_type) FILTER (WHERE grantee = '"App ""1"", role"'::regrole),
           string_agg(privilege_type, ' ' ORDER BY privilege_type) FILTER (WHERE grantee = '"ADMIN"'::regrole),
           string_agg(privilege_type, ' ' ORDER BY privilege_type) FILTER (WHERE grantee = 'monitor_1'::regrole)
    FROM members LEFT JOIN aclexplode(acl) ON true
    GROUP BY object ORDER BY object COLLATE "C"$$,
$$VALUES
    -- object                                                  app        admin                          monitor
    ('function egress_acquire_credential(egress_id, egress_id, bigint, egress_id, interval)',
                                                               'EXECUTE', NULL,                          NULL),
    ('function egress_acquire_credential(text, text, bigint, text, interval)',
                                                               'EXECUTE', NULL,                          NULL),
    ('function egress_acquire_gateway(egress_id, egress_id, egress_id, text[], text[], text[], bigint[], interval)',
                                                               'EXECUTE', NULL,                          NULL),
    ('function egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval)',
                                                               'EXECUTE', NULL,                          NULL),
    ('function egress_attach_group_members(regclass, name, name)',
                                                               'EXECUTE', NULL,                          NULL),
    ('function egress_attach_sessions(regclass, name, text, boolean)', 'EXECUTE', NULL,                  NULL),
    ('function egress_available_gateways(egress_id, egress_id)',
                                                               'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_available_gateways(text, text)',         'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_benched_now()',                          NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_check_restored()',                       NULL,      NULL,                          NULL),
    ('function egress_config_has_secret(egress_provider_type, text)',
                                                               NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_connection_freed()',                     NULL,      NULL,                          NULL),
    ('function egress_connections_at(timestamp with time zone, bigint)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_credential_leases(bigint)',              NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_credential_public_key(bigint)',          NULL,      'EXECUTE',                     NULL),
    ('function egress_detach_group_members(regclass)',         'EXECUTE', NULL,                          NULL),
    ('function egress_detach_sessions(regclass)',              'EXECUTE', NULL,                          NULL),
    ('function egress_end_expired_leases()',                   NULL,      NULL,                          NULL),
    ('function egress_end_leases(egress_id, bigint, bigint, bigint, boolean, boolean)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_end_leases(egress_id, egress_id, bigint, bigint, bigint, boolean, boolean)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_end_leases(egress_id, egress_id, egress_id, bigint, bigint, bigint, boolean, boolean)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_expire_leases()',                        'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_expire_leases(integer)',                 'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_explain_access(egress_id, egress_id, bigint)',
                                                               NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_explain_access(text, text, bigint)',     NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_fill_provider_type()',                   NULL,      NULL,                          NULL),
    ('function egress_fill_selection_provider()',              NULL,      NULL,                          NULL),
    ('function egress_follow_group_members()',                 'EXECUTE', NULL,                          NULL),
    ('function egress_gateway_leases(bigint)',                 NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_gateway_required(egress_id)',            'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_gateway_required(text)',                 'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_generate_wireguard_key()',               NULL,      'EXECUTE',                     NULL),
    ('function egress_grant_access(name, text)',               NULL,      NULL,                          NULL),
    ('function egress_id_from_character(character)',          'EXECUTE', 'EXECUTE',                     'EXECUTE'),
    -- a constant that is no text is cast with the rights of the caller
    ('function egress_id_in(cstring)',                         'EXECUTE', 'EXECUTE',                     'EXECUTE'),
    ('function egress_id_out(egress_id)',                      NULL,      NULL,                          NULL),
    ('function egress_id_recv(internal)',                      NULL,      NULL,                          NULL),
    ('function egress_id_send(egress_id)',                     NULL,      NULL,                          NULL),
    ('function egress_import_config(egress_provider_type, text, jsonb)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_import_credential(egress_provider_type, text, jsonb)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_leave_members_to_source()',              NULL,      NULL,                          NULL),
    ('function egress_orphaned_sessions()',                    NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_pool_handler(internal)',                 NULL,      NULL,                          NULL),
    ('function egress_pools()',                                NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_prune_history(interval)',                NULL,      'EXECUTE',                     NULL),
    ('function egress_prune_history(interval, bigint)',        NULL,      'EXECUTE',                     NULL),
    ('function egress_refuse_delete_in_use()',                 NULL,      NULL,                          NULL),
    ('function egress_refuse_misfit()',                        NULL,      NULL,                          NULL),
    ('function egress_refuse_move()',                          NULL,      NULL,                          NULL),
    ('function egress_release_credential(egress_id)',          'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_release_credential(text)',               'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_release_on_session_end()',               'EXECUTE', NULL,                          NULL),
    ('function egress_renew_lease(egress_id, interval)',       'EXECUTE', NULL,                          NULL),
    ('function egress_renew_lease(text, interval)',            'EXECUTE', NULL,                          NULL),
    ('function egress_report_failure(egress_id, text)',        'EXECUTE', NULL,                          NULL),
    ('function egress_report_failure(text, text)',             'EXECUTE', NULL,                          NULL),
    ('function egress_report_success(egress_id)',              'EXECUTE', NULL,                          NULL),
    ('function egress_report_success(text)',                   'EXECUTE', NULL,                          NULL),
    ('function egress_restore_in_any_order()',                 NULL,      NULL,                          NULL),
    ('function egress_reveal_secret(egress_secret)',           NULL,      NULL,                          NULL),
    ('function egress_rotate_secrets()',                       NULL,      'EXECUTE',                     NULL),
    ('function egress_secret_analyze(internal)',               NULL,      NULL,                          NULL),
    ('function egress_secret_eq(egress_secret, egress_secret)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_secret_from_bytea(bytea)',               NULL,      'EXECUTE',                     NULL),
    ('function egress_secret_hash(egress_secret)',             NULL,      NULL,                          NULL),
    ('function egress_secret_in(cstring)',                     NULL,      NULL,                          NULL),
    ('function egress_secret_ne(egress_secret, egress_secret)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_secret_out(egress_secret)',              NULL,      NULL,                          NULL),
    ('function egress_secret_recv(internal)',                  NULL,      NULL,                          NULL),
    ('function egress_secret_send(egress_secret)',             NULL,      NULL,                          NULL),
    ('function egress_secret_state(egress_secret)',            NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_sweep_leases(integer)',                  'EXECUTE', 'EXECUTE',                     NULL),
    ('function egress_sync_gateways(bigint, jsonb, double precision, boolean, jsonb, boolean)',
                                                               NULL,      'EXECUTE',                     NULL),
    ('function egress_unbench(bigint, bigint)',                NULL,      'EXECUTE',                     NULL),
    ('function egress_unentitled_sessions()',                  NULL,      'EXECUTE',                     'EXECUTE'),
    ('function egress_wireguard_public_key(text)',             NULL,      'EXECUTE',                     NULL),
    ('sequence egress_credential_egress_credential_id_seq',    NULL,      'SELECT',                      NULL),
    ('sequence egress_failure_egress_failure_id_seq',          NULL,      'SELECT',                      NULL),
    ('sequence egress_gateway_egress_gateway_id_seq',          NULL,      'SELECT',                      NULL),
    ('sequence egress_lease_history_egress_lease_history_id_seq',
                                                               NULL,      'SELECT',                      NULL),
    ('sequence egress_provider_egress_provider_id_seq',        NULL,      'SELECT',                      NULL),
    ('sequence egress_provider_mapping_egress_provider_mapping_id_seq',
                                                               NULL,      'SELECT',                      NULL),
    ('sequence egress_report_egress_report_id_seq',            NULL,      'SELECT',                      NULL),
    ('sequence egress_user_limit_egress_user_limit_id_seq',    NULL,      'SELECT',                      NULL),
    ('table egress_credential',                                NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_credential_gateway',                        NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_failure',                                   NULL,      'SELECT',                      NULL),
    ('table egress_gateway',                                   NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_group_member',                              NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_lease',                                     NULL,      'SELECT',                      NULL),
    ('table egress_lease_expiry',                              NULL,      'SELECT',                      NULL),
    ('table egress_lease_history',                             NULL,      'SELECT',                      NULL),
    ('table egress_provider',                                  NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_provider_mapping',                          NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_provider_mapping_gateway',                  NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_report',                                    NULL,      'SELECT',                      NULL),
    ('table egress_user_limit',                                NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('table egress_workspace',                                 NULL,      'DELETE INSERT SELECT UPDATE', NULL),
    ('type egress_access_explanation',                         NULL,      'USAGE',                       'USAGE'),
    ('type egress_acquired_credential',                        NULL,      NULL,                          NULL),
    ('type egress_acquired_gateway',                           NULL,      NULL,                          NULL),
    ('type egress_available_gateway',                          NULL,      NULL,                          NULL),
    ('type egress_benched_target',                             NULL,      NULL,                          NULL),
    ('type egress_credential_order',                           NULL,      'USAGE',                       NULL),
    ('type egress_ended_lease',                                NULL,      NULL,                          NULL),
    ('type egress_id',                                         NULL,      NULL,                          NULL),
    ('type egress_imported_config',                            NULL,      NULL,                          NULL),
    ('type egress_imported_credential',                        NULL,      NULL,                          NULL),
    ('type egress_pool_state',                                 NULL,      NULL,                          NULL),
    ('type egress_provider_type',                              'USAGE',   'USAGE',                       'USAGE'),
    ('type egress_secret',                                     NULL,      'USAGE',                       NULL),
    ('type egress_subject_type',                               NULL,      'USAGE',                       'USAGE'),
    ('type egress_synced_gateway',                             NULL,      NULL,                          NULL),
    ('view egress_benched',                                    NULL,      'SELECT',                      'SELECT'),
    ('view egress_connection',                                 NULL,      'SELECT',                      'SELECT'),
    ('view egress_credential_usage',                           NULL,      'SELECT',                      'SELECT'),
    ('view egress_gateway_usage',                              NULL,      'SELECT',                      'SELECT'),
    ('view egress_live_lease',                                 NULL,      'SELECT',                      'SELECT'),
    ('view egress_orphaned_connection',                        NULL,      'SELECT',                      'SELECT'),
    ('view egress_pool_usage',                                 NULL,      'SELECT',                      'SELECT'),
    ('view egress_secret_usage',                               NULL,      'SELECT',                      'SELECT'),
    ('view egress_unentitled_connection',                      NULL,      'SELECT',                      'SELECT'),
    ('view egress_upkeep',                                     NULL,      'SELECT',                      'SELECT')
$$, 'each access allows exactly its list');

SELECT results_eq($$
    SELECT grantee::regrole::text COLLATE "default", string_agg(privilege_type, ' ') FROM pg_namespace, aclexplode(nspacl)
    WHERE nspname = 'Egress''s "Schema"' AND grantee <> nspowner GROUP BY grantee ORDER BY grantee::regrole::text COLLATE "C"$$,
$$VALUES ('"ADMIN"', 'USAGE'), ('"App ""1"", role"', 'USAGE'), ('monitor_1', 'USAGE'), ('nobody_1', 'USAGE')$$,
    'and to see the schema, not to create in it');
SELECT is_empty($$
    SELECT object, grantee::regrole, privilege_type FROM members, aclexplode(acl)
    WHERE is_grantable OR grantee NOT IN (owner, '"App ""1"", role"'::regrole, '"ADMIN"'::regrole, 'monitor_1'::regrole)$$,
    'nobody may pass it on, and nobody else got anything');

/* ------------------------------------------- what that means in practice */

-- an application: what it calls, and not a row of any table or view
SELECT is(outcome('App "1", role', $$SELECT * FROM egress_available_gateways('ann')$$), 'ok', 'app: menu');
SELECT is(outcome('App "1", role', $$SELECT * FROM egress_acquire_credential('ann', NULL, 11, 's1')$$), 'ok', 'app: acquire');
SELECT is(outcome('App "1", role', $$SELECT egress_acquire_credential('ann', NULL, 11, 's1', '1 minute'),
    egress_renew_lease('s1', '1 minute'), egress_expire_leases(), egress_gateway_required('w')$$), 'ok', 'app: a lease that ends by itself');
SELECT is(outcome('App "1", role', $$SELECT egress_acquire_credential('ann', NULL, 11, 's1', '1 minute'),
    egress_report_failure('s1', 'gateway'), egress_report_success('s1')$$), 'ok', 'app: reports');
SELECT is(outcome('App "1", role', $$SELECT * FROM egress_acquire_gateway('ann', NULL, 's1')$$), 'ok', 'app: acquire by a wish');
SELECT is(outcome('App "1", role', $$SELECT egress_release_credential('s1')$$), 'ok', 'app: release');
SELECT is(outcome('App "1", role', $$SELECT egress_release_credential(gen_random_uuid()), egress_renew_lease(7, '1 minute'),
    egress_gateway_required(1.5), egress_available_gateways('ann'::char(9), 7), egress_available_gateways('ann'::name, 7),
    egress_acquire_credential('ann'::text, 7, 11, 's1'::varchar), egress_acquire_gateway('ann'::text, 7, 's2'::varchar)$$), 'ok', 'app: ids that are no text');
SELECT is_empty($$
    SELECT statement FROM statements
    WHERE object !~ ('^function egress_(available_gateways|gateway_required|acquire_(credential|gateway)|renew_lease|release_credential|report_(failure|success)'
                     '|release_on_session_end|follow_group_members|(at|de)tach_(sessions|group_members)|(expire|sweep)_leases)\('
                     '|^type egress_provider_type$')
      AND outcome('App "1", role', statement) <> '42501' AND objid NOT IN (SELECT oid FROM io_functions)$$,
    'app: nothing else');
SELECT is(outcome('App "1", role', format($$
    CREATE TEMP TABLE sessions (id text);
    CREATE TRIGGER t AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION %s('id')$$,
    'egress_release_on_session_end'::regproc)),
    'ok', 'app: attach the trigger to its own table');
SELECT is(outcome('nobody_1', format($$
    CREATE TEMP TABLE sessions (id text);
    CREATE TRIGGER t AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION %s('id')$$,
    'egress_release_on_session_end'::regproc)),
    '42501', 'nobody: not even that');

-- a monitor: the views, which do not show a secret
SELECT is_empty($$
    SELECT statement, outcome('monitor_1', statement) FROM statements
    WHERE outcome('monitor_1', statement) <>
          CASE WHEN object ~ '^view|^function egress_(secret_state|config_has_secret)|^function egress_((orphaned|unentitled)_sessions|benched_now|pools)|^type egress_(access_explanation|provider_type|subject_type)$' THEN 'ok'
               WHEN object ~ '^function egress_(explain_access|(gateway|credential)_leases)' THEN '22004' ELSE '42501' END
      AND objid NOT IN (SELECT oid FROM io_functions)$$,
    'monitor: reads the views, calls what they call and the explanation, uses their types, and nothing else');
SELECT is(outcome('monitor_1', $$SELECT * FROM egress_explain_access('ann', NULL)$$), 'ok', 'monitor: explains');

-- what somebody may read, that one may also keep
SELECT is(outcome(who, 'CREATE TEMP TABLE kept AS SELECT * FROM ' || source), 'ok', who || ': keeps a copy of ' || source)
FROM (SELECT 'App "1", role' AS who, $$egress_available_gateways('ann')$$ AS source
      UNION ALL SELECT 'App "1", role', $$egress_acquire_credential('ann', NULL, 11, 's1')$$
      UNION ALL SELECT 'App "1", role', $$egress_acquire_gateway('ann', NULL, 's1')$$
      UNION ALL SELECT 'ADMIN', objid::regclass::text FROM members WHERE object ~ '^(table|view)'
      UNION ALL SELECT 'ADMIN', $$egress_available_gateways('ann')$$
      UNION ALL SELECT 'monitor_1', objid::regclass::text FROM members WHERE object ~ '^view') kept
ORDER BY who, source;
SELECT is(outcome('ADMIN', $$
    CREATE TEMP TABLE import (LIKE egress_credential INCLUDING DEFAULTS);
    INSERT INTO import (egress_credential_id, egress_provider_id, name, subject_type, custom_credential, provider_type)
    VALUES (22, 1, 'imported', 'everyone', 'secret', 'custom');
    INSERT INTO egress_credential SELECT * FROM import$$), 'ok', 'admin: looks at rows in a temporary table first');

-- an administrator: everything of a provider by hand, without a sequence or a trigger of the extension getting in the way
SELECT is(outcome('ADMIN', $$
    WITH p AS (INSERT INTO egress_provider (name, provider_type) VALUES ('two', 'openvpn') RETURNING egress_provider_id),
    g AS (INSERT INTO egress_gateway (egress_provider_id, name) SELECT egress_provider_id, 'g' FROM p
          RETURNING egress_gateway_id),
    m AS (INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id, allow_all_gateways)
          SELECT egress_provider_id, 'user', 'ann', false FROM p RETURNING egress_provider_mapping_id),
    c AS (INSERT INTO egress_credential (egress_provider_id, name, subject_type, allow_all_gateways)
          SELECT egress_provider_id, 'c', 'everyone', false FROM p RETURNING egress_credential_id),
    s AS (INSERT INTO egress_provider_mapping_gateway SELECT egress_provider_mapping_id, egress_gateway_id FROM m, g)
    INSERT INTO egress_credential_gateway SELECT egress_credential_id, egress_gateway_id FROM c, g;
    INSERT INTO egress_group_member VALUES ('ann', 'staff');
    UPDATE egress_provider SET enabled = false;
    UPDATE egress_credential SET active_connection_limit = 3, limit_active_connections = true;
    SELECT * FROM egress_connection;
    SELECT * FROM egress_lease_history;
    SELECT egress_credential_public_key(egress_credential_id) FROM egress_credential;
    SELECT password FROM egress_credential;
    SELECT * FROM egress_available_gateways('ann');
    DELETE FROM egress_provider$$), 'ok', 'admin: configures, and deletes a provider with all that is of it');
SELECT is(outcome(who, statement), CASE WHEN who = 'ADMIN' AND statement !~ 'hash' THEN 'ok' ELSE '42501' END, who || ': ' || statement)
FROM unnest(ARRAY['ADMIN', 'monitor_1', 'App "1", role', 'nobody_1']) who,
     unnest(ARRAY[$$SELECT 'a'::egress_secret = 'b'$$, $$SELECT 'a'::egress_secret <> 'b'$$, $$SELECT egress_secret_hash('a')$$,
                  $$SELECT '\x61'::bytea::egress_secret$$]) statement;
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.* IS DISTINCT FROM NEW.* AND OLD IS DISTINCT FROM NEW THEN
        RAISE SQLSTATE 'AU001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit AFTER UPDATE ON egress_credential FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION audit();
SELECT is(outcome('ADMIN', $$UPDATE egress_credential SET custom_credential = 'other'$$), 'AU001', 'admin: changes a secret under a trigger that compares rows');
SELECT is(outcome('ADMIN', $$UPDATE egress_credential SET custom_credential = custom_credential$$), 'ok', 'admin: and one that stays');
DROP TRIGGER audit ON egress_credential;
SELECT is(outcome('ADMIN', $$SELECT egress_acquire_credential('ann', NULL, 11, 's1')$$), '42501', 'admin: does not acquire');
SELECT is(outcome('ADMIN', $$SELECT egress_release_credential('s1')$$), 'ok', 'admin: releases');
SELECT is(outcome('ADMIN', $$SELECT egress_grant_access('nobody_1', 'admin')$$), '42501', 'admin: does not grant');
SELECT is(outcome('ADMIN', statement), '42501', 'admin: ' || statement || ' is not for hands')
FROM statements WHERE object ~ '^table egress_lease' AND action !~ '^SELECT' ORDER BY statement;
SELECT is(outcome('ADMIN', 'TRUNCATE egress_credential CASCADE'), '42501', 'admin: does not truncate past the triggers');

/* ------------------------------------------------- what is refused, whole */

CREATE TABLE acl_before AS SELECT object, acl::text FROM members;
SELECT throws_ok($$SELECT egress_grant_access('nobody_1', 'root')$$, '22023', NULL, 'an access that there is not');
SELECT throws_ok($$SELECT egress_grant_access('nobody_1', '')$$, '22023', NULL, 'an empty one');
SELECT throws_ok($$SELECT egress_grant_access('nobody_1', 'App')$$, '22023', NULL, 'one in another case');
SELECT throws_ok($$SELECT egress_grant_access('nobody_1', NULL)$$, '22004', NULL, 'no access');
SELECT throws_ok($$SELECT egress_grant_access(NULL, 'app')$$, '22004', NULL, 'no role');
SELECT throws_ok($$SELECT egress_grant_access('no such role', 'app')$$, '42704', NULL, 'a role that there is not');
SELECT throws_ok($$SELECT egress_grant_access('', 'app')$$, '42704', NULL, 'an empty one');
SELECT throws_ok($$SELECT egress_grant_access('admin', 'app')$$, '42704', NULL, 'one in another case');
SELECT throws_ok(format('SELECT egress_grant_access(%L, %L)', who, access), '42704', NULL, format('%s for %s', access, who))
FROM unnest('{public,PUBLIC,"\"public\"",none,current_user,CURRENT_ROLE,session_user}'::text[]) who,
     unnest('{app,monitor,admin}'::text[]) access;
SELECT is(outcome('nobody_1', $$SELECT egress_grant_access('nobody_1', 'admin')$$), '42501', 'a grant by whoever may not');
-- (a GRANT of what one holds without the right to pass it on is a warning)
SET LOCAL client_min_messages = error;
GRANT EXECUTE ON FUNCTION egress_grant_access(name, text) TO monitor_1;
REVOKE USAGE ON SCHEMA "Egress's ""Schema""" FROM nobody_1;
SELECT isnt(outcome('nobody_1', $$SELECT egress_grant_access('nobody_1', 'app')$$), 'ok', 'by whoever cannot see the schema');
SELECT is(outcome('monitor_1', $$SELECT egress_grant_access('nobody_1', 'app')$$), '42501',
          'it runs with its caller''s rights: may be called, may not grant');
REVOKE EXECUTE ON FUNCTION egress_grant_access(name, text) FROM monitor_1;
SELECT results_eq('SELECT object, acl::text FROM members ORDER BY object', 'SELECT * FROM acl_before ORDER BY object',
                  'none of these changed a privilege');
SELECT is((SELECT count(*)::int FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'Egress''s "Schema"' AND grantee = 0), 0,
          'nor let PUBLIC see the schema');

/* -------------------------------- functions that run with the owner's rights */

SELECT results_eq($$
    SELECT (proname || CASE WHEN prosecdef THEN ' as owner' ELSE ' as caller' END) COLLATE "default"
    FROM members JOIN pg_proc ON pg_proc.oid = objid WHERE classid = 'pg_proc'::regclass ORDER BY proname$$,
ARRAY[
    'egress_acquire_credential as owner',
    'egress_acquire_credential as owner',
    'egress_acquire_gateway as owner',
    'egress_acquire_gateway as owner',
    'egress_attach_group_members as caller',
    'egress_attach_sessions as caller',
    'egress_available_gateways as owner',
    'egress_available_gateways as owner',
    'egress_benched_now as owner',
    'egress_check_restored as caller',
    'egress_config_has_secret as caller',
    'egress_connection_freed as owner',
    'egress_connections_at as owner',
    'egress_credential_leases as caller',
    'egress_credential_public_key as owner',
    'egress_detach_group_members as caller',
    'egress_detach_sessions as caller',
    'egress_end_expired_leases as owner',
    'egress_end_leases as owner',
    'egress_end_leases as owner',
    'egress_end_leases as owner',
    'egress_end_leases as owner',
    'egress_expire_leases as owner',
    'egress_expire_leases as owner',
    'egress_explain_access as owner',
    'egress_explain_access as owner',
    'egress_fill_provider_type as owner',
    'egress_fill_selection_provider as owner',
    'egress_follow_group_members as owner',
    'egress_gateway_leases as caller',
    'egress_gateway_required as owner',
    'egress_gateway_required as owner',
    'egress_generate_wireguard_key as caller',
    'egress_grant_access as caller',
    'egress_id_from_character as caller',
    'egress_id_in as caller',
    'egress_id_out as caller',
    'egress_id_recv as caller',
    'egress_id_send as caller',
    'egress_import_config as caller',
    'egress_import_credential as caller',
    'egress_leave_members_to_source as owner',
    'egress_orphaned_sessions as owner',
    'egress_pool_handler as caller',
    'egress_pools as owner',
    'egress_prune_history as owner',
    'egress_prune_history as owner',
    'egress_refuse_delete_in_use as owner',
    'egress_refuse_misfit as owner',
    'egress_refuse_move as owner',
    'egress_release_credential as owner',
    'egress_release_credential as owner',
    'egress_release_on_session_end as owner',
    'egress_renew_lease as owner',
    'egress_renew_lease as owner',
    'egress_report_failure as owner',
    'egress_report_failure as owner',
    'egress_report_success as owner',
    'egress_report_success as owner',
    'egress_restore_in_any_order as caller',
    'egress_reveal_secret as caller',
    'egress_rotate_secrets as owner',
    'egress_secret_analyze as caller',
    'egress_secret_eq as caller',
    'egress_secret_from_bytea as caller',
    'egress_secret_hash as caller',
    'egress_secret_in as caller',
    'egress_secret_ne as caller',
    'egress_secret_out as caller',
    'egress_secret_recv as caller',
    'egress_secret_send as caller',
    'egress_secret_state as caller',
    'egress_sweep_leases as caller',
    'egress_sync_gateways as owner',
    'egress_unbench as owner',
    'egress_unentitled_sessions as owner',
    'egress_wireguard_public_key as caller'
], 'whose rights each function runs with');
SELECT is(proconfig, ARRAY['search_path=pg_catalog, pg_temp'], proname || ': search_path is fixed and ends in pg_temp')
FROM members JOIN pg_proc ON pg_proc.oid = objid
WHERE classid = 'pg_proc'::regclass AND objid NOT IN (SELECT oid FROM io_functions)
  -- a condition of the caller's is in its argument, and read as the caller would; it runs with the caller's rights
  -- event triggers look up names as they do elsewhere while these do DDL, with their caller's rights
  AND proname !~ '^egress_((at|de)tach_|grant_access)'
  -- a procedure that has one may not commit; these look up no name
  AND proname NOT IN ('egress_sweep_leases', 'egress_gateway_leases', 'egress_credential_leases', 'egress_secret_state') ORDER BY proname;

SELECT * FROM finish();
ROLLBACK;
