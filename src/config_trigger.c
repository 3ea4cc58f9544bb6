/*
 * config_trigger.c -- triggers that check configs and credentials when they are written
 *
 * What a gateway's config and a credential's fields must be like, the provider's type decides; config.h checks the
 * content, here is which fields there are. A secret comes here as it will be stored, mostly sealed, and is opened
 * to be looked at. One whose key is missing is accepted unread: a dump can be restored without the key, and an acquire
 * says NG006 until the key is back. One that was changed under a key that is there is refused.
 *
 * A client's certificate that has expired, or is not valid yet, is told of when it is new, and stored.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog.h"
#include "certificate.h"
#include "compat.h"
#include "config.h"
#include "config_store.h"
#include "errors.h"
#include "secret.h"
#include "shape.h"
#include "trigger.h"
#include "value.h"

/* How a provider's type uses a field of a credential. */
typedef enum FieldUse
{
	FIELD_UNUSED,				/* must be NULL */
	FIELD_OPTIONAL,
	FIELD_REQUIRED
} FieldUse;

/* The fields of a credential. */
typedef enum Field
{
	FIELD_USERNAME,
	FIELD_PASSWORD,
	FIELD_PRIVATE_KEY,
	FIELD_CUSTOM_CREDENTIAL,
	FIELD_CLIENT_CERTIFICATE,
	FIELD_CLIENT_KEY,
	FIELD_ADDRESS,
	FIELD_PRESHARED_KEY
} Field;

#define FIELD_COUNT (FIELD_PRESHARED_KEY + 1)

static const struct
{
	const char *name;
	AttrNumber	column;
	FieldUse	use[EGRESS_PROVIDER_TYPE_COUNT];
	bool		is_secret;
}			fields[FIELD_COUNT] = {
	[FIELD_USERNAME] = {"username", Anum_egress_credential_username, {[PROVIDER_OPENVPN] = FIELD_OPTIONAL}, false},
	[FIELD_PASSWORD] = {"password", Anum_egress_credential_password, {[PROVIDER_OPENVPN] = FIELD_OPTIONAL}, true},
	[FIELD_PRIVATE_KEY] = {"private_key", Anum_egress_credential_private_key, {[PROVIDER_WIREGUARD] = FIELD_REQUIRED}, true},
	[FIELD_CUSTOM_CREDENTIAL] = {"custom_credential", Anum_egress_credential_custom_credential, {[PROVIDER_CUSTOM] = FIELD_OPTIONAL}, true},
	[FIELD_CLIENT_CERTIFICATE] = {"client_certificate", Anum_egress_credential_client_certificate, {[PROVIDER_OPENVPN] = FIELD_OPTIONAL}, false},
	[FIELD_CLIENT_KEY] = {"client_key", Anum_egress_credential_client_key, {[PROVIDER_OPENVPN] = FIELD_OPTIONAL}, true},
	[FIELD_ADDRESS] = {"address", Anum_egress_credential_address, {[PROVIDER_WIREGUARD] = FIELD_OPTIONAL}, false},
	[FIELD_PRESHARED_KEY] = {"preshared_key", Anum_egress_credential_preshared_key, {[PROVIDER_WIREGUARD] = FIELD_OPTIONAL}, true},
};

/* A row that is about to be written. */
typedef struct NewRow
{
	TriggerData *trigger;
	HeapTuple	tuple;
	int			columns;		/* of the table, in the version that is installed */
	int64		id;
	char	   *name;
	EgressProviderType provider_type;
} NewRow;

PG_FUNCTION_INFO_V1(egress_refuse_misfit);

/* new_value -- a column of the row; false when it is NULL, or the version that is installed has not got it */
static bool
new_value(NewRow *row, AttrNumber column, Datum *value)
{
	return column <= row->columns && trigger_value(row->trigger, row->tuple, column, value);
}

/* is_new_text -- is a text one that the row did not have in this column? It has, where an UPDATE leaves it */
static bool
is_new_text(NewRow *row, AttrNumber column, text *value)
{
	Datum		old;

	return !TRIGGER_FIRED_BY_UPDATE(row->trigger->tg_event) ||
		!trigger_value(row->trigger, row->trigger->tg_trigtuple, column, &old) || !value_same_text(DatumGetTextPP(old), value);
}

