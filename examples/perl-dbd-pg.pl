# perl-dbd-pg.pl -- a session and its lease, with DBD::Pg
#
#   PGHOST=... PGUSER=workspaces PGPASSWORD=... PGDATABASE=... perl perl-dbd-pg.pl USER WORKSPACE GATEWAY TTL
#
# Debian: libdbd-pg-perl. An id is a string or a number, as it came. world.sql makes the role and the tables.
use strict;
use warnings;
use DBI;
use Time::HiRes qw(sleep);

my ($user, $workspace, $gateway, $ttl) = @ARGV;
$| = 1;

# the parameters of the connection are those of libpq, from the environment; pg_server_prepare: a pooler in transaction
# mode gives each transaction another connection, on which the statements prepared before are not
my $db = DBI->connect('dbi:Pg:', undef, undef,
	{ RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_server_prepare => 0 });

# the launch menu: undef is any number of connections, 0 a full gateway
my $menu = $db->selectall_arrayref(
	'SELECT egress_gateway_id, gateway_name, available_connections FROM egress.egress_available_gateways(?, ?)',
	{ Slice => {} }, $user, $workspace);
print 'menu: ', join(', ', map { "$_->{gateway_name} (" . ($_->{available_connections} // 'any') . ')' } @$menu), "\n";
my ($picked) = grep { $_->{gateway_name} eq $gateway } @$menu or die "$gateway is not in the menu\n";

my $session = start_session($picked->{egress_gateway_id});

# A renewal each third of the ttl, while the session runs: here for a whole one. Undef: too late, or it was ended by hand.
for (1 .. 3)
{
	sleep $ttl / 3;
	my ($until) = $db->selectrow_array('SELECT egress.egress_renew_lease(?, make_interval(secs => ?))', undef, $session, $ttl);
	if (!defined $until)
	{
		print "the lease is over: stop the tunnel\n";
		last;
	}
	print "renewed until $until\n";
}

# the trigger of the table ends the lease
$db->do(q{UPDATE session SET status = 'stopped' WHERE id = ?}, undef, $session);
print "stopped\n";

# the session's row and its lease, both or neither; when all connections are taken, again after a while, and a longer one
sub start_session
{
	my ($gateway_id) = @_;
	for my $try (0 .. 9)
	{
		my $session;
		my $lease = eval {
			$db->begin_work;
			($session) = $db->selectrow_array('INSERT INTO session (user_id, workspace_id) VALUES (?, ?) RETURNING id',
				undef, $user, $workspace);
			my $row = $db->selectrow_hashref('SELECT credential_name, config
				FROM egress.egress_acquire_credential(?, ?, ?, ?, make_interval(secs => ?))',
				undef, $user, $workspace, $gateway_id, $session, $ttl);
			$db->commit;
			$row;
		};
		if ($lease)
		{
			printf "session %s has %s, and a config of %d characters\n", $session, $lease->{credential_name}, length $lease->{config};
			return $session;
		}
		my ($state, $error) = ($db->state, $@);    # the SQLSTATE, until the handle is used again
		eval { $db->rollback };                    # this fails too when the connection is gone, and what was first says why
		die $error if $state ne 'NG004' || $try == 9;
		print "full: again\n";
		sleep 0.1 * 2**$try * (0.5 + rand);
	}
}
