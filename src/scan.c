/*
 * scan.c -- reading the extension's tables through their indexes, and writing rows
 *
 * What visits, inserts, changes or deletes rows of ours through table access methods, indexes and the executor's internals is
 * here, so that a new PostgreSQL major is met here, and in compat.h. Apart from that stand draw.c, which reads pages of a btree,
 * the access method pool_index.c, and restore.c, which asks the system's way whether a table is empty.
 *
 * The paths that count (menu, acquire, release, triggers) read by index only, each look-up by an equality on the
 * index's leading columns. Which index serves a look-up is written in the code, so no statistics and no planner
 * can make it a scan of a table. The shape is that of systable_beginscan() in access/index/genam.c. Who needs all rows
 * of a table (a sweep, the views' counts) goes over its pages in one pass.
 */
#include "scan.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "catalog/pg_index.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"

/* how many entries of other ids scan_seek() steps over before it looks the id up */
#define SEEK_STEPS	64

/*
 * scan_open_table -- open a table of ours; 42P01 when the extension was dropped while we waited for it, 55000 when it was altered
 *
 * The table's lock stays until the end of the transaction, as it does for a statement.
 */
Relation
scan_open_table(EgressTable table, LOCKMODE lockmode)
{
	Relation	relation = try_table_open(catalog_table(table), lockmode);

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("a table of extension egress does not exist"),
				 errdetail("The extension was dropped while this statement ran.")));
	shape_check_table(relation, table);
	return relation;
}

/* init_scan -- nothing is read yet */
static void
init_scan(EgressScan *scan, EgressTable table, LOCKMODE lockmode)
{
	scan->lockmode = lockmode;
	scan->want_entries = false;
	scan->desc = NULL;
	scan->pass = NULL;
	scan->slot = table_slot_create(scan->table, NULL);
	scan->columns = shape_columns(table);
	scan->vmbuffer = InvalidBuffer;
	scan->sought = false;
	scan->nkeys = 0;
}

/*
 * wait_for_index_change -- let in what the transaction did that last changed an index's row in pg_index
 *
 * A transaction is seen as committed for a moment before it has sent its invalidations; it gives its locks back afterwards. So
 * this waits for nothing but that moment.
 */
static void
wait_for_index_change(Oid index)
{
	Relation	indexes = table_open(IndexRelationId, AccessShareLock);
	TransactionId changer = InvalidTransactionId;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, Anum_pg_index_indexrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(index));
	InvalidateCatalogSnapshot();
	scan = systable_beginscan(indexes, IndexRelidIndexId, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		changer = HeapTupleHeaderGetXmin(row->t_data);
	systable_endscan(scan);
	table_close(indexes, AccessShareLock);

	if (TransactionIdIsNormal(changer) && !TransactionIdIsCurrentTransactionId(changer))
		XactLockTableWait(changer, NULL, NULL, XLTW_None);
	AcceptInvalidationMessages();
}

/*
 * open_index -- open an index whose table is locked; NULL when it does not exist any more
 *
 * REINDEX CONCURRENTLY gives the name to another index, and then waits for all who have the table's lock before it takes
 * the old one away. Who has that lock for long learns of it when it locks the index: what is open then may be the old one. So the
 * name is looked up again, until it is that of the index that is open.
 *
 * One that is not valid is not opened, the first time: there may be a newer one that was not heard of yet.
 */
static Relation
open_index(EgressIndex index, LOCKMODE lockmode)
{
	bool		waited = false;

	for (;;)
	{
		Oid			oid = catalog_index(index);
		Relation	relation = try_index_open(oid, lockmode);
		bool		current = catalog_index(index) == oid;

		if (current && (relation == NULL || waited || relation->rd_index->indisvalid))
			return relation;
		if (relation != NULL)
			index_close(relation, lockmode);
		if (current)
			wait_for_index_change(oid);
		waited |= current;
	}
}

/* refuse_dropped_index -- raise 42P01 for an index that is not there any more */
pg_noreturn static void
refuse_dropped_index(EgressTable table)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("an index of table \"%s\" does not exist", get_rel_name(catalog_table(table))),
			 errdetail("It was dropped while this statement ran.")));
}

/*
 * scan_open_pool_index -- open the index of credentials that may have a connection free, whose table is locked
 *
 * It is not read by scans: pool_index.c. Who uses it does so at once, and closes it: what REINDEX CONCURRENTLY has put in its
 * place since is heard of here, also by a transaction that has it open for long.
 */
