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

extern int64 lock_session_key(text *session_id);
extern int64 lock_user_key(text *user_id);
extern int64 lock_place_key(int64 credential_id, int64 gateway_id);
extern int64 lock_slot_key(int64 credential_id, int32 slot);
extern void lock_take(EgressLock lock, int64 key, LOCKMODE mode);
extern bool lock_try(EgressLock lock, int64 key, LOCKMODE mode);
extern void lock_give(EgressLock lock, int64 key, LOCKMODE mode);

#endif							/* EGRESS_LOCK_H */
