/*
 * end_leases.c -- ending leases that should not be: egress_end_leases(orphaned)
 *
 * Goes through the leases that are committed, and ends those that fit, each under its session's lock for as long as that takes,
 * all in the caller's transaction. Waits for nobody: a lease that another transaction is taking, renewing or ending is left to
 * it. Whether a lease fits is asked twice: without a lock, which for most says no, and again under it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"
#include "scan.h"
#include "sessions.h"

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

/* Which leases end, and the last one that did. */
typedef struct Ending
{
	Datum		values[ENDED_COLUMNS];
	bool		nulls[ENDED_COLUMNS];
} Ending;

PG_FUNCTION_INFO_V1(egress_end_leases);

/* fits -- is the lease in a scan's current row one that ends, by what is committed now? */
static bool
fits(EgressScan *lease)
{
	text	   *session_id = DatumGetTextPCopy(scan_value(lease, Anum_egress_lease_session_id));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		result = session_is_orphaned(session_id, snapshot);

	UnregisterSnapshot(snapshot);
	return result;
}

/* note_if_fits -- the same, and note what comes back of it; a LeaseCheck */
static bool
note_if_fits(EgressScan *lease, void *arg)
{
	Ending	   *ending = arg;

	if (!fits(lease))
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

/* egress_end_leases -- see COMMENT ON FUNCTION */
Datum
egress_end_leases(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;
	MemoryContext row_context;
	EgressScan	leases;
	Snapshot	snapshot;

	if (PG_ARGISNULL(0) || !PG_GETARG_BOOL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing says which leases are to end"),
				 errdetail("An argument is true or null, and one of them has to be true."),
				 errhint("Call egress_end_leases(orphaned => true).")));
	PreventCommandIfReadOnly("egress_end_leases()");
	PreventCommandIfParallelMode("egress_end_leases()");
	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	shape_check_result(result->setDesc, "egress_ended_lease", ENDED_TYPES);

	/* whatever waits for a table, waits here: before the short locks, and before the snapshot is taken */
	lease_lock_tables();
	if (!sessions_attached())
		return (Datum) 0;

	row_context = AllocSetContextCreate(CurrentMemoryContext, "egress ended leases", ALLOCSET_DEFAULT_SIZES);
	scan_open(&leases, INDEX_LEASE_SESSION, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan_start(&leases, snapshot);
	while (scan_next(&leases))
	{
		MemoryContext old_context = MemoryContextSwitchTo(row_context);
		Ending		ending = {0};

		CHECK_FOR_INTERRUPTS();
		if (fits(&leases) &&
			lease_end_if(DatumGetTextPCopy(scan_value(&leases, Anum_egress_lease_session_id)), note_if_fits, &ending, "ended"))
			tuplestore_putvalues(result->setResult, result->setDesc, ending.values, ending.nulls);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	scan_close(&leases);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(row_context);
	return (Datum) 0;
}
