/*
 * fuzz.c -- generated configs and credentials through both parsers
 *
 *	fuzz CORPUS COUNT SEED [SAMPLES]
 *
 * Half of the configs are OpenVPN's, half WireGuard's: files of the corpus with random changes, lines put together from
 * words of the format, random bytes, and, a few times, lines of a megabyte and hundreds of thousands of lines. For
 * each config that is accepted:
 *	- the scanner, which knows nothing of the parsers, finds no refused directive in what was rendered;
 *	- all of the config is in what was rendered, byte for byte, apart from the credential;
 *	- the credential is in it, as the program reads it;
 *	- what was rendered, rendered again with another credential, is the config rendered with that one;
 *	- the same with a certificate and a key, which are in it once, or it is refused because it has another identity;
 *	- no memory that was freed held the credential;
 *	- an import leaves it as it is, and what is stored of it is rendered to the same.
 * Each config, accepted or refused, is also imported; OpenVPN's with files that some of its words name. What comes out passes
 * the check, and another import leaves it as it is; the scanner finds nothing in it.
 * A refusal is NG007 with a message. It never quotes the config: every config holds a word that no message may have.
 * Credentials are judged by a rule written here once more. Any failure ends the program, and leaves the config in
 * fuzz-failure. Under AddressSanitizer, any access outside of what was allocated does as well.
 *
 * SAMPLES is a folder that gets some of the accepted configs, as rendered, for the real programs to read.
 */
#include "standalone.h"

#include <dirent.h>
#include <time.h>

#include "config.h"
#include "errors.h"
#include "scanner.h"

#define MAX_SEEDS		256
#define MAX_SAMPLES		60

/* a key of WireGuard, and the zero after it */
#define KEY_SIZE		45

/* what no message may have */
#define CANARY			"ZZCANARYZZ"

/* what openvpn says when it reads this is known to configs.pl */
#define FORBIDDEN		"config egress-forbidden-file"

/* Bytes that grow. */
typedef struct Bytes
{
	char	   *data;
	size_t		length;
	size_t		capacity;
} Bytes;

/* What the parsers are called with, and what they returned. */
typedef struct Call
{
	bool		openvpn;
	text	   *config;
	const char *first;			/* username or private key, NULL without */
	const char *second;			/* password */
	text	   *result;
} Call;

/* of the WireGuard credential; NULL without */
static const char *address;
static const char *preshared_key;

static Bytes seeds[2][MAX_SEEDS];
static int	seed_count[2];
static uint64 random_state;
static const Bytes *current;
static int	accepted[2];
static int	refused[2];
static int	samples[2];
static int	imports;

/* which certificate and key an OpenVPN credential has, the first being none */
static int	certificate;
static const char *const certificates[] = {NULL, "-----BEGIN C 1-----\nMI\n-----END C-----\n", "-----BEGIN C 2-----\r\nMI\r\n"};
static const char *const client_keys[] = {NULL, "-----BEGIN K 1-----\nMI\n-----END K-----", "-----BEGIN K 2-----\nMI\n"};

/* fail -- say what is wrong, keep the config, and end */
static void
fail(const char *what, const char *detail)
{
	FILE	   *file = fopen("fuzz-failure", "wb");

	if (file && current)
		fwrite(current->data, 1, current->length, file);
	if (file)
		fclose(file);
	fprintf(stderr, "%s: %s\nthe config is in the file fuzz-failure\n", what, detail);
	exit(1);
}

/* dice -- a random number below a bound (xorshift64*) */
static uint32
dice(uint32 bound)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32) ((random_state * UINT64CONST(2685821657736338717)) >> 33) % bound;
}

/* replace -- put bytes in the place of others */
static void
replace(Bytes *bytes, size_t at, size_t removed, const char *data, size_t length)
{
	size_t		size = bytes->length - removed + length;

	if (size + 1 > bytes->capacity)
	{
		char	   *larger = realloc(bytes->data, (size + 1) * 2);

		if (larger == NULL)
			fail("out of memory", "");
		bytes->data = larger;
		bytes->capacity = (size + 1) * 2;
	}
	memmove(bytes->data + at + length, bytes->data + at + removed, bytes->length - at - removed);
	memcpy(bytes->data + at, data, length);
	bytes->length = size;
}

/* append -- put a string at the end */
static void
append(Bytes *bytes, const char *string)
{
	replace(bytes, bytes->length, 0, string, strlen(string));
}

/* a_line_start -- a random position where a line starts */
static size_t
a_line_start(const Bytes *bytes)
{
	size_t		at = dice(bytes->length + 1);

	while (at > 0 && bytes->data[at - 1] != '\n')
		at--;
	return at;
}

static const char key_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* a_key -- a random key of WireGuard */
static const char *
a_key(void)
{
	static char keys[4][KEY_SIZE];
	static int	next;
	char	   *key = keys[next++ % 4];

	for (int i = 0; i < 42; i++)
		key[i] = key_digits[dice(64)];
	key[42] = key_digits[dice(16) * 4];
	key[43] = '=';
	return key;
}

