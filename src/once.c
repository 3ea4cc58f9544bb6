/*
 * once.c -- one key, one tunnel: whether a credential is at a gateway
 *
 * A WireGuard server knows a client by its key, and some providers allow an account one connection at a server. So a credential
 * that is once_per_gateway has at most one live lease at each gateway. limit.c keeps that, by the same argument as the limit
 * (doc/limit.md): what is held there is looked at with a dirty snapshot, under a lock that keeps others from the same place
 * until the lease is in.
 *
 * Looked at is the index (gateway, credential) of the leases. Their ends are looked up by session, also dirty. A renewal under
 * that look may hide the end; but who renews has found it not to be over, and until that transaction ends the lease counts, as
 * it does if the end is hidden.
 * One that has expired, and that another open transaction is ending, does not count: no index keeps a second one from the place.
 */
#include "once.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "lease.h"

/* once_applies -- may the credential in a scan's current row be at each gateway once? NULL: as its provider's type has it */
bool
once_applies(EgressScan *credential)
{
	bool		isnull;
	Datum		value;

	if (credential->columns < Anum_egress_credential_once_per_gateway)
		return false;
	value = scan_column(credential, Anum_egress_credential_once_per_gateway, &isnull);
	if (!isnull)
		return DatumGetBool(value);
	return catalog_provider_type(scan_value(credential, Anum_egress_credential_provider_type)) == PROVIDER_WIREGUARD;
}

/* once_begin -- nothing is open yet */
void
once_begin(EgressOnceLook *look)
{
	look->opened = false;
	look->cooled_at = DT_NOEND;
}

/* once_end -- close what was opened */
void
once_end(EgressOnceLook *look)
{
	if (!look->opened)
		return;
	lease_ends_end(&look->ends);
	scan_close(&look->leases);
	look->opened = false;
}

/*
 * start -- go to the leases of a credential at a gateway
 *
 * The tables are locked by whoever takes one of the short locks (lease_lock_tables()), so to open their indexes waits for nothing.
 */
static void
start(EgressOnceLook *look, int64 credential_id, int64 gateway_id)
{
	if (!look->opened)
	{
		scan_open(&look->leases, INDEX_LEASE_GATEWAY, AccessShareLock);
		lease_ends_begin(&look->ends);
		look->opened = true;
	}
	look->cooled_at = DT_NOEND;
	scan_key_id(&look->leases, gateway_id);
	scan_key_id(&look->leases, credential_id);
	scan_start_dirty(&look->leases);
}

/* note_cooling -- note until when the connection in the current row cools down, if it does */
static void
note_cooling(EgressOnceLook *look, const Interval *cool_down)
{
	if (lease_is_cooling(&look->leases))
		look->cooled_at = lease_free_at(scan_timestamp(&look->leases, Anum_egress_lease_acquired_at), cool_down);
}

/* ender_has_ended -- has another transaction that was ending the lease in the current row done so meanwhile, or was rolled back? */
static bool
ender_has_ended(EgressScan *leases)
{
	return TransactionIdIsValid(leases->dirty.xmax) && !TransactionIdIsInProgress(leases->dirty.xmax);
}

/*
 * once_look -- what is held of a credential's leases at a gateway
 *
 * It stays so while the caller holds the credential's lock, exclusive, or LOCK_PLACE of the two: nobody inserts one there.
 */
EgressOnceState
once_look(EgressOnceLook *look, int64 credential_id, int64 gateway_id, const Interval *cool_down)
{
	EgressScan *leases = &look->leases;

	look->expired = 0;
	start(look, credential_id, gateway_id);
	while (scan_next(leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (lease_has_cooled(leases, cool_down) || lease_is_over(&look->ends, leases, cool_down))
			continue;
		if (ender_has_ended(leases))
		{
			look->expired = 0;
			start(look, credential_id, gateway_id);
			continue;
		}
		if (TransactionIdIsValid(leases->dirty.xmin) || TransactionIdIsValid(leases->dirty.xmax) ||
			!lease_has_expired(&look->ends, leases, cool_down))
		{
			note_cooling(look, cool_down);
			return ONCE_TAKEN;
		}
		look->expired++;
	}
	return look->expired == 0 ? ONCE_FREE : ONCE_EXPIRED;
}

/*
 * once_was_taken -- is it certain that a credential was at a gateway when a snapshot was taken?
 *
 * By a lease that is still held, which the snapshot has as committed, or which this transaction has taken. One of a transaction
 * that is open, or has committed since, proves nothing: while it came, another may have gone.
 */
bool
once_was_taken(EgressOnceLook *look, int64 credential_id, int64 gateway_id, Snapshot snapshot, const Interval *cool_down)
{
	EgressScan *leases = &look->leases;

	start(look, credential_id, gateway_id);
	while (scan_next(leases))
	{
		TransactionId inserter;

		CHECK_FOR_INTERRUPTS();
		if (TransactionIdIsValid(leases->dirty.xmin) || lease_has_cooled(leases, cool_down) ||
			lease_is_over(&look->ends, leases, cool_down))
			continue;
		inserter = scan_row_inserter(leases);
		if ((TransactionIdIsCurrentTransactionId(inserter) || !XidInMVCCSnapshot(inserter, snapshot)) &&
			!lease_has_expired(&look->ends, leases, cool_down) && !ender_has_ended(leases))
		{
			note_cooling(look, cool_down);
			return true;
		}
	}
	return false;
}

/*
 * once_end_expired -- end the expired leases of a credential at a gateway; false if another transaction does something with one
 *
 * Before: once_look() said ONCE_EXPIRED, under the credential's lock, exclusive, which is still held. *ended are as many as have
 * ended: more than were seen then, where another transaction that was ending one has been rolled back.
 */
bool
once_end_expired(EgressOnceLook *look, int64 credential_id, int64 gateway_id, const Interval *cool_down, int64 *ended)
{
	bool		all = true;

	*ended = 0;
	start(look, credential_id, gateway_id);
	while (scan_next(&look->leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (lease_is_cooling(&look->leases) || lease_is_over(&look->ends, &look->leases, cool_down))
			continue;
		if (lease_end_if_free(&look->leases, Anum_egress_lease_session_id))
			(*ended)++;
		else
			all = false;
	}
	return all;
}