Relation
scan_open_pool_index(void)
{
	Relation	index;

	AcceptInvalidationMessages();
	index = open_index(INDEX_CREDENTIAL_POOL, AccessShareLock);
	if (index == NULL)
		refuse_dropped_index(TABLE_CREDENTIAL);
	shape_check_pool_index(index, catalog_table(TABLE_CREDENTIAL));
	return index;
}

/*
 * scan_open -- open an index and its table, as scan_open_table() does
 *
 * DROP INDEX CONCURRENTLY waits for those who had the table's lock when it made the index invalid. Who comes later may
 * find its name still, and then no index.
 */
void
scan_open(EgressScan *scan, EgressIndex index, LOCKMODE lockmode)
{
	scan->table = scan_open_table(catalog_index_table(index), lockmode);
	scan->index = open_index(index, lockmode);
	if (scan->index == NULL)
		refuse_dropped_index(catalog_index_table(index));
	shape_check_index(scan->index, index, RelationGetRelid(scan->table));
	init_scan(scan, catalog_index_table(index), lockmode);
}

/* scan_open_entries -- the same, for reading: who looks at the index's entries, and at rows only where that is needed */
void
scan_open_entries(EgressScan *scan, EgressIndex index)
{
	scan_open(scan, index, AccessShareLock);
	scan->want_entries = true;
}

/* scan_open_pass -- open a table, as scan_open_table() does, to go over all of its rows */
void
scan_open_pass(EgressScan *scan, EgressTable table, LOCKMODE lockmode)
{
	scan->table = scan_open_table(table, lockmode);
	scan->index = NULL;
	init_scan(scan, table, lockmode);
}

/*
 * scan_start_pass -- start at a page, and go to the end that the table has now; once after scan_open_pass()
 *
 * snapshot is NULL for a dirty one (see scan_start_dirty()); another must stay registered or active while the pass goes on.
 */
void
scan_start_pass(EgressScan *scan, Snapshot snapshot, BlockNumber from)
{
	BlockNumber pages;

	InitDirtySnapshot(scan->dirty);
	/* no other scan's position to join in at: a page is a place to go on from */
	scan->pass = table_beginscan_strat(scan->table, snapshot == NULL ? &scan->dirty : snapshot, 0, NULL, true, false);
	pages = ((HeapScanDesc) scan->pass)->rs_nblocks;
	if (from > 0)
		heap_setscanlimits(scan->pass, from < pages ? from : 0, from < pages ? pages - from : 0);
}

/* add_key -- a condition on the next column of the index */
static void
add_key(EgressScan *scan, StrategyNumber strategy, Oid function, Datum value)
{
	int			column = scan->nkeys++;

	Assert(column < SCAN_MAX_KEYS);
	ScanKeyEntryInitialize(&scan->keys[column], 0, column + 1, strategy, InvalidOid,
						   scan->index->rd_indcollation[column], function, value);
}

