/*
 * unentitled.c -- which leases have what the rules of access would no longer give: egress_unentitled_sessions()
 *
 * A lease stays when a gateway, provider, mapping or credential was disabled since, or the user was taken out of a group. Whether the
 * rules would still give its session this credential for this gateway is decided by access.c, as for an acquire: there is no other
 * rule. What an acquire asks besides, whether something is benched or full, takes nothing from who has it.
 *
 * The answer depends on the user, workspace, gateway and credential alone. So the leases to be judged are sorted by these: the
 * subjects are found once for each user and workspace, the mappings once for each of their providers, and of leases that have
 * all in common the first is judged. What is known of a user and workspace goes before the next comes; rows that do not fit into
 * work_mem are sorted on disk.
 */
#include "unentitled.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"

PG_FUNCTION_INFO_V1(egress_unentitled_sessions);

/*
 * unentitled_begin -- get ready to judge leases, which leases is a scan of, as of a snapshot
 *
 * Before: access_lock_tables(), or a snapshot that is old anyway; it stays registered or active, and the scan open, until
 * unentitled_end().
 */
void
unentitled_begin(Unentitled *look, EgressScan *leases, Snapshot snapshot)
{
	AttrNumber	columns[] = {
		Anum_egress_lease_user_id, Anum_egress_lease_workspace_id, Anum_egress_lease_egress_gateway_id,
		Anum_egress_lease_egress_credential_id
	};
	Oid			operators[lengthof(columns)] = {TextLessOperator, TextLessOperator, Int8LessOperator, Int8LessOperator};
	Oid			collations[lengthof(columns)] = {C_COLLATION_OID, C_COLLATION_OID, InvalidOid, InvalidOid};
	bool		nulls_first[lengthof(columns)] = {false};
	TupleDesc	desc = RelationGetDescr(leases->table);

	memset(look, 0, sizeof(Unentitled));
	look->snapshot = snapshot;
	look->long_context = CurrentMemoryContext;
	look->leases = tuplesort_begin_heap(desc, lengthof(columns), columns, operators, collations, nulls_first, work_mem, NULL,
										TUPLESORT_NONE);
	look->lease = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	scan_open(&look->gateways, INDEX_GATEWAY_ID, AccessShareLock);
	scan_open(&look->credentials, INDEX_CREDENTIAL_ID, AccessShareLock);
	look->context = AllocSetContextCreate(CurrentMemoryContext, "egress unentitled leases", ALLOCSET_DEFAULT_SIZES);
}

/* unentitled_add -- one more lease to be judged: the scan's current row, which is no connection that cools down */
void
unentitled_add(Unentitled *look, EgressScan *lease)
{
	tuplesort_puttupleslot(look->leases, lease->slot);
}

/* column -- a column of the current lease that is not NULL; points into the row */
static Datum
column(Unentitled *look, AttrNumber number)
{
	bool		isnull;
	Datum		value = slot_getattr(look->lease, number, &isnull);

	if (isnull)
		elog(ERROR, "column %d of a lease is null", number);
	return value;
}

