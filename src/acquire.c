/*
 * acquire.c -- taking a connection: egress_acquire_credential(user_id, workspace_id, egress_gateway_id, session_id, ttl)
 *
 * An acquire decides by what is committed now, not by the snapshot of its transaction: access that was revoked and
 * limits that were lowered hold at every isolation level. Its steps:
 *	0. Could a session table have the session's id, and is the session there, if it has to be (sessions.c)?
 *	1. LOCK_SESSION. Is there a lease of the session (lease.c), also in an open transaction? Then wait for that
 *	   transaction, the lock given back, and look again. A lease that is there is returned, if it is for the same thing,
 *	   as durable as a new one (lease_confirm()); one that has expired is ended.
 *	2. LOCK_USER, shared. Decide access (access.c), and whether the user has a limit (user_limit.c): if so, LOCK_USER is given back.
 *	3. For each credential that fits, by ascending id: pass over it if it is certainly full (pool.c).
 *	   Otherwise take, unless they are held by now, LOCK_USER, exclusive, with a slot of the user's, if there is a limit (stop if it
 *	   is reached), and LOCK_GATEWAY, shared (stop if the gateway is being deleted); and take a connection of the credential, if it
 *	   has one (limit_take()).
 *	   A credential with a secret that cannot be opened is passed over, like a full one. The keys are read before the
 *	   locks are taken. If one is missing, the locks are given back, the keys read anew, and the credential tried again.
 *	4. With a ttl, insert when the lease ends.
 *	5. Put the credential into the gateway's config.
 * Why that keeps the limit, why nobody waits, and why a rollback of any kind needs no clean-up is in doc/limit.md.
 */
#include "postgres.h"

#include <sodium.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access.h"
#include "acquire.h"
#include "argument.h"
#include "compat.h"
#include "config.h"
#include "errors.h"
#include "fitting.h"
#include "keyring.h"
#include "lease.h"
#include "limit.h"
#include "lock.h"
#include "pool.h"
#include "scan.h"
#include "secret.h"
#include "sessions.h"
#include "shape.h"
#include "value.h"

/* what an acquire returns */
enum
{
	ACQUIRED_CREDENTIAL_ID,
	ACQUIRED_CREDENTIAL_NAME,
	ACQUIRED_USERNAME,
	ACQUIRED_PASSWORD,
	ACQUIRED_PRIVATE_KEY,
	ACQUIRED_CUSTOM_CREDENTIAL,
	ACQUIRED_GATEWAY_NAME,
	ACQUIRED_COUNTRY,
	ACQUIRED_CITY,
	ACQUIRED_PROVIDER_ID,
	ACQUIRED_PROVIDER_NAME,
	ACQUIRED_PROVIDER_TYPE,
	ACQUIRED_CONFIG,
	ACQUIRED_AT,
	ACQUIRED_CLIENT_CERTIFICATE,
	ACQUIRED_CLIENT_KEY,
	ACQUIRED_ADDRESS,
	ACQUIRED_PRESHARED_KEY,
	ACQUIRED_COLUMNS
};

/* and their types: shape.c */
#define ACQUIRED_TYPES "ittttttttitptztttt"

/* where the secrets are */
static const int secret_columns[CREDENTIAL_SECRET_COUNT] = {
	[SECRET_PASSWORD] = ACQUIRED_PASSWORD,
	[SECRET_PRIVATE_KEY] = ACQUIRED_PRIVATE_KEY,
	[SECRET_CUSTOM_CREDENTIAL] = ACQUIRED_CUSTOM_CREDENTIAL,
	[SECRET_CLIENT_KEY] = ACQUIRED_CLIENT_KEY,
	[SECRET_PRESHARED_KEY] = ACQUIRED_PRESHARED_KEY,
};

PG_FUNCTION_INFO_V1(egress_acquire_credential);

/* open_secret -- open a secret of the credential that is the current row, if it has it; false when that cannot be done */
static bool
open_secret(EgressAcquire *acquire, EgressCredentialSecret which)
{
	bool		isnull;
	Datum		value = scan_column(&acquire->credentials, credential_secrets[which].column, &isnull);

	if (!isnull)
		acquire->outcome = secret_try_open_at_once(DatumGetSecretPP(value), &acquire->opened[which]);
	acquire->unopened = which;
	return acquire->outcome == SECRET_OPENED;
}

