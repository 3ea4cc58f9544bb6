/*
 * sessions.h -- which sessions there are, by the application's own tables
 */
#ifndef EGRESS_SESSIONS_H
#define EGRESS_SESSIONS_H

#include "postgres.h"
#include "utils/snapshot.h"

/* the trigger function of a session table; its arguments: the column of the session's id, and that it must be there */
#define SESSION_FUNCTION "egress_release_on_session_end"
#define SESSION_MUST_EXIST "must_exist"
#define SESSION_ARGUMENTS 2

/* the trigger whose condition is ended_when */
#define SESSION_ENDED "egress_session_ended"

extern void sessions_init(void);
extern void sessions_require(text *session_id);
extern bool sessions_attached(void);
extern bool sessions_is_orphaned(text *session_id, Snapshot snapshot);

#endif							/* EGRESS_SESSIONS_H */
