# regions.pl -- configuration from one place, a region's credentials in that region alone: what doc/regions.md says
#
# Three servers: the centre, eu and us. All SQL of the page runs here, in the order of the page; the first line of each block says
# where. The page shows a region's blocks for eu; us has its own name and numbers in their place.
#
# Shown: the configuration arrives with its filters, and an acquire works in both regions; neither ever gives out a credential of
# the other. Five connections that are divided 3 + 2 are never more than five in sum, under load, while the shares change to
# 1 + 4 as the page says. A change at the centre counts in the region: a limit, a credential that is disabled, a provider that is
# deleted. What is deleted at the centre while a region has a lease of it waits there until the lease has ended; without the
# page's triggers the lease could not end. A region whose primary is killed goes on at its standby, and misses nothing that the
# centre has sent; one whose slot is lost gets a new copy; a region that is added gets its own part; without the centre the
# regions go on, and subscribe to its standby; the publications of a centre that was restored from a dump are empty, and are made
# anew. The regions connect as the page says: by TLS and a password, through its line of pg_hba.conf. At the end the ways that the
# page advises against: filters on a name, a provider or a type, a column of one's own, TRUNCATE.
use strict;
use warnings;
use DBI;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use POSIX ();
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);
use EgressPages;
use EgressTest qw(:DEFAULT slurp);
use Test::More;

