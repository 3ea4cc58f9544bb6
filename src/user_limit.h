/*
 * user_limit.h -- how many connections a user may have at once, over all providers
 */
#ifndef EGRESS_USER_LIMIT_H
#define EGRESS_USER_LIMIT_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "utils/snapshot.h"

#include "compat.h"
#include "scan.h"
#include "slots.h"
#include "subject.h"

/* The row of egress_user_limit that counts for a user. */
typedef struct EgressUserLimit
{
	const EgressSubject *subject;	/* whose it is: the user, a group of the user's, or everyone */
	int32		connections;
} EgressUserLimit;

/* An acquire's hold on a user's limit. */
typedef struct EgressUserHold
{
	text	   *user_id;
	LOCKMODE	lock;			/* of LOCK_USER that is held, or NoLock */
	bool		exclusive;		/* the user had a limit when that was decided, so the lock is needed, exclusive */
	bool		had_room;		/* it was found that the limit is not reached */
	bool		limited;		/* after user_limit_hold_claim(): the user has a limit, */
	EgressUserLimit limit;		/* this one */
	int32		slot;			/* and the slot for the lease; SLOT_NONE without a limit */
	bool		opened;			/* the next two are: */
	EgressSlotSearch slots;		/* of the user's leases, */
	EgressScan	leases;			/* and these */
} EgressUserHold;

/* The sessions that hold a user's connections: how many, and those that have for the longest time. */
#define USER_SESSIONS_NAMED	5
typedef struct EgressUserSessions
{
	int64		count;
	char	   *named[USER_SESSIONS_NAMED];
	TimestampTz acquired_at[USER_SESSIONS_NAMED];
} EgressUserSessions;

extern void user_limit_sessions_begin(EgressUserSessions *sessions);
extern void user_limit_sessions_add(EgressUserSessions *sessions, EgressScan *lease);
extern char *user_limit_sessions_label(const EgressUserSessions *sessions, const char *quote);
extern bool user_limit_find(List *subjects, Snapshot snapshot, EgressUserLimit *limit);
extern void user_limit_hold_begin(EgressUserHold *hold, text *user_id);
extern void user_limit_hold_decide(EgressUserHold *hold, List *subjects, Snapshot snapshot);
extern bool user_limit_hold_claim(EgressUserHold *hold);
extern bool user_limit_hold_is_full(EgressUserHold *hold);
extern void user_limit_hold_give(EgressUserHold *hold);
extern void user_limit_hold_end(EgressUserHold *hold);
pg_noreturn extern void user_hold_refuse(EgressUserHold *hold);

#endif							/* EGRESS_USER_LIMIT_H */
