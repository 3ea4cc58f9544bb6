/*
 * menu.c -- the launch menu: egress_available_gateways(user_id, workspace_id), egress_gateway_required(workspace_id)
 *
 * Reads only, as of the calling query's snapshot, so it works on a standby. The rows of a provider come from an index in
 * the menu's order, which has all that they need: the table is visited only for pages that are not visible to all, and
 * where the extension is not updated yet to the version that put the switches into the index. Where but a few selected
 * gateways of many are open, just these are read, and sorted here.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"

#include "access.h"
#include "argument.h"
#include "capacity.h"
#include "compat.h"
#include "scan.h"
#include "shape.h"
#include "value.h"

#define MENU_COLUMNS 8
#define MENU_TYPES "itttitpi"

/*
 * Where only selected gateways can be available, so many of the provider's are gone through for each of them; if that is
 * not to the end, the selected ones are looked up. A look-up and its share of the sort cost about 20 steps in order.
 */
#define WALK_PER_SELECTED 8

/* the columns of the index egress_gateway_menu */
enum
{
	ENTRY_PROVIDER_ID,
	ENTRY_COUNTRY,
	ENTRY_CITY,
	ENTRY_NAME,
	ENTRY_GATEWAY_ID,
	ENTRY_ENABLED,
	ENTRY_WITHDRAWN
};

/* What the menu's rows of one provider have in common. */
typedef struct Menu
{
	ReturnSetInfo *result;
	EgressCall	call;
	EgressAccess *access;		/* of the current provider */
	Datum		provider_name;
	bool		counted_all;	/* available_all is known */
	EgressCapacitySum available_all;	/* of access->credentials_all */
	EgressCapacity capacity;
	EgressUserCapacity user;
} Menu;

/* A gateway of the menu. */
typedef struct MenuGateway
{
	int64		id;
	text	   *name;
	text	   *country;		/* or NULL */
	text	   *city;			/* or NULL */
} MenuGateway;

PG_FUNCTION_INFO_V1(egress_available_gateways);
PG_FUNCTION_INFO_V1(egress_gateway_required);

/* available_connections -- capacity_free() for a gateway; most gateways of a provider share one sum */
static int64
available_connections(Menu *menu, int64 gateway_id)
{
	List	   *credentials = access_credentials(menu->access, gateway_id);

	if (credentials != menu->access->credentials_all)
		return capacity_free(&menu->capacity, credentials, gateway_id);

	if (!menu->counted_all)
		capacity_sum(&menu->capacity, credentials, &menu->available_all);
	menu->counted_all = true;
	return capacity_free_of(&menu->available_all, gateway_id);
}

/* put_gateway -- one row of the menu */
static void
put_gateway(Menu *menu, const MenuGateway *gateway)
{
	Datum		values[MENU_COLUMNS];
	bool		nulls[MENU_COLUMNS] = {false};
	int64		available = capacity_left(&menu->user, available_connections(menu, gateway->id));

	values[0] = Int64GetDatum(gateway->id);
	values[1] = PointerGetDatum(gateway->name);
	values[2] = PointerGetDatum(gateway->country);
	nulls[2] = gateway->country == NULL;
	values[3] = PointerGetDatum(gateway->city);
	nulls[3] = gateway->city == NULL;
	values[4] = Int64GetDatum(menu->access->provider_id);
	values[5] = menu->provider_name;
	values[6] = menu->access->provider_type;
	values[7] = Int64GetDatum(available);
	nulls[7] = available == CAPACITY_UNLIMITED;
	tuplestore_putvalues(menu->result->setResult, menu->result->setDesc, values, nulls);
}

/* copy_text -- a text in the current memory context, or NULL */
static text *
copy_text(text *value)
{
	return value == NULL ? NULL : DatumGetTextPCopy(PointerGetDatum(value));
}

/* copy_gateway -- a gateway in the current memory context */
static MenuGateway *
copy_gateway(const MenuGateway *gateway)
{
	MenuGateway *copy = palloc(sizeof(MenuGateway));

	copy->id = gateway->id;
	copy->name = copy_text(gateway->name);
	copy->country = copy_text(gateway->country);
	copy->city = copy_text(gateway->city);
	return copy;
}

/* entry_text -- a column of the current index entry, or NULL; points into the page */
static text *
entry_text(EgressScan *gateways, int column)
{
	return gateways->entry_nulls[column] ? NULL : DatumGetTextPP(gateways->entry[column]);
}

/* entry_is_available -- is the gateway of the current index entry, which has this id, visible and available to the call? */
static bool
entry_is_available(Menu *menu, EgressScan *gateways, int64 gateway_id)
{
	if (scan_entry_columns(gateways) <= ENTRY_WITHDRAWN)
		return scan_visit(gateways) &&
			access_decide_row(menu->access, gateways) == ACCESS_AVAILABLE;
	return access_decide(menu->access, gateway_id, DatumGetBool(gateways->entry[ENTRY_ENABLED]),
						 DatumGetBool(gateways->entry[ENTRY_WITHDRAWN])) == ACCESS_AVAILABLE &&
		scan_entry_is_visible(gateways);
}

/*
 * put_in_order -- put the rows of a provider, from the index in the menu's order
 *
 * Goes through max_entries of its gateways. Returns the first one that is not put then, NULL at the end.
 */
