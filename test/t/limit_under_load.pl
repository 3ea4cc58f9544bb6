# limit_under_load.pl -- many clients on a pool of small limits, and an oracle that knows nothing of the tables
#
# The rule: leases of a limited credential, counting those of transactions still open, never pass its limit; an
# acquire that began after a limit was committed never adds a lease while as many as the limit are held; rollbacks
# of every kind leave nothing held by nobody.
#
# The clients take and give back connections in every way there is: at each isolation level, with a snapshot from
# before, committed, rolled back, by a lost connection, in savepoints undone or kept, in prepared transactions that
# stay for a while, by function or by the trigger of the session table, and both in one transaction.
#
# The oracle: each client writes to a file of its own in which intervals it surely holds a connection. An interval
# begins when the answer to an acquire has come. It ends before the statement is sent that gives the connection back:
# COMMIT or COMMIT PREPARED after a release; ROLLBACK or ROLLBACK TO after an acquire, or the statement that failed and
# with it the transaction; the release itself when the same transaction acquires again, because it may be given the
# very same connection. The clock is the machine's monotonic one. What overlaps in these intervals was held at the
# same time, whatever the tables say.
#
# Two phases: fixed limits, where the overlap never passes the limit; then an administrator is at work. Limits change,
# and no acquire succeeds while too many are held throughout it (see check_acquires); a gateway and a credential are
# deleted and made again, and no lease outlives either.
#
# Environment: EGRESS_LOAD_SECONDS, how long the first phase is (20); the second is a quarter of it, or 3.
# EGRESS_LOAD_CLIENTS, how many clients there are (20). EGRESS_LOAD_SEED, the seed of their dice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressClient;
use EgressTest;
use File::Temp qw(tempdir);
use List::Util qw(max min shuffle sum0);
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{EGRESS_LOAD_SECONDS} // 20;
my $clients = $ENV{EGRESS_LOAD_CLIENTS} // 20;
my $seed    = $ENV{EGRESS_LOAD_SEED} // int(rand(2**31));
my $folder  = tempdir(CLEANUP => 1);

# credential => [limit, gateway that it is for (all of the first provider's when undef)]; ids by position
my @names = qw(alpha beta gamma delta epsilon);
my %pool = (
	alpha   => [ 1, undef ],
	beta    => [ 2, undef ],
	gamma   => [ 3, undef ],
	delta   => [ 4, 1 ],
	epsilon => [ 5, 2 ]);

# the second provider has one gateway and one credential, which come and go in the second phase
my %guest = (gateway => 3, credential => 6, name => 'zeta', limit => 2);

use constant FOREVER => 9**9**9;

my @isolation = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');

note "$clients clients, $seconds seconds, EGRESS_LOAD_SEED=$seed";

my $test = EgressTest->new('limit_under_load');
my $admin = $test->connect;
create_world();

my $fixed = run_phase('fixed', $seconds, sub { my ($deadline) = @_; sleep max(0, $deadline - now()) });
check_clients($fixed);
check_overlap($fixed);
check_acquires($fixed);
check_variety($fixed);
check_leaks($fixed);

my $changing = run_phase('changing', max(3, $seconds / 4), \&administrate);
check_clients($changing, qw(NG001 NG003));
check_acquires($changing);
check_deletions($changing);
reset_limits();
check_leaks($changing);

done_testing();

# the pool, and an application's session table whose triggers end leases
sub create_world
{
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type)
			VALUES (1, 'Lanternway', 'custom'), (2, 'Quillport', 'custom')},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			VALUES (1, 1, 'nl-ams-01'), (2, 1, 'de-fra-01')},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
			VALUES (1, 'everyone'), (2, 'everyone')},
		q{CREATE TABLE session (id text PRIMARY KEY)},
		q{CREATE TRIGGER session_ended AFTER DELETE ON session
			FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id')});
	for my $i (0 .. $#names)
	{
		my ($limit, $gateway) = @{ $pool{ $names[$i] } };
		$admin->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
					allow_all_gateways, limit_active_connections, active_connection_limit)
				VALUES (?, 1, ?, 'everyone', ?, true, ?)},
			undef, $i + 1, $names[$i], defined $gateway ? 0 : 1, $limit);
		$admin->do('INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (?, ?)',
			undef, $i + 1, $gateway)
		  if defined $gateway;
	}
	insert_guest('gateway');
	insert_guest('credential');
}

