/*
 * pool_index.c -- an access method, egress_pool: the index of credentials that may have a connection free
 *
 * Who takes a connection from a big pool has to find, among many credentials that are full, the first that is not. This
 * index says for each credential whether it is certain to be full. pool.c has the rules, and the proof of "certain"; here is
 * how it is kept. What it says is of no transaction, as the hints in a heap's rows are: a change is there for all at once, and a
 * rollback takes nothing back. So nothing in it dies, and nothing piles up beside an old transaction.
 *
 * It is an index of PostgreSQL's, and no table, because then PostgreSQL does the rest: it inserts each new version of a
 * credential in which a column of the index has changed, whoever writes it (COPY, a restore, replication, a session that
 * switched triggers off), builds it anew with the table, copies it to standbys, recovers it after a crash, and neither dumps
 * nor publishes it. The planner never reads it: it has neither amgettuple nor amgetbitmap.
 *
 * The items are sorted by group, which stands for a subject and a provider, and in it by the credential's id, in pages of a
 * B-tree with the root in block 0. An item of an inner page has what its page's items come to: the smallest wake, the latest
 * since. So a search steps over whole pages of credentials that are full. Pages are split and never merged; an empty one
 * stays where it is, and is filled again by ids of its stretch.
 *
 * One lock keeps it: that of the root's page. Who reads holds it shared, and needs no other; who changes anything holds it
 * exclusive, besides the locks of the pages to be changed, which the checkpointer needs. So it is on a standby, because
 * each WAL record has the root's page first (generic_xlog.c: redo locks the pages in this order, and gives them back
 * together). It is held for a moment, and nothing is asked of the heap meanwhile. Changes are rare: an end of a
 * lease changes nothing, unless its credential was full.
 */
#include "pool_index.h"

#include "access/amapi.h"
#include "access/generic_xlog.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "lock.h"

/* the columns of the index that make its group; the others are there so that their changes are heard of */
enum
{
	COLUMN_ID,
	COLUMN_SUBJECT_TYPE,
	COLUMN_SUBJECT_ID,
	COLUMN_PROVIDER_ID
};

#define ROOT_BLOCK	0

/* from the root to a leaf; a WAL record holds so many pages */
#define MAX_LEVELS	MAX_GENERIC_XLOG_PAGES

/* since when a credential is full is kept for so many transactions */
#define KEPT_XIDS	100000000

/* says that a page is one of ours */
#define PAGE_MAGIC	0x4547

/* At the end of each page. */
typedef struct PageEnd
{
	uint16		magic;
	uint16		level;			/* 0: a leaf, with credentials; above: the items are pages */
	uint16		count;			/* of items */
	uint16		unused;
	uint32		looks;			/* in the root: the number of the last look */
	uint32		unused2;
} PageEnd;

#define ITEMS_PER_PAGE \
	((int) ((BLCKSZ - MAXALIGN(SizeOfPageHeaderData) - MAXALIGN(sizeof(PageEnd))) / sizeof(EgressPoolItem)))

/* The pages from the root to a leaf. */
typedef struct PagePath
{
	int			depth;			/* of the leaf; the root is 0 */
	Buffer		buffers[MAX_LEVELS];
	int			positions[MAX_LEVELS];	/* which item of an inner page the next page is */
} PagePath;

/* What becomes of an item. */
typedef enum ItemChange
{
	ITEM_STAYS,
	ITEM_CHANGES,
	ITEM_GOES
} ItemChange;

/* changes an item of a leaf; wanted is the caller's, of the same group and id */
typedef ItemChange (*ChangeItem) (EgressPoolItem *item, EgressPoolItem *wanted, PageEnd *root);

PG_FUNCTION_INFO_V1(egress_pool_handler);

/* -------------------------------------------------------------------- pages */

/* what stands at the end of a page, and the items of a page */
#define page_end(page)		((PageEnd *) PageGetSpecialPointer((Page) (page)))
#define page_items(page)	((EgressPoolItem *) PageGetContents(page))

/* page_set_count -- how many items a page has; what is behind them is the hole that generic WAL leaves out */
static void
page_set_count(void *page, int count)
{
	page_end(page)->count = count;
	((PageHeader) page)->pd_lower = (char *) (page_items(page) + count) - (char *) page;
}

/* page_init -- an empty page */
static void
page_init(Page page, int level)
{
	PageInit(page, BLCKSZ, sizeof(PageEnd));
	memset(page_end(page), 0, sizeof(PageEnd));
	page_end(page)->magic = PAGE_MAGIC;
	page_end(page)->level = level;
	page_set_count(page, 0);
}

