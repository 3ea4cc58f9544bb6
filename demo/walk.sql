-- demo/walk.sql -- the job of egress, step by step, for a person who reads along
--
--   psql -X -f demo/walk.sql     after demo/world.sql and demo/app.sql, in the same database
--
-- Begins with who and what there is. Leaves five running sessions, four of them with a lease.

\set QUIET on
\set ON_ERROR_STOP on
\pset pager off
\pset footer off
\pset null -

\echo
\echo 'A company lets the remote sessions of its people leave through VPN gateways. Users, groups, workspaces and sessions'
\echo 'are its application''s, in tables of the schema app; egress follows them by triggers. Who is who:'
\echo
SELECT g.id AS "group", string_agg(u.full_name, ', ' ORDER BY u.id) AS members
FROM app.groups g JOIN app.memberships m ON m.group_id = g.id JOIN app.users u ON u.id = m.user_id
GROUP BY g.id ORDER BY g.id;

\echo 'The company buys from four providers. Their gateways are in egress_gateway:'
\echo
SELECT name AS provider, provider_type, count(*) AS gateways, (array_agg(gateway ORDER BY egress_gateway_id))[1] AS "for example"
FROM egress_provider JOIN (SELECT egress_gateway_id, egress_provider_id, name AS gateway FROM egress_gateway) g USING (egress_provider_id)
GROUP BY egress_provider_id ORDER BY egress_provider_id;

\echo 'Mappings say who may pick which of them, a user, a group, everyone, or whoever is in a workspace:'
\echo
SELECT p.name AS provider, concat_ws(' ', m.subject_type, m.subject_id) AS "open to",
       CASE WHEN m.allow_all_gateways THEN 'all gateways' ELSE count(s.egress_gateway_id) || ' gateways' END
       || CASE WHEN m.enabled THEN '' ELSE ', switched off' END AS what
FROM egress_provider p JOIN egress_provider_mapping m USING (egress_provider_id)
LEFT JOIN egress_provider_mapping_gateway s USING (egress_provider_mapping_id)
GROUP BY p.egress_provider_id, m.egress_provider_mapping_id ORDER BY p.egress_provider_id, m.egress_provider_mapping_id;

\echo 'And credentials are what a session logs in to a gateway with, for so many sessions at a time as the provider allows:'
\echo
SELECT p.name AS provider, c.name AS credential, concat_ws(' ', c.subject_type, c.subject_id) AS "open to",
       active_connection_limit AS "limit"
FROM egress_provider p JOIN egress_credential c USING (egress_provider_id) ORDER BY c.egress_credential_id;

\echo 'What follows is what the application, an administrator and a scheduler do with that. demo/world.sql and demo/app.sql'
\echo 'have made it; Lanternway''s Zurich gateway is the one to watch.'

\echo
\echo '1. Bruno opens the launch menu: the gateways that he may pick for the workspace "chrome".'
\echo '   available_connections says how many more fit now; - is no limit. (Madird is how Harborlight''s list has it: see 10.)'
\echo
\set ECHO queries
SELECT provider_name, country, city, gateway_name, available_connections
FROM egress_available_gateways('bruno@corp.example', 'chrome');
\unset ECHO

\echo '2. Ana is in the group "research", to which all of Lanternway is open: her menu is longer. Here are its gateways'
\echo '   in two countries.'
\echo
\set ECHO queries
SELECT provider_name, country, city, gateway_name, available_connections
FROM egress_available_gateways('ana@corp.example', 'chrome')
WHERE country IN ('CH', 'NL');
\unset ECHO

\echo '3. Ana starts session 1 through Zurich. The application writes its session and takes a credential in one'
\echo '   transaction. Her own credential comes first; it has a limit of 1. config is all that her host needs.'
\echo
SELECT egress_gateway_id AS zurich FROM egress_gateway WHERE name = 'ch-zrh-01' \gset
\x on
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (1, 'ana@corp.example', 'chrome');
SELECT * FROM egress_acquire_credential('ana@corp.example', 'chrome', :zurich, '1');
COMMIT;
\unset ECHO
\x off

