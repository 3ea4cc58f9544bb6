/*
 * access.c -- who may use what
 *
 * A gateway is available to a call (a user and perhaps a workspace) when
 *	1. the gateway is enabled and not withdrawn, and its provider is enabled;
 *	2. an enabled mapping of its provider has one of the call's subjects and allows the gateway;
 *	3. an enabled credential of its provider has one of the subjects and allows the gateway.
 * The subjects are everyone, the user, the workspace, and the groups that the user is in. A mapping or credential
 * allows a gateway when it allows all of the provider's, or selects it. Where the workspace's override is on, only
 * mappings whose subject is the workspace count in rule 2.
 *
 * Rules 2 and 3 have the same form, so one piece of code reads both tables (EntitlementKind). access_decide() is
 * the one place that says yes or no. The menu asks it for every gateway of every provider that the call is mapped
 * to, an acquire for one gateway; the second reads less, by one key more in the same look-ups. An explanation asks it
 * too, and has the mappings and credentials that are disabled remembered besides, to name what is in the way. Whether the
 * rules still give a lease what it has, unentitled.c asks in the rules' parts: access_maps() for each subject by itself, and
 * access_fits() for the one credential.
 *
 * What is read is proportional to the call's subjects, to the mappings and credentials that name one of them, and to
 * what those select: never to the size of a table. Everything is allocated in the current memory context, and
 * nothing is locked: the answer is as of the call's snapshot.
 */
#include "access.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "errors.h"
#include "freed.h"
#include "lease.h"
#include "value.h"

/* the gateway's column in the indexes of selections, counted from 0 */
#define SELECTION_GATEWAY_ID 1

/* how many gateways that a credential selects access_fits() keeps; of one that selects more, each is looked up */
#define KEPT_SELECTIONS 64

/* Where the mappings are, and where the credentials are: all that differs between rule 2 and rule 3. */
typedef struct EntitlementKind
{
	EgressIndex by_subject;
	AttrNumber	id;
	AttrNumber	provider_id;
	AttrNumber	enabled;
	AttrNumber	all_gateways;
	AttrNumber	limited;		/* 0: has no limit */
	AttrNumber	limit;
	EgressIndex selection;		/* by the entitlement's id, then the gateway's */
} EntitlementKind;

static const EntitlementKind mappings = {
	.by_subject = INDEX_MAPPING_SUBJECT,
	.id = Anum_egress_provider_mapping_egress_provider_mapping_id,
	.provider_id = Anum_egress_provider_mapping_egress_provider_id,
	.enabled = Anum_egress_provider_mapping_enabled,
	.all_gateways = Anum_egress_provider_mapping_allow_all_gateways,
	.selection = INDEX_MAPPING_GATEWAY_ID,
};

static const EntitlementKind credentials = {
	.by_subject = INDEX_CREDENTIAL_SUBJECT,
	.id = Anum_egress_credential_egress_credential_id,
	.provider_id = Anum_egress_credential_egress_provider_id,
	.enabled = Anum_egress_credential_enabled,
	.all_gateways = Anum_egress_credential_allow_all_gateways,
	.limited = Anum_egress_credential_limit_active_connections,
	.limit = Anum_egress_credential_active_connection_limit,
	.selection = INDEX_CREDENTIAL_GATEWAY_ID,
};

/*
 * access_lock_tables -- lock the tables that are read here, for whoever must not wait for one later
 *
 * Afterwards, a snapshot sees all that was done to them. A rewrite of a table (ALTER TABLE) hides its rows from
 * snapshots that are older.
 */
void
access_lock_tables(void)
{
	static const EgressTable tables[] = {
		TABLE_WORKSPACE, TABLE_GROUP_MEMBER, TABLE_PROVIDER, TABLE_MAPPING, TABLE_MAPPING_GATEWAY, TABLE_CREDENTIAL,
		TABLE_CREDENTIAL_GATEWAY, TABLE_USER_LIMIT
	};

	for (size_t i = 0; i < lengthof(tables); i++)
		if (catalog_has_table(tables[i]))
			LockRelationOid(catalog_table(tables[i]), AccessShareLock);
	bench_lock_tables(AccessShareLock);
}

