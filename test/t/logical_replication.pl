# logical_replication.pl -- the tables of egress through logical replication: what arrives, what answers there, what cannot work
#
# A publication of the schema of egress on one cluster, a subscription to it on another, with prepared transactions. After
# everything that writes rows of egress, all rows of all tables are the same on both: the initial copy; leases taken,
# renewed, ended by release, trigger, expiry and takeover; leases that were taken back, by an acquire that saw another one outside
# the limit, and by rollbacks; prepared transactions; syncs, rotations, pruning; TRUNCATE. The functions that only read answer there
# from these rows. Then the application's own tables: replicated beside those of egress, and alone. Then what doc/operations.md warns of: two nodes that write do not share a limit; ids are to be set before the
# subscriber takes over; a table that cannot say which row was deleted refuses the end of a lease.
use strict;
use warnings;
use DBI;
use FindBin;
use lib $FindBin::Bin;
use EgressTest;
use Test::More;
use EgressCluster;

my $folder = PostgreSQL::Test::Utils::tempdir('logical');
PostgreSQL::Test::Utils::append_to_file("$folder/key", `head -c 32 /dev/urandom | base64`);
chmod 0600, "$folder/key";
my @settings = ('wal_level = logical', 'max_prepared_transactions = 10', 'fsync = off', "egress.secret_key_file = '$folder/key'",
	'wal_retrieve_retry_interval = 100ms');
# what open transactions write is decoded when there is this much of it
my $publisher = cluster('publisher', @settings, 'logical_decoding_work_mem = 64kB');
my $subscriber = cluster('subscriber', @settings);
$_->start for $publisher, $subscriber;

# session NODE: a connection that sees the schema of egress
sub session
{
	my ($node) = @_;
	my $dbh = client($node);
	$dbh->do('SET search_path = vpn, public');
	return $dbh;
}

# acquire SESSION, ID, TTL: from the gateway of the pool, as ann; what it raised
sub acquire
{
	my ($dbh, $session_id, $ttl) = @_;
	return sqlstate { $dbh->selectrow_array('SELECT acquired_at FROM egress_acquire_credential(?, NULL, 1, ?, ?)', undef, 'ann', $session_id, $ttl) };
}

$_->safe_psql('postgres', 'CREATE SCHEMA vpn; CREATE EXTENSION egress SCHEMA vpn') for $publisher, $subscriber;
my ($here, $there) = map { session($_) } $publisher, $subscriber;
my @tables = map { $_->[0] } @{ $here->selectall_arrayref(
		q{SELECT relname FROM pg_class WHERE relnamespace = 'vpn'::regnamespace AND relkind = 'r' ORDER BY 1}) };

# all rows of all tables
sub all_rows { my ($dbh) = @_; return [ map { my $table = $_; map { "$table: $_" } split /\n/, rows($dbh, "SELECT * FROM $table ORDER BY 1, 2") } @tables ] }

# arrives WHAT: what was done here is there
sub arrives
{
	my ($what) = @_;
	$publisher->wait_for_catchup('subscriber');
	is_deeply(all_rows($there), all_rows($here), $what);
}

$here->do($_) for split /;;\n/, <<'SQL';
INSERT INTO egress_provider (name, provider_type, managed, enable_new_managed_gateways)
VALUES ('Acme', 'openvpn', true, true), ('Birch', 'wireguard', false, false), ('Cedar', 'custom', false, false);;
SELECT egress_sync_gateways(1, '[{"name": "ams", "config": "remote ams.example.net"}, {"name": "par"}]');;
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (2, 'osl'), (3, 'nyc'), (3, 'sfo');;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id, allow_all_gateways)
VALUES (1, 'group', 'staff', true), (2, 'user', 'ann', true), (3, 'workspace', 'kiosk', false);;
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (3, 4);;
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, username, password, private_key,
	custom_credential, allow_all_gateways, limit_active_connections, active_connection_limit)
