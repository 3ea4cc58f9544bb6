# EgressPool.pm -- what a pool of credentials has free, in plain SQL, and whether egress says the same
#
#   create_oracle($dbh);        the schema oracle, with the rules of the contract as queries over the tables
#   my $answers = answers($dbh, $users, $workspaces);
#                               call => {fitting, first, available} as of now; only those in which something fits
#   my @wrong = compare_reads($dbh, $users, $workspaces);
#                               the menu and the explanations; at rest, or in a transaction at REPEATABLE READ
#   my @wrong = compare_acquires($dbh, $level, @calls);
#                               what an acquire takes, or how it is refused; each is rolled back; at rest
#   my @wrong = drain($dbh, $level, $call);
#                               what one acquire after the other takes until all is taken; at rest, and settled
#   settle($dbh);               wait until no lease ends by itself for a while
#   my @calls = calls($users, $workspaces, $gateways);
#   my $taken = acquired($dbh, $call);
#                               takes a connection: the credential's id, or NG003, NG004, or another SQLSTATE in words
#
# A call is "user<tab>workspace<tab>gateway", the workspace '-' where it is NULL. At rest: nobody takes, gives back or
# changes anything, and no transaction is open.
#
# The rules: a credential fits when it is enabled, of the gateway's provider, has one of the call's subjects, and
# allows all gateways or selects this one. It has as many connections free as its limit is above its leases that have
# not expired. An acquire takes the first by ascending id that has one; NG004 says that none has, NG003 that none fits.
# The menu shows the sum, or NULL when one has no limit.
#
# Leases end while this is compared, by the clock alone. So plain SQL is asked before and afterwards, and what egress
# says has to lie between: the sum does not shrink with time, and the first id does not grow.
package EgressPool;

use strict;
use warnings;
use EgressTest;
use Exporter 'import';
use List::Util qw(min uniq);
use Test::More;
use Time::HiRes qw(sleep);

our @EXPORT = qw(create_oracle answers compare_reads compare_acquires acquired drain settle calls);

# how many acquires of a drain are compared
use constant DRAIN => 40;

# Tables are read by sequential scans: an index that has lost something hides nothing here.
sub create_oracle
{
	my ($dbh) = @_;
	my $set = 'SET enable_indexscan = off SET enable_indexonlyscan = off SET enable_bitmapscan = off';
	$dbh->do($_) for ('CREATE SCHEMA oracle', <<"SQL", <<"SQL", <<"SQL");
CREATE FUNCTION oracle.credential(moment timestamptz)
RETURNS TABLE (id bigint, provider bigint, subject text, all_gateways boolean, free bigint)
LANGUAGE sql STABLE $set AS \$\$
	WITH live AS MATERIALIZED (
		SELECT l.egress_credential_id AS id, count(*) AS live
		FROM egress_lease l LEFT JOIN egress_lease_expiry e USING (session_id)
		WHERE e.expires_at IS NULL OR e.expires_at > moment GROUP BY 1)
	SELECT c.egress_credential_id, c.egress_provider_id, c.subject_type::text || ':' || coalesce(c.subject_id, ''),
		c.allow_all_gateways,
		CASE WHEN c.limit_active_connections THEN greatest(c.active_connection_limit - coalesce(live.live, 0), 0) END
	FROM egress_credential c LEFT JOIN live ON live.id = c.egress_credential_id
	WHERE c.enabled
\$\$
SQL
CREATE FUNCTION oracle.fitting(users text[], workspaces text[], moment timestamptz)
RETURNS TABLE (user_id text, workspace_id text, gateway bigint, id bigint, free bigint)
LANGUAGE sql STABLE $set AS \$\$
	WITH credential AS MATERIALIZED (SELECT * FROM oracle.credential(moment)),
	subject AS MATERIALIZED (
		SELECT u, w, s FROM unnest(users) u CROSS JOIN unnest(workspaces) w CROSS JOIN LATERAL (
			SELECT 'everyone:' UNION ALL
			SELECT 'user:' || u UNION ALL
			SELECT 'workspace:' || w WHERE w IS NOT NULL UNION ALL
			SELECT 'group:' || m.group_id FROM egress_group_member m WHERE m.user_id = u) AS subject(s))
	SELECT subject.u, subject.w, g.egress_gateway_id, c.id, c.free
	FROM subject JOIN credential c ON c.subject = subject.s JOIN egress_gateway g ON g.egress_provider_id = c.provider
		LEFT JOIN egress_credential_gateway s
			ON (s.egress_credential_id, s.egress_gateway_id) = (c.id, g.egress_gateway_id)
	WHERE c.all_gateways OR s.egress_gateway_id IS NOT NULL
\$\$
SQL
CREATE FUNCTION oracle.answer(users text[], workspaces text[], moment timestamptz)
RETURNS TABLE (user_id text, workspace_id text, gateway bigint, fitting bigint, first bigint, available bigint)
LANGUAGE sql STABLE $set AS \$\$
	SELECT f.user_id, f.workspace_id, f.gateway, count(*), min(f.id) FILTER (WHERE f.free IS NULL OR f.free > 0),
		CASE WHEN NOT bool_or(f.free IS NULL) THEN sum(f.free)::bigint END
	FROM oracle.fitting(users, workspaces, moment) f GROUP BY 1, 2, 3
\$\$
SQL
	return;
}