/* page_read -- read a page, and pin it */
static Buffer
page_read(Relation index, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(index, block);
	Page		page = BufferGetPage(buffer);

	if (PageIsNew(page) || PageGetSpecialSize(page) != MAXALIGN(sizeof(PageEnd)) || page_end(page)->magic != PAGE_MAGIC)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" contains unexpected data at block %u", RelationGetRelationName(index), block),
				 errhint("Please REINDEX it.")));
	return buffer;
}

/* page_new -- a new page at the end of the index, locked; before: the caller holds the root's lock, so nobody else adds one */
static Buffer
page_new(Relation index)
{
	Buffer		buffer = ReadBuffer(index, P_NEW);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	return buffer;
}

/* root_lock -- pin and lock the root */
static Buffer
root_lock(Relation index, int mode)
{
	Buffer		root = page_read(index, ROOT_BLOCK);

	LockBuffer(root, mode);
	return root;
}

/* compare -- where an item is, beside a group and an id */
static int
compare(const EgressPoolItem *item, uint64 group, int64 id)
{
	if (item->group != group)
		return item->group < group ? -1 : 1;
	return item->id < id ? -1 : item->id > id;
}

/* pool_index_compare -- the order of the items in the index, for qsort() */
int
pool_index_compare(const void *a, const void *b)
{
	const EgressPoolItem *item = b;

	return compare(a, item->group, item->id);
}

