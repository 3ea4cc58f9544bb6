-- The world of the files that follow: a small company, with ids that are easy to recognize.
-- Each of these files leaves it as it found it, and ends with a look whether that is so.
CREATE SCHEMA vpn;
CREATE EXTENSION egress SCHEMA vpn;
SET search_path = vpn;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES
    (1, 'alpha', 'openvpn'),
    (2, 'bravo', 'wireguard'),
    (3, 'carol', 'custom');

INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city, config) VALUES
    (11, 1, 'us2', 'us',  'nyc', E'client\nremote us2.example.net 1194\n'),
    (12, 1, 'us1', 'us',  'nyc', E'client\nremote us1.example.net 1194\n'),
    (13, 1, 'us3', 'us',  NULL,  E'client\nremote us3.example.net 1194\n'),
    (14, 1, 'de1', 'de',  'ber', E'client\nremote de1.example.net 1194\n'),
    (15, 1, 'any', NULL,  NULL,  E'client\nremote any.example.net 1194\n'),
    (21, 2, 'ch1', 'ch',  'zrh',
     E'[Interface]\nAddress = 10.9.0.2/32\n\n[Peer]\nPublicKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\n'),
    (22, 2, 'is1', 'is',  'rkv', NULL),
    (31, 3, 'relay', NULL, NULL, 'relay --to desk');

-- ann is in two groups, bob in one, cat in none
INSERT INTO egress_group_member (user_id, group_id) VALUES
    ('ann', 'staff'), ('ann', 'dev'), ('bob', 'staff');

INSERT INTO egress_provider_mapping
    (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, allow_all_gateways) VALUES
    (101, 1, 'group',    'staff', true),
    (102, 2, 'user',     'ann',   false),
    (103, 3, 'everyone', NULL,    true);
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (102, 21);

INSERT INTO egress_credential
    (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
     username, password, private_key, custom_credential,
     limit_active_connections, active_connection_limit) VALUES
    (201, 1, 'pool',   'everyone',  NULL,   'pool', 'swordfish', NULL, NULL,                     true, 1),
    (202, 1, 'annown', 'user',      'ann',  'ann',  'tr0ub4dor', NULL, NULL,                     true, 2),
    (203, 2, 'devkey', 'group',     'dev',  NULL, NULL, 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=', NULL, false, NULL),
    (204, 3, 'desk',   'workspace', 'desk', NULL, NULL, NULL, 'token-of-the-desk',               true, 1);
-- this server lets many connect with one key
UPDATE egress_credential SET once_per_gateway = false WHERE egress_credential_id = 203;

-- ids that are given do not count: let the sequences go on behind them
SELECT setval('egress_provider_egress_provider_id_seq', 1000) AS provider,
       setval('egress_gateway_egress_gateway_id_seq', 1000) AS gateway,
       setval('egress_provider_mapping_egress_provider_mapping_id_seq', 1000) AS mapping,
       setval('egress_credential_egress_credential_id_seq', 1000) AS credential;

-- everything in the tables, as one value
CREATE FUNCTION public.state() RETURNS text LANGUAGE sql AS $$
    SELECT md5(string_agg(r, E'\n' ORDER BY r COLLATE "C")) FROM (
        SELECT p::text FROM egress_provider p UNION ALL SELECT g::text FROM egress_gateway g
        UNION ALL SELECT m::text FROM egress_provider_mapping m UNION ALL SELECT s::text FROM egress_provider_mapping_gateway s
        UNION ALL SELECT c::text FROM egress_credential c UNION ALL SELECT s::text FROM egress_credential_gateway s
        UNION ALL SELECT m::text FROM egress_group_member m
        UNION ALL SELECT l::text FROM egress_lease l UNION ALL SELECT h::text FROM egress_lease_history h) t (r) $$;
CREATE TABLE public.world AS SELECT public.state();
