/*
 * keyring.h -- the keys that secrets are sealed under
 */
#ifndef EGRESS_KEYRING_H
#define EGRESS_KEYRING_H

#include "postgres.h"

#include <sodium.h>

/* hexadecimal digits of a key's id */
#define KEY_ID_LENGTH 16

typedef struct EgressSecretKey
{
	char		id[KEY_ID_LENGTH + 1];	/* a fingerprint that does not reveal the key */
	unsigned char bytes[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
} EgressSecretKey;

typedef enum EgressKeyringState
{
	KEYRING_UNSET,				/* no key file is configured: secrets are stored as they are */
	KEYRING_READY,				/* there is at least one key */
	KEYRING_UNUSABLE			/* a key file is configured, but keyring_problem() */
} EgressKeyringState;

extern void keyring_init(void);
extern EgressKeyringState keyring_load(void);
extern void keyring_load_anew(void);
extern const char *keyring_problem(void);
extern const char *keyring_problem_for_client(void);
extern const EgressSecretKey *keyring_active(void);
extern const EgressSecretKey *keyring_find(const char *id);

#endif							/* EGRESS_KEYRING_H */
