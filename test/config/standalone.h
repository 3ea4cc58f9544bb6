/*
 * standalone.h -- the parsers of src/config*.c outside of a server
 *
 * standalone.c stands in for what they use of PostgreSQL: memory and errors.
 */
#ifndef STANDALONE_H
#define STANDALONE_H

#include "postgres.h"

#include "compat.h"

/* the C library's, not those of libpgport */
#undef printf
#undef fprintf
#undef snprintf
#undef vsnprintf

/* The error that an attempt ended in. */
typedef struct StandaloneError
{
	int			code;
	char		message[1024];
	char		detail[16 * 1024];
	char		hint[4 * 1024];
} StandaloneError;

extern StandaloneError standalone_error;

/* no memory that is freed may hold this; NULL for nothing */
extern const char *standalone_secret;

/* attempt -- call a function; false if it raised an error */
extern bool attempt(void (*function) (void *argument), void *argument);

/* free_all -- free what was allocated; what is kept may hold the secret */
extern void free_all(const void *kept);

extern text *make_text(const char *data, size_t length);

#endif							/* STANDALONE_H */
