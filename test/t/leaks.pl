# leaks.pl -- an acquire that is cancelled, or whose backend is terminated, leaves nothing held
#
# The rule: rollback, a cancelled statement and a killed backend leave no connection held by nobody,
# and none of the short locks (src/lock.c): pg_locks shows them as advisory with objsubid 16001 to 16006.
#
# Three ways to meet an acquire when it is not at its end:
#  - it waits for another transaction of the same session;
#  - it is stretched: an expression index whose function waits for an advisory lock holds it up while it inserts the
#    lease, the locks held, and others wait for these (as in test/isolation/specs/short_locks.spec);
#  - at random moments: in a pool of thousands of credentials that are all full, and in clients that acquire and
#    release as fast as they can.
#
# Environment: EGRESS_LEAKS_SECONDS, how long each of the random parts is (4).
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use DBD::Pg qw(:async);
use EgressTest;
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{EGRESS_LEAKS_SECONDS} // 4;
my $clients = 8;

# src/lock.h; pg_locks shows them in objsubid
my ($lock_session, $lock_gateway, $lock_credential) = (16001, 16002, 16003);
my $short_locks = q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid BETWEEN 16001 AND 16006};

# gateway 1: one credential with this limit; gateway 2: a full pool of this many credentials
my $limit = 3;
my $crowd = 3000;

my $test = EgressTest->new('leaks');
my $admin = $test->connect;
create_world();

waiting_for_the_session();
within_the_short_locks();
in_a_full_pool();
in_busy_clients();

done_testing();

sub create_world
{
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type)
			VALUES (1, 'Lanternway', 'custom'), (2, 'Quillport', 'custom')},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			VALUES (1, 1, 'nl-ams-01'), (2, 2, 'de-fra-01')},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
			VALUES (1, 'everyone'), (2, 'everyone')},
		qq{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
				limit_active_connections, active_connection_limit)
			VALUES (1, 1, 'alpha', 'everyone', true, $limit)},
		qq{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
				limit_active_connections, active_connection_limit)
			SELECT 1 + i, 2, 'crowd ' || i, 'everyone', true, 1 FROM generate_series(1, $crowd) i},
		q{CREATE FUNCTION stretch(session_id text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
			BEGIN
				IF session_id LIKE 'stretched%' THEN
					PERFORM pg_catalog.pg_advisory_lock_shared(1);
					PERFORM pg_catalog.pg_advisory_unlock_shared(1);
				END IF;
				RETURN session_id;
			END $$},
		q{CREATE INDEX stretch ON egress_lease (stretch(session_id))});
}

# the limit of alpha
sub set_limit
{
	($limit) = @_;
	$admin->do('UPDATE egress_credential SET active_connection_limit = ? WHERE egress_credential_id = 1', undef, $limit);
}

sub acquire_query
{
	my ($gateway, $session) = @_;
	return "SELECT credential_name FROM egress_acquire_credential('ana', NULL, $gateway, '$session')";
}

sub acquire
{
	my ($dbh, $gateway, $session) = @_;
	return ($dbh->selectrow_array(acquire_query($gateway, $session)))[0];
}

# send a statement and do not wait for its end
sub start
{
	my ($dbh, $statement) = @_;
	$dbh->do($statement, { pg_async => PG_ASYNC });
}

# wait for the end of what start() sent; returns its SQLSTATE, or 'lost' when the connection is
sub finish
{
	my ($dbh) = @_;
	wait_until { $dbh->pg_ready } or die "a statement that was ended goes on\n";
	# DBD::Pg 3.21 takes a cancelled statement for a success, and still knows the SQLSTATE
	my $state = sqlstate { $dbh->pg_result } || $dbh->state;
	return $state ne '' && !$dbh->ping ? 'lost' : $state;
}

# does a backend wait for a lock: the type as pg_locks has it, for advisory ones with the objsubid?
sub waits_for
{
	my ($pid, $lock) = @_;
	return wait_until {
		my ($found) = $admin->selectrow_array(
			q{SELECT string_agg(locktype || CASE WHEN locktype = 'advisory' THEN ' ' || objsubid ELSE '' END, ',')
				FROM pg_locks WHERE pid = ? AND NOT granted}, undef, $pid);
		return defined $found && $found eq $lock;
	};
}

# The ways to end a statement: what the client gets, and how it is done when it does not happen by itself. Then the
# test waits until the statement is where it is wanted; a timeout ends it there unless the machine is very slow.
sub ways_to_end
{
	return (
		[ 'statement_timeout', '57014' ],
		[ 'lock_timeout', '55P03' ],
		[ 'pg_cancel_backend', '57014', sub { $admin->do('SELECT pg_cancel_backend(?)', undef, $_[0]) } ],
		[ 'pg_terminate_backend', 'lost', sub { $admin->do('SELECT pg_terminate_backend(?)', undef, $_[0]) } ]);
}

