/*
 * access.h -- who may use what: rules 1 to 3 of the menu, of an acquire and of every explanation
 */
#ifndef EGRESS_ACCESS_H
#define EGRESS_ACCESS_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/snapshot.h"

#include "catalog.h"

/* One of the subjects of a call. */
typedef struct EgressSubject
{
	EgressSubjectType type;
	text	   *id;				/* NULL for everyone */
} EgressSubject;

/* Whose access is decided, and as of when. */
typedef struct EgressCall
{
	text	   *user_id;
	text	   *workspace_id;	/* or NULL */
	Snapshot	snapshot;
	List	   *subjects;		/* of EgressSubject */
} EgressCall;

/* An enabled mapping or credential that has one of the subjects. */
typedef struct EgressEntitlement
{
	int64		provider_id;
	int64		id;
	bool		all_gateways;
	bool		limited;		/* credentials only, as is: */
	int32		limit;
	int64		active;			/* for the menu: live leases, -1 until counted */
} EgressEntitlement;

/* What a call may do with one provider. */
typedef struct EgressAccess
{
	int64		provider_id;
	char	   *provider_name;
	Datum		provider_type;
	bool		provider_enabled;
	bool		mapped_all;		/* a mapping allows all gateways */
	List	   *credentials_all;	/* of EgressEntitlement, by ascending id: those that allow all gateways */
	HTAB	   *selected;		/* gateways that a mapping or credential selects */
} EgressAccess;

/* A gateway that is in EgressAccess.selected. */
typedef struct EgressSelected
{
	int64		gateway_id;		/* hash key; must be first */
	bool		mapped;
	List	   *credentials;	/* of EgressEntitlement, by ascending id: those that select it */
} EgressSelected;

/* Why a gateway is not available, or that it is. The first that applies, in this order. */
typedef enum EgressVerdict
{
	ACCESS_GATEWAY_WITHDRAWN,
	ACCESS_GATEWAY_DISABLED,
	ACCESS_PROVIDER_DISABLED,
	ACCESS_NOT_MAPPED,
	ACCESS_NO_CREDENTIAL,
	ACCESS_AVAILABLE			/* though its credentials may all be at their limits */
} EgressVerdict;

extern void access_lock_tables(void);
extern void access_begin(EgressCall *call, text *user_id, text *workspace_id, Snapshot snapshot);
extern List *access_to_providers(EgressCall *call);
extern EgressAccess *access_to_gateway(EgressCall *call, int64 provider_id, int64 gateway_id);
extern List *access_credentials(EgressAccess *access, int64 gateway_id);
extern EgressVerdict access_decide(EgressAccess *access, int64 gateway_id, bool enabled, bool withdrawn);

#endif							/* EGRESS_ACCESS_H */
