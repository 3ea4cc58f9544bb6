# update.pl -- ALTER EXTENSION egress UPDATE: an updated install is what a fresh one is, and keeps all that it held
#
# 0.9, the version before, is installed and filled (EgressWorld.pm). Then
#  - with the new library and the old tables, every function and trigger works, and so do a dump, a restore and a DROP
#    EXTENSION; tables of a version that the library does not know are refused with 55000, which says what to do;
#  - an update that fails in the middle leaves 0.9 whole;
#  - while clients go on, an update fails none of their statements;
#  - what a transaction's old snapshot saw, it still sees after the update, or it fails with 40001;
#  - after it, all that the system catalogs say is what they say of a fresh install (EgressCatalog.pm), all rows are
#    there, sessions from before go on, and the limit is exact.
# The comparison is shown to see each kind of difference.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use EgressCatalog;
use EgressTest;
use EgressWorld;
use File::Temp qw(tempdir);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

chomp(my $bindir = `@{[$ENV{PG_CONFIG} || 'pg_config']} --bindir`);
my $folder = tempdir('egress-update-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $schema = q{"The ""VPN"""};
my $owner = 'egress_update_owner';
my $app = 'egress_update_app';
my $restored = 'egress_update_restored';

sub version { return one($_[0], q{SELECT extversion FROM pg_extension WHERE extname = 'egress'}) }

# a connection that finds the extension
sub open_session
{
	my ($test, @database) = @_;
	my $dbh = $test->connect(@database);
	$dbh->do("SET search_path = $schema, public");
	return $dbh;
}

# the extension in a version, in a schema whose name needs quotes, as a superuser other than the first: their names are
# then in the catalogs
sub install
{
	my ($test, $version) = @_;
	my $dbh = open_session($test);
	$dbh->do('DROP EXTENSION egress');
	$dbh->do("CREATE SCHEMA IF NOT EXISTS $schema");
	$dbh->do("SET ROLE $owner");
	$dbh->do("CREATE EXTENSION egress SCHEMA $schema" . (defined $version ? " VERSION '$version'" : ''));
	$dbh->do('RESET ROLE');
	return $dbh;
}

sub clean_up
{
	my ($test) = @_;
	my $dbh = $test->connect('postgres');
	$dbh->do("DROP DATABASE IF EXISTS $restored WITH (FORCE)");
	$dbh->disconnect;
}

# what no egress_grant_access() gives, on functions whose arguments and results are other ones in another version
sub grant_more
{
	my ($dbh) = @_;
	my $functions = $dbh->selectcol_arrayref(<<'SQL');
SELECT oid::regprocedure FROM pg_proc WHERE proname IN ('egress_sync_gateways', 'egress_acquire_credential')
  AND oidvectortypes(proargtypes) !~ 'egress_id' -- which the version before has not
ORDER BY 1
SQL
	$dbh->do("GRANT EXECUTE ON FUNCTION $_ TO $app WITH GRANT OPTION") for @$functions;
	return;
}

# roles outlive databases
sub drop_roles
{
	my $dbh = DBI->connect('dbi:Pg:dbname=postgres', undef, undef, { RaiseError => 1, PrintWarn => 0 });
	$dbh->do("DROP ROLE IF EXISTS $app, $owner");
	$dbh->disconnect;
	return;
}

our $test = EgressTest->new('update');
our $fresh_test = EgressTest->new('update_fresh');
clean_up($test);
drop_roles();

my $dbh = $test->connect;
statements($dbh, <<"SQL");
CREATE ROLE $owner SUPERUSER;;
CREATE ROLE $app;;
SQL
$dbh->disconnect;

my $fresh_dbh = install($fresh_test);
is(version($fresh_dbh), '1.0', 'a fresh install');
grant($fresh_dbh, $app);
grant_more($fresh_dbh);
my @fresh = extension_catalog($fresh_dbh, 'egress');

# ------------------------------------------------------------- 0.9, and what an installation in use has

$dbh = install($test, '0.9');
is(version($dbh), '0.9', 'the version before');
my @changed = catalog_differences(\@fresh, [ extension_catalog($dbh, 'egress') ]);
is(scalar(grep { /^only the first: pg_index .*egress_gateway_menu.*INCLUDE/ } @changed), 1,
	'which the comparison tells from a fresh one');

# as if another version were installed; a function that changes tells all sessions, as an update does
sub take_for
{
	my ($dbh, $version) = @_;
	$dbh->do("UPDATE pg_extension SET extversion = '$version' WHERE extname = 'egress'");
	$dbh->do('ALTER FUNCTION egress_expire_leases() COST ' . ($version eq '1.0' || $version eq '0.9' ? 1 : 7));
	return;
}

fill($dbh, $app);
is(one($dbh, q{SELECT egress_credential_id || CASE WHEN slot > 0 THEN '/slot' ELSE '' END FROM egress_lease ORDER BY 1}),
	'1/slot 1/slot 2/slot 3', 'leases with a slot and without');
is(one($dbh, 'SELECT release_reason FROM egress_lease_history ORDER BY 1'), 'released session_end', 'and history');
my $contents = contents($dbh);
is(scalar(grep { $_ ne '' } values %$contents), 16, 'every table and sequence has something');
$dbh->disconnect;

# ---------------------------------------------- the new library, before ALTER EXTENSION egress UPDATE was run

$dbh = open_session($test);

# what needs no table works in every version
my %tableless = (
	egress_secret_in => q{SELECT 'x'::egress_secret},
	egress_secret_out => q{SELECT password::text FROM egress_credential},
	egress_secret_send => q{SELECT egress_secret_send('x'::egress_secret)},
	egress_secret_state => 'SELECT count(*) FROM egress_secret_usage',
	egress_reveal_secret => q{SELECT egress_reveal_secret('x')},
	egress_wireguard_public_key => 'SELECT egress_wireguard_public_key(egress_generate_wireguard_key())',
	egress_generate_wireguard_key => 'SELECT egress_generate_wireguard_key()');
# the others: what they give, and before it, what makes them give that; each is undone
my $expire = q{UPDATE egress_lease_expiry SET expires_at = now() - interval '1 minute'};
my %calls = (
	egress_available_gateways => [ 'par-1/3 par-2/3 ams-1/3 osl-1/0',
		q{SELECT gateway_name || '/' || available_connections FROM egress_available_gateways('ann')} ],
	egress_acquire_credential => [ 'pool/ams-1/swordfish/Acme',
		q{SELECT concat_ws('/', credential_name, gateway_name, password, provider_name)
			FROM egress_acquire_credential('ann', NULL, 1, 'x', '1 hour')} ],
	egress_release_credential => [ '1', q{SELECT egress_release_credential('3')} ],
	egress_renew_lease => [ '1', q{SELECT egress_renew_lease('with a ttl', '1 day') > now() + '23 hours'} ],
	egress_expire_leases => [ '1', $expire, 'SELECT egress_expire_leases()' ],
	egress_gateway_required => [ '1', q{SELECT egress_gateway_required('kiosk')} ],
	egress_attach_sessions => [ '', 'CREATE TABLE public.other (id text)',
		q{INSERT INTO public.other VALUES ('unlimited')},
		q{SELECT egress_attach_sessions('public.other', 'id')}, 'DELETE FROM public.other',
		q{SELECT session_id FROM egress_lease WHERE session_id = 'unlimited'} ],
	egress_detach_sessions => [ '4', q{SELECT egress_detach_sessions('public.session')}, 'DELETE FROM public.session',
		'SELECT count(*) FROM egress_lease' ],
	egress_attach_group_members => [ 'new', q{SELECT egress_detach_group_members('public.membership')},
		q{UPDATE public.membership SET team = 'new'},
		q{SELECT egress_attach_group_members('public.membership', 'member', 'team')},
		'SELECT DISTINCT group_id FROM egress_group_member' ],
	egress_detach_group_members => [ '0', q{SELECT egress_detach_group_members('public.membership')},
		'SELECT count(*) FROM egress_group_member' ],
	egress_explain_access => [ 'available available available at_limit not_mapped not_mapped',
		q{SELECT verdict FROM egress_explain_access('ann', NULL)} ],
	egress_sync_gateways => [ 'unchanged withdrawn',
		q{SELECT action FROM egress_sync_gateways(3, '[{"name": "c-1"}]') ORDER BY 1} ],
	egress_prune_history => [ '1/1', q{SELECT egress_prune_history('0', 1) || '/' || egress_prune_history('0')} ],
	egress_connections_at => [ '2 3 4 unlimited with a ttl',
		q{SELECT connected FROM egress_lease_history h,
			egress_connections_at(h.released_at - interval '1 microsecond') c (id, connected)
			WHERE h.session_id = '2' ORDER BY 1} ],
	egress_grant_access => [ '1', "SELECT egress_grant_access('$app', 'admin')",
		"SELECT has_table_privilege('$app', 'egress_lease', 'SELECT')" ],
	egress_rotate_secrets => [ '55000 there is no key to seal secrets under', 'SELECT egress_rotate_secrets()' ],
	egress_release_on_session_end => [ 'unlimited with a ttl', 'DELETE FROM public.session',
		'SELECT session_id FROM egress_lease ORDER BY 1' ],
	egress_follow_group_members => [ 'bob', q{DELETE FROM public.membership WHERE member = 'ann'},
		'SELECT user_id FROM egress_group_member' ],
	egress_fill_provider_type => [ 'custom',
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (9, 3, 'x')
			RETURNING provider_type} ],
	egress_fill_selection_provider => [ '1',
		'INSERT INTO egress_credential_gateway VALUES (1, 1) RETURNING egress_provider_id' ],
	egress_refuse_move => [ '23514', 'UPDATE egress_gateway SET egress_provider_id = 3' ],
	egress_refuse_misfit => [ 'NG007', q{UPDATE egress_credential SET private_key = 'x' WHERE egress_credential_id = 2} ],
	egress_end_expired_leases => [ 'expired', $expire, 'DELETE FROM egress_gateway WHERE egress_gateway_id = 4',
		q{SELECT release_reason FROM egress_lease_history WHERE session_id = 'with a ttl'} ],
	egress_refuse_delete_in_use => [ '23503', 'DELETE FROM egress_gateway' ]);