/* position_from -- the first item of a page that is not before a group and an id */
static int
position_from(Page page, uint64 group, int64 id)
{
	int			low = 0;
	int			high = page_end(page)->count;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (compare(&page_items(page)[middle], group, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* position_of_page -- the item of an inner page whose page has the place of a group and an id; what is before all has the first one's */
static int
position_of_page(Page page, uint64 group, int64 id)
{
	int			position = position_from(page, group, id);

	if (position < page_end(page)->count && compare(&page_items(page)[position], group, id) == 0)
		return position;
	return Max(position - 1, 0);
}

/* later -- the later of two transaction ids, of which one or both may be none */
static TransactionId
later(TransactionId a, TransactionId b)
{
	if (!TransactionIdIsNormal(a))
		return b;
	return !TransactionIdIsNormal(b) || TransactionIdFollows(a, b) ? a : b;
}

/*
 * sum_up -- let an item of an inner page say what the items of its page come to; returns whether it said something else
 *
 * Its key, too: no item of its page is before it. One that was inserted may have been.
 */
static bool
sum_up(EgressPoolItem *item, Page page)
{
	EgressPoolItem *items = page_items(page);
	int			count = page_end(page)->count;
	EgressPoolItem before = *item;

	item->wake = DT_NOEND;
	item->since = InvalidTransactionId;
	for (int i = 0; i < count; i++)
	{
		item->wake = Min(item->wake, items[i].wake);
		item->since = later(item->since, items[i].since);
	}
	if (count > 0 && compare(&items[0], item->group, item->id) < 0)
	{
		item->group = items[0].group;
		item->id = items[0].id;
	}
	return memcmp(item, &before, sizeof(EgressPoolItem)) != 0;
}

/* -------------------------------------------------------------------- search */

/* may_be_free -- may a credential, or one of a page, have had a connection free for a snapshot, or now if that is NULL? */
static bool
may_be_free(const EgressPoolItem *item, TimestampTz moment, Snapshot snapshot)
{
	if (item->wake <= moment)
		return true;
	if (snapshot == NULL || !TransactionIdIsNormal(item->since) || TransactionIdPrecedes(item->since, snapshot->xmax))
		return false;
	/* the snapshot was taken no later; or when nothing had ended since, which makes it the same if it has nothing open */
	return item->since != snapshot->xmax || snapshot->xcnt > 0 || snapshot->takenDuringRecovery;
}

/* search_page -- pool_index_next() in a page and those below; before: the caller has the root locked */
static int
search_page(Relation index, Page page, uint64 group, int64 from_id, TimestampTz moment, Snapshot snapshot,
			EgressPoolItem *items, int max)
{
	PageEnd    *end = page_end(page);
	bool		leaf = end->level == 0;
	int			position = leaf ? position_from(page, group, from_id) : position_of_page(page, group, from_id);
	int			found = 0;

	for (; position < end->count && found < max; position++)
	{
		EgressPoolItem *item = &page_items(page)[position];

		/* a page may begin with a group before */
		if (item->group > group || (leaf && item->group != group))
			break;
		if (!may_be_free(item, moment, snapshot))
			continue;
		if (leaf)
			items[found++] = *item;
		else
		{
			Buffer		below = page_read(index, item->look);

			found += search_page(index, BufferGetPage(below), group, from_id, moment, snapshot,
								 items + found, max - found);
			ReleaseBuffer(below);
		}
	}
	return found;
}

/*
 * pool_index_next -- the next credentials of a group, from an id on, that may have a connection free: at most max; how many
 *
 * snapshot is NULL for now, or one for which it is asked; moment says when, for leases that end by themselves. (A group may
 * stand for two subjects by chance: what is found is looked at in its row.)
 */
int
pool_index_next(Relation index, uint64 group, int64 from_id, TimestampTz moment, Snapshot snapshot,
				EgressPoolItem *items, int max)
{
	Buffer		root = root_lock(index, BUFFER_LOCK_SHARE);
	int			found = search_page(index, BufferGetPage(root), group, from_id, moment, snapshot, items, max);

	UnlockReleaseBuffer(root);
	return found;
}

/*
 * pool_index_draw -- a credential of a group, drawn by chance, full or not; returns about how many there are, 0: none
 *
 * Goes down from the root by chance. As pages are full to different degrees, so are the chances a little different.
 */
double
pool_index_draw(Relation index, uint64 group, int64 *id)
{
	Buffer		root = root_lock(index, BUFFER_LOCK_SHARE);
	Buffer		buffer = root;
	double		many = 1;

	for (;;)
	{
		Page		page = BufferGetPage(buffer);
		PageEnd    *end = page_end(page);
		bool		leaf = end->level == 0;
		int			first = leaf ? position_from(page, group, PG_INT64_MIN) : position_of_page(page, group, PG_INT64_MIN);
		int			count = 0;
		EgressPoolItem drawn;

		while (first + count < end->count && page_items(page)[first + count].group <= group)
			count++;
		if (count == 0)
		{
			many = 0;
			break;
		}
		many *= count;
		drawn = page_items(page)[first + (int) pg_prng_uint64_range(&pg_global_prng_state, 0, count - 1)];
		if (leaf)
		{
			*id = drawn.id;
			break;
		}
		if (buffer != root)
			ReleaseBuffer(buffer);
		buffer = page_read(index, drawn.look);
	}
	if (buffer != root)
		ReleaseBuffer(buffer);
	UnlockReleaseBuffer(root);
	return many;
}

/* pool_index_find -- the item of a credential; false when it has none */
bool
pool_index_find(Relation index, uint64 group, int64 id, EgressPoolItem *item)
{
	Buffer		root = root_lock(index, BUFFER_LOCK_SHARE);
	Buffer		buffer = root;
	Page		page = BufferGetPage(buffer);
	int			position;
	bool		found;

	while (page_end(page)->level > 0)
	{
		Buffer		below = page_read(index, page_items(page)[position_of_page(page, group, id)].look);

		if (buffer != root)
			ReleaseBuffer(buffer);
		buffer = below;
		page = BufferGetPage(buffer);
	}
	position = position_from(page, group, id);
	found = position < page_end(page)->count && compare(&page_items(page)[position], group, id) == 0;
	if (found)
		*item = page_items(page)[position];
	if (buffer != root)
		ReleaseBuffer(buffer);
	UnlockReleaseBuffer(root);
	return found;
}

/* -------------------------------------------------------------------- changes */

/* descend -- the pages from the root, which is locked exclusive, to the leaf of a group and an id; they are locked likewise */
static void
descend(Relation index, Buffer root, uint64 group, int64 id, PagePath *path)
{
	Page		page = BufferGetPage(root);

	path->depth = 0;
	path->buffers[0] = root;
	while (page_end(page)->level > 0)
	{
		int			position = position_of_page(page, group, id);
		Buffer		below = page_read(index, page_items(page)[position].look);

		LockBuffer(below, BUFFER_LOCK_EXCLUSIVE);
		path->positions[path->depth++] = position;
		path->buffers[path->depth] = below;
		page = BufferGetPage(below);
	}
}

/* leave -- give back the pages of a path, but for the root */
static void
leave(PagePath *path)
{
	for (; path->depth > 0; path->depth--)
		UnlockReleaseBuffer(path->buffers[path->depth]);
}

/*
 * finish -- write a path's leaf, which was changed in its copy, and what it comes to in the pages above
 *
 * root is the root's copy, the first page of the record; leaf is it, too, when there is one page.
 */
static void
finish(GenericXLogState *record, PagePath *path, Page root, Page leaf)
{
	Page		page = leaf;

	for (int depth = path->depth - 1; depth >= 0; depth--)
	{
		Buffer		above = path->buffers[depth];
		int			position = path->positions[depth];
		EgressPoolItem item = page_items(BufferGetPage(above))[position];

		if (!sum_up(&item, page))
			break;
		page = depth == 0 ? root : GenericXLogRegisterBuffer(record, above, 0);
		page_items(page)[position] = item;
	}
	GenericXLogFinish(record);
}

/* is_in -- is the place of an item in a leaf, which has items? It is where the search led for the one before */
static bool
is_in(Page leaf, const EgressPoolItem *item)
{
	int			count = page_end(leaf)->count;

	return count > 0 && compare(&page_items(leaf)[count - 1], item->group, item->id) >= 0;
}

/*
 * change_items -- change items, which are sorted; those of one leaf in one WAL record
 *
 * Who is not there any more stays away: its look is 0 then.
 */
static void
change_items(Relation index, EgressPoolItem *wanted, int count, ChangeItem change)
{
	Buffer		root = root_lock(index, BUFFER_LOCK_EXCLUSIVE);
	int			i = 0;

	while (i < count)
	{
		GenericXLogState *record = GenericXLogStart(index);
		Page		root_page = GenericXLogRegisterBuffer(record, root, 0);
		Page		leaf = root_page;
		bool		changed = false;
		PagePath	path;

		descend(index, root, wanted[i].group, wanted[i].id, &path);
		if (path.depth > 0)
			leaf = GenericXLogRegisterBuffer(record, path.buffers[path.depth], 0);
		do
		{
			int			position = position_from(leaf, wanted[i].group, wanted[i].id);
			int			items = page_end(leaf)->count;
			EgressPoolItem *item = &page_items(leaf)[position];

			if (position == items || compare(item, wanted[i].group, wanted[i].id) != 0)
				wanted[i].look = 0;
			else
			{
				ItemChange	changes = change(item, &wanted[i], page_end(root_page));

				if (changes == ITEM_GOES)
				{
					memmove(item, item + 1, (items - position - 1) * sizeof(EgressPoolItem));
					page_set_count(leaf, items - 1);
				}
				changed |= changes != ITEM_STAYS;
			}
			i++;
		} while (i < count && is_in(leaf, &wanted[i]));
		if (changed)
			finish(record, &path, root_page, leaf);
		else
			GenericXLogAbort(record);
		leave(&path);
	}
	UnlockReleaseBuffer(root);
}

/* make_open -- it may have a connection free; who inserted it stays */
static ItemChange
make_open(EgressPoolItem *item, EgressPoolItem *wanted, PageEnd *root)
{
	if (item->wake == DT_NOBEGIN && item->look == 0)
		return ITEM_STAYS;
	if (item->wake != DT_NOBEGIN)
		item->since = InvalidTransactionId;
	item->wake = DT_NOBEGIN;
	item->look = 0;
	return ITEM_CHANGES;
}

/* make_new -- the same, because its row was inserted, by the transaction wanted->since */
static ItemChange
make_new(EgressPoolItem *item, EgressPoolItem *wanted, PageEnd *root)
{
	item->wake = DT_NOBEGIN;
	item->look = 0;
	item->since = wanted->since;
	wanted->look = 1;			/* it was there */
	return ITEM_CHANGES;
}

/* make_watched -- somebody looks; wanted->look is then the number of the look, his or that of one who has begun before */
static ItemChange
make_watched(EgressPoolItem *item, EgressPoolItem *wanted, PageEnd *root)
{
	ItemChange	change = ITEM_STAYS;

	if (item->wake != DT_NOBEGIN || item->look == 0)
	{
		root->looks = root->looks == PG_UINT32_MAX ? 1 : root->looks + 1;
		item->wake = DT_NOBEGIN;
		item->look = root->looks;
		change = ITEM_CHANGES;
	}
	wanted->look = item->look;
	return change;
}

/* make_full -- it is certain to be full, if nobody has made it open since the look */
static ItemChange
make_full(EgressPoolItem *item, EgressPoolItem *wanted, PageEnd *root)
{
	if (item->wake != DT_NOBEGIN || item->look != wanted->look)
		return ITEM_STAYS;
	item->wake = wanted->wake;
	item->since = wanted->since;
	return ITEM_CHANGES;
}

/* take_out -- it goes, if nobody has made it open since the look */
static ItemChange
take_out(EgressPoolItem *item, EgressPoolItem *wanted, PageEnd *root)
{
	return item->wake == DT_NOBEGIN && item->look == wanted->look ? ITEM_GOES : ITEM_STAYS;
}

/* take_age -- since when it is what it is does not matter any more, if it is as it was */
static ItemChange
take_age(EgressPoolItem *item, EgressPoolItem *wanted, PageEnd *root)
{
	if (memcmp(item, wanted, sizeof(EgressPoolItem)) != 0)
		return ITEM_STAYS;
	item->since = InvalidTransactionId;
	return ITEM_CHANGES;
}

/* pool_index_opened -- a credential may have a connection free, because a lease ends, or ends earlier; does nothing if so it says */
void
pool_index_opened(Relation index, uint64 group, int64 id)
{
	EgressPoolItem item;

	if (!pool_index_find(index, group, id, &item) || (item.wake == DT_NOBEGIN && item.look == 0))
		return;
	change_items(index, &item, 1, make_open);
}

/* pool_index_watch -- begin to look at credentials, by ascending id; their look is 0 then if they are not there any more */
void
pool_index_watch(Relation index, EgressPoolItem *items, int count)
{
	change_items(index, items, count, make_watched);
}

/* pool_index_full -- credentials, by ascending id, were seen to be full, in their looks, until they wake, since */
void
pool_index_full(Relation index, EgressPoolItem *items, int count)
{
	change_items(index, items, count, make_full);
}

/* copy_leaf -- the items of a block, if it is a leaf; how many */
static int
copy_leaf(Relation index, BlockNumber block, EgressPoolItem *items)
{
	Buffer		root = root_lock(index, BUFFER_LOCK_SHARE);
	Buffer		buffer = ReadBuffer(index, block);
	Page		page = BufferGetPage(buffer);
	int			count = PageIsNew(page) || page_end(page)->level > 0 ? 0 : page_end(page)->count;

	memcpy(items, page_items(page), count * sizeof(EgressPoolItem));
	ReleaseBuffer(buffer);
	UnlockReleaseBuffer(root);
	return count;
}

/* pool_index_all_opened -- every credential may have a connection free */
void
pool_index_all_opened(Relation index)
{
	EgressPoolItem *items = palloc(ITEMS_PER_PAGE * sizeof(EgressPoolItem));

	/* what moves meanwhile because a page is split is met again: a new page is the last one */
	for (BlockNumber block = ROOT_BLOCK; block < RelationGetNumberOfBlocks(index); block++)
	{
		int			count = copy_leaf(index, block, items);

		CHECK_FOR_INTERRUPTS();
		change_items(index, items, count, make_open);
	}
	pfree(items);
}

/* -------------------------------------------------------------------- insertion */

/* raise_root -- let what the root holds be in a page below it */
static void
raise_root(Relation index, Buffer root)
{
	Buffer		below = page_new(index);
	GenericXLogState *record = GenericXLogStart(index);
	Page		root_page = GenericXLogRegisterBuffer(record, root, 0);
	Page		below_page = GenericXLogRegisterBuffer(record, below, GENERIC_XLOG_FULL_IMAGE);
	PageEnd    *end = page_end(root_page);
	EgressPoolItem item = page_items(root_page)[0];

	if (end->level + 1 >= MAX_LEVELS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index \"%s\" cannot hold more credentials", RelationGetRelationName(index))));
	page_init(below_page, end->level);
	memcpy(page_items(below_page), page_items(root_page), end->count * sizeof(EgressPoolItem));
	page_set_count(below_page, end->count);

	(void) sum_up(&item, below_page);
	item.look = BufferGetBlockNumber(below);
	end->level++;
	page_items(root_page)[0] = item;
	page_set_count(root_page, 1);
	GenericXLogFinish(record);
	UnlockReleaseBuffer(below);
}

/*
 * split -- split a full page below another, which has room, for an item that is to be inserted
 *
 * In the middle; but where ids come in ascending order, as they mostly do, the old page stays full.
 */
static void
split(Relation index, Buffer root, Buffer above, int position, Buffer full, const EgressPoolItem *item)
{
	Buffer		right = page_new(index);
	GenericXLogState *record = GenericXLogStart(index);
	Page		root_page = GenericXLogRegisterBuffer(record, root, 0);
	Page		above_page = above == root ? root_page : GenericXLogRegisterBuffer(record, above, 0);
	Page		full_page = GenericXLogRegisterBuffer(record, full, 0);
	Page		right_page = GenericXLogRegisterBuffer(record, right, GENERIC_XLOG_FULL_IMAGE);
	EgressPoolItem *items = page_items(full_page);
	int			count = page_end(full_page)->count;
	bool		last = compare(&items[count - 1], item->group, item->id) < 0;
	int			stay = last ? count - 1 : count / 2;
	EgressPoolItem of_right = items[stay];

	page_init(right_page, page_end(full_page)->level);
	memcpy(page_items(right_page), &items[stay], (count - stay) * sizeof(EgressPoolItem));
	page_set_count(right_page, count - stay);
	page_set_count(full_page, stay);

	items = page_items(above_page);
	count = page_end(above_page)->count;
	(void) sum_up(&items[position], full_page);
	(void) sum_up(&of_right, right_page);
	of_right.look = BufferGetBlockNumber(right);
	memmove(&items[position + 2], &items[position + 1], (count - position - 1) * sizeof(EgressPoolItem));
	items[position + 1] = of_right;
	page_set_count(above_page, count + 1);
	GenericXLogFinish(record);
	UnlockReleaseBuffer(right);
}

/* is_full_page -- has a page no room for one more item? */
static bool
is_full_page(Buffer buffer)
{
	return page_end(BufferGetPage(buffer))->count == ITEMS_PER_PAGE;
}

/* make_room -- split the pages on the way to an item's place that are full, from the root down */
static void
make_room(Relation index, Buffer root, const EgressPoolItem *item)
{
	Buffer		above = root;

	if (is_full_page(root))
		raise_root(index, root);
	while (page_end(BufferGetPage(above))->level > 0)
	{
		int			position = position_of_page(BufferGetPage(above), item->group, item->id);
		Buffer		below = page_read(index, page_items(BufferGetPage(above))[position].look);

		LockBuffer(below, BUFFER_LOCK_EXCLUSIVE);
		if (is_full_page(below))
		{
			split(index, root, above, position, below, item);
			UnlockReleaseBuffer(below);
			continue;
		}
		if (above != root)
			UnlockReleaseBuffer(above);
		above = below;
	}
	if (above != root)
		UnlockReleaseBuffer(above);
}

/* insert -- insert an item that was not there; one that is by now is made open */
static void
insert(Relation index, EgressPoolItem *item)
{
	Buffer		root = root_lock(index, BUFFER_LOCK_EXCLUSIVE);
	GenericXLogState *record;
	Page		root_page;
	Page		leaf;
	EgressPoolItem *place;
	int			position;
	int			count;
	PagePath	path;

	make_room(index, root, item);
	record = GenericXLogStart(index);
	root_page = GenericXLogRegisterBuffer(record, root, 0);
	descend(index, root, item->group, item->id, &path);
	leaf = path.depth == 0 ? root_page : GenericXLogRegisterBuffer(record, path.buffers[path.depth], 0);

	position = position_from(leaf, item->group, item->id);
	count = page_end(leaf)->count;
	place = &page_items(leaf)[position];
	if (position == count || compare(place, item->group, item->id) != 0)
	{
		memmove(place + 1, place, (count - position) * sizeof(EgressPoolItem));
		page_set_count(leaf, count + 1);
	}
	*place = *item;
	finish(record, &path, root_page, leaf);
	leave(&path);
	UnlockReleaseBuffer(root);
}

/* insert_or_open -- what becomes of a credential of which a new version was written */
static void
insert_or_open(Relation index, uint64 group, int64 id, TransactionId inserter)
{
	EgressPoolItem item;

	if (pool_index_find(index, group, id, &item))
	{
		item.since = inserter;
		item.look = 0;
		change_items(index, &item, 1, make_new);
		if (item.look != 0)
			return;
	}
	item = (EgressPoolItem) {.group = group, .id = id, .wake = DT_NOBEGIN, .since = inserter};
	insert(index, &item);
}

/* -------------------------------------------------------------------- the access method */

/* pool_index_group -- what stands for a subject, subject_id NULL for everyone, and a provider */
uint64
pool_index_group(Datum subject_type, text *subject_id, int64 provider_id)
{
	uint64		hash = hash_bytes_uint32_extended(DatumGetObjectId(subject_type), (uint64) provider_id);

	if (subject_id == NULL)
		return hash;
	return hash_bytes_extended((unsigned char *) VARDATA_ANY(subject_id), VARSIZE_ANY_EXHDR(subject_id), hash);
}

/* group_of -- the group of a row, from the index's columns */
static uint64
group_of(const Datum *values, const bool *isnull)
{
	return pool_index_group(values[COLUMN_SUBJECT_TYPE],
							isnull[COLUMN_SUBJECT_ID] ? NULL : DatumGetTextPP(values[COLUMN_SUBJECT_ID]),
							DatumGetInt64(values[COLUMN_PROVIDER_ID]));
}

/*
 * pool_insert -- aminsert: after the heap's row, so that who finds the item open sees the change in the row
 *
 * And so that who goes by the row beside others, holding the credential's lock, sees the change or is waited for: doc/limit.md.
 */
static bool
pool_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
			IndexUniqueCheck unique, bool unchanged, struct IndexInfo *info)
{
	int64		id = DatumGetInt64(values[COLUMN_ID]);

	lock_take(LOCK_CREDENTIAL, id, ExclusiveLock);
	lock_give(LOCK_CREDENTIAL, id, ExclusiveLock);
	insert_or_open(index, group_of(values, isnull), id, GetCurrentTransactionId());
	return false;
}

