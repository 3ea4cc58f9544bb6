/*
 * history.c -- the connections that have ended, and the pruning of all that is past
 *
 * A lease's end and its row in egress_lease_history are one transaction: both are there, or neither is. So whoever was
 * connected at a moment is, for every snapshot, in egress_lease or in the history, and never in both. Rows are
 * inserted here and deleted by egress_prune_history(), and never updated.
 */
#include "history.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "query.h"
#include "value.h"

/*
 * How long a connection lasted, as a number below LENGTH_CLASSES: the first column of the index
 * egress_lease_history_ended. egress--1.0.sql explains the classes; it has the same expression, or the index is of no use.
 */
#define LENGTH_CLASS \
	"(CASE WHEN pg_catalog.isfinite(acquired_at)" \
	" AND released_at OPERATOR(pg_catalog.<) '9999-01-01 00:00:00+00'::pg_catalog.timestamptz" \
	" THEN pg_catalog.width_bucket(released_at OPERATOR(pg_catalog.-) acquired_at," \
	" '{1 min,2 min,4 min,8 min,16 min,32 min,64 min,128 min,256 min,512 min,1024 min,2048 min," \
	"4096 min,8192 min,16384 min,32768 min,65536 min}'::pg_catalog.interval[])" \
	" ELSE 17 END)"
#define LENGTH_CLASSES 18
#define OF_CLASS \
	" AND " LENGTH_CLASS " OPERATOR(pg_catalog.=) %d"
#define OF_ANY_CLASS \
	" AND " LENGTH_CLASS " OPERATOR(pg_catalog.=) ANY ('{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17}')"

/*
 * In the queries, %1$s stands for the quoted schema. What reads the history is a UNION ALL of an arm for each length class,
 * with the condition of_class() for %2$s; of one arm without it where the tables are of version 0.9, whose indexes know no
 * classes.
 */

/*
 * Who was connected at $1, when it is $3 now: those who have ended, and those who have not. OF_GATEWAY_* are conditions on the
 * gateway, $2: %3$s of the one, %2$s of the other query. The parameter number %4$d is latest_end() of the arm's class. They
 * are planned without the values: of a range that it does not know, the planner expects a small part of the table, so that no
 * statistics make it read the whole.
 */
#define ENDED_QUERY \
	"SELECT egress_lease_history_id, session_id, egress_credential_id, credential_name," \
	" egress_gateway_id, gateway_name, provider_name, country, city," \
	" user_id, workspace_id, acquired_at, released_at, release_reason" \
	" FROM %1$s.egress_lease_history" \
	" WHERE released_at OPERATOR(pg_catalog.>) $1 AND released_at OPERATOR(pg_catalog.<=) $%4$d%2$s%3$s" \
	" AND acquired_at OPERATOR(pg_catalog.<=) $1"
#define LIVE_QUERY \
	"SELECT NULL, l.session_id, l.egress_credential_id, c.name," \
	" l.egress_gateway_id, g.name, p.name, g.country, g.city," \
	" l.user_id, l.workspace_id, l.acquired_at," \
	" CASE WHEN e.expires_at OPERATOR(pg_catalog.<=) $3 THEN e.expires_at END," \
	" CASE WHEN e.expires_at OPERATOR(pg_catalog.<=) $3 THEN 'expired' END" \
	" FROM %1$s.egress_lease l" \
	" JOIN %1$s.egress_credential c ON c.egress_credential_id OPERATOR(pg_catalog.=) l.egress_credential_id" \
	" JOIN %1$s.egress_gateway g ON g.egress_gateway_id OPERATOR(pg_catalog.=) l.egress_gateway_id" \
	" JOIN %1$s.egress_provider p ON p.egress_provider_id OPERATOR(pg_catalog.=) g.egress_provider_id" \
	" LEFT JOIN %1$s.egress_lease_expiry e ON e.session_id OPERATOR(pg_catalog.=) l.session_id" \
	" WHERE l.acquired_at OPERATOR(pg_catalog.<=) $1" \
	" AND (e.expires_at IS NULL OR e.expires_at OPERATOR(pg_catalog.>) $1)%2$s%3$s"
