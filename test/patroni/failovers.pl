# failovers.pl -- Patroni moves the primary under load: what was acknowledged is there, and nothing is held twice
#
# Three nodes run Patroni with the configuration of doc/patroni.yml, as an operator would have it, and one etcd stands for
# the operator's three. Clients acquire, renew and give back all the time (EgressFailover.pm), and look for the primary by
# libpq's target_session_attrs. Then these happen, one after the other, each after all nodes were well again:
#
#   a switchover                           the administrator asks for it
#   the standby dies                       kill -9 of everything on the node of the synchronous standby
#   PostgreSQL dies                        kill -9 of the primary's postmaster; Patroni starts it again
#   Patroni dies                           kill -9 of the primary's Patroni, which is started again; PostgreSQL runs on.
#                                          Then a switchover: a Patroni before 3.1.2 may have forgotten which standby is
#                                          synchronous
#   the node dies                          kill -9 of everything on the primary's node
#   a primary without etcd                 the network between its node and etcd is cut: it has to stop by itself, before
#                                          Patroni promotes another node
#   a primary without nodes and etcd       so is that between the nodes; clients still reach it
#   a primary without Patroni              which does not run (SIGSTOP) and so does not stop PostgreSQL: there are two
#                                          servers that take writes, and the old one must not acknowledge any
#
# After each, the primary opens secrets by the key file of patroni.yml, and has the slot of a region, which doc/patroni.md makes
# permanent, where it was. The rules are failover.pl's: no acknowledged lease is lost, no acknowledged release comes back, no renewal is forgotten,
# and no connection is held twice. How long nobody could acquire is shown at the end.
#
# test/patroni/run makes the networks and the namespaces that this runs in, and ends every process with them.
use strict;
use warnings;
use DBD::Pg qw(:async);
use DBI;
use FindBin;
use HTTP::Tiny;
use JSON::PP qw(decode_json encode_json);
use List::Util qw(shuffle uniq);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$FindBin::Bin/../t";
use EgressTest qw(:DEFAULT slurp);
use EgressFailover;

my $seconds = 4;      # of load before each event
my $ttl = 20;         # of patroni.yml: for how long a primary goes on, at most, when it has lost etcd
my $folder = '/run/egress';
my %password = (postgres => 'of the superuser', replicator => 'of the replicator');
my $configuration = "$FindBin::Bin/../../doc/patroni.yml";
my ($slots) = slurp("$FindBin::Bin/../../doc/patroni.md") =~ /^```yaml\n(.*?)^```$/ms or die "doc/patroni.md has no YAML\n";
my ($etcd, @nodes) = ('203.0.113.254', 1, 2, 3);
my %patroni;          # the process id of a node's Patroni

my ($version) = `patroni --version` =~ /([\d.]+)/;
# a Patroni before 3.0.3 that has hung may put its key over that of the next primary, by version 3 of etcd's protocol
my $protocol = version->parse($version) < version->parse('3.0.3') ? 2 : 3;

chomp(my $bin_dir = `$ENV{PG_CONFIG} --bindir`);
delete @ENV{grep { /^(PG|.*_proxy$)/i } keys %ENV};

my @events = (
	[ 'a switchover', \&switchover ],
	[ 'the standby dies', \&standby_dies ],
	[ 'PostgreSQL dies', \&postgresql_dies ],
	[ 'Patroni dies', \&patroni_dies ],
	[ 'the node dies', \&node_dies ],
	[ 'a primary without etcd', sub { is_cut_off(@_, 'etcd') } ],
	[ 'a primary without nodes and etcd', sub { is_cut_off(@_, 'etcd', 'nodes') } ],
	[ 'a primary without Patroni', \&does_not_stop ]);
my $slot;             # where a region's is
my $load = EgressFailover->new(connect => sub { server(shuffle @nodes) }, patience => 3, pause => 0.05);

start_etcd();
start_node($_) for @nodes;
my ($primary, $standby) = all_well('three nodes') or die "the cluster does not start\n";
create_world($primary);
create_slots();

$load->begin;
my $failovers = 0;
for my $event (@events)
{
	my ($name, $happens) = @$event;
	sleep $seconds;
	push @$event, now();
	my $expected = $happens->($name, $primary, $standby);
	$failovers++ if $expected != $primary;
	($primary, $standby) = all_well("after: $name") or die "the nodes do not recover\n";
	is($primary, $expected, "$name: the primary is the node that it has to be");
	is(secret($primary), 'a secret', "$name: it opens secrets");
	is(slot($primary), $slot, "$name: it has the slot of a region as it was");
	push @$event, now();
}
sleep $seconds;
$load->end;

