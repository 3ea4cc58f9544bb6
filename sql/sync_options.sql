-- The options of egress_sync_gateways: import, files, skip_bad; and what it says of a list as a whole.
-- In a database of its own.
\set SHOW_CONTEXT never
SELECT current_database() AS before \gset
CREATE DATABASE regress_egress_sync TEMPLATE template0 ENCODING 'UTF8';
\c regress_egress_sync
CREATE EXTENSION egress;
INSERT INTO egress_provider (name, provider_type, managed, enable_new_managed_gateways) VALUES
    ('openvpn', 'openvpn', true, true), ('wireguard', 'wireguard', true, true);
CREATE VIEW stored AS SELECT name, country, withdrawn, config FROM egress_gateway WHERE egress_provider_id = 1 ORDER BY egress_gateway_id;

-- files as a provider publishes them: a certificate beside them, one with a file of its own, lines that an import takes out
SELECT jsonb_build_array(
    jsonb_build_object('name', 'ams', 'country', 'NL', 'config', E'client\nremote ams.example.net 1194\nca ca.crt\nup /etc/up.sh\ndown /etc/down.sh\n'),
    jsonb_build_object('name', 'par', 'config', E'client\nremote par.example.net 1194\nca ca.crt\nup /etc/up.sh\n',
                       'files', jsonb_build_object('ca.crt', E'-----BEGIN CERTIFICATE-----\nof par\n-----END CERTIFICATE-----\n')),
    jsonb_build_object('name', 'osl', 'country', 'NO', 'config', E'client\nremote osl.example.net 1194\n'),
    jsonb_build_object('name', 'none')) AS list,
    jsonb_build_object('ca.crt', E'-----BEGIN CERTIFICATE-----\nof all\n-----END CERTIFICATE-----\n', 'other.crt', 'x') AS files \gset
SELECT action, name FROM egress_sync_gateways(1, :'list');
SELECT action, name FROM egress_sync_gateways(1, :'list', import => true);
SELECT action, name FROM egress_sync_gateways(1, :'list', import => true, files => :'files');
SELECT name, config FROM stored;
-- the same again writes nothing; files are for an import only
SELECT action, name FROM egress_sync_gateways(1, :'list', import => true, files => :'files');
SELECT action, name FROM egress_sync_gateways(1, :'list', files => :'files');
-- files that are none
SELECT egress_sync_gateways(1, :'list', import => true, files => '["ca.crt"]');
SELECT egress_sync_gateways(1, :'list', import => true, files => '{"ca.crt": 5}', skip_bad => true);
SELECT egress_sync_gateways(1, '[{"name": "ams", "files": []}]', import => true);
SELECT egress_sync_gateways(1, '[{"name": "ams", "config": "remote a", "files": {"ca.crt": true}}]', import => true);
SELECT egress_sync_gateways(1, '[{"name": "none", "files": []}]', max_withdrawn => 1);
SELECT action, name FROM egress_sync_gateways(1, :'list', import => true, files => :'files');

-- bad entries whose name cannot be read: nothing is withdrawn
SELECT action, name FROM egress_sync_gateways(1, '[{"name": 7}, 8, {"name": ""}, {"name": "none"}]', skip_bad => true, max_withdrawn => 0);
-- bad entries that are skipped: their gateways stay as they are, and are not withdrawn
SELECT action, name, egress_gateway_id IS NOT NULL AS has_gateway FROM egress_sync_gateways(1, skip_bad => true, gateways => $$[
    {"name": "ams", "country": "DE", "config": "remote ams.example.net\nup /etc/up.sh\nplugin x"},
    {"name": "par", "country": 5},
    {"name": "new", "config": "client"},
    {"name": "good", "config": "remote good.example.net"},
    {"name": "good", "country": "XX"},
    {"name": "osl", "config": "remote osl.example.net"}]$$);
SELECT name, country, withdrawn, config ~ 'up' AS has_up FROM stored;
-- one that was withdrawn stays so
SELECT action, name FROM egress_sync_gateways(1, '[{"name": "none", "country": ""}]', skip_bad => true, max_withdrawn => 1);
SELECT name, withdrawn FROM stored;
-- without the option they refuse the list
SELECT egress_sync_gateways(1, '[{"name": "ams"}, {"name": "par", "country": 5}]');
-- more than are named
SELECT count(*) FROM egress_sync_gateways(1, (SELECT jsonb_agg(i) FROM generate_series(1, 23) i), skip_bad => true);
-- not what is wrong with the list itself
SELECT egress_sync_gateways(1, '{}', skip_bad => true);
SELECT egress_sync_gateways(1, '[]', import => NULL);
SELECT egress_sync_gateways(1, '[]', skip_bad => NULL);

-- WireGuard: the private key is not stored, so the list with it and the one without are the same; secrets are told of once
SELECT jsonb_agg(jsonb_build_object('name', 'wg-' || i, 'config',
    E'[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nPostUp = iptables -A x\n\n[Peer]\n'
    'PublicKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\nPresharedKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\n')) AS list
FROM generate_series(1, 3) i \gset
SELECT action, name FROM egress_sync_gateways(2, :'list', import => true);
SELECT action, name FROM egress_sync_gateways(2, :'list', import => true);
SELECT DISTINCT config FROM egress_gateway WHERE egress_provider_id = 2;
SELECT action, name FROM egress_sync_gateways(2, (SELECT jsonb_agg(jsonb_build_object('name', name, 'config', config)) FROM egress_gateway
                                                  WHERE egress_provider_id = 2));
-- a login is not stored; one list says it once, and not again while nothing of it is written
SELECT jsonb_agg(jsonb_build_object('name', 'login ' || i, 'config', E'remote a\n<auth-user-pass>\nann\nswordfish\n</auth-user-pass>\n')) AS list
FROM generate_series(1, 3) i \gset
BEGIN;
SELECT action, name FROM egress_sync_gateways(1, :'list', max_withdrawn => 1) WHERE action = 'added';
SELECT action, name FROM egress_sync_gateways(1, :'list', max_withdrawn => 1);
SELECT action, name FROM egress_sync_gateways(1, :'list'::jsonb || '[{"name": "more", "config": "remote a\n<auth-user-pass>\na\nb\n</auth-user-pass>"}]', import => true);
ROLLBACK;
-- one line of one config
SELECT action, name FROM egress_sync_gateways(1, '[{"name": "ams", "config": "remote ams.example.net\nup /etc/up.sh"}]', import => true);

\c :before
DROP DATABASE regress_egress_sync;
