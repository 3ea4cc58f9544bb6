-- The launch menu: rules 1 to 3, one at a time and together; its order; connections free.
\set SHOW_CONTEXT never
SET search_path = vpn;

-- all columns, once; the workspace may be left out, arguments may be named
SELECT * FROM egress_available_gateways('ann');
SELECT * FROM egress_available_gateways(workspace_id => 'desk', user_id => 'cat');

-- the rest of this file looks at less
PREPARE menu(text, text) AS
SELECT egress_gateway_id AS id, gateway_name AS gateway, country, city, provider_name AS provider,
       available_connections AS free
FROM egress_available_gateways($1, $2);
PREPARE ids(text, text) AS
SELECT string_agg(egress_gateway_id::text, ' ' ORDER BY egress_gateway_id) AS ids FROM egress_available_gateways($1, $2);

-- ann: mapped to alpha by a group and to a gateway of bravo herself; carol's credential is the desk's
EXECUTE menu('ann', NULL);
EXECUTE menu('ann', 'desk');
-- bob: only the credential that is everyone's
EXECUTE menu('bob', 'desk');
-- cat: in no group
EXECUTE menu('cat', NULL);
EXECUTE menu('cat', 'desk');
-- a user and a workspace that nothing knows are no error
EXECUTE menu('nobody', 'nowhere');

------------------------------------------------------------------------------------------------------------------
-- rule 1: the gateway is enabled and not withdrawn, its provider is enabled
BEGIN;
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id IN (11, 21);
EXECUTE ids('ann', NULL);
ROLLBACK;
BEGIN;
UPDATE egress_gateway SET withdrawn = true WHERE egress_gateway_id IN (11, 21);
EXECUTE ids('ann', NULL);
-- a withdrawn gateway that is enabled is still withdrawn
UPDATE egress_gateway SET enabled = true WHERE egress_gateway_id IN (11, 21);
EXECUTE ids('ann', NULL);
ROLLBACK;
BEGIN;
UPDATE egress_provider SET enabled = false WHERE egress_provider_id = 1;
EXECUTE ids('ann', 'desk');
UPDATE egress_provider SET enabled = false WHERE egress_provider_id = 2;
EXECUTE ids('ann', 'desk');
ROLLBACK;
-- managed, and what new gateways of such a provider are, does not matter here
BEGIN;
UPDATE egress_provider SET managed = true, enable_new_managed_gateways = false;
EXECUTE ids('ann', 'desk');
ROLLBACK;

------------------------------------------------------------------------------------------------------------------
-- rule 2: an enabled mapping of the provider has one of the subjects and allows the gateway
BEGIN;
UPDATE egress_provider_mapping SET enabled = false WHERE egress_provider_mapping_id = 101;
EXECUTE ids('ann', NULL);
-- another mapping, which selects two: only these
INSERT INTO egress_provider_mapping VALUES (111, 1, 'everyone', NULL, true, false);
INSERT INTO egress_provider_mapping_gateway VALUES (111, 12), (111, 14);
EXECUTE ids('ann', NULL);
-- a third, for the user, selects one of these and another: together three
INSERT INTO egress_provider_mapping VALUES (112, 1, 'user', 'ann', true, false);
INSERT INTO egress_provider_mapping_gateway VALUES (112, 14), (112, 15);
EXECUTE ids('ann', NULL);
EXECUTE ids('bob', NULL);
-- one that is disabled selects nothing
UPDATE egress_provider_mapping SET enabled = false WHERE egress_provider_mapping_id = 111;
EXECUTE ids('ann', NULL);
EXECUTE ids('bob', NULL);
-- what is selected is used only while allow_all_gateways is off
UPDATE egress_provider_mapping SET allow_all_gateways = true WHERE egress_provider_mapping_id = 112;
EXECUTE ids('ann', NULL);
-- one that allows all and one that selects: all
UPDATE egress_provider_mapping SET enabled = true WHERE egress_provider_mapping_id = 111;
EXECUTE ids('ann', NULL);
-- one that selects nothing allows nothing
DELETE FROM egress_provider_mapping_gateway WHERE egress_provider_mapping_id = 111;
EXECUTE ids('bob', NULL);
ROLLBACK;
-- a gateway that is selected still has to be enabled and not withdrawn
BEGIN;
INSERT INTO egress_provider_mapping_gateway VALUES (102, 22);
EXECUTE ids('ann', NULL);
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 21;
UPDATE egress_gateway SET withdrawn = true WHERE egress_gateway_id = 22;
EXECUTE ids('ann', NULL);
ROLLBACK;

------------------------------------------------------------------------------------------------------------------
-- rule 3: an enabled credential of the provider has one of the subjects and allows the gateway
BEGIN;
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 201;
EXECUTE ids('ann', NULL);
EXECUTE ids('bob', NULL);
-- bob's credential selects two
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
                               username, password, allow_all_gateways)
