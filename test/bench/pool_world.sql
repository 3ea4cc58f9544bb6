-- pool_world.sql -- a database with one pool of :size credentials, 10 connections each, all of them held but the last two of
-- the last credential: user pool, workspace workspace, gateways 1 to 100. :kind says whom the credentials are for, and for which
-- gateways:
--   everyone  everyone, all gateways
--   spread    one after the other everyone, the workspace, the user, and each of the user's 20 groups; all gateways
--   selected  everyone; every second one selects gateway 1 and another one
-- The lease number i, from 0, is that of a session of client i % 16, its i / 16th: see churn.sql.
CREATE EXTENSION egress;

SET session_replication_role = replica;    -- no foreign key is checked a million times: they hold
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Pool', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config, provider_type)
SELECT i, 1, 'gw-' || i, 'Country ' || i % 20, 'City ' || i % 50, 'remote gw-' || i || '.example.net 1194', 'openvpn'
FROM generate_series(1, 100) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_group_member SELECT 'pool', 'group-' || i FROM generate_series(1, 20) i WHERE :'kind' = 'spread';

CREATE TEMP TABLE subject (number int, type egress_subject_type, id text);
INSERT INTO subject VALUES (0, 'everyone', NULL);
INSERT INTO subject
SELECT * FROM (VALUES (1, 'workspace'::egress_subject_type, 'workspace'), (2, 'user', 'pool')) s WHERE :'kind' = 'spread'
UNION ALL
SELECT 2 + i, 'group', 'group-' || i FROM generate_series(1, 20) i WHERE :'kind' = 'spread';

INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password,
                               allow_all_gateways, limit_active_connections, active_connection_limit, provider_type)
SELECT i, 1, 'pool-' || i, s.type, s.id, 'user', 'secret', :'kind' <> 'selected' OR i % 2 = 0, true, 10, 'openvpn'
FROM generate_series(1, :size) i JOIN subject s ON s.number = i % (SELECT count(*) FROM subject)
ORDER BY i;
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id, egress_provider_id)
SELECT i, g, 1 FROM generate_series(1, :size, 2) i, unnest(ARRAY[1, 2 + i % 99]) g WHERE :'kind' = 'selected';
SELECT setval(pg_get_serial_sequence('egress_credential', 'egress_credential_id'), :size);

INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT (1 + i % 16) * 1000000000000 + i / 16 * 100000, 1 + i / 10, CASE :'kind' WHEN 'selected' THEN 1 ELSE 1 + i % 100 END,
       'user-' || i % 1000, now(), 1 + i % 10
FROM generate_series(0::bigint, 10 * :size - 3) i;
SET session_replication_role = origin;

-- how often each client has ended and begun a session
SELECT format('CREATE SEQUENCE churn_%s MINVALUE 0 CACHE 1', client) FROM generate_series(0, 15) client \gexec