# send a statement that ends by itself, when that is the way
sub start_to_end
{
	my ($dbh, $statement, $how) = @_;
	$dbh->do("SET $how = '300ms'") if $how =~ /timeout$/;
	start($dbh, $statement);
}

# none of our locks is held or waited for, by these backends or, without an argument, by any
sub no_short_locks
{
	my ($name, @pids) = @_;
	my $where = @pids ? 'AND pid IN (' . join(', ', @pids) . ')' : '';
	my ($count) = $admin->selectrow_array("$short_locks $where");
	is($count, 0, "$name: no short lock is held");
}

# all connections of alpha are free, and there is not one more
sub all_free
{
	my ($name) = @_;
	my $dbh = $test->connect;
	$dbh->do("SET statement_timeout = '60s'");
	$dbh->do('BEGIN');
	my $taken = 0;
	$taken++ while sqlstate { acquire($dbh, 1, "last $taken") } eq '';
	is($dbh->state, 'NG004', "$name: the pool ends with NG004");
	$dbh->do('ROLLBACK');
	$dbh->disconnect;
	is($taken, $limit, "$name: the whole capacity is free");
}

# ---------------------------------------------------------------------------------------------------------------

# An acquire, or a release, waits for the transaction that took the session's lease.
sub waiting_for_the_session
{
	for my $way (ways_to_end())
	{
		my ($how, $expected, $end) = @$way;
		for my $statement (acquire_query(1, 'desk'), q{SELECT egress_release_credential('desk')})
		{
			my $what = $statement =~ /release/ ? 'release' : 'acquire';
			my $name = "$how, $what that waits for its session";

			my $first = $test->connect;
			$first->do('BEGIN');
			acquire($first, 1, 'desk');

			# it already holds another lease, which goes with its transaction
			my $second = $test->connect;
			my $pid = $second->{pg_pid};
			$second->do('BEGIN');
			acquire($second, 1, 'other');
			start_to_end($second, $statement, $how);
			if ($end)
			{
				ok(waits_for($pid, 'transactionid'), "$name: it waits");
				no_short_locks("$name: it waits");
				$end->($pid);
			}
			is(finish($second), $expected, "$name: it ends with $expected");
			no_short_locks($name);

			# without the ROLLBACK of the second
			$first->do('ROLLBACK');
			all_free($name);
			$_->disconnect for $first, $second;
		}
	}
}

# An acquire holds five of the locks, and others wait for one of them. First one of these ends, then the acquire. There is one
# connection: who finds no other slot to take waits for the credential's lock.
sub within_the_short_locks
{
	my $gate = $test->connect;
	set_limit(1);
	my @others = (
		[ 'acquire of the session',    $lock_session, acquire_query(1, 'stretched') ],
		[ 'deletion of the gateway',   $lock_gateway, 'DELETE FROM egress_gateway WHERE egress_gateway_id = 1' ],
		[ 'acquire of the credential', $lock_credential, acquire_query(1, 'another') ]);

	for my $way (ways_to_end())
	{
		my ($how, $expected, $end) = @$way;
		for my $other (@others)
		{
			my ($what, $lock, $statement) = @$other;
			my $name = "$how, $what that waits for its lock";

			$gate->do('SELECT pg_advisory_lock(1)');
			my $first = $test->connect;
			start($first, acquire_query(1, 'stretched'));
			ok(waits_for($first->{pg_pid}, 'advisory 1'), "$name: the other one is held up");

			my $second = $test->connect;
			my $pid = $second->{pg_pid};
			start_to_end($second, $statement, $how);
			if ($end)
			{
				ok(waits_for($pid, "advisory $lock"), "$name: it waits");
				$end->($pid);
			}
			is(finish($second), $expected, "$name: it ends with $expected");
			no_short_locks($name, $pid);

			$gate->do('SELECT pg_advisory_unlock(1)');
			is(finish($first), '', "$name: the other one goes on");
			$admin->do(q{SELECT egress_release_credential('stretched')});
			all_free($name);
			$_->disconnect for $first, $second;
		}

		# the one that holds the locks
		my $name = "$how, acquire that holds the locks";
		$gate->do('SELECT pg_advisory_lock(1)');
		my $first = $test->connect;
		my $pid = $first->{pg_pid};
		start_to_end($first, acquire_query(1, 'stretched'), $how);
		if ($end)
		{
			ok(waits_for($pid, 'advisory 1'), "$name: it is held up");
			is($admin->selectrow_array("$short_locks AND pid = $pid"), 5, "$name: it holds five locks");
			$end->($pid);
		}
		is(finish($first), $expected, "$name: it ends with $expected");
		no_short_locks($name);
		all_free($name);
		$gate->do('SELECT pg_advisory_unlock(1)');
		$first->disconnect;

		# the same in a savepoint: the transaction goes on, and holds nothing of it
		next if $how eq 'pg_terminate_backend';
		$name = "$how in a savepoint";
		$gate->do('SELECT pg_advisory_lock(1)');
		$first = $test->connect;
		$pid = $first->{pg_pid};
		$first->do('BEGIN');
		$first->do('SAVEPOINT attempt');
		start_to_end($first, acquire_query(1, 'stretched'), $how);
		if ($end)
		{
			ok(waits_for($pid, 'advisory 1'), "$name: it is held up");
			$end->($pid);
		}
		is(finish($first), $expected, "$name: it ends with $expected");

		# which takes the timeout back, too
		$first->do('ROLLBACK TO SAVEPOINT attempt');
		no_short_locks($name);
		all_free($name);
		$gate->do('SELECT pg_advisory_unlock(1)');
		is(acquire($first, 1, 'stretched'), 'alpha', "$name: it can try again");
		$first->do('ROLLBACK');
		all_free($name);
		$first->disconnect;
	}
	$gate->disconnect;
	is($admin->selectrow_array('SELECT count(*) FROM egress_lease'), 0, 'no lease is left');
	set_limit(3);
}