static const char *const openvpn_words[] = {
	"client", "remote vpn.example.com 1194", "remote 192.0.2.1", "dev tun", "proto udp", "proto tcp",
	"auth-user-pass", "auth-user-pass file", "nobind", "verb 3", "up /bin/sh", "down x", "route-up x",
	"ipchange x", "plugin x.so", "script-security 2", "config x", FORBIDDEN, "management 127.0.0.1 1",
	"management-hold", "user nobody", "chroot /", "cd /", "log x", "log-append x", "status x", "writepid x",
	"daemon", "ca file", "cert x", "key x", "tls-auth x 1", "askpass", "pkcs12 x", "crl-verify x", "dh x",
	"dh none", "http-proxy a 1 file", "http-proxy a 1 auto", "socks-proxy a 1 file", "tls-verify x", "engine x",
	"setenv LD_PRELOAD x", "setenv opt up x", "setenv opt config x", "setenv UV_X y",
	"setenv FORWARD_COMPATIBLE 1", "ignore-unknown-option up x", "dev-node x", "iproute x", "tmp-dir x",
	"replay-persist x", "<ca>", "</ca>", "<cert>", "</cert>", "<key>", "</key>", "<connection>", "</connection>",
	"<auth-user-pass>", "</auth-user-pass>", "<tls-auth>", "</tls-auth>", "<up>", "</up>", "#", ";", "--", "\"",
	"'", "\\", "setenv opt", "setenv", "[inline]", "block-outside-dns", "keepalive 10 60",
	"dhcp-option DNS 10.0.0.1", "pull", "redirect-gateway def1", "learn-address x", "client-connect x",
	"tls-remote a", "tls-remote /CN=a", "ca nobody", "ca y", "cert file", "pkcs12 x.so", "ca [inline]", "tls-auth [inline] 1", "<connection>\nremote h\nca file\n</connection>",
	"<connection>\nremote h\ntls-auth file 1\n</connection>", "<connection>\nremote h\ntls-remote x\n</connection>",
	"setenv opt foo", "ignore-unknown-option foo", "foo bar", "key-method 2", "script-security 3", "setenv PATH x",
	"dns-updown x", "providers x", "pkcs11-providers x", "capath x", "\xef\xbb\xbf", CANARY, " ", "\t", "\r", "\n",
	"\r\n", "\v", "\f", "\x01", "\x7f", "\x85", "\xff"
};

static const char *const wireguard_words[] = {
	"[Interface]", "[Peer]", "PrivateKey", "PrivateKey = ", "PublicKey = ", "PresharedKey = ",
	"Address = 10.0.0.2/32", "Address = $(id)", "DNS = 10.0.0.1", "DNS = `id`", "MTU = 1420", "Table = off",
	"Table = $(id)", "ListenPort = 51820", "FwMark = 0x1", "AllowedIPs = 0.0.0.0/0", "Endpoint = 192.0.2.1:51820",
	"PersistentKeepalive = 25", "PostUp = id", "PreUp = id", "PostDown = id", "PreDown = id", "SaveConfig = true",
	"postup=id", "Post Up = id", "PostUp", "=", "#", "[", "]", ",", "/", ":", "[interface]", "[PEER]", "[ Peer ]",
	"\xef\xbb\xbf", CANARY, " ", "\t", "\r", "\n", "\r\n", "\v", "\f", "\x01", "\x7f", "\x85", "\xff", "$", "`",
	";", "|", "&"
};

/* a_word -- a random word of a format */
static const char *
a_word(bool openvpn)
{
	if (!openvpn && dice(8) == 0)
		return a_key();
	return openvpn ? openvpn_words[dice(lengthof(openvpn_words))] : wireguard_words[dice(lengthof(wireguard_words))];
}

/* dress -- a line, as somebody would write it who wants it to be overlooked */
static void
dress(Bytes *line, const char *word)
{
	static const char *const before[] = {
		"", "", "", " ", "\t", "--", "\"", "'", "\\", "#", ";", "# ", "\r", "\v", "\xef\xbb\xbf", "setenv opt ",
		"--setenv opt ", "</ca>", "<", "x\r", "----", "\"\" "
	};
	static const char *const after[] = {"", "", "", "\r", " ", "\\", "\"", "'", " #", ";", "\t\"x\"", ">", "\x01"};

	line->length = 0;
	append(line, before[dice(lengthof(before))]);
	append(line, word);
	append(line, after[dice(lengthof(after))]);
	if (dice(8) == 0)
		replace(line, dice(line->length + 1), 0, &"\"'\\ \t-\r<>#"[dice(10)], 1);
	if (dice(8) != 0)
		append(line, dice(4) ? "\n" : "\r\n");
}

