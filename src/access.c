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
 * too, and has the mappings and credentials that are disabled remembered besides, to name what is in the way.
 *
 * What is read is proportional to the call's subjects, to the mappings and credentials that name one of them, and to
 * what those select: never to the size of a table. Everything is allocated in the current memory context, and
 * nothing is locked: the answer is as of the call's snapshot.
 */
#include "access.h"

#include "catalog/pg_collation.h"
#include "access/xact.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "arguments.h"
#include "errors.h"
#include "freed.h"
#include "lease.h"

/* the gateway's column in the indexes of selections, counted from 0 */
#define SELECTION_GATEWAY_ID 1

/* so many selections of a gateway are read before a big pool is searched */
#define FEW_SELECTIONS 8

/* so many credentials of a big pool may be elsewhere before more are */
#define PATIENCE 16

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
		TABLE_CREDENTIAL_GATEWAY
	};

	for (size_t i = 0; i < lengthof(tables); i++)
		LockRelationOid(catalog_table(tables[i]), AccessShareLock);
	bench_lock_tables(AccessShareLock);
}

/* add_subject -- one more subject of a call */
static void
add_subject(EgressCall *call, EgressSubjectType type, text *id)
{
	EgressSubject *subject = palloc(sizeof(EgressSubject));

	subject->type = type;
	subject->id = id;
	call->subjects = lappend(call->subjects, subject);
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
	EgressScan	scan;

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
	call->subjects = NIL;
	call->counts = NIL;

	add_subject(call, SUBJECT_EVERYONE, NULL);
	add_subject(call, SUBJECT_USER, user_id);
	if (workspace_id != NULL)
		add_subject(call, SUBJECT_WORKSPACE, workspace_id);

	scan_open(&scan, INDEX_GROUP_MEMBER_ID, AccessShareLock);
	scan_key_text(&scan, user_id);
	scan_start(&scan, snapshot);
	while (scan_next(&scan))
		add_subject(call, SUBJECT_GROUP, DatumGetTextPCopy(scan_value(&scan, Anum_egress_group_member_group_id)));
	scan_close(&scan);
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

/* entitlement_of -- the mapping or credential in a scan's current row, which has a subject */
static EgressEntitlement *
entitlement_of(EgressCall *call, const EntitlementKind *kind, EgressScan *row, EgressSubject *subject)
{
	EgressEntitlement *entitlement = palloc0(sizeof(EgressEntitlement));

	entitlement->subject = subject;
	entitlement->enabled = scan_bool(row, kind->enabled);
	entitlement->left_out = kind == &mappings && call->overrides && subject->type != SUBJECT_WORKSPACE;
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

/* any_allows_all -- does an enabled credential of a provider that has one of the call's subjects allow all gateways? */
static bool
any_allows_all(EgressCall *call, int64 provider_id)
{
	EgressScan	scan;
	ListCell   *cell;
	bool		any = false;

	scan_open(&scan, INDEX_CREDENTIAL_SUBJECT, AccessShareLock);
	foreach(cell, call->subjects)
	{
		EgressSubject *subject = lfirst(cell);

		scan_key_subject(&scan, subject->type, subject->id);
		scan_key_id(&scan, provider_id);
		scan_key_bool(&scan, true);
		scan_key_bool(&scan, true);
		scan_start(&scan, call->snapshot);
		any = scan_next(&scan);
		if (any)
			break;
	}
	scan_close(&scan);
	return any;
}

/* has_subject -- is a subject that of the credential in a scan's current row? */
static bool
has_subject(EgressScan *credential, EgressSubject *subject)
{
	return scan_value(credential, Anum_egress_credential_subject_type) == catalog_subject_type(subject->type) &&
		same_text(scan_text(credential, Anum_egress_credential_subject_id), subject->id);
}

/* subject_of -- which of the call's subjects the credential in a scan's current row has, as its number; -1: none */
static int
subject_of(EgressCall *call, EgressScan *credential)
{
	ListCell   *cell;

	foreach(cell, call->subjects)
		if (has_subject(credential, lfirst(cell)))
			return foreach_current_index(cell);
	return -1;
}

/* open_selections -- open what selections are looked at with, from the gateway's side */
static EgressSelections *
open_selections(EgressCall *call)
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

/* start_selections -- begin to go through a credential's selections, from its side; only of a gateway, if it is given */
static EgressScan *
start_selections(EgressCall *call, int64 credential_id, const int64 *gateway_id)
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

/* next_selection -- the next of these that the snapshot has; false: there is none */
static bool
next_selection(EgressScan *entries, int64 *gateway_id)
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
	selections = open_selections(call);
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
			subject_of(call, credential) >= 0;
	}
	if (call->purpose != ACCESS_TO_ACQUIRE)
		access_end(call);
	access->asked = true;
	access->asked_id = gateway_id;
	access->asked_selected = any;
	return any;
}

