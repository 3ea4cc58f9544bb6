# drivers.pl -- all programs of examples/, and what doc/drivers.md says of drivers and ORMs; test/drivers/run calls it
#
# Environment: EGRESS_DRIVERS, the folder where what is compiled is; NODE_PATH, where what comes from npm is.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/../t';
use EgressExamples;

# the distribution's, for which its packages are
my @python = ('/usr/bin/python3', '-u');
my @java = ('java', '-cp', '/usr/share/java/postgresql.jar');
my $server = world();

my %command = (
	'go-pq.go' => ["$ENV{EGRESS_DRIVERS}/go-pq"],
	'java-jdbc.java' => [ @java, file('java-jdbc.java') ],
	'node-pg.js' => [ 'node', file('node-pg.js') ],
	'perl-dbd-pg.pl' => [ 'perl', file('perl-dbd-pg.pl') ],
	'php-pdo.php' => [ 'php', file('php-pdo.php') ],
	'python-psycopg.py' => [ @python, file('python-psycopg.py') ],
	'python-sqlalchemy.py' => [ @python, file('python-sqlalchemy.py') ],
	'ruby-pg.rb' => [ 'ruby', file('ruby-pg.rb') ]);
run_examples(\%command);

# says what it should; the file that tells is beside it
sub says
{
	my ($way, $name, @command) = @_;
	is(run($way, "$name.said", @command), 0, "$name ends well");
	open my $file, '<', file("$name.out") or die "$name.out: $!";
	is(said("$name.said"), do { local $/; <$file> }, '... and says what it should');
	note(said("$name.said"));
	return;
}

$server->safe_psql('postgres', $_) for
	q{SELECT egress.egress_grant_access('workspaces', 'admin')},
	q{INSERT INTO egress.egress_provider (egress_provider_id, name, provider_type, managed) VALUES (900, 'managed', 'custom', true)};
for (
	[ 'python', @python, file('python.py') ],
	[ 'node', 'node', file('node.js') ],
	[ 'java', @java, file('java.java') ],
	[ 'go', "$ENV{EGRESS_DRIVERS}/go" ],
	[ 'ruby', 'ruby', file('ruby.rb') ],
	[ 'php', 'php', file('php.php') ],
	[ 'perl', 'perl', file('perl.pl') ])
{
	says('direct', @$_);
	$server->safe_psql('postgres', 'TRUNCATE session; DELETE FROM egress.egress_gateway WHERE egress_provider_id = 900');
}

# databases that an ORM looks at: egress together with the application's tables, and in a schema of its own
my $apart = 'CREATE SCHEMA egress; CREATE EXTENSION egress SCHEMA egress;';
my $tables = 'CREATE TABLE person (id uuid PRIMARY KEY); CREATE TABLE session (id uuid PRIMARY KEY)';
for (
	[ 'together', "CREATE EXTENSION egress; $tables" ],
	[ 'apart', "$apart $tables" ],
	[ 'new_one', '' ], [ 'new_two', '' ], [ 'new_three', $apart ])
{
	$server->safe_psql('postgres', "CREATE DATABASE $_->[0]");
	$server->safe_psql($_->[0], $_->[1]);
}
says('admin', 'orm_alembic', @python, file('orm_alembic.py'));
says('admin', 'orm_activerecord', 'ruby', file('orm_activerecord.rb'));
says('admin', 'orm_drizzle', 'node', file('orm_drizzle.js'));

# what Rails makes of a database when its schema is to be SQL
is(run('admin', 'dump', 'pg_dump', '--schema-only', '--dbname=apart'), 0, 'pg_dump');
like(said('dump'), qr/^CREATE SCHEMA egress;$/m, '... has the schema');
like(said('dump'), qr/^CREATE EXTENSION IF NOT EXISTS egress WITH SCHEMA egress;$/m, '... and the extension in it');

# last, as it changes the pooler
ignore_nothing();
for my $name ('java-jdbc.java', 'go-pq.go')
{
	isnt(run('pooled', 'refused', @{ $command{$name} }, 1, 1, 'ams-1', 1), 0, "$name is refused by a pgbouncer that ignores nothing");
	like(said('refused'), qr/extra_float_digits/, '... and told why');
}

done_testing();