VALUES (1, 'pool', 'everyone', NULL, 'user', 'swordfish', NULL, NULL, true, true, 3),
	(2, 'key', 'user', 'ann', NULL, NULL, 'WAv2XYNHKEVuK6zhN8Zdkg0Mhpw1RdrHXZxrwGqAb18=', NULL, true, false, NULL),
	(3, 'long', 'everyone', NULL, NULL, NULL, NULL, repeat('long', 4000), false, false, NULL);;
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (3, 4);;
INSERT INTO egress_workspace VALUES ('kiosk', true);;
INSERT INTO egress_user_limit VALUES ('everyone', NULL, 7000), ('group', 'staff', 8000);;
CREATE TABLE public.member ("user" text, "group" text);;
INSERT INTO member VALUES ('ann', 'staff'), ('bob', 'staff');;
SELECT egress_attach_group_members('member', 'user', 'group');;
CREATE TABLE public.session (id text PRIMARY KEY);;
SELECT egress_attach_sessions('session', 'id');;
SELECT FROM egress_acquire_credential('ann', NULL, 1, 'copied', '1 hour');;
SELECT FROM egress_acquire_credential('ann', NULL, 1, 'ended');;
SELECT egress_release_credential('ended');;
SELECT egress_report_failure('copied', 'gateway'), egress_report_failure('copied', 'credential');;
CREATE PUBLICATION egress FOR TABLES IN SCHEMA vpn
SQL
is(rows($here, 'SELECT count(*) FROM pg_publication_tables'), 14, 'the publication has fourteen tables');
is(rows($here, q{SELECT relname FROM pg_class c WHERE relnamespace = 'vpn'::regnamespace AND relkind = 'r'
	AND NOT (relreplident = 'd' AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary))}), '',
	'each with its primary key as the identity of its rows');

$there->do(sprintf 'CREATE SUBSCRIPTION subscriber CONNECTION %s PUBLICATION egress WITH (two_phase = true, streaming = true)',
	$there->quote($publisher->connstr('postgres')));
$subscriber->wait_for_subscription_sync($publisher, 'subscriber');
for my $table (@tables)
{
	cmp_ok(scalar(grep { /^$table: / } @{ all_rows($here) }), '>', 0, "$table has rows to copy");
}
arrives('the initial copy');
$subscriber->poll_query_until('postgres', q{SELECT subtwophasestate = 'e' FROM pg_subscription}) or die 'no two-phase commit';

# ---------------------------------------------------------------------------- leases

is(acquire($here, 'first'), '', 'a lease is taken');
arrives('it arrives');
is(acquire($here, 'ending', '1 hour'), '', 'one that ends by itself');
$here->do(q{SELECT egress_renew_lease('ending', '2 hours'), egress_renew_lease('first', '1 hour')});
arrives('its renewal, and the first one of the other');
is(acquire($here, 'fourth'), 'NG004', 'the limit is reached');
$here->do(q{SELECT egress_renew_lease('first', NULL)});
arrives('a lease that does not end by itself any more');
$here->do(q{SELECT egress_renew_lease('first', '1 microsecond')});
is(acquire($here, 'fourth'), '', 'an expired lease is taken over');
arrives('the takeover');
$here->do(q{SELECT egress_renew_lease('fourth', '1 microsecond'), egress_release_credential('ending'), egress_expire_leases()});
$here->do(q{INSERT INTO session VALUES ('copied')});
$here->do(q{DELETE FROM session});
is(rows($here, 'SELECT count(*) FROM egress_lease'), 0, 'a release, an expiry and a trigger end all');
arrives('their history');

# a lease outside the limit, without a slot, from when the credential had no limit: the others are counted one by one
$here->do('UPDATE egress_credential SET limit_active_connections = false WHERE egress_credential_id = 1');
is(acquire($here, 'unlimited'), '', 'a lease without a slot');
$here->do('UPDATE egress_credential SET limit_active_connections = true WHERE egress_credential_id = 1');
$here->begin_work;
is(acquire($here, 'second'), '', 'the next');
$here->do('SAVEPOINT before');
is(acquire($here, 'undone', '1 hour'), '', 'one in a savepoint');
$here->do('ROLLBACK TO before');
is(acquire($here, 'third', '1 hour'), '', 'and after its rollback');
$here->do('SAVEPOINT before');
is(acquire($here, 'fourth'), 'NG004', 'the limit is reached');
$here->do('ROLLBACK TO before');
$here->commit;
arrives('what was rolled back is not there');
is(rows($there, q{SELECT session_id FROM egress_lease WHERE slot IS NOT NULL ORDER BY 1}), "second\nthird",
	'the two that stayed are');
