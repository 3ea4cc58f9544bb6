/*
 * wish.c -- choosing the gateway, too: egress_acquire_gateway(user_id, workspace_id, session_id, countries, cities, providers,
 *			avoid, ttl)
 *
 * A wish names countries, cities and providers, each in the order in which they are wanted, or does not care. What fits it is
 * decided by access.c, which decides the menu, and by fits_place(), on the gateway's row; all else here only finds candidates.
 *
 * Their order: by the country's position, then the city's, then the provider's. So the wish is a sequence of places: a
 * country (or any), in it a city (or any), in it the providers of one position (or all). In a place all gateways are equal. Of
 * these, without reading them all, a handful is drawn by chance (draw.c), from the indexes of gateways by country and city. The
 * one of them that has the fewest leases is tried first; two choices are enough to keep the load flat (Mitzenmacher, "The power
 * of two choices in randomized load balancing"). What it was drawn for is tried as by an acquire of that gateway
 * (acquire_try()), so nobody is waited for, the limits are exact, and one lock of each kind is held at a time. If it is full, the
 * others of the handful are tried, and then all that fit in the place, in random order; then the next place.
 *
 * Where one gateway of a provider found nothing that it could not have had at any other, the others are not tried:
 * fitting_is_spent(). So that thousands of gateways are full is known from one of them. Of a big pool whose credentials select
 * gateways it is looked, as gateways turn out to be full, which credentials are not, and what they select
 * (fitting_look_around()): as soon as that is known of all, only gateways that these select are tried.
 *
 * What is given back, or becomes available, while a wish looks on is not looked for again; NG004 says that each gateway that
 * fits had no connection free at some time since the wish began.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "access.h"
#include "acquire.h"
#include "argument.h"
#include "compat.h"
#include "draw.h"
#include "errors.h"
#include "fitting.h"
#include "lease.h"
#include "scan.h"
#include "value.h"

/* so many gateways are drawn; of one place at most so many draws are made besides, of which some miss */
#define HANDFUL 3
#define MOST_MISSES 16

/* where there may be a connection at so many gateways, these are tried */
#define FEW_HOPES 64

/* so many leases of each are counted: with more, chance alone keeps the load flat */
#define MOST_COUNTED 256

/* so many rows of them are read, together */
#define MOST_READ 1024

/* with so many places or more it is looked first which there are; and so many entries of the index are read for each, at most */
#define MANY_PLACES 64
#define ENTRIES_A_PLACE 4

/* so much of a wish is in a message */
#define LABEL_NAMES 5
#define LABEL_BYTES 60

/* the columns of the indexes egress_gateway_country and egress_gateway_city */
enum
{
	COUNTRY_COUNTRY = 1,
	COUNTRY_CITY = 2,
	COUNTRY_GATEWAY_ID = 3,
	CITY_GATEWAY_ID = 2
};

/* A name of a wish. */
typedef struct WishName
{
	text	   *given;
	text	   *lower;			/* in lower case */
	int			position;
} WishName;

/* A part of a wish: names, each once. */
typedef struct WishNames
{
	int			count;
	text	  **names;			/* in lower case, */
	text	  **given;			/* and as they were given; */
	WishName   *sorted;			/* by what they are in lower case */
} WishNames;

/* A provider of whose gateways one may be taken. */
typedef struct WishProvider
{
	EgressAccess *access;
	int			position;		/* in the wish */
	bool		listed;			/* only gateways that were selected are available: these */
	int			count;
	int64	   *gateways;
	bool		nothing;		/* it has none in the place that is looked at */
} WishProvider;

/* Where a gateway is to be; NULL: anywhere. In lower case. */
typedef struct WishPlace
{
	text	   *country;
	text	   *city;
} WishPlace;

/* A gateway that may be taken. */
typedef struct WishCandidate
{
	WishProvider *provider;
	int64		gateway_id;
} WishCandidate;

/* A wish at work. */
typedef struct Wish
{
	EgressAcquire acquire;
	WishNames  *countries;		/* or NULL, as are the next two */
	WishNames  *cities;
	WishNames  *providers;
	int			avoid_count;
	int64	   *avoid;			/* ascending */
	EgressScan	by_country;		/* gateways, by provider, country and city */
	EgressScan	by_city;		/* likewise, by provider and city */
	EgressScan	leases[HANDFUL];	/* by gateway */
	EgressScan	ends;			/* of leases, by session */
	bool		any_ends;		/* there may be such */
	int			provider_count;
	WishProvider *available;	/* the providers that it does not leave out, by position */
	bool		only_look;		/* for a message: whether anything fits; */
	bool		on_bench;		/* all that are benched count, too: of these, */
	int64		bench_count;	/* so many are there, */
	int64		bench_id;		/* this one is the first to come back, */
	TimestampTz bench_until;	/* then */
	bool		full;			/* a gateway that fits is, or is being deleted */
	bool		at_gateway;		/* a credential is at one, where it may be once, */
	bool		benched;		/* or is benched */
	TimestampTz cooled_at;		/* the first connection that was seen to cool down does so until then; DT_NOEND: none */
	bool		unopened;		/* of a gateway that fits, no credential can be opened */
} Wish;

PG_FUNCTION_INFO_V1(egress_acquire_gateway);

/* -------------------------------------------------------------------- what is wished */