# a test that all rows are as they were; sequences do not go back. Returns what is there
sub undone
{
	my ($dbh, $before, $what) = @_;
	my $now = contents($dbh);
	my @tables = grep { !/_seq$/ } keys %$before;
	is_deeply({ map { $_ => $now->{$_} } @tables }, { map { $_ => $before->{$_} } @tables }, $what);
	return $now;
}

# what there was, with what a new version has more of it: columns at the end of rows
sub updated
{
	my %contents = %{ $_[0] };
	$contents{egress_credential} =~ s/,(openvpn|wireguard|custom)\)/",$1,,,,," . ($1 eq 'wireguard' ? 't' : 'f') . ',)'/ge;
	$contents{egress_provider} =~ s/\)/,first,3,00:01:00)/g;
	$contents{egress_lease} =~ s{\)}{,f,)}g;
	# and tables that are empty yet
	@contents{ $_, "${_}_${_}_id_seq" } = ('', 1) for qw(egress_report egress_failure egress_user_limit);
	return \%contents;
}

# what the last of some statements gives, or the SQLSTATE of the first that fails; 55000 has many reasons
sub outcome
{
	my ($dbh, @statements) = @_;
	my $last = pop @statements;
	$dbh->do('BEGIN');
	my $outcome = eval { $dbh->do($_) for @statements; one($dbh, $last) };
	$outcome //= $DBI::state eq '55000' ? "55000 $DBI::errstr" =~ s/ERROR:  (.*?)\n.*/$1/sr : $DBI::state;
	$dbh->do('ROLLBACK');
	return $outcome;
}