/* group_of -- the group of a subject's credentials of a provider, in the pool's index */
static uint64
group_of(const EgressSubject *subject, int64 provider_id)
{
	return pool_group(catalog_subject_type(subject->type), subject->id, provider_id);
}

/* search_groups -- let a pool be searched for a provider's credentials that have one of the call's subjects */
static void
search_groups(EgressAccess *access, Pool *pool)
{
	List	   *subjects = access->call->subjects;
	uint64	   *groups = palloc(list_length(subjects) * sizeof(uint64));
	ListCell   *cell;

	foreach(cell, subjects)
		groups[foreach_current_index(cell)] = group_of(lfirst(cell), access->provider_id);
	pool_search(pool, groups, list_length(subjects));
}

/* found_credential -- the credential that a search came to, if the snapshot has it and it has a subject of the call; or NULL */
static EgressEntitlement *
found_credential(EgressAccess *access, Pool *pool, int group, int64 id)
{
	EgressSubject *subject = list_nth(access->call->subjects, group);

	if (!pool_find_row(pool, id) || !has_subject(&pool->rows, subject) ||
		scan_id(&pool->rows, Anum_egress_credential_egress_provider_id) != access->provider_id)
		return NULL;
	return entitlement_of(access->call, &credentials, &pool->rows, subject);
}

/* maybe_free -- the enabled credentials of a big pool that may have had a connection free for the call, by ascending id */
static List *
maybe_free(EgressAccess *access)
{
	EgressCall *call = access->call;
	List	   *result = NIL;
	Pool		pool;
	int			group;
	int64		id;

	pool_begin_reading(&pool, call->snapshot, call->moment);
	search_groups(access, &pool);
	while (pool_next(&pool, &group, &id))
	{
		EgressEntitlement *credential;

		CHECK_FOR_INTERRUPTS();
		credential = found_credential(access, &pool, group, id);
		if (credential != NULL && credential->enabled)
			result = lappend(result, credential);
	}
	pool_close(&pool);
	return result;
}

/* is_benched -- is a gateway or credential of a provider benched? After: if so, *bench says how */
static bool
is_benched(EgressAccess *access, BenchKind kind, int64 id, Bench *bench)
{
	return bench_find(&access->call->benches, kind, id, &access->bench_rule, access->call->moment, bench);
}

/* access_is_benched -- the same of a gateway */
bool
access_is_benched(EgressAccess *access, int64 gateway_id, Bench *bench)
{
	return is_benched(access, BENCH_GATEWAY, gateway_id, bench);
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
		Bench	   *bench = palloc(sizeof(Bench));

		if (is_benched(access, BENCH_CREDENTIAL, credential->id, bench))
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
		access->credential_all = any_allows_all(call, provider_id);
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
	EgressSelected *entry = access->selected == NULL ? NULL :
		hash_search(access->selected, &gateway_id, HASH_FIND, NULL);
	List	   *result;

	if (entry == NULL || entry->credentials == NIL)
		return access->credentials_all;

	result = list_concat_copy(access->credentials_all, entry->credentials);
	list_sort(result, compare_entitlements);
	return result;
}

