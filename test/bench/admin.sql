-- admin.sql -- one change of an administrator, of a pool of :size credentials: a limit, a switch, a selection, or a new
-- credential. What is full stays full: limits are lowered, and raised again to what is held.
\set what random(1, 4)
\set credential random(1, :size - 1)
\set selected random(1, 100)
\if :what = 1
UPDATE egress_credential SET active_connection_limit = 19 - active_connection_limit WHERE egress_credential_id = :credential;
\elif :what = 2
UPDATE egress_credential SET enabled = NOT enabled WHERE egress_credential_id = :credential;
\elif :what = 3
INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password, limit_active_connections,
                               active_connection_limit)
VALUES (1, 'new', 'everyone', 'user', 'secret', true, 10);
\else
BEGIN;
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (:credential, :selected)
ON CONFLICT DO NOTHING;
UPDATE egress_credential SET allow_all_gateways = NOT allow_all_gateways WHERE egress_credential_id = :credential;
COMMIT;
\endif