# read before the user postgres, who may not enter this folder, takes over
my (@blocks, $hba);
BEGIN
{
	my %where = ('at the centre' => 'centre', 'in each region, here eu' => 'region', 'in eu' => 'eu', 'as a superuser in eu' => 'owner of eu');
	push @blocks, { where => $where{ /\A-- (.*)\n/ ? $1 : '' } // 'nowhere', sql => $_ } for sql('doc/regions.md');
	($hba) = slurp(dirname(__FILE__) . '/../../doc/regions.md') =~ /^    (hostssl .*)$/m or die 'no line of pg_hba.conf';
}
use EgressCluster;

my $folder = tempdir('regions-XXXXXX', TMPDIR => 1, CLEANUP => 1);
system("umask 077 && head -c 32 /dev/urandom | base64 >$folder/key") == 0 or die 'no key';
my @settings = ('fsync = off', "egress.secret_key_file = '$folder/key'", 'wal_retrieve_retry_interval = 100ms',
	'max_prepared_transactions = 10');
my @certificate = (qw(openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=centre -keyout), "$folder/centre.key", '-out', "$folder/centre.crt",
	'-addext', 'subjectAltName = DNS:centre.example, DNS:new-centre.example');
system(join(' ', map { "'$_'" } @certificate) . " 2>'$folder/openssl' && chmod 600 '$folder/centre.key'") == 0
	or die slurp("$folder/openssl");
my $centre = cluster('centre', @settings, 'wal_level = logical', q{listen_addresses = '127.0.0.1'}, 'ssl = on',
	"ssl_cert_file = '$folder/centre.crt'", "ssl_key_file = '$folder/centre.key'");
my %node = (centre => $centre, map { $_ => cluster($_, @settings) } qw(eu us));
# the test by a socket; the regions as the page says, at the address that is here
open my $access, '>', $centre->data_dir . '/pg_hba.conf' or die $!;
print $access "local all all trust\nlocal replication all trust\n",
	$hba =~ s/\bplatform\b/postgres/r =~ s{203\.0\.113\.0/24}{127.0.0.1/32}r, "\n";
close $access or die $!;
open my $passwords, '>', "$folder/centre.pgpass" or die $!;
print $passwords "$_.example:*:postgres:regions:of the regions\n" for 'centre', 'new-centre';
close $passwords or die $!;
chmod 0600, "$folder/centre.pgpass";
$_->start for values %node;
my %dbh = map { $_ => client($node{$_}) } keys %node;
my %clients;    # of the load: process => 1

# when the test has not come to its end
END
{
	kill 'KILL', keys %clients;
}

# as_in REGION, SQL: a block of the page, as it is in that region, and with the centre that is here
sub as_in
{
	my ($region, $sql) = @_;
	$sql =~ s{dbname=platform }{'hostaddr=127.0.0.1 port=' . $node{centre}->port . ' dbname=postgres '}e;
	$sql =~ s{/etc/postgresql/}{$folder/}g;
	my $number = { us => 2, ap => 3 }->{$region};
	if ($number)
	{
		$sql =~ s/\begress_eu\b/egress_$region/g;
		$sql =~ s/1000000000 AND 1999999999/${number}000000000 AND ${number}999999999/g;
	}
	return $sql;
}

# run a block in a place, as a role; what it answers. ap is a database of us
sub run_in
{
	my ($where, $sql, $role) = @_;
	my ($node, $database) = $where eq 'ap' ? ('us', 'ap') : ($where, 'postgres');
	return $node{$node}->safe_psql($database, as_in($where, $sql), extra_params => [ '-U', $role // $ENV{PGUSER} ]);
}

# page WHERE: the next block of the page, which is for there, runs there, or in each region; what it has answered
sub page
{
	my ($where) = @_;
	my $block = shift @blocks;
	my $answer;
	my @places = $where eq 'region' ? qw(us eu) : $where =~ s/^owner of //r;
	my $ran = eval { $answer = run_in($_, $block->{sql}, $where eq 'eu' ? 'keeper' : undef) for @places; 1 };
	ok($ran && $block->{where} eq $where, "$block->{where}: " . (split /\n/, $block->{sql})[0]) or diag $@;
	return $answer;
}

# acquire WHERE, USER, SESSION, TTL: of the first gateway; '' or what it raised. %lease has the last row
my %lease;
sub acquire
{
	my ($where, $user, $session, $ttl, $gateway) = @_;
	return sqlstate {
		%lease = %{ $dbh{$where}->selectrow_hashref('SELECT * FROM egress_acquire_credential(?, NULL, ?, ?, ?)', undef,
				$user, $gateway // 1, $session, $ttl) };
	};
}

sub release { my ($where, $session) = @_; return sqlstate { $dbh{$where}->do('SELECT egress_release_credential(?)', undef, $session) } }
sub at_centre { $dbh{centre}->do($_) for @_; return }
sub give_all_back { $dbh{$_}->do('SELECT egress_release_credential(session_id) FROM egress_lease') for qw(eu us); return }

# the blocks that compare are needed all the time
my %compare = map { ($_->{where} => $_->{sql}) } grep { $_->{sql} =~ /md5\(string_agg/ } @blocks;

# differs REGION: the lines in which it and the centre are not the same
sub differs
{
	my ($region) = @_;
	my %lines;
	my @answers = ($node{centre}->safe_psql('postgres', as_in($region, $compare{centre})), run_in($region, $compare{region}));
	$lines{$_}++ for map { split /\n/ } @answers;
	return grep { $lines{$_} != 2 } sort keys %lines;
}

# arrives WHAT, REGION...: what was done at the centre is in these regions, or in both
sub arrives
{
	my ($what) = @_;
	for my $region (@_ > 1 ? @_[ 1 .. $#_ ] : qw(eu us))
	{
		$node{centre}->wait_for_catchup("egress_$region");
		is(join("\n", differs($region)), '', "in $region: $what");
	}
	return;
}

# errors REGION: how often its subscription has met one
sub errors { my ($region) = @_; return value($dbh{$region}, 'SELECT sum(apply_error_count) FROM pg_stat_subscription_stats') }

# stops REGION, WHAT, CODE: what the code does at the centre cannot be done there
sub stops
{
	my ($region, $what, $code) = @_;
	my $before = errors($region);
	$code->();
	return ok(wait_until { errors($region) > $before }, "$region stops: $what");
}

# ------------------------------------------------------------------- the centre, and the regions

page('centre');
my $publications = $blocks[0]{sql};
page('centre');
page('centre');
at_centre(q{ALTER ROLE regions PASSWORD 'of the regions'});
page('centre');
at_centre(q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password)
	VALUES (1, 'nowhere', 'everyone', 'lw-0', 'no password')});
my $become_region = $blocks[0]{sql};
page('region');
my $not_ready = shift @blocks;
# is_ready REGION...: they have copied what there is
sub is_ready { my @regions = @_; return ok(wait_until { join('', map { run_in($_, $not_ready->{sql}) } @regions) eq '' }, "@regions: all is copied") }
is_ready(qw(eu us));
is(rows($dbh{centre}, q{SELECT count(*), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid) WHERE usename = 'regions'}), '2|1',
	'they connect by TLS');
page('region');
arrives('the configuration');
is(rows($dbh{$_}, 'SELECT name FROM egress_credential ORDER BY 1'), { eu => "account 7 in eu\naccount 8", us => 'account 7 in us' }->{$_},
	"$_ has its own credentials") for qw(eu us);

my %limit = (eu => 3, us => 2);
my %range = (eu => 1, us => 2);
for my $region (qw(eu us))
{
	my @ids;
	for my $session (1 .. $limit{$region})
	{
		is(acquire($region, 'bob', $session), '', "$region: an acquire, with the password") or next;
		is($lease{password}, 'a password', "$region: which opens there");
		push @ids, $lease{egress_credential_id};
	}
	is(acquire($region, 'bob', 'more'), 'NG004', "$region: the share is exact");
	is(scalar(grep { int($_ / 1e9) != $range{$region} } @ids), 0, "$region: all are of its own credentials");
}
give_all_back();

is(sqlstate { $dbh{eu}->do(q{SET ROLE keeper; UPDATE egress_credential SET enabled = false}) }, '42501',
	'who looks after a region does not write the configuration');
$dbh{eu}->do('RESET ROLE');
is(sqlstate { $dbh{eu}->do(q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password)
	VALUES (1, 'here', 'everyone', 'a', 'b')}) }, '23514', 'and nobody a credential without an id of the region');
$dbh{us}->do(sprintf 'CREATE SUBSCRIPTION wrong CONNECTION %s PUBLICATION egress_eu', $dbh{us}->quote($node{centre}->connstr('postgres')));
# 19 tells tables from sequences
my $sync_errors = value($dbh{us}, 'SHOW server_version_num') < 190000 ? 'sync_error_count' : 'sync_table_error_count';
ok(wait_until { value($dbh{us}, "SELECT $sync_errors > 0 FROM pg_stat_subscription_stats WHERE subname = 'wrong'") },
	"us subscribes to what is eu's");
is(value($dbh{us}, 'SELECT count(*) FROM egress_credential WHERE egress_credential_id < 2000000000'), 0, 'and gets no credential of it');
$dbh{us}->do('DROP SUBSCRIPTION wrong');

my $dump = sprintf 'pg_dump "%s"', $node{eu}->connstr('postgres');
like(`$dump`, qr/^CREATE SUBSCRIPTION egress_eu(?!.*(?:of_this_region|ENABLE ALWAYS))/ms,
	'a dump of eu has the subscription, and not the constraint and the triggers');

# ------------------------------------------------------------------------- a region is added

page('centre');
$node{us}->safe_psql('postgres', 'CREATE DATABASE ap');
run_in('ap', $become_region);
is_ready('ap');
at_centre(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password)
	VALUES (nextval('credential_ap'), 1, 'account 9', 'everyone', 'lw-9', 'a third password')});
arrives('a credential of the region that was added', qw(ap eu us));
is(run_in('ap', q{SELECT password FROM egress_acquire_credential('bob', NULL, 1, 'bob')}), 'a third password', 'ap: is given out there');
run_in('ap', 'DROP SUBSCRIPTION egress_ap');
$node{us}->safe_psql('postgres', 'DROP DATABASE ap');
at_centre('DROP PUBLICATION egress_ap', q{DELETE FROM egress_credential WHERE name = 'account 9'});

# ------------------------------------------------------------------ changes at the centre

at_centre(
	q{INSERT INTO egress_provider (name, provider_type, managed, enable_new_managed_gateways) VALUES ('Quillport', 'wireguard', true, true)},
	q{SELECT egress_sync_gateways(2, jsonb_build_array(jsonb_build_object('name', 'osl-1', 'config',
		E'[Interface]\n[Peer]\nPublicKey = ' || egress_wireguard_public_key(egress_generate_wireguard_key()))))},
	q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id, allow_all_gateways)
		VALUES (2, 'group', 'staff', false)},
	q{INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id) VALUES (2, 3)},
	q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, private_key, allow_all_gateways)
		VALUES (nextval('credential_eu'), 2, 'a key in eu', 'everyone', egress_generate_wireguard_key(), false),
			(nextval('credential_us'), 2, 'a key in us', 'everyone', egress_generate_wireguard_key(), false)},
	q{INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (1000000002, 3), (2000000001, 3)},
	q{INSERT INTO egress_group_member VALUES ('ann', 'staff')},
	q{INSERT INTO egress_workspace VALUES ('kiosk', true)});
