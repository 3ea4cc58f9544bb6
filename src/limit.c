/*
 * limit.c -- the connection limit: taking a connection of a credential, and finding out that it has none
 *
 * A credential with a limit has so many connections; a session that has one holds a lease. So has a user with a limit, over all
 * credentials (user_limit.c). This is the whole argument why both hold, whatever other sessions and their transactions do; how slots
 * are looked at is in slots.c. test/model goes through its steps in every interleaving.
 *
 * What is promised
 * ----------------
 * Exact: let each open transaction end in the way that leaves the most leases. Then whoever gets a connection gets it
 * at a moment, between call and answer, at which the credential's leases, with the new one, are not above the limit:
 * the one that is committed at that moment, or that the acquire's own transaction has set. So who begins after a limit
 * was committed goes by it, and one below what is in use lets nobody in until enough leases have ended.
 * Nobody waits for another session's open transaction: what that may still take or keep counts as held.
 * Nothing leaks: a connection is taken as long as the row of its lease is there, and nothing else has to be undone.
 *
 * The row of a lease
 * ------------------
 * It is inserted here, deleted in lease.c, and never updated. Its slot is a number in 1..L for the limit L, or NULL if
 * there was none. It is, one after the other,
 *	- inserted by an open transaction, which may commit: held;
 *	- committed: held;
 *	- deleted by an open transaction, which may roll back: held;
 *	- gone, since the inserter rolled back or the deleter committed. What is gone does not come back.
 * A dirty snapshot sees exactly what is held (HeapTupleSatisfiesDirty(); unique indexes look so, too). It is about now:
 * the age of the caller's snapshot and the isolation level do not matter.
 *
 * A look misses no row
 * --------------------
 * A look is a scan of the index (credential, slot) with a dirty snapshot. Such a scan can miss a row that is updated
 * meanwhile: the new version's entry comes where the scan has been, and the old version is gone when the scan gets
 * there. But a lease has one version, and one entry in the index as long as it is held. So what had its entry when the
 * look began, and is held when the look ends, is seen; and what the look found gone stays gone. Only a row that has no
 * entry yet can be missed, for the row is inserted first. Whoever is at that point holds the slot's lock or, alone, the
 * credential's: nobody wants the same slot meanwhile, nobody counts.
 *
 * A limit stays while somebody holds the credential's lock
 * --------------------------------------------------------
 * Whoever changes a credential writes its row, then takes LOCK_CREDENTIAL, exclusive, and gives it back at once; and
 * commits later. PostgreSQL calls for that: it inserts the new version into the index egress_credential_pool, whoever
 * writes it, and the index's access method takes the lock (pool_index.c). So whoever holds the lock, and sees that nobody
 * has begun to change the row (scan_row_is_changing()), has the credential as it is until he gives the lock back: who
 * begins later cannot commit before.
 *
 * Beside others: lease_beside_others()
 * ------------------------------------
 *	1. Take LOCK_CREDENTIAL, shared. (It is one of the short locks of lock.c. The caller holds those of session and
 *	   gateway.)
 *	2. Read the credential, with a new snapshot: L is its limit. Go on if it is enabled, and nobody is changing or
 *	   deleting it, nor has this transaction itself.
 *	3. Is a lease held outside 1..L, that is above L or without a slot (slots_any_outside())? Then go no further.
 *	4. Claim a slot in 1..L (slot_claim()): try its LOCK_SLOT; then look whether it is held, and if so, try another.
 *	5. Insert the row with that slot, and then its index entries. Give back LOCK_SLOT, then LOCK_CREDENTIAL.
 * Without a limit there is no slot, and 3 and 4 fall away. Between 2 and 3 is a look at the gateway, see below. That nothing
 * came of it does not mean that the credential is full: the acquire then goes alone. In both ways, when there is a slot, the
 * caller is asked whether the credential can be used at all (LimitUsable); if not, nothing is taken.
 *
 * The moment is 5. L is the limit, by 2. Within 1..L there are at most L leases, as no two take the same slot: the second
 * has LOCK_SLOT only when the first has given it back, with his entry there. And none is held outside 1..L: none was at 3,
 * and whoever inserts one goes by another limit. He has not read it beside us, where all read L; and who goes alone has
 * the lock before us, so that his lease was there at 3, or after us.
 *
 * Alone: lease_alone()
 * --------------------
 *	1. Take LOCK_CREDENTIAL, exclusive: nobody is at 2 to 5 above, nor here.
 *	2. Read the credential, with a new snapshot.
 *	3. Is a lease held outside 1..L? Then count what is held; if that is L or more, it is full. Otherwise find a
 *	   slot in 1..L that is not held: there is one if fewer than L leases are (slots_find()).
 *	4. If it is full, but so many leases have expired as have to end for one to be free, end them (lease.c), and find
 *	   the slot then. If it is rolled back, so is its own lease. If there are not so many because other transactions are ending
 *	   them, see below.
 *	5. If there is a slot: has a transaction that committed since 2 changed the credential? Then go back to 2.
 *	6. Insert the row with that slot. Give the lock back.
 * The moment is 5: L is the limit, and the slot is free, as nobody else inserts. Without 5, the limit could be lowered
 * between 2 and 3, and then a lease end: a slot is found, and at no moment was a connection free.
 *
 * At each gateway once
 * --------------------
 * A credential may be one that is at each gateway once at most (once_per_gateway), with a limit or without. Then there is one more
 * thing to be free: the place, which is the credential at the gateway. It is free if no lease is held there (once.c), and everything
 * that is said of a slot holds for it.
 *	- Beside others: try LOCK_PLACE, between 2 and 3, and look; give it back after 5. A second one who wants the place has the lock
 *	  only when the first one's lease has its entry there. If a lease is held, which has not expired, the answer is that: no need
 *	  to go alone.
 *	- Alone, nobody else inserts: look at 3. If all that is held there has expired, it ends at 4, and counts among those that have
 *	  to end for the limit.
 * Whether the credential is such a one is read at 2, and stays as the limit does. Who switches it on while it is at a gateway twice
 * lets nobody in there until both have ended.
 *
 * A limit that was lowered below what is in use, or set late
 * ----------------------------------------------------------
 * Whoever changes a limit looks for nothing. Leases outside 1..L are held like others. As long as
 * there is one, all acquires go alone, and all leases are counted together; when the last of them has ended, slots are
 * enough again.
 *
 * A connection that cools down
 * ----------------------------
 * A lease that ends may leave one that nobody holds, with the same slot and gateway (cool() in lease.c): its connection counts as held
 * for the credential's cool_down. The transaction that deletes the one inserts the other, under LOCK_CREDENTIAL, exclusive. So to
 * others one of the two is held at each moment until the cool_down is over; and no look is under way when its entries come, for all
 * looks are under that lock. The cool_down stays as the limit does: the index egress_credential_pool has it.
 * When it is over the row counts for nothing, and needs nobody to end it: whoever looks goes by the clock (row_state()). It stays
 * until somebody takes its slot, which is free like one without a row, and taken before one (cooled_after()). He deletes the row while
 * he holds LOCK_SLOT, or LOCK_CREDENTIAL, exclusive, and has looked again (slots_clear()): UNIQUE would not let his lease beside it.
 * A slot whose row another open transaction has inserted, or deletes, is left alone. Alone, that comes last, when it is known that
 * nobody has changed the cool_down meanwhile: what was over by the old one may not be free by the new.
 * Outside 1..L such rows are in nobody's way, and whoever steps over them beside others removes them. A lease without a slot leaves
 * one with a slot far above the limits (high_slot() in lease.c).
 * An expired lease is held until its cool_down is over; then it is ended as at 4 above.
 *
 * An expired lease that another open transaction ends
 * ---------------------------------------------------
 * A sweep may take long, and what it ends is there until it commits. But whatever becomes of it, such a lease will have
 * expired: it is over (lease_is_over()), and does not count. Its slot is not free, as UNIQUE would wait for that
 * transaction. So whoever is alone, has found that some have to end for one to be free, and met others that end some,
 * looks how many of these are over (slots_over()), and ends expired ones himself if that is not enough and these are; if
 * they are not, and one of those transactions has ended meanwhile, so that what it removes is gone or has come back, he
 * begins again. Where no slot in 1..L is without a row, he takes one above L, which is outside: then all go alone and
 * count, as after a limit was lowered, until his lease has ended. With a cool_down a lease is over when its connection
 * has cooled down; before, it or the row that cool() has put in its place is held.
 * The place at a gateway is no unique key, so there such a lease is stepped over at once.
 *
 * A user's limit
 * --------------
 * A lease has a second slot, of its user, in 1..M for the limit M, or none. UNIQUE (user_id, user_slot) and the look at it are as for
 * a credential, and an acquire goes alone, always: it holds LOCK_USER, exclusive, from reading M to having inserted the lease. Users
 * are many, and have few sessions that begin at once. Those who have no limit hold it shared, so that they do not keep
 * one another out.
 * M may change at any time, by rows that are about many users, and by who is in a group; nobody who changes it takes a lock. So it is
 * read before the look, and after: if it is the same, the moment is that of the second reading, when a connection was free by the limit
 * of then (or all were held, NG008). From there to the insertion nobody else inserts a lease of this user. For a user
 * without a limit the moment is the acquire's snapshot, which was taken under the lock: whoever reads a limit that was committed later
 * looks when that acquire's lease is there.
 * What an open transaction takes or ends is held for the user as for the credential. An expired lease does not count
 * for its user, whatever the credential's cool_down; if it is in the way it is ended, before the credential is tried.
 * What cools down has a user_id of its own, and counts for nobody.
 *
 * Two limits
 * ----------
 * The user's is looked at first, then the credential's, then one row is inserted, with both slots. Until then nothing was written
 * for either: an acquire that is refused, by the first or by the second, leaves nothing to give back, but expired leases that it has
 * ended, which comes undone with its transaction. The user's moment comes before the credential's. Nobody else inserts a lease of the
 * user until this one is there, so the limit that held at the first moment holds at the second.
 * A user at the limit is told so (NG008) also where every credential is full: when the search has come to nothing, the
 * user's leases are looked at for the answer alone.
 *
 * What the same transaction did before
 * ------------------------------------
 * What it has deleted is gone for itself (for a unique index, too) and held to others, who may see two leases of it in
 * one slot. Both are never left: what undoes the deletion, a rollback or one to a savepoint, undoes what came after it.
 * A limit that it has set itself, nobody else sees. So it goes alone (scan_row_is_own()): it counts, and its lease, which may
 * be outside the limit that others read, is there before they look or comes after they are done.
 *
 * No deadlock, no clean-up
 * ------------------------
 * lock.c gives the locks their order: the user's comes before the gateway's and the credential's, and whoever holds one of these never
 * asks for a user's. They are held for microseconds, and whoever holds one waits for no transaction,
 * not in a unique index either: LOCK_SESSION keeps a second lease of the session away, LOCK_SLOT or LOCK_CREDENTIAL one
 * with the same slot, and LOCK_USER one with the same of the user. UNIQUE (egress_credential_id, slot) and (user_id, user_slot) are the
 * last line of defence, which is not meant to be hit.
 * Only the row lives to commit. A rollback of any kind makes it gone and gives back what locks are held; after a crash
 * it is that of a transaction that has not committed; a prepared transaction is an open one, also after a restart.
 *
 * Who deletes the credential or the gateway
 * -----------------------------------------
 * The foreign keys' own checks are not run for a lease. They lock both rows FOR KEY SHARE, which waits for whoever
 * renames or deletes one in an open transaction, and makes a hot credential's row carry the locks of all its leases'
 * transactions. Instead, the deleter marks the row deleted, then takes its lock (LOCK_GATEWAY, LOCK_CREDENTIAL)
 * exclusive and looks for leases (integrity.c). Under the same lock an acquire looks for the mark (scan_row_ends()) and
 * inserts. Whichever is second sees the other.
 *
 * What it costs
 * -------------
 * The index has entries of leases that are gone, until a scan finds them dead to all and marks them, or VACUUM removes
 * them. Each look reads the slot in the entry before it visits the row, so that dead entries of slots that do not
 * matter cost next to nothing. Leases outside sort last: a backward scan sees the highest entry first, and visits no
 * row if that is within 1..L. A gap is sought upwards from a random slot, then from 1: a slot without any entry is free
 * with no row visited, and beginning at random spreads the dead entries over all slots. Rows on pages that are visible
 * to all are held, without a visit.
 *
 * Full for certain, without a lock: limit_look()
 * --------------------------------------------------
 * An acquire tries the credentials of a pool one after the other. If most are full, their locks would be taken for
 * nothing, and everybody who is refused would queue for them. So it looks here first, and passes over a credential that
 * was full when the acquire took its snapshot. That is certain, and no guess, when each of the slots 1..L has a lease
 *	- that is still held, and
 *	- that was inserted by a transaction which the snapshot has as committed.
 * All these leases were held together at the snapshot: none has ended since, and none came later. A lease whose
 * transaction is open, or committed since, proves nothing: while it came, another may have gone. Then, and when a lease
 * has expired, the answer is no, and limit_take() decides. So it is when a transaction that was ending one of the leases has
 * ended between the look at the leases and that at their ends: the lease may have been over, and its end is gone.
 * What an open transaction ends, and what the caller's own has taken, is held, but may change without a word, by a commit or a
 * rollback: LimitSeen says so. pool.c remembers only what is certain for everybody.
 * It costs one pass over the index of slots: the credentials are asked about by ascending id, which is the order of the
 * index. Nothing is looked up where the next credential's entries are near.
 */
