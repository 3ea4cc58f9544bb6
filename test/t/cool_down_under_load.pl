# cool_down_under_load.pl -- credentials whose connections cool down, under load, and an oracle that knows nothing of the tables
#
# The rule: a connection counts as held until cool_down after the end of its lease, whatever ended it, on top of the limit and of
# once_per_gateway; NG004 comes when nothing else is free, not sooner; nobody waits, and nothing leaks.
#
# The clients take and give back connections of small and big pools, searched from the first credential and from one drawn by
# chance, at each isolation level, with a snapshot from before, committed, rolled back, by a lost connection, in savepoints
# undone or kept, in prepared transactions that stay for a while, by function or by the trigger of the session table, both in one
# transaction, with a ttl and without; they forget some, and leave some without a session. A sweeper sweeps, and ends those.
# An administrator changes the cool_down of one credential, committed or rolled back.
#
# The oracle:
#  - The history: from acquired_at until cool_down after released_at, no more leases of a credential than its limit, and of one
#    that is once per gateway one at each (check_history). It knows only what was committed.
#  - Each client writes to a file of its own from when until when a connection was surely held: from the answer of the acquire
#    until cool_down after the release was sent, or the ttl, counted from when the acquire was sent, was over; at least until the
#    COMMIT of the release was sent; and until the ROLLBACK was sent of one that was never committed (check_held).
#  - And until when it was perhaps held: when NG004 comes, each credential that fits must perhaps have been full
#    (check_refusals). When all is quiet and has cooled down, the whole capacity is there, and can be taken (check_quiet).
#
# Environment: EGRESS_COOL_DOWN_SECONDS, how long the load is (8). EGRESS_COOL_DOWN_SEED, the seed of the clients' dice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressClient;
use EgressTest;
use File::Temp qw(tempdir);
use List::Util qw(max min sum0);
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{EGRESS_COOL_DOWN_SECONDS} // 8;
my $seed    = $ENV{EGRESS_COOL_DOWN_SEED} // int(rand(2**31));
my $clients = 10;
my $folder  = tempdir(CLEANUP => 1);

use constant { FOREVER => 9**9**9, MOODY => 5 };

my @isolation = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');

# credential => {limit, once, cool: its cool_down, longest: and the longest that it may have}; provider => its credentials. The
# gateway of a provider has its id; provider 5 has gateways 5 and 6
my (%credentials, %pools);
add_pool(1, map { [ $_, limit => $_, cool => 0.25 ] } 1 .. 3);
add_pool(2, [ 4, limit => 2, cool => 0.25 ], [ MOODY, limit => 2, cool => 0.1, longest => 0.5 ], [ 6, limit => 1, cool => 0.4 ],
	[ 7, limit => 1, cool => 0 ]);
add_pool(3, map { [ $_, limit => 1, cool => 0.4 ] } 101 .. 140);
add_pool(4, map { [ $_, limit => 1, cool => 0.4 ] } 201 .. 240);
add_pool(5, [ 8, limit => undef, once => 1, cool => 0.25 ], [ 9, limit => 2, once => 1, cool => 0.4 ],
	[ 10, limit => 1, once => 1, cool => 0.1 ]);

note "$clients clients, $seconds seconds, EGRESS_COOL_DOWN_SEED=$seed";

my $test  = EgressTest->new('cool_down_under_load');
my $admin = $test->connect;
create_world();

my $result = run_load();
check_clients();
check_held();
check_refusals();
check_quiet();
check_history();
check_variety();

done_testing();

sub add_pool
{
	my ($provider, @rows) = @_;
	for my $row (@rows)
	{
		my ($id, %credential) = @$row;
		$credentials{$id} = { once => 0, longest => $credential{cool}, %credential, provider => $provider };
		push @{ $pools{$provider} }, $id;
	}
}

sub gateways { return $_[0] == 5 ? (5, 6) : ($_[0]) }
sub provider { return $_[0] == 6 ? 5 : $_[0] }

