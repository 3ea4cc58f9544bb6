/*
 * shape.c -- whether the extension's tables, indexes and row types are as the C code reads and writes them
 *
 * That code takes columns by their number and goes by indexes of its own choice. Who may ALTER the tables can give a column
 * another type, or put another index in the place of one of ours: to read a number as a text would end the server, and to
 * go by an index that lacks rows would pass a limit. So a table is looked at each time that it is opened, and refused when
 * it cannot be read. Further columns, indexes, constraints and triggers are welcome. So is the row that a function returns.
 *
 * What the C code writes (the leases, their ends, the history, the reports) it writes as the executor would, and keeps what somebody
 * added: NOT NULL, CHECK, unique and exclusion constraints, generated columns and defaults (scan.c). Two kinds of
 * constraints are kept by triggers only, which do not run for it: foreign keys, and those that are deferrable. They are
 * refused when a row is written.
 *
 * Before: the relation is locked, so that it stays as it is. A look costs a few comparisons, and reads nothing.
 */
#include "shape.h"

#include "access/htup_details.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "pool_index.h"

/* the types of a table's columns, in the order of the enums in catalog.h, a letter each, a capital one for NOT NULL: column_type() */
static const char *const columns[EGRESS_TABLE_COUNT] = {
	[TABLE_PROVIDER] = "ITPBBBOnV",
	[TABLE_GATEWAY] = "IITtttBBP",
	[TABLE_MAPPING] = "IIStBB",
	[TABLE_MAPPING_GATEWAY] = "III",
	[TABLE_CREDENTIAL] = "IITStBteeeBBnPtetebv",
	[TABLE_CREDENTIAL_GATEWAY] = "III",
	[TABLE_GROUP_MEMBER] = "TT",
	[TABLE_WORKSPACE] = "TB",
	[TABLE_USER_LIMIT] = "StNI",
	[TABLE_LEASE] = "TIITtZnBn",
	[TABLE_LEASE_EXPIRY] = "TIZ",
	[TABLE_LEASE_HISTORY] = "ITITITTttTtZZT",
	[TABLE_REPORT] = "IiitZ",
	[TABLE_FAILURE] = "IZTTITITTT",
};

/* how many of a table's columns version 0.9 had, where others came later */
static const int columns_before[EGRESS_TABLE_COUNT] = {
	[TABLE_PROVIDER] = Anum_egress_provider_enable_new_managed_gateways,
	[TABLE_CREDENTIAL] = Anum_egress_credential_provider_type,
	[TABLE_LEASE] = Anum_egress_lease_slot,
};

/* stands for a column of an index that is computed, a text */
#define COMPUTED_TEXT (-1)