/* open_secrets -- open the secrets of the credential that is the current row; false if one cannot be; an EgressLimitUsable */
static bool
open_secrets(void *arg)
{
	EgressAcquire *acquire = arg;

	acquire->outcome = SECRET_OPENED;
	for (EgressCredentialSecret which = 0; which < CREDENTIAL_SECRET_COUNT; which++)
	{
		secret_wipe(acquire->opened[which]);
		acquire->opened[which] = NULL;
	}
	for (EgressCredentialSecret which = 0; which < CREDENTIAL_SECRET_COUNT; which++)
		if (!open_secret(acquire, which))
			return false;
	return true;
}

/* gateway_label -- the gateway as messages name it */
static char *
gateway_label(EgressAcquire *acquire)
{
	return psprintf(INT64_FORMAT " \"%s\"", acquire->gateway_id,
					scan_name(&acquire->gateways, Anum_egress_gateway_name));
}

/* acquire_call_label -- the user and workspace as messages name them */
char *
acquire_call_label(text *user_id, text *workspace_id)
{
	if (workspace_id == NULL)
		return psprintf("user \"%s\" without a workspace", text_to_cstring(user_id));
	return psprintf("user \"%s\" in workspace \"%s\"", text_to_cstring(user_id), text_to_cstring(workspace_id));
}

/* acquire_cools -- a sentence to follow others, of when the first connection that was seen to cool down is free; empty if none was */
const char *
acquire_cools(TimestampTz cooled_at)
{
	if (cooled_at == DT_NOEND)
		return "";
	return psprintf(" The next connection that cools down is free at %s.", timestamptz_to_str(cooled_at));
}

/* refuse -- raise NG002 or NG003 */
pg_noreturn static void
refuse(EgressAcquire *acquire, EgressVerdict verdict)
{
	const char *provider = acquire->access->provider_name;
	const char *gateway = gateway_label(acquire);
	const char *caller = acquire_call_label(acquire->user_id, acquire->workspace_id);
	EgressBench bench;

	if (verdict == ACCESS_BENCHED && access_is_benched(acquire->access, BENCH_GATEWAY, acquire->gateway_id, &bench))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_GATEWAY_NOT_AVAILABLE),
				 errmsg("gateway %s is not available to %s", gateway, caller),
				 errdetail("It is %s.", bench_label(&bench)),
				 errhint("Acquire another gateway, or try again then.")));
	if (verdict == ACCESS_NO_CREDENTIAL)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_NO_CREDENTIAL),
				 errmsg("no credential for gateway %s fits %s", gateway, caller),
				 errdetail("No enabled credential of provider \"%s\" that allows the gateway is for everyone, the user, the workspace or a group of the user.",
						   provider),
				 errhint("See egress_credential, egress_credential_gateway and egress_group_member.")));

	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_GATEWAY_NOT_AVAILABLE),
			 errmsg("gateway %s is not available to %s", gateway, caller),
			 verdict == ACCESS_GATEWAY_WITHDRAWN ? errdetail("The provider has withdrawn the gateway.") :
			 verdict == ACCESS_GATEWAY_DISABLED ? errdetail("The gateway is disabled.") :
			 verdict == ACCESS_PROVIDER_DISABLED ? errdetail("Provider \"%s\" is disabled.", provider) :
			 verdict == ACCESS_OVERRIDDEN ?
			 errdetail("The workspace overrides egress gateways, and no enabled mapping of provider \"%s\" that allows the gateway is for the workspace.",
					   provider) :
			 errdetail("No enabled mapping of provider \"%s\" that allows the gateway is for everyone, the user, the workspace or a group of the user.",
					   provider),
			 verdict == ACCESS_NOT_MAPPED || verdict == ACCESS_OVERRIDDEN ?
			 errhint("See egress_provider_mapping, egress_provider_mapping_gateway and egress_group_member.") : 0));
}

/*
 * refuse_full -- raise NG004; some of the credentials that fit may have been passed over because they cannot be opened
 *
 * at_gateway: one or more because they are at the gateway already; benched: one or more because they are. cooled_at: see EgressAcquireTry.
 */
