/*
 * certificate.c -- certificates and private keys, as openvpn reads them
 *
 * openvpn hands what stands in <cert> and <key> to libcrypto, and so does this: PEM blocks, with any text around them; the
 * client's certificate first, and those of its issuers, if any, behind it; a key in any of the formats that libcrypto
 * has. What openvpn would refuse, and what would make it ask for a passphrase, is found before a config with it is handed out.
 * One that has expired is not refused: a dump is to be restored at any time. Who signed it is not looked at.
 *
 * Pure functions of strings. No error of libcrypto's stays in its queue, in which the server looks for its own.
 */
#include "certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "config.h"

/* the most bytes of a certificate with its issuers', and of a key: many times what any has */
#define MAX_PEM_LENGTH	(64 * 1024)

/*
 * The most rounds in which a PKCS #12 file has keys derived, all together: a call of libcrypto cannot be cancelled. NSS has
 * 600000, thrice.
 */
#define MAX_ROUNDS		2000000

/* has -- is this somewhere between two places? */
static bool
has(const char *start, const char *end, const char *wanted)
{
	for (; start < end; start++)
		if (config_begins_with(start, end, wanted))
			return true;
	return false;
}

/*
 * certificate_pem_problem -- why a text cannot stand in a block of an OpenVPN config; NULL if it can
 *
 * Whether it is a certificate or a key is not looked at, so it costs little.
 */
const char *
certificate_pem_problem(const char *pem)
{
	if (strlen(pem) > MAX_PEM_LENGTH)
		return "It has more than 64 kB.";
	if (config_has_control_character(pem, true))
		return "It has a control character other than the ends of its lines.";
	if (strstr(pem, "</"))
		return "It has \"</\", with which openvpn would take the block that it stands in to end.";
	return NULL;
}

/* note_question -- called by libcrypto when it wants a passphrase: note it, and give none */
static int
note_question(char *passphrase, int size, int for_writing, void *asked)
{
	*(bool *) asked = true;
	return -1;
}

