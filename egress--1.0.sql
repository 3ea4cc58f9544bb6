/*
 * egress--1.0.sql -- the objects of the extension, in the order a reader needs them:
 * types, configuration tables, leases and history, functions, triggers, views, dump.
 *
 * Rules of this file
 *  - Plain CREATE, never OR REPLACE or IF NOT EXISTS: an object that is already there is not ours.
 *  - Beside each object, what PUBLIC would have by default is revoked; egress_grant_access() grants. Not on the row type
 *    of a table or view: pg_dump knows no initial privileges of one, and would warn of each, every time.
 *  - Indexes that src/catalog.c looks up by name have their names said: a name that is taken fails the install.
 *  - src/catalog.h mirrors the order of the columns; test/pgtap/catalog.sql compares the two.
 *  - Every object, and every column, has a COMMENT; make reference makes doc/reference.md of them. A function's has a line for each
 *    argument and a list of SQLSTATEs: test/pgtap/catalog.sql has the form.
 *  - What changes here changes in egress--0.9--1.0.sql too; test/t/update.pl compares a fresh install with an updated one.
 *  - Ids of the application (users, groups, workspaces, sessions) are compared byte by byte
 *    (COLLATE "C"): they are opaque, and an index on them does not depend on the system's locale.
 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION egress" to load this file. \quit

/* ---------------------------------------------------------------- types */

CREATE TYPE egress_provider_type AS ENUM ('openvpn', 'wireguard', 'custom');
REVOKE ALL ON TYPE egress_provider_type FROM PUBLIC;
COMMENT ON TYPE egress_provider_type IS
    'what the agent on the host runs: openvpn, wg (wireguard), or a program of its own (custom)';
-- what text parameters, as drivers send them, need to be written to a column of the type
CREATE CAST (text AS egress_provider_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS egress_provider_type) IS 'in assignments: the value of that name';
CREATE CAST (varchar AS egress_provider_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS egress_provider_type) IS 'in assignments: the value of that name';

CREATE TYPE egress_subject_type AS ENUM ('user', 'group', 'workspace', 'everyone');
REVOKE ALL ON TYPE egress_subject_type FROM PUBLIC;
COMMENT ON TYPE egress_subject_type IS 'to whom a mapping, a credential or a limit of egress_user_limit applies';
CREATE CAST (text AS egress_subject_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS egress_subject_type) IS 'in assignments: the value of that name';
CREATE CAST (varchar AS egress_subject_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS egress_subject_type) IS 'in assignments: the value of that name';

CREATE TYPE egress_credential_order AS ENUM ('first', 'spread');
REVOKE ALL ON TYPE egress_credential_order FROM PUBLIC;
COMMENT ON TYPE egress_credential_order IS
    'which of the credentials that fit an acquire takes: first, the one with the lowest id that has a connection free; spread, the next one from a random credential on';
CREATE CAST (text AS egress_credential_order) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS egress_credential_order) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS egress_credential_order) IS 'in assignments: the value of that name';
COMMENT ON CAST (varchar AS egress_credential_order) IS 'in assignments: the value of that name';

/*
 * The input function is STABLE, not VOLATILE, although each call takes a fresh nonce: src/secret.c says why that may be.
 * Stored forms can be compared for equality, with operators and a hash operator class: triggers that compare rows need them,
 * DISTINCT and UNION. There is no order on the type, nothing that opens a secret, and no implicit cast.
 */
CREATE TYPE egress_secret;
CREATE FUNCTION egress_secret_in(cstring) RETURNS egress_secret
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_in(cstring) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_in(cstring) IS
'Input function of egress_secret. It keeps a sealed form as it is, and seals other text under the active key. If no key file is set, it keeps other text as it is, too.
SQLSTATE: 22023 the text is empty or longer than 16 kB; 22P05 the text has a character that Unicode does not have; F0000 the key file cannot be used; NG006 the sealed form is damaged.';
CREATE FUNCTION egress_secret_out(egress_secret) RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_out(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_out(egress_secret) IS
'Output function of egress_secret. It returns the stored form.
SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_recv(internal) RETURNS egress_secret
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_recv(internal) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_recv(internal) IS
'Binary input function of egress_secret. It reads text, and treats it as egress_secret_in() does.
SQLSTATE: 22021 the message is not text; 22023, 22P05, F0000, NG006 as for egress_secret_in().';
CREATE FUNCTION egress_secret_send(egress_secret) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_send(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_send(egress_secret) IS
'Binary output function of egress_secret. It returns the stored form as text.
SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_analyze(internal) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION egress_secret_analyze(internal) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_analyze(internal) IS
'Function by which ANALYZE collects statistics about egress_secret. It collects none, so that no statistics contain a value.
SQLSTATE: none of its own.';
CREATE TYPE egress_secret (
    INPUT = egress_secret_in, OUTPUT = egress_secret_out,
    RECEIVE = egress_secret_recv, SEND = egress_secret_send,
    ANALYZE = egress_secret_analyze,
    INTERNALLENGTH = VARIABLE, STORAGE = extended);
REVOKE ALL ON TYPE egress_secret FROM PUBLIC;
COMMENT ON TYPE egress_secret IS
    'a secret: text is sealed when it is written, and its sealed form, egress:v1:<key id>:<base64>, is what is read; the sealed form can be written again unchanged; without egress.secret_key_file the text is stored as it is';
-- what text parameters, columns and PL/pgSQL variables need to be written to a column of the type
CREATE CAST (text AS egress_secret) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS egress_secret) IS 'in assignments: seals the text, as the input function does';
CREATE CAST (varchar AS egress_secret) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS egress_secret) IS 'in assignments: seals the text, as the input function does';
CREATE FUNCTION egress_secret_from_bytea(bytea) RETURNS egress_secret
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_from_bytea(bytea) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_from_bytea(bytea) IS
'Cast of bytea to egress_secret. It takes the bytes for a text in the encoding of the database, and treats it as egress_secret_in() does.
SQLSTATE: 22021 the bytes are not such a text; 22023, 22P05, F0000, NG006 as for egress_secret_in().';
CREATE CAST (bytea AS egress_secret) WITH FUNCTION egress_secret_from_bytea(bytea) AS ASSIGNMENT;
COMMENT ON CAST (bytea AS egress_secret) IS
    'in assignments: seals the text that the bytes are; a conversion through text would seal their hexadecimal form';

