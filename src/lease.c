/*
 * lease.c -- taking and giving back connections
 *
 * An acquire decides by what is committed now, not by the snapshot of its transaction: access that was revoked and
 * limits that were lowered hold at every isolation level. Its steps:
 *	1. LOCK_SESSION. Is there a lease of the session, also in an open transaction? Then wait for that transaction,
 *	   the lock given back, and look again. A lease that is there is returned, if it is for the same thing.
 *	2. Decide access (access.c).
 *	3. LOCK_GATEWAY, shared. Stop if the gateway is being deleted.
 *	4. For each credential that fits, by ascending id: LOCK_CREDENTIAL; read its row again; find a slot (slot.c);
 *	   insert the lease; give the locks back.
 *	5. Open the credential's secrets, and put it into the gateway's config.
 * Nothing but the new row lives to commit: other transactions see it with a dirty snapshot, as they see a
 * row whose deletion is not committed, and both count as held. So a rollback of any kind needs no clean-up.
 *
 * Why the foreign keys of egress_lease are not checked by their own triggers here: such a check locks the credential
 * and the gateway row FOR KEY SHARE, which waits for whoever renames or deletes the row in an open transaction, and
 * makes a hot credential's row carry the locks of all its leases' transactions. Steps 3 and 4 do the same work without
 * waiting: they see a deletion's mark in the row under a lock that the deleter takes after it made the mark, to look
 * for leases (integrity.c). Whichever comes second sees the other.
 */
#include "lease.h"

#include <sodium.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access.h"
#include "arguments.h"
#include "compat.h"
#include "config.h"
#include "errors.h"
#include "lock.h"
#include "scan.h"
#include "secret.h"
#include "slot.h"

/* what an acquire returns */
enum
{
	ACQUIRED_CREDENTIAL_ID,
	ACQUIRED_CREDENTIAL_NAME,
	ACQUIRED_USERNAME,
	ACQUIRED_PASSWORD,
	ACQUIRED_PRIVATE_KEY,
	ACQUIRED_CUSTOM_CREDENTIAL,
	ACQUIRED_GATEWAY_NAME,
	ACQUIRED_COUNTRY,
	ACQUIRED_CITY,
	ACQUIRED_PROVIDER_ID,
	ACQUIRED_PROVIDER_NAME,
	ACQUIRED_PROVIDER_TYPE,
	ACQUIRED_CONFIG,
	ACQUIRED_AT,
	ACQUIRED_COLUMNS
};

/* An acquire at work. */
typedef struct Acquire
{
	text	   *user_id;
	text	   *workspace_id;	/* or NULL */
	int64		gateway_id;
	text	   *session_id;
	EgressScan	leases;			/* by session */
	EgressScan	gateways;		/* current row: the gateway */
	EgressScan	credentials;	/* current row: the credential leased, or tried last */
	SlotSearch	slots;
	EgressAccess *access;
	TimestampTz acquired_at;
} Acquire;

PG_FUNCTION_INFO_V1(egress_acquire_credential);
PG_FUNCTION_INFO_V1(egress_release_credential);

