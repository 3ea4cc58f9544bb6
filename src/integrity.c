/*
 * integrity.c -- triggers that keep the tables whole
 *
 * What SQL can declare is declared in the install script. Four things it cannot:
 *	- The tables repeat a column of their parent (the provider's type, the mapping's provider), so that foreign keys over two
 *	  columns can refuse what does not belong together. Triggers fill that column in.
 *	- An acquire inserts a lease without the foreign keys' own checks (limit.c says why). So whoever deletes a
 *	  gateway or a credential looks for leases of open transactions, in this order: mark the row deleted, take the row's
 *	  lock, look. An acquire takes the same lock, looks for the mark, inserts, and gives the lock back. Whichever is
 *	  second sees the other. Committed leases are found by the foreign key as well, and before.
 *	- Who ends a lease by hand, or applies another server's change, does not tell that a connection may be free (freed.c).
 *	- An expired lease is no reason to keep what it used, whether a sweep has seen it or not. So those are ended before.
 *
 * Where a foreign key's own message would not say what to do, a BEFORE trigger looks, without a lock, and says it. What it does
 * not see, because it comes at the same time, the foreign key and the look under the lock still refuse.
 *
 * A new row of a gateway or a credential may hold a secret in the clear, or come from a line or statement that does. So
 * whatever fails while it is at hand fails under secret_hush(), here and in config_trigger.c.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "freed.h"
#include "lease.h"
#include "lock.h"
#include "query.h"
#include "report.h"
#include "scan.h"
#include "secret.h"
#include "shape.h"
#include "trigger.h"

#define ON_SELECTION (ON_TABLE(TABLE_MAPPING_GATEWAY) | ON_TABLE(TABLE_CREDENTIAL_GATEWAY))

/* does a row refer to a provider's type, or to a provider? %1$s is the quoted schema, %2$ the provider's id */
#define REFERS(table) \
	"EXISTS (SELECT FROM %1$s." table " WHERE egress_provider_id OPERATOR(pg_catalog.=) %2$" PRId64 ")"
#define TYPE_IN_USE_QUERY \
	"SELECT " REFERS("egress_gateway") " OR " REFERS("egress_credential")
#define PROVIDER_IN_USE_QUERY \
	TYPE_IN_USE_QUERY " OR " REFERS("egress_provider_mapping")

PG_FUNCTION_INFO_V1(egress_fill_provider_type);
PG_FUNCTION_INFO_V1(egress_fill_selection_provider);
PG_FUNCTION_INFO_V1(egress_refuse_move);
PG_FUNCTION_INFO_V1(egress_end_expired_leases);
PG_FUNCTION_INFO_V1(egress_refuse_delete_in_use);
PG_FUNCTION_INFO_V1(egress_connection_freed);

/* row_id -- a bigint column of a row; false when it is NULL */
static bool
row_id(TriggerData *trigger, HeapTuple row, AttrNumber column, int64 *id)
{
	Datum		value;
	bool		has_id = trigger_value(trigger, row, column, &value);

	*id = has_id ? DatumGetInt64(value) : 0;
	return has_id;
}

/* has_value -- whether a column of a row is not NULL */
static bool
has_value(TriggerData *trigger, HeapTuple row, AttrNumber column)
{
	Datum		value;

	return trigger_value(trigger, row, column, &value);
}

/*
 * parent_value -- a column, of fixed length, of the parent row with this id; false when there is no such row
 *
 * As a foreign key would see it: committed by now, or inserted by this transaction, also by this very statement (a
 * WITH query that inserts parent and child). The foreign key itself is checked later, and settles what changed since.
 * It alone decides about a row that brings the value with it, as one out of a dump does: restore.c.
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

/* with_once_per_gateway -- a new credential with once_per_gateway, if the row does not say: as its provider's type has it */
static HeapTuple
with_once_per_gateway(TriggerData *trigger, HeapTuple row)
{
	Datum		type;

	if (!trigger_value(trigger, row, Anum_egress_credential_provider_type, &type) ||
		shape_columns(TABLE_CREDENTIAL) < Anum_egress_credential_once_per_gateway ||
		has_value(trigger, row, Anum_egress_credential_once_per_gateway))
		return row;
	return trigger_with_value(trigger, row, Anum_egress_credential_once_per_gateway,
							  BoolGetDatum(catalog_provider_type(type) == PROVIDER_WIREGUARD));
}

