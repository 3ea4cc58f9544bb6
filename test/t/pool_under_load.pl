# pool_under_load.pl -- two thousand credentials, most of them full, under load: no limit is passed, nothing is
# forgotten
#
# The rules: an acquire takes the first credential, by ascending id, that fits and has a connection free, and NG004
# comes only when none has; the menu and the explanations say the same, as of their snapshot. And as ever: leases of a
# limited credential never pass its limit, whatever happens beside.
#
# The credentials are spread over all kinds of subjects, so that each call draws from several hundred of the first
# provider, and from some tens of the second. Clients take, renew and give back connections in every way there is, by
# hand too. An administrator changes limits, switches, subjects and selections, inserts and deletes credentials, and
# moves users between groups; a sweeper sweeps. Then all stop. At rest, plain SQL says for each call what an acquire
# has to take and what the menu has to show (EgressPool.pm). Readers compare the menu during the load, too, in
# transactions that see an old state or their own changes, and on a hot standby.
#
# Between two loads the server crashes, indexes are built anew, tables are vacuumed, rewritten or truncated. At the end
# the standby goes on as a primary. (pool_each_way.pl goes through all ways in which something comes free, one by one.)
#
# The oracle of the limit is that of limit_under_load.pl: from the answer to an acquire until the statement is sent
# that may give the connection back, a client surely holds it. Where a lease has a ttl, until that is over, counted
# from when the acquire or the renewal was sent. No acquire may succeed while as many are held throughout it as the
# highest limit that was in force; and there must have been a moment at which the credential fitted.
#
# Environment: EGRESS_POOL_SEED, the seed of all dice; EGRESS_POOL_SECONDS, how long one load is (1);
# EGRESS_POOL_ROUNDS, how often all of it is done before the end (1; 5 with EGRESS_TEST_ALL=1).
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use List::Util qw(any max shuffle);
use POSIX ();
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);
use EgressTest;
use EgressPool;
use EgressCluster;

my $seed    = $ENV{EGRESS_POOL_SEED} // int(rand(2**31));
my $seconds = $ENV{EGRESS_POOL_SECONDS} // 1;
my $rounds  = $ENV{EGRESS_POOL_ROUNDS} // ($ENV{EGRESS_TEST_ALL} ? 5 : 1);
my $clients = 12;
my $pool    = 2000;

use constant FOREVER => 9**9**9;

my @users      = map { "u$_" } 1 .. 8;
my @workspaces = (undef, 'w1', 'w2', 'w3');
my %gateways   = (1 => [ 1 .. 4 ], 2 => [ 5 .. 7 ]);      # by provider
my %provider   = map { my $p = $_; map { $_ => $p } @{ $gateways{$p} } } keys %gateways;
my @gateways   = sort keys %provider;
my %members    = (u1 => ['g1'], u2 => ['g2'], u3 => [ 'g1', 'g3' ], u4 => ['g4'], u5 => [ 'g1', 'g5' ],
	u6 => [ 'g1' .. 'g5' ], u7 => [ 'g2', 'g4' ]);       # u8 is in no group
# what the administrator changes, and how often in a row of so many
my %changes    = (limit => 10, no_limit => 1, limit_again => 2, limits => 2, switch => 5, switches => 1, move => 5,
	move_and_back => 2, all_gateways => 3, selection => 3, insert => 3, delete => 2, delete_and_insert => 2,
	rename => 1, member => 2);
my @to_do;
my @isolation  = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');

note "EGRESS_POOL_SEED=$seed";
srand($seed);

my $server = cluster('server', 'max_connections = 35', 'max_prepared_transactions = 40', 'autovacuum_naptime = 1s',
	'log_statement = none', 'log_min_messages = log', 'statement_timeout = 60s');
$server->start;
my $folder = tempdir('egress-pool-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $admin = client($server);
create_world($admin);
my $standby = standby('standby', $server, 'hot_standby_feedback = on', 'max_standby_streaming_delay = -1',
	'wal_retrieve_retry_interval = 100ms');
$standby->start;
my $watcher = client($server);    # it lives as long as the server, and has seen everything

# what is done in the middle of a load, and after one
my @rounds = (
	[ 'a load' ],
	[ 'REINDEX CONCURRENTLY beside it', \&reindex_concurrently ],
	[ 'REINDEX', undef, sub { $admin->do('REINDEX TABLE egress_credential') } ],
	[ 'a crash', \&crash, \&recover ],
	[ 'VACUUM beside it', \&vacuum_beside,
		sub { $admin->do('VACUUM egress_credential, egress_lease, egress_lease_expiry') } ],
	[ 'VACUUM FULL', undef, sub { $admin->do('VACUUM FULL egress_credential') } ],
	[ 'another crash', \&crash, \&recover ]);

my ($round, %counts) = (0);
for (1 .. $rounds)
{
	run_round(@$_) for @rounds;
}
check_truncated();
check_promoted();
check_variety();
$server->stop;
done_testing();

# ------------------------------------------------------------------ the world

sub create_world
{
	my ($dbh) = @_;
	$dbh->do('CREATE EXTENSION egress');
	create_oracle($dbh);
	$dbh->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type)
			VALUES (1, 'Lanternway', 'custom'), (2, 'Quillport', 'custom')},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
			VALUES (1, 'everyone'), (2, 'everyone')},
		q{CREATE TABLE session (id text PRIMARY KEY, status text NOT NULL DEFAULT 'running')},
		q{SELECT egress_attach_sessions('session', 'id', $$NEW.status = 'stopped'$$)});
	$dbh->do('INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (?, ?, ?)',
		undef, $_, $provider{$_}, "gateway $_")
	  for @gateways;
	for my $user (sort keys %members)
	{
		$dbh->do('INSERT INTO egress_group_member VALUES (?, ?)', undef, $user, $_) for @{ $members{$user} };
	}

	$dbh->do('BEGIN');
	insert_credential($dbh, $_) for 1 .. $pool;
	$dbh->do('COMMIT');
	$dbh->do("ALTER TABLE egress_credential ALTER egress_credential_id RESTART WITH @{[ $pool + 1 ]}");
	fill($dbh);
	$dbh->do('ANALYZE');
}

