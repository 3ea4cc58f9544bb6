/*
 * pool.c -- which credentials of a big pool may have a connection free
 *
 * An acquire takes the first credential with a connection free, and a menu counts what all of them have. Neither may cost more
 * where many are full. So for each credential the index of pool_index.c says one of three:
 *	OPEN	It may have a connection free.
 *	WATCHED	The same, and somebody has begun to look: a number says which look it is.
 *	FULL	It is certain to have none, for everybody, until a moment: the earliest at which one of its leases ends by itself.
 * What it says is of no transaction: each change is there at once, and stays when a transaction is rolled back.
 *
 * What makes a credential OPEN, whenever it may get a connection free:
 *	- Who ends a lease, by whatever way, first deletes its row, and then makes the credential OPEN, unless it is (freed.c).
 *	  He who lets a lease end earlier than it would have first writes that, and then does the same. lease.c; and for those who
 *	  write the tables by hand, or apply another server's changes, a trigger that always fires (integrity.c).
 *	- Who changes a credential first writes its row, and then PostgreSQL inserts it into the index, which makes it OPEN.
 * Only then they commit.
 *
 * What makes a credential FULL: a look, by who has found it full (settle()). He
 *	1. makes it WATCHED, with a new number; or joins a look that others have begun,
 *	2. looks at its row, and at its leases and their ends: limit_look() must say LIMIT_SEEN_FULL, and the row must be one that
 *	   the snapshot has as committed, and that nobody has begun to change since,
 *	3. makes it FULL, if it is still WATCHED with that number.
 *
 * Why FULL is certain. Whatever frees a connection is two writes: first a row (deleted, or a new version), then OPEN. If OPEN
 * comes after 1, then 3 finds another number, or OPEN comes after 3 and stays. If it comes before 1, then the row was
 * written before 2, which sees it, committed or not; all that 2 reads is read after 1. What cannot come by such writes is a
 * rollback: so what is rolled back must not matter. A lease of an open transaction is not counted, nor one that an open
 * transaction ends; not even the looker's own. So the leases that were counted can only go by a deletion that comes later.
 *
 * Whoever passes over a FULL credential passes over one that is full at that moment. A reader with a snapshot passes over it if it
 * was FULL as of that snapshot, too: `since` is the looker's snapshot's xmax. A reader whose snapshot was taken later sees all
 * the leases that were counted; and had one ended by then, the credential would be OPEN, or FULL by another look, since then.
 *
 * Within a transaction: what it has taken itself may be rolled back, so it makes nothing FULL. But it remembers, with the
 * number of the look, that a credential is full counting its own, as long as it is WATCHED with this number: nobody else has
 * ended a lease of it since, nor has it itself. A rollback to a savepoint makes it forget, because that says nothing to the index.
 *
 * A pool of few credentials is looked at without the index: each costs less than a search. There, only the last rule counts.
 */
#include "pool.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "freed.h"
#include "lease.h"

/* so many credentials of a group have to be full, one after the other, before the next are looked at together */
#define ALONE 2

/* and so many at most are */
#define MOST_TOGETHER 128

/* so many credentials that are full counting its own leases a transaction remembers */
#define MOST_OWN 64

/* What this transaction remembers. */
static struct
{
	bool		registered;		/* the callbacks below are */
	int			count;
	int			next;			/* the place of the next, when there is no other */
	Oid			index;			/* of which these are: numbers of looks begin anew with the index, */
	Oid			file;			/* or its file */
	EgressPoolItem items[MOST_OWN];
}			own;

/* -------------------------------------------------------------------- looking */

/* pool_open -- get ready to look, before any of the short locks is taken */
void
pool_open(EgressPool *pool)
{
	memset(pool, 0, sizeof(EgressPool));
	limit_look_open(&pool->look);
}

/* pool_close -- close what was opened */
void
pool_close(EgressPool *pool)
{
	if (pool->opened)
		scan_close(&pool->rows);
	if (!pool->reads)
		limit_look_close(&pool->look);
}

/*
 * pool_begin -- say as of when is asked, and the highest id that will be, by ascending id
 *
 * The snapshot must stay registered or active as long as is asked.
 */
void
pool_begin(EgressPool *pool, Snapshot snapshot, int64 last_id)
{
	pool->snapshot = snapshot;
	pool->moment = GetCurrentTimestamp();
	limit_look_begin(&pool->look, snapshot, last_id);
}

/* pool_begin_reading -- get ready to find what may have been free for a snapshot, and a moment */
void
pool_begin_reading(EgressPool *pool, Snapshot snapshot, TimestampTz moment)
{
	memset(pool, 0, sizeof(EgressPool));
	pool->reads = true;
	pool->snapshot = snapshot;
	pool->moment = moment;
}

