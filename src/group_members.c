/*
 * group_members.c -- egress_group_member as the mirror of the application's membership table, the source
 *
 * A pair of a user and a group is in the mirror exactly while the source has a row with it, or several: a membership may
 * have a role or a date besides. Triggers on the source (attach.c makes them) keep it so, in the writer's transaction:
 *
 *	- A row that comes inserts the pair. Where it is there already, the row relies on it, and says so with a lock FOR KEY
 *	  SHARE, to commit.
 *	- A row that goes first locks the pair FOR UPDATE. That waits for everyone who relies on it or lets go of it in an open
 *	  transaction. Then it looks whether the source still has a row with the pair, and if not, deletes it. Whoever
 *	  inserts meanwhile waits for the deletion, and inserts the pair again.
 *	- TRUNCATE, perhaps of one partition, fills the mirror anew: delete everything, which waits as above, then read.
 *
 * What decides is looked at with the latest snapshot, at REPEATABLE READ too: what a transaction that was waited for has
 * committed is seen. Where two transactions change one pair, one of them may fail there with 40001, as with a foreign key.
 *
 * The source is read with the rights of its owner, and the mirror is written with the rights of the mirror's owner, so
 * neither needs a privilege on the other's table, and nothing that the source's owner controls runs with our rights.
 *
 * While there is a source, a row that comes to the mirror from elsewhere is left out, and one that would be changed or go
 * stays: the source says who is in it. Those are rows written by hand, and those of a dump: where its data go into tables that
 * are there with their triggers, the mirror is filled by the rows of the source, whichever of the two tables comes first, or
 * while the other one comes. With several jobs these triggers may be made at any moment; restore.c fills the mirror then. All that holds with session_replication_role = replica, too; only where a subscription brings the
 * rows of the mirror itself are they taken as they come.
 */
#include "group_members.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "application.h"
#include "catalog.h"
#include "compat.h"
#include "query.h"
#include "trigger.h"
#include "value.h"

/* how many rows of the source are read at a time */
#define REFILL_BATCH 1000

/* how often a pair that is there and then gone is tried to be added */
#define ADD_TRIES 1000

/* what the trigger is for */
#define PURPOSE "follow group members"

/* what to do about a trigger that is not ours */
#define MADE_BY_ATTACH "egress_attach_group_members() makes the triggers that can."

/* a pair: the user, then the group */
#define PAIR 2

/* The queries of a row. The parameters are the ids of the pair and, for those on the source, its values there. */
typedef enum FollowQuery
{
	QUERY_INSERT,
	QUERY_RELY,
	QUERY_CLAIM,
	QUERY_LOOK,
	QUERY_DELETE,
	QUERY_SOURCE
} FollowQuery;

#define FOLLOW_QUERY_COUNT (QUERY_SOURCE + 1)

#define OF_PAIR "WHERE user_id OPERATOR(pg_catalog.=) $1 AND group_id OPERATOR(pg_catalog.=) $2"

/* those on the mirror, %s standing for it */
static const char *const mirror_queries[] = {
	[QUERY_INSERT] = "INSERT INTO %s (user_id, group_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
	[QUERY_RELY] = "SELECT FROM %s " OF_PAIR " FOR KEY SHARE",
	[QUERY_CLAIM] = "SELECT FROM %s " OF_PAIR " FOR UPDATE",
	[QUERY_LOOK] = "SELECT FROM %s " OF_PAIR,
	[QUERY_DELETE] = "DELETE FROM %s " OF_PAIR,
};

#define FORGET_QUERY "DELETE FROM %s"
#define REFILL_QUERY \
	"INSERT INTO %s (user_id, group_id) SELECT member.user_id, member.group_id" \
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS member (user_id, group_id)" \
	" ON CONFLICT DO NOTHING"