#define OF_GATEWAY_ENDED \
	" AND egress_gateway_id OPERATOR(pg_catalog.=) $2"
#define OF_GATEWAY_LIVE \
	" AND l.egress_gateway_id OPERATOR(pg_catalog.=) $2"
#define NOT_COOLING \
	" AND NOT l.cooling"
#define CONNECTIONS_ORDER \
	" ORDER BY acquired_at, session_id"
#define FIRST_LATEST_END 4
#define CONNECTIONS_PARAMETERS (FIRST_LATEST_END - 1 + LENGTH_CLASSES)

#define PRUNE_QUERY \
	"DELETE FROM %1$s.egress_lease_history WHERE released_at OPERATOR(pg_catalog.<) $1%2$s"

/*
 * A batch of at most $2 rows. Each arm has the order of its index, so that they give the oldest first, and no more than are
 * asked for. The inner query locks one after another, so that their places stay theirs until the outer one deletes them;
 * places, because no plan can make that a scan of the table. Planned with enable_sort off: a sort would read, or even lock,
 * all that there is to be removed, for each batch of it.
 */
#define PRUNE_BATCH_QUERY \
	"DELETE FROM %1$s.egress_lease_history WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT locked.ctid FROM (%2$s) oldest," \
	" LATERAL (SELECT ctid FROM %1$s.egress_lease_history WHERE ctid OPERATOR(pg_catalog.=) oldest.ctid" \
	" FOR UPDATE SKIP LOCKED) locked" \
	" ORDER BY oldest.released_at LIMIT $2))"
#define PRUNE_ARM \
	"(SELECT ctid, released_at FROM %1$s.egress_lease_history" \
	" WHERE released_at OPERATOR(pg_catalog.<) $1%2$s ORDER BY released_at)"

/* the same of the reports of failures, which have one class */
#define PRUNE_FAILURES_QUERY \
	"DELETE FROM %1$s.egress_failure WHERE reported_at OPERATOR(pg_catalog.<) $1"
#define PRUNE_FAILURES_BATCH_QUERY \
	"DELETE FROM %1$s.egress_failure WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT locked.ctid FROM (SELECT ctid, reported_at FROM %1$s.egress_failure" \
	" WHERE reported_at OPERATOR(pg_catalog.<) $1 ORDER BY reported_at) oldest," \
	" LATERAL (SELECT ctid FROM %1$s.egress_failure WHERE ctid OPERATOR(pg_catalog.=) oldest.ctid" \
	" FOR UPDATE SKIP LOCKED) locked" \
	" ORDER BY oldest.reported_at LIMIT $2))"

/* More than any history is kept for. A timestamp less three times this, in months, days and time, is a timestamp. */
#define MAX_AGE_YEARS 1000
#define MAX_DAYS_PER_YEAR 366

PG_FUNCTION_INFO_V1(egress_connections_at);
PG_FUNCTION_INFO_V1(egress_prune_history);
PG_FUNCTION_INFO_V1(egress_prune_history_batch);

/* history_lock_tables -- lock what history_write() opens, for whoever must not wait for it later */
void
history_lock_tables(void)
{
	LockRelationOid(catalog_table(TABLE_CREDENTIAL), AccessShareLock);
	LockRelationOid(catalog_table(TABLE_GATEWAY), AccessShareLock);
	LockRelationOid(catalog_table(TABLE_PROVIDER), AccessShareLock);
	LockRelationOid(catalog_table(TABLE_LEASE_HISTORY), RowExclusiveLock);
	LockRelationOid(catalog_sequence(SEQUENCE_LEASE_HISTORY), RowExclusiveLock);
}

/*
 * find_named -- find the row whose name goes into the history
 *
 * A statement that deletes a provider deletes its gateways and credentials when the provider's row has gone. A lease that
 * expires under it ends then, with the names of before.
 */
static bool
find_named(EgressScan *scan, int64 id, Snapshot snapshot)
{
	return scan_find_id(scan, id, snapshot) || scan_find_deleted(scan, id);
}