\echo
\echo '4. Bruno starts session 2 through Frankfurt, a WireGuard gateway. The config has a private key and the address'
\echo '   that belongs to it in their places: the agent writes it to a file, unchanged. Nobody else gets this key in Frankfurt'
\echo '   meanwhile: there a server knows a tunnel by its key.'
\echo
SELECT egress_gateway_id AS frankfurt FROM egress_gateway WHERE name = 'frankfurt' \gset
\x on
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (2, 'bruno@corp.example', 'chrome');
SELECT credential_name, provider_type, config
FROM egress_acquire_credential('bruno@corp.example', 'chrome', :frankfurt, '2');
COMMIT;
\unset ECHO
\x off

\echo
\echo '5. Ana starts another one, session 3: her own credential is full, so she gets the next one that fits, the group''s.'
\echo
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (3, 'ana@corp.example', 'terminal');
SELECT egress_credential_id, credential_name, username, gateway_name, city
FROM egress_acquire_credential('ana@corp.example', 'terminal', :zurich, '3');
COMMIT;
\unset ECHO

\echo
\echo '6. Carla takes the last connection of the research pool for session 4.'
\echo
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (4, 'carla@corp.example', 'chrome');
SELECT egress_credential_id, credential_name, username, gateway_name, city
FROM egress_acquire_credential('carla@corp.example', 'chrome', :zurich, '4');
COMMIT;
\unset ECHO
SELECT clock_timestamp() AS then \gset

\echo
\echo '7. Dan is too late: every credential that fits is at its limit. The error comes at once, with a SQLSTATE'
\echo '   that the application can tell apart, and his session is rolled back with it.'
\echo
\set ON_ERROR_STOP off
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (5, 'dan@corp.example', 'chrome');
SELECT egress_credential_id, credential_name, username, gateway_name, city
FROM egress_acquire_credential('dan@corp.example', 'chrome', :zurich, '5');
\unset ECHO
\set acquire_sqlstate :SQLSTATE
\set ECHO queries
ROLLBACK;
\unset ECHO
\set ON_ERROR_STOP on
\echo
\echo '   SQLSTATE:' :acquire_sqlstate

\echo
\echo '8. Carla''s session 4 ends. The application only updates its own table; the trigger gives the connection back.'
\echo
\set ECHO queries
UPDATE app.sessions SET status = 'stopped' WHERE id = 4;
SELECT session_id, credential_name, user_id, release_reason FROM egress_lease_history;
\unset ECHO

\echo '9. Now Dan gets in, with session 5.'
\echo
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (5, 'dan@corp.example', 'chrome');
SELECT egress_credential_id, credential_name, username, gateway_name, city
FROM egress_acquire_credential('dan@corp.example', 'chrome', :zurich, '5');
COMMIT;
\unset ECHO

\echo
\echo '10. Harborlight''s gateways come from a list that it publishes. Eva, of the group "support", sees those of yesterday.'
\echo
\set ECHO queries
SELECT country, city, gateway_name
FROM egress_available_gateways('eva@corp.example') WHERE provider_name = 'Harborlight';
\unset ECHO

\echo '   Today''s list has a new gateway, one less, and a name spelled right. One call makes the gateways those of the list;'
\echo '   sessions on a gateway that is withdrawn stay.'
\echo
SELECT egress_provider_id AS harborlight FROM egress_provider WHERE name = 'Harborlight' \gset
\set ECHO queries
SELECT action, name FROM egress_sync_gateways(:harborlight, '[
    {"name": "lis-1", "country": "PT", "city": "Lisbon",   "config": "exit=lis-1.harborlight.example"},
    {"name": "mad-1", "country": "ES", "city": "Madrid",   "config": "exit=mad-1.harborlight.example"},
    {"name": "vlc-1", "country": "ES", "city": "Valencia", "config": "exit=vlc-1.harborlight.example"}]');

SELECT country, city, gateway_name
FROM egress_available_gateways('eva@corp.example') WHERE provider_name = 'Harborlight';
\unset ECHO

\echo '11. Hugo opens the workspace "kiosk", and his menu is empty. Why? The explanation says of each gateway what is in the'
\echo '    way first, and what would change it: here of Frankfurt, and in another workspace of Zurich.'
\echo
\set ECHO queries
SELECT count(*) AS gateways FROM egress_available_gateways('hugo@corp.example', 'kiosk');

\unset ECHO
\pset tuples_only on
\pset format unaligned
\pset fieldsep ' | '
\set ECHO queries
SELECT gateway_name, verdict, detail FROM egress_explain_access('hugo@corp.example', 'kiosk', :frankfurt);
SELECT gateway_name, verdict, detail FROM egress_explain_access('hugo@corp.example', 'chrome', :zurich);
\unset ECHO
\pset format aligned
\pset tuples_only off
\echo

