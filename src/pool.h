/*
 * pool.h -- which credentials of a big pool may have a connection free
 */
#ifndef EGRESS_POOL_H
#define EGRESS_POOL_H

#include "limit.h"
#include "pool_index.h"
#include "scan.h"

/* From so many credentials on that have one of a call's subjects, those of a provider are a big pool. */
#define POOL_BIG 33

/* One of the groups that a search goes through. */
typedef struct EgressPoolCursor
{
	uint64		group;
	int64		from_id;		/* what comes next has this id or more */
	EgressPoolItem item;		/* that, if at_item */
	bool		at_item;
	bool		at_end;
	int			full;			/* so many were full, one after the other */
} EgressPoolCursor;

/* Looking for credentials that are not full. */
typedef struct EgressPool
{
	Snapshot	snapshot;		/* full means: was full when this was taken */
	bool		reads;			/* for a reader's snapshot: nothing is decided about what is full now */
	TimestampTz moment;			/* and then, for leases that end by themselves */
	EgressLimitLook look;		/* unless it reads */
	bool		opened;			/* rows is */
	EgressScan	rows;			/* credentials, by id */
	EgressPoolCursor *cursors;
	int			count;			/* of these */
	EgressPoolCursor *current;	/* that of the credential that came last */
	int64		start;			/* the search began at this id, and goes on from the lowest when it is at its end */
	bool		wrapped;		/* it has gone on, up to start */
} EgressPool;

extern void pool_open(EgressPool *pool);
extern void pool_begin(EgressPool *pool, Snapshot snapshot, int64 last_id);
extern void pool_begin_reading(EgressPool *pool, Snapshot snapshot, TimestampTz moment);
extern void pool_search(EgressPool *pool, const uint64 *groups, int count);
extern void pool_start_by_chance(EgressPool *pool);
extern void pool_start_at(EgressPool *pool, int64 id);
extern bool pool_next(EgressPool *pool, int *group, int64 *id);
extern bool pool_come_to(EgressPool *pool, int group, int64 id);
extern bool pool_find_row(EgressPool *pool, int64 id);
extern bool pool_is_full(EgressPool *pool, uint64 group, int64 id, int32 limit, const Interval *cool_down, bool big);
extern TimestampTz pool_cooled_at(EgressPool *pool, int64 id, int32 limit, const Interval *cool_down);
extern void pool_has_none(EgressPool *pool);
extern void pool_close(EgressPool *pool);
extern void pool_tell_full(EgressPoolItem *items, int count);

#endif							/* EGRESS_POOL_H */
