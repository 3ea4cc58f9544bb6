/*
 * menu.c -- the launch menu: egress_available_gateways(user_id, workspace_id), egress_gateway_required(workspace_id)
 *
 * Reads only, as of the calling query's snapshot, so it works on a standby. The rows of a provider that is open to
 * the call as a whole come from an index in the menu's order; where only selected gateways are open, just these are
 * read, and sorted here.
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
#include "arguments.h"
#include "capacity.h"
#include "compat.h"
#include "scan.h"

#define MENU_COLUMNS 8

/* What the menu's rows of one provider have in common. */
typedef struct Menu
{
	ReturnSetInfo *result;
	EgressCall	call;
	EgressAccess *access;		/* of the current provider */
	Datum		provider_name;
	bool		counted_all;	/* available_all is known */
	int64		available_all;	/* capacity_free() of access->credentials_all */
	EgressCapacity capacity;
} Menu;

/* A gateway that waits to be sorted. */
typedef struct MenuGateway
{
	int64		id;
	text	   *name;
	text	   *country;		/* or NULL */
	text	   *city;			/* or NULL */
} MenuGateway;

PG_FUNCTION_INFO_V1(egress_available_gateways);
PG_FUNCTION_INFO_V1(egress_gateway_required);

/* available_connections -- capacity_free() for a gateway; most gateways of a provider share one answer */
static int64
available_connections(Menu *menu, int64 gateway_id)
{
	List	   *credentials = access_credentials(menu->access, gateway_id);

	if (credentials != menu->access->credentials_all)
		return capacity_free(&menu->capacity, credentials);

	if (!menu->counted_all)
		menu->available_all = capacity_free(&menu->capacity, credentials);
	menu->counted_all = true;
	return menu->available_all;
}

/* put_gateway -- one row of the menu */
static void
put_gateway(Menu *menu, int64 gateway_id, text *name, text *country, text *city)
{
	Datum		values[MENU_COLUMNS];
	bool		nulls[MENU_COLUMNS] = {false};
	int64		available = available_connections(menu, gateway_id);

	values[0] = Int64GetDatum(gateway_id);
	values[1] = PointerGetDatum(name);
	values[2] = PointerGetDatum(country);
	nulls[2] = country == NULL;
	values[3] = PointerGetDatum(city);
	nulls[3] = city == NULL;
	values[4] = Int64GetDatum(menu->access->provider_id);
	values[5] = menu->provider_name;
	values[6] = menu->access->provider_type;
	values[7] = Int64GetDatum(available);
	nulls[7] = available == CAPACITY_UNLIMITED;
	tuplestore_putvalues(menu->result->setResult, menu->result->setDesc, values, nulls);
}

/* put_all -- the menu of a provider whose gateways may all be available */
static void
put_all(Menu *menu)
{
	EgressScan	gateways;

	scan_open(&gateways, INDEX_GATEWAY_MENU, AccessShareLock);
	scan_key_id(&gateways, menu->access->provider_id);
	scan_start(&gateways, menu->call.snapshot);
	while (scan_next(&gateways))
	{
		CHECK_FOR_INTERRUPTS();
		if (access_decide(menu->access, &gateways) == ACCESS_AVAILABLE)
			put_gateway(menu, scan_id(&gateways, Anum_egress_gateway_egress_gateway_id),
						scan_text(&gateways, Anum_egress_gateway_name),
						scan_text(&gateways, Anum_egress_gateway_country),
						scan_text(&gateways, Anum_egress_gateway_city));
	}
	scan_close(&gateways);
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
compare_gateways(const ListCell *a, const ListCell *b)
{
	const MenuGateway *left = lfirst(a);
	const MenuGateway *right = lfirst(b);
	int			result = compare_texts(left->country, right->country);

	if (result == 0)
		result = compare_texts(left->city, right->city);
	if (result == 0)
		result = compare_texts(left->name, right->name);
	if (result == 0)
		result = left->id < right->id ? -1 : left->id > right->id;
	return result;
}

/* copy_text -- a text in the current memory context, or NULL */
static text *
copy_text(text *value)
{
	return value == NULL ? NULL : DatumGetTextPCopy(PointerGetDatum(value));
}

/* put_selected -- the menu of a provider of whose gateways only selected ones can be available */
static void
put_selected(Menu *menu)
{
	List	   *found = NIL;
	HASH_SEQ_STATUS status;
	EgressSelected *entry;
	EgressScan	gateways;
	ListCell   *cell;

	if (menu->access->selected == NULL)
		return;

	scan_open(&gateways, INDEX_GATEWAY_ID, AccessShareLock);
	hash_seq_init(&status, menu->access->selected);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		scan_key_id(&gateways, entry->gateway_id);
		scan_start(&gateways, menu->call.snapshot);
		if (scan_next(&gateways) && access_decide(menu->access, &gateways) == ACCESS_AVAILABLE)
		{
			MenuGateway *gateway = palloc(sizeof(MenuGateway));

			gateway->id = entry->gateway_id;
			gateway->name = copy_text(scan_text(&gateways, Anum_egress_gateway_name));
			gateway->country = copy_text(scan_text(&gateways, Anum_egress_gateway_country));
			gateway->city = copy_text(scan_text(&gateways, Anum_egress_gateway_city));
			found = lappend(found, gateway);
		}
	}
	scan_close(&gateways);

	list_sort(found, compare_gateways);
	foreach(cell, found)
	{
		MenuGateway *gateway = lfirst(cell);

		put_gateway(menu, gateway->id, gateway->name, gateway->country, gateway->city);
	}
}

/* egress_available_gateways -- the launch menu; see COMMENT ON FUNCTION */
Datum
egress_available_gateways(PG_FUNCTION_ARGS)
{
	text	   *user_id = get_id(fcinfo, 0, "user_id");
	text	   *workspace_id = get_optional_id(fcinfo, 1, "workspace_id");
	Menu		menu = {0};
	List	   *providers;
	ListCell   *cell;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, 0);
	menu.result = (ReturnSetInfo *) fcinfo->resultinfo;

	access_begin(&menu.call, user_id, workspace_id, GetActiveSnapshot(), false);
	capacity_begin(&menu.capacity, GetActiveSnapshot(), query_moment(fcinfo));
	providers = access_to_providers(&menu.call);
	access_sort_by_name(providers);

	foreach(cell, providers)
	{
		menu.access = lfirst(cell);
		menu.provider_name = CStringGetTextDatum(menu.access->provider_name);
		menu.counted_all = false;
		if (menu.access->mapped_all && menu.access->credentials_all != NIL)
			put_all(&menu);
		else
			put_selected(&menu);
	}
	capacity_end(&menu.capacity);

	return (Datum) 0;
}

/* egress_gateway_required -- must a session in the workspace go through a gateway? See COMMENT ON FUNCTION */
Datum
egress_gateway_required(PG_FUNCTION_ARGS)
{
	text	   *workspace_id = get_optional_id(fcinfo, 0, "workspace_id");

	catalog_use(fcinfo->flinfo->fn_oid);
	PG_RETURN_BOOL(workspace_id != NULL && access_gateway_required(workspace_id, GetActiveSnapshot()));
}
