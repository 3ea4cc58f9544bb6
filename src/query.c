/*
 * query.c -- SQL that the C code runs: what all of it does to get started with SPI
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

/* query_prepare -- a plan of a query, with CURSOR_OPT_* flags or 0; goes with SPI_finish() unless it is kept */
SPIPlanPtr
query_prepare(const char *query, int nargs, Oid *types, int cursor_options)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(query, nargs, types, cursor_options);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\"", query);
	return plan;
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
