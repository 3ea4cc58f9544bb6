/*
 * config.c -- what the parsers of the config formats share
 *
 * Reading. A config is read line by line, in place. A line ends at a newline, as fgets(), getline() and bash's read
 * have it; carriage returns before it belong to the line's end. Control characters other than tab are refused
 * wherever they are: programs differ in what they make of them, and a carriage return inside a line hides
 * what follows from whoever looks at the config in a terminal.
 *
 * Refusing. A parser notes what is wrong with a line and goes on, so that one error names all bad lines: who repairs a
 * config does not learn of them one by one. Of a line only the first problem is noted.
 *
 * Rendering. A parser notes which parts of the config give way to what; parts of the credential are pointed to. Then
 * config_apply() knows the size of the result before it writes it: the credential is copied once, into the result, and
 * there is no other buffer to be wiped.
 */
#include "config.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "errors.h"

/* the problems and the hints that an error has; of more problems it has only the number */
#define MAX_PROBLEMS	100
#define MAX_HINTS		3

/* config_open -- begin to read a config; format is its name in messages */
void
config_open(EgressConfigReader *reader, text *config, const char *format)
{
	memset(reader, 0, sizeof(*reader));
	reader->format = format;
	reader->next = VARDATA_ANY(config);
	reader->end = reader->next + VARSIZE_ANY_EXHDR(config);
}

/* config_next_line -- read a line; false at the end */
bool
config_next_line(EgressConfigReader *reader, EgressConfigLine *line)
{
	const char *newline;

	CHECK_FOR_INTERRUPTS();
	if (reader->next == reader->end)
		return false;

	newline = memchr(reader->next, '\n', reader->end - reader->next);
	line->start = reader->next;
	line->end = newline ? newline : reader->end;
	line->next = newline ? newline + 1 : reader->end;
	line->number = ++reader->number;
	reader->next = line->next;

	while (line->end > line->start && line->end[-1] == '\r')
		line->end--;
	for (const char *c = line->start; c < line->end; c++)
		if (((unsigned char) *c < ' ' && *c != '\t') || *c == '\x7f')
		{
			config_problem(reader, line->number, NULL, "The line has a control character.", NULL);
			break;
		}
	return true;
}

/*
 * config_problem -- note what is wrong with a line, or with number 0 that the config lacks the directive
 *
 * The directive must be a name of the parser's own list, never text of the config: a line that is no directive may be
 * a part of a key. Reason and hint stay as they are until config_finish().
 */
void
config_problem(EgressConfigReader *reader, int number, const char *directive, const char *reason, const char *hint)
{
	int			kept = Min(reader->problem_count, MAX_PROBLEMS);
	int			place = kept;

	while (number > 0 && place > 0 &&
		   (reader->problems[place - 1].number > number || reader->problems[place - 1].number == 0))
		place--;
	if (number > 0 && place > 0 && reader->problems[place - 1].number == number)
		return;
	reader->problem_count++;
	if (place == MAX_PROBLEMS)
		return;
	if (reader->problems == NULL)
		reader->problems = palloc(MAX_PROBLEMS * sizeof(EgressConfigProblem));
	memmove(&reader->problems[place + 1], &reader->problems[place],
			(Min(kept, MAX_PROBLEMS - 1) - place) * sizeof(EgressConfigProblem));
	reader->problems[place] = (EgressConfigProblem) {number, directive, reason, hint};
}

/* config_abandon -- read no further: what follows a problem would only be misread */
void
config_abandon(EgressConfigReader *reader)
{
	reader->next = reader->end;
	reader->abandoned = true;
}

/* list_problems -- a line of an error's detail for each problem */
static const char *
list_problems(const EgressConfigReader *reader)
{
	int			kept = Min(reader->problem_count, MAX_PROBLEMS);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < kept; i++)
	{
		const EgressConfigProblem *problem = &reader->problems[i];

		if (problem->number > 0)
			appendStringInfo(&list, "Line %d: ", problem->number);
		if (problem->directive)
			appendStringInfo(&list, problem->number > 0 ? "\"%s\": " : "There is no %s. ", problem->directive);
		appendStringInfo(&list, "%s%s", problem->reason, i < kept - 1 ? "\n" : "");
	}
	if (reader->problem_count > kept)
		appendStringInfo(&list, "\nand %d more", reader->problem_count - kept);
	return list.data;
}

