/*
 * config_openvpn.c -- OpenVPN client configs as openvpn(8) 2.6 reads them
 *
 * Which directives are accepted, and with which parameters, is in openvpn_directives.c. What is not in that table is refused
 * without being named: it may be a line of a key that stands outside its block.
 *
 * Reading. Lines are split into parameters as openvpn splits them: white space; double quotes; single quotes; backslash
 * before a backslash, a double quote or white space; "#" or ";" where a parameter may start. One "--" before
 * a directive is dropped. "<tag>" alone on a line starts a block that ends at the first line that starts, after white
 * space, with "</tag>"; what is between is not looked at. The content of <connection> is read as directives, with
 * blocks of its own. "setenv opt" before a directive makes openvpn ignore the directive if it does not know it,
 * and so do ignore-unknown-option and setenv FORWARD_COMPATIBLE; the directive is looked at all the same.
 *
 * Where openvpn's reading depends on its buffers, the config is refused. It takes a line in pieces of 255 bytes.
 * Outside of blocks a longer line is an error. Inside, the pieces are joined again, but each may end the block,
 * and what is left of a long line that ended it is read as a directive; hence no "</" in a long line of a block.
 *
 * Rendering. The first auth-user-pass, whether it stands alone, names a file or is a block, gives way to a block with
 * the credential; others go. Without one the block is added at the end. So do the blocks of cert and key give way to those
 * of the credential. What the credential has not stays as it is, but for an auth-user-pass that is no block, which would
 * read a file or ask at the console, and goes. All other bytes stay.
 *
 * Storing and importing are the same reading, with other edits. What is stored has no login, where an acquire puts one. An
 * import does what the table says with a line that the check would refuse: it takes it out, or makes a block of the file that
 * it names; a line that the table has no way for is refused. So what an import made passes the check.
 */
#include "config.h"

#include <sys/socket.h>

#include "certificate.h"
#include "compat.h"
#include "errors.h"
#include "openvpn_directives.h"

/* openvpn reads lines into 256 bytes, with a newline and a zero at the end */
#define LINE_LENGTH		254

/* openvpn's MAX_PARMS: a directive and its parameters */
#define MAX_WORDS		16

/*
 * The longest username or password. openvpn's own limit is 4095 bytes when it was built with PKCS#11 and 127 when not,
 * and it cuts what is longer without a word.
 */
#define MAX_CREDENTIAL_LENGTH	127

/* why a directive is refused */
#define IN_CLEAR		"Its packets would go to whatever listens there in the clear: text of one's choice to any port that the agent reaches."
#define HAS_PASSPHRASE	"It has a passphrase, for which openvpn would ask at the agent's console."
#define LEFT_TO_SCRIPT	"It leaves to an up or route-up script what the tunnel needs, and an import takes that out."
#define NO_PASSWORD		"It has no line with a username and a line with a password: there is no login for a credential."
#define HALF_A_LOGIN	"It has no line with a username and a line with a password: openvpn would ask at the agent's console."
#define SENDS_KEY		"Over TCP its wrapped key, which may be lines of text, would go as it is to any port that the agent reaches."
#define NO_FILE			"The file that it names is not in files."
#define SAME_NAME		"More than one of files has the name of the one that it names."
#define NOT_TEXT		"Its file is empty, or is no text."
#define NOT_BINARY		"Its file is a binary one, and was given as text."
#define ENDS_BLOCK		"Its file has \"</\", with which openvpn would take the block to end."
#define NAMES_FOLDER	"It names a folder on the agent."
#define NO_INLINE_BLOCK "It says [inline], and there is no block with the content."
#define IS_INLINE		"It only says that the content is a block."
#define IS_REPLACED		"It has become verify-x509-name with name-prefix, which is the same for a common name."
#define IS_UNKNOWN		"openvpn 2.6 does not have it, and is told to ignore it."
#define NO_COMMON_NAME	"It names more than a common name, in a form that openvpn does not have any more."
#define TWO_NAMES		"It is a second check of the server's name, beside verify-x509-name."
#define TOO_LONG		"The line has more than the 254 bytes that openvpn reads."

/* what helps */
#define USE_CUSTOM		"A provider of type custom takes any config."
#define USE_UDP			"Take out each remote and proto with tcp, and http-proxy. A provider of type custom takes any config."
#define GIVE_FILE		"Give it by its name, without folders: files => '{\"ca.crt\": \"...\"}'."
#define GIVE_BASE64		"Give a binary file as {\"base64\": \"...\"}."
#define NO_NOEXEC		"Without it, openvpn does it itself."
#define USE_X509_NAME	"Write what it means as verify-x509-name."
#define USE_BLOCK		"Put the content into the config, as a block."
#define TAKE_PASSPHRASE	"openssl pkey -in client.key -out plain.key takes it off."
#define TAKE_PASSPHRASE_12 \
	"openssl pkcs12 -in old.p12 -nodes -out all.pem and openssl pkcs12 -export -in all.pem -passout pass: -out new.p12 take it off."
#define ONE_IDENTITY	"Take the block out of the config, or give the credential no client_certificate and no client_key."
#define USE_OPTIONAL	"With \"setenv opt\" before it, openvpn ignores it where it does not have it."

/* The parts of a config that a credential replaces. */
typedef enum Part
{
	PART_LOGIN,
	PART_CERTIFICATE,
	PART_KEY
} Part;

#define PART_COUNT (PART_KEY + 1)

static const char *const part_tags[PART_COUNT] = {
	[PART_LOGIN] = "auth-user-pass",
	[PART_CERTIFICATE] = "cert",
	[PART_KEY] = "key"
};