/*
 * history_write -- write the lease that ended to egress_lease_history, with the names as they are now
 *
 * Before: the lease is the scan's current row, and the caller has deleted it; the other scan is open, by id. After: its credential is the
 * current row of that. Its foreign keys hold, so the rows that it names are there, or this transaction is deleting them. A clock that was set back may say that it ended before it began: the row then says that it ended
 * when it began, because the table takes nothing else, and a lease must end.
 */
void
history_write(EgressScan *lease, EgressScan *credential, const char *reason, TimestampTz released_at)
{
	EgressScan	gateway;
	EgressScan	provider;
	Relation	history;
	Snapshot	snapshot;
	TimestampTz acquired_at = DatumGetTimestampTz(scan_value(lease, Anum_egress_lease_acquired_at));
	Datum		values[Natts_egress_lease_history];
	bool		nulls[Natts_egress_lease_history] = {false};

	/* the snapshot comes after the tables' locks: it has to see what a rewrite of a table did */
	scan_open(&gateway, INDEX_GATEWAY_ID, AccessShareLock);
	scan_open(&provider, INDEX_PROVIDER_ID, AccessShareLock);
	history = scan_open_table(TABLE_LEASE_HISTORY, RowExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find_named(credential, scan_id(lease, Anum_egress_lease_egress_credential_id), snapshot) ||
		!find_named(&gateway, scan_id(lease, Anum_egress_lease_egress_gateway_id), snapshot) ||
		!find_named(&provider, scan_id(&gateway, Anum_egress_gateway_egress_provider_id), snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the credential, gateway or provider of the lease of session \"%s\" cannot be found",
						scan_name(lease, Anum_egress_lease_session_id)),
				 errdetail("It was deleted past the foreign keys."),
				 errhint("Put it back, or delete the row of egress_lease by hand.")));

#define HISTORY(column) (Anum_egress_lease_history_##column - 1)
	values[HISTORY(egress_lease_history_id)] = Int64GetDatum(nextval_internal(catalog_sequence(SEQUENCE_LEASE_HISTORY), false));
	scan_put(lease, Anum_egress_lease_session_id, HISTORY(session_id), values, nulls);
	scan_put(lease, Anum_egress_lease_egress_credential_id, HISTORY(egress_credential_id), values, nulls);
	scan_put(credential, Anum_egress_credential_name, HISTORY(credential_name), values, nulls);
	scan_put(lease, Anum_egress_lease_egress_gateway_id, HISTORY(egress_gateway_id), values, nulls);
	scan_put(&gateway, Anum_egress_gateway_name, HISTORY(gateway_name), values, nulls);
	scan_put(&provider, Anum_egress_provider_name, HISTORY(provider_name), values, nulls);
	scan_put(&gateway, Anum_egress_gateway_country, HISTORY(country), values, nulls);
	scan_put(&gateway, Anum_egress_gateway_city, HISTORY(city), values, nulls);
	scan_put(lease, Anum_egress_lease_user_id, HISTORY(user_id), values, nulls);
	scan_put(lease, Anum_egress_lease_workspace_id, HISTORY(workspace_id), values, nulls);
	values[HISTORY(acquired_at)] = TimestampTzGetDatum(acquired_at);
	values[HISTORY(released_at)] = TimestampTzGetDatum(Max(released_at, acquired_at));
	values[HISTORY(release_reason)] = CStringGetTextDatum(reason);
#undef HISTORY

	scan_insert_row(history, Natts_egress_lease_history, values, nulls);
	table_close(history, NoLock);

	scan_close(&provider);
	scan_close(&gateway);
	UnregisterSnapshot(snapshot);
}

