# certificates.pl -- the check of a client's certificate and key says what openvpn does
#
# Certificates and keys of all kinds, whole and damaged, go into a credential, and into a config that openvpn is started
# with, on a network of its own without anybody to connect to. What the database takes, openvpn loads without a question.
# What it refuses, openvpn stops at or asks about.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use File::Temp qw(tempdir);
use MIME::Base64;
use Test::More;

# openvpn is to find no network; a test that cannot have one of its own does without
my @alone = system('unshare -n true 2>/dev/null') == 0 ? ('unshare', '-n') : ();
$ENV{PATH} .= ':/usr/sbin:/sbin';
plan skip_all => 'there is no openvpn' if system('command -v openvpn >/dev/null 2>&1') != 0;

my $folder = tempdir(CLEANUP => 1);
my $test = EgressTest->new('certificates');
my $dbh = $test->connect;
$dbh->do(q{INSERT INTO egress_provider (name, provider_type) VALUES ('openvpn', 'openvpn')});

sub openssl
{
	my ($arguments) = @_;
	my $said = `cd $folder && openssl $arguments 2>&1`;
	return $? == 0 ? 1 : do { diag("openssl $arguments: $said"); 0 };
}

sub slurp
{
	my ($file) = @_;
	open my $handle, '<:raw', "$folder/$file" or return '';
	local $/;
	return scalar <$handle> // '';
}

sub database_takes
{
	my ($certificate, $key) = @_;
	my $refusal = sqlstate
	{
		$dbh->do(q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, client_certificate, client_key)
		           VALUES (1, 'c', 'everyone', ?, ?)}, undef, $certificate, $key)
	};
	die $@ if $refusal ne '' && $refusal ne 'NG007';
	return $refusal eq '' ? 1 : 0;
}

# openvpn_takes: does it come as far as its connection? With what it said
sub openvpn_takes
{
	my ($certificate, $key) = @_;
	return openvpn_connects([ cert => $certificate ], [ key => $key ]);
}

sub openvpn_connects
{
	my (@blocks) = @_;
	my $config = "client\ndev null\nremote 127.0.0.1 9 udp\nnobind\nauth-nocache\nifconfig-noexec\nroute-noexec\ntls-cert-profile insecure\n"
		. "<ca>\n" . slurp('ca.crt') . "</ca>\n";
	$config .= "<$_->[0]>\n" . ($_->[1] =~ s/\n?\z/\n/r) . "</$_->[0]>\n" for @blocks;
	open my $file, '>:raw', "$folder/client.ovpn" or die $!;
	print $file $config;
	close $file or die $!;
	my $said = '';
	my $pid = open(my $openvpn, '-|') // die "fork: $!";
	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDERR, '>&', \*STDOUT;
		exec 'timeout', '20', @alone, 'openvpn', '--config', "$folder/client.ovpn" or die $!;
	}
	my $taken = 0;
	while (my $line = <$openvpn>)
	{
		$said .= $line;
		next if $line !~ /link remote:/;
		$taken = 1;
		last;
	}
	kill 'TERM', $pid;
	close $openvpn;
	return ($taken, $said);
}

# ---- keys of all kinds, and certificates of them

openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=ca -keyout ca.key -out ca.crt");
my %new = ('rsa' => 'rsa:2048', 'rsa-pss' => 'rsa-pss', 'p-256' => 'ec -pkeyopt ec_paramgen_curve:P-256',
	'p-384' => 'ec -pkeyopt ec_paramgen_curve:P-384', 'ed25519' => 'ed25519');
for my $kind (sort keys %new)
{
	openssl("req -newkey $new{$kind} -nodes -subj /CN=$kind -keyout $kind.key -out $kind.csr");
	openssl("x509 -req -in $kind.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -out $kind.crt");
}
openssl('x509 -in rsa.crt -text -out text.crt');
openssl('rsa -in rsa.key -traditional -out old.key');
openssl('rsa -in rsa.key -traditional -aes128 -passout pass:x -out oldsecret.key');
openssl('pkcs8 -topk8 -in rsa.key -passout pass:x -out secret.key');
openssl('ec -in p-256.key -out oldec.key');
openssl('x509 -in rsa.crt -trustout -out trusted.crt');
openssl('pkey -in rsa.key -pubout -out public.key');
openssl('x509 -in rsa.crt -days 9 -signkey rsa.key -out own.crt');