/* What a config holds. */
typedef struct OpenvpnConfig
{
	EgressConfigReader reader;
	int			connection_line;	/* of the <connection> that is being read, 0 outside */
	bool		has_remote;		/* in this <connection>, or in all */
	bool		ignores_all;	/* openvpn ignores every directive that it does not know */
	bool		ignores[OPENVPN_DIRECTIVE_COUNT];	/* it ignores this one if it does not know it */
	List	   *ignored_names;	/* and those of these names, which are no directives */
	bool		has_block[OPENVPN_DIRECTIVE_COUNT]; /* is there a block of this one? */
	int			inline_lines[OPENVPN_DIRECTIVE_COUNT];	/* where it says [inline], 0 without */
	int			cert_line;		/* where these blocks are, 0 without */
	int			key_line;
	int			pkcs12_line;
	int			secret_line;
	int			wrapped_key_line;
	int			device_line;	/* where these directives are, 0 without */
	int			asking_proxy_line;	/* of an http-proxy that may want a login */
	int			null_cipher_line;
	const char *null_cipher;	/* which of the directives that name ciphers it is */
	int			name_line;
	int			old_name_line;
	int			no_routes_line;
	int			no_address_line;
	bool		has_up_script;
	bool		has_route_script;
	bool		has_tls;
	bool		uses_tcp;

	/* what is to become of it */
	const EgressOpenvpnCredential *credential;	/* with nothing in it, unless it is rendered with one */
	bool		placed[PART_COUNT]; /* is the credential's part in its place? */
	EgressConfigImport *import; /* or NULL */
	List	  **secrets;		/* NULL unless it is to be stored */
	bool		unchecked;		/* what blocks hold is not looked at */
	bool		is_lease;		/* for a lease: its <pkcs12> was opened when it was written, which takes long */
	EgressConfigEdits edits;
} OpenvpnConfig;

static const EgressOpenvpnCredential no_credential = {0};

static void read_directives(OpenvpnConfig *config);

/*
 * is_harmless_variable -- may setenv set this?
 *
 * openvpn hands its environment to what it starts (2.7 starts a script of its own for DNS), where LD_PRELOAD, PATH and
 * the like would run a command. These are read by openvpn itself or by other clients, or are sent to the server.
 */
static bool
is_harmless_variable(const char *name)
{
	static const char *const variables[] = {
		"ALLOW_PASSWORD_SAVE", "CLIENT_CERT", "FORWARD_COMPATIBLE", "FRIENDLY_NAME", "PUSH_PEER_INFO", "REMOTE_RANDOM_HOSTNAME",
		"SERVER_POLL_TIMEOUT"
	};

	if (strncmp(name, "UV_", 3) == 0 || strncmp(name, "IV_", 3) == 0)
		return config_is_plain_name(name);
	for (size_t i = 0; i < lengthof(variables); i++)
		if (strcmp(name, variables[i]) == 0)
			return true;
	return false;
}

/*
 * split_line -- split a line into words as openvpn does
 *
 * The words are put into the buffer, which has room for the line and a zero for each word. Returns their number; with
 * -1, *problem says why openvpn could not read the line.
 */
static int
split_line(const char *start, const char *end, char *buffer, char **words, const char **problem)
{
	int			count = 0;
	char		quote = '\0';
	bool		in_word = false;
	bool		escaped = false;

	for (const char *c = start; c < end; c++)
	{
		if (!escaped && *c == '\\' && quote != '\'')
		{
			escaped = true;
			continue;
		}
		if (!in_word)
		{
			if (config_is_space(*c))
			{
				escaped = false;
				continue;
			}
			if (*c == '#' || *c == ';')
				return count;
			if (count == MAX_WORDS)
			{
				*problem = "It has more than 15 parameters.";
				return -1;
			}
			words[count++] = buffer;
			in_word = true;
			if (!escaped && (*c == '"' || *c == '\''))
			{
				quote = *c;
				continue;
			}
		}
		else if (!escaped && (quote ? *c == quote : config_is_space(*c)))
		{
			*buffer++ = '\0';
			in_word = false;
			quote = '\0';
			continue;
		}
		if (escaped && *c != '\\' && *c != '"' && !config_is_space(*c))
		{
			*problem = "It has a backslash that is not before a backslash, a double quote or a space.";
			return -1;
		}
		*buffer++ = *c;
		escaped = false;
	}
	if (quote)
	{
		*problem = "A quotation is not closed.";
		return -1;
	}
	if (escaped)
	{
		*problem = "It ends in a backslash.";
		return -1;
	}
	if (in_word)
		*buffer = '\0';
	return count;
}

/* skip_space -- the first byte of a line that is no white space */
static const char *
skip_space(const char *start, const char *end)
{
	while (start < end && config_is_space(*start))
		start++;
	return start;
}

/* refuse_unknown -- note a line that openvpn does not have */
static void
refuse_unknown(OpenvpnConfig *config, const EgressConfigLine *line, const char *start, const char *reason, const char *hint)
{
	start = skip_space(start, line->end);
	if (config_begins_with(start, line->end, "[Interface]") || config_begins_with(start, line->end, "[Peer]"))
	{
		config_problem(&config->reader, line->number, NULL, "It is a section of a WireGuard config.",
					   "The gateway of a WireGuard config is one of a provider of type wireguard.");
		config_abandon(&config->reader);
	}
	else
		config_problem_unknown(&config->reader, line->number, start, line->end, reason, hint);
}

/* is_long_line -- has a line more bytes than openvpn reads at once? A newline counts also where it has none yet */
static bool
is_long_line(const EgressConfigLine *line)
{
	const char *end = line->next[-1] == '\n' ? line->next - 1 : line->next;

	return end - line->start > LINE_LENGTH;
}

/*
 * read_block -- read up to the line that closes a block, which becomes *line; false if there is none
 *
 * The name is the tag, or NULL if messages may not have it.
 */
