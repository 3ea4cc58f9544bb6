/*
 * session_trigger.c -- the end of a session: egress_release_on_session_end(column)
 *
 * A trigger of the application's session table. It releases with the rights of the extension's owner, so the role
 * that ends the session needs no privilege on anything of ours. Its arguments also say, to sessions.c, where the sessions are.
 */
#include "session_trigger.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "application.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"
#include "query.h"
#include "sessions.h"
#include "trigger.h"

/* what the trigger is for */
#define PURPOSE "end leases"

/* what to do about a trigger that cannot work */
#define HOW_TO_ATTACH \
	"Attach egress_release_on_session_end('column') AFTER DELETE or UPDATE FOR EACH ROW, or BEFORE TRUNCATE FOR EACH STATEMENT."

/* how many sessions are read at a time */
#define SESSION_BATCH 1000

PG_FUNCTION_INFO_V1(egress_release_on_session_end);

/* session_column -- the number of the column that the trigger's argument names */
static int
session_column(TriggerData *trigger)
{
	const char *problem;
	int			column;

	if (trigger->tg_trigger->tgnargs < 1 || trigger->tg_trigger->tgnargs > SESSION_ARGUMENTS)
		trigger_refuse(trigger, PURPOSE, "It needs one argument, the name of the column that holds the session id.", HOW_TO_ATTACH);
	if (trigger->tg_trigger->tgnargs == SESSION_ARGUMENTS && strcmp(trigger->tg_trigger->tgargs[1], SESSION_MUST_EXIST) != 0)
		trigger_refuse(trigger, PURPOSE, "Its second argument can only be '" SESSION_MUST_EXIST "'.", HOW_TO_ATTACH);

	column = application_column(RelationGetDescr(trigger->tg_relation), trigger->tg_trigger->tgargs[0], &problem);
	if (column == 0)
		trigger_refuse(trigger, PURPOSE, problem, "If the column was renamed, detach the table with egress_detach_sessions(), and attach it again.");
	return column;
}

/* end_session -- end the lease of the session with this id, if it has one; what cannot be the id of a lease has none */
static void
end_session(Datum value, Oid type)
{
	text	   *session_id = application_id(value, type);

	if (session_id != NULL)
		lease_end(session_id, "session_end");
}

/* end_row_session -- the session of the row that was deleted or updated; of the old row, which acquired the lease */
static void
end_row_session(TriggerData *trigger)
{
	int			column = session_column(trigger);
	Datum		value;

	if (trigger_value(trigger, trigger->tg_trigtuple, column, &value))
		end_session(value, TupleDescAttr(RelationGetDescr(trigger->tg_relation), column - 1)->atttypid);
}

/*
 * session_trigger_end -- end the leases of the sessions whose ids are the one column of a query on a session table
 *
 * Before: the table is locked against writers, so the latest snapshot sees all that counts, whatever the isolation
 * level. The query runs with the rights of the table's owner (application_act_as_owner()); what follows needs no rights.
 */
void
session_trigger_end(Oid table, const char *query)
{
	Portal		portal;
	EgressRights rights;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "egress sessions",
													  ALLOCSET_DEFAULT_SIZES);

	application_act_as_owner(table, &rights);
	query_connect();
	portal = query_open_latest(query_prepare(query, 0, NULL, 0));
	do
	{
		SPI_cursor_fetch(portal, true, SESSION_BATCH);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old_context = MemoryContextSwitchTo(row_context);
			Datum		value;

			CHECK_FOR_INTERRUPTS();
			if (query_value(i, 1, &value))
				end_session(value, SPI_gettypeid(SPI_tuptable->tupdesc, 1));
			MemoryContextSwitchTo(old_context);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);

	SPI_cursor_close(portal);
	SPI_finish();
	application_act_again(&rights);
	MemoryContextDelete(row_context);
}

/* end_all_sessions -- the sessions of the table that is about to be truncated, and has been locked for it */
static void
end_all_sessions(TriggerData *trigger)
{
	Relation	table = trigger->tg_relation;
	int			column = session_column(trigger);

	session_trigger_end(RelationGetRelid(table),
						psprintf("SELECT %s FROM %s",
								 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(table), column - 1)->attname)),
								 application_rows(RelationGetRelid(table))));
}

/* egress_release_on_session_end -- see COMMENT ON FUNCTION */
Datum
egress_release_on_session_end(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	TriggerEvent event = trigger->tg_event;

	catalog_use(fcinfo->flinfo->fn_oid);
	if (application_is_replicated(catalog_table(TABLE_LEASE)))
		return PointerGetDatum(NULL);

	if (TRIGGER_FIRED_BY_TRUNCATE(event) && TRIGGER_FIRED_BEFORE(event))
		end_all_sessions(trigger);
	else if (TRIGGER_FIRED_BY_TRUNCATE(event))
		trigger_refuse(trigger, PURPOSE, "AFTER TRUNCATE the sessions are gone.", HOW_TO_ATTACH);
	else if (!TRIGGER_FIRED_FOR_ROW(event))
		trigger_refuse(trigger, PURPOSE, "It was attached FOR EACH STATEMENT.", HOW_TO_ATTACH);
	else if (!TRIGGER_FIRED_AFTER(event))
		trigger_refuse(trigger, PURPOSE, "It was attached BEFORE, when the session may still stay.", HOW_TO_ATTACH);
	else if (TRIGGER_FIRED_BY_INSERT(event))
		trigger_refuse(trigger, PURPOSE, "It was attached to INSERT, which ends no session.", HOW_TO_ATTACH);
	else
		end_row_session(trigger);

	return PointerGetDatum(NULL);
}
