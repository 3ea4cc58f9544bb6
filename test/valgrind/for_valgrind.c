/*
 * for_valgrind.c -- functions of SQL for a server that runs under valgrind
 */
#include "postgres.h"

#include <valgrind/memcheck.h>

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(malloc_in_use);
PG_FUNCTION_INFO_V1(mistake);

/* malloc_in_use -- how many bytes malloc() gave to this backend and has not got back, be they reachable or lost */
Datum
malloc_in_use(PG_FUNCTION_ARGS)
{
	unsigned long leaked = 0;
	unsigned long dubious = 0;
	unsigned long reachable = 0;
	unsigned long suppressed = 0;

	VALGRIND_DO_QUICK_LEAK_CHECK;
	VALGRIND_COUNT_LEAKS(leaked, dubious, reachable, suppressed);
	PG_RETURN_INT64(leaked + dubious + reachable + suppressed);
}

/* mistake -- decide by a value that was never set, which memcheck has to report */
Datum
mistake(PG_FUNCTION_ARGS)
{
	volatile int *number = malloc(sizeof(int));

	PG_RETURN_INT32(*number > 0 ? 1 : 2);
}
