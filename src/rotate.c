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
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "compat.h"
#include "keyring.h"
#include "query.h"
#include "secret.h"

/* how many rows are read at a time */
#define BATCH 100

/* the columns of the query below, in its order; the secrets are in that of credential_secrets */
enum
{
	ROTATE_ID = 1,
	ROTATE_NAME,
	ROTATE_PASSWORD,
	ROTATE_PRIVATE_KEY,
	ROTATE_CUSTOM_CREDENTIAL
};

#define SELECT_QUERY \
	"SELECT egress_credential_id, name, password, private_key, custom_credential" \
	" FROM %1$s.egress_credential" \
	" WHERE %1$s.egress_secret_state(password) OPERATOR(pg_catalog.<>) 'active key'" \
	" OR %1$s.egress_secret_state(private_key) OPERATOR(pg_catalog.<>) 'active key'" \
	" OR %1$s.egress_secret_state(custom_credential) OPERATOR(pg_catalog.<>) 'active key'" \
	" ORDER BY egress_credential_id FOR NO KEY UPDATE"

#define UPDATE_QUERY \
	"UPDATE %1$s.egress_credential SET password = $2, private_key = $3, custom_credential = $4" \
	" WHERE egress_credential_id OPERATOR(pg_catalog.=) $1"
#define UPDATE_PARAMETERS 4

PG_FUNCTION_INFO_V1(egress_rotate_secrets);

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
	/* the parameters of the update are the columns of the query but for the name */
	Datum		values[UPDATE_PARAMETERS];
	char		nulls[UPDATE_PARAMETERS];
	bool		isnull;
	int64		credential_id = DatumGetInt64(SPI_getbinval(row, desc, ROTATE_ID, &isnull));
	char	   *credential_name = SPI_getvalue(row, desc, ROTATE_NAME);
	int64		rotated = 0;

	values[0] = Int64GetDatum(credential_id);
	nulls[0] = ' ';
	for (int column = ROTATE_PASSWORD; column <= ROTATE_CUSTOM_CREDENTIAL; column++)
	{
		int			parameter = column - ROTATE_NAME;
		Datum		value = SPI_getbinval(row, desc, column, &isnull);

		values[parameter] = value;
		nulls[parameter] = isnull ? 'n' : ' ';
		if (!isnull && !secret_is_active(DatumGetSecretPP(value)))
		{
			char	   *label = secret_label(credential_secrets[column - ROTATE_PASSWORD].name, credential_id, credential_name);

			values[parameter] = PointerGetDatum(seal_anew(DatumGetSecretPP(value), label));
			rotated++;
		}
	}
	if (SPI_execute_plan(update, values, nulls, false, 0) != SPI_OK_UPDATE || SPI_processed != 1)
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
		Oid			secret = SPI_gettypeid(rows->tupdesc, ROTATE_PASSWORD);
		Oid			types[UPDATE_PARAMETERS] = {INT8OID, secret, secret, secret};

		*update = query_prepare(psprintf(UPDATE_QUERY, query_schema()), UPDATE_PARAMETERS, types, 0);
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
	portal = SPI_cursor_open(NULL, query_prepare(psprintf(SELECT_QUERY, query_schema()), 0, NULL, 0), NULL, NULL, false);
	while (SPI_cursor_fetch(portal, true, BATCH), SPI_processed > 0)
		rotated += rotate_batch(&update);
	SPI_cursor_close(portal);
	SPI_finish();

	PG_RETURN_INT64(rotated);
}
