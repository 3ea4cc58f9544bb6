/*
 * wireguard_key.c -- WireGuard keys: egress_generate_wireguard_key(), egress_wireguard_public_key(private_key),
 * egress_credential_public_key(credential)
 *
 * What `wg genkey` and `wg pubkey` do, with libsodium's X25519. Who may not open a secret may have the public key of
 * one: it is what the provider is told, and says nothing of the private key.
 */
#include "postgres.h"

#include <sodium.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "errors.h"
#include "scan.h"
#include "secret.h"

#define KEY_LENGTH crypto_scalarmult_SCALARBYTES
#define BASE64_SIZE sodium_base64_ENCODED_LEN(KEY_LENGTH, sodium_base64_VARIANT_ORIGINAL)

PG_FUNCTION_INFO_V1(egress_generate_wireguard_key);
PG_FUNCTION_INFO_V1(egress_wireguard_public_key);
PG_FUNCTION_INFO_V1(egress_credential_public_key);

/* key_text -- a key in base64 */
static text *
key_text(const unsigned char *key)
{
	char		base64[BASE64_SIZE];
	text	   *result;

	sodium_bin2base64(base64, sizeof(base64), key, KEY_LENGTH, sodium_base64_VARIANT_ORIGINAL);
	result = cstring_to_text(base64);
	sodium_memzero(base64, sizeof(base64));
	return result;
}

/* egress_generate_wireguard_key -- see COMMENT ON FUNCTION */
Datum
egress_generate_wireguard_key(PG_FUNCTION_ARGS)
{
	unsigned char key[KEY_LENGTH];
	text	   *result;

	randombytes_buf(key, sizeof(key));
	/* the form of an X25519 scalar, which `wg genkey` prints too; every use of a key makes it anyway */
	key[0] &= 248;
	key[KEY_LENGTH - 1] = (key[KEY_LENGTH - 1] & 127) | 64;
	result = key_text(key);
	sodium_memzero(key, sizeof(key));
	PG_RETURN_TEXT_P(result);
}

/* public_key_of -- the public key of a private key in base64; NULL when it is none */
static text *
public_key_of(const char *base64, size_t length)
{
	unsigned char key[KEY_LENGTH];
	unsigned char public_key[KEY_LENGTH];
	size_t		size;
	bool		valid;

	valid = sodium_base642bin(key, sizeof(key), base64, length, NULL, &size, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
		size == sizeof(key) && crypto_scalarmult_base(public_key, key) == 0;
	sodium_memzero(key, sizeof(key));
	return valid ? key_text(public_key) : NULL;
}

/* refuse_key -- raise that what a message names is not a private key */
pg_noreturn static void
refuse_key(int sqlstate, const char *what)
{
	EgressSecretHush hush;

	secret_hush(&hush, NULL);
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s is not a WireGuard key", what),
			 errdetail("A key is 32 bytes in base64: 44 characters.")));
}

/* egress_wireguard_public_key -- see COMMENT ON FUNCTION */
Datum
egress_wireguard_public_key(PG_FUNCTION_ARGS)
{
	text	   *private_key;
	text	   *public_key;

	argument_check_not_null(fcinfo, 0, "private_key");
	private_key = PG_GETARG_TEXT_PP(0);
	public_key = public_key_of(VARDATA_ANY(private_key), VARSIZE_ANY_EXHDR(private_key));
	if (public_key == NULL)
		refuse_key(ERRCODE_INVALID_PARAMETER_VALUE, "private_key");
	PG_RETURN_TEXT_P(public_key);
}

/* egress_credential_public_key -- see COMMENT ON FUNCTION */
Datum
egress_credential_public_key(PG_FUNCTION_ARGS)
{
	EgressScan	credential;
	int64		id;
	Datum		value;
	bool		isnull;
	text	   *public_key = NULL;

	argument_check_not_null(fcinfo, 0, "egress_credential_id");
	id = PG_GETARG_INT64(0);
	catalog_use(fcinfo->flinfo->fn_oid);

	/* the caller's snapshot: asked of each row of a query, it finds that row */
	scan_open(&credential, INDEX_CREDENTIAL_ID, AccessShareLock);
	if (!scan_find_id(&credential, id, GetActiveSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("credential " INT64_FORMAT " does not exist", id)));
	value = slot_getattr(credential.slot, Anum_egress_credential_private_key, &isnull);
	if (!isnull)
	{
		char	   *label = secret_label("private_key", id, scan_name(&credential, Anum_egress_credential_name));
		char	   *private_key = secret_open(DatumGetSecretPP(value), label);

		public_key = public_key_of(private_key, strlen(private_key));
		secret_wipe(private_key);
		/* what was restored without its key was not checked */
		if (public_key == NULL)
			refuse_key(ERRCODE_EGRESS_CONFIG, label);
	}
	scan_close(&credential);

	if (public_key == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(public_key);
}