pg_noreturn static void
refuse_full(EgressAcquire *acquire, bool at_gateway, bool benched, TimestampTz cooled_at)
{
	bool		cooling = cooled_at != DT_NOEND;
	const char *is_full;
	const char *are_full;
	const char *caller = acquire_call_label(acquire->user_id, acquire->workspace_id);
	const char *cools = acquire_cools(cooled_at);
	int			unopened = acquire->passed_over.count;
	int			fitting = POOL_BIG;

	/* nobody reads a big pool to be told how big it is */
	if (!acquire->access->big || unopened > 0)
		fitting = access_count_fitting(acquire->access, acquire->gateway_id);
	is_full = benched ? "is benched" :
		at_gateway && cooling ? "is at the gateway, or was until a moment ago, where it may be once" :
		at_gateway ? "is at the gateway already, where it may be once" : "is at its limit";
	are_full = benched && at_gateway ? "are at their limits, at the gateway already, where each may be once, or benched" :
		benched ? "are at their limits, or benched" :
		at_gateway ? "are at their limits, or at the gateway already, where each may be once" : "are at their limits";
	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_AT_LIMIT),
			 errmsg("no connection is free for gateway %s", gateway_label(acquire)),
			 acquire->access->big && unopened == 0 ?
			 errdetail("More than %d credentials fit %s, and all %s.%s", fitting - 1, caller, are_full, cools) :
			 unopened == 0 ?
			 errdetail_plural("%d credential fits %s, and it %s.%s",
							  "%d credentials fit %s, and all %s.%s",
							  fitting, fitting, caller, fitting == 1 ? is_full : are_full, cools) :
			 errdetail_plural("%d credentials fit %s: %d cannot be opened, and the other %s.%s",
							  "%d credentials fit %s: %d cannot be opened, and the others %s.%s",
							  fitting - unopened, fitting, caller, unopened, fitting - unopened == 1 ? is_full : are_full,
							  cools),
			 benched ? errhint("Try again later, or add a credential. egress_explain_access() says until when they are benched, and egress_unbench() lifts it.") :
			 at_gateway && cooling ? errhint("Try again then, or add a credential.") :
			 at_gateway ? errhint("Try again when a session has ended, or add a credential.") :
			 cooling ? errhint("Try again then, or when a session has ended, or raise a limit.") :
			 errhint("Try again when a session has ended, or raise a limit.")));
}

/* lock_gateway -- take the gateway's lock; false, and it is given back, when the gateway is being deleted */
static bool
lock_gateway(EgressAcquire *acquire)
{
	lock_take(LOCK_GATEWAY, acquire->gateway_id, ShareLock);
	if (!scan_row_ends(&acquire->gateways))
		return true;
	lock_give(LOCK_GATEWAY, acquire->gateway_id, ShareLock);
	return false;
}

/* unopened_label -- the secret that open_secrets() could not open, as messages name it */
static char *
unopened_label(EgressAcquire *acquire)
{
	EgressScan *credential = &acquire->credentials;

	return secret_label(credential_secrets[acquire->unopened].name,
						scan_id(credential, Anum_egress_credential_egress_credential_id),
						scan_name(credential, Anum_egress_credential_name));
}

/* unopened_secret -- that secret, a copy */
static EgressSecret *
unopened_secret(EgressAcquire *acquire)
{
	return (EgressSecret *) DatumGetTextPCopy(scan_value(&acquire->credentials, credential_secrets[acquire->unopened].column));
}

/* pass_over -- note that the credential that is the current row cannot be opened */
static void
pass_over(EgressAcquire *acquire)
{
	EgressPassedOver *passed_over = &acquire->passed_over;

	if (passed_over->count++ > 0)
		return;
	passed_over->label = unopened_label(acquire);
	passed_over->secret = unopened_secret(acquire);
	passed_over->outcome = acquire->outcome;
}

/* acquire_log_passed_over -- log the credentials that were passed over because they cannot be opened, if there are any */
void
acquire_log_passed_over(EgressAcquire *acquire)
{
	EgressPassedOver *passed_over = &acquire->passed_over;

	if (passed_over->count > 0)
		secret_log_passed_over(passed_over->secret, passed_over->outcome, passed_over->label, passed_over->count - 1);
}

