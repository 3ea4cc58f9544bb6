-- catalog.sql -- what the extension declares: columns, keys, indexes, triggers, functions, comments
--
-- src/catalog.h mirrors the order of the columns and names the indexes that the C code reads; the lists of this
-- file are that contract, written down a second time. A change of the install script that the C code does not
-- know of, or of a signature that applications were written against, fails here.
BEGIN;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;

-- the columns of a table in order: name, type, and "not null", identity or default, collation where it is not the default
CREATE FUNCTION columns_of(text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
                     'collate ' || nullif(nullif(c.collname, 'default'), ''),
                     CASE WHEN a.attnotnull THEN 'not null' END,
                     CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'identity' END,
                     'default ' || pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a
    LEFT JOIN pg_collation c ON c.oid = a.attcollation
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = format('vpn.%I', $1)::regclass AND a.attnum > 0
    ORDER BY a.attnum
$$;

/* -------------------------------------------------------------- columns */

SELECT results_eq($$SELECT columns_of('egress_provider')$$, ARRAY[
    'egress_provider_id bigint not null identity',
    'name text not null',
    'provider_type vpn.egress_provider_type not null',
    'enabled boolean not null default true',
    'managed boolean not null default false',
    'enable_new_managed_gateways boolean not null default false',
    'credential_order vpn.egress_credential_order not null default ''first''::vpn.egress_credential_order',
    'bench_after integer default 3',
    'bench_for interval not null default ''00:01:00''::interval'
], 'columns of egress_provider');

SELECT results_eq($$SELECT columns_of('egress_gateway')$$, ARRAY[
    'egress_gateway_id bigint not null identity',
    'egress_provider_id bigint not null',
    'name text not null',
    'country text',
    'city text',
    'config text',
    'enabled boolean not null default true',
    'withdrawn boolean not null default false',
    'provider_type vpn.egress_provider_type not null'
], 'columns of egress_gateway');

SELECT results_eq($$SELECT columns_of('egress_provider_mapping')$$, ARRAY[
    'egress_provider_mapping_id bigint not null identity',
    'egress_provider_id bigint not null',
    'subject_type vpn.egress_subject_type not null',
    'subject_id text collate C',
    'enabled boolean not null default true',
    'allow_all_gateways boolean not null default true'
], 'columns of egress_provider_mapping');

SELECT results_eq($$SELECT columns_of('egress_provider_mapping_gateway')$$, ARRAY[
    'egress_provider_mapping_id bigint not null',
    'egress_gateway_id bigint not null',
    'egress_provider_id bigint not null'
], 'columns of egress_provider_mapping_gateway');

SELECT results_eq($$SELECT columns_of('egress_credential')$$, ARRAY[
    'egress_credential_id bigint not null identity',
    'egress_provider_id bigint not null',
    'name text not null',
    'subject_type vpn.egress_subject_type not null',
    'subject_id text collate C',
    'enabled boolean not null default true',
    'username text',
    'password vpn.egress_secret',
    'private_key vpn.egress_secret',
    'custom_credential vpn.egress_secret',
    'allow_all_gateways boolean not null default true',
    'limit_active_connections boolean not null default false',
    'active_connection_limit integer',
    'provider_type vpn.egress_provider_type not null',
    'client_certificate text',
    'client_key vpn.egress_secret',
    'address text',
    'preshared_key vpn.egress_secret',
    'once_per_gateway boolean',
    'cool_down interval'
], 'columns of egress_credential');

SELECT results_eq($$SELECT columns_of('egress_credential_gateway')$$, ARRAY[
    'egress_credential_id bigint not null',
    'egress_gateway_id bigint not null',
    'egress_provider_id bigint not null'
], 'columns of egress_credential_gateway');

SELECT results_eq($$SELECT columns_of('egress_group_member')$$, ARRAY[
    'user_id text collate C not null',
    'group_id text collate C not null'
], 'columns of egress_group_member');

SELECT results_eq($$SELECT columns_of('egress_workspace')$$, ARRAY[
    'workspace_id text collate C not null',
    'override_egress_gateways boolean not null default false'
], 'columns of egress_workspace');

SELECT results_eq($$SELECT columns_of('egress_user_limit')$$, ARRAY[
    'subject_type vpn.egress_subject_type not null',
    'subject_id text collate C',
    'active_connection_limit integer not null',
    'egress_user_limit_id bigint not null identity'
], 'columns of egress_user_limit');

SELECT results_eq($$SELECT columns_of('egress_lease')$$, ARRAY[
    'session_id text collate C not null',
    'egress_credential_id bigint not null',
    'egress_gateway_id bigint not null',
    'user_id text collate C not null',
    'workspace_id text collate C',
    'acquired_at timestamp with time zone not null',
    'slot integer',
    'cooling boolean not null default false',
    'user_slot integer'
], 'columns of egress_lease');

SELECT results_eq($$SELECT columns_of('egress_lease_expiry')$$, ARRAY[
    'session_id text collate C not null',
    'egress_credential_id bigint not null',
    'expires_at timestamp with time zone not null'
], 'columns of egress_lease_expiry');

SELECT results_eq($$SELECT columns_of('egress_lease_history')$$, ARRAY[
    'egress_lease_history_id bigint not null identity',
    'session_id text collate C not null',
    'egress_credential_id bigint not null',
    'credential_name text not null',
    'egress_gateway_id bigint not null',
    'gateway_name text not null',
    'provider_name text not null',
    'country text',
    'city text',
    'user_id text collate C not null',
    'workspace_id text collate C',
    'acquired_at timestamp with time zone not null',
    'released_at timestamp with time zone not null',
    'release_reason text not null'
], 'columns of egress_lease_history');

SELECT results_eq($$SELECT columns_of('egress_report')$$, ARRAY[
    'egress_report_id bigint not null identity',
    'egress_gateway_id bigint',
    'egress_credential_id bigint',
    'session_id text collate C',
    'reported_at timestamp with time zone not null'
], 'columns of egress_report');

SELECT results_eq($$SELECT columns_of('egress_failure')$$, ARRAY[
    'egress_failure_id bigint not null identity',
    'reported_at timestamp with time zone not null',
    'session_id text collate C not null',
    'failure text not null',
    'egress_gateway_id bigint not null',
    'gateway_name text not null',
    'egress_credential_id bigint not null',
    'credential_name text not null',
    'provider_name text not null',
    'user_id text collate C not null'
], 'columns of egress_failure');

SELECT results_eq($$SELECT columns_of('egress_credential_usage')$$, ARRAY[
    'egress_credential_id bigint',
    'credential_name text',
    'egress_provider_id bigint',
    'provider_name text',
    'subject_type vpn.egress_subject_type',
    'subject_id text collate C',
    'enabled boolean',
    'active_connections bigint',
    'active_connection_limit integer',
    'available_connections bigint',
    'oldest_lease_at timestamp with time zone',
    'once_per_gateway boolean',
    'cooling_connections bigint'
], 'columns of egress_credential_usage');

SELECT results_eq($$SELECT columns_of('egress_gateway_usage')$$, ARRAY[
    'egress_gateway_id bigint',
    'gateway_name text',
    'country text',
    'city text',
    'egress_provider_id bigint',
    'provider_name text',
    'enabled boolean',
    'withdrawn boolean',
    'active_connections bigint',
    'provider_enabled boolean',
    'not_renewed bigint'
], 'columns of egress_gateway_usage');

SELECT results_eq($$SELECT columns_of('egress_connection')$$, ARRAY[
    'session_id text collate C',
    'user_id text collate C',
    'workspace_id text collate C',
    'egress_credential_id bigint',
    'credential_name text',
    'egress_gateway_id bigint',
    'gateway_name text',
    'country text',
    'city text',
    'egress_provider_id bigint',
    'provider_name text',
    'provider_type vpn.egress_provider_type',
    'acquired_at timestamp with time zone',
    'expires_at timestamp with time zone'
], 'columns of egress_connection');

SELECT results_eq($$SELECT columns_of('egress_live_lease')$$, ARRAY[
    'session_id text collate C',
    'user_id text collate C',
    'workspace_id text collate C',
    'egress_credential_id bigint',
    'egress_gateway_id bigint',
    'acquired_at timestamp with time zone',
    'expires_at timestamp with time zone'
], 'columns of egress_live_lease');

SELECT results_eq($$SELECT columns_of('egress_access_explanation')$$, ARRAY[
    'egress_gateway_id bigint',
    'gateway_name text',
    'provider_name text',
    'verdict text',
    'egress_credential_id bigint',
    'detail text'
], 'columns of egress_access_explanation');

SELECT results_eq($$SELECT columns_of('egress_available_gateway')$$, ARRAY[
    'egress_gateway_id bigint',
    'gateway_name text',
    'country text',
    'city text',
    'egress_provider_id bigint',
    'provider_name text',
    'provider_type vpn.egress_provider_type',
    'available_connections bigint'
], 'columns of egress_available_gateway');

SELECT results_eq($$SELECT columns_of('egress_acquired_credential')$$, ARRAY[
    'egress_credential_id bigint',
    'credential_name text',
    'username text',
    'password text',
    'private_key text',
    'custom_credential text',
    'gateway_name text',
    'country text',
    'city text',
    'egress_provider_id bigint',
    'provider_name text',
    'provider_type vpn.egress_provider_type',
    'config text',
    'acquired_at timestamp with time zone',
    'client_certificate text',
    'client_key text',
    'address text',
    'preshared_key text'
], 'columns of egress_acquired_credential');

SELECT is(columns_of, (SELECT array_agg(c ORDER BY n) FROM (SELECT 'egress_gateway_id bigint' AS c, 0::bigint AS n
                       UNION ALL SELECT * FROM columns_of('egress_acquired_credential') WITH ORDINALITY) c),
          'columns of egress_acquired_gateway: its id, and those of egress_acquired_credential')
FROM (SELECT array_agg(c ORDER BY n) AS columns_of FROM columns_of('egress_acquired_gateway') WITH ORDINALITY c (c, n)) c;

SELECT results_eq($$SELECT columns_of('egress_imported_config')$$, ARRAY[
    'config text',
    'removed text[]'
], 'columns of egress_imported_config');

SELECT results_eq($$SELECT columns_of('egress_imported_credential')$$, ARRAY[
    'config text',
    'removed text[]',
    'username text',
    'password text',
    'client_certificate text',
    'client_key text',
    'private_key text',
    'address text',
    'preshared_key text'
], 'columns of egress_imported_credential');

SELECT results_eq($$SELECT columns_of('egress_synced_gateway')$$, ARRAY[
    'action text',
    'egress_gateway_id bigint',
    'name text'
], 'columns of egress_synced_gateway');

SELECT results_eq($$SELECT columns_of('egress_ended_lease')$$, ARRAY[
    'session_id text',
    'user_id text',
    'workspace_id text',
    'egress_gateway_id bigint',
    'egress_credential_id bigint'
], 'columns of egress_ended_lease');

SELECT results_eq($$SELECT columns_of('egress_benched_target')$$, ARRAY[
    'egress_gateway_id bigint',
    'egress_credential_id bigint',
    'failures bigint',
    'benched_until timestamp with time zone'
], 'columns of egress_benched_target');

SELECT results_eq($$SELECT columns_of('egress_benched')$$, ARRAY[
    'egress_gateway_id bigint',
    'egress_credential_id bigint',
    'failures bigint',
    'benched_until timestamp with time zone',
    'gateway_name text',
    'credential_name text',
    'egress_provider_id bigint',
    'provider_name text'
], 'columns of egress_benched');

SELECT results_eq($$SELECT columns_of('egress_pool_state')$$, ARRAY[
    'egress_provider_id bigint',
    'subject_type vpn.egress_subject_type',
    'subject_id text',
    'credentials bigint',
    'once_per_gateway bigint',
    'benched bigint',
    'active_connections bigint',
    'cooling_connections bigint',
    'active_connection_limit bigint',
    'gateways bigint',
    'exhausted_gateways bigint',
    'fullest_gateway_id bigint',
    'fullest_limit bigint',
    'fullest_available bigint'
], 'columns of egress_pool_state');

SELECT results_eq($$SELECT columns_of('egress_pool_usage')$$, ARRAY[
    'egress_provider_id bigint',
    'provider_name text',
    'subject_type vpn.egress_subject_type',
    'subject_id text',
    'credentials bigint',
    'once_per_gateway bigint',
    'benched bigint',
    'active_connections bigint',
    'cooling_connections bigint',
    'active_connection_limit bigint',
    'gateways bigint',
    'exhausted_gateways bigint',
    'fullness double precision',
    'fullest_gateway_id bigint',
    'fullest_gateway_name text'
], 'columns of egress_pool_usage');

SELECT results_eq($$SELECT columns_of('egress_upkeep')$$, ARRAY[
    'expired_leases bigint',
    'expired_since timestamp with time zone',
    'history_since timestamp with time zone'
], 'columns of egress_upkeep');

SELECT enum_has_labels('vpn', 'egress_provider_type', ARRAY['openvpn', 'wireguard', 'custom']);
SELECT enum_has_labels('vpn', 'egress_credential_order', ARRAY['first', 'spread']);
SELECT enum_has_labels('vpn', 'egress_subject_type', ARRAY['user', 'group', 'workspace', 'everyone']);

/* ----------------------------------------------------------------- keys */

SELECT results_eq($$
    SELECT line COLLATE "default"
    FROM pg_constraint, replace(format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)), 'vpn.', '') line
    WHERE connamespace = 'vpn'::regnamespace AND contype IN ('p', 'u') ORDER BY line COLLATE "C"$$,
