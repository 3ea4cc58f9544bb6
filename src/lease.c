/*
 * lease.c -- the leases of sessions: looking at one, ending it, and when it ends by itself
 *
 * A lease is a row of egress_lease, which is inserted (limit.c) and deleted (here), never updated. One that ends by
 * itself has a row in egress_lease_expiry besides, which a renewal updates. Whoever takes, renews or ends the lease of a
 * session holds LOCK_SESSION from looking at both rows to having changed them, and looks with a dirty snapshot: so
 * nobody changes them in between, and what another open transaction has done is seen, whatever the age of the
 * caller's snapshot. Such a transaction of the same session is waited for with the lock given back; the exception are those
 * who only want what nobody needs any more (a sweep, and an acquire that ends the expired leases of others): they leave
 * the lease to it. Rows that somebody else has locked by hand are waited for by all.
 *
 * When a lease has expired, by the clock at the look:
 *	- It does not count, and cannot be renewed: who comes late acquires again. A connection that was once free to others
 *	  is not claimed back, so that the leases that count never pass a limit.
 *	- While an open transaction renews it, it counts: the renewal may commit. While one ends it, it will have expired, whatever
 *	  becomes of that transaction: so it does not count (lease_is_over()), though its slot is not free yet; and only an
 *	  acquire of the same session, whose new row cannot be beside the old one, waits to learn it.
 *	- It ended at expires_at, whenever its rows go.
 *	- Where the credential has a cool_down, its connection is held for as long after that.
 *
 * So is the connection of a lease that ends in another way, by a row that takes the place of the lease's: a lease that nobody holds
 * (cool()). It has no row in egress_lease_expiry; acquired_at is when the other one ended. What counts is the cool_down as it is when
 * it is asked. When that is over the row counts for nothing, and stays until somebody needs its slot (limit.c): no job has to come.
 *
 * Renewals never touch what the limit check reads (egress_lease and the index of its slots); see egress--1.0.sql at
 * egress_lease_expiry for why they do not bloat their own table either. An acquire looks there only for leases that are in its way:
 * when no slot of a credential, or of a user who has a limit, is free; and when a credential that may be at each gateway once
 * has a lease at this one (once_look()).
 */
#include "lease.h"

#include "access/table.h"
#include "access/itup.h"
#include "access/transam.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "compat.h"
#include "freed.h"
#include "history.h"
#include "lock.h"
#include "notify.h"
#include "shape.h"
#include "value.h"

/* a ttl may have this many months, days or hours; longer ones are mistakes, and infinite ones what NULL is for */
#define TTL_MAX_MONTHS	(100 * MONTHS_PER_YEAR)
#define TTL_MAX_DAYS	(100 * 366)
#define TTL_MAX_HOURS	(100 * 366 * HOURS_PER_DAY)

/* the column of the index of slots that says whether a lease is one that nobody holds */
#define COOLING_COLUMN	3

/* the slots of leases that nobody holds in the place of those without a slot; after the last, so many more may follow one another */
#define FIRST_HIGH_SLOT	(1 << 30)
#define LAST_HIGH_SLOT	(PG_INT32_MAX - (1 << 20))

/* whoever inserts one looks at so many others, and removes so many that have cooled down */
#define MOST_SEEN		16
#define MOST_REMOVED	2

PG_FUNCTION_INFO_V1(egress_release_credential);
PG_FUNCTION_INFO_V1(egress_renew_lease);

/*
 * lease_lock_tables -- lock the tables that are read and written here
 *
 * For whoever is about to take one of the short locks: it must not wait for a table while it holds them.
 */
void
lease_lock_tables(void)
{
	LockRelationOid(catalog_table(TABLE_LEASE), RowExclusiveLock);
	LockRelationOid(catalog_table(TABLE_LEASE_EXPIRY), RowExclusiveLock);
	history_lock_tables();
	freed_lock_index();
}

/* lease_open -- get ready to look at leases; before: lease_lock_tables() */
void
lease_open(EgressLeaseLook *look)
{
	scan_open(&look->lease, INDEX_LEASE_SESSION, RowExclusiveLock);
	look->expiry_opened = false;
}

/* lease_close -- the rows that were looked at are gone, the tables' locks stay */
void
lease_close(EgressLeaseLook *look)
{
	if (look->expiry_opened)
		scan_close(&look->expiry);
	scan_close(&look->lease);
}

