/*
 * subject.c -- the subjects of a call: everyone, the user, the workspace, and the groups that the user is in
 */
#include "subject.h"

#include "utils/builtins.h"

#include "scan.h"

/* add -- one more subject */
static List *
add(List *subjects, EgressSubjectType type, text *id)
{
	EgressSubject *subject = palloc(sizeof(EgressSubject));

	subject->type = type;
	subject->id = id;
	return lappend(subjects, subject);
}

/* subject_list -- the subjects of a user and a workspace, or of no workspace when that is NULL: a List of EgressSubject */
List *
subject_list(text *user_id, text *workspace_id, Snapshot snapshot)
{
	List	   *subjects = add(NIL, SUBJECT_EVERYONE, NULL);
	EgressScan	scan;

	subjects = add(subjects, SUBJECT_USER, user_id);
	if (workspace_id != NULL)
		subjects = add(subjects, SUBJECT_WORKSPACE, workspace_id);

	scan_open(&scan, INDEX_GROUP_MEMBER_ID, AccessShareLock);
	scan_key_text(&scan, user_id);
	scan_start(&scan, snapshot);
	while (scan_next(&scan))
		subjects = add(subjects, SUBJECT_GROUP, DatumGetTextPCopy(scan_value(&scan, Anum_egress_group_member_group_id)));
	scan_close(&scan);
	return subjects;
}

/* subject_alone -- the same with one subject */
List *
subject_alone(EgressSubjectType type, text *id)
{
	return add(NIL, type, id);
}

/* subject_label -- a subject as a sentence names it; quote stands around its id */
char *
subject_label(const EgressSubject *subject, const char *quote)
{
	const char *kind = NULL;

	switch (subject->type)
	{
		case SUBJECT_EVERYONE:
			return pstrdup("everyone");
		case SUBJECT_USER:
			kind = "user";
			break;
		case SUBJECT_GROUP:
			kind = "group";
			break;
		case SUBJECT_WORKSPACE:
			kind = "workspace";
			break;
	}
	return psprintf("%s %s%s%s", kind, quote, text_to_cstring(subject->id), quote);
}
