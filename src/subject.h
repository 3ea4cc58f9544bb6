/*
 * subject.h -- the subjects of a call
 */
#ifndef EGRESS_SUBJECT_H
#define EGRESS_SUBJECT_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "catalog.h"
#include "value.h"

/* One of the subjects of a call. */
typedef struct EgressSubject
{
	EgressSubjectType type;
	text	   *id;				/* NULL for everyone */
} EgressSubject;

/* subject_is_same -- are two subjects the same? */
static inline bool
subject_is_same(const EgressSubject *a, const EgressSubject *b)
{
	return a->type == b->type && value_same_text(a->id, b->id);
}

/* subject_hash -- for lib/simplehash.h: the hash of a subject */
static inline uint32
subject_hash(const EgressSubject *subject)
{
	return hash_combine(subject->id == NULL ? 0 : value_hash_text(subject->id), (uint32) subject->type);
}

extern List *subject_list(text *user_id, text *workspace_id, Snapshot snapshot);
extern List *subject_alone(EgressSubjectType type, text *id);
extern char *subject_label(const EgressSubject *subject, const char *quote);

#endif							/* EGRESS_SUBJECT_H */
