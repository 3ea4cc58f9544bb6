/*
 * notify.h -- telling whoever listens which leases have ended
 */
#ifndef EGRESS_NOTIFY_H
#define EGRESS_NOTIFY_H

#include "postgres.h"

extern void notify_lease_ended(text *session_id, const char *reason);

#endif							/* EGRESS_NOTIFY_H */