#include "limit.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "freed.h"
#include "lease.h"
#include "lock.h"
#include "once.h"

/* how many slots slot_claim() tries */
#define CLAIM_TRIES	4

/* what credential_limit() returns when there is none */
#define NO_LIMIT	(-1)

/* where more rows than this, and than are held, were visited for nothing, the entries are dead and the look gives up */
#define DEAD_ROWS	16

/*
 * limit_open -- get ready for limit_take(), before any of the short locks is taken; before: lease_lock_tables()
 *
 * credentials is open, by id. usable is asked with arg.
 */
void
limit_open(LimitSearch *search, EgressScan *credentials, LimitUsable usable, void *arg)
{
	search->credentials = credentials;
	search->usable = usable;
	search->arg = arg;
	slots_open(&search->slots, INDEX_LEASE_SLOT);
	once_begin(&search->once);
}

/* limit_close -- close what limit_open() opened */
void
limit_close(LimitSearch *search)
{
	once_end(&search->once);
	slots_close(&search->slots);
}

/* slot_unclaim -- let others take a slot again, which mostly has a lease now */
static void
slot_unclaim(int64 credential_id, int32 slot)
{
	lock_give(LOCK_SLOT, lock_slot_key(credential_id, slot), ExclusiveLock);
}

/*
 * slot_claim -- a free slot in 1..limit that nobody else takes before slot_unclaim(), SLOT_NONE when none is found
 *
 * Before: the caller holds the credential's lock, shared. After: the slot's lock is held. Others may be taking other
 * slots at the same time, so that none is found does not mean that the credential is full.
 */
