/*
 * server.c -- what PostgreSQL does for the protocol: its lock manager, and what transactions' rows are to others
 */
#include <string.h>

#include "model.h"

/*
 * The lock manager (storage/lmgr/lock.c, proc.c).
 */

/* in_the_way -- does somebody hold a lock, or wait for it before position last of its queue, who conflicts with a mode? */
static bool
in_the_way(const Lock *lock, int mode, int last)
{
	if (lock->exclusive || (mode == EXCLUSIVE && lock->shared))
		return true;
	for (int i = 0; i < last && lock->queue[i]; i++)
		if (mode == EXCLUSIVE || lock->queue[i] & WANTS_EXCLUSIVE)
			return true;
	return false;
}

/* hold -- let this connection hold a lock */
static void
hold(Lock *lock, int mode)
{
	if (mode == EXCLUSIVE)
		lock->exclusive = self + 1;
	else
		lock->shared |= 1 << self;
}

/* request -- take a lock if nobody is in the way, or queue for it */
bool
request(int id, int mode)
{
	Lock	   *lock = &m->locks[id];
	int			i = 0;

	if (!in_the_way(lock, mode, PROCS))
	{
		hold(lock, mode);
		return true;
	}
	while (lock->queue[i])
		i++;
	lock->queue[i] = (self + 1) | (mode == EXCLUSIVE ? WANTS_EXCLUSIVE : 0);
	return false;
}

/* dequeue -- leave a queue; returns the mode that was waited for */
int
dequeue(Lock *lock, int i)
{
	int			mode = lock->queue[i] & WANTS_EXCLUSIVE ? EXCLUSIVE : SHARE;

	memmove(&lock->queue[i], &lock->queue[i + 1], PROCS - 1 - i);
	lock->queue[PROCS - 1] = 0;
	return mode;
}

/* granted -- does this connection's turn in the queue come? */
bool
granted(int id)
{
	Lock	   *lock = &m->locks[id];
	int			i = 0;

	while ((lock->queue[i] & ~WANTS_EXCLUSIVE) != self + 1)
		i++;
	if (in_the_way(lock, lock->queue[i] & WANTS_EXCLUSIVE ? EXCLUSIVE : SHARE, i))
		return false;
	hold(lock, dequeue(lock, i));
	return true;
}

/* try -- take a lock if nobody is in the way */
bool
try(int id)
{
	if (in_the_way(&m->locks[id], EXCLUSIVE, PROCS))
		return false;
	hold(&m->locks[id], EXCLUSIVE);
	return true;
}

/* release -- give a lock back */
void
release(int id)
{
	if (m->locks[id].exclusive == self + 1)
		m->locks[id].exclusive = 0;
	m->locks[id].shared &= ~(1 << self);
}

/* held_lock -- a lock that a connection holds, -1 for none */
int
held_lock(int proc)
{
	for (int i = 0; i < LOCKS; i++)
		if (m->locks[i].exclusive == proc + 1 || m->locks[i].shared & 1 << proc)
			return i;
	return -1;
}

bool
holds_a_lock(int proc)
{
	return held_lock(proc) >= 0;
}

/* queued -- where a connection waits for a lock, NULL for nowhere; *position is that in the queue */
Lock *
queued(int proc, int *position)
{
	for (int i = 0; i < LOCKS; i++)
		for (*position = 0; *position < PROCS; (*position)++)
			if ((m->locks[i].queue[*position] & ~WANTS_EXCLUSIVE) == proc + 1)
				return &m->locks[i];
	return NULL;
}

bool
waits_for_lock(int proc)
{
	int			position;

	return queued(proc, &position) != NULL;
}

/*
 * Transactions, and what their rows are to others.
 */

/* is_mine, is_other -- was something written by this connection's transaction, or by another that is open? */
bool
is_mine(int stamp)
{
	return OPEN(stamp) && OWNER(stamp) == self;
}

bool
is_other(int stamp)
{
	return OPEN(stamp) && OWNER(stamp) != self;
}

/* serial_of -- which transaction of its connection an open one is */
byte
serial_of(int stamp)
{
	Proc	   *owner = &m->procs[OWNER(stamp)];

	return owner->serial[0] << 4 | (LEVEL(stamp) ? owner->serial[1] : 0);
}