for my $function (@{ $dbh->selectcol_arrayref(<<'SQL') })
SELECT DISTINCT p.proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE d.deptype = 'e' AND e.extname = 'egress'
SQL
{
	if ($function eq 'egress_secret_recv')
	{
		next;    # a COPY in binary, below
	}
	elsif (my $works = $tableless{$function})
	{
		is(sqlstate { $dbh->do($works) }, '', "not updated yet: $function works");
	}
	else
	{
		my ($expected, @statements) = @{ $calls{$function} };
		is(outcome($dbh, @statements), $expected, "not updated yet: $function works");
	}
}
is(outcome($dbh, 'ALTER FUNCTION egress_connections_at(timestamptz, bigint) RENAME TO not_yet',
	"SELECT egress_grant_access('$app', 'admin')"), '', 'not updated yet: what is not there is not granted');
$contents = undone($dbh, $contents, '(and all of that was undone)');

for my $version ('0.8', '1.1')
{
	take_for($dbh, $version);
	for my $function (sort keys %calls)
	{
		like(outcome($dbh, $calls{$function}[-1]), qr/^55000 .* is installed in version/, "$version: $function says so")
		  if $calls{$function}[-1] =~ /\b$function\b/;
	}
	for my $statement ('DELETE FROM public.session', 'DELETE FROM public.membership', 'DELETE FROM egress_provider')
	{
		is(sqlstate { $dbh->do($statement) }, '55000', "$version: so does $statement");
	}
	eval { $dbh->do('SELECT egress_expire_leases()') };
	like($@, qr/installed in version \Q$version\E, and its library is of version 1\.0\n.*Run ALTER EXTENSION egress UPDATE\./,
		'and what to do');
}
take_for($dbh, '0.9');

chmod 0777, $folder;
$dbh->do("COPY egress_credential TO '$folder/binary' (FORMAT binary)");
$dbh->do('CREATE TEMP TABLE copy (LIKE egress_credential)');
$dbh->do("COPY copy FROM '$folder/binary' (FORMAT binary)");
is(one($dbh, 'SELECT count(*) FROM copy'), 3, 'not updated yet: secrets go out and in, in binary');
$dbh->do('DROP TABLE copy');

