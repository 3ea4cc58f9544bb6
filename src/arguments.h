/*
 * arguments.h -- checking what a caller gave
 */
#ifndef EGRESS_ARGUMENTS_H
#define EGRESS_ARGUMENTS_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/timestamp.h"

/* an id of the application is text of 1 to this many bytes */
#define EGRESS_MAX_ID_LENGTH 255

extern bool is_given(FunctionCallInfo fcinfo, int argno);
extern void check_not_null(FunctionCallInfo fcinfo, int argno, const char *name);
extern void check_above_0(int64 value, const char *name);
extern void check_id(text *id, const char *name);
extern text *get_id(FunctionCallInfo fcinfo, int argno, const char *name);
extern text *get_optional_id(FunctionCallInfo fcinfo, int argno, const char *name);
extern bool interval_within(const Interval *interval, int64 months, int64 days, int64 time);
extern TimestampTz moment_after(TimestampTz from, const Interval *interval);
extern TimestampTz moment_before(TimestampTz from, const Interval *interval);
extern bool same_text(text *a, text *b);
extern int	compare_ids(const void *a, const void *b);
extern TimestampTz query_moment(FunctionCallInfo fcinfo);

#endif							/* EGRESS_ARGUMENTS_H */