ARRAY[
    'egress_credential PRIMARY KEY (egress_credential_id)',
    'egress_credential UNIQUE (egress_provider_id, egress_credential_id)',
    'egress_credential_gateway PRIMARY KEY (egress_credential_id, egress_gateway_id)',
    'egress_failure PRIMARY KEY (egress_failure_id)',
    'egress_gateway PRIMARY KEY (egress_gateway_id)',
    'egress_gateway UNIQUE (egress_provider_id, egress_gateway_id)',
    'egress_gateway UNIQUE (egress_provider_id, name)',
    'egress_group_member PRIMARY KEY (user_id, group_id)',
    'egress_lease PRIMARY KEY (session_id)',
    'egress_lease UNIQUE (egress_credential_id, slot) INCLUDE (cooling, egress_gateway_id)',
    'egress_lease UNIQUE (user_id, user_slot)',
    'egress_lease_expiry PRIMARY KEY (session_id)',
    'egress_lease_history PRIMARY KEY (egress_lease_history_id)',
    'egress_provider PRIMARY KEY (egress_provider_id)',
    'egress_provider UNIQUE (egress_provider_id, provider_type)',
    'egress_provider UNIQUE (name)',
    'egress_provider_mapping PRIMARY KEY (egress_provider_mapping_id)',
    'egress_provider_mapping UNIQUE (egress_provider_id, egress_provider_mapping_id)',
    'egress_provider_mapping_gateway PRIMARY KEY (egress_provider_mapping_id, egress_gateway_id)',
    'egress_report PRIMARY KEY (egress_report_id)',
    'egress_user_limit PRIMARY KEY (egress_user_limit_id)',
    'egress_user_limit UNIQUE NULLS NOT DISTINCT (subject_type, subject_id)',
    'egress_workspace PRIMARY KEY (workspace_id)'
], 'primary keys and unique keys');

