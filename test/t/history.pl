# history.pl -- a million connections that have ended: asking for those of a moment, pruning, and what autovacuum does
#
#  - egress_connections_at() answers from the index, with and without statistics, and in less than 50 ms;
#  - egress_prune_history() waits for nobody: another prune that is open, and leases that begin and end. A million
#    rows go in batches that each take a moment, while sessions acquire and release under a lock_timeout;
#  - autovacuum comes as early as the tables' settings say, and the tables stay as small as what is in them.
#
# test/pgtap/history.sql has the rules. Environment: EGRESS_HISTORY_ROWS, instead of a million.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use List::Util qw(min max sum0);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

my $rows = $ENV{EGRESS_HISTORY_ROWS} // 1_000_000;
my $batch = int($rows / 20);
my $gateways = 200;
# what no statement here may wait for a lock
my $patience = '1s';

my $test = EgressTest->new('history');
my $admin = $test->connect;

END
{
	my $status = $?;
	eval {
		$admin->do('ALTER SYSTEM RESET autovacuum_naptime');
		$admin->do('SELECT pg_reload_conf()');
	} if $admin;
	$? = $status;
}

create_world();
connections_at();
prunes_that_meet();
a_million_go();
autovacuum();

done_testing();

sub create_world
{
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom')},
		qq{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			SELECT n, 1, 'gateway ' || n FROM generate_series(1, $gateways) n},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')},
		q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
				limit_active_connections, active_connection_limit)
			VALUES (1, 1, 'alpha', 'everyone', true, 100000)});
	insert_history($rows);
}

# so many rows, one every 8 seconds in the past, which lasted up to 4 hours
sub insert_history
{
	my ($count) = @_;
	$admin->do(q{INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id,
			gateway_name, provider_name, user_id, acquired_at, released_at, release_reason)
		SELECT 'session ' || n, 1, 'alpha', gateway, 'gateway ' || gateway, 'Lanternway', 'user ' || n % 1000,
			acquired_at, acquired_at + random() * interval '4 hours', 'released'
		FROM generate_series(1, ?::bigint) n, LATERAL (SELECT 1 + n * 7919 % ?, now() - interval '2 days' - n * interval '8 seconds')
			lease (gateway, acquired_at)}, undef, $count, $gateways);
}

# ---------------------------------------------------------------------------------------------------------------

sub connections_at
{
	my $moment = value($admin, q{SELECT now() - interval '2 days' - ?::bigint * interval '4 seconds'}, $rows);
	my %queries = (
		'through one gateway' => [ 'SELECT count(*) FROM egress_connections_at(?, 42)', $moment ],
		'through any gateway' => [ 'SELECT count(*) FROM egress_connections_at(?)', $moment ]);
	my %expected = (
		'through one gateway' => value($admin, q{SELECT count(*) FROM egress_lease_history
			WHERE acquired_at <= $1 AND released_at > $1 AND egress_gateway_id = 42}, $moment),
		'through any gateway' => value($admin, q{SELECT count(*) FROM egress_lease_history
			WHERE acquired_at <= $1 AND released_at > $1}, $moment));
	cmp_ok($expected{'through one gateway'}, '>', 0, 'somebody was connected');

	for my $statistics ('without statistics', 'with statistics')
	{
		$admin->do('ANALYZE egress_lease_history') if $statistics eq 'with statistics';
		for my $what (sort keys %queries)
		{
			# what a transaction itself has read so far
			my $dbh = $test->connect;
			$dbh->do('BEGIN');
			is(value($dbh, @{ $queries{$what} }), $expected{$what}, "$what, $statistics: the right number");
			my ($seq, $fetched) = $dbh->selectrow_array(q{SELECT seq_scan, idx_tup_fetch
				FROM pg_stat_xact_user_tables WHERE relname = 'egress_lease_history'});
			is($seq, 0, "$what, $statistics: the table is not scanned");
			cmp_ok($fetched, '<=', 2 * $expected{$what} + 10, "$what, $statistics: the index finds few other rows");
			$dbh->do('COMMIT');

			my @times;
			for (1 .. 5)
			{
				my $begin = now();
				value($dbh, @{ $queries{$what} });
				push @times, 1000 * (now() - $begin);
			}
			note sprintf '%s, %s: %d connections of %d in %.1f ms', $what, $statistics, $expected{$what}, $rows, min(@times);
			cmp_ok(min(@times), '<', 50, "$what, $statistics: in less than 50 ms");
			$dbh->disconnect;
		}
	}
}

