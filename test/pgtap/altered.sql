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
CREATE INDEX egress_lease_egress_credential_id_slot_key ON egress_lease (egress_credential_id, slot) INCLUDE (egress_gateway_id);
SELECT throws_ok('acquire', '55000', '"egress_lease_egress_credential_id_slot_key" is not as extension egress needs it', 'slots that are not unique');
ROLLBACK TO well;
ALTER TABLE egress_lease DROP CONSTRAINT egress_lease_egress_credential_id_slot_key;
ALTER TABLE egress_lease ADD CONSTRAINT egress_lease_egress_credential_id_slot_key UNIQUE (egress_credential_id, slot) INCLUDE (egress_gateway_id) DEFERRABLE;
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

/* ------------------------- constraints that somebody added are kept */

PREPARE acquire_ttl AS SELECT * FROM egress_acquire_credential('ann', NULL, 1, 't', '1 minute');
PREPARE renew AS SELECT egress_renew_lease('t', '1 hour');
SELECT lives_ok('acquire_ttl', 'a lease with an end');
SAVEPOINT ttl;

-- from PostgreSQL 16 on, a heap-only update that only such an index has to hear of
CREATE INDEX brin ON egress_lease_expiry USING brin (expires_at);
SELECT lives_ok('renew', 'a BRIN index on the column that a renewal changes');
SELECT lives_ok('renew', 'which may come again');
SET LOCAL enable_seqscan = off;
SELECT is(count(*), 1::bigint, 'and the index has the row') FROM egress_lease_expiry WHERE expires_at > now() + interval '30 minutes';
SELECT pg_stat_get_xact_tuples_returned('egress_lease_expiry_pkey'::regclass) AS entries \gset
SELECT FROM egress_lease_expiry WHERE session_id = 't';
SELECT is(pg_stat_get_xact_tuples_returned('egress_lease_expiry_pkey'::regclass) - :entries,
          CASE WHEN current_setting('server_version_num')::int < 160000 THEN 3::bigint ELSE 1::bigint END,
          'and no other index got entries of a heap-only row');
ROLLBACK TO ttl;
CREATE INDEX btree ON egress_lease_expiry (expires_at) WHERE expires_at < 'infinity';
CREATE INDEX expression ON egress_lease_expiry ((upper(session_id)));
SELECT lives_ok('renew', 'partial and expression indexes');
SET LOCAL enable_seqscan = off;
SELECT is(count(*), 1::bigint, 'have the row')
FROM egress_lease_expiry WHERE expires_at > now() + interval '30 minutes' AND expires_at < 'infinity';
ROLLBACK TO ttl;

ALTER TABLE egress_lease ADD CONSTRAINT no_root CHECK (user_id <> 'root');
UPDATE egress_credential SET active_connection_limit = 9;
SELECT throws_ok('SELECT egress_acquire_credential(''root'', NULL, 1, ''r'')', '23514', NULL, 'a CHECK of the leases');
ALTER TABLE egress_lease ADD CHECK (user_id <> 'ann') NOT VALID;
SELECT lives_ok('release', 'does not keep a lease from ending');
SELECT throws_ok('acquire', '23514', NULL, 'but from being taken, if it is not valid for those of before');
ROLLBACK TO ttl;
ALTER TABLE egress_lease_expiry ADD CHECK (expires_at < now() + interval '30 minutes');
SELECT throws_ok('renew', '23514', NULL, 'of their ends, when a lease is renewed');
SELECT lives_ok('release', 'another one ends');
SELECT throws_ok('SELECT egress_acquire_credential(''ann'', NULL, 1, ''u'', ''1 hour'')', '23514', NULL, 'and is not taken so');
ROLLBACK TO ttl;
ALTER TABLE egress_lease_history ADD CHECK (release_reason <> 'released');
SELECT throws_ok('release', '23514', NULL, 'of the history');
ROLLBACK TO ttl;

DELETE FROM egress_lease;
ALTER TABLE egress_lease ALTER workspace_id SET NOT NULL;
SELECT throws_ok('acquire', '23502', NULL, 'a NOT NULL of a column of ours');
ROLLBACK TO ttl;
ALTER TABLE egress_lease_history ADD note text NOT NULL;
SELECT throws_ok('release', '23502', NULL, 'and of another');
ROLLBACK TO ttl;

