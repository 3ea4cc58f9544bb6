# dump.pl -- what pg_dump and pg_dumpall carry is all there after the restore, and works
#
# A database in which every table of egress has rows, in a schema whose name needs quotes: leases at a limit, with an end,
# and over; sealed secrets; a withdrawn gateway; selections; a history; ids that were used and deleted; privileges given and
# taken. Its application has a session table and a partitioned membership table, attached by a role of its own. It is
# dumped in every way that people dump, restored into a database or cluster beside it, and there
#	1. state() is the same: every row of egress, its sequences, the privileges on all its objects, and the triggers;
#	2. egress_works() and application_works(): the limit holds, secrets open, ids go on, the tables are still attached.
# All that succeeds without a special flag and without a word on stderr, as do the other programs that a night runs.
use strict;
use warnings;
use DBI;
use FindBin;
use lib $FindBin::Bin;
use EgressTest;
use IPC::Run;
use Test::More;
use EgressCluster;

my $folder = PostgreSQL::Test::Utils::tempdir('dump');
PostgreSQL::Test::Utils::append_to_file("$folder/key", `head -c 32 /dev/urandom | base64`);
chmod 0600, "$folder/key";
my $original = cluster('original', 'fsync = off', "egress.secret_key_file = '$folder/key'");
$original->start;

