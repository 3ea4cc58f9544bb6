# What doc/drivers.md says of DBD::Pg.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types);

sub says { printf "%s: %s\n", $_[0], $_[1] // 'undef' }

sub connected
{
	my ($dsn, %attributes) = @_;
	return DBI->connect("dbi:Pg:$dsn", undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1, %attributes });
}

# what a query answers in its first column, or the SQLSTATE of its error
sub answer
{
	my ($db, $sql, @values) = @_;
	my $answer;
	return eval { ($answer) = $db->selectrow_array($sql, undef, @values); 1 } ? $answer : $db->state;
}

my $acquire = 'SELECT credential_name FROM egress.egress_acquire_credential(?, ?, 1, ?)';
my $renew = 'SELECT egress.egress_renew_lease(?, ?)';
my $db = connected('');
my ($one, $two) = map { answer($db, 'INSERT INTO session (user_id, workspace_id) VALUES (1, 1) RETURNING id') } 1 .. 2;
says('ids are a number, undef and a string', answer($db, $acquire, 1, undef, $one));
says('NG004', answer($db, $acquire, 1, undef, $two));
says('a string is compared with an enum', answer($db,
	'SELECT name FROM egress.egress_provider WHERE egress_provider_id = 1 AND provider_type = ?', 'openvpn'));
says('countries and ids as arrays', answer($db,
	'SELECT gateway_name FROM egress.egress_acquire_gateway(?, ?, ?, countries => ?, avoid => ?)', 1, undef, $one, ['NL'], [2]));
says('a list', answer($db, 'SELECT action FROM egress.egress_sync_gateways(900, ?)', '[{"name": "one", "country": "SE"}]'));
says('a lease without an end', answer($db, $renew, $one, undef));

# two clients, who share the pooler's connection, each with the same statement again and again
for my $prepare (0, 1)
{
	my @clients = map { connected("port=$ENV{POOLER_PORT}", pg_server_prepare => $prepare) } 1 .. 2;
	my @statements = map { $_->prepare($renew) } @clients;
	my $outcome = 'works';
	for my $time (1 .. 5)
	{
		for my $statement (@statements)
		{
			eval { $statement->execute($one, '90 seconds'); $statement->finish; 1 } or $outcome = $statement->state;
			last if $outcome ne 'works';
		}
		last if $outcome ne 'works';
	}
	says("through pgbouncer, pg_server_prepare => $prepare", $outcome);
	$_->{InactiveDestroy} = 1 for @statements;
}
$db->do("UPDATE session SET status = 'stopped'");