static bool
read_block(OpenvpnConfig *config, const char *tag, const char *name, EgressConfigLine *line)
{
	int			opened = line->number;
	size_t		tag_length = strlen(tag);

	while (config_next_line(&config->reader, line))
	{
		const char *start = skip_space(line->start, line->end);
		bool		is_long = is_long_line(line);

		if (is_long && config->connection_line)
			config_problem(&config->reader, line->number, NULL, TOO_LONG, NULL);
		if ((size_t) (line->end - start) >= tag_length + 3 &&
			memcmp(start, "</", 2) == 0 &&
			memcmp(start + 2, tag, tag_length) == 0 &&
			start[tag_length + 2] == '>')
		{
			if (is_long || skip_space(start + tag_length + 3, line->end) < line->end)
				config_problem(&config->reader, line->number, name, "Something follows the end of its block.", NULL);
			return true;
		}
		for (const char *c = start; is_long && (c = memchr(c, '<', line->end - c)) != NULL; c++)
			if (c + 1 < line->end && c[1] == '/')
			{
				config_problem(&config->reader, line->number, name,
							   "openvpn reads a line of more than 254 bytes in parts, "
							   "and may take one for the block's end.", NULL);
				break;
			}
	}
	config_problem(&config->reader, opened, name, "Its block is not closed.", NULL);
	config_abandon(&config->reader);
	return false;
}

/* read_connection -- read the content of a <connection>, which is between two lines */
static void
read_connection(OpenvpnConfig *config, const EgressConfigLine *opening, const EgressConfigLine *closing)
{
	EgressConfigReader *reader = &config->reader;
	const char *end = reader->end;

	reader->next = opening->next;
	reader->end = closing->start;
	reader->number = opening->number;
	config->connection_line = opening->number;
	config->has_remote = false;
	read_directives(config);
	if (!config->has_remote && !reader->abandoned)
		config_problem(reader, opening->number, "connection", "The block has no remote.", NULL);
	config->has_remote = true;

	reader->next = reader->abandoned ? end : closing->next;
	reader->end = end;
	reader->number = closing->number;
	config->connection_line = 0;
}

/* find_login -- the username and the password in a block or a file, each a line; false if openvpn would ask for one */
static bool
find_login(const char *start, const char *end, const char **lines, const char **ends)
{
	for (int i = 0; i < 2; i++)
	{
		const char *newline = memchr(start, '\n', end - start);

		lines[i] = start;
		ends[i] = newline ? newline : end;
		while (ends[i] > start && ends[i][-1] == '\r')
			ends[i]--;
		if (ends[i] == start)
			return false;
		start = newline ? newline + 1 : end;
	}
	return true;
}

/* has_login -- is there a username and a password between two places? */
static bool
has_login(const char *start, const char *end)
{
	const char *lines[2];
	const char *ends[2];

	return find_login(start, end, lines, ends);
}

/* credential_part -- what the credential has for a part of the config; NULL if nothing */
static const char *
credential_part(const OpenvpnConfig *config, Part part)
{
	switch (part)
	{
		case PART_LOGIN:
			return config->credential->username;
		case PART_CERTIFICATE:
			return config->credential->client_certificate;
		case PART_KEY:
			return config->credential->client_key;
	}
	return NULL;				/* unreachable */
}

/* place_text -- put a text, and the end of its last line if that has none, into the config */
static void
place_text(OpenvpnConfig *config, const char *place, const char *text)
{
	size_t		length = strlen(text);

	config_replace(&config->edits, place, place, text);
	if (length == 0 || text[length - 1] != '\n')
		config_replace(&config->edits, place, place, "\n");
}

/* place_block -- put the credential's block in the place of a part of the config */
static void
place_block(OpenvpnConfig *config, Part part, const char *start, const char *end, const char *before, const char *after)
{
	config_replace(&config->edits, start, end, before);
	config_replace(&config->edits, end, end, "<");
	config_replace(&config->edits, end, end, part_tags[part]);
	config_replace(&config->edits, end, end, ">\n");
	place_text(config, end, credential_part(config, part));
	if (part == PART_LOGIN)
		place_text(config, end, config->credential->password);
	config_replace(&config->edits, end, end, "</");
	config_replace(&config->edits, end, end, part_tags[part]);
	config_replace(&config->edits, end, end, ">");
	config_replace(&config->edits, end, end, after);
	config->placed[part] = true;
}

/*
 * place_part -- note how a part that the config has, which begins and ends at these places, is to be rendered
 *
 * A part that is whole has all that openvpn would otherwise ask for.
 */
static void
place_part(OpenvpnConfig *config, const char *name, const char *start, const EgressConfigLine *last, bool is_whole)
{
	Part		part = 0;

	while (part < PART_COUNT && strcmp(part_tags[part], name) != 0)
		part++;
	if (part == PART_COUNT)
		return;
	if (credential_part(config, part) && !config->placed[part])
		place_block(config, part, start, last->end, "", "");
	else if (credential_part(config, part) || !is_whole)
		config_replace(&config->edits, start, last->next, "");
}

/* check_block -- check the content of a block, which is between two lines */
static void
check_block(OpenvpnConfig *config, const EgressDirective *directive, int number, const char *start, const char *end)
{
	const char *problem = NULL;
	const char *hint = NULL;

	if ((directive->flags & PEM) && certificate_pem_is_encrypted(start, end))
	{
		problem = HAS_PASSPHRASE;
		hint = strcmp(directive->name, "key") == 0 ? TAKE_PASSPHRASE : NULL;
	}
	else if (strcmp(directive->name, "pkcs12") == 0 && !config->is_lease && certificate_pkcs12_has_passphrase(start, end - start))
	{
		problem = HAS_PASSPHRASE;
		hint = TAKE_PASSPHRASE_12;
	}
	else if (strcmp(directive->name, "http-proxy-user-pass") == 0 && !has_login(start, end))
		problem = HALF_A_LOGIN;
	if (problem)
		config_problem(&config->reader, number, directive->name, problem, hint);
}

