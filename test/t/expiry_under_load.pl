# expiry_under_load.pl -- leases that end by themselves, under load; and what renewals leave behind
#
# The rules: an expired lease no longer counts and its connection is taken over, exactly; one
# that was renewed in a transaction that committed is not; a lease ends once, with one row of history, at its end.
#
# The clients take connections with ttls of some milliseconds to a second, renew some, forget most, and give some back, at
# each isolation level, with snapshots from before, committed, rolled back, in savepoints undone or kept, and in prepared
# transactions. A sweeper sweeps beside them, and an administrator changes the limit of one credential.
#
# The oracle: each client writes to a file of its own what was committed: which leases it took, and to which end it renewed
# them. A lease is known by its session and acquired_at. The rest is read from egress_lease_history when everything has
# ended. There the interval from acquired_at to released_at lies within the time for which the connection was held: an
# acquire writes acquired_at when the connection is its own already, no release is committed before its released_at,
# and nobody may have the connection of a lease that expired before its end, which is its released_at.
#
# Nothing but NG004 comes, at SERIALIZABLE too: what the clients read themselves there nobody writes, so that a
# serialization failure would be the extension's.
#
# Then a thousand leases are renewed twenty thousand times, each time in a transaction of its own.
#
# Environment: EGRESS_EXPIRY_SECONDS, how long the load is (8). EGRESS_EXPIRY_SEED, the seed of the clients' dice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use File::Temp qw(tempdir);
use List::Util qw(sum0);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{EGRESS_EXPIRY_SECONDS} // 8;
my $seed    = $ENV{EGRESS_EXPIRY_SEED} // int(rand(2**31));
my $clients = 8;
my $folder  = tempdir(CLEANUP => 1);

# limits by the credentials' ids; that of the last one changes, and it has a gateway of its own
my @limits = (1 .. 5);
my $moody  = @limits + 1;

my @isolation = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');

note "$seconds seconds, EGRESS_EXPIRY_SEED=$seed";

my $test  = EgressTest->new('expiry_under_load');
my $admin = $test->connect;
create_world();

my %result = run_load();
my %history = wait_for_the_end();
check_clients();
check_overlap();
check_history();
check_variety();
check_capacity();
check_renewals();

done_testing();

sub create_world
{
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom')},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			VALUES (1, 1, 'nl-ams-01'), (2, 1, 'de-fra-01')},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')},
		q{CREATE TABLE session (id text PRIMARY KEY)},
		q{CREATE TRIGGER session_ended AFTER DELETE ON session
			FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id')});
	for my $id (1 .. $moody)
	{
		$admin->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
					allow_all_gateways, limit_active_connections, active_connection_limit)
				VALUES (?, 1, ?, 'everyone', false, true, ?)},
			undef, $id, "credential $id", $limits[ $id - 1 ] // 3);
		$admin->do('INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (?, ?)',
			undef, $id, $id == $moody ? 2 : 1);
	}
}

# Runs the clients and the sweeper, and changes a limit meanwhile. Returns what they wrote: died, taken (lease =>
# credential), ends (lease => the last end that was acknowledged), released (lease => 1), counts.
sub run_load
{
	my %result = (died => 0);
	my @pids;
	for my $number (0 .. $clients)
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			srand($seed + $number);
			my $client = Client->new($number);
			my $ok = eval { $number == 0 ? $client->sweep : $client->work; 1 };
			print STDERR "client $number: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		push @pids, $pid;
	}

	my $deadline = now() + $seconds;
	while (now() < $deadline)
	{
		$admin->do('UPDATE egress_credential SET active_connection_limit = ? WHERE egress_credential_id = ?',
			undef, int(rand(6)), $moody);
		sleep rand(0.02);
	}
	open my $stop, '>', "$folder/stop" or die "stop: $!";
	for my $pid (@pids)
	{
		waitpid($pid, 0);
		$result{died}++ if $? != 0;
	}

	for my $number (0 .. $clients)
	{
		open my $file, '<', "$folder/$number" or die "$folder/$number: $!";
		while (<$file>)
		{
			chomp;
			my ($kind, $what, $value) = split /\t/;
			if ($kind eq 'count') { $result{counts}{$what} += $value }
			else                  { $result{$kind}{$what} = $value }
		}
	}
	return %result;
}