sub insert_guest
{
	my ($kind) = @_;
	$admin->do(
		$kind eq 'gateway'
		? qq{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
				VALUES ($guest{gateway}, 2, 'ch-zrh-01')}
		: qq{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
					limit_active_connections, active_connection_limit)
				VALUES ($guest{credential}, 2, '$guest{name}', 'everyone', true, $guest{limit})});
}

# Runs the clients until a sub of the parent, which gets the deadline, returns. Returns what they wrote:
# interval, acquire, counts, errors, holding (session => credential at the end), ended (session => how often);
# limits (credential => list of [from, until, limit]) and deletions are what the parent did.
sub run_phase
{
	my ($phase, $duration, $meanwhile) = @_;
	my %done = (name => $phase, duration => $duration, limits => fixed_limits());
	my $result = Client->run(clients => [ 1 .. $clients ], seed => $seed + ($phase eq 'fixed' ? 0 : 1000),
		files => "$folder/$phase.",
		work => sub { Client->new($phase, $_[0])->work },
		meanwhile => sub { $meanwhile->(now() + $duration, \%done) });
	$result->{holding} = { map { @$_ } @{ $result->{holding} // [] } };
	$result->{ended}{ $_->[0] }++ for @{ delete $result->{ended} // [] };
	return { %$result, %done };
}

sub fixed_limits
{
	my %limits = map { $_ => [ [ 0, FOREVER, $pool{$_}[0] ] ] } @names;
	$limits{ $guest{name} } = [ [ 0, FOREVER, $guest{limit} ] ];
	return \%limits;
}

# the administrator of the second phase
sub administrate
{
	my ($deadline, $result) = @_;

	# a deletion waits for an open release, as a foreign key does; a client may keep that prepared for a while
	$admin->do(q{SET lock_timeout = '20ms'});
	$result->{deletions} = { committed => 0, 23503 => 0 };
	while (now() < $deadline || (now() < $deadline + 30 && grep { $_ == 0 } values %{ $result->{deletions} }))
	{
		change_limit($result->{limits});
		delete_guest($result) for 1 .. 3;
	}
	$admin->do('RESET lock_timeout');
}

# A limit may be in force from before its commit is sent until the commit of the next one is acknowledged.
sub change_limit
{
	my ($limits) = @_;
	my $name = $names[ rand @names ];

	# mostly up and down between 0 and 6, now and then none at all
	my $limit = rand() < 0.1 ? undef : int(rand(7));
	$admin->do('BEGIN');
	$admin->do('UPDATE egress_credential SET limit_active_connections = ?, active_connection_limit = ? WHERE name = ?',
		undef, defined $limit ? 1 : 0, $limit, $name);
	sleep rand(0.01) if rand() < 0.3;
	my $from = now();
	$admin->do('COMMIT');
	$limits->{$name}[-1][1] = now();
	push @{ $limits->{$name} }, [ $from, FOREVER, $limit // FOREVER ];
}

# Delete the guest gateway or credential, perhaps changed before in the same transaction or in another one, and make
# it again a little later.
sub delete_guest
{
	my ($result) = @_;
	my $kind = rand() < 0.5 ? 'gateway' : 'credential';
	my $update = "UPDATE egress_$kind SET enabled = true WHERE egress_${kind}_id = $guest{$kind}";

	$admin->do($update) if rand() < 0.5;
	$admin->do('BEGIN');
	my $state = sqlstate {
		$admin->do($update) if rand() < 0.5;
		$admin->do("DELETE FROM egress_$kind WHERE egress_${kind}_id = $guest{$kind}");
	};
	sleep rand(0.005) if rand() < 0.5;
	my $commit = $state eq '' && rand() < 0.8;
	$admin->do($commit ? 'COMMIT' : 'ROLLBACK');
	$result->{deletions}{ $state ne '' ? $state : $commit ? 'committed' : 'rolled back' }++;
	return if !$commit;
	sleep rand(0.005);
	insert_guest($kind);
}

sub reset_limits
{
	$admin->do('UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = ?
			WHERE name = ?', undef, $pool{$_}[0], $_)
	  for @names;
}

# no client died, and nothing failed in another way than it may
sub check_clients
{
	my ($result, @other) = @_;
	my $expected = join '|', 'NG004', @other;
	is($result->{died}, 0, "$result->{name}: every client came to its end");

	my @unexpected;
	for my $level (sort keys %{ $result->{errors} })
	{
		for my $state (sort keys %{ $result->{errors}{$level} })
		{
			note "$result->{name}: $result->{errors}{$level}{$state} times $state at $level";
			push @unexpected, "$state at $level"
			  if $state !~ /^($expected)$/ && !($state eq '40001' && $level eq 'SERIALIZABLE');
		}
	}
	is("@unexpected", '', "$result->{name}: only $expected came, and 40001 at SERIALIZABLE");
}

# the administrator's deletions went through, or were refused because of a lease
sub check_deletions
{
	my ($result) = @_;
	my %deletions = %{ $result->{deletions} };
	note "deletions: $_: $deletions{$_}" for sort keys %deletions;
	is(join(' ', grep { !/^(23503|55P03|committed|rolled back)$/ } sort keys %deletions), '',
		'deletions: only 23503 came, and the timeout');
	cmp_ok($deletions{committed}, '>', 0, 'deletions: some were committed');
	cmp_ok($deletions{23503}, '>', 0, 'deletions: some were refused');
}

# what was surely held at the same time never passes the limit, and reaches it
sub check_overlap
{
	my ($result) = @_;
	for my $name (@names)
	{
		my $limit = $pool{$name}[0];
		my $most = most_at_once(map { [ @$_[1, 2] ] } grep { $_->[0] eq $name } @{ $result->{interval} });
		cmp_ok($most, '<=', $limit, "$name: at most its limit held at once");
		cmp_ok($most, '>=', $limit, "$name: the limit was reached");
	}
}

# No acquire succeeded while as many as the limit were held.
#
# Somewhere between the moment when an acquire is sent and the moment when its answer has come it adds a lease.
# Whatever is held from before the first moment until after the second is held then; and of the limits, the one in
# force then is among those that may have been in force between the two moments. So if as many as the highest of
# these are held throughout, the acquire has passed the limit.
sub check_acquires
{
	my ($result) = @_;
	my %intervals;
	push @{ $intervals{ $_->[0] } }, $_ for sort { $a->[1] <=> $b->[1] } @{ $result->{interval} };
	my ($checked, $tight, @passed) = (0, 0);

	for my $name (sort keys %{ $result->{limits} })
	{
		my @acquires = sort { $a->[1] <=> $b->[1] } grep { $_->[0] eq $name } @{ $result->{acquire} };
		my @begun = @{ $intervals{$name} // [] };
		my @limits = @{ $result->{limits}{$name} };
		my @held;
		for my $acquire (@acquires)
		{
			my (undef, $sent, $answered) = @$acquire;
			push @held, shift @begun while @begun && $begun[0][1] <= $sent;
			@held = grep { $_->[2] > $sent } @held;
			my $throughout = grep { $_->[2] >= $answered } @held;

			shift @limits while $limits[0][1] < $sent;
			my $limit = max map { $_->[2] } grep { $_->[0] <= $answered } @limits;

			$checked++;
			$tight++ if $throughout + 1 == $limit;
			push @passed, "$name with $throughout held, limit $limit" if $throughout >= $limit;
		}
	}
	is(scalar(@passed), 0, "$result->{name}: none of $checked acquires passed the limit")
	  or diag(join("\n", @passed[ 0 .. min($#passed, 9) ]));
	cmp_ok($tight, '>', 0, "$result->{name}: $tight of them took the last connection");
}

# the load did what it was meant to do
sub check_variety
{
	my ($result) = @_;
	my %counts = %{ $result->{counts} };
	note "$_: $counts{$_}" for sort keys %counts;

	cmp_ok(scalar(@{ $result->{acquire} }), '>=', $clients * $result->{duration},
		'acquires succeeded in large number');
	for my $level (@isolation)
	{
		cmp_ok($counts{"acquired at $level"} // 0, '>', 0, "acquires succeeded at $level");
		cmp_ok($result->{errors}{$level}{NG004} // 0, '>', 0, "the pool was full at $level");
	}
	for my $what ('committed', 'rolled back', 'lost', 'prepared', 'commit prepared', 'rollback prepared',
		'savepoint undone', 'savepoint kept', 'released by function', 'released by trigger', 'released and taken again')
	{
		cmp_ok($counts{$what} // 0, '>', 0, $what);
	}
}

# nothing is held by nobody, nothing is lost, and all of it can be had again
sub check_leaks
{
	my ($result) = @_;
	my $name = $result->{name};

	my %leases = map { $_->[0] => $_->[1] } @{ $admin->selectall_arrayref(
			'SELECT session_id, credential_name FROM egress_connection') };
	is_deeply(\%leases, $result->{holding} // {}, "$name: the leases are those that the clients hold");

	my ($prepared) = $admin->selectrow_array(
		'SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()');
	is($prepared, 0, "$name: no prepared transaction is left");

	# all sessions end
	$result->{ended}{$_}++ for keys %leases;
	$admin->do('DELETE FROM session');
	is($admin->selectrow_array('SELECT count(*) FROM egress_lease'), 0, "$name: no lease without a session");

	my %history = map { $_->[0] => $_->[1] } @{ $admin->selectall_arrayref(
			'SELECT session_id, count(*) FROM egress_lease_history GROUP BY session_id') };
	is_deeply(\%history, $result->{ended}, "$name: one row of history for each lease that ended, "
		  . sum0(values %history) . ' in all');
	$admin->do('DELETE FROM egress_lease_history');

	my ($locks) = $admin->selectrow_array(
		q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())});
	is($locks, 0, "$name: no lock is left");

	# the whole capacity, through every gateway, and not one more
	$admin->do('BEGIN');
	my %taken;
	for my $gateway (1, 2, $guest{gateway})
	{
		$admin->do('SAVEPOINT one_more');
		while (sqlstate { $taken{ acquire($admin, $gateway, "last $gateway " . sum0(values %taken)) }++ } eq '')
		{
			$admin->do('RELEASE SAVEPOINT one_more');
			$admin->do('SAVEPOINT one_more');
		}
		is($admin->state, 'NG004', "$name: nothing more for gateway $gateway");
		$admin->do('ROLLBACK TO SAVEPOINT one_more');
	}
	$admin->do('ROLLBACK');
	is_deeply(\%taken, { $guest{name} => $guest{limit}, map { $_ => $pool{$_}[0] } @names },
		"$name: the whole capacity can be taken again");
}

# acquire for a session; returns the credential's name
sub acquire
{
	my ($client, $gateway, $session) = @_;
	my @query = (q{SELECT credential_name FROM egress_acquire_credential('ana', NULL, ?, ?)},
		undef, $gateway, $session);
	my ($credential) = $client->isa('Client') ? $client->select(@query) : $client->selectrow_array(@query);
	return $credential;
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
	my ($class, $phase, $number) = @_;
	return $class->SUPER::new(
		name     => "$phase-$number",
		phase    => $phase,
		file     => "$folder/$phase.$number",
		stop     => "$folder/$phase.stop",
		connect  => sub { $test->connect },
		greed    => 1 + int(rand(3)),    # how many connections it would like to have
		holding  => {},                  # session => lease: {credential, since}
		prepared => []);                 # transactions: {gid, taken, released}
}

# the lease is surely held until this moment, and for what we know not any longer
sub held_until
{
	my ($self, $lease, $moment) = @_;
	$self->record('interval', $lease->{credential}, $lease->{since}, $moment)
	  if $moment > $lease->{since};
}

sub work
{
	my ($self) = @_;
	while (!$self->is_over && !$self->{waited})
	{
		$self->transaction;
		$self->finish_prepared if @{ $self->{prepared} } && (rand() < 0.3 || @{ $self->{prepared} } > 1);
		sleep rand(0.002) if rand() < 0.5;
	}
	$self->finish_prepared while @{ $self->{prepared} };

	# what it holds at the end it goes on holding
	for my $session (sort keys %{ $self->{holding} })
	{
		$self->held_until($self->{holding}{$session}, now());
		$self->record('holding', $session, $self->{holding}{$session}{credential});
	}
	$self->finish;
}

# the sessions that it may give back: held by what is committed, and not in a prepared transaction's hands
sub free_to_release
{
	my ($self) = @_;
	my %busy = map { $_ => 1 } map { keys %{ $_->{released} } } @{ $self->{prepared} };
	my @free = List::Util::shuffle(grep { !$busy{$_} } sort keys %{ $self->{holding} });

	# first those of the guest, which the administrator wants to delete
	return sort { is_guest($self->{holding}{$b}) - is_guest($self->{holding}{$a}) } @free;
}

sub is_guest
{
	my ($lease) = @_;
	return $lease->{credential} eq $guest{name} ? 1 : 0;
}

# One transaction: releases, acquires, savepoints, and an end
sub transaction
{
	my ($self) = @_;
	my $level = $isolation[ rand @isolation ];
	$self->{level} = $level;

	# what it takes (session => lease) and gives back (session => lease), as long as it is open
	my $tx = { taken => {}, released => {} };

	my $state = sqlstate {
		$self->do("BEGIN ISOLATION LEVEL $level");

		# a snapshot, and some time for it to grow old
		if (rand() < 0.5)
		{
			$self->select('SELECT count(*) FROM session');
			sleep rand(0.004);
		}

		my @releasable = $self->free_to_release;
		my $want = $self->{greed} - keys %{ $self->{holding} };
		my $dice = rand();
		if (@releasable && $dice < 0.15)
		{
			# both, for the same session or for another
			$self->release($tx, $releasable[0], 1);
			$self->take($tx, rand() < 0.5 ? $releasable[0] : undef);
			$self->count('released and taken again');
		}
		elsif (@releasable && ($want <= 0 || $dice < 0.4 || is_guest($self->{holding}{ $releasable[0] })))
		{
			$self->release($tx, $releasable[0], 0);
		}
		else
		{
			$self->take($tx, undef);
			$self->take($tx, undef) if rand() < 0.1;
		}
		sleep rand(0.005) if rand() < 0.4;
	};
	if ($state ne '')
	{
		# the statement that failed ended it all
		$self->record('error', $level, $state);
		$self->{waited} = $state eq '55P03';
		$self->undo($tx, $self->{sent});
		$self->do('ROLLBACK');
		$self->back_again($tx);
		return;
	}
	$self->end($tx);
}

# acquire, now and then in a savepoint that is undone and tried again, or kept
sub take
{
	my ($self, $tx, $session) = @_;
	$session //= $self->{name} . '-' . ++$self->{serial};

	my $savepoint = rand() < 0.3;
	my $undo = $savepoint && rand() < 0.5;
	$self->do('SAVEPOINT attempt') if $savepoint;
	$self->acquire($tx, $session);
	if ($undo)
	{
		sleep rand(0.002) if rand() < 0.5;
		$self->held_until(delete $tx->{taken}{$session}, now());
		$self->do('ROLLBACK TO SAVEPOINT attempt');
		$self->count('savepoint undone');
		$self->acquire($tx, $session);
	}
	elsif ($savepoint)
	{
		$self->do('RELEASE SAVEPOINT attempt');
		$self->count('savepoint kept');
	}
	$self->do('INSERT INTO session VALUES (?) ON CONFLICT DO NOTHING', undef, $session);
}

sub acquire
{
	my ($self, $tx, $session) = @_;
	my $gateway = $self->{phase} eq 'changing' && rand() < 0.05 ? $guest{gateway} : 1 + int(rand(2));
	my $credential = main::acquire($self, $gateway, $session);
	my $answered = now();
	$tx->{taken}{$session} = { credential => $credential, since => $answered };
	$self->record('acquire', $credential, $self->{sent}, $answered);
	$self->count("acquired at $self->{level}");
}

# Release by function or by trigger. When the transaction acquires again, the connection may be given to that.
sub release
{
	my ($self, $tx, $session, $again) = @_;
	my $lease = $self->{holding}{$session};
	if ($again)
	{
		$self->held_until($lease, now());
		$lease->{since} = FOREVER;
	}
	$tx->{released}{$session} = $lease;
	if (rand() < 0.5)
	{
		my ($ended) = $self->select('SELECT egress_release_credential(?)', undef, $session);
		die "$session had no lease to release\n" if !$ended;
		$self->count('released by function');
	}
	else
	{
		$self->count('released by trigger');
	}
	$self->do('DELETE FROM session WHERE id = ?', undef, $session);
}

# COMMIT, ROLLBACK, a lost connection or PREPARE TRANSACTION
sub end
{
	my ($self, $tx) = @_;
	my $dice = rand();
	if ($dice < 0.6)
	{
		$self->give_back($tx);
		my $state = sqlstate { $self->do('COMMIT') };
		if ($state ne '')
		{
			$self->record('error', $self->{level}, $state);
			$self->undo($tx, $self->{sent});
			$self->back_again($tx);
			return;
		}
		$self->keep($tx);
		$self->count('committed');
	}
	elsif ($dice < 0.75)
	{
		$self->undo($tx, now());
		$self->do('ROLLBACK');
		$self->back_again($tx);
		$self->count('rolled back');
	}
	elsif ($dice < 0.78)
	{
		$self->undo($tx, now());
		$self->{dbh}->disconnect;
		$self->reconnect;
		$self->back_again($tx);
		$self->count('lost');
	}
	else
	{
		$tx->{gid} = $self->{name} . '-prepared-' . ++$self->{serial};
		my $state = sqlstate { $self->do("PREPARE TRANSACTION '$tx->{gid}'") };
		if ($state ne '')
		{
			$self->record('error', $self->{level}, $state);
			$self->undo($tx, $self->{sent});
			$self->back_again($tx);
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
		$self->give_back($tx);
		$self->do("COMMIT PREPARED '$tx->{gid}'");
		$self->keep($tx);
		$self->count('commit prepared');
	}
	else
	{
		$self->undo($tx, now());
		$self->do("ROLLBACK PREPARED '$tx->{gid}'");
		$self->back_again($tx);
		$self->count('rollback prepared');
	}
}

# before a commit is sent: what the transaction gave back is held until now
sub give_back
{
	my ($self, $tx) = @_;
	my $moment = now();
	for my $lease (values %{ $tx->{released} })
	{
		$self->held_until($lease, $moment);
		$lease->{since} = FOREVER;
	}
}

# after the commit: what it gave back is gone, what it took is ours, and was all the time
sub keep
{
	my ($self, $tx) = @_;
	for my $session (keys %{ $tx->{released} })
	{
		delete $self->{holding}{$session};
		$self->record('ended', $session);
	}
	$self->{holding}{$_} = $tx->{taken}{$_} for keys %{ $tx->{taken} };
}

# a rollback: what it took is held until the moment when that was sent
sub undo
{
	my ($self, $tx, $moment) = @_;
	$self->held_until($_, $moment) for values %{ $tx->{taken} };
	$tx->{taken} = {};
}

# after a rollback: what it had given back is ours as before; surely from now on
sub back_again
{
	my ($self, $tx) = @_;
	my $moment = now();
	for my $lease (values %{ $tx->{released} })
	{
		$lease->{since} = $moment if $lease->{since} > $moment;
	}
}