/* lower_case -- a text as names are compared: what lower() makes of it in the database's collation */
static text *
lower_case(text *value)
{
	return DatumGetTextPP(DirectFunctionCall1Coll(lower, DEFAULT_COLLATION_OID, PointerGetDatum(value)));
}

/* compare_lower -- by the bytes in lower case */
static int
compare_lower(const void *a, const void *b)
{
	const WishName *left = a;
	const WishName *right = b;
	int			left_length = VARSIZE_ANY_EXHDR(left->lower);
	int			right_length = VARSIZE_ANY_EXHDR(right->lower);
	int			order = memcmp(VARDATA_ANY(left->lower), VARDATA_ANY(right->lower), Min(left_length, right_length));

	return order != 0 ? order : left_length - right_length;
}

/* compare_names -- the same, then by position */
static int
compare_names(const void *a, const void *b)
{
	int			order = compare_lower(a, b);

	return order != 0 ? order : ((const WishName *) a)->position - ((const WishName *) b)->position;
}

/* compare_positions -- by position */
static int
compare_positions(const void *a, const void *b)
{
	return ((const WishName *) a)->position - ((const WishName *) b)->position;
}

/* get_elements -- the elements of an argument that is an array; of one dimension, none of them NULL */
static int
get_elements(FunctionCallInfo fcinfo, int argno, const char *name, Oid type, Datum **elements)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(argno);
	int16		length;
	bool		by_value;
	char		alignment;
	bool	   *nulls;
	int			count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must have one dimension", name),
				 errdetail("It has %d.", ARR_NDIM(array))));
	get_typlenbyvalalign(type, &length, &by_value, &alignment);
	deconstruct_array(array, type, length, by_value, alignment, elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain null", name),
					 errdetail("Element %d is null.", i + 1)));
	return count;
}

/* get_names -- an argument that is a list of names; NULL when it is, and names all */
static WishNames *
get_names(FunctionCallInfo fcinfo, int argno, const char *name)
{
	WishNames  *result;
	WishName   *names;
	Datum	   *elements;
	int			count;
	int			kept = 0;

	if (PG_ARGISNULL(argno))
		return NULL;
	count = get_elements(fcinfo, argno, name, TEXTOID, &elements);
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name),
				 errdetail("An empty list names nothing, and no gateway would fit."),
				 errhint("Give NULL for a wish that does not care.")));

	names = palloc(count * sizeof(WishName));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		names[i].given = DatumGetTextPP(elements[i]);
		names[i].lower = lower_case(names[i].given);
		names[i].position = i;
	}
	qsort(names, count, sizeof(WishName), compare_names);
	for (int i = 0; i < count; i++)
		if (kept == 0 || !value_same_text(names[kept - 1].lower, names[i].lower))
			names[kept++] = names[i];
	qsort(names, kept, sizeof(WishName), compare_positions);

	result = palloc(sizeof(WishNames));
	result->count = kept;
	result->names = palloc(kept * sizeof(text *));
	result->given = palloc(kept * sizeof(text *));
	for (int i = 0; i < kept; i++)
	{
		result->names[i] = names[i].lower;
		result->given[i] = names[i].given;
		names[i].position = i;
	}
	qsort(names, kept, sizeof(WishName), compare_lower);
	result->sorted = names;
	return result;
}

/* get_avoid -- the argument avoid; NULL, or empty, avoids nothing */
static void
get_avoid(FunctionCallInfo fcinfo, int argno, Wish *wish)
{
	Datum	   *elements;

	if (PG_ARGISNULL(argno))
		return;
	wish->avoid_count = get_elements(fcinfo, argno, "avoid", INT8OID, &elements);
	wish->avoid = palloc(Max(wish->avoid_count, 1) * sizeof(int64));
	for (int i = 0; i < wish->avoid_count; i++)
		wish->avoid[i] = DatumGetInt64(elements[i]);
	qsort(wish->avoid, wish->avoid_count, sizeof(int64), value_compare_ids);
}

/* position_of_lower -- where in a list a text is, which is in lower case; 0 when there is no list, -1 when it is not there */
static int
position_of_lower(const WishNames *names, text *value)
{
	WishName	wanted = {.lower = value};
	WishName   *found;

	if (names == NULL)
		return 0;
	if (value == NULL)
		return -1;
	found = bsearch(&wanted, names->sorted, names->count, sizeof(WishName), compare_lower);
	return found == NULL ? -1 : found->position;
}

/* position_of -- the same of a text as it is */
static int
position_of(const WishNames *names, text *value)
{
	return position_of_lower(names, names == NULL || value == NULL ? NULL : lower_case(value));
}

/* is_avoided -- is a gateway one that it is not to be? */
static bool
is_avoided(const Wish *wish, int64 gateway_id)
{
	return wish->avoid_count > 0 &&
		bsearch(&gateway_id, wish->avoid, wish->avoid_count, sizeof(int64), value_compare_ids) != NULL;
}

/* is_at -- is the gateway in the current row of a scan at a place? */
static bool
is_at(EgressScan *gateways, const WishPlace *place)
{
	text	   *country = scan_text(gateways, Anum_egress_gateway_country);
	text	   *city = scan_text(gateways, Anum_egress_gateway_city);

	if (place->country != NULL && (country == NULL || !value_same_text(lower_case(country), place->country)))
		return false;
	return place->city == NULL || (city != NULL && value_same_text(lower_case(city), place->city));
}

