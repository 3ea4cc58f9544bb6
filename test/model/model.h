/*
 * model.h -- what the protocol (limit.c), the server (server.c), the promises (promises.c) and the search (explore.c) share
 *
 * A state is everything that several transactions can see, and where each of them is. It begins as zeros, and is only
 * copied as a whole, so two states with the same bytes are the same.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

typedef uint8_t byte;

#define PROCS		3			/* connections, each with one transaction at a time */
#define CREDENTIALS	2			/* 1 and 2 */
#define GROUPS		2			/* of credentials, by subject and provider: A and B */
#define GATEWAYS	2			/* 1 and 2; only 1 is ever deleted */
#define USER		3			/* the one with a limit, among the objects; other users have none, ever */
#define LIMITS		3			/* a limit is 0..2, or NO_LIMIT */
#define NO_LIMIT	3
#define ROWS		10			/* of egress_lease, those that somebody may still see */
#define SESSIONS	9			/* 1..8 */
#define DEPTH		12			/* of functions that call each other */

/*
 * A lease's slot is 1..2; up to here if one was above the limit because one within was in the way; of what cools down without a
 * limit, from the next on, so many; the last is NULL, which sorts so.
 */
#define SLOT_ABOVE	4
#define SLOT_HIGH	5
#define SLOTS_HIGH	3
#define SLOT_NONE	8

/* A cool_down: none, or after so many times that time has passed it is over. */
#define COOL_DOWNS	3

/* Who wrote something: nobody, a committed transaction, or an open one of connection p, at level 1 after its savepoint. */
#define NOBODY		0
#define COMMITTED	1
#define STAMP(p, level)	(2 + 2 * (p) + (level))
#define OPEN(stamp)	((stamp) > COMMITTED)
#define OWNER(stamp)	(((stamp) - 2) / 2)
#define LEVEL(stamp)	(((stamp) - 2) % 2)

/* A row of egress_lease with its entries in the indexes, and with the row of egress_lease_expiry of the same session. */
typedef struct Row
{
	byte		credential;
	byte		gateway;
	byte		slot;
	byte		session;		/* 0: that of nobody, whose connection cools down */
	byte		user;			/* it is of the user with a limit */
	byte		user_slot;
	byte		xmin;			/* NOBODY: there is no row */
	byte		xmax;
	byte		taking;			/* its acquire has not returned yet */
	byte		entries;		/* in which indexes it is: ENTRY_ */
	byte		since;			/* the connections whose snapshot does not have its transaction as committed */
	byte		end;			/* END_ of the lease */
	byte		end_xmin;		/* of the row of egress_lease_expiry */
	byte		end_xmax;
	byte		renewed;		/* who renews it */
	byte		renewed_end;	/* END_ then; END_NONE: its row goes */
	byte		renewing;		/* connection + 1 that has seen it live, and is about to renew it */
	byte		over;			/* it has expired for good: it does not count, and must not again */
	byte		cooling;		/* the lease of this row's slot has ended */
	byte		age;			/* how often time has passed since, or since the lease has expired */
	byte		going;			/* connection + 1 whose present statement deletes it, for it was over before */
} Row;

#define ENTRY_SESSION	1
#define ENTRY_SLOT		2
#define ENTRY_GATEWAY	4
#define ENTRY_USER		8

/* the higher, the sooner; time that passes adds one */
#define END_NONE	0
#define END_LATER	1
#define END_AHEAD	2
#define END_PAST	3

/*
 * A row of egress_credential, [0] that of egress_gateway, [USER] what is the user's limit: the committed version, and what an open
 * transaction makes of it.
 */
typedef struct Object
{
	byte		limit;
	byte		gone;			/* deleted, and committed */
	byte		xmax;			/* the transaction that changes or deletes it, at level 0 */
	byte		changed[2];		/* its new limit + 1, by level */
	byte		deleted[2];		/* by level */
	byte		group;			/* of a credential: 0 or 1 */
	byte		moved[2];		/* its new group + 1, by level */
	byte		once;			/* once_per_gateway of a credential */
	byte		switched[2];	/* the new one + 1, by level */
	byte		cool;			/* cool_down of a credential */
	byte		cooled[2];		/* the new one + 1, by level */
} Object;

