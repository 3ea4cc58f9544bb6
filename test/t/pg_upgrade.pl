# pg_upgrade.pl -- pg_upgrade keeps everything, and without the key file looks as the README says
#
# From a cluster to a new one of the same major, which pg_upgrade allows. Starts both in a temporary folder, as the
# user postgres when run as root.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use lib dirname(__FILE__);
use EgressServers;

as_server('umask 077 && head -c 32 /dev/urandom | base64 >key');
create('old', "egress.secret_key_file = '$folder/key'");
start('old');
is(ask('old', <<'SQL'), 'swordfish', 'an old cluster with a sealed secret and a lease');
CREATE EXTENSION egress;
INSERT INTO egress_provider (name, provider_type) VALUES ('provider', 'openvpn');
INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (1, 'gateway', 'remote gateway.example.net');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password,
                               limit_active_connections, active_connection_limit)
VALUES (1, 'credential', 'everyone', 'user', 'swordfish', true, 2);
SELECT password FROM egress_acquire_credential('ann', NULL, 1, 'before');
SQL
my $sealed = ask('old', 'SELECT password FROM egress_credential');
like($sealed, qr/^egress:v1:/, 'sealed');
stop('old');

create('new');
as_server("$bindir/pg_upgrade --old-bindir=$bindir --new-bindir=$bindir --old-datadir=old --new-datadir=new "
	. "--socketdir=$folder --username=postgres");
start('new');
is(ask('new', 'SELECT password FROM egress_credential'), $sealed, 'pg_upgrade carries the sealed form');
is(ask('new', 'SELECT missing_key FROM egress_secret_usage WHERE secret = \'password\''), '1',
	'without the key file the usage says that a key is missing');
is(ask('new', "SELECT available_connections FROM egress_available_gateways('ann')"), '1', 'the menu answers');
is(ask('new', "SELECT password FROM egress_acquire_credential('ann', NULL, 1, 'after')"), 'NG006', 'an acquire says NG006');
is(ask('new', 'SELECT count(*) FROM egress_lease'), '1', 'and holds nothing: the lease from before is the only one');
is(ask('new', "SELECT egress_release_credential('before')"), 't', 'which can be released');

configure('new', "egress.secret_key_file = '$folder/key'");
ask('new', 'SELECT pg_reload_conf()');
# a new session has the new configuration once the server has read it
my $password;
for (1 .. 100)
{
	$password = ask('new', "SELECT password FROM egress_acquire_credential('ann', NULL, 1, 'after')");
	last if $password ne 'NG006';
	select undef, undef, undef, 0.1;
}
is($password, 'swordfish', 'with the key file back, and a reload, all is as it was');
stop('new');
done_testing();
