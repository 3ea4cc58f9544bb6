/*
 * slots.c -- the slots of a limit: which is free, and how many are held
 *
 * A limit is a credential's (limit.c) or a user's (user_limit.c). Each lease that counts for it has a number of its own in
 * 1..limit, its slot, in a unique index: (credential, slot) or (user, slot). Those from before there was a limit have none, and those
 * from before it was lowered may have one above it: they are outside. doc/limit.md has the whole argument.
 *
 * A look is a scan of the index with a dirty snapshot, so it sees what is held now, by open transactions, too. What it finds stays
 * right as long as the caller keeps others from inserting: he holds a lock on the credential or the user, or on the slot.
 */
#include "slots.h"

#include "access/itup.h"
#include "access/transam.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/procarray.h"

#include "lease.h"

/* the slot's column in the indexes (egress_credential_id, slot) and (user_id, user_slot) */
#define SLOT_COLUMN	2

/* what next_slot() returns at the end; SLOT_NONE for a lease without a slot */
#define SLOT_END	(-1)

/* so many entries behind a free slot are looked at for one that has cooled down */
#define NEAR_ENTRIES	8

/* how many slots with a row slots_clear_another() tries */
#define CLEAR_TRIES	4

/*
 * slots_open -- get ready to look at slots, before any of the short locks is taken; before: lease_lock_tables()
 *
 * index is INDEX_LEASE_SLOT for those of credentials, INDEX_LEASE_USER for those of users.
 */
void
slots_open(EgressSlotSearch *search, EgressIndex index)
{
	search->credential_id = 0;
	search->user_id = NULL;
	search->cool_down = NULL;
	search->cooled = false;
	search->bare = false;
	slots_begin(search);
	scan_open_entries(&search->all, index);
	scan_open_entries(&search->from, index);
	lease_ends_begin(&search->ends);
}

/* slots_close -- close what slots_open() opened */
void
slots_close(EgressSlotSearch *search)
{
	lease_ends_end(&search->ends);
	scan_close(&search->all);
	scan_close(&search->from);
}

/* slots_begin -- begin a search: nothing was met */
void
slots_begin(EgressSlotSearch *search)
{
	search->over = false;
	search->ending = false;
	search->blocked = false;
	search->enders = NIL;
}

/* key_owner -- the scan is of the leases of the credential, or of the user */
static void
key_owner(EgressSlotSearch *search, EgressScan *scan)
{
	if (search->user_id != NULL)
		scan_key_text(scan, search->user_id);
	else
		scan_key_id(scan, search->credential_id);
}

/* next_slot -- the slot of the next index entry, dead or not; no row is visited */
static int32
next_slot(EgressScan *scan, ScanDirection direction)
{
	Datum		slot;
	bool		isnull;

	if (!scan_step(scan, direction))
		return SLOT_END;
	slot = scan_entry_column(scan, SLOT_COLUMN, &isnull);
	return isnull ? SLOT_NONE : DatumGetInt32(slot);
}

/* What the row of an entry in the index of slots is to whoever wants a slot. */
typedef enum RowState
{
	ROW_GONE,
	ROW_OVER,					/* a connection that has cooled down: it does not count, and may be removed */
	ROW_IN_THE_WAY,				/* it does not count, but another open transaction removes it: UNIQUE would wait for that */
	ROW_HELD
} RowState;

/* note_ender -- note that an open transaction removes a row */
static void
note_ender(EgressSlotSearch *search, TransactionId transaction)
{
	search->ending = true;
	search->enders = lease_note_ender(search->enders, transaction);
}

/*
 * lease_state -- what the current entry's row is, which is a lease's and has been visited
 *
 * Where it is not over, and who was ending it has ended meanwhile, it is visited again.
 */
static RowState
lease_state(EgressSlotSearch *search, EgressScan *scan)
{
	for (;;)
	{
		TransactionId ender = scan->dirty.xmax;

		if (!TransactionIdIsValid(ender))
			return ROW_HELD;
		note_ender(search, ender);
		if (!search->over)
			return ROW_HELD;
		if (lease_is_over(&search->ends, scan, search->cool_down))
			return ROW_IN_THE_WAY;
		if (TransactionIdIsInProgress(ender))
			return ROW_HELD;
		if (!scan_visit_again(scan))
			return ROW_GONE;
	}
}

/*
 * row_state -- what the current entry's row is
 *
 * Visits it, unless it is a lease's on a page that is visible to all, and lets the index know when it is dead to all. After:
 * scan->dirty says which open transactions have inserted or deleted it.
 */
