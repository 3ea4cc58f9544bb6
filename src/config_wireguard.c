/*
 * config_wireguard.c -- WireGuard configs as wg(8) and wg-quick(8) read them
 *
 * Two programs read the file. wg-quick is a bash script: it takes its own keys (Address, DNS, MTU, Table, the hooks and
 * SaveConfig) out of [Interface], by the text before the first "=" without the white space around it, and gives every
 * other line to wg. wg removes all white space of a line before it looks. Both cut a line at "#" and ignore letter
 * case. A line is accepted here only if both programs read it the same way.
 *
 * Keys that are not known are refused, as wg refuses them. Of wg-quick's keys the hooks are refused, because it hands
 * their values to eval, if there are any, and SaveConfig, because it writes the file anew. The values of the others reach
 * ip(8) and resolvconf(8), some of them unquoted in the script, where the shell splits them and expands wildcards: they are
 * accepted only in a form that has no character that means anything to a shell.
 *
 * Rendering puts what the credential has in the place of the config's: PrivateKey, and Address if it has one, in
 * [Interface], PresharedKey, if it has one, in each [Peer]. The first line of the name keeps all but its value, others
 * of the name go; without one, a line is added under the section's name. All other bytes stay.
 *
 * What is stored is rendered with an empty private key, as a lease's takes its place anyway. An import does so as well, and
 * takes out what is refused because it is for the agent or for another program, and what is for the agent alone.
 */
#include "config.h"

#include <sys/socket.h>

#include "lib/stringinfo.h"

#include "errors.h"

/* 32 bytes in base64 */
#define KEY_LENGTH	44

static const char *const RUNS_COMMAND = "wg-quick runs its value as a command on the agent.";
static const char *const WRITES_FILE = "wg-quick would write the config's file on the agent anew.";
static const char *const OF_AMNEZIA = "It is a key of AmneziaWG, which wg and wg-quick do not have.";
static const char *const OF_ANDROID = "It is a key of WireGuard for Android, which wg and wg-quick do not have.";
static const char *const LEFT_TO_HOOK = "It leaves the routes to a PreUp or PostUp, which an import takes out.";
static const char *const NO_TABLE = "Without it, wg-quick makes the routes of AllowedIPs.";
static const char *const FOR_AGENT = "It is for the routing of the agent, which sets its own.";
static const char *const OF_LEASE = "Its value is left out: a lease's key takes its place.";
static const char *const NOT_READ = "wg does not read it.";
static const char *const PRESHARED_KEY = "PresharedKey";
static const char *const USE_CUSTOM = "A provider of type custom takes any config.";

typedef enum Section
{
	SECTION_NONE,
	SECTION_INTERFACE,
	SECTION_PEER,
	SECTION_UNKNOWN				/* one that is refused: its keys are not */
} Section;

/* A key of a section. */
typedef struct WireguardKey
{
	Section		section;
	const char *name;
	bool		for_wg;			/* wg's, not wg-quick's */
	bool		(*is_valid) (char *value);	/* may change the value; NULL if any is */
	const char *takes;			/* what a valid value is */
	const char *reason;			/* why it is refused, and taken out by an import, or NULL */
} WireguardKey;

/* what keys take */
#define KEY				"It takes a key: 32 bytes in base64, 44 characters of which the last is \"=\", and \"+\" and \"/\" but not \"-\" and \"_\"."
#define ENDPOINT		"It takes host:port, or [address]:port where the address has colons; no scheme such as http://, and no path."
#define ADDRESSES		"It takes addresses, each with or without the length of a prefix, separated by commas."
#define ROUTES			"It takes addresses, each with or without the length of a prefix, and one comma between two."
#define NAME_SERVERS	"It takes addresses of name servers, and search domains, separated by commas."
#define PORT			"It takes a port: a number from 0 to 65535."
#define MARK			"It takes a number, 0x and a hexadecimal one, or off."
#define MTU				"It takes a number from 68 to 65535, or nothing."
#define TABLE			"It takes the number or name of a routing table, auto or off."
#define SECONDS			"It takes seconds from 0 to 65535, without a unit, or off."

/* nothing is rendered */
static const EgressWireguardCredential no_credential;

/* A key of a section that is set to what the credential has. */
typedef struct Setting
{
	const char *line;			/* what a line of its own begins with */
	const char *value;			/* NULL: the config's stays */
	bool		is_set;			/* a line of it was there */
	EgressConfigLine header;	/* of the section */
	size_t		reserved;		/* the edits at which a line may be added */
} Setting;