/* What the trigger knows for one statement on one table. */
typedef struct Follow
{
	Oid			source;
	const char *column_names[PAIR];
	int			columns[PAIR];	/* in the table of the trigger, which may be a partition of the source */
	Oid			types[PAIR];
	SPIPlanPtr	plans[FOLLOW_QUERY_COUNT];
	MemoryContextCallback free_plans;
} Follow;

/* A row's pair. An id is NULL where the row has none: such a row is no membership. */
typedef struct Pair
{
	text	   *ids[PAIR];
	Datum		values[PAIR];
} Pair;

/* the mirror is being emptied, in favour of a source, or because there is none any more */
static bool forgetting;

PG_FUNCTION_INFO_V1(egress_follow_group_members);
PG_FUNCTION_INFO_V1(egress_leave_members_to_source);

/* mirror_query -- a query with the mirror's name in it */
static char *
mirror_query(const char *format)
{
	return psprintf(format, application_table(catalog_table(TABLE_GROUP_MEMBER)));
}

/* run -- execute a plan with the rights of a table's owner and the latest snapshot; returns how many rows */
static uint64
run(Oid table, SPIPlanPtr plan, Datum *values, long limit)
{
	EgressRights rights;

	application_act_as_owner(table, &rights);
	query_run(plan, values, NULL, GetLatestSnapshot(), false, limit);
	application_act_again(&rights);
	SPI_freetuptable(SPI_tuptable);
	return SPI_processed;
}

/* source_query -- the query whether the source has a row with a pair */
static char *
source_query(Follow *follow)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfo(&query, "SELECT FROM %s", application_rows(follow->source));
	for (int i = 0; i < PAIR; i++)
	{
		appendStringInfoString(&query, i == 0 ? " WHERE " : " AND ");
		application_match(&query, quote_identifier(follow->column_names[i]), follow->types[i], PAIR + i + 1, i + 1);
	}
	return query.data;
}

/* run_query -- execute a query for a pair; returns whether it found or changed a row */
static bool
run_query(Follow *follow, FollowQuery query, Pair *pair)
{
	Oid			table = query == QUERY_SOURCE ? follow->source : catalog_table(TABLE_GROUP_MEMBER);
	Datum		values[PAIR + PAIR] = {PointerGetDatum(pair->ids[0]), PointerGetDatum(pair->ids[1]),
	pair->values[0], pair->values[1]};
	int			settings = 0;
	bool		found;

	if (follow->plans[query] == NULL)
	{
		Oid			types[PAIR + PAIR] = {TEXTOID, TEXTOID, follow->types[0], follow->types[1]};
		EgressRights rights;
		SPIPlanPtr	plan;

		application_act_as_owner(table, &rights);
		if (query == QUERY_SOURCE)
			plan = query_prepare(source_query(follow), PAIR + PAIR, types, 0);
		else
			plan = query_prepare(mirror_query(mirror_queries[query]), PAIR, types, 0);
		application_act_again(&rights);
		SPI_keepplan(plan);
		follow->plans[query] = plan;
	}
	/* the query on the source compares text forms, as application_id() writes them */
	if (query == QUERY_SOURCE)
		for (int i = 0; i < PAIR && settings == 0; i++)
			settings = application_settings_begin(follow->types[i]);
	found = run(table, follow->plans[query], values, 1) > 0;
	application_settings_end(settings);
	return found;
}

/* add_member -- a row with this pair has come */
static void
add_member(Follow *follow, Pair *pair)
{
	int			tries = 0;

	/* the pair may go while we try to lock it, but not each time */
	while (!run_query(follow, QUERY_INSERT, pair) && !run_query(follow, QUERY_RELY, pair))
	{
		CHECK_FOR_INTERRUPTS();
		if (++tries == ADD_TRIES)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a pair cannot be written to egress_group_member"),
					 errhint("Look for triggers, rules and policies of that table.")));
	}
}