/* mutate -- change a config once */
static void
mutate(Bytes *config, bool openvpn)
{
	static Bytes line;
	size_t		at = dice(config->length + 1);
	char		byte;

	switch (dice(14))
	{
		case 0:
			byte = 1 + dice(255);
			if (at < config->length)
				config->data[at] = byte;
			break;
		case 1:
			byte = 1 + dice(255);
			replace(config, at, 0, &byte, 1);
			break;
		case 2:
			byte = dice(33) == 32 ? 127 : 1 + dice(31);
			replace(config, at, 0, &byte, 1);
			break;
		case 3:
			replace(config, at, dice(Min(config->length - at, 40) + 1), "", 0);
			break;
		case 4:
		case 5:
		case 6:
			dress(&line, a_word(openvpn));
			replace(config, a_line_start(config), 0, line.data, line.length);
			break;
		case 7:
			dress(&line, a_word(openvpn));
			replace(config, at, 0, line.data, line.length);
			break;
		case 8:					/* without a line */
			at = a_line_start(config);
			for (size_t end = at; end < config->length; end++)
				if (config->data[end] == '\n')
				{
					replace(config, at, end + 1 - at, "", 0);
					break;
				}
			break;
		case 9:					/* a part of another config */
			{
				const Bytes *other = &seeds[openvpn][dice(seed_count[openvpn])];
				size_t		from = a_line_start(other);

				replace(config, a_line_start(config), 0, other->data + from, dice(other->length - from + 1));
			}
			break;
		case 10:				/* other line ends */
			for (size_t i = 0; i < config->length; i++)
				if (config->data[i] == '\n' && dice(3) == 0)
					replace(config, i++, 0, "\r", 1);
			break;
		case 11:				/* a line about as long as openvpn's buffer, and something at its end */
			{
				size_t		length = 240 + dice(32);

				line.length = 0;
				if (dice(2))
					append(&line, "<extra-certs>\n");
				for (size_t i = 0; i < length; i++)
					append(&line, i == 0 && dice(2) ? "#" : dice(3) ? "x" : " ");
				append(&line, a_word(openvpn));
				append(&line, " ");
				append(&line, a_word(openvpn));
				append(&line, dice(2) ? "\n</extra-certs>\n" : "\n");
				replace(config, a_line_start(config), 0, line.data, line.length);
			}
			break;
		case 12:				/* a block */
			if (openvpn)
			{
				static const char *const tags[] = {
					"ca", "connection", "auth-user-pass", "tls-auth", "http-proxy-user-pass"
				};
				const char *tag = tags[dice(lengthof(tags))];
				size_t		end;

				at = a_line_start(config);
				end = at + dice(config->length - at + 1);
				line.length = 0;
				append(&line, dice(4) ? "" : " ");
				append(&line, "</");
				append(&line, tag);
				append(&line, dice(8) ? ">\n" : "> x\n");
				replace(config, end, 0, line.data, line.length);
				line.length = 0;
				append(&line, "<");
				append(&line, tag);
				append(&line, ">\n");
				replace(config, at, 0, line.data, line.length);
			}
			break;
		case 13:				/* no newline at the end */
			while (config->length > 0 && strchr("\r\n", config->data[config->length - 1]))
				config->length--;
			break;
	}
}

/* generate -- a config */
static void
generate(Bytes *config, bool openvpn, int number)
{
	int			changes;

	config->length = 0;
	if (number % 2500 < 2)		/* huge */
	{
		const char *word = a_word(openvpn);
		int			kind = dice(3);
		static char megabyte[1024 * 1024 + 1];

		memset(megabyte, kind == 0 ? 'x' : '\t', sizeof(megabyte) - 1);
		append(config, openvpn ? "remote h\n" : "[Peer]\nPublicKey=");
		append(config, openvpn ? "<ca>\n" : a_key());
		append(config, openvpn ? "" : "\n[Interface]\n");
		if (kind < 2)
			append(config, megabyte);
		else
			for (int i = 0; i < 200000; i++)
				append(config, dice(2) ? "\n" : "#\n");
		append(config, word);
		append(config, openvpn ? "\n</ca>\n" : "\n");
		return;
	}
	switch (dice(10))
	{
		case 0:					/* random bytes */
			for (int i = dice(400); i > 0; i--)
				replace(config, config->length, 0, (const char[]) {1 + dice(255)}, 1);
			return;
		case 1:
		case 2:					/* random lines */
			append(config, openvpn ? "remote h\n" : dice(2) ? "[Interface]\n" : "");
			for (int i = dice(12); i > 0; i--)
			{
				append(config, a_word(openvpn));
				if (!openvpn && config->data[config->length - 1] == ' ' && dice(4))
					append(config, a_key());
				append(config, dice(6) ? "\n" : " ");
			}
			return;
	}
	{
		const Bytes *seed = &seeds[openvpn][dice(seed_count[openvpn])];

		replace(config, 0, 0, seed->data, seed->length);
	}
	changes = dice(dice(4) ? 3 : 8);
	while (changes-- > 0)
		mutate(config, openvpn);
	if (dice(4) == 0)
	{
		append(config, config->length && config->data[config->length - 1] != '\n' ? "\n#" : "#");
		append(config, CANARY);
	}
}

/* call -- check and render */
static void
call(void *argument)
{
	Call	   *c = argument;

	if (c->openvpn)
	{
		EgressOpenvpnCredential credential = {.username = c->first, .password = c->second};

		credential.client_certificate = certificates[certificate];
		credential.client_key = client_keys[certificate];
		config_openvpn_check(c->config);
		config_openvpn_has_certificate(c->config);
		c->result = config_openvpn_render(c->config, &credential);
	}
	else
	{
		config_wireguard_check(c->config);
		c->result = config_wireguard_render(c->config, &(EgressWireguardCredential) {c->first, address, preshared_key});
	}
}

