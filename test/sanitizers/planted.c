/*
 * planted.c -- planted(kind): a mistake that the sanitizers have to report; 0 when they do not
 */
#include "postgres.h"

#include <sodium.h>

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(planted);

static char global[12];

/* touch -- read the byte at an offset; the compiler does not know more than that */
static pg_noinline int
touch(volatile const char *bytes, volatile int offset)
{
	return bytes[offset];
}

Datum
planted(PG_FUNCTION_ARGS)
{
	const char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char		local[12] = "";
	char	   *volatile chunk = palloc(12);
	char	   *volatile block = malloc(12);
	volatile int number = PG_INT32_MAX;

	memset(chunk, 0, 12);
	memset(block, 0, 12);
	if (strcmp(kind, "malloc, beyond") == 0)
		touch(block, 12);
	else if (strcmp(kind, "malloc, freed") == 0)
	{
		free(block);
		touch(block, 0);
	}
	else if (strcmp(kind, "palloc, beyond") == 0)
		touch(chunk, 12);
	else if (strcmp(kind, "palloc, beyond, by memcpy") == 0)
		memcpy(block, chunk, 13 + touch(chunk, 0));
	else if (strcmp(kind, "palloc, freed") == 0)
	{
		pfree(chunk);
		touch(chunk, 0);
	}
	else if (strcmp(kind, "palloc, context deleted") == 0)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "planted", ALLOCSET_DEFAULT_SIZES);

		chunk = MemoryContextAlloc(context, 12);
		MemoryContextDelete(context);
		touch(chunk, 0);
	}
	else if (strcmp(kind, "stack") == 0)
		touch(local, 12);
	else if (strcmp(kind, "global") == 0)
		touch(global, 12);
	else if (strcmp(kind, "sodium_malloc") == 0)
	{
		if (sodium_init() >= 0)
			touch(sodium_malloc(16), 16);
	}
	else if (strcmp(kind, "signed overflow") == 0)
		number = number + 1;
	else if (strcmp(kind, "misaligned") == 0)
		number = *(volatile int *) (global + 1);
	else if (strcmp(kind, "shift") == 0)
		number = 1 << number;
	PG_RETURN_INT32(0);
}
