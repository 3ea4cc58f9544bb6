/*
 * group_members.h -- egress_group_member as the mirror of the application's membership table
 */
#ifndef EGRESS_GROUP_MEMBERS_H
#define EGRESS_GROUP_MEMBERS_H

#include "postgres.h"

/* the triggers of the source, and the function that they execute */
#define GROUP_MEMBER_CHANGED "egress_group_member_changed"
#define GROUP_MEMBER_TRUNCATED "egress_group_member_truncated"
#define GROUP_MEMBER_FUNCTION "egress_follow_group_members"

/* its arguments: the columns of the user's and the group's id, and the table that was attached */
#define GROUP_MEMBER_ARGUMENTS 3

extern Oid	group_members_source(Oid function);
extern Oid	group_members_hold_source(void);
extern void group_members_restored(void);
extern void group_members_forget(void);
extern void group_members_refill(Oid source, const char *user_column, const char *group_column);

#endif							/* EGRESS_GROUP_MEMBERS_H */
