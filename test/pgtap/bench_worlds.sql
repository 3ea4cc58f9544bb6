-- bench_worlds.sql -- the menu, the explanation, an acquire and a wish decide alike, whatever is reported of whatever
--
-- Random worlds: providers with bench_after and credential_order of every kind, credentials with limits, at a gateway once, for some
-- gateways or for one user, mappings of some; leases, and reports of gateways and credentials by random sessions at random times.
-- What is benched is found out again in SQL.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

-- what an acquire, or a wish for the gateway's country, which has no other, would get: the credential's id, or the SQLSTATE
CREATE FUNCTION acquire(u text, gateway bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    credential text;
BEGIN
    SELECT egress_credential_id INTO credential FROM egress_acquire_credential(u, NULL, gateway, 'probe');
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN RETURN credential;
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
CREATE FUNCTION wish(u text, wished text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    SELECT egress_gateway_id || ' ' || egress_credential_id INTO answer FROM egress_acquire_gateway(u, NULL, 'probe', wished);
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN RETURN answer;
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;

-- until when something is benched, or NULL, by its reports
CREATE FUNCTION benched_until(gateway bigint, credential bigint) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    r egress_report;
    after int;
    length interval;
    sessions text[] := '{}';
    times int := 0;
    until timestamptz := '-infinity';
BEGIN
    SELECT bench_after, bench_for INTO after, length
    FROM egress_provider WHERE egress_provider_id = coalesce(
        (SELECT egress_provider_id FROM egress_gateway WHERE egress_gateway_id = gateway),
        (SELECT egress_provider_id FROM egress_credential WHERE egress_credential_id = credential));
    FOR r IN SELECT * FROM egress_report WHERE egress_gateway_id = gateway OR egress_credential_id = credential
             ORDER BY reported_at, egress_report_id LOOP
        IF r.session_id IS NULL THEN
            sessions := '{}'; times := 0; until := '-infinity';
        ELSIF r.reported_at >= until AND r.session_id <> ALL (sessions) THEN
            sessions := sessions || r.session_id::text;
            IF cardinality(sessions) = after THEN
                until := r.reported_at + least(length * 2 ^ times, '1 hour');
                times := times + 1;
                sessions := '{}';
            END IF;
        END IF;
    END LOOP;
    RETURN CASE WHEN until > clock_timestamp() THEN until END;
END $$;

CREATE FUNCTION world(seed int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
    seen int;
BEGIN
    PERFORM setseed(seed / 1000.0);
    DELETE FROM egress_lease;
    DELETE FROM egress_provider;
    INSERT INTO egress_provider (egress_provider_id, name, provider_type, enabled, credential_order, bench_after, bench_for)
    SELECT p, 'p' || p, 'custom', random() < 0.9, CASE WHEN random() < 0.5 THEN 'first' ELSE 'spread' END,
           CASE WHEN random() < 0.9 THEN 1 + floor(random() * 3)::int END, (ARRAY['1 min', '10 min', '2 h'])[1 + floor(random() * 3)::int]::interval
    FROM generate_series(1, 3) p;
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, enabled)
    SELECT g, 1 + g % 3, 'g' || g, 'c' || g, random() < 0.9 FROM generate_series(1, 12) g;
    INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, allow_all_gateways)
    SELECT p, p, CASE WHEN p = 1 + seed % 3 THEN 'user' ELSE 'everyone' END::egress_subject_type,
           CASE WHEN p = 1 + seed % 3 THEN 'ana' END, random() < 0.7
    FROM generate_series(1, 3) p;
    INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id)
    SELECT 1 + g % 3, g FROM generate_series(1, 12) g WHERE random() < 0.6;
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, allow_all_gateways, enabled,
                                   limit_active_connections, active_connection_limit, once_per_gateway)
    SELECT c, 1 + c % 3, 'c' || c, CASE WHEN c % 4 = 0 THEN 'user' ELSE 'everyone' END::egress_subject_type,
           CASE WHEN c % 4 = 0 THEN 'ana' END, random() < 0.7, random() < 0.9, random() < 0.6, 1 + floor(random() * 3)::int, random() < 0.3
    FROM generate_series(1, 9) c;
    INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id)
    SELECT c, g FROM generate_series(1, 9) c, generate_series(1, 12) g WHERE c % 3 = g % 3 AND random() < 0.5;
    FOR n IN 1 .. 15 LOOP
        BEGIN
            PERFORM egress_acquire_credential((ARRAY['ana', 'bruno'])[1 + n % 2], NULL, 1 + floor(random() * 12)::int, 's' || n);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    INSERT INTO egress_report (egress_gateway_id, egress_credential_id, session_id, reported_at)
    SELECT CASE WHEN is_gateway THEN 1 + floor(random() * 12)::int END, CASE WHEN NOT is_gateway THEN 1 + floor(random() * 9)::int END,
           CASE WHEN random() < 0.95 THEN 's' || floor(random() * 4) END, clock_timestamp() - random() * (ARRAY['1 min', '15 min', '3 h'])[1 + n % 3]::interval
    FROM (SELECT n, random() < 0.5 AS is_gateway FROM generate_series(1, 20 + seed % 3 * 40) n) r;

    -- the view has what is benched
    SELECT string_agg(format('gateway %s, credential %s: %s, not %s', g, c, b.benched_until, u), E'\n') INTO wrong
    FROM (SELECT g::bigint, NULL::bigint AS c, benched_until(g, NULL) AS u FROM generate_series(1, 12) g
          UNION ALL SELECT NULL, c, benched_until(NULL, c) FROM generate_series(1, 9) c) o
    LEFT JOIN egress_benched b ON b.egress_gateway_id IS NOT DISTINCT FROM g AND b.egress_credential_id IS NOT DISTINCT FROM c
    WHERE b.benched_until IS DISTINCT FROM u;
    RETURN NEXT is(wrong, NULL, format('seed %s: who is benched', seed));

    CREATE TEMP TABLE answers ON COMMIT DROP AS
    SELECT u, g, p.credential_order = 'first' AS ordered, acquire(u, g) AS acquired, wish(u, ARRAY['c' || g]) AS wished,
           m.egress_gateway_id IS NOT NULL AS listed, m.available_connections, e.verdict, e.egress_credential_id AS explained, e.detail,
           bg.benched_until AS until, e.detail LIKE '%benched until%' AS says
    FROM unnest('{ana,bruno}'::text[]) u
    CROSS JOIN LATERAL egress_explain_access(u) e
    JOIN egress_gateway gw USING (egress_gateway_id)
    JOIN egress_provider p ON p.egress_provider_id = gw.egress_provider_id
    CROSS JOIN LATERAL (SELECT e.egress_gateway_id AS g) ids
    LEFT JOIN LATERAL egress_available_gateways(u) m ON m.egress_gateway_id = g
    LEFT JOIN egress_benched bg ON bg.egress_gateway_id = g;
    SELECT string_agg(answers::text, E'\n') INTO wrong FROM answers WHERE NOT (
        CASE WHEN verdict = 'no_credential' THEN acquired = 'NG003' AND wished = 'NG002' AND NOT listed
             WHEN verdict = 'at_limit' THEN acquired = 'NG004' AND wished = 'NG004' AND listed AND available_connections = 0 AND until IS NULL
             WHEN verdict = 'available' THEN acquired NOT LIKE 'NG%' AND split_part(wished, ' ', 1) = g::text AND listed
                 AND available_connections IS DISTINCT FROM 0 AND until IS NULL
                 AND (NOT ordered OR (acquired = explained::text AND wished = g || ' ' || explained))
                 AND acquired NOT IN (SELECT egress_credential_id::text FROM egress_benched WHERE egress_credential_id IS NOT NULL)
                 AND split_part(wished, ' ', 2) NOT IN (SELECT egress_credential_id::text FROM egress_benched WHERE egress_credential_id IS NOT NULL)
             ELSE acquired = 'NG002' AND wished = 'NG002' AND NOT listed AND (verdict <> 'benched' OR until IS NOT NULL) END);
    RETURN NEXT is(wrong, NULL, format('seed %s: menu, explanation, acquire and wish decide alike', seed));

    -- and a wish for any of them gets one if there is one
    SELECT string_agg(u || ' ' || w, ', ') INTO wrong
    FROM (SELECT u, wish(u, NULL) AS w FROM unnest('{ana,bruno}'::text[]) u) wishes
    WHERE w IS DISTINCT FROM CASE
        WHEN EXISTS (SELECT FROM answers a WHERE a.u = wishes.u AND verdict = 'available' AND a.g::text = split_part(w, ' ', 1)) THEN w
        WHEN NOT EXISTS (SELECT FROM answers a WHERE a.u = wishes.u AND listed) THEN 'NG002'
        WHEN NOT EXISTS (SELECT FROM answers a WHERE a.u = wishes.u AND verdict = 'available') THEN 'NG004' END;
    RETURN NEXT is(wrong, NULL, format('seed %s: a wish for any of them', seed));
    INSERT INTO kinds SELECT seed, verdict, says FROM answers;
    DROP TABLE answers;
END $$;
CREATE TABLE kinds (seed int, verdict text, says boolean);
SELECT world(seed) FROM generate_series(1, 60) seed;
SELECT cmp_ok((SELECT count(*) FROM kinds WHERE verdict = v AND (NOT benched OR says)), '>=', 20::bigint,
              v || CASE WHEN benched THEN ', where something is benched' ELSE '' END || ': often enough')
FROM (VALUES ('available', false), ('available', true), ('at_limit', true), ('at_limit', false), ('benched', true), ('no_credential', false)) k (v, benched);

SELECT * FROM finish();
ROLLBACK;
