/*
 * peers.sql -- what people would use instead of egress, for `make bench` to run beside it
 *
 * All of them read the extension's own configuration tables, by the same indexes, and come to the same answers:
 * test/t/peers.pl compares them on random worlds. What they write goes into tables of their own, which have the same
 * columns, indexes, checks and storage settings as the extension's, but no foreign keys: they check less.
 *
 *	(a) the application's way: the statements of for_update_*.sql, in one transaction. The limit is counted under SELECT
 *		... FOR UPDATE of the credential.
 *	(b) the same in one PL/pgSQL function: for_update_acquire(), for_update_release(), menu().
 *	(c) a row for each slot there is, taken with FOR UPDATE SKIP LOCKED: slots_acquire(), slots_release().
 *	bare: an INSERT and a DELETE of the same rows, without a question asked. A floor: nobody would run that.
 *
 * They keep what a first version keeps: leases without an end of their own (ttl), and secrets as they are stored.
 */
CREATE SCHEMA peer;
-- the functions are found by it, and so is what they read: as in an application's own database
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = peer, public', current_database()); END $$;
\connect

/* ---------------------------------------------------------------- tables */

CREATE TABLE bare_lease (LIKE egress_lease INCLUDING ALL);
CREATE TABLE bare_history (LIKE egress_lease_history INCLUDING ALL);
CREATE TABLE lease (LIKE egress_lease INCLUDING ALL);
CREATE TABLE history (LIKE egress_lease_history INCLUDING ALL);
-- LIKE leaves the storage settings of a table behind
ALTER TABLE bare_lease SET (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01,
                            autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE bare_history SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_freeze_min_age = 0,
                              autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02,
                              vacuum_truncate = off);
ALTER TABLE lease SET (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01,
                       autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE history SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_freeze_min_age = 0,
                         autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02,
                         vacuum_truncate = off);