/* -------------------------------------------------------------------- finding candidates */

/* compare_providers -- by position */
static int
compare_providers(const void *a, const void *b)
{
	return ((const WishProvider *) a)->position - ((const WishProvider *) b)->position;
}

/* is_available -- is a gateway available, by all that its row does not say? To a wish for a message, what is benched may be */
static bool
is_available(const Wish *wish, EgressAccess *access, int64 gateway_id)
{
	EgressVerdict verdict = access_decide(access, gateway_id, true, false);

	return verdict == ACCESS_AVAILABLE || (wish->on_bench && verdict == ACCESS_BENCHED);
}

/* list_selected -- note the gateways of a provider that are available because they were selected */
static void
list_selected(const Wish *wish, WishProvider *provider)
{
	EgressAccess *access = provider->access;
	HASH_SEQ_STATUS status;
	EgressSelected *entry;

	provider->listed = true;
	if (access->selected == NULL)
		return;
	provider->gateways = palloc(hash_get_num_entries(access->selected) * sizeof(int64));
	hash_seq_init(&status, access->selected);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (is_available(wish, access, entry->gateway_id))
			provider->gateways[provider->count++] = entry->gateway_id;
}

/* call_providers -- a List of EgressAccess: what the call may do, read anew */
static List *
call_providers(Wish *wish)
{
	wish->acquire.call.counts = NIL;
	return access_to_providers(&wish->acquire.call);
}

/* find_providers -- the providers of the call that the wish does not leave out */
static void
find_providers(Wish *wish, List *providers)
{
	ListCell   *cell;

	wish->provider_count = 0;
	wish->available = palloc0(Max(list_length(providers), 1) * sizeof(WishProvider));
	foreach(cell, providers)
	{
		WishProvider *provider = &wish->available[wish->provider_count];

		memset(provider, 0, sizeof(WishProvider));
		provider->access = lfirst(cell);
		provider->position = position_of(wish->providers, cstring_to_text(provider->access->provider_name));
		if (provider->position < 0 || !provider->access->provider_enabled)
			continue;
		if (!provider->access->mapped_all || (provider->access->credentials_all == NIL && !provider->access->big))
			list_selected(wish, provider);
		if (!provider->listed || provider->count > 0)
			wish->provider_count++;
	}
	qsort(wish->available, wish->provider_count, sizeof(WishProvider), compare_providers);
}

/* range_of -- the index, and the keys in it, of a provider's gateways at a place; returns the number of keys */
static int
range_of(Wish *wish, int64 provider_id, const WishPlace *place, EgressScan **scan, int *id_column, Datum *keys)
{
	int			count = 0;

	*scan = place->country == NULL && place->city != NULL ? &wish->by_city : &wish->by_country;
	*id_column = *scan == &wish->by_city ? CITY_GATEWAY_ID : COUNTRY_GATEWAY_ID;
	keys[count++] = Int64GetDatum(provider_id);
	if (place->country != NULL)
		keys[count++] = PointerGetDatum(place->country);
	if (place->city != NULL)
		keys[count++] = PointerGetDatum(place->city);
	return count;
}

/* start_range -- begin to go through the index's entries of a provider's gateways at a place */
static EgressScan *
start_range(Wish *wish, int64 provider_id, const WishPlace *place, int *id_column)
{
	EgressScan *scan;
	Datum		keys[SCAN_MAX_KEYS];
	int			count = range_of(wish, provider_id, place, &scan, id_column, keys);

	scan_stop(scan);
	scan_key_id(scan, provider_id);
	for (int i = 1; i < count; i++)
		scan_key_text(scan, DatumGetTextPP(keys[i]));
	scan_start(scan, wish->acquire.snapshot);
	return scan;
}

/* may_be_taken -- may a gateway of a provider be taken, by all that its row does not say, and that was not found out since? */
static bool
may_be_taken(Wish *wish, WishProvider *provider, int64 gateway_id)
{
	return !is_avoided(wish, gateway_id) &&
		!fitting_is_spent(provider->access, gateway_id) &&
		is_available(wish, provider->access, gateway_id);
}

/* find_gateway -- let a gateway of a provider be the current row; false unless it is available, and at the place */
static bool
find_gateway(Wish *wish, WishProvider *provider, int64 gateway_id, const WishPlace *place)
{
	EgressScan *gateways = &wish->acquire.gateways;

	return scan_find_id(gateways, gateway_id, wish->acquire.snapshot) &&
		scan_id(gateways, Anum_egress_gateway_egress_provider_id) == provider->access->provider_id &&
		access_decide_row(provider->access, gateways) == ACCESS_AVAILABLE &&
		is_at(gateways, place);
}

/* draw_gateway -- draw a gateway of a provider by chance, which is perhaps at the place */
static EgressDrawOutcome
draw_gateway(Wish *wish, WishProvider *provider, const WishPlace *place, int64 *gateway_id)
{
	EgressScan *scan;
	Datum		keys[SCAN_MAX_KEYS];
	int			id_column;
	int			count;

	if (provider->listed)
	{
		*gateway_id = provider->gateways[pg_prng_uint64_range(&pg_global_prng_state, 0, provider->count - 1)];
		return DRAW_DRAWN;
	}
	count = range_of(wish, provider->access->provider_id, place, &scan, &id_column, keys);
	return draw_id(scan->index, keys, count, id_column + 1, gateway_id);
}