/* store_block -- note how a block is stored: without a login, which an acquire puts there; or that it is secret */
static void
store_block(OpenvpnConfig *config, const EgressDirective *directive, const char *start, const EgressConfigLine *closing)
{
	bool		known = false;
	ListCell   *cell;

	if (strcmp(directive->name, part_tags[PART_LOGIN]) == 0)
		config_replace(&config->edits, start, closing->end, part_tags[PART_LOGIN]);
	if (!(directive->flags & SECRET))
		return;
	foreach(cell, *config->secrets)
		known = known || lfirst(cell) == directive->name;
	if (!known)
		*config->secrets = lappend(*config->secrets, unconstify(char *, directive->name));
}

/* copy_part -- a part of a config as a string */
static char *
copy_part(const char *start, const char *end)
{
	char	   *copy = palloc(end - start + 1);

	memcpy(copy, start, end - start);
	copy[end - start] = '\0';
	return copy;
}

/* keep_login -- keep a username and a password, each a line, for a credential; false, and none, if one is missing */
static bool
keep_login(EgressConfigImport *import, const char *start, const char *end)
{
	const char *lines[2];
	const char *ends[2];

	if (!find_login(start, end, lines, ends))
		return false;
	import->username = copy_part(lines[0], ends[0]);
	import->password = copy_part(lines[1], ends[1]);
	return true;
}

/* keep_block -- keep what a block holds for a credential, if it belongs there, and take it out of the config */
static void
keep_block(OpenvpnConfig *config, const EgressDirective *directive, const char *start, const EgressConfigLine *opening,
		   const EgressConfigLine *closing)
{
	EgressConfigImport *import = config->import;

	if (strcmp(directive->name, part_tags[PART_LOGIN]) == 0)
	{
		if (!keep_login(import, opening->next, closing->start))
			config_removed(import, opening->number, directive->name, NO_PASSWORD);
		config_replace(&config->edits, start, closing->end, part_tags[PART_LOGIN]);
		return;
	}
	if (strcmp(directive->name, part_tags[PART_CERTIFICATE]) == 0)
		import->client_certificate = copy_part(opening->next, closing->start);
	else if (strcmp(directive->name, part_tags[PART_KEY]) == 0)
		import->client_key = copy_part(opening->next, closing->start);
	else
		return;
	config_replace(&config->edits, start, closing->next, "");
}

/* find_file -- the file that a path names, the config's own before those of others; NULL without one, with a *problem */
static const EgressConfigFile *
find_file(const EgressConfigImport *import, const char *path, const char **problem)
{
	bool		is_ambiguous = false;
	const EgressConfigFile *file = import->files ? config_find_file(import->files, path, &is_ambiguous) : NULL;

	if (file == NULL && !is_ambiguous && import->shared_files)
		file = config_find_file(import->shared_files, path, &is_ambiguous);
	*problem = is_ambiguous ? SAME_NAME : NO_FILE;
	return file;
}

/* file_content -- what a directive's block has from a file; NULL with a *problem if it cannot be a block */
static const char *
file_content(const OpenvpnConfig *config, const EgressDirective *directive, const EgressConfigFile *file, const char **problem)
{
	size_t		in_line = 0;

	if (strcmp(directive->name, "pkcs12") == 0)
	{
		*problem = NOT_BINARY;
		return file->is_binary && file->length > 0 ? config_base64_lines(file->content, file->length) : NULL;
	}
	*problem = NOT_TEXT;
	if (!file->is_text || file->length == 0)
		return NULL;
	for (const char *c = file->content; *c; c++)
	{
		if (*c == '\r' && c[strspn(c, "\r")] == '\n')
			continue;
		if (((unsigned char) *c < ' ' && *c != '\t' && *c != '\n') || *c == '\x7f')
			return NULL;
		in_line = *c == '\n' ? 0 : in_line + 1;
		if ((*c == '<' && c[1] == '/') || (config->connection_line && in_line >= LINE_LENGTH))
		{
			*problem = *c == '<' ? ENDS_BLOCK : TOO_LONG;
			return NULL;
		}
	}
	return file->content;
}

/* place_direction -- put a key direction, which was a parameter, into the config as a directive */
static void
place_direction(OpenvpnConfig *config, const char *place, const char *direction, const char *before, const char *after)
{
	config_replace(&config->edits, place, place, before);
	config_replace(&config->edits, place, place, *direction == '0' ? "key-direction 0" : "key-direction 1");
	config_replace(&config->edits, place, place, after);
}