-- (c): a row for each connection that a limit allows, free while session_id is NULL; for a credential without a limit,
-- a row while it is held
CREATE TABLE slot (
    slot_id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    egress_credential_id  bigint NOT NULL,
    session_id            text COLLATE "C" UNIQUE CHECK (octet_length(session_id) BETWEEN 1 AND 255),
    egress_gateway_id     bigint,
    user_id               text COLLATE "C" CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    workspace_id          text COLLATE "C" CHECK (octet_length(workspace_id) BETWEEN 1 AND 255),
    acquired_at           timestamptz,
    CHECK (num_nulls(session_id, egress_gateway_id, user_id, acquired_at) IN (0, 4))
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
CREATE INDEX slot_free ON slot (egress_credential_id) WHERE session_id IS NULL;
CREATE INDEX slot_gateway ON slot (egress_gateway_id) WHERE session_id IS NOT NULL;

/* ---------------------------------------------------------- who may use what */

-- the subjects of a call that have an id
CREATE FUNCTION subjects(u text, w text, OUT type egress_subject_type, OUT id text) RETURNS SETOF record
LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT 'user'::egress_subject_type, u
    UNION ALL SELECT 'workspace', w WHERE w IS NOT NULL
    UNION ALL SELECT 'group', group_id FROM egress_group_member WHERE user_id = u
$$;

-- the enabled credentials that have one of the subjects
CREATE FUNCTION entitled_credentials(u text, w text) RETURNS SETOF egress_credential LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT c.* FROM egress_credential c WHERE c.subject_type = 'everyone' AND c.subject_id IS NULL AND c.enabled
    UNION ALL
    SELECT c.* FROM subjects(u, w) s JOIN egress_credential c ON c.subject_type = s.type AND c.subject_id = s.id
    WHERE c.enabled
$$;

-- the enabled mappings that have one of the subjects, of the workspace alone where its override is on
CREATE FUNCTION entitled_mappings(u text, w text) RETURNS SETOF egress_provider_mapping
LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT m.* FROM egress_provider_mapping m
    WHERE m.subject_type = 'everyone' AND m.subject_id IS NULL AND m.enabled
      AND NOT EXISTS (SELECT FROM egress_workspace o WHERE o.workspace_id = w AND o.override_egress_gateways)
    UNION ALL
    SELECT m.* FROM subjects(u, w) s JOIN egress_provider_mapping m ON m.subject_type = s.type AND m.subject_id = s.id
    WHERE m.enabled
      AND (s.type = 'workspace'
           OR NOT EXISTS (SELECT FROM egress_workspace o WHERE o.workspace_id = w AND o.override_egress_gateways))
$$;

-- the credentials that fit a gateway, in the order in which they are tried, with their limits; NULL without one
CREATE FUNCTION fitting(u text, w text, gateway bigint, OUT egress_credential_id bigint, OUT connections integer)
RETURNS SETOF record LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT c.egress_credential_id, CASE WHEN c.limit_active_connections THEN c.active_connection_limit END
    FROM entitled_credentials(u, w) c
    -- not a join: so it is a condition on the index of the subjects
    WHERE c.egress_provider_id = (SELECT g.egress_provider_id FROM egress_gateway g WHERE g.egress_gateway_id = gateway)
      AND (c.allow_all_gateways
           OR EXISTS (SELECT FROM egress_credential_gateway s
                      WHERE s.egress_credential_id = c.egress_credential_id AND s.egress_gateway_id = gateway))
    ORDER BY c.egress_credential_id
$$;

-- is a gateway on, and mapped to the call? No row when there is none
CREATE FUNCTION allowed(u text, w text, gateway bigint, OUT allowed boolean) RETURNS SETOF boolean
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT g.enabled AND NOT g.withdrawn AND p.enabled
           AND EXISTS (SELECT FROM entitled_mappings(u, w) m
                       WHERE m.egress_provider_id = g.egress_provider_id
                         AND (m.allow_all_gateways
                              OR EXISTS (SELECT FROM egress_provider_mapping_gateway s
                                         WHERE s.egress_provider_mapping_id = m.egress_provider_mapping_id
                                           AND s.egress_gateway_id = gateway)))
    FROM egress_gateway g JOIN egress_provider p ON p.egress_provider_id = g.egress_provider_id
    WHERE g.egress_gateway_id = gateway
$$;

-- what the session gets with a credential
CREATE TYPE acquired AS (
    egress_credential_id bigint, credential_name text, username text, password egress_secret,
    private_key egress_secret, custom_credential egress_secret, gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type, config text,
    acquired_at timestamptz);
CREATE FUNCTION answer(gateway bigint, credential bigint, acquired_at timestamptz) RETURNS SETOF acquired
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT c.egress_credential_id, c.name, c.username, c.password, c.private_key, c.custom_credential, g.name,
           g.country, g.city, p.egress_provider_id, p.name, p.provider_type, g.config, acquired_at
    FROM egress_credential c, egress_gateway g JOIN egress_provider p ON p.egress_provider_id = g.egress_provider_id
    WHERE c.egress_credential_id = credential AND g.egress_gateway_id = gateway
$$;

-- raises what egress raises, unless the gateway is open to the call
CREATE FUNCTION check_allowed(u text, w text, gateway bigint) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
    is_allowed boolean;
BEGIN
    SELECT a.allowed INTO is_allowed FROM allowed(u, w, gateway) a;
    IF is_allowed IS NULL THEN
        RAISE EXCEPTION 'gateway % does not exist', gateway USING ERRCODE = 'NG001';
    ELSIF NOT is_allowed THEN
        RAISE EXCEPTION 'gateway % is not available', gateway USING ERRCODE = 'NG002';
    END IF;
END $$;

-- raises what egress raises when the session holds a lease for something else
CREATE FUNCTION refuse_second(gateway bigint, session text) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM egress_gateway g WHERE g.egress_gateway_id = gateway) THEN
        RAISE EXCEPTION 'gateway % does not exist', gateway USING ERRCODE = 'NG001';
    END IF;
    RAISE EXCEPTION 'session % already holds a lease', session USING ERRCODE = 'NG005';
END $$;

/* --------------------------------------- (a) FOR UPDATE, from the application */

-- One row, which says one of three: the session holds the lease already; a credential to try, the next after another
-- one (0: the first), and whether it is limited; the SQLSTATE of what egress raises. No column is NULL.
CREATE FUNCTION candidate(u text, w text, gateway bigint, after bigint, session text, OUT held boolean,
                          OUT try boolean, OUT credential bigint, OUT limited boolean, OUT refusal text)