sub create_world
{
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type, credential_order)
			SELECT id, 'provider ' || id, 'custom', CASE WHEN id IN (2, 4) THEN 'spread' ELSE 'first' END::egress_credential_order
			FROM generate_series(1, 5) id},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			SELECT id, least(id, 5), 'gateway ' || id FROM generate_series(1, 6) id},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) SELECT id, 'everyone' FROM generate_series(1, 5) id},
		q{CREATE TABLE session (id text PRIMARY KEY)},
		q{SELECT egress_attach_sessions('session', 'id')});
	for my $id (sort { $a <=> $b } keys %credentials)
	{
		my $credential = $credentials{$id};
		$admin->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
					once_per_gateway, limit_active_connections, active_connection_limit, cool_down)
				VALUES (?, ?, ?, 'everyone', ?, ?, ?, ?)}, undef, $id, $credential->{provider}, "credential $id",
			$credential->{once}, defined $credential->{limit} ? 1 : 0, $credential->{limit},
			$credential->{cool} ? "$credential->{cool} seconds" : undef);
	}
}

# Runs the clients and the sweeper, and changes a cool_down meanwhile. Returns what they wrote.
sub run_load
{
	my $result = Client->run(clients => [ 0 .. $clients ], seed => $seed, files => "$folder/", for => $seconds,
		meanwhile => sub {
			$admin->do('BEGIN');
			$admin->do('UPDATE egress_credential SET cool_down = ? WHERE egress_credential_id = ?', undef,
				(rand() < 0.5 ? '0.1 seconds' : '0.5 seconds'), MOODY);
			sleep rand(0.02);
			$admin->do(rand() < 0.7 ? 'COMMIT' : 'ROLLBACK');
			sleep rand(0.3);
		});
	$result->{kicked} = { map { @$_ } @{ $result->{kicked} // [] } };
	return $result;
}

# no client died, and nothing failed in another way than it may
sub check_clients
{
	is($result->{died}, 0, 'every client came to its end');
	my @unexpected;
	for my $level (sort keys %{ $result->{errors} })
	{
		for my $state (sort keys %{ $result->{errors}{$level} })
		{
			note "$result->{errors}{$level}{$state} times $state at $level";
			push @unexpected, "$state at $level" if $state ne 'NG004' && !($state eq '40001' && $level eq 'SERIALIZABLE');
		}
	}
	is("@unexpected", '', 'only NG004 came, and 40001 at SERIALIZABLE');
}

# Of intervals [credential, gateway, from, until, label], those that begin when their credential or its place is held as often
# as it may be by others. stretched: as if each had lasted so much longer.
sub too_many
{
	my ($intervals, $stretched) = @_;
	my (%groups, @wrong);
	for my $interval (@$intervals)
	{
		my ($id, $gateway) = @$interval;
		push @{ $groups{"$id"} }, $interval if defined $credentials{$id}{limit};
		push @{ $groups{"$id at $gateway"} }, $interval if $credentials{$id}{once};
	}
	for my $key (sort keys %groups)
	{
		my $most = $key =~ /at/ ? 1 : $credentials{$key}{limit};
		my @held;
		for my $interval (sort { $a->[2] <=> $b->[2] } @{ $groups{$key} })
		{
			@held = grep { $_->[3] + $stretched * $credentials{ $_->[0] }{cool} > $interval->[2] } @held;
			push @held, $interval;
			push @wrong, "credential $key: " . join(' ', map { "$_->[4] ($_->[2] to $_->[3])" } @held) if @held > $most;
		}
	}
	return @wrong;
}

# What the clients surely held is never above a limit: see the top of this file.
sub check_held
{
	my @held = grep { $_->[3] > $_->[2] } map { [ @$_[ 1, 2, 4, 5, 0 ] ] } @{ $result->{lease} };
	is_short([ too_many(\@held, 0) ], 'no credential was held more often than it may be, with what cools down: ' . @held . ' leases');
	cmp_ok(scalar(too_many(\@held, 0.5)), '>', 0, '... which is so only because each cools down no longer than it has to');
}

# The same by the history, once everything has ended.
sub check_history
{
	my $rows = $admin->selectall_arrayref(q{SELECT egress_credential_id, egress_gateway_id, extract(epoch FROM acquired_at)::float8,
			extract(epoch FROM released_at)::float8, session_id, release_reason FROM egress_lease_history});
	$result->{counts}{"ended: $_->[5]"}++ for @$rows;
	$_->[3] += $credentials{ $_->[0] }{cool} for @$rows;
	is_short([ too_many($rows, 0) ], 'nor does the history say so: ' . @$rows . ' leases');
	cmp_ok(scalar(too_many($rows, 0.5)), '>', 0, '... which is so only because each cools down no longer than it has to');
}

# NG004 comes only when everything may have been taken: see the top of this file.
sub check_refusals
{
	my @perhaps = sort { $a->{from} <=> $b->{from} } map { {
		credential => $_->[1], gateway => $_->[2], from => $_->[3],
		until => $_->[6] < FOREVER ? $_->[6] : ($result->{kicked}{ $_->[0] } // FOREVER) + $credentials{ $_->[1] }{longest}
	} } @{ $result->{lease} };
	my @sweeps = @{ $result->{swept} };
	my (@leases, @wrong);
	for my $refusal (sort { $a->[1] <=> $b->[1] } @{ $result->{refused} // [] })
	{
		my ($gateway, $from, $until) = @$refusal;
		push @leases, shift @perhaps while @perhaps && $perhaps[0]{from} <= $until;
		shift @sweeps while @sweeps && $sweeps[0][1] < $from;
		my $swept = @sweeps && $sweeps[0][0] <= $until;
		# what a sweep has at hand others leave to it, up to when it was swept before
		@leases = grep { $_->{until} >= $from - 1 } @leases;
		my @held = grep { $_->{from} <= $until && ($swept || $_->{until} >= $from) } @leases;
		for my $id (@{ $pools{ provider($gateway) } })
		{
			my @of_it = grep { $_->{credential} == $id } @held;
			my $full = defined $credentials{$id}{limit} && @of_it >= $credentials{$id}{limit};
			my $there = $credentials{$id}{once} && grep { $_->{gateway} == $gateway } @of_it;
			push @wrong, "credential $id had a connection free for gateway $gateway from $from to $until" if !$full && !$there;
		}
	}
	is_short(\@wrong, 'NG004 came ' . scalar(@{ $result->{refused} // [] }) . ' times, never while a credential was surely free');
}

# Everything has ended and cooled down: nothing is lost, and nothing too much.
sub check_quiet
{
	$admin->do('DELETE FROM session');
	$admin->do('SELECT egress_end_leases(orphaned => true)');
	is($admin->selectrow_array('SELECT count(*) FROM egress_connection'), 0, 'no lease without a session');
	sleep 0.55;
	for my $gateway (1 .. 6)
	{
		my %left = map { $_ => $credentials{$_}{once} ? 1 : $credentials{$_}{limit} } @{ $pools{ provider($gateway) } };
		my ($free) = $admin->selectrow_array(
			q{SELECT available_connections FROM egress_available_gateways('ana') WHERE egress_gateway_id = ?}, undef, $gateway);
		is($free, sum0(values %left), "gateway $gateway: the menu says that all has cooled down");
		$admin->do('BEGIN');
		my $state = sqlstate {
			my %taken;
			$taken{$_}++ for drain($gateway);
			is_deeply(\%taken, \%left, "gateway $gateway: the whole capacity can be taken: " . sum0(values %left));
		};
		is($state, '', "gateway $gateway: without an error");
		$admin->do('ROLLBACK');
	}
	$admin->do('SELECT egress_expire_leases()');
	is($admin->selectrow_array('SELECT count(*) FROM egress_live_lease'), 0, 'a sweep leaves no lease');
	is($admin->selectrow_array('SELECT count(*) - count(DISTINCT (egress_credential_id, slot)) FROM egress_lease'), 0,
		'and what has cooled down has one row in a slot');
	is($admin->selectrow_array('SELECT count(*) FROM egress_lease_expiry'), 0, '... nor of their ends');

	# with spread, each of a pool is the first to be taken by somebody
	for my $provider (2, 4)
	{
		my %first;
		for my $try (1 .. 100 * @{ $pools{$provider} })
		{
			$admin->do('BEGIN');
			$first{ $admin->selectrow_array(q{SELECT egress_credential_id FROM egress_acquire_credential('ana', NULL, ?, 'try')},
				undef, $provider) }++;
			$admin->do('ROLLBACK');
			last if keys %first == @{ $pools{$provider} };
		}
		is(scalar(keys %first), scalar(@{ $pools{$provider} }), "provider $provider: the search begins at each credential");
	}
}

# acquire until it is refused, in an open transaction; returns the credentials
sub drain
{
	my ($gateway) = @_;
	my @taken;
	while (1)
	{
		my $id;
		$admin->do('SAVEPOINT attempt');
		my $state = sqlstate {
			($id) = $admin->selectrow_array(q{SELECT egress_credential_id FROM egress_acquire_credential('ana', NULL, ?, ?)}, undef,
				$gateway, "quiet-$gateway-" . @taken);
		};
		$admin->do($state ne '' ? 'ROLLBACK TO attempt' : 'RELEASE attempt');
		return @taken if $state eq 'NG004';
		die "SQLSTATE $state" if $state ne '';
		push @taken, $id;
	}
}

# the load did what it was meant to do
sub check_variety
{
	my %counts = %{ $result->{counts} };
	note "$_: $counts{$_}" for sort keys %counts;
	for my $level (@isolation)
	{
		cmp_ok($counts{"acquired at $level"} // 0, '>', 0, "acquires succeeded at $level");
		cmp_ok($result->{errors}{$level}{NG004} // 0, '>', 0, "and were refused at $level");
	}
	for my $what ('committed', 'rolled back', 'lost', 'prepared', 'commit prepared', 'rollback prepared', 'savepoint undone',
		'savepoint kept', 'release undone', 'released by function', 'released by trigger', 'taken and given back', 'kicked', 'swept',
		map({ "ended: $_" } qw(released session_end expired ended)), map({ "acquired at gateway $_" } 1 .. 6))
	{
		cmp_ok($counts{$what} // 0, '>', 0, $what);
	}
}

# ---------------------------------------------------------------------------------------------------------------

# One client: a connection, the leases that it holds by committed transactions, and its prepared transactions.
package Client;

use strict;
use warnings;
use EgressTest;
use Time::HiRes qw(sleep);

use parent -norequire, 'EgressClient';

use constant FOREVER => main::FOREVER;

sub new
{
	my ($class, $number) = @_;
	return $class->SUPER::new(
		name     => "client-$number",
		file     => "$folder/$number",
		stop     => "$folder/stop",
		connect  => sub { $test->connect },
		holding  => {},                  # session => lease
		prepared => []);                 # transactions
}

# a connection of a lease was held surely from its answer until one moment, and perhaps, from when it was sent, until another
sub held
{
	my ($self, $lease, $surely, $perhaps) = @_;
	my $cool = $credentials{ $lease->{credential} };
	$self->record('lease', @$lease{qw(session credential gateway sent answered)},
		List::Util::min($surely, $lease->{surely} + $cool->{cool}),
		List::Util::min($perhaps, $perhaps == FOREVER ? $lease->{perhaps} + $cool->{longest} : FOREVER));
}

# sweep, and end leases whose session is gone
sub sweep
{
	my ($self) = @_;
	while (!$self->is_over)
	{
		my ($number) = $self->select('SELECT egress_expire_leases()');
		$self->record('swept', $self->{sent}, now());
		$self->{counts}{swept} += $number;
		my $kicked = $self->{dbh}->selectcol_arrayref('SELECT session_id FROM egress_end_leases(orphaned => true)');
		$self->record('kicked', $_, now()) for @$kicked;
		$self->{counts}{kicked} += @$kicked;
		sleep rand(0.2);
	}
	$self->finish;
}

sub work
{
	my ($self) = @_;
	while (!$self->is_over)
	{
		$self->transaction;
		$self->finish_prepared if @{ $self->{prepared} } && (rand() < 0.3 || @{ $self->{prepared} } > 1);
		sleep rand(0.01) if rand() < 0.5;
	}
	$self->finish_prepared while @{ $self->{prepared} };

	# what it holds at the end it goes on holding
	$self->held($_, now(), FOREVER) for map { $self->{holding}{$_} } sort keys %{ $self->{holding} };
	$self->finish;
}

# One transaction: releases, acquires, savepoints, and an end
sub transaction
{
	my ($self) = @_;
	my $level = $isolation[ rand @isolation ];
	$self->{level} = $level;

	# what it takes (session => lease), gives back (session => [lease, when, answered])
	my $tx = { taken => {}, released => {} };

	my $state = sqlstate {
		$self->do("BEGIN ISOLATION LEVEL $level");

		# a snapshot, and some time for it to grow old
		if (rand() < 0.5)
		{
			$self->select('SELECT count(*) FROM egress_provider');
			sleep rand(0.004);
		}

		my %busy = map { $_ => 1 } map { keys %{ $_->{released} } } @{ $self->{prepared} };
		my @releasable = List::Util::shuffle(grep { !$busy{$_} } sort keys %{ $self->{holding} });
		my $dice = rand();
		if (@releasable && $dice < 0.1)
		{
			# undone: the lease is there as before
			$self->do('SAVEPOINT attempt');
			$self->release($tx, $self->{holding}{ $releasable[0] });
			$self->do('ROLLBACK TO SAVEPOINT attempt');
			delete $tx->{released}{ $releasable[0] };
			$self->count('release undone');
		}
		if (@releasable && $dice < 0.55)
		{
			$self->release($tx, $self->{holding}{ $releasable[0] });
			if (rand() < 0.2)
			{
				# to which the connection may be given, if it has cooled down by then
				$tx->{again} = 1;
				$self->take($tx);
			}
		}
		else
		{
			my $lease = $self->take($tx);
			if (rand() < 0.15)
			{
				$self->release($tx, $lease);
				$self->count('taken and given back');
			}
		}
		sleep rand(0.01) if rand() < 0.4;
	};
	if ($state ne '')
	{
		# the statement that failed ended it all
		$self->record('error', $level, $state);
		die "lock_timeout\n" if $state eq '55P03';
		my $sent = $self->{sent};
		$self->do('ROLLBACK');
		$self->undone($tx, $sent, now());
		return;
	}
	$self->end($tx);
}

# acquire, now and then in a savepoint that is undone and tried again, or kept; some without a session
sub take
{
	my ($self, $tx) = @_;
	my $session = $self->{name} . '-' . ++$self->{serial};

	my $savepoint = rand() < 0.3;
	my $undo = $savepoint && rand() < 0.5;
	$self->do('SAVEPOINT attempt') if $savepoint;
	$self->acquire($tx, $session);
	if ($undo)
	{
		sleep rand(0.002) if rand() < 0.5;
		my $lease = delete $tx->{taken}{$session};
		my $sent = now();
		$self->do('ROLLBACK TO SAVEPOINT attempt');
		$self->held($lease, $sent, now());
		$self->count('savepoint undone');
		$session .= '-again';
		$self->acquire($tx, $session);
	}
	elsif ($savepoint)
	{
		$self->do('RELEASE SAVEPOINT attempt');
		$self->count('savepoint kept');
	}
	my $lease = $tx->{taken}{$session};
	$lease->{orphan} = rand() < 0.15;
	# it may be kicked at any time
	$lease->{surely} = 0 if $lease->{orphan};
	$self->do('INSERT INTO session VALUES (?)', undef, $session) if !$lease->{orphan};
	return $lease;
}

sub acquire
{
	my ($self, $tx, $session) = @_;
	my $gateway = 1 + int(rand(6));
	my $ttl = rand() < 0.4 ? 0.005 + rand(0.3) : undef;
	my $interval = defined $ttl ? "$ttl seconds" : undef;
	my $id;
	my $state = sqlstate {
		($id) = $self->select(q{SELECT egress_credential_id FROM egress_acquire_credential('ana', NULL, ?, ?, ?)}, undef,
			$gateway, $session, $interval);
	};
	my $answered = now();
	if ($state ne '')
	{
		$self->record('refused', $gateway, $self->{sent}, $answered) if $state eq 'NG004';
		die "refused\n";
	}
	$tx->{taken}{$session} = { session => $session, credential => $id, gateway => $gateway,
		sent => $self->{sent}, answered => $answered, surely => defined $ttl ? $self->{sent} + $ttl : FOREVER,
		perhaps => defined $ttl ? $answered + $ttl : FOREVER };
	$self->count("acquired at $self->{level}");
	$self->count("acquired at gateway $gateway");
}

# release by function or by trigger
sub release
{
	my ($self, $tx, $lease) = @_;
	my $session = $lease->{session};
	my $sent = now();
	my $by_function = $lease->{orphan} || rand() < 0.5;
	$self->select('SELECT egress_release_credential(?)', undef, $session) if $by_function;
	$self->do('DELETE FROM session WHERE id = ?', undef, $session);
	$tx->{released}{$session} = [ $lease, $sent, now() ];
	$self->count('released by ' . ($by_function ? 'function' : 'trigger'));
}

# COMMIT, ROLLBACK, a lost connection or PREPARE TRANSACTION
sub end
{
	my ($self, $tx) = @_;
	my $dice = rand();
	my $sent = now();
	if ($dice < 0.65)
	{
		$self->commit($tx, 'COMMIT', 'committed');
	}
	elsif ($dice < 0.78)
	{
		$self->do('ROLLBACK');
		$self->undone($tx, $sent, now());
		$self->count('rolled back');
	}
	elsif ($dice < 0.8)
	{
		# when the server has seen it nobody knows
		$self->{dbh}->disconnect;
		$self->reconnect;
		$self->undone($tx, $sent, now() + 5);
		$self->count('lost');
	}
	else
	{
		$tx->{gid} = $self->{name} . '-prepared-' . ++$self->{serial};
		my $state = sqlstate { $self->do("PREPARE TRANSACTION '$tx->{gid}'") };
		if ($state ne '')
		{
			$self->record('error', $self->{level}, $state);
			$self->undone($tx, $sent, now());
			return;
		}
		push @{ $self->{prepared} }, $tx;
		$self->count('prepared');
	}
}

# COMMIT PREPARED or ROLLBACK PREPARED of one of its prepared transactions
sub finish_prepared
{
	my ($self) = @_;
	my $tx = shift @{ $self->{prepared} };
	if (rand() < 0.6)
	{
		$self->commit($tx, "COMMIT PREPARED '$tx->{gid}'", 'commit prepared');
	}
	else
	{
		my $sent = now();
		$self->do("ROLLBACK PREPARED '$tx->{gid}'");
		$self->undone($tx, $sent, now());
		$self->count('rollback prepared');
	}
}

# commit: what it took is ours, what it gave back cools down from its release on, and was held until the commit
sub commit
{
	my ($self, $tx, $statement, $what) = @_;
	my $sent = now();
	my $state = sqlstate { $self->do($statement) };
	my $moment = now();
	if ($state ne '')
	{
		$self->record('error', $self->{level}, $state);
		$self->undone($tx, $sent, $moment);
		return;
	}
	$self->{holding}{$_} = $tx->{taken}{$_} for keys %{ $tx->{taken} };
	for my $session (keys %{ $tx->{released} })
	{
		my ($lease, $released, $answered) = @{ $tx->{released}{$session} };
		my $credential = $credentials{ $lease->{credential} };
		delete $self->{holding}{$session};
		$self->held($lease, List::Util::max($tx->{again} ? 0 : $sent, $released + $credential->{cool}),
			List::Util::max($moment, $answered + $credential->{longest}));
	}
	$self->count($what);
}

# after a rollback, sent and over at these moments: what it took is gone, and does not cool down; what it had given back is ours
sub undone
{
	my ($self, $tx, $sent, $moment) = @_;
	$self->held($_, $sent, $moment) for values %{ $tx->{taken} };
	return if !$tx->{again};
	$_->[0]{answered} = $moment for values %{ $tx->{released} };
}