/* same_text -- are two texts, or two NULLs, the same bytes? */
static bool
same_text(text *a, text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/*
 * find_lease -- find a session's lease as it is now, in the scan's current row; false when there is none
 *
 * Before: leases is open on INDEX_LEASE_SESSION. After: *busy is invalid when the lease is committed or this
 * transaction's own. Otherwise it is the open transaction that inserted or deletes the lease: wait for it, and ask
 * again.
 */
static bool
find_lease(EgressScan *leases, text *session_id, TransactionId *busy)
{
	bool		found;

	scan_key_text(leases, session_id);
	scan_start_dirty(leases);
	found = scan_next(leases);
	*busy = TransactionIdIsValid(leases->dirty.xmin) ? leases->dirty.xmin : leases->dirty.xmax;
	return found;
}

/* wait_for -- wait for the transaction that took or gives back the current lease, with no page pinned */
static void
wait_for(EgressScan *leases, TransactionId busy, XLTW_Oper purpose)
{
	ItemPointerData tid = leases->slot->tts_tid;

	scan_stop(leases);
	XactLockTableWait(busy, leases->table, &tid, purpose);
}

/*
 * lease_any_held -- is there a lease of a credential or gateway, that of an open transaction included?
 *
 * index is the one by credential or by gateway. Before: the caller holds that credential's or gateway's lock,
 * exclusive.
 */
bool
lease_any_held(EgressIndex index, int64 id)
{
	EgressScan	leases;
	bool		held;

	scan_open(&leases, index, AccessShareLock);
	scan_key_id(&leases, id);
	scan_start_dirty(&leases);
	held = scan_next(&leases);
	scan_close(&leases);
	return held;
}

/* find_by_id -- find a provider, gateway or credential by its id; false when there is none */
static bool
find_by_id(EgressScan *scan, int64 id, Snapshot snapshot)
{
	scan_key_id(scan, id);
	scan_start(scan, snapshot);
	return scan_next(scan);
}

/* insert_lease -- insert the row of the lease; slot SLOT_NONE for a credential without a limit */
static void
insert_lease(Acquire *acquire, int64 credential_id, int32 slot)
{
	Datum		values[Natts_egress_lease];
	bool		nulls[Natts_egress_lease] = {false};

	acquire->acquired_at = GetCurrentTimestamp();

	values[Anum_egress_lease_session_id - 1] = PointerGetDatum(acquire->session_id);
	values[Anum_egress_lease_egress_credential_id - 1] = Int64GetDatum(credential_id);
	values[Anum_egress_lease_egress_gateway_id - 1] = Int64GetDatum(acquire->gateway_id);
	values[Anum_egress_lease_user_id - 1] = PointerGetDatum(acquire->user_id);
	values[Anum_egress_lease_workspace_id - 1] = PointerGetDatum(acquire->workspace_id);
	nulls[Anum_egress_lease_workspace_id - 1] = acquire->workspace_id == NULL;
	values[Anum_egress_lease_acquired_at - 1] = TimestampTzGetDatum(acquire->acquired_at);
	values[Anum_egress_lease_slot - 1] = Int32GetDatum(slot);
	nulls[Anum_egress_lease_slot - 1] = slot == SLOT_NONE;
	insert_row(acquire->leases.table, Natts_egress_lease, values, nulls);
}

/*
 * lease_from -- lease a connection of one credential
 *
 * Returns whether it did. If not, *full is set when the credential fits and has no connection to give; it is
 * left alone when the credential is disabled or gone by now.
 */
static bool
lease_from(Acquire *acquire, int64 credential_id, bool *full)
{
	EgressScan *credential = &acquire->credentials;
	Snapshot	snapshot;
	bool		leased = false;

	lock_take(LOCK_CREDENTIAL, credential_id, ExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (find_by_id(credential, credential_id, snapshot) && scan_bool(credential, Anum_egress_credential_enabled))
	{
		int32		slot = SLOT_NONE;

		if (scan_row_ends(credential))
			*full = true;
		else if (scan_bool(credential, Anum_egress_credential_limit_active_connections) &&
				 (slot = slot_find(&acquire->slots, credential_id,
								   DatumGetInt32(scan_value(credential, Anum_egress_credential_active_connection_limit)))) == SLOT_NONE)
			*full = true;
		else
		{
			insert_lease(acquire, credential_id, slot);
			leased = true;
		}
	}
	UnregisterSnapshot(snapshot);
	lock_give(LOCK_CREDENTIAL, credential_id, ExclusiveLock);
	return leased;
}

/* gateway_label -- the gateway as messages name it */
static char *
gateway_label(Acquire *acquire)
{
	return psprintf(INT64_FORMAT " \"%s\"", acquire->gateway_id,
					scan_name(&acquire->gateways, Anum_egress_gateway_name));
}

/* call_label -- the user and workspace as messages name them */
static char *
call_label(text *user_id, text *workspace_id)
{
	if (workspace_id == NULL)
		return psprintf("user \"%s\" without a workspace", text_to_cstring(user_id));
	return psprintf("user \"%s\" in workspace \"%s\"", text_to_cstring(user_id), text_to_cstring(workspace_id));
}

/* refuse -- raise NG002 or NG003 */
static void
refuse(Acquire *acquire, EgressVerdict verdict)
{
	const char *provider = acquire->access->provider_name;
	const char *gateway = gateway_label(acquire);
	const char *caller = call_label(acquire->user_id, acquire->workspace_id);

	if (verdict == ACCESS_NO_CREDENTIAL)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_NO_CREDENTIAL),
				 errmsg("no credential for gateway %s fits %s", gateway, caller),
				 errdetail("No enabled credential of provider \"%s\" that allows the gateway is for everyone, the user, the workspace or a group of the user.",
						   provider),
				 errhint("See egress_credential, egress_credential_gateway and egress_group_member.")));

	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_GATEWAY_NOT_AVAILABLE),
			 errmsg("gateway %s is not available to %s", gateway, caller),
			 verdict == ACCESS_GATEWAY_WITHDRAWN ? errdetail("The provider has withdrawn the gateway.") :
			 verdict == ACCESS_GATEWAY_DISABLED ? errdetail("The gateway is disabled.") :
			 verdict == ACCESS_PROVIDER_DISABLED ? errdetail("Provider \"%s\" is disabled.", provider) :
			 errdetail("No enabled mapping of provider \"%s\" that allows the gateway is for everyone, the user, the workspace or a group of the user.",
					   provider),
			 verdict == ACCESS_NOT_MAPPED ?
			 errhint("See egress_provider_mapping, egress_provider_mapping_gateway and egress_group_member.") : 0));
}

