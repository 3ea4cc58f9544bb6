\set slot 1 + :client_id * :width + random(0, :width - 1)
INSERT INTO bare_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at, slot)
VALUES (:session, 1, 101, :user, :workspace, clock_timestamp(), :slot);
