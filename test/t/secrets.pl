# secrets.pl -- secrets under a key file, where it needs a server's configuration, a crash or two servers
#
# Starts clusters of its own in a temporary folder, as the user postgres when run as root. (Not those of EgressCluster.pm:
# root has to stay root here, to make a key file that belongs to somebody else.) The key file, sealing on every way in,
# damage, rotation beside acquires and across a crash, dumps and replication with and without the key, and what the
# server's log may not hold.
use strict;
use warnings;
use Test::More;
use DBI;
use DBD::Pg qw(:async);
use File::Temp qw(tempdir);
use FindBin;
use IO::Socket::UNIX;
use MIME::Base64;
use POSIX ();
use Time::HiRes qw(sleep time);
use lib $FindBin::Bin;
use EgressPages;
use EgressTest qw(value rows);

umask 022;
chomp(my $bindir = `@{[$ENV{PG_CONFIG} || 'pg_config']} --bindir`);
delete @ENV{grep { /^PG/ && $_ ne 'PG_CONFIG' } keys %ENV};

my $is_root = $> == 0;
my @as_server = $is_root ? ('runuser', '-u', 'postgres', '--') : ();
my ($server_uid, $server_gid) = $is_root ? (getpwnam('postgres'))[2, 3] : ($>, (split ' ', $))[0]);
my $folder = tempdir('egress-secrets-XXXXXX', TMPDIR => 1);
chown $server_uid, $server_gid, $folder;
chmod 0755, $folder;
chdir $folder;
my %clusters;

# an interrupted test comes to its END, which stops the servers; a process that it forked has none
my $test = $$;
$SIG{HUP} = $SIG{INT} = $SIG{TERM} = sub { $$ == $test ? exit 130 : POSIX::_exit(130) };

# ---------------------------------------------------------------------------- clusters, sessions, keys

sub run_as_server
{
	system(@as_server, @_) == 0 or die "@_ failed: $?";
}

# cluster NAME, SETTINGS...: a running cluster; returns its record
sub cluster
{
	my ($name, @settings) = @_;
	my $self = $clusters{$name} = {name => $name, data => "$folder/$name", log => "$folder/$name.log", port => 54400 + keys %clusters};
	run_as_server('sh', '-c', "'$bindir/initdb' --pgdata='$self->{data}' --username=postgres --auth-local=trust " .
		"--auth-host=reject --locale=C.UTF-8 --encoding=UTF8 --no-sync >/dev/null");
	configure($self, "listen_addresses = ''", "unix_socket_directories = '$folder'", "port = $self->{port}",
		'max_connections = 40', 'wal_level = logical', @settings);
	start($self);
	return $self;
}

sub configure
{
	my ($self, @settings) = @_;
	open my $file, '>>', "$self->{data}/postgresql.conf" or die $!;
	print $file "$_\n" for @settings;
	close $file;
}

sub start { run_as_server("$bindir/pg_ctl", 'start', '--silent', '--wait', '--pgdata', $_[0]{data}, '--log', $_[0]{log}) }
sub stop { run_as_server("$bindir/pg_ctl", 'stop', '--silent', '--wait', '--mode=fast', '--pgdata', $_[0]{data}) }

# kill_server CLUSTER: kill -9 of the server and of every process of it
sub kill_server
{
	my ($self) = @_;
	open my $file, '<', "$self->{data}/postmaster.pid" or die $!;
	chomp(my $postmaster = <$file>);
	my @processes = ($postmaster, split ' ', `ps -o pid= --ppid $postmaster`);
	kill 'KILL', @processes;
	for (1 .. 200)
	{
		last if !grep { kill 0, $_ } @processes;
		sleep 0.05;
	}
}

sub session
{
	my ($self, %options) = @_;
	local $ENV{PGOPTIONS} = $options{options} if defined $options{options};
	return DBI->connect("dbi:Pg:host=$folder;port=$self->{port};dbname=" . ($options{database} || 'postgres'),
		$options{user} || 'postgres', '', {RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1,
			pg_server_prepare => 1, pg_enable_utf8 => 0});
}

# outcome SESSION, SQL, PARAMETERS...: '' or the SQLSTATE; the message is in $message
my $message;
sub outcome
{
	my ($dbh, $sql, @parameters) = @_;
	$message = '';
	return '' if eval { $dbh->do($sql, undef, @parameters); 1 };
	$message = $dbh->errstr;
	return $dbh->state;
}

# reload CLUSTER, SESSION...: when it returns, these sessions and new ones have the new configuration
sub reload
{
	my ($self, @sessions) = @_;
	my $watch = session($self);
	my %before = map { $_ => value($_, 'SELECT pg_conf_load_time()') } $watch, @sessions;
	value($watch, 'SELECT pg_reload_conf()');
	for my $session ($watch, @sessions)
	{
		sleep 0.01 while value($session, 'SELECT pg_conf_load_time()') eq $before{$session};
	}
	$watch->disconnect;
}

my @keys = map { encode_base64(join('', map { chr(int rand 256) } 1 .. 32), '') } 1 .. 4;

# write_file PATH, CONTENT [, MODE]: a file of the server's user
sub write_file
{
	my ($path, $content, $mode) = @_;
	# whole at once: who opens a secret meanwhile reads the file
	open my $file, '>', "$path.new" or die "$path: $!";
	print $file $content;
	close $file;
	chown $server_uid, $server_gid, "$path.new";
	chmod $mode // 0600, "$path.new";
	rename "$path.new", $path or die "$path: $!";
}

sub use_keys { my ($self, @lines) = @_; write_file("$self->{data}/keys", join('', map { "$_\n" } @lines)) }

# contents of the log since a mark
sub log_from
{
	my ($self, $mark) = @_;
	open my $file, '<', $self->{log} or die $!;
	seek $file, $mark, 0;
	local $/;
	return <$file> // '';
}

END
{
	my $status = $?;
	for my $self (values %clusters)
	{
		system(@as_server, "$bindir/pg_ctl", 'stop', '--silent', '--wait', '--mode=immediate', '--pgdata', $self->{data})
			if -e "$self->{data}/postmaster.pid";
	}
	chdir '/';
	system('rm', '-rf', $folder) if defined $folder && $folder =~ /egress-secrets-/;
	$? = $status;
}

# a provider of each type, with a gateway that everyone may use
my $world = q{
	INSERT INTO egress_provider (egress_provider_id, name, provider_type)
	VALUES (1, 'alpha', 'openvpn'), (2, 'bravo', 'wireguard'), (3, 'carol', 'custom');
	INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES
		(1, 1, 'us1', E'client\nremote us1.example.net 1194\n'),
		(2, 2, 'ch1', E'[Interface]\nAddress = 10.9.0.2/32\n[Peer]\nPublicKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\n'),
		(3, 3, 'relay', 'relay');
	INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone'), (3, 'everyone');
};
my $sealed_form = qr/^egress:v1:[0-9a-f]{16}:[A-Za-z0-9+\/]+=*$/;

# ------------------------------------------------------------------------------------- every way in seals

my $main = cluster('main', "egress.secret_key_file = 'keys'");
use_keys($main, $keys[0]);
my $dbh = session($main);
$dbh->do('CREATE EXTENSION egress');
$dbh->do($world);
$dbh->do('CREATE TABLE way (name text, secret egress_secret)');
$dbh->do("INSERT INTO way VALUES ('literal', 'swordfish'), ('literal again', 'swordfish'), ('text', 'swordfish'::text),
	('varchar', 'swordfish'::varchar)");
$dbh->do('INSERT INTO way VALUES (?, ?)', undef, 'parameter', 'swordfish');
{
	my $statement = $dbh->prepare('INSERT INTO way VALUES ($1, $2::text)');
	$statement->execute('text parameter', 'swordfish');
	$statement->execute('text parameter again', 'swordfish');
}
$dbh->do("INSERT INTO way VALUES ('update', 'other')");
$dbh->do("UPDATE way SET secret = ? WHERE name = 'update'", undef, 'swordfish');
$dbh->do(q{DO $$ DECLARE v text := 'swordfish'; BEGIN INSERT INTO way VALUES ('PL/pgSQL', v); END $$});
$dbh->do('COPY way FROM STDIN');
$dbh->pg_putcopydata("COPY\tswordfish\n");
$dbh->pg_putcopyend;
{
	my $binary = "PGCOPY\n\xff\r\n\0" . pack('NN', 0, 0) . pack('n', 2) . pack('N/a*', 'COPY BINARY') .
		pack('N/a*', 'swordfish') . pack('n', -1 & 0xffff);
	$dbh->do('COPY way FROM STDIN (FORMAT binary)');
	$dbh->pg_putcopydata($binary);
	$dbh->pg_putcopyend;
}

# what DBD::Pg does not speak: a parameter of the type itself, in text and in binary, and a binary result
sub by_protocol
{
	my ($self, $format, $name, $value) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => "$folder/.s.PGSQL.$self->{port}") or die $!;
	my $type = value($dbh, "SELECT 'egress_secret'::regtype::oid");
	my $send = sub { my ($tag, $body) = @_; print $socket $tag . pack('N', 4 + length $body) . $body };
	my $ready = sub
	{
		my %seen;
		while (1)
		{
			read $socket, my $head, 5;
			my ($tag, $length) = unpack 'aN', $head;
			read $socket, my $body, $length - 4;
			die $body if $tag eq 'E';
			$seen{$tag} = $body;
			return \%seen if $tag eq 'Z';
		}
	};
	my $startup = pack('N', 196608) . "user\0postgres\0database\0postgres\0\0";
	print $socket pack('N', 4 + length $startup) . $startup;
	$socket->flush;
	$ready->();
	$send->('P', "\0INSERT INTO way VALUES (\$1, \$2) RETURNING secret\0" . pack('nNN', 2, 25, $type));
	$send->('B', "\0\0" . pack('nnn', 2, 0, $format) . pack('n', 2) . pack('N/a*', $name) . pack('N/a*', $value) . pack('nn', 1, $format));
	$send->('E', "\0" . pack('N', 0));
	$send->('S', '');
	$socket->flush;
	my $row = $ready->()->{D};
	close $socket;
	return unpack 'x2 N/a*', $row;
}
like(by_protocol($main, 0, 'protocol, text', 'swordfish'), $sealed_form, 'a text parameter of the type is sealed');
like(by_protocol($main, 1, 'protocol, binary', 'swordfish'), $sealed_form, 'so is a binary one, and comes out in binary');

