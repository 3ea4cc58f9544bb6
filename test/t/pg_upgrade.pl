# pg_upgrade.pl -- pg_upgrade keeps everything, and without the key file looks as doc/administration.md says
#
# From a cluster of the server of EGRESS_OLD_PG_CONFIG (by default the one that is tested) to a new one of that of
# PG_CONFIG. The old one has two databases with an installation in use (EgressWorld.pm): one of today's version, and one of
# the version before, which pg_upgrade carries as it is, and says how to update. Afterwards both are at work, and the
# catalogs say of them what they say of a fresh install (EgressCatalog.pm).
use strict;
use warnings;
use File::Basename qw(dirname);
use IPC::Run;
use Test::More;
use lib dirname(__FILE__);
use EgressCatalog;
use EgressTest;
use EgressWorld;
use EgressCluster;

my $app = 'app';

# what an owner has by default is the same when nothing is said of it, and that pg_upgrade does not say
sub without_defaults
{
	return map { s/ relacl=\{postgres=\w+\/postgres\}(?= |$)//r }
	  grep { !/^pg_init_privs .* initprivs=\{postgres=\w+\/postgres\}$/ } @_;
}

# server VARIABLE...: the folder of the server whose pg_config the first of these names
sub server
{
	my ($pg_config) = grep { $_ } map { $ENV{$_} } @_;
	chomp(my $bindir = `@{[$pg_config // 'pg_config']} --bindir`);
	return dirname($bindir);
}
my $new_server = server('PG_CONFIG');
my $old_server = server('EGRESS_OLD_PG_CONFIG', 'PG_CONFIG');

# with checksums, which not every major has by default: pg_upgrade wants the same on both sides
sub create
{
	my ($name, $server, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $server);
	$node->init(extra => [ '--username=postgres', '--locale=C.UTF-8', '--encoding=UTF8', '--data-checksums' ]);
	$node->append_conf('postgresql.conf', join("\n", @settings));
	return $node;
}

# ------------------------------------------------------------- the old cluster

my $folder = $ENV{TESTDIR};
my $key = "egress.secret_key_file = '$folder/key'";
system("umask 077 && head -c 32 /dev/urandom | base64 >$folder/key") == 0 or die;
my $old = create('old', $old_server, $key);
$old->start;
my $dbh = client($old);
note $dbh->selectrow_array('SELECT version()');
$dbh->do($_) for "CREATE ROLE $app", 'CREATE DATABASE before';
my %version = (postgres => '1.0', before => '0.9');
my %contents;
for my $database (sort keys %version)
{
	$dbh = client($old, undef, $database);
	$dbh->do("CREATE EXTENSION egress VERSION '$version{$database}'");
	fill($dbh, $app);
	$contents{$database} = contents($dbh);
	like(one($dbh, 'SELECT password FROM egress_credential WHERE password IS NOT NULL'), qr/^egress:v1:/,
		"an old cluster with $version{$database} and a sealed secret");
	$dbh->disconnect;
}
$old->stop;

# ------------------------------------------------------------- upgraded, without the key file

my $new = create('new', $new_server);
my ($printed, $said) = ('', '');
ok(IPC::Run::run([ "$new_server/bin/pg_upgrade", '--no-sync', '--retain', '--username', 'postgres', '--socketdir', $new->host,
			'--old-bindir', "$old_server/bin", '--new-bindir', "$new_server/bin",
			'--old-datadir', $old->data_dir, '--new-datadir', $new->data_dir ],
		'<', '/dev/null', '>', \$printed, '2>', \$said),
	'pg_upgrade') or BAIL_OUT("pg_upgrade failed:\n$printed$said");
is($said, '', 'in silence');
# it has pg_dump and pg_restore say what they say to a log
my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log';
cmp_ok(scalar @logs, '>=', 2, 'there are logs of its dumps');
is(join('', grep { /\b(?:warning|error):/i } map { split /^/m, PostgreSQL::Test::Utils::slurp_file($_) } @logs), '',
	'without a warning');
$new->start;
$dbh = client($new);
note $dbh->selectrow_array('SELECT version()');
is_deeply(contents($dbh), $contents{postgres},
	'pg_upgrade carries all rows, sealed secrets as they are, and the sequences');
is(one($dbh, q{SELECT missing_key FROM egress_secret_usage WHERE secret = 'password'}), '1',
	'without the key file the usage says that a key is missing');
is(one($dbh, q{SELECT gateway_name || ' ' || available_connections FROM egress_available_gateways('ann')}),
	'par-1 3 par-2 3 ams-1 3 osl-1 0', 'the menu answers');
is(sqlstate { $dbh->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'after')}) }, 'NG006',
	'an acquire says NG006');
is(sqlstate { $dbh->do('SELECT egress_credential_public_key(2)') }, 'NG006', 'and so does who wants a public key');
is(one($dbh, 'SELECT count(*) FROM egress_lease'), 4, 'and holds nothing: the leases from before are the only ones');
$dbh->disconnect;

# ------------------------------------------------------------- with the key file

$new->append_conf('postgresql.conf', $key);
$new->reload;
ok(wait_until { ask($new, 'SELECT missing_key = 0 FROM egress_secret_usage WHERE secret = \'password\'') eq 't' },
	'with the key file back, and a reload, no key is missing');

# the version before is still that, and works, until what pg_upgrade suggests is run
$dbh = client($new, undef, 'before');
is(one($dbh, q{SELECT extversion FROM pg_extension WHERE extname = 'egress'}), '0.9',
	'an older version is carried as it is');
is(one($dbh, q{SELECT gateway_name FROM egress_available_gateways('ann')}), 'par-1 par-2 ams-1 osl-1', 'and works');
is_deeply(contents($dbh), $contents{before}, 'all rows are there');
$dbh->disconnect;
$new->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$folder/update_extensions.sql" ],
	'the script of updates that pg_upgrade has written');

# what an installation of that server is
$dbh = client($new);
$dbh->do('CREATE DATABASE fresh');
my $fresh = client($new, undef, 'fresh');
$fresh->do('CREATE EXTENSION egress');
grant($fresh, $app);
my @fresh = without_defaults(extension_catalog($fresh, 'egress'));
$fresh->disconnect;

for my $database (sort keys %version)
{
	my $what = "$version{$database}, upgraded";
	$dbh = client($new, undef, $database);
	# for what the new version has more
	grant($dbh, $app);
	is(join("\n", catalog_differences(\@fresh, [ without_defaults(extension_catalog($dbh, 'egress')) ])), '',
		"$what: the catalogs say of it what they say of a fresh install");
	is(one($dbh, q{SELECT password FROM egress_acquire_credential('ann', NULL, 1, '3')}), 'swordfish',
		"$what: secrets open");
	is(one($dbh, 'SELECT egress_credential_public_key(2) = egress_wireguard_public_key(egress_reveal_secret(private_key))
		FROM egress_credential WHERE egress_credential_id = 2'), '1', "$what: public keys are those of the private ones");
	$dbh->do("SET ROLE $app");
	at_work($dbh, $what);
	$dbh->disconnect;
}
$new->stop;
done_testing();
