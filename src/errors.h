/*
 * errors.h -- SQLSTATEs of egress
 *
 * Class NG is ours; what PostgreSQL has a code for uses PostgreSQL's. README.md lists them for users.
 */
#ifndef EGRESS_ERRORS_H
#define EGRESS_ERRORS_H

/* the gateway does not exist */
#define ERRCODE_EGRESS_NO_GATEWAY				MAKE_SQLSTATE('N', 'G', '0', '0', '1')
/* the gateway is not available to this call: it is off, or no mapping names a subject of the call */
#define ERRCODE_EGRESS_GATEWAY_NOT_AVAILABLE	MAKE_SQLSTATE('N', 'G', '0', '0', '2')
/* no enabled credential fits */
#define ERRCODE_EGRESS_NO_CREDENTIAL			MAKE_SQLSTATE('N', 'G', '0', '0', '3')
/* credentials fit and every one is at its limit: try later */
#define ERRCODE_EGRESS_AT_LIMIT					MAKE_SQLSTATE('N', 'G', '0', '0', '4')
/* the session already holds a lease for another gateway, user or workspace */
#define ERRCODE_EGRESS_SESSION_HOLDS_OTHER		MAKE_SQLSTATE('N', 'G', '0', '0', '5')
/* a secret cannot be opened: the key is missing or the ciphertext was changed */
#define ERRCODE_EGRESS_SECRET					MAKE_SQLSTATE('N', 'G', '0', '0', '6')
/* a gateway's config or a credential does not fit its provider's type */
#define ERRCODE_EGRESS_CONFIG					MAKE_SQLSTATE('N', 'G', '0', '0', '7')
/* the user has as many connections as egress_user_limit allows */
#define ERRCODE_EGRESS_USER_LIMIT				MAKE_SQLSTATE('N', 'G', '0', '0', '8')
/* the session is not in the attached session table, or over */
#define ERRCODE_EGRESS_NO_SESSION				MAKE_SQLSTATE('N', 'G', '0', '0', '9')
/* a sync would withdraw too large a share of the provider's gateways */
#define ERRCODE_EGRESS_TOO_MANY_WITHDRAWN		MAKE_SQLSTATE('N', 'G', '0', '1', '0')

#endif							/* EGRESS_ERRORS_H */