/* compare_ids -- ascending */
static int
compare_ids(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* sort_ids -- sort ids, and let each be there once; returns how many they are then */
static int
sort_ids(int64 *ids, int count)
{
	int			kept = 0;

	qsort(ids, count, sizeof(int64), compare_ids);
	for (int i = 0; i < count; i++)
		if (kept == 0 || ids[kept - 1] != ids[i])
			ids[kept++] = ids[i];
	return kept;
}

/* list_all -- list the enabled credentials of a big pool that allow all gateways, max at most; returns how many */
static int
list_all(EgressAccess *access, int64 *ids, int max)
{
	EgressScan	scan;
	int			count = 0;
	ListCell   *cell;

	scan_open(&scan, INDEX_CREDENTIAL_SUBJECT, AccessShareLock);
	foreach(cell, access->call->subjects)
	{
		EgressSubject *subject = lfirst(cell);

		scan_key_subject(&scan, subject->type, subject->id);
		scan_key_id(&scan, access->provider_id);
		scan_key_bool(&scan, true);
		scan_key_bool(&scan, true);
		scan_start(&scan, access->call->snapshot);
		while (count < max && scan_next(&scan))
			ids[count++] = scan_id(&scan, Anum_egress_credential_egress_credential_id);
	}
	scan_close(&scan);
	return count;
}

/*
 * list_fitting -- list the credentials of a big pool that fit the gateway from the gateway's side; false: there are more than max
 *
 * By ascending id: those that select it, whoever they are for, and those that allow all, unless these are spent.
 */
static bool
list_fitting(EgressFitting *fitting, int max)
{
	EgressAccess *access = fitting->access;
	EgressScan *by_gateway = &open_selections(access->call)->by_gateway;
	int64	   *ids = palloc((max + 1) * sizeof(int64));
	int			count = access->credential_all && !access->spent ? list_all(access, ids, max + 1) : 0;

	if (count <= max)
	{
		scan_key_id(by_gateway, fitting->gateway_id);
		scan_start(by_gateway, access->call->snapshot);
		while (count <= max && scan_next(by_gateway))
			ids[count++] = scan_id(by_gateway, Anum_egress_credential_gateway_egress_credential_id);
	}
	if (count > max)
	{
		pfree(ids);
		return false;
	}
	fitting->listed = true;
	fitting->ids = ids;
	fitting->count = fitting->left = sort_ids(ids, count);
	fitting->next = 0;
	return true;
}

/* count_below -- how many of the credentials that were listed are below an id */
static int
count_below(const EgressFitting *fitting, int64 id)
{
	int			count = 0;

	while (count < fitting->count && fitting->ids[count] < id)
		count++;
	return count;
}

/* go_on_listed -- let those that were listed be what is left of the pool's search, which has come to a credential that is none of them */
static void
go_on_listed(EgressFitting *fitting, int64 id)
{
	Pool	   *pool = fitting->pool;
	int			before = count_below(fitting, id);
	int			before_start = count_below(fitting, pool->start);

	fitting->next = before < fitting->count ? before : 0;
	fitting->left = pool->wrapped ? before_start - before : fitting->count - before + before_start;
}

/* access_fitting -- begin to go through the credentials that fit a gateway, for an acquire; pool is open and has begun */
void
access_fitting(EgressFitting *fitting, EgressAccess *access, int64 gateway_id, Pool *pool)
{
	memset(fitting, 0, sizeof(EgressFitting));
	fitting->access = access;
	fitting->gateway_id = gateway_id;
	fitting->pool = pool;
	fitting->patience = PATIENCE;
	fitting->cooled_at = DT_NOEND;
	once_begin(&fitting->once);
	if (access->big)
	{
		pool_begin(pool, access->call->snapshot, PG_INT64_MAX);
		search_groups(access, pool);
		/* where none is likely to be met that allows all, those that fit may be few among many */
		if ((!access->credential_all || access->spent) && list_fitting(fitting, FEW_SELECTIONS))
		{
			if (access->spread && fitting->count > 0)
				fitting->next = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, fitting->count - 1);
		}
		else if (access->spread)
			pool_start_by_chance(pool);
	}
	else
	{
		fitting->list = access_credentials(access, gateway_id);
		if (access->spread)
			fitting->first = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, list_length(fitting->list) - 1);
		pool_begin(pool, access->call->snapshot, ((EgressEntitlement *) llast(fitting->list))->id);
	}
}

