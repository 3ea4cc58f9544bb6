/*
 * fitting.c -- the credentials that fit a gateway, one after the other, for an acquire
 *
 * Who may use what is decided in access.c. Here is in which order an acquire tries the credentials of rule 3, and how it passes over
 * those that it need not try: what is full, benched, or at the gateway already. Of a pool of a few, they have been read. A big pool is
 * searched by its index (pool.c), which knows what is full; where many of it select other gateways, those that fit are found from the
 * gateway's side. And what was found at one gateway is kept for the next (EgressAccess): a wish tries many.
 */
#include "fitting.h"

#include "common/pg_prng.h"
#include "miscadmin.h"

#include "lease.h"
#include "value.h"

/* so many selections of a gateway are read before a big pool is searched */
#define FEW_SELECTIONS 8

/* so many credentials of a big pool may be elsewhere before more are */
#define PATIENCE 16

/* sort_ids -- sort ids, and let each be there once; returns how many they are then */
static int
sort_ids(int64 *ids, int count)
{
	int			kept = 0;

	qsort(ids, count, sizeof(int64), value_compare_ids);
	for (int i = 0; i < count; i++)
		if (kept == 0 || ids[kept - 1] != ids[i])
			ids[kept++] = ids[i];
	return kept;
}

/*
 * list_fitting -- list the credentials of a big pool that fit the gateway from the gateway's side; false: there are more than max
 *
 * By ascending id: those that select it, whoever they are for, and those that allow all, unless these are spent.
 */
static bool
list_fitting(EgressFitting *fitting, int max)
{
	EgressAccess *access = fitting->access;
	EgressScan *by_gateway = &access_selections(access->call)->by_gateway;
	int64	   *ids = palloc((max + 1) * sizeof(int64));
	int			count = 0;

	if (access->credential_all && !access->spent)
		count = access_list_all(access->call, access->provider_id, ids, max + 1);
	if (count <= max)
	{
		scan_key_id(by_gateway, fitting->gateway_id);
		scan_start(by_gateway, access->call->snapshot);
		while (count <= max && scan_next(by_gateway))
			ids[count++] = scan_id(by_gateway, Anum_egress_credential_gateway_egress_credential_id);
	}
	if (count > max)
	{
		pfree(ids);
		return false;
	}
	fitting->listed = true;
	fitting->ids = ids;
	fitting->count = fitting->left = sort_ids(ids, count);
	fitting->next = 0;
	return true;
}

/* count_below -- how many of the credentials that were listed are below an id */
static int
count_below(const EgressFitting *fitting, int64 id)
{
	int			count = 0;

	while (count < fitting->count && fitting->ids[count] < id)
		count++;
	return count;
}

/* go_on_listed -- let those that were listed be what is left of the pool's search, which has come to a credential that is none of them */
static void
go_on_listed(EgressFitting *fitting, int64 id)
{
	EgressPool *pool = fitting->pool;
	int			before = count_below(fitting, id);
	int			before_start = count_below(fitting, pool->start);

	fitting->next = before < fitting->count ? before : 0;
	fitting->left = pool->wrapped ? before_start - before : fitting->count - before + before_start;
}

/* fitting_begin -- begin to go through the credentials that fit a gateway, for an acquire; pool is open and has begun */
void
fitting_begin(EgressFitting *fitting, EgressAccess *access, int64 gateway_id, EgressPool *pool)
{
	memset(fitting, 0, sizeof(EgressFitting));
	fitting->access = access;
	fitting->gateway_id = gateway_id;
	fitting->pool = pool;
	fitting->patience = PATIENCE;
	fitting->cooled_at = DT_NOEND;
	once_begin(&fitting->once);
	if (access->big)
	{
		pool_begin(pool, access->call->snapshot, PG_INT64_MAX);
		access_search_pool(access, pool);
		/* where none is likely to be met that allows all, those that fit may be few among many */
		if ((!access->credential_all || access->spent) && list_fitting(fitting, FEW_SELECTIONS))
		{
			if (access->spread && fitting->count > 0)
				fitting->next = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, fitting->count - 1);
		}
		else if (access->spread)
			pool_start_by_chance(pool);
	}
	else
	{
		fitting->list = access_credentials(access, gateway_id);
		if (access->spread)
			fitting->first = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, list_length(fitting->list) - 1);
		pool_begin(pool, access->call->snapshot, ((EgressEntitlement *) llast(fitting->list))->id);
	}
}

/* selects -- does a credential select a gateway? */
static bool
selects(EgressCall *call, int64 credential_id, int64 gateway_id)
{
	return access_next_selection(access_start_selections(call, credential_id, &gateway_id), &gateway_id);
}