/* find -- find a session's row as it is now, dirty; notes the other open transaction that changes it */
static bool
find(EgressLeaseLook *look, EgressScan *scan, text *session_id)
{
	scan_key_text(scan, session_id);
	scan_start_dirty(scan);
	look->busy = InvalidTransactionId;
	look->busy_row = scan;
	if (!scan_next(scan))
		return false;
	look->busy = TransactionIdIsValid(scan->dirty.xmin) ? scan->dirty.xmin : scan->dirty.xmax;
	return true;
}

/* is_over -- is the end in the current row past? */
static bool
is_over(EgressScan *expiry)
{
	return scan_timestamp(expiry, Anum_egress_lease_expiry_expires_at) <= GetCurrentTimestamp();
}

/*
 * lease_look -- look at a session's lease
 *
 * Before: the caller holds LOCK_SESSION. After: the lease is the current row of look->lease, if there is one.
 * look->busy is valid when it is LEASE_BUSY or LEASE_EXPIRED_BUSY, and also when it is LEASE_LIVE and another open
 * transaction renews it.
 */
EgressLeaseState
lease_look(EgressLeaseLook *look, text *session_id)
{
	TransactionId changer;

	look->has_expiry = false;
	if (!find(look, &look->lease, session_id))
		return LEASE_NONE;
	if (TransactionIdIsValid(look->lease.dirty.xmin))
		return LEASE_BUSY;
	if (lease_is_cooling(&look->lease))
	{
		look->busy = InvalidTransactionId;
		return LEASE_COOLING;
	}
	changer = look->busy;

	if (!look->expiry_opened)
		scan_open(&look->expiry, INDEX_LEASE_EXPIRY_SESSION, RowExclusiveLock);
	look->expiry_opened = true;
	look->has_expiry = find(look, &look->expiry, session_id);

	if (TransactionIdIsValid(changer))
	{
		/* an end that its own transaction has written may go with it */
		bool		over = look->has_expiry && !TransactionIdIsValid(look->expiry.dirty.xmin) && is_over(&look->expiry);

		look->busy = changer;
		look->busy_row = &look->lease;
		return over ? LEASE_EXPIRED_BUSY : LEASE_BUSY;
	}
	if (!look->has_expiry || TransactionIdIsValid(look->busy))
		return LEASE_LIVE;
	return is_over(&look->expiry) ? LEASE_EXPIRED : LEASE_LIVE;
}

/*
 * lease_wait -- wait for the transaction look->busy, with no page pinned
 *
 * Before: it is valid, and the caller holds none of the short locks. After: look again.
 */
void
lease_wait(EgressLeaseLook *look, XLTW_Oper purpose)
{
	ItemPointerData tid = look->busy_row->slot->tts_tid;

	scan_stop(&look->lease);
	if (look->expiry_opened)
		scan_stop(&look->expiry);
	XactLockTableWait(look->busy, look->busy_row->table, &tid, purpose);
}

/* lease_expires -- let a session's lease, which this transaction has taken or locked, end by itself */
void
lease_expires(text *session_id, int64 credential_id, TimestampTz expires_at)
{
	Relation	table = scan_open_table(TABLE_LEASE_EXPIRY, RowExclusiveLock);
	Datum		values[Natts_egress_lease_expiry];
	bool		nulls[Natts_egress_lease_expiry] = {false};

	values[Anum_egress_lease_expiry_session_id - 1] = PointerGetDatum(session_id);
	values[Anum_egress_lease_expiry_egress_credential_id - 1] = Int64GetDatum(credential_id);
	values[Anum_egress_lease_expiry_expires_at - 1] = TimestampTzGetDatum(expires_at);
	scan_insert_row(table, Natts_egress_lease_expiry, values, nulls);
	table_close(table, NoLock);
}

/* lease_cool_down -- how long a connection of the credential in a scan's current row counts after its end, palloc'd; NULL: not at all */
const Interval *
lease_cool_down(EgressScan *credential)
{
	bool		isnull;
	Datum		value = scan_column(credential, Anum_egress_credential_cool_down, &isnull);
	Interval   *result;

	if (isnull)
		return NULL;
	result = palloc(sizeof(Interval));
	*result = *DatumGetIntervalP(value);
	return result;
}

/* lease_free_at -- when the connection of a lease that ends at a time is free, by the credential's cool_down */
TimestampTz
lease_free_at(TimestampTz ended_at, const Interval *cool_down)
{
	return cool_down == NULL || TIMESTAMP_NOT_FINITE(ended_at) ? ended_at : value_moment_after(ended_at, cool_down);
}

