-- import.sql -- egress_import_config and egress_import_credential: what comes out, what is taken out, what is refused
--
-- The rules: what comes out passes the check of a gateway's config; each line that went, or became something else than the
-- file that it names, is in removed; what checks the server stays or is refused; no message has anything of the config or
-- of a file. test/t/configs.pl goes through the parsers' tables, openvpn and made-up configs; here is what SQL sees.
\set ECHO none
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();

-- imported -- the config of an import, with its lines separated by " | "
CREATE FUNCTION imported(source text, files jsonb DEFAULT NULL, type egress_provider_type DEFAULT 'openvpn') RETURNS text
LANGUAGE sql RETURN replace((egress_import_config(type, source, files)).config, E'\n', ' | ');
-- removed -- what it took out
CREATE FUNCTION removed(source text, files jsonb DEFAULT NULL, type egress_provider_type DEFAULT 'openvpn') RETURNS text[]
LANGUAGE sql RETURN (egress_import_config(type, source, files)).removed;
-- said -- all that the errors so far have said
CREATE TABLE said (everything text);
-- refusal -- the error of an import: its SQLSTATE, message, and detail with its lines separated by " | "
CREATE FUNCTION refusal(source text, files jsonb DEFAULT NULL, type egress_provider_type DEFAULT 'openvpn') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
    context text;
BEGIN
    PERFORM egress_import_config(type, source, files);
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    INSERT INTO said VALUES (concat_ws(' ', message, detail, hint, context));
    RETURN concat_ws(': ', state, message, replace(nullif(detail, ''), E'\n', ' | '));
END $$;

/* ------------------------------------------------------------- arguments */

SELECT throws_ok($$SELECT egress_import_config(NULL, 'x')$$, '22004', 'provider_type must not be null', 'no type');
SELECT throws_ok($$SELECT egress_import_config('openvpn', NULL)$$, '22004', 'source must not be null', 'no source');
SELECT throws_ok($$SELECT egress_import_credential(NULL, 'x')$$, '22004', 'provider_type must not be null', 'no type');
SELECT throws_ok($$SELECT egress_import_credential('custom', NULL, '{}')$$, '22004', 'source must not be null', 'no source');
SELECT is(refusal('hidden', files::jsonb), '22023: files must be a JSON object of files by name: ' || detail, 'files: ' || files)
FROM (VALUES
    ('[]',                          'It is no object.'),
    ('"hidden"',                    'It is no object.'),
    ('null',                        'It is no object.'),
    ('{"hidden": null}',            'One of the files is of type null.'),
    ('{"hidden": 5}',               'One of the files is of type number.'),
    ('{"hidden": true}',            'One of the files is of type boolean.'),
    ('{"hidden": ["hidden"]}',      'One of the files is neither a string nor an object with base64 alone.'),
    ('{"hidden": {}}',              'One of the files is neither a string nor an object with base64 alone.'),
    ('{"hidden": {"base64": 5}}',   'One of the files is neither a string nor an object with base64 alone.'),
    ('{"hidden": {"base64": "aGk=", "hidden": 1}}',
                                    'One of the files is neither a string nor an object with base64 alone.'),
    ('{"hidden": {"base64": "hidden!"}}', 'The base64 of one of the files cannot be read.')
) AS bad (files, detail);
SELECT is(egress_import_config('custom', source), ROW(source, '{}')::egress_imported_config, 'custom: as it is: ' || source)
FROM unnest(ARRAY['', 'anything', E'up x\n']) source;
SELECT is(refusal(''), 'NG007: the OpenVPN config has no remote: It needs at least one, by itself or in a <connection> block.', 'empty');
SELECT is(imported(E'client\nremote h'), 'client | remote h', 'what passes stays as it is');
SELECT is(removed(E'client\nremote h'), '{}', 'and nothing went');

/* ----------------------------------------------------------- what goes */

SELECT is(egress_import_config('openvpn', E'client\n' || line || E'\nremote h\n'),
          ROW(E'client\nremote h\n', ARRAY['line 2: ' || split_part(line, ' ', 1) || ': ' || reason])::egress_imported_config,
          'goes: ' || line)