$here->begin_work;
$here->do(q{SELECT egress_release_credential('unlimited'), egress_release_credential('second')});
is(acquire($here, 'undone', '1 hour'), '', 'what a transaction gave back it may take again');
$here->rollback;
arrives('a rollback changes nothing');

# so much in one transaction that it is decoded while it is open
$here->begin_work;
$here->do('UPDATE egress_credential SET limit_active_connections = false WHERE egress_credential_id = 1');
$here->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'many ' || n, '1 hour') FROM generate_series(1, 2000) n});
$here->do(q{SELECT egress_release_credential('many ' || n) FROM generate_series(1, 2000, 2) n});
$here->do('UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = 2000 WHERE egress_credential_id = 1');
is(acquire($here, 'one more'), '', 'a long transaction ends with a lease that was inserted twice');
$here->commit;
arrives('a long transaction');
ok(wait_until { rows($here, 'SELECT stream_txns > 0 FROM pg_stat_replication_slots') },
	'that was streamed while it was open');
$here->do(q{SELECT egress_release_credential(session_id) FROM egress_lease});
$here->do('UPDATE egress_credential SET active_connection_limit = 3 WHERE egress_credential_id = 1');
arrives('the end of all its leases');

# ---------------------------------------------------------------------------- reports

my $benched = 'SELECT egress_gateway_id, egress_credential_id, failures FROM egress_benched ORDER BY 1, 2';
$here->do('UPDATE egress_provider SET bench_after = 1 WHERE egress_provider_id = 1');
is(acquire($here, 'reporter'), 'NG002', 'a change of bench_after benches for what was reported');
arrives('what is benched arrives');
is(rows($there, $benched), rows($here, $benched), 'and is benched there');
$here->do('SELECT egress_unbench(1, 1)');
is(acquire($here, 'reporter'), '', 'taken off');
arrives('that arrives');
is(rows($there, $benched), '', 'as an end of the bench');
$here->do(q{SELECT egress_report_failure('reporter', 'gateway'), egress_report_failure('reporter', 'credential')});
arrives('reports of failures');
isnt(rows($there, $benched), '', 'bench there');
$here->do(q{BEGIN; SELECT egress_report_success('reporter'); PREPARE TRANSACTION 'one'});
$publisher->wait_for_catchup('subscriber');
isnt(rows($there, $benched), '', 'a prepared success does not count');
$here->do(q{COMMIT PREPARED 'one'});
arrives('until it is committed');
is(rows($there, $benched), '', 'then it does');
$here->do('UPDATE egress_provider SET bench_after = DEFAULT WHERE egress_provider_id = 1');
$here->do(q{SELECT egress_release_credential('reporter')});

# ---------------------------------------------------------------- prepared transactions

for my $end ('ROLLBACK', 'COMMIT')
{
	$here->do(q{BEGIN; SELECT FROM egress_acquire_credential('ann', NULL, 1, 'prepared', '1 hour'); PREPARE TRANSACTION 'one'});
	$publisher->wait_for_catchup('subscriber');
	is(rows($there, 'SELECT count(*) FROM pg_prepared_xacts'), 1, 'a prepared lease is prepared there too');
	is(rows($there, 'SELECT count(*) FROM egress_lease'), 0, 'and not to be seen');
	$here->do("$end PREPARED 'one'");
	arrives("until $end");
}
for my $end ('ROLLBACK', 'COMMIT')
{
	$here->do(q{BEGIN; SELECT egress_release_credential('prepared'); PREPARE TRANSACTION 'one'});
	$publisher->wait_for_catchup('subscriber');
	is(rows($there, 'SELECT count(*) FROM egress_lease'), 1, 'a release that is prepared leaves the lease there');
	$here->do("$end PREPARED 'one'");
	arrives("until $end");
}

