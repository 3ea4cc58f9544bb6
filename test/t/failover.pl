# failover.pl -- a synchronous standby is promoted under load: what was acknowledged is there, and nothing is held twice
#
# The rules (README, "Standbys, failover and poolers"): with synchronous replication and a fenced primary no acknowledged
# lease is lost, no acknowledged release comes back and no renewal is forgotten; none is granted twice across the
# promotion, and the limits hold; prepared transactions survive and count as held meanwhile.
#
# Acknowledged is what was answered without a WARNING. Whoever is cancelled while it waits for the standby is told that
# its transaction is committed here only; asked again, egress waits again. That has a test of its own here, with the
# standby cut off, before the load.
#
# The load: clients acquire, renew and give back in a loop, at whichever of the two servers takes writes. In the middle the
# primary is fenced and the standby promoted, in one of two ways: killed first; or cut off, so that its clients wait for an
# acknowledgement that cannot come while the other is promoted already, and killed then. A client whose connection breaks
# looks at the new primary for what it was told, then asks again. It also writes to a file in which intervals it surely
# held a connection: from the answer to its acquire until it sends the release. These must not overlap beyond the limit,
# on whichever server they were granted.
#
# At the end the standby is made asynchronous, and loses what it was not sent: the README warns of that.
#
# One failover; four with EGRESS_TEST_ALL=1, each with the roles swapped and both ways taken.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use File::Path qw(rmtree);
use File::Temp qw(tempdir);
use List::Util qw(sum0);
use POSIX ();
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);
use DBD::Pg qw(:async);
use EgressTest;
use EgressCluster;

my @ways    = $ENV{EGRESS_TEST_ALL} ? qw(cut killed cut killed) : qw(cut);
my $seconds = $ENV{EGRESS_TEST_ALL} ? 4 : 2;    # of load before each failover
my $clients = 6;
my @limits  = (1, 1, 2, 3);                     # of the credentials 1..4, for gateway 1
my $folder  = tempdir(CLEANUP => 1);

my ($primary, $standby) = create_servers();
create_world();
is_synchronous();
read_where_it_was_applied();
cancelled_and_asked_again();

prepare();
my @pids = map { start_client($_) } 1 .. $clients;
for my $round (1 .. @ways)
{
	if ($round > 1)
	{
		swap("round $round");
		is_synchronous();
	}
	sleep $seconds;
	fail_over($ways[ $round - 1 ], $round);
}
finish_prepared();
check(stop_clients());
swap('asynchronous');
loses_what_was_not_sent();
done_testing();

# when the test has not come to its end
END
{
	kill 'KILL', @pids;
}

sub create_servers
{
	my @settings = ('max_connections = 40', 'max_prepared_transactions = 10');
	my $first = cluster('first', @settings);
	$first->start;
	my $second = standby('second', $first);
	$second->start;
	return ($first, $second);
}

# from now on commits wait for the standby
sub is_synchronous
{
	$primary->append_conf('postgresql.conf', q{synchronous_standby_names = '*'});
	$primary->reload;
	ok(becomes($primary, q{SELECT sync_state = 'sync' FROM pg_stat_replication}),
		$standby->name . ' is the synchronous standby of ' . $primary->name);
}

# wait until a condition holds on a server
sub becomes
{
	my ($node, $sql) = @_;
	return wait_until { ask($node, $sql) eq 't' };
}

# gateway 1 for the load, 2 for prepared transactions, 3 for one client at a time
sub create_world
{
	my $dbh = client($primary);
	$dbh->do($_) for (
		'CREATE EXTENSION egress',
		q{INSERT INTO egress_provider (name, provider_type)
			VALUES ('load', 'custom'), ('prepared', 'custom'), ('single', 'custom')},
		q{INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, 'load'), (2, 'prepared'), (3, 'single')},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
			VALUES (1, 'everyone'), (2, 'everyone'), (3, 'everyone')});
	my $credential = $dbh->prepare(q{INSERT INTO egress_credential
		(egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
		VALUES (?, 'credential ' || ?, 'everyone', true, ?)});
	$credential->execute(1, $_ + 1, $limits[$_]) for 0 .. $#limits;
	$credential->execute(2, 5, 4);
	$credential->execute(3, 6, 1);
	undef $credential;
	$dbh->disconnect;
}