arrives('a second provider with all that it can have');
is(rows($dbh{eu}, 'SELECT egress_credential_id FROM egress_credential_gateway'), 1000000002, 'a selection is where its credential is');
is(acquire($_, 'ann', 'key', undef, 3), '', "$_: its key is given out") for qw(eu us);
is(acquire($_, 'ann', 'again', undef, 3), 'NG004', "$_: once at a gateway, as the centre has it") for qw(eu us);
give_all_back();

at_centre(q{INSERT INTO egress_user_limit VALUES ('user', 'bob', 1)});
arrives("a user's limit");
is(acquire($_, 'bob', 'one'), '', "$_: which counts in each region by itself") for qw(eu us);
is(acquire($_, 'bob', 'two'), 'NG008', "$_: and is exact there") for qw(eu us);
at_centre('DELETE FROM egress_user_limit');
arrives('its end');
give_all_back();

is(acquire('eu', 'bob', $_), '', "lease $_") for 1 .. 3;
at_centre(q{UPDATE egress_credential SET active_connection_limit = 2 WHERE egress_credential_id = 1000000000});
arrives('a limit that is lowered');
is(release('eu', 1) . acquire('eu', 'bob', 4), 'NG004', 'eu: none is added while as many are held');
is(release('eu', 2) . acquire('eu', 'bob', 4), '', 'eu: then one is');
at_centre(q{UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 1000000000});
arrives('a credential that is disabled');
is(acquire('eu', 'bob', 5), 'NG003', 'eu: is given out no more');
is(rows($dbh{eu}, q{SELECT session_id FROM egress_unentitled_connection ORDER BY 1}), "3\n4", 'eu: and who has it is shown');
at_centre(q{UPDATE egress_credential SET enabled = true, active_connection_limit = 3 WHERE egress_credential_id = 1000000000});
arrives('all as it was');
give_all_back();

