/*
 * unentitled.c -- which leases have what the rules of access would no longer give: egress_unentitled_sessions()
 *
 * A lease stays when a gateway, provider, mapping or credential was disabled since, or the user was taken out of a group. Whether the
 * rules would still give its session this credential for this gateway is decided by access.c, as for an acquire: there is no other
 * rule. What an acquire asks besides, whether something is benched or full, takes nothing from who has it.
 *
 * Leases are judged as they come. There may be a million, of as many users, so nothing is looked up for one: before the first is
 * judged, what the rules ask about is read in one pass over each table and kept by what it is asked by: gateways and credentials by
 * id, mappings by subject and provider, groups by user. Only what a credential selects is read when its first lease comes, because
 * there may be far more of that than of leases.
 *
 * Rules 1 and 2 ask whether any enabled mapping with one of the subjects allows the gateway. So each subject is asked by itself, with
 * its mappings alone, and what those allow is found out once for all leases. A user, workspace or group that no mapping and no
 * credential names makes no difference, and is not among the subjects.
 */
#include "unentitled.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "access.h"
#include "catalog.h"
#include "compat.h"
#include "lease.h"
#include "value.h"

/* The enabled mappings of a provider that have one subject. */
typedef struct Mapped
{
	int64		provider_id;
	List	   *mappings;		/* of EgressEntitlement */
	EgressAccess *access;		/* what they allow, or NULL: nobody has asked */
} Mapped;

/* A subject that a mapping or a credential has. */
typedef struct Named
{
	EgressSubject subject;		/* must be first */
	List	   *mapped;			/* of Mapped, one a provider */
	List	   *alone;			/* of a group: it alone, the groups of all who are in no other that is named */
} Named;

typedef struct NamedEntry
{
	EgressSubject key;
	Named	   *named;
	uint32		hash;
	char		status;
} NamedEntry;

#define SH_PREFIX names
#define SH_ELEMENT_TYPE NamedEntry
#define SH_KEY_TYPE EgressSubject
#define SH_KEY key
#define SH_HASH_KEY(table, key) subject_hash(&(key))
#define SH_EQUAL(table, a, b) subject_is_same(&(a), &(b))
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* A user who is in groups, or a workspace whose override is on. */
typedef struct Owner
{
	text	   *id;				/* hash key */
	List	   *groups;			/* of Named: those of the user that a mapping or credential has */
	uint32		hash;
	char		status;
} Owner;

#define SH_PREFIX owners
#define SH_ELEMENT_TYPE Owner
#define SH_KEY_TYPE text *
#define SH_KEY id
#define SH_HASH_KEY(table, key) value_hash_text(key)
#define SH_EQUAL(table, a, b) value_same_text(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

typedef struct Gateway
{
	int64		id;				/* hash key */
	int64		provider_id;
	bool		enabled;
	bool		withdrawn;
	char		status;
} Gateway;

#define SH_PREFIX gateways
#define SH_ELEMENT_TYPE Gateway
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) value_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

typedef struct Credential
{
	int64		id;				/* hash key */
	EgressCandidate candidate;
	char		status;
} Credential;