static int32
slot_claim(LimitSearch *search, int64 credential_id, int32 limit)
{
	int32		slot = limit == 0 ? SLOT_NONE : slots_random(limit);

	for (int tries = 0; slot != SLOT_NONE && tries < CLAIM_TRIES; tries++)
	{
		int32		wanted = slot;

		if (!lock_try(LOCK_SLOT, lock_slot_key(credential_id, wanted), ExclusiveLock))
		{
			slot = wanted % limit + 1;
			continue;
		}
		slot = slots_gap(&search->slots, wanted, limit);
		if (slot == wanted)
			return slot;
		slot_unclaim(credential_id, wanted);
	}
	return SLOT_NONE;
}

/* credential_limit -- the limit of the credential in a scan's current row; 0 for a negative one, whose CHECK was dropped */
static int32
credential_limit(EgressScan *credential)
{
	if (!scan_bool(credential, Anum_egress_credential_limit_active_connections))
		return NO_LIMIT;
	return Max(DatumGetInt32(scan_value(credential, Anum_egress_credential_active_connection_limit)), 0);
}

/* start_credential -- let the slots that are looked at be those of the credential that is the current row */
static void
start_credential(LimitSearch *search, int64 credential_id)
{
	search->slots.credential_id = credential_id;
	search->slots.cool_down = lease_cool_down(search->credentials);
	slots_begin(&search->slots);
}