/* next_listed -- fitting_next() where those that fit were listed */
static EgressEntitlement *
next_listed(EgressFitting *fitting)
{
	EgressAccess *access = fitting->access;
	EgressPool *pool = fitting->pool;

	for (; fitting->left > 0; fitting->left--)
	{
		int64		id = fitting->ids[fitting->next];
		int			group;

		CHECK_FOR_INTERRUPTS();
		fitting->next = (fitting->next + 1) % fitting->count;
		if (!pool_find_row(pool, id) || (group = access_subject_of(access->call, &pool->rows)) < 0 ||
			scan_id(&pool->rows, Anum_egress_credential_egress_provider_id) != access->provider_id ||
			!scan_bool(&pool->rows, Anum_egress_credential_enabled))
			continue;
		if (!pool_come_to(pool, group, id))
		{
			fitting->full = true;
			continue;
		}
		fitting->left--;
		return access_credential(access->call, &pool->rows, list_nth(access->call->subjects, group));
	}
	return NULL;
}

/*
 * fitting_next -- the next credential that fits; of a big pool, of those that may have a connection free. Or NULL
 *
 * By ascending id; from one drawn by chance on, and then from the lowest, where the provider spreads them.
 *
 * Where many of a big pool are for other gateways, those that fit are found from the gateway's side, if they are not more than
 * those that were met in vain. So the search costs about as much as the cheaper of both ways.
 */
EgressEntitlement *
fitting_next(EgressFitting *fitting)
{
	EgressAccess *access = fitting->access;
	int			group;
	int64		id;

	if (!access->big)
	{
		int			count = list_length(fitting->list);
		int			place = fitting->first + fitting->position;

		if (fitting->position == count)
			return NULL;
		fitting->position++;
		return list_nth(fitting->list, place < count ? place : place - count);
	}

	while (!fitting->listed && pool_next(fitting->pool, &group, &id))
	{
		EgressEntitlement *credential;

		CHECK_FOR_INTERRUPTS();
		credential = access_found_credential(access, fitting->pool, group, id);
		if (credential == NULL)
			continue;
		if (!credential->enabled)
			pool_has_none(fitting->pool);
		else if (credential->all_gateways || selects(access->call, id, fitting->gateway_id))
			return credential;
		else if (++fitting->elsewhere >= fitting->patience)
		{
			if (list_fitting(fitting, fitting->patience))
				go_on_listed(fitting, id);
			fitting->patience *= 2;
		}
	}
	return fitting->listed ? next_listed(fitting) : NULL;
}

/* sort_hopes -- it is known at which gateways of a big pool there may be a connection: those that were hoped for, and no other */
static void
sort_hopes(EgressAccess *access)
{
	ListCell   *cell;

	access->hoped = palloc(Max(list_length(access->hopes), 1) * sizeof(int64));
	foreach(cell, access->hopes)
		access->hoped[access->hope_count++] = *(int64 *) lfirst(cell);
	access->hope_count = sort_ids(access->hoped, access->hope_count);
	access->looked_around = true;
}

/* fitting_end -- the search is over; none_left: it went to the end, and nothing was taken */
void
fitting_end(EgressFitting *fitting, bool none_left)
{
	EgressAccess *access = fitting->access;

	once_end(&fitting->once);
	if (!none_left)
		return;
	if (access->big ? !fitting->everywhere : !fitting->at_gateway)
		access->spent = true;
	/* a pool that was searched to its end, and had nothing for any other gateway, either */
	if (access->big && !fitting->listed && !fitting->at_gateway && fitting->elsewhere == 0)
		sort_hopes(access);
}

/*
 * fitting_is_full -- is it certain that the credential that fitting_next() gave last is full, or passed over like one that is?
 *
 * That is, because it is at the gateway already, where it is once, or because it is benched.
 */
bool
fitting_is_full(EgressFitting *fitting, EgressEntitlement *credential)
{
	EgressBench bench;

	if (access_is_benched(fitting->access, BENCH_CREDENTIAL, credential->id, &bench))
	{
		fitting->benched = true;
		return true;
	}
	if (credential->once &&
		once_was_taken(&fitting->once, credential->id, fitting->gateway_id, fitting->access->call->snapshot,
					   credential->cool_down))
	{
		fitting->at_gateway = true;
		fitting->everywhere |= credential->all_gateways;
		fitting->cooled_at = Min(fitting->cooled_at, fitting->once.cooled_at);
		return true;
	}
	if (credential->limited)
	{
		credential->spent = pool_is_full(fitting->pool, access_pool_group(credential->subject, credential->provider_id),
										 credential->id, credential->limit, credential->cool_down, fitting->access->big);
		fitting->cooled_at = Min(fitting->cooled_at, fitting->pool->look.cooled_at);
	}
	return credential->spent;
}