/* scan_key_id -- the next column of the index equals an id */
void
scan_key_id(EgressScan *scan, int64 id)
{
	add_key(scan, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
}

/* scan_key_id_at_least -- the next column of the index is not below an id; the last key */
void
scan_key_id_at_least(EgressScan *scan, int64 id)
{
	add_key(scan, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(id));
}

/* scan_key_bool -- the next column of the index is this */
void
scan_key_bool(EgressScan *scan, bool value)
{
	add_key(scan, BTEqualStrategyNumber, F_BOOLEQ, BoolGetDatum(value));
}

/* scan_key_text -- the next column of the index equals a text, which must live as long as the scan */
void
scan_key_text(EgressScan *scan, text *value)
{
	add_key(scan, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(value));
}

/* scan_key_any_text -- the next column of the index equals one of these texts, which must live as long as the scan; the only key */
void
scan_key_any_text(EgressScan *scan, ArrayType *values)
{
	add_key(scan, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(values));
	scan->keys[0].sk_flags = SK_SEARCHARRAY;
}

/* scan_key_at_least -- the next column of the index, an integer, is not below a value; the last key */
void
scan_key_at_least(EgressScan *scan, int32 value)
{
	add_key(scan, BTGreaterEqualStrategyNumber, F_INT4GE, Int32GetDatum(value));
}

/* scan_key_subject -- the next two columns of the index are a subject; id NULL for everyone */
void
scan_key_subject(EgressScan *scan, EgressSubjectType type, text *id)
{
	add_key(scan, BTEqualStrategyNumber, F_ENUM_EQ, catalog_subject_type(type));
	if (id != NULL)
		scan_key_text(scan, id);
	else
	{
		int			column = scan->nkeys++;

		ScanKeyEntryInitialize(&scan->keys[column], SK_ISNULL | SK_SEARCHNULL, column + 1, InvalidStrategy,
							   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	}
}

/*
 * check_index_age -- refuse to read an index for a snapshot that is too old for it
 *
 * An entry of a row that was updated in place (a heap-only tuple) before the index was made has the columns of the newest
 * version: for a snapshot that sees an older one it may be wrong. PostgreSQL marks such an index (indcheckxmin), and
 * its planner leaves it alone until nobody has such a snapshot; here is no other way to the rows. What meets it is a
 * transaction at REPEATABLE READ that began before an update of the extension, or a statement that waited for one.
 */
static void
check_index_age(EgressScan *scan, Snapshot snapshot)
{
	TransactionId maker;

	if (!scan->index->rd_index->indcheckxmin || !IsMVCCSnapshot(snapshot))
		return;

	maker = HeapTupleHeaderGetXmin(scan->index->rd_indextuple->t_data);
	if (TransactionIdIsCurrentTransactionId(maker) ? IsolationUsesXactSnapshot() : XidInMVCCSnapshot(maker, snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to an update of extension egress"),
				 errdetail("Index \"%s\" was made after the transaction's snapshot was taken.",
						   RelationGetRelationName(scan->index)),
				 errhint("The transaction might succeed if retried.")));
}

/*
 * scan_start -- start with the keys given since the last scan_start()
 *
 * May be called again, with the same number of keys and another snapshot: a loop of look-ups opens its index once.
 * The snapshot must stay registered or active while the scan goes on.
 */
void
scan_start(EgressScan *scan, Snapshot snapshot)
{
	if (scan->desc == NULL)
		scan->desc = index_beginscan(scan->table, scan->index, snapshot, NULL, scan->nkeys, 0, SO_NONE);
	check_index_age(scan, snapshot);
	scan->desc->xs_snapshot = snapshot;
	scan->desc->xs_want_itup = scan->want_entries;
	index_rescan(scan->desc, scan->keys, scan->nkeys, NULL, 0);
	scan->nkeys = 0;
}

/*
 * scan_start_dirty -- start with the keys given, and see what a unique index would
 *
 * A row that an open transaction inserted or deleted is there. If that is another session's transaction, it is in
 * scan->dirty.xmin or .xmax after scan_next() (see HeapTupleSatisfiesDirty()).
 */
void
scan_start_dirty(EgressScan *scan)
{
	InitDirtySnapshot(scan->dirty);
	scan_start(scan, &scan->dirty);
}

/* scan_next -- fetch the next row into slot; false when there is none */
bool
scan_next(EgressScan *scan)
{
	if (scan->pass != NULL)
		return table_scan_getnextslot(scan->pass, ForwardScanDirection, scan->slot);
	return index_getnext_slot(scan->desc, ForwardScanDirection, scan->slot);
}

/* scan_previous -- likewise, from the last row backwards; only by index, and not in turn with scan_next() */
bool
scan_previous(EgressScan *scan)
{
	return index_getnext_slot(scan->desc, BackwardScanDirection, scan->slot);
}

/* scan_all -- call each() with arg for each row of a table, in one pass over it */
void
scan_all(Snapshot snapshot, EgressTable table, EgressScanRow each, void *arg)
{
	EgressScan	rows;

	scan_open_pass(&rows, table, AccessShareLock);
	scan_start_pass(&rows, snapshot, 0);
	while (scan_next(&rows))
	{
		CHECK_FOR_INTERRUPTS();
		each(arg, &rows);
	}
	scan_close(&rows);
}

/* scan_find_id -- find a provider, gateway or credential by its id; false when there is none */
bool
scan_find_id(EgressScan *scan, int64 id, Snapshot snapshot)
{
	scan_key_id(scan, id);
	scan_start(scan, snapshot);
	return scan_next(scan);
}

/* scan_column -- a column of the current row, NULL where the version that is installed has not got it; points into the row */
Datum
scan_column(EgressScan *scan, AttrNumber column, bool *isnull)
{
	*isnull = column > scan->columns;
	return *isnull ? (Datum) 0 : slot_getattr(scan->slot, column, isnull);
}

/* scan_value -- a column of the current row that is not NULL; points into the row */
Datum
scan_value(EgressScan *scan, AttrNumber column)
{
	bool		isnull;
	Datum		value = scan_column(scan, column, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of \"%s\" is null",
						NameStr(TupleDescAttr(RelationGetDescr(scan->table), column - 1)->attname),
						RelationGetRelationName(scan->table)),
				 errdetail("A constraint of extension egress was dropped.")));
	return value;
}