# a lease for almost every connection, as a restore would insert them
sub fill
{
	my ($dbh) = @_;
	$dbh->do('SELECT setseed(?)', undef, rand());
	$dbh->do(<<'SQL', undef, $round, $clients);
INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, acquired_at, slot)
SELECT format('c%s-fill-%s-%s-%s', 1 + (c.egress_credential_id + slot) % $2::int, $1::int, c.egress_credential_id,
	slot), c.egress_credential_id, CASE c.egress_provider_id WHEN 1 THEN 1 ELSE 5 END, 'u1', clock_timestamp(), slot
FROM egress_credential c CROSS JOIN LATERAL generate_series(1, c.active_connection_limit) slot
WHERE c.limit_active_connections AND random() < 0.99
	AND NOT EXISTS (SELECT FROM egress_lease l WHERE (l.egress_credential_id, l.slot) = (c.egress_credential_id, slot))
SQL
	$dbh->do(q{INSERT INTO session SELECT session_id FROM egress_lease ON CONFLICT DO NOTHING});
}

# one of several, each with its weight
sub pick
{
	my @choice = @_;
	my $dice = rand();
	while (@choice > 2)
	{
		my ($what, $weight) = splice @choice, 0, 2;
		return $what if ($dice -= $weight) < 0;
	}
	return $choice[0];
}

# whom a credential is for: many for everyone and for groups, of the second provider none for everyone
sub random_subject
{
	my ($provider) = @_;
	my $type = $provider == 1 ? pick(everyone => 0.3, group => 0.45, user => 0.17, workspace => 0) :
	  pick(group => 0.7, user => 0.2, workspace => 0);
	return ($type, undef) if $type eq 'everyone';
	return ($type, $type eq 'user' ? $users[ rand(@users - 1) ] : $type eq 'workspace' ? $workspaces[ 1 + rand 3 ]
		: $provider == 1 ? 'g' . (1 + int rand 5) : pick(g1 => 0.14, g2 => 0.15, g3 => 0.27, g4 => 0.05, g5 => 0));
}

sub random_limit { return pick(0 => 0.05, 1 => 0.3, 2 => 0.25, 3 => 0.2, 4 => 0.1, 5 => 0) }

