/*
 * draw.h -- drawing an entry of a btree by chance
 */
#ifndef EGRESS_DRAW_H
#define EGRESS_DRAW_H

#include "postgres.h"
#include "utils/rel.h"

/* What came of a draw. */
typedef enum EgressDrawOutcome
{
	DRAW_NOTHING,				/* no entry has the keys */
	DRAW_MISSED,				/* none this time: draw again */
	DRAW_DRAWN
} EgressDrawOutcome;

extern EgressDrawOutcome draw_id(Relation index, const Datum *keys, int nkeys, AttrNumber column, int64 *id);

#endif							/* EGRESS_DRAW_H */
