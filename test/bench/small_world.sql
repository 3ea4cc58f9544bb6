-- small_world.sql -- a provider for the pairs (user pair, one hot credential with a limit of 1,000), and one for the small
-- menu (user menu, 20 gateways, 3 credentials). The big world and the worlds of the other rows are built upon it.
CREATE EXTENSION egress;

INSERT INTO egress_provider (egress_provider_id, name, provider_type)
VALUES (1, 'Pair', 'openvpn'), (2, 'Small menu', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config)
SELECT p * 100 + i, p, 'gw-' || i, 'NL', 'Amsterdam', 'remote gw-' || i || '.example.net 1194'
FROM generate_series(1, 2) p, generate_series(1, 20) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id)
VALUES (1, 'user', 'pair'), (2, 'user', 'menu');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username,
                               password, limit_active_connections, active_connection_limit)
SELECT 1, 1, 'hot', 'user'::egress_subject_type, 'pair', 'user', 'secret', true, 1000
UNION ALL
SELECT 100 + i, 2, 'small-' || i, 'user', 'menu', 'user', 'secret', true, 10 FROM generate_series(1, 3) i;
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT 'small-' || c || '-' || s, 100 + c, 201, 'menu', now(), s FROM generate_series(1, 3) c, generate_series(1, 5) s;