VALUES (211, 1, 'bobown', 'user', 'bob', 'bob', 'hunter2', false);
INSERT INTO egress_credential_gateway VALUES (211, 11), (211, 15);
EXECUTE ids('bob', NULL);
-- for ann all from her own
EXECUTE ids('ann', NULL);
-- the mapping selects two as well: one gateway is in both
UPDATE egress_provider_mapping SET allow_all_gateways = false WHERE egress_provider_mapping_id = 101;
INSERT INTO egress_provider_mapping_gateway VALUES (101, 11), (101, 12);
EXECUTE ids('bob', NULL);
EXECUTE ids('ann', NULL);
-- what is selected is used only while allow_all_gateways is off
UPDATE egress_credential SET allow_all_gateways = true WHERE egress_credential_id = 211;
EXECUTE ids('bob', NULL);
UPDATE egress_credential SET allow_all_gateways = false, enabled = false WHERE egress_credential_id = 211;
EXECUTE ids('bob', NULL);
-- a credential that selects nothing allows nothing
DELETE FROM egress_credential_gateway;
UPDATE egress_credential SET enabled = true WHERE egress_credential_id = 211;
EXECUTE ids('bob', NULL);
ROLLBACK;
-- a credential of another provider does not help
BEGIN;
DELETE FROM egress_credential WHERE egress_credential_id IN (201, 202);
EXECUTE ids('ann', NULL);
ROLLBACK;

------------------------------------------------------------------------------------------------------------------
-- subjects: every kind of mapping beside every kind of credential. Of the mapping and of the credential, one each
-- is left; a call gets through exactly when both name one of its subjects.
CREATE TABLE public.subjects (n int, type egress_subject_type, id text);
INSERT INTO public.subjects VALUES
    (1, 'user', 'ann'), (2, 'group', 'dev'), (3, 'workspace', 'desk'), (4, 'everyone', NULL);
CREATE FUNCTION public.menu_with(mapping public.subjects, credential public.subjects, u text, w text)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE egress_provider_mapping SET subject_type = mapping.type, subject_id = mapping.id;
    UPDATE egress_credential SET subject_type = credential.type, subject_id = credential.id;
    RETURN CASE count(*) WHEN 0 THEN '' WHEN 1 THEN 'yes' ELSE 'too many' END FROM egress_available_gateways(u, w);
END $$;
BEGIN;
DELETE FROM egress_provider WHERE egress_provider_id <> 3;
SELECT m.type AS mapping, c.type AS credential,
       public.menu_with(m, c, 'ann', 'desk') AS ann_at_desk,
       public.menu_with(m, c, 'ann', NULL) AS ann,
       public.menu_with(m, c, 'ann', 'lab') AS ann_in_lab,
       public.menu_with(m, c, 'bob', 'desk') AS bob_at_desk,
       public.menu_with(m, c, 'bob', NULL) AS bob
FROM public.subjects m, public.subjects c ORDER BY m.n, c.n;
-- one name, three kinds of subject: a user is no group and no workspace of that name
UPDATE egress_credential SET subject_type = 'everyone', subject_id = NULL;
INSERT INTO egress_group_member VALUES ('member', 'same');
SELECT kind AS "mapping of",
       public.menu_with(ROW(1, kind, 'same'), ROW(1, 'everyone', NULL), 'same', NULL) AS user_same,
       public.menu_with(ROW(1, kind, 'same'), ROW(1, 'everyone', NULL), 'other', 'same') AS workspace_same,
       public.menu_with(ROW(1, kind, 'same'), ROW(1, 'everyone', NULL), 'member', NULL) AS member_of_same
FROM unnest('{user,group,workspace}'::egress_subject_type[]) kind;
-- ids are opaque bytes: case, blanks and the form of a character count, and a longer id is another one
SELECT convert_from('\x72656ec3a9', getdatabaseencoding()) AS rene \gset
SELECT what, public.menu_with(ROW(1, 'user', :'rene'), ROW(1, 'user', :'rene'), id, NULL) AS user_rene,
       public.menu_with(ROW(1, 'workspace', :'rene'), ROW(1, 'everyone', NULL), 'ann', id) AS workspace_rene
FROM (VALUES ('the same', :'rene'), ('decomposed', convert_from('\x72656e65cc81', getdatabaseencoding())),
             ('capitalized', initcap(:'rene')), ('blank behind', :'rene' || ' '), ('blank before', ' ' || :'rene'),
             ('longer', :'rene' || 'e'), ('shorter', 'ren'), ('accent left off', 'rene')) ids (what, id);
ROLLBACK;
DROP FUNCTION public.menu_with;
DROP TABLE public.subjects;

------------------------------------------------------------------------------------------------------------------
-- order: provider name, country, city, gateway name, with NULLs last
BEGIN;
UPDATE egress_provider SET name = 'zulu' WHERE egress_provider_id = 1;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city) VALUES
    (16, 1, 'x1', 'us', 'ams'), (17, 1, 'x2', NULL, 'ams');
EXECUTE menu('ann', 'desk');
-- the same when the gateways are selected one by one
UPDATE egress_provider_mapping SET allow_all_gateways = false WHERE egress_provider_mapping_id = 101;
INSERT INTO egress_provider_mapping_gateway VALUES (101, 15), (101, 11), (101, 17), (101, 14), (101, 12), (101, 16), (101, 13);
EXECUTE menu('ann', 'desk');
ROLLBACK;

