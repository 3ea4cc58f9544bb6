/*
 * config_trigger.h -- checking a config by its provider's type
 */
#ifndef EGRESS_CONFIG_TRIGGER_H
#define EGRESS_CONFIG_TRIGGER_H

#include "postgres.h"

#include "catalog.h"

extern void check_config(EgressProviderType type, text *config);

#endif							/* EGRESS_CONFIG_TRIGGER_H */
