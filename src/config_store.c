/*
 * config_store.c -- what is stored of a config, by its provider's type, and what whoever stores it is told
 *
 * A gateway's config is not sealed. What rendering puts a lease's credential in the place of is not stored; of that, and of what
 * else is secret in it, whoever stores it is told.
 */
#include "config_store.h"

#include "access/xact.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "config.h"

PG_FUNCTION_INFO_V1(egress_config_has_secret);

/*
 * config_store_to_store -- what is stored of a config; NG007 if a provider of this type cannot run it
 *
 * Adds to *secrets the names of what is secret in it all the same. *left_out becomes the name of what is not stored, and stays
 * as it is where all is. The same again for what it returns.
 */
text *
config_store_to_store(EgressProviderType type, text *config, List **secrets, const char **left_out)
{
	text	   *stored = config;
	bool		had_private_key = false;

	switch (type)
	{
		case PROVIDER_OPENVPN:
			stored = config_openvpn_stored(config, secrets);
			if (stored != config)
				*left_out = "<auth-user-pass>";
			break;
		case PROVIDER_WIREGUARD:
			stored = config_wireguard_stored(config, secrets, &had_private_key);
			if (had_private_key)
				*left_out = "PrivateKey";
			break;
		case PROVIDER_CUSTOM:
			break;
	}
	return stored;
}

/*
 * config_store_is_restored -- is a dump being restored? What was said when its rows were written is not said again
 *
 * Every dump that pg_dump makes switches this setting off, and hardly anybody else does.
 */
bool
config_store_is_restored(void)
{
	return !check_function_bodies;
}

/* is_first_of_statement -- is this the first time in a statement? *last is when it was asked last */
static bool
is_first_of_statement(TimestampTz *last)
{
	bool		is_first = *last != GetCurrentStatementStartTimestamp();

	*last = GetCurrentStatementStartTimestamp();
	return is_first;
}

/* config_store_tell_left_out -- say that what a config had of a credential is not stored; once in a statement, as config_store_warn() */
void
config_store_tell_left_out(const char *what, const char *left_out)
{
	static TimestampTz told = 0;

	if (left_out == NULL || config_store_is_restored() || !is_first_of_statement(&told))
		return;
	ereport(NOTICE,
			(errmsg("the config of %s is stored without its %s", what, left_out),
			 errdetail("A lease's credential takes its place. The same goes for other configs of this statement."),
			 errhint("What is to be kept of it goes into egress_credential: egress_import_credential() returns it.")));
}

/*
 * config_store_warn -- say that what is stored has secrets that are not sealed
 *
 * Once in a statement, which may store thousands of configs; the first says it for all.
 */
void
config_store_warn(const char *what, const List *secrets)
{
	static TimestampTz warned = 0;
	StringInfoData names;
	ListCell   *cell;

	if (secrets == NIL || config_store_is_restored() || !is_first_of_statement(&warned))
		return;
	initStringInfo(&names);
	foreach(cell, secrets)
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", (const char *) lfirst(cell));
	ereport(WARNING,
			(errmsg("the config of %s has secrets, which are not sealed", what),
			 errdetail("It has %s: in clear in the table, in dumps and in the write-ahead log. Other configs of this statement may as well.",
					   names.data),
			 errhint("egress_import_credential() returns them apart, for a credential, where they are sealed; egress_secret_usage counts such configs.")));
	pfree(names.data);
}

/* egress_config_has_secret -- see COMMENT ON FUNCTION */
Datum
egress_config_has_secret(PG_FUNCTION_ARGS)
{
	text	   *config;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	catalog_use(fcinfo->flinfo->fn_oid);
	config = PG_GETARG_TEXT_PP(1);
	switch (catalog_provider_type(PG_GETARG_DATUM(0)))
	{
		case PROVIDER_OPENVPN:
			PG_RETURN_BOOL(config_openvpn_has_secret(config));
		case PROVIDER_WIREGUARD:
			PG_RETURN_BOOL(config_wireguard_has_secret(config));
		case PROVIDER_CUSTOM:
			break;
	}
	PG_RETURN_BOOL(false);
}