ALTER TABLE egress_lease ADD also text GENERATED ALWAYS AS (upper(session_id)) STORED,
    ADD number integer GENERATED ALWAYS AS IDENTITY, ADD note text NOT NULL DEFAULT 'none', ADD CHECK (also <> 'X');
ALTER TABLE egress_lease_expiry ADD late boolean GENERATED ALWAYS AS (expires_at > '2000-01-01 00:00+00') STORED,
    ADD ends timestamptz GENERATED ALWAYS AS (expires_at) STORED;
ALTER TABLE egress_lease_history ADD length interval GENERATED ALWAYS AS (released_at - acquired_at) STORED;
SELECT lives_ok('release', 'an end');
SELECT throws_ok('SELECT egress_acquire_credential(''ann'', NULL, 1, ''x'')', '23514', NULL, 'a CHECK of a generated column');
SELECT lives_ok('acquire', 'and a lease');
SELECT results_eq('SELECT also, number IS NOT NULL, note FROM egress_lease WHERE session_id = ''s''',
                  $$VALUES ('S', true, 'none')$$, 'have generated columns and defaults');
SELECT results_eq('SELECT length = released_at - acquired_at FROM egress_lease_history', ARRAY[true], 'in the history too');
SELECT lives_ok('renew', 'a renewal');
SELECT results_eq('SELECT late, ends = expires_at, ends > now() + interval ''30 minutes'' FROM egress_lease_expiry',
                  $$VALUES (true, true, true)$$, 'generates them again');
ROLLBACK TO ttl;

UPDATE egress_credential SET active_connection_limit = 9;
SAVEPOINT more;
CREATE UNIQUE INDEX ON egress_lease (user_id, (egress_gateway_id + 0)) WHERE user_id <> 'ann';
SELECT lives_ok('SELECT egress_acquire_credential(''bob'', NULL, 1, ''u'')', 'a unique index');
SELECT throws_ok('SELECT egress_acquire_credential(''bob'', NULL, 1, ''v'')', '23505', NULL, 'holds');
ROLLBACK TO more;
ALTER TABLE egress_lease ADD EXCLUDE USING hash (user_id WITH =) WHERE (user_id <> 'ann');
SELECT lives_ok('SELECT egress_acquire_credential(''bob'', NULL, 1, ''u'')', 'an exclusion constraint');
SELECT throws_ok('SELECT egress_acquire_credential(''bob'', NULL, 1, ''v'')', '23P01', NULL, 'holds');
ROLLBACK TO ttl;

-- what triggers would have to keep is refused
DELETE FROM egress_lease;
ALTER TABLE egress_lease ADD CONSTRAINT late UNIQUE (acquired_at) DEFERRABLE INITIALLY DEFERRED;
SELECT throws_ok('acquire', '55000', '"egress_lease" is not as extension egress needs it', 'a deferrable UNIQUE');
ROLLBACK TO ttl;
ALTER TABLE egress_lease_history ADD CONSTRAINT late EXCLUDE USING gist (tstzrange(acquired_at, released_at) WITH &&)
    WHERE (session_id = 'u') DEFERRABLE;
SELECT throws_ok('release', '55000', '"egress_lease_history" is not as extension egress needs it', 'a deferrable EXCLUDE');
ROLLBACK TO ttl;
ALTER TABLE egress_lease_expiry ADD UNIQUE (expires_at) DEFERRABLE;
SELECT throws_ok('renew', '55000', '"egress_lease_expiry" is not as extension egress needs it', 'one of the column that a renewal changes');
ROLLBACK TO ttl;
CREATE TABLE person (id text PRIMARY KEY);
INSERT INTO person VALUES ('ann');
ALTER TABLE egress_lease ADD FOREIGN KEY (user_id) REFERENCES person;
SELECT lives_ok('release', 'a foreign key does not keep a lease from ending');
SELECT throws_ok('acquire', '55000', '"egress_lease" is not as extension egress needs it', 'but from being taken');
ROLLBACK TO ttl;
CREATE TABLE tunnel (session text REFERENCES egress_lease);
SELECT throws_ok('release', '55000', '"egress_lease" is not as extension egress needs it', 'one from another table the other way round');
UPDATE egress_credential SET active_connection_limit = 9;
SELECT lives_ok('SELECT egress_acquire_credential(''ann'', NULL, 1, ''u'')', 'which another lease does not meet');
ROLLBACK TO ttl;
CREATE TABLE bill (connection bigint REFERENCES egress_lease_history);
SELECT lives_ok('release', 'one to the history is kept');
INSERT INTO bill SELECT egress_lease_history_id FROM egress_lease_history;
SELECT throws_ok('SELECT egress_prune_history(''0'')', '23503', NULL, 'by those who prune it');
ROLLBACK TO well;

