/*
 * access.h -- who may use what: rules 1 to 3 of the menu, of an acquire and of every explanation
 */
#ifndef EGRESS_ACCESS_H
#define EGRESS_ACCESS_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/snapshot.h"

#include "bench.h"
#include "once.h"
#include "pool.h"
#include "scan.h"
#include "subject.h"

/* What the answer is for. */
typedef enum EgressPurpose
{
	ACCESS_TO_ACQUIRE,
	ACCESS_TO_READ,
	ACCESS_TO_EXPLAIN			/* also what names the call and is disabled, and each credential */
} EgressPurpose;

/* Looking for the credentials of big pools that select a gateway. What is open stays so for an acquire, until access_end(). */
typedef struct EgressSelections
{
	bool		opened;			/* the next two are: */
	EgressScan	by_gateway;		/* selections, */
	EgressScan	credentials;	/* and credentials by id */
	bool		entries_opened; /* the next is: */
	EgressScan	entries;		/* selections by credential and gateway */
} EgressSelections;

/* Whose access is decided, and as of when. */
typedef struct EgressCall
{
	text	   *user_id;
	text	   *workspace_id;	/* or NULL */
	Snapshot	snapshot;
	TimestampTz moment;			/* for leases that end by themselves */
	EgressPurpose purpose;
	bool		pools;			/* big pools are searched, and not read */
	bool		overrides;		/* the workspace's override is on */
	List	   *subjects;		/* of EgressSubject */
	EgressBenchLook benches;
	EgressSelections selections;
	List	   *counts;			/* for access.c: how many credentials of each provider were read */
} EgressCall;

/* A mapping or credential that has one of the subjects. */
typedef struct EgressEntitlement
{
	int64		provider_id;
	int64		id;
	EgressSubject *subject;
	bool		enabled;		/* always, unless it is to explain */
	bool		left_out;		/* a mapping that does not count, by the workspace's override */
	bool		all_gateways;
	bool		limited;		/* credentials only, as is: */
	int32		limit;
	bool		once;			/* at each gateway at most */
	const Interval *cool_down;	/* how long a connection counts after its end, or NULL */
	bool		spent;			/* for an acquire: it was found to have no connection to give, at whichever gateway; */
	bool		unopened;		/* it cannot be opened */
	const EgressBench *bench;	/* not for an acquire: it is benched, and passed over; or NULL */
	int64		active;			/* for capacity.c: connections that are held, -1 until counted; */
	int64		cooling;		/* of these, those that only cool down, */
	TimestampTz cooled_at;		/* the first of them until then */
	int			gateway_count;	/* of one that may be at each gateway once: where it is, */
	int64	   *gateways;		/* by ascending id */
	bool		sealed_known;	/* for explain.c: it was found out whether */
	const char *missing_key;	/* a secret is sealed under a key that is not there, this one, or NULL; */
	const char *missing_field;	/* which secret */
} EgressEntitlement;

/* What a call may do with one provider. */
typedef struct EgressAccess
{
	int64		provider_id;
	char	   *provider_name;
	Datum		provider_type;
	bool		provider_enabled;
	bool		provider_managed;
	bool		spread;			/* the credentials are tried from one on that is drawn by chance */
	EgressBenchRule bench_rule;
	List	   *mappings;		/* of EgressEntitlement, by ascending id: all of the provider that name the call */
	List	   *credentials;	/* likewise */
	bool		mapped_all;		/* a mapping allows all gateways */
	bool		left_out_all;	/* a mapping that the override leaves out does */
	List	   *credentials_all;	/* of EgressEntitlement, by ascending id: those that allow all gateways */
	HTAB	   *selected;		/* gateways that a mapping or credential selects */
	bool		big;			/* its credentials are a big pool: of these, only those are above that may have a connection
								 * free; for an acquire none is, and fitting_next() finds them */
	bool		credential_all; /* and one, full or not, allows all gateways */
	bool		spent;			/* for an acquire: those that allow all gateways have no connection to give, at whichever */
	bool		asked;			/* of a big pool: whether one selects a gateway was asked last of */
	int64		asked_id;		/* this, */
	bool		asked_selected; /* with this answer */
	int			tried;			/* so many gateways found none in it; */
	int			look_around_at; /* after so many it is looked where there may be one: */
	int64		looked_to;		/* in the credentials below this id, */
	List	   *hopes;			/* at these gateways, of int64 */
	bool		looked_around;	/* that was all of them: where else there may be one is known, */
	int			hope_count;		/* at these alone, by ascending id */
	int64	   *hoped;
	EgressCall *call;
} EgressAccess;

