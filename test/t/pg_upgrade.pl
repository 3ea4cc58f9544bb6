# pg_upgrade.pl -- pg_upgrade keeps everything, and without the key file looks as the README says
#
# From a cluster to a new one of the same major, which pg_upgrade allows. Starts both in a temporary folder, as the
# user postgres when run as root.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);

umask 022;
chomp(my $bindir = `@{[$ENV{PG_CONFIG} || 'pg_config']} --bindir`);
delete @ENV{grep { /^PG/ && $_ ne 'PG_CONFIG' } keys %ENV};

my @as_server = $> == 0 ? ('runuser', '-u', 'postgres', '--') : ();
my $folder = tempdir('egress-upgrade-XXXXXX', TMPDIR => 1, CLEANUP => 1);
if ($> == 0)
{
	my ($uid, $gid) = (getpwnam('postgres'))[2, 3];
	chown $uid, $gid, $folder;
}
chmod 0700, $folder;
chdir '/';

END
{
	my $status = $?;
	for my $name (qw(old new))
	{
		system(@as_server, "$bindir/pg_ctl", 'stop', '--silent', '--mode=immediate', '--pgdata', "$folder/$name")
			if defined $folder && -e "$folder/$name/postmaster.pid";
	}
	$? = $status;
}

# as the server's user: a shell command in the folder, whose output is returned; dies with it when it fails
sub as_server
{
	my ($command) = @_;
	open my $output, '-|', @as_server, 'sh', '-c', "cd $folder && {\n$command\n} 2>&1" or die "$command: $!";
	my $text = do { local $/; <$output> } // '';
	close $output or die "$command\n$text";
	return $text;
}

sub create
{
	my ($name) = @_;
	as_server("$bindir/initdb --pgdata=$name --username=postgres --auth-local=trust --auth-host=reject "
		. '--locale=C.UTF-8 --encoding=UTF8 --no-sync');
	configure($name, "listen_addresses = ''", "unix_socket_directories = '$folder'", 'port = 54321');
}

sub configure
{
	my ($name, @settings) = @_;
	as_server("cat >>$name/postgresql.conf <<'CONF'\n" . join("\n", @settings) . "\nCONF");
}

sub start { as_server("$bindir/pg_ctl start --silent --wait --pgdata=$_[0] --log=$_[0].log >/dev/null") }
sub stop { as_server("$bindir/pg_ctl stop --silent --wait --mode=fast --pgdata=$_[0]") }

# what psql says to some SQL: rows, or the SQLSTATE of an error
sub ask
{
	my ($sql) = @_;
	chomp(my $answer = as_server("$bindir/psql -h $folder -p 54321 -U postgres -XqAt -v VERBOSITY=sqlstate <<'SQL' || :\n$sql\nSQL"));
	return $answer =~ /ERROR:\s+(\w{5})/ ? $1 : $answer;
}

as_server('umask 077 && head -c 32 /dev/urandom | base64 >key');
create('old');
configure('old', "egress.secret_key_file = '$folder/key'");
start('old');
is(ask(<<'SQL'), 'swordfish', 'an old cluster with a sealed secret and a lease');
CREATE EXTENSION egress;
INSERT INTO egress_provider (name, provider_type) VALUES ('provider', 'openvpn');
INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (1, 'gateway', 'remote gateway.example.net');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password,
                               limit_active_connections, active_connection_limit)
VALUES (1, 'credential', 'everyone', 'user', 'swordfish', true, 2);
SELECT password FROM egress_acquire_credential('ann', NULL, 1, 'before');
SQL
my $sealed = ask('SELECT password FROM egress_credential');
like($sealed, qr/^egress:v1:/, 'sealed');
stop('old');

create('new');
as_server("$bindir/pg_upgrade --old-bindir=$bindir --new-bindir=$bindir --old-datadir=old --new-datadir=new "
	. "--socketdir=$folder --username=postgres");
start('new');
is(ask('SELECT password FROM egress_credential'), $sealed, 'pg_upgrade carries the sealed form');
is(ask('SELECT missing_key FROM egress_secret_usage WHERE secret = \'password\''), '1',
	'without the key file the usage says that a key is missing');
is(ask("SELECT available_connections FROM egress_available_gateways('ann')"), '1', 'the menu answers');
is(ask("SELECT password FROM egress_acquire_credential('ann', NULL, 1, 'after')"), 'NG006', 'an acquire says NG006');
is(ask('SELECT count(*) FROM egress_lease'), '1', 'and holds nothing: the lease from before is the only one');
is(ask("SELECT egress_release_credential('before')"), 't', 'which can be released');

configure('new', "egress.secret_key_file = '$folder/key'");
ask('SELECT pg_reload_conf()');
# a new session has the new configuration once the server has read it
my $password;
for (1 .. 100)
{
	$password = ask("SELECT password FROM egress_acquire_credential('ann', NULL, 1, 'after')");
	last if $password ne 'NG006';
	select undef, undef, undef, 0.1;
}
is($password, 'swordfish', 'with the key file back, and a reload, all is as it was');
stop('new');
done_testing();