/* import_file -- make a block of the file that a line names */
static void
import_file(OpenvpnConfig *config, const EgressDirective *directive, int count, char **words, const char *start,
			const EgressConfigLine *line)
{
	EgressConfigReader *reader = &config->reader;
	EgressConfigImport *import = config->import;
	bool		directed = strcmp(directive->name, "tls-auth") == 0 || strcmp(directive->name, "secret") == 0;
	const char *direction = directed && count == 3 && openvpn_directives_match("0|1", 1, words + 2) ? words[2] : NULL;
	const EgressConfigFile *file;
	const char *content = NULL;
	const char *problem;

	if (count != (direction ? 3 : 2))
	{
		config_problem(reader, line->number, directive->name,
					   strcmp(directive->name, "crl-verify") == 0 && count == 3 ? NAMES_FOLDER :
					   "A parameter is missing, wrong, or too many.", NULL);
		return;
	}
	if (strcmp(words[1], "[inline]") == 0 && !config->connection_line)
	{
		config->inline_lines[openvpn_directives_number(directive)] = line->number;
		config_removed(import, line->number, directive->name, IS_INLINE);
		config_replace(&config->edits, start, direction ? line->end : line->next, "");
		if (direction)
			place_direction(config, line->end, direction, "", "");
		return;
	}
	file = find_file(import, words[1], &problem);
	if (file)
		content = file_content(config, directive, file, &problem);
	if (content == NULL)
	{
		config_problem(reader, line->number, directive->name, problem,
					   file == NULL ? GIVE_FILE : strcmp(directive->name, "pkcs12") == 0 ? GIVE_BASE64 : NULL);
		return;
	}
	config->has_block[openvpn_directives_number(directive)] = true;
	check_block(config, directive, line->number, content, content + strlen(content));
	if (import->apart && strcmp(directive->name, part_tags[PART_CERTIFICATE]) == 0)
		import->client_certificate = copy_part(content, content + strlen(content));
	else if (import->apart && strcmp(directive->name, part_tags[PART_KEY]) == 0)
		import->client_key = copy_part(content, content + strlen(content));
	else
	{
		config_replace(&config->edits, start, line->end, "<");
		config_replace(&config->edits, line->end, line->end, directive->name);
		config_replace(&config->edits, line->end, line->end, ">\n");
		place_text(config, line->end, content);
		config_replace(&config->edits, line->end, line->end, "</");
		config_replace(&config->edits, line->end, line->end, directive->name);
		config_replace(&config->edits, line->end, line->end, ">");
		if (direction)
			place_direction(config, line->end, direction, "\n", "");
		return;
	}
	config_replace(&config->edits, start, line->next, "");
}

/* import_login -- keep the login in the file that an auth-user-pass names, if it is there */
static void
import_login(EgressConfigImport *import, const char *path)
{
	const char *problem;
	const EgressConfigFile *file = find_file(import, path, &problem);

	if (file && file->is_text)
		(void) keep_login(import, file->content, file->content + file->length);
}

/*
 * import_tls_remote -- put verify-x509-name in the place of tls-remote
 *
 * tls-remote took the whole subject of the server's certificate, in a form of its own, or the beginning of its common name.
 * A common name has at most 64 characters.
 */
static void
import_tls_remote(OpenvpnConfig *config, int count, char **words, const char *start, const EgressConfigLine *line)
{
	char	   *name;
	char	   *to;

	if (count != 2 || *words[1] == '\0' || strlen(words[1]) > 64 || strpbrk(words[1], "/=,"))
	{
		config_problem(&config->reader, line->number, "tls-remote", NO_COMMON_NAME, USE_X509_NAME);
		return;
	}
	name = to = palloc(2 * strlen(words[1]) + 1);
	for (const char *c = words[1]; *c; c++)
	{
		if (*c == '"' || *c == '\\')
			*to++ = '\\';
		*to++ = *c;
	}
	*to = '\0';
	config_removed(config->import, line->number, "tls-remote", IS_REPLACED);
	config_replace(&config->edits, start, line->end, "verify-x509-name \"");
	config_replace(&config->edits, line->end, line->end, name);
	config_replace(&config->edits, line->end, line->end, "\" name-prefix");
}

/*
 * import_line -- do with a line that is refused what an import does; false if it does nothing
 *
 * key-method 1, the older way to make keys, is not what openvpn does today.
 */
static bool
import_line(OpenvpnConfig *config, const EgressDirective *directive, int count, char **words, const char *start,
			const EgressConfigLine *line)
{
	if (config->import == NULL)
		return false;
	if (config->connection_line && !(directive->flags & (CONNECTION | TAKEN_OUT)))
		return false;
	if (directive->flags & FROM_FILE)
		import_file(config, directive, count, words, start, line);
	else if (strcmp(directive->name, "tls-remote") == 0)
		import_tls_remote(config, count, words, start, line);
	else if ((directive->flags & TAKEN_OUT) &&
			 !(strcmp(directive->name, "key-method") == 0 && !openvpn_directives_match("2", count - 1, words + 1)))
	{
		config_removed(config->import, line->number, directive->name, directive->reason ? directive->reason : SETS_ENVIRONMENT);
		config_replace(&config->edits, start, line->next, "");
	}
	else
		return false;
	return true;
}

/* note_presence -- note what the whole config must have, also where the line itself is refused */
static void
note_presence(OpenvpnConfig *config, const EgressDirective *directive, int number)
{
	if (strcmp(directive->name, "remote") == 0)
		config->has_remote = true;
	else if (strcmp(directive->name, "cert") == 0)
		config->cert_line = number;
	else if (strcmp(directive->name, "key") == 0)
		config->key_line = number;
	else if (strcmp(directive->name, "pkcs12") == 0)
		config->pkcs12_line = number;
	else if (strcmp(directive->name, "secret") == 0)
		config->secret_line = number;
	else if (strcmp(directive->name, "tls-crypt-v2") == 0)
		config->wrapped_key_line = number;
	else if (strcmp(directive->name, "dev") == 0)
		config->device_line = number;
	else if (strcmp(directive->name, "verify-x509-name") == 0)
		config->name_line = number;
	else if (strcmp(directive->name, "tls-remote") == 0)
		config->old_name_line = number;
	else if (strcmp(directive->name, "route-noexec") == 0)
		config->no_routes_line = number;
	else if (strcmp(directive->name, "ifconfig-noexec") == 0)
		config->no_address_line = number;
	else if (strcmp(directive->name, "up") == 0)
		config->has_up_script = true;
	else if (strcmp(directive->name, "route-up") == 0)
		config->has_route_script = true;
	else if (strcmp(directive->name, "client") == 0 || strcmp(directive->name, "tls-client") == 0 ||
			 strcmp(directive->name, "server") == 0 || strcmp(directive->name, "tls-server") == 0)
		config->has_tls = true;
}

