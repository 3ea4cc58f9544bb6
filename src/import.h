/*
 * import.h -- making configs that pass the check from files as providers publish them
 */
#ifndef EGRESS_IMPORT_H
#define EGRESS_IMPORT_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "catalog.h"
#include "config.h"

extern EgressConfigFiles *import_files(Jsonb *files);
extern text *import_config(EgressProviderType type, text *source, const EgressConfigFiles *files,
						   const EgressConfigFiles *shared_files, List **removed);
extern char *import_removal(const EgressConfigRemoval *removal);

#endif							/* EGRESS_IMPORT_H */
