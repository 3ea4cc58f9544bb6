/*
 * slots.h -- the slots of a limit, a credential's or a user's
 */
#ifndef EGRESS_SLOTS_H
#define EGRESS_SLOTS_H

#include "lease.h"
#include "scan.h"

/* the slot of a lease that has none, and what is returned for a slot when there is none free */
#define SLOT_NONE	0

/* Looking at the slots of credentials, or of users, one after the other. */
typedef struct EgressSlotSearch
{
	int64		credential_id;	/* whose, */
	text	   *user_id;		/* unless they are this user's */
	const Interval *cool_down;	/* how long a connection counts after its end; NULL: not at all, as for a user */
	bool		over;			/* for slots_over(): a lease that is over, and that another open transaction ends, is in the way */
	bool		ending;			/* since slots_begin(): a row was met that another open transaction removes; */
	bool		blocked;		/* of what has cooled down; */
	List	   *enders;			/* those transactions */
	bool		cooled;			/* the slot that was found has a row that has cooled down: slots_clear() */
	bool		bare;			/* only one without such a row is sought */
	EgressScan	all;			/* all leases of the credential or user */
	EgressScan	from;			/* those with a slot, from one upwards */
	EgressLeaseEnds ends;
} EgressSlotSearch;

extern void slots_open(EgressSlotSearch *search, EgressIndex index);
extern void slots_close(EgressSlotSearch *search);
extern void slots_begin(EgressSlotSearch *search);
extern bool slots_any_outside(EgressSlotSearch *search, int32 limit, bool tidy);
extern int32 slots_count(EgressSlotSearch *search, int32 limit);
extern int32 slots_random(int32 limit);
extern int32 slots_gap(EgressSlotSearch *search, int32 start, int32 limit);
extern bool slots_clear(EgressSlotSearch *search, int32 slot);
extern bool slots_clear_another(EgressSlotSearch *search, int32 *slot, int32 limit);
extern int32 slots_find(EgressSlotSearch *search, int32 limit);
extern int64 slots_excess(EgressSlotSearch *search, int32 limit);
extern int64 slots_over(EgressSlotSearch *search, int64 number);
extern int32 slots_above(EgressSlotSearch *search, int32 limit);

#endif							/* EGRESS_SLOTS_H */
