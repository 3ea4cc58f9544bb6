/*
 * catalog.c -- where the extension's tables are
 *
 * The extension may live in any schema, and may be dropped and created again, elsewhere, while a backend
 * lives. So every function that SQL calls first names itself to catalog_use(): its own schema is the
 * extension's. The OIDs found there are kept until an invalidation may have changed one of them. The
 * callbacks only set a flag: they run at moments when no catalog may be read.
 *
 * The library and the tables are replaced at different moments: the one by a package, the others by ALTER EXTENSION
 * UPDATE, in each database. Until then no application stops: the library serves the version before its own, too. The
 * version of the tables is looked at with each search for OIDs, and one that the library does not know is refused. The
 * functions of the type egress_secret need no table, and no version: a dump can be made of any.
 */
#include "catalog.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"

/* The versions that this library serves; the last is its own, which the Makefile takes from egress.control. */
static const char *const version_names[EGRESS_VERSION_COUNT] = {
	[VERSION_0_9] = "0.9",
	[VERSION_1_0] = EGRESS_VERSION,
};

/*
 * What of the indexes is not in each of these versions, and since which it is there. Of the tables all is but those of reports and users' limits,
 * and the columns that shape.c knows to have come later, and of the types all but the last, which is of such a column.
 *
 * A table or index that a version lacks is not looked for, and nobody opens it then. Who reads a column that came later by
 * INCLUDE finds in the entry whether it is there (menu.c). To serve a version also means
 *	- that the C functions behind its SQL functions stay, and take as many arguments as it gives them: argument_is_given();
 *	- that a row is made after the descriptor of the caller, and columns were added only at the end;
 *	- that what it has not is not granted: grant.c looks whether it is there.
 * test/t/update.pl calls every function of the version before, in its tables.
 */
static const struct
{
	EgressVersion index;		/* has the index */
	EgressVersion include;		/* has all of its columns */
}			index_since[EGRESS_INDEX_COUNT] = {
	[INDEX_GATEWAY_MENU] = {VERSION_0_9, VERSION_1_0},
	[INDEX_GATEWAY_COUNTRY] = {VERSION_1_0, VERSION_1_0},
	[INDEX_GATEWAY_CITY] = {VERSION_1_0, VERSION_1_0},
	[INDEX_CREDENTIAL_SUBJECT] = {VERSION_0_9, VERSION_1_0},
	[INDEX_CREDENTIAL_POOL] = {VERSION_1_0, VERSION_1_0},
	[INDEX_USER_LIMIT_SUBJECT] = {VERSION_1_0, VERSION_1_0},
	[INDEX_LEASE_SLOT] = {VERSION_0_9, VERSION_1_0},
	[INDEX_LEASE_USER] = {VERSION_1_0, VERSION_1_0},
	[INDEX_LEASE_GATEWAY] = {VERSION_0_9, VERSION_1_0},
	[INDEX_REPORT_GATEWAY] = {VERSION_1_0, VERSION_1_0},
	[INDEX_REPORT_CREDENTIAL] = {VERSION_1_0, VERSION_1_0},
};

static const char *const table_names[EGRESS_TABLE_COUNT] = {
	[TABLE_PROVIDER] = "egress_provider",
	[TABLE_GATEWAY] = "egress_gateway",
	[TABLE_MAPPING] = "egress_provider_mapping",
	[TABLE_MAPPING_GATEWAY] = "egress_provider_mapping_gateway",
	[TABLE_CREDENTIAL] = "egress_credential",
	[TABLE_CREDENTIAL_GATEWAY] = "egress_credential_gateway",
	[TABLE_GROUP_MEMBER] = "egress_group_member",
	[TABLE_WORKSPACE] = "egress_workspace",
	[TABLE_USER_LIMIT] = "egress_user_limit",
	[TABLE_LEASE] = "egress_lease",
	[TABLE_LEASE_EXPIRY] = "egress_lease_expiry",
	[TABLE_LEASE_HISTORY] = "egress_lease_history",
	[TABLE_REPORT] = "egress_report",
	[TABLE_FAILURE] = "egress_failure",
};