/* lease_is_cooling -- is the lease in a scan's current row one that nobody holds, whose connection cools down or has done so? */
bool
lease_is_cooling(EgressScan *lease)
{
	return lease->columns >= Anum_egress_lease_cooling && scan_bool(lease, Anum_egress_lease_cooling);
}

/* lease_entry_is_cooling -- the same of an entry of the index of slots, whose row is not visited */
bool
lease_entry_is_cooling(EgressScan *leases)
{
	bool		isnull;

	return scan_entry_columns(leases) >= COOLING_COLUMN &&
		DatumGetBool(scan_entry_column(leases, COOLING_COLUMN, &isnull));
}

/* has_cooled_by -- is the lease in a scan's current row one that nobody holds, and its connection free at a moment? */
static bool
has_cooled_by(EgressScan *lease, const Interval *cool_down, TimestampTz moment)
{
	return lease_is_cooling(lease) &&
		lease_free_at(scan_timestamp(lease, Anum_egress_lease_acquired_at), cool_down) <= moment;
}

/* lease_has_cooled -- and now? For whoever has the credential as it is now */
bool
lease_has_cooled(EgressScan *lease, const Interval *cool_down)
{
	return has_cooled_by(lease, cool_down, GetCurrentTimestamp());
}

/*
 * try_remove -- delete the current row, of a lease that nobody holds; false when somebody would have to be waited for
 *
 * That is, another open transaction has inserted the row, or deletes it, or has locked it by hand. Before: the row was found dirty.
 */
static bool
try_remove(EgressScan *lease)
{
	return !TransactionIdIsValid(lease->dirty.xmin) && !TransactionIdIsValid(lease->dirty.xmax) && scan_try_delete(lease);
}

/*
 * cool_down_of -- the cool_down of the lease's credential, as it is now
 *
 * It may change after that. So what it is compared with is the moment before: what was over then was so by the cool_down of then.
 */
