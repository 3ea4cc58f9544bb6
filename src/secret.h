/*
 * secret.h -- the type egress_secret: sealing and opening
 */
#ifndef EGRESS_SECRET_H
#define EGRESS_SECRET_H

#include "postgres.h"

#include "compat.h"

/* bytes of a secret, in UTF-8 where it is sealed */
#define SECRET_MAX_LENGTH (1024 * 1024)

/* a value of egress_secret, detoasted: its stored form, which is text */
typedef struct varlena EgressSecret;

#define DatumGetSecretPP(datum) ((EgressSecret *) PG_DETOAST_DATUM_PACKED(datum))

typedef enum SecretOutcome
{
	SECRET_OPENED,
	SECRET_KEY_MISSING,			/* none of the keys that there are is the one it is sealed under */
	SECRET_DAMAGED,				/* not what was sealed under its key */
	SECRET_NOT_TEXT				/* it has characters that this database's encoding does not have */
} SecretOutcome;

/* While a secret in the clear is at hand, errors say nothing of what surrounds it; see secret_hush(). */
typedef struct SecretHush
{
	ErrorContextCallback callback;
	ErrorContextCallback *outer;
} SecretHush;

extern void secret_hush(SecretHush *state, const char *object);
extern void secret_unhush(SecretHush *state);
extern EgressSecret *secret_seal(const char *value, size_t length);
extern SecretOutcome secret_try_open(EgressSecret *secret, char **opened);
extern char *secret_open(EgressSecret *secret, const char *what);
pg_noreturn extern void secret_refuse(EgressSecret *secret, SecretOutcome outcome, const char *what);
extern void secret_wipe(char *opened);
extern bool secret_is_active(EgressSecret *secret);
extern char *secret_label(const char *field, int64 credential_id, const char *credential_name);

#endif							/* EGRESS_SECRET_H */
