/*
 * user_limit.c -- how many connections a user may have at once, over all providers: egress_user_limit
 *
 * A user's own row counts; without one the largest of the groups that the user is in; else that of everyone; else there is no
 * limit. user_limit_find() is the one place that says so, for an acquire, the menu and the explanations.
 *
 * For an acquire the limit is exact, and nobody waits for an open transaction: by slots, as a credential's limit. doc/limit.md
 * has the whole argument, and how the two go together. An acquire has a hold on its user's limit:
 *	1. user_limit_hold_begin(): LOCK_USER, shared, before its snapshot is taken.
 *	2. user_limit_hold_decide(): is there a limit, by that snapshot? If not, the lock is kept until the lease is there. If so, it is given
 *	   back, and
 *	3. user_limit_hold_claim(): taken again, exclusive, before the gateway's; the limit is read, a free slot of the user's is found, and
 *	   the limit read once more. If it is another one by now, that is done again. The lock is kept until the lease is there, or the
 *	   search for a credential has come to nothing.
 * Whoever changes a limit, or who is in a group, takes no lock: one row may be about all users that there are.
 */
#include "user_limit.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "lease.h"
#include "lock.h"
#include "value.h"

/* so often user_limit_hold_claim() tries to end the user's expired leases, where others are about to do something with them */
#define CLAIM_TRIES	4

/* What the user's leases leave. */
typedef enum UserRoom
{
	ROOM_FREE,					/* a connection; or there is no limit */
	ROOM_EXPIRED,				/* one, if leases that have expired are ended */
	ROOM_NONE
} UserRoom;

/* user_limit_sessions_begin -- there are none yet */
void
user_limit_sessions_begin(EgressUserSessions *sessions)
{
	sessions->count = 0;
}

/* user_limit_sessions_add -- one more, whose lease is in a scan's current row; those that are named are the oldest, in that order */
void
user_limit_sessions_add(EgressUserSessions *sessions, EgressScan *lease)
{
	TimestampTz acquired_at = scan_timestamp(lease, Anum_egress_lease_acquired_at);
	int			place = Min(sessions->count, USER_SESSIONS_NAMED);

	sessions->count++;
	while (place > 0 && acquired_at < sessions->acquired_at[place - 1])
	{
		place--;
		if (place + 1 < USER_SESSIONS_NAMED)
		{
			sessions->named[place + 1] = sessions->named[place];
			sessions->acquired_at[place + 1] = sessions->acquired_at[place];
		}
	}
	if (place == USER_SESSIONS_NAMED)
		return;
	sessions->named[place] = scan_name(lease, Anum_egress_lease_session_id);
	sessions->acquired_at[place] = acquired_at;
}

/* user_limit_sessions_label -- the sessions, of which there is one, as a sentence names them; quote stands around each id */
char *
user_limit_sessions_label(const EgressUserSessions *sessions, const char *quote)
{
	StringInfoData label;

	initStringInfo(&label);
	appendStringInfoString(&label, sessions->count == 1 ? "session " : "sessions ");
	for (int i = 0; i < Min(sessions->count, USER_SESSIONS_NAMED); i++)
		appendStringInfo(&label, "%s%s%s%s", i == 0 ? "" : ", ", quote, sessions->named[i], quote);
	if (sessions->count > USER_SESSIONS_NAMED)
		appendStringInfo(&label, " and " INT64_FORMAT " more", sessions->count - USER_SESSIONS_NAMED);
	return label.data;
}

/* limit_keys -- what the rows of egress_user_limit that are about one of the subjects have in INDEX_USER_LIMIT_SUBJECT */
static ArrayType *
limit_keys(List *subjects)
{
	Datum	   *keys = palloc(list_length(subjects) * sizeof(Datum));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, subjects)
	{
		const EgressSubject *subject = lfirst(cell);

		if (subject->type != SUBJECT_WORKSPACE)
			keys[count++] = PointerGetDatum(subject->id != NULL ? subject->id : cstring_to_text(""));
	}
	return construct_array(keys, count, TEXTOID, -1, false, TYPALIGN_INT);
}

/* limited_subject -- the one of the subjects that a row is about; NULL when it is about none of them, but has the id of one */
static const EgressSubject *
limited_subject(EgressScan *limit, List *subjects)
{
	Oid			type = DatumGetObjectId(scan_value(limit, Anum_egress_user_limit_subject_type));
	text	   *id = scan_text(limit, Anum_egress_user_limit_subject_id);
	ListCell   *cell;

	foreach(cell, subjects)
	{
		const EgressSubject *subject = lfirst(cell);

		if (type == DatumGetObjectId(catalog_subject_type(subject->type)) && value_same_text(id, subject->id))
			return subject;
	}
	return NULL;
}