/* scan_bool -- a boolean column of the current row */
bool
scan_bool(EgressScan *scan, AttrNumber column)
{
	return DatumGetBool(scan_value(scan, column));
}

/* scan_id -- a bigint column of the current row */
int64
scan_id(EgressScan *scan, AttrNumber column)
{
	return DatumGetInt64(scan_value(scan, column));
}

/* scan_timestamp -- a timestamptz column of the current row */
TimestampTz
scan_timestamp(EgressScan *scan, AttrNumber column)
{
	return DatumGetTimestampTz(scan_value(scan, column));
}

/* scan_text -- a text column of the current row, NULL when it is NULL; points into the row */
text *
scan_text(EgressScan *scan, AttrNumber column)
{
	bool		isnull;
	Datum		value = scan_column(scan, column, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* scan_name -- a text column of the current row, as a string in the current memory context */
char *
scan_name(EgressScan *scan, AttrNumber column)
{
	return TextDatumGetCString(scan_value(scan, column));
}

/* scan_put -- a column of the current row as a column of a row to be made; a value by reference points into the row */
void
scan_put(EgressScan *scan, AttrNumber column, int position, Datum *values, bool *nulls)
{
	values[position] = scan_column(scan, column, &nulls[position]);
}

/*
 * version_ends -- is a version of a row deleted or replaced by a transaction that committed or may still commit?
 *
 * If so, *ender is that transaction and *next the version that replaces it, or the version itself when it is deleted:
 * heap_update() and heap_delete() leave t_ctid so. *inserter is the transaction that inserted the version. Returns
 * false and an invalid *inserter when there is nothing at tid.
 */
static bool
version_ends(Relation table, ItemPointer tid, TransactionId *inserter, TransactionId *ender, ItemPointer next)
{
	HeapTupleData tuple;
	HeapTupleHeader header;
	Buffer		buffer;
	bool		ends = false;

	*inserter = InvalidTransactionId;
	*ender = InvalidTransactionId;
	tuple.t_self = *tid;
	if (!heap_fetch(table, SnapshotAny, &tuple, &buffer, false))
		return false;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	header = tuple.t_data;
	*inserter = HeapTupleHeaderGetXmin(header);
	*next = header->t_ctid;
	if (!(header->t_infomask & HEAP_XMAX_INVALID) && !HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
	{
		*ender = HeapTupleHeaderGetUpdateXid(header);
		/* in this order: a transaction that ends meanwhile is not missed */
		ends = TransactionIdIsInProgress(*ender) || TransactionIdDidCommit(*ender);
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	ReleaseBuffer(buffer);
	return ends;
}

/*
 * scan_row_ends -- is the current row being deleted, or deleted since it was read?
 *
 * A row that a transaction, open or committed, has only updated does not end, however often; one that it has updated
 * and then deleted does. So the versions are followed to the newest, as EvalPlanQual does; a version whose inserter is
 * not the transaction that ended its predecessor is another row in the place of one that was rolled back and pruned,
 * and the look begins again. Before: the snapshot with which the row was read is registered, so that what was
 * committed since is not vacuumed.
 */
bool
scan_row_ends(EgressScan *scan)
{
	ItemPointerData tid = scan->slot->tts_tid;
	TransactionId replacer = InvalidTransactionId;

	for (;;)
	{
		TransactionId inserter;
		TransactionId ender;
		ItemPointerData next;
		bool		ends = version_ends(scan->table, &tid, &inserter, &ender, &next);

		CHECK_FOR_INTERRUPTS();
		if (TransactionIdIsValid(replacer) && !TransactionIdEquals(replacer, inserter))
		{
			tid = scan->slot->tts_tid;
			replacer = InvalidTransactionId;
			continue;
		}
		if (!ends)
			return false;
		if (ItemPointerEquals(&tid, &next))
			return true;
		tid = next;
		replacer = ender;
	}
}

/*
 * scan_find_deleted -- find a row by its id that this transaction has deleted; false when there is none
 *
 * For who writes about what goes with it, in the same statement.
 */
bool
scan_find_deleted(EgressScan *scan, int64 id)
{
	scan_key_id(scan, id);
	scan_start(scan, SnapshotAny);
	while (scan_next(scan))
	{
		ItemPointerData tid = scan->slot->tts_tid;
		TransactionId inserter;
		TransactionId ender;
		ItemPointerData next;

		if (version_ends(scan->table, &tid, &inserter, &ender, &next) && ItemPointerEquals(&tid, &next) &&
			TransactionIdIsCurrentTransactionId(ender))
			return true;
	}
	return false;
}

/*
 * scan_row_is_replaced -- has a transaction that committed since changed or deleted the current row?
 *
 * Only one that a new snapshot has as committed: whoever reads the row again then reads another version. That comes after the
 * mark in pg_xact, by as long as a synchronous standby takes. Before: as for scan_row_ends().
 */
bool
scan_row_is_replaced(EgressScan *scan)
{
	ItemPointerData tid = scan->slot->tts_tid;
	TransactionId inserter;
	TransactionId ender;
	ItemPointerData next;

	return version_ends(scan->table, &tid, &inserter, &ender, &next) &&
		!TransactionIdIsInProgress(ender) && TransactionIdDidCommit(ender);
}

/*
 * scan_row_version -- who inserted the version of a row that is the current one, and who deleted or replaced it
 *
 * Returns whether somebody did the latter, who may still commit.
 */
bool
scan_row_version(EgressScan *scan, TransactionId *inserter, TransactionId *ender)
{
	ItemPointerData tid = scan->slot->tts_tid;
	ItemPointerData next;

	return version_ends(scan->table, &tid, inserter, ender, &next);
}

/* scan_row_is_changing -- has a transaction that may still commit changed or deleted the current row, or one since it was read? */
bool
scan_row_is_changing(EgressScan *scan)
{
	TransactionId inserter;
	TransactionId ender;

	return scan_row_version(scan, &inserter, &ender);
}

/* scan_row_inserter -- the transaction that wrote the version of the current row that was read */
TransactionId
scan_row_inserter(EgressScan *scan)
{
	return HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(scan->slot, false, NULL)->t_data);
}

/* scan_row_is_own -- has this transaction itself written the current row? */
bool
scan_row_is_own(EgressScan *scan)
{
	return TransactionIdIsCurrentTransactionId(scan_row_inserter(scan));
}

/* scan_stop -- let go of the current row and of every page; scan_start() may follow */
void
scan_stop(EgressScan *scan)
{
	if (scan->desc != NULL)
		index_endscan(scan->desc);
	scan->desc = NULL;
	if (scan->pass != NULL)
		table_endscan(scan->pass);
	scan->pass = NULL;
	if (BufferIsValid(scan->vmbuffer))
		ReleaseBuffer(scan->vmbuffer);
	scan->vmbuffer = InvalidBuffer;
	ExecClearTuple(scan->slot);
}

/* scan_close -- end the scan; its row is gone, the table's lock stays */
void
scan_close(EgressScan *scan)
{
	scan_stop(scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->index != NULL)
		index_close(scan->index, NoLock);
	table_close(scan->table, NoLock);
}

/* scan_step -- go to the next index entry in a direction, dead or not; no row is visited. Before: scan_open_entries() */
bool
scan_step(EgressScan *scan, ScanDirection direction)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_tid(scan->desc, direction) != NULL;
}

/* scan_entry_columns -- how many columns the index has, in the version that is installed */
int
scan_entry_columns(EgressScan *scan)
{
	return scan->desc->xs_itupdesc->natts;
}

/* scan_entry_column -- a column of the current index entry; points into the page */
Datum
scan_entry_column(EgressScan *scan, AttrNumber column, bool *isnull)
{
	return index_getattr(scan->desc->xs_itup, column, scan->desc->xs_itupdesc, isnull);
}

/*
 * scan_visit -- fetch the row of the current entry into slot; false when the snapshot has none
 *
 * With a snapshot that sees more than one version of a row, each call fetches the next one, as long as scan_visit_has_more().
 */
bool
scan_visit(EgressScan *scan)
{
	return index_fetch_heap(scan->desc, scan->slot);
}

/* scan_visit_has_more -- may the current entry be of another version than the one that scan_visit() has fetched? */
bool
scan_visit_has_more(EgressScan *scan)
{
	return scan->desc->xs_heap_continue;
}

/* scan_visit_again -- scan_visit(), from the first version on */
bool
scan_visit_again(EgressScan *scan)
{
	scan->desc->xs_heap_continue = false;
	return scan_visit(scan);
}

/*
 * scan_next_entry -- go to the next index entry, whose columns are in scan->entry, whether its row is visible or not
 *
 * Before: scan_open_entries(). The columns point into the page.
 */
bool
scan_next_entry(EgressScan *scan)
{
	if (!scan_step(scan, ForwardScanDirection))
		return false;
	Assert(scan->desc->xs_itupdesc->natts <= SHAPE_MAX_COLUMNS);
	index_deform_tuple(scan->desc->xs_itup, scan->desc->xs_itupdesc, scan->entry, scan->entry_nulls);
	return true;
}

/* seek_from -- look up the first entry from an id on, up to the last one that is wanted */
static void
seek_from(EgressScan *scan, int64 id, int64 last_id, Snapshot snapshot)
{
	ScanKeyEntryInitialize(&scan->keys[0], 0, 1, BTGreaterEqualStrategyNumber, InvalidOid, InvalidOid, F_INT8GE,
						   Int64GetDatum(id));
	ScanKeyEntryInitialize(&scan->keys[1], 0, 1, BTLessEqualStrategyNumber, InvalidOid, InvalidOid, F_INT8LE,
						   Int64GetDatum(last_id));
	scan->nkeys = 2;
	if (snapshot == NULL)
		scan_start_dirty(scan);
	else
		scan_start(scan, snapshot);
	scan->sought = true;
	scan->last_id = last_id;
	scan->at_entry = scan_next_entry(scan);
}

/*
 * scan_seek -- go to the first entry of an id, which is the index's first column; false when there is none
 *
 * Before: scan_open_entries(); snapshot is NULL for a dirty one, and the same every time. Whoever goes through ids upwards, and
 * says which will be the last, reads the index once: an id is looked up only if its entries are not near.
 */
bool
scan_seek(EgressScan *scan, int64 id, int64 last_id, Snapshot snapshot)
{
	bool		ahead = scan->sought && scan->sought_id < id && id <= scan->last_id;

	for (int steps = 0; ahead && scan->at_entry && DatumGetInt64(scan->entry[0]) < id; steps++)
	{
		ahead = steps < SEEK_STEPS;
		if (ahead)
			scan->at_entry = scan_next_entry(scan);
	}
	if (!ahead)
		seek_from(scan, id, last_id, snapshot);
	scan->sought_id = id;
	return scan->at_entry && DatumGetInt64(scan->entry[0]) == id;
}

/* scan_seek_next -- go to the next entry of the id that was sought and found; false when there is none */
bool
scan_seek_next(EgressScan *scan)
{
	scan->at_entry = scan_next_entry(scan);
	return scan->at_entry && DatumGetInt64(scan->entry[0]) == scan->sought_id;
}

/*
 * scan_page_is_all_visible -- is the current entry's row on a page of which every row is visible to all?
 *
 * Then it need not be visited: no snapshot misses it, and nobody has begun to delete it. nodeIndexonlyscan.c explains why
 * reading the visibility map without a lock is safe. The scan keeps its pin on the index page (want_entries), so the
 * entry is not one that VACUUM has taken away since.
 *
 * From PostgreSQL 19 on, not only VACUUM marks a page: whoever reads a table with a query that does not write it may, when
 * he prunes the page. The mark says the same. It is set under the same lock of the page, and only where no item is dead or
 * being inserted or deleted, and every inserter is one that no snapshot has as running. So an entry of a row that was
 * pruned still means a page without a mark, until VACUUM has taken the entry away.
 */
bool
scan_page_is_all_visible(EgressScan *scan)
{
	return VM_ALL_VISIBLE(scan->table, ItemPointerGetBlockNumber(&scan->desc->xs_heaptid), &scan->vmbuffer);
}

/* scan_entry_is_visible -- does the snapshot, which is not dirty, see the row of the current entry? */
bool
scan_entry_is_visible(EgressScan *scan)
{
	if (!scan_page_is_all_visible(scan))
		return scan_visit(scan);

	/* the row is not visited, so a serializable transaction has to say here that it read it */
	PredicateLockPage(scan->table, ItemPointerGetBlockNumber(&scan->desc->xs_heaptid), scan->desc->xs_snapshot);
	return true;
}

/* open_indexes -- open the indexes of a table of ours to write to it, and refuse one whose constraints would not be kept */
static void
open_indexes(ResultRelInfo *rri)
{
	ExecOpenIndices(rri, false);
	for (int i = 0; i < rri->ri_NumIndices; i++)
		shape_check_written_index(rri->ri_RelationDesc, rri->ri_IndexRelationDescs[i]);
}

/* has_forbidden_null -- is a column of a row NULL that is NOT NULL? */
static bool
has_forbidden_null(TupleDesc desc, TupleTableSlot *slot)
{
	for (int i = 0; i < desc->natts; i++)
		if (slot->tts_isnull[i] && TupleDescAttr(desc, i)->attnotnull)
			return true;
	return false;
}

/*
 * keep_constraints -- fill in a row's generated columns, and hold it to the constraints that somebody added to the table
 *
 * The row has all its columns in slot. It satisfies the extension's own constraints: to evaluate them each time would cost more
 * than the rest of an insertion.
 */
static void
keep_constraints(ResultRelInfo *rri, EgressTable table, TupleTableSlot *slot, EState *estate, CmdType command)
{
	TupleDesc	desc = RelationGetDescr(rri->ri_RelationDesc);

	if (desc->constr == NULL)
		return;
	if (desc->constr->has_generated_stored)
		ExecComputeStoredGenerated(rri, estate, slot, command);
	if (shape_has_other_checks(rri->ri_RelationDesc, table) || has_forbidden_null(desc, slot))
		ExecConstraints(rri, slot, estate);
}

/* default_value -- what a column that somebody added to a table is in a row of ours */
static Datum
default_value(Relation table, int column, EState *estate, bool *isnull)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(table), column);
	Node	   *expression = NULL;

	if (!attribute->attisdropped && attribute->attgenerated == '\0')
		expression = build_column_default(table, column + 1);
	*isnull = true;
	if (expression == NULL)
		return (Datum) 0;
	return ExecEvalExpr(ExecPrepareExpr((Expr *) expression, estate), GetPerTupleExprContext(estate), isnull);
}

