/*
 * group_members.h -- egress_group_member as the mirror of the application's membership table
 */
#ifndef EGRESS_GROUP_MEMBERS_H
#define EGRESS_GROUP_MEMBERS_H

#include "postgres.h"

/* the triggers of the source */
#define GROUP_MEMBER_CHANGED "egress_group_member_changed"
#define GROUP_MEMBER_TRUNCATED "egress_group_member_truncated"

extern Oid	group_members_source(Oid function);
extern void group_members_forget(void);
extern void group_members_refill(Oid source, const char *user_column, const char *group_column);

#endif							/* EGRESS_GROUP_MEMBERS_H */
