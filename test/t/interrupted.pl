# interrupted.pl -- clients that are interrupted in every way there is, and go on; everything is as acknowledged
#
# The load and the oracle are those of EgressLoad.pm. At random moments one backend is killed with kill -9, at which the
# postmaster ends all others and recovers; or one is terminated, or its statement cancelled; and statements of clients
# run into a statement_timeout of some milliseconds. Whoever has lost its connection connects again, finds out what
# became of what it had sent, and goes on. When a statement failed, it looks that nothing of its transaction is there.
#
# test/t/leaks.pl ends acquires where they wait or hold the short locks. Here it may be any statement, COMMIT and
# PREPARE TRANSACTION among them, and what is asked is whether it happened whole.
#
# Environment: EGRESS_ROUNDS, how many rounds of three kills and 120 other interruptions (1; 5 with EGRESS_TEST_ALL=1);
# EGRESS_CRASH_SEED, the seed of all dice.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);
use EgressTest;
use EgressLoad;
use EgressCluster;

my $rounds = $ENV{EGRESS_ROUNDS} // ($ENV{EGRESS_TEST_ALL} ? 5 : 1);
my $seed   = $ENV{EGRESS_CRASH_SEED} // int(rand(2**31));
note "$rounds rounds, EGRESS_CRASH_SEED=$seed";
srand($seed);

my $server;
my $load = EgressLoad->new(seed => $seed, connect => sub { client($server) });
$server = cluster('server', $load->settings, 'restart_after_crash = on');
$server->start;
$load->create_world;

# who may be killed: also what the postmaster cannot do without
my $victims = q{SELECT pid FROM pg_stat_activity WHERE application_name = 'load'
	OR backend_type IN ('checkpointer', 'background writer', 'walwriter') ORDER BY random() LIMIT 1};
my $clients = q{FROM pg_stat_activity WHERE pid = (SELECT pid FROM pg_stat_activity
	WHERE application_name = 'load' ORDER BY state <> 'idle' DESC, random() LIMIT 1)};
for my $round (1 .. $rounds)
{
	my %done;
	$load->begin(1);
	my $dbh = client($server);
	for (1 .. 3)
	{
		for (1 .. 40)
		{
			my $how = rand() < 0.8 ? 'pg_cancel_backend' : 'pg_terminate_backend';
			$done{$how}++ if $dbh->selectrow_array("SELECT $how(pid) $clients");
			sleep rand(0.05);
		}
		my ($pid) = $dbh->selectrow_array($victims);
		$done{'kill -9'} += kill 'KILL', $pid;
		wait_until { !$dbh->ping } or die "the postmaster lives on with process $pid killed";
		$dbh->disconnect;
		wait_until { eval { $dbh = client($server); 1 } } or die "no connection: $@";
	}
	sleep rand(0.5);
	$dbh->disconnect;
	$load->end;
	note join ', ', "round $round", map { "$_: $done{$_}" } sort keys %done;
	$load->check("round $round");
}
$load->begin(1);
sleep 0.5;
$load->end;
$load->check('end');
$load->check_all_given_back;
$load->check_variety('acquired', 'asked again', 'renewed', 'released', 'ended by trigger', 'single statement', 'committed',
	'prepared', 'commit prepared', 'synced', 'rotated', 'swept', 'answer NG004', 'answer 57014', 'answer lost', 'came back',
	'no answer, but undone', $rounds < 5 ? () : 'no answer, but committed');
$server->stop;
done_testing();