/* the edits of a line that is added: what it begins with, its value, its end */
#define LINE_EDITS		3

/* What a config holds. */
typedef struct WireguardConfig
{
	EgressConfigReader reader;
	EgressConfigLine header;	/* the line [Interface], if number > 0 */
	Setting		private_key;
	Setting		address;
	Setting		preshared_key;	/* of the [Peer] that is read */
	bool		has_private_key;	/* the config itself has a value of it */
	bool		has_preshared_key;	/* the config itself, in any [Peer] */
	bool		peer_has_preshared_key; /* the [Peer] that is read */
	bool		preshared_keys_differ;	/* or one [Peer] has none */
	bool		has_up_hook;	/* PreUp or PostUp runs something */
	int			table_line;		/* where Table is set to one that has no routes by itself, 0 otherwise */
	EgressConfigImport *import; /* NULL unless it is one */
	EgressConfigEdits edits;
} WireguardConfig;

/* A line "key = value" that is read, without white space around its parts; with no "=" the value is empty. */
typedef struct Assignment
{
	const EgressConfigLine *line;
	const char *start;
	const char *key_end;
	const char *equals;			/* or NULL */
	const char *value;
	const char *end;
	const char *comment;		/* NULL without one */
} Assignment;

/* is_same -- is a part of a line this, in any letter case? As wg and wg-quick have it, whatever the locale */
static bool
is_same(const char *start, const char *end, const char *name)
{
	while (start < end && pg_ascii_tolower((unsigned char) *start) == pg_ascii_tolower((unsigned char) *name))
	{
		start++;
		name++;
	}
	return start == end && *name == '\0';
}

/* is_key -- base64 of 32 bytes, as wg has it: padded, and no bit set beyond the 32 bytes */
static bool
is_key(char *value)
{
	bool		valid = strlen(value) == KEY_LENGTH && value[KEY_LENGTH - 1] == '=';

	for (int i = 0; valid && i < KEY_LENGTH - 1; i++)
		valid = config_base64_value(value[i]) >= 0;
	return valid && config_base64_value(value[KEY_LENGTH - 2]) % 4 == 0;
}

/* next_item -- cut the next item off a list; NULL at the end */
static char *
next_item(char **list, const char *separators)
{
	char	   *item = *list + strspn(*list, separators);

	if (*item == '\0')
		return NULL;
	*list = item + strcspn(item, separators);
	if (**list)
		*(*list)++ = '\0';
	return item;
}

/* is_address_list -- addresses for the interface; the shell splits them at commas and white space */
static bool
is_address_list(char *value)
{
	char	   *item;

	while ((item = next_item(&value, ", \t")) != NULL)
		if (!config_is_address_range(item))
			return false;
	return true;
}

/* is_dns_list -- name servers and search domains, split as addresses are */
static bool
is_dns_list(char *value)
{
	char	   *item;

	while ((item = next_item(&value, ", \t")) != NULL)
		if (!config_is_address(AF_UNSPEC, item) &&
			(item[strspn(item, "0123456789.")] == '\0' || !config_is_plain_name(item)))
			return false;
	return true;
}

/* is_mtu -- empty lets wg-quick choose */
static bool
is_mtu(char *value)
{
	return *value == '\0' || config_is_number(value, 68, 65535);
}

/* is_table -- a routing table by number or name, auto, or off; empty is auto */
static bool
is_table(char *value)
{
	return *value == '\0' || config_is_plain_name(value);
}

/* is_listen_port -- as getaddrinfo() has it */
static bool
is_listen_port(char *value)
{
	return config_is_port(value);
}

/* is_fwmark -- 32 bits, decimal or hexadecimal, or off */
static bool
is_fwmark(char *value)
{
	if (strncmp(value, "0x", 2) == 0)
		return value[2] != '\0' && value[2 + strspn(value + 2, "0123456789abcdefABCDEF")] == '\0' &&
			strlen(value + 2 + strspn(value + 2, "0")) <= 8;
	return is_same(value, value + strlen(value), "off") || config_is_number(value, 0, PG_UINT32_MAX);
}

/* is_endpoint -- host:port or [address]:port */
static bool
is_endpoint(char *value)
{
	char	   *colon = strrchr(value, ':');

	if (colon == NULL || !config_is_port(colon + 1))
		return false;
	*colon = '\0';
	if (*value == '[')
	{
		if (colon[-1] != ']')
			return false;
		colon[-1] = '\0';
		value++;
	}
	return config_is_host(value);
}

