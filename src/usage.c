/*
 * usage.c -- how many live leases a gateway or a credential has: what egress_gateway_usage and egress_credential_usage are made of
 *
 * The views ask for each row that they show. For a few rows, the leases of each are looked up by index, with their ends. Who
 * shows many rows would look up every lease of the table so, in another order than it is stored in. So when the look-ups of one
 * query have cost a share of what it takes to go over all leases once, that is done: first over egress_lease_expiry, for the
 * sessions whose leases have expired, then over egress_lease, which is counted without them. So a query costs what it
 * shows, and at most little more than reading both tables once, whatever the planner knows of them.
 *
 * Of a gateway, the leases that nobody renews are counted, too: those without a row in egress_lease_expiry that are old. For
 * these the pass remembers the sessions that have one, and those whose leases are old, and compares two sorted lists: a hash table
 * of as many would cost more, for each look-up misses the processor's cache. What is remembered of a session is 64 bits of its
 * hash. Among 1,000,000, two share them once in 30 million times. Then a lease may be missing in that count, and in no other.
 *
 * What was counted is kept with the call's FmgrInfo, as long as the query lasts. Reads only, as of the query's snapshot, and
 * live is what has not expired by the clock when the query begins: on a standby, too.
 */
#include "usage.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "compat.h"
#include "lease.h"
#include "value.h"

/*
 * The look-ups of a query may find one lease for so many pages of the tables before a pass is made. A lease that is looked up
 * costs about as much as a page of the pass.
 */
#define PAGES_PER_LEASE 8

/* How old a lease without a ttl is that counts as one that nobody renews. */
#define OLD_LEASE USECS_PER_DAY

/* The live leases of a gateway or credential. */
typedef struct Usage
{
	int64		id;				/* hash key */
	int64		active;
	TimestampTz oldest;			/* when the first of these was acquired */
	int64		not_renewed;	/* of a gateway: the old ones of these without an end */
	int64		cooling;		/* of a credential: connections that cool down; */
	bool		asked;			/* its cool_down is known, */
	const Interval *cool_down;	/* this one, or NULL */
	char		status;
} Usage;

#define SH_PREFIX usages
#define SH_ELEMENT_TYPE Usage
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) value_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* A session whose lease has expired. */
typedef struct Expired
{
	text	   *session_id;		/* hash key */
	TimestampTz expires_at;
	uint32		hash;
	char		status;
} Expired;

#define SH_PREFIX expireds
#define SH_ELEMENT_TYPE Expired
#define SH_KEY_TYPE text *
#define SH_KEY session_id
#define SH_HASH_KEY(table, key) value_hash_text(key)
#define SH_EQUAL(table, a, b) value_same_text(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* A session in a pass over the leases of gateways. */
typedef struct Session
{
	uint64		hash;			/* of its id */
	int64		gateway_id;		/* of its lease, if that is old */
} Session;

typedef struct Sessions
{
	int64		count;
	int64		size;
	Session    *list;
} Sessions;

#define ST_SORT sort_sessions
#define ST_ELEMENT_TYPE Session
#define ST_COMPARE(a, b) ((a)->hash < (b)->hash ? -1 : (a)->hash > (b)->hash)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* Which leases belong together. */
typedef struct UsageKind
{
	EgressIndex index;
	AttrNumber	id;
} UsageKind;

static const UsageKind by_gateway = {INDEX_LEASE_GATEWAY, Anum_egress_lease_egress_gateway_id};
static const UsageKind by_credential = {INDEX_LEASE_SLOT, Anum_egress_lease_egress_credential_id};

/* What one query has counted. */
typedef struct Counting
{
	/* never changes */
	const UsageKind *kind;
	MemoryContext context;
	TupleDesc	result;			/* of the function */
	/* for a snapshot, and for the time when it came */
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
	CommandId	curcid;
	TimestampTz moment;
	int64		budget;			/* leases that may still be looked up */
	usages_hash *counted;		/* after a pass: all */
	/* in a pass over the leases of gateways */
	Sessions	endings;		/* sessions whose leases end by themselves */
	Sessions	olds;			/* sessions whose leases are live and old */
} Counting;

PG_FUNCTION_INFO_V1(egress_gateway_leases);
PG_FUNCTION_INFO_V1(egress_credential_leases);