/* workspace_id -- the workspace of the current lease, or NULL; points into the row */
static text *
workspace_id(Unentitled *look)
{
	bool		isnull;
	Datum		value = slot_getattr(look->lease, Anum_egress_lease_workspace_id, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* unentitled_session_id -- the session of the current lease; points into the row */
text *
unentitled_session_id(Unentitled *look)
{
	return DatumGetTextPP(column(look, Anum_egress_lease_session_id));
}

/* unentitled_is_same -- is the lease in a scan's current row the one that was judged? Its session may have taken another since */
bool
unentitled_is_same(Unentitled *look, EgressScan *lease)
{
	return same_text(scan_text(lease, Anum_egress_lease_session_id), unentitled_session_id(look)) &&
		same_text(scan_text(lease, Anum_egress_lease_user_id), DatumGetTextPP(column(look, Anum_egress_lease_user_id))) &&
		same_text(scan_text(lease, Anum_egress_lease_workspace_id), workspace_id(look)) &&
		scan_id(lease, Anum_egress_lease_egress_gateway_id) ==
		DatumGetInt64(column(look, Anum_egress_lease_egress_gateway_id)) &&
		scan_id(lease, Anum_egress_lease_egress_credential_id) ==
		DatumGetInt64(column(look, Anum_egress_lease_egress_credential_id)) &&
		scan_timestamp(lease, Anum_egress_lease_acquired_at) ==
		DatumGetTimestampTz(column(look, Anum_egress_lease_acquired_at));
}

/* end_call -- forget what is known of a user and workspace */
static void
end_call(Unentitled *look)
{
	if (look->began)
		access_end(&look->call);
	MemoryContextReset(look->context);
	look->began = false;
	look->accesses = NIL;
	look->asked = false;
}

/* begin_call -- find out who the current lease's user and workspace are, unless they are those of the last one */
static void
begin_call(Unentitled *look)
{
	text	   *user_id = DatumGetTextPP(column(look, Anum_egress_lease_user_id));
	text	   *workspace = workspace_id(look);

	if (look->began && same_text(look->call.user_id, user_id) && same_text(look->call.workspace_id, workspace))
		return;
	end_call(look);
	user_id = DatumGetTextPCopy(PointerGetDatum(user_id));
	if (workspace != NULL)
		workspace = DatumGetTextPCopy(PointerGetDatum(workspace));
	access_begin(&look->call, user_id, workspace, look->snapshot, GetCurrentTimestamp(), ACCESS_TO_READ);
	look->began = true;
}

/* access_of -- what the call may do with a provider; NULL when the provider does not exist */
static EgressAccess *
access_of(Unentitled *look, int64 provider_id)
{
	EgressAccess *access;
	ListCell   *cell;

	foreach(cell, look->accesses)
	{
		access = lfirst(cell);
		if (access->provider_id == provider_id)
			return access;
	}
	access = access_to_mapped(&look->call, provider_id);
	if (access != NULL)
		look->accesses = lcons(access, look->accesses);
	return access;
}

/* find_rows -- let the gateway and the credential of the current lease be current rows; false if one of them is not there */
static bool
find_rows(Unentitled *look, int64 gateway_id, int64 credential_id)
{
	MemoryContext old_context = MemoryContextSwitchTo(look->long_context);
	bool		found = scan_find_id(&look->gateways, gateway_id, look->snapshot) &&
		scan_find_id(&look->credentials, credential_id, look->snapshot);

	MemoryContextSwitchTo(old_context);
	return found;
}

/* is_still_given -- would the rules give the current lease's user and workspace what it has? In look->context */
static bool
is_still_given(Unentitled *look)
{
	int64		gateway_id = DatumGetInt64(column(look, Anum_egress_lease_egress_gateway_id));
	int64		credential_id = DatumGetInt64(column(look, Anum_egress_lease_egress_credential_id));

	begin_call(look);
	if (look->asked && look->gateway_id == gateway_id && look->credential_id == credential_id)
		return look->given;

	look->asked = true;
	look->gateway_id = gateway_id;
	look->credential_id = credential_id;
	look->given = false;
	if (find_rows(look, gateway_id, credential_id))
	{
		EgressAccess *access = access_of(look, scan_id(&look->gateways, Anum_egress_gateway_egress_provider_id));

		look->given = access != NULL && access_gives(access, &look->gateways, &look->credentials);
	}
	return look->given;
}

/* unentitled_next -- the next of the leases that has what the rules do not give; false: there is none. None can be added any more */
bool
unentitled_next(Unentitled *look)
{
	if (!look->sorted)
		tuplesort_performsort(look->leases);
	look->sorted = true;
	while (tuplesort_gettupleslot(look->leases, true, false, look->lease, NULL))
	{
		MemoryContext old_context = MemoryContextSwitchTo(look->context);
		bool		given = is_still_given(look);

		MemoryContextSwitchTo(old_context);
		CHECK_FOR_INTERRUPTS();
		if (!given)
			return true;
	}
	return false;
}

/* unentitled_end -- close what was opened */
void
unentitled_end(Unentitled *look)
{
	end_call(look);
	MemoryContextDelete(look->context);
	scan_close(&look->credentials);
	scan_close(&look->gateways);
	ExecDropSingleTupleTableSlot(look->lease);
	tuplesort_end(look->leases);
}

/* egress_unentitled_sessions -- see COMMENT ON FUNCTION */
Datum
egress_unentitled_sessions(PG_FUNCTION_ARGS)
{
	Snapshot	snapshot = GetActiveSnapshot();
	ReturnSetInfo *result;
	EgressScan	leases;
	Unentitled	look;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;

	scan_open_pass(&leases, TABLE_LEASE, AccessShareLock);
	unentitled_begin(&look, &leases, snapshot);
	scan_start_pass(&leases, snapshot, 0);
	while (scan_next(&leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (!lease_is_cooling(&leases))
			unentitled_add(&look, &leases);
	}
	while (unentitled_next(&look))
	{
		Datum		session_id = column(&look, Anum_egress_lease_session_id);
		bool		isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &session_id, &isnull);
	}
	unentitled_end(&look);
	scan_close(&leases);
	return (Datum) 0;
}
