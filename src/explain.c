/*
 * explain.c -- why a user may or may not use a gateway: egress_explain_access(user_id, workspace_id, egress_gateway_id)
 *
 * The decision is access_decide(), as in the menu and in an acquire, and the connections are counted by capacity.c, as in
 * the menu. What is added here is words: which mapping or credential is in the way, and what would change that. Reads
 * only, as of the calling query's snapshot, so it works on a standby.
 *
 * An acquire passes over a credential that it cannot open. Here none is opened, so only that a key is missing is found
 * out, not that a secret was changed. The menu does not ask for keys: where all credentials that have a connection
 * free lack theirs, it lists the gateway with those connections, and the verdict is at_limit, because there is none to
 * be had.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "access.h"
#include "argument.h"
#include "capacity.h"
#include "compat.h"
#include "keyring.h"
#include "scan.h"
#include "secret.h"
#include "shape.h"
#include "value.h"

#define EXPLANATION_COLUMNS 6
#define EXPLANATION_TYPES "itttit"

/* how many credentials that are in the way a sentence names */
#define CREDENTIALS_NAMED 3

/* what an administrator would do about a credential that lacks a key */
#define PUT_KEY_BACK "put the key back into the file of egress.secret_key_file"

/* What is said of a gateway. */
typedef struct Answer
{
	const char *verdict;		/* NULL: not known yet */
	EgressEntitlement *credential;	/* that an acquire would take, or NULL */
	const char *detail;
} Answer;

/* An explanation at work. */
typedef struct Explanation
{
	ReturnSetInfo *result;
	EgressCall	call;
	EgressAccess *access;		/* of the current provider */

	/*
	 * what is said of all its gateways with the same verdict, unless they are benched; available: of those that no credential
	 * selects, or may be at once
	 */
	Answer		answers[ACCESS_AVAILABLE + 1];
	EgressCapacity capacity;
	EgressUserCapacity user;
	EgressScan	credentials;	/* by id, for their names */
	MemoryContext context;		/* of the scans and of the answers, which go on from row to row */
	MemoryContext row_context;	/* of the words of one row */
} Explanation;

PG_FUNCTION_INFO_V1(egress_explain_access);

/* subjects_label -- all subjects of the call as a sentence names them */
static char *
subjects_label(EgressCall *call)
{
	StringInfoData label;
	int			groups = 0;
	ListCell   *cell;

	foreach(cell, call->subjects)
	{
		if (((EgressSubject *) lfirst(cell))->type == SUBJECT_GROUP)
			groups++;
	}

	initStringInfo(&label);
	appendStringInfo(&label, "everyone, user '%s'", text_to_cstring(call->user_id));
	if (call->workspace_id != NULL)
		appendStringInfo(&label, ", workspace '%s'", text_to_cstring(call->workspace_id));
	if (groups == 0)
		appendStringInfoString(&label, " (the user is in no group)");
	else if (groups == 1)
		appendStringInfoString(&label, " or the group the user is in");
	else
		appendStringInfo(&label, " or one of the %d groups the user is in", groups);
	return label.data;
}

/* find_credential -- let a credential be the current row of the scan for their names */
static void
find_credential(Explanation *explanation, int64 credential_id)
{
	MemoryContext old_context = MemoryContextSwitchTo(explanation->context);
	bool		found = scan_find_id(&explanation->credentials, credential_id, explanation->call.snapshot);

	MemoryContextSwitchTo(old_context);
	if (!found)
		elog(ERROR, "credential " INT64_FORMAT " is missing", credential_id);
}

/* credential_label -- a credential as a sentence names it */
static char *
credential_label(Explanation *explanation, int64 credential_id)
{
	find_credential(explanation, credential_id);
	return psprintf("credential " INT64_FORMAT " '%s'", credential_id,
					scan_name(&explanation->credentials, Anum_egress_credential_name));
}