static MenuGateway *
put_in_order(Menu *menu, int64 max_entries)
{
	EgressScan	gateways;
	MenuGateway gateway;
	MenuGateway *next = NULL;
	int64		entries = 0;

	scan_open_entries(&gateways, INDEX_GATEWAY_MENU);
	scan_key_id(&gateways, menu->access->provider_id);
	scan_start(&gateways, menu->call.snapshot);
	while (next == NULL && scan_next_entry(&gateways))
	{
		gateway.id = DatumGetInt64(gateways.entry[ENTRY_GATEWAY_ID]);
		gateway.name = entry_text(&gateways, ENTRY_NAME);
		gateway.country = entry_text(&gateways, ENTRY_COUNTRY);
		gateway.city = entry_text(&gateways, ENTRY_CITY);

		if (entries++ == max_entries)
			next = copy_gateway(&gateway);
		else if (entry_is_available(menu, &gateways, gateway.id))
			put_gateway(menu, &gateway);
	}
	scan_close(&gateways);
	return next;
}

/* compare_texts -- in the database's collation, NULL last, as the index egress_gateway_menu has it */
static int
compare_texts(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return (a == NULL) - (b == NULL);
	return varstr_cmp(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b),
					  DEFAULT_COLLATION_OID);
}

/* compare_gateways -- country, city, name, id */
static int
compare_gateways(const MenuGateway *left, const MenuGateway *right)
{
	int			result = compare_texts(left->country, right->country);

	if (result == 0)
		result = compare_texts(left->city, right->city);
	if (result == 0)
		result = compare_texts(left->name, right->name);
	if (result == 0)
		result = left->id < right->id ? -1 : left->id > right->id;
	return result;
}

/* compare_cells -- the same, for list_sort() */
static int
compare_cells(const ListCell *a, const ListCell *b)
{
	return compare_gateways(lfirst(a), lfirst(b));
}

/* put_selected -- put the selected gateways, from one on in the menu's order: each is looked up, and they are sorted here */
static void
put_selected(Menu *menu, const MenuGateway *from)
{
	List	   *found = NIL;
	HASH_SEQ_STATUS status;
	EgressSelected *entry;
	EgressScan	gateways;
	ListCell   *cell;

	scan_open(&gateways, INDEX_GATEWAY_ID, AccessShareLock);
	hash_seq_init(&status, menu->access->selected);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (scan_find_id(&gateways, entry->gateway_id, menu->call.snapshot) &&
			access_decide_row(menu->access, &gateways) == ACCESS_AVAILABLE)
		{
			MenuGateway gateway = {
				.id = entry->gateway_id,
				.name = scan_text(&gateways, Anum_egress_gateway_name),
				.country = scan_text(&gateways, Anum_egress_gateway_country),
				.city = scan_text(&gateways, Anum_egress_gateway_city),
			};

			if (compare_gateways(&gateway, from) >= 0)
				found = lappend(found, copy_gateway(&gateway));
		}
	}
	scan_close(&gateways);

	list_sort(found, compare_cells);
	foreach(cell, found)
		put_gateway(menu, lfirst(cell));
}

/* put_provider -- the menu of a provider */
static void
put_provider(Menu *menu)
{
	EgressAccess *access = menu->access;
	MenuGateway *next;

	if (access->mapped_all && (access->credentials_all != NIL || access->big))
		(void) put_in_order(menu, PG_INT64_MAX);
	else if (access->selected != NULL)
	{
		next = put_in_order(menu, WALK_PER_SELECTED * (int64) hash_get_num_entries(access->selected));
		if (next != NULL)
			put_selected(menu, next);
	}
}

/* egress_available_gateways -- the launch menu; see COMMENT ON FUNCTION */
Datum
egress_available_gateways(PG_FUNCTION_ARGS)
{
	text	   *user_id = argument_id(fcinfo, 0, "user_id");
	text	   *workspace_id = argument_optional_id(fcinfo, 1, "workspace_id");
	Menu		menu = {0};
	List	   *providers;
	ListCell   *cell;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	menu.result = (ReturnSetInfo *) fcinfo->resultinfo;
	shape_check_result(menu.result->setDesc, "egress_available_gateway", MENU_TYPES);

	access_begin(&menu.call, user_id, workspace_id, GetActiveSnapshot(), value_query_moment(fcinfo), ACCESS_TO_READ);
	capacity_begin(&menu.capacity, menu.call.snapshot, menu.call.moment);
	capacity_user(&menu.capacity, &menu.call, &menu.user);
	providers = access_to_providers(&menu.call);
	access_sort_by_name(providers);

	foreach(cell, providers)
	{
		menu.access = lfirst(cell);
		menu.provider_name = CStringGetTextDatum(menu.access->provider_name);
		menu.counted_all = false;
		put_provider(&menu);
	}
	capacity_end(&menu.capacity);
	foreach(cell, providers)
		access_tell_full(lfirst(cell));

	return (Datum) 0;
}

/* egress_gateway_required -- must a session in the workspace go through a gateway? See COMMENT ON FUNCTION */
Datum
egress_gateway_required(PG_FUNCTION_ARGS)
{
	text	   *workspace_id = argument_optional_id(fcinfo, 0, "workspace_id");

	catalog_use(fcinfo->flinfo->fn_oid);
	PG_RETURN_BOOL(workspace_id != NULL && access_gateway_required(workspace_id, GetActiveSnapshot()));
}
