/*
 * egress--0.9--1.0.sql -- what makes version 1.0 of an installed 0.9
 *
 * Every change of egress--1.0.sql is made here too: test/t/update.pl compares a fresh 1.0 with an updated one, object by
 * object. The rules of that file hold here.
 */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION egress UPDATE TO '1.0'" to load this file. \quit

-- Whoever calls a function of the extension locks this table first (src/catalog.c). So the update waits for the transactions
-- that have, and those that come later wait for it: no lock that it takes from here on meets theirs in another order.
LOCK TABLE egress_provider IN ACCESS EXCLUSIVE MODE;

-- the launch menu reads whether a gateway is enabled and withdrawn from its index too
DROP INDEX egress_gateway_menu;
CREATE INDEX egress_gateway_menu
    ON egress_gateway (egress_provider_id, country, city, name, egress_gateway_id) INCLUDE (enabled, withdrawn);
CREATE INDEX egress_gateway_country
    ON egress_gateway (egress_provider_id, pg_catalog.lower(country), pg_catalog.lower(city)) INCLUDE (egress_gateway_id)
    WHERE enabled AND NOT withdrawn;
CREATE INDEX egress_gateway_city
    ON egress_gateway (egress_provider_id, pg_catalog.lower(city)) INCLUDE (egress_gateway_id)
    WHERE enabled AND NOT withdrawn;

-- in which order the credentials of a provider are tried
CREATE TYPE egress_credential_order AS ENUM ('first', 'spread');
REVOKE ALL ON TYPE egress_credential_order FROM PUBLIC;
CREATE CAST (text AS egress_credential_order) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS egress_credential_order) WITH INOUT AS ASSIGNMENT;
ALTER TABLE egress_provider ADD COLUMN credential_order egress_credential_order NOT NULL DEFAULT 'first';

-- what more a credential may have, and whether it may be at a gateway twice: new ones are filled in by a trigger, as are these
ALTER TABLE egress_credential
    ADD COLUMN client_certificate text, ADD COLUMN client_key egress_secret,
    ADD COLUMN address text, ADD COLUMN preshared_key egress_secret,
    ADD COLUMN once_per_gateway boolean DEFAULT false,
    ADD COLUMN cool_down interval CHECK (cool_down > '0' AND cool_down <= '100 years');
ALTER TABLE egress_lease_expiry ADD COLUMN cooling boolean NOT NULL DEFAULT false;
ALTER TABLE egress_credential ALTER COLUMN once_per_gateway DROP DEFAULT;
UPDATE egress_credential SET once_per_gateway = true WHERE provider_type = 'wireguard';
DROP TRIGGER egress_refuse_misfit ON egress_credential;
CREATE TRIGGER egress_refuse_misfit
    BEFORE INSERT OR UPDATE OF username, password, private_key, custom_credential, provider_type, client_certificate,
                               client_key, address, preshared_key ON egress_credential
    FOR EACH ROW EXECUTE FUNCTION egress_refuse_misfit();
DROP INDEX egress_lease_gateway;
CREATE INDEX egress_lease_gateway ON egress_lease (egress_gateway_id, egress_credential_id);
ALTER TABLE egress_lease
    DROP CONSTRAINT egress_lease_egress_credential_id_slot_key,
    ADD CONSTRAINT egress_lease_egress_credential_id_slot_key UNIQUE (egress_credential_id, slot) INCLUDE (egress_gateway_id);

-- which credentials may have a connection free
CREATE FUNCTION egress_pool_handler(internal) RETURNS index_am_handler
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION egress_pool_handler(internal) FROM PUBLIC;
CREATE ACCESS METHOD egress_pool TYPE INDEX HANDLER egress_pool_handler;
-- it compares nothing, and has nothing to say but that the column may be in such an index
CREATE OPERATOR CLASS egress_pool_ops DEFAULT FOR TYPE bigint USING egress_pool AS STORAGE bigint;
DROP INDEX egress_credential_subject;
-- the last two columns tell at once whether there is a credential that any gateway can have
CREATE INDEX egress_credential_subject
    ON egress_credential (subject_type, subject_id, egress_provider_id, allow_all_gateways, enabled);
-- which credentials may have a connection free: not in any row, and not for the planner. See src/pool_index.c
CREATE INDEX egress_credential_pool
    ON egress_credential USING egress_pool (egress_credential_id)
    INCLUDE (subject_type, subject_id, egress_provider_id, enabled, allow_all_gateways, limit_active_connections,
             active_connection_limit, once_per_gateway, cool_down);
CREATE FUNCTION egress_connection_freed() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_connection_freed() FROM PUBLIC;
-- what is written by hand, or comes from another server, may free a connection, too: the functions say so themselves, see src/pool.c
CREATE TRIGGER egress_connection_freed AFTER UPDATE OR DELETE ON egress_lease
    FOR EACH ROW EXECUTE FUNCTION egress_connection_freed();
CREATE TRIGGER egress_connections_freed AFTER TRUNCATE ON egress_lease
    FOR EACH STATEMENT EXECUTE FUNCTION egress_connection_freed();
CREATE TRIGGER egress_connection_freed AFTER INSERT OR UPDATE ON egress_lease_expiry
    FOR EACH ROW EXECUTE FUNCTION egress_connection_freed();
ALTER TABLE egress_lease ENABLE ALWAYS TRIGGER egress_connection_freed;
ALTER TABLE egress_lease ENABLE ALWAYS TRIGGER egress_connections_freed;
ALTER TABLE egress_lease_expiry ENABLE ALWAYS TRIGGER egress_connection_freed;
-- the history has one index for what were two, which costs less
DROP INDEX egress_lease_history_released;
DROP INDEX egress_lease_history_connected;
CREATE INDEX egress_lease_history_ended ON egress_lease_history (
    (CASE WHEN isfinite(acquired_at) AND released_at < '9999-01-01 00:00:00+00'::timestamptz
          THEN width_bucket(released_at - acquired_at,
                            '{1 min,2 min,4 min,8 min,16 min,32 min,64 min,128 min,256 min,512 min,
                              1024 min,2048 min,4096 min,8192 min,16384 min,32768 min,65536 min}'::interval[])
          ELSE 17 END),
    released_at, egress_gateway_id);

-- a restore, or a hand, does not write into the mirror of a table
CREATE FUNCTION egress_leave_members_to_source() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_leave_members_to_source() FROM PUBLIC;

-- what triggers write is the mirror of the table that is attached, or somebody's own way of keeping one
CREATE TRIGGER egress_leave_members_to_source BEFORE INSERT OR UPDATE OR DELETE ON egress_group_member FOR EACH ROW
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION egress_leave_members_to_source();
CREATE TRIGGER egress_leave_members_whole BEFORE TRUNCATE ON egress_group_member FOR EACH STATEMENT
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION egress_leave_members_to_source();
-- they belong to the triggers of the attached table, which fire with session_replication_role = replica, too
ALTER TABLE egress_group_member ENABLE ALWAYS TRIGGER egress_leave_members_to_source;
ALTER TABLE egress_group_member ENABLE ALWAYS TRIGGER egress_leave_members_whole;