/*
 * A credential's entry in the pool's index, one for each group that it was in. It belongs to no transaction: no rollback
 * undoes what somebody made of it. The number of a look is here the set of connections that know it: whatever gives the
 * entry another number, or none, takes them out.
 */
typedef struct Entry
{
	byte		state;
	byte		wake;			/* END_ of POOL_FULL: no connection is free before */
	byte		lookers;		/* of POOL_WATCHED: the connections that have its number */
	byte		older;			/* of POOL_FULL: the connections whose snapshot is older than the look's */
} Entry;

#define POOL_OPEN		0
#define POOL_WATCHED	1
#define POOL_FULL		2

/* A lock of lock.c. Waiters queue as in the lock manager: who conflicts with one that waits waits behind it. */
typedef struct Lock
{
	byte		shared;			/* connections that hold it so */
	byte		exclusive;		/* connection + 1 */
	byte		queue[PROCS];	/* connection + 1, with WANTS_EXCLUSIVE */
} Lock;

#define WANTS_EXCLUSIVE	0x80

enum
{
	LOCK_GATEWAY,
	LOCK_CREDENTIAL = 0,		/* + 1, + 2 */
	LOCK_SESSION = CREDENTIALS,	/* + 1.. */
	LOCK_PLACE = LOCK_SESSION + SESSIONS,	/* + GATEWAYS * (credential - 1) + gateway - 1 */
	LOCK_SLOT = LOCK_PLACE + GATEWAYS * CREDENTIALS,	/* + 3 * (credential - 1) + slot */
	LOCK_USER = LOCK_SLOT + 3 * CREDENTIALS,
	LOCKS
};

