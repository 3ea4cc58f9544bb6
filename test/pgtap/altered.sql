-- altered.sql -- who owns the extension's tables can alter them: what cannot be read any more is refused, with a reason
--
-- The C code takes columns by their number and goes by indexes of its own choice. Each block alters something, calls
-- what reads it, and takes it back. test/t/hostile_input.pl does so with everything, and at random.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE EXTENSION egress;
INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed) VALUES (1, 'own', 'custom', true);
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'a');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
VALUES (1, 'c', 'everyone', true, 2);

PREPARE menu AS SELECT * FROM egress_available_gateways('ann');
PREPARE acquire AS SELECT * FROM egress_acquire_credential('ann', NULL, 1, 's');
PREPARE release AS SELECT egress_release_credential('s');
PREPARE explain AS SELECT * FROM egress_explain_access('ann', NULL, 1);
PREPARE connected AS SELECT * FROM egress_connections_at(now());
PREPARE sync AS SELECT * FROM egress_sync_gateways(1, '[{"name": "b"}]');
SELECT lives_ok('acquire', 'all is well');
SAVEPOINT well;

/* -------------------------------------------------------------- indexes */

DROP INDEX egress_gateway_menu;
SELECT throws_ok('menu', '42P01', 'relation "egress_gateway_menu" of extension egress does not exist', 'no index');
CREATE INDEX egress_gateway_menu ON egress_gateway (name);
SELECT throws_ok('menu', '55000', '"egress_gateway_menu" is not as extension egress needs it', 'one on another column');
DROP INDEX egress_gateway_menu;
CREATE INDEX egress_gateway_menu ON egress_provider (egress_provider_id);
SELECT throws_ok('menu', '55000', NULL, 'one of another table');
DROP INDEX egress_gateway_menu;
CREATE INDEX egress_gateway_menu ON egress_gateway (egress_provider_id, country, city, name, egress_gateway_id)
    INCLUDE (enabled, withdrawn, config);
SELECT throws_ok('menu', '55000', NULL, 'one with more columns');
DROP INDEX egress_gateway_menu;
CREATE INDEX egress_gateway_menu ON egress_gateway (egress_provider_id, country DESC, city, name, egress_gateway_id)
    INCLUDE (enabled, withdrawn);
SELECT throws_ok('menu', '55000', NULL, 'one in another order');
DROP INDEX egress_gateway_menu;
CREATE INDEX egress_gateway_menu ON egress_gateway (egress_provider_id, country, city, name, egress_gateway_id)
    INCLUDE (enabled, withdrawn) WHERE enabled;
SELECT throws_ok('menu', '55000', NULL, 'one that lacks rows');
DROP INDEX egress_gateway_menu;
CREATE INDEX egress_gateway_menu ON egress_gateway (egress_provider_id, country, city, name, egress_gateway_id)
    INCLUDE (enabled, withdrawn);
SELECT lives_ok('menu', 'one like ours will do');
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'egress_gateway_menu'::regclass;
SELECT throws_ok('menu', '55000', NULL, 'unless it is not valid');
DROP INDEX egress_gateway_menu;
CREATE TABLE egress_gateway_menu ();
SELECT throws_ok('menu', '42809', NULL, 'a table is no index');
ROLLBACK TO well;

-- the last line of defence of the limit
ALTER TABLE egress_lease DROP CONSTRAINT egress_lease_egress_credential_id_slot_key;
CREATE INDEX egress_lease_egress_credential_id_slot_key ON egress_lease (egress_credential_id, slot);
SELECT throws_ok('acquire', '55000', '"egress_lease_egress_credential_id_slot_key" is not as extension egress needs it', 'slots that are not unique');
ROLLBACK TO well;
ALTER TABLE egress_lease DROP CONSTRAINT egress_lease_egress_credential_id_slot_key;
ALTER TABLE egress_lease ADD CONSTRAINT egress_lease_egress_credential_id_slot_key UNIQUE (egress_credential_id, slot) DEFERRABLE;
SELECT throws_ok('acquire', '55000', NULL, 'or not yet');
ROLLBACK TO well;

/* ------------------------------------------- columns, tables and types */