# Waits until everything has expired, looks what is shown of it, and ends it. Returns lease => [credential, from, until,
# reason], in microseconds.
sub wait_for_the_end
{
	ok(wait_until {
			$admin->selectrow_array('SELECT count(*) = 0 FROM egress_connection');
		}, 'every lease comes to its end');
	is($admin->selectrow_array('SELECT sum(active_connections) FROM egress_credential_usage'), 0,
		'nothing is active, cleaned up or not');
	$result{counts}{swept} += $admin->selectrow_array('SELECT egress_expire_leases()');
	is($admin->selectrow_array('SELECT count(*) FROM egress_lease'), 0, 'a sweep ends all');
	is($admin->selectrow_array('SELECT count(*) FROM egress_lease_expiry'), 0, 'and leaves nothing behind');

	my $rows = $admin->selectall_arrayref(
		q{SELECT session_id || ' ' || (extract(epoch FROM acquired_at) * 1000000)::bigint, egress_credential_id,
			(extract(epoch FROM acquired_at) * 1000000)::bigint, (extract(epoch FROM released_at) * 1000000)::bigint,
			release_reason
		FROM egress_lease_history});
	my %history = map { $_->[0] => [ @$_[ 1 .. 4 ] ] } @$rows;
	is(scalar(keys %history), scalar(@$rows), 'no lease ended twice: ' . @$rows . ' in all');
	return %history;
}

# nothing failed in another way than it may
sub check_clients
{
	is($result{died}, 0, 'every client came to its end');
	my @errors = grep { /^error/ } sort keys %{ $result{counts} };
	note "$_: $result{counts}{$_}" for @errors;
	is(join(', ', grep { !/^error NG004/ } @errors), '', 'only NG004 came');
}

# what was held at the same time never passes the limit, and reaches it
sub check_overlap
{
	for my $id (1 .. @limits)
	{
		my $most = most_at_once(map { [ @$_[1, 2] ] } grep { $_->[0] == $id } values %history);
		is($most, $limits[ $id - 1 ], "credential $id: at most its limit held at once, and as many");
	}
}