/* render -- a config with a credential, into bytes; false if it is refused */
static bool
render(bool openvpn, const Bytes *config, const char *first, const char *second, Bytes *result)
{
	Call		c = {openvpn, make_text(config->data, config->length), first, second, NULL};
	bool		ok;

	/* a short one is anywhere by chance */
	standalone_secret = openvpn ? second : first;
	if (standalone_secret && strlen(standalone_secret) < 12)
		standalone_secret = NULL;
	ok = attempt(call, &c);
	result->length = 0;
	if (ok)
		replace(result, 0, 0, VARDATA(c.result), VARSIZE(c.result) - VARHDRSZ);

	/* a config may hold by itself what the credential is; it is no copy of it */
	memset(c.config, 0, VARSIZE(c.config));
	free_all(c.result);
	standalone_secret = NULL;

	if (!ok && (standalone_error.code != ERRCODE_EGRESS_CONFIG ||
				!*standalone_error.message || !*standalone_error.detail))
		fail("not a proper refusal", standalone_error.message);
	if (!ok && (strstr(standalone_error.message, CANARY) || strstr(standalone_error.detail, CANARY) ||
				strstr(standalone_error.hint, CANARY)))
		fail("a message quotes the config", standalone_error.message);
	return ok;
}

/* next_line -- the length of a line, with its newline */
static size_t
next_line(const Bytes *bytes, size_t at)
{
	const char *newline = memchr(bytes->data + at, '\n', bytes->length - at);

	return newline ? (size_t) (newline - (bytes->data + at)) + 1 : bytes->length - at;
}

/* closes_block -- does a line end <auth-user-pass>? */
static bool
closes_block(const char *line, size_t length)
{
	static const char tag[] = "</auth-user-pass>";
	size_t		space = 0;

	while (space < length && (line[space] == ' ' || line[space] == '\t'))
		space++;
	return length - space >= strlen(tag) && memcmp(line + space, tag, strlen(tag)) == 0;
}

/*
 * compare_openvpn -- without the credential's block, is what was rendered the config without auth-user-pass?
 *
 * A line of the config that is not in the result must be one that the scanner takes for auth-user-pass, and from
 * <auth-user-pass> to its end.
 */
static void
compare_openvpn(const Bytes *config, const Bytes *result, const char *username, const char *password)
{
	static Bytes rest;
	char		block[1024];
	char	   *found;
	size_t		at = 0;
	size_t		in_rest = 0;
	bool		added;

	snprintf(block, sizeof(block), "<auth-user-pass>\n%s\n%s\n</auth-user-pass>", username, password);
	found = memmem(result->data, result->length, block, strlen(block));
	if (found == NULL)
		fail("the credential is not in the config", block);
	if (found > result->data && found[-1] != '\n' &&
		!(found - result->data == 3 && memcmp(result->data, "\xef\xbb\xbf", 3) == 0))
		fail("the credential is not on a line of its own", block);
	rest.length = 0;
	replace(&rest, 0, 0, result->data, result->length);
	replace(&rest, found - result->data, strlen(block), "", 0);

	/* a block at the end that was added ends in a newline of its own, and may need one before it */
	added = found - result->data >= (ptrdiff_t) config->length &&
		memcmp(config->data, result->data, config->length) == 0;
	if (added)
	{
		size_t		more = rest.length - config->length;

		if (more != (config->data[config->length - 1] == '\n' ? 1 : 2))
			fail("more was added than the credential", "");
		return;
	}
	while (at < config->length)
	{
		size_t		length = next_line(config, at);
		size_t		rest_length = in_rest < rest.length ? next_line(&rest, in_rest) : 0;
		char		word[512];

		if (length == rest_length && memcmp(config->data + at, rest.data + in_rest, length) == 0)
		{
			at += length;
			in_rest += length;
			continue;
		}
		scan_word(config->data + at, length, word, sizeof(word));
		if (strcmp(word, "<auth-user-pass>") == 0)
		{
			do
			{
				at += length;
				if (at == config->length)
					fail("a block without an end is gone", word);
				length = next_line(config, at);
			} while (!closes_block(config->data + at, length));
		}
		else if (strcmp(word, "auth-user-pass") != 0)
			fail("a line is gone", word);

		/* the end of the line that was replaced may have stayed, and a byte order mark */
		if (in_rest == 0 && rest.length >= 3 && at == 0 && memcmp(rest.data, "\xef\xbb\xbf", 3) == 0)
		{
			in_rest += 3;
			rest_length = next_line(&rest, in_rest);
		}
		at += length;
		if (rest_length > 0 && in_rest == (size_t) (found - result->data))
			for (size_t i = at - Min(rest_length, length); i <= at; i++)
				if (at - i == rest_length && memcmp(config->data + i, rest.data + in_rest, rest_length) == 0 &&
					strspn(rest.data + in_rest, "\r\n") >= rest_length)
				{
					in_rest += rest_length;
					break;
				}
	}
	if (in_rest != rest.length)
		fail("something was added", rest.data + in_rest);
}

/* What a line of a WireGuard config is. */
typedef struct WireguardLine
{
	const char *start;
	size_t		length;			/* with its end */
	char		section;		/* i or p for a section's name, 0 for other lines */
	char		key[16];		/* in lower case and without white space, or empty */
	size_t		value;			/* where its value is, and how long */
	size_t		value_length;
	size_t		comment;		/* where its comment or its end is */
	size_t		end;			/* where its end is */
} WireguardLine;