/*
 * scan_insert_row -- insert a row and its index entries
 *
 * Before: the table is open and locked RowExclusiveLock; values and nulls hold its first nvalues columns, and satisfy the
 * constraints of the extension's own. Those that somebody added are kept, and columns that somebody added have their
 * defaults. No trigger is run: the callers are this extension's own code for its own tables, and say what takes the
 * place of ours.
 *
 * After: the row is there for the next command of this transaction, which has begun. The shape is that of
 * ExecSimpleRelationInsert() in executor/execReplication.c.
 */
void
scan_insert_row(Relation relation, int nvalues, const Datum *values, const bool *nulls)
{
	EgressTable table = catalog_table_of(RelationGetRelid(relation));
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *rri = makeNode(ResultRelInfo);
	TupleTableSlot *slot = table_slot_create(relation, NULL);

	shape_check_foreign_keys(relation, table, RI_TRIGGER_FK);
	InitResultRelInfo(rri, relation, 0, NULL, 0);
	open_indexes(rri);

	ExecClearTuple(slot);
	for (int i = 0; i < RelationGetDescr(relation)->natts; i++)
	{
		if (i >= nvalues)
			slot->tts_values[i] = default_value(relation, i, estate, &slot->tts_isnull[i]);
		else
		{
			slot->tts_isnull[i] = nulls[i];
			slot->tts_values[i] = nulls[i] ? (Datum) 0 : values[i];
		}
	}
	ExecStoreVirtualTuple(slot);

	keep_constraints(rri, table, slot, estate, CMD_INSERT);
	table_tuple_insert(relation, slot, GetCurrentCommandId(true), 0, NULL);
	list_free(ExecInsertIndexTuples(rri, estate, 0, slot, NIL, NULL));

	ExecCloseIndices(rri);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	CommandCounterIncrement();
}