/* refuse_user -- raise NG008; before: user_limit_hold_claim() or user_limit_hold_is_full() said so */
pg_noreturn static void
refuse_user(EgressAcquire *acquire)
{
	acquire_log_passed_over(acquire);
	user_hold_refuse(&acquire->user);
}

/*
 * enter -- take the locks under which connections are taken: the user's, with a slot under a limit, and the gateway's
 *
 * Returns false, and they are given back, when the gateway is being deleted; raises NG008 when the user's limit is reached.
 */
static bool
enter(EgressAcquire *acquire, EgressLimitLease *lease)
{
	if (!user_limit_hold_claim(&acquire->user))
		refuse_user(acquire);
	lease->user_slot = acquire->user.slot;
	if (lock_gateway(acquire))
		return true;
	user_limit_hold_give(&acquire->user);
	return false;
}

/* leave -- give them back */
static void
leave(EgressAcquire *acquire)
{
	lock_give(LOCK_GATEWAY, acquire->gateway_id, ShareLock);
	user_limit_hold_give(&acquire->user);
}

/*
 * take_of -- take a connection of a credential, if it has one, under the locks of user and gateway; the keys are read anew if one is missing
 *
 * *locked is whether these are held, before and after. Returns false when the gateway is being deleted.
 */
static bool
take_of(EgressAcquire *acquire, EgressEntitlement *credential, EgressLimitLease *lease, bool *locked, EgressLimitOutcome *outcome)
{
	if (!*locked)
		*locked = enter(acquire, lease);
	if (!*locked)
		return false;
	*outcome = limit_take(&acquire->limit, credential->id, lease);
	if (*outcome != LIMIT_UNUSABLE || acquire->outcome != SECRET_KEY_MISSING || acquire->renewed_keys)
		return true;

	leave(acquire);
	keyring_load_anew();
	acquire->renewed_keys = true;
	*locked = enter(acquire, lease);
	if (*locked)
		*outcome = limit_take(&acquire->limit, credential->id, lease);
	return *locked;
}

