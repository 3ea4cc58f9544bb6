-- credential_order spread: the search begins at a credential drawn by chance, and finds the last free connection.
\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only on
BEGIN;
CREATE EXTENSION egress;
SELECT no_plan();
SELECT setseed(0.5) \gset

INSERT INTO egress_provider (egress_provider_id, name, provider_type, credential_order) VALUES (1, 'small', 'custom', 'spread'), (2, 'big', 'custom', 'spread');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (11, 1, 'a'), (21, 2, 'b'), (22, 2, 'c');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
SELECT n, 1, 'c', 'everyone', true, 100 FROM generate_series(1, 5) n;
-- ids that are far apart, of two subjects; every tenth selects gateway 22 only
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, allow_all_gateways,
                               limit_active_connections, active_connection_limit)
SELECT CASE WHEN n <= 500 THEN 1000 + n ELSE 1000000000 + n * 1000 END, 2, 'c',
       (CASE WHEN n % 4 = 0 THEN 'user' ELSE 'everyone' END)::egress_subject_type, CASE WHEN n % 4 = 0 THEN 'ann' END, n % 10 <> 0, true, 2
FROM generate_series(1, 1000) n;
INSERT INTO egress_credential_gateway SELECT egress_credential_id, 22 FROM egress_credential WHERE NOT allow_all_gateways;

CREATE FUNCTION acquire(gateway bigint, session text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN egress_credential_id FROM egress_acquire_credential('ann', NULL, gateway, session);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

-- a small pool: all of it, each credential about as often (40 on average; outside of the bounds once in 10^8 runs)
SELECT is((SELECT count(*) FROM generate_series(1, 200) n WHERE acquire(11, 's' || n) ~ '^\d$'), 200::bigint, 'two hundred of a small pool');
SELECT cmp_ok((SELECT min(active_connections) FROM egress_credential_usage WHERE egress_provider_id = 1), '>=', 10::bigint, 'no credential has few of them');
SELECT cmp_ok((SELECT max(active_connections) FROM egress_credential_usage WHERE egress_provider_id = 1), '<=', 75::bigint, '... or many');
SELECT is((SELECT count(*) FROM generate_series(201, 500) n WHERE acquire(11, 's' || n) ~ '^\d$'), 300::bigint, 'the rest, to the last');
SELECT is(acquire(11, 's501'), 'NG004', '... and no more');
SELECT egress_release_credential('s77') AS released \gset
SELECT is(acquire(11, 's501') ~ '^\d$', true, 'the only one that is free is found');
SELECT is(acquire(11, 's502'), 'NG004', '... once');

-- a big pool
SELECT is((SELECT count(*) FROM generate_series(1, 400) n WHERE acquire(21, 'b' || n) ~ '^\d+$'), 400::bigint, 'four hundred of a big pool');
SELECT cmp_ok((SELECT count(DISTINCT egress_credential_id) FROM egress_lease WHERE egress_gateway_id = 21), '>=', 270::bigint,
              'spread over many credentials');
SELECT is((SELECT count(*) FILTER (WHERE egress_credential_id < 1000000) BETWEEN 120 AND 280 FROM egress_lease WHERE egress_gateway_id = 21), true,
          '... of low ids and of high ones');
SELECT is((SELECT count(*) FILTER (WHERE c.subject_type = 'user') BETWEEN 50 AND 150
           FROM egress_lease JOIN egress_credential c USING (egress_credential_id) WHERE egress_gateway_id = 21), true,
          '... of both subjects');
SELECT is((SELECT count(*) FROM egress_lease JOIN egress_credential c USING (egress_credential_id)
           WHERE egress_gateway_id = 21 AND NOT allow_all_gateways), 0::bigint, '... none that selects another gateway');
SELECT is((SELECT count(*) FROM generate_series(401, 1800) n WHERE acquire(21, 'b' || n) ~ '^\d+$'), 1400::bigint, 'the rest, to the last');
SELECT is(acquire(21, 'x'), 'NG004', '... and no more');
SELECT is((SELECT count(*) FROM generate_series(1, 200) n WHERE acquire(22, 'c' || n) ~ '^\d+$'), 200::bigint, 'at the other gateway there are 200');
SELECT is(acquire(22, 'x'), 'NG004', '... and no more');
SELECT egress_release_credential('b1234') AS released \gset
SELECT is(acquire(21, 'x') ~ '^\d+$', true, 'the only one that is free is found');
SELECT is(acquire(21, 'y'), 'NG004', '... once');
SELECT is((SELECT bool_and(active_connections <= active_connection_limit) FROM egress_credential_usage), true, 'no limit is passed');

-- first, as without the setting
UPDATE egress_provider SET credential_order = 'first';
SELECT count(egress_release_credential(session_id)) AS released FROM egress_lease \gset
SELECT is((SELECT string_agg(acquire(21, 'f' || n), ' ' ORDER BY n) FROM generate_series(1, 5) n), '1001 1001 1002 1002 1003', 'first: by ascending id');
SELECT * FROM finish();
ROLLBACK;