/* is_allowed_ips -- addresses with or without a prefix, separated by one comma each */
static bool
is_allowed_ips(char *value)
{
	char	   *comma;

	while ((comma = strchr(value, ',')) != NULL)
	{
		*comma = '\0';
		if (!config_is_address_range(value))
			return false;
		value = comma + 1;
	}
	return config_is_address_range(value);
}

/* is_keepalive -- seconds, or off */
static bool
is_keepalive(char *value)
{
	return is_same(value, value + strlen(value), "off") || config_is_number(value, 0, 65535);
}

static const WireguardKey wireguard_keys[] = {
	{SECTION_INTERFACE, "PrivateKey", true, NULL, NULL, NULL},
	{SECTION_INTERFACE, "ListenPort", true, is_listen_port, PORT, NULL},
	{SECTION_INTERFACE, "FwMark", true, is_fwmark, MARK, NULL},
	{SECTION_INTERFACE, "Address", false, is_address_list, ADDRESSES, NULL},
	{SECTION_INTERFACE, "DNS", false, is_dns_list, NAME_SERVERS, NULL},
	{SECTION_INTERFACE, "MTU", false, is_mtu, MTU, NULL},
	{SECTION_INTERFACE, "Table", false, is_table, TABLE, NULL},
	{SECTION_INTERFACE, "PreUp", false, NULL, NULL, RUNS_COMMAND},
	{SECTION_INTERFACE, "PostUp", false, NULL, NULL, RUNS_COMMAND},
	{SECTION_INTERFACE, "PreDown", false, NULL, NULL, RUNS_COMMAND},
	{SECTION_INTERFACE, "PostDown", false, NULL, NULL, RUNS_COMMAND},
	{SECTION_INTERFACE, "SaveConfig", false, NULL, NULL, WRITES_FILE},
	{SECTION_INTERFACE, "IncludedApplications", true, NULL, NULL, OF_ANDROID},
	{SECTION_INTERFACE, "ExcludedApplications", true, NULL, NULL, OF_ANDROID},
	{SECTION_INTERFACE, "Jc", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "Jmin", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "Jmax", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "S1", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "S2", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "S3", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "S4", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "H1", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "H2", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "H3", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "H4", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "I1", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "I2", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "I3", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "I4", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "I5", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "J1", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "J2", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "J3", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_INTERFACE, "Itime", true, NULL, NULL, OF_AMNEZIA},
	{SECTION_PEER, "PublicKey", true, is_key, KEY, NULL},
	{SECTION_PEER, "PresharedKey", true, is_key, KEY, NULL},
	{SECTION_PEER, "Endpoint", true, is_endpoint, ENDPOINT, NULL},
	{SECTION_PEER, "AllowedIPs", true, is_allowed_ips, ROUTES, NULL},
	{SECTION_PEER, "PersistentKeepalive", true, is_keepalive, SECONDS, NULL},
};

/* trim -- leave out white space around a part of a line */
static void
trim(const char **start, const char **end)
{
	while (*start < *end && config_is_space(**start))
		(*start)++;
	while (*end > *start && config_is_space((*end)[-1]))
		(*end)--;
}

/* copy_part -- a part of a line as a string, for wg without any white space */
static char *
copy_part(const char *start, const char *end, bool for_wg)
{
	char	   *copy = palloc(end - start + 1);
	char	   *to = copy;

	for (const char *c = start; c < end; c++)
		if (!for_wg || !config_is_space(*c))
			*to++ = *c;
	*to = '\0';
	return copy;
}

/*
 * find_key -- what a key is, NULL if the section has none of that name
 *
 * wg-quick compares the key as it is, wg without white space. A key that is refused is found in any section.
 */
static const WireguardKey *
find_key(Section section, const char *start, const char *end)
{
	char	   *for_wg = copy_part(start, end, true);
	const WireguardKey *found = NULL;

	for (size_t i = 0; i < lengthof(wireguard_keys) && found == NULL; i++)
	{
		const WireguardKey *key = &wireguard_keys[i];

		if ((key->section == section || key->reason) &&
			(key->for_wg ? is_same(for_wg, for_wg + strlen(for_wg), key->name) : is_same(start, end, key->name)))
			found = key;
	}
	pfree(for_wg);
	return found;
}