/* identify -- read what both tables have; false when the row will be refused by NOT NULL */
static bool
identify(NewRow *row, AttrNumber id, AttrNumber name, AttrNumber provider_type)
{
	Datum		id_value;
	Datum		name_value;
	Datum		type_value;

	if (!new_value(row, id, &id_value) || !new_value(row, name, &name_value) ||
		!new_value(row, provider_type, &type_value))
		return false;
	row->id = DatumGetInt64(id_value);
	row->name = TextDatumGetCString(name_value);
	row->provider_type = catalog_provider_type(type_value);
	return true;
}

/* refuse_field -- raise NG007 for a field of a credential; hint may be NULL */
pg_noreturn static void
refuse_field(NewRow *row, Field field, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_CONFIG),
			 errmsg("%s does not fit its provider", secret_label(fields[field].name, row->id, row->name)),
			 errdetail_internal("%s", detail),
			 hint ? errhint("%s", hint) : 0,
			 errtable(row->trigger->tg_relation)));
}

/* check_pair -- refuse one of two fields without the other */
static void
check_pair(NewRow *row, const bool *given, Field first, Field second)
{
	if (given[first] != given[second])
		refuse_field(row, given[first] ? second : first,
					 psprintf("It must not be null when there is a %s.", fields[given[first] ? first : second].name), NULL);
}

/* check_uses -- refuse fields that the provider's type does not use, or that are missing */
static void
check_uses(NewRow *row, const bool *given)
{
	const char *type = catalog_provider_type_name(row->provider_type);

	for (int i = 0; i < FIELD_COUNT; i++)
	{
		FieldUse	use = fields[i].use[row->provider_type];

		if (given[i] && use == FIELD_UNUSED)
			refuse_field(row, i, psprintf("Providers of type %s do not use it: it must be null.", type), NULL);
		if (!given[i] && use == FIELD_REQUIRED)
			refuse_field(row, i, psprintf("Providers of type %s need it: it must not be null.", type), NULL);
	}
	check_pair(row, given, FIELD_USERNAME, FIELD_PASSWORD);
	check_pair(row, given, FIELD_CLIENT_CERTIFICATE, FIELD_CLIENT_KEY);
}

/* check_certificate -- refuse a certificate that openvpn would not take, or a key, which is NULL when it cannot be read */
static void
check_certificate(NewRow *row, const char *certificate, const char *key)
{
	const char *problem = certificate_problem(certificate);
	bool		encrypted;

	if (problem)
		refuse_field(row, FIELD_CLIENT_CERTIFICATE, problem, NULL);
	if (key == NULL)
		return;
	problem = certificate_private_key_problem(key, &encrypted);
	if (problem)
		refuse_field(row, FIELD_CLIENT_KEY, problem, encrypted ? "openssl pkey -in client.key -out plain.key takes it off." : NULL);
	if (!certificate_matches(certificate, key))
		refuse_field(row, FIELD_CLIENT_KEY, "It is not the key of the client_certificate.",
					 "The client's certificate comes first, those of its issuers behind it.");
}

/* warn_of_date -- say that a certificate is written of which no server would take a client at present */
static void
warn_of_date(NewRow *row, const char *certificate)
{
	const char *problem = certificate_date_problem(certificate);

	if (problem && !config_store_is_restored())
		ereport(WARNING,
				(errmsg("%s is not valid now",
						secret_label(fields[FIELD_CLIENT_CERTIFICATE].name, row->id, row->name)),
				 errdetail_internal("%s", problem)));
}

/* open_field -- open a secret of the row; NULL when its key is missing, NG006 if it was changed */
static char *
open_field(NewRow *row, Field field, Datum value)
{
	EgressSecret *secret = DatumGetSecretPP(value);
	char	   *opened;
	EgressSecretOutcome outcome = secret_try_open(secret, &opened);

	if (outcome != SECRET_OPENED && outcome != SECRET_KEY_MISSING)
		secret_refuse(secret, outcome, secret_label(fields[field].name, row->id, row->name));
	return opened;
}