/* is_among -- is a gateway one of these? */
static bool
is_among(const WishCandidate *candidates, int count, int64 gateway_id)
{
	for (int i = 0; i < count; i++)
		if (candidates[i].gateway_id == gateway_id)
			return true;
	return false;
}

/* draw_handful -- draw gateways of providers at a place, each once; returns how many */
static int
draw_handful(Wish *wish, WishProvider *providers, int provider_count, const WishPlace *place, WishCandidate *drawn)
{
	int			count = 0;
	int			left = HANDFUL + MOST_MISSES + provider_count;
	int			next = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, provider_count - 1);
	int64		last = 0;
	int			same = 0;

	/* where the same one is drawn again and again there are few, and chance is not needed */
	for (; count < HANDFUL && left > 0 && same < HANDFUL; left--, next++)
	{
		WishProvider *provider = &providers[next % provider_count];
		EgressDrawOutcome outcome;
		int64		gateway_id;

		CHECK_FOR_INTERRUPTS();
		if (provider->nothing || fitting_is_all_spent(provider->access))
			continue;
		outcome = draw_gateway(wish, provider, place, &gateway_id);
		provider->nothing = outcome == DRAW_NOTHING;
		if (outcome != DRAW_DRAWN)
			continue;
		same = gateway_id == last ? same + 1 : 0;
		last = gateway_id;
		if (!is_among(drawn, count, gateway_id) && may_be_taken(wish, provider, gateway_id) &&
			find_gateway(wish, provider, gateway_id, place))
			drawn[count++] = (WishCandidate) {.provider = provider, .gateway_id = gateway_id};
	}
	return count;
}

/* A count of the leases of a gateway, which goes on. */
typedef struct UseCount
{
	EgressScan *leases;
	int			rows;			/* so many were read, but for what cools down */
	int			used;			/* so many of these count */
	bool		ended;			/* there are no more */
} UseCount;

/* start_count -- begin to count the leases of a gateway, from the newest on, as far as the index has them so */
static void
start_count(UseCount *count, int64 gateway_id)
{
	count->rows = count->used = 0;
	count->ended = false;
	scan_key_id(count->leases, gateway_id);
	scan_start_dirty(count->leases);
}

/* count_next -- count one more, if there is one; *left is how many rows may be read */
static void
count_next(UseCount *count, int *left)
{
	do
	{
		count->ended = --*left < 0 || !scan_previous(count->leases);
		if (count->ended)
			return;
	} while (lease_is_cooling(count->leases));
	count->rows++;
	count->used++;
}

/* has_expired -- has the lease in a scan's current row expired? Not if an open transaction says so, or says something else */
static bool
has_expired(Wish *wish, EgressScan *lease)
{
	EgressScan *ends = &wish->ends;
	TimestampTz now = GetCurrentTimestamp();
	bool		expired = false;

	scan_key_text(ends, DatumGetTextPP(scan_value(lease, Anum_egress_lease_session_id)));
	scan_start_dirty(ends);
	while (scan_next(ends))
	{
		if (scan_timestamp(ends, Anum_egress_lease_expiry_expires_at) > now || TransactionIdIsValid(ends->dirty.xmin))
			return false;
		expired = true;
	}
	return expired;
}

/* is_looked_up -- is it looked up whether the lease that is read as this one, counted from 1, has expired? */
static bool
is_looked_up(int row)
{
	/* 1, 2, 3, 4, 6, 8, 12, 16 and so on */
	int			third = row % 3 == 0 ? row / 3 : row;

	return (third & (third - 1)) == 0;
}

/* count_live -- count anew, up to so many rows, without what has expired; those in between are what the last one was that was looked up */
static void
count_live(Wish *wish, UseCount *count, int64 gateway_id, int rows)
{
	int			left = MOST_READ;
	int			live = 0;
	bool		counts = true;

	start_count(count, gateway_id);
	while (count->rows < rows)
	{
		count_next(count, &left);
		if (count->ended)
			break;
		if (is_looked_up(count->rows))
			counts = !has_expired(wish, count->leases);
		live += counts ? 1 : 0;
	}
	count->used = live;
}

/*
 * least_used -- which of some gateways has the fewest leases, those of open transactions among them
 *
 * All are counted at once, one lease of each after the other, so it takes as long as the shortest count takes. Connections that cool
 * down do not count, nor what has expired. To look that up for each would take longer than the rest of a wish. So it is looked
 * up for the lease at which each count has come to: what has expired, and nobody has removed, is mostly older than what has
 * not. Only where one has, they are counted more carefully.
 */
static int
least_used(Wish *wish, const WishCandidate *candidates, int count)
{
	UseCount	counts[HANDFUL];
	int			left = MOST_READ;
	int			least = -1;
	bool		expired = false;

	if (count == 1)
		return 0;
	for (int i = 0; i < count; i++)
	{
		counts[i].leases = &wish->leases[i];
		start_count(&counts[i], candidates[i].gateway_id);
	}
	for (int counted = 0; least < 0 && counted < MOST_COUNTED && left > 0; counted++)
		for (int i = 0; i < count; i++)
		{
			count_next(&counts[i], &left);
			if (counts[i].ended && (least < 0 || counts[i].used < counts[least].used))
				least = i;
		}
	least = Max(least, 0);
	if (!wish->any_ends || counts[least].used == 0)
		return least;

	for (int i = 0; i < count; i++)
		if (!counts[i].ended && has_expired(wish, counts[i].leases))
		{
			count_live(wish, &counts[i], candidates[i].gateway_id, counts[i].rows);
			expired = true;
		}
	if (!expired)
		return least;
	count_live(wish, &counts[least], candidates[least].gateway_id, counts[least].rows);
	for (int i = 0; i < count; i++)
		if (counts[i].used < counts[least].used)
			least = i;
	return least;
}