ALTER TABLE egress_provider_mapping ALTER allow_all_gateways DROP DEFAULT, ALTER allow_all_gateways TYPE text;
SELECT throws_ok('menu', '55000', '"egress_provider_mapping" is not as extension egress needs it', 'a column of another type');
ROLLBACK TO well;
ALTER TABLE egress_workspace DROP override_egress_gateways, ADD override_egress_gateways boolean;
SELECT throws_ok('SELECT egress_gateway_required(''w'')', '55000', '"egress_workspace" is not as extension egress needs it', 'a column that was dropped');
ROLLBACK TO well;
ALTER TABLE egress_lease_history ALTER country TYPE integer USING 1;
SELECT throws_ok('connected', '55000', NULL, 'the history');
SELECT throws_ok('release', '55000', NULL, 'to which an end is written');
ROLLBACK TO well;
ALTER TABLE egress_gateway ALTER name DROP NOT NULL;
UPDATE egress_gateway SET name = NULL;
SELECT throws_ok('menu', '55000', '"egress_gateway" is not as extension egress needs it', 'a NULL where none may be');
SELECT throws_ok('sync', '55000', NULL, 'and for those who write');
ROLLBACK TO well;
ALTER TABLE egress_workspace RENAME TO other;
CREATE VIEW egress_workspace AS SELECT * FROM other;
SELECT throws_ok('SELECT egress_gateway_required(''w'')', '55000', NULL, 'a view in the place of a table');
ROLLBACK TO well;
ALTER TABLE egress_workspace RENAME TO other;
SELECT throws_ok('menu', '42P01', NULL, 'no table');
ROLLBACK TO well;
ALTER TYPE egress_provider_type RENAME VALUE 'custom' TO 'other';
SELECT throws_ok('menu', '42704', 'value "custom" of type "egress_provider_type" of extension egress does not exist', 'no such value of a type');
ROLLBACK TO well;
ALTER TABLE egress_lease ADD more integer;
ALTER TABLE egress_gateway ADD more text DEFAULT 'x', ADD CHECK (more <> ''), ALTER config SET STORAGE external;
CREATE INDEX ON egress_gateway (more);
ALTER TABLE egress_gateway RENAME config TO settings;
SELECT lives_ok('menu', 'more columns, indexes and checks, and other names, are welcome');
SELECT lives_ok('acquire', 'for those who write as well');
ROLLBACK TO well;

/* ---------------------------------------- rows past the foreign keys */

SET LOCAL session_replication_role = replica;
DELETE FROM egress_provider;
SET LOCAL session_replication_role = origin;
SELECT throws_ok('release', '55000', 'the credential, gateway or provider of the lease of session "s" cannot be found', 'a lease without a provider');
SELECT throws_ok('explain', '55000', 'provider 1 of gateway 1 cannot be found', 'a gateway without one');
ROLLBACK TO well;

/* --------------------------------------------------------- triggers */

CREATE TRIGGER wrong BEFORE INSERT ON egress_gateway FOR EACH STATEMENT EXECUTE FUNCTION egress_refuse_misfit();
SELECT throws_ok('INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, ''b'')', '22023',
                 'trigger "wrong" of table "egress_gateway" cannot work', 'a function for rows, without a row');
ROLLBACK TO well;
CREATE TRIGGER wrong BEFORE INSERT ON egress_provider FOR EACH ROW EXECUTE FUNCTION egress_refuse_misfit();
SELECT throws_ok('INSERT INTO egress_provider (name, provider_type) VALUES (''b'', ''custom'')', '22023',
                 'trigger "wrong" of table "egress_provider" cannot work', 'a function for another table');
ROLLBACK TO well;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE INSERT ON egress_gateway FOR EACH ROW EXECUTE FUNCTION keep();
SELECT throws_ok('sync', '55000', 'the gateways cannot be written', 'somebody''s trigger that keeps gateways out');
ROLLBACK TO well;
CREATE RULE keep AS ON INSERT TO egress_gateway DO INSTEAD SELECT 1;
SELECT throws_ok('sync', NULL, NULL, 'a rule that does');
ROLLBACK TO well;

CREATE RULE keep AS ON DELETE TO egress_lease_history DO INSTEAD NOTHING;
SELECT throws_ok('SELECT egress_prune_history(''0'')', '55000', 'the history cannot be read or pruned', 'a rule that keeps the history');
ROLLBACK TO well;
CREATE TABLE member (u text, g text);
SELECT egress_attach_group_members('member', 'u', 'g') AS attached \gset
CREATE RULE keep AS ON INSERT TO egress_group_member DO INSTEAD NOTHING;
SELECT throws_ok('INSERT INTO member VALUES (''ann'', ''staff'')', '55000', 'a pair cannot be written to egress_group_member',
                 'one that keeps members out is not tried for ever');
ROLLBACK TO well;
ALTER TABLE egress_credential DROP CONSTRAINT egress_credential_active_connection_limit_check;
UPDATE egress_credential SET active_connection_limit = -5;
SELECT throws_ok('SELECT egress_acquire_credential(''ann'', NULL, 1, ''t'')', 'NG004', NULL, 'a negative limit is 0');
ROLLBACK TO well;

SELECT lives_ok('menu', 'and all is well again');
SELECT results_eq('release', ARRAY[true], 'as it was before');
SELECT * FROM finish();
ROLLBACK;
