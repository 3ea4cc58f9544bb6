# pool_each_way.pl -- a pool is full, and something comes free, in one way after the other: it is found
#
# The rules: an acquire takes the first credential, by ascending id, that fits and has a connection free, and NG004
# comes only when none has; the menu and the explanations say the same, as of their snapshot.
#
# All connections of a pool are taken, and two connections are told so: who remembers something, in memory or in the
# database, remembers that. Then somebody ends a lease, or an administrator changes something. While that is open or
# prepared nobody finds anything; when it is committed everybody does; and nobody when it is rolled back. In each case
# plain SQL says what is to be found (EgressPool.pm). Readers with snapshots from before see what was there then.
#
# Each way is tried with three pools: of many credentials, of a few, and of a number in between, in three providers.
#
# Environment: EGRESS_POOL_SEED, the seed of all dice. EGRESS_TEST_ALL: more of everything.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use EgressPool;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep);

my $seed = $ENV{EGRESS_POOL_SEED} // int(rand(2**31));
note "EGRESS_POOL_SEED=$seed";
srand($seed);

# how many credentials name the call of whom this is about; by provider
my %credentials = (1 => 80, 2 => 12, 3 => 32);
my @isolation   = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');

# ann is in the group staff; bob is nowhere, and has what is for everyone
my @who = ([ 'ann', 'bob' ], [ undef, 'desk' ]);

my $test  = EgressTest->new('pool_each_way');
my $admin = $test->connect;
my @asked = ($admin, $test->connect);
my ($doer, $before_full, $before_free) = map { $test->connect } 1 .. 3;
my $provider;

create_oracle($admin);
$admin->do($_) for (
	q{CREATE TABLE session (id text PRIMARY KEY, status text NOT NULL DEFAULT 'running')},
	q{SELECT egress_attach_sessions('session', 'id', $$NEW.status = 'stopped'$$)},
	q{INSERT INTO egress_group_member VALUES ('ann', 'staff')});
for (sort keys %credentials)
{
	$provider = $_;
	create_pool();
	check_way($_) for ways();
}
done_testing();

# a provider, its gateways, and its credentials, of one or two connections
sub create_pool
{
	$admin->do(q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (?, ?, 'custom')},
		undef, $provider, "of $credentials{$provider}");
	$admin->do('INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (?, ?, ?)',
		undef, $_, $provider, "gateway $_")
	  for gateways();
	$admin->do(q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (?, 'everyone')},
		undef, $provider);
	create_credentials();
}

sub create_credentials
{
	for (1 .. $credentials{$provider})
	{
		my @subjects = ([ 'everyone', undef ], [ 'user', 'ann' ], [ 'workspace', 'desk' ], [ 'group', 'staff' ]);
		my ($type, $subject) = @{ $subjects[ rand @subjects ] };
		credential(subject_type => $type, subject_id => $subject, active_connection_limit => 1 + int rand 2);
	}
}

sub gateways { return map { 10 * $provider + $_ } 1 .. 3 }

# insert a credential, with columns that are not as in most; returns its id
sub credential
{
	my %row = (dbh => $admin, egress_provider_id => $provider, name => 'new', subject_type => 'user',
		subject_id => 'ann', limit_active_connections => 't', active_connection_limit => 1, @_);
	my $dbh = delete $row{dbh};
	my @columns = sort keys %row;
	return value($dbh, 'INSERT INTO egress_credential (' . join(', ', @columns) . ') VALUES ('
		. join(', ', ('?') x @columns) . ') RETURNING egress_credential_id', @row{@columns});
}