is_on_all_nodes();
my $list;
# what a node has written into etcd may be older than what the servers say
ok(wait_until {
		$list = patronictl('list');
		my @timelines = $list =~ /\| (?:Leader|Sync Standby|Replica) *\| (?:running|streaming) *\| +(\d+) \|/g;
		@timelines == @nodes && uniq(@timelines) == 1;
	}, 'patronictl shows who is what, on one timeline');
note $list;
$load->check(server($primary), $failovers);
note 'nobody could acquire, for seconds:';
note sprintf '  %-34s %5.1f', $_->[0], $load->longest_gap(@$_[2, 3]) for @events;
done_testing();

# what a test that failed leaves to read
END
{
	my $status = $?;
	undef $load;
	if ($status != 0 || !Test::More->builder->is_passing)
	{
		diag "the last lines of $_:\n", `tail -n 60 $_` for glob "$folder/*.log";
	}
	$? = $status;
}

# ---- the nodes

# a program as the user of servers, in the namespace of a node if one is given; returns its process id
sub start
{
	my ($node, $log, @command) = @_;
	my @as_postgres = qw(setpriv --reuid=postgres --regid=postgres --clear-groups);
	my $pid = fork() // die "fork: $!";
	return $pid if $pid != 0;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>>', "$folder/$log";
	open STDERR, '>&', \*STDOUT;
	# each node has its sockets for itself
	my @in_node = !$node ? () : ('ip', 'netns', 'exec', "node$node", 'sh', '-c',
		'mkdir -p /run/postgresql && mount -t tmpfs -o mode=1777 tmpfs /run/postgresql && exec "$@"', 'sh');
	exec(@in_node, @as_postgres, @command) or POSIX::_exit(127);
}

sub start_etcd
{
	mkdir $folder;
	run("install -d -o postgres -g postgres -m 700 $folder/etcd");
	my ($clients, $peers) = ("http://$etcd:2379", 'http://127.0.0.1:2380');
	start(undef, 'etcd.log', 'etcd', '--name=etcd', "--data-dir=$folder/etcd", "--listen-client-urls=$clients",
		"--advertise-client-urls=$clients", "--listen-peer-urls=$peers", "--initial-advertise-peer-urls=$peers",
		"--initial-cluster=etcd=$peers", $protocol == 2 ? '--enable-v2' : ());
	note "Patroni $version, etcd's protocol $protocol, ", `$bin_dir/postgres --version`;
	ok(wait_until { defined http('GET', "$clients/version") }, 'etcd runs');
}

# with Patroni and all that it starts
sub start_node
{
	my ($node) = @_;
	run("install -d -o postgres -g postgres -m 700 $folder/node$node");
	$patroni{$node} = start($node, "node$node.log", 'env', "HOME=$folder/node$node",
		"PATRONI_NAME=node$node", etcd_hosts(),
		"PATRONI_RESTAPI_CONNECT_ADDRESS=198.51.100.$node:8008",
		"PATRONI_POSTGRESQL_CONNECT_ADDRESS=198.51.100.$node:5432",
		"PATRONI_POSTGRESQL_DATA_DIR=$folder/node$node/data",
		"PATRONI_POSTGRESQL_BIN_DIR=$bin_dir",
		"PATRONI_SUPERUSER_PASSWORD=$password{postgres}",
		"PATRONI_REPLICATION_PASSWORD=$password{replicator}",
		'patroni', $configuration);
}

sub etcd_hosts { return ($protocol == 2 ? 'PATRONI_ETCD_HOSTS' : 'PATRONI_ETCD3_HOSTS') . "='$etcd:2379'" }

# what patronictl says, on the machine of an operator
sub patronictl { return run('env ' . quotemeta(etcd_hosts()) . " patronictl -c '$configuration' @_") }

# kill -9 of everything in its namespace
sub kill_node
{
	my ($node) = @_;
	my $pids = sub { return split ' ', run("ip netns pids node$node") };
	wait_until { kill 'KILL', $pids->(); !$pids->() } or die "node $node lives on";
	waitpid(delete $patroni{$node}, 0);
}

