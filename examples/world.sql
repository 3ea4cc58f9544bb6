-- world.sql -- what the programs in this folder need. For a superuser, in a database of its own: psql -f world.sql
--
-- The extension has a schema of its own, so that no ORM takes its tables for the application's: doc/drivers.md says why.
\set ON_ERROR_STOP on
CREATE ROLE workspaces LOGIN PASSWORD 'a password';
CREATE SCHEMA egress;
CREATE EXTENSION egress SCHEMA egress;
GRANT USAGE ON SCHEMA egress TO workspaces;
SELECT egress.egress_grant_access('workspaces', 'app');

-- the application's sessions; one that stops gives its connection back, and none gets a lease that is not here
CREATE TABLE session (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id bigint NOT NULL, workspace_id int NOT NULL, status text NOT NULL DEFAULT 'running');
ALTER TABLE session OWNER TO workspaces;
SELECT egress.egress_attach_sessions('session', 'id', $$NEW.status = 'stopped'$$, must_exist => true);

-- two gateways, with one connection for all
INSERT INTO egress.egress_provider (name, provider_type) VALUES ('Acme VPN', 'openvpn');
INSERT INTO egress.egress_gateway (egress_provider_id, name, country, config)
    VALUES (1, 'ams-1', 'NL', 'remote ams-1.acme.example 1194'), (1, 'osl-1', 'NO', 'remote osl-1.acme.example 1194');
INSERT INTO egress.egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress.egress_credential (
        egress_provider_id, name, subject_type, username, password, limit_active_connections, active_connection_limit)
    VALUES (1, 'pool-a', 'everyone', 'acme-7', 'a password', true, 1);
