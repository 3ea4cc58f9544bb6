/*
 * promises.c -- what must hold in every state, independent of how the protocol does it
 *
 * Exact. A credential's leases are counted by what may become of the open transactions: of each, the worst of commit, rollback
 * and rollback to its savepoint. Then acquires must be linearizable: each that gets a connection got it at one moment between
 * its snapshot and its lease, at which fewer leases than the limit counted, the limit that was committed then, or the
 * one that its own transaction has set. m->possible has a bit for each way in which the acquires that are on their way may
 * have done so already; if an acquire has a lease in none of them, the limit is passed. So who began after a limit was
 * committed goes by it, and a limit that was lowered below what is in use lets nobody in, whenever they began.
 *
 * Once per gateway. The same moment must be one at which no other lease of the credential at that gateway counts, if by what
 * was committed then, or what the acquire's own transaction has set, the credential is once per gateway. A credential is full
 * for an acquire, too, when one is there.
 *
 * A user's limit. The same of the user's leases, by themselves: each acquire of the user that gets a connection got it at one
 * moment at which the user had fewer leases than the limit of that moment. That may be another moment than the credential's. An
 * expired lease counts for no user, nor does what cools down.
 *
 * What cools down. Its row is deleted when that is over, or with its credential, and makes no other deletion fail then.
 *
 * Nobody waits. No short lock is held between statements or while waiting for a transaction (then a wait for one ends
 * without anybody's commit), and there is no deadlock with one. An acquire waits for a transaction only in lease_wait(), for
 * its own session. And NG004 is justified: each credential that fits was full at a moment between snapshot and answer. What an
 * open transaction gives back is held; so is an expired lease if meanwhile somebody held its session's lock, which an acquire
 * only tries. NG008 likewise: the user was at the limit at a moment; and there was one at which he was not, when it is NG004.
 *
 * FULL is full. A credential whose entry in the pool's index is FULL has no connection free, in whatever way each open
 * transaction ends, until the entry's end is past; only who is about to make it OPEN, before the statement is over, may have
 * gone ahead. What a connection remembers about its own leases is so when it uses it. And a menu that takes FULL for 0
 * connections would count none by its snapshot.
 *
 * Nothing leaks. When all is over, no lock and no row of an open transaction is left; the leases are those that were answered
 * and committed; and an acquire for each connection that should be free gets it, and one more does not.
 */
#include <string.h>

#include "model.h"

/* kept -- is what a transaction wrote there when its first levels levels are kept? (0: none, 2: it commits) */
static bool
kept(int stamp, int levels)
{
	return stamp == COMMITTED || (OPEN(stamp) && LEVEL(stamp) < levels);
}

/* whose -- the connection whose open transaction decides about a row, -1 for none; promises_hold() sees that it is one */
static int
whose(const Row *row)
{
	return OPEN(row->xmin) ? OWNER(row->xmin) : OPEN(row->xmax) ? OWNER(row->xmax) :
		OPEN(row->renewed) ? OWNER(row->renewed) : OPEN(row->end_xmin) ? OWNER(row->end_xmin) : -1;
}

static int	taker = -1;		/* the connection whose acquire is asked about */

/*
 * counts -- is a row one that counts, by a cool_down, when so much of its transaction is kept?
 *
 * What an acquire deletes because it is over must be over when it gets its connection.
 */
static bool
counts(const Row *row, int levels, int cool)
{
	int			end = kept(row->renewed, levels) ? row->renewed_end : kept(row->end_xmin, levels) ? row->end : END_NONE;
	int			age = kept(row->renewed, levels) ? 0 : row->age;

	return row->entries & ENTRY_SLOT && !row->taking && kept(row->xmin, levels) &&
		(!kept(row->xmax, levels) || (row->going && row->going == taker + 1)) &&
		(end != END_PAST || row->renewing || age < cool) && !has_cooled_down(row, cool);
}

/*
 * worst -- the most leases of a credential (at a gateway, 0: at all), or of a session, or of the user (0, 0), that there may be; cool:
 * the cool_down; extra: connections with one more
 */
