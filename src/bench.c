/*
 * bench.c -- which gateways and credentials are benched: reading what sessions have reported of them
 *
 * A report that a session could not connect is a row of egress_report, about a gateway or about a credential. Rows are inserted
 * (report.c), deleted when they make no difference any more, and never updated: so reports wait for nobody. Whether something is
 * benched is in no row. bench_state() goes through the reports about it in the order in which they were made, and finds out, by
 * the provider's settings as they are now:
 *	- Nothing counts that was reported before the last success. A success deletes what it finds, and leaves a row only where
 *	  other open transactions have written what it cannot delete.
 *	- What was reported while it was benched counts for nothing.
 *	- Of a round, each session counts once. With the report of the bench_after-th session the round is over, and it is benched from
 *	  then on for bench_for, doubled with each round before, an hour at most.
 *	- What was reported in the future, by a clock that has been set back since, counts for nothing.
 * So a bench ends by the clock, nobody has to do anything for that, and a change of the settings counts at once. Rounds that
 * make no difference, because an hour is the most, are spare: whoever reports next deletes them. So few rows are read however
 * long something has been broken.
 *
 * Where nothing is reported the table has no page: that is found out once a call, and is all that it costs. Else the gateways and
 * credentials that a call comes to are looked up one by one, so that what is reported of others costs nothing. Who has looked up
 * so many that it would have been cheaper to read the table reads it: that is twice the cost at most.
 */
#include "bench.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/timestamp.h"

#include "value.h"

/* the longest that something is benched at a time */
#define LONGEST_BENCH USECS_PER_HOUR

/* so many look-ups cost as much as to read a page of the table */
#define LOOK_UPS_PER_PAGE 16

/* What is reported about: a hash key. */
typedef struct BenchTarget
{
	int64		kind;
	int64		id;
} BenchTarget;

/* The reports about it. */
typedef struct BenchEntry
{
	BenchTarget target;			/* hash key; must be first */
	List	   *reports;		/* of EgressBenchReport */
} BenchEntry;

/* bench_lock_tables -- lock the table that is read here, where the version that is installed has it */
void
bench_lock_tables(LOCKMODE lockmode)
{
	if (catalog_has_table(TABLE_REPORT))
		LockRelationOid(catalog_table(TABLE_REPORT), lockmode);
}

/* bench_index -- the index of the reports about gateways, or about credentials */
EgressIndex
bench_index(EgressBenchKind kind)
{
	return kind == BENCH_GATEWAY ? INDEX_REPORT_GATEWAY : INDEX_REPORT_CREDENTIAL;
}

/* bench_rule -- the settings of the provider in a scan's current row */
EgressBenchRule
bench_rule(EgressScan *provider)
{
	EgressBenchRule rule = {0, 0};
	bool		no_after;
	bool		no_length;
	Datum		after = scan_column(provider, Anum_egress_provider_bench_after, &no_after);
	Datum		length = scan_column(provider, Anum_egress_provider_bench_for, &no_length);

	if (!no_after && !no_length)
	{
		const Interval *interval = DatumGetIntervalP(length);
		double		days = (double) interval->day + (double) DAYS_PER_MONTH * interval->month;
		double		sum = (double) interval->time + (double) USECS_PER_DAY * days;

		rule.after = DatumGetInt32(after);
		/* the sum may not be a number of microseconds; what is longer than the longest is the longest */
		/* what is not above 0 got past the constraint */
		rule.length = sum >= LONGEST_BENCH ? LONGEST_BENCH : Max((int64) sum, 1);
	}
	return rule;
}

/* bench_report -- the report in a scan's current row, in the current memory context */
EgressBenchReport *
bench_report(EgressScan *reports)
{
	EgressBenchReport *report = palloc0(sizeof(EgressBenchReport));
	text	   *session_id = scan_text(reports, Anum_egress_report_session_id);

	report->id = scan_id(reports, Anum_egress_report_egress_report_id);
	report->reported_at = scan_timestamp(reports, Anum_egress_report_reported_at);
	report->session_id = session_id == NULL ? NULL : DatumGetTextPCopy(PointerGetDatum(session_id));
	return report;
}

