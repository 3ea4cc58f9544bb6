-- truncate_rights.sql -- the session trigger reads a table before TRUNCATE with the rights of the table's owner
--
-- To plan a query over a table can run functions of its owner (the expression of an index is simplified then), and so
-- can row-level security. A role that may attach the trigger must not get the rights of the extension's owner so.
\set ON_ERROR_STOP on
\set QUIET on
CREATE EXTENSION egress;
SELECT plan(4);

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'provider', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'gateway');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type)
VALUES (1, 1, 'credential', 'everyone');

-- a run that was interrupted leaves the role
SET client_min_messages = warning;
DROP ROLE IF EXISTS truncate_rights_mallory;
CREATE ROLE truncate_rights_mallory;
SELECT egress_grant_access('truncate_rights_mallory', 'app') \g /dev/null
CREATE SCHEMA mallory AUTHORIZATION truncate_rights_mallory;
GRANT USAGE ON SCHEMA tap TO truncate_rights_mallory;

-- who ran mallory's functions
CREATE SEQUENCE ran_as_owner;
CREATE SEQUENCE ran_as_mallory;
GRANT USAGE ON SEQUENCE ran_as_owner, ran_as_mallory TO truncate_rights_mallory;

SET ROLE truncate_rights_mallory;
CREATE FUNCTION mallory.told() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM nextval(CASE WHEN current_user = 'truncate_rights_mallory' THEN 'public.ran_as_mallory'
                         ELSE 'public.ran_as_owner' END);
    RETURN '';
END $$;
CREATE FUNCTION mallory.immutable() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN mallory.told();
END $$;
CREATE FUNCTION mallory.allowed() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN mallory.told() = '';
END $$;
CREATE TABLE mallory.session (id text);
CREATE INDEX session_expression ON mallory.session ((id || mallory.immutable()));
CREATE POLICY allowed ON mallory.session USING (mallory.allowed());
ALTER TABLE mallory.session ENABLE ROW LEVEL SECURITY;
ALTER TABLE mallory.session FORCE ROW LEVEL SECURITY;
CREATE TRIGGER ended BEFORE TRUNCATE ON mallory.session
    FOR EACH STATEMENT EXECUTE FUNCTION egress_release_on_session_end('id');
INSERT INTO mallory.session VALUES ('session');
SELECT is(credential_name, 'credential', 'the session holds a lease')
FROM egress_acquire_credential('mallory', NULL, 1, 'session');

-- what counts is what TRUNCATE runs; the relation cache forgets the index's expression, so that it is simplified anew
RESET ROLE;
ALTER SEQUENCE ran_as_mallory RESTART;
SET ROLE truncate_rights_mallory;
ALTER INDEX mallory.session_expression SET (fillfactor = 80);
TRUNCATE mallory.session;
RESET ROLE;

SELECT is(count(*), 0::bigint, 'TRUNCATE ended it') FROM egress_lease;
SELECT ok((SELECT is_called FROM ran_as_mallory), 'functions of the table''s owner ran');
SELECT ok(NOT (SELECT is_called FROM ran_as_owner), 'but only with the rights of the table''s owner');

DROP OWNED BY truncate_rights_mallory CASCADE;
DROP ROLE truncate_rights_mallory;
SELECT * FROM finish();