bool
is_running(int stamp, byte serial)
{
	return serial_of(stamp) == serial;
}

/* wait_for -- what WAIT_FOR_TRANSACTION waits for */
void
wait_for(int stamp)
{
	p->busy = stamp;
	p->busy_serial = serial_of(stamp);
}

/* remove_row -- a row is dead to all */
void
remove_row(int i)
{
	memset(&m->rows[i], 0, sizeof(Row));
	for (int proc = 0; proc < PROCS; proc++)
	{
		Proc	   *q = &m->procs[proc];

		q->page &= ~(1 << i);
		q->ends &= ~(1 << i);
		q->new_ends &= ~(1 << i);
		if (q->entry == i + 1)
			q->entry = GONE_ROW;
		if (q->row == i + 1)
			q->row = GONE_ROW;
		q->was_over &= ~(1 << i);
	}
}

/* row_is_held -- HeapTupleSatisfiesDirty(): is a row of egress_lease there for a connection? */
bool
row_is_held(const Row *row, int proc)
{
	return row->xmin != NOBODY && !(OPEN(row->xmax) && OWNER(row->xmax) == proc);
}

/* object_is_there -- does a new snapshot of a connection see the credential or the gateway? */
bool
object_is_there(int id, int proc)
{
	Object	   *object = &m->objects[id];

	return !object->gone &&
		!(OPEN(object->xmax) && OWNER(object->xmax) == proc && (object->deleted[0] || object->deleted[1]));
}

/* limit_seen -- the limit of a credential, or of the user, in a new snapshot of a connection */
int
limit_seen(int id, int proc)
{
	Object	   *object = &m->objects[id];

	if (OPEN(object->xmax) && OWNER(object->xmax) == proc)
	{
		if (object->changed[1])
			return object->changed[1] - 1;
		if (object->changed[0])
			return object->changed[0] - 1;
	}
	return object->limit;
}

/* group_seen -- the group of a credential in a new snapshot of a connection */
int
group_seen(int id, int proc)
{
	Object	   *object = &m->objects[id];

	if (OPEN(object->xmax) && OWNER(object->xmax) == proc)
		for (int l = 1; l >= 0; l--)
			if (object->moved[l])
				return object->moved[l] - 1;
	return object->group;
}

/* once_seen -- is a credential once per gateway in a new snapshot of a connection? */
bool
once_seen(int id, int proc)
{
	Object	   *object = &m->objects[id];

	if (OPEN(object->xmax) && OWNER(object->xmax) == proc)
		for (int l = 1; l >= 0; l--)
			if (object->switched[l])
				return object->switched[l] - 1;
	return object->once;
}

/* cool_seen -- the cool_down of a credential in a new snapshot of a connection */
int
cool_seen(int id, int proc)
{
	Object	   *object = &m->objects[id];

	if (OPEN(object->xmax) && OWNER(object->xmax) == proc)
		for (int l = 1; l >= 0; l--)
			if (object->cooled[l])
				return object->cooled[l] - 1;
	return object->cool;
}

/* has_cooled_down -- is a row that of a connection that has cooled down, by a cool_down? */
bool
has_cooled_down(const Row *row, int cool)
{
	return row->cooling && row->age >= cool;
}

/* is_settled -- does no other open transaction insert or delete a row? */
bool
is_settled(const Row *row)
{
	return !is_other(row->xmin) && !is_other(row->xmax);
}

/*
 * new_version -- a renewal commits: what is that to a look that has read the entries of the lease's end, and visits them later?
 *
 * The old version is not there any more for a dirty snapshot. But it was replaced after the look's snapshot, so it counts
 * as if it had been visited before. What was the renewal's is the only one now.
 */
static void
new_version(int i)
{
	for (int proc = 0; proc < PROCS; proc++)
	{
		Proc	   *q = &m->procs[proc];

		if (!q->looks_at_ends)
			continue;
		if (q->ends & 1 << i && mutant != replaced_end_not_seen && m->rows[i].end > q->wake)
			q->wake = m->rows[i].end;
		q->ends &= ~(1 << i);
		if (q->new_ends & 1 << i)
			q->ends |= 1 << i;
		q->new_ends &= ~(1 << i);
	}
}