static int
worst(int credential, int gateway, int session, int cool, int extra)
{
	int			number[PROCS + 1][3] = {0};
	int			total = 0;

	for (int i = 0; i < ROWS; i++)
	{
		Row		   *row = &m->rows[i];

		if (row->xmin != NOBODY && 
			(credential ? row->credential == credential : session ? row->session == session : row->user) &&
			(gateway == 0 || row->gateway == gateway))
			for (int levels = 0; levels < 3; levels++)
				number[whose(row) + 1][levels] += counts(row, levels, cool);
	}
	for (int proc = -1; proc < PROCS; proc++)
	{
		int		   *of = number[proc + 1];
		int			most;

		/* an acquire's lease is there if the level that it works at is kept */
		if (proc >= 0 && extra & 1 << proc)
			for (int levels = m->procs[proc].level + 1; levels < 3; levels++)
				of[levels]++;
		most = of[0] > of[1] ? of[0] : of[1];
		total += most > of[2] ? most : of[2];
	}
	return total;
}

/* who_took -- the connections that have taken one of a credential, in one of the ways of m->possible */
static int
who_took(int way, int credential)
{
	int			took = 0;

	for (int proc = 0; proc < PROCS; proc++, way /= CREDENTIALS + 1)
		if (way % (CREDENTIALS + 1) == credential)
			took |= 1 << proc;
	return took;
}

/* at_gateway -- those of some connections whose acquires are for a gateway */
static int
at_gateway(int procs, int gateway)
{
	for (int proc = 0; proc < PROCS; proc++)
		if (m->procs[proc].gateway != gateway)
			procs &= ~(1 << proc);
	return procs;
}

static const int power[PROCS + 1] = {1, 3, 9, 27};

/* taking -- add to the possible ways those in which one more acquire gets its connection now */
static void
taking(void)
{
	for (int way = 0; way < power[PROCS]; way++)
		if (m->possible & 1u << way)
			for (int proc = 0; proc < PROCS; proc++)
			{
				if (!m->procs[proc].acquiring || way / power[proc] % 3 != 0)
					continue;
				for (int c = 1; c <= CREDENTIALS; c++)
				{
					int			limit = limit_seen(c, proc);
					int			cool = cool_seen(c, proc);
					int			gateway = m->procs[proc].gateway;
					int			who = who_took(way, c) | 1 << proc;

					taker = proc;
					if (fits(proc, c) && !(m->possible & 1u << (way + c * power[proc])) &&
						(limit == NO_LIMIT || worst(c, 0, 0, cool, who) <= limit) &&
						(!once_seen(c, proc) || worst(c, gateway, 0, cool, at_gateway(who, gateway)) <= 1))
						m->possible |= 1u << (way + c * power[proc]);
					taker = -1;
				}
			}
}

/* taking_for_the_user -- the same of the user's limit, by the set of the acquires that have got theirs */
static void
taking_for_the_user(void)
{
	for (int way = 0; way < 1 << PROCS; way++)
		if (m->user_possible & 1u << way)
			for (int proc = 0; proc < PROCS; proc++)
			{
				int			limit = limit_seen(USER, proc);
				int			with = way | 1 << proc;

				if (m->procs[proc].acquiring && is_user[proc] && !(m->user_possible & 1u << with) &&
					(limit == NO_LIMIT || worst(0, 0, 0, 0, with) <= limit))
					m->user_possible |= 1u << with;
			}
}

/* keep -- keep the ways in which this connection has taken one of a credential (0: none), and forget that it has */
static void
keep(int credential)
{
	uint32_t	kept_ways = 0;

	for (int way = 0; way < power[PROCS]; way++)
		if (m->possible & 1u << way && way / power[self] % 3 == credential)
			kept_ways |= 1u << (way - credential * power[self]);
	m->possible = kept_ways;
	if (!is_user[self])
		return;
	kept_ways = 0;
	for (int way = 0; way < 1 << PROCS; way++)
		if (m->user_possible & 1u << way && (way >> self & 1) == (credential != 0))
			kept_ways |= 1u << (way & ~(1 << self));
	m->user_possible = kept_ways;
}

