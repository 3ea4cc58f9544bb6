/*
 * integrity.c -- triggers that keep the configuration tables whole
 *
 * What SQL can declare is declared in the install script. Three things it cannot:
 *	- The tables repeat a column of their parent (the provider's type, the mapping's provider), so that foreign keys over two
 *	  columns can refuse what does not belong together. Triggers fill that column in.
 *	- An acquire inserts a lease without the foreign keys' own checks (lease.c says why). So whoever deletes a
 *	  gateway or a credential looks for leases of open transactions, in this order: mark the row deleted, take the row's
 *	  lock, look. An acquire takes the same lock, looks for the mark, inserts, and gives the lock back. Whichever is
 *	  second sees the other. Committed leases are found by the foreign key as well.
 *	- An expired lease is no reason to keep what it used, whether a sweep has seen it or not. So those are ended before.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "integrity.h"
#include "lease.h"
#include "lock.h"
#include "scan.h"

#define ON_SELECTION (ON_TABLE(TABLE_MAPPING_GATEWAY) | ON_TABLE(TABLE_CREDENTIAL_GATEWAY))

PG_FUNCTION_INFO_V1(egress_fill_provider_type);
PG_FUNCTION_INFO_V1(egress_fill_selection_provider);
PG_FUNCTION_INFO_V1(egress_refuse_move);
PG_FUNCTION_INFO_V1(egress_end_expired_leases);
PG_FUNCTION_INFO_V1(egress_refuse_delete_in_use);

/*
 * trigger_begin -- what each trigger does first: returns which of our tables it is attached to
 *
 * tables are those that it is made for: it takes columns by their number. 22023 when it is attached in another way.
 */
EgressTable
trigger_begin(FunctionCallInfo fcinfo, int tables)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	EgressTable table;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this is a trigger function of extension egress")));
	catalog_use(fcinfo->flinfo->fn_oid);
	table = catalog_table_of(RelationGetRelid(trigger->tg_relation));
	if ((tables & ON_TABLE(table)) == 0 ||
		!(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || (tables & ON_TRUNCATE && TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("trigger \"%s\" of table \"%s\" cannot work",
						trigger->tg_trigger->tgname, RelationGetRelationName(trigger->tg_relation)),
				 errdetail("It is FOR EACH STATEMENT, or its function was made for another table.")));
	shape_check_table(trigger->tg_relation, table);
	return table;
}

/* trigger_new_row -- the row that an INSERT or UPDATE is about to write */
HeapTuple
trigger_new_row(TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
}

/* row_id -- a bigint column of a row; false when it is NULL */
static bool
row_id(TriggerData *trigger, HeapTuple row, AttrNumber column, int64 *id)
{
	bool		isnull;
	Datum		value = heap_getattr(row, column, RelationGetDescr(trigger->tg_relation), &isnull);

	*id = isnull ? 0 : DatumGetInt64(value);
	return !isnull;
}

/* with_value -- a row with one column changed */
static HeapTuple
with_value(TriggerData *trigger, HeapTuple row, AttrNumber column, Datum value)
{
	int			columns[1] = {column};
	bool		isnull[1] = {false};

	return heap_modify_tuple_by_cols(row, RelationGetDescr(trigger->tg_relation), 1, columns, &value, isnull);
}

/*
 * parent_value -- a column, of fixed length, of the parent row with this id; false when there is no such row
 *
 * As a foreign key would see it: committed by now, or inserted by this transaction, also by this very statement (a
 * WITH query that inserts parent and child). The foreign key itself is checked later, and settles what changed since.
 */
static bool
parent_value(EgressIndex index, int64 id, AttrNumber column, Datum *value)
{
	EgressScan	scan;
	Snapshot	latest;
	bool		found;

	scan_open(&scan, index, AccessShareLock);
	latest = RegisterSnapshot(GetLatestSnapshot());
	found = scan_find_id(&scan, id, latest) || scan_find_id(&scan, id, SnapshotSelf);
	if (found)
		*value = scan_value(&scan, column);
	scan_close(&scan);
	UnregisterSnapshot(latest);
	return found;
}

/* refuse_missing -- raise what the foreign key would */
pg_noreturn static void
refuse_missing(TriggerData *trigger, const char *what, int64 id)
{
	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("%s " INT64_FORMAT " does not exist", what, id),
			 errdetail("The new row of \"%s\" refers to it.", RelationGetRelationName(trigger->tg_relation)),
			 errtable(trigger->tg_relation)));
}

/* egress_fill_provider_type -- BEFORE INSERT on gateways and credentials */
Datum
egress_fill_provider_type(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		is_gateway = trigger_begin(fcinfo, ON_GATEWAY_OR_CREDENTIAL) == TABLE_GATEWAY;
	HeapTuple	row = trigger->tg_trigtuple;
	int64		provider_id;
	Datum		type;

	/* NULL is refused by NOT NULL */
	if (!row_id(trigger, row, is_gateway ? (int) Anum_egress_gateway_egress_provider_id :
				(int) Anum_egress_credential_egress_provider_id, &provider_id))
		return PointerGetDatum(row);

	if (!parent_value(INDEX_PROVIDER_ID, provider_id, Anum_egress_provider_provider_type, &type))
		refuse_missing(trigger, "provider", provider_id);

	return PointerGetDatum(with_value(trigger, row,
									  is_gateway ? (int) Anum_egress_gateway_provider_type :
									  (int) Anum_egress_credential_provider_type, type));
}

