/*
 * standalone.c -- what the parsers use of PostgreSQL, as little of it as they use
 *
 * Every allocation is one of malloc, so that AddressSanitizer sees each byte outside of it. Memory is searched for the
 * secret when it is freed.
 */
#include "standalone.h"

#include <setjmp.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

/* An allocation; the bytes follow. */
typedef struct Allocation
{
	struct Allocation *next;
	struct Allocation *previous;
	size_t		size;
} Allocation;

volatile sig_atomic_t InterruptPending = false;
StandaloneError standalone_error;
const char *standalone_secret = NULL;

static Allocation blocks = {.next = &blocks, .previous = &blocks};
static jmp_buf on_error;

bool
attempt(void (*function) (void *argument), void *argument)
{
	memset(&standalone_error, 0, sizeof(standalone_error));
	if (setjmp(on_error) != 0)
		return false;
	function(argument);
	return true;
}

text *
make_text(const char *data, size_t length)
{
	text	   *result = palloc(length + VARHDRSZ);

	SET_VARSIZE(result, length + VARHDRSZ);
	memcpy(VARDATA(result), data, length);
	return result;
}

/* pg_qsort -- the C library's */
void
pg_qsort(void *base, size_t nel, size_t elsize, int (*cmp) (const void *, const void *))
{
#undef qsort
	qsort(base, nel, elsize, cmp);
}

/* free_block -- free an allocation; it must not hold the secret */
static void
free_block(Allocation *block)
{
	if (standalone_secret && memmem(block + 1, block->size, standalone_secret, strlen(standalone_secret)))
	{
		fprintf(stderr, "memory that is freed holds the secret\n");
		abort();
	}
	block->previous->next = block->next;
	block->next->previous = block->previous;
	free(block);
}

void
free_all(const void *kept)
{
	if (kept)
		memset(unconstify(void *, kept), 0, ((Allocation *) unconstify(void *, kept) - 1)->size);
	/* clang-analyzer does not see that what is freed leaves the ring */
	while (blocks.next != &blocks)
		free_block(blocks.next);	/* NOLINT(clang-analyzer-unix.Malloc) */
}

void *
palloc(Size size)
{
	Allocation *block;

	if (!AllocSizeIsValid(size))
		ereport(ERROR, (errmsg("invalid memory alloc request size")));
	block = malloc(sizeof(Allocation) + size);
	if (block == NULL)
		abort();
	memset(block + 1, 0x7f, size);
	block->size = size;
	block->next = blocks.next;
	block->previous = &blocks;
	block->next->previous = block;
	block->previous->next = block;
	return block + 1;
}

void
pfree(void *pointer)
{
	free_block((Allocation *) pointer - 1);
}

void *
repalloc_huge(void *pointer, Size size)
{
	Allocation *old = (Allocation *) pointer - 1;
	void	   *new = palloc(size);

	memcpy(new, pointer, Min(old->size, size));
	pfree(pointer);
	return new;
}

void
initStringInfo(StringInfo string)
{
	string->data = palloc(1);
	string->data[0] = '\0';
	string->len = 0;
	string->maxlen = 1;
}

void
appendStringInfoString(StringInfo str, const char *s)
{
	size_t		length = strlen(s);

	if (str->len + length >= (size_t) str->maxlen)
	{
		str->maxlen = (str->len + length + 1) * 2;
		str->data = repalloc_huge(str->data, str->maxlen);
	}
	memcpy(str->data + str->len, s, length + 1);
	str->len += length;
}

void
appendStringInfo(StringInfo string, const char *fmt,...)
{
	char		part[2048];
	va_list		arguments;

	va_start(arguments, fmt);
	vsnprintf(part, sizeof(part), fmt, arguments);
	va_end(arguments);
	appendStringInfoString(string, part);
}

/* a new list each time, which is what these are short enough for */
List *
lappend(List *list, void *datum)
{
	int			length = list_length(list);
	List	   *longer = palloc(offsetof(List, initial_elements) + (length + 1) * sizeof(ListCell));

	longer->type = T_List;
	longer->length = longer->max_length = length + 1;
	longer->elements = longer->initial_elements;
	if (length > 0)
		memcpy(longer->elements, list->elements, length * sizeof(ListCell));
	longer->elements[length].ptr_value = datum;
	return longer;
}

void
ProcessInterrupts(void)
{
}

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

/* PostgreSQL 19 has it in a header */
#if PG_VERSION_NUM < 190000
unsigned char
pg_ascii_tolower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}
#endif

bool
errstart(int elevel, const char *domain)
{
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return true;
}

int
errcode(int sqlerrcode)
{
	standalone_error.code = sqlerrcode;
	return 0;
}

/* the three texts of an error, cut off as a server would not do */
#define KEEP(field) \
	do { \
		va_list		arguments; \
		va_start(arguments, fmt); \
		vsnprintf(standalone_error.field, sizeof(standalone_error.field), fmt, arguments); \
		va_end(arguments); \
		return 0; \
	} while (0)

int
errmsg(const char *fmt,...)
{
	KEEP(message);
}

int
errdetail(const char *fmt,...)
{
	KEEP(detail);
}

int
errhint(const char *fmt,...)
{
	KEEP(hint);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	longjmp(on_error, 1);
}
