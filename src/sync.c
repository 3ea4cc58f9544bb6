/*
 * sync.c -- egress_sync_gateways(): a managed provider's gateways become those of a list
 *
 * The list is read and checked; one query compares it with the gateways that there are; each kind of change is one
 * statement over all its rows. What is as the list has it is not written.
 *
 * Two syncs of one provider run one after the other: before they look at its gateways they lock its row, to commit. An
 * acquire does not lock that row, and foreign keys lock no more than its key, so nobody else waits. The second sync has
 * to compare with what the first one committed, also when its transaction has an older snapshot. So every statement
 * here runs with the latest snapshot, as a foreign key's own queries do. (At REPEATABLE READ and SERIALIZABLE, a row
 * that somebody changes between such a snapshot and our write of it is a serialization failure.)
 *
 * The updates change no column of a key: acquires, and the foreign keys of leases and selections, do not wait for them.
 *
 * A list that would withdraw most of many gateways is refused: an answer that is empty, or was cut, must not empty the menu.
 *
 * With import, the config of each entry is made by import.c of what is listed; that has to be done each time, because only what
 * comes out can be compared. What is stored of a config may be less than what is listed, too (config_store_to_store()), but the same
 * is stored of the same: so that is asked for where the two differ only.
 *
 * A bad entry refuses the list, or is skipped (skip_bad): then its gateway stays as it is, and all that the list has not, if the
 * entry's name is not known. What reads an entry holds nothing but
 * memory, so an error in there needs no subtransaction to be caught.
 *
 * Configs may hold private keys. No message has anything of one, and errors tell nothing of the statement.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"

#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "config_store.h"
#include "errors.h"
#include "import.h"
#include "query.h"
#include "scan.h"
#include "secret.h"
#include "shape.h"

/* a list that withdraws so many gateways may be one that was cut, and is refused if they are too large a share */
#define MANY_WITHDRAWN 10

/* the share that a list may withdraw by default, as the function's declaration has it; version 0.9 declared none */
#define DEFAULT_MAX_WITHDRAWN 0.5

/* bytes of a gateway's name, country and city, as the table's checks have it */
#define MAX_LENGTH 255

/* how many of the entries that were skipped are named */
#define MAX_SKIPPED_NAMED 20

/* The arguments; version 0.9 has the first two. */
enum
{
	ARG_PROVIDER_ID,
	ARG_GATEWAYS,
	ARG_MAX_WITHDRAWN,
	ARG_IMPORT,
	ARG_FILES,
	ARG_SKIP_BAD
};

/* What an entry of the list says of a gateway. */
typedef enum Field
{
	FIELD_NAME,
	FIELD_COUNTRY,
	FIELD_CITY,
	FIELD_CONFIG
} Field;

#define FIELD_COUNT (FIELD_CONFIG + 1)

static const struct
{
	const char *name;
	bool		required;
	bool		limited;		/* 1 to MAX_LENGTH bytes */
}			fields[FIELD_COUNT] = {
	[FIELD_NAME] = {"name", true, true},
	[FIELD_COUNTRY] = {"country", false, true},
	[FIELD_CITY] = {"city", false, true},
	[FIELD_CONFIG] = {"config", false, false},
};

/* How the row of a gateway is written. */
typedef enum Write
{
	WRITE_NOTHING,
	WRITE_NEW,
	WRITE_CONFIG,				/* and all else */
	WRITE_PLACE,				/* all but the config, which would be checked again */
	WRITE_WITHDRAWN
} Write;

/* A gateway of the list, or one that is missing there. */
typedef struct Gateway
{
	int			number;			/* its entry in the list, from 1; 0: none */
	Datum		values[FIELD_COUNT];	/* text, as listed; of one that is missing, the name */
	bool		nulls[FIELD_COUNT];
	bool		repeats;		/* the name of an entry before it, which has the row */
	Jsonb	   *files;			/* those beside its config, or NULL */
	const char *bad;			/* why it is skipped, or NULL */
	int64		id;				/* once it is known; 0: there is none */
	bool		withdrawn;		/* its row's */
	Datum		stored[FIELD_COUNT];	/* in its row */
	bool		stored_nulls[FIELD_COUNT];
	const char *action;
	Write		write;
} Gateway;

/* How often imports took out a directive. */
typedef struct Removed
{
	const char *directive;
	int			lines;
} Removed;

