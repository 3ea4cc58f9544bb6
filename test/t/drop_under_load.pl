# drop_under_load.pl -- DROP EXTENSION while sessions take, renew and give back leases
#
# The rule: it waits for the transactions that use the extension, and those that come later wait for it. Nobody ends in a
# deadlock: every function locks egress_provider first, and so does who drops the extension, as doc/operations.md says.
#
# Some rounds, each with an extension of its own and six clients, who go on until their calls fail, because there is no
# extension any more. In the last of them a session table is attached, which is detached first, as that page says.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use constant { CLIENTS => 6, ROUNDS => 6 };

my $folder = tempdir(CLEANUP => 1);
my $test = EgressTest->new('drop_under_load');
my $dbh = $test->connect;
$dbh->do('DROP EXTENSION egress');
$dbh->do('CREATE TABLE session (id text)');
$dbh->do('CREATE TABLE membership (user_id text, group_id text, PRIMARY KEY (user_id, group_id))');

for my $round (1 .. ROUNDS)
{
	my $attached = $round > ROUNDS - 2;
	# DROP EXTENSION by itself finds the tables in another order then
	$dbh->do($_) for (
		'VACUUM pg_depend',
		'CREATE EXTENSION egress',
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom')},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'nl-ams-01')},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')},
		q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections,
				active_connection_limit) VALUES (1, 'pool', 'everyone', true, 100)});
	$dbh->do(q{SELECT egress_attach_sessions('session', 'id'),
			egress_attach_group_members('membership', 'user_id', 'group_id')}) if $attached;

	my @pids = map { start($round, $_, $attached) } 1 .. CLIENTS;
	my $all_there = wait_until { (() = glob "$folder/$round-*-begun") == CLIENTS };
	sleep 0.2;
	my $state = sqlstate {
		$dbh->do($_)
		  for $attached ? (q{SELECT egress_detach_sessions('session')}, q{SELECT egress_detach_group_members('membership')}) : ();
		$dbh->do($_) for 'BEGIN', 'LOCK TABLE egress_provider', 'DROP EXTENSION egress', 'COMMIT';
	};
	$dbh->do('ROLLBACK') if $state ne '';
	ok($all_there && $state eq '', "round $round: the extension is dropped" . ($attached ? ', detached before' : ''))
	  or diag "SQLSTATE $state";
	wait_until { !sqlstate { $dbh->do('DROP EXTENSION IF EXISTS egress CASCADE') } };
	waitpid($_, 0) for @pids;
	my @states = map { open my $handle, '<', $_ or die "$_: $!"; <$handle> } glob "$folder/$round-*-ended";
	is(@states, CLIENTS, 'and all clients learn it');
	# no function, or what it needs was dropped under it
	is_deeply([ grep { !/^(42883|42P01|42704|3F000)$/ } @states ], [], "by an error that says so (@states)");
}
done_testing();

# start ROUND, NUMBER, ATTACHED: a client that leaves the SQLSTATE of its end in a file
sub start
{
	my ($round, $number, $attached) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid != 0;
	my $ok = eval {
		my $connection = $test->connect;
		my $state = '';
		for (my $n = 0; !$state; $n++)
		{
			my $session = "$round-$number-$n";
			my $give_back = $attached ? 'DELETE FROM session WHERE id = ?' : 'SELECT egress_release_credential(?)';
			my @steps = (
				sub { $connection->do(q{SELECT * FROM egress_available_gateways(?)}, undef, $number) },
				sub {
					return if !$attached;
					$connection->do('INSERT INTO session VALUES (?)', undef, $session);
					$connection->do('INSERT INTO membership VALUES (?, ?)', undef, $number, $session);
				},
				sub { $connection->do(q{SELECT egress_acquire_credential(?, NULL, 1, ?, '1 minute')}, undef, $number, $session) },
				sub { $connection->do(q{SELECT egress_renew_lease(?, '2 minutes')}, undef, $session) },
				sub { $connection->do($give_back, undef, $session) },
				sub { $connection->do('SELECT egress_expire_leases()') });
			my @transactions = rand() < 0.5 ? map { [$_] } @steps : ([ @steps[ 0 .. 2 ] ], [ @steps[ 3 .. 5 ] ]);
			for my $transaction (@transactions)
			{
				$state = sqlstate {
					$connection->begin_work;
					$_->() for @$transaction;
					$connection->commit;
				};
				$connection->rollback if $state;
				last if $state;
			}
			if ($n == 0) { open my $begun, '>', "$folder/$round-$number-begun" or die $! }
		}
		open my $ended, '>', "$folder/$round-$number-ended" or die $!;
		print $ended $state;
		close $ended or die $!;
		1;
	};
	print STDERR "client $number: $@" if !$ok;
	POSIX::_exit($ok ? 0 : 1);
}