/* make_empty -- an index without items, in a fork that is empty */
static void
make_empty(Relation index, ForkNumber fork)
{
	Buffer		root = ReadBufferExtended(index, fork, P_NEW, RBM_NORMAL, NULL);

	LockBuffer(root, BUFFER_LOCK_EXCLUSIVE);
	Assert(BufferGetBlockNumber(root) == ROOT_BLOCK);
	START_CRIT_SECTION();
	page_init(BufferGetPage(root), 0);
	MarkBufferDirty(root);
	/* the fork of an index that is not logged has to be there after a crash */
	if (RelationNeedsWAL(index) || fork == INIT_FORKNUM)
		log_newpage_buffer(root, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(root);
}

/* build_row -- a row of the table, for pool_build(); state counts them */
static void
build_row(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *state)
{
	CHECK_FOR_INTERRUPTS();
	insert_or_open(index, group_of(values, isnull), DatumGetInt64(values[COLUMN_ID]), InvalidTransactionId);
	(*(double *) state)++;
}

/* check_columns -- refuse an index whose first columns are not those that a group is made of */
static void
check_columns(Relation index)
{
	TupleDesc	desc = RelationGetDescr(index);

	if (desc->natts <= COLUMN_PROVIDER_ID ||
		TupleDescAttr(desc, COLUMN_ID)->atttypid != INT8OID ||
		!type_is_enum(TupleDescAttr(desc, COLUMN_SUBJECT_TYPE)->atttypid) ||
		TupleDescAttr(desc, COLUMN_SUBJECT_ID)->atttypid != TEXTOID ||
		TupleDescAttr(desc, COLUMN_PROVIDER_ID)->atttypid != INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method egress_pool is for the index egress_credential_pool only")));
}

/* pool_build -- ambuild */
static IndexBuildResult *
pool_build(Relation heap, Relation index, struct IndexInfo *info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));

	/* index_create() and reindex_index() say so of a relation that was there before */
	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
	check_columns(index);
	make_empty(index, MAIN_FORKNUM);
	result->heap_tuples = table_index_build_scan(heap, index, info, true, true, build_row, &result->index_tuples, NULL);
	return result;
}