/* is_tcp -- does a line, if it is valid, make openvpn connect by TCP? A socks-proxy carries what is UDP without it as UDP */
static bool
is_tcp(const EgressDirective *directive, int count, char **words)
{
	const char *proto = NULL;

	if (strcmp(directive->name, "proto") == 0 && count > 1)
		proto = words[1];
	else if (strcmp(directive->name, "remote") == 0 && count > 3)
		proto = words[3];
	return strcmp(directive->name, "http-proxy") == 0 || (proto && strncmp(proto, "udp", 3) != 0);
}

/* read_inline -- read a directive that is a block; *line is its first line, and becomes its last */
static void
read_inline(OpenvpnConfig *config, const char *tag, const char *start, EgressConfigLine *line)
{
	const EgressDirective *directive = openvpn_directives_find(tag);
	EgressConfigLine opening = *line;

	if (directive == NULL)
		refuse_unknown(config, line, start, "It is not a block that openvpn has.", USE_CUSTOM);
	else if (!(directive->flags & INLINE))
		config_problem(&config->reader, line->number, directive->name,
					   directive->reason ? directive->reason : "It cannot be a block.", NULL);
	else if (config->connection_line && !(directive->flags & CONNECTION))
		config_problem(&config->reader, line->number, directive->name, "It cannot be in a <connection> block.", NULL);

	/* also what is between the tags of a block that is refused is no directive */
	if (config->reader.abandoned || !read_block(config, tag, directive ? directive->name : NULL, line) ||
		directive == NULL)
		return;
	note_presence(config, directive, opening.number);
	if (strcmp(directive->name, "connection") == 0)
	{
		if (config->connection_line == 0)
			read_connection(config, &opening, line);
	}
	else
	{
		config->has_block[openvpn_directives_number(directive)] = true;
		if (!config->unchecked)
			check_block(config, directive, opening.number, opening.next, line->start);
		if (config->secrets)
			store_block(config, directive, start, line);
		else if (config->import == NULL)
			place_part(config, directive->name, start, line,
					   directive != openvpn_directives_find(part_tags[PART_LOGIN]) || has_login(opening.next, line->start));
		else if (config->import->apart)
			keep_block(config, directive, start, &opening, line);
	}
}

/* note_ignored -- note what ignore-unknown-option names */
static void
note_ignored(OpenvpnConfig *config, const char *name)
{
	const EgressDirective *directive = openvpn_directives_find(strncmp(name, "--", 2) == 0 ? name + 2 : name);

	if (directive)
		config->ignores[openvpn_directives_number(directive)] = true;
	else if (config->import)
		config->ignored_names = lappend(config->ignored_names, copy_part(name, name + strlen(name)));
}

