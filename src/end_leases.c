/*
 * end_leases.c -- ending leases that should not be: egress_end_leases()
 *
 * Goes through the leases that are committed, by the index that narrows them most, and ends those that fit all that is asked for, each
 * under its session's lock for as long as that takes, all in the caller's transaction. Waits for nobody: a lease that another
 * transaction is taking, renewing or ending is left to it. Whether a lease fits is asked twice: without a lock, which for most says
 * no, and again under it, because its session may have another one by then.
 *
 * Which of them are unentitled is found out for all that fit otherwise at once, as of the moment at which the leases were read
 * (unentitled.c). Under the lock it is asked whether the lease is the one that was judged.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "access.h"
#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"
#include "scan.h"
#include "sessions.h"
#include "unentitled.h"
#include "value.h"

/* what may be said of the leases that are to end: the arguments of the function for text, in their order */
enum
{
	WHICH_SESSION_ID,
	WHICH_USER_ID,
	WHICH_WORKSPACE_ID,
	WHICH_GATEWAY_ID,
	WHICH_CREDENTIAL_ID,
	WHICH_PROVIDER_ID,
	WHICH_UNENTITLED,
	WHICH_ORPHANED,
	WHICH_COUNT
};

static const char *const which_names[WHICH_COUNT] = {
	"session_id", "user_id", "workspace_id", "egress_gateway_id", "egress_credential_id", "egress_provider_id", "unentitled",
	"orphaned"
};

/* the columns of egress_lease that the first ones are about */
static const AttrNumber which_columns[] = {
	[WHICH_SESSION_ID] = Anum_egress_lease_session_id,
	[WHICH_USER_ID] = Anum_egress_lease_user_id,
	[WHICH_WORKSPACE_ID] = Anum_egress_lease_workspace_id,
	[WHICH_GATEWAY_ID] = Anum_egress_lease_egress_gateway_id,
	[WHICH_CREDENTIAL_ID] = Anum_egress_lease_egress_credential_id,
};

/* what comes back of a lease that has ended */
enum
{
	ENDED_SESSION_ID,
	ENDED_USER_ID,
	ENDED_WORKSPACE_ID,
	ENDED_GATEWAY_ID,
	ENDED_CREDENTIAL_ID,
	ENDED_COLUMNS
};

/* and their types: shape.c */
#define ENDED_TYPES "tttii"

/* The provider of a gateway that has been looked up. */
typedef struct GatewayProvider
{
	int64		gateway_id;		/* hash key; must be first */
	int64		provider_id;
} GatewayProvider;

/* Which leases end, and the last one that did. */
typedef struct Ending
{
	bool		given[WHICH_COUNT];
	text	   *texts[WHICH_GATEWAY_ID];	/* of those that are given */
	int64		ids[WHICH_UNENTITLED];	/* likewise, from WHICH_GATEWAY_ID on */
	HTAB	   *providers;		/* of GatewayProvider, where one is given; likewise: */
	EgressScan	gateways;		/* by id, */
	MemoryContext context;		/* and of what is open */
	EgressScan	leases;			/* the current one fits, and is to end if it does so still */
	Datum		values[ENDED_COLUMNS];
	bool		nulls[ENDED_COLUMNS];
} Ending;

PG_FUNCTION_INFO_V1(egress_end_leases);
PG_FUNCTION_INFO_V1(egress_end_leases_of_user);
PG_FUNCTION_INFO_V1(egress_end_leases_of_workspace);

/* get_arguments -- which leases are to end; 22023 when nothing says so. first: what the function's first argument is */
static void
get_arguments(FunctionCallInfo fcinfo, int first, Ending *ending)
{
	bool		any = false;

	for (int which = first; which < WHICH_COUNT; which++)
	{
		int			argno = which - first;

		ending->given[which] = argument_is_given(fcinfo, argno);
		any |= ending->given[which];
		if (!ending->given[which])
			continue;
		if (which < WHICH_GATEWAY_ID)
			ending->texts[which] = argument_id(fcinfo, argno, which_names[which]);
		else if (which < WHICH_UNENTITLED)
			ending->ids[which] = PG_GETARG_INT64(argno);
		else if (!PG_GETARG_BOOL(argno))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s must be true or null", which_names[which]),
					 errdetail("With true, only leases that are %s end; with null, it does not matter.", which_names[which])));
	}
	if (!any)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing says which leases are to end"),
				 errdetail("Every argument is null."),
				 errhint("Name what they have in common, as in egress_end_leases(user_id => 'ada').")));
}