static const Interval *
cool_down_of(EgressScan *lease)
{
	const Interval *result = NULL;
	EgressScan	credential;
	Snapshot	snapshot;

	scan_open(&credential, INDEX_CREDENTIAL_ID, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (scan_find_id(&credential, scan_id(lease, Anum_egress_lease_egress_credential_id), snapshot))
		result = lease_cool_down(&credential);
	UnregisterSnapshot(snapshot);
	scan_close(&credential);
	return result;
}

/* cooling_id -- the session's and user's id of a lease that nobody holds: no session's, and no user's */
static text *
cooling_id(void)
{
	uint64		random[2];

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	return cstring_to_text(psprintf("egress:cooling:%016" PRIx64 "%016" PRIx64, random[0], random[1]));
}

/*
 * high_slot -- a slot for a lease that nobody holds, in the place of one that had none
 *
 * One that is free, drawn by chance far above the limits that there are; so that they lie by themselves in the index of slots, and each
 * such end can remove a few of those that have cooled down, without a look at the leases that are held. Before: the lease is the
 * current row, and the caller holds LOCK_CREDENTIAL, exclusive.
 */
static int32
high_slot(EgressScan *lease)
{
	TimestampTz now = GetCurrentTimestamp();
	const Interval *cool_down = cool_down_of(lease);
	int32		result = (int32) pg_prng_uint64_range(&pg_global_prng_state, FIRST_HIGH_SLOT, LAST_HIGH_SLOT);
	int			removed = 0;
	EgressScan	slots;

	scan_open_entries(&slots, INDEX_LEASE_SLOT);
	scan_key_id(&slots, scan_id(lease, Anum_egress_lease_egress_credential_id));
	scan_key_at_least(&slots, result);
	scan_start_dirty(&slots);
	/* those without a slot come last */
	for (int seen = 0; scan_next_entry(&slots) && !slots.entry_nulls[1]; seen++)
	{
		int32		slot = DatumGetInt32(slots.entry[1]);

		if (slot > result && (seen >= MOST_SEEN || removed >= MOST_REMOVED))
			break;
		if (!scan_visit(&slots))
			continue;
		if (removed < MOST_REMOVED && has_cooled_by(&slots, cool_down, now) && try_remove(&slots))
			removed++;
		else if (slot == result)
			result++;
	}
	scan_close(&slots);
	return result;
}

/* insert_cooling -- insert a lease that nobody holds in the place of one that has ended */
static void
insert_cooling(EgressScan *lease, TimestampTz ended_at)
{
	Datum		values[Natts_egress_lease];
	bool		nulls[Natts_egress_lease] = {false};
	text	   *id = cooling_id();

	values[Anum_egress_lease_session_id - 1] = PointerGetDatum(id);
	scan_put(lease, Anum_egress_lease_egress_credential_id, Anum_egress_lease_egress_credential_id - 1, values, nulls);
	scan_put(lease, Anum_egress_lease_egress_gateway_id, Anum_egress_lease_egress_gateway_id - 1, values, nulls);
	/* who was connected is in the history, and goes with it; it counts for no user */
	values[Anum_egress_lease_user_id - 1] = PointerGetDatum(id);
	nulls[Anum_egress_lease_workspace_id - 1] = true;
	values[Anum_egress_lease_acquired_at - 1] = TimestampTzGetDatum(ended_at);
	scan_put(lease, Anum_egress_lease_slot, Anum_egress_lease_slot - 1, values, nulls);
	if (nulls[Anum_egress_lease_slot - 1])
		values[Anum_egress_lease_slot - 1] = Int32GetDatum(high_slot(lease));
	nulls[Anum_egress_lease_slot - 1] = false;
	values[Anum_egress_lease_cooling - 1] = BoolGetDatum(true);
	nulls[Anum_egress_lease_user_slot - 1] = true;
	scan_insert_row(lease->table, Natts_egress_lease, values, nulls);
}

/*
 * cool -- let the connection of a lease that has ended count as held for the credential's cool_down
 *
 * A row of the same credential, gateway and slot takes the place of the lease's. It is inserted under LOCK_CREDENTIAL, exclusive:
 * whoever takes a connection looks under that lock, so his look is over before, when the lease was still held, or begins after,
 * when the row has its entries. (The locks of the slot and the place would not do: who looks for leases outside 1..limit has none of
 * them.)
 *
 * Before: the lease and the credential are the current rows; the caller has deleted the lease, and holds LOCK_SESSION. now is from
 * before the credential was read: what is over then is over by the cool_down of that moment.
 */
static void
cool(EgressScan *lease, EgressScan *credential, TimestampTz ended_at, TimestampTz now)
{
	int64		credential_id = scan_id(lease, Anum_egress_lease_egress_credential_id);
	const Interval *cool_down = lease_cool_down(credential);

	if (cool_down == NULL || lease_free_at(ended_at, cool_down) <= now)
		return;
	lock_take(LOCK_CREDENTIAL, credential_id, ExclusiveLock);
	insert_cooling(lease, ended_at);
	lock_give(LOCK_CREDENTIAL, credential_id, ExclusiveLock);
}

/*
 * end_lease -- end the lease that was looked at, at a time, and write its history
 *
 * Before: the caller holds LOCK_SESSION since the look, which said LEASE_LIVE or LEASE_EXPIRED, and not busy. Returns
 * false when somebody has deleted the row by hand since. The lease goes first, as by hand: there the foreign key's
 * cascade takes the other row. cools: its connection may have to cool down.
 */
static bool
end_lease(EgressLeaseLook *look, const char *reason, TimestampTz released_at, bool cools)
{
	TimestampTz now;
	EgressScan	credential;

	if (!scan_delete(&look->lease))
		return false;
	if (look->has_expiry)
		(void) scan_delete(&look->expiry);
	now = GetCurrentTimestamp();
	scan_open(&credential, INDEX_CREDENTIAL_ID, AccessShareLock);
	history_write(&look->lease, &credential, reason, released_at);
	if (cools)
		cool(&look->lease, &credential, released_at, now);
	scan_close(&credential);
	freed_connection(scan_id(&look->lease, Anum_egress_lease_egress_credential_id));
	return true;
}

/* end_now -- end the lease that was looked at; before: as for end_lease(). If it has expired since the look, it ended then */
static bool
end_now(EgressLeaseLook *look, const char *reason)
{
	TimestampTz now = GetCurrentTimestamp();

	if (look->has_expiry)
		now = Min(now, scan_timestamp(&look->expiry, Anum_egress_lease_expiry_expires_at));
	return end_lease(look, reason, now, true);
}

/* end_expired -- end the lease that was looked at; before: as for end_lease(), and the look said LEASE_EXPIRED */
static void
end_expired(EgressLeaseLook *look, bool cools)
{
	(void) end_lease(look, "expired", scan_timestamp(&look->expiry, Anum_egress_lease_expiry_expires_at), cools);
}

/* lease_end_expired -- the same, and let its connection cool down; for the session itself: nobody is told */
void
lease_end_expired(EgressLeaseLook *look)
{
	end_expired(look, true);
}

/* lease_ttl_end -- when a ttl is over; 22023 when it is not above 0 */
TimestampTz
lease_ttl_end(TimestampTz from, Interval *ttl)
{
	TimestampTz end = value_moment_after(from, ttl);

	if (end <= from)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ttl must be more than 0"),
				 errdetail("A lease ends at the present time plus ttl.")));
	return end;
}