SELECT results_eq($$
    SELECT line COLLATE "default"
    FROM pg_constraint, replace(format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)), 'vpn.', '') line
    WHERE connamespace = 'vpn'::regnamespace AND contype = 'f' ORDER BY line COLLATE "C"$$,
ARRAY[
    'egress_credential FOREIGN KEY (egress_provider_id, provider_type) '
        'REFERENCES egress_provider(egress_provider_id, provider_type) ON DELETE CASCADE',
    'egress_credential_gateway FOREIGN KEY (egress_provider_id, egress_credential_id) '
        'REFERENCES egress_credential(egress_provider_id, egress_credential_id) ON DELETE CASCADE',
    'egress_credential_gateway FOREIGN KEY (egress_provider_id, egress_gateway_id) '
        'REFERENCES egress_gateway(egress_provider_id, egress_gateway_id) ON DELETE CASCADE',
    'egress_gateway FOREIGN KEY (egress_provider_id, provider_type) '
        'REFERENCES egress_provider(egress_provider_id, provider_type) ON DELETE CASCADE',
    'egress_lease FOREIGN KEY (egress_credential_id) REFERENCES egress_credential(egress_credential_id)',
    'egress_lease FOREIGN KEY (egress_gateway_id) REFERENCES egress_gateway(egress_gateway_id)',
    'egress_lease_expiry FOREIGN KEY (session_id) REFERENCES egress_lease(session_id) ON DELETE CASCADE',
    'egress_provider_mapping FOREIGN KEY (egress_provider_id) REFERENCES egress_provider(egress_provider_id) ON DELETE CASCADE',
    'egress_provider_mapping_gateway FOREIGN KEY (egress_provider_id, egress_gateway_id) '
        'REFERENCES egress_gateway(egress_provider_id, egress_gateway_id) ON DELETE CASCADE',
    'egress_provider_mapping_gateway FOREIGN KEY (egress_provider_id, egress_provider_mapping_id) '
        'REFERENCES egress_provider_mapping(egress_provider_id, egress_provider_mapping_id) ON DELETE CASCADE',
    'egress_report FOREIGN KEY (egress_credential_id) REFERENCES egress_credential(egress_credential_id) ON DELETE CASCADE',
    'egress_report FOREIGN KEY (egress_gateway_id) REFERENCES egress_gateway(egress_gateway_id) ON DELETE CASCADE'
], 'foreign keys');