CREATE FUNCTION egress_secret_eq(egress_secret, egress_secret) RETURNS boolean
AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_eq(egress_secret, egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_eq(egress_secret, egress_secret) IS
'Returns whether two stored forms are equal. Two sealed forms of the same secret are not.
SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_ne(egress_secret, egress_secret) RETURNS boolean
AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_ne(egress_secret, egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_ne(egress_secret, egress_secret) IS
'Returns whether two stored forms are different. Two sealed forms of the same secret are.
SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_hash(egress_secret) RETURNS integer
AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_hash(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_hash(egress_secret) IS
'Returns the hash value of a stored form.
SQLSTATE: none of its own.';
CREATE OPERATOR = (
    LEFTARG = egress_secret, RIGHTARG = egress_secret, FUNCTION = egress_secret_eq,
    COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES);
COMMENT ON OPERATOR = (egress_secret, egress_secret) IS 'equal stored forms';
CREATE OPERATOR <> (
    LEFTARG = egress_secret, RIGHTARG = egress_secret, FUNCTION = egress_secret_ne,
    COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel);
COMMENT ON OPERATOR <> (egress_secret, egress_secret) IS 'different stored forms';
CREATE OPERATOR CLASS egress_secret_ops DEFAULT FOR TYPE egress_secret USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 egress_secret_hash(egress_secret);
COMMENT ON OPERATOR CLASS egress_secret_ops USING hash IS 'equality of stored forms; there is no order';
COMMENT ON OPERATOR FAMILY egress_secret_ops USING hash IS 'equality of stored forms; there is no order';

/*
 * Ids of an application that are no text: a uuid or a number becomes an egress_id by an implicit cast, as it becomes no text,
 * and every function that takes ids is there once more for these. Strings have casts, too, so that a call may mix them with
 * numbers; where all ids are strings, or of no type yet, PostgreSQL prefers text. It is the preferred type of uuid's category,
 * so that it is taken also where somebody has made an implicit cast of uuid to text. Nothing is cast from egress_id, or a call
 * with both could go either way.
 */
CREATE TYPE egress_id;
CREATE FUNCTION egress_id_in(cstring) RETURNS egress_id
AS 'textin' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_in(cstring) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_in(cstring) IS
'Input function of egress_id. It keeps the text as it is.
SQLSTATE: none of its own.';
CREATE FUNCTION egress_id_out(egress_id) RETURNS cstring
AS 'textout' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_out(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_out(egress_id) IS
'Output function of egress_id. It returns the text as it is.
SQLSTATE: none of its own.';
CREATE FUNCTION egress_id_recv(internal) RETURNS egress_id
AS 'textrecv' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_recv(internal) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_recv(internal) IS
'Binary input function of egress_id, the same as that of text.
SQLSTATE: none of its own.';
CREATE FUNCTION egress_id_send(egress_id) RETURNS bytea
AS 'textsend' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_send(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_send(egress_id) IS
'Binary output function of egress_id, the same as that of text.
SQLSTATE: none of its own.';
CREATE TYPE egress_id (
    INPUT = egress_id_in, OUTPUT = egress_id_out, RECEIVE = egress_id_recv, SEND = egress_id_send, LIKE = text,
    CATEGORY = 'U', PREFERRED = true);
REVOKE ALL ON TYPE egress_id FROM PUBLIC;
COMMENT ON TYPE egress_id IS 'an id of the application as an argument: the text form of a uuid, a number or a string';
CREATE FUNCTION egress_id_from_character(character) RETURNS egress_id
AS 'rtrim1' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_from_character(character) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_from_character(character) IS
'Cast of character(n) to egress_id. It removes the padding, as a cast to text does.
SQLSTATE: none of its own.';
CREATE CAST (uuid AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (uuid AS egress_id) IS 'the text form';
CREATE CAST (smallint AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (smallint AS egress_id) IS 'the text form';
CREATE CAST (integer AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (integer AS egress_id) IS 'the text form';
CREATE CAST (bigint AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (bigint AS egress_id) IS 'the text form';
CREATE CAST (numeric AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (numeric AS egress_id) IS 'the text form';
CREATE CAST (name AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (name AS egress_id) IS 'the text form';
CREATE CAST (text AS egress_id) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (text AS egress_id) IS 'the text as it is';
CREATE CAST (varchar AS egress_id) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (varchar AS egress_id) IS 'the text as it is';
CREATE CAST (character AS egress_id) WITH FUNCTION egress_id_from_character(character) AS IMPLICIT;
COMMENT ON CAST (character AS egress_id) IS 'the text without its padding';

/* ------------------------------------------------- the index of a pool */

CREATE FUNCTION egress_pool_handler(internal) RETURNS index_am_handler
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION egress_pool_handler(internal) FROM PUBLIC;
CREATE ACCESS METHOD egress_pool TYPE INDEX HANDLER egress_pool_handler;
COMMENT ON FUNCTION egress_pool_handler(internal) IS
'Handler of the access method egress_pool.
SQLSTATE: 0A000 an index of the access method is created on other columns than those of egress_credential_pool.';
COMMENT ON ACCESS METHOD egress_pool IS
    'access method of the index egress_credential_pool, which separates the credentials that may have a connection free from those that are full';
-- it compares nothing, and has nothing to say but that the column may be in such an index
CREATE OPERATOR CLASS egress_pool_ops DEFAULT FOR TYPE bigint USING egress_pool AS STORAGE bigint;
COMMENT ON OPERATOR CLASS egress_pool_ops USING egress_pool IS 'for the index egress_credential_pool only';
COMMENT ON OPERATOR FAMILY egress_pool_ops USING egress_pool IS 'for the index egress_credential_pool only';

/* ------------------------------------------------- configuration tables */

CREATE TABLE egress_provider (
    egress_provider_id          bigint GENERATED BY DEFAULT AS IDENTITY CONSTRAINT egress_provider_pkey PRIMARY KEY,
    name                        text NOT NULL UNIQUE
                                CHECK (octet_length(name) BETWEEN 1 AND 255),
    provider_type               egress_provider_type NOT NULL,
    enabled                     boolean NOT NULL DEFAULT true,
    managed                     boolean NOT NULL DEFAULT false,
    enable_new_managed_gateways boolean NOT NULL DEFAULT false,
    credential_order            egress_credential_order NOT NULL DEFAULT 'first',
    bench_after                 integer DEFAULT 3 CHECK (bench_after BETWEEN 1 AND 100),
    bench_for                   interval NOT NULL DEFAULT '1 minute' CHECK (bench_for > '0'),
    UNIQUE (egress_provider_id, provider_type)
);
REVOKE ALL ON egress_provider FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_provider_egress_provider_id_seq FROM PUBLIC;
COMMENT ON TABLE egress_provider IS 'VPN providers';
COMMENT ON COLUMN egress_provider.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_provider.name IS 'name of the provider, unique, 1 to 255 bytes';
COMMENT ON COLUMN egress_provider.provider_type IS
    'type of the provider; it cannot change while the provider has gateways or credentials, because their foreign keys include it';
COMMENT ON COLUMN egress_provider.enabled IS 'if false, no gateway of the provider is available';
COMMENT ON COLUMN egress_provider.managed IS
    'whether egress_sync_gateways() maintains the gateways of the provider, from a list that the provider publishes';
COMMENT ON COLUMN egress_provider.enable_new_managed_gateways IS 'whether a gateway that egress_sync_gateways() adds is enabled';
COMMENT ON COLUMN egress_provider.credential_order IS
    'first: an acquire takes the credential with the lowest id that has a connection free; spread: it starts the search at a random credential';
COMMENT ON COLUMN egress_provider.bench_after IS
    'number of sessions, 1 to 100, whose reports that they could not connect bench a gateway or credential; a success in between restarts the count; NULL: nothing is benched';
COMMENT ON COLUMN egress_provider.bench_for IS
    'how long a gateway or credential is benched the first time; the time doubles with each further bench before a success, to one hour at most';

/*
 * provider_type is repeated in gateways and credentials (a trigger fills it in), so that a declared foreign
 * key keeps it fixed, without a race, and so that a rule about the type is a rule about one row.
 */
CREATE TABLE egress_gateway (
    egress_gateway_id   bigint GENERATED BY DEFAULT AS IDENTITY CONSTRAINT egress_gateway_pkey PRIMARY KEY,
    egress_provider_id  bigint NOT NULL,
    name                text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 255),
    country             text CHECK (octet_length(country) BETWEEN 1 AND 255),
    city                text CHECK (octet_length(city) BETWEEN 1 AND 255),
    config              text,
    enabled             boolean NOT NULL DEFAULT true,
    withdrawn           boolean NOT NULL DEFAULT false,
    provider_type       egress_provider_type NOT NULL,
    UNIQUE (egress_provider_id, name),
    UNIQUE (egress_provider_id, egress_gateway_id),
    FOREIGN KEY (egress_provider_id, provider_type)
        REFERENCES egress_provider (egress_provider_id, provider_type) ON DELETE CASCADE
);
REVOKE ALL ON egress_gateway FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_gateway_egress_gateway_id_seq FROM PUBLIC;
-- the launch menu reads a provider's gateways in its own order from this index, without a sort, and mostly without the table
CREATE INDEX egress_gateway_menu
    ON egress_gateway (egress_provider_id, country, city, name, egress_gateway_id) INCLUDE (enabled, withdrawn);
-- for who wishes a place, and not for the planner. See src/wish.c
CREATE INDEX egress_gateway_country
    ON egress_gateway (egress_provider_id, pg_catalog.lower(country), pg_catalog.lower(city)) INCLUDE (egress_gateway_id)
    WHERE enabled AND NOT withdrawn;
CREATE INDEX egress_gateway_city
    ON egress_gateway (egress_provider_id, pg_catalog.lower(city)) INCLUDE (egress_gateway_id)
    WHERE enabled AND NOT withdrawn;
COMMENT ON TABLE egress_gateway IS 'VPN gateways of the providers';
COMMENT ON COLUMN egress_gateway.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_gateway.egress_provider_id IS 'the provider of the gateway';
COMMENT ON COLUMN egress_gateway.name IS 'name of the gateway, unique within its provider, 1 to 255 bytes';
COMMENT ON COLUMN egress_gateway.country IS 'country of the gateway, as the provider names it, 1 to 255 bytes';
COMMENT ON COLUMN egress_gateway.city IS 'city of the gateway, as the provider names it, 1 to 255 bytes';
COMMENT ON COLUMN egress_gateway.config IS
    'what an agent needs to connect, without the credential; other secrets in it are not sealed, and egress_secret_usage counts the configs that have such secrets';
COMMENT ON COLUMN egress_gateway.enabled IS 'if false, the gateway is not available; set by the administrator only';
COMMENT ON COLUMN egress_gateway.withdrawn IS
    'if true, the provider no longer lists the gateway, and it is not available; set by egress_sync_gateways() only';
COMMENT ON COLUMN egress_gateway.provider_type IS 'type of the gateway''s provider; a trigger fills it in';

CREATE TABLE egress_provider_mapping (
    egress_provider_mapping_id  bigint GENERATED BY DEFAULT AS IDENTITY CONSTRAINT egress_provider_mapping_pkey PRIMARY KEY,
    egress_provider_id          bigint NOT NULL REFERENCES egress_provider ON DELETE CASCADE,
    subject_type                egress_subject_type NOT NULL,
    subject_id                  text COLLATE "C" CHECK (octet_length(subject_id) BETWEEN 1 AND 255),
    enabled                     boolean NOT NULL DEFAULT true,
    allow_all_gateways          boolean NOT NULL DEFAULT true,
    UNIQUE (egress_provider_id, egress_provider_mapping_id),
    CONSTRAINT egress_provider_mapping_subject_check
        CHECK ((subject_type = 'everyone') = (subject_id IS NULL))
);
REVOKE ALL ON egress_provider_mapping FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_provider_mapping_egress_provider_mapping_id_seq FROM PUBLIC;
CREATE INDEX egress_provider_mapping_subject
    ON egress_provider_mapping (subject_type, subject_id, egress_provider_id);
COMMENT ON TABLE egress_provider_mapping IS 'subjects that may use the gateways of a provider';
COMMENT ON COLUMN egress_provider_mapping.egress_provider_mapping_id IS 'id of the mapping';
COMMENT ON COLUMN egress_provider_mapping.egress_provider_id IS 'the provider whose gateways the mapping allows';
COMMENT ON COLUMN egress_provider_mapping.subject_type IS 'kind of subject to which the mapping applies';
COMMENT ON COLUMN egress_provider_mapping.subject_id IS
    'the application''s id of the user, group or workspace, 1 to 255 bytes; NULL exactly for everyone';
COMMENT ON COLUMN egress_provider_mapping.enabled IS 'if false, the mapping allows nothing';
COMMENT ON COLUMN egress_provider_mapping.allow_all_gateways IS
    'whether the mapping allows all gateways of the provider; if false, it allows those in egress_provider_mapping_gateway';

CREATE TABLE egress_provider_mapping_gateway (
    egress_provider_mapping_id  bigint NOT NULL,
    egress_gateway_id           bigint NOT NULL,
    egress_provider_id          bigint NOT NULL,
    CONSTRAINT egress_provider_mapping_gateway_pkey PRIMARY KEY (egress_provider_mapping_id, egress_gateway_id),
    FOREIGN KEY (egress_provider_id, egress_provider_mapping_id)
        REFERENCES egress_provider_mapping (egress_provider_id, egress_provider_mapping_id) ON DELETE CASCADE,
    FOREIGN KEY (egress_provider_id, egress_gateway_id)
        REFERENCES egress_gateway (egress_provider_id, egress_gateway_id) ON DELETE CASCADE
);
REVOKE ALL ON egress_provider_mapping_gateway FROM PUBLIC;
CREATE INDEX egress_provider_mapping_gateway_gateway ON egress_provider_mapping_gateway (egress_gateway_id);
COMMENT ON TABLE egress_provider_mapping_gateway IS 'gateways that a mapping selects';
COMMENT ON COLUMN egress_provider_mapping_gateway.egress_provider_mapping_id IS 'the mapping';
COMMENT ON COLUMN egress_provider_mapping_gateway.egress_gateway_id IS 'the selected gateway';
COMMENT ON COLUMN egress_provider_mapping_gateway.egress_provider_id IS
    'the provider of the mapping; a trigger fills it in, so that foreign keys refuse a gateway of another provider';

CREATE TABLE egress_credential (
    egress_credential_id      bigint GENERATED BY DEFAULT AS IDENTITY CONSTRAINT egress_credential_pkey PRIMARY KEY,
    egress_provider_id        bigint NOT NULL,
    name                      text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 255),
    subject_type              egress_subject_type NOT NULL,
    subject_id                text COLLATE "C" CHECK (octet_length(subject_id) BETWEEN 1 AND 255),
    enabled                   boolean NOT NULL DEFAULT true,
    username                  text,
    password                  egress_secret,
    private_key               egress_secret,
    custom_credential         egress_secret,
    allow_all_gateways        boolean NOT NULL DEFAULT true,
    limit_active_connections  boolean NOT NULL DEFAULT false,
    active_connection_limit   integer CHECK (active_connection_limit >= 0),
    provider_type             egress_provider_type NOT NULL,
    client_certificate        text,
    client_key                egress_secret,
    address                   text,
    preshared_key             egress_secret,
    once_per_gateway          boolean,
    cool_down                 interval CHECK (cool_down > '0' AND cool_down <= '100 years'),
    UNIQUE (egress_provider_id, egress_credential_id),
    FOREIGN KEY (egress_provider_id, provider_type)
        REFERENCES egress_provider (egress_provider_id, provider_type) ON DELETE CASCADE,
    CONSTRAINT egress_credential_subject_check
        CHECK ((subject_type = 'everyone') = (subject_id IS NULL)),
    CONSTRAINT egress_credential_limit_check
        CHECK (NOT limit_active_connections OR active_connection_limit IS NOT NULL)
);
REVOKE ALL ON egress_credential FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_credential_egress_credential_id_seq FROM PUBLIC;
-- the last two columns tell at once whether there is a credential that any gateway can have
CREATE INDEX egress_credential_subject
    ON egress_credential (subject_type, subject_id, egress_provider_id, allow_all_gateways, enabled);
-- which credentials may have a connection free: not in any row, and not for the planner. See src/pool_index.c
CREATE INDEX egress_credential_pool
    ON egress_credential USING egress_pool (egress_credential_id)
    INCLUDE (subject_type, subject_id, egress_provider_id, enabled, allow_all_gateways, limit_active_connections,
             active_connection_limit, once_per_gateway, cool_down);
COMMENT ON TABLE egress_credential IS 'credentials of the providers, and the subjects that may connect with them';
COMMENT ON COLUMN egress_credential.egress_credential_id IS 'id of the credential';
COMMENT ON COLUMN egress_credential.egress_provider_id IS 'the provider of the credential';
COMMENT ON COLUMN egress_credential.name IS 'name of the credential, 1 to 255 bytes';
COMMENT ON COLUMN egress_credential.subject_type IS 'kind of subject to which the credential applies';
COMMENT ON COLUMN egress_credential.subject_id IS
    'the application''s id of the user, group or workspace, 1 to 255 bytes; NULL exactly for everyone';
COMMENT ON COLUMN egress_credential.enabled IS 'if false, no acquire takes the credential; leases that are held stay';
COMMENT ON COLUMN egress_credential.username IS
    'openvpn only: together with password; both are NULL if the credential or the config has a certificate';
COMMENT ON COLUMN egress_credential.password IS 'openvpn only: together with username';
COMMENT ON COLUMN egress_credential.private_key IS 'wireguard only: 32 bytes in base64';
COMMENT ON COLUMN egress_credential.custom_credential IS 'custom only, optional';
COMMENT ON COLUMN egress_credential.allow_all_gateways IS
    'whether the credential is for all gateways of the provider; if false, it is for those in egress_credential_gateway';
COMMENT ON COLUMN egress_credential.limit_active_connections IS 'whether active_connection_limit applies';
COMMENT ON COLUMN egress_credential.active_connection_limit IS
    'number of leases of the credential that may be live at the same time';
COMMENT ON COLUMN egress_credential.provider_type IS 'type of the credential''s provider; a trigger fills it in';
COMMENT ON COLUMN egress_credential.client_certificate IS
    'openvpn only: a certificate in PEM format, together with client_key; the other certificates of its chain may follow';
COMMENT ON COLUMN egress_credential.client_key IS
    'openvpn only: the private key in PEM format, without a passphrase, together with client_certificate';
COMMENT ON COLUMN egress_credential.address IS
    'wireguard only, optional: the addresses that belong to the key, separated by commas, as wg-quick reads them';
COMMENT ON COLUMN egress_credential.preshared_key IS 'wireguard only, optional: 32 bytes in base64';
COMMENT ON COLUMN egress_credential.once_per_gateway IS
    'whether at most one lease of the credential is live at each gateway; a trigger replaces NULL in a new row by true for a wireguard provider and by false for others';
COMMENT ON COLUMN egress_credential.cool_down IS
    'how long a connection counts as held after its end, because the provider still counts it; NULL: not at all; a change also applies to connections that are cooling down; a day has 24 hours, and months are counted in UTC';

CREATE TABLE egress_credential_gateway (
    egress_credential_id  bigint NOT NULL,
    egress_gateway_id     bigint NOT NULL,
    egress_provider_id    bigint NOT NULL,
    CONSTRAINT egress_credential_gateway_pkey PRIMARY KEY (egress_credential_id, egress_gateway_id),
    FOREIGN KEY (egress_provider_id, egress_credential_id)
        REFERENCES egress_credential (egress_provider_id, egress_credential_id) ON DELETE CASCADE,
    FOREIGN KEY (egress_provider_id, egress_gateway_id)
        REFERENCES egress_gateway (egress_provider_id, egress_gateway_id) ON DELETE CASCADE
);
REVOKE ALL ON egress_credential_gateway FROM PUBLIC;
CREATE INDEX egress_credential_gateway_gateway ON egress_credential_gateway (egress_gateway_id);
COMMENT ON TABLE egress_credential_gateway IS 'gateways that a credential selects';
COMMENT ON COLUMN egress_credential_gateway.egress_credential_id IS 'the credential';
COMMENT ON COLUMN egress_credential_gateway.egress_gateway_id IS 'the selected gateway';
COMMENT ON COLUMN egress_credential_gateway.egress_provider_id IS
    'the provider of the credential; a trigger fills it in, so that foreign keys refuse a gateway of another provider';

CREATE TABLE egress_group_member (
    user_id   text COLLATE "C" NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    group_id  text COLLATE "C" NOT NULL CHECK (octet_length(group_id) BETWEEN 1 AND 255),
    CONSTRAINT egress_group_member_pkey PRIMARY KEY (user_id, group_id)
);
REVOKE ALL ON egress_group_member FROM PUBLIC;
COMMENT ON TABLE egress_group_member IS
    'groups of each user, by the application''s ids; written by hand, or kept up to date by egress_attach_group_members()';
COMMENT ON COLUMN egress_group_member.user_id IS 'the application''s id of the user, 1 to 255 bytes';
COMMENT ON COLUMN egress_group_member.group_id IS 'the application''s id of a group of the user, 1 to 255 bytes';

CREATE TABLE egress_workspace (
    workspace_id              text COLLATE "C" CONSTRAINT egress_workspace_pkey PRIMARY KEY
                              CHECK (octet_length(workspace_id) BETWEEN 1 AND 255),
    override_egress_gateways  boolean NOT NULL DEFAULT false
);
REVOKE ALL ON egress_workspace FROM PUBLIC;
COMMENT ON TABLE egress_workspace IS 'workspaces with settings of their own; other workspaces need no row';
COMMENT ON COLUMN egress_workspace.workspace_id IS 'the application''s id of the workspace, 1 to 255 bytes';
COMMENT ON COLUMN egress_workspace.override_egress_gateways IS
    'if true, only mappings whose subject is the workspace apply in it';

CREATE TABLE egress_user_limit (
    subject_type             egress_subject_type NOT NULL CHECK (subject_type <> 'workspace'),
    subject_id               text COLLATE "C" CHECK (octet_length(subject_id) BETWEEN 1 AND 255),
    active_connection_limit  integer NOT NULL CHECK (active_connection_limit >= 0),
    egress_user_limit_id     bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    CONSTRAINT egress_user_limit_subject_type_subject_id_key UNIQUE NULLS NOT DISTINCT (subject_type, subject_id),
    CONSTRAINT egress_user_limit_subject_check
        CHECK ((subject_type = 'everyone') = (subject_id IS NULL))
);
-- src/user_limit.c looks here for the user, all groups of the user and everyone, whose key is '', in one scan
CREATE INDEX egress_user_limit_subject ON egress_user_limit (coalesce(subject_id, ''));
REVOKE ALL ON egress_user_limit FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_user_limit_egress_user_limit_id_seq FROM PUBLIC;
COMMENT ON TABLE egress_user_limit IS
    'how many connections each user may have at the same time, over all providers: the user''s own row applies, else the largest limit of the user''s groups, else that of everyone, else there is no limit';
COMMENT ON COLUMN egress_user_limit.subject_type IS 'user, group (each user of the group) or everyone (each user)';
COMMENT ON COLUMN egress_user_limit.subject_id IS
    'the application''s id of the user or group, 1 to 255 bytes; NULL exactly for everyone';
COMMENT ON COLUMN egress_user_limit.active_connection_limit IS
    'number of leases of each of these users that may be live at the same time';
COMMENT ON COLUMN egress_user_limit.egress_user_limit_id IS 'id of the row';

/* ----------------------------------------------------- leases, history */

/*
 * The three tables below churn, and autovacuum's defaults, which wait for a fifth of a table to be dead, are made for
 * tables that do not. None of the three may be truncated by a VACUUM: for that it takes an ACCESS EXCLUSIVE lock, for which
 * acquires and releases would wait, and on a hot standby the launch menu, where nobody makes VACUUM give it back early.
 * The space is used again soon.
 *
 * egress_lease is small, and all of it goes and comes again many times a day. Each lease that ends leaves a dead row and a dead
 * entry in each index, among them that of the slots, in which acquires search. A fifth of 100,000 leases would be
 * 20,000 of them; so 1000 and a hundredth. One that is small enough for the 1000 fits into a few pages, and needs no
 * VACUUM every minute. Without a cost delay it is done in a moment, and takes no share of the limit from others.
 */

/*
 * Rows are inserted by src/limit.c and deleted by src/lease.c, never updated. UNIQUE (credential, slot) is the
 * last line of defence of the credential's limit, and UNIQUE (user, slot) of the user's; see doc/limit.md. The foreign keys hold for every row, but the C code does
 * not run their insert-side checks, which could wait: src/limit.c and src/integrity.c say what does their work.
 */
CREATE TABLE egress_lease (
    session_id            text COLLATE "C" CONSTRAINT egress_lease_pkey PRIMARY KEY CHECK (octet_length(session_id) BETWEEN 1 AND 255),
    egress_credential_id  bigint NOT NULL REFERENCES egress_credential,
    egress_gateway_id     bigint NOT NULL REFERENCES egress_gateway,
    user_id               text COLLATE "C" NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    workspace_id          text COLLATE "C" CHECK (octet_length(workspace_id) BETWEEN 1 AND 255),
    acquired_at           timestamptz NOT NULL,
    slot                  integer CHECK (slot > 0),
    cooling               boolean NOT NULL DEFAULT false,
    user_slot             integer CHECK (user_slot > 0),
    CONSTRAINT egress_lease_egress_credential_id_slot_key
        UNIQUE (egress_credential_id, slot) INCLUDE (cooling, egress_gateway_id),
    CONSTRAINT egress_lease_user_id_user_slot_key UNIQUE (user_id, user_slot)
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
REVOKE ALL ON egress_lease FROM PUBLIC;
CREATE INDEX egress_lease_gateway ON egress_lease (egress_gateway_id, egress_credential_id);
COMMENT ON TABLE egress_lease IS
    'leases that have not been ended, expired or not, and connections that are cooling down; written by functions of the extension only';
COMMENT ON COLUMN egress_lease.session_id IS
    'the application''s id of the session that holds the lease; of a connection that is cooling down, a generated value';
COMMENT ON COLUMN egress_lease.egress_credential_id IS 'the credential of the lease';
COMMENT ON COLUMN egress_lease.egress_gateway_id IS 'the gateway of the lease';
COMMENT ON COLUMN egress_lease.user_id IS
    'the application''s id of the user; of a connection that is cooling down, a generated value';
COMMENT ON COLUMN egress_lease.workspace_id IS 'the application''s id of the workspace; NULL: none';
COMMENT ON COLUMN egress_lease.acquired_at IS
    'when the lease was acquired; of a connection that is cooling down, when its lease ended';
COMMENT ON COLUMN egress_lease.slot IS
    'number of the connection among those of the credential, from 1; NULL if the credential had no limit';
COMMENT ON COLUMN egress_lease.cooling IS
    'if true, no session holds the row: its lease has ended, and the connection counts as held for the cool_down of the credential';
COMMENT ON COLUMN egress_lease.user_slot IS
    'number of the connection among those of the user, from 1; NULL if the user had no limit';

/*
 * The leases that were taken with a ttl, or given one by a renewal; a lease without a row here lasts until it is
 * released. Apart from the leases, because these are never updated: an index scan with a dirty snapshot, which is how
 * the limit is checked, can miss a row that is updated under it.
 *
 * 100,000 leases that are renewed every 30 seconds make 3,300 row versions a second here, and not one in egress_lease
 * or in the index of its slots. Here no index holds expires_at and half of each page is left free, so each renewal is a
 * heap-only update: it adds no index entry, and the next one on the page prunes what it left, unless an old transaction
 * may still see it. Who looks for an expired lease of a credential, because none of its slots is free, goes by the index
 * of the credential, which has one entry a lease, whatever the number of renewals.
 *
 * So VACUUM is needed for what ends, as in egress_lease, and has the same settings.
 */
CREATE TABLE egress_lease_expiry (
    session_id            text COLLATE "C" CONSTRAINT egress_lease_expiry_pkey PRIMARY KEY
                          REFERENCES egress_lease ON DELETE CASCADE,
    egress_credential_id  bigint NOT NULL,
    expires_at            timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
REVOKE ALL ON egress_lease_expiry FROM PUBLIC;
CREATE INDEX egress_lease_expiry_credential ON egress_lease_expiry (egress_credential_id);
COMMENT ON TABLE egress_lease_expiry IS 'ends of the leases that have one; written by functions of the extension only';
COMMENT ON COLUMN egress_lease_expiry.session_id IS 'the session that holds the lease';
COMMENT ON COLUMN egress_lease_expiry.egress_credential_id IS 'the credential of the lease';
COMMENT ON COLUMN egress_lease_expiry.expires_at IS 'when the lease expires';

/*
 * Grows at its end and is pruned from its beginning, and no row is ever updated. So VACUUM freezes a row the first time
 * it comes by (freeze_min_age), and does so after every twentieth of growth (insert_scale_factor): none is left
 * that has to read and write the whole table to prevent the wraparound of transaction ids. A night's pruning is about a
 * hundredth of the table: after two of them VACUUM makes the space free for what ends next, and takes the entries out of
 * egress_lease_history_ended, which the next pruning would step over. The statistics follow as soon.
 */
CREATE TABLE egress_lease_history (
    egress_lease_history_id  bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    session_id               text COLLATE "C" NOT NULL,
    egress_credential_id     bigint NOT NULL,
    credential_name          text NOT NULL,
    egress_gateway_id        bigint NOT NULL,
    gateway_name             text NOT NULL,
    provider_name            text NOT NULL,
    country                  text,
    city                     text,
    user_id                  text COLLATE "C" NOT NULL,
    workspace_id             text COLLATE "C",
    acquired_at              timestamptz NOT NULL,
    released_at              timestamptz NOT NULL,
    release_reason           text NOT NULL CHECK (release_reason IN ('released', 'session_end', 'expired', 'ended')),
    CHECK (released_at >= acquired_at)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_freeze_min_age = 0,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, vacuum_truncate = off);
REVOKE ALL ON egress_lease_history FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_lease_history_egress_lease_history_id_seq FROM PUBLIC;
/*
 * For egress_connections_at and egress_prune_history, by classes of how long connections lasted: 0 is less than 1 minute,
 * 1 less than 2, 2 less than 4, and so on to 16, less than 65,536, a month and a half; 17 is all that is longer. Those of
 * a class who were connected at a moment have ended after it, and no later than the longest of the class can. So they lie
 * together, among at most about as many who began later (in class 0: among those of a minute). Each class grows at its
 * end, as the table does: an entry costs little more than one of released_at alone.
 *
 * The length counts days of 24 hours, whatever the time zone. It is not taken where that could fail: of infinity, and of an
 * end so far away that the first timestamp there is would be too long ago. For the last class no length is too long.
 *
 * src/history.c has the same expression.
 */
CREATE INDEX egress_lease_history_ended ON egress_lease_history (
    (CASE WHEN isfinite(acquired_at) AND released_at < '9999-01-01 00:00:00+00'::timestamptz
          THEN width_bucket(released_at - acquired_at,
                            '{1 min,2 min,4 min,8 min,16 min,32 min,64 min,128 min,256 min,512 min,
                              1024 min,2048 min,4096 min,8192 min,16384 min,32768 min,65536 min}'::interval[])
          ELSE 17 END),
    released_at, egress_gateway_id);
COMMENT ON TABLE egress_lease_history IS
    'connections that have ended, with the names that were in use then; each row is written in the transaction that ends the lease';
COMMENT ON COLUMN egress_lease_history.egress_lease_history_id IS 'id of the row';
COMMENT ON COLUMN egress_lease_history.session_id IS 'the application''s id of the session';
COMMENT ON COLUMN egress_lease_history.egress_credential_id IS 'id of the credential, which may have been deleted since';
COMMENT ON COLUMN egress_lease_history.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_lease_history.egress_gateway_id IS 'id of the gateway, which may have been deleted since';
COMMENT ON COLUMN egress_lease_history.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_lease_history.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_lease_history.country IS 'country of the gateway';
COMMENT ON COLUMN egress_lease_history.city IS 'city of the gateway';
COMMENT ON COLUMN egress_lease_history.user_id IS 'the application''s id of the user';
COMMENT ON COLUMN egress_lease_history.workspace_id IS 'the application''s id of the workspace; NULL: none';
COMMENT ON COLUMN egress_lease_history.acquired_at IS 'when the lease was acquired';
COMMENT ON COLUMN egress_lease_history.released_at IS 'when the lease ended';
COMMENT ON COLUMN egress_lease_history.release_reason IS
    'released: by egress_release_credential(); session_end: by the end of the session in an attached table; ended: by egress_end_leases(); expired: at released_at, even if the row was written later';

/*
 * What sessions have reported of gateways and credentials, as far as it counts: src/bench.c finds out what it comes to. Rows
 * are inserted and deleted by src/report.c, never updated; so reports wait for nobody. The foreign keys hold for every row, but
 * the C code does not run their insert-side checks, which could wait: src/report.c says what does their work. Small, and churns
 * as the leases do.
 */
CREATE TABLE egress_report (
    egress_report_id      bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    egress_gateway_id     bigint REFERENCES egress_gateway ON DELETE CASCADE,
    egress_credential_id  bigint REFERENCES egress_credential ON DELETE CASCADE,
    session_id            text COLLATE "C" CHECK (octet_length(session_id) BETWEEN 1 AND 255),
    reported_at           timestamptz NOT NULL,
    CHECK ((egress_gateway_id IS NULL) <> (egress_credential_id IS NULL))
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01,
        autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
REVOKE ALL ON egress_report FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_report_egress_report_id_seq FROM PUBLIC;
CREATE INDEX egress_report_gateway ON egress_report (egress_gateway_id);
CREATE INDEX egress_report_credential ON egress_report (egress_credential_id);
COMMENT ON TABLE egress_report IS
    'reports of sessions about gateways and credentials, as far as they count; written by functions of the extension only';
COMMENT ON COLUMN egress_report.egress_report_id IS 'id of the report';
COMMENT ON COLUMN egress_report.egress_gateway_id IS
    'the gateway that the report is about; NULL: the report is about a credential';
COMMENT ON COLUMN egress_report.egress_credential_id IS
    'the credential that the report is about; NULL: the report is about a gateway';
COMMENT ON COLUMN egress_report.session_id IS
    'the session that could not connect; NULL: the report is of a success, and earlier reports do not count';
COMMENT ON COLUMN egress_report.reported_at IS 'when the report was made';

-- grows and is pruned as egress_lease_history
CREATE TABLE egress_failure (
    egress_failure_id     bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    reported_at           timestamptz NOT NULL,
    session_id            text COLLATE "C" NOT NULL,
    failure               text NOT NULL CHECK (failure IN ('gateway', 'credential')),
    egress_gateway_id     bigint NOT NULL,
    gateway_name          text NOT NULL,
    egress_credential_id  bigint NOT NULL,
    credential_name       text NOT NULL,
    provider_name         text NOT NULL,
    user_id               text COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_freeze_min_age = 0,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, vacuum_truncate = off);
REVOKE ALL ON egress_failure FROM PUBLIC;
REVOKE ALL ON SEQUENCE egress_failure_egress_failure_id_seq FROM PUBLIC;
CREATE INDEX egress_failure_reported ON egress_failure (reported_at);
COMMENT ON TABLE egress_failure IS
    'reports that a session could not connect, whether they counted or not, with the names that were in use then, until egress_prune_history() removes them';
COMMENT ON COLUMN egress_failure.egress_failure_id IS 'id of the report';
COMMENT ON COLUMN egress_failure.reported_at IS 'when the report was made';
COMMENT ON COLUMN egress_failure.session_id IS 'the application''s id of the session';
COMMENT ON COLUMN egress_failure.failure IS 'gateway: the gateway did not answer; credential: the gateway refused the credential';
COMMENT ON COLUMN egress_failure.egress_gateway_id IS 'id of the gateway, which may have been deleted since';
COMMENT ON COLUMN egress_failure.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_failure.egress_credential_id IS 'id of the credential, which may have been deleted since';
COMMENT ON COLUMN egress_failure.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_failure.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_failure.user_id IS 'the application''s id of the user';

/* ------------------------------------- functions an application calls */

-- what functions return has a name: with a list of OUT arguments, psql's \df is wider than any terminal
CREATE TYPE egress_available_gateway AS (
    egress_gateway_id bigint, gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    available_connections bigint);
REVOKE ALL ON TYPE egress_available_gateway FROM PUBLIC;
COMMENT ON TYPE egress_available_gateway IS 'row type of egress_available_gateways()';
COMMENT ON COLUMN egress_available_gateway.egress_gateway_id IS 'id of the gateway, for egress_acquire_credential()';
COMMENT ON COLUMN egress_available_gateway.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_available_gateway.country IS 'country of the gateway';
COMMENT ON COLUMN egress_available_gateway.city IS 'city of the gateway';
COMMENT ON COLUMN egress_available_gateway.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_available_gateway.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_available_gateway.provider_type IS 'type of the provider';
COMMENT ON COLUMN egress_available_gateway.available_connections IS
    'number of connections that the credentials that fit allow now; 0: all are full; NULL: one has neither a limit nor once_per_gateway, and the user has no limit';

CREATE FUNCTION egress_available_gateways(user_id text, workspace_id text DEFAULT NULL)
RETURNS SETOF egress_available_gateway
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_available_gateways(text, text) FROM PUBLIC;
COMMENT ON FUNCTION egress_available_gateways(text, text) IS
'Returns the launch menu: the gateways that a user may select for a workspace. A benched gateway is not in the menu.
The rows are ordered by provider name, country, city (nulls last), gateway name and id.
The column available_connections counts the connections that the credentials that fit allow now. A credential with once_per_gateway counts as 1 at most, even if it has no limit, and as 0 while it has a lease at the gateway. A benched credential counts as full. If egress_user_limit limits the user, the number is at most what that limit leaves.
Works on a hot standby.
user_id: the application''s id of the user, 1 to 255 bytes.
workspace_id: the application''s id of the workspace, 1 to 255 bytes; NULL: no workspace.
SQLSTATE: 22004 user_id is null; 22023 an id is empty or longer than 255 bytes.';
CREATE FUNCTION egress_available_gateways(user_id egress_id, workspace_id egress_id DEFAULT NULL)
RETURNS SETOF egress_available_gateway
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_available_gateways(egress_id, egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_available_gateways(egress_id, egress_id) IS
'The same as egress_available_gateways(text, text) for ids of other types than text.
user_id, workspace_id: uuids, numbers, or a mixture of these and strings.
SQLSTATE: 22004, 22023 as there.';

CREATE TYPE egress_acquired_credential AS (
    egress_credential_id bigint, credential_name text,
    username text, password text, private_key text, custom_credential text,
    gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    config text, acquired_at timestamptz,
    client_certificate text, client_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_acquired_credential FROM PUBLIC;
COMMENT ON TYPE egress_acquired_credential IS 'row type of egress_acquire_credential()';
COMMENT ON COLUMN egress_acquired_credential.egress_credential_id IS 'id of the credential';
COMMENT ON COLUMN egress_acquired_credential.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_acquired_credential.username IS 'the credential''s username, for openvpn';
COMMENT ON COLUMN egress_acquired_credential.password IS 'the credential''s password, opened, for openvpn';
COMMENT ON COLUMN egress_acquired_credential.private_key IS 'the credential''s private key, opened, for wireguard';
COMMENT ON COLUMN egress_acquired_credential.custom_credential IS 'the credential''s custom_credential, opened, for custom';
COMMENT ON COLUMN egress_acquired_credential.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_acquired_credential.country IS 'country of the gateway';
COMMENT ON COLUMN egress_acquired_credential.city IS 'city of the gateway';
COMMENT ON COLUMN egress_acquired_credential.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_acquired_credential.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_acquired_credential.provider_type IS 'type of the provider';
COMMENT ON COLUMN egress_acquired_credential.config IS
    'the config of the gateway, completed with the credential, ready to run; NULL if the gateway has none';
COMMENT ON COLUMN egress_acquired_credential.acquired_at IS 'when the lease was acquired';
COMMENT ON COLUMN egress_acquired_credential.client_certificate IS 'the credential''s certificate, for openvpn';
COMMENT ON COLUMN egress_acquired_credential.client_key IS 'the private key of the certificate, opened, for openvpn';
COMMENT ON COLUMN egress_acquired_credential.address IS 'the addresses that belong to the key, for wireguard';
COMMENT ON COLUMN egress_acquired_credential.preshared_key IS 'the credential''s preshared key, opened, for wireguard';

CREATE FUNCTION egress_acquire_credential(
    user_id text, workspace_id text, egress_gateway_id bigint, session_id text, ttl interval DEFAULT NULL)
RETURNS egress_acquired_credential
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_credential(text, text, bigint, text, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_acquire_credential(text, text, bigint, text, interval) IS
'Leases a connection of a credential to a session, and returns what the session needs to connect.
The credential is the first one, by ascending id, that fits the call and has a connection free. If the provider''s credential_order is spread, the search starts at a random credential.
The search skips a benched credential. It also skips a credential with a secret that cannot be opened, with a WARNING in the server''s log.
If the session already holds a lease for the same user, workspace and gateway, the function returns that lease and does not change when it ends.
The function does not wait for open transactions of other sessions, with two exceptions: one that took or ended a lease of the same session_id, and one that changes the session''s row in a table that was attached with must_exist.
user_id, session_id: the application''s ids of the user and the session, 1 to 255 bytes.
workspace_id: the application''s id of the workspace, 1 to 255 bytes; NULL: no workspace.
egress_gateway_id: a gateway of the menu.
ttl: how long the lease lasts unless egress_renew_lease() changes its end, more than 0 and at most 100 years; a day has 24 hours, and months are counted in UTC. NULL: until the lease is released.
Returns one row: the credential with its secrets opened, the gateway, and the gateway''s config with the credential in it, ready to run.
SQLSTATE: 22004 an argument other than workspace_id and ttl is null; 22023 an id is empty or longer than 255 bytes, ttl is out of range, or no attached session table can contain session_id; 25006 the transaction is read-only, or the server is a standby; 42703 the id column of an attached session table no longer exists, and a table was attached with must_exist; NG001 the gateway does not exist; NG002 the gateway is not available to this call, or is benched; NG003 no enabled credential fits; NG004 every credential that fits and can be opened is at its limit or benched: try again later; NG005 the session holds a lease for another user, workspace or gateway; NG006 no credential is left that can be opened, or that of the lease that the session holds cannot be; NG007 the config and the credential do not fit together; NG008 the user has as many connections as egress_user_limit allows; NG009 the session is in no attached session table, or is over, and a table was attached with must_exist.';
CREATE FUNCTION egress_acquire_credential(
    user_id egress_id, workspace_id egress_id, egress_gateway_id bigint, session_id egress_id, ttl interval DEFAULT NULL)
RETURNS egress_acquired_credential
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_credential(egress_id, egress_id, bigint, egress_id, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_acquire_credential(egress_id, egress_id, bigint, egress_id, interval) IS
'The same as egress_acquire_credential(text, text, bigint, text, interval) for ids of other types than text.
user_id, workspace_id, session_id: uuids, numbers, or a mixture of these and strings.
egress_gateway_id, ttl: as there.
SQLSTATE: 22004, 22023, 25006, 42703, NG001, NG002, NG003, NG004, NG005, NG006, NG007, NG008, NG009 as there.';

CREATE TYPE egress_acquired_gateway AS (
    egress_gateway_id bigint,
    egress_credential_id bigint, credential_name text,
    username text, password text, private_key text, custom_credential text,
    gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    config text, acquired_at timestamptz,
    client_certificate text, client_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_acquired_gateway FROM PUBLIC;
COMMENT ON TYPE egress_acquired_gateway IS 'row type of egress_acquire_gateway()';
COMMENT ON COLUMN egress_acquired_gateway.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_acquired_gateway.egress_credential_id IS 'id of the credential';
COMMENT ON COLUMN egress_acquired_gateway.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_acquired_gateway.username IS 'the credential''s username, for openvpn';
COMMENT ON COLUMN egress_acquired_gateway.password IS 'the credential''s password, opened, for openvpn';
COMMENT ON COLUMN egress_acquired_gateway.private_key IS 'the credential''s private key, opened, for wireguard';
COMMENT ON COLUMN egress_acquired_gateway.custom_credential IS 'the credential''s custom_credential, opened, for custom';
COMMENT ON COLUMN egress_acquired_gateway.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_acquired_gateway.country IS 'country of the gateway';
COMMENT ON COLUMN egress_acquired_gateway.city IS 'city of the gateway';
COMMENT ON COLUMN egress_acquired_gateway.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_acquired_gateway.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_acquired_gateway.provider_type IS 'type of the provider';
COMMENT ON COLUMN egress_acquired_gateway.config IS
    'the config of the gateway, completed with the credential, ready to run; NULL if the gateway has none';
COMMENT ON COLUMN egress_acquired_gateway.acquired_at IS 'when the lease was acquired';
COMMENT ON COLUMN egress_acquired_gateway.client_certificate IS 'the credential''s certificate, for openvpn';
COMMENT ON COLUMN egress_acquired_gateway.client_key IS 'the private key of the certificate, opened, for openvpn';
COMMENT ON COLUMN egress_acquired_gateway.address IS 'the addresses that belong to the key, for wireguard';
COMMENT ON COLUMN egress_acquired_gateway.preshared_key IS 'the credential''s preshared key, opened, for wireguard';

CREATE FUNCTION egress_acquire_gateway(
    user_id text, workspace_id text, session_id text,
    countries text[] DEFAULT NULL, cities text[] DEFAULT NULL, providers text[] DEFAULT NULL,
    avoid bigint[] DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS egress_acquired_gateway
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval) IS
'Selects a gateway of the call''s menu that matches a wish and has a connection free, and leases a connection to it to a session.
The order of countries decides first, that of cities within one country, and that of providers within one city. Of the gateways that are then equal, the function selects one with few active connections. It skips a gateway without a free connection.
If the session already holds a lease for the same user and workspace at a gateway that matches the wish, the function returns that lease and does not change when it ends.
The function waits for other transactions as egress_acquire_credential() does.
user_id, session_id: the application''s ids of the user and the session, 1 to 255 bytes.
workspace_id: the application''s id of the workspace, 1 to 255 bytes; NULL: no workspace.
countries, cities, providers: names that the gateway must match, in order of preference and in any letter case. NULL: any.
avoid: ids of gateways that are not to be selected. NULL or an empty array: none.
ttl: as for egress_acquire_credential().
Returns one row: the id of the gateway, and the columns of egress_acquire_credential().
SQLSTATE: 22004 user_id or session_id is null, or an array contains null; 22023 an id is empty or longer than 255 bytes, ttl is out of range, no attached session table can contain session_id, an array has more than one dimension, or countries, cities or providers is an empty array; 25006, 42703, NG007, NG008, NG009 as for egress_acquire_credential(); NG002 no gateway that is available to this call matches the wish, or all that do are benched; NG004 every credential that fits at these gateways and can be opened is at its limit or benched: try again later; NG005 the session holds a lease for another user or workspace, or at a gateway that does not match the wish; NG006 no credential is left that can be opened, or that of the lease that the session holds cannot be.';
CREATE FUNCTION egress_acquire_gateway(
    user_id egress_id, workspace_id egress_id, session_id egress_id,
    countries text[] DEFAULT NULL, cities text[] DEFAULT NULL, providers text[] DEFAULT NULL,
    avoid bigint[] DEFAULT NULL, ttl interval DEFAULT NULL)
RETURNS egress_acquired_gateway
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_gateway(egress_id, egress_id, egress_id, text[], text[], text[], bigint[], interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_acquire_gateway(egress_id, egress_id, egress_id, text[], text[], text[], bigint[], interval) IS
'The same as egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval) for ids of other types than text.
user_id, workspace_id, session_id: uuids, numbers, or a mixture of these and strings.
countries, cities, providers, avoid, ttl: as there.
SQLSTATE: 22004, 22023, 25006, 42703, NG002, NG004, NG005, NG006, NG007, NG008, NG009 as there.';

CREATE FUNCTION egress_release_credential(session_id text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_release_credential(text) FROM PUBLIC;
COMMENT ON FUNCTION egress_release_credential(text) IS
'Ends the lease of a session, and writes it to egress_lease_history with the reason released. Other sessions can take the connection after commit, or when it has cooled down.
session_id: the application''s id of the session, 1 to 255 bytes, as it was given to the acquire. An id in another form than the session table writes, such as a uuid in capitals or a number with a leading zero, is another id and ends no lease.
Returns true if the function ended a lease, false if the session had none.
SQLSTATE: 22004 session_id is null; 22023 session_id is empty or longer than 255 bytes; 25006 the transaction is read-only, or the server is a standby.';
CREATE FUNCTION egress_release_credential(session_id egress_id) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_release_credential(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_release_credential(egress_id) IS
'The same as egress_release_credential(text) for an id of another type than text.
session_id: a uuid, a number or a string.
SQLSTATE: 22004, 22023, 25006 as there.';

CREATE FUNCTION egress_renew_lease(session_id text, ttl interval) RETURNS timestamptz
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_renew_lease(text, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_renew_lease(text, interval) IS
'Sets the end of a session''s lease to the present time plus ttl, which may be later or earlier than before.
session_id: the application''s id of the session, 1 to 255 bytes, as it was given to the acquire. An id in another form is another id, which has no lease.
ttl: more than 0 and at most 100 years; a day has 24 hours, and months are counted in UTC. NULL: the lease lasts until it is released.
Returns the new end of the lease: infinity if ttl is NULL, and NULL if the session has no lease or its lease has expired. In the last case, acquire again.
SQLSTATE: 22004 session_id is null; 22023 session_id is empty or longer than 255 bytes, or ttl is out of range; 25006 the transaction is read-only, or the server is a standby.';
CREATE FUNCTION egress_renew_lease(session_id egress_id, ttl interval) RETURNS timestamptz
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_renew_lease(egress_id, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_renew_lease(egress_id, interval) IS
'The same as egress_renew_lease(text, interval) for an id of another type than text.
session_id: a uuid, a number or a string.
ttl: as there.
SQLSTATE: 22004, 22023, 25006 as there.';

CREATE FUNCTION egress_report_failure(session_id text, failure text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_report_failure(text, text) FROM PUBLIC;
CREATE FUNCTION egress_report_failure(session_id egress_id, failure text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_report_failure(egress_id, text) FROM PUBLIC;
CREATE FUNCTION egress_report_success(session_id text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_report_success(text) FROM PUBLIC;
CREATE FUNCTION egress_report_success(session_id egress_id) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_report_success(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_report_failure(text, text) IS
'Reports that a session that holds a lease could not connect, and writes the report to egress_failure.
The gateway or the credential is benched after such reports of as many different sessions as egress_provider.bench_after says, without a success in between. The bench lasts for egress_provider.bench_for, doubled with each further bench before a success, to one hour at most.
A benched gateway is not available, and acquires skip a benched credential like a full one. Reports that are made during a bench do not count. The bench ends when its time is over.
The report counts after commit. The function does not wait for other transactions.
session_id: the application''s id of the session, 1 to 255 bytes.
failure: gateway if the gateway does not answer, credential if the gateway has refused the credential.
SQLSTATE: 22004 an argument is null; 22023 session_id is empty or longer than 255 bytes, failure is not one of these, or the session has no live lease; 25006 the transaction is read-only, or the server is a standby.';
COMMENT ON FUNCTION egress_report_failure(egress_id, text) IS
'The same as egress_report_failure(text, text) for an id of another type than text.
session_id: a uuid, a number or a string.
failure: as there.
SQLSTATE: 22004, 22023, 25006 as there.';
COMMENT ON FUNCTION egress_report_success(text) IS
'Reports that a session that holds a lease is connected. The gateway and the credential of the lease are not benched any longer, and earlier failures do not count.
The function writes nothing if no failure was reported. It does not wait for other transactions.
session_id: the application''s id of the session, 1 to 255 bytes.
SQLSTATE: 22004 session_id is null; 22023 session_id is empty or longer than 255 bytes, or the session has no live lease; 25006 the transaction is read-only, or the server is a standby.';
COMMENT ON FUNCTION egress_report_success(egress_id) IS
'The same as egress_report_success(text) for an id of another type than text.
session_id: a uuid, a number or a string.
SQLSTATE: 22004, 22023, 25006 as there.';

CREATE FUNCTION egress_expire_leases() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_expire_leases() FROM PUBLIC;
COMMENT ON FUNCTION egress_expire_leases() IS
'Ends all expired leases in the current transaction, and writes them to egress_lease_history with the reason expired.
An expired lease does not count, and an acquire that needs its connection ends it. This function ends the others. Their connections do not count as held while its transaction is open. From a scheduler, use CALL egress_sweep_leases(), which commits each batch.
The function does not wait. It leaves out a lease that another transaction is renewing or ending.
For each lease, the function does NOTIFY egress_lease_ended with {"session_id": ..., "reason": "expired"}, which PostgreSQL sends at commit. A transaction that is prepared sends nothing. An acquire that ends the expired lease of another session notifies in the same way.
Returns the number of leases that it ended.
SQLSTATE: 25006 the transaction is read-only, or the server is a standby.';

CREATE FUNCTION egress_expire_leases(max_rows integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'egress_expire_leases_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_expire_leases(integer) FROM PUBLIC;
COMMENT ON FUNCTION egress_expire_leases(integer) IS
'Ends expired leases as egress_expire_leases() does, but at most max_rows of them, in no particular order: a batch for a transaction of its own. Concurrent calls end different leases.
max_rows: how many leases to end at most, more than 0.
Returns the number of leases that it ended. If that is less than max_rows, no expired lease is left, except for those that other transactions are renewing or ending.
SQLSTATE: 22004 max_rows is null; 22023 max_rows is not more than 0; 25006 the transaction is read-only, or the server is a standby.';

-- (without SECURITY DEFINER and SET, with which a procedure may not commit: the function that it calls has them)
CREATE PROCEDURE egress_sweep_leases(batch_size integer DEFAULT 1000)
AS 'MODULE_PATHNAME' LANGUAGE C;
REVOKE ALL ON PROCEDURE egress_sweep_leases(integer) FROM PUBLIC;
COMMENT ON PROCEDURE egress_sweep_leases(integer) IS
'Ends all expired leases as egress_expire_leases() does, but in batches, each in a transaction of its own. It is meant for a scheduler.
The procedure does not wait. It leaves out a lease that another transaction is renewing or ending. Concurrent calls share the work.
It must be called outside a transaction block. It runs with the rights of its caller, who also needs EXECUTE on egress_expire_leases(integer).
batch_size: how many leases to end in a batch, more than 0.
SQLSTATE: 22004 batch_size is null; 22023 batch_size is not more than 0; 25006 the transaction is read-only, or the server is a standby; 2D000 the call is in a transaction block or in a function; 42501 the caller may not execute egress_expire_leases(integer).';

CREATE FUNCTION egress_gateway_required(workspace_id text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_gateway_required(text) FROM PUBLIC;
COMMENT ON FUNCTION egress_gateway_required(text) IS
'Returns whether a session in a workspace must connect through a gateway: whether the workspace overrides egress gateways, and an enabled mapping has the workspace as its subject.
The state of the gateways does not matter. If all of them are disabled, withdrawn or deleted, that is no reason to let sessions connect without one.
Works on a hot standby.
workspace_id: the application''s id of the workspace, 1 to 255 bytes. The function returns false for NULL.
SQLSTATE: 22023 workspace_id is empty or longer than 255 bytes.';
CREATE FUNCTION egress_gateway_required(workspace_id egress_id) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_gateway_required(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_gateway_required(egress_id) IS
'The same as egress_gateway_required(text) for an id of another type than text.
workspace_id: a uuid, a number or a string.
SQLSTATE: 22023 as there.';

CREATE FUNCTION egress_release_on_session_end() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_release_on_session_end() FROM PUBLIC;
COMMENT ON FUNCTION egress_release_on_session_end() IS
'Trigger function for the application''s session table. It ends the lease of a session that ends, with the reason session_end. A row without a lease is not an error.
The first argument of the trigger is the name of the column with the session id, which may be of any type with a text form. The second argument, optional, is must_exist: an acquire is then refused for a session that is in no attached table.
The text form of an id is that of PostgreSQL''s default settings, with timestamptz in UTC, whatever the settings of the session are. The application must use the same form.
Create the triggers AFTER DELETE FOR EACH ROW, AFTER UPDATE FOR EACH ROW WHEN (...), and BEFORE TRUNCATE FOR EACH STATEMENT.
SQLSTATE: 22023 the trigger was created in another way, or its column does not exist; 25006 the transaction is read-only, and there is a lease to end.';

/*
 * The four functions that attach and detach have no search_path of their own: the names in ended_when are looked up as in a
 * CREATE TRIGGER of the caller's, and so are those in the event triggers that our DDL fires.
 */
CREATE FUNCTION egress_attach_sessions(
    session_table regclass, session_id_column name, ended_when text DEFAULT NULL, must_exist boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_attach_sessions(regclass, name, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION egress_attach_sessions(regclass, name, text, boolean) IS
'Creates triggers on the application''s session table, so that the end of a session ends its lease. A session ends when its row is deleted or truncated, when its id changes, and when ended_when holds after an update.
Leases of sessions that are in the table already and for which ended_when holds end at once. In ended_when, OLD is then a row of nulls.
The text form of an id is that described for egress_release_on_session_end().
The triggers are ENABLE ALWAYS. They also fire if session_replication_role is replica, and for rows that a subscription applies, unless the subscription also applies those of egress_lease.
The function runs with the rights of its caller.
session_table: a table that the caller owns.
session_id_column: the column with the session ids, of any type with a text form. A WARNING says if it is not unique.
ended_when: the condition of a trigger''s WHEN clause, such as NEW.status = ''stopped''. NULL: a session ends only with its row or its id.
must_exist: whether an acquire is refused with NG009 for a session that is in no attached table, or is over. The acquire then locks the session''s row until its transaction ends: FOR KEY SHARE, or FOR NO KEY UPDATE if ended_when is given or the column is not a key. It waits for an open transaction that changes the row.
SQLSTATE: 22004 an argument other than ended_when is null; 25006 the transaction is read-only, or the server is a standby; 42501 the caller does not own the table; 42601 ended_when is not one condition, or CREATE TRIGGER refuses it with this or another code; 42703 the column does not exist; 42710 the table is attached already; 42809 the table is not a table of an application; 42P01 the table does not exist; 42P10 the column is a system column or a virtual generated column.';

CREATE FUNCTION egress_detach_sessions(session_table regclass) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_detach_sessions(regclass) FROM PUBLIC;
COMMENT ON FUNCTION egress_detach_sessions(regclass) IS
'Drops the triggers that egress_attach_sessions() created on a table. Leases stay. The function runs with the rights of its caller.
session_table: a table that the caller owns.
SQLSTATE: 22004 session_table is null; 25006 the transaction is read-only, or the server is a standby; 42501 the caller does not own the table; 42704 the table is not attached; 42809 the table is not a table of an application; 42P01 the table does not exist.';

CREATE FUNCTION egress_attach_group_members(member_table regclass, user_id_column name, group_id_column name) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_attach_group_members(regclass, name, name) FROM PUBLIC;
COMMENT ON FUNCTION egress_attach_group_members(regclass, name, name) IS
'Makes egress_group_member a mirror of the application''s membership table: replaces its rows by those of the table, and creates triggers on the table that keep it up to date. One table can be attached at a time.
While a table is attached, other changes of egress_group_member have no effect, with a NOTICE.
The text form of an id is that of PostgreSQL''s default settings, with timestamptz in UTC, whatever the settings of the session are. The application must use the same form.
The triggers are ENABLE ALWAYS, as those of egress_attach_sessions(). The function runs with the rights of its caller.
member_table: a table that the caller owns.
user_id_column, group_id_column: the columns with the ids, of any type with a text form. A row with an id that is NULL, empty or longer than 255 bytes is ignored.
SQLSTATE: 22004 an argument is null; 25006 the transaction is read-only, or the server is a standby; 42501 the caller does not own the table; 42703 a column does not exist; 42710 this or another table is attached already; 42809 the table is not a table of an application, or is temporary; 42P01 the table does not exist; 42P10 a column is a system column or a virtual generated column.';

CREATE FUNCTION egress_detach_group_members(member_table regclass) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_detach_group_members(regclass) FROM PUBLIC;
COMMENT ON FUNCTION egress_detach_group_members(regclass) IS
'Drops the triggers that egress_attach_group_members() created on a table, and deletes the rows of egress_group_member, which came from that table. The function runs with the rights of its caller.
member_table: a table that the caller owns.
SQLSTATE: 22004 member_table is null; 25006 the transaction is read-only, or the server is a standby; 42501 the caller does not own the table; 42704 the table is not attached; 42809 the table is not a table of an application; 42P01 the table does not exist.';

CREATE FUNCTION egress_follow_group_members() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_follow_group_members() FROM PUBLIC;
COMMENT ON FUNCTION egress_follow_group_members() IS
'Trigger function that egress_attach_group_members() puts on the application''s membership table. The arguments of the trigger are the names of the columns with the ids of the user and the group, and the name of the table.
SQLSTATE: 22023 the trigger was created in another way or under another name, another table is attached, or a column does not exist; 55000 a trigger, rule or policy of egress_group_member prevents the change.';

/* ------------------------------- functions for administrators and schedulers */

CREATE TYPE egress_access_explanation AS (
    egress_gateway_id bigint, gateway_name text, provider_name text,
    verdict text, egress_credential_id bigint, detail text);
REVOKE ALL ON TYPE egress_access_explanation FROM PUBLIC;
COMMENT ON TYPE egress_access_explanation IS 'row type of egress_explain_access()';
COMMENT ON COLUMN egress_access_explanation.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_access_explanation.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_access_explanation.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_access_explanation.verdict IS
    'whether the gateway is available, or the first reason why it is not: see egress_explain_access()';
COMMENT ON COLUMN egress_access_explanation.egress_credential_id IS
    'the credential that an acquire would take now; NULL: it would get none';
COMMENT ON COLUMN egress_access_explanation.detail IS 'what an administrator would change';

CREATE FUNCTION egress_explain_access(user_id text, workspace_id text DEFAULT NULL, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_access_explanation
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_explain_access(text, text, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_explain_access(text, text, bigint) IS
'Explains for each gateway why a user may or may not use it in a workspace. The rows have the order of the menu.
The verdict is the first of these that applies: gateway_withdrawn, gateway_disabled, provider_disabled, overridden (the gateway is mapped, but the override of the workspace excludes it), not_mapped, no_credential, benched, user_limit, at_limit, available. The menu contains exactly the gateways whose verdict is user_limit, at_limit or available.
The verdict benched is about the gateway. If all credentials are benched, the verdict is at_limit.
An acquire would not take a credential whose key is missing, so the verdict is also at_limit if there is no other. The function opens no secret, so it does not detect one that was changed.
Works on a hot standby.
user_id: the application''s id of the user, 1 to 255 bytes.
workspace_id: the application''s id of the workspace, 1 to 255 bytes; NULL: no workspace.
egress_gateway_id: the gateway to explain. NULL: all gateways.
SQLSTATE: 22004 user_id is null; 22023 an id is empty or longer than 255 bytes; NG001 the gateway does not exist.';
CREATE FUNCTION egress_explain_access(user_id egress_id, workspace_id egress_id DEFAULT NULL, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_access_explanation
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_explain_access(egress_id, egress_id, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_explain_access(egress_id, egress_id, bigint) IS
'The same as egress_explain_access(text, text, bigint) for ids of other types than text.
user_id, workspace_id: uuids, numbers, or a mixture of these and strings.
egress_gateway_id: as there.
SQLSTATE: 22004, 22023, NG001 as there.';

CREATE FUNCTION egress_orphaned_sessions() RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_orphaned_sessions() FROM PUBLIC;
COMMENT ON FUNCTION egress_orphaned_sessions() IS
'Returns the session ids of leases, expired or not, whose session is in no attached session table, or is over. The view egress_orphaned_connection uses it.
A table is attached if it has row triggers with egress_release_on_session_end(), created by egress_attach_sessions() or by hand. A session is over if the ended_when of egress_attach_sessions() holds for its row, with nulls for OLD.
Returns no rows if no table is attached. The function looks each session up in the tables with the rights of their owners. It works on a hot standby.
SQLSTATE: 42703 the id column of an attached session table no longer exists.';

CREATE FUNCTION egress_unentitled_sessions() RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_unentitled_sessions() FROM PUBLIC;
COMMENT ON FUNCTION egress_unentitled_sessions() IS
'Returns the session ids of leases, expired or not, for which the rules of access would no longer give that credential for that gateway. The view egress_unentitled_connection uses it.
The function decides as an acquire does: by the enabled mappings, the credential of the lease, the gateways that these select, the gateway and the provider. The bench and the limits do not matter, because they take nothing from a session that has a connection.
Works on a hot standby.
SQLSTATE: none of its own.';

CREATE TYPE egress_ended_lease AS (
    session_id text, user_id text, workspace_id text, egress_gateway_id bigint, egress_credential_id bigint);
REVOKE ALL ON TYPE egress_ended_lease FROM PUBLIC;
COMMENT ON TYPE egress_ended_lease IS 'row type of egress_end_leases()';
COMMENT ON COLUMN egress_ended_lease.session_id IS 'the application''s id of the session';
COMMENT ON COLUMN egress_ended_lease.user_id IS 'the application''s id of the user';
COMMENT ON COLUMN egress_ended_lease.workspace_id IS 'the application''s id of the workspace; NULL: none';
COMMENT ON COLUMN egress_ended_lease.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_ended_lease.egress_credential_id IS 'id of the credential';

CREATE FUNCTION egress_end_leases(
    session_id text DEFAULT NULL, user_id text DEFAULT NULL, workspace_id text DEFAULT NULL,
    egress_gateway_id bigint DEFAULT NULL, egress_credential_id bigint DEFAULT NULL, egress_provider_id bigint DEFAULT NULL,
    unentitled boolean DEFAULT NULL, orphaned boolean DEFAULT NULL)
RETURNS SETOF egress_ended_lease
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean) FROM PUBLIC;
COMMENT ON FUNCTION egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean) IS
'Ends the live leases that match all arguments that are not null, and writes them to egress_lease_history with the reason ended. Other sessions can take the connections after commit, or when they have cooled down.
The function does not wait. It leaves out a lease that another transaction is taking, renewing or ending, and does not return it; call the function again for these.
For each lease, the function does NOTIFY egress_lease_ended with {"session_id": ..., "reason": "ended"}, which PostgreSQL sends at commit. A transaction that is prepared sends nothing.
session_id, user_id, workspace_id: the application''s ids, 1 to 255 bytes, as they were given to the acquire.
egress_gateway_id, egress_credential_id: the gateway and the credential of the lease.
egress_provider_id: the provider of the gateway.
unentitled: true for the leases in egress_unentitled_connection, for which the present rules of access would not give that credential for that gateway.
orphaned: true for the leases in egress_orphaned_connection, whose session is in no attached session table, or is over.
Returns the leases that it ended.
SQLSTATE: 22023 all arguments are null, an id is empty or longer than 255 bytes, or unentitled or orphaned is false; 25006 the transaction is read-only, or the server is a standby; 42703 the id column of an attached session table no longer exists.';
CREATE FUNCTION egress_end_leases(
    session_id egress_id, user_id egress_id DEFAULT NULL, workspace_id egress_id DEFAULT NULL,
    egress_gateway_id bigint DEFAULT NULL, egress_credential_id bigint DEFAULT NULL, egress_provider_id bigint DEFAULT NULL,
    unentitled boolean DEFAULT NULL, orphaned boolean DEFAULT NULL)
RETURNS SETOF egress_ended_lease
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_end_leases(egress_id, egress_id, egress_id, bigint, bigint, bigint, boolean, boolean) FROM PUBLIC;
COMMENT ON FUNCTION egress_end_leases(egress_id, egress_id, egress_id, bigint, bigint, bigint, boolean, boolean) IS
'The same as egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean) for ids of other types than text.
session_id, user_id, workspace_id: uuids, numbers, or a mixture of these and strings. The first of them must be given, by name.
egress_gateway_id, egress_credential_id, egress_provider_id, unentitled, orphaned: as there.
SQLSTATE: 22023, 25006, 42703 as there.';
CREATE FUNCTION egress_end_leases(
    user_id egress_id, workspace_id egress_id DEFAULT NULL,
    egress_gateway_id bigint DEFAULT NULL, egress_credential_id bigint DEFAULT NULL, egress_provider_id bigint DEFAULT NULL,
    unentitled boolean DEFAULT NULL, orphaned boolean DEFAULT NULL)
RETURNS SETOF egress_ended_lease
AS 'MODULE_PATHNAME', 'egress_end_leases_of_user' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_end_leases(egress_id, egress_id, bigint, bigint, bigint, boolean, boolean) FROM PUBLIC;
COMMENT ON FUNCTION egress_end_leases(egress_id, egress_id, bigint, bigint, bigint, boolean, boolean) IS
'The same as egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean) for ids of other types than text, without session_id.
user_id, workspace_id: uuids, numbers, or a mixture of these and strings. The first of them must be given, by name.
egress_gateway_id, egress_credential_id, egress_provider_id, unentitled, orphaned: as there.
SQLSTATE: 22023, 25006, 42703 as there.';
CREATE FUNCTION egress_end_leases(
    workspace_id egress_id,
    egress_gateway_id bigint DEFAULT NULL, egress_credential_id bigint DEFAULT NULL, egress_provider_id bigint DEFAULT NULL,
    unentitled boolean DEFAULT NULL, orphaned boolean DEFAULT NULL)
RETURNS SETOF egress_ended_lease
AS 'MODULE_PATHNAME', 'egress_end_leases_of_workspace' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_end_leases(egress_id, bigint, bigint, bigint, boolean, boolean) FROM PUBLIC;
COMMENT ON FUNCTION egress_end_leases(egress_id, bigint, bigint, bigint, boolean, boolean) IS
'The same as egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean) for a workspace_id of another type than text, without session_id and user_id.
workspace_id: a uuid or a number. It must be given by name.
egress_gateway_id, egress_credential_id, egress_provider_id, unentitled, orphaned: as there.
SQLSTATE: 22023, 25006, 42703 as there.';

CREATE TYPE egress_imported_config AS (config text, removed text[]);
REVOKE ALL ON TYPE egress_imported_config FROM PUBLIC;
COMMENT ON TYPE egress_imported_config IS 'row type of egress_import_config()';
COMMENT ON COLUMN egress_imported_config.config IS 'the config, which passes the check of egress_gateway.config';
COMMENT ON COLUMN egress_imported_config.removed IS
    'a line for each directive that was removed, or replaced by something other than its file: line number, directive, reason';
CREATE TYPE egress_imported_credential AS (
    config text, removed text[],
    username text, password text, client_certificate text, client_key text,
    private_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_imported_credential FROM PUBLIC;
COMMENT ON TYPE egress_imported_credential IS 'row type of egress_import_credential()';
COMMENT ON COLUMN egress_imported_credential.config IS 'the config, which passes the check of egress_gateway.config';
COMMENT ON COLUMN egress_imported_credential.removed IS
    'a line for each directive that was removed, or replaced by something other than its file: line number, directive, reason';
COMMENT ON COLUMN egress_imported_credential.username IS 'the username of the file, for openvpn';
COMMENT ON COLUMN egress_imported_credential.password IS 'the password of the file, for openvpn';
COMMENT ON COLUMN egress_imported_credential.client_certificate IS 'the certificate of the file in PEM format, for openvpn';
COMMENT ON COLUMN egress_imported_credential.client_key IS 'the private key of the certificate in PEM format, for openvpn';
COMMENT ON COLUMN egress_imported_credential.private_key IS 'the private key of the file, for wireguard';
COMMENT ON COLUMN egress_imported_credential.address IS 'the addresses of the file, for wireguard';
COMMENT ON COLUMN egress_imported_credential.preshared_key IS 'the preshared key of the file, for wireguard';

CREATE FUNCTION egress_import_config(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL)
RETURNS egress_imported_config
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_import_config(egress_provider_type, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION egress_import_config(egress_provider_type, text, jsonb) IS
'Makes a config for egress_gateway.config from a file as a provider publishes it. The result passes the check of that column.
In the place of a directive that names a file, the result has the contents of the file as a block. These directives are ca, cert, key, tls-auth, tls-crypt, tls-crypt-v2, crl-verify, pkcs12, secret, extra-certs, dh and http-proxy-user-pass.
The function removes directives that only run commands, write files, set up the agent, are for other systems, or are for what openvpn 2.6 does by itself. It never removes one that checks the server.
provider_type: the type of the provider. For custom, the function returns the source unchanged.
source: the text of the .ovpn or .conf file.
files: the files that source names, an object by name without folders. A text file is a string, a binary file an object {"base64": "..."}. NULL: none.
Returns the config, and in removed a line for each directive that it removed, or replaced by something other than its file, such as "line 7: up: It runs a command on the agent."
SQLSTATE: 22004 provider_type or source is null; 22023 files is not an object, or one of the files is neither a string nor base64; NG007 no such config can be made: the detail names every line.';

CREATE FUNCTION egress_import_credential(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL)
RETURNS egress_imported_credential
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_import_credential(egress_provider_type, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION egress_import_credential(egress_provider_type, text, jsonb) IS
'Makes a config as egress_import_config() does, but returns what belongs to a credential in columns of its own and not in the config. Write these to egress_credential, which seals secrets.
provider_type, source, files: as for egress_import_config().
Returns config and removed, and what it finds of the following; the other columns are NULL. For openvpn: username and password of <auth-user-pass> or of the file that auth-user-pass names; client_certificate and client_key of <cert> and <key>, or of the files that cert and key name. For wireguard: private_key, address and preshared_key of PrivateKey, Address and PresharedKey.
SQLSTATE: 22004, 22023, NG007 as for egress_import_config().';

CREATE TYPE egress_synced_gateway AS (action text, egress_gateway_id bigint, name text);
REVOKE ALL ON TYPE egress_synced_gateway FROM PUBLIC;
COMMENT ON TYPE egress_synced_gateway IS 'row type of egress_sync_gateways()';
COMMENT ON COLUMN egress_synced_gateway.action IS 'added, updated, unchanged, withdrawn, returned or skipped';
COMMENT ON COLUMN egress_synced_gateway.egress_gateway_id IS 'id of the gateway; NULL if an entry was skipped and has no gateway';
COMMENT ON COLUMN egress_synced_gateway.name IS
    'name of the gateway; NULL if an entry was skipped and its name could not be read';

CREATE FUNCTION egress_sync_gateways(
    egress_provider_id bigint, gateways jsonb, max_withdrawn float8 DEFAULT 0.5,
    import boolean DEFAULT false, files jsonb DEFAULT NULL, skip_bad boolean DEFAULT false)
RETURNS SETOF egress_synced_gateway
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 1000;
REVOKE ALL ON FUNCTION egress_sync_gateways(bigint, jsonb, float8, boolean, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION egress_sync_gateways(bigint, jsonb, float8, boolean, jsonb, boolean) IS
'Makes the gateways of a managed provider those of a list. It adds new gateways, enabled if enable_new_managed_gateways of the provider is true; updates known ones; withdraws those that are not in the list; and takes back withdrawn ones that are in it again.
The function never changes enabled of a known gateway. It writes only rows that change. Acquires continue meanwhile; another sync of the same provider waits. An error leaves all gateways unchanged.
egress_provider_id: a provider that is managed.
gateways: an array of objects with the keys name, and country, city and config if the provider gives them. A gateway is known by its name. Other keys are ignored.
max_withdrawn: the share, from 0 to 1, of the gateways not yet withdrawn that the list may withdraw. A list that would withdraw more, and at least ten gateways, is refused. With 1 it may withdraw all.
import: whether egress_import_config() makes each config from that of the list and from files.
files: the files for the import, as for egress_import_config(). An entry may have the key files for files of its own, which take precedence. NULL: none.
skip_bad: whether an entry that is malformed, or has a config that cannot be used, is skipped with a WARNING. Its gateway then stays as it is. If the name of such an entry cannot be read, no gateway is withdrawn.
Returns a row for each entry of the list, in the order of the list, and then a row for each gateway that it withdrew.
SQLSTATE: 22004 an argument other than files is null; 22023 the provider does not exist, max_withdrawn is out of range, files cannot be read or import is false, gateways is not an array, or an entry is malformed or repeats a name; 25006 the transaction is read-only, or the server is a standby; 55000 the provider is not managed, or a trigger or rule of egress_gateway prevents a change; NG007 a config does not fit the type of the provider; NG010 the list would withdraw more than max_withdrawn.';

CREATE FUNCTION egress_unbench(egress_gateway_id bigint DEFAULT NULL, egress_credential_id bigint DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_unbench(bigint, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_unbench(bigint, bigint) IS
'Ends the bench of a gateway, a credential, or both, as a success would. Earlier failures do not count. The function does not wait for other transactions.
egress_gateway_id, egress_credential_id: the gateway and the credential. NULL: none.
Returns true if one of them was benched. Returns false if neither was, also if there is none with the id.
SQLSTATE: 22023 both arguments are null; 25006 the transaction is read-only, or the server is a standby.';

CREATE FUNCTION egress_prune_history(older_than interval) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_prune_history(interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_prune_history(interval) IS
'Deletes the rows of egress_lease_history whose connection ended, and the rows of egress_failure that were reported, longer ago than older_than, in the current transaction. It blocks no acquire and no release.
older_than: 0 or more; a day has 24 hours, and months are counted in UTC.
Returns the number of rows that it deleted.
SQLSTATE: 22004 older_than is null; 22023 older_than is negative or too long; 25006 the transaction is read-only, or the server is a standby; 55000 a rule of egress_lease_history or egress_failure prevents the deletion.';

CREATE FUNCTION egress_prune_history(older_than interval, max_rows bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'egress_prune_history_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_prune_history(interval, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_prune_history(interval, bigint) IS
'Deletes rows as egress_prune_history(interval) does, but at most max_rows of them, the oldest first: a batch for a transaction of its own. Concurrent calls delete different rows.
older_than: 0 or more; a day has 24 hours, and months are counted in UTC.
max_rows: how many rows to delete at most, more than 0.
Returns the number of rows that it deleted. If that is less than max_rows, no more are left.
SQLSTATE: 22004 an argument is null; 22023 older_than is negative or too long, or max_rows is not more than 0; 25006 the transaction is read-only, or the server is a standby; 55000 a rule of egress_lease_history or egress_failure prevents the deletion.';

CREATE FUNCTION egress_connections_at(moment timestamptz, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_lease_history
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_connections_at(timestamptz, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_connections_at(timestamptz, bigint) IS
'Returns who was connected at a moment: the connections that had begun and had not ended then, whether they have ended since or not.
moment: the moment.
egress_gateway_id: the gateway of the connections, which may have been deleted since. NULL: any gateway.
Returns rows of the type of egress_lease_history, ordered by acquired_at and session_id. For a connection that has not ended, egress_lease_history_id, released_at and release_reason are NULL, and the names are the present ones. For a lease that has expired and was not ended yet, released_at is when it expired, and release_reason is expired.
SQLSTATE: 22004 moment is null; 55000 a rule of egress_lease_history prevents the query.';

/* ---------------------------------------- functions an owner calls */

-- (without a search_path of its own, as those that attach)
CREATE FUNCTION egress_grant_access(role name, access text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_grant_access(name, text) FROM PUBLIC;
COMMENT ON FUNCTION egress_grant_access(name, text) IS
'Grants to a role the privileges that its work requires, among them USAGE on the schema of the extension. The function runs with the rights of its caller.
role: an existing role.
access: app to call the functions that an application calls, and to read nothing else; monitor to read the views and to explain access; admin to change the configuration tables, to read and dump all tables, and to call all functions but those that acquire, renew, report, attach, detach, grant or reveal.
SQLSTATE: 22004 an argument is null; 22023 access is not one of these; 25006 the transaction is read-only, or the server is a standby; 42501 the caller may not grant a privilege; 42704 the role does not exist.';

/* ------------------------------------------- functions about secrets */

CREATE FUNCTION egress_reveal_secret(secret egress_secret) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_reveal_secret(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_reveal_secret(egress_secret) IS
'Opens a secret. egress_grant_access() grants this function to no role.
secret: a secret column of egress_credential, or a sealed form.
Returns the text that was sealed.
SQLSTATE: 22004 secret is null; NG006 the key of the secret is missing, the secret was changed, or it has a character that the encoding of the database does not have.';

-- without a search_path of its own, which would cost more than the call: no name is looked up
CREATE FUNCTION egress_secret_state(secret egress_secret) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_state(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_state(egress_secret) IS
'Tells how a secret is stored, without opening it.
secret: a secret column of egress_credential.
Returns active key if the secret is sealed under the first key of the key file, older key if it is sealed under another key of the file, missing key if the file does not have the key or cannot be used, not sealed if the secret is stored as it is, and NULL for NULL.
SQLSTATE: none of its own.';

CREATE FUNCTION egress_config_has_secret(provider_type egress_provider_type, config text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_config_has_secret(egress_provider_type, text) FROM PUBLIC;
COMMENT ON FUNCTION egress_config_has_secret(egress_provider_type, text) IS
'Returns whether the config of a gateway contains a private key, a preshared key or a password, which are not sealed there. Returns NULL for NULL.
provider_type: the type of the provider. For custom, the function returns false.
config: the config.
SQLSTATE: none of its own.';

CREATE FUNCTION egress_rotate_secrets() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_rotate_secrets() FROM PUBLIC;
COMMENT ON FUNCTION egress_rotate_secrets() IS
'Seals every secret that is sealed under another key, or not at all, under the active key, which is the first key of the key file.
The function does so in one transaction. Acquires continue meanwhile; a transaction that changes a credential waits.
Returns the number of secrets that it sealed.
SQLSTATE: 25006 the transaction is read-only, or the server is a standby; 55000 no key file is set, or a trigger, rule or policy of egress_credential prevents the change; F0000 the key file cannot be used; NG006 a secret cannot be opened.';

CREATE FUNCTION egress_wireguard_public_key(private_key text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_wireguard_public_key(text) FROM PUBLIC;
COMMENT ON FUNCTION egress_wireguard_public_key(text) IS
'Returns the public key of a WireGuard private key, as wg pubkey prints it.
private_key: 32 bytes in base64.
SQLSTATE: 22004 private_key is null; 22023 private_key is not 32 bytes in base64.';

CREATE FUNCTION egress_credential_public_key(egress_credential_id bigint) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_credential_public_key(bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_credential_public_key(bigint) IS
'Returns the public key of a credential''s private_key, as wg pubkey prints it, also to a role that may not open the private key. Returns NULL if the credential has no private_key; only credentials of wireguard providers have one.
egress_credential_id: the credential.
SQLSTATE: 22004 egress_credential_id is null; 22023 the credential does not exist; NG006 the private key cannot be opened; NG007 the private key is not 32 bytes in base64.';

CREATE FUNCTION egress_generate_wireguard_key() RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_generate_wireguard_key() FROM PUBLIC;
COMMENT ON FUNCTION egress_generate_wireguard_key() IS
'Returns a new WireGuard private key, as wg genkey prints it: 32 bytes in base64.
SQLSTATE: none of its own.';

/* ------------------------------ triggers that keep the tables whole */

CREATE FUNCTION egress_fill_provider_type() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_fill_provider_type() FROM PUBLIC;
COMMENT ON FUNCTION egress_fill_provider_type() IS
'Trigger function of egress_gateway and egress_credential. It copies the type of the provider into a new row, and fills in once_per_gateway of a credential.
SQLSTATE: 22023 the trigger was created in another way or on another table; 23503 the provider does not exist.';

CREATE FUNCTION egress_fill_selection_provider() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_fill_selection_provider() FROM PUBLIC;
COMMENT ON FUNCTION egress_fill_selection_provider() IS
'Trigger function of the tables of selected gateways. It copies the provider of the mapping or credential into the row.
SQLSTATE: 22023 the trigger was created in another way or on another table; 23503 the mapping, credential or gateway does not exist, or the gateway belongs to another provider.';

CREATE FUNCTION egress_refuse_move() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_refuse_move() FROM PUBLIC;
COMMENT ON FUNCTION egress_refuse_move() IS
'Trigger function of egress_provider, egress_gateway and egress_credential. It refuses a change of the id or the provider of a gateway or credential, of the type of a provider that has gateways or credentials, and of the id of a provider that other rows refer to.
SQLSTATE: 22023 the trigger was created in another way or on another table; 23503 the change of a provider is refused; 23514 the change of a gateway or credential is refused.';

CREATE FUNCTION egress_end_expired_leases() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_end_expired_leases() FROM PUBLIC;
COMMENT ON FUNCTION egress_end_expired_leases() IS
'Trigger function of egress_provider, egress_gateway and egress_credential. Before a row is deleted, it ends the expired leases that use it.
SQLSTATE: 22023 the trigger was created in another way or on another table; 23503 a lease that has not expired uses the row, or a connection at the row is cooling down.';

CREATE FUNCTION egress_refuse_delete_in_use() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_refuse_delete_in_use() FROM PUBLIC;
COMMENT ON FUNCTION egress_refuse_delete_in_use() IS
'Trigger function of egress_gateway and egress_credential. It refuses to delete a row that a lease uses; leases of open transactions count.
SQLSTATE: 22023 the trigger was created in another way or on another table; 23503 a lease uses the row.';

CREATE FUNCTION egress_refuse_misfit() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_refuse_misfit() FROM PUBLIC;
COMMENT ON FUNCTION egress_refuse_misfit() IS
'Trigger function of egress_gateway and egress_credential. It checks that the config or the credential fits the type of the provider.
It accepts a secret whose key is missing without reading it, so that a dump can be restored without the key.
SQLSTATE: 22023 the trigger was created in another way or on another table; NG006 a secret was changed after it was sealed; NG007 the config or the credential does not fit the type of the provider.';

CREATE FUNCTION egress_leave_members_to_source() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_leave_members_to_source() FROM PUBLIC;
COMMENT ON FUNCTION egress_leave_members_to_source() IS
'Trigger function of egress_group_member. While a membership table is attached, it ignores changes that the triggers of that table do not make.
SQLSTATE: 22023 the trigger was created in another way or on another table; 55000 egress_group_member is truncated while a membership table is attached.';

CREATE FUNCTION egress_connection_freed() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_connection_freed() FROM PUBLIC;
COMMENT ON FUNCTION egress_connection_freed() IS
'Trigger function of egress_lease and egress_lease_expiry, for changes that functions of the extension do not make. It tells the index egress_credential_pool that a credential may have a connection free.
SQLSTATE: 22023 the trigger was created in another way or on another table.';

CREATE FUNCTION egress_restore_in_any_order() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_restore_in_any_order() FROM PUBLIC;
COMMENT ON FUNCTION egress_restore_in_any_order() IS
'Trigger function of the tables that refer to others. While pg_restore fills such a table as a superuser, it leaves the check of foreign keys to tables that are still empty to egress_check_restored(). While egress_group_member is filled, it locks the attached membership table.
SQLSTATE: 22023 the trigger was created in another way.';

CREATE FUNCTION egress_check_restored() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_check_restored() FROM PUBLIC;
COMMENT ON FUNCTION egress_check_restored() IS
'Trigger function of the tables to which others refer. After pg_restore has filled such a table as a superuser, it checks the foreign keys of the others. After egress_group_member was filled, it fills it again from the attached membership table, if there is one.
SQLSTATE: 22023 the trigger was created in another way; 23503 a row refers to a row that does not exist.';

CREATE TRIGGER egress_fill_provider_type BEFORE INSERT ON egress_gateway
    FOR EACH ROW EXECUTE FUNCTION egress_fill_provider_type();
CREATE TRIGGER egress_fill_provider_type BEFORE INSERT ON egress_credential
    FOR EACH ROW EXECUTE FUNCTION egress_fill_provider_type();

CREATE TRIGGER egress_fill_selection_provider BEFORE INSERT OR UPDATE ON egress_provider_mapping_gateway
    FOR EACH ROW EXECUTE FUNCTION egress_fill_selection_provider();
CREATE TRIGGER egress_fill_selection_provider BEFORE INSERT OR UPDATE ON egress_credential_gateway
    FOR EACH ROW EXECUTE FUNCTION egress_fill_selection_provider();

CREATE TRIGGER egress_refuse_move BEFORE UPDATE ON egress_provider FOR EACH ROW
    WHEN (OLD.egress_provider_id <> NEW.egress_provider_id OR OLD.provider_type <> NEW.provider_type)
    EXECUTE FUNCTION egress_refuse_move();
CREATE TRIGGER egress_refuse_move BEFORE UPDATE ON egress_gateway FOR EACH ROW
    WHEN (OLD.egress_gateway_id <> NEW.egress_gateway_id OR OLD.egress_provider_id <> NEW.egress_provider_id)
    EXECUTE FUNCTION egress_refuse_move();
CREATE TRIGGER egress_refuse_move BEFORE UPDATE ON egress_credential FOR EACH ROW
    WHEN (OLD.egress_credential_id <> NEW.egress_credential_id OR OLD.egress_provider_id <> NEW.egress_provider_id)
    EXECUTE FUNCTION egress_refuse_move();

-- triggers fire in the order of their names: by now the provider's type is filled in
CREATE TRIGGER egress_refuse_misfit BEFORE INSERT OR UPDATE OF config, provider_type ON egress_gateway
    FOR EACH ROW EXECUTE FUNCTION egress_refuse_misfit();
CREATE TRIGGER egress_refuse_misfit
    BEFORE INSERT OR UPDATE OF username, password, private_key, custom_credential, provider_type, client_certificate,
                               client_key, address, preshared_key ON egress_credential
    FOR EACH ROW EXECUTE FUNCTION egress_refuse_misfit();

CREATE TRIGGER egress_end_expired_leases BEFORE DELETE ON egress_provider
    FOR EACH ROW EXECUTE FUNCTION egress_end_expired_leases();
CREATE TRIGGER egress_end_expired_leases BEFORE DELETE ON egress_gateway
    FOR EACH ROW EXECUTE FUNCTION egress_end_expired_leases();
CREATE TRIGGER egress_end_expired_leases BEFORE DELETE ON egress_credential
    FOR EACH ROW EXECUTE FUNCTION egress_end_expired_leases();

CREATE TRIGGER egress_refuse_delete_in_use AFTER DELETE ON egress_gateway
    FOR EACH ROW EXECUTE FUNCTION egress_refuse_delete_in_use();
CREATE TRIGGER egress_refuse_delete_in_use AFTER DELETE ON egress_credential
    FOR EACH ROW EXECUTE FUNCTION egress_refuse_delete_in_use();

-- what triggers write is the mirror of the table that is attached, or somebody's own way of keeping one
-- what is written by hand, or comes from another server, may free a connection, too: the functions say so themselves, see src/pool.c
CREATE TRIGGER egress_connection_freed AFTER UPDATE OR DELETE ON egress_lease
    FOR EACH ROW EXECUTE FUNCTION egress_connection_freed();
CREATE TRIGGER egress_connections_freed AFTER TRUNCATE ON egress_lease
    FOR EACH STATEMENT EXECUTE FUNCTION egress_connection_freed();
CREATE TRIGGER egress_connection_freed AFTER INSERT OR UPDATE ON egress_lease_expiry
    FOR EACH ROW EXECUTE FUNCTION egress_connection_freed();
ALTER TABLE egress_lease ENABLE ALWAYS TRIGGER egress_connection_freed;
ALTER TABLE egress_lease ENABLE ALWAYS TRIGGER egress_connections_freed;
ALTER TABLE egress_lease_expiry ENABLE ALWAYS TRIGGER egress_connection_freed;

CREATE TRIGGER egress_leave_members_to_source BEFORE INSERT OR UPDATE OR DELETE ON egress_group_member FOR EACH ROW
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION egress_leave_members_to_source();
CREATE TRIGGER egress_leave_members_whole BEFORE TRUNCATE ON egress_group_member FOR EACH STATEMENT
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION egress_leave_members_to_source();
-- they belong to the triggers of the attached table, which fire with session_replication_role = replica, too
ALTER TABLE egress_group_member ENABLE ALWAYS TRIGGER egress_leave_members_to_source;
ALTER TABLE egress_group_member ENABLE ALWAYS TRIGGER egress_leave_members_whole;

-- pg_restore with several jobs fills the tables in any order: src/restore.c
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_gateway
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_provider_mapping
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_provider_mapping_gateway
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_credential
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_credential_gateway
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_lease
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_lease_expiry
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_report
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_restore_in_any_order BEFORE INSERT ON egress_group_member FOR EACH STATEMENT
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION egress_restore_in_any_order();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_provider
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_gateway
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_provider_mapping
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_credential
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_lease
    EXECUTE FUNCTION egress_check_restored();
CREATE TRIGGER egress_check_restored AFTER INSERT ON egress_group_member FOR EACH STATEMENT
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION egress_check_restored();

/* ----------------------------------------------------- views for people */

CREATE VIEW egress_live_lease AS
SELECT l.session_id, l.user_id, l.workspace_id, l.egress_credential_id, l.egress_gateway_id, l.acquired_at, e.expires_at
FROM egress_lease l
LEFT JOIN egress_lease_expiry e USING (session_id)
WHERE NOT l.cooling AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp());
REVOKE ALL ON egress_live_lease FROM PUBLIC;
COMMENT ON VIEW egress_live_lease IS 'leases that count, which are those that have not expired';
COMMENT ON COLUMN egress_live_lease.session_id IS 'the application''s id of the session';
COMMENT ON COLUMN egress_live_lease.user_id IS 'the application''s id of the user';
COMMENT ON COLUMN egress_live_lease.workspace_id IS 'the application''s id of the workspace; NULL: none';
COMMENT ON COLUMN egress_live_lease.egress_credential_id IS 'the credential of the lease';
COMMENT ON COLUMN egress_live_lease.egress_gateway_id IS 'the gateway of the lease';
COMMENT ON COLUMN egress_live_lease.acquired_at IS 'when the lease was acquired';
COMMENT ON COLUMN egress_live_lease.expires_at IS
    'when the lease expires unless it is renewed; NULL: it lasts until it is released';

/*
 * What the two views below are made of. VOLATILE, so that the planner neither merges the subquery that calls one into the view,
 * which would call it for each of its columns, nor into another query. In one process, because what a query has counted
 * is kept there; without a search_path of its own, which would cost more than the call: no name is looked up.
 */
CREATE FUNCTION egress_gateway_leases(egress_gateway_id bigint, OUT active_connections bigint, OUT not_renewed bigint)
RETURNS record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION egress_gateway_leases(bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_gateway_leases(bigint) IS
'Counts the leases of a gateway. The view egress_gateway_usage uses it. It works on a hot standby.
egress_gateway_id: the gateway, which need not exist any more.
active_connections: the number of its live leases.
not_renewed: the number of these that have no ttl and are older than a day.
SQLSTATE: 22004 egress_gateway_id is null.';

CREATE FUNCTION egress_credential_leases(
    egress_credential_id bigint, OUT active_connections bigint, OUT cooling_connections bigint, OUT oldest_lease_at timestamptz)
RETURNS record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION egress_credential_leases(bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_credential_leases(bigint) IS
'Counts the leases of a credential. The view egress_credential_usage uses it. It works on a hot standby.
egress_credential_id: the credential, which need not exist any more.
active_connections: the number of its live leases.
cooling_connections: the number of connections of ended leases that are cooling down.
oldest_lease_at: when the oldest of the live leases was acquired; NULL if there is none.
SQLSTATE: 22004 egress_credential_id is null.';

CREATE VIEW egress_credential_usage AS
SELECT c.egress_credential_id,
       c.name AS credential_name,
       p.egress_provider_id,
       p.name AS provider_name,
       c.subject_type,
       c.subject_id,
       c.enabled,
       (c.leases).active_connections AS active_connections,
       c.active_connection_limit,
       CASE WHEN c.active_connection_limit IS NOT NULL
            THEN greatest(c.active_connection_limit - (c.leases).active_connections - (c.leases).cooling_connections, 0)
            END AS available_connections,
       (c.leases).oldest_lease_at AS oldest_lease_at,
       c.once_per_gateway AS once_per_gateway,
       (c.leases).cooling_connections AS cooling_connections
FROM (SELECT egress_credential_id, egress_provider_id, name, subject_type, subject_id, enabled, once_per_gateway,
             CASE WHEN limit_active_connections THEN active_connection_limit END AS active_connection_limit,
             egress_credential_leases(egress_credential_id) AS leases
      FROM egress_credential) c
JOIN egress_provider p USING (egress_provider_id);
REVOKE ALL ON egress_credential_usage FROM PUBLIC;
COMMENT ON VIEW egress_credential_usage IS 'number of live connections of each credential';
COMMENT ON COLUMN egress_credential_usage.egress_credential_id IS 'id of the credential';
COMMENT ON COLUMN egress_credential_usage.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_credential_usage.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_credential_usage.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_credential_usage.subject_type IS 'kind of subject to which the credential applies';
COMMENT ON COLUMN egress_credential_usage.subject_id IS 'the application''s id of the subject; NULL for everyone';
COMMENT ON COLUMN egress_credential_usage.enabled IS 'whether acquires may take the credential';
COMMENT ON COLUMN egress_credential_usage.active_connections IS 'number of live leases';
COMMENT ON COLUMN egress_credential_usage.active_connection_limit IS
    'number of leases that may be live at the same time; NULL: no limit';
COMMENT ON COLUMN egress_credential_usage.available_connections IS
    'number of further connections that the limit allows; NULL: no limit';
COMMENT ON COLUMN egress_credential_usage.oldest_lease_at IS 'when the oldest live lease was acquired; NULL: there is none';
COMMENT ON COLUMN egress_credential_usage.once_per_gateway IS 'whether at most one lease is live at each gateway';
COMMENT ON COLUMN egress_credential_usage.cooling_connections IS
    'number of connections that are cooling down, which are neither active nor available';

CREATE VIEW egress_gateway_usage AS
SELECT g.egress_gateway_id,
       g.name AS gateway_name,
       g.country,
       g.city,
       p.egress_provider_id,
       p.name AS provider_name,
       g.enabled,
       g.withdrawn,
       (g.leases).active_connections AS active_connections,
       p.enabled AS provider_enabled,
       (g.leases).not_renewed AS not_renewed
FROM (SELECT egress_gateway_id, egress_provider_id, name, country, city, enabled, withdrawn,
             egress_gateway_leases(egress_gateway_id) AS leases
      FROM egress_gateway) g
JOIN egress_provider p USING (egress_provider_id);
REVOKE ALL ON egress_gateway_usage FROM PUBLIC;
COMMENT ON VIEW egress_gateway_usage IS 'number of live connections of each gateway';
COMMENT ON COLUMN egress_gateway_usage.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_gateway_usage.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_gateway_usage.country IS 'country of the gateway';
COMMENT ON COLUMN egress_gateway_usage.city IS 'city of the gateway';
COMMENT ON COLUMN egress_gateway_usage.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_gateway_usage.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_gateway_usage.enabled IS 'whether the administrator has enabled the gateway';
COMMENT ON COLUMN egress_gateway_usage.withdrawn IS 'whether the provider no longer lists the gateway';
COMMENT ON COLUMN egress_gateway_usage.active_connections IS 'number of live leases';
COMMENT ON COLUMN egress_gateway_usage.provider_enabled IS 'whether the administrator has enabled the provider';
COMMENT ON COLUMN egress_gateway_usage.not_renewed IS
    'number of live leases without a ttl, which nobody renews, that are older than a day';

CREATE VIEW egress_connection AS
SELECT l.session_id,
       l.user_id,
       l.workspace_id,
       l.egress_credential_id,
       c.name AS credential_name,
       l.egress_gateway_id,
       g.name AS gateway_name,
       g.country,
       g.city,
       p.egress_provider_id,
       p.name AS provider_name,
       p.provider_type,
       l.acquired_at,
       l.expires_at
FROM egress_live_lease l
JOIN egress_credential c USING (egress_credential_id)
JOIN egress_gateway g USING (egress_gateway_id)
JOIN egress_provider p ON p.egress_provider_id = g.egress_provider_id;
REVOKE ALL ON egress_connection FROM PUBLIC;
COMMENT ON VIEW egress_connection IS 'live leases, with the names of what they use';
COMMENT ON COLUMN egress_connection.session_id IS 'the application''s id of the session';
COMMENT ON COLUMN egress_connection.user_id IS 'the application''s id of the user';
COMMENT ON COLUMN egress_connection.workspace_id IS 'the application''s id of the workspace; NULL: none';
COMMENT ON COLUMN egress_connection.egress_credential_id IS 'id of the credential';
COMMENT ON COLUMN egress_connection.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_connection.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_connection.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_connection.country IS 'country of the gateway';
COMMENT ON COLUMN egress_connection.city IS 'city of the gateway';
COMMENT ON COLUMN egress_connection.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_connection.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_connection.provider_type IS 'type of the provider';
COMMENT ON COLUMN egress_connection.acquired_at IS 'when the lease was acquired';
COMMENT ON COLUMN egress_connection.expires_at IS
    'when the lease expires unless it is renewed; NULL: it lasts until it is released';

CREATE VIEW egress_orphaned_connection AS
SELECT c.* FROM egress_connection c JOIN egress_orphaned_sessions() orphaned (session_id) USING (session_id);
REVOKE ALL ON egress_orphaned_connection FROM PUBLIC;
COMMENT ON VIEW egress_orphaned_connection IS
    'live leases whose session is in no attached session table, or is over; no rows if no table is attached';
COMMENT ON COLUMN egress_orphaned_connection.session_id IS 'the application''s id of the session';
COMMENT ON COLUMN egress_orphaned_connection.user_id IS 'the application''s id of the user';
COMMENT ON COLUMN egress_orphaned_connection.workspace_id IS 'the application''s id of the workspace; NULL: none';
COMMENT ON COLUMN egress_orphaned_connection.egress_credential_id IS 'id of the credential';
COMMENT ON COLUMN egress_orphaned_connection.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_orphaned_connection.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_orphaned_connection.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_orphaned_connection.country IS 'country of the gateway';
COMMENT ON COLUMN egress_orphaned_connection.city IS 'city of the gateway';
COMMENT ON COLUMN egress_orphaned_connection.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_orphaned_connection.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_orphaned_connection.provider_type IS 'type of the provider';
COMMENT ON COLUMN egress_orphaned_connection.acquired_at IS 'when the lease was acquired';
COMMENT ON COLUMN egress_orphaned_connection.expires_at IS
    'when the lease expires unless it is renewed; NULL: it lasts until it is released';

CREATE VIEW egress_unentitled_connection AS
SELECT c.* FROM egress_connection c JOIN egress_unentitled_sessions() unentitled (session_id) USING (session_id);
REVOKE ALL ON egress_unentitled_connection FROM PUBLIC;
COMMENT ON VIEW egress_unentitled_connection IS
    'live leases for which the rules of access would no longer give that credential for that gateway';
COMMENT ON COLUMN egress_unentitled_connection.session_id IS 'the application''s id of the session';
COMMENT ON COLUMN egress_unentitled_connection.user_id IS 'the application''s id of the user';
COMMENT ON COLUMN egress_unentitled_connection.workspace_id IS 'the application''s id of the workspace; NULL: none';
COMMENT ON COLUMN egress_unentitled_connection.egress_credential_id IS 'id of the credential';
COMMENT ON COLUMN egress_unentitled_connection.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_unentitled_connection.egress_gateway_id IS 'id of the gateway';
COMMENT ON COLUMN egress_unentitled_connection.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_unentitled_connection.country IS 'country of the gateway';
COMMENT ON COLUMN egress_unentitled_connection.city IS 'city of the gateway';
COMMENT ON COLUMN egress_unentitled_connection.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_unentitled_connection.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_unentitled_connection.provider_type IS 'type of the provider';
COMMENT ON COLUMN egress_unentitled_connection.acquired_at IS 'when the lease was acquired';
COMMENT ON COLUMN egress_unentitled_connection.expires_at IS
    'when the lease expires unless it is renewed; NULL: it lasts until it is released';

CREATE TYPE egress_benched_target AS (
    egress_gateway_id bigint, egress_credential_id bigint, failures bigint, benched_until timestamptz);
REVOKE ALL ON TYPE egress_benched_target FROM PUBLIC;
CREATE FUNCTION egress_benched_now() RETURNS SETOF egress_benched_target
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_benched_now() FROM PUBLIC;
CREATE VIEW egress_benched AS
SELECT b.egress_gateway_id,
       b.egress_credential_id,
       b.failures,
       b.benched_until,
       g.name AS gateway_name,
       c.name AS credential_name,
       p.egress_provider_id,
       p.name AS provider_name
FROM egress_benched_now() b
LEFT JOIN egress_gateway g ON g.egress_gateway_id = b.egress_gateway_id
LEFT JOIN egress_credential c ON c.egress_credential_id = b.egress_credential_id
JOIN egress_provider p ON p.egress_provider_id = COALESCE(g.egress_provider_id, c.egress_provider_id);
REVOKE ALL ON egress_benched FROM PUBLIC;
COMMENT ON TYPE egress_benched_target IS 'row type of egress_benched_now()';
COMMENT ON COLUMN egress_benched_target.egress_gateway_id IS 'the gateway that is benched; NULL: it is a credential';
COMMENT ON COLUMN egress_benched_target.egress_credential_id IS 'the credential that is benched; NULL: it is a gateway';
COMMENT ON COLUMN egress_benched_target.failures IS 'number of reports since the last success';
COMMENT ON COLUMN egress_benched_target.benched_until IS 'when the bench ends';
COMMENT ON FUNCTION egress_benched_now() IS
'Returns the gateways and credentials that are benched. The view egress_benched uses it. It works on a hot standby.
SQLSTATE: none of its own.';
COMMENT ON VIEW egress_benched IS 'gateways and credentials that are benched';
COMMENT ON COLUMN egress_benched.egress_gateway_id IS 'the gateway that is benched; NULL: it is a credential';
COMMENT ON COLUMN egress_benched.egress_credential_id IS 'the credential that is benched; NULL: it is a gateway';
COMMENT ON COLUMN egress_benched.failures IS 'number of reports since the last success';
COMMENT ON COLUMN egress_benched.benched_until IS 'when the bench ends';
COMMENT ON COLUMN egress_benched.gateway_name IS 'name of the gateway';
COMMENT ON COLUMN egress_benched.credential_name IS 'name of the credential';
COMMENT ON COLUMN egress_benched.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_benched.provider_name IS 'name of the provider';

CREATE TYPE egress_pool_state AS (
    egress_provider_id bigint, subject_type egress_subject_type, subject_id text, credentials bigint, once_per_gateway bigint,
    benched bigint, active_connections bigint, cooling_connections bigint, active_connection_limit bigint, gateways bigint,
    exhausted_gateways bigint, fullest_gateway_id bigint, fullest_limit bigint, fullest_available bigint);
REVOKE ALL ON TYPE egress_pool_state FROM PUBLIC;
CREATE FUNCTION egress_pools() RETURNS SETOF egress_pool_state
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 100000 ROWS 100;
REVOKE ALL ON FUNCTION egress_pools() FROM PUBLIC;
CREATE VIEW egress_pool_usage AS
SELECT u.egress_provider_id,
       p.name AS provider_name,
       u.subject_type,
       u.subject_id,
       u.credentials,
       u.once_per_gateway,
       u.benched,
       u.active_connections,
       u.cooling_connections,
       u.active_connection_limit,
       u.gateways,
       u.exhausted_gateways,
       CASE WHEN u.fullest_limit = 0 THEN 1 ELSE 1 - u.fullest_available::double precision / u.fullest_limit END AS fullness,
       u.fullest_gateway_id,
       g.name AS fullest_gateway_name
FROM egress_pools() u
JOIN egress_provider p USING (egress_provider_id)
LEFT JOIN egress_gateway g ON g.egress_gateway_id = u.fullest_gateway_id;
REVOKE ALL ON egress_pool_usage FROM PUBLIC;
COMMENT ON TYPE egress_pool_state IS 'row type of egress_pools()';
COMMENT ON COLUMN egress_pool_state.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_pool_state.subject_type IS 'kind of subject that the credentials are for';
COMMENT ON COLUMN egress_pool_state.subject_id IS 'the application''s id of the subject; NULL for everyone';
COMMENT ON COLUMN egress_pool_state.credentials IS 'number of enabled credentials';
COMMENT ON COLUMN egress_pool_state.once_per_gateway IS 'number of enabled credentials with at most one live lease at each gateway';
COMMENT ON COLUMN egress_pool_state.benched IS 'number of credentials that are benched';
COMMENT ON COLUMN egress_pool_state.active_connections IS 'number of live leases, of disabled credentials, too';
COMMENT ON COLUMN egress_pool_state.cooling_connections IS 'number of connections that are cooling down, of disabled credentials, too';
COMMENT ON COLUMN egress_pool_state.active_connection_limit IS 'sum of the limits of the enabled credentials that have one';
COMMENT ON COLUMN egress_pool_state.gateways IS
    'number of gateways that the enabled credentials allow, without gateways that are disabled or withdrawn, or whose provider is disabled';
COMMENT ON COLUMN egress_pool_state.exhausted_gateways IS 'number of these at which no credential has a connection available';
COMMENT ON COLUMN egress_pool_state.fullest_gateway_id IS
    'id of the fullest gateway; NULL: there is none with a limit, or all gateways that no credential selects are as full';
COMMENT ON COLUMN egress_pool_state.fullest_limit IS 'number of connections that the limits allow at the fullest gateway; NULL: it has no limit';
COMMENT ON COLUMN egress_pool_state.fullest_available IS 'number of connections that are available at the fullest gateway; NULL: it has no limit';
COMMENT ON FUNCTION egress_pools() IS
'Returns the pools, which are the credentials of a provider for one subject, and how full they are. The view egress_pool_usage uses it. It works on a hot standby.
SQLSTATE: 55000 the type egress_pool_state was altered.';
COMMENT ON VIEW egress_pool_usage IS
    'how full the pools are, and at how many gateways they have nothing left; a pool is the credentials of a provider for one subject';
COMMENT ON COLUMN egress_pool_usage.egress_provider_id IS 'id of the provider';
COMMENT ON COLUMN egress_pool_usage.provider_name IS 'name of the provider';
COMMENT ON COLUMN egress_pool_usage.subject_type IS 'kind of subject that the credentials are for';
COMMENT ON COLUMN egress_pool_usage.subject_id IS 'the application''s id of the subject; NULL for everyone';
COMMENT ON COLUMN egress_pool_usage.credentials IS 'number of enabled credentials';
COMMENT ON COLUMN egress_pool_usage.once_per_gateway IS
    'number of enabled credentials with at most one live lease at each gateway';
COMMENT ON COLUMN egress_pool_usage.benched IS 'number of credentials that are benched';
COMMENT ON COLUMN egress_pool_usage.active_connections IS 'number of live leases, of disabled credentials, too';
COMMENT ON COLUMN egress_pool_usage.cooling_connections IS
    'number of connections that are cooling down, of disabled credentials, too';
COMMENT ON COLUMN egress_pool_usage.active_connection_limit IS 'sum of the limits of the enabled credentials that have one';
COMMENT ON COLUMN egress_pool_usage.gateways IS
    'number of gateways that the enabled credentials allow, without gateways that are disabled or withdrawn, or whose provider is disabled';
COMMENT ON COLUMN egress_pool_usage.exhausted_gateways IS 'number of these at which no credential has a connection available';
COMMENT ON COLUMN egress_pool_usage.fullness IS
    'share of the connections at the fullest gateway that is not available, from 0 to 1; NULL: there is no limit at any gateway, or no gateway';
COMMENT ON COLUMN egress_pool_usage.fullest_gateway_id IS
    'id of the fullest gateway; NULL: there is none with a limit, or all gateways that no credential selects are as full';
COMMENT ON COLUMN egress_pool_usage.fullest_gateway_name IS 'name of the fullest gateway';

CREATE VIEW egress_secret_usage AS
SELECT field.secret,
       count(*) FILTER (WHERE field.state = 'active key') AS active_key,
       count(*) FILTER (WHERE field.state = 'older key') AS older_key,
       count(*) FILTER (WHERE field.state = 'missing key') AS missing_key,
       count(*) FILTER (WHERE field.state = 'not sealed') AS not_sealed
FROM (SELECT 'password' AS secret, egress_secret_state(password) AS state FROM egress_credential
      UNION ALL
      SELECT 'private_key' AS secret, egress_secret_state(private_key) AS state FROM egress_credential
      UNION ALL
      SELECT 'custom_credential' AS secret, egress_secret_state(custom_credential) AS state FROM egress_credential
      UNION ALL
      SELECT 'client_key' AS secret, egress_secret_state(client_key) AS state FROM egress_credential
      UNION ALL
      SELECT 'preshared_key' AS secret, egress_secret_state(preshared_key) AS state FROM egress_credential
      UNION ALL
      SELECT 'config' AS secret, 'not sealed' AS state FROM egress_gateway
      WHERE egress_config_has_secret(provider_type, config)) field
GROUP BY field.secret;
REVOKE ALL ON egress_secret_usage FROM PUBLIC;
COMMENT ON VIEW egress_secret_usage IS
    'number of secrets in each column by the key under which they are sealed, and number of configs with secrets; no secret is opened';
COMMENT ON COLUMN egress_secret_usage.secret IS 'column of egress_credential, or config for that of egress_gateway';
COMMENT ON COLUMN egress_secret_usage.active_key IS 'number of secrets that are sealed under the first key of the key file';
COMMENT ON COLUMN egress_secret_usage.older_key IS 'number of secrets that are sealed under another key of the key file';
COMMENT ON COLUMN egress_secret_usage.missing_key IS 'number of sealed secrets whose key cannot be found';
COMMENT ON COLUMN egress_secret_usage.not_sealed IS
    'number of secrets that are stored as they are; for config, number of configs that contain a secret';

/*
 * One row, for those who may not read the tables. history_since is the end of the history's first row. An older one may
 * follow, of a lease that had expired long before it was ended; a pruning removes that one, too.
 */
CREATE VIEW egress_upkeep AS
SELECT expired.leases AS expired_leases,
       expired.since AS expired_since,
       (SELECT released_at FROM egress_lease_history ORDER BY egress_lease_history_id LIMIT 1) AS history_since
FROM (SELECT count(*) AS leases, min(expires_at) AS since FROM egress_lease_expiry WHERE expires_at <= clock_timestamp()) expired;
REVOKE ALL ON egress_upkeep FROM PUBLIC;
COMMENT ON VIEW egress_upkeep IS 'what egress_sweep_leases() and egress_prune_history() have left to do, in one row';
COMMENT ON COLUMN egress_upkeep.expired_leases IS 'number of leases that have expired and have not been ended';
COMMENT ON COLUMN egress_upkeep.expired_since IS 'when the first of them expired; NULL: there is none';
COMMENT ON COLUMN egress_upkeep.history_since IS
    'when the connection ended that was written to egress_lease_history first; NULL: there is none';

/* ------------------------------------------ what pg_dump has to carry */

SELECT pg_catalog.pg_extension_config_dump('egress_provider', '');
SELECT pg_catalog.pg_extension_config_dump('egress_provider_egress_provider_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('egress_gateway', '');
SELECT pg_catalog.pg_extension_config_dump('egress_gateway_egress_gateway_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('egress_provider_mapping', '');
SELECT pg_catalog.pg_extension_config_dump('egress_provider_mapping_egress_provider_mapping_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('egress_provider_mapping_gateway', '');
SELECT pg_catalog.pg_extension_config_dump('egress_credential', '');
SELECT pg_catalog.pg_extension_config_dump('egress_credential_egress_credential_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('egress_credential_gateway', '');
SELECT pg_catalog.pg_extension_config_dump('egress_group_member', '');
SELECT pg_catalog.pg_extension_config_dump('egress_workspace', '');
SELECT pg_catalog.pg_extension_config_dump('egress_lease', '');
SELECT pg_catalog.pg_extension_config_dump('egress_lease_expiry', '');
SELECT pg_catalog.pg_extension_config_dump('egress_lease_history', '');
SELECT pg_catalog.pg_extension_config_dump('egress_lease_history_egress_lease_history_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('egress_user_limit', '');
SELECT pg_catalog.pg_extension_config_dump('egress_user_limit_egress_user_limit_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('egress_report', '');
SELECT pg_catalog.pg_extension_config_dump('egress_report_egress_report_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('egress_failure', '');
SELECT pg_catalog.pg_extension_config_dump('egress_failure_egress_failure_id_seq', '');