/* lacks_key -- is a secret of the credential sealed under a key that is not there? Found out once a call */
static bool
lacks_key(Explanation *explanation, EgressEntitlement *credential)
{
	MemoryContext old_context;

	if (credential->sealed_known)
		return credential->missing_key != NULL;

	find_credential(explanation, credential->id);
	old_context = MemoryContextSwitchTo(explanation->context);
	for (int i = 0; i < CREDENTIAL_SECRET_COUNT && credential->missing_key == NULL; i++)
	{
		bool		isnull;
		Datum		value = scan_column(&explanation->credentials, credential_secrets[i].column, &isnull);

		credential->missing_key = isnull ? NULL : secret_missing_key(value);
		credential->missing_field = credential_secrets[i].name;
	}
	MemoryContextSwitchTo(old_context);
	credential->sealed_known = true;
	return credential->missing_key != NULL;
}

/*
 * first_to_take -- the credential that an acquire would take, of those that fit; NULL when there is none
 *
 * After: each before it, or each when there is none, is full or at the gateway and has been counted, or lacks_key() says what it lacks.
 */
static EgressEntitlement *
first_to_take(Explanation *explanation, List *credentials, int64 gateway_id)
{
	/* what counting them opens stays open */
	MemoryContext old_context = MemoryContextSwitchTo(explanation->context);
	EgressEntitlement *result = NULL;

	for (int i = 0; result == NULL && i < list_length(credentials); i++)
	{
		EgressEntitlement *credential = list_nth(credentials, i);

		if (capacity_is_free(&explanation->capacity, credential, credentials, gateway_id) && !lacks_key(explanation, credential))
			result = credential;
	}
	MemoryContextSwitchTo(old_context);
	return result;
}

/*
 * nothing_allows -- the sentence for a gateway that no mapping, or no credential, allows
 *
 * named are the provider's that name the call. One of these is the nearest thing to change, if there is any: one that
 * selects other gateways, or one that is disabled.
 */
static char *
nothing_allows(Explanation *explanation, const char *what, const char *table, List *named)
{
	EgressEntitlement *nearest = NULL;
	ListCell   *cell;
	char	   *label;

	foreach(cell, named)
	{
		EgressEntitlement *entitlement = lfirst(cell);

		if (!entitlement->left_out && (nearest == NULL || (entitlement->enabled && !nearest->enabled)))
			nearest = entitlement;
	}
	if (nearest == NULL && named == explanation->access->mappings && explanation->call.overrides)
		return psprintf("no enabled %s of provider '%s' names workspace '%s', which overrides egress gateways: add one to %s", what,
						explanation->access->provider_name, text_to_cstring(explanation->call.workspace_id), table);
	if (nearest == NULL)
		return psprintf("no enabled %s of provider '%s' names %s: add one to %s", what,
						explanation->access->provider_name, subjects_label(&explanation->call), table);

	label = named == explanation->access->credentials ? credential_label(explanation, nearest->id) :
		psprintf("%s " INT64_FORMAT, what, nearest->id);
	if (nearest->enabled)
		return psprintf("%s of provider '%s' names %s, but does not select the gateway: add it to %s_gateway",
						label, explanation->access->provider_name, subject_label(nearest->subject, "'"), table);
	return psprintf("%s of provider '%s' names %s, but is disabled: enable it in %s",
					label, explanation->access->provider_name, subject_label(nearest->subject, "'"), table);
}

/* passed_over -- the credentials before one, or all when that is NULL, which lack a key; or those which do not */
static List *
passed_over(List *credentials, EgressEntitlement *before, bool lack)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, credentials)
	{
		EgressEntitlement *credential = lfirst(cell);

		if (credential == before)
			break;
		if ((credential->missing_key != NULL) == lack)
			result = lappend(result, credential);
	}
	return result;
}

/* benched -- how a gateway or credential is benched, after whose report, and when that was */
static char *
benched(const EgressBench *bench)
{
	char	   *label = bench_label(bench);

	/* each call of timestamptz_to_str() overwrites what the one before returned */
	return psprintf("%s, the last of session '%s' at %s", label, text_to_cstring(bench->last->session_id),
					timestamptz_to_str(bench->last->reported_at));
}

