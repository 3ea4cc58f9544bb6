# tunnels.pl -- the configs that an acquire returns bring up real tunnels, unchanged
#
# Three network namespaces stand for a VPN provider and for the hosts of two workspaces; veth pairs are the internet between
# them. The provider runs OpenVPN servers that check user and password, the client's certificate, or both, a WireGuard
# peer (wireguard-go), and a web server that only answers on the tunnels' addresses. The agent on the hosts is this script:
# it writes `config` to a file and runs openvpn or wg-quick with it. What stops a tunnel whose lease somebody has ended is agent.py.
#
# Needs root, network namespaces and /dev/net/tun; says so and skips where they are missing. Leaves nothing behind:
# every process it started is ended by its id, the namespaces and the temporary folder are removed.
use strict;
use warnings;
use DBI;
use File::Temp qw(tempdir);
use FindBin;
use POSIX qw(setsid :sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep time);

my ($provider, $host, $other_host) = ("egress-provider-$$", "egress-host-$$", "egress-other-$$");
my $folder;
my %children;    # pid => what it is
my ($database, $role) = ("egress_tunnels_$$", "egress_agent_$$");
my $dbh;
my %acquired_at;    # of a session's lease

# has this machine what it takes? Returns what is missing.
sub missing
{
	return 'root' if $> != 0;
	for my $program (qw(ip openvpn wg wg-quick wireguard-go curl openssl))
	{
		return $program if system("command -v $program >/dev/null 2>&1") != 0;
	}
	return 'psycopg2' if system(q{/usr/bin/python3 -c 'import psycopg2' >/dev/null 2>&1}) != 0;
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

# what the web server says to the host of a workspace at an address of a tunnel
sub fetch
{
	my ($address, $from) = @_;
	$from //= $host;
	return `ip netns exec $from curl --silent --noproxy '*' --max-time 5 http://$address:8080/ 2>/dev/null`;
}

sub clean_up
{
	stop($_) for keys %children;
	# the wireguard-go that wg-quick started is a child of nobody here
	kill 'KILL', grep { /^\d+$/ } split /\s+/, `ip netns pids $_ 2>/dev/null` for $provider, $host, $other_host;
	$dbh->disconnect if $dbh;
	system("ip netns del $_ 2>/dev/null") for $provider, $host, $other_host;
	system('psql', '-Xqc', 'SET client_min_messages = error', '-c', "DROP DATABASE IF EXISTS $database WITH (FORCE)",
		'-c', "DROP ROLE IF EXISTS $role", 'postgres') if defined $folder;
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

run("ip -n $provider link set lo up");
for ([ $host, 'h', '192.0.2' ], [ $other_host, 'o', '198.51.100' ])
{
	my ($namespace, $name, $net) = @$_;
	run("ip netns add $namespace");
	run("ip link add ve-p$name-$$ netns $provider type veth peer name ve-$name-$$ netns $namespace");
	run("ip -n $provider address add $net.1/24 dev ve-p$name-$$");
	run("ip -n $namespace address add $net.2/24 dev ve-$name-$$");
	run("ip -n $provider link set ve-p$name-$$ up");
	run("ip -n $namespace link set $_ up") for 'lo', "ve-$name-$$";
}
run("ip -n $other_host route add 192.0.2.0/24 via 198.51.100.1");
run("ip -n $host route add 198.51.100.0/24 via 192.0.2.1");

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
	(my $config, $acquired_at{$session}) = $dbh->selectrow_array(
		'SELECT config, acquired_at FROM egress_acquire_credential(?, NULL, ?, ?)', undef, 'ann', $gateway, $session);
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
# certified: a key and a certificate of the provider's CA, for a server or a client; returns their files' contents
sub certified
{
	my ($name, $use) = @_;
	run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=$name' "
		. "-keyout $folder/$name.key -out $folder/$name.csr");
	put('extensions', "extendedKeyUsage = ${use}Auth\nkeyUsage = digitalSignature\n");
	run("openssl x509 -req -in $folder/$name.csr -CA $folder/ca.crt -CAkey $folder/ca.key -CAcreateserial "
		. "-days 2 -extfile $folder/extensions -out $folder/$name.crt");
	return (contents("$folder/$name.crt"), contents("$folder/$name.key"));
}
certified('gateway', 'server');

# the password has what a config has to quote, or not to: spaces, quotes, a backslash, #
my ($username, $password) = ('acme user', q{p4 ss"w'o\rd#;});
put('check.sh', "#!/bin/sh\nprintf '%s\\n%s\\n' " . join(' ', map { (my $q = $_) =~ s/'/'\\''/g; "'$q'" } $username, $password)
	. " | cmp -s - \"\$1\"\n", 0700);

# an OpenVPN server of the provider, at a port and with addresses of its own
sub openvpn_server
{
	my ($what, $port, $net, $checks) = @_;
	start($provider, "server-$port.log", 'openvpn', '--config', put("server-$port.ovpn", <<"CONFIG"));
dev tun
proto udp
port $port
multihome
server $net.0 255.255.255.0
topology subnet
ca $folder/ca.crt
cert $folder/gateway.crt
key $folder/gateway.key
dh none
keepalive 2 10
$checks
CONFIG
	ok(eventually(sub { contents("$folder/server-$port.log") =~ /Initialization Sequence Completed/ }),
		"an OpenVPN server that checks $what is up") or diag(contents("$folder/server-$port.log"));
	return;
}
my $checks_password = "username-as-common-name\nscript-security 2\nauth-user-pass-verify $folder/check.sh via-file";
openvpn_server('user and password', 1194, '10.98.0', "verify-client-cert none\n$checks_password");

# openvpn with the config of the acquire, unchanged: it connects, and its tunnel carries an HTTP request
sub openvpn_connects
{
	my ($what, $session, $gateway, $net) = @_;
	my $client = start($host, "$session.log", 'openvpn', '--config', put("$session.ovpn", config_for($session, $gateway)));
	ok(eventually(sub { contents("$folder/$session.log") =~ /Initialization Sequence Completed/ }),
		"openvpn runs with the config of the acquire, unchanged: $what") or diag(contents("$folder/$session.log"));
	like(fetch("$net.1"), qr/^hello \Q$net\E\.\d+$/, 'and its tunnel carries an HTTP request');
	stop($client);
	return;
}

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

openvpn_connects('username and password', 'openvpn-1', 1, '10.98.0');

is(active(1), 1, 'the session holds the connection');
$dbh->do(q{DELETE FROM session WHERE id = 'openvpn-1'});
is(active(1), 0, 'its end frees it');

$dbh->do(q{UPDATE egress_credential SET password = 'wrong' WHERE egress_credential_id = 1});
my $client = start($host, 'wrong.log', 'openvpn', '--config', put('wrong.ovpn', config_for('openvpn-2', 1)));
ok(eventually(sub { contents("$folder/wrong.log") =~ /AUTH_FAILED/ }), 'a wrong password is refused by the server')
	or diag(contents("$folder/wrong.log"));
unlike(contents("$folder/wrong.log"), qr/Initialization Sequence Completed/, 'and no tunnel comes up');
stop($client);
$dbh->do(q{DELETE FROM session WHERE id = 'openvpn-2'});
is(active(1), 0, 'the end of that session frees the connection as well');
$dbh->do('UPDATE egress_credential SET password = ? WHERE egress_credential_id = 1', undef, $password);

# ---- a file as a provider publishes it, imported

my $marker = "$folder/ran";
my $provider_file = $openvpn_config =~ s/<ca>.*//sr . <<"CONFIG";
ca ca.crt
script-security 2
up "/bin/sh -c 'touch $marker'"
down /etc/openvpn/update-resolv-conf
user nobody
group nogroup
status $marker
CONFIG
eval { $dbh->do('INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (1, ?, ?)', undef, 'as it is', $provider_file) };
is($dbh->state, 'NG007', 'a file with up, and a certificate beside it, is no config of a gateway');
my ($imported, $removed) = $dbh->selectrow_array(
	q{SELECT config, array_to_string(removed, E'\n') FROM egress_import_config('openvpn', $1, jsonb_build_object('ca.crt', $2::text))},
	undef, $provider_file, contents("$folder/ca.crt"));
is(join(' ', $removed =~ /^line \d+: (\S+): /mg), 'up down user group status', 'its import tells what went');
$dbh->do('INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (6, 1, ?, ?)',
	undef, 'imported', $imported);
openvpn_connects('imported', 'imported', 6, '10.98.0');
ok(!-e $marker, 'and nothing of it was run or written');
$dbh->do(q{DELETE FROM session WHERE id = 'imported'});

# ---- OpenVPN with certificates of the clients

openvpn_server('the certificate of the client', 1195, '10.97.0', 'verify-client-cert require');
openvpn_server('certificate, user and password', 1196, '10.96.0', "verify-client-cert require\n$checks_password");
my ($certificate, $certificate_key) = certified('client', 'client');
$dbh->do(q{INSERT INTO egress_provider (egress_provider_id, name, provider_type)
           VALUES (3, 'certificates', 'openvpn'), (4, 'certificates and passwords', 'openvpn')});
$dbh->do(q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (3, 'everyone'), (4, 'everyone')});
for ([ 3, 1195, '10.97.0', 'a certificate' ], [ 4, 1196, '10.96.0', 'a certificate, username and password' ])
{
	my ($id, $port, $net, $what) = @$_;
	$dbh->do('INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (?, ?, ?, ?)',
		undef, $id, $id, "gateway $id", $openvpn_config =~ s/1194/$port/r =~ s/auth-user-pass\n//r);
	$dbh->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password,
	                                          client_certificate, client_key)
	           VALUES (?, ?, 'certificate', 'everyone', ?, ?, ?, ?)},
		undef, $id, $id, $id == 4 ? ($username, $password) : (undef, undef), $certificate, $certificate_key);
	openvpn_connects($what, "certificate-$id", $id, $net);
}

