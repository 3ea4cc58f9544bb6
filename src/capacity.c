/*
 * capacity.c -- how many connections credentials have free, as of a snapshot
 *
 * For whoever reads: the menu and the explanations. An acquire does not ask here, because it has to see what open
 * transactions hold (limit.c); when there are none, both come to the same.
 *
 * A lease counts until it has expired, whether it was cleaned up since or not.
 */
#include "capacity.h"

#include "miscadmin.h"

/* capacity_begin -- the snapshot must stay registered or active until capacity_end() */
void
capacity_begin(EgressCapacity *capacity, Snapshot snapshot, TimestampTz moment)
{
	capacity->snapshot = snapshot;
	capacity->moment = moment;
	capacity->opened = false;
}

/* capacity_end -- close what was opened */
void
capacity_end(EgressCapacity *capacity)
{
	if (!capacity->opened)
		return;
	scan_close(&capacity->expiries);
	scan_close(&capacity->leases);
}

/* count_expired -- how many leases of a credential have expired */
static int64
count_expired(EgressCapacity *capacity, int64 credential_id, int64 last_id)
{
	EgressScan *expiries = &capacity->expiries;
	int64		count = 0;

	for (bool more = scan_seek(expiries, credential_id, last_id, capacity->snapshot); more;
		 more = scan_seek_next(expiries))
		if (index_fetch_heap(expiries->desc, expiries->slot) &&
			scan_timestamp(expiries, Anum_egress_lease_expiry_expires_at) <= capacity->moment)
			count++;
	return count;
}

/* active_connections -- how many live leases a credential has; counted once a call. last_id: see scan_seek() */
static int64
active_connections(EgressCapacity *capacity, EgressEntitlement *credential, int64 last_id)
{
	EgressScan *leases = &capacity->leases;

	if (credential->active >= 0)
		return credential->active;

	if (!capacity->opened)
	{
		scan_open_entries(leases, INDEX_LEASE_SLOT);
		scan_open_entries(&capacity->expiries, INDEX_LEASE_EXPIRY_CREDENTIAL);
		capacity->opened = true;
	}
	credential->active = 0;
	for (bool more = scan_seek(leases, credential->id, last_id, capacity->snapshot); more; more = scan_seek_next(leases))
		if (scan_entry_is_visible(leases))
			credential->active++;
	if (credential->active > 0)
		credential->active -= count_expired(capacity, credential->id, last_id);
	return credential->active;
}

/* free_connections -- how many connections a credential with a limit has free, one of a list by ascending id */
static int64
free_connections(EgressCapacity *capacity, EgressEntitlement *credential, List *credentials)
{
	int64		last_id = ((EgressEntitlement *) llast(credentials))->id;

	return Max(credential->limit - active_connections(capacity, credential, last_id), 0);
}

/* capacity_free -- how many connections these credentials have free together, CAPACITY_UNLIMITED when one has no limit */
int64
capacity_free(EgressCapacity *capacity, List *credentials)
{
	int64		sum = 0;
	ListCell   *cell;

	foreach(cell, credentials)
		if (!((EgressEntitlement *) lfirst(cell))->limited)
			return CAPACITY_UNLIMITED;

	foreach(cell, credentials)
		sum += free_connections(capacity, lfirst(cell), credentials);
	return sum;
}

/* capacity_is_free -- has one of these credentials a connection free? After: unless it has no limit, it has been counted */
bool
capacity_is_free(EgressCapacity *capacity, EgressEntitlement *credential, List *credentials)
{
	return !credential->limited || free_connections(capacity, credential, credentials) > 0;
}