# A way has
#	name
#	before		what the administrator does before all is taken
#	ready		and what afterwards
#	do			what is done in a transaction
#	later		what is done when that has ended, or waited for
#	afterwards	what is put right again
#	alone		it locks a table: nobody is asked before it has ended
# The subs are given a connection and a hash: id and session are of a lease, chosen when all is taken; other is theirs.
sub ways
{
	my $by_hand = sub { $_[0]->do('DELETE FROM egress_lease WHERE session_id = ?', undef, $_[1]{session}) };
	my $release = sub { $_[0]->do('SELECT egress_release_credential(?)', undef, $_[1]{session}) };
	my $for_a_moment = sub { $_[0]->do(q{SELECT egress_renew_lease(?, '10 ms')}, undef, $_[1]{session}) };
	my $set = sub {
		my ($to, $which) = @_;
		my $update = "UPDATE egress_credential SET $to WHERE egress_credential_id = ?";
		return sub { $_[0]->do($update, undef, $_[1]{$which}) };
	};
	my $other = sub {
		my %row = @_;
		return sub { $_[1]{other} = credential(dbh => $_[0], %row) };
	};

	# the session's lease, or the one it had last, with another ttl
	my $again = sub {
		my ($ttl) = @_;
		return sub {
			my ($dbh, $of) = @_;
			$release->(@_);
			$dbh->do(<<'SQL', undef, $of->{session}, $ttl);
SELECT egress_acquire_credential(user_id, workspace_id, egress_gateway_id, session_id, $2::interval)
FROM egress_lease_history WHERE session_id = $1 ORDER BY egress_lease_history_id DESC LIMIT 1
SQL
		};
	};

	return (
		{ name => 'a release', do => $release },
		{ name => 'a release after one that was undone', do => sub {
			my ($dbh, $of) = @_;
			$dbh->do('SAVEPOINT part');
			$dbh->do('SELECT egress_release_credential(session_id) FROM egress_lease WHERE egress_credential_id = ?',
				undef, $of->{id});
			$dbh->do('ROLLBACK TO SAVEPOINT part');
			$release->(@_);
		} },
		{ name => 'a release, and an acquire that is undone', do => sub {
			$release->(@_);
			$_[0]->do('SAVEPOINT part');
			$_[0]->do(q{SELECT egress_acquire_credential('ann', 'desk', ?, 'undone')}, undef, (gateways())[0]);
			$_[0]->do('ROLLBACK TO SAVEPOINT part');
		} },
		{ name => 'a session that is deleted',
			do => sub { $_[0]->do('DELETE FROM session WHERE id = ?', undef, $_[1]{session}) } },
		{ name => 'a session that stops',
			do => sub { $_[0]->do(q{UPDATE session SET status = 'stopped' WHERE id = ?}, undef, $_[1]{session}) } },
		{ name => 'a session with another id',
			do => sub { $_[0]->do(q{UPDATE session SET id = id || ' of old' WHERE id = ?}, undef, $_[1]{session}) } },
		{ name => 'all sessions, by TRUNCATE', alone => 1, do => sub { $_[0]->do('TRUNCATE session') } },
		{ name => 'an orphan that an administrator ends', ready => sub {
			$again->(undef)->(@_);
			$_[0]->do('DELETE FROM session WHERE id = ?', undef, $_[1]{session});
			$again->(undef)->(@_);
		}, do => sub { $_[0]->do('SELECT egress_end_leases(orphaned => true)') } },
		{ name => 'a lease that is deleted by hand', do => $by_hand },
		{ name => 'a lease that is deleted as a subscription does it', do => sub {
			$_[0]->do('SET LOCAL session_replication_role = replica');
			$by_hand->(@_);
			$_[0]->do('SET LOCAL session_replication_role = origin');
		} },
		{ name => 'all leases, by TRUNCATE by hand', alone => 1,
			do => sub { $_[0]->do('TRUNCATE egress_lease CASCADE') } },

		{ name => 'a ttl that is over', ready => $again->('60 ms'), do => sub { }, later => sub { sleep 0.061 } },
		{ name => 'a ttl that is over, and a sweep', ready => $again->('10 ms'), do => sub { },
			later => sub { sleep 0.011; $_[0]->do('SELECT egress_expire_leases()') } },
		{ name => 'a renewal for a moment', do => $for_a_moment, later => sub { sleep 0.011 } },
		{ name => 'a renewal for a moment of what would have ended later', ready => $again->('1 hour'),
			do => $for_a_moment, later => sub { sleep 0.011 } },
		{ name => 'a renewal for a moment of what was renewed for ever', ready => sub {
			$again->('1 hour')->(@_);
			$_[0]->do('SELECT egress_renew_lease(?, NULL)', undef, $_[1]{session});
		}, do => $for_a_moment, later => sub { sleep 0.011 } },
		{ name => 'an end that is written by hand', ready => $again->('1 hour'), do => sub {
			$_[0]->do('UPDATE egress_lease_expiry SET expires_at = now() WHERE session_id = ?', undef, $_[1]{session});
		} },

		{ name => 'a limit that is raised',
			do => $set->('active_connection_limit = active_connection_limit + 1', 'id') },
		{ name => 'a limit that is lowered, and raised above what it was', do => sub {
			$set->('active_connection_limit = active_connection_limit - 1', 'id')->(@_);
			$set->('active_connection_limit = active_connection_limit + 5', 'id')->(@_);
		} },
		{ name => 'a limit of 0 that is raised', before => $other->(active_connection_limit => 0),
			do => $set->('active_connection_limit = 1', 'other') },
		{ name => 'a release where the limit was lowered', ready => sub {
			$set->('active_connection_limit = 2', 'id')->(@_);
			take_all();
			$set->('active_connection_limit = 1', 'id')->(@_);
		}, do => sub { $_[0]->do('DELETE FROM egress_lease WHERE egress_credential_id = ?', undef, $_[1]{id}) } },
		{ name => 'a limit that is taken away', do => $set->('limit_active_connections = false', 'id'),
			afterwards => $set->('limit_active_connections = true', 'id') },
		{ name => 'a release where a limit was set late', before => sub {
			$other->(limit_active_connections => 'f', active_connection_limit => undef)->(@_);
			acquired($_[0], join "\t", 'ann', '-', (gateways())[0]) for 1 .. 3;
			$set->('limit_active_connections = true, active_connection_limit = 1', 'other')->(@_);
		}, do => sub { $_[0]->do('DELETE FROM egress_lease WHERE egress_credential_id = ?', undef, $_[1]{other}) } },

		{ name => 'a credential that is enabled', before => $other->(enabled => 'f'),
			do => $set->('enabled = true', 'other') },
		{ name => 'a credential that is inserted', do => $other->() },
		{ name => 'a credential that is inserted before all others', do => sub {
			my $first = value($admin, 'SELECT min(egress_credential_id) FROM egress_credential');
			$other->(egress_credential_id => $first - 1)->(@_);
		} },
		{ name => 'a credential that is inserted or changed', before => $other->(active_connection_limit => 0),
			do => sub { $_[0]->do(<<'SQL', undef, $_[1]{other}, $provider) } },
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
	limit_active_connections, active_connection_limit)
VALUES (?, ?, 'new', 'user', 'ann', true, 1)
ON CONFLICT (egress_credential_id) DO UPDATE SET active_connection_limit = EXCLUDED.active_connection_limit
SQL
		{ name => 'a credential that is copied', do => sub {
			$_[0]->do('COPY egress_credential (egress_provider_id, name, subject_type, subject_id,
				limit_active_connections, active_connection_limit) FROM STDIN');
			$_[0]->pg_putcopydata("$provider\tcopied\tuser\tann\tt\t1\n");
			$_[0]->pg_putcopyend;
		} },
		{ name => 'a credential that is deleted, and inserted with its id',
			before => $other->(active_connection_limit => 0), do => sub {
				$_[0]->do('DELETE FROM egress_credential WHERE egress_credential_id = ?', undef, $_[1]{other});
				credential(dbh => $_[0], egress_credential_id => $_[1]{other});
			} },
		{ name => 'a credential that was for somebody else', before => $other->(subject_id => 'eve'),
			do => $set->(q{subject_id = 'ann'}, 'other') },
		{ name => 'a credential that was for somebody else in between', before => $other->(), do => sub {
			$set->(q{subject_id = 'eve'}, 'other')->(@_);
			$set->(q{subject_id = 'ann', active_connection_limit = 2}, 'other')->(@_);
		} },
		{ name => 'a gateway that is selected', before => $other->(allow_all_gateways => 'f'), do => sub {
			$_[0]->do('INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (?, ?)',
				undef, $_[1]{other}, (gateways())[1]);
		} },
		{ name => 'a selection that is given up', before => $other->(allow_all_gateways => 'f'),
			do => $set->('allow_all_gateways = true', 'other') },
		{ name => 'a group that the user comes into',
			before => $other->(subject_type => 'group', subject_id => 'later'),
			do => sub { $_[0]->do(q{INSERT INTO egress_group_member VALUES ('ann', 'later')}) },
			afterwards => sub { $_[0]->do(q{DELETE FROM egress_group_member WHERE group_id = 'later'}) } });
}

