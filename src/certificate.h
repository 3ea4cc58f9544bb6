/*
 * certificate.h -- certificates and private keys, as openvpn reads them
 *
 * What is wrong is said in a sentence, which never holds anything of what was read.
 */
#ifndef EGRESS_CERTIFICATE_H
#define EGRESS_CERTIFICATE_H

#include "postgres.h"

extern const char *certificate_pem_problem(const char *pem);
extern const char *certificate_problem(const char *pem);
extern const char *certificate_private_key_problem(const char *pem, bool *encrypted);
extern bool certificate_matches(const char *certificate, const char *key);
extern const char *certificate_date_problem(const char *pem);
extern bool certificate_pem_is_encrypted(const char *start, const char *end);
extern bool certificate_pkcs12_has_passphrase(const char *base64, size_t length);

#endif							/* EGRESS_CERTIFICATE_H */
