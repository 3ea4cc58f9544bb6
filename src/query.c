/*
 * query.c -- SQL that the C code runs, through SPI
 *
 * Off the paths that count; those read by index (scan.c).
 */
#include "query.h"

#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "catalog.h"

/* query_schema -- the schema of the extension as a query names it */
const char *
query_schema(void)
{
	return quote_identifier(catalog_schema_name());
}

/* query_connect -- connect to SPI; SPI_finish() or an error ends it, and frees what was allocated since */
void
query_connect(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* query_connect_to_commit -- the same, for a procedure that commits by SPI_commit() */
void
query_connect_to_commit(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
}

/* query_prepare -- a plan of a query, with CURSOR_OPT_* flags or 0; goes with SPI_finish() unless it is kept */
SPIPlanPtr
query_prepare(const char *query, int nargs, Oid *types, int cursor_options)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(query, nargs, types, cursor_options);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\"", query);
	return plan;
}

/*
 * query_run -- run a plan with a snapshot, or with NULL as SPI_execute_plan() does; returns an SPI_OK code
 *
 * nulls and limit are those of SPI_execute_plan(). The rows are in SPI_tuptable, their number in SPI_processed.
 */
int
query_run(SPIPlanPtr plan, Datum *values, const char *nulls, Snapshot snapshot, bool read_only, long limit)
{
	int			code = SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot, read_only, true, limit);

	if (code < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(code));
	return code;
}

/* query_command -- run a command that is no query, with the rights of the caller */
void
query_command(const char *command)
{
	if (SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute failed for \"%s\"", command);
}

/* query_value -- a column of a row of the query that ran last; false when it is NULL */
bool
query_value(uint64 row, int column, Datum *value)
{
	bool		isnull;

	*value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	return !isnull;
}

/* query_open_latest -- a cursor over what a plan without parameters reads with the latest snapshot, also at REPEATABLE READ */
Portal
query_open_latest(SPIPlanPtr plan)
{
	Portal		portal;

	/* read-only: the cursor keeps the snapshot that is active when it is opened */
	PushActiveSnapshot(GetLatestSnapshot());
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	PopActiveSnapshot();
	return portal;
}