/* egress_fill_provider_type -- BEFORE INSERT on gateways and credentials */
Datum
egress_fill_provider_type(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	EgressSecretHush hush;
	bool		is_gateway;
	HeapTuple	row;
	AttrNumber	column;
	int64		provider_id;
	Datum		type;

	secret_hush(&hush, NULL);
	is_gateway = trigger_begin(fcinfo, ON_GATEWAY_OR_CREDENTIAL) == TABLE_GATEWAY;
	row = trigger->tg_trigtuple;
	/* NULL is refused by NOT NULL */
	column = is_gateway ? (int) Anum_egress_gateway_provider_type : (int) Anum_egress_credential_provider_type;
	if (row_id(trigger, row, is_gateway ? (int) Anum_egress_gateway_egress_provider_id :
			   (int) Anum_egress_credential_egress_provider_id, &provider_id))
	{
		if (parent_value(INDEX_PROVIDER_ID, provider_id, Anum_egress_provider_provider_type, &type))
			row = trigger_with_value(trigger, row, column, type);
		else if (!has_value(trigger, row, column))
			refuse_missing(trigger, "provider", provider_id);
		if (!is_gateway)
			row = with_once_per_gateway(trigger, row);
	}
	secret_unhush(&hush);
	return PointerGetDatum(row);
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
	bool		has_owner;
	bool		has_gateway;

	/* both tables have the same columns in the same order; NULL is refused by the primary key */
	if (!row_id(trigger, row, Anum_egress_provider_mapping_gateway_egress_provider_mapping_id, &owner_id) ||
		!row_id(trigger, row, Anum_egress_provider_mapping_gateway_egress_gateway_id, &gateway_id))
		return PointerGetDatum(row);

	has_owner = of_mapping ?
		parent_value(INDEX_MAPPING_ID, owner_id, Anum_egress_provider_mapping_egress_provider_id, &owner_provider) :
		parent_value(INDEX_CREDENTIAL_ID, owner_id, Anum_egress_credential_egress_provider_id, &owner_provider);
	has_gateway = parent_value(INDEX_GATEWAY_ID, gateway_id, Anum_egress_gateway_egress_provider_id, &gateway_provider);
	if (!has_owner || !has_gateway)
	{
		if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
			has_value(trigger, row, Anum_egress_provider_mapping_gateway_egress_provider_id))
			return PointerGetDatum(row);
		refuse_missing(trigger, has_owner ? "gateway" : what, has_owner ? gateway_id : owner_id);
	}

	if (DatumGetInt64(owner_provider) != DatumGetInt64(gateway_provider))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("%s " INT64_FORMAT " cannot select gateway " INT64_FORMAT " of another provider",
						what, owner_id, gateway_id),
				 errdetail("The %s is of provider " INT64_FORMAT ", the gateway of provider " INT64_FORMAT ".",
						   what, DatumGetInt64(owner_provider), DatumGetInt64(gateway_provider)),
				 errtable(trigger->tg_relation)));

	return PointerGetDatum(trigger_with_value(trigger, row,
											  Anum_egress_provider_mapping_gateway_egress_provider_id, owner_provider));
}

