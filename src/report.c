/*
 * report.c -- what sessions say of their connections: egress_report_failure(session_id, failure), egress_report_success(session_id);
 * egress_unbench(egress_gateway_id, egress_credential_id), and the function behind the view egress_benched
 *
 * What the reports come to is in bench.c. Here they are written, and what makes no difference any more is deleted. A report
 * waits for nobody's transaction: it inserts rows, and deletes what no other open transaction deletes. What is about to be
 * reported is looked at as it is committed, or this transaction's own; what others have open counts when it commits, by the time
 * at which it was reported.
 *
 * The foreign keys of egress_report are kept here, and by egress_refuse_delete_in_use(). Their own check would lock the gateway's
 * row, and so wait for whoever has changed its name in an open transaction. Who inserts a row holds the lock of the gateway or
 * credential (LOCK_GATEWAY, LOCK_CREDENTIAL), shared, from seeing that it is not being deleted to having inserted it. Its deleter
 * looks, with the row already marked, while holding the lock exclusively; and waits for the open transactions that have
 * reported. Who deletes several rows holds it exclusively, too, so that these go together, or none does.
 *
 * egress_failure is the history of it: one row a report of a failure, with names, whatever it counts for.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "argument.h"
#include "bench.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"
#include "lock.h"
#include "report.h"
#include "scan.h"
#include "shape.h"
#include "value.h"

#define BENCHED_COLUMNS 4
#define BENCHED_TYPES "iiiz"

/* A report at work. */
typedef struct Report
{
	text	   *session_id;
	EgressLeaseLook lease;		/* the session's */
	EgressScan	gateways;		/* current row: the lease's gateway */
	EgressScan	credentials;	/* and its credential */
	EgressScan	providers;		/* and their provider */
	Snapshot	snapshot;
	EgressBenchRule rule;
} Report;

PG_FUNCTION_INFO_V1(egress_report_failure);
PG_FUNCTION_INFO_V1(egress_report_success);
PG_FUNCTION_INFO_V1(egress_unbench);
PG_FUNCTION_INFO_V1(egress_benched_now);

/* lock_of -- the lock of what is reported about */
static EgressLock
lock_of(EgressBenchKind kind)
{
	return kind == BENCH_GATEWAY ? LOCK_GATEWAY : LOCK_CREDENTIAL;
}

/* lock_tables -- lock what is read and written here, before any short lock is taken */
static void
lock_tables(void)
{
	LockRelationOid(catalog_table(TABLE_CREDENTIAL), AccessShareLock);
	LockRelationOid(catalog_table(TABLE_GATEWAY), AccessShareLock);
	bench_lock_tables(RowExclusiveLock);
	LockRelationOid(catalog_table(TABLE_FAILURE), RowExclusiveLock);
	LockRelationOid(catalog_sequence(SEQUENCE_REPORT), RowExclusiveLock);
	LockRelationOid(catalog_sequence(SEQUENCE_FAILURE), RowExclusiveLock);
}

/* refuse_without_lease -- raise 22023 */
pg_noreturn static void
refuse_without_lease(text *session_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("session \"%s\" holds no lease", text_to_cstring(session_id)),
			 errdetail("A report is about the gateway and the credential of the session's lease."),
			 errhint("Report before the lease is released or ended, and before its time is over.")));
}

/*
 * begin -- look at the lease of the session that reports; 22023 when it has none that is live
 *
 * One that another open transaction is ending or renewing is live. Waits for nobody. After: the rows are there; end() follows.
 */