# begin a transaction that has a snapshot, and no lock
sub take_snapshot
{
	my ($dbh) = @_;
	$dbh->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$dbh->do('SELECT 1');
}

sub check_way
{
	my ($way) = @_;
	my @wrong;
	my @how = shuffle 'ROLLBACK', 'COMMIT', 'ROLLBACK PREPARED', 'COMMIT PREPARED';
	splice @how, $provider == 1 ? 2 : 1 if !$ENV{EGRESS_TEST_ALL};
	for my $how (@how)
	{
		my @wrong_now;
		push @wrong_now, $@ if !eval { @wrong_now = try_way($way, $how); 1 };
		push @wrong, map { "$how, $_" } @wrong_now;
		start_anew() if @wrong_now;
	}
	is_short(\@wrong, "$way->{name}, in a pool of $credentials{$provider}");
}

# other credentials, so that what is wrong with one way is not found again with the next
sub start_anew
{
	$_->do('ROLLBACK') for @asked, $doer, $before_full, $before_free;
	$admin->do("ROLLBACK PREPARED '$_'") for @{ $admin->selectcol_arrayref(
			'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()') };
	$admin->do('DELETE FROM egress_lease');
	$admin->do('DELETE FROM egress_credential WHERE egress_provider_id = ?', undef, $provider);
	create_credentials();
}