/* no_version -- nor is there what a rolled back transaction wrote: the new version, or the only one */
static void
no_version(int i, bool the_new)
{
	for (int proc = 0; proc < PROCS; proc++)
		if (m->procs[proc].looks_at_ends)
		{
			m->procs[proc].new_ends &= ~(1 << i);
			if (!the_new)
				m->procs[proc].ends &= ~(1 << i);
		}
}

/* pool_forget (pool.c) -- this connection knows nothing any more about credentials that are full with its own leases */
void
pool_forget(void)
{
	for (int c = 1; c <= CREDENTIALS; c++)
		m->entries[group_of[self]][c].lookers &= ~(1 << self);
	memset(p->remembered, 0, sizeof(p->remembered));
}

/* commits -- the transaction is out of the array of running ones: all sees what it did (ProcArrayEndTransaction()) */
void
commits(void)
{
	for (int i = 0; i < ROWS; i++)
	{
		Row		   *row = &m->rows[i];

		if (is_mine(row->xmax))
		{
			remove_row(i);
			continue;
		}
		if (is_mine(row->renewed))
		{
			new_version(i);
			row->end = row->renewed_end;
			row->renewed = row->renewed_end = 0;
			row->age = 0;
			if (row->end == END_NONE)
				row->end_xmin = NOBODY;
		}
		if (is_mine(row->end_xmin))
			row->end_xmin = COMMITTED;
		if (is_mine(row->xmin))
			row->xmin = COMMITTED;
	}
	for (int i = 0; i <= USER; i++)
	{
		Object	   *object = &m->objects[i];

		if (!is_mine(object->xmax))
			continue;
		object->limit = limit_seen(i, self);
		object->group = group_seen(i, self);
		object->once = once_seen(i, self);
		object->cool = cool_seen(i, self);
		object->gone = object->deleted[0] || object->deleted[1];
		object->xmax = NOBODY;
		memset(object->changed, 0, sizeof(object->changed));
		memset(object->deleted, 0, sizeof(object->deleted));
		memset(object->moved, 0, sizeof(object->moved));
		memset(object->switched, 0, sizeof(object->switched));
		memset(object->cooled, 0, sizeof(object->cooled));
		for (int proc = 0; proc < PROCS && i != USER; proc++)
		{
			if (m->procs[proc].acquiring)
				m->procs[proc].replaced |= 1 << i;
			if (config->pool && m->procs[proc].snapshot_taken)
				m->procs[proc].changed |= 1 << i;
		}
	}
	m->committing &= ~(1 << self);
	if (mutant != remembered_over_the_end)
		pool_forget();
}

/* aborts -- what the transaction did is undone for all, from its savepoint on or whole */
void
aborts(int level)
{
	for (int i = 0; i < ROWS; i++)
	{
		Row		   *row = &m->rows[i];

		if (is_mine(row->xmin) && LEVEL(row->xmin) >= level)
		{
			remove_row(i);
			continue;
		}
		if (is_mine(row->xmax) && LEVEL(row->xmax) >= level)
			row->xmax = NOBODY;
		if (is_mine(row->end_xmax) && LEVEL(row->end_xmax) >= level)
			row->end_xmax = NOBODY;
		if (is_mine(row->renewed) && LEVEL(row->renewed) >= level)
		{
			no_version(i, true);
			row->renewed = row->renewed_end = 0;
		}
		if (is_mine(row->end_xmin) && LEVEL(row->end_xmin) >= level)
		{
			no_version(i, false);
			row->end = row->end_xmin = 0;
		}
	}
	for (int i = 0; i <= USER; i++)
	{
		Object	   *object = &m->objects[i];

		if (!is_mine(object->xmax))
			continue;
		for (int l = level; l < 2; l++)
			object->changed[l] = object->deleted[l] = object->moved[l] = object->switched[l] = object->cooled[l] = 0;
		if (!object->changed[0] && !object->deleted[0] && !object->moved[0] && !object->switched[0] && !object->cooled[0])
			object->xmax = NOBODY;
	}
	m->committing &= ~(1 << self);
	p->owes = 0;
	if (mutant != (level ? remembered_over_rollback : remembered_over_the_end))
		pool_forget();
	p->serial[level]++;
	if (level == 0)
		p->serial[1] = p->level = p->broken = 0;
	memset(p->said[level], 0, sizeof(p->said[level]) * (2 - level));
}
