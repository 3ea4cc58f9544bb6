/*
 * secret.c -- the type egress_secret: what is stored, sealing and opening
 *
 * A value is stored as the text that a SELECT, a dump and replication show. That is the sealed form,
 *	egress:v1:<key id>:<base64 of a nonce, the ciphertext and its tag>
 * or, where no key file is configured (keyring.c), the secret as it was given. Text that goes in and begins with
 * "egress:v1:" is taken for a sealed form: so dumps, replication and UPDATEs that change other columns need no key.
 * All other text is sealed. The cipher is libsodium's XChaCha20-Poly1305, whose nonces are long enough to be random.
 * The additional data are "egress:v1:<key id>", so that neither can be exchanged.
 *
 * What is sealed is the text in UTF-8, whatever the encoding of the database: a dump goes from one encoding to another
 * as text does. A database in SQL_ASCII seals the bytes that it has.
 *
 * The input function is STABLE although it takes a fresh nonce each time: the planner must not fold it into a constant,
 * and may call it more than once for what the statement writes once. The operators = and <> compare stored forms, and open
 * nothing: two sealed forms of one secret are different. So a call more or less shows only where a statement compares a
 * secret that it has just sealed itself with another such one, and that has no answer to rely on. What was stored was
 * sealed once: it is equal to itself and to its copies, and to nothing that is sealed later.
 *
 * Buffers with a secret in the clear that this file makes are wiped by whoever asked for them, and on an error by a
 * callback of their memory context. The strings that the caller's own statement holds are PostgreSQL's.
 */
#include "secret.h"

#include <sodium.h>

#include "catalog/namespace.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "argument.h"
#include "catalog.h"
#include "compat.h"
#include "errors.h"
#include "keyring.h"

#define PREFIX "egress:v1:"
#define PREFIX_LENGTH (sizeof(PREFIX) - 1)

/* the head of a sealed form, "egress:v1:<key id>", which a colon and the base64 follow */
#define HEAD_LENGTH (PREFIX_LENGTH + KEY_ID_LENGTH)

#define NONCE_LENGTH crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LENGTH crypto_aead_xchacha20poly1305_ietf_ABYTES

/*
 * The bytes of a secret that is opened, or sealed anew, and the longest sealed form, in characters. What was sealed when
 * SECRET_MAX_LENGTH was larger goes on to be opened, rotated, dumped and restored.
 */
#define OPENED_MAX_LENGTH (1024 * 1024)
#define SEALED_MAX_LENGTH \
	(HEAD_LENGTH + sodium_base64_ENCODED_LEN(NONCE_LENGTH + OPENED_MAX_LENGTH + TAG_LENGTH, \
											 sodium_base64_VARIANT_ORIGINAL))

/* A buffer for a secret in the clear. Its memory context wipes it when it goes. */
typedef struct ClearText
{
	MemoryContextCallback callback;
	size_t		length;			/* of what follows */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} ClearText;

const EgressCredentialField credential_secrets[CREDENTIAL_SECRET_COUNT] = {
	[SECRET_PASSWORD] = {Anum_egress_credential_password, "password"},
	[SECRET_PRIVATE_KEY] = {Anum_egress_credential_private_key, "private_key"},
	[SECRET_CUSTOM_CREDENTIAL] = {Anum_egress_credential_custom_credential, "custom_credential"},
	[SECRET_CLIENT_KEY] = {Anum_egress_credential_client_key, "client_key"},
	[SECRET_PRESHARED_KEY] = {Anum_egress_credential_preshared_key, "preshared_key"},
};

/* what egress_secret_state() says */
static const char STATE_ACTIVE_KEY[] = "active key";
static const char STATE_OLDER_KEY[] = "older key";
static const char STATE_MISSING_KEY[] = "missing key";
static const char STATE_NOT_SEALED[] = "not sealed";

PG_FUNCTION_INFO_V1(egress_secret_in);
PG_FUNCTION_INFO_V1(egress_secret_out);
PG_FUNCTION_INFO_V1(egress_secret_recv);
PG_FUNCTION_INFO_V1(egress_secret_send);
PG_FUNCTION_INFO_V1(egress_secret_analyze);
PG_FUNCTION_INFO_V1(egress_secret_from_bytea);
PG_FUNCTION_INFO_V1(egress_secret_state);
PG_FUNCTION_INFO_V1(egress_reveal_secret);

/* hush -- error context callback: name the object; and the log does not get the statement */
static void
hush(void *arg)
{
	const EgressSecretHush *state = arg;

	errhidestmt(true);
	if (state->object != NULL)
		errcontext("%s", state->object);
}