/* lift_bench -- what an administrator would do about that; argument is egress_unbench()'s */
static char *
lift_bench(const char *argument, int64 id)
{
	return psprintf("call egress_unbench(%s => " INT64_FORMAT "), or wait until then", argument, id);
}

/* in_the_way -- a credential, and why an acquire does not take it */
static char *
in_the_way(Explanation *explanation, EgressEntitlement *credential, int64 gateway_id)
{
	char	   *label = credential_label(explanation, credential->id);

	if (credential->missing_key != NULL)
		return psprintf("%s cannot be opened, as key %s of its %s is missing", label,
						credential->missing_key, credential->missing_field);
	if (credential->bench != NULL)
		return psprintf("%s is %s", label, benched(credential->bench));
	if (capacity_is_at(credential, gateway_id) && credential->cooling > 0)
		return psprintf("%s is at the gateway already, where it may be once, or was until a moment ago: " INT64_FORMAT
						" of its connections %s until %s", label, credential->cooling,
						credential->cooling == 1 ? "cools down" : "cool down, the first", timestamptz_to_str(credential->cooled_at));
	if (capacity_is_at(credential, gateway_id))
		return psprintf("%s is at the gateway already, where it may be once", label);
	if (credential->cooling > 0)
		return psprintf("%s is at its limit of %d, with " INT64_FORMAT " in use and " INT64_FORMAT " that %s until %s", label,
						credential->limit, credential->active - credential->cooling, credential->cooling,
						credential->cooling == 1 ? "cools down" : "cool down, the first", timestamptz_to_str(credential->cooled_at));
	if (credential->active > credential->limit)
		return psprintf("%s is over its limit of %d, with " INT64_FORMAT " in use", label,
						credential->limit, credential->active);
	return psprintf("%s is at its limit of %d", label, credential->limit);
}

/* benched_of -- those of these credentials that are benched */
static List *
benched_of(List *credentials)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, credentials)
	{
		if (((EgressEntitlement *) lfirst(cell))->bench != NULL)
			result = lappend(result, lfirst(cell));
	}
	return result;
}

/* lift_one -- what an administrator would do about the first of the credentials that are benched */
static char *
lift_one(List *credentials)
{
	return lift_bench("egress_credential_id", ((EgressEntitlement *) linitial(credentials))->id);
}

/* any_is_at -- is one of these credentials, which have been counted, at a gateway where it may be once? */
static bool
any_is_at(List *credentials, int64 gateway_id)
{
	ListCell   *cell;

	foreach(cell, credentials)
	{
		if (capacity_is_at(lfirst(cell), gateway_id))
			return true;
	}
	return false;
}

/* any_cools -- does a connection of one of these credentials, which have been counted, cool down? */
static bool
any_cools(List *credentials)
{
	ListCell   *cell;

	foreach(cell, credentials)
	{
		if (((EgressEntitlement *) lfirst(cell))->cooling > 0)
			return true;
	}
	return false;
}

/* append_in_the_way -- name the first of these credentials, each with what is in the way */
static void
append_in_the_way(StringInfo sentence, Explanation *explanation, List *credentials, int64 gateway_id)
{
	for (int i = 0; i < Min(list_length(credentials), CREDENTIALS_NAMED); i++)
		appendStringInfo(sentence, "%s%s", i == 0 ? "" : ", ", in_the_way(explanation, list_nth(credentials, i), gateway_id));
}

