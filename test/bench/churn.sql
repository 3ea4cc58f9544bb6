-- churn.sql -- one of 16 clients ends one of its sessions in a full pool, and another one begins in its place. The client goes
-- through all :share sessions that it has, in an order drawn by chance, again and again. Ids are those of pool_world.sql, and
-- count up by 1 with each session that takes the place of one.
SELECT nextval(('churn_' || :client_id)::regclass) AS step \gset
\set generation :step / :share
\set number permute(:step % :share, :share, :generation)
\set ended (1 + :client_id) * 1000000000000 + :number * 100000 + :generation
\set begun :ended + 1
BEGIN;
SELECT egress_release_credential(:ended);
SELECT egress_credential_id, config FROM egress_acquire_credential(:user, :workspace, :gateway, :begun);
COMMIT;