/* read_wireguard -- the line of a WireGuard config at a place; false at the end */
static bool
read_wireguard(const Bytes *config, size_t at, WireguardLine *line)
{
	size_t		first;
	size_t		last;
	size_t		length = 0;

	memset(line, 0, sizeof(*line));
	if (at >= config->length)
		return false;
	line->start = config->data + at;
	line->length = next_line(config, at);
	line->end = line->length;
	if (line->start[line->end - 1] == '\n')
		line->end--;
	while (line->end > 0 && line->start[line->end - 1] == '\r')
		line->end--;
	while (line->comment < line->end && line->start[line->comment] != '#')
		line->comment++;

	for (first = 0; first < line->comment && strchr(" \t", line->start[first]); first++)
		;
	for (last = line->comment; last > first && strchr(" \t", line->start[last - 1]); last--)
		;
	if (first < last && line->start[first] == '[')
	{
		line->section = line->start[first + 1] | 0x20;
		return true;
	}
	for (; first < last && line->start[first] != '='; first++)
		if (!strchr(" \t", line->start[first]) && length < sizeof(line->key) - 1)
			line->key[length++] = line->start[first] >= 'A' && line->start[first] <= 'Z' ? line->start[first] | 0x20 : line->start[first];
	if (first < last)
		first++;
	line->value = first;
	while (line->value < last && strchr(" \t", line->start[line->value]))
		line->value++;
	if (line->value == last)
		line->value = first < line->comment && strchr(" \t", line->start[first]) &&
			(first + 1 == line->comment || strchr(" \t", line->start[first + 1])) ? first + 1 : first;
	else
		line->value_length = last - line->value;
	return true;
}

/* has_key -- is there a line of this key, from a place on to the next section's name? */
static bool
has_key(const Bytes *config, size_t at, const char *key)
{
	WireguardLine line;

	for (; read_wireguard(config, at, &line) && !line.section; at += line.length)
		if (strcmp(line.key, key) == 0)
			return true;
	return false;
}

/*
 * compare_wireguard -- is what was rendered the config with the credential's parts in the place of its own?
 *
 * That is worked out here once more, line by line.
 */
static void
compare_wireguard(const Bytes *config, const Bytes *result, const char *private_key)
{
	const struct
	{
		char		section;
		const char *key;
		const char *label;
		const char *value;
	}			parts[] = {
		{'i', "privatekey", "PrivateKey = ", private_key},
		{'i', "address", "Address = ", address},
		{'p', "presharedkey", "PresharedKey = ", preshared_key},
	};
	static Bytes expected;
	WireguardLine line;
	char		section = '\0';
	bool		seen[lengthof(parts)];

	expected.length = 0;
	for (size_t at = 0; read_wireguard(config, at, &line); at += line.length)
	{
		size_t		i = 0;

		if (line.section)
		{
			bool		has_newline = line.start[line.length - 1] == '\n';

			section = line.section;
			memset(seen, 0, sizeof(seen));
			replace(&expected, expected.length, 0, line.start, has_newline ? line.length : line.end);
			for (i = 0; i < lengthof(parts); i++)
				if (parts[i].section == section && parts[i].value && !has_key(config, at + line.length, parts[i].key))
				{
					append(&expected, has_newline ? "" : "\n");
					append(&expected, parts[i].label);
					append(&expected, parts[i].value);
					append(&expected, !has_newline ? "" : line.length - line.end > 1 ? "\r\n" : "\n");
				}
			if (!has_newline)
				replace(&expected, expected.length, 0, line.start + line.end, line.length - line.end);
			continue;
		}
		while (i < lengthof(parts) && !(parts[i].section == section && parts[i].value && strcmp(line.key, parts[i].key) == 0))
			i++;
		if (i == lengthof(parts))
			replace(&expected, expected.length, 0, line.start, line.length);
		else if (!seen[i])
		{
			replace(&expected, expected.length, 0, line.start, line.value);
			append(&expected, parts[i].value);
			replace(&expected, expected.length, 0, line.start + line.value + line.value_length,
					line.length - line.value - line.value_length);
			seen[i] = true;
		}
		else if (line.comment < line.end)
		{
			size_t		space = strspn(line.start, " \t");

			replace(&expected, expected.length, 0, line.start, space);
			replace(&expected, expected.length, 0, line.start + line.comment, line.length - line.comment);
		}
	}
	if (expected.length != result->length || memcmp(expected.data, result->data, result->length) != 0)
		fail("not the config with the credential in it", "");
}

/* count -- how often is this in what was rendered? */
static int
count_of(const Bytes *result, const char *wanted)
{
	int			found = 0;

	for (size_t i = 0; i + strlen(wanted) <= result->length; i++)
		found += memcmp(result->data + i, wanted, strlen(wanted)) == 0;
	return found;
}