/* is_usable -- can the credential that is the current row be used? After: search->unusable says so, too */
static bool
is_usable(LimitSearch *search)
{
	search->unusable = !search->usable(search->arg);
	return !search->unusable;
}

/* insert_lease -- insert the row of the lease; slot SLOT_NONE for a credential without a limit */
static void
insert_lease(LimitSearch *search, int64 credential_id, int32 slot)
{
	LimitLease *lease = search->lease;
	Datum		values[Natts_egress_lease];
	bool		nulls[Natts_egress_lease] = {false};

	lease->acquired_at = GetCurrentTimestamp();

	values[Anum_egress_lease_session_id - 1] = PointerGetDatum(lease->session_id);
	values[Anum_egress_lease_egress_credential_id - 1] = Int64GetDatum(credential_id);
	values[Anum_egress_lease_egress_gateway_id - 1] = Int64GetDatum(lease->gateway_id);
	values[Anum_egress_lease_user_id - 1] = PointerGetDatum(lease->user_id);
	values[Anum_egress_lease_workspace_id - 1] = PointerGetDatum(lease->workspace_id);
	nulls[Anum_egress_lease_workspace_id - 1] = lease->workspace_id == NULL;
	values[Anum_egress_lease_acquired_at - 1] = TimestampTzGetDatum(lease->acquired_at);
	values[Anum_egress_lease_slot - 1] = Int32GetDatum(slot);
	nulls[Anum_egress_lease_slot - 1] = slot == SLOT_NONE;
	values[Anum_egress_lease_cooling - 1] = BoolGetDatum(false);
	values[Anum_egress_lease_user_slot - 1] = Int32GetDatum(lease->user_slot);
	nulls[Anum_egress_lease_user_slot - 1] = lease->user_slot == SLOT_NONE;
	insert_row(search->slots.all.table, shape_columns(TABLE_LEASE), values, nulls);
}