# cut a network at a node, or join it again
sub cut  { run("bridge link set dev $_[1]$_[0] state 0") }
sub join_again { run("bridge link set dev $_[1]$_[0] state 3") }

sub run
{
	my ($command) = @_;
	my $output = `$command 2>&1`;
	die "$command: $output" if $? != 0;
	return $output;
}

sub http
{
	my ($method, $url, $content) = @_;
	my $response = HTTP::Tiny->new(timeout => defined $content ? 60 : 5)->request($method, $url, defined $content ? { content => encode_json($content) } : {});
	return $response->{success} ? $response->{content} : undef;
}

# what Patroni says: the nodes that are the leader, sync_standby and replica
sub roles
{
	my $cluster = decode_json(http('GET', "http://192.0.2.$nodes[rand @nodes]:8008/cluster") // '{}');
	return map { $_->{role} => substr $_->{name}, 4 } @{ $cluster->{members} };
}

# Wait until every node runs and follows the primary, one of them synchronously, as Patroni and the primary say; these two.
sub all_well
{
	my ($label) = @_;
	my @result;
	my $well = wait_until {
		sleep 0.2;
		my %role = roles();
		@result = @role{qw(leader sync_standby)};
		return 0 if grep { !defined } @result;
		my $streams = eval { value(server($result[0]), q{SELECT string_agg(application_name || ' ' || sync_state, ', ' ORDER BY sync_state)
			FROM pg_stat_replication WHERE state = 'streaming' AND NOT pg_is_in_recovery()}) } // '';
		$streams =~ /^node\d async, node$result[1] sync$/;
	} 120;
	ok($well, "$label: one primary, two standbys, one of them synchronous");
	return $well ? @result : ();
}

# ---- clients

# a connection to the one of these nodes that takes writes; to a node alone as it is
sub server
{
	my (@numbers) = @_;
	my $hosts = join ',', map { "192.0.2.$_" } @numbers;
	my $attributes = @numbers > 1 ? 'read-write' : 'any';
	return DBI->connect("dbi:Pg:dbname=postgres;host=$hosts;connect_timeout=2;target_session_attrs=$attributes", 'postgres', $password{postgres},
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoInactiveDestroy => 1 });
}

sub create_world
{
	my ($node) = @_;
	my $dbh = server($node);
	EgressFailover::create_world($dbh);
	EgressFailover::add_gateway($dbh, 'single', 1);
	$dbh->do(q{UPDATE egress_credential SET custom_credential = 'a secret' WHERE egress_provider_id = 2});
	like(value($dbh, 'SELECT custom_credential FROM egress_credential WHERE egress_provider_id = 2'), qr/^egress:v1:/, 'secrets are sealed');
}