/* try_certificate -- a config with a certificate and a key, and with a username and a password or without */
static void
try_certificate(const Bytes *config, const char *username, const char *password)
{
	static Bytes result;
	static Bytes again;
	static Bytes other;
	const char *name = NULL;

	certificate = 1;
	if (!render(true, config, username, password, &result))
	{
		if (strstr(standalone_error.hint, "no client_certificate") == NULL)
			fail("refused with a certificate", standalone_error.message);
		certificate = 0;
		return;
	}
	if (count_of(&result, "<cert>\n-----BEGIN C 1-----\nMI\n-----END C-----\n</cert>") != 1 ||
		count_of(&result, "<key>\n-----BEGIN K 1-----\nMI\n-----END K-----\n</key>") != 1)
		fail("the certificate or the key is not in the config once", "");
	if (scan_openvpn(result.data, result.length, &name) > 0)
		fail("a refused directive was accepted", name);
	certificate = 2;
	if (!render(true, config, username, password, &other) || !render(true, &result, username, password, &again))
		fail("what was rendered with a certificate is refused", standalone_error.message);
	if (other.length != again.length || memcmp(other.data, again.data, other.length) != 0)
		fail("rendered twice with a certificate is not rendered once", "");
	certificate = 0;
}

/* the files that an import may find: good ones, a binary one, and some that would be more than the content of a block */
static EgressConfigFile beside[] = {
	{"file", "text of a file\r\n", 16, false, true, NULL, false},
	{"folder/x", "other text", 10, false, true, NULL, false},
	{"x.so", "a\0b", 3, true, false, NULL, false},
	{"nobody", "</ca>\nup x\n<ca>\n", 17, false, true, NULL, false},
	{"y", "\rup x\n", 6, false, true, NULL, false}
};
static EgressConfigFiles files = {beside, lengthof(beside)};

/* What import_config() or store_config() is called with, and what they returned. */
typedef struct ImportCall
{
	text	   *source;
	EgressConfigImport import;
	List	   *secrets;
	text	   *result;
} ImportCall;

/* import_config -- import an OpenVPN config */
static void
import_config(void *argument)
{
	ImportCall *c = argument;

	c->result = config_openvpn_import(c->source, &c->import);
}

/* store_config -- what an OpenVPN config is stored as */
static void
store_config(void *argument)
{
	ImportCall *c = argument;

	c->result = config_openvpn_stored(c->source, &c->secrets);
}

/* convert -- call one of the two, into bytes; false if it refuses. *removed: how many lines an import took out */
static bool
convert(void (*function) (void *argument), const Bytes *config, bool apart, Bytes *result, int *removed)
{
	ImportCall	c = {.source = make_text(config->data, config->length)};
	bool		ok;

	config_sort_files(&files);
	c.import.files = &files;
	c.import.apart = apart;
	ok = attempt(function, &c);
	*removed = list_length(c.import.removed);
	result->length = 0;
	if (ok)
		replace(result, 0, 0, VARDATA(c.result), VARSIZE(c.result) - VARHDRSZ);
	free_all(NULL);
	if (!ok && standalone_error.code != ERRCODE_EGRESS_CONFIG)
		fail("not a proper refusal of an import", standalone_error.message);
	if (!ok && (strstr(standalone_error.message, CANARY) || strstr(standalone_error.detail, CANARY) ||
				strstr(standalone_error.hint, CANARY)))
		fail("a message of an import quotes the config", standalone_error.message);
	return ok;
}

/* try_openvpn_import -- one OpenVPN config, which the check accepts or refuses, through an import */
static void
try_openvpn_import(const Bytes *config, bool is_accepted)
{
	static Bytes imported;
	static Bytes again;
	static Bytes result;
	const char *name = NULL;
	int			removed;

	for (int apart = 0; apart < 2; apart++)
	{
		if (!convert(import_config, config, apart, &imported, &removed))
		{
			if (is_accepted)
				fail("an import refuses what the check accepts", standalone_error.message);
			return;
		}
		if (!apart && is_accepted &&
			(removed > 0 || imported.length != config->length || memcmp(imported.data, config->data, config->length) != 0))
			fail("an import changes what the check accepts", "");
		if (!is_accepted)
			imports++;
		if (!render(true, &imported, "user", "secret one and more", &result))
			fail("what was imported is refused", standalone_error.message);
		if (scan_openvpn(result.data, result.length, &name) > 0)
			fail("a refused directive came out of an import", name);
		if (!convert(import_config, &imported, false, &again, &removed) || removed > 0 ||
			again.length != imported.length || memcmp(again.data, imported.data, again.length) != 0)
			fail("an import changes what an import made", "");
	}
}

/* try_stored -- what is stored of an OpenVPN config that is accepted: with a login it is rendered to the same */
static void
try_stored(const Bytes *config, const Bytes *rendered, const char *username, const char *password)
{
	static Bytes stored;
	static Bytes result;
	int			removed;

	if (!convert(store_config, config, false, &stored, &removed))
		fail("what the check accepts cannot be stored", standalone_error.message);
	if (!render(true, &stored, username, password, &result))
		fail("what is stored is refused", standalone_error.message);
	if (result.length != rendered->length || memcmp(result.data, rendered->data, result.length) != 0)
		fail("what is stored is rendered to something else", "");
}

/* sample -- keep what was rendered for the real programs */
static void
sample(const char *folder, bool openvpn, const Bytes *result)
{
	char		path[1024];
	FILE	   *file;

	if (samples[openvpn] == MAX_SAMPLES || result->length > 100000)
		return;
	snprintf(path, sizeof(path), "%s/%d.%s", folder, samples[openvpn]++, openvpn ? "ovpn" : "conf");
	file = fopen(path, "wb");
	if (file == NULL || fwrite(result->data, 1, result->length, file) != result->length)
		fail("cannot write", path);
	fclose(file);
}