/* collect -- all gateways of a provider that may be taken, and are perhaps at the place, but those that were drawn */
static int64 *
collect(Wish *wish, WishProvider *provider, const WishPlace *place, const WishCandidate *drawn, int drawn_count, int *count)
{
	int			size = Max(provider->count, FEW_HOPES);
	int64	   *result = palloc(size * sizeof(int64));
	EgressAccess *access = provider->access;
	const int64 *at_hand = NULL;
	int			at_hand_count = 0;
	EgressScan *scan;
	int			id_column;

	*count = 0;
	/* those that were selected are at hand; where it matters where they are, the index knows what is there */
	if (provider->listed && place->country == NULL && place->city == NULL)
	{
		at_hand = provider->gateways;
		at_hand_count = provider->count;
	}
	/* where there may be a connection at few, wherever these are, it does not have to say what is there */
	if (access->looked_around && access->hope_count <= FEW_HOPES)
	{
		at_hand = access->hoped;
		at_hand_count = access->hope_count;
	}
	if (at_hand != NULL)
	{
		for (int i = 0; i < at_hand_count; i++)
			if (may_be_taken(wish, provider, at_hand[i]) && !is_among(drawn, drawn_count, at_hand[i]))
				result[(*count)++] = at_hand[i];
		return result;
	}
	scan = start_range(wish, provider->access->provider_id, place, &id_column);
	while (scan_next_entry(scan))
	{
		int64		gateway_id = DatumGetInt64(scan->entry[id_column]);

		if (!may_be_taken(wish, provider, gateway_id) || is_among(drawn, drawn_count, gateway_id) ||
			!scan_entry_is_visible(scan))
			continue;
		if (*count == size)
		{
			size *= 2;
			result = repalloc_huge(result, size * sizeof(int64));
		}
		result[(*count)++] = gateway_id;
		if (wish->only_look && !wish->on_bench)
			break;
	}
	scan_stop(scan);
	return result;
}

/* -------------------------------------------------------------------- taking one */

/* try_gateway -- take a gateway of a provider, if it is at the place and has a connection free */
static bool
try_gateway(Wish *wish, const WishCandidate *candidate, const WishPlace *place)
{
	EgressAcquire *acquire = &wish->acquire;
	EgressAcquireTry tried;

	CHECK_FOR_INTERRUPTS();
	if (fitting_is_spent(candidate->provider->access, candidate->gateway_id) ||
		!find_gateway(wish, candidate->provider, candidate->gateway_id, place))
		return false;
	acquire->access = candidate->provider->access;
	acquire_try(acquire, &tried);
	wish->full |= tried.outcome == TRY_FULL || tried.outcome == TRY_DELETED;
	wish->at_gateway |= tried.outcome == TRY_FULL && tried.at_gateway;
	wish->benched |= tried.outcome == TRY_FULL && tried.benched;
	wish->cooled_at = Min(wish->cooled_at, tried.cooled_at);
	wish->unopened |= tried.outcome == TRY_UNOPENED;
	if (tried.outcome == TRY_FULL)
		fitting_look_around(acquire->access, &acquire->pool);
	return tried.outcome == TRY_TAKEN;
}

/* try_drawn -- try some that were drawn, the least used first */
static bool
try_drawn(Wish *wish, WishCandidate *drawn, int count, const WishPlace *place)
{
	int			least;

	if (count == 0)
		return false;
	least = least_used(wish, drawn, count);
	if (try_gateway(wish, &drawn[least], place))
		return true;
	for (int i = 0; i < count; i++)
		if (i != least && try_gateway(wish, &drawn[i], place))
			return true;
	return false;
}

/* swap_by_chance -- let each of some gateways be the next with the same chance */
static void
swap_by_chance(WishCandidate *candidates, int from, int count)
{
	int			other = (int) pg_prng_uint64_range(&pg_global_prng_state, from, count - 1);
	WishCandidate candidate = candidates[from];

	candidates[from] = candidates[other];
	candidates[other] = candidate;
}

/* note_benched -- note which of some gateways of a place are benched, and which is the first to come back */
static void
note_benched(Wish *wish, const WishCandidate *candidates, int count, const WishPlace *place)
{
	EgressScan *gateways = &wish->acquire.gateways;

	for (int i = 0; i < count; i++)
	{
		EgressAccess *access = candidates[i].provider->access;
		EgressBench bench;

		CHECK_FOR_INTERRUPTS();
		if (!scan_find_id(gateways, candidates[i].gateway_id, wish->acquire.snapshot) || !is_at(gateways, place) ||
			access_decide_row(access, gateways) != ACCESS_BENCHED ||
			!access_is_benched(access, BENCH_GATEWAY, candidates[i].gateway_id, &bench))
			continue;
		if (wish->bench_count++ > 0 && wish->bench_until <= bench.until)
			continue;
		wish->bench_id = candidates[i].gateway_id;
		wish->bench_until = bench.until;
	}
}