# A prune is open, of a batch or of all; others go on, and so do leases.
sub prunes_that_meet
{
	for my $open (q{egress_prune_history('1 day', 100)}, q{egress_prune_history('1 day')})
	{
		my $first = $test->connect;
		my $second = $test->connect;
		$second->do("SET lock_timeout = '$patience'");
		$first->do('BEGIN');
		my $pruned = value($first, "SELECT $open");
		is($pruned, $open =~ /100/ ? 100 : $rows, "$open has removed what it should");

		is(sqlstate { $second->do(q{SELECT FROM egress_acquire_credential('ana', NULL, 1, 'desk')}) }, '',
			"$open is open: an acquire goes on");
		is(sqlstate { is(value($second, q{SELECT egress_release_credential('desk')}), 1, 'and a release') }, '',
			"$open is open: a release goes on");
		$second->do('BEGIN');
		my $more = 0;
		is(sqlstate { $more = value($second, q{SELECT egress_prune_history('1 day', 50)}) }, '',
			"$open is open: a batch goes on");
		is($more, $open =~ /100/ ? 50 : 0, 'and takes other rows');
		$_->do('ROLLBACK') for $first, $second;

		# what was taken and given back is new history
		$first->do(q{DELETE FROM egress_lease_history WHERE session_id = 'desk'});
		$_->disconnect for $first, $second;
	}
	is(value($admin, 'SELECT count(*) FROM egress_lease_history'), $rows, 'all was rolled back');
}

