-- explain.sql -- the words of egress_explain_access, the workspace's override, and egress_gateway_required
--
-- That the verdicts are right is in rules.sql, on random worlds; here is what an administrator reads.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET LOCAL search_path = vpn, public, tap;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES
    (1, 'ACME', 'custom'), (2, 'Birch', 'custom'), (3, 'acorn', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city) VALUES
    (11, 1, 'ams-1', 'NL', 'Amsterdam'), (12, 1, 'ber-1', 'DE', 'Berlin'), (13, 1, 'zzz', NULL, NULL),
    (21, 2, 'osl-1', 'NO', 'Oslo'), (31, 3, 'rom-1', 'IT', NULL);
INSERT INTO egress_group_member VALUES ('bob', 'g1'), ('bob', 'g2'), ('bob', 'g3'), ('ann', 'staff');

-- the sentence about one gateway, behind its verdict and credential
CREATE FUNCTION said(u text, w text, gateway bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws(' | ', verdict, egress_credential_id, detail) FROM egress_explain_access(u, w, gateway)
$$;

/* ------------------------------------------------------------ sentences */

SELECT is(said('bob', NULL, 11),
          'not_mapped | no enabled mapping of provider ''ACME'' names everyone, user ''bob'' or one of the 3 groups the user is in: '
          'add one to egress_provider_mapping', 'nothing names the user');
SELECT is(said('ann', 'w1', 11),
          'not_mapped | no enabled mapping of provider ''ACME'' names everyone, user ''ann'', workspace ''w1'' or the group the user is in: '
          'add one to egress_provider_mapping', 'with a workspace and one group');
SELECT is(said('eve', NULL, 11),
          'not_mapped | no enabled mapping of provider ''ACME'' names everyone, user ''eve'' (the user is in no group): '
          'add one to egress_provider_mapping', 'in no group');

INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, enabled)
VALUES (101, 1, 'group', 'g2', false);
SELECT is(said('bob', NULL, 11),
          'not_mapped | mapping 101 of provider ''ACME'' names group ''g2'', but is disabled: enable it in egress_provider_mapping',
          'a disabled mapping is what is in the way');
INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, allow_all_gateways)
VALUES (102, 1, 'user', 'bob', false);
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (102, 12);
SELECT is(said('bob', NULL, 11),
          'not_mapped | mapping 102 of provider ''ACME'' names user ''bob'', but does not select the gateway: '
          'add it to egress_provider_mapping_gateway', 'one that selects others is nearer');
SELECT is(said('bob', NULL, 12),
          'no_credential | no enabled credential of provider ''ACME'' names everyone, user ''bob'' or one of the 3 groups the user is in: '
          'add one to egress_credential', 'mapped, without a credential');

INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, enabled,
                               limit_active_connections, active_connection_limit)
VALUES (17, 1, 'pool-a', 'everyone', false, true, 1);
SELECT is(said('bob', NULL, 12),
          'no_credential | credential 17 ''pool-a'' of provider ''ACME'' names everyone, but is disabled: enable it in egress_credential',
          'a disabled credential');
UPDATE egress_credential SET enabled = true, allow_all_gateways = false;
SELECT is(said('bob', NULL, 12),
          'no_credential | credential 17 ''pool-a'' of provider ''ACME'' names everyone, but does not select the gateway: '
          'add it to egress_credential_gateway', 'one that selects no gateway');
UPDATE egress_credential SET allow_all_gateways = true;
SELECT is(said('bob', NULL, 12), 'available | 17 | credential 17 ''pool-a'' has 1 of 1 connections free', 'available');
SELECT is((SELECT count(*) FROM egress_acquire_credential('bob', NULL, 12, 's1'))::int, 1, '(it is taken)');
SELECT is(said('bob', NULL, 12),
          'at_limit | credential 17 ''pool-a'' is at its limit of 1: raise a limit, or wait until a session ends', 'at its limit');
UPDATE egress_credential SET active_connection_limit = 0;
SELECT is(said('bob', NULL, 12),
          'at_limit | credential 17 ''pool-a'' is over its limit of 0, with 1 in use: raise a limit, or wait until a session ends',
          'over it');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
                               limit_active_connections, active_connection_limit)
SELECT 17 + n, 1, 'pool-' || n, 'group', 'g1', true, 0 FROM generate_series(1, 2) n;
SELECT is(said('bob', NULL, 12),
          'at_limit | credential 17 ''pool-a'' is over its limit of 0, with 1 in use, credential 18 ''pool-1'' is at its limit of 0, '
          'credential 19 ''pool-2'' is at its limit of 0: raise a limit, or wait until a session ends', 'three of them');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
                               limit_active_connections, active_connection_limit)