SELECT is_empty($$
    SELECT conrelid::regclass, conname FROM pg_constraint
    WHERE connamespace = 'vpn'::regnamespace AND (NOT convalidated OR condeferrable)$$,
'every key is checked at once and holds for every row');

-- which columns have a rule of their own; sql/70_bad_input.sql has the rules
SELECT results_eq($$
    SELECT line COLLATE "default"
    FROM pg_constraint, format('%s (%s)', replace(conrelid::regclass::text, 'vpn.', ''),
                               (SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                                WHERE attrelid = conrelid AND attnum = ANY (conkey))) line
    WHERE connamespace = 'vpn'::regnamespace AND contype = 'c' ORDER BY line COLLATE "C"$$,
ARRAY[
    'egress_credential (active_connection_limit)',
    'egress_credential (cool_down)',
    'egress_credential (limit_active_connections, active_connection_limit)',
    'egress_credential (name)',
    'egress_credential (subject_id)',
    'egress_credential (subject_type, subject_id)',
    'egress_failure (failure)',
    'egress_gateway (city)',
    'egress_gateway (country)',
    'egress_gateway (name)',
    'egress_group_member (group_id)',
    'egress_group_member (user_id)',
    'egress_lease (session_id)',
    'egress_lease (slot)',
    'egress_lease (user_id)',
    'egress_lease (user_slot)',
    'egress_lease (workspace_id)',
    'egress_lease_history (acquired_at, released_at)',
    'egress_lease_history (release_reason)',
    'egress_provider (bench_after)',
    'egress_provider (bench_for)',
    'egress_provider (name)',
    'egress_provider_mapping (subject_id)',
    'egress_provider_mapping (subject_type, subject_id)',
    'egress_report (egress_gateway_id, egress_credential_id)',
    'egress_report (session_id)',
    'egress_user_limit (active_connection_limit)',
    'egress_user_limit (subject_id)',
    'egress_user_limit (subject_type)',
    'egress_user_limit (subject_type, subject_id)',
    'egress_workspace (workspace_id)'
], 'columns with a check');

