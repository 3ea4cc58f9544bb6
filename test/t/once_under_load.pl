# once_under_load.pl -- credentials that are once per gateway, under load, and an oracle that knows nothing of the tables
#
# The rule: while once_per_gateway is on, a credential has at most one live lease at each gateway, also counting those
# of open transactions, on top of its limit or alone; one that is there already is passed over, and NG004 comes when
# nothing else is free, not sooner; switched on late, no more come; nobody waits, and nothing leaks.
#
# The clients take and give back connections at each isolation level, with a snapshot from before, committed, rolled
# back, by a lost connection, in savepoints undone or kept, in prepared transactions that stay for a while, by
# function or by the trigger of the session table, both in one transaction, with a ttl and without; they renew, and
# forget. A sweeper sweeps. An administrator switches once_per_gateway of two credentials, in transactions that stay
# open for a while, committed, rolled back, or undone to a savepoint.
#
# The oracle: each client writes to a file of its own when it surely holds a lease, and when it may hold one.
#  - Surely: from the answer of the acquire until the statement is sent that gives it back (see limit_under_load.pl),
#    and until its ttl, counted from when the acquire was sent. Two such intervals at one place, a credential at a
#    gateway, must not overlap if the switch was on since before either acquire was sent; nor may an acquire succeed
#    while another lease is there, and the switch on, from before it was sent until after it was answered
#    (check_places).
#  - Perhaps: from the acquire until the answer to what gives it back; of one whose ttl is over only while somebody
#    may be about to change or end it. When NG004 comes, no credential may have been neither perhaps at the gateway
#    nor perhaps at its limit all the time (check_refusals).
#  - The history must tell the same: no two leases overlap at one place (check_history). When all is quiet, the menu
#    says how many connections a gateway has, and so many can be taken (check_quiet).
#
# Environment: EGRESS_ONCE_SECONDS, how long the load is (8). EGRESS_ONCE_CLIENTS (10). EGRESS_ONCE_SEED, the seed of
# the clients' dice.
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

my $seconds = $ENV{EGRESS_ONCE_SECONDS} // 8;
my $clients = $ENV{EGRESS_ONCE_CLIENTS} // 10;
my $seed    = $ENV{EGRESS_ONCE_SEED} // int(rand(2**31));
my $folder  = tempdir(CLEANUP => 1);

use constant FOREVER => 9**9**9;

my @isolation = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');

# credential => {limit, once, gateways}; that of the switched ones at first, and in the end
my %credentials = (
	1 => { once => 1, limit => undef, gateways => [ 1, 2, 3 ] },
	2 => { once => 1, limit => 2,     gateways => [ 1, 2, 3 ] },
	3 => { once => 1, limit => 1,     gateways => [ 1, 2, 3 ] },
	4 => { once => 0, limit => 2,     gateways => [ 1, 2, 3 ] },
	5 => { once => 1, limit => undef, gateways => [ 4, 5 ], switched => 1 },
	6 => { once => 1, limit => 3,     gateways => [ 4, 5 ], switched => 1 },
	map { $_ => { once => 1, limit => $_ % 2 ? undef : 2, gateways => [ 6, 7 ] } } 101 .. 140);

# of the big pool these are at a gateway all the time: the clients have the others
my %settled = (6 => { map { $_ => 1 } grep { $_ != 120 && $_ != 139 } 101 .. 140 },
	7 => { map { $_ => 1 } grep { $_ < 110 || $_ > 112 } 101 .. 140 });

note "$clients clients, $seconds seconds, EGRESS_ONCE_SEED=$seed";

my $test  = EgressTest->new('once_under_load');
my $admin = $test->connect;
create_world();

my $result = run_load();
check_clients();
check_places();
check_refusals();
check_variety();
check_quiet();
check_history();
check_capacity();

done_testing();