/* none_to_take -- the sentence for a gateway whose credentials are all at their limits, or at the gateway, or benched, or lack a key */
static char *
none_to_take(Explanation *explanation, List *credentials, int64 gateway_id)
{
	List	   *unopened = passed_over(credentials, NULL, true);
	List	   *full = passed_over(credentials, NULL, false);
	int			others = list_length(credentials) - CREDENTIALS_NAMED;
	List	   *on_bench = benched_of(full);
	bool		at_gateway = any_is_at(full, gateway_id) || on_bench != NIL;
	StringInfoData sentence;

	initStringInfo(&sentence);
	append_in_the_way(&sentence, explanation, list_concat_copy(unopened, full), gateway_id);
	if (others > 0 && list_length(unopened) > CREDENTIALS_NAMED)
		appendStringInfo(&sentence, ngettext(", and %d other cannot be used either", ", and %d others cannot be used either", others),
						 others);
	else if (others > 0 && at_gateway)
		appendStringInfo(&sentence, ngettext(", and %d other has none free either", ", and %d others have none free either", others),
						 others);
	else if (others > 0)
		appendStringInfo(&sentence, ngettext(", and %d other is at its limit", ", and %d others are at their limits", others),
						 others);
	appendStringInfo(&sentence, ": %s%s%s%s",
					 unopened == NIL ? "" : PUT_KEY_BACK,
					 unopened == NIL || full == NIL ? "" : ", or ",
					 full == NIL ? "" : on_bench != NIL ? lift_one(on_bench) : at_gateway ? "add a credential, or wait until a session ends" :
					 "raise a limit, or wait until a session ends",
					 on_bench == NIL && any_cools(full) ? ", or until then" : "");
	return sentence.data;
}

/* append_left -- say how many connections the user may still have, if that is limited */
static void
append_left(StringInfo sentence, Explanation *explanation)
{
	EgressUserCapacity *user = &explanation->user;

	if (user->limited)
		appendStringInfo(sentence, "; the limit of %s leaves the user " INT64_FORMAT " of %d", subject_label(user->limit.subject, "'"),
						 capacity_left(user, CAPACITY_UNLIMITED), user->limit.connections);
}

/* to_take -- the sentence for a gateway that an acquire would get this credential for */
static char *
to_take(Explanation *explanation, EgressEntitlement *credential, List *credentials, int64 gateway_id)
{
	List	   *unopened = passed_over(credentials, credential, true);
	List	   *on_bench = benched_of(passed_over(credentials, credential, false));
	StringInfoData sentence;

	initStringInfo(&sentence);
	appendStringInfoString(&sentence, credential_label(explanation, credential->id));
	if (!credential->limited && credential->once)
		appendStringInfoString(&sentence, " has no limit, and is not at the gateway");
	else if (!credential->limited)
		appendStringInfoString(&sentence, " has no limit");
	else
		appendStringInfo(&sentence, " has " INT64_FORMAT " of %d connections free",
						 credential->limit - credential->active, credential->limit);
	append_left(&sentence, explanation);
	if (unopened != NIL)
	{
		appendStringInfoString(&sentence, "; passed over: ");
		append_in_the_way(&sentence, explanation, unopened, gateway_id);
		appendStringInfoString(&sentence, ": " PUT_KEY_BACK);
	}
	if (on_bench != NIL)
	{
		appendStringInfoString(&sentence, "; passed over: ");
		append_in_the_way(&sentence, explanation, on_bench, gateway_id);
		appendStringInfo(&sentence, ": %s", lift_one(on_bench));
	}
	return sentence.data;
}

/* user_at_limit -- the sentence for a user who has as many connections as are allowed */
static char *
user_at_limit(Explanation *explanation)
{
	EgressUserCapacity *user = &explanation->user;
	char	   *whose = subject_label(user->limit.subject, "'");

	if (user->sessions.count == 0)
		return psprintf("the limit of %s is %d: raise it in egress_user_limit", whose, user->limit.connections);
	return psprintf("the limit of %s is %d, and user '%s' has " INT64_FORMAT "%s, by %s: raise it in egress_user_limit, or wait until enough of these have ended",
					whose, user->limit.connections, text_to_cstring(explanation->call.user_id), user->sessions.count,
					user->sessions.count == 1 ? " connection" : " connections", user_limit_sessions_label(&user->sessions, "'"));
}