# All goes in batches, by two at once, while sessions acquire and release.
sub a_million_go
{
	my (@pids, @readers);
	my $clients = 2;
	my $begin = now();
	for my $client (1 .. 2 + $clients)
	{
		pipe my $reader, my $writer or die "pipe: $!";
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			close $reader;
			my $ok = eval {
				my @result = $client <= 2 ? prune_all() : lease_until_pruned("client $client");
				syswrite $writer, join(' ', @result);
				1;
			};
			print STDERR "client $client: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		close $writer;
		push @pids, $pid;
		push @readers, $reader;
	}
	my @results = map { my $line = readline $_; [ split ' ', $line // '' ] } @readers;
	my $died = 0;
	for my $pid (@pids)
	{
		waitpid $pid, 0;
		$died++ if $? != 0;
	}
	is($died, 0, "nobody waited $patience for a lock");

	my @prunes = @results[ 0, 1 ];
	my @leases = @results[ 2 .. $#results ];
	is(sum0(map { $_->[0] } @prunes), $rows, 'each row was removed, and by one of two');
	is(value($admin, q{SELECT count(*) FROM egress_lease_history WHERE session_id LIKE 'session %'}), 0, 'none is left');
	cmp_ok(min(map { $_->[0] } @leases), '>=', 5, 'leases began and ended meanwhile');
	is(value($admin, 'SELECT count(*) FROM egress_lease_history'), sum0(map { $_->[0] } @leases), 'each has its history');
	note sprintf '%d rows in %d batches by two in %.1f s; the longest batch %.2f s; meanwhile %d leases, the longest call %.2f s',
	  $rows, sum0(map { $_->[1] } @prunes), now() - $begin, max(map { $_->[2] } @prunes),
	  sum0(map { $_->[0] } @leases), max(map { $_->[1] } @leases);
	cmp_ok(max(map { $_->[2] } @prunes), '<', 5, 'the longest batch, which is how long a lock is held, took less than 5 s');
	$admin->do('TRUNCATE egress_lease_history');
}

# how many rows were removed, in how many batches, how long the longest took
sub prune_all
{
	my $dbh = $test->connect;
	$dbh->do("SET lock_timeout = '$patience'");
	my ($removed, $batches, $longest) = (0, 0, 0);
	for (;;)
	{
		my $begin = now();
		my $count = value($dbh, "SELECT egress_prune_history('1 day', $batch)");
		$longest = max($longest, now() - $begin);
		last if $count == 0;
		$removed += $count;
		$batches++;
	}
	return ($removed, $batches, $longest);
}

# how many leases began and ended until nothing was left to prune, and how long the longest call took
sub lease_until_pruned
{
	my ($session) = @_;
	my $dbh = $test->connect;
	$dbh->do("SET lock_timeout = '$patience'");
	my ($leases, $longest) = (0, 0);
	while (value($dbh, q{SELECT EXISTS (SELECT FROM egress_lease_history WHERE released_at < now() - interval '1 day')}))
	{
		for my $call (q{SELECT credential_name FROM egress_acquire_credential('ana', NULL, 1, ?)},
			'SELECT egress_release_credential(?)')
		{
			my $begin = now();
			value($dbh, $call, $session) or die "$call failed\n";
			$longest = max($longest, now() - $begin);
		}
		$leases++;
	}
	return ($leases, $longest);
}

# ---------------------------------------------------------------------------------------------------------------

# how often autovacuum came: its VACUUMs, or its ANALYZEs
sub runs
{
	my ($table, $what) = @_;
	return value($admin, "SELECT $what FROM pg_stat_user_tables WHERE relname = ?", $table);
}

# does autovacuum come to a table after this has been done to it? It counts only what the defaults would let lie.
sub autovacuum_comes
{
	my ($table, $name, $do, $what) = @_;
	$what //= 'autovacuum_count';
	my $before = runs($table, $what);
	$do->();
	ok(wait_until { runs($table, $what) > $before }, $name);
}

# VACUUM, and autovacuum has nothing to do: what this session has done is counted before, and not after it
sub vacuum
{
	my ($options, $tables) = @_;
	$admin->do('SELECT pg_stat_force_next_flush()');
	$admin->do("VACUUM ($options) $tables");
}

sub pages { return value($admin, q{SELECT pg_relation_size(?::regclass) / current_setting('block_size')::int}, $_[0]) }

sub autovacuum
{
	$admin->do(q{ALTER SYSTEM SET autovacuum_naptime = '1s'});
	$admin->do('SELECT pg_reload_conf()');

	# 50,000 leases, all that the credential may have, so that slots are used again; 2,000 end and begin anew in each
	# round. The defaults would wait until 10,050 have ended.
	my $leases = 50_000;
	my $churn = 2_000;
	$admin->do('UPDATE egress_credential SET active_connection_limit = ?', undef, $leases);
	$admin->do(q{INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
		SELECT 'live ' || n, 1, 1, 'ana', now(), n FROM generate_series(1, ?) n}, undef, $leases);
	$admin->do(q{INSERT INTO egress_lease_expiry SELECT session_id, 1, 'infinity' FROM egress_lease});
	vacuum('ANALYZE', 'egress_lease, egress_lease_expiry');
	my %pages = map { $_ => [] } qw(egress_lease egress_lease_egress_credential_id_slot_key egress_lease_expiry);
	for my $round (1 .. 4)
	{
		my $expiry = runs('egress_lease_expiry', 'autovacuum_count');
		autovacuum_comes('egress_lease', "autovacuum comes to egress_lease when $churn of $leases leases have ended", sub {
			my $sessions = "SELECT 'live ' || n AS session_id FROM generate_series(1, $churn) n";
			$admin->do("SELECT egress_release_credential(session_id) FROM ($sessions) s");
			$admin->do("DELETE FROM egress_lease_expiry WHERE session_id IN ($sessions)");
			$admin->do("SELECT FROM ($sessions) s, egress_acquire_credential('ana', NULL, 1, session_id)");
			$admin->do("INSERT INTO egress_lease_expiry SELECT session_id, 1, 'infinity' FROM ($sessions) s");
		});
		ok(wait_until { runs('egress_lease_expiry', 'autovacuum_count') > $expiry }, 'and to egress_lease_expiry');
		push @{ $pages{$_} }, pages($_) for keys %pages;
	}
	for my $what (sort keys %pages)
	{
		note "$what: pages after each round: @{ $pages{$what} }";
		cmp_ok($pages{$what}[-1], '<=', $pages{$what}[0] + 8, "$what: what has ended gives room to what begins");
	}

	# 20,000 rows of history: the defaults would wait for 5,000 more, and for 4,600 that were pruned
	my $size = 20_000;
	$admin->do('TRUNCATE egress_lease_history');
	insert_history($size);
	vacuum('FREEZE, ANALYZE', 'egress_lease_history');
	autovacuum_comes('egress_lease_history', 'autovacuum comes when 3,000 rows of history were added',
		sub { insert_history(3_000) });
	$admin->do('CREATE EXTENSION pg_visibility');
	my ($frozen, $all) = $admin->selectrow_array(q{SELECT count(*) FILTER (WHERE all_frozen), count(*)
		FROM pg_visibility_map('egress_lease_history')});
	note "$frozen of $all pages of egress_lease_history are frozen";
	cmp_ok($frozen, '>=', $all - 2, 'and has frozen it');
	vacuum('ANALYZE', 'egress_lease_history');
	my $analyzed = runs('egress_lease_history', 'autoanalyze_count');
	autovacuum_comes('egress_lease_history', 'it comes when 1,000 were pruned',
		sub { $admin->do(q{SELECT egress_prune_history('1 day', 1000)}) });
	ok(wait_until { runs('egress_lease_history', 'autoanalyze_count') > $analyzed }, 'with new statistics');

	# no VACUUM gives the end of a table back to the system: that takes a lock for which leases would wait
	for my $table (qw(egress_lease_expiry egress_lease egress_lease_history))
	{
		my $pages = pages($table);
		$admin->do("DELETE FROM $table");
		$admin->do("VACUUM $table");
		is(pages($table), $pages, "$table is not truncated");
	}
}