/* compare_reports -- in the order in which they were made */
static int
compare_reports(const ListCell *a, const ListCell *b)
{
	const EgressBenchReport *left = lfirst(a);
	const EgressBenchReport *right = lfirst(b);

	if (left->reported_at != right->reported_at)
		return left->reported_at < right->reported_at ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

/* length_of -- for how long the n-th round benches */
static int64
length_of(const EgressBenchRule *rule, int64 n)
{
	int64		length = rule->length;

	for (int64 i = 1; i < n && length < LONGEST_BENCH; i++)
		length *= 2;
	return Min(length, LONGEST_BENCH);
}

/* bench_counts_already -- is a session among those of the round? */
bool
bench_counts_already(List *round, text *session_id)
{
	ListCell   *cell;

	foreach(cell, round)
	{
		if (value_same_text(lfirst(cell), session_id))
			return true;
	}
	return false;
}

/* start_anew -- nothing of what was reported until now counts */
static void
start_anew(EgressBench *bench)
{
	bench->failures = 0;
	bench->times = 0;
	bench->until = DT_NOBEGIN;
	bench->last = NULL;
	bench->round = NIL;
}

/* count -- let the next report count: a failure, not reported while it was benched, and not by a session of the round */
static void
count(EgressBench *bench, const EgressBenchReport *report, const EgressBenchRule *rule)
{
	bench->failures++;
	bench->round = lappend(bench->round, report->session_id);
	if (list_length(bench->round) < rule->after)
		return;
	bench->times++;
	bench->until = report->reported_at + length_of(rule, bench->times);
	bench->last = report;
	bench->round = NIL;
}

/* spare_before -- let the reports up to one, of a list in order, be spare */
static void
spare_before(List *reports, int position)
{
	for (int i = 0; i < position; i++)
		((EgressBenchReport *) list_nth(reports, i))->spare = true;
}

/*
 * bench_state -- what the reports about something come to now; the list is sorted, and what is spare is marked
 *
 * What was reported after now counts for nothing: the clock has been set back since, and nobody is to be benched until it is there
 * again. Before: rule->after is not 0. After: bench->last and bench->round point to what the reports have.
 */
void
bench_state(EgressBench *bench, List *reports, const EgressBenchRule *rule, TimestampTz now)
{
	int64		enough = 1;		/* rounds: with more, it would not be benched for longer */
	List	   *ends = NIL;		/* where the rounds end */

	while (length_of(rule, enough) < LONGEST_BENCH)
		enough++;
	list_sort(reports, compare_reports);
	start_anew(bench);
	for (int i = 0; i < list_length(reports); i++)
	{
		EgressBenchReport *report = list_nth(reports, i);

		if (report->reported_at > now)
			/* what another reports at this very moment is not */
			report->spare = report->reported_at > now + LONGEST_BENCH;
		else if (report->session_id == NULL)
		{
			start_anew(bench);
			spare_before(reports, i);
			ends = NIL;
		}
		else if (report->reported_at < bench->until || bench_counts_already(bench->round, report->session_id))
			report->spare = true;
		else
		{
			count(bench, report, rule);
			if (bench->last == report)
				ends = lappend_int(ends, i);
		}
	}
	/* one more than enough stays, so that the last is benched as long whatever goes of those before */
	if (list_length(ends) > enough + 1)
		spare_before(reports, list_nth_int(ends, list_length(ends) - (int) enough - 2) + 1);
}

/* entry_of -- the reports about something, made if need be */
static BenchEntry *
entry_of(HTAB *targets, EgressBenchKind kind, int64 id)
{
	BenchTarget target = {kind, id};
	bool		found;
	BenchEntry *entry = hash_search(targets, &target, HASH_ENTER, &found);

	if (!found)
		entry->reports = NIL;
	return entry;
}

/* read_all -- read all reports that there are */
static void
read_all(EgressBenchLook *look)
{
	MemoryContext old_context = MemoryContextSwitchTo(look->context);
	HASHCTL		info = {
		.keysize = sizeof(BenchTarget),
		.entrysize = sizeof(BenchEntry),
		.hcxt = look->context,
	};
	EgressScan	reports;

	look->nothing = true;
	scan_open_pass(&reports, TABLE_REPORT, AccessShareLock);
	scan_start_pass(&reports, look->snapshot, 0);
	while (scan_next(&reports))
	{
		bool		no_gateway;
		Datum		gateway_id = scan_column(&reports, Anum_egress_report_egress_gateway_id, &no_gateway);
		BenchEntry *entry;

		CHECK_FOR_INTERRUPTS();
		if (look->nothing)
			look->targets = hash_create("egress reports", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		look->nothing = false;
		entry = no_gateway ?
			entry_of(look->targets, BENCH_CREDENTIAL, scan_id(&reports, Anum_egress_report_egress_credential_id)) :
			entry_of(look->targets, BENCH_GATEWAY, DatumGetInt64(gateway_id));
		entry->reports = lappend(entry->reports, bench_report(&reports));
	}
	scan_close(&reports);
	MemoryContextSwitchTo(old_context);
}

/*
 * bench_begin -- get ready to find out what is benched
 *
 * reads_all: bench_targets() will be called. The snapshot stays registered or active as long as it is asked, and the current
 * memory context stays.
 */
void
bench_begin(EgressBenchLook *look, Snapshot snapshot, bool reads_all)
{
	Relation	table;
	BlockNumber pages;

	look->snapshot = snapshot;
	look->now = GetCurrentTimestamp();
	look->context = CurrentMemoryContext;
	look->nothing = true;
	look->targets = NULL;
	look->look_ups = 0;
	if (!catalog_has_table(TABLE_REPORT))
		return;

	table = scan_open_table(TABLE_REPORT, AccessShareLock);
	pages = RelationGetNumberOfBlocks(table);
	table_close(table, NoLock);
	look->nothing = pages == 0;
	look->look_ups = (int64) pages * LOOK_UPS_PER_PAGE;
	if (pages > 0 && reads_all)
		read_all(look);
}

/* look_up -- the reports about something */
static List *
look_up(EgressBenchLook *look, EgressBenchKind kind, int64 id)
{
	EgressScan	reports;
	List	   *result = NIL;

	scan_open(&reports, bench_index(kind), AccessShareLock);
	scan_key_id(&reports, id);
	scan_start(&reports, look->snapshot);
	while (scan_next(&reports))
	{
		CHECK_FOR_INTERRUPTS();
		result = lappend(result, bench_report(&reports));
	}
	scan_close(&reports);
	return result;
}

/* reports_about -- the reports about something */
static List *
reports_about(EgressBenchLook *look, EgressBenchKind kind, int64 id)
{
	BenchTarget target = {kind, id};
	BenchEntry *entry;

	if (look->nothing)
		return NIL;
	if (look->targets == NULL && look->look_ups-- > 0)
		return look_up(look, kind, id);
	if (look->targets == NULL)
		read_all(look);
	entry = look->nothing ? NULL : hash_search(look->targets, &target, HASH_FIND, NULL);
	return entry == NULL ? NIL : entry->reports;
}

/* bench_find -- is a gateway or credential benched at a moment? After: if so, *bench says how */
bool
bench_find(EgressBenchLook *look, EgressBenchKind kind, int64 id, const EgressBenchRule *rule, TimestampTz moment, EgressBench *bench)
{
	List	   *reports = rule->after == 0 ? NIL : reports_about(look, kind, id);

	if (reports == NIL)
		return false;
	bench_state(bench, reports, rule, look->now);
	return bench->until > moment;
}

/* bench_label -- how something is benched, as messages say it */
char *
bench_label(const EgressBench *bench)
{
	return psprintf(bench->failures == 1 ? "benched until %s, after " INT64_FORMAT " report of a session that could not connect" :
					"benched until %s, after " INT64_FORMAT " reports of sessions that could not connect",
					timestamptz_to_str(bench->until), bench->failures);
}

/* bench_targets -- of which gateways, or credentials, there are reports: a List of int64 *; before: reads_all */
List *
bench_targets(EgressBenchLook *look, EgressBenchKind kind)
{
	List	   *result = NIL;
	HASH_SEQ_STATUS status;
	BenchEntry *entry;

	if (look->nothing)
		return NIL;
	hash_seq_init(&status, look->targets);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->target.kind == kind)
			result = lappend(result, &entry->target.id);
	return result;
}
