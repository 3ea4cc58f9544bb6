/*
 * trigger.h -- what trigger functions have in common
 */
#ifndef EGRESS_TRIGGER_H
#define EGRESS_TRIGGER_H

#include "postgres.h"
#include "commands/trigger.h"
#include "fmgr.h"

#include "catalog.h"
#include "compat.h"

/* a table as a member of the set that trigger_begin() takes */
#define ON_TABLE(table) (1 << (table))
#define ON_TRUNCATE ON_TABLE(EGRESS_TABLE_COUNT)	/* also FOR EACH STATEMENT, of a TRUNCATE */
#define ON_GATEWAY_OR_CREDENTIAL (ON_TABLE(TABLE_GATEWAY) | ON_TABLE(TABLE_CREDENTIAL))

extern TriggerData *trigger_data(FunctionCallInfo fcinfo);
extern EgressTable trigger_begin(FunctionCallInfo fcinfo, int tables);
pg_noreturn extern void trigger_refuse(TriggerData *trigger, const char *purpose, const char *reason, const char *hint);
extern HeapTuple trigger_new_row(TriggerData *trigger);
extern bool trigger_value(TriggerData *trigger, HeapTuple row, AttrNumber column, Datum *value);
extern HeapTuple trigger_with_value(TriggerData *trigger, HeapTuple row, AttrNumber column, Datum value);

#endif							/* EGRESS_TRIGGER_H */
