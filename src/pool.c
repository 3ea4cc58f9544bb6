/*
 * pool.c -- finding out that credentials are full, without their locks
 *
 * An acquire tries the credentials of a pool one after the other. If most are full, their locks would be taken for
 * nothing, and everybody who is refused would queue for them. So it looks here first, and passes over a credential that was
 * full when the acquire took its snapshot. That is certain, and no guess, when each of the slots 1..limit has a lease
 *	- that is still held, as slot.c sees it (dirty), and
 *	- that was inserted by a transaction which the snapshot has as committed.
 * All these leases were held together at the snapshot: none has ended since, and none came later. A lease whose
 * transaction is open, or committed since, proves nothing: while it came, another may have gone. Then, and when a lease has
 * expired, the answer is no, and slot.c decides under the credential's lock. (An expired lease that others end between the two
 * looks is not seen; but then it was held as one that is being given back, so the credential was full at that moment.)
 *
 * It costs one pass over the index of slots: the credentials are asked about by ascending id, which is the order of
 * the index. Nothing is looked up where the next credential's entries are near.
 */
#include "pool.h"

#include "access/htup_details.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "slot.h"

/* where more rows than this, and than are held, were visited for nothing, the entries are dead and the look gives up */
#define DEAD_ROWS	16

/* pool_open -- open the indexes, before any of the short locks is taken */
void
pool_open(Pool *pool)
{
	scan_open_entries(&pool->leases, INDEX_LEASE_SLOT);
	scan_open_entries(&pool->expiries, INDEX_LEASE_EXPIRY_CREDENTIAL);
}

/* pool_close -- close what pool_open() opened */
void
pool_close(Pool *pool)
{
	scan_close(&pool->expiries);
	scan_close(&pool->leases);
}

/*
 * pool_begin -- say as of when is asked, and the highest id that will be
 *
 * The snapshot must stay registered or active as long as is asked.
 */
void
pool_begin(Pool *pool, Snapshot snapshot, int64 last_id)
{
	pool->snapshot = snapshot;
	pool->last_id = last_id;
}

/* was_held -- is the current entry's lease held, and was it at the snapshot? */
static bool
was_held(Pool *pool)
{
	EgressScan *leases = &pool->leases;

	if (scan_page_is_all_visible(leases))
		return true;
	return index_fetch_heap(leases->desc, leases->slot) &&
		!TransactionIdIsValid(leases->dirty.xmin) &&
		!XidInMVCCSnapshot(HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(leases->slot, false, NULL)->t_data),
						   pool->snapshot);
}

/* any_over -- is the end of a lease of the credential past, whatever becomes of it? */
static bool
any_over(Pool *pool, int64 credential_id)
{
	EgressScan *expiries = &pool->expiries;

	for (bool more = scan_seek(expiries, credential_id, pool->last_id, NULL); more; more = scan_seek_next(expiries))
		if (index_fetch_heap(expiries->desc, expiries->slot) &&
			scan_timestamp(expiries, Anum_egress_lease_expiry_expires_at) <= GetCurrentTimestamp())
			return true;
	return false;
}

/*
 * pool_is_full -- is it certain that a credential was full at the snapshot?
 *
 * Before: limit is the credential's at the snapshot.
 */
bool
pool_is_full(Pool *pool, int64 credential_id, int32 limit)
{
	EgressScan *leases = &pool->leases;
	int64		held = 0;		/* all slots up to this one were */
	int64		others = 0;		/* rows that prove nothing */

	if (limit == 0)
		return true;

	for (bool more = scan_seek(leases, credential_id, pool->last_id, NULL); more && held < limit;
		 more = scan_seek_next(leases))
	{
		int64		slot = leases->entry_nulls[1] ? SLOT_NONE : DatumGetInt32(leases->entry[1]);

		/* leases without a slot come last */
		if (slot == SLOT_NONE || slot > held + 1 || others > DEAD_ROWS + held)
			return false;
		if (slot <= held)
			continue;
		if (was_held(pool))
			held++;
		else
			others++;
	}
	return held == limit && !any_over(pool, credential_id);
}