/* A sync at work. */
typedef struct Sync
{
	/* what never changes */
	int64		provider_id;
	double		max_withdrawn;
	bool		import;
	EgressConfigFiles *files;	/* those beside all configs, or NULL */
	bool		skip_bad;
	EgressProviderType type;	/* of the provider, once it is locked */
	char	   *name;

	/* what has been found out */
	List	   *gateways;		/* of the list; then those that are missing there, too */
	int			withdrawn;		/* how many are missing there, and were not withdrawn before */
	int			present;		/* how many there were that were not withdrawn before */
	int			skipped;
	bool		skipped_unnamed;	/* an entry whose name is not known: it may be any gateway, and none is withdrawn */
	List	   *removed;		/* of Removed */
	int			removed_from;	/* from so many configs */
	List	   *secrets;		/* names of what is secret in the configs to be stored */
	int			with_secrets;	/* so many of them have some */
	const char *left_out;		/* name of what is not stored of configs */
	int			left_out_of;	/* of so many */
} Sync;

/* Something to be done with an entry of the list. */
typedef void (*EntryWork) (Sync *sync, Gateway *gateway, void *arg);

/* What read_entry() reads, and the names before it. */
typedef struct ReadEntry
{
	JsonbValue *entry;
	HTAB	   *names;
} ReadEntry;

/* What make_config() finds. */
typedef struct MadeConfig
{
	List	   *removed;		/* of EgressConfigRemoval, in what was imported */
	List	   *secrets;		/* names of what is secret, in what differs from the row */
	const char *left_out;		/* name of what is not stored of that, or NULL */
} MadeConfig;

/* An entry of the hash table of names. */
typedef struct ListedName
{
	char		name[MAX_LENGTH + 1];
	int			number;
} ListedName;

/* The parameters that all queries have. */
#define PARAMETERS 6
static Oid	parameter_types[PARAMETERS] = {
	INT8OID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID
};

/*
 * %1$s stands for the quoted schema. $1 is the provider; $2 to $6 are ids, names, countries, cities and configs of
 * gateways, in their order. Operators and functions are those of pg_catalog: the function's search_path has no others.
 */
#define LOCK_PROVIDER_QUERY \
	"SELECT name, managed, provider_type FROM %1$s.egress_provider WHERE egress_provider_id = $1 FOR NO KEY UPDATE"

enum
{
	PROVIDER_NAME = 1,
	PROVIDER_MANAGED,
	PROVIDER_TYPE
};

/* a row for each of the list, and one for each that is missing there and was not so before */
#define COMPARE_QUERY \
	"SELECT l.number, g.egress_gateway_id, g.withdrawn, g.name, g.country, g.city, g.config" \
	" FROM unnest($3) WITH ORDINALITY AS l (name, number)" \
	" FULL JOIN (SELECT * FROM %1$s.egress_gateway WHERE egress_provider_id = $1) AS g ON g.name = l.name" \
	" WHERE l.number IS NOT NULL OR NOT g.withdrawn"

enum
{
	COMPARE_NUMBER = 1,
	COMPARE_ID,
	COMPARE_WITHDRAWN,
	COMPARE_FIELDS				/* in the order of Field */
};

static const char *const write_queries[] = {
	/* ids in the list's order; they come back in it */
	[WRITE_NEW] =
	"INSERT INTO %1$s.egress_gateway (egress_provider_id, name, country, city, config, enabled)"
	" SELECT $1, l.name, l.country, l.city, l.config, p.enable_new_managed_gateways"
	" FROM %1$s.egress_provider p, unnest($3, $4, $5, $6) WITH ORDINALITY AS l (name, country, city, config, number)"
	" WHERE p.egress_provider_id = $1 ORDER BY l.number RETURNING egress_gateway_id",
	[WRITE_CONFIG] =
	"UPDATE %1$s.egress_gateway g SET country = l.country, city = l.city, config = l.config, withdrawn = false"
	" FROM unnest($2, $4, $5, $6) AS l (id, country, city, config) WHERE g.egress_gateway_id = l.id",
	[WRITE_PLACE] =
	"UPDATE %1$s.egress_gateway g SET country = l.country, city = l.city, withdrawn = false"
	" FROM unnest($2, $4, $5) AS l (id, country, city) WHERE g.egress_gateway_id = l.id",
	[WRITE_WITHDRAWN] =
	"UPDATE %1$s.egress_gateway g SET withdrawn = true FROM unnest($2) AS l (id) WHERE g.egress_gateway_id = l.id",
};