/* A connection: what its function has in local variables, and what promises.c remembers of it. */
typedef struct Proc
{
	int16_t		pc[DEPTH];		/* where each function goes on; by depth of call */
	byte		at;				/* in the script */
	byte		op;
	byte		arg;
	byte		level;			/* 1 after a savepoint */
	byte		broken;			/* an error has ended the work after the savepoint: only its end is possible */
	byte		killed;
	byte		serial[2];		/* of its transaction, and of the work after the savepoint */
	byte		remembered[CREDENTIALS + 1];	/* full, with its own leases, while it has the number */

	byte		session;
	byte		gateway;
	byte		busy;			/* who is waited for, and which transaction of theirs */
	byte		busy_serial;
	byte		state;
	byte		snapshot[CREDENTIALS + 1];	/* credentials as of the acquire's snapshot: limit + 1, 0 when not there */
	byte		snapshot_once;	/* those of them that are once per gateway */
	byte		snapshot_cool[CREDENTIALS + 1];	/* and their cool_down */
	byte		credential;
	byte		gateway_locked;
	byte		full;
	byte		limit;			/* the credential's, read under its lock */
	byte		once;			/* the same */
	byte		cool;			/* the same */
	byte		place;			/* PLACE_ */
	byte		place_locked;
	byte		expired;		/* leases at the place, which have all expired */
	byte		ended_there;	/* so many were ended there */
	byte		full_of_slots;	/* slot_alone() has found none that is free */
	byte		wanted_ends;	/* so many expired leases are looked for, or to end */
	byte		replaced;		/* a transaction that committed since has changed the credential */
	byte		leased;
	byte		wish;			/* at gateway 1 it wants credential 1, and credential 2 at the other if there is none */
	byte		user_lock;		/* of LOCK_USER that is held: LOCKED_ */
	byte		limited;		/* its user had a limit at the snapshot: the lock is needed, exclusive */
	byte		had_room;		/* it has found that the limit is not reached */
	byte		entered;		/* it holds the locks under which connections are taken */
	byte		of_user;		/* the slots that are looked at are the user's */
	byte		snapshot_limit;	/* of the user */
	byte		user_limit;		/* as it was read first */
	byte		user_slot;		/* the lease's */
	byte		user_room;		/* ROOM_ */
	byte		claims;
	byte		trying;			/* the credential, while leases of the user are ended */
	byte		row;			/* + 1: the lease that it inserts or has looked at; GONE_ROW when that is no more */
	byte		look;			/* the session whose lease is looked at */
	byte		entry;			/* + 1: the row of the present index entry, or GONE_ROW; 0 at the end */
	byte		entry_slot;
	byte		answer;
	byte		slot;
	byte		wanted;
	byte		tries;
	byte		candidate;
	byte		cooled;			/* the slot p->candidate has a row that is over */
	byte		bare;			/* only one without such a row is sought */
	byte		gone;			/* the credential is being deleted, and what cools down with it */
	byte		dated;			/* it asks what was over at this time, by m->clock */
	byte		read_at;
	byte		alone;			/* it has LOCK_CREDENTIAL, exclusive */
	byte		blocked;		/* a row that is over, and that another open transaction removes, was met */
	byte		ended;			/* ENDED_, of the present entry's lease: is it such a one? p->busy ends it */
	byte		ending;			/* it ends a lease, */
	byte		age;			/* and so often has time passed since; */
	byte		cools;			/* the credential's cool_down then; */
	byte		for_free;		/* it is ended only if that is over */
	byte		to;
	byte		count;
	byte		enders[PROCS];	/* the open transactions that remove rows which were met, by connection */
	byte		ender_serials[PROCS];
	byte		counted;		/* the slot that was counted last */
	byte		slot_is_over;	/* a row of it is, and none that was seen is held */
	byte		slot_is_held;	/* one is held */
	byte		open[PROCS];	/* the open transactions that were seen then, by connection */
	byte		open_serials[PROCS];
	byte		found;
	byte		excess;
	byte		snapshot_taken;
	uint16_t	page;			/* index entries that were read and not looked at yet */
	uint16_t	ends;			/* the same of egress_lease_expiry */
	byte		past;			/* where the next page begins */
	byte		last_page;
	uint16_t	new_ends;		/* settle(): as ends, the versions that an open renewal wrote */
	byte		looks_at_ends;	/* the entries in ends and new_ends are of versions, settle()'s */
	byte		wake;			/* END_, the earliest that was seen */
	byte		mine;			/* a lease of its own transaction was counted, or what it made of an end */
	byte		uncertain;		/* another open transaction changes an end */
	byte		older;			/* connections whose snapshot is older */
	byte		full_by_snapshot;	/* credentials that were full when the snapshot was taken */
	byte		changed;		/* credentials that a transaction has changed that committed since the snapshot */
	byte		owes;			/* credentials whose entry is to be made OPEN before this statement is over */
	byte		group;			/* where that is looked for */

	byte		in_use;			/* what this statement deletes was, at a moment */
	uint16_t	was_over;		/* rows whose connection had cooled down, or need not, at a moment of this statement */
	byte		acquiring;
	byte		was_full;		/* credentials that were full at a moment of this acquire */
	byte		was_full_if;	/* the same, if expired leases count */
	byte		touched;		/* meanwhile somebody else was about to do something with an expired lease */
	byte		user_was_full;	/* its user was at the limit at a moment */
	byte		user_was_full_if;	/* the same, if expired leases count */
	byte		user_had_room;	/* was not, at a moment */
	byte		said[2][SESSIONS];	/* by level: what was answered, HAS or HAS_NOT a lease */
} Proc;

/* a row that went while somebody had its index entry, or had looked at it */
#define GONE_ROW	0xFF

#define ENDED_NOT	1			/* it was held when its row was visited */
#define ENDED_OVER	2

#define HAS		1
#define HAS_NOT	2

typedef struct State
{
	Row			rows[ROWS];
	Object		objects[USER + 1];
	Entry		entries[GROUPS][CREDENTIALS + 1];	/* of the pool's index */
	Lock		locks[LOCKS];
	Proc		procs[PROCS];
	byte		committing;		/* connections whose commit is in pg_xact, and not yet for snapshots to see */
	byte		clock;			/* how often time may still pass */
	byte		kills;			/* how many statements may still be cancelled */
	byte		expected[SESSIONS];	/* sessions that have a lease, by what was answered and committed */
	uint32_t	possible;		/* promises.c: which acquires may have got their connection already */
	byte		user_possible;	/* the same, of the user's */
} State;

