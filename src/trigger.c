/*
 * trigger.c -- what trigger functions have in common: how they are called, and the rows that they are given
 */
#include "trigger.h"

#include "access/htup_details.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shape.h"

/* trigger_data -- what a trigger function is called with; 22023 when it is called as another function */
TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s() is a trigger function", get_func_name(fcinfo->flinfo->fn_oid))));
	return (TriggerData *) fcinfo->context;
}

/* trigger_refuse -- raise 22023: a trigger was attached in a way in which it cannot do what it is for; hint may be NULL */
void
trigger_refuse(TriggerData *trigger, const char *purpose, const char *reason, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("trigger \"%s\" of table \"%s\" cannot %s",
					trigger->tg_trigger->tgname, RelationGetRelationName(trigger->tg_relation), purpose),
			 errdetail_internal("%s", reason),
			 hint ? errhint("%s", hint) : 0));
}

/*
 * trigger_begin -- what each trigger of our tables does first: returns which of them it is attached to
 *
 * tables are those that it is made for: it takes columns by their number. 22023 when it is attached in another way.
 */
EgressTable
trigger_begin(FunctionCallInfo fcinfo, int tables)
{
	TriggerData *trigger = trigger_data(fcinfo);
	EgressTable table;

	catalog_use(fcinfo->flinfo->fn_oid);
	table = catalog_table_of(RelationGetRelid(trigger->tg_relation));
	if ((tables & ON_TABLE(table)) == 0 ||
		!(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || (tables & ON_TRUNCATE && TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))))
		trigger_refuse(trigger, "work", "It is FOR EACH STATEMENT, or its function was made for another table.", NULL);
	shape_check_table(trigger->tg_relation, table);
	return table;
}

/* trigger_new_row -- the row that an INSERT or UPDATE is about to write */
HeapTuple
trigger_new_row(TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
}

/* trigger_value -- a column of a row; false when it is NULL */
bool
trigger_value(TriggerData *trigger, HeapTuple row, AttrNumber column, Datum *value)
{
	bool		isnull;

	*value = heap_getattr(row, column, RelationGetDescr(trigger->tg_relation), &isnull);
	return !isnull;
}

/* trigger_with_value -- a row with one column changed */
HeapTuple
trigger_with_value(TriggerData *trigger, HeapTuple row, AttrNumber column, Datum value)
{
	int			columns[1] = {column};
	bool		isnull[1] = {false};

	return heap_modify_tuple_by_cols(row, RelationGetDescr(trigger->tg_relation), 1, columns, &value, isnull);
}
