/*
 * for_callgrind.c -- functions of SQL for a server that runs under callgrind
 */
#include "postgres.h"

#include <valgrind/callgrind.h>

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(callgrind_start);
PG_FUNCTION_INFO_V1(callgrind_stop);

/* callgrind_start -- count the instructions of this backend from now on */
Datum
callgrind_start(PG_FUNCTION_ARGS)
{
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	PG_RETURN_VOID();
}

/* callgrind_stop -- write what was counted to a file, which says the reason given */
Datum
callgrind_stop(PG_FUNCTION_ARGS)
{
	CALLGRIND_DUMP_STATS_AT(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	CALLGRIND_STOP_INSTRUMENTATION;
	PG_RETURN_VOID();
}
