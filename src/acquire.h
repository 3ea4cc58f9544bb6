/*
 * acquire.h -- taking a connection: what the acquires of a gateway and of a wish have in common
 */
#ifndef EGRESS_ACQUIRE_H
#define EGRESS_ACQUIRE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "fmgr.h"

#include "access.h"
#include "fitting.h"
#include "lease.h"
#include "limit.h"
#include "pool.h"
#include "scan.h"
#include "secret.h"
#include "user_limit.h"

/* The credentials that an acquire passes over because they cannot be opened. */
typedef struct EgressPassedOver
{
	int			count;
	char	   *label;			/* the secret of the first of them */
	EgressSecret *secret;
	EgressSecretOutcome outcome;
} EgressPassedOver;

/* An acquire at work. */
typedef struct EgressAcquire
{
	text	   *user_id;
	text	   *workspace_id;	/* or NULL */
	int64		gateway_id;		/* of a wish: that is tried, or was taken */
	text	   *session_id;
	Interval   *ttl;			/* or NULL */
	EgressLeaseLook lease;		/* the session's, */
	EgressLeaseState state;		/* and what that is */
	Snapshot	snapshot;		/* what was committed when the session was looked at */
	EgressCall	call;
	EgressScan	gateways;		/* current row: the gateway */
	EgressScan	credentials;	/* current row: the credential leased, or tried last */
	char	   *opened[CREDENTIAL_SECRET_COUNT];	/* its secrets, after open_secrets(); NULL where it has none */
	EgressSecretOutcome outcome;	/* of that: unless it is SECRET_OPENED, */
	EgressCredentialSecret unopened;	/* this one could not be opened */
	bool		renewed_keys;	/* the keys were read anew */
	EgressPassedOver passed_over;
	EgressUserHold user;
	EgressLimitSearch limit;
	EgressPool	pool;
	EgressAccess *access;		/* to the gateway's provider */
	TimestampTz acquired_at;
} EgressAcquire;

/* What came of a gateway. */
typedef enum EgressTryOutcome
{
	TRY_TAKEN,
	TRY_FULL,					/* the credentials that fit and can be opened have no connection to give */
	TRY_UNOPENED,				/* none that fits can be opened */
	TRY_UNAVAILABLE,			/* the verdict says why */
	TRY_DELETED					/* another transaction is deleting the gateway */
} EgressTryOutcome;

/* The same, with what is to be said about it. */
typedef struct EgressAcquireTry
{
	EgressTryOutcome outcome;
	EgressVerdict verdict;
	bool		full;			/* a credential was */
	bool		at_gateway;		/* one was passed over because it is at the gateway, where it may be once, */
	bool		benched;		/* or because it is benched */
	int			unopened;		/* so many cannot be opened */
	TimestampTz cooled_at;		/* the first connection that was seen to cool down does so until then; DT_NOEND: none */
} EgressAcquireTry;

extern void acquire_open(EgressAcquire *acquire, Oid function, const char *name);
extern void acquire_begin(EgressAcquire *acquire);
extern int64 acquire_held_gateway(EgressAcquire *acquire);
extern bool acquire_return(EgressAcquire *acquire, bool fits);
extern void acquire_try(EgressAcquire *acquire, EgressAcquireTry *tried);
extern void acquire_log_passed_over(EgressAcquire *acquire);
pg_noreturn extern void acquire_refuse_unopened(EgressAcquire *acquire);
extern const char *acquire_cools(TimestampTz cooled_at);
extern char *acquire_call_label(text *user_id, text *workspace_id);
extern Datum acquire_end(EgressAcquire *acquire, FunctionCallInfo fcinfo, bool held, bool with_gateway);

#endif							/* EGRESS_ACQUIRE_H */