# another's certificate, of which the server knows nothing
run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=stranger' "
	. "-keyout $folder/stranger.key -out $folder/stranger.crt");
$dbh->do('UPDATE egress_credential SET client_certificate = ?, client_key = ? WHERE egress_credential_id = 3', undef,
	contents("$folder/stranger.crt"), contents("$folder/stranger.key"));
$dbh->do(q{DELETE FROM session WHERE id = 'certificate-3'});
$client = start($host, 'stranger.log', 'openvpn', '--config', put('stranger.ovpn', config_for('certificate-3', 3)));
ok(eventually(sub { contents("$folder/server-1195.log") =~ /VERIFY ERROR/ }), 'another certificate is refused by the server')
	or diag(contents("$folder/server-1195.log"));
unlike(contents("$folder/stranger.log"), qr/Initialization Sequence Completed/, 'and no tunnel comes up');
stop($client);

# ---- WireGuard

my ($peer_key) = $dbh->selectrow_array('SELECT egress_generate_wireguard_key()');
my ($peer_public) = $dbh->selectrow_array('SELECT egress_wireguard_public_key(?)', undef, $peer_key);
my ($key) = $dbh->selectrow_array('SELECT egress_generate_wireguard_key()');
my ($public) = $dbh->selectrow_array('SELECT egress_wireguard_public_key(?)', undef, $key);
my ($other_key) = $dbh->selectrow_array('SELECT egress_generate_wireguard_key()');
my ($other_public) = $dbh->selectrow_array('SELECT egress_wireguard_public_key(?)', undef, $other_key);
chomp(my $preshared = run('wg genpsk'));
chomp(my $wg_public = run("wg pubkey <" . put('key', $key)));
is($public, $wg_public, 'egress_wireguard_public_key() is wg pubkey');