/* drop_member -- a row with this pair has gone */
static void
drop_member(Follow *follow, Pair *pair)
{
	/*
	 * Not there to be locked: it went with another row, or while we waited for somebody who fills the mirror anew. Who does that
	 * may have read the row before it went, and put the pair back.
	 */
	while (!run_query(follow, QUERY_CLAIM, pair))
	{
		CHECK_FOR_INTERRUPTS();
		if (!run_query(follow, QUERY_LOOK, pair))
			return;
	}

	if (!run_query(follow, QUERY_SOURCE, pair))
		run_query(follow, QUERY_DELETE, pair);
}

/* group_members_forget -- empty the mirror; not by a trigger, and so of what egress_leave_members_to_source() lets through */
void
group_members_forget(void)
{
	query_connect();
	forgetting = true;
	PG_TRY();
	{
		run(catalog_table(TABLE_GROUP_MEMBER), query_prepare(mirror_query(FORGET_QUERY), 0, NULL, 0), NULL, 0);
	}
	PG_FINALLY();
	{
		forgetting = false;
	}
	PG_END_TRY();
	SPI_finish();
}

/* id_array -- ids as a value of text[] */
static Datum
id_array(Datum *ids, int count)
{
	return PointerGetDatum(construct_array(ids, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* add_members -- insert the pairs of the rows that were fetched */
static void
add_members(SPIPlanPtr insert)
{
	uint64		row_count = SPI_processed;
	MemoryContext batch_context = AllocSetContextCreate(CurrentMemoryContext, "egress group members",
														ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(batch_context);
	Datum		ids[PAIR][REFILL_BATCH];
	Datum		arrays[PAIR];
	int			count = 0;

	for (uint64 i = 0; i < row_count; i++)
	{
		bool		is_member = true;

		for (int column = 0; column < PAIR && is_member; column++)
		{
			Datum		value;
			text	   *id = NULL;

			if (query_value(i, column + 1, &value))
				id = application_id(value, SPI_gettypeid(SPI_tuptable->tupdesc, column + 1));
			ids[column][count] = PointerGetDatum(id);
			is_member = id != NULL;
		}
		if (is_member)
			count++;
	}
	for (int column = 0; column < PAIR; column++)
		arrays[column] = id_array(ids[column], count);
	run(catalog_table(TABLE_GROUP_MEMBER), insert, arrays, 0);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(batch_context);
}

/*
 * group_members_refill -- make the mirror what the source holds now
 *
 * The deletion comes first: it waits for those whose open transactions rely on a pair or let go of it, and a snapshot that
 * is taken then sees what they did. A pair that an open transaction adds is not deleted; its row is not read either.
 */
void
group_members_refill(Oid source, const char *user_column, const char *group_column)
{
	Oid			types[PAIR] = {TEXTARRAYOID, TEXTARRAYOID};
	SPIPlanPtr	insert;
	Portal		portal;
	EgressRights rights;

	group_members_forget();

	query_connect();
	insert = query_prepare(mirror_query(REFILL_QUERY), PAIR, types, 0);
	application_act_as_owner(source, &rights);
	portal = query_open_latest(query_prepare(psprintf("SELECT %s, %s FROM %s", quote_identifier(user_column),
													  quote_identifier(group_column), application_rows(source)),
											 0, NULL, 0));
	SPI_cursor_fetch(portal, true, REFILL_BATCH);
	while (SPI_processed > 0)
	{
		SPITupleTable *rows = SPI_tuptable;

		application_act_again(&rights);
		CHECK_FOR_INTERRUPTS();
		add_members(insert);
		SPI_freetuptable(rows);
		application_act_as_owner(source, &rights);
		SPI_cursor_fetch(portal, true, REFILL_BATCH);
	}
	SPI_cursor_close(portal);
	application_act_again(&rights);
	SPI_finish();
}

/* find_columns -- check the trigger's arguments, and find the columns that they name */
static void
find_columns(TriggerData *trigger, Follow *follow)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);

	if (trigger->tg_trigger->tgnargs != PAIR && trigger->tg_trigger->tgnargs != GROUP_MEMBER_ARGUMENTS)
		trigger_refuse(trigger, PURPOSE, "It needs two arguments, the names of the columns that hold the user's and the group's id.", MADE_BY_ATTACH);
	for (int i = 0; i < PAIR; i++)
	{
		const char *name = trigger->tg_trigger->tgargs[i];
		const char *problem;
		int			column = application_column(desc, name, &problem);

		if (column == 0)
			trigger_refuse(trigger, PURPOSE, problem, "If the column was renamed, detach the table with egress_detach_group_members(), and attach it again.");
		follow->column_names[i] = name;
		follow->columns[i] = column;
		follow->types[i] = TupleDescAttr(desc, column - 1)->atttypid;
	}
}

/* says_its_table -- does the trigger's last argument name the table that it is on? */
static bool
says_its_table(HeapTuple trigger, TupleDesc desc, Oid table)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(trigger);
	const char *schema = get_namespace_name(get_rel_namespace(table));
	const char *name = get_rel_name(table);
	const char *argument;
	bool		isnull;

	if (form->tgnargs != GROUP_MEMBER_ARGUMENTS || schema == NULL || name == NULL)
		return false;
	/* the arguments, each with a zero byte behind it */
	argument = VARDATA_ANY(DatumGetByteaPP(heap_getattr(trigger, Anum_pg_trigger_tgargs, desc, &isnull)));
	for (int i = 1; i < GROUP_MEMBER_ARGUMENTS; i++)
		argument += strlen(argument) + 1;
	return strcmp(argument, quote_qualified_identifier(schema, name)) == 0;
}

/*
 * group_members_source -- the table whose rows the mirror follows, if there is one
 *
 * Another table may have triggers like ours: somebody made them, or copied the table with them. The one that is attached says
 * its own name in the trigger; a copy says that of the other one. Where none does, or all do, the oldest counts, by OID, so
 * that all agree even where OIDs have wrapped around. A temporary table is never the source, and neither is one that is
 * dropped meanwhile: nothing locks it.
 */
Oid
group_members_source(Oid function)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	Oid			source = InvalidOid;
	bool		said = false;
	ListCell   *cell;

	foreach(cell, application_triggers(function))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT((HeapTuple) lfirst(cell));
		Oid			schema = get_rel_namespace(trigger->tgrelid);

		if (!TRIGGER_FOR_ROW(trigger->tgtype) || strcmp(NameStr(trigger->tgname), GROUP_MEMBER_CHANGED) != 0 ||
			!OidIsValid(schema) || isAnyTempNamespace(schema))
			continue;
		if (!OidIsValid(source) ||
			(!said && says_its_table(lfirst(cell), RelationGetDescr(triggers), trigger->tgrelid)))
		{
			source = trigger->tgrelid;
			said = says_its_table(lfirst(cell), RelationGetDescr(triggers), source);
		}
	}
	table_close(triggers, AccessShareLock);
	return source;
}