static RowState
row_state(EgressSlotSearch *search, EgressScan *scan)
{
	bool		cooling = lease_entry_is_cooling(scan);

	scan->dirty.xmin = scan->dirty.xmax = InvalidTransactionId;
	if (!cooling && scan_page_is_all_visible(scan))
		return ROW_HELD;
	if (!scan_visit(scan))
		return ROW_GONE;
	if (!cooling)
		return lease_state(search, scan);
	if (!lease_has_cooled(scan, search->cool_down))
		return ROW_HELD;
	if (!TransactionIdIsValid(scan->dirty.xmin) && !TransactionIdIsValid(scan->dirty.xmax))
		return ROW_OVER;
	note_ender(search, TransactionIdIsValid(scan->dirty.xmax) ? scan->dirty.xmax : scan->dirty.xmin);
	search->blocked = true;
	return ROW_IN_THE_WAY;
}

/*
 * slots_any_outside -- is a lease held that has no slot, or one above the limit?
 *
 * tidy: remove what has cooled down there. Nobody else's slot is free or taken for it, as long as the limit stays.
 */
bool
slots_any_outside(EgressSlotSearch *search, int32 limit, bool tidy)
{
	int32		slot;

	key_owner(search, &search->all);
	scan_start_dirty(&search->all);
	while ((slot = next_slot(&search->all, BackwardScanDirection)) == SLOT_NONE || slot > limit)
	{
		RowState	state = row_state(search, &search->all);

		if (state == ROW_HELD)
			return true;
		if (state == ROW_OVER && tidy)
			(void) scan_try_delete(&search->all);
	}
	return false;
}

/*
 * count_once -- how many connections are held, counted up to a limit; *open are the transactions that must not have ended meanwhile
 *
 * Those of one slot are one connection: a transaction that ends a lease may leave another in its slot, which cools down; or take the
 * connection again. What it leaves in the place of a lease without a slot has a slot by itself. While the transaction is open that
 * does not count, because the lease does.
 */
static int32
count_once(EgressSlotSearch *search, int32 limit, List **open)
{
	int32		count = 0;
	int32		counted = SLOT_NONE;	/* the slot that was counted last */
	int32		slot;

	key_owner(search, &search->all);
	scan_start_dirty(&search->all);
	while (count < limit && (slot = next_slot(&search->all, BackwardScanDirection)) != SLOT_END)
	{
		EgressScan *row = &search->all;

		if ((slot != SLOT_NONE && slot == counted) || row_state(search, row) != ROW_HELD)
			continue;
		if (lease_entry_is_cooling(row) && TransactionIdIsValid(row->dirty.xmin))
		{
			*open = lappend_int(*open, (int) row->dirty.xmin);
			continue;
		}
		if (slot == SLOT_NONE && TransactionIdIsValid(row->dirty.xmax))
			*open = lappend_int(*open, (int) row->dirty.xmax);
		counted = slot;
		count++;
	}
	return count;
}

/*
 * slots_count -- how many connections are held, counted up to a limit
 *
 * Before: the caller holds the credential's lock, exclusive. A transaction that ends while the leases are counted may have been seen
 * before and after: then they are counted again.
 */
int32
slots_count(EgressSlotSearch *search, int32 limit)
{
	List	   *open;
	int32		count;

	do
	{
		open = NIL;
		count = count_once(search, limit, &open);
	} while (lease_any_ended(open));
	return count;
}

/*
 * cooled_after -- a slot that is free and has a row, rather than a free one without; the scan is at the next entry, slot is its
 *
 * So that each acquire that can removes what has cooled down, and such rows do not become more than there are connections that cool
 * down, though slots are drawn by chance, and a limit may be large. A few entries are looked at.
 */
static int32
cooled_after(EgressSlotSearch *search, int32 free, int32 slot, int32 to)
{
	int			left = search->cool_down == NULL ? 1 : NEAR_ENTRIES;

	for (; left > 0 && slot != SLOT_NONE && slot != SLOT_END && slot <= to; left--)
	{
		search->cooled = lease_entry_is_cooling(&search->from) && row_state(search, &search->from) == ROW_OVER;
		if (search->cooled)
			return slot;
		slot = next_slot(&search->from, ForwardScanDirection);
	}
	return free;
}

/*
 * find_gap -- a slot from..to that is free, near from, SLOT_NONE if there is none; before: from <= to, an int32's largest too
 *
 * After: search->cooled says that it has a row that has cooled down: slots_clear(). That it is from says that from is free.
 */
static int32
find_gap(EgressSlotSearch *search, int32 from, int32 to)
{
	int32		candidate = from;

	search->cooled = false;
	key_owner(search, &search->from);
	scan_key_at_least(&search->from, from);
	scan_start_dirty(&search->from);
	for (;;)
	{
		int32		slot = next_slot(&search->from, ForwardScanDirection);
		RowState	state;

		/* all entries of the candidate have been seen, and none was held */
		if (slot == SLOT_END || slot > candidate)
			return search->cooled || search->bare ? candidate : cooled_after(search, candidate, slot, to);
		if (slot != candidate)
			continue;
		state = row_state(search, &search->from);
		if (state == ROW_GONE)
			continue;
		if (state == ROW_OVER && !search->bare)
		{
			search->cooled = true;
			continue;
		}
		if (candidate == to)
			return SLOT_NONE;
		candidate++;
		search->cooled = false;
	}
}