#define RESULT_COLUMNS 3
#define RESULT_TYPES "tit"

PG_FUNCTION_INFO_V1(egress_sync_gateways);

/* entry_label -- an entry for a message; name may be NULL */
static char *
entry_label(int number, const char *name)
{
	return name == NULL ? psprintf("entry %d of the list", number) :
		psprintf("entry %d of the list (\"%s\")", number, name);
}

/* refuse_entry -- raise 22023 for an entry that is malformed */
pg_noreturn static void
refuse_entry(int number, const char *name, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s is malformed", entry_label(number, name)),
			 errdetail_internal("%s", detail),
			 errhint("An entry is an object with the strings name, country, city, config, and with files for an import; only name must be there.")));
}

/* read_field -- a field of an entry as text; false when it is absent or null */
static bool
read_field(JsonbContainer *entry, Field field, int number, const char *name, Datum *value)
{
	const char *label = fields[field].name;
	JsonbValue	found;

	if (getKeyJsonValueFromContainer(entry, label, strlen(label), &found) == NULL)
	{
		if (fields[field].required)
			refuse_entry(number, name, psprintf("It has no %s.", label));
		return false;
	}
	if (found.type == jbvNull && !fields[field].required)
		return false;
	if (found.type != jbvString)
		refuse_entry(number, name,
					 psprintf("Its %s is of type %s; it has to be a string.", label, JsonbTypeName(&found)));
	if (fields[field].limited && (found.val.string.len == 0 || found.val.string.len > MAX_LENGTH))
		refuse_entry(number, name,
					 psprintf("Its %s has %d bytes; it has to have 1 to %d.", label, found.val.string.len, MAX_LENGTH));
	*value = PointerGetDatum(cstring_to_text_with_len(found.val.string.val, found.val.string.len));
	return true;
}

/* read_files -- the files of an entry; NULL when there are none */
static Jsonb *
read_files(JsonbContainer *entry, int number, const char *name)
{
	JsonbValue	found;

	if (getKeyJsonValueFromContainer(entry, "files", strlen("files"), &found) == NULL || found.type == jbvNull)
		return NULL;
	if (found.type != jbvBinary || !JsonContainerIsObject(found.val.binary.data))
		refuse_entry(number, name, psprintf("Its files are of type %s; they have to be an object.", JsonbTypeName(&found)));
	return JsonbValueToJsonb(&found);
}

/* read_entry -- fill a gateway of the list; 22023 when its entry is malformed, or its name was there before; an EntryWork */
static void
read_entry(Sync *sync, Gateway *gateway, void *arg)
{
	JsonbValue *entry = ((ReadEntry *) arg)->entry;
	int			number = gateway->number;
	char	   *name;
	ListedName *listed;

	if (entry->type != jbvBinary || !JsonContainerIsObject(entry->val.binary.data))
		refuse_entry(number, NULL, psprintf("It is of type %s.", JsonbTypeName(entry)));

	gateway->nulls[FIELD_NAME] = !read_field(entry->val.binary.data, FIELD_NAME, number, NULL, &gateway->values[FIELD_NAME]);
	name = TextDatumGetCString(gateway->values[FIELD_NAME]);
	listed = hash_search(((ReadEntry *) arg)->names, name, HASH_ENTER, &gateway->repeats);
	if (gateway->repeats)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s repeats the name of entry %d", entry_label(number, name), listed->number),
				 errdetail("A gateway is known by its name, which is unique within its provider.")));
	listed->number = number;

	for (int field = FIELD_COUNTRY; field < FIELD_COUNT; field++)
		gateway->nulls[field] = !read_field(entry->val.binary.data, field, number, name, &gateway->values[field]);
	if (sync->import)
		gateway->files = read_files(entry->val.binary.data, number, name);
	pfree(name);
}

/*
 * try_entry -- do something with an entry; false when it is bad, and skipped
 *
 * An error of a bad entry names it, or becomes the reason for which it is skipped. What is done holds nothing but memory of the
 * current context.
 */