/* pool_find_row -- let a credential be the current row of pool->rows; false if the snapshot does not have it */
bool
pool_find_row(EgressPool *pool, int64 id)
{
	if (!pool->opened)
		scan_open(&pool->rows, INDEX_CREDENTIAL_ID, AccessShareLock);
	pool->opened = true;
	return scan_find_id(&pool->rows, id, pool->snapshot);
}

/*
 * index_settles -- may anything become FULL in the index?
 *
 * While REINDEX CONCURRENTLY makes another, both are there, and of two who are at work one may still have the old one.
 */
static bool
index_settles(Relation index)
{
	Relation	table = scan_open_table(TABLE_CREDENTIAL, AccessShareLock);
	List	   *indexes = RelationGetIndexList(table);
	int			count = 0;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		HeapTuple	row = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(row))
			continue;
		if (((Form_pg_class) GETSTRUCT(row))->relam == index->rd_rel->relam)
			count++;
		ReleaseSysCache(row);
	}
	list_free(indexes);
	table_close(table, NoLock);
	return count == 1 && !RecoveryInProgress() && !IsInParallelMode();
}

/* is_settled -- step 2 of a look: is it certain, for everybody, that a credential has no connection free? Until *until */
static bool
is_settled(EgressPool *pool, const EgressPoolItem *item, TimestampTz *until)
{
	EgressScan *row = &pool->rows;

	*until = DT_NOEND;
	if (!pool_find_row(pool, item->id) || freed_group(row) != item->group ||
		scan_row_is_changing(row) || scan_row_is_own(row))
		return false;
	if (!scan_bool(row, Anum_egress_credential_enabled))
		return true;
	return scan_bool(row, Anum_egress_credential_limit_active_connections) &&
		limit_look(&pool->look, item->id,
				   DatumGetInt32(scan_value(row, Anum_egress_credential_active_connection_limit)), lease_cool_down(row),
				   true, true, until) == LIMIT_SEEN_FULL;
}

/* settle -- look at credentials of a group, by ascending id, and let those be FULL that are; returns how many */
static int
settle(EgressPool *pool, Relation index, EgressPoolItem *items, int count)
{
	int			full = 0;

	if (count == 0 || !index_settles(index))
		return 0;
	pool_index_watch(index, items, count);
	limit_look_begin(&pool->look, pool->snapshot, items[count - 1].id);
	for (int i = 0; i < count; i++)
	{
		TimestampTz until;

		CHECK_FOR_INTERRUPTS();
		if (items[i].look == 0 || !is_settled(pool, &items[i], &until))
			continue;
		items[full] = items[i];
		items[full].wake = until;
		items[full].since = pool->snapshot->xmax;
		full++;
	}
	pool_index_full(index, items, full);
	limit_look_begin(&pool->look, pool->snapshot, PG_INT64_MAX);
	return full;
}

/* -------------------------------------------------------------------- what a transaction remembers */

/* forget -- at the end of a transaction */
static void
forget(XactEvent event, void *arg)
{
	own.count = 0;
}

/* forget_subtransaction -- at a rollback to a savepoint, which may have been one of leases that were counted */
static void
forget_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		own.count = 0;
}

/* is_of_index -- is what is remembered of an index as it is? */
static bool
is_of_index(Relation index)
{
	return own.index == RelationGetRelid(index) && own.file == egress_file_number(index);
}

/* is_remembered -- is a credential full, counting own leases, and has none of it ended since? */
static bool
is_remembered(uint64 group, int64 id)
{
	for (int i = 0; i < own.count; i++)
		if (own.items[i].id == id && own.items[i].group == group)
		{
			Relation	index = scan_open_pool_index();
			EgressPoolItem item;
			bool		found;

			found = is_of_index(index) && pool_index_find(index, group, id, &item) &&
				item.wake == DT_NOBEGIN && item.look == own.items[i].look;
			index_close(index, NoLock);
			return found;
		}
	return false;
}