/* open_pem -- read a string; the caller frees it with BIO_free() */
static BIO *
open_pem(const char *pem)
{
	BIO		   *bio;

	ERR_clear_error();
	bio = BIO_new_mem_buf(pem, (int) strlen(pem));
	if (bio == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return bio;
}

/* read_certificate -- the next certificate, which the caller frees; NULL if there is none, or what is there is not one */
static X509 *
read_certificate(BIO *bio)
{
	bool		asked = false;

	return PEM_read_bio_X509(bio, NULL, note_question, &asked);
}

/* certificate_problem -- why openvpn would not take a <cert>, one or more certificates; NULL if it would */
const char *
certificate_problem(const char *pem)
{
	const char *problem = certificate_pem_problem(pem);
	X509	   *certificate;
	BIO		   *bio;
	int			count = 0;

	if (problem)
		return problem;
	if (strstr(pem, "PRIVATE KEY-----"))
		return "It has a private key as well, which belongs in client_key.";

	bio = open_pem(pem);
	while ((certificate = read_certificate(bio)) != NULL)
	{
		X509_free(certificate);
		count++;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		problem = count == 0 ? "Its certificate cannot be read." : "A certificate behind its first one cannot be read.";
	else if (count == 0)
		problem = "It has no certificate: no block that begins with -----BEGIN CERTIFICATE-----.";
	BIO_free(bio);
	ERR_clear_error();
	return problem;
}

/* certificate_private_key_problem -- why openvpn would not take a <key> without asking; NULL if it would. *encrypted: it would ask */
const char *
certificate_private_key_problem(const char *pem, bool *encrypted)
{
	const char *problem = certificate_pem_problem(pem);
	EVP_PKEY   *key;
	BIO		   *bio;

	*encrypted = false;
	if (problem)
		return problem;

	bio = open_pem(pem);
	key = PEM_read_bio_PrivateKey(bio, NULL, note_question, encrypted);
	if (*encrypted)
		problem = "It has a passphrase, for which openvpn would ask at the agent's console.";
	else if (key == NULL)
		problem = has(pem, pem + strlen(pem), "PRIVATE KEY-----") ?
			"Its private key cannot be read." :
			"It has no private key: no block that begins with -----BEGIN PRIVATE KEY-----.";
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return problem;
}

/* certificate_matches -- is a key the one of the first certificate? Both are without a problem */
bool
certificate_matches(const char *certificate, const char *key)
{
	bool		asked = false;
	bool		matches;
	EVP_PKEY   *private_key;
	X509	   *first;
	BIO		   *bio;

	bio = open_pem(certificate);
	first = read_certificate(bio);
	BIO_free(bio);
	bio = open_pem(key);
	private_key = PEM_read_bio_PrivateKey(bio, NULL, note_question, &asked);
	BIO_free(bio);

	matches = first && private_key && X509_check_private_key(first, private_key) == 1;
	EVP_PKEY_free(private_key);
	X509_free(first);
	ERR_clear_error();
	return matches;
}

/*
 * certificate_pem_is_encrypted -- has something in PEM a passphrase, in either of the two ways? Without a look at what is encrypted
 *
 * The older way, a header, libcrypto has for blocks of any kind, and reads it with white space in several places; there is no
 * use for that header but this.
 */
bool
certificate_pem_is_encrypted(const char *start, const char *end)
{
	return has(start, end, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(start, end, "Proc-Type:");
}

/* take_rounds -- take the rounds of a derivation from those that are left; false if they are too many */
static bool
take_rounds(const ASN1_INTEGER *rounds, long *left)
{
	long		count = rounds ? ASN1_INTEGER_get(rounds) : 1;

	if (count < 0 || count > *left)
		return false;
	*left -= count;
	return true;
}

/* take_key_rounds -- the same for the key that something is encrypted under; false as well if that is derived by other means */
static bool
take_key_rounds(const X509_ALGOR *algorithm, long *left)
{
	bool		result;

	if (OBJ_obj2nid(algorithm->algorithm) == NID_pbes2)
	{
		PBE2PARAM  *scheme = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
		PBKDF2PARAM *derivation = NULL;

		if (scheme && OBJ_obj2nid(scheme->keyfunc->algorithm) == NID_id_pbkdf2)
			derivation = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), scheme->keyfunc->parameter);
		result = derivation && take_rounds(derivation->iter, left);
		PBKDF2PARAM_free(derivation);
		PBE2PARAM_free(scheme);
	}
	else
	{
		PBEPARAM   *derivation = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);

		result = derivation && take_rounds(derivation->iter, left);
		PBEPARAM_free(derivation);
	}
	return result;
}

/* what libcrypto calls STACK_OF(PKCS7) and STACK_OF(PKCS12_SAFEBAG) */
typedef struct stack_st_PKCS7 Safes;
typedef struct stack_st_PKCS12_SAFEBAG Bags;

/* take_bags_rounds -- the same for the keys in a list of what a PKCS #12 file holds. libcrypto bounds how deep lists nest */
static bool
take_bags_rounds(const Bags *bags, long *left)
{
	bool		result = bags != NULL;

	for (int i = 0; result && i < sk_PKCS12_SAFEBAG_num(bags); i++)
	{
		const PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);
		const X509_ALGOR *algorithm;

		if (PKCS12_SAFEBAG_get_nid(bag) == NID_pkcs8ShroudedKeyBag)
		{
			X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &algorithm, NULL);
			result = take_key_rounds(algorithm, left);
		}
		else if (PKCS12_SAFEBAG_get_nid(bag) == NID_safeContentsBag)
			result = take_bags_rounds(PKCS12_SAFEBAG_get0_safes(bag), left);
	}
	return result;
}

