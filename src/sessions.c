/*
 * sessions.c -- which sessions there are, by the application's own tables
 *
 * A session table is one with row triggers that execute egress_release_on_session_end(), whoever made them: the first
 * argument is the column of the session's id. The WHEN condition of the trigger that egress_attach_sessions() made of
 * ended_when says which sessions are over; conditions of other triggers may be about what has changed, which a row does not
 * tell. A session is there when its id is in one of these tables, in a row for which the condition does not hold; OLD is a row of
 * NULLs for it, as in attach.c. Nothing else says so, so nothing is orphaned where there is no such table.
 *
 * Where a table was attached with must_exist, an acquire looks the session up first, as a foreign key would, and keeps the row
 * locked to commit: whoever ends the session meanwhile waits, and then finds the lease. The lock is FOR KEY SHARE, which only
 * waits for a deletion or another key. An UPDATE after which the condition holds is neither, so where there is one, or the
 * column is no key, the lock is FOR NO KEY UPDATE. Not FOR SHARE: two who ask for the same session would both have it, and
 * when the first goes on to UPDATE the row, it would wait for the second, which waits for the first one's lease. That is before
 * any of the short locks (lock.c), so to wait is right, and it is only for what is done to the same session. It is also before
 * the look at the session's lease: who has ended the session before, has ended that as well.
 *
 * Of an id that no session table could have written ("A0EE..." where the column is a uuid) no trigger would ever end the lease,
 * because the trigger writes another one. So an acquire is refused, whatever must_exist says. For the types that ids mostly are
 * of a look at the text is enough; other types are asked, by way of their input and output.
 *
 * The tables are found by what depends on the function in pg_depend, and kept, with their plans, until any relation of the
 * database was altered: a new trigger invalidates the relation that it is on. To find them again costs little, and
 * locks none of them, because most acquires do not read one.
 * They are read with the rights of their owners: no role that acquires needs a privilege on them, and what their owners can
 * have called (the condition, a function in an index) has no rights of ours.
 */
#include "sessions.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "application.h"
#include "catalog.h"
#include "compat.h"
#include "errors.h"
#include "lease.h"
#include "query.h"
#include "scan.h"
#include "value.h"

/* One session table. */
typedef struct SessionTable
{
	Oid			relid;
	char	   *column;			/* of the session's id; NULL when there is none of that name any more */
	char	   *column_name;
	Oid			type;			/* of the column */
	Oid			base;			/* and what that is a domain over, or the same */
	int32		typmod;			/* of the base type, in this column */
	bool		must_exist;
	Oid			ended;			/* the trigger whose condition is ended_when, or InvalidOid */
	SPIPlanPtr	look;			/* once they are needed: reads a session's row, */
	SPIPlanPtr	lock;			/* and locks it, too */
} SessionTable;

/* The session tables as they were at a moment. */
typedef struct SessionTables
{
	MemoryContext context;
	uint64		changes;		/* relation_changes then */
	List	   *tables;			/* of SessionTable */
	bool		must_exist;		/* for one of them */
	int			users;			/* who is reading them; they are freed when nobody is and others came in their place */
} SessionTables;

/* What is to be put back when who reads the tables is done, or fails. */
typedef struct SessionTablesUse
{
	MemoryContextCallback callback;
	SessionTables *tables;
} SessionTablesUse;

/* What a table says of a session. */
typedef enum SessionState
{
	SESSION_MISSING,
	SESSION_OVER,
	SESSION_THERE
} SessionState;

static SessionTables *current;	/* or NULL */
static uint64 relation_changes; /* how often a relation may have been altered */

PG_FUNCTION_INFO_V1(egress_orphaned_sessions);

/* invalidate_relation -- some relation changed: it may have got or lost a trigger */
static void
invalidate_relation(Datum arg, Oid relid)
{
	relation_changes++;
}

/* invalidate_function -- a function changed: it may be the triggers' */
static void
invalidate_function(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changes++;
}

/* sessions_init -- register the callbacks; once, when the library is loaded */
void
sessions_init(void)
{
	CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, invalidate_function, (Datum) 0);
}

/* free_tables -- free what was known of the session tables */
static void
free_tables(SessionTables *tables)
{
	ListCell   *cell;

	foreach(cell, tables->tables)
	{
		SessionTable *table = lfirst(cell);

		if (table->look != NULL)
			SPI_freeplan(table->look);
		if (table->lock != NULL)
			SPI_freeplan(table->lock);
	}
	MemoryContextDelete(tables->context);
}

