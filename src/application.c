/*
 * application.c -- the application's own tables: their names in a query, the ids in them, and the rights to read them
 */
#include "application.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "arguments.h"
#include "compat.h"

/*
 * id_settings_begin -- let a value of a type have the same text form in every session, until id_settings_end()
 *
 * Who deletes a row may have other settings than who wrote it, or acquired the lease. These are PostgreSQL's defaults, with
 * times in UTC. Returns what id_settings_end() needs. The types that ids mostly are of have one text form, and cost nothing.
 */
int
id_settings_begin(Oid type)
{
	static const char *const settings[][2] = {
		{"bytea_output", "hex"}, {"datestyle", "ISO"}, {"extra_float_digits", "1"}, {"intervalstyle", "postgres"},
		{"timezone", "UTC"}
	};
	int			nest_level;

	switch (getBaseType(type))
	{
		case BPCHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NAMEOID:
		case NUMERICOID:
		case TEXTOID:
		case UUIDOID:
		case VARCHAROID:
			return 0;
	}
	nest_level = NewGUCNestLevel();
	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

/* id_settings_end -- go on with the settings from before id_settings_begin(); an error restores them by itself */
void
id_settings_end(int nest_level)
{
	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
}

/*
 * application_id -- the id that a value of the application's is; NULL when it cannot be one, because it is empty or too long
 *
 * The id is the value as the type's output function writes it, which is what a driver shows an application whose settings
 * are those of id_settings_begin(). Only character(n) is taken without its padding.
 */
text *
application_id(Datum value, Oid type)
{
	text	   *id;

	if (getBaseType(type) == BPCHAROID)
		id = DatumGetTextPP(DirectFunctionCall1(rtrim1, value));
	else
	{
		Oid			output;
		bool		is_varlena;
		int			settings = id_settings_begin(type);

		getTypeOutputInfo(type, &output, &is_varlena);
		id = cstring_to_text(OidOutputFunctionCall(output, value));
		id_settings_end(settings);
	}
	return VARSIZE_ANY_EXHDR(id) > 0 && VARSIZE_ANY_EXHDR(id) <= EGRESS_MAX_ID_LENGTH ? id : NULL;
}

/* application_column -- the number of a column by its name; 0 and *problem when a trigger can read no value of it */
int
application_column(TupleDesc desc, const char *name, const char **problem)
{
	int			column = SPI_fnumber(desc, name);

	if (column <= 0)
		*problem = psprintf("The table has no column \"%s\".", name);
	else if (TupleDescAttr(desc, column - 1)->attgenerated == 'v')
		*problem = "A virtual generated column has no value in the row of a trigger.";
	else
		return column;
	return 0;
}

/* refuse_dropped -- raise 42P01: a table that was not locked is gone */
pg_noreturn static void
refuse_dropped(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table with OID %u does not exist", relid)));
}

/* application_table -- the quoted name of a table, with its schema; an error when it is gone, because it was not locked */
const char *
application_table(Oid relid)
{
	const char *schema = get_namespace_name(get_rel_namespace(relid));
	const char *name = get_rel_name(relid);

	if (schema == NULL || name == NULL)
		refuse_dropped(relid);
	return quote_qualified_identifier(schema, name);
}

/*
 * application_rows -- a table as a FROM clause names it: the rows that its row triggers are for
 *
 * Its partitions' rows are its own. Those of tables that inherit from it are not: they have triggers of their own.
 */
const char *
application_rows(Oid relid)
{
	return psprintf("%s%s", get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					application_table(relid));
}

/*
 * act_as_owner -- go on with the rights of a table's owner, until act_again()
 *
 * As the queries of foreign keys do (ri_PerformCheck() in utils/adt/ri_triggers.c): to plan and run a query can call
 * functions of the table's owner, in the expression of an index or the policy of a row, and these must have neither
 * the rights of the extension's owner nor those of a superuser who is about. An error restores the rights by itself.
 */
void
act_as_owner(Oid relid, Rights *before)
{
	HeapTuple	class = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(class))
		refuse_dropped(relid);
	owner = ((Form_pg_class) GETSTRUCT(class))->relowner;
	ReleaseSysCache(class);

	GetUserIdAndSecContext(&before->user, &before->security);
	SetUserIdAndSecContext(owner, before->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
}

/* act_again -- go on with the rights from before act_as_owner() */
void
act_again(const Rights *before)
{
	SetUserIdAndSecContext(before->user, before->security);
}
