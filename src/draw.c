/*
 * draw.c -- drawing an entry of a btree by chance
 *
 * Of the entries whose first columns have given values, each is drawn about as often as any other, however many there are: a
 * draw goes down from the root once, and reads a page on each level. There it takes an item by chance among those that lead to
 * such entries. That is fair as long as one page has all of them. Where they are spread over several, the first and the last of
 * these have others, too, so from there on an item is drawn among all of its page; one that leads elsewhere is a miss, and no
 * entry is drawn. What remains is that entries on pages that are less full are drawn more often, by up to the factor 2.
 *
 * No lock is held from a page to the next. What was split, deleted or used again in between is a miss at worst, or an entry that
 * others are drawn in the place of. Entries are drawn whether their rows are visible, or still there, or not.
 */
#include "draw.h"

#include "access/nbtree.h"
#include "common/pg_prng.h"
#include "storage/bufmgr.h"

#include "compat.h"

/* The entries to draw from. */
typedef struct DrawRange
{
	Relation	index;
	const Datum *keys;			/* what its first columns are */
	int			nkeys;
} DrawRange;

/* compare_item -- is an item of a page before (< 0), in (0) or behind (> 0) the range? */
static int
compare_item(const DrawRange *range, Buffer buffer, OffsetNumber offset)
{
	Page		page = BufferGetPage(buffer);
	IndexTuple	item = (IndexTuple) PageGetItem(page, PageGetItemId(page, offset));
	int			columns = BTreeTupleGetNAtts(item, range->index);

	for (int i = 0; i < range->nkeys; i++)
	{
		bool		isnull;
		Datum		value;
		int32		order;

		/* a column that an item of an inner page lacks is less than all others */
		if (i >= columns)
			return -1;
		value = index_getattr(item, i + 1, RelationGetDescr(range->index), &isnull);
		if (isnull)
			return 1;
		order = DatumGetInt32(FunctionCall2Coll(index_getprocinfo(range->index, i + 1, BTORDER_PROC),
												range->index->rd_indcollation[i], value, range->keys[i]));
		if (order != 0)
			return order;
	}
	return 0;
}

/* first_of -- the first item of a page, from an offset on, that is not below an order (of compare_item()) */
static OffsetNumber
first_of(const DrawRange *range, Buffer buffer, OffsetNumber from, int order)
{
	OffsetNumber end = OffsetNumberNext(PageGetMaxOffsetNumber(BufferGetPage(buffer)));

	while (from < end)
	{
		OffsetNumber middle = from + (end - from) / 2;

		if (compare_item(range, buffer, middle) < order)
			from = OffsetNumberNext(middle);
		else
			end = middle;
	}
	return from;
}

/*
 * draw_item -- draw an item of a page that is in the range, or leads there
 *
 * *spread is whether the range has entries on other pages, too, before and after.
 */
static EgressDrawOutcome
draw_item(const DrawRange *range, Buffer buffer, bool *spread, OffsetNumber *drawn)
{
	Page		page = BufferGetPage(buffer);
	BTPageOpaque opaque = BTPageGetOpaque(page);
	OffsetNumber first = P_FIRSTDATAKEY(opaque);
	OffsetNumber end = OffsetNumberNext(PageGetMaxOffsetNumber(page));
	OffsetNumber from;
	OffsetNumber to;			/* behind the last */

	if (first >= end)
		return DRAW_MISSED;
	if (P_ISLEAF(opaque))
	{
		from = first_of(range, buffer, first, 0);
		to = first_of(range, buffer, from, 1);
	}
	else
	{
		/* an item's key is the lower bound of what is below; that of the first is not there */
		from = first_of(range, buffer, OffsetNumberNext(first), 0);
		to = first_of(range, buffer, from, 1);
		from = OffsetNumberPrev(from);
	}
	if (from >= to)
		return *spread ? DRAW_MISSED : DRAW_NOTHING;

	if (*spread)
		*drawn = (OffsetNumber) pg_prng_uint64_range(&pg_global_prng_state, first, end - 1);
	else
		*drawn = (OffsetNumber) pg_prng_uint64_range(&pg_global_prng_state, from, to - 1);
	*spread |= to - from > 1;
	return *drawn >= from && *drawn < to ? DRAW_DRAWN : DRAW_MISSED;
}

/* root -- the page where a draw begins; InvalidBlockNumber: the index has no entries. *level: how far above the leaves */
static BlockNumber
root(Relation index, uint32 *level)
{
	Buffer		buffer = ReadBuffer(index, BTREE_METAPAGE);
	BTMetaPageData *meta;
	BlockNumber result;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	meta = BTPageGetMeta(BufferGetPage(buffer));
	result = meta->btm_root == P_NONE ? InvalidBlockNumber : meta->btm_fastroot;
	*level = meta->btm_fastlevel;
	UnlockReleaseBuffer(buffer);
	return result;
}

/*
 * draw_id -- draw one of the entries whose first columns are these keys, none of them NULL
 *
 * Before: the index is a btree, open and locked. After DRAW_DRAWN, *id is the entry's column of that number, a bigint.
 */
EgressDrawOutcome
draw_id(Relation index, const Datum *keys, int nkeys, AttrNumber column, int64 *id)
{
	DrawRange	range = {.index = index, .keys = keys, .nkeys = nkeys};
	EgressDrawOutcome outcome = DRAW_DRAWN;
	bool		spread = false;
	uint32		level;
	BlockNumber block = root(index, &level);

	if (block == InvalidBlockNumber)
		return DRAW_NOTHING;
	for (bool leaf = false; !leaf && outcome == DRAW_DRAWN; level--)
	{
		Buffer		buffer = ReadBuffer(index, block);
		Page		page = BufferGetPage(buffer);
		OffsetNumber drawn;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (PageIsNew(page) || P_IGNORE(BTPageGetOpaque(page)) || BTPageGetOpaque(page)->btpo_level != level)
			outcome = DRAW_MISSED;
		else
			outcome = draw_item(&range, buffer, &spread, &drawn);
		leaf = level == 0;
		if (outcome == DRAW_DRAWN)
		{
			IndexTuple	item = (IndexTuple) PageGetItem(page, PageGetItemId(page, drawn));
			bool		isnull;

			if (leaf)
				*id = DatumGetInt64(index_getattr(item, column, RelationGetDescr(index), &isnull));
			else
				block = BTreeTupleGetDownLink(item);
		}
		UnlockReleaseBuffer(buffer);
	}
	return outcome;
}
