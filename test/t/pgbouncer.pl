# pgbouncer.pl -- egress behind pgbouncer in transaction mode: what works there, and that nothing leaks between clients
#
# In that mode a client has a server connection for the time of a transaction only. So it finds neither what it left in the
# session before, nor is what it left there gone: the next client finds that. Nothing of egress lives in a session but what
# is read again when it has changed (where its tables are, the keys), so every function may be called through such a pooler,
# each time on another connection, with whatever an earlier client has set there.
#
# The pool has two server connections, and on() chooses: it keeps the other one busy meanwhile.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::UNIX;
use List::Util qw(first);
use MIME::Base64 qw(encode_base64);
use POSIX ();
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);
use DBD::Pg;
use EgressTest;
use EgressCluster;

my $program = first { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'pgbouncer is not there (package pgbouncer)' if !$program;
my ($version) = `$program --version` =~ /PgBouncer 1\.(\d+)/ or die "which version is $program?";

my $folder = tempdir('egress-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $server = cluster('server', 'max_connections = 30', 'max_prepared_transactions = 5',
	"egress.secret_key_file = '$folder/egress.key'");
write_file('egress.key', key('a'));
$server->start;
my $schema = 'public';
create_world();
my $pooler = start_pgbouncer();

my ($ann, $bob) = (pooled(), pooled());
my @blockers = (pooled(), pooled());
my @connections = map { backend($_) } @blockers;
$_->rollback for @blockers;
isnt($connections[0], $connections[1], 'a pool of two server connections');

each_time_on_another();
transactions();
triggers();
prepared_transactions();
what_others_set();
client_lost();
extension_created_again();
key_file_changed();
what_does_not_work();
prepared_statements();
many_clients();
is($server->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), 0, 'no lock is left');

$_->disconnect for $ann, $bob, @blockers;
stop_pgbouncer();
done_testing();

# a gateway with a sealed credential for two, one with a limit of 3 for the load, and an application's tables
sub create_world
{
	my $dbh = client($server);
	$dbh->do($_) for (
		"CREATE SCHEMA IF NOT EXISTS $schema",
		"CREATE EXTENSION egress SCHEMA $schema",
		"SET search_path = $schema",
		q{INSERT INTO egress_provider (name, provider_type) VALUES ('sealed', 'openvpn'), ('load', 'custom')},
		q{INSERT INTO egress_gateway (egress_provider_id, name, config)
			VALUES (1, 'sealed', 'remote ams-1.acme.example'), (2, 'load', NULL)},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone')},
		q{INSERT INTO egress_credential
				(egress_provider_id, name, subject_type, username, password, limit_active_connections, active_connection_limit)
			VALUES (1, 'sealed', 'everyone', 'acme', 'a password', true, 2), (2, 'load', 'everyone', NULL, NULL, true, 3)},
		q{DO $$ BEGIN CREATE ROLE workspaces LOGIN; EXCEPTION WHEN duplicate_object THEN END $$},
		"GRANT USAGE ON SCHEMA $schema TO workspaces",
		q{SELECT egress_grant_access('workspaces', 'app')},
		q{CREATE TABLE IF NOT EXISTS session (id timestamptz PRIMARY KEY, status text)},
		q{ALTER TABLE session OWNER TO workspaces});
	$dbh->disconnect;
}

sub write_file
{
	my ($name, @lines) = @_;
	open my $file, '>', "$folder/$name" or die "$folder/$name: $!";
	chmod 0600, $file;
	print $file map { "$_\n" } @lines;
	close $file or die "$folder/$name: $!";
}

sub key
{
	my ($letter) = @_;
	return encode_base64($letter x 32, '');
}

sub start_pgbouncer
{
	write_file('users', '"workspaces" ""', '"postgres" ""');
	write_file('pgbouncer.ini', '[databases]', sprintf('postgres = host=%s port=%s', $server->host, $server->port),
		'[pgbouncer]', 'pool_mode = transaction', 'default_pool_size = 2', 'auth_type = trust', "auth_file = $folder/users",
		"unix_socket_dir = $folder", 'listen_port = 6432', $version >= 21 ? 'max_prepared_statements = 100' : ());
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>', "$folder/log";
		open STDERR, '>&', \*STDOUT;
		exec $program, "$folder/pgbouncer.ini" or POSIX::_exit(1);
	}
	# the socket is there before it listens
	my $listens = sub { IO::Socket::UNIX->new(Peer => "$folder/.s.PGSQL.6432") };
	wait_until { $listens->() || waitpid($pid, POSIX::WNOHANG()) == $pid };
	if (!$listens->())
	{
		system 'cat', "$folder/log";
		die "pgbouncer has not started\n";
	}
	return $pid;
}

