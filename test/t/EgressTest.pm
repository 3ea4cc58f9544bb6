# EgressTest.pm -- what the tests of this folder share: a database of their own with egress in it, and clients
#
#   my $test = EgressTest->new('leaks');      creates the database egress_leaks and the extension in it
#   my $dbh = $test->connect;                 a connection; errors die, DBI's state() has the SQLSTATE
#   my $error = sqlstate { ... };             '' or the SQLSTATE of what died in there
#   my $value = value($dbh, $sql, @values);   the first column of the first row
#   my $rows = rows($dbh, $sql, @values);     all of them, as psql -A -t has them
#   my $most = most_at_once([from, until]...) how many of these intervals are open at the same time, at most
#   is_short(\@wrong, $name);                a test that a list is empty; of a long one some are shown
#   my $text = slurp($path);                  what a file has, for those that ask for it by name
#
# The database goes when the object does. The server is the one of PGHOST and PGPORT; the user is a superuser.
package EgressTest;

use strict;
use warnings;
use DBI;
use Exporter 'import';
use Test::More ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);

our @EXPORT = qw(sqlstate value rows now wait_until most_at_once is_short);
our @EXPORT_OK = qw(slurp);

sub new
{
	my ($class, $name) = @_;
	my $self = bless { database => "egress_$name", owner => $$ }, $class;

	my $dbh = $self->connect('postgres');
	$dbh->do("DROP DATABASE IF EXISTS $self->{database} WITH (FORCE)");
	$dbh->do("CREATE DATABASE $self->{database} TEMPLATE template0");
	$dbh->disconnect;

	$dbh = $self->connect;
	$dbh->do('CREATE EXTENSION egress');
	$dbh->disconnect;
	return $self;
}

sub connect
{
	my ($self, $database) = @_;
	$database //= $self->{database};
	my $dbh = DBI->connect("dbi:Pg:dbname=$database", undef, undef,
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, AutoInactiveDestroy => 1 });
	$dbh->do('SET client_min_messages = warning');
	return $dbh;
}

sub DESTROY
{
	my ($self) = @_;
	return if $$ != $self->{owner};    # a client that was forked

	# what a failed test left prepared would keep the database
	local ($@, $?);
	eval {
		my $dbh = $self->connect;
		$dbh->do("ROLLBACK PREPARED '$_'")
		  for map { $_->[0] } @{ $dbh->selectall_arrayref(
				'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()') };
		$dbh->disconnect;
		$dbh = $self->connect('postgres');
		$dbh->do("DROP DATABASE $self->{database} WITH (FORCE)");
		$dbh->disconnect;
	};
	warn $@ if $@;
}

# the SQLSTATE with which a block of code failed, '' when it did not; what is not the server's error dies on
sub sqlstate (&)
{
	my ($code) = @_;
	return '' if eval { $code->(); 1 };
	my $state = $DBI::state;
	die $@ if !$state;
	return $state;
}

sub value
{
	my ($dbh, $sql, @values) = @_;
	return ($dbh->selectrow_array($sql, undef, @values))[0];
}

sub rows
{
	my ($dbh, $sql, @values) = @_;
	return join "\n", map { join '|', map { $_ // '' } @$_ } @{ $dbh->selectall_arrayref($sql, undef, @values) };
}

# the same clock in every process
sub now
{
	return clock_gettime(CLOCK_MONOTONIC);
}

# how many intervals are open at the same time, at most; at the same moment, ends come first
sub most_at_once
{
	my ($held, $most) = (0, 0);
	for my $change (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } map { ([ $_->[0], 1 ], [ $_->[1], -1 ]) } @_)
	{
		$held += $change->[1];
		$most = $held if $held > $most;
	}
	return $most;
}

sub is_short
{
	my ($wrong, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	Test::More::ok(@$wrong == 0, $name)
	  or Test::More::diag(scalar(@$wrong) . " wrong:\n" . join("\n", grep { defined } @$wrong[ 0 .. 9 ]));
}

# wait until a condition holds; false when it still does not after a minute, or after so many seconds
sub wait_until (&;$)
{
	my ($condition, $seconds) = @_;
	my $deadline = now() + ($seconds // 60);
	while (!$condition->())
	{
		return 0 if now() > $deadline;
		sleep 0.005;
	}
	return 1;
}

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!";
	return do { local $/; <$file> };
}

1;