#define SH_PREFIX credentials
#define SH_ELEMENT_TYPE Credential
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(table, key) value_hash_id(key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* Judging leases. */
struct EgressUnentitled
{
	MemoryContext context;		/* of all that is kept */
	EgressCall	call;			/* whom the current lease is of; its subjects, of Named: everyone, and those that are named */
	bool		ready;			/* what the rules ask about was read, as of the call's snapshot: */
	names_hash *names;
	owners_hash *members;		/* users, with the groups that they are in and that are named */
	owners_hash *overriding;	/* workspaces */
	gateways_hash *gateways;
	credentials_hash *credentials;
};

PG_FUNCTION_INFO_V1(egress_unentitled_sessions);

/* unentitled_begin -- get ready to judge leases, as of a snapshot, which stays registered or active until unentitled_end() */
EgressUnentitled *
unentitled_begin(Snapshot snapshot)
{
	EgressUnentitled *look = palloc0(sizeof(EgressUnentitled));

	look->context = AllocSetContextCreate(CurrentMemoryContext, "egress unentitled leases", ALLOCSET_DEFAULT_SIZES);
	look->call.snapshot = snapshot;
	look->call.purpose = ACCESS_TO_READ;
	look->call.benches.nothing = true;
	return look;
}

/* name -- note a subject, if need be */
static Named *
name(EgressUnentitled *look, EgressSubject subject)
{
	bool		found;
	NamedEntry *entry = names_insert(look->names, subject, &found);

	if (!found)
	{
		if (subject.id != NULL)
			entry->key.id = DatumGetTextPCopy(PointerGetDatum(subject.id));
		entry->named = palloc0(sizeof(Named));
		entry->named->subject = entry->key;
	}
	return entry->named;
}

/* named_subject -- the subject of the mapping or credential in a scan's current row, by its columns */
static Named *
named_subject(EgressUnentitled *look, EgressScan *row, AttrNumber type, AttrNumber id)
{
	return name(look, (EgressSubject) {.type = catalog_subject_label(scan_value(row, type)), .id = scan_text(row, id)});
}

/* mapped_to -- a subject's mappings of a provider, or NULL */
static Mapped *
mapped_to(Named *named, int64 provider_id)
{
	ListCell   *cell;

	foreach(cell, named->mapped)
	{
		Mapped	   *mapped = lfirst(cell);

		if (mapped->provider_id == provider_id)
			return mapped;
	}
	return NULL;
}

/* read_mapping -- note the mapping in a scan's current row; an EgressScanRow, as the others are */
static void
read_mapping(void *arg, EgressScan *row)
{
	EgressUnentitled *look = arg;
	int64		provider_id = scan_id(row, Anum_egress_provider_mapping_egress_provider_id);
	Named	   *named;
	Mapped	   *mapped;

	if (!scan_bool(row, Anum_egress_provider_mapping_enabled))
		return;
	named = named_subject(look, row, Anum_egress_provider_mapping_subject_type, Anum_egress_provider_mapping_subject_id);
	mapped = mapped_to(named, provider_id);
	if (mapped == NULL)
	{
		mapped = palloc0(sizeof(Mapped));
		mapped->provider_id = provider_id;
		named->mapped = lappend(named->mapped, mapped);
	}
	mapped->mappings = lappend(mapped->mappings, access_mapping(&look->call, row, &named->subject));
}

/* read_credential -- note the credential in a scan's current row */
static void
read_credential(void *arg, EgressScan *row)
{
	EgressUnentitled *look = arg;
	Named	   *named = named_subject(look, row, Anum_egress_credential_subject_type, Anum_egress_credential_subject_id);
	EgressCandidate candidate = {0};
	bool		found;

	candidate.id = scan_id(row, Anum_egress_credential_egress_credential_id);
	candidate.provider_id = scan_id(row, Anum_egress_credential_egress_provider_id);
	candidate.subject = &named->subject;
	candidate.enabled = scan_bool(row, Anum_egress_credential_enabled);
	candidate.all_gateways = scan_bool(row, Anum_egress_credential_allow_all_gateways);
	credentials_insert(look->credentials, candidate.id, &found)->candidate = candidate;
}

/* read_gateway -- note the gateway in a scan's current row */
static void
read_gateway(void *arg, EgressScan *row)
{
	EgressUnentitled *look = arg;
	bool		found;
	Gateway    *gateway = gateways_insert(look->gateways, scan_id(row, Anum_egress_gateway_egress_gateway_id), &found);

	gateway->provider_id = scan_id(row, Anum_egress_gateway_egress_provider_id);
	gateway->enabled = scan_bool(row, Anum_egress_gateway_enabled);
	gateway->withdrawn = scan_bool(row, Anum_egress_gateway_withdrawn);
}

/* owner -- a user or workspace in a scan's current row, noted if need be */
static Owner *
owner(owners_hash *owners, EgressScan *row, AttrNumber id)
{
	bool		found;
	Owner	   *result = owners_insert(owners, DatumGetTextPP(scan_value(row, id)), &found);

	if (!found)
	{
		result->id = DatumGetTextPCopy(PointerGetDatum(result->id));
		result->groups = NIL;
	}
	return result;
}

/* find_named -- a subject that a mapping or credential has, or NULL */
static Named *
find_named(EgressUnentitled *look, EgressSubjectType type, text *id)
{
	NamedEntry *entry = names_lookup(look->names, (EgressSubject) {.type = type, .id = id});

	return entry == NULL ? NULL : entry->named;
}

/* read_member -- note the membership in a scan's current row, if a mapping or credential has the group; those are known */
static void
read_member(void *arg, EgressScan *row)
{
	EgressUnentitled *look = arg;
	Named	   *group = find_named(look, SUBJECT_GROUP, scan_text(row, Anum_egress_group_member_group_id));
	Owner	   *member;

	if (group == NULL)
		return;
	if (group->alone == NIL)
		group->alone = list_make1(group);
	member = owner(look->members, row, Anum_egress_group_member_user_id);
	if (member->groups == NIL)
		member->groups = group->alone;
	else
		member->groups = lappend(list_length(member->groups) == 1 ? list_copy(member->groups) : member->groups, group);
}

/* read_workspace -- note the workspace in a scan's current row, if its override is on */
static void
read_workspace(void *arg, EgressScan *row)
{
	EgressUnentitled *look = arg;

	if (scan_bool(row, Anum_egress_workspace_override_egress_gateways))
		(void) owner(look->overriding, row, Anum_egress_workspace_workspace_id);
}

/* get_ready -- read what the rules ask about; in look->context */
static void
get_ready(EgressUnentitled *look)
{
	look->names = names_create(look->context, 64, NULL);
	look->members = owners_create(look->context, 64, NULL);
	look->overriding = owners_create(look->context, 64, NULL);
	look->gateways = gateways_create(look->context, 64, NULL);
	look->credentials = credentials_create(look->context, 64, NULL);
	scan_all(look->call.snapshot, TABLE_MAPPING, read_mapping, look);
	scan_all(look->call.snapshot, TABLE_CREDENTIAL, read_credential, look);
	scan_all(look->call.snapshot, TABLE_GATEWAY, read_gateway, look);
	scan_all(look->call.snapshot, TABLE_GROUP_MEMBER, read_member, look);
	scan_all(look->call.snapshot, TABLE_WORKSPACE, read_workspace, look);
	look->call.subjects = list_make1(name(look, (EgressSubject) {.type = SUBJECT_EVERYONE}));
	look->ready = true;
}

/* add_subject -- one more subject of the current lease; NULL: it is not named */
static void
add_subject(EgressCall *call, Named *subject)
{
	if (subject != NULL)
		call->subjects = lappend(call->subjects, subject);
}

/* set_call -- let the call be of the user and workspace of a lease. They point into its row */
static void
set_call(EgressUnentitled *look, EgressScan *lease)
{
	EgressCall *call = &look->call;
	Owner	   *member;

	call->user_id = DatumGetTextPP(scan_value(lease, Anum_egress_lease_user_id));
	call->workspace_id = scan_text(lease, Anum_egress_lease_workspace_id);
	call->overrides = call->workspace_id != NULL && owners_lookup(look->overriding, call->workspace_id) != NULL;

	/* all but everyone. The memory of the list stays for the next lease */
	call->subjects = list_truncate(call->subjects, 1);
	add_subject(call, find_named(look, SUBJECT_USER, call->user_id));
	if (call->workspace_id != NULL)
		add_subject(call, find_named(look, SUBJECT_WORKSPACE, call->workspace_id));
	member = owners_lookup(look->members, call->user_id);
	if (member != NULL)
		call->subjects = list_concat(call->subjects, member->groups);
}

/* is_mapped -- do rules 1 and 2 give the call a gateway? */
static bool
is_mapped(EgressUnentitled *look, const Gateway *gateway)
{
	EgressCall *call = &look->call;
	ListCell   *cell;

	foreach(cell, call->subjects)
	{
		Named	   *subject = lfirst(cell);
		Mapped	   *mapped = mapped_to(subject, gateway->provider_id);

		if (mapped == NULL || !access_counts(call, &subject->subject))
			continue;
		if (mapped->access == NULL)
			mapped->access = access_to_mapped(call, gateway->provider_id, mapped->mappings);
		if (mapped->access != NULL && access_maps(mapped->access, gateway->id, gateway->enabled, gateway->withdrawn))
			return true;
	}
	return false;
}

/* still_given -- do the rules give the user and workspace of a lease what it has? In look->context */
static bool
still_given(EgressUnentitled *look, EgressScan *lease)
{
	Gateway    *gateway;
	Credential *credential;

	if (!look->ready)
		get_ready(look);
	gateway = gateways_lookup(look->gateways, scan_id(lease, Anum_egress_lease_egress_gateway_id));
	credential = credentials_lookup(look->credentials, scan_id(lease, Anum_egress_lease_egress_credential_id));
	if (gateway == NULL || credential == NULL)
		return false;
	set_call(look, lease);
	return is_mapped(look, gateway) &&
		access_fits(&look->call, &credential->candidate, gateway->provider_id, gateway->id);
}

/*
 * unentitled_judge -- does a lease have what the rules do not give? It is a scan's current row, and no connection that cools down
 *
 * Before the first: access_lock_tables(), or a snapshot that is old anyway.
 */
bool
unentitled_judge(EgressUnentitled *look, EgressScan *lease)
{
	MemoryContext old_context = MemoryContextSwitchTo(look->context);
	bool		given = still_given(look, lease);

	MemoryContextSwitchTo(old_context);
	return !given;
}

/* unentitled_is_same -- is the lease in a scan's current row the one that was judged? Its session may have taken another since */
bool
unentitled_is_same(EgressScan *judged, EgressScan *lease)
{
	static const AttrNumber texts[] = {
		Anum_egress_lease_session_id, Anum_egress_lease_user_id, Anum_egress_lease_workspace_id
	};
	static const AttrNumber ids[] = {Anum_egress_lease_egress_gateway_id, Anum_egress_lease_egress_credential_id};

	for (size_t i = 0; i < lengthof(texts); i++)
		if (!value_same_text(scan_text(lease, texts[i]), scan_text(judged, texts[i])))
			return false;
	for (size_t i = 0; i < lengthof(ids); i++)
		if (scan_id(lease, ids[i]) != scan_id(judged, ids[i]))
			return false;
	return scan_timestamp(lease, Anum_egress_lease_acquired_at) == scan_timestamp(judged, Anum_egress_lease_acquired_at);
}

/* unentitled_end -- close what was opened */
void
unentitled_end(EgressUnentitled *look)
{
	access_end(&look->call);
	MemoryContextDelete(look->context);
	pfree(look);
}

/* egress_unentitled_sessions -- see COMMENT ON FUNCTION */
Datum
egress_unentitled_sessions(PG_FUNCTION_ARGS)
{
	Snapshot	snapshot = GetActiveSnapshot();
	ReturnSetInfo *result;
	EgressScan	leases;
	EgressUnentitled *look;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;

	scan_open_pass(&leases, TABLE_LEASE, AccessShareLock);
	look = unentitled_begin(snapshot);
	scan_start_pass(&leases, snapshot, 0);
	while (scan_next(&leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (!lease_is_cooling(&leases) && unentitled_judge(look, &leases))
		{
			Datum		session_id = scan_value(&leases, Anum_egress_lease_session_id);
			bool		isnull = false;

			tuplestore_putvalues(result->setResult, result->setDesc, &session_id, &isnull);
		}
	}
	unentitled_end(look);
	scan_close(&leases);
	return (Datum) 0;
}
