/*
 * value.c -- comparing values, and reckoning with moments and intervals
 */
#include "value.h"

#include "utils/fmgrprotos.h"

#include "compat.h"

/* value_interval_within -- is no part of an interval, in one direction or the other, beyond what is given for it? */
bool
value_interval_within(const Interval *interval, int64 months, int64 days, int64 time)
{
	/* each part by itself: their sum may be short, and one of them lead out of the range of timestamps */
	return interval->month >= -months && interval->month <= months &&
		interval->day >= -days && interval->day <= days &&
		interval->time >= -time && interval->time <= time;
}

/*
 * value_moment_after, value_moment_before -- a moment and an interval, in UTC
 *
 * A day is 24 hours and a month one of UTC's calendar. timestamptz's own operators count in the time zone of the session,
 * where one argument would mean other moments, and a day on which clocks change has 23 or 25 hours. A timestamptz is
 * counted in UTC, so it is the timestamp without time zone there.
 */
TimestampTz
value_moment_after(TimestampTz from, const Interval *interval)
{
	return (TimestampTz) DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum((Timestamp) from),
															   IntervalPGetDatum(interval)));
}

TimestampTz
value_moment_before(TimestampTz from, const Interval *interval)
{
	return (TimestampTz) DatumGetTimestamp(DirectFunctionCall2(timestamp_mi_interval, TimestampGetDatum((Timestamp) from),
															   IntervalPGetDatum(interval)));
}

/* value_same_text -- are two texts, or two NULLs, the same bytes? */
bool
value_same_text(text *a, text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* value_compare_ids -- ascending, for qsort() and bsearch(): of int64 */
int
value_compare_ids(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/*
 * value_query_moment -- the present, as a function that is STABLE has it: the same for all calls of one query
 *
 * Not the beginning of the statement: that of a function in PL/pgSQL, or of a DO block, may be long ago, while each query
 * in it has a snapshot of its own. Before: fn_extra is this function's alone.
 */
TimestampTz
value_query_moment(FunctionCallInfo fcinfo)
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
