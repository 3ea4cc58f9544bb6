/*
 * arguments.c -- what a caller gave: checking and comparing it
 */
#include "argument.h"

#include "compat.h"

/* argument_is_given -- is there an argument, and not NULL? A version of before the argument was added calls without it */
bool
argument_is_given(FunctionCallInfo fcinfo, int argno)
{
	return argno < PG_NARGS() && !PG_ARGISNULL(argno);
}

/* argument_check_not_null -- refuse a NULL argument */
void
argument_check_not_null(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name),
				 errdetail("Only workspace_id, ttl and arguments whose default is null may be null.")));
}

/* argument_check_above_0 -- refuse a number that is not more than 0 */
void
argument_check_above_0(int64 value, const char *name)
{
	if (value <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be more than 0", name),
				 errdetail("It is " INT64_FORMAT ".", value)));
}

/* argument_check_id -- refuse what cannot be an id of the application */
void
argument_check_id(text *id, const char *name)
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

/* argument_id -- an argument that is an id; in the current memory context if it had to be detoasted */
text *
argument_id(FunctionCallInfo fcinfo, int argno, const char *name)
{
	text	   *id;

	argument_check_not_null(fcinfo, argno, name);
	id = PG_GETARG_TEXT_PP(argno);
	argument_check_id(id, name);
	return id;
}

/* argument_optional_id -- an argument that is an id or NULL */
text *
argument_optional_id(FunctionCallInfo fcinfo, int argno, const char *name)
{
	return argument_is_given(fcinfo, argno) ? argument_id(fcinfo, argno, name) : NULL;
}