/* refuse_full -- raise NG004 */
static void
refuse_full(Acquire *acquire, int fitting)
{
	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_AT_LIMIT),
			 errmsg("no connection is free for gateway %s", gateway_label(acquire)),
			 errdetail_plural("%d credential fits %s, and it is at its limit.",
							  "%d credentials fit %s, and all are at their limits.",
							  fitting, fitting, call_label(acquire->user_id, acquire->workspace_id)),
			 errhint("Try again when a session has ended, or raise a limit.")));
}

/*
 * take_lease -- decide access and lease the first credential with a connection free
 *
 * Before: the caller holds the session's lock, the session has no lease, and the gateway is the current row of
 * acquire->gateways. After: the lease is inserted, and its credential the current row of acquire->credentials.
 */
static void
take_lease(Acquire *acquire)
{
	EgressScan *gateway = &acquire->gateways;
	List	   *fitting;
	ListCell   *cell;
	bool		leased = false;
	bool		full = false;
	EgressVerdict verdict;

	verdict = access_decide(acquire->access, acquire->gateway_id,
							scan_bool(gateway, Anum_egress_gateway_enabled),
							scan_bool(gateway, Anum_egress_gateway_withdrawn));
	if (verdict != ACCESS_AVAILABLE)
		refuse(acquire, verdict);

	lock_take(LOCK_GATEWAY, acquire->gateway_id, ShareLock);
	if (scan_row_ends(gateway))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_AT_LIMIT),
				 errmsg("no connection is free for gateway %s", gateway_label(acquire)),
				 errdetail("Another transaction is deleting the gateway.")));

	fitting = access_credentials(acquire->access, acquire->gateway_id);
	foreach(cell, fitting)
	{
		leased = lease_from(acquire, ((EgressEntitlement *) lfirst(cell))->id, &full);
		if (leased)
			break;
	}
	lock_give(LOCK_GATEWAY, acquire->gateway_id, ShareLock);

	if (!leased && full)
		refuse_full(acquire, list_length(fitting));
	if (!leased)
		refuse(acquire, ACCESS_NO_CREDENTIAL);
}

/*
 * return_lease -- let the result be the lease that the session holds; raise NG005 when it is for something else
 *
 * Returns false when the lease has ended since it was found, and its credential was deleted.
 */
static bool
return_lease(Acquire *acquire, Snapshot snapshot)
{
	EgressScan *lease = &acquire->leases;
	text	   *user_id = DatumGetTextPP(scan_value(lease, Anum_egress_lease_user_id));
	text	   *workspace_id = scan_text(lease, Anum_egress_lease_workspace_id);
	int64		gateway_id = scan_id(lease, Anum_egress_lease_egress_gateway_id);

	if (gateway_id != acquire->gateway_id ||
		!same_text(user_id, acquire->user_id) ||
		!same_text(workspace_id, acquire->workspace_id))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_SESSION_HOLDS_OTHER),
				 errmsg("session \"%s\" already holds a lease", text_to_cstring(acquire->session_id)),
				 errdetail("It is for gateway " INT64_FORMAT " and %s.", gateway_id, call_label(user_id, workspace_id)),
				 errhint("End it with egress_release_credential() first.")));

	acquire->acquired_at = DatumGetTimestampTz(scan_value(lease, Anum_egress_lease_acquired_at));
	return find_by_id(&acquire->credentials, scan_id(lease, Anum_egress_lease_egress_credential_id), snapshot);
}

/* put -- a column of a scan's current row as a column of the result */
static void
put(EgressScan *scan, AttrNumber column, int position, Datum *values, bool *nulls)
{
	values[position] = slot_getattr(scan->slot, column, &nulls[position]);
}

