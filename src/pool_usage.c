/*
 * pool_usage.c -- how full the pools are, and at which gateways: egress_pools(), which the view egress_pool_usage is made of
 *
 * A pool is what the credentials of a provider for one subject are. It is as full as it is at a gateway: a credential that selects
 * gateways gives the others nothing, and one that may be at each gateway once gives nothing where it is. So a pool may have
 * hundreds of connections free and none for one country. There may be 100,000 pools of 1,000 gateways each. So what is kept is,
 * for each pool, what it gives at every gateway, and only for those gateways at which it is something else, that: its gateways
 * that are selected, and those at which a credential of its is that may be there once.
 *
 * The gateways are those of the menus: enabled, not withdrawn, of a provider that is enabled. Whether one is benched makes no
 * difference: that passes. A credential that is benched has nothing to give, but has its limit.
 *
 * Each table is read once, as of the query's snapshot, and live is what has not expired by the clock when it begins.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "bench.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"
#include "once.h"
#include "scan.h"
#include "shape.h"
#include "subject.h"
#include "usage.h"
#include "value.h"

/* the columns that come back of a pool, and their types: shape.c */
#define POOL_COLUMNS 14
#define POOL_TYPES "istiiiiiiiiiii"

typedef struct Provider
{
	int64		id;				/* hash key */
	bool		enabled;
	EgressBenchRule bench_rule;
	int64		gateways;		/* how many are in menus */
	char		status;
} Provider;

#define SH_PREFIX providers
#define SH_ELEMENT_TYPE Provider
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) value_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* A gateway that is in menus. */
typedef struct Gateway
{
	int64		id;				/* hash key */
	char		status;
} Gateway;

#define SH_PREFIX gateways
#define SH_ELEMENT_TYPE Gateway
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) value_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* What credentials give at a gateway. */
typedef struct Give
{
	int64		limit;			/* of those that have one */
	int64		available;
	int64		unlimited;		/* how many give any number */
} Give;

typedef struct PoolKey
{
	int64		provider_id;
	EgressSubject subject;
} PoolKey;

typedef struct PoolUsage
{
	PoolKey		key;
	Provider   *provider;
	int64		credentials;	/* of the enabled ones: how many, */
	int64		keys;			/* that may be at each gateway once, */
	int64		benched;
	int64		limit;			/* of those that have one */
	int64		active;			/* of all, disabled ones, too */
	int64		cooling;
	int64		all;			/* enabled ones that allow all gateways; they */
	Give		everywhere;		/* give this at each, if nothing else is known of it */
	int64		apart;			/* gateways in menus of which something else is known */
	int64		gateways;		/* in the end: gateways in menus that it is for, */
	int64		exhausted;		/* at which it has nothing to give, */
	Give		fullest;		/* and what it gives at the one that has least, by share */
	int64		fullest_id;		/* this one, */
	bool		has_fullest;	/* if there is one, */
	bool		fullest_apart;	/* of which something else is known */
} PoolUsage;

typedef struct PoolEntry
{
	PoolKey		key;
	PoolUsage  *pool;
	uint32		hash;
	char		status;
} PoolEntry;

#define SH_PREFIX pools
#define SH_ELEMENT_TYPE PoolEntry
#define SH_KEY_TYPE PoolKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_combine(value_hash_id((key).provider_id), subject_hash(&(key).subject))
#define SH_EQUAL(table, a, b) ((a).provider_id == (b).provider_id && subject_is_same(&(a).subject, &(b).subject))
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

typedef struct Credential
{
	int64		id;				/* hash key */
	PoolUsage  *pool;
	const Interval *cool_down;	/* or NULL */
	int64		active;
	int64		cooling;
	int32		limit;
	bool		limited;
	bool		once;
	bool		all_gateways;
	bool		enabled;
	bool		benched;
	char		status;
} Credential;

#define SH_PREFIX credentials
#define SH_ELEMENT_TYPE Credential
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) value_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* A credential that may be at each gateway once, and a gateway where it is. */
typedef struct PlaceKey
{
	int64		credential_id;
	int64		gateway_id;
} PlaceKey;

typedef struct Place
{
	PlaceKey	key;
	Credential *credential;
	char		status;
} Place;

#define SH_PREFIX places
#define SH_ELEMENT_TYPE Place
#define SH_KEY_TYPE PlaceKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_combine(value_hash_id((key).credential_id), value_hash_id((key).gateway_id))
#define SH_EQUAL(table, a, b) ((a).credential_id == (b).credential_id && (a).gateway_id == (b).gateway_id)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* What a pool gives at a gateway, beside what it gives everywhere. */
typedef struct SpotKey
{
	PoolUsage  *pool;
	int64		gateway_id;
} SpotKey;

