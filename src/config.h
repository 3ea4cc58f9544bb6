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
typedef struct EgressConfigFile
{
	const char *name;
	const char *content;		/* with a zero behind it */
	size_t		length;
	bool		is_binary;		/* it was given in base64 */
	bool		is_text;		/* in the database's encoding, without a zero */

	/* of config_sort_files() */
	const char *last_part;		/* the name without folders */
	bool		is_ambiguous;	/* it is the first of several with this last part, of which not all are the same */
} EgressConfigFile;

/* Files that are found by name, once they are sorted. */
typedef struct EgressConfigFiles
{
	EgressConfigFile *items;
	int			count;
} EgressConfigFiles;

/* A line that an import took out, or replaced by something else than its own file. */
typedef struct EgressConfigRemoval
{
	int			number;
	const char *directive;		/* of the parser's own list; NULL for one that is unknown */
	const char *reason;
} EgressConfigRemoval;

/* What an import is given, and what it finds beside the config that it makes. */
typedef struct EgressConfigImport
{
	const EgressConfigFiles *files; /* the config's own, or NULL */
	const EgressConfigFiles *shared_files;	/* for what it has none of its own; or NULL */
	bool		apart;			/* what belongs to a credential is not to be in the config */
	List	   *removed;		/* of EgressConfigRemoval, by line */

	/* if apart, strings that the config had, or NULL */
	char	   *username;
	char	   *password;
	char	   *client_certificate;
	char	   *client_key;
	char	   *private_key;
	char	   *address;
	char	   *preshared_key;
} EgressConfigImport;

/* OpenVPN */
typedef struct EgressOpenvpnCredential
{
	const char *username;		/* each may be NULL */
	const char *password;
	const char *client_certificate;
	const char *client_key;
} EgressOpenvpnCredential;

extern void config_openvpn_check(text *config);
extern bool config_openvpn_has_directive(const char *start, const char *end);
extern bool config_openvpn_has_certificate(text *config);
extern bool config_openvpn_has_secret(text *config);
extern text *config_openvpn_stored(text *config, List **secrets);
extern void config_openvpn_check_credential(const EgressOpenvpnCredential *credential);
extern text *config_openvpn_render(text *config, const EgressOpenvpnCredential *credential);
extern text *config_openvpn_import(text *source, EgressConfigImport *import);

/* WireGuard */
typedef struct EgressWireguardCredential
{
	const char *private_key;
	const char *address;		/* each of these may be NULL */
	const char *preshared_key;
} EgressWireguardCredential;

extern void config_wireguard_check(text *config);
extern void config_wireguard_check_credential(const EgressWireguardCredential *credential);
extern bool config_wireguard_has_secret(text *config);
extern text *config_wireguard_stored(text *config, List **secrets, bool *had_private_key);
extern text *config_wireguard_render(text *config, const EgressWireguardCredential *credential);
extern text *config_wireguard_import(text *source, EgressConfigImport *import);

/* What follows is for the two parsers. */

/* A line, without its end: without the newline, and the carriage returns before it. */
typedef struct EgressConfigLine
{
	const char *start;
	const char *end;
	const char *next;			/* where the line after it starts */
	int			number;			/* from 1 */
} EgressConfigLine;

/* What is wrong with a config. */
typedef struct EgressConfigProblem
{
	int			number;			/* of the line, 0 when it is no line's */
	const char *directive;		/* or NULL */
	const char *reason;
	const char *hint;			/* or NULL */
} EgressConfigProblem;

/* A config, or a part of it, that is being read line by line. */
typedef struct EgressConfigReader
{
	const char *format;			/* for messages */
	const char *next;			/* the line to be read next */
	const char *end;
	int			number;			/* of the line read last */
	bool		abandoned;		/* what follows was not read: it would make no sense */
	EgressConfigProblem *problems;	/* by line; NULL until there is one */
	int			problem_count;	/* also of those that are not kept */
} EgressConfigReader;

/* A part of a config that is to be replaced; start = end inserts. */
typedef struct EgressConfigEdit
{
	const char *start;
	const char *end;
	const char *with;
	size_t		with_length;
} EgressConfigEdit;

/* The edits of a config, by position. */
typedef struct EgressConfigEdits
{
	EgressConfigEdit *items;
	size_t		count;
	size_t		capacity;
} EgressConfigEdits;

extern void config_open(EgressConfigReader *reader, text *config, const char *format);
extern bool config_next_line(EgressConfigReader *reader, EgressConfigLine *line);
extern void config_sort_files(EgressConfigFiles *files);
extern const EgressConfigFile *config_find_file(const EgressConfigFiles *files, const char *path, bool *is_ambiguous);
extern void config_removed(EgressConfigImport *import, int number, const char *directive, const char *reason);
extern void config_replace(EgressConfigEdits *edits, const char *start, const char *end, const char *with);
extern void config_fill(EgressConfigEdits *edits, size_t which, const char *with);
extern text *config_apply(text *config, const EgressConfigEdits *edits);

extern void config_problem(EgressConfigReader *reader, int number, const char *directive, const char *reason, const char *hint);
extern void config_problem_unknown(EgressConfigReader *reader, int number, const char *start, const char *end,
								   const char *reason, const char *hint);
extern void config_abandon(EgressConfigReader *reader);
extern void config_finish(const EgressConfigReader *reader);

extern bool config_begins_with(const char *start, const char *end, const char *prefix);
extern bool config_is_space(char c);
extern bool config_has_control_character(const char *value, bool line_ends);
extern int	config_base64_value(char c);
extern size_t config_base64_decode(const char *start, const char *end, char *bytes, const char **stopped);
extern char *config_base64_lines(const char *bytes, size_t length);
extern bool config_is_host(const char *value);
extern bool config_is_port(const char *value);
extern bool config_is_number(const char *value, int64 low, int64 high);
extern bool config_is_address(int family, const char *value);
extern bool config_is_address_range(const char *value);
extern bool config_is_plain_name(const char *value);

#endif							/* EGRESS_CONFIG_H */
