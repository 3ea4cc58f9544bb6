/*
 * scanner.c -- a second opinion on configs: is there a directive in them that must not be?
 *
 * Written apart from the parsers, from the manuals alone, and as simple as it can be. Where it is not sure it says yes:
 * quotes, backslashes and dashes do not hide a directive from it, and it does not look at how many parameters
 * there are. It knows nothing of what is accepted.
 */
#include "scanner.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* openvpn(8): runs a command, loads code, reads or writes a file, changes the user, or belongs to management */
static const char *const refused[] = {
	"up", "down", "ipchange", "route-up", "route-pre-down", "client-connect", "client-disconnect", "client-crresponse",
	"learn-address", "auth-user-pass-verify", "tls-verify", "tls-crypt-v2-verify", "iproute", "dns-updown",
	"plugin", "engine", "providers", "pkcs11-providers", "pkcs11-id", "cryptoapicert", "config",
	"capath", "client-config-dir", "auth-gen-token-secret", "dev-node", "status", "writepid", "replay-persist",
	"ifconfig-pool-persist", "tls-export-cert", "tmp-dir", "memstats", "log", "log-append", "syslog", "daemon", "inetd",
	"user", "group", "chroot", "cd", "setcon", "askpass", "static-challenge", "auth-token", "auth-token-user",
	"setenv-safe", "genkey", "mktun", "rmtun", "test-crypto", "show-pkcs11-ids", "port-share", "server", "push",
	"http-proxy-override", "win-sys", "service", NULL
};

/* openvpn(8): these name a file unless they are a block */
static const char *const files[] = {
	"ca", "cert", "key", "dh", "pkcs12", "extra-certs", "crl-verify", "secret", "tls-auth", "tls-crypt", "tls-crypt-v2",
	"http-proxy-user-pass", NULL
};

/* is_in -- is a word in a list? */
static const char *
is_in(const char *const *list, const char *word)
{
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return *list;
	return NULL;
}

/* clean -- a line as words with one space between them; nothing that could hide one is left */
static void
clean(const char *line, size_t length, char *out, size_t size)
{
	char	   *to = out;
	bool		pending = false;

	for (size_t i = 0; i < length && to + 2 < out + size; i++)
	{
		unsigned char c = line[i];

		if (c == ' ' || (c >= '\t' && c <= '\r'))
			pending = to > out;
		else if (c != '"' && c != '\'' && c != '\\' && c < 0x80)
		{
			if (pending)
				*to++ = ' ';
			pending = false;
			*to++ = c;
		}
	}
	*to = '\0';
}

/* nth_word -- cut a word out of a cleaned line */
static void
nth_word(const char *line, int n, char *word, size_t size)
{
	while (n-- > 0)
	{
		line += strcspn(line, " ");
		line += strspn(line, " ");
	}
	snprintf(word, size, "%.*s", (int) strcspn(line, " "), line);
}

void
scan_word(const char *line, size_t length, char *word, size_t size)
{
	char		words[512];
	char		second[512];
	char	   *start = words;

	clean(line, length, words, sizeof(words));
	start += strspn(start, "-");
	nth_word(start, 0, word, size);
	nth_word(start, 1, second, sizeof(second));
	if (strcmp(word, "setenv") == 0 && strcmp(second, "opt") == 0)
		nth_word(start, 2, word, size);
}