/*
 * lease_in_slot -- lease a connection of the credential that is the current row, if there is a slot; returns whether it did
 *
 * Before: the caller holds the credential's lock, shared, and its lock on the place where that matters.
 */
static bool
lease_in_slot(LimitSearch *search, int64 credential_id)
{
	int32		limit = credential_limit(search->credentials);
	int32		slot = SLOT_NONE;
	bool		leased = false;

	if (limit == NO_LIMIT)
		leased = is_usable(search);
	else if (!slots_any_outside(&search->slots, limit, true))
	{
		slot = slot_claim(search, credential_id, limit);
		leased = slot != SLOT_NONE && is_usable(search) && slots_clear(&search->slots, slot);
	}
	if (leased)
		insert_lease(search, credential_id, slot);
	if (slot != SLOT_NONE)
		slot_unclaim(credential_id, slot);
	return leased;
}

/* lease_in_place -- the same for a credential that may be at each gateway once */
static bool
lease_in_place(LimitSearch *search, int64 credential_id)
{
	int64		gateway_id = search->lease->gateway_id;
	int64		key = lock_place_key(credential_id, gateway_id);
	OnceState	state;
	bool		leased;

	if (!lock_try(LOCK_PLACE, key, ExclusiveLock))
		return false;
	state = once_look(&search->once, credential_id, gateway_id, search->slots.cool_down);
	search->at_gateway = state == ONCE_TAKEN;
	leased = state == ONCE_FREE && lease_in_slot(search, credential_id);
	lock_give(LOCK_PLACE, key, ExclusiveLock);
	return leased;
}

/*
 * lease_beside_others -- lease a connection of a credential while others may do the same
 *
 * Returns whether it did. That it did not says nothing about the credential, unless search->unusable or at_gateway is set.
 */