/* any_refers -- does a row refer to the provider, or, for of_type, to its type? As a foreign key would see it */
static bool
any_refers(int64 provider_id, bool of_type)
{
	const char *schema;
	Datum		refers;

	query_connect();
	schema = query_schema();
	SPI_cursor_fetch(query_open_latest(query_prepare(psprintf(of_type ? TYPE_IN_USE_QUERY : PROVIDER_IN_USE_QUERY,
															  schema, provider_id), 0, NULL, 0)), true, 1);
	(void) query_value(0, 1, &refers);
	SPI_finish();
	return DatumGetBool(refers);
}

/* check_provider_move -- refuse to give another id or type to a provider that something refers to */
static void
check_provider_move(TriggerData *trigger)
{
	int64		old_id;
	int64		new_id;

	(void) row_id(trigger, trigger->tg_trigtuple, Anum_egress_provider_egress_provider_id, &old_id);
	(void) row_id(trigger, trigger->tg_newtuple, Anum_egress_provider_egress_provider_id, &new_id);

	if (old_id != new_id && any_refers(old_id, false))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("provider " INT64_FORMAT " keeps its id", old_id),
				 errdetail("Gateways, credentials or mappings refer to it."),
				 errtable(trigger->tg_relation)));
	if (any_refers(old_id, true))
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("provider " INT64_FORMAT " keeps its type", old_id),
				 errdetail("It has gateways or credentials, which were made for that type."),
				 errhint("Insert a new provider of the other type, or delete the gateways and credentials of this one first."),
				 errtable(trigger->tg_relation)));
}

/* egress_refuse_move -- BEFORE UPDATE on providers, gateways and credentials, WHEN what others refer to changes */
Datum
egress_refuse_move(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	EgressSecretHush hush;
	EgressTable table;
	const char *what;

	secret_hush(&hush, NULL);
	table = trigger_begin(fcinfo, ON_TABLE(TABLE_PROVIDER) | ON_GATEWAY_OR_CREDENTIAL);
	if (table == TABLE_PROVIDER)
	{
		if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
			check_provider_move(trigger);
		secret_unhush(&hush);
		return PointerGetDatum(trigger_new_row(trigger));
	}
	what = table == TABLE_GATEWAY ? "gateway" : "credential";
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("a %s keeps its id and its provider", what),
			 errdetail("Leases and selections refer to both."),
			 errhint("Insert a new %s, and delete or disable this one.", what),
			 errtable(trigger->tg_relation)));
}

/* used_by -- the index of the leases that use a gateway or credential */
static EgressIndex
used_by(EgressTable table)
{
	return table == TABLE_CREDENTIAL ? INDEX_LEASE_SLOT : INDEX_LEASE_GATEWAY;
}

/* refuse_delete -- raise 23503: something uses a provider, gateway or credential; detail says what, if it is a lease */
pg_noreturn static void
refuse_delete(TriggerData *trigger, EgressTable table, int64 id, EgressLeaseHeld held, const char *detail)
{
	const char *what = table == TABLE_PROVIDER ? "provider" : table == TABLE_GATEWAY ? "gateway" : "credential";

	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 held == LEASE_HELD_COOLING ?
			 errmsg("%s " INT64_FORMAT " cannot be deleted while a connection cools down there", what, id) :
			 errmsg("%s " INT64_FORMAT " cannot be deleted while a lease uses it", what, id),
			 held == LEASE_HELD_COOLING ?
			 errdetail("It was given back, and counts until the cool_down of its credential is over.") :
			 errdetail_internal("%s", detail),
			 held == LEASE_HELD_COOLING ?
			 errhint("Disable it, and delete it then, or set the credential's cool_down to NULL first.") :
			 errhint("Disable it, and delete it when its sessions have ended, or end their leases with egress_end_leases()."),
			 errtable(trigger->tg_relation)));
}

/*
 * end_or_refuse -- end the expired leases of what is about to be deleted, and refuse that while there is another one
 *
 * id and table are what is to be deleted; used_id is that, or a gateway of the provider. A lease that an open transaction
 * is ending is left to the foreign key, which waits to learn whether it does. What cools down goes with its credential, and keeps
 * its gateway.
 */