is(value($dbh, q{SELECT count(*) FROM way WHERE secret::text ~ '^egress:v1:[0-9a-f]{16}:[A-Za-z0-9+/]+=*$'}), 13, 'every way in seals');
is(rows($dbh, q{SELECT name FROM way WHERE egress_reveal_secret(secret) <> 'swordfish'}), '', 'and every one opens');
is(value($dbh, 'SELECT count(DISTINCT secret::text) FROM way'), 13, 'with a fresh nonce each time');
is(value($dbh, 'SELECT count(DISTINCT substr(secret::text, 1, 26)) FROM way'), 1, 'under one key');
is(value($dbh, 'SELECT count(*) FROM way a JOIN way b USING (secret)'), 13, 'so each is equal to itself alone');
is(value($dbh, q{SELECT count(*) FROM way WHERE secret = 'swordfish' OR secret = 'swordfish'::text::egress_secret}), 0,
	'and none to a literal, which is sealed too');
is(value($dbh, 'SELECT count(*) FROM (SELECT secret FROM way UNION SELECT secret FROM way) u'), 13, 'also in a union');

# a sealed form goes in again unchanged, the same ways
{
	my $sealed = value($dbh, 'SELECT secret::text FROM way LIMIT 1');
	$dbh->do('TRUNCATE way');
	$dbh->do('INSERT INTO way VALUES (?, ?)', undef, 'parameter', $sealed);
	$dbh->do("INSERT INTO way VALUES ('literal', '$sealed'), ('text', '$sealed'::text)");
	$dbh->do('UPDATE way SET secret = secret');
	is(by_protocol($main, 1, 'binary', $sealed), $sealed, 'a sealed form in binary is kept');
	$dbh->do('COPY way TO STDOUT (FORMAT binary)');
	my ($copy, $data) = ('');
	$copy .= $data while $dbh->pg_getcopydata($data) >= 0;
	$dbh->do('COPY way FROM STDIN (FORMAT binary)');
	$dbh->pg_putcopydata($copy);
	$dbh->pg_putcopyend;
	is(value($dbh, 'SELECT count(*) FROM way WHERE secret::text = ?', $sealed), 8, 'a sealed form is kept byte for byte');
	is(value($dbh, 'SELECT egress_reveal_secret(?)', $sealed), 'swordfish', 'and opens');
}

# a prepared statement and a view hold a literal sealed; a plan for every execution seals anew
{
	$dbh->do("PREPARE literal AS SELECT 'swordfish'::egress_secret::text");
	like(value($dbh, 'EXECUTE literal'), $sealed_form, 'a literal in a prepared statement');
	$dbh->do("CREATE VIEW holder AS SELECT 'swordfish'::egress_secret AS secret");
	unlike(value($dbh, "SELECT pg_get_viewdef('holder'::regclass)"), qr/swordfish/, 'a literal in a view is stored sealed');
	$dbh->do('DROP VIEW holder');
	is(value($dbh, "SELECT count(DISTINCT s) FROM (SELECT 'swordfish'::text::egress_secret::text AS s FROM generate_series(1, 20)) t"),
		20, 'a cast of a constant is not folded: a nonce a row');
	$dbh->do('SET ' . (value($dbh, 'SHOW server_version_num') < 160000 ? 'force_parallel_mode' : 'debug_parallel_query') . ' = on');
	is(value($dbh, 'SELECT max(egress_reveal_secret(secret)) FROM way'), 'swordfish', 'opens in a parallel worker');
	$dbh->do('RESET ALL');
}
{
	my $long = join '', map { chr(33 + int rand 90) } 1 .. 16_384;
	$dbh->do('TRUNCATE way');
	$dbh->do('INSERT INTO way VALUES (?, ?)', undef, 'largest', $long);
	ok(value($dbh, 'SELECT egress_reveal_secret(secret) FROM way') eq $long, 'the largest one, toasted');
	is(outcome($dbh, "INSERT INTO way SELECT name, secret::text FROM way WHERE name = 'largest'"), '', 'whose sealed form goes in again');
	is(outcome($dbh, 'INSERT INTO way VALUES (?, ?)', 'too large', $long . 'x'), '22023', 'and no larger one');
	$dbh->do('TRUNCATE way');
}

# ---------------------------------------------------------------------------------------------- the key file

# attempt CLUSTER: what sealing and opening do in a new session
my $old_secret = value($dbh, "SELECT 'swordfish'::egress_secret::text");
sub attempt
{
	my ($self, %options) = @_;
	my $new = session($self, %options);
	my $sealing = outcome($new, "SELECT 'tr0ub4dor'::egress_secret");
	my $why = $message;
	my $opening = outcome($new, 'SELECT egress_reveal_secret(?)', $old_secret);
	$message = "$why\n$message";
	$new->disconnect;
	return "$sealing/$opening";
}

my $file = "$main->{data}/keys";
my $key = $keys[0];
(my $url_safe = encode_base64(("\xfb\xff" x 16), '')) =~ tr{+/}{-_};
my %unusable = (
	'missing' => [sub { unlink $file }, qr/cannot be opened: No such file/],
	'empty' => [sub { write_file($file, '') }, qr/holds no key/],
	'blank lines' => [sub { write_file($file, "\n \r\n\n") }, qr/holds no key/],
	'not base64' => [sub { write_file($file, "$key\nhunter2-hunter2\n") }, qr/Line 2 .* is not 32 bytes in base64/],
	'a comment' => [sub { write_file($file, "# hunter2\n$key\n") }, qr/Line 1 .* is not 32 bytes in base64/],
	'31 bytes' => [sub { write_file($file, encode_base64('hunter2' . 'x' x 24)) }, qr/Line 1 .* is not 32 bytes/],
	'33 bytes' => [sub { write_file($file, encode_base64('hunter2' . 'x' x 26)) }, qr/Line 1 .* is not 32 bytes/],
	'two keys on a line' => [sub { write_file($file, "$key $key\n") }, qr/Line 1 .* is not 32 bytes/],
	'URL-safe base64' => [sub { write_file($file, "$url_safe\n") }, qr/Line 1 .* is not 32 bytes/],
	'without padding' => [sub { write_file($file, substr($key, 0, 43) . "\n") }, qr/Line 1 .* is not 32 bytes/],
	'binary' => [sub { write_file($file, join '', map { chr } 0 .. 255) }, qr/is not 32 bytes/],
	'too large' => [sub { write_file($file, "$key\n" x 2000) }, qr/is larger than/],
	'open to its group' => [sub { write_file($file, "$key\n", 0640) }, qr/is open to others: its mode is 0640/],
	'open to others' => [sub { write_file($file, "$key\n", 0604) }, qr/is open to others: its mode is 0604/],
	'writable by others' => [sub { write_file($file, "$key\n", 0602) }, qr/is open to others: its mode is 0602/],
	'a folder' => [sub { unlink $file; mkdir $file, 0700; chown $server_uid, $server_gid, $file }, qr/is not a regular file/],
	'a pipe' => [sub { unlink $file; POSIX::mkfifo($file, 0600); chown $server_uid, $server_gid, $file }, qr/is not a regular file/],
	'a link to an open file' => [sub { write_file("$file.1", "$key\n", 0644); unlink $file; symlink 'keys.1', $file }, qr/is open to others/],
);
$unusable{"another user's"} = [sub { write_file($file, "$key\n"); chown 0, 0, $file; chmod 0604, $file }, qr/belongs to user 0/] if $is_root;

for my $case (sort keys %unusable)
{
	$unusable{$case}[0]->();
	is(attempt($main), 'F0000/NG006', "key file $case: neither seals nor opens");
	like($message, $unusable{$case}[1], '... and the message says why');
	like($message, qr/\Q$file\E/, '... which file');
	unlike($message, qr/hunter2|tr0ub4dor|swordfish|\Q$key\E|\Q$url_safe\E/, '... and none of its content');
	-d $file && !-l $file ? rmdir $file : unlink $file;
}
use_keys($main, $key);
is(attempt($main), '/', 'put right, it works without a reload');
is(value($dbh, q{SELECT count(*) FROM pg_wait_events WHERE (type, name) = ('Extension', 'EgressKeyFileRead')}), 1,
	'reading it is a wait event, where the server has these')
  if value($dbh, 'SHOW server_version_num') >= 170000;

