# EgressCluster.pm -- for tests that need servers of their own: PostgreSQL::Test::Cluster, also for root
#
#   use PostgreSQL and other modules first, then
#   use EgressCluster;                        the last module: root becomes the user postgres here, for good
#   my $node = cluster('primary', @settings); a PostgreSQL::Test::Cluster, initialized: superuser postgres, these lines in
#                                             its configuration, ready for standbys; $node->start is left to the caller
#   my $copy = standby('copy', $node, @settings);    a hot standby of one that runs, not started either
#   my $answer = ask($node, $sql, $user);     what psql says: rows, or the SQLSTATE of an error
#   my $dbh = client($node, $user, $database);    a DBI connection, as EgressTest makes them
#   my $pid = postmaster($node);              the process of a server that runs
#
# PostgreSQL's own module starts the servers, listens on sockets in a temporary folder only, and stops them at the end,
# also when the test is interrupted. When the test has failed by then, the last lines of each server's log are shown,
# because the folder goes. Here is what it leaves to its Makefiles: where the programs and a folder for the data are. A
# server refuses to be root; so does what belongs to its user.
package EgressCluster;

use strict;
use warnings;
use DBI;
use Exporter 'import';
use File::Temp qw(tempdir);
use POSIX ();
use Test::More ();

our @EXPORT = qw(cluster standby ask client postmaster);

BEGIN
{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	chomp(my $bindir = `$pg_config --bindir`);
	chomp(my $pgxs = `$pg_config --pgxs`);
	(my $source = $pgxs) =~ s{/makefiles/[^/]*$}{};

	umask 022;
	my $folder = tempdir('egress-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	if ($> == 0)
	{
		my ($uid, $gid, $home) = (getpwnam('postgres'))[2, 3, 7];
		die "root needs a user postgres to run a server as\n" if !defined $uid;
		chown $uid, $gid, $folder;
		$( = $gid;
		$) = "$gid $gid";
		POSIX::setuid($uid) or die "setuid: $!";
		$ENV{HOME} = $home;
	}
	chdir $folder;

	$ENV{PATH} = "$bindir:$ENV{PATH}";
	$ENV{PG_REGRESS} = "$source/test/regress/pg_regress";
	# the one of these that the major at hand looks at
	@ENV{qw(TESTDIR TESTDATADIR TESTLOGDIR)} = ($folder, $folder, "$folder/log");
	# perl stops at a folder that it may not enter any more
	@INC = ("$source/test/perl", grep { ref || -r } @INC);
}

# runs after PostgreSQL's module has decided to keep the folders of a test that failed, and before they are removed
END
{
	$File::Temp::KEEP_ALL = 0 if !$ENV{PG_TEST_NOCLEAN};
}

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

$ENV{PGUSER} = 'postgres';

# stderr goes to a log in the folder that goes: why a test ended must be seen all the same
$SIG{__DIE__} = sub { Test::More::diag(@_) if defined $^S && !$^S };

# an interrupted test, or one whose terminal is closed, comes to its end, which stops the servers; clients that it forked have none
my $test = $$;
$SIG{HUP} = $SIG{INT} = $SIG{TERM} = sub { $$ == $test ? exit 130 : POSIX::_exit(130) };

my %log_files;

# before PostgreSQL's module stops the servers
END
{
	my $status = $?;
	my @failed = $$ != $test || $status == 0 && Test::More->builder->is_passing ? () : sort keys %log_files;
	for my $name (@failed)
	{
		chomp(my @lines = `tail -n 40 '$log_files{$name}' 2>&1`);
		Test::More::diag(join "\n", "the last lines of the log of $name:", @lines);
	}
	$? = $status;
}

sub cluster
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1, extra => [ '--username=postgres', '--locale=C.UTF-8', '--encoding=UTF8' ]);
	$node->append_conf('postgresql.conf', join("\n", @settings));
	$log_files{$name} = $node->logfile;
	return $node;
}

sub standby
{
	my ($name, $primary, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$primary->backup($name);
	$node->init_from_backup($primary, $name, has_streaming => 1);
	$node->append_conf('postgresql.conf', join("\n", @settings));
	$log_files{$name} = $node->logfile;
	return $node;
}

sub ask
{
	my ($node, $sql, $user) = @_;
	my ($output, $error) = ('', '');
	$node->psql('postgres', $sql, stdout => \$output, stderr => \$error, on_error_stop => 0,
		extra_params => [ '-U', $user // $ENV{PGUSER}, '-v', 'VERBOSITY=sqlstate' ]);
	return $error =~ /ERROR:\s+(\w{5})/ ? $1 : $output;
}

sub client
{
	my ($node, $user, $database) = @_;
	my $dbh = DBI->connect('dbi:Pg:' . ($node->connstr($database // 'postgres') =~ s/ /;/gr), $user // $ENV{PGUSER}, undef,
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, AutoInactiveDestroy => 1 });
	$dbh->do('SET client_min_messages = warning');
	return $dbh;
}

sub postmaster
{
	my ($node) = @_;
	open my $file, '<', $node->data_dir . '/postmaster.pid' or die "postmaster.pid: $!";
	chomp(my $pid = <$file>);
	return $pid;
}

1;
