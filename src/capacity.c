/*
 * capacity.c -- how many connections credentials have free, as of a snapshot
 *
 * For whoever reads: the menu and the explanations. An acquire does not ask here, because it has to see what open
 * transactions hold (limit.c); when there are none, both come to the same.
 *
 * A lease counts until it has expired, and its connection cooled down, whether it was cleaned up since or not. A credential that may
 * be at each gateway once has none free where it is, and one at most elsewhere. One that is benched has none free, and is not
 * counted.
 */
#include "capacity.h"

#include "lib/qunique.h"
#include "miscadmin.h"

#include "lease.h"
#include "user_limit.h"
#include "value.h"

/* the gateway's column in the index of a credential's leases, counted from 0 */
#define ENTRY_GATEWAY_ID 3

/* How many connections are not to be had at a gateway, because their credentials are there. */
typedef struct EgressTaken
{
	int64		gateway_id;		/* hash key; must be first */
	int64		count;
} EgressTaken;

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

/* note_gateway -- a lease of the credential, which may be at each gateway once, is at this one */
static void
note_gateway(EgressEntitlement *credential, int64 gateway_id)
{
	int			count = credential->gateway_count++;

	/* room for 4, 8, 16, ... */
	if (count == 0)
		credential->gateways = palloc(4 * sizeof(int64));
	else if (count >= 4 && (count & (count - 1)) == 0)
		credential->gateways = repalloc_huge(credential->gateways, 2 * (Size) count * sizeof(int64));
	credential->gateways[count] = gateway_id;
}

/* forget_gateway -- one of these leases, which has expired, does not count */
static void
forget_gateway(EgressEntitlement *credential, int64 gateway_id)
{
	for (int i = 0; i < credential->gateway_count; i++)
		if (credential->gateways[i] == gateway_id)
		{
			credential->gateways[i] = credential->gateways[--credential->gateway_count];
			return;
		}
}

/* expired_gateway -- the gateway of the lease whose end is in the current row; false when there is none */
static bool
expired_gateway(EgressCapacity *capacity, int64 *gateway_id)
{
	EgressScan	lease;
	bool		found;

	scan_open(&lease, INDEX_LEASE_SESSION, AccessShareLock);
	scan_key_text(&lease, DatumGetTextPP(scan_value(&capacity->expiries, Anum_egress_lease_expiry_session_id)));
	scan_start(&lease, capacity->snapshot);
	found = scan_next(&lease);
	if (found)
		*gateway_id = scan_id(&lease, Anum_egress_lease_egress_gateway_id);
	scan_close(&lease);
	return found;
}

/* note_cooling -- note that a connection of the credential, which counts, cools down until a time */
static void
note_cooling(EgressEntitlement *credential, TimestampTz free_at)
{
	if (credential->cooling++ == 0 || free_at < credential->cooled_at)
		credential->cooled_at = free_at;
}

/* is_held -- does the snapshot have the lease of the current entry, and does it count? A connection that cools down does */
static bool
is_held(EgressCapacity *capacity, EgressEntitlement *credential)
{
	EgressScan *leases = &capacity->leases;
	TimestampTz free_at;

	if (!lease_entry_is_cooling(leases))
		return scan_entry_is_visible(leases);
	if (!scan_visit(leases))
		return false;
	free_at = lease_free_at(scan_timestamp(leases, Anum_egress_lease_acquired_at), credential->cool_down);
	if (free_at <= capacity->moment)
		return false;
	note_cooling(credential, free_at);
	return true;
}

/* count_expired -- how many leases of a credential have expired, and cooled down; after: credential->cooling are those that do */
static int64
count_expired(EgressCapacity *capacity, EgressEntitlement *credential, int64 last_id)
{
	EgressScan *expiries = &capacity->expiries;
	int64		count = 0;

	for (bool more = scan_seek(expiries, credential->id, last_id, capacity->snapshot); more;
		 more = scan_seek_next(expiries))
	{
		TimestampTz ended_at;
		TimestampTz free_at;
		int64		gateway_id;

		if (!scan_visit(expiries))
			continue;
		ended_at = scan_timestamp(expiries, Anum_egress_lease_expiry_expires_at);
		free_at = lease_free_at(ended_at, credential->cool_down);
		if (free_at <= capacity->moment)
		{
			count++;
			if (credential->once && expired_gateway(capacity, &gateway_id))
				forget_gateway(credential, gateway_id);
		}
		else if (ended_at <= capacity->moment)
			note_cooling(credential, free_at);
	}
	return count;
}

/*
 * active_connections -- how many connections of a credential are held; counted once a call. last_id: see scan_seek()
 *
 * After: of one that may be at each gateway once, gateways are where it is.
 */
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
		if (is_held(capacity, credential))
		{
			credential->active++;
			if (credential->once)
				note_gateway(credential, DatumGetInt64(leases->entry[ENTRY_GATEWAY_ID]));
		}
	if (credential->active > 0)
		credential->active -= count_expired(capacity, credential, last_id);
	if (credential->gateway_count > 1)
	{
		qsort(credential->gateways, credential->gateway_count, sizeof(int64), value_compare_ids);
		/* it may be at one twice, if that is not allowed since then only */
		credential->gateway_count = qunique(credential->gateways, credential->gateway_count, sizeof(int64), value_compare_ids);
	}
	return credential->active;
}

