# upgrade.pl -- the package is upgraded while an application goes on: does any of its statements fail?
#
#   perl test/deb/upgrade.pl PACKAGE.deb        as root, on a system that has the package of 0.9 and a cluster that runs
#
# The application has attached a table of sessions and one of memberships. Three of its clients acquire, renew and release
# leases all the time: two stay connected, of which one has its queries compiled (JIT), and one connects anew for each
# session. Meanwhile, as doc/operations.md says,
#  - apt replaces the package: clients that are connected go on with the old library; those that connect have the new one,
#    which serves the old tables;
#  - the clients that stay connect again;
#  - ALTER EXTENSION egress UPDATE.
# The server is not restarted. A read that the update overtakes may fail with 40001, as that page says, and is tried
# again; no other statement may fail, and no read before the update.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../t";
use EgressTest;
use EgressWorld;
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

my ($package) = @ARGV;
my $folder = tempdir('egress-upgrade-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $app = 'egress_upgrade_app';
$ENV{PGUSER} = 'postgres';

our $test = EgressTest->new('upgrade');
my $dbh = $test->connect;
$dbh->do("CREATE ROLE $app");
is(version($dbh), '0.9', 'the version before is installed');
my $started = value($dbh, 'SELECT pg_postmaster_start_time()');
fill($dbh, $app);

sub version { return value($_[0], q{SELECT extversion FROM pg_extension WHERE extname = 'egress'}) }

sub file
{
	my ($name) = @_;
	open my $file, '>', "$folder/$name" or die "$name: $!";
	close $file or die "$name: $!";
	return;
}

# ------------------------------------------------------------- the application

# what happens, in this order; a phase has begun when the file of its name is there
my @phases = ('before', 'replacing', 'replaced', 'reconnected', 'updating', 'updated', 'over');
sub phase { return (grep { -e "$folder/$_" } @phases)[-1] }

my %clients = (1 => 'stays', 2 => 'stays, with JIT', 3 => 'comes and goes');
my (%pids, %statuses);
file('before');
for my $number (sort keys %clients)
{
	$pids{$number} = fork() // die "fork: $!";
	if ($pids{$number} == 0)
	{
		my $ok = eval { work($number); 1 };
		diag "client $number, which $clients{$number}, while " . phase() . ": $@" if !$ok;
		POSIX::_exit($ok ? 0 : 1);
	}
}

sub client
{
	my ($number) = @_;
	my $client = $test->connect;
	$client->do("SET ROLE $app");
	$client->do("SET application_name = 'client $number'");
	$client->do("SET $_ = 0") for $number == 2 ? qw(jit_above_cost jit_inline_above_cost jit_optimize_above_cost) : ();
	return $client;
}

sub work
{
	my ($number) = @_;
	my $client = client($number);
	my $reconnected;
	for (my $round = 0; (my $phase = phase()) ne 'over'; $round++)
	{
		my $again = -e "$folder/reconnected" && !$reconnected;
		$client = client($number) if $number == 3 || $again;
		$reconnected ||= $again;

		my $session = 1000 + $number;
		$client->do('INSERT INTO public.session VALUES (?)', undef, $session);
		$client->do('INSERT INTO public.membership VALUES (?, ?)', undef, "user $number", 'research');
		is_as_told(read_again($client, q{SELECT count(*) FROM egress_available_gateways('ann')}), 4, 'the menu');
		is_as_told(value($client, "SELECT gateway_name FROM egress_acquire_credential('ann', NULL, 3, '$session', '1 hour')"),
			'par-2', 'an acquire');
		is_as_told(value($client, "SELECT egress_renew_lease('$session', '2 hours') > now() + '1 hour'"), 1, 'a renewal');
		is_as_told(read_again($client, "SELECT verdict FROM egress_explain_access('user $number', NULL, 4)"), 'at_limit',
			'an explanation');
		is_as_told(value($client, q{SELECT active_connections FROM egress_credential_usage WHERE egress_credential_id = 2}), 1,
			'the usage');
		if ($round % 2)
		{
			$client->do(q{UPDATE public.session SET status = 'over' WHERE id = ?}, undef, $session);
			is_as_told(value($client, "SELECT egress_release_credential('$session')"), 0, 'a release after the end of the session');
			$client->do('DELETE FROM public.session WHERE id = ?', undef, $session);
		}
		else
		{
			is_as_told(value($client, "SELECT egress_release_credential('$session')"), 1, 'a release');
			$client->do('DELETE FROM public.session WHERE id = ?', undef, $session);
		}
		$client->do('DELETE FROM public.membership WHERE member = ?', undef, "user $number");
		file("$number $phase");
	}
	return;
}

sub is_as_told
{
	my ($is, $expected, $what) = @_;
	die "$what: " . ($is // 'NULL') . ", not $expected\n" if ($is // '') ne $expected;
	return;
}

# a read that the update may overtake
sub read_again
{
	my ($client, $query) = @_;
	my $answer;
	my $state = sqlstate { $answer = value($client, $query) };
	return value($client, $query) if $state eq '40001' && -e "$folder/updating";
	return $state || $answer;
}

# waits until every client has gone through a whole round that began in this phase; false when one has ended
sub answered
{
	my ($phase) = @_;
	my $ended;
	wait_until {
		$ended = grep { ($statuses{$_} //= waitpid($pids{$_}, POSIX::WNOHANG) ? $? : undef) } keys %clients;
		$ended || (grep { -e "$folder/$_ $phase" } keys %clients) == keys %clients
	};
	return !$ended;
}

# which library the clients that stay have loaded: the file that is there now, or one that has been replaced
sub libraries
{
	my %library;
	for (@{ $dbh->selectall_arrayref(q{SELECT right(application_name, 1), pid FROM pg_stat_activity
		WHERE application_name ~ '^client' ORDER BY 1}) })
	{
		my ($number, $pid) = @$_;
		my ($mapped) = `cat /proc/$pid/maps` =~ /(egress\.so.*)/ or next;
		$library{$number} = $mapped =~ /\(deleted\)$/ ? 'old' : 'new';
	}
	return join ' ', map { "$_: $library{$_}" } sort grep { $_ != 3 } keys %library;
}

# ------------------------------------------------------------- the upgrade

ok(answered('before'), 'clients are at work');
file('replacing');
is(system("apt-get -qq install -y --no-install-recommends '$package' >$folder/apt 2>&1"), 0, 'apt replaces the package')
  or diag(`cat $folder/apt`);
ok(answered('replacing'), 'clients were at work meanwhile');
file('replaced');
ok(answered('replaced'), 'and go on');
is(libraries(), '1: old 2: old', 'those that stay have the old library');
is(version($dbh), '0.9', '(no table was touched)');
file('reconnected');
ok(answered('reconnected'), 'they connect again');
is(libraries(), '1: new 2: new', 'and have the new library');
$dbh->disconnect;
$dbh = $test->connect;
file('updating');
is(sqlstate { $dbh->do('ALTER EXTENSION egress UPDATE') }, '', 'ALTER EXTENSION egress UPDATE');
file('updated');
ok(answered('updated'), 'clients go on');
file('over');
is(join(' ', map { $statuses{$_} // do { waitpid $pids{$_}, 0; $? } } sort keys %pids), '0 0 0', 'none of their statements has failed');
is(version($dbh), '1.0', 'the extension is of the new version');
is(value($dbh, 'SELECT pg_postmaster_start_time()'), $started, 'the server was not restarted');

grant($dbh, $app);
$dbh->do(q{DELETE FROM egress_lease_history WHERE session_id LIKE '100_'});
$dbh->do("SET ROLE $app");
at_work($dbh, 'upgraded');
done_testing();