/* overrides -- is the workspace's override on? */
static bool
overrides(text *workspace_id, Snapshot snapshot)
{
	EgressScan	scan;
	bool		result;

	scan_open(&scan, INDEX_WORKSPACE_ID, AccessShareLock);
	scan_key_text(&scan, workspace_id);
	scan_start(&scan, snapshot);
	result = scan_next(&scan) && scan_bool(&scan, Anum_egress_workspace_override_egress_gateways);
	scan_close(&scan);
	return result;
}

/*
 * access_begin -- find the subjects of a call
 *
 * The snapshot must stay registered or active as long as the call is asked about.
 */
void
access_begin(EgressCall *call, text *user_id, text *workspace_id, Snapshot snapshot, TimestampTz moment,
			 EgressPurpose purpose)
{
	call->user_id = user_id;
	call->workspace_id = workspace_id;
	call->snapshot = snapshot;
	call->moment = moment;
	call->purpose = purpose;
	/* a serializable transaction has read what it has decided by, which takes a row to say */
	call->pools = freed_is_told() && purpose != ACCESS_TO_EXPLAIN &&
		!(purpose == ACCESS_TO_READ && IsolationIsSerializable());
	call->overrides = workspace_id != NULL && overrides(workspace_id, snapshot);
	/* an acquire goes by what is committed, and no report is a reason that it could not be serialized */
	bench_begin(&call->benches, purpose == ACCESS_TO_ACQUIRE ? SnapshotSelf : snapshot, false);
	call->selections.opened = false;
	call->selections.entries_opened = false;
	call->subjects = subject_list(user_id, workspace_id, snapshot);
	call->counts = NIL;
}

/* access_end -- close what was opened for the call */
void
access_end(EgressCall *call)
{
	EgressSelections *selections = &call->selections;

	if (selections->entries_opened)
		scan_close(&selections->entries);
	if (selections->opened)
	{
		scan_close(&selections->credentials);
		scan_close(&selections->by_gateway);
	}
	selections->entries_opened = selections->opened = false;
}

