# memory.pl -- calls leave no memory behind in their backend
#
# A pooler's backend lives for weeks. Here one backend does each thing that the extension does thousands of times, in
# many transactions and with several calls in each; what it refuses as well. After a tenth of the calls, when all caches
# are filled, and after all of them these are measured:
#
#  - what is in use in its memory contexts, for what is allocated in one that outlives a transaction;
#  - its address space and the memory of its own, as the kernel sees them, for what comes from malloc() or libsodium:
#    half a megabyte is the least that is noticed. Under valgrind (test/valgrind/run) it is the bytes that malloc() gave
#    and did not get back instead.
#
# Environment: EGRESS_MEMORY_CALLS, how many acquires and menus (10,000; 100,000 with EGRESS_TEST_ALL). Refused acquires
# are a tenth of that, but at least 2,000, and so is all else; 1,000 under valgrind. EGRESS_MEMORY_VALGRIND, a
# library with malloc_in_use(), for a server under valgrind.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use List::Util qw(max);
use Test::More;

my $calls = $ENV{EGRESS_MEMORY_CALLS} // ($ENV{EGRESS_TEST_ALL} ? 100_000 : 10_000);
my $valgrind = $ENV{EGRESS_MEMORY_VALGRIND};
my $fewer = max(2_000, $calls / 10);
my $few = $valgrind ? 1_000 : $fewer;
my $batch = 100;

# how much more there may be, in bytes, and in bytes a call: caches and malloc() keep some
my %slack = (contexts => 64 * 1024, malloc => 64 * 1024, own => 512 * 1024, space => 512 * 1024);

my $test = EgressTest->new('memory');
my $admin = $test->connect;
my $pid;

# the key file is the cluster's, which the next test has too
END
{
	my $status = $?;
	eval {
		my $dbh = $test->connect('postgres');
		$dbh->do('ALTER SYSTEM RESET egress.secret_key_file');
		$dbh->do('SELECT pg_reload_conf()');
		$dbh->do(q{COPY (SELECT) TO PROGRAM 'rm -f egress_memory_keys'});
		wait_until { is_reset($test->connect('postgres')) };
	} if $test;
	warn $@ if $@;
	$? = $status;
}

create_world();
my $dbh = $test->connect;
$pid = value($dbh, 'SELECT pg_backend_pid()');
$dbh->do('SET synchronous_commit = off');

# In the calls, i counts from 1 and there is a variable for a row.
does_not_grow($calls, 'acquires and releases', q{
	SELECT * INTO STRICT answer FROM egress_acquire_credential('ann', 'desk', 1 + i % 3, 'session ' || i % 7);
	PERFORM egress_release_credential('session ' || i % 7)});
does_not_grow($calls, 'menus', q{
	PERFORM count(*) FROM egress_available_gateways('ann', 'desk')});
does_not_grow($fewer, 'refused acquires', q{
	BEGIN
		PERFORM egress_acquire_credential(
			CASE i % 5 WHEN 0 THEN NULL ELSE 'ann' END,
			CASE i % 5 WHEN 4 THEN 'other desk' ELSE 'desk' END,
			CASE i % 5 WHEN 1 THEN 4 WHEN 2 THEN 5 WHEN 3 THEN 6 ELSE 1 END,
			CASE i % 5 WHEN 4 THEN 'lasting' ELSE 'refused' END);
		RAISE 'not refused';
	EXCEPTION WHEN SQLSTATE '22004' OR SQLSTATE 'NG002' OR SQLSTATE 'NG003' OR SQLSTATE 'NG004' OR SQLSTATE 'NG005' THEN
		NULL;
	END});
does_not_grow($few, 'renewals', q{
	PERFORM egress_renew_lease('lasting', i * interval '1 hour')});
does_not_grow($few, 'leases that expire', q{
	PERFORM egress_acquire_credential('ann', 'desk', 1 + i % 3, 'short', '1 microsecond');
	IF i % 10 = 0 THEN
		PERFORM egress_expire_leases();
		PERFORM count(*) FROM egress_connections_at(clock_timestamp(), 1);
	END IF});
