/*
 * config_store.h -- what is stored of a config
 */
#ifndef EGRESS_CONFIG_STORE_H
#define EGRESS_CONFIG_STORE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "catalog.h"

extern text *config_store_to_store(EgressProviderType type, text *config, List **secrets, const char **left_out);
extern bool config_store_is_restored(void);
extern void config_store_tell_left_out(const char *what, const char *left_out);
extern void config_store_warn(const char *what, const List *secrets);

#endif							/* EGRESS_CONFIG_STORE_H */