/* is_ignored -- is openvpn told to ignore a directive of this name, which it does not have? */
static bool
is_ignored(const OpenvpnConfig *config, const char *name)
{
	ListCell   *cell;

	if (config->connection_line)
		return false;
	foreach(cell, config->ignored_names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return config->ignores_all;
}

/* read_directive -- check a directive that is a line */
static void
read_directive(OpenvpnConfig *config, int count, char **words, const char *start, const EgressConfigLine *line)
{
	EgressConfigReader *reader = &config->reader;
	bool		optional = false;
	const EgressDirective *directive;

	if (count > 1 && strcmp(words[0], "setenv") == 0 && strcmp(words[1], "opt") == 0)
	{
		if (count == 2)
		{
			config_problem(reader, line->number, "setenv", "\"setenv opt\" has no directive.", NULL);
			return;
		}
		words += 2;
		count -= 2;
		optional = true;
	}
	directive = openvpn_directives_find(words[0]);
	if (directive == NULL)
	{
		if (config->import && (optional || is_ignored(config, words[0])))
		{
			config_removed(config->import, line->number, NULL, IS_UNKNOWN);
			config_replace(&config->edits, start, line->next, "");
		}
		else
			refuse_unknown(config, line, start, "It is not a directive that openvpn has.", USE_CUSTOM);
		return;
	}
	note_presence(config, directive, line->number);
	config->uses_tcp = config->uses_tcp || is_tcp(directive, count, words);
	if (directive->flags & IGNORABLE)
	{
		/* a <connection> block is read without what was said outside */
		if (!optional && (config->connection_line || !(config->ignores_all || config->ignores[openvpn_directives_number(directive)])) &&
			!import_line(config, directive, count, words, start, line))
			config_problem(reader, line->number, directive->name, directive->reason, USE_OPTIONAL);
	}
	else if (strcmp(directive->name, "setenv") == 0 && count > 1 && !is_harmless_variable(words[1]))
	{
		if (!import_line(config, directive, count, words, start, line))
			config_problem(reader, line->number, directive->name, SETS_ENVIRONMENT, USE_CUSTOM);
	}
	else if (!openvpn_directives_take(directive, count - 1, words + 1))
	{
		if (import_line(config, directive, count, words, start, line))
			return;
		if (directive->reason == NULL)
			config_problem(reader, line->number, directive->name,
						   "A parameter is missing, wrong, or too many.", openvpn_directives_hint(directive));
		else
			config_problem(reader, line->number, directive->name, directive->reason,
						   directive->flags & INLINE ? USE_BLOCK : USE_CUSTOM);
	}
	else if (config->connection_line && !(directive->flags & CONNECTION))
		config_problem(reader, line->number, directive->name, "It cannot be in a <connection> block.", NULL);
	else if (strcmp(directive->name, "auth-user-pass") == 0)
	{
		if (config->import && config->import->apart && count > 1)
			import_login(config->import, words[1]);
		else if (config->import == NULL && config->secrets == NULL)
			place_part(config, directive->name, start, line, false);
	}
	else if (strcmp(directive->name, "ignore-unknown-option") == 0)
		for (int i = 1; i < count; i++)
			note_ignored(config, words[i]);
	else if (strcmp(directive->name, "http-proxy") == 0 && count > 3)
		config->asking_proxy_line = line->number;
	else if (strstr(directive->name, "cipher") != NULL && strstr(words[1], "none") != NULL)
	{
		config->null_cipher = directive->name;
		config->null_cipher_line = line->number;
	}
	else if (strcmp(directive->name, "setenv") == 0 && strcmp(words[1], "FORWARD_COMPATIBLE") == 0)
		config->ignores_all = count > 2 && strcmp(words[2], "1") == 0;
}

/* read_directives -- check what the reader is at: the whole config, or the content of a <connection> */
static void
read_directives(OpenvpnConfig *config)
{
	EgressConfigLine line;

	while (config_next_line(&config->reader, &line))
	{
		char		buffer[LINE_LENGTH + 1];
		char	   *words[MAX_WORDS];
		int			count;
		const char *start = line.start;
		const char *problem = NULL;

		if (is_long_line(&line))
		{
			config_problem(&config->reader, line.number, NULL, TOO_LONG, NULL);
			continue;
		}
		if (line.number == 1 && line.end - start >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0)
			start += 3;
		count = split_line(start, line.end, buffer, words, &problem);
		if (count < 0)
			refuse_unknown(config, &line, start, problem, NULL);
		if (count <= 0)
			continue;

		if (words[0][0] == '-' && words[0][1] == '-' && words[0][2] != '\0')
			words[0] += 2;
		if (count == 1 && words[0][0] == '<' && words[0][strlen(words[0]) - 1] == '>')
		{
			words[0][strlen(words[0]) - 1] = '\0';
			read_inline(config, words[0] + 1, start, &line);
		}
		else
			read_directive(config, count, words, start, &line);
	}
}

/*
 * check_whole -- note what is wrong with the config as a whole
 *
 * openvpn without TLS puts what is in the tunnel into packets as it is, unless a static key encrypts it: over TCP, a datagram to
 * an address in the tunnel becomes lines of text to whatever listens at the remote. Without dev, it stops.
 *
 * A client key of tls-crypt-v2 is the client's own part, and behind it the same as the server wrapped it, which the client
 * sends as it is in its first packet, whoever listens. Only the server can tell whether that is what it made, or lines of text;
 * and what reads them may pass over any bytes around them. So it goes by UDP only.
 */
static void
check_whole(OpenvpnConfig *config)
{
	EgressConfigReader *reader = &config->reader;

	if (!config->has_remote)
		config_problem(reader, 0, "remote", "It needs at least one, by itself or in a <connection> block.", NULL);
	if (config->cert_line > 0 && config->key_line == 0)
		config_problem(reader, config->cert_line, "cert", "There is no <key> that belongs to it.", NULL);
	if (config->key_line > 0 && config->cert_line == 0)
		config_problem(reader, config->key_line, "key", "There is no <cert> that belongs to it.", NULL);
	if (config->device_line > 0 && !config->has_tls && config->secret_line == 0)
		config_problem(reader, 0, "client", IN_CLEAR, "It needs client or tls-client, or a <secret>.");
	if (config->null_cipher_line > 0 && config->secret_line > 0)
		config_problem(reader, config->null_cipher_line, config->null_cipher, IN_CLEAR, NULL);
	if (config->wrapped_key_line > 0 && config->uses_tcp)
		config_problem(reader, config->wrapped_key_line, "tls-crypt-v2", SENDS_KEY, USE_UDP);
	if (config->asking_proxy_line > 0 && !config->has_block[openvpn_directives_number(openvpn_directives_find("http-proxy-user-pass"))])
		config_problem(reader, config->asking_proxy_line, "http-proxy",
					   "With auto and without <http-proxy-user-pass> it asks at the agent's console.", NULL);
	if (config->old_name_line > 0 && config->name_line > 0)
		config_problem(reader, config->old_name_line, "tls-remote", TWO_NAMES, NULL);
	if (config->import && config->no_routes_line > 0 && (config->has_up_script || config->has_route_script))
		config_problem(reader, config->no_routes_line, "route-noexec", LEFT_TO_SCRIPT, NO_NOEXEC);
	if (config->import && config->no_address_line > 0 && config->has_up_script)
		config_problem(reader, config->no_address_line, "ifconfig-noexec", LEFT_TO_SCRIPT, NO_NOEXEC);
	for (size_t i = 0; i < OPENVPN_DIRECTIVE_COUNT; i++)
		if (config->inline_lines[i] > 0 && !config->has_block[i])
			config_problem(reader, config->inline_lines[i], openvpn_directives_get(i)->name, NO_INLINE_BLOCK, USE_BLOCK);
	if (config->pkcs12_line > 0 && config->credential->client_certificate)
		config_problem(reader, config->pkcs12_line, "pkcs12", "It holds a certificate, and so does the credential.", ONE_IDENTITY);
	if (config->secret_line > 0 && config->credential->client_certificate)
		config_problem(reader, config->secret_line, "secret", "A static key knows no certificate, which the credential has.",
					   ONE_IDENTITY);
}

/* read_config -- check a config, and note what is to become of it, as the caller has set it */
static void
read_config(text *config_text, OpenvpnConfig *config)
{
	config_open(&config->reader, config_text, "OpenVPN");
	read_directives(config);
	if (!config->reader.abandoned)
		check_whole(config);
	config_finish(&config->reader);
}

/* close_config -- free what read_config() allocated */
static void
close_config(OpenvpnConfig *config)
{
	if (config->edits.items)
		pfree(config->edits.items);
}

/* apply -- the config with its edits, which are freed */
static text *
apply(text *config_text, OpenvpnConfig *config)
{
	text	   *result = config_apply(config_text, &config->edits);

	close_config(config);
	return result;
}

/* has_identity -- can a config that was read connect without a username and a password? */
static bool
has_identity(const OpenvpnConfig *config)
{
	return config->pkcs12_line > 0 || config->secret_line > 0 || (config->cert_line > 0 && config->key_line > 0);
}

/* config_openvpn_has_certificate -- can the config connect without a username and a password? NG007 as the check has it */
bool
config_openvpn_has_certificate(text *config_text)
{
	OpenvpnConfig config = {.credential = &no_credential, .is_lease = true};

	read_config(config_text, &config);
	close_config(&config);
	return has_identity(&config);
}

/* config_openvpn_check -- refuse a config that openvpn would not take, or that does more than set up a tunnel */
void
config_openvpn_check(text *config_text)
{
	OpenvpnConfig config = {.credential = &no_credential};

	read_config(config_text, &config);
	close_config(&config);
}

/*
 * config_openvpn_stored -- the config as it is stored, without the login of its auth-user-pass; NG007 as the check has it
 *
 * A config with a certificate of its own may be rendered without a username and a password: there the login stays. Adds to
 * *secrets the names of what is secret in it, each once.
 */
text *
config_openvpn_stored(text *config_text, List **secrets)
{
	OpenvpnConfig config = {.credential = &no_credential, .secrets = secrets};

	read_config(config_text, &config);
	if (config.edits.count > 0 && has_identity(&config))
	{
		*secrets = lappend(*secrets, unconstify(char *, part_tags[PART_LOGIN]));
		config.edits.count = 0;
	}
	return config.edits.count > 0 ? apply(config_text, &config) : config_text;
}

/* config_openvpn_has_secret -- has a config, as it is stored, something secret in it? Also one that could not be stored now */
bool
config_openvpn_has_secret(text *config_text)
{
	List	   *secrets = NIL;
	OpenvpnConfig config = {.credential = &no_credential, .secrets = &secrets, .unchecked = true};

	config_open(&config.reader, config_text, "OpenVPN");
	read_directives(&config);
	return secrets != NIL || config.edits.count > 0;
}

/*
 * config_openvpn_import -- a config that passes the check, from a file as a provider publishes it; or NG007
 *
 * The same reading as a check's: a line that it would refuse is imported if the table has a way, and refused if not.
 */
text *
config_openvpn_import(text *source, EgressConfigImport *import)
{
	OpenvpnConfig config = {.credential = &no_credential, .import = import};

	read_config(source, &config);
	return apply(source, &config);
}

/* check_value -- refuse a username or a password that openvpn would not read as it is */
static void
check_value(const char *name, const char *value)
{
	const char *detail = NULL;

	if (*value == '\0')
		detail = "It is empty.";
	else if (strlen(value) > MAX_CREDENTIAL_LENGTH)
		detail = "It has more than the 127 bytes that openvpn reads.";
	else if (strstr(value, "</auth-user-pass>"))
		detail = "It holds the tag that ends the block in which openvpn reads it.";
	else if (config_has_control_character(value, false))
		detail = "It has a control character.";
	if (detail)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_CONFIG),
				 errmsg("%s cannot be used with OpenVPN", name),
				 errdetail("%s", detail)));
}

