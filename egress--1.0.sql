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
 *  - What changes here changes in egress--0.9--1.0.sql too; test/t/update.pl compares a fresh install with an updated one.
 *  - Ids of the application (users, groups, workspaces, sessions) are compared byte by byte
 *    (COLLATE "C"): they are opaque, and an index on them does not depend on the system's locale.
 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION egress" to load this file. \quit

/* ---------------------------------------------------------------- types */

CREATE TYPE egress_provider_type AS ENUM ('openvpn', 'wireguard', 'custom');
REVOKE ALL ON TYPE egress_provider_type FROM PUBLIC;
COMMENT ON TYPE egress_provider_type IS 'what the agent on the host runs: openvpn, wg, or something of its own';
-- what text parameters, as drivers send them, need to be written to a column of the type
CREATE CAST (text AS egress_provider_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS egress_provider_type) IS 'in assignments: the value of that name';
CREATE CAST (varchar AS egress_provider_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS egress_provider_type) IS 'in assignments: the value of that name';

CREATE TYPE egress_subject_type AS ENUM ('user', 'group', 'workspace', 'everyone');
REVOKE ALL ON TYPE egress_subject_type FROM PUBLIC;
COMMENT ON TYPE egress_subject_type IS 'whom a mapping, a credential or a limit of egress_user_limit is for';
CREATE CAST (text AS egress_subject_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS egress_subject_type) IS 'in assignments: the value of that name';
CREATE CAST (varchar AS egress_subject_type) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS egress_subject_type) IS 'in assignments: the value of that name';

CREATE TYPE egress_credential_order AS ENUM ('first', 'spread');
REVOKE ALL ON TYPE egress_credential_order FROM PUBLIC;
COMMENT ON TYPE egress_credential_order IS 'which of the credentials that fit an acquire takes';
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
'Input function of egress_secret: keeps a sealed form, seals other text under the active key, or keeps it where no key file is set.
SQLSTATE: 22023 empty, or longer than 16 kB; NG006 a damaged sealed form; F0000 the key file cannot be used.';
CREATE FUNCTION egress_secret_out(egress_secret) RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_out(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_out(egress_secret) IS
'Output function of egress_secret: the stored form. SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_recv(internal) RETURNS egress_secret
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_recv(internal) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_recv(internal) IS
'Binary input function of egress_secret: as egress_secret_in, of text. SQLSTATE: 22023, NG006 and F0000, as egress_secret_in.';
CREATE FUNCTION egress_secret_send(egress_secret) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_send(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_send(egress_secret) IS
'Binary output function of egress_secret: the stored form, as text. SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_analyze(internal) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION egress_secret_analyze(internal) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_analyze(internal) IS
'ANALYZE of egress_secret: none, so that no statistics hold a value. SQLSTATE: none of its own.';
CREATE TYPE egress_secret (
    INPUT = egress_secret_in, OUTPUT = egress_secret_out,
    RECEIVE = egress_secret_recv, SEND = egress_secret_send,
    ANALYZE = egress_secret_analyze,
    INTERNALLENGTH = VARIABLE, STORAGE = extended);
REVOKE ALL ON TYPE egress_secret FROM PUBLIC;
COMMENT ON TYPE egress_secret IS
    'a secret: text goes in, egress:v1:<key id>:<base64> comes out and goes in again unchanged; without egress.secret_key_file stored as it is';
-- what text parameters, columns and PL/pgSQL variables need to be written to a column of the type
CREATE CAST (text AS egress_secret) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS egress_secret) IS 'in assignments: seals the text, as the input function does';
CREATE CAST (varchar AS egress_secret) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS egress_secret) IS 'in assignments: seals the text, as the input function does';
CREATE FUNCTION egress_secret_from_bytea(bytea) RETURNS egress_secret
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_from_bytea(bytea) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_from_bytea(bytea) IS
'Cast of bytea to egress_secret: as egress_secret_in, of a text in the database''s encoding. SQLSTATE: 22021 it is none; 22023, NG006 and F0000, as egress_secret_in.';
CREATE CAST (bytea AS egress_secret) WITH FUNCTION egress_secret_from_bytea(bytea) AS ASSIGNMENT;
COMMENT ON CAST (bytea AS egress_secret) IS 'in assignments: seals the text that the bytes are; by way of text it would be their hexadecimal form';

