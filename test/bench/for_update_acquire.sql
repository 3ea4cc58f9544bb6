-- an acquire as an application writes it: of one credential, the next after :after. Whoever runs this ends the
-- transaction, and where the credential was full (:try, and not :free) runs it again with :after = :credential.
BEGIN;
SELECT held, try, credential, limited, refusal
FROM candidate(:user, :workspace, :gateway, :after, :session) \gset
\set free false
\if :held
SELECT a.* FROM lease l, answer(l.egress_gateway_id, l.egress_credential_id, l.acquired_at) a
WHERE l.session_id = :session;
\elif :try
\if :limited
SELECT active_connection_limit FROM egress_credential WHERE egress_credential_id = :credential FOR UPDATE \gset
SELECT count(*) < :active_connection_limit AS free FROM lease WHERE egress_credential_id = :credential \gset
\else
\set free true
\endif
\if :free
WITH leased AS (
    INSERT INTO lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at)
    VALUES (:session, :credential, :gateway, :user, :workspace, clock_timestamp())
    RETURNING *)
SELECT a.* FROM leased l, answer(l.egress_gateway_id, l.egress_credential_id, l.acquired_at) a;
\endif
\endif