static bool
lease_beside_others(LimitSearch *search, int64 credential_id)
{
	EgressScan *credential = search->credentials;
	Snapshot	snapshot;
	bool		leased = false;

	/* in tables of before, a change of a limit does not wait for this lock */
	if (!freed_is_told())
		return false;

	lock_take(LOCK_CREDENTIAL, credential_id, ShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (scan_find_id(credential, credential_id, snapshot) && scan_bool(credential, Anum_egress_credential_enabled) &&
		!scan_row_is_changing(credential) && !scan_row_is_own(credential))
	{
		start_credential(search, credential_id);
		leased = once_applies(credential) ?
			lease_in_place(search, credential_id) : lease_in_slot(search, credential_id);
	}
	UnregisterSnapshot(snapshot);
	lock_give(LOCK_CREDENTIAL, credential_id, ShareLock);
	return leased;
}

/*
 * end_expired -- end expired leases of a credential: those that are at the gateway, and as many as the limit needs in all
 *
 * Before: the caller holds the credential's lock, exclusive. Ends none if not so many have expired, and none for a credential that is of no
 * use then. Returns whether they have ended; some may have, where another transaction was quicker.
 */
static bool
end_expired(LimitSearch *search, int64 credential_id, int64 at_gateway, int64 in_all)
{
	const Interval *cool_down = search->slots.cool_down;
	EgressScan	expiries;
	int64		ended = 0;
	bool		enough;

	scan_open(&expiries, INDEX_LEASE_EXPIRY_CREDENTIAL, AccessShareLock);
	enough = lease_so_many_expired(&expiries, credential_id, Max(at_gateway, in_all), cool_down) && is_usable(search) &&
		(at_gateway == 0 || once_end_expired(&search->once, credential_id, search->lease->gateway_id, cool_down, &ended)) &&
		(in_all <= ended || lease_end_expired_for(&expiries, credential_id, in_all - ended, cool_down));
	scan_close(&expiries);
	return enough;
}

/* slot_above -- a slot above the limit, if fewer connections are held than that; SLOT_NONE if not */
static int32
slot_above(LimitSearch *search, int32 limit)
{
	int64		excess = slots_excess(&search->slots, limit);

	return slots_over(&search->slots, excess) >= excess ? slots_above(&search->slots, limit) : SLOT_NONE;
}

/*
 * find_after_ends -- a slot, after expired leases have ended
 *
 * Counted anew: what was over may have come back meanwhile, and been ended by this very transaction.
 */
static bool
find_after_ends(LimitSearch *search, int32 limit, int32 *slot)
{
	*slot = slots_find(&search->slots, limit);
	if (*slot == SLOT_NONE)
		*slot = slot_above(search, limit);
	return *slot != SLOT_NONE;
}

/* find_beside_enders -- slot_alone() where the credential is full, and some of its leases are being ended by other transactions */
static bool
find_beside_enders(LimitSearch *search, int64 credential_id, int32 limit, int64 at_gateway, int64 excess, int32 *slot)
{
	int64		left = excess - slots_over(&search->slots, excess);

	if (at_gateway > 0 || left > 0)
		return end_expired(search, credential_id, at_gateway, left) && find_after_ends(search, limit, slot);
	*slot = slots_above(&search->slots, limit);
	return *slot != SLOT_NONE;
}

/* find_alone -- slot_alone(); it may have to be asked again, when search->slots.ending */
static bool
find_alone(LimitSearch *search, int64 credential_id, int32 limit, int32 *slot)
{
	OnceState	place = ONCE_FREE;
	int64		at_gateway;
	int64		excess;

	if (once_applies(search->credentials))
		place = once_look(&search->once, credential_id, search->lease->gateway_id, search->slots.cool_down);
	search->at_gateway = place == ONCE_TAKEN;
	if (search->at_gateway)
		return false;

	at_gateway = place == ONCE_EXPIRED ? search->once.expired : 0;
	if (limit != NO_LIMIT)
		*slot = slots_find(&search->slots, limit);
	if (limit == NO_LIMIT || *slot != SLOT_NONE)
		return at_gateway == 0 || end_expired(search, credential_id, at_gateway, 0);

	excess = slots_excess(&search->slots, limit);
	/* if it is none any more, a lease has ended between the looks */
	if (end_expired(search, credential_id, at_gateway, excess))
		return find_after_ends(search, limit, slot);
	return search->slots.ending && !search->unusable &&
		find_beside_enders(search, credential_id, limit, at_gateway, excess, slot);
}

/*
 * slot_alone -- a slot of the credential as it is now: SLOT_NONE for one without a limit; false when there is none
 *
 * One that is free, at a place that is, or that the end of expired leases makes so; or one above the limit, where other transactions are
 * ending these. After: search->at_gateway says that the place is not free.
 * Before: the caller holds the credential's lock, exclusive, and it is the current row.
 */
static bool
slot_alone(LimitSearch *search, int64 credential_id, int32 *slot)
{
	int32		limit = credential_limit(search->credentials);

	*slot = SLOT_NONE;
	if (scan_row_ends(search->credentials) || limit == 0)
		return false;
	do
	{
		slots_begin(&search->slots);
		if (find_alone(search, credential_id, limit, slot))
			return true;
		/* what was counted may be gone now, and what was not may have come back, and can be ended then */
	} while (!search->unusable && !search->at_gateway && lease_any_ended(search->slots.enders));
	return false;
}

/* lease_alone -- lease a connection of a credential while nobody else does */
static LimitOutcome
lease_alone(LimitSearch *search, int64 credential_id)
{
	EgressScan *credential = search->credentials;
	LimitOutcome outcome = LIMIT_GONE;
	bool		again = true;

	lock_take(LOCK_CREDENTIAL, credential_id, ExclusiveLock);
	while (again)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

		again = false;
		outcome = LIMIT_GONE;
		search->unusable = false;
		search->at_gateway = false;
		if (scan_find_id(credential, credential_id, snapshot) && scan_bool(credential, Anum_egress_credential_enabled))
		{
			int32		slot;
			bool		found;

			start_credential(search, credential_id);
			found = slot_alone(search, credential_id, &slot) && is_usable(search);
			again = (found || search->unusable) && scan_row_is_replaced(credential);
			found = found && (again || slot == SLOT_NONE ||
							 slots_clear_another(&search->slots, &slot, credential_limit(credential)));
			outcome = found ? LIMIT_TAKEN : search->unusable ? LIMIT_UNUSABLE :
				search->at_gateway ? LIMIT_AT_GATEWAY : LIMIT_FULL;
			if (found && !again)
				insert_lease(search, credential_id, slot);
		}
		UnregisterSnapshot(snapshot);
	}
	lock_give(LOCK_CREDENTIAL, credential_id, ExclusiveLock);
	return outcome;
}

