/*
 * argument.h -- checking the arguments of a call
 */
#ifndef EGRESS_ARGUMENT_H
#define EGRESS_ARGUMENT_H

#include "postgres.h"
#include "fmgr.h"

/* an id of the application is text of 1 to this many bytes */
#define EGRESS_MAX_ID_LENGTH 255

extern bool argument_is_given(FunctionCallInfo fcinfo, int argno);
extern void argument_check_not_null(FunctionCallInfo fcinfo, int argno, const char *name);
extern void argument_check_above_0(int64 value, const char *name);
extern void argument_check_id(text *id, const char *name);
extern text *argument_id(FunctionCallInfo fcinfo, int argno, const char *name);
extern text *argument_optional_id(FunctionCallInfo fcinfo, int argno, const char *name);

#endif							/* EGRESS_ARGUMENT_H */
