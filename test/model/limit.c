/*
 * limit.c -- the protocol of the limit, and of the pool's index, step by step, as src/ has it
 *
 * Each function here is one of src/, with its name and its order of steps (README.md, beside this file, has the table). STEP()
 * stands where others may come in between: what follows it, up to the next one, looks at or changes one thing that
 * others see, once: a lock, a snapshot, a page of an index, a row, an entry of a row in one index, a commit.
 *
 * A function that others may interrupt is a switch over where it goes on (p->pc[D], D its depth of call), because a state of
 * the search has to hold that. All that it must know after a STEP() is in *p.
 *
 * What a look sees:
 *	- an index scan reads a page of entries at a time, and visits the row of each later, one by one (NEXT_ENTRY());
 *	- dirty, row_is_held(): rows of open transactions, rows that other open transactions delete, not those that this one has
 *	  deleted;
 *	- an MVCC snapshot: what was committed when it was taken, and this transaction's own changes.
 * Dead rows go at once: for every look above they are not there.
 */
#include <stddef.h>
#include <string.h>

#include "model.h"

#define BEGIN			switch (p->pc[D]) { case 0:
#define END				} p->pc[D] = 0; return DONE
#define RETURN			do { p->pc[D] = 0; return DONE; } while (0)
#define RAISE			do { p->pc[D] = 0; return ERROR; } while (0)
#define WAITING			(-__LINE__)

/* let others go on; what follows is one step, which the trace calls so */
#define STEP(...) \
	do { p->pc[D] = __LINE__; return RUNNING; case __LINE__: if (tracing) say(__VA_ARGS__); } while (0)

/* the same where no other connection of the configuration could tell: then what follows belongs to the step before */
#define STEP_IF(condition, ...) \
	do { if (condition) { p->pc[D] = __LINE__; return RUNNING; case __LINE__: if (tracing) say(__VA_ARGS__); } } while (0)

/* call a function that has steps */
#define CALL(function) \
	do { \
		Result		result; \
		p->pc[D] = __LINE__; __attribute__((fallthrough)); case __LINE__: \
		result = function; \
		if (result == ERROR) p->pc[D] = 0; \
		if (result != DONE) return result; \
	} while (0)