/* counts_before -- does a limit count rather than another one of the same user? */
static bool
counts_before(const EgressUserLimit *limit, const EgressUserLimit *other)
{
	if (limit->subject->type != other->subject->type)
		return limit->subject->type < other->subject->type;
	return limit->connections > other->connections;
}

/* user_limit_find -- the limit of a user, whose subjects these are, by a snapshot; false when there is none */
bool
user_limit_find(List *subjects, Snapshot snapshot, EgressUserLimit *limit)
{
	EgressScan	limits;
	bool		found = false;

	if (!catalog_has_table(TABLE_USER_LIMIT))
		return false;
	scan_open(&limits, INDEX_USER_LIMIT_SUBJECT, AccessShareLock);
	scan_key_any_text(&limits, limit_keys(subjects));
	scan_start(&limits, snapshot);
	while (scan_next(&limits))
	{
		EgressUserLimit row;

		row.subject = limited_subject(&limits, subjects);
		if (row.subject == NULL)
			continue;
		/* 0 for a negative one, whose CHECK was dropped */
		row.connections = Max(DatumGetInt32(scan_value(&limits, Anum_egress_user_limit_active_connection_limit)), 0);
		if (!found || counts_before(&row, limit))
			*limit = row;
		found = true;
	}
	scan_close(&limits);
	return found;
}

/* take -- take LOCK_USER */
static void
take(EgressUserHold *hold, LOCKMODE mode)
{
	lock_take_text(LOCK_USER, hold->user_id, mode);
	hold->lock = mode;
}

/* give -- give it back, if it is held */
static void
give(EgressUserHold *hold)
{
	if (hold->lock != NoLock)
		lock_give_text(LOCK_USER, hold->user_id, hold->lock);
	hold->lock = NoLock;
}

/*
 * user_limit_hold_begin -- keep others from taking connections of a user under a limit, before the snapshot is taken by which it is decided
 *
 * Before: lease_lock_tables(), access_lock_tables(); of the short locks, the caller holds the session's at most.
 */
void
user_limit_hold_begin(EgressUserHold *hold, text *user_id)
{
	memset(hold, 0, sizeof(EgressUserHold));
	hold->user_id = user_id;
	hold->lock = NoLock;
	hold->slot = SLOT_NONE;
	if (catalog_has_table(TABLE_USER_LIMIT))
		take(hold, ShareLock);
}

/* user_limit_hold_decide -- is there a limit of the user, whose subjects these are? If so, the lock is given back for now */
void
user_limit_hold_decide(EgressUserHold *hold, List *subjects, Snapshot snapshot)
{
	hold->exclusive = user_limit_find(subjects, snapshot, &hold->limit);
	if (hold->exclusive)
		give(hold);
}

/* read_limit -- the user's limit as it is now; false when there is none */
static bool
read_limit(EgressUserHold *hold, EgressUserLimit *limit)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found = user_limit_find(subject_list(hold->user_id, NULL, snapshot), snapshot, limit);

	UnregisterSnapshot(snapshot);
	return found;
}

/* start_leases -- go through the user's leases, dirty */
static void
start_leases(EgressUserHold *hold)
{
	scan_key_text(&hold->leases, hold->user_id);
	scan_start_dirty(&hold->leases);
}

