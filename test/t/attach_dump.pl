# attach_dump.pl -- a dump and a restore keep the application's tables attached: DESIGN section 4
#
# A database with a session table and a partitioned membership table, attached by a role that has app access only, is
# dumped, as a script and as an archive, and restored into another one. There the triggers work, the members follow, and
# both tables can be detached.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use EgressTest;
use File::Temp qw(tempdir);
use Test::More;

chomp(my $bindir = `@{[$ENV{PG_CONFIG} || 'pg_config']} --bindir`);
my $folder = tempdir('egress-attach-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $restored = 'egress_attach_restored';
my $role = 'egress_attach_app';

sub clean_up
{
	my ($test) = @_;
	my $dbh = $test->connect('postgres');
	$dbh->do("DROP DATABASE IF EXISTS $restored WITH (FORCE)");
	$dbh->disconnect;
	$dbh = $test->connect;
	if ($dbh->selectrow_array("SELECT 1 FROM pg_roles WHERE rolname = '$role'"))
	{
		$dbh->do("DROP OWNED BY $role CASCADE");
		$dbh->do("DROP ROLE $role");
	}
	$dbh->disconnect;
}

# rows SESSION, SQL: the rows as text
sub rows { my ($dbh, $sql) = @_; return join ' ', map { join '/', @$_ } @{ $dbh->selectall_arrayref($sql) } }
sub members { return rows($_[0], 'SELECT user_id, group_id FROM egress_group_member ORDER BY 1, 2') }
sub leases { return rows($_[0], 'SELECT session_id FROM egress_lease ORDER BY 1') }
sub triggers
{
	return rows($_[0], q{SELECT tgrelid::regclass, tgname, pg_get_triggerdef(oid), tgparentid <> 0 FROM pg_trigger
		WHERE NOT tgisinternal AND tgname ~ '^egress_(session|group_member)_' ORDER BY 1, 2});
}

our $test = EgressTest->new('attach_dump');
clean_up($test);
my $dbh = $test->connect;
$dbh->do($_) for split /;;\n/, <<"SQL";
CREATE ROLE $role;;
SELECT egress_grant_access('$role', 'app');;
CREATE SCHEMA "The App" AUTHORIZATION $role;;
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'provider', 'custom');;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'gateway');;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');;
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'credential', 'everyone');;
SET ROLE $role;;
SET search_path = "The App", public;;
CREATE TYPE "State" AS ENUM ('running', 'over');;
CREATE TABLE "Session" ("Id" uuid PRIMARY KEY, state "State");;
CREATE TABLE member (tenant text, "User" bigint, "Group" text) PARTITION BY LIST (tenant);;
CREATE TABLE member_a PARTITION OF member FOR VALUES IN ('a');;
CREATE TABLE member_b PARTITION OF member FOR VALUES IN ('b');;
INSERT INTO "Session" SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'running' FROM generate_series(1, 5) n;;
INSERT INTO member VALUES ('a', 1, 'x'), ('a', 2, 'x'), ('b', 1, 'x'), ('b', 3, 'y');;
SELECT egress_attach_sessions('"Session"', 'Id', \$\$NEW.state = 'over'::"State"\$\$);;
SELECT egress_attach_group_members('member', 'User', 'Group');;
SELECT count(egress_acquire_credential('ann', NULL, 1, "Id"::text)) FROM "Session";;
RESET ROLE;;
RESET search_path;;
SQL
my ($leases, $members, $triggers) = (leases($dbh), members($dbh), triggers($dbh));
is(scalar(split ' ', $leases), 5, 'five sessions hold leases');
is($members, '1/x 2/x 3/y', 'three members');
my ($database) = $dbh->selectrow_array('SELECT current_database()');
$dbh->disconnect;

for my $format (qw(plain custom))
{
	my $admin = $test->connect('postgres');
	$admin->do("DROP DATABASE IF EXISTS $restored WITH (FORCE)");
	$admin->do("CREATE DATABASE $restored TEMPLATE template0");
	$admin->disconnect;

	my @restore = $format eq 'plain'
	  ? ("$bindir/psql", '-qX', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-1', '-d', $restored, '-f')
	  : ("$bindir/pg_restore", '--exit-on-error', '-d', $restored);
	is(system("$bindir/pg_dump", "--format=$format", "--file=$folder/$format", $database), 0, "$format: dumped");
	is(system(@restore, "$folder/$format"), 0, "$format: restored");

	$dbh = $test->connect($restored);
	is(leases($dbh), $leases, "$format: the leases are there");
	is(members($dbh), $members, "$format: and so are the members");
	is(triggers($dbh), $triggers, "$format: and so are the triggers");

	# the role still has its access, and the tables are its own
	$dbh->do("SET ROLE $role");
	$dbh->do(q{UPDATE "The App"."Session" SET state = 'over' WHERE "Id"::text LIKE '%1'});
	$dbh->do(q{DELETE FROM "The App"."Session" WHERE "Id"::text LIKE '%2'});
	$dbh->do(q{UPDATE "The App"."Session" SET "Id" = '00000000-0000-4000-8000-0000000000ff' WHERE "Id"::text LIKE '%3'});
	$dbh->do('RESET ROLE');
	is(leases($dbh), join(' ', (split ' ', $leases)[3, 4]), "$format: an update, a delete and a changed id end leases");
	$dbh->do(qq{SET ROLE $role});
	$dbh->do('TRUNCATE "The App"."Session"');
	$dbh->do(q{DELETE FROM "The App".member_a WHERE "User" = 1});
	$dbh->do(q{INSERT INTO "The App".member VALUES ('b', 4, 'z')});
	$dbh->do('RESET ROLE');
	is(leases($dbh), '', "$format: TRUNCATE ends the others");
	is(members($dbh), '1/x 2/x 3/y 4/z', "$format: the members follow, and know the row of another partition");
	$dbh->do(qq{SET ROLE $role});
	$dbh->do('TRUNCATE "The App".member_b');
	$dbh->do('RESET ROLE');
	is(members($dbh), '2/x', "$format: and the TRUNCATE of a partition");

	$dbh->do(qq{SET ROLE $role});
	is(sqlstate { $dbh->do(q{SELECT egress_attach_sessions('"The App"."Session"', 'Id')}) }, '42710',
		"$format: the sessions are known to be attached");
	is(sqlstate { $dbh->do(q{SELECT egress_attach_group_members('"The App".member', 'User', 'Group')}) }, '42710',
		"$format: and so are the members");
	$dbh->do(q{SELECT egress_detach_sessions('"The App"."Session"')});
	$dbh->do(q{SELECT egress_detach_group_members('"The App".member')});
	$dbh->do('RESET ROLE');
	is(triggers($dbh), '', "$format: detached, nothing is left");
	is(members($dbh), '', "$format: no members either");
	$dbh->disconnect;
}

done_testing();

END
{
	my $status = $?;
	clean_up($test) if $test;
	$? = $status;
}