/* turn_off -- turn a planner's setting off, up to AtEOXact_GUC() */
static void
turn_off(const char *setting)
{
	(void) set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * run -- run a query inside SPI, planned with the values, or, given CURSOR_OPT_GENERIC_PLAN, without
 *
 * To compile one of so many arms would take longer than to run it.
 */
static void
run(const char *query, int nargs, Oid *types, Datum *values, int cursor_options, bool read_only, int expected)
{
	int			nest_level = NewGUCNestLevel();

	turn_off("jit");
	if (!read_only)
		turn_off("enable_sort");
	if (query_run(query_prepare(query, nargs, types, cursor_options), values, NULL, NULL, read_only, 0) != expected)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the history cannot be read or pruned"),
				 errdetail("A rule of egress_lease_history made another statement of ours.")));
	AtEOXact_GUC(true, nest_level);
}

/* has_length_classes -- is there the index of length classes, in the version that is installed? */
static bool
has_length_classes(void)
{
	return catalog_version() >= VERSION_1_0;
}

/* first_arm -- the class of a query's first arm; those after it follow. An arm for all has the last, which has no bound */
static int
first_arm(void)
{
	return has_length_classes() ? 0 : LENGTH_CLASSES - 1;
}

/* of_class -- the condition of an arm on the length class */
static const char *
of_class(int class)
{
	return has_length_classes() ? psprintf(OF_CLASS, class) : "";
}

/*
 * latest_end -- when a connection of a class that was there at a moment has ended at the latest
 *
 * What is in a class other than the last has begun at a finite moment, and ended before the last timestamps.
 */
static TimestampTz
latest_end(int class, TimestampTz moment)
{
	int64		longest = USECS_PER_MINUTE << class;	/* no length in the class is as long */

	if (class == LENGTH_CLASSES - 1 || moment >= END_TIMESTAMP - longest)
		return DT_NOEND;
	return TIMESTAMP_IS_NOBEGIN(moment) ? moment : moment + longest;
}

/* connections_query -- who was connected */
static char *
connections_query(bool any_gateway)
{
	const char *schema = query_schema();
	StringInfoData query;

	initStringInfo(&query);
	for (int class = first_arm(); class < LENGTH_CLASSES; class++)
		appendStringInfo(&query, ENDED_QUERY " UNION ALL ", schema, of_class(class),
						 any_gateway ? "" : OF_GATEWAY_ENDED, FIRST_LATEST_END + class);
	appendStringInfo(&query, LIVE_QUERY CONNECTIONS_ORDER, schema, any_gateway ? "" : OF_GATEWAY_LIVE,
					 shape_columns(TABLE_LEASE) >= Anum_egress_lease_cooling ? NOT_COOLING : "");
	return query.data;
}

/* prune_query -- the removal of what has ended before, of all or of a batch */
static char *
prune_query(bool batch)
{
	const char *schema = query_schema();
	StringInfoData arms;

	if (!batch)
		return psprintf(PRUNE_QUERY, schema, has_length_classes() ? OF_ANY_CLASS : "");

	initStringInfo(&arms);
	for (int class = first_arm(); class < LENGTH_CLASSES; class++)
		appendStringInfo(&arms, class == first_arm() ? PRUNE_ARM : " UNION ALL " PRUNE_ARM, schema, of_class(class));
	return psprintf(PRUNE_BATCH_QUERY, schema, arms.data);
}

