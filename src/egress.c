/*
 * egress.c -- module entry
 *
 * The rooms, from the bottom up; each needs only those above it in this list:
 *	errors.h, compat.h	SQLSTATEs; differences between PostgreSQL majors
 *	catalog.c			where the extension's tables are
 *	lock.c				the six short locks and their order
 *	pool_index.c		the access method egress_pool: the index of credentials that may have a connection free
 *	shape.c				whether tables, indexes and row types are as the C code has them
 *	value.c				comparing values, and reckoning with moments and intervals
 *	argument.c			checking the arguments of a call
 *	application.c		the application's own tables: ids in them, our triggers on them, rights to read them
 *	keyring.c			egress.secret_key_file and the keys in it
 *	secret.c			the type egress_secret: sealing and opening
 *	config.c			reading and editing a config line by line; its formats are in
 *	openvpn_directives.c	the directives of OpenVPN, and what they take
 *	config_openvpn.c	and config_wireguard.c: checking, rendering and importing
 *	certificate.c		certificates and private keys, as openvpn reads them
 *	config_store.c		what is stored of a config: egress_config_has_secret
 *	query.c				what SQL that the C code runs has in common
 *	scan.c				reading the tables by index, writing rows: table access methods and the executor
 *	draw.c				drawing an entry of an index by chance
 *	subject.c			the subjects of a call
 *	freed.c				telling the pool's index that a connection may be free
 *	history.c			ended connections: writing, pruning, egress_connections_at
 *	notify.c			telling whoever listens which leases have ended: NOTIFY egress_lease_ended
 *	lease.c				the leases of sessions, and their end: egress_release_credential, egress_renew_lease
 *	sessions.c			which sessions there are, by the application's tables: egress_orphaned_sessions
 *	sweep.c				the end of all that have expired: egress_expire_leases, egress_sweep_leases
 *	bench.c				which gateways and credentials are benched, by what sessions have reported
 *	report.c			writing that: egress_report_failure, egress_report_success, egress_unbench, egress_benched
 *	once.c				whether a credential is at a gateway, where it may be once
 *	slots.c				the slots of a limit: which is free, and how many are held
 *	user_limit.c		how many connections a user may have, over all providers
 *	limit.c				the connection limit: taking a connection of a credential, finding out that it has none; proof: doc/limit.md
 *	pool.c				which credentials of a big pool may have a connection free; proof
 *	access.c			who may use what
 *	unentitled.c		which leases have what the rules of access would no longer give: egress_unentitled_sessions
 *	fitting.c			the credentials that fit a gateway, one after the other, for an acquire
 *	capacity.c			how many connections credentials have free, for those who read
 *	usage.c				how many connections gateways and credentials have, for the views
 *	pool_usage.c		how full the pools are, and at which gateways: egress_pools
 *	menu.c				egress_available_gateways, egress_gateway_required
 *	explain.c			egress_explain_access
 *	acquire.c			egress_acquire_credential
 *	wish.c				egress_acquire_gateway
 *	end_leases.c		egress_end_leases
 *	trigger.c			what trigger functions have in common
 *	session_trigger.c	egress_release_on_session_end
 *	integrity.c			triggers that keep the tables whole
 *	group_members.c		egress_follow_group_members: the mirror of the application's memberships
 *	restore.c			triggers for pg_restore with several jobs
 *	attach.c			egress_attach_sessions, egress_attach_group_members, and back
 *	config_trigger.c	triggers that check configs and credentials when they are written
 *	import.c			egress_import_config, egress_import_credential
 *	sync.c				egress_sync_gateways
 *	rotate.c			egress_rotate_secrets
 *	wireguard_key.c		egress_generate_wireguard_key, egress_wireguard_public_key, egress_credential_public_key
 *	grant.c				egress_grant_access
 */
#include "postgres.h"

#include <sodium.h>

#include "fmgr.h"

#include "catalog.h"
#include "compat.h"
#include "keyring.h"
#include "sessions.h"

PG_MODULE_MAGIC_EXT(.name = "egress", .version = EGRESS_VERSION);

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	/* by itself it does not try again; it fails where the system gives no random numbers */
	if (sodium_init() < 0)
		elog(ERROR, "libsodium cannot be initialized");
	keyring_init();
	catalog_init();
	sessions_init();
}
