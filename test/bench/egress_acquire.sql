SELECT egress_credential_id, config FROM egress_acquire_credential(:user, :workspace, :gateway, :session);
