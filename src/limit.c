/*
 * limit.c -- the connection limit: taking a connection of a credential, and finding out that it has none
 *
 * A credential with a limit has so many connections; a session that has one holds a lease. So has a user with a limit, over
 * all credentials (user_limit.c). Both limits are exact, and nobody waits for another session's open transaction.
 * doc/limit.md has the whole argument, and test/model goes through its steps in every interleaving; here they are in short.
 * How slots are looked at is in slots.c.
 *
 * A lease is a row that is inserted here, deleted in lease.c, and never updated. A look at leases is an index scan with a
 * dirty snapshot: what open transactions have taken or given back is held, at every isolation level. A row that is not
 * updated has one entry in the index as long as it is held, so a look misses none that had its entry when the look began.
 * Whoever inserts one holds a short lock (lock.c) until the entry is there. Nothing but the row lives to commit, and a
 * rollback of any kind takes it away.
 *
 * Beside others: lease_beside_others()
 * ------------------------------------
 *	B1. Take LOCK_CREDENTIAL, shared. The caller holds the locks of session and gateway, and the user's.
 *	B2. Read the credential, with a new snapshot: L is its limit. Go on if it is enabled, and nobody is changing or deleting
 *		it, nor has this transaction itself. Where it may be at each gateway once, try LOCK_PLACE, and go on if no lease is held
 *		at the place (once.c).
 *	B3. Go on if no lease is held outside 1..L, that is above L or without a slot (slots_any_outside()).
 *	B4. Claim a slot in 1..L (slot_claim()): try its LOCK_SLOT; then look whether it is held, and if so, try another.
 *	B5. Insert the row, and then its index entries. Give the locks back.
 * Without a limit there is no slot, and B3 and B4 fall away. The moment at which the connection was free is B5. L stays until
 * then: whoever changes it takes LOCK_CREDENTIAL for a moment when the new row is written (pool_insert()), and commits later.
 * That nothing came of it does not mean that the credential is full: the acquire then goes alone. In both ways, when there is
 * a slot, the caller is asked whether the credential can be used at all (EgressLimitUsable); if not, nothing is taken.
 *
 * Alone: lease_alone()
 * --------------------
 *	A1. Take LOCK_CREDENTIAL, exclusive: nobody is at B1 to B5, nor here.
 *	A2. Read the credential, with a new snapshot.
 *	A3. Look at the place. Is a lease held outside 1..L? Then count what is held; if that is L or more, it is full. Otherwise
 *		find a slot in 1..L that is not held (slots_find()).
 *	A4. If it is full, or all leases at the place have expired, end so many expired leases as have to end, if there are so
 *		many (end_expired()). Where other transactions are ending some, see find_beside_enders().
 *	A5. If there is a slot: has a transaction that committed since A2 changed the credential? Then go back to A2.
 *	A6. Remove from the slot what has cooled down there (slots_clear()), insert the row, and give the lock back.
 * The moment is A5. What has cooled down goes after it: what was over by the old cool_down may not be by the new.
 *
 * The foreign keys' own checks are not run for a lease. They lock both rows FOR KEY SHARE, which waits for whoever renames the
 * gateway, or deletes one of the two, in an open transaction, and makes a hot credential's row carry the locks of all its
 * leases' transactions. Instead an acquire looks for the mark of a deleter (scan_row_ends()), and a deleter for leases
 * (integrity.c), both under the short lock.
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
 * ----------------------------------------------
 * An acquire passes over a credential that was full when it took its snapshot, and takes no lock for that. It is certain when
 * each of the slots 1..L has a lease that is still held, and that was inserted by a transaction which the snapshot has as
 * committed: all these leases were held together at the snapshot. A lease whose transaction is open, or committed since,
 * proves nothing: while it came, another may have gone. Then, and when a lease has expired, the answer is no, and limit_take()
 * decides. So it is when a transaction that was ending one of the leases has ended between the look at the leases and that at
 * their ends: the lease may have been over, and its end is gone.
 * What an open transaction ends, and what the caller's own has taken, is held, but may change without a word, by a commit or a
 * rollback: EgressLimitSeen says so. pool.c remembers only what is certain for everybody.
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
limit_open(EgressLimitSearch *search, EgressScan *credentials, EgressLimitUsable usable, void *arg)
{
	search->credentials = credentials;
	search->usable = usable;
	search->arg = arg;
	slots_open(&search->slots, INDEX_LEASE_SLOT);
	once_begin(&search->once);
}

/* limit_close -- close what limit_open() opened */
void
limit_close(EgressLimitSearch *search)
{
	once_end(&search->once);
	slots_close(&search->slots);
}

/* slot_unclaim -- let others take a slot again, which mostly has a lease now */
static void
slot_unclaim(int64 credential_id, int32 slot)
{
	lock_give_part(LOCK_SLOT, credential_id, slot, ExclusiveLock);
}

/*
 * slot_claim -- a free slot in 1..limit that nobody else takes before slot_unclaim(), SLOT_NONE when none is found
 *
 * Before: the caller holds the credential's lock, shared. After: the slot's lock is held. Others may be taking other
 * slots at the same time, so that none is found does not mean that the credential is full.
 */