sub create_world
{
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type)
			VALUES (1, 'Lanternway', 'custom'), (2, 'Quillport', 'custom'), (3, 'Birch', 'custom')},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			SELECT id, CASE WHEN id <= 3 THEN 1 WHEN id <= 5 THEN 2 ELSE 3 END, 'gateway ' || id FROM generate_series(1, 7) id},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone'),
			(3, 'everyone')},
		q{CREATE TABLE session (id text PRIMARY KEY)},
		q{CREATE TRIGGER session_ended AFTER DELETE ON session
			FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id')});
	for my $id (sort { $a <=> $b } keys %credentials)
	{
		my $credential = $credentials{$id};
		$admin->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
					once_per_gateway, limit_active_connections, active_connection_limit)
				VALUES (?, ?, ?, 'everyone', ?, ?, ?)}, undef, $id, $id < 5 ? 1 : $id < 7 ? 2 : 3, "credential $id",
			$credential->{once}, defined $credential->{limit} ? 1 : 0, $credential->{limit});
	}

	# each alone there, to be taken
	for my $gateway (sort keys %settled)
	{
		for my $id (sort keys %{ $settled{$gateway} })
		{
			$admin->do('UPDATE egress_credential SET enabled = egress_credential_id = ? WHERE egress_provider_id = 3', undef, $id);
			$admin->do(q{SELECT egress_acquire_credential('ana', NULL, ?, ?)}, undef, $gateway, "settled-$gateway-$id");
			$admin->do('INSERT INTO session VALUES (?)', undef, "settled-$gateway-$id");
		}
	}
	$admin->do('UPDATE egress_credential SET enabled = true');
}