# the history has the leases that were taken in what was committed, and no other; each with the end it should have
sub check_history
{
	my (@lost, @invented, @early, @wrong);
	for my $lease (sort keys %{ $result{taken} })
	{
		if (!$history{$lease})
		{
			push @lost, $lease;
			next;
		}
		my ($credential, undef, $until, $reason) = @{ $history{$lease} };
		push @wrong, "$lease: credential $credential" if $credential != $result{taken}{$lease};
		push @wrong, "$lease: $reason" if ($reason eq 'released') != exists $result{released}{$lease};
		push @early, "$lease: $until for " . ($result{ends}{$lease} // 'none')
		  if $reason eq 'expired' && $until ne ($result{ends}{$lease} // '');
	}
	@invented = grep { !exists $result{taken}{$_} } sort keys %history;
	is("@lost", '', 'no lease that was committed is lost');
	is("@invented", '', 'no lease that was rolled back has a history');
	is("@wrong", '', 'each is of the credential that was said, and released exactly when its release was');
	is("@early", '', 'each that expired did so at the end that was last acknowledged');
}

# the load did what it was meant to do
sub check_variety
{
	my %counts = %{ $result{counts} };
	note "$_: $counts{$_}" for grep { !/^error/ } sort keys %counts;

	my $expired = grep { $_->[3] eq 'expired' } values %history;
	cmp_ok($expired, '>', $counts{swept}, "of $expired that expired, a sweep ended only $counts{swept}: others were taken over");
	cmp_ok($counts{$_} // 0, '>', 0, $_)
	  for 'swept', 'renewed', 'renewed without end', 'too late to renew', 'committed', 'rolled back', 'commit prepared',
	  'rollback prepared', 'savepoint undone', 'savepoint kept', 'acquired again', 'sweep undone';
	cmp_ok($counts{"acquired at $_"}  // 0, '>', 0, "acquires succeeded at $_")  for @isolation;
	cmp_ok($counts{"error NG004 at $_"} // 0, '>', 0, "the pool was full at $_") for @isolation;
}

# nothing is held by nobody: the whole capacity can be taken, and not one more
sub check_capacity
{
	$admin->do('BEGIN');
	$admin->do(q{SELECT egress_acquire_credential('ana', NULL, 1, 'last ' || i, '1 hour') FROM generate_series(1, ?) i},
		undef, sum0(@limits));
	my $state = sqlstate { $admin->do(q{SELECT egress_acquire_credential('ana', NULL, 1, 'one more')}) };
	is($state, 'NG004', 'the whole capacity can be taken again, and not one more');
	$admin->do('ROLLBACK');

	my ($locks) = $admin->selectrow_array(
		q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())});
	is($locks, 0, 'no lock is left');
}

# Renewals are heap-only updates whose old versions the next ones prune: neither the table of the ends nor its
# indexes grow, however long they go on. What the limit check reads is not touched at all.
sub check_renewals
{
	my ($leases, $renewals) = (1000, 20_000);
	my $sizes = q{SELECT c.relname, pg_relation_size(c.oid) FROM pg_class c
		WHERE c.oid IN ('egress_lease'::regclass, 'egress_lease_expiry'::regclass)
			OR c.oid IN (SELECT indexrelid FROM pg_index
				WHERE indrelid IN ('egress_lease'::regclass, 'egress_lease_expiry'::regclass))};
	my $rows = q{SELECT md5(string_agg(xmin::text || ctid::text || session_id, ' ' ORDER BY session_id)) FROM egress_lease};

	$admin->do('TRUNCATE egress_lease CASCADE');
	$admin->do('UPDATE egress_credential SET active_connection_limit = ? WHERE egress_credential_id = ?',
		undef, $leases, $moody);
	$admin->do(q{SELECT egress_acquire_credential('ana', NULL, 2, 'renewed ' || i, '1 hour') FROM generate_series(1, ?) i},
		undef, $leases);
	$admin->do('VACUUM egress_lease, egress_lease_expiry');

	my ($before) = $admin->selectrow_array($rows);
	my %before = map { @$_ } @{ $admin->selectall_arrayref($sizes) };
	$admin->do('SELECT pg_stat_force_next_flush()');
	$admin->do(q{SELECT pg_stat_reset_single_table_counters('egress_lease_expiry'::regclass)});
	$admin->do('SET synchronous_commit = off');
	my $renew = $admin->prepare(q{SELECT egress_renew_lease('renewed ' || 1 + $1::int % $2::int, '1 hour')});
	$renew->execute($_ * 7919, $leases) for 1 .. $renewals;
	$renew->finish;
	$admin->do('SELECT pg_stat_force_next_flush()');
	my %after = map { @$_ } @{ $admin->selectall_arrayref($sizes) };
	my ($after) = $admin->selectrow_array($rows);
	my ($updated, $hot) = $admin->selectrow_array(
		q{SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relid = 'egress_lease_expiry'::regclass});

	note "$_: $before{$_} bytes, then $after{$_}" for sort keys %after;
	is($updated, $renewals, "$renewals renewals");
	cmp_ok($hot, '>=', 0.99 * $renewals, "$hot of them heap-only");
	is($after, $before, 'no row of egress_lease was touched');
	for my $relation (sort keys %after)
	{
		my $allowed = $relation =~ /^egress_lease_expiry/ ? 1.5 * $before{$relation} : $before{$relation};
		cmp_ok($after{$relation}, '<=', $allowed, "$relation has not grown");
	}
}

# ---------------------------------------------------------------------------------------------------------------

# One client: a connection, and the sessions that it has not forgotten
package Client;

use strict;
use warnings;
use EgressTest;
use Time::HiRes qw(sleep);

sub new
{
	my ($class, $number) = @_;
	open my $file, '>', "$folder/$number" or die "$folder/$number: $!";
	my $self = bless {
		name     => "client $number",
		file     => $file,
		dbh      => $test->connect,
		serial   => 0,
		sessions => {},                  # session => lease {key, gateway, credential, end}: what is committed
		prepared => undef,               # a transaction: {gid, changes}
		counts   => {},
	}, $class;

	# nobody waits, but for the short locks: who waits longer is not to wait for ever
	$self->{dbh}->do(q{SET lock_timeout = '10s'});
	$self->{dbh}->do('SET synchronous_commit = off');
	return $self;
}

sub record
{
	my ($self, @fields) = @_;
	print { $self->{file} } join("\t", @fields), "\n";
}

sub count
{
	my ($self, $what, $number) = @_;
	$self->{counts}{$what} += $number // 1;
}

sub stopped { return -e "$folder/stop" || getppid() == 1 }

sub finish
{
	my ($self) = @_;
	$self->record('count', $_, $self->{counts}{$_}) for sort keys %{ $self->{counts} };
	$self->{dbh}->disconnect;
	close $self->{file} or die "cannot write: $!";
}

# the sweeper
sub sweep
{
	my ($self) = @_;
	my $dbh = $self->{dbh};
	while (!stopped())
	{
		my $level = $isolation[ rand @isolation ];
		my $state = sqlstate {
			$dbh->do("BEGIN ISOLATION LEVEL $level");
			if (rand() < 0.5)
			{
				$dbh->selectrow_array('SELECT count(*) FROM pg_class');
				sleep rand(0.02);
			}
			my $at_most = rand() < 0.5 ? '' : 1 + int rand 5;
			my ($ended) = $dbh->selectrow_array("SELECT egress_expire_leases($at_most)");
			sleep rand(0.01) if rand() < 0.5;
			my $undo = rand() < 0.3;
			$dbh->do($undo ? 'ROLLBACK' : 'COMMIT');
			$self->count('sweep undone') if $undo && $ended > 0;
			$self->count('swept', $ended) if !$undo;
		};
		if ($state ne '')
		{
			$self->count("error $state at $level");
			$dbh->do('ROLLBACK');
		}
		sleep rand(0.1);
	}
	$self->finish;
}

sub work
{
	my ($self) = @_;
	while (!stopped())
	{
		$self->transaction;
		$self->finish_prepared if $self->{prepared} && rand() < 0.3;
		sleep rand(0.004) if rand() < 0.5;
	}
	$self->finish_prepared if $self->{prepared};

	# what has no end gets one
	for my $session (grep { $self->{sessions}{$_}{end} eq '' } sort keys %{ $self->{sessions} })
	{
		my ($end) = $self->renew($session, 20);
		$self->record('ends', $self->{sessions}{$session}{key}, $end);
	}
	$self->finish;
}

# One transaction: a few steps, and an end. What it changes it keeps to itself until it is committed.
sub transaction
{
	my ($self) = @_;
	my $level = $isolation[ rand @isolation ];
	my $changes = { sessions => { %{ $self->{sessions} } }, records => [], counts => {} };
	my $dbh = $self->{dbh};
	my $prepare = !$self->{prepared} && rand() < 0.1;

	my $state = sqlstate {
		$dbh->do("BEGIN ISOLATION LEVEL $level");
		if (rand() < 0.3)
		{
			# a snapshot, and some time for it to grow old
			$dbh->selectrow_array('SELECT count(*) FROM pg_class');
			sleep rand(0.01);
		}
		for (1 .. 1 + int(rand(2)))
		{
			# a savepoint that is undone, or kept
			my $dice = rand();
			$dbh->do('SAVEPOINT part') if $dice < 0.3;
			if ($dice < 0.15)
			{
				my $undone = { sessions => { %{ $changes->{sessions} } }, records => [], counts => {} };
				$self->step($undone, $level);
				sleep rand(0.01) if rand() < 0.5;
				$dbh->do('ROLLBACK TO SAVEPOINT part');
				$changes->{counts}{'savepoint undone'}++;
			}
			$self->step($changes, $level);
			if ($dice >= 0.15 && $dice < 0.3)
			{
				$dbh->do('RELEASE SAVEPOINT part');
				$changes->{counts}{'savepoint kept'}++;
			}
		}
		sleep rand(0.02) if rand() < 0.3;
		if ($prepare)
		{
			my $gid = $self->{name} . ' ' . ++$self->{serial};
			$dbh->do("PREPARE TRANSACTION '$gid'");
			$self->{prepared} = { gid => $gid, changes => $changes, before => $self->{sessions} };

			# it has them all, and nothing may wait for it
			$self->{sessions} = {};
		}
		elsif (rand() < 0.8)
		{
			$dbh->do('COMMIT');
			$self->keep($changes);
			$self->count('committed');
		}
		else
		{
			$dbh->do('ROLLBACK');
			$self->count('rolled back');
		}
	};
	if ($state ne '')
	{
		my $message = $dbh->errstr;
		$self->count("error $state at $level");
		main::note("$state: $message") if $state ne 'NG004';
		$dbh->do('ROLLBACK');
	}
}

sub finish_prepared
{
	my ($self) = @_;
	my $prepared = delete $self->{prepared};
	my $since = $self->{sessions};
	if (rand() < 0.7)
	{
		$self->{dbh}->do("COMMIT PREPARED '$prepared->{gid}'");
		$self->keep($prepared->{changes});
		$self->count('commit prepared');
	}
	else
	{
		$self->{dbh}->do("ROLLBACK PREPARED '$prepared->{gid}'");
		$self->{sessions} = $prepared->{before};
		$self->count('rollback prepared');
	}
	$self->{sessions} = { %{ $self->{sessions} }, %$since };
}

# after a commit
sub keep
{
	my ($self, $changes) = @_;
	$self->record(@$_) for @{ $changes->{records} };
	$self->count($_, $changes->{counts}{$_}) for keys %{ $changes->{counts} };
	$self->{sessions} = $changes->{sessions};
}

# acquire, renew, release, or end a session
sub step
{
	my ($self, $changes, $level) = @_;
	my $sessions = $changes->{sessions};
	my @known = sort keys %$sessions;
	my $session = @known ? $known[ rand @known ] : undef;
	my $dice = rand();

	# most are forgotten, but not those that have no end
	if (@known > 3)
	{
		delete $sessions->{$_} for grep { $sessions->{$_}{end} ne '' && rand() < 0.7 } @known;
		return if !exists $sessions->{$session};
	}

	if (defined $session && $dice < 0.35)
	{
		my $ttl = rand() < 0.15 && $sessions->{$session}{end} ne '' ? undef : ttl();
		my ($end) = $self->renew($session, $ttl);
		if (!defined $end)
		{
			$changes->{counts}{'too late to renew'}++;
			delete $sessions->{$session};
			return;
		}
		$changes->{counts}{ $end eq '' ? 'renewed without end' : 'renewed' }++;
		$sessions->{$session} = { %{ $sessions->{$session} }, end => $end };
		push @{ $changes->{records} }, [ 'ends', $sessions->{$session}{key}, $end ];
	}
	elsif (defined $session && $dice < 0.45)
	{
		my $lease = delete $sessions->{$session};
		my ($ended) = $self->{dbh}->selectrow_array('SELECT egress_release_credential(?)', undef, $session);
		push @{ $changes->{records} }, [ 'released', $lease->{key}, 1 ] if $ended;
	}
	elsif (defined $session && $dice < 0.5 && $level ne 'SERIALIZABLE')
	{
		delete $sessions->{$session};
		$self->{dbh}->do('DELETE FROM session WHERE id = ?', undef, $session);
	}
	else
	{
		my $again = defined $session && $dice < 0.6;
		$self->acquire($changes, $level, $again ? $session : $self->{name} . ' session ' . ++$self->{serial});
	}
}

# some milliseconds to a second, most of them few
sub ttl
{
	return 1 + int(1000 * rand()**4);
}

# the new end in microseconds, '' for none, undef when it is too late
sub renew
{
	my ($self, $session, $ttl) = @_;
	my ($end) = $self->{dbh}->selectrow_array(
		q{SELECT CASE end_at WHEN 'infinity' THEN '' ELSE (extract(epoch FROM end_at) * 1000000)::bigint::text END
			FROM egress_renew_lease($1, $2 * interval '1 ms') end_at WHERE end_at IS NOT NULL},
		undef, $session, $ttl);
	return $end;
}

sub acquire
{
	my ($self, $changes, $level, $session) = @_;
	my $lease = $changes->{sessions}{$session};
	my $gateway = $lease ? $lease->{gateway} : rand() < 0.8 ? 1 : 2;
	my $ttl = ttl();
	my ($credential, $since) = $self->{dbh}->selectrow_array(
		q{SELECT egress_credential_id, (extract(epoch FROM acquired_at) * 1000000)::bigint
			FROM egress_acquire_credential('ana', NULL, $1, $2, $3 * interval '1 ms')},
		undef, $gateway, $session, $ttl);
	my $key = "$session $since";
	$changes->{counts}{"acquired at $level"}++;

	# asked again, it keeps its end
	return if $lease && $lease->{key} eq $key;
	$changes->{counts}{'acquired again'}++ if $lease;
	my $end = $since + 1000 * $ttl;
	$self->{dbh}->do('INSERT INTO session VALUES (?) ON CONFLICT DO NOTHING', undef, $session);
	$changes->{sessions}{$session} = { key => $key, gateway => $gateway, end => $end };
	push @{ $changes->{records} }, [ 'taken', $key, $credential ], [ 'ends', $key, $end ];
}