/* selects -- does a credential select a gateway? */
static bool
selects(EgressCall *call, int64 credential_id, int64 gateway_id)
{
	return next_selection(start_selections(call, credential_id, &gateway_id), &gateway_id);
}

/* next_listed -- access_next_fitting() where those that fit were listed */
static EgressEntitlement *
next_listed(EgressFitting *fitting)
{
	EgressAccess *access = fitting->access;
	Pool	   *pool = fitting->pool;

	for (; fitting->left > 0; fitting->left--)
	{
		int64		id = fitting->ids[fitting->next];
		int			group;

		CHECK_FOR_INTERRUPTS();
		fitting->next = (fitting->next + 1) % fitting->count;
		if (!pool_find_row(pool, id) || (group = subject_of(access->call, &pool->rows)) < 0 ||
			scan_id(&pool->rows, Anum_egress_credential_egress_provider_id) != access->provider_id ||
			!scan_bool(&pool->rows, Anum_egress_credential_enabled))
			continue;
		if (!pool_come_to(pool, group, id))
		{
			fitting->full = true;
			continue;
		}
		fitting->left--;
		return entitlement_of(access->call, &credentials, &pool->rows, list_nth(access->call->subjects, group));
	}
	return NULL;
}

/*
 * access_next_fitting -- the next credential that fits; of a big pool, of those that may have a connection free. Or NULL
 *
 * By ascending id; from one drawn by chance on, and then from the lowest, where the provider spreads them.
 *
 * Where many of a big pool are for other gateways, those that fit are found from the gateway's side, if they are not more than
 * those that were met in vain. So the search costs about as much as the cheaper of both ways.
 */
EgressEntitlement *
access_next_fitting(EgressFitting *fitting)
{
	EgressAccess *access = fitting->access;
	int			group;
	int64		id;

	if (!access->big)
	{
		int			count = list_length(fitting->list);
		int			place = fitting->first + fitting->position;

		if (fitting->position == count)
			return NULL;
		fitting->position++;
		return list_nth(fitting->list, place < count ? place : place - count);
	}

	while (!fitting->listed && pool_next(fitting->pool, &group, &id))
	{
		EgressEntitlement *credential;

		CHECK_FOR_INTERRUPTS();
		credential = found_credential(access, fitting->pool, group, id);
		if (credential == NULL)
			continue;
		if (!credential->enabled)
			pool_has_none(fitting->pool);
		else if (credential->all_gateways || selects(access->call, id, fitting->gateway_id))
			return credential;
		else if (++fitting->elsewhere >= fitting->patience)
		{
			if (list_fitting(fitting, fitting->patience))
				go_on_listed(fitting, id);
			fitting->patience *= 2;
		}
	}
	return fitting->listed ? next_listed(fitting) : NULL;
}

/* sort_hopes -- it is known at which gateways of a big pool there may be a connection: those that were hoped for, and no other */
static void
sort_hopes(EgressAccess *access)
{
	ListCell   *cell;

	access->hoped = palloc(Max(list_length(access->hopes), 1) * sizeof(int64));
	foreach(cell, access->hopes)
		access->hoped[access->hope_count++] = *(int64 *) lfirst(cell);
	access->hope_count = sort_ids(access->hoped, access->hope_count);
	access->looked_around = true;
}