# Runs the clients and the sweeper, and switches meanwhile. Returns what they wrote: sure, perhaps, refused, busy, counts,
# errors, holding (session => its ttl's end, perhaps), died; on and off (credential => list of [from, until]), surely.
sub run_load
{
	my %switched = (on => { map { $_ => [ [ 0, FOREVER ] ] } grep { $credentials{$_}{switched} } keys %credentials }, off => {});
	my $result = Client->run(clients => [ 0 .. $clients ], seed => $seed, files => "$folder/", for => $seconds,
		meanwhile => sub {
			switch(\%switched, 5 + int(rand(2)));
			sleep rand(0.05);
		});
	$result->{holding} = { map { @$_ } @{ $result->{holding} // [] } };
	return { %$result, %switched };
}

# Switch once_per_gateway of a credential, or think better of it. What it surely is: from when a commit is acknowledged until the
# next one is sent that makes it something else.
sub switch
{
	my ($result, $id) = @_;
	my $credential = $credentials{$id};
	my $commit = rand() < 0.8;
	$admin->do('BEGIN');
	if (rand() < 0.2)
	{
		$admin->do('SAVEPOINT attempt');
		$admin->do('UPDATE egress_credential SET once_per_gateway = NOT once_per_gateway WHERE egress_credential_id = ?', undef,
			$id);
		sleep rand(0.005);
		$admin->do('ROLLBACK TO SAVEPOINT attempt');
		$commit = 0;
	}
	else
	{
		$admin->do('UPDATE egress_credential SET once_per_gateway = NOT once_per_gateway WHERE egress_credential_id = ?', undef,
			$id);
	}
	sleep rand(0.01) if rand() < 0.5;
	my $sent = now();
	$admin->do($commit ? 'COMMIT' : 'ROLLBACK');
	return if !$commit;
	$result->{ $credential->{once} ? 'on' : 'off' }{$id}[-1][1] = $sent;
	$credential->{once} = 1 - $credential->{once};
	push @{ $result->{ $credential->{once} ? 'on' : 'off' }{$id} }, [ now(), FOREVER ];
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

# surely -- was a credential once per gateway, or not, all the time?
sub surely
{
	my ($state, $id, $from, $until) = @_;
	my $credential = $credentials{$id};
	return $credential->{once} == ($state eq 'on') if !$credential->{switched};
	return grep { $_->[0] <= $from && $until <= $_->[1] } @{ $result->{$state}{$id} };
}

# intervals, each as a hash with these names
sub named
{
	my ($rows, @names) = @_;
	my @named;
	for my $row (@{ $rows // [] })
	{
		my %row;
		@row{@names} = @$row;
		push @named, \%row;
	}
	return sort { $a->{from} <=> $b->{from} } @named;
}

# No credential is twice at a gateway: see the top of this file.
sub check_places
{
	my %places;
	push @{ $places{"$_->{credential} at $_->{gateway}"} }, $_
	  for named($result->{sure}, qw(session credential gateway from until sent answered));
	my ($twice, @wrong) = (0);
	for my $place (sort keys %places)
	{
		my @before;
		for my $lease (@{ $places{$place} })
		{
			@before = grep { $_->{until} > $lease->{from} } @before;
			for my $other (grep { $_->{session} ne $lease->{session} } @before)
			{
				my ($first, $last) = sort { $a->{answered} <=> $b->{answered} } $lease, $other;
				my $together = surely('on', $lease->{credential}, min($first->{sent}, $last->{sent}), $last->{answered});
				my $beside = $first->{from} <= $last->{sent} && $last->{answered} <= $first->{until} &&
				  surely('on', $lease->{credential}, $last->{sent}, $last->{answered});
				push @wrong, "credential $place: $first->{session} and $last->{session}" if $together || $beside;
				$twice++;
			}
			push @before, $lease;
		}
	}
	is_short(\@wrong, 'no credential was twice at a gateway');
	cmp_ok($twice, '>', 0, "while it was off, credentials were twice at a gateway: $twice times");
}

# NG004 comes only when everything may have been taken: see the top of this file.
sub check_refusals
{
	my @perhaps = named($result->{perhaps}, qw(session credential gateway from until expires));
	my @busy = named($result->{busy}, qw(credential from until));
	my %fitting;
	for my $id (keys %credentials)
	{
		push @{ $fitting{$_} }, $id for @{ $credentials{$id}{gateways} };
	}
	my (%counts, @leases, @changes, @wrong);

	for my $refusal (named($result->{refused}, qw(gateway from until session)))
	{
		my ($from, $until) = @$refusal{qw(from until)};
		push @leases, shift @perhaps while @perhaps && $perhaps[0]{from} <= $until;
		push @changes, shift @busy while @busy && $busy[0]{from} <= $until;
		@leases = grep { $_->{until} >= $from } @leases;
		@changes = grep { $_->{until} >= $from } @changes;

		my %busy = map { $_->{credential} => 1 } grep { $_->{from} <= $until } @changes;
		my (%held, %there);
		for my $lease (grep { $_->{from} <= $until } @leases)
		{
			next if $lease->{expires} < $from && !$busy{ $lease->{credential} } && !$busy{all};
			$held{ $lease->{credential} }++;
			$there{ $lease->{credential} }{ $lease->{gateway} }++;
		}
		for my $id (@{ $fitting{ $refusal->{gateway} } })
		{
			my $full = defined $credentials{$id}{limit} && ($held{$id} // 0) >= $credentials{$id}{limit};
			my $there = $settled{ $refusal->{gateway} }{$id} ||
			  $there{$id}{ $refusal->{gateway} } && !surely('off', $id, $from, $until);
			push @wrong, "$refusal->{session}: credential $id had a connection free for gateway $refusal->{gateway}"
			  if !$full && !$there;
			$counts{'full'}++ if $full;
			$counts{'at the gateway, not full'}++ if !$full;
		}
	}
	is_short(\@wrong, 'NG004 came ' . scalar(@{ $result->{refused} // [] }) . ' times, never while a credential was surely free');
	cmp_ok($counts{$_} // 0, '>', 0, "credentials were passed over: $_") for 'at the gateway, not full', 'full';
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
		'savepoint kept', 'released by function', 'released by trigger', 'released and taken again', 'renewed', 'too late', 'swept')
	{
		cmp_ok($counts{$what} // 0, '>', 0, $what);
	}
	for my $gateway (1 .. 7)
	{
		cmp_ok($counts{"acquired at gateway $gateway"} // 0, '>', 0, "acquires succeeded at gateway $gateway");
	}
}

# how many connections of a gateway can be taken now, and whose
sub takes
{
	my ($gateway) = @_;
	my %taken;
	$admin->do('BEGIN');
	while (sqlstate {
			$admin->do('SAVEPOINT one_more');
			my ($id) = $admin->selectrow_array('SELECT egress_credential_id FROM egress_acquire_credential(?, NULL, ?, ?)', undef,
				'ana', $gateway, 'takes ' . sum0(values %taken));
			$taken{$id}++;
			$admin->do('RELEASE SAVEPOINT one_more')
		} eq '')
	{
		last if sum0(values %taken) > 100;
	}
	my $state = $admin->state;
	$admin->do('ROLLBACK');
	is($state, 'NG004', "gateway $gateway: until NG004 comes");
	return \%taken;
}

# Nothing is held by nobody. As much can be taken as the menu says, and as is left by what is held.
sub check_quiet
{
	my ($prepared) = $admin->selectrow_array('SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()');
	is($prepared, 0, 'no prepared transaction is left');
	is($admin->selectrow_array(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())}), 0, 'no lock is left');

	my $last = max(0, grep { $_ < FOREVER } values %{ $result->{holding} });
	sleep $last - now() + 0.01 if $last > now() - 0.01;
	my @leases = @{ $admin->selectall_arrayref(q{SELECT session_id, egress_credential_id, egress_gateway_id FROM egress_connection
		WHERE session_id !~ '^settled'}) };
	is_deeply([ sort map { $_->[0] } @leases ],
		[ sort grep { $result->{holding}{$_} == FOREVER } keys %{ $result->{holding} } ],
		'the leases are those that the clients hold, ' . @leases . ' in all');

	# first with the expired leases, to be taken over; of what is held by whom, above what the switch allows
	$admin->do('UPDATE egress_credential SET once_per_gateway = true WHERE egress_credential_id IN (5, 6)');
	$credentials{$_}{once} = 1 for 5, 6;
	compare_menu('beside what is held', @leases);
}

# the menu, what can be taken, and what should be left beside these leases
sub compare_menu
{
	my ($label, @leases) = @_;
	for my $gateway (1 .. 7)
	{
		my %left;
		for my $id (grep { grep { $_ == $gateway } @{ $credentials{$_}{gateways} } } keys %credentials)
		{
			my $credential = $credentials{$id};
			my $held = grep { $_->[1] == $id } @leases;
			my $there = grep { $_->[1] == $id && $_->[2] == $gateway } @leases;
			for my $g (sort keys %settled)
			{
				next if $label ne 'beside what is held' || !$settled{$g}{$id};
				$held++;
				$there++ if $g == $gateway;
			}
			my $left = defined $credential->{limit} ? max(0, $credential->{limit} - $held) : 1;
			$left = $there ? 0 : min(1, $left) if $credential->{once};
			$left{$id} = $left if $left;
		}
		is_deeply(takes($gateway), \%left, "gateway $gateway: what can be taken $label: " . sum0(values %left));
		my ($available) = $admin->selectrow_array(
			q{SELECT available_connections FROM egress_available_gateways('ana') WHERE egress_gateway_id = ?}, undef, $gateway);
		is($available, sum0(values %left), "gateway $gateway: the menu says so");
		my ($verdict, $id) = $admin->selectrow_array(
			q{SELECT verdict, egress_credential_id FROM egress_explain_access('ana', NULL, ?)}, undef, $gateway);
		is($verdict . ' ' . ($id // 'none'), %left ? 'available ' . min(keys %left) : 'at_limit none',
			"gateway $gateway: the explanation, too");
	}
}

# The history: an interval from acquired_at to released_at lies within the time for which the connection was held.
sub check_history
{
	$admin->do('SELECT egress_expire_leases()');
	my %places;
	for my $row (@{ $admin->selectall_arrayref(q{SELECT egress_credential_id, egress_gateway_id,
			(extract(epoch FROM acquired_at) * 1000000)::bigint, (extract(epoch FROM released_at) * 1000000)::bigint, release_reason
		FROM egress_lease_history}) })
	{
		push @{ $places{"$row->[0] at $row->[1]"} }, [ @$row[ 2, 3 ] ]
		  if $credentials{ $row->[0] }{once} && !$credentials{ $row->[0] }{switched};
	}
	my ($ended) = $admin->selectrow_array(q{SELECT count(*) FROM egress_lease_history WHERE release_reason = 'expired'});
	cmp_ok($ended, '>', $result->{counts}{swept} // 0, "$ended leases have expired, and most were taken over");
	my @wrong = grep { most_at_once(@{ $places{$_} }) > 1 } sort keys %places;
	is_short(\@wrong, 'nor does the history say that one was twice at a gateway: ' . sum0(map { scalar @$_ } values %places)
		. ' leases at ' . keys(%places) . ' places');
}

# all sessions end, and the whole capacity is free
sub check_capacity
{
	$admin->do('DELETE FROM session');
	is($admin->selectrow_array('SELECT count(*) FROM egress_lease'), 0, 'no lease without a session');
	compare_menu('when all sessions have ended');
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
		greed    => 1 + int(rand(3)),    # how many connections it would like to have
		holding  => {},                  # session => lease
		prepared => []);                 # transactions
}

# the lease is surely held until this moment or its end, and for what we know not any longer
sub surely_until
{
	my ($self, $lease, $moment) = @_;
	my $until = List::Util::min($moment, $lease->{surely});
	$self->record('sure', @$lease{qw(session credential gateway since)}, $until, @$lease{qw(sent answered)})
	  if $until > $lease->{since};
	$lease->{since} = FOREVER;
}

# the lease is gone: perhaps held until this moment
sub perhaps_until
{
	my ($self, $lease, $moment) = @_;
	$self->record('perhaps', @$lease{qw(session credential gateway sent)}, $moment, $lease->{expires});
}

sub sweep
{
	my ($self) = @_;
	while (!$self->is_over)
	{
		my ($number) = $self->select('SELECT egress_expire_leases()');
		$self->record('busy', 'all', $self->{sent}, now());
		$self->{counts}{swept} += $number;
		sleep rand(0.4);
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
		sleep rand(0.003) if rand() < 0.5;
	}
	$self->finish_prepared while @{ $self->{prepared} };

	# what it holds at the end it goes on holding
	for my $lease (map { $self->{holding}{$_} } sort keys %{ $self->{holding} })
	{
		$self->surely_until($lease, now());
		$self->perhaps_until($lease, FOREVER);
		$self->record('holding', $lease->{session}, $lease->{expires});
	}
	$self->finish;
}

# One transaction: releases, acquires, renewals, savepoints, and an end
sub transaction
{
	my ($self) = @_;
	my $level = $isolation[ rand @isolation ];
	$self->{level} = $level;

	# what it takes and gives back (session => lease), and renews, as long as it is open; since when it is busy with what
	my $tx = { taken => {}, released => {}, renewed => [], busy => {} };

	my $state = sqlstate {
		$self->do("BEGIN ISOLATION LEVEL $level");

		# a snapshot, and some time for it to grow old
		if (rand() < 0.5)
		{
			$self->select('SELECT count(*) FROM egress_provider');
			sleep rand(0.004);
		}

		my @releasable = $self->free_to_release;
		my $expired = (grep { $self->{holding}{$_}{expires} < now() } @releasable)[0];
		my $want = $self->{greed} - grep { $_->{expires} > now() } values %{ $self->{holding} };
		my $dice = rand();
		if (@releasable && $dice < 0.15)
		{
			# both, and perhaps for the same gateway
			my $lease = $self->{holding}{ $releasable[0] };
			$self->release($tx, $lease, 1);
			$self->take($tx, rand() < 0.7 ? $lease->{gateway} : undef);
			$self->count('released and taken again');
		}
		elsif (defined $expired && $dice < 0.25)
		{
			$self->release($tx, $self->{holding}{$expired}, 0);
		}
		elsif (@releasable && ($want <= 0 || $dice < 0.4))
		{
			$self->release($tx, $self->{holding}{ $releasable[0] }, 0);
		}
		else
		{
			$self->take($tx);
			$self->take($tx) if rand() < 0.2;
		}
		my @renewable = grep { $self->{holding}{$_}{expires} < FOREVER && !$tx->{released}{$_} } $self->free_to_release;
		$self->renew($tx, $self->{holding}{ $renewable[-1] }) if @renewable && rand() < 0.1;
		sleep rand(0.005) if rand() < 0.4;
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

# acquire, now and then in a savepoint that is undone and tried again, or kept
sub take
{
	my ($self, $tx, $gateway) = @_;
	my $session = $self->{name} . '-' . ++$self->{serial};

	my $savepoint = rand() < 0.3;
	my $undo = $savepoint && rand() < 0.5;
	$self->do('SAVEPOINT attempt') if $savepoint;
	$self->acquire($tx, $session, $gateway);
	if ($undo)
	{
		sleep rand(0.002) if rand() < 0.5;
		my $lease = delete $tx->{taken}{$session};
		$self->surely_until($lease, now());
		$self->do('ROLLBACK TO SAVEPOINT attempt');
		$self->perhaps_until($lease, now());
		$self->count('savepoint undone');
		$session .= '-again';
		$self->acquire($tx, $session, $gateway);
	}
	elsif ($savepoint)
	{
		$self->do('RELEASE SAVEPOINT attempt');
		$self->count('savepoint kept');
	}
	$self->do('INSERT INTO session VALUES (?)', undef, $session);
}

sub acquire
{
	my ($self, $tx, $session, $gateway) = @_;
	my $dice = rand();
	$gateway //= $dice < 0.45 ? 1 + int(rand(3)) : $dice < 0.75 ? 4 + int(rand(2)) : 6 + int(rand(2));
	my $ttl = rand() < 0.5 ? 0.005 + rand(0.1) : undef;
	my $interval = defined $ttl ? "$ttl seconds" : undef;
	my $id;
	my $state = sqlstate {
		($id) = $self->select(q{SELECT egress_credential_id FROM egress_acquire_credential('ana', NULL, ?, ?, ?)}, undef,
			$gateway, $session, $interval);
	};
	my $answered = now();
	if ($state ne '')
	{
		$self->record('refused', $gateway, $self->{sent}, $answered, $session) if $state eq 'NG004';
		die "refused\n";
	}
	$tx->{taken}{$session} = { session => $session, credential => $id, gateway => $gateway, since => $answered,
		sent => $self->{sent}, answered => $answered, surely => defined $ttl ? $self->{sent} + $ttl : FOREVER,
		expires => defined $ttl ? $answered + $ttl : FOREVER };
	$tx->{busy}{$id} //= $self->{sent};
	$self->count("acquired at $self->{level}");
	$self->count("acquired at gateway $gateway");
}

# Release by function or by trigger. When the transaction acquires again, the connection may be given to that.
sub release
{
	my ($self, $tx, $lease, $again) = @_;
	my $session = $lease->{session};
	$self->surely_until($lease, now()) if $again;
	$tx->{released}{$session} = $lease;
	$tx->{busy}{ $lease->{credential} } //= now();
	if (rand() < 0.5)
	{
		my ($ended) = $self->select('SELECT egress_release_credential(?)', undef, $session);
		die "$session had no lease to release\n" if !$ended && now() < $lease->{surely};
		$self->count($ended ? 'released by function' : 'too late');
	}
	else
	{
		$self->count('released by trigger');
	}
	$self->do('DELETE FROM session WHERE id = ?', undef, $session);
}

# let a lease live longer, if it has not expired
sub renew
{
	my ($self, $tx, $lease) = @_;
	my $ttl = 0.11 + rand(0.1);
	$tx->{busy}{ $lease->{credential} } //= now();
	my ($until) = $self->select('SELECT egress_renew_lease(?, ?)', undef, $lease->{session}, "$ttl seconds");
	return if !defined $until;
	push @{ $tx->{renewed} }, [ $lease, $self->{sent} + $ttl ];
	$lease->{expires} = List::Util::max($lease->{expires}, now() + $ttl);
	$self->count('renewed');
}

# COMMIT, ROLLBACK, a lost connection or PREPARE TRANSACTION
sub end
{
	my ($self, $tx) = @_;
	my $dice = rand();
	my $sent = now();
	if ($dice < 0.6)
	{
		$self->give_back($tx, $sent);
		my $state = sqlstate { $self->do('COMMIT') };
		if ($state ne '')
		{
			$self->record('error', $self->{level}, $state);
			$self->undone($tx, $sent, now());
			return;
		}
		$self->keep($tx);
		$self->count('committed');
	}
	elsif ($dice < 0.75)
	{
		$self->do('ROLLBACK');
		$self->undone($tx, $sent, now());
		$self->count('rolled back');
	}
	elsif ($dice < 0.78)
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

# the transaction is over, for the credentials that it was busy with, too
sub over
{
	my ($self, $tx, $moment) = @_;
	$self->record('busy', $_, $tx->{busy}{$_}, $moment) for sort keys %{ $tx->{busy} };
}

# after the commit: what it gave back is gone, what it took is ours, and was all the time
sub keep
{
	my ($self, $tx) = @_;
	my $moment = now();
	for my $session (keys %{ $tx->{released} })
	{
		$self->perhaps_until(delete $self->{holding}{$session}, $moment);
	}
	$_->[0]{surely} = $_->[1] for @{ $tx->{renewed} };
	$self->{holding}{$_} = $tx->{taken}{$_} for keys %{ $tx->{taken} };
	$self->over($tx, $moment);
}

# after a rollback, sent and over at these moments: what it took is gone, what it had given back is ours, surely from now on
sub undone
{
	my ($self, $tx, $sent, $moment) = @_;
	for my $lease (values %{ $tx->{taken} })
	{
		$self->surely_until($lease, $sent);
		$self->perhaps_until($lease, $moment);
	}
	for my $lease (values %{ $tx->{released} })
	{
		$lease->{since} = $moment if $lease->{since} == FOREVER;
	}
	$self->over($tx, $moment);
}
