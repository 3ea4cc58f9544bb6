-- What is stored of a gateway's config, and the warning of what is secret in it: once in a statement, and only when
-- it is stored anew. In a database of its own.
\set SHOW_CONTEXT never
SELECT current_database() AS before \gset
CREATE DATABASE regress_egress_config TEMPLATE template0 ENCODING 'UTF8';
\c regress_egress_config
CREATE EXTENSION egress;
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'wire', 'wireguard'), (2, 'any', 'custom'), (3, 'open', 'openvpn');
\set config '[Interface]\nPrivateKey = KKj9BQcfDB1oC5v+x0JwnWIDcZsQO3jDsFqnkWRjxlA=\n\n[Peer]\nPublicKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\n'
\set preshared 'PresharedKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n'

-- a private key is not stored, as is said
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (1, 1, 'one', :'config') RETURNING config;
-- one that is empty is nothing, nor is one there if there is none
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
SELECT 11 + i, 1, 'empty ' || i, regexp_replace(:'config', 'PrivateKey.*?\n', line, 'n') FROM unnest(ARRAY[E'PrivateKey = \n', E'PrivateKey=\n',
    E'PrivateKey =  # yours\n', E'PrivateKey =\nPrivateKey = \n', '']) WITH ORDINALITY l (line, i);
-- a placeholder is a value
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
SELECT 18, 1, 'placeholder', regexp_replace(:'config', 'PrivateKey.*?\n', E'PrivateKey = <yours>\n', 'n');
DELETE FROM egress_gateway WHERE egress_gateway_id BETWEEN 12 AND 18;
-- a preshared key is
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (2, 1, 'two', :'config' || :'preshared');
SELECT config FROM egress_gateway WHERE egress_gateway_id = 2;
-- several at once; and of a provider whose configs are not looked into
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
SELECT i, 1, 'gateway ' || i, :'config' || :'preshared' FROM generate_series(3, 9) i;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (10, 2, 'ten', :'config' || :'preshared');
-- not when another column is changed, or the config to what it is
UPDATE egress_gateway SET city = 'Ulm', enabled = false WHERE egress_gateway_id = 2;
UPDATE egress_gateway SET city = 'Bern', config = config WHERE egress_gateway_id = 2;
UPDATE egress_gateway SET config = :'config' || :'preshared' WHERE egress_gateway_id = 2;
UPDATE egress_gateway SET config = E'# again\n' || config WHERE egress_gateway_id = 2;
UPDATE egress_gateway SET config = :'config' WHERE egress_gateway_id = 2;
UPDATE egress_gateway SET config = :'config' || :'preshared' WHERE egress_gateway_id = 2;
SELECT * FROM egress_secret_usage;

-- OpenVPN: a login is not stored, where a credential's takes its place; what all clients of a provider share is no secret
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (21, 3, 'login', E'client\ndev tun\nremote h\n<auth-user-pass>\nann\nswordfish\n</auth-user-pass>\n<tls-crypt>\nshared\n</tls-crypt>\n')
RETURNING config;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (22, 3, 'certificate', E'client\ndev tun\nremote h\n<cert>\nc\n</cert>\n<key>\nk\n</key>\n<http-proxy-user-pass>\nu\np\n</http-proxy-user-pass>\n');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (23, 3, 'both', E'client\ndev tun\nremote h\n<auth-user-pass>\nann\nswordfish\n</auth-user-pass>\n<cert>\nc\n</cert>\n<key>\nk\n</key>\n')
RETURNING config;
SELECT egress_gateway_id, egress_config_has_secret(provider_type, config) FROM egress_gateway WHERE egress_provider_id = 3 ORDER BY 1;
-- as a version before this one stored it
ALTER TABLE egress_gateway DISABLE TRIGGER egress_refuse_misfit;
UPDATE egress_gateway SET config = E'up x\n<auth-user-pass>\nann\nswordfish\n</auth-user-pass>' WHERE egress_gateway_id = 21;
UPDATE egress_gateway SET config = :'config' WHERE egress_gateway_id = 1;
ALTER TABLE egress_gateway ENABLE TRIGGER egress_refuse_misfit;
-- which an UPDATE takes out
UPDATE egress_gateway SET config = config WHERE egress_gateway_id = 1 RETURNING config;
-- the first thing that a session asks of egress
\c regress_egress_config
SELECT * FROM egress_secret_usage;