sub acquire
{
	my ($gateway, $session, $user) = @_;
	$user //= 'ann';
	return "SELECT egress_credential_id FROM egress_acquire_credential('$user', NULL, $gateway, '$session')";
}

sub release
{
	my ($session) = @_;
	return "SELECT egress_release_credential('$session')";
}

sub sessions
{
	my ($node, $gateway) = @_;
	return ask($node, "SELECT string_agg(session_id, ' ' ORDER BY session_id) FROM egress_lease
		WHERE egress_gateway_id = $gateway");
}

# With remote_apply a menu on the standby shows what was acknowledged at the primary.
sub read_where_it_was_applied
{
	my ($writer, $reader) = (client($primary), client($standby));
	my $menu = q{SELECT available_connections FROM egress_available_gateways('ann') WHERE egress_gateway_id = 3};
	my $wrong = 0;
	$writer->do('SET synchronous_commit = remote_apply');
	for (1 .. 20)
	{
		$writer->selectrow_array(acquire(3, 'applied'));
		$wrong++ if $reader->selectrow_array($menu) != 0;
		$writer->selectrow_array(release('applied'));
		$wrong++ if $reader->selectrow_array($menu) != 1;
	}
	is($wrong, 0, 'remote_apply: the menu of the standby shows each acquire and release when it is acknowledged');
	$_->disconnect for $writer, $reader;
}

# the standby receives nothing any more
sub cut
{
	$standby->append_conf('postgresql.conf', q{primary_conninfo = ''});
	$standby->reload;
	becomes($primary, 'SELECT count(*) = 0 FROM pg_stat_replication') or die "the standby is still connected\n";
}

# and does again, what it missed too
sub join_again
{
	$standby->append_conf('postgresql.conf', sprintf q{primary_conninfo = '%s'}, $primary->connstr);
	$standby->reload;
}

# A statement in a connection of its own that waits for the standby: it is sent, and committed but for that.
sub waits_for_standby
{
	my ($sql, $name) = @_;
	my $dbh = client($primary);
	$dbh->{PrintWarn} = 1;
	my $statement = $dbh->prepare($sql, { pg_async => PG_ASYNC, pg_server_prepare => 0 });
	$statement->execute;
	my $waits = wait_until {
		$statement->pg_ready
		  || ask($primary, "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $dbh->{pg_pid}") eq 't';
	};
	ok($waits && !$statement->pg_ready, "$name waits for the standby");
	return ($dbh, $statement);
}

# cancel what waits_for_standby() began; its WARNING
sub cancel
{
	my ($dbh, $statement) = @_;
	my $warning = '';
	local $SIG{__WARN__} = sub { $warning .= $_[0] };
	ask($primary, "SELECT pg_cancel_backend($dbh->{pg_pid})");
	$dbh->pg_result;
	$statement->finish;
	$dbh->disconnect;
	return $warning;
}

sub answer
{
	my ($dbh, $statement) = @_;
	$dbh->pg_result;
	my ($answer) = $statement->fetchrow_array;
	$statement->finish;
	$dbh->disconnect;
	return $answer;
}

sub cancelled_and_asked_again
{
	my @again;
	cut();
	my @acquire = waits_for_standby(acquire(3, 'single'), 'an acquire');
	is(ask($primary, acquire(3, 'other')), 'NG004', 'its connection counts as held, and nobody waits for it');
	like(cancel(@acquire), qr/canceling wait for synchronous replication/, 'cancelled, it gets a warning');
	is(sessions($primary, 3), 'single', 'and has its lease on this server');
	is(sessions($standby, 3), '', 'only');
	@again = waits_for_standby(acquire(3, 'single'), 'asked again, it');
	join_again();
	is(answer(@again), 6, 'it is answered when the standby is back');
	$primary->wait_for_catchup($standby);
	is(sessions($standby, 3), 'single', 'and has the lease');

	cut();
	my @release = waits_for_standby(release('single'), 'a release');
	is(ask($primary, acquire(3, 'other')), 'NG004', 'its connection still counts as held');
	like(cancel(@release), qr/canceling wait for synchronous replication/, 'cancelled, it gets a warning');
	@again = waits_for_standby(release('single'), 'asked again, it');
	join_again();
	is(answer(@again), 0, 'it is answered when the standby is back');
	$primary->wait_for_catchup($standby);
	is(sessions($standby, 3), '', 'and has ended the lease');
}

# all four connections of gateway 2 held: two by leases that prepared transactions end, two by leases that such have taken
sub prepare
{
	my $dbh = client($primary);
	$dbh->do(acquire(2, $_)) for qw(released kept);
	for my $transaction ([ 'commit acquire', acquire(2, 'taken') ], [ 'rollback acquire', acquire(2, 'not taken') ],
		[ 'commit release', release('released') ], [ 'rollback release', release('kept') ])
	{
		my ($gid, $sql) = @$transaction;
		$dbh->do('BEGIN');
		$dbh->do($sql);
		$dbh->do("PREPARE TRANSACTION '$gid'");
	}
	$dbh->disconnect;
	is(ask($primary, acquire(2, 'one more')), 'NG004', 'four connections are held, by prepared transactions too');
}

# each decided at the new primary, one after the other; the connections that are free then
sub finish_prepared
{
	my $prepared = q{SELECT string_agg(gid, ', ' ORDER BY gid) FROM pg_prepared_xacts};
	is(ask($primary, $prepared), 'commit acquire, commit release, rollback acquire, rollback release',
		'prepared transactions are there after the promotion');
	is(sessions($primary, 2), 'kept released', 'and not committed');

	for my $step ([ 'commit acquire', 0, 'kept released taken' ], [ 'rollback acquire', 1, 'kept released taken' ],
		[ 'commit release', 2, 'kept taken' ], [ 'rollback release', 2, 'kept taken' ])
	{
		my ($gid, $free, $sessions) = @$step;
		my ($verb) = $gid =~ /^(\w+)/;
		ask($primary, "\U$verb\E PREPARED '$gid'");
		is(sessions($primary, 2), $sessions, "$gid: the leases are $sessions");
		is(free($primary, 2), $free, "$gid: $free connections can be taken");
	}
}

# how many acquires of a gateway succeed; rolled back
sub free
{
	my ($node, $gateway) = @_;
	my $dbh = client($node);
	my $taken = 0;
	$dbh->begin_work;
	$taken++ while sqlstate { $dbh->do(acquire($gateway, "free $taken")) } eq '' && $taken < 100;
	$dbh->rollback;
	$dbh->disconnect;
	return $taken;
}

# kill -9; returns when the server is gone: until then it has its socket, and another one cannot start there
sub kill_primary
{
	my $pid = postmaster($primary);
	$primary->kill9;
	wait_until { !kill 0, $pid } or die "process $pid lives on";
}

# from here on $primary is the new one, with nobody to wait for, and $standby the old one, which is dead
sub fail_over
{
	my ($way, $round) = @_;
	if ($way eq 'killed')
	{
		kill_primary();
		$standby->promote;
	}
	else
	{
		$standby->promote;
		becomes($primary, 'SELECT count(*) = 0 FROM pg_stat_replication');
		my $before = sessions($primary, 1);
		sleep 0.5;
		is(sessions($primary, 1), $before, "failover $round: cut off, the old primary acknowledges nothing");
		kill_primary();
	}
	($primary, $standby) = ($standby, $primary);

	my $now = ask($primary, 'SELECT now()');
	ok(becomes($primary, "SELECT count(DISTINCT user_id) = $clients FROM egress_lease_history
			WHERE egress_gateway_id = 1 AND acquired_at > '$now'"),
		"failover $round: every client goes on at the new primary");
}

# the dead one comes back as the other's standby, with fresh data
sub swap
{
	my ($backup) = @_;

	# what is left of its processes may still write
	wait_until { rmtree($standby->data_dir); !-e $standby->data_dir };
	$primary->backup($backup);
	$standby->init_from_backup($primary, $backup, has_streaming => 1);
	$standby->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
	$standby->start;
}

# Nobody waits for an asynchronous standby: what it was not sent is lost, and its connections can be taken twice.
sub loses_what_was_not_sent
{
	$primary->wait_for_catchup($standby);
	cut();
	is(ask($primary, acquire(3, 'lost')), 6, 'asynchronous: a lease is acknowledged that the standby does not get');
	kill_primary();
	$standby->promote;
	is(sessions($standby, 3), '', 'promoted, it does not know the lease');
	is(ask($standby, acquire(3, 'second')), 6, 'and grants its connection again');
}

sub start_client
{
	my ($number) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid != 0;
	my $ok = eval { Client->new($number)->work; 1 };
	print STDERR "client $number: $@" if !$ok;
	POSIX::_exit($ok ? 0 : 1);
}

# lets them come to their end; what they wrote
sub stop_clients
{
	my %result = (died => 0, intervals => [], problems => [], held => {}, released => {}, counts => {});
	open my $stop, '>', "$folder/stop" or die "stop: $!";
	for my $pid (@pids)
	{
		waitpid($pid, 0);
		$result{died}++ if $? != 0;
	}
	@pids = ();
	for my $number (1 .. $clients)
	{
		open my $file, '<', "$folder/$number" or die "$folder/$number: $!";
		while (<$file>)
		{
			chomp;
			my ($kind, @fields) = split /\t/;
			if    ($kind eq 'interval') { push @{ $result{intervals} }, [@fields] }
			elsif ($kind eq 'problem')  { push @{ $result{problems} }, "client $number: $fields[0]" }
			elsif ($kind eq 'held')     { $result{held}{ $fields[0] } = $fields[1] }
			elsif ($kind eq 'released') { $result{released}{ $fields[0] } = 1 }
			elsif ($kind eq 'count')    { $result{counts}{ $fields[0] } += $fields[1] }
		}
	}
	return \%result;
}

sub check
{
	my ($result) = @_;
	my %counts = %{ $result->{counts} };
	note "$_: $counts{$_}" for sort keys %counts;
	is($result->{died}, 0, 'every client came to its end');
	is(join("\n", @{ $result->{problems} }), '', 'every client found at the new primary what it had been told');
	cmp_ok($counts{reconnected} // 0, '>=', $clients * @ways, 'each of them after each failover');

	for my $credential (1 .. @limits)
	{
		my $most = most_at_once(map { [ @$_[1, 2] ] } grep { $_->[0] == $credential } @{ $result->{intervals} });
		is($most, $limits[ $credential - 1 ], "credential $credential: its limit was held at once, and not more");
	}

	my $dbh = client($primary);
	my %leases = map { @$_ } @{ $dbh->selectall_arrayref(
			'SELECT session_id, egress_credential_id FROM egress_lease WHERE egress_gateway_id = 1') };
	is_deeply(\%leases, $result->{held}, 'the leases are those that the clients hold');
	my %history = map { @$_ } @{ $dbh->selectall_arrayref(
			'SELECT session_id, count(*) FROM egress_lease_history WHERE egress_gateway_id = 1 GROUP BY session_id') };
	is_deeply(\%history, $result->{released}, 'the history has each that they gave back, once');
	$dbh->do(release($_)) for keys %leases;
	$dbh->disconnect;
	is(free($primary, 1), sum0(@limits), 'the whole capacity can be taken');
}

# ---------------------------------------------------------------------------------------------------------------

# A client: a connection to the server that takes writes, and what it has been told.
package Client;

use strict;
use warnings;
use EgressTest;
use Time::HiRes qw(sleep);

sub new
{
	my ($class, $number) = @_;
	srand($number);
	open my $file, '>', "$folder/$number" or die "$folder/$number: $!";
	my $self = bless { user => "client $number", file => $file, serial => 0, held => {}, counts => {} }, $class;
	$self->connect;
	return $self;
}

sub record
{
	my ($self, @fields) = @_;
	print { $self->{file} } join("\t", @fields), "\n";
}

# as an application would: libpq looks for the server that takes writes
sub connect
{
	my ($self) = @_;
	my ($host, @ports) = ($primary->host, $primary->port, $standby->port);
	my $connected = wait_until {
		$self->{dbh} = eval { DBI->connect(
				"dbi:Pg:dbname=postgres;host=$host,$host;port=$ports[0],$ports[1];target_session_attrs=read-write",
				$ENV{PGUSER}, undef, { RaiseError => 1, PrintError => 0, pg_server_prepare => 0 }) };
	};
	die "no server takes writes\n" if !$connected;
}

sub work
{
	my ($self) = @_;
	my $parent = getppid();
	while (!-e "$folder/stop" && getppid() == $parent)
	{
		my @sessions = sort keys %{ $self->{held} };
		my $dice = rand();
		if    (!@sessions || @sessions == 1 && $dice < 0.4) { $self->acquire }
		elsif ($dice < 0.6)                                 { $self->renew($sessions[ rand @sessions ]) }
		else                                                { $self->release($sessions[ rand @sessions ]) }
		sleep rand(0.01);
	}
	for my $session (sort keys %{ $self->{held} })
	{
		$self->held_until($session, now());
		$self->record('held', $session, $self->{held}{$session}{credential});
	}
	$self->record('count', $_, $self->{counts}{$_}) for sort keys %{ $self->{counts} };
	close $self->{file} or die "cannot write: $!";
}

# The answer to a statement about a session, and asked again when the connection broke; undef for NG004.
sub answer
{
	my ($self, $what, $session, $sql) = @_;
	for (;;)
	{
		my $answer;
		return $answer if eval { ($answer) = $self->{dbh}->selectrow_array($sql); 1 };
		return undef if $self->{dbh}->state eq 'NG004';
		die $@ if $self->{dbh}->ping;
		$self->connect;
		$self->look($session);
		$self->{counts}{"asked again: $what"}++;
	}
}

# After a failover: are the leases, and their ends, what was acknowledged? Of one session the last answer is missing.
sub look
{
	my ($self, $in_doubt) = @_;
	my $leases = $self->{dbh}->selectall_hashref(q{
		SELECT session_id, egress_credential_id, expires_at::text
		FROM egress_lease LEFT JOIN egress_lease_expiry USING (session_id, egress_credential_id)
		WHERE user_id = ?}, 'session_id', undef, $self->{user});
	$self->{counts}{reconnected}++;
	for my $session (grep { $_ ne $in_doubt } keys %{ { %$leases, %{ $self->{held} } } })
	{
		my ($lease, $told) = ($leases->{$session}, $self->{held}{$session});
		$self->record('problem', "$session came back") if !$told;
		$self->record('problem', "$session is lost")   if !$lease;
		next if !$told || !$lease;
		$self->record('problem', "$session has another credential") if $lease->{egress_credential_id} != $told->{credential};
		$self->record('problem', "$session ends at $lease->{expires_at}, not at $told->{expires_at}")
		  if ($lease->{expires_at} // '') ne ($told->{expires_at} // '');
	}
}

sub acquire
{
	my ($self) = @_;
	my $session = "$self->{user}: " . ++$self->{serial};
	my $credential = $self->answer('acquire', $session, main::acquire(1, $session, $self->{user}));
	$self->{counts}{ defined $credential ? 'acquired' : 'full' }++;
	$self->{held}{$session} = { credential => $credential, since => now() } if defined $credential;
}

sub renew
{
	my ($self, $session) = @_;
	$self->{held}{$session}{expires_at} =
	  $self->answer('renewal', $session, "SELECT egress_renew_lease('$session', '1 hour')::text");
	$self->record('problem', "$session cannot be renewed") if !defined $self->{held}{$session}{expires_at};
	$self->{counts}{renewed}++;
}

sub release
{
	my ($self, $session) = @_;
	$self->held_until($session, now());
	delete $self->{held}{$session};
	$self->answer('release', $session, main::release($session));
	$self->record('released', $session);
	$self->{counts}{released}++;
}

sub held_until
{
	my ($self, $session, $moment) = @_;
	my $lease = $self->{held}{$session};
	$self->record('interval', $lease->{credential}, sprintf('%.9f', $lease->{since}), sprintf('%.9f', $moment));
}
