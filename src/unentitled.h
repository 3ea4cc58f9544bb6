/*
 * unentitled.h -- which leases have what the rules of access would no longer give
 */
#ifndef EGRESS_UNENTITLED_H
#define EGRESS_UNENTITLED_H

#include "postgres.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"
#include "utils/tuplesort.h"

#include "access.h"
#include "scan.h"

/* Judging leases: those of one user and workspace together. */
typedef struct Unentitled
{
	Snapshot	snapshot;		/* as of which is judged */
	MemoryContext long_context; /* of what is open */
	Tuplesortstate *leases;		/* rows of egress_lease, by user, workspace, gateway and credential */
	bool		sorted;			/* they are all there */
	TupleTableSlot *lease;		/* the current one of these */
	EgressScan	gateways;		/* current row: its gateway, */
	EgressScan	credentials;	/* and its credential, by ids; those of one that was judged before are gone with it */
	MemoryContext context;		/* of what is known of the user and workspace: */
	bool		began;			/* there is one */
	EgressCall	call;
	List	   *accesses;		/* of EgressAccess, of the providers that came up so far */
	bool		asked;			/* the last lease of them was judged: of */
	int64		gateway_id;		/* this gateway */
	int64		credential_id;	/* and this credential, */
	bool		given;			/* with this answer */
} Unentitled;

extern void unentitled_begin(Unentitled *look, EgressScan *leases, Snapshot snapshot);
extern void unentitled_add(Unentitled *look, EgressScan *lease);
extern bool unentitled_next(Unentitled *look);
extern text *unentitled_session_id(Unentitled *look);
extern bool unentitled_is_same(Unentitled *look, EgressScan *lease);
extern void unentitled_end(Unentitled *look);

#endif							/* EGRESS_UNENTITLED_H */
