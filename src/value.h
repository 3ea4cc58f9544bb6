/*
 * value.h -- comparing values, and reckoning with moments and intervals
 */
#ifndef EGRESS_VALUE_H
#define EGRESS_VALUE_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/timestamp.h"

extern bool value_interval_within(const Interval *interval, int64 months, int64 days, int64 time);
extern TimestampTz value_moment_after(TimestampTz from, const Interval *interval);
extern TimestampTz value_moment_before(TimestampTz from, const Interval *interval);
extern bool value_same_text(text *a, text *b);
extern int	value_compare_ids(const void *a, const void *b);
extern TimestampTz value_query_moment(FunctionCallInfo fcinfo);

#endif							/* EGRESS_VALUE_H */
