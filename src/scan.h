/*
 * scan.h -- reading the extension's tables through their indexes, and writing rows
 */
#ifndef EGRESS_SCAN_H
#define EGRESS_SCAN_H

#include "postgres.h"
#include "access/genam.h"
#include "access/relscan.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "storage/block.h"
#include "storage/buf.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "catalog.h"
#include "shape.h"

#define SCAN_MAX_KEYS 5

/* One index scan, or one pass over a table. The row of the last scan_next() is in slot. */
typedef struct EgressScan
{
	Relation	table;
	Relation	index;			/* NULL for a pass */
	LOCKMODE	lockmode;
	bool		want_entries;	/* opened with scan_open_entries() */
	SnapshotData dirty;			/* after scan_start_dirty(): the open transactions of the current row */
	IndexScanDesc desc;			/* NULL until scan_start(), and for a pass */
	TableScanDesc pass;			/* of a pass; NULL until scan_start_pass() */
	TupleTableSlot *slot;
	int			columns;		/* of the table, in the version that is installed */
	Buffer		vmbuffer;		/* a page of the visibility map, or invalid */
	Datum		entry[SHAPE_MAX_COLUMNS];	/* after scan_next_entry(): the index's columns */
	bool		entry_nulls[SHAPE_MAX_COLUMNS];
	bool		sought;			/* scan_seek() was called, the last time for */
	int64		sought_id;		/* this; */
	int64		last_id;		/* entries up to this one are in the scan, */
	bool		at_entry;		/* which is at one, not at the end */
	int			nkeys;
	ScanKeyData keys[SCAN_MAX_KEYS];
} EgressScan;

/* What is done with each row of a table: the scan's current one. */
typedef void (*EgressScanRow) (void *arg, EgressScan *row);

extern Relation scan_open_table(EgressTable table, LOCKMODE lockmode);
extern Relation scan_open_pool_index(void);
extern void scan_open(EgressScan *scan, EgressIndex index, LOCKMODE lockmode);
extern void scan_open_entries(EgressScan *scan, EgressIndex index);
extern void scan_open_pass(EgressScan *scan, EgressTable table, LOCKMODE lockmode);
extern void scan_start_pass(EgressScan *scan, Snapshot snapshot, BlockNumber from);
extern void scan_all(Snapshot snapshot, EgressTable table, EgressScanRow each, void *arg);
extern void scan_key_id(EgressScan *scan, int64 id);
extern void scan_key_id_at_least(EgressScan *scan, int64 id);
extern void scan_key_bool(EgressScan *scan, bool value);
extern void scan_key_text(EgressScan *scan, text *value);
extern void scan_key_any_text(EgressScan *scan, ArrayType *values);
extern void scan_key_at_least(EgressScan *scan, int32 value);
extern void scan_key_subject(EgressScan *scan, EgressSubjectType type, text *id);
extern void scan_start(EgressScan *scan, Snapshot snapshot);
extern void scan_start_dirty(EgressScan *scan);
extern bool scan_next(EgressScan *scan);
extern bool scan_previous(EgressScan *scan);
extern bool scan_find_id(EgressScan *scan, int64 id, Snapshot snapshot);
extern bool scan_find_deleted(EgressScan *scan, int64 id);
extern Datum scan_column(EgressScan *scan, AttrNumber column, bool *isnull);
extern Datum scan_value(EgressScan *scan, AttrNumber column);
extern bool scan_bool(EgressScan *scan, AttrNumber column);
extern int64 scan_id(EgressScan *scan, AttrNumber column);
extern TimestampTz scan_timestamp(EgressScan *scan, AttrNumber column);
extern text *scan_text(EgressScan *scan, AttrNumber column);
extern char *scan_name(EgressScan *scan, AttrNumber column);
extern void scan_put(EgressScan *scan, AttrNumber column, int position, Datum *values, bool *nulls);
extern bool scan_row_ends(EgressScan *scan);
extern bool scan_row_is_replaced(EgressScan *scan);
extern bool scan_row_version(EgressScan *scan, TransactionId *inserter, TransactionId *ender);
extern bool scan_row_is_changing(EgressScan *scan);
extern TransactionId scan_row_inserter(EgressScan *scan);
extern bool scan_row_is_own(EgressScan *scan);
extern bool scan_step(EgressScan *scan, ScanDirection direction);
extern int	scan_entry_columns(EgressScan *scan);
extern Datum scan_entry_column(EgressScan *scan, AttrNumber column, bool *isnull);
extern bool scan_visit(EgressScan *scan);
extern bool scan_visit_has_more(EgressScan *scan);
extern bool scan_visit_again(EgressScan *scan);
extern bool scan_next_entry(EgressScan *scan);
extern bool scan_seek(EgressScan *scan, int64 id, int64 last_id, Snapshot snapshot);
extern bool scan_seek_next(EgressScan *scan);
extern bool scan_page_is_all_visible(EgressScan *scan);
extern bool scan_entry_is_visible(EgressScan *scan);
extern void scan_stop(EgressScan *scan);
extern void scan_close(EgressScan *scan);

extern bool scan_delete(EgressScan *scan);
extern bool scan_try_delete(EgressScan *scan);
extern void scan_update(EgressScan *scan, AttrNumber column, Datum value);
extern void scan_insert_row(Relation relation, int nvalues, const Datum *values, const bool *nulls);

#endif							/* EGRESS_SCAN_H */