/* refuse_changed -- raise 40001: somebody changed the current row by hand, in between */
pg_noreturn static void
refuse_changed(EgressScan *scan)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("a row of \"%s\" was changed by another transaction", RelationGetRelationName(scan->table)),
			 errdetail("Only the functions of extension egress should write this table."),
			 errhint("Try again.")));
}

/*
 * scan_delete -- delete the current row; false when it was deleted since it was found
 *
 * Before: the table is locked RowExclusiveLock, and the row was found with a dirty snapshot and is not of another
 * open transaction. The callers' short locks keep ours away from it; a row that somebody has locked by hand is waited for. No
 * trigger is run. After: it is gone for the next command of this transaction, which has begun. The shape is that of
 * ExecSimpleRelationDelete() in executor/execReplication.c: 55000 if a publication could not say which row it was.
 */
bool
scan_delete(EgressScan *scan)
{
	TM_FailureData failure;

	shape_check_foreign_keys(scan->table, catalog_table_of(RelationGetRelid(scan->table)), RI_TRIGGER_PK);
	CheckCmdReplicaIdentity(scan->table, CMD_DELETE);
	switch (table_tuple_delete(scan->table, &scan->slot->tts_tid, GetCurrentCommandId(true), 0,
							   SnapshotAny, InvalidSnapshot, true, &failure))
	{
		case TM_Ok:
			CommandCounterIncrement();
			return true;
		case TM_Deleted:
			return false;
		default:
			refuse_changed(scan);
	}
}