/* import_and_check -- what an import makes of a config passes the check, and says the same when it is imported again */
static void
import_and_check(void *argument)
{
	Call	   *c = argument;
	EgressConfigImport first = {.apart = dice(2)};
	EgressConfigImport second = {.apart = first.apart};
	List	   *secrets = NULL;
	bool		had_private_key;
	text	   *again;

	c->result = config_wireguard_import(c->config, &first);
	config_wireguard_check(c->result);
	again = config_wireguard_import(c->result, &second);
	if (second.removed || VARSIZE(again) != VARSIZE(c->result) || memcmp(again, c->result, VARSIZE(again)) != 0)
		fail("an import of what was imported changes it", "");
	again = config_wireguard_stored(c->result, &secrets, &had_private_key);
	if (had_private_key || VARSIZE(again) != VARSIZE(c->result) || memcmp(again, c->result, VARSIZE(again)) != 0)
		fail("what was imported is not stored as it is", "");
	if (first.apart && (first.private_key || first.address || first.preshared_key))
		config_wireguard_check_credential(&(EgressWireguardCredential) {first.private_key, first.address, first.preshared_key});
}

/* try_import -- one WireGuard config through the import; what the check accepts, it takes; returns whether it did */
static bool
try_import(const Bytes *config)
{
	const char *name;
	Call		c = {false, make_text(config->data, config->length), NULL, NULL, NULL};
	bool		ok = attempt(import_and_check, &c);

	if (ok && scan_wireguard(VARDATA(c.result), VARSIZE(c.result) - VARHDRSZ, &name) > 0)
		fail("a refused key was imported", name);
	if (!ok && (standalone_error.code != ERRCODE_EGRESS_CONFIG || strstr(standalone_error.message, "cannot be used with WireGuard")))
		fail("not a proper refusal of an import", standalone_error.message);
	free_all(NULL);
	return ok;
}

/* try_config -- one config through its parser */
static void
try_config(const Bytes *config, bool openvpn, const char *folder)
{
	static Bytes result;
	static Bytes again;
	static Bytes other;
	const char *name = NULL;
	static char preshared[KEY_SIZE];
	bool		is_imported;
	char		first[2][KEY_SIZE] = {"user one", "user:two"};
	char		second[2][KEY_SIZE] = {" pass#word;one ", "\"pass\\word two'"};
	int			line;

	current = config;
	if (!openvpn)
	{
		memcpy(first[0], a_key(), KEY_SIZE);
		memcpy(first[1], a_key(), KEY_SIZE);
		memcpy(preshared, a_key(), KEY_SIZE);
		preshared_key = dice(2) ? preshared : NULL;
		address = dice(2) ? "10.64.0.7/32, fd00::7" : NULL;
	}
	is_imported = openvpn || try_import(config);
	if (!render(openvpn, config, first[0], second[0], &result))
	{
		refused[openvpn]++;
		if (openvpn)
			try_openvpn_import(config, false);
		if (render(openvpn, config, first[1], second[1], &other))
			fail("refused once and accepted once", "");
		return;
	}
	accepted[openvpn]++;
	if (!is_imported)
		fail("accepted, and not imported", "");
	if (openvpn)
	{
		try_openvpn_import(config, true);
		try_stored(config, &result, first[0], second[0]);
	}

	line = (openvpn ? scan_openvpn : scan_wireguard) (result.data, result.length, &name);
	if (line > 0)
		fail("a refused directive was accepted", name);
	if (openvpn)
		compare_openvpn(config, &result, first[0], second[0]);
	else
		compare_wireguard(config, &result, first[0]);

	if (!render(openvpn, config, first[1], second[1], &other) || !render(openvpn, &result, first[1], second[1], &again))
		fail("what was rendered is refused", standalone_error.message);
	if (other.length != again.length || memcmp(other.data, again.data, other.length) != 0)
		fail("rendered twice is not rendered once", "");
	if (openvpn)
	{
		if (!render(openvpn, config, NULL, NULL, &other))
			fail("refused without a credential", standalone_error.message);
		line = scan_openvpn(other.data, other.length, &name);
		if (line > 0)
			fail("a refused directive was accepted", name);
		try_certificate(config, first[0], second[0]);
		try_certificate(config, NULL, NULL);
	}
	if (folder && dice(60) == 0)
		sample(folder, openvpn, &result);
}

/* check_credential -- a credential through its check */
static void
check_credential(void *argument)
{
	Call	   *c = argument;

	if (c->openvpn)
		config_openvpn_check_credential(&(EgressOpenvpnCredential) {.username = c->first, .password = c->second});
	else
		config_wireguard_check_credential(&(EgressWireguardCredential) {.private_key = c->first});
}

/* is_good -- the rule for usernames and passwords, once more */
static bool
is_good(const char *value)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char) *c < 32 || *c == 127 ||
			(*c == '\xc2' && (unsigned char) c[1] >= 0x80 && (unsigned char) c[1] < 0xa0))
			return false;
	return strlen(value) >= 1 && strlen(value) <= 127 && strstr(value, "</auth-user-pass>") == NULL;
}

