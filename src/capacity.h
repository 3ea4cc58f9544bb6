/*
 * capacity.h -- how many connections credentials have free, as of a snapshot
 */
#ifndef EGRESS_CAPACITY_H
#define EGRESS_CAPACITY_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "access.h"
#include "scan.h"

/* Whose leases are counted, and as of when. */
typedef struct EgressCapacity
{
	Snapshot	snapshot;
	TimestampTz moment;			/* leases that have expired by then do not count */
	bool		opened;			/* the scans below are: when they are first needed */
	EgressScan	leases;			/* by credential */
	EgressScan	expiries;		/* by credential */
} EgressCapacity;

/* what capacity_free() returns when a credential has no limit */
#define CAPACITY_UNLIMITED (-1)

extern void capacity_begin(EgressCapacity *capacity, Snapshot snapshot, TimestampTz moment);
extern int64 capacity_free(EgressCapacity *capacity, List *credentials);
extern bool capacity_is_free(EgressCapacity *capacity, EgressEntitlement *credential, List *credentials);
extern void capacity_end(EgressCapacity *capacity);

#endif							/* EGRESS_CAPACITY_H */