/* pool_build_empty -- ambuildempty */
static void
pool_build_empty(Relation index)
{
	make_empty(index, INIT_FORKNUM);
}

/* pool_bulk_delete -- ambulkdelete: items are of ids, and not of rows' places; pool_clean_up() takes out those without a row */
static IndexBulkDeleteResult *
pool_bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats, IndexBulkDeleteCallback callback, void *state)
{
	return stats != NULL ? stats : palloc0(sizeof(IndexBulkDeleteResult));
}

/* group_of_row -- the group of a row of the table */
static uint64
group_of_row(Relation index, TupleTableSlot *row)
{
	Datum		values[COLUMN_PROVIDER_ID + 1];
	bool		isnull[COLUMN_PROVIDER_ID + 1];

	for (int column = COLUMN_ID; column <= COLUMN_PROVIDER_ID; column++)
		values[column] = slot_getattr(row, index->rd_index->indkey.values[column], &isnull[column]);
	return group_of(values, isnull);
}

/*
 * has_row -- has the table, by its primary key, any version of a row of an item's id in its group?
 *
 * Be it one that nobody sees yet, or that only an old snapshot sees.
 */
static bool
has_row(Relation index, Relation table, Relation key, const EgressPoolItem *item)
{
	TupleTableSlot *row = table_slot_create(table, NULL);
	ScanKeyData id;
	IndexScanDesc scan;
	bool		found = false;

	ScanKeyInit(&id, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(item->id));
	scan = index_beginscan(table, key, SnapshotAny, NULL, 1, 0, SO_NONE);
	index_rescan(scan, &id, 1, NULL, 0);
	while (!found && index_getnext_slot(scan, ForwardScanDirection, row))
		found = group_of_row(index, row) == item->group;
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	return found;
}

