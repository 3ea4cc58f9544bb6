/*
 * grant.c -- egress_grant_access(role, access)
 *
 * The one list of what each kind of access may do. PUBLIC may do nothing, and the extension creates no roles. Who may read
 * a column may use its type: to keep what was read in a table, or COPY into a temporary one first, takes USAGE. An update
 * grants nothing that somebody did not have, except for what a view calls: egress_grant_to_readers().
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/regproc.h"

#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "query.h"

/* One GRANT: privileges on objects, %s (%1$s where it comes more than once) standing for the quoted schema. */
typedef struct Grant
{
	const char *access;
	const char *privileges;
	const char *object;
} Grant;

static const Grant grants[] = {
	{"app", "EXECUTE", "FUNCTION %s.egress_available_gateways(text, text)"},
	{"app", "EXECUTE", "FUNCTION %1$s.egress_available_gateways(%1$s.egress_id, %1$s.egress_id)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_acquire_credential(text, text, bigint, text, interval)"},
	{"app", "EXECUTE", "FUNCTION %1$s.egress_acquire_credential(%1$s.egress_id, %1$s.egress_id, bigint, %1$s.egress_id, interval)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_acquire_gateway(text, text, text, text[], text[], text[], bigint[], interval)"},
	{"app", "EXECUTE",
	"FUNCTION %1$s.egress_acquire_gateway(%1$s.egress_id, %1$s.egress_id, %1$s.egress_id, text[], text[], text[], bigint[], interval)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_release_credential(text)"},
	{"app", "EXECUTE", "FUNCTION %1$s.egress_release_credential(%1$s.egress_id)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_renew_lease(text, interval)"},
	{"app", "EXECUTE", "FUNCTION %1$s.egress_renew_lease(%1$s.egress_id, interval)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_report_failure(text, text)"},
	{"app", "EXECUTE", "FUNCTION %1$s.egress_report_failure(%1$s.egress_id, text)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_report_success(text)"},
	{"app", "EXECUTE", "FUNCTION %1$s.egress_report_success(%1$s.egress_id)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_expire_leases()"},
	{"app", "EXECUTE", "FUNCTION %s.egress_expire_leases(integer)"},
	{"app", "EXECUTE", "PROCEDURE %s.egress_sweep_leases(integer)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_gateway_required(text)"},
	{"app", "EXECUTE", "FUNCTION %1$s.egress_gateway_required(%1$s.egress_id)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_id_in(cstring)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_id_from_character(character)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_release_on_session_end()"},
	{"app", "EXECUTE", "FUNCTION %s.egress_attach_sessions(regclass, name, text, boolean)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_attach_sessions(regclass, name, text)"}, /* of version 0.9 */
	{"app", "EXECUTE", "FUNCTION %s.egress_detach_sessions(regclass)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_follow_group_members()"},
	{"app", "EXECUTE", "FUNCTION %s.egress_attach_group_members(regclass, name, name)"},
	{"app", "EXECUTE", "FUNCTION %s.egress_detach_group_members(regclass)"},
	{"app", "USAGE", "TYPE %s.egress_provider_type"},

	{"monitor", "SELECT", "TABLE %s.egress_live_lease"},
	{"monitor", "SELECT", "TABLE %s.egress_credential_usage"},
	{"monitor", "SELECT", "TABLE %s.egress_gateway_usage"},
	{"monitor", "SELECT", "TABLE %s.egress_connection"},
	{"monitor", "SELECT", "TABLE %s.egress_orphaned_connection"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_orphaned_sessions()"},
	{"monitor", "SELECT", "TABLE %s.egress_unentitled_connection"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_unentitled_sessions()"},
	{"monitor", "SELECT", "TABLE %s.egress_benched"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_benched_now()"},
	{"monitor", "SELECT", "TABLE %s.egress_pool_usage"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_pools()"},
	{"monitor", "SELECT", "TABLE %s.egress_secret_usage"},
	{"monitor", "SELECT", "TABLE %s.egress_upkeep"},
	{"monitor", "EXECUTE", "FUNCTION %1$s.egress_secret_state(%1$s.egress_secret)"},
	{"monitor", "EXECUTE", "FUNCTION %1$s.egress_config_has_secret(%1$s.egress_provider_type, text)"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_credential_leases(bigint)"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_gateway_leases(bigint)"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_explain_access(text, text, bigint)"},
	{"monitor", "EXECUTE", "FUNCTION %1$s.egress_explain_access(%1$s.egress_id, %1$s.egress_id, bigint)"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_id_in(cstring)"},
	{"monitor", "EXECUTE", "FUNCTION %s.egress_id_from_character(character)"},
	{"monitor", "USAGE", "TYPE %s.egress_provider_type"},
	{"monitor", "USAGE", "TYPE %s.egress_subject_type"},
	{"monitor", "USAGE", "TYPE %s.egress_access_explanation"},

	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_provider"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_gateway"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_provider_mapping"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_provider_mapping_gateway"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_credential"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_credential_gateway"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_group_member"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_workspace"},
	{"admin", "SELECT, INSERT, UPDATE, DELETE", "TABLE %s.egress_user_limit"},
	{"admin", "SELECT", "TABLE %s.egress_lease"},
	{"admin", "SELECT", "TABLE %s.egress_lease_expiry"},
	{"admin", "SELECT", "TABLE %s.egress_lease_history"},
	{"admin", "SELECT", "TABLE %s.egress_report"},
	{"admin", "SELECT", "TABLE %s.egress_failure"},
	/* what pg_dump reads besides the tables */
	{"admin", "SELECT", "SEQUENCE %s.egress_provider_egress_provider_id_seq"},
	{"admin", "SELECT", "SEQUENCE %s.egress_gateway_egress_gateway_id_seq"},
	{"admin", "SELECT", "SEQUENCE %s.egress_provider_mapping_egress_provider_mapping_id_seq"},
	{"admin", "SELECT", "SEQUENCE %s.egress_credential_egress_credential_id_seq"},
	{"admin", "SELECT", "SEQUENCE %s.egress_user_limit_egress_user_limit_id_seq"},
	{"admin", "SELECT", "SEQUENCE %s.egress_lease_history_egress_lease_history_id_seq"},
	{"admin", "SELECT", "SEQUENCE %s.egress_report_egress_report_id_seq"},
	{"admin", "SELECT", "SEQUENCE %s.egress_failure_egress_failure_id_seq"},
	{"admin", "SELECT", "TABLE %s.egress_live_lease"},
	{"admin", "SELECT", "TABLE %s.egress_credential_usage"},
	{"admin", "SELECT", "TABLE %s.egress_gateway_usage"},
	{"admin", "SELECT", "TABLE %s.egress_connection"},
	{"admin", "SELECT", "TABLE %s.egress_orphaned_connection"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_orphaned_sessions()"},
	{"admin", "SELECT", "TABLE %s.egress_unentitled_connection"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_unentitled_sessions()"},
	{"admin", "SELECT", "TABLE %s.egress_benched"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_benched_now()"},
	{"admin", "SELECT", "TABLE %s.egress_pool_usage"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_pools()"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_unbench(bigint, bigint)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_end_leases(text, text, text, bigint, bigint, bigint, boolean, boolean)"},
	{"admin", "EXECUTE",
	"FUNCTION %1$s.egress_end_leases(%1$s.egress_id, %1$s.egress_id, %1$s.egress_id, bigint, bigint, bigint, boolean, boolean)"},
	{"admin", "EXECUTE",
	"FUNCTION %1$s.egress_end_leases(%1$s.egress_id, %1$s.egress_id, bigint, bigint, bigint, boolean, boolean)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_end_leases(%1$s.egress_id, bigint, bigint, bigint, boolean, boolean)"},
	{"admin", "SELECT", "TABLE %s.egress_secret_usage"},
	{"admin", "SELECT", "TABLE %s.egress_upkeep"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_secret_state(%1$s.egress_secret)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_config_has_secret(%1$s.egress_provider_type, text)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_credential_leases(bigint)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_gateway_leases(bigint)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_secret_from_bytea(bytea)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_secret_eq(%1$s.egress_secret, %1$s.egress_secret)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_secret_ne(%1$s.egress_secret, %1$s.egress_secret)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_rotate_secrets()"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_wireguard_public_key(text)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_generate_wireguard_key()"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_credential_public_key(bigint)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_available_gateways(text, text)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_available_gateways(%1$s.egress_id, %1$s.egress_id)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_gateway_required(text)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_gateway_required(%1$s.egress_id)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_explain_access(text, text, bigint)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_explain_access(%1$s.egress_id, %1$s.egress_id, bigint)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_import_config(%1$s.egress_provider_type, text, jsonb)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_import_credential(%1$s.egress_provider_type, text, jsonb)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_sync_gateways(bigint, jsonb, float8, boolean, jsonb, boolean)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_sync_gateways(bigint, jsonb)"},	/* of version 0.9 */
	{"admin", "EXECUTE", "FUNCTION %s.egress_release_credential(text)"},
	{"admin", "EXECUTE", "FUNCTION %1$s.egress_release_credential(%1$s.egress_id)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_id_in(cstring)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_id_from_character(character)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_expire_leases()"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_expire_leases(integer)"},
	{"admin", "EXECUTE", "PROCEDURE %s.egress_sweep_leases(integer)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_prune_history(interval)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_prune_history(interval, bigint)"},
	{"admin", "EXECUTE", "FUNCTION %s.egress_connections_at(timestamptz, bigint)"},
	{"admin", "USAGE", "TYPE %s.egress_provider_type"},
	{"admin", "USAGE", "TYPE %s.egress_subject_type"},
	{"admin", "USAGE", "TYPE %s.egress_credential_order"},
	{"admin", "USAGE", "TYPE %s.egress_secret"},
	{"admin", "USAGE", "TYPE %s.egress_access_explanation"},
};

/* who may read a relation, beside its owner */
#define READERS_QUERY \
	"SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::pg_catalog.regrole::pg_catalog.text END" \
	" FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl)" \
	" WHERE oid OPERATOR(pg_catalog.=) $1 AND privilege_type OPERATOR(pg_catalog.=) 'SELECT'" \
	" AND grantee OPERATOR(pg_catalog.<>) relowner"

PG_FUNCTION_INFO_V1(egress_grant_access);
PG_FUNCTION_INFO_V1(egress_grant_to_readers);

/* grant -- run a GRANT with the rights of the caller */
static void
grant(const char *privileges, const char *object, const char *role)
{
	query_command(psprintf("GRANT %s ON %s TO %s", privileges, object, role));
}

/* exists -- is there the object of a GRANT? In a version before the library's own, not every one is */
static bool
exists(const char *object)
{
	const char *name = strchr(object, ' ') + 1;
	const char *look_up = "to_regclass";
	char	   *query;

	if (strncmp(object, "FUNCTION ", name - object) == 0 || strncmp(object, "PROCEDURE ", name - object) == 0)
		look_up = "to_regprocedure";
	else if (strncmp(object, "TYPE ", name - object) == 0)
		look_up = "to_regtype";
	query = psprintf("SELECT FROM pg_catalog.%s(%s) it WHERE it IS NOT NULL", look_up, quote_literal_cstr(name));
	query_run(query_prepare(query, 0, NULL, 0), NULL, NULL, NULL, true, 1);
	return SPI_processed > 0;
}

/* egress_grant_access -- see COMMENT ON FUNCTION */
Datum
egress_grant_access(PG_FUNCTION_ARGS)
{
	const char *role;
	const char *access;
	const char *schema;
	bool		known = false;

	argument_check_not_null(fcinfo, 0, "role");
	argument_check_not_null(fcinfo, 1, "access");
	role = NameStr(*PG_GETARG_NAME(0));
	access = text_to_cstring(PG_GETARG_TEXT_PP(1));
	PreventCommandIfReadOnly("egress_grant_access()");
	catalog_use(fcinfo->flinfo->fn_oid);

	/* a GRANT would take "public" for PUBLIC, even quoted: insist on a role of that name, which there cannot be */
	(void) get_role_oid(role, false);
	role = quote_identifier(role);
	schema = query_schema();

	/* two GRANTs on one object at once end one of them with "tuple concurrently updated" */
	LockDatabaseObject(ExtensionRelationId, getExtensionOfObject(ProcedureRelationId, fcinfo->flinfo->fn_oid), 0,
					   ShareUpdateExclusiveLock);
	query_connect();
	for (size_t i = 0; i < lengthof(grants); i++)
	{
		const char *object;

		if (strcmp(access, grants[i].access) != 0)
			continue;
		if (!known)
			grant("USAGE", psprintf("SCHEMA %s", schema), role);
		known = true;
		/* where the type of an argument is not there, it is an error to ask whether the function is */
		if (catalog_version() < VERSION_1_0 && (strstr(grants[i].object, ".egress_id") != NULL || strstr(grants[i].object, ".egress_credential_order") != NULL))
			continue;
		object = psprintf(grants[i].object, schema);
		if (exists(object))
			grant(grants[i].privileges, object, role);
	}
	SPI_finish();

	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown access \"%s\"", access),
				 errdetail("Access is one of app, monitor, admin.")));
	PG_RETURN_VOID();
}

/*
 * egress_grant_to_readers -- grant a function to whoever may read a view; returns to how many
 *
 * For an update's script, which makes it, calls it and drops it: a view that calls a function now stays readable for those who
 * could read it. These are an administrator's grants, not the extension's own. So they must not be among its initial
 * privileges, which pg_dump does not carry; PostgreSQL takes every GRANT in a script for one.
 */
Datum
egress_grant_to_readers(PG_FUNCTION_ARGS)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {PG_GETARG_DATUM(0)};
	char	   *function = format_procedure_qualified(PG_GETARG_OID(1));
	uint64		readers;

	query_connect();
	query_run(query_prepare(READERS_QUERY, 1, types, 0), values, NULL, NULL, true, 0);
	readers = SPI_processed;
	if (readers > 0)
	{
		SPITupleTable *grantees = SPI_tuptable;
		bool		in_script = creating_extension;

		creating_extension = false;
		PG_TRY();
		{
			for (uint64 i = 0; i < readers; i++)
				grant("EXECUTE", psprintf("FUNCTION %s", function), SPI_getvalue(grantees->vals[i], grantees->tupdesc, 1));
		}
		PG_FINALLY();
		{
			creating_extension = in_script;
		}
		PG_END_TRY();
	}
	SPI_finish();
	PG_RETURN_INT64(readers);
}
