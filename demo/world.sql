-- demo/world.sql -- a company's egress: four providers, their gateways, who may use them, and credentials
--
--   psql -v ON_ERROR_STOP=1 --single-transaction -f demo/world.sql
--
-- For a database where egress exists and is on the search_path. Names and hosts are invented; keys are hashes,
-- passwords are placeholders, the certificate's private key was never kept. Rows are found by name, so that this
-- loads beside what is there already.

INSERT INTO egress_provider (name, provider_type) VALUES
    ('Lanternway', 'openvpn'),
    ('Quillport',  'wireguard'),
    ('Relay Desk', 'custom');

-- its gateways come from the list that it publishes
INSERT INTO egress_provider (name, provider_type, managed, enable_new_managed_gateways) VALUES
    ('Harborlight', 'custom', true, true);

/* ------------------------------------------------------------- gateways */

INSERT INTO egress_gateway (egress_provider_id, name, country, city, config)
SELECT (SELECT egress_provider_id FROM egress_provider WHERE name = 'Lanternway'), name, country, city,
       format($config$client
dev tun
proto udp
remote %s.vpn.example.net 1194
resolv-retry infinite
nobind
persist-key
persist-tun
remote-cert-tls server
data-ciphers AES-256-GCM:CHACHA20-POLY1305
auth SHA256
auth-user-pass
verb 3
<ca>
-----BEGIN CERTIFICATE-----
MIIBjzCCATWgAwIBAgIUa9An7QQ/I4L8D3dQYLNEINX6vN0wCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSTGFudGVybndheSBkZW1vIENBMB4XDTI2MTEyMjE2MDIxM1oX
DTM2MTExOTE2MDIxM1owHTEbMBkGA1UEAwwSTGFudGVybndheSBkZW1vIENBMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEoM6oHHbhFIfR0Ng0HaZ4QlOcf2rh0W8T
KGZK+Yy1YDc7B6nXmCx1H99uW7dfeaSiDBKfOzmpdOqrgPbnE4UF4qNTMFEwHQYD
VR0OBBYEFEtq3V8RFXQs7ATP+8mKuudQE3tUMB8GA1UdIwQYMBaAFEtq3V8RFXQs
7ATP+8mKuudQE3tUMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIh
ANpcsJ718MFfUbUrn0TGKukGpIOUBGBrhf25QK4CMwj2AiBwAFV3j4lerIQjk42H
BTYUmy8fRbAudrdxOzq/UtxQhQ==
-----END CERTIFICATE-----
</ca>
$config$, name)
FROM (VALUES
    ('nl-ams-01', 'NL', 'Amsterdam'),
    ('nl-ams-02', 'NL', 'Amsterdam'),
    ('de-fra-01', 'DE', 'Frankfurt'),
    ('de-ber-01', 'DE', 'Berlin'),
    ('ch-zrh-01', 'CH', 'Zurich'),
    ('ch-gva-01', 'CH', 'Geneva'),
    ('at-vie-01', 'AT', 'Vienna'),
    ('fr-par-01', 'FR', 'Paris'),
    ('fr-mrs-01', 'FR', 'Marseille'),
    ('gb-lon-01', 'GB', 'London'),
    ('gb-lon-02', 'GB', 'London'),
    ('gb-man-01', 'GB', 'Manchester'),
    ('ie-dub-01', 'IE', 'Dublin'),
    ('es-mad-01', 'ES', 'Madrid'),
    ('pt-lis-01', 'PT', 'Lisbon'),
    ('it-mil-01', 'IT', 'Milan'),
    ('se-sto-01', 'SE', 'Stockholm'),
    ('no-osl-01', 'NO', 'Oslo'),
    ('dk-cph-01', 'DK', 'Copenhagen'),
    ('fi-hel-01', 'FI', 'Helsinki'),
    ('pl-waw-01', 'PL', 'Warsaw'),
    ('cz-prg-01', 'CZ', 'Prague'),
    ('us-nyc-01', 'US', 'New York'),
    ('us-chi-01', 'US', 'Chicago'),
    ('us-dal-01', 'US', 'Dallas'),
    ('us-lax-01', 'US', 'Los Angeles'),
    ('us-sea-01', 'US', 'Seattle'),
    ('ca-tor-01', 'CA', 'Toronto'),
    ('ca-mtl-01', 'CA', 'Montreal'),
    ('br-sao-01', 'BR', 'São Paulo'),
    ('jp-tyo-01', 'JP', 'Tokyo'),
    ('sg-sin-01', 'SG', 'Singapore'),
    ('au-syd-01', 'AU', 'Sydney')
) AS gateway (name, country, city);