# a dump is restored as what CREATE EXTENSION installs then
my ($database) = $dbh->selectrow_array('SELECT current_database()');
is(system("$bindir/pg_dump", '--format=custom', "--file=$folder/dump", $database), 0, 'not updated yet: dumped');
$dbh->do("CREATE DATABASE $restored TEMPLATE template0");
# but for the privileges on functions that have other arguments now
my $complaints = `'$bindir/pg_restore' -d $restored '$folder/dump' 2>&1`;
is_deeply([ map { s/^.*error: //r } grep { /error: (?!errors ignored)/ } split /\n/, $complaints ],
	[ map { qq{could not execute query: ERROR:  function The "VPN".$_ does not exist} } 'egress_attach_sessions(regclass, name, text)' ],
	'and restored');
my $restored_dbh = open_session($test, $restored);
grant($restored_dbh, $app);
is(version($restored_dbh), '1.0', 'as the new version');
is_deeply(contents($restored_dbh), updated($contents), 'with all rows');
$restored_dbh->do("SET ROLE $app");
is(one($restored_dbh, q{SELECT gateway_name FROM egress_available_gateways('ann')}), 'par-1 par-2 ams-1 osl-1',
	'and all access');
$restored_dbh->disconnect;

# sessions that are there before, and after
my $release = open_session($test);
statements($release, "BEGIN;;\nSELECT 1;;\n");
my $witness = open_session($test);
my $menu = $witness->prepare(q{SELECT string_agg(gateway_name || coalesce('/' || available_connections, ''), ' ')
	FROM egress_available_gateways('ann')}, { pg_prepare_now => 1 });
$menu->execute;
is($menu->fetchrow_array, 'par-1/3 par-2/3 ams-1/3 osl-1/0', 'a prepared statement');
$menu->finish;
my $snapshot = open_session($test);
statements($snapshot, "BEGIN ISOLATION LEVEL REPEATABLE READ;;\nSELECT 1;;\n");

# ------------------------------------------------------------- an update that fails, and one that does not

grant_more($dbh);
my @before = extension_catalog($dbh, 'egress');

# what PostgreSQL keeps in parsed form cannot follow a result that gets a name: the update says so, rather than leave it broken
statements($dbh, <<'SQL');
CREATE VIEW public.menu AS SELECT gateway_name, available_connections FROM egress_available_gateways('ann') ORDER BY 1;;
CREATE FUNCTION public.acquire(user_id text) RETURNS SETOF text BEGIN ATOMIC
    SELECT c.gateway_name FROM egress_acquire_credential(user_id, NULL, 1, 'wrapped') c;
END;;
CREATE FUNCTION public.sync(list jsonb) RETURNS SETOF text LANGUAGE sql AS
    'SELECT action FROM egress_sync_gateways(3, list)';;
CREATE FUNCTION public.acquire_by_name(user_id text, OUT gateway text, OUT whole text) LANGUAGE plpgsql AS $$
DECLARE
    credential record;
BEGIN
    SELECT * INTO credential FROM egress_acquire_credential(user_id, NULL, 1, 'wrapped');
    gateway := credential.gateway_name;
    whole := credential;
END $$;;
SQL
is(sqlstate { $dbh->do('ALTER EXTENSION egress UPDATE') }, '2BP01', 'an update that a view keeps from naming a result');
like($@, qr/egress_available_gateways\(text,text\) is used by view \S*menu\n.*\nHINT:.*create them again/, 'says which view');
$dbh->do('DROP VIEW public.menu');
is(sqlstate { $dbh->do('ALTER EXTENSION egress UPDATE') }, '2BP01', 'and so does a function');
like($@, qr/is used by function \S*acquire\(text\)\n/, 'and says which');
$dbh->do('DROP FUNCTION public.acquire');

my $blocker = open_session($test);
for my $held ('LOCK egress_gateway IN ACCESS SHARE MODE', q{SELECT egress_gateway_required('nowhere')})
{
	statements($blocker, "BEGIN;;\n$held;;\n");
	is(sqlstate { statements($dbh, "SET lock_timeout = '100ms';;\nALTER EXTENSION egress UPDATE;;\n") }, '55P03',
		"an update that does not get a lock fails: $held");
	$blocker->do('ROLLBACK');
}
statements($dbh, <<'SQL');
RESET lock_timeout;;
CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = 'ZZ001'; END$$;;
CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.refuse();;
SQL
is(sqlstate { $dbh->do('ALTER EXTENSION egress UPDATE') }, 'ZZ001', 'an update that fails in the middle');
statements($dbh, "DROP EVENT TRIGGER refuse;;\nDROP FUNCTION public.refuse;;\n");
is(join("\n", catalog_differences(\@before, [ extension_catalog($dbh, 'egress') ])), '', 'leaves 0.9 as it was');
is_deeply(contents($dbh), $contents, 'and its rows');

# two sessions with one WireGuard key at one gateway: their leases stay, and the update says of how many credentials that is so
{
	statements($dbh, <<'SQL');
BEGIN;;
UPDATE egress_credential SET active_connection_limit = 2 WHERE egress_credential_id = 2;;
SELECT egress_acquire_credential('ann', NULL, 4, 'the same key');;
SQL
	my @said;
	local $SIG{__WARN__} = sub { push @said, @_ };
	local $dbh->{PrintWarn} = 1;
	$dbh->do('ALTER EXTENSION egress UPDATE');
	is(scalar(grep { /^INFO:  credentials of WireGuard providers that may be at each gateway once at most from now on: 1\n/ } @said), 1,
		'the update says for how many keys it turns once_per_gateway on');
	like("@said", qr/^DETAIL:  With more than one lease at a gateway now: 1\..*^HINT:  .*SET once_per_gateway = false/ms,
		'how many are at a gateway several times, and what turns it off');
	is(one($dbh, 'SELECT count(*) FROM egress_lease WHERE egress_credential_id = 2'), '2', 'these leases stay');
	$dbh->do('UPDATE egress_credential SET active_connection_limit = 3 WHERE egress_credential_id = 2');
	is(sqlstate { $dbh->do(q{SELECT egress_acquire_credential('ann', NULL, 4, 'one more')}) }, 'NG004', 'and no other is added');
	$dbh->do('ROLLBACK');
}

# of a row that was updated in place, the new index has the new version only, but that open transaction sees the old one
$dbh->do('UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 2');
$contents = contents($dbh);
# Clients that go on all the while, each in a session of its own. One that fails, or that has no answer at all before the
# update or after it, ends with an error. A read that was under way when the update was made may have to be tried again.
my @clients;
for my $number (1 .. 3)
{
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		my $ok = eval { work($number); 1 };
		diag "client $number: $@" if !$ok;
		POSIX::_exit($ok ? 0 : 1);
	}
	push @clients, $pid;
}

sub work
{
	my ($number) = @_;
	my $client = open_session($test);
	$client->do("SET application_name = 'client $number'");
	my %answers;
	while (!-e "$folder/stop")
	{
		my $version = version($client);
		my $session = 1000 + $number;
		$client->do('INSERT INTO public.session VALUES (?)', undef, $session);
		again($client, q{SELECT count(*) FROM egress_available_gateways('ann')}) eq '3' or die 'not the menu';
		one($client, "SELECT gateway_name FROM egress_acquire_credential('ann', NULL, 3, '$session', '1 hour')") eq 'par-2'
		  or die 'nothing acquired';
		one($client, "SELECT egress_renew_lease('$session', '2 hours') > now()") eq '1' or die 'not renewed';
		again($client, q{SELECT count(*) FROM egress_explain_access('ann', NULL)}) eq '6' or die 'not explained';
		$client->do('DELETE FROM public.session WHERE id = ?', undef, $session);
		one($client, "SELECT egress_release_credential('$session')") eq '0' or die 'the trigger did not release it';
		$answers{$version}++;
		$client->do("SET application_name = '$version'");
	}
	die 'no answer' if !$answers{'0.9'} || !$answers{'1.0'};
}

sub again
{
	my ($client, $query) = @_;
	my $answer;
	my $state = sqlstate { $answer = one($client, $query) };
	return $state eq '40001' ? one($client, $query) : $state || $answer;
}

# every client has had its answers in a version
sub answered
{
	my ($version) = @_;
	return wait_until {
		one($dbh, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '$version'") eq scalar @clients
	};
}

ok(answered('0.9'), 'clients are at work');
$dbh->do("SET ROLE $owner");
is(sqlstate { $dbh->do('ALTER EXTENSION egress UPDATE') }, '', 'the update');
$dbh->do('RESET ROLE');
ok(answered('1.0'), 'and go on in the same sessions');
{
	open my $stop, '>', "$folder/stop" or die "stop: $!";
	is(join(' ', map { waitpid $_, 0; $? } @clients), '0 0 0', 'none of their statements has failed');
	$dbh->do(q{DELETE FROM egress_lease_history WHERE session_id LIKE '10__'});
}
is(version($dbh), '1.0', 'updated');
is(sqlstate { $witness->do("SET ROLE $app"); $witness->do("SELECT * FROM $_") for qw(egress_credential_usage egress_gateway_usage) },
	'', 'who could read the views still can');
$witness->do('RESET ROLE');
# what is new in a version is granted by hand
grant($dbh, $app);
is(join("\n", catalog_differences(\@fresh, [ extension_catalog($dbh, 'egress') ])), '',
	'after the update, the catalogs say of the extension what they say of a fresh install');
$contents = undone($dbh, updated($contents), 'and all rows are there');
$release->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'x')});
$release->do('ROLLBACK');
pass('a transaction from before that has called nothing goes on');

