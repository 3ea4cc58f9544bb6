/*
 * arguments.c -- what a caller gave: checking and comparing it
 */
#include "arguments.h"

#include "utils/fmgrprotos.h"

#include "compat.h"

/* is_given -- is there an argument, and not NULL? A version of before the argument was added calls without it */
bool
is_given(FunctionCallInfo fcinfo, int argno)
{
	return argno < PG_NARGS() && !PG_ARGISNULL(argno);
}

/* check_not_null -- refuse a NULL argument */
void
check_not_null(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errdetail("Only workspace_id, ttl and arguments whose default is null may be null.")));
}

/* check_above_0 -- refuse a number that is not more than 0 */
void
check_above_0(int64 value, const char *name)
{
	if (value <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be more than 0", name),
				 errdetail("It is " INT64_FORMAT ".", value)));
}

/* check_id -- refuse what cannot be an id of the application */
void
check_id(text *id, const char *name)
{
	if (VARSIZE_ANY_EXHDR(id) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name),
				 errdetail("An id has 1 to %d bytes.", EGRESS_MAX_ID_LENGTH)));
	if (VARSIZE_ANY_EXHDR(id) > EGRESS_MAX_ID_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("It has %zu bytes; an id has 1 to %d.",
						   (size_t) VARSIZE_ANY_EXHDR(id), EGRESS_MAX_ID_LENGTH)));
}

/* get_id -- an argument that is an id; in the current memory context if it had to be detoasted */
text *
get_id(FunctionCallInfo fcinfo, int argno, const char *name)
{
	text	   *id;

	check_not_null(fcinfo, argno, name);
	id = PG_GETARG_TEXT_PP(argno);
	check_id(id, name);
	return id;
}

/* get_optional_id -- an argument that is an id or NULL */
text *
get_optional_id(FunctionCallInfo fcinfo, int argno, const char *name)
{
	return is_given(fcinfo, argno) ? get_id(fcinfo, argno, name) : NULL;
}

/* interval_within -- is no part of an interval, in one direction or the other, beyond what is given for it? */
bool
interval_within(const Interval *interval, int64 months, int64 days, int64 time)
{
	/* each part by itself: their sum may be short, and one of them lead out of the range of timestamps */
	return interval->month >= -months && interval->month <= months &&
		interval->day >= -days && interval->day <= days &&
		interval->time >= -time && interval->time <= time;
}

/*
 * moment_after, moment_before -- a moment and an interval, in UTC
 *
 * A day is 24 hours and a month one of UTC's calendar. timestamptz's own operators count in the time zone of the session,
 * where one argument would mean other moments, and a day on which clocks change has 23 or 25 hours. A timestamptz is
 * counted in UTC, so it is the timestamp without time zone there.
 */
TimestampTz
moment_after(TimestampTz from, const Interval *interval)
{
	return (TimestampTz) DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum((Timestamp) from),
															   IntervalPGetDatum(interval)));
}

TimestampTz
moment_before(TimestampTz from, const Interval *interval)
{
	return (TimestampTz) DatumGetTimestamp(DirectFunctionCall2(timestamp_mi_interval, TimestampGetDatum((Timestamp) from),
															   IntervalPGetDatum(interval)));
}

/* same_text -- are two texts, or two NULLs, the same bytes? */
bool
same_text(text *a, text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* compare_ids -- ascending, for qsort() and bsearch(): of int64 */
int
compare_ids(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/*
 * query_moment -- the present, as a function that is STABLE has it: the same for all calls of one query
 *
 * Not the beginning of the statement: that of a function in PL/pgSQL, or of a DO block, may be long ago, while each query
 * in it has a snapshot of its own. Before: fn_extra is this function's alone.
 */
TimestampTz
query_moment(FunctionCallInfo fcinfo)
{
	TimestampTz *moment = fcinfo->flinfo->fn_extra;

	if (moment == NULL)
	{
		moment = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(TimestampTz));
		*moment = GetCurrentTimestamp();
		fcinfo->flinfo->fn_extra = moment;
	}
	return *moment;
}