/* refuse_key -- note a line that sets what the section has not, or that sets nothing */
static void
refuse_key(EgressConfigReader *reader, int number, Section section, const char *start, const char *end, const char *key_end)
{
	static const Section sections[] = {SECTION_INTERFACE, SECTION_PEER};
	const char *reason;

	if (section == SECTION_UNKNOWN)
		return;
	reason = section == SECTION_INTERFACE ? "It is not a key that [Interface] has." :
		section == SECTION_PEER ? "It is not a key that [Peer] has." : "It is in no section.";
	for (size_t i = 0; i < lengthof(sections); i++)
	{
		const WireguardKey *key = find_key(sections[i], start, key_end);

		if (key != NULL)
		{
			config_problem(reader, number, key->name, reason,
						   sections[i] == SECTION_PEER ? "It goes behind a line [Peer]." : "It goes behind the line [Interface].");
			return;
		}
	}
	if (section == SECTION_NONE && config_openvpn_has_directive(start, end))
	{
		config_problem(reader, number, NULL, "It is a directive of OpenVPN.",
					   "The gateway of an OpenVPN config is one of a provider of type openvpn.");
		config_abandon(reader);
	}
	else if (*start == ';')
		config_problem(reader, number, NULL, "It begins with \";\".", "A comment begins with \"#\".");
	else
		config_problem_unknown(reader, number, start, end, reason,
							   "The keys are those of wg(8) and wg-quick(8), each with \"=\" and its value behind it.");
}

/* reserve_line -- a section begins: keep the place under its name for a line that may have to be added */
static void
reserve_line(WireguardConfig *config, Setting *setting, const EgressConfigLine *header)
{
	const char *place = header->next[-1] == '\n' ? header->next : header->end;

	setting->is_set = false;
	setting->header = *header;
	setting->reserved = config->edits.count;
	if (setting->value && *setting->value)
		for (int i = 0; i < LINE_EDITS; i++)
			config_replace(&config->edits, place, place, "");
}

/* take_out -- note that a line goes, but for its comment; nothing is the empty string */
static void
take_out(WireguardConfig *config, const Assignment *assignment, const char *nothing)
{
	if (assignment->comment)
		config_replace(&config->edits, assignment->start, assignment->comment, nothing);
	else
		config_replace(&config->edits, assignment->line->start, assignment->line->next, nothing);
}

/* set_value -- a line of the config sets what the credential does: it gives way */
static void
set_value(WireguardConfig *config, Setting *setting, const Assignment *assignment)
{
	if (setting->value == NULL)
		return;
	if (!setting->is_set)
		config_replace(&config->edits, assignment->value, assignment->end, setting->value);
	else
		take_out(config, assignment, "");
	setting->is_set = true;
}

/*
 * add_line -- the section is over: add a line for what it does not set
 *
 * The line ends as the section's name does; a last line without a newline stays without one.
 */
static void
add_line(WireguardConfig *config, const Setting *setting)
{
	const EgressConfigLine *header = &setting->header;
	bool		has_newline;

	if (header->number == 0 || setting->is_set || setting->value == NULL || *setting->value == '\0')
		return;
	has_newline = header->next[-1] == '\n';
	config_fill(&config->edits, setting->reserved, setting->line + (has_newline ? 1 : 0));
	config_fill(&config->edits, setting->reserved + 1, setting->value);
	if (has_newline)
		config_fill(&config->edits, setting->reserved + 2, header->next - header->end > 1 ? "\r\n" : "\n");
}

/* split_assignment -- find the parts of a line, which is neither empty nor a section's name */
static void
split_assignment(Assignment *assignment, const EgressConfigLine *line, const char *start, const char *end, const char *comment)
{
	const char *equals = memchr(start, '=', end - start);

	assignment->line = line;
	assignment->start = start;
	assignment->equals = equals;
	assignment->key_end = equals ? equals : end;
	assignment->value = equals ? equals + 1 : end;
	assignment->end = end;
	assignment->comment = comment;
	trim(&assignment->start, &assignment->key_end);
	trim(&assignment->value, &assignment->end);
	if (equals && assignment->value == assignment->end)
	{
		const char *line_end = comment ? comment : line->end;
		const char *place = equals + 1;

		/* where it was, if only the value was taken out */
		if (place < line_end && config_is_space(*place) && (place + 1 == line_end || config_is_space(place[1])))
			place++;
		assignment->value = assignment->end = place;
	}
}