/* take a lock, or queue for it */
#define TAKE(lock, mode, what) \
	do { \
		STEP("lock_take(" what ", " #mode ")"); \
		if (!request(lock, mode)) \
		{ \
			if (tracing) say("waits"); \
			p->pc[D] = WAITING; return RUNNING; case WAITING: \
			if (!granted(lock)) return BLOCKED; \
			if (tracing) say("has " what " now"); \
		} \
	} while (0)

#define GIVE(lock, what) \
	do { STEP("lock_give(" what ")"); release(lock); } while (0)

/* wait for the transaction p->busy */
#define WAIT_FOR_TRANSACTION \
	do { \
		if (holds_a_lock(self)) violation("waits for an open transaction, holding one of the short locks"); \
		p->pc[D] = WAITING; return RUNNING; case WAITING: \
		if (is_running(p->busy, p->busy_serial)) return BLOCKED; \
		if (tracing) say("connection %d's transaction has ended", OWNER(p->busy) + 1); \
	} while (0)

#define CREDENTIAL_LOCK		(LOCK_CREDENTIAL + p->credential)
#define SESSION_LOCK(id)	(LOCK_SESSION + (id))
#define PLACE_LOCK			(LOCK_PLACE + GATEWAYS * (p->credential - 1) + p->gateway - 1)
#define SLOT_LOCK(slot)		(LOCK_SLOT + 3 * (p->credential - 1) + (slot))

/* so often slot_claim() tries slots, and user_limit_hold_claim() to end expired leases */
#define CLAIM_TRIES			4

/* whose slots are looked at, for NEXT_ENTRY() */
#define SLOTS				p->of_user ? 0 : p->credential, p->of_user ? ENTRY_USER : ENTRY_SLOT

/* scan_row_ends (scan.c) -- is the credential or gateway being deleted, or deleted since? */
static bool
scan_row_ends(int id)
{
	Object	   *object = &m->objects[id];

	return mutant != being_deleted_is_not_seen && (object->gone || object->deleted[0] || object->deleted[1]);
}

/* scan_row_is_replaced (scan.c) -- has a transaction that ended since changed the credential? */
static bool
scan_row_is_replaced(void)
{
	Object	   *object = &m->objects[p->credential];

	if (mutant == change_seen_before_it_is_visible && is_other(object->xmax) && m->committing & 1 << OWNER(object->xmax))
		return true;
	return p->replaced & 1 << p->credential && !(mutant == switch_not_seen_alone && config->once);
}

/* scan_row_is_own (scan.c) -- has this transaction itself changed the credential? */
static bool
scan_row_is_own(void)
{
	Object	   *object = &m->objects[p->credential];

	return is_mine(object->xmax) &&
		(object->changed[0] || object->changed[1] || object->moved[0] || object->moved[1] ||
		 object->switched[0] || object->switched[1] || object->cooled[0] || object->cooled[1]);
}

/* scan_row_is_changing (scan.c) -- does another open transaction change or delete the credential, or has one since it was read? */
static bool
scan_row_is_changing(void)
{
	Object	   *object = &m->objects[p->credential];

	if (mutant == change_not_seen_beside_others || mutant == switch_not_seen_beside_others ||
		(mutant == being_deleted_is_not_seen && (object->gone || object->deleted[0] || object->deleted[1])))
		return false;
	return p->replaced & 1 << p->credential || (is_other(object->xmax) && mutant != open_change_not_seen);
}

/*
 * The pool's index (pool_index.c). What happens at once here does so under the lock of its first page.
 */

/* which entry, and what it is, for the trace */
static const char *
entry_label(int group, int credential)
{
	static const char *const labels[GROUPS][CREDENTIALS + 1] = {{"", "1", "2"}, {"", "1 in group B", "2 in group B"}};

	return labels[group][credential];
}

static const char *
entry_name(int group, int credential)
{
	static const char *const full[] = {"FULL for ever", "FULL until later", "FULL until an end ahead", "FULL until now"};
	const Entry *entry = &m->entries[group][credential];

	return entry->state == POOL_OPEN ? "OPEN" : entry->state == POOL_WATCHED ? "WATCHED" : full[entry->wake];
}

/* set_entry -- give an entry another state, and with it a new number or none: what was known by the old one is void */
static void
set_entry(int group, int credential, int state, int wake)
{
	m->entries[group][credential] = (Entry) {.state = state, .wake = wake};
	for (int proc = 0; proc < PROCS && mutant != remembered_unwatched; proc++)
		if (group_of[proc] == group)
			m->procs[proc].remembered[credential] = 0;
}

/* open_entry -- a connection of the credential may be free when this transaction commits */
static void
open_entry(int credential)
{
	set_entry(p->group, credential, POOL_OPEN, END_NONE);
	p->owes &= ~(1 << credential);
}

/* pool_entry -- the present credential's, where this connection looks for candidates */
static Entry *
pool_entry(void)
{
	return &m->entries[group_of[self]][p->credential];
}

/* pool_index_watch (pool_index.c) -- give the look a number: that of a look which others have begun, or a new one */
static void
pool_index_watch(void)
{
	if (pool_entry()->state != POOL_WATCHED)
		set_entry(group_of[self], p->credential, POOL_WATCHED, END_NONE);
	pool_entry()->lookers |= 1 << self;
}

/* is_watched -- does the entry still have the look's number? */
static bool
is_watched(void)
{
	return pool_entry()->lookers & 1 << self || (mutant == any_look_is_mine && pool_entry()->state == POOL_WATCHED);
}

/* is_passed_over -- is the credential FULL, or remembered as full? */
static bool
is_passed_over(void)
{
	if (pool_entry()->state == POOL_FULL)
		return pool_entry()->wake != END_PAST;
	return p->remembered[p->credential] && (is_watched() || mutant == remembered_unwatched);
}

/* freed_connection (freed.c) -- a connection of a credential may be free from now on, or when this transaction commits */
static Result
freed_connection(int credential)
{
	enum { D = 7 };

	BEGIN;
	if (!config->pool)
		RETURN;
	if (mutant != group_read_before_the_end)
	{
		STEP_IF(config->moves, "freed_connection: GetLatestSnapshot");
		p->group = group_seen(credential, self);
	}
	STEP("freed_connection: the entry of credential %s, which is %s, is OPEN now", entry_label(p->group, credential),
		 entry_name(p->group, credential));
	if (mutant != end_leaves_watched || m->entries[p->group][credential].state == POOL_FULL)
		open_entry(credential);
	END;
}

/* open_changed -- insert_or_open() of pool_index.c, for the present credential */
static Result
open_changed(void)
{
	enum { D = 6 };

	BEGIN;
	p->group = group_seen(p->credential, self);
	STEP("pool_insert: the entry of credential %s, which is %s, is OPEN now", entry_label(p->group, p->credential),
		 entry_name(p->group, p->credential));
	open_entry(p->credential);
	END;
}

/*
 * pool_insert (pool_index.c) -- the index gets an entry for the new row of the present credential, as PostgreSQL wants it
 *
 * The lock is taken for a moment: an acquire that goes by the old row is done then.
 */
static Result
pool_insert(void)
{
	enum { D = 7 };

	BEGIN;
	if (mutant != change_takes_no_lock && mutant != change_takes_the_lock_first &&
		!(mutant == switch_takes_no_lock && p->op == 't') && !(mutant == new_cool_down_takes_no_lock && p->op == 'k'))
	{
		TAKE(CREDENTIAL_LOCK, EXCLUSIVE, "LOCK_CREDENTIAL");
		GIVE(CREDENTIAL_LOCK, "LOCK_CREDENTIAL");
	}
	if (!config->pool || mutant == change_leaves_full || mutant == opened_before_the_change)
		RETURN;
	CALL(open_changed());
	END;
}

/* fits -- may the user of a connection have a credential? */
bool
fits(int proc, int credential)
{
	return fitting[proc] & 1 << credential;
}

/* in_statement -- is a connection in the midst of what can be cancelled? */
bool
in_statement(int proc)
{
	const Proc *q = &m->procs[proc];

	return q->pc[1] != 0 && !q->killed && strchr("aAoOwrnxmldvgtku", q->op) != NULL;
}

/*
 * Scans of the indexes (credential, slot) and (user, slot), and of that by gateway.
 */

/* slot_of -- the slot that is looked at */
static int
slot_of(int i)
{
	return p->of_user ? m->rows[i].user_slot : m->rows[i].slot;
}

/* key -- where a row's entry is in the index */
static int
key(int i)
{
	return slot_of(i) << 4 | i;
}

/* start_scan -- begin at the first entry from a slot on, or at the last */
static void
start_scan(int slot, bool backward)
{
	p->page = 0;
	p->last_page = false;
	p->past = backward ? 0xFF : slot << 4;
}

/* read_page -- read entries, of credential 0: all; of users only those of the one; up to the page's end */
static void
read_page(int credential, int kind, bool backward)
{
	for (int n = 0; n < config->page_size; n++)
	{
		int			best = -1;

		for (int i = 0; i < ROWS; i++)
			if (m->rows[i].entries & kind && (credential == 0 || m->rows[i].credential == credential) &&
				(kind != ENTRY_USER || m->rows[i].user) &&
				(kind != ENTRY_GATEWAY || m->rows[i].gateway == p->gateway || mutant == place_of_any_gateway) &&
				(backward ? key(i) < p->past : key(i) >= p->past) &&
				(best < 0 || (backward ? key(i) > key(best) : key(i) < key(best))))
				best = i;
		p->last_page = best < 0;
		if (p->last_page)
			return;
		p->page |= 1 << best;
		p->past = key(best) + !backward;
	}
	p->last_page = config->page_size == ROWS;
}

/* next_entry -- go to the next of the entries that were read */
static void
next_entry(bool backward)
{
	int			best = -1;

	for (int i = 0; i < ROWS; i++)
		if (p->page & 1 << i && (best < 0 || (backward ? key(i) > key(best) : key(i) < key(best))))
			best = i;
	p->ended = 0;
	p->entry = best + 1;
	p->entry_slot = best < 0 ? 0 : slot_of(best);
	if (best >= 0)
		p->page &= ~(1 << best);
}

#define NEXT_ENTRY(...)	NEXT_OF(__VA_ARGS__)
#define NEXT_OF(credential, kind, backward, what) \
	do { \
		while (p->page == 0 && !p->last_page) \
		{ \
			STEP(what ": reads a page of the index"); \
			read_page(credential, kind, backward); \
		} \
		next_entry(backward); \
	} while (0)

/* row_is_there -- is the present entry's row there, over or not? */
static bool
row_is_there(void)
{
	return p->entry != GONE_ROW && row_is_held(&m->rows[p->entry - 1], self);
}

/*
 * is_over -- is the present entry's row there, and over, by the credential's cool_down as it was read?
 *
 * p->dated: was it over when that was read?
 */
static bool
is_over(void)
{
	int			later = p->dated && mutant != over_by_the_old_cool_down ? p->read_at - m->clock : 0;

	/* the index of a user's slots does not say what cools down: nothing there does */
	return !p->of_user && row_is_there() && has_cooled_down(&m->rows[p->entry - 1], p->cool + later);
}

/* is_held (slots.c) -- is the present entry's row one that counts? */
static bool
is_held(void)
{
	const Row  *row;

	if (p->ended)
		return p->ended == ENDED_NOT;
	if (p->entry == GONE_ROW || is_over())
		return false;
	row = &m->rows[p->entry - 1];
	if (row->cooling && mutant == cooling_does_not_count)
		return false;
	if (mutant == slots_by_latest_snapshot || mutant == open_acquire_is_free)
		return row_is_held(row, self) && !is_other(row->xmin);
	if (mutant == open_release_is_free)
		return row_is_held(row, self) && !is_other(row->xmax);
	if (mutant == open_takeover_is_free)
		return row_is_held(row, self) && !(is_other(row->xmax) && row->end == END_PAST);
	return row_is_held(row, self);
}

/* is_in_the_way -- is the present entry's row one beside which nobody may insert another in its slot? */
static bool
is_in_the_way(void)
{
	const Row  *row;

	if (mutant == ended_is_a_gap && p->bare && row_is_there() && is_other(m->rows[p->entry - 1].xmax))
		return false;
	if (!is_over())
		return is_held();
	row = &m->rows[p->entry - 1];
	return mutant == over_is_no_gap || (is_other(row->xmin) && mutant != over_of_open_transaction_is_a_gap) ||
		(is_other(row->xmax) && mutant != over_and_being_deleted_is_a_gap);
}

/*
 * may_come_back -- may the present entry's lease, which the transaction p->busy ends, come back, and count?
 *
 * Not if the same work of that transaction deletes or replaces its end, committed and past: then both are back, or neither.
 */
static bool
may_come_back(void)
{
	const Row  *row = p->entry == GONE_ROW ? NULL : &m->rows[p->entry - 1];
	byte		changer = row == NULL ? NOBODY : row->renewed ? row->renewed : row->end_xmax;

	if (row == NULL || row->end == END_NONE || (row->end != END_PAST && mutant != past_by_a_later_clock) ||
		(is_other(row->end_xmin) && mutant != open_end_is_past))
		return true;
	return !(changer == p->busy && is_running(p->busy, p->busy_serial)) &&
		!(mutant == replaced_end_is_past && row->renewed) &&
		!(mutant == deleted_end_is_past && is_other(changer) && row->renewed_end == END_NONE) &&
		!(mutant == untouched_end_is_past && changer == NOBODY);
}

/* slots_begin (slots.c) -- begin a search: nothing was met */
static void
slots_begin(void)
{
	p->blocked = false;
	memset(p->enders, 0, sizeof(p->enders));
	memset(p->ender_serials, 0, sizeof(p->ender_serials));
}

/* is_ending (search->ending of slots.c) -- was a row met that an open transaction removes? */
static bool
is_ending(void)
{
	for (int i = 0; i < PROCS; i++)
		if (p->enders[i])
			return true;
	return false;
}

/* any_ender_ended (lease_any_ended() of lease.c) -- has one of the transactions ended that were removing what was met? */
static bool
any_ender_ended(void)
{
	for (int i = 0; i < PROCS; i++)
		if (p->enders[i] && !is_running(p->enders[i], p->ender_serials[i]))
			return mutant != enders_not_asked;
	return false;
}

/*
 * note_ender (slots.c) -- note that an open transaction removes a row, as slots.c does
 *
 * Of each connection one is kept, which ends with the first of all that were noted: one that has ended, or what came after a savepoint.
 */
static void
note_ender(int stamp)
{
	int			i = OWNER(stamp);

	if (p->enders[i] && (LEVEL(p->enders[i]) || !is_running(p->enders[i], p->ender_serials[i])))
		return;
	p->enders[i] = stamp;
	p->ender_serials[i] = serial_of(stamp);
}

/* visited (row_state(), lease_state() of slots.c) -- the present entry's row is visited: note who removes it */
static void
visited(void)
{
	const Row  *row = p->entry == GONE_ROW ? NULL : &m->rows[p->entry - 1];

	if (!row_is_there() || is_settled(row))
		return;
	if (is_over() && mutant != removed_is_full)
	{
		note_ender(is_other(row->xmax) ? row->xmax : row->xmin);
		p->blocked = true;
	}
	else if (!row->cooling && !is_other(row->xmin))
		note_ender(row->xmax);
}

/*
 * lease_is_over (lease.c) -- p->ended: has the present entry's lease expired, and cooled down, whatever becomes of the other open
 * transaction that ends it?
 *
 * So it is if the same work of that transaction deletes the end of the lease, committed and past: then both are deleted, or neither.
 * What was seen to be held when its row was visited is held, if not. of_slots: who ends it is noted (lease_state() of slots.c).
 */
static Result
lease_is_over(bool of_slots)
{
	enum { D = 9 };
	const Row  *row;

	BEGIN;
	for (;;)
	{
		p->ended = 0;
		if (p->entry == GONE_ROW)
			RETURN;
		if (of_slots)
			visited();
		row = &m->rows[p->entry - 1];
		if (!row_is_there() || row->cooling || is_other(row->xmin) || !is_other(row->xmax) || !config->clock)
			RETURN;
		if (mutant == ended_is_held || (p->of_user && mutant == users_ended_is_held))
			RETURN;
		p->ended = ENDED_NOT;
		wait_for(row->xmax);
		STEP("lease_is_over: looks for the end of the lease: %s", may_come_back() ? "it counts" : "whatever happens, it is past");
		if (!may_come_back())
		{
			if (mutant == past_by_a_later_clock)
				STEP("lease_is_over: GetCurrentTimestamp");
			if (p->entry != GONE_ROW && m->rows[p->entry - 1].end == END_PAST &&
				(m->rows[p->entry - 1].age >= p->cool || mutant == ended_cools_not_down))
			{
				p->ended = ENDED_OVER;
				RETURN;
			}
		}
		STEP("lease_is_over: has the transaction that ends it ended? %s", is_running(p->busy, p->busy_serial) ? "no" : "yes: again");
		if (is_running(p->busy, p->busy_serial) || mutant == ended_is_not_visited_again)
			RETURN;
	}
	END;
}

/* what a row is, for the trace */
static const char *
held_name(void)
{
	return is_held() ? "held" : is_over() ? is_in_the_way() ? "over, and in the way" : "over" : "dead";
}

/* scan_try_delete (scan.c) -- delete a row, if nobody has to be waited for; returns whether it did; number: + 1, or GONE_ROW */
static bool
scan_try_delete(int number)
{
	Row		   *row = &m->rows[number - 1];

	if (number == GONE_ROW || is_mine(row->xmax))
		return false;
	if (is_other(row->xmin))
		violation("attempted to delete invisible tuple");
	if (is_other(row->xmax))
	{
		if (mutant == taker_waits && holds_a_lock(self))
			violation("waits for an open transaction, holding one of the short locks");
		return false;
	}
	if (!p->gone)
		row_goes(number - 1);
	row->xmax = MINE;
	return true;
}

/* the entry's slot, for the trace */
static const char *
slot_name(int slot)
{
	static const char *const names[] = {"0", "1", "2", "3", "4", "2^30", "2^30 + 1", "2^30 + 2"};

	return slot == SLOT_NONE ? "none" : names[slot];
}

/*
 * slots_any_outside (slots.c) -- p->answer: is a lease held that has no slot, or one above p->limit?
 *
 * Beside others, what is over there is deleted.
 */
static Result
slots_any_outside(void)
{
	enum { D = 5 };

	BEGIN;
	start_scan(0, true);
	p->answer = false;
	for (;;)
	{
		NEXT_ENTRY(SLOTS, true, "slots_any_outside");
		if (p->entry == 0 || (p->entry_slot != SLOT_NONE && p->entry_slot <= p->limit))
			RETURN;
		STEP("slots_any_outside: visits slot %s, %s", slot_name(p->entry_slot), held_name());
		visited();
		if ((is_held() && !(mutant == cooling_is_not_outside && m->rows[p->entry - 1].cooling)) ||
			(mutant == over_is_outside && row_is_there()))
		{
			p->answer = true;
			RETURN;
		}
		if (is_over() && !is_in_the_way() && (!p->alone || mutant == over_is_deleted_alone_outside))
		{
			STEP("slots_any_outside: scan_try_delete");
			(void) scan_try_delete(p->entry);
		}
	}
	END;
}

/* note_open -- whoever counts has seen what an open transaction does, whose end he may see, too */
static void
note_open(int stamp)
{
	p->open[OWNER(stamp)] = stamp;
	p->open_serials[OWNER(stamp)] = serial_of(stamp);
}

/* any_ended (lease_any_ended() of lease.c) -- has one of these transactions ended? */
static bool
any_ended(void)
{
	for (int i = 0; i < PROCS; i++)
		if (p->open[i] && !is_running(p->open[i], p->open_serials[i]))
			return mutant != counted_once;
	return false;
}

/* count_once (slots.c) -- p->count: how many connections are held, counted up to p->to; what is in one slot is one */
static Result
count_once(void)
{
	enum { D = 6 };
	const Row  *row;

	BEGIN;
	memset(p->open, 0, sizeof(p->open));
	memset(p->open_serials, 0, sizeof(p->open_serials));
	start_scan(0, true);
	p->count = 0;
	p->counted = SLOT_NONE;
	while (p->count < p->to)
	{
		NEXT_ENTRY(SLOTS, true, "count_once");
		if (p->entry == 0)
			break;
		if (p->entry_slot != SLOT_NONE && p->entry_slot == p->counted)
			continue;
		STEP("count_once: visits slot %s, %s", slot_name(p->entry_slot), held_name());
		visited();
		if (!(mutant == over_is_counted || mutant == over_is_outside ? row_is_there() : is_held()))
			continue;
		row = &m->rows[p->entry - 1];
		if (row->cooling && is_other(row->xmin) && mutant != counted_with_its_lease)
		{
			/* its lease counts */
			note_open(row->xmin);
			continue;
		}
		if ((config->cool || p->of_user) && p->entry_slot == SLOT_NONE && is_other(row->xmax))
			note_open(row->xmax);
		p->counted = p->entry_slot;
		p->count++;
	}
	END;
}

/* slots_count (slots.c) -- the same, while no transaction of which that depends has ended */
static Result
slots_count(void)
{
	enum { D = 5 };

	BEGIN;
	do
	{
		CALL(count_once());
		STEP_IF(config->cool || p->of_user, "any_ended: %s", any_ended() ? "yes" : "no");
	} while (any_ended());
	END;
}

/*
 * find_gap (slots.c) -- p->candidate: a slot from there to p->to that is free, SLOT_NONE if there is none
 *
 * p->cooled: it has a row that is over, which is to be deleted first. One behind the first slot that is free is taken rather than
 * that, if it has none (cooled_after()).
 */
static Result
find_gap(void)
{
	enum { D = 8 };

	BEGIN;
	start_scan(p->candidate, false);
	p->cooled = false;
	while (p->candidate <= p->to)
	{
		NEXT_ENTRY(SLOTS, false, "find_gap");
		if (p->entry == 0 || p->entry_slot > p->candidate)
			break;
		if (p->entry_slot == p->candidate)
		{
			STEP("find_gap: visits slot %s, %s", slot_name(p->entry_slot), held_name());
			visited();
			if (is_in_the_way() || (p->bare && is_over()))
			{
				p->candidate++;
				p->cooled = false;
			}
			else
				p->cooled |= is_over();
		}
	}
	if (p->candidate > p->to)
	{
		p->candidate = SLOT_NONE;
		p->cooled = false;
		RETURN;
	}
	while (!p->cooled && !p->bare && p->entry != 0 && p->entry_slot <= p->to)
	{
		if (p->entry != GONE_ROW && m->rows[p->entry - 1].cooling)
		{
			STEP("cooled_after: visits slot %s, %s", slot_name(p->entry_slot), held_name());
			visited();
			p->cooled = is_over() && !is_in_the_way();
			if (p->cooled)
			{
				p->candidate = p->entry_slot;
				RETURN;
			}
		}
		NEXT_ENTRY(SLOTS, false, "cooled_after");
	}
	END;
}

/* slots_gap (slots.c) -- p->candidate: a slot that is free, from p->wanted upwards, or from 1 */
static Result
slots_gap(void)
{
	enum { D = 5 };

	BEGIN;
	p->candidate = p->wanted;
	p->to = p->limit;
	CALL(find_gap());
	if (p->candidate == SLOT_NONE && p->wanted > 1 && mutant != search_does_not_wrap)
	{
		p->candidate = 1;
		p->to = p->wanted - 1;
		CALL(find_gap());
	}
	END;
}

/* slots_clear (slots.c) -- p->answer: is the slot p->slot, which find_gap() said was free, so now? What is over there is deleted */
static Result
slots_clear(void)
{
	enum { D = 5 };

	BEGIN;
	p->answer = true;
	if (p->slot == SLOT_NONE || !p->cooled || mutant == over_stays)
		RETURN;
	start_scan(p->slot, false);
	while (p->answer)
	{
		NEXT_ENTRY(p->credential, ENTRY_SLOT, false, "slots_clear");
		if (p->entry == 0 || p->entry_slot != p->slot)
			RETURN;
		STEP("slots_clear: visits slot %s, %s", slot_name(p->entry_slot), held_name());
		p->answer = !is_in_the_way();
		if (!p->answer || !is_over())
			continue;
		STEP("slots_clear: scan_try_delete");
		p->answer = scan_try_delete(p->entry) || mutant == over_not_deleted_is_free;
		if (tracing && !p->answer)
			say("somebody is quicker");
	}
	END;
}

/* slot_claim (src/limit.c) -- p->slot: a free slot in 1..p->limit whose lock is held now, SLOT_NONE when none is found */
static Result
slot_claim(void)
{
	enum { D = 3 };

	BEGIN;
	p->slot = p->limit == 0 ? SLOT_NONE : 1 + choose(p->limit);
	for (p->tries = 0; p->slot != SLOT_NONE && p->tries < CLAIM_TRIES; p->tries++)
	{
		p->wanted = p->slot;
		if (mutant != no_slot_lock && mutant != no_slot_lock_no_constraint)
		{
			STEP("slot_claim: lock_try(LOCK_SLOT %d)", p->wanted);
			if (!try(SLOT_LOCK(p->wanted)))
			{
				if (tracing) say("somebody has it");
				p->slot = p->wanted % p->limit + 1;
				continue;
			}
		}
		if (mutant == claim_not_looked_at && p->tries > 0)
			RETURN;
		CALL(slots_gap());
		p->slot = p->candidate;
		if (p->slot == p->wanted)
			RETURN;
		GIVE(SLOT_LOCK(p->wanted), "LOCK_SLOT");
	}
	p->slot = SLOT_NONE;
	END;
}

/* slots_find (slots.c) -- p->slot: a slot in 1..p->limit that is free, SLOT_NONE when there is none, or the limit is reached */
static Result
slots_find(void)
{
	enum { D = 4 };

	BEGIN;
	p->slot = SLOT_NONE;
	if (p->limit == 0)
		RETURN;
	if (mutant != (p->of_user ? users_leases_outside_not_counted : leases_outside_not_counted))
	{
		CALL(slots_any_outside());
		if (p->answer)
		{
			p->to = p->limit;
			CALL(slots_count());
			if (p->count >= p->limit)
				RETURN;
		}
	}
	p->wanted = 1 + choose(p->limit);
	CALL(slots_gap());
	p->slot = p->candidate;
	END;
}

/* slots_excess (slots.c) -- p->excess: how many leases have to end for a slot to be free */
static Result
slots_excess(void)
{
	enum { D = 4 };

	BEGIN;
	p->answer = true;
	if (!p->blocked)
		CALL(slots_any_outside());
	p->excess = 1;
	if (p->answer && mutant != one_takeover_above_the_limit)
	{
		p->to = ROWS;
		CALL(slots_count());
		/* src: may be below 0, which is for none to end, too */
		p->excess = p->count >= p->limit ? p->count - p->limit + 1 : 0;
	}
	END;
}

/*
 * slots_over (slots.c) -- p->count: how many connections that slots_excess() has counted, p->excess at most, are only held by leases
 * that are over?
 */
static Result
slots_over(void)
{
	enum { D = 4 };

	BEGIN;
	start_scan(0, true);
	p->count = 0;
	p->counted = SLOT_NONE;
	p->slot_is_over = p->slot_is_held = false;
	while (p->count < p->excess)
	{
		NEXT_ENTRY(SLOTS, true, "slots_over");
		if (p->entry == 0)
			break;
		if (p->entry_slot == SLOT_NONE || p->entry_slot != p->counted)
		{
			p->count += p->slot_is_over;
			p->slot_is_over = p->slot_is_held = false;
		}
		p->counted = p->entry_slot;
		STEP("slots_over: visits slot %s, %s", slot_name(p->entry_slot), held_name());
		CALL(lease_is_over(true));
		p->slot_is_held |= is_held() && mutant != slot_over_with_a_held_row;
		p->slot_is_over |= p->ended == ENDED_OVER ||
			(mutant == cooled_counts_as_over && p->ended == 0 && is_over() && is_in_the_way());
		p->slot_is_over &= !p->slot_is_held;
	}
	if (p->count < p->excess)
		p->count += p->slot_is_over;
	p->slot_is_over = p->slot_is_held = false;
	END;
}

/* slots_above (slots.c) -- p->slot: one above p->limit that has no row */
static Result
slots_above(void)
{
	enum { D = 4 };

	BEGIN;
	p->slot = SLOT_NONE;
	if (mutant == none_above_the_limit)
		RETURN;
	p->bare = true;
	p->candidate = mutant == ended_is_a_gap ? 1 : p->limit + 1;
	p->to = SLOT_ABOVE;
	CALL(find_gap());
	p->bare = false;
	p->slot = p->candidate;
	if (p->slot == SLOT_NONE)
		violation("the model has too few slots above a limit");
	END;
}

/*
 * Leases of sessions (lease.c).
 */

enum
{
	LEASE_NONE,
	LEASE_BUSY,
	LEASE_LIVE,
	LEASE_EXPIRED,
	LEASE_EXPIRED_BUSY
};

/* end_seen -- the end of a lease as a dirty look finds it: the old one while another transaction renews it */
static int
end_seen(const Row *row)
{
	if (is_mine(row->end_xmax))
		return END_NONE;
	return is_mine(row->renewed) ? row->renewed_end : row->end;
}

/*
 * lease_look (lease.c) -- look at the lease of the session p->look: p->state, p->row, and who is to be waited for in p->busy
 *
 * No two entries of a session matter at once: who holds LOCK_SESSION meets one row, or one that a transaction deletes and
 * one that it inserted, and has to wait for the same transaction for either.
 */
static Result
lease_look(void)
{
	enum { D = 6 };
	Row		   *row;

	BEGIN;
	STEP("lease_look: looks for the lease of session %d", p->look);
	p->busy = NOBODY;
	p->row = 0;
	for (int i = 0; i < ROWS && !p->row; i++)
		if (m->rows[i].session == p->look && m->rows[i].entries & ENTRY_SESSION && row_is_held(&m->rows[i], self) &&
			!(mutant == own_lease_by_latest_snapshot && is_other(m->rows[i].xmin)))
			p->row = i + 1;
	p->state = LEASE_NONE;
	if (!p->row)
		RETURN;
	row = &m->rows[p->row - 1];
	if (is_other(row->xmin))
		wait_for(row->xmin);
	else if (is_other(row->xmax))
		wait_for(row->xmax);
	p->state = p->busy ? LEASE_BUSY : LEASE_LIVE;
	if (!config->clock || is_other(row->xmin))
		RETURN;

	STEP("lease_look: looks for the end of the lease");
	if (p->row == GONE_ROW)
		RETURN;
	row = &m->rows[p->row - 1];
	if (p->state == LEASE_BUSY)
	{
		if (end_seen(row) == END_PAST && !is_other(row->end_xmin))
			p->state = LEASE_EXPIRED_BUSY;
		RETURN;
	}
	if (end_seen(row) != END_NONE && is_other(row->renewed) && mutant != open_renewal_not_seen)
		wait_for(row->renewed);
	else if (end_seen(row) == END_PAST)
		p->state = LEASE_EXPIRED;
	END;
}

/* check_unique -- _bt_check_unique(): inserting an entry fails, or waits, where a row is there that has the same key */
static void
check_unique(Row *row, int entry)
{
	if (entry == ENTRY_SLOT && (row->slot == SLOT_NONE || mutant == no_slot_lock_no_constraint))
		return;
	if (entry == ENTRY_USER && row->user_slot == SLOT_NONE)
		return;
	for (int i = 0; i < ROWS; i++)
	{
		Row		   *other = &m->rows[i];

		if (other == row || !(other->entries & entry) || !row_is_held(other, self) ||
			(entry == ENTRY_SLOT ? other->credential != row->credential || other->slot != row->slot :
			 entry == ENTRY_USER ? other->user_slot != row->user_slot : other->session != row->session))
			continue;
		if (is_other(other->xmin) || is_other(other->xmax))
			violation("an insertion waits for the transaction of connection %d, holding the short locks",
					  OWNER(is_other(other->xmin) ? other->xmin : other->xmax) + 1);
		else
			violation("an insertion fails: duplicate key");
	}
}

/*
 * high_slot (lease.c) -- p->slot: a slot that is free, above any limit
 *
 * What is met there and was over when the cool_down was read is deleted.
 */
static Result
high_slot(void)
{
	enum { D = 8 };

	BEGIN;
	STEP("high_slot: GetLatestSnapshot");
	p->cool = cool_seen(p->credential, self);
	p->read_at = m->clock;
	p->dated = true;
	p->slot = SLOT_HIGH + choose(2);
	start_scan(p->slot, false);
	for (;;)
	{
		NEXT_ENTRY(p->credential, ENTRY_SLOT, false, "high_slot");
		if (p->entry == 0 || p->entry_slot > p->slot)
			break;
		STEP("high_slot: visits slot %s, %s", slot_name(p->entry_slot), held_name());
		if (is_over() && !is_in_the_way())
		{
			STEP("high_slot: scan_try_delete");
			if (scan_try_delete(p->entry))
				continue;
		}
		p->slot += row_is_there() && p->entry_slot == p->slot;
	}
	p->dated = false;
	if (p->slot >= SLOT_HIGH + SLOTS_HIGH)
		violation("the model has too few slots above any limit");
	END;
}

/* insert_cooling (lease.c) -- insert a lease of nobody, p->entry, in the place of p->row, which has ended */
static Result
insert_cooling(void)
{
	enum { D = 7 };
	Row		   *row;

	BEGIN;
	p->slot = m->rows[p->row - 1].slot;
	if (p->slot == SLOT_NONE)
		CALL(high_slot());
	STEP("insert_cooling: the row that holds the connection of session %d", p->look);
	for (p->entry = 1; m->rows[p->entry - 1].xmin != NOBODY; p->entry++)
		if (p->entry == ROWS)
		{
			violation("the model has too few rows");
			RAISE;
		}
	row = &m->rows[p->entry - 1];
	row->credential = m->rows[p->row - 1].credential;
	row->gateway = m->rows[p->row - 1].gateway;
	row->slot = p->slot;
	row->cooling = true;
	row->user = m->rows[p->row - 1].user && mutant == cooling_counts_for_the_user;
	row->user_slot = row->user ? SLOT_NONE : 0;
	row->age = p->age;
	row->xmin = MINE;
	for (int proc = 0; proc < PROCS; proc++)
		row->since |= m->procs[proc].snapshot_taken << proc;

	STEP("insert_cooling: its entry by credential and slot");
	check_unique(&m->rows[p->entry - 1], ENTRY_SLOT);
	m->rows[p->entry - 1].entries |= m->rows[p->entry - 1].user ? ENTRY_SLOT | ENTRY_USER : ENTRY_SLOT;

	if (config->deletes || config->once)
	{
		STEP("insert_cooling: its entry by gateway and credential");
		m->rows[p->entry - 1].entries |= ENTRY_GATEWAY;
	}
	END;
}

/* end_lease (lease.c) -- end the lease p->row, which was looked at */
static Result
end_lease(void)
{
	enum { D = 6 };

	BEGIN;
	if (mutant == group_read_before_the_end)
	{
		STEP("freed_connection: GetLatestSnapshot");
		p->group = group_seen(m->rows[p->row - 1].credential, self);
	}
	if (mutant == opened_before_the_end)
		CALL(freed_connection(m->rows[p->row - 1].credential));
	STEP("scan_delete: ends the lease of session %d", p->look);
	if (p->for_free)
		row_goes(p->row - 1);
	if (p->row == GONE_ROW || is_other(m->rows[p->row - 1].xmax) || is_mine(m->rows[p->row - 1].xmax))
		violation("a lease is ended twice, or its end waits for an open transaction");
	else
		m->rows[p->row - 1].xmax = MINE;
	p->ending = config->cool != NULL;
	p->age = mutant == ended_after_its_end && p->state == LEASE_LIVE ? 0 : m->rows[p->row - 1].age;
	p->said[p->level][p->look] = HAS_NOT;
	if (config->pool)
		p->owes |= 1 << m->rows[p->row - 1].credential;
	if (config->clock && m->rows[p->row - 1].end != END_NONE)
	{
		STEP("scan_delete: the row of egress_lease_expiry");
		m->rows[p->row - 1].end_xmax = MINE;
	}
	if (config->cool && !p->for_free)
	{
		STEP("cool: GetLatestSnapshot");
		p->credential = m->rows[p->row - 1].credential;
		p->cools = cool_seen(p->credential, self);
		if (tracing)
			say(p->cools <= p->age ? "nothing cools down" : "the connection cools down");
	}
	if (config->cool && !p->for_free &&
		(p->cools <= p->age || (mutant == swept_does_not_cool_down && p->op == 'x') ||
		 (mutant == ended_for_the_user_does_not_cool_down && p->acquiring)))
		connection_goes(p->row - 1, p->age);
	else if (config->cool && !p->for_free)
	{
		if (mutant == cool_down_shares_the_lock)
			TAKE(CREDENTIAL_LOCK, SHARE, "LOCK_CREDENTIAL");
		else if (mutant != cool_down_without_lock)
			TAKE(CREDENTIAL_LOCK, EXCLUSIVE, "LOCK_CREDENTIAL");
		CALL(insert_cooling());
		if (mutant != cool_down_without_lock)
			GIVE(CREDENTIAL_LOCK, "LOCK_CREDENTIAL");
	}
	p->ending = false;
	if (mutant != end_leaves_full && mutant != opened_before_the_end)
		CALL(freed_connection(m->rows[p->row - 1].credential));
	END;
}

/*
 * lease_end_if_expired, lease_end_if_free (lease.c) -- p->answer: end the lease of the session p->look, if it has expired and nobody
 * else is at it
 *
 * p->for_free: and if its connection has cooled down.
 */
static Result
lease_end_if_expired(void)
{
	enum { D = 5 };

	BEGIN;
	p->answer = false;
	if (mutant == takeover_waits_for_the_session_lock)
		TAKE(SESSION_LOCK(p->look), EXCLUSIVE, "LOCK_SESSION of another");
	else if (mutant != takeover_without_session_lock)
	{
		STEP("lease_end_if_expired: lock_try(LOCK_SESSION %d)", p->look);
		if (!try(SESSION_LOCK(p->look)))
			RETURN;
	}
	CALL(lease_look());
	p->answer = p->state == LEASE_EXPIRED;
	if (p->answer && p->for_free && config->cool)
	{
		if (mutant == expired_is_free_at_once)
			p->cools = 0;
		else if (mutant != ended_by_the_old_cool_down)
		{
			STEP("lease_end_if_free: GetLatestSnapshot");
			p->cools = cool_seen(m->rows[p->row - 1].credential, self);
		}
		else
			p->cools = p->cool;
		p->answer = m->rows[p->row - 1].age >= p->cools;
		if (tracing)
			say(p->answer ? "it has cooled down" : "it cools down");
	}
	if (p->answer)
		CALL(end_lease());
	if (mutant != takeover_without_session_lock)
		GIVE(SESSION_LOCK(p->look), "LOCK_SESSION of another");
	END;
}

/* start_ends -- begin a scan of egress_lease_expiry, by credential (0: all) */
static void
start_ends(int credential)
{
	p->ends = 0;
	for (int i = 0; i < ROWS; i++)
		if (m->rows[i].xmin && m->rows[i].end != END_NONE && (credential == 0 || m->rows[i].credential == credential))
			p->ends |= 1 << i;
}

/* next_end -- go to the next of its entries; false when there is none */
static bool
next_end(void)
{
	for (int i = 0; i < ROWS; i++)
		if (p->ends & 1 << i)
		{
			p->ends &= ~(1 << i);
			p->entry = i + 1;
			return true;
		}
	return false;
}

/* is_expired -- what lease_next_expired() (lease.c) asks of the present row: past, while no open transaction changes that? */
static bool
is_expired(void)
{
	const Row  *row;

	if (p->entry == GONE_ROW)
		return false;
	row = &m->rows[p->entry - 1];
	return end_seen(row) == END_PAST && (row->age >= p->cool || mutant == expired_is_free_at_once) && !is_other(row->end_xmin) &&
		!is_other(row->end_xmax) && (!is_other(row->renewed) || mutant == open_renewal_not_seen);
}

/* lease_so_many_expired (lease.c) -- p->answer: have p->wanted_ends leases of the credential expired? */
static Result
lease_so_many_expired(void)
{
	enum { D = 5 };

	BEGIN;
	STEP("lease_next_expired: reads the entries of egress_lease_expiry");
	start_ends(p->credential);
	p->found = 0;
	while (p->found < p->wanted_ends && next_end())
	{
		STEP("lease_next_expired: visits a row: %s", is_expired() ? "expired" : "not expired");
		p->found += is_expired();
	}
	p->answer = p->found >= p->wanted_ends;
	END;
}

/* lease_end_expired_for (lease.c) -- p->answer: have p->wanted_ends expired leases been ended? */
static Result
lease_end_expired_for(void)
{
	enum { D = 4 };

	BEGIN;
	STEP("lease_next_expired: reads the entries of egress_lease_expiry");
	start_ends(p->credential);
	p->found = 0;
	while (p->found < p->wanted_ends && next_end())
	{
		STEP("lease_next_expired: visits a row: %s", is_expired() ? "expired" : "not expired");
		if (!is_expired())
			continue;
		p->look = m->rows[p->entry - 1].session;
		CALL(lease_end_if_expired());
		p->found += p->answer;
	}
	p->answer = p->found >= p->wanted_ends || mutant == takeover_always_enough;
	END;
}

/*
 * Acquiring (acquire.c).
 */

/* insert_lease (src/limit.c) -- insert the lease, in the slot p->slot */
static Result
insert_lease(void)
{
	enum { D = 3 };
	Row		   *row;

	BEGIN;
	STEP("insert_lease: the row with slot %s, and its entry by session", slot_name(p->slot));
	for (p->row = 1; m->rows[p->row - 1].xmin != NOBODY; p->row++)
		if (p->row == ROWS)
		{
			violation("the model has too few rows");
			RAISE;
		}
	row = &m->rows[p->row - 1];
	row->credential = p->credential;
	row->gateway = p->gateway;
	row->slot = p->slot;
	row->session = p->session;
	row->user = is_user[self];
	row->user_slot = row->user ? p->user_slot : 0;
	row->xmin = MINE;
	row->taking = true;
	for (int proc = 0; proc < PROCS; proc++)
		row->since |= m->procs[proc].snapshot_taken << proc;
	check_unique(row, ENTRY_SESSION);
	row->entries |= ENTRY_SESSION;

	STEP("insert_lease: its entry by credential and slot");
	check_unique(&m->rows[p->row - 1], ENTRY_SLOT);
	m->rows[p->row - 1].entries |= ENTRY_SLOT;

	if (is_user[self] && mutant != users_entry_not_inserted)
	{
		STEP("insert_lease: its entry by user and slot, which is %s", slot_name(p->user_slot));
		check_unique(&m->rows[p->row - 1], ENTRY_USER);
		m->rows[p->row - 1].entries |= ENTRY_USER;
	}

	if (config->deletes || config->once)
	{
		STEP("insert_lease: its entry by gateway and credential");
		m->rows[p->row - 1].entries |= ENTRY_GATEWAY;
	}
	END;
}

/* read_credential -- GetLatestSnapshot() and scan_find_id(): what the limit is, and from when on it may be replaced */
static void
read_credential(void)
{
	p->replaced &= ~(1 << p->credential);
	p->limit = limit_seen(p->credential, self);
	p->once = once_seen(p->credential, self);
	p->cool = cool_seen(p->credential, self);
	p->found = object_is_there(p->credential, self);
	if (tracing)
		say(p->limit == NO_LIMIT ? "credential %d has no limit" : "the limit of credential %d is %d", p->credential, p->limit);
	if (tracing && config->cools)
		say(p->cool == 0 ? "and no cool_down" : p->cool == 1 ? "and a cool_down" : "and a long cool_down");
	if (tracing && config->once)
		say(p->once ? "credential %d is once per gateway" : "credential %d is not once per gateway", p->credential);
}

/*
 * What is at a place, a credential at a gateway (once.c).
 */

enum
{
	PLACE_FREE,
	PLACE_EXPIRED,				/* nothing but leases that have expired, and nobody else is at them */
	PLACE_TAKEN
};

/* is_at_place -- is the present entry's lease held? */
static bool
is_at_place(void)
{
	const Row  *row;

	if (p->ended)
		return p->ended == ENDED_NOT;
	if (p->entry == GONE_ROW || (is_over() && mutant != over_keeps_the_place))
		return false;
	row = &m->rows[p->entry - 1];
	if (row->cooling && mutant == cooling_leaves_the_place)
		return false;
	return row_is_held(row, self) && !(mutant == open_acquire_leaves_the_place && is_other(row->xmin)) &&
		!(mutant == open_release_leaves_the_place && is_other(row->xmax));
}

/* once_look (once.c) -- p->place: what is at the place? p->expired: how many leases that have expired, if these are all */
static Result
once_look(void)
{
	enum { D = 4 };

	BEGIN;
	p->place = PLACE_FREE;
	p->expired = 0;
	if (mutant == place_not_looked_at)
		RETURN;
	start_scan(0, false);
	for (;;)
	{
		NEXT_ENTRY(p->credential, ENTRY_GATEWAY, false, "once_look");
		if (p->entry == 0)
			RETURN;
		STEP("once_look: visits a row, %s", is_at_place() ? "held" : "dead");
		if (config->clock && mutant != ended_keeps_the_place)
			CALL(lease_is_over(false));
		if (!is_at_place())
			continue;
		if (config->clock && p->ended == 0)
		{
			STEP("has_expired: %s", is_expired() ? "expired" : "not expired");
			if (is_expired())
			{
				p->place = PLACE_EXPIRED;
				p->expired++;
				continue;
			}
		}
		p->place = p->expired > 0 && mutant == one_expired_leaves_the_place ? PLACE_EXPIRED : PLACE_TAKEN;
		RETURN;
	}
	END;
}

/*
 * once_end_expired (once.c) -- p->answer: have all leases at the place been ended, which have expired?
 *
 * p->ended_there: how many. One may be among them that another transaction was ending when they were counted, and which is back.
 */
static Result
once_end_expired(void)
{
	enum { D = 4 };

	BEGIN;
	p->found = true;
	p->count = 0;
	start_scan(0, false);
	for (;;)
	{
		NEXT_ENTRY(p->credential, ENTRY_GATEWAY, false, "once_end_expired");
		if (p->entry == 0 || mutant == expired_leaves_the_place)
			break;
		STEP("once_end_expired: visits a row, %s", is_at_place() ? "held" : "dead");
		CALL(lease_is_over(false));
		if (!is_at_place())
			continue;
		if (p->entry == GONE_ROW)
		{
			p->found = false;
			continue;
		}
		p->look = m->rows[p->entry - 1].session;
		CALL(lease_end_if_expired());
		p->found &= p->answer || mutant == one_expired_leaves_the_place;
		p->count += p->answer;
	}
	p->ended_there = mutant == came_back_is_not_counted ? p->expired : p->count;
	p->answer = p->found;
	END;
}

/* lease_beside_others (src/limit.c) -- p->leased: lease a connection while others may do the same */
static Result
lease_beside_others(void)
{
	enum { D = 2 };

	BEGIN;
	p->answer = false;
	p->alone = false;
	if (mutant == limit_read_before_the_lock || mutant == outside_looked_for_before_the_lock)
	{
		STEP("lease_beside_others: GetLatestSnapshot");
		read_credential();
	}
	if (mutant == outside_looked_for_before_the_lock && p->limit != NO_LIMIT)
		CALL(slots_any_outside());
	if (mutant != no_credential_lock)
		TAKE(CREDENTIAL_LOCK, SHARE, "LOCK_CREDENTIAL");
	p->leased = false;
	if (mutant != limit_read_before_the_lock)
	{
		STEP("lease_beside_others: GetLatestSnapshot");
		read_credential();
	}
	if (p->found)
	{
		STEP_IF(config->deletes || config->moves || *config->changes || config->cools, "lease_beside_others: scan_row_is_changing: %s",
				scan_row_is_changing() ? "yes" : "no");
		if (!scan_row_is_changing() && !scan_row_is_own())
		{
			if (p->once && mutant != no_place_lock)
			{
				STEP("lease_beside_others: lock_try(LOCK_PLACE)");
				p->place_locked = try(PLACE_LOCK);
				if (tracing && !p->place_locked) say("somebody has it");
			}
			if (p->once && (p->place_locked || mutant == no_place_lock))
				CALL(once_look());
			else if (p->once)
				p->place = PLACE_EXPIRED;
			if (p->place_locked && mutant == place_lock_given_back_before_the_insertion)
			{
				GIVE(PLACE_LOCK, "LOCK_PLACE");
				p->place_locked = false;
			}
			if (p->place == PLACE_FREE)
			{
				p->slot = SLOT_NONE;
				if (p->limit != NO_LIMIT)
				{
					if (mutant != outside_not_looked_for && mutant != outside_looked_for_before_the_lock)
						CALL(slots_any_outside());
					if (!p->answer)
						CALL(slot_claim());
				}
				p->leased = p->limit == NO_LIMIT || p->slot != SLOT_NONE;
				if (p->leased)
				{
					CALL(slots_clear());
					p->leased = p->answer;
				}
				if (p->leased)
					CALL(insert_lease());
				if (p->slot != SLOT_NONE && mutant != no_slot_lock && mutant != no_slot_lock_no_constraint)
					GIVE(SLOT_LOCK(p->slot), "LOCK_SLOT");
			}
			if (p->place_locked)
			{
				GIVE(PLACE_LOCK, "LOCK_PLACE");
				p->place_locked = false;
			}
		}
	}
	if (mutant != no_credential_lock && mutant != credential_locked_to_commit)
		GIVE(CREDENTIAL_LOCK, "LOCK_CREDENTIAL");
	END;
}

/*
 * end_expired_alone (end_expired of src/limit.c) -- p->answer: have expired leases ended, those at the gateway, and p->excess in all?
 */
static Result
end_expired_alone(void)
{
	enum { D = 10 };

	BEGIN;
	p->answer = p->expired == 0 && p->excess == 0;
	if (p->answer || !config->clock)
		RETURN;
	p->for_free = true;
	p->ended_there = 0;
	p->wanted_ends = p->excess > p->expired ? p->excess : p->expired;
	CALL(lease_so_many_expired());
	if (p->answer && p->expired > 0)
		CALL(once_end_expired());
	if (p->answer && p->excess > p->ended_there)
	{
		p->wanted_ends = p->excess - p->ended_there;
		CALL(lease_end_expired_for());
	}
	END;
}

/* find_after_ends (src/limit.c) -- p->answer: a slot, p->slot, after expired leases have ended: all is counted anew */
static Result
find_after_ends(bool beside_enders)
{
	enum { D = 10 };

	BEGIN;
	if (mutant == takeover_always_enough)
	{
		p->wanted = 1;
		CALL(slots_gap());
		p->slot = p->candidate;
	}
	else
	{
		CALL(slots_find());
		if (p->slot == SLOT_NONE)
		{
			/* slot_above() */
			if (beside_enders && mutant == over_counted_before_the_takeover)
				p->excess = p->count = 0;
			else
			{
				CALL(slots_excess());
				CALL(slots_over());
			}
			if (p->count >= p->excess)
				CALL(slots_above());
		}
	}
	p->answer = p->slot != SLOT_NONE;
	END;
}

/* find_beside_enders (src/limit.c) -- slot_alone() where the credential is full, and some of its leases are being ended by others */
static Result
find_beside_enders(void)
{
	enum { D = 11 };

	BEGIN;
	p->answer = false;
	CALL(slots_over());
	p->excess -= p->count;
	if (p->expired > 0 || p->excess > 0)
	{
		p->answer = false;
		if (mutant != ended_or_expired)
			CALL(end_expired_alone());
		if (p->answer)
			CALL(find_after_ends(true));
		RETURN;
	}
	CALL(slots_above());
	p->answer = p->slot != SLOT_NONE;
	END;
}

/*
 * slot_alone (src/limit.c) -- p->answer: is there a slot, p->slot, or no limit, at a place that is free? if not, the end of expired
 * leases may make it so, or others are ending them
 */
static Result
slot_alone(void)
{
	enum { D = 3 };

	BEGIN;
	p->answer = false;
	p->slot = SLOT_NONE;
	p->place = PLACE_FREE;
	p->expired = 0;
	if (p->limit == 0)
		RETURN;
	for (;;)
	{
		/* find_alone() */
		slots_begin();
		p->place = PLACE_FREE;
		p->expired = 0;
		if (p->once && mutant != place_not_looked_at_alone)
			CALL(once_look());
		p->answer = false;
		if (p->place == PLACE_TAKEN)
			break;
		if (p->limit != NO_LIMIT)
			CALL(slots_find());
		p->full_of_slots = p->limit != NO_LIMIT && p->slot == SLOT_NONE;
		p->answer = !p->full_of_slots && p->place == PLACE_FREE;
		if (p->answer || mutant == (p->full_of_slots ? expired_not_taken_over : place_not_taken_over))
			break;

		p->excess = 0;
		if (p->full_of_slots)
			CALL(slots_excess());
		p->answer = false;
		if (mutant != none_has_to_end_is_full || p->excess > 0 || !p->full_of_slots)
			CALL(end_expired_alone());
		if (p->full_of_slots && p->answer)
			CALL(find_after_ends(false));
		else if (p->full_of_slots && is_ending())
			CALL(find_beside_enders());
		if (p->answer)
			break;
		STEP_IF(is_ending(), "lease_any_ended: %s", any_ender_ended() ? "yes" : "no");
		if (!any_ender_ended())
			break;
	}
	END;
}

/* lease_alone (src/limit.c) -- p->leased: lease a connection while nobody else does; p->full when there is none */
static Result
lease_alone(void)
{
	enum { D = 2 };

	BEGIN;
	p->alone = true;
	if (mutant == busy_credential_is_full)
	{
		STEP("lease_alone: lock_try(LOCK_CREDENTIAL)");
		if (!try(CREDENTIAL_LOCK))
		{
			p->full = true;
			RETURN;
		}
	}
	else if (mutant == limit_read_before_the_lock)
	{
		STEP("lease_alone: GetLatestSnapshot");
		read_credential();
		TAKE(CREDENTIAL_LOCK, EXCLUSIVE, "LOCK_CREDENTIAL");
	}
	else if (mutant == credential_lock_always_shared)
		TAKE(CREDENTIAL_LOCK, SHARE, "LOCK_CREDENTIAL");
	else if (mutant != no_credential_lock)
		TAKE(CREDENTIAL_LOCK, EXCLUSIVE, "LOCK_CREDENTIAL");
	do
	{
		if (mutant != limit_read_before_the_lock)
		{
			STEP("lease_alone: GetLatestSnapshot");
			read_credential();
		}
		p->leased = false;
		p->answer = false;
		if (!p->found)
			break;
		STEP_IF(config->deletes, "lease_alone: scan_row_ends: %s", scan_row_ends(p->credential) ? "yes" : "no");
		if (!scan_row_ends(p->credential))
		{
			CALL(slot_alone());
			p->leased = p->answer;
		}
		if (!p->leased)
		{
			p->full = true;
			break;
		}
		p->answer = false;
		if (mutant == over_deleted_before_the_change_is_seen)
			CALL(slots_clear());
		p->answer = false;
		if (mutant != change_not_seen_when_counted && mutant != limit_read_before_the_lock)
		{
			STEP("lease_alone: scan_row_is_replaced: %s", scan_row_is_replaced() ? "yes" : "no");
			p->answer = scan_row_is_replaced();
		}
	} while (p->answer);
	if (p->leased)
	{
		CALL(slots_clear());
		p->leased = p->answer;
		p->full = !p->leased;
	}
	if (p->leased)
		CALL(insert_lease());
	if (mutant != no_credential_lock && mutant != credential_locked_to_commit)
		GIVE(CREDENTIAL_LOCK, "LOCK_CREDENTIAL");
	END;
}

/* row_changes (is_settled of pool.c) -- does an open transaction, this one too, change or delete the credential, or has one since the snapshot? */
static bool
row_changes(void)
{
	Object	   *object = &m->objects[p->credential];

	return (is_other(object->xmax) && mutant != open_change_is_full) ||
		(is_mine(object->xmax) && mutant != own_change_is_full) ||
		(p->changed & 1 << p->credential && mutant != replaced_limit_is_full);
}

/* any_over (limit_look of src/limit.c) -- p->answer: is the end of a lease of the credential past? */
static Result
any_over(void)
{
	enum { D = 3 };

	BEGIN;
	STEP("any_over: reads the entries of egress_lease_expiry");
	start_ends(p->credential);
	p->answer = false;
	while (!p->answer && next_end())
	{
		STEP("any_over: visits a row");
		p->answer = p->entry != GONE_ROW && end_seen(&m->rows[p->entry - 1]) == END_PAST &&
			m->rows[p->entry - 1].age >= p->snapshot_cool[p->credential] - 1;
	}
	END;
}

/* was_held (src/limit.c) -- is the present entry's lease held, and was it at the snapshot? */
static bool
was_held(void)
{
	const Row  *row;

	if (p->entry == GONE_ROW)
		return false;
	row = &m->rows[p->entry - 1];
	return row_is_held(row, self) && !is_other(row->xmin) &&
		(!(row->since & 1 << self) || mutant == full_with_later_leases) &&
		(!has_cooled_down(row, p->snapshot_cool[p->credential] - 1) || mutant == full_with_what_is_over);
}

/* was_at_place -- the same, for a look at the place */
static bool
was_at_place(void)
{
	return (was_held() || (mutant == place_with_later_leases && is_at_place() && !is_other(m->rows[p->entry - 1].xmin))) &&
		!(mutant == open_release_leaves_the_place && is_other(m->rows[p->entry - 1].xmax));
}

/* limit_look (src/limit.c) -- p->answer: is it certain that the credential was full at the snapshot? */
static Result
limit_look(void)
{
	enum { D = 2 };

	BEGIN;
	p->limit = p->snapshot[p->credential] - 1;
	p->answer = p->limit == 0;
	if (p->limit == 0 || p->limit == NO_LIMIT)
		RETURN;
	start_scan(0, false);
	p->count = 0;
	memset(p->open, 0, sizeof(p->open));
	memset(p->open_serials, 0, sizeof(p->open_serials));
	while (p->count < p->limit)
	{
		NEXT_ENTRY(p->credential, ENTRY_SLOT, false, "limit_look");
		if (p->entry == 0 || p->entry_slot == SLOT_NONE || p->entry_slot > p->count + 1)
			RETURN;
		if (p->entry_slot <= p->count)
			continue;
		STEP("was_held: visits slot %s: %s", slot_name(p->entry_slot), was_held() ? "yes" : "no");
		p->count += was_held();
		if (config->clock && was_held() && is_other(m->rows[p->entry - 1].xmax))
			note_open(m->rows[p->entry - 1].xmax);
	}
	p->answer = true;
	if (config->clock && mutant != full_with_expired_leases)
	{
		CALL(any_over());
		p->answer = !p->answer;
		if (p->answer && mutant != full_with_what_was_ended)
		{
			STEP("any_ended: %s", any_ended() ? "yes" : "no");
			p->answer = !any_ended();
		}
	}
	END;
}

/* once_was_taken (once.c) -- p->answer: is it certain that the credential was at the gateway at the snapshot? */
static Result
once_was_taken(void)
{
	enum { D = 2 };

	BEGIN;
	p->answer = false;
	start_scan(0, false);
	for (;;)
	{
		NEXT_ENTRY(p->credential, ENTRY_GATEWAY, false, "once_was_taken");
		if (p->entry == 0)
			RETURN;
		STEP("once_was_taken: visits a row: %s", was_at_place() ? "yes" : "no");
		if (!was_at_place())
			continue;
		p->answer = true;
		if (!config->clock || mutant == place_seen_with_expired_leases)
			RETURN;
		memset(p->open, 0, sizeof(p->open));
		memset(p->open_serials, 0, sizeof(p->open_serials));
		if (is_other(m->rows[p->entry - 1].xmax))
			note_open(m->rows[p->entry - 1].xmax);
		STEP("has_expired");
		p->answer = p->entry == GONE_ROW || end_seen(&m->rows[p->entry - 1]) != END_PAST ||
			m->rows[p->entry - 1].age < p->snapshot_cool[p->credential] - 1;
		if (p->answer && mutant != place_seen_with_what_was_ended)
		{
			STEP("any_ended: %s", any_ended() ? "yes" : "no");
			p->answer = !any_ended();
		}
		if (p->answer)
			RETURN;
	}
	END;
}

/*
 * sooner -- the look has seen a version of an end: who has written it, and who deletes or replaces it, with which mutant unseen
 *
 * What another open transaction makes of an end is not certain; what this one makes of it, only for itself.
 */
static void
sooner(int end, int inserter, int ender, int unseen)
{
	if ((is_other(inserter) || is_other(ender)) && mutant != old_end_not_seen && mutant != new_end_not_seen)
		p->uncertain = true;
	if ((is_other(inserter) || is_other(ender)) && mutant == unseen)
		return;
	if (is_mine(ender) && mutant == own_renewed_end_not_seen)
		return;
	p->mine |= (is_mine(inserter) || is_mine(ender)) && mutant != own_renewed_end_not_seen;
	if (end > p->wake)
		p->wake = end;
}

/*
 * counts_as_full (was_held of src/limit.c) -- does the present entry's lease prove that its slot is held, whatever becomes of other open transactions?
 *
 * And of this one, unless the lease is its own: p->mine.
 */
static bool
counts_as_full(void)
{
	const Row  *row;

	if (p->entry == GONE_ROW)
		return false;
	row = &m->rows[p->entry - 1];
	if (!row_is_held(row, self) || (is_other(row->xmax) && mutant != open_end_is_full) ||
		has_cooled_down(row, p->snapshot_cool[p->credential] - 1))
		return false;
	p->mine |= is_mine(row->xmin);
	if (mutant != open_acquire_is_full && (is_other(row->xmin) || (row->since & 1 << self && mutant != later_acquire_is_full)))
		return false;
	/* free when it is over */
	if (row->cooling && mutant != full_until_nothing_cools_down)
		sooner(END_PAST - (p->snapshot_cool[p->credential] - 1 - row->age), NOBODY, NOBODY, NO_MUTANT);
	return true;
}

/* visit_end (counts of src/limit.c) -- look at the version of the next entry; new_version() has what becomes of those that go before */
static void
visit_end(void)
{
	for (int i = 0; i < ROWS; i++)
	{
		const Row  *row = &m->rows[i];

		if (p->ends & 1 << i)
		{
			p->ends &= ~(1 << i);
			sooner(row->end, row->end_xmin, row->renewed ? row->renewed : row->end_xmax, old_end_not_seen);
			return;
		}
		if (p->new_ends & 1 << i)
		{
			p->new_ends &= ~(1 << i);
			sooner(row->renewed_end, row->renewed, NOBODY, new_end_not_seen);
			return;
		}
	}
}

/* read_ends (earliest_end of src/limit.c) -- read the entries of egress_lease_expiry, one a version: no renewal here is heap-only, which hides more */
static void
read_ends(void)
{
	start_ends(p->credential);
	p->new_ends = 0;
	for (int i = 0; i < ROWS; i++)
		if (p->ends & 1 << i && m->rows[i].renewed_end != END_NONE)
			p->new_ends |= 1 << i;
	p->looks_at_ends = true;
}

#define WATCH \
	do { \
		STEP("settle: the entry of credential %s, which is %s, is WATCHED now", \
			 entry_label(group_of[self], p->credential), entry_name(group_of[self], p->credential)); \
		pool_index_watch(); \
	} while (0)

/*
 * settle, remember (pool.c) -- p->answer: is the credential full? If that is certain for everybody, its entry becomes FULL
 *
 * If that is so only with what this transaction did, it is remembered with the look's number, unless a lease has an end. All
 * leases count, those outside 1..limit too.
 */
static Result
settle(void)
{
	enum { D = 2 };

	BEGIN;
	p->answer = false;
	p->limit = p->snapshot[p->credential] - 1;
	if (p->limit == NO_LIMIT)
		RETURN;
	if (mutant != looked_before_watched)
		WATCH;
	STEP("settle: is the credential's row changed, or was since? %s", row_changes() ? "yes" : "no");
	if (row_changes())
		RETURN;
	start_scan(0, false);
	p->count = 0;
	p->mine = false;
	p->wake = END_NONE;
	p->uncertain = false;
	while (p->count < p->limit)
	{
		NEXT_ENTRY(p->credential, ENTRY_SLOT, false, "settle");
		p->answer = false;
		if (p->entry == 0)
			RETURN;
		STEP("settle: visits slot %s", slot_name(p->entry_slot));
		p->answer = counts_as_full();
		if (tracing)
			say(p->answer ? "full" : "not certain");
		p->count += p->answer;
	}
	if (config->clock)
	{
		STEP("settle: reads the entries of egress_lease_expiry");
		read_ends();
		while (p->ends || p->new_ends)
		{
			STEP("settle: visits the end of a lease");
			visit_end();
		}
		p->looks_at_ends = false;
	}
	if (mutant == looked_before_watched)
		WATCH;
	STEP("settle: %s", !is_watched() && mutant != look_not_watched ? "the look's number does not hold any more" :
		 p->wake == END_PAST ? "a lease has expired" : p->uncertain ? "not certain" : p->mine ? "full, with own leases" : "FULL");
	p->answer = (is_watched() || mutant == look_not_watched) && p->wake != END_PAST &&
		!p->uncertain;
	if (!p->answer)
		RETURN;
	if (p->mine && mutant != own_leases_are_full)
		p->remembered[p->credential] = p->wake == END_NONE || mutant == remembered_for_ever;
	else
	{
		set_entry(group_of[self], p->credential, POOL_FULL, mutant == full_for_ever ? END_NONE : p->wake);
		pool_entry()->older = p->older;
	}
	END;
}

/* pool_next (pool.c) -- p->answer: is the credential passed over? */
#define NEXT_CANDIDATE \
	do { \
		STEP("pool_next: the entry of credential %s is %s%s", entry_label(group_of[self], p->credential), \
			 entry_name(group_of[self], p->credential), is_passed_over() ? ": passed over" : ""); \
		p->answer = is_passed_over(); \
	} while (0)

/* take_snapshot -- the acquire's snapshot, by which pool.c asks: which credentials are there, which leases are committed */
static void
take_snapshot(void)
{
	for (int c = 1; c <= CREDENTIALS; c++)
		if (fits(self, c) && object_is_there(c, self) && group_seen(c, self) == group_of[self])
		{
			p->snapshot[c] = limit_seen(c, self) + 1;
			p->snapshot_once |= once_seen(c, self) << c;
			p->snapshot_cool[c] = cool_seen(c, self) + 1;
		}
	for (int i = 0; i < ROWS; i++)
		if (is_other(m->rows[i].xmin))
			m->rows[i].since |= 1 << self;
	p->snapshot_taken = true;
	for (int proc = 0; proc < PROCS && config->pool; proc++)
		if (proc != self && m->procs[proc].snapshot_taken)
			p->older |= 1 << proc;
}

/*
 * A user's limit (user_limit.c).
 */

enum
{
	LOCKED_NOT,
	LOCKED_SHARED,
	LOCKED_EXCLUSIVE
};

enum
{
	ROOM_FREE,
	ROOM_EXPIRED,				/* if leases that have expired are ended */
	ROOM_NONE
};

/* read_user_limit (read_limit() of user_limit.c) -- the limit in a new snapshot; NO_LIMIT when there is none */
static int
read_user_limit(void)
{
	return mutant == user_limit_by_the_old_snapshot ? p->snapshot_limit : limit_seen(USER, self);
}

/* limit_label -- a limit, for the trace */
static const char *
limit_label(int limit)
{
	static const char *const labels[] = {"0", "1", "2", "none"};

	return labels[limit];
}

/* start_leases -- go through the user's leases: nobody inserts one meanwhile, so all their entries are read at once */
static void
start_leases(void)
{
	p->ends = 0;
	for (int i = 0; i < ROWS; i++)
		if (m->rows[i].user && m->rows[i].entries & ENTRY_USER)
			p->ends |= 1 << i;
}

/* is_untouched -- is the present lease there, while no other open transaction inserts or ends it? */
static bool
is_untouched(void)
{
	return row_is_there() && is_settled(&m->rows[p->entry - 1]);
}

/* next_expired -- go to the user's next lease that has expired, while no other open transaction does something with it */
static Result
next_expired(void)
{
	enum { D = 5 };

	BEGIN;
	p->answer = false;
	while (!p->answer && next_end())
	{
		STEP("next_expired: visits a lease of the user: %s", is_untouched() ? "held" : "no");
		if (!is_untouched())
			continue;
		STEP("next_expired: looks for its end: %s", is_expired() ? "expired" : "not expired");
		p->cool = mutant != expired_counts_for_the_user_while_it_cools || p->entry == GONE_ROW ? 0 :
			cool_seen(m->rows[p->entry - 1].credential, self);
		p->answer = is_expired();
	}
	END;
}

/* so_many_expired -- p->answer: have p->excess leases of the user expired? */
static Result
so_many_expired(void)
{
	enum { D = 4 };

	BEGIN;
	p->answer = false;
	if (!config->clock || mutant == user_not_taken_over)
		RETURN;
	STEP("so_many_expired: reads the entries of the user's leases");
	start_leases();
	p->found = 0;
	do
	{
		CALL(next_expired());
		p->found += p->answer;
	} while (p->answer && p->found < p->excess);
	END;
}

/* end_expired -- end p->excess of them, or fewer: a connection of theirs may have to cool down */
static Result
end_expired(void)
{
	enum { D = 4 };

	BEGIN;
	STEP("end_expired: reads the entries of the user's leases");
	start_leases();
	p->for_free = false;
	for (p->found = 0; p->found < p->excess; p->found += p->answer)
	{
		CALL(next_expired());
		if (!p->answer)
			RETURN;
		p->look = m->rows[p->entry - 1].session;
		CALL(lease_end_if_expired());
	}
	END;
}

/* look -- p->user_room: what do the user's leases leave, by the limit as it is when that is known? p->user_slot is free, or none is */
static Result
look(void)
{
	enum { D = 3 };

	BEGIN;
	STEP("look: GetLatestSnapshot: the user's limit is %s", limit_label(read_user_limit()));
	p->user_limit = read_user_limit();
	p->of_user = p->alone = true;
	for (;;)
	{
		p->user_slot = SLOT_NONE;
		p->user_room = ROOM_FREE;
		if (p->user_limit == NO_LIMIT)
			break;
		p->limit = p->user_limit;
		p->cool = 0;
		slots_begin();
		CALL(slots_find());
		if (p->slot == SLOT_NONE && p->limit > 0)
		{
			/* find_excess() */
			CALL(slots_excess());
			if (is_ending())
			{
				CALL(slots_over());
				p->excess -= p->count;
			}
			if (p->excess == 0)
				CALL(slots_above());
		}
		p->user_slot = p->slot;
		if (p->slot == SLOT_NONE)
			p->user_room = ROOM_NONE;
		if (p->user_room == ROOM_NONE && p->limit > 0)
		{
			CALL(so_many_expired());
			if (p->answer)
				p->user_room = ROOM_EXPIRED;
		}
		if (mutant == user_limit_read_once)
			break;
		STEP("look: GetLatestSnapshot: the user's limit is %s", limit_label(read_user_limit()));
		p->user_limit = read_user_limit();
		if (p->user_limit != p->limit)
			continue;
		if (p->user_room != ROOM_NONE)
			break;
		STEP_IF(is_ending(), "lease_any_ended: %s", any_ender_ended() ? "yes" : "no");
		if (!any_ender_ended())
			break;
	}
	p->of_user = false;
	END;
}

#define TAKE_USER(mode) \
	do { \
		if (mutant != no_user_lock) \
			TAKE(LOCK_USER, mode, "LOCK_USER"); \
		p->user_lock = mode == SHARE ? LOCKED_SHARED : LOCKED_EXCLUSIVE; \
	} while (0)

#define GIVE_USER \
	do { \
		if (mutant != no_user_lock) \
			GIVE(LOCK_USER, "LOCK_USER"); \
		p->user_lock = LOCKED_NOT; \
	} while (0)

/* look_alone -- take LOCK_USER, exclusive, and look */
static Result
look_alone(void)
{
	enum { D = 2 };

	BEGIN;
	if (p->user_lock == LOCKED_NOT && mutant == user_lock_always_shared)
		TAKE_USER(SHARE);
	else if (p->user_lock == LOCKED_NOT)
		TAKE_USER(EXCLUSIVE);
	CALL(look());
	END;
}

/* lock_gateway (acquire.c) -- take the gateway's lock, unless it is held; raises NG004 when the gateway is being deleted */
static Result
lock_gateway(void)
{
	enum { D = 2 };

	BEGIN;
	if (p->gateway_locked || !config->deletes || p->gateway != 1)
		RETURN;
	if (mutant != no_gateway_lock)
		TAKE(LOCK_GATEWAY, SHARE, "LOCK_GATEWAY");
	STEP("lock_gateway: scan_row_ends: %s", scan_row_ends(0) ? "yes" : "no");
	if (scan_row_ends(0))
	{
		acquire_refused();
		RAISE;
	}
	p->gateway_locked = true;
	END;
}

/* egress_acquire_credential, egress_acquire_gateway (acquire.c, wish.c) */
static Result
acquire(int gateway, bool ttl)
{
	enum { D = 1 };

	BEGIN;
	p->session = p->look = p->arg;
	p->gateway = gateway;
	p->wish = p->op == 'w';
	p->user_slot = SLOT_NONE;
	if (session_shared[p->session] && mutant != no_session_lock)
		TAKE(SESSION_LOCK(p->session), EXCLUSIVE, "LOCK_SESSION");
	CALL(lease_look());
	while (p->state == LEASE_BUSY || p->state == LEASE_EXPIRED_BUSY)
	{
		if (mutant != wait_with_session_lock && mutant != no_session_lock)
			GIVE(SESSION_LOCK(p->session), "LOCK_SESSION");
		WAIT_FOR_TRANSACTION;
		if (mutant != wait_with_session_lock && mutant != no_session_lock)
			TAKE(SESSION_LOCK(p->session), EXCLUSIVE, "LOCK_SESSION");
		CALL(lease_look());
	}
	if (p->state == LEASE_EXPIRED)
		CALL(end_lease());

	/* user_limit_hold_begin() */
	if (is_user[self] && mutant != unlimited_take_no_user_lock && mutant != user_lock_after_the_snapshot)
		TAKE_USER(SHARE);
	STEP("egress_acquire_credential: GetLatestSnapshot");
	take_snapshot();
	acquire_begins();
	/* user_limit_hold_decide() */
	p->snapshot_limit = limit_seen(USER, self);
	p->limited = is_user[self] && p->snapshot_limit != NO_LIMIT;
	if (p->user_lock && (p->limited || mutant == unlimited_give_the_user_lock_back))
		GIVE_USER;
	if (is_user[self] && !p->limited && mutant == user_lock_after_the_snapshot)
		TAKE_USER(SHARE);
	if (p->gateway == 1 && !object_is_there(0, self))
	{
		if (tracing) say("NG001");
		RAISE;
	}
	if (p->state != LEASE_LIVE)
	{
		/* acquire_try() */
		for (;;)
		{
			p->entered = false;
			for (p->credential = 1; p->credential <= CREDENTIALS; p->credential++)
			{
				if (!p->snapshot[p->credential] || (p->wish && p->credential != p->gateway))
					continue;
				if (!config->pool)
					CALL(limit_look());
				else
				{
					NEXT_CANDIDATE;
					if (p->answer && pool_entry()->state != POOL_FULL)
						pool_remembers_full();
					if (!p->answer && config->looks_first)
					{
						CALL(limit_look());
						if (p->answer)
						{
							CALL(settle());
							p->answer = true;
						}
					}
				}
				if (!p->answer && p->snapshot_once & 1 << p->credential)
					CALL(once_was_taken());
				if (p->answer)
				{
					p->full = true;
					pool_says_full();
					continue;
				}

				/* enter() */
				if (!p->entered)
				{
					if (mutant == user_lock_after_the_gateways)
						CALL(lock_gateway());
					/* user_limit_hold_claim() */
					p->trying = p->credential;
					for (p->claims = 0; p->limited && p->claims < CLAIM_TRIES; p->claims++)
					{
						CALL(look_alone());
						if (p->user_room != ROOM_EXPIRED)
							break;
						CALL(end_expired());
					}
					p->credential = p->trying;
					p->trying = 0;
					p->had_room = p->user_room == ROOM_FREE;
					if (!p->had_room)
					{
						if (tracing) say("NG008");
						user_refused();
						RAISE;
					}
					if (mutant == user_lock_given_back_before_the_insertion && p->user_lock == LOCKED_EXCLUSIVE)
						GIVE_USER;
					if (mutant == no_user_lock_at_the_second_gateway && p->user_limit == NO_LIMIT)
						p->limited = false;
				}
				if (mutant != user_lock_after_the_gateways)
					CALL(lock_gateway());
				p->entered = true;

				p->place = PLACE_FREE;
				if (!config->alone)
					CALL(lease_beside_others());
				if (p->place == PLACE_TAKEN)
					p->full = true;
				else if (!p->leased)
					CALL(lease_alone());
				if (p->leased)
					break;
				if (config->pool && p->place != PLACE_TAKEN && !config->looks_first)
					CALL(settle());
			}
			/* leave() */
			if (p->gateway_locked && mutant != no_gateway_lock)
				GIVE(LOCK_GATEWAY, "LOCK_GATEWAY");
			p->gateway_locked = false;
			if (p->entered && p->user_lock == LOCKED_EXCLUSIVE)
				GIVE_USER;
			if (p->leased)
				break;

			/* user_limit_hold_is_full() */
			if (p->limited && !p->had_room && mutant != user_not_asked)
			{
				CALL(look_alone());
				p->had_room = p->user_room == ROOM_FREE ||
					(p->user_room == ROOM_EXPIRED && mutant != users_expired_are_held_for_the_answer);
				if (!p->had_room)
				{
					if (tracing) say("NG008");
					user_refused();
					RAISE;
				}
				GIVE_USER;
			}
			if (!p->wish || p->gateway == 2)
			{
				if (tracing) say("NG004");
				acquire_refused();
				RAISE;
			}
			p->gateway = 2;
		}
		if (ttl)
		{
			STEP("lease_expires: inserts the row of egress_lease_expiry");
			m->rows[p->row - 1].end = END_AHEAD;
			m->rows[p->row - 1].end_xmin = MINE;
		}
		p->said[p->level][p->session] = HAS;
	}
	if (tracing) say("session %d has a lease", p->session);
	/* user_limit_hold_end() */
	if (p->user_lock)
		GIVE_USER;
	if (session_shared[p->session] && mutant != no_session_lock)
		GIVE(SESSION_LOCK(p->session), "LOCK_SESSION");
	END;
}

/*
 * menu (menu.c) -- say what has a connection free, as of a snapshot, and look at it
 *
 * What is FULL by a snapshot that is not newer needs no counting. (src compares the xmax of both.)
 */
static Result
menu(void)
{
	enum { D = 1 };

	BEGIN;
	STEP("menu: GetLatestSnapshot");
	take_snapshot();
	menu_begins();
	for (p->credential = 1; p->credential <= CREDENTIALS; p->credential++)
	{
		if (!p->snapshot[p->credential])
			continue;
		NEXT_CANDIDATE;
		if (!p->answer)
			CALL(settle());
		else if (pool_entry()->state == POOL_FULL && (!(pool_entry()->older & 1 << self) || mutant == older_menu_sees_full))
			menu_says_full();
	}
	END;
}

/* look_and_wait (lease.c) -- take LOCK_SESSION and look, until no other open transaction changes the lease */
static Result
look_and_wait(void)
{
	enum { D = 2 };

	BEGIN;
	TAKE(SESSION_LOCK(p->session), EXCLUSIVE, "LOCK_SESSION");
	CALL(lease_look());
	while (p->busy && p->state != LEASE_EXPIRED_BUSY)
	{
		GIVE(SESSION_LOCK(p->session), "LOCK_SESSION");
		WAIT_FOR_TRANSACTION;
		TAKE(SESSION_LOCK(p->session), EXCLUSIVE, "LOCK_SESSION");
		CALL(lease_look());
	}
	END;
}

/* lease_end (lease.c) -- end the lease of the session p->arg */
static Result
lease_end(void)
{
	enum { D = 1 };

	BEGIN;
	p->session = p->look = p->arg;
	if (session_shared[p->session])
		CALL(look_and_wait());
	else
		CALL(lease_look());
	if (p->state == LEASE_LIVE || p->state == LEASE_EXPIRED)
		CALL(end_lease());
	if (session_shared[p->session])
		GIVE(SESSION_LOCK(p->session), "LOCK_SESSION");
	END;
}

/* egress_renew_lease (lease.c) -- let the lease of the session p->arg end later, or sooner */
static Result
renew(void)
{
	enum { D = 1 };
	Row		   *row;
	int			end;

	BEGIN;
	p->session = p->look = p->arg;
	CALL(look_and_wait());
	if (p->state == LEASE_LIVE || (p->state == LEASE_EXPIRED && mutant == renewal_revives))
	{
		if (p->state == LEASE_LIVE)
			m->rows[p->row - 1].renewing = self + 1;
		STEP("renew: writes the new end");
		row = &m->rows[p->row - 1];
		end = config->ends ? end_named(config->ends[choose(strlen(config->ends))]) : END_AHEAD;
		if (tracing && config->ends)
			say(end == END_NONE ? "none" : end == END_AHEAD ? "ahead" : "later");
		p->found = end > end_seen(row);
		if (row->end == END_NONE)
		{
			row->end = end;
			row->end_xmin = end == END_NONE ? NOBODY : MINE;
		}
		else
		{
			row->renewed = MINE;
			row->renewed_end = end;
		}
		if (p->found && config->pool)
			p->owes |= 1 << row->credential;
		if (p->found && mutant != shortened_leaves_full)
			CALL(freed_connection(m->rows[p->row - 1].credential));
	}
	GIVE(SESSION_LOCK(p->session), "LOCK_SESSION");
	END;
}

/* sweep (sweep.c) */
static Result
sweep(void)
{
	enum { D = 1 };

	BEGIN;
	STEP("sweep: reads the pages of egress_lease_expiry");
	start_ends(0);
	while (next_end())
	{
		STEP("lease_next_expired: visits a row: %s", is_expired() ? "expired" : "not expired");
		if (!is_expired())
			continue;
		p->look = m->rows[p->entry - 1].session;
		CALL(lease_end_if_expired());
	}
	END;
}

/*
 * Administrators.
 */

/* touch -- an UPDATE or DELETE of a row waits for the transaction that has changed it; false while it has to */
static bool
touch(int id)
{
	if (is_other(m->objects[id].xmax))
		return false;
	m->objects[id].xmax = STAMP(self, 0);
	return true;
}

#define TOUCH(id) \
	do { \
		p->pc[D] = __LINE__; return RUNNING; case __LINE__: \
		if (!m->objects[id].gone && !touch(id)) return BLOCKED; \
	} while (0)

/* change_limit -- UPDATE egress_credential SET active_connection_limit = ... */
static Result
change_limit(void)
{
	enum { D = 1 };
	int			limit;

	BEGIN;
	p->credential = p->arg;
	if (mutant == opened_before_the_change)
		CALL(open_changed());
	if (mutant == change_takes_the_lock_first)
	{
		TAKE(CREDENTIAL_LOCK, EXCLUSIVE, "LOCK_CREDENTIAL");
		GIVE(CREDENTIAL_LOCK, "LOCK_CREDENTIAL");
	}
	TOUCH(p->credential);
	if (!object_is_there(p->credential, self))
		RETURN;
	limit = choose(strlen(config->changes));
	limit = config->changes[limit] == 'u' ? NO_LIMIT : config->changes[limit] - '0';
	if (tracing)
		say(limit == NO_LIMIT ? "UPDATE: credential %d has no limit" : "UPDATE: the limit of credential %d is %d",
			p->credential, limit);
	m->objects[p->credential].changed[p->level] = limit + 1;
	if (config->pool)
		p->owes |= 1 << p->credential;
	CALL(pool_insert());
	END;
}

/* change_user_limit -- a row of egress_user_limit is written, or of egress_group_member: under no lock */
static Result
change_user_limit(void)
{
	enum { D = 1 };
	int			limit;

	BEGIN;
	TOUCH(USER);
	limit = choose(strlen(config->user_changes));
	limit = config->user_changes[limit] == 'u' ? NO_LIMIT : config->user_changes[limit] - '0';
	if (tracing)
		say("UPDATE: the user's limit is %s", limit_label(limit));
	m->objects[USER].changed[p->level] = limit + 1;
	END;
}

/* move -- UPDATE egress_credential SET subject_id = ...: the credential is in the other group */
static Result
move(void)
{
	enum { D = 1 };

	BEGIN;
	p->credential = p->arg;
	TOUCH(p->credential);
	m->objects[p->credential].moved[p->level] = 2 - group_seen(p->credential, self);
	if (tracing)
		say("UPDATE: credential %s", entry_label(group_seen(p->credential, self), p->credential));
	p->owes |= 1 << p->credential;
	CALL(pool_insert());
	END;
}

/* switch_once -- UPDATE egress_credential SET once_per_gateway = NOT once_per_gateway */
static Result
switch_once(void)
{
	enum { D = 1 };

	BEGIN;
	p->credential = p->arg;
	TOUCH(p->credential);
	m->objects[p->credential].switched[p->level] = !once_seen(p->credential, self) + 1;
	if (tracing)
		say(once_seen(p->credential, self) ? "UPDATE: credential %d is once per gateway" :
			"UPDATE: credential %d is not once per gateway", p->credential);
	if (config->pool)
		p->owes |= 1 << p->credential;
	CALL(pool_insert());
	END;
}

/* change_cool_down -- UPDATE egress_credential SET cool_down = ... */
static Result
change_cool_down(void)
{
	enum { D = 1 };
	int			cool;

	BEGIN;
	p->credential = p->arg;
	TOUCH(p->credential);
	cool = config->cools[choose(strlen(config->cools))] - '0';
	m->objects[p->credential].cooled[p->level] = cool + 1;
	if (tracing)
		say(cool == 0 ? "UPDATE: credential %d has no cool_down" : cool == 1 ? "UPDATE: credential %d has a cool_down" :
			"UPDATE: credential %d has a long cool_down", p->credential);
	if (config->pool)
		p->owes |= 1 << p->credential;
	CALL(pool_insert());
	END;
}

/* committed_leases -- those that the snapshot of the foreign key's check has */
static uint16_t
committed_leases(int id)
{
	uint16_t	result = 0;

	for (int i = 0; i < ROWS; i++)
		if (m->rows[i].xmin != NOBODY && !is_other(m->rows[i].xmin) && !is_mine(m->rows[i].xmax) &&
			(id == 0 ? m->rows[i].gateway == 1 : m->rows[i].credential == id))
			result |= 1 << i;
	return result;
}

/* lease_end_expired_of (lease.c) -- delete the rows of a credential's connections that cool down, or a gateway's (0) that have */
static Result
lease_end_expired_of(int id)
{
	enum { D = 2 };

	BEGIN;
	start_scan(0, false);
	for (;;)
	{
		NEXT_ENTRY(id, id ? ENTRY_SLOT : ENTRY_GATEWAY, false, "lease_end_expired_of");
		if (p->entry == 0)
			RETURN;
		STEP("lease_end_expired_of: visits a row");
		if (!row_is_there() || !is_settled(&m->rows[p->entry - 1]) || !m->rows[p->entry - 1].cooling)
			continue;
		if (mutant == (id ? deleter_leaves_what_cools_down : deleter_leaves_what_is_over))
			continue;
		/* remove_cooled() */
		p->credential = m->rows[p->entry - 1].credential;
		p->read_at = m->clock;
		p->dated = true;
		p->gone = id != 0;
		if (mutant != deleter_removes_without_lock)
			TAKE(CREDENTIAL_LOCK, SHARE, "LOCK_CREDENTIAL");
		STEP("remove_cooled: GetLatestSnapshot");
		p->cool = cool_seen(p->credential, self);
		if (p->gone || is_over() || mutant == deleter_takes_what_cools_down)
		{
			STEP("remove_cooled: scan_try_delete");
			(void) scan_try_delete(p->entry);
		}
		p->dated = false;
		if (mutant != deleter_removes_without_lock)
			GIVE(CREDENTIAL_LOCK, "LOCK_CREDENTIAL");
	}
	END;
}

/*
 * delete -- DELETE of a credential, or of the gateway (0): egress_end_expired_leases(), of what cools down; the row, the foreign
 * key's check, and then egress_refuse_delete_in_use() of integrity.c
 */
static Result
delete(int id)
{
	enum { D = 1 };

	BEGIN;
	p->credential = p->arg;
	p->gateway = 1;
	if (config->cool)
		CALL(lease_end_expired_of(id));
	TOUCH(id);
	if (!object_is_there(id, self))
		RETURN;
	if (tracing)
		say(id ? "DELETE: credential %d" : "DELETE: the gateway", id);
	m->objects[id].deleted[p->level] = true;

	STEP("the foreign key's check");
	for (p->ends = committed_leases(id); p->ends; )
	{
		for (p->row = 1; !(p->ends & 1 << (p->row - 1)); p->row++)
			;
		if (!is_other(m->rows[p->row - 1].xmax))
		{
			delete_refused();
			RAISE;
		}
		wait_for(m->rows[p->row - 1].xmax);
		WAIT_FOR_TRANSACTION;
	}
	if (config->cool)
		CALL(lease_end_expired_of(id));
	if (mutant == deleter_does_not_look)
		RETURN;
	if (mutant == deleter_shares_the_lock)
		TAKE(LOCK_CREDENTIAL + id, SHARE, "the lock of the deleted row");
	else if (mutant != deleter_without_lock)
		TAKE(LOCK_CREDENTIAL + id, EXCLUSIVE, "the lock of the deleted row");
	start_scan(0, false);
	p->answer = false;
	p->tries = config->cool && mutant != deleter_looks_once;
	while (!p->answer)
	{
		NEXT_ENTRY(id, id ? ENTRY_SLOT : ENTRY_GATEWAY, false, "lease_any_held");
		if (p->entry == 0 && p->tries > 0)
		{
			p->tries--;
			start_scan(0, false);
			continue;
		}
		if (p->entry == 0)
			break;
		STEP("lease_any_held: visits a row");
		p->cool = p->entry == GONE_ROW ? 0 : cool_seen(m->rows[p->entry - 1].credential, self);
		p->answer = row_is_there() && !(mutant == deleter_steps_over_what_is_over && is_over()) &&
			!(mutant == deleter_looks_at_committed && is_other(m->rows[p->entry - 1].xmin));
	}
	if (mutant != deleter_without_lock)
		GIVE(LOCK_CREDENTIAL + id, "the lock of the deleted row");
	if (p->answer)
	{
		delete_refused();
		RAISE;
	}
	END;
}

/*
 * Transactions of an application.
 */

/* commit -- RecordTransactionCommit(), and then ProcArrayEndTransaction() */
static Result
commit(void)
{
	enum { D = 1 };
	bool		changed = false;

	BEGIN;
	for (int i = 0; i <= CREDENTIALS; i++)
		changed |= is_mine(m->objects[i].xmax);
	if (changed)
	{
		STEP("COMMIT is in pg_xact");
		m->committing |= 1 << self;
	}
	STEP("COMMIT");
	commits();
	for (int s = 0; s < SESSIONS; s++)
		for (int l = 0; l < 2; l++)
			if (p->said[l][s])
				m->expected[s] = p->said[l][s] == HAS;
	memset(p->said, 0, sizeof(p->said));
	p->serial[0]++;
	p->serial[1] = p->level = 0;
	END;
}

/* rollback -- to the savepoint (1), or whole (0) */
static Result
rollback(int level)
{
	enum { D = 1 };

	BEGIN;
	STEP(level ? "ROLLBACK TO SAVEPOINT" : "ROLLBACK");
	aborts(level);
	p->broken = false;
	END;
}

/* is_end -- does an op end the transaction? */
static bool
is_end(byte op)
{
	return op == 'c' || op == 'q' || op == 'e';
}

/*
 * next_op -- the next op of the script, one of the alternatives between slashes; false at the end
 *
 *	aN, AN	acquire for session N at gateway 1; without and with a ttl; oN, ON: at gateway 2
 *	wN		acquire for session N at gateway 1, where only credential 1 fits, or at 2, where only credential 2 does
 *	rN, nN	release, renew; x: sweep; m: menu
 *	s, b	savepoint, rollback to it
 *	lN, tN	change the limit of credential N, its once_per_gateway; kN: its cool_down; vN: move it to the other group
 *	u		change the user's limit
 *	dN, g	delete credential N, gateway 1
 *	c, q, e	commit; roll back; either
 *	-		nothing
 *
 * After an error only the end of what it has broken is possible.
 */
static bool
next_op(void)
{
	const char *s = strchr(config->scripts[self], ':') + 1;
	int			alternatives = 1;

	for (int i = 0; i < p->at; i++)
		s = strchr(s + 1, ' ') ? strchr(s + 1, ' ') : "";
	if (*s == '\0')
		return false;
	s++;
	p->at++;
	for (const char *c = s; *c && *c != ' '; c++)
		alternatives += *c == '/';
	for (int n = choose(alternatives); n > 0; n--)
		s = strchr(s, '/') + 1;
	p->op = s[0];
	p->arg = s[1] >= '0' && s[1] <= '9' ? s[1] - '0' : 0;
	if (p->broken && p->op != 'b' && !is_end(p->op))
		p->op = '-';
	if (p->op == 'e')
		p->op = choose(2) ? 'q' : 'c';
	if (p->op == 'c' && p->broken)
		p->op = 'q';
	return true;
}

/* run_op -- one op */
static Result
run_op(void)
{
	switch (p->op)
	{
		case 'a':
			return acquire(1, false);
		case 'A':
			return acquire(1, true);
		case 'o':
			return acquire(2, false);
		case 'O':
			return acquire(2, true);
		case 'w':
			return acquire(1, false);
		case 'r':
			return lease_end();
		case 'n':
			return renew();
		case 'x':
			return sweep();
		case 'm':
			return menu();
		case 's':
			p->level = 1;
			return DONE;
		case 'b':
			return p->level ? rollback(1) : DONE;
		case 'l':
			return change_limit();
		case 'u':
			return change_user_limit();
		case 't':
			return switch_once();
		case 'k':
			return change_cool_down();
		case 'v':
			return move();
		case 'd':
			return delete(p->arg);
		case 'g':
			return delete(0);
		case 'c':
			return commit();
		case 'q':
			return rollback(0);
		default:
			return DONE;
	}
}

/* forget -- what a function knew in its local variables, when it is over */
static void
forget(void)
{
	for (int i = 0; i < ROWS; i++)
		m->rows[i].since &= ~(1 << self);
	for (int c = 1; c <= CREDENTIALS; c++)
		if (!p->remembered[c])
			m->entries[group_of[self]][c].lookers &= ~(1 << self);
	for (int proc = 0; proc < PROCS; proc++)
		m->procs[proc].older &= ~(1 << self);
	for (int c = 1; c <= CREDENTIALS; c++)
		for (int g = 0; g < GROUPS; g++)
			m->entries[g][c].older &= ~(1 << self);
	memset((char *) p + offsetof(Proc, session), 0, offsetof(Proc, said) - offsetof(Proc, session));
}

/* step -- the next step of connection self; DONE when its script is over */
Result
step(void)
{
	enum { D = 0 };
	Result		result;
	int			position;
	Lock	   *lock;

	BEGIN;
	while (next_op())
	{
		p->pc[D] = __LINE__; __attribute__((fallthrough)); case __LINE__:
		result = p->killed ? ERROR : run_op();
		if (result == RUNNING || result == BLOCKED)
			return result;
		if (result == ERROR)
		{
			if (!p->killed)
				STEP("the error ends the transaction%s", p->level ? ", back to its savepoint" : "");
			else if (tracing)
				say("the statement is cancelled");
			lock = queued(self, &position);
			if (lock)
				(void) dequeue(lock, position);
			memset(&p->pc[1], 0, sizeof(p->pc) - sizeof(p->pc[0]));
			p->broken = p->level;
			aborts(p->level);
			if (p->broken)
				p->level = 1;
			while (holds_a_lock(self))
			{
				STEP("LockReleaseAll gives back a lock");
				release(held_lock(self));
			}
			p->killed = false;
			/* without a savepoint to go back to, the transaction is over */
			while (!p->broken && !is_end(p->op) && next_op())
				;
		}
		else if (is_end(p->op))
			while (holds_a_lock(self))
				release(held_lock(self));
		operation_ends(result == DONE);
		forget();
		p->op = p->arg = 0;
	}
	END;
}
