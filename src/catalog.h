/*
 * catalog.h -- the extension's own tables: their OIDs and the order of their columns
 *
 * The enums of columns mirror egress--1.0.sql, as pg_*.h mirror the system catalogs; test/pgtap/catalog.sql
 * compares them with pg_attribute through the names in the comments' place: same order, same names.
 */
#ifndef EGRESS_CATALOG_H
#define EGRESS_CATALOG_H

#include "postgres.h"
#include "fmgr.h"

/* the versions of the extension that the library serves, the oldest first */
typedef enum EgressVersion
{
	VERSION_0_9,
	VERSION_1_0
} EgressVersion;

#define EGRESS_VERSION_COUNT (VERSION_1_0 + 1)

typedef enum EgressTable
{
	TABLE_PROVIDER,
	TABLE_GATEWAY,
	TABLE_MAPPING,
	TABLE_MAPPING_GATEWAY,
	TABLE_CREDENTIAL,
	TABLE_CREDENTIAL_GATEWAY,
	TABLE_GROUP_MEMBER,
	TABLE_WORKSPACE,
	TABLE_USER_LIMIT,
	TABLE_LEASE,
	TABLE_LEASE_EXPIRY,
	TABLE_LEASE_HISTORY,
	TABLE_REPORT,
	TABLE_FAILURE
} EgressTable;

#define EGRESS_TABLE_COUNT (TABLE_FAILURE + 1)

/* the indexes that the C code reads; each is of the table that its name begins with */
typedef enum EgressIndex
{
	INDEX_PROVIDER_ID,
	INDEX_GATEWAY_ID,
	INDEX_GATEWAY_MENU,
	INDEX_GATEWAY_COUNTRY,
	INDEX_GATEWAY_CITY,
	INDEX_MAPPING_ID,
	INDEX_MAPPING_SUBJECT,
	INDEX_MAPPING_GATEWAY_ID,
	INDEX_CREDENTIAL_ID,
	INDEX_CREDENTIAL_SUBJECT,
	INDEX_CREDENTIAL_POOL,
	INDEX_CREDENTIAL_GATEWAY_ID,
	INDEX_CREDENTIAL_GATEWAY_GATEWAY,
	INDEX_GROUP_MEMBER_ID,
	INDEX_WORKSPACE_ID,
	INDEX_USER_LIMIT_SUBJECT,
	INDEX_LEASE_SESSION,
	INDEX_LEASE_SLOT,
	INDEX_LEASE_USER,
	INDEX_LEASE_GATEWAY,
	INDEX_LEASE_EXPIRY_SESSION,
	INDEX_LEASE_EXPIRY_CREDENTIAL,
	INDEX_REPORT_GATEWAY,
	INDEX_REPORT_CREDENTIAL
} EgressIndex;

#define EGRESS_INDEX_COUNT (INDEX_REPORT_CREDENTIAL + 1)

/* the sequences behind the ids of what the C code inserts */
typedef enum EgressSequence
{
	SEQUENCE_LEASE_HISTORY,
	SEQUENCE_REPORT,
	SEQUENCE_FAILURE
} EgressSequence;

#define EGRESS_SEQUENCE_COUNT (SEQUENCE_FAILURE + 1)

/* the types of the extension */
typedef enum EgressType
{
	TYPE_PROVIDER_TYPE,
	TYPE_SUBJECT_TYPE,
	TYPE_SECRET,
	TYPE_CREDENTIAL_ORDER
} EgressType;

#define EGRESS_TYPE_COUNT (TYPE_CREDENTIAL_ORDER + 1)

enum egress_provider
{
	Anum_egress_provider_egress_provider_id = 1,
	Anum_egress_provider_name,
	Anum_egress_provider_provider_type,
	Anum_egress_provider_enabled,
	Anum_egress_provider_managed,
	Anum_egress_provider_enable_new_managed_gateways,
	Anum_egress_provider_credential_order,
	Anum_egress_provider_bench_after,
	Anum_egress_provider_bench_for
};

enum egress_gateway
{
	Anum_egress_gateway_egress_gateway_id = 1,
	Anum_egress_gateway_egress_provider_id,
	Anum_egress_gateway_name,
	Anum_egress_gateway_country,
	Anum_egress_gateway_city,
	Anum_egress_gateway_config,
	Anum_egress_gateway_enabled,
	Anum_egress_gateway_withdrawn,
	Anum_egress_gateway_provider_type
};

enum egress_provider_mapping
{
	Anum_egress_provider_mapping_egress_provider_mapping_id = 1,
	Anum_egress_provider_mapping_egress_provider_id,
	Anum_egress_provider_mapping_subject_type,
	Anum_egress_provider_mapping_subject_id,
	Anum_egress_provider_mapping_enabled,
	Anum_egress_provider_mapping_allow_all_gateways
};

enum egress_provider_mapping_gateway
{
	Anum_egress_provider_mapping_gateway_egress_provider_mapping_id = 1,
	Anum_egress_provider_mapping_gateway_egress_gateway_id,
	Anum_egress_provider_mapping_gateway_egress_provider_id
};

enum egress_credential
{
	Anum_egress_credential_egress_credential_id = 1,
	Anum_egress_credential_egress_provider_id,
	Anum_egress_credential_name,
	Anum_egress_credential_subject_type,
	Anum_egress_credential_subject_id,
	Anum_egress_credential_enabled,
	Anum_egress_credential_username,
	Anum_egress_credential_password,
	Anum_egress_credential_private_key,
	Anum_egress_credential_custom_credential,
	Anum_egress_credential_allow_all_gateways,
	Anum_egress_credential_limit_active_connections,
	Anum_egress_credential_active_connection_limit,
	Anum_egress_credential_provider_type,
	Anum_egress_credential_client_certificate,
	Anum_egress_credential_client_key,
	Anum_egress_credential_address,
	Anum_egress_credential_preshared_key,
	Anum_egress_credential_once_per_gateway,
	Anum_egress_credential_cool_down
};

