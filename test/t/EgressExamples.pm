# EgressExamples.pm -- runs the programs of examples/, directly and through pgbouncer, and looks at what they leave
#
#   use EgressExamples;                       the last module, as it brings EgressCluster
#   my $server = world();                     a server with examples/world.sql, and a pgbouncer before it; both listen on
#                                             127.0.0.1, and want the password of the role workspaces
#   my $status = run($way, $output, @command);    a program to its end: as that role at the server ('direct') or at pgbouncer
#                                             ('pooled'), or as a superuser ('admin'); what it says goes to a file
#   run_examples(\%command);                  the programs, by name, each with the command that runs it: all at once, and
#                                             each to its end in every way that a session can go
#   ignore_nothing();                         pgbouncer refuses startup parameters that it does not know from then on
#   file($name)                               where a file of examples/ or of test/drivers is
#   said($output)                             what a program has said so far
#
# pgbouncer has two server connections for all of them, so that every transaction may be on another one.
package EgressExamples;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use List::Util qw(first);
use POSIX ();
use Test::More;

our @EXPORT = qw(world run run_examples ignore_nothing file said);

my %content;

# while this may still read the tree, which the server's user may not
BEGIN
{
	my $root = abs_path(dirname(__FILE__) . '/../..');
	for my $path (glob "$root/examples/* $root/test/drivers/*")
	{
		next if !-f $path;
		open my $file, '<', $path or die "$path: $!";
		$content{ $path =~ s{.*/}{}r } = do { local $/; <$file> };
	}
}

use DBD::Pg;
use EgressTest;
use EgressCluster;

my $password = 'a password';
my $database = 'postgres';
my $program = first { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
my ($folder, $server, $dbh, %port, $version, $pooler, %running);

sub world
{
	plan skip_all => 'pgbouncer is not there (package pgbouncer)' if !$program;
	($version) = `$program --version` =~ /PgBouncer 1\.(\d+)/ or die "which version is $program?";
	$folder = tempdir('egress-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	write_file($_, $content{$_}) for keys %content;

	$server = cluster('server', q{listen_addresses = '127.0.0.1'}, 'max_connections = 50');
	open my $hba, '>', $server->data_dir . '/pg_hba.conf' or die "pg_hba.conf: $!";
	print $hba "local all all trust\nhost $database workspaces 127.0.0.1/32 scram-sha-256\n";
	close $hba or die "pg_hba.conf: $!";
	$server->start;
	my @psql = ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr($database));
	is(system(@psql, '-o', file('psql'), '-f', file('world.sql')), 0, 'world.sql runs');
	$dbh = client($server);
	$dbh->do('SET search_path = egress, public');

	%port = (direct => $server->port, pooled => PostgreSQL::Test::Cluster::get_free_port());
	start_pgbouncer();
	return $server;
}

sub file { return "$folder/$_[0]" }

sub write_file
{
	my ($name, $text) = @_;
	open my $file, '>', file($name) or die "$name: $!";
	print $file $text;
	close $file or die "$name: $!";
	return;
}

sub configure_pgbouncer
{
	my ($ignore) = @_;
	return write_file('pgbouncer.ini', join "\n", '[databases]', "$database = host=127.0.0.1 port=$port{direct}", '[pgbouncer]',
		'pool_mode = transaction', 'default_pool_size = 2', 'auth_type = scram-sha-256', 'auth_file = ' . file('users'),
		'listen_addr = 127.0.0.1', "listen_port = $port{pooled}", 'unix_socket_dir =',
		"ignore_startup_parameters = $ignore",
		# from 1.21 on it can keep prepared statements
		$version >= 21 ? 'max_prepared_statements = 0' : (), '');
}

# pgbouncer looks at the file again when it gets a signal, and says so
sub ignore_nothing
{
	configure_pgbouncer('');
	kill 'HUP', $pooler;
	wait_until { said('pgbouncer.log') =~ /SIGHUP|RELOAD/i };
	return;
}

sub start_pgbouncer
{
	write_file('users', qq{"workspaces" "$password"\n});
	# what JDBC and lib/pq set as they connect
	configure_pgbouncer('extra_float_digits');
	$pooler = child(file('pgbouncer.log'), {}, $program, file('pgbouncer.ini'));
	my $listens = sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port{pooled}) };
	wait_until { $listens->() || !alive($pooler) };
	if (!alive($pooler))
	{
		diag(said('pgbouncer.log'));
		die "pgbouncer has not started\n";
	}
	return;
}