is(one($dbh, q{SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'egress_gateway_menu'::regclass}), '1',
	'the index must not be read for a snapshot from before it');
$snapshot->do('SAVEPOINT before');
is(sqlstate { $snapshot->do($calls{egress_available_gateways}[-1]) }, '40001',
	'and is not: a transaction from before has to begin again');
$snapshot->do('ROLLBACK TO SAVEPOINT before');
is(one($snapshot, 'SELECT enabled FROM egress_gateway WHERE egress_gateway_id = 2'), '1', '(it sees the old row)');
$snapshot->do('ROLLBACK');
is(one($snapshot, q{SELECT gateway_name FROM egress_available_gateways('ann')}), 'par-2 ams-1 osl-1',
	'and then sees the new one');

$dbh->do('UPDATE egress_gateway SET enabled = true WHERE egress_gateway_id = 2');
$menu->execute;
is($menu->fetchrow_array, 'par-1/3 par-2/3 ams-1/3 osl-1/0', 'a session and a statement from before the update go on');
$menu->finish;

is(one($dbh, q{SELECT public.sync('[{"name": "c-1"}, {"name": "c-2", "config": "anything"}]')}), 'unchanged unchanged',
	'a function from before that syncs, without max_withdrawn, goes on');
like(one($dbh, q{SELECT concat_ws(' ', gateway, whole) FROM public.acquire_by_name('ann')}),
	qr/^ams-1 \(1,pool,acme-7,swordfish,,,ams-1,NL,Amsterdam,1,Acme,openvpn,"remote ams-1/, 'and one in PL/pgSQL');
is(one($dbh, q{SELECT (egress_acquire_credential('ann', NULL, 1, 'wrapped')).egress_provider_id}), '1',
	'a column of the row that an acquire returns');
statements($dbh, "SELECT egress_release_credential('wrapped');;\nDELETE FROM egress_lease_history WHERE session_id = 'wrapped';;\n");

# ------------------------------------------------------------- the updated install at work

$witness->do("SET ROLE $app");
at_work($witness, 'updated');

# a later version, of which a session has not loaded the library
take_for($dbh, '7.0');
is(sqlstate { $menu->execute }, '55000', 'a session from before an update to a later version does not guess');
take_for($dbh, '1.0');
is(sqlstate { $menu->execute }, '', '(and this was the reason)');
$menu->finish;

# ------------------------------------------------------------- the comparison sees differences

# a change of each kind, and in its last line what the catalogs then have more (+) or less (-); all are made in one
# transaction, each to another object or another column of it
my @changes = map { [ /^(.*?)\n(.*)\t([+-]) (.*)/s ] } split /\n(?=\S)/, <<'CHANGES';
a column
	ALTER TABLE egress_workspace ADD COLUMN more text
	+ pg_attribute .*egress_workspace attname=more
a dropped column
	ALTER TABLE egress_lease_history DROP COLUMN city
	+ pg_attribute .*egress_lease_history.*attisdropped=true
a type
	ALTER TABLE egress_lease_history ALTER COLUMN country TYPE varchar
	+ pg_attribute .*attname=country atttypid=character varying
a default
	ALTER TABLE egress_provider ALTER COLUMN managed SET DEFAULT true
	+ pg_attrdef .*definition=true
an identity
	ALTER TABLE egress_provider ALTER COLUMN egress_provider_id SET GENERATED ALWAYS
	+ pg_attribute .*attidentity=a
NOT NULL
	ALTER TABLE egress_lease ALTER COLUMN acquired_at DROP NOT NULL
	+ pg_attribute .*attname=acquired_at .*attnotnull=false
a storage
	ALTER TABLE egress_gateway ALTER COLUMN config SET STORAGE external
	+ pg_attribute .*attname=config .*attstorage=e
a statistics target
	ALTER TABLE egress_lease ALTER COLUMN user_id SET STATISTICS 7
	+ pg_attribute .*attstattarget=7
a column option
	ALTER TABLE egress_lease ALTER COLUMN user_id SET (n_distinct = 7)
	+ pg_attribute .*attoptions=.n_distinct=7
a check
	ALTER TABLE egress_lease DROP CONSTRAINT egress_lease_slot_check,
	    ADD CONSTRAINT egress_lease_slot_check CHECK (slot <> 7)
	+ pg_constraint .*CHECK \(\(slot <> 7\)\)
a foreign key
	ALTER TABLE egress_lease ALTER CONSTRAINT egress_lease_egress_gateway_id_fkey DEFERRABLE
	+ pg_constraint .*egress_lease_egress_gateway_id_fkey .*condeferrable=true
an index
	DROP INDEX egress_lease_gateway
	- pg_index .*egress_lease_gateway
a definition of an index
	DROP INDEX egress_gateway_menu;
	CREATE INDEX egress_gateway_menu ON egress_gateway
	    (egress_provider_id, country, city, name, egress_gateway_id)
	+ pg_index .*egress_gateway_menu .*definition=[^W]*$
an option of an index
	ALTER INDEX egress_lease_expiry_credential SET (fillfactor = 70)
	+ pg_class relname=egress_lease_expiry_credential .*fillfactor=70
an option of a table
	ALTER TABLE egress_lease_expiry RESET (fillfactor)
	+ pg_class relname=egress_lease_expiry (?!.*fillfactor)
an option of its TOAST table
	ALTER TABLE egress_credential SET (toast.vacuum_truncate = off)
	+ pg_class relname=pg_toast_\S+ .*egress_credential.*vacuum_truncate
row security
	ALTER TABLE egress_group_member ENABLE ROW LEVEL SECURITY
	+ pg_class relname=egress_group_member .*relrowsecurity=true
a policy
	CREATE POLICY p ON egress_group_member USING (true)
	+ pg_policy polname=p
a replica identity
	ALTER TABLE egress_workspace REPLICA IDENTITY FULL
	+ pg_class relname=egress_workspace .*relreplident=f
a sequence
	ALTER SEQUENCE egress_gateway_egress_gateway_id_seq CACHE 7
	+ pg_sequence .*seqcache=7
a statistics object
	CREATE STATISTICS s ON country, city FROM egress_gateway
	+ pg_statistic_ext .*stxname=s
a view
	CREATE OR REPLACE VIEW egress_secret_usage AS SELECT ''::text AS secret, 1::bigint AS active_key,
	    1::bigint AS older_key, 1::bigint AS missing_key, 1::bigint AS not_sealed
	+ pg_rewrite .*egress_secret_usage
an option of a view
	ALTER VIEW egress_connection SET (security_barrier)
	+ pg_class relname=egress_connection .*security_barrier
a rule
	CREATE RULE r AS ON INSERT TO egress_connection DO INSTEAD NOTHING
	+ pg_rewrite rulename=r .
a row type
	ALTER TYPE egress_access_explanation RENAME ATTRIBUTE detail TO more
	+ pg_attribute attrelid=\S+ ?\S*egress_access_explanation attname=more
a base type
	ALTER TYPE egress_secret SET (STORAGE = external)
	+ pg_type typname=egress_secret .*typstorage=e
a label
	ALTER TYPE egress_provider_type ADD VALUE 'zzz'
	+ pg_enum .*enumlabel=zzz
the order of labels
	UPDATE pg_enum SET enumsortorder = 9 WHERE enumlabel = 'user'
	+ pg_enum .*enumsortorder=4 enumlabel=user
a cast
	UPDATE pg_cast SET castcontext = 'i'
	WHERE castsource = 'text'::regtype AND casttarget = 'egress_secret'::regtype
	+ pg_cast .*castcontext=i
an operator
	CREATE FUNCTION same(egress_secret, egress_secret) RETURNS boolean LANGUAGE sql AS 'SELECT true';
	CREATE OPERATOR === (LEFTARG = egress_secret, RIGHTARG = egress_secret, FUNCTION = same);
	ALTER EXTENSION egress ADD OPERATOR === (egress_secret, egress_secret)
	+ pg_operator oprname====
arguments
	CREATE OR REPLACE FUNCTION egress_gateway_required(workspace_id text DEFAULT NULL) RETURNS boolean
	    AS '$libdir/egress' LANGUAGE C STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	+ pg_proc proname=egress_gateway_required .*definition=.*DEFAULT
volatility
	ALTER FUNCTION egress_available_gateways(text, text) VOLATILE
	+ pg_proc proname=egress_available_gateways .*provolatile=v
parallel
	ALTER FUNCTION egress_explain_access(text, text, bigint) PARALLEL UNSAFE
	+ pg_proc proname=egress_explain_access .*proparallel=u
strictness
	ALTER FUNCTION egress_secret_in(cstring) CALLED ON NULL INPUT
	+ pg_proc proname=egress_secret_in .*proisstrict=false
security
	ALTER FUNCTION egress_release_credential(text) SECURITY INVOKER
	+ pg_proc proname=egress_release_credential .*prosecdef=false
a setting
	ALTER FUNCTION egress_renew_lease(text, interval) RESET search_path
	+ pg_proc proname=egress_renew_lease (?!.*proconfig)
cost and rows
	ALTER FUNCTION egress_sync_gateways(bigint, jsonb, float8, boolean, jsonb, boolean) COST 3 ROWS 4
	+ pg_proc proname=egress_sync_gateways .*procost=3 prorows=4
a symbol of the library
	UPDATE pg_proc SET prosrc = 'egress_prune_history' WHERE prosrc = 'egress_prune_history_batch'
	+ pg_proc proname=egress_prune_history .*max_rows.*prosrc=egress_prune_history .
a trigger's state
	ALTER TABLE egress_gateway DISABLE TRIGGER egress_refuse_misfit
	+ pg_trigger .*egress_gateway tgname=egress_refuse_misfit .*tgenabled=D
a foreign key's trigger's state
	ALTER TABLE egress_lease DISABLE TRIGGER ALL
	+ pg_trigger .*egress_lease tgname=RI_\S+ .*tgenabled=D
a trigger
	DROP TRIGGER egress_refuse_delete_in_use ON egress_credential
	- pg_trigger .*egress_credential tgname=egress_refuse_delete_in_use
a trigger of another
	CREATE TRIGGER t BEFORE INSERT ON egress_workspace
	    EXECUTE FUNCTION suppress_redundant_updates_trigger()
	+ pg_trigger .*tgname=t .
a comment on a table
	COMMENT ON TABLE egress_lease IS 'other'
	+ pg_description objoid=\S+ ?\S*egress_lease .*objsubid=0 description=other
a comment on a column
	COMMENT ON COLUMN egress_lease.slot IS 'other'
	+ pg_description objoid=\S+ ?\S*egress_lease .*objsubid=7 description=other
a comment on a function
	COMMENT ON FUNCTION egress_expire_leases() IS 'other'
	+ pg_description objoid=\S+ ?\S*egress_expire_leases\(\) .*description=other
a comment on a type
	COMMENT ON TYPE egress_secret IS NULL
	- pg_description objoid=\S+ ?\S*egress_secret .
a comment on a cast
	COMMENT ON CAST (varchar AS egress_secret) IS NULL
	- pg_description objoid=\(character varying AS
a comment on the extension
	COMMENT ON EXTENSION egress IS 'other'
	+ pg_description objoid=egress .*description=other
a privilege on a table
	GRANT SELECT ON egress_lease_expiry TO PUBLIC
	+ pg_class relname=egress_lease_expiry .*relacl=\S*[{,]=r
a privilege on a column
	GRANT SELECT (session_id) ON egress_lease_expiry TO PUBLIC
	+ pg_attribute .*egress_lease_expiry attname=session_id .*attacl=
a privilege on a sequence
	GRANT USAGE ON SEQUENCE egress_provider_egress_provider_id_seq TO PUBLIC
	+ pg_class relname=egress_provider_egress_provider_id_seq .*relacl=\S*[{,]=U
a privilege on a function
	GRANT EXECUTE ON FUNCTION egress_rotate_secrets() TO PUBLIC
	+ pg_proc proname=egress_rotate_secrets .*proacl=\S*[{,]=X
a privilege on a type
	GRANT USAGE ON TYPE egress_subject_type TO PUBLIC
	+ pg_type typname=egress_subject_type .*typacl=\S*[{,]=U
an initial privilege
	DELETE FROM pg_init_privs WHERE objoid = 'egress_expire_leases()'::regprocedure
	- pg_init_privs objoid=\S+ ?\S*egress_expire_leases\(\)
an owner
	ALTER TABLE egress_workspace OWNER TO egress_update_app
	+ pg_class relname=egress_workspace .*relowner=egress_update_app
a dependency on a role
	+ pg_shdepend .*egress_workspace .*refobjid=egress_update_app .*deptype=o
a member less
	ALTER EXTENSION egress DROP VIEW egress_gateway_usage
	- pg_depend .*egress_gateway_usage .*refobjid=egress .*deptype=e
a member more
	CREATE TABLE more (id int);
	ALTER EXTENSION egress ADD TABLE more
	+ pg_class relname=more
a kind of dependency
	UPDATE pg_depend SET deptype = 'n' WHERE deptype = 'a' AND objid = 'egress_lease_history_ended'::regclass
	- pg_depend .*egress_lease_history_ended.*deptype=a
what is dumped
	UPDATE pg_extension SET extcondition[1] = 'WHERE true' WHERE extname = 'egress'
	+ pg_extension .*extcondition=.*WHERE true
tables that are dumped
	UPDATE pg_extension SET extconfig = extconfig[2:] WHERE extname = 'egress'
	+ pg_extension .*extconfig=\S+ ?\S*egress_provider_egress_provider_id_seq
relocatable
	UPDATE pg_extension SET extrelocatable = true WHERE extname = 'egress'
	+ pg_extension .*extrelocatable=true
the version
	UPDATE pg_extension SET extversion = '7' WHERE extname = 'egress'
	+ pg_extension .*extversion=7
CHANGES
$dbh->do('BEGIN');
my @unchanged = extension_catalog($dbh, 'egress');
$dbh->do($_->[1]) for @changes;
my @seen = catalog_differences(\@unchanged, [ extension_catalog($dbh, 'egress') ]);
$dbh->do('ROLLBACK');
for my $change (@changes)
{
	my ($what, undef, $sign, $pattern) = @$change;
	chomp $pattern;
	my $side = $sign eq '+' ? 'second' : 'first';
	ok(scalar(grep { /^only the $side: $pattern/ } @seen), "the comparison sees $what");
}

# ------------------------------------------------------------- 0.9 at work, and it can be dropped

$fresh_dbh->disconnect;
$fresh_dbh = install($fresh_test, '0.9');
fill($fresh_dbh, $app);
$fresh_dbh->do("SET ROLE $app");
at_work($fresh_dbh, 'not updated');
statements($fresh_dbh, "DROP TABLE public.session;;\nDROP TABLE public.membership;;\n");
is(sqlstate { $fresh_dbh->do('DROP EXTENSION egress') }, '', 'an install that was not updated can be dropped');
is(one($fresh_dbh, "SELECT count(*) FROM pg_class WHERE relnamespace = '$schema'::regnamespace"), '0',
	'and leaves nothing');

# ------------------------------------------------------------- configs that only 0.9 let in

$fresh_dbh->do('RESET ROLE');
$fresh_dbh->do("CREATE EXTENSION egress SCHEMA $schema VERSION '0.9'");
statements($fresh_dbh, <<'SQL');
INSERT INTO egress_provider (name, provider_type) VALUES ('o', 'openvpn'), ('w', 'wireguard');;
ALTER TABLE egress_gateway DISABLE TRIGGER egress_refuse_misfit;;
INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES
    (1, 'header', E'client\nremote a\nhttp-proxy 127.0.0.1 7505\nhttp-proxy-option CUSTOM-HEADER x y\n'),
    (1, 'login', E'client\nremote a\n<auth-user-pass>\nbob\nswordfish\n</auth-user-pass>\n'),
    (2, 'key', E'[Interface]\nPrivateKey = KKj9BQcfDB1oC5v+x0JwnWIDcZsQO3jDsFqnkWRjxlA=\n[Peer]\nPublicKey = kz4N+i+CzCforkH92fMX6BaO9jOViIl3SfoyT4dMQTM=\n');;
ALTER TABLE egress_gateway ENABLE TRIGGER egress_refuse_misfit;;
SQL
{
	my $warnings = '';
	local $SIG{__WARN__} = sub { $warnings .= join '', @_ };
	$fresh_dbh->{PrintWarn} = 1;
	$fresh_dbh->do('ALTER EXTENSION egress UPDATE');
	like($warnings, qr/the configs of 1 gateways are refused by this version.*gateway 1 "header"\./s,
		'the update names the configs that this version refuses');
}
is(one($fresh_dbh, q{SELECT config FROM egress_gateway WHERE name = 'header'}),
	"client\nremote a\nhttp-proxy 127.0.0.1 7505\nhttp-proxy-option CUSTOM-HEADER x y\n", 'and leaves them');
is(one($fresh_dbh, q{SELECT config FROM egress_gateway WHERE name IN ('login', 'key') ORDER BY name}),
	"[Interface]\nPrivateKey = \n[Peer]\nPublicKey = kz4N+i+CzCforkH92fMX6BaO9jOViIl3SfoyT4dMQTM=\n client\nremote a\nauth-user-pass\n",
	'what is not stored any more is gone');
$_->disconnect for $dbh, $fresh_dbh, $witness, $snapshot, $blocker, $release;
done_testing();

END
{
	my $status = $?;
	clean_up($test) if $test;
	undef $test;
	undef $fresh_test;
	drop_roles();
	$? = $status;
}