static void
begin(Report *report, Oid function, text *session_id)
{
	EgressLeaseState state;

	report->session_id = session_id;
	catalog_use(function);
	lease_lock_tables();
	lock_tables();
	/* see what this very statement has done so far */
	CommandCounterIncrement();
	lease_open(&report->lease);
	scan_open(&report->gateways, INDEX_GATEWAY_ID, AccessShareLock);
	scan_open(&report->credentials, INDEX_CREDENTIAL_ID, AccessShareLock);
	scan_open(&report->providers, INDEX_PROVIDER_ID, AccessShareLock);

	lock_take_text(LOCK_SESSION, session_id, ExclusiveLock);
	state = lease_look(&report->lease, session_id);
	lock_give_text(LOCK_SESSION, session_id, ExclusiveLock);
	if (state != LEASE_LIVE && !(state == LEASE_BUSY && !TransactionIdIsValid(report->lease.lease.dirty.xmin)))
		refuse_without_lease(session_id);

	report->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!scan_find_id(&report->credentials, scan_id(&report->lease.lease, Anum_egress_lease_egress_credential_id),
					  report->snapshot) ||
		!scan_find_id(&report->gateways, scan_id(&report->lease.lease, Anum_egress_lease_egress_gateway_id),
					  report->snapshot) ||
		!scan_find_id(&report->providers, scan_id(&report->gateways, Anum_egress_gateway_egress_provider_id), report->snapshot))
		/* the lease has ended since, and they were deleted */
		refuse_without_lease(session_id);
	report->rule = bench_rule(&report->providers);
}

/* end -- close what begin() opened */
static void
end(Report *report)
{
	UnregisterSnapshot(report->snapshot);
	scan_close(&report->providers);
	scan_close(&report->credentials);
	scan_close(&report->gateways);
	lease_close(&report->lease);
}

/* target -- the scan whose current row is what is reported about */
static EgressScan *
target(Report *report, EgressBenchKind kind)
{
	return kind == BENCH_GATEWAY ? &report->gateways : &report->credentials;
}

/* target_id -- its id, which is the first column of both tables */
static int64
target_id(Report *report, EgressBenchKind kind)
{
	return scan_id(target(report, kind), Anum_egress_gateway_egress_gateway_id);
}

/* insert_report -- insert a row about something, of a failure of a session, or of a success when that is NULL */
static void
insert_report(EgressBenchKind kind, int64 id, text *session_id, TimestampTz reported_at)
{
	Relation	table = scan_open_table(TABLE_REPORT, RowExclusiveLock);
	Datum		values[Natts_egress_report] = {0};
	bool		nulls[Natts_egress_report] = {false};

	values[Anum_egress_report_egress_report_id - 1] = Int64GetDatum(nextval_internal(catalog_sequence(SEQUENCE_REPORT), false));
	values[Anum_egress_report_egress_gateway_id - 1] = Int64GetDatum(id);
	nulls[Anum_egress_report_egress_gateway_id - 1] = kind != BENCH_GATEWAY;
	values[Anum_egress_report_egress_credential_id - 1] = Int64GetDatum(id);
	nulls[Anum_egress_report_egress_credential_id - 1] = kind != BENCH_CREDENTIAL;
	values[Anum_egress_report_session_id - 1] = PointerGetDatum(session_id);
	nulls[Anum_egress_report_session_id - 1] = session_id == NULL;
	values[Anum_egress_report_reported_at - 1] = TimestampTzGetDatum(reported_at);
	scan_insert_row(table, Natts_egress_report, values, nulls);
	table_close(table, NoLock);
}

