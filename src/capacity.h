/*
 * capacity.h -- how many connections credentials have free, as of a snapshot
 */
#ifndef EGRESS_CAPACITY_H
#define EGRESS_CAPACITY_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "utils/hsearch.h"

#include "access.h"
#include "scan.h"
#include "user_limit.h"

/* Whose leases are counted, and as of when. */
typedef struct EgressCapacity
{
	Snapshot	snapshot;
	TimestampTz moment;			/* leases that have expired by then do not count */
	bool		opened;			/* the scans below are: when they are first needed */
	EgressScan	leases;			/* by credential */
	EgressScan	expiries;		/* by credential */
} EgressCapacity;

/* what capacity_free() returns when a credential has no limit, and may be at a gateway any number of times */
#define CAPACITY_UNLIMITED (-1)

/* What a user may have, and has. */
typedef struct EgressUserCapacity
{
	bool		limited;		/* there is a limit, */
	EgressUserLimit limit;		/* this one; */
	EgressUserSessions sessions;	/* then: those that have the user's live leases */
} EgressUserCapacity;

/* What some credentials have free, at any gateway. */
typedef struct EgressCapacitySum
{
	int64		free;			/* at a gateway where none of them is that may be there once; or CAPACITY_UNLIMITED */
	HTAB	   *taken;			/* of EgressTaken: where such are; NULL: nowhere */
} EgressCapacitySum;

extern void capacity_begin(EgressCapacity *capacity, Snapshot snapshot, TimestampTz moment);
extern int64 capacity_free(EgressCapacity *capacity, List *credentials, int64 gateway_id);
extern void capacity_sum(EgressCapacity *capacity, List *credentials, EgressCapacitySum *sum);
extern int64 capacity_free_of(const EgressCapacitySum *sum, int64 gateway_id);
extern bool capacity_is_free(EgressCapacity *capacity, EgressEntitlement *credential, List *credentials, int64 gateway_id);
extern bool capacity_is_at(const EgressEntitlement *credential, int64 gateway_id);
extern void capacity_user(EgressCapacity *capacity, EgressCall *call, EgressUserCapacity *user);
extern int64 capacity_left(const EgressUserCapacity *user, int64 free);
extern void capacity_end(EgressCapacity *capacity);

#endif							/* EGRESS_CAPACITY_H */