for my $case (['CRLF, spaces and no newline at the end', "\r\n \t$key \r\n\n$keys[1]"], ['a key twice', "$key\n$key\n"])
{
	write_file($file, $case->[1]);
	is(attempt($main), '/', "key file with $case->[0]");
}
write_file($file, "$key\n", 0400);
is(attempt($main), '/', 'key file that is read-only');
write_file("$file.1", "$key\n");
unlink $file;
symlink 'keys.1', $file;
is(attempt($main), '/', 'key file that is a link to a good one');
unlink $file, "$file.1";
use_keys($main, $key);

# where the key file is, and what is wrong with it, the server tells those who may read the setting, and its log
{
	$dbh->do("CREATE ROLE $_ LOGIN") for qw(path_admin path_reader);
	$dbh->do("SELECT egress_grant_access(r, 'admin'), egress_grant_access(r, 'app') FROM unnest(ARRAY['path_admin', 'path_reader']) r");
	$dbh->do('GRANT pg_read_all_settings TO path_reader');
	$dbh->do('INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, custom_credential)
		VALUES (3, 3, ?, ?, ?)', undef, 'custom', 'everyone', $old_secret);
	chmod 0640, $file;
	my $seal = q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, custom_credential) VALUES (3, 'x', 'everyone', 'tr0ub4dor')};
	my $open = q{SELECT egress_acquire_credential('ann', NULL, 3, 'path')};
	for my $case (['path_admin', '', 0], ['path_reader', '', 1], ['postgres', '', 1], ['postgres', 'SET ROLE path_admin', 0], ['joe', '', 1])
	{
		my ($user, $before, $sees) = @$case;
		$dbh->do('CREATE ROLE joe LOGIN SUPERUSER') if $user eq 'joe';
		my $new = session($main, user => $user);
		$new->do($before) if $before;
		for my $sql ($seal, $open)
		{
			my $mark = -s $main->{log};
			my $what = ($before || $user) . ', ' . ($sql eq $seal ? 'sealing' : 'opening');
			is(outcome($new, $sql), $sql eq $seal ? 'F0000' : 'NG006', "$what fails");
			if ($sees)
			{
				like($message, qr/Key file "\Q$file\E" is open to others: its mode is 0640/, '... and is told where the key file is');
			}
			else
			{
				unlike($message, qr/\Q$folder\E|keys"|0640/, '... and is not told where the key file is');
				like($message, qr/The key file that is configured cannot be used; the server's log says why\./, '... but where that is said');
			}
			like(log_from($main, $mark), qr/DETAIL: .*Key file "\Q$file\E" is open to others: its mode is 0640/, '... the log has it');
		}
		$new->disconnect;
	}
	chmod 0600, $file;
	$dbh->do('DELETE FROM egress_credential');
	$dbh->do("DROP OWNED BY $_"), $dbh->do("DROP ROLE $_") for qw(path_admin path_reader);
}

# only the server's configuration sets it
{
	write_file("$folder/evil", "$keys[3]\n");
	my $evil = "'$folder/evil'";
	my $new = session($main);
	is(value($new, 'SELECT egress_secret_state(?)', $old_secret), 'active key', 'the key file is in use');
	for my $sql ("SET egress.secret_key_file = $evil", 'RESET egress.secret_key_file', "SET LOCAL egress.secret_key_file = ''",
		"SELECT set_config('egress.secret_key_file', '', false)", "UPDATE pg_settings SET setting = '' WHERE name = 'egress.secret_key_file'")
	{
		is(outcome($new, $sql), '55P02', "refused: $sql");
	}
	is(outcome($new, "SET egress.anything = ''"), '42602', 'the prefix is reserved');
	$new->disconnect;

	for my $before ("SET egress.secret_key_file = $evil", "SET egress.secret_key_file = ''", "SET EGRESS.Secret_Key_File = ''",
		"BEGIN; SET LOCAL egress.secret_key_file = ''", "SELECT set_config('egress.secret_key_file', '', false)")
	{
		$new = session($main);
		$new->do($before);
		is(value($new, 'SELECT egress_secret_state(?)', $old_secret), 'active key', "undone when the library is loaded: $before");
		$new->do('ROLLBACK');
		is(value($new, 'SHOW egress.secret_key_file'), 'keys', '... and so it shows');
		$new->disconnect;
	}

	for my $value ($evil, "''")
	{
		for my $where ('ROLE joe', 'DATABASE postgres', 'ROLE ALL', 'ROLE joe IN DATABASE postgres')
		{
			# in a session that has not loaded the library: it would refuse
			my $plain = session($main);
			$plain->do("ALTER $where SET egress.secret_key_file = $value");
			is(attempt($main, user => 'joe'), 'F0000/NG006', "ALTER $where SET ... = $value: neither seals nor opens, nor stores as it is");
			like($message, qr/only the server's configuration can set it/, '... and the message says why');
			$plain->do("ALTER $where RESET egress.secret_key_file");
			$plain->disconnect;
		}
		is(attempt($main, options => "-c egress.secret_key_file=" . ($value eq "''" ? '' : "$folder/evil")), 'F0000/NG006',
			"the connection's options, $value");
	}
	is(attempt($main, options => '-c EGRESS.SECRET_KEY_FILE='), 'F0000/NG006', 'in capitals');
	is(attempt($main, user => 'joe'), '/', 'and without them it works');
}

# preloaded, it can do even less
configure($main, "shared_preload_libraries = 'egress'");
stop($main);
start($main);
is(attempt($main), '/', 'preloaded');
ok(!eval { session($main, options => '-c egress.secret_key_file='); 1 }, 'preloaded: the options are refused');
session($main)->do("ALTER ROLE joe SET work_mem = '4MB'");
is(outcome(session($main), "ALTER ROLE joe SET egress.secret_key_file = ''"), '55P02', 'preloaded: ALTER ROLE too');
configure($main, "shared_preload_libraries = ''");
stop($main);
start($main);
$dbh = session($main);

# a reload brings a new first key to sessions that are open
{
	$dbh->do('INSERT INTO way VALUES (?, ?)', undef, 'first', 'swordfish');
	is(value($dbh, 'SELECT egress_secret_state(secret) FROM way'), 'active key', 'before the reload: the first key');
	use_keys($main, @keys[1, 0]);
	is(value($dbh, 'SELECT egress_secret_state(secret) FROM way'), 'active key', 'the file changed: nothing happens without a reload');
	reload($main, $dbh);
	is(value($dbh, 'SELECT egress_secret_state(secret) FROM way'), 'older key', 'reloaded: it is an older key');
	is(value($dbh, 'SELECT egress_reveal_secret(secret) FROM way'), 'swordfish', 'which still opens');
	$dbh->do('INSERT INTO way VALUES (?, ?)', undef, 'second', 'swordfish');
	is(value($dbh, q{SELECT egress_secret_state(secret) FROM way WHERE name = 'second'}), 'active key', 'what comes is sealed under the new one');
	use_keys($main, $keys[1]);
	reload($main, $dbh);
	is(rows($dbh, 'SELECT name, egress_secret_state(secret) FROM way ORDER BY 1'), "first|missing key\nsecond|active key", 'the older key is gone');
	is(outcome($dbh, q{SELECT egress_reveal_secret(secret) FROM way WHERE name = 'first'}), 'NG006', 'what was sealed under it does not open');
	like($message, qr/sealed under key [0-9a-f]{16}, which the file of egress.secret_key_file does not hold/, '... and the message says why');
	unlink $file;
	reload($main, $dbh);
	is(outcome($dbh, "SELECT 'tr0ub4dor'::egress_secret"), 'F0000', 'the file is gone: a session that had the keys has them no more');
	use_keys($main, $keys[0]);
	reload($main, $dbh);
	$dbh->do('TRUNCATE way');
}

# ------------------------------------------------------------------------------------- damage, and acquires

my $add = "INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password, private_key, custom_credential)";
$dbh->do("$add VALUES (1, 1, 'openvpn', 'everyone', 'pool', 'swordfish', NULL, NULL),
	(2, 2, 'wireguard', 'everyone', NULL, NULL, egress_generate_wireguard_key(), NULL),
	(3, 3, 'custom', 'everyone', NULL, NULL, NULL, 'swordfish')");
is(rows($dbh, q{SELECT username, password, config ~ 'swordfish' FROM egress_acquire_credential('ann', NULL, 1, 'a')}), 'pool|swordfish|1',
	'an acquire opens the password and puts it into the config');
is(rows($dbh, q{SELECT position('PrivateKey = ' || private_key IN config) > 0, length(private_key) FROM egress_acquire_credential('ann', NULL, 2, 'b')}), '1|44', 'the private key');
is(rows($dbh, q{SELECT custom_credential, config FROM egress_acquire_credential('ann', NULL, 3, 'c')}), 'swordfish|relay', 'the custom credential');
$dbh->do("SELECT egress_release_credential(s) FROM unnest(ARRAY['a', 'b', 'c']) s");

{
	my $started = value($dbh, 'SELECT pg_postmaster_start_time()');
	my $sealed = value($dbh, 'SELECT password::text FROM egress_credential WHERE egress_credential_id = 1');
	my $alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
	my %damaged;
	for my $position (10 .. length($sealed) - 1)
	{
		for my $with ((map { substr $alphabet, int(rand 64), 1 } 1 .. 2), '=', ':', ' ', "\x01", '0')
		{
			my $damaged = $sealed;
			substr($damaged, $position, 1) = $with;
			$damaged{$damaged} = "$position to $with" if $damaged ne $sealed;
		}
		$damaged{substr $sealed, 0, $position} = "cut at $position";
	}
	$damaged{$sealed . 'A'} = 'one more';
	$damaged{$sealed . 'AAAA'} = 'four more';
	$damaged{substr($sealed, 0, 27) . substr($sealed, 31)} = 'four less at the start';

	# past the trigger: as it would be if the disk or a hand damaged it
	my $replica = session($main);
	$replica->do('SET session_replication_role = replica');
	my (%written, %acquired, %let_in);
	for my $damaged (keys %damaged)
	{
		my $state = outcome($replica, 'UPDATE egress_credential SET password = ? WHERE egress_credential_id = 1', $damaged);
		$acquired{outcome($dbh, q{SELECT * FROM egress_acquire_credential('ann', NULL, 1, 'a')})}++ if $state eq '';
		$written{$state}++;
		$replica->do('UPDATE egress_credential SET password = ? WHERE egress_credential_id = 1', undef, $sealed);
		next if $damaged{$damaged} =~ /^1\d|^2[0-6]/;    # of the key id: its key is missing
		$let_in{outcome($dbh, 'UPDATE egress_credential SET password = ? WHERE egress_credential_id = 1', $damaged)}++;
	}
	cmp_ok(scalar keys %damaged, '>', 400, scalar(keys %damaged) . ' damaged forms');
	is(join(' ', sort keys %written), ' NG006', 'are not well-formed, or are stored past the trigger');
	is(join(' ', keys %acquired), 'NG006', '... and then no acquire opens one');
	is(join(' ', keys %let_in), 'NG006', 'the trigger lets none in whose key is here');
	is(value($dbh, 'SELECT count(*) FROM egress_lease'), 0, 'no lease is held');
	is(value($dbh, 'SELECT pg_postmaster_start_time()'), $started, 'and no process died');
	is(value($dbh, q{SELECT password FROM egress_acquire_credential('ann', NULL, 1, 'a')}), 'swordfish', 'the undamaged form still opens');
	$dbh->do("SELECT egress_release_credential('a')");

	# ciphertext of one key under the id of another
	use_keys($main, @keys[1, 0]);
	my $head = substr value(session($main), "SELECT 'x'::egress_secret::text"), 0, 27;
	reload($main, $dbh);
	is(outcome($dbh, 'SELECT egress_reveal_secret(?)', $head . substr $sealed, 27), 'NG006', 'a ciphertext under another key id');
	like($message, qr/was changed/, '... was changed');

	# the format, as another program wrote it: nonce, ciphertext and tag, with "egress:v1:<key id>" authenticated
	use_keys($main, $keys[0], 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=');
	reload($main, $dbh);
	is(value($dbh, 'SELECT egress_reveal_secret(?)', 'egress:v1:17385d3ec1fd5600:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7HxKfc1YOaxoEzyvIxaGF/OODGzxckrJ0Og=='),
		"caf\xc3\xa9 \xe2\x98\x83", 'a sealed form that another program made');
	use_keys($main, $keys[0]);
	reload($main, $dbh);

	# an error in the middle of a transaction: nothing is held after a savepoint either
	use_keys($main, $keys[3]);
	reload($main, $dbh);
	$dbh->begin_work;
	$dbh->do('SAVEPOINT s');
	is(outcome($dbh, q{SELECT * FROM egress_acquire_credential('ann', NULL, 1, 'a')}), 'NG006', 'the key is gone: NG006');
	like($message, qr/password of credential 1 "openvpn" cannot be opened/, '... which names the credential');
	$dbh->do('ROLLBACK TO s');
	is(value($dbh, 'SELECT count(*) FROM egress_lease'), 0, '... and nothing is held');
	is(value($dbh, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), 0, '... nor locked');
	$dbh->commit;
	is(outcome($dbh, 'UPDATE egress_credential SET password = password, username = ? WHERE egress_credential_id = 1', 'pool'), '',
		'without its key, a secret is written again unread');
	use_keys($main, $keys[0]);
	reload($main, $dbh);
}

# a lease that is held is returned again only with its secret
$dbh->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'a')});
use_keys($main, $keys[3]);
reload($main, $dbh);
is(outcome($dbh, q{SELECT egress_acquire_credential('ann', NULL, 1, 'a')}), 'NG006', 'asked again without the key: NG006');
is(value($dbh, q{SELECT egress_release_credential('a')}), 1, '... and what was held is given back without it');
use_keys($main, $keys[0]);
reload($main, $dbh);

# a credential that cannot be opened is passed over: nothing of it is held, the log says so, and the client learns nothing
{
	# psql's standard error, where the client is shown all that there is
	my $acquire = sub
	{
		my ($session_id) = @_;
		local $ENV{PGOPTIONS} = '-c client_min_messages=debug1';
		my $sql = "SELECT egress_credential_id, password FROM egress_acquire_credential('ann', NULL, 1, '$session_id')";
		my $out = `'$bindir/psql' -XAt -h '$folder' -p $main->{port} -U postgres -v VERBOSITY=verbose -c "$sql" 2>&1`;
		return $out =~ s/\n$//r;
	};
	my $said = sub { rows($dbh, q{SELECT verdict, egress_credential_id, detail FROM egress_explain_access('ann', NULL, 1)}) };
	my $leases = sub { rows($dbh, 'SELECT session_id, egress_credential_id FROM egress_lease ORDER BY 1') };
	my $menu = sub { rows($dbh, q{SELECT available_connections FROM egress_available_gateways('ann') WHERE egress_gateway_id = 1}) };
	my $mark;

	use_keys($main, $keys[3]);
	reload($main, $dbh);
	$dbh->do(q{UPDATE egress_credential SET password = 'lost fish', limit_active_connections = true, active_connection_limit = 1
		WHERE egress_credential_id = 1});
	$dbh->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'over', '1 millisecond')});
	my ($key_id) = value($dbh, 'SELECT password::text FROM egress_credential WHERE egress_credential_id = 1') =~ /^egress:v1:([0-9a-f]{16}):/;
	use_keys($main, $keys[0]);
	reload($main, $dbh);
	$dbh->do("$add VALUES (4, 1, 'spare', 'everyone', 'pool', 'swordfish', NULL, NULL), (5, 1, 'more', 'everyone', 'pool', 'swordfish', NULL, NULL)");
	my $lacks = "credential 1 'openvpn' cannot be opened, as key $key_id of its password is missing";
	my $put = 'put the key back into the file of egress.secret_key_file';

	$mark = -s $main->{log};
	is($said->(), "available|4|credential 4 'spare' has no limit; passed over: $lacks: $put", 'explained: the next one is taken, and why');
	is($acquire->('a'), '4|swordfish', 'an acquire takes the next one, and its client is told nothing else');
	is($leases->(), "a|4\nover|1", '... and leaves the other as it was: an expired lease of it is not ended');
	my $log = log_from($main, $mark);
	like($log, qr/WARNING: .*password of credential 1 "openvpn" cannot be opened, and the credential was passed over\n.*DETAIL: .*sealed under key $key_id/,
		'... the log has a warning');
	is(scalar(() = $log =~ /passed over/g), 1, '... one');
	is(value($dbh, 'SHOW client_min_messages'), 'notice', 'what the client is shown is as it was');
	is($menu->(), '', 'the menu lists the gateway');

	# the others full: to wait helps
	$dbh->do('UPDATE egress_credential SET limit_active_connections = true, active_connection_limit = 1 WHERE egress_credential_id = 4');
	$dbh->do('DELETE FROM egress_credential WHERE egress_credential_id = 5');
	like($acquire->('b'), qr/NG004: no connection is free.*\nDETAIL:  2 credentials fit user "ann" without a workspace: 1 cannot be opened, and the other is at its limit\./,
		'the other is full: NG004');
	is($said->(), "at_limit||$lacks, credential 4 'spare' is at its limit of 1: $put, or raise a limit, or wait until a session ends", '... explained');
	is($menu->(), 1, '... and the menu has what the limit leaves');

	# what is full is full, whether it could be opened or not
	$dbh->do('UPDATE egress_credential SET active_connection_limit = 0 WHERE egress_credential_id = 1');
	like($acquire->('b'), qr/NG004: .*\nDETAIL:  2 credentials fit .*, and all are at their limits\./, 'all are full: NG004');
	like($said->(), qr/^at_limit\|\|credential 1 'openvpn' is at its limit of 0, credential 4/, '... explained');
	$dbh->do('UPDATE egress_credential SET active_connection_limit = 1 WHERE egress_credential_id = 1');

	# none is left
	$dbh->do('UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 4');
	like($acquire->('b'), qr/NG006: password of credential 1 "openvpn" cannot be opened\nDETAIL: .*sealed under key $key_id, which the file of egress.secret_key_file does not hold/,
		'none is left: NG006');
	is($said->(), "at_limit||$lacks: $put", '... explained');
	is($leases->(), "a|4\nover|1", '... nothing is held');

	# what is asked again is what is held
	$dbh->do('UPDATE egress_credential SET enabled = true, limit_active_connections = false');
	use_keys($main, $keys[3]);
	reload($main, $dbh);
	like($acquire->('a'), qr/NG006: password of credential 4 "spare" cannot be opened/, 'a lease that is held is not exchanged for another');
	is($acquire->('b'), '1|lost fish', 'the first one opens when its key is there');
	use_keys($main, @keys[0, 3]);
	is($acquire->('a'), '4|swordfish', 'a key that came without a reload is found');

	# one that was changed: an explanation opens none, and does not know
	my $replica = session($main);
	$replica->do('SET session_replication_role = replica');
	my $changed = value($dbh, 'SELECT password::text FROM egress_credential WHERE egress_credential_id = 4');
	$changed =~ s/(?<=.{40})(.)/$1 eq 'A' ? 'B' : 'A'/e;
	$replica->do('UPDATE egress_credential SET password = ? WHERE egress_credential_id = 1', undef, $changed);
	$replica->disconnect;
	$mark = -s $main->{log};
	is($acquire->('c'), '4|swordfish', 'one that was changed is passed over');
	like(log_from($main, $mark), qr/WARNING: .*credential 1 "openvpn".*\n.*DETAIL: .*was changed after it was sealed/, '... with a warning');
	is($said->(), "available|1|credential 1 'openvpn' has no limit", '... which an explanation does not know');

	# many of them are one warning
	$dbh->do("$add SELECT i, 1, 'lost' || i, 'everyone', 'pool', 'egress:v1:0123456789abcdef:' || repeat('A', 64), NULL, NULL
		FROM generate_series(-3, -1) i");
	$mark = -s $main->{log};
	is($acquire->('d'), '4|swordfish', 'four are passed over');
	like(log_from($main, $mark), qr/password of credential -3 "lost-3" cannot be opened.*\n.*does not hold\. 3 other credentials were passed over likewise\./, '... with one warning');
	like($said->(), qr/^available\|1\|credential 1 'openvpn' has no limit; passed over: credential -3 .*, credential -2 .*, credential -1 .* is missing: put/, '... explained');
	$dbh->do('DELETE FROM egress_credential WHERE egress_credential_id < 0');

	$dbh->do('SELECT egress_release_credential(session_id) FROM egress_lease');
	$dbh->do('DELETE FROM egress_lease');
	$dbh->do('DELETE FROM egress_credential WHERE egress_credential_id = 4');
	$dbh->do(q{UPDATE egress_credential SET password = 'swordfish' WHERE egress_credential_id = 1});
	use_keys($main, $keys[0]);
	reload($main, $dbh);
}

