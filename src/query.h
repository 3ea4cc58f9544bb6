/*
 * query.h -- SQL that the C code runs
 */
#ifndef EGRESS_QUERY_H
#define EGRESS_QUERY_H

#include "postgres.h"
#include "executor/spi.h"

extern const char *query_schema(void);
extern void query_connect(void);
extern void query_connect_to_commit(void);
extern SPIPlanPtr query_prepare(const char *query, int nargs, Oid *types, int cursor_options);
extern int	query_run(SPIPlanPtr plan, Datum *values, const char *nulls, Snapshot snapshot, bool read_only, long limit);
extern void query_command(const char *command);
extern bool query_value(uint64 row, int column, Datum *value);
extern Portal query_open_latest(SPIPlanPtr plan);

#endif							/* EGRESS_QUERY_H */