/*
 * limit_take -- take a connection of a credential, if it has one, by inserting a lease
 *
 * Before: limit_open(); the caller holds the locks of the lease's session and gateway. After: if it is LIMIT_TAKEN or
 * LIMIT_UNUSABLE, the credential is the current row of search->credentials; if LIMIT_TAKEN, lease->acquired_at is set.
 */
LimitOutcome
limit_take(LimitSearch *search, int64 credential_id, LimitLease *lease)
{
	search->lease = lease;
	search->unusable = false;
	search->at_gateway = false;
	if (lease_beside_others(search, credential_id))
		return LIMIT_TAKEN;
	return search->unusable ? LIMIT_UNUSABLE : search->at_gateway ? LIMIT_AT_GATEWAY : lease_alone(search, credential_id);
}

/* limit_look_open -- open the indexes, before any of the short locks is taken */
void
limit_look_open(LimitLook *look)
{
	scan_open_entries(&look->leases, INDEX_LEASE_SLOT);
	scan_open_entries(&look->expiries, INDEX_LEASE_EXPIRY_CREDENTIAL);
}

/* limit_look_close -- close what limit_look_open() opened */
void
limit_look_close(LimitLook *look)
{
	scan_close(&look->expiries);
	scan_close(&look->leases);
}

/*
 * limit_look_begin -- say as of when is asked, and the highest id that will be
 *
 * The snapshot must stay registered or active as long as is asked. Ids are asked about in ascending order from here on, and
 * the indexes are read from here on.
 */
void
limit_look_begin(LimitLook *look, Snapshot snapshot, int64 last_id)
{
	look->snapshot = snapshot;
	look->last_id = last_id;
	look->leases.sought = false;
	look->expiries.sought = false;
}

/*
 * was_held -- is the current entry's lease held, and was it at the snapshot?
 *
 * One that this transaction has inserted is held by it. *seen is lowered by what may end without a word, and look->cooled_at by
 * when a connection that cools down is free.
 */
static bool
was_held(LimitLook *look, const Interval *cool_down, LimitSeen *seen)
{
	EgressScan *leases = &look->leases;
	bool		cooling = lease_entry_is_cooling(leases);
	TransactionId inserter;

	if (!cooling && scan_page_is_all_visible(leases))
		return true;
	if (!index_fetch_heap(leases->desc, leases->slot) || TransactionIdIsValid(leases->dirty.xmin))
		return false;
	inserter = HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(leases->slot, false, NULL)->t_data);
	if (TransactionIdIsCurrentTransactionId(inserter))
		*seen = Min(*seen, LIMIT_SEEN_FULL_WITH_OWN);
	else if (XidInMVCCSnapshot(inserter, look->snapshot))
		return false;
	if (cooling && lease_has_cooled(leases, cool_down))
		return false;
	if (cooling)
		look->cooled_at = Min(look->cooled_at,
							  lease_free_at(scan_timestamp(leases, Anum_egress_lease_acquired_at), cool_down));
	if (TransactionIdIsValid(leases->dirty.xmax))
	{
		*seen = LIMIT_SEEN_FULL_ONCE;
		look->enders = lease_note_ender(look->enders, leases->dirty.xmax);
	}
	return true;
}