/* is_undecided -- has a lease expired, while an open transaction is about to change that, or has ended it? */
static bool
is_undecided(const Row *row)
{
	return OPEN(row->xmin) || OPEN(row->xmax) || OPEN(row->renewed) || OPEN(row->end_xmin) || row->renewing;
}

/*
 * is_over -- has a lease expired, and cooled down, whatever becomes of the other transaction that ends it?
 *
 * Not while the same transaction has changed its end before: part of that may stay.
 */
static bool
is_over(const Row *row, int proc, int cool)
{
	return row->end == END_PAST && row->age >= cool && !OPEN(row->xmin) && OPEN(row->xmax) && OWNER(row->xmax) != proc &&
		!OPEN(row->end_xmin) && (row->renewed ? row->renewed : row->end_xmax) == row->xmax;
}

/* is_full -- may an acquire of a connection be told, at this moment, that a credential has no connection free? */
static bool
is_full(int credential, int proc, bool with_expired)
{
	Object	   *object = &m->objects[credential];
	int			limit = limit_seen(credential, proc);
	int			cool = cool_seen(credential, proc);
	int			held = 0;
	int			here = 0;
	int			slots = 0;		/* of what is held: what is in one slot is one connection */

	if (object->gone || object->deleted[0] || object->deleted[1] ||
		(m->procs[proc].gateway == 1 &&
		 (m->objects[0].gone || m->objects[0].deleted[0] || m->objects[0].deleted[1])))
		return true;
	for (int i = 0; i < ROWS; i++)
	{
		Row		   *row = &m->rows[i];
		bool		open = OPEN(row->xmin) && OWNER(row->xmin) != proc;

		if (row->credential != credential || !(row->entries & ENTRY_SLOT) || !row_is_held(row, proc))
			continue;
		if (has_cooled_down(row, cool) || (is_over(row, proc, cool) && !with_expired))
			continue;
		else if (row->end != END_PAST || row->age < cool || is_undecided(row) || with_expired)
		{
			here += row->gateway == m->procs[proc].gateway;
			if (row->slot == SLOT_NONE)
				held++;
			else if (!row->cooling || !open)	/* then its lease counts */
				slots |= 1 << row->slot;
		}
	}
	for (; slots; slots &= slots - 1)
		held++;
	return (limit != NO_LIMIT && held >= limit) || (once_seen(credential, proc) && here > 0);
}

/* Which leases that have expired count in is_user_full(). */
typedef enum Expired
{
	NO_EXPIRED,
	UNDECIDED,					/* those that an open transaction is about to change, or to end, and may not be done with */
	ALL_EXPIRED
} Expired;

/* is_user_full -- is the user of a connection's acquire at the limit at this moment? */
static bool
is_user_full(int proc, Expired expired)
{
	int			limit = limit_seen(USER, proc);
	int			held = 0;
	int			slots = 0;		/* as in is_full() */

	for (int i = 0; i < ROWS; i++)
	{
		Row		   *row = &m->rows[i];

		if (!row->user || !(row->entries & ENTRY_USER) || row->cooling || !row_is_held(row, proc) ||
			(row->end == END_PAST && expired == NO_EXPIRED) ||
			(row->end == END_PAST && expired == UNDECIDED && (is_over(row, proc, 0) || !is_undecided(row))))
			continue;
		if (row->user_slot == SLOT_NONE)
			held++;
		else
			slots |= 1 << row->user_slot;
	}
	for (; slots; slots &= slots - 1)
		held++;
	return limit != NO_LIMIT && held >= limit;
}

/* look_at_full -- remember what was full while this connection's acquire was on its way */
static void
look_at_full(int proc)
{
	Proc	   *q = &m->procs[proc];

	for (int c = 1; c <= CREDENTIALS; c++)
	{
		if (!(q->was_full & 1 << c))
			q->was_full |= is_full(c, proc, false) << c;
		if (config->clock && !(q->was_full_if & 1 << c))
			q->was_full_if |= is_full(c, proc, true) << c;
	}
	if (is_user[proc])
	{
		q->user_was_full |= is_user_full(proc, UNDECIDED);
		q->user_was_full_if |= is_user_full(proc, ALL_EXPIRED);
		q->user_had_room |= !is_user_full(proc, NO_EXPIRED);
	}
	for (int i = 0; i < ROWS && config->clock; i++)
	{
		const Lock *lock = &m->locks[LOCK_SESSION + m->rows[i].session];

		/* a lock that is free goes to the first who waits for it */
		q->touched |= m->rows[i].end == END_PAST &&
			((lock->exclusive && lock->exclusive != proc + 1) || lock->queue[0]);
	}
}