/* remember -- look at a credential that seems full, counting own leases, and remember it if it is */
static void
remember(EgressPool *pool, uint64 group, int64 id, int32 limit, const Interval *cool_down)
{
	Relation	index;
	EgressPoolItem item = {.group = group, .id = id, .look = 1};
	TimestampTz until;
	int			place;

	if (!freed_is_told())
		return;
	if (!own.registered)
	{
		RegisterXactCallback(forget, NULL);
		RegisterSubXactCallback(forget_subtransaction, NULL);
		own.registered = true;
	}
	index = scan_open_pool_index();
	if (index_settles(index))
	{
		pool_index_watch(index, &item, 1);
		limit_look_begin(&pool->look, pool->snapshot, pool->look.last_id);
		/* an end that comes by itself may be rolled back; who has many leases has none, or waits for it */
		if (item.look != 0 && pool_find_row(pool, id) && !scan_row_is_changing(&pool->rows) &&
			limit_look(&pool->look, id, limit, cool_down, true, false, &until) >= LIMIT_SEEN_FULL_WITH_OWN && until == DT_NOEND)
		{
			if (!is_of_index(index))
				own.count = 0;
			own.index = RelationGetRelid(index);
			own.file = egress_file_number(index);
			for (place = 0; place < own.count && own.items[place].id != id; place++)
				;
			if (place == MOST_OWN)
				place = own.next++ % MOST_OWN;
			own.count = Max(own.count, place + 1);
			own.items[place] = item;
		}
		limit_look_begin(&pool->look, pool->snapshot, pool->look.last_id);
	}
	index_close(index, NoLock);
}

/*
 * pool_is_full -- is it certain that a credential was full at the snapshot, or is for this transaction?
 *
 * Before: limit and cool_down are the credential's at the snapshot. big: it came from pool_next(), last; then it is FULL for all, if it is.
 * After: pool->look.cooled_at says when the first of its connections has cooled down, if it was seen.
 */
bool
pool_is_full(EgressPool *pool, uint64 group, int64 id, int32 limit, const Interval *cool_down, bool big)
{
	TimestampTz until;
	TimestampTz cooled_at;
	EgressLimitSeen seen;

	pool->look.cooled_at = DT_NOEND;
	if (own.count > 0 && is_remembered(group, id))
		return true;
	if (big)
		limit_look_begin(&pool->look, pool->snapshot, id);
	seen = limit_look(&pool->look, id, limit, cool_down, big, false, &until);
	cooled_at = pool->look.cooled_at;
	if (seen == LIMIT_SEEN_FULL_WITH_OWN)
		remember(pool, group, id, limit, cool_down);
	if (big && seen == LIMIT_SEEN_FULL)
		pool_has_none(pool);
	pool->look.cooled_at = cooled_at;
	return seen != LIMIT_NOT_SEEN_FULL;
}

/* pool_cooled_at -- when the first connection of a credential that cools down is free, for a message; DT_NOEND: none does */
TimestampTz
pool_cooled_at(EgressPool *pool, int64 id, int32 limit, const Interval *cool_down)
{
	TimestampTz until;

	limit_look_begin(&pool->look, pool->snapshot, Max(pool->look.last_id, id));
	(void) limit_look(&pool->look, id, limit, cool_down, true, true, &until);
	limit_look_begin(&pool->look, pool->snapshot, pool->look.last_id);
	return pool->look.cooled_at;
}

/* -------------------------------------------------------------------- searching a big pool */

/* pool_search -- begin to search groups; the first of pool_next() is that of the lowest id */
void
pool_search(EgressPool *pool, const uint64 *groups, int count)
{
	pool->cursors = palloc0(count * sizeof(EgressPoolCursor));
	pool->count = count;
	pool->current = NULL;
	pool->start = PG_INT64_MIN;
	pool->wrapped = false;
	for (int i = 0; i < count; i++)
	{
		pool->cursors[i].group = groups[i];
		pool->cursors[i].from_id = PG_INT64_MIN;
	}
}

/* pool_start_by_chance -- let the search begin at one of the credentials drawn by chance, go up, and then on from the lowest */
void
pool_start_by_chance(EgressPool *pool)
{
	Relation	index = scan_open_pool_index();
	double		many = 0;

	for (int i = 0; i < pool->count; i++)
	{
		int64		id;
		double		more = pool_index_draw(index, pool->cursors[i].group, &id);

		many += more;
		if (more > 0 && pg_prng_double(&pg_global_prng_state) * many < more)
			pool->start = id;
	}
	index_close(index, NoLock);
	for (int i = 0; i < pool->count; i++)
		pool->cursors[i].from_id = pool->start;
}

/* pool_start_at -- let the search begin at an id, go up, and end there */
void
pool_start_at(EgressPool *pool, int64 id)
{
	for (int i = 0; i < pool->count; i++)
		pool->cursors[i].from_id = id;
}

/* wrap -- go on from the lowest id; false when the search is over */
static bool
wrap(EgressPool *pool)
{
	if (pool->wrapped || pool->start == PG_INT64_MIN)
		return false;
	pool->wrapped = true;
	for (int i = 0; i < pool->count; i++)
	{
		pool->cursors[i].from_id = PG_INT64_MIN;
		pool->cursors[i].at_item = false;
		pool->cursors[i].at_end = false;
		pool->cursors[i].full = 0;
	}
	return true;
}

