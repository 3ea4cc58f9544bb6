/*
 * usage.h -- how many live leases there are: going over all of them
 */
#ifndef EGRESS_USAGE_H
#define EGRESS_USAGE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#include "scan.h"

/* What is done with a lease, the scan's current row, that has ended at a time, or that is live: DT_NOEND. */
typedef void (*EgressUsageLease) (void *arg, EgressScan *lease, TimestampTz ended_at);

/* What is done with the session of a lease that ends by itself, before any lease. */
typedef void (*EgressUsageEnd) (void *arg, text *session_id);

extern void usage_pass(Snapshot snapshot, TimestampTz moment, EgressUsageEnd each_end, EgressUsageLease each, void *arg);

#endif							/* EGRESS_USAGE_H */
