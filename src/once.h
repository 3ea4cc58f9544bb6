/*
 * once.h -- one key, one tunnel: whether a credential is at a gateway
 */
#ifndef EGRESS_ONCE_H
#define EGRESS_ONCE_H

#include "lease.h"
#include "scan.h"

/* What is held of a credential's leases at a gateway. */
typedef enum EgressOnceState
{
	ONCE_FREE,					/* nothing */
	ONCE_EXPIRED,				/* only what has expired, and nobody else is doing something with */
	ONCE_TAKEN
} EgressOnceState;

/* Looking at the leases of a credential at a gateway. */
typedef struct EgressOnceLook
{
	bool		opened;			/* the leases are: when they are first needed */
	EgressScan	leases;			/* by gateway and credential */
	EgressLeaseEnds ends;
	int			expired;		/* after ONCE_EXPIRED: how many have */
	TimestampTz cooled_at;		/* a connection that was there cools down until then; DT_NOEND: none does, or nobody looked */
} EgressOnceLook;

extern bool once_applies(EgressScan *credential);
extern void once_begin(EgressOnceLook *look);
extern EgressOnceState once_look(EgressOnceLook *look, int64 credential_id, int64 gateway_id, const Interval *cool_down);
extern bool once_was_taken(EgressOnceLook *look, int64 credential_id, int64 gateway_id, Snapshot snapshot,
						   const Interval *cool_down);
extern bool once_end_expired(EgressOnceLook *look, int64 credential_id, int64 gateway_id, const Interval *cool_down, int64 *ended);
extern void once_end(EgressOnceLook *look);

#endif							/* EGRESS_ONCE_H */