/* egress_connections_at -- see COMMENT ON FUNCTION */
Datum
egress_connections_at(PG_FUNCTION_ARGS)
{
	Oid			types[CONNECTIONS_PARAMETERS] = {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID};
	Datum		parameters[CONNECTIONS_PARAMETERS];
	Oid		   *latest_end_types = types + FIRST_LATEST_END - 1;
	Datum	   *latest_ends = parameters + FIRST_LATEST_END - 1;
	bool		any_gateway = PG_ARGISNULL(1);
	ReturnSetInfo *result;
	Datum	   *values;
	bool	   *nulls;

	argument_check_not_null(fcinfo, 0, "moment");
	catalog_use(fcinfo->flinfo->fn_oid);
	table_close(scan_open_table(TABLE_LEASE_HISTORY, AccessShareLock), NoLock);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;

	/* columns that somebody added to the table are NULL */
	values = palloc0(result->setDesc->natts * sizeof(Datum));
	nulls = palloc(result->setDesc->natts * sizeof(bool));
	memset(nulls, true, result->setDesc->natts * sizeof(bool));

	parameters[0] = PG_GETARG_DATUM(0);
	parameters[1] = any_gateway ? Int64GetDatum(0) : PG_GETARG_DATUM(1);
	parameters[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	for (int class = 0; class < LENGTH_CLASSES; class++)
	{
		latest_end_types[class] = TIMESTAMPTZOID;
		latest_ends[class] = TimestampTzGetDatum(latest_end(class, PG_GETARG_TIMESTAMPTZ(0)));
	}

	query_connect();
	run(connections_query(any_gateway), CONNECTIONS_PARAMETERS, types, parameters, CURSOR_OPT_GENERIC_PLAN, true,
		SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int column = 1; column <= Natts_egress_lease_history; column++)
			nulls[column - 1] = !query_value(i, column, &values[column - 1]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();

	return (Datum) 0;
}

/* older_than_bound -- the moment that is older_than, the first argument, before now; 22004 or 22023 if there is none */
static Datum
older_than_bound(FunctionCallInfo fcinfo)
{
	Interval	nothing = {0};
	Interval   *older_than;

	argument_check_not_null(fcinfo, 0, "older_than");
	older_than = PG_GETARG_INTERVAL_P(0);
	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(older_than), IntervalPGetDatum(&nothing))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must not be negative"),
				 errdetail("It says how long ago a connection has to have ended to be removed.")));
	if (!value_interval_within(older_than, MAX_AGE_YEARS * MONTHS_PER_YEAR, MAX_AGE_YEARS * MAX_DAYS_PER_YEAR,
							   MAX_AGE_YEARS * MAX_DAYS_PER_YEAR * USECS_PER_DAY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than is too long"),
				 errdetail("It may be up to %d years.", MAX_AGE_YEARS)));
	return TimestampTzGetDatum(value_moment_before(GetCurrentTimestamp(), older_than));
}

/* run_prune -- run the removal of what is older than the bound, at most max_rows rows of it, or all for 0; returns how many */
static int64
run_prune(const char *query, Datum bound, int64 max_rows)
{
	Oid			types[2] = {TIMESTAMPTZOID, INT8OID};
	Datum		parameters[2] = {bound, Int64GetDatum(max_rows)};

	run(query, max_rows > 0 ? 2 : 1, types, parameters, 0, false, SPI_OK_DELETE);
	return SPI_processed;
}

/* prune -- remove what is older than the bound from the history and the failures, at most max_rows rows, or all for 0; returns how many */
static int64
prune(Oid function, Datum bound, int64 max_rows)
{
	int64		pruned;

	PreventCommandIfReadOnly("egress_prune_history()");
	PreventCommandIfParallelMode("egress_prune_history()");
	catalog_use(function);

	query_connect();
	pruned = run_prune(prune_query(max_rows > 0), bound, max_rows);
	if (catalog_has_table(TABLE_FAILURE) && (max_rows == 0 || pruned < max_rows))
		pruned += run_prune(psprintf(max_rows > 0 ? PRUNE_FAILURES_BATCH_QUERY : PRUNE_FAILURES_QUERY, query_schema()), bound,
							max_rows == 0 ? 0 : max_rows - pruned);
	SPI_finish();
	return pruned;
}

/* egress_prune_history -- see COMMENT ON FUNCTION */
Datum
egress_prune_history(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(prune(fcinfo->flinfo->fn_oid, older_than_bound(fcinfo), 0));
}

/* egress_prune_history_batch -- egress_prune_history() with max_rows; see COMMENT ON FUNCTION */
Datum
egress_prune_history_batch(PG_FUNCTION_ARGS)
{
	Datum		bound = older_than_bound(fcinfo);

	argument_check_not_null(fcinfo, 1, "max_rows");
	argument_check_above_0(PG_GETARG_INT64(1), "max_rows");
	PG_RETURN_INT64(prune(fcinfo->flinfo->fn_oid, bound, PG_GETARG_INT64(1)));
}
