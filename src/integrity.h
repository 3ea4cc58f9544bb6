/*
 * integrity.h -- what the triggers of the configuration tables have in common
 */
#ifndef EGRESS_INTEGRITY_H
#define EGRESS_INTEGRITY_H

#include "postgres.h"
#include "commands/trigger.h"
#include "fmgr.h"

#include "catalog.h"

/* a table as a member of the set that trigger_begin() takes */
#define ON_TABLE(table) (1 << (table))
#define ON_TRUNCATE ON_TABLE(EGRESS_TABLE_COUNT)	/* also FOR EACH STATEMENT, of a TRUNCATE */
#define ON_GATEWAY_OR_CREDENTIAL (ON_TABLE(TABLE_GATEWAY) | ON_TABLE(TABLE_CREDENTIAL))

extern EgressTable trigger_begin(FunctionCallInfo fcinfo, int tables);
extern HeapTuple trigger_new_row(TriggerData *trigger);

#endif							/* EGRESS_INTEGRITY_H */