/* try_fitting -- the same of the credentials that fit the gateway, one after the other, until one is taken */
static void
try_fitting(EgressAcquire *acquire, EgressAcquireTry *tried, EgressFitting *fitting, EgressLimitLease *lease)
{
	EgressEntitlement *credential;
	bool		locked = false;
	EgressLimitOutcome outcome = LIMIT_GONE;

	while (outcome != LIMIT_TAKEN && (credential = fitting_next(fitting)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (credential->unopened)
			tried->unopened++;
		else if (credential->spent || fitting_is_full(fitting, credential))
			tried->full = true;
		else if (!take_of(acquire, credential, lease, &locked, &outcome))
		{
			tried->outcome = TRY_DELETED;
			return;
		}
		else if (outcome == LIMIT_FULL || outcome == LIMIT_AT_GATEWAY)
		{
			tried->full = true;
			fitting_found_full(fitting, credential, outcome == LIMIT_AT_GATEWAY);
			fitting->cooled_at = Min(fitting->cooled_at, acquire->limit.once.cooled_at);
		}
		else if (outcome == LIMIT_UNUSABLE)
		{
			tried->unopened++;
			fitting_found_unopened(fitting, credential);
			pass_over(acquire);
		}
	}
	if (locked)
		leave(acquire);
	if (outcome == LIMIT_TAKEN)
		tried->outcome = TRY_TAKEN;
}

/*
 * acquire_try -- decide access to a gateway, and lease the first credential with a connection free
 *
 * Before: the caller holds the session's lock, the session has no lease, the gateway is the current row of acquire->gateways and
 * acquire->access says what the call may do with its provider. Says in *tried what came of it. After TRY_TAKEN the lease is
 * inserted, and its credential the current row of acquire->credentials; else nothing was done, and another may be tried. Raises NG008
 * when the gateway is available, and the user's limit is reached.
 */
void
acquire_try(EgressAcquire *acquire, EgressAcquireTry *tried)
{
	EgressAccess *access = acquire->access;
	EgressFitting fitting;
	EgressLimitLease lease = {
		.session_id = acquire->session_id,
		.user_id = acquire->user_id,
		.workspace_id = acquire->workspace_id
	};

	memset(tried, 0, sizeof(*tried));
	tried->cooled_at = DT_NOEND;
	acquire->gateway_id = scan_id(&acquire->gateways, Anum_egress_gateway_egress_gateway_id);
	lease.gateway_id = acquire->gateway_id;
	tried->outcome = TRY_UNAVAILABLE;
	tried->verdict = access_decide_row(access, &acquire->gateways);
	if (tried->verdict != ACCESS_AVAILABLE)
		return;

	fitting_begin(&fitting, access, acquire->gateway_id, &acquire->pool);
	try_fitting(acquire, tried, &fitting, &lease);
	fitting_end(&fitting, tried->outcome != TRY_TAKEN && tried->outcome != TRY_DELETED);
	tried->at_gateway = fitting.at_gateway;
	tried->benched = fitting.benched;
	tried->cooled_at = fitting.cooled_at;
	if (tried->outcome == TRY_TAKEN)
	{
		acquire->acquired_at = lease.acquired_at;
		if (acquire->ttl != NULL)
			lease_expires(acquire->session_id,
						  scan_id(&acquire->credentials, Anum_egress_credential_egress_credential_id),
						  lease_ttl_end(acquire->acquired_at, acquire->ttl));
	}
	if (tried->outcome == TRY_TAKEN || tried->outcome == TRY_DELETED)
		return;
	if (user_limit_hold_is_full(&acquire->user))
		refuse_user(acquire);

	/* of a big pool one fits, or it would not be available; what was not among those that may be free is full */
	if (access->big && !tried->full)
		tried->full = tried->unopened == 0 || fitting_any_full(&fitting, tried->unopened);
	if (tried->full)
		tried->outcome = TRY_FULL;
	else if (tried->unopened > 0)
		tried->outcome = TRY_UNOPENED;
	else
		tried->verdict = ACCESS_NO_CREDENTIAL;
}

/* acquire_refuse_unopened -- raise NG006 for the first credential that was passed over */
void
acquire_refuse_unopened(EgressAcquire *acquire)
{
	secret_refuse(acquire->passed_over.secret, acquire->passed_over.outcome, acquire->passed_over.label);
}

/* take_lease -- acquire_try(), or an error that says why not */
static void
take_lease(EgressAcquire *acquire)
{
	EgressAcquireTry tried;

	acquire_try(acquire, &tried);
	if (tried.outcome == TRY_UNOPENED)
		acquire_refuse_unopened(acquire);
	if (tried.outcome == TRY_DELETED)
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_AT_LIMIT),
				 errmsg("no connection is free for gateway %s", gateway_label(acquire)),
				 errdetail("Another transaction is deleting the gateway.")));
	acquire_log_passed_over(acquire);
	if (tried.outcome == TRY_UNAVAILABLE)
		refuse(acquire, tried.verdict);
	if (tried.outcome == TRY_FULL)
		refuse_full(acquire, tried.at_gateway, tried.benched, tried.cooled_at);
}

/* acquire_held_gateway -- the gateway of the lease that the session holds */
int64
acquire_held_gateway(EgressAcquire *acquire)
{
	return scan_id(&acquire->lease.lease, Anum_egress_lease_egress_gateway_id);
}

/*
 * acquire_return -- let the result be the lease that the session holds; raise NG005 when it is for something else
 *
 * fits: its gateway is what is asked for. Before: the gateway is the current row of acquire->gateways. Returns false when the
 * lease has ended since it was found, and its credential was deleted.
 */
bool
acquire_return(EgressAcquire *acquire, bool fits)
{
	EgressScan *lease = &acquire->lease.lease;
	text	   *user_id = DatumGetTextPP(scan_value(lease, Anum_egress_lease_user_id));
	text	   *workspace_id = scan_text(lease, Anum_egress_lease_workspace_id);
	int64		gateway_id = acquire_held_gateway(acquire);

	if (!fits || !value_same_text(user_id, acquire->user_id) || !value_same_text(workspace_id, acquire->workspace_id))
		ereport(ERROR,
				(errcode(ERRCODE_EGRESS_SESSION_HOLDS_OTHER),
				 errmsg("session \"%s\" already holds a lease", text_to_cstring(acquire->session_id)),
				 errdetail("It is for gateway " INT64_FORMAT " and %s.", gateway_id,
						   acquire_call_label(user_id, workspace_id)),
				 errhint("End it with egress_release_credential() first.")));

	lease_confirm();
	acquire->gateway_id = gateway_id;
	acquire->acquired_at = DatumGetTimestampTz(scan_value(lease, Anum_egress_lease_acquired_at));
	return scan_find_id(&acquire->credentials, scan_id(lease, Anum_egress_lease_egress_credential_id), acquire->snapshot);
}

