-- Installing: into a schema of choice, dropped and created again in one session, here and elsewhere.
-- The C code keeps the OIDs of its tables for the session, so each step uses it again.
\set SHOW_CONTEXT never

CREATE SCHEMA vpn;
CREATE SCHEMA "Odd ""schema""";

CREATE EXTENSION egress SCHEMA vpn;
SELECT extname, extversion, extnamespace::regnamespace AS schema, extrelocatable
FROM pg_extension WHERE extname = 'egress';

-- nothing of it lies in another schema; the default search_path does not know it
SELECT count(*) > 20 AS has_members, bool_and(coalesce(c.relnamespace, p.pronamespace, t.typnamespace)
                                              = 'vpn'::regnamespace) AS all_in_vpn
FROM pg_depend d
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'egress');
SELECT to_regclass('egress_gateway') IS NULL AS not_in_search_path;

-- a small use of it, for every schema that follows: provider, gateway, access; menu, acquire, release, trigger
CREATE TABLE public.sessions (id text PRIMARY KEY);
CREATE FUNCTION public.use_egress(provider_name text)
RETURNS TABLE (step text, result text) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO egress_provider (name, provider_type) VALUES (provider_name, 'custom');
    INSERT INTO egress_gateway (egress_provider_id, name) SELECT egress_provider_id, 'relay' FROM egress_provider;
    INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
        SELECT egress_provider_id, 'everyone' FROM egress_provider;
    INSERT INTO egress_credential (egress_provider_id, name, subject_type)
        SELECT egress_provider_id, 'shared', 'everyone' FROM egress_provider;
    RETURN QUERY SELECT 'menu', format('%s of %s', g.gateway_name, g.provider_name) FROM egress_available_gateways('ann') g;
    RETURN QUERY SELECT 'acquire', format('%s of %s', a.credential_name, a.provider_name)
        FROM egress_gateway g, egress_acquire_credential('ann', NULL, g.egress_gateway_id, 's1') a;
    RETURN QUERY SELECT 'release', egress_release_credential('s1')::text;

    CREATE TRIGGER session_end AFTER DELETE ON public.sessions
        FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id');
    INSERT INTO public.sessions VALUES ('s2');
    PERFORM egress_acquire_credential('ann', NULL, egress_gateway_id, 's2') FROM egress_gateway;
    DELETE FROM public.sessions;
    DROP TRIGGER session_end ON public.sessions;
    RETURN QUERY SELECT 'history', string_agg(h.session_id || ' ' || h.release_reason, ', ' ORDER BY h.session_id)
        FROM egress_lease_history h;
END $$;

SET search_path = vpn, public;
SELECT * FROM use_egress('first');

-- the C code finds its tables in its own schema, whatever the search_path is
SET search_path = public;
SELECT gateway_name, provider_name FROM vpn.egress_available_gateways('ann');
SET search_path = '';
SELECT gateway_name, provider_name FROM vpn.egress_available_gateways('ann');
RESET search_path;

-- it stays where it is
\set VERBOSITY sqlstate
ALTER EXTENSION egress SET SCHEMA "Odd ""schema""";
-- two at once there are not
CREATE EXTENSION egress SCHEMA "Odd ""schema""";
\set VERBOSITY default
SELECT gateway_name, provider_name FROM vpn.egress_available_gateways('ann');

-- dropped and created again in a transaction that does not commit
BEGIN;
SAVEPOINT before;
DROP EXTENSION egress;
CREATE EXTENSION egress SCHEMA "Odd ""schema""";
SET LOCAL search_path = "Odd ""schema""", public;
SELECT * FROM use_egress('second, then undone');
ROLLBACK TO SAVEPOINT before;
SELECT gateway_name, provider_name FROM vpn.egress_available_gateways('ann');
DROP EXTENSION egress;
CREATE EXTENSION egress SCHEMA vpn;
SELECT count(*) AS gateways FROM vpn.egress_available_gateways('ann');
ROLLBACK;
SELECT gateway_name, provider_name FROM vpn.egress_available_gateways('ann');

-- a session table that uses the trigger keeps the extension from being dropped
CREATE TRIGGER session_end AFTER DELETE ON public.sessions
    FOR EACH ROW EXECUTE FUNCTION vpn.egress_release_on_session_end('id');
\set VERBOSITY sqlstate
DROP EXTENSION egress;
\set VERBOSITY default
DROP TRIGGER session_end ON public.sessions;

-- dropped: nothing is left behind
DROP EXTENSION egress;
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'vpn'::regnamespace) AS relations,
       (SELECT count(*) FROM pg_proc WHERE pronamespace = 'vpn'::regnamespace) AS functions,
       (SELECT count(*) FROM pg_type WHERE typnamespace = 'vpn'::regnamespace) AS types;

-- created in another schema, one whose name has to be quoted
CREATE EXTENSION egress SCHEMA "Odd ""schema""";
SET search_path = "Odd ""schema""", public;
SELECT * FROM use_egress('third');
PREPARE menu AS SELECT gateway_name, provider_name FROM egress_available_gateways('ann');
EXECUTE menu;

-- and again in the same schema: a prepared statement reads the new tables, not the old
DROP EXTENSION egress;
CREATE EXTENSION egress SCHEMA "Odd ""schema""";
EXECUTE menu;
SELECT * FROM use_egress('fourth');
EXECUTE menu;

-- its tables and indexes may be rebuilt under a session that uses it
VACUUM FULL egress_gateway;
REINDEX TABLE CONCURRENTLY egress_provider_mapping;
REINDEX TABLE CONCURRENTLY egress_lease;
CLUSTER egress_provider USING egress_provider_pkey;
EXECUTE menu;
SELECT credential_name FROM egress_gateway g, egress_acquire_credential('ann', NULL, g.egress_gateway_id, 's3');
SELECT egress_release_credential('s3');

RESET search_path;
DEALLOCATE menu;
DROP EXTENSION egress;
DROP FUNCTION public.use_egress;
DROP TABLE public.sessions;
DROP SCHEMA "Odd ""schema""";
DROP SCHEMA vpn;
