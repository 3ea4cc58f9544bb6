/*
 * compat.h -- differences between PostgreSQL majors
 *
 * Old servers get the new server's names, so that the rest of the code is written for the newest major.
 */
#ifndef EGRESS_COMPAT_H
#define EGRESS_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "replication/message.h"
#include "utils/acl.h"
#include "utils/guc_tables.h"
#include "utils/wait_event.h"

/*
 * PostgreSQL 16 compiles modules with -fvisibility=hidden, as the Makefile does with all majors, and exports what has to be: the
 * functions that SQL names, and the library's own entries.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record * CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable
#endif

/* PostgreSQL 16 moved VARDATA_ANY() and its kin out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* PostgreSQL 18 took INT64_MODIFIER away, and includes what has PRId64, with which a format may number its arguments */
#if PG_VERSION_NUM < 180000
#include <inttypes.h>
#endif

/* PostgreSQL 18 made a function that does not return say so before its type */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* PostgreSQL 16 made one check of ownership for all kinds of objects; here it is for relations */
#if PG_VERSION_NUM < 160000
#define object_ownercheck(classid, objectid, roleid) pg_class_ownercheck(objectid, roleid)
#endif

/* and one check of privileges; here it is for functions */
#if PG_VERSION_NUM < 160000
#define object_aclcheck(classid, objectid, roleid, mode) pg_proc_aclcheck(objectid, roleid, mode)
#endif

/* PostgreSQL 18 added an index scan's instrumentation, and 19 its flags */
#if PG_VERSION_NUM < 190000
#define SO_NONE 0
#if PG_VERSION_NUM >= 180000
#define index_beginscan(table, index, snapshot, instrument, nkeys, norderbys, flags) \
	index_beginscan(table, index, snapshot, instrument, nkeys, norderbys)
#else
#define index_beginscan(table, index, snapshot, instrument, nkeys, norderbys, flags) \
	index_beginscan(table, index, snapshot, nkeys, norderbys)
#endif
#endif

/* PostgreSQL 16 added onlySummarizing, and 19 made flags of this and its kin, and another order of the arguments */
#if PG_VERSION_NUM < 190000
#define EIIT_ONLY_SUMMARIZING (1 << 2)
#if PG_VERSION_NUM >= 160000
#define ExecInsertIndexTuples(rri, estate, flags, slot, arbiters, conflict) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, conflict, arbiters, ((flags) & EIIT_ONLY_SUMMARIZING) != 0)
#else
#define ExecInsertIndexTuples(rri, estate, flags, slot, arbiters, conflict) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, conflict, arbiters)
#endif
#endif

/* PostgreSQL 19 added options of an update and of a deletion, the latter in the place of changingPart */
#if PG_VERSION_NUM < 190000
#define table_tuple_update(table, tid, slot, cid, options, snapshot, crosscheck, wait, failure, lockmode, indexes) \
	table_tuple_update(table, tid, slot, cid, snapshot, crosscheck, wait, failure, lockmode, indexes)
#define table_tuple_delete(table, tid, cid, options, snapshot, crosscheck, wait, failure) \
	table_tuple_delete(table, tid, cid, snapshot, crosscheck, wait, failure, false)
#endif

/*
 * PostgreSQL 16 says which indexes need an entry for an updated row, and not only whether: for a heap-only tuple only those
 * that summarize blocks, as BRIN does.
 */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes EgressUpdateIndexes;
#define egress_must_update_indexes(update_indexes) ((update_indexes) != TU_None)
#define egress_index_flags(update_indexes) ((update_indexes) == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0)
#else
typedef bool EgressUpdateIndexes;
#define egress_must_update_indexes(update_indexes) (update_indexes)
#define egress_index_flags(update_indexes) 0
#endif

/* PostgreSQL 18 tells an ANALYZE's delay from a VACUUM's */
#if PG_VERSION_NUM >= 180000
#define egress_vacuum_delay() vacuum_delay_point(false)
#else
#define egress_vacuum_delay() vacuum_delay_point()
#endif

/* PostgreSQL 17 added flush */
#if PG_VERSION_NUM < 170000
#define LogLogicalMessage(prefix, message, size, transactional, flush) \
	LogLogicalMessage(prefix, message, size, transactional)
#endif

/* PostgreSQL 17 has wait events of extensions' own, each with a name; before, all of them are one, Extension */
#if PG_VERSION_NUM >= 170000
#define egress_wait_event(name) WaitEventExtensionNew(name)
#else
#define egress_wait_event(name) PG_WAIT_EXTENSION
#endif

/* PostgreSQL 18 asks a library for its name and version, and shows them in pg_get_loaded_modules() */
#if PG_VERSION_NUM < 180000
#define PG_MODULE_MAGIC_EXT(...) PG_MODULE_MAGIC
#endif

/* PostgreSQL 16 renamed where a relation's file is said */
#if PG_VERSION_NUM >= 160000
#define egress_file_number(relation) ((relation)->rd_locator.relNumber)
#else
#define egress_file_number(relation) ((relation)->rd_node.relNode)
#endif

/* PostgreSQL 19 takes an access method's routine as it is; before, it frees what it was given when it has copied it */
#if PG_VERSION_NUM >= 190000
#define egress_index_am(routine) (routine)
#else
#define egress_index_am(routine) memcpy(palloc(sizeof(IndexAmRoutine)), routine, sizeof(IndexAmRoutine))
#endif

/* PostgreSQL 16 exported the look-up of a setting by its name; NULL when there is none */
static inline struct config_generic *
egress_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (pg_strcasecmp(settings[i]->name, name) == 0)
			return settings[i];
	return NULL;
#endif
}

#endif							/* EGRESS_COMPAT_H */