/* scan_line -- the refused directive of a line, NULL without */
static const char *
scan_line(const char *line, size_t length)
{
	static char found[512];
	char		words[512];
	char		second[512];
	char		fourth[512];
	size_t		space = 0;
	int			shift;

	while (space < length && strchr(" \t\r\v\f", line[space]))
		space++;
	if (space == length || line[space] == '#' || line[space] == ';')
		return NULL;
	clean(line, length, words, sizeof(words));
	scan_word(line, length, found, sizeof(found));
	shift = strncmp(words + strspn(words, "-"), "setenv opt", 10) == 0 ? 2 : 0;
	nth_word(words, shift + 1, second, sizeof(second));
	nth_word(words, shift + 3, fourth, sizeof(fourth));

	if (is_in(refused, found) || strncmp(found, "management", 10) == 0)
		return found;
	if (is_in(files, found) && !(strcmp(found, "dh") == 0 && strcmp(second, "none") == 0))
		return found;
	if ((strcmp(found, "http-proxy") == 0 && *fourth && !strchr("#;", *fourth) && strncmp(fourth, "auto", 4) != 0) ||
		(strcmp(found, "socks-proxy") == 0 && *fourth && !strchr("#;", *fourth)))
		return found;
	if (strcmp(found, "script-security") == 0 && !(strlen(second) == 1 && strchr("012", *second)))
		return found;
	if (strcmp(found, "http-proxy-option") == 0 && strcmp(second, "AGENT") != 0 && strcmp(second, "VERSION") != 0)
		return found;
	if (strcmp(found, "dev") == 0 && strpbrk(second, "/:"))
		return found;
	if (strcmp(found, "setenv") == 0 && (strncmp(second, "LD_", 3) == 0 || strcmp(second, "PATH") == 0))
		return found;
	return NULL;
}

/*
 * scan_openvpn -- as openvpn reads it: what is between tags is not looked at, other than <connection>
 *
 * Lines are read in pieces of 255 bytes, as openvpn does within a block, and each piece is taken for a line.
 */
int
scan_openvpn(const char *config, size_t length, const char **name)
{
	char		tag[256] = "";
	size_t		at = 0;

	for (int number = 1; at < length; number++)
	{
		const char *line = config + at;
		const char *newline = memchr(line, '\n', length - at);
		size_t		size = newline ? (size_t) (newline - line) : length - at;
		size_t		space = 0;

		if (size > 255)
			size = 255;
		at += size;
		if (at < length && config[at] == '\n')
			at++;

		while (space < size && strchr(" \t\r\v\f", line[space]))
			space++;
		if (*tag)
		{
			if (size - space >= strlen(tag) && memcmp(line + space, tag, strlen(tag)) == 0)
				*tag = '\0';
			continue;
		}
		*name = scan_line(line, size);
		if (*name)
			return number;
		if (space < size)
		{
			char		words[512];
			char	   *start = words;

			clean(line, size, words, sizeof(words));
			start += strspn(start, "-");
			if (*start == '<' && strncmp(start, "<connection>", 12) != 0 && strchr(start, '>'))
				snprintf(tag, sizeof(tag), "</%.*s>", (int) strcspn(start + 1, ">"), start + 1);
		}
	}
	return 0;
}

/* scan_wireguard -- hooks that have a value, and anything that a shell could make something of */
int
scan_wireguard(const char *config, size_t length, const char **name)
{
	static const char *const keys[] = {"preup", "postup", "predown", "postdown", "saveconfig", NULL};
	size_t		at = 0;

	for (int number = 1; at < length; number++)
	{
		const char *newline = memchr(config + at, '\n', length - at);
		size_t		end = newline ? (size_t) (newline - config) : length;
		size_t		first = at;

		while (first < end && strchr(" \t\r\v\f", config[first]))
			first++;
		for (int i = 0; keys[i]; i++)
		{
			size_t		matched = 0;
			size_t		from = first;

			while (from < end && keys[i][matched] &&
				   (strchr(" \t\r\v\f", config[from]) || (config[from] | 0x20) == keys[i][matched]))
				matched += !strchr(" \t\r\v\f", config[from++]);
			while (from < end && strchr(" \t", config[from]))
				from++;
			if (from < end && config[from] == '=' && i < 4)
			{
				for (from++; from < end && strchr(" \t\r", config[from]); from++)
					;
				if (from == end || config[from] == '#')
					continue;
			}
			if (keys[i][matched] == '\0')
			{
				*name = keys[i];
				return number;
			}
		}
		for (size_t i = first; i < end && config[i] != '#'; i++)
			if (config[i] == '\0' || strchr("$`;|&<>(){}!*?~\\\"'", config[i]))
			{
				*name = "a shell's character";
				return number;
			}
		at = end + 1;
	}
	return 0;
}