static const struct
{
	EgressTable table;
	const char *name;
}			indexes[EGRESS_INDEX_COUNT] = {
	[INDEX_PROVIDER_ID] = {TABLE_PROVIDER, "egress_provider_pkey"},
	[INDEX_GATEWAY_ID] = {TABLE_GATEWAY, "egress_gateway_pkey"},
	[INDEX_GATEWAY_MENU] = {TABLE_GATEWAY, "egress_gateway_menu"},
	[INDEX_GATEWAY_COUNTRY] = {TABLE_GATEWAY, "egress_gateway_country"},
	[INDEX_GATEWAY_CITY] = {TABLE_GATEWAY, "egress_gateway_city"},
	[INDEX_MAPPING_ID] = {TABLE_MAPPING, "egress_provider_mapping_pkey"},
	[INDEX_MAPPING_SUBJECT] = {TABLE_MAPPING, "egress_provider_mapping_subject"},
	[INDEX_MAPPING_GATEWAY_ID] = {TABLE_MAPPING_GATEWAY, "egress_provider_mapping_gateway_pkey"},
	[INDEX_CREDENTIAL_ID] = {TABLE_CREDENTIAL, "egress_credential_pkey"},
	[INDEX_CREDENTIAL_SUBJECT] = {TABLE_CREDENTIAL, "egress_credential_subject"},
	[INDEX_CREDENTIAL_POOL] = {TABLE_CREDENTIAL, "egress_credential_pool"},
	[INDEX_CREDENTIAL_GATEWAY_GATEWAY] = {TABLE_CREDENTIAL_GATEWAY, "egress_credential_gateway_gateway"},
	[INDEX_CREDENTIAL_GATEWAY_ID] = {TABLE_CREDENTIAL_GATEWAY, "egress_credential_gateway_pkey"},
	[INDEX_GROUP_MEMBER_ID] = {TABLE_GROUP_MEMBER, "egress_group_member_pkey"},
	[INDEX_WORKSPACE_ID] = {TABLE_WORKSPACE, "egress_workspace_pkey"},
	[INDEX_USER_LIMIT_SUBJECT] = {TABLE_USER_LIMIT, "egress_user_limit_subject"},
	[INDEX_LEASE_SESSION] = {TABLE_LEASE, "egress_lease_pkey"},
	[INDEX_LEASE_SLOT] = {TABLE_LEASE, "egress_lease_egress_credential_id_slot_key"},
	[INDEX_LEASE_USER] = {TABLE_LEASE, "egress_lease_user_id_user_slot_key"},
	[INDEX_LEASE_GATEWAY] = {TABLE_LEASE, "egress_lease_gateway"},
	[INDEX_LEASE_EXPIRY_SESSION] = {TABLE_LEASE_EXPIRY, "egress_lease_expiry_pkey"},
	[INDEX_LEASE_EXPIRY_CREDENTIAL] = {TABLE_LEASE_EXPIRY, "egress_lease_expiry_credential"},
	[INDEX_REPORT_GATEWAY] = {TABLE_REPORT, "egress_report_gateway"},
	[INDEX_REPORT_CREDENTIAL] = {TABLE_REPORT, "egress_report_credential"},
};

/* the sequences, each of a table that a version has or has not */
static const struct
{
	EgressTable table;
	const char *name;
}			sequences[EGRESS_SEQUENCE_COUNT] = {
	[SEQUENCE_LEASE_HISTORY] = {TABLE_LEASE_HISTORY, "egress_lease_history_egress_lease_history_id_seq"},
	[SEQUENCE_REPORT] = {TABLE_REPORT, "egress_report_egress_report_id_seq"},
	[SEQUENCE_FAILURE] = {TABLE_FAILURE, "egress_failure_egress_failure_id_seq"},
};

static const char *const type_names[EGRESS_TYPE_COUNT] = {
	[TYPE_PROVIDER_TYPE] = "egress_provider_type",
	[TYPE_SUBJECT_TYPE] = "egress_subject_type",
	[TYPE_SECRET] = "egress_secret",
	[TYPE_CREDENTIAL_ORDER] = "egress_credential_order",
};

