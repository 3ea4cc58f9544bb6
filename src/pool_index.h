/*
 * pool_index.h -- the index of credentials that may have a connection free
 */
#ifndef EGRESS_POOL_INDEX_H
#define EGRESS_POOL_INDEX_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

/* One credential in its pool. (In an inner page of the index: a page below, the first of its items, and what they come to.) */
typedef struct EgressPoolItem
{
	uint64		group;			/* pool_index_group() */
	int64		id;				/* the credential's */
	TimestampTz wake;			/* until then it is certain to be full; DT_NOBEGIN: it may have a connection free */
	uint32		look;			/* the number of the look that somebody has begun, 0: none. (A page: its block) */
	TransactionId since;		/* it was full for the snapshots from here on; or who inserted it; see pool_index.c */
} EgressPoolItem;

extern uint64 pool_index_group(Datum subject_type, text *subject_id, int64 provider_id);
extern int	pool_index_compare(const void *a, const void *b);
extern int	pool_index_next(Relation index, uint64 group, int64 from_id, TimestampTz moment, Snapshot snapshot,
							EgressPoolItem *items, int max);
extern double pool_index_draw(Relation index, uint64 group, int64 *id);
extern bool pool_index_find(Relation index, uint64 group, int64 id, EgressPoolItem *item);
extern void pool_index_opened(Relation index, uint64 group, int64 id);
extern void pool_index_all_opened(Relation index);
extern void pool_index_watch(Relation index, EgressPoolItem *items, int count);
extern void pool_index_full(Relation index, EgressPoolItem *items, int count);
extern bool pool_index_is_one(Relation relation);

#endif							/* EGRESS_POOL_INDEX_H */