SELECT 17 + n, 1, 'pool-' || n, 'group', 'g1', true, 0 FROM generate_series(3, 3) n;
SELECT matches(said('bob', NULL, 12), ', and 1 other is at its limit: ', 'four');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
                               limit_active_connections, active_connection_limit)
SELECT 17 + n, 1, 'pool-' || n, 'group', 'g1', true, 0 FROM generate_series(4, 900) n;
SELECT matches(said('bob', NULL, 12), ', and 898 others are at their limits: ', 'and many do not make a long sentence');
SELECT cmp_ok(length(said('bob', NULL, 12)), '<', 400, 'it is not');
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type) VALUES (2000, 1, 'free', 'everyone');
SELECT is(said('bob', NULL, 12), 'available | 2000 | credential 2000 ''free'' has no limit', 'no limit');

SELECT is(said('bob', 'w1', 12), said('bob', NULL, 12), 'a workspace without a row changes nothing');
UPDATE egress_provider SET enabled = false WHERE egress_provider_id = 1;
SELECT is(said('bob', NULL, 12), 'provider_disabled | provider ''ACME'' is disabled: enable it in egress_provider', 'the provider');
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 12;
SELECT is(said('bob', NULL, 12), 'gateway_disabled | the gateway is disabled: enable it in egress_gateway', 'before it the gateway');
UPDATE egress_gateway SET withdrawn = true WHERE egress_gateway_id = 12;
SELECT is(said('bob', NULL, 12), 'gateway_withdrawn | provider ''ACME'' no longer listed the gateway, and is not managed any more: '
          'set withdrawn to false in egress_gateway', 'before all, that it was withdrawn');
UPDATE egress_provider SET managed = true WHERE egress_provider_id = 1;
SELECT is(said('bob', NULL, 12), 'gateway_withdrawn | provider ''ACME'' no longer lists the gateway: it comes back with a sync whose list has it',
          'which a sync may change');
UPDATE egress_gateway SET enabled = true, withdrawn = false;
UPDATE egress_provider SET enabled = true;

/* ------------------------------------------------------------- override */

SELECT ok(NOT egress_gateway_required('w1'), 'no row: no gateway is required');
INSERT INTO egress_workspace (workspace_id) VALUES ('w1');
SELECT is(said('bob', 'w1', 12), said('bob', NULL, 12), 'the override is off unless it is turned on');
UPDATE egress_workspace SET override_egress_gateways = true;
SELECT is(said('bob', 'w1', 12),
          'overridden | workspace ''w1'' overrides egress gateways, and no enabled mapping of provider ''ACME'' that names the '
          'workspace allows the gateway: add one, or turn off override_egress_gateways', 'on: the user''s mapping is left out');
SELECT is_empty($$SELECT * FROM egress_available_gateways('bob', 'w1')$$, 'so the menu is empty');
SELECT throws_ok($$SELECT * FROM egress_acquire_credential('bob', 'w1', 12, 's2')$$, 'NG002', NULL, 'and an acquire refused');
SELECT is(said('bob', NULL, 12), 'available | 2000 | credential 2000 ''free'' has no limit', 'not in other calls');
SELECT is(said('bob', 'w1', 11),
          'not_mapped | no enabled mapping of provider ''ACME'' names workspace ''w1'', which overrides egress gateways: '
          'add one to egress_provider_mapping', 'what was not mapped before is not overridden');
SELECT ok(NOT egress_gateway_required('w1'), 'on, without a mapping of the workspace: not required');

INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, enabled, allow_all_gateways)
VALUES (103, 1, 'workspace', 'w1', false, false);
SELECT ok(NOT egress_gateway_required('w1'), 'nor with one that is disabled');
SELECT is(said('bob', 'w1', 13),
          'not_mapped | mapping 103 of provider ''ACME'' names workspace ''w1'', but is disabled: enable it in egress_provider_mapping',
          'the nearest mapping is one that would count');
UPDATE egress_provider_mapping SET enabled = true WHERE egress_provider_mapping_id = 103;
SELECT ok(egress_gateway_required('w1'), 'required with one that is enabled, though it selects no gateway');
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (103, 11);
SELECT ok(egress_gateway_required('w1'), 'and when it selects one');
SELECT results_eq($$SELECT egress_gateway_id FROM egress_available_gateways('bob', 'w1')$$, $$VALUES (11::bigint)$$,
                  'and the menu is what the workspace''s mapping selects');