/* open_held -- open the secrets of the lease that the session holds; NG006 if one cannot be opened */
static void
open_held(EgressAcquire *acquire)
{
	if (open_secrets(acquire))
		return;
	if (acquire->outcome == SECRET_KEY_MISSING)
	{
		keyring_load_anew();
		if (open_secrets(acquire))
			return;
	}
	secret_refuse(unopened_secret(acquire), acquire->outcome, unopened_label(acquire));
}

/* optional_string -- a text column of the credential as a string, or NULL */
static char *
optional_string(EgressScan *credential, AttrNumber column)
{
	text	   *value = scan_text(credential, column);

	return value == NULL ? NULL : text_to_cstring(value);
}

/* render -- the gateway's config, if it has one, with the credential in it; NG007 if they do not fit together */
static text *
render(EgressAcquire *acquire)
{
	EgressScan *credential = &acquire->credentials;
	text	   *config = scan_text(&acquire->gateways, Anum_egress_gateway_config);
	text	   *rendered = config;
	EgressOpenvpnCredential openvpn;
	EgressWireguardCredential wireguard;
	EgressSecretHush hush;
	char	   *object;

	if (config == NULL)
		return NULL;

	object = psprintf("credential " INT64_FORMAT " \"%s\" with gateway %s",
					  scan_id(credential, Anum_egress_credential_egress_credential_id),
					  scan_name(credential, Anum_egress_credential_name), gateway_label(acquire));
	secret_hush(&hush, object);
	/* the triggers let nothing in that does not fit; what was replicated or copied did not pass them */
	switch (catalog_provider_type(acquire->access->provider_type))
	{
		case PROVIDER_OPENVPN:
			openvpn.username = optional_string(credential, Anum_egress_credential_username);
			openvpn.password = acquire->opened[SECRET_PASSWORD];
			openvpn.client_certificate = optional_string(credential, Anum_egress_credential_client_certificate);
			openvpn.client_key = acquire->opened[SECRET_CLIENT_KEY];
			if (openvpn.username == NULL && openvpn.client_certificate == NULL && !config_openvpn_has_certificate(config))
				ereport(ERROR,
						(errcode(ERRCODE_EGRESS_CONFIG),
						 errmsg("%s cannot log in", object),
						 errdetail("The credential has no username and no certificate, and the config has no certificate."),
						 errhint("Give the credential a username and a password, or a certificate and its key.")));
			rendered = config_openvpn_render(config, &openvpn);
			break;
		case PROVIDER_WIREGUARD:
			wireguard.private_key = acquire->opened[SECRET_PRIVATE_KEY];
			wireguard.address = optional_string(credential, Anum_egress_credential_address);
			wireguard.preshared_key = acquire->opened[SECRET_PRESHARED_KEY];
			if (wireguard.private_key == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_EGRESS_CONFIG),
						 errmsg("%s has no private key", object)));
			rendered = config_wireguard_render(config, &wireguard);
			break;
		case PROVIDER_CUSTOM:
			break;
	}
	secret_unhush(&hush);
	/* what is wiped when it was returned must not be the row itself */
	return rendered == config ? DatumGetTextPCopy(PointerGetDatum(config)) : rendered;
}

/* put_text -- a text as a column of the result, which is NULL when it is */
static void
put_text(text *value, int position, Datum *values, bool *nulls)
{
	values[position] = PointerGetDatum(value);
	nulls[position] = value == NULL;
}

