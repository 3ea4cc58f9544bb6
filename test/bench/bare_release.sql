WITH ended AS (DELETE FROM bare_lease WHERE session_id = :session RETURNING *)
INSERT INTO bare_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name, provider_name,
                          country, city, user_id, workspace_id, acquired_at, released_at, release_reason)
SELECT session_id, egress_credential_id, 'hot', egress_gateway_id, 'gw-1', 'Pair', 'NL', 'Amsterdam', user_id,
       workspace_id, acquired_at, clock_timestamp(), 'released'
FROM ended;
