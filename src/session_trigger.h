/*
 * session_trigger.h -- ending the leases of the application's sessions
 */
#ifndef EGRESS_SESSION_TRIGGER_H
#define EGRESS_SESSION_TRIGGER_H

#include "postgres.h"

extern void session_trigger_end(Oid table, const char *query);

#endif							/* EGRESS_SESSION_TRIGGER_H */
