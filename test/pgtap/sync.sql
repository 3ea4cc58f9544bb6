-- sync.sql -- egress_sync_gateways: a managed provider's gateways become those of a list
--
-- The actions, what is refused and what a refusal says, the pace with 20,000 gateways, and which rows are written.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION egress;
SELECT no_plan();

INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed, enable_new_managed_gateways) VALUES
    (1, 'wireguard', 'wireguard', true, true), (2, 'openvpn', 'openvpn', true, false),
    (3, 'custom', 'custom', true, true), (4, 'by hand', 'custom', false, true);
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (900001, 4, 'a'), (900002, 4,
    'by hand');

CREATE FUNCTION wireguard(key text) RETURNS text LANGUAGE sql AS $$
    SELECT E'[Interface]\nAddress = 10.0.0.2/32\n\n[Peer]\nEndpoint = vpn.example.net:51820\nAllowedIPs = 0.0.0.0/0\n'
           'PublicKey = ' || encode(sha256(key::bytea), 'base64')
$$;
CREATE FUNCTION entry(name text, country text, city text, config text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('name', name, 'country', country, 'city', city, 'config', config)
$$;
-- every column of the rows of a provider, and where they are; a row that is written again, or locked, differs
CREATE FUNCTION stored(provider bigint) RETURNS TABLE (name text, stored text) LANGUAGE sql AS $$
    SELECT name, concat_ws(' ', ctid, xmin, xmax, g) FROM egress_gateway g WHERE egress_provider_id = provider
$$;

/* -------------------------------------------------------------- actions */

CREATE TABLE answer (number bigint, action text, egress_gateway_id bigint, name text);
CREATE PROCEDURE sync(provider bigint, list jsonb) LANGUAGE sql AS $$
    TRUNCATE answer;
    INSERT INTO answer SELECT row_number() OVER (), * FROM egress_sync_gateways(provider, list);
$$;
CREATE FUNCTION answered() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT action || ' ' || name FROM answer ORDER BY number
$$;

CALL sync(3, jsonb_build_array(entry('b', 'NL', 'Delft', 'config of b'), '{"name": "a"}'::jsonb,
    '{"name": "B", "country": null, "city": null, "config": null}'::jsonb,
    entry('d', 'DE', NULL, ''), '{"name": "c", "port": 1194, "nested": {"name": "z", "x": [{"name": 5}]},
                                  "withdrawn": true, "enabled": false}'::jsonb));
SELECT results_eq('SELECT answered()', ARRAY['added b', 'added a', 'added B', 'added d', 'added c'],
                  'new gateways are added, in the order of the list; names that differ in case are different');
SELECT results_eq('SELECT a.name, g.name FROM answer a LEFT JOIN egress_gateway g USING (egress_gateway_id)
                   ORDER BY egress_gateway_id',
                  $$VALUES ('b', 'b'), ('a', 'a'), ('B', 'B'), ('d', 'd'), ('c', 'c')$$,
                      'with their ids, which ascend with the list');
SELECT results_eq('SELECT name, country, city, config, enabled, withdrawn, provider_type::text
                   FROM egress_gateway WHERE egress_provider_id = 3 ORDER BY egress_gateway_id', $$VALUES
    ('b', 'NL', 'Delft', 'config of b', true, false, 'custom'), ('a', NULL, NULL, NULL, true, false, 'custom'),
    ('B', NULL, NULL, NULL, true, false, 'custom'), ('d', 'DE', NULL, '', true, false, 'custom'),
    ('c', NULL, NULL, NULL, true, false, 'custom')$$,
    'as listed: absent and null are NULL, other keys are ignored, enabled as enable_new_managed_gateways has it');
SELECT results_eq($$SELECT action, name FROM egress_sync_gateways(2, '[{"name": "a"}]')$$, $$VALUES ('added', 'a')$$,
                  'another provider''s gateway of the same name is another one');
SELECT ok(NOT enabled, 'and is added disabled where enable_new_managed_gateways is off')
FROM egress_gateway WHERE egress_provider_id = 2;

-- a list with one of each
UPDATE egress_gateway SET enabled = false WHERE egress_provider_id = 3 AND name IN ('a', 'b', 'd');
UPDATE egress_provider SET enable_new_managed_gateways = false WHERE egress_provider_id = 3;
CREATE TEMP TABLE before AS SELECT * FROM stored(3);
CALL sync(3, jsonb_build_array('{"name": "c"}'::jsonb, '{"name": "e"}'::jsonb, entry('b', 'BE', 'Delft',
    'config of b')));
SELECT set_eq('SELECT answered()', ARRAY['unchanged c', 'added e', 'updated b', 'withdrawn a', 'withdrawn B',
              'withdrawn d'],
              'unchanged, added, updated, withdrawn');
SELECT results_eq($$SELECT name FROM answer WHERE action = 'withdrawn' ORDER BY number$$,
                  $$SELECT name FROM answer WHERE action = 'withdrawn' ORDER BY name$$, 'the withdrawn by name');
SELECT results_eq('SELECT action FROM answer ORDER BY number LIMIT 3', ARRAY['unchanged', 'added', 'updated'],
                  'after those of the list, which are in its order');
SELECT results_eq('SELECT a.name, g.egress_provider_id
                   FROM answer a JOIN egress_gateway g USING (egress_gateway_id, name) ORDER BY number',
                  'SELECT name, 3::bigint FROM answer ORDER BY number', 'each with its id');
SELECT results_eq('SELECT name, country, enabled, withdrawn
                   FROM egress_gateway WHERE egress_provider_id = 3 ORDER BY egress_gateway_id', $$VALUES
    ('b', 'BE', false, false), ('a', NULL, false, true), ('B', NULL, true, true), ('d', 'DE', false, true),
    ('c', NULL, true, false), ('e', NULL, false, false)$$,
    'the administrator''s enabled stays; withdrawn gateways keep their rest');
SELECT results_eq('SELECT name FROM before JOIN stored(3) USING (name, stored)', ARRAY['c'],
                  'what is unchanged is not written');

-- already withdrawn and still missing: no row, nothing written; back again, changed or not
CREATE TEMP TABLE before_2 AS SELECT * FROM stored(3);
CALL sync(3, jsonb_build_array(entry('d', 'DE', NULL, ''), entry('a', 'AT', 'Graz', NULL), '{"name": "e"}'::jsonb,
    entry('b', 'BE', 'Delft', NULL)));
SELECT results_eq('SELECT answered()', ARRAY['returned d', 'returned a', 'unchanged e', 'updated b', 'withdrawn c'],
                  'returned, whether its columns changed or not; what was withdrawn before is not reported');
SELECT results_eq('SELECT name, country, city, config, enabled, withdrawn
                   FROM egress_gateway WHERE egress_provider_id = 3 ORDER BY egress_gateway_id', $$VALUES
    ('b', 'BE', 'Delft', NULL, false, false), ('a', 'AT', 'Graz', NULL, false, false), ('B', NULL, NULL, NULL, true,
        true),
    ('d', 'DE', NULL, '', false, false), ('c', NULL, NULL, NULL, true, true), ('e', NULL, NULL, NULL, false, false)$$,
    'returned gateways are as listed, and as enabled as they were; a config that is gone is NULL');
SELECT set_eq('SELECT name FROM before_2 JOIN stored(3) USING (name, stored)', ARRAY['B', 'e'],
              'the others are not written');

-- each column by itself makes an update
SELECT results_eq(format($$SELECT action FROM egress_sync_gateways(3, jsonb_build_array(entry('b', %L, %L, %L)))
                           WHERE name = 'b'$$, country, city, config), ARRAY['updated'], 'updated: ' || what)
FROM (VALUES ('config, from NULL', 'BE', 'Delft', 'x'), ('config', 'BE', 'Delft', 'y'), ('city', 'BE', 'Gent', 'y'),
    ('country', 'NL', 'Gent', 'y'),
             ('country, to NULL', NULL, 'Gent', 'y'), ('city, to NULL', NULL, NULL, 'y'), ('config, to empty', NULL,
                 NULL, '')) AS change (what, country, city, config);
SELECT results_eq($$SELECT action FROM egress_sync_gateways(3, jsonb_build_array(entry('b', NULL, NULL, '')))$$,
                  ARRAY['unchanged'], 'and then it is unchanged');

-- names that look the same are different; lengths are in bytes
CALL sync(3, jsonb_build_array(entry(U&'S\00E3o', NULL, NULL, NULL), entry(U&'Sa\0303o', NULL, NULL, NULL),
    entry(repeat('é', 127) || 'n', repeat('é', 127), repeat('é', 127), NULL)));
SELECT is((SELECT count(*) FROM answer WHERE action = 'added'), 3::bigint,
          'two normal forms are two names; 255 bytes are not too long');

-- an empty list, twice in one transaction, and within a statement that uses the function more than once
BEGIN;
SELECT is(count(*) FILTER (WHERE action = 'withdrawn'), 3::bigint, 'an empty list withdraws all')
          FROM egress_sync_gateways(3, '[]');
SELECT is_empty($$SELECT * FROM egress_sync_gateways(3, '[]')$$, 'once');
SELECT results_eq($$SELECT action FROM egress_sync_gateways(3, '[{"name": "a"}, {"name": "f"}]')$$, ARRAY['returned',
                  'added'],
                  'a sync sees what an earlier one of its transaction did');
COMMIT;
SELECT results_eq($$SELECT (egress_sync_gateways(3, list::jsonb)).action
                    FROM (VALUES ('[{"name": "a"}]'), ('[{"name": "f"}]'), ('[{"name": "f"}]')) AS lists (list)$$,
                  ARRAY['unchanged', 'withdrawn', 'returned', 'withdrawn', 'unchanged'],
                  'and what an earlier one of its statement did');

-- a withdrawn gateway is off the menu, its sessions stay, and nobody is given it
UPDATE egress_gateway SET enabled = true WHERE name = 'f';
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (3, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (3, 'c', 'everyone');
SELECT results_eq($$SELECT gateway_name FROM egress_available_gateways('ann')$$, ARRAY['f'],
                  'the menu has what the list has');
SELECT egress_gateway_id AS f FROM egress_available_gateways('ann') \gset
SELECT is(gateway_name, 'f', 'a session on it') FROM egress_acquire_credential('ann', NULL, :f, 's1');
SELECT is(count(*), 1::bigint, 'is withdrawn under it') FROM egress_sync_gateways(3, '[]') WHERE action = 'withdrawn';
SELECT is_empty($$SELECT * FROM egress_available_gateways('ann')$$, 'and is off the menu');
SELECT throws_ok(format($$SELECT egress_acquire_credential('bob', NULL, %s, 's2')$$, :f), 'NG002', NULL,
                 'and cannot be acquired');
SELECT is(gateway_name, 'f', 'the session stays') FROM egress_connection;

/* ------------------------------------------------------------- refusals */

-- What a sync is refused with: SQLSTATE, message, and a detail of its own. The list stands in a statement within a
-- function, as what surrounds an error would show it.
CREATE TABLE said (everything text);
CREATE FUNCTION refusal(provider bigint, list text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text; message text; detail text; hint text; context text; names text;
BEGIN
    EXECUTE format('SELECT count(*) FROM egress_sync_gateways(%L, %L)', provider, list);
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                            hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    INSERT INTO said VALUES (concat_ws(E'\n', message, detail, hint, context));
    RETURN concat_ws(' | ', code, message, CASE WHEN code <> 'NG007' THEN nullif(detail, '') END);
END $$;

SELECT is(count(*), 2::bigint, 'a provider with two gateways')
FROM egress_sync_gateways(1, jsonb_build_array(entry('a', 'NL', 'Delft', wireguard('a')), entry('b', 'BE', 'Gent',
    wireguard('b'))));
CREATE TEMP TABLE before_refusals AS SELECT p, s.* FROM generate_series(1, 4) p, stored(p) s;

-- each list would add "new", update "a" and withdraw "b", were it not for its third entry
CREATE FUNCTION refusal_of(entry text) RETURNS text LANGUAGE sql AS $$
    SELECT refusal(1, format('[{"name": "new"}, {"name": "a", "country": "XX"}, %s]', entry))
$$;
SELECT is(refusal_of(entry), '22023 | entry 3 of the list is malformed | ' || detail,
          'no name that can be read: ' || entry)
FROM (VALUES
    ('5',                               'It is of type number.'),
    ('null',                            'It is of type null.'),
    ('"hidden"',                        'It is of type string.'),
    ('[]',                              'It is of type array.'),
    ('[{"name": "c"}]',                 'It is of type array.'),
    ('{}',                              'It has no name.'),
    ('{"Name": "c"}',                   'It has no name.'),
    ('{"name": null}',                  'Its name is of type null; it has to be a string.'),
    ('{"name": 7}',                     'Its name is of type number; it has to be a string.'),
    ('{"name": {"name": "c"}}',         'Its name is of type object; it has to be a string.'),
    ('{"name": ""}',                    'Its name has 0 bytes; it has to have 1 to 255.'),
    (format('{"name": "%s"}', repeat('é', 128)), 'Its name has 256 bytes; it has to have 1 to 255.')
) AS bad (entry, detail);
SELECT is(refusal_of(format('{"name": "c", %s}', field)),
          '22023 | entry 3 of the list ("c") is malformed | ' || detail, field)
FROM (VALUES
    ('"country": 31',                   'Its country is of type number; it has to be a string.'),
    ('"country": ""',                   'Its country has 0 bytes; it has to have 1 to 255.'),
    (format('"country": "%s"', repeat('x', 256)), 'Its country has 256 bytes; it has to have 1 to 255.'),
    ('"city": true',                    'Its city is of type boolean; it has to be a string.'),
    ('"city": ""',                      'Its city has 0 bytes; it has to have 1 to 255.'),
    (format('"city": "%s"', repeat('x', 256)), 'Its city has 256 bytes; it has to have 1 to 255.'),
    ('"config": ["hidden"]',            'Its config is of type array; it has to be a string.'),
    ('"config": {"hidden": 1}',         'Its config is of type object; it has to be a string.')
) AS bad (field, detail);
SELECT is(refusal_of('{"name": "new", "config": "hidden"}'),
          '22023 | entry 3 of the list ("new") repeats the name of entry 1 | '
          'A gateway is known by its name, which is unique within its provider.', 'a name that comes twice');
SELECT is(refusal_of(format('{"name": "c", "config": "%s"}', config)), 'NG007 | entry 3 of the list ("c"): ' || message,
          'a config that does not fit: ' || config)
FROM (VALUES
    ('',                                'the WireGuard config has no [Interface]'),
    ('[Interface]\nPostUp = hidden',    'line 2 of the WireGuard config: "PostUp" cannot be used (and 1 more problem)')
) AS bad (config, message);
SELECT is(refusal(1, '[{"name": "new"}, {"name": "b", "config": "[Interface]\nhidden"},
                       {"name": "c", "config": "hidden"}]'),
          'NG007 | entry 2 of the list ("b"): line 2 of the WireGuard config cannot be used (and 1 more problem)',
          'the config of a known gateway is checked too, and the first bad one is named');
SELECT is(refusal(2, '[{"name": "a", "config": "remote a\nup hidden"}]'),
          'NG007 | entry 1 of the list ("a"): line 2 of the OpenVPN config: "up" cannot be used',
              'as the provider''s type has it: OpenVPN');

SELECT is(refusal(1, list), '22023 | gateways must be a JSON array', 'no array: ' || list)
FROM unnest(ARRAY['{}', '{"name": "a"}', '"hidden"', 'null', '5']) list;
SELECT is(refusal(999, '[{"name": "a"}]'), '22023 | provider 999 does not exist', 'no such provider');
SELECT is(refusal(4, '[{"name": "a"}]'), '55000 | provider 4 "by hand" is not managed | '
          'Its gateways are made by hand; a list would withdraw those that it does not have.',
              'a provider that is not managed');
SELECT is(split_part(refusal(NULL, '[]'), ' |', 1), '22004', 'no provider');
SELECT is(split_part(refusal(1, NULL), ' |', 1), '22004', 'no list');

SELECT set_eq('SELECT p, s.* FROM generate_series(1, 4) p, stored(p) s', 'SELECT * FROM before_refusals',
              'no refusal changed anything');
SELECT cmp_ok((SELECT count(*) FROM said), '>', 30::bigint, 'all that was said is known');
SELECT is_empty($$SELECT * FROM said WHERE everything ~ 'hidden'$$,
                'and shows nothing of a config, nor of the statement');

BEGIN READ ONLY;
SELECT throws_ok($$SELECT egress_sync_gateways(3, '[]')$$, '25006',
                 'cannot execute egress_sync_gateways() in a read-only transaction', 'a read-only transaction');
ROLLBACK;

-- what was stored before is not checked again
ALTER TABLE egress_gateway DISABLE TRIGGER egress_refuse_misfit;
UPDATE egress_gateway SET config = 'of old' WHERE egress_provider_id = 1 AND name = 'a';
ALTER TABLE egress_gateway ENABLE TRIGGER egress_refuse_misfit;
CREATE TEMP TABLE checked (name text);
CREATE FUNCTION note_check() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO checked VALUES (new.name);
    RETURN new;
END $$;
CREATE TRIGGER note_check BEFORE INSERT OR UPDATE OF config ON egress_gateway
    FOR EACH ROW EXECUTE FUNCTION note_check();
SELECT results_eq($$SELECT action FROM egress_sync_gateways(1, jsonb_build_array(
                        entry('a', 'DE', 'Ulm', 'of old'), entry('b', 'BE', 'Gent', wireguard('B')), entry('c', NULL,
                            NULL, NULL)))$$,
                  ARRAY['updated', 'updated', 'added'], 'a config that stays');
SELECT results_eq('SELECT name FROM checked ORDER BY name', ARRAY['b', 'c'],
                  'is not checked again; new and changed ones are');
DROP TRIGGER note_check ON egress_gateway;

/* ---------------------------------- a list that would withdraw too much */

-- a provider with gateways 1 to n, in a savepoint of the outcome's own: what became of a list with those from a number on
INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed) VALUES (5, 'Many', 'custom', true);
CREATE FUNCTION outcome(n int, first int, more text DEFAULT '', before text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    gone int; code text; message text; detail text; hint text;
BEGIN
    INSERT INTO egress_gateway (egress_provider_id, name) SELECT 5, i FROM generate_series(1, n) i;
    EXECUTE before;
    BEGIN
        EXECUTE format('SELECT count(*) FILTER (WHERE action = ''withdrawn'') FROM egress_sync_gateways(5, $1%s)', more) INTO gone
        USING (SELECT coalesce(jsonb_agg(jsonb_build_object('name', i::text)), '[]') FROM generate_series(first, n) i);
        message := gone || ' withdrawn';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                hint = PG_EXCEPTION_HINT;
        IF (SELECT count(*) FROM egress_gateway WHERE egress_provider_id = 5) <> n THEN
            message := message || ' and something was changed';
        END IF;
    END;
    RAISE SQLSTATE 'OK000' USING MESSAGE = concat_ws(' | ', code, message, detail, hint);
EXCEPTION WHEN SQLSTATE 'OK000' THEN
    RETURN SQLERRM;
END $$;
SELECT is(outcome(40, 41), 'NG010 | the list would withdraw 40 of the 40 gateways of provider 5 "Many" | '
          'That is more than max_withdrawn, a share of 0.5, and nothing was changed. | '
          'Look whether the list is whole. If it is, give egress_sync_gateways() a max_withdrawn of 1.', 'an empty list is refused');
SELECT is(split_part(outcome(n, first, more), ' of the ', 1), said, format('%s of %s: %s', first - 1, n, coalesce(nullif(more, ''), 'by default')))
FROM (VALUES (9, 10, '', '9 withdrawn'), (10, 11, '', 'NG010 | the list would withdraw 10'),
             (20, 11, '', '10 withdrawn'), (21, 12, '', 'NG010 | the list would withdraw 11'), (22, 12, '', '11 withdrawn'),
             (40, 41, ', 1', '40 withdrawn'), (40, 41, ', max_withdrawn => 1.0', '40 withdrawn'),
             (40, 41, ', 0.999', 'NG010 | the list would withdraw 40'),
             (40, 10, ', 0', '9 withdrawn'), (40, 11, ', 0', 'NG010 | the list would withdraw 10'),
             (100, 30, ', 0.29', '29 withdrawn'), (100, 31, ', 0.29', 'NG010 | the list would withdraw 30')) t (n, first, more, said);
SELECT is(outcome(24, 11, '', 'UPDATE egress_gateway SET withdrawn = true WHERE egress_provider_id = 5 AND name::int > 12'),
          'NG010 | the list would withdraw 10 of the 12 gateways of provider 5 "Many" | '
          'That is more than max_withdrawn, a share of 0.5, and nothing was changed. | '
          'Look whether the list is whole. If it is, give egress_sync_gateways() a max_withdrawn of 1.',
          'those that are withdrawn already do not count, also when they return');
SELECT is(split_part(outcome(40, 41, ', ' || share), ' | ', 1) || ' ' || split_part(outcome(1, 1, ', ' || share), ' | ', 1),
          state || ' ' || state, 'a max_withdrawn of ' || share)
FROM (VALUES ('NULL', '22004'), ('-0.001', '22023'), ('1.001', '22023'), ('''NaN''', '22023'), ('''Infinity''', '22023'),
             ('''-Infinity''', '22023'), ('50', '22023')) t (share, state);
SELECT is(outcome(40, 41, ', 50'), '22023 | max_withdrawn must be from 0 to 1 | '
          'It is 50; the share of the provider''s gateways that the list may withdraw is meant. | ', 'not a percentage');
-- as it was declared in version 0.9, which this library serves
CREATE FUNCTION egress_sync_of_old(egress_provider_id bigint, gateways jsonb,
    OUT action text, OUT egress_gateway_id bigint, OUT name text) RETURNS SETOF record
AS '$libdir/egress', 'egress_sync_gateways' LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
INSERT INTO egress_gateway (egress_provider_id, name) SELECT 5, i FROM generate_series(1, 10) i;
SELECT throws_ok($$SELECT egress_sync_of_old(5, '[]')$$, 'NG010', NULL, 'without the argument it is the default');
SELECT results_eq($$SELECT action, count(*) FROM egress_sync_of_old(5, '[{"name": "1"}, {"name": "2"}]') GROUP BY 1 ORDER BY 1$$,
                  $$VALUES ('unchanged', 2::bigint), ('withdrawn', 8::bigint)$$, 'and else it works');
DROP FUNCTION egress_sync_of_old(bigint, jsonb);

/* ----------------------------------------------------------------- pace */

CREATE TABLE list (gateways jsonb);
INSERT INTO list
SELECT jsonb_agg(entry('gateway-' || i, 'C' || i % 60, 'City ' || i % 900,
    format(E'client\ndev tun\nproto udp\nremote gateway-%s.example.net 1194\nresolv-retry infinite\nnobind\n'
           'persist-key\npersist-tun\nremote-cert-tls server\ndata-ciphers AES-256-GCM:CHACHA20-POLY1305\n'
           'auth SHA256\nauth-user-pass\nverb 3\n<ca>\n-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n</ca>\n',
           i, encode((SELECT string_agg(sha256((i || '-' || n)::bytea), '') FROM generate_series(1, 16) n),
               'base64'))) ORDER BY i)
FROM generate_series(1, 20000) i;
CREATE FUNCTION seconds(attempt integer DEFAULT 1, OUT seconds numeric, OUT actions jsonb) LANGUAGE plpgsql AS $$
DECLARE
    list jsonb := gateways FROM list;
    began timestamptz := clock_timestamp();
BEGIN
    SELECT jsonb_object_agg(action, count) INTO actions
    FROM (SELECT action, count(*) FROM egress_sync_gateways(2, list) GROUP BY action) counted;
    seconds := extract(epoch FROM clock_timestamp() - began);
END $$;

SELECT egress_sync_gateways(2, '[]') AS emptied \gset
SELECT seconds, actions FROM seconds() \gset
SELECT is(:'actions'::jsonb, '{"added": 20000}', '20,000 gateways are added');
SELECT cmp_ok(:seconds, '<', 20.0, 'in seconds');
SELECT diag('20,000 gateways added in ' || :seconds || ' s');

CREATE TEMP TABLE rows AS SELECT * FROM stored(2);
CREATE TABLE again AS SELECT s.* FROM generate_series(1, 5) n, seconds(n) s;
SELECT results_eq('SELECT actions::text FROM again', $$SELECT '{"unchanged": 20000}' FROM generate_series(1, 5)$$,
                  'the same list again: all are unchanged');
SELECT cmp_ok((SELECT min(seconds) FROM again), '<', 5.0, 'in less');
SELECT diag('the same list again in ' || min(seconds) || ' s') FROM again;
SELECT is((SELECT count(*) FROM rows JOIN stored(2) USING (name, stored)), 20001::bigint,
          'and no row is written, or locked');

-- ten change their city, ten are removed
UPDATE list SET gateways = (
    SELECT jsonb_agg(CASE WHEN number BETWEEN 101 AND 110 THEN jsonb_set(entry, '{city}',
        '"Elsewhere"') ELSE entry END ORDER BY number)
    FROM jsonb_array_elements(gateways) WITH ORDINALITY AS e (entry, number) WHERE number NOT BETWEEN 201 AND 210);
SELECT is(actions, '{"updated": 10, "unchanged": 19980, "withdrawn": 10}', 'ten that change and ten that go')
          FROM seconds();
SELECT set_eq('SELECT name FROM stored(2) EXCEPT SELECT name FROM rows JOIN stored(2) USING (name, stored)',
              $$SELECT 'gateway-' || i FROM generate_series(101, 210) i WHERE i <= 110 OR i > 200$$,
                  'are all that is written');
TRUNCATE rows;
INSERT INTO rows SELECT * FROM stored(2);
UPDATE list SET gateways = gateways || (SELECT jsonb_agg(entry(name, country, city, config)) FROM egress_gateway
                                        WHERE egress_provider_id = 2 AND withdrawn AND name <> 'a');
SELECT is(actions, '{"returned": 10, "unchanged": 19990}', 'ten that return') FROM seconds();
SELECT set_eq('SELECT name FROM stored(2) EXCEPT SELECT name FROM rows JOIN stored(2) USING (name, stored)',
              $$SELECT 'gateway-' || i FROM generate_series(201, 210) i$$, 'are all that is written');

/* -------------------------------------------------------- import, skip_bad */

SET client_min_messages = error;
-- rules that an option must not change: what sql/sync_options.sql has of them is how they look
CREATE FUNCTION synced(list jsonb, more text DEFAULT '') RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT concat_ws('' '', action, name, egress_gateway_id IS NOT NULL) FROM egress_sync_gateways(6, $1%s)', more) USING list;
END $$;
INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed, enable_new_managed_gateways) VALUES (6, 'import', 'openvpn', true, true);
SELECT is(count(*), 20::bigint, 'twenty gateways')
FROM synced((SELECT jsonb_agg(entry(i::text, 'NL', NULL, 'remote a')) FROM generate_series(1, 20) i));
CREATE TEMP TABLE before_bad AS SELECT * FROM stored(6);
SELECT results_eq($$SELECT count(*), synced FROM synced((SELECT jsonb_agg(entry(i::text, 'DE', NULL, 'bad')) FROM generate_series(1, 20) i),
                                                        ', skip_bad => true, max_withdrawn => 0') s (s), split_part(s, ' ', 1) synced GROUP BY synced$$,
                  $$VALUES (20::bigint, 'skipped')$$, 'a list of bad entries only withdraws nothing');
SELECT set_eq('SELECT name FROM before_bad JOIN stored(6) USING (name, stored)', 'SELECT i::text FROM generate_series(1, 20) i',
              'writes nothing, and locks nothing');
SELECT throws_ok($$SELECT synced((SELECT jsonb_agg(CASE WHEN i > 5 THEN '{"name": "x"}' ELSE entry(i::text, 'DE', NULL, 'bad') END)
                                  FROM generate_series(1, 6) i), ', skip_bad => true')$$, 'NG010', NULL,
                 'those that are skipped are not withdrawn, and count among those that there are');
BEGIN;
SELECT is((SELECT count(*) FROM synced((SELECT jsonb_agg(jsonb_build_object('name', i::text, 'city', i)) FROM generate_series(1, 10) i),
                                       ', skip_bad => true') s
           WHERE s ~ 'withdrawn'), 10::bigint, 'ten of twenty, the other ten being bad');
ROLLBACK;
SELECT results_eq($$SELECT synced(jsonb_build_array(entry('1', 'BE', NULL, 'bad'), entry('2', 'BE', NULL, 'remote b'), entry('1', 'BE', NULL, 'remote c'),
                                                    entry('21', NULL, NULL, 'bad')), ', skip_bad => true, max_withdrawn => 1') LIMIT 4$$,
                  ARRAY['skipped 1 t', 'updated 2 t', 'skipped 1 f', 'skipped 21 f'],
                  'a name that comes twice is the first entry''s, also of a bad one');
SELECT results_eq($$SELECT name, country, config, withdrawn FROM egress_gateway WHERE egress_provider_id = 6 AND name IN ('1', '2', '3', '21') ORDER BY 1$$,
                  $$VALUES ('1', 'NL', 'remote a', false), ('2', 'BE', 'remote b', false), ('3', 'NL', 'remote a', true)$$,
                  'the good ones are synced as ever');
BEGIN;
SELECT is((SELECT count(*) FROM synced('[{"name": "2"}]', ', 1') s WHERE s ~ 'withdrawn'), 1::bigint, '1 is missing');
ROLLBACK;
SELECT results_eq(format($$SELECT synced('[%s, {"name": "2", "country": "BE", "config": "remote b"}]', ', skip_bad => true, max_withdrawn => 1')$$, bad),
                  ARRAY['skipped f', 'unchanged 2 t'], 'nothing is withdrawn beside ' || left(bad, 20))
FROM (VALUES ('7'), ('null'), ('[]'), ('{}'), ('{"nam": "2"}'), ('{"name": null}'), ('{"name": 2}'), ('{"name": ""}'),
             ('{"name": "' || repeat('x', 256) || '"}')) AS unnamed (bad);
-- a config that is stored, and could not be any more, is not looked at while the list has the same
ALTER TABLE egress_gateway DISABLE TRIGGER egress_refuse_misfit;
UPDATE egress_gateway SET config = 'of old' WHERE egress_provider_id = 6 AND name = '1';
ALTER TABLE egress_gateway ENABLE TRIGGER egress_refuse_misfit;
SELECT results_eq($$SELECT synced(jsonb_build_array(entry('1', 'NL', NULL, 'of old')), ', max_withdrawn => 1') LIMIT 1$$, ARRAY['unchanged 1 t'], 'of old');
SELECT throws_ok($$SELECT synced(jsonb_build_array(entry('1', 'NL', NULL, 'of old')), ', 1, true')$$, 'NG007', NULL, 'an import looks at it');

-- what imports make of 20,000 configs that name a file
UPDATE list SET gateways = (
    SELECT jsonb_agg(entry || jsonb_build_object('config', split_part(entry ->> 'config', '<ca>', 1) || E'ca "C:\\\\keys\\\\ca.crt"\nup x\n') ORDER BY number)
    FROM jsonb_array_elements(gateways) WITH ORDINALITY AS e (entry, number));
CREATE FUNCTION seconds_to_import(attempt integer DEFAULT 1, OUT seconds numeric, OUT actions jsonb) LANGUAGE plpgsql AS $$
DECLARE
    list jsonb := gateways FROM list;
    began timestamptz := clock_timestamp();
BEGIN
    SELECT jsonb_object_agg(action, count) INTO actions
    FROM (SELECT action, count(*)
          FROM egress_sync_gateways(2, list, import => true, files => jsonb_build_object('ca.crt', repeat(E'a line of a certificate\n', 60))) GROUP BY action) counted;
    seconds := extract(epoch FROM clock_timestamp() - began);
END $$;
SELECT seconds, actions FROM seconds_to_import() \gset
SELECT is(:'actions'::jsonb, '{"updated": 20000}', '20,000 imported configs');
SELECT cmp_ok(:seconds, '<', 20.0, 'in seconds');
SELECT diag('20,000 gateways imported in ' || :seconds || ' s');
TRUNCATE rows;
INSERT INTO rows SELECT * FROM stored(2);
SELECT seconds, actions FROM seconds_to_import() \gset
SELECT is(:'actions'::jsonb, '{"unchanged": 20000}', 'the same import again');
SELECT cmp_ok(:seconds, '<', 10.0, 'in seconds, too');
SELECT diag('the same imported again in ' || :seconds || ' s');
SELECT is((SELECT count(*) FROM rows JOIN stored(2) USING (name, stored)), 20001::bigint, 'and no row is written, or locked');


-- an entry's own files come before those of the list, also where these have the path as it is
SELECT results_eq($$SELECT synced(jsonb_build_array(
        jsonb_build_object('name', 'own', 'config', E'remote a\nca all/ca.crt', 'files', '{"/own/ca.crt": "own", "a/ta.key": "1"}'::jsonb),
        jsonb_build_object('name', 'both', 'config', E'remote a\nca ca.crt\nextra-certs x.crt', 'files', '{"ca.crt": "own", "b/x.crt": "1"}'::jsonb),
        jsonb_build_object('name', 'all', 'config', E'remote a\nca all/ca.crt\nextra-certs x.crt', 'files', '{}'::jsonb),
        jsonb_build_object('name', 'two own', 'config', E'remote a\nca ca.crt', 'files', '{"a/ca.crt": "own", "b/ca.crt": "1"}'::jsonb),
        jsonb_build_object('name', 'two of all', 'config', E'remote a\nca ca.crt')),
    $more$, 1, true, '{"all/ca.crt": "all", "other/ca.crt": "other", "a/x.crt": "all", "b/x.crt": "all"}', true$more$) LIMIT 5$$,
                  ARRAY['added own t', 'added both t', 'added all t', 'skipped two own f', 'skipped two of all f'], 'whose files an import takes');
SELECT results_eq($$SELECT name, replace(config, E'\n', ' ') FROM egress_gateway WHERE egress_provider_id = 6 AND name IN ('own', 'both', 'all') ORDER BY 1$$,
                  $$VALUES ('all', 'remote a <ca> all </ca> <extra-certs> all </extra-certs>'),
                           ('both', 'remote a <ca> own </ca> <extra-certs> 1 </extra-certs>'),
                           ('own', 'remote a <ca> own </ca>')$$, 'the entry''s own, and the list''s where it has none');

-- as many files as gateways, of the list and of the entries: all are read once
CREATE TEMP TABLE many AS
SELECT jsonb_agg(jsonb_build_object('name', 'm' || i, 'config', format(E'remote a\nca %s/ca.crt\nextra-certs x%s.crt\n', i, i),
                                    'files', jsonb_build_object('x' || i || '.crt', 'own ' || i))) AS list,
       jsonb_object_agg(i || '/ca.crt', repeat('x', 2000) || i) AS files
FROM generate_series(1, 10000) i;
INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed) VALUES (7, 'many files', 'openvpn', true);
SELECT clock_timestamp() AS began \gset
SELECT results_eq($$SELECT action, count(*) FROM many, egress_sync_gateways(7, list, import => true, files => files) GROUP BY 1$$,
                  $$VALUES ('added', 10000::bigint)$$, '10,000 gateways and 20,000 files');
SELECT extract(epoch FROM clock_timestamp() - :'began'::timestamptz) AS seconds \gset
SELECT cmp_ok(:seconds, '<', 20.0, 'in seconds');
SELECT diag('10,000 gateways with 20,000 files imported in ' || :seconds || ' s');
SELECT is((SELECT count(*) FROM egress_gateway
           WHERE egress_provider_id = 7 AND config ~ (E'x' || substr(name, 2) || E'\n</ca>\n<extra-certs>\nown ' || substr(name, 2) || E'\n')),
          10000::bigint, 'each with its own');

SET client_min_messages = warning;

/* --------------------------------------------------- rights, hostile callers */

BEGIN;
CREATE ROLE sync_admin;
CREATE ROLE sync_app;
CREATE ROLE sync_monitor;
SELECT egress_grant_access('sync_' || access, access) AS granted FROM unnest(ARRAY['admin', 'app',
                           'monitor']) access \g /dev/null
GRANT USAGE ON SCHEMA tap TO PUBLIC;
CREATE SCHEMA evil AUTHORIZATION sync_admin;

SET ROLE sync_app;
SELECT throws_ok($$SELECT egress_sync_gateways(3, '[]')$$, '42501', NULL, 'app may not sync');
SET ROLE sync_monitor;
SELECT throws_ok($$SELECT egress_sync_gateways(3, '[]')$$, '42501', NULL, 'nor may monitor');

-- The administrator has a version of each operator and function that the queries might use, and tables of the same
-- names with another provider.
SET ROLE sync_admin;
CREATE SEQUENCE evil.ran;
CREATE FUNCTION evil.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_catalog.nextval(''evil.ran''); RETURN; END';
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY '{text,bigint,boolean}'::text[] LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION evil.equal(%s, %1$s) RETURNS boolean LANGUAGE plpgsql '
            'AS ''BEGIN PERFORM pg_catalog.nextval(''''evil.ran''''); RETURN false; END''', t);
        EXECUTE pg_catalog.format('CREATE OPERATOR evil.= (LEFTARG = %s, RIGHTARG = %1$s, '
            'FUNCTION = evil.equal, HASHES, MERGES)', t);
    END LOOP;
END $$;
RESET ROLE;
CREATE TEMP TABLE egress_provider (LIKE public.egress_provider);
CREATE TEMP TABLE egress_gateway (LIKE public.egress_gateway);
ALTER TABLE pg_temp.egress_provider OWNER TO sync_admin;
ALTER TABLE pg_temp.egress_gateway OWNER TO sync_admin;
SET ROLE sync_admin;
INSERT INTO pg_temp.egress_provider VALUES (3, 'shadow', 'wireguard', true, false, true, 'first', NULL, '1 minute');
SET LOCAL search_path = evil, pg_temp, pg_catalog, public, tap;
SELECT pg_catalog.count(*) AS trapped FROM unnest(ARRAY['a']) \gset
SELECT 'a'::text = 'b'::text AS trapped \gset
SET LOCAL search_path = public, tap;
SELECT is((SELECT last_value FROM evil.ran), 2::bigint,
          'a function and an operator that are not looked up in pg_catalog run hostile code');
SET LOCAL search_path = evil, pg_temp, pg_catalog, public, tap;
CREATE TEMP TABLE hostile_answer AS
    SELECT pg_catalog.row_number() OVER () AS number, * FROM public.egress_sync_gateways(3,
        '[{"name": "b", "config": "no WireGuard config"}, {"name": "f"}, {"name": "g"}]');
SET LOCAL search_path = public, tap;
SELECT results_eq('SELECT action, name FROM hostile_answer ORDER BY number',
                  $$VALUES ('returned', 'b'), ('returned', 'f'), ('added', 'g')$$,
                      'admin may sync, and does so in the real tables');
SELECT is((SELECT last_value FROM evil.ran), 2::bigint, 'no hostile code ran');
SELECT is_empty('SELECT * FROM pg_temp.egress_gateway', 'nothing was written to the shadows');
RESET ROLE;
SELECT ok(enabled IS FALSE AND egress_provider_id = 3, 'the new gateway is as the real provider has it')
FROM public.egress_gateway WHERE name = 'g';

SELECT * FROM finish();
ROLLBACK;
