/*
 * slot.h -- the connection limit
 */
#ifndef EGRESS_SLOT_H
#define EGRESS_SLOT_H

#include "scan.h"

/* The two ways in which the index of slots is read. */
typedef struct SlotSearch
{
	EgressScan	all;			/* all leases of a credential */
	EgressScan	from;			/* those with a slot, from one upwards */
} SlotSearch;

/* what slot_find() returns when there is none free; also the slot of a lease that has none */
#define SLOT_NONE 0

extern void slot_open(SlotSearch *search);
extern int32 slot_claim(SlotSearch *search, int64 credential_id, int32 limit);
extern void slot_unclaim(int64 credential_id, int32 slot);
extern bool slot_any_outside(SlotSearch *search, int64 credential_id, int32 limit);
extern int32 slot_find(SlotSearch *search, int64 credential_id, int32 limit);
extern int64 slot_excess(SlotSearch *search, int64 credential_id, int32 limit);
extern void slot_close(SlotSearch *search);

#endif							/* EGRESS_SLOT_H */