static bool
try_entry(Sync *sync, Gateway *gateway, EntryWork work, void *arg)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		work(sync, gateway, arg);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		bool		read = work == read_entry;
		bool		bad;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		/* what cannot be read is the entry, or its files */
		bad = error->sqlerrcode == ERRCODE_EGRESS_CONFIG || error->sqlerrcode == ERRCODE_INVALID_PARAMETER_VALUE;
		if (bad && !read)
			error->message = psprintf("%s: %s",
									  entry_label(gateway->number, TextDatumGetCString(gateway->values[FIELD_NAME])),
									  error->message);
		if (!bad || !sync->skip_bad)
			ReThrowError(error);
		/* of a config with several bad lines, the reason of the first is enough */
		gateway->bad = error->detail == NULL ? error->message :
			psprintf("%s. %.*s", error->message, (int) strcspn(error->detail, "\n"), error->detail);
		sync->skipped++;
		sync->skipped_unnamed = sync->skipped_unnamed || gateway->nulls[FIELD_NAME];
	}
	PG_END_TRY();
	return gateway->bad == NULL;
}

/* read_list -- read the gateways of the list; 22023 when it is malformed */
static void
read_list(Sync *sync, Jsonb *list)
{
	HASHCTL		control = {.keysize = MAX_LENGTH + 1, .entrysize = sizeof(ListedName), .hcxt = CurrentMemoryContext};
	HTAB	   *names = hash_create("egress listed names", 1024, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	ReadEntry	read = {&value, names};

	if (!JB_ROOT_IS_ARRAY(list) || JB_ROOT_IS_SCALAR(list))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gateways must be a JSON array"),
				 errhint("An array without entries withdraws every gateway of the provider, if max_withdrawn lets it.")));

	iterator = JsonbIteratorInit(&list->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		Gateway    *gateway;

		CHECK_FOR_INTERRUPTS();
		if (token != WJB_ELEM)
			continue;
		gateway = palloc0(sizeof(Gateway));
		sync->gateways = lappend(sync->gateways, gateway);
		gateway->number = list_length(sync->gateways);
		memset(gateway->nulls, true, sizeof(gateway->nulls));
		(void) try_entry(sync, gateway, read_entry, &read);
	}
	hash_destroy(names);
}

/* text_array -- a field of some gateways */
static Datum
text_array(List *gateways, Field field)
{
	int			count = list_length(gateways);
	Datum	   *values = palloc(count * sizeof(Datum));
	bool	   *nulls = palloc(count * sizeof(bool));
	int			lower_bound = 1;

	for (int i = 0; i < count; i++)
	{
		Gateway    *gateway = list_nth(gateways, i);

		values[i] = gateway->values[field];
		nulls[i] = gateway->nulls[field] || gateway->repeats;
	}
	return PointerGetDatum(construct_md_array(values, nulls, 1, &count, &lower_bound,
											  TEXTOID, -1, false, TYPALIGN_INT));
}

/* id_array -- the ids of some gateways */
static Datum
id_array(List *gateways)
{
	int			count = list_length(gateways);
	Datum	   *values = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		values[i] = Int64GetDatum(((Gateway *) list_nth(gateways, i))->id);
	return PointerGetDatum(construct_array(values, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* refuse_kept -- raise 55000: somebody's trigger or rule keeps the list from being written */
pg_noreturn static void
refuse_kept(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the gateways cannot be written"),
			 errdetail_internal("%s", detail),
			 errhint("Look for triggers and rules of egress_gateway that are not those of extension egress.")));
}

/*
 * execute -- run a query about a provider and some gateways with the latest snapshot; fails unless it ends as expected
 *
 * The configs are most of a list: the query gets them, and countries and cities, only with all_fields, and by a generic
 * plan, into which they are not copied.
 */
static void
execute(const char *format, int expected, int64 provider_id, List *gateways, bool all_fields)
{
	char	   *query = psprintf(format, query_schema());
	SPIPlanPtr	plan = query_prepare(query, PARAMETERS, parameter_types, CURSOR_OPT_GENERIC_PLAN);
	Datum		values[PARAMETERS] = {Int64GetDatum(provider_id), id_array(gateways)};
	int			result;

	for (int field = 0; field < FIELD_COUNT; field++)
		values[2 + field] = text_array(all_fields || field == FIELD_NAME ? gateways : NIL, field);
	result = query_run(plan, values, NULL, GetLatestSnapshot(), false, 0);
	if (result != expected)
		refuse_kept(psprintf("A statement ended with %s.", SPI_result_code_string(result)));
	SPI_freeplan(plan);
}

/* flag -- a boolean column of a row of the query that ran last; NULL is false */
static bool
flag(uint64 row, int number)
{
	Datum		value;

	return query_value(row, number, &value) && DatumGetBool(value);
}

/* lock_provider -- lock the provider's row to commit, and get its type and name; 22023 or 55000 when it cannot have a list */
static void
lock_provider(Sync *sync)
{
	Datum		type;

	execute(LOCK_PROVIDER_QUERY, SPI_OK_SELECT, sync->provider_id, NIL, false);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("provider " INT64_FORMAT " does not exist", sync->provider_id)));
	sync->name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, PROVIDER_NAME);
	if (!flag(0, PROVIDER_MANAGED))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("provider " INT64_FORMAT " \"%s\" is not managed", sync->provider_id, sync->name),
				 errdetail("Its gateways are made by hand; a list would withdraw those that it does not have."),
				 errhint("If its gateways are to come from lists, set managed in egress_provider.")));
	(void) query_value(0, PROVIDER_TYPE, &type);
	sync->type = catalog_provider_type(type);
}

