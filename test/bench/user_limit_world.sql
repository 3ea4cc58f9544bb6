-- user_limit_world.sql -- upon the small world: user pair is in three groups, of 50,000 with two users each. With limits not 0, as
-- many users and groups have one, but not user pair, nor those groups; and user capped, who has what pair has, has a limit of 1,000.
SET session_replication_role = replica;    -- no foreign key is checked: they hold
INSERT INTO egress_group_member
SELECT 'user-' || i, 'group-' || i % 50000 FROM generate_series(1, 100000) i
UNION ALL
SELECT u, 'own-group-' || i FROM unnest('{pair,capped}'::text[]) u, generate_series(1, 3) i;
INSERT INTO egress_user_limit
SELECT 'user'::egress_subject_type, 'user-' || i, 5 FROM generate_series(1, :limits / 2) i
UNION ALL
SELECT 'group', 'group-' || i, 5 FROM generate_series(1, :limits / 2) i
UNION ALL
SELECT 'user', 'capped', 1000 WHERE :limits > 0;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (12, 'Capped', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config, provider_type)
SELECT 1200 + i, 12, 'gw-' || i, 'NL', 'Amsterdam', 'remote gw-' || i || '.example.net 1194', 'openvpn' FROM generate_series(1, 20) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (12, 'user', 'capped');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password,
                               limit_active_connections, active_connection_limit, provider_type)
VALUES (1200, 12, 'hot', 'user', 'capped', 'user', 'secret', true, 1000, 'openvpn');