/* read_setting -- check a line "key = value"; returns what it sets, NULL if nothing that there is */
static const WireguardKey *
read_setting(WireguardConfig *config, Section section, const Assignment *assignment)
{
	EgressConfigReader *reader = &config->reader;
	int			number = assignment->line->number;
	const WireguardKey *key = find_key(section, assignment->start, assignment->key_end);

	if (key == NULL)
		refuse_key(reader, number, section, assignment->start, assignment->end, assignment->key_end);
	else if (key->reason == RUNS_COMMAND && section == SECTION_INTERFACE && assignment->equals &&
			 assignment->value == assignment->end)
		;						/* a hook that runs nothing */
	else if (config->import && (key->reason || strcmp(key->name, "FwMark") == 0))
	{
		config_removed(config->import, number, key->name, key->reason ? key->reason : FOR_AGENT);
		config_replace(&config->edits, assignment->line->start, assignment->line->next, "");
	}
	else if (key->reason)
		config_problem(reader, number, key->name, key->reason, USE_CUSTOM);
	else if (assignment->equals == NULL)
		config_problem(reader, number, key->name, "It has no \"=\" and no value.", key->takes);
	else if (key->is_valid)
	{
		char	   *value = copy_part(assignment->value, assignment->end, key->for_wg);

		if (!key->is_valid(value))
			config_problem(reader, number, key->name, "Its value is not one that it can have.", key->takes);
		pfree(value);
	}
	return key;
}

/* note_routes -- note what a line says of who makes the routes; wg-quick takes the last Table */
static void
note_routes(WireguardConfig *config, const WireguardKey *key, const Assignment *assignment)
{
	if (strcmp(key->name, "PreUp") == 0 || strcmp(key->name, "PostUp") == 0)
		config->has_up_hook = config->has_up_hook || assignment->value < assignment->end;
	else if (strcmp(key->name, "Table") == 0)
	{
		char	   *table = copy_part(assignment->value, assignment->end, false);
		bool		is_used = *table == '\0' || strcmp(table, "auto") == 0 || strcmp(table, "main") == 0;

		config->table_line = is_used ? 0 : assignment->line->number;
		pfree(table);
	}
}

/* keep_address -- keep the addresses of a line for a credential, as it has them, behind those of lines before */
static void
keep_address(EgressConfigImport *import, const Assignment *assignment)
{
	char	   *list = copy_part(assignment->value, assignment->end, false);
	char	   *item;
	StringInfoData addresses;

	initStringInfo(&addresses);
	if (import->address)
		appendStringInfoString(&addresses, import->address);
	while ((item = next_item(&list, ", \t")) != NULL)
	{
		if (addresses.len > 0)
			appendStringInfoString(&addresses, ", ");
		appendStringInfoString(&addresses, item);
	}
	import->address = addresses.len > 0 ? addresses.data : NULL;
}

/* what a line with a preshared key gives way to until it is known whether all are the same */
static const char PRESHARED_KEY_TAKEN_OUT[] = "";

/* keep_preshared_key -- keep a preshared key for a credential, if all that were there are the same */
static void
keep_preshared_key(WireguardConfig *config, const Assignment *assignment)
{
	EgressConfigImport *import = config->import;
	char	   *key = copy_part(assignment->value, assignment->end, true);

	if (import->preshared_key && strcmp(import->preshared_key, key) != 0)
		config->preshared_keys_differ = true;
	import->preshared_key = key;
	take_out(config, assignment, PRESHARED_KEY_TAKEN_OUT);
}

/* end_preshared_keys -- an import is over: where the peers' keys differ, they stay, as a credential has one */
static void
end_preshared_keys(WireguardConfig *config)
{
	if (config->import == NULL || !config->preshared_keys_differ)
		return;
	for (size_t i = 0; i < config->edits.count; i++)
		if (config->edits.items[i].with == PRESHARED_KEY_TAKEN_OUT)
			config->edits.items[i].end = config->edits.items[i].start;
	config->import->preshared_key = NULL;
}