/* acquire_begins -- this connection takes its snapshot */
void
acquire_begins(void)
{
	p->acquiring = true;
	look_at_full(self);
}

/* justified -- may the present acquire say that a credential is full? see the top of this file */
static bool
justified(int credential)
{
	return (p->was_full | (p->touched ? p->was_full_if : 0)) & 1 << credential;
}

/* pool_says_full -- the credential is passed over without its lock */
void
pool_says_full(void)
{
	if (!justified(p->credential))
		violation("NG004: credential %d is passed over, and had a connection free all the time", p->credential);
}

/* pool_remembers_full -- the credential is passed over because of what was remembered */
void
pool_remembers_full(void)
{
	if (!is_full(p->credential, self, false))
		violation("NG004: credential %d is remembered as full, and has a connection free", p->credential);
}

/* menu_begins -- this connection takes its snapshot; what has expired by then is not FULL until a later end */
void
menu_begins(void)
{
	for (int c = 1; c <= CREDENTIALS; c++)
	{
		int			seen = 0;

		for (int i = 0; i < ROWS; i++)
			seen += m->rows[i].credential == c && m->rows[i].xmin != NOBODY && !is_other(m->rows[i].xmin) &&
				!is_mine(m->rows[i].xmax) && !has_cooled_down(&m->rows[i], cool_seen(c, self));
		p->full_by_snapshot |= (limit_seen(c, self) != NO_LIMIT && seen >= limit_seen(c, self)) << c;
	}
}

/* menu_says_full -- that a credential has no connection free, uncounted */
void
menu_says_full(void)
{
	if (!(p->full_by_snapshot & 1 << p->credential))
		violation("MENU: credential %d has 0 connections free, and had one at the snapshot", p->credential);
}

/* acquire_refused -- NG004 */
void
acquire_refused(void)
{
	for (int c = 1; c <= CREDENTIALS; c++)
		if (p->snapshot[c] && !justified(c))
			violation("NG004: credential %d had a connection free all the time", c);
	if (is_user[self] && !p->user_had_room)
		violation("NG004: the user was at the limit all the time");
}

/* user_refused -- NG008 */
void
user_refused(void)
{
	if (!p->user_was_full && !(p->touched && p->user_was_full_if))
		violation("NG008: the user was below the limit all the time");
}

/* operation_ends -- a statement is over, or its transaction; well: without an error */
void
operation_ends(bool well)
{
	int			credential = 0;

	if (holds_a_lock(self))
		violation("NOBODY WAITS: a short lock is held after the statement");
	for (int i = 0; i < ROWS; i++)
	{
		if (m->rows[i].going == self + 1)
			m->rows[i].going = 0;
		if (m->rows[i].renewing == self + 1)
			m->rows[i].renewing = 0;
		if (well && m->rows[i].taking && OWNER(m->rows[i].xmin) == self)
		{
			credential = m->rows[i].credential;
			m->rows[i].taking = false;
		}
	}
	keep(credential);
	if (m->possible == 0)
	{
		violation("EXACT: at no moment of this acquire was a connection of credential %d free", credential);
		m->possible = 1;
	}
	if (m->user_possible == 0)
	{
		violation("EXACT: at no moment of this acquire was the user below the limit");
		m->user_possible = 1;
	}
}

/* fewest -- the fewest leases of a credential that there may be, by a cool_down, if so much of changer's transaction is kept */
static int
fewest(int credential, int cool, int changer, int kept_levels)
{
	int			number[PROCS + 1][3] = {0};
	int			total = 0;

	for (int i = 0; i < ROWS; i++)
		if (m->rows[i].xmin != NOBODY && m->rows[i].credential == credential)
			for (int levels = 0; levels < 3; levels++)
				number[whose(&m->rows[i]) + 1][levels] += counts(&m->rows[i], levels, cool);
	for (int proc = -1; proc < PROCS; proc++)
	{
		int		   *of = number[proc + 1];
		int			least = of[0] < of[1] ? of[0] : of[1];

		total += proc == changer ? of[kept_levels] : least < of[2] ? least : of[2];
	}
	return total;
}