# An acquire that goes through thousands of full credentials is ended somewhere among them.
sub in_a_full_pool
{
	my $name = 'full pool';

	# as if each had been acquired in turn, which would take its time
	$admin->do(q{INSERT INTO egress_lease
			(session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
		SELECT 'crowd ' || i, 1 + i, 2, 'ana', now(), 1 FROM generate_series(1, ?) i}, undef, $crowd);
	my $dbh = $test->connect;
	my $begin = now();
	is(sqlstate { acquire($dbh, 2, 'newcomer') }, 'NG004', "$name: NG004");
	my $whole = now() - $begin;

	# only the last one has a connection: who comes to the end takes it
	$admin->do('SELECT egress_release_credential(session_id) FROM egress_lease WHERE egress_credential_id = ?',
		undef, $crowd + 1);
	my %ends;
	my $leaks = 0;
	my $deadline = now() + $seconds;
	while (now() < $deadline || (now() < $deadline + 30 && !($ends{57014} && $ends{lost})))
	{
		my $pid = $dbh->{pg_pid};
		my $terminate = rand() < 0.2;
		start($dbh, acquire_query(2, 'newcomer'));
		sleep rand(1.2 * $whole);
		$admin->do($terminate ? 'SELECT pg_terminate_backend(?)' : 'SELECT pg_cancel_backend(?)', undef, $pid);
		my $state = finish($dbh);
		$ends{ $state || 'acquired' }++;
		if ($terminate)
		{
			$dbh->disconnect;
			wait_until { !$admin->selectrow_array('SELECT true FROM pg_stat_activity WHERE pid = ?', undef, $pid) };
			$dbh = $test->connect;
		}
		else
		{
			# a cancel that came too late may end the next statement
			sqlstate { $dbh->do('SELECT pg_sleep(0.001)') };
		}

		my ($locks) = $admin->selectrow_array($short_locks);
		my ($leases) = $admin->selectrow_array(q{SELECT count(*) FROM egress_lease WHERE session_id = 'newcomer'});
		$leaks++ if $locks != 0 || $leases != ($state eq '' ? 1 : 0);
		$admin->do(q{SELECT egress_release_credential('newcomer')});
	}
	note "$name: $_: $ends{$_}" for sort keys %ends;
	is(join(' ', grep { !/^(acquired|57014|lost)$/ } keys %ends), '', "$name: it ended as it was told to");
	cmp_ok($ends{57014} // 0, '>', 0, "$name: some were cancelled");
	cmp_ok($ends{lost} // 0, '>', 0, "$name: some were terminated");
	is($leaks, 0, "$name: whoever was ended holds nothing, whoever was not has a lease");

	is(acquire($dbh, 2, 'newcomer'), "crowd $crowd", "$name: the last connection is free");
	is(sqlstate { acquire($dbh, 2, 'next') }, 'NG004', "$name: and there is not one more");
	$dbh->disconnect;
	$admin->do('SELECT egress_release_credential(session_id) FROM egress_lease');
	is($admin->selectrow_array('SELECT count(*) FROM egress_lease'), 0, "$name: no lease is left");
}

# Clients acquire and release as fast as they can; now and then one of them is cancelled or terminated.
sub in_busy_clients
{
	my $name = 'busy clients';
	my $folder = tempdir(CLEANUP => 1);
	my $stop = "$folder/stop";
	my @pids;
	for my $client (1 .. $clients)
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			srand($client);
			my $ok = eval { busy_client($client, $stop, "$folder/$client"); 1 };
			print STDERR "client $client: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		push @pids, $pid;
	}

	my %sent = (pg_cancel_backend => 0, pg_terminate_backend => 0);
	my $deadline = now() + $seconds;
	while (now() < $deadline || (now() < $deadline + 30 && grep { $_ < 20 } values %sent))
	{
		my $how = rand() < 0.7 ? 'pg_cancel_backend' : 'pg_terminate_backend';
		my ($done) = $admin->selectrow_array("SELECT $how(pid) FROM pg_stat_activity
			WHERE application_name = 'busy client' AND state <> 'idle' ORDER BY random() LIMIT 1");
		$sent{$how}++ if $done;
		sleep rand(0.01);
	}
	open my $stopped, '>', $stop or die "$stop: $!";
	close $stopped;
	my $died = 0;
	for my $pid (@pids)
	{
		waitpid($pid, 0);
		$died++ if $? != 0;
	}
	is($died, 0, "$name: every client came to its end");
	my $backends = q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'busy client'};
	ok(wait_until { !$admin->selectrow_array($backends) }, "$name: every backend is gone");

	# sessions that surely have a lease at the end, and those that may have: the answer was lost
	my (%sure, %maybe, %ends);
	for my $client (1 .. $clients)
	{
		open my $file, '<', "$folder/$client" or die "$folder/$client: $!";
		while (<$file>)
		{
			chomp;
			my ($kind, $what) = split /\t/;
			if    ($kind eq 'sure')  { $sure{$what} = 1 }
			elsif ($kind eq 'maybe') { $maybe{$what} = 1 }
			else                     { $ends{$what}++ }
		}
	}
	note "$name: $_: $sent{$_}" for sort keys %sent;
	note "$name: $_: $ends{$_}" for sort keys %ends;
	is(join(' ', grep { !/^(|NG004|57014|lost)$/ } keys %ends), '',
		"$name: only NG004 came, and what was done to them");
	cmp_ok($ends{$_} // 0, '>', 0, "$name: '$_' came") for '', 'NG004', '57014', 'lost';

	my %leases = map { $_->[0] => 1 } @{ $admin->selectall_arrayref('SELECT session_id FROM egress_lease') };
	is(join(' ', grep { !$sure{$_} && !$maybe{$_} } sort keys %leases), '', "$name: no lease without a holder");
	is(join(' ', grep { !$leases{$_} } sort keys %sure), '', "$name: no holder without a lease");
	no_short_locks($name);
	$admin->do('SELECT egress_release_credential(session_id) FROM egress_lease');
	all_free($name);
}

# One of them: a lease taken and given back, alone, in a transaction or in a savepoint, again and again.
sub busy_client
{
	my ($client, $stop, $path) = @_;
	my $parent = getppid();
	open my $file, '>', $path or die "$path: $!";
	my $connect = sub {
		my $dbh;

		# it may be terminated before it is there
		until (eval { $dbh = $test->connect; $dbh->do(q{SET application_name = 'busy client'}); 1 }) { sleep 0.01 }
		return $dbh;
	};
	my $dbh = $connect->();
	my $session;     # that has a lease
	my $sure;        # or at least may have one: the answer was lost
	my $serial = 0;

	# runs statements, in a transaction when there are several; returns '', an SQLSTATE, or 'lost'
	my $run = sub {
		my @statements = @_;
		my $state = sqlstate { $dbh->do($_) for @statements };
		if ($state ne '' && !$dbh->ping)
		{
			$dbh->disconnect;
			$dbh = $connect->();
			$state = 'lost';
		}
		elsif ($state ne '' && @statements > 1)
		{
			# a cancel that came too late may end it; then the connection goes, and the transaction with it
			if (sqlstate { $dbh->do('ROLLBACK') } ne '')
			{
				$dbh->disconnect;
				$dbh = $connect->();
			}
		}
		print $file "end\t$state\n";
		return $state;
	};

	while (!-e $stop && getppid() == $parent)
	{
		if (!defined $session)
		{
			my $wanted = "busy $client " . ++$serial;
			my $acquire = acquire_query(1, $wanted);
			my $state = $run->(
				  rand() < 0.4 ? ($acquire)
				: rand() < 0.5 ? ('BEGIN', $acquire, 'COMMIT')
				: ('BEGIN', 'SAVEPOINT s', $acquire, 'ROLLBACK TO SAVEPOINT s', $acquire, 'COMMIT'));
			$session = $wanted if $state eq '' || $state eq 'lost';
			$sure = $state eq '';
		}
		else
		{
			my $release = "SELECT egress_release_credential('$session')";
			my $state = $run->(rand() < 0.5 ? ($release) : ('BEGIN', $release, 'COMMIT'));
			undef $session if $state eq '';
			$sure = 0 if $state eq 'lost';
		}
	}
	print $file $sure ? 'sure' : 'maybe', "\t$session\n" if defined $session;
	close $file or die "cannot write: $!";
	$dbh->disconnect;
}
