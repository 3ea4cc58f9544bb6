-- cool_down_rows.sql -- what has cooled down leaves few rows, though no job ever comes
--
-- A row that has cooled down stays until somebody needs its slot. Slots are drawn by chance, and a limit may be so large that
-- none is drawn twice; a credential without a limit has none at all.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (11, 1, 'nl-ams-01');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, limit_active_connections,
                               active_connection_limit, once_per_gateway, cool_down)
VALUES (1, 'large', 'user', 'large', true, 2147483647, false, '1 ms'),
       (1, 'small', 'user', 'small', true, 3, false, '1 ms'),
       (1, 'none', 'user', 'none', false, NULL, false, '1 ms'),
       (1, 'once', 'user', 'once', false, NULL, true, '1 microsecond');

CREATE FUNCTION rows() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', name, count), ', ' ORDER BY name)
    FROM (SELECT name, count(*) FROM egress_lease JOIN egress_credential USING (egress_credential_id) GROUP BY name) n
    WHERE count > 100
$$;

-- each in a transaction of its own
DO $$
BEGIN
    FOR i IN 1 .. 2000 LOOP
        PERFORM egress_acquire_credential(name, NULL, 11, name || i) FROM unnest(ARRAY['large', 'none']) name;
        COMMIT;
        PERFORM egress_release_credential(name || i) FROM unnest(ARRAY['large', 'none']) name;
        COMMIT;
    END LOOP;
END $$;
SELECT is(rows(), NULL, '2,000 connections of a large limit, and without one, leave few rows');

DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        PERFORM egress_acquire_credential(name, NULL, 11, name || i) FROM unnest(ARRAY['small', 'once']) name;
        PERFORM egress_release_credential(name || i) FROM unnest(ARRAY['small', 'once']) name;
        COMMIT;
        PERFORM pg_sleep(0.0015);
    END LOOP;
END $$;
SELECT is(rows(), NULL, '... nor do 300 of a small limit, and of one place');
SELECT is((SELECT count(*) FROM egress_lease_history), 4600::bigint, 'all were taken, and given back');

SELECT * FROM finish();