# ------------------------------------------------------------------------ all the rest

# as the values' own binary form, too
$there->do('ALTER SUBSCRIPTION subscriber SET (binary = true)');
$here->do(q{SELECT egress_sync_gateways(1, '[{"name": "ams", "config": "remote ams.example.org"}, {"name": "rom"}]')});
arrives('a sync: one changed, one withdrawn, one new');
PostgreSQL::Test::Utils::append_to_file("$folder/new", `head -c 32 /dev/urandom | base64` . PostgreSQL::Test::Utils::slurp_file("$folder/key"));
chmod 0600, "$folder/new";
rename "$folder/new", "$folder/key";
$_->reload for $publisher, $subscriber;
ok(wait_until { rows($here, q{SELECT sum(older_key) FROM egress_secret_usage}) eq '3' }, 'another key');
is(rows($here, 'SELECT egress_rotate_secrets()'), 3, 'all secrets are sealed under it');
arrives('a rotation');
ok(wait_until { rows($there, 'SELECT sum(active_key) FROM egress_secret_usage') eq '3' }, 'the other server has the key');
$here->do(q{INSERT INTO public.member VALUES ('eve', 'staff'); DELETE FROM public.member WHERE "user" = 'bob'});
arrives('a member that comes, one that goes');
$here->do('TRUNCATE public.member; DELETE FROM egress_provider WHERE egress_provider_id = 2; UPDATE egress_credential SET name = upper(name)');
arrives('members that are truncated, a provider with all that is its own, another name');
$here->do(q{INSERT INTO public.member VALUES ('ann', 'staff'); SELECT egress_prune_history('0 seconds')});
arrives('history that is pruned');
is(acquire($here, $_, '1 hour'), '', "session $_") for qw(truncated again);
$here->do('TRUNCATE egress_lease, egress_lease_expiry, egress_lease_history');
arrives('TRUNCATE');
$there->do('ALTER SUBSCRIPTION subscriber SET (binary = false)');
$here->do('ALTER TABLE egress_credential REPLICA IDENTITY FULL');
$here->do('UPDATE egress_credential SET name = lower(name)');
arrives('rows that are identified by all their columns, secrets included: the other server finds them by its primary key');
$here->do('ALTER TABLE egress_credential REPLICA IDENTITY DEFAULT');

# -------------------------------------------------------------------- what answers there

is(acquire($here, 'first'), '', 'a lease');
is(acquire($here, 'ending', '1 hour'), '', 'one that ends by itself');
$here->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'ended'), egress_release_credential('ended')});
arrives('both, and one that ended');
for my $sql (
	q{SELECT gateway_name, available_connections FROM egress_available_gateways('ann')},
	q{SELECT gateway_name, verdict, egress_credential_id, detail FROM egress_explain_access('ann', 'kiosk')},
	q{SELECT egress_gateway_required('kiosk'), egress_gateway_required('other')},
	q{SELECT * FROM egress_credential_usage ORDER BY 1}, q{SELECT * FROM egress_gateway_usage ORDER BY 1},
	q{SELECT * FROM egress_connection ORDER BY 1},
	sprintf(q{SELECT * FROM egress_connections_at('%s')}, rows($here, 'SELECT max(acquired_at) FROM egress_lease')),
	q{SELECT egress_reveal_secret(password) FROM egress_credential WHERE egress_credential_id = 1})
{
	my $answer = rows($here, $sql);
	ok($answer ne '' && rows($there, $sql) eq $answer, "there as here: $sql") or diag(rows($there, $sql));
}

# ------------------------------------------------------------------- what does not work

$here->do('UPDATE egress_credential SET active_connection_limit = 3 WHERE egress_credential_id = 1');
arrives('one connection is free');
is(acquire($there, 'there'), '', 'leased there');
is(acquire($here, 'here'), '', 'and here: two nodes that write pass the limit');
ok(wait_until { rows($there, 'SELECT apply_error_count > 0 FROM pg_stat_subscription_stats') },
	'and the replication stops at the slot');