# insert a credential, and what it selects
sub insert_credential
{
	my ($dbh, $id) = @_;
	my $provider = rand() < 0.85 ? 1 : 2;
	my ($type, $subject) = random_subject($provider);
	my $selects = rand() < 0.25;
	my @row = ($id, $provider, "credential $id", $type, $subject, $selects ? 'f' : 't', rand() < 0.97 ? 't' : 'f', 't',
		random_limit());
	my $columns = '(egress_credential_id, egress_provider_id, name, subject_type, subject_id, allow_all_gateways,
		enabled, limit_active_connections, active_connection_limit)';
	if (rand() < 0.1)
	{
		$dbh->do("COPY egress_credential $columns FROM STDIN");
		$dbh->pg_putcopydata(join("\t", map { $_ // '\N' } @row) . "\n");
		$dbh->pg_putcopyend;
	}
	else
	{
		$dbh->do("INSERT INTO egress_credential $columns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (egress_credential_id) DO UPDATE SET enabled = EXCLUDED.enabled", undef, @row);
	}
	select_gateways($dbh, $id, $provider) if $selects;
}

# let a credential select one or two gateways
sub select_gateways
{
	my ($dbh, $id, $provider) = @_;
	my @choice = shuffle @{ $gateways{$provider} };
	$dbh->do('DELETE FROM egress_credential_gateway WHERE egress_credential_id = ?', undef, $id);
	$dbh->do('INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (?, ?)',
		undef, $id, $_)
	  for @choice[ 0 .. int rand 2 ];
}

# ------------------------------------------------------------------ a load, and the rest after it

# What is known of the configuration: versions (credential => list of [from, until, row or undef]), members
# ("user group" => list of [from, until, whether]). A version is in force at some time from "from" until "until".
sub read_configuration
{
	my %known = (versions => {}, members => {});
	for my $row (@{ read_credentials() })
	{
		$known{versions}{ $row->{id} } = [ [ 0, FOREVER, $row ] ];
	}
	$known{members}{"$_->[0] $_->[1]"} = [ [ 0, FOREVER, 1 ] ]
	  for @{ $admin->selectall_arrayref('SELECT user_id, group_id FROM egress_group_member') };
	return \%known;
}

sub read_credentials
{
	my ($ids) = @_;
	return $admin->selectall_arrayref(<<'SQL', { Slice => {} }, $ids);
SELECT c.egress_credential_id AS id, c.egress_provider_id AS provider, c.enabled::int, c.subject_type::text ||
	coalesce(' ' || c.subject_id, '') AS subject,
	CASE WHEN c.limit_active_connections THEN c.active_connection_limit END AS limit,
	CASE WHEN c.allow_all_gateways THEN 'all' ELSE (SELECT coalesce(string_agg(egress_gateway_id::text, ' '), '')
		FROM egress_credential_gateway s WHERE s.egress_credential_id = c.egress_credential_id) END AS gateways
FROM egress_credential c WHERE $1::bigint[] IS NULL OR c.egress_credential_id = ANY ($1)
SQL
}

# Everybody works until the time is over or the server is stopped. Then, at rest, everything is compared.
sub run_round
{
	my ($label, $beside, $afterwards) = @_;
	$round++;
	$label = "$label ($round)";
	my $known = read_configuration();
	my $held = held_now();
	my $stop = "$folder/$round.stop";

	# a snapshot from before, and no lock: what comes afterwards does not wait for it
	my $old = $beside ? undef : client($server);
	if ($old)
	{
		$old->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
		$old->do('SELECT 1');
	}

	my %work = map { ("client $_" => \&Client::work) } 1 .. $clients;
	$work{$_} = \&Client::read for 'reader', 'standby';
	$work{sweeper} = \&Client::sweep;
	my %pids;
	my $number = 0;
	for my $name (sort keys %work)
	{
		$number++;
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			srand($seed + 100 * $round + $number);
			my $ok = eval { $work{$name}->(Client->new($name, $stop)); 1 };
			diag "$name: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		$pids{$pid} = $name;
	}
	administrate(now() + $seconds * (0.7 + rand(0.6)), $known, $beside);
	open my $file, '>', $stop or die "$stop: $!";
	close $file;
	my @died;
	for my $pid (sort keys %pids)
	{
		waitpid($pid, 0);
		push @died, $pids{$pid} if $? != 0;
	}
	is("@died", '', "$label: everybody came to the end");

	my $result = what_they_wrote(keys %work);
	is_short([ sort keys %{ $result->{wrong} } ], "$label: nothing failed, and the menus were right");
	check_fitting($label, $result, $known);
	check_limits($label, $result, $known, $held);
	$afterwards->() if $afterwards;
	is($admin->selectrow_array('SELECT count(*) FROM pg_prepared_xacts'), 0, "$label: no transaction is left prepared");
	check_overlap_at_rest($label, $known, $held);
	if ($old)
	{
		is_short([ compare_reads($old, some_users(), \@workspaces) ],
			"$label: the menu as of a snapshot from before it all");
		$old->do('ROLLBACK');
	}
	check_standby($label);
	check_rest($label);
}

# credential => how many connections it has. What has expired is none, and its row may be there beside the lease that came
# after it.
sub held_now
{
	return { map { @$_ } @{ $admin->selectall_arrayref(<<'SQL') } };
SELECT egress_credential_id, count(*) FROM egress_lease LEFT JOIN egress_lease_expiry USING (session_id, egress_credential_id)
WHERE expires_at IS NULL OR expires_at > clock_timestamp() GROUP BY 1
SQL
}

sub what_they_wrote
{
	my %result = (intervals => {}, acquires => [], wrong => {});
	for my $name (@_)
	{
		open my $file, '<', "$folder/$round.$name" or die "$round.$name: $!";
		while (<$file>)
		{
			chomp;
			my ($kind, @fields) = split /\t/;
			if    ($kind eq 'interval') { push @{ $result{intervals}{ $fields[0] } }, [ @fields[ 1, 2 ] ] }
			elsif ($kind eq 'acquire')  { push @{ $result{acquires} }, [@fields] }
			elsif ($kind eq 'count')    { $counts{ $fields[0] } += $fields[1] }
			elsif ($kind eq 'wrong')    { $result{wrong}{"$name: @fields"} = 1 }
		}
	}
	return \%result;
}

# the versions that may have been in force at a moment of an acquire
sub in_force
{
	my ($versions, $from, $until) = @_;
	return map { $_->[2] } grep { $_->[0] <= $until && $_->[1] >= $from } @{ $versions // [] };
}

# each acquire was given a credential that fitted the call at some moment of it
sub check_fitting
{
	my ($label, $result, $known) = @_;
	my @wrong;
	for my $acquire (@{ $result->{acquires} })
	{
		my ($id, $from, $until, $user, $workspace, $gateway) = @$acquire;
		my @possible = grep {
			my $row = $_;
			defined $row && $row->{enabled} && $row->{provider} == $provider{$gateway} &&
			  ($row->{gateways} eq 'all' || any { $_ == $gateway } split / /, $row->{gateways}) &&
			  ($row->{subject} eq 'everyone' || $row->{subject} eq "user $user" ||
				$row->{subject} eq "workspace $workspace" ||
				$row->{subject} =~ /^group (.*)/ && any { $_ } in_force($known->{members}{"$user $1"}, $from, $until))
		} in_force($known->{versions}{$id}, $from, $until);
		push @wrong, "$user in $workspace was given credential $id for gateway $gateway" if !@possible;
	}
	my $acquires = @{ $result->{acquires} };
	is_short(\@wrong, "$label: each of $acquires acquires was given a credential that fitted");
}

# No acquire succeeded while as many as the limit were held throughout it. limit_under_load.pl says why that is the
# rule.
sub check_limits
{
	my ($label, $result, $known, $held) = @_;
	my %acquires;
	push @{ $acquires{ $_->[0] } }, $_ for @{ $result->{acquires} };
	my ($tight, @passed) = (0);
	for my $id (keys %acquires)
	{
		my $intervals = $result->{intervals}{$id} // [];
		my @versions = @{ $known->{versions}{$id} };
		for my $acquire (@{ $acquires{$id} })
		{
			my (undef, $sent, $answered) = @$acquire;
			my $limit = max 0, map { $_->{limit} // FOREVER } grep { defined } in_force(\@versions, $sent, $answered);
			my $throughout = grep { $_->[0] <= $sent && $_->[1] >= $answered } @$intervals;
			$tight++ if $throughout + 1 == $limit;
			push @passed, "credential $id, limit $limit, $throughout held" if $throughout >= $limit;
		}

		# where the limit was the same all the time, nor did several at once
		next if @versions > 1 || !defined $versions[0][2]{limit} || ($held->{$id} // 0) > $versions[0][2]{limit};
		my $most = most_at_once(@$intervals);
		push @passed, "credential $id, limit $versions[0][2]{limit}, $most at once" if $most > $versions[0][2]{limit};
	}
	is_short(\@passed, "$label: none of them passed a limit; $tight took the last connection");
	$counts{'took the last connection'} += $tight;
}

# nor do the tables say so
sub check_overlap_at_rest
{
	my ($label, $known, $held) = @_;
	my $now = held_now();
	my @passed;
	for my $id (keys %$now)
	{
		my @limits = map { $_->[2] ? $_->[2]{limit} // FOREVER : 0 } @{ $known->{versions}{$id} };
		my $allowed = max $held->{$id} // 0, @limits;
		push @passed, "credential $id: $now->{$id} of $allowed" if $now->{$id} > $allowed;
	}
	is_short(\@passed, "$label: nor are there more leases than that");
}

# At rest. Who asks first, those who read or those who take, and who is asked, an old backend or a new one, is left to
# chance.
sub check_rest
{
	my ($label) = @_;
	for my $part (shuffle(
		sub {
			my $dbh = rand() < 0.5 ? $watcher : client($server);
			is_short([ compare_reads($dbh, some_users(), \@workspaces) ],
				"$label: the menu and the explanations are right");
		},
		sub {
			my $dbh = rand() < 0.5 ? $watcher : client($server);
			my @calls = shuffle calls(some_users(), \@workspaces, \@gateways);
			is_short([ compare_acquires($dbh, $isolation[ rand 3 ], @calls) ],
				"$label: an acquire takes the first that is free, or none is");
		}))
	{
		$part->();
	}
	settle($admin);
	my @calls = shuffle calls(\@users, \@workspaces, \@gateways);
	my @wrong;
	for my $call (@calls[ 0 .. ($ENV{EGRESS_TEST_ALL} ? 15 : 4) ])
	{
		push @wrong, drain(rand() < 0.5 ? $watcher : $admin, $isolation[ rand 3 ], $call);
	}
	is_short(\@wrong, "$label: until all is taken");
}

# the standby, when it has all
sub check_standby
{
	my ($label) = @_;
	$server->wait_for_catchup($standby);
	my $dbh = client($standby);
	is_short([ compare_reads($dbh, some_users(), \@workspaces) ],
		"$label: the menu and the explanations are right on the standby");
}

# some of the users; all where it may take longer
sub some_users { return [ (shuffle @users)[ 0 .. ($ENV{EGRESS_TEST_ALL} ? $#users : 3) ] ] }

# ------------------------------------------------------------------ beside a load, and after it

sub reindex_concurrently { $admin->do('REINDEX TABLE CONCURRENTLY egress_credential'); $counts{reindexed}++ }
sub vacuum_beside { $admin->do('VACUUM ' . pick(egress_credential => 0.5, egress_lease => 0)); $counts{vacuumed}++ }
sub crash { $server->stop('immediate') }

# start the server, and end what was left prepared
sub recover
{
	$server->start;
	$admin = client($server);
	$watcher = client($server);
	for my $gid (@{ $admin->selectcol_arrayref('SELECT gid FROM pg_prepared_xacts ORDER BY gid') })
	{
		$admin->do((rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'");
		$counts{'prepared, and found after a crash'}++;
	}
}

# ------------------------------------------------------------------ the administrator

# Until the deadline. In the middle of it beside() is called, again and again where it does not end the connection.
sub administrate
{
	my ($deadline, $known, $beside) = @_;
	my $half = now() + ($deadline - now()) * (0.3 + rand(0.6));
	my @prepared;
	$admin->do(q{SET lock_timeout = '20ms'});
	while (now() < $deadline)
	{
		if ($beside && now() > $half)
		{
			# it may wait for what is prepared; a crash is to find that
			end_prepared_change($known, \@prepared) while @prepared && $beside != \&crash;
			$admin->do('RESET lock_timeout');
			$beside->();
			return if !$admin->ping;
			$admin->do(q{SET lock_timeout = '20ms'});
		}
		change($known, \@prepared);
		end_prepared_change($known, \@prepared) if @prepared && rand() < 0.3;
		$admin->do('CHECKPOINT') if rand() < 0.005;
		sleep rand(0.015);
	}
	end_prepared_change($known, \@prepared) while @prepared;
	$admin->do('RESET lock_timeout');
}

# One transaction of the administrator's
sub change
{
	my ($known, $prepared) = @_;
	my %tx = (ids => {}, members => {});
	my $state = sqlstate {
		$admin->do('BEGIN');
		for (0 .. rand() < 0.3)
		{
			my $undone = rand() < 0.15;
			$admin->do('SAVEPOINT part') if $undone;
			change_something(\%tx);
			$admin->do('ROLLBACK TO SAVEPOINT part') if $undone;
		}
		sleep rand(0.01) if rand() < 0.3;
	};
	if ($state ne '')
	{
		# a lease keeps its credential; who waits for a release or for a change that is prepared gives up
		die "$state: $DBI::errstr" if $state !~ /^(23503|55P03)$/;
		$admin->do('ROLLBACK');
		$counts{"change $state"}++;
		return;
	}
	my $how = pick(COMMIT => 0.75, ROLLBACK => 0.15, PREPARE => 0);
	$counts{"change, $how"}++;
	if ($how eq 'PREPARE')
	{
		my $gid = 'admin ' . ++$counts{'admin prepared'};
		$admin->do("PREPARE TRANSACTION '$gid'");
		push @$prepared, [ $gid, \%tx ];
		return;
	}
	end_change($known, \%tx, $how);
}

sub end_prepared_change
{
	my ($known, $prepared) = @_;
	my ($gid, $tx) = @{ shift @$prepared };
	end_change($known, $tx, (rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'");
}

# What it changed may be in force from before its commit is sent, and what was before until that is acknowledged.
sub end_change
{
	my ($known, $tx, $how) = @_;
	my $from = now();
	$admin->do($how);
	return if $how =~ /^ROLLBACK/;
	my $until = now();
	my %rows = map { $_->{id} => $_ } @{ read_credentials([ keys %{ $tx->{ids} } ]) };
	for my $id (keys %{ $tx->{ids} })
	{
		my $versions = $known->{versions}{$id} //= [ [ 0, FOREVER, undef ] ];
		$versions->[-1][1] = $until;
		push @$versions, [ $from, FOREVER, $rows{$id} ];
	}
	for my $member (keys %{ $tx->{members} })
	{
		my $versions = $known->{members}{$member} //= [ [ 0, FOREVER, 0 ] ];
		$versions->[-1][1] = $until;
		push @$versions, [ $from, FOREVER,
			$admin->selectrow_array('SELECT count(*) FROM egress_group_member WHERE (user_id, group_id) = (?, ?)',
				undef, split / /, $member) ];
	}
}

# the ids of some credentials for which a condition holds
sub some
{
	my ($number, $condition) = @_;
	return @{ $admin->selectcol_arrayref("SELECT egress_credential_id FROM egress_credential c WHERE $condition
		ORDER BY hashint8(egress_credential_id + ?) LIMIT ?", undef, int rand 1e9, $number) };
}

sub change_something
{
	my ($tx) = @_;
	if (!@to_do)
	{
		# first one of each, so that a slow machine has them all
		my $first = !$counts{'rounds of changes'}++;
		@to_do = shuffle map { ($_) x ($first ? 1 : $changes{$_}) } sort keys %changes;
	}
	my $what = shift @to_do;
	$counts{"change: $what"}++;
	return change_member($tx) if $what eq 'member';
	return insert_one($tx) if $what eq 'insert';
	my @ids = some($what =~ /s$/ ? 20 : 1, $what eq 'limit_again' ? 'NOT limit_active_connections'
		# never the first ones: nothing would be full
		: $what eq 'no_limit' ? "subject_type <> 'everyone' AND egress_credential_id > 1500"
		: $what =~ /^delete/ ? 'NOT EXISTS (SELECT FROM egress_lease l
			WHERE l.egress_credential_id = c.egress_credential_id)'
		: $what eq 'all_gateways' ? 'EXISTS (SELECT FROM egress_credential_gateway s
			WHERE s.egress_credential_id = c.egress_credential_id)'
		: $what eq 'selection' ? 'NOT allow_all_gateways' : 'true');
	return if !@ids;
	$tx->{ids}{$_} = 1 for @ids;
	my ($id) = @ids;
	my $update = sub {
		my ($set, @values) = @_;
		$admin->do("UPDATE egress_credential SET $set WHERE egress_credential_id = ANY (?)", undef, @values, \@ids);
	};
	my $provider = sub {
		value($admin, 'SELECT egress_provider_id FROM egress_credential WHERE egress_credential_id = ?', $id);
	};
	my $move = sub { $update->('subject_type = ?, subject_id = ?', @_) };

	if    ($what eq 'limit')        { $update->('active_connection_limit = ?', random_limit()) }
	elsif ($what eq 'no_limit')     { $update->('limit_active_connections = false') }
	elsif ($what eq 'limit_again')  { $update->('limit_active_connections = true') }
	elsif ($what eq 'limits')
	{
		$update->('active_connection_limit = least(5, greatest(0, active_connection_limit + ?))',
			rand() < 0.5 ? -1 : 1);
	}
	elsif ($what eq 'switch')       { $update->('enabled = NOT enabled') }
	elsif ($what eq 'switches')     { $update->('enabled = true') }
	elsif ($what eq 'rename')       { $update->(q{name = name || '.'}) }
	elsif ($what eq 'all_gateways') { $update->('allow_all_gateways = NOT allow_all_gateways') }
	elsif ($what eq 'selection')    { select_gateways($admin, $id, $provider->()) }
	elsif ($what eq 'move')         { $move->(random_subject($provider->())) }
	elsif ($what eq 'move_and_back')
	{
		my @old = $admin->selectrow_array(
			'SELECT subject_type, subject_id FROM egress_credential WHERE egress_credential_id = ?', undef, $id);
		$move->(random_subject($provider->()));
		$move->(@old);
	}
	elsif ($what =~ /^delete/)
	{
		$admin->do('DELETE FROM egress_credential WHERE egress_credential_id = ?', undef, $id);
		insert_credential($admin, $id) if $what eq 'delete_and_insert';
	}
}

# a new credential, or one in the place of one that was deleted
sub insert_one
{
	my ($tx) = @_;
	my $id = rand() < 0.3 ? undef : value($admin, <<'SQL', $pool);
SELECT min(id) FROM generate_series(1, $1::int) id
WHERE NOT EXISTS (SELECT FROM egress_credential WHERE egress_credential_id = id)
SQL
	$id //= value($admin, q{SELECT nextval('egress_credential_egress_credential_id_seq')});
	$tx->{ids}{$id} = 1;
	insert_credential($admin, $id);
}

# a user comes into a group, or leaves it
sub change_member
{
	my ($tx) = @_;
	my ($user, $group) = ($users[ rand(@users - 1) ], 'g' . (1 + int rand 5));
	$tx->{members}{"$user $group"} = 1;
	my $left = $admin->do('DELETE FROM egress_group_member WHERE (user_id, group_id) = (?, ?)', undef, $user, $group);
	$admin->do('INSERT INTO egress_group_member VALUES (?, ?)', undef, $user, $group) if $left == 0;
}

# ------------------------------------------------------------------ at the end

# TRUNCATE by hand: undone, and committed; and the pool filled again
sub check_truncated
{
	$round++;
	$admin->do('BEGIN');
	$admin->do('TRUNCATE egress_lease CASCADE');
	$admin->do('ROLLBACK');
	check_rest('TRUNCATE, undone');
	$admin->do('TRUNCATE egress_lease CASCADE');
	check_rest('TRUNCATE');
	fill($admin);
	check_rest('filled again');
}

# the standby takes over
sub check_promoted
{
	$watcher->disconnect;
	$server->stop;
	$server = $standby;
	$server->promote;
	$admin = client($server);
	$watcher = client($server);
	check_rest('the standby goes on');
}

# the load did what it was meant to do
sub check_variety
{
	note "$_: $counts{$_}" for sort keys %counts;
	my @missing = grep { !$counts{$_} } 'committed', 'rolled back', 'prepared', 'commit prepared', 'rollback prepared',
	  'savepoint undone', 'savepoint kept', 'full, and taken after a savepoint', 'released', 'released by trigger',
	  'deleted by hand', 'released and taken again', 'renewed', 'too late to renew', 'swept', 'menus read',
	  'menus read on the standby', 'menus read with leases of its own', 'took the last connection',
	  'prepared, and found after a crash', 'reindexed', 'vacuumed', 'change, COMMIT', 'change, ROLLBACK', 'change, PREPARE', (map { ("acquired at $_", "NG004 at $_") } @isolation),
	  map { "change: $_" } keys %changes;
	is(join(', ', @missing), '', 'the load had all in it that it should');
}

# ------------------------------------------------------------------ who works

# One of those who work: a connection, a file to write to, and the leases that it holds by what is committed. A lease
# has credential; since and until, between which it is surely held; for a lease without an end until is undef.
package Client;

use strict;
use warnings;
use EgressTest;
use EgressPool;
use List::Util qw(min shuffle);
use Time::HiRes qw(sleep);

use constant FOREVER => main::FOREVER;

# how much the clocks of client and server may drift apart during a ttl
use constant DRIFT => 0.002;

# what is sure to last longer than the load
use constant LONG => 3600;

sub new
{
	my ($class, $name, $stop) = @_;
	open my $file, '>', "$folder/$round.$name" or die "$round.$name: $!";
	my $self = bless {
		name     => $name,
		file     => $file,
		stop     => $stop,
		parent   => getppid(),
		serial   => 0,
		sent     => now(),
		lost     => 0,                   # the server is gone
		full     => 0,                   # the last acquire was told so
		holding  => {},                  # session => lease
		prepared => [],                  # transactions: {gid, taken, released, renewed}
		counts   => {},
	}, $class;
	$self->{dbh} = main::client($name eq 'standby' ? $standby : $server);
	$self->{dbh}->do(q{SET lock_timeout = '20s'});
	$self->{dbh}->do('SET synchronous_commit = off') if rand() < 0.5;
	return $self;
}

sub record
{
	my ($self, @fields) = @_;
	print { $self->{file} } join("\t", @fields), "\n";
}

sub count { $_[0]{counts}{ $_[1] } += $_[2] // 1 }

sub moment { return sprintf '%.9f', $_[0] }

sub wrong
{
	my ($self, $what) = @_;
	$self->record('wrong', $what =~ s/\s+/ /gr);
}

# run a statement, and remember when it was sent
sub do
{
	my ($self, @statement) = @_;
	$self->{sent} = now();
	return $self->{dbh}->do(@statement);
}

sub select
{
	my ($self, @query) = @_;
	$self->{sent} = now();
	return $self->{dbh}->selectrow_array(@query);
}

# run something; returns '', the SQLSTATE, or 'lost' when the server is gone
sub try
{
	my ($self, $code) = @_;
	my $state = &sqlstate($code);
	return $state if $state eq '' || $self->{dbh}->ping;
	$self->{lost} = 1;
	return 'lost';
}

# is that what may come? Else it is wrong.
sub may_fail
{
	my ($self, $state, $level) = @_;
	return if $state =~ /^(|lost|NG003|NG004)$/ || $state eq '40001' && $level eq 'SERIALIZABLE';
	$self->wrong("$state at $level: " . $self->{dbh}->errstr);
}

sub stopped { my ($self) = @_; return $self->{lost} || -e $self->{stop} || getppid() != $self->{parent} }

sub close_file
{
	my ($self) = @_;
	$self->record('count', $_, $self->{counts}{$_}) for sort keys %{ $self->{counts} };
	$self->{dbh}->disconnect;
	close $self->{file} or die "cannot write: $!";
}

# ------------------------------------------------------------------ reading, and sweeping

# The menu and the explanations, as of a snapshot that grows old while others work, or with leases of its own
sub read
{
	my ($self) = @_;
	while (!$self->stopped)
	{
		my $primary = $self->{name} ne 'standby';
		my $level = $isolation[ 1 + ($primary && rand() < 0.2) ];
		my @who = ([ $users[ rand @users ] ], [ $workspaces[ rand @workspaces ] ]);
		my $state = $self->try(sub {
			$self->do("BEGIN ISOLATION LEVEL $level");
			$self->do('SELECT 1');
			sleep rand(0.4) if rand() < 0.7;
			if ($primary && rand() < 0.3)
			{
				for my $call (shuffle calls(@who, \@gateways))
				{
					$self->do('SAVEPOINT own');
					my $taken = acquired($self->{dbh}, $call);
					$self->do('ROLLBACK TO SAVEPOINT own') if $taken !~ /^\d/ || rand() < 0.3;
					$self->count('menus read with leases of its own') if $taken =~ /^\d/;
				}
			}
			for (0 .. rand 2)
			{
				$self->wrong("$level: $_") for compare_reads($self->{dbh}, @who);
				$self->count($primary ? 'menus read' : 'menus read on the standby');
				sleep rand(0.05);
			}
		});
		$self->may_fail($state, $level);
		$self->try(sub { $self->do('ROLLBACK') }) if !$self->{lost};
		sleep rand(0.05);
	}
	$self->close_file;
}

sub sweep
{
	my ($self) = @_;
	while (!$self->stopped)
	{
		my $level = $isolation[ rand 3 ];
		my $ended = 0;
		my $state = $self->try(sub {
			return $self->do('CALL egress_sweep_leases(5)') if rand() < 0.3;
			$self->do("BEGIN ISOLATION LEVEL $level");
			($ended) = $self->select('SELECT egress_expire_leases(' . (rand() < 0.5 ? '' : 1 + int rand 5) . ')');
			sleep rand(0.02) if rand() < 0.5;
			$self->do(rand() < 0.3 ? 'ROLLBACK' : 'COMMIT');
			$self->count('swept', $ended);
		});
		$self->may_fail($state, $level);
		$self->try(sub { $self->do('ROLLBACK') }) if $state ne '' && !$self->{lost};
		sleep rand(0.3);
	}
	$self->close_file;
}

# ------------------------------------------------------------------ taking and giving back

sub work
{
	my ($self) = @_;
	$self->try(sub { $self->find_held });
	while (!$self->stopped)
	{
		$self->transaction;
		my $prepared = @{ $self->{prepared} };
		$self->finish_prepared if !$self->{lost} && $prepared > 0 && ($prepared > 1 || rand() < 0.3);
		sleep rand(0.01) if rand() < 0.5;
	}
	$self->finish_prepared while @{ $self->{prepared} } && !$self->{lost};

	# when the server was gone, what was under way may have become of either
	my $moment = $self->{lost} ? $self->{sent} : now();
	my %renewed = map { %{ $_->{renewed} } } @{ $self->{prepared} }, $self->{tx} // ();
	for my $session (sort keys %{ $self->{holding} })
	{
		my $lease = $self->{holding}{$session};
		$self->held_until($lease, min($moment, exists $renewed{$session} ? $renewed{$session} // FOREVER : FOREVER));
	}
	$self->close_file;
}

# What it holds since the loads before. Surely from now on: of what has expired by now there may be a successor.
sub find_held
{
	my ($self) = @_;
	my ($number) = $self->{name} =~ /(\d+)/;
	my $asked = now();
	for my $row (@{ $self->{dbh}->selectall_arrayref(<<'SQL', undef, "c$number-%") })
SELECT l.session_id, l.egress_credential_id, extract(epoch FROM e.expires_at - clock_timestamp())::float8
FROM egress_lease l LEFT JOIN egress_lease_expiry e USING (session_id) WHERE l.session_id LIKE $1
SQL
	{
		my ($session, $credential, $rest) = @$row;
		$self->{holding}{$session} = { credential => $credential, since => $asked,
			until => defined $rest ? $asked + $rest - DRIFT : undef };
	}
}

# the lease is surely held until this moment, and for what we know not any longer
sub held_until
{
	my ($self, $lease, $moment) = @_;
	my $until = min($moment, $lease->{until} // FOREVER);
	$self->record('interval', $lease->{credential}, moment($lease->{since}), moment($until))
	  if $until > $lease->{since};
}

# a lease that is not in a prepared transaction's hands, nor in those of this one, nor over for long
sub some_session
{
	my ($self, $tx) = @_;
	my %busy = map { $_ => 1 } map { (keys %{ $_->{released} }, keys %{ $_->{renewed} }) } @{ $self->{prepared} }, $tx;
	my $holding = $self->{holding};
	my $now = now();
	my @free = sort grep { !$busy{$_} } keys %$holding;
	for my $session (grep { ($holding->{$_}{until} // FOREVER) < $now - 0.05 } @free)
	{
		$self->held_until(delete $holding->{$session}, $now);
	}
	@free = grep { exists $holding->{$_} } @free;

	# those that end soon will soon be gone
	my @soon = grep { defined $holding->{$_}{until} } @free;
	@free = @soon if @soon && rand() < 0.4;
	return @free ? $free[ rand @free ] : undef;
}

# is it sure that the lease does not end by itself before the load does?
sub is_long
{
	my ($lease) = @_;
	return !defined $lease->{until} || $lease->{until} > now() + LONG / 2;
}

# One transaction: what it takes, gives back or renews, savepoints, and an end
sub transaction
{
	my ($self) = @_;
	my $level = $self->{level} = $isolation[ rand 3 ];

	# session => lease; renewed: session => its new end
	my $tx = $self->{tx} = { taken => {}, released => {}, renewed => {} };
	my $what = main::pick($self->{full} ? (give => 0.6, both => 0.15, renew => 0.1, take => 0)
		: (give => 0.2, both => 0.1, renew => 0.15, take => 0));
	$self->{full} = 0;
	my $state = $self->try(sub {
		$self->do("BEGIN ISOLATION LEVEL $level");

		# a snapshot, and some time for it to grow old
		if (rand() < 0.4)
		{
			$self->select('SELECT count(*) FROM pg_class');
			sleep rand(0.01);
		}
		for (0 .. rand 3)
		{
			$self->give($tx, $what eq 'both') if $what =~ /give|both/;
			$self->take($tx) if $what =~ /take|both/;
			$self->renew($tx) if $what eq 'renew';
		}
		sleep rand(0.02) if rand() < 0.3;
	});
	if ($state ne '')
	{
		# the statement that failed ended it all
		$self->failed($tx, $state, $level);
		return;
	}
	$self->count('released and taken again') if $what eq 'both';
	$self->end($tx);
}

sub failed
{
	my ($self, $tx, $state, $level) = @_;
	$self->count("$state at $level");
	$self->may_fail($state, $level);
	$self->{full} = 1 if $state eq 'NG004';
	$self->undo($tx, $self->{sent});
	return if $self->{lost};
	$self->try(sub { $self->do('ROLLBACK') });
	$self->back_again($tx);
}

# Acquire, now and then in a savepoint that is undone, or kept. There it may fail: then something else is tried.
sub take
{
	my ($self, $tx) = @_;
	return $self->acquire($tx) if rand() < 0.5;

	$self->do('SAVEPOINT attempt');
	my $session;
	my $state = $self->try(sub { $session = $self->acquire($tx) });
	if ($state =~ /^NG00[34]$/)
	{
		$self->count("$state at $self->{level}");
		$self->do('ROLLBACK TO SAVEPOINT attempt');
		$self->acquire($tx);
		$self->count('full, and taken after a savepoint');
	}
	elsif ($state ne '')
	{
		die "$state\n";
	}
	elsif (rand() < 0.5)
	{
		sleep rand(0.005) if rand() < 0.5;
		$self->held_until(delete $tx->{taken}{$session}, now());
		$self->do('ROLLBACK TO SAVEPOINT attempt');
		$self->count('savepoint undone');
		$self->acquire($tx);
	}
	else
	{
		$self->do('RELEASE SAVEPOINT attempt');
		$self->count('savepoint kept');
	}
}

# in seconds; some end soon
sub ttl { return main::pick(LONG, 0.4, 0.002 + 0.5 * rand()**2, 0) }

sub acquire
{
	my ($self, $tx) = @_;
	my ($user, $workspace) = ($users[ rand @users ], $workspaces[ rand @workspaces ]);
	my $gateway = $gateways[ rand @gateways ];
	my $ttl = rand() < 0.6 ? undef : ttl();
	my $session = $self->{name} =~ s/client /c/r . "-$round-" . ++$self->{serial};
	my ($credential) = $self->select(
		q{SELECT egress_credential_id FROM egress_acquire_credential($1, $2, $3, $4, $5 * interval '1 second')},
		undef, $user, $workspace, $gateway, $session, $ttl);
	my $answered = now();
	$tx->{taken}{$session} = { credential => $credential, since => $answered,
		until => defined $ttl ? $self->{sent} + $ttl - DRIFT : undef };
	$self->record('acquire', $credential, moment($self->{sent}), moment($answered), $user, $workspace // '-', $gateway);
	$self->count("acquired at $self->{level}");
	$self->do('INSERT INTO session VALUES (?)', undef, $session);
	return $session;
}

# Give a connection back, in one way or another. When the transaction acquires again, that may be given the same one.
sub give
{
	my ($self, $tx, $again) = @_;
	my $session = $self->some_session($tx) // return;
	my $lease = $self->{holding}{$session};
	my $long = is_long($lease);
	if ($again)
	{
		$self->held_until($lease, now());
		$lease->{since} = FOREVER;
	}
	$tx->{released}{$session} = $lease;

	# by hand only what nobody takes over meanwhile: a DELETE would wait for that
	my $how = main::pick($long ? (hand => 0.15, subscription => 0.05) : (), trigger => 0.4, function => 0);
	if ($how eq 'function')
	{
		my ($ended) = $self->select('SELECT egress_release_credential(?)', undef, $session);
		$self->wrong("$session had no lease to release") if !$ended && now() < ($lease->{until} // FOREVER);
		$self->count('released');
		$self->do('DELETE FROM session WHERE id = ?', undef, $session) if rand() < 0.5;
	}
	elsif ($how eq 'trigger')
	{
		$self->do(rand() < 0.5 ? 'DELETE FROM session WHERE id = ?'
			: q{UPDATE session SET status = 'stopped' WHERE id = ?}, undef, $session);
		$self->count('released by trigger');
	}
	else
	{
		# as a subscription does it: both rows, and without the foreign key's cascade
		$self->do('SET LOCAL session_replication_role = replica') if $how eq 'subscription';
		$self->do('DELETE FROM egress_lease_expiry WHERE session_id = ?', undef, $session) if $how eq 'subscription';
		my $deleted = $self->do('DELETE FROM egress_lease WHERE session_id = ?', undef, $session);
		$self->do('SET LOCAL session_replication_role = origin') if $how eq 'subscription';
		$self->wrong("$session had no lease to delete") if $deleted != 1;
		$self->count('deleted by hand');
	}
}

# Until it is known what becomes of a renewal, the lease is surely held until the earlier of both ends.
sub renew
{
	my ($self, $tx) = @_;
	my $session = $self->some_session($tx) // return;
	my $lease = $self->{holding}{$session};
	my $ttl = rand() < 0.2 ? undef : ttl();
	my ($renewed) = $self->select(q{SELECT egress_renew_lease($1, $2 * interval '1 second') IS NOT NULL},
		undef, $session, $ttl);
	if ($renewed)
	{
		$tx->{renewed}{$session} = defined $ttl ? $self->{sent} + $ttl - DRIFT : undef;
		$self->count('renewed');
		return;
	}
	$self->wrong("$session had no lease to renew") if now() < ($lease->{until} // FOREVER);
	$self->count('too late to renew');
}

# COMMIT, ROLLBACK, a lost connection or PREPARE TRANSACTION
sub end
{
	my ($self, $tx) = @_;
	my $how = main::pick(COMMIT => 0.65, ROLLBACK => 0.15, lost => 0.02, prepare => 0);
	if ($how eq 'ROLLBACK' || $how eq 'lost')
	{
		$self->undo($tx, now());
		my $state = $self->try(sub {
			return $self->do('ROLLBACK') if $how eq 'ROLLBACK';
			my $old = $self->{dbh}{pg_pid};
			$self->{dbh}->disconnect;
			$self->{dbh} = main::client($server);
			# who was asked to end does so in a moment
			sleep 0.002 while $self->select('SELECT count(*) FROM pg_stat_activity WHERE pid = ?', undef, $old);
		});
		return if $state ne '';
		$self->back_again($tx);
		$self->count($how eq 'lost' ? 'lost' : 'rolled back');
		return;
	}

	my $gid = "$self->{name} $round " . ++$self->{serial};
	$self->give_back($tx) if $how eq 'COMMIT';
	my $state = $self->try(sub { $self->do($how eq 'COMMIT' ? 'COMMIT' : "PREPARE TRANSACTION '$gid'") });
	if ($state ne '')
	{
		$self->failed($tx, $state, $self->{level});
	}
	elsif ($how eq 'COMMIT')
	{
		$self->keep($tx);
		$self->count('committed');
	}
	else
	{
		push @{ $self->{prepared} }, { %$tx, gid => $gid };
		$self->count('prepared');
	}
}

# COMMIT PREPARED or ROLLBACK PREPARED of one of its prepared transactions
sub finish_prepared
{
	my ($self) = @_;
	my $tx = $self->{tx} = shift @{ $self->{prepared} };
	my $commit = rand() < 0.6;
	$commit ? $self->give_back($tx) : $self->undo($tx, now());
	my $state = $self->try(sub { $self->do(($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$tx->{gid}'") });
	$self->may_fail($state, 'READ COMMITTED');
	return if $state ne '';
	$commit ? $self->keep($tx) : $self->back_again($tx);
	$self->count($commit ? 'commit prepared' : 'rollback prepared');
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

# after the commit: what it gave back is gone, what it took is ours, and has been all the time; what it renewed has its
# new end
sub keep
{
	my ($self, $tx) = @_;
	my $moment = now();
	delete $self->{holding}{$_} for keys %{ $tx->{released} };
	$self->{holding}{$_} = $tx->{taken}{$_} for keys %{ $tx->{taken} };
	for my $session (keys %{ $tx->{renewed} })
	{
		my $lease = $self->{holding}{$session} // next;
		if (defined $lease->{until} && $lease->{until} < $moment)
		{
			$self->held_until($lease, $moment);
			$lease->{since} = $moment;
		}
		$lease->{until} = $tx->{renewed}{$session};
	}
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