/* differs -- is a field of a gateway, as it is to be stored, not what its row has? */
static bool
differs(const Gateway *gateway, Field field)
{
	if (gateway->stored_nulls[field] || gateway->nulls[field])
		return gateway->stored_nulls[field] != gateway->nulls[field];
	/* two configs of different length are different without being detoasted */
	return !DatumGetBool(DirectFunctionCall2Coll(texteq, DEFAULT_COLLATION_OID, gateway->stored[field], gateway->values[field]));
}

/* missing_gateway -- a gateway that is not in the list, from the current row */
static Gateway *
missing_gateway(uint64 row)
{
	Gateway    *gateway = palloc0(sizeof(Gateway));

	for (int field = 0; field < FIELD_COUNT; field++)
		gateway->nulls[field] = field != FIELD_NAME;
	(void) query_value(row, COMPARE_FIELDS + FIELD_NAME, &gateway->values[FIELD_NAME]);
	gateway->action = "withdrawn";
	gateway->write = WRITE_WITHDRAWN;
	return gateway;
}

/* compare_names -- in the database's collation, as the menu has them */
static int
compare_names(const ListCell *a, const ListCell *b)
{
	text	   *left = DatumGetTextPP(((Gateway *) lfirst(a))->values[FIELD_NAME]);
	text	   *right = DatumGetTextPP(((Gateway *) lfirst(b))->values[FIELD_NAME]);

	return varstr_cmp(VARDATA_ANY(left), VARSIZE_ANY_EXHDR(left), VARDATA_ANY(right), VARSIZE_ANY_EXHDR(right),
					  DEFAULT_COLLATION_OID);
}

/*
 * compare -- find the row of each gateway, if it has one; those missing in the list are appended to it, by name, to be withdrawn
 *
 * What is known of the rows stays until SPI_finish().
 */
static void
compare(Sync *sync)
{
	List	   *missing = NIL;

	execute(COMPARE_QUERY, SPI_OK_SELECT, sync->provider_id, sync->gateways, false);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Gateway    *gateway;
		Datum		number;
		Datum		id;

		CHECK_FOR_INTERRUPTS();
		/* an entry's, or that of a gateway which is in none */
		if (sync->gateways != NIL && query_value(row, COMPARE_NUMBER, &number))
			gateway = list_nth(sync->gateways, DatumGetInt64(number) - 1);
		else if (sync->skipped_unnamed)
			continue;
		else
		{
			gateway = missing_gateway(row);
			missing = lappend(missing, gateway);
		}
		if (!query_value(row, COMPARE_ID, &id))
			continue;
		gateway->id = DatumGetInt64(id);
		gateway->withdrawn = flag(row, COMPARE_WITHDRAWN);
		for (int field = 0; field < FIELD_COUNT; field++)
			gateway->stored_nulls[field] = !query_value(row, COMPARE_FIELDS + field, &gateway->stored[field]);
		if (!gateway->withdrawn)
			sync->present++;
	}
	sync->withdrawn = list_length(missing);
	/* here and not in the query, which would sort all configs with them */
	list_sort(missing, compare_names);
	sync->gateways = list_concat(sync->gateways, missing);
}

