SELECT egress_release_credential(:session);