/* lease_get_ttl -- the argument ttl, NULL when it is; 22023 when no lease can have it */
Interval *
lease_get_ttl(FunctionCallInfo fcinfo, int argno)
{
	Interval   *ttl;

	if (PG_ARGISNULL(argno))
		return NULL;
	ttl = PG_GETARG_INTERVAL_P(argno);
	if (!value_interval_within(ttl, TTL_MAX_MONTHS, TTL_MAX_DAYS, TTL_MAX_HOURS * USECS_PER_HOUR))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ttl is too long"),
				 errdetail("A lease lasts 100 years at most; with a ttl of NULL it lasts until it is released.")));
	(void) lease_ttl_end(GetCurrentTimestamp(), ttl);
	return ttl;
}

/* is_free -- has the connection of the lease that was looked at, which has expired, cooled down? By the cool_down as it is now */
static bool
is_free(EgressLeaseLook *look)
{
	TimestampTz now = GetCurrentTimestamp();

	return lease_free_at(scan_timestamp(&look->expiry, Anum_egress_lease_expiry_expires_at), cool_down_of(&look->lease)) <= now;
}

/* What becomes of the connection of an expired lease that is ended. */
typedef enum Connection
{
	CONNECTION_COOLS_DOWN,		/* if it has to */
	CONNECTION_IS_TAKEN,		/* so it must have cooled down */
	CONNECTION_IS_GONE			/* with its credential */
} Connection;

/*
 * end_if_expired -- end the lease of the session in a row, if it has expired and nobody else is about to do something with it
 *
 * Waits for nobody who takes, renews or ends it: false, and it is left to them. Before: lease_lock_tables(). The caller may hold
 * other short locks: the session's is only tried, so that no wait can be a circle. After: at commit, who listens is told.
 */
static bool
end_if_expired(EgressScan *row, AttrNumber session_column, Connection connection)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "egress expiry", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	text	   *session_id = DatumGetTextPCopy(scan_value(row, session_column));
	EgressLeaseLook look;
	bool		expired = false;

	if (lock_try_text(LOCK_SESSION, session_id, ExclusiveLock))
	{
		lease_open(&look);
		expired = lease_look(&look, session_id) == LEASE_EXPIRED && (connection != CONNECTION_IS_TAKEN || is_free(&look));
		if (expired)
		{
			end_expired(&look, connection == CONNECTION_COOLS_DOWN);
			notify_lease_ended(session_id, "expired");
		}
		lease_close(&look);
		lock_give_text(LOCK_SESSION, session_id, ExclusiveLock);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
	return expired;
}

/* lease_end_if_expired -- for whoever cleans up; the connection may have to cool down */
bool
lease_end_if_expired(EgressScan *row, AttrNumber session_column)
{
	return end_if_expired(row, session_column, CONNECTION_COOLS_DOWN);
}

/* lease_end_if_free -- for whoever needs the connection: only if that has cooled down */
bool
lease_end_if_free(EgressScan *row, AttrNumber session_column)
{
	return end_if_expired(row, session_column, CONNECTION_IS_TAKEN);
}

/* remove_cooled -- delete the current row, of a lease that nobody holds, if it has cooled down, or its credential goes */
static void
remove_cooled(EgressScan *lease, bool gone)
{
	int64		credential_id = scan_id(lease, Anum_egress_lease_egress_credential_id);
	TimestampTz now = GetCurrentTimestamp();

	/* not beside one who looks for a slot alone: no row must come in the way of a slot under that look */
	lock_take(LOCK_CREDENTIAL, credential_id, ShareLock);
	if (gone || has_cooled_by(lease, cool_down_of(lease), now))
		(void) try_remove(lease);
	lock_give(LOCK_CREDENTIAL, credential_id, ShareLock);
}

/*
 * lease_end_expired_of -- end the expired leases of a credential or gateway
 *
 * index is the one by credential or by gateway. Leases that open transactions do something with are left to them. gone: its credential
 * goes, and with it all that cools down. Otherwise only what has done so.
 */