/* try_all -- try all gateways of providers at a place, but those that were drawn and tried */
static bool
try_all(Wish *wish, WishProvider *providers, int provider_count, const WishPlace *place, const WishCandidate *drawn,
		int drawn_count)
{
	WishCandidate *all = NULL;
	int			count = 0;
	int			handful;

	for (int i = 0; i < provider_count; i++)
	{
		WishProvider *provider = &providers[i];
		int			more;
		int64	   *gateways;

		if (provider->nothing || fitting_is_all_spent(provider->access))
			continue;
		gateways = collect(wish, provider, place, drawn, drawn_count, &more);
		if (more == 0)
		{
			pfree(gateways);
			continue;
		}
		all = all == NULL ? palloc_extended(more * sizeof(WishCandidate), MCXT_ALLOC_HUGE) :
			repalloc_huge(all, (count + more) * sizeof(WishCandidate));
		for (int j = 0; j < more; j++)
			all[count++] = (WishCandidate) {.provider = provider, .gateway_id = gateways[j]};
		pfree(gateways);
	}
	if (wish->on_bench)
		note_benched(wish, all, count, place);
	if (wish->only_look)
		return count > 0 && !wish->on_bench;

	handful = Min(count, HANDFUL);
	for (int i = 0; i < handful; i++)
		swap_by_chance(all, i, count);
	if (try_drawn(wish, all, handful, place))
		return true;
	for (int i = handful; i < count; i++)
	{
		swap_by_chance(all, i, count);
		if (try_gateway(wish, &all[i], place))
			return true;
	}
	return false;
}

/* try_place -- take a gateway of providers at a place, if one has a connection free */
static bool
try_place(Wish *wish, WishProvider *providers, int provider_count, const WishPlace *place)
{
	WishCandidate drawn[HANDFUL];
	int			count = 0;

	for (int i = 0; i < provider_count; i++)
		providers[i].nothing = false;
	if (!wish->only_look)
		count = draw_handful(wish, providers, provider_count, place, drawn);
	/* one alone is no choice: there may be others, though few */
	if (count == 1)
		count = 0;
	return try_drawn(wish, drawn, count, place) ||
		try_all(wish, providers, provider_count, place, drawn, count);
}

/* try_providers -- the same, of one position of the providers after the other */
static bool
try_providers(Wish *wish, const WishPlace *place)
{
	int			first = 0;

	while (first < wish->provider_count)
	{
		int			next = first + 1;

		CHECK_FOR_INTERRUPTS();
		while (next < wish->provider_count && wish->available[next].position == wish->available[first].position)
			next++;
		if (try_place(wish, &wish->available[first], next - first, place))
			return true;
		first = next;
	}
	return false;
}

/* is_anything_at -- does the index have a gateway at a place? */
static bool
is_anything_at(Wish *wish, const WishPlace *place)
{
	for (int i = 0; i < wish->provider_count; i++)
	{
		int			id_column;

		if (scan_next_entry(start_range(wish, wish->available[i].access->provider_id, place, &id_column)))
			return true;
	}
	return false;
}

/* those_there_are -- of a list, the names of which the index has a gateway: their order is kept */
static WishNames *
those_there_are(Wish *wish, const WishNames *names, bool countries)
{
	WishNames  *result = palloc0(sizeof(WishNames));

	result->names = palloc(names->count * sizeof(text *));
	for (int i = 0; i < names->count; i++)
	{
		WishPlace	place = {
			.country = countries ? names->names[i] : NULL,
			.city = countries ? NULL : names->names[i]
		};

		if (is_anything_at(wish, &place))
			result->names[result->count++] = names->names[i];
	}
	return result;
}

/* A place, by the positions of its names in the wish. */
typedef struct PlacePosition
{
	int			country;
	int			city;
} PlacePosition;

/* compare_places -- the order of places in a wish */
static int
compare_places(const void *a, const void *b)
{
	const PlacePosition *left = a;
	const PlacePosition *right = b;

	return left->country != right->country ? left->country - right->country : left->city - right->city;
}

/* entry_text -- a column of the index's entry that a scan is at, or NULL */
static text *
entry_text(EgressScan *scan, int column)
{
	return scan->entry_nulls[column] ? NULL : DatumGetTextPP(scan->entry[column]);
}

/*
 * list_places -- list those of the wish's places of which the index has a gateway, in their order; returns how many, or -1
 *
 * That is, the gateways are more than may be read for it.
 */
static int
list_places(Wish *wish, int64 most, PlacePosition **places)
{
	int			size = MANY_PLACES;
	int			count = 0;
	int			kept = 0;

	*places = palloc(size * sizeof(PlacePosition));
	for (int i = 0; i < wish->provider_count; i++)
	{
		WishPlace	anywhere = {NULL, NULL};
		int			id_column;
		EgressScan *scan = start_range(wish, wish->available[i].access->provider_id, &anywhere, &id_column);

		while (scan_next_entry(scan))
		{
			PlacePosition place;

			if (--most < 0)
				return -1;
			place.country = position_of_lower(wish->countries, entry_text(scan, COUNTRY_COUNTRY));
			place.city = place.country < 0 ? -1 : position_of_lower(wish->cities, entry_text(scan, COUNTRY_CITY));
			if (place.city < 0 || (count > 0 && compare_places(&(*places)[count - 1], &place) == 0))
				continue;
			if (count == size)
			{
				size *= 2;
				*places = repalloc_huge(*places, size * sizeof(PlacePosition));
			}
			(*places)[count++] = place;
		}
		scan_stop(scan);
	}
	qsort(*places, count, sizeof(PlacePosition), compare_places);
	for (int i = 0; i < count; i++)
		if (kept == 0 || compare_places(&(*places)[kept - 1], &(*places)[i]) != 0)
			(*places)[kept++] = (*places)[i];
	return kept;
}