-- the indexes that src/catalog.c looks up by name, with the columns in the order in which src/scan.c gives keys
SELECT results_eq($$
    SELECT format('%s: %s (%s)%s', i.indexrelid::regclass, i.indrelid::regclass,
                  (SELECT string_agg(pg_get_indexdef(i.indexrelid, n, false), ', ' ORDER BY n)
                   FROM generate_series(1, i.indnatts) n),
                  CASE WHEN i.indisunique THEN ' unique' END
                  || CASE WHEN i.indnullsnotdistinct THEN ', nulls not distinct' ELSE '' END) COLLATE "default"
    FROM unnest(ARRAY['egress_provider_pkey', 'egress_gateway_pkey', 'egress_gateway_menu', 'egress_gateway_country', 'egress_gateway_city',
                      'egress_provider_mapping_pkey', 'egress_provider_mapping_subject', 'egress_provider_mapping_gateway_pkey',
                      'egress_credential_pkey', 'egress_credential_subject', 'egress_credential_pool',
                      'egress_credential_gateway_pkey', 'egress_credential_gateway_gateway',
                      'egress_group_member_pkey', 'egress_workspace_pkey', 'egress_user_limit_subject', 'egress_lease_pkey',
                      'egress_lease_egress_credential_id_slot_key', 'egress_lease_user_id_user_slot_key',
                      'egress_lease_gateway', 'egress_lease_expiry_pkey', 'egress_lease_expiry_credential',
                      'egress_report_gateway', 'egress_report_credential']) WITH ORDINALITY wanted (name, nr)
    LEFT JOIN pg_index i ON i.indexrelid = to_regclass('vpn.' || wanted.name) AND i.indisvalid
         AND pg_get_expr(indpred, indrelid) IS NOT DISTINCT FROM
             CASE WHEN wanted.name IN ('egress_gateway_country', 'egress_gateway_city') THEN '(enabled AND (NOT withdrawn))' END
    ORDER BY nr$$,
ARRAY[
    'vpn.egress_provider_pkey: vpn.egress_provider (egress_provider_id) unique',
    'vpn.egress_gateway_pkey: vpn.egress_gateway (egress_gateway_id) unique',
    'vpn.egress_gateway_menu: vpn.egress_gateway (egress_provider_id, country, city, name, egress_gateway_id, enabled, withdrawn)',
    'vpn.egress_gateway_country: vpn.egress_gateway (egress_provider_id, lower(country), lower(city), egress_gateway_id)',
    'vpn.egress_gateway_city: vpn.egress_gateway (egress_provider_id, lower(city), egress_gateway_id)',
    'vpn.egress_provider_mapping_pkey: vpn.egress_provider_mapping (egress_provider_mapping_id) unique',
    'vpn.egress_provider_mapping_subject: vpn.egress_provider_mapping (subject_type, subject_id, egress_provider_id)',
    'vpn.egress_provider_mapping_gateway_pkey: vpn.egress_provider_mapping_gateway '
        '(egress_provider_mapping_id, egress_gateway_id) unique',
    'vpn.egress_credential_pkey: vpn.egress_credential (egress_credential_id) unique',
    'vpn.egress_credential_subject: vpn.egress_credential (subject_type, subject_id, egress_provider_id, allow_all_gateways, enabled)',
    'vpn.egress_credential_pool: vpn.egress_credential (egress_credential_id, subject_type, subject_id, '
        'egress_provider_id, enabled, allow_all_gateways, limit_active_connections, active_connection_limit, once_per_gateway, cool_down)',
    'vpn.egress_credential_gateway_pkey: vpn.egress_credential_gateway (egress_credential_id, egress_gateway_id) unique',
    'vpn.egress_credential_gateway_gateway: vpn.egress_credential_gateway (egress_gateway_id)',
    'vpn.egress_group_member_pkey: vpn.egress_group_member (user_id, group_id) unique',
    'vpn.egress_workspace_pkey: vpn.egress_workspace (workspace_id) unique',
    'vpn.egress_user_limit_subject: vpn.egress_user_limit (COALESCE(subject_id, ''''::text))',
    'vpn.egress_lease_pkey: vpn.egress_lease (session_id) unique',
    'vpn.egress_lease_egress_credential_id_slot_key: vpn.egress_lease (egress_credential_id, slot, cooling, egress_gateway_id) unique',
    'vpn.egress_lease_user_id_user_slot_key: vpn.egress_lease (user_id, user_slot) unique',
    'vpn.egress_lease_gateway: vpn.egress_lease (egress_gateway_id, egress_credential_id)',
    'vpn.egress_lease_expiry_pkey: vpn.egress_lease_expiry (session_id) unique',
    'vpn.egress_lease_expiry_credential: vpn.egress_lease_expiry (egress_credential_id)',
    'vpn.egress_report_gateway: vpn.egress_report (egress_gateway_id)',
    'vpn.egress_report_credential: vpn.egress_report (egress_credential_id)'
], 'indexes that the C code reads');

-- a foreign key whose columns lead no index makes each deletion of what it refers to read the whole table
SELECT is_empty($$
    SELECT conrelid::regclass, conname FROM pg_constraint c
    WHERE connamespace = 'vpn'::regnamespace AND contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_index i
        WHERE i.indrelid = c.conrelid AND i.indpred IS NULL AND (i.indkey::int2[])[0] = ANY (c.conkey))$$,
'a column of every foreign key leads an index');

/* ------------------------------------------------------------- triggers */

-- those that refuse a deletion in use matter beside open transactions of others: test/isolation has these
SELECT results_eq($$
    SELECT replace(regexp_replace(pg_get_triggerdef(oid), 'CREATE TRIGGER (.*) FOR EACH (?:ROW|STATEMENT) (WHEN .* )?EXECUTE FUNCTION (.*)',
                                  '\1: \3'), 'vpn.', '') || CASE tgenabled WHEN 'A' THEN ', always' ELSE '' END COLLATE "default"
    FROM pg_trigger
    WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'vpn'::regnamespace) AND NOT tgisinternal AND tgenabled IN ('O', 'A')
    ORDER BY tgname, tgrelid::regclass::text COLLATE "C"$$,
ARRAY[
    'egress_check_restored AFTER INSERT ON egress_credential: egress_check_restored()',
    'egress_check_restored AFTER INSERT ON egress_gateway: egress_check_restored()',
    'egress_check_restored AFTER INSERT ON egress_group_member: egress_check_restored()',
    'egress_check_restored AFTER INSERT ON egress_lease: egress_check_restored()',
    'egress_check_restored AFTER INSERT ON egress_provider: egress_check_restored()',
    'egress_check_restored AFTER INSERT ON egress_provider_mapping: egress_check_restored()',
    'egress_connection_freed AFTER DELETE OR UPDATE ON egress_lease: egress_connection_freed(), always',
    'egress_connection_freed AFTER INSERT OR UPDATE ON egress_lease_expiry: egress_connection_freed(), always',
    'egress_connections_freed AFTER TRUNCATE ON egress_lease: egress_connection_freed(), always',
    'egress_end_expired_leases BEFORE DELETE ON egress_credential: egress_end_expired_leases()',
    'egress_end_expired_leases BEFORE DELETE ON egress_gateway: egress_end_expired_leases()',
    'egress_end_expired_leases BEFORE DELETE ON egress_provider: egress_end_expired_leases()',
    'egress_fill_provider_type BEFORE INSERT ON egress_credential: egress_fill_provider_type()',
    'egress_fill_provider_type BEFORE INSERT ON egress_gateway: egress_fill_provider_type()',
    'egress_fill_selection_provider BEFORE INSERT OR UPDATE ON egress_credential_gateway: egress_fill_selection_provider()',
    'egress_fill_selection_provider BEFORE INSERT OR UPDATE ON egress_provider_mapping_gateway: '
        'egress_fill_selection_provider()',
    'egress_leave_members_to_source BEFORE INSERT OR DELETE OR UPDATE ON egress_group_member: egress_leave_members_to_source(), always',
    'egress_leave_members_whole BEFORE TRUNCATE ON egress_group_member: egress_leave_members_to_source(), always',
    'egress_refuse_delete_in_use AFTER DELETE ON egress_credential: egress_refuse_delete_in_use()',
    'egress_refuse_delete_in_use AFTER DELETE ON egress_gateway: egress_refuse_delete_in_use()',
    'egress_refuse_misfit BEFORE INSERT OR UPDATE OF username, password, private_key, custom_credential, provider_type, '
        'client_certificate, client_key, address, preshared_key ON egress_credential: egress_refuse_misfit()',
    'egress_refuse_misfit BEFORE INSERT OR UPDATE OF config, provider_type ON egress_gateway: egress_refuse_misfit()',
    'egress_refuse_move BEFORE UPDATE ON egress_credential: egress_refuse_move()',
    'egress_refuse_move BEFORE UPDATE ON egress_gateway: egress_refuse_move()',
    'egress_refuse_move BEFORE UPDATE ON egress_provider: egress_refuse_move()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_credential: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_credential_gateway: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_gateway: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_group_member: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_lease: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_lease_expiry: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_provider_mapping: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_provider_mapping_gateway: egress_restore_in_any_order()',
    'egress_restore_in_any_order BEFORE INSERT ON egress_report: egress_restore_in_any_order()'
], 'triggers of the tables');

/* ------------------------------------------------------------ functions */

SELECT results_eq($$
    SELECT replace(format('%s(%s) -> %s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid)),
                   'vpn.', '') COLLATE "default"
    FROM pg_proc WHERE pronamespace = 'vpn'::regnamespace ORDER BY proname, pronargs, oidvectortypes(proargtypes) COLLATE "C"$$,
ARRAY[
    'egress_acquire_credential(user_id text, workspace_id text, egress_gateway_id bigint, session_id text, '
        'ttl interval DEFAULT NULL::interval) -> egress_acquired_credential',
    'egress_acquire_credential(user_id egress_id, workspace_id egress_id, egress_gateway_id bigint, session_id egress_id, '
        'ttl interval DEFAULT NULL::interval) -> egress_acquired_credential',
    'egress_acquire_gateway(user_id text, workspace_id text, session_id text, countries text[] DEFAULT NULL::text[], '
        'cities text[] DEFAULT NULL::text[], providers text[] DEFAULT NULL::text[], avoid bigint[] DEFAULT NULL::bigint[], '
        'ttl interval DEFAULT NULL::interval) -> egress_acquired_gateway',
    'egress_acquire_gateway(user_id egress_id, workspace_id egress_id, session_id egress_id, countries text[] DEFAULT NULL::text[], '
        'cities text[] DEFAULT NULL::text[], providers text[] DEFAULT NULL::text[], avoid bigint[] DEFAULT NULL::bigint[], '
        'ttl interval DEFAULT NULL::interval) -> egress_acquired_gateway',
    'egress_attach_group_members(member_table regclass, user_id_column name, group_id_column name) -> void',
    'egress_attach_sessions(session_table regclass, session_id_column name, ended_when text DEFAULT NULL::text, must_exist boolean DEFAULT false) '
        '-> void',
    'egress_available_gateways(user_id text, workspace_id text DEFAULT NULL::text) -> SETOF egress_available_gateway',
    'egress_available_gateways(user_id egress_id, workspace_id egress_id DEFAULT NULL::egress_id) -> SETOF egress_available_gateway',
    'egress_benched_now() -> SETOF egress_benched_target',
    'egress_check_restored() -> trigger',
    'egress_config_has_secret(provider_type egress_provider_type, config text) -> boolean',
    'egress_connection_freed() -> trigger',
    'egress_connections_at(moment timestamp with time zone, egress_gateway_id bigint DEFAULT NULL::bigint) -> '
        'SETOF egress_lease_history',
    'egress_credential_leases(egress_credential_id bigint, OUT active_connections bigint, '
        'OUT cooling_connections bigint, OUT oldest_lease_at timestamp with time zone) -> record',
    'egress_credential_public_key(egress_credential_id bigint) -> text',
    'egress_detach_group_members(member_table regclass) -> void',
    'egress_detach_sessions(session_table regclass) -> void',
    'egress_end_expired_leases() -> trigger',
    'egress_end_leases(workspace_id egress_id, egress_gateway_id bigint DEFAULT NULL::bigint, '
        'egress_credential_id bigint DEFAULT NULL::bigint, egress_provider_id bigint DEFAULT NULL::bigint, '
        'unentitled boolean DEFAULT NULL::boolean, orphaned boolean DEFAULT NULL::boolean) -> SETOF egress_ended_lease',
    'egress_end_leases(user_id egress_id, workspace_id egress_id DEFAULT NULL::egress_id, egress_gateway_id bigint DEFAULT NULL::bigint, '
        'egress_credential_id bigint DEFAULT NULL::bigint, egress_provider_id bigint DEFAULT NULL::bigint, '
        'unentitled boolean DEFAULT NULL::boolean, orphaned boolean DEFAULT NULL::boolean) -> SETOF egress_ended_lease',
    'egress_end_leases(session_id text DEFAULT NULL::text, user_id text DEFAULT NULL::text, '
        'workspace_id text DEFAULT NULL::text, egress_gateway_id bigint DEFAULT NULL::bigint, '
        'egress_credential_id bigint DEFAULT NULL::bigint, egress_provider_id bigint DEFAULT NULL::bigint, '
        'unentitled boolean DEFAULT NULL::boolean, orphaned boolean DEFAULT NULL::boolean) -> SETOF egress_ended_lease',
    'egress_end_leases(session_id egress_id, user_id egress_id DEFAULT NULL::egress_id, '
        'workspace_id egress_id DEFAULT NULL::egress_id, egress_gateway_id bigint DEFAULT NULL::bigint, '
        'egress_credential_id bigint DEFAULT NULL::bigint, egress_provider_id bigint DEFAULT NULL::bigint, '
        'unentitled boolean DEFAULT NULL::boolean, orphaned boolean DEFAULT NULL::boolean) -> SETOF egress_ended_lease',
    'egress_expire_leases() -> bigint',
    'egress_expire_leases(max_rows integer) -> bigint',
    'egress_explain_access(user_id text, workspace_id text DEFAULT NULL::text, egress_gateway_id bigint DEFAULT NULL::bigint) '
        '-> SETOF egress_access_explanation',
    'egress_explain_access(user_id egress_id, workspace_id egress_id DEFAULT NULL::egress_id, egress_gateway_id bigint DEFAULT NULL::bigint) '
        '-> SETOF egress_access_explanation',
    'egress_fill_provider_type() -> trigger',
    'egress_fill_selection_provider() -> trigger',
    'egress_follow_group_members() -> trigger',
    'egress_gateway_leases(egress_gateway_id bigint, OUT active_connections bigint, OUT not_renewed bigint) -> record',
    'egress_gateway_required(workspace_id text) -> boolean',
    'egress_gateway_required(workspace_id egress_id) -> boolean',
    'egress_generate_wireguard_key() -> text',
    'egress_grant_access(role name, access text) -> void',
    'egress_id_from_character(character) -> egress_id',
    'egress_id_in(cstring) -> egress_id',
    'egress_id_out(egress_id) -> cstring',
    'egress_id_recv(internal) -> egress_id',
    'egress_id_send(egress_id) -> bytea',
    'egress_import_config(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL::jsonb) '
        '-> egress_imported_config',
    'egress_import_credential(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL::jsonb) '
        '-> egress_imported_credential',
    'egress_leave_members_to_source() -> trigger',
    'egress_orphaned_sessions() -> SETOF text',
    'egress_pool_handler(internal) -> index_am_handler',
    'egress_pools() -> SETOF egress_pool_state',
    'egress_prune_history(older_than interval) -> bigint',
    'egress_prune_history(older_than interval, max_rows bigint) -> bigint',
    'egress_refuse_delete_in_use() -> trigger',
    'egress_refuse_misfit() -> trigger',
    'egress_refuse_move() -> trigger',
    'egress_release_credential(session_id text) -> boolean',
    'egress_release_credential(session_id egress_id) -> boolean',
    'egress_release_on_session_end() -> trigger',
    'egress_renew_lease(session_id text, ttl interval) -> timestamp with time zone',
    'egress_renew_lease(session_id egress_id, ttl interval) -> timestamp with time zone',
    'egress_report_failure(session_id text, failure text) -> void',
    'egress_report_failure(session_id egress_id, failure text) -> void',
    'egress_report_success(session_id text) -> void',
    'egress_report_success(session_id egress_id) -> void',
    'egress_restore_in_any_order() -> trigger',
    'egress_reveal_secret(secret egress_secret) -> text',
    'egress_rotate_secrets() -> bigint',
    'egress_secret_analyze(internal) -> boolean',
    'egress_secret_eq(egress_secret, egress_secret) -> boolean',
    'egress_secret_from_bytea(bytea) -> egress_secret',
    'egress_secret_hash(egress_secret) -> integer',
    'egress_secret_in(cstring) -> egress_secret',
    'egress_secret_ne(egress_secret, egress_secret) -> boolean',
    'egress_secret_out(egress_secret) -> cstring',
    'egress_secret_recv(internal) -> egress_secret',
    'egress_secret_send(egress_secret) -> bytea',
    'egress_secret_state(secret egress_secret) -> text',
    'egress_sweep_leases(IN batch_size integer DEFAULT 1000) -> ',
    'egress_sync_gateways(egress_provider_id bigint, gateways jsonb, max_withdrawn double precision DEFAULT 0.5, '
        'import boolean DEFAULT false, files jsonb DEFAULT NULL::jsonb, skip_bad boolean DEFAULT false) -> SETOF egress_synced_gateway',
    'egress_unbench(egress_gateway_id bigint DEFAULT NULL::bigint, egress_credential_id bigint DEFAULT NULL::bigint) -> boolean',
    'egress_unentitled_sessions() -> SETOF text',
    'egress_wireguard_public_key(private_key text) -> text'
], 'signatures of the functions');

-- \df is read in a terminal: an argument list or a result that is a list of columns belongs into a type
SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'vpn'::regnamespace AND
          length(replace(pg_get_function_arguments(oid), 'vpn.', '')) > CASE WHEN proname = 'egress_end_leases' THEN 340 ELSE 260 END$$,
'every function fits into a line of \df; that of an administrator into a longer one');

SELECT results_eq($$
    SELECT concat_ws(' ', proname, l.lanname,
                     CASE provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END,
                     CASE proparallel WHEN 'u' THEN 'unsafe' WHEN 'r' THEN 'restricted' ELSE 'safe' END,
                     CASE WHEN proisstrict THEN 'strict' END) COLLATE "default"
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE pronamespace = 'vpn'::regnamespace ORDER BY proname, pronargs$$,
ARRAY[
    'egress_acquire_credential c volatile unsafe',
    'egress_acquire_credential c volatile unsafe',
    'egress_acquire_gateway c volatile unsafe',
    'egress_acquire_gateway c volatile unsafe',
    'egress_attach_group_members c volatile unsafe',
    'egress_attach_sessions c volatile unsafe',
    'egress_available_gateways c stable safe',
    'egress_available_gateways c stable safe',
    'egress_benched_now c stable safe',
    'egress_check_restored c volatile unsafe',
    'egress_config_has_secret c stable safe',
    'egress_connection_freed c volatile unsafe',
    'egress_connections_at c stable unsafe',
    'egress_credential_leases c volatile restricted',
    'egress_credential_public_key c stable safe',
    'egress_detach_group_members c volatile unsafe',
    'egress_detach_sessions c volatile unsafe',
    'egress_end_expired_leases c volatile unsafe',
    'egress_end_leases c volatile unsafe',
    'egress_end_leases c volatile unsafe',
    'egress_end_leases c volatile unsafe',
    'egress_end_leases c volatile unsafe',
    'egress_expire_leases c volatile unsafe',
    'egress_expire_leases c volatile unsafe',
    'egress_explain_access c stable safe',
    'egress_explain_access c stable safe',
    'egress_fill_provider_type c volatile unsafe',
    'egress_fill_selection_provider c volatile unsafe',
    'egress_follow_group_members c volatile unsafe',
    'egress_gateway_leases c volatile restricted',
    'egress_gateway_required c stable safe',
    'egress_gateway_required c stable safe',
    'egress_generate_wireguard_key c volatile safe',
    'egress_grant_access c volatile unsafe',
    'egress_id_from_character internal immutable safe strict',
    'egress_id_in internal immutable safe strict',
    'egress_id_out internal immutable safe strict',
    'egress_id_recv internal stable safe strict',
    'egress_id_send internal stable safe strict',
    'egress_import_config c stable safe',
    'egress_import_credential c stable safe',
    'egress_leave_members_to_source c volatile unsafe',
    'egress_orphaned_sessions c stable unsafe',
    'egress_pool_handler c volatile unsafe strict',
    'egress_pools c stable safe',
    'egress_prune_history c volatile unsafe',
    'egress_prune_history c volatile unsafe',
    'egress_refuse_delete_in_use c volatile unsafe',
    'egress_refuse_misfit c volatile unsafe',
    'egress_refuse_move c volatile unsafe',
    'egress_release_credential c volatile unsafe',
    'egress_release_credential c volatile unsafe',
    'egress_release_on_session_end c volatile unsafe',
    'egress_renew_lease c volatile unsafe',
    'egress_renew_lease c volatile unsafe',
    'egress_report_failure c volatile unsafe',
    'egress_report_failure c volatile unsafe',
    'egress_report_success c volatile unsafe',
    'egress_report_success c volatile unsafe',
    'egress_restore_in_any_order c volatile unsafe',
    'egress_reveal_secret c stable safe',
    'egress_rotate_secrets c volatile unsafe',
    'egress_secret_analyze c volatile unsafe strict',
    'egress_secret_eq internal immutable safe strict',
    'egress_secret_from_bytea c stable safe strict',
    'egress_secret_hash internal immutable safe strict',
    'egress_secret_in c stable safe strict',
    'egress_secret_ne internal immutable safe strict',
    'egress_secret_out c immutable safe strict',
    'egress_secret_recv c stable safe strict',
    'egress_secret_send c immutable safe strict',
    'egress_secret_state c stable safe',
    'egress_sweep_leases c volatile unsafe',
    'egress_sync_gateways c volatile unsafe',
    'egress_unbench c volatile unsafe',
    'egress_unentitled_sessions c stable safe',
    'egress_wireguard_public_key c immutable safe'
], 'volatility and parallel safety; only a type''s own functions are strict, and an access method''s, because NULL is an error elsewhere');

/* ------------------------------------------------------------- comments */

SELECT is_empty($$
    SELECT d.classid::regclass, pg_describe_object(d.classid, d.objid, 0)
    FROM pg_depend d
    LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'egress')
      AND c.relkind IS DISTINCT FROM 'S'
      -- PostgreSQL 17 and later list row types and array types as members
      AND NOT (d.classid = 'pg_type'::regclass AND (EXISTS (SELECT FROM pg_class WHERE reltype = d.objid AND relkind <> 'c')
                                                    OR EXISTS (SELECT FROM pg_type WHERE typarray = d.objid)))
      AND coalesce(obj_description(d.objid, d.classid::regclass::name), '') = ''$$,
'every table, view, function and type has a comment');
SELECT is_empty($$
    SELECT c.oid::regclass, attname
    FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0
    WHERE relnamespace = 'vpn'::regnamespace AND relkind IN ('r', 'v', 'c')
      AND coalesce(col_description(attrelid, attnum), '') = ''$$,
'and so has every column');
-- each line of them is a paragraph, or "argument, argument: ..." or the last one, for scripts/reference.pl
SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'vpn'::regnamespace
      AND coalesce(obj_description(oid, 'pg_proc') !~
                   '\nSQLSTATE: (none of its own|([0-9A-Z]{5}(, )?)+ [^;\n]+(; ([0-9A-Z]{5}(, )?)+ [^;\n]+)*)\.$', true)$$,
'every function''s comment lists its SQLSTATEs, or says that there are none');
SELECT is_empty($$
    SELECT oid::regprocedure, argument
    FROM pg_proc, unnest(proargnames) argument
    WHERE pronamespace = 'vpn'::regnamespace
      AND obj_description(oid, 'pg_proc') !~ format('\n([a-z_]+, )*%s(, [a-z_]+)*: ', argument)$$,
'every function''s comment has a line about each argument');

/* --------------------------------------------------- dump, and no more */

SELECT results_eq($$
    SELECT c.oid::regclass::text
    FROM pg_extension e, unnest(extconfig, extcondition) config (oid, condition)
    JOIN pg_class c ON c.oid = config.oid
    WHERE extname = 'egress' AND condition = '' ORDER BY 1$$,
$$  SELECT oid::regclass::text
    FROM pg_class WHERE relnamespace = 'vpn'::regnamespace AND relkind IN ('r', 'p', 'S') ORDER BY 1$$,
'pg_dump carries every table and every sequence, whole');
CREATE FUNCTION has_rows(relation regclass) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    result boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', relation) INTO result;
    RETURN result;
END $$;
SELECT is_empty($$
    SELECT relname FROM pg_class WHERE relnamespace = 'vpn'::regnamespace AND relkind IN ('r', 'v') AND has_rows(oid)
      AND relname <> 'egress_upkeep'$$,     -- which always has one, of what there is to do
    'a new extension has no rows');

SELECT * FROM finish();
ROLLBACK;
