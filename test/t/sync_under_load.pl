# sync_under_load.pl -- syncs of one provider, in transactions that stay open, while sessions use its gateways
#
# The rule: a sync blocks no acquire and no release, and two syncs of one provider at once end in one list or the
# other, never a mix.
#
# Two clients sync, each with lists of its own, at every isolation level, with a snapshot from before, and hold their
# transaction open before they commit it or roll it back. Four clients acquire and release with a lock_timeout
# shorter than that, so that a wait for a sync is an error. An observer reads the gateways all the while: at every
# moment they are one list.
#
# A list has the gateways 1 to 200 or 101 to 300. All of one list have the same city, which no other list has. Some
# of those in each list are disabled by the administrator, and stay so.
#
# Environment: EGRESS_LOAD_SECONDS, how long it is (8). EGRESS_LOAD_SEED, the seed of the clients' dice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{EGRESS_LOAD_SECONDS} // 8;
my $seed    = $ENV{EGRESS_LOAD_SEED} // int(rand(2**31));
my $folder  = tempdir(CLEANUP => 1);

my @isolation = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');
my %disabled = map { $_ => 1 } 120, 140, 160;
my $lock_timeout = 0.6;
my $held_open = 0.9;

note "$seconds seconds, EGRESS_LOAD_SEED=$seed";

my $test = EgressTest->new('sync_under_load');
my $dbh = $test->connect;
$dbh->do($_) for (
	q{INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed, enable_new_managed_gateways)
		VALUES (1, 'Lanternway', 'openvpn', true, true)},
	q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')},
	q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password,
			limit_active_connections, active_connection_limit) VALUES (1, 'pool', 'everyone', 'user', 'password', true, 3)});
sync($dbh, 101, 'begin');
sync($dbh, 1, 'begin');
$dbh->do('UPDATE egress_gateway SET enabled = false WHERE name = ANY (?)', undef, [ keys %disabled ]);
my %ids = map { @$_ } @{ $dbh->selectall_arrayref('SELECT name, egress_gateway_id FROM egress_gateway') };

my $deadline = now() + $seconds;
my @pids = map { start($_) } (map { [ "acquirer-$_", \&acquire ] } 1 .. 4), (map { [ "syncer-$_", \&sync_on ] } 1 .. 2);
my ($seen, $mixes, %lists) = (0, '');
while (now() < $deadline)
{
	my ($list, $mix) = listed();
	$mixes .= "$mix\n" if $mix;
	$lists{$list}++;
	$seen++;
	sleep 0.01;
}
my $died = 0;
for my $pid (@pids)
{
	waitpid($pid, 0);
	$died++ if $? != 0;
}

my %did = map { $_ => [] } qw(acquire open error);
for my $file (glob "$folder/*")
{
	open my $handle, '<', $file or die "$file: $!";
	while (<$handle>)
	{
		chomp;
		my ($what, @fields) = split /\t/;
		push @{ $did{$what} }, \@fields;
	}
}

is($died, 0, 'all clients came to the end');
is_deeply([ map { "@$_" } @{ $did{error} } ], [],
	'nothing failed but with NG002, NG004, and 40001 of a sync above READ COMMITTED');
is($mixes, '', "whoever looked ($seen times) saw one list, and the administrator's disabled gateways");
cmp_ok(scalar keys %lists, '>', 2, 'and several of them (' . keys(%lists) . ')');
my ($last, $mix) = listed();
is($mix, '', "they ended in one list, \"$last\"");

