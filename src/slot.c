/*
 * slot.c -- the connection limit: finding a free slot of a credential
 *
 * A lease of a credential with the limit L has a slot, a number in 1..L; a lease taken while there was no limit has
 * none (NULL). UNIQUE (egress_credential_id, slot) is the last line of defence; it is not meant to be hit.
 *
 * Whether a slot is held is asked with a dirty snapshot, as a unique index does when a row is inserted: what an open
 * transaction inserted is held, and what an open transaction deleted is still held. Neither the age of the
 * caller's snapshot nor its isolation level matter. Leases may end meanwhile, which at worst hides a slot that became free
 * just now. Lease rows are never updated, so a dirty scan of the index cannot miss one.
 *
 * Many look at once. As long as all leases are within 1..L, nobody has to count: each takes a slot of its own
 * (slot_claim(), the credential's lock held shared, the slot's exclusive), and looks afterwards whether one is outside
 * (slot_any_outside(); acquire.c). Who finds no slot so, or a lease outside, holds the credential's lock exclusive, so
 * that nobody inserts a lease meanwhile, and counts (slot_find()).
 *
 * The index has an entry for every row version, also for leases that ended, until a scan finds them dead to all and
 * marks them, or VACUUM removes them. Each step below looks at the slot in the index entry before it visits
 * the row, so that dead entries of slots that do not matter cost next to nothing:
 *	1. Are there leases without a slot, or above the limit (it was lowered, or set late)? They sort last. A backward
 *	   scan sees the highest entry first; if that is within 1..L, no row is visited.
 *	2. If there are, all leases are counted, up to the limit.
 *	3. A gap in 1..L is sought upwards from a random slot, then from 1. A slot without any entry is free with no row
 *	   visited. Beginning at random spreads the dead entries over all slots.
 * Rows on pages that are visible to all are held, without a visit.
 */
#include "slot.h"

#include "access/itup.h"
#include "common/pg_prng.h"
#include "miscadmin.h"

#include "lock.h"

/* the slot's column in the index (egress_credential_id, slot) */
#define SLOT_COLUMN	2

/* what next_slot() returns at the end; SLOT_NONE for a lease without a slot */
#define SLOT_END	(-1)

/* how many slots slot_claim() tries */
#define CLAIM_TRIES	4

/* slot_open -- open the index for slot_find(); before any of the short locks is taken */
void
slot_open(SlotSearch *search)
{
	scan_open_entries(&search->all, INDEX_LEASE_SLOT);
	scan_open_entries(&search->from, INDEX_LEASE_SLOT);
}

/* slot_close -- close what slot_open() opened */
void
slot_close(SlotSearch *search)
{
	scan_close(&search->all);
	scan_close(&search->from);
}

/* next_slot -- the slot of the next index entry, dead or not; no row is visited */
static int32
next_slot(EgressScan *scan, ScanDirection direction)
{
	Datum		slot;
	bool		isnull;

	CHECK_FOR_INTERRUPTS();
	if (index_getnext_tid(scan->desc, direction) == NULL)
		return SLOT_END;
	slot = index_getattr(scan->desc->xs_itup, SLOT_COLUMN, scan->desc->xs_itupdesc, &isnull);
	return isnull ? SLOT_NONE : DatumGetInt32(slot);
}

/*
 * is_held -- is the current entry's lease held?
 *
 * Visits the row, unless it is on a page that is visible to all, and lets the index know when it is dead to all.
 */
static bool
is_held(EgressScan *scan)
{
	return scan_page_is_all_visible(scan) || index_fetch_heap(scan->desc, scan->slot);
}

/* slot_any_outside -- is a lease held that has no slot, or one above the limit? */
bool
slot_any_outside(SlotSearch *search, int64 credential_id, int32 limit)
{
	int32		slot;

	scan_key_id(&search->all, credential_id);
	scan_start_dirty(&search->all);
	while ((slot = next_slot(&search->all, BackwardScanDirection)) == SLOT_NONE || slot > limit)
		if (is_held(&search->all))
			return true;
	return false;
}