typedef struct Spot
{
	SpotKey		key;
	Give		give;
	char		status;
} Spot;

#define SH_PREFIX spots
#define SH_ELEMENT_TYPE Spot
#define SH_KEY_TYPE SpotKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_combine(value_hash_id((int64) (uintptr_t) (key).pool), value_hash_id((key).gateway_id))
#define SH_EQUAL(table, a, b) ((a).pool == (b).pool && (a).gateway_id == (b).gateway_id)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* What one query finds out. */
typedef struct PoolLook
{
	Snapshot	snapshot;
	TimestampTz moment;
	EgressBenchLook benches;
	providers_hash *providers;
	gateways_hash *gateways;
	pools_hash *pools;
	credentials_hash *credentials;
	places_hash *places;
	spots_hash *spots;
} PoolLook;

PG_FUNCTION_INFO_V1(egress_pools);

/* read_provider -- note the provider in a scan's current row; an EgressScanRow, as the others are */
static void
read_provider(void *arg, EgressScan *row)
{
	PoolLook   *look = arg;
	bool		found;
	Provider   *provider = providers_insert(look->providers, scan_id(row, Anum_egress_provider_egress_provider_id), &found);

	provider->enabled = scan_bool(row, Anum_egress_provider_enabled);
	provider->bench_rule = bench_rule(row);
	provider->gateways = 0;
}

/* read_gateway -- note the gateway in a scan's current row, if it is in menus; providers are known, and stay where they are */
static void
read_gateway(void *arg, EgressScan *row)
{
	PoolLook   *look = arg;
	Provider   *provider = providers_lookup(look->providers, scan_id(row, Anum_egress_gateway_egress_provider_id));
	bool		found;

	if (provider == NULL || !provider->enabled || !scan_bool(row, Anum_egress_gateway_enabled) ||
		scan_bool(row, Anum_egress_gateway_withdrawn))
		return;
	(void) gateways_insert(look->gateways, scan_id(row, Anum_egress_gateway_egress_gateway_id), &found);
	provider->gateways++;
}

/* pool_of -- the pool of the credential in a scan's current row, made if need be */
static PoolUsage *
pool_of(PoolLook *look, Provider *provider, EgressScan *row)
{
	PoolKey		key = {
		.provider_id = provider->id,
		.subject.type = catalog_subject_label(scan_value(row, Anum_egress_credential_subject_type)),
		.subject.id = scan_text(row, Anum_egress_credential_subject_id)
	};
	bool		found;
	PoolEntry  *entry = pools_insert(look->pools, key, &found);

	if (!found)
	{
		if (key.subject.id != NULL)
			entry->key.subject.id = DatumGetTextPCopy(PointerGetDatum(key.subject.id));
		entry->pool = palloc0(sizeof(PoolUsage));
		entry->pool->key = entry->key;
		entry->pool->provider = provider;
	}
	return entry->pool;
}

/* read_credential -- note the credential in a scan's current row */
static void
read_credential(void *arg, EgressScan *row)
{
	PoolLook   *look = arg;
	Provider   *provider = providers_lookup(look->providers, scan_id(row, Anum_egress_credential_egress_provider_id));
	bool		found;
	Credential *credential;
	EgressBench bench;

	if (provider == NULL)
		return;
	credential = credentials_insert(look->credentials, scan_id(row, Anum_egress_credential_egress_credential_id), &found);
	credential->pool = pool_of(look, provider, row);
	credential->cool_down = lease_cool_down(row);
	credential->active = credential->cooling = 0;
	credential->limited = scan_bool(row, Anum_egress_credential_limit_active_connections);
	credential->limit = credential->limited ?
		DatumGetInt32(scan_value(row, Anum_egress_credential_active_connection_limit)) : 0;
	credential->once = once_applies(row);
	credential->all_gateways = scan_bool(row, Anum_egress_credential_allow_all_gateways);
	credential->enabled = scan_bool(row, Anum_egress_credential_enabled);
	credential->benched = bench_find(&look->benches, BENCH_CREDENTIAL, credential->id, &provider->bench_rule, look->moment,
									 &bench);
}

