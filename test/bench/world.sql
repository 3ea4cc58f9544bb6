-- world.sql -- one hot credential with a limit of 1,000, and tables for the peers: the same definition, indexes and
-- checks as the extension's, without foreign keys (a floor that writes the same rows and checks less)
CREATE EXTENSION egress;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Bench', 'openvpn');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config)
SELECT i, 1, 'gw-' || i, 'NL', 'Amsterdam', 'remote gw-' || i || '.example.net 1194'
FROM generate_series(1, 20) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password,
                               limit_active_connections, active_connection_limit)
VALUES (1, 1, 'pool', 'everyone', 'user', 'secret', true, 1000);

CREATE TABLE peer_credential (LIKE egress_credential INCLUDING ALL);
INSERT INTO peer_credential SELECT * FROM egress_credential;
CREATE TABLE peer_lease (LIKE egress_lease INCLUDING ALL);
CREATE TABLE peer_lease_history (LIKE egress_lease_history INCLUDING ALL);
VACUUM ANALYZE;
