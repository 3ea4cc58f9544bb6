# configs.pl -- configs and credentials through the parsers, and what the parsers accept through the real programs
#
# The rules: a config that is accepted is one that openvpn, wg-quick and wg read without an error, and has nothing that
# runs a command, loads code, or reads or writes a file on the agent; what is refused is NG007, and names the line and
# the directive (doc/configs.md).
#
# The parsers are built without a server (test/config/standalone.c), under AddressSanitizer and UBSan where the
# compiler has them. test/config/corpus has whole configs: what is in accepted/ is rendered and given to the
# real program; refused/expected says which lines and directives the refusal names. test/config/fuzz.c makes up many more
# and judges them by itself; some of those that are accepted are given to the real programs here.
#
# How to make the programs read a config and no more:
#  - openvpn prints its version once all options are read and found to fit. After that it opens the management
#    socket, which is at a place where it cannot be, and ends. With verb 4 it prints the options as it understood them.
#  - wg-quick strip prints what it would give to wg, and wg setconf reads that before it finds that there is no such
#    interface.
#
# Environment: EGRESS_FUZZ_COUNT, how many configs and credentials are made up (100000). EGRESS_FUZZ_SEED, the seed (1).
use strict;
use warnings;
use FindBin;

use File::Temp qw(tempdir);
use IPC::Open3;
use Test::More;

# no program that is started here needs a network, or should find one
if (!$ENV{EGRESS_CONFIGS_ISOLATED} && system('unshare -n true 2>/dev/null') == 0) {
    $ENV{EGRESS_CONFIGS_ISOLATED} = 1;
    exec 'unshare', '-n', $^X, $0 or die $!;
}

my $root = "$FindBin::Bin/../..";
my $corpus = "$root/test/config/corpus";
my $count = $ENV{EGRESS_FUZZ_COUNT} // 100_000;
my $seed = $ENV{EGRESS_FUZZ_SEED} // 1;
my $folder = tempdir(CLEANUP => 1);

my $username = 'user one';
my $password = 'pass#word;one';
my $private_key = 'KKj9BQcfDB1oC5v+x0JwnWIDcZsQO3jDsFqnkWRjxlA=';