# wg removes a socket on which nobody listens yet, so nobody asks before it says that it does
start($provider, 'wireguard.log', 'env', 'LOG_LEVEL=debug', 'wireguard-go', '--foreground', 'wgp');
ok(eventually(sub { contents("$folder/wireguard.log") =~ /UAPI listener started/ }), 'a WireGuard peer is up')
	or diag(contents("$folder/wireguard.log"));
run("ip netns exec $provider wg set wgp listen-port 51820 private-key " . put('peer.key', $peer_key)
	. " peer $public allowed-ips 10.99.0.2/32 peer $other_public preshared-key " . put('preshared', $preshared)
	. " allowed-ips 10.99.0.3/32");
run("ip -n $provider address add 10.99.0.1/24 dev wgp");
run("ip -n $provider link set wgp up");

my $wireguard_config = <<"CONFIG";
# gateway 2: the key and its address are the session's
[interface]

[Peer]
publickey = $peer_public
Endpoint = 192.0.2.1:51820
AllowedIPs = 10.99.0.0/24
PersistentKeepalive = 5
CONFIG
$dbh->do('INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES (2, 2, ?, ?)',
	undef, 'wireguard gateway', $wireguard_config);
$dbh->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key, address, preshared_key)
           VALUES (2, 2, 'wireguard credential', 'everyone', $1, '10.99.0.2/32', NULL), (5, 2, 'another', 'everyone', $2, '10.99.0.3/32', $3)},
	undef, $key, $other_key, $preshared);

