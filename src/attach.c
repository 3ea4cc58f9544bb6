/*
 * attach.c -- egress_attach_sessions, egress_attach_group_members, and their opposites: triggers on the application's tables
 *
 * What is attached is known from the triggers alone: those of our trigger functions under the names below. So a dump and
 * a restore, or another name or schema for the table, need nothing from us. All four functions run with the rights of
 * their caller, who must own the table; CREATE TRIGGER and DROP TRIGGER are run as SQL, and say what they have to say. They
 * fire event triggers, which look up names as they do elsewhere: none of the four has a search_path of its own.
 *
 * The row triggers of a partitioned table are PostgreSQL's to copy to its partitions. A TRUNCATE trigger is not copied, so
 * each partition that there is gets its own: TRUNCATE of one partition fires no other.
 *
 * The table is locked first, as CREATE TRIGGER or DROP TRIGGER would: what writers left open is over, and who reads
 * the table afterwards with the latest snapshot sees all of it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "application.h"
#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "group_members.h"
#include "query.h"
#include "session_trigger.h"
#include "sessions.h"

#define SESSION_DELETED "egress_session_deleted"
#define SESSION_CHANGED "egress_session_changed"
#define SESSION_TRUNCATED "egress_session_truncated"

/* What a table can be attached to: the trigger function, and the names of the triggers that execute it. */
typedef struct Attachment
{
	const char *trigger_function;
	const char *detach_function;
	const char *triggers[5];	/* up to a NULL */
} Attachment;

static const Attachment sessions = {
	SESSION_FUNCTION, "egress_detach_sessions",
	{SESSION_DELETED, SESSION_ENDED, SESSION_CHANGED, SESSION_TRUNCATED}
};

static const Attachment group_members = {
	GROUP_MEMBER_FUNCTION, "egress_detach_group_members",
	{GROUP_MEMBER_CHANGED, GROUP_MEMBER_TRUNCATED}
};

PG_FUNCTION_INFO_V1(egress_attach_sessions);
PG_FUNCTION_INFO_V1(egress_detach_sessions);
PG_FUNCTION_INFO_V1(egress_attach_group_members);
PG_FUNCTION_INFO_V1(egress_detach_group_members);

/* check_owner -- refuse a table that is not the caller's */
static void
check_owner(Oid relid)
{
	const char *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with OID %u does not exist", relid)));
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)), name);
}

/*
 * lock_table -- lock a table of the caller's
 *
 * Who does not own the table must not be able to lock it; it may get another owner while we wait.
 */
static Oid
lock_table(FunctionCallInfo fcinfo, LOCKMODE lockmode)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			extension = getExtensionOfObject(ProcedureRelationId, fcinfo->flinfo->fn_oid);
	char		relkind;

	check_owner(relid);
	LockRelationOid(relid, lockmode);
	check_owner(relid);

	relkind = get_rel_relkind(relid);
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not a table", application_table(relid)),
				 errdetail("Only the triggers of a table see all that happens to its rows.")));
	if (OidIsValid(extension) && getExtensionOfObject(RelationRelationId, relid) == extension)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table %s is one of extension egress itself", application_table(relid)),
				 errdetail("Only a table of an application can be attached.")));
	return relid;
}

/* check_column -- refuse a column in which a trigger cannot find an id */
static void
check_column(Oid relid, const char *name)
{
	HeapTuple	row = SearchSysCacheAttName(relid, name);
	Form_pg_attribute column;
	const char *reason = NULL;

	if (!HeapTupleIsValid(row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table %s does not exist", name, application_table(relid))));
	column = (Form_pg_attribute) GETSTRUCT(row);
	if (column->attnum < 0)
		reason = "It is a system column.";
	else if (column->attgenerated == 'v')
		reason = "A virtual generated column has no value in the row of a trigger.";
	ReleaseSysCache(row);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("column \"%s\" of table %s cannot hold ids", name, application_table(relid)),
				 errdetail_internal("%s", reason)));
}

/* with_partitions -- a table and those of its partitions, at every level, that can have triggers of ours; all locked */
static List *
with_partitions(Oid relid, LOCKMODE lockmode)
{
	List	   *tables = NIL;
	ListCell   *cell;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(relid);
	foreach(cell, find_all_inheritors(relid, lockmode, NULL))
	{
		char		relkind = get_rel_relkind(lfirst_oid(cell));

		if (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE)
			tables = lappend_oid(tables, lfirst_oid(cell));
	}
	return tables;
}