RETURNS SETOF record LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT same.held, f.egress_credential_id IS NOT NULL, coalesce(f.egress_credential_id, 0),
           f.connections IS NOT NULL,
           CASE WHEN same.held OR f.egress_credential_id IS NOT NULL THEN ''
                WHEN NOT EXISTS (SELECT FROM egress_gateway g WHERE g.egress_gateway_id = gateway) THEN 'NG001'
                WHEN l.session_id IS NOT NULL THEN 'NG005'
                WHEN NOT a.allowed THEN 'NG002'
                WHEN after = 0 THEN 'NG003'
                ELSE 'NG004' END
    FROM (SELECT) call
         LEFT JOIN lease l ON l.session_id = session
         CROSS JOIN LATERAL (SELECT l.session_id IS NOT NULL AND (l.egress_gateway_id, l.user_id) = (gateway, u)
                                    AND l.workspace_id IS NOT DISTINCT FROM w) same (held)
         -- (OFFSET 0: asked once, whatever the number of its uses)
         LEFT JOIN LATERAL (SELECT * FROM allowed(u, w, gateway) WHERE l.session_id IS NULL OFFSET 0) a ON true
         LEFT JOIN LATERAL (SELECT * FROM fitting(u, w, gateway) f
                            WHERE a.allowed AND f.egress_credential_id > after LIMIT 1) f ON true
$$;

/* ----------------------------------------------- (b) FOR UPDATE, in a function */

CREATE FUNCTION for_update_acquire(u text, w text, gateway bigint, session text) RETURNS SETOF acquired
LANGUAGE plpgsql AS $$
DECLARE
    held lease;
    candidate record;
    connections int;
    active bigint;
    fits boolean := false;
BEGIN
    SELECT * INTO held FROM lease l WHERE l.session_id = session;
    IF FOUND THEN
        IF (held.egress_gateway_id, held.user_id, held.workspace_id) IS DISTINCT FROM (gateway, u, w) THEN
            PERFORM refuse_second(gateway, session);
        END IF;
        RETURN QUERY SELECT * FROM answer(gateway, held.egress_credential_id, held.acquired_at);
        RETURN;
    END IF;

    PERFORM check_allowed(u, w, gateway);
    FOR candidate IN SELECT * FROM fitting(u, w, gateway) LOOP
        fits := true;
        IF candidate.connections IS NOT NULL THEN
            SELECT c.active_connection_limit INTO connections FROM egress_credential c
            WHERE c.egress_credential_id = candidate.egress_credential_id FOR UPDATE;
            SELECT count(*) INTO active FROM lease l WHERE l.egress_credential_id = candidate.egress_credential_id;
            CONTINUE WHEN (active < connections) IS NOT TRUE;
        END IF;
        RETURN QUERY
        WITH leased AS (
            INSERT INTO lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at)
            VALUES (session, candidate.egress_credential_id, gateway, u, w, clock_timestamp())
            RETURNING *)
        SELECT a.* FROM leased l, answer(l.egress_gateway_id, l.egress_credential_id, l.acquired_at) a;
        RETURN;
    END LOOP;
    IF fits THEN
        RAISE EXCEPTION 'no connection is free' USING ERRCODE = 'NG004';
    END IF;
    RAISE EXCEPTION 'no credential fits' USING ERRCODE = 'NG003';
END $$;

-- the same, but a credential that looks full is not locked: looked at again under the lock is only one that does not.
-- More than a first version has; for the row "pool", whose answer depends on it
CREATE FUNCTION look_first_acquire(u text, w text, gateway bigint, session text) RETURNS SETOF acquired
LANGUAGE plpgsql AS $$
DECLARE
    held lease;
    candidate record;
    connections int;
    active bigint;
