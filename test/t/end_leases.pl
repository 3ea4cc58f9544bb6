# end_leases.pl -- an administrator ends leases, many of them too, and who listens is told of each
#
#  - The notification is JSON, whatever the session's id is made of.
#  - It comes with the commit, if that succeeds: also of what a deferred trigger ends while the transaction commits.
#  - Any role may listen, and each of those who end leases tells: an application's acquire that takes one over, and each batch
#    of a sweep.
#  - 100,000 leases of 10,000 users are judged, and ended, in seconds. A call that is cancelled meanwhile has ended none, and
#    told nobody.
#
# Environment: EGRESS_END_LEASES, how many leases (100,000). The bounds of time are three times what a slow machine takes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use JSON::PP;
use Test::More;

my $many = $ENV{EGRESS_END_LEASES} // 100_000;
my $users = $many / 10;
my $test = EgressTest->new('end_leases');
my $admin = $test->connect;

$admin->do($_) for split /;\n/, <<'SQL';
INSERT INTO egress_provider (egress_provider_id, name, provider_type) SELECT n, 'provider ' || n, 'custom' FROM generate_series(1, 20) n;
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) SELECT n, 1 + n % 20, 'gateway ' || n FROM generate_series(1, 2000) n;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) SELECT n, 'everyone' FROM generate_series(1, 20) n;
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
SELECT n, 1 + n % 20, 'credential ' || n, 'everyone', n <= 20, 1 FROM generate_series(1, 40) n;
DROP ROLE IF EXISTS egress_end_agent;
DROP ROLE IF EXISTS egress_end_app;
CREATE ROLE egress_end_agent;
CREATE ROLE egress_end_app;
SELECT egress_grant_access('egress_end_app', 'app')
SQL

my $agent = $test->connect;
$agent->do('SET ROLE egress_end_agent');
$agent->do('LISTEN egress_lease_ended');

# told: what the agent was told since the last time, each as "session reason", in its order
sub told
{
	my @told;
	$agent->do('SELECT');    # the server has sent all that was committed by now
	while (my $notice = $agent->pg_notifies)
	{
		my ($channel, undef, $payload) = @$notice;
		die "channel $channel" if $channel ne 'egress_lease_ended';
		my $object = JSON::PP->new->decode($payload);
		die $payload if join(' ', sort keys %$object) ne 'reason session_id';
		push @told, "$object->{session_id} $object->{reason}";
	}
	return \@told;
}