# At once: the first TERM has pgbouncer from 1.23 on wait for its clients, of which a test that died leaves some. QUIT may be ignored,
# as a shell's background jobs do.
sub stop_pgbouncer
{
	while (waitpid($pooler, POSIX::WNOHANG) == 0)
	{
		kill 'TERM', $pooler;
		sleep 0.05;
	}
	undef $pooler;
}

END
{
	my $status = $?;
	stop_pgbouncer() if $pooler;
	$? = $status;
}

# a connection through the pooler; as a driver has to be told there, without prepared statements
sub pooled
{
	my (%attributes) = @_;
	return DBI->connect("dbi:Pg:dbname=postgres;host=$folder;port=6432", 'workspaces', undef,
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, AutoInactiveDestroy => 1, pg_server_prepare => 0,
			%attributes });
}

# the server connection of a transaction, which stays open
sub backend
{
	my ($dbh) = @_;
	$dbh->begin_work;
	return $dbh->selectrow_array('SELECT pg_backend_pid()');
}

# run code while the pool's other server connection is busy; before: no transaction is open
sub on (&$)
{
	my ($code, $number) = @_;
	my ($busy, $spare) = @blockers;
	if (backend($busy) == $connections[$number])
	{
		backend($spare);
		$busy->rollback;
		$busy = $spare;
	}
	my @result = $code->();
	$busy->rollback;
	return wantarray ? @result : $result[0];
}

# the SQLSTATE of a statement on a server connection, or its answer
sub outcome
{
	my ($dbh, $number, $sql) = @_;
	my $answer;
	my $state = on { sqlstate { ($answer) = $dbh->selectrow_array($sql) } } $number;
	return $state ne '' ? $state : $answer;
}

