/*
 * subject.h -- the subjects of a call
 */
#ifndef EGRESS_SUBJECT_H
#define EGRESS_SUBJECT_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "catalog.h"

/* One of the subjects of a call. */
typedef struct EgressSubject
{
	EgressSubjectType type;
	text	   *id;				/* NULL for everyone */
} EgressSubject;

extern List *subject_list(text *user_id, text *workspace_id, Snapshot snapshot);
extern List *subject_alone(EgressSubjectType type, text *id);
extern char *subject_label(const EgressSubject *subject, const char *quote);

#endif							/* EGRESS_SUBJECT_H */