/*
 * secret_hush -- until secret_unhush() or an error, errors tell neither the statement nor what led to it
 *
 * Both may hold secrets in the clear: a literal, a bound parameter, the line or column that COPY is at. All that an
 * error tells as its context is object, if that is not NULL. Our own messages never hold a value.
 */
void
secret_hush(EgressSecretHush *state, const char *object)
{
	state->outer = error_context_stack;
	state->callback.previous = NULL;
	state->callback.callback = hush;
	state->callback.arg = state;
	state->object = object;
	error_context_stack = &state->callback;
}

/* secret_unhush -- errors tell everything again */
void
secret_unhush(EgressSecretHush *state)
{
	error_context_stack = state->outer;
}

/* wipe -- memory context callback: wipe a clear text before its memory is freed */
static void
wipe(void *arg)
{
	ClearText  *clear = arg;

	sodium_memzero(clear->bytes, clear->length);
}

/* clear_text -- a buffer for a secret in the clear, in the current memory context; it is not freed by itself */
static char *
clear_text(size_t length)
{
	ClearText  *clear = palloc(offsetof(ClearText, bytes) + length);

	clear->length = length;
	clear->callback.func = wipe;
	clear->callback.arg = clear;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &clear->callback);
	return clear->bytes;
}

/* secret_wipe -- wipe what was opened; NULL is fine. The memory goes with its context */
void
secret_wipe(char *opened)
{
	if (opened != NULL)
		sodium_memzero(opened, strlen(opened));
}

/* is_sealed -- is this a sealed form, be it well-formed or not? */
static bool
is_sealed(const char *value, size_t length)
{
	return length >= PREFIX_LENGTH && memcmp(value, PREFIX, PREFIX_LENGTH) == 0;
}

/* has_key_id -- does a sealed form name a key? */
static bool
has_key_id(const char *value, size_t length)
{
	return length > HEAD_LENGTH && value[HEAD_LENGTH] == ':' &&
		strspn(value + PREFIX_LENGTH, "0123456789abcdef") == KEY_ID_LENGTH;
}

/*
 * decode -- nonce, ciphertext and tag of a sealed form, palloc'd; NULL when it is not well-formed
 *
 * value need not end with a zero byte. *size is how many bytes were decoded: more than nonce and tag.
 */
static unsigned char *
decode(const char *value, size_t length, size_t *size)
{
	unsigned char *bytes;

	if (length > SEALED_MAX_LENGTH || !has_key_id(value, length))
		return NULL;

	bytes = palloc(length);
	if (sodium_base642bin(bytes, length, value + HEAD_LENGTH + 1, length - HEAD_LENGTH - 1, NULL, size, NULL,
						  sodium_base64_VARIANT_ORIGINAL) != 0 ||
		*size <= NONCE_LENGTH + TAG_LENGTH)
	{
		pfree(bytes);
		return NULL;
	}
	return bytes;
}

/* convert -- a text in another encoding, as a string in a clear_text(); NULL when it cannot be written so */
static char *
convert(const char *value, size_t length, int from, int to)
{
	Oid			function = FindDefaultConversionProc(from, to);
	size_t		size = (length + 1) * MAX_CONVERSION_GROWTH;
	char	   *converted;

	if (!OidIsValid(function))
		return NULL;
	converted = clear_text(size);
	if (pg_do_encoding_conversion_buf(function, from, to, (unsigned char *) value, length,
									  (unsigned char *) converted, size, true) != (int) length)
		return NULL;
	return converted;
}

/* needs_conversion -- are the texts of this database in another encoding than those that are sealed? */
static bool
needs_conversion(void)
{
	return GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
}

/* check_length -- refuse a secret that is too long */
static void
check_length(size_t length, size_t max_length)
{
	if (length > max_length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a secret is too long"),
				 errdetail("It has at most %zu bytes.", max_length)));
}

/* make_secret -- a value of egress_secret with these bytes */
static EgressSecret *
make_secret(const char *value, size_t length)
{
	return (EgressSecret *) cstring_to_text_with_len(value, length);
}

/*
 * secret_seal -- seal a secret under the active key, with a fresh nonce; palloc'd
 *
 * An error when the key file cannot be used. Where none is configured, the secret is kept as it is.
 */