/* the columns of each index */
static const struct
{
	bool		unique;
	int			keys;			/* so many of the columns; INCLUDE has the others */
	int			keys_before;	/* before a version that added columns, if they are not the same */
	AttrNumber	columns[SHAPE_MAX_COLUMNS]; /* up to a 0 */
}			indexes[EGRESS_INDEX_COUNT] = {
	[INDEX_PROVIDER_ID] = {true, 1, 0, {Anum_egress_provider_egress_provider_id}},
	[INDEX_GATEWAY_ID] = {true, 1, 0, {Anum_egress_gateway_egress_gateway_id}},
	[INDEX_GATEWAY_MENU] = {false, 5, 0, {Anum_egress_gateway_egress_provider_id, Anum_egress_gateway_country,
										  Anum_egress_gateway_city, Anum_egress_gateway_name, Anum_egress_gateway_egress_gateway_id,
										  Anum_egress_gateway_enabled, Anum_egress_gateway_withdrawn}},
	[INDEX_GATEWAY_COUNTRY] = {false, 3, 0, {Anum_egress_gateway_egress_provider_id, COMPUTED_TEXT, COMPUTED_TEXT,
											 Anum_egress_gateway_egress_gateway_id}},
	[INDEX_GATEWAY_CITY] = {false, 2, 0, {Anum_egress_gateway_egress_provider_id, COMPUTED_TEXT,
										  Anum_egress_gateway_egress_gateway_id}},
	[INDEX_MAPPING_ID] = {true, 1, 0, {Anum_egress_provider_mapping_egress_provider_mapping_id}},
	[INDEX_MAPPING_SUBJECT] = {false, 3, 0, {Anum_egress_provider_mapping_subject_type,
											 Anum_egress_provider_mapping_subject_id,
											 Anum_egress_provider_mapping_egress_provider_id}},
	[INDEX_MAPPING_GATEWAY_ID] = {true, 2, 0, {Anum_egress_provider_mapping_gateway_egress_provider_mapping_id,
											   Anum_egress_provider_mapping_gateway_egress_gateway_id}},
	[INDEX_CREDENTIAL_ID] = {true, 1, 0, {Anum_egress_credential_egress_credential_id}},
	[INDEX_CREDENTIAL_SUBJECT] = {false, 5, 3, {Anum_egress_credential_subject_type, Anum_egress_credential_subject_id,
												Anum_egress_credential_egress_provider_id,
												Anum_egress_credential_allow_all_gateways,
												Anum_egress_credential_enabled}},
	[INDEX_CREDENTIAL_GATEWAY_ID] = {true, 2, 0, {Anum_egress_credential_gateway_egress_credential_id,
												  Anum_egress_credential_gateway_egress_gateway_id}},
	[INDEX_GROUP_MEMBER_ID] = {true, 2, 0, {Anum_egress_group_member_user_id, Anum_egress_group_member_group_id}},
	[INDEX_WORKSPACE_ID] = {true, 1, 0, {Anum_egress_workspace_workspace_id}},
	[INDEX_CREDENTIAL_GATEWAY_GATEWAY] = {false, 1, 0, {Anum_egress_credential_gateway_egress_gateway_id}},
	[INDEX_LEASE_SESSION] = {true, 1, 0, {Anum_egress_lease_session_id}},
	[INDEX_LEASE_SLOT] = {true, 2, 0, {Anum_egress_lease_egress_credential_id, Anum_egress_lease_slot,
									   Anum_egress_lease_cooling, Anum_egress_lease_egress_gateway_id}},
	[INDEX_USER_LIMIT_SUBJECT] = {false, 1, 0, {COMPUTED_TEXT}},
	[INDEX_LEASE_USER] = {true, 2, 0, {Anum_egress_lease_user_id, Anum_egress_lease_user_slot}},
	[INDEX_LEASE_GATEWAY] = {false, 2, 1, {Anum_egress_lease_egress_gateway_id,
										   Anum_egress_lease_egress_credential_id}},
	[INDEX_LEASE_EXPIRY_SESSION] = {true, 1, 0, {Anum_egress_lease_expiry_session_id}},
	[INDEX_LEASE_EXPIRY_CREDENTIAL] = {false, 1, 0, {Anum_egress_lease_expiry_egress_credential_id}},
	[INDEX_REPORT_GATEWAY] = {false, 1, 0, {Anum_egress_report_egress_gateway_id}},
	[INDEX_REPORT_CREDENTIAL] = {false, 1, 0, {Anum_egress_report_egress_credential_id}},
};

/* the CHECK constraints of the tables that the C code writes, which what it writes satisfies */
#define MAX_CHECKS 5
static const char *const checks[EGRESS_TABLE_COUNT][MAX_CHECKS] = {
	[TABLE_LEASE] = {"egress_lease_session_id_check", "egress_lease_slot_check", "egress_lease_user_id_check",
	"egress_lease_user_slot_check", "egress_lease_workspace_id_check"},
	[TABLE_LEASE_HISTORY] = {"egress_lease_history_check", "egress_lease_history_release_reason_check"},
	[TABLE_REPORT] = {"egress_report_check", "egress_report_session_id_check"},
	[TABLE_FAILURE] = {"egress_failure_failure_check"},
};

/* the foreign keys from and to these tables, to whose rows limit.c, lease.c, report.c and integrity.c see */
static const struct
{
	EgressTable table;
	EgressTable other;
}			foreign_keys[] = {
	{TABLE_LEASE, TABLE_CREDENTIAL},
	{TABLE_LEASE, TABLE_GATEWAY},
	{TABLE_LEASE, TABLE_LEASE_EXPIRY},
	{TABLE_LEASE_EXPIRY, TABLE_LEASE},
	{TABLE_REPORT, TABLE_GATEWAY},
	{TABLE_REPORT, TABLE_CREDENTIAL},
};

