# pages.pl -- is what the project's pages show and say so?
#
# - Each SQL block of README.md, and of the pages for its readers, runs, and prints what the page shows. A page continues the example of
#   the README, so each begins with its blocks, in a database of its own. EgressPages.pm says what a block may have.
# - The blocks of doc/providers.md find the files that they read, and the answer of a provider, in a folder that is made here.
# - Each SQL block of any page has a test that runs it.
# - Each link within the project leads to a file and a heading that are there, and so do the names of files and objects.
# - The errors that doc/operations.md lists are those of src/errors.h. README.md has at most 150 lines, and the numbers in its table are
#   those of doc/bench.md.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use EgressPages qw(pages text without_blocks blocks sql links anchors);
use EgressTest qw(slurp);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use JSON::PP ();
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $folder = tempdir(CLEANUP => 1);
chdir $folder or die "$folder: $!";
my $database = "egress_pages_$$";
my $admin = "egress_pages_admin_$$";

# the pages whose blocks run here, and those that have to run before, each in a database of its own
my %continues = ('README.md' => [], 'doc/integration.md' => ['README.md'], 'doc/administration.md' => ['README.md'],
	'doc/operations.md' => [ 'README.md', 'doc/integration.md' ], 'doc/configs.md' => ['README.md']);
# the tests that run the blocks of other pages, and those with other marks
my %runs_page = ('doc/providers.md' => 'test/t/pages.pl',
	'doc/regions.md' => 'test/t/regions.pl', 'monitoring/README.md' => 'test/watch/run');
my %runs_mark = (import => 'test/t/secrets.pl', pg_cron => 'test/t/cron.pl');

# write a file into the current folder
sub spew
{
	my ($path, $content) = @_;
	open my $file, '>', $path or die "$path: $!";
	print $file $content;
	close $file or die "$path: $!";
	return;
}

# psql SQL, STOP: what psql prints, errors among it, and whether it went through; it stops at the first error, unless STOP is 0
sub psql
{
	my ($sql, $stop) = @_;
	$stop //= 1;
	open my $psql, '|-', "psql -X -q -v ON_ERROR_STOP=$stop -d $database >said 2>&1" or die "psql: $!";
	binmode $psql, ':encoding(UTF-8)';
	print $psql $sql;
	my $went_through = close $psql;
	return (scalar slurp('said'), $went_through);
}

# run some SQL: did it go through?
sub runs { my ($sql) = @_; return (psql($sql))[1] }

# what psql says of some SQL
sub said { return (psql(@_))[0] }

# what a query says
sub answer { my ($sql) = @_; return (psql("\\pset format unaligned\n\\pset tuples_only\n$sql;\n"))[0] }

# begin with an empty database, and end with none
sub begin { system('createdb', '-T', 'template0', $database) == 0 or die 'createdb failed'; return }
sub finish { system('dropdb', $database) == 0 or die 'dropdb failed'; return }

END
{
	local $?;
	system("dropdb --if-exists --force $database 2>/dev/null");
	system("psql -X -q -d postgres -c 'DROP ROLE IF EXISTS $_' 2>/dev/null") for keys our %roles;
}

# the SQL blocks of a page that run here
sub own_blocks
{
	my ($page) = @_;
	return map { { %$_, page => $page } } grep { my $block = $_; $block->{language} eq 'sql' && !grep { $block->{marks}{$_} } keys %runs_mark } blocks($page);
}