/* try_credential -- a random credential, and if it is good, a config rendered with it */
static void
try_credential(void)
{
	static const char block_end[] = "</auth-user-pass>";
	static const Bytes config = {(char *) "client\nremote h\nauth-user-pass\n", 31, 0};
	static Bytes result;
	bool		openvpn = dice(4) != 0;
	char		values[2][400];
	bool		good;
	Call		c = {openvpn, NULL, values[0], values[1], NULL};

	current = NULL;
	for (int i = 0; i < 2; i++)
	{
		size_t		length = dice(10) ? dice(40) : dice(200);

		for (size_t j = 0; j < length; j++)
			values[i][j] = dice(60) ? ' ' + dice(95) : 1 + dice(255);
		values[i][length] = '\0';
		if (dice(30) == 0)
			memcpy(values[i] + dice(length + 1), block_end, sizeof(block_end));
	}
	if (openvpn)
		good = is_good(values[0]) && is_good(values[1]);
	else
	{
		memcpy(values[0], a_key(), KEY_SIZE);
		good = dice(2);
		if (!good)
			switch (dice(4))
			{
				case 0:
					values[0][dice(44)] = "!\n -=\x80"[dice(6)];
					good = strspn(values[0], key_digits) == 43 && strcmp(values[0] + 43, "=") == 0;
					break;
				case 1:
					values[0][dice(44)] = '\0';
					break;
				case 2:
					values[0][42] = 'B';
					break;
				case 3:
					values[0][44] = '\n';
					values[0][45] = '\0';
					break;
			}
	}
	if (attempt(check_credential, &c) != good)
		fail(good ? "a good credential was refused" : "a bad credential was accepted", values[0]);
	if (!good && ((strlen(values[0]) > 8 && strstr(standalone_error.message, values[0])) ||
				  standalone_error.code != ERRCODE_EGRESS_CONFIG))
		fail("not a proper refusal", standalone_error.message);
	if (good && openvpn)
	{
		if (!render(openvpn, &config, values[0], values[1], &result))
			fail("a good credential was refused", standalone_error.message);
		compare_openvpn(&config, &result, values[0], values[1]);
	}
}

/* try_control_characters -- each at each place of a small config: none is accepted but tab and the line's ends */
static void
try_control_characters(void)
{
	static const char *const configs[2] = {
		"[Interface]\n#c\n[Peer]\nPublicKey=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
		"remote h\n#c\n<ca>\nx\n</ca>\n"
	};
	static Bytes config;
	static Bytes result;

	for (int openvpn = 0; openvpn < 2; openvpn++)
		for (size_t at = 0; at <= strlen(configs[openvpn]); at++)
			for (int c = 1; c < 129; c++)
			{
				char		byte = c == 128 ? '\x7f' : c;

				if (c >= ' ' && c < 128)
					continue;
				config.length = 0;
				append(&config, configs[openvpn]);
				replace(&config, at, 0, &byte, 1);
				current = &config;
				if (byte == '\t' || byte == '\n' || (byte == '\r' && strchr("\n", configs[openvpn][at])))
					continue;
				if (render(openvpn, &config, openvpn ? "u" : a_key(), "secret one", &result))
					fail("a control character was accepted", "");
			}
}

/* read_seeds -- the files of a folder, in the order of their names */
static void
read_seeds(const char *corpus, bool openvpn, const char *folder)
{
	char		path[1024];
	struct dirent **entries;
	int			count;

	snprintf(path, sizeof(path), "%s/%s/%s", corpus, openvpn ? "openvpn" : "wireguard", folder);
	count = scandir(path, &entries, NULL, alphasort);
	if (count < 0)
		fail("cannot read", path);
	for (int i = 0; i < count; i++)
	{
		if (strstr(entries[i]->d_name, openvpn ? ".ovpn" : ".conf") && seed_count[openvpn] < MAX_SEEDS)
		{
			char		name[2048];
			char		data[65536];
			size_t		length;
			FILE	   *file;

			snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
			file = fopen(name, "rb");
			if (file == NULL)
				fail("cannot read", name);
			length = fread(data, 1, sizeof(data), file);
			fclose(file);
			replace(&seeds[openvpn][seed_count[openvpn]++], 0, 0, data, length);
		}
		free(entries[i]);
	}
	free(entries);
}

int
main(int argc, char **argv)
{
	int			count;
	int			credentials;

	if (argc < 4)
		return 2;
	count = atoi(argv[2]);
	random_state = UINT64CONST(88172645463325252) + strtoull(argv[3], NULL, 10) * 2654435761u;
	for (int openvpn = 0; openvpn < 2; openvpn++)
	{
		/* accepted files twice as often */
		read_seeds(argv[1], openvpn, "accepted");
		read_seeds(argv[1], openvpn, "accepted");
		read_seeds(argv[1], openvpn, "refused");
	}

	try_control_characters();
	credentials = count / 4;
	for (int i = 0; i < count - credentials; i++)
	{
		static Bytes config;

		generate(&config, i % 2, i);
		try_config(&config, i % 2, argc > 4 ? argv[4] : NULL);
	}
	for (int i = 0; i < credentials; i++)
		try_credential();

	printf("openvpn: %d accepted, %d refused, %d of these imported; wireguard: %d accepted, %d refused; %d credentials\n",
		   accepted[1], refused[1], imports / 2, accepted[0], refused[0], credentials);
	return 0;
}
