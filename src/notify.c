/*
 * notify.c -- telling whoever listens which leases have ended: NOTIFY egress_lease_ended
 *
 * A session that gives its connection back knows that it did. One whose lease somebody else ends (an administrator, a sweep, an
 * acquire that takes an expired one over) does not, and its tunnel runs on: so the agent that has to stop it is told, when that
 * commits, by a notification with {"session_id": ..., "reason": ...}. The reason is the history's.
 *
 * A transaction that has said NOTIFY cannot be prepared, and an acquire, which may have to take a lease over, must not keep an
 * application from PREPARE TRANSACTION. So nothing is said while the transaction runs. What it has to tell is kept here, goes
 * with the savepoint that is rolled back, and is said when the transaction is about to commit, which is before the server takes
 * NOTIFY's lock and writes what was said. A transaction that is prepared tells nobody: COMMIT PREPARED cannot.
 *
 * NOTIFY's lock is one for all databases of the server, from there to the end of the commit. That is why a release and a session's
 * end, which are many, say nothing.
 */
#include "notify.h"

#include "access/xact.h"
#include "commands/async.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "compat.h"

#define CHANNEL "egress_lease_ended"

/* A lease that this transaction has ended. */
typedef struct Ended
{
	dlist_node	node;
	SubTransactionId subid;		/* in which it has */
	const char *reason;			/* a constant */
	char		session_id[FLEXIBLE_ARRAY_MEMBER];
} Ended;

static bool registered;			/* the callbacks below are */
static dlist_head ended_leases = DLIST_STATIC_INIT(ended_leases);	/* in the order in which they have ended */

/* say -- what is to be told becomes notifications of this transaction */
static void
say(void)
{
	StringInfoData payload;
	dlist_iter	iter;

	if (dlist_is_empty(&ended_leases))
		return;
	initStringInfo(&payload);
	dlist_foreach(iter, &ended_leases)
	{
		Ended	   *ended = dlist_container(Ended, node, iter.cur);

		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&payload);
		appendStringInfoString(&payload, "{\"session_id\": ");
		escape_json(&payload, ended->session_id);
		appendStringInfoString(&payload, ", \"reason\": ");
		escape_json(&payload, ended->reason);
		appendStringInfoChar(&payload, '}');
		Async_Notify(CHANNEL, payload.data);
	}
	pfree(payload.data);
}

/* at_transaction_end -- before a commit, say what is to be told; after the end of a transaction of any kind nothing is */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT)
		say();
	else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		/* its memory goes with the transaction's */
		dlist_init(&ended_leases);
}

/*
 * at_subtransaction_end -- what a savepoint's transaction has ended its parent has, or, after a rollback, nobody has
 *
 * What it has ended, and its own savepoints that were released have, are the last of the list.
 */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		dlist_iter	iter;

		dlist_reverse_foreach(iter, &ended_leases)
		{
			Ended	   *ended = dlist_container(Ended, node, iter.cur);

			if (ended->subid != subid)
				break;
			ended->subid = parent;
		}
		return;
	}
	while (!dlist_is_empty(&ended_leases))
	{
		Ended	   *ended = dlist_tail_element(Ended, node, &ended_leases);

		if (ended->subid != subid)
			break;
		dlist_delete(&ended->node);
		pfree(ended);
	}
}

/* notify_lease_ended -- let whoever listens be told at commit that a session's lease has ended; reason is a constant */
void
notify_lease_ended(text *session_id, const char *reason)
{
	size_t		length = VARSIZE_ANY_EXHDR(session_id);
	Ended	   *ended = MemoryContextAlloc(TopTransactionContext, offsetof(Ended, session_id) + length + 1);

	if (!registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		registered = true;
	}
	ended->subid = GetCurrentSubTransactionId();
	ended->reason = reason;
	memcpy(ended->session_id, VARDATA_ANY(session_id), length);
	ended->session_id[length] = '\0';
	dlist_push_tail(&ended_leases, &ended->node);
}
