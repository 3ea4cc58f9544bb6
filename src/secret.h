/*
 * secret.h -- the type egress_secret: sealing and opening
 */
#ifndef EGRESS_SECRET_H
#define EGRESS_SECRET_H

#include "postgres.h"

#include "access/attnum.h"

#include "compat.h"

/*
 * The bytes of a secret that comes in. More than any key with its chain of certificates, or any token, has; and little
 * enough for a row with the secret in it to be sorted and kept in memory, whatever work_mem is: PostgreSQL's temporary files
 * would hold it in the clear.
 */
#define SECRET_MAX_LENGTH (16 * 1024)

/* a value of egress_secret, detoasted: its stored form, which is text */
typedef struct varlena EgressSecret;

#define DatumGetSecretPP(datum) ((EgressSecret *) PG_DETOAST_DATUM_PACKED(datum))

/* The secrets of a credential. */
typedef enum EgressCredentialSecret
{
	SECRET_PASSWORD,
	SECRET_PRIVATE_KEY,
	SECRET_CUSTOM_CREDENTIAL,
	SECRET_CLIENT_KEY,
	SECRET_PRESHARED_KEY
} EgressCredentialSecret;

#define CREDENTIAL_SECRET_COUNT (SECRET_PRESHARED_KEY + 1)

/* where they are */
typedef struct EgressCredentialField
{
	AttrNumber	column;
	const char *name;
} EgressCredentialField;

typedef enum EgressSecretOutcome
{
	SECRET_OPENED,
	SECRET_KEY_MISSING,			/* none of the keys that there are is the one it is sealed under */
	SECRET_DAMAGED,				/* not what was sealed under its key */
	SECRET_NOT_TEXT				/* it has characters that this database's encoding does not have */
} EgressSecretOutcome;

/* While a secret in the clear is at hand, errors say nothing of what surrounds it; see secret_hush(). */
typedef struct EgressSecretHush
{
	ErrorContextCallback callback;
	ErrorContextCallback *outer;
	const char *object;			/* what errors name as their context, or NULL; may be set later */
} EgressSecretHush;

extern const EgressCredentialField credential_secrets[CREDENTIAL_SECRET_COUNT];

extern void secret_hush(EgressSecretHush *state, const char *object);
extern void secret_unhush(EgressSecretHush *state);
extern EgressSecret *secret_seal(const char *value, size_t length);
extern EgressSecretOutcome secret_try_open_at_once(EgressSecret *secret, char **opened);
extern EgressSecretOutcome secret_try_open(EgressSecret *secret, char **opened);
extern char *secret_open(EgressSecret *secret, const char *what);
pg_noreturn extern void secret_refuse(EgressSecret *secret, EgressSecretOutcome outcome, const char *what);
extern void secret_log_passed_over(EgressSecret *secret, EgressSecretOutcome outcome, const char *what, int others);
extern void secret_wipe(char *opened);
extern bool secret_is_active(EgressSecret *secret);
extern char *secret_missing_key(Datum secret);
extern char *secret_label(const char *field, int64 credential_id, const char *credential_name);

#endif							/* EGRESS_SECRET_H */