enum egress_credential_gateway
{
	Anum_egress_credential_gateway_egress_credential_id = 1,
	Anum_egress_credential_gateway_egress_gateway_id,
	Anum_egress_credential_gateway_egress_provider_id
};

enum egress_group_member
{
	Anum_egress_group_member_user_id = 1,
	Anum_egress_group_member_group_id
};

enum egress_workspace
{
	Anum_egress_workspace_workspace_id = 1,
	Anum_egress_workspace_override_egress_gateways
};

enum egress_user_limit
{
	Anum_egress_user_limit_subject_type = 1,
	Anum_egress_user_limit_subject_id,
	Anum_egress_user_limit_active_connection_limit,
	Anum_egress_user_limit_egress_user_limit_id
};

enum egress_lease
{
	Anum_egress_lease_session_id = 1,
	Anum_egress_lease_egress_credential_id,
	Anum_egress_lease_egress_gateway_id,
	Anum_egress_lease_user_id,
	Anum_egress_lease_workspace_id,
	Anum_egress_lease_acquired_at,
	Anum_egress_lease_slot,
	Anum_egress_lease_cooling,
	Anum_egress_lease_user_slot
};

#define Natts_egress_lease Anum_egress_lease_user_slot

enum egress_lease_expiry
{
	Anum_egress_lease_expiry_session_id = 1,
	Anum_egress_lease_expiry_egress_credential_id,
	Anum_egress_lease_expiry_expires_at
};

#define Natts_egress_lease_expiry Anum_egress_lease_expiry_expires_at

enum egress_lease_history
{
	Anum_egress_lease_history_egress_lease_history_id = 1,
	Anum_egress_lease_history_session_id,
	Anum_egress_lease_history_egress_credential_id,
	Anum_egress_lease_history_credential_name,
	Anum_egress_lease_history_egress_gateway_id,
	Anum_egress_lease_history_gateway_name,
	Anum_egress_lease_history_provider_name,
	Anum_egress_lease_history_country,
	Anum_egress_lease_history_city,
	Anum_egress_lease_history_user_id,
	Anum_egress_lease_history_workspace_id,
	Anum_egress_lease_history_acquired_at,
	Anum_egress_lease_history_released_at,
	Anum_egress_lease_history_release_reason
};

#define Natts_egress_lease_history Anum_egress_lease_history_release_reason

enum egress_report
{
	Anum_egress_report_egress_report_id = 1,
	Anum_egress_report_egress_gateway_id,
	Anum_egress_report_egress_credential_id,
	Anum_egress_report_session_id,
	Anum_egress_report_reported_at
};

#define Natts_egress_report Anum_egress_report_reported_at

enum egress_failure
{
	Anum_egress_failure_egress_failure_id = 1,
	Anum_egress_failure_reported_at,
	Anum_egress_failure_session_id,
	Anum_egress_failure_failure,
	Anum_egress_failure_egress_gateway_id,
	Anum_egress_failure_gateway_name,
	Anum_egress_failure_egress_credential_id,
	Anum_egress_failure_credential_name,
	Anum_egress_failure_provider_name,
	Anum_egress_failure_user_id
};

#define Natts_egress_failure Anum_egress_failure_user_id

/* the labels of egress_subject_type */
typedef enum EgressSubjectType
{
	SUBJECT_USER,
	SUBJECT_GROUP,
	SUBJECT_WORKSPACE,
	SUBJECT_EVERYONE
} EgressSubjectType;

#define EGRESS_SUBJECT_TYPE_COUNT (SUBJECT_EVERYONE + 1)

/* the labels of egress_provider_type */
typedef enum EgressProviderType
{
	PROVIDER_OPENVPN,
	PROVIDER_WIREGUARD,
	PROVIDER_CUSTOM
} EgressProviderType;

#define EGRESS_PROVIDER_TYPE_COUNT (PROVIDER_CUSTOM + 1)

/* the labels of egress_credential_order */
typedef enum EgressCredentialOrder
{
	ORDER_FIRST,
	ORDER_SPREAD
} EgressCredentialOrder;

#define EGRESS_CREDENTIAL_ORDER_COUNT (ORDER_SPREAD + 1)

extern void catalog_init(void);
extern void catalog_use(Oid function);
extern char *catalog_schema_name(void);
extern Oid	catalog_function(const char *name, int nargs, const Oid *types);
extern Oid	catalog_trigger_function(const char *name);
extern Oid	catalog_table(EgressTable table);
extern EgressTable catalog_table_of(Oid relid);
extern EgressTable catalog_index_table(EgressIndex index);
extern Oid	catalog_index(EgressIndex index);
extern bool catalog_has_table(EgressTable table);
extern bool catalog_has_index(EgressIndex index);
extern bool catalog_index_includes(EgressIndex index);
extern EgressVersion catalog_version(void);
extern Oid	catalog_sequence(EgressSequence sequence);
extern Oid	catalog_type(EgressType type);
extern Datum catalog_subject_type(EgressSubjectType type);
extern EgressSubjectType catalog_subject_label(Datum value);
extern Datum catalog_credential_order(EgressCredentialOrder order);
extern EgressProviderType catalog_provider_type(Datum value);
extern const char *catalog_provider_type_name(EgressProviderType type);

#endif							/* EGRESS_CATALOG_H */
