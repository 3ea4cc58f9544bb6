/*
 * unentitled.h -- which leases have what the rules of access would no longer give
 */
#ifndef EGRESS_UNENTITLED_H
#define EGRESS_UNENTITLED_H

#include "postgres.h"
#include "utils/snapshot.h"

#include "scan.h"

typedef struct EgressUnentitled EgressUnentitled;

extern EgressUnentitled *unentitled_begin(Snapshot snapshot);
extern bool unentitled_judge(EgressUnentitled *look, EgressScan *lease);
extern bool unentitled_is_same(EgressScan *judged, EgressScan *lease);
extern void unentitled_end(EgressUnentitled *look);

#endif							/* EGRESS_UNENTITLED_H */