/*
 * begin -- what the query has counted until now
 *
 * A FmgrInfo lasts longer than a query in PL/pgSQL, whose simple expressions keep theirs. Then the snapshot is another. (Of
 * two snapshots with the same xmax, the later one's open transactions are among the earlier one's: if they are as many, they
 * are the same.)
 */
static Counting *
begin(FunctionCallInfo fcinfo, const UsageKind *kind)
{
	Counting   *counting = fcinfo->flinfo->fn_extra;
	Snapshot	snapshot = GetActiveSnapshot();

	if (counting == NULL)
	{
		counting = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Counting));
		counting->kind = kind;
		counting->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "egress usage", ALLOCSET_DEFAULT_SIZES);
		fcinfo->flinfo->fn_extra = counting;
	}
	else if (counting->xmin == snapshot->xmin && counting->xmax == snapshot->xmax &&
			 counting->xcnt == snapshot->xcnt && counting->subxcnt == snapshot->subxcnt &&
			 counting->curcid == snapshot->curcid)
		return counting;

	counting->xmin = snapshot->xmin;
	counting->xmax = snapshot->xmax;
	counting->xcnt = snapshot->xcnt;
	counting->subxcnt = snapshot->subxcnt;
	counting->curcid = snapshot->curcid;
	counting->moment = GetCurrentTimestamp();
	counting->budget = -1;
	counting->counted = NULL;
	memset(&counting->endings, 0, sizeof(Sessions));
	memset(&counting->olds, 0, sizeof(Sessions));
	MemoryContextReset(counting->context);
	return counting;
}

/* is_old -- is the lease in the current row one that should have been renewed by now? */
static bool
is_old(Counting *counting, EgressScan *lease)
{
	return scan_timestamp(lease, Anum_egress_lease_acquired_at) < counting->moment - OLD_LEASE;
}

/* count_lease -- count the live lease in the current row */
static void
count_lease(Usage *usage, EgressScan *lease)
{
	TimestampTz acquired_at = scan_timestamp(lease, Anum_egress_lease_acquired_at);

	if (usage->active == 0 || acquired_at < usage->oldest)
		usage->oldest = acquired_at;
	usage->active++;
}

/* cool_down_of -- a credential's cool_down, by the query's snapshot */
static const Interval *
cool_down_of(Counting *counting, int64 credential_id)
{
	MemoryContext old_context = MemoryContextSwitchTo(counting->context);
	const Interval *result = NULL;
	EgressScan	credential;

	scan_open(&credential, INDEX_CREDENTIAL_ID, AccessShareLock);
	if (scan_find_id(&credential, credential_id, GetActiveSnapshot()))
		result = lease_cool_down(&credential);
	scan_close(&credential);
	MemoryContextSwitchTo(old_context);
	return result;
}

/* note_ended -- a lease has ended, by itself or so that its connection cools down; count that, if it does */
static void
note_ended(Counting *counting, Usage *usage, TimestampTz ended_at)
{
	if (counting->kind != &by_credential)
		return;
	if (!usage->asked)
		usage->cool_down = cool_down_of(counting, usage->id);
	usage->asked = true;
	if (usage->cool_down != NULL && lease_free_at(ended_at, usage->cool_down) > counting->moment)
		usage->cooling++;
}

/* usage_of -- what was counted of an id, made if need be */
static Usage *
usage_of(usages_hash *counted, int64 id)
{
	bool		found;
	Usage	   *usage = usages_insert(counted, id, &found);

	if (!found)
	{
		usage->active = 0;
		usage->not_renewed = 0;
		usage->cooling = 0;
		usage->asked = false;
	}
	return usage;
}

/* find_expired -- the sessions whose leases have expired, NULL when there are none; see usage_pass() for each_end */
static expireds_hash *
find_expired(Snapshot snapshot, TimestampTz moment, EgressUsageEnd each_end, void *arg)
{
	expireds_hash *result = NULL;
	EgressScan	expiries;

	scan_open_pass(&expiries, TABLE_LEASE_EXPIRY, AccessShareLock);
	scan_start_pass(&expiries, snapshot, 0);
	while (scan_next(&expiries))
	{
		TimestampTz expires_at = scan_timestamp(&expiries, Anum_egress_lease_expiry_expires_at);
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (each_end != NULL)
			each_end(arg, DatumGetTextPP(scan_value(&expiries, Anum_egress_lease_expiry_session_id)));
		if (expires_at > moment)
			continue;
		if (result == NULL)
			result = expireds_create(CurrentMemoryContext, 1024, NULL);
		expireds_insert(result, DatumGetTextPCopy(scan_value(&expiries, Anum_egress_lease_expiry_session_id)),
						&found)->expires_at = expires_at;
	}
	scan_close(&expiries);
	return result;
}

