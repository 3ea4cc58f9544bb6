/*
 * limit.h -- the connection limit
 */
#ifndef EGRESS_LIMIT_H
#define EGRESS_LIMIT_H

#include "once.h"
#include "scan.h"
#include "slots.h"

/* What the row of a lease holds besides its credential and its slot there. */
typedef struct EgressLimitLease
{
	text	   *session_id;
	int64		gateway_id;
	text	   *user_id;
	text	   *workspace_id;	/* or NULL */
	int32		user_slot;		/* of the user's limit; SLOT_NONE without one */
	TimestampTz acquired_at;	/* set by limit_take() */
} EgressLimitLease;

/* What came of limit_take(). */
typedef enum EgressLimitOutcome
{
	LIMIT_TAKEN,
	LIMIT_FULL,					/* the credential has no connection to give */
	LIMIT_AT_GATEWAY,			/* it is at the gateway, and may be so once */
	LIMIT_UNUSABLE,				/* EgressLimitUsable said so */
	LIMIT_GONE					/* it is disabled or deleted by now */
} EgressLimitOutcome;

/* asked by limit_take() whether the credential in the current row can be used at all; called with short locks held */
typedef bool (*EgressLimitUsable) (void *arg);

/* Taking connections, of one credential after the other. */
typedef struct EgressLimitSearch
{
	EgressScan *credentials;	/* current row: the credential */
	EgressSlotSearch slots;		/* its leases */
	EgressLimitUsable usable;
	void	   *arg;			/* what it is asked with */
	bool		unusable;		/* what it said */
	EgressOnceLook once;		/* the credential's leases at the gateway */
	bool		at_gateway;		/* what that said */
	EgressLimitLease *lease;	/* what limit_take() inserts */
} EgressLimitSearch;

/* What a look without locks says of a credential; each says more than those before. */
typedef enum EgressLimitSeen
{
	LIMIT_NOT_SEEN_FULL,
	LIMIT_SEEN_FULL_ONCE,		/* it was, and an open transaction is about to change that */
	LIMIT_SEEN_FULL_WITH_OWN,	/* counting what this transaction has taken */
	LIMIT_SEEN_FULL				/* for everybody, until a lease ends */
} EgressLimitSeen;

/* Looking whether credentials were full, one after the other. */
typedef struct EgressLimitLook
{
	Snapshot	snapshot;		/* full means: was full when this was taken */
	int64		last_id;		/* no credential above this one is asked about */
	TimestampTz cooled_at;		/* after a look: the first connection that was seen to cool down does so until then, or DT_NOEND */
	List	   *enders;			/* open transactions that were ending leases which counted */
	EgressScan	leases;			/* by credential and slot */
	EgressScan	expiries;		/* by credential */
} EgressLimitLook;

extern void limit_open(EgressLimitSearch *search, EgressScan *credentials, EgressLimitUsable usable, void *arg);
extern EgressLimitOutcome limit_take(EgressLimitSearch *search, int64 credential_id, EgressLimitLease *lease);
extern void limit_close(EgressLimitSearch *search);

extern void limit_look_open(EgressLimitLook *look);
extern void limit_look_begin(EgressLimitLook *look, Snapshot snapshot, int64 last_id);
extern EgressLimitSeen limit_look(EgressLimitLook *look, int64 credential_id, int32 limit, const Interval *cool_down, bool patient,
								  bool count, TimestampTz *until);
extern void limit_look_close(EgressLimitLook *look);

#endif							/* EGRESS_LIMIT_H */
