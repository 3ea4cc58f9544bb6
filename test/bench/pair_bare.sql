-- the rows of an acquire and a release, and nothing else: two commits
\set s random(1, 1000000000)
INSERT INTO peer_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at, slot)
VALUES (:client_id || '-' || :s, 1, 1, 'user', 'workspace', clock_timestamp(), 1 + :client_id * 31 + :s % 31);
WITH ended AS (DELETE FROM peer_lease WHERE session_id = :client_id || '-' || :s RETURNING *)
INSERT INTO peer_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                provider_name, country, city, user_id, workspace_id, acquired_at, released_at,
                                release_reason)
SELECT session_id, 1, 'pool', 1, 'gw-1', 'Bench', 'NL', 'Amsterdam', user_id, workspace_id, acquired_at,
       clock_timestamp(), 'released'
FROM ended;