/* free_connections -- how many connections a credential, one of a list by ascending id, has free at a gateway where it is not */
static int64
free_connections(EgressCapacity *capacity, EgressEntitlement *credential, List *credentials)
{
	int64		last_id = ((EgressEntitlement *) llast(credentials))->id;
	int64		active;
	int64		rest;

	if (credential->bench != NULL)
		return 0;
	active = active_connections(capacity, credential, last_id);
	rest = credential->limited ? Max(credential->limit - active, 0) : 1;
	return credential->once ? Min(rest, 1) : rest;
}

/* is_unlimited -- can a credential be at any gateway any number of times, now? */
static bool
is_unlimited(EgressEntitlement *credential)
{
	return !credential->limited && !credential->once && credential->bench == NULL;
}

/* any_is_unlimited -- can one of these? */
static bool
any_is_unlimited(List *credentials)
{
	ListCell   *cell;

	foreach(cell, credentials)
	{
		if (is_unlimited(lfirst(cell)))
			return true;
	}
	return false;
}

/* capacity_is_at -- is a credential at a gateway, where it may be once? Before: it has been counted */
bool
capacity_is_at(const EgressEntitlement *credential, int64 gateway_id)
{
	return credential->gateway_count > 0 &&
		bsearch(&gateway_id, credential->gateways, credential->gateway_count, sizeof(int64), value_compare_ids) != NULL;
}

/* free_at -- how many connections a credential, one of a list by ascending id that is not without limit, has free at a gateway */
static int64
free_at(EgressCapacity *capacity, EgressEntitlement *credential, List *credentials, int64 gateway_id)
{
	int64		rest = free_connections(capacity, credential, credentials);

	return capacity_is_at(credential, gateway_id) ? 0 : rest;
}

/* capacity_free -- how many connections these credentials have free together at a gateway, CAPACITY_UNLIMITED when one has no limit */
int64
capacity_free(EgressCapacity *capacity, List *credentials, int64 gateway_id)
{
	int64		sum = 0;
	ListCell   *cell;

	if (any_is_unlimited(credentials))
		return CAPACITY_UNLIMITED;
	foreach(cell, credentials)
		sum += free_at(capacity, lfirst(cell), credentials, gateway_id);
	return sum;
}

/* take_off -- note how many connections at gateways are not to be had, where the credential is */
static void
take_off(EgressCapacitySum *sum, EgressEntitlement *credential)
{
	if (sum->taken == NULL && credential->gateway_count > 0)
	{
		HASHCTL		info = {
			.keysize = sizeof(int64),
			.entrysize = sizeof(EgressTaken),
			.hcxt = CurrentMemoryContext,
		};

		sum->taken = hash_create("egress taken connections", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	for (int i = 0; i < credential->gateway_count; i++)
	{
		bool		found;
		EgressTaken *taken = hash_search(sum->taken, &credential->gateways[i], HASH_ENTER, &found);

		taken->count = found ? taken->count + 1 : 1;
	}
}

/* capacity_sum -- what these credentials have free together, for whoever asks about many gateways */
void
capacity_sum(EgressCapacity *capacity, List *credentials, EgressCapacitySum *sum)
{
	ListCell   *cell;

	sum->taken = NULL;
	sum->free = any_is_unlimited(credentials) ? CAPACITY_UNLIMITED : 0;
	if (sum->free == CAPACITY_UNLIMITED)
		return;
	foreach(cell, credentials)
	{
		EgressEntitlement *credential = lfirst(cell);
		int64		rest = free_connections(capacity, credential, credentials);

		sum->free += rest;
		if (rest > 0)
			take_off(sum, credential);
	}
}

/* capacity_free_of -- as capacity_free(), of what was summed up */
int64
capacity_free_of(const EgressCapacitySum *sum, int64 gateway_id)
{
	EgressTaken *taken = sum->taken == NULL ? NULL : hash_search(sum->taken, &gateway_id, HASH_FIND, NULL);

	return taken == NULL ? sum->free : sum->free - taken->count;
}

/*
 * capacity_is_free -- has one of these credentials a connection free at a gateway?
 *
 * After: unless it has no limit, or is benched, it has been counted.
 */
bool
capacity_is_free(EgressCapacity *capacity, EgressEntitlement *credential, List *credentials, int64 gateway_id)
{
	return is_unlimited(credential) || free_at(capacity, credential, credentials, gateway_id) > 0;
}

/* capacity_user -- what a call's user may have, and, if that is limited, has */
void
capacity_user(EgressCapacity *capacity, EgressCall *call, EgressUserCapacity *user)
{
	EgressScan	leases;
	EgressScan	expiries;

	user->limited = user_limit_find(call->subjects, capacity->snapshot, &user->limit);
	if (!user->limited)
		return;
	user_limit_sessions_begin(&user->sessions);
	scan_open(&leases, INDEX_LEASE_USER, AccessShareLock);
	scan_open(&expiries, INDEX_LEASE_EXPIRY_SESSION, AccessShareLock);
	scan_key_text(&leases, call->user_id);
	scan_start(&leases, capacity->snapshot);
	while (scan_next(&leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (lease_ends_at(&expiries, DatumGetTextPP(scan_value(&leases, Anum_egress_lease_session_id)), capacity->snapshot) >
			capacity->moment)
			user_limit_sessions_add(&user->sessions, &leases);
	}
	scan_close(&expiries);
	scan_close(&leases);
}

/* capacity_left -- of so many connections that are free, or CAPACITY_UNLIMITED, those that the user may have */
int64
capacity_left(const EgressUserCapacity *user, int64 free)
{
	int64		left;

	if (!user->limited)
		return free;
	left = Max(user->limit.connections - user->sessions.count, 0);
	return free == CAPACITY_UNLIMITED ? left : Min(free, left);
}
