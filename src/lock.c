/*
 * lock.c -- the six short locks and their order
 *
 * LOCK_SESSION, exclusive: whoever takes, renews or ends the session's lease, from looking at it to having changed it.
 *		Two acquires of one session do not both find nothing.
 * LOCK_USER, shared: an acquire of a user who has no limit, from before it sees that to having inserted the lease.
 *		Exclusive: one of a user with a limit, from reading that and the user's leases to having inserted one.
 * LOCK_GATEWAY, shared: an acquire, from seeing that the gateway is not being deleted to having inserted the lease.
 *		Who reports that it does not answer, likewise to having inserted the report; and of a credential below (report.c).
 *		Exclusive: the deleter of the gateway, while it looks for leases, the row already marked. Who deletes reports about it,
 *		while he does; likewise of a credential.
 * LOCK_CREDENTIAL, shared: an acquire, from reading the credential to having inserted a lease in a slot of its own.
 *		Exclusive: an acquire that has to count, from reading the limit and the leases to having inserted one. Who ends a
 *		lease whose connection cools down, while he inserts what holds it (cool()). The deleter
 *		of the credential, while it looks for leases, the row already marked. Who changes the credential, for a moment, the
 *		new row already written: so it does not change under an acquire.
 *		Shared: who cleans up a connection that has cooled down before a deletion, while he removes its row (remove_cooled()).
 * LOCK_PLACE, exclusive: an acquire that holds LOCK_CREDENTIAL shared, of a credential that may be at each gateway once, from seeing
 *		that it is not at this one to having inserted a lease. Only tried: who does not get it takes LOCK_CREDENTIAL exclusive.
 * LOCK_SLOT, exclusive: an acquire that holds LOCK_CREDENTIAL shared, from seeing that a slot is free to having inserted a
 *		lease with it. Only tried: who does not get it looks for another slot.
 *
 * They are taken in this order, and of each kind one at a time; the exception is an acquire that ends the expired lease of
 * another session, whose LOCK_SESSION it only tries, holding those before LOCK_PLACE; and, if it holds none after LOCK_USER, the
 * LOCK_CREDENTIAL of that lease, which it gives back at once. Whoever holds one waits for nothing but
 * the next of these: not for a table's lock (tables are opened before), not for a transaction of these functions (the session's
 * lock is given back before waiting for one). So each is held for a moment and never to commit, and no wait can be a circle.
 *
 * The exception is a transaction that has locked the row of a lease, or of its end, by hand, as SELECT FOR UPDATE does: whoever ends,
 * or renews, that lease waits for it, and so does an acquire that takes its connection over, with all the locks that it
 * holds by then. If that transaction asks for one of these in turn, PostgreSQL finds the deadlock.
 *
 * They live in the lock manager, not in LWLocks: a wait can be cancelled, is seen in pg_locks, and an error gives
 * them back with the (sub)transaction's other resources. They are of the advisory kind, with numbers in the place
 * where pg_advisory_lock() has 1 or 2, so that they meet no lock of an application.
 */
#include "lock.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "compat.h"

/* text_key -- the key of a lock on a session or a user; two ids that share one only wait for each other for a moment */
static int64
text_key(text *id)
{
	return (int64) hash_bytes_extended((unsigned char *) VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), 0);
}

/*
 * pair_key -- the key of a lock on something of a credential: a slot, or the place at a gateway
 *
 * Such a lock is only tried: who finds that of another pair taken looks for another slot, or takes the credential's own lock.
 */
static int64
pair_key(int64 credential_id, int64 part)
{
	return (int64) hash_combine64(hash_combine64(0, (uint64) credential_id), (uint64) part);
}

/* tag -- the lock manager's name of a lock */
static LOCKTAG
tag(EgressLock lock, int64 key)
{
	LOCKTAG		result;

	SET_LOCKTAG_ADVISORY(result, MyDatabaseId, (uint32) ((uint64) key >> 32), (uint32) key, lock);
	return result;
}

/* lock_take -- take a lock on a gateway or a credential, waiting for it; can be cancelled */
void
lock_take(EgressLock lock, int64 id, LOCKMODE mode)
{
	LOCKTAG		locktag = tag(lock, id);

	(void) LockAcquire(&locktag, mode, false, false);
}

/* lock_try -- take a lock if nobody has to be waited for; returns whether it did */
bool
lock_try(EgressLock lock, int64 id, LOCKMODE mode)
{
	LOCKTAG		locktag = tag(lock, id);

	return LockAcquire(&locktag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* lock_give -- give back a lock that lock_take() took in this (sub)transaction */
void
lock_give(EgressLock lock, int64 id, LOCKMODE mode)
{
	LOCKTAG		locktag = tag(lock, id);

	if (!LockRelease(&locktag, mode, false))
		elog(ERROR, "lock %d of extension egress is not held", lock);
}

/* lock_take_text -- lock_take() for a session or a user */
void
lock_take_text(EgressLock lock, text *id, LOCKMODE mode)
{
	lock_take(lock, text_key(id), mode);
}

/* lock_try_text -- lock_try() for a session or a user */
bool
lock_try_text(EgressLock lock, text *id, LOCKMODE mode)
{
	return lock_try(lock, text_key(id), mode);
}

/* lock_give_text -- lock_give() for a session or a user */
void
lock_give_text(EgressLock lock, text *id, LOCKMODE mode)
{
	lock_give(lock, text_key(id), mode);
}

/* lock_try_part -- lock_try() for a slot of a credential, or its place at a gateway */
bool
lock_try_part(EgressLock lock, int64 credential_id, int64 part, LOCKMODE mode)
{
	return lock_try(lock, pair_key(credential_id, part), mode);
}

/* lock_give_part -- lock_give() for a slot of a credential, or its place at a gateway */
void
lock_give_part(EgressLock lock, int64 credential_id, int64 part, LOCKMODE mode)
{
	lock_give(lock, pair_key(credential_id, part), mode);
}