CREATE FUNCTION egress_secret_eq(egress_secret, egress_secret) RETURNS boolean
AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_eq(egress_secret, egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_eq(egress_secret, egress_secret) IS
'Whether two stored forms are the same; two sealed forms of one secret are not. SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_ne(egress_secret, egress_secret) RETURNS boolean
AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_ne(egress_secret, egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_ne(egress_secret, egress_secret) IS
'Whether two stored forms are different; two sealed forms of one secret are. SQLSTATE: none of its own.';
CREATE FUNCTION egress_secret_hash(egress_secret) RETURNS integer
AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_secret_hash(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_hash(egress_secret) IS 'Hash of a stored form. SQLSTATE: none of its own.';
CREATE OPERATOR = (
    LEFTARG = egress_secret, RIGHTARG = egress_secret, FUNCTION = egress_secret_eq,
    COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES);
COMMENT ON OPERATOR = (egress_secret, egress_secret) IS 'the same stored form';
CREATE OPERATOR <> (
    LEFTARG = egress_secret, RIGHTARG = egress_secret, FUNCTION = egress_secret_ne,
    COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel);
COMMENT ON OPERATOR <> (egress_secret, egress_secret) IS 'another stored form';
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
COMMENT ON FUNCTION egress_id_in(cstring) IS 'Input function of egress_id: the text as it is. SQLSTATE: none of its own.';
CREATE FUNCTION egress_id_out(egress_id) RETURNS cstring
AS 'textout' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_out(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_out(egress_id) IS 'Output function of egress_id: the text as it is. SQLSTATE: none of its own.';
CREATE FUNCTION egress_id_recv(internal) RETURNS egress_id
AS 'textrecv' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_recv(internal) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_recv(internal) IS 'Binary input function of egress_id: as text''s. SQLSTATE: none of its own.';
CREATE FUNCTION egress_id_send(egress_id) RETURNS bytea
AS 'textsend' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_send(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_send(egress_id) IS 'Binary output function of egress_id: as text''s. SQLSTATE: none of its own.';
CREATE TYPE egress_id (
    INPUT = egress_id_in, OUTPUT = egress_id_out, RECEIVE = egress_id_recv, SEND = egress_id_send, LIKE = text,
    CATEGORY = 'U', PREFERRED = true);
REVOKE ALL ON TYPE egress_id FROM PUBLIC;
COMMENT ON TYPE egress_id IS 'an id of the application as an argument: the text form of a uuid, a number or a string';
CREATE FUNCTION egress_id_from_character(character) RETURNS egress_id
AS 'rtrim1' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION egress_id_from_character(character) FROM PUBLIC;
COMMENT ON FUNCTION egress_id_from_character(character) IS
'Cast of character(n) to egress_id: the text without its padding, as it becomes text. SQLSTATE: none of its own.';
CREATE CAST (uuid AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (uuid AS egress_id) IS 'its text form';
CREATE CAST (smallint AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (smallint AS egress_id) IS 'its text form';
CREATE CAST (integer AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (integer AS egress_id) IS 'its text form';
CREATE CAST (bigint AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (bigint AS egress_id) IS 'its text form';
CREATE CAST (numeric AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (numeric AS egress_id) IS 'its text form';
CREATE CAST (name AS egress_id) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (name AS egress_id) IS 'its text form';
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
COMMENT ON FUNCTION egress_pool_handler(internal) IS 'The access method egress_pool. SQLSTATE: 0A000 an index on other columns than those of egress_credential_pool.';
COMMENT ON ACCESS METHOD egress_pool IS 'of the index egress_credential_pool, which tells credentials that may have a connection free from those that are full';
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
COMMENT ON COLUMN egress_provider.provider_type IS
    'fixed once gateways or credentials exist: their foreign keys carry it';
COMMENT ON COLUMN egress_provider.enabled IS 'off: none of its gateways is available';
COMMENT ON COLUMN egress_provider.managed IS 'its gateways come from a list that the provider publishes';
COMMENT ON COLUMN egress_provider.enable_new_managed_gateways IS
    'whether a gateway that such a list adds starts enabled';
COMMENT ON COLUMN egress_provider.credential_order IS
    'first: an acquire takes the credential with the lowest id that has a connection free; spread: it begins to look at one drawn by chance';
COMMENT ON COLUMN egress_provider.bench_after IS
    'so many reports of different sessions, 1 to 100, that they could not connect bench a gateway or credential; NULL: they never do';
COMMENT ON COLUMN egress_provider.bench_for IS
    'how long it is benched, the first time; doubled each time that it happens again before a success. An hour at most';

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
COMMENT ON TABLE egress_gateway IS 'VPN gateways of a provider';
COMMENT ON COLUMN egress_gateway.config IS 'what an agent needs to connect, without the credential; what else is secret in it is not sealed: egress_secret_usage counts it';
COMMENT ON COLUMN egress_gateway.enabled IS 'the administrator''s switch';
COMMENT ON COLUMN egress_gateway.withdrawn IS 'the provider no longer lists it; set only by the managed sync';
COMMENT ON COLUMN egress_gateway.provider_type IS 'the provider''s; filled in by a trigger';

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
COMMENT ON TABLE egress_provider_mapping IS 'who may use a provider''s gateways';
COMMENT ON COLUMN egress_provider_mapping.subject_id IS 'the application''s id; NULL exactly for everyone';
COMMENT ON COLUMN egress_provider_mapping.allow_all_gateways IS
    'off: only the gateways of egress_provider_mapping_gateway';

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
COMMENT ON TABLE egress_provider_mapping_gateway IS 'the gateways that a mapping selects';
COMMENT ON COLUMN egress_provider_mapping_gateway.egress_provider_id IS
    'the mapping''s; filled in by a trigger, so that foreign keys refuse another provider''s gateway';

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
COMMENT ON TABLE egress_credential IS 'credentials of a provider, and who may connect with them';
COMMENT ON COLUMN egress_credential.subject_id IS 'the application''s id; NULL exactly for everyone';
COMMENT ON COLUMN egress_credential.password IS 'openvpn only';
COMMENT ON COLUMN egress_credential.private_key IS 'wireguard only: base64 of 32 bytes';
COMMENT ON COLUMN egress_credential.custom_credential IS 'custom only, optional';
COMMENT ON COLUMN egress_credential.allow_all_gateways IS 'off: only the gateways of egress_credential_gateway';
COMMENT ON COLUMN egress_credential.limit_active_connections IS 'whether active_connection_limit counts';
COMMENT ON COLUMN egress_credential.active_connection_limit IS 'how many leases may be live at once';
COMMENT ON COLUMN egress_credential.provider_type IS 'the provider''s; filled in by a trigger';
COMMENT ON COLUMN egress_credential.client_certificate IS 'openvpn only: PEM, with client_key; the certificates of a chain may follow';
COMMENT ON COLUMN egress_credential.client_key IS 'openvpn only: PEM, without a passphrase, with client_certificate';
COMMENT ON COLUMN egress_credential.address IS 'wireguard only, optional: the addresses that belong to the key, as wg-quick takes them';
COMMENT ON COLUMN egress_credential.preshared_key IS 'wireguard only, optional: base64 of 32 bytes';
COMMENT ON COLUMN egress_credential.once_per_gateway IS
    'whether at most one of its leases is live at each gateway; NULL is as the provider''s type has it, true for wireguard, else false: a trigger puts that in its place';
COMMENT ON COLUMN egress_credential.cool_down IS
    'how long after its end a connection counts as held, because the provider still counts it; NULL: not at all. A change holds for those that cool down, too. A day is 24 hours, a month one of UTC''s calendar';
COMMENT ON COLUMN egress_credential.username IS 'openvpn only: with a password, or both NULL for a certificate, the credential''s or the config''s';

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
COMMENT ON TABLE egress_credential_gateway IS 'the gateways that a credential selects';
COMMENT ON COLUMN egress_credential_gateway.egress_provider_id IS
    'the credential''s; filled in by a trigger, so that foreign keys refuse another provider''s gateway';

CREATE TABLE egress_group_member (
    user_id   text COLLATE "C" NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    group_id  text COLLATE "C" NOT NULL CHECK (octet_length(group_id) BETWEEN 1 AND 255),
    CONSTRAINT egress_group_member_pkey PRIMARY KEY (user_id, group_id)
);
REVOKE ALL ON egress_group_member FROM PUBLIC;
COMMENT ON TABLE egress_group_member IS
    'which groups a user is in, by the application''s ids; written by hand, or kept by egress_attach_group_members';

CREATE TABLE egress_workspace (
    workspace_id              text COLLATE "C" CONSTRAINT egress_workspace_pkey PRIMARY KEY
                              CHECK (octet_length(workspace_id) BETWEEN 1 AND 255),
    override_egress_gateways  boolean NOT NULL DEFAULT false
);
REVOKE ALL ON egress_workspace FROM PUBLIC;
COMMENT ON TABLE egress_workspace IS 'workspaces with a setting of their own; others need no row';
COMMENT ON COLUMN egress_workspace.override_egress_gateways IS
    'on: in this workspace only mappings whose subject is the workspace count';

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
    'how many connections each user may have at once, over all providers: by the user''s own row, else the largest of the user''s groups, else that of everyone';
COMMENT ON COLUMN egress_user_limit.subject_type IS 'user, group (each of its users) or everyone (each user)';
COMMENT ON COLUMN egress_user_limit.subject_id IS 'the application''s id; NULL exactly for everyone';
COMMENT ON COLUMN egress_user_limit.active_connection_limit IS 'how many leases of each of these users may be live at once';

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
    'one row a lease that was not ended yet, expired or not, and one a connection that cools down; written by functions of the extension only';
COMMENT ON COLUMN egress_lease.slot IS
    'which of the credential''s connections, counted from 1; NULL when it had no limit';
COMMENT ON COLUMN egress_lease.cooling IS
    'a lease that nobody holds: one has ended at acquired_at, and its connection counts as held for the cool_down of the credential';
COMMENT ON COLUMN egress_lease.user_slot IS
    'which of the user''s connections, counted from 1; NULL when the user had no limit';

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
COMMENT ON TABLE egress_lease_expiry IS
    'when leases end by themselves; written by functions of the extension only';
COMMENT ON COLUMN egress_lease_expiry.egress_credential_id IS 'the lease''s';

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
    'one row an ended connection, with the names as they were; written in the transaction that ended the lease';
COMMENT ON COLUMN egress_lease_history.release_reason IS
    'released: by egress_release_credential(); session_end: by the end of its session in an attached table; ended: by egress_end_leases(); expired: at released_at, whoever ended it later';

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
    'what sessions have reported of a gateway or a credential, as far as it counts; written by functions of the extension only';
COMMENT ON COLUMN egress_report.session_id IS 'the session that could not connect; NULL: a success, before which nothing counts';

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
    'one row a report that a session could not connect, whatever it counted for, with the names as they were, until egress_prune_history() removes it';
COMMENT ON COLUMN egress_failure.failure IS 'what the session could not connect to, or with: gateway or credential';

/* ------------------------------------- functions an application calls */

-- what functions return has a name: with a list of OUT arguments, psql's \df is wider than any terminal
CREATE TYPE egress_available_gateway AS (
    egress_gateway_id bigint, gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    available_connections bigint);
REVOKE ALL ON TYPE egress_available_gateway FROM PUBLIC;
COMMENT ON TYPE egress_available_gateway IS 'a row of egress_available_gateways()';

CREATE FUNCTION egress_available_gateways(user_id text, workspace_id text DEFAULT NULL)
RETURNS SETOF egress_available_gateway
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_available_gateways(text, text) FROM PUBLIC;
COMMENT ON FUNCTION egress_available_gateways(text, text) IS
'The launch menu: the gateways that a user may pick for a workspace.
user_id: the application''s id of the user, 1 to 255 bytes. workspace_id: the same of the workspace, or NULL.
Returns a row a gateway, ordered by provider name, country, city (NULLs last), gateway name and id.
available_connections: how many more connections the credentials that fit allow now; 0 when full, NULL when one has neither a limit nor once_per_gateway.
One that is once_per_gateway counts as 1 at most, without a limit, too, and as 0 while it has a lease at the gateway. One that is benched counts as full. A gateway that is benched is not in the menu. Of a user with a limit in egress_user_limit it is at most what that leaves.
Works on a hot standby. SQLSTATE: 22004 user_id is NULL; 22023 an id is empty or longer than 255 bytes.';
CREATE FUNCTION egress_available_gateways(user_id egress_id, workspace_id egress_id DEFAULT NULL)
RETURNS SETOF egress_available_gateway
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_available_gateways(egress_id, egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_available_gateways(egress_id, egress_id) IS
'As egress_available_gateways(text, text), for ids that are no text. user_id, workspace_id: uuids, numbers, or strings mixed with them. SQLSTATE: 22004, 22023, as there.';

CREATE TYPE egress_acquired_credential AS (
    egress_credential_id bigint, credential_name text,
    username text, password text, private_key text, custom_credential text,
    gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    config text, acquired_at timestamptz,
    client_certificate text, client_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_acquired_credential FROM PUBLIC;
COMMENT ON TYPE egress_acquired_credential IS 'what egress_acquire_credential() returns';

CREATE FUNCTION egress_acquire_credential(
    user_id text, workspace_id text, egress_gateway_id bigint, session_id text, ttl interval DEFAULT NULL)
RETURNS egress_acquired_credential
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_credential(text, text, bigint, text, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_acquire_credential(text, text, bigint, text, interval) IS
'Leases to a session the first credential, by ascending id, that fits and has a connection free; where egress_provider.credential_order is spread, the first from one drawn by chance on.
One that is benched is passed over, and one with a secret that cannot be opened, this with a WARNING in the server''s log.
user_id, workspace_id (may be NULL), session_id: the application''s ids, 1 to 255 bytes. egress_gateway_id: a gateway of the menu.
ttl: how long the lease lasts unless egress_renew_lease() is called in time, a day being 24 hours and a month one of UTC''s calendar; NULL: until it is released.
Returns one row: the credential with its secrets opened, the gateway, and its config with the credential in it, ready to run.
Asked again by the same session for the same user, workspace and gateway, it returns the lease already held, whose end stays as it is.
Never waits for another session''s open transaction, except for one that took or gave back a lease of the same session_id.
SQLSTATE: 22004, 22023 bad argument, or a session_id that no attached session table can have; NG001 no such gateway; NG002 the gateway is not available to this call, or benched; NG003 no enabled credential fits;
NG004 every credential that fits and can be opened is at its limit, or benched, try later; NG005 the session holds a lease for something else;
NG006 no credential is left that can be opened, or that of the lease already held cannot be; NG007 the config and the credential do not fit together; NG008 the user has as many connections as egress_user_limit allows;
NG009 the session is not in the session table that was attached with must_exist, or over; 25006 read-only transaction or standby.';
CREATE FUNCTION egress_acquire_credential(
    user_id egress_id, workspace_id egress_id, egress_gateway_id bigint, session_id egress_id, ttl interval DEFAULT NULL)
RETURNS egress_acquired_credential
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000;
REVOKE ALL ON FUNCTION egress_acquire_credential(egress_id, egress_id, bigint, egress_id, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_acquire_credential(egress_id, egress_id, bigint, egress_id, interval) IS
'As egress_acquire_credential(text, text, bigint, text, interval), for ids that are no text. user_id, workspace_id, session_id: uuids, numbers, or strings mixed with them. egress_gateway_id, ttl: as there.
SQLSTATE: 22004, 22023, NG001 to NG009, 25006, as there.';

CREATE TYPE egress_acquired_gateway AS (
    egress_gateway_id bigint,
    egress_credential_id bigint, credential_name text,
    username text, password text, private_key text, custom_credential text,
    gateway_name text, country text, city text,
    egress_provider_id bigint, provider_name text, provider_type egress_provider_type,
    config text, acquired_at timestamptz,
    client_certificate text, client_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_acquired_gateway FROM PUBLIC;
COMMENT ON TYPE egress_acquired_gateway IS 'what egress_acquire_gateway() returns';

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
'Leases to a session a connection to a gateway of its menu, which it chooses: one that fits the wish and has a connection free.
user_id, workspace_id (may be NULL), session_id, ttl: as for egress_acquire_credential(text, text, bigint, text, interval).
countries, cities, providers: where the gateway is to be, and whose, by name, in any letter case, the most wanted first; NULL: wherever, whosever. avoid: gateways that it is not to be; NULL or empty: none.
Those in the first country come before those in the second; within one country the order of the cities decides, within one city that of the providers. Of those that are left it takes one with few active connections. One that is full is passed over.
Returns one row: the gateway''s id, and what egress_acquire_credential() returns.
Asked again by the same session for the same user and workspace, it returns the lease already held, if its gateway fits the wish.
Never waits for another session''s open transaction, except for one that took or gave back a lease of the same session_id.
SQLSTATE: 22004 an argument or a name is NULL; 22023 bad argument, or a list of no names; NG002 no gateway that is available to this call fits the wish; NG004 for those that fit every credential is at its limit, or benched, try later;
NG005 the session holds a lease for something else; NG006 no credential is left that can be opened; NG007 to NG009, 25006 as there.';
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
'As egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval), for ids that are no text. user_id, workspace_id, session_id: uuids, numbers, or strings mixed with them. countries, cities, providers, avoid, ttl: as there.
SQLSTATE: 22004, 22023, NG002, NG004 to NG009, 25006, as there.';

CREATE FUNCTION egress_release_credential(session_id text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_release_credential(text) FROM PUBLIC;
COMMENT ON FUNCTION egress_release_credential(text) IS
'Ends a session''s lease and writes it to egress_lease_history with the reason released. The connection is free for others at commit.
session_id: the application''s id, 1 to 255 bytes, as it was given to the acquire. Returns true when it ended a lease, false when there was none.
An id in another form than the session table writes (a uuid in capitals, a number with a zero before it) is another id: it ends nothing.
SQLSTATE: 22004, 22023 bad argument; 25006 read-only transaction or standby.';
CREATE FUNCTION egress_release_credential(session_id egress_id) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_release_credential(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_release_credential(egress_id) IS
'As egress_release_credential(text), for an id that is no text. session_id: a uuid, a number or a string. SQLSTATE: 22004, 22023, 25006, as there.';

CREATE FUNCTION egress_renew_lease(session_id text, ttl interval) RETURNS timestamptz
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_renew_lease(text, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_renew_lease(text, interval) IS
'Lets a session''s lease end at the present time plus ttl, sooner or later than before.
session_id: the application''s id, 1 to 255 bytes. ttl: more than 0, a day being 24 hours and a month one of UTC''s calendar; NULL: the lease lasts until it is released.
Returns when the lease ends, infinity for one that does not, NULL when the session has no lease, or only one that has expired: acquire again.
An id in another form than the acquire''s is another id, which has no lease.
SQLSTATE: 22004, 22023 bad argument; 25006 read-only transaction or standby.';
CREATE FUNCTION egress_renew_lease(session_id egress_id, ttl interval) RETURNS timestamptz
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_renew_lease(egress_id, interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_renew_lease(egress_id, interval) IS
'As egress_renew_lease(text, interval), for an id that is no text. session_id: a uuid, a number or a string. ttl: as there. SQLSTATE: 22004, 22023, 25006, as there.';

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
'Says that a session, which holds a lease, could not connect. After egress_provider.bench_after such reports of different sessions with no success between them, the gateway or the credential is benched for bench_for, doubled each time that this happens again before a success, an hour at most.
A benched gateway is not available; a benched credential is passed over by acquires, like a full one. What is reported while it is benched counts for nothing. The bench ends by the clock.
session_id: the application''s id, 1 to 255 bytes. failure: gateway, when it does not answer; credential, when the gateway has refused it. Each report is written to egress_failure.
Waits for no other transaction; counts at commit. SQLSTATE: 22004, 22023 bad argument, an unknown failure, or a session without a live lease; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_report_failure(egress_id, text) IS
'As egress_report_failure(text, text), for an id that is no text. session_id: a uuid, a number or a string. failure: as there. SQLSTATE: 22004, 22023, 25006, as there.';
COMMENT ON FUNCTION egress_report_success(text) IS
'Says that a session, which holds a lease, is connected: its gateway and its credential are well, and off the bench; failures are counted anew.
session_id: the application''s id, 1 to 255 bytes. Writes nothing where no failure is reported. Waits for no other transaction.
SQLSTATE: 22004, 22023 bad argument, or a session without a live lease; 25006 read-only transaction or standby.';
COMMENT ON FUNCTION egress_report_success(egress_id) IS
'As egress_report_success(text), for an id that is no text. session_id: a uuid, a number or a string. SQLSTATE: 22004, 22023, 25006, as there.';

CREATE FUNCTION egress_expire_leases() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_expire_leases() FROM PUBLIC;
COMMENT ON FUNCTION egress_expire_leases() IS
'Ends the leases whose time is over, and writes them to egress_lease_history with the reason expired.
An expired lease does not count, and an acquire that needs its connection ends it; this ends the rest, all in this transaction.
It keeps no connection from others while it is open; on a schedule, CALL egress_sweep_leases() commits each batch.
Waits for nobody: a lease that another transaction is renewing or ending is left to it. Returns how many it ended.
For each, NOTIFY egress_lease_ended with {"session_id": ..., "reason": "expired"} when this transaction commits; one that is prepared tells nobody. An acquire does so for a lease that it takes over.
SQLSTATE: 25006 read-only transaction or standby.';

CREATE FUNCTION egress_expire_leases(max_rows integer) RETURNS bigint
AS 'MODULE_PATHNAME', 'egress_expire_leases_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_expire_leases(integer) FROM PUBLIC;
COMMENT ON FUNCTION egress_expire_leases(integer) IS
'As egress_expire_leases(), of at most max_rows leases, in no order: a batch, for a transaction of its own. Two at once end different leases.
max_rows: more than 0. Returns how many it ended; fewer than max_rows: no more are left, but for those that other transactions do something with.
SQLSTATE: 22004 max_rows is NULL; 22023 it is not above 0; 25006 read-only transaction or standby.';

-- (without SECURITY DEFINER and SET, with which a procedure may not commit: the function that it calls has them)
CREATE PROCEDURE egress_sweep_leases(batch_size integer DEFAULT 1000)
AS 'MODULE_PATHNAME' LANGUAGE C;
REVOKE ALL ON PROCEDURE egress_sweep_leases(integer) FROM PUBLIC;
COMMENT ON PROCEDURE egress_sweep_leases(integer) IS
'Ends the leases whose time is over, batch by batch, each in a transaction of its own, so that no connection is kept from acquires for longer than a batch takes. For a scheduler.
batch_size: how many leases a batch ends, more than 0. Waits for nobody: a lease that another transaction is renewing or ending is left to it. Two at once share the work.
To be called by itself, not in a transaction block; with the rights of its caller, who needs egress_expire_leases(integer) too.
SQLSTATE: 22004 batch_size is NULL; 22023 it is not above 0; 2D000 called in a transaction block or by a function; 42501 the caller may not expire leases; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_gateway_required(workspace_id text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_gateway_required(text) FROM PUBLIC;
COMMENT ON FUNCTION egress_gateway_required(text) IS
'Whether a session in this workspace has to go through a gateway: the workspace''s override is on, and an enabled mapping has the workspace as its subject.
Whatever has become of its gateways: that they are disabled, withdrawn or deleted is no reason to let sessions out without one.
workspace_id: the application''s id, 1 to 255 bytes; false for NULL. Works on a hot standby. SQLSTATE: 22023 workspace_id is empty or longer than 255 bytes.';
CREATE FUNCTION egress_gateway_required(workspace_id egress_id) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_gateway_required(egress_id) FROM PUBLIC;
COMMENT ON FUNCTION egress_gateway_required(egress_id) IS
'As egress_gateway_required(text), for an id that is no text. workspace_id: a uuid, a number or a string. SQLSTATE: 22023, as there.';

CREATE FUNCTION egress_release_on_session_end() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_release_on_session_end() FROM PUBLIC;
COMMENT ON FUNCTION egress_release_on_session_end() IS
'Trigger for the application''s session table: ends the lease of a session that ends, with the reason session_end.
Arguments: the name of the column with the session id, of any type with a text form; and, if an acquire is to be refused for a session that is not there, must_exist.
An id''s text form is that of PostgreSQL''s default settings, with timestamptz in UTC, whatever the settings of the session: the application has to use the same one.
Attach it AFTER DELETE FOR EACH ROW, AFTER UPDATE FOR EACH ROW WHEN (...), and BEFORE TRUNCATE FOR EACH STATEMENT.
A row without a lease is no error. SQLSTATE: 22023 attached in another way, or the column does not exist.';

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
'Makes the end of a session end its lease, by triggers on the application''s session table: a row that is deleted, truncated, or gets another id, and an update after which ended_when holds.
session_table: a table of the caller. session_id_column: its column with the session ids, of any type with a text form; a WARNING says when it is not unique.
ended_when: the WHEN condition of a trigger, as in NEW.status = ''stopped''; NULL: a session ends only when its row goes.
must_exist: whether an acquire is refused (NG009) for a session that is in no attached table, or over. It then locks the session''s row to commit, FOR KEY SHARE, or FOR NO KEY UPDATE where ended_when is given or the column is no key; so it waits for an open transaction that changes that row.
The text form of an id is as for egress_release_on_session_end().
Sessions already in the table for which ended_when holds lose their leases now; OLD is a row of NULLs for them.
The triggers are ENABLE ALWAYS: they fire where session_replication_role is replica, and when a subscription brings the rows, unless it brings those of egress_lease as well.
Runs with the rights of its caller. SQLSTATE: 22004 an argument is NULL; 42703 no such column; 42P10 a system or virtual column; 42809 not a table of an application;
42601 ended_when is not one condition, and what CREATE TRIGGER says of it; 42710 the table is attached already; 42501 not the caller''s table; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_detach_sessions(session_table regclass) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_detach_sessions(regclass) FROM PUBLIC;
COMMENT ON FUNCTION egress_detach_sessions(regclass) IS
'Removes the triggers that egress_attach_sessions() made on session_table. Leases stay. Runs with the rights of its caller.
SQLSTATE: 22004 session_table is NULL; 42704 it is not attached; 42501 not the caller''s table; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_attach_group_members(member_table regclass, user_id_column name, group_id_column name) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_attach_group_members(regclass, name, name) FROM PUBLIC;
COMMENT ON FUNCTION egress_attach_group_members(regclass, name, name) IS
'Makes egress_group_member the mirror of the application''s own membership table: fills it anew, and keeps it in step by triggers. One table at a time.
member_table: a table of the caller. user_id_column, group_id_column: its columns with the ids, of any type with a text form; rows with a NULL, empty or too long id are not members.
An id''s text form is that of PostgreSQL''s default settings, with timestamptz in UTC, whatever the settings of the session: the application has to use the same one.
Meanwhile, what is changed in egress_group_member in another way is left as it was, with a NOTICE.
The triggers are ENABLE ALWAYS, as those of egress_attach_sessions().
Runs with the rights of its caller. SQLSTATE: 22004 an argument is NULL; 42703 no such column; 42P10 a system or virtual column; 42809 not a table of an application, or a temporary one;
42710 this or another table is attached already; 42501 not the caller''s table; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_detach_group_members(member_table regclass) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_detach_group_members(regclass) FROM PUBLIC;
COMMENT ON FUNCTION egress_detach_group_members(regclass) IS
'Removes the triggers that egress_attach_group_members() made on member_table, and the rows of egress_group_member that came from it: all.
Runs with the rights of its caller. SQLSTATE: 22004 member_table is NULL; 42704 it is not attached; 42501 not the caller''s table; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_follow_group_members() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_follow_group_members() FROM PUBLIC;
COMMENT ON FUNCTION egress_follow_group_members() IS
'Trigger that egress_attach_group_members() puts on the application''s membership table. Arguments: the columns with the user''s and the group''s id, and the name of that table.
SQLSTATE: 22023 attached in another way or under another name, another table is attached, or a column does not exist.';

/* ------------------------------- functions for administrators and schedulers */

CREATE TYPE egress_access_explanation AS (
    egress_gateway_id bigint, gateway_name text, provider_name text,
    verdict text, egress_credential_id bigint, detail text);
REVOKE ALL ON TYPE egress_access_explanation FROM PUBLIC;
COMMENT ON TYPE egress_access_explanation IS 'a row of egress_explain_access()';

CREATE FUNCTION egress_explain_access(user_id text, workspace_id text DEFAULT NULL, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_access_explanation
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_explain_access(text, text, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_explain_access(text, text, bigint) IS
'Says of each gateway why a user may or may not use it in a workspace, in the order of the menu.
user_id: the application''s id of the user, 1 to 255 bytes. workspace_id: the same of the workspace, or NULL. egress_gateway_id: of this gateway only; NULL: of all.
verdict: the first that applies of gateway_withdrawn, gateway_disabled, provider_disabled, overridden (mapped, but the workspace''s override leaves it out),
not_mapped, no_credential, benched, user_limit, at_limit, available. The menu has exactly the gateways that are user_limit, at_limit or available. benched is a gateway; where all credentials are, it is at_limit.
A credential whose key is missing is not one that an acquire would take: at_limit is also said where there is no other. No secret is opened, so one that was changed is not known.
egress_credential_id: the credential that an acquire would take now, NULL when it would get none. detail: what an administrator would change.
Works on a hot standby. SQLSTATE: 22004 user_id is NULL; 22023 an id is empty or longer than 255 bytes; NG001 no such gateway.';
CREATE FUNCTION egress_explain_access(user_id egress_id, workspace_id egress_id DEFAULT NULL, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_access_explanation
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 1000 ROWS 100;
REVOKE ALL ON FUNCTION egress_explain_access(egress_id, egress_id, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_explain_access(egress_id, egress_id, bigint) IS
'As egress_explain_access(text, text, bigint), for ids that are no text. user_id, workspace_id: uuids, numbers, or strings mixed with them. egress_gateway_id: as there. SQLSTATE: 22004, 22023, NG001, as there.';

CREATE FUNCTION egress_orphaned_sessions() RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_orphaned_sessions() FROM PUBLIC;
COMMENT ON FUNCTION egress_orphaned_sessions() IS
'The session ids of leases, expired or not, whose session is in no attached session table, or over; for the view egress_orphaned_connection.
A table is attached when egress_attach_sessions() or a hand has put row triggers with egress_release_on_session_end() on it; a session is over when the ended_when of egress_attach_sessions() holds, OLD being NULLs.
Returns nothing where no table is attached. Looks each session up in the tables with the rights of their owners. Works on a hot standby.
SQLSTATE: 42703 the column that was attached does not exist any more.';

CREATE FUNCTION egress_unentitled_sessions() RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_unentitled_sessions() FROM PUBLIC;
COMMENT ON FUNCTION egress_unentitled_sessions() IS
'The session ids of leases, expired or not, to which the rules of access would no longer give that credential for that gateway; for the view egress_unentitled_connection.
Decided as an acquire decides it: by the enabled mappings and the lease''s credential, by what these select, and by gateway and provider; but for the bench and the limits, which take nothing from who has a connection.
Works on a hot standby. SQLSTATE: none of its own.';

CREATE TYPE egress_ended_lease AS (
    session_id text, user_id text, workspace_id text, egress_gateway_id bigint, egress_credential_id bigint);
REVOKE ALL ON TYPE egress_ended_lease FROM PUBLIC;
COMMENT ON TYPE egress_ended_lease IS 'a row of egress_end_leases()';

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
'Ends the live leases that fit all arguments that are not NULL (one that is NULL does not matter), and writes them to egress_lease_history with the reason ended. Their connections are free for others at commit, or when they have cooled down.
session_id, user_id, workspace_id: the application''s ids, 1 to 255 bytes, as they were given to the acquire. egress_gateway_id, egress_credential_id: of the lease. egress_provider_id: of its gateway.
unentitled: true for those of egress_unentitled_connection, to which the rules of access as they are now would not give that credential for that gateway.
orphaned: true for those of egress_orphaned_connection, whose session is in no attached session table, or over.
Returns the leases that it ended. Waits for nobody: a lease that another transaction is taking, renewing or ending is left to it, and not returned; call it again.
For each, NOTIFY egress_lease_ended with {"session_id": ..., "reason": "ended"} when this transaction commits; one that is prepared tells nobody.
SQLSTATE: 22023 all arguments are NULL, an id is empty or longer than 255 bytes, or unentitled or orphaned is false; 42703 the column that was attached does not exist any more; 25006 read-only transaction or standby.';
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
'As egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean), for ids that are no text. session_id, user_id, workspace_id: uuids, numbers, or strings mixed with them; the first of them has to be given, by name. egress_gateway_id, egress_credential_id, egress_provider_id, unentitled, orphaned: as there.
SQLSTATE: 22023, 42703, 25006, as there.';
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
'As egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean), for ids that are no text. user_id, workspace_id: uuids, numbers, or strings mixed with them; the first of them has to be given, by name. egress_gateway_id, egress_credential_id, egress_provider_id, unentitled, orphaned: as there.
SQLSTATE: 22023, 42703, 25006, as there.';
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
'As egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean), for ids that are no text. workspace_id: a uuid or a number, given by name. egress_gateway_id, egress_credential_id, egress_provider_id, unentitled, orphaned: as there.
SQLSTATE: 22023, 42703, 25006, as there.';

CREATE TYPE egress_imported_config AS (config text, removed text[]);
REVOKE ALL ON TYPE egress_imported_config FROM PUBLIC;
COMMENT ON TYPE egress_imported_config IS 'what egress_import_config() returns';
CREATE TYPE egress_imported_credential AS (
    config text, removed text[],
    username text, password text, client_certificate text, client_key text,
    private_key text, address text, preshared_key text);
REVOKE ALL ON TYPE egress_imported_credential FROM PUBLIC;
COMMENT ON TYPE egress_imported_credential IS 'what egress_import_credential() returns';

CREATE FUNCTION egress_import_config(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL)
RETURNS egress_imported_config
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_import_config(egress_provider_type, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION egress_import_config(egress_provider_type, text, jsonb) IS
'Makes a config that a gateway of this type can have from a file as a provider publishes it. What it returns passes the check of egress_gateway.config.
provider_type: custom returns the source as it is. source: the text of the .ovpn or .conf file.
files: the files beside it, an object by name, without folders; a text file is a string, a binary one {"base64": "..."}. What ca, cert, key, tls-auth, tls-crypt, tls-crypt-v2, crl-verify, pkcs12, secret, extra-certs, dh and http-proxy-user-pass name becomes a block.
Returns config, and removed: a line for each that was taken out or replaced by something else than its file, "line 7: up: It runs a command on the agent."
Taken out is what only runs commands, writes files, sets up the agent, is for other systems, or what openvpn 2.6 does by itself; never what checks the server.
SQLSTATE: 22004 provider_type or source is NULL; 22023 files is no object, or one of them is neither string nor base64; NG007 it cannot be made to pass: the detail names every line.';

CREATE FUNCTION egress_import_credential(provider_type egress_provider_type, source text, files jsonb DEFAULT NULL)
RETURNS egress_imported_credential
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_import_credential(egress_provider_type, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION egress_import_credential(egress_provider_type, text, jsonb) IS
'As egress_import_config(), with what belongs to a credential apart, and not in config: for a row of egress_credential, where it is sealed.
Returns config and removed; username and password of an <auth-user-pass>, or of the file that auth-user-pass names if it is given; client_certificate and client_key of <cert> and <key>, or of their files; private_key, Address as address and PresharedKey as preshared_key of a WireGuard config. What it has not is NULL.
provider_type, source, files: as there.
SQLSTATE: 22004, 22023 and NG007, as there.';

CREATE TYPE egress_synced_gateway AS (action text, egress_gateway_id bigint, name text);
REVOKE ALL ON TYPE egress_synced_gateway FROM PUBLIC;
COMMENT ON TYPE egress_synced_gateway IS 'a row of egress_sync_gateways()';

CREATE FUNCTION egress_sync_gateways(
    egress_provider_id bigint, gateways jsonb, max_withdrawn float8 DEFAULT 0.5,
    import boolean DEFAULT false, files jsonb DEFAULT NULL, skip_bad boolean DEFAULT false)
RETURNS SETOF egress_synced_gateway
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 1000;
REVOKE ALL ON FUNCTION egress_sync_gateways(bigint, jsonb, float8, boolean, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION egress_sync_gateways(bigint, jsonb, float8, boolean, jsonb, boolean) IS
'Makes the gateways of a managed provider those of a list: adds new ones (enabled exactly when enable_new_managed_gateways), updates known ones, withdraws missing ones, takes back returning ones.
egress_provider_id: a provider that is managed. gateways: an array of objects with name, and country, city and config where the provider gives them; a gateway is known by its name. Other keys are ignored.
max_withdrawn: from 0 to 1; a list is refused that would withdraw ten gateways or more, and more than this share of those that are not withdrawn yet; 1 lets it withdraw all.
import: true: each config is made by egress_import_config(), of the listed one and files, a JSON object of files by name or NULL; an entry may have files of its own, which win.
skip_bad: true: a bad entry (malformed, or with a config that cannot be used) is skipped, with a WARNING, and its gateway stays as it is; where its name cannot be read, nothing is withdrawn.
Never touches enabled of a known gateway. Writes only rows that change. Sessions acquire meanwhile; another sync of the provider waits.
Returns a row for each gateway of the list, in its order, then one for each that was withdrawn now. action: added, updated, unchanged, withdrawn, returned, skipped.
SQLSTATE: 22004 an argument is NULL; 22023 no such provider, max_withdrawn is no share, files are none or for no import, or an entry is malformed or comes twice; 55000 the provider is not managed;
NG007 a config does not fit the provider''s type; NG010 it would withdraw more than max_withdrawn; 25006 read-only transaction or standby. In each case nothing is changed.';

CREATE FUNCTION egress_unbench(egress_gateway_id bigint DEFAULT NULL, egress_credential_id bigint DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_unbench(bigint, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_unbench(bigint, bigint) IS
'Takes a gateway, a credential, or both off the bench, as a success would: failures are counted anew.
egress_gateway_id, egress_credential_id: which; NULL: none. Returns true when one of them was benched, false when not, or when there is none of the id. Waits for no other transaction.
SQLSTATE: 22023 both are NULL; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_prune_history(older_than interval) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_prune_history(interval) FROM PUBLIC;
COMMENT ON FUNCTION egress_prune_history(interval) IS
'Removes the rows of egress_lease_history whose connection ended, and those of egress_failure that were reported, before the present time less older_than, all in this transaction.
older_than: not negative; a day is 24 hours, a month one of UTC''s calendar. Returns how many rows it removed. Blocks no acquire and no release.
SQLSTATE: 22004 older_than is NULL; 22023 it is negative or too long; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_prune_history(older_than interval, max_rows bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'egress_prune_history_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_prune_history(interval, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_prune_history(interval, bigint) IS
'As egress_prune_history(older_than), of at most max_rows rows, the oldest first: a batch, for a transaction of its own. Two at once take different rows.
older_than: not negative. max_rows: more than 0. Returns how many rows it removed; fewer than max_rows: no more are left.
SQLSTATE: 22004 an argument is NULL; 22023 older_than is negative or too long, or max_rows is not above 0; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_connections_at(moment timestamptz, egress_gateway_id bigint DEFAULT NULL)
RETURNS SETOF egress_lease_history
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
COST 10000 ROWS 100;
REVOKE ALL ON FUNCTION egress_connections_at(timestamptz, bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_connections_at(timestamptz, bigint) IS
'Who was connected at a moment: the connections, ended or not, that had begun and had not ended then.
moment: when. egress_gateway_id: through this gateway, also one that has been deleted since; NULL: through any.
Returns rows as in egress_lease_history, ordered by acquired_at and session_id. For one that has not ended egress_lease_history_id, released_at and release_reason are NULL, and the names are those of now;
for one that has expired and was not cleaned up yet they are NULL, its end, and expired.
SQLSTATE: 22004 moment is NULL.';

/* ---------------------------------------- functions an owner calls */

-- (without a search_path of its own, as those that attach)
CREATE FUNCTION egress_grant_access(role name, access text) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION egress_grant_access(name, text) FROM PUBLIC;
COMMENT ON FUNCTION egress_grant_access(name, text) IS
'Grants a role what its work needs, and USAGE on the extension''s schema.
role: an existing role. access: app (call what an application calls, read nothing else),
monitor (read the views, explain access), admin (change the configuration tables, read and dump all, call all but what acquires, renews, reports, attaches, detaches, grants or reveals).
Runs with the rights of its caller. SQLSTATE: 22004 an argument is NULL; 22023 unknown access; 42704 no such role; 42501 the caller may not grant.';

/* ------------------------------------------- functions about secrets */

CREATE FUNCTION egress_reveal_secret(secret egress_secret) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_reveal_secret(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_reveal_secret(egress_secret) IS
'Opens a secret. secret: a column of egress_credential, or a sealed form. Returns the text that was sealed.
egress_grant_access() grants it to nobody. SQLSTATE: 22004 secret is NULL; NG006 its key is missing, or it was changed.';

CREATE FUNCTION egress_secret_state(secret egress_secret) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_secret_state(egress_secret) FROM PUBLIC;
COMMENT ON FUNCTION egress_secret_state(egress_secret) IS
'How a secret is stored, without opening it: active key (the first of the key file), older key (a further one),
missing key (none of the key file''s, or the file cannot be used), or not sealed. NULL for NULL. SQLSTATE: none of its own.';

CREATE FUNCTION egress_config_has_secret(provider_type egress_provider_type, config text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_config_has_secret(egress_provider_type, text) FROM PUBLIC;
COMMENT ON FUNCTION egress_config_has_secret(egress_provider_type, text) IS
'Whether a gateway''s config has secrets in it, which are not sealed: a private key, a preshared key, a password.
provider_type: its provider''s; the configs of custom are not looked into. NULL for NULL. SQLSTATE: none of its own.';

CREATE FUNCTION egress_rotate_secrets() RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_rotate_secrets() FROM PUBLIC;
COMMENT ON FUNCTION egress_rotate_secrets() IS
'Seals every secret that is sealed under another key, or not at all, under the active key: the first of the key file.
Returns how many secrets. One transaction: all or nothing. Acquires go on meanwhile; whoever changes a credential waits.
SQLSTATE: NG006 a secret cannot be opened; 55000 no key file is set; F0000 the key file cannot be used; 25006 read-only transaction or standby.';

CREATE FUNCTION egress_wireguard_public_key(private_key text) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_wireguard_public_key(text) FROM PUBLIC;
COMMENT ON FUNCTION egress_wireguard_public_key(text) IS
'The public key of a WireGuard private key, as wg pubkey prints it. private_key: 32 bytes in base64.
SQLSTATE: 22004 private_key is NULL; 22023 it is not 32 bytes in base64.';

CREATE FUNCTION egress_credential_public_key(egress_credential_id bigint) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_credential_public_key(bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_credential_public_key(bigint) IS
'The public key of a credential''s private_key, as wg pubkey prints it, for whoever may not open the private key.
Returns NULL for a credential without one: only those of wireguard providers have it.
SQLSTATE: 22004 egress_credential_id is NULL; 22023 no such credential; NG006 the private key cannot be opened; NG007 it is not 32 bytes in base64.';

CREATE FUNCTION egress_generate_wireguard_key() RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_generate_wireguard_key() FROM PUBLIC;
COMMENT ON FUNCTION egress_generate_wireguard_key() IS
'A fresh WireGuard private key, as wg genkey prints it: 32 bytes in base64. SQLSTATE: none of its own.';

/* ------------------------------ triggers that keep the tables whole */

CREATE FUNCTION egress_fill_provider_type() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_fill_provider_type() FROM PUBLIC;
COMMENT ON FUNCTION egress_fill_provider_type() IS
'Trigger of egress_gateway and egress_credential: copies the provider''s type into the new row. SQLSTATE: 23503 no such provider.';

CREATE FUNCTION egress_fill_selection_provider() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_fill_selection_provider() FROM PUBLIC;
COMMENT ON FUNCTION egress_fill_selection_provider() IS
'Trigger of the two tables of selected gateways: copies the provider of the mapping or credential into the row.
SQLSTATE: 23503 no such mapping, credential or gateway, or the gateway is another provider''s.';

CREATE FUNCTION egress_refuse_move() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_refuse_move() FROM PUBLIC;
COMMENT ON FUNCTION egress_refuse_move() IS
'Trigger of egress_provider, egress_gateway and egress_credential: a gateway or credential keeps its id and its provider,
a provider its type once it has gateways or credentials, and its id once anything refers to it.
SQLSTATE: 23514 of a gateway or credential; 23503 of a provider.';

CREATE FUNCTION egress_end_expired_leases() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_end_expired_leases() FROM PUBLIC;
COMMENT ON FUNCTION egress_end_expired_leases() IS
'Trigger of egress_provider, egress_gateway and egress_credential: ends the expired leases of what is about to be deleted.
SQLSTATE: 23503 a lease that has not expired uses it.';

CREATE FUNCTION egress_refuse_delete_in_use() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_refuse_delete_in_use() FROM PUBLIC;
COMMENT ON FUNCTION egress_refuse_delete_in_use() IS
'Trigger of egress_gateway and egress_credential: refuses to delete what a lease uses, leases of open transactions included. SQLSTATE: 23503.';

CREATE FUNCTION egress_refuse_misfit() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_refuse_misfit() FROM PUBLIC;
COMMENT ON FUNCTION egress_refuse_misfit() IS
'Trigger of egress_gateway and egress_credential: checks the config or the credential by the provider''s type.
A secret whose key is missing is accepted unread, so that a dump can be restored without the key.
SQLSTATE: NG006 a secret was changed after it was sealed; NG007 the config or the credential does not fit the provider''s type.';

CREATE FUNCTION egress_leave_members_to_source() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_leave_members_to_source() FROM PUBLIC;
COMMENT ON FUNCTION egress_leave_members_to_source() IS
'Trigger of egress_group_member: while a membership table is attached, leaves out the changes that its triggers do not make. SQLSTATE: 55000 TRUNCATE.';

CREATE FUNCTION egress_connection_freed() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_connection_freed() FROM PUBLIC;
COMMENT ON FUNCTION egress_connection_freed() IS
'Trigger of egress_lease and egress_lease_expiry, for whoever writes them by hand: lets the index egress_credential_pool know that a credential may have a connection free. SQLSTATE: none of its own.';

CREATE FUNCTION egress_restore_in_any_order() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_restore_in_any_order() FROM PUBLIC;
COMMENT ON FUNCTION egress_restore_in_any_order() IS
'Trigger of the tables that refer to others: while pg_restore fills one as a superuser, foreign keys to tables that are empty yet are left to egress_check_restored(), and the attached table of memberships is locked while egress_group_member is filled. SQLSTATE: none of its own.';

CREATE FUNCTION egress_check_restored() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_check_restored() FROM PUBLIC;
COMMENT ON FUNCTION egress_check_restored() IS
'Trigger of the tables to which others refer: when pg_restore has filled one as a superuser, checks the foreign keys of these others; of egress_group_member, fills it with what the attached table of memberships holds, if there is one. SQLSTATE: 23503 a row refers to one that is not there.';

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
COMMENT ON VIEW egress_live_lease IS 'the leases that count: those that have not expired';

/*
 * What the two views below are made of. VOLATILE, so that the planner neither merges the subquery that calls one into the view,
 * which would call it for each of its columns, nor into another query. In one process, because what a query has counted
 * is kept there; without a search_path of its own, which would cost more than the call: no name is looked up.
 */
CREATE FUNCTION egress_gateway_leases(egress_gateway_id bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION egress_gateway_leases(bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_gateway_leases(bigint) IS
'What the view egress_gateway_usage calls: how many live leases a gateway has. egress_gateway_id: the gateway, or no longer one.
Works on a hot standby. SQLSTATE: 22004 egress_gateway_id is NULL.';

CREATE FUNCTION egress_credential_leases(
    egress_credential_id bigint, OUT active_connections bigint, OUT cooling_connections bigint, OUT oldest_lease_at timestamptz)
RETURNS record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION egress_credential_leases(bigint) FROM PUBLIC;
COMMENT ON FUNCTION egress_credential_leases(bigint) IS
'What the view egress_credential_usage calls: how many live leases a credential has; how many connections of leases that have ended cool down; and when the oldest live one was acquired, NULL without any.
egress_credential_id: the credential, or no longer one. Works on a hot standby. SQLSTATE: 22004 egress_credential_id is NULL.';

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
COMMENT ON VIEW egress_credential_usage IS
    'how many connections each credential has live; limit and available are NULL for one without a limit. What cools down is neither active nor available';

CREATE VIEW egress_gateway_usage AS
SELECT g.egress_gateway_id,
       g.name AS gateway_name,
       g.country,
       g.city,
       p.egress_provider_id,
       p.name AS provider_name,
       g.enabled,
       g.withdrawn,
       g.active_connections
FROM (SELECT egress_gateway_id, egress_provider_id, name, country, city, enabled, withdrawn,
             egress_gateway_leases(egress_gateway_id) AS active_connections
      FROM egress_gateway) g
JOIN egress_provider p USING (egress_provider_id);
REVOKE ALL ON egress_gateway_usage FROM PUBLIC;
COMMENT ON VIEW egress_gateway_usage IS 'how many connections each gateway has live';

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
COMMENT ON VIEW egress_connection IS 'the live leases with the names of everything';

CREATE VIEW egress_orphaned_connection AS
SELECT c.* FROM egress_connection c JOIN egress_orphaned_sessions() orphaned (session_id) USING (session_id);
REVOKE ALL ON egress_orphaned_connection FROM PUBLIC;
COMMENT ON VIEW egress_orphaned_connection IS
    'the live leases whose session is in no attached session table, or over; none where no table is attached';

CREATE VIEW egress_unentitled_connection AS
SELECT c.* FROM egress_connection c JOIN egress_unentitled_sessions() unentitled (session_id) USING (session_id);
REVOKE ALL ON egress_unentitled_connection FROM PUBLIC;
COMMENT ON VIEW egress_unentitled_connection IS
    'the live leases to which the rules of access would no longer give that credential for that gateway';

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
COMMENT ON TYPE egress_benched_target IS 'a row of egress_benched_now()';
COMMENT ON FUNCTION egress_benched_now() IS
'What the view egress_benched calls: the gateways and credentials that are benched. Works on a hot standby. SQLSTATE: none of its own.';
COMMENT ON VIEW egress_benched IS
    'the gateways and the credentials that are benched, after how many reports since the last success, and until when; one of the two ids is NULL';

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
    'how many secrets of each column are sealed under the active key, an older one or one that is missing, or not sealed, and how many configs have some in them; opens none';

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
COMMENT ON VIEW egress_upkeep IS
    'what egress_sweep_leases() and egress_prune_history() have left: how many leases have expired and were not ended, since when the first of them, and since when the history goes back';

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