FROM (VALUES
    ('up /etc/openvpn/update-resolv-conf',  'It runs a command on the agent.'),
    ('down "/bin/sh x"',                    'It runs a command on the agent.'),
    ('route-up x',                          'It runs a command on the agent.'),
    ('ipchange x',                          'It runs a command on the agent.'),
    ('script-security 3',                   'With 3 it hands passwords to what openvpn runs on the agent; 0, 1 and 2 are accepted.'),
    ('script-security 2 system',            'With 3 it hands passwords to what openvpn runs on the agent; 0, 1 and 2 are accepted.'),
    ('user nobody',                         'It changes the user or the directory that openvpn runs with.'),
    ('group nogroup',                       'It changes the user or the directory that openvpn runs with.'),
    ('chroot /',                            'It changes the user or the directory that openvpn runs with.'),
    ('log-append x',                        'It takes openvpn, or what it prints, away from the agent that runs it.'),
    ('daemon',                              'It takes openvpn, or what it prints, away from the agent that runs it.'),
    ('status x 10',                         'It writes a file on the agent.'),
    ('writepid x',                          'It writes a file on the agent.'),
    ('management 127.0.0.1 7505',           'It belongs to the management interface, which can control openvpn and ask it for passwords.'),
    ('setenv PATH /tmp',                    'It sets the environment of the programs that openvpn starts.'),
    ('block-outside-dns',                   'openvpn has it only on other systems or in other builds, and stops at it everywhere else.'),
    ('key-method 2',                        'openvpn 2.6 does not have it any more.'),
    ('keysize 128',                         'openvpn 2.6 does not have it any more.'),
    ('ncp-disable',                         'openvpn 2.6 does not have it any more.')
) AS gone (line, reason);
SELECT is(removed(E'client\r\n\tup x # y\r\nremote h\r\n--down y\r\nsetenv opt status z'), ARRAY[
    'line 2: up: It runs a command on the agent.',
    'line 4: down: It runs a command on the agent.',
    'line 5: status: It writes a file on the agent.'], 'in any spelling, with the numbers of the source''s lines');
SELECT is(imported(E'client\r\n\tup x # y\r\nremote h\r\n--down y\r\nsetenv opt status z'), E'client\r | remote h\r | ',
          'other lines end as they did');
SELECT is(imported(E'\uFEFFup x\nclient\nremote h\n'), E'\uFEFFclient | remote h | ', 'a byte order mark stays');
SELECT is(imported(E'client\n<connection>\nremote h\nup x\n</connection>\n'),
          'client | <connection> | remote h | </connection> | ', 'within <connection>');
SELECT is(imported(E'client\n<ca>\nup x\n</ca>\nremote h\n'), 'client | <ca> | up x | </ca> | remote h | ', 'not within a block');
SELECT is(imported(E'client\nremote h\nignore-unknown-option new-one\nnew-one a b\nsetenv opt newer\n'),
          'client | remote h | ignore-unknown-option new-one | ', 'what openvpn is told to ignore');
SELECT is(removed(E'client\nremote h\nignore-unknown-option new-one\nnew-one a b\nsetenv opt newer\n'), ARRAY[
    'line 4: unknown directive: openvpn 2.6 does not have it, and is told to ignore it.',
    'line 5: unknown directive: openvpn 2.6 does not have it, and is told to ignore it.'], 'without its name, which is none');

-- what checks the server, or what no tunnel is the same without
SELECT is(refusal(E'client\nremote h\n' || line), 'NG007: line 3 of the OpenVPN config: "' || split_part(line, ' ', 1) ||
          '" cannot be used: ' || reason, 'stays refused: ' || line)