/* access_fitted -- the search is over; none_left: it went to the end, and nothing was taken */
void
access_fitted(EgressFitting *fitting, bool none_left)
{
	EgressAccess *access = fitting->access;

	once_end(&fitting->once);
	if (!none_left)
		return;
	if (access->big ? !fitting->everywhere : !fitting->at_gateway)
		access->spent = true;
	/* a pool that was searched to its end, and had nothing for any other gateway, either */
	if (access->big && !fitting->listed && !fitting->at_gateway && fitting->elsewhere == 0)
		sort_hopes(access);
}

/*
 * access_is_full -- is it certain that the credential that access_next_fitting() gave last is full, or passed over like one that is?
 *
 * That is, because it is at the gateway already, where it is once, or because it is benched.
 */
bool
access_is_full(EgressFitting *fitting, EgressEntitlement *credential)
{
	Bench		bench;

	if (is_benched(fitting->access, BENCH_CREDENTIAL, credential->id, &bench))
	{
		fitting->benched = true;
		return true;
	}
	if (credential->once &&
		once_was_taken(&fitting->once, credential->id, fitting->gateway_id, fitting->access->call->snapshot,
					   credential->cool_down))
	{
		fitting->at_gateway = true;
		fitting->everywhere |= credential->all_gateways;
		fitting->cooled_at = Min(fitting->cooled_at, fitting->once.cooled_at);
		return true;
	}
	if (credential->limited)
	{
		credential->spent = pool_is_full(fitting->pool, group_of(credential->subject, credential->provider_id),
										 credential->id, credential->limit, credential->cool_down, fitting->access->big);
		fitting->cooled_at = Min(fitting->cooled_at, fitting->pool->look.cooled_at);
	}
	return credential->spent;
}

/* access_found_full -- the credential that access_next_fitting() gave last has no connection to give, or it is at the gateway */
void
access_found_full(EgressFitting *fitting, EgressEntitlement *credential, bool at_gateway)
{
	if (at_gateway)
	{
		fitting->at_gateway = true;
		fitting->everywhere |= credential->all_gateways;
	}
	else
		credential->spent = true;
	if (!at_gateway && credential->cool_down != NULL && credential->limited)
		fitting->cooled_at = Min(fitting->cooled_at, pool_cooled_at(fitting->pool, credential->id, credential->limit,
																	 credential->cool_down));
	if (!at_gateway && fitting->access->big)
		pool_has_none(fitting->pool);
}

/* access_found_unopened -- the credential that access_next_fitting() gave last cannot be opened */
void
access_found_unopened(EgressFitting *fitting, EgressEntitlement *credential)
{
	credential->unopened = true;
	fitting->everywhere |= credential->all_gateways;
}

/* hope_for -- note that there may be a connection at the gateways that a credential selects; false when they are more than *max */
static bool
hope_for(EgressAccess *access, int64 credential_id, int *max)
{
	EgressScan *entries = start_selections(access->call, credential_id, NULL);
	int64		gateway_id;

	while (next_selection(entries, &gateway_id))
	{
		int64	   *hope;

		if (--*max < 0)
			return false;
		hope = palloc(sizeof(int64));
		*hope = gateway_id;
		access->hopes = lappend(access->hopes, hope);
	}
	return true;
}

/*
 * access_look_around -- a gateway of the provider was full: look at which there may be a connection, if that is soon known
 *
 * From the pool's side: which credentials are not full, and what they select. Of these as many are looked at as gateways were
 * tried, so that costs no more than they did; those that are full are stepped over, by the next one, too, and cost little.
 * Pool is open, and nobody searches it.
 */