/* take_safes_rounds -- the same for all that is in a PKCS #12 file; false as well if this passphrase does not open it */
static bool
take_safes_rounds(const PKCS12 *file, const char *passphrase, long *left)
{
	Safes	   *safes = PKCS12_unpack_authsafes(file);
	bool		result = safes != NULL;

	for (int i = 0; result && i < sk_PKCS7_num(safes); i++)
	{
		PKCS7	   *safe = sk_PKCS7_value(safes, i);
		Bags	   *bags = NULL;

		if (PKCS7_type_is_data(safe))
			bags = PKCS12_unpack_p7data(safe);
		else if (!PKCS7_type_is_encrypted(safe))
			continue;
		else if (safe->d.encrypted && take_key_rounds(safe->d.encrypted->enc_data->algorithm, left))
			bags = PKCS12_unpack_p7encdata(safe, passphrase, -1);
		result = take_bags_rounds(bags, left);
		sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	}
	sk_PKCS7_pop_free(safes, PKCS7_free);
	return result;
}

/*
 * opens -- does a PKCS #12 file open with no passphrase, or an empty one, which are not the same?
 *
 * openvpn calls PKCS12_parse() with an empty one. Before this does, it looks at the rounds of each derivation, which are
 * written in the file, as PKCS12_parse() comes to them: its digest tells which of the two it is, and without one it is none.
 */
static bool
opens(PKCS12 *file)
{
	const char *passphrase = NULL;
	long		left = MAX_ROUNDS;
	EVP_PKEY   *key = NULL;
	X509	   *certificate = NULL;
	bool		result;

	if (PKCS12_mac_present(file))
	{
		const X509_ALGOR *algorithm;
		const ASN1_INTEGER *rounds;
		int			parameter_type;

		PKCS12_get0_mac(NULL, &algorithm, NULL, &rounds, file);
		X509_ALGOR_get0(NULL, &parameter_type, NULL, algorithm);
		if ((parameter_type != V_ASN1_UNDEF && parameter_type != V_ASN1_NULL) || !take_rounds(rounds, &left))
			return false;
		if (!PKCS12_verify_mac(file, NULL, 0))
		{
			passphrase = "";
			if (!PKCS12_verify_mac(file, passphrase, 0))
				return false;
		}
	}
	result = take_safes_rounds(file, passphrase, &left) && PKCS12_parse(file, "", &key, &certificate, NULL);
	EVP_PKEY_free(key);
	X509_free(certificate);
	return result;
}

/*
 * certificate_pkcs12_has_passphrase -- would openvpn ask for the passphrase of a <pkcs12>? Not if it is none, or empty
 *
 * One that takes too long to find out, or has a digest of a kind that libcrypto has had since 3.4 only, counts as one with a
 * passphrase. False for what is no PKCS #12 file.
 */
bool
certificate_pkcs12_has_passphrase(const char *base64, size_t length)
{
	PKCS12	   *file = NULL;
	BIO		   *input;
	BIO		   *bio;
	bool		result;

	ERR_clear_error();
	input = length <= INT_MAX ? BIO_new_mem_buf(base64, (int) length) : NULL;
	bio = BIO_new(BIO_f_base64());
	if (input && bio)
		file = d2i_PKCS12_bio(BIO_push(bio, input), NULL);
	result = file && !opens(file);
	PKCS12_free(file);
	BIO_free(bio);
	BIO_free(input);
	ERR_clear_error();
	return result;
}

/* certificate_date_problem -- why a server would not take the first of some certificates at present; NULL if it would */
const char *
certificate_date_problem(const char *pem)
{
	BIO		   *bio = open_pem(pem);
	X509	   *first = read_certificate(bio);
	const char *problem = NULL;

	/* these say 0, too, of a time that they cannot read */
	if (first && X509_cmp_current_time(X509_get0_notAfter(first)) < 0)
		problem = "It has expired.";
	else if (first && X509_cmp_current_time(X509_get0_notBefore(first)) > 0)
		problem = "It is not valid yet.";
	X509_free(first);
	BIO_free(bio);
	ERR_clear_error();
	return problem;
}