void
lease_end_expired_of(EgressIndex index, int64 id, bool gone)
{
	EgressScan	leases;

	lease_lock_tables();
	scan_open(&leases, index, RowExclusiveLock);
	scan_key_id(&leases, id);
	scan_start_dirty(&leases);
	while (scan_next(&leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (!lease_is_cooling(&leases))
			(void) end_if_expired(&leases, Anum_egress_lease_session_id, gone ? CONNECTION_IS_GONE : CONNECTION_COOLS_DOWN);
		else
			remove_cooled(&leases, gone);
	}
	scan_close(&leases);
}

/*
 * lease_next_expired -- the next lease of the scan's that has expired, while no open transaction changes that
 *
 * With a cool_down, that of all of these, only one whose connection has cooled down as well.
 * A renewal under the scan, which may hide its row, makes nothing expire.
 */
bool
lease_next_expired(EgressScan *expiries, const Interval *cool_down)
{
	while (scan_next(expiries))
	{
		CHECK_FOR_INTERRUPTS();
		if (!TransactionIdIsValid(expiries->dirty.xmin) && !TransactionIdIsValid(expiries->dirty.xmax) &&
			lease_free_at(scan_timestamp(expiries, Anum_egress_lease_expiry_expires_at), cool_down) <= GetCurrentTimestamp())
			return true;
	}
	return false;
}

/* lease_ends_begin -- the ends are not open yet */
void
lease_ends_begin(EgressLeaseEnds *ends)
{
	ends->opened = false;
}

/* lease_ends_end -- close them, if they were opened */
void
lease_ends_end(EgressLeaseEnds *ends)
{
	if (ends->opened)
		scan_close(&ends->expiries);
	ends->opened = false;
}

/*
 * find_end -- begin to look for the end of the lease in the current row of another scan, dirty
 *
 * Whoever takes one of the short locks has locked the tables (lease_lock_tables()), so to open the index here waits for nothing.
 */
static void
find_end(EgressLeaseEnds *ends, EgressScan *lease)
{
	if (!ends->opened)
		scan_open(&ends->expiries, INDEX_LEASE_EXPIRY_SESSION, AccessShareLock);
	ends->opened = true;
	scan_key_text(&ends->expiries, DatumGetTextPP(scan_value(lease, Anum_egress_lease_session_id)));
	scan_start_dirty(&ends->expiries);
}

/* lease_has_expired -- has the lease in the current row, and cooled down, while no other open transaction does something with its end? */
bool
lease_has_expired(EgressLeaseEnds *ends, EgressScan *lease, const Interval *cool_down)
{
	find_end(ends, lease);
	return lease_next_expired(&ends->expiries, cool_down);
}

/*
 * lease_is_over -- is the lease in the current row, which was found dirty, ended by another open transaction, and over whatever comes
 * of that?
 *
 * That is, it has expired, and cooled down: if that transaction is rolled back, so it stays. Who ends a lease deletes its end, too,
 * in the same (sub)transaction, so both come back or none does. An end that another has deleted or changed, or that nobody has, may
 * not be the last one: the lease may be back by a rollback to a savepoint, and be renewed. And the clock is read before the end is,
 * because who renews has read it before, too.
 *
 * That it is not over says nothing when the other transaction has ended meanwhile: the row is to be visited again then.
 */
bool
lease_is_over(EgressLeaseEnds *ends, EgressScan *lease, const Interval *cool_down)
{
	EgressScan *expiry = &ends->expiries;
	TimestampTz now = GetCurrentTimestamp();

	if (!TransactionIdIsValid(lease->dirty.xmax) || TransactionIdIsValid(lease->dirty.xmin))
		return false;
	find_end(ends, lease);
	return scan_next(expiry) && !TransactionIdIsValid(expiry->dirty.xmin) && expiry->dirty.xmax == lease->dirty.xmax &&
		lease_free_at(scan_timestamp(expiry, Anum_egress_lease_expiry_expires_at), cool_down) <= now;
}

/*
 * lease_ends_at -- when a session's lease ends by itself, as of a snapshot, or DT_NOEND. For those who read
 *
 * Before: expiries is open, by session.
 */
TimestampTz
lease_ends_at(EgressScan *expiries, text *session_id, Snapshot snapshot)
{
	scan_key_text(expiries, session_id);
	scan_start(expiries, snapshot);
	return scan_next(expiries) ? scan_timestamp(expiries, Anum_egress_lease_expiry_expires_at) : DT_NOEND;
}

/* lease_note_ender -- note a transaction for lease_any_ended(); mostly it is the one that was noted last */
List *
lease_note_ender(List *transactions, TransactionId transaction)
{
	if (transactions != NIL && llast_int(transactions) == (int) transaction)
		return transactions;
	return lappend_int(transactions, (int) transaction);
}

/* lease_any_ended -- has one of these transactions ended? */
bool
lease_any_ended(List *transactions)
{
	ListCell   *cell;

	foreach(cell, transactions)
	{
		if (!TransactionIdIsInProgress((TransactionId) lfirst_int(cell)))
			return true;
	}
	return false;
}

/* lease_so_many_expired -- have so many leases of the credential expired, and cooled down? expiries is open, by credential */
bool
lease_so_many_expired(EgressScan *expiries, int64 credential_id, int64 number, const Interval *cool_down)
{
	int64		found = 0;

	scan_key_id(expiries, credential_id);
	scan_start_dirty(expiries);
	while (found < number && lease_next_expired(expiries, cool_down))
		found++;
	return found >= number;
}

/*
 * lease_end_expired_for -- end a number of expired leases of a credential, for an acquire that needs it
 *
 * Returns whether so many have ended; fewer may have, where another transaction was quicker.
 * Before: lease_so_many_expired() said yes: if there are not so many, none should end, which would be for nothing, and be undone and
 * done again by each acquire that is refused. expiries is open, by credential; the caller holds LOCK_CREDENTIAL, and called lease_lock_tables() before that.
 */
bool
lease_end_expired_for(EgressScan *expiries, int64 credential_id, int64 number, const Interval *cool_down)
{
	int64		ended = 0;

	scan_key_id(expiries, credential_id);
	scan_start_dirty(expiries);
	while (ended < number && lease_next_expired(expiries, cool_down))
		if (lease_end_if_free(expiries, Anum_egress_lease_expiry_session_id))
			ended++;
	return ended >= number;
}

/*
 * lease_held -- what there is of a credential's or gateway's connections, those of open transactions included
 *
 * index is the one by credential or by gateway. settled: only what no other open transaction is taking or ending. For an answer
 * that stays right, the caller holds that credential's or gateway's lock, exclusive.
 */
EgressLeaseHeld
lease_held(EgressIndex index, int64 id, bool settled)
{
	EgressLeaseHeld held = LEASE_HELD_NONE;
	EgressScan	leases;

	scan_open(&leases, index, AccessShareLock);
	scan_key_id(&leases, id);
	scan_start_dirty(&leases);
	while (held != LEASE_HELD_LEASE && scan_next(&leases))
	{
		CHECK_FOR_INTERRUPTS();
		if (!settled || !(TransactionIdIsValid(leases.dirty.xmin) || TransactionIdIsValid(leases.dirty.xmax)))
			held = lease_is_cooling(&leases) ? LEASE_HELD_COOLING : LEASE_HELD_LEASE;
	}
	scan_close(&leases);
	return held;
}

/*
 * look_and_wait -- look at a session's lease; wait until no other open transaction changes it, or it has expired anyway
 *
 * After: the caller holds LOCK_SESSION, and look->busy is not valid, or the state is LEASE_EXPIRED_BUSY.
 */
static EgressLeaseState
look_and_wait(EgressLeaseLook *look, text *session_id)
{
	EgressLeaseState state;

	lock_take_text(LOCK_SESSION, session_id, ExclusiveLock);
	state = lease_look(look, session_id);
	while (TransactionIdIsValid(look->busy) && state != LEASE_EXPIRED_BUSY)
	{
		CHECK_FOR_INTERRUPTS();
		lock_give_text(LOCK_SESSION, session_id, ExclusiveLock);
		lease_wait(look, XLTW_Delete);
		lock_take_text(LOCK_SESSION, session_id, ExclusiveLock);
		state = lease_look(look, session_id);
	}
	return state;
}

/*
 * lease_end -- end a session's lease and write its history; false when it has none that is live
 *
 * Waits for an open transaction that took, renewed or ended a lease of the same session. The connection is free for
 * others when this transaction commits. For the session itself: nobody is told.
 */
bool
lease_end(text *session_id, const char *reason)
{
	EgressLeaseLook look;
	EgressLeaseState state;
	bool		ended = false;

	lease_lock_tables();
	lease_open(&look);
	state = look_and_wait(&look, session_id);
	if (state != LEASE_NONE && state != LEASE_COOLING)
		PreventCommandIfReadOnly("ending a lease");
	if (state == LEASE_LIVE)
		ended = end_now(&look, reason);
	else if (state == LEASE_EXPIRED)
		lease_end_expired(&look);
	lock_give_text(LOCK_SESSION, session_id, ExclusiveLock);
	lease_close(&look);
	return ended;
}

/*
 * lease_end_if -- end a session's lease, if it is live, nobody else is doing something with it, and a check says so
 *
 * Waits for nobody: false, and the lease is left to who is. The check is asked while the caller holds LOCK_SESSION, so what it
 * sees of the lease is what ends; it may run a query, of which every table is locked already. The caller holds none of the
 * short locks. After: at commit, who listens is told.
 */
bool
lease_end_if(text *session_id, EgressLeaseCheck check, void *arg, const char *reason)
{
	EgressLeaseLook look;
	bool		ended = false;

	lease_lock_tables();
	if (!lock_try_text(LOCK_SESSION, session_id, ExclusiveLock))
		return false;
	lease_open(&look);
	if (lease_look(&look, session_id) == LEASE_LIVE && !TransactionIdIsValid(look.busy) && check(&look.lease, arg))
		ended = end_now(&look, reason);
	if (ended)
		notify_lease_ended(session_id, reason);
	lease_close(&look);
	lock_give_text(LOCK_SESSION, session_id, ExclusiveLock);
	return ended;
}

/*
 * lease_confirm -- let this transaction's commit wait for synchronous standbys, as if it had done what it found done
 *
 * For an answer to a session that asks again. What it finds committed may be so on this server only: the transaction that
 * did it was cancelled while it waited for a standby, or the server has restarted since. A transaction that writes nothing
 * does not wait, and would acknowledge what the next failover undoes. So it writes a message that nobody reads.
 */
void
lease_confirm(void)
{
	if (SyncRepRequested() && SyncRepStandbyNames[0] != '\0')
		(void) LogLogicalMessage("egress", "", 0, true, false);
}

/* egress_release_credential -- end a session's lease; see COMMENT ON FUNCTION */
Datum
egress_release_credential(PG_FUNCTION_ARGS)
{
	text	   *session_id = argument_id(fcinfo, 0, "session_id");
	bool		ended;

	PreventCommandIfReadOnly("egress_release_credential()");
	PreventCommandIfParallelMode("egress_release_credential()");
	catalog_use(fcinfo->flinfo->fn_oid);

	ended = lease_end(session_id, "released");
	if (!ended)
		lease_confirm();
	PG_RETURN_BOOL(ended);
}

/* renew -- let the lease that was looked at, which is live, end with the ttl; returns when that is */
static TimestampTz
renew(EgressLeaseLook *look, text *session_id, Interval *ttl)
{
	TimestampTz expires_at = ttl == NULL ? DT_NOEND : lease_ttl_end(GetCurrentTimestamp(), ttl);
	TimestampTz before = look->has_expiry ? scan_timestamp(&look->expiry, Anum_egress_lease_expiry_expires_at) : DT_NOEND;
	int64		credential_id = scan_id(&look->lease, Anum_egress_lease_egress_credential_id);

	if (ttl == NULL && look->has_expiry)
		(void) scan_delete(&look->expiry);
	else if (look->has_expiry)
		scan_update(&look->expiry, Anum_egress_lease_expiry_expires_at, TimestampTzGetDatum(expires_at));
	else if (ttl != NULL)
		lease_expires(session_id, credential_id, expires_at);
	if (expires_at < before)
		freed_connection(credential_id);
	return expires_at;
}

/* egress_renew_lease -- let a session's lease end later, or sooner; see COMMENT ON FUNCTION */
Datum
egress_renew_lease(PG_FUNCTION_ARGS)
{
	text	   *session_id = argument_id(fcinfo, 0, "session_id");
	Interval   *ttl = lease_get_ttl(fcinfo, 1);
	EgressLeaseLook look;
	bool		live;
	TimestampTz expires_at = 0;

	PreventCommandIfReadOnly("egress_renew_lease()");
	PreventCommandIfParallelMode("egress_renew_lease()");
	catalog_use(fcinfo->flinfo->fn_oid);

	lease_lock_tables();
	lease_open(&look);
	live = look_and_wait(&look, session_id) == LEASE_LIVE;
	if (live)
		expires_at = renew(&look, session_id, ttl);
	lock_give_text(LOCK_SESSION, session_id, ExclusiveLock);
	lease_close(&look);

	if (!live)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(expires_at);
}