/* has_one_free -- is a credential in a group, with a connection free, in some way in which the open transactions may end? */
static bool
has_one_free(int credential, int group)
{
	Object	   *object = &m->objects[credential];
	int			changer = OPEN(object->xmax) ? OWNER(object->xmax) : PROCS;

	for (int levels = 0; levels < (changer == PROCS ? 1 : 3); levels++)
	{
		int			limit = object->limit;
		int			is_in = object->group;
		int			cool = object->cool;

		for (int l = 0; l < levels; l++)
		{
			limit = object->changed[l] ? object->changed[l] - 1 : limit;
			is_in = object->moved[l] ? object->moved[l] - 1 : is_in;
			cool = object->cooled[l] ? object->cooled[l] - 1 : cool;
		}
		if (is_in == group && (limit == NO_LIMIT || fewest(credential, cool, changer, levels) < limit))
			return true;
	}
	return false;
}

/* full_is_full -- whatever is FULL in the pool's index is full; who owes it an OPEN pays before the statement is over */
static void
full_is_full(void)
{
	int			owed = 0;

	for (int proc = 0; proc < PROCS; proc++)
		owed |= m->procs[proc].owes;
	for (int c = 1; c <= CREDENTIALS; c++)
		for (int g = 0; g < GROUPS; g++)
			if (m->entries[g][c].state == POOL_FULL && m->entries[g][c].wake != END_PAST && !(owed & 1 << c) &&
				!m->objects[c].gone && has_one_free(c, g))
				violation("FULL: credential %d has a connection free, or may have one, and will be passed over", c);
}

/* connection_goes -- the row of a lease that ended so long ago is deleted, and leaves none: had its connection cooled down? */
void
connection_goes(int i, int age)
{
	if (!(p->was_over & 1 << i) && age < cool_seen(m->rows[i].credential, self))
		violation("COOLED: a connection of credential %d is let go that still cools down", m->rows[i].credential);
}

/*
 * row_goes -- the same, for whoever wants the connection
 *
 * If the cool_down has changed since, he must have it from that moment.
 */
void
row_goes(int i)
{
	connection_goes(i, m->rows[i].age);
	if (m->rows[i].age < cool_seen(m->rows[i].credential, self))
		m->rows[i].going = self + 1;
}

/* is_in_use -- is a row a reason not to delete what a connection deletes? One that cools down is none for the credential's end */
static bool
is_in_use(const Row *row, const Proc *q)
{
	if (q->pc[1] == 0 || (q->op == 'd' ? row->credential != q->arg : q->op != 'g' || row->gateway != 1))
		return false;
	return OPEN(row->xmin) || OPEN(row->xmax) || !row->cooling ||
		(q->op == 'g' && !has_cooled_down(row, cool_seen(row->credential, q - m->procs)));
}

/* delete_refused -- a deletion is refused */
void
delete_refused(void)
{
	if (!p->in_use)
		violation("REFUSED: a deletion, and nothing was in use all the time");
}