/* open_secret -- open a secret of the credential; NULL when there is none, NG006 if it cannot be opened */
static char *
open_secret(Acquire *acquire, AttrNumber column, const char *field)
{
	EgressScan *credential = &acquire->credentials;
	bool		isnull;
	Datum		value = slot_getattr(credential->slot, column, &isnull);

	if (isnull)
		return NULL;
	return secret_open(DatumGetSecretPP(value),
					   secret_label(field, scan_id(credential, Anum_egress_credential_egress_credential_id),
									scan_name(credential, Anum_egress_credential_name)));
}

/* render -- the gateway's config, if it has one, with the credential in it; NG007 if they do not fit together */
static text *
render(Acquire *acquire, const char *password, const char *private_key)
{
	EgressScan *credential = &acquire->credentials;
	text	   *config = scan_text(&acquire->gateways, Anum_egress_gateway_config);
	text	   *username = scan_text(credential, Anum_egress_credential_username);
	text	   *rendered = config;
	SecretHush	hush;
	char	   *object;

	if (config == NULL)
		return NULL;

	object = psprintf("credential " INT64_FORMAT " \"%s\" with gateway %s",
					  scan_id(credential, Anum_egress_credential_egress_credential_id),
					  scan_name(credential, Anum_egress_credential_name), gateway_label(acquire));
	secret_hush(&hush, object);
	/* the triggers let nothing in that does not fit; what was replicated or copied did not pass them */
	switch (catalog_provider_type(acquire->access->provider_type))
	{
		case PROVIDER_OPENVPN:
			if (username == NULL && !openvpn_has_certificate(config))
				ereport(ERROR,
						(errcode(ERRCODE_EGRESS_CONFIG),
						 errmsg("%s cannot log in", object),
						 errdetail("The credential has no username and password, the config no certificate."),
						 errhint("Give the credential both, or the config a certificate and its key.")));
			rendered = openvpn_render_config(config, username == NULL ? NULL : text_to_cstring(username), password);
			break;
		case PROVIDER_WIREGUARD:
			if (private_key == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_EGRESS_CONFIG),
						 errmsg("%s has no private key", object)));
			rendered = wireguard_render_config(config, private_key);
			break;
		case PROVIDER_CUSTOM:
			break;
	}
	secret_unhush(&hush);
	/* what is wiped when it was returned must not be the row itself */
	return rendered == config ? DatumGetTextPCopy(PointerGetDatum(config)) : rendered;
}

/* put_text -- a text as a column of the result, which is NULL when it is */
static void
put_text(text *value, int position, Datum *values, bool *nulls)
{
	values[position] = PointerGetDatum(value);
	nulls[position] = value == NULL;
}

/*
 * result -- what an acquire returns, as a composite
 *
 * Opens the secrets, and needs none of the locks for it. If that fails, the error takes the lease with it.
 */
static Datum
result(FunctionCallInfo fcinfo, Acquire *acquire)
{
	EgressScan *gateway = &acquire->gateways;
	EgressScan *credential = &acquire->credentials;
	char	   *password = open_secret(acquire, Anum_egress_credential_password, "password");
	char	   *private_key = open_secret(acquire, Anum_egress_credential_private_key, "private_key");
	char	   *custom_credential = open_secret(acquire, Anum_egress_credential_custom_credential, "custom_credential");
	text	   *clear[4];			/* what is wiped: config, password, private key, custom credential */
	Datum		values[ACQUIRED_COLUMNS];
	bool		nulls[ACQUIRED_COLUMNS] = {false};
	TupleDesc	desc;
	HeapTuple	row;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	clear[0] = render(acquire, password, private_key);
	clear[1] = password == NULL ? NULL : cstring_to_text(password);
	clear[2] = private_key == NULL ? NULL : cstring_to_text(private_key);
	clear[3] = custom_credential == NULL ? NULL : cstring_to_text(custom_credential);

	put(credential, Anum_egress_credential_egress_credential_id, ACQUIRED_CREDENTIAL_ID, values, nulls);
	put(credential, Anum_egress_credential_name, ACQUIRED_CREDENTIAL_NAME, values, nulls);
	put(credential, Anum_egress_credential_username, ACQUIRED_USERNAME, values, nulls);
	put_text(clear[1], ACQUIRED_PASSWORD, values, nulls);
	put_text(clear[2], ACQUIRED_PRIVATE_KEY, values, nulls);
	put_text(clear[3], ACQUIRED_CUSTOM_CREDENTIAL, values, nulls);
	put(gateway, Anum_egress_gateway_name, ACQUIRED_GATEWAY_NAME, values, nulls);
	put(gateway, Anum_egress_gateway_country, ACQUIRED_COUNTRY, values, nulls);
	put(gateway, Anum_egress_gateway_city, ACQUIRED_CITY, values, nulls);
	values[ACQUIRED_PROVIDER_ID] = Int64GetDatum(acquire->access->provider_id);
	values[ACQUIRED_PROVIDER_NAME] = CStringGetTextDatum(acquire->access->provider_name);
	values[ACQUIRED_PROVIDER_TYPE] = acquire->access->provider_type;
	put_text(clear[0], ACQUIRED_CONFIG, values, nulls);
	values[ACQUIRED_AT] = TimestampTzGetDatum(acquire->acquired_at);
	row = heap_form_tuple(BlessTupleDesc(desc), values, nulls);

	for (size_t i = 0; i < lengthof(clear); i++)
		if (clear[i] != NULL)
			sodium_memzero(VARDATA_ANY(clear[i]), VARSIZE_ANY_EXHDR(clear[i]));
	secret_wipe(password);
	secret_wipe(private_key);
	secret_wipe(custom_credential);
	return HeapTupleGetDatum(row);
}