/* next_expired -- the next of them that has expired, while no other open transaction does something with it */
static bool
next_expired(EgressUserHold *hold)
{
	while (scan_next(&hold->leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (!TransactionIdIsValid(hold->leases.dirty.xmin) && !TransactionIdIsValid(hold->leases.dirty.xmax) &&
			lease_has_expired(&hold->slots.ends, &hold->leases, NULL))
			return true;
	}
	return false;
}

/* so_many_expired -- have so many? */
static bool
so_many_expired(EgressUserHold *hold, int64 number)
{
	int64		found = 0;

	start_leases(hold);
	while (found < number && next_expired(hold))
		found++;
	return found >= number;
}

/*
 * end_expired -- end so many of them; fewer, where others are quicker
 *
 * The connection of each may have to cool down, which is the credential's affair.
 */
static void
end_expired(EgressUserHold *hold, int64 number)
{
	start_leases(hold);
	while (number > 0 && next_expired(hold))
		if (lease_end_if_expired(&hold->leases, Anum_egress_lease_session_id))
			number--;
}

/*
 * find_excess -- how many of the user's leases have to end for one to be free
 *
 * Without those that are over, and that other transactions are ending: if none is left, hold->slot is one above the limit.
 */
static int64
find_excess(EgressUserHold *hold, int32 limit)
{
	int64		excess = slots_excess(&hold->slots, limit);

	if (hold->slots.ending)
		excess -= slots_over(&hold->slots, excess);
	if (excess <= 0)
		hold->slot = slots_above(&hold->slots, limit);
	return excess;
}

/*
 * look -- what the user's leases leave, by the limit as it is when that is known
 *
 * Before: the caller holds LOCK_USER, exclusive. After: hold->limited and limit say what it went by, and hold->slot is the one that is
 * free; *excess are how many have to end for one to be.
 */
static UserRoom
look(EgressUserHold *hold, int64 *excess)
{
	UserRoom	room;
	EgressUserLimit after;

	hold->limited = read_limit(hold, &hold->limit);
	for (;;)
	{
		int32		limit;

		CHECK_FOR_INTERRUPTS();
		hold->slot = SLOT_NONE;
		if (!hold->limited)
			return ROOM_FREE;
		limit = hold->limit.connections;
		slots_begin(&hold->slots);
		hold->slot = slots_find(&hold->slots, limit);
		if (hold->slot == SLOT_NONE && limit > 0)
			*excess = find_excess(hold, limit);
		room = hold->slot != SLOT_NONE ? ROOM_FREE :
			limit > 0 && so_many_expired(hold, *excess) ? ROOM_EXPIRED : ROOM_NONE;

		hold->limited = read_limit(hold, &after);
		if (hold->limited)
			hold->limit = after;
		/* what was counted may be gone now, and what was not may have come back, and can be ended then */
		if (hold->limited && after.connections == limit &&
			!(room == ROOM_NONE && lease_any_ended(hold->slots.enders)))
			return room;
	}
}

/* look_alone -- take LOCK_USER, exclusive, and look */
static UserRoom
look_alone(EgressUserHold *hold, int64 *excess)
{
	if (!hold->opened)
	{
		slots_open(&hold->slots, INDEX_LEASE_USER);
		scan_open(&hold->leases, INDEX_LEASE_USER, AccessShareLock);
		hold->slots.user_id = hold->user_id;
		hold->opened = true;
	}
	if (hold->lock == NoLock)
		take(hold, ExclusiveLock);
	return look(hold, excess);
}

/*
 * user_limit_hold_claim -- have a connection of the user's to give: hold->slot, for the lease that is inserted before user_limit_hold_give()
 *
 * Before: user_limit_hold_decide(); of the short locks, the caller holds the session's at most. Returns false when the limit is reached;
 * the lock is kept then, for user_hold_refuse().
 */
bool
user_limit_hold_claim(EgressUserHold *hold)
{
	UserRoom	room = ROOM_FREE;
	int64		excess;

	if (!hold->exclusive)
		return true;
	for (int tries = 0; tries < CLAIM_TRIES && (room = look_alone(hold, &excess)) == ROOM_EXPIRED; tries++)
		end_expired(hold, excess);
	hold->had_room = room == ROOM_FREE;
	return hold->had_room;
}

/* user_limit_hold_is_full -- is the limit reached? For the answer alone; if so, the lock is kept for user_hold_refuse() */
bool
user_limit_hold_is_full(EgressUserHold *hold)
{
	int64		excess;

	if (!hold->exclusive || hold->had_room)
		return false;
	hold->had_room = look_alone(hold, &excess) != ROOM_NONE;
	if (hold->had_room)
		give(hold);
	return !hold->had_room;
}

/* user_limit_hold_give -- the lease is there, or nothing was found for it: let others take connections of the user again */
void
user_limit_hold_give(EgressUserHold *hold)
{
	if (hold->lock == ExclusiveLock)
		give(hold);
}

/* user_limit_hold_end -- give back what is held, and close what was opened */
void
user_limit_hold_end(EgressUserHold *hold)
{
	give(hold);
	if (!hold->opened)
		return;
	scan_close(&hold->leases);
	slots_close(&hold->slots);
	hold->opened = false;
}

/* user_hold_refuse -- raise NG008; before: user_limit_hold_claim() or user_limit_hold_is_full() said that the limit is reached */
void
user_hold_refuse(EgressUserHold *hold)
{
	const char *whose = subject_label(hold->limit.subject, "\"");
	int32		limit = hold->limit.connections;
	EgressUserSessions sessions;

	user_limit_sessions_begin(&sessions);
	start_leases(hold);
	while (scan_next(&hold->leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (!lease_is_over(&hold->slots.ends, &hold->leases, NULL))
			user_limit_sessions_add(&sessions, &hold->leases);
	}

	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_USER_LIMIT),
			 errmsg("user \"%s\" has as many connections as are allowed", text_to_cstring(hold->user_id)),
			 sessions.count == 0 ?
			 errdetail("The limit of %s in egress_user_limit is %d.", whose, limit) :
			 errdetail("The limit of %s in egress_user_limit is %d, and connections are held by %s.", whose, limit,
					   user_limit_sessions_label(&sessions, "\"")),
			 limit == 0 ? errhint("An administrator can raise the limit in egress_user_limit.") :
			 errhint("Try again when enough of these sessions have ended. An administrator can raise the limit in egress_user_limit.")));
}