EgressSecret *
secret_seal(const char *value, size_t length)
{
	const EgressSecretKey *key;
	EgressSecret *secret;
	char	   *head;
	char	   *converted = NULL;
	unsigned char *bytes;
	unsigned long long ciphertext_length;
	size_t		base64_size;

	switch (keyring_load())
	{
		case KEYRING_UNSET:
			return make_secret(value, length);
		case KEYRING_UNUSABLE:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("a secret cannot be sealed"),
					 errdetail_internal("%s", keyring_problem_for_client()),
					 errdetail_log("%s", keyring_problem()),
					 errhint("See egress.secret_key_file.")));
		case KEYRING_READY:
			break;
	}
	key = keyring_active();

	if (needs_conversion())
	{
		converted = convert(value, length, GetDatabaseEncoding(), PG_UTF8);
		if (converted == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
					 errmsg("a secret cannot be sealed"),
					 errdetail("It has a character that Unicode does not have.")));
		value = converted;
		length = strlen(converted);
	}
	check_length(length, OPENED_MAX_LENGTH);

	bytes = palloc(NONCE_LENGTH + length + TAG_LENGTH);
	base64_size = sodium_base64_encoded_len(NONCE_LENGTH + length + TAG_LENGTH, sodium_base64_VARIANT_ORIGINAL);
	secret = palloc(VARHDRSZ + HEAD_LENGTH + 1 + base64_size);
	head = VARDATA(secret);
	memcpy(head, PREFIX, PREFIX_LENGTH);
	memcpy(head + PREFIX_LENGTH, key->id, KEY_ID_LENGTH);
	head[HEAD_LENGTH] = ':';

	randombytes_buf(bytes, NONCE_LENGTH);
	crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + NONCE_LENGTH, &ciphertext_length,
											   (const unsigned char *) value, length,
											   (const unsigned char *) head, HEAD_LENGTH,
											   NULL, bytes, key->bytes);
	Assert(ciphertext_length == length + TAG_LENGTH);
	sodium_bin2base64(head + HEAD_LENGTH + 1, base64_size, bytes, NONCE_LENGTH + length + TAG_LENGTH,
					  sodium_base64_VARIANT_ORIGINAL);
	/* without the zero byte */
	SET_VARSIZE(secret, VARHDRSZ + HEAD_LENGTH + 1 + base64_size - 1);
	pfree(bytes);
	if (converted != NULL)
		sodium_memzero(converted, length);
	return secret;
}

/* decrypt -- open what decode() returned: the text in UTF-8, a string in a clear_text(); NULL if it was changed */
static char *
decrypt(const EgressSecretKey *key, const char *head, const unsigned char *bytes, size_t size)
{
	size_t		length = size - NONCE_LENGTH - TAG_LENGTH;
	char	   *opened = clear_text(length + 1);

	opened[length] = '\0';
	if (crypto_aead_xchacha20poly1305_ietf_decrypt((unsigned char *) opened, NULL, NULL,
												   bytes + NONCE_LENGTH, size - NONCE_LENGTH,
												   (const unsigned char *) head, HEAD_LENGTH,
												   bytes, key->bytes) != 0)
		return NULL;
	return opened;
}

/*
 * secret_try_open_at_once -- open a secret, if it can be, with the keys that are at hand: no file is read
 *
 * After SECRET_OPENED, *opened is a string in the current memory context, in this database's encoding: the caller hands
 * it to secret_wipe() when done with it. Otherwise it is NULL. Before: keyring_load() was called by this statement.
 */
EgressSecretOutcome
secret_try_open_at_once(EgressSecret *secret, char **opened)
{
	const char *value = VARDATA_ANY(secret);
	size_t		length = VARSIZE_ANY_EXHDR(secret);
	const EgressSecretKey *key;
	unsigned char *bytes;
	size_t		size;
	char	   *utf8;

	*opened = NULL;
	if (!is_sealed(value, length))
	{
		*opened = clear_text(length + 1);
		memcpy(*opened, value, length);
		(*opened)[length] = '\0';
		return SECRET_OPENED;
	}

	/* the input function lets in what is well-formed only; what is stored may have been changed since */
	if (!has_key_id(value, length))
		return SECRET_DAMAGED;
	key = keyring_find(value + PREFIX_LENGTH);
	if (key == NULL)
		return SECRET_KEY_MISSING;
	bytes = decode(value, length, &size);
	if (bytes == NULL)
		return SECRET_DAMAGED;
	utf8 = decrypt(key, value, bytes, size);
	pfree(bytes);
	if (utf8 == NULL)
		return SECRET_DAMAGED;

	length = size - NONCE_LENGTH - TAG_LENGTH;
	if (needs_conversion())
	{
		*opened = convert(utf8, length, PG_UTF8, GetDatabaseEncoding());
		sodium_memzero(utf8, length);
	}
	else if (pg_verify_mbstr(GetDatabaseEncoding(), utf8, length, true))
		*opened = utf8;
	else
		sodium_memzero(utf8, length);
	return *opened != NULL ? SECRET_OPENED : SECRET_NOT_TEXT;
}

