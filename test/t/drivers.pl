# drivers.pl -- ids as a driver sends them, through a real one: strings, uuids and integers, as parameters of their types
#
# DBD::Pg declares the type of a parameter to the server when it is told which, as other drivers do by the value that they
# are given, and declares none otherwise; without server-side prepared statements it declares none.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use DBD::Pg qw(:pg_types);
use EgressTest;
use Test::More;

my $test = EgressTest->new('drivers');
my $dbh = $test->connect;

# an application's tables, and a world for its users
$dbh->do($_) for split /;\n/, <<'SQL';
CREATE TABLE person (id uuid PRIMARY KEY, number bigint UNIQUE);
CREATE TABLE desk (id int PRIMARY KEY);
CREATE TABLE session (id uuid PRIMARY KEY);
CREATE TABLE job (id bigint PRIMARY KEY);
INSERT INTO person VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 42);
INSERT INTO session VALUES ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
INSERT INTO job VALUES (9007199254740993);
INSERT INTO egress_provider VALUES (1, 'one', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'gateway');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id)
    VALUES (1, 'user', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (1, 'user', '42');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, custom_credential) VALUES (1, 'credential', 'everyone', 'x');
SELECT egress_attach_sessions('session', 'id');
SELECT egress_attach_sessions('job', 'id');
DROP ROLE IF EXISTS egress_drivers_app;
CREATE ROLE egress_drivers_app;
SELECT egress_grant_access('egress_drivers_app', 'app')
SQL
my $as = sub { $dbh->do("SET ROLE $_[0]") };

# run SQL PARAMETER...: each a value, or a pair of value and type; the first column of the first row
sub run
{
	my ($sql, @parameters) = @_;
	my $statement = $dbh->prepare($sql);
	my $number = 0;
	for my $parameter (@parameters)
	{
		my ($value, $type) = ref $parameter ? @$parameter : ($parameter);
		$statement->bind_param(++$number, $value, defined $type ? { pg_type => $type } : ());
	}
	$statement->execute;
	my $result = ($statement->fetchrow_array)[0];
	$statement->finish;
	return $result;
}

my $person = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
my $session = 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
my $job = '9007199254740993';

# the user, the workspace, the session; and the ids that these are
my @calls = (
	[ 'uuids', [ $person, PG_UUID ], [ undef, PG_UUID ], [ $session, PG_UUID ], $person, $session ],
	[ 'uuids as some languages write them', [ uc $person, PG_UUID ], [ 7, PG_INT4 ], [ "{\U$session\E}", PG_UUID ], $person, $session ],
	[ 'numbers', [ 42, PG_INT8 ], [ 7, PG_INT2 ], [ $job, PG_INT8 ], '42', $job ],
	[ 'a number beyond bigint, as numeric', [ 42, PG_NUMERIC ], undef, [ $job, PG_NUMERIC ], '42', $job ],
	[ 'a uuid and strings of no type', $person, '7', [ $session, PG_UUID ], $person, $session ],
	[ 'a number and strings of a type', [ 42, PG_INT4 ], [ '7', PG_VARCHAR ], [ $session, PG_TEXT ], '42', $session ],
	[ 'strings of no type', $person, undef, $session, $person, $session ],
	[ 'strings of a type', [ '42', PG_VARCHAR ], [ undef, PG_TEXT ], [ $job, PG_VARCHAR ], '42', $job ]);

for my $prepared (0, 1)
{
	$dbh->{pg_server_prepare} = $prepared;
	for my $call (@calls)
	{
		my ($label, $user_id, $workspace_id, $session_id, $user, $lease) = @$call;
		$as->('egress_drivers_app');
		next if !$prepared && $label =~ /^uuids as/;    # texts, then, and other ones
		$label .= $prepared ? ', prepared' : ', at once';
		is(run('SELECT gateway_name FROM egress_available_gateways(?, ?)', $user_id, $workspace_id), 'gateway', "$label: the menu");
		for my $time (1, 2)
		{
			is(run('SELECT credential_name FROM egress_acquire_credential(?, ?, 1, ?)', $user_id, $workspace_id, $session_id),
				'credential', "$label: acquire $time");
		}
		$as->('NONE');
		is(value($dbh, q{SELECT string_agg(session_id || ' ' || user_id, ',') FROM egress_lease}), "$lease $user",
			"$label: the lease has the ids that the tables show");
		$as->('egress_drivers_app');
		ok(run('SELECT egress_renew_lease(?, NULL)', $session_id), "$label: renew");
		is(run('SELECT egress_release_credential(?)', $session_id), 1, "$label: release");
	}
}

$as->('NONE');
# what the triggers end is what was acquired with the same value
run('SELECT FROM egress_acquire_credential(?, NULL, 1, ?)', [ 42, PG_INT8 ], [ "{\U$session\E}", PG_UUID ]);
run('SELECT FROM egress_acquire_credential(?, NULL, 1, ?)', [ 42, PG_INT8 ], [ $job, PG_INT8 ]);
is(value($dbh, 'SELECT count(*) FROM egress_lease'), 2, 'two sessions');
$dbh->do('DELETE FROM session WHERE id = ?', undef, uc $session);
$dbh->do('DELETE FROM job WHERE id = ?', undef, $job);
is(value($dbh, 'SELECT count(*) FROM egress_lease'), 0, 'end with their rows');

$dbh->do('DROP OWNED BY egress_drivers_app');
$dbh->do('DROP ROLE egress_drivers_app');
$dbh->disconnect;
done_testing();
