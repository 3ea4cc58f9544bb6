/*
 * sweep.c -- ending the leases whose time is over, from time to time: egress_expire_leases(), egress_sweep_leases()
 *
 * An expired lease does not count, and an acquire that needs its connection ends it. The sweep ends the others. No index
 * holds the end of a lease, so that a renewal need not write one: the sweep goes over the pages of egress_lease_expiry, in
 * their order, and looks up only what has expired. It reads dirty, as everything that ends leases, and so raises no
 * serialization failure; what other open transactions do something with is left to them, so two sweeps share the work.
 *
 * What an open sweep has ended does not count for others, but an acquire that needs such a connection goes alone, and may take a slot
 * above the limit (limit.c), which keeps others alone as long as its lease lasts. And it is one long transaction. So
 * the sweep for a schedule is a procedure, which ends a batch in a transaction of its own and goes on from the page where
 * that stopped. Each batch but the last ends as many leases as it may; so there are not more of them than leases, and
 * what is left behind is not met again, but for what is on that one page.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"
#include "query.h"

PG_FUNCTION_INFO_V1(egress_expire_leases);
PG_FUNCTION_INFO_V1(egress_expire_leases_batch);
PG_FUNCTION_INFO_V1(egress_sweep_leases);

/*
 * sweep -- end the expired leases from a page of egress_lease_expiry on, at most so many; returns how many
 *
 * After: *page is the one of the last lease that it ended, or past the end.
 */
static int64
sweep(Oid function, int64 max_rows, BlockNumber *page)
{
	EgressScan	expiries;
	int64		ended = 0;

	PreventCommandIfReadOnly("egress_expire_leases()");
	PreventCommandIfParallelMode("egress_expire_leases()");
	catalog_use(function);

	lease_lock_tables();
	scan_open_pass(&expiries, TABLE_LEASE_EXPIRY, RowExclusiveLock);
	scan_start_pass(&expiries, NULL, *page);
	*page = InvalidBlockNumber;
	while (ended < max_rows && lease_next_expired(&expiries, NULL))
		if (lease_end_if_expired(&expiries, Anum_egress_lease_expiry_session_id) && ++ended == max_rows)
			*page = ItemPointerGetBlockNumber(&expiries.slot->tts_tid);
	scan_close(&expiries);
	return ended;
}

/* egress_expire_leases -- see COMMENT ON FUNCTION */
Datum
egress_expire_leases(PG_FUNCTION_ARGS)
{
	BlockNumber page = 0;

	PG_RETURN_INT64(sweep(fcinfo->flinfo->fn_oid, PG_INT64_MAX, &page));
}

/*
 * egress_expire_leases_batch -- egress_expire_leases() with max_rows; see COMMENT ON FUNCTION
 *
 * Called by egress_sweep_leases() it has an Integer for its context: the page to begin with, and afterwards to go on from.
 */
Datum
egress_expire_leases_batch(PG_FUNCTION_ARGS)
{
	Integer    *position = fcinfo->context != NULL && IsA(fcinfo->context, Integer) ? (Integer *) fcinfo->context : NULL;
	BlockNumber page = position == NULL ? 0 : (BlockNumber) position->ival;
	int64		ended;

	argument_check_not_null(fcinfo, 0, "max_rows");
	argument_check_above_0(PG_GETARG_INT32(0), "max_rows");
	ended = sweep(fcinfo->flinfo->fn_oid, PG_GETARG_INT32(0), &page);
	if (position != NULL)
		position->ival = (int) page;
	PG_RETURN_INT64(ended);
}

/*
 * call_batch -- call egress_expire_leases(max_rows) as the procedure's caller may; returns how many it ended
 *
 * Its own way in, as the owner and with its search_path, is the function manager's for SECURITY DEFINER.
 */
static int64
call_batch(Oid procedure, int32 max_rows, Integer *position)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo	flinfo;
	Oid			types[1] = {INT4OID};
	Oid			function;
	AclResult	allowed;

	/* found again for each batch: between two transactions the extension may be dropped and made anew */
	catalog_use(procedure);
	function = catalog_function("egress_expire_leases", lengthof(types), types);
	allowed = object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, "egress_expire_leases");

	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, (Node *) position, NULL);
	fcinfo->args[0].value = Int32GetDatum(max_rows);
	fcinfo->args[0].isnull = false;
	return DatumGetInt64(FunctionCallInvoke(fcinfo));
}

/* check_may_commit -- 2D000 where a procedure may not end its caller's transaction */
static void
check_may_commit(FunctionCallInfo fcinfo)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) || ((CallContext *) fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("egress_sweep_leases() cannot run inside a transaction block"),
				 errdetail("It commits each batch of leases that it has ended."),
				 errhint("CALL it by itself, or call egress_expire_leases(max_rows) in the transaction.")));
}

/* egress_sweep_leases -- see COMMENT ON PROCEDURE */
Datum
egress_sweep_leases(PG_FUNCTION_ARGS)
{
	Integer		position = {.type = T_Integer};
	MemoryContext batch_context;
	int32		batch_size;
	int64		ended;

	argument_check_not_null(fcinfo, 0, "batch_size");
	batch_size = PG_GETARG_INT32(0);
	argument_check_above_0(batch_size, "batch_size");
	PreventCommandIfReadOnly("egress_sweep_leases()");
	check_may_commit(fcinfo);

	query_connect_to_commit();
	batch_context = AllocSetContextCreate(CurrentMemoryContext, "egress sweep", ALLOCSET_DEFAULT_SIZES);
	do
	{
		MemoryContext old_context = MemoryContextSwitchTo(batch_context);

		CHECK_FOR_INTERRUPTS();
		PushActiveSnapshot(GetTransactionSnapshot());
		ended = call_batch(fcinfo->flinfo->fn_oid, batch_size, &position);
		PopActiveSnapshot();
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(batch_context);
		SPI_commit();
	} while (ended == batch_size);
	SPI_finish();

	PG_RETURN_VOID();
}