/* is_ours -- whether a trigger is one that an attach function made */
static bool
is_ours(const Attachment *attachment, Oid function, const Trigger *trigger)
{
	if (trigger->tgfoid == function)
		for (int i = 0; attachment->triggers[i] != NULL; i++)
			if (strcmp(trigger->tgname, attachment->triggers[i]) == 0)
				return true;
	return false;
}

/* our_triggers -- the triggers that an attach function made on a table, by name; inherited: it is a partition's share */
static List *
our_triggers(const Attachment *attachment, Oid relid, bool *inherited)
{
	Oid			function = catalog_trigger_function(attachment->trigger_function);
	Relation	table = relation_open(relid, NoLock);
	TriggerDesc *triggers = table->trigdesc;
	List	   *names = NIL;

	*inherited = false;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (is_ours(attachment, function, &triggers->triggers[i]))
		{
			names = lappend(names, pstrdup(triggers->triggers[i].tgname));
			*inherited |= triggers->triggers[i].tgisclone;
		}
	relation_close(table, NoLock);
	return names;
}

/* refuse_attached -- a table is attached already */
pg_noreturn static void
refuse_attached(const Attachment *attachment, Oid relid, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("table %s is attached already", application_table(relid)),
			 errdetail_internal("%s", reason),
			 errhint("Detach it first, with %s().", attachment->detach_function)));
}

/* check_not_attached -- refuse a table if it is attached, or one of its partitions is */
static void
check_not_attached(const Attachment *attachment, List *tables)
{
	ListCell   *cell;
	bool		inherited;

	foreach(cell, tables)
	{
		if (our_triggers(attachment, lfirst_oid(cell), &inherited) != NIL)
			refuse_attached(attachment, lfirst_oid(cell),
							inherited ? "The table that it is a partition of is." : "It has the triggers.");
	}
}

/*
 * create_trigger -- make one trigger; when is "AFTER ... ON", for_each what stands behind the table, action its EXECUTE
 *
 * It fires with session_replication_role = replica, too: application_is_replicated() says why.
 */
static void
create_trigger(const char *name, const char *when, Oid relid, const char *for_each, const char *action)
{
	query_command(psprintf("CREATE TRIGGER %s %s %s FOR EACH %s %s", name, when, application_table(relid), for_each, action));
	query_command(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", application_table(relid), name));
}

/* create_truncate_triggers -- make the TRUNCATE trigger of a table and of each of its partitions */
static void
create_truncate_triggers(const char *name, const char *when, List *tables, const char *action)
{
	ListCell   *cell;

	foreach(cell, tables)
		create_trigger(name, when, lfirst_oid(cell), "STATEMENT", action);
}

/*
 * detach -- remove the triggers that an attach function made
 *
 * A table that was a partition of an attached one has a TRUNCATE trigger still, and can lose it here.
 */
static void
detach(const Attachment *attachment, Oid relid)
{
	List	   *tables = with_partitions(relid, AccessExclusiveLock);
	bool		inherited;
	ListCell   *table;
	ListCell   *name;

	if (our_triggers(attachment, relid, &inherited) == NIL || inherited)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table %s is not attached", application_table(relid)),
				 inherited ? errdetail("The table that it is a partition of is.") :
				 errdetail("It has no trigger that was made for it.")));

	foreach(table, tables)
	{
		foreach(name, our_triggers(attachment, lfirst_oid(table), &inherited))
			query_command(psprintf("DROP TRIGGER %s ON %s", (char *) lfirst(name), application_table(lfirst_oid(table))));
	}
}

/* Where the text of ended_when is in the text that is parsed. */
typedef struct ConditionContext
{
	const char *ended_when;
	int			before;			/* how many characters stand before it */
} ConditionContext;

/* condition_error -- says in an error of the parser's that it is about ended_when, and where in it */
static void
condition_error(void *arg)
{
	ConditionContext *context = arg;
	int			position = geterrposition() - context->before;

	errposition(0);
	if (position > 0)
	{
		internalerrposition(position);
		internalerrquery(context->ended_when);
	}
	errcontext("argument ended_when");
}

/*
 * check_condition -- refuse an ended_when that is not one expression
 *
 * It becomes part of commands. In parentheses, the closing one on a line of its own because it may end in a comment, it
 * must be the one column of a bare SELECT. So the whole of it is an expression, in those commands as well.
 */