FROM (VALUES
    ('tls-verify hidden',           'It runs a command on the agent.'),
    ('auth-user-pass-verify hidden','It runs a command on the agent.'),
    ('plugin hidden',               'It loads code into openvpn.'),
    ('config hidden',               'It reads more directives from a file on the agent.'),
    ('capath hidden',               'It reads a file on the agent.'),
    ('replay-persist hidden',       'It writes a file on the agent.'),
    ('management-external-key',     'It belongs to the management interface, which can control openvpn and ask it for passwords.'),
    ('key-method 1',                'openvpn 2.6 does not have it any more.'),
    ('http-proxy-option CUSTOM-HEADER hidden',
                                    'It takes VERSION with 1.0 or 1.1, or AGENT; more would be lines of text to any TCP port that the agent reaches.'),
    ('crl-verify hidden dir',       'It names a folder on the agent.'),
    ('ca hidden hidden',            'A parameter is missing, wrong, or too many.'),
    ('tls-auth hidden 2',           'A parameter is missing, wrong, or too many.'),
    ('ca hidden.crt',               'The file that it names is not in files.')
) AS refused (line, reason);

-- switches that leave to a script what the import takes out
SELECT is(refusal(format(E'client\nremote h\n%s\n%s', first, second)), 'NG007: line ' || line || ' of the OpenVPN config: "' || switch || '" cannot be used: '
          'It leaves to an up or route-up script what the tunnel needs, and an import takes that out.', 'stays refused: ' || first || ', ' || second)
FROM (VALUES
    ('route-noexec',            'route-up hidden',  3, 'route-noexec'),
    ('up hidden',               'route-noexec',     4, 'route-noexec'),
    ('setenv opt up hidden',    'ifconfig-noexec',  4, 'ifconfig-noexec')
) AS refused (first, second, line, switch);
SELECT is(imported(E'client\nremote h\n' || kept || E'\n' || gone), 'client | remote h | ' || kept || ' | ', 'is imported: ' || kept || ', ' || gone)
FROM (VALUES
    ('route-noexec',        'down x'),
    ('ifconfig-noexec',     'route-up x'),
    ('route-nopull',        'up x')
) AS taken (kept, gone);
SELECT is(imported(E'client\nremote h\nifconfig-noexec\nroute-noexec'), 'client | remote h | ifconfig-noexec | route-noexec', 'what no script did stays');
SELECT is(refusal(format(E'[Interface]\n%s\n%s\n[Peer]\nPublicKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\n', first, second), NULL, 'wireguard'), refusal,
          'WireGuard: ' || first || ', ' || second)
FROM (VALUES
    ('Table = off', 'PostUp = hidden', 'NG007: line 2 of the WireGuard config: "Table" cannot be used: It leaves the routes to a PreUp or PostUp, which an import takes out.'),
    ('preup=hidden', 'table=51820', 'NG007: line 3 of the WireGuard config: "Table" cannot be used: It leaves the routes to a PreUp or PostUp, which an import takes out.'),
    ('Table = off', 'PostUp =', 'accepted'),
    ('Table = off', 'PostDown = hidden', 'accepted'),
    ('Table = auto', 'PostUp = hidden', 'accepted'),
    ('Table =', 'PostUp = hidden', 'accepted'),
    ('Table = main', 'PostUp = hidden', 'accepted'),
    ('Table = off', 'MTU = 1400', 'accepted'),
    (E'Table = off\nTable = auto', 'PostUp = hidden', 'accepted')
) AS hooks (first, second, refusal);
SELECT is(refusal(E'client\nup x\nremote h\nhidden\nca hidden\ntls-verify hidden\n'),
          'NG007: line 4 of the OpenVPN config cannot be used (and 2 more lines): Line 4: It is not a directive that openvpn has. | '
          'Line 5: "ca": The file that it names is not in files. | Line 6: "tls-verify": It runs a command on the agent.',
          'a refusal names all that is left');

/* ----------------------------------------------------------------- files */