/* try_at -- take a gateway at a place, by the positions of its names in these lists */
static bool
try_at(Wish *wish, const WishNames *countries, int country, const WishNames *cities, int city)
{
	WishPlace	place = {
		.country = countries == NULL ? NULL : countries->names[country],
		.city = cities == NULL ? NULL : cities->names[city]
	};

	return try_providers(wish, &place);
}

/* try_wish -- take a gateway that fits the wish, if one has a connection free */
static bool
try_wish(Wish *wish)
{
	const WishNames *countries = wish->countries;
	const WishNames *cities = wish->cities;
	int64		places = (int64) (countries == NULL ? 1 : countries->count) * (cities == NULL ? 1 : cities->count);

	/* it takes as long to see that nothing is at a place as to read some entries of the index */
	if (places >= MANY_PLACES)
	{
		PlacePosition *there;
		int			count = list_places(wish, places * wish->provider_count * ENTRIES_A_PLACE, &there);

		for (int i = 0; i < count; i++)
			if (try_at(wish, countries, there[i].country, cities, there[i].city))
				return true;
		if (count >= 0)
			return false;
	}
	if (countries != NULL && cities != NULL && places >= MANY_PLACES)
	{
		countries = those_there_are(wish, countries, true);
		cities = those_there_are(wish, cities, false);
	}
	for (int i = 0; i < (countries == NULL ? 1 : countries->count); i++)
		for (int j = 0; j < (cities == NULL ? 1 : cities->count); j++)
			if (try_at(wish, countries, i, cities, j))
				return true;
	return false;
}

/* -------------------------------------------------------------------- refusing */

/* append_names -- a part of the wish, as messages have it */
static void
append_names(StringInfo label, const char *part, const WishNames *names)
{
	if (names == NULL)
		return;
	appendStringInfo(label, "%s%s ", label->len == 0 ? "" : ", ", part);
	for (int i = 0; i < Min(names->count, LABEL_NAMES); i++)
	{
		const char *name = VARDATA_ANY(names->given[i]);
		int			length = VARSIZE_ANY_EXHDR(names->given[i]);
		int			shown = pg_mbcliplen(name, length, LABEL_BYTES);

		appendStringInfo(label, "%s\"%.*s%s\"", i == 0 ? "" : " or ", shown, name, shown < length ? "..." : "");
	}
	if (names->count > LABEL_NAMES)
		appendStringInfo(label, " or %d more", names->count - LABEL_NAMES);
}

/* wish_label -- the wish, as messages have it */
static char *
wish_label(Wish *wish)
{
	StringInfoData label;

	initStringInfo(&label);
	append_names(&label, "country", wish->countries);
	append_names(&label, "city", wish->cities);
	append_names(&label, "provider", wish->providers);
	if (wish->avoid_count > 0)
		appendStringInfo(&label, wish->avoid_count == 1 ? "%savoiding %d gateway" : "%savoiding %d gateways",
						 label.len == 0 ? "" : ", ", wish->avoid_count);
	return label.len == 0 ? pstrdup("any gateway") : label.data;
}

/* find_benched -- look for gateways that would fit, were they not benched; false: there are none */
static bool
find_benched(Wish *wish)
{
	wish->only_look = wish->on_bench = true;
	find_providers(wish, call_providers(wish));
	(void) try_wish(wish);
	wish->only_look = wish->on_bench = false;
	return wish->bench_count > 0;
}

/* why_nothing_fits -- which part of the wish leaves nothing, the others given first */
static const char *
why_nothing_fits(Wish *wish)
{
	Wish		relaxed = *wish;
	List	   *providers = call_providers(wish);

	relaxed.only_look = true;
	relaxed.countries = relaxed.cities = relaxed.providers = NULL;
	relaxed.avoid_count = 0;
	find_providers(&relaxed, providers);
	if (!try_wish(&relaxed))
		return "No gateway at all is available to them.";
	relaxed.providers = wish->providers;
	find_providers(&relaxed, providers);
	if (!try_wish(&relaxed))
		return "None that is available to them is of such a provider.";
	relaxed.countries = wish->countries;
	if (!try_wish(&relaxed))
		return wish->providers == NULL ? "None that is available to them is in such a country." :
			"None of such a provider is in such a country.";
	relaxed.cities = wish->cities;
	if (!try_wish(&relaxed))
		return wish->providers == NULL && wish->countries == NULL ? "None that is available to them is in such a city." :
			"None of what is left by the other parts of the wish is in such a city.";
	relaxed.avoid_count = wish->avoid_count;
	if (!try_wish(&relaxed))
		return "All others are to be avoided.";
	return "What fits is not available any more.";
}