does_not_grow($few, 'leases that an administrator ends', q{
	PERFORM egress_acquire_credential('ann', 'desk', 1 + i % 3, 'short');
	PERFORM count(*) FROM egress_unentitled_connection;
	PERFORM count(*) FROM egress_end_leases(session_id => 'short', unentitled => i % 2 = 0 OR NULL, egress_provider_id => 1 + i % 3);
	PERFORM count(*) FROM egress_end_leases(session_id => 'short');
	BEGIN
		PERFORM egress_acquire_credential('ann', 'desk', 1 + i % 3, 'short');
		PERFORM egress_end_leases(session_id => 'short');
		RAISE SQLSTATE 'NO000';
	EXCEPTION WHEN SQLSTATE 'NO000' THEN
		NULL;
	END});
does_not_grow($few, 'explanations', q{
	PERFORM count(*) FROM egress_explain_access('ann', 'desk');
	PERFORM count(*) FROM egress_credential_usage});
does_not_grow($few, 'syncs', q{
	PERFORM count(*) FROM egress_sync_gateways(4, jsonb_build_array(
		jsonb_build_object('name', 'stays', 'city', i::text), jsonb_build_object('name', 'gateway ' || i % 3)));
	BEGIN
		PERFORM egress_sync_gateways(4, '[{"name": "good"}, {"name": ""}]');
		RAISE 'not refused';
	EXCEPTION WHEN invalid_parameter_value THEN
		NULL;
	END});
does_not_grow($few, 'secrets', q{
	PERFORM egress_reveal_secret(('secret ' || i)::egress_secret);
	PERFORM egress_wireguard_public_key(egress_generate_wireguard_key());
	PERFORM egress_credential_public_key(egress_credential_id) FROM egress_credential;
	UPDATE egress_credential SET password = ('secret ' || i)::egress_secret WHERE egress_credential_id = 1;
	BEGIN
		PERFORM egress_reveal_secret(('egress:v1:0123456789abcdef:' || repeat('A', 80))::egress_secret);
		RAISE 'not refused';
	EXCEPTION WHEN SQLSTATE 'NG006' THEN
		NULL;
	END});
does_not_grow($few, 'configs', q{
	UPDATE egress_gateway SET config = format(E'client\nremote host-%s\n', i) WHERE egress_gateway_id = 1;
	BEGIN
		UPDATE egress_gateway SET config = E'client\nremote h\nup /bin/true\n' WHERE egress_gateway_id = 1;
		RAISE 'not refused';
	EXCEPTION WHEN SQLSTATE 'NG007' THEN
		NULL;
	END});
does_not_grow($few, 'triggers of the application', q{
	INSERT INTO session VALUES ('session ' || i);
	INSERT INTO member VALUES ('ann', 'group ' || i);
	PERFORM egress_acquire_credential('ann', 'desk', 1, 'session ' || i);
	DELETE FROM session;
	DELETE FROM member WHERE group_id <> 'staff'});
does_not_grow($few / 10, 'reloads of the keys', q{
	PERFORM egress_reveal_secret(('secret ' || i)::egress_secret)}, sub {
		my $before = value($dbh, 'SELECT pg_conf_load_time()');
		$dbh->do('SELECT pg_reload_conf()');
		wait_until { value($dbh, 'SELECT pg_conf_load_time()') ne $before };
	}, 1);

done_testing();