/* put_row -- one row of the explanation */
static void
put_row(Explanation *explanation, EgressScan *gateway, const Answer *answer)
{
	Datum		values[EXPLANATION_COLUMNS];
	bool		nulls[EXPLANATION_COLUMNS] = {false};

	values[0] = scan_value(gateway, Anum_egress_gateway_egress_gateway_id);
	values[1] = scan_value(gateway, Anum_egress_gateway_name);
	values[2] = CStringGetTextDatum(explanation->access->provider_name);
	values[3] = CStringGetTextDatum(answer->verdict);
	values[4] = Int64GetDatum(answer->credential == NULL ? 0 : answer->credential->id);
	nulls[4] = answer->credential == NULL;
	values[5] = CStringGetTextDatum(answer->detail);
	tuplestore_putvalues(explanation->result->setResult, explanation->result->setDesc, values, nulls);
}

/* answer_for -- what is said of a gateway of the current provider; credentials are those that fit, if it is available */
static Answer
answer_for(Explanation *explanation, EgressVerdict verdict, List *credentials, int64 gateway_id)
{
	EgressAccess *access = explanation->access;
	const char *provider = access->provider_name;
	EgressEntitlement *credential;
	EgressBench bench;

	switch (verdict)
	{
		case ACCESS_GATEWAY_WITHDRAWN:
			return (Answer) {"gateway_withdrawn", NULL,
							 psprintf(access->provider_managed ?
									  "provider '%s' no longer lists the gateway: it comes back with a sync whose list has it" :
									  "provider '%s' no longer listed the gateway, and is not managed any more: set withdrawn to false in egress_gateway",
									  provider)};
		case ACCESS_GATEWAY_DISABLED:
			return (Answer) {"gateway_disabled", NULL, "the gateway is disabled: enable it in egress_gateway"};
		case ACCESS_PROVIDER_DISABLED:
			return (Answer) {"provider_disabled", NULL,
							 psprintf("provider '%s' is disabled: enable it in egress_provider", provider)};
		case ACCESS_OVERRIDDEN:
			return (Answer) {"overridden", NULL,
							 psprintf("workspace '%s' overrides egress gateways, and no enabled mapping of provider '%s' that names the workspace allows the gateway: add one, or turn off override_egress_gateways",
									  text_to_cstring(explanation->call.workspace_id), provider)};
		case ACCESS_NOT_MAPPED:
			return (Answer) {"not_mapped", NULL,
							 nothing_allows(explanation, "mapping", "egress_provider_mapping", access->mappings)};
		case ACCESS_NO_CREDENTIAL:
			return (Answer) {"no_credential", NULL,
							 nothing_allows(explanation, "credential", "egress_credential", access->credentials)};
		case ACCESS_BENCHED:
			if (!access_is_benched(access, BENCH_GATEWAY, gateway_id, &bench))
				elog(ERROR, "gateway " INT64_FORMAT " is not benched", gateway_id);
			return (Answer) {"benched", NULL,
							 psprintf("the gateway is %s: %s", benched(&bench), lift_bench("egress_gateway_id", gateway_id))};
		case ACCESS_AVAILABLE:
			break;
	}

	if (capacity_left(&explanation->user, 1) == 0)
		return (Answer) {"user_limit", NULL, user_at_limit(explanation)};
	credential = first_to_take(explanation, credentials, gateway_id);
	if (credential == NULL)
		return (Answer) {"at_limit", NULL, none_to_take(explanation, credentials, gateway_id)};
	return (Answer) {"available", credential, to_take(explanation, credential, credentials, gateway_id)};
}

/* any_is_once -- may one of these credentials be at each gateway once? */
static bool
any_is_once(List *credentials)
{
	ListCell   *cell;

	foreach(cell, credentials)
	{
		if (((EgressEntitlement *) lfirst(cell))->once)
			return true;
	}
	return false;
}

/* explain_provider -- let the gateways that are explained next be those of a provider */
static void
explain_provider(Explanation *explanation, EgressAccess *access)
{
	explanation->access = access;
	memset(explanation->answers, 0, sizeof(explanation->answers));
}

/*
 * explain_gateway -- explain the current gateway, which is of the current provider
 *
 * What is the same for many gateways of a provider is found out once.
 */
