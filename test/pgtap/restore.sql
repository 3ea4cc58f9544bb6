-- restore.sql -- what pg_restore with several jobs may do, and what it may not: rows before those that they refer to
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();

CREATE ROLE egress_restore_admin;
SELECT egress_grant_access('egress_restore_admin', 'admin');
GRANT USAGE ON SCHEMA tap TO egress_restore_admin;

-- what a restore does with a table
CREATE VIEW restored AS
SELECT * FROM (VALUES
    ('gateway', $$INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) VALUES (11, 1, 'g', 'custom')$$),
    ('provider_mapping', $$INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type)
                           VALUES (21, 1, 'everyone')$$),
    ('provider_mapping_gateway', 'INSERT INTO egress_provider_mapping_gateway VALUES (21, 11, 1)'),
    ('credential', $$INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type)
                     VALUES (31, 1, 'c', 'everyone', 'custom')$$),
    ('credential_gateway', 'INSERT INTO egress_credential_gateway VALUES (31, 11, 1)'),
    ('lease', $$INSERT INTO egress_lease VALUES ('s', 31, 11, 'ann', NULL, now())$$),
    ('lease_expiry', $$INSERT INTO egress_lease_expiry VALUES ('s', 31, 'infinity')$$)) restored (name, statement);
GRANT SELECT ON restored TO egress_restore_admin;

SELECT throws_ok(statement, '23503', NULL, name || ': nobody else fills it first') FROM restored ORDER BY name;

SET LOCAL application_name = 'pg_restore';
SET LOCAL ROLE egress_restore_admin;
SELECT throws_ok(statement, '23503', NULL, name || ': not whoever could not switch a foreign key off')
FROM restored WHERE name !~ '^lease' ORDER BY name;
RESET ROLE;

SAVEPOINT empty;
SELECT lives_ok(statement, name || ': pg_restore fills it first') FROM restored ORDER BY name DESC;
SELECT throws_ok($$INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (2, 'p', 'custom')$$, '23503', NULL,
                 'and then not a provider that is another');
SELECT throws_ok($$INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'p', 'openvpn')$$, '23503', NULL,
                 'or of another type');
SELECT lives_ok($$INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'p', 'custom')$$,
                'but the one that its gateways and credentials refer to');
ROLLBACK TO SAVEPOINT empty;

-- each table as the last one that was missing something
SELECT lives_ok(statement, name || ': again') FROM restored WHERE name !~ '^(provider_)?mapping$|^credential$|^gateway$' ORDER BY name;
SELECT throws_ok($$INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type)
                   VALUES (32, 1, 'c', 'everyone', 'custom')$$, '23503', NULL, 'a credential that is not the one of a lease');
SELECT throws_ok($$INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type)
                   VALUES (12, 1, 'g', 'custom')$$, '23503', NULL, 'a gateway that is not the one of a lease');
SELECT throws_ok($$INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type)
                   VALUES (21, 2, 'everyone')$$, '23503', NULL, 'a mapping of another provider than its selection');
ROLLBACK TO SAVEPOINT empty;
SELECT lives_ok(statement, 'an expiry first') FROM restored WHERE name = 'lease_expiry';
SELECT throws_ok($$INSERT INTO egress_lease VALUES ('t', 31, 11, 'ann', NULL, now())$$, '23503', NULL, 'a lease that is not its own');
ROLLBACK TO SAVEPOINT empty;

-- a table that is not empty is known to be filled
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (2, 'p', 'custom');
SELECT throws_ok(statement, '23503', NULL, name || ': not without its provider') FROM restored
WHERE name IN ('gateway', 'provider_mapping', 'credential') ORDER BY name;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (12, 2, 'g');
SELECT throws_ok(statement, '23503', NULL, name || ': not without its gateway, though something else is missing, too') FROM restored
WHERE name ~ '_gateway$|^lease$' ORDER BY name;

-- it is about these tables, and whole statements
SELECT throws_ok('SELECT ' || name || '()', '22023', NULL, name || ' is called by triggers only')
FROM unnest('{egress_restore_in_any_order,egress_check_restored}'::text[]) name;
CREATE TABLE other (id int);
CREATE TRIGGER t BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION egress_restore_in_any_order();
SELECT throws_ok('INSERT INTO other VALUES (1)', '22023', 'trigger "t" of table "other" cannot work', 'not for each row');
DROP TRIGGER t ON other;
CREATE TRIGGER t BEFORE INSERT ON other EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER u AFTER INSERT ON other EXECUTE FUNCTION egress_check_restored();
SELECT lives_ok('INSERT INTO other VALUES (1)', 'on another table they do nothing');

SELECT * FROM finish();
ROLLBACK;