/* wipe_text -- wipe a text with a secret in it, or NULL */
static void
wipe_text(text *value)
{
	if (value != NULL)
		sodium_memzero(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/*
 * result -- what an acquire returns, as a composite; the secrets are open, and are wiped
 *
 * with_gateway: the gateway's id comes first.
 */
static Datum
result(FunctionCallInfo fcinfo, EgressAcquire *acquire, bool with_gateway)
{
	EgressScan *gateway = &acquire->gateways;
	EgressScan *credential = &acquire->credentials;
	text	   *config = render(acquire);
	text	   *clear[CREDENTIAL_SECRET_COUNT];
	Datum		row_values[1 + ACQUIRED_COLUMNS];
	bool		row_nulls[1 + ACQUIRED_COLUMNS] = {false};
	Datum	   *values = row_values + (with_gateway ? 1 : 0);
	bool	   *nulls = row_nulls + (with_gateway ? 1 : 0);
	TupleDesc	desc;
	HeapTuple	row;

	/* who calls it in FROM has looked up already what the row is */
	if (fcinfo->resultinfo != NULL && IsA(fcinfo->resultinfo, ReturnSetInfo))
		desc = CreateTupleDescCopy(((ReturnSetInfo *) fcinfo->resultinfo)->expectedDesc);
	else if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	shape_check_result(desc, with_gateway ? "egress_acquired_gateway" : "egress_acquired_credential",
					   with_gateway ? "i" ACQUIRED_TYPES : ACQUIRED_TYPES);
	row_values[0] = Int64GetDatum(acquire->gateway_id);

	for (int i = 0; i < CREDENTIAL_SECRET_COUNT; i++)
	{
		clear[i] = acquire->opened[i] == NULL ? NULL : cstring_to_text(acquire->opened[i]);
		put_text(clear[i], secret_columns[i], values, nulls);
	}

	scan_put(credential, Anum_egress_credential_egress_credential_id, ACQUIRED_CREDENTIAL_ID, values, nulls);
	scan_put(credential, Anum_egress_credential_name, ACQUIRED_CREDENTIAL_NAME, values, nulls);
	scan_put(credential, Anum_egress_credential_username, ACQUIRED_USERNAME, values, nulls);
	scan_put(gateway, Anum_egress_gateway_name, ACQUIRED_GATEWAY_NAME, values, nulls);
	scan_put(gateway, Anum_egress_gateway_country, ACQUIRED_COUNTRY, values, nulls);
	scan_put(gateway, Anum_egress_gateway_city, ACQUIRED_CITY, values, nulls);
	values[ACQUIRED_PROVIDER_ID] = Int64GetDatum(acquire->access->provider_id);
	values[ACQUIRED_PROVIDER_NAME] = CStringGetTextDatum(acquire->access->provider_name);
	values[ACQUIRED_PROVIDER_TYPE] = acquire->access->provider_type;
	put_text(config, ACQUIRED_CONFIG, values, nulls);
	values[ACQUIRED_AT] = TimestampTzGetDatum(acquire->acquired_at);
	scan_put(credential, Anum_egress_credential_client_certificate, ACQUIRED_CLIENT_CERTIFICATE, values, nulls);
	scan_put(credential, Anum_egress_credential_address, ACQUIRED_ADDRESS, values, nulls);
	row = heap_form_tuple(BlessTupleDesc(desc), row_values, row_nulls);

	wipe_text(config);
	for (int i = 0; i < CREDENTIAL_SECRET_COUNT; i++)
	{
		wipe_text(clear[i]);
		secret_wipe(acquire->opened[i]);
	}
	return HeapTupleGetDatum(row);
}

/* lock_long_secrets -- lock the table of values that are too long for their row: who opens one later waits for nobody */
static void
lock_long_secrets(EgressAcquire *acquire)
{
	Oid			toast_id = acquire->credentials.table->rd_rel->reltoastrelid;
	Relation	toast;
	ListCell   *cell;

	if (!OidIsValid(toast_id))
		return;
	toast = table_open(toast_id, AccessShareLock);
	foreach(cell, RelationGetIndexList(toast))
		LockRelationOid(lfirst_oid(cell), AccessShareLock);
	table_close(toast, NoLock);
}

/*
 * acquire_open -- open what an acquire needs; what is asked for is in *acquire
 *
 * function is the one that was called, and name its name. Whoever needs more tables or indexes than these opens them next.
 */
void
acquire_open(EgressAcquire *acquire, Oid function, const char *name)
{
	PreventCommandIfReadOnly(name);
	PreventCommandIfParallelMode(name);
	catalog_use(function);

	/* see what this very statement has done so far, as a function in SQL or PL/pgSQL would */
	CommandCounterIncrement();
	sessions_require(acquire->session_id);

	/* whatever waits for a table, waits here: before the short locks, and before any snapshot is taken */
	access_lock_tables();
	lease_lock_tables();
	lease_open(&acquire->lease);
	scan_open(&acquire->gateways, INDEX_GATEWAY_ID, AccessShareLock);
	scan_open(&acquire->credentials, INDEX_CREDENTIAL_ID, AccessShareLock);
	lock_long_secrets(acquire);
	limit_open(&acquire->limit, &acquire->credentials, open_secrets, acquire);
	pool_open(&acquire->pool);
	(void) keyring_load();
}

/*
 * acquire_begin -- take the session's lock, and look at its lease
 *
 * After: acquire->state says what it is; one that had expired was ended. What is decided from here on is decided as of
 * acquire->snapshot, among it whether the user has a limit: user_limit_hold_decide().
 */
void
acquire_begin(EgressAcquire *acquire)
{
	lock_take_text(LOCK_SESSION, acquire->session_id, ExclusiveLock);
	while ((acquire->state = lease_look(&acquire->lease, acquire->session_id)) == LEASE_BUSY ||
		   acquire->state == LEASE_EXPIRED_BUSY)
	{
		CHECK_FOR_INTERRUPTS();
		lock_give_text(LOCK_SESSION, acquire->session_id, ExclusiveLock);
		lease_wait(&acquire->lease, XLTW_InsertIndex);
		lock_take_text(LOCK_SESSION, acquire->session_id, ExclusiveLock);
	}
	if (acquire->state == LEASE_COOLING)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("session_id is that of no session"),
				 errdetail("It stands for a connection that cools down.")));
	if (acquire->state == LEASE_EXPIRED)
		lease_end_expired(&acquire->lease);

	user_limit_hold_begin(&acquire->user, acquire->user_id);
	acquire->snapshot = RegisterSnapshot(GetLatestSnapshot());
	access_begin(&acquire->call, acquire->user_id, acquire->workspace_id, acquire->snapshot, GetCurrentTimestamp(),
				 ACCESS_TO_ACQUIRE);
	user_limit_hold_decide(&acquire->user, acquire->call.subjects, acquire->snapshot);
}