# a secret of before, which is longer than one may be now: it opens, is sealed anew, and its sealed form goes in again
{
	my $acquire = q{SELECT custom_credential, config FROM egress_acquire_credential('ann', NULL, 3, 'long') ORDER BY custom_credential};
	my $set = sub { $dbh->do('UPDATE egress_credential SET custom_credential = ' . $_[0] . ' WHERE egress_credential_id = 3') };
	my $spills = sub
	{
		my $mark = -s $main->{log};
		my $new = session($main);
		$new->do('SET work_mem = 64; SET log_temp_files = 0');
		my ($secret) = $new->selectrow_array($acquire);
		$new->do(q{SELECT egress_release_credential('long')});
		$new->disconnect;
		return length($secret) . (log_from($main, $mark) =~ /LOG: .*temporary file/ ? ' in a temporary file' : '');
	};
	# the bytes as they are, past the input function
	$dbh->do(q{CREATE FUNCTION unsealed(bytea) RETURNS egress_secret LANGUAGE internal AS 'byteasend'});
	$set->(q{unsealed(convert_to((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 9000) i), 'UTF8'))});
	$dbh->do('DROP FUNCTION unsealed(bytea)');
	is($spills->(), '288000 in a temporary file', 'an acquire of a long one of before, when it is sorted, is in a temporary file');
	is(value($dbh, 'SELECT egress_rotate_secrets()'), 1, '... it is sealed');
	is(value($dbh, 'SELECT length(egress_reveal_secret(custom_credential)) FROM egress_credential WHERE egress_credential_id = 3'), 288000, '... and opens');
	$set->('custom_credential::text');
	like($spills->(), qr/^288000/, '... and its sealed form went in again');
	$set->(q{(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 512) i)});
	is($spills->(), '16384', 'the largest one is sorted in memory, however little there is');
	$set->(q{'swordfish'});
}

