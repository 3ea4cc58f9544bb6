/*
 * limit.h -- the connection limit
 */
#ifndef EGRESS_LIMIT_H
#define EGRESS_LIMIT_H

#include "once.h"
#include "scan.h"
#include "slots.h"

/* What the row of a lease holds besides its credential and its slot there. */
typedef struct LimitLease
{
	text	   *session_id;
	int64		gateway_id;
	text	   *user_id;
	text	   *workspace_id;	/* or NULL */
	int32		user_slot;		/* of the user's limit; SLOT_NONE without one */
	TimestampTz acquired_at;	/* set by limit_take() */
} LimitLease;

/* What came of limit_take(). */
typedef enum LimitOutcome
{
	LIMIT_TAKEN,
	LIMIT_FULL,					/* the credential has no connection to give */
	LIMIT_AT_GATEWAY,			/* it is at the gateway, and may be so once */
	LIMIT_UNUSABLE,				/* LimitUsable said so */
	LIMIT_GONE					/* it is disabled or deleted by now */
} LimitOutcome;

/* asked by limit_take() whether the credential in the current row can be used at all; called with short locks held */
typedef bool (*LimitUsable) (void *arg);

/* Taking connections, of one credential after the other. */
typedef struct LimitSearch
{
	EgressScan *credentials;	/* current row: the credential */
	SlotSearch	slots;			/* its leases */
	LimitUsable usable;
	void	   *arg;			/* what it is asked with */
	bool		unusable;		/* what it said */
	OnceLook	once;			/* the credential's leases at the gateway */
	bool		at_gateway;		/* what that said */
	LimitLease *lease;			/* what limit_take() inserts */
} LimitSearch;

/* What a look without locks says of a credential; each says more than those before. */
typedef enum LimitSeen
{
	LIMIT_NOT_SEEN_FULL,
	LIMIT_SEEN_FULL_ONCE,		/* it was, and an open transaction is about to change that */
	LIMIT_SEEN_FULL_WITH_OWN,	/* counting what this transaction has taken */
	LIMIT_SEEN_FULL				/* for everybody, until a lease ends */
} LimitSeen;

/* Looking whether credentials were full, one after the other. */
typedef struct LimitLook
{
	Snapshot	snapshot;		/* full means: was full when this was taken */
	int64		last_id;		/* no credential above this one is asked about */
	TimestampTz cooled_at;		/* after a look: the first connection that was seen to cool down does so until then; DT_NOEND: none */
	List	   *enders;			/* open transactions that were ending leases which counted */
	EgressScan	leases;			/* by credential and slot */
	EgressScan	expiries;		/* by credential */
} LimitLook;

extern void limit_open(LimitSearch *search, EgressScan *credentials, LimitUsable usable, void *arg);
extern LimitOutcome limit_take(LimitSearch *search, int64 credential_id, LimitLease *lease);
extern void limit_close(LimitSearch *search);

extern void limit_look_open(LimitLook *look);
extern void limit_look_begin(LimitLook *look, Snapshot snapshot, int64 last_id);
extern LimitSeen limit_look(LimitLook *look, int64 credential_id, int32 limit, const Interval *cool_down, bool patient,
							bool count, TimestampTz *until);
extern void limit_look_close(LimitLook *look);

#endif							/* EGRESS_LIMIT_H */