/* import_setting -- note what becomes of a line that an import does not take out */
static void
import_setting(WireguardConfig *config, const WireguardKey *key, const Assignment *assignment)
{
	EgressConfigImport *import = config->import;

	note_routes(config, key, assignment);
	if (strcmp(key->name, "PrivateKey") == 0 && assignment->value < assignment->end)
	{
		char	   *value = copy_part(assignment->value, assignment->end, true);

		if (import->apart && is_key(value))
			import->private_key = value;
		else
			config_removed(import, assignment->line->number, key->name, OF_LEASE);
	}
	else if (strcmp(key->name, "Address") == 0 && import->apart)
	{
		keep_address(import, assignment);
		take_out(config, assignment, "");
	}
	else if (strcmp(key->name, "PresharedKey") == 0 && import->apart)
		keep_preshared_key(config, assignment);
}

/* begin_section -- read a section's name; returns which it is */
static Section
begin_section(WireguardConfig *config, const EgressConfigLine *line, const char *start, const char *end)
{
	if (is_same(start, end, "[Interface]"))
	{
		if (config->header.number > 0)
			config_problem(&config->reader, line->number, "[Interface]", "It is there a second time.", NULL);
		config->header = *line;
		reserve_line(config, &config->private_key, line);
		reserve_line(config, &config->address, line);
		return SECTION_INTERFACE;
	}
	if (is_same(start, end, "[Peer]"))
	{
		reserve_line(config, &config->preshared_key, line);
		return SECTION_PEER;
	}
	config_problem_unknown(&config->reader, line->number, start, end, "It is neither [Interface] nor [Peer].",
						   "A WireGuard config has no other section, and no white space or other brackets around these names.");
	return SECTION_UNKNOWN;
}

/* end_peer -- a [Peer], if there was one, is over: note if it has no PublicKey */
static void
end_peer(WireguardConfig *config, bool has_public_key)
{
	const EgressConfigLine *header = &config->preshared_key.header;

	if (header->number > 0 && !has_public_key)
		config_problem(&config->reader, header->number, "[Peer]", "It has no PublicKey.", NULL);
	if (header->number > 0 && !config->peer_has_preshared_key)
		config->preshared_keys_differ = true;
	config->peer_has_preshared_key = false;
	add_line(config, &config->preshared_key);
}

/*
 * read_config -- read a config, and note how it is rendered with a credential, whose parts may be NULL, or imported
 *
 * What is wrong with it is noted, and for the caller to raise.
 */
static void
read_config(text *config_text, const EgressWireguardCredential *credential, EgressConfigImport *import, WireguardConfig *config)
{
	EgressConfigLine line;
	Section		section = SECTION_NONE;
	bool		has_public_key = false;
	bool		has_unknown_section = false;

	memset(config, 0, sizeof(*config));
	config->import = import;
	config->private_key = (Setting) {.line = "\nPrivateKey = ", .value = credential->private_key};
	config->address = (Setting) {.line = "\nAddress = ", .value = credential->address};
	config->preshared_key = (Setting) {.line = "\nPresharedKey = ", .value = credential->preshared_key};
	config_open(&config->reader, config_text, "WireGuard");
	while (config_next_line(&config->reader, &line))
	{
		const char *start = line.start;
		const char *comment = memchr(start, '#', line.end - start);
		const char *end = comment ? comment : line.end;

		if (import && line.number == 1 && config_begins_with(start, line.end, "\xEF\xBB\xBF"))
		{
			config_removed(import, line.number, "byte order mark", NOT_READ);
			config_replace(&config->edits, start, start + 3, "");
			line.start = start = start + 3;
		}
		trim(&start, &end);
		if (start == end)
			continue;
		if (*start == '[')
		{
			/* the next [Peer] has its PublicKey and its line reserved for itself */
			if (is_same(start, end, "[Peer]"))
			{
				end_peer(config, has_public_key);
				has_public_key = false;
			}
			section = begin_section(config, &line, start, end);
			has_unknown_section = has_unknown_section || section == SECTION_UNKNOWN;
		}
		else
		{
			Assignment	assignment;
			const WireguardKey *key;

			split_assignment(&assignment, &line, start, end, comment);
			key = read_setting(config, section, &assignment);
			if (key == NULL)
				continue;
			if (import)
				import_setting(config, key, &assignment);
			if (strcmp(key->name, "PublicKey") == 0)
				has_public_key = true;
			else if (strcmp(key->name, "PrivateKey") == 0)
			{
				config->has_private_key = config->has_private_key || assignment.value < assignment.end;
				set_value(config, &config->private_key, &assignment);
			}
			else if (strcmp(key->name, "Address") == 0)
				set_value(config, &config->address, &assignment);
			else if (strcmp(key->name, "PresharedKey") == 0)
			{
				config->has_preshared_key = config->peer_has_preshared_key = true;
				set_value(config, &config->preshared_key, &assignment);
			}
		}
	}
	end_peer(config, has_public_key);
	end_preshared_keys(config);
	/* without what the hook did, the tunnel would carry nothing */
	if (config->table_line > 0 && config->has_up_hook)
		config_problem(&config->reader, config->table_line, "Table", LEFT_TO_HOOK, NO_TABLE);
	add_line(config, &config->private_key);
	add_line(config, &config->address);

	if ((config->header.number == 0 || config->preshared_key.header.number == 0) && !has_unknown_section &&
		!config->reader.abandoned)
		config_problem(&config->reader, 0, config->header.number > 0 ? "[Peer]" : "[Interface]",
					   "It needs one [Interface] and at least one [Peer].", NULL);
}