/* end_use -- memory context callback: the tables are not read any more by one who did */
static void
end_use(void *arg)
{
	SessionTables *tables = ((SessionTablesUse *) arg)->tables;

	if (--tables->users == 0 && tables != current)
		free_tables(tables);
}

/*
 * when_condition -- the text of the WHEN condition in a trigger's definition, NULL when it has none
 *
 * As pg_get_triggerdef() writes it: quotes within quotes are doubled, and there are no comments.
 */
static char *
when_condition(const char *definition)
{
	static const char WHEN[] = " WHEN ";
	const char *begin = NULL;
	int			depth = 0;

	for (const char *c = definition; *c; c++)
	{
		if (*c == '\'' || *c == '"')
			c = strchr(c + 1, *c);
		else if (*c == '(' && depth++ == 0 && c - definition >= (ptrdiff_t) strlen(WHEN) &&
				 strncmp(c - strlen(WHEN), WHEN, strlen(WHEN)) == 0)
			begin = c + 1;
		else if (*c == ')' && --depth == 0 && begin != NULL)
			return pnstrdup(begin, c - begin);
	}
	return NULL;
}

/* find_table -- the table of a trigger among those known so far, added if need be */
static SessionTable *
find_table(SessionTables *tables, Oid relid, const char *column)
{
	SessionTable *table;
	ListCell   *cell;
	AttrNumber	number;

	foreach(cell, tables->tables)
	{
		table = lfirst(cell);
		if (table->relid == relid && strcmp(table->column_name, column) == 0)
			return table;
	}

	table = palloc0(sizeof(SessionTable));
	table->relid = relid;
	table->column_name = pstrdup(column);
	number = get_attnum(relid, column);
	if (number > 0)
	{
		Oid			collation;

		table->column = psprintf("new.%s", quote_identifier(column));
		get_atttypetypmodcoll(relid, number, &table->type, &table->typmod, &collation);
		table->base = getBaseTypeAndTypmod(table->type, &table->typmod);
	}
	tables->tables = lappend(tables->tables, table);
	return table;
}

/* read_trigger -- what a trigger of a session table says; in the current memory context */
static void
read_trigger(SessionTables *tables, HeapTuple row, TupleDesc desc)
{
	Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(row);
	Oid			schema = get_rel_namespace(trigger->tgrelid);
	SessionTable *table;
	const char *argument;
	bool		isnull;

	if (!TRIGGER_FOR_ROW(trigger->tgtype) || trigger->tgnargs < 1 || trigger->tgnargs > SESSION_ARGUMENTS ||
		!OidIsValid(schema) || (isAnyTempNamespace(schema) && !isTempNamespace(schema)))
		return;
	/* the arguments, each with a zero byte behind it */
	argument = VARDATA_ANY(DatumGetByteaPP(heap_getattr(row, Anum_pg_trigger_tgargs, desc, &isnull)));
	table = find_table(tables, trigger->tgrelid, argument);
	if (trigger->tgnargs == SESSION_ARGUMENTS && strcmp(argument + strlen(argument) + 1, SESSION_MUST_EXIST) == 0)
		table->must_exist = tables->must_exist = true;

	(void) heap_getattr(row, Anum_pg_trigger_tgqual, desc, &isnull);
	if (!isnull && strcmp(NameStr(trigger->tgname), SESSION_ENDED) == 0)
		table->ended = trigger->oid;
}

/*
 * strings_begin -- until strings_end(), a backslash in the text of a condition means what it says
 *
 * For what writes that text and what reads it: between the two the session may have set standard_conforming_strings.
 */