/* insert_failure -- write the report of a failure to the history */
static void
insert_failure(Report *report, text *failure, TimestampTz reported_at)
{
	Relation	table = scan_open_table(TABLE_FAILURE, RowExclusiveLock);
	Datum		values[Natts_egress_failure];
	bool		nulls[Natts_egress_failure] = {false};

#define FAILURE(column) (Anum_egress_failure_##column - 1)
	values[FAILURE(egress_failure_id)] = Int64GetDatum(nextval_internal(catalog_sequence(SEQUENCE_FAILURE), false));
	values[FAILURE(reported_at)] = TimestampTzGetDatum(reported_at);
	values[FAILURE(session_id)] = PointerGetDatum(report->session_id);
	values[FAILURE(failure)] = PointerGetDatum(failure);
	scan_put(&report->gateways, Anum_egress_gateway_egress_gateway_id, FAILURE(egress_gateway_id), values, nulls);
	scan_put(&report->gateways, Anum_egress_gateway_name, FAILURE(gateway_name), values, nulls);
	scan_put(&report->credentials, Anum_egress_credential_egress_credential_id, FAILURE(egress_credential_id), values, nulls);
	scan_put(&report->credentials, Anum_egress_credential_name, FAILURE(credential_name), values, nulls);
	scan_put(&report->providers, Anum_egress_provider_name, FAILURE(provider_name), values, nulls);
	scan_put(&report->lease.lease, Anum_egress_lease_user_id, FAILURE(user_id), values, nulls);
#undef FAILURE
	scan_insert_row(table, Natts_egress_failure, values, nulls);
	table_close(table, NoLock);
}

/* start -- let a scan of the reports about something start; dirty: with those of open transactions */
static void
start(EgressScan *reports, int64 id, bool dirty)
{
	scan_key_id(reports, id);
	if (dirty)
		scan_start_dirty(reports);
	else
		scan_start(reports, SnapshotSelf);
}

/* any_open -- has another open transaction written, or deleted, a report about something? */
static bool
any_open(EgressScan *reports, int64 id)
{
	bool		open = false;

	start(reports, id, true);
	while (!open && scan_next(reports))
		open = TransactionIdIsValid(reports->dirty.xmin) || TransactionIdIsValid(reports->dirty.xmax);
	return open;
}

/*
 * read_reports -- the reports about something: *now as they are, *then as they are when what others have open commits
 *
 * A failure that another open transaction has reported is in neither. Returns whether the two differ: then one has said that something
 * is well.
 */
static bool
read_reports(EgressScan *rows, int64 id, List **now, List **then)
{
	bool		differ = false;

	*now = NIL;
	*then = NIL;
	start(rows, id, true);
	while (scan_next(rows))
	{
		EgressBenchReport *report = bench_report(rows);
		bool		inserted = !TransactionIdIsValid(rows->dirty.xmin);
		bool		deleted = TransactionIdIsValid(rows->dirty.xmax);

		CHECK_FOR_INTERRUPTS();
		if (inserted)
			*now = lappend(*now, report);
		if (!deleted && (inserted || report->session_id == NULL))
			*then = lappend(*then, report);
		differ |= deleted || (!inserted && report->session_id == NULL);
	}
	return differ;
}

/* spare_ids -- the ids of those reports that make no difference, sorted; returns how many */
static int
spare_ids(List *reports, int64 **ids)
{
	int			count = 0;
	ListCell   *cell;

	*ids = palloc(Max(list_length(reports), 1) * sizeof(int64));
	foreach(cell, reports)
	{
		if (((EgressBenchReport *) lfirst(cell))->spare)
			(*ids)[count++] = ((EgressBenchReport *) lfirst(cell))->id;
	}
	qsort(*ids, count, sizeof(int64), value_compare_ids);
	return count;
}

/*
 * clear -- delete the reports about something that are committed, or of this transaction: all, or those of sorted ids
 *
 * Returns whether all could be: one that another transaction is deleting, or that somebody has locked by hand, stays.
 */
static bool
clear(EgressScan *rows, int64 id, const int64 *ids, int count)
{
	bool		all = true;

	start(rows, id, false);
	while (scan_next(rows))
	{
		int64		report_id = scan_id(rows, Anum_egress_report_egress_report_id);

		CHECK_FOR_INTERRUPTS();
		if (ids == NULL || bsearch(&report_id, ids, count, sizeof(int64), value_compare_ids) != NULL)
			all &= scan_try_delete(rows);
	}
	return all;
}

