/*
 * errors.h -- SQLSTATEs of egress
 *
 * Class NG is ours; what PostgreSQL has a code for uses PostgreSQL's. doc/reference.md has the comments of this file for users:
 * scripts/reference.pl reads them, and test/t/reference.pl finds a code that is raised and not listed here.
 */
#ifndef EGRESS_ERRORS_H
#define EGRESS_ERRORS_H

/* the gateway does not exist */
#define ERRCODE_EGRESS_NO_GATEWAY				MAKE_SQLSTATE('N', 'G', '0', '0', '1')
/* the gateway is not available to this call: it is off or benched, or no mapping allows it; or no gateway matches the wish */
#define ERRCODE_EGRESS_GATEWAY_NOT_AVAILABLE	MAKE_SQLSTATE('N', 'G', '0', '0', '2')
/* no enabled credential fits */
#define ERRCODE_EGRESS_NO_CREDENTIAL			MAKE_SQLSTATE('N', 'G', '0', '0', '3')
/* credentials fit, and all of them that can be opened are at their limits or benched: try again later */
#define ERRCODE_EGRESS_AT_LIMIT					MAKE_SQLSTATE('N', 'G', '0', '0', '4')
/* the session already holds a lease for another gateway, user or workspace */
#define ERRCODE_EGRESS_SESSION_HOLDS_OTHER		MAKE_SQLSTATE('N', 'G', '0', '0', '5')
/* a secret cannot be opened: its key is missing, or its sealed form was changed */
#define ERRCODE_EGRESS_SECRET					MAKE_SQLSTATE('N', 'G', '0', '0', '6')
/* a gateway's config or a credential does not fit the type of its provider, or one does not fit the other */
#define ERRCODE_EGRESS_CONFIG					MAKE_SQLSTATE('N', 'G', '0', '0', '7')
/* the user has as many connections as egress_user_limit allows */
#define ERRCODE_EGRESS_USER_LIMIT				MAKE_SQLSTATE('N', 'G', '0', '0', '8')
/* the session is in no attached session table, or is over, and a table was attached with must_exist */
#define ERRCODE_EGRESS_NO_SESSION				MAKE_SQLSTATE('N', 'G', '0', '0', '9')
/* a sync would withdraw more than max_withdrawn of the provider's gateways, and at least ten of them */
#define ERRCODE_EGRESS_TOO_MANY_WITHDRAWN		MAKE_SQLSTATE('N', 'G', '0', '1', '0')

/*
 * PostgreSQL's own, and what they mean when egress raises them, or a constraint or a privilege of egress does:
 *
 * ERRCODE_FEATURE_NOT_SUPPORTED: an index of the access method egress_pool on other columns than those of egress_credential_pool
 * ERRCODE_NULL_VALUE_NOT_ALLOWED: an argument is null
 * ERRCODE_CHARACTER_NOT_IN_REPERTOIRE: bytes that are to become a secret are not text in the encoding of the database
 * ERRCODE_INVALID_PARAMETER_VALUE: an argument is out of range or malformed; a session has no live lease; a trigger cannot work
 * ERRCODE_UNTRANSLATABLE_CHARACTER: a secret has a character that Unicode does not have
 * ERRCODE_NOT_NULL_VIOLATION: a configuration row lacks a value
 * ERRCODE_FOREIGN_KEY_VIOLATION: a row is in use, or refers to one that does not exist or to a gateway of another provider
 * ERRCODE_UNIQUE_VIOLATION: the name, or the row, exists already
 * ERRCODE_CHECK_VIOLATION: a configuration row has a value that is out of range or does not fit the others
 * ERRCODE_READ_ONLY_SQL_TRANSACTION: a function that writes is called on a standby or in a read-only transaction
 * ERRCODE_INVALID_TRANSACTION_TERMINATION: egress_sweep_leases() is called inside a transaction block
 * ERRCODE_UNDEFINED_SCHEMA: the extension was dropped while the statement ran
 * ERRCODE_T_R_SERIALIZATION_FAILURE: an update of the extension came in between, or a change of a lease by hand: try again
 * ERRCODE_INSUFFICIENT_PRIVILEGE: the role lacks a privilege, or does not own the table
 * ERRCODE_SYNTAX_ERROR: the condition ended_when is not one expression
 * ERRCODE_UNDEFINED_COLUMN: a column of an application's table does not exist
 * ERRCODE_UNDEFINED_OBJECT: the table is not attached; or a type of the extension, or the extension, was dropped or renamed
 * ERRCODE_DUPLICATE_OBJECT: the table is attached already, or another membership table is
 * ERRCODE_WRONG_OBJECT_TYPE: the table is not a table of an application
 * ERRCODE_UNDEFINED_FUNCTION: a function of the extension was dropped or renamed
 * ERRCODE_UNDEFINED_TABLE: a table or index of the extension, or the application's table, was dropped or renamed
 * ERRCODE_INVALID_COLUMN_REFERENCE: a system column or virtual generated column is given as a column of ids
 * ERRCODE_OUT_OF_MEMORY: memory is exhausted
 * ERRCODE_PROGRAM_LIMIT_EXCEEDED: a config with its credential, or the index egress_credential_pool, becomes too large
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE: the provider is not managed; no key file is set for a rotation; the library does not
 *		serve the installed version, see ALTER EXTENSION egress UPDATE; a table, rule or trigger of the extension was altered
 * ERRCODE_CONFIG_FILE_ERROR: the key file cannot be used
 * ERRCODE_INTERNAL_ERROR: the system has no random numbers
 * ERRCODE_INDEX_CORRUPTED: the index egress_credential_pool is damaged: REINDEX it
 */

#endif							/* EGRESS_ERRORS_H */
