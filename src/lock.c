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
 * LOCK_PLACE, exclusive: an acquire that holds LOCK_CREDENTIAL shared, of a credential that may be at each gateway once, from seeing
 *		that it is not at this one to having inserted a lease. Only tried: who does not get it takes LOCK_CREDENTIAL exclusive.
 * LOCK_SLOT, exclusive: an acquire that holds LOCK_CREDENTIAL shared, from seeing that a slot is free to having inserted a
 *		lease with it. Only tried: who does not get it looks for another slot.
 *
 * They are taken in this order, and of each kind one at a time; the exception is an acquire that ends the expired lease of
 * another session, whose LOCK_SESSION it only tries, holding those before LOCK_PLACE; and, if it holds none after LOCK_USER, the
 * LOCK_CREDENTIAL of that lease, which it gives back at once. Whoever holds one waits for nothing but
 * the next of these: not for a table's lock (tables are opened before), not for a transaction (the session's lock is given
 * back before waiting for one). So each is held for microseconds and never to commit, and no wait can be a circle.
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

/* lock_session_key -- the key of a session's lock; two ids that share one only wait for each other for microseconds */
int64
lock_session_key(text *session_id)
{
	return (int64) hash_bytes_extended((unsigned char *) VARDATA_ANY(session_id), VARSIZE_ANY_EXHDR(session_id), 0);
}

/* lock_user_key -- the key of a user's lock, likewise */
int64
lock_user_key(text *user_id)
{
	return lock_session_key(user_id);
}

/* lock_place_key -- the key of the lock on a credential at a gateway; who finds that of another place taken goes alone */
int64
lock_place_key(int64 credential_id, int64 gateway_id)
{
	return (int64) hash_combine64(hash_combine64(0, (uint64) credential_id), (uint64) gateway_id);
}

/* lock_slot_key -- the key of a slot's lock; who finds that of another slot taken looks for one more */
int64
lock_slot_key(int64 credential_id, int32 slot)
{
	return (int64) hash_combine64((uint64) credential_id, (uint64) slot);
}

/* tag -- the lock manager's name of a lock */
static LOCKTAG
tag(EgressLock lock, int64 key)
{
	LOCKTAG		result;

	SET_LOCKTAG_ADVISORY(result, MyDatabaseId, (uint32) ((uint64) key >> 32), (uint32) key, lock);
	return result;
}

/* lock_take -- take a lock, waiting for it; can be cancelled */
void
lock_take(EgressLock lock, int64 key, LOCKMODE mode)
{
	LOCKTAG		locktag = tag(lock, key);

	(void) LockAcquire(&locktag, mode, false, false);
}

/* lock_try -- take a lock if nobody has to be waited for; returns whether it did */
bool
lock_try(EgressLock lock, int64 key, LOCKMODE mode)
{
	LOCKTAG		locktag = tag(lock, key);

	return LockAcquire(&locktag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* lock_give -- give back a lock that lock_take() took in this (sub)transaction */
void
lock_give(EgressLock lock, int64 key, LOCKMODE mode)
{
	LOCKTAG		locktag = tag(lock, key);

	if (!LockRelease(&locktag, mode, false))
		elog(ERROR, "lock %d of extension egress is not held", lock);
}