/* acquire_end -- give back the locks of the user and the session, close everything, and return the row; held: the lease was there before */
Datum
acquire_end(EgressAcquire *acquire, FunctionCallInfo fcinfo, bool held, bool with_gateway)
{
	Datum		row;

	user_limit_hold_end(&acquire->user);
	lock_give_text(LOCK_SESSION, acquire->session_id, ExclusiveLock);
	if (held)
		open_held(acquire);

	row = result(fcinfo, acquire, with_gateway);
	access_end(&acquire->call);
	UnregisterSnapshot(acquire->snapshot);
	pool_close(&acquire->pool);
	limit_close(&acquire->limit);
	scan_close(&acquire->credentials);
	scan_close(&acquire->gateways);
	lease_close(&acquire->lease);
	return row;
}

/* egress_acquire_credential -- lease a connection to a session; see COMMENT ON FUNCTION and the top of this file */
Datum
egress_acquire_credential(PG_FUNCTION_ARGS)
{
	EgressAcquire acquire;
	bool		held;

	memset(&acquire, 0, sizeof(acquire));
	acquire.user_id = argument_id(fcinfo, 0, "user_id");
	acquire.workspace_id = argument_optional_id(fcinfo, 1, "workspace_id");
	argument_check_not_null(fcinfo, 2, "egress_gateway_id");
	acquire.gateway_id = PG_GETARG_INT64(2);
	acquire.session_id = argument_id(fcinfo, 3, "session_id");
	acquire.ttl = lease_get_ttl(fcinfo, 4);

	acquire_open(&acquire, fcinfo->flinfo->fn_oid, "egress_acquire_credential()");
	acquire_begin(&acquire);
	access_find_gateway(&acquire.gateways, acquire.gateway_id, acquire.snapshot);
	acquire.access = access_to_gateway(&acquire.call, &acquire.gateways);
	held = acquire.state == LEASE_LIVE && acquire_return(&acquire, acquire_held_gateway(&acquire) == acquire.gateway_id);
	if (!held)
		take_lease(&acquire);
	return acquire_end(&acquire, fcinfo, held, false);
}