/* egress_acquire_credential -- lease a connection to a session; see COMMENT ON FUNCTION and the top of this file */
Datum
egress_acquire_credential(PG_FUNCTION_ARGS)
{
	Acquire		acquire;
	EgressCall	call;
	Snapshot	snapshot;
	TransactionId busy;
	int64		session_key;
	bool		held;
	Datum		row;

	acquire.user_id = get_id(fcinfo, 0, "user_id");
	acquire.workspace_id = get_optional_id(fcinfo, 1, "workspace_id");
	check_not_null(fcinfo, 2, "egress_gateway_id");
	acquire.gateway_id = PG_GETARG_INT64(2);
	acquire.session_id = get_id(fcinfo, 3, "session_id");
	PreventCommandIfReadOnly("egress_acquire_credential()");
	PreventCommandIfParallelMode("egress_acquire_credential()");
	catalog_use(fcinfo->flinfo->fn_oid);

	/* see what this very statement has done so far, as a function in SQL or PL/pgSQL would */
	CommandCounterIncrement();

	/* whatever waits for a table, waits here: before the short locks, and before any snapshot is taken */
	access_lock_tables();
	scan_open(&acquire.leases, INDEX_LEASE_SESSION, RowExclusiveLock);
	scan_open(&acquire.gateways, INDEX_GATEWAY_ID, AccessShareLock);
	scan_open(&acquire.credentials, INDEX_CREDENTIAL_ID, AccessShareLock);
	slot_open(&acquire.slots);

	session_key = lock_session_key(acquire.session_id);
	lock_take(LOCK_SESSION, session_key, ExclusiveLock);
	while ((held = find_lease(&acquire.leases, acquire.session_id, &busy)) && TransactionIdIsValid(busy))
	{
		lock_give(LOCK_SESSION, session_key, ExclusiveLock);
		wait_for(&acquire.leases, busy, XLTW_InsertIndex);
		lock_take(LOCK_SESSION, session_key, ExclusiveLock);
	}

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find_by_id(&acquire.gateways, acquire.gateway_id, snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_NO_GATEWAY),
				 errmsg("gateway " INT64_FORMAT " does not exist", acquire.gateway_id),
				 errdetail("No row of egress_gateway has this id.")));

	access_begin(&call, acquire.user_id, acquire.workspace_id, snapshot);
	acquire.access = access_to_gateway(&call, scan_id(&acquire.gateways, Anum_egress_gateway_egress_provider_id),
									   acquire.gateway_id);
	if (acquire.access == NULL)
		elog(ERROR, "provider of gateway " INT64_FORMAT " is missing", acquire.gateway_id);
	if (!held || !return_lease(&acquire, snapshot))
		take_lease(&acquire);
	lock_give(LOCK_SESSION, session_key, ExclusiveLock);

	row = result(fcinfo, &acquire);
	UnregisterSnapshot(snapshot);
	slot_close(&acquire.slots);
	scan_close(&acquire.credentials);
	scan_close(&acquire.gateways);
	scan_close(&acquire.leases);
	return row;
}

/*
 * write_history -- write the current lease to egress_lease_history, with the names as they are now
 *
 * Before: the caller has deleted the lease. Its foreign keys hold, so the rows that it names are there.
 */