\set files '{"ca.crt": "CA\\n", "ta.key": "TA", "dir/client.crt": "CERT\\n", "client.key": "KEY\\n", "b.p12": {"base64": "AAECAw=="}, "text": {"base64": "Q0EK"}, "login.txt": "a\\nb\\n"}'
SELECT is(imported(E'client\nremote h\n' || line, :'files'), 'client | remote h | ' || block, line)
FROM (VALUES
    ('ca ca.crt',                           '<ca> | CA | </ca>'),
    ('ca "ca.crt" # of the provider',       '<ca> | CA | </ca>'),
    ('ca /etc/openvpn/ca.crt',              '<ca> | CA | </ca>'),
    ('ca "C:\\Program Files\\x\\ca.crt"',   '<ca> | CA | </ca>'),
    ('setenv opt ca ca.crt',                '<ca> | CA | </ca>'),
    ('ca text',                             '<ca> | CA | </ca>'),
    (E'ca ca.crt\r\nnobind',                E'<ca> | CA | </ca>\r | nobind'),
    (E'cert client.crt\nkey ./client.key',  '<cert> | CERT | </cert> | <key> | KEY | </key>'),
    ('tls-auth ta.key 1',                   '<tls-auth> | TA | </tls-auth> | key-direction 1'),
    ('tls-auth ta.key 0',                   '<tls-auth> | TA | </tls-auth> | key-direction 0'),
    ('tls-auth ta.key',                     '<tls-auth> | TA | </tls-auth>'),
    ('tls-crypt ta.key',                    '<tls-crypt> | TA | </tls-crypt>'),
    ('secret ta.key 1',                     '<secret> | TA | </secret> | key-direction 1'),
    ('crl-verify ca.crt',                   '<crl-verify> | CA | </crl-verify>'),
    ('extra-certs ca.crt',                  '<extra-certs> | CA | </extra-certs>'),
    ('dh ca.crt',                           '<dh> | CA | </dh>'),
    ('dh none',                             'dh none'),
    ('http-proxy-user-pass login.txt',      '<http-proxy-user-pass> | a | b | </http-proxy-user-pass>'),
    ('pkcs12 b.p12',                        '<pkcs12> | AAECAw== | </pkcs12>'),
    (E'<connection>\nremote h\ntls-auth ta.key 1\n</connection>',
                                            '<connection> | remote h | <tls-auth> | TA | </tls-auth> | key-direction 1 | </connection>'),
    (E'tls-auth [inline] 1\n<tls-auth>\nx\n</tls-auth>',
                                            'key-direction 1 | <tls-auth> | x | </tls-auth>'),
    (E'ca [inline]\n<ca>\nx\n</ca>',        '<ca> | x | </ca>')
) AS good (line, block);
SELECT is(refusal(E'client\n<connection>\nremote h\n' || line || E'\n</connection>\n<tls-auth>\nx\n</tls-auth>', :'files'),
          'NG007: line 4 of the OpenVPN config: "' || split_part(line, ' ', 1) || '" cannot be used: ' || reason, 'in <connection>: ' || line)
FROM (VALUES
    ('ca ca.crt',           'It reads a file on the agent.'),
    ('secret ta.key 1',     'It reads a file on the agent.'),
    ('tls-remote x',        'openvpn 2.6 does not have it any more.'),
    ('tls-auth [inline] 1', 'The file that it names is not in files.')
) AS bad (line, reason);
SELECT is(removed(E'client\nremote h\nca x/ca.crt\ntls-auth ta.key 1', :'files'), '{}', 'a file in its own place is not listed');
SELECT is(removed(E'client\nremote h\nca [inline]\n<ca>\nx\n</ca>'), ARRAY['line 3: ca: It only says that the content is a block.'],
          'an old marker is');
SELECT is(refusal(E'client\nremote h\nca [inline]'), 'NG007: line 3 of the OpenVPN config: "ca" cannot be used: '
          'It says [inline], and there is no block with the content.', 'and needs its block');
SELECT is(refusal(E'client\nremote h\n' || line, files::jsonb),
          'NG007: line 3 of the OpenVPN config: "' || split_part(line, ' ', 1) || '" cannot be used: ' || reason, line || ' of ' || files)