# session [DATABASE, NODE]: a connection that sees the schema of egress
sub session
{
	my ($database, $node) = @_;
	my $dbh = client($node // $original, 'postgres', $database // 'original');
	$dbh->do('SET search_path = "VPN", public');
	return $dbh;
}

# run SERVER, PROGRAM, ARGUMENT...: one of PostgreSQL's programs; returns whether it succeeded, and what it said
sub run
{
	my ($node, @command) = @_;
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	delete local $ENV{PGAPPNAME};    # by its own name it is known
	my $said = '';
	my $succeeded = IPC::Run::run(\@command, '<', '/dev/null', '>', '/dev/null', '2>', \$said);
	return ($succeeded, $said);
}

# succeeds WHAT, PROGRAM, ARGUMENT...: a test that it does so in silence
sub succeeds
{
	my ($what, @command) = @_;
	my ($succeeded, $said) = run($original, @command);

	ok($succeeded, $what) or diag($said);
	is($said, '', "$what, in silence") if $succeeded;
	return;
}

# a plain dump, without the word that it gives to psql as the end of its restrictions
sub text_of { return PostgreSQL::Test::Utils::slurp_file($_[0]) =~ s/^\\(?:un)?restrict \S+\n//mgr }

# all that a dump has to carry, of egress and of what is attached to it
sub state
{
	my ($dbh) = @_;
	my @state;
	for my $relation (map { $_->[0] } @{ $dbh->selectall_arrayref(<<'SQL') })
SELECT oid::regclass FROM pg_class WHERE relnamespace = '"VPN"'::regnamespace AND relkind IN ('r', 'S') ORDER BY relname
SQL
	{
		my $columns = $relation =~ /_seq"?$/ ? 'last_value, is_called' : '*';
		push @state, "$relation: $_" for split /\n/, rows($dbh, "SELECT $columns FROM $relation ORDER BY 1, 2");
	}
	push @state, split /\n/, rows($dbh, <<'SQL');
WITH objects (object, acl) AS (
    SELECT classid::regclass || ' ' || objid, CASE classid
           WHEN 'pg_class'::regclass THEN (SELECT coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
                                           FROM pg_class WHERE oid = objid)
           WHEN 'pg_proc'::regclass THEN (SELECT coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE oid = objid)
           WHEN 'pg_type'::regclass THEN (SELECT coalesce(typacl, acldefault('T', typowner)) FROM pg_type WHERE oid = objid) END
    FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'),
row_types AS (
    SELECT 'row type ' || t.typname, coalesce(t.typacl, acldefault('T', t.typowner))
    FROM pg_depend d JOIN pg_type t ON t.typrelid = d.objid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
identified AS (
    SELECT i.identity AS object, acl FROM pg_depend d
    CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
    JOIN objects ON objects.object = d.classid::regclass || ' ' || d.objid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
    UNION ALL SELECT * FROM row_types
    UNION ALL SELECT 'schema ' || nspname, nspacl FROM pg_namespace WHERE nspname = 'VPN')
SELECT object, grantee::regrole::text, privilege_type, is_grantable
FROM identified, LATERAL aclexplode(acl) ORDER BY 1, 2, 3
SQL
	push @state, split /\n/, rows($dbh, <<'SQL');
SELECT tgrelid::regclass, pg_get_triggerdef(oid), tgparentid <> 0, tgenabled FROM pg_trigger
WHERE NOT tgisinternal AND tgrelid::regclass::text ~ 'App' ORDER BY 1, 2
SQL
	return \@state;
}

# of egress alone
sub of_egress { return [ grep { !/"The App"/ } @{ $_[0] } ] }

# the leases of the sessions, their slots, the members
sub leases { return join ' ', split /\n/, rows($_[0], 'SELECT right(session_id, 3) FROM egress_lease ORDER BY 1') }
sub members { return join ' ', split /\n/, rows($_[0], 'SELECT user_id || group_id FROM egress_group_member ORDER BY 1') }

# acquire SESSION, USER, WORKSPACE, GATEWAY, ID: the password or the other secret, or the SQLSTATE
sub acquire
{
	my ($dbh, @arguments) = @_;
	my $secret;
	my $state = sqlstate {
		($secret) = $dbh->selectrow_array('SELECT coalesce(password, private_key, custom_credential) FROM egress_acquire_credential(?, ?, ?, ?)',
			undef, @arguments)
	};
	return $state || $secret;
}

my $id = '00000000-0000-4000-8000-000000000';
$original->safe_psql('postgres', 'CREATE DATABASE original');
my $dbh = session();
$dbh->do($_) for split /;;\n/, <<"SQL";
CREATE ROLE app;;
CREATE ROLE admin;;
CREATE ROLE monitor;;
CREATE ROLE auditor;;
CREATE SCHEMA "VPN";;
CREATE EXTENSION egress SCHEMA "VPN";;
SELECT egress_grant_access('app', 'app'), egress_grant_access('admin', 'admin'), egress_grant_access('monitor', 'monitor');;
GRANT SELECT (session_id, acquired_at) ON egress_lease TO auditor WITH GRANT OPTION;;
GRANT SELECT ON egress_lease_history TO PUBLIC;;
REVOKE EXECUTE ON FUNCTION egress_expire_leases() FROM app;;
INSERT INTO egress_provider (name, provider_type, managed, enable_new_managed_gateways)
VALUES ('Acme', 'openvpn', true, true), ('Birch', 'wireguard', false, false), ('Cedar', 'custom', false, false);;
SELECT egress_sync_gateways(1, '[{"name": "ams", "country": "NL", "config": "remote ams.example.net"}, {"name": "par"}]');;
SELECT egress_sync_gateways(1, '[{"name": "ams", "country": "NL", "config": "remote ams.example.net"}]');;
INSERT INTO egress_gateway (egress_provider_id, name, config)
VALUES (2, 'osl', E'[Interface]\\n[Peer]\\nPublicKey = kz4N+i+CzCforkH92fMX6BaO9jOViIl3SfoyT4dMQTM='),
       (3, 'nyc', NULL), (3, 'sfo', E'any\\ttext \\\\. \\u00e9\\r\\n'), (3, 'gone', NULL);;
DELETE FROM egress_gateway WHERE name = 'gone';;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id, allow_all_gateways)
VALUES (1, 'group', 'x', true), (2, 'user', 'ann', true), (3, 'workspace', 'kiosk', false);;
INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (3, 4);;
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, username, password, private_key,
	custom_credential, allow_all_gateways, limit_active_connections, active_connection_limit)
VALUES (1, 'pool', 'everyone', NULL, 'user', 'swordfish', NULL, NULL, true, true, 3),
	(2, 'key', 'user', 'ann', NULL, NULL, 'WAv2XYNHKEVuK6zhN8Zdkg0Mhpw1RdrHXZxrwGqAb18=', NULL, true, false, NULL),
	(3, 'one', 'everyone', NULL, NULL, NULL, NULL, repeat('long', 4000), false, true, 1);;
UPDATE egress_credential SET once_per_gateway = false WHERE name = 'key';;
INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (3, 4);;
INSERT INTO egress_workspace VALUES ('kiosk', true), ('it''s "quoted"\\', false);;
INSERT INTO egress_user_limit VALUES ('everyone', NULL, 7), ('user', 'it''s "quoted"\\', 3), ('group', 'staff', 0);;

CREATE SCHEMA "The App" AUTHORIZATION app;;
SET ROLE app;;
SET search_path = "The App", "VPN";;
CREATE TYPE "State" AS ENUM ('running', 'over');;
CREATE TABLE "Session" ("Id" uuid PRIMARY KEY, state "State");;
CREATE TABLE member (tenant text, "User" bigint, "Group" text) PARTITION BY LIST (tenant);;
CREATE TABLE member_a PARTITION OF member FOR VALUES IN ('a');;
CREATE TABLE member_b PARTITION OF member FOR VALUES IN ('b');;
INSERT INTO "Session" SELECT ('$id' || n)::uuid, 'running' FROM generate_series(101, 108) n;;
INSERT INTO member VALUES ('a', 1, 'x'), ('a', 2, 'x'), ('b', 1, 'x'), ('b', 3, 'y');;
SELECT egress_attach_sessions('"Session"', 'Id', \$\$NEW.state = 'over'::"State"\$\$);;
SELECT egress_attach_group_members('member', 'User', 'Group');;

SELECT egress_acquire_credential('1', NULL, 1, '${id}106');;
SELECT egress_release_credential('${id}106');;
SELECT egress_acquire_credential('1', NULL, 1, '${id}107');;
DELETE FROM "Session" WHERE "Id" = '${id}107';;
SELECT egress_acquire_credential('1', NULL, 1, '${id}108', '1 microsecond');;
RESET ROLE;;
SET search_path = "VPN";;
SELECT egress_expire_leases();;
SELECT egress_acquire_credential('1', NULL, 1, '$id' || n) FROM generate_series(101, 103) n;;
SELECT egress_acquire_credential('ann', NULL, 3, '${id}104', '1 hour');;
SELECT egress_report_failure('${id}101', 'gateway'), egress_report_failure('${id}101', 'credential');;
SELECT egress_acquire_credential('bob', 'kiosk', 4, '${id}105', '1 microsecond')
SQL
my $state = state($dbh);
for my $table (map { $_->[0] } @{ $dbh->selectall_arrayref(q{SELECT relname FROM pg_class WHERE relnamespace = '"VPN"'::regnamespace AND relkind = 'r'}) })
{
	cmp_ok(scalar(grep { /^$table: / } @$state), '>', 0, "the database has rows in $table");
}
is(leases($dbh), '101 102 103 104 105', 'leases');
is(members($dbh), '1x 2x 3y', 'members');
is(rows($dbh, 'SELECT release_reason FROM egress_lease_history ORDER BY 1'), "expired\nreleased\nsession_end",
	'a history');
is(scalar(grep { /egress:v1:/ } @$state), 3, 'sealed secrets');
$dbh->disconnect;

# what egress does in a database where the dump was restored, without the application
sub egress_works
{
	my ($what, $dbh) = @_;

	is(acquire($dbh, '1', undef, 1, "${id}101"), 'swordfish', "$what: a lease that is there is returned with its secret");
	is(acquire($dbh, 'ann', undef, 3, "${id}201"), 'WAv2XYNHKEVuK6zhN8Zdkg0Mhpw1RdrHXZxrwGqAb18=',
		"$what: another secret opens");
	is(rows($dbh, q{SELECT gateway_name, available_connections FROM egress_available_gateways('1')}), 'ams|0',
		"$what: the menu lists the full gateway, and not the withdrawn one");
	is(acquire($dbh, '1', undef, 1, "${id}202"), 'NG004', "$what: the limit holds");
	$dbh->do("SELECT egress_release_credential('${id}103')");
	is(acquire($dbh, '1', undef, 1, "${id}103"), 'swordfish', "$what: an end makes room");
	is(acquire($dbh, '1', undef, 1, "${id}202"), 'NG004', "$what: for one");
	is(rows($dbh, 'SELECT slot FROM egress_lease WHERE egress_credential_id = 1 ORDER BY 1'), "1\n2\n3",
		"$what: in slots of their own");

	my ($expires_at) = $dbh->selectrow_array("SELECT expires_at FROM egress_lease_expiry WHERE session_id = '${id}105'");
	is(length(acquire($dbh, 'bob', 'kiosk', 4, "${id}203")), 16000, "$what: what had expired is taken over");
	is(rows($dbh, "SELECT released_at, release_reason FROM egress_lease_history WHERE session_id = '${id}105'"),
		"$expires_at|expired",
		"$what: as it ended");
	is(rows($dbh, 'SELECT max(egress_lease_history_id) FROM egress_lease_history'), 5, "$what: the history's ids go on");
	is(rows($dbh, q{INSERT INTO egress_gateway (egress_provider_id, name) VALUES (3, 'new') RETURNING egress_gateway_id}), 7,
		"$what: the gateways' after one that was deleted");
	is(rows($dbh, q{SELECT action, name FROM egress_sync_gateways(1, '[{"name": "par"}]') ORDER BY 1}),
		"returned|par\nwithdrawn|ams",
		"$what: a withdrawn gateway returns");
}

# what the application does there; sessions 101, 102, 103 and 104 hold leases
sub application_works
{
	my ($what, $dbh) = @_;
	my $as_app = sub { $dbh->do('SET ROLE app'); $dbh->do($_[0]); $dbh->do('RESET ROLE') };

	$as_app->(q{UPDATE "The App"."Session" SET state = 'over' WHERE "Id"::text LIKE '%101'});
	$as_app->(q{DELETE FROM "The App"."Session" WHERE "Id"::text LIKE '%102'});
	$as_app->(qq{UPDATE "The App"."Session" SET "Id" = '${id}999' WHERE "Id"::text LIKE '%103'});
	is(leases($dbh) =~ s/ 20\d//gr, '104', "$what: an update, a delete and a changed id end leases");
	$as_app->('TRUNCATE "The App"."Session"');
	is(leases($dbh) =~ s/104|20\d| //gr, '', "$what: TRUNCATE the others");

	is(members($dbh), '1x 2x 3y', "$what: the members are there");
	$as_app->('DELETE FROM "The App".member_a WHERE "User" = 1');
	$as_app->(q{INSERT INTO "The App".member VALUES ('b', 4, 'z')});
	is(members($dbh), '1x 2x 3y 4z', "$what: they follow, and know the row of another partition");
	$as_app->('TRUNCATE "The App".member_b');
	is(members($dbh), '2x', "$what: and the TRUNCATE of a partition");

	is(sqlstate { $as_app->(q{SELECT egress_attach_sessions('"The App"."Session"', 'Id')}) }, '42710',
		"$what: the sessions are known to be attached");
	is(sqlstate { $as_app->(q{SELECT egress_attach_group_members('"The App".member', 'User', 'Group')}) }, '42710',
		"$what: and so are the members");
	$as_app->(q{SELECT egress_detach_sessions('"The App"."Session"')});
	$as_app->(q{SELECT egress_detach_group_members('"The App".member')});
	is(rows($dbh, q{SELECT FROM pg_trigger WHERE tgname ~ '^egress_(session|group_member)_'}) . members($dbh), '',
		"$what: detached, nothing is left");
	is(sqlstate { $as_app->('SELECT FROM egress_lease') }, '42501', "$what: the application's role reads nothing");
	$dbh->do('RESET ROLE');
}

# check WHAT, DATABASE, NODE: all is there, and works
sub check
{
	my ($what, $database, $node) = @_;
	my $dbh = session($database, $node);
	is_deeply(state($dbh), $state, "$what: all is there");
	egress_works($what, $dbh);
	application_works($what, $dbh);
	$dbh->disconnect;
}

# fresh DATABASE, SQL...: an empty database
sub fresh
{
	my ($database, @sql) = @_;
	$original->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$original->safe_psql($database, $_) for @sql;
}

my @psql = qw(psql --quiet --no-psqlrc --output=/dev/null --set=ON_ERROR_STOP=1 --single-transaction);
my @pg_restore = qw(pg_restore --exit-on-error);
my @pg_restore_jobs = (@pg_restore, '--jobs=4');

# ---------------------------------------------------------------- the whole database

fresh($_) for qw(plain custom parallel);
succeeds('plain dump', qw(pg_dump --format=plain --file), "$folder/plain", 'original');
succeeds('plain restore', @psql, '--file', "$folder/plain", 'plain');
check('plain', 'plain');
succeeds('custom dump', qw(pg_dump --format=custom --file), "$folder/custom", 'original');
succeeds('custom restore', @pg_restore, '--single-transaction', '--dbname', 'custom', "$folder/custom");
check('custom', 'custom');
succeeds('custom restore over what is there', @pg_restore, qw(--clean --if-exists --dbname plain), "$folder/custom");
check('over what is there', 'plain');
succeeds('parallel dump', qw(pg_dump --format=directory --jobs=2 --file), "$folder/parallel", 'original');
succeeds('parallel restore', @pg_restore_jobs, qw(--dbname parallel), "$folder/parallel");
check('parallel', 'parallel');

# Several jobs fill the tables of an extension in any order. These two have every table before one that it refers to; in
# the second, leases are between their credential and their gateway.
my $n = 0;
my %place = map { $_ => ++$n } qw(report credential_gateway provider_mapping_gateway lease_expiry credential lease gateway
	provider_mapping provider);
my $place = sub { return $_[0] =~ / egress_(\w+) / ? $place{$1} // 0 : 0 };
my %order = (
	backwards => sub { return reverse @_ },
	across => sub { return sort { $place->($a) <=> $place->($b) } @_ });

# Nor do the triggers of the application's tables wait for the data of egress, nor those of a partitioned table for its partitions'.
my $late = qr/ TABLE DATA .* (member_a|egress_group_member) /;

# a list of what is in a dump, its data in such an order, for pg_restore, and of some comes the data last of all; and one of the data
# of egress alone
sub list
{
	my ($dump, $name, $order, $last_of_all) = @_;
	my @contents = split /^/m, `pg_restore --list $dump`;
	my ($first, $last) = (grep { $contents[$_] =~ / TABLE DATA / } 0 .. $#contents)[ 0, -1 ];
	@contents = $order ? (@contents[ 0 .. $first - 1 ], $order->(@contents[ $first .. $last ]), @contents[ $last + 1 .. $#contents ])
		: grep { / egress_/ } @contents;
	@contents = ((grep { !/$last_of_all/ } @contents), (grep { /$last_of_all/ } @contents)) if $last_of_all;
	PostgreSQL::Test::Utils::append_to_file("$folder/$name", join '', @contents);
	return "$folder/$name";
}

fresh('members_last');
succeeds('restore members last', @pg_restore, '--use-list', list("$folder/custom", 'members_last', sub { return @_ }, $late),
	'--dbname', 'members_last', "$folder/custom");
check('members last', 'members_last');

for my $name (sort keys %order)
{
	fresh($name);
	succeeds("restore $name", @pg_restore, '--use-list', list("$folder/custom", $name, $order{$name}), '--dbname', $name,
		"$folder/custom");
	check($name, $name);
}

# What comes too early fails where nobody knows that it is pg_restore, and where a dump is of INSERTs. doc/operations.md says how to
# complete that: what is there has errors again, and is not there twice.
succeeds('dump of INSERTs', qw(pg_dump --format=custom --inserts --file), "$folder/custom_inserts", 'original');
my %too_early = (renamed => [ 'custom', 'env', 'PGAPPNAME=other' ], inserted => ['custom_inserts']);
for my $name (sort keys %too_early)
{
	my ($file, @environment) = @{ $too_early{$name} };
	my $dump = "$folder/$file";
	fresh($name);
	my ($whole, $errors) = run($original, @environment, qw(pg_restore --use-list), list($dump, "$name.backwards", $order{backwards}),
		'--dbname', $name, $dump);
	ok(!$whole, "$name: a restore that failed half-way");
	cmp_ok(scalar(() = $errors =~ /violates foreign key constraint/g), '>=', 4, 'for what came too early');
	unlike($errors, qr/does not exist/, 'as foreign keys say it');
	(undef, $errors) = run($original, qw(pg_restore --data-only --use-list), list($dump, "$name.egress"), '--dbname', $name, $dump);
	is(join('', grep { /ERROR:/ && !/ duplicate key / } split /^/m, $errors), '', 'a second run knows what is there');
	check("$name, completed", $name);
}

# ------------------------------------------ the data, where the schema is there, and attached

fresh("data_$_") for qw(plain mirror_first parallel inserts);
succeeds('schema dump', qw(pg_dump --schema-only --format=custom --file), "$folder/schema", 'original');
for my $database (qw(data_plain data_mirror_first data_parallel data_inserts))
{
	succeeds("$database: schema restore", @pg_restore, '--dbname', $database, "$folder/schema");
}
$dbh = session('data_plain');
is(rows($dbh, 'SELECT FROM egress_credential') . leases($dbh) . members($dbh), '', 'a schema has no rows of egress');
$dbh->disconnect;

succeeds('data dump', qw(pg_dump --data-only --file), "$folder/data", 'original');
succeeds('data restore', @psql, '--file', "$folder/data", 'data_plain');
check('data', 'data_plain');
succeeds('data restore, the mirror first', @pg_restore, qw(--data-only --schema=VPN --dbname data_mirror_first),
	"$folder/custom");
succeeds('data restore, the source second', @pg_restore, '--data-only', '--schema=The App', qw(--dbname data_mirror_first),
	"$folder/custom");
check('the mirror first', 'data_mirror_first');
succeeds('parallel data restore', @pg_restore_jobs, qw(--data-only --dbname data_parallel), "$folder/parallel");
check('parallel data', 'data_parallel');
succeeds('data dump as INSERTs', qw(pg_dump --data-only --column-inserts --file), "$folder/inserts", 'original');
succeeds('data restore of INSERTs', @psql, '--file', "$folder/inserts", 'data_inserts');
check('INSERTs', 'data_inserts');

# ------------------------------------------------------------------- a single schema

fresh('schema_of_egress');
succeeds('dump of the schema of egress with the extension', qw(pg_dump --schema="VPN" --extension=egress --file), "$folder/egress",
	'original');
succeeds('its restore', @psql, '--file', "$folder/egress", 'schema_of_egress');
$dbh = session('schema_of_egress');
is_deeply(of_egress(state($dbh)), of_egress($state), 'schema of egress: all is there');
egress_works('schema of egress', $dbh);
$dbh->disconnect;

# an administrator's role dumps the same
succeeds('dump by an administrator', qw(pg_dump --role=admin --schema="VPN" --extension=egress --file), "$folder/by_admin",
	'original');
is(text_of("$folder/by_admin"), text_of("$folder/egress"), 'it is what a superuser dumps');

succeeds('dump of the schema of egress alone', qw(pg_dump --schema="VPN" --file), "$folder/egress_alone", 'original');
unlike(PostgreSQL::Test::Utils::slurp_file("$folder/egress_alone"), qr/CREATE EXTENSION/,
	'it has the rows, and not the extension');
fresh('egress_alone', 'CREATE SCHEMA "VPN"', 'CREATE EXTENSION egress SCHEMA "VPN"');
succeeds('data dump of it', qw(pg_dump --data-only --schema="VPN" --file), "$folder/egress_data", 'original');
succeeds('data restore of it into a fresh extension', @psql, '--file', "$folder/egress_data", 'egress_alone');
$dbh = session('egress_alone');
is_deeply([ grep { /^\w+: / } @{ state($dbh) } ], [ grep { /^\w+: / } @$state ], 'fresh extension: all rows are there');
egress_works('fresh extension', $dbh);
$dbh->disconnect;

# the application's schema goes to where egress has other rows: its tables are attached, the mirror is not filled
fresh('schema_of_application', 'CREATE SCHEMA "VPN"', 'CREATE EXTENSION egress SCHEMA "VPN"',
	q{INSERT INTO "VPN".egress_group_member VALUES ('old', 'member')}, q{SELECT "VPN".egress_grant_access('app', 'app')});
succeeds('dump of the application', qw(pg_dump), '--schema="The App"', '--file', "$folder/application", 'original');
succeeds('its restore', @psql, '--file', "$folder/application", 'schema_of_application');
$dbh = session('schema_of_application');
is_deeply([ grep { /"The App"/ } @{ state($dbh) } ], [ grep { /"The App"/ } @$state ], 'schema of the application: it is attached');
$dbh->do('SET ROLE app');
$dbh->do(q{SELECT egress_detach_group_members('"The App".member')});
$dbh->do(q{SELECT egress_attach_group_members('"The App".member', 'User', 'Group')});
$dbh->do('RESET ROLE');
$dbh->do($_) for split /;;\n/, <<"SQL";
INSERT INTO egress_provider (name, provider_type) VALUES ('provider', 'custom');;
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, 'gateway');;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');;
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'credential', 'everyone');;
SELECT egress_acquire_credential('ann', NULL, 1, '$id' || n) FROM generate_series(101, 104) n
SQL
application_works('schema of the application, members attached anew', $dbh);
$dbh->disconnect;

# ------------------------------------------------------------------------- a cluster

my $other = cluster('other', 'fsync = off', "egress.secret_key_file = '$folder/key'");
$other->start;
$original->safe_psql('postgres', "DROP DATABASE $_")
  for split /\n/, $original->safe_psql('postgres', q{SELECT datname FROM pg_database WHERE datname NOT IN ('original', 'postgres') AND NOT datistemplate});
succeeds('dump of the cluster', qw(pg_dumpall --file), "$folder/cluster");
my ($restored, $said) = run($other, qw(psql --quiet --no-psqlrc --output=/dev/null --file), "$folder/cluster", 'postgres');
is($said =~ s/^.*ERROR:  role "postgres" already exists\n//mr, '',
	'its restore, into a cluster whose superuser is there already');
check('cluster', 'original', $other);

# ------------------------------------------------------------- what else a night runs

succeeds('dump of what is common to the databases', qw(pg_dumpall --globals-only --file), "$folder/globals");
succeeds('vacuum and statistics', qw(vacuumdb --quiet --all --analyze --jobs=2));
succeeds('statistics in stages', qw(vacuumdb --quiet --analyze-in-stages), 'original');
succeeds('vacuum that rewrites', qw(vacuumdb --quiet --full), 'original');
succeeds('reindex', qw(reindexdb --quiet --all));
succeeds('reindex beside others', qw(reindexdb --quiet --concurrently --schema="VPN" --jobs=2), 'original');
succeeds('cluster', qw(clusterdb --quiet), 'original');

# ------------------------------------------- who may restore: the extension is not a trusted one

$original->safe_psql('postgres', 'CREATE ROLE owner LOGIN');
$original->safe_psql('postgres', 'CREATE DATABASE owned TEMPLATE template0 OWNER owner');
(my $succeeded, $said) = run($original, @pg_restore, qw(--no-owner --username=owner --dbname=owned), "$folder/custom");
ok(!$succeeded, 'who owns a database and is not a superuser cannot restore');
like($said, qr/permission denied to create extension "egress"/, 'because egress is not trusted');

$original->stop;
$other->stop;
done_testing();