# --------------------------------------------------------- a limit is divided, and the shares change

at_centre(q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password, active_connection_limit)
		VALUES (1, 'no limit', 'everyone', 'lw-10', 'a password', 3)},
	q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, username, password, limit_active_connections, active_connection_limit)
		VALUES (1, 'a limit', 'everyone', 'lw-10', 'a password', true, 3)});
my $public_key = value($dbh{centre}, q{SELECT egress_credential_public_key(egress_credential_id) FROM egress_credential WHERE name = 'a key in eu'});
my $accounts = page('centre');
like($accounts, qr/^1\|lw-7\|5\|\{"account 7 in eu","account 7 in us"\}$/m, 'the shares of account 7 are five together');
like($accounts, qr/^1\|lw-10\|\|\{"no limit","a limit"\}$/m, 'one without a limit is seen');
like($accounts, qr/^2\|\Q$public_key\E\|\|\{"a key in eu"\}$/m, 'a key is an account');
at_centre(q{DELETE FROM egress_credential WHERE username = 'lw-10'});

# a moment, or longer than a change takes from the centre to a region
sub a_while { return rand() < 0.3 ? 0.4 : rand 0.01 }

# load_client REGION, NUMBER: takes and gives back connections of account 7 until it is told to end, and writes down when it had one
sub load_client
{
	my ($region, $number) = @_;
	my $dbh = client($node{$region});
	open my $log, '>', "$folder/$region.$number" or die $!;
	for (my $turn = 0; !-e "$folder/end"; $turn++)
	{
		my $session = "$number $turn";
		$dbh->begin_work;
		my $state = sqlstate { $dbh->do(q{SELECT FROM egress_acquire_credential('bob', NULL, 1, ?)}, undef, $session) };
		my $from = now();
		if ($state ne '')
		{
			die $state if $state ne 'NG004';
			$dbh->rollback;
			sleep 0.005;
			next;
		}
		sleep a_while();
		$dbh->commit;
		sleep a_while();
		print $log "$from ", now(), "\n";
		$dbh->do('SELECT egress_release_credential(?)', undef, $session);
	}
	close $log or die $!;
	return;
}
for my $client (map { ([ 'eu', $_ ], [ 'us', $_ ]) } 1 .. 4)
{
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		POSIX::_exit(eval { srand($client->[1]); load_client(@$client); 1 } ? 0 : 1);
	}
	$clients{$pid} = 1;
}
sleep 1;
page('centre');
my $look = shift @blocks;
my ($arrived, $alone);
ok(wait_until {
	my ($limit, $held, $seen_at, $older) = split /\|/, run_in('eu', $look->{sql}, 'keeper');
	# the connections of older transactions that had ended when this was asked are seen now
	my $go_on = $alone && $held <= 1;
	$arrived //= $seen_at if $limit == 1;
	# times of one zone, as text, sort as they are
	$alone ||= $arrived && $older ge $arrived;
	$go_on;
}, 'eu: the smaller share has arrived, and what was above it has ended');
my $raised = now();
page('centre');
$node{centre}->wait_for_catchup('egress_us');
sleep 1.5;
open my $end, '>', "$folder/end" or die $!;
for my $pid (keys %clients)
{
	waitpid $pid, 0;
	is($?, 0, 'a client has come to its end');
	delete $clients{$pid};
}

