/*
 * egress--0.9--1.0.sql -- what makes version 1.0 of an installed 0.9
 *
 * Every change of egress--1.0.sql is made here too: test/t/update.pl compares a fresh 1.0 with an updated one, object by
 * object. The rules of that file hold here.
 */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION egress UPDATE TO '1.0'" to load this file. \quit

-- the launch menu reads whether a gateway is enabled and withdrawn from its index too
DROP INDEX egress_gateway_menu;
CREATE INDEX egress_gateway_menu
    ON egress_gateway (egress_provider_id, country, city, name, egress_gateway_id) INCLUDE (enabled, withdrawn);

-- a restore, or a hand, does not write into the mirror of a table
CREATE FUNCTION egress_leave_members_to_source() RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C
SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION egress_leave_members_to_source() FROM PUBLIC;
COMMENT ON FUNCTION egress_leave_members_to_source() IS
'Trigger of egress_group_member: while a membership table is attached, leaves out the rows that its triggers do not write. SQLSTATE: none of its own.';

-- what triggers write is the mirror of the table that is attached, or somebody's own way of keeping one
CREATE TRIGGER egress_leave_members_to_source BEFORE INSERT ON egress_group_member FOR EACH ROW
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION egress_leave_members_to_source();

-- with all names said, so that what pg_upgrade makes of it is the same
CREATE OR REPLACE VIEW egress_secret_usage AS
SELECT field.secret,
       count(*) FILTER (WHERE field.state = 'active key') AS active_key,
       count(*) FILTER (WHERE field.state = 'older key') AS older_key,
       count(*) FILTER (WHERE field.state = 'missing key') AS missing_key,
       count(*) FILTER (WHERE field.state = 'not sealed') AS not_sealed
FROM (SELECT 'password' AS secret, egress_secret_state(password) AS state FROM egress_credential
      UNION ALL
      SELECT 'private_key' AS secret, egress_secret_state(private_key) AS state FROM egress_credential
      UNION ALL
      SELECT 'custom_credential' AS secret, egress_secret_state(custom_credential) AS state FROM egress_credential) field
GROUP BY field.secret;