/* get_max_withdrawn -- the argument max_withdrawn; 22004 or 22023 when it is no share */
static double
get_max_withdrawn(FunctionCallInfo fcinfo)
{
	double		share;

	if (PG_NARGS() <= ARG_MAX_WITHDRAWN)
		return DEFAULT_MAX_WITHDRAWN;
	argument_check_not_null(fcinfo, ARG_MAX_WITHDRAWN, "max_withdrawn");
	share = PG_GETARG_FLOAT8(ARG_MAX_WITHDRAWN);
	/* NaN is neither */
	if (!(share >= 0 && share <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_withdrawn must be from 0 to 1"),
				 errdetail("It is %g; the share of the provider's gateways that the list may withdraw is meant.", share)));
	return share;
}

/* check_withdrawn -- raise NG010 for a list that would withdraw too many of the gateways that are not yet */
static void
check_withdrawn(FunctionCallInfo fcinfo, Sync *sync)
{
	/* as a quotient, because that of two numbers is as a share is written: 29 of 100 are 0.29, and 0.29 times 100 is less */
	if (sync->withdrawn < MANY_WITHDRAWN || (double) sync->withdrawn / sync->present <= sync->max_withdrawn)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_TOO_MANY_WITHDRAWN),
			 errmsg("the list would withdraw %d of the %d gateways of provider " INT64_FORMAT " \"%s\"",
					sync->withdrawn, sync->present, sync->provider_id, sync->name),
			 errdetail("That is more than max_withdrawn, a share of %g, and nothing was changed.", sync->max_withdrawn),
			 PG_NARGS() > ARG_MAX_WITHDRAWN ?
			 errhint("Look whether the list is whole. If it is, give egress_sync_gateways() a max_withdrawn of 1.") :
			 errhint("Look whether the list is whole. If it is, run ALTER EXTENSION egress UPDATE, and then give "
					 "egress_sync_gateways() a max_withdrawn of 1.")));
}

/* make_config -- let the config that a gateway has be what is to be stored; an EntryWork */
static void
make_config(Sync *sync, Gateway *gateway, void *arg)
{
	MadeConfig *made = arg;
	text	   *config = DatumGetTextPP(gateway->values[FIELD_CONFIG]);

	if (sync->import)
		config = import_config(sync->type, config, gateway->files ? import_files(gateway->files) : NULL, sync->files,
							   &made->removed);
	gateway->values[FIELD_CONFIG] = PointerGetDatum(config);
	if (gateway->id == 0 || differs(gateway, FIELD_CONFIG))
		gateway->values[FIELD_CONFIG] = PointerGetDatum(config_store_to_store(sync->type, config, &made->secrets, &made->left_out));
}

/* count_removed -- add what an import took out of a config to what imports took out of all */
static void
count_removed(Sync *sync, List *removed)
{
	ListCell   *cell;

	if (removed != NIL)
		sync->removed_from++;
	foreach(cell, removed)
	{
		const char *directive = ((EgressConfigRemoval *) lfirst(cell))->directive;
		Removed    *found = NULL;
		ListCell   *other;

		if (directive == NULL)
			directive = "unknown directive";
		foreach(other, sync->removed)
		{
			if (strcmp(((Removed *) lfirst(other))->directive, directive) == 0)
				found = lfirst(other);
		}
		if (found == NULL)
		{
			found = palloc0(sizeof(Removed));
			found->directive = pstrdup(directive);
			sync->removed = lappend(sync->removed, found);
		}
		found->lines++;
	}
}

/* add_secrets -- add what is secret in a config to what is in all of those that are to be written */
static void
add_secrets(Sync *sync, List *secrets)
{
	ListCell   *cell;

	if (secrets != NIL)
		sync->with_secrets++;
	foreach(cell, secrets)
	{
		const char *name = lfirst(cell);
		bool		known = false;
		ListCell   *other;

		foreach(other, sync->secrets)
			known |= strcmp(lfirst(other), name) == 0;
		if (!known)
			sync->secrets = lappend(sync->secrets, pstrdup(name));
	}
}

/*
 * decide -- find out what is to be done about a gateway of the list
 *
 * The current memory context is one for this gateway alone; kept is for what stays.
 */