/* count_held -- how many leases are held, counted up to a limit */
static int32
count_held(SlotSearch *search, int64 credential_id, int32 limit)
{
	int32		count = 0;

	scan_key_id(&search->all, credential_id);
	scan_start_dirty(&search->all);
	while (count < limit && next_slot(&search->all, ForwardScanDirection) != SLOT_END)
		if (is_held(&search->all))
			count++;
	return count;
}

/* find_gap -- the first slot from..to that is not held, SLOT_NONE if there is none; before: from <= to, an int32's largest too */
static int32
find_gap(SlotSearch *search, int64 credential_id, int32 from, int32 to)
{
	int32		candidate = from;

	scan_key_id(&search->from, credential_id);
	scan_key_at_least(&search->from, from);
	scan_start_dirty(&search->from);
	for (;;)
	{
		int32		slot = next_slot(&search->from, ForwardScanDirection);

		/* all entries of the candidate have been seen, and none was held */
		if (slot == SLOT_END || slot > candidate)
			return candidate;
		if (slot != candidate || !is_held(&search->from))
			continue;
		if (candidate == to)
			return SLOT_NONE;
		candidate++;
	}
}

/* random_slot -- any of 1..limit */
static int32
random_slot(int32 limit)
{
	return (int32) pg_prng_uint64_range(&pg_global_prng_state, 1, limit);
}

/* gap_around -- the first slot that is not held from start upwards, or from 1; SLOT_NONE if there is none */
static int32
gap_around(SlotSearch *search, int64 credential_id, int32 start, int32 limit)
{
	int32		slot = find_gap(search, credential_id, start, limit);

	if (slot == SLOT_NONE && start > 1)
		slot = find_gap(search, credential_id, 1, start - 1);
	return slot;
}

/*
 * slot_claim -- a free slot in 1..limit that nobody else takes before slot_unclaim(), SLOT_NONE when none is found
 *
 * Before: the caller holds the credential's lock, shared. After: the slot's lock is held. Others may be taking other
 * slots at the same time, so that none is found does not mean that the credential is full.
 */
int32
slot_claim(SlotSearch *search, int64 credential_id, int32 limit)
{
	int32		slot = limit == 0 ? SLOT_NONE : random_slot(limit);

	for (int tries = 0; slot != SLOT_NONE && tries < CLAIM_TRIES; tries++)
	{
		int32		wanted = slot;

		if (!lock_try(LOCK_SLOT, lock_slot_key(credential_id, wanted), ExclusiveLock))
		{
			slot = wanted % limit + 1;
			continue;
		}
		slot = gap_around(search, credential_id, wanted, limit);
		if (slot == wanted)
			return slot;
		slot_unclaim(credential_id, wanted);
	}
	return SLOT_NONE;
}

/* slot_unclaim -- let others take a slot again, which mostly has a lease now */
void
slot_unclaim(int64 credential_id, int32 slot)
{
	lock_give(LOCK_SLOT, lock_slot_key(credential_id, slot), ExclusiveLock);
}

/*
 * slot_find -- a free slot of a credential with a limit, SLOT_NONE when it is full
 *
 * Before: the caller holds the credential's lock, exclusive, and has read the limit under it.
 */
int32
slot_find(SlotSearch *search, int64 credential_id, int32 limit)
{
	if (limit == 0)
		return SLOT_NONE;
	if (slot_any_outside(search, credential_id, limit) && count_held(search, credential_id, limit) >= limit)
		return SLOT_NONE;
	return gap_around(search, credential_id, random_slot(limit), limit);
}

/* slot_excess -- how many leases of a credential, for which slot_find() has found no slot, have to end for one to be free */
int64
slot_excess(SlotSearch *search, int64 credential_id, int32 limit)
{
	if (!slot_any_outside(search, credential_id, limit))
		return 1;
	return (int64) count_held(search, credential_id, PG_INT32_MAX) - limit + 1;
}