/* first_to_stay -- the position of the first of these reports, which bench_state() has sorted, that is not spare */
static int
first_to_stay(List *reports)
{
	int			position = 0;

	while (position < list_length(reports) && ((EgressBenchReport *) list_nth(reports, position))->spare)
		position++;
	return position;
}

/* cut_off -- let nothing count of the rounds that are spare, of which not every row could be deleted */
static void
cut_off(EgressBenchKind kind, int64 id, List *reports)
{
	int			position = first_to_stay(reports);

	/* a success says that already */
	if (position == 0 || position == list_length(reports) ||
		((EgressBenchReport *) list_nth(reports, position))->session_id == NULL)
		return;
	insert_report(kind, id, NULL, ((EgressBenchReport *) list_nth(reports, position - 1))->reported_at);
}

/*
 * clear_spare -- delete those of the reports about something that make no difference
 *
 * The rest must not have a part of a round before it. Where another open transaction deletes some, it may take that back: then it is
 * left for another time. Where somebody has locked some by hand, a row says that they do not count. Before: the gateway or credential
 * is the current row of the other scan.
 */
static void
clear_spare(EgressScan *rows, EgressBenchKind kind, int64 id, List *reports, EgressScan *row)
{
	int64	   *ids;
	int			count = spare_ids(reports, &ids);

	if (count == 0)
		return;
	lock_take(lock_of(kind), id, ExclusiveLock);
	if (!any_open(rows, id) && !clear(rows, id, ids, count) && !scan_row_ends(row))
		cut_off(kind, id, reports);
	lock_give(lock_of(kind), id, ExclusiveLock);
}

/* counts -- would a report of the session that is made now count, given those that there are? */
static bool
counts(Report *report, const EgressBench *bench, TimestampTz now)
{
	return now >= bench->until && !bench_counts_already(bench->round, report->session_id);
}

/*
 * report_failure -- let a report of a failure count, if it does
 *
 * Where a success is open, it is written also when it counts once that commits.
 */
static void
report_failure(Report *report, EgressBenchKind kind, TimestampTz now)
{
	int64		id = target_id(report, kind);
	EgressScan *row = target(report, kind);
	EgressScan	rows;
	List	   *reports;
	List	   *then;
	bool		differ;
	bool		written;
	EgressBench bench;

	scan_open(&rows, bench_index(kind), RowExclusiveLock);
	differ = read_reports(&rows, id, &reports, &then);
	bench_state(&bench, reports, &report->rule, now);
	written = counts(report, &bench, now);
	clear_spare(&rows, kind, id, reports, row);
	if (!written && differ)
	{
		bench_state(&bench, then, &report->rule, now);
		written = counts(report, &bench, now);
	}
	if (written)
	{
		lock_take(lock_of(kind), id, ShareLock);
		if (!scan_row_ends(row))
			insert_report(kind, id, report->session_id, now);
		lock_give(lock_of(kind), id, ShareLock);
	}
	scan_close(&rows);
}

/*
 * begin_anew -- let nothing count that was reported of a gateway or credential until now
 *
 * Its reports are deleted. Where other open transactions have written some, or delete some and may take that back, or somebody has
 * locked some by hand, a row says that they do not count. Before: the gateway or credential is the current row of the other scan.
 */
static void
begin_anew(EgressBenchKind kind, int64 id, EgressScan *row)
{
	EgressScan	rows;
	bool		open;
	bool		all;

	scan_open(&rows, bench_index(kind), RowExclusiveLock);
	start(&rows, id, true);
	if (scan_next(&rows))
	{
		lock_take(lock_of(kind), id, ExclusiveLock);
		open = any_open(&rows, id);
		all = clear(&rows, id, NULL, 0);
		if ((open || !all) && !scan_row_ends(row))
			insert_report(kind, id, NULL, GetCurrentTimestamp());
		lock_give(lock_of(kind), id, ExclusiveLock);
	}
	scan_close(&rows);
}