static const char *const subject_type_names[EGRESS_SUBJECT_TYPE_COUNT] = {
	[SUBJECT_USER] = "user",
	[SUBJECT_GROUP] = "group",
	[SUBJECT_WORKSPACE] = "workspace",
	[SUBJECT_EVERYONE] = "everyone",
};

static const char *const provider_type_names[EGRESS_PROVIDER_TYPE_COUNT] = {
	[PROVIDER_OPENVPN] = "openvpn",
	[PROVIDER_WIREGUARD] = "wireguard",
	[PROVIDER_CUSTOM] = "custom",
};

static const char *const credential_order_names[EGRESS_CREDENTIAL_ORDER_COUNT] = {
	[ORDER_FIRST] = "first",
	[ORDER_SPREAD] = "spread",
};

static struct
{
	bool		loaded;			/* the OIDs below were read */
	bool		invalidated;	/* since then, something may have changed them */
	Oid			function;		/* the last one that called catalog_use(): a short way to its schema */
	Oid			schema;
	EgressVersion version;
	Oid			tables[EGRESS_TABLE_COUNT];
	Oid			indexes[EGRESS_INDEX_COUNT];
	Oid			sequences[EGRESS_SEQUENCE_COUNT];
	Oid			types[EGRESS_TYPE_COUNT];
	Oid			subject_types[EGRESS_SUBJECT_TYPE_COUNT];
	Oid			provider_types[EGRESS_PROVIDER_TYPE_COUNT];
	Oid			credential_orders[EGRESS_CREDENTIAL_ORDER_COUNT];
}			catalog;

/* invalidate_relation -- a relation changed, perhaps one of ours; InvalidOid: any may have */
static void
invalidate_relation(Datum arg, Oid relid)
{
	if (relid == InvalidOid)
		catalog.invalidated = true;
	for (int i = 0; i < EGRESS_SEQUENCE_COUNT; i++)
		if (catalog.sequences[i] == relid)
			catalog.invalidated = true;
	for (int i = 0; i < EGRESS_TABLE_COUNT; i++)
		if (catalog.tables[i] == relid)
			catalog.invalidated = true;
	for (int i = 0; i < EGRESS_INDEX_COUNT; i++)
		if (catalog.indexes[i] == relid)
			catalog.invalidated = true;
}

/* invalidate_function -- a function changed: perhaps its schema, and, if that was an update, the extension's version */
static void
invalidate_function(Datum arg, int cacheid, uint32 hashvalue)
{
	catalog.function = InvalidOid;
	catalog.invalidated = true;
}

/* catalog_init -- register the callbacks; once, when the library is loaded */
void
catalog_init(void)
{
	CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, invalidate_function, (Datum) 0);
}

/* refuse_missing -- something of the extension is not where it was made */
pg_noreturn static void
refuse_missing(int sqlstate, const char *object)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s of extension egress does not exist", object),
			 errdetail("It was renamed, moved or dropped, or the extension was dropped while this statement ran.")));
}

/* installed_version -- the version of the extension that is installed; 42704 when there is none any more */
static char *
installed_version(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	bool		isnull;
	char	   *version;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("egress"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (!HeapTupleIsValid(row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension egress does not exist"),
				 errdetail("It was dropped while this statement ran.")));
	version = TextDatumGetCString(heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(extensions), &isnull));
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return version;
}

/* find_version -- which version is installed; refuse to read tables of one that this library does not know */
static EgressVersion
find_version(void)
{
	char	   *version = installed_version();

	for (int i = 0; i < EGRESS_VERSION_COUNT; i++)
		if (strcmp(version, version_names[i]) == 0)
		{
			pfree(version);
			return (EgressVersion) i;
		}

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension egress is installed in version %s, and its library is of version " EGRESS_VERSION, version),
			 errhint("Run ALTER EXTENSION egress UPDATE. "
					 "If that was done, connect again: this session has the library of before.")));
}

/* find_relation -- a relation of the extension by its name */
static Oid
find_relation(const char *name)
{
	Oid			relid = get_relname_relid(name, catalog.schema);

	if (!OidIsValid(relid))
		refuse_missing(ERRCODE_UNDEFINED_TABLE, psprintf("relation \"%s\"", name));
	return relid;
}