/* list_hints -- the hints of all problems, each once; NULL without any */
static const char *
list_hints(const EgressConfigReader *reader)
{
	const char *hints[MAX_HINTS];
	int			count = 0;
	StringInfoData list;

	for (int i = 0; i < Min(reader->problem_count, MAX_PROBLEMS) && count < MAX_HINTS; i++)
	{
		const char *hint = reader->problems[i].hint;
		int			same = 0;

		while (same < count && hint && strcmp(hints[same], hint) != 0)
			same++;
		if (hint && same == count)
			hints[count++] = hint;
	}
	if (count == 0)
		return NULL;
	initStringInfo(&list);
	for (int i = 0; i < count; i++)
		appendStringInfo(&list, "%s%s", hints[i], i < count - 1 ? "\n" : "");
	return list.data;
}

/* config_finish -- raise NG007 if a problem was noted; it names all of them */
void
config_finish(const EgressConfigReader *reader)
{
	const EgressConfigProblem *first = reader->problems;
	int			others = reader->problem_count - 1;
	const char *hint;
	StringInfoData more;

	if (first == NULL)
		return;
	hint = list_hints(reader);
	initStringInfo(&more);
	if (others > 0)
		appendStringInfo(&more, " (and %d more %s%s)", others,
						 reader->problem_count > MAX_PROBLEMS || first[others].number > 0 ? "line" : "problem",
						 others > 1 ? "s" : "");
	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_CONFIG),
			 first->number == 0 && first->directive ?
			 errmsg("the %s config has no %s%s", reader->format, first->directive, more.data) :
			 first->number == 0 ?
			 errmsg("the %s config cannot be used%s", reader->format, more.data) :
			 first->directive ?
			 errmsg("line %d of the %s config: \"%s\" cannot be used%s", first->number, reader->format, first->directive,
					more.data) :
			 errmsg("line %d of the %s config cannot be used%s", first->number, reader->format, more.data),
			 errdetail("%s", others > 0 ? list_problems(reader) : first->reason),
			 hint ? errhint("%s", hint) : 0));
}

/* config_begins_with -- does a part of a line begin with this? */
bool
config_begins_with(const char *start, const char *end, const char *prefix)
{
	return (size_t) (end - start) >= strlen(prefix) && memcmp(start, prefix, strlen(prefix)) == 0;
}

/* has_inside -- is this somewhere in a part of a line? */
static bool
has_inside(const char *start, const char *end, const char *wanted)
{
	for (; start < end; start++)
		if (config_begins_with(start, end, wanted))
			return true;
	return false;
}

/*
 * config_problem_unknown -- note a line that the format has not, from its first character that is no white space on
 *
 * What people paste in the place of a config is told by how it begins, or the first line has, and is not read further;
 * reason and hint are for all else.
 */
void
config_problem_unknown(EgressConfigReader *reader, int number, const char *start, const char *end,
					   const char *reason, const char *hint)
{
	const char *const usual = reason;

	if (config_begins_with(start, end, "\xEF\xBB\xBF"))
	{
		reason = "It begins with a byte order mark, an invisible character that some editors put at the start of a file.";
		hint = "Save the file as UTF-8 without a byte order mark, or take the first three bytes off.";
	}
	else if (number == 1 && has_inside(start, end, "\\n"))
	{
		reason = "It has a backslash and an n where a line should end.";
		hint = "In SQL, write E'...\\n...', or the config as it is between two $$; better, give it as a parameter.";
	}
	else if (config_begins_with(start, end, "<?") || config_begins_with(start, end, "<!") || config_begins_with(start, end, "<html"))
	{
		reason = "It is XML or a web page, and not a config.";
		hint = "Give the content of the file that the provider lets you download.";
	}
	else if (*start == '{')
	{
		reason = "It is JSON, and not a config.";
		hint = "Give the config's own text; a list of gateways is for egress_sync_gateways().";
	}
	else if (config_begins_with(start, end, "```"))
	{
		reason = "It is a fence of Markdown, which surrounds the config.";
		hint = "Give only what is between the two fences.";
	}
	else if (number == 1 && (*start == '/' || has_inside(start, end, "://")))
	{
		reason = "It is a path or an address, and not a config.";
		hint = "Give the content of the file.";
	}
	config_problem(reader, number, NULL, reason, hint);
	if (reason != usual)
		config_abandon(reader);
}

/* last_part -- the name of a file without folders, as any system writes them */
static const char *
last_part(const char *path)
{
	const char *name = path;

	for (; *path; path++)
		if (*path == '/' || *path == '\\')
			name = path + 1;
	return name;
}

/* compare_files -- by the name without folders, then by all of it */
static int
compare_files(const void *a, const void *b)
{
	const EgressConfigFile *left = a;
	const EgressConfigFile *right = b;
	int			order = strcmp(left->last_part, right->last_part);

	return order != 0 ? order : strcmp(left->name, right->name);
}