/*
 * usage_pass -- go over all leases, in one pass over the tables
 *
 * For each, each() is called with arg, with the scan that has it as its current row, and with when it ended, by itself or so that
 * its connection cools down: DT_NOEND for one that is live at the moment. Before, each_end() is called for each that has an
 * end, unless it is NULL. What they allocate in the current memory context goes after the pass.
 */
void
usage_pass(Snapshot snapshot, TimestampTz moment, EgressUsageEnd each_end, EgressUsageLease each, void *arg)
{
	MemoryContext pass_context = AllocSetContextCreate(CurrentMemoryContext, "egress usage pass", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(pass_context);
	expireds_hash *expired = find_expired(snapshot, moment, each_end, arg);
	EgressScan	leases;

	scan_open_pass(&leases, TABLE_LEASE, AccessShareLock);
	scan_start_pass(&leases, snapshot, 0);
	while (scan_next(&leases))
	{
		Expired    *ended = NULL;

		if (expired != NULL)
			ended = expireds_lookup(expired, DatumGetTextPP(scan_value(&leases, Anum_egress_lease_session_id)));
		CHECK_FOR_INTERRUPTS();
		if (lease_is_cooling(&leases))
			each(arg, &leases, scan_timestamp(&leases, Anum_egress_lease_acquired_at));
		else
			each(arg, &leases, ended != NULL ? ended->expires_at : DT_NOEND);
	}
	scan_close(&leases);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(pass_context);
}

/* add_session -- remember a session */
static void
add_session(Counting *counting, Sessions *sessions, text *session_id, int64 gateway_id)
{
	Session    *session;

	if (sessions->count == sessions->size)
	{
		sessions->size = sessions->size == 0 ? 1024 : 2 * sessions->size;
		sessions->list = sessions->list == NULL ?
			MemoryContextAllocHuge(counting->context, sessions->size * sizeof(Session)) :
			repalloc_huge(sessions->list, sessions->size * sizeof(Session));
	}
	session = &sessions->list[sessions->count++];
	session->hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(session_id), (int) VARSIZE_ANY_EXHDR(session_id), 0);
	session->gateway_id = gateway_id;
}

/* note_ending -- remember a session whose lease ends by itself; an EgressUsageEnd */
static void
note_ending(void *arg, text *session_id)
{
	Counting   *counting = arg;

	add_session(counting, &counting->endings, session_id, 0);
}

/* count_not_renewed -- count the old leases whose sessions are not among those that end by themselves */
static void
count_not_renewed(Counting *counting)
{
	Sessions   *endings = &counting->endings;
	Sessions   *olds = &counting->olds;
	int64		ending = 0;

	if (olds->count == 0)
		return;
	if (endings->count > 0)
		sort_sessions(endings->list, endings->count);
	sort_sessions(olds->list, olds->count);
	for (int64 old = 0; old < olds->count; old++)
	{
		uint64		hash = olds->list[old].hash;

		while (ending < endings->count && endings->list[ending].hash < hash)
			ending++;
		if (ending == endings->count || endings->list[ending].hash != hash)
			usage_of(counting->counted, olds->list[old].gateway_id)->not_renewed++;
	}
}

/* forget_sessions -- those of a pass */
static void
forget_sessions(Sessions *sessions)
{
	if (sessions->list != NULL)
		pfree(sessions->list);
	memset(sessions, 0, sizeof(Sessions));
}

/* count_any -- count one of all leases; an EgressUsageLease */
static void
count_any(void *arg, EgressScan *lease, TimestampTz ended_at)
{
	Counting   *counting = arg;
	Usage	   *usage = usage_of(counting->counted, scan_id(lease, counting->kind->id));

	if (ended_at != DT_NOEND)
		note_ended(counting, usage, ended_at);
	else
	{
		count_lease(usage, lease);
		if (counting->kind == &by_gateway && is_old(counting, lease))
			add_session(counting, &counting->olds, DatumGetTextPP(scan_value(lease, Anum_egress_lease_session_id)), usage->id);
	}
}