/*
 * scan_try_delete -- delete the current row, if nobody has to be waited for; returns whether it did
 *
 * As scan_delete(), but the row may be one that another open transaction is deleting, or has locked: false then.
 */
bool
scan_try_delete(EgressScan *scan)
{
	TM_FailureData failure;

	shape_check_foreign_keys(scan->table, catalog_table_of(RelationGetRelid(scan->table)), RI_TRIGGER_PK);
	CheckCmdReplicaIdentity(scan->table, CMD_DELETE);
	if (table_tuple_delete(scan->table, &scan->slot->tts_tid, GetCurrentCommandId(true), 0,
						   SnapshotAny, InvalidSnapshot, false, &failure) != TM_Ok)
		return false;
	CommandCounterIncrement();
	return true;
}

/*
 * scan_update -- change a column of the current row, and let the next command of this transaction begin
 *
 * Before: as for scan_delete(); the column's new value satisfies the constraints of the extension's own, and those that somebody
 * added are kept. The shape is that of ExecSimpleRelationUpdate() in executor/execReplication.c.
 */
void
scan_update(EgressScan *scan, AttrNumber column, Datum value)
{
	EgressTable table = catalog_table_of(RelationGetRelid(scan->table));
	int			columns[1] = {column};
	bool		isnull[1] = {false};
	ItemPointerData tid = scan->slot->tts_tid;
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *rri = makeNode(ResultRelInfo);
	TupleTableSlot *slot = table_slot_create(scan->table, NULL);
	HeapTuple	row = ExecCopySlotHeapTuple(scan->slot);
	TM_FailureData failure;
	LockTupleMode lockmode;
	EgressUpdateIndexes update_indexes;

	shape_check_foreign_keys(scan->table, table, RI_TRIGGER_FK);
	CheckCmdReplicaIdentity(scan->table, CMD_UPDATE);
	InitResultRelInfo(rri, scan->table, 0, NULL, 0);
	row = heap_modify_tuple_by_cols(row, RelationGetDescr(scan->table), 1, columns, &value, isnull);
	ExecForceStoreHeapTuple(row, slot, false);
	slot_getallattrs(slot);
	keep_constraints(rri, table, slot, estate, CMD_UPDATE);
	if (table_tuple_update(scan->table, &tid, slot, GetCurrentCommandId(true), 0, SnapshotAny, InvalidSnapshot, true,
						   &failure, &lockmode, &update_indexes) != TM_Ok)
		refuse_changed(scan);

	if (egress_must_update_indexes(update_indexes))
	{
		open_indexes(rri);
		list_free(ExecInsertIndexTuples(rri, estate, egress_index_flags(update_indexes), slot, NIL, NULL));
		ExecCloseIndices(rri);
	}
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	CommandCounterIncrement();
}
