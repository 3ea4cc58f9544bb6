/*
 * application.c -- the application's own tables: their names in a query, the ids in them, our triggers on them, and the
 * rights to read them
 */
#include "application.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "argument.h"
#include "compat.h"

/*
 * application_settings_begin -- let a value of a type have the same text form in every session, until application_settings_end()
 *
 * Who deletes a row may have other settings than who wrote it, or acquired the lease. These are PostgreSQL's defaults, with
 * times in UTC. Returns what application_settings_end() needs. The types that ids mostly are of have one text form, and cost nothing.
 */
int
application_settings_begin(Oid type)
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

/* application_settings_end -- go on with the settings from before application_settings_begin(); an error restores them by itself */
void
application_settings_end(int nest_level)
{
	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
}

/*
 * application_id -- the id that a value of the application's is; NULL when it cannot be one, because it is empty or too long
 *
 * The id is the value as the type's output function writes it, which is what a driver shows an application whose settings
 * are those of application_settings_begin(). Only character(n) is taken without its padding.
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
		int			settings = application_settings_begin(type);

		getTypeOutputInfo(type, &output, &is_varlena);
		id = cstring_to_text(OidOutputFunctionCall(output, value));
		application_settings_end(settings);
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
 * application_match -- add the condition that a column holds an id to a query
 *
 * One parameter is the id as a value of the column's base type, the other the id itself. The type's own equality lets the
 * application's index be used; the text forms decide, as application_id() writes them. The two differ where equal values are
 * not the same id: 1.0 and 1.00, or letter case in citext. column is quoted. Run it within application_settings_begin().
 */
void
application_match(StringInfo query, const char *column, Oid type, int value_parameter, int id_parameter)
{
	Oid			equality = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	Oid			base = getBaseType(type);

	if (OidIsValid(equality))
	{
		/* as its base type: a domain has no cast to the polymorphic type that the operator may be of */
		const char *base_name = format_type_extended(base, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

		generate_operator_clause(query, psprintf("%s::%s", column, base_name), base, equality,
								 psprintf("$%d::%s", value_parameter, base_name), base);
		appendStringInfoString(query, " AND ");
	}
	appendStringInfo(query, base == BPCHAROID ? "%s::pg_catalog.text" : "pg_catalog.format('%%s', %s)", column);
	appendStringInfo(query, " COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) $%d", id_parameter);
}

/*
 * application_is_unique -- does a unique index keep the values of a column apart?
 *
 * immediate: one that is no deferrable constraint's, so that an UPDATE of the column is one of a key to row locks.
 */
bool
application_is_unique(Oid relid, const char *column, bool immediate)
{
	AttrNumber	number = get_attnum(relid, column);
	Relation	table = relation_open(relid, AccessShareLock);
	bool		unique = false;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(table))
	{
		HeapTuple	row = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index index;

		if (!HeapTupleIsValid(row))
			continue;
		index = (Form_pg_index) GETSTRUCT(row);
		unique |= index->indisunique && index->indisvalid && (index->indimmediate || !immediate) && index->indnkeyatts == 1 &&
			index->indkey.values[0] == number && heap_attisnull(row, Anum_pg_index_indpred, NULL);
		ReleaseSysCache(row);
	}
	relation_close(table, NoLock);
	return unique;
}

/*
 * application_triggers -- the triggers that execute a function, by ascending OID: rows of pg_trigger, in this memory context
 *
 * Not the copies that partitions have of a row trigger.
 */
List *
application_triggers(Oid function)
{
	Relation	dependencies = table_open(DependRelationId, AccessShareLock);
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	List	   *oids = NIL;
	List	   *result = NIL;
	ListCell   *cell;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(function));
	scan = systable_beginscan(dependencies, DependReferenceIndexId, true, NULL, lengthof(keys), keys);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
		if (((Form_pg_depend) GETSTRUCT(row))->classid == TriggerRelationId)
			oids = lappend_oid(oids, ((Form_pg_depend) GETSTRUCT(row))->objid);
	systable_endscan(scan);

	list_sort(oids, list_oid_cmp);
	foreach(cell, oids)
	{
		ScanKeyInit(&keys[0], Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(lfirst_oid(cell)));
		scan = systable_beginscan(triggers, TriggerOidIndexId, true, NULL, 1, keys);
		row = systable_getnext(scan);
		if (HeapTupleIsValid(row) && !OidIsValid(((Form_pg_trigger) GETSTRUCT(row))->tgparentid))
			result = lappend(result, heap_copytuple(row));
		systable_endscan(scan);
	}
	list_free(oids);
	table_close(triggers, AccessShareLock);
	table_close(dependencies, AccessShareLock);
	return result;
}

/*
 * application_is_replicated -- does what this transaction writes come from a server where a table of ours was written, too?
 *
 * Our triggers on the application's tables are ENABLE ALWAYS: where only those tables are replicated, what happens to their
 * rows has to be followed here. Where a subscription brings the rows of ours as well, the publisher's triggers have done the
 * work, and to do it again would be to write what is about to arrive.
 */
bool
application_is_replicated(Oid relid)
{
	Relation	subscribed;
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		return false;
	subscribed = table_open(SubscriptionRelRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(subscribed, SubscriptionRelSrrelidSrsubidIndexId, true, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(subscribed, AccessShareLock);
	return found;
}

/*
 * application_search_path_begin -- until application_search_path_end(), names without a schema are PostgreSQL's own
 *
 * For a function without a search_path of its own, because the DDL that it runs fires the event triggers of others, while it
 * does something with other rights than its caller's. Returns what application_search_path_end() needs; an error ends it, too.
 */
int
application_search_path_begin(void)
{
	int			nest_level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

/* application_search_path_end -- names are looked up as before application_search_path_begin() */
void
application_search_path_end(int nest_level)
{
	AtEOXact_GUC(true, nest_level);
}

/*
 * application_act_as_owner -- go on with the rights of a table's owner, until application_act_again()
 *
 * As the queries of foreign keys do (ri_PerformCheck() in utils/adt/ri_triggers.c): to plan and run a query can call
 * functions of the table's owner, in the expression of an index or the policy of a row, and these must have neither
 * the rights of the extension's owner nor those of a superuser who is about. What they set (set_config() knows no
 * restriction) goes with them: a search_path that stays would have the session's user call them later, with all rights.
 * An error restores both by itself.
 */
void
application_act_as_owner(Oid relid, EgressRights *before)
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
	before->nest_level = NewGUCNestLevel();
}

/* application_act_again -- go on with the rights, and the settings, from before application_act_as_owner() */
void
application_act_again(const EgressRights *before)
{
	AtEOXact_GUC(false, before->nest_level);
	SetUserIdAndSecContext(before->user, before->security);
}