/* check_pair -- refuse one of two parts of a credential without the other */
static void
check_pair(const char *first_name, const char *first, const char *second_name, const char *second)
{
	if ((first == NULL) != (second == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_CONFIG),
				 errmsg("%s is missing", first ? second_name : first_name),
				 errdetail("OpenVPN takes %s and %s, or neither.", first_name, second_name)));
}

/* check_pem -- refuse a certificate or a key that would not stay in its block */
static void
check_pem(const char *name, const char *pem)
{
	const char *detail = certificate_pem_problem(pem);

	if (detail)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_CONFIG),
				 errmsg("%s cannot be used with OpenVPN", name),
				 errdetail("%s", detail)));
}

/*
 * config_openvpn_check_credential -- refuse a credential that openvpn would not read as it is
 *
 * Whether the certificate and the key are what they should be is looked at when they are written, by certificate.c; here
 * only what a config needs to stay what it is. All NULL is for the caller to judge: it needs config_openvpn_has_certificate().
 */
void
config_openvpn_check_credential(const EgressOpenvpnCredential *credential)
{
	check_pair("username", credential->username, "password", credential->password);
	check_pair("client_certificate", credential->client_certificate, "client_key", credential->client_key);
	if (credential->username)
	{
		check_value("username", credential->username);
		check_value("password", credential->password);
	}
	if (credential->client_certificate)
	{
		check_pem("client_certificate", credential->client_certificate);
		check_pem("client_key", credential->client_key);
	}
}

/*
 * config_openvpn_render -- the config with the credential, or without one if all of its parts are NULL
 *
 * The result holds the password and the key: the caller wipes it.
 */
text *
config_openvpn_render(text *config_text, const EgressOpenvpnCredential *credential)
{
	const char *end = VARDATA_ANY(config_text) + VARSIZE_ANY_EXHDR(config_text);
	const char *before = end[-1] == '\n' ? "" : "\n";
	OpenvpnConfig config = {.credential = credential, .is_lease = true};

	config_openvpn_check_credential(credential);
	read_config(config_text, &config);
	for (Part part = 0; part < PART_COUNT; part++)
		if (credential_part(&config, part) && !config.placed[part])
		{
			place_block(&config, part, end, end, before, "\n");
			before = "";
		}
	return apply(config_text, &config);
}
