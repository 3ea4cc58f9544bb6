# tunnels.pl -- the configs that an acquire returns bring up real tunnels, unchanged
#
# Two network namespaces stand for a VPN provider and for the host of a workspace; a veth pair is the internet between
# them. The provider runs an OpenVPN server that checks user and password, a WireGuard peer (wireguard-go), and a web
# server that only answers on the tunnels' addresses. The agent on the host is this script: it writes `config` to a
# file and runs openvpn or wg-quick with it.
#
# Needs root, network namespaces and /dev/net/tun; says so and skips where they are missing. Leaves nothing behind:
# every process it started is ended by its id, the namespaces and the temporary folder are removed.
use strict;
use warnings;
use DBI;
use File::Temp qw(tempdir);
use POSIX qw(setsid :sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep time);

my ($provider, $host) = ("egress-provider-$$", "egress-host-$$");
my $folder;
my %children;    # pid => what it is
my $database = "egress_tunnels_$$";
my $dbh;

# has this machine what it takes? Returns what is missing.
sub missing
{
	return 'root' if $> != 0;
	for my $program (qw(ip openvpn wg wg-quick wireguard-go curl openssl))
	{
		return $program if system("command -v $program >/dev/null 2>&1") != 0;
	}
	return '/dev/net/tun' if !-c '/dev/net/tun';
	# they can be there and not be entered: in a chroot
	return 'a working network namespace' if system("{ ip netns add $provider && ip netns exec $provider true; } 2>/dev/null") != 0;
	return;
}

# run: a command that must succeed; the test ends with its output if it does not
sub run
{
	my ($command) = @_;
	my $output = `$command 2>&1`;
	BAIL_OUT("$command\n$output") if $? != 0;
	return $output;
}

# start: a program in a namespace, its output in a file of the folder; returns its process id
sub start
{
	my ($namespace, $log, @command) = @_;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$folder/$log";
		open STDERR, '>&', \*STDOUT;
		exec 'ip', 'netns', 'exec', $namespace, @command or die "exec: $!";
	}
	$children{$pid} = "@command";
	return $pid;
}

# stop: end a process that start() started
sub stop
{
	my ($pid) = @_;
	return if !delete $children{$pid};
	kill 'TERM', -$pid, $pid;
	my $deadline = time() + 5;
	while (waitpid($pid, WNOHANG) == 0)
	{
		kill 'KILL', -$pid, $pid if time() > $deadline;
		sleep 0.05;
	}
}

sub contents
{
	my ($file) = @_;
	open my $handle, '<', $file or return '';
	local $/;
	return scalar <$handle> // '';
}

sub put
{
	my ($file, $text, $mode) = @_;
	open my $handle, '>', "$folder/$file" or die "$folder/$file: $!";
	chmod $mode // 0600, "$folder/$file";
	print $handle $text;
	close $handle or die "$folder/$file: $!";
	return "$folder/$file";
}