# the sessions of two workspaces, on two hosts, each with a key of the pool and its address, at one server at once
sub wg_quick
{
	my ($namespace, $action, $file) = @_;
	my $said = `ip netns exec $namespace env WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go wg-quick $action $file 2>&1`;
	is($?, 0, "wg-quick $action runs with the config of the acquire, unchanged") or diag($said);
	return;
}
my $file = put('wgh.conf', config_for('wireguard-1', 2));
my $other_file = put('wgo.conf', config_for('wireguard-2', 2));
wg_quick($host, 'up', $file);
wg_quick($other_host, 'up', $other_file);
eventually(sub { fetch('10.99.0.1') ne '' && fetch('10.99.0.1', $other_host) ne '' });
my %at_once = map { $_ => start($_, "$_.log", 'sh', '-c',
	q{for i in $(seq 20); do curl --silent --noproxy '*' --max-time 5 http://10.99.0.1:8080/; done}) } $host, $other_host;
is_deeply([ map { eventually(sub { waitpid($at_once{$_}, WNOHANG) != 0 }); delete $children{$at_once{$_}}; contents("$folder/$_.log") }
		$host, $other_host ], [ "hello 10.99.0.2\n" x 20, "hello 10.99.0.3\n" x 20 ], 'two tunnels with two keys carry HTTP requests at once');
like(run("ip netns exec $host wg show wgh latest-handshakes"), qr/\t[1-9]\d*$/, 'through a WireGuard handshake');
like(run("ip netns exec $other_host wg show wgo preshared-keys"), qr/\t\Q$preshared\E$/, 'and one of them with a preshared key');
wg_quick($host, 'down', $file);
wg_quick($other_host, 'down', $other_file);

is(active(2) . active(5), '11', 'each session holds its connection');
eval { config_for('wireguard-3', 2) };
is($dbh->state, 'NG004', 'another session gets none: both keys are at the gateway, and they have no limit');
$dbh->do('DELETE FROM session');
is(active(2) . active(5), '00', 'the end of the sessions frees them');
is(config_for('wireguard-4', 2), contents($file), 'and the next session gets the first');
$dbh->do('DELETE FROM session');

# ---- an administrator ends leases, and the agent of the host stops their tunnels

$dbh->do("CREATE ROLE $role LOGIN");
$dbh->do('SELECT egress_grant_access(?, ?)', undef, $role, 'monitor');
my $agent;

sub start_agent
{
	$agent = start($host, 'agent.log', 'env', "PGDATABASE=$database", "PGOPTIONS=-c role=$role", '/usr/bin/python3', "$FindBin::Bin/agent.py", $folder);
	ok(eventually(sub { contents("$folder/agent.log") =~ /^listening$/m }), 'an agent listens') or diag(contents("$folder/agent.log"));
	return;
}

# a tunnel of each kind, which carries HTTP requests
sub openvpn_tunnel
{
	my ($session) = @_;
	my $configuration = put("$session.ovpn", config_for($session, 1));
	my $pid = start($host, "$session.log", 'openvpn', '--config', $configuration);
	put("$session.tunnel", "$acquired_at{$session}\nkill $pid\n");
	like((eventually(sub { fetch('10.98.0.1') ne '' }), fetch('10.98.0.1'))[1], qr/^hello 10\.98\.0\.\d+$/, "$session: openvpn carries an HTTP request")
	  or diag(contents("$folder/$session.log"));
	return $pid;
}

sub wireguard_tunnel
{
	my ($session) = @_;
	my $configuration = put('wgh.conf', config_for($session, 2));
	put("$session.tunnel", "$acquired_at{$session}\nWG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go wg-quick down $configuration\n");
	wg_quick($host, 'up', $configuration);
	ok(eventually(sub { fetch('10.99.0.1') eq "hello 10.99.0.2\n" }), "$session: WireGuard carries an HTTP request");
	return;
}

# has the openvpn client ended, or the interface gone, and does nothing come through any more?
sub openvpn_has_gone
{
	my ($pid) = @_;
	my $gone = eventually(sub { waitpid($pid, WNOHANG) == $pid });
	delete $children{$pid} if $gone;
	return $gone && fetch('10.98.0.1') eq '';
}

sub wireguard_has_gone
{
	return eventually(sub { system("ip netns exec $host wg show wgh >/dev/null 2>&1") != 0 }) && fetch('10.99.0.1') eq '';
}

start_agent();
my $openvpn = openvpn_tunnel('ended-1');
wireguard_tunnel('ended-2');
$dbh->do(q{SELECT egress_end_leases(session_id => 'ended-1')});
ok(openvpn_has_gone($openvpn), 'an administrator ends the lease, and openvpn stops') or diag(contents("$folder/agent.log"));
is(fetch('10.99.0.1'), "hello 10.99.0.2\n", 'another session goes on');
$dbh->do('UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 2');
is(fetch('10.99.0.1'), "hello 10.99.0.2\n", 'a credential is disabled, and those who have it go on');
$dbh->do('SELECT egress_end_leases(unentitled => true)');
ok(wireguard_has_gone(), 'those who would not get it any more are ended, and WireGuard stops') or diag(contents("$folder/agent.log"));
$dbh->do('UPDATE egress_credential SET enabled = true WHERE egress_credential_id = 2');

$openvpn = openvpn_tunnel('ended-3');
$dbh->begin_work;
$dbh->do(q{SELECT egress_end_leases(session_id => 'ended-3')});
$dbh->do(q{DELETE FROM session WHERE id = 'ended-3'});
config_for('ended-3', 1);
put('ended-3.tunnel', "$acquired_at{'ended-3'}\nkill $openvpn\n");
$dbh->commit;
$dbh->do('UPDATE egress_credential SET active_connection_limit = 2 WHERE egress_credential_id = 1');
config_for('ended-4', 6);
put('ended-4.tunnel', "$acquired_at{'ended-4'}\ntouch $folder/told\n");
$dbh->do(q{SELECT egress_end_leases(session_id => 'ended-4')});
ok(eventually(sub { -e "$folder/told" }), 'what is told later is done');
like(fetch('10.98.0.1'), qr/^hello /, 'and the tunnel of a session that had another lease by then is not stopped');
stop($agent);
$dbh->do(q{SELECT egress_end_leases(user_id => 'ann', egress_gateway_id => 1)});
is(active(1), 0, 'what is ended while nobody listens');
start_agent();
ok(openvpn_has_gone($openvpn), 'is seen by the agent when it begins') or diag(contents("$folder/agent.log"));
wireguard_tunnel('ended-6');
$dbh->do(q{SELECT egress_end_leases(egress_provider_id => 2)});
ok(wireguard_has_gone(), 'a provider is left, and its tunnels stop') or diag(contents("$folder/agent.log"));
stop($agent);

done_testing();