INSERT INTO egress_gateway (egress_provider_id, name, country, city, config)
SELECT (SELECT egress_provider_id FROM egress_provider WHERE name = 'Quillport'), name, country, city,
       format($config$[Interface]
DNS = 10.64.0.1

[Peer]
PublicKey = %s
Endpoint = %s.wg.example.org:51820
AllowedIPs = 0.0.0.0/0, ::/0
PersistentKeepalive = 25
$config$, encode(sha256(convert_to('public key of ' || name, 'UTF8')), 'base64'), name)
FROM (VALUES
    ('rotterdam',    'NL', 'Rotterdam'),
    ('frankfurt',    'DE', 'Frankfurt'),
    ('munich',       'DE', 'Munich'),
    ('zurich',       'CH', 'Zurich'),
    ('paris',        'FR', 'Paris'),
    ('london',       'GB', 'London'),
    ('brussels',     'BE', 'Brussels'),
    ('luxembourg',   'LU', 'Luxembourg'),
    ('barcelona',    'ES', 'Barcelona'),
    ('rome',         'IT', 'Rome'),
    ('athens',       'GR', 'Athens'),
    ('budapest',     'HU', 'Budapest'),
    ('bucharest',    'RO', 'Bucharest'),
    ('sofia',        'BG', 'Sofia'),
    ('riga',         'LV', 'Riga'),
    ('tallinn',      'EE', 'Tallinn'),
    ('reykjavik',    'IS', 'Reykjavík'),
    ('istanbul',     'TR', 'Istanbul'),
    ('tel-aviv',     'IL', 'Tel Aviv'),
    ('dubai',        'AE', 'Dubai'),
    ('johannesburg', 'ZA', 'Johannesburg'),
    ('mumbai',       'IN', 'Mumbai'),
    ('hong-kong',    'HK', 'Hong Kong'),
    ('seoul',        'KR', 'Seoul'),
    ('osaka',        'JP', 'Osaka'),
    ('mexico-city',  'MX', 'Mexico City'),
    ('santiago',     'CL', 'Santiago'),
    ('miami',        'US', 'Miami'),
    ('ashburn',      'US', 'Ashburn'),
    ('vancouver',    'CA', 'Vancouver'),
    ('auckland',     'NZ', 'Auckland')
) AS gateway (name, country, city);

INSERT INTO egress_gateway (egress_provider_id, name, country, city, config)
SELECT (SELECT egress_provider_id FROM egress_provider WHERE name = 'Relay Desk'), name, country, city,
       json_build_object('relay', name || '.relay.example.com', 'port', 8443, 'protocol', 'socks5',
                         'country', country, 'resolve', 'remote')::text
FROM (VALUES
    ('residential-us', 'US', NULL),
    ('residential-de', 'DE', NULL),
    ('residential-br', 'BR', NULL),
    ('mobile-gb',      'GB', 'London'),
    ('mobile-jp',      'JP', 'Tokyo'),
    ('any-exit',       NULL, NULL)
) AS gateway (name, country, city);

-- as yesterday's list had them; today's has Madrid spelled right
INSERT INTO egress_gateway (egress_provider_id, name, country, city, config)
SELECT (SELECT egress_provider_id FROM egress_provider WHERE name = 'Harborlight'), name, country, city,
       'exit=' || name || '.harborlight.example'
FROM (VALUES
    ('lis-1', 'PT', 'Lisbon'),
    ('opo-1', 'PT', 'Porto'),
    ('mad-1', 'ES', 'Madird')
) AS gateway (name, country, city);

-- closed for maintenance
UPDATE egress_gateway SET enabled = false WHERE name = 'gb-lon-02';

/* --------------------------------------------------- who is in which group */

INSERT INTO egress_group_member (user_id, group_id) VALUES
    ('ana@corp.example',   'research'),
    ('carla@corp.example', 'research'),
    ('dan@corp.example',   'research'),
    ('bruno@corp.example', 'support'),
    ('eva@corp.example',   'support'),
    ('farid@corp.example', 'engineering'),
    ('grace@corp.example', 'engineering'),
    ('grace@corp.example', 'research'),
    ('hugo@corp.example',  'contractors')
ON CONFLICT DO NOTHING;

/* ------------------------------------------------ who may use which gateway */

-- in the kiosk, only what is mapped to the kiosk itself
INSERT INTO egress_workspace (workspace_id, override_egress_gateways) VALUES ('kiosk', true);


INSERT INTO egress_provider_mapping
    (egress_provider_id, subject_type, subject_id, enabled, allow_all_gateways)
SELECT egress_provider_id, subject_type::egress_subject_type, subject_id, mapping.enabled, allow_all_gateways
FROM (VALUES
    ('Lanternway', 'group',     'research',          true,  true),
    ('Lanternway', 'user',      'bruno@corp.example', true, false),   -- selected below
    ('Lanternway', 'workspace', 'test-lab',          true,  false),   -- selected below
    ('Lanternway', 'group',     'contractors',       false, true),    -- switched off until the audit is over
    ('Quillport',  'everyone',  NULL,                true,  false),   -- selected below
    ('Quillport',  'group',     'engineering',       true,  true),
    ('Relay Desk', 'workspace', 'osint-desktop',     true,  true),
    ('Harborlight', 'group',    'support',           true,  true)
) AS mapping (provider, subject_type, subject_id, enabled, allow_all_gateways)
JOIN egress_provider ON name = provider;

INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id)
SELECT egress_provider_mapping_id, egress_gateway_id
FROM (VALUES
    ('Lanternway', 'user',      'bruno@corp.example', '{gb-lon-01,gb-lon-02,ie-dub-01}'::text[]),
    ('Lanternway', 'workspace', 'test-lab',           '{nl-ams-01,nl-ams-02,us-nyc-01}'),
    ('Quillport',  'everyone',  NULL,                 '{rotterdam,frankfurt,paris,london}')
) AS selection (provider, subject_type, subject_id, gateways)
JOIN egress_provider p ON p.name = provider
JOIN egress_provider_mapping m ON m.egress_provider_id = p.egress_provider_id
    AND m.subject_type = selection.subject_type::egress_subject_type
    AND m.subject_id IS NOT DISTINCT FROM selection.subject_id
JOIN egress_gateway g ON g.egress_provider_id = p.egress_provider_id AND g.name = ANY (gateways);

/* -------------------------------------------------------------- credentials */

-- An acquire takes the first, by id, that fits and has a connection free: the personal ones come before the pools.
INSERT INTO egress_credential
    (egress_provider_id, name, subject_type, subject_id, username, password,
     allow_all_gateways, limit_active_connections, active_connection_limit)
SELECT (SELECT egress_provider_id FROM egress_provider WHERE name = 'Lanternway'),
       name, subject_type::egress_subject_type, subject_id, username, password,
       allow_all_gateways, active_connection_limit IS NOT NULL, active_connection_limit
FROM (VALUES
    (1, 'Ana, personal',   'user',      'ana@corp.example',   'lw-ana',        'placeholder-8Kd2-vQ7x', true,  1),
    (2, 'Bruno, personal', 'user',      'bruno@corp.example', 'lw-bruno',      'placeholder-p4Zt-1nLs', true,  2),
    (3, 'Research pool',   'group',     'research',           'lw-research',   'placeholder-Yw3e-Rb6m', true,  2),
    (4, 'Test lab',        'workspace', 'test-lab',           'lw-lab',        'placeholder-T9uf-c5Hj', false, 5),
    (5, 'Contractors',     'group',     'contractors',        'lw-contractor', 'placeholder-0xGa-Nd8k', true,  5)
) AS credential (position, name, subject_type, subject_id, username, password,
                 allow_all_gateways, active_connection_limit)
ORDER BY position;

INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id)
SELECT egress_credential_id, egress_gateway_id
FROM egress_credential c
JOIN egress_provider p USING (egress_provider_id)
JOIN egress_gateway g USING (egress_provider_id)
WHERE p.name = 'Lanternway' AND c.name = 'Test lab' AND g.name IN ('nl-ams-01', 'nl-ams-02', 'us-nyc-01');

-- each key has an address that the provider gave for it, and brings up one tunnel to a gateway at a time
INSERT INTO egress_credential
    (egress_provider_id, name, subject_type, subject_id, private_key, address,
     allow_all_gateways, limit_active_connections, active_connection_limit)
SELECT (SELECT egress_provider_id FROM egress_provider WHERE name = 'Quillport'),
       name, subject_type::egress_subject_type, subject_id,
       encode(sha256(convert_to('private key of ' || name, 'UTF8')), 'base64'), format('10.64.7.%s/32', 10 + position),
       allow_all_gateways, active_connection_limit IS NOT NULL, active_connection_limit
FROM (VALUES
    (1, 'Farid, laptop key',              'user',     'farid@corp.example', true,  1),
    (2, 'Engineering, key 1',             'group',    'engineering',        true,  5),
    (3, 'Engineering, key 2',             'group',    'engineering',        true,  5),
    (4, 'Benelux and Germany, key 1',     'everyone', NULL,                 false, NULL),
    (5, 'Benelux and Germany, key 2',     'everyone', NULL,                 false, NULL)
) AS credential (position, name, subject_type, subject_id, allow_all_gateways, active_connection_limit)
ORDER BY position;

INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id)
SELECT egress_credential_id, egress_gateway_id
FROM egress_credential c
JOIN egress_provider p USING (egress_provider_id)
JOIN egress_gateway g USING (egress_provider_id)
WHERE p.name = 'Quillport' AND c.name LIKE 'Benelux and Germany, %'
  AND g.country IN ('NL', 'BE', 'LU', 'DE');

INSERT INTO egress_credential
    (egress_provider_id, name, subject_type, subject_id, custom_credential,
     limit_active_connections, active_connection_limit)
SELECT (SELECT egress_provider_id FROM egress_provider WHERE name = 'Relay Desk'),
       name, subject_type::egress_subject_type, subject_id, custom_credential,
       active_connection_limit IS NOT NULL, active_connection_limit
FROM (VALUES
    (1, 'OSINT desktop token', 'workspace', 'osint-desktop', '{"token": "placeholder-rd-51f0c2"}', 2),
    (2, 'Open relay',          'group',     'research',      NULL,                                 NULL)
) AS credential (position, name, subject_type, subject_id, custom_credential, active_connection_limit)
ORDER BY position;

INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, custom_credential)
SELECT egress_provider_id, 'Support token', 'group', 'support', 'placeholder-hl-7be2d4'
FROM egress_provider WHERE name = 'Harborlight';