/* ---------------------------------------- rows past the foreign keys */

SET LOCAL session_replication_role = replica;
DELETE FROM egress_provider;
SET LOCAL session_replication_role = origin;
SELECT throws_ok('explain', '55000', 'provider 1 of gateway 1 cannot be found', 'a gateway without a provider');
ROLLBACK TO well;
SET LOCAL session_replication_role = replica;
UPDATE egress_lease SET egress_gateway_id = 99;
SET LOCAL session_replication_role = origin;
SELECT throws_ok('release', '55000', 'the credential, gateway or provider of the lease of session "s" cannot be found', 'a lease without a gateway');
ROLLBACK TO well;

/* ----------------------------------------- the types of what is returned */

ALTER TYPE egress_available_gateway ADD ATTRIBUTE more text;
SELECT throws_ok('SELECT * FROM egress_available_gateways(''ann'')', '55000', '"egress_available_gateway" is not as extension egress needs it', 'a column more');
ROLLBACK TO well;
ALTER TYPE egress_acquired_credential ALTER ATTRIBUTE egress_credential_id TYPE text;
SELECT throws_ok('SELECT * FROM egress_acquire_credential(''ann'', NULL, 1, ''s'')', '55000', '"egress_acquired_credential" is not as extension egress needs it', 'another type');
ROLLBACK TO well;
ALTER TYPE egress_acquired_credential ALTER ATTRIBUTE config TYPE bigint;
SELECT throws_ok('SELECT egress_acquire_credential(''ann'', NULL, 1, ''s'')', '55000', NULL, 'outside of FROM too');
ROLLBACK TO well;
ALTER TYPE egress_access_explanation DROP ATTRIBUTE verdict;
SELECT throws_ok('SELECT * FROM egress_explain_access(''ann'')', '55000', '"egress_access_explanation" is not as extension egress needs it',
                 'a column that was dropped');
ROLLBACK TO well;
ALTER TYPE egress_synced_gateway ALTER ATTRIBUTE name TYPE integer;
SELECT throws_ok('SELECT * FROM egress_sync_gateways(1, ''[{"name": "b"}]'')', '55000',
                 '"egress_synced_gateway" is not as extension egress needs it', 'what a sync returns');
ROLLBACK TO well;
ALTER TYPE egress_ended_lease ALTER ATTRIBUTE user_id TYPE integer;
SELECT throws_ok('SELECT * FROM egress_end_leases(orphaned => true)', '55000',
                 '"egress_ended_lease" is not as extension egress needs it', 'what an end of leases returns');
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
INSERT INTO egress_provider (name, provider_type) VALUES ('goes', 'custom');
CREATE TRIGGER wrong BEFORE DELETE ON egress_provider FOR EACH ROW EXECUTE FUNCTION egress_refuse_move();
SELECT lives_ok('DELETE FROM egress_provider WHERE name = ''goes''', 'a function for updates, at a deletion');
SELECT is_empty('SELECT FROM egress_provider WHERE name = ''goes''', 'which it does not keep');
ROLLBACK TO well;
CREATE TRIGGER wrong BEFORE UPDATE ON egress_lease_expiry FOR EACH ROW EXECUTE FUNCTION egress_connection_freed();
UPDATE egress_lease_expiry SET expires_at = 'infinity';
SELECT is_empty('SELECT FROM egress_lease_expiry WHERE expires_at < ''infinity''',
                'a function for what was written, before it is');
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