/* open_providers -- get ready to find gateways' providers */
static void
open_providers(Ending *ending)
{
	HASHCTL		info = {
		.keysize = sizeof(int64),
		.entrysize = sizeof(GatewayProvider),
		.hcxt = CurrentMemoryContext,
	};

	ending->context = CurrentMemoryContext;
	ending->providers = hash_create("egress providers of gateways", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	scan_open(&ending->gateways, INDEX_GATEWAY_ID, AccessShareLock);
}

/* is_of_provider -- is a gateway of the provider that is given? Each gateway is looked up once, because its provider stays the same */
static bool
is_of_provider(Ending *ending, int64 gateway_id)
{
	bool		found;
	GatewayProvider *entry = hash_search(ending->providers, &gateway_id, HASH_FIND, NULL);
	Snapshot	snapshot;
	MemoryContext old_context;

	if (entry != NULL)
		return entry->provider_id == ending->ids[WHICH_PROVIDER_ID];
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	old_context = MemoryContextSwitchTo(ending->context);
	found = scan_find_id(&ending->gateways, gateway_id, snapshot);
	MemoryContextSwitchTo(old_context);
	UnregisterSnapshot(snapshot);
	if (!found)
		return false;
	entry = hash_search(ending->providers, &gateway_id, HASH_ENTER, &found);
	entry->provider_id = scan_id(&ending->gateways, Anum_egress_gateway_egress_provider_id);
	return entry->provider_id == ending->ids[WHICH_PROVIDER_ID];
}

/* is_orphaned -- is the session of the lease in a scan's current row in no session table, or over, by what is committed now? */
static bool
is_orphaned(EgressScan *lease)
{
	text	   *session_id = DatumGetTextPCopy(scan_value(lease, Anum_egress_lease_session_id));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		result = sessions_is_orphaned(session_id, snapshot);

	UnregisterSnapshot(snapshot);
	return result;
}

/* fits -- is the lease in a scan's current row one that ends, but for whether it is unentitled? */
static bool
fits(EgressScan *lease, Ending *ending)
{
	if (lease_is_cooling(lease))
		return false;
	for (int which = 0; which < WHICH_GATEWAY_ID; which++)
		if (ending->given[which] && !value_same_text(scan_text(lease, which_columns[which]), ending->texts[which]))
			return false;
	for (int which = WHICH_GATEWAY_ID; which <= WHICH_CREDENTIAL_ID; which++)
		if (ending->given[which] && scan_id(lease, which_columns[which]) != ending->ids[which])
			return false;
	if (ending->given[WHICH_PROVIDER_ID] && !is_of_provider(ending, scan_id(lease, Anum_egress_lease_egress_gateway_id)))
		return false;
	return !ending->given[WHICH_ORPHANED] || is_orphaned(lease);
}

/* note_if_fits -- the same, and whether it is the one that was judged, and note what comes back of it; an EgressLeaseCheck */
static bool
note_if_fits(EgressScan *lease, void *arg)
{
	Ending	   *ending = arg;

	if ((ending->given[WHICH_UNENTITLED] && !unentitled_is_same(&ending->leases, lease)) || !fits(lease, ending))
		return false;
	/* by reference into the row, which is gone when the lease has ended */
	ending->values[ENDED_SESSION_ID] =
		PointerGetDatum(DatumGetTextPCopy(scan_value(lease, Anum_egress_lease_session_id)));
	ending->values[ENDED_USER_ID] = PointerGetDatum(DatumGetTextPCopy(scan_value(lease, Anum_egress_lease_user_id)));
	ending->nulls[ENDED_WORKSPACE_ID] = scan_text(lease, Anum_egress_lease_workspace_id) == NULL;
	if (!ending->nulls[ENDED_WORKSPACE_ID])
		ending->values[ENDED_WORKSPACE_ID] =
			PointerGetDatum(DatumGetTextPCopy(scan_value(lease, Anum_egress_lease_workspace_id)));
	ending->values[ENDED_GATEWAY_ID] = scan_value(lease, Anum_egress_lease_egress_gateway_id);
	ending->values[ENDED_CREDENTIAL_ID] = scan_value(lease, Anum_egress_lease_egress_credential_id);
	return true;
}

/* open_leases -- open what leases are read by: what is said of them that narrows them most */
static void
open_leases(Ending *ending)
{
	EgressScan *leases = &ending->leases;

	if (ending->given[WHICH_SESSION_ID])
		scan_open(leases, INDEX_LEASE_SESSION, AccessShareLock);
	else if (ending->given[WHICH_USER_ID])
		scan_open(leases, INDEX_LEASE_USER, AccessShareLock);
	else if (ending->given[WHICH_CREDENTIAL_ID])
		scan_open(leases, INDEX_LEASE_SLOT, AccessShareLock);
	else if (ending->given[WHICH_GATEWAY_ID])
		scan_open(leases, INDEX_LEASE_GATEWAY, AccessShareLock);
	else
		scan_open_pass(leases, TABLE_LEASE, AccessShareLock);
}

/* start_leases -- start to read them */
static void
start_leases(Ending *ending, Snapshot snapshot)
{
	EgressScan *leases = &ending->leases;

	if (leases->index == NULL)
	{
		scan_start_pass(leases, snapshot, 0);
		return;
	}
	if (ending->given[WHICH_SESSION_ID])
		scan_key_text(leases, ending->texts[WHICH_SESSION_ID]);
	else if (ending->given[WHICH_USER_ID])
		scan_key_text(leases, ending->texts[WHICH_USER_ID]);
	else
		scan_key_id(leases, ending->ids[ending->given[WHICH_CREDENTIAL_ID] ? WHICH_CREDENTIAL_ID : WHICH_GATEWAY_ID]);
	scan_start(leases, snapshot);
}

/* end_one -- end the lease of a session, if it still fits, and add it to the result */
static void
end_one(text *session_id, Ending *ending, ReturnSetInfo *result)
{
	if (lease_end_if(session_id, note_if_fits, ending, "ended"))
		tuplestore_putvalues(result->setResult, result->setDesc, ending->values, ending->nulls);
}

/* end_fitting -- end the leases that fit */
static void
end_fitting(Ending *ending, ReturnSetInfo *result)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "egress ended leases", ALLOCSET_DEFAULT_SIZES);
	EgressUnentitled *unentitled = NULL;
	EgressScan *leases = &ending->leases;
	Snapshot	snapshot;

	open_leases(ending);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (ending->given[WHICH_UNENTITLED])
		unentitled = unentitled_begin(snapshot);
	start_leases(ending, snapshot);
	while (scan_next(leases))
	{
		MemoryContext old_context = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		if (fits(leases, ending) && (unentitled == NULL || unentitled_judge(unentitled, leases)))
			end_one(DatumGetTextPCopy(scan_value(leases, Anum_egress_lease_session_id)), ending, result);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	if (unentitled != NULL)
		unentitled_end(unentitled);
	scan_close(leases);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(row_context);
}