/* failure_kind -- what a failure is one of; 22023 when it is none */
static EgressBenchKind
failure_kind(text *failure)
{
	const char *name = text_to_cstring(failure);

	if (strcmp(name, "gateway") != 0 && strcmp(name, "credential") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown failure \"%s\"", name),
				 errdetail("A failure is one of gateway, credential."),
				 errhint("gateway: it does not answer; credential: the gateway has refused it.")));
	return strcmp(name, "gateway") == 0 ? BENCH_GATEWAY : BENCH_CREDENTIAL;
}

/* egress_report_failure -- see COMMENT ON FUNCTION */
Datum
egress_report_failure(PG_FUNCTION_ARGS)
{
	text	   *session_id = argument_id(fcinfo, 0, "session_id");
	TimestampTz now;
	EgressBenchKind kind;
	Report		report;

	argument_check_not_null(fcinfo, 1, "failure");
	kind = failure_kind(PG_GETARG_TEXT_PP(1));
	PreventCommandIfReadOnly("egress_report_failure()");
	PreventCommandIfParallelMode("egress_report_failure()");

	begin(&report, fcinfo->flinfo->fn_oid, session_id);
	now = GetCurrentTimestamp();
	insert_failure(&report, PG_GETARG_TEXT_PP(1), now);
	if (report.rule.after > 0)
		report_failure(&report, kind, now);
	end(&report);
	PG_RETURN_VOID();
}

/* egress_report_success -- see COMMENT ON FUNCTION */
Datum
egress_report_success(PG_FUNCTION_ARGS)
{
	text	   *session_id = argument_id(fcinfo, 0, "session_id");
	Report		report;

	PreventCommandIfReadOnly("egress_report_success()");
	PreventCommandIfParallelMode("egress_report_success()");

	begin(&report, fcinfo->flinfo->fn_oid, session_id);
	for (EgressBenchKind kind = 0; kind < BENCH_KIND_COUNT; kind++)
		begin_anew(kind, target_id(&report, kind), target(&report, kind));
	end(&report);
	PG_RETURN_VOID();
}

/* provider_rule -- the settings of the provider of the gateway or credential in a scan's current row */
static EgressBenchRule
provider_rule(EgressScan *row, Snapshot snapshot)
{
	EgressScan	provider;
	EgressBenchRule rule = {0, 0};

	scan_open(&provider, INDEX_PROVIDER_ID, AccessShareLock);
	/* the provider's id is the second column of both tables */
	if (scan_find_id(&provider, scan_id(row, Anum_egress_gateway_egress_provider_id), snapshot))
		rule = bench_rule(&provider);
	scan_close(&provider);
	return rule;
}

/* unbench -- take a gateway or credential off the bench; returns whether it was on it */
static bool
unbench(EgressBenchKind kind, int64 id)
{
	EgressScan	row;
	Snapshot	snapshot;
	bool		benched = false;

	scan_open(&row, kind == BENCH_GATEWAY ? INDEX_GATEWAY_ID : INDEX_CREDENTIAL_ID, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (scan_find_id(&row, id, snapshot))
	{
		EgressBenchRule rule = provider_rule(&row, snapshot);
		EgressBenchLook look;
		EgressBench bench;

		bench_begin(&look, SnapshotSelf, false);
		benched = bench_find(&look, kind, id, &rule, GetCurrentTimestamp(), &bench);
		begin_anew(kind, id, &row);
	}
	UnregisterSnapshot(snapshot);
	scan_close(&row);
	return benched;
}

/* egress_unbench -- see COMMENT ON FUNCTION */
Datum
egress_unbench(PG_FUNCTION_ARGS)
{
	bool		benched = false;

	if (PG_ARGISNULL(0) && PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing is named to be taken off the bench"),
				 errdetail("Both egress_gateway_id and egress_credential_id are null."),
				 errhint("See egress_benched.")));
	PreventCommandIfReadOnly("egress_unbench()");
	PreventCommandIfParallelMode("egress_unbench()");
	catalog_use(fcinfo->flinfo->fn_oid);

	lock_tables();
	CommandCounterIncrement();
	if (!PG_ARGISNULL(0))
		benched |= unbench(BENCH_GATEWAY, PG_GETARG_INT64(0));
	if (!PG_ARGISNULL(1))
		benched |= unbench(BENCH_CREDENTIAL, PG_GETARG_INT64(1));
	PG_RETURN_BOOL(benched);
}