my %outcomes;
$outcomes{ $_->[2] }++ for @{ $did{acquire} };
note join ', ', map { "$_: $outcomes{$_}" } sort keys %outcomes;
cmp_ok($outcomes{$_} // 0, '>', 0, "acquires ended with $_") for qw(acquired NG002 NG004);
my @used = grep {
	my ($from, $until) = @$_;
	grep { $_->[2] eq 'acquired' && $_->[0] > $from && $_->[1] < $until } @{ $did{acquire} }
} @{ $did{open} };
cmp_ok(scalar @used, '>', 3, 'acquired while a sync was open, and open for longer than the lock_timeout');
is($dbh->selectrow_array('SELECT count(*) FROM egress_lease'), 0, 'no lease is left');
done_testing();

# start [name, sub]: a client that writes to a file of its own
sub start
{
	my ($name, $work) = @{ $_[0] };
	my $pid = fork() // die "fork: $!";
	return $pid if $pid != 0;
	my $ok = eval {
		srand($seed + ord(substr($name, -1)) + length $name);
		open my $out, '>', "$folder/$name" or die "$name: $!";
		$work->($name, $test->connect, sub { print $out join("\t", @_), "\n" });
		close $out or die "$name: $!";
		1;
	};
	print STDERR "$name: $@" if !$ok;
	POSIX::_exit($ok ? 0 : 1);
}

# make the provider's gateways the 200 from this number on, all in this city
sub sync
{
	my ($connection, $first, $city) = @_;
	$connection->do(q{SELECT egress_sync_gateways(1, jsonb_agg(jsonb_build_object('name', i::text, 'city', ?::text,
			'config', format(E'client\nremote %s.example.net 1194\n# %s\n', i, ?::text))))
			FROM generate_series(?::int, ?::int) i}, undef, $city, $city, $first, $first + 199);
}

sub sync_on
{
	my ($name, $connection, $write) = @_;
	for (my $n = 1; now() < $deadline; $n++)
	{
		my $level = $isolation[ rand @isolation ];
		$connection->do("BEGIN ISOLATION LEVEL $level");
		$connection->selectrow_array('SELECT count(*) FROM egress_lease') if rand() < 0.5;
		my $error = sqlstate { sync($connection, rand() < 0.5 ? 1 : 101, "$name, list $n") };
		my $began = now();
		if (!$error)
		{
			sleep $held_open * ($n % 2);
			my $until = now();
			my $end = rand() < 0.8 ? 'COMMIT' : 'ROLLBACK';
			$error = sqlstate { $connection->do($end) };
			$write->('open', $began, $until) if $until - $began > $lock_timeout;
		}
		$connection->do('ROLLBACK') if $error;
		$write->('error', $name, $level, $error) if $error && ($error ne '40001' || $level eq 'READ COMMITTED');
		# the one who waited has its turn now
		sleep 0.02;
	}
}

sub acquire
{
	my ($name, $connection, $write) = @_;
	$connection->do("SET lock_timeout = '${lock_timeout}s'");
	for (my $n = 1; now() < $deadline; $n++)
	{
		# gateways of both lists twice as often as others
		my $gateway = 1 + int(rand() < 0.5 ? rand(300) : 100 + rand(100));
		my $began = now();
		my $state = sqlstate {
			$connection->selectrow_array('SELECT * FROM egress_acquire_credential(?, NULL, ?, ?)',
				undef, $name, $ids{$gateway}, "$name-$n")
		};
		$write->('acquire', $began, now(), $state || 'acquired');
		$write->('error', $name, "acquire $gateway", $state)
		  if $state && $state ne 'NG004'
		  && !($state eq 'NG002' && ($disabled{$gateway} || $gateway <= 100 || $gateway > 200));
		sleep rand 0.004;
		next if $state;
		$state = sqlstate { $connection->selectrow_array('SELECT egress_release_credential(?)', undef, "$name-$n") };
		$write->('error', $name, "release $gateway", $state) if $state;
	}
}

# the list that there is, and what is wrong with it
sub listed
{
	my $rows = $dbh->selectall_arrayref(
		'SELECT city, config, name, enabled FROM egress_gateway WHERE NOT withdrawn ORDER BY name::int');
	my $city = $rows->[0][0];
	my $first = $rows->[0][2];
	my @wrong = grep {
		my ($row, $name) = ($rows->[$_], $first + $_);
		$row->[2] != $name || $row->[0] ne $city || $row->[1] ne "client\nremote $name.example.net 1194\n# $city\n"
		  || $row->[3] != !$disabled{$name};
	} 0 .. $#$rows;
	return ("$city from $first", '') if @$rows == 200 && !@wrong;
	return ("$city from $first", "$city: " . @$rows . " gateways; not of it: @{[ map { $rows->[$_][2] } @wrong ]}");
}