/* A configuration. */
typedef struct Config
{
	const char *name;
	const char *scripts[PROCS];
	const char *limits[CREDENTIALS];	/* what they may be at first: of 0, 1, 2 and u */
	const char *changes;		/* what they may become */
	int			held;			/* leases of credential 1 at first: up to so many, of the sessions 4 and 5 */
	int			page_size;		/* index entries a page */
	int			clock;
	int			kills;
	bool		deletes;
	bool		pool;			/* the pool is big: its index is used */
	bool		alone;			/* acquires take LOCK_CREDENTIAL alone at once */
	bool		looks_first;	/* they look at a credential before that, not when they have found it full */
	bool		moves;			/* a credential may get another subject */
	const char *once;			/* may once_per_gateway of credential 1 be on? at first: of 0 and 1 */
	const char *cool;			/* cool_down of the credentials at first: of 0 (none), 1 and 2, so often time passes until it is over */
	const char *cools;			/* what it may become */
	int			cool_clock;		/* how often that may be, of a configuration without ends */
	const char *cooling;		/* what the leases at first may be: - a lease, 0..2 cooling down, and time has passed so often since */
	bool		at_both;		/* the lease of session 5 at first may be at gateway 2 */
	const char *ends;			/* of leases at first, and what renewals make of them: of a (ahead), l (later) and - */
	const char *user_limits;	/* what the user's may be at first: of 0, 1, 2 and u; there is one then */
	const char *user_changes;	/* what it may become */
	const char *user_slots;		/* the leases at first: - another user's, or the user's, with slot 1, 2 or none (n) */
	bool		all;			/* only with EGRESS_TEST_ALL */
} Config;

/* what a step ended with */
typedef enum Result
{
	RUNNING,					/* go on with another step */
	BLOCKED,					/* not now */
	DONE,
	ERROR
} Result;

/* the present state, connection and configuration */
extern State *m;
extern Proc *p;
extern int	self;
extern const Config *config;
extern byte fitting[PROCS];		/* the credentials that fit its user */
extern byte group_of[PROCS];	/* in that group */
extern bool is_user[PROCS];		/* whose acquires are the user's with a limit */
extern bool session_shared[SESSIONS];	/* several connections do something with it; if not, its lock is left out */

