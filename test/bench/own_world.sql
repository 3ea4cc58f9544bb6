-- own_world.sql -- upon the small world: for 10,000 acquires in one transaction, user ten with ten credentials of 1,000
-- connections, and user one with one of 10,000
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (10, 'Ten', 'openvpn'), (11, 'One', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (1000, 10, 'gw', 'remote gw.example.net 1194'), (1100, 11, 'gw', 'remote gw.example.net 1194');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (10, 'user', 'ten'), (11, 'user', 'one');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username,
                               password, limit_active_connections, active_connection_limit)
SELECT 1000 + i, 10, 'ten ' || i, 'user'::egress_subject_type, 'ten', 'user', 'secret', true, 1000 FROM generate_series(1, 10) i
UNION ALL
SELECT 1100, 11, 'one', 'user', 'one', 'user', 'secret', true, 10000;
