/*
 * lease.h -- the leases of sessions: looking at one, ending it, and when it ends by itself
 */
#ifndef EGRESS_LEASE_H
#define EGRESS_LEASE_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/lmgr.h"

#include "catalog.h"
#include "scan.h"

/* What a session has. */
typedef enum EgressLeaseState
{
	LEASE_NONE,
	LEASE_LIVE,
	LEASE_EXPIRED,				/* there, and does not count any more */
	LEASE_EXPIRED_BUSY,			/* the same, and another open transaction ends it */
	LEASE_BUSY,					/* another open transaction takes or ends it */
	LEASE_COOLING				/* no session has this id: the connection of a lease that has ended cools down */
} EgressLeaseState;

/* A look at the lease of a session. */
typedef struct EgressLeaseLook
{
	EgressScan	lease;			/* current row: the lease */
	EgressScan	expiry;			/* current row: when it ends, if has_expiry */
	bool		expiry_opened;
	bool		has_expiry;
	TransactionId busy;			/* the open transaction that takes, ends or renews it, if any */
	EgressScan *busy_row;		/* and what it changes: one of the above */
} EgressLeaseLook;

/* Looking for the ends of leases, which are opened when they are first needed. */
typedef struct EgressLeaseEnds
{
	bool		opened;
	EgressScan	expiries;		/* by session */
} EgressLeaseEnds;

/* What there is of a credential's or gateway's connections. */
typedef enum EgressLeaseHeld
{
	LEASE_HELD_NONE,
	LEASE_HELD_COOLING,			/* only such as cool down */
	LEASE_HELD_LEASE
} EgressLeaseHeld;

/* asked by lease_end_if() whether the lease in a scan's current row is to end */
typedef bool (*EgressLeaseCheck) (EgressScan *lease, void *arg);

extern void lease_lock_tables(void);
extern void lease_open(EgressLeaseLook *look);
extern EgressLeaseState lease_look(EgressLeaseLook *look, text *session_id);
extern void lease_wait(EgressLeaseLook *look, XLTW_Oper purpose);
extern void lease_end_expired(EgressLeaseLook *look);
extern void lease_close(EgressLeaseLook *look);

extern void lease_expires(text *session_id, int64 credential_id, TimestampTz expires_at);
extern Interval *lease_get_ttl(FunctionCallInfo fcinfo, int argno);
extern TimestampTz lease_ttl_end(TimestampTz from, Interval *ttl);

extern bool lease_end(text *session_id, const char *reason);
extern bool lease_end_if(text *session_id, EgressLeaseCheck check, void *arg, const char *reason);
extern void lease_confirm(void);
extern const Interval *lease_cool_down(EgressScan *credential);
extern TimestampTz lease_free_at(TimestampTz ended_at, const Interval *cool_down);
extern bool lease_is_cooling(EgressScan *lease);
extern bool lease_entry_is_cooling(EgressScan *leases);
extern bool lease_has_cooled(EgressScan *lease, const Interval *cool_down);
extern void lease_ends_begin(EgressLeaseEnds *ends);
extern void lease_ends_end(EgressLeaseEnds *ends);
extern bool lease_has_expired(EgressLeaseEnds *ends, EgressScan *lease, const Interval *cool_down);
extern bool lease_is_over(EgressLeaseEnds *ends, EgressScan *lease, const Interval *cool_down);
extern TimestampTz lease_ends_at(EgressScan *expiries, text *session_id, Snapshot snapshot);
extern List *lease_note_ender(List *transactions, TransactionId transaction);
extern bool lease_any_ended(List *transactions);
extern bool lease_next_expired(EgressScan *expiries, const Interval *cool_down);
extern bool lease_end_if_expired(EgressScan *row, AttrNumber session_column);
extern bool lease_end_if_free(EgressScan *row, AttrNumber session_column);
extern bool lease_so_many_expired(EgressScan *expiries, int64 credential_id, int64 number, const Interval *cool_down);
extern bool lease_end_expired_for(EgressScan *expiries, int64 credential_id, int64 number, const Interval *cool_down);
extern void lease_end_expired_of(EgressIndex index, int64 id, bool gone);
extern EgressLeaseHeld lease_held(EgressIndex index, int64 id, bool settled);

#endif							/* EGRESS_LEASE_H */
