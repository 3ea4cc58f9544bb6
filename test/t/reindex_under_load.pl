# reindex_under_load.pl -- REINDEX TABLE CONCURRENTLY of the extension's tables while sessions take, renew and give back leases
#
# The rule: it is everyday work, and no call fails for it. A transaction that has a table's lock already learns that an index
# has given its name to another one only when it asks for a lock that it does not have: that of the index itself.
#
# Six clients, each with short transactions of several statements and with single statements, and beside them a
# REINDEX of each table in turn. The clients have more connections than they need, so no error of theirs is expected.
#
# Environment: EGRESS_LOAD_SECONDS, how long it is (4).
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use constant CLIENTS => 6;

my $seconds = $ENV{EGRESS_LOAD_SECONDS} // 4;
my $folder  = tempdir(CLEANUP => 1);

# those that every transaction uses more often than others
my @tables = qw(egress_lease_expiry egress_lease egress_lease_expiry egress_provider egress_credential egress_gateway
  egress_lease_expiry egress_provider_mapping egress_group_member egress_lease_history);

my $test = EgressTest->new('reindex_under_load');
my $dbh = $test->connect;
$dbh->do($_) for (
	q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom')},
	q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'nl-ams-01')},
	q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')},
	q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections,
			active_connection_limit) VALUES (1, 'pool', 'everyone', true, 100)});

my $deadline = now() + $seconds;
my @pids = map { start($_) } 1 .. CLIENTS;
my ($reindexed, @failed) = (0);
while (now() < $deadline)
{
	my $state = sqlstate { $dbh->do('REINDEX TABLE CONCURRENTLY ' . $tables[ $reindexed % @tables ]) };
	push @failed, $state if $state;
	$reindexed++;
}
my $died = 0;
for my $pid (@pids)
{
	waitpid($pid, 0);
	$died++ if $? != 0;
}

my ($calls, %errors) = (0);
for my $file (glob "$folder/*")
{
	open my $handle, '<', $file or die "$file: $!";
	while (<$handle>)
	{
		chomp;
		if (/^calls (\d+)$/) { $calls += $1 } else { $errors{$_}++ }
	}
}
is($died, 0, 'all clients came to the end');
is_deeply(\@failed, [], "no REINDEX failed ($reindexed)");
cmp_ok($reindexed, '>', 5, 'and there were several');
cmp_ok($calls, '>', 100, "while the clients made calls ($calls)");
is_deeply([ map { "$errors{$_} times $_" } sort keys %errors ], [], 'of which none failed');
is(value($dbh, 'SELECT count(*) FROM egress_lease'), 0, 'no lease is left');
done_testing();

# start NUMBER: a client that writes its errors, and how many calls it made, to a file
sub start
{
	my ($number) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid != 0;
	my $ok = eval {
		open my $out, '>', "$folder/$number" or die "$number: $!";
		my $connection = $test->connect;
		my $calls = 0;
		my $call = sub {
			my ($sql, @values) = @_;
			$calls++;
			$connection->selectrow_array($sql, undef, @values);
		};
		while (now() < $deadline)
		{
			my $session = "$number-$calls";
			my $ttl = rand() < 0.5 ? undef : '1 minute';
			my @steps = (
				sub { $call->('SELECT * FROM egress_acquire_credential(?, NULL, 1, ?, ?)', $number, $session, $ttl) },
				sub { $call->(q{SELECT egress_renew_lease(?, '2 minutes')}, $session) },
				sub { $call->('SELECT * FROM egress_available_gateways(?)', $number) },
				sub { $call->('SELECT egress_release_credential(?)', $session) });
			# as single statements, each in a transaction of its own, and as two transactions
			my @transactions = rand() < 0.5 ? map { [$_] } @steps : ([ @steps[ 0, 1 ] ], [ @steps[ 1 .. 3 ] ]);
			for my $transaction (@transactions)
			{
				next if eval {
					$connection->begin_work;
					for my $step (@$transaction)
					{
						$step->();
						sleep rand 0.02 if @$transaction > 1;
					}
					$connection->commit;
					1;
				};
				print $out $connection->errstr =~ s/\n.*//sr, "\n";
				$connection->rollback;
				last;
			}
			# what an error has left
			$connection->do('SELECT egress_release_credential(?)', undef, $session);
		}
		print $out "calls $calls\n";
		close $out or die "$number: $!";
		1;
	};
	print STDERR "client $number: $@" if !$ok;
	POSIX::_exit($ok ? 0 : 1);
}
