/*
 * lease.h -- ending leases, for those who see that a session has ended
 */
#ifndef EGRESS_LEASE_H
#define EGRESS_LEASE_H

#include "postgres.h"

#include "catalog.h"

extern bool lease_end(text *session_id, const char *reason);
extern bool lease_any_held(EgressIndex index, int64 id);

#endif							/* EGRESS_LEASE_H */
