/*
 * fitting.h -- the credentials that fit a gateway, one after the other, for an acquire
 */
#ifndef EGRESS_FITTING_H
#define EGRESS_FITTING_H

#include "access.h"

/* The credentials that fit a gateway, one after the other. */
typedef struct EgressFitting
{
	EgressAccess *access;
	int64		gateway_id;
	EgressPool *pool;
	List	   *list;			/* unless it is a big pool; */
	int			first;			/* where in it the search begins, */
	int			position;		/* and how far it is from there */
	bool		listed;			/* of a big pool: those that fit are known from the gateway's side */
	int64	   *ids;			/* if so, these, by ascending id; */
	int			count;			/* of these */
	int			next;			/* is the next, */
	int			left;			/* and so many are left */
	int			patience;		/* unless it is listed: how many may be elsewhere before that is tried */
	EgressOnceLook once;
	bool		at_gateway;		/* one was passed over because it is there, */
	int			elsewhere;		/* or, so many, because they do not select the gateway: another may get them; */
	bool		benched;		/* or because it is benched; */
	bool		full;			/* or because it is full, and was not given at all */
	TimestampTz cooled_at;		/* the first connection that was seen to cool down does so until then; DT_NOEND: none */
	bool		everywhere;		/* one that allows all gateways is not spent, though it was not taken */
} EgressFitting;

extern void fitting_begin(EgressFitting *fitting, EgressAccess *access, int64 gateway_id, EgressPool *pool);
extern EgressEntitlement *fitting_next(EgressFitting *fitting);
extern bool fitting_is_full(EgressFitting *fitting, EgressEntitlement *credential);
extern void fitting_found_full(EgressFitting *fitting, EgressEntitlement *credential, bool at_gateway);
extern void fitting_found_unopened(EgressFitting *fitting, EgressEntitlement *credential);
extern bool fitting_any_full(EgressFitting *fitting, int given);
extern void fitting_end(EgressFitting *fitting, bool none_left);
extern void fitting_look_around(EgressAccess *access, EgressPool *pool);
extern bool fitting_is_spent(EgressAccess *access, int64 gateway_id);
extern bool fitting_is_all_spent(EgressAccess *access);

#endif							/* EGRESS_FITTING_H */