/* read_lease -- count a lease, if its connection is held; an EgressUsageLease */
static void
read_lease(void *arg, EgressScan *lease, TimestampTz ended_at)
{
	PoolLook   *look = arg;
	Credential *credential = credentials_lookup(look->credentials, scan_id(lease, Anum_egress_lease_egress_credential_id));
	bool		found;

	if (credential == NULL)
		return;
	if (ended_at == DT_NOEND)
		credential->active++;
	else if (credential->cool_down != NULL && lease_free_at(ended_at, credential->cool_down) > look->moment)
		credential->cooling++;
	else
		return;
	if (credential->once)
	{
		PlaceKey	key = {.credential_id = credential->id, .gateway_id = scan_id(lease, Anum_egress_lease_egress_gateway_id)};

		/* the credentials are all known, and stay where they are */
		places_insert(look->places, key, &found)->credential = credential;
	}
}

/* available -- how many connections a credential with a limit, or that may be at a gateway once, has to give at one */
static int64
available(const Credential *credential)
{
	int64		result = credential->limited ? credential->limit - credential->active - credential->cooling : 1;

	if (credential->benched || result <= 0)
		return 0;
	return credential->once ? 1 : result;
}

/* add -- add what an enabled credential gives at a gateway, at which it is not */
static void
add(Give *give, const Credential *credential)
{
	if (credential->limited || credential->once)
	{
		give->limit += credential->once && (!credential->limited || credential->limit > 0) ? 1 : credential->limit;
		give->available += available(credential);
	}
	else if (!credential->benched)
		give->unlimited++;
}

/* spot_of -- what a pool gives at a gateway besides, made if need be; NULL: the gateway is in no menu */
static Give *
spot_of(PoolLook *look, PoolUsage *pool, int64 gateway_id)
{
	bool		found;
	Spot	   *spot;

	if (gateways_lookup(look->gateways, gateway_id) == NULL)
		return NULL;
	spot = spots_insert(look->spots, (SpotKey) {.pool = pool, .gateway_id = gateway_id}, &found);
	if (!found)
	{
		memset(&spot->give, 0, sizeof(Give));
		pool->apart++;
	}
	return &spot->give;
}

/* add_credential -- let a credential count in its pool; its leases are counted */
static void
add_credential(const Credential *credential)
{
	PoolUsage  *pool = credential->pool;

	pool->active += credential->active;
	pool->cooling += credential->cooling;
	pool->benched += credential->benched;
	if (!credential->enabled)
		return;
	pool->credentials++;
	pool->keys += credential->once;
	pool->limit += credential->limit;
	if (credential->all_gateways)
	{
		pool->all++;
		add(&pool->everywhere, credential);
	}
}

/* is_at -- is a credential that may be at a gateway once, there? */
static bool
is_at(PoolLook *look, const Credential *credential, int64 gateway_id)
{
	return credential->once &&
		places_lookup(look->places, (PlaceKey) {.credential_id = credential->id, .gateway_id = gateway_id}) != NULL;
}

/* read_selection -- add what the credential in a scan's current row gives at the gateway in it, which it selects */
static void
read_selection(void *arg, EgressScan *row)
{
	PoolLook   *look = arg;
	int64		gateway_id = scan_id(row, Anum_egress_credential_gateway_egress_gateway_id);
	Credential *credential = credentials_lookup(look->credentials,
												scan_id(row, Anum_egress_credential_gateway_egress_credential_id));
	Give	   *give;

	if (credential == NULL || !credential->enabled || credential->all_gateways)
		return;
	give = spot_of(look, credential->pool, gateway_id);
	if (give == NULL)
		return;
	add(give, credential);
	if (is_at(look, credential, gateway_id))
		give->available -= available(credential);
}

/* take_places -- take away what credentials for all gateways do not give where they are */
static void
take_places(PoolLook *look)
{
	places_iterator i;
	Place	   *place;

	places_start_iterate(look->places, &i);
	while ((place = places_iterate(look->places, &i)) != NULL)
	{
		Credential *credential = place->credential;
		Give	   *give;

		if (!credential->enabled || !credential->all_gateways)
			continue;
		give = spot_of(look, credential->pool, place->key.gateway_id);
		if (give != NULL)
			give->available -= available(credential);
	}
}

/* share -- which share of what there may be at a gateway is taken; less than nothing where there may be any number */
static double
share(const Give *give)
{
	if (give->unlimited > 0)
		return -1;
	return give->limit == 0 ? 1 : 1 - (double) give->available / give->limit;
}