/* end_leases -- what the functions have in common; first: what the first argument of the one that was called is */
static Datum
end_leases(FunctionCallInfo fcinfo, int first)
{
	Ending		ending = {0};
	ReturnSetInfo *result;

	get_arguments(fcinfo, first, &ending);
	PreventCommandIfReadOnly("egress_end_leases()");
	PreventCommandIfParallelMode("egress_end_leases()");
	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	shape_check_result(result->setDesc, "egress_ended_lease", ENDED_TYPES);

	/* whatever waits for a table, waits here: before the short locks, and before the snapshot is taken */
	lease_lock_tables();
	if (ending.given[WHICH_UNENTITLED])
		access_lock_tables();
	if (ending.given[WHICH_ORPHANED] && !sessions_attached())
		return (Datum) 0;
	if (ending.given[WHICH_PROVIDER_ID])
		open_providers(&ending);
	end_fitting(&ending, result);
	if (ending.given[WHICH_PROVIDER_ID])
		scan_close(&ending.gateways);
	return (Datum) 0;
}

/* egress_end_leases -- see COMMENT ON FUNCTION */
Datum
egress_end_leases(PG_FUNCTION_ARGS)
{
	return end_leases(fcinfo, WHICH_SESSION_ID);
}

/* egress_end_leases_of_user -- the same without a session; see COMMENT ON FUNCTION */
Datum
egress_end_leases_of_user(PG_FUNCTION_ARGS)
{
	return end_leases(fcinfo, WHICH_USER_ID);
}

/* egress_end_leases_of_workspace -- the same without a session and a user; see COMMENT ON FUNCTION */
Datum
egress_end_leases_of_workspace(PG_FUNCTION_ARGS)
{
	return end_leases(fcinfo, WHICH_WORKSPACE_ID);
}