static int32
slot_claim(EgressLimitSearch *search, int64 credential_id, int32 limit)
{
	int32		slot = limit == 0 ? SLOT_NONE : slots_random(limit);

	for (int tries = 0; slot != SLOT_NONE && tries < CLAIM_TRIES; tries++)
	{
		int32		wanted = slot;

		if (!lock_try_part(LOCK_SLOT, credential_id, wanted, ExclusiveLock))
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
start_credential(EgressLimitSearch *search, int64 credential_id)
{
	search->slots.credential_id = credential_id;
	search->slots.cool_down = lease_cool_down(search->credentials);
	slots_begin(&search->slots);
}

/* is_usable -- can the credential that is the current row be used? After: search->unusable says so, too */
static bool
is_usable(EgressLimitSearch *search)
{
	search->unusable = !search->usable(search->arg);
	return !search->unusable;
}

/* insert_lease -- insert the row of the lease; slot SLOT_NONE for a credential without a limit */
static void
insert_lease(EgressLimitSearch *search, int64 credential_id, int32 slot)
{
	EgressLimitLease *lease = search->lease;
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
	scan_insert_row(search->slots.all.table, shape_columns(TABLE_LEASE), values, nulls);
}

/*
 * lease_in_slot -- lease a connection of the credential that is the current row, if there is a slot; returns whether it did
 *
 * Before: the caller holds the credential's lock, shared, and its lock on the place where that matters.
 */
static bool
lease_in_slot(EgressLimitSearch *search, int64 credential_id)
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
lease_in_place(EgressLimitSearch *search, int64 credential_id)
{
	int64		gateway_id = search->lease->gateway_id;
	EgressOnceState state;
	bool		leased;

	if (!lock_try_part(LOCK_PLACE, credential_id, gateway_id, ExclusiveLock))
		return false;
	state = once_look(&search->once, credential_id, gateway_id, search->slots.cool_down);
	search->at_gateway = state == ONCE_TAKEN;
	leased = state == ONCE_FREE && lease_in_slot(search, credential_id);
	lock_give_part(LOCK_PLACE, credential_id, gateway_id, ExclusiveLock);
	return leased;
}

/*
 * lease_beside_others -- lease a connection of a credential while others may do the same
 *
 * Returns whether it did. That it did not says nothing about the credential, unless search->unusable or at_gateway is set.
 */
static bool
lease_beside_others(EgressLimitSearch *search, int64 credential_id)
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
end_expired(EgressLimitSearch *search, int64 credential_id, int64 at_gateway, int64 in_all)
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
slot_above(EgressLimitSearch *search, int32 limit)
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
find_after_ends(EgressLimitSearch *search, int32 limit, int32 *slot)
{
	*slot = slots_find(&search->slots, limit);
	if (*slot == SLOT_NONE)
		*slot = slot_above(search, limit);
	return *slot != SLOT_NONE;
}

/* find_beside_enders -- slot_alone() where the credential is full, and some of its leases are being ended by other transactions */
static bool
find_beside_enders(EgressLimitSearch *search, int64 credential_id, int32 limit, int64 at_gateway, int64 excess, int32 *slot)
{
	int64		left = excess - slots_over(&search->slots, excess);

	if (at_gateway > 0 || left > 0)
		return end_expired(search, credential_id, at_gateway, left) && find_after_ends(search, limit, slot);
	*slot = slots_above(&search->slots, limit);
	return *slot != SLOT_NONE;
}

/* find_alone -- slot_alone(); it may have to be asked again, when search->slots.ending */
static bool
find_alone(EgressLimitSearch *search, int64 credential_id, int32 limit, int32 *slot)
{
	EgressOnceState place = ONCE_FREE;
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
slot_alone(EgressLimitSearch *search, int64 credential_id, int32 *slot)
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
static EgressLimitOutcome
lease_alone(EgressLimitSearch *search, int64 credential_id)
{
	EgressScan *credential = search->credentials;
	EgressLimitOutcome outcome = LIMIT_GONE;
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
EgressLimitOutcome
limit_take(EgressLimitSearch *search, int64 credential_id, EgressLimitLease *lease)
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
limit_look_open(EgressLimitLook *look)
{
	scan_open_entries(&look->leases, INDEX_LEASE_SLOT);
	scan_open_entries(&look->expiries, INDEX_LEASE_EXPIRY_CREDENTIAL);
}

/* limit_look_close -- close what limit_look_open() opened */
void
limit_look_close(EgressLimitLook *look)
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
limit_look_begin(EgressLimitLook *look, Snapshot snapshot, int64 last_id)
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
was_held(EgressLimitLook *look, const Interval *cool_down, EgressLimitSeen *seen)
{
	EgressScan *leases = &look->leases;
	bool		cooling = lease_entry_is_cooling(leases);
	TransactionId inserter;

	if (!cooling && scan_page_is_all_visible(leases))
		return true;
	if (!scan_visit(leases) || TransactionIdIsValid(leases->dirty.xmin))
		return false;
	inserter = scan_row_inserter(leases);
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
counts(EgressLimitLook *look, EgressLimitSeen *seen)
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
earliest_end(EgressLimitLook *look, int64 credential_id, EgressLimitSeen *seen)
{
	EgressScan *expiries = &look->expiries;
	TimestampTz end = DT_NOEND;

	for (bool more = scan_seek(expiries, credential_id, look->last_id, SnapshotAny); more; more = scan_seek_next(expiries))
	{
		/* an entry is of all the versions of a row that was updated in its place */
		do
		{
			if (scan_visit(expiries) && counts(look, seen))
				end = Min(end, scan_timestamp(expiries, Anum_egress_lease_expiry_expires_at));
		} while (scan_visit_has_more(expiries));
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
EgressLimitSeen
limit_look(EgressLimitLook *look, int64 credential_id, int32 limit, const Interval *cool_down, bool patient, bool count,
		   TimestampTz *until)
{
	EgressScan *leases = &look->leases;
	EgressLimitSeen seen = LIMIT_SEEN_FULL;
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