# the page's slots of regions, which no region reads here: so they stay where they are, or are not the same
sub create_slots
{
	open my $file, '>', "$folder/slots.yml" or die $!;
	print $file $slots =~ s/\bplatform\b/postgres/r;
	close $file or die $!;
	patronictl("edit-config --force --apply $folder/slots.yml");
	ok(wait_until { defined($slot = slot($primary)) }, 'the primary has the slot of a region') or die "no slot\n";
	ok(wait_until { !grep { (slot($_) // '') ne $slot } @nodes }, 'and so have the standbys');
	($primary, $standby) = all_well('three nodes with the slot') or die "the cluster does not recover\n";
}

sub slot
{
	my ($node) = @_;
	return eval { value(server($node), q{SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'egress_eu'}) };
}

sub secret
{
	my ($node) = @_;
	my $dbh = server($node);
	$dbh->begin_work;
	return value($dbh, q{SELECT custom_credential FROM egress_acquire_credential('ann', NULL, 2, 'secret')});
}

sub takes_writes
{
	my ($node) = @_;
	sleep 0.05;
	return eval { value(server($node), 'SELECT NOT pg_is_in_recovery()') } ? 1 : 0;
}

# every client acquires there
sub all_go_on
{
	my ($name, $node) = @_;
	my $now = time;
	ok(wait_until {
			sleep 0.1;
			my $clients = eval { value(server($node), q{SELECT count(DISTINCT user_id) FROM egress_lease_history
				WHERE egress_gateway_id = 1 AND acquired_at > to_timestamp(?)}, $now) };
			($clients // 0) == EgressFailover::CLIENTS;
		}, "$name: every client goes on");
}

# ---- what happens: each returns the node that is the primary afterwards, and leaves it to Patroni that all are well again

sub switchover
{
	my ($name, $primary) = @_;
	my $standby;
	ok(wait_until {
			my %role = roles();
			$standby = $role{sync_standby} // return 0;
			http('POST', "http://192.0.2.$primary:8008/switchover", { leader => "node$primary", candidate => "node$standby" });
		}, "$name: the switchover is done");
	all_go_on($name, $standby);
	return $standby;
}

sub standby_dies
{
	my ($name, $primary, $standby) = @_;
	kill_node($standby);
	all_go_on($name, $primary);
	start_node($standby);
	return $primary;
}

sub postgresql_dies
{
	my ($name, $primary) = @_;
	my ($pid) = run("cat $folder/node$primary/data/postmaster.pid") =~ /^(\d+)/;
	kill 'KILL', $pid;
	wait_until { !kill 0, $pid } or die "process $pid lives on";
	all_go_on($name, $primary);
	return $primary;
}

sub patroni_dies
{
	my ($name, $primary) = @_;
	kill 'KILL', $patroni{$primary};
	waitpid($patroni{$primary}, 0);
	start_node($primary);
	sleep 5;    # a loop of Patroni
	all_go_on($name, $primary);
	note "$name: then synchronous_standby_names is ", value(server($primary), 'SHOW synchronous_standby_names');
	return switchover($name, $primary);
}

sub node_dies
{
	my ($name, $primary, $standby) = @_;
	kill_node($primary);
	wait_until { takes_writes($standby) };
	all_go_on($name, $standby);
	start_node($primary);
	return $standby;
}

sub is_cut_off
{
	my ($name, $primary, $standby, @networks) = @_;
	my ($from, $until) = (now());
	cut($primary, $_) for @networks;
	ok(wait_until { $until = now() if takes_writes($primary); takes_writes($standby) }, "$name: the standby is promoted");
	is(takes_writes($primary), 0, "$name: and the old primary takes no writes by then");
	cmp_ok($until - $from, '<', $ttl, sprintf '%s: it stopped after %.1f s', $name, $until - $from);
	all_go_on($name, $standby);
	join_again($primary, $_) for @networks;
	return $standby;
}

sub does_not_stop
{
	my ($name, $primary, $standby) = @_;
	kill 'STOP', $patroni{$primary};
	ok(wait_until { takes_writes($standby) }, "$name: the standby is promoted");
	all_go_on($name, $standby);

	my ($old, $warning) = (server($primary), '');
	$old->{PrintWarn} = 1;
	local $SIG{__WARN__} = sub { $warning .= $_[0] };
	is(value($old, 'SELECT pg_is_in_recovery()'), 0, "$name: the old primary takes writes");
	for my $asked ('', ', nor when it is asked again')
	{
		my $statement = $old->prepare(acquire(2, 'of the old primary'), { pg_async => PG_ASYNC, pg_server_prepare => 0 });
		$statement->execute;
		sleep 2;
		ok(!$statement->pg_ready, "$name: and answers no acquire$asked");
		value(server($primary), "SELECT pg_cancel_backend($old->{pg_pid})");
		$old->pg_result;
		$statement->finish;
	}
	like($warning, qr/canceling wait for synchronous replication/, "$name: cancelled, it gets a warning");
	$old->do('SET synchronous_commit = local');
	is(value($old, acquire(2, 'of the old primary')), 5, "$name: with synchronous_commit = local it is answered");

	kill 'CONT', $patroni{$primary};
	ok(wait_until { !takes_writes($primary) }, "$name: going on, Patroni stops the old primary");
	is(value(server($standby), 'SELECT count(*) FROM egress_lease WHERE egress_gateway_id = 2'), 0,
		"$name: what that answered is lost");
	return $standby;
}

# the standbys have what the primary has
sub is_on_all_nodes
{
	my $leases = q{SELECT md5(string_agg(l::text, ' ' ORDER BY session_id)) FROM egress_lease l};
	my $expected = value(server($primary), $leases);
	for my $node (@nodes)
	{
		ok(wait_until { value(server($node), $leases) eq $expected }, "node $node has the leases");
		is(rows(server($node), 'SELECT secret, active_key, missing_key FROM egress_secret_usage WHERE active_key + missing_key > 0'),
			'custom_credential|1|0', "node $node has the key");
	}
}