static int
strings_begin(void)
{
	int			nest_level = NewGUCNestLevel();

	(void) set_config_option("standard_conforming_strings", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

/* strings_end -- strings are read as before strings_begin() */
static void
strings_end(int nest_level)
{
	AtEOXact_GUC(true, nest_level);
}

/* read_tables -- find out which session tables there are */
static SessionTables *
read_tables(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "egress session tables", ALLOCSET_SMALL_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	SessionTables *tables = palloc0(sizeof(SessionTables));
	Relation	triggers;
	ListCell   *cell;
	int			strings = strings_begin();

	tables->context = context;
	tables->changes = relation_changes;
	triggers = table_open(TriggerRelationId, AccessShareLock);
	foreach(cell, application_triggers(catalog_trigger_function(SESSION_FUNCTION)))
		read_trigger(tables, lfirst(cell), RelationGetDescr(triggers));
	table_close(triggers, AccessShareLock);
	strings_end(strings);
	MemoryContextSwitchTo(old_context);
	MemoryContextSetParent(context, TopMemoryContext);
	return tables;
}

/*
 * session_tables -- the session tables as they are now, locked if there are any that are going to be read
 *
 * What is known of them stays as long as the current memory context does. The locks keep them from being dropped or renamed,
 * and stay until the transaction ends, as a statement's do. only_if_required: they are read only if a session must exist.
 */
static SessionTables *
session_tables(LOCKMODE lockmode, bool only_if_required)
{
	for (;;)
	{
		SessionTablesUse *use;
		ListCell   *cell;

		/* what others have committed by now; no table is locked here for the first time, which would see to it */
		AcceptInvalidationMessages();
		if (current == NULL || current->changes != relation_changes)
		{
			SessionTables *tables = read_tables();

			if (current != NULL && current->users == 0)
				free_tables(current);
			current = tables;
		}
		if (current->tables == NIL)
			return current;

		use = palloc(sizeof(SessionTablesUse));
		use->tables = current;
		use->tables->users++;
		use->callback.func = end_use;
		use->callback.arg = use;
		MemoryContextRegisterResetCallback(CurrentMemoryContext, &use->callback);
		if (only_if_required && !use->tables->must_exist)
			return use->tables;
		foreach(cell, use->tables->tables)
			LockRelationOid(((SessionTable *) lfirst(cell))->relid, lockmode);
		if (use->tables->changes == relation_changes)
			return use->tables;
	}
}

/*
 * is_no_value -- does an error of a type's input function say that no value is written so?
 *
 * Some types say syntax error (tsvector, ltree); a domain in a row type says what its CHECK does.
 */
static bool
is_no_value(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_DATA_EXCEPTION || sqlerrcode == ERRCODE_SYNTAX_ERROR ||
		sqlerrcode == ERRCODE_CHECK_VIOLATION;
}

/*
 * read_id -- an id as a value of a type; false when no value of the type is written so
 *
 * Not every id of an application is one of each of its tables: "desk 7" is no uuid. Before: the rights are the table owner's,
 * because a type may be made of domains, which check with functions of anybody's. base is no domain; typmod: of a column, or -1.
 */
static bool
read_id(text *session_id, Oid base, int32 typmod, Datum *value)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Oid			input;
	Oid			parameter;
	volatile bool valid = true;

	if (base == TEXTOID || base == VARCHAROID || base == BPCHAROID)
	{
		*value = PointerGetDatum(session_id);
		return true;
	}

	getTypeInputInfo(base, &input, &parameter);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*value = OidInputFunctionCall(input, text_to_cstring(session_id), parameter, typmod);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!is_no_value(error->sqlerrcode))
			ReThrowError(error);
		valid = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return valid;
}

/* ended_when -- the text of the condition that says which sessions of a table are over; the table is locked */
static const char *
ended_when(SessionTable *table)
{
	if (!OidIsValid(table->ended))
		return "false";
	return when_condition(TextDatumGetCString(DirectFunctionCall1(pg_get_triggerdef, ObjectIdGetDatum(table->ended))));
}

/* prepare -- the plan that looks for a session's row: $1 is its id, $2 the same as a value of the column's base type */
static SPIPlanPtr
prepare(SessionTable *table, bool lock)
{
	Oid			types[2] = {TEXTOID, table->base};
	const char *rows = application_rows(table->relid);
	StringInfoData query;
	SPIPlanPtr	plan;
	int			strings = strings_begin();

	initStringInfo(&query);
	/* the names NEW and OLD of a trigger: no row joins, so OLD is NULLs */
	appendStringInfo(&query, "SELECT (%s) IS TRUE FROM %s AS new LEFT JOIN %s AS old ON false WHERE ",
					 ended_when(table), rows, rows);
	application_match(&query, table->column, table->type, 2, 1);
	if (lock)
		appendStringInfo(&query, " FOR %s OF new",
						 !OidIsValid(table->ended) && application_is_unique(table->relid, table->column_name, true) ?
						 "KEY SHARE" : "NO KEY UPDATE");
	plan = query_prepare(query.data, lengthof(types), types, 0);
	strings_end(strings);
	SPI_keepplan(plan);
	return plan;
}