static void
check_condition(const char *ended_when)
{
	const char *select = "SELECT (";
	ConditionContext context = {ended_when, strlen(select)};
	ErrorContextCallback callback = {error_context_stack, condition_error, &context};
	List	   *statements;
	SelectStmt *bare;

	error_context_stack = &callback;
	statements = raw_parser(psprintf("%s%s\n)", select, ended_when), RAW_PARSE_DEFAULT);
	error_context_stack = callback.previous;

	bare = makeNode(SelectStmt);
	if (list_length(statements) == 1 && IsA(linitial_node(RawStmt, statements)->stmt, SelectStmt))
		bare->targetList = ((SelectStmt *) linitial_node(RawStmt, statements)->stmt)->targetList;
	if (list_length(bare->targetList) != 1 || !equal(linitial_node(RawStmt, statements)->stmt, bare))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("ended_when is not one condition"),
				 errdetail("It has to be one expression, such as NEW.status = 'stopped'.")));
}

/* hint_at_columns -- in an error of CREATE TRIGGER's, says how ended_when names a column */
static void
hint_at_columns(void *arg)
{
	if (geterrcode() == ERRCODE_AMBIGUOUS_COLUMN)
		errhint("In ended_when a column has NEW. or OLD. before its name, as in NEW.status = 'stopped'.");
}

/* create_condition_trigger -- make the trigger for updates after which a session is over */
static void
create_condition_trigger(Oid relid, const char *ended_when, const char *action)
{
	ErrorContextCallback callback = {error_context_stack, hint_at_columns, NULL};

	error_context_stack = &callback;
	create_trigger(SESSION_ENDED, "AFTER UPDATE ON", relid, psprintf("ROW WHEN ((%s\n))", ended_when), action);
	error_context_stack = callback.previous;
}

/* warn_not_unique -- say what comes of ids that several sessions may have */
static void
warn_not_unique(Oid relid, const char *column)
{
	ereport(WARNING,
			(errmsg("column \"%s\" of table %s is not unique", column, application_table(relid)),
			 errdetail("Of several sessions with one id, the first one that ends takes the lease from the others."),
			 errhint("Attach a column that is unique by itself, such as a generated one that has all parts of the key.")));
}

/* egress_attach_sessions -- see COMMENT ON FUNCTION */
Datum
egress_attach_sessions(PG_FUNCTION_ARGS)
{
	const char *column;
	const char *ended_when;
	const char *action;
	bool		must_exist = false;
	Oid			relid;
	List	   *tables;

	PreventCommandIfReadOnly("egress_attach_sessions()");
	argument_check_not_null(fcinfo, 0, "session_table");
	argument_check_not_null(fcinfo, 1, "session_id_column");
	column = NameStr(*PG_GETARG_NAME(1));
	ended_when = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	/* the function of version 0.9 has three arguments */
	if (PG_NARGS() > 3)
	{
		argument_check_not_null(fcinfo, 3, "must_exist");
		must_exist = PG_GETARG_BOOL(3);
	}
	catalog_use(fcinfo->flinfo->fn_oid);

	if (ended_when != NULL)
		check_condition(ended_when);
	relid = lock_table(fcinfo, ShareRowExclusiveLock);
	check_column(relid, column);
	tables = with_partitions(relid, ShareRowExclusiveLock);
	check_not_attached(&sessions, tables);
	if (!application_is_unique(relid, column, false))
		warn_not_unique(relid, column);

	query_connect();
	action = psprintf("EXECUTE FUNCTION %s.%s(%s%s)", query_schema(), sessions.trigger_function,
					  quote_literal_cstr(column), must_exist ? ", '" SESSION_MUST_EXIST "'" : "");
	create_trigger(SESSION_DELETED, "AFTER DELETE ON", relid, "ROW", action);
	if (ended_when != NULL)
		create_condition_trigger(relid, ended_when, action);
	/* not every type has an equality, and equal values may not be the same id; NULL is the empty text, which has no lease */
	column = quote_identifier(column);
	create_trigger(SESSION_CHANGED, "AFTER UPDATE ON", relid,
				   psprintf("ROW WHEN (pg_catalog.format('%%s', OLD.%s) COLLATE pg_catalog.\"C\""
							" OPERATOR(pg_catalog.<>) pg_catalog.format('%%s', NEW.%s))", column, column),
				   action);
	create_truncate_triggers(SESSION_TRUNCATED, "BEFORE TRUNCATE ON", tables, action);

	/* the names NEW and OLD of a trigger, for the rows that are there: no row joins, so OLD is NULLs */
	if (ended_when != NULL)
		session_trigger_end(relid, psprintf("SELECT new.%s FROM %s AS new LEFT JOIN %s AS old ON false WHERE (%s\n)",
											column, application_rows(relid), application_rows(relid), ended_when));
	SPI_finish();
	PG_RETURN_VOID();
}

