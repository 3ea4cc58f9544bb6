/*
 * config.h -- checking and rendering the configs of gateways
 *
 * Each format has a parser in a file of its own (config_openvpn.c, config_wireguard.c) that both checks and renders, so
 * that what was checked is what is rendered. All functions are pure: no catalog, no SQL, memory of the current
 * context. What they refuse is ERRCODE_EGRESS_CONFIG; the error names each bad line and its directive, and never holds
 * anything else of the config or of a credential.
 *
 * Configs are detoasted text, credentials C strings. A rendered config is the only copy that is made of
 * the credential: the caller wipes it when it is done with it.
 */
#ifndef EGRESS_CONFIG_H
#define EGRESS_CONFIG_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "compat.h"

/* A file beside a config that is imported. */
typedef struct ConfigFile
{
	const char *name;
	const char *content;		/* with a zero behind it */
	size_t		length;
	bool		is_binary;		/* it was given in base64 */
	bool		is_text;		/* in the database's encoding, without a zero */

	/* of config_sort_files() */
	const char *last_part;		/* the name without folders */
	bool		is_ambiguous;	/* it is the first of several with this last part, of which not all are the same */
} ConfigFile;

/* Files that are found by name, once they are sorted. */
typedef struct ConfigFiles
{
	ConfigFile *items;
	int			count;
} ConfigFiles;

/* A line that an import took out, or replaced by something else than its own file. */
typedef struct ConfigRemoval
{
	int			number;
	const char *directive;		/* of the parser's own list; NULL for one that is unknown */
	const char *reason;
} ConfigRemoval;

/* What an import is given, and what it finds beside the config that it makes. */
typedef struct ConfigImport
{
	const ConfigFiles *files;	/* the config's own, or NULL */
	const ConfigFiles *shared_files;	/* for what it has none of its own; or NULL */
	bool		apart;			/* what belongs to a credential is not to be in the config */
	List	   *removed;		/* of ConfigRemoval, by line */

	/* if apart, strings that the config had, or NULL */
	char	   *username;
	char	   *password;
	char	   *client_certificate;
	char	   *client_key;
	char	   *private_key;
	char	   *address;
	char	   *preshared_key;
} ConfigImport;

/* OpenVPN */
typedef struct OpenvpnCredential
{
	const char *username;		/* each may be NULL */
	const char *password;
	const char *client_certificate;
	const char *client_key;
} OpenvpnCredential;

extern void openvpn_check_config(text *config);
extern bool openvpn_has_directive(const char *start, const char *end);
extern bool openvpn_has_certificate(text *config);
extern bool openvpn_has_secret(text *config);
extern text *openvpn_stored_config(text *config, List **secrets);
extern void openvpn_check_credential(const OpenvpnCredential *credential);
extern text *openvpn_render_config(text *config, const OpenvpnCredential *credential);
extern text *openvpn_import_config(text *source, ConfigImport *import);

/* WireGuard */
typedef struct WireguardCredential
{
	const char *private_key;
	const char *address;		/* each of these may be NULL */
	const char *preshared_key;
} WireguardCredential;

extern void wireguard_check_config(text *config);
extern void wireguard_check_credential(const WireguardCredential *credential);
extern bool wireguard_has_secret(text *config);
extern text *wireguard_stored_config(text *config, List **secrets, bool *had_private_key);
extern text *wireguard_render_config(text *config, const WireguardCredential *credential);
extern text *wireguard_import_config(text *source, ConfigImport *import);

/* What follows is for the two parsers. */

/* A line, without its end: without the newline, and the carriage returns before it. */
typedef struct ConfigLine
{
	const char *start;
	const char *end;
	const char *next;			/* where the line after it starts */
	int			number;			/* from 1 */
} ConfigLine;

/* What is wrong with a config. */
typedef struct ConfigProblem
{
	int			number;			/* of the line, 0 when it is no line's */
	const char *directive;		/* or NULL */
	const char *reason;
	const char *hint;			/* or NULL */
} ConfigProblem;

/* A config, or a part of it, that is being read line by line. */
typedef struct ConfigReader
{
	const char *format;			/* for messages */
	const char *next;			/* the line to be read next */
	const char *end;
	int			number;			/* of the line read last */
	bool		abandoned;		/* what follows was not read: it would make no sense */
	ConfigProblem *problems;	/* by line; NULL until there is one */
	int			problem_count;	/* also of those that are not kept */
} ConfigReader;

/* A part of a config that is to be replaced; start = end inserts. */
typedef struct ConfigEdit
{
	const char *start;
	const char *end;
	const char *with;
	size_t		with_length;
} ConfigEdit;

/* The edits of a config, by position. */
typedef struct ConfigEdits
{
	ConfigEdit *items;
	size_t		count;
	size_t		capacity;
} ConfigEdits;

extern void config_open(ConfigReader *reader, text *config, const char *format);
extern bool config_next_line(ConfigReader *reader, ConfigLine *line);
extern void config_sort_files(ConfigFiles *files);
extern const ConfigFile *config_find_file(const ConfigFiles *files, const char *path, bool *is_ambiguous);
extern void config_removed(ConfigImport *import, int number, const char *directive, const char *reason);
extern void config_replace(ConfigEdits *edits, const char *start, const char *end, const char *with);
extern void config_fill(ConfigEdits *edits, size_t which, const char *with);
extern text *config_apply(text *config, const ConfigEdits *edits);

extern void config_problem(ConfigReader *reader, int number, const char *directive, const char *reason, const char *hint);
extern void config_problem_unknown(ConfigReader *reader, int number, const char *start, const char *end,
								   const char *reason, const char *hint);
extern void config_abandon(ConfigReader *reader);
extern void config_finish(const ConfigReader *reader);

extern bool begins_with(const char *start, const char *end, const char *prefix);
extern bool is_config_space(char c);
extern bool has_control_character(const char *value, bool line_ends);
extern int	base64_value(char c);
extern size_t base64_decode(const char *start, const char *end, char *bytes, const char **stopped);
extern char *base64_lines(const char *bytes, size_t length);
extern bool is_host(const char *value);
extern bool is_port(const char *value);
extern bool is_number(const char *value, int64 low, int64 high);
extern bool is_address(int family, const char *value);
extern bool is_address_range(const char *value);
extern bool is_plain_name(const char *value);

#endif							/* EGRESS_CONFIG_H */