/* config_sort_files -- get files ready for config_find_file() */
void
config_sort_files(EgressConfigFiles *files)
{
	EgressConfigFile *first = files->items; /* of those with the same last part */

	for (int i = 0; i < files->count; i++)
		files->items[i].last_part = last_part(files->items[i].name);
	if (files->count > 1)
		qsort(files->items, files->count, sizeof(EgressConfigFile), compare_files);
	for (int i = 1; i < files->count; i++)
	{
		const EgressConfigFile *file = &files->items[i];

		if (strcmp(file->last_part, first->last_part) != 0)
			first = &files->items[i];
		else if (file->length != first->length || memcmp(file->content, first->content, file->length) != 0)
			first->is_ambiguous = true;
	}
}

/* lower_bound -- the first file that does not come before another; files->count if all do */
static int
lower_bound(const EgressConfigFiles *files, const EgressConfigFile *other)
{
	int			low = 0;
	int			high = files->count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (compare_files(&files->items[middle], other) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * config_find_file -- the file that a path names; NULL without one. The path as it is comes before its last part alone
 *
 * *is_ambiguous: there are several that have only the last part, and not all are the same.
 */
const EgressConfigFile *
config_find_file(const EgressConfigFiles *files, const char *path, bool *is_ambiguous)
{
	EgressConfigFile wanted = {.name = path, .last_part = last_part(path)};
	int			place = lower_bound(files, &wanted);

	*is_ambiguous = false;
	if (place < files->count && strcmp(files->items[place].name, path) == 0)
		return &files->items[place];
	wanted.name = "";
	place = lower_bound(files, &wanted);
	if (place == files->count || strcmp(files->items[place].last_part, wanted.last_part) != 0)
		return NULL;
	*is_ambiguous = files->items[place].is_ambiguous;
	return *is_ambiguous ? NULL : &files->items[place];
}

/* config_removed -- note that an import took a line out, or put something else in its place */
void
config_removed(EgressConfigImport *import, int number, const char *directive, const char *reason)
{
	EgressConfigRemoval *removal = palloc(sizeof(EgressConfigRemoval));

	*removal = (EgressConfigRemoval) {number, directive, reason};
	import->removed = lappend(import->removed, removal);
}

/* config_replace -- note that a part of the config is to be replaced; parts are noted in their order */
void
config_replace(EgressConfigEdits *edits, const char *start, const char *end, const char *with)
{
	EgressConfigEdit *edit;

	if (edits->count == edits->capacity)
	{
		edits->capacity = edits->capacity ? edits->capacity * 2 : 8;
		edits->items = edits->items ?
			repalloc_huge(edits->items, edits->capacity * sizeof(EgressConfigEdit)) :
			palloc(edits->capacity * sizeof(EgressConfigEdit));
	}
	edit = &edits->items[edits->count++];
	edit->start = start;
	edit->end = end;
	edit->with = with;
	edit->with_length = strlen(with);
}

/* config_fill -- say what a part that was noted before is replaced with */
void
config_fill(EgressConfigEdits *edits, size_t which, const char *with)
{
	edits->items[which].with = with;
	edits->items[which].with_length = strlen(with);
}

/* config_apply -- the config with its edits */
text *
config_apply(text *config, const EgressConfigEdits *edits)
{
	const char *from = VARDATA_ANY(config);
	const char *end = from + VARSIZE_ANY_EXHDR(config);
	Size		size = VARSIZE_ANY_EXHDR(config) + VARHDRSZ;
	text	   *result;
	char	   *to;

	for (size_t i = 0; i < edits->count; i++)
		size += edits->items[i].with_length - (edits->items[i].end - edits->items[i].start);
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the config is too large with its credential")));

	result = palloc(size);
	SET_VARSIZE(result, size);
	to = VARDATA(result);
	for (size_t i = 0; i < edits->count; i++)
	{
		const EgressConfigEdit *edit = &edits->items[i];

		memcpy(to, from, edit->start - from);
		to += edit->start - from;
		memcpy(to, edit->with, edit->with_length);
		to += edit->with_length;
		from = edit->end;
	}
	memcpy(to, from, end - from);
	return result;
}

/* config_is_space -- white space within a line, in both formats */
bool
config_is_space(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * config_has_control_character -- is there one in a string? With line_ends, a newline and the carriage returns before it are none
 *
 * Nor are those at the end, of which somebody has taken the last newline, as psql does with what a command prints.
 * Those of Unicode beyond ASCII are two bytes in UTF-8; in other encodings the same bytes are letters.
 */
bool
config_has_control_character(const char *value, bool line_ends)
{
	bool		is_unicode = GetDatabaseEncoding() == PG_UTF8;

	for (const unsigned char *c = (const unsigned char *) value; *c; c++)
	{
		if (line_ends && (*c == '\n' || (*c == '\r' && (c[1] == '\n' || c[1] == '\r' || c[1] == '\0'))))
			continue;
		if (*c < ' ' || *c == 0x7f || (is_unicode && *c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f))
			return true;
	}
	return false;
}

/* is_made_of -- is a string not empty, and of ASCII letters, digits and these characters alone? */
static bool
is_made_of(const char *value, const char *others)
{
	const char *c;

	for (c = value; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr(others, *c)))
			return false;
	return c > value;
}

/* config_is_address -- an address of a family, AF_UNSPEC for either */
bool
config_is_address(int family, const char *value)
{
	unsigned char address[16];

	if (family == AF_UNSPEC)
		family = strchr(value, ':') ? AF_INET6 : AF_INET;
	return inet_pton(family, value, address) == 1;
}

/* config_is_host -- may a string be a host's name or address? Whether a name is one, the resolver says */
bool
config_is_host(const char *value)
{
	char		address[INET6_ADDRSTRLEN];
	size_t		length = strcspn(value, "%");	/* an interface may follow */

	if (!is_made_of(value, ".-_:%") || *value == '-')
		return false;
	if (strchr(value, ':') == NULL)
		return true;
	if (length >= sizeof(address))
		return false;
	memcpy(address, value, length);
	address[length] = '\0';
	return config_is_address(AF_INET6, address);
}

/* config_base64_value -- the six bits of a base64 digit, -1 if it is none */
int
config_base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * config_base64_decode -- the bytes of base64 with white space in it, for which there has to be room
 *
 * Returns their number. *stopped is where the digits, the padding and white space end.
 */
size_t
config_base64_decode(const char *start, const char *end, char *bytes, const char **stopped)
{
	size_t		length = 0;
	uint32		bits = 0;
	int			digits = 0;
	bool		padded = false;

	for (; start < end; start++)
	{
		int			value = config_base64_value(*start);

		if (*start == '=')
			padded = true;
		else if (value >= 0 && !padded)
		{
			bits = bits << 6 | value;
			if (digits > 0)
				bytes[length++] = bits >> (6 - 2 * digits);
			digits = (digits + 1) % 4;
		}
		else if (strchr(" \t\r\n", *start) == NULL || *start == '\0')
			break;
	}
	*stopped = start;
	return length;
}

/* config_base64_lines -- bytes in base64, in lines of 64 characters, as libcrypto reads it */
char *
config_base64_lines(const char *bytes, size_t length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char	   *result = palloc(length / 3 * 4 + length / 48 + 6);
	char	   *to = result;

	for (size_t i = 0; i < length; i += 3)
	{
		uint32		bits = 0;

		for (size_t j = 0; j < 3; j++)
			bits = bits << 8 | (i + j < length ? (unsigned char) bytes[i + j] : 0);
		for (size_t j = 0; j < 4; j++)
			*to++ = i + j <= length ? digits[bits >> (18 - 6 * j) & 63] : '=';
		if (i % 48 == 45 || i + 3 >= length)
			*to++ = '\n';
	}
	*to = '\0';
	return result;
}

/* config_is_plain_name -- a name without anything that a shell, a path or an option could make something of */
bool
config_is_plain_name(const char *value)
{
	return is_made_of(value, "._-") && *value != '-' && *value != '.';
}

/* config_is_number -- digits alone, within bounds */
bool
config_is_number(const char *value, int64 low, int64 high)
{
	int64		number = 0;
	const char *c;

	for (c = value; *c; c++)
	{
		if (*c < '0' || *c > '9' || number > (PG_INT64_MAX - 9) / 10)
			return false;
		number = number * 10 + (*c - '0');
	}
	return c > value && number >= low && number <= high;
}

/* config_is_port -- a port's number, or what may be a service's name */
bool
config_is_port(const char *value)
{
	if (*value >= '0' && *value <= '9')
		return config_is_number(value, 0, 65535);
	return is_made_of(value, "-") && *value != '-';
}

/* config_is_address_range -- an address, with or without the length of a prefix */
bool
config_is_address_range(const char *value)
{
	char		address[INET6_ADDRSTRLEN];
	const char *slash = strchr(value, '/');
	size_t		length = slash ? (size_t) (slash - value) : strlen(value);

	if (length >= sizeof(address))
		return false;
	memcpy(address, value, length);
	address[length] = '\0';
	return config_is_address(AF_UNSPEC, address) &&
		(slash == NULL || config_is_number(slash + 1, 0, strchr(address, ':') ? 128 : 32));
}