my ($certificate, $key) = (slurp('rsa.crt'), slurp('rsa.key'));
my $broken = substr($certificate, 0, 200);
my @cases = map { [ "a key of $_", slurp("$_.crt"), slurp("$_.key") ] } sort keys %new;
push @cases,
	[ 'an older form of the key', $certificate, slurp('old.key') ],
	[ 'an older form of a key of a curve', slurp('p-256.crt'), slurp('oldec.key') ],
	[ 'text around', "x\n" . slurp('text.crt') . "\nx\n", "x\n${key}x\n" ],
	[ 'CR and LF', $certificate =~ s/\n/\r\n/gr, $key =~ s/\n/\r\n/gr ],
	[ 'no newline at the end', $certificate =~ s/\n\z//r, $key =~ s/\n\z//r ],
	[ 'a chain', $certificate . slurp('ca.crt'), $key ],
	[ 'a chain with text', slurp('text.crt') . "x\n" . slurp('ca.crt') . "x\n", $key ],
	[ 'a chain that is broken', $certificate . $broken, $key ],
	[ 'a chain that is broken in the middle', $certificate . $broken . slurp('ca.crt'), $key ],
	[ 'a chain with no base64 in it', $certificate . (slurp('ca.crt') =~ s/\n.{4}/\n!!!!/r), $key ],
	[ 'a chain in the wrong order', slurp('ca.crt') . $certificate, $key ],
	[ 'the key of another', $certificate, slurp('p-256.key') ],
	[ 'the key of another RSA', slurp('rsa-pss.crt'), $key ],
	[ 'a passphrase', $certificate, slurp('secret.key') ],
	[ 'a passphrase in the older way', $certificate, slurp('oldsecret.key') ],
	[ 'a public key', $certificate, slurp('public.key') ],
	[ 'a trusted certificate', slurp('trusted.crt'), $key ],
	[ 'a certificate signed by its own key', slurp('own.crt'), $key ],
	[ 'the older name of a certificate', $certificate =~ s/(BEGIN|END) CERT/$1 X509 CERT/gr, $key ],
	[ 'a broken certificate', $broken, $key ],
	[ 'a broken key', $certificate, substr($key, 0, 300) ],
	[ 'no base64 in the key', $certificate, $key =~ s/\n.{4}/\n!!!!/r ],
	[ 'bytes changed in the certificate', $certificate =~ s/^(MII.)..../$1AAAA/mr, $key ],
	[ 'bytes changed in the key', $certificate, $key =~ s/^(MII.)..../$1AAAA/mr ],
	[ 'the key first', "$certificate", "$certificate$key" ],
	[ 'a key of another behind it', $certificate, $key . slurp('p-256.key') ],
	[ 'a key of another before it', $certificate, slurp('p-256.key') . $key ],
	[ 'a key with a passphrase behind it', $certificate, $key . slurp('secret.key') ],
	[ 'spaces before the lines', $certificate =~ s/^/  /gmr, $key =~ s/^/  /gmr ],
	[ 'spaces behind the lines', $certificate =~ s/$/  /gmr, $key =~ s/$/  /gmr ],
	[ 'an empty line in the middle', $certificate =~ s/\n/\n\n/r, $key ],
	[ 'long lines', join("\n", map { /^-/ ? $_ : s/\n//gr } split /\n?(-----.*-----)\n/, $certificate) =~ s/^\n//r, $key ],
	[ 'four dashes', $certificate =~ s/-----END/----END/r, $key ],
	[ 'nothing', '', 'x' ],
	[ 'words', 'client.crt', 'client.key' ];

my %count;
for my $case (@cases)
{
	my ($what, $crt, $pem) = @$case;
	my $taken = database_takes($crt, $pem);
	my ($openvpn, $said) = openvpn_takes($crt, $pem);
	is($taken, $openvpn, "$what: " . ($openvpn ? 'openvpn takes it' : 'openvpn does not take it')) or diag($said);
	$count{$openvpn}++;
}
# ---- PKCS #12 files, which are in configs only

# pkcs12_taken: does the database take it, and does openvpn?
sub pkcs12_taken
{
	my ($file) = @_;
	my $block = encode_base64($file);
	my $refusal = sqlstate
	{
		$dbh->do(q{INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (1, gen_random_uuid(), ?)}, undef,
			"client\ndev tun\nremote h\n<pkcs12>\n$block</pkcs12>\n")
	};
	die $@ if $refusal ne '' && $refusal ne 'NG007';
	my ($openvpn, $said) = openvpn_connects([ pkcs12 => $block ]);
	return ($refusal eq '' ? 1 : 0, $openvpn, $said);
}

# der, oid: parts of a file in DER
sub der
{
	my ($tag, @parts) = @_;
	my $content = join '', @parts;
	my $length = length $content;
	return chr($tag) . ($length < 128 ? chr($length) : chr(0x82) . pack('n', $length)) . $content;
}
sub oid { return der(6, pack 'H*', $_[0]) }

# file_of: without a digest, with keys of openssl pkcs8 and the certificate; the keys as many lists deep
sub file_of
{
	my ($depth, @keys) = @_;
	my $certificate = der(0x30, oid('2a864886f70d010c0a0103'), der(0xa0, der(0x30, oid('2a864886f70d01091601'),
		der(0xa0, der(4, decode_base64(slurp('rsa.crt') =~ s/-----.*\n//gr))))));
	my $bags = join '', map { der(0x30, oid('2a864886f70d010c0a0102'), der(0xa0, $_)) } @keys;
	$bags = der(0x30, oid('2a864886f70d010c0a0106'), der(0xa0, der(0x30, $bags))) for 1 .. $depth;
	my $safe = der(0x30, oid('2a864886f70d010701'), der(0xa0, der(4, der(0x30, $certificate, $bags))));
	return der(0x30, der(2, chr 3), der(0x30, oid('2a864886f70d010701'), der(0xa0, der(4, der(0x30, $safe)))));
}

my $old = '-certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1';
for my $case ([ 'without a passphrase', '-passout pass:', 1 ], [ 'with one', '-passout pass:x', 0 ],
	[ 'encrypted in the older way', "-passout pass: $old", 1 ], [ 'with a passphrase in the older way', "-passout pass:x $old", 0 ],
	[ 'without a digest', '-passout pass: -nomac', 1 ], [ 'with a passphrase and no digest', '-passout pass:x -nomac', 0 ],
	[ 'without a digest in the older way', "-passout pass: -nomac $old", 0 ],
	[ 'not encrypted', '-passout pass: -certpbe NONE -keypbe NONE', 1 ],
	[ 'with neither a digest nor encrypted', '-passout pass: -certpbe NONE -keypbe NONE -nomac', 1 ],
	[ 'with a passphrase for its digest alone', '-passout pass:x -certpbe NONE -keypbe NONE', 0 ],
	[ 'with a key alone encrypted', '-passout pass:x -nomac -certpbe NONE', 0 ],
	[ 'with certificates alone encrypted', '-passout pass:x -nomac -certpbe AES-256-CBC -keypbe NONE', 0 ],
	[ 'with more rounds', '-passout pass: -iter 100000', 1 ])
{
	my ($what, $options, $expected) = @$case;
	openssl("pkcs12 -export -in rsa.crt -inkey rsa.key $options -out file.p12");
	my ($taken, $openvpn, $said) = pkcs12_taken(slurp('file.p12'));
	is_deeply([ $taken, $openvpn ], [ $expected, $expected ], "a PKCS #12 file $what") or diag($said);
}
SKIP:
{
	skip('openssl has no legacy provider', 1)
		if system("cd $folder && openssl pkcs12 -export -legacy -in rsa.crt -inkey rsa.key -passout pass: -out legacy.p12 2>/dev/null") != 0;
	my ($taken, $openvpn, $said) = pkcs12_taken(slurp('legacy.p12'));
	is($taken, $openvpn, 'a PKCS #12 file of -legacy') or diag($said);
}
# the digest has an empty passphrase, which openssl asks for where there is no terminal, and what is encrypted another
for my $options ('', '-certpbe NONE', '-keypbe NONE')
{
	unlink "$folder/mixed.p12";
	system("cd $folder && printf '\\n\\nx\\nx\\n' | setsid -w openssl pkcs12 -export -twopass -in rsa.crt -inkey rsa.key $options -out mixed.p12 2>/dev/null");
	ok(-s "$folder/mixed.p12", "openssl made a file with two passphrases $options");
	my ($taken, $openvpn, $said) = pkcs12_taken(slurp('mixed.p12'));
	is_deeply([ $taken, $openvpn ], [ 0, 0 ], "a PKCS #12 file with an empty passphrase for its digest alone $options") or diag($said);
}
# how a key is derived is looked at before it is; what openvpn would take its time for is refused
sub encrypted_key
{
	my ($options) = @_;
	openssl("pkcs8 -topk8 -in rsa.key -outform DER $options -out key.der");
	return slurp('key.der');
}
my $few = encrypted_key('-passout pass:');
my $half = encrypted_key('-passout pass: -iter 1000001');
for my $case ([ 'a key', [ 0, $few ], 1 ], [ 'a key in a list', [ 1, $few ], 1 ], [ 'a key in lists', [ 3, $few, $few ], 1 ],
	[ 'a key of another passphrase in a list', [ 1, encrypted_key('-passout pass:x') ], 0 ],
	[ 'a second key of another passphrase', [ 0, $few, encrypted_key('-passout pass:x') ], 1 ],
	[ 'half of the rounds', [ 1, $half ], 1 ])
{
	my ($what, $parts, $expected) = @$case;
	my ($taken, $openvpn, $said) = pkcs12_taken(file_of(@$parts));
	is_deeply([ $taken, $openvpn ], [ $expected, $expected ], "a PKCS #12 file with $what") or diag($said);
}
for my $case ([ 'too many rounds', 0, encrypted_key('-passout pass: -iter 2000001') ], [ 'too many in a list', 2, encrypted_key('-passout pass: -iter 2000001') ],
	[ 'too many together', 1, $half, $half ], [ 'scrypt', 0, encrypted_key('-passout pass: -scrypt') ],
	[ 'too many in the older way', 0, encrypted_key('-passout pass: -v1 PBE-SHA1-3DES -iter 2000001') ])
{
	my ($what, @parts) = @$case;
	my ($taken) = pkcs12_taken(file_of(@parts));
	is($taken, 0, "a PKCS #12 file with $what");
}
for my $options ('', '-nomac')
{
	openssl("pkcs12 -export -in rsa.crt -inkey rsa.key -passout pass: $options -iter 2000001 -out file.p12");
	my ($taken) = pkcs12_taken(slurp('file.p12'));
	is($taken, 0, "a PKCS #12 file with too many rounds outside $options");
}

cmp_ok($count{1}, '>', 12, 'much of it is taken');
cmp_ok($count{0}, '>', 12, 'and much is not');

done_testing();
