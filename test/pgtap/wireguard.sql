-- wireguard.sql -- how a WireGuard config is rendered: the credential's key, address and preshared key in their places
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE EXTENSION egress;
SELECT no_plan();
SET client_min_messages = error;

INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'bravo', 'wireguard');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');

-- filled: a text with keys in the place of K (private), S (preshared), P and Q (public), and newlines in that of |
CREATE FUNCTION filled(template text) RETURNS text LANGUAGE sql AS $$
    SELECT replace(replace(replace(replace(replace(template, '|', E'\n'), 'K.', 'KKj9BQcfDB1oC5v+x0JwnWIDcZsQO3jDsFqnkWRjxlA='),
                   'S.', 'dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo='), 'P.', 'Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg='),
                   'Q.', 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=')
$$;
-- rendered: what an acquire makes of a config, with an address, and a preshared key
CREATE FUNCTION rendered(config text, address text, preshared boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (1, 1, 'g', filled(config));
    INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key, address, preshared_key)
    VALUES (1, 1, 'c', 'everyone', filled('K.')::egress_secret, address, CASE WHEN preshared THEN filled('S.')::egress_secret END);
    SELECT a.config INTO result FROM egress_acquire_credential('ann', NULL, 1, 's') a;
    PERFORM egress_release_credential('s');
    DELETE FROM egress_gateway;
    DELETE FROM egress_credential;
    RETURN result;
END
$$;

SELECT is(rendered(config, address, preshared), filled(expected), what)
FROM (VALUES
    ('nothing of it is there',
     '[Interface]|DNS = 10.0.0.1|[Peer]|PublicKey = P.|', '10.0.0.2/32', true,
     '[Interface]|PrivateKey = K.|Address = 10.0.0.2/32|DNS = 10.0.0.1|[Peer]|PresharedKey = S.|PublicKey = P.|'),
    ('... and the credential has neither an address nor a preshared key',
     '[Interface]|DNS = 10.0.0.1|[Peer]|PublicKey = P.|', NULL, false,
     '[Interface]|PrivateKey = K.|DNS = 10.0.0.1|[Peer]|PublicKey = P.|'),
    ('all of it is there, in other places',
     '[Peer]|PublicKey = P.|PresharedKey = Q.|[Interface]|Address = 10.9.9.9|DNS = 10.0.0.1|PrivateKey = Q.|', '10.0.0.2/32, fd00::2', true,
     '[Peer]|PublicKey = P.|PresharedKey = S.|[Interface]|Address = 10.0.0.2/32, fd00::2|DNS = 10.0.0.1|PrivateKey = K.|'),
    ('... and the credential has neither an address nor a preshared key: the config''s stay',
     '[Peer]|PublicKey = P.|PresharedKey = Q.|[Interface]|Address = 10.9.9.9|Address = fd00::1|PrivateKey = Q.|', NULL, false,
     '[Peer]|PublicKey = P.|PresharedKey = Q.|[Interface]|Address = 10.9.9.9|Address = fd00::1|PrivateKey = K.|'),
    ('several lines of one name give way to one',
     '[Interface]|Address = 10.9.9.9|PrivateKey = Q.|DNS = 10.0.0.1|Address = fd00::9|PrivateKey = P.|address=10.9.9.8|[Peer]|PublicKey = P.|PresharedKey = Q.|PresharedKey = P.|',
     '10.0.0.2', true,
     '[Interface]|Address = 10.0.0.2|PrivateKey = K.|DNS = 10.0.0.1|[Peer]|PublicKey = P.|PresharedKey = S.|'),
    ('comments and spaces stay, also of lines that go',
     '# mine|[Interface] # i|  Address  =  10.9.9.9   # a|Address = fd00::9 # b|PrivateKey =# none|# c|[Peer]|PublicKey = P.#p|',
     '10.0.0.2', true,
     '# mine|[Interface] # i|  Address  =  10.0.0.2   # a|# b|PrivateKey =K.# none|# c|[Peer]|PresharedKey = S.|PublicKey = P.#p|'),
    ('names in any letter case, and with white space where wg has none',
     '[INTERFACE]|aDDRESS=10.9.9.9|Private Key=Q.|[pEER]|public key = P.|PRE SHARED KEY = Q.|', '10.0.0.2', true,
     '[INTERFACE]|aDDRESS=10.0.0.2|Private Key=K.|[pEER]|public key = P.|PRE SHARED KEY = S.|'),
    ('every peer',
     '[Interface]|[Peer]|PublicKey = P.|PresharedKey = Q.|[Peer]|PublicKey = Q.|[Peer]|PublicKey = P.|PresharedKey = Q.|PresharedKey = Q.|', NULL, true,
     '[Interface]|PrivateKey = K.|[Peer]|PublicKey = P.|PresharedKey = S.|[Peer]|PresharedKey = S.|PublicKey = Q.|[Peer]|PublicKey = P.|PresharedKey = S.|'),
    ('the section''s name is the last line, without a newline',
     '[Peer]|PublicKey = P.|[Interface]', '10.0.0.2', false, '[Peer]|PublicKey = P.|[Interface]|PrivateKey = K.|Address = 10.0.0.2'),
    ('a hook without a value', '[Interface]|PostUp =|PreDown = # none|[Peer]|PublicKey = P.', NULL, false,
     '[Interface]|PrivateKey = K.|PostUp =|PreDown = # none|[Peer]|PublicKey = P.'),
    ('a word in the place of the key', '[Interface]|PrivateKey = YOUR KEY|[Peer]|PublicKey = P.', NULL, false,
     '[Interface]|PrivateKey = K.|[Peer]|PublicKey = P.')
) AS example (what, config, address, preshared, expected);
SELECT is(rendered(replace(config, '|', E'\r|'), '10.0.0.2', true), filled(replace(expected, '|', E'\r|')), 'lines that end with CR and LF')
FROM (VALUES ('[Interface]|[Peer]|PublicKey = P.|', '[Interface]|PrivateKey = K.|Address = 10.0.0.2|[Peer]|PresharedKey = S.|PublicKey = P.|'),
             ('[Interface]|Address = 10.9.9.9|Address = fd00::9 # b|PrivateKey = Q.|PrivateKey = Q.|[Peer]|PublicKey = P.|PresharedKey = Q.|',
              '[Interface]|Address = 10.0.0.2|# b|PrivateKey = K.|[Peer]|PublicKey = P.|PresharedKey = S.|')) example (config, expected);

-- a hook with a value, in a section that has none, or without "=", which wg-quick runs as its name
SELECT throws_ok(format('SELECT rendered(%L, NULL, false)', config), 'NG007', NULL, config)
FROM unnest(ARRAY['[Interface]|PostUp = id|[Peer]|PublicKey = P.', '[Interface]|PostUp|[Peer]|PublicKey = P.',
                  '[Interface]|[Peer]|PublicKey = P.|PostUp =', '[Interface]|SaveConfig =|[Peer]|PublicKey = P.']) config;

-- what is stored of a config: all but the value of PrivateKey
CREATE FUNCTION stored(config text) RETURNS text LANGUAGE sql AS $$
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (2, 1, 'stored', filled(config))
    ON CONFLICT (egress_gateway_id) DO UPDATE SET config = EXCLUDED.config RETURNING config
$$;
SELECT is(stored(config), filled(expected), 'stored: ' || config)
FROM (VALUES
    ('[Interface]|PrivateKey = K.|[Peer]|PublicKey = P.',                '[Interface]|PrivateKey = |[Peer]|PublicKey = P.'),
    ('[Interface]|PrivateKey = |[Peer]|PublicKey = P.',                  '[Interface]|PrivateKey = |[Peer]|PublicKey = P.'),
    ('[Interface]|private key=K. # k|[Peer]|PublicKey = P.',             '[Interface]|private key= # k|[Peer]|PublicKey = P.'),
    ('[Interface]|PrivateKey = K.|PrivateKey = Q.|[Peer]|PublicKey = P.', '[Interface]|PrivateKey = |[Peer]|PublicKey = P.'),
    ('[Interface]|PrivateKey = my key K.|[Peer]|PublicKey = P.',         '[Interface]|PrivateKey = |[Peer]|PublicKey = P.'),
    ('[Interface]|Address = 10.0.0.2|[Peer]|PublicKey = P.|PresharedKey = S.', '[Interface]|Address = 10.0.0.2|[Peer]|PublicKey = P.|PresharedKey = S.')
) AS config (config, expected);
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (3, 1, 'plain', filled('[Interface]|[Peer]|PublicKey = P.'));
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (2, 'own', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
VALUES (4, 2, 'any', filled('[Interface]|PrivateKey = K.|[Peer]|PublicKey = P.|PresharedKey = S.'));
SELECT is((SELECT config FROM egress_gateway WHERE egress_gateway_id = 4),
          filled('[Interface]|PrivateKey = K.|[Peer]|PublicKey = P.|PresharedKey = S.'), 'stored: a config of custom, as it is');
SELECT results_eq($$SELECT active_key, older_key, missing_key, not_sealed FROM egress_secret_usage WHERE secret = 'config'$$,
                  $$VALUES (0::bigint, 0::bigint, 0::bigint, 1::bigint)$$, 'the one config with a preshared key is counted');
-- one that a version of before accepted, and this would not
ALTER TABLE egress_gateway DISABLE TRIGGER egress_refuse_misfit;
UPDATE egress_gateway SET config = filled('[Interface]|PostUp = id|[Peer]|PresharedKey = S.') WHERE egress_gateway_id = 3;
ALTER TABLE egress_gateway ENABLE TRIGGER egress_refuse_misfit;
SELECT is((SELECT not_sealed FROM egress_secret_usage WHERE secret = 'config'), 2::bigint, 'and one that could not be stored now');

-- what an import makes of a file
CREATE FUNCTION imported(config text) RETURNS text LANGUAGE sql AS $$
    SELECT i.config || ' -- ' || array_to_string(i.removed, '; ') FROM egress_import_config('wireguard', filled($1)) i
$$;
SELECT is(imported(config), filled(expected), 'imported: ' || config)
FROM (VALUES
    ('[Interface]|Address = 10.0.0.2|[Peer]|PublicKey = P.|',
     '[Interface]|Address = 10.0.0.2|[Peer]|PublicKey = P.| -- '),
    ('# f|[Interface]|PrivateKey = K. # k|PreUp = a|PostUp = b # c|postup=|PreDown = d|PostDown = e|FwMark = 0xca6c|SaveConfig = false|DNS = 10.0.0.1|[Peer]|PublicKey = P.|PresharedKey = S.',
     '# f|[Interface]|PrivateKey =  # k|postup=|DNS = 10.0.0.1|[Peer]|PublicKey = P.|PresharedKey = S. -- '
     'line 3: PrivateKey: Its value is left out: a lease''s key takes its place.; '
     'line 4: PreUp: wg-quick runs its value as a command on the agent.; line 5: PostUp: wg-quick runs its value as a command on the agent.; '
     'line 7: PreDown: wg-quick runs its value as a command on the agent.; line 8: PostDown: wg-quick runs its value as a command on the agent.; '
     'line 9: FwMark: It is for the routing of the agent, which sets its own.; '
     'line 10: SaveConfig: wg-quick would write the config''s file on the agent anew.'),
    ('[Interface]|Jc = 4|H1 = 1|ExcludedApplications = a.b, c|[Peer]|PublicKey = P.|PostUp = x',
     '[Interface]|[Peer]|PublicKey = P.| -- line 2: Jc: It is a key of AmneziaWG, which wg and wg-quick do not have.; '
     'line 3: H1: It is a key of AmneziaWG, which wg and wg-quick do not have.; '
     'line 4: ExcludedApplications: It is a key of WireGuard for Android, which wg and wg-quick do not have.; '
     'line 7: PostUp: wg-quick runs its value as a command on the agent.'),
    (E'\uFEFF[Interface]|[Peer]|PublicKey = P.', '[Interface]|[Peer]|PublicKey = P. -- line 1: byte order mark: wg does not read it.'),
    (E'\uFEFFPostUp = x|[Interface]|[Peer]|PublicKey = P.', '[Interface]|[Peer]|PublicKey = P. -- line 1: byte order mark: wg does not read it.; '
     'line 1: PostUp: wg-quick runs its value as a command on the agent.'),
    ('PostUp|[Interface]|[Peer]|PublicKey = P.|PostUp', '[Interface]|[Peer]|PublicKey = P.| -- '
     'line 1: PostUp: wg-quick runs its value as a command on the agent.; line 5: PostUp: wg-quick runs its value as a command on the agent.')
) AS file (config, expected);
SELECT throws_ok(format($$SELECT imported('[Interface]|Address = nowhere|PostUp = id|Colour = red|[Peer]|PublicKey = P.')$$), 'NG007',
                 'line 2 of the WireGuard config: "Address" cannot be used (and 1 more line)', 'what cannot be used is refused');

CREATE FUNCTION apart(config text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' / ', i.config, private_key, address, preshared_key, array_to_string(i.removed, '; '))
    FROM egress_import_credential('wireguard', filled($1)) i
$$;
SELECT is(apart(config), filled(expected), 'apart: ' || config)
FROM (VALUES
    ('[Interface]|PrivateKey = K.|Address = 10.0.0.2/32,fd00::2 # a|DNS = 10.0.0.1|Address = 10.0.0.3|[Peer]|PublicKey = P.|PresharedKey = S.|',
     '[Interface]|PrivateKey = |# a|DNS = 10.0.0.1|[Peer]|PublicKey = P.| / K. / 10.0.0.2/32, fd00::2, 10.0.0.3 / S. / '),
    ('[Interface]|[Peer]|PublicKey = P.|PresharedKey = S.|[Peer]|PublicKey = Q.|PresharedKey=S.',
     '[Interface]|[Peer]|PublicKey = P.|[Peer]|PublicKey = Q.| / S. / '),
    ('[Interface]|[Peer]|PublicKey = P.|PresharedKey = S.|[Peer]|PublicKey = Q.|PresharedKey = Q.',
     '[Interface]|[Peer]|PublicKey = P.|PresharedKey = S.|[Peer]|PublicKey = Q.|PresharedKey = Q. / '),
    ('[Interface]|[Peer]|PublicKey = P.|[Peer]|PublicKey = Q.|PresharedKey = Q.',
     '[Interface]|[Peer]|PublicKey = P.|[Peer]|PublicKey = Q.|PresharedKey = Q. / '),
    ('[Interface]|PrivateKey = YOUR KEY|Address =|[Peer]|PublicKey = P.|', '[Interface]|PrivateKey = |[Peer]|PublicKey = P.| / '
     'line 2: PrivateKey: Its value is left out: a lease''s key takes its place.')
) AS file (config, expected);
-- the parts and the config fit together again
SELECT is((SELECT rendered(i.config, i.address, true) FROM egress_import_credential('wireguard',
            filled('[Interface]|PrivateKey = K.|Address = 10.0.0.2/32|PostUp = x|[Peer]|PublicKey = P.|PresharedKey = S.')) i),
          filled('[Interface]|Address = 10.0.0.2/32|PrivateKey = K.|[Peer]|PresharedKey = S.|PublicKey = P.|'), 'the parts, rendered');

SELECT * FROM finish();
ROLLBACK;
