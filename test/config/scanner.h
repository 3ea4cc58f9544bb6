/*
 * scanner.h -- a second opinion on configs
 */
#ifndef SCANNER_H
#define SCANNER_H

#include <stddef.h>

/* the line of the first refused directive, 0 if there is none; *name is what was found */
extern int	scan_openvpn(const char *config, size_t length, const char **name);
extern int	scan_wireguard(const char *config, size_t length, const char **name);

/* the first word of a line, without what openvpn or a scanner may take away; "setenv opt" counts as nothing */
extern void scan_word(const char *line, size_t length, char *word, size_t size);

#endif							/* SCANNER_H */