static void
decide(Sync *sync, Gateway *gateway, MemoryContext kept)
{
	MadeConfig	made = {NIL, NIL, NULL};
	Datum		listed = gateway->values[FIELD_CONFIG];

	if (gateway->bad == NULL && !gateway->nulls[FIELD_CONFIG] && !try_entry(sync, gateway, make_config, &made))
		gateway->bad = MemoryContextStrdup(kept, gateway->bad);
	if (gateway->bad != NULL)
	{
		gateway->action = "skipped";
		return;
	}

	if (gateway->id == 0)
		gateway->write = WRITE_NEW;
	else if (differs(gateway, FIELD_CONFIG))
		gateway->write = WRITE_CONFIG;
	else if (gateway->withdrawn || differs(gateway, FIELD_COUNTRY) || differs(gateway, FIELD_CITY))
		gateway->write = WRITE_PLACE;
	gateway->action = gateway->id == 0 ? "added" : gateway->withdrawn ? "returned" :
		gateway->write == WRITE_NOTHING ? "unchanged" : "updated";

	MemoryContextSwitchTo(kept);
	count_removed(sync, made.removed);
	/* what is not written does not stay */
	if (gateway->write != WRITE_NEW && gateway->write != WRITE_CONFIG)
		gateway->nulls[FIELD_CONFIG] = true;
	if (gateway->nulls[FIELD_CONFIG])
		return;
	add_secrets(sync, made.secrets);
	if (made.left_out != NULL)
	{
		sync->left_out = made.left_out;
		sync->left_out_of++;
	}
	if (gateway->values[FIELD_CONFIG] != listed)
		gateway->values[FIELD_CONFIG] = PointerGetDatum(DatumGetTextPCopy(gateway->values[FIELD_CONFIG]));
}

/*
 * decide_all -- find out what is to be done about each gateway of the list; NG007 names the entry
 *
 * The table's trigger checks a config in any case, but it does not know which entry of the list it has before it.
 */
static void
decide_all(Sync *sync)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "egress config", ALLOCSET_DEFAULT_SIZES);
	MemoryContext kept = CurrentMemoryContext;
	ListCell   *cell;

	foreach(cell, sync->gateways)
	{
		Gateway    *gateway = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (gateway->number == 0)
			continue;
		MemoryContextSwitchTo(context);
		decide(sync, gateway, kept);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(kept);
	MemoryContextDelete(context);
}

/* tell_removed -- say what imports took out */
static void
tell_removed(const Sync *sync)
{
	StringInfoData list;
	int			lines = 0;
	ListCell   *cell;

	if (sync->removed == NIL)
		return;
	initStringInfo(&list);
	foreach(cell, sync->removed)
	{
		const Removed *removed = lfirst(cell);

		lines += removed->lines;
		appendStringInfo(&list, "%s%s: %d", list.len > 0 ? ", " : "", removed->directive, removed->lines);
	}
	ereport(NOTICE,
			(errmsg("the import took %d line%s out of %d config%s",
					lines, lines == 1 ? "" : "s", sync->removed_from, sync->removed_from == 1 ? "" : "s"),
			 errdetail_internal("%s.", list.data),
			 errhint("egress_import_config() tells of one config which lines these are, and why.")));
}

/* tell_skipped -- warn of the entries that were skipped */
static void
tell_skipped(const Sync *sync)
{
	StringInfoData list;
	int			named = 0;
	ListCell   *cell;

	if (sync->skipped == 0)
		return;
	initStringInfo(&list);
	foreach(cell, sync->gateways)
	{
		const Gateway *gateway = lfirst(cell);

		if (gateway->bad != NULL && named++ < MAX_SKIPPED_NAMED)
			appendStringInfo(&list, "%s%s", list.len > 0 ? "\n" : "", gateway->bad);
	}
	if (named > MAX_SKIPPED_NAMED)
		appendStringInfo(&list, "\nand %d more", named - MAX_SKIPPED_NAMED);
	if (sync->skipped_unnamed)
		appendStringInfoString(&list, "\nNo gateway is withdrawn: an entry whose name cannot be read may be that of any.");
	ereport(WARNING,
			(errmsg_plural("%d entry of the list was skipped", "%d entries of the list were skipped",
						   sync->skipped, sync->skipped),
			 errdetail_internal("%s", list.data),
			 errhint("Gateways of these names stay as they are.")));
}

/* entries_label -- how many entries, for a message */
static const char *
entries_label(int count)
{
	return count == 1 ? "an entry of the list" : psprintf("%d entries of the list", count);
}

/* tell_stored -- tell of what is not stored of the configs to be written, and of secrets in them; before the first one does */
static void
tell_stored(const Sync *sync)
{
	config_store_tell_left_out(entries_label(sync->left_out_of), sync->left_out);
	config_store_warn(entries_label(sync->with_secrets), sync->secrets);
}