/* row_trigger -- the trigger of a table, perhaps a partition, that follows its rows; NULL when there is none */
static Trigger *
row_trigger(Relation table, Oid function)
{
	TriggerDesc *triggers = table->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgfoid == function && strcmp(triggers->triggers[i].tgname, GROUP_MEMBER_CHANGED) == 0)
			return &triggers->triggers[i];
	return NULL;
}

/*
 * group_members_hold_source -- if there is a source, keep others from writing to it; waits for those who do. To commit
 *
 * Returns it, or InvalidOid.
 */
Oid
group_members_hold_source(void)
{
	Oid			source = group_members_source(catalog_trigger_function(GROUP_MEMBER_FUNCTION));

	if (OidIsValid(source))
	{
		LockRelationOid(source, ShareLock);
		(void) find_all_inheritors(source, ShareLock, NULL);
	}
	return source;
}

/*
 * group_members_restored -- pg_restore has filled the mirror: if there is a source, make it what that holds
 *
 * The triggers of the source may have been made before these rows came, which then were left out, and after rows of the source had
 * come, or those of some partitions.
 */
void
group_members_restored(void)
{
	Oid			source = group_members_hold_source();
	Relation	relation;
	Trigger    *trigger;

	if (!OidIsValid(source))
		return;
	relation = table_open(source, NoLock);
	trigger = row_trigger(relation, catalog_trigger_function(GROUP_MEMBER_FUNCTION));
	if (trigger != NULL && trigger->tgnargs >= PAIR)
		group_members_refill(source, pstrdup(trigger->tgargs[0]), pstrdup(trigger->tgargs[1]));
	table_close(relation, NoLock);
}