is(rows($there, q{SELECT count(*) FROM egress_lease WHERE session_id = 'here'}), 0, 'with a lease that does not arrive');
$there->do(q{DELETE FROM egress_lease WHERE session_id = 'there'});
arrives('until the lease there is gone');

$here->do('ALTER TABLE egress_lease REPLICA IDENTITY NOTHING');
is(sqlstate { $here->do(q{SELECT egress_release_credential('here')}) }, '55000',
	'what could not be replicated is refused: an end');
is(rows($here, q{SELECT count(*) FROM egress_lease WHERE session_id = 'here'}), 1, 'and did not happen');
$here->do('ALTER TABLE egress_lease REPLICA IDENTITY DEFAULT');
$here->do('ALTER TABLE egress_lease_expiry REPLICA IDENTITY NOTHING');
is(sqlstate { $here->do(q{SELECT egress_renew_lease('ending', '2 hours')}) }, '55000', 'and a renewal');
$here->do('ALTER TABLE egress_lease_expiry REPLICA IDENTITY DEFAULT');
my $errors = rows($there, 'SELECT sum(apply_error_count) FROM pg_stat_subscription_stats');

# -------------------------------------------- the application's tables are replicated, too, and attached there

# Beside the tables of egress: the publisher's triggers have done the work, and it is not done again.
$there->do($_) for 'CREATE TABLE public.member ("user" text, "group" text)', 'CREATE TABLE public.session (id text PRIMARY KEY)';
$here->do('ALTER TABLE public.member REPLICA IDENTITY FULL');
$here->do('CREATE PUBLICATION application FOR TABLE public.member, public.session');
$there->do(sprintf 'CREATE SUBSCRIPTION application CONNECTION %s PUBLICATION application', $there->quote($publisher->connstr('postgres')));
$subscriber->wait_for_subscription_sync($publisher, 'application');
# both_arrive WHAT: through both subscriptions
sub both_arrive { $publisher->wait_for_catchup('application'); arrives($_[0]); return }
$publisher->wait_for_catchup('application');
$there->do($_) for q{SELECT egress_attach_group_members('member', 'user', 'group')}, q{SELECT egress_attach_sessions('session', 'id')};
both_arrive('their rows are copied, and attached');
$here->do(q{INSERT INTO public.session VALUES ('seen')});
$here->do('UPDATE egress_credential SET active_connection_limit = 4 WHERE egress_credential_id = 1');
is(acquire($here, 'seen'), '', 'a session with a lease');
both_arrive('both');
# the application's rows come first
$there->do('ALTER SUBSCRIPTION subscriber DISABLE');
$here->do(q{DELETE FROM public.session});
$here->do(q{INSERT INTO public.member VALUES ('hal', 'staff'), ('ida', 'staff'); DELETE FROM public.member WHERE "user" = 'hal'});
$publisher->wait_for_catchup('application');
is(rows($there, q{SELECT count(*) FROM egress_lease WHERE session_id = 'seen'}), 1, 'the lease of a session that has ended is still there');
$there->do('ALTER SUBSCRIPTION subscriber ENABLE');
$here->do('UPDATE egress_credential SET active_connection_limit = 3 WHERE egress_credential_id = 1');
both_arrive('its end, and other members');
is(rows($there, q{SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM egress_group_member}), 'ann ida', 'which are in the mirror there');
is(rows($there, 'SELECT sum(apply_error_count) FROM pg_stat_subscription_stats'), $errors, 'no conflict came of it');
$there->do($_) for 'DROP SUBSCRIPTION application', 'DROP TABLE public.member, public.session';
$here->do('DROP PUBLICATION application');