# intervals FILES: what clients have written down
sub intervals { return map { open my $log, '<', $_ or die "$_: $!"; map { [split] } <$log> } @_ }
my %held = map { $_ => [ intervals(glob "$folder/$_.*") ] } qw(eu us);
cmp_ok(most_at_once(map { @$_ } values %held), '<=', 5, 'account 7 is never in more than five connections');
my %most;
for my $region (qw(eu us))
{
	my @before = grep { $_->[0] <= $raised } @{ $held{$region} };
	my @after = grep { $_->[0] > $raised } @{ $held{$region} };
	$most{$region} = [ most_at_once(@before), most_at_once(@after) ];
}
is_deeply(\%most, { eu => [ 3, 1 ], us => [ 2, 4 ] }, 'and the shares were used to the last, before and after');

is(acquire('eu', 'bob', 'seen'), '', 'eu: the share is used');
is(release('eu', 'seen'), '', 'and free');
my $open = client($node{eu});
$open->begin_work;
$open->do(q{SELECT FROM egress_acquire_credential('bob', NULL, 1, 'open')});
my (undef, $seen, $seen_at, $older) = split /\|/, run_in('eu', $look->{sql}, 'keeper');
ok($seen == 0 && $older lt $seen_at, 'eu: what an open transaction has taken is not to be seen, but the transaction is');
$open->rollback;
$open->disconnect;

# ------------------------------------------------------------------------- moving, deleting

is(acquire('eu', 'bob', 'bob'), '', "eu: bob has account 7's only connection");
is(acquire('eu', 'ann', 'ann'), '', 'eu: ann has her own account');
is($lease{username}, 'lw-8', 'account 8');
give_all_back();
at_centre(q{UPDATE egress_credential SET allow_all_gateways = false, active_connection_limit = 7, once_per_gateway = true, cool_down = '1 millisecond'
		WHERE name = 'account 8'},
	q{INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (1000000001, 1)});
arrives('all that a credential can have');
is(acquire('eu', 'bob', 'bob'), '', "eu: bob has account 7's only connection");
is(acquire('eu', 'ann', 'ann'), '', 'eu: ann has her own account');
# the list of the page follows the id
my ($copied) = $blocks[2]{sql} =~ /^INSERT INTO egress_credential \(egress_credential_id,\s+(.*?)\)/ms;
my ($selected) = $blocks[2]{sql} =~ /^SELECT nextval\('credential_us'\),\s+(.*?)\s+FROM/ms;
is($selected, $copied, 'a move reads the columns that it writes');
is(join(' ', sort split(/,\s+/, $copied), qw(egress_credential_id enabled provider_type)),
	value($dbh{centre}, q{SELECT string_agg(attname, ' ' ORDER BY attname COLLATE "C") FROM pg_attribute
		WHERE attrelid = 'egress_credential'::regclass AND attnum > 0 AND NOT attisdropped}), 'these are all but the id and what the page says');
my $whole = q{SELECT to_jsonb(c) - 'egress_credential_id', (SELECT array_agg(egress_gateway_id)::text FROM egress_credential_gateway g
	WHERE g.egress_credential_id = c.egress_credential_id) FROM egress_credential c WHERE name = 'account 8'};
my $as_it_was = rows($dbh{centre}, $whole);
page('centre');
$node{centre}->wait_for_catchup('egress_eu');
like(page('eu'), qr/^ann\|/, 'her lease is ended');
sleep 0.01;    # its cool_down
page('centre');
is(rows($dbh{centre}, $whole), $as_it_was, 'it is the same in all but the id');
arrives('a credential that has moved');
is(value($dbh{eu}, q{SELECT count(*) FROM egress_credential WHERE name = 'account 8'}), 0, 'eu: has it no more');
is(acquire('us', 'bob', "full $_"), '', "us: account 7, $_ of 4") for 1 .. 4;
is(acquire('us', 'ann', 'ann'), '', 'us: gives it out');
is("$lease{username} $lease{password}", 'lw-8 another password', 'with its secret');
give_all_back();

# what a region still uses: provider 2 of which eu has a lease, then a gateway, then a credential
my %deletion = (provider => 'DELETE FROM egress_provider WHERE egress_provider_id = 2',
	gateway => q{DELETE FROM egress_gateway WHERE name = 'nyc-1'},
	credential => q{DELETE FROM egress_credential WHERE name = 'account 8'});