sub acquire
{
	my ($session, $ttl, $gateway, $dbh) = @_;
	($dbh // $admin)->do('SELECT FROM egress_acquire_credential(?, NULL, ?, ?, ?)', undef, 'ann', $gateway // 1, $session, $ttl);
}

# ---------------------------------------------------------------- what is told

my @ids = (q{it's "so"}, "back\\slash /", "line\nbreak\ttab\r", join('', map { chr } 1 .. 31), "\x{1}" x 255, 'x' x 255,
	"\x{fc}\x{20ac}\x{1f600}", '{"session_id": "x"}', "\x{2028}\x{7f}");
acquire($_) for @ids;
$admin->do(q{SELECT egress_end_leases(user_id => 'ann')});
is_deeply([ sort @{ told() } ], [ sort map { "$_ ended" } @ids ], 'ids of all kinds are told as they are');

# ---------------------------------------------------------------- at commit

$admin->do($_) for (
	q{CREATE TABLE work (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)},
	q{CREATE FUNCTION work_ends() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM egress_end_leases(session_id => 'work ' || NEW.id); RETURN NULL; END $$},
	q{CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON work DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION work_ends()});
acquire("work $_") for 1 .. 3;
$admin->do('INSERT INTO work VALUES (1)');
is_deeply(told(), ['work 1 ended'], 'what a deferred trigger ends while the transaction commits is told');
is(sqlstate { $admin->do(q{DO $$ BEGIN INSERT INTO work VALUES (2); INSERT INTO work VALUES (1); END $$}) }, '23505',
	'when the commit fails');
is_deeply(told(), [], 'nobody is told');
$admin->do(q{SELECT egress_end_leases(session_id => 'work 3')});
is_deeply(told(), ['work 3 ended'], 'nor by the next transaction, which tells what it has ended itself');
is(value($admin, q{SELECT count(*) FROM egress_lease}), 1, 'and the lease is there');
$admin->do('DROP TABLE work');
$admin->begin_work;
$admin->do('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
$admin->do(q{SELECT egress_end_leases(user_id => 'ann')});
$admin->commit;
is_deeply(told(), ['work 2 ended'], 'a serializable transaction tells');

# ------------------------------------------------------- who ends leases of others

# gateway 19 is of provider 20, whose credentials are 19, of one connection, and 39, without a limit
$admin->do('UPDATE egress_credential SET enabled = false WHERE egress_credential_id = 39');
acquire('old', '1 microsecond', 19);
my $app = $test->connect;
$app->do('SET ROLE egress_end_app');
acquire('new', undef, 19, $app);
is_deeply(told(), ['old expired'], 'an application takes over what has expired, and tells');
$app->do(q{SELECT egress_release_credential('new')});
is_deeply(told(), [], 'what it gives back is not told');
acquire("short $_", '1 microsecond') for 1 .. 10;
$app->do('CALL egress_sweep_leases(3)');
is_deeply([ sort @{ told() } ], [ sort map { "short $_ expired" } 1 .. 10 ], 'a sweep in batches tells of all');
is(sqlstate { $app->do(q{SELECT egress_end_leases(user_id => 'ann')}) }, '42501', 'an application ends no leases of others');
$app->disconnect;

# in a savepoint each: what is kept is kept once
acquire("each $_") for 1 .. 4000;
my $begin = now();
$admin->do(q{DO $$
	BEGIN
		FOR i IN 1 .. 4000 LOOP
			BEGIN
				PERFORM egress_end_leases(session_id => 'each ' || i);
				IF i % 2 = 0 THEN
					RAISE SQLSTATE 'NO000';
				END IF;
			EXCEPTION WHEN SQLSTATE 'NO000' THEN
				NULL;
			END;
		END LOOP;
	END $$});
is_deeply(told(), [ map { "each $_ ended" } grep { $_ % 2 } 1 .. 4000 ], 'of thousands of savepoints those that stay are told');
cmp_ok(now() - $begin, '<', 15, 'in seconds');
is(value($admin, q{SELECT count(*) FROM egress_end_leases(user_id => 'ann')}), 2000, 'the others end then');
told();

# ---------------------------------------------------------------- so many

$admin->do(q{INSERT INTO egress_lease (session_id, egress_credential_id, egress_gateway_id, user_id, workspace_id, acquired_at)
	SELECT 'session ' || n, 21 + n % 20, 1 + n % 2000, 'user ' || n::bigint * 7919 % ?, 'desk ' || n % 3, now()
	FROM generate_series(1, ?) n}, undef, $users, $many);
$admin->do('ANALYZE');
# half of the users are in a group, and half of the providers are for that group now; those of provider 20 have the credential 39
$admin->do(q{INSERT INTO egress_group_member SELECT 'user ' || n, g FROM generate_series(0, ? / 2) n, unnest('{staff,dev,ops}'::text[]) g},
	undef, $users);
$admin->do(q{UPDATE egress_provider_mapping SET subject_type = 'group', subject_id = 'staff' WHERE egress_provider_id > 10});
my $expected = value($admin, q{SELECT count(*) FROM egress_lease l JOIN egress_gateway g USING (egress_gateway_id)
	WHERE egress_provider_id > 10 AND NOT EXISTS (SELECT FROM egress_group_member m WHERE m.user_id = l.user_id) AND user_id <> 'ann'
	   OR g.egress_provider_id = 20});

my $shown = timed(15, 'the view', sub { value($admin, 'SELECT count(*) FROM egress_unentitled_connection') });
is($shown, $expected, "of $many leases those that are to be seen are");

$admin->do(q{SET statement_timeout = '100ms'});
is(sqlstate { $admin->do('SELECT count(*) FROM egress_end_leases(unentitled => true)') }, '57014', 'a call is cancelled');
$admin->do('RESET statement_timeout');
is(value($admin, 'SELECT count(*) FROM egress_unentitled_connection'), $expected, 'and has ended none');
is_deeply(told(), [], 'and told nobody');

is(timed(30, 'ending these', sub { value($admin, 'SELECT count(*) FROM egress_end_leases(unentitled => true)') }), $expected,
	'then all of them end');
is(value($admin, 'SELECT count(*) FROM egress_unentitled_connection'), 0, 'and none is left');
is(scalar @{ told() }, $expected, 'each is told');
is(timed(30, 'ending the rest', sub {
	value($admin, q{SELECT count(*) FROM generate_series(1, 20) p, egress_end_leases(egress_provider_id => p)})
}), $many - $expected, 'the rest ends provider by provider');
is(value($admin, 'SELECT count(*) FROM egress_lease'), 0, 'until there is none');
is(scalar @{ told() }, $many - $expected, 'each is told');
is(value($admin, q{SELECT count(DISTINCT session_id) FROM egress_lease_history WHERE session_id LIKE 'session %' AND release_reason = 'ended'}),
	$many, 'and in the history');

$admin->do('DROP OWNED BY egress_end_app');
$agent->disconnect;
$admin->do("DROP ROLE $_") for qw(egress_end_app egress_end_agent);
$admin->disconnect;
done_testing();

# timed -- what a block returns, and a test that it took no longer than so many seconds
sub timed
{
	my ($bound, $what, $code) = @_;
	my $begin = now();
	my $result = $code->();
	my $took = now() - $begin;
	cmp_ok($took, '<', $bound, sprintf '%s takes %.1f s', $what, $took);
	return $result;
}