# wait until a condition holds; false when it did not within some seconds
sub eventually
{
	my ($condition, $seconds) = @_;
	my $deadline = time() + ($seconds // 20);
	until ($condition->())
	{
		return 0 if time() > $deadline;
		sleep 0.1;
	}
	return 1;
}

# what the web server says to the host of the workspace at an address of a tunnel
sub fetch
{
	my ($address) = @_;
	return `ip netns exec $host curl --silent --noproxy '*' --max-time 5 http://$address:8080/ 2>/dev/null`;
}

sub clean_up
{
	stop($_) for keys %children;
	# the wireguard-go that wg-quick started is a child of nobody here
	kill 'KILL', grep { /^\d+$/ } split /\s+/, `ip netns pids $_ 2>/dev/null` for $provider, $host;
	$dbh->disconnect if $dbh;
	system("ip netns del $provider 2>/dev/null; ip netns del $host 2>/dev/null");
	system('psql', '-Xqc', "DROP DATABASE IF EXISTS $database WITH (FORCE)", 'postgres') if defined $folder;
}
my $main = $$;
END { my $status = $?; clean_up() if $$ == $main; $? = $status }
$SIG{HUP} = $SIG{INT} = $SIG{TERM} = sub { exit 130 };

if (my $missing = missing())
{
	plan skip_all => "no tunnels here: $missing is missing";
}
$folder = tempdir('egress-tunnels-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# ---- the network

run("ip netns add $host");
run("ip link add ve-p-$$ netns $provider type veth peer name ve-h-$$ netns $host");
run("ip -n $provider address add 192.0.2.1/24 dev ve-p-$$");
run("ip -n $host address add 192.0.2.2/24 dev ve-h-$$");
for (["$provider", "ve-p-$$"], ["$host", "ve-h-$$"])
{
	run("ip -n $_->[0] link set lo up");
	run("ip -n $_->[0] link set $_->[1] up");
}

# ---- the application's database

run("createdb $database");
$dbh = DBI->connect("dbi:Pg:dbname=$database", undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1 });
$dbh->do('SET client_min_messages = warning');
$dbh->do('CREATE EXTENSION egress');
$dbh->do('CREATE TABLE session (id text PRIMARY KEY)');
$dbh->do(q{CREATE TRIGGER ended AFTER DELETE ON session
           FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id')});

# config_for: starts a session and returns the config that its agent gets
sub config_for
{
	my ($session, $gateway) = @_;
	$dbh->do('INSERT INTO session VALUES (?)', undef, $session);
	my ($config) = $dbh->selectrow_array('SELECT config FROM egress_acquire_credential(?, NULL, ?, ?)',
		undef, 'ann', $gateway, $session);
	return $config;
}

sub active
{
	my ($credential) = @_;
	return $dbh->selectrow_array(
		'SELECT active_connections FROM egress_credential_usage WHERE egress_credential_id = ?', undef, $credential);
}

# ---- a web server on every address of the provider, which says who asked

put('web.pl', <<'PERL');
use strict; use warnings; use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die $!;
while (my $client = $server->accept)
{
	while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
	my $body = 'hello ' . $client->peerhost . "\n";
	print $client "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
	close $client;
}
PERL
start($provider, 'web.log', 'perl', "$folder/web.pl");

# ---- OpenVPN

run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=provider CA' "
	. "-keyout $folder/ca.key -out $folder/ca.crt");
run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=gateway' "
	. "-keyout $folder/server.key -out $folder/server.csr");
put('extensions', "extendedKeyUsage = serverAuth\nkeyUsage = digitalSignature\n");
run("openssl x509 -req -in $folder/server.csr -CA $folder/ca.crt -CAkey $folder/ca.key -CAcreateserial "
	. "-days 2 -extfile $folder/extensions -out $folder/server.crt");

# the password has what a config has to quote, or not to: spaces, quotes, a backslash, #
my ($username, $password) = ('acme user', q{p4 ss"w'o\rd#;});
put('check.sh', "#!/bin/sh\nprintf '%s\\n%s\\n' " . join(' ', map { (my $q = $_) =~ s/'/'\\''/g; "'$q'" } $username, $password)
	. " | cmp -s - \"\$1\"\n", 0700);
my $server_config = put('server.ovpn', <<"CONFIG");
dev tun
proto udp
local 192.0.2.1
port 1194
server 10.98.0.0 255.255.255.0
topology subnet
ca $folder/ca.crt
cert $folder/server.crt
key $folder/server.key
dh none
verify-client-cert none
username-as-common-name
script-security 2
auth-user-pass-verify $folder/check.sh via-file
keepalive 2 10
CONFIG
start($provider, 'server.log', 'openvpn', '--config', $server_config);
ok(eventually(sub { contents("$folder/server.log") =~ /Initialization Sequence Completed/ }),
	'an OpenVPN server that checks user and password is up') or diag(contents("$folder/server.log"));

$dbh->do(q{INSERT INTO egress_provider (egress_provider_id, name, provider_type)
           VALUES (1, 'OpenVPN provider', 'openvpn'), (2, 'WireGuard provider', 'wireguard')});
$dbh->do(q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone')});
my $openvpn_config = <<"CONFIG" . contents("$folder/ca.crt") . "</ca>\n";
# gateway 1
client
dev tun
proto udp
remote 192.0.2.1 1194
nobind
remote-cert-tls server
auth-user-pass
connect-retry 1 2
connect-retry-max 3
<ca>
CONFIG
$dbh->do('INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (1, 1, ?, ?)',
	undef, 'openvpn gateway', $openvpn_config);
$dbh->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password,
                                          limit_active_connections, active_connection_limit)
           VALUES (1, 1, 'openvpn credential', 'everyone', ?, ?, true, 1)}, undef, $username, $password);

my $client = start($host, 'client.log', 'openvpn', '--config', put('client.ovpn', config_for('openvpn-1', 1)));
ok(eventually(sub { contents("$folder/client.log") =~ /Initialization Sequence Completed/ }),
	'openvpn runs with the config of the acquire, unchanged') or diag(contents("$folder/client.log"));
like(fetch('10.98.0.1'), qr/^hello 10\.98\.0\.\d+$/, 'and its tunnel carries an HTTP request');
stop($client);

is(active(1), 1, 'the session holds the connection');
$dbh->do(q{DELETE FROM session WHERE id = 'openvpn-1'});
is(active(1), 0, 'its end frees it');

$dbh->do(q{UPDATE egress_credential SET password = 'wrong' WHERE egress_credential_id = 1});
$client = start($host, 'wrong.log', 'openvpn', '--config', put('wrong.ovpn', config_for('openvpn-2', 1)));
ok(eventually(sub { contents("$folder/wrong.log") =~ /AUTH_FAILED/ }), 'a wrong password is refused by the server')
	or diag(contents("$folder/wrong.log"));
unlike(contents("$folder/wrong.log"), qr/Initialization Sequence Completed/, 'and no tunnel comes up');
stop($client);
$dbh->do(q{DELETE FROM session WHERE id = 'openvpn-2'});
is(active(1), 0, 'the end of that session frees the connection as well');

# ---- WireGuard

my ($peer_key) = $dbh->selectrow_array('SELECT egress_generate_wireguard_key()');
my ($peer_public) = $dbh->selectrow_array('SELECT egress_wireguard_public_key(?)', undef, $peer_key);
my ($key) = $dbh->selectrow_array('SELECT egress_generate_wireguard_key()');
my ($public) = $dbh->selectrow_array('SELECT egress_wireguard_public_key(?)', undef, $key);
chomp(my $wg_public = run("wg pubkey <" . put('key', $key)));
is($public, $wg_public, 'egress_wireguard_public_key() is wg pubkey');

start($provider, 'wireguard.log', 'wireguard-go', '--foreground', 'wgp');
ok(eventually(sub { system("ip netns exec $provider wg show wgp >/dev/null 2>&1") == 0 }), 'a WireGuard peer is up')
	or diag(contents("$folder/wireguard.log"));
run("ip netns exec $provider wg set wgp listen-port 51820 private-key " . put('peer.key', $peer_key)
	. " peer $public allowed-ips 10.99.0.2/32");
run("ip -n $provider address add 10.99.0.1/24 dev wgp");
run("ip -n $provider link set wgp up");

my $wireguard_config = <<"CONFIG";
# gateway 2: the key is the session's
[interface]
Address = 10.99.0.2/32

[Peer]
publickey = $peer_public
Endpoint = 192.0.2.1:51820
AllowedIPs = 10.99.0.0/24
PersistentKeepalive = 5
CONFIG
$dbh->do('INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (2, 2, ?, ?)',
	undef, 'wireguard gateway', $wireguard_config);
$dbh->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key,
                                          limit_active_connections, active_connection_limit)
           VALUES (2, 2, 'wireguard credential', 'everyone', ?, true, 1)}, undef, $key);

my $file = put('wgh.conf', config_for('wireguard-1', 2));
my $up = `ip netns exec $host env WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go wg-quick up $file 2>&1`;
is($?, 0, 'wg-quick runs with the config of the acquire, unchanged') or diag($up);
ok(eventually(sub { fetch('10.99.0.1') eq "hello 10.99.0.2\n" }), 'and its tunnel carries an HTTP request');
like(run("ip netns exec $host wg show wgh latest-handshakes"), qr/\t[1-9]\d*$/, 'through a WireGuard handshake');
run("ip netns exec $host env WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go wg-quick down $file");

is(active(2), 1, 'the session holds the connection');
eval { config_for('wireguard-2', 2) };
is($dbh->state, 'NG004', 'another session gets none');
$dbh->do('DELETE FROM session');
is(active(2), 0, 'the end of the session frees it');
is(config_for('wireguard-3', 2), contents($file), 'and the next session gets it');

done_testing();
