-- big_world.sql -- others beside the small world: 1,000,000 users in a group each, 100,000 credentials with 10 leases
-- each, 20,000 gateways
SET session_replication_role = replica;    -- no foreign key is checked a million times: they hold
INSERT INTO egress_group_member
SELECT 'user-' || i, 'group-' || i % 50000 FROM generate_series(1, 1000000) i ORDER BY 1;
INSERT INTO egress_provider (egress_provider_id, name, provider_type)
SELECT 100 + p, 'Big ' || p, 'openvpn' FROM generate_series(1, 20) p;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config, provider_type)
SELECT p * 1000000 + i, 100 + p, 'gw-' || i, 'Country ' || i % 60, 'City ' || i % 300,
       'remote gw-' || i || '.example.net 1194', 'openvpn'
FROM generate_series(1, 20) p, generate_series(1, 1000) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id)
SELECT 101 + g % 20, 'group', 'group-' || g FROM generate_series(1, 50000) g;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username,
                               password, limit_active_connections, active_connection_limit, provider_type)
SELECT 1000000 + c, 101 + c % 20, 'big-' || c, 'group', 'group-' || c % 50000, 'user', 'secret', true, 20, 'openvpn'
FROM generate_series(1, 100000) c;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at, slot)
SELECT 'big-' || c || '-' || s, 1000000 + c, (1 + c % 20) * 1000000 + 1 + (c * s) % 1000, 'user-' || c * s,
       'workspace', now(), s
FROM generate_series(1, 10) s, generate_series(1, 100000) c;