# a program that says what it says into a file
sub child
{
	my ($output, $environment, @command) = @_;
	unlink $output;    # of one before
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		@ENV{ keys %$environment } = values %$environment;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $output;
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	$running{$pid} = 1;
	return $pid;
}

# whether it still runs; when it has ended, its status is kept
my %status;
sub alive
{
	my ($pid) = @_;
	return 0 if exists $status{$pid};
	return 1 if waitpid($pid, POSIX::WNOHANG()) != $pid;
	$status{$pid} = $?;
	delete $running{$pid};
	return 0;
}

# before the servers are stopped
END
{
	my $status = $?;
	for my $pid (keys %running)
	{
		kill 'KILL', $pid;
		waitpid $pid, 0;
	}
	$dbh->disconnect if $dbh;
	$? = $status;
}

sub start
{
	my ($way, $output, @command) = @_;
	my %environment = (PGDATABASE => $database, PGSSLMODE => 'disable', PGTZ => 'UTC', HOME => $folder, POOLER_PORT => $port{pooled},
		$way eq 'admin'
		? (PGHOST => $server->host, PGPORT => $port{direct}, PGUSER => 'postgres')
		: (PGHOST => '127.0.0.1', PGPORT => $port{$way}, PGUSER => 'workspaces'), PGPASSWORD => $password);
	return child(file($output), \%environment, @command);
}

sub run
{
	my $pid = start(@_);
	wait_until { !alive($pid) };
	return $status{$pid} // 'it does not end';
}

sub said
{
	my ($output) = @_;
	open my $file, '<', file($output) or return '';
	return do { local $/; <$file> } // '';
}

# A program has a user and a workspace of its own, and a gateway, which is the only one with a mapping for that user and a
# credential for that workspace. A number of the user's id is lost where a language takes it for a float.
sub add_example
{
	my ($example) = @_;
	$dbh->do($_->[0], undef, @$_[1 .. $#$_]) for (
		[ q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (?, ?, 'openvpn')},
			$example->{gateway}, $example->{name} ],
		[ 'INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES ($1, $1, $2, $3)',
			$example->{gateway}, $example->{name}, 'remote vpn.example 1194' ],
		[ q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (?, 'user', ?)},
			$example->{gateway}, $example->{user} ],
		[ q{INSERT INTO egress_credential
				(egress_provider_id, name, subject_type, subject_id, username, password, limit_active_connections, active_connection_limit)
			VALUES (?, ?, 'workspace', ?, 'a user', 'a password', true, 1)},
			$example->{gateway}, "pool of $example->{name}", $example->{workspace} ]);
	return;
}

# somebody else has the only connection
sub take
{
	my ($example) = @_;
	($example->{other}) = $dbh->selectrow_array('INSERT INTO session (user_id, workspace_id) VALUES (?, ?) RETURNING id', undef,
		$example->{user}, $example->{workspace});
	$dbh->do('SELECT egress_acquire_credential(?, ?, ?, ?)', undef, @$example{qw(user workspace gateway other)});
	return;
}

# ... and gives it back, without a trace
sub give_back
{
	my ($example) = @_;
	$dbh->do('DELETE FROM session WHERE id = ?', undef, $example->{other});
	$dbh->do('DELETE FROM egress_lease_history WHERE session_id = ?', undef, $example->{other});
	return;
}

# somebody ends the lease that it has
sub end_lease
{
	my ($example) = @_;
	my $session = value($dbh, 'SELECT session_id FROM egress_lease WHERE user_id = ?', $example->{user});
	$dbh->do('SELECT egress_release_credential(?)', undef, $session);
	return;
}

sub begin
{
	my ($example, $way, $ttl) = @_;
	$example->{pid} = start($way, "$example->{name}.out", @{ $example->{command} }, @$example{qw(user workspace name)}, $ttl);
	return;
}

# until each program has said something; those that do not are named by the test that looks at what they said
sub wait_for
{
	my ($what, @examples) = @_;
	my %waiting = map { ($_->{name} => $_) } @examples;
	wait_until {
		for my $example (values %waiting)
		{
			my $ended = !alive($example->{pid});
			my $has_said = said("$example->{name}.out") =~ $what->{said};
			$what->{done}->($example) if $has_said;
			delete $waiting{ $example->{name} } if $has_said || $ended;
		}
		!%waiting;
	};
	return;
}

