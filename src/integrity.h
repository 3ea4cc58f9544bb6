/*
 * integrity.h -- what the triggers of the configuration tables have in common
 */
#ifndef EGRESS_INTEGRITY_H
#define EGRESS_INTEGRITY_H

#include "postgres.h"
#include "commands/trigger.h"
#include "fmgr.h"

#include "catalog.h"

extern EgressTable trigger_begin(FunctionCallInfo fcinfo);
extern HeapTuple trigger_new_row(TriggerData *trigger);

#endif							/* EGRESS_INTEGRITY_H */
