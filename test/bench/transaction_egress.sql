-- acquire inside an application's transaction that lasts 10 ms, then release
\set s random(1, 1000000000)
BEGIN;
SELECT egress_credential_id, config FROM egress_acquire_credential('user', 'workspace', 1, :client_id || '-' || :s);
\sleep 10 ms
COMMIT;
SELECT egress_release_credential(:client_id || '-' || :s);