# It has ended by itself, said what it should have said, and left a stopped session with one lease in the history.
sub ended
{
	my ($example, $label, $said, $reason) = @_;
	my ($name, $user) = @$example{qw(name user)};
	wait_until { !alive($example->{pid}) };
	is($status{ $example->{pid} }, 0, "$label: it ends well");
	my $output = said("$name.out");
	like($output, $said, "$label: and says what happens");
	my ($session) = $output =~ /^session (\S+)/m;
	is(rows($dbh, 'SELECT id, status FROM session WHERE user_id = ?', $user), ($session // 'none') . '|stopped', "$label: one session");
	is(rows($dbh, 'SELECT session_id, workspace_id, credential_name, release_reason FROM egress_lease_history WHERE user_id = ?',
			$user),
		join('|', $session // 'none', $example->{workspace}, "pool of $name", $reason),
		"$label: one lease in the history");
	$dbh->do('DELETE FROM session WHERE user_id = ?', undef, $user);
	$dbh->do('DELETE FROM egress_lease_history WHERE user_id = ?', undef, $user);
	return;
}

sub run_examples
{
	my ($command) = @_;
	my @examples;
	for my $name (sort keys %$command)
	{
		cmp_ok($content{$name} =~ tr/\n//, '<', 80, "$name has less than 80 lines");
		my $number = @examples;
		push @examples, { name => $name, command => $command->{$name}, gateway => 100 + $number, workspace => 7 + $number,
			user => 9007199254740993 + 2 * $number };
		add_example($examples[-1]);
	}
	my $uuid = qr/[0-9a-f]{8}-[0-9a-f-]{27}/;
	my $time = qr/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S*(?: \S+)*/;

	for my $way (qw(direct pooled))
	{
		# all connections are taken at first
		take($_) for @examples;
		begin($_, $way, 4) for @examples;
		wait_for({ said => qr/(?:^full: again\n){2}/m, done => \&give_back }, @examples);
		for my $example (@examples)
		{
			my $name = $example->{name};
			ended($example, "$name, $way", qr/\Amenu: ams-1 \(1\), osl-1 \(1\), \Q$name\E \(0\)
(?:full: again\n){2,4}session $uuid has pool of \Q$name\E, and a config of \d+ characters
(?:renewed until $time\n){3}stopped\n\z/, 'session_end');
		}

		# the lease is ended while the session runs
		begin($_, $way, 4) for @examples;
		wait_for({ said => qr/^session .*\n/m, done => \&end_lease }, @examples);
		for my $example (@examples)
		{
			my $name = $example->{name};
			ended($example, "$name, $way, a lost lease", qr/\Amenu: ams-1 \(1\), osl-1 \(1\), \Q$name\E \(1\)
session $uuid has pool of \Q$name\E, and a config of \d+ characters
(?:renewed until $time\n)?the lease is over: stop the tunnel\nstopped\n\z/, 'released');
		}
	}
	is(value($dbh, 'SELECT count(*) FROM egress_lease'), 0, 'no lease is left');

	# The connection is lost in the transaction: the rollback fails, too, and does not hide why. psycopg2 and lib/pq do not know
	# the reason that the server gave.
	my $why = qr/terminating connection due to administrator command|server closed the connection unexpectedly|driver: bad connection/;
	my $locker = client($server);
	$locker->begin_work;
	$locker->do('LOCK TABLE session');
	begin($_, 'direct', 4) for @examples;
	my $waiting = q{FROM pg_stat_activity WHERE usename = 'workspaces' AND wait_event_type = 'Lock'};
	wait_until { value($dbh, "SELECT count(*) $waiting") == @examples };
	$dbh->do("SELECT pg_terminate_backend(pid) $waiting");
	for my $example (@examples)
	{
		my $name = $example->{name};
		wait_until { !alive($example->{pid}) };
		isnt($status{ $example->{pid} }, 0, "$name, without a connection: it fails");
		like(said("$name.out"), $why, "$name: and says why");
	}
	$locker->rollback;
	$locker->disconnect;
	return;
}

1;