/* fitting_found_full -- the credential that fitting_next() gave last has no connection to give, or it is at the gateway */
void
fitting_found_full(EgressFitting *fitting, EgressEntitlement *credential, bool at_gateway)
{
	if (at_gateway)
	{
		fitting->at_gateway = true;
		fitting->everywhere |= credential->all_gateways;
	}
	else
		credential->spent = true;
	if (!at_gateway && credential->cool_down != NULL && credential->limited)
		fitting->cooled_at = Min(fitting->cooled_at, pool_cooled_at(fitting->pool, credential->id, credential->limit,
																	credential->cool_down));
	if (!at_gateway && fitting->access->big)
		pool_has_none(fitting->pool);
}

/* fitting_found_unopened -- the credential that fitting_next() gave last cannot be opened */
void
fitting_found_unopened(EgressFitting *fitting, EgressEntitlement *credential)
{
	credential->unopened = true;
	fitting->everywhere |= credential->all_gateways;
}

/* hope_for -- note that there may be a connection at the gateways that a credential selects; false when they are more than *max */
static bool
hope_for(EgressAccess *access, int64 credential_id, int *max)
{
	EgressScan *entries = access_start_selections(access->call, credential_id, NULL);
	int64		gateway_id;

	while (access_next_selection(entries, &gateway_id))
	{
		int64	   *hope;

		if (--*max < 0)
			return false;
		hope = palloc(sizeof(int64));
		*hope = gateway_id;
		access->hopes = lappend(access->hopes, hope);
	}
	return true;
}

/*
 * fitting_look_around -- a gateway of the provider was full: look at which there may be a connection, if that is soon known
 *
 * From the pool's side: which credentials are not full, and what they select. Of these as many are looked at as gateways were
 * tried, so that costs no more than they did; those that are full are stepped over, by the next one, too, and cost little.
 * Pool is open, and nobody searches it.
 */
void
fitting_look_around(EgressAccess *access, EgressPool *pool)
{
	int			left;
	int			group;
	int64		id;

	if (!access->big || access->looked_around || ++access->tried < access->look_around_at)
		return;
	left = access->tried;
	access->look_around_at = 2 * access->tried;
	pool_begin(pool, access->call->snapshot, PG_INT64_MAX);
	access_search_pool(access, pool);
	if (access->tried == 1)
		access->looked_to = PG_INT64_MIN;
	pool_start_at(pool, access->looked_to);
	while (pool_next(pool, &group, &id))
	{
		EgressEntitlement *credential = access_found_credential(access, pool, group, id);
		int			hopes = list_length(access->hopes);
		EgressBench bench;

		CHECK_FOR_INTERRUPTS();
		access->looked_to = id;
		if (credential == NULL)
			continue;
		if (!credential->enabled)
			pool_has_none(pool);
		else if (access_is_benched(access, BENCH_CREDENTIAL, id, &bench) ||
				 (credential->limited && pool_is_full(pool, access_pool_group(credential->subject, access->provider_id), id,
													  credential->limit, credential->cool_down, true)))
			continue;
		else if (credential->all_gateways || --left < 0 || !hope_for(access, id, &left))
		{
			/* to be looked at again */
			access->hopes = list_truncate(access->hopes, hopes);
			return;
		}
	}
	sort_hopes(access);
}

/* fitting_is_spent -- was it found at another gateway of the provider that nothing is left for this one, either? */
bool
fitting_is_spent(EgressAccess *access, int64 gateway_id)
{
	EgressSelected *entry;

	if (access->looked_around)
		return access->hope_count == 0 ||
			bsearch(&gateway_id, access->hoped, access->hope_count, sizeof(int64), value_compare_ids) == NULL;
	if (access->big || !access->spent)
		return false;
	entry = access->selected == NULL ? NULL : hash_search(access->selected, &gateway_id, HASH_FIND, NULL);
	return entry == NULL || entry->credentials == NIL;
}

/* fitting_is_all_spent -- was it found that nothing is left for any gateway of the provider? */
bool
fitting_is_all_spent(EgressAccess *access)
{
	if (access->big)
		return access->looked_around && access->hope_count == 0;
	return access->spent && access->selected == NULL;
}

/*
 * fitting_any_full -- the search of a big pool is over: is a credential that fits full, though none of those that were given was?
 *
 * So many were given.
 */
bool
fitting_any_full(EgressFitting *fitting, int given)
{
	if (fitting->full)
		return true;
	if (fitting->listed && fitting->elsewhere == 0 && !fitting->access->credential_all)
		return false;
	return access_count_fitting(fitting->access, fitting->gateway_id) > given;
}