/* secret_try_open -- the same, with the keys as they are in the file now, if need be */
EgressSecretOutcome
secret_try_open(EgressSecret *secret, char **opened)
{
	EgressSecretOutcome outcome;

	(void) keyring_load();
	outcome = secret_try_open_at_once(secret, opened);
	if (outcome == SECRET_KEY_MISSING)
	{
		keyring_load_anew();
		outcome = secret_try_open_at_once(secret, opened);
	}
	return outcome;
}

/*
 * why_not_opened -- why a secret cannot be opened, by the outcome of an attempt: a sentence for a message's detail
 *
 * for_client: not for the server's log, but for the client, who may not know where the key file is.
 */
static char *
why_not_opened(EgressSecret *secret, EgressSecretOutcome outcome, bool for_client)
{
	const char *id = VARDATA_ANY(secret) + PREFIX_LENGTH;

	if (outcome == SECRET_DAMAGED)
		return pstrdup("Its sealed form was changed after it was sealed.");
	if (outcome == SECRET_NOT_TEXT)
		return psprintf("It has a character that the encoding %s of this database does not have.",
						GetDatabaseEncodingName());
	switch (keyring_load())
	{
		case KEYRING_UNSET:
			return psprintf("It is sealed under key %.*s, and egress.secret_key_file is not set.", KEY_ID_LENGTH, id);
		case KEYRING_UNUSABLE:
			return psprintf("It is sealed under key %.*s. %s", KEY_ID_LENGTH, id,
							for_client ? keyring_problem_for_client() : keyring_problem());
		default:
			return psprintf("It is sealed under key %.*s, which the file of egress.secret_key_file does not hold.",
							KEY_ID_LENGTH, id);
	}
}

/* secret_refuse -- raise NG006: what, as a message names it, cannot be opened, by the outcome of an attempt */
void
secret_refuse(EgressSecret *secret, EgressSecretOutcome outcome, const char *what)
{
	char	   *detail = why_not_opened(secret, outcome, true);
	char	   *detail_log = why_not_opened(secret, outcome, false);

	ereport(ERROR,
			(errcode(ERRCODE_EGRESS_SECRET),
			 errmsg("%s cannot be opened", what),
			 errdetail_internal("%s", detail),
			 errdetail_log("%s", detail_log),
			 outcome == SECRET_KEY_MISSING ?
			 errhint("Put the key back into the key file, and reload the server's configuration.") :
			 errhint("Write the secret again.")));
}

/*
 * secret_log_passed_over -- a WARNING in the server's log: an acquire does without what cannot be opened
 *
 * Not for the client, to whom other credentials than the one that it gets are none of its business. others is how many more
 * credentials could not be opened.
 */
void
secret_log_passed_over(EgressSecret *secret, EgressSecretOutcome outcome, const char *what, int others)
{
	char	   *detail = why_not_opened(secret, outcome, false);
	int			nest_level = NewGUCNestLevel();

	(void) set_config_option("client_min_messages", "error", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	ereport(WARNING,
			(errcode(ERRCODE_EGRESS_SECRET),
			 errmsg("%s cannot be opened, and the credential was passed over", what),
			 others == 0 ? errdetail_internal("%s", detail) :
			 errdetail_plural("%s %d other credential was passed over likewise.",
							  "%s %d other credentials were passed over likewise.", others, detail, others)));
	AtEOXact_GUC(true, nest_level);
}

/* secret_open -- open a secret as secret_try_open() does; if it cannot, raise NG006 for what, as a message names it */
char *
secret_open(EgressSecret *secret, const char *what)
{
	char	   *opened;
	EgressSecretOutcome outcome = secret_try_open(secret, &opened);

	if (outcome != SECRET_OPENED)
		secret_refuse(secret, outcome, what);
	return opened;
}

/* secret_label -- a secret of a credential as messages name it */
char *
secret_label(const char *field, int64 credential_id, const char *credential_name)
{
	return psprintf("%s of credential " INT64_FORMAT " \"%s\"", field, credential_id, credential_name);
}

/* take_in -- make a value of what a client gave: a sealed form is kept, anything else is sealed */
static EgressSecret *
take_in(const char *value, size_t length)
{
	EgressSecretHush hush_state;
	EgressSecret *secret;

	secret_hush(&hush_state, NULL);
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a secret must not be empty"),
				 errhint("NULL says that there is none.")));
	if (is_sealed(value, length))
	{
		size_t		size;
		unsigned char *bytes = decode(value, length, &size);

		if (bytes == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_EGRESS_SECRET),
					 errmsg("the sealed form of a secret is damaged"),
					 errdetail("Text that begins with \"%s\" has to be a sealed form as it came out of the database.",
							   PREFIX)));
		pfree(bytes);
		secret = make_secret(value, length);
	}
	else
	{
		check_length(length, SECRET_MAX_LENGTH);
		secret = secret_seal(value, length);
	}
	secret_unhush(&hush_state);
	return secret;
}