BEGIN
    SELECT * INTO held FROM lease l WHERE l.session_id = session;
    IF FOUND THEN
        IF (held.egress_gateway_id, held.user_id, held.workspace_id) IS DISTINCT FROM (gateway, u, w) THEN
            PERFORM refuse_second(gateway, session);
        END IF;
        RETURN QUERY SELECT * FROM answer(gateway, held.egress_credential_id, held.acquired_at);
        RETURN;
    END IF;

    PERFORM check_allowed(u, w, gateway);
    FOR candidate IN
        SELECT * FROM fitting(u, w, gateway) f
        WHERE f.connections IS NULL
           OR (SELECT count(*) FROM lease l WHERE l.egress_credential_id = f.egress_credential_id) < f.connections
        ORDER BY f.egress_credential_id
    LOOP
        IF candidate.connections IS NOT NULL THEN
            SELECT c.active_connection_limit INTO connections FROM egress_credential c
            WHERE c.egress_credential_id = candidate.egress_credential_id FOR UPDATE;
            SELECT count(*) INTO active FROM lease l WHERE l.egress_credential_id = candidate.egress_credential_id;
            CONTINUE WHEN (active < connections) IS NOT TRUE;
        END IF;
        RETURN QUERY
        WITH leased AS (
            INSERT INTO lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at)
            VALUES (session, candidate.egress_credential_id, gateway, u, w, clock_timestamp())
            RETURNING *)
        SELECT a.* FROM leased l, answer(l.egress_gateway_id, l.egress_credential_id, l.acquired_at) a;
        RETURN;
    END LOOP;
    IF EXISTS (SELECT FROM fitting(u, w, gateway)) THEN
        RAISE EXCEPTION 'no connection is free' USING ERRCODE = 'NG004';
    END IF;
    RAISE EXCEPTION 'no credential fits' USING ERRCODE = 'NG003';
END $$;

CREATE FUNCTION for_update_release(session text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    WITH ended AS (DELETE FROM lease WHERE session_id = session RETURNING *)
    INSERT INTO history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                         provider_name, country, city, user_id, workspace_id, acquired_at, released_at, release_reason)
    SELECT e.session_id, c.egress_credential_id, c.name, g.egress_gateway_id, g.name, p.name, g.country, g.city,
           e.user_id, e.workspace_id, e.acquired_at, clock_timestamp(), 'released'
    FROM ended e JOIN egress_credential c USING (egress_credential_id) JOIN egress_gateway g USING (egress_gateway_id)
         JOIN egress_provider p ON p.egress_provider_id = g.egress_provider_id;
    RETURN FOUND;
END $$;