/* write_gateways -- make the changes of one kind; afterwards new gateways have their ids */
static void
write_gateways(int64 provider_id, List *gateways, Write write)
{
	List	   *chosen = NIL;
	ListCell   *cell;

	foreach(cell, gateways)
	{
		if (((Gateway *) lfirst(cell))->write == write)
			chosen = lappend(chosen, lfirst(cell));
	}
	if (chosen == NIL)
		return;

	execute(write_queries[write], write == WRITE_NEW ? SPI_OK_INSERT_RETURNING : SPI_OK_UPDATE, provider_id, chosen,
			true);
	if (write == WRITE_NEW)
	{
		if (SPI_processed != (uint64) list_length(chosen))
			refuse_kept(psprintf("Of %d gateways " UINT64_FORMAT " were added.", list_length(chosen), SPI_processed));
		foreach(cell, chosen)
		{
			Datum		id;

			(void) query_value(foreach_current_index(cell), 1, &id);
			((Gateway *) lfirst(cell))->id = DatumGetInt64(id);
		}
	}
}

/* put_result -- a row for each gateway */
static void
put_result(ReturnSetInfo *result, List *gateways)
{
	ListCell   *cell;

	foreach(cell, gateways)
	{
		Gateway    *gateway = lfirst(cell);
		Datum		values[RESULT_COLUMNS] = {CStringGetTextDatum(gateway->action), Int64GetDatum(gateway->id),
		gateway->values[FIELD_NAME]};
		bool		nulls[RESULT_COLUMNS] = {false, gateway->id == 0, gateway->nulls[FIELD_NAME]};

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		pfree(DatumGetPointer(values[0]));
	}
}

/* get_flag -- an argument that is on or off; off in a version that has not got it; 22004 when it is NULL */
static bool
get_flag(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (argno >= PG_NARGS())
		return false;
	argument_check_not_null(fcinfo, argno, name);
	return PG_GETARG_BOOL(argno);
}

/* get_files -- the argument files, NULL when it is; 22023 when files are for nothing, or cannot be read */
static EgressConfigFiles *
get_files(FunctionCallInfo fcinfo, bool import)
{
	if (!argument_is_given(fcinfo, ARG_FILES))
		return NULL;
	if (!import)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("files are for an import"),
				 errdetail("A config that is not imported names no files."),
				 errhint("Set import to true.")));
	return import_files(PG_GETARG_JSONB_P(ARG_FILES));
}

/* egress_sync_gateways -- see COMMENT ON FUNCTION */
Datum
egress_sync_gateways(PG_FUNCTION_ARGS)
{
	EgressSecretHush hush;
	Sync		sync = {0};

	PreventCommandIfReadOnly("egress_sync_gateways()");
	PreventCommandIfParallelMode("egress_sync_gateways()");
	argument_check_not_null(fcinfo, ARG_PROVIDER_ID, "egress_provider_id");
	argument_check_not_null(fcinfo, ARG_GATEWAYS, "gateways");
	sync.provider_id = PG_GETARG_INT64(ARG_PROVIDER_ID);
	sync.max_withdrawn = get_max_withdrawn(fcinfo);
	sync.import = get_flag(fcinfo, ARG_IMPORT, "import");
	sync.skip_bad = get_flag(fcinfo, ARG_SKIP_BAD, "skip_bad");
	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	shape_check_result(((ReturnSetInfo *) fcinfo->resultinfo)->setDesc, "egress_synced_gateway", RESULT_TYPES);

	secret_hush(&hush, psprintf("sync of provider " INT64_FORMAT, sync.provider_id));
	sync.files = get_files(fcinfo, sync.import);
	read_list(&sync, PG_GETARG_JSONB_P(ARG_GATEWAYS));

	query_connect();
	table_close(scan_open_table(TABLE_GATEWAY, RowExclusiveLock), NoLock);
	lock_provider(&sync);
	compare(&sync);
	check_withdrawn(fcinfo, &sync);
	decide_all(&sync);
	tell_removed(&sync);
	tell_skipped(&sync);
	tell_stored(&sync);
	for (Write write = WRITE_NEW; write <= WRITE_WITHDRAWN; write++)
		write_gateways(sync.provider_id, sync.gateways, write);
	put_result((ReturnSetInfo *) fcinfo->resultinfo, sync.gateways);
	SPI_finish();
	secret_unhush(&hush);

	return (Datum) 0;
}