/* egress_fill_selection_provider -- BEFORE INSERT OR UPDATE on the tables of selected gateways */
Datum
egress_fill_selection_provider(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		of_mapping = trigger_begin(fcinfo, ON_SELECTION) == TABLE_MAPPING_GATEWAY;
	const char *what = of_mapping ? "mapping" : "credential";
	HeapTuple	row = trigger_new_row(trigger);
	int64		owner_id;
	int64		gateway_id;
	Datum		owner_provider;
	Datum		gateway_provider;

	/* both tables have the same columns in the same order; NULL is refused by the primary key */
	if (!row_id(trigger, row, Anum_egress_provider_mapping_gateway_egress_provider_mapping_id, &owner_id) ||
		!row_id(trigger, row, Anum_egress_provider_mapping_gateway_egress_gateway_id, &gateway_id))
		return PointerGetDatum(row);

	if (!(of_mapping ?
		  parent_value(INDEX_MAPPING_ID, owner_id, Anum_egress_provider_mapping_egress_provider_id, &owner_provider) :
		  parent_value(INDEX_CREDENTIAL_ID, owner_id, Anum_egress_credential_egress_provider_id, &owner_provider)))
		refuse_missing(trigger, what, owner_id);
	if (!parent_value(INDEX_GATEWAY_ID, gateway_id, Anum_egress_gateway_egress_provider_id, &gateway_provider))
		refuse_missing(trigger, "gateway", gateway_id);

	if (DatumGetInt64(owner_provider) != DatumGetInt64(gateway_provider))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("%s " INT64_FORMAT " cannot select gateway " INT64_FORMAT " of another provider",
						what, owner_id, gateway_id),
				 errdetail("The %s is of provider " INT64_FORMAT ", the gateway of provider " INT64_FORMAT ".",
						   what, DatumGetInt64(owner_provider), DatumGetInt64(gateway_provider)),
				 errtable(trigger->tg_relation)));

	return PointerGetDatum(with_value(trigger, row,
									  Anum_egress_provider_mapping_gateway_egress_provider_id, owner_provider));
}

/* egress_refuse_move -- BEFORE UPDATE on gateways and credentials, WHEN the id or the provider changes */
Datum
egress_refuse_move(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const char *what = trigger_begin(fcinfo, ON_GATEWAY_OR_CREDENTIAL) == TABLE_GATEWAY ? "gateway" : "credential";

	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("a %s keeps its id and its provider", what),
			 errdetail("Leases and selections refer to both."),
			 errhint("Insert a new %s, and delete or disable this one.", what),
			 errtable(trigger->tg_relation)));
}

/* end_expired_of_provider -- end the expired leases of a provider's gateways */
static void
end_expired_of_provider(int64 provider_id)
{
	EgressScan	gateways;
	Snapshot	snapshot;

	scan_open(&gateways, INDEX_GATEWAY_MENU, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan_key_id(&gateways, provider_id);
	scan_start(&gateways, snapshot);
	while (scan_next(&gateways))
		lease_end_expired_of(INDEX_LEASE_GATEWAY, scan_id(&gateways, Anum_egress_gateway_egress_gateway_id));
	scan_close(&gateways);
	UnregisterSnapshot(snapshot);
}

/*
 * egress_end_expired_leases -- BEFORE DELETE on providers, gateways and credentials
 *
 * The row is still there, and so are those that it refers to: the history is written with their names.
 */
Datum
egress_end_expired_leases(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	EgressTable table = trigger_begin(fcinfo, ON_TABLE(TABLE_PROVIDER) | ON_GATEWAY_OR_CREDENTIAL);
	int64		id;

	/* the id is the first column of all three tables */
	(void) row_id(trigger, trigger->tg_trigtuple, Anum_egress_gateway_egress_gateway_id, &id);

	if (table == TABLE_PROVIDER)
		end_expired_of_provider(id);
	else
		lease_end_expired_of(table == TABLE_GATEWAY ? INDEX_LEASE_GATEWAY : INDEX_LEASE_SLOT, id);
	return PointerGetDatum(trigger->tg_trigtuple);
}

/* egress_refuse_delete_in_use -- AFTER DELETE on gateways and credentials; the row is marked deleted by now */
Datum
egress_refuse_delete_in_use(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		is_gateway = trigger_begin(fcinfo, ON_GATEWAY_OR_CREDENTIAL) == TABLE_GATEWAY;
	EgressLock	lock = is_gateway ? LOCK_GATEWAY : LOCK_CREDENTIAL;
	int64		id;
	bool		held;

	/* the id is the first column of both tables */
	(void) row_id(trigger, trigger->tg_trigtuple, Anum_egress_gateway_egress_gateway_id, &id);

	lock_take(lock, id, ExclusiveLock);
	held = lease_any_held(is_gateway ? INDEX_LEASE_GATEWAY : INDEX_LEASE_SLOT, id);
	lock_give(lock, id, ExclusiveLock);

	if (held)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("%s " INT64_FORMAT " cannot be deleted while a lease uses it",
						is_gateway ? "gateway" : "credential", id),
				 errdetail("Another transaction is taking or giving back a connection."),
				 errhint("Disable it, and delete it when its sessions have ended."),
				 errtable(trigger->tg_relation)));
	return PointerGetDatum(NULL);
}