# run_block BLOCK, AGAIN: as who it is for; it prints what the page shows, and no error, warning or notice that the page does not show.
# AGAIN: it was tested before, and runs for those that come after it
our %roles = ($admin => 1);
sub run_block
{
	my ($block, $again) = @_;
	my $error = $block->{marks}{error};
	my $sql = $block->{text};
	$roles{$_} = 1 for $sql =~ /^CREATE ROLE (\w+)/mg;
	if (my ($access) = grep { $block->{marks}{$_} } qw(app admin))
	{
		my $role = $access eq 'app' ? 'workspaces' : $admin;
		psql("CREATE ROLE $admin") if $access eq 'admin';
		psql("SELECT egress_grant_access('$role', '$access')");
		$sql = "SET ROLE $role;\n$sql";
	}
	elsif ($again)
	{
		$sql =~ s/^CREATE ROLE .*;$//mg;
	}
	my ($said, $went_through) = psql($sql . ($error ? "\\echo :LAST_ERROR_SQLSTATE\n" : ''), $error ? 0 : 1);
	return if $again;

	my $what = "$block->{page}, line $block->{line}: " . (split /\n/, $block->{text})[0];
	if ($error)
	{
		ok($said =~ s/^(\w{5})\n\z//m && $1 eq $error, "$what fails with $error") or diag $said;
	}
	else
	{
		ok($went_through, "$what runs") or diag $said;
	}
	if (defined $block->{output})
	{
		is($said, $block->{output}, '... and prints what the page shows');
	}
	elsif ($went_through)
	{
		is(join("\n", $said =~ /^((?:ERROR|WARNING|NOTICE): .*)$/mg), '', '... without a warning');
	}
	return;
}

# ------------------------------------------------------------------ what the pages show

my @first = blocks('README.md');
cmp_ok(scalar(grep { $_->{language} eq 'sql' } @first), '>=', 3, 'the README shows SQL');
ok(defined $first[-1]{output}, '... and ends with what comes out: a config');
for my $page (sort keys %continues)
{
	begin();
	run_block($_, $page ne $_->{page}) for map { own_blocks($_) } @{ $continues{$page} }, $page;
	finish();
}

# ------------------------------------------------------------ doc/providers.md

symlink "$root/scripts", 'scripts' or die "scripts: $!";
mkdir $_ or die "$_: $!" for qw(airvpn purevpn vpn-unlimited ivpn bin);

# what AirVPN has for a device, and for its servers
sub make_certificate
{
	my ($device) = @_;
	system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=$device -keyout $device.key -out $device.crt 2>/dev/null") == 0
	  or die 'openssl failed';
	return;
}
make_certificate('client');
system('cp', 'client.crt', 'airvpn/ca.crt') == 0 or die 'cp failed';
spew("airvpn/$_.ovpn", <<"OVPN") for qw(nl-amsterdam de-berlin);
client
dev tun
remote $_.example.net 443
ca ca.crt
up /etc/openvpn/update-resolv-conf
OVPN

# files with a certificate and key, of which all have the same, or each its own, and some have none or cannot be used
sub with_key
{
	my ($server, $device) = @_;
	my ($certificate, $key) = map { slurp("$device.$_") } qw(crt key);
	return "client\ndev tun\nremote $server.example.net 1194\nauth-user-pass\n"
		. "<ca>\n$certificate</ca>\n<cert>\n$certificate</cert>\n<key>\n$key</key>\n";
}
spew("purevpn/$_.ovpn", with_key($_, 'client')) for qw(us2-udp de2-udp);
spew('purevpn/no-key.ovpn', "client\ndev tun\nremote no-key.example.net\nauth-user-pass\n");
make_certificate($_), spew("vpn-unlimited/$_.ovpn", with_key($_, $_)) for qw(us-1 us-2);
spew("$_/broken.ovpn", "client\nplugin x\nremote broken.example.net\n") for qw(purevpn vpn-unlimited);
spew('airvpn/broken.ovpn', "client\nplugin x\nremote broken.example.net\n");

my @key = map { chomp(my $key = `openssl rand -base64 32`); $key } 1 .. 5;
spew('windscribe.conf', <<"CONF");
[Interface]
PrivateKey = $key[0]
Address = 100.64.12.34/32
DNS = 10.255.255.3

[Peer]
PublicKey = $key[1]
AllowedIPs = 0.0.0.0/0
Endpoint = ams-1.example.net:1194
PresharedKey = $key[2]
CONF

spew("ivpn/$_.conf", <<"CONF") for qw(fr-paris ch-zurich);
[Interface]
PrivateKey = $key[4]
Address = 172.16.5.6/32
DNS = 172.16.0.1

[Peer]
PublicKey = $key[1]
AllowedIPs = 0.0.0.0/0
Endpoint = $_.example.net:2049
CONF

# a list in the shape of gluetun's: other protocols, a host name that comes twice, several addresses
my $json = JSON::PP->new->utf8->canonical;
spew('nordvpn.json', $json->encode({ version => 5, timestamp => 1785990786, servers => [
	{ vpn => 'openvpn', country => 'Austria', city => 'Vienna', hostname => 'at1.example.net', udp => JSON::PP::true, ips => ['192.0.2.1'] },
	{ vpn => 'wireguard', country => 'Austria', city => 'Vienna', hostname => 'at1.example.net', wgpubkey => $key[1], ips => [ '2001:db8::1', '192.0.2.1' ] },
	{ vpn => 'wireguard', region => 'Belgium', server_name => 'Castor', hostname => 'be.example.net', wgpubkey => $key[2], ips => ['2001:db8::2'] },
	{ vpn => 'wireguard', region => 'Belgium', server_name => 'Castor', hostname => 'be.example.net', wgpubkey => $key[2], ips => ['2001:db8::2'] },
	{ vpn => 'wireguard', region => 'Belgium', server_name => 'Diadema', hostname => 'be.example.net', wgpubkey => $key[3], ips => ['192.0.2.3'] } ] }));

# Mullvad's answer
spew('relays.json', $json->encode({
	locations => { 'se-got' => { country => 'Sweden', city => 'Gothenburg', latitude => 57.7, longitude => 12 },
		'nl-ams' => { country => 'Netherlands', city => 'Amsterdam', latitude => 52.4, longitude => 4.9 } },
	openvpn => { relays => [], ports => [] }, bridge => { relays => [] },
	wireguard => { port_ranges => [ [ 51820, 51820 ] ], ipv4_gateway => '10.64.0.1', ipv6_gateway => 'fc00:bbbb:bbbb:bb01::1', relays => [
		{ hostname => 'se-got-wg-001', location => 'se-got', active => JSON::PP::true, ipv4_addr_in => '192.0.2.11', public_key => $key[1], weight => 100 },
		{ hostname => 'nl-ams-wg-001', location => 'nl-ams', active => JSON::PP::true, ipv4_addr_in => '192.0.2.12', public_key => $key[2], weight => 100 },
		{ hostname => 'nl-ams-wg-002', location => 'nl-ams', active => JSON::PP::false, ipv4_addr_in => '192.0.2.13', public_key => $key[3], weight => 100 } ] } }));
spew('bin/curl', qq{#!/bin/sh\n[ "\$*" = '--fail --silent https://api.mullvad.net/app/v1/relays' ] && cat '$folder/relays.json'\n});
chmod 0755, 'bin/curl' or die "curl: $!";
$ENV{PATH} = "$folder/bin:$ENV{PATH}";

begin();
runs('CREATE EXTENSION egress;');
my @providers = sql('doc/providers.md');
cmp_ok(scalar @providers, '>=', 7, 'doc/providers.md shows SQL');
my $number = 0;
# in one session, as it says: the function of one block is used by others
my $is_admin = "SELECT egress_grant_access('$admin', 'admin');\nSET ROLE $admin;\n";
ok(runs($is_admin . join "\n", @providers), 'doc/providers.md runs') or diag slurp('said');
for my $block (@providers)
{
	next if $block !~ /name = :?'\S+/ || $block !~ /egress_provider WHERE name/;
	my $nobody = $block =~ s/^\\set provider \K.*$/Nobody/mr =~ s/egress_provider WHERE name = \K'[^']*'/'Nobody'/gr;
	my ($function) = grep { /take_apart\(provider_type/ } @providers;
	ok(!runs($function . $nobody), 'a name that no provider has is an error in block ' . ++$number);
}
is($number, 8, 'in all that look a provider up');
my ($unlimited) = grep { /'VPN Unlimited'\),/ } @providers;
my ($function) = grep { /take_apart\(provider_type/ } @providers;
ok(runs("$function$unlimited"), 'the files of VPN Unlimited again');
is(answer(q{SELECT count(*) FROM egress_credential JOIN egress_provider p USING (egress_provider_id) WHERE p.name = 'VPN Unlimited'}),
	"2\n", 'make no second credential');
like(said("$function$unlimited"), qr/WARNING:  broken is left out: line 2 of .*"plugin".*\nDETAIL:  It loads code/, 'a file that cannot be used is named');
my ($pure) = grep { /'PureVPN'\),/ } @providers;
like(said($function . $pure =~ s/list purevpn/list vpn-unlimited/r), qr/more than one row returned by a subquery/,
	'files of several keys are not taken for those of one');

is(answer(q{SELECT provider_name, country, city, gateway_name, available_connections FROM egress_available_gateways('ann')}), <<'MENU', 'the menu that it promises');
AirVPN|de|berlin|de-berlin|5
AirVPN|nl|amsterdam|nl-amsterdam|5
IVPN|ch|zurich|ch-zurich|1
IVPN|fr|paris|fr-paris|1
Mullvad|Netherlands|Amsterdam|nl-ams-wg-001|2
Mullvad|Sweden|Gothenburg|se-got-wg-001|2
NordVPN|Austria|Vienna|at1.example.net|1
NordVPN|Belgium||Castor be.example.net|1
NordVPN|Belgium||Diadema be.example.net|1
PureVPN|||de2-udp|10
PureVPN|||no-key|10
PureVPN|||us2-udp|10
VPN Unlimited|||us-1|1
VPN Unlimited|||us-2|1
MENU

# acquire GATEWAY: the config that a session gets there
sub acquire
{
	my ($gateway) = @_;
	return answer("SELECT a.config FROM egress_gateway g, egress_acquire_credential('ann', NULL, egress_gateway_id, '$gateway') a WHERE g.name = '$gateway'");
}
like(acquire('nl-ams-wg-001'), qr{\A\[Interface\]\n(?=.*^Address = 10\.66\.11\.2/32)(?=.*^PrivateKey = SLwQ).*^DNS = 10\.64\.0\.1\n.*^Endpoint = 192\.0\.2\.12:51820\n}ms,
	'a relay of Mullvad\'s, with the key and its address');
like(acquire('at1.example.net'), qr{(?=.*^PrivateKey = mE3Z)(?=.*^Address = 10\.5\.0\.2/32\n)(?=.*^PublicKey = \Q$key[1]\E\n).*^Endpoint = 192\.0\.2\.1:51820\n}ms,
	'a server of NordVPN\'s, with the address that all have');
like(acquire('Castor be.example.net'), qr{^Endpoint = \[2001:db8::2\]:51820\n}m, 'one with an IPv6 address only');
my $airvpn = acquire('nl-amsterdam');
my $certificate = slurp('client.crt');
like($airvpn, qr{^<ca>\n\Q$certificate\E</ca>\n}m, 'a file of AirVPN\'s, with the certificate beside it');
like($airvpn, qr{^<cert>\n\Q$certificate\E</cert>\n}m, 'that of the credential');
like($airvpn, qr{^<key>\n-----BEGIN PRIVATE KEY-----\n.*</key>\n}ms, 'and its key');
unlike($airvpn, qr/^up /m, 'and not what ran a command');
is(answer(q{SELECT address FROM egress_credential WHERE name = 'device 2'}), "100.64.12.34/32\n", 'the parts of a file with all of it');
is(answer(q{SELECT count(*) FROM egress_gateway WHERE config ~ 'PRIVATE KEY'}), "0\n", 'no key is in a config');
like(acquire('us2-udp'), qr{^<auth-user-pass>\npurevpn0s12345678\nthe password\n</auth-user-pass>\n.*^<cert>\n\Q$certificate\E</cert>\n}ms,
	'of files with one key, with that and the login');
for my $device (qw(us-1 us-2))
{
	my $own = slurp("$device.crt");
	like(acquire($device), qr{^<cert>\n\Q$own\E</cert>\n}m, "of files with a key each, each has its own: $device");
}
like(acquire('ch-zurich'), qr{(?=.*^PrivateKey = \Q$key[4]\E\n)(?=.*^Address = 172\.16\.5\.6/32\n)}ms, 'of a .conf file, with the key and its address');
is(answer(q{SELECT count(*) FROM egress_gateway WHERE config ~ '(?n)^(Address = 172|PrivateKey = .)'}), "0\n", 'which the gateway has not');
is(answer(q{SELECT string_agg(DISTINCT p.name, ',' ORDER BY p.name) FROM egress_provider p LEFT JOIN egress_credential c USING (egress_provider_id) WHERE c IS NULL}),
	"\n", 'every provider has a credential');

# the same files in an archive are the same list, and what is there is not written
my $list = `scripts/provider_list airvpn`;
system('tar', '-czf', 'airvpn.tar.gz', 'airvpn') == 0 or die 'tar failed';
is(`scripts/provider_list airvpn.tar.gz`, $list, 'an archive is as good as a folder');
is_deeply([ sort map { $_->{name} } @{ $json->decode($list)->{gateways} } ], [qw(broken de-berlin nl-amsterdam)], 'and has all files');
symlink '/etc/hostname', 'airvpn/link.crt';
is(`scripts/provider_list airvpn/`, $list, 'a symbolic link is not followed');
mkdir $_ or die "$_: $!" for 'airvpn/udp', 'airvpn/tcp';
spew("airvpn/$_/ta.key", $_), spew("airvpn/$_/one.ovpn", "remote $_.example.net") for qw(udp tcp);
is_deeply({ map { ($_->{name} => $_->{files}) } grep { $_->{files} } @{ $json->decode(`scripts/provider_list airvpn`)->{gateways} } },
	{ 'udp/one' => { 'ta.key' => 'udp' }, 'tcp/one' => { 'ta.key' => 'tcp' } }, 'of files of one name each folder has its own');
is(`scripts/provider_list bin 2>&1`, "bin: there is no .ovpn or .conf file in it\n", 'a folder without a config is an error');
finish();

# ------------------------------------------------------------- every block of every page

for my $page (pages())
{
	for my $block (grep { $_->{language} eq 'sql' } blocks($page))
	{
		my ($mark) = grep { $block->{marks}{$_} } keys %runs_mark;
		my $test = $mark ? $runs_mark{$mark} : $continues{$page} ? 'test/t/pages.pl' : $runs_page{$page};
		ok($test && slurp("$root/$test") =~ /\Q$page\E/, "$page, line $block->{line}: has a test that runs it");
	}
	# what looks like code only because it is indented runs nowhere
	next if !$continues{$page};
	my @indented = without_blocks($page) =~ /^\n((?:    .*\n)+)/mg;
	is(join('', grep { /^ *(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|BEGIN|GRANT|CALL)\b[^|]*;/ } @indented), '',
		"$page: SQL is in blocks that say so");
}

# ------------------------------------------------------------------------------- links

my $links = 0;
for my $page (pages())
{
	my @broken;
	for my $link (links($page))
	{
		my ($file, $anchor) = map { $_ // '' } @$link;
		my $path = $file eq '' ? $page : dirname($page) . "/$file";
		1 while $path =~ s{(?:^|(?<=/))(?!\.\./)[^/]+/\.\./}{} || $path =~ s{(?:^|(?<=/))\./}{};
		$links++;
		push @broken, "$file#$anchor" if !-e "$root/$path" || $anchor ne '' && ($path !~ /\.md\z/ || !grep { $_ eq $anchor } anchors($path));
	}
	is(join(' ', @broken), '', "$page: its links lead to what is there");
}
cmp_ok($links, '>', 100, 'there are links');

# ------------------------------------------------------------ what the pages call by name

my $source = join '', map { slurp($_) } "$root/egress--1.0.sql", glob "$root/src/*.[ch]";
for my $page (pages())
{
	my @names = text($page) =~ /`([^`\n]+)`/g;
	my @files = grep { !m{/[A-Z]+/} && m{^(?:debian|demo|doc|examples|monitoring|scripts|sql|src|test)/[\w./-]*\z} } @names;
	is(join(' ', grep { !-e "$root/$_" } @files), '', "$page: the files that it names are there");
	next if !$continues{$page};
	is(join(' ', grep { $source !~ /\b\Q$_\E\b/ } map { /\b(egress_\w+)/g } @names), '', '... and the objects');
}

# ------------------------------------------------------------------- what the pages list

# the codes of src/errors.h: our own, and PostgreSQL's by their names
my $errors = slurp("$root/src/errors.h");
chomp(my $sharedir = `@{[$ENV{PG_CONFIG} // 'pg_config']} --sharedir`);
my %code = slurp("$sharedir/errcodes.txt") =~ /^(?=\w{5} )(\w{5}) +[EWS] +(\w+)/mg;
%code = reverse %code;
my @codes = ((map { join '', /\w/g } $errors =~ /MAKE_SQLSTATE\((.*?)\)/g), map { $code{$_} // $_ } $errors =~ /^ \* (ERRCODE_\w+): /mg);
my ($table) = text('doc/operations.md') =~ /^\| SQLSTATE .*\n((?:\|.*\n)+)/m;
my @listed = map { /`([0-9A-Z]{5})`/g } $table =~ /^(\|[^|]+\|)/mg;
cmp_ok(scalar @codes, '>', 30, 'src/errors.h lists SQLSTATEs');
is(join(' ', sort @listed), join(' ', sort @codes), 'doc/operations.md lists the same');

my $readme = text('README.md');
cmp_ok(($readme =~ tr/\n//), '<=', 150, 'README.md can be read in one sitting');
my ($measured) = $readme =~ /^\| what \| a second .*\n\|[-|:]+\n((?:\|.*\n)+)/m;
my %is_measured = map { ($_ => 1) } slurp("$root/doc/bench.md") =~ /^(\|(?:[^|\n]*\|){5})/mg;
is(join("\n", grep { !$is_measured{$_} } split /\n/, $measured // 'no table'), '', 'its numbers are those of doc/bench.md');
done_testing();
