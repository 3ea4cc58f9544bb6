# failover.pl -- a synchronous standby is promoted under load: what was acknowledged is there, and nothing is held twice
#
# The rules (doc/operations.md, "Standbys and failover"): with synchronous replication and a fenced primary no acknowledged
# lease is lost, no acknowledged release comes back and no renewal is forgotten; none is granted twice across the
# promotion, and the limits hold; prepared transactions survive and count as held meanwhile.
#
# Acknowledged is what was answered without a WARNING. Whoever is cancelled while it waits for the standby is told that
# its transaction is committed here only; asked again, egress waits again. That has a test of its own here, with the
# standby cut off, before the load.
#
# The load is EgressFailover.pm's, at whichever of the two servers takes writes. In the middle the primary is fenced and the
# standby promoted, in one of two ways: killed first; or cut off, so that its clients wait for an acknowledgement that cannot
# come while the other is promoted already, and killed then.
#
# At the end the standby is made asynchronous, and loses what it was not sent: the page warns of that.
#
# One failover; four with EGRESS_TEST_ALL=1, each with the roles swapped and both ways taken.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use File::Path qw(rmtree);
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);
use DBD::Pg qw(:async);
use EgressTest;
use EgressFailover;
use EgressCluster;

my @ways    = $ENV{EGRESS_TEST_ALL} ? qw(cut killed cut killed) : qw(cut);
my $seconds = $ENV{EGRESS_TEST_ALL} ? 4 : 2;    # of load before each failover
my $load    = EgressFailover->new(connect => \&find_primary, pause => 0.01);

my ($primary, $standby) = create_servers();
create_world();
is_synchronous();
read_where_it_was_applied();
cancelled_and_asked_again();

prepare();
$load->begin;
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
$load->end;
$load->check(client($primary), scalar @ways);
swap('asynchronous');
loses_what_was_not_sent();
done_testing();

# when the test has not come to its end
END
{
	undef $load;
}

# as an application would: libpq looks for the server that takes writes
sub find_primary
{
	my ($host, @ports) = ($primary->host, $primary->port, $standby->port);
	return DBI->connect("dbi:Pg:dbname=postgres;host=$host,$host;port=$ports[0],$ports[1];target_session_attrs=read-write",
		$ENV{PGUSER}, undef, { RaiseError => 1, PrintError => 0 });
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
	EgressFailover::create_world($dbh);
	EgressFailover::add_gateway($dbh, 'prepared', 4);
	EgressFailover::add_gateway($dbh, 'single', 1);
	$dbh->disconnect;
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
		is(free(client($primary), 2), $free, "$gid: $free connections can be taken");
	}
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

	my ($now, $clients) = (ask($primary, 'SELECT now()'), EgressFailover::CLIENTS);
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