------------------------------------------------------------------------------------------------------------------
-- connections free: the sum over the credentials that fit this gateway
BEGIN;
-- 201 has 1, 202 has 2; with a third credential for one gateway, that gateway has more than the others
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password,
                               allow_all_gateways, limit_active_connections, active_connection_limit)
VALUES (211, 1, 'two', 'group', 'dev', 'two', 'gateways', false, true, 10);
INSERT INTO egress_credential_gateway VALUES (211, 12), (211, 13);
EXECUTE menu('ann', NULL);
EXECUTE menu('bob', NULL);
-- one that is disabled does not count, one without a limit makes it NULL, one that is full adds 0
UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 202;
UPDATE egress_credential SET limit_active_connections = false WHERE egress_credential_id = 211;
UPDATE egress_credential SET active_connection_limit = 0 WHERE egress_credential_id = 201;
EXECUTE menu('ann', NULL);
-- a large sum does not overflow
UPDATE egress_credential SET enabled = true, limit_active_connections = true, active_connection_limit = 2147483647
WHERE egress_provider_id = 1;
EXECUTE menu('ann', NULL);
ROLLBACK;

-- leases count, whoever holds them and for whatever gateway; a full gateway is listed with 0
BEGIN;
SELECT egress_credential_id FROM egress_acquire_credential('bob', NULL, 14, 's1');
EXECUTE menu('ann', NULL);
EXECUTE menu('bob', NULL);
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 11, 's2');
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 12, 's3');
EXECUTE menu('ann', NULL);
-- a limit lowered below what is in use adds 0, not less: 202 has two connections and a limit of 1, 201 has 2 free
UPDATE egress_credential SET active_connection_limit = 1 WHERE egress_credential_id = 202;
UPDATE egress_credential SET active_connection_limit = 3 WHERE egress_credential_id = 201;
EXECUTE menu('ann', NULL);
-- back to what they were, and released one by one
UPDATE egress_credential SET active_connection_limit = 2 WHERE egress_credential_id = 202;
UPDATE egress_credential SET active_connection_limit = 1 WHERE egress_credential_id = 201;
SELECT egress_release_credential('s3');
SELECT DISTINCT available_connections FROM egress_available_gateways('ann') WHERE egress_provider_id = 1;
SELECT egress_release_credential('s1'), egress_release_credential('s2');
SELECT DISTINCT available_connections FROM egress_available_gateways('ann') WHERE egress_provider_id = 1;
ROLLBACK;

-- a limit set on a credential in use without one counts the leases taken before
BEGIN;
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 21, 's1');
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 21, 's2');
SELECT available_connections FROM egress_available_gateways('ann') WHERE egress_gateway_id = 21;
UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = 3 WHERE egress_credential_id = 203;
SELECT available_connections FROM egress_available_gateways('ann') WHERE egress_gateway_id = 21;
SELECT egress_credential_id FROM egress_acquire_credential('ann', NULL, 21, 's3');
SELECT available_connections FROM egress_available_gateways('ann') WHERE egress_gateway_id = 21;
ROLLBACK;

------------------------------------------------------------------------------------------------------------------
-- STABLE: one statement sees one state, also after a lease was taken in it; the next sees what this transaction did
BEGIN;
WITH lease AS MATERIALIZED (SELECT * FROM egress_acquire_credential('cat', 'desk', 31, 's1'))
SELECT lease.credential_name, menu.available_connections
FROM lease, LATERAL egress_available_gateways('cat', left('desk', length(lease.credential_name))) menu;
SELECT available_connections FROM egress_available_gateways('cat', 'desk');
ROLLBACK;
-- a cursor shows the menu of when it was opened
BEGIN;
DECLARE menu CURSOR FOR SELECT egress_gateway_id, available_connections FROM egress_available_gateways('cat', 'desk');
SELECT credential_name FROM egress_acquire_credential('cat', 'desk', 31, 's1');
UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 31;
FETCH ALL FROM menu;
ROLLBACK;
-- so does a READ ONLY transaction have one
BEGIN READ ONLY;
EXECUTE menu('cat', 'desk');
ROLLBACK;

-- it can be called wherever a function that returns a set can be
SELECT (egress_available_gateways('cat', 'desk')).gateway_name;
SELECT u, g.egress_gateway_id, n
FROM unnest('{ann,bob}'::text[]) u, LATERAL egress_available_gateways(u) WITH ORDINALITY
    g (egress_gateway_id, gateway_name, country, city, egress_provider_id, provider_name, provider_type, free, n)
WHERE n <= 2 ORDER BY u, n;
SELECT egress_gateway_id FROM egress_available_gateways('ann') LIMIT 1;
SELECT g.name, EXISTS (SELECT FROM egress_available_gateways('bob') m WHERE m.egress_gateway_id = g.egress_gateway_id) AS bobs
FROM egress_gateway g WHERE country IN ('de', 'ch') ORDER BY g.name;

DEALLOCATE ALL;

SELECT state = public.state() AS world_is_whole FROM public.world;
