# EgressServers.pm -- for tests that need servers of their own: in a temporary folder, gone when the test is
#
#   use EgressServers;                        $folder, $bindir; the environment is about no other server any more
#   create('old', @settings);                 a cluster in the folder old, with these lines in its configuration
#   create_standby('copy', 'old');            a standby of one that runs
#   configure('old', @settings);              more lines
#   start('old'); stop('old');
#   my $answer = ask('old', $sql, $user);     what psql says: rows, or the SQLSTATE of an error
#   my $output = as_server($command);         a shell command in the folder, as the servers' user
#
# The servers run as the user postgres when this runs as root, and listen on a socket in the folder only.
package EgressServers;

use strict;
use warnings;
use Exporter 'import';
use File::Temp qw(tempdir);

our @EXPORT = qw($folder $bindir create create_standby configure start stop ask as_server);

umask 022;
our $bindir;
chomp($bindir = `@{[$ENV{PG_CONFIG} || 'pg_config']} --bindir`);
delete @ENV{grep { /^PG/ && $_ ne 'PG_CONFIG' } keys %ENV};

my @as_server = $> == 0 ? ('runuser', '-u', 'postgres', '--') : ();
our $folder = tempdir('egress-servers-XXXXXX', TMPDIR => 1, CLEANUP => 1);
if ($> == 0)
{
	my ($uid, $gid) = (getpwnam('postgres'))[2, 3];
	chown $uid, $gid, $folder;
}
chmod 0700, $folder;
chdir '/';

# a cluster's port only names its socket
my %ports;

sub port
{
	my ($name) = @_;
	my $next = 54321 + keys %ports;
	return $ports{$name} //= $next;
}

END
{
	my $status = $?;
	for my $name (keys %ports)
	{
		system(@as_server, "$bindir/pg_ctl", 'stop', '--silent', '--mode=immediate', '--pgdata', "$folder/$name")
			if -e "$folder/$name/postmaster.pid";
	}
	$? = $status;
}

# its output is returned; dies with it when it fails
sub as_server
{
	my ($command) = @_;
	open my $output, '-|', @as_server, 'sh', '-c', "cd $folder && {\n$command\n} 2>&1" or die "$command: $!";
	my $text = do { local $/; <$output> } // '';
	close $output or die "$command\n$text";
	chomp $text;
	return $text;
}

sub create
{
	my ($name, @settings) = @_;
	as_server("$bindir/initdb --pgdata=$name --username=postgres --auth-local=trust --auth-host=reject "
		. '--locale=C.UTF-8 --encoding=UTF8 --no-sync');
	configure($name, "listen_addresses = ''", "unix_socket_directories = '$folder'", 'port = ' . port($name), @settings);
}

sub configure
{
	my ($name, @settings) = @_;
	as_server("cat >>$name/postgresql.conf <<'CONF'\n" . join("\n", @settings) . "\nCONF");
}

# a standby of a cluster that runs
sub create_standby
{
	my ($name, $primary) = @_;
	as_server("$bindir/pg_basebackup -h $folder -p @{[port($primary)]} -U postgres -D $name -R -X stream --checkpoint=fast");
	configure($name, 'port = ' . port($name));
}

sub start { return as_server("$bindir/pg_ctl start --silent --wait --pgdata=$_[0] --log=$_[0].log >/dev/null") }
sub stop { return as_server("$bindir/pg_ctl stop --silent --wait --mode=fast --pgdata=$_[0]") }

sub ask
{
	my ($name, $sql, $user) = @_;
	$user //= 'postgres';
	my $answer = as_server("$bindir/psql -h $folder -p @{[port($name)]} -U $user -d postgres -XqAt -v VERBOSITY=sqlstate "
		. "<<'SQL' || :\n$sql\nSQL");
	return $answer =~ /ERROR:\s+(\w{5})/ ? $1 : $answer;
}

1;
