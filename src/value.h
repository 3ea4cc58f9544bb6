/*
 * value.h -- comparing values, and reckoning with moments and intervals
 */
#ifndef EGRESS_VALUE_H
#define EGRESS_VALUE_H

#include "postgres.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/timestamp.h"

/* value_hash_id -- for lib/simplehash.h: the hash of an id */
static inline uint32
value_hash_id(int64 id)
{
	return murmurhash32((uint32) id ^ (uint32) ((uint64) id >> 32));
}

/* value_hash_text -- the hash of a text's bytes; two texts that value_same_text() takes for the same have the same */
static inline uint32
value_hash_text(text *value)
{
	return hash_bytes((const unsigned char *) VARDATA_ANY(value), (int) VARSIZE_ANY_EXHDR(value));
}

extern bool value_interval_within(const Interval *interval, int64 months, int64 days, int64 time);
extern TimestampTz value_moment_after(TimestampTz from, const Interval *interval);
extern TimestampTz value_moment_before(TimestampTz from, const Interval *interval);
extern bool value_same_text(text *a, text *b);
extern int	value_compare_ids(const void *a, const void *b);
extern TimestampTz value_query_moment(FunctionCallInfo fcinfo);

#endif							/* EGRESS_VALUE_H */