/* promises_hold -- after each step */
void
promises_hold(void)
{
	int			rows_of[SESSIONS] = {0};

	for (int i = 0; i < ROWS; i++)
	{
		Row		   *row = &m->rows[i];
		int			owner;

		if (row->xmin == NOBODY)
			continue;
		owner = whose(row);
		rows_of[row->session]++;
		if ((OPEN(row->xmax) && OWNER(row->xmax) != owner) || (OPEN(row->renewed) && OWNER(row->renewed) != owner))
			violation("two open transactions change the lease of session %d", row->session);
		for (int levels = 0; levels < 3; levels++)
			if (row->over && counts(row, levels, 0))
				violation("EXACT: the lease of session %d had expired, and counts again", row->session);
		row->over |= row->end == END_PAST && !is_undecided(row) && !config->cool;
		if ((m->objects[0].gone && row->gateway == 1) || m->objects[row->credential].gone)
			violation("the lease of session %d is of a %s that was deleted", row->session,
					  m->objects[0].gone ? "gateway" : "credential");
		for (int proc = 0; proc < PROCS; proc++)
			m->procs[proc].in_use |= is_in_use(row, &m->procs[proc]);
	}
	for (int s = 1; s < SESSIONS; s++)
		if (rows_of[s] > 1 && worst(0, 0, s, 0, 0) > 1)
			violation("session %d may have two leases", s);
	for (int proc = 0; proc < PROCS; proc++)
	{
		if (m->procs[proc].acquiring)
			look_at_full(proc);
		for (int i = 0; i < ROWS && config->cool && m->procs[proc].pc[1] != 0; i++)
			m->procs[proc].was_over |=
				(m->rows[i].xmin != NOBODY && m->rows[i].age >= cool_seen(m->rows[i].credential, proc)) << i;
	}
	taking();
	if (config->user_limits)
		taking_for_the_user();
	if (config->pool)
		full_is_full();
}

/* is_left -- does a row count when all is over? */
static bool
is_left(const Row *row)
{
	int			cool = m->objects[row->credential].cool;

	return row->cooling || row->end == END_PAST ? row->age < cool : true;
}

/* leases_of -- how many rows a session, or a credential, has when all is over */
static int
leases_of(int session, int credential)
{
	int			number = 0;

	for (int i = 0; i < ROWS; i++)
		number += m->rows[i].xmin != NOBODY &&
			(session ? m->rows[i].session == session : m->rows[i].credential == credential && is_left(&m->rows[i]));
	return number;
}

/* promises_hold_at_the_end -- all transactions are over, but for explore.c's own acquires; see the top of this file */
void
promises_hold_at_the_end(void)
{
	for (int i = 0; i < LOCKS; i++)
		if (m->locks[i].shared || m->locks[i].exclusive || m->locks[i].queue[0])
			violation("LEAK: a lock is held by nobody");
	for (int i = 0; i < ROWS; i++)
		if (OPEN(m->rows[i].xmin) || OPEN(m->rows[i].xmax) || OPEN(m->rows[i].renewed) || OPEN(m->rows[i].end_xmin))
			violation("LEAK: a lease of a transaction that is over");
	for (int s = 1; s < SESSIONS; s++)
		if (leases_of(s, 0) != m->expected[s])
			violation("LEAK: session %d has %d leases, and was told otherwise", s, leases_of(s, 0));
}

/* is_there -- is a lease of a credential at a gateway, when all is over? */
static bool
is_there(int credential, int gateway)
{
	bool		there = false;

	for (int i = 0; i < ROWS; i++)
		there |= m->rows[i].xmin != NOBODY && m->rows[i].credential == credential && m->rows[i].gateway == gateway &&
			is_left(&m->rows[i]);
	return there;
}

/* connections_left -- how many of a credential acquires at these gateways, one after the other, should get when all is over; of the user? */
int
connections_left(int credential, const byte *gateways, int number, bool of_user)
{
	int			left = m->objects[credential].limit - leases_of(0, credential);
	int			user_left = of_user && m->objects[USER].limit != NO_LIMIT ? m->objects[USER].limit : number;
	int			taken = 0;
	bool		there[GATEWAYS + 1];

	if (m->objects[credential].gone)
		return 0;
	for (int gateway = 1; gateway <= GATEWAYS; gateway++)
		there[gateway] = is_there(credential, gateway);
	for (int i = 0; i < ROWS && of_user && m->objects[USER].limit != NO_LIMIT; i++)
		user_left -= m->rows[i].xmin != NOBODY && m->rows[i].user && m->rows[i].end != END_PAST;
	for (int i = 0; i < number; i++)
		if (taken < user_left && (m->objects[credential].limit == NO_LIMIT || taken < left) &&
			!(m->objects[credential].once && there[gateways[i]]) && !(m->objects[0].gone && gateways[i] == 1))
		{
			there[gateways[i]] = true;
			taken++;
		}
	return taken;
}