/*
 * source_of -- the table that is attached: the one of the trigger, or one that it is a partition of
 *
 * InvalidOid for a table that was a partition of it: PostgreSQL took the row trigger away, and left the TRUNCATE trigger.
 */
static Oid
source_of(TriggerData *trigger)
{
	Oid			relid = RelationGetRelid(trigger->tg_relation);
	Oid			source = group_members_source(trigger->tg_trigger->tgfoid);

	if (strcmp(trigger->tg_trigger->tgname,
			   TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ? GROUP_MEMBER_CHANGED : GROUP_MEMBER_TRUNCATED) != 0)
		trigger_refuse(trigger, PURPOSE, "It has another name than egress_attach_group_members() gave it.", MADE_BY_ATTACH);
	if (source == relid ||
		(trigger->tg_relation->rd_rel->relispartition && list_member_oid(get_partition_ancestors(relid), source)))
		return source;
	if (row_trigger(trigger->tg_relation, trigger->tg_trigger->tgfoid) != NULL)
		trigger_refuse(trigger, PURPOSE, "Its table is not the one that is attached.", MADE_BY_ATTACH);
	return InvalidOid;
}

/* free_plans -- when the statement is over */
static void
free_plans(void *arg)
{
	Follow	   *follow = arg;

	for (int i = 0; i < FOLLOW_QUERY_COUNT; i++)
		if (follow->plans[i] != NULL)
			SPI_freeplan(follow->plans[i]);
}

/* follow_begin -- what the trigger knows for this statement */
static Follow *
follow_begin(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Follow	   *follow = fcinfo->flinfo->fn_extra;

	if (follow != NULL)
		return follow;

	/* the names belong to the trigger's description, which lasts as long as the statement */
	follow = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Follow));
	find_columns(trigger, follow);
	follow->source = source_of(trigger);
	follow->free_plans.func = free_plans;
	follow->free_plans.arg = follow;
	MemoryContextRegisterResetCallback(fcinfo->flinfo->fn_mcxt, &follow->free_plans);
	fcinfo->flinfo->fn_extra = follow;
	return follow;
}

/* read_pair -- the pair of a row; returns whether it is a membership */
static bool
read_pair(Follow *follow, TriggerData *trigger, HeapTuple row, Pair *pair)
{
	for (int i = 0; i < PAIR; i++)
	{
		bool		has_value = trigger_value(trigger, row, follow->columns[i], &pair->values[i]);

		pair->ids[i] = has_value ? application_id(pair->values[i], follow->types[i]) : NULL;
	}
	return pair->ids[0] != NULL && pair->ids[1] != NULL;
}

/* follow_row -- a row of the source was inserted, updated or deleted */
static void
follow_row(Follow *follow, TriggerData *trigger)
{
	Pair		gone;
	Pair		come;
	bool		has_gone = false;
	bool		has_come = false;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		has_come = read_pair(follow, trigger, trigger->tg_trigtuple, &come);
	else
		has_gone = read_pair(follow, trigger, trigger->tg_trigtuple, &gone);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		has_come = read_pair(follow, trigger, trigger->tg_newtuple, &come);

	if (has_gone && has_come && value_same_text(gone.ids[0], come.ids[0]) && value_same_text(gone.ids[1], come.ids[1]))
		return;

	query_connect();
	if (has_come)
		add_member(follow, &come);
	if (has_gone)
		drop_member(follow, &gone);
	SPI_finish();
}