CREATE FUNCTION egress_config_has_secret(provider_type egress_provider_type, config text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_config_has_secret(egress_provider_type, text) FROM PUBLIC;

-- with all names said, so that what pg_upgrade makes of it is the same
CREATE OR REPLACE VIEW egress_secret_usage AS
SELECT field.secret,
       count(*) FILTER (WHERE field.state = 'active key') AS active_key,
       count(*) FILTER (WHERE field.state = 'older key') AS older_key,
       count(*) FILTER (WHERE field.state = 'missing key') AS missing_key,
       count(*) FILTER (WHERE field.state = 'not sealed') AS not_sealed
FROM (SELECT 'password' AS secret, egress_secret_state(password) AS state FROM egress_credential
      UNION ALL
      SELECT 'private_key' AS secret, egress_secret_state(private_key) AS state FROM egress_credential
      UNION ALL
      SELECT 'custom_credential' AS secret, egress_secret_state(custom_credential) AS state FROM egress_credential
      UNION ALL
      SELECT 'client_key' AS secret, egress_secret_state(client_key) AS state FROM egress_credential
      UNION ALL
      SELECT 'preshared_key' AS secret, egress_secret_state(preshared_key) AS state FROM egress_credential
      UNION ALL
      SELECT 'config' AS secret, 'not sealed' AS state FROM egress_gateway
      WHERE egress_config_has_secret(provider_type, config)) field
GROUP BY field.secret;

-- a lease that is ended by an administrator
ALTER TABLE egress_lease_history DROP CONSTRAINT egress_lease_history_release_reason_check;
ALTER TABLE egress_lease_history ADD CONSTRAINT egress_lease_history_release_reason_check
    CHECK (release_reason IN ('released', 'session_end', 'expired', 'ended'));

-- an acquire may insist on the session's row
UPDATE pg_proc
SET pronargs = 4,
    proargtypes = format('%s %s %s %s', proargtypes[0], proargtypes[1], proargtypes[2], 'boolean'::regtype::oid)::oidvector,
    proargnames = proargnames || 'must_exist'::text,
    pronargdefaults = 0, proargdefaults = NULL
WHERE oid = 'egress_attach_sessions(regclass, name, text)'::regprocedure;
CREATE OR REPLACE FUNCTION egress_attach_sessions(
    session_table regclass, session_id_column name, ended_when text DEFAULT NULL, must_exist boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

-- names in event triggers are looked up as elsewhere
ALTER FUNCTION egress_detach_sessions(regclass) RESET search_path;
ALTER FUNCTION egress_attach_group_members(regclass, name, name) RESET search_path;
ALTER FUNCTION egress_detach_group_members(regclass) RESET search_path;
ALTER FUNCTION egress_grant_access(name, text) RESET search_path;

-- leases whose session is not there
CREATE FUNCTION egress_orphaned_sessions() RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_orphaned_sessions() FROM PUBLIC;

CREATE TYPE egress_ended_lease AS (
    session_id text, user_id text, workspace_id text, egress_gateway_id bigint, egress_credential_id bigint);
REVOKE ALL ON TYPE egress_ended_lease FROM PUBLIC;

CREATE FUNCTION egress_end_leases(orphaned boolean DEFAULT NULL) RETURNS SETOF egress_ended_lease
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_end_leases(boolean) FROM PUBLIC;

CREATE VIEW egress_orphaned_connection AS
SELECT c.* FROM egress_connection c JOIN egress_orphaned_sessions() orphaned (session_id) USING (session_id);
REVOKE ALL ON egress_orphaned_connection FROM PUBLIC;

-- what is refused says what to do
CREATE TRIGGER egress_refuse_move BEFORE UPDATE ON egress_provider FOR EACH ROW
    WHEN (OLD.egress_provider_id <> NEW.egress_provider_id OR OLD.provider_type <> NEW.provider_type)
    EXECUTE FUNCTION egress_refuse_move();

-- an administrator, who may not open a private key, tells the provider the public one
CREATE FUNCTION egress_credential_public_key(egress_credential_id bigint) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_credential_public_key(bigint) FROM PUBLIC;

CREATE FUNCTION egress_restore_in_any_order() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_restore_in_any_order() FROM PUBLIC;

CREATE FUNCTION egress_check_restored() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_check_restored() FROM PUBLIC;

-- pg_restore with several jobs fills the tables in any order: src/restore.c
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_gateway
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_provider_mapping
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_provider_mapping_gateway
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_credential
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_credential_gateway
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_lease
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_lease_expiry
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_provider
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_gateway
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_provider_mapping
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_credential
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_lease
    EXECUTE FUNCTION egress_check_restored();

-- a sweep that holds what it ended for no longer than a batch takes
CREATE FUNCTION egress_expire_leases(max_leases bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'egress_expire_leases_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_expire_leases(bigint) FROM PUBLIC;

-- (without SECURITY DEFINER and SET, with which a procedure may not commit: the function that it calls has them)
CREATE PROCEDURE egress_sweep_leases(batch_size integer DEFAULT 1000)
AS 'MODULE_PATHNAME' LANGUAGE C;
REVOKE ALL ON PROCEDURE egress_sweep_leases(integer) FROM PUBLIC;

-- the views count without a look-up of each lease
CREATE FUNCTION egress_gateway_leases(egress_gateway_id bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION egress_gateway_leases(bigint) FROM PUBLIC;

CREATE FUNCTION egress_credential_leases(
    egress_credential_id bigint, OUT active_connections bigint, OUT oldest_lease_at timestamptz)
RETURNS record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION egress_credential_leases(bigint) FROM PUBLIC;

CREATE OR REPLACE VIEW egress_credential_usage AS
SELECT c.egress_credential_id,
       c.name AS credential_name,
       p.egress_provider_id,
       p.name AS provider_name,
       c.subject_type,
       c.subject_id,
       c.enabled,
       (c.leases).active_connections AS active_connections,
       c.active_connection_limit,
       CASE WHEN c.active_connection_limit IS NOT NULL
            THEN greatest(c.active_connection_limit - (c.leases).active_connections - c.cooling, 0) END AS available_connections,
       (c.leases).oldest_lease_at AS oldest_lease_at,
       c.once_per_gateway AS once_per_gateway
FROM (SELECT egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled, once_per_gateway,
             CASE WHEN limit_active_connections THEN active_connection_limit END AS active_connection_limit,
             egress_credential_leases(egress_credential_id) AS leases,
             CASE WHEN cool_down IS NULL THEN 0 ELSE (
                 SELECT count(*) FROM egress_lease_expiry e
                 WHERE e.egress_credential_id = egress_credential.egress_credential_id AND e.expires_at <= clock_timestamp()
                   AND e.expires_at AT TIME ZONE 'UTC' + cool_down > clock_timestamp() AT TIME ZONE 'UTC') END AS cooling
      FROM egress_credential) c
JOIN egress_provider p USING (egress_provider_id);

CREATE OR REPLACE VIEW egress_gateway_usage AS
SELECT g.egress_gateway_id,
       g.name AS gateway_name,
       g.country,
       g.city,
       p.egress_provider_id,
       p.name AS provider_name,
       g.enabled,
       g.withdrawn,
       g.active_connections
FROM (SELECT egress_gateway_id, egress_provider_id, name, country, city, enabled, withdrawn,
             egress_gateway_leases(egress_gateway_id) AS active_connections
      FROM egress_gateway) g
JOIN egress_provider p USING (egress_provider_id);

-- who could read these views still can
CREATE FUNCTION egress_grant_to_readers(view regclass, function regprocedure) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_grant_to_readers(regclass, regprocedure) FROM PUBLIC;
SELECT egress_grant_to_readers('egress_credential_usage', 'egress_credential_leases(bigint)');
SELECT egress_grant_to_readers('egress_gateway_usage', 'egress_gateway_leases(bigint)');
SELECT egress_grant_to_readers('egress_secret_usage', 'egress_config_has_secret(egress_provider_type, text)');
DROP FUNCTION egress_grant_to_readers(regclass, regprocedure);

-- without a workspace, as the menu
CREATE OR REPLACE FUNCTION egress_explain_access(user_id text, workspace_id text DEFAULT NULL, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_access_explanation
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;

/*
 * What three functions return has a name now, and a sync has one argument more. The functions themselves stay, with their
 * owner, the privileges that roles have on them, and the statements that are prepared: CREATE OR REPLACE has the rest of
 * each declaration, but neither names a result nor adds an argument, so that is done in pg_proc. What PostgreSQL keeps in
 * parsed form, as a view, knows the result without a name, and has to be made anew.
 */
CREATE TYPE egress_available_gateway AS (
    egress_gateway_id bigint, gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    available_connections bigint);
REVOKE ALL ON TYPE egress_available_gateway FROM PUBLIC;
CREATE TYPE egress_acquired_credential AS (
    egress_credential_id bigint, credential_name text,
    username text, password text, private_key text, custom_credential text,
    gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    config text, acquired_at timestamptz,
    client_certificate text, client_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_acquired_credential FROM PUBLIC;
CREATE TYPE egress_synced_gateway AS (action text, egress_gateway_id bigint, name text);
REVOKE ALL ON TYPE egress_synced_gateway FROM PUBLIC;

CREATE TYPE egress_imported_config AS (config text, removed text[]);
REVOKE ALL ON TYPE egress_imported_config FROM PUBLIC;
CREATE TYPE egress_imported_credential AS (
    config text, removed text[],
    username text, password text, client_certificate text, client_key text,
    private_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_imported_credential FROM PUBLIC;

DO LANGUAGE plpgsql $$
DECLARE
    function regprocedure;
    users text;
BEGIN
    FOREACH function IN ARRAY '{egress_available_gateways(text\,text),
                                egress_acquire_credential(text\,text\,bigint\,text\,interval),
                                egress_sync_gateways(bigint\,jsonb)}'::regprocedure[] LOOP
        SELECT string_agg(DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass
                          THEN (SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0) FROM pg_rewrite r WHERE r.oid = d.objid)
                          ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END, ', ') INTO users
        FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = function AND d.deptype = 'n';
        IF users IS NOT NULL THEN
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = format('%s is used by %s', function, users),
                DETAIL = 'The type of what it returns has a name from version 1.0 on; what PostgreSQL keeps in parsed form cannot follow.',
                HINT = 'Drop these, and create them again after the update.';
        END IF;
    END LOOP;
END $$;

UPDATE pg_proc
SET prorettype = 'egress_available_gateway'::regtype, proallargtypes = NULL, proargmodes = NULL, proargnames = proargnames[:2]
WHERE oid = 'egress_available_gateways(text, text)'::regprocedure;
CREATE OR REPLACE FUNCTION egress_available_gateways(user_id text, workspace_id text DEFAULT NULL)
RETURNS SETOF egress_available_gateway
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;

UPDATE pg_proc
SET prorettype = 'egress_acquired_credential'::regtype, proallargtypes = NULL, proargmodes = NULL, proargnames = proargnames[:5]
WHERE oid = 'egress_acquire_credential(text, text, bigint, text, interval)'::regprocedure;
CREATE OR REPLACE FUNCTION egress_acquire_credential(
    user_id text, workspace_id text, egress_gateway_id bigint, session_id text, ttl interval DEFAULT NULL)
RETURNS egress_acquired_credential
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;

UPDATE pg_proc
SET prorettype = 'egress_synced_gateway'::regtype, proallargtypes = NULL, proargmodes = NULL,
    pronargs = 6,
    proargtypes = format('%s %s %s %s %s %4$s', proargtypes[0], proargtypes[1], 'float8'::regtype::oid, 'boolean'::regtype::oid,
                         'jsonb'::regtype::oid)::oidvector,
    proargnames = proargnames[:2] || '{max_withdrawn,import,files,skip_bad}'::text[]
WHERE oid = 'egress_sync_gateways(bigint, jsonb)'::regprocedure;
CREATE OR REPLACE FUNCTION egress_sync_gateways(
    egress_provider_id bigint, gateways jsonb, max_withdrawn float8 DEFAULT 0.5,
    import boolean DEFAULT false, files jsonb DEFAULT NULL, skip_bad boolean DEFAULT false)
RETURNS SETOF egress_synced_gateway
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 1000;

-- configs from files as providers publish them
CREATE FUNCTION egress_import_config(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL)
RETURNS egress_imported_config
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_import_config(egress_provider_type, text, jsonb) FROM PUBLIC;
CREATE FUNCTION egress_import_credential(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL)
RETURNS egress_imported_credential
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_import_credential(egress_provider_type, text, jsonb) FROM PUBLIC;

-- text parameters, as drivers send them, for columns of the enums
CREATE CAST (text AS egress_provider_type) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS egress_provider_type) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS egress_subject_type) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS egress_subject_type) WITH INOUT AS ASSIGNMENT;

-- ids that are no text
CREATE TYPE egress_id;
CREATE FUNCTION egress_id_in(cstring) RETURNS egress_id
AS 'textin' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_in(cstring) FROM PUBLIC;
CREATE FUNCTION egress_id_out(egress_id) RETURNS cstring
AS 'textout' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_out(egress_id) FROM PUBLIC;
CREATE FUNCTION egress_id_recv(internal) RETURNS egress_id
AS 'textrecv' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_recv(internal) FROM PUBLIC;
CREATE FUNCTION egress_id_send(egress_id) RETURNS bytea
AS 'textsend' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_send(egress_id) FROM PUBLIC;
CREATE TYPE egress_id (
    INPUT = egress_id_in, OUTPUT = egress_id_out, RECEIVE = egress_id_recv, SEND = egress_id_send, LIKE = text,
    CATEGORY = 'U', PREFERRED = true);
REVOKE ALL ON TYPE egress_id FROM PUBLIC;
CREATE FUNCTION egress_id_from_character(character) RETURNS egress_id
AS 'rtrim1' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_from_character(character) FROM PUBLIC;
CREATE CAST (uuid AS egress_id) WITH INOUT AS IMPLICIT;
CREATE CAST (smallint AS egress_id) WITH INOUT AS IMPLICIT;
CREATE CAST (integer AS egress_id) WITH INOUT AS IMPLICIT;
CREATE CAST (bigint AS egress_id) WITH INOUT AS IMPLICIT;
CREATE CAST (numeric AS egress_id) WITH INOUT AS IMPLICIT;
CREATE CAST (name AS egress_id) WITH INOUT AS IMPLICIT;
CREATE CAST (text AS egress_id) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (varchar AS egress_id) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (character AS egress_id) WITH FUNCTION egress_id_from_character(character) AS IMPLICIT;
CREATE FUNCTION egress_available_gateways(user_id egress_id, workspace_id egress_id DEFAULT NULL)
RETURNS SETOF egress_available_gateway
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_available_gateways(egress_id, egress_id) FROM PUBLIC;
CREATE FUNCTION egress_acquire_credential(
    user_id egress_id, workspace_id egress_id, egress_gateway_id bigint, session_id egress_id, ttl interval DEFAULT NULL)
RETURNS egress_acquired_credential
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_credential(egress_id, egress_id, bigint, egress_id, interval) FROM PUBLIC;
CREATE TYPE egress_acquired_gateway AS (
    egress_gateway_id bigint,
    egress_credential_id bigint, credential_name text,
    username text, password text, private_key text, custom_credential text,
    gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    config text, acquired_at timestamptz,
    client_certificate text, client_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_acquired_gateway FROM PUBLIC;
CREATE FUNCTION egress_acquire_gateway(
    user_id text, workspace_id text, session_id text,
    countries text[] DEFAULT NULL, cities text[] DEFAULT NULL, providers text[] DEFAULT NULL,
    avoid bigint[] DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS egress_acquired_gateway
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval) FROM PUBLIC;
CREATE FUNCTION egress_acquire_gateway(
    user_id egress_id, workspace_id egress_id, session_id egress_id,
    countries text[] DEFAULT NULL, cities text[] DEFAULT NULL, providers text[] DEFAULT NULL,
    avoid bigint[] DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS egress_acquired_gateway
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_gateway(egress_id, egress_id, egress_id, text[], text[], text[], bigint[], interval) FROM PUBLIC;
CREATE FUNCTION egress_release_credential(session_id egress_id) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_release_credential(egress_id) FROM PUBLIC;
CREATE FUNCTION egress_renew_lease(session_id egress_id, ttl interval) RETURNS timestamptz
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_renew_lease(egress_id, interval) FROM PUBLIC;
CREATE FUNCTION egress_gateway_required(workspace_id egress_id) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_gateway_required(egress_id) FROM PUBLIC;
CREATE FUNCTION egress_explain_access(user_id egress_id, workspace_id egress_id DEFAULT NULL, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_access_explanation
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_explain_access(egress_id, egress_id, bigint) FROM PUBLIC;

-- equality of stored secrets, whose values no statistics hold; and secrets given as bytes
CREATE FUNCTION egress_secret_analyze(internal) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION egress_secret_analyze(internal) FROM PUBLIC;
-- not by ALTER TYPE, which from PostgreSQL 17 on forgets that the privileges of the type's installation name its owner
UPDATE pg_type SET typanalyze = 'egress_secret_analyze(internal)'::regprocedure WHERE oid = 'egress_secret'::regtype;
INSERT INTO pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
VALUES ('pg_type'::regclass, 'egress_secret'::regtype, 0, 'pg_proc'::regclass, 'egress_secret_analyze(internal)'::regprocedure, 0, 'n');
CREATE FUNCTION egress_secret_from_bytea(bytea) RETURNS egress_secret
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_from_bytea(bytea) FROM PUBLIC;
CREATE CAST (bytea AS egress_secret) WITH FUNCTION egress_secret_from_bytea(bytea) AS ASSIGNMENT;

CREATE FUNCTION egress_secret_eq(egress_secret, egress_secret) RETURNS boolean
AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_eq(egress_secret, egress_secret) FROM PUBLIC;
CREATE FUNCTION egress_secret_ne(egress_secret, egress_secret) RETURNS boolean
AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_ne(egress_secret, egress_secret) FROM PUBLIC;
CREATE FUNCTION egress_secret_hash(egress_secret) RETURNS integer
AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_hash(egress_secret) FROM PUBLIC;
CREATE OPERATOR = (
    LEFTARG = egress_secret, RIGHTARG = egress_secret, FUNCTION = egress_secret_eq,
    COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES);
CREATE OPERATOR <> (
    LEFTARG = egress_secret, RIGHTARG = egress_secret, FUNCTION = egress_secret_ne,
    COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR CLASS egress_secret_ops DEFAULT FOR TYPE egress_secret USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 egress_secret_hash(egress_secret);

-- what of configs is not stored any more goes; those that this version refuses stay, and are named: a restore would refuse them
DO LANGUAGE plpgsql $$
DECLARE
    gateway record;
    refused text[] := '{}';
BEGIN
    FOR gateway IN SELECT egress_gateway_id, name FROM egress_gateway WHERE config IS NOT NULL AND provider_type <> 'custom'
                   ORDER BY egress_gateway_id LOOP
        BEGIN
            UPDATE egress_gateway SET config = config WHERE egress_gateway_id = gateway.egress_gateway_id;
        EXCEPTION WHEN SQLSTATE 'NG007' THEN
            refused := refused || format('%s "%s"', gateway.egress_gateway_id, gateway.name);
        END;
    END LOOP;
    IF refused <> '{}' THEN
        RAISE WARNING USING
            MESSAGE = format('the configs of %s gateways are refused by this version', cardinality(refused)),
            DETAIL = format('They stay as they are: gateway %s%s.', array_to_string(refused[:20], ', '),
                            CASE WHEN cardinality(refused) > 20 THEN format(' and %s more', cardinality(refused) - 20) ELSE '' END),
            HINT = 'Mend them before the next dump, which could not be restored: UPDATE egress_gateway SET config = config WHERE egress_gateway_id = ... says what is wrong.';
    END IF;
END $$;

-- what is other than before for the keys of WireGuard: INFO, because no NOTICE of a script is shown
DO LANGUAGE plpgsql $$
DECLARE
    keys bigint;
    shared bigint;
BEGIN
    SELECT count(*) INTO keys FROM egress_credential WHERE once_per_gateway;
    SELECT count(DISTINCT egress_credential_id) INTO shared
    FROM (SELECT egress_credential_id
          FROM egress_live_lease l JOIN egress_credential c USING (egress_credential_id)
          WHERE once_per_gateway
          GROUP BY egress_credential_id, egress_gateway_id HAVING count(*) > 1) several;
    IF keys > 0 THEN
        RAISE INFO USING
            MESSAGE = format('credentials of WireGuard providers that may be at each gateway once at most from now on: %s', keys),
            DETAIL = format('With more than one lease at a gateway now: %s. Their leases stay, and no other is added there until they have ended.',
                            shared),
            HINT = 'Where a server lets several sessions connect with one key: UPDATE egress_credential SET once_per_gateway = false WHERE egress_provider_id = ...';
    END IF;
END $$;

/* ------------------------------------------------------------- comments */

COMMENT ON FUNCTION egress_id_in(cstring) IS 'Input function of egress_id: the text as it is. SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_id_out(egress_id) IS 'Output function of egress_id: the text as it is. SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_id_recv(internal) IS 'Binary input function of egress_id: as text''s. SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_id_send(egress_id) IS 'Binary output function of egress_id: as text''s. SQLSTATE: none of its own.';
COMMENT ON TYPE egress_id IS 'an id of the application as an argument: the text form of a uuid, a number or a string';
COMMENT ON FUNCTION egress_id_from_character(character) IS
'Cast of character(n) to egress_id: the text without its padding, as it becomes text. SQLSTATE: none of its own.';
COMMENT ON CAST (uuid AS egress_id) IS 'its text form';
COMMENT ON CAST (smallint AS egress_id) IS 'its text form';
COMMENT ON CAST (integer AS egress_id) IS 'its text form';
COMMENT ON CAST (bigint AS egress_id) IS 'its text form';
COMMENT ON CAST (numeric AS egress_id) IS 'its text form';
COMMENT ON CAST (name AS egress_id) IS 'its text form';
COMMENT ON CAST (text AS egress_id) IS 'the text as it is';
COMMENT ON CAST (varchar AS egress_id) IS 'the text as it is';
COMMENT ON CAST (character AS egress_id) IS 'the text without its padding';
COMMENT ON FUNCTION egress_available_gateways(egress_id, egress_id) IS
'As egress_available_gateways(text, text), for ids that are no text. user_id, workspace_id: uuids, numbers, or strings mixed with them. SQLSTATE: 22004, 22023, as there.';
COMMENT ON FUNCTION egress_acquire_credential(egress_id, egress_id, bigint, egress_id, interval) IS
'As egress_acquire_credential(text, text, bigint, text, interval), for ids that are no text. user_id, workspace_id, session_id: uuids, numbers, or strings mixed with them. egress_gateway_id, ttl: as there.
SQLSTATE: 22004, 22023, NG001 to NG007, NG009, 25006, as there.';
COMMENT ON FUNCTION egress_release_credential(egress_id) IS
'As egress_release_credential(text), for an id that is no text. session_id: a uuid, a number or a string. SQLSTATE: 22004, 22023, 25006, as there.';
COMMENT ON FUNCTION egress_renew_lease(egress_id, interval) IS
'As egress_renew_lease(text, interval), for an id that is no text. session_id: a uuid, a number or a string. ttl: as there. SQLSTATE: 22004, 22023, 25006, as there.';
COMMENT ON FUNCTION egress_gateway_required(egress_id) IS
'As egress_gateway_required(text), for an id that is no text. workspace_id: a uuid, a number or a string. SQLSTATE: 22023, as there.';
COMMENT ON FUNCTION egress_explain_access(egress_id, egress_id, bigint) IS
'As egress_explain_access(text, text, bigint), for ids that are no text. user_id, workspace_id: uuids, numbers, or strings mixed with them. egress_gateway_id: as there. SQLSTATE: 22004, 22023, NG001, as there.';
COMMENT ON CAST (text AS egress_provider_type) IS 'in assignments: the value of that name';
COMMENT ON CAST (varchar AS egress_provider_type) IS 'in assignments: the value of that name';
COMMENT ON CAST (text AS egress_subject_type) IS 'in assignments: the value of that name';
COMMENT ON CAST (varchar AS egress_subject_type) IS 'in assignments: the value of that name';
COMMENT ON TYPE egress_credential_order IS 'which of the credentials that fit an acquire takes';
COMMENT ON CAST (text AS egress_credential_order) IS 'in assignments: the value of that name';
COMMENT ON CAST (varchar AS egress_credential_order) IS 'in assignments: the value of that name';
COMMENT ON COLUMN egress_provider.credential_order IS
    'first: an acquire takes the credential with the lowest id that has a connection free; spread: it begins to look at one drawn by chance';
COMMENT ON FUNCTION egress_secret_in(cstring) IS
'Input function of egress_secret: keeps a sealed form, seals other text under the active key, or keeps it where no key file is set.
SQLSTATE: 22023 empty, or longer than 16 kB; NG006 a damaged sealed form; F0000 the key file cannot be used.';
COMMENT ON FUNCTION egress_secret_analyze(internal) IS
'ANALYZE of egress_secret: none, so that no statistics hold a value. SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_secret_from_bytea(bytea) IS
'Cast of bytea to egress_secret: as egress_secret_in, of a text in the database''s encoding. SQLSTATE: 22021 it is none; 22023, NG006 and F0000, as egress_secret_in.';
COMMENT ON CAST (bytea AS egress_secret) IS 'in assignments: seals the text that the bytes are; by way of text it would be their hexadecimal form';
COMMENT ON FUNCTION egress_secret_eq(egress_secret, egress_secret) IS
'Whether two stored forms are the same; two sealed forms of one secret are not. SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_secret_ne(egress_secret, egress_secret) IS
'Whether two stored forms are different; two sealed forms of one secret are. SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_secret_hash(egress_secret) IS 'Hash of a stored form. SQLSTATE: none of its own.';
COMMENT ON OPERATOR = (egress_secret, egress_secret) IS 'the same stored form';
COMMENT ON OPERATOR <> (egress_secret, egress_secret) IS 'another stored form';
COMMENT ON OPERATOR CLASS egress_secret_ops USING hash IS 'equality of stored forms; there is no order';
COMMENT ON OPERATOR FAMILY egress_secret_ops USING hash IS 'equality of stored forms; there is no order';
COMMENT ON COLUMN egress_credential.client_certificate IS 'openvpn only: PEM, with client_key; the certificates of a chain may follow';
COMMENT ON COLUMN egress_credential.client_key IS 'openvpn only: PEM, without a passphrase, with client_certificate';
COMMENT ON COLUMN egress_credential.address IS 'wireguard only, optional: the addresses that belong to the key, as wg-quick takes them';
COMMENT ON COLUMN egress_credential.preshared_key IS 'wireguard only, optional: base64 of 32 bytes';
COMMENT ON COLUMN egress_credential.once_per_gateway IS
    'whether at most one of its leases is live at each gateway; NULL is as the provider''s type has it, true for wireguard, else false: a trigger puts that in its place';
COMMENT ON COLUMN egress_credential.cool_down IS
    'how long after its end a connection counts as held, because the provider still counts it; NULL: not at all. A day is 24 hours, a month one of UTC''s calendar';
COMMENT ON COLUMN egress_lease_expiry.cooling IS 'the lease has ended, and its connection counts as held for the cool_down of the credential';
COMMENT ON COLUMN egress_credential.username IS 'openvpn only: with a password, or both NULL for a certificate, the credential''s or the config''s';
COMMENT ON TABLE egress_lease IS
    'one row a lease that was not ended yet, expired or not; written by functions of the extension only';
COMMENT ON TABLE egress_lease_expiry IS
    'when leases end by themselves; written by functions of the extension only';
COMMENT ON TYPE egress_available_gateway IS 'a row of egress_available_gateways()';
COMMENT ON TYPE egress_acquired_credential IS 'what egress_acquire_credential() returns';
COMMENT ON FUNCTION egress_available_gateways(text, text) IS
'The launch menu: the gateways that a user may pick for a workspace.
user_id: the application''s id of the user, 1 to 255 bytes. workspace_id: the same of the workspace, or NULL.
Returns a row a gateway, ordered by provider name, country, city (NULLs last), gateway name and id.
available_connections: how many more connections the credentials that fit allow now; 0 when full, NULL when one has neither a limit nor once_per_gateway.
One that is once_per_gateway counts as 1 at most, without a limit, too, and as 0 while it has a lease at the gateway.
Works on a hot standby. SQLSTATE: 22004 user_id is NULL; 22023 an id is empty or longer than 255 bytes.';
COMMENT ON FUNCTION egress_acquire_credential(text, text, bigint, text, interval) IS
'Leases to a session the first credential, by ascending id, that fits and has a connection free.
One with a secret that cannot be opened is passed over, with a WARNING in the server''s log.
user_id, workspace_id (may be NULL), session_id: the application''s ids, 1 to 255 bytes. egress_gateway_id: a gateway of the menu.
ttl: how long the lease lasts unless egress_renew_lease() is called in time, a day being 24 hours and a month one of UTC''s calendar; NULL: until it is released.
Returns one row: the credential with its secrets opened, the gateway, and its config with the credential in it, ready to run.
Asked again by the same session for the same user, workspace and gateway, it returns the lease already held, whose end stays as it is.
Never waits for another session''s open transaction, except for one that took or gave back a lease of the same session_id.
SQLSTATE: 22004, 22023 bad argument, or a session_id that no attached session table can have; NG001 no such gateway; NG002 the gateway is not available to this call; NG003 no enabled credential fits;
NG004 every credential that fits and can be opened is at its limit, try later; NG005 the session holds a lease for something else;
NG006 no credential is left that can be opened, or that of the lease already held cannot be; NG007 the config and the credential do not fit together;
NG009 the session is not in the session table that was attached with must_exist, or over; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_release_credential(text) IS
'Ends a session''s lease and writes it to egress_lease_history with the reason released. The connection is free for others at commit.
session_id: the application''s id, 1 to 255 bytes, as it was given to the acquire. Returns true when it ended a lease, false when there was none.
An id in another form than the session table writes (a uuid in capitals, a number with a zero before it) is another id: it ends nothing.
SQLSTATE: 22004, 22023 bad argument; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_renew_lease(text, interval) IS
'Lets a session''s lease end at the present time plus ttl, sooner or later than before.
session_id: the application''s id, 1 to 255 bytes. ttl: more than 0, a day being 24 hours and a month one of UTC''s calendar; NULL: the lease lasts until it is released.
Returns when the lease ends, infinity for one that does not, NULL when the session has no lease, or only one that has expired: acquire again.
An id in another form than the acquire''s is another id, which has no lease.
SQLSTATE: 22004, 22023 bad argument; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_expire_leases() IS
'Ends the leases whose time is over, and writes them to egress_lease_history with the reason expired.
An expired lease does not count, and an acquire that needs its connection ends it; this ends the rest, all in this transaction.
Until that commits, their connections are held; on a schedule, CALL egress_sweep_leases() keeps each for a moment only.
Waits for nobody: a lease that another transaction is renewing or ending is left to it. Returns how many it ended.
SQLSTATE: 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_expire_leases(bigint) IS
'As egress_expire_leases(), of at most max_leases leases, in no order: a batch, for a transaction of its own. Two at once end different leases.
max_leases: more than 0. Returns how many it ended; fewer than max_leases: no more are left, but for those that other transactions do something with.
SQLSTATE: 22004 max_leases is NULL; 22023 it is not above 0; 25006 read-only transaction or standby.';
COMMENT ON PROCEDURE egress_sweep_leases(integer) IS
'Ends the leases whose time is over, batch by batch, each in a transaction of its own, so that no connection is kept from acquires for longer than a batch takes. For a scheduler.
batch_size: how many leases a batch ends, more than 0. Waits for nobody: a lease that another transaction is renewing or ending is left to it. Two at once share the work.
To be called by itself, not in a transaction block; with the rights of its caller, who needs egress_expire_leases(bigint) too.
SQLSTATE: 22004 batch_size is NULL; 22023 it is not above 0; 2D000 called in a transaction block or by a function; 42501 the caller may not expire leases; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_gateway_required(text) IS
'Whether a session in this workspace has to go through a gateway: the workspace''s override is on, and an enabled mapping has the workspace as its subject.
Whatever has become of its gateways: that they are disabled, withdrawn or deleted is no reason to let sessions out without one.
workspace_id: the application''s id, 1 to 255 bytes; false for NULL. Works on a hot standby. SQLSTATE: 22023 workspace_id is empty or longer than 255 bytes.';
COMMENT ON FUNCTION egress_release_on_session_end() IS
'Trigger for the application''s session table: ends the lease of a session that ends, with the reason session_end.
Arguments: the name of the column with the session id, of any type with a text form; and, if an acquire is to be refused for a session that is not there, must_exist.
An id''s text form is that of PostgreSQL''s default settings, with timestamptz in UTC, whatever the settings of the session: the application has to use the same one.
Attach it AFTER DELETE FOR EACH ROW, AFTER UPDATE FOR EACH ROW WHEN (...), and BEFORE TRUNCATE FOR EACH STATEMENT.
A row without a lease is no error. SQLSTATE: 22023 attached in another way, or the column does not exist.';
COMMENT ON FUNCTION egress_attach_sessions(regclass, name, text, boolean) IS
'Makes the end of a session end its lease, by triggers on the application''s session table: a row that is deleted, truncated, or gets another id, and an update after which ended_when holds.
session_table: a table of the caller. session_id_column: its column with the session ids, of any type with a text form; a WARNING says when it is not unique.
ended_when: the WHEN condition of a trigger, as in NEW.status = ''stopped''; NULL: a session ends only when its row goes.
must_exist: whether an acquire is refused (NG009) for a session that is in no attached table, or over. It then locks the session''s row to commit, FOR KEY SHARE, or FOR NO KEY UPDATE where ended_when is given or the column is no key; so it waits for an open transaction that changes that row.
The text form of an id is as for egress_release_on_session_end().
Sessions already in the table for which ended_when holds lose their leases now; OLD is a row of NULLs for them.
The triggers are ENABLE ALWAYS: they fire where session_replication_role is replica, and when a subscription brings the rows, unless it brings those of egress_lease as well.
Runs with the rights of its caller. SQLSTATE: 22004 an argument is NULL; 42703 no such column; 42P10 a system or virtual column; 42809 not a table of an application;
42601 ended_when is not one condition, and what CREATE TRIGGER says of it; 42710 the table is attached already; 42501 not the caller''s table; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_attach_group_members(regclass, name, name) IS
'Makes egress_group_member the mirror of the application''s own membership table: fills it anew, and keeps it in step by triggers. One table at a time.
member_table: a table of the caller. user_id_column, group_id_column: its columns with the ids, of any type with a text form; rows with a NULL, empty or too long id are not members.
An id''s text form is that of PostgreSQL''s default settings, with timestamptz in UTC, whatever the settings of the session: the application has to use the same one.
Meanwhile, what is changed in egress_group_member in another way is left as it was, with a NOTICE.
The triggers are ENABLE ALWAYS, as those of egress_attach_sessions().
Runs with the rights of its caller. SQLSTATE: 22004 an argument is NULL; 42703 no such column; 42P10 a system or virtual column; 42809 not a table of an application, or a temporary one;
42710 this or another table is attached already; 42501 not the caller''s table; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_follow_group_members() IS
'Trigger that egress_attach_group_members() puts on the application''s membership table. Arguments: the columns with the user''s and the group''s id, and the name of that table.
SQLSTATE: 22023 attached in another way or under another name, another table is attached, or a column does not exist.';
COMMENT ON FUNCTION egress_explain_access(text, text, bigint) IS
'Says of each gateway why a user may or may not use it in a workspace, in the order of the menu.
user_id: the application''s id of the user, 1 to 255 bytes. workspace_id: the same of the workspace, or NULL. egress_gateway_id: of this gateway only; NULL: of all.
verdict: the first that applies of gateway_withdrawn, gateway_disabled, provider_disabled, overridden (mapped, but the workspace''s override leaves it out),
not_mapped, no_credential, at_limit, available. The menu has exactly the gateways that are at_limit or available.
A credential whose key is missing is not one that an acquire would take: at_limit is also said where there is no other. No secret is opened, so one that was changed is not known.
egress_credential_id: the credential that an acquire would take now, NULL when it would get none. detail: what an administrator would change.
Works on a hot standby. SQLSTATE: 22004 user_id is NULL; 22023 an id is empty or longer than 255 bytes; NG001 no such gateway.';
COMMENT ON FUNCTION egress_orphaned_sessions() IS
'The session ids of leases, expired or not, whose session is in no attached session table, or over; for the view egress_orphaned_connection.
A table is attached when egress_attach_sessions() or a hand has put row triggers with egress_release_on_session_end() on it; a session is over when the ended_when of egress_attach_sessions() holds, OLD being NULLs.
Returns nothing where no table is attached. Looks each session up in the tables with the rights of their owners. Works on a hot standby.
SQLSTATE: 42703 the column that was attached does not exist any more.';
COMMENT ON TYPE egress_ended_lease IS 'a row of egress_end_leases()';
COMMENT ON TYPE egress_acquired_gateway IS 'what egress_acquire_gateway() returns';
COMMENT ON FUNCTION egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval) IS
'Leases to a session a connection to a gateway of its menu, which it chooses: one that fits the wish and has a connection free.
user_id, workspace_id (may be NULL), session_id, ttl: as for egress_acquire_credential(text, text, bigint, text, interval).
countries, cities, providers: where the gateway is to be, and whose, by name, in any letter case, the most wanted first; NULL: wherever, whosever. avoid: gateways that it is not to be; NULL or empty: none.
Those in the first country come before those in the second; in one country goes the order of the cities, in one city that of the providers. Of those that are left it takes one with few active connections. One that is full is passed over.
Returns one row: the gateway''s id, and what egress_acquire_credential() returns.
Asked again by the same session for the same user and workspace, it returns the lease already held, if its gateway fits the wish.
Never waits for another session''s open transaction, except for one that took or gave back a lease of the same session_id.
SQLSTATE: 22004 an argument or a name is NULL; 22023 bad argument, or a list of no names; NG002 no gateway that is available to this call fits the wish; NG004 for those that fit every credential is at its limit, try later;
NG005 the session holds a lease for something else; NG006 no credential is left that can be opened; NG007, NG009, 25006 as there.';
COMMENT ON FUNCTION egress_acquire_gateway(egress_id, egress_id, egress_id, text[], text[], text[], bigint[], interval) IS
'As egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval), for ids that are no text. user_id, workspace_id, session_id: uuids, numbers, or strings mixed with them. The other arguments: as there.
SQLSTATE: 22004, 22023, NG002, NG004 to NG007, NG009, 25006, as there.';
COMMENT ON FUNCTION egress_end_leases(boolean) IS
'Ends live leases that should not be, and writes them to egress_lease_history with the reason ended. Their connections are free for others at commit.
orphaned: true for those of egress_orphaned_connection, whose session is in no attached session table, or over.
Returns the leases that it ended. Waits for nobody: a lease that another transaction is renewing or ending is left to it.
SQLSTATE: 22023 no argument is true; 42703 the column that was attached does not exist any more; 25006 read-only transaction or standby.';
COMMENT ON TYPE egress_imported_config IS 'what egress_import_config() returns';
COMMENT ON TYPE egress_imported_credential IS 'what egress_import_credential() returns';
COMMENT ON FUNCTION egress_import_config(egress_provider_type, text, jsonb) IS
'Makes a config that a gateway of this type can have from a file as a provider publishes it. What it returns passes the check of egress_gateway.config.
provider_type: custom returns the source as it is. source: the text of the .ovpn or .conf file.
files: the files beside it, an object by name, without folders; a text file is a string, a binary one {"base64": "..."}. What ca, cert, key, tls-auth, tls-crypt, tls-crypt-v2, crl-verify, pkcs12, secret, extra-certs, dh and http-proxy-user-pass name becomes a block.
Returns config, and removed: a line for each that was taken out or replaced by something else than its file, "line 7: up: It runs a command on the agent."
Taken out is what only runs commands, writes files, sets up the agent, is for other systems, or what openvpn 2.6 does by itself; never what checks the server.
SQLSTATE: 22004 provider_type or source is NULL; 22023 files is no object, or one of them is neither string nor base64; NG007 it cannot be made to pass: the detail names every line.';
COMMENT ON FUNCTION egress_import_credential(egress_provider_type, text, jsonb) IS
'As egress_import_config(), with what belongs to a credential apart, and not in config: for a row of egress_credential, where it is sealed.
Returns config and removed; username and password of an <auth-user-pass>, or of the file that auth-user-pass names if it is given; client_certificate and client_key of <cert> and <key>, or of their files; private_key, Address as address and PresharedKey as preshared_key of a WireGuard config. What it has not is NULL.
provider_type, source, files: as there.
SQLSTATE: 22004, 22023 and NG007, as there.';
COMMENT ON TYPE egress_synced_gateway IS 'a row of egress_sync_gateways()';
COMMENT ON FUNCTION egress_sync_gateways(bigint, jsonb, float8, boolean, jsonb, boolean) IS
'Makes the gateways of a managed provider those of a list: adds new ones (enabled exactly when enable_new_managed_gateways), updates known ones, withdraws missing ones, takes back returning ones.
egress_provider_id: a provider that is managed. gateways: an array of objects with name, and country, city and config where the provider gives them; a gateway is known by its name. Other keys are ignored.
max_withdrawn: from 0 to 1; a list is refused that would withdraw ten gateways or more, and more than this share of those that are not withdrawn yet; 1 lets it withdraw all.
import: true: each config is made by egress_import_config(), of the listed one and files, a JSON object of files by name or NULL; an entry may have files of its own, which win.
skip_bad: true: a bad entry (malformed, or with a config that cannot be used) is skipped, with a WARNING, and its gateway stays as it is; where its name cannot be read, nothing is withdrawn.
Never touches enabled of a known gateway. Writes only rows that change. Sessions acquire meanwhile; another sync of the provider waits.
Returns a row for each gateway of the list, in its order, then one for each that was withdrawn now. action: added, updated, unchanged, withdrawn, returned, skipped.
SQLSTATE: 22004 an argument is NULL; 22023 no such provider, max_withdrawn is no share, files are none or for no import, or an entry is malformed or comes twice; 55000 the provider is not managed;
NG007 a config does not fit the provider''s type; NG010 it would withdraw more than max_withdrawn; 25006 read-only transaction or standby. In each case nothing is changed.';
COMMENT ON FUNCTION egress_prune_history(interval) IS
'Removes the rows of egress_lease_history whose connection ended before the present time less older_than, all in this transaction.
older_than: not negative; a day is 24 hours, a month one of UTC''s calendar. Returns how many rows it removed. Blocks no acquire and no release.
SQLSTATE: 22004 older_than is NULL; 22023 it is negative or too long; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_grant_access(name, text) IS
'Grants a role what its work needs, and USAGE on the extension''s schema.
role: an existing role. access: app (call what an application calls, read nothing else),
monitor (read the views, explain access), admin (change the configuration tables, read and dump all, call all but what acquires, renews, attaches, grants or reveals).
Runs with the rights of its caller. SQLSTATE: 22004 an argument is NULL; 22023 unknown access; 42704 no such role; 42501 the caller may not grant.';
COMMENT ON FUNCTION egress_credential_public_key(bigint) IS
'The public key of a credential''s private_key, as wg pubkey prints it, for whoever may not open the private key.
Returns NULL for a credential without one: only those of wireguard providers have it.
SQLSTATE: 22004 egress_credential_id is NULL; 22023 no such credential; NG006 the private key cannot be opened; NG007 it is not 32 bytes in base64.';
COMMENT ON FUNCTION egress_refuse_move() IS
'Trigger of egress_provider, egress_gateway and egress_credential: a gateway or credential keeps its id and its provider,
a provider its type once it has gateways or credentials, and its id once anything refers to it.
SQLSTATE: 23514 of a gateway or credential; 23503 of a provider.';
COMMENT ON FUNCTION egress_end_expired_leases() IS
'Trigger of egress_provider, egress_gateway and egress_credential: ends the expired leases of what is about to be deleted.
SQLSTATE: 23503 a lease that has not expired uses it.';
COMMENT ON FUNCTION egress_leave_members_to_source() IS
'Trigger of egress_group_member: while a membership table is attached, leaves out the changes that its triggers do not make. SQLSTATE: 55000 TRUNCATE.';
COMMENT ON FUNCTION egress_restore_in_any_order() IS
'Trigger of the tables that refer to others: while pg_restore fills one as a superuser, foreign keys to tables that are empty yet are left to egress_check_restored(). SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_check_restored() IS
'Trigger of the tables to which others refer: when pg_restore has filled one as a superuser, checks the foreign keys of these others. SQLSTATE: 23503 a row refers to one that is not there.';
COMMENT ON VIEW egress_live_lease IS 'the leases that count: those that have not expired';
COMMENT ON FUNCTION egress_gateway_leases(bigint) IS
'What the view egress_gateway_usage calls: how many live leases a gateway has. egress_gateway_id: the gateway, or no longer one.
Works on a hot standby. SQLSTATE: 22004 egress_gateway_id is NULL.';
COMMENT ON FUNCTION egress_credential_leases(bigint) IS
'What the view egress_credential_usage calls: how many live leases a credential has, and when the oldest of them was acquired, NULL without any.
egress_credential_id: the credential, or no longer one. Works on a hot standby. SQLSTATE: 22004 egress_credential_id is NULL.';
COMMENT ON VIEW egress_credential_usage IS
    'how many connections each credential has live; limit and available are NULL for one without a limit. What cools down is not available';
COMMENT ON VIEW egress_orphaned_connection IS
    'the live leases whose session is in no attached session table, or over; none where no table is attached';
COMMENT ON FUNCTION egress_pool_handler(internal) IS 'The access method egress_pool. SQLSTATE: 0A000 an index on other columns than those of egress_credential_pool.';
COMMENT ON ACCESS METHOD egress_pool IS 'of the index egress_credential_pool, which tells credentials that may have a connection free from those that are full';
COMMENT ON OPERATOR CLASS egress_pool_ops USING egress_pool IS 'for the index egress_credential_pool only';
COMMENT ON OPERATOR FAMILY egress_pool_ops USING egress_pool IS 'for the index egress_credential_pool only';
COMMENT ON FUNCTION egress_connection_freed() IS
'Trigger of egress_lease and egress_lease_expiry, for whoever writes them by hand: lets the index egress_credential_pool know that a credential may have a connection free. SQLSTATE: none of its own.';
COMMENT ON FUNCTION egress_config_has_secret(egress_provider_type, text) IS
'Whether a gateway''s config has secrets in it, which are not sealed: a private key, a preshared key, a password.
provider_type: its provider''s; the configs of custom are not looked into. NULL for NULL. SQLSTATE: none of its own.';
COMMENT ON VIEW egress_secret_usage IS
    'how many secrets of each column are sealed under the active key, an older one or one that is missing, or not sealed, and how many configs have some in them; opens none';
COMMENT ON COLUMN egress_gateway.config IS 'what an agent needs to connect, without the credential; what else is secret in it is not sealed: egress_secret_usage counts it';