/* refuse_column -- raise 42703: a session table is not as it was when it was attached */
pg_noreturn static void
refuse_column(SessionTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table %s does not exist", table->column_name, application_table(table->relid)),
			 errdetail("The table is attached as one of sessions, with that column as their id."),
			 errhint("If the column was renamed, detach the table with egress_detach_sessions(), and attach it again.")));
}

/*
 * state_in -- what a table says of a session
 *
 * By the snapshot, or by what is committed now with the row locked to commit when that is NULL. Within query_connect().
 */
static SessionState
state_in(SessionTable *table, text *session_id, Snapshot snapshot)
{
	SPIPlanPtr *plan = snapshot == NULL ? &table->lock : &table->look;
	SessionState state = SESSION_MISSING;
	EgressRights rights;
	Datum		values[2] = {PointerGetDatum(session_id)};
	int			settings;

	if (table->column == NULL)
		refuse_column(table);
	application_act_as_owner(table->relid, &rights);
	settings = application_settings_begin(table->type);
	if (read_id(session_id, table->base, -1, &values[1]))
	{
		if (*plan == NULL)
			*plan = prepare(table, snapshot == NULL);
		query_run(*plan, values, NULL, snapshot == NULL ? GetLatestSnapshot() : snapshot, snapshot != NULL, 0);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			Datum		over;

			(void) query_value(i, 1, &over);
			state = Max(state, DatumGetBool(over) ? SESSION_OVER : SESSION_THERE);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	application_settings_end(settings);
	application_act_again(&rights);
	return state;
}

/* state_of -- what the session tables say of a session; by the one that knows most of it. snapshot: as for state_in() */
static SessionState
state_of(SessionTables *tables, text *session_id, Snapshot snapshot)
{
	SessionState state = SESSION_MISSING;
	ListCell   *cell;

	query_connect();
	foreach(cell, tables->tables)
	{
		if (state != SESSION_THERE)
			state = Max(state, state_in(lfirst(cell), session_id, snapshot));
	}
	SPI_finish();
	return state;
}

/* is_uuid -- is an id as a uuid is written? */
static bool
is_uuid(const char *id, int length)
{
	if (length != 36)
		return false;
	for (int i = 0; i < length; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? id[i] != '-' :
			!((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f')))
			return false;
	return true;
}

/* is_integer -- is an id as an integer from -limit - 1 to limit is written? */
static bool
is_integer(const char *id, int length, int64 limit)
{
	bool		negative = id[0] == '-';
	int			first = negative ? 1 : 0;
	int64		value = 0;		/* below 0, where there is one more */

	if (length == first || (id[first] == '0' && length > 1))
		return false;
	for (int i = first; i < length; i++)
		if (id[i] < '0' || id[i] > '9' || pg_mul_s64_overflow(value, 10, &value) ||
			pg_sub_s64_overflow(value, id[i] - '0', &value))
			return false;
	return value >= (negative ? -limit - 1 : -limit);
}

/*
 * written_as -- how a session table's column writes an id; NULL when none of its values has this id in any form
 *
 * With the rights of the table's owner: see read_id().
 */
static text *
written_as(SessionTable *table, text *session_id)
{
	text	   *written = NULL;
	EgressRights rights;
	int			settings;
	Datum		value;

	application_act_as_owner(table->relid, &rights);
	settings = application_settings_begin(table->base);
	if (read_id(session_id, table->base, table->typmod, &value))
		written = application_id(value, table->base);
	application_settings_end(settings);
	application_act_again(&rights);
	return written;
}

/* could_write -- could a session table's column have written an id? */
static bool
could_write(SessionTable *table, text *session_id)
{
	const char *id = VARDATA_ANY(session_id);
	int			length = VARSIZE_ANY_EXHDR(session_id);
	int			max_characters = table->typmod < VARHDRSZ ? length : table->typmod - VARHDRSZ;

	/* that it is not there any more is told by who reads it */
	if (table->column == NULL)
		return true;
	switch (table->base)
	{
		case TEXTOID:
			return true;
		case VARCHAROID:
			return pg_mbstrlen_with_len(id, length) <= max_characters;
		case BPCHAROID:
			return id[length - 1] != ' ' && pg_mbstrlen_with_len(id, length) <= max_characters;
		case UUIDOID:
			return is_uuid(id, length);
		case INT2OID:
			return is_integer(id, length, PG_INT16_MAX);
		case INT4OID:
			return is_integer(id, length, PG_INT32_MAX);
		case INT8OID:
			return is_integer(id, length, PG_INT64_MAX);
	}
	return value_same_text(written_as(table, session_id), session_id);
}

/* check_session_id -- raise 22023 for an id that no session table could have written, if there is a session table */
static void
check_session_id(SessionTables *tables, text *session_id)
{
	SessionTable *table = NULL;
	text	   *written = NULL;
	ListCell   *cell;

	foreach(cell, tables->tables)
	{
		if (could_write(lfirst(cell), session_id))
			return;
	}
	if (tables->tables == NIL)
		return;

	foreach(cell, tables->tables)
	{
		table = lfirst(cell);
		written = written_as(table, session_id);
		if (written != NULL && !value_same_text(written, session_id))
			break;
		written = NULL;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("session_id \"%s\" is no session's", text_to_cstring(session_id)),
			 written != NULL ?
			 errdetail("Column \"%s\" of the attached table %s writes this id as \"%s\".",
					   table->column_name, application_table(table->relid), text_to_cstring(written)) :
			 list_length(tables->tables) == 1 ?
			 errdetail("Column \"%s\" of the attached table %s is of type %s, which has no such value.",
					   table->column_name, application_table(table->relid),
					   format_type_with_typemod(table->base, table->typmod)) :
			 errdetail("No attached session table has an id column with such a value."),
			 errhint("Its lease would not end with the session. Give the id as PostgreSQL shows it, or as a uuid or a number.")));
}

/*
 * sessions_require -- raise 22023 for an id that no session table could have written, if there is one, and NG009 for a session that
 * is not there, if a table was attached so that it has to be
 *
 * Before: the caller holds none of the short locks. After: where the session has to be there, its row is locked until this
 * transaction ends.
 */
void
sessions_require(text *session_id)
{
	SessionTables *tables = session_tables(RowShareLock, true);
	SessionState state;

	/* version 0.9 took any */
	if (catalog_version() >= VERSION_1_0)
		check_session_id(tables, session_id);
	if (!tables->must_exist)
		return;
	state = state_of(tables, session_id, NULL);
	if (state == SESSION_MISSING)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_NO_SESSION),
				 errmsg("session \"%s\" does not exist", text_to_cstring(session_id)),
				 list_length(tables->tables) == 1 ?
				 errdetail("No row of the attached table %s has this id.",
						   application_table(((SessionTable *) linitial(tables->tables))->relid)) :
				 errdetail("No row of the attached session tables has this id."),
				 errhint("A session's row has to be there before the session acquires.")));
	if (state == SESSION_OVER)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_NO_SESSION),
				 errmsg("session \"%s\" is over", text_to_cstring(session_id)),
				 errdetail("The condition with which its table was attached holds for its row.")));
}