/* egress_detach_sessions -- see COMMENT ON FUNCTION */
Datum
egress_detach_sessions(PG_FUNCTION_ARGS)
{
	Oid			relid;

	PreventCommandIfReadOnly("egress_detach_sessions()");
	argument_check_not_null(fcinfo, 0, "session_table");
	catalog_use(fcinfo->flinfo->fn_oid);

	relid = lock_table(fcinfo, AccessExclusiveLock);
	query_connect();
	detach(&sessions, relid);
	SPI_finish();
	PG_RETURN_VOID();
}

/* egress_attach_group_members -- see COMMENT ON FUNCTION */
Datum
egress_attach_group_members(PG_FUNCTION_ARGS)
{
	const char *user_column;
	const char *group_column;
	const char *action;
	int			nest_level;
	Oid			relid;
	Oid			other;
	List	   *tables;

	PreventCommandIfReadOnly("egress_attach_group_members()");
	argument_check_not_null(fcinfo, 0, "member_table");
	argument_check_not_null(fcinfo, 1, "user_id_column");
	argument_check_not_null(fcinfo, 2, "group_id_column");
	user_column = NameStr(*PG_GETARG_NAME(1));
	group_column = NameStr(*PG_GETARG_NAME(2));
	catalog_use(fcinfo->flinfo->fn_oid);

	relid = lock_table(fcinfo, ShareRowExclusiveLock);
	if (get_rel_persistence(relid) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table %s is a temporary table", application_table(relid)),
				 errdetail("Group members cannot come from a table of one session.")));
	check_column(relid, user_column);
	check_column(relid, group_column);
	tables = with_partitions(relid, ShareRowExclusiveLock);
	check_not_attached(&group_members, tables);

	/*
	 * The mirror after the source, in the order in which a writer of the source locks them. Who attached another table has
	 * committed once we have the lock, and its triggers are seen.
	 */
	LockRelationOid(catalog_table(TABLE_GROUP_MEMBER), ShareRowExclusiveLock);
	other = group_members_source(catalog_trigger_function(group_members.trigger_function));
	if (OidIsValid(other))
		refuse_attached(&group_members, other, "Group members come from one table at a time.");

	/* the mirror first: with the triggers there, it takes only what they write */
	query_connect();
	nest_level = application_search_path_begin();
	group_members_refill(relid, user_column, group_column);
	application_search_path_end(nest_level);
	action = psprintf("EXECUTE FUNCTION %s.%s(%s, %s, %s)", query_schema(),
					  group_members.trigger_function,
					  quote_literal_cstr(user_column), quote_literal_cstr(group_column),
					  quote_literal_cstr(application_table(relid)));
	create_trigger(GROUP_MEMBER_CHANGED, "AFTER INSERT OR UPDATE OR DELETE ON", relid, "ROW", action);
	create_truncate_triggers(GROUP_MEMBER_TRUNCATED, "AFTER TRUNCATE ON", tables, action);
	SPI_finish();
	PG_RETURN_VOID();
}

/* egress_detach_group_members -- see COMMENT ON FUNCTION */
Datum
egress_detach_group_members(PG_FUNCTION_ARGS)
{
	Oid			relid;
	Oid			source;

	PreventCommandIfReadOnly("egress_detach_group_members()");
	argument_check_not_null(fcinfo, 0, "member_table");
	catalog_use(fcinfo->flinfo->fn_oid);

	relid = lock_table(fcinfo, AccessExclusiveLock);
	query_connect();
	source = group_members_source(catalog_trigger_function(group_members.trigger_function));
	detach(&group_members, relid);
	if (source == relid)
	{
		int			nest_level = application_search_path_begin();

		group_members_forget();
		application_search_path_end(nest_level);
	}
	SPI_finish();
	PG_RETURN_VOID();
}
