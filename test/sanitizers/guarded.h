/*
 * guarded.h -- palloc() as AddressSanitizer can watch it; included before everything else by the sanitizers' build
 *
 * A memory context cuts small chunks out of blocks of malloc(), whose inside AddressSanitizer does not know. A chunk of
 * more than 8 kB is a block by itself. So here what the library allocates is always longer than that, and what is
 * beyond the size that was asked for may not be touched by anybody. When the chunk is freed, or its context reset or
 * deleted, the block is freed, and what touches it then is seen as well.
 *
 * Strings that PostgreSQL's functions return are copied into such chunks here.
 */
#ifndef GUARDED_H
#define GUARDED_H

#include "postgres.h"

#include <sanitizer/asan_interface.h>

#include "utils/builtins.h"
#include "utils/memutils.h"

/* a context's limit for small chunks is 8 kB at most */
#define GUARD (8192 + 8)

/* guard -- forbid what follows the bytes that were asked for; returns them */
static inline void *
guard(void *chunk, Size size)
{
	__asan_poison_memory_region((char *) chunk + size, GUARD);
	return chunk;
}

/* guarded_copy -- a string in a guarded chunk; frees the original */
static inline char *
guarded_copy(char *string)
{
	Size		size = strlen(string) + 1;
	char	   *copy = memcpy(guard(palloc(size + GUARD), size), string, size);

	pfree(string);
	return copy;
}

/* a name in parentheses is the function, not the macro */
#define palloc(size) guard((palloc) ((size) + GUARD), size)
#define palloc0(size) guard((palloc0) ((size) + GUARD), size)
#define repalloc(chunk, size) guard((repalloc) (chunk, (size) + GUARD), size)
#define repalloc_huge(chunk, size) guard((repalloc_huge) (chunk, (size) + GUARD), size)
#define MemoryContextAlloc(context, size) guard((MemoryContextAlloc) (context, (size) + GUARD), size)
#define MemoryContextAllocZero(context, size) guard((MemoryContextAllocZero) (context, (size) + GUARD), size)
#define pstrdup(string) guarded_copy((pstrdup) (string))
#define psprintf(...) guarded_copy((psprintf) (__VA_ARGS__))
#define text_to_cstring(value) guarded_copy((text_to_cstring) (value))

#endif							/* GUARDED_H */