my %lease_of = (provider => [ 'eu', 3 ], gateway => [ 'eu', 2 ], credential => [ 'us', 1 ]);
for my $what (qw(provider gateway credential))
{
	my ($region, $gateway) = @{ $lease_of{$what} };
	my $other = $region eq 'eu' ? 'us' : 'eu';
	if ($what eq 'credential') { acquire('us', 'bob', "full $_") for 1 .. 4 }
	is(acquire($region, 'ann', 'ann', undef, $gateway), '', "$region has a lease of a $what");
	stops($region, "that $what is deleted at the centre",
		sub { at_centre($deletion{$what}, qq{INSERT INTO egress_workspace VALUES ('$what', false)}) });
	$node{centre}->wait_for_catchup("egress_$other");
	is(join("\n", differs($other)), '', "$other goes on");
	is(value($dbh{$region}, 'SELECT count(*) FROM egress_workspace WHERE workspace_id = ?', $what), 0, 'what comes later waits');
	is(release($region, 'ann'), '', 'the lease ends');
	arrives('then all arrives');
	is(value($dbh{$region}, q{SELECT count(*) FROM egress_lease_history WHERE session_id = 'ann' AND egress_gateway_id = ?}, $gateway) > 0, 1,
		'and its end is in the history');
	give_all_back();
}

at_centre(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id, username, password)
	SELECT nextval('credential_eu'), 1, 'of ' || name, 'user', name, name, 'a password' FROM unnest(ARRAY['eve', 'gus']) name});
arrives('two more credentials');
acquire('eu', 'bob', 'bob');
is(acquire('eu', 'eve', 'eve', '1 microsecond'), '', 'eu: a lease that expires');
my $errors = errors('eu');
at_centre(q{DELETE FROM egress_credential WHERE name = 'of eve'});
arrives('its credential is deleted');
is(errors('eu'), $errors, 'at once');
is(rows($dbh{eu}, q{SELECT credential_name, release_reason FROM egress_lease_history WHERE session_id = 'eve'}), 'of eve|expired',
	'and its end is in the history');

my @triggers = map { "ALTER TABLE egress_credential $_" }
	'ENABLE TRIGGER egress_end_expired_leases, ENABLE TRIGGER egress_refuse_delete_in_use',
	'ENABLE ALWAYS TRIGGER egress_end_expired_leases, ENABLE ALWAYS TRIGGER egress_refuse_delete_in_use';
$dbh{eu}->do($triggers[0]);
is(acquire('eu', 'gus', 'gus'), '', "eu: without the page's triggers");
at_centre(q{DELETE FROM egress_credential WHERE name = 'of gus'});
arrives('a credential goes under its lease');
is(release('eu', 'gus'), '55000', 'eu: which cannot end');
$dbh{eu}->do($_) for q{DELETE FROM egress_lease WHERE session_id = 'gus'}, $triggers[1];
give_all_back();

# ------------------------------------------------------------------ a region's primary is lost

my $next = standby('next_eu', $node{eu});
$next->start;
$node{eu}->append_conf('postgresql.conf', q{synchronous_standby_names = '*'});
$node{eu}->reload;
ok(wait_until { value($dbh{eu}, q{SELECT sync_state = 'sync' FROM pg_stat_replication}) }, 'eu has a synchronous standby');
is(acquire('eu', 'bob', 'before'), '', 'eu: a lease');
$next->stop;
at_centre(q{INSERT INTO egress_workspace VALUES ('waits', true)});
ok(wait_until { value($dbh{eu}, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'
		AND backend_type LIKE 'logical replication%'}) },
	'what comes from the centre waits for the standby');
$dbh{eu}->disconnect;
# not kill -9 of the postmaster alone: who waits for a standby then goes on for a moment, and may confirm what it does not have
$node{eu}->stop('immediate');
$next->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
$next->start;
$next->promote;
$node{eu} = $next;
$dbh{eu} = client($next);
arrives('what the lost primary had, and its standby had not, is sent again');
is(release('eu', 'before'), '', 'eu: the lease ends at the new primary');

# ------------------------------------------------------------------------ a region's slot is lost

