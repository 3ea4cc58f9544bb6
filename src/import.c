/*
 * import.c -- egress_import_config, egress_import_credential: files as providers publish them
 *
 * What an import does with a line is decided by the parsers (config.h), in the same pass that checks it. Here is what comes
 * from SQL and goes back: the files beside the config, and the list of what was taken out. Nothing is read from the tables.
 */
#include "import.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "argument.h"
#include "compat.h"
#include "secret.h"
#include "shape.h"

/* the columns of egress_imported_credential; egress_imported_config has the first two */
enum
{
	IMPORTED_CONFIG,
	IMPORTED_REMOVED,
	IMPORTED_USERNAME,
	IMPORTED_PASSWORD,
	IMPORTED_CLIENT_CERTIFICATE,
	IMPORTED_CLIENT_KEY,
	IMPORTED_PRIVATE_KEY,
	IMPORTED_ADDRESS,
	IMPORTED_PRESHARED_KEY,
	IMPORTED_COLUMNS
};

/* and their types: shape.c */
#define IMPORTED_CONFIG_TYPES "tl"
#define IMPORTED_CREDENTIAL_TYPES "tlttttttt"

PG_FUNCTION_INFO_V1(egress_import_config);
PG_FUNCTION_INFO_V1(egress_import_credential);

/* refuse_files -- raise 22023; names and contents may be secret, or have been confused with each other, and are not shown */
pg_noreturn static void
refuse_files(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("files must be a JSON object of files by name"),
			 errdetail_internal("%s", detail),
			 errhint("A text file is a string; a binary one is an object {\"base64\": \"...\"}.")));
}

/* read_base64 -- the bytes of a binary file */
static void
read_base64(EgressConfigFile *file, JsonbContainer *object)
{
	JsonbValue	found;
	const char *stopped;
	const char *end;
	char	   *bytes;

	if (!JsonContainerIsObject(object) || JsonContainerSize(object) != 1 ||
		getKeyJsonValueFromContainer(object, "base64", strlen("base64"), &found) == NULL || found.type != jbvString)
		refuse_files("One of the files is neither a string nor an object with base64 alone.");
	end = found.val.string.val + found.val.string.len;
	bytes = palloc(found.val.string.len + 1);
	file->length = config_base64_decode(found.val.string.val, end, bytes, &stopped);
	if (stopped < end)
		refuse_files("The base64 of one of the files cannot be read.");
	bytes[file->length] = '\0';
	file->content = bytes;
	file->is_binary = true;
	file->is_text = memchr(bytes, '\0', file->length) == NULL &&
		pg_verify_mbstr(GetDatabaseEncoding(), bytes, (int) file->length, true);
}

/* import_files -- files beside a config, or beside those of a list, as an import looks them up; 22023 for what is none */
EgressConfigFiles *
import_files(Jsonb *files)
{
	EgressConfigFiles *list;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(files))
		refuse_files("It is no object.");
	list = palloc0(sizeof(EgressConfigFiles));
	list->items = palloc0((JB_ROOT_COUNT(files) + 1) * sizeof(EgressConfigFile));
	iterator = JsonbIteratorInit(&files->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		EgressConfigFile *file = &list->items[list->count];

		CHECK_FOR_INTERRUPTS();
		if (token == WJB_KEY)
			file->name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		if (value.type == jbvString)
		{
			file->content = pnstrdup(value.val.string.val, value.val.string.len);
			file->length = value.val.string.len;
			file->is_text = true;
		}
		else if (value.type == jbvBinary)
			read_base64(file, value.val.binary.data);
		else
			refuse_files(psprintf("One of the files is of type %s.", JsonbTypeName(&value)));
		list->count++;
	}
	config_sort_files(list);
	return list;
}

/* import -- make a config that passes the check of a provider's type, as the import says; NG007 if that cannot be */
static text *
import(EgressProviderType type, text *source, EgressConfigImport *state)
{
	switch (type)
	{
		case PROVIDER_OPENVPN:
			return config_openvpn_import(source, state);
		case PROVIDER_WIREGUARD:
			return config_wireguard_import(source, state);
		case PROVIDER_CUSTOM:
			return source;
	}
	return NULL;				/* unreachable */
}