/* fetch -- let a cursor be at the next item, or at its end */
static void
fetch(EgressPool *pool, Relation index, EgressPoolCursor *cursor)
{
	EgressPoolItem items[MOST_TOGETHER];

	for (;;)
	{
		int			together = pool->reads || cursor->full <= ALONE ? 1 : Min(cursor->full, MOST_TOGETHER);
		int			count = pool_index_next(index, cursor->group, cursor->from_id, pool->moment,
											pool->reads ? pool->snapshot : NULL, items, together);

		CHECK_FOR_INTERRUPTS();
		cursor->at_end = count == 0;
		cursor->at_item = count > 0;
		if (count == 0)
			return;
		cursor->item = items[0];
		if (together == 1)
			return;

		/* those that are full now are not there any more when it is asked again */
		if (settle(pool, index, items, count) < count)
			cursor->full = 0;
		else
		{
			cursor->from_id = items[count - 1].id;
			if (cursor->from_id < PG_INT64_MAX)
				cursor->from_id++;
			cursor->full += count;
		}
	}
}

/* next -- pool_next(), up to the highest id */
static bool
next(EgressPool *pool, int *group, int64 *id)
{
	Relation	index = NULL;
	EgressPoolCursor *first = NULL;

	for (int i = 0; i < pool->count; i++)
	{
		EgressPoolCursor *cursor = &pool->cursors[i];

		if (!cursor->at_item && !cursor->at_end)
		{
			if (index == NULL)
				index = scan_open_pool_index();
			fetch(pool, index, cursor);
		}
		if (cursor->at_item && (first == NULL || cursor->item.id < first->item.id))
			first = cursor;
	}
	if (index != NULL)
		index_close(index, NoLock);
	pool->current = first;
	if (first == NULL)
		return false;
	*group = first - pool->cursors;
	*id = first->item.id;
	first->at_item = false;
	first->at_end = first->item.id == PG_INT64_MAX;
	first->from_id = first->item.id + (first->at_end ? 0 : 1);
	return true;
}

/*
 * pool_next -- the next credential, by ascending id, that may have a connection free; false when there is none
 *
 * *group is which of the groups it is of, as its number; whether it is there, and fits, is to be seen in its row.
 */
bool
pool_next(EgressPool *pool, int *group, int64 *id)
{
	bool		found = next(pool, group, id);

	if (!found && wrap(pool))
		found = next(pool, group, id);
	return found && !(pool->wrapped && *id >= pool->start);
}

/*
 * pool_come_to -- let a credential of one of the groups, as its number, be the one that came last; false: it is certain to be full
 *
 * For whoever knows from elsewhere which credentials matter. Where the search goes on after that is not said.
 */
bool
pool_come_to(EgressPool *pool, int group, int64 id)
{
	Relation	index = scan_open_pool_index();
	EgressPoolCursor *cursor = &pool->cursors[group];
	bool		found = pool_index_find(index, cursor->group, id, &cursor->item);

	index_close(index, NoLock);
	cursor->at_item = false;
	pool->current = cursor;
	/* what the index does not have, a search would not come to, either */
	return found && cursor->item.wake <= pool->moment;
}

/* pool_has_none -- the credential that came last has no connection to give, for all that is known: let it be FULL, if it is certain */
void
pool_has_none(EgressPool *pool)
{
	Relation	index = scan_open_pool_index();
	EgressPoolItem item = pool->current->item;

	if (settle(pool, index, &item, 1) == 1)
		pool->current->full++;
	index_close(index, NoLock);
}

/*
 * pool_tell_full -- a reader has found credentials full, which are sorted here: let those be FULL that still are
 *
 * As who reads a row leaves hints in it: what a menu has counted, the next one need not count.
 */
void
pool_tell_full(EgressPoolItem *items, int count)
{
	Relation	index;
	EgressPool	pool;
	Snapshot	snapshot;

	if (RecoveryInProgress() || IsInParallelMode())
		return;
	qsort(items, count, sizeof(EgressPoolItem), pool_index_compare);
	pool_open(&pool);
	index = scan_open_pool_index();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	pool_begin(&pool, snapshot, PG_INT64_MAX);
	for (int i = 0; i < count;)
	{
		int			together = 1;

		while (i + together < count && together < MOST_TOGETHER && items[i + together].group == items[i].group)
			together++;
		(void) settle(&pool, index, items + i, together);
		i += together;
	}
	index_close(index, NoLock);
	pool_close(&pool);
	UnregisterSnapshot(snapshot);
}