FROM (VALUES
    ('ca CA.crt',   '{"ca.crt": "hidden"}',                             'The file that it names is not in files.'),
    ('ca ca.crt',   '{"a/ca.crt": "hidden", "b/ca.crt": "other"}',      'More than one of files has the name of the one that it names.'),
    ('ca ca.crt',   '{"ca.crt": ""}',                                   'Its file is empty, or is no text.'),
    ('ca ca.crt',   '{"ca.crt": {"base64": "AAECAw=="}}',               'Its file is empty, or is no text.'),
    ('ca ca.crt',   '{"ca.crt": {"base64": "/w=="}}',                   'Its file is empty, or is no text.'),
    ('ca ca.crt',   '{"ca.crt": "hidden\u0001"}',                       'Its file is empty, or is no text.'),
    ('ca ca.crt',   '{"ca.crt": "hidden\rup x\n"}',                     'Its file is empty, or is no text.'),
    ('ca ca.crt',   '{"ca.crt": "hidden\n</ca>\nup x\n<ca>\n"}',        'Its file has "</", with which openvpn would take the block to end.'),
    ('pkcs12 a',    '{"a": "hidden"}',                                  'Its file is a binary one, and was given as text.'),
    ('pkcs12 a',    '{"a": {"base64": ""}}',                            'Its file is a binary one, and was given as text.')
) AS bad (line, files, reason);
SELECT is(imported(E'client\nremote h\nca b/ca.crt', '{"a/ca.crt": "A", "b/ca.crt": "B"}'), 'client | remote h | <ca> | B | </ca>',
          'a path as it is comes first');
SELECT is(imported(E'client\nremote h\nca ca.crt', '{"a/ca.crt": "A", "b/ca.crt": "A"}'), 'client | remote h | <ca> | A | </ca>',
          'the same file twice is one');
SELECT is(refusal(E'client\nremote h\n<cert>\n</cert>\nkey a', jsonb_build_object('a', E'-----BEGIN ENCRYPTED PRIVATE KEY-----\nhidden\n')),
          'NG007: line 5 of the OpenVPN config: "key" cannot be used: It has a passphrase, for which openvpn would ask '
          'at the agent''s console.', 'a key with a passphrase');
SELECT is(length(imported(E'client\nremote h\nca a', jsonb_build_object('a', repeat(E'0123456789\n', 100000)))), 1300032,
          'a large file');
SELECT is(refusal(E'client\nremote h 443 tcp\ntls-crypt-v2 a', '{"a": "hidden"}'),
          'NG007: line 3 of the OpenVPN config: "tls-crypt-v2" cannot be used: Over TCP its wrapped key, which may be lines of text, '
          'would go as it is to any port that the agent reaches.', 'a client key over TCP');
SELECT is(imported(E'client\nremote h\ntls-crypt-v2 a', '{"a": "A"}'), 'client | remote h | <tls-crypt-v2> | A | </tls-crypt-v2>',
          'and over UDP');
SELECT is(refusal(repeat(E'hidden\n', 5000) || E'remote h\n') ~ '^NG007: line 1 of .* \(and 4999 more lines\).*\| and 4900 more$', true,
          'many bad lines');

-- what was tls-remote
SELECT is(imported(E'client\nremote h\ntls-remote "a \\"b\\\\"\n'), 'client | remote h | verify-x509-name "a \"b\\" name-prefix | ',
          'tls-remote with a common name');
SELECT is(removed(E'client\nremote h\ntls-remote vpn.example\n'), ARRAY[
    'line 3: tls-remote: It has become verify-x509-name with name-prefix, which is the same for a common name.'], 'is listed');
SELECT is(refusal(E'client\nremote h\ntls-remote ' || name), 'NG007: line 3 of the OpenVPN config: "tls-remote" cannot be used: '
          'It names more than a common name, in a form that openvpn does not have any more.', 'tls-remote with more: ' || left(name, 40))
FROM unnest(ARRAY['/C=NL/CN=hidden', 'CN=hidden', '"C=NL, CN=hidden"', repeat('x', 65), '""', 'a b']) name;
SELECT is(refusal(E'client\nremote h\nverify-x509-name hidden name\ntls-remote hidden'), 'NG007: line 4 of the OpenVPN config: '
          '"tls-remote" cannot be used: It is a second check of the server''s name, beside verify-x509-name.', 'one check of the name');