/* find_type -- a type of the extension by its name */
static Oid
find_type(const char *name)
{
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									   CStringGetDatum(name), ObjectIdGetDatum(catalog.schema));

	if (!OidIsValid(type))
		refuse_missing(ERRCODE_UNDEFINED_OBJECT, psprintf("type \"%s\"", name));
	return type;
}

/* find_labels -- the values of an enum type of the extension, by its labels */
static void
find_labels(EgressType type, const char *const *labels, int count, Oid *values)
{
	for (int i = 0; i < count; i++)
	{
		values[i] = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
									ObjectIdGetDatum(catalog.types[type]), CStringGetDatum(labels[i]));
		if (!OidIsValid(values[i]))
			refuse_missing(ERRCODE_UNDEFINED_OBJECT, psprintf("value \"%s\" of type \"%s\"", labels[i], type_names[type]));
	}
}

/* load -- read the OIDs of the extension in catalog.schema, unless they are there and right */
static void
load(void)
{
	if (catalog.loaded && !catalog.invalidated)
		return;

	/* an error below leaves it not loaded; an invalidation that comes while we read makes it read again */
	catalog.loaded = false;
	catalog.invalidated = false;

	catalog.version = find_version();
	for (int i = 0; i < EGRESS_TABLE_COUNT; i++)
		catalog.tables[i] = catalog_has_table((EgressTable) i) ? find_relation(table_names[i]) : InvalidOid;
	for (int i = 0; i < EGRESS_INDEX_COUNT; i++)
		catalog.indexes[i] = catalog.version < index_since[i].index ? InvalidOid : find_relation(indexes[i].name);
	for (int i = 0; i < EGRESS_SEQUENCE_COUNT; i++)
		catalog.sequences[i] = catalog_has_table(sequences[i].table) ? find_relation(sequences[i].name) : InvalidOid;

	for (int i = 0; i < EGRESS_TYPE_COUNT; i++)
		catalog.types[i] = i == TYPE_CREDENTIAL_ORDER && catalog.version < VERSION_1_0 ? InvalidOid : find_type(type_names[i]);
	find_labels(TYPE_SUBJECT_TYPE, subject_type_names, EGRESS_SUBJECT_TYPE_COUNT, catalog.subject_types);
	find_labels(TYPE_PROVIDER_TYPE, provider_type_names, EGRESS_PROVIDER_TYPE_COUNT, catalog.provider_types);
	if (OidIsValid(catalog.types[TYPE_CREDENTIAL_ORDER]))
		find_labels(TYPE_CREDENTIAL_ORDER, credential_order_names, EGRESS_CREDENTIAL_ORDER_COUNT, catalog.credential_orders);
	catalog.loaded = true;
}

/*
 * lock_gate -- take a lock on the extension as a whole: on egress_provider, before any other table
 *
 * Who is about to lock the others exclusively, to drop or to update the extension, locks this one so first. So that waits here
 * for all who have locked one of them, and has none yet that they need; and who comes later waits here for it. In any other
 * order, two tables are enough for a deadlock. (DROP EXTENSION by itself locks the tables in the order of pg_depend's rows,
 * which is mostly that in which they were made, this one first; but not where a vacuum has made room among those rows.)
 */
static void
lock_gate(void)
{
	Oid			gate;

	do
	{
		gate = catalog.tables[TABLE_PROVIDER];
		LockRelationOid(gate, AccessShareLock);
		load();
	} while (gate != catalog.tables[TABLE_PROVIDER]);
}

/*
 * catalog_use -- make the catalog that of the extension that a function belongs to
 *
 * Called first by every function that SQL calls, before any other lock of ours is taken.
 */
void
catalog_use(Oid function)
{
	if (catalog.function != function)
	{
		Oid			schema = get_func_namespace(function);

		if (catalog.schema != schema)
			catalog.loaded = false;
		catalog.schema = schema;
		catalog.function = function;
	}
	load();
	lock_gate();
}

/* catalog_schema_name -- the schema of the extension; nothing keeps it from being dropped while we wait for a lock */
char *
catalog_schema_name(void)
{
	char	   *name = get_namespace_name(catalog.schema);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("the schema of extension egress does not exist any more")));
	return name;
}

