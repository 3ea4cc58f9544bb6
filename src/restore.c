/*
 * restore.c -- triggers for pg_restore with several jobs: the tables are filled in any order
 *
 * pg_dump writes the data of an extension's tables in an order that their foreign keys allow, and whoever restores with
 * one job, or with psql, keeps it. pg_restore with several jobs does not: to it the data of a table depend on that table
 * only, because the foreign keys of other tables are made when all data are there. Those of an extension are there before.
 *
 * So here a foreign key is checked as late as theirs, and as whole: by the one of its two tables that is filled second.
 *	- Before rows go into a table, and one that it refers to is empty: that foreign key is not checked for these rows. The
 *	  empty table is locked against writers, so what fills it begins when these rows are committed.
 *	- After rows went into a table, the foreign keys of others that refer to it are checked for all their rows, as ADD
 *	  FOREIGN KEY does. Where a dump is restored in its order, these others are empty.
 *
 * Likewise the triggers of the application's table of memberships: they are made when its data are there, and those of a partitioned
 * table, which has none itself, at any moment. From then on egress_group_member leaves to that table what is in it
 * (group_members.c), also rows that come late from the dump.
 *	- Before rows go into egress_group_member: if that table is attached by then, it is locked against writers.
 *	- After that: if it is attached by then, egress_group_member is filled with what it holds.
 *
 * That is for a COPY of pg_restore, which says who it is in application_name, and for superusers, who could switch foreign
 * keys off altogether. Nobody else is concerned, nor is pg_restore where no table is empty. A dump made of INSERTs fills a
 * table in steps: there is no moment at which all its rows have come.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "compat.h"
#include "group_members.h"
#include "trigger.h"

PG_FUNCTION_INFO_V1(egress_restore_in_any_order);
PG_FUNCTION_INFO_V1(egress_check_restored);

/* restoring -- what both triggers do first: returns whether it is pg_restore that fills the table, at one go */
static bool
restoring(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = trigger_data(fcinfo);

	if (!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		trigger_refuse(trigger, "work", "It is FOR EACH ROW, or not ON INSERT.", NULL);
	if (application_name == NULL || strcmp(application_name, "pg_restore") != 0 || !superuser() ||
		ActivePortal == NULL || ActivePortal->commandTag != CMDTAG_COPY ||
		DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH)) > 1)
		return false;
	catalog_use(fcinfo->flinfo->fn_oid);
	return true;
}

/* is_own -- whether a table is one of the extension's */
static bool
is_own(Oid table)
{
	for (int i = 0; i < EGRESS_TABLE_COUNT; i++)
		if (catalog_table((EgressTable) i) == table)
			return true;
	return false;
}

/* is_empty -- whether a table has no row that is committed by now, or of this transaction */
static bool
is_empty(Oid table)
{
	Relation	relation = table_open(table, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, NULL);
	bool		empty = !HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(relation, AccessShareLock);
	return empty;
}

/* checks_rows -- whether a trigger is the one with which a foreign key checks the rows that are inserted */
static bool
checks_rows(const Trigger *trigger)
{
	return TRIGGER_FOR_INSERT(trigger->tgtype) && trigger->tgenabled != TRIGGER_DISABLED &&
		RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_FK;
}

/*
 * statement_triggers -- the triggers of a table as the running statement has them; *count says how many
 *
 * The executor has an array of its own, made of the one in the relation, for each statement, and what it calls a trigger
 * with is in there.
 */
static Trigger *
statement_triggers(TriggerData *trigger, int *count)
{
	TriggerDesc *triggers = trigger->tg_relation->trigdesc;
	int			position = 0;

	while (position < triggers->numtriggers && triggers->triggers[position].tgoid != trigger->tg_trigger->tgoid)
		position++;
	if (position == triggers->numtriggers || trigger->tg_trigger == &triggers->triggers[position])
		elog(ERROR, "the triggers of table \"%s\" are not as expected", RelationGetRelationName(trigger->tg_relation));
	*count = triggers->numtriggers;
	return trigger->tg_trigger - position;
}

/* fills_members -- whether the table that is filled is egress_group_member */
static bool
fills_members(FunctionCallInfo fcinfo)
{
	return RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation) == catalog_table(TABLE_GROUP_MEMBER);
}

/* egress_restore_in_any_order -- BEFORE INSERT on the tables that refer to others, and on egress_group_member */
Datum
egress_restore_in_any_order(PG_FUNCTION_ARGS)
{
	if (restoring(fcinfo))
	{
		int			count;
		Trigger    *triggers = statement_triggers((TriggerData *) fcinfo->context, &count);

		for (int i = 0; i < count; i++)
		{
			Oid			referenced = triggers[i].tgconstrrelid;

			if (!checks_rows(&triggers[i]) || !is_own(referenced) || !is_empty(referenced))
				continue;
			LockRelationOid(referenced, ShareLock);
			/* it may have been filled while this waited for the lock */
			if (is_empty(referenced))
				triggers[i].tgenabled = TRIGGER_DISABLED;
		}
		if (fills_members(fcinfo))
			(void) group_members_hold_source();
	}
	return PointerGetDatum(NULL);
}

/* egress_check_restored -- AFTER INSERT on the tables to which others refer, and on egress_group_member */
Datum
egress_check_restored(PG_FUNCTION_ARGS)
{
	if (restoring(fcinfo))
	{
		Relation	referenced = ((TriggerData *) fcinfo->context)->tg_relation;

		/* what the statement has inserted is to be seen */
		CommandCounterIncrement();
		for (int i = 0; i < EGRESS_TABLE_COUNT; i++)
		{
			Relation	referring = table_open(catalog_table((EgressTable) i), AccessShareLock);
			TriggerDesc *triggers = CopyTriggerDesc(referring->trigdesc);

			for (int j = 0; triggers != NULL && j < triggers->numtriggers; j++)
				if (triggers->triggers[j].tgconstrrelid == RelationGetRelid(referenced) &&
					checks_rows(&triggers->triggers[j]) &&
					!RI_Initial_Check(&triggers->triggers[j], referring, referenced))
					elog(ERROR, "a foreign key of table \"%s\" cannot be checked", RelationGetRelationName(referring));
			table_close(referring, AccessShareLock);
		}
		if (fills_members(fcinfo))
			group_members_restored();
	}
	return PointerGetDatum(NULL);
}