# Without those of egress, which work there only: a session that ends here ends its lease there.
$_->safe_psql('postgres', 'CREATE DATABASE app') for $publisher, $subscriber;
my ($app_here, $app_there) = map { client($_, undef, 'app') } $publisher, $subscriber;
for my $dbh ($app_here, $app_there)
{
	$dbh->do($_) for 'CREATE TABLE session (id text PRIMARY KEY, status text)', 'CREATE TABLE member (u text, g text, PRIMARY KEY (u, g))';
}
$app_there->do($_) for split /;;\n/, <<'SQL';
CREATE EXTENSION egress;;
INSERT INTO egress_provider (name, provider_type) VALUES ('Acme', 'custom');;
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, 'ams');;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (1, 'group', 'staff');;
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'c', 'everyone');;
SELECT egress_attach_sessions('session', 'id', $$NEW.status = 'stopped'$$, must_exist => true);;
SELECT egress_attach_group_members('member', 'u', 'g')
SQL
$app_here->do('CREATE PUBLICATION app FOR TABLE session, member');
$app_there->do(sprintf 'CREATE SUBSCRIPTION app CONNECTION %s PUBLICATION app', $there->quote($publisher->connstr('app')));
$subscriber->wait_for_subscription_sync($publisher, 'app', 'app');
$app_here->do(q{INSERT INTO member VALUES ('ann', 'staff'), ('bob', 'staff')});
$app_here->do(q{INSERT INTO session VALUES ('s1'), ('s2'), ('s3'), ('s4')});
$publisher->wait_for_catchup('app');
is(acquire($app_there, $_), '', "ann acquires for $_, as a member and a session that came") for qw(s1 s2 s3 s4);
$app_here->do($_) for q{DELETE FROM session WHERE id = 's1'}, q{UPDATE session SET status = 'stopped' WHERE id = 's2'},
	q{UPDATE session SET id = 's5' WHERE id = 's3'}, q{DELETE FROM member WHERE u = 'bob'};
$publisher->wait_for_catchup('app');
is(rows($app_there, 'SELECT session_id FROM egress_lease'), 's4', 'what has ended here has ended there');
is(rows($app_there, 'SELECT user_id FROM egress_group_member'), 'ann', 'who has left here has left there');
$app_here->do('TRUNCATE session');
$publisher->wait_for_catchup('app');
is(rows($app_there, 'SELECT count(*) FROM egress_lease'), 0, 'and a TRUNCATE');
$app_there->do('DROP SUBSCRIPTION app');
$_->disconnect for $app_here, $app_there;

# ---------------------------------------------------- the subscriber goes on, as in doc/operations.md

$here->do(q{INSERT INTO egress_gateway (egress_provider_id, name) VALUES (3, 'gone'); DELETE FROM egress_gateway WHERE name = 'gone'});
arrives('the last of the old server');
my ($next) = $here->selectrow_array('SELECT max(last_value) + 1 FROM egress_gateway_egress_gateway_id_seq');
is(sqlstate { $there->do(q{INSERT INTO egress_provider (name, provider_type) VALUES ('new', 'custom')}) }, '23505',
	'ids are not replicated');
my $ids = q{SELECT format('SELECT setval(%L, %s)', format('%I.%I', schemaname, sequencename), last_value)
	FROM pg_sequences WHERE sequencename LIKE 'egress\_%' AND last_value IS NOT NULL};
my $set_ids = $here->selectcol_arrayref($ids);
$publisher->stop;
$there->do($_) for 'ALTER SUBSCRIPTION subscriber DISABLE', 'ALTER SUBSCRIPTION subscriber SET (slot_name = NONE)', 'DROP SUBSCRIPTION subscriber',
	@$set_ids;
is(rows($there, q{INSERT INTO egress_gateway (egress_provider_id, name) VALUES (3, 'new') RETURNING egress_gateway_id}), $next,
	'new ids follow');
is(rows($there, q{SELECT egress_release_credential('here')}), '1', 'a lease from there ends here');
is(acquire($there, 'new'), '', 'its connection is free');
is(acquire($there, 'more'), 'NG004', 'and the limit is exact');
$there->do($_) for 'CREATE TABLE public.member ("user" text, "group" text)', q{INSERT INTO public.member VALUES ('ann', 'staff'), ('gus', 'staff')},
	q{SELECT egress_attach_group_members('member', 'user', 'group')};
is(rows($there, 'SELECT user_id FROM egress_group_member ORDER BY 1'), "ann\ngus",
	'the tables of the application are attached here');

$_->disconnect for $here, $there;
$subscriber->stop;
done_testing();
