-- acquire, then release: two commits
\set s random(1, 1000000000)
SELECT egress_credential_id, config FROM egress_acquire_credential('user', 'workspace', 1, :client_id || '-' || :s);
SELECT egress_release_credential(:client_id || '-' || :s);