/*
 * import_config -- a config that passes the check of a provider's type, from a file as the provider publishes it
 *
 * files has its own, shared_files those for what it has none of its own; each may be NULL. *removed is a list of EgressConfigRemoval,
 * by line.
 */
text *
import_config(EgressProviderType type, text *source, const EgressConfigFiles *files, const EgressConfigFiles *shared_files, List **removed)
{
	EgressConfigImport state = {.files = files, .shared_files = shared_files};
	text	   *config = import(type, source, &state);

	*removed = state.removed;
	return config;
}

/* import_removal -- a line that was taken out, as users are told of it */
char *
import_removal(const EgressConfigRemoval *removal)
{
	return psprintf("line %d: %s: %s", removal->number, removal->directive ? removal->directive : "unknown directive",
					removal->reason);
}

/* removal_array -- all that was taken out, as text[] */
static Datum
removal_array(List *removed)
{
	Datum	   *values = palloc((list_length(removed) + 1) * sizeof(Datum));

	for (int i = 0; i < list_length(removed); i++)
		values[i] = CStringGetTextDatum(import_removal(list_nth(removed, i)));
	return PointerGetDatum(construct_array(values, list_length(removed), TEXTOID, -1, false, TYPALIGN_INT));
}

/* import_result -- import what SQL gave, as the row that it gets back */
static Datum
import_result(FunctionCallInfo fcinfo, bool apart, const char *type_name, const char *types)
{
	EgressConfigImport state = {.apart = apart};
	Datum		values[IMPORTED_COLUMNS];
	bool		nulls[IMPORTED_COLUMNS] = {false};
	EgressSecretHush hush;
	TupleDesc	desc;
	HeapTuple	row;
	char	   *parts[IMPORTED_COLUMNS];

	argument_check_not_null(fcinfo, 0, "provider_type");
	argument_check_not_null(fcinfo, 1, "source");
	catalog_use(fcinfo->flinfo->fn_oid);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	shape_check_result(desc, type_name, types);

	secret_hush(&hush, "import of a config");
	if (!PG_ARGISNULL(2))
		state.files = import_files(PG_GETARG_JSONB_P(2));
	values[IMPORTED_CONFIG] =
		PointerGetDatum(import(catalog_provider_type(PG_GETARG_DATUM(0)), PG_GETARG_TEXT_PP(1), &state));
	values[IMPORTED_REMOVED] = removal_array(state.removed);
	parts[IMPORTED_USERNAME] = state.username;
	parts[IMPORTED_PASSWORD] = state.password;
	parts[IMPORTED_CLIENT_CERTIFICATE] = state.client_certificate;
	parts[IMPORTED_CLIENT_KEY] = state.client_key;
	parts[IMPORTED_PRIVATE_KEY] = state.private_key;
	parts[IMPORTED_ADDRESS] = state.address;
	parts[IMPORTED_PRESHARED_KEY] = state.preshared_key;
	for (int i = IMPORTED_USERNAME; i < IMPORTED_COLUMNS; i++)
	{
		nulls[i] = parts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(parts[i]);
	}
	row = heap_form_tuple(BlessTupleDesc(desc), values, nulls);
	secret_unhush(&hush);
	return HeapTupleGetDatum(row);
}

/* egress_import_config -- see COMMENT ON FUNCTION */
Datum
egress_import_config(PG_FUNCTION_ARGS)
{
	return import_result(fcinfo, false, "egress_imported_config", IMPORTED_CONFIG_TYPES);
}

/* egress_import_credential -- see COMMENT ON FUNCTION */
Datum
egress_import_credential(PG_FUNCTION_ARGS)
{
	return import_result(fcinfo, true, "egress_imported_credential", IMPORTED_CREDENTIAL_TYPES);
}
