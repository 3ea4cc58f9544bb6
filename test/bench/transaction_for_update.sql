-- the same with the limit checked under the credential's row lock, as applications do
\set s random(1, 1000000000)
BEGIN;
SELECT active_connection_limit FROM peer_credential WHERE egress_credential_id = 1 FOR UPDATE \gset
SELECT count(*) AS active FROM peer_lease WHERE egress_credential_id = 1 \gset
\if :active < :active_connection_limit
INSERT INTO peer_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at)
VALUES (:client_id || '-' || :s, 1, 1, 'user', 'workspace', clock_timestamp());
\endif
\sleep 10 ms
COMMIT;
WITH ended AS (DELETE FROM peer_lease WHERE session_id = :client_id || '-' || :s RETURNING *)
INSERT INTO peer_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                provider_name, country, city, user_id, workspace_id, acquired_at, released_at,
                                release_reason)
SELECT session_id, 1, 'pool', 1, 'gw-1', 'Bench', 'NL', 'Amsterdam', user_id, workspace_id, acquired_at,
       clock_timestamp(), 'released'
FROM ended;
