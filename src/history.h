/*
 * history.h -- the connections that have ended
 */
#ifndef EGRESS_HISTORY_H
#define EGRESS_HISTORY_H

#include "postgres.h"
#include "datatype/timestamp.h"

#include "scan.h"

extern void history_lock_tables(void);
extern void history_write(EgressScan *lease, EgressScan *credential, const char *reason, TimestampTz released_at);

#endif							/* EGRESS_HISTORY_H */