-- A certificate that is not valid at present is stored, with a warning, when it is new: a dump can be restored at any time.
-- The first has lines that end with carriage return and newline, of which psql's backquotes have taken the last newline
\set key '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHUd9wkSRVri5O7el\n1LLsVgxOc8KfOoc9eDIb2tCKgEChRANCAATzgY1849j361Zd2ct6de7eZtS1pdjG\nI2bDtSasQk5w5DVEqZduSNu52TgIOMynHmFkte/BIgYl8MHUe85ZOqDp\n-----END PRIVATE KEY-----\n'
\set valid '-----BEGIN CERTIFICATE-----\nMIIBATCBqAIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFjMCAXDTAwMDEwMTAw\nMDAwMFoYDzIyMDAwMTAxMDAwMDAwWjAMMQowCAYDVQQDDAFjMFkwEwYHKoZIzj0C\nAQYIKoZIzj0DAQcDQgAE84GNfOPY9+tWXdnLenXu3mbUtaXYxiNmw7UmrEJOcOQ1\nRKmXbkjbudk4CDjMpx5hZLXvwSIGJfDB1HvOWTqg6TAKBggqhkjOPQQDAgNIADBF\nAiEAlcInW83X21cDmRfzFI8HCNEEqQQrgVRehi0uiO6j9bECICq6c5lqHPJckdWY\nBSGSXSyANkoPPsLr1VoUpQARPJJk\n-----END CERTIFICATE-----\n'
\set expired '-----BEGIN CERTIFICATE-----\nMIH/MIGmAgEBMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAWMwHhcNMDAwMTAxMDAw\nMDAwWhcNMDEwMTAxMDAwMDAwWjAMMQowCAYDVQQDDAFjMFkwEwYHKoZIzj0CAQYI\nKoZIzj0DAQcDQgAE84GNfOPY9+tWXdnLenXu3mbUtaXYxiNmw7UmrEJOcOQ1RKmX\nbkjbudk4CDjMpx5hZLXvwSIGJfDB1HvOWTqg6TAKBggqhkjOPQQDAgNIADBFAiAR\nnJPwuKwU+1mfLDay/OiyOYvKhb/qpabTypmEEyvgNgIhAOrYweEG4zv7ENgLm6dL\nSwWF6P6F3gpoHsJfTqLGPs9N\n-----END CERTIFICATE-----\n'
\set later '-----BEGIN CERTIFICATE-----\nMIIBAjCBqgIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFjMCIYDzIxMDAwMTAx\nMDAwMDAwWhgPMjIwMDAxMDEwMDAwMDBaMAwxCjAIBgNVBAMMAWMwWTATBgcqhkjO\nPQIBBggqhkjOPQMBBwNCAATzgY1849j361Zd2ct6de7eZtS1pdjGI2bDtSasQk5w\n5DVEqZduSNu52TgIOMynHmFkte/BIgYl8MHUe85ZOqDpMAoGCCqGSM49BAMCA0cA\nMEQCIGF4ZYjnBkDofzys3SpvMGU1oASeuWF97jlz4mtxF1iwAiB7HYs0vlJIVcaH\nOX88kiEyQXJAe2J993I4CAWLF/ItLA==\n-----END CERTIFICATE-----\n'
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, client_certificate, client_key) VALUES
    (1, 3, 'valid', 'everyone', rtrim(replace(:'valid', E'\n', E'\r\n'), E'\n'), rtrim(replace(:'key', E'\n', E'\r\n'), E'\n')),
    (2, 3, 'expired', 'everyone', :'expired', :'key'), (3, 3, 'later', 'everyone', :'later', :'key');
UPDATE egress_credential SET client_key = :'key', username = 'u', password = 'p', enabled = false;
UPDATE egress_credential SET client_certificate = client_certificate;
UPDATE egress_credential SET client_certificate = :'valid' || :'expired' WHERE egress_credential_id = 2;
UPDATE egress_credential SET client_certificate = :'expired' || :'valid' WHERE egress_credential_id = 2;
-- a dump that is restored says nothing: nothing in it is new
SET check_function_bodies = off;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, client_certificate, client_key)
VALUES (4, 3, 'restored', 'everyone', :'expired', :'key');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (26, 3, 'login restored', E'client\ndev tun\nremote h\n<auth-user-pass>\nann\nswordfish\n</auth-user-pass>\n'),
       (25, 3, 'restored', E'client\ndev tun\nremote h\n<cert>\n' || :'valid' || E'</cert>\n<key>\n' || :'key' || E'</key>\n');
RESET check_function_bodies;
DELETE FROM egress_credential WHERE egress_credential_id = 4;
DELETE FROM egress_gateway WHERE egress_gateway_id IN (25, 26);
-- what an acquire makes of the lone carriage return
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (3, 'everyone');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (24, 3, 'plain', E'client\ndev tun\nremote h\n');
UPDATE egress_credential SET enabled = true WHERE egress_credential_id = 1;
SELECT replace(config, E'\r', '\r') AS config FROM egress_acquire_credential('ann', NULL, 24, 's1');

\c :before
DROP DATABASE regress_egress_config;