/* count_all -- count all live leases */
static void
count_all(Counting *counting, Snapshot snapshot)
{
	MemoryContext old_context = MemoryContextSwitchTo(counting->context);

	counting->counted = usages_create(counting->context, 1024, NULL);
	usage_pass(snapshot, counting->moment, counting->kind == &by_gateway ? note_ending : NULL, count_any, counting);
	count_not_renewed(counting);
	forget_sessions(&counting->endings);
	forget_sessions(&counting->olds);
	MemoryContextSwitchTo(old_context);
}

/* count_one -- count the live leases of one id by index; false when that costs more than may be spent so */
static bool
count_one(Counting *counting, Usage *usage, Snapshot snapshot)
{
	EgressScan	leases;
	EgressScan	expiries;

	scan_open(&leases, counting->kind->index, AccessShareLock);
	scan_open(&expiries, INDEX_LEASE_EXPIRY_SESSION, AccessShareLock);
	if (counting->budget < 0)
		counting->budget = ((int64) RelationGetNumberOfBlocks(leases.table) +
							RelationGetNumberOfBlocks(expiries.table)) / PAGES_PER_LEASE;

	scan_key_id(&leases, usage->id);
	scan_start(&leases, snapshot);
	while (counting->budget-- > 0 && scan_next(&leases))
	{
		TimestampTz ends_at;

		CHECK_FOR_INTERRUPTS();
		if (lease_is_cooling(&leases))
			note_ended(counting, usage, scan_timestamp(&leases, Anum_egress_lease_acquired_at));
		else if ((ends_at = lease_ends_at(&expiries, DatumGetTextPP(scan_value(&leases, Anum_egress_lease_session_id)),
										  snapshot)) <= counting->moment)
			note_ended(counting, usage, ends_at);
		else
		{
			count_lease(usage, &leases);
			if (ends_at == DT_NOEND && is_old(counting, &leases))
				usage->not_renewed++;
		}
	}
	scan_close(&expiries);
	scan_close(&leases);
	return counting->budget >= 0;
}

/* count -- the live leases of one id */
static Usage
count(FunctionCallInfo fcinfo, Counting *counting, int64 id)
{
	Usage		usage = {.id = id};
	Usage	   *found;

	catalog_use(fcinfo->flinfo->fn_oid);
	if (counting->counted == NULL)
	{
		if (count_one(counting, &usage, GetActiveSnapshot()))
			return usage;
		count_all(counting, GetActiveSnapshot());
	}
	found = usages_lookup(counting->counted, id);
	usage.active = usage.not_renewed = usage.cooling = 0;
	return found == NULL ? usage : *found;
}

/* row -- the function's result */
static Datum
row(FunctionCallInfo fcinfo, Counting *counting, Datum *values, bool *nulls)
{
	if (counting->result == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &counting->result) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "function %u must return a row", fcinfo->flinfo->fn_oid);
		counting->result = BlessTupleDesc(CreateTupleDescCopy(counting->result));
		MemoryContextSwitchTo(old_context);
	}
	return HeapTupleGetDatum(heap_form_tuple(counting->result, values, nulls));
}

/* egress_gateway_leases -- see COMMENT ON FUNCTION */
Datum
egress_gateway_leases(PG_FUNCTION_ARGS)
{
	Counting   *counting = begin(fcinfo, &by_gateway);
	Usage		usage;
	Datum		values[2];
	bool		nulls[2] = {false};

	argument_check_not_null(fcinfo, 0, "egress_gateway_id");
	usage = count(fcinfo, counting, PG_GETARG_INT64(0));
	values[0] = Int64GetDatum(usage.active);
	values[1] = Int64GetDatum(usage.not_renewed);
	PG_RETURN_DATUM(row(fcinfo, counting, values, nulls));
}

/* egress_credential_leases -- see COMMENT ON FUNCTION */
Datum
egress_credential_leases(PG_FUNCTION_ARGS)
{
	Counting   *counting = begin(fcinfo, &by_credential);
	Usage		usage;
	Datum		values[3];
	bool		nulls[3] = {false};

	argument_check_not_null(fcinfo, 0, "egress_credential_id");
	usage = count(fcinfo, counting, PG_GETARG_INT64(0));
	values[0] = Int64GetDatum(usage.active);
	values[1] = Int64GetDatum(usage.cooling);
	values[2] = TimestampTzGetDatum(usage.oldest);
	nulls[2] = usage.active == 0;
	PG_RETURN_DATUM(row(fcinfo, counting, values, nulls));
}