/*
 * counts -- does the version of an end in the current row count? *seen as for was_held()
 *
 * Unless it never was, or the snapshot has its deletion as committed: one that was replaced later has a successor, whose entry may
 * not have been there yet when the index's page was read.
 */
static bool
counts(LimitLook *look, LimitSeen *seen)
{
	TransactionId inserter;
	TransactionId ender;
	bool		ends = scan_row_version(&look->expiries, &inserter, &ender);

	if (TransactionIdIsCurrentTransactionId(inserter))
		*seen = Min(*seen, LIMIT_SEEN_FULL_WITH_OWN);
	else if (TransactionIdIsInProgress(inserter))
		*seen = LIMIT_SEEN_FULL_ONCE;
	else if (!TransactionIdDidCommit(inserter))
		return false;

	if (!ends)
		return true;
	if (TransactionIdIsCurrentTransactionId(ender))
		*seen = Min(*seen, LIMIT_SEEN_FULL_WITH_OWN);
	else if (TransactionIdIsInProgress(ender))
		*seen = LIMIT_SEEN_FULL_ONCE;
	else
		return XidInMVCCSnapshot(ender, look->snapshot);
	return true;
}

/* earliest_end -- when the first of a credential's leases ends by itself, whatever becomes of its open transactions; *seen likewise */
static TimestampTz
earliest_end(LimitLook *look, int64 credential_id, LimitSeen *seen)
{
	EgressScan *expiries = &look->expiries;
	TimestampTz end = DT_NOEND;

	for (bool more = scan_seek(expiries, credential_id, look->last_id, SnapshotAny); more; more = scan_seek_next(expiries))
	{
		/* an entry is of all the versions of a row that was updated in its place */
		do
		{
			if (index_fetch_heap(expiries->desc, expiries->slot) && counts(look, seen))
				end = Min(end, scan_timestamp(expiries, Anum_egress_lease_expiry_expires_at));
		} while (expiries->desc->xs_heap_continue);
	}
	return end;
}

/*
 * limit_look -- is it certain that a credential was full at the snapshot?
 *
 * Before: limit and cool_down are the credential's at the snapshot. patient: step over as many dead entries as there are. count: also leases
 * outside 1..limit, which takes as long as there are leases. After: until is when the first of the leases ends by itself
 * and has cooled down, unless it is LIMIT_NOT_SEEN_FULL.
 */
LimitSeen
limit_look(LimitLook *look, int64 credential_id, int32 limit, const Interval *cool_down, bool patient, bool count,
		   TimestampTz *until)
{
	EgressScan *leases = &look->leases;
	LimitSeen	seen = LIMIT_SEEN_FULL;
	int64		held = 0;		/* all slots up to this one; or so many leases, if they are counted */
	int64		others = 0;		/* rows that prove nothing */
	TimestampTz now;
	TimestampTz end;

	*until = look->cooled_at = DT_NOEND;
	look->enders = NIL;
	if (limit == 0)
		return LIMIT_SEEN_FULL;

	for (bool more = scan_seek(leases, credential_id, look->last_id, NULL); more && held < limit;
		 more = scan_seek_next(leases))
	{
		int64		slot = leases->entry_nulls[1] ? SLOT_NONE : DatumGetInt32(leases->entry[1]);

		if (!patient && others > DEAD_ROWS + held)
			return LIMIT_NOT_SEEN_FULL;
		/* leases without a slot come last */
		if (!count && (slot == SLOT_NONE || slot > held + 1))
			return LIMIT_NOT_SEEN_FULL;
		if (!count && slot <= held)
			continue;
		if (was_held(look, cool_down, &seen))
			held++;
		else
			others++;
	}
	if (held < limit)
		return LIMIT_NOT_SEEN_FULL;

	end = earliest_end(look, credential_id, &seen);
	if (lease_any_ended(look->enders))
		return LIMIT_NOT_SEEN_FULL;
	*until = Min(look->cooled_at, lease_free_at(end, cool_down));
	now = GetCurrentTimestamp();
	/* what has expired cools down, too */
	if (end <= now)
		look->cooled_at = *until;
	return *until <= now ? LIMIT_NOT_SEEN_FULL : seen;
}