/* explore.c */
extern int	choose(int n);
extern void say(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void violation(const char *format,...) __attribute__((format(printf, 1, 2)));
extern bool tracing;

/* The mutations of the protocol: the rule taken out. Those with the name of a patch in test/mutants are the same. */
#define MUTANTS(MUTANT) \
	MUTANT(no_credential_lock, "two acquires and a changed limit") \
	MUTANT(no_slot_lock, "three acquires") \
	MUTANT(no_slot_lock_no_constraint, "three acquires") \
	MUTANT(claim_not_looked_at, "two acquires and a release") \
	MUTANT(limit_read_before_the_lock, "two acquires and a changed limit") \
	MUTANT(change_takes_no_lock, "an acquire, a release, a changed limit") \
	MUTANT(change_takes_the_lock_first, "an acquire, a release, a changed limit") \
	MUTANT(change_not_seen_beside_others, "an acquire, a release, a changed limit") \
	MUTANT(open_change_not_seen, "an acquire, a release, a changed limit") \
	MUTANT(outside_not_looked_for, "an acquire, a release, a changed limit") \
	MUTANT(outside_looked_for_before_the_lock, "an acquire, a release, a changed limit") \
	MUTANT(change_not_seen_when_counted, "an acquire, a release, a changed limit") \
	MUTANT(change_seen_before_it_is_visible, "an acquire, a release, a changed limit") \
	MUTANT(leases_outside_not_counted, "an acquire, a release, a changed limit") \
	MUTANT(credential_lock_always_shared, "two acquires and a changed limit") \
	MUTANT(credential_locked_to_commit, "two acquires and a changed limit") \
	MUTANT(busy_credential_is_full, "three acquires") \
	MUTANT(slots_by_latest_snapshot, "three acquires") \
	MUTANT(open_acquire_is_free, "three acquires") \
	MUTANT(open_release_is_free, "two acquires and a release") \
	MUTANT(search_does_not_wrap, "two acquires and a release") \
	MUTANT(full_with_later_leases, "two acquires and a release") \
	MUTANT(full_with_expired_leases, "an expired lease and two who want it") \
	MUTANT(no_session_lock, "one session in two transactions") \
	MUTANT(wait_with_session_lock, "one session in two transactions") \
	MUTANT(own_lease_by_latest_snapshot, "one session in two transactions") \
	MUTANT(being_deleted_is_not_seen, "a credential is deleted") \
	MUTANT(deleter_does_not_look, "a credential is deleted") \
	MUTANT(deleter_looks_at_committed, "a credential is deleted") \
	MUTANT(deleter_without_lock, "a credential is deleted") \
	MUTANT(deleter_shares_the_lock, "a credential is deleted") \
	MUTANT(no_gateway_lock, "a gateway is deleted") \
	MUTANT(deleter_looks_once, "a gateway is deleted, a connection cools down") \
	MUTANT(expired_not_taken_over, "an expired lease and two who want it") \
	MUTANT(takeover_without_session_lock, "an expired lease, a release or a sweep") \
	MUTANT(takeover_waits_for_the_session_lock, "an expired lease, a release or a sweep") \
	MUTANT(takeover_always_enough, "an expired lease, a renewal") \
	MUTANT(one_takeover_above_the_limit, "expired leases, a changed limit") \
	MUTANT(open_renewal_not_seen, "an expired lease, a renewal") \
	MUTANT(open_takeover_is_free, "an expired lease and two who want it") \
	MUTANT(renewal_revives, "an expired lease, a renewal") \
	MUTANT(cool_down_without_lock, "a connection cools down, two acquires") \
	MUTANT(cool_down_shares_the_lock, "a connection cools down, an acquire") \
	MUTANT(new_cool_down_takes_no_lock, "another cool_down, an acquire, a release") \
	MUTANT(cooling_does_not_count, "what has cooled down, an acquire, a release") \
	MUTANT(cooling_is_not_outside, "what has cooled down, an acquire, a release") \
	MUTANT(over_is_no_gap, "what has cooled down, two acquires") \
	MUTANT(over_of_open_transaction_is_a_gap, "what has cooled down, an acquire, a release") \
	MUTANT(over_and_being_deleted_is_a_gap, "a gateway is deleted, what has cooled down") \
	MUTANT(removed_is_full, "a gateway is deleted, what has cooled down") \
	MUTANT(over_is_outside, "what has cooled down, two acquires") \
	MUTANT(over_is_counted, "what has cooled down, two acquires") \
	MUTANT(deleter_steps_over_what_is_over, "a gateway is deleted, what cools down, a release") \
	MUTANT(deleter_leaves_what_is_over, "a gateway is deleted, what has cooled down") \
	MUTANT(deleter_takes_what_cools_down, "a gateway is deleted, what has cooled down") \
	MUTANT(deleter_leaves_what_cools_down, "a credential is deleted, what cools down") \
	MUTANT(deleter_removes_without_lock, "a gateway is deleted, what cools down, a release") \
	MUTANT(full_until_nothing_cools_down, "a pool, a menu, what cools down") \
	MUTANT(over_by_the_old_cool_down, "another cool_down, a release") \
	MUTANT(counted_once, "what has cooled down, an acquire, a release") \
	MUTANT(counted_with_its_lease, "what has cooled down, an acquire, a release") \
	MUTANT(over_is_deleted_alone_outside, "another cool_down, an acquire, a release") \
	MUTANT(over_deleted_before_the_change_is_seen, "another cool_down, an acquire, a release") \
	MUTANT(over_stays, "what has cooled down, two acquires") \
	MUTANT(over_not_deleted_is_free, "a gateway is deleted, what has cooled down") \
	MUTANT(taker_waits, "what has cooled down, two acquires") \
	MUTANT(over_keeps_the_place, "a place, what has cooled down") \
	MUTANT(cooling_leaves_the_place, "a place that cools down") \
	MUTANT(full_with_what_is_over, "what has cooled down, two acquires") \
	MUTANT(ended_by_the_old_cool_down, "an expired lease, another cool_down") \
	MUTANT(expired_is_free_at_once, "an expired lease cools down, two who want it") \
	MUTANT(swept_does_not_cool_down, "an expired lease cools down, a release or a sweep") \
	MUTANT(ended_is_held, "an expired lease that stays ended, an acquire") \
	MUTANT(deleted_end_is_past, "an expired lease that stays ended, an acquire") \
	MUTANT(replaced_end_is_past, "an expired lease that stays ended, an acquire") \
	MUTANT(untouched_end_is_past, "an expired lease that stays ended, a release undone") \
	MUTANT(past_by_a_later_clock, "an expired lease that stays ended, a release undone") \
	MUTANT(open_end_is_past, "an expired lease that stays ended, an acquire") \
	MUTANT(ended_is_not_visited_again, "a place, an expired lease that stays ended") \
	MUTANT(enders_not_asked, "expired leases, one that stays ended") \
	MUTANT(none_has_to_end_is_full, "expired leases, one that stays ended") \
	MUTANT(over_counted_before_the_takeover, "expired leases, one that stays ended") \
	MUTANT(slot_over_with_a_held_row, "an expired lease that stays ended, taken again") \
	MUTANT(cooled_counts_as_over, "what has cooled down, an acquire, a release") \
	MUTANT(ended_is_a_gap, "an expired lease that stays ended, an acquire") \
	MUTANT(none_above_the_limit, "an expired lease that stays ended, an acquire") \
	MUTANT(ended_or_expired, "expired leases, one that stays ended") \
	MUTANT(ended_cools_not_down, "an expired lease that stays ended cools down") \
	MUTANT(ended_after_its_end, "an expired lease that stays ended cools down") \
	MUTANT(full_with_what_was_ended, "an expired lease that stays ended, an acquire") \
	MUTANT(place_seen_with_what_was_ended, "a place, an expired lease that stays ended") \
	MUTANT(ended_keeps_the_place, "a place, an expired lease that stays ended") \
	MUTANT(place_not_looked_at, "a place, two acquires") \
	MUTANT(no_place_lock, "a place, two acquires") \
	MUTANT(place_lock_given_back_before_the_insertion, "a place, two acquires") \
	MUTANT(place_of_any_gateway, "a place, two acquires at two gateways") \
	MUTANT(open_acquire_leaves_the_place, "a place, two acquires") \
	MUTANT(open_release_leaves_the_place, "a place, an acquire and two releases") \
	MUTANT(place_with_later_leases, "a place, two acquires and a switch") \
	MUTANT(place_seen_with_expired_leases, "a place, an expired lease and two who want it") \
	MUTANT(place_not_looked_at_alone, "a place, two acquires and a switch") \
	MUTANT(switch_takes_no_lock, "a place, two acquires and a switch") \
	MUTANT(switch_not_seen_beside_others, "a place, two acquires and a switch") \
	MUTANT(switch_not_seen_alone, "a place, an acquire, a release, a switch") \
	MUTANT(place_not_taken_over, "a place, an expired lease and two who want it") \
	MUTANT(expired_leaves_the_place, "a place, an expired lease, a renewal") \
	MUTANT(came_back_is_not_counted, "a place, expired leases") \
	MUTANT(one_expired_leaves_the_place, "a place, expired leases") \
	MUTANT(no_user_lock, "a user, two acquires") \
	MUTANT(user_lock_always_shared, "a user, two acquires") \
	MUTANT(user_lock_given_back_before_the_insertion, "a user, two acquires") \
	MUTANT(users_entry_not_inserted, "a user, two acquires") \
	MUTANT(unlimited_take_no_user_lock, "a user, two acquires, a changed limit") \
	MUTANT(unlimited_give_the_user_lock_back, "a user, two acquires, a changed limit") \
	MUTANT(user_lock_after_the_snapshot, "a user, two acquires, a changed limit") \
	MUTANT(user_limit_by_the_old_snapshot, "a user, two acquires, a changed limit") \
	MUTANT(user_limit_read_once, "a user, an acquire, a release, a changed limit") \
	MUTANT(users_leases_outside_not_counted, "a user, an acquire, a release, a changed limit") \
	MUTANT(user_not_asked, "a user, every credential is full") \
	MUTANT(user_lock_after_the_gateways, "a user, a gateway is deleted") \
	MUTANT(no_user_lock_at_the_second_gateway, "a user, two gateways") \
	MUTANT(user_not_taken_over, "a user, an expired lease and two who want it") \
	MUTANT(users_expired_are_held_for_the_answer, "a user, an expired lease, no credential") \
	MUTANT(users_ended_is_held, "a user, an expired lease that stays ended") \
	MUTANT(cooling_counts_for_the_user, "a user, a connection cools down") \
	MUTANT(expired_counts_for_the_user_while_it_cools, "a user, an expired lease cools down") \
	MUTANT(ended_for_the_user_does_not_cool_down, "a user, an expired lease cools down") \
	MUTANT(any_look_is_mine, "a pool, two menus and a release") \
	MUTANT(group_read_before_the_end, "a pool, a menu, a release, a move") \
	MUTANT(end_leaves_full, "a pool, an acquire, two releases") \
	MUTANT(end_leaves_watched, "a pool, an acquire, two releases") \
	MUTANT(opened_before_the_end, "a pool, an acquire, two releases") \
	MUTANT(look_not_watched, "a pool, an acquire, two releases") \
	MUTANT(looked_before_watched, "a pool, an acquire, two releases") \
	MUTANT(open_acquire_is_full, "a pool, two acquires") \
	MUTANT(later_acquire_is_full, "a pool, two menus and an acquire") \
	MUTANT(older_menu_sees_full, "a pool, two menus and an acquire") \
	MUTANT(open_end_is_full, "a pool, an acquire, two releases") \
	MUTANT(open_change_is_full, "a pool, an acquire, a changed limit") \
	MUTANT(own_change_is_full, "a pool, an acquire under its own change") \
	MUTANT(replaced_limit_is_full, "a pool, an acquire, a changed limit") \
	MUTANT(change_leaves_full, "a pool, an acquire, a changed limit") \
	MUTANT(opened_before_the_change, "a pool, an acquire, a changed limit") \
	MUTANT(full_for_ever, "a pool, a menu, a renewal") \
	MUTANT(old_end_not_seen, "a pool, a menu, a renewal") \
	MUTANT(new_end_not_seen, "a pool, a menu, a renewal") \
	MUTANT(replaced_end_not_seen, "a pool, a menu, a renewal") \
	MUTANT(own_renewed_end_not_seen, "a pool, a menu after its own renewal") \
	MUTANT(shortened_leaves_full, "a pool, a menu, a renewal") \
	MUTANT(own_leases_are_full, "a pool, own leases") \
	MUTANT(remembered_over_rollback, "a pool, own leases after a savepoint") \
	MUTANT(remembered_over_the_end, "a pool, own leases") \
	MUTANT(remembered_for_ever, "a pool, own leases with an end") \
	MUTANT(remembered_unwatched, "a pool, own leases and a release")

#define MUTANT(name, catcher) name,
enum
{
	NO_MUTANT,
	MUTANTS(MUTANT)
	MUTANT_COUNT
};
#undef MUTANT

extern int	mutant;

/* server.c */
enum
{
	SHARE,
	EXCLUSIVE
};

#define MINE	STAMP(self, p->level)

extern bool request(int id, int mode);
extern int	dequeue(Lock *lock, int i);
extern bool granted(int id);
extern bool try(int id);
extern void release(int id);
extern int	held_lock(int proc);
extern Lock *queued(int proc, int *position);
extern bool is_mine(int stamp);
extern bool is_other(int stamp);
extern byte serial_of(int stamp);
extern bool is_running(int stamp, byte serial);
extern void wait_for(int stamp);
extern void remove_row(int i);
extern bool object_is_there(int id, int proc);
extern void commits(void);
extern void aborts(int level);
extern bool holds_a_lock(int proc);
extern bool waits_for_lock(int proc);
extern bool row_is_held(const Row *row, int proc);
extern int	limit_seen(int credential, int proc);
extern int	group_seen(int credential, int proc);
extern bool once_seen(int credential, int proc);
extern int	cool_seen(int credential, int proc);
extern bool has_cooled_down(const Row *row, int cool);
extern bool is_settled(const Row *row);
extern void pool_forget(void);
extern int	end_named(char name);

/* limit.c */
extern Result step(void);
extern bool in_statement(int proc);
extern bool fits(int proc, int credential);

/* promises.c */
extern void acquire_begins(void);
extern void acquire_refused(void);
extern void user_refused(void);
extern void pool_says_full(void);
extern void pool_remembers_full(void);
extern void menu_begins(void);
extern void menu_says_full(void);
extern void operation_ends(bool well);
extern void connection_goes(int i, int age);
extern void row_goes(int i);
extern void delete_refused(void);
extern void promises_hold(void);
extern void promises_hold_at_the_end(void);
extern int	connections_left(int credential, const byte *gateways, int number, bool of_user);

#endif