# a provider of each type, with gateways 1 to 3; gateways that NG002, NG003 and NG004 are the answer for; a managed one
sub create_world
{
	$admin->do($_) for (
		q{LOAD 'egress'},
		q{COPY (SELECT encode(sha256('a key'), 'base64')) TO PROGRAM 'umask 077; cat >egress_memory_keys'},
		q{ALTER SYSTEM SET egress.secret_key_file = 'egress_memory_keys'},
		q{SELECT pg_reload_conf()});
	wait_until { value($admin, 'SHOW egress.secret_key_file') eq 'egress_memory_keys' };
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed, enable_new_managed_gateways) VALUES
			(1, 'Lanternway', 'openvpn', false, false), (2, 'Tallow', 'wireguard', false, false),
			(3, 'Brass', 'custom', false, false), (4, 'Fleet', 'custom', true, true)},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config) VALUES
			(1, 1, 'nl-ams-01', E'client\nremote h\n'),
			(2, 2, 'de-fra-01', E'[Interface]\n[Peer]\nPublicKey = ' || encode(sha256('peer'), 'base64') || E'\n'),
			(3, 3, 'jp-tyo-01', 'anything'), (4, 3, 'not mapped', NULL), (5, 3, 'without credential', NULL),
			(6, 3, 'full', NULL)},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			SELECT n, 3, 'gateway ' || n FROM generate_series(7, 9) n},
		q{ALTER TABLE egress_gateway ALTER egress_gateway_id RESTART WITH 10},
		q{INSERT INTO egress_provider_mapping (egress_provider_mapping_id, egress_provider_id, subject_type, subject_id,
				allow_all_gateways)
			VALUES (1, 1, 'everyone', NULL, true), (2, 2, 'group', 'staff', true), (3, 3, 'user', 'ann', false)},
		q{INSERT INTO egress_provider_mapping_gateway (egress_provider_mapping_id, egress_gateway_id)
			SELECT 3, n FROM generate_series(3, 9) n WHERE n <> 4},
		q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, username, password,
				private_key, custom_credential, allow_all_gateways, limit_active_connections, active_connection_limit)
			VALUES
			(1, 1, 'one', 'everyone', 'user', 'password', NULL, NULL, true, true, 100),
			(2, 2, 'two', 'everyone', NULL, NULL, egress_generate_wireguard_key()::egress_secret, NULL, true, false, NULL),
			(3, 3, 'three', 'everyone', NULL, NULL, NULL, 'token', false, true, 1000),
			(4, 3, 'four', 'everyone', NULL, NULL, NULL, 'token', false, true, 0)},
		q{INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id)
			SELECT 3, n FROM generate_series(3, 9) n WHERE n NOT IN (5, 6) UNION ALL SELECT 4, 6},
		q{CREATE TABLE session (id text PRIMARY KEY)},
		q{CREATE TABLE member (user_id text, group_id text)},
		q{INSERT INTO member VALUES ('ann', 'staff')},
		q{SELECT egress_attach_sessions('session', 'id')},
		q{SELECT egress_attach_group_members('member', 'user_id', 'group_id')},
		q{SELECT egress_acquire_credential('ann', 'desk', 3, 'lasting', '1 day')});
	$admin->do("CREATE FUNCTION malloc_in_use() RETURNS bigint LANGUAGE c AS '$valgrind'") if $valgrind;
}

# what the backend has now: kind => bytes
sub measure
{
	my %bytes;
	$bytes{contexts} = value($dbh, 'SELECT sum(used_bytes) FROM pg_backend_memory_contexts');
	if ($valgrind)
	{
		$bytes{malloc} = value($dbh, 'SELECT malloc_in_use()');
		return %bytes;
	}
	open my $status, '<', "/proc/$pid/status" or die "/proc/$pid/status: $!";
	for (<$status>)
	{
		$bytes{own} = $1 * 1024 if /^RssAnon:\s+(\d+) kB/;
		$bytes{space} = $1 * 1024 if /^VmSize:\s+(\d+) kB/;
	}
	return %bytes;
}

# does_not_grow -- measure the backend before and after nine tenths of so many calls, in batches
sub does_not_grow
{
	my ($count, $what, $body, $between, $size) = @_;
	$size //= $batch;
	my $begin = now();
	my %before;
	for (my $done = 0; $done < $count; $done += $size)
	{
		%before = measure() if $done == $count / 10;
		$between->() if $between;
		$dbh->do("DO \$\$
			DECLARE
				answer record;
			BEGIN
				FOR i IN $done + 1 .. $done + $size LOOP
					$body;
					IF i % 5 = 0 THEN
						COMMIT;
					END IF;
				END LOOP;
			END \$\$");
	}
	my %after = measure();
	for my $kind (sort keys %after)
	{
		my $grown = $after{$kind} - $before{$kind};
		cmp_ok($grown, '<=', $slack{$kind}, "$what: $count calls do not grow it ($kind)")
		  or diag(sprintf '%s: %d bytes after %d calls, %d after %d', $kind, $before{$kind}, $count / 10, $after{$kind}, $count);
		note(sprintf '%s: %d bytes, grown by %d', $kind, $after{$kind}, $grown);
	}
	note(sprintf '%s: %.1f s', $what, now() - $begin);
}

sub is_reset
{
	my ($dbh) = @_;
	my $file = value($dbh, q{SELECT current_setting('egress.secret_key_file', true)});
	return !defined $file || $file eq '';
}