static void
write_history(EgressScan *lease, const char *reason)
{
	EgressScan	credential;
	EgressScan	gateway;
	EgressScan	provider;
	Relation	history;
	Snapshot	snapshot;
	Datum		values[Natts_egress_lease_history];
	bool		nulls[Natts_egress_lease_history] = {false};

	/* the snapshot comes after the tables' locks: it has to see what a rewrite of a table did */
	scan_open(&credential, INDEX_CREDENTIAL_ID, AccessShareLock);
	scan_open(&gateway, INDEX_GATEWAY_ID, AccessShareLock);
	scan_open(&provider, INDEX_PROVIDER_ID, AccessShareLock);
	history = table_open(catalog_table(TABLE_LEASE_HISTORY), RowExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!find_by_id(&credential, scan_id(lease, Anum_egress_lease_egress_credential_id), snapshot) ||
		!find_by_id(&gateway, scan_id(lease, Anum_egress_lease_egress_gateway_id), snapshot) ||
		!find_by_id(&provider, scan_id(&gateway, Anum_egress_gateway_egress_provider_id), snapshot))
		elog(ERROR, "credential, gateway or provider of a lease is missing");

#define HISTORY(column) (Anum_egress_lease_history_##column - 1)
	values[HISTORY(egress_lease_history_id)] = Int64GetDatum(nextval_internal(catalog_history_sequence(), false));
	put(lease, Anum_egress_lease_session_id, HISTORY(session_id), values, nulls);
	put(lease, Anum_egress_lease_egress_credential_id, HISTORY(egress_credential_id), values, nulls);
	put(&credential, Anum_egress_credential_name, HISTORY(credential_name), values, nulls);
	put(lease, Anum_egress_lease_egress_gateway_id, HISTORY(egress_gateway_id), values, nulls);
	put(&gateway, Anum_egress_gateway_name, HISTORY(gateway_name), values, nulls);
	put(&provider, Anum_egress_provider_name, HISTORY(provider_name), values, nulls);
	put(&gateway, Anum_egress_gateway_country, HISTORY(country), values, nulls);
	put(&gateway, Anum_egress_gateway_city, HISTORY(city), values, nulls);
	put(lease, Anum_egress_lease_user_id, HISTORY(user_id), values, nulls);
	put(lease, Anum_egress_lease_workspace_id, HISTORY(workspace_id), values, nulls);
	put(lease, Anum_egress_lease_acquired_at, HISTORY(acquired_at), values, nulls);
	values[HISTORY(released_at)] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[HISTORY(release_reason)] = CStringGetTextDatum(reason);
#undef HISTORY

	insert_row(history, Natts_egress_lease_history, values, nulls);
	table_close(history, NoLock);

	scan_close(&provider);
	scan_close(&gateway);
	scan_close(&credential);
	UnregisterSnapshot(snapshot);
}

/*
 * lease_end -- end a session's lease and write its history; false when it has none
 *
 * Needs none of the short locks: the row itself says who deletes it. May wait for an open transaction that
 * took or gives back a lease of the same session. The connection is free for others when this transaction commits.
 */
bool
lease_end(text *session_id, const char *reason)
{
	EgressScan	leases;
	TransactionId busy;
	bool		ended = false;

	scan_open(&leases, INDEX_LEASE_SESSION, RowExclusiveLock);
	while (!ended && find_lease(&leases, session_id, &busy))
	{
		TM_FailureData failure;

		if (TransactionIdIsValid(busy))
		{
			wait_for(&leases, busy, XLTW_Delete);
			continue;
		}
		PreventCommandIfReadOnly("ending a lease");
		switch (table_tuple_delete(leases.table, &leases.slot->tts_tid, GetCurrentCommandId(true),
								   SnapshotAny, InvalidSnapshot, true, &failure, false))
		{
			case TM_Ok:
				write_history(&leases, reason);
				ended = true;
				break;
			case TM_Deleted:
				/* another transaction ended it just now */
				break;
			default:
				elog(ERROR, "lease of session \"%s\" was changed unexpectedly", text_to_cstring(session_id));
		}
	}
	scan_close(&leases);
	return ended;
}

/* egress_release_credential -- end a session's lease; see COMMENT ON FUNCTION */
Datum
egress_release_credential(PG_FUNCTION_ARGS)
{
	text	   *session_id = get_id(fcinfo, 0, "session_id");

	PreventCommandIfReadOnly("egress_release_credential()");
	PreventCommandIfParallelMode("egress_release_credential()");
	catalog_use(fcinfo->flinfo->fn_oid);

	PG_RETURN_BOOL(lease_end(session_id, "released"));
}