-- the launch menu, provider by provider: the credentials of each are counted once, not once a gateway
CREATE FUNCTION menu(u text, w text)
RETURNS TABLE (egress_gateway_id bigint, gateway_name text, country text, city text, egress_provider_id bigint,
               provider_name text, provider_type egress_provider_type, available_connections bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    provider record;
BEGIN
    FOR provider IN
        SELECT p.egress_provider_id AS id, p.name, p.provider_type AS type, bool_or(m.allow_all_gateways) AS all_mapped
        FROM entitled_mappings(u, w) m JOIN egress_provider p ON p.egress_provider_id = m.egress_provider_id
        WHERE p.enabled GROUP BY p.egress_provider_id ORDER BY p.name
    LOOP
        RETURN QUERY
        WITH credential AS MATERIALIZED (
            SELECT c.egress_credential_id, c.allow_all_gateways, NOT c.limit_active_connections AS unlimited,
                   CASE WHEN c.limit_active_connections
                        THEN greatest(c.active_connection_limit - l.active, 0) END AS free
            FROM entitled_credentials(u, w) c
                 CROSS JOIN LATERAL (SELECT count(*) AS active FROM lease l
                                     WHERE c.limit_active_connections
                                       AND l.egress_credential_id = c.egress_credential_id) l
            WHERE c.egress_provider_id = provider.id),
        for_all AS MATERIALIZED (
            SELECT count(*) > 0 AS fits, bool_or(c.unlimited) AS unlimited, sum(c.free)::bigint AS free
            FROM credential c WHERE c.allow_all_gateways),
        selected AS MATERIALIZED (
            SELECT s.egress_gateway_id, bool_or(c.unlimited) AS unlimited, sum(c.free)::bigint AS free
            FROM credential c JOIN egress_credential_gateway s USING (egress_credential_id)
            WHERE NOT c.allow_all_gateways GROUP BY s.egress_gateway_id)
        SELECT g.egress_gateway_id, g.name, g.country, g.city, provider.id, provider.name, provider.type,
               CASE WHEN NOT coalesce(a.unlimited, false) AND NOT coalesce(s.unlimited, false)
                    THEN coalesce(a.free, 0) + coalesce(s.free, 0) END
        FROM egress_gateway g CROSS JOIN for_all a LEFT JOIN selected s ON s.egress_gateway_id = g.egress_gateway_id
        WHERE g.egress_provider_id = provider.id AND g.enabled AND NOT g.withdrawn
          AND (a.fits OR s.egress_gateway_id IS NOT NULL)
          AND (provider.all_mapped
               OR g.egress_gateway_id IN (SELECT s.egress_gateway_id
                                          FROM entitled_mappings(u, w) m
                                               JOIN egress_provider_mapping_gateway s USING (egress_provider_mapping_id)
                                          WHERE m.egress_provider_id = provider.id AND NOT m.allow_all_gateways))
        ORDER BY g.country, g.city, g.name, g.egress_gateway_id;
    END LOOP;
END $$;

/* ------------------------------------------------------ (c) SKIP LOCKED slots */

-- the slots of the credentials' limits, as a trigger on egress_credential would keep them
CREATE FUNCTION slots_fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE slot;
    INSERT INTO slot (egress_credential_id)
    SELECT c.egress_credential_id FROM egress_credential c, generate_series(1, c.active_connection_limit)
    WHERE c.limit_active_connections;
$$;

-- Without sequential scans: where half of 100,000 slots are free, the planner expects to meet a free one soon when it
-- reads the table from its beginning. But there the taken ones are.
CREATE FUNCTION slots_acquire(u text, w text, gateway bigint, session text) RETURNS SETOF acquired
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    held slot;
    candidate record;
    since timestamptz;
    fits boolean := false;
BEGIN
    SELECT * INTO held FROM slot t WHERE t.session_id = session;
    IF FOUND THEN
        IF (held.egress_gateway_id, held.user_id, held.workspace_id) IS DISTINCT FROM (gateway, u, w) THEN
            PERFORM refuse_second(gateway, session);
        END IF;
        RETURN QUERY SELECT * FROM answer(gateway, held.egress_credential_id, held.acquired_at);
        RETURN;
    END IF;

    PERFORM check_allowed(u, w, gateway);
    FOR candidate IN SELECT * FROM fitting(u, w, gateway) LOOP
        fits := true;
        IF candidate.connections IS NOT NULL THEN
            UPDATE slot SET session_id = session, egress_gateway_id = gateway, user_id = u, workspace_id = w,
                            acquired_at = clock_timestamp()
            WHERE slot_id = (SELECT t.slot_id FROM slot t
                             WHERE t.egress_credential_id = candidate.egress_credential_id AND t.session_id IS NULL
                             LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING slot.acquired_at INTO since;
            CONTINUE WHEN NOT FOUND;
        ELSE
            INSERT INTO slot (egress_credential_id, session_id, egress_gateway_id, user_id, workspace_id, acquired_at)
            VALUES (candidate.egress_credential_id, session, gateway, u, w, clock_timestamp())
            RETURNING slot.acquired_at INTO since;
        END IF;
        RETURN QUERY SELECT * FROM answer(gateway, candidate.egress_credential_id, since);
        RETURN;
    END LOOP;
    IF fits THEN
        RAISE EXCEPTION 'no connection is free' USING ERRCODE = 'NG004';
    END IF;
    RAISE EXCEPTION 'no credential fits' USING ERRCODE = 'NG003';
END $$;

CREATE FUNCTION slots_release(session text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    SELECT t.*, c.name AS credential_name, c.limit_active_connections AS limited INTO held
    FROM slot t JOIN egress_credential c USING (egress_credential_id) WHERE t.session_id = session FOR UPDATE OF t;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                         provider_name, country, city, user_id, workspace_id, acquired_at, released_at, release_reason)
    SELECT held.session_id, held.egress_credential_id, held.credential_name, g.egress_gateway_id, g.name, p.name,
           g.country, g.city, held.user_id, held.workspace_id, held.acquired_at, clock_timestamp(), 'released'
    FROM egress_gateway g JOIN egress_provider p ON p.egress_provider_id = g.egress_provider_id
    WHERE g.egress_gateway_id = held.egress_gateway_id;
    IF held.limited THEN
        UPDATE slot SET session_id = NULL, egress_gateway_id = NULL, user_id = NULL, workspace_id = NULL,
                        acquired_at = NULL
        WHERE slot_id = held.slot_id;
    ELSE
        DELETE FROM slot WHERE slot_id = held.slot_id;
    END IF;
    RETURN true;
END $$;