# run -- run a command with this on its standard input; its exit status, standard output and standard error
sub run {
    my ($input, @command) = @_;
    open my $in, '>:raw', "$folder/in" or die $!;
    print $in $input;
    close $in or die $!;
    open $in, '<', "$folder/in" or die $!;
    open my $out, '+>:raw', "$folder/out" or die $!;
    open my $err, '+>:raw', "$folder/err" or die $!;
    my $pid = open3('<&' . fileno $in, '>&' . fileno $out, '>&' . fileno $err, @command);
    waitpid $pid, 0;
    my $status = $?;
    local $/;
    seek $_, 0, 0 for $out, $err;
    return ($status, scalar <$out> // '', scalar <$err> // '');
}

sub slurp {
    my ($file) = @_;
    open my $handle, '<:raw', $file or die "$file: $!";
    local $/;
    return scalar <$handle> // '';
}

# have -- is a program there?
sub have {
    my ($program) = @_;
    return grep { -x "$_/$program" } split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin';
}

$ENV{PATH} .= ':/usr/sbin:/sbin';

# build -- compile a program of test/config with the parsers
sub build {
    my ($program, $options, @sources) = @_;
    chomp(my $headers = `@{[$ENV{PG_CONFIG} // 'pg_config']} --includedir-server`);
    return run('', $ENV{CC} // 'gcc', '-g', '-O1', '-Wall', '-Wextra', '-Werror', '-Wno-unused-parameter',
        '-D_GNU_SOURCE', @$options, "-I$headers", "-I$root/src", "-I$root/test/config",
        (map { "$root/test/config/$_" } @sources, 'standalone.c'),
        (map { "$root/src/$_" } qw(config.c config_openvpn.c openvpn_directives.c config_wireguard.c certificate.c)),
        '-o', "$folder/$program", '-lcrypto');
}

my ($openvpn_version) = have('openvpn') ? `openvpn --version` =~ /^OpenVPN (2\.\d+)/ : ();

# openvpn_reads -- give a config to openvpn; what it printed, and whether it took all options
sub openvpn_reads {
    my ($config) = @_;
    # the one that 2.6 has and 2.7 stops at, before it has read what follows
    $config =~ s/^no-replay\n//mg if $openvpn_version > 2.6;
    open my $file, '>:raw', "$folder/client.ovpn" or die $!;
    print $file $config;
    close $file or die $!;
    my (undef, $out, $err) = run('', 'timeout', '20', 'openvpn', '--config', "$folder/client.ovpn",
        '--verb', '4', '--mute', '0', '--management', '/proc/nowhere', 'unix');
    return ("$out$err", $out =~ /^[^\n]*OpenVPN 2\.\d+\S* \S+ \[/m);
}

# the settings that openvpn prints with verb 4, and that no accepted config may change
my $harmful = qr/^[^\n]*\s(?:\w*_script|ipchange|username|groupname|chroot_dir|cd_dir|writepid|status_file|
    packet_id_file|key_pass_file|client_config_dir|tls_verify|tls_export_peer_cert_dir|ca_path|dev_node|auth_token_secret_file|
    ifconfig_pool_persist_filename|pkcs11_providers)\ =\ '(?!\[UNDEF\])|
    ^[^\n]*\s(?:daemon|log)\ =\ ENABLED|
    ^[^\n]*\s\w+_file\ =\ '(?!\[UNDEF\]|\[INLINE\])/mx;

# what openvpn prints when a line is not what it can be; what is said of the config as a whole is something else
my $misread = qr/Error\ opening\ configuration\ file|egress-forbidden-file|
    (?:Options error|ERROR):\ (?:Unrecognized|In\ |option\ |No\ closing|Residual|Parameter|Bad|Endtag)|
    is\ not\ expected\ to\ be\ inline|cannot\ be\ used\ in\ this\ context|Maximum\ option\ line/x;

# wireguard_reads -- give a config to wg-quick strip and then to wg; what failed, '' if nothing did
sub wireguard_reads {
    my ($config) = @_;
    open my $file, '>:raw', "$folder/wg0.conf" or die $!;
    print $file $config;
    close $file or die $!;
    chmod 0600, "$folder/wg0.conf";
    my ($status, $stripped, $err) = run('', 'wg-quick', 'strip', "$folder/wg0.conf");
    return "wg-quick strip: $err" if $status != 0;
    local $ENV{WG_ENDPOINT_RESOLUTION_RETRIES} = 0;
    (undef, undef, $err) = run($stripped, 'timeout', '20', 'wg', 'setconf', 'egress-none', '/dev/stdin');
    return '' if $err =~ /Unable to modify interface/ || $err =~ /Name or service not known|Temporary failure/;
    return "wg setconf: $err";
}

my ($status, undef, $err) = build('render', [], 'render.c');
is $status, 0, 'the parsers can be built without a server' or BAIL_OUT($err);
my @sanitizers = ('-fsanitize=address,undefined', '-fno-sanitize-recover=all');
($status, undef, $err) = build('fuzz', \@sanitizers, 'fuzz.c', 'scanner.c');
if ($status != 0) {
    diag "not tested: no sanitizers: $err";
    ($status, undef, $err) = build('fuzz', [], 'fuzz.c', 'scanner.c');
}
is $status, 0, 'and so can the fuzz program' or BAIL_OUT($err);

my $no_openvpn = !$openvpn_version ? 'openvpn is not installed'
    : $openvpn_version < 2.6 ? "openvpn is $openvpn_version, and not 2.6" : '';
my $no_wireguard = !have('wg-quick') ? 'wg-quick is not installed' : $> != 0 ? 'wg-quick wants root' : '';
diag "not tested: $_" for grep { $_ } $no_openvpn, $no_wireguard;

subtest 'accepted OpenVPN configs' => sub {
    for my $file (sort glob "$corpus/openvpn/accepted/*.ovpn") {
        my ($name) = $file =~ m{([^/]*)$};
        my $config = slurp($file);

        # a static key knows no users
        my $static = $config =~ /^<secret>/m;
        my @credential = $static ? () : ($username, $password);
        my ($status, $rendered, $err) = run($config, "$folder/render", 'openvpn', @credential);
        is $status, 0, "$name is accepted" or diag $err;

        if ($static) {
            is $rendered, $config, 'without a credential it stays as it is';
        }
        else {
            my $block = "<auth-user-pass>\n$username\n$password\n</auth-user-pass>";
            is scalar(() = $rendered =~ /\Q$block\E\r?$/mg), 1, 'the credential is in it once';
            unlike $rendered, qr/^[\s-]*(?:setenv opt )?auth-user-pass/m, 'and no other auth-user-pass';
            (my $left = $rendered) =~ s/\Q$block\E//;
            my $gone = length($config) - length($left);
            ok $gone >= -2 && $gone < 100, 'nothing else is gone';

            my ($status, $without) = run($config, "$folder/render", 'openvpn');
            is $status, 0, 'it can be rendered without a credential';
            unlike $without, qr/^[\s-]*(?:setenv opt )?auth-user-pass/m, 'that reads no file and asks nobody';
        }
        SKIP: {
            skip $no_openvpn, 2 if $no_openvpn;
            my ($output, $taken) = openvpn_reads($rendered);
            ok $taken, "openvpn takes $name" or diag $output;
            unlike $output, $harmful, 'and understands nothing else by it';
            like $output, qr/\sauth_user_pass_file = '\[INLINE\]'/, 'but the inline credential' if !$static;
        }
    }
};

subtest 'a credential without username and password' => sub {
    my $inline = "client\nremote h\n<auth-user-pass>\nown\nown\n</auth-user-pass>\n";
    my (undef, $rendered) = run($inline, "$folder/render", 'openvpn');
    is $rendered, $inline, 'what the config brings along inline stays';
    for my $half ("", "own\n", "own\r\n\r\n", "\nown\n") {
        (undef, $rendered) = run("client\nremote h\n<auth-user-pass>\n$half</auth-user-pass>\n", "$folder/render", 'openvpn');
        is $rendered, "client\nremote h\n", 'a block that lacks something goes: openvpn would ask for it';
    }
    (undef, $rendered) = run("client\nremote h\nauth-user-pass /etc/shadow", "$folder/render", 'openvpn');
    is $rendered, "client\nremote h\n", 'what reads a file goes';
};

# a certificate as providers have it, with text before it, and its key
my $certificate = "subject=CN = client\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
my $key = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----";

subtest 'a credential with a certificate' => sub {
    for my $file (sort glob "$corpus/openvpn/accepted/*.ovpn") {
        my ($name) = $file =~ m{([^/]*)$};
        my $config = slurp($file);
        for my $login ([ $username, $password ], [ '', '' ]) {
            my ($status, $rendered, $err) = run($config, "$folder/render", 'openvpn', @$login, $certificate, $key);
            if ($config =~ /^<(pkcs12|secret)>/m) {
                like $err, qr/: "$1" cannot be used.*no client_certificate/s, "$name: openvpn takes one identity";
                next;
            }
            is $status, 0, "$name is rendered" or diag $err;
            is scalar(() = $rendered =~ /^<cert>\n\Q$certificate\E<\/cert>\r?$/mg), 1, 'the certificate is in it once';
            is scalar(() = $rendered =~ /^<key>\n\Q$key\E\n<\/key>\r?$/mg), 1, 'the key is in it once';
            is scalar(() = $rendered =~ /^<(?:cert|key)>/mg), 2, 'and no other' if $name ne 'text_in_blocks.ovpn';
            SKIP: {
                skip $no_openvpn, 1 if $no_openvpn;
                my ($output, $taken) = openvpn_reads($rendered);
                ok $taken, "openvpn takes $name" or diag $output;
            }
        }
    }

    my $own = "client\nremote h\n<cert>\nown\n</cert>\nnobind\n<key>\nown\n</key>\nverb 3\n";
    my (undef, $rendered) = run($own, "$folder/render", 'openvpn', '', '', $certificate, $key);
    is $rendered, "client\nremote h\n<cert>\n$certificate</cert>\nnobind\n<key>\n$key\n</key>\nverb 3\n", 'in the place of its own';
    (undef, $rendered) = run("client\nremote h", "$folder/render", 'openvpn', 'u', 'p', $certificate, $key);
    is $rendered, "client\nremote h\n<auth-user-pass>\nu\np\n</auth-user-pass>\n<cert>\n$certificate</cert>\n<key>\n$key\n</key>\n",
        'without any, at the end';
    for my $bad ([ "$certificate\n</cert>\nup x\n", $key ], [ $certificate, "$key\n </key>\nup x\n" ], [ "a\x01", $key ], [ $certificate, "a\tb" ]) {
        my ($status, $out, $err) = run("client\nremote h\n", "$folder/render", 'openvpn', '', '', @$bad);
        is $status >> 8, 1, 'what would not stay in its block is refused';
        like $err, qr/^NG007: client_\w+ cannot be used/, 'and the field is named';
    }
};

subtest 'accepted WireGuard configs' => sub {
    for my $file (sort glob "$corpus/wireguard/accepted/*.conf") {
        my ($name) = $file =~ m{([^/]*)$};
        my $config = slurp($file);
        my ($status, $rendered, $err) = run($config, "$folder/render", 'wireguard', $private_key);
        is $status, 0, "$name is accepted" or diag $err;
        my $had = () = $config =~ /^\s*private ?key\s*=/mig;
        my $has = () = $rendered =~ /^\s*private ?key\s*=\s*\Q$private_key\E\s*(?:#|\r?$)/mig;
        is $has, 1, 'the key is in it once';
        is $rendered =~ tr/\n//, $config =~ tr/\n// + 1 - $had, 'no other line came or went';
        is scalar(() = $rendered =~ /\r$/mg), scalar(() = $config =~ /\r$/mg) + ($config =~ /\r/ ? 1 - $had : 0),
            'lines end as they did';
        SKIP: {
            skip $no_wireguard, 1 if $no_wireguard;
            is wireguard_reads($rendered), '', "wg-quick and wg take $name";
        }
    }
};

# what people paste: the line or value that is wrong, what the message says, and what it says to do
subtest 'messages that help' => sub {
    my $key = 'Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=';
    my ($interface, $peer) = ("[Interface]\nAddress = 10.0.0.2/32\n", "[Peer]\nPublicKey = $key\n");
    my @cases = (
        [ wireguard => "\xef\xbb\xbf$interface$peer", qr/^NG007: line 1 .*byte order mark.*without a byte order mark/s ],
        [ wireguard => "\xef\xbb\xbf# a comment\n$interface$peer", qr/^NG007: line 1 .*byte order mark/s ],
        [ wireguard => "$interface$peer\n\xef\xbb\xbf[Peer]\n", qr/^NG007: line 6 .*byte order mark/s ],
        (map { [ wireguard => "$interface${peer}Endpoint = $_\n", qr/"Endpoint".*takes host:port, or \[address\]:port.*no scheme/s ] }
            'http://vpn.example:51820', 'udp://vpn.example:51820', 'https://vpn.example', 'vpn.example', 'vpn.example 51820',
            '2001:db8::1', '2001:db8:', '[2001:db8::1]', '[2001:db8::1]:wg!', '[vpn:example]:51820', 'vpn.example:51820/udp', ''),
        (map { [ wireguard => "[Interface]\n$_ = 5\n$peer", qr/^NG007: line 2 .*"\Q$_\E".*AmneziaWG.*type custom/s ] }
            qw(Jc Jmin Jmax S1 S2 S3 S4 H1 H2 H3 H4 I1 I2 I3 I4 I5 J1 J2 J3 Itime)),
        [ wireguard => "[Interface]\njc = 5\n$peer", qr/"Jc".*AmneziaWG/s ],
        (map { [ wireguard => "$interface\[Peer]\nPublicKey = $_\n", qr/"PublicKey".*44 characters.*not "-" and "_"/s ] }
            $key =~ tr{+/}{-_}r =~ s/^../-_/r, substr($key, 0, 43), "<$key>", ''),
        [ wireguard => "$interface${peer}AllowedIPs = 0.0.0.0/0; ::/0\n", qr/"AllowedIPs".*one comma/s ],
        [ wireguard => "$interface${peer}PersistentKeepalive = 25s\n", qr/"PersistentKeepalive".*without a unit/s ],
        [ wireguard => "[Interface]\nMTU = 42\n$peer", qr/"MTU".*68 to 65535/s ],
        [ wireguard => "[Interface]\nAddress: 10.0.0.2\n$peer", qr/line 2 .*with "=" and its value/s ],
        [ wireguard => "$interface${peer}DNS = 192.0.2.1\n", qr/"DNS".*\[Peer\] has.*behind the line \[Interface\]/s ],
        [ wireguard => "PublicKey = $key\n$interface$peer", qr/line 1 .*"PublicKey".*no section.*behind a line \[Peer\]/s ],
        [ wireguard => "; a comment\n$interface$peer", qr/begins with "#"/ ],
        [ wireguard => "[ Interface ]\n", qr/no white space or other brackets/ ],
        [ wireguard => "client\ndev tun\nremote vpn.example\n", qr/directive of OpenVPN.*type openvpn/s ],
        [ openvpn => "# a comment\n$interface$peer", qr/line 2 .*section of a WireGuard config.*type wireguard/s ],
        [ openvpn => "\xef\xbb\xbf$interface$peer", qr/section of a WireGuard config/ ],
        [ openvpn => "client\nremote udp://vpn.example 1194\n", qr/"remote".*takes HOST PORT\? PROTO\?/s ],
        [ openvpn => "client\nremote vpn.example:1194\n", qr/"remote".*takes HOST PORT\? PROTO\?/s ],
        [ openvpn => "client now\nremote h\n", qr/"client".*takes no parameter/s ],
        (map { my $format = $_; (
            [ $format => qq({"name": "ams-1", "config": "x"}\n), qr/JSON.*egress_sync_gateways/s ],
            [ $format => qq(<?xml version="1.0"?>\n<x/>\n), qr/XML or a web page.*download/s ],
            [ $format => "<!DOCTYPE html>\n<html>\n", qr/XML or a web page/ ],
            [ $format => "<html>\n", qr/XML or a web page/ ],
            [ $format => "```\n$interface", qr/Markdown.*between the two/s ],
            [ $format => "/etc/vpn/file.conf\n", qr/path or an address.*content of the file/s ],
            [ $format => "https://vpn.example/file.conf\n", qr/path or an address.*content of the file/s ],
            [ $format => $format eq 'openvpn' ? 'client\\nremote h' : '[Interface]\\nAddress = 10.0.0.2', qr/backslash and an n.*In SQL, write E/s ]) }
            'openvpn', 'wireguard'),
    );
    for my $case (@cases) {
        my ($format, $config, $says) = @$case;
        my ($status, undef, $err) = run($config, "$folder/render", $format);
        is $status >> 8, 1, 'refused';
        like $err, $says, "$format: " . ($config =~ s/[^ -~]+/|/gr);
    }

    # all bad lines, by line, each once; the hints, each once; and an end to it
    my $flood = join '', map { "up x\n" } 1 .. 250;
    my @many = (
        [ "down x\nclient now\n<ca>\nup x\n</ca> x\nca x\nup \x01x\nup x",
            qr/^NG007:\ line\ 1\ of\ the\ OpenVPN\ config:\ "down"\ cannot\ be\ used\ \(and\ 6\ more\ problems\)\n
                DETAIL:\ Line\ 1:\ "down":\ It\ runs.*\n Line\ 2:\ "client":.*\n Line\ 5:\ "ca":.*\n
                Line\ 6:\ "ca":.*\n Line\ 7:\ The\ line\ has\ a\ control\ character.\n Line\ 8:\ "up":.*\n
                There\ is\ no\ remote[.].*\nHINT:\ A\ provider[^\n]*\nIt\ takes\ no\ [^\n]*\nPut\ the[^\n]*\n\z/x ],
        [ "up x\nremote h\ndown x\n", qr/"up" cannot be used \(and 1 more line\)\n/ ],
        [ "up x\nremote h\n", qr/"up" cannot be used\nDETAIL: It runs a command on the agent[.]\nHINT/ ],
        [ $flood, qr/\(and 250 more lines\)\nDETAIL: (?:Line \d+: "up": It runs a command on the agent[.]\n){100}and 151 more\n/ ],
        [ "remote h\n$flood<cert>\n</cert>\n", qr/\(and 250 more lines\).*Line 101: [^\n]*\nand 151 more\n/s ],
        [ "<cert>\n</cert>\n${flood}remote h\n", qr/line 1 of [^\n]*"cert"[^\n]*\(and 250 more lines\).*Line 1: .*Line 101: [^\n]*\nand 151 more\n/s ],
    );
    for my $case (@many) {
        my ($config, $says) = @$case;
        my (undef, undef, $err) = run($config, "$folder/render", 'openvpn');
        like $err, $says, 'all that is wrong is said';
    }

    # and what is right stays so
    for my $endpoint ('vpn.example:51820', '192.0.2.1:51820', '[2001:db8::1]:51820', '[fe80::1%eth0]:51820', '2001:db8::1:51820') {
        my ($status, undef, $err) = run("$interface${peer}Endpoint = $endpoint\n", "$folder/render", 'wireguard');
        is $status, 0, "accepted: $endpoint" or diag $err;
    }
    my ($status) = run("client\nremote 2001:db8::1 1194\n", "$folder/render", 'openvpn');
    is $status, 0, 'accepted: an IPv6 address';
};

# what stands in a <tls-crypt-v2> goes out as it is: by no way over TCP
subtest 'a wrapped client key over TCP' => sub {
    my $key = "<tls-crypt-v2>\nx\n</tls-crypt-v2>\n";
    for my $proto ('', qw(udp udp4 udp6 tcp tcp4 tcp6 tcp-client tcp4-client tcp6-client)) {
        my $wanted = $proto =~ /^tcp/ ? 1 : 0;
        for my $way (
            "client\n${key}remote h 1194 $proto\n",
            "client\nremote h 1194 '$proto'\n$key" =~ s/ ''//r,
            $proto eq '' ? () : (
                "client\nremote h\nproto $proto\n$key",
                "client\nremote h\n--proto \"$proto\"\n$key",
                "client\nremote h\nsetenv opt proto $proto\n$key",
                "client\nremote h\nproto $proto\nproto udp\n$key" =~ s/(proto $proto\n)(proto udp\n)/$2$1/r,
                "client\nproto $proto\n<connection>\nremote h\n$key</connection>\n"),
            "client\n$key<connection>\nremote h 1194 $proto\n</connection>\n",
            "client\nremote h 1194 udp\nsocks-proxy h 1080\n<connection>\nremote h 1194 $proto\n</connection>\n$key") {
            my ($status, undef, $err) = run($way, "$folder/render", 'openvpn');
            is $status >> 8, $wanted, join ' | ', split /\n/, $way;
            like $err, qr/"tls-crypt-v2" cannot be used/, 'because of the key' if $wanted;
        }
    }
    for my $place ("http-proxy h 8080\n$key", "$key<connection>\nremote h\nhttp-proxy h 8080\n</connection>\n") {
        my ($status, undef, $err) = run("client\nremote h\n$place", "$folder/render", 'openvpn');
        like $err, qr/"tls-crypt-v2" cannot be used/, 'nor through an HTTP proxy';
    }
};

for my $format ('openvpn', 'wireguard') {
    subtest "refused $format configs" => sub {
        my %files = map { m{([^/]*)$}; ($1 => 1) } glob "$corpus/$format/refused/*.*";
        for (split /\n/, slurp("$corpus/$format/refused/expected")) {
            next if /^#/;
            my ($name, @problems) = split ' ';
            delete $files{$name};
            my ($status, $rendered, $err) = run(slurp("$corpus/$format/refused/$name"), "$folder/render", $format);
            my ($message, $detail) = $err =~ /^NG007: ([^\n]*)\nDETAIL: (.*?)\nHINT: /s;
            is $status >> 8, 1, "$name is refused";
            is $rendered, '', 'and not rendered';
            isnt $message, undef, 'as NG007' or diag $err;
            my @named = $message =~ /\(and /
                ? $detail =~ /^(?|Line (\d+): (?:"([^"\n]+)": )?|()There is no ([^\n]+?)\. )/mg
                : $message =~ /^(?|line (\d+) of the \w+ config(?:: "([^"]+)")? cannot be used$|()the \w+ config has no (.+)$)/;
            is_deeply [ map { $_ || '-' } @named ], \@problems, "all bad lines are named: @problems";
            like $message, qr/ \(and \d+ more (?:line|problem)s?\)$/, 'how many there are' if @problems > 2;
        }
        is_deeply [sort keys %files], [], 'there is no other file';
    };
}

# what the table of src/openvpn_directives.c and that of src/config_wireguard.c say of a directive
my %reason;
for (slurp("$root/src/openvpn_directives.c") =~ /^\t(\{"[\w-]+", .*\}),$/mg) {
    $reason{openvpn}{$1} = $2 if /^\{"([\w-]+)", .*, (\w+)\}$/;
}
for (slurp("$root/src/config_wireguard.c") =~ /^\t(\{SECTION_\w+, ".*\}),$/mg) {
    $reason{wireguard}{$1} = $2 if /"(\w+)".*, (\w+)\}$/;
}

subtest 'the tables' => sub {
    my @names = keys %{ $reason{openvpn} };
    cmp_ok scalar(@names), '>', 300, 'openvpn has many directives';
    for my $name (sort @names) {
        my (undef, undef, $err) = run("remote h\n--$name\n", "$folder/render", 'openvpn');
        unlike $err, qr/not a directive/, "$name is found";
    }
    my $reference = slurp("$root/doc/configs.md");
    for my $format ('openvpn', 'wireguard') {
        for my $name (sort grep { $reason{$format}{$_} ne 'NULL' } keys %{ $reason{$format} }) {
            like $reference, qr/`\Q$name\E`/, "doc/configs.md has $name";
        }
    }
};

subtest 'what an import takes out' => sub {
    my ($imported) = slurp("$root/doc/configs.md") =~ /^### Imported\n(.*)/ms;
    my %flags = slurp("$root/src/openvpn_directives.c") =~ /^\t\{"([\w-]+)", ([^,}]+),/mg;
    my @taken_out = grep { $flags{$_} =~ /TAKEN_OUT/ } sort keys %flags;
    cmp_ok scalar(@taken_out), '>', 50, 'there is much';
    for my $name (@taken_out) {
        my $line = $name eq 'key-method' ? 'key-method 2' : "$name x y z";
        my ($status, $out, $err) = run("client\nremote h\n$line\nnobind\n", "$folder/render", 'import', 'openvpn');
        is $out, "client\nremote h\nnobind\n", "$name is taken out" or diag $err;
        like $err, qr/^line 3: \Q$name\E: It |^line 3: \Q$name\E: \w/, 'and listed';
        like $imported, qr/`\Q$name\E(?: 2)?`/, 'and in doc/configs.md';
    }

    # nothing else that is refused is
    for my $name (grep { $flags{$_} !~ /TAKEN_OUT|FROM_FILE/ && $reason{openvpn}{$_} ne 'NULL' } sort keys %flags) {
        my ($status, undef, $err) = run("client\nremote h\n$name x y z\n", "$folder/render", 'import', 'openvpn');
        is $status >> 8, 1, "$name is refused";
    }
};

subtest 'the directives that openvpn has' => sub {
    plan skip_all => $no_openvpn if $no_openvpn;
    my %names = map { $_ => 1 } `openvpn --help` =~ /^--([a-z0-9-]+)/mg;
    cmp_ok scalar(keys %names), '>', 200, 'openvpn --help lists many';
    my @unknown = grep { !exists $reason{openvpn}{$_} } sort keys %names;
    is "@unknown", '', 'none of them is unknown';

    # all that are accepted without a parameter, at once
    my $config = "remote 127.0.0.1\n";
    for my $name (sort grep { $reason{openvpn}{$_} eq 'NULL' } keys %{ $reason{openvpn} }) {
        my ($status) = run("remote h\n$name\n", "$folder/render", 'openvpn');
        $config .= "$name\n" if $status == 0;
    }
    my ($output) = openvpn_reads($config);
    unlike $output, $misread, 'openvpn takes what is accepted without a parameter';
};

subtest "fuzz: $count configs and credentials, seed $seed" => sub {
    my $samples = "$folder/samples";
    mkdir $samples or die $!;
    my $began = time;
    chdir $folder or die $!;
    my ($status, $out, $err) = run('', "$folder/fuzz", $corpus, $count, $seed, $samples);
    chdir $root or die $!;
    is $status, 0, 'no crash, and nothing that should not be'
        or diag $err, -e "$folder/fuzz-failure" ? slurp("$folder/fuzz-failure") : ();
    note $out, time - $began, ' seconds';

    SKIP: {
        skip $no_openvpn, 1 if $no_openvpn;
        my @bad;
        for my $file (glob "$samples/*.ovpn") {
            my ($output) = openvpn_reads(slurp($file));

            # a device or a role may be missing; but no line may be misread
            push @bad, "$file: $output" if $output =~ $harmful || $output =~ $misread;
        }
        is scalar(@bad), 0, 'openvpn reads what was accepted as the parser did' or diag @bad;
    }
    SKIP: {
        skip $no_wireguard, 1 if $no_wireguard;
        my @bad;
        for my $file (glob "$samples/*.conf") {
            my $problem = wireguard_reads(slurp($file));
            push @bad, "$file: $problem" if $problem;
        }
        is scalar(@bad), 0, 'wg-quick and wg read what was accepted' or diag @bad;
    }
};

done_testing();