static void
explain_gateway(Explanation *explanation, EgressScan *gateway)
{
	EgressAccess *access = explanation->access;
	int64		gateway_id = scan_id(gateway, Anum_egress_gateway_egress_gateway_id);
	EgressVerdict verdict = access_decide_row(access, gateway);
	Answer	   *answer = &explanation->answers[verdict];
	Answer		own = {0};
	List	   *credentials = NIL;
	MemoryContext old_context = MemoryContextSwitchTo(explanation->row_context);

	/* each is benched in its own way */
	if (verdict == ACCESS_BENCHED)
		answer = &own;
	if (verdict == ACCESS_AVAILABLE)
	{
		credentials = access_credentials(access, gateway_id);
		if (credentials != access->credentials_all || any_is_once(credentials))
			answer = &own;
	}
	if (answer->verdict == NULL)
	{
		MemoryContextSwitchTo(answer == &own ? explanation->row_context : explanation->context);
		*answer = answer_for(explanation, verdict, credentials, gateway_id);
		MemoryContextSwitchTo(explanation->row_context);
	}
	put_row(explanation, gateway, answer);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(explanation->row_context);
}

/* explain_one -- explain one gateway; NG001 when there is none of this id */
static void
explain_one(Explanation *explanation, int64 gateway_id)
{
	EgressScan	gateway;

	scan_open(&gateway, INDEX_GATEWAY_ID, AccessShareLock);
	access_find_gateway(&gateway, gateway_id, explanation->call.snapshot);
	explain_provider(explanation, access_to_gateway(&explanation->call, &gateway));
	explain_gateway(explanation, &gateway);
	scan_close(&gateway);
}

/* explain_all -- explain every gateway, in the order of the menu */
static void
explain_all(Explanation *explanation)
{
	EgressScan	gateways;
	List	   *providers;
	ListCell   *cell;

	scan_open(&gateways, INDEX_GATEWAY_MENU, AccessShareLock);
	providers = access_to_all_providers(&explanation->call);
	access_sort_by_name(providers);
	foreach(cell, providers)
	{
		explain_provider(explanation, lfirst(cell));
		scan_key_id(&gateways, explanation->access->provider_id);
		scan_start(&gateways, explanation->call.snapshot);
		while (scan_next(&gateways))
		{
			CHECK_FOR_INTERRUPTS();
			explain_gateway(explanation, &gateways);
		}
	}
	scan_close(&gateways);
}

/* egress_explain_access -- see COMMENT ON FUNCTION */
Datum
egress_explain_access(PG_FUNCTION_ARGS)
{
	text	   *user_id = argument_id(fcinfo, 0, "user_id");
	text	   *workspace_id = argument_optional_id(fcinfo, 1, "workspace_id");
	Explanation explanation;

	catalog_use(fcinfo->flinfo->fn_oid);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	explanation.result = (ReturnSetInfo *) fcinfo->resultinfo;
	shape_check_result(explanation.result->setDesc, "egress_access_explanation", EXPLANATION_TYPES);
	explanation.context = CurrentMemoryContext;
	explanation.row_context = AllocSetContextCreate(CurrentMemoryContext, "egress explanation", ALLOCSET_DEFAULT_SIZES);

	access_begin(&explanation.call, user_id, workspace_id, GetActiveSnapshot(), value_query_moment(fcinfo), ACCESS_TO_EXPLAIN);
	capacity_begin(&explanation.capacity, explanation.call.snapshot, explanation.call.moment);
	capacity_user(&explanation.capacity, &explanation.call, &explanation.user);
	/* the keys that an acquire would have */
	keyring_load_anew();
	scan_open(&explanation.credentials, INDEX_CREDENTIAL_ID, AccessShareLock);
	if (PG_ARGISNULL(2))
		explain_all(&explanation);
	else
		explain_one(&explanation, PG_GETARG_INT64(2));
	scan_close(&explanation.credentials);
	capacity_end(&explanation.capacity);
	MemoryContextDelete(explanation.row_context);

	return (Datum) 0;
}