SELECT matches(said('bob', 'w1', 11), '^available', 'with the credential that is everybody''s: rule 3 is unchanged');
SELECT is((SELECT egress_credential_id FROM egress_acquire_credential('eve', 'w1', 11, 's3')), 2000::bigint, 'and may be acquired');
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 11;
SELECT ok(egress_gateway_required('w1'), 'that its gateway is out of order lets nobody out without one');
UPDATE egress_provider_mapping SET allow_all_gateways = true WHERE egress_provider_mapping_id = 103;
SELECT ok(egress_gateway_required('w1'), 'nor that it allows all');
UPDATE egress_workspace SET override_egress_gateways = false;
SELECT ok(NOT egress_gateway_required('w1'), 'off: not required');
SELECT ok(NOT egress_gateway_required('W1'), 'ids are compared byte by byte');
SELECT is(egress_gateway_required(NULL), false, 'without a workspace: not required');
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (4, 'empty', 'custom');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (4, 'workspace', 'w4');
INSERT INTO egress_workspace VALUES ('w4', true);
SELECT ok(egress_gateway_required('w4'), 'a provider that has no gateway yet lets nobody out without one');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (41, 4, 'only'), (42, 4, 'other');
INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, allow_all_gateways)
VALUES (105, 4, 'workspace', 'w5', false);
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (105, 41);
INSERT INTO egress_workspace VALUES ('w5', true);
DELETE FROM egress_gateway WHERE egress_gateway_id = 41;
SELECT ok(egress_gateway_required('w5'), 'nor does the deletion of the last gateway that a mapping selected');
DELETE FROM egress_gateway WHERE egress_provider_id = 4;
SELECT ok(egress_gateway_required('w4') AND egress_gateway_required('w5'), 'nor that of the provider''s last one');
DELETE FROM egress_provider_mapping WHERE egress_provider_id = 4;
SELECT ok(NOT egress_gateway_required('w4') AND NOT egress_gateway_required('w5'), 'it takes the end of the mapping');

/* ---------------------------------------------------------------- rows */

SELECT results_eq($$SELECT egress_gateway_id FROM egress_explain_access('bob', NULL)$$,
                  $$SELECT egress_gateway_id FROM egress_gateway g JOIN egress_provider p USING (egress_provider_id)
                    ORDER BY p.name, country, city, g.name, egress_gateway_id$$, 'every gateway, in the order of the menu');
SELECT results_eq($$SELECT (e).* FROM egress_explain_access('bob', NULL, 21) e$$,
                  $$SELECT * FROM egress_explain_access('bob', NULL) WHERE egress_gateway_id = 21$$, 'or one');
SELECT results_eq($$SELECT * FROM egress_explain_access('bob')$$, $$SELECT * FROM egress_explain_access('bob', NULL)$$,
                  'without a workspace, as the menu');
SELECT results_eq($$SELECT * FROM egress_explain_access('bob', egress_gateway_id => 21)$$,
                  $$SELECT * FROM egress_explain_access('bob', NULL, 21)$$, 'and so for one');
SELECT throws_ok($$SELECT * FROM egress_explain_access('bob', NULL, 99)$$, 'NG001', 'gateway 99 does not exist', 'one that there is not');
SELECT throws_ok($$SELECT * FROM egress_explain_access(NULL, NULL)$$, '22004', NULL, 'no user');
SELECT throws_ok($$SELECT * FROM egress_explain_access('', NULL)$$, '22023', NULL, 'an empty user');
SELECT throws_ok($$SELECT * FROM egress_explain_access('bob', '')$$, '22023', NULL, 'an empty workspace');
SELECT throws_ok($$SELECT egress_gateway_required('')$$, '22023', NULL, 'also for egress_gateway_required');
SELECT lives_ok($$SELECT * FROM egress_explain_access(E'it''s "b%s"', E'%n\n') a, egress_explain_access(repeat('ü', 127), repeat('x', 255)) b$$,
                'ids of any content');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) SELECT 1000 + n, 1, 'g' || n FROM generate_series(1, 20000) n;
SELECT is((SELECT count(*)::int FROM egress_explain_access('bob', NULL)), 20005, 'twenty thousand gateways');
SELECT ok(egress_release_credential('s3'), '(one is given back)');
DELETE FROM egress_credential WHERE egress_credential_id <> 17;
UPDATE egress_provider_mapping SET allow_all_gateways = true WHERE egress_provider_mapping_id = 102;
SELECT is((SELECT count(DISTINCT detail)::int FROM egress_explain_access('bob', NULL) WHERE verdict = 'at_limit'), 1,
          'that have one full credential are counted once');

SELECT * FROM finish();
ROLLBACK;