void
access_look_around(EgressAccess *access, Pool *pool)
{
	int			left;
	int			group;
	int64		id;

	if (!access->big || access->looked_around || ++access->tried < access->look_around_at)
		return;
	left = access->tried;
	access->look_around_at = 2 * access->tried;
	pool_begin(pool, access->call->snapshot, PG_INT64_MAX);
	search_groups(access, pool);
	if (access->tried == 1)
		access->looked_to = PG_INT64_MIN;
	pool_start_at(pool, access->looked_to);
	while (pool_next(pool, &group, &id))
	{
		EgressEntitlement *credential = found_credential(access, pool, group, id);
		int			hopes = list_length(access->hopes);
		Bench		bench;

		CHECK_FOR_INTERRUPTS();
		access->looked_to = id;
		if (credential == NULL)
			continue;
		if (!credential->enabled)
			pool_has_none(pool);
		else if (is_benched(access, BENCH_CREDENTIAL, id, &bench) ||
				 (credential->limited && pool_is_full(pool, group_of(credential->subject, access->provider_id), id,
													  credential->limit, credential->cool_down, true)))
			continue;
		else if (credential->all_gateways || --left < 0 || !hope_for(access, id, &left))
		{
			/* to be looked at again */
			access->hopes = list_truncate(access->hopes, hopes);
			return;
		}
	}
	sort_hopes(access);
}

/* access_is_spent -- was it found at another gateway of the provider that nothing is left for this one, either? */
bool
access_is_spent(EgressAccess *access, int64 gateway_id)
{
	EgressSelected *entry;

	if (access->looked_around)
		return access->hope_count == 0 ||
			bsearch(&gateway_id, access->hoped, access->hope_count, sizeof(int64), compare_ids) == NULL;
	if (access->big || !access->spent)
		return false;
	entry = access->selected == NULL ? NULL : hash_search(access->selected, &gateway_id, HASH_FIND, NULL);
	return entry == NULL || entry->credentials == NIL;
}

/* access_is_all_spent -- was it found that nothing is left for any gateway of the provider? */
bool
access_is_all_spent(EgressAccess *access)
{
	if (access->big)
		return access->looked_around && access->hope_count == 0;
	return access->spent && access->selected == NULL;
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

/*
 * access_any_full -- the search of a big pool is over: is a credential that fits full, though none of those that were given was?
 *
 * So many were given.
 */
bool
access_any_full(EgressFitting *fitting, int given)
{
	if (fitting->full)
		return true;
	if (fitting->listed && fitting->elsewhere == 0 && !fitting->access->credential_all)
		return false;
	return access_count_fitting(fitting->access, fitting->gateway_id) > given;
}

/* access_tell_full -- let the next reader step over the credentials of a big pool that were counted and are full, if they are many */
void
access_tell_full(EgressAccess *access)
{
	PoolItem   *items;
	int			count = 0;
	ListCell   *cell;

	if (!access->big || list_length(access->credentials) < POOL_BIG)
		return;
	items = palloc0(list_length(access->credentials) * sizeof(PoolItem));
	foreach(cell, access->credentials)
	{
		EgressEntitlement *credential = lfirst(cell);

		if (credential->limited && credential->active >= credential->limit)
			items[count++] = (PoolItem) {
				.group = group_of(credential->subject, credential->provider_id),
				.id = credential->id
			};
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

/* access_decide -- is a gateway of the provider, with these switches, available to the call? */
EgressVerdict
access_decide(EgressAccess *access, int64 gateway_id, bool enabled, bool withdrawn)
{
	Bench		bench;
	EgressSelected *entry = access->selected == NULL ? NULL :
		hash_search(access->selected, &gateway_id, HASH_FIND, NULL);

	if (withdrawn)
		return ACCESS_GATEWAY_WITHDRAWN;
	if (!enabled)
		return ACCESS_GATEWAY_DISABLED;
	if (!access->provider_enabled)
		return ACCESS_PROVIDER_DISABLED;
	if (!access->mapped_all && (entry == NULL || !entry->mapped))
		return access->left_out_all || (entry != NULL && entry->left_out) ? ACCESS_OVERRIDDEN : ACCESS_NOT_MAPPED;
	if (!has_credential(access, entry, gateway_id))
		return ACCESS_NO_CREDENTIAL;
	if (access_is_benched(access, gateway_id, &bench))
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
	add_subject(&call, SUBJECT_WORKSPACE, workspace_id);
	return entitled(&call, &mappings, NULL) != NIL;
}