/* A gateway that is in EgressAccess.selected. */
typedef struct EgressSelected
{
	int64		gateway_id;		/* hash key; must be first */
	bool		mapped;
	bool		left_out;		/* by a mapping that the override leaves out */
	List	   *credentials;	/* of EgressEntitlement, by ascending id: those that select it */
} EgressSelected;

/* A credential, as rule 3 asks about it by itself, for any number of calls. */
typedef struct EgressCandidate
{
	int64		id;
	int64		provider_id;
	EgressSubject *subject;
	bool		enabled;
	bool		all_gateways;
	bool		asked;			/* for access.c: the gateways that it selects were read, */
	int			gateway_count;	/* these, by ascending id; -1: they are too many to keep */
	int64	   *gateways;
} EgressCandidate;

/* Why a gateway is not available, or that it is. The first that applies, in this order. */
typedef enum EgressVerdict
{
	ACCESS_GATEWAY_WITHDRAWN,
	ACCESS_GATEWAY_DISABLED,
	ACCESS_PROVIDER_DISABLED,
	ACCESS_OVERRIDDEN,			/* mapped, but the workspace's override leaves it out */
	ACCESS_NOT_MAPPED,
	ACCESS_NO_CREDENTIAL,
	ACCESS_BENCHED,				/* sessions have reported that they could not connect */
	ACCESS_AVAILABLE			/* though its credentials may all be at their limits */
} EgressVerdict;

extern void access_lock_tables(void);
extern void access_begin(EgressCall *call, text *user_id, text *workspace_id, Snapshot snapshot, TimestampTz moment,
						 EgressPurpose purpose);
extern void access_end(EgressCall *call);
extern bool access_gateway_required(text *workspace_id, Snapshot snapshot);
extern List *access_to_providers(EgressCall *call);
extern List *access_to_all_providers(EgressCall *call);
extern void access_find_gateway(EgressScan *gateway, int64 gateway_id, Snapshot snapshot);
extern EgressAccess *access_to_gateway(EgressCall *call, EgressScan *gateway);
extern int	access_list_all(EgressCall *call, int64 provider_id, int64 *ids, int max);
extern void access_sort_by_name(List *providers);
extern int	access_count_fitting(EgressAccess *access, int64 gateway_id);
extern void access_tell_full(EgressAccess *access);
extern List *access_credentials(EgressAccess *access, int64 gateway_id);
extern bool access_is_benched(EgressAccess *access, EgressBenchKind kind, int64 id, EgressBench *bench);
extern EgressSelections *access_selections(EgressCall *call);
extern EgressScan *access_start_selections(EgressCall *call, int64 credential_id, const int64 *gateway_id);
extern bool access_next_selection(EgressScan *entries, int64 *gateway_id);
extern int	access_subject_of(EgressCall *call, EgressScan *credential);
extern EgressEntitlement *access_credential(EgressCall *call, EgressScan *row, EgressSubject *subject);
extern uint64 access_pool_group(const EgressSubject *subject, int64 provider_id);
extern void access_search_pool(EgressAccess *access, EgressPool *pool);
extern EgressEntitlement *access_found_credential(EgressAccess *access, EgressPool *pool, int group, int64 id);
extern EgressVerdict access_decide(EgressAccess *access, int64 gateway_id, bool enabled, bool withdrawn);
extern bool access_counts(EgressCall *call, const EgressSubject *subject);
extern EgressEntitlement *access_mapping(EgressCall *call, EgressScan *row, EgressSubject *subject);
extern EgressAccess *access_to_mapped(EgressCall *call, int64 provider_id, List *mapped);
extern bool access_maps(EgressAccess *access, int64 gateway_id, bool enabled, bool withdrawn);
extern bool access_fits(EgressCall *call, EgressCandidate *credential, int64 provider_id, int64 gateway_id);
extern EgressVerdict access_decide_row(EgressAccess *access, EgressScan *gateway);

#endif							/* EGRESS_ACCESS_H */
