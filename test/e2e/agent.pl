# agent.pl FOLDER -- an agent that stops the tunnels of this host whose lease has ended
#
# FOLDER has a file SESSION.tunnel for each tunnel that runs: the acquired_at of its lease, and the command that stops it, a
# line each. Whoever starts a tunnel writes the file first. The agent listens for egress_lease_ended. It reads who is connected
# when it begins, because what was told before is lost, and then what it is told of. A tunnel stops when egress_connection does
# not have the lease any more: a session may have another one since.
#
# The database is that of libpq's environment; the role needs 'monitor' access.
use strict;
use warnings;
use DBI;
use IO::Select;
use JSON::PP qw(decode_json);

my ($folder) = @ARGV;
$| = 1;

my $dbh = DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 0 });
$dbh->do('LISTEN egress_lease_ended');
check(s{.*/(.*)\.tunnel$}{$1}sr) for glob "$folder/*.tunnel";
print "listening\n";
my $socket = IO::Select->new($dbh->{pg_socket});
while (1)
{
	while (my $notice = $dbh->pg_notifies)
	{
		check(decode_json($notice->[2])->{session_id});
	}
	$socket->can_read;
}

# check -- stop a session's tunnel, if there is one, unless its lease is live
sub check
{
	my ($session) = @_;
	open my $file, '<', "$folder/$session.tunnel" or return;
	chomp(my ($acquired_at, $command) = <$file>);
	close $file;
	return if $dbh->selectrow_array('SELECT 1 FROM egress_connection WHERE session_id = ? AND acquired_at = ?', undef,
		$session, $acquired_at);
	print "$session: $command\n";
	system($command);
	unlink "$folder/$session.tunnel";
	return;
}