sub key { my ($user, $workspace, $gateway) = @_; return join "\t", $user, $workspace // '-', $gateway }

sub show { my ($call) = @_; return $call =~ s/\t/ /gr }

# user, workspace and gateway of a call
sub split_call
{
	my ($call) = @_;
	my ($user, $workspace, $gateway) = split /\t/, $call;
	return ($user, $workspace eq '-' ? undef : $workspace, $gateway);
}

sub calls
{
	my ($users, $workspaces, $gateways) = @_;
	my @calls;
	for my $user (@$users)
	{
		for my $workspace (@$workspaces)
		{
			push @calls, map { key($user, $workspace, $_) } @$gateways;
		}
	}
	return @calls;
}

sub answers
{
	my ($dbh, $users, $workspaces) = @_;
	my %answers;
	for my $row (@{ $dbh->selectall_arrayref(
		'SELECT * FROM oracle.answer($1::text[], $2::text[], clock_timestamp())', undef, $users, $workspaces) })
	{
		my ($user, $workspace, $gateway, $fitting, $first, $available) = @$row;
		$answers{ key($user, $workspace, $gateway) } =
		  { fitting => $fitting, first => $first, available => $available };
	}
	return \%answers;
}

# the first credential before and afterwards, as messages have it
sub show_first { return join ' and ', map { $_ ? $_->{first} // 'none' : 'no credential' } @_ }

# is the first credential that something names possible, between what it was before and afterwards? undef: none
sub is_between
{
	my ($before, $first, $after) = @_;
	return 0 if defined $before && (!defined $first || $first > $before);
	return !defined $first || defined $after && $first >= $after;
}

sub compare_reads
{
	my ($dbh, $users, $workspaces) = @_;
	my $before = answers($dbh, $users, $workspaces);
	my %menu = map { key(@$_[ 0 .. 2 ]) => $_->[3] } @{ $dbh->selectall_arrayref(<<'SQL', undef, $users, $workspaces) };
SELECT u, w, m.egress_gateway_id, m.available_connections
FROM unnest($1::text[]) u CROSS JOIN unnest($2::text[]) w CROSS JOIN LATERAL egress_available_gateways(u, w) m
SQL
	my %explained = map { key(@$_[ 0 .. 2 ]) => [ @$_[ 3, 4 ] ] }
	  @{ $dbh->selectall_arrayref(<<'SQL', undef, $users, $workspaces) };
SELECT u, w, x.egress_gateway_id, x.verdict, x.egress_credential_id
FROM unnest($1::text[]) u CROSS JOIN unnest($2::text[]) w CROSS JOIN LATERAL egress_explain_access(u, w) x
SQL
	my $after = answers($dbh, $users, $workspaces);

	my @wrong;
	for my $call (sort keys %{ { %menu, %$after } })
	{
		my ($old, $new) = ($before->{$call}, $after->{$call});
		my $available = $menu{$call};
		next if exists $menu{$call} && $old && $new && (
			defined $available && defined $old->{available} && defined $new->{available}
			? $available >= $old->{available} && $available <= $new->{available}
			: !defined $available && !defined $old->{available} && !defined $new->{available});
		push @wrong, 'the menu of ' . show($call) . ' has ' . (exists $menu{$call} ? $available // 'NULL' : 'no row')
		  . ', plain SQL ' . join ' and ', map { $_ ? $_->{available} // 'NULL' : 'no row' } $old, $new;
	}
	for my $call (sort keys %explained)
	{
		my ($old, $new) = ($before->{$call}, $after->{$call});
		my ($verdict, $first) = @{ $explained{$call} };
		my $right = $new ? defined $first ? 'available' : 'at_limit' : 'no_credential';
		next if $verdict eq $right && is_between($old->{first}, $first, $new->{first});
		push @wrong, 'the explanation of ' . show($call) . " says $verdict " . ($first // '')
		  . ', the first in plain SQL is ' . show_first($old, $new);
	}
	return @wrong;
}

my $serial = 0;

sub acquired
{
	my ($dbh, $call) = @_;
	my $credential;
	my $state = sqlstate {
		$credential = value($dbh, 'SELECT egress_credential_id FROM egress_acquire_credential($1, $2, $3, $4)',
			split_call($call), 'probe-' . ++$serial);
	};
	return $state eq '' ? $credential : $state =~ /^NG/ ? $state : "SQLSTATE $state";
}

sub compare_acquires
{
	my ($dbh, $level, @calls) = @_;
	my @users = uniq map { (split_call($_))[0] } @calls;
	my @workspaces = map { $_ eq '-' ? undef : $_ } uniq map { (split_call($_))[1] // '-' } @calls;

	my $before = answers($dbh, \@users, \@workspaces);
	my %taken;
	my $alone = rand() < 0.5;
	$dbh->do("BEGIN ISOLATION LEVEL $level");
	for my $call (@calls)
	{
		$dbh->do('SAVEPOINT probe');
		$taken{$call} = acquired($dbh, $call);
		$dbh->do('ROLLBACK TO SAVEPOINT probe');
		next if !$alone;
		$dbh->do('ROLLBACK');
		$dbh->do("BEGIN ISOLATION LEVEL $level");
	}
	$dbh->do('ROLLBACK');
	my $after = answers($dbh, \@users, \@workspaces);

	my @wrong;
	for my $call (@calls)
	{
		my ($old, $new, $taken) = ($before->{$call}, $after->{$call}, $taken{$call});
		next if !$new ? $taken eq 'NG003' : $taken =~ /^(-?\d+|NG004)$/
		  && is_between($old->{first}, $taken eq 'NG004' ? undef : $taken, $new->{first});
		push @wrong, 'an acquire of ' . show($call) . " gave $taken, the first in plain SQL is "
		  . show_first($old, $new);
	}
	return @wrong;
}

# what acquires have to give one after the other; a credential without a limit has three, as far as this goes
sub expected
{
	my ($dbh, $call) = @_;
	my ($user, $workspace, $gateway) = split_call($call);
	my $fitting = $dbh->selectall_arrayref(<<'SQL', undef, [$user], [$workspace], $gateway);
SELECT id, free FROM oracle.fitting($1::text[], $2::text[], clock_timestamp())
WHERE gateway = $3 AND (free IS NULL OR free > 0) ORDER BY id
SQL
	my @expected;
	for my $row (@$fitting)
	{
		my ($id, $free) = @$row;
		push @expected, ($id) x ($free // 3);
		return @expected if !defined $free;
	}
	my $fits = value($dbh, 'SELECT count(*) FROM oracle.fitting($1::text[], $2::text[], now()) WHERE gateway = $3',
		[$user], [$workspace], $gateway);
	return (@expected, $fits ? 'NG004' : 'NG003');
}

# The whole row of acquires in one transaction, a part of it again after a rollback to a savepoint in its middle, and
# its beginning once more in another transaction
sub drain
{
	my ($dbh, $level, $call) = @_;
	my @expected = expected($dbh, $call);
	$#expected = DRAIN - 1 if @expected > DRAIN;
	my $middle = int(rand(@expected));
	my @taken;
	my $take = sub {
		$dbh->do('SAVEPOINT step');
		push @taken, acquired($dbh, $call);
		$dbh->do($taken[-1] =~ /^[NS]/ ? 'ROLLBACK TO SAVEPOINT step' : 'RELEASE SAVEPOINT step');
	};

	$dbh->do("BEGIN ISOLATION LEVEL $level");
	for my $i (0 .. $#expected)
	{
		$dbh->do('SAVEPOINT middle') if $i == $middle;
		$take->();
	}
	$dbh->do('ROLLBACK TO SAVEPOINT middle');
	$take->() for $middle .. min($middle + 2, $#expected);
	$dbh->do('ROLLBACK');
	$dbh->do("BEGIN ISOLATION LEVEL $level");
	$take->();
	$dbh->do('ROLLBACK');

	push @expected, @expected[ $middle .. min($middle + 2, $#expected) ], $expected[0];
	my ($i) = grep { ($taken[$_] // '') ne $expected[$_] } 0 .. $#expected;
	return if !defined $i;
	return 'acquire ' . ($i + 1) . ' of ' . show($call) . ", $level, gave $taken[$i] and not $expected[$i]; "
	  . "all: @taken, and in plain SQL: @expected (again from " . ($middle + 1) . ' on)';
}

# what ends within a minute has ended
sub settle
{
	my ($dbh) = @_;
	my ($rest) = $dbh->selectrow_array(<<'SQL');
SELECT extract(epoch FROM max(expires_at) - clock_timestamp())::float8 FROM egress_lease_expiry
WHERE expires_at < clock_timestamp() + interval '1 minute'
SQL
	sleep $rest + 0.002 if ($rest // 0) > -0.001;
	return;
}

1;
