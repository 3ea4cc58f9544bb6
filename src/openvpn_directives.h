/*
 * openvpn_directives.h -- the table of the directives of OpenVPN, for the parser
 */
#ifndef EGRESS_OPENVPN_DIRECTIVES_H
#define EGRESS_OPENVPN_DIRECTIVES_H

#include "postgres.h"

/* where a directive may be, and how it is to be taken; without any flag: a line outside of <connection> */
#define CONNECTION		0x01	/* in <connection> as well */
#define INLINE			0x02	/* as a block as well */
#define IGNORABLE		0x04	/* harmless where openvpn has it, and an error where not, unless it may be ignored */
#define FROM_FILE		0x08	/* an import makes a block of the file that it names */
#define TAKEN_OUT		0x10	/* an import takes it out: without it the tunnel is the same, and as safe */
#define SECRET			0x20	/* its block is secret */
#define PEM				0x40	/* its block is read by libcrypto, which would ask for a passphrase */

/* why setenv is refused, by the table or by the parser */
#define SETS_ENVIRONMENT "It sets the environment of the programs that openvpn starts."

/* A directive. */
typedef struct EgressDirective
{
	const char *name;
	int			flags;
	const char *parameters;		/* what it takes as a line, see match_parameters(); NULL: no line is accepted */
	const char *reason;			/* why a line is refused that does not match, or NULL */
} EgressDirective;

/* how many there are */
#define OPENVPN_DIRECTIVE_COUNT 325

extern const EgressDirective *openvpn_directives_find(const char *name);
extern const EgressDirective *openvpn_directives_get(int number);
extern int	openvpn_directives_number(const EgressDirective *directive);
extern bool openvpn_directives_match(const char *pattern, int count, char **parameters);
extern bool openvpn_directives_take(const EgressDirective *directive, int count, char **parameters);
extern const char *openvpn_directives_hint(const EgressDirective *directive);

#endif							/* EGRESS_OPENVPN_DIRECTIVES_H */