/*
 * slots_clear -- remove from a slot, which find_gap() said was free, what has cooled down there; false when it is not free now
 *
 * Before: the caller holds the slot's lock, or the credential's, exclusive.
 */
bool
slots_clear(EgressSlotSearch *search, int32 slot)
{
	RowState	state = ROW_GONE;

	if (slot == SLOT_NONE || !search->cooled)
		return true;
	key_owner(search, &search->from);
	scan_key_at_least(&search->from, slot);
	scan_start_dirty(&search->from);
	while ((state == ROW_GONE || state == ROW_OVER) && next_slot(&search->from, ForwardScanDirection) == slot)
	{
		state = row_state(search, &search->from);
		if (state == ROW_OVER && !scan_try_delete(&search->from))
			state = ROW_IN_THE_WAY;
	}
	return state == ROW_GONE || state == ROW_OVER;
}

/* slots_random -- any of 1..limit */
int32
slots_random(int32 limit)
{
	return (int32) pg_prng_uint64_range(&pg_global_prng_state, 1, limit);
}

/* slots_gap -- a slot that is free, from start upwards, or from 1; SLOT_NONE if there is none. See find_gap() */
int32
slots_gap(EgressSlotSearch *search, int32 start, int32 limit)
{
	int32		slot = find_gap(search, start, limit);

	if (slot == SLOT_NONE && start > 1)
		slot = find_gap(search, 1, start - 1);
	return slot;
}

/*
 * slots_find -- a slot in 1..limit that is free, SLOT_NONE when there is none, or the limit is reached
 *
 * Before: the caller keeps everybody else from inserting, and has read the limit since he does.
 */
int32
slots_find(EgressSlotSearch *search, int32 limit)
{
	if (limit == 0)
		return SLOT_NONE;
	if (slots_any_outside(search, limit, false) && slots_count(search, limit) >= limit)
		return SLOT_NONE;
	return slots_gap(search, slots_random(limit), limit);
}

/*
 * slots_excess -- how many leases, for which slots_find() has found no slot, have to end for one to be free
 *
 * None, or less, where what has cooled down keeps slots from being used because other transactions remove it.
 */
int64
slots_excess(EgressSlotSearch *search, int32 limit)
{
	if (!search->blocked && !slots_any_outside(search, limit, false))
		return 1;
	return (int64) slots_count(search, PG_INT32_MAX) - limit + 1;
}

/*
 * slots_over -- how many connections that slots_excess() has counted are only held by leases that are over, counted up to a number
 *
 * Which other open transactions end: lease_is_over(). A slot in which such a transaction has a lease of its own is held.
 */
int64
slots_over(EgressSlotSearch *search, int64 number)
{
	int64		count = 0;
	int32		current = SLOT_NONE;
	bool		over = false;	/* a row of the current slot is, and none that was seen is held */
	bool		held = false;
	int32		slot;

	search->over = true;
	key_owner(search, &search->all);
	scan_start_dirty(&search->all);
	while (count < number && (slot = next_slot(&search->all, BackwardScanDirection)) != SLOT_END)
	{
		RowState	state;

		if (slot == SLOT_NONE || slot != current)
		{
			count += over;
			over = held = false;
		}
		current = slot;
		state = row_state(search, &search->all);
		held |= state == ROW_HELD;
		over |= state == ROW_IN_THE_WAY && !lease_entry_is_cooling(&search->all);
		over &= !held;
	}
	search->over = false;
	/* of the last slot all rows have been seen, if it was the last */
	return count < number ? count + over : count;
}

/* slots_above -- a slot above the limit that has no row; SLOT_NONE when there is none. It is outside: then all count */
int32
slots_above(EgressSlotSearch *search, int32 limit)
{
	int32		slot;

	if (limit == PG_INT32_MAX)
		return SLOT_NONE;
	search->bare = true;
	slot = find_gap(search, limit + 1, PG_INT32_MAX);
	search->bare = false;
	return slot;
}

/*
 * slots_clear_another -- slots_clear(), or let *slot be another that is clear; false when there is none
 *
 * For a row that somebody has locked by hand: a slot without a row, or a few others with one. Before: as for slots_find().
 */
bool
slots_clear_another(EgressSlotSearch *search, int32 *slot, int32 limit)
{
	int32		bare;

	if (slots_clear(search, *slot))
		return true;
	search->bare = true;
	bare = slots_gap(search, 1, limit);
	search->bare = false;
	if (bare != SLOT_NONE)
	{
		*slot = bare;
		return true;
	}
	for (int tries = 0; tries < CLEAR_TRIES; tries++)
	{
		*slot = slots_gap(search, *slot < limit ? *slot + 1 : 1, limit);
		if (*slot == SLOT_NONE)
			return false;
		if (slots_clear(search, *slot))
			return true;
	}
	return false;
}