# what an administrator can do, as doc/administration.md says: he opens no secret, and decides who gets it
{
	$dbh->do("CREATE ROLE $_ LOGIN") for qw(only_admin only_app);
	$dbh->do(q{SELECT egress_grant_access('only_admin', 'admin'), egress_grant_access('only_app', 'app')});
	my ($admin, $app) = map { session($main, user => $_) } 'only_admin', 'only_app';
	is(outcome($admin, 'SELECT egress_reveal_secret(password) FROM egress_credential'), '42501', 'an administrator opens no secret');
	is(outcome($admin, q{SELECT egress_acquire_credential('ann', NULL, 1, 'moved')}), '42501', '... and acquires none');
	$admin->do('INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, custom_credential)
		SELECT 6, 3, ?, ?, ?, password::text FROM egress_credential WHERE egress_credential_id = 1', undef, 'moved', 'user', 'zoe');
	$admin->do('UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 3');
	is(value($app, q{SELECT custom_credential FROM egress_acquire_credential('zoe', NULL, 3, 'moved')}), 'swordfish',
		'... but a sealed form that he put elsewhere opens there, for who acquires it');
	$admin->do(q{UPDATE egress_gateway SET config = E'client\nremote his.example 1194\n' WHERE egress_gateway_id = 1});
	like(value($app, q{SELECT config FROM egress_acquire_credential('ann', NULL, 1, 'sent')}), qr/remote his\.example.*swordfish/s,
		'... and a gateway that he pointed at another server sends it there');
	$dbh->do('SELECT egress_release_credential(session_id) FROM egress_lease');
	$admin->do(q{UPDATE egress_gateway SET config = E'client\nremote us1.example.net 1194\n' WHERE egress_gateway_id = 1});
	$admin->do('DELETE FROM egress_credential WHERE egress_credential_id = 6');
	$admin->do('UPDATE egress_credential SET enabled = true');
	$_->disconnect for $admin, $app;
	$dbh->do("DROP OWNED BY $_"), $dbh->do("DROP ROLE $_") for qw(only_admin only_app);
}

# rows that never passed the triggers, as replication brings them: an error, not a crash
{
	my $replica = session($main);
	$replica->do('SET session_replication_role = replica');
	$replica->do('UPDATE egress_credential SET username = NULL, password = NULL, private_key = NULL, custom_credential = NULL');
	is(outcome($dbh, "SELECT egress_acquire_credential('ann', NULL, $_, 'a')"), 'NG007', "gateway $_: the credential has no secret") for 1, 2;
	$replica->do(q{UPDATE egress_credential SET username = 'pool'});
	is(outcome($dbh, q{SELECT egress_acquire_credential('ann', NULL, 1, 'a')}), 'NG007', 'a username without a password');
	$replica->do(q{UPDATE egress_credential SET username = NULL, password = 'swordfish', private_key = 'swordfish'});
	is(outcome($dbh, "SELECT egress_acquire_credential('ann', NULL, $_, 'a')"), 'NG007', "gateway $_: the credential is not of its type") for 1, 2;
	is(value($dbh, 'SELECT count(*) FROM egress_lease'), 0, 'no lease is held');
	$replica->disconnect;
}

# ------------------------------------------------------------------------------------------------- rotation

sub states { rows($_[0], 'SELECT secret, active_key, older_key, missing_key, not_sealed FROM egress_secret_usage
	WHERE active_key + older_key + missing_key + not_sealed > 0 ORDER BY secret') }

is(outcome($dbh, 'SELECT egress_rotate_secrets()'), '', 'rotates with nothing to do');
is(value($dbh, 'SELECT egress_rotate_secrets()'), 0, '... and says so');

# credential i is user i's: a password if i is even, a custom credential if it is odd
$dbh->do('DELETE FROM egress_credential');
$dbh->do("INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password)
	SELECT i, 1, 'c' || i, 'user', 'user' || i, 'name', 'swordfish' || i FROM generate_series(100, 198, 2) i");
$dbh->do("INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, custom_credential)
	SELECT i, 3, 'c' || i, 'user', 'user' || i, 'swordfish' || i FROM generate_series(101, 199, 2) i");
$dbh->do("$add VALUES (2, 2, 'wireguard', 'everyone', NULL, NULL, egress_generate_wireguard_key(), NULL)");
$dbh->do('UPDATE egress_credential SET preshared_key = egress_generate_wireguard_key() WHERE egress_credential_id = 2');
my $wrong = q{SELECT egress_credential_id FROM egress_credential
	WHERE egress_credential_id >= 100 AND egress_reveal_secret(coalesce(password, custom_credential)) <> 'swordfish' || egress_credential_id};
is(states($dbh), "custom_credential|50|0|0|0\npassword|50|0|0|0\npreshared_key|1|0|0|0\nprivate_key|1|0|0|0", 'before: all under the active key');
use_keys($main, @keys[1, 0]);
reload($main, $dbh);
is(states($dbh), "custom_credential|0|50|0|0\npassword|0|50|0|0\npreshared_key|0|1|0|0\nprivate_key|0|1|0|0", 'a new key: all under an older one');

# one that cannot be opened stops it
{
	my $other = session($main);
	use_keys($main, $keys[2]);
	reload($main, $other);
	my $lost = value($other, "SELECT 'swordfish'::egress_secret::text");
	use_keys($main, @keys[1, 0]);
	reload($main, $other, $dbh);
	$dbh->do("$add VALUES (150000, 3, 'lost', 'everyone', NULL, NULL, NULL, ?)", undef, $lost);
	my $before = rows($dbh, 'SELECT * FROM egress_credential ORDER BY 1');
	is(outcome($dbh, 'SELECT egress_rotate_secrets()'), 'NG006', 'a secret whose key is missing stops a rotation');
	like($message, qr/custom_credential of credential 150000 "lost" cannot be opened/, '... which names the credential');
	is(rows($dbh, 'SELECT * FROM egress_credential ORDER BY 1'), $before, '... and changes nothing');
	$dbh->do('DELETE FROM egress_credential WHERE egress_credential_id = 150000');
}

# wait_for_lock SESSION, FUNCTION: until whoever calls the function waits for a row or a transaction
sub wait_for_lock
{
	my ($session, $function) = @_;
	for (1 .. 1000)
	{
		return if value($session, q{SELECT count(*) FROM pg_stat_activity WHERE query ~ ? AND wait_event_type = 'Lock'}, $function);
		sleep 0.01;
	}
	die "$function does not wait";
}

# acquire_all SESSION: how many of the credentials give their secret to an acquire
sub acquire_all
{
	my ($session) = @_;
	return value($session, q{SELECT count(*) FROM generate_series(100, 199) i,
		LATERAL egress_acquire_credential('user' || i, NULL, CASE WHEN i % 2 = 0 THEN 1 ELSE 3 END, 'session' || i) a,
		LATERAL egress_release_credential('session' || i)
		WHERE coalesce(a.password, a.custom_credential) = 'swordfish' || i});
}

# stopped in the middle by somebody's lock on a row: the rows before it are written and not committed
my $locker = session($main);
my $rotation = session($main);
sub rotate_into_lock
{
	$locker->begin_work;
	$locker->do('SELECT FROM egress_credential WHERE egress_credential_id = 160 FOR UPDATE');
	$rotation->do('SELECT egress_rotate_secrets()', {pg_async => PG_ASYNC});
	wait_for_lock($dbh, 'egress_rotate_secrets');
}
rotate_into_lock();
is(acquire_all($dbh), 100, 'in the middle of a rotation, acquires of every credential go on');
$dbh->do('SET lock_timeout = 100');
is(outcome($dbh, q{UPDATE egress_credential SET password = 'new' WHERE egress_credential_id = 110}), '55P03', '... whoever changes a credential waits');
$dbh->do('RESET lock_timeout');
is(states($dbh), "custom_credential|0|50|0|0\npassword|0|50|0|0\npreshared_key|0|1|0|0\nprivate_key|0|1|0|0", '... and nobody sees half of it');

kill_server($main);
$_->{Active} && eval { $_->disconnect } for $dbh, $locker, $rotation;
start($main);
$dbh = session($main);
is(states($dbh), "custom_credential|0|50|0|0\npassword|0|50|0|0\npreshared_key|0|1|0|0\nprivate_key|0|1|0|0", 'killed in the middle, nothing is lost or changed');
is(rows($dbh, $wrong), '', '... every secret opens');
is(acquire_all($dbh), 100, '... and is acquired');

# somebody changes a secret while the rotation waits for the row: the new secret stays
$locker = session($main);
$rotation = session($main);
rotate_into_lock();
$locker->do(q{UPDATE egress_credential SET password = 'changed' WHERE egress_credential_id = 160});
$locker->commit;
is($rotation->pg_result, 1, 'the rotation goes on when the row is free');
is(value($dbh, 'SELECT egress_reveal_secret(password) FROM egress_credential WHERE egress_credential_id = 160'), 'changed', 'a secret that was changed meanwhile stays changed');
is(states($dbh), "custom_credential|50|0|0|0\npassword|50|0|0|0\npreshared_key|1|0|0|0\nprivate_key|1|0|0|0", 'all are sealed anew');
$dbh->do(q{UPDATE egress_credential SET password = 'swordfish160' WHERE egress_credential_id = 160});
is(rows($dbh, $wrong), '', 'to the same secrets');
use_keys($main, $keys[1]);
reload($main, $dbh);
is(acquire_all($dbh), 100, 'and open without the older key');
use_keys($main, @keys[2, 1]);
reload($main, $dbh);
is(value($dbh, 'SELECT egress_rotate_secrets()'), 102, 'a rotation says how many secrets it sealed anew');
is(value($dbh, 'SELECT egress_rotate_secrets()'), 0, '... and the next one has none left');

# two rotations at once, and acquires beside them, without any lock that stops them
{
	use_keys($main, @keys[0, 2]);
	reload($main, $dbh);
	my $until = time + 3;
	my @children;
	for my $number (1 .. 2)
	{
		my $pid = fork // die $!;
		if ($pid == 0)
		{
			my $bad = 0;
			my $mine = session($main);
			my $rounds = 0;
			while (time < $until)
			{
				my $i = 100 + int rand 100;
				my $gateway = $i % 2 ? 3 : 1;
				my ($secret) = eval { $mine->selectrow_array("SELECT coalesce(password, custom_credential)
					FROM egress_acquire_credential('user$i', NULL, $gateway, 'child$number')") };
				diag("acquire of user$i: " . ($secret // $@)) if ($secret // '') ne "swordfish$i" && !$bad++;
				$mine->do("SELECT egress_release_credential('child$number')");
				$rounds++;
			}
			diag("child $number acquired only $rounds times") if $rounds < 10;
			POSIX::_exit($bad > 0 || $rounds < 10);
		}
		push @children, $pid;
	}
	my $rotations = 0;
	for (my $first = 1; time < $until; $first = !$first)
	{
		use_keys($main, $first ? @keys[2, 0] : @keys[0, 2]);
		reload($main, $dbh, $rotation);
		$rotation->do('SELECT egress_rotate_secrets()', {pg_async => PG_ASYNC});
		$dbh->do('SELECT egress_rotate_secrets()');
		$rotation->pg_result;
		$rotations++;
	}
	my $failed = 0;
	for my $child (@children)
	{
		waitpid $child, 0;
		$failed++ if $?;
	}
	is($failed, 0, "acquires went on beside $rotations pairs of rotations, and each got its secret");
	is(rows($dbh, $wrong), '', 'all are intact');
	is(value($dbh, 'SELECT sum(older_key) FROM egress_secret_usage'), 0, 'all are under the active key');
}

# an acquire that began before a new key was reloaded, and goes on when everything is sealed under that
{
	use_keys($main, @keys[0, 2]);
	reload($main, $dbh, $rotation, $locker);
	is(value($rotation, 'SELECT sum(missing_key) FROM egress_secret_usage'), 0, 'a session has read the keys');
	my $acquire = q{SELECT password FROM egress_acquire_credential('user100', NULL, 1, 'late')};
	$locker->begin_work;
	value($locker, $acquire);
	my $late = $rotation->prepare($acquire, {pg_async => PG_ASYNC});
	$late->execute;
	wait_for_lock($dbh, 'egress_acquire_credential');
	use_keys($main, @keys[3, 0, 2]);
	reload($main, $dbh);
	$dbh->do('SELECT egress_rotate_secrets()');
	$locker->rollback;
	is(eval { $late->pg_result; ($late->fetchrow_array)[0] }, 'swordfish100', 'an acquire across a reload and a rotation opens the secret');
	$late->finish;
	$dbh->do(q{SELECT egress_release_credential('late')});
	use_keys($main, @keys[0, 3]);
	reload($main, $dbh, $rotation, $locker);
	$dbh->do('SELECT egress_rotate_secrets()');
}

# a secret of before there was a key file
{
	use_keys($main, @keys[0, 2]);
	configure($main, "egress.secret_key_file = ''");
	reload($main, $dbh);
	is(outcome($dbh, 'SELECT egress_rotate_secrets()'), '55000', 'no key file: nothing to rotate to');
	$dbh->do(q{UPDATE egress_credential SET password = 'swordfish100' WHERE egress_credential_id = 100});
	is(value($dbh, 'SELECT password FROM egress_credential WHERE egress_credential_id = 100'), 'swordfish100', 'no key file: stored as it is');
	configure($main, "egress.secret_key_file = 'keys'");
	reload($main, $dbh);
	is(value($dbh, 'SELECT sum(not_sealed) FROM egress_secret_usage'), 1, 'it is counted as not sealed');
	is(value($dbh, q{SELECT password FROM egress_acquire_credential('user100', NULL, 1, 'a')}), 'swordfish100', '... and works');
	$dbh->do(q{SELECT egress_release_credential('a')});
	cmp_ok(value($dbh, 'SELECT egress_rotate_secrets()'), '>=', 1, '... until a rotation');
	like(value($dbh, 'SELECT password FROM egress_credential WHERE egress_credential_id = 100'), $sealed_form, '... seals it');
	is(rows($dbh, $wrong), '', 'all are intact');
}

# ------------------------------------------------------------------------- dumps, with and without the key

use_keys($main, $keys[0]);
reload($main, $dbh);
is(states($dbh), "custom_credential|50|0|0|0\npassword|50|0|0|0\npreshared_key|1|0|0|0\nprivate_key|1|0|0|0", 'all under the first key');
my $other = cluster('other', "egress.secret_key_file = 'keys'");
my $all = 'SELECT egress_credential_id, name, username, password, private_key, custom_credential FROM egress_credential ORDER BY 1';
my $acquires = q{SELECT password, config ~ 'swordfish100' FROM egress_acquire_credential('user100', NULL, 1, 'restored')};

sub pg { my ($self, $program, @arguments) = @_; return ("$bindir/$program", '-h', $folder, '-p', $self->{port}, '-U', 'postgres', @arguments) }
system(pg($main, 'pg_dump', '-Fc', '-f', "$folder/dump", 'postgres')) == 0 or die 'pg_dump failed';
system(pg($main, 'pg_dump', '-f', "$folder/dump.sql", 'postgres')) == 0 or die 'pg_dump failed';
unlike(do { local (@ARGV, $/) = "$folder/dump.sql"; <> }, qr/swordfish/, 'a dump holds no secret in the clear');

for my $case (['with the key', 1], ['without the key', 0], ['without a usable key file', -1])
{
	my ($what, $with) = @$case;
	my $database = 'restored_' . ($with + 1);
	use_keys($other, $with ? $keys[0] : $keys[3]);
	chmod 0644, "$other->{data}/keys" if $with < 0;
	my $control = session($other);
	$control->do("CREATE DATABASE $database TEMPLATE template0");
	is(system(pg($other, 'pg_restore', '-d', $database, '--exit-on-error', "$folder/dump")), 0, "restored $what");
	my $restored = session($other, database => $database);
	is(rows($restored, $all), rows($dbh, $all), '... unchanged');
	if ($with <= 0)
	{
		is(outcome($restored, $acquires), 'NG006', '... an acquire says NG006');
		like($message, qr/password of credential 100 "c100" cannot be opened/, '... and names the credential');
		is(value($restored, 'SELECT count(*) FROM egress_lease'), 0, '... nothing is held');
		is(value($restored, 'SELECT sum(missing_key) FROM egress_secret_usage'), 102, '... the usage says that keys are missing');
		is(outcome($restored, q{UPDATE egress_credential SET password = 'swordfish0' WHERE egress_credential_id = 102}), $with ? 'F0000' : '',
			'... a new secret is sealed if there is a key');
		$restored->do('UPDATE egress_credential SET password = ? WHERE egress_credential_id = 102', undef,
			value($dbh, 'SELECT password::text FROM egress_credential WHERE egress_credential_id = 102'));
		use_keys($other, $keys[0]);
		reload($other, $restored);
	}
	is(rows($restored, $acquires), 'swordfish100|1', $with > 0 ? '... and works' : '... and it works when the key file is back');
	is(rows($restored, $wrong), '', '... all secrets open');
	$restored->disconnect;
}

# into a server without any key file: sealed forms stay sealed; and plain secrets are sealed where there is one
{
	configure($other, "egress.secret_key_file = ''");
	my $control = session($other);
	reload($other, $control);
	$control->do('CREATE DATABASE keyless TEMPLATE template0');
	is(system(pg($other, 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-d', 'keyless', '-o', '/dev/null', '-f', "$folder/dump.sql")), 0, 'restored without a key file');
	my $keyless = session($other, database => 'keyless');
	is(outcome($keyless, $acquires), 'NG006', '... an acquire says NG006');
	like($message, qr/egress.secret_key_file is not set/, '... and that the setting is not set');
	is(outcome($keyless, 'SELECT egress_rotate_secrets()'), '55000', 'a rotation needs a key');
	like($message, qr/egress.secret_key_file is not set/, '... and says so');
	$keyless->do(q{UPDATE egress_credential SET password = 'swordfish100' WHERE egress_credential_id = 100});
	is(rows($keyless, $acquires), 'swordfish100|1', 'a secret that is stored as it is');
	system(pg($other, 'pg_dump', '-Fc', '-f', "$folder/dump.plain", 'keyless')) == 0 or die 'pg_dump failed';
	configure($other, "egress.secret_key_file = 'keys'");
	reload($other, $control);
	$control->do('CREATE DATABASE sealed_again TEMPLATE template0');
	is(system(pg($other, 'pg_restore', '-d', 'sealed_again', '--exit-on-error', "$folder/dump.plain")), 0, 'restored where there is one');
	is(states(session($other, database => 'sealed_again')), "custom_credential|50|0|0|0\npassword|50|0|0|0\npreshared_key|1|0|0|0\nprivate_key|1|0|0|0", '... is sealed on its way in');
	$keyless->disconnect;
}

# another encoding: a secret is text
{
	my $control = session($other);
	$control->do(q{CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
	$control->do(q{CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'});
	my ($latin, $ascii) = map { session($other, database => $_) } 'latin', 'ascii';
	$_->do('CREATE EXTENSION egress') for $latin, $ascii, session($other, database => 'postgres');
	my $utf8 = session($other);
	$_->do('SET client_encoding = UTF8') for $latin, $ascii;
	my $sealed = value($latin, "SELECT 'caf\xc3\xa9'::egress_secret::text");
	is(value($latin, 'SELECT egress_reveal_secret(?)', $sealed), "caf\xc3\xa9", 'sealed and opened in LATIN1');
	is(value($utf8, 'SELECT egress_reveal_secret(?)', $sealed), "caf\xc3\xa9", 'opened in UTF8');
	is(value($latin, 'SELECT egress_reveal_secret(?)', value($utf8, "SELECT 'caf\xc3\xa9'::egress_secret::text")), "caf\xc3\xa9", 'and the other way');
	is(outcome($latin, 'SELECT egress_reveal_secret(?)', value($utf8, "SELECT 'sword\xe2\x98\x83fish'::egress_secret::text")), 'NG006', 'a character that LATIN1 does not have');
	unlike($message, qr/sword|\xe2|0x/i, '... is not in the message');
	my $bytes = value($ascii, "SELECT E'caf\\351'::egress_secret::text");
	is(value($ascii, "SELECT egress_reveal_secret(?) = E'caf\\351'", $bytes), 1, 'bytes of SQL_ASCII');
	is(outcome($utf8, 'SELECT egress_reveal_secret(?)', $bytes), 'NG006', '... which are no UTF8');
	unlike($message, qr/caf|0x/i, '... are not in the message');
	$utf8->do('DROP EXTENSION egress');
	$_->disconnect for $latin, $ascii, $utf8;
}

# ---------------------------------------------------------------------------------------------- replication

for my $case (['text', 'with the key', 0], ['binary', 'without the key', 3])
{
	my ($format, $what, $key_number) = @$case;
	my $database = "subscriber_$format";
	use_keys($other, $keys[$key_number]);
	my $control = session($other);
	reload($other, $control);
	$control->do("CREATE DATABASE $database TEMPLATE template0");
	my $subscriber = session($other, database => $database);
	$subscriber->do('CREATE EXTENSION egress');
	$dbh->do("CREATE PUBLICATION $database FOR TABLE egress_provider, egress_gateway, egress_provider_mapping, egress_credential");
	# of a gateway that came before its provider: an error, not a crash
	$subscriber->do('SET session_replication_role = replica');
	$subscriber->do(q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, provider_type) VALUES (9, 9, 'orphan', 'custom')});
	is(outcome($subscriber, q{SELECT egress_acquire_credential('ann', NULL, 9, 's')}), '55000', 'a gateway without a provider');
	$subscriber->do('DELETE FROM egress_gateway');
	$subscriber->do('RESET session_replication_role');
	$subscriber->do("CREATE SUBSCRIPTION $database CONNECTION 'host=$folder port=$main->{port} user=postgres dbname=postgres' PUBLICATION $database WITH (binary = @{[$format eq 'binary' ? 'true' : 'false']})");
	my $caught_up = sub
	{
		for (1 .. 1000)
		{
			return 1 if !grep { rows($subscriber, $_) ne rows($dbh, $_) } $all, map { "SELECT * FROM $_ ORDER BY 1" }
				qw(egress_provider egress_gateway egress_provider_mapping);
			sleep 0.02;
		}
		return 0;
	};
	ok($caught_up->(), "logical replication, $format, to a server $what: the first copy");
	$dbh->do(q{UPDATE egress_credential SET password = 'swordfish100' WHERE egress_credential_id = 100});
	$dbh->do("$add VALUES (300, 3, 'replicated', 'everyone', NULL, NULL, NULL, 'swordfish')");
	$dbh->do('DELETE FROM egress_credential WHERE egress_credential_id = 300');
	$dbh->do('UPDATE egress_credential SET enabled = enabled WHERE egress_credential_id = 101');
	ok($caught_up->(), '... changes follow, sealed as they are');
	is($key_number ? outcome($subscriber, $acquires) : rows($subscriber, $acquires), $key_number ? 'NG006' : 'swordfish100|1', '... and an acquire there');
	$subscriber->do("DROP SUBSCRIPTION $database");
	$dbh->do("DROP PUBLICATION $database");
	$subscriber->disconnect;
}

# ------------------------------------------------------------------------- what the log and the messages hold

{
	my $sensitive = qr/hunter2|correct.horse|\Q$keys[0]\E/;
	configure($main, "log_min_messages = info", 'log_parameter_max_length_on_error = -1', "log_error_verbosity = verbose", "log_min_error_statement = warning");
	reload($main, $dbh);
	my $mark = -s $main->{log};
	my $chatty = session($main);
	my %seen;
	my $provoke = sub
	{
		my ($sql, @parameters) = @_;
		$seen{outcome($chatty, $sql, @parameters)}++;
		unlike($message, $sensitive, "not in the message: $sql");
	};
	my $copy = sub
	{
		my ($what, $line) = @_;
		eval { $chatty->do($what); $chatty->pg_putcopydata($line); $chatty->pg_putcopyend; 1 } and $chatty->rollback;
		$seen{$chatty->state}++;
		unlike($chatty->errstr, $sensitive, "not in the message of $what");
	};
	my $add_one = "INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password) VALUES (1, 'bad', 'everyone', ?, ?)";
	(my $add_literal = $add_one) =~ s/\?, \?/'u', E'hunter2\\n'/;
	my $columns = '(egress_provider_id, name, subject_type, username, password)';

	$provoke->($add_literal);
	$provoke->($add_one, 'u', "hunter2\n");
	$provoke->($add_one, "hunter2\n", 'correct horse');
	$provoke->("DO \$\$ BEGIN INSERT INTO egress_credential $columns VALUES (1, 'bad', 'everyone', 'u', E'hunter2\\n'); END \$\$");
	$provoke->("DO \$\$ BEGIN EXECUTE \$x\$ INSERT INTO egress_credential $columns VALUES (1, 'bad', 'everyone', 'u', E'hunter2\\n') \$x\$; END \$\$");
	$copy->("COPY egress_credential $columns FROM STDIN", "1\tbad\teveryone\tu\thunter2\\n\n");
	$copy->("COPY egress_credential $columns FROM STDIN", "1\tbad\teveryone\thunter2\\n\tcorrect horse\n");
	$copy->('COPY way FROM STDIN', "x\tegress:v1:hunter2\n");
	$provoke->("INSERT INTO way VALUES ('x', 'egress:v1:hunter2')");
	$provoke->('INSERT INTO way VALUES (?, ?)', 'x', 'egress:v1:hunter2');
	$provoke->("SELECT 'egress:v1:hunter2'::text::egress_secret");
	$provoke->("SELECT egress_reveal_secret('egress:v1:hunter2')");
	$provoke->("SELECT egress_wireguard_public_key('hunter2')");
	$provoke->('SELECT egress_wireguard_public_key(?)', 'hunter2');
	$provoke->("INSERT INTO egress_credential (egress_provider_id, name, subject_type, private_key) VALUES (2, 'bad', 'everyone', 'hunter2')");
	$provoke->("INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (2, 'bad', E'[Interface]\\nPrivateKey = hunter2\\n')");
	$provoke->("INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (1, 'bad', E'up hunter2\\n')");
	my $openvpn = 'INSERT INTO egress_credential (egress_provider_id, name, subject_type, client_certificate, client_key)';
	$provoke->("$openvpn VALUES (1, 'bad', 'everyone', E'-----BEGIN CERTIFICATE-----\\nhunter2', 'hunter2')");
	$provoke->("$openvpn VALUES (1, 'bad', 'everyone', ?, ?)", 'hunter2', "-----BEGIN PRIVATE KEY-----\nhunter2\n");
	my $wireguard = 'INSERT INTO egress_credential (egress_provider_id, name, subject_type, private_key, address, preshared_key)';
	$provoke->("$wireguard VALUES (2, 'bad', 'everyone', egress_generate_wireguard_key(), NULL, 'hunter2')");
	$provoke->("$wireguard VALUES (2, 'bad', 'everyone', egress_generate_wireguard_key(), 'hunter2', NULL)");
	$provoke->("SELECT egress_import_config('$_', E'[Interface]\\nPrivateKey = hunter2\\nhunter2\\nup hunter2')") for 'openvpn', 'wireguard';
	$provoke->("SELECT egress_import_credential('openvpn', ?, ?)", "client\nca ca.crt", '{"ca.crt": "hunter2"}');
	chmod 0644, "$main->{data}/keys";
	reload($main, $chatty);
	$provoke->("INSERT INTO way VALUES ('x', 'hunter2')");
	$provoke->('INSERT INTO way VALUES (?, ?)', 'x', 'hunter2');
	$copy->('COPY way FROM STDIN', "x\thunter2\n");
	$provoke->($acquires);
	chmod 0600, "$main->{data}/keys";
	reload($main, $chatty);

	# the row that has them is at hand when something else is wrong with it, or with us
	$copy->("COPY egress_credential $columns FROM STDIN", "999\tbad\teveryone\tu\thunter2\n");
	$provoke->("INSERT INTO egress_credential $columns VALUES (999, 'bad', 'everyone', 'u', 'hunter2')");
	$copy->('COPY egress_gateway (egress_provider_id, name, config) FROM STDIN', "999\tbad\thunter2\n");
	$provoke->("UPDATE egress_credential SET password = 'hunter2', egress_provider_id = 3 WHERE egress_credential_id = 100");
	$dbh->do('ALTER INDEX egress_provider_pkey RENAME TO renamed');
	$copy->("COPY egress_credential $columns FROM STDIN", "1\tbad\teveryone\tu\thunter2\n");
	$dbh->do('ALTER INDEX renamed RENAME TO egress_provider_pkey');
	for my $function ('egress_fill_provider_type', 'egress_refuse_misfit', 'egress_refuse_move')
	{
		$dbh->do("CREATE TRIGGER aaa BEFORE INSERT ON egress_credential FOR EACH STATEMENT EXECUTE FUNCTION $function()");
		$provoke->("INSERT INTO egress_credential $columns VALUES (1, 'bad', 'everyone', 'u', 'hunter2')");
		$dbh->do('DROP TRIGGER aaa ON egress_credential');
	}
	# not an error, and the statement is stored
	my $preshared = q{E'# hunter2\n[Interface]\n[Peer]\nPublicKey = Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\nPresharedKey = }
		. q{Kv7UQo0ZOmSIMb3QAHmwpXyrDVB8OvgbVZKXJ3nBUlg=\n'};
	$chatty->do("INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (2, 'warned of', $preshared)");
	$dbh->do(q{DELETE FROM egress_gateway WHERE name = 'warned of'});
	is(join(' ', sort keys %seen), '22023 23503 23514 42P01 F0000 NG006 NG007', 'all of them failed, each for our reason');
	my $log = log_from($main, $mark);
	like($log, qr/NG007/, 'the log has the errors');
	like($log, qr/WARNING: .*the config of gateway \d+ "warned of" has secrets/, '... and a warning of a config');
	unlike($log, $sensitive, '... and no secret: not in the message, the context, the statement or the parameters');
	like($log, qr/CONTEXT: .*credential \d+ "bad"/, '... but the object');
	is(value($dbh, q{SELECT count(*) FROM pg_stat_activity WHERE query ~ 'swordfish100' AND pid <> pg_backend_pid()}), 0, 'what an acquire opened is not in pg_stat_activity');
	$chatty->disconnect;
}

# the ways of doc/administration.md to bring credentials in leave nothing of them in the log, whatever becomes of them
{
	configure($main, 'log_statement = all', 'log_min_duration_statement = 0', 'log_parameter_max_length = -1');
	reload($main, $dbh);
	my $mark = -s $main->{log};
	$dbh->do('INSERT INTO way VALUES (?, ?)', undef, 'typed', 'hunter2');
	my $log = log_from($main, $mark);
	like($log, qr/\$2 = 'egress:v1:/, 'a parameter that has the type of a secret is logged sealed');
	unlike($log, qr/hunter2/, '... and not otherwise');
	my $as_text = sub { my $statement = $dbh->prepare('INSERT INTO way VALUES ($1, $2::text)'); $statement->execute('text', 'hunter2') };
	$as_text->();
	like(log_from($main, $mark), qr/\$2 = 'hunter2'/, 'one of type text is logged as it is');
	configure($main, 'log_parameter_max_length = 0');
	reload($main, $dbh);
	$mark = -s $main->{log};
	$as_text->();
	unlike(log_from($main, $mark), qr/hunter2/, '... and not with log_parameter_max_length = 0');

	my ($import) = sql('doc/administration.md', 'import');
	ok($import, 'doc/administration.md has a way to import a file');
	for my $case (
		['good' => "pool-1\tu1\thunter2\npool-2\tu2\tcorrect horse \\N \\t \"'\n", ''],
		['a column too few' => "pool-3\tu1\nhunter2\n", '22023'],
		['a column too many' => "pool-3\tu1\thunter2\thunter2\n", ''],
		['an empty name' => "\tu1\thunter2\n", '23514'],
		['an empty line' => "pool-4\tu1\thunter2\n\n", '23502'],
		['a control character' => "pool-5\tu1\thunter2\x03\n", 'NG007'],
		['not UTF-8' => "pool-6\tu1\thunter2\xff\n", '22021'])
	{
		my ($what, $content, $state) = @$case;
		write_file("$folder/credentials.tsv", $content, 0644);
		write_file("$folder/import.sql", $import, 0644);
		$mark = -s $main->{log};
		my $said = do { local $ENV{PGCLIENTENCODING} = 'UTF8'; `@{[join ' ', pg($main, 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=sqlstate', '-f', "$folder/import.sql")]} 2>&1` };
		is(join(' ', $said =~ /ERROR:\s+(\w{5})/), $state, "import: $what");
		unlike(log_from($main, $mark), qr/hunter2|correct.horse/, '... nothing of it is in the log');
	}
	is(rows($dbh, q{SELECT name, username, egress_reveal_secret(password) FROM egress_credential WHERE name ~ '^pool-' ORDER BY 1}),
		qq{pool-1|u1|hunter2\npool-2|u2|correct horse \\N \\t "'\npool-3|u1|hunter2}, 'what was good is there, as it was');
	unlink "$folder/credentials.tsv", "$folder/import.sql";
}
unlike(log_from($_, 0), qr/PANIC|TRAP|signal 11|signal 6/, "no crash: $_->{name}") for values %clusters;

done_testing();