/* refuse -- raise NG002, NG004 or NG006 */
pg_noreturn static void
refuse(Wish *wish)
{
	const char *caller = acquire_call_label(wish->acquire.user_id, wish->acquire.workspace_id);
	const char *label = wish_label(wish);
	const char *cools = acquire_cools(wish->cooled_at);

	if (!wish->full && wish->unopened)
		acquire_refuse_unopened(&wish->acquire);
	acquire_log_passed_over(&wish->acquire);
	if (!wish->full && find_benched(wish))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_GATEWAY_NOT_AVAILABLE),
				 errmsg("no gateway that is available to %s fits the wish: %s", caller, label),
				 wish->bench_count == 1 ?
				 errdetail("The one that would fit, gateway " INT64_FORMAT ", is benched until %s.", wish->bench_id,
						   timestamptz_to_str(wish->bench_until)) :
				 errdetail(INT64_FORMAT " that would fit are benched; the first until %s, gateway " INT64_FORMAT ".",
						   wish->bench_count, timestamptz_to_str(wish->bench_until), wish->bench_id),
				 errhint("Wish less, or try again then. egress_benched shows what is benched, and egress_unbench() lifts it.")));
	if (!wish->full)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_GATEWAY_NOT_AVAILABLE),
				 errmsg("no gateway that is available to %s fits the wish: %s", caller, label),
				 errdetail_internal("%s", why_nothing_fits(wish)),
				 errhint("See egress_available_gateways() and egress_explain_access().")));
	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_AT_LIMIT),
			 errmsg("no connection is free for %s at a gateway that fits the wish: %s", caller, label),
			 wish->benched && wish->at_gateway ?
			 errdetail("The credentials that fit are at their limits, at the gateways already, where each may be once, or benched.%s",
					   cools) :
			 wish->benched ? errdetail("The credentials that fit are at their limits, or benched.%s", cools) :
			 wish->at_gateway ?
			 errdetail("The credentials that fit are at their limits, or at the gateways already, where each may be once.%s", cools) :
			 errdetail("The credentials that fit are at their limits.%s", cools),
			 wish->benched ?
			 errhint("Wish less, or try again later. egress_benched shows what is benched, and egress_unbench() lifts it.") :
			 errhint(cools[0] != '\0' ? "Wish less, or try again then, or when a session has ended." :
					 "Wish less, or try again when a session has ended.")));
}

/* return_held -- let the result be the lease that the session holds; raise NG005 when it is not what is wished */
static bool
return_held(Wish *wish)
{
	EgressAcquire *acquire = &wish->acquire;
	int64		gateway_id = acquire_held_gateway(acquire);

	access_find_gateway(&acquire->gateways, gateway_id, acquire->snapshot);
	acquire->access = access_to_gateway(&acquire->call, &acquire->gateways);
	return acquire_return(acquire, !is_avoided(wish, gateway_id) &&
						  position_of(wish->countries, scan_text(&acquire->gateways, Anum_egress_gateway_country)) >= 0 &&
						  position_of(wish->cities, scan_text(&acquire->gateways, Anum_egress_gateway_city)) >= 0 &&
						  position_of(wish->providers, cstring_to_text(acquire->access->provider_name)) >= 0);
}

/* egress_acquire_gateway -- choose a gateway, and lease a connection to a session; see COMMENT ON FUNCTION */
Datum
egress_acquire_gateway(PG_FUNCTION_ARGS)
{
	Wish		wish;
	EgressAcquire *acquire = &wish.acquire;
	bool		held;
	Datum		row;

	memset(&wish, 0, sizeof(wish));
	wish.cooled_at = DT_NOEND;
	acquire->user_id = argument_id(fcinfo, 0, "user_id");
	acquire->workspace_id = argument_optional_id(fcinfo, 1, "workspace_id");
	acquire->session_id = argument_id(fcinfo, 2, "session_id");
	wish.countries = get_names(fcinfo, 3, "countries");
	wish.cities = get_names(fcinfo, 4, "cities");
	wish.providers = get_names(fcinfo, 5, "providers");
	get_avoid(fcinfo, 6, &wish);
	acquire->ttl = lease_get_ttl(fcinfo, 7);

	acquire_open(acquire, fcinfo->flinfo->fn_oid, "egress_acquire_gateway()");
	scan_open_entries(&wish.by_country, INDEX_GATEWAY_COUNTRY);
	scan_open_entries(&wish.by_city, INDEX_GATEWAY_CITY);
	for (int i = 0; i < HANDFUL; i++)
		scan_open(&wish.leases[i], INDEX_LEASE_GATEWAY, AccessShareLock);
	scan_open(&wish.ends, INDEX_LEASE_EXPIRY_SESSION, AccessShareLock);
	wish.any_ends = RelationGetNumberOfBlocks(wish.ends.table) > 0;

	acquire_begin(acquire);
	held = acquire->state == LEASE_LIVE && return_held(&wish);
	if (!held)
	{
		find_providers(&wish, call_providers(&wish));
		if (!try_wish(&wish))
			refuse(&wish);
		acquire_log_passed_over(acquire);
	}
	row = acquire_end(acquire, fcinfo, held, true);

	scan_close(&wish.ends);
	for (int i = 0; i < HANDFUL; i++)
		scan_close(&wish.leases[i]);
	scan_close(&wish.by_city);
	scan_close(&wish.by_country);
	return row;
}
