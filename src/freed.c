/*
 * freed.c -- telling the pool's index that a connection may be free
 *
 * For whoever ends a lease, or lets it end earlier, when he has written that, and before he commits. pool.c has the rule.
 */
#include "freed.h"

#include "access/table.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pool_index.h"

/* freed_is_told -- has the version that is installed the index? */
bool
freed_is_told(void)
{
	return catalog_has_index(INDEX_CREDENTIAL_POOL);
}

/* freed_lock_index -- lock the index, for whoever must not wait for it later; before: its table is locked */
void
freed_lock_index(void)
{
	if (freed_is_told())
		LockRelationOid(catalog_index(INDEX_CREDENTIAL_POOL), AccessShareLock);
}

/* freed_group -- the group of the credential in a scan's current row */
uint64
freed_group(EgressScan *credential)
{
	return pool_index_group(scan_value(credential, Anum_egress_credential_subject_type),
							scan_text(credential, Anum_egress_credential_subject_id),
							scan_id(credential, Anum_egress_credential_egress_provider_id));
}

/*
 * freed_connection -- a credential may have a connection free; one that is not there has none
 *
 * Before: the caller has written what frees it. So the row is read after that: if another transaction is about to move it to another
 * group, it has made it open there, and nobody finds it full there before it commits.
 */
void
freed_connection(int64 credential_id)
{
	EgressScan	credential;
	Snapshot	snapshot;

	if (!freed_is_told())
		return;
	scan_open(&credential, INDEX_CREDENTIAL_ID, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (scan_find_id(&credential, credential_id, snapshot))
	{
		Relation	index = scan_open_pool_index();

		pool_index_opened(index, freed_group(&credential), credential_id);
		index_close(index, NoLock);
	}
	scan_close(&credential);
	UnregisterSnapshot(snapshot);
}

/* freed_all_connections -- every credential may have a connection free */
void
freed_all_connections(void)
{
	Relation	index;

	if (!freed_is_told())
		return;
	table_close(scan_open_table(TABLE_CREDENTIAL, AccessShareLock), NoLock);
	index = scan_open_pool_index();
	pool_index_all_opened(index);
	index_close(index, NoLock);
}