/* catalog_function -- the OID of a function; 42883 when it does not exist any more */
Oid
catalog_function(const char *name, int nargs, const Oid *types)
{
	return LookupFuncName(list_make2(makeString(catalog_schema_name()), makeString(pstrdup(name))), nargs, types, false);
}

/* catalog_trigger_function -- the OID of a trigger function; 42883 when it does not exist any more */
Oid
catalog_trigger_function(const char *name)
{
	return catalog_function(name, 0, NULL);
}

/* catalog_table -- the OID of a table */
Oid
catalog_table(EgressTable table)
{
	return catalog.tables[table];
}

/* catalog_table_of -- which table an OID is; an error when it is none of ours */
EgressTable
catalog_table_of(Oid relid)
{
	for (int i = 0; i < EGRESS_TABLE_COUNT; i++)
		if (catalog.tables[i] == relid)
			return (EgressTable) i;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("table \"%s\" is not one of extension egress", get_rel_name(relid))));
}

/*
 * catalog_index -- the OID of an index
 *
 * Before: its table is locked, so that none which had this name since then is dropped before the lock is gone. Whether it
 * has the name still is known by who has locked the index and asks again: see open_index() in scan.c.
 */
Oid
catalog_index(EgressIndex index)
{
	load();
	return catalog.indexes[index];
}

/* catalog_index_table -- the table that an index is of */
EgressTable
catalog_index_table(EgressIndex index)
{
	return indexes[index].table;
}

/* catalog_has_table -- has the version that is installed a table? */
bool
catalog_has_table(EgressTable table)
{
	return catalog.version >= VERSION_1_0 || (table != TABLE_REPORT && table != TABLE_FAILURE && table != TABLE_USER_LIMIT);
}

/* catalog_has_index -- has the version that is installed an index? */
bool
catalog_has_index(EgressIndex index)
{
	return catalog.version >= index_since[index].index;
}

/* catalog_index_includes -- has an index, in the version that is installed, the columns that came later? */
bool
catalog_index_includes(EgressIndex index)
{
	return catalog.version >= index_since[index].include;
}

/* catalog_version -- the version that is installed */
EgressVersion
catalog_version(void)
{
	return catalog.version;
}

/* catalog_sequence -- the OID of a sequence */
Oid
catalog_sequence(EgressSequence sequence)
{
	return catalog.sequences[sequence];
}

/* catalog_type -- the OID of a type */
Oid
catalog_type(EgressType type)
{
	return catalog.types[type];
}

/* catalog_subject_type -- a label of egress_subject_type as a value */
Datum
catalog_subject_type(EgressSubjectType type)
{
	return ObjectIdGetDatum(catalog.subject_types[type]);
}

/* catalog_subject_label -- which label a value of egress_subject_type is */
EgressSubjectType
catalog_subject_label(Datum value)
{
	for (int type = 0; type < EGRESS_SUBJECT_TYPE_COUNT; type++)
		if (catalog_subject_type(type) == value)
			return type;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("value %u of egress_subject_type does not exist", DatumGetObjectId(value)),
			 errdetail("The type was altered, or the extension was dropped and created again while this statement ran.")));
}

/* catalog_credential_order -- a label of egress_credential_order as a value */
Datum
catalog_credential_order(EgressCredentialOrder order)
{
	return ObjectIdGetDatum(catalog.credential_orders[order]);
}

/* catalog_provider_type -- which label a value of egress_provider_type is */
EgressProviderType
catalog_provider_type(Datum value)
{
	for (int i = 0; i < EGRESS_PROVIDER_TYPE_COUNT; i++)
		if (catalog.provider_types[i] == DatumGetObjectId(value))
			return (EgressProviderType) i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("value %u of egress_provider_type does not exist", DatumGetObjectId(value)),
			 errdetail("The type was altered, or the extension was dropped and created again while this statement ran.")));
}

/* catalog_provider_type_name -- a label of egress_provider_type */
const char *
catalog_provider_type_name(EgressProviderType type)
{
	return provider_type_names[type];
}
