/*
 * lock.h -- the six short locks
 */
#ifndef EGRESS_LOCK_H
#define EGRESS_LOCK_H

#include "postgres.h"
#include "storage/lockdefs.h"

/* What a lock is on. The numbers show as objsubid in pg_locks, where locktype is advisory. */
typedef enum EgressLock
{
	LOCK_SESSION = 16001,
	LOCK_GATEWAY = 16002,
	LOCK_CREDENTIAL = 16003,
	LOCK_SLOT = 16004,
	LOCK_PLACE = 16005,
	LOCK_USER = 16006
} EgressLock;

/* on a gateway or a credential */
extern void lock_take(EgressLock lock, int64 id, LOCKMODE mode);
extern bool lock_try(EgressLock lock, int64 id, LOCKMODE mode);
extern void lock_give(EgressLock lock, int64 id, LOCKMODE mode);

/* on a session or a user */
extern void lock_take_text(EgressLock lock, text *id, LOCKMODE mode);
extern bool lock_try_text(EgressLock lock, text *id, LOCKMODE mode);
extern void lock_give_text(EgressLock lock, text *id, LOCKMODE mode);

/* on a slot of a credential, or its place at a gateway */
extern bool lock_try_part(EgressLock lock, int64 credential_id, int64 part, LOCKMODE mode);
extern void lock_give_part(EgressLock lock, int64 credential_id, int64 part, LOCKMODE mode);

#endif							/* EGRESS_LOCK_H */