# what is wrong when the transaction ends in this way
sub try_way
{
	my ($way, $how) = @_;
	my (%of, @wrong);
	my $compare = sub {
		my ($when) = @_;
		for my $dbh (shuffle @asked)
		{
			my @calls = shuffle calls(@who, [ gateways() ]);
			splice @calls, 4 if !$ENV{EGRESS_TEST_ALL};
			push @wrong, map { "$when: $_" } compare_acquires($dbh, $isolation[ rand 3 ], @calls) if rand() < 0.7;
			push @wrong, map { "$when: $_" } compare_reads($dbh, @who) if rand() < 0.5;
		}
	};

	take_snapshot($before_full);
	$way->{before}->($admin, \%of) if $way->{before};
	take_all();
	@of{qw(id session)} = $admin->selectrow_array(<<'SQL', undef, $provider, rand);
SELECT egress_credential_id, session_id FROM egress_lease JOIN egress_credential USING (egress_credential_id)
WHERE egress_provider_id = $1 ORDER BY hashtext(session_id || $2) LIMIT 1
SQL
	$way->{ready}->($admin, \%of) if $way->{ready};
	$compare->('before');

	take_snapshot($before_free);
	$doer->do('BEGIN');
	$way->{do}->($doer, \%of);
	$compare->('while it is open') if !$way->{alone};
	if ($how =~ /PREPARED/)
	{
		$doer->do(q{PREPARE TRANSACTION 'egress way'});
		$compare->('while it is prepared') if !$way->{alone};
		$how .= q{ 'egress way'};
	}
	$doer->do($how);
	# what is compared then may take it again
	my $some_free = sub { return scalar grep { ($_->{available} // 1) > 0 } values %{ answers($admin, @who) } };
	my $came_free = $some_free->();
	$compare->('when it has ended');
	if ($way->{later})
	{
		$way->{later}->($admin, \%of);
		$compare->('later');
	}
	push @wrong, map { "seen from before all was taken: $_" } compare_reads($before_full, @who);
	push @wrong, map { "seen from before it came free: $_" } compare_reads($before_free, @who);
	push @wrong, 'nothing has come free'
	  if $how =~ /^COMMIT/ && !$came_free && !$some_free->();
	$_->do('ROLLBACK') for $before_full, $before_free;
	$way->{afterwards}->($admin, \%of) if $way->{afterwards};
	return @wrong;
}

# take all connections that there are; also each has a session
sub take_all
{
	$admin->do('BEGIN');
	for my $call (calls(@who, [ gateways() ]))
	{
		do { $admin->do('SAVEPOINT one_more') } while (acquired($admin, $call) !~ /^[NS]/);
		$admin->do('ROLLBACK TO SAVEPOINT one_more');
	}
	$admin->do(q{INSERT INTO session SELECT session_id FROM egress_lease ON CONFLICT DO NOTHING});
	$admin->do('COMMIT');
}
