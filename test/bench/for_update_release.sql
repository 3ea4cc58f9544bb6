-- a release as an application writes it: whether it ended a lease is how many rows it wrote
WITH ended AS (DELETE FROM lease WHERE session_id = :session RETURNING *)
INSERT INTO history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name, provider_name,
                     country, city, user_id, workspace_id, acquired_at, released_at, release_reason)
SELECT e.session_id, c.egress_credential_id, c.name, g.egress_gateway_id, g.name, p.name, g.country, g.city, e.user_id,
       e.workspace_id, e.acquired_at, clock_timestamp(), 'released'
FROM ended e JOIN egress_credential c USING (egress_credential_id) JOIN egress_gateway g USING (egress_gateway_id)
     JOIN egress_provider p ON p.egress_provider_id = g.egress_provider_id;
