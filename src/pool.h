/*
 * pool.h -- finding out that credentials are full, without their locks
 */
#ifndef EGRESS_POOL_H
#define EGRESS_POOL_H

#include "scan.h"

typedef struct Pool
{
	Snapshot	snapshot;		/* full means: was full when this was taken */
	int64		last_id;		/* no credential above this one is asked about */
	EgressScan	leases;			/* by credential and slot */
	EgressScan	expiries;		/* by credential */
} Pool;

extern void pool_open(Pool *pool);
extern void pool_begin(Pool *pool, Snapshot snapshot, int64 last_id);
extern bool pool_is_full(Pool *pool, int64 credential_id, int32 limit);
extern void pool_close(Pool *pool);

#endif							/* EGRESS_POOL_H */