my ($watch) = map { $_->{sql} } grep { $_->{sql} =~ /pg_replication_slots/ } @blocks;
$dbh{eu}->do('ALTER SUBSCRIPTION egress_eu DISABLE');
is(acquire('eu', 'bob', 'bob'), '', 'eu: a lease of a region that is away');
at_centre(q{INSERT INTO egress_workspace VALUES ('missed', true)}, q{DELETE FROM egress_workspace WHERE workspace_id = 'waits'});
$node{centre}->append_conf('postgresql.conf', 'max_slot_wal_keep_size = 16MB');
$node{centre}->reload;
ok(wait_until {
	at_centre(q{SELECT pg_logical_emit_message(true, 'test', ''), pg_switch_wal()}, 'CHECKPOINT');
	run_in('centre', $watch) =~ /^egress_eu\|f\|lost\|/m;
}, "the centre: eu's slot is lost, as the page's query shows");
$node{centre}->append_conf('postgresql.conf', 'max_slot_wal_keep_size = -1');
$node{centre}->reload;
$dbh{eu}->do('ALTER SUBSCRIPTION egress_eu ENABLE');
ok(wait_until { $node{eu}->log_contains(qr/(?:get changes from|read from logical|in) replication slot "egress_eu"/) }, 'eu: cannot go on');
page('centre');
like(page('owner of eu'), qr/^bob\|/m, 'eu: who has a lease loses it');
is(acquire('eu', 'bob', 'bob'), 'NG002', 'eu: and nobody gets one');
page('owner of eu');
is_ready('eu');
arrives('what was missed');
is(acquire('eu', 'bob', 'bob'), '', 'eu: acquires again');
give_all_back();

# -------------------------------------------------------------------------- the centre is lost

my $next_centre = standby('next_centre', $node{centre});
$next_centre->start;
$node{centre}->wait_for_catchup($next_centre);
$dbh{centre}->disconnect;
$node{centre}->stop;
for my $region (qw(eu us))
{
	is(acquire($region, 'bob', 'alone'), '', "$region goes on without the centre");
	is(release($region, 'alone'), '', "$region: the lease ends");
	isnt(value($dbh{$region}, q{SELECT count(*) FROM egress_available_gateways('bob')}), 0, "$region has a menu");
}
$next_centre->promote;
$node{centre} = $next_centre;
$dbh{centre} = client($next_centre);
my $empty_publications = $blocks[0];
is(page('centre'), '', "the new centre's publications have their tables");

# as one that was restored, in a database beside it
$node{centre}->safe_psql('postgres', 'CREATE DATABASE restored_centre');
my $copy = sprintf 'pg_dump "%s" | psql -Xq -o /dev/null -v ON_ERROR_STOP=1 "%s" 2>&1', map { $node{centre}->connstr($_) } qw(postgres restored_centre);
is(`$copy`, '', 'a restore says nothing');
my ($empty, $drop) = ($empty_publications->{sql}, shift(@blocks)->{sql});
my $in_restored = sub { $node{centre}->safe_psql('restored_centre', @_) };
is($in_restored->($empty), "egress_all\negress_eu\negress_us", 'and the publications have no tables');
$in_restored->($drop);
$in_restored->($publications);
is($in_restored->($empty), '', 'made anew they have');
my $published = 'SELECT * FROM pg_publication_tables ORDER BY pubname, schemaname, tablename';
is($in_restored->($published), $node{centre}->safe_psql('postgres', $published), 'the same tables, columns and filters');
is($in_restored->(q{SELECT bool_and(has_table_privilege('regions', prrelid, 'SELECT')) FROM pg_publication_rel}), 't', 'which the regions may read');

page('region');
shift @blocks for 1, 2;
at_centre(q{UPDATE egress_gateway SET city = 'Diemen' WHERE name = 'ams-1'});
arrives('the new centre');
$dbh{us}->do(q{UPDATE egress_gateway SET city = 'Utrecht' WHERE name = 'ams-1'});
like(join("\n", differs('us')), qr/\Aegress_gateway.*\negress_gateway.*\z/, 'a row that is different is found');

$dbh{us}->do(q{UPDATE egress_gateway SET city = 'Diemen' WHERE name = 'ams-1'});
like(page('region'), qr/^t\|\d+\|egress_eu\|\d+\|0\|/, 'a subscription at work is seen');
like(page('centre'), qr/^egress_(eu|us)\|t\|reserved\|\d+\n/, 'and how far behind it is');
is(scalar @blocks, 0, 'that was all SQL of the page');

# ---------------------------------------------------------------- what the page advises against