/*
 * follow_truncate -- a table was truncated: the source, or a partition of it
 *
 * All tables of a TRUNCATE are empty before the first of their triggers runs, so one filling does for all of them. It is
 * the same statement while the command is the one that the filling ended with: that is marked as used, so whatever
 * statement comes next is another command.
 */
static void
follow_truncate(Follow *follow)
{
	static struct
	{
		Oid			source;
		TransactionId transaction;
		CommandId	command;
	}			filled;

	if (filled.source == follow->source && filled.transaction == GetTopTransactionId() &&
		filled.command == GetCurrentCommandId(false))
		return;
	group_members_refill(follow->source, follow->column_names[0], follow->column_names[1]);
	filled.source = follow->source;
	filled.transaction = GetTopTransactionId();
	filled.command = GetCurrentCommandId(true);
}

/* egress_follow_group_members -- see COMMENT ON FUNCTION */
Datum
egress_follow_group_members(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	Follow	   *follow;

	catalog_use(fcinfo->flinfo->fn_oid);
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event))
		trigger_refuse(trigger, PURPOSE, "It was attached BEFORE, when the row may still stay as it is.", MADE_BY_ATTACH);
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) && !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		trigger_refuse(trigger, PURPOSE, "It was attached FOR EACH STATEMENT.", MADE_BY_ATTACH);
	if (application_is_replicated(catalog_table(TABLE_GROUP_MEMBER)))
		return PointerGetDatum(NULL);

	follow = follow_begin(fcinfo);
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		follow_row(follow, trigger);
	else if (OidIsValid(follow->source))
		follow_truncate(follow);

	return PointerGetDatum(NULL);
}

/* refuse_truncate -- the mirror is truncated by hand while there is a source */
pg_noreturn static void
refuse_truncate(Oid source)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("group members come from table %s", application_table(source)),
			 errdetail("Table \"egress_group_member\" is its mirror, and cannot be truncated."),
			 errhint("Truncate that table, or detach it with egress_detach_group_members().")));
}

/* find_source -- the table that is attached, for a change of the mirror that no trigger makes; says so if there is one */
static Oid
find_source(TriggerData *trigger)
{
	Oid			source = group_members_source(catalog_trigger_function(GROUP_MEMBER_FUNCTION));

	if (OidIsValid(source) && TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		refuse_truncate(source);
	if (OidIsValid(source))
		ereport(NOTICE,
				(errmsg("group members come from table %s", application_table(source)),
				 errdetail("Table \"%s\" is its mirror: what is changed there otherwise is left as it was.",
						   RelationGetRelationName(trigger->tg_relation)),
				 errhint("Write to that table, or detach it with egress_detach_group_members().")));
	return source;
}

/*
 * egress_leave_members_to_source -- BEFORE a change of the mirror that no trigger makes: leave it out if there is a source
 *
 * Before: the statement has locked the mirror, as does whoever attaches a table: so what is found at the first row holds
 * for all.
 */
Datum
egress_leave_members_to_source(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid		   *source = fcinfo->flinfo->fn_extra;

	(void) trigger_begin(fcinfo, ON_TABLE(TABLE_GROUP_MEMBER) | ON_TRUNCATE);
	if (source == NULL)
	{
		source = fcinfo->flinfo->fn_extra = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Oid));
		*source = forgetting || application_is_replicated(RelationGetRelid(trigger->tg_relation)) ? InvalidOid :
			find_source(trigger);
	}
	return PointerGetDatum(OidIsValid(*source) ? NULL : trigger_new_row(trigger));
}