/* --------------------------------------------------- what a credential has */

SELECT is(to_jsonb(egress_import_credential('openvpn', source, :'files')) - '{config,removed}'::text[],
          to_jsonb(ROW(NULL, NULL, username, password, certificate, key, NULL, NULL, NULL)::egress_imported_credential) - '{config,removed}'::text[],
          what)
FROM (VALUES
    ('a login in a block', E'client\nremote h\n<auth-user-pass>\nann\nsecret\n</auth-user-pass>\n', 'ann', 'secret', NULL, NULL),
    ('with carriage returns', E'client\r\nremote h\r\n<auth-user-pass>\r\nann\r\nsecret\r\n</auth-user-pass>\r\n', 'ann', 'secret', NULL, NULL),
    ('half a login', E'client\nremote h\n<auth-user-pass>\nann\n</auth-user-pass>\n', NULL, NULL, NULL, NULL),
    ('certificates in blocks', E'client\nremote h\n<cert>\nC\n</cert>\n<key>\nK\n</key>\n', NULL, NULL, E'C\n', E'K\n'),
    ('in files', E'client\nremote h\ncert client.crt\nkey client.key', NULL, NULL, E'CERT\n', E'KEY\n'),
    ('a login in a file that is missing', E'client\nremote h\nauth-user-pass x\n', NULL, NULL, NULL, NULL),
    ('nothing', E'client\nremote h\nauth-user-pass\n', NULL, NULL, NULL, NULL)
) AS parts (what, source, username, password, certificate, key);
SELECT is((egress_import_credential('openvpn', E'client\nremote h\n<auth-user-pass>\n' || login || '</auth-user-pass>')).removed,
          ARRAY['line 3: auth-user-pass: It has no line with a username and a line with a password: there is no login for a credential.'],
          'half a login is told of: ' || quote_literal(login))
FROM unnest(ARRAY[E'ann\n', E'ann\n\n', E'\nsecret\n']) login;
SELECT is((egress_import_credential('openvpn', E'client\nremote h\n<auth-user-pass>\nann\nsecret\n</auth-user-pass>')).removed, '{}', 'and a whole one not');
SELECT is(replace((egress_import_credential('openvpn', E'client\nup x\n<auth-user-pass>\na\nb\n</auth-user-pass>\nremote h\n<cert>\nC\n</cert>\n<key>\nK\n</key>\nnobind\n')).config,
          E'\n', ' | '), 'client | auth-user-pass | remote h | nobind | ', 'and not in the config');
SELECT is(egress_import_credential('openvpn', E'client\nremote h\nauth-user-pass dir/login.txt\nca ca.crt',
                                    '{"login.txt": "ann\r\nsecret\r\n", "ca.crt": "CA\n"}'),
          ROW(E'client\nremote h\nauth-user-pass dir/login.txt\n<ca>\nCA\n</ca>', '{}', 'ann', 'secret', NULL, NULL, NULL, NULL, NULL)::egress_imported_credential,
          'a login in a file');
SELECT is(egress_import_credential('custom', 'x'), ROW('x', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL)::egress_imported_credential, 'custom');

/* ------------------------------------------------------------ what is said */

SELECT cmp_ok((SELECT count(*) FROM said), '>', 40::bigint, 'all that was said is known');
SELECT is_empty($$SELECT * FROM said WHERE everything ~ 'hidden'$$, 'and shows nothing of a config or a file');

-- what comes out is a config that a gateway can have
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'p', 'openvpn');
SELECT lives_ok($$INSERT INTO egress_gateway (egress_provider_id, name, config)
    SELECT 1, 'g', (egress_import_config('openvpn', E'client\nremote h\nup x\nca ca.crt\ntls-remote a', '{"ca.crt": "x"}')).config$$,
    'it passes the check');

SELECT * FROM finish();