# in a database of its own on each server
$_->safe_psql('postgres', 'CREATE DATABASE other') for values %node;
my %other = map { $_ => client($node{$_}, undef, 'other') } keys %node;
my $other = $other{centre};
my $to_other = $other->quote($node{centre}->connstr('other'));
$other->do(q{CREATE EXTENSION egress VERSION '0.9'});
$other{$_}->do('CREATE EXTENSION egress') for qw(eu us);
# refused SQL, WORDS: the centre refuses the statement, and says so
sub refused
{
	my ($sql, $words) = @_;
	isnt(sqlstate { $other->do($sql) }, '', $sql);
	return like($DBI::errstr, $words, 'is refused');
}
$other->do($_) for q{INSERT INTO egress_provider (name, provider_type) VALUES ('Lanternway', 'custom')},
	q{INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, 'ams-1')},
	q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')},
	q{INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
		VALUES (1, 'eu 1', 'everyone', true, 1)},
	q{INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (1, 1)};
my $not_identity = qr/Column used in the publication WHERE expression is not part of the replica identity/;
refused(q{CREATE PUBLICATION by_type FOR TABLE egress_credential WHERE (subject_type = 'user')}, qr/User-defined types are not allowed/);

$other->do(q{CREATE PUBLICATION by_provider FOR TABLE egress_credential WHERE (egress_provider_id = 1),
	egress_credential_gateway WHERE (egress_provider_id = 1)});
refused('UPDATE egress_credential SET enabled = true', $not_identity);
refused('DELETE FROM egress_credential_gateway', $not_identity);
$other->do('DROP PUBLICATION by_provider');

$other->do(qq{CREATE PUBLICATION egress_$_ FOR TABLE egress_provider, egress_gateway, egress_provider_mapping,
	egress_credential WHERE (name LIKE '$_%')}) for qw(eu us);
refused(q{UPDATE egress_credential SET name = 'us 1'}, $not_identity);
$other->do('ALTER TABLE egress_credential REPLICA IDENTITY FULL');
for my $region (qw(eu us))
{
	$other{$region}->do("CREATE SUBSCRIPTION other_$region CONNECTION $to_other PUBLICATION egress_$region");
	$node{$region}->wait_for_subscription_sync($node{centre}, "other_$region", 'other');
}
$other->do('ALTER EXTENSION egress UPDATE');
$other->do('UPDATE egress_provider SET bench_after = 7');
$node{centre}->wait_for_catchup("other_$_") for qw(eu us);
is(value($other{$_}, 'SELECT bench_after FROM egress_provider'), 7,
	"$_ was updated before the centre: what has come since goes there") for qw(eu us);

my $take = q{SELECT FROM egress_acquire_credential('bob', NULL, 1, 'bob')};
is(sqlstate { $other{eu}->do($take) }, '', 'a credential with a limit of 1 is used in eu');
$other->do(q{UPDATE egress_credential SET name = 'us 1'});
$node{centre}->wait_for_catchup("other_$_") for qw(eu us);
is(sqlstate { $other{us}->do($take) }, '', 'with another name it is used in us');
is(value($other{eu}, 'SELECT count(*) FROM egress_lease'), 1, 'while eu still has it');
$other{us}->do(q{SELECT egress_release_credential('bob')});

# logs WORDS: they come in the log of us
sub logs { my ($words) = @_; return wait_until { PostgreSQL::Test::Utils::slurp_file($node{us}->logfile) =~ $words } }
$other->do('TRUNCATE egress_credential CASCADE');
ok(logs(qr/cannot truncate a table referenced in a foreign key constraint/), 'a TRUNCATE that is published stops the region');
$other->do('ALTER TABLE egress_workspace ADD COLUMN note text');
$other->do('CREATE PUBLICATION later FOR TABLE egress_workspace');
$other{us}->do("CREATE SUBSCRIPTION later CONNECTION $to_other PUBLICATION later");
ok(logs(qr/relation "public.egress_workspace" is missing replicated column: "note"/), 'so does a column that only the centre has');
$other{$_->[0]}->do("DROP SUBSCRIPTION $_->[1]") for [ 'eu', 'other_eu' ], [ 'us', 'other_us' ], [ 'us', 'later' ];

$other->do('ALTER TABLE egress_credential ADD COLUMN region text');
$node{centre}->safe_psql('postgres', 'CREATE DATABASE restored');
my $restore = sprintf 'pg_dump "%s" | psql -Xq -v ON_ERROR_STOP=1 "%s" 2>&1', map { $node{centre}->connstr($_) } qw(other restored);
like(`$restore`, qr/column "region" of relation "egress_credential" does not exist/,
	'a dump with a column of somebody\'s own cannot be restored');

$_->disconnect for values %dbh, values %other;
done_testing();
