/*
 * shape.h -- whether the extension's tables, indexes and row types are as the C code reads and writes them
 */
#ifndef EGRESS_SHAPE_H
#define EGRESS_SHAPE_H

#include "postgres.h"
#include "utils/rel.h"

#include "catalog.h"

/* how many columns an index of the extension may have */
#define SHAPE_MAX_COLUMNS 7

extern int	shape_columns(EgressTable table);
extern void shape_check_table(Relation relation, EgressTable table);
extern void shape_check_result(TupleDesc desc, const char *type, const char *types);
extern void shape_check_pool_index(Relation relation, Oid table);
extern void shape_check_index(Relation relation, EgressIndex index, Oid table);
extern bool shape_has_other_checks(Relation relation, EgressTable table);
extern void shape_check_foreign_keys(Relation relation, EgressTable table, int side);
extern void shape_check_written_index(Relation relation, Relation index);

#endif							/* EGRESS_SHAPE_H */
