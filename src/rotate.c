/*
 * rotate.c -- egress_rotate_secrets(): seal every secret under the active key
 *
 * Plain updates of rows in the caller's transaction: they commit together or not at all. Rows are locked before they
 * are read, so that a secret which somebody writes meanwhile is not overwritten. An acquire reads the old version of a
 * row until the new one is committed, and waits for nobody; both versions open to the same secret.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "compat.h"
#include "keyring.h"
#include "query.h"
#include "secret.h"
#include "shape.h"

/* how many rows are read at a time */
#define BATCH 100

/* the columns of the query below; the secrets come in the order of credential_secrets */
enum
{
	ROTATE_ID = 1,
	ROTATE_NAME,
	ROTATE_SECRET
};

/* the update's parameters are the id and all secrets */
#define UPDATE_PARAMETERS (1 + CREDENTIAL_SECRET_COUNT)

PG_FUNCTION_INFO_V1(egress_rotate_secrets);

/* secret_count -- how many of the secrets the version that is installed has: the first of them */
static int
secret_count(void)
{
	int			count = 0;

	while (count < CREDENTIAL_SECRET_COUNT && credential_secrets[count].column <= shape_columns(TABLE_CREDENTIAL))
		count++;
	return count;
}

/* select_query -- reads the credentials with a secret that is not sealed under the active key, and locks them */
static char *
select_query(void)
{
	const char *schema = query_schema();
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT egress_credential_id, name");
	for (int i = 0; i < secret_count(); i++)
		appendStringInfo(&query, ", %s", credential_secrets[i].name);
	appendStringInfo(&query, " FROM %s.egress_credential WHERE", schema);
	for (int i = 0; i < secret_count(); i++)
		appendStringInfo(&query, "%s %s.egress_secret_state(%s) OPERATOR(pg_catalog.<>) 'active key'",
						 i == 0 ? "" : " OR", schema, credential_secrets[i].name);
	appendStringInfoString(&query, " ORDER BY egress_credential_id FOR NO KEY UPDATE");
	return query.data;
}

/* update_query -- writes the secrets, $2 and on, of the credential $1 */
static char *
update_query(void)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfo(&query, "UPDATE %s.egress_credential SET", query_schema());
	for (int i = 0; i < secret_count(); i++)
		appendStringInfo(&query, "%s %s = $%d", i == 0 ? "" : ",", credential_secrets[i].name, i + 2);
	appendStringInfoString(&query, " WHERE egress_credential_id OPERATOR(pg_catalog.=) $1");
	return query.data;
}

/* seal_anew -- a secret sealed under the active key; NG006 when it cannot be opened */
static EgressSecret *
seal_anew(EgressSecret *secret, const char *label)
{
	char	   *opened = secret_open(secret, label);
	EgressSecret *sealed = secret_seal(opened, strlen(opened));

	secret_wipe(opened);
	return sealed;
}

/* rotate_row -- seal the secrets of a credential anew; returns how many */
static int64
rotate_row(SPIPlanPtr update, HeapTuple row, TupleDesc desc)
{
	Datum		values[UPDATE_PARAMETERS];
	char		nulls[UPDATE_PARAMETERS];
	bool		isnull;
	int64		credential_id = DatumGetInt64(SPI_getbinval(row, desc, ROTATE_ID, &isnull));
	char	   *credential_name = SPI_getvalue(row, desc, ROTATE_NAME);
	int64		rotated = 0;

	values[0] = Int64GetDatum(credential_id);
	nulls[0] = ' ';
	for (int i = 0; i < secret_count(); i++)
	{
		Datum		value = SPI_getbinval(row, desc, ROTATE_SECRET + i, &isnull);

		values[1 + i] = value;
		nulls[1 + i] = isnull ? 'n' : ' ';
		if (!isnull && !secret_is_active(DatumGetSecretPP(value)))
		{
			char	   *label = secret_label(credential_secrets[i].name, credential_id, credential_name);

			values[1 + i] = PointerGetDatum(seal_anew(DatumGetSecretPP(value), label));
			rotated++;
		}
	}
	if (query_run(update, values, nulls, NULL, false, 0) != SPI_OK_UPDATE || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("credential " INT64_FORMAT " was not updated", credential_id),
				 errdetail("A trigger, rule or policy of egress_credential kept it as it was.")));
	return rotated;
}

/* rotate_batch -- seal the secrets of the rows that were fetched anew; returns how many */
static int64
rotate_batch(SPIPlanPtr *update)
{
	SPITupleTable *rows = SPI_tuptable;
	uint64		count = SPI_processed;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "egress secrets", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(row_context);
	int64		rotated = 0;

	if (*update == NULL)
	{
		Oid			types[UPDATE_PARAMETERS] = {INT8OID};

		for (int i = 0; i < secret_count(); i++)
			types[1 + i] = SPI_gettypeid(rows->tupdesc, ROTATE_SECRET);
		*update = query_prepare(update_query(), 1 + secret_count(), types, 0);
	}
	for (uint64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		rotated += rotate_row(*update, rows->vals[i], rows->tupdesc);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(row_context);
	SPI_freetuptable(rows);
	return rotated;
}

/* egress_rotate_secrets -- see COMMENT ON FUNCTION */
Datum
egress_rotate_secrets(PG_FUNCTION_ARGS)
{
	SPIPlanPtr	update = NULL;
	Portal		portal;
	int64		rotated = 0;

	PreventCommandIfReadOnly("egress_rotate_secrets()");
	PreventCommandIfParallelMode("egress_rotate_secrets()");
	catalog_use(fcinfo->flinfo->fn_oid);
	if (keyring_load() == KEYRING_UNSET)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no key to seal secrets under"),
				 errdetail("egress.secret_key_file is not set.")));

	query_connect();
	portal = SPI_cursor_open(NULL, query_prepare(select_query(), 0, NULL, 0), NULL, NULL, false);
	while (SPI_cursor_fetch(portal, true, BATCH), SPI_processed > 0)
		rotated += rotate_batch(&update);
	SPI_cursor_close(portal);
	SPI_finish();

	PG_RETURN_INT64(rotated);
}