/* check_credential -- raise NG007 if the fields of a credential are not what its provider's type needs */
static void
check_credential(NewRow *row)
{
	Datum		values[FIELD_COUNT];
	bool		given[FIELD_COUNT];
	char	   *opened[FIELD_COUNT] = {NULL};
	EgressOpenvpnCredential openvpn;
	EgressWireguardCredential wireguard;

	for (int i = 0; i < FIELD_COUNT; i++)
		given[i] = new_value(row, fields[i].column, &values[i]);
	check_uses(row, given);

	for (int i = 0; i < FIELD_COUNT; i++)
		if (given[i])
			opened[i] = fields[i].is_secret ? open_field(row, i, values[i]) : TextDatumGetCString(values[i]);

	switch (row->provider_type)
	{
		case PROVIDER_OPENVPN:
			/* a secret that cannot be read is taken for a good one, as what it goes with then has to be by itself */
			openvpn.username = opened[FIELD_USERNAME];
			openvpn.password = opened[FIELD_PASSWORD] != NULL ? opened[FIELD_PASSWORD] : openvpn.username;
			openvpn.client_certificate = opened[FIELD_CLIENT_CERTIFICATE];
			openvpn.client_key = opened[FIELD_CLIENT_KEY] != NULL ? opened[FIELD_CLIENT_KEY] : openvpn.client_certificate;
			if (openvpn.client_certificate)
				check_certificate(row, openvpn.client_certificate, opened[FIELD_CLIENT_KEY]);
			config_openvpn_check_credential(&openvpn);
			if (openvpn.client_certificate &&
				is_new_text(row, Anum_egress_credential_client_certificate, DatumGetTextPP(values[FIELD_CLIENT_CERTIFICATE])))
				warn_of_date(row, openvpn.client_certificate);
			break;
		case PROVIDER_WIREGUARD:
			wireguard.private_key = opened[FIELD_PRIVATE_KEY];
			wireguard.address = opened[FIELD_ADDRESS];
			wireguard.preshared_key = opened[FIELD_PRESHARED_KEY];
			config_wireguard_check_credential(&wireguard);
			break;
		case PROVIDER_CUSTOM:
			break;
	}
	for (int i = 0; i < FIELD_COUNT; i++)
		if (fields[i].is_secret)
			secret_wipe(opened[i]);
}

/* store_config -- check the config that there is, put what is stored of it into the row, and tell of the rest and of secrets */
static void
store_config(NewRow *row, const char *object)
{
	List	   *secrets = NIL;
	const char *left_out = NULL;
	text	   *config;
	text	   *stored;
	Datum		value;

	if (!new_value(row, Anum_egress_gateway_config, &value))
		return;
	config = DatumGetTextPP(value);
	stored = config_store_to_store(row->provider_type, config, &secrets, &left_out);
	if (!value_same_text(stored, config))
		row->tuple = trigger_with_value(row->trigger, row->tuple, Anum_egress_gateway_config, PointerGetDatum(stored));
	config_store_tell_left_out(object, left_out);
	if (secrets != NIL && is_new_text(row, Anum_egress_gateway_config, stored))
		config_store_warn(object, secrets);
}

/* egress_refuse_misfit -- BEFORE INSERT OR UPDATE on gateways and credentials, after egress_fill_provider_type */
Datum
egress_refuse_misfit(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	EgressSecretHush hush;
	bool		is_gateway;
	NewRow		row = {0};

	secret_hush(&hush, NULL);
	is_gateway = trigger_begin(fcinfo, ON_GATEWAY_OR_CREDENTIAL) == TABLE_GATEWAY;
	row.columns = shape_columns(is_gateway ? TABLE_GATEWAY : TABLE_CREDENTIAL);
	row.trigger = trigger;
	row.tuple = trigger_new_row(trigger);
	if (is_gateway ?
		identify(&row, Anum_egress_gateway_egress_gateway_id, Anum_egress_gateway_name,
				 Anum_egress_gateway_provider_type) :
		identify(&row, Anum_egress_credential_egress_credential_id, Anum_egress_credential_name,
				 Anum_egress_credential_provider_type))
	{
		hush.object = psprintf("%s " INT64_FORMAT " \"%s\"", is_gateway ? "gateway" : "credential", row.id, row.name);
		if (is_gateway)
			store_config(&row, hush.object);
		else
			check_credential(&row);
	}
	secret_unhush(&hush);
	return PointerGetDatum(row.tuple);
}