/* open_key -- the table's primary key, if it is the id alone; or NULL */
static Relation
open_key(Relation index, Relation table)
{
	Oid			oid = InvalidOid;
	ListCell   *cell;
	List	   *indexes = RelationGetIndexList(table);

	foreach(cell, indexes)
	{
		Relation	key = index_open(lfirst_oid(cell), AccessShareLock);

		if (!OidIsValid(oid) && key->rd_index->indisprimary && key->rd_index->indisvalid &&
			key->rd_rel->relam == BTREE_AM_OID && key->rd_index->indnkeyatts == 1 &&
			key->rd_index->indkey.values[0] == index->rd_index->indkey.values[COLUMN_ID])
			oid = RelationGetRelid(key);
		index_close(key, AccessShareLock);
	}
	list_free(indexes);
	return OidIsValid(oid) ? index_open(oid, AccessShareLock) : NULL;
}

/* is_old -- is a transaction id so old that no snapshot asks for it, not even a standby's, and that it has to go? */
static bool
is_old(TransactionId since, TransactionId horizon)
{
	return TransactionIdIsNormal(since) && (int32) (horizon - since) > KEPT_XIDS;
}

/*
 * may_go -- has an item no row, and can none be on its way?
 *
 * An item comes with a row that may not be in the table's other indexes yet: one whose inserter is open stays.
 */
