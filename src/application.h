/*
 * application.h -- the application's own tables
 */
#ifndef EGRESS_APPLICATION_H
#define EGRESS_APPLICATION_H

#include "postgres.h"
#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

/* Whose rights the code runs with, and since when settings are its own. */
typedef struct EgressRights
{
	Oid			user;
	int			security;
	int			nest_level;
} EgressRights;

extern int	application_settings_begin(Oid type);
extern void application_settings_end(int nest_level);
extern text *application_id(Datum value, Oid type);
extern int	application_column(TupleDesc desc, const char *name, const char **problem);
extern const char *application_table(Oid relid);
extern const char *application_rows(Oid relid);
extern void application_match(StringInfo query, const char *column, Oid type, int value_parameter, int id_parameter);
extern bool application_is_unique(Oid relid, const char *column, bool immediate);
extern List *application_triggers(Oid function);
extern bool application_is_replicated(Oid relid);
extern int	application_search_path_begin(void);
extern void application_search_path_end(int nest_level);
extern void application_act_as_owner(Oid relid, EgressRights *before);
extern void application_act_again(const EgressRights *before);

#endif							/* EGRESS_APPLICATION_H */
