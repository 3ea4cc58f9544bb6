/*
 * bench.h -- which gateways and credentials are benched: what sessions have reported of them
 */
#ifndef EGRESS_BENCH_H
#define EGRESS_BENCH_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/snapshot.h"

#include "scan.h"

/* What reports are about. */
typedef enum EgressBenchKind
{
	BENCH_GATEWAY,
	BENCH_CREDENTIAL
} EgressBenchKind;

#define BENCH_KIND_COUNT (BENCH_CREDENTIAL + 1)

/* A provider's settings. */
typedef struct EgressBenchRule
{
	int32		after;			/* so many reports of different sessions bench; 0: none do */
	int64		length;			/* for so many microseconds, the first time */
} EgressBenchRule;

/* A report as it was read. */
typedef struct EgressBenchReport
{
	int64		id;
	TimestampTz reported_at;
	text	   *session_id;		/* that could not connect; NULL: a success, before which nothing counts */
	bool		spare;			/* after bench_state(): it makes no difference, and may go */
} EgressBenchReport;

/* What the reports about a gateway or credential come to. */
typedef struct EgressBench
{
	int64		failures;		/* that count since the last success */
	int64		times;			/* how often it was benched since */
	TimestampTz until;			/* benched until then; DT_NOBEGIN: never yet */
	const EgressBenchReport *last;	/* the report that benched it then */
	List	   *round;			/* of text: the sessions whose reports count for the next time */
} EgressBench;

/* A look at all reports, as of a snapshot. */
typedef struct EgressBenchLook
{
	Snapshot	snapshot;
	TimestampTz now;			/* when it began */
	MemoryContext context;		/* of what is kept */
	bool		nothing;		/* there is no report at all */
	HTAB	   *targets;		/* all that there are, or NULL: they are looked up one by one, */
	int64		look_ups;		/* so many more */
} EgressBenchLook;

extern void bench_lock_tables(LOCKMODE lockmode);
extern EgressBenchRule bench_rule(EgressScan *provider);
extern EgressBenchReport *bench_report(EgressScan *reports);
extern bool bench_counts_already(List *round, text *session_id);
extern void bench_state(EgressBench *bench, List *reports, const EgressBenchRule *rule, TimestampTz now);
extern void bench_begin(EgressBenchLook *look, Snapshot snapshot, bool reads_all);
extern bool bench_find(EgressBenchLook *look, EgressBenchKind kind, int64 id, const EgressBenchRule *rule, TimestampTz moment, EgressBench *bench);
extern char *bench_label(const EgressBench *bench);
extern EgressIndex bench_index(EgressBenchKind kind);
extern List *bench_targets(EgressBenchLook *look, EgressBenchKind kind);

#endif							/* EGRESS_BENCH_H */
