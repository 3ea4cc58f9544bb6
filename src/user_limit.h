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
typedef struct UserLimit
{
	const EgressSubject *subject;	/* whose it is: the user, a group of the user's, or everyone */
	int32		connections;
} UserLimit;

/* An acquire's hold on a user's limit. */
typedef struct UserHold
{
	text	   *user_id;
	LOCKMODE	lock;			/* of LOCK_USER that is held, or NoLock */
	bool		exclusive;		/* the user had a limit when that was decided, so the lock is needed, exclusive */
	bool		had_room;		/* it was found that the limit is not reached */
	bool		limited;		/* after user_hold_claim(): the user has a limit, */
	UserLimit	limit;			/* this one */
	int32		slot;			/* and the slot for the lease; SLOT_NONE without a limit */
	bool		opened;			/* the next two are: */
	SlotSearch	slots;			/* of the user's leases, */
	EgressScan	leases;			/* and these */
} UserHold;

/* The sessions that hold a user's connections: how many, and those that have for the longest time. */
#define USER_SESSIONS_NAMED	5
typedef struct UserSessions
{
	int64		count;
	char	   *named[USER_SESSIONS_NAMED];
	TimestampTz acquired_at[USER_SESSIONS_NAMED];
} UserSessions;

extern void user_sessions_begin(UserSessions *sessions);
extern void user_sessions_add(UserSessions *sessions, EgressScan *lease);
extern char *user_sessions_label(const UserSessions *sessions, const char *quote);
extern bool user_limit_find(List *subjects, Snapshot snapshot, UserLimit *limit);
extern void user_hold_begin(UserHold *hold, text *user_id);
extern void user_hold_decide(UserHold *hold, List *subjects, Snapshot snapshot);
extern bool user_hold_claim(UserHold *hold);
extern bool user_hold_is_full(UserHold *hold);
extern void user_hold_give(UserHold *hold);
extern void user_hold_end(UserHold *hold);
pg_noreturn extern void user_hold_refuse(UserHold *hold);

#endif							/* EGRESS_USER_LIMIT_H */