/* note_gateways -- note what a pool gives at so many gateways; gateway_id is one of which something is known apart, or NULL */
static void
note_gateways(PoolUsage *pool, Give give, int64 gateways, const int64 *gateway_id)
{
	pool->gateways += gateways;
	if (give.unlimited == 0 && give.available == 0)
		pool->exhausted += gateways;
	/* which one it is, where several are as full, depends on no hash table */
	if (pool->has_fullest &&
		(share(&give) < share(&pool->fullest) ||
		 (share(&give) == share(&pool->fullest) &&
		  (gateway_id == NULL || (pool->fullest_apart && *gateway_id > pool->fullest_id)))))
		return;
	pool->has_fullest = true;
	pool->fullest = give;
	pool->fullest_apart = gateway_id != NULL;
	pool->fullest_id = gateway_id == NULL ? 0 : *gateway_id;
}

/* look_at_gateways -- find out how full the pools are, and where */
static void
look_at_gateways(PoolLook *look)
{
	spots_iterator i;
	pools_iterator j;
	Spot	   *spot;
	PoolEntry  *entry;

	spots_start_iterate(look->spots, &i);
	while ((spot = spots_iterate(look->spots, &i)) != NULL)
	{
		const Give *everywhere = &spot->key.pool->everywhere;
		Give		give = {
			.limit = spot->give.limit + everywhere->limit,
			.available = spot->give.available + everywhere->available,
			.unlimited = spot->give.unlimited + everywhere->unlimited
		};

		note_gateways(spot->key.pool, give, 1, &spot->key.gateway_id);
	}
	pools_start_iterate(look->pools, &j);
	while ((entry = pools_iterate(look->pools, &j)) != NULL)
	{
		PoolUsage  *pool = entry->pool;
		int64		others = pool->provider->gateways - pool->apart;

		if (pool->all > 0 && others > 0)
			note_gateways(pool, pool->everywhere, others, NULL);
	}
}

/* put_pool -- the row of a pool */
static void
put_pool(ReturnSetInfo *result, PoolUsage *pool)
{
	bool		limited = pool->has_fullest && pool->fullest.unlimited == 0;
	Datum		values[POOL_COLUMNS] = {
		Int64GetDatum(pool->key.provider_id),
		catalog_subject_type(pool->key.subject.type),
		PointerGetDatum(pool->key.subject.id),
		Int64GetDatum(pool->credentials),
		Int64GetDatum(pool->keys),
		Int64GetDatum(pool->benched),
		Int64GetDatum(pool->active),
		Int64GetDatum(pool->cooling),
		Int64GetDatum(pool->limit),
		Int64GetDatum(pool->gateways),
		Int64GetDatum(pool->exhausted),
		Int64GetDatum(pool->fullest_id),
		Int64GetDatum(pool->fullest.limit),
		Int64GetDatum(pool->fullest.available)
	};
	bool		nulls[POOL_COLUMNS] = {
		[2] = pool->key.subject.id == NULL,
		[11] = !limited || !pool->fullest_apart,
		[12] = !limited,
		[13] = !limited
	};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* egress_pools -- see COMMENT ON FUNCTION */
Datum
egress_pools(PG_FUNCTION_ARGS)
{
	PoolLook	look = {.snapshot = GetActiveSnapshot(), .moment = GetCurrentTimestamp()};
	ReturnSetInfo *result;
	credentials_iterator i;
	pools_iterator j;
	Credential *credential;
	PoolEntry  *entry;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	shape_check_result(result->setDesc, "egress_pool_state", POOL_TYPES);

	look.providers = providers_create(CurrentMemoryContext, 64, NULL);
	look.gateways = gateways_create(CurrentMemoryContext, 64, NULL);
	look.pools = pools_create(CurrentMemoryContext, 64, NULL);
	look.credentials = credentials_create(CurrentMemoryContext, 64, NULL);
	look.places = places_create(CurrentMemoryContext, 64, NULL);
	look.spots = spots_create(CurrentMemoryContext, 64, NULL);
	bench_begin(&look.benches, look.snapshot, true);

	scan_all(look.snapshot, TABLE_PROVIDER, read_provider, &look);
	scan_all(look.snapshot, TABLE_GATEWAY, read_gateway, &look);
	scan_all(look.snapshot, TABLE_CREDENTIAL, read_credential, &look);
	usage_pass(look.snapshot, look.moment, NULL, read_lease, &look);
	credentials_start_iterate(look.credentials, &i);
	while ((credential = credentials_iterate(look.credentials, &i)) != NULL)
		add_credential(credential);
	scan_all(look.snapshot, TABLE_CREDENTIAL_GATEWAY, read_selection, &look);
	take_places(&look);
	look_at_gateways(&look);

	pools_start_iterate(look.pools, &j);
	while ((entry = pools_iterate(look.pools, &j)) != NULL)
		put_pool(result, entry->pool);
	return (Datum) 0;
}