sub acquire
{
	my ($dbh, $session, $gateway) = @_;
	return $dbh->selectrow_array("SELECT egress_credential_id, password, acquired_at::text
		FROM $schema.egress_acquire_credential('ann', NULL, ?, ?, '1 hour')", undef, $gateway // 1, $session);
}

sub release
{
	my ($dbh, $session) = @_;
	return $dbh->selectrow_array("SELECT $schema.egress_release_credential(?)", undef, $session);
}

# the sessions with a lease, as the server knows them
sub leases
{
	return ask($server, "SELECT string_agg(session_id, ', ' ORDER BY session_id) FROM $schema.egress_lease");
}

sub each_time_on_another
{
	my @lease = on { acquire($ann, 'one') } 0;
	is($lease[1], 'a password', 'an acquire');
	is_deeply([ on { acquire($ann, 'one') } 1 ], \@lease, 'asked again on another connection, it gets the same lease');
	is(outcome($bob, 0, "SELECT available_connections FROM $schema.egress_available_gateways('bob')
		WHERE egress_gateway_id = 1"), 1, 'the menu');
	is(outcome($ann, 0, "SELECT $schema.egress_renew_lease('one', '2 hours') > now() + interval '1 hour'"), 1, 'a renewal');
	is((on { release($ann, 'one') } 1), 1, 'a release');
	is((on { release($ann, 'one') } 0), 0, 'asked again on another connection');
}

sub transactions
{
	on {
		$ann->begin_work;
		acquire($ann, 'kept');
		$ann->do('SAVEPOINT here');
		acquire($ann, 'undone');
		$ann->do('ROLLBACK TO here');
		$ann->commit;
	} 0;
	is(leases(), 'kept', 'a transaction with a savepoint');

	$ann->begin_work;
	release($ann, 'kept');
	acquire($ann, 'failed');
	is(sqlstate { acquire($ann, 'none', 99) }, 'NG001', 'one that fails');
	$bob->begin_work;
	acquire($bob, 'other');
	is(sqlstate { acquire($bob, 'full') }, 'NG004', '... holds what it held until it ends');
	$_->rollback for $ann, $bob;
	is(leases(), 'kept', '... and leaves nothing');
	on { release($bob, 'kept') } 1;
}

# timestamptz: its text depends on settings, which a pooler keeps for each client
sub triggers
{
	on { $ann->do(q{SELECT egress_attach_sessions('session', 'id', $$NEW.status = 'stopped'$$)}) } 0;
	on { $ann->do(q{INSERT INTO session VALUES ('2026-11-22 10:00+00')}); acquire($ann, '2026-11-22 10:00:00+00') } 1;
	on { $bob->do(q{SET TimeZone = 'Asia/Tokyo'}); $bob->do(q{SET DateStyle = 'German'}) } 0;
	on { $bob->do(q{UPDATE session SET status = 'stopped'}) } 1;
	is(leases(), '', 'a trigger that was attached on another connection ends a lease, whatever the client has set');
	$bob->do($_) for q{RESET TimeZone}, q{RESET DateStyle};
	# the sessions that follow are no rows of it
	on { $ann->do(q{SELECT egress_detach_sessions('session')}) } 0;
}

sub prepared_transactions
{
	on {
		$ann->begin_work;
		acquire($ann, 'prepared');
		$ann->do(q{PREPARE TRANSACTION 'prepared'});
		$ann->commit;
	} 0;
	is((on { acquire($bob, 'beside') } 1), 1, 'beside a prepared transaction one connection is free');
	is((on { sqlstate { acquire($bob, 'full') } } 1), 'NG004', '... and no more');
	on { $bob->do(q{COMMIT PREPARED 'prepared'}) } 1;
	is(leases(), 'beside, prepared', '... which another client commits on another connection');
	on { release($bob, $_) } 0 for qw(beside prepared);
}

# what one client leaves in a session the next one finds; nothing that egress does depends on it
sub what_others_set
{
	on { $ann->do(q{SELECT egress_attach_sessions('session', 'id')}) } 0;
	on {
		$ann->do($_) for (
			(map { "CREATE TEMP TABLE $_ (LIKE pg_class)" } qw(egress_provider egress_gateway egress_credential egress_lease)),
			'SET search_path = pg_temp', q{SET bytea_output = 'escape'}, q{SET IntervalStyle = 'sql_standard'},
			q{SET default_transaction_isolation = 'serializable'}, 'SET enable_indexscan = off', 'SET row_security = off',
			q{SET role = 'workspaces'});
	} 0;
	is(outcome($bob, 0, q{SELECT current_setting('bytea_output')}), 'escape', 'what a client sets is there for the next one');
	# from 18 on PostgreSQL reports this one, and pgbouncer from 1.26 on keeps it for each client
	on { $bob->do('SET search_path = pg_temp') } 0;
	is((on { acquire($bob, '2026-11-22 10:00:00+00') } 0)[1], 'a password', '... who acquires');
	on { $bob->do(q{DELETE FROM public.session}) } 0;
	is(leases(), '', '... and whose trigger ends the lease');
	on { $_->do('DISCARD ALL') for $ann, $bob } 0;
	on { $ann->do(q{SELECT egress_detach_sessions('session')}) } 0;
}

# A connection that breaks in a transaction: the pooler closes the server's, too.
sub client_lost
{
	my $lost = pooled();
	$lost->begin_work;
	acquire($lost, "lost $_") for 1 .. 2;
	is(sqlstate { acquire($ann, 'full') }, 'NG004', 'a client holds two connections in a transaction');
	$lost->{InactiveDestroy} = 1;
	POSIX::close($lost->{pg_socket});
	ok(wait_until { sqlstate { acquire($ann, 'free') } eq '' }, '... and is lost: they are free again');
	release($ann, 'free');

	@connections = map { backend($_) } @blockers;
	$_->rollback for @blockers;
}

# by somebody else, in the same schema and in another one, while the sessions of the pool know where the old one was
sub extension_created_again
{
	for my $new (qw(public vpn))
	{
		for my $number (0, 1)
		{
			on { acquire($ann, "before $number") } $number;
		}
		$server->safe_psql('postgres', 'DROP EXTENSION egress CASCADE');
		is(outcome($ann, 0, "SELECT $schema.egress_release_credential('before 0')"), '42883', 'the extension is dropped');
		$schema = $new;
		create_world();
		for my $number (0, 1)
		{
			is((on { acquire($ann, 'after') } $number)[1], 'a password', "created again in $schema, it is found there");
		}
		is(leases(), 'after', '... with one lease');
		on { release($ann, 'after') } 0;
	}
}

# both connections have read the keys; now the secret is sealed under a new one
sub key_file_changed
{
	write_file('egress.key', key('b'), key('a'));
	$server->reload;
	$server->safe_psql('postgres', q{UPDATE vpn.egress_credential SET password = 'another password' WHERE username = 'acme'});
	write_file('egress.key', key('b'));
	for my $number (0, 1)
	{
		ok(wait_until { (on { sqlstate { acquire($ann, 'key') } } $number) eq '' }, 'the new key opens');
		is((on { acquire($ann, 'key') } $number)[1], 'another password', '... on each connection');
	}
	on { release($ann, 'key') } 0;
}

# Each kind of state in a session is made on one connection, missing on the other, and the next client's on the first.
sub what_does_not_work
{
	for my $kind (
		[ 'SET',           q{SET app.client = 'ann'}, q{SELECT current_setting('app.client', true)}, undef, 'ann' ],
		[ 'PREPARE',       'PREPARE ready AS SELECT 1', 'EXECUTE ready', '26000', 1 ],
		[ 'a temporary table', 'CREATE TEMP TABLE mine AS SELECT 1 AS one', 'SELECT one FROM mine', '42P01', 1 ],
		[ 'LISTEN',        'LISTEN ended', 'SELECT pg_listening_channels()', undef, 'ended' ],
		[ 'pg_advisory_lock()', 'SELECT pg_advisory_lock(1)', 'SELECT pg_advisory_unlock(1)', 0, 1 ])
	{
		my ($name, $sql, $look, $elsewhere, $there) = @$kind;
		on { $ann->do($sql) } 0;
		is(outcome($ann, 1, $look), $elsewhere, "$name does not last: elsewhere it is not there");
		is(outcome($bob, 0, $look), $there, '... and the next client has it');
	}
	on { $bob->do('DISCARD ALL') } 0;
}

# named ones of the protocol, as DBD::Pg makes them unless it is told not to
sub prepared_statements
{
	my $dbh = pooled(pg_server_prepare => 1, pg_switch_prepared => 1);
	my $acquire = $dbh->prepare("SELECT egress_credential_id FROM $schema.egress_acquire_credential('ann', NULL, ?, ?)");
	is((on { $acquire->execute(1, 'statement'); $acquire->fetchrow_array } 0), 1, 'a prepared statement');
	my $state = on { sqlstate { $acquire->execute(1, 'statement'); $acquire->finish } } 1;
	is($state, $version >= 21 ? '' : '26000', "... on another connection, with pgbouncer 1.$version");
	undef $acquire;
	$dbh->disconnect;
	on { release($ann, 'statement') } 0;
}

# six clients share two server connections and a limit of three
sub many_clients
{
	my ($clients, $cycles) = (6, 20);
	my @pids;
	for my $client (1 .. $clients)
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			my $ok = eval { work($client, $cycles); 1 };
			print STDERR "client $client: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		push @pids, $pid;
	}
	my $died = grep { waitpid($_, 0); $? != 0 } @pids;
	is($died, 0, "$clients clients came to their end");

	my @intervals = map { open my $file, '<', "$folder/$_" or die "$folder/$_: $!"; map { [split] } <$file> } 1 .. $clients;
	is(scalar(@intervals), $clients * $cycles, '... with all their leases');
	is(most_at_once(@intervals), 3, '... of which as many as the limit were held at once, and never more');
	is(leases(), '', '... and none is left');
	is(ask($server, 'SELECT count(DISTINCT session_id) = count(*) AND count(*) = ' . $clients * $cycles
			. ' FROM vpn.egress_lease_history WHERE egress_gateway_id = 2'), 't', '... with a row of history each');
}

# half of the leases are taken in a transaction, given back in another
sub work
{
	my ($client, $cycles) = @_;
	my $dbh = pooled();
	open my $file, '>', "$folder/$client" or die "$folder/$client: $!";
	for my $cycle (1 .. $cycles)
	{
		my $session = "client $client: $cycle";
		my $transaction = $cycle % 2;
		my $taken = wait_until {
			$dbh->begin_work if $transaction;
			my $state = sqlstate { acquire($dbh, $session, 2) };
			die "unexpected: $state\n" if $state !~ /^(NG004)?$/;
			$state eq '' ? $transaction && $dbh->commit : $transaction && $dbh->rollback;
			return $state eq '';
		};
		die "no connection\n" if !$taken;
		my $since = now();
		$dbh->selectrow_array("SELECT $schema.egress_renew_lease(?, '1 hour')", undef, $session) or die "not renewed\n";
		$dbh->begin_work if $transaction;
		my $until = now();
		release($dbh, $session) or die "not released\n";
		$dbh->commit if $transaction;
		printf $file "%.9f %.9f\n", $since, $until;
	}
	close $file or die "cannot write: $!";
	$dbh->disconnect;
}