static void
end_or_refuse(TriggerData *trigger, EgressTable table, int64 id, int64 used_id)
{
	EgressLeaseHeld held;

	lease_end_expired_of(used_by(table), used_id, table != TABLE_GATEWAY);
	held = lease_held(used_by(table), used_id, true);
	if (held != LEASE_HELD_NONE)
		refuse_delete(trigger, table, id, held, "egress_connection shows who is connected.");
}

/* end_or_refuse_provider -- the same for a provider, by its gateways */
static void
end_or_refuse_provider(TriggerData *trigger, int64 provider_id)
{
	EgressScan	gateways;
	Snapshot	snapshot;

	scan_open(&gateways, INDEX_GATEWAY_MENU, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan_key_id(&gateways, provider_id);
	scan_start(&gateways, snapshot);
	while (scan_next(&gateways))
		end_or_refuse(trigger, TABLE_PROVIDER, provider_id, scan_id(&gateways, Anum_egress_gateway_egress_gateway_id));
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
		end_or_refuse_provider(trigger, id);
	else
		end_or_refuse(trigger, table, id, id);
	return PointerGetDatum(trigger->tg_trigtuple);
}

/* egress_refuse_delete_in_use -- AFTER DELETE on gateways and credentials; the row is marked deleted by now */
Datum
egress_refuse_delete_in_use(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	EgressTable table = trigger_begin(fcinfo, ON_GATEWAY_OR_CREDENTIAL);
	EgressLock	lock = table == TABLE_GATEWAY ? LOCK_GATEWAY : LOCK_CREDENTIAL;
	EgressLeaseHeld held = LEASE_HELD_NONE;
	int64		id;

	/* the id is the first column of both tables */
	(void) row_id(trigger, trigger->tg_trigtuple, Anum_egress_gateway_egress_gateway_id, &id);

	/* a release that the foreign key has waited for may have left what cools down */
	lease_end_expired_of(used_by(table), id, table == TABLE_CREDENTIAL);
	lock_take(lock, id, ExclusiveLock);

	/*
	 * what takes a lease's place comes without the gateway's lock: if the look missed it, the lease having gone under it, the
	 * next does not
	 */
	for (int looks = 0; looks < 2 && held == LEASE_HELD_NONE; looks++)
		held = lease_held(used_by(table), id, false);
	lock_give(lock, id, ExclusiveLock);

	if (held != LEASE_HELD_NONE)
		refuse_delete(trigger, table, id, held, "Another transaction is taking or giving back a connection.");
	report_delete_of(table == TABLE_GATEWAY ? BENCH_GATEWAY : BENCH_CREDENTIAL, id);
	return PointerGetDatum(NULL);
}

/* tell_freed -- a row of a lease, or of its end, was written by hand: its credential may have a connection free */
static void
tell_freed(TriggerData *trigger, HeapTuple row, EgressTable table)
{
	int64		id;

	if (row_id(trigger, row, table == TABLE_LEASE ? Anum_egress_lease_egress_credential_id :
			   Anum_egress_lease_expiry_egress_credential_id, &id))
		freed_connection(id);
}

/*
 * egress_connection_freed -- AFTER UPDATE or DELETE of egress_lease, AFTER INSERT or UPDATE of egress_lease_expiry, by row; and
 * AFTER TRUNCATE of egress_lease
 */
Datum
egress_connection_freed(PG_FUNCTION_ARGS)
{
	EgressTable table = trigger_begin(fcinfo, ON_TABLE(TABLE_LEASE) | ON_TABLE(TABLE_LEASE_EXPIRY) | ON_TRUNCATE);
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		freed_all_connections();
		return PointerGetDatum(NULL);
	}
	tell_freed(trigger, trigger->tg_trigtuple, table);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		tell_freed(trigger, trigger->tg_newtuple, table);
	return PointerGetDatum(trigger_new_row(trigger));
}