static bool
may_go(Relation index, Relation table, Relation key, const EgressPoolItem *item)
{
	return !(TransactionIdIsNormal(item->since) && TransactionIdIsInProgress(item->since)) &&
		!has_row(index, table, key, item);
}

/*
 * pool_clean_up -- amvacuumcleanup: take out the items without a row, and transaction ids before they come again
 *
 * An item goes as others become full: by a look. Whoever inserts its row anew makes it open, and then it stays.
 */
static IndexBulkDeleteResult *
pool_clean_up(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	Relation	index = info->index;
	Relation	table;
	Relation	key;
	EgressPoolItem *items;
	EgressPoolItem *old;
	TransactionId horizon;

	if (info->analyze_only)
		return stats;
	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->estimated_count = true;
	table = table_open(index->rd_index->indrelid, AccessShareLock);
	key = open_key(index, table);
	horizon = GetOldestNonRemovableTransactionId(table);
	items = palloc(ITEMS_PER_PAGE * sizeof(EgressPoolItem));
	old = palloc(ITEMS_PER_PAGE * sizeof(EgressPoolItem));
	for (BlockNumber block = ROOT_BLOCK; block < RelationGetNumberOfBlocks(index); block++)
	{
		int			count = copy_leaf(index, block, items);
		int			seem_gone = 0;
		int			gone = 0;
		int			aged = 0;

		for (int i = 0; i < count; i++)
		{
			egress_vacuum_delay();
			if (key != NULL && may_go(index, table, key, &items[i]))
				items[seem_gone++] = items[i];
			else if (is_old(items[i].since, horizon))
				old[aged++] = items[i];
		}
		change_items(index, old, aged, take_age);

		change_items(index, items, seem_gone, make_watched);
		for (int i = 0; i < seem_gone; i++)
			if (items[i].look != 0 && may_go(index, table, key, &items[i]))
				items[gone++] = items[i];
		change_items(index, items, gone, take_out);
		stats->num_index_tuples += count - gone;
		stats->tuples_removed += gone;
	}
	stats->num_pages = RelationGetNumberOfBlocks(index);
	if (key != NULL)
		index_close(key, AccessShareLock);
	table_close(table, AccessShareLock);
	pfree(old);
	pfree(items);
	return stats;
}