\echo '12. Farid''s session runs on a host that may vanish, so its lease has a time to live, which the host renews. His own key'
\echo '    has a limit of 1.'
\echo
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (6, 'farid@corp.example', 'terminal');
SELECT egress_credential_id, credential_name, gateway_name
FROM egress_acquire_credential('farid@corp.example', 'terminal', :frankfurt, '6', ttl => '1 second');
COMMIT;
SELECT egress_renew_lease('6', '2 seconds') - clock_timestamp() < '2 seconds' AS renewed;
\unset ECHO

\echo '    The host vanishes. Two seconds later the lease does not count any more. Whoever needs the connection takes it;'
\echo '    otherwise a scheduled job gives it back.'
\echo
SELECT FROM pg_sleep(2.1) \g /dev/null
\set ECHO queries
SELECT credential_name, active_connections, available_connections FROM egress_credential_usage WHERE credential_name = 'Farid, laptop key';
SELECT egress_expire_leases();
SELECT session_id, credential_name, user_id, release_reason, date_trunc('second', released_at - acquired_at) AS lasted
FROM egress_lease_history ORDER BY released_at;
\unset ECHO

\echo '13. Eva''s session may leave from anywhere in Spain, else in Portugal: a wish picks the gateway.'
\echo
UPDATE egress_provider SET bench_after = 1, bench_for = '1 second' WHERE egress_provider_id = :harborlight;
\set ECHO queries
BEGIN;
INSERT INTO app.sessions (id, user_id, workspace_id) VALUES (7, 'eva@corp.example', 'chrome');
SELECT gateway_name, country, city, credential_name
FROM egress_acquire_gateway('eva@corp.example', 'chrome', '7', countries => '{ES,PT}', providers => '{Harborlight}');
COMMIT;
\unset ECHO

\echo '    It does not answer. The host says so; here one report is enough to bench the gateway, for a second. The same wish'
\echo '    then gets another one.'
\echo
\set ECHO queries
SELECT egress_report_failure('7', 'gateway');
SELECT egress_release_credential('7');
SELECT gateway_name, failures, benched_until > now() AS benched FROM egress_benched;
SELECT gateway_name, country, city, credential_name
FROM egress_acquire_gateway('eva@corp.example', 'chrome', '7', countries => '{ES,PT}', providers => '{Harborlight}');
\unset ECHO

\echo '    A second later it is in the menu again, by itself.'
\echo
SELECT FROM pg_sleep(1.1) \g /dev/null
\set ECHO queries
SELECT country, city, gateway_name
FROM egress_available_gateways('eva@corp.example') WHERE provider_name = 'Harborlight';
\unset ECHO
DELETE FROM app.sessions WHERE id = 7;
UPDATE egress_provider SET bench_after = DEFAULT, bench_for = DEFAULT WHERE egress_provider_id = :harborlight;

\echo '14. An abuse report comes in: who left through Zurich when all its connections were taken? Those whose session has'
\echo '    ended since, and those who are still there.'
\echo
\set ECHO queries
SELECT session_id, user_id, workspace_id, gateway_name, released_at IS NOT NULL AS ended
FROM egress_connections_at(:'then', :zurich);
\unset ECHO

\echo '15. The administrator looks at the credentials with a limit, at the gateways in use, and at who holds what.'
\echo
\set ECHO queries
SELECT credential_name, provider_name, active_connections, active_connection_limit, available_connections
FROM egress_credential_usage WHERE active_connection_limit IS NOT NULL ORDER BY egress_credential_id;

SELECT gateway_name, city, provider_name, active_connections
FROM egress_gateway_usage WHERE active_connections > 0;

SELECT session_id, user_id, workspace_id, credential_name, gateway_name, city
FROM egress_connection ORDER BY acquired_at;
\unset ECHO

\echo '16. In the tables, and in every dump of them, the secrets are sealed; the key is in a file that only the server reads.'
\echo
\set ECHO queries
SELECT name, username, left(password::text, 44) || '...' AS password
FROM egress_credential WHERE password IS NOT NULL LIMIT 3;
SELECT * FROM egress_secret_usage;
\unset ECHO
