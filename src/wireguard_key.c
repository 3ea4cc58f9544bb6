/*
 * wireguard_key.c -- WireGuard keys: egress_generate_wireguard_key(), egress_wireguard_public_key(private_key)
 *
 * What `wg genkey` and `wg pubkey` do, with libsodium's X25519.
 */
#include "postgres.h"

#include <sodium.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "arguments.h"
#include "compat.h"
#include "secret.h"

#define KEY_LENGTH crypto_scalarmult_SCALARBYTES
#define BASE64_SIZE sodium_base64_ENCODED_LEN(KEY_LENGTH, sodium_base64_VARIANT_ORIGINAL)

PG_FUNCTION_INFO_V1(egress_generate_wireguard_key);
PG_FUNCTION_INFO_V1(egress_wireguard_public_key);

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

/* egress_wireguard_public_key -- see COMMENT ON FUNCTION */
Datum
egress_wireguard_public_key(PG_FUNCTION_ARGS)
{
	SecretHush	hush;
	text	   *private_key;
	unsigned char key[KEY_LENGTH];
	unsigned char public_key[KEY_LENGTH];
	size_t		size;
	bool		valid;

	check_not_null(fcinfo, 0, "private_key");
	private_key = PG_GETARG_TEXT_PP(0);
	valid = sodium_base642bin(key, sizeof(key), VARDATA_ANY(private_key), VARSIZE_ANY_EXHDR(private_key),
							  NULL, &size, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
		size == sizeof(key) && crypto_scalarmult_base(public_key, key) == 0;
	sodium_memzero(key, sizeof(key));

	if (!valid)
	{
		secret_hush(&hush, NULL);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("private_key is not a WireGuard key"),
				 errdetail("A key is 32 bytes in base64: 44 characters.")));
	}
	PG_RETURN_TEXT_P(key_text(public_key));
}