/* apply -- the config with its edits, which are freed */
static text *
apply(text *config_text, WireguardConfig *config)
{
	text	   *result = config_apply(config_text, &config->edits);

	if (config->edits.items)
		pfree(config->edits.items);
	return result;
}

/* config_wireguard_check -- refuse a config that wg or wg-quick would not take, or that runs commands */
void
config_wireguard_check(text *config_text)
{
	WireguardConfig config;

	read_config(config_text, &no_credential, NULL, &config);
	config_finish(&config.reader);
}

/* refuse_part -- raise NG007 for a part of a credential */
pg_noreturn static void
refuse_part(const char *name, const char *takes)
{
	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_CONFIG),
			 errmsg("%s cannot be used with WireGuard", name),
			 errdetail("%s", takes)));
}

/* config_wireguard_check_credential -- refuse a credential that wg or wg-quick would not take; parts that are NULL are not looked at */
void
config_wireguard_check_credential(const EgressWireguardCredential *credential)
{
	if (credential->private_key && !is_key(unconstify(char *, credential->private_key)))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_CONFIG),
				 errmsg("private_key is not a WireGuard key"),
				 errdetail("A key is 32 bytes in base64, 44 characters in all."),
				 errhint("wg genkey makes one.")));
	if (credential->address)
	{
		char	   *copy = copy_part(credential->address, credential->address + strlen(credential->address), false);

		if (config_has_control_character(copy, false) || copy[strspn(copy, ", ")] == '\0' || !is_address_list(copy))
			refuse_part("address", ADDRESSES);
		pfree(copy);
	}
	if (credential->preshared_key && !is_key(unconstify(char *, credential->preshared_key)))
		refuse_part("preshared_key", KEY);
}

/*
 * config_wireguard_render -- the config with the credential, whose private key is not NULL
 *
 * The result holds the keys: the caller wipes it.
 */
text *
config_wireguard_render(text *config_text, const EgressWireguardCredential *credential)
{
	WireguardConfig config;

	config_wireguard_check_credential(credential);
	read_config(config_text, credential, NULL, &config);
	config_finish(&config.reader);
	return apply(config_text, &config);
}

/*
 * config_wireguard_stored -- the config as it is stored, without the value of its PrivateKey; NG007 as the check has it
 *
 * Adds to *secrets the names of what is secret in it all the same. *had_private_key: it had such a value.
 */
text *
config_wireguard_stored(text *config_text, List **secrets, bool *had_private_key)
{
	WireguardConfig config;

	read_config(config_text, &(EgressWireguardCredential) {.private_key = ""}, NULL, &config);
	config_finish(&config.reader);
	if (config.has_preshared_key)
		*secrets = lappend(*secrets, unconstify(char *, PRESHARED_KEY));
	*had_private_key = config.has_private_key;
	return config.edits.count > 0 ? apply(config_text, &config) : config_text;
}

/* config_wireguard_has_secret -- has a config something secret in it? Also one that could not be stored now */
bool
config_wireguard_has_secret(text *config_text)
{
	WireguardConfig config;

	read_config(config_text, &no_credential, NULL, &config);
	return config.has_private_key || config.has_preshared_key;
}

/* config_wireguard_import -- a config that passes the check, from a file as a provider publishes it; or NG007 */
text *
config_wireguard_import(text *source, EgressConfigImport *import)
{
	WireguardConfig config;

	read_config(source, &(EgressWireguardCredential) {.private_key = ""}, import, &config);
	config_finish(&config.reader);
	return apply(source, &config);
}