/* put_benched -- the rows of the gateways, or of the credentials, that are benched */
static void
put_benched(ReturnSetInfo *result, EgressBenchLook *look, EgressBenchKind kind, TimestampTz moment)
{
	List	   *targets = bench_targets(look, kind);
	EgressScan	row;
	ListCell   *cell;

	scan_open(&row, kind == BENCH_GATEWAY ? INDEX_GATEWAY_ID : INDEX_CREDENTIAL_ID, AccessShareLock);
	foreach(cell, targets)
	{
		int64		id = *(int64 *) lfirst(cell);
		Datum		values[BENCHED_COLUMNS];
		bool		nulls[BENCHED_COLUMNS] = {false};
		EgressBenchRule rule;
		EgressBench bench;

		CHECK_FOR_INTERRUPTS();
		if (!scan_find_id(&row, id, look->snapshot))
			continue;
		rule = provider_rule(&row, look->snapshot);
		if (!bench_find(look, kind, id, &rule, moment, &bench))
			continue;
		values[0] = Int64GetDatum(id);
		nulls[0] = kind != BENCH_GATEWAY;
		values[1] = Int64GetDatum(id);
		nulls[1] = kind != BENCH_CREDENTIAL;
		values[2] = Int64GetDatum(bench.failures);
		values[3] = TimestampTzGetDatum(bench.until);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	scan_close(&row);
}

/* egress_benched_now -- see COMMENT ON FUNCTION */
Datum
egress_benched_now(PG_FUNCTION_ARGS)
{
	TimestampTz moment = value_query_moment(fcinfo);
	ReturnSetInfo *result;
	EgressBenchLook look;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	shape_check_result(result->setDesc, "egress_benched_target", BENCHED_TYPES);

	bench_begin(&look, GetActiveSnapshot(), true);
	for (EgressBenchKind kind = 0; kind < BENCH_KIND_COUNT; kind++)
		put_benched(result, &look, kind, moment);
	return (Datum) 0;
}

/*
 * report_delete_of -- delete what is left of the reports about a gateway or credential that this transaction deletes
 *
 * The foreign key's cascade has deleted those that it saw. Others are of transactions that were open then: they are waited for.
 * Before: its row is marked deleted, so that nobody reports of it any more, once the lock was taken.
 */
void
report_delete_of(EgressBenchKind kind, int64 id)
{
	EgressScan	rows;
	bool		again = true;

	if (!catalog_has_table(TABLE_REPORT))
		return;
	bench_lock_tables(RowExclusiveLock);
	lock_take(lock_of(kind), id, ExclusiveLock);
	lock_give(lock_of(kind), id, ExclusiveLock);
	scan_open(&rows, bench_index(kind), RowExclusiveLock);
	while (again)
	{
		TransactionId busy = InvalidTransactionId;
		ItemPointerData tid;

		CHECK_FOR_INTERRUPTS();
		again = false;
		start(&rows, id, true);
		while (!again && scan_next(&rows))
		{
			busy = TransactionIdIsValid(rows.dirty.xmin) ? rows.dirty.xmin : rows.dirty.xmax;
			tid = rows.slot->tts_tid;
			again = TransactionIdIsValid(busy);
			if (!again)
				(void) scan_delete(&rows);
		}
		if (again)
		{
			scan_stop(&rows);
			XactLockTableWait(busy, rows.table, &tid, XLTW_Delete);
		}
	}
	scan_close(&rows);
}