/* column_type -- the type that a letter of columns[], or of shape_check_result()'s, stands for */
static Oid
column_type(char letter)
{
	switch (letter)
	{
		case 'b':
			return BOOLOID;
		case 'e':
			return catalog_type(TYPE_SECRET);
		case 'i':
			return INT8OID;
		case 'l':
			return TEXTARRAYOID;
		case 'n':
			return INT4OID;
		case 'o':
			return catalog_type(TYPE_CREDENTIAL_ORDER);
		case 'p':
			return catalog_type(TYPE_PROVIDER_TYPE);
		case 's':
			return catalog_type(TYPE_SUBJECT_TYPE);
		case 't':
			return TEXTOID;
		case 'v':
			return INTERVALOID;
		default:
			return TIMESTAMPTZOID;
	}
}

/* refuse_named -- raise 55000 for what somebody altered */
pg_noreturn static void
refuse_named(const char *name, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" is not as extension egress needs it", name),
			 errdetail_internal("%s", detail),
			 errhint("Take back what was altered.")));
}

/* refuse -- the same for a relation */
pg_noreturn static void
refuse(Relation relation, const char *detail)
{
	refuse_named(RelationGetRelationName(relation), detail);
}

/* shape_columns -- how many columns a table has in the version that is installed, without those that somebody added */
int
shape_columns(EgressTable table)
{
	return catalog_version() < VERSION_1_0 && columns_before[table] != 0 ? columns_before[table] : (int) strlen(columns[table]);
}

/* shape_check_table -- refuse a table whose columns are not those of the extension's */
void
shape_check_table(Relation relation, EgressTable table)
{
	TupleDesc	desc = RelationGetDescr(relation);
	int			count = shape_columns(table);

	if (relation->rd_rel->relkind != RELKIND_RELATION || relation->rd_rel->relam != HEAP_TABLE_AM_OID)
		refuse(relation, "It is not a heap table.");
	if (desc->natts < count)
		refuse(relation, psprintf("It has fewer than %d columns.", count));
	for (int i = 0; i < count; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		unsigned char letter = columns[table][i];

		if (column->attisdropped)
			refuse(relation, psprintf("Its column %d was dropped.", i + 1));
		if (column->atttypid != column_type(pg_ascii_tolower(letter)))
			refuse(relation, psprintf("Its column \"%s\" has another type.", NameStr(column->attname)));
		if (letter <= 'Z' && !column->attnotnull)
			refuse(relation, psprintf("Its column \"%s\" may be null.", NameStr(column->attname)));
	}
}

/* is_column -- is a column of an index, counted from 0, that one of its table, or a text that is computed? */
static bool
is_column(Relation relation, int position, AttrNumber column)
{
	AttrNumber	key = relation->rd_index->indkey.values[position];

	if (column != COMPUTED_TEXT)
		return key == column;
	return key == 0 && TupleDescAttr(RelationGetDescr(relation), position)->atttypid == TEXTOID;
}

/* has_columns -- are the columns of an index those of the extension's, in its order? */
static bool
has_columns(Relation relation, EgressIndex index)
{
	bool		before = !catalog_index_includes(index);
	int			keys = before && indexes[index].keys_before != 0 ? indexes[index].keys_before : indexes[index].keys;
	int			most = before ? keys : SHAPE_MAX_COLUMNS;
	int			count = 0;

	for (; count < most && indexes[index].columns[count] != 0; count++)
		if (count >= relation->rd_index->indnatts || !is_column(relation, count, indexes[index].columns[count]))
			return false;
	if (relation->rd_index->indnatts != count || relation->rd_index->indnkeyatts != keys)
		return false;
	for (int i = 0; i < keys; i++)
		if (relation->rd_indoption[i] != 0)
			return false;
	return true;
}