/* pool_cost_estimate -- amcostestimate: nobody reads it so */
static void
pool_cost_estimate(struct PlannerInfo *root, struct IndexPath *index_path, double loop_count, Cost *startup_cost,
				   Cost *total_cost, Selectivity *selectivity, double *correlation, double *pages)
{
	*startup_cost = *total_cost = 1.0e10;
	*selectivity = 1;
	*correlation = 0;
	*pages = 0;
}

/* pool_options -- amoptions: it has none */
static bytea *
pool_options(Datum options, bool validate)
{
	return NULL;
}

/* pool_validate -- amvalidate: an operator class has nothing that could be wrong */
static bool
pool_validate(Oid opclass)
{
	return true;
}

/* pool_index_is_one -- is a relation an index of this access method, of this library? */
bool
pool_index_is_one(Relation relation)
{
	return relation->rd_indam != NULL && relation->rd_indam->aminsert == pool_insert;
}

static const IndexAmRoutine routine = {
	.type = T_IndexAmRoutine,
	.amcanmulticol = true,
	.amoptionalkey = true,
	.amcaninclude = true,
	.ambuild = pool_build,
	.ambuildempty = pool_build_empty,
	.aminsert = pool_insert,
	.ambulkdelete = pool_bulk_delete,
	.amvacuumcleanup = pool_clean_up,
	.amcostestimate = pool_cost_estimate,
	.amoptions = pool_options,
	.amvalidate = pool_validate,
};

/* egress_pool_handler -- the access method */
Datum
egress_pool_handler(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(egress_index_am(&routine));
}
