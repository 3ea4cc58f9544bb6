# crash.pl -- kill -9 of the whole server, again and again, under a load; after each restart everything is as
# acknowledged
#
# The load and the oracle are those of EgressLoad.pm: acquires, releases, renewals, session triggers, prepared
# transactions, syncs, rotations. At a random moment the postmaster and all its children are killed, each by its process
# id; the server is started again and recovers; what is there is compared with what the clients know. Leases that are
# held, and some of the transactions that are prepared, live on into the next round.
#
# About fsync, which PostgreSQL::Test::Cluster turns off: a process that is killed loses its memory and, once all of
# them are gone, the shared memory, and with it WAL that is not written yet and pages that are not. What was written is
# the operating system's, synced or not: only a machine that stops loses that, which no kill can imitate. So fsync is on
# not for the kill, but because it makes commits take their real time: it is there that a kill finds them half way, and
# the others queued behind them. What is promised to survive is a commit that was acknowledged, which takes
# synchronous_commit: with TEMP_CONFIG naming a file that has "synchronous_commit = off" this test fails, as it should.
#
# Environment: EGRESS_CRASHES, how many kills (4; 24 with EGRESS_TEST_ALL=1); EGRESS_CRASH_SEED, the seed of all dice,
# which gives the same load and the same moments, though not the same interleaving.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);
use EgressTest;
use EgressLoad;
use EgressCluster;

my $crashes = $ENV{EGRESS_CRASHES} // ($ENV{EGRESS_TEST_ALL} ? 24 : 4);
my $seed    = $ENV{EGRESS_CRASH_SEED} // int(rand(2**31));
note "$crashes crashes, EGRESS_CRASH_SEED=$seed";
srand($seed);

my $server;
my $load = EgressLoad->new(seed => $seed, connect => sub { client($server) });
$server = cluster('server', $load->settings);
$server->start;
$load->create_world;

for my $crash (1 .. $crashes)
{
	$load->begin(0);
	sleep rand(2);
	kill_all();
	$load->end;
	$server->start;
	$load->check("crash $crash");
}
$load->begin(0);
sleep 1;
$load->end;
$load->check('end');
$load->check_all_given_back;
$load->check_variety('acquired', 'asked again', 'renewed', 'too late', 'released', 'ended by trigger',
	'given back and taken again', 'single statement', 'committed', 'rolled back', 'savepoint kept', 'savepoint undone',
	'prepared', 'commit prepared', 'prepared transaction found', 'no answer, but undone', 'synced', 'rotated',
	'secret changed', 'swept', 'answer NG004', 'answer lost',
	$crashes < 20 ? () : ('rollback prepared', 'no answer, but committed', 'vacuumed', 'checkpoint'));
$server->stop;
done_testing();

# the state of a process and its parent, or nothing when it is gone
sub process
{
	my ($pid) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return;
	return (<$stat> // '') =~ /^\d+ \(.*\) (\S) (\d+)/s;
}

# The postmaster is held first, so that it starts nobody and nobody learns of its end; then all die.
sub kill_all
{
	my $postmaster = postmaster($server);
	kill 'STOP', $postmaster;
	wait_until { (process($postmaster))[0] eq 'T' } or die 'the postmaster does not stop';
	my @children = grep { ((process($_))[1] // 0) == $postmaster } map { m{(\d+)} } glob '/proc/[0-9]*';
	kill 'KILL', $_ for @children;
	$server->kill9;
	for my $pid (@children, $postmaster)
	{
		wait_until { !process($pid) } or die "process $pid lives on";
	}
}
