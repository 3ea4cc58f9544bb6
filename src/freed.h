/*
 * freed.h -- telling the pool's index that a connection may be free
 */
#ifndef EGRESS_FREED_H
#define EGRESS_FREED_H

#include "postgres.h"

#include "scan.h"

extern bool freed_is_told(void);
extern void freed_lock_index(void);
extern uint64 freed_group(EgressScan *credential);
extern void freed_connection(int64 credential_id);
extern void freed_all_connections(void);

#endif							/* EGRESS_FREED_H */