/* sessions_attached -- is there a session table? Those that there are are locked, for sessions_is_orphaned() */
bool
sessions_attached(void)
{
	return session_tables(AccessShareLock, false)->tables != NIL;
}

/* sessions_is_orphaned -- is a session in no session table, or over, by a snapshot? Before: sessions_attached() */
bool
sessions_is_orphaned(text *session_id, Snapshot snapshot)
{
	return state_of(session_tables(AccessShareLock, false), session_id, snapshot) != SESSION_THERE;
}

/* egress_orphaned_sessions -- see COMMENT ON FUNCTION */
Datum
egress_orphaned_sessions(PG_FUNCTION_ARGS)
{
	Snapshot	snapshot = GetActiveSnapshot();
	ReturnSetInfo *result;
	MemoryContext row_context;
	EgressScan	leases;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (!sessions_attached())
		return (Datum) 0;

	row_context = AllocSetContextCreate(CurrentMemoryContext, "egress orphaned sessions", ALLOCSET_DEFAULT_SIZES);
	scan_open(&leases, INDEX_LEASE_SESSION, AccessShareLock);
	scan_start(&leases, snapshot);
	while (scan_next(&leases))
	{
		MemoryContext old_context = MemoryContextSwitchTo(row_context);
		Datum		session_id = scan_value(&leases, Anum_egress_lease_session_id);
		bool		isnull = false;

		CHECK_FOR_INTERRUPTS();
		if (!lease_is_cooling(&leases) && sessions_is_orphaned(DatumGetTextPCopy(session_id), snapshot))
			tuplestore_putvalues(result->setResult, result->setDesc, &session_id, &isnull);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	scan_close(&leases);
	MemoryContextDelete(row_context);
	return (Datum) 0;
}