/* shape_check_index -- refuse an index that is not the one of the extension's, on a table */
void
shape_check_index(Relation relation, EgressIndex index, Oid table)
{
	Form_pg_index form = relation->rd_index;

	if (form->indrelid != table)
		refuse(relation, "It is an index of another table.");
	if (!form->indisvalid)
		refuse(relation, "It is not valid.");
	if (relation->rd_rel->relam != BTREE_AM_OID || !has_columns(relation, index))
		refuse(relation, "It is not a btree on the columns that it was made for.");
	/* of the gateways that are off, who wishes a place wants none */
	if (index != INDEX_GATEWAY_COUNTRY && index != INDEX_GATEWAY_CITY &&
		!heap_attisnull(relation->rd_indextuple, Anum_pg_index_indpred, NULL))
		refuse(relation, "It has a condition, and lacks rows.");
	if (indexes[index].unique && !(form->indisunique && form->indimmediate))
		refuse(relation, "It is not unique, or is deferrable.");
}

/* shape_check_pool_index -- refuse an index that is not the one of credentials that may have a connection free, on a table */
void
shape_check_pool_index(Relation relation, Oid table)
{
	if (relation->rd_index->indrelid != table)
		refuse(relation, "It is an index of another table.");
	if (!relation->rd_index->indisvalid)
		refuse(relation, "It is not valid.");
	if (!pool_index_is_one(relation) || relation->rd_index->indkey.values[0] != Anum_egress_credential_egress_credential_id)
		refuse(relation, "It is not of the access method that it was made for.");
	if (!heap_attisnull(relation->rd_indextuple, Anum_pg_index_indpred, NULL))
		refuse(relation, "It has a condition, and lacks rows.");
}

/* is_own_check -- is a CHECK constraint of a table the extension's, by its name? */
static bool
is_own_check(EgressTable table, const char *name)
{
	for (int i = 0; i < MAX_CHECKS && checks[table][i] != NULL; i++)
		if (strcmp(checks[table][i], name) == 0)
			return true;
	return false;
}

/* shape_has_other_checks -- has a table CHECK constraints that are not the extension's? */
bool
shape_has_other_checks(Relation relation, EgressTable table)
{
	TupleConstr *constr = RelationGetDescr(relation)->constr;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
		if (!is_own_check(table, constr->check[i].ccname))
			return true;
	return false;
}

/* is_own_foreign_key -- is a foreign key between a table and another relation the extension's? */
static bool
is_own_foreign_key(EgressTable table, Oid other)
{
	for (size_t i = 0; i < lengthof(foreign_keys); i++)
		if (foreign_keys[i].table == table && catalog_table(foreign_keys[i].other) == other)
			return true;
	return false;
}

/*
 * shape_check_foreign_keys -- refuse to write a table with a foreign key that is not the extension's
 *
 * side is RI_TRIGGER_FK for those of the table's own, which a new row would have to satisfy, and RI_TRIGGER_PK for those of
 * other tables to it, whose rows could refer to a row that goes.
 */
void
shape_check_foreign_keys(Relation relation, EgressTable table, int side)
{
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgisinternal && RI_FKey_trigger_type(trigger->tgfoid) == side &&
			!is_own_foreign_key(table, trigger->tgconstrrelid))
			refuse(relation, psprintf(side == RI_TRIGGER_FK ? "Its foreign key to table \"%s\" would not be checked." :
									  "A foreign key of table \"%s\" to it would not be checked.",
									  get_rel_name(trigger->tgconstrrelid)));
	}
}

/* shape_check_written_index -- refuse to write a table with a constraint that is deferrable */
void
shape_check_written_index(Relation relation, Relation index)
{
	if (!index->rd_index->indimmediate)
		refuse(relation, psprintf("Its constraint \"%s\" is deferrable, and would not be checked.",
								  RelationGetRelationName(index)));
}

/*
 * shape_check_result -- refuse a row to be returned whose columns are not those that the C code makes
 *
 * types has a letter for each of these. There may be fewer at the end, as an earlier version declared them: the others are
 * not returned then.
 */
void
shape_check_result(TupleDesc desc, const char *type, const char *types)
{
	int			count = strlen(types);

	if (desc->natts > count)
		refuse_named(type, psprintf("It has more than %d columns.", count));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped)
			refuse_named(type, psprintf("Its column %d was dropped.", i + 1));
		if (column->atttypid != column_type(types[i]))
			refuse_named(type, psprintf("Its column \"%s\" has another type.", NameStr(column->attname)));
	}
}
