-- pg_restore with several jobs: rows that come before those that they refer to. In a database of its own.
\set SHOW_CONTEXT never
SELECT current_database() AS before \gset
CREATE DATABASE regress_egress_restore TEMPLATE template0;
\c regress_egress_restore
CREATE EXTENSION egress;
CREATE ROLE regress_egress_admin;
SELECT egress_grant_access('regress_egress_admin', 'admin');
CREATE VIEW filled AS
SELECT (SELECT count(*) FROM egress_provider) AS providers, (SELECT count(*) FROM egress_gateway) AS gateways,
       (SELECT count(*) FROM egress_provider_mapping) AS mappings, (SELECT count(*) FROM egress_credential) AS credentials,
       (SELECT count(*) FROM egress_provider_mapping_gateway) + (SELECT count(*) FROM egress_credential_gateway) AS selections,
       (SELECT count(*) FROM egress_lease) AS leases, (SELECT count(*) FROM egress_lease_expiry) AS expiries;

-- of two foreign keys, either may be the first to be checked
\set VERBOSITY sqlstate

-- nobody else fills a table that refers to an empty one
COPY egress_lease_expiry (session_id, egress_credential_id, expires_at) FROM stdin;
s	31	infinity
\.
COPY egress_lease FROM stdin;
s	31	11	ann	\N	2026-01-01 00:00:00Z	\N	f	\N
\.
COPY egress_credential_gateway FROM stdin;
31	11	1
\.
COPY egress_provider_mapping_gateway FROM stdin;
21	11	1
\.
COPY egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type) FROM stdin;
31	1	c	everyone	custom
\.
COPY egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type) FROM stdin;
21	1	everyone
\.
COPY egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) FROM stdin;
11	1	g	custom
\.

-- nor whoever could not switch a foreign key off
SET application_name = 'pg_restore';
SET ROLE regress_egress_admin;
COPY egress_credential_gateway FROM stdin;
31	11	1
\.
COPY egress_provider_mapping_gateway FROM stdin;
21	11	1
\.
COPY egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type) FROM stdin;
31	1	c	everyone	custom
\.
COPY egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type) FROM stdin;
21	1	everyone
\.
COPY egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) FROM stdin;
11	1	g	custom
\.
RESET ROLE;

-- nor row by row
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) VALUES (11, 1, 'g', 'custom');
INSERT INTO egress_lease VALUES ('s', 31, 11, 'ann', NULL, now());
SELECT * FROM filled;

-- nor in a trigger of another table that is filled
CREATE TABLE copied (id bigint);
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) VALUES (NEW.id, 1, 'g', 'custom');
    RETURN NULL;
END $$;
CREATE TRIGGER fill AFTER INSERT ON copied FOR EACH ROW EXECUTE FUNCTION fill();
COPY copied FROM stdin;
11
\.
SELECT * FROM filled;

-- but pg_restore does; then comes what all of it refers to, and nothing else
COPY egress_lease_expiry (session_id, egress_credential_id, expires_at) FROM stdin;
s	31	infinity
\.
COPY egress_lease FROM stdin;
t	31	11	ann	\N	2026-01-01 00:00:00Z	\N	f	\N
\.
COPY egress_lease FROM stdin;
s	31	11	ann	\N	2026-01-01 00:00:00Z	\N	f	\N
\.
COPY egress_credential_gateway FROM stdin;
31	11	1
\.
COPY egress_provider_mapping_gateway FROM stdin;
21	11	1
\.
COPY egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type) FROM stdin;
32	1	c	everyone	custom
\.
COPY egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type) FROM stdin;
31	2	c	everyone	custom
\.
COPY egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type) FROM stdin;
31	1	c	everyone	custom
\.
COPY egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type) FROM stdin;
22	1	everyone
\.
COPY egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type) FROM stdin;
21	2	everyone
\.
COPY egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type) FROM stdin;
21	1	everyone
\.
COPY egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) FROM stdin;
12	1	g	custom
\.
COPY egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) FROM stdin;
11	2	g	custom
\.
COPY egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) FROM stdin;
11	1	g	custom
\.
COPY egress_provider (egress_provider_id, name, provider_type) FROM stdin;
2	p	custom
\.
COPY egress_provider (egress_provider_id, name, provider_type) FROM stdin;
1	p	openvpn
\.
COPY egress_provider (egress_provider_id, name, provider_type) FROM stdin;
1	p	custom
\.
SELECT * FROM filled;

-- a table that has rows is known to be filled
DELETE FROM egress_lease;
DELETE FROM egress_provider;
COPY egress_provider (egress_provider_id, name, provider_type) FROM stdin;
2	p	custom
\.
COPY egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) FROM stdin;
11	1	g	custom
\.
COPY egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type) FROM stdin;
21	1	everyone
\.
COPY egress_credential (egress_credential_id, egress_provider_id, name, subject_type, provider_type) FROM stdin;
31	1	c	everyone	custom
\.
COPY egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) FROM stdin;
12	2	g	custom
\.
COPY egress_provider_mapping_gateway FROM stdin;
21	11	1
\.
COPY egress_credential_gateway FROM stdin;
31	11	1
\.
COPY egress_lease FROM stdin;
s	31	11	ann	\N	2026-01-01 00:00:00Z	\N	f	\N
\.
SELECT * FROM filled;

\set VERBOSITY default

-- without a provider's type, it is for the trigger that fills it in
COPY egress_gateway (egress_provider_id, name) FROM stdin;
7	h
\.

-- the triggers are for whole statements, of these tables
SELECT egress_restore_in_any_order();
SELECT egress_check_restored();
CREATE TABLE other (id int);
CREATE TRIGGER t BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION egress_restore_in_any_order();
COPY other FROM stdin;
1
\.
DROP TRIGGER t ON other;
CREATE TRIGGER t BEFORE INSERT ON other EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER u AFTER INSERT ON other EXECUTE FUNCTION egress_check_restored();
COPY other FROM stdin;
1
\.
SELECT * FROM other;

\c :before
DROP DATABASE regress_egress_restore;
DROP ROLE regress_egress_admin;