/* egress_secret_in -- input function */
Datum
egress_secret_in(PG_FUNCTION_ARGS)
{
	const char *value = PG_GETARG_CSTRING(0);

	PG_RETURN_POINTER(take_in(value, strlen(value)));
}

/* egress_secret_out -- output function: the stored form */
Datum
egress_secret_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(text_to_cstring((text *) DatumGetSecretPP(PG_GETARG_DATUM(0))));
}

/* egress_secret_recv -- binary input function: text */
Datum
egress_secret_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			length;
	char	   *value = pq_getmsgtext(message, message->len - message->cursor, &length);
	EgressSecret *secret = take_in(value, length);

	sodium_memzero(value, length);
	pfree(value);
	PG_RETURN_POINTER(secret);
}

/* egress_secret_send -- binary output function: the stored form */
Datum
egress_secret_send(PG_FUNCTION_ARGS)
{
	EgressSecret *secret = DatumGetSecretPP(PG_GETARG_DATUM(0));
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendtext(&message, VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/*
 * egress_secret_analyze -- what ANALYZE does with a column of the type: nothing
 *
 * For a type with an equality operator it would keep the most common values, in a view, and in dumps of newer majors.
 */
Datum
egress_secret_analyze(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(false);
}

/*
 * egress_secret_from_bytea -- cast of bytea: the text that the bytes are
 *
 * For parameters that a driver sends as bytes. Their own text form would be taken for the secret, and not be it.
 */
Datum
egress_secret_from_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);

	if (!pg_verify_mbstr(GetDatabaseEncoding(), VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("a secret is no text in the encoding %s", GetDatabaseEncodingName()),
				 errhint("Give it as text.")));
	PG_RETURN_POINTER(take_in(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/* state_of -- which key a stored form is sealed under; needs the head of it only */
static const char *
state_of(const char *value, size_t length)
{
	const EgressSecretKey *key;

	if (!is_sealed(value, length))
		return STATE_NOT_SEALED;
	if (keyring_load() != KEYRING_READY || !has_key_id(value, length) ||
		(key = keyring_find(value + PREFIX_LENGTH)) == NULL)
		return STATE_MISSING_KEY;
	return key == keyring_active() ? STATE_ACTIVE_KEY : STATE_OLDER_KEY;
}

/*
 * secret_missing_key -- the id of the key that a secret is sealed under, palloc'd, when it is not at hand; else NULL
 *
 * Opens nothing: that a secret was changed is not seen. Before: keyring_load() was called by this statement.
 */
char *
secret_missing_key(Datum secret)
{
	text	   *head = DatumGetTextPSlice(secret, 0, HEAD_LENGTH + 1);
	const char *value = VARDATA_ANY(head);
	size_t		length = VARSIZE_ANY_EXHDR(head);

	if (!is_sealed(value, length) || !has_key_id(value, length) || keyring_find(value + PREFIX_LENGTH) != NULL)
		return NULL;
	return pnstrdup(value + PREFIX_LENGTH, KEY_ID_LENGTH);
}

/* secret_is_active -- is a secret sealed under the active key? */
bool
secret_is_active(EgressSecret *secret)
{
	return state_of(VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret)) == STATE_ACTIVE_KEY;
}

/* egress_secret_state -- see COMMENT ON FUNCTION */
Datum
egress_secret_state(PG_FUNCTION_ARGS)
{
	text	   *head;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	head = PG_GETARG_TEXT_P_SLICE(0, 0, HEAD_LENGTH + 1);
	PG_RETURN_TEXT_P(cstring_to_text(state_of(VARDATA_ANY(head), VARSIZE_ANY_EXHDR(head))));
}

/* egress_reveal_secret -- see COMMENT ON FUNCTION */
Datum
egress_reveal_secret(PG_FUNCTION_ARGS)
{
	char	   *opened;
	text	   *revealed;

	argument_check_not_null(fcinfo, 0, "secret");
	opened = secret_open(DatumGetSecretPP(PG_GETARG_DATUM(0)), "the secret");
	revealed = cstring_to_text(opened);
	secret_wipe(opened);
	PG_RETURN_TEXT_P(revealed);
}