/* compare_entitlements -- by provider, then id */
static int
compare_entitlements(const ListCell *a, const ListCell *b)
{
	const EgressEntitlement *left = lfirst(a);
	const EgressEntitlement *right = lfirst(b);

	if (left->provider_id != right->provider_id)
		return left->provider_id < right->provider_id ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

/* access_counts -- do mappings that have one of the call's subjects count? Not where the workspace's override leaves them out */
bool
access_counts(EgressCall *call, const EgressSubject *subject)
{
	return !call->overrides || subject->type == SUBJECT_WORKSPACE;
}

/* entitlement_of -- the mapping or credential in a scan's current row, which has a subject */
static EgressEntitlement *
entitlement_of(EgressCall *call, const EntitlementKind *kind, EgressScan *row, EgressSubject *subject)
{
	EgressEntitlement *entitlement = palloc0(sizeof(EgressEntitlement));

	entitlement->subject = subject;
	entitlement->enabled = scan_bool(row, kind->enabled);
	entitlement->left_out = kind == &mappings && !access_counts(call, subject);
	entitlement->provider_id = scan_id(row, kind->provider_id);
	entitlement->id = scan_id(row, kind->id);
	entitlement->all_gateways = scan_bool(row, kind->all_gateways);
	entitlement->active = -1;
	if (kind->limited != 0 && scan_bool(row, kind->limited))
	{
		entitlement->limited = true;
		entitlement->limit = DatumGetInt32(scan_value(row, kind->limit));
	}
	if (kind == &credentials)
	{
		entitlement->once = once_applies(row);
		entitlement->cool_down = lease_cool_down(row);
	}
	return entitlement;
}

/* access_mapping -- the mapping in a scan's current row, which has a subject */
EgressEntitlement *
access_mapping(EgressCall *call, EgressScan *row, EgressSubject *subject)
{
	return entitlement_of(call, &mappings, row, subject);
}

/* access_credential -- the credential in a scan's current row, which has a subject */
EgressEntitlement *
access_credential(EgressCall *call, EgressScan *row, EgressSubject *subject)
{
	return entitlement_of(call, &credentials, row, subject);
}

/* How many credentials of a provider were read. */
typedef struct ProviderCount
{
	int64		provider_id;
	int			count;
} ProviderCount;

/* count_of -- the count of a provider; *position is where it is in the list, which is by ascending id, and was before it */
static ProviderCount *
count_of(List **counts, int *position, int64 provider_id)
{
	ProviderCount *count;

	while (*position < list_length(*counts))
	{
		count = list_nth(*counts, *position);
		if (count->provider_id == provider_id)
			return count;
		if (count->provider_id > provider_id)
			break;
		(*position)++;
	}
	count = palloc0(sizeof(ProviderCount));
	count->provider_id = provider_id;
	*counts = list_insert_nth(*counts, *position, count);
	return count;
}

/*
 * entitled -- the mappings or credentials that have one of the call's subjects; the enabled ones, unless it explains
 *
 * Of one provider, or of every provider when provider_id is NULL. By provider, then ascending id. Where pools are searched, of
 * a provider no more are read than tell a big pool: POOL_BIG, enabled or not.
 */
static List *
entitled(EgressCall *call, const EntitlementKind *kind, const int64 *provider_id)
{
	bool		stops = kind == &credentials && call->pools;
	List	   *result = NIL;
	EgressScan	scan;
	ListCell   *cell;
	bool		more;

	scan_open(&scan, kind->by_subject, AccessShareLock);
	foreach(cell, call->subjects)
	{
		EgressSubject *subject = lfirst(cell);
		int64		from = PG_INT64_MIN;
		int			position = 0;

		more = true;
		while (more)
		{
			CHECK_FOR_INTERRUPTS();
			more = false;
			scan_key_subject(&scan, subject->type, subject->id);
			if (provider_id != NULL)
				scan_key_id(&scan, *provider_id);
			else if (stops)
				scan_key_id_at_least(&scan, from);
			scan_start(&scan, call->snapshot);
			while (!more && scan_next(&scan))
			{
				if (stops)
				{
					ProviderCount *read = count_of(&call->counts, &position, scan_id(&scan, kind->provider_id));

					from = read->provider_id;
					more = ++read->count >= POOL_BIG;
				}
				if (!more && (scan_bool(&scan, kind->enabled) || call->purpose == ACCESS_TO_EXPLAIN))
					result = lappend(result, entitlement_of(call, kind, &scan, subject));
			}
			/* enough is known of this one */
			if (more && provider_id != NULL)
				break;
			/* on to the next provider, if there can be one */
			more = more && from < PG_INT64_MAX;
			from += more ? 1 : 0;
		}
		if (more)
			break;
	}
	scan_close(&scan);

	list_sort(result, compare_entitlements);
	return result;
}

/* selected_entry -- a gateway's entry among the selected, made if need be */
static EgressSelected *
selected_entry(EgressAccess *access, int64 gateway_id)
{
	bool		found;
	EgressSelected *entry;

	if (access->selected == NULL)
	{
		HASHCTL		info = {
			.keysize = sizeof(int64),
			.entrysize = sizeof(EgressSelected),
			.hcxt = CurrentMemoryContext,
		};

		access->selected = hash_create("egress selected gateways", 64, &info,
									   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(access->selected, &gateway_id, HASH_ENTER, &found);
	if (!found)
	{
		entry->mapped = false;
		entry->left_out = false;
		entry->credentials = NIL;
	}
	return entry;
}

/*
 * add_entitlements -- let mappings or credentials of the provider count
 *
 * entitlements are of this provider, by ascending id. Selections are read of one gateway, or of all when gateway_id
 * is NULL.
 */
static void
add_entitlements(EgressCall *call, EgressAccess *access, const EntitlementKind *kind, List *entitlements,
				 const int64 *gateway_id)
{
	EgressScan	scan;
	bool		opened = false;
	ListCell   *cell;

	foreach(cell, entitlements)
	{
		EgressEntitlement *entitlement = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (!entitlement->enabled)
			continue;
		if (entitlement->all_gateways)
		{
			if (entitlement->left_out)
				access->left_out_all = true;
			else if (kind == &mappings)
				access->mapped_all = true;
			else
				access->credentials_all = lappend(access->credentials_all, entitlement);
			continue;
		}

		if (!opened)
			scan_open_entries(&scan, kind->selection);
		opened = true;
		scan_key_id(&scan, entitlement->id);
		if (gateway_id != NULL)
			scan_key_id(&scan, *gateway_id);
		scan_start(&scan, call->snapshot);
		while (scan_next_entry(&scan))
		{
			EgressSelected *entry;

			if (!scan_entry_is_visible(&scan))
				continue;
			entry = selected_entry(access, DatumGetInt64(scan.entry[SELECTION_GATEWAY_ID]));
			if (entitlement->left_out)
				entry->left_out = true;
			else if (kind == &mappings)
				entry->mapped = true;
			else
				entry->credentials = lappend(entry->credentials, entitlement);
		}
	}
	if (opened)
		scan_close(&scan);
}

/* is_big -- are the credentials of a provider that have one of the call's subjects a big pool? They have been read */
static bool
is_big(EgressCall *call, int64 provider_id)
{
	ListCell   *cell;

	foreach(cell, call->counts)
	{
		ProviderCount *read = lfirst(cell);

		if (read->provider_id == provider_id)
			return read->count >= POOL_BIG;
	}
	return false;
}

/* access_list_all -- list the enabled credentials of a provider that have one of the call's subjects and allow all gateways; max at most */
int
access_list_all(EgressCall *call, int64 provider_id, int64 *ids, int max)
{
	EgressScan	scan;
	int			count = 0;
	ListCell   *cell;

	scan_open(&scan, INDEX_CREDENTIAL_SUBJECT, AccessShareLock);
	foreach(cell, call->subjects)
	{
		EgressSubject *subject = lfirst(cell);

		scan_key_subject(&scan, subject->type, subject->id);
		scan_key_id(&scan, provider_id);
		scan_key_bool(&scan, true);
		scan_key_bool(&scan, true);
		scan_start(&scan, call->snapshot);
		while (count < max && scan_next(&scan))
			ids[count++] = scan_id(&scan, Anum_egress_credential_egress_credential_id);
		if (count == max)
			break;
	}
	scan_close(&scan);
	return count;
}

/* has_subject -- is a subject that of the credential in a scan's current row? */
static bool
has_subject(EgressScan *credential, EgressSubject *subject)
{
	return scan_value(credential, Anum_egress_credential_subject_type) == catalog_subject_type(subject->type) &&
		value_same_text(scan_text(credential, Anum_egress_credential_subject_id), subject->id);
}

/* access_subject_of -- which of the call's subjects the credential in a scan's current row has, as its number; -1: none */
int
access_subject_of(EgressCall *call, EgressScan *credential)
{
	ListCell   *cell;

	foreach(cell, call->subjects)
	{
		if (has_subject(credential, lfirst(cell)))
			return foreach_current_index(cell);
	}
	return -1;
}

/* access_selections -- open what selections are looked at with, from the gateway's side */
EgressSelections *
access_selections(EgressCall *call)
{
	EgressSelections *selections = &call->selections;

	if (!selections->opened)
	{
		scan_open(&selections->by_gateway, INDEX_CREDENTIAL_GATEWAY_GATEWAY, AccessShareLock);
		scan_open(&selections->credentials, INDEX_CREDENTIAL_ID, AccessShareLock);
		selections->opened = true;
	}
	return selections;
}

/* access_start_selections -- begin to go through a credential's selections, from its side; only of a gateway, if it is given */
EgressScan *
access_start_selections(EgressCall *call, int64 credential_id, const int64 *gateway_id)
{
	EgressSelections *selections = &call->selections;

	if (!selections->entries_opened)
		scan_open_entries(&selections->entries, INDEX_CREDENTIAL_GATEWAY_ID);
	selections->entries_opened = true;
	scan_key_id(&selections->entries, credential_id);
	/* the same number of keys each time */
	if (gateway_id != NULL)
		scan_key_id(&selections->entries, *gateway_id);
	else
		scan_key_id_at_least(&selections->entries, PG_INT64_MIN);
	scan_start(&selections->entries, call->snapshot);
	return &selections->entries;
}

/* access_next_selection -- the next of these that the snapshot has; false: there is none */
bool
access_next_selection(EgressScan *entries, int64 *gateway_id)
{
	while (scan_next_entry(entries))
		if (scan_entry_is_visible(entries))
		{
			*gateway_id = DatumGetInt64(entries->entry[SELECTION_GATEWAY_ID]);
			return true;
		}
	return false;
}

/*
 * any_selects -- does an enabled credential of a big pool, which has one of the call's subjects, select a gateway?
 *
 * From the gateway's side, because the pool is big.
 */
static bool
any_selects(EgressAccess *access, int64 gateway_id)
{
	EgressCall *call = access->call;
	EgressSelections *selections;
	bool		any = false;

	if (access->asked && access->asked_id == gateway_id)
		return access->asked_selected;
	selections = access_selections(call);
	scan_key_id(&selections->by_gateway, gateway_id);
	scan_start(&selections->by_gateway, call->snapshot);
	while (!any && scan_next(&selections->by_gateway))
	{
		EgressScan *credential = &selections->credentials;

		CHECK_FOR_INTERRUPTS();
		any = scan_find_id(credential, scan_id(&selections->by_gateway, Anum_egress_credential_gateway_egress_credential_id),
						   call->snapshot) &&
			scan_bool(credential, Anum_egress_credential_enabled) &&
			!scan_bool(credential, Anum_egress_credential_allow_all_gateways) &&
			access_subject_of(call, credential) >= 0;
	}
	if (call->purpose != ACCESS_TO_ACQUIRE)
		access_end(call);
	access->asked = true;
	access->asked_id = gateway_id;
	access->asked_selected = any;
	return any;
}

/* access_pool_group -- the group of a subject's credentials of a provider, in the pool's index */
uint64
access_pool_group(const EgressSubject *subject, int64 provider_id)
{
	return pool_index_group(catalog_subject_type(subject->type), subject->id, provider_id);
}

/* access_search_pool -- let a pool be searched for a provider's credentials that have one of the call's subjects */
void
access_search_pool(EgressAccess *access, EgressPool *pool)
{
	List	   *subjects = access->call->subjects;
	uint64	   *groups = palloc(list_length(subjects) * sizeof(uint64));
	ListCell   *cell;

	foreach(cell, subjects)
		groups[foreach_current_index(cell)] = access_pool_group(lfirst(cell), access->provider_id);
	pool_search(pool, groups, list_length(subjects));
}

/* access_found_credential -- the credential that a search came to, if the snapshot has it and it has a subject of the call; or NULL */
EgressEntitlement *
access_found_credential(EgressAccess *access, EgressPool *pool, int group, int64 id)
{
	EgressSubject *subject = list_nth(access->call->subjects, group);

	if (!pool_find_row(pool, id) || !has_subject(&pool->rows, subject) ||
		scan_id(&pool->rows, Anum_egress_credential_egress_provider_id) != access->provider_id)
		return NULL;
	return access_credential(access->call, &pool->rows, subject);
}

/* maybe_free -- the enabled credentials of a big pool that may have had a connection free for the call, by ascending id */
static List *
maybe_free(EgressAccess *access)
{
	EgressCall *call = access->call;
	List	   *result = NIL;
	EgressPool	pool;
	int			group;
	int64		id;

	pool_begin_reading(&pool, call->snapshot, call->moment);
	access_search_pool(access, &pool);
	while (pool_next(&pool, &group, &id))
	{
		EgressEntitlement *credential;

		CHECK_FOR_INTERRUPTS();
		credential = access_found_credential(access, &pool, group, id);
		if (credential != NULL && credential->enabled)
			result = lappend(result, credential);
	}
	pool_close(&pool);
	return result;
}

/* access_is_benched -- is a gateway or credential of a provider benched? After: if so, *bench says how */
bool
access_is_benched(EgressAccess *access, EgressBenchKind kind, int64 id, EgressBench *bench)
{
	return bench_find(&access->call->benches, kind, id, &access->bench_rule, access->call->moment, bench);
}

/* note_benched -- note which of the provider's credentials, which have been read, are benched */
static void
note_benched(EgressAccess *access)
{
	ListCell   *cell;

	if (access->call->benches.nothing)
		return;
	foreach(cell, access->credentials)
	{
		EgressEntitlement *credential = lfirst(cell);
		EgressBench *bench = palloc(sizeof(EgressBench));

		if (access_is_benched(access, BENCH_CREDENTIAL, credential->id, bench))
			credential->bench = bench;
	}
}

/*
 * access_to -- what a call may do with one provider, its mappings and credentials given
 *
 * NULL when the provider does not exist.
 */
static EgressAccess *
access_to(EgressCall *call, int64 provider_id, List *mapped, List *credentialed, const int64 *gateway_id)
{
	EgressAccess *access = palloc0(sizeof(EgressAccess));
	EgressScan	scan;
	bool		isnull;

	scan_open(&scan, INDEX_PROVIDER_ID, AccessShareLock);
	if (!scan_find_id(&scan, provider_id, call->snapshot))
	{
		scan_close(&scan);
		return NULL;
	}
	access->provider_id = provider_id;
	access->provider_name = scan_name(&scan, Anum_egress_provider_name);
	access->provider_type = scan_value(&scan, Anum_egress_provider_provider_type);
	access->provider_enabled = scan_bool(&scan, Anum_egress_provider_enabled);
	access->provider_managed = scan_bool(&scan, Anum_egress_provider_managed);
	access->spread = scan_column(&scan, Anum_egress_provider_credential_order, &isnull) == catalog_credential_order(ORDER_SPREAD) &&
		!isnull;
	access->bench_rule = bench_rule(&scan);
	scan_close(&scan);

	access->call = call;
	access->mappings = mapped;
	access->big = is_big(call, provider_id);
	if (access->big)
	{
		int64		id;

		access->credential_all = access_list_all(call, provider_id, &id, 1) > 0;
		credentialed = call->purpose == ACCESS_TO_ACQUIRE ? NIL : maybe_free(access);
	}
	access->credentials = credentialed;
	if (call->purpose != ACCESS_TO_ACQUIRE)
		note_benched(access);
	add_entitlements(call, access, &mappings, mapped, gateway_id);
	add_entitlements(call, access, &credentials, credentialed, gateway_id);
	return access;
}

/*
 * access_find_gateway -- find a gateway by its id; NG001 when there is none
 *
 * Before: the scan is open on INDEX_GATEWAY_ID. After: the gateway is its current row.
 */
void
access_find_gateway(EgressScan *gateway, int64 gateway_id, Snapshot snapshot)
{
	if (!scan_find_id(gateway, gateway_id, snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_NO_GATEWAY),
				 errmsg("gateway " INT64_FORMAT " does not exist", gateway_id),
				 errdetail("No row of egress_gateway has this id.")));
}

/* access_to_gateway -- what a call may do with the gateway in a scan's current row */
EgressAccess *
access_to_gateway(EgressCall *call, EgressScan *gateway)
{
	int64		gateway_id = scan_id(gateway, Anum_egress_gateway_egress_gateway_id);
	int64		provider_id = scan_id(gateway, Anum_egress_gateway_egress_provider_id);
	EgressAccess *access = access_to(call, provider_id,
									 entitled(call, &mappings, &provider_id),
									 entitled(call, &credentials, &provider_id),
									 &gateway_id);

	if (access == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("provider " INT64_FORMAT " of gateway " INT64_FORMAT " cannot be found", provider_id, gateway_id),
				 errdetail("It was deleted past the foreign keys, or egress_provider was rewritten since this transaction's snapshot.")));
	return access;
}

/* take_provider -- the entitlements of a provider, from *position on, which moves behind them; by ascending provider_id */
static List *
take_provider(List *entitlements, int64 provider_id, int *position)
{
	List	   *result = NIL;

	for (; *position < list_length(entitlements); (*position)++)
	{
		EgressEntitlement *entitlement = list_nth(entitlements, *position);

		if (entitlement->provider_id > provider_id)
			break;
		if (entitlement->provider_id == provider_id)
			result = lappend(result, entitlement);
	}
	return result;
}

/* access_to_providers -- a List of EgressAccess: the providers for which a call has a mapping and a credential */
List *
access_to_providers(EgressCall *call)
{
	List	   *all_mappings = entitled(call, &mappings, NULL);
	List	   *all_credentials = entitled(call, &credentials, NULL);
	int			mapping = 0;
	int			credential = 0;
	List	   *result = NIL;

	while (mapping < list_length(all_mappings))
	{
		int64		provider_id = ((EgressEntitlement *) list_nth(all_mappings, mapping))->provider_id;
		List	   *mapped = take_provider(all_mappings, provider_id, &mapping);
		List	   *credentialed = take_provider(all_credentials, provider_id, &credential);

		if (credentialed != NIL || is_big(call, provider_id))
		{
			EgressAccess *access = access_to(call, provider_id, mapped, credentialed, NULL);

			if (access != NULL)
				result = lappend(result, access);
		}
	}
	return result;
}

/* access_to_all_providers -- a List of EgressAccess: every provider that there is */
List *
access_to_all_providers(EgressCall *call)
{
	List	   *all_mappings = entitled(call, &mappings, NULL);
	List	   *all_credentials = entitled(call, &credentials, NULL);
	int			mapping = 0;
	int			credential = 0;
	List	   *result = NIL;
	EgressScan	providers;

	/* by ascending id, as the entitlements are */
	scan_open(&providers, INDEX_PROVIDER_ID, AccessShareLock);
	scan_start(&providers, call->snapshot);
	while (scan_next(&providers))
	{
		int64		provider_id = scan_id(&providers, Anum_egress_provider_egress_provider_id);

		CHECK_FOR_INTERRUPTS();
		result = lappend(result, access_to(call, provider_id,
										   take_provider(all_mappings, provider_id, &mapping),
										   take_provider(all_credentials, provider_id, &credential),
										   NULL));
	}
	scan_close(&providers);
	return result;
}

/* compare_names -- by name, in the database's collation; the name is unique */
static int
compare_names(const ListCell *a, const ListCell *b)
{
	const char *left = ((EgressAccess *) lfirst(a))->provider_name;
	const char *right = ((EgressAccess *) lfirst(b))->provider_name;

	return varstr_cmp(left, strlen(left), right, strlen(right), DEFAULT_COLLATION_OID);
}

/* access_sort_by_name -- sort a List of EgressAccess by the providers' names, as the menu has them */
void
access_sort_by_name(List *providers)
{
	list_sort(providers, compare_names);
}

/*
 * access_credentials -- the credentials that fit a gateway, by ascending id: a List of EgressEntitlement
 *
 * Returns credentials_all itself when no other fits; the caller must not change the list.
 */
List *
access_credentials(EgressAccess *access, int64 gateway_id)
{
	EgressSelected *entry = access->selected == NULL ? NULL : hash_search(access->selected, &gateway_id, HASH_FIND, NULL);
	List	   *result;

	if (entry == NULL || entry->credentials == NIL)
		return access->credentials_all;

	result = list_concat_copy(access->credentials_all, entry->credentials);
	list_sort(result, compare_entitlements);
	return result;
}

/* access_count_fitting -- how many credentials fit a gateway, for a message: of a big pool, all are read */
int
access_count_fitting(EgressAccess *access, int64 gateway_id)
{
	EgressCall	call = *access->call;

	if (access->big)
	{
		call.pools = false;
		call.counts = NIL;
		access = access_to(&call, access->provider_id, NIL, entitled(&call, &credentials, &access->provider_id), &gateway_id);
	}
	return access == NULL ? 0 : list_length(access_credentials(access, gateway_id));
}

/* access_tell_full -- let the next reader step over the credentials of a big pool that were counted and are full, if they are many */
void
access_tell_full(EgressAccess *access)
{
	EgressPoolItem *items;
	int			count = 0;
	ListCell   *cell;

	if (!access->big || list_length(access->credentials) < POOL_BIG)
		return;
	items = palloc0(list_length(access->credentials) * sizeof(EgressPoolItem));
	foreach(cell, access->credentials)
	{
		EgressEntitlement *credential = lfirst(cell);

		if (credential->limited && credential->active >= credential->limit)
		{
			items[count].group = access_pool_group(credential->subject, credential->provider_id);
			items[count++].id = credential->id;
		}
	}
	if (count >= POOL_BIG)
		pool_tell_full(items, count);
	pfree(items);
}

/* has_credential -- is there a credential that fits a gateway, full or not? entry is the gateway's among the selected, or NULL */
static bool
has_credential(EgressAccess *access, EgressSelected *entry, int64 gateway_id)
{
	return access->credentials_all != NIL || (entry != NULL && entry->credentials != NIL) ||
		(access->big && (access->credential_all || any_selects(access, gateway_id)));
}

/* decide_mapping -- rules 1 and 2: is a gateway of the provider, with these switches, mapped to the call? entry: as for has_credential() */
static EgressVerdict
decide_mapping(EgressAccess *access, EgressSelected *entry, bool enabled, bool withdrawn)
{
	if (withdrawn)
		return ACCESS_GATEWAY_WITHDRAWN;
	if (!enabled)
		return ACCESS_GATEWAY_DISABLED;
	if (!access->provider_enabled)
		return ACCESS_PROVIDER_DISABLED;
	if (!access->mapped_all && (entry == NULL || !entry->mapped))
		return access->left_out_all || (entry != NULL && entry->left_out) ? ACCESS_OVERRIDDEN : ACCESS_NOT_MAPPED;
	return ACCESS_AVAILABLE;
}

/* access_decide -- is a gateway of the provider, with these switches, available to the call? */
EgressVerdict
access_decide(EgressAccess *access, int64 gateway_id, bool enabled, bool withdrawn)
{
	EgressBench bench;
	EgressSelected *entry = access->selected == NULL ? NULL : hash_search(access->selected, &gateway_id, HASH_FIND, NULL);
	EgressVerdict verdict = decide_mapping(access, entry, enabled, withdrawn);

	if (verdict != ACCESS_AVAILABLE)
		return verdict;
	if (!has_credential(access, entry, gateway_id))
		return ACCESS_NO_CREDENTIAL;
	if (access_is_benched(access, BENCH_GATEWAY, gateway_id, &bench))
		return ACCESS_BENCHED;
	return ACCESS_AVAILABLE;
}

/* access_decide_row -- the same of the gateway in a scan's current row */
EgressVerdict
access_decide_row(EgressAccess *access, EgressScan *gateway)
{
	return access_decide(access, scan_id(gateway, Anum_egress_gateway_egress_gateway_id),
						 scan_bool(gateway, Anum_egress_gateway_enabled),
						 scan_bool(gateway, Anum_egress_gateway_withdrawn));
}

/*
 * access_to_mapped -- what mappings of a provider allow, for access_maps(); NULL when the provider does not exist
 *
 * They are enabled, and in any order.
 */
EgressAccess *
access_to_mapped(EgressCall *call, int64 provider_id, List *mapped)
{
	return access_to(call, provider_id, mapped, NIL, NULL);
}

/* access_maps -- do rules 1 and 2 give a gateway of the provider, with these switches, by the mappings of access_to_mapped()? */
bool
access_maps(EgressAccess *access, int64 gateway_id, bool enabled, bool withdrawn)
{
	EgressSelected *entry = access->selected == NULL ? NULL : hash_search(access->selected, &gateway_id, HASH_FIND, NULL);

	return decide_mapping(access, entry, enabled, withdrawn) == ACCESS_AVAILABLE;
}

/* read_selected -- read which gateways a credential selects, if they are few enough to be kept */
static void
read_selected(EgressCall *call, EgressCandidate *credential)
{
	EgressScan *entries = access_start_selections(call, credential->id, NULL);
	int64		ids[KEPT_SELECTIONS];
	int			count = 0;
	int64		id;

	credential->asked = true;
	credential->gateway_count = -1;
	while (access_next_selection(entries, &id))
	{
		if (count == KEPT_SELECTIONS)
			return;
		ids[count++] = id;
	}
	credential->gateway_count = count;
	if (count > 0)
	{
		credential->gateways = palloc(count * sizeof(int64));
		memcpy(credential->gateways, ids, count * sizeof(int64));
	}
}

/* selects -- does a credential select a gateway? */
static bool
selects(EgressCall *call, EgressCandidate *credential, int64 gateway_id)
{
	int64		selected_id;

	if (!credential->asked)
		read_selected(call, credential);
	if (credential->gateway_count < 0)
		return access_next_selection(access_start_selections(call, credential->id, &gateway_id), &selected_id);
	return credential->gateway_count > 0 &&
		bsearch(&gateway_id, credential->gateways, credential->gateway_count, sizeof(int64), value_compare_ids) != NULL;
}

/*
 * access_fits -- does rule 3 give the call this credential for a gateway of a provider?
 *
 * Whether it is benched, or has no connection free, is not asked. What it selects is kept in the current memory context. After: a
 * scan of the call is open until access_end(), and may be used for more.
 */
bool
access_fits(EgressCall *call, EgressCandidate *credential, int64 provider_id, int64 gateway_id)
{
	ListCell   *cell;

	if (!credential->enabled || credential->provider_id != provider_id)
		return false;
	foreach(cell, call->subjects)
	{
		const EgressSubject *subject = lfirst(cell);

		if (subject_is_same(subject, credential->subject))
			return credential->all_gateways || selects(call, credential, gateway_id);
	}
	return false;
}

/*
 * access_gateway_required -- is a workspace's override on, and does an enabled mapping name it?
 *
 * Whatever has become of the mapping's gateways: that they are gone is no reason to let sessions out without one.
 */
bool
access_gateway_required(text *workspace_id, Snapshot snapshot)
{
	EgressCall	call = {.workspace_id = workspace_id, .snapshot = snapshot};

	if (!overrides(workspace_id, snapshot))
		return false;
	call.subjects = subject_alone(SUBJECT_WORKSPACE, workspace_id);
	return entitled(&call, &mappings, NULL) != NIL;
}
