# user_limit_under_load.pl -- users' limits under load, and an oracle that knows nothing of the tables
#
# The rule: the leases of a user, counting those of open transactions, never pass what egress_user_limit allows, by the user's own
# row, else the largest of the user's groups, else that of everyone; whenever that changes, and whoever comes into a group or goes;
# on top of the limits of the credentials. NG008 comes when the user has so many, not sooner; an expired lease does not count, also
# while an open transaction ends it; nobody waits, and nothing leaks.
#
# Few users have many sessions, of credentials of two providers, with a limit and without, one of which cools down. The clients
# take and give back connections at each isolation level, with a snapshot from before, committed, rolled back, by a backend that is
# killed, in savepoints undone or kept, in prepared transactions that stay for a while, by function or by the trigger of the session
# table, both in one transaction, at a gateway of their choice or at any, with a ttl and without; they renew, and forget. A
# sweeper sweeps in transactions that stay open. An administrator changes limits and memberships, in transactions that stay open for
# a while, committed, rolled back, or undone to a savepoint.
#
# The oracle: each client writes to a file of its own when it surely holds a lease, and when it may hold one.
#  - Surely: from the answer of the acquire until the statement is sent that gives it back, and until its ttl, counted from when the
#    acquire was sent. Of the leases of a user that are surely held when an acquire is answered, the last was taken after the last of
#    them was sent, and they were all held then. So they are no more than the highest limit that may have been in force between
#    that and the answer (check_users).
#  - Perhaps: from the acquire until the answer to what gives it back; of one whose ttl is over only while somebody may be about
#    to do something with it, which is as long as a statement, not as a transaction. When NG008 comes, there may have been as many
#    as the lowest limit that may have been in force; when NG004 comes, as many of each credential that fits as its limit, and the
#    user was not surely at the limit all the time, for that is said first (check_refusals).
#  - The history must not have more of a credential at a time than its limit (check_history). When all is quiet, the menu says how
#    many connections a user has left, and so many can be taken (check_quiet).
#
# Environment: EGRESS_USER_LIMIT_SECONDS, how long the load is (8). EGRESS_USER_LIMIT_CLIENTS (10). EGRESS_USER_LIMIT_SEED, the seed
# of the clients' dice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressClient;
use EgressTest;
use File::Temp qw(tempdir);
use List::Util qw(max min sum0);
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{EGRESS_USER_LIMIT_SECONDS} // 8;
my $clients = $ENV{EGRESS_USER_LIMIT_CLIENTS} // 10;
my $seed    = $ENV{EGRESS_USER_LIMIT_SEED} // int(rand(2**31));
my $folder  = tempdir(CLEANUP => 1);

use constant FOREVER => 9**9**9;

my @isolation = ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE');
my @users = qw(ana bruno carla);
my @groups = qw(staff night);

# gateway => credentials that fit it; credential => its limit
my %fitting = (1 => [ 1, 2 ], 2 => [2], 3 => [3]);
my %limits = (1 => 2, 2 => 4, 3 => undef);

note "$clients clients, $seconds seconds, EGRESS_USER_LIMIT_SEED=$seed";

my $test  = EgressTest->new('user_limit_under_load');
my $admin = $test->connect;

# what is committed: subject => limit, and user => {group => 1}; and all of these, one after the other, as user => limit, undef for
# none, with the time when each may have been in force: [from, until, limits]
my %rows = ('user ana' => 2, 'group staff' => 2, 'everyone' => 3);
my %member = map { $_ => {} } @users;
my @states = ([ 0, FOREVER, allowed(\%rows, \%member) ]);
create_world();

my $result = run_load();
check_clients();
check_users();
check_refusals();
check_variety();
check_quiet();
check_history();

done_testing();

# the limit of each user
sub allowed
{
	my ($rows, $member) = @_;
	my %allowed;
	for my $user (@users)
	{
		my @of_groups = grep { defined } map { $rows->{"group $_"} } keys %{ $member->{$user} };
		$allowed{$user} = $rows->{"user $user"} // max(@of_groups) // $rows->{everyone};
	}
	return \%allowed;
}

sub create_world
{
	$admin->do($_) for (
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom'), (2, 'Quillport', 'custom')},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name)
			VALUES (1, 1, 'gateway 1'), (2, 1, 'gateway 2'), (3, 2, 'gateway 3')},
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone'), (2, 'everyone')},
		q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, allow_all_gateways,
				limit_active_connections, active_connection_limit, cool_down)
			VALUES (1, 1, 'alpha', 'everyone', false, true, 2, NULL), (2, 1, 'beta', 'everyone', true, true, 4, NULL),
				(3, 2, 'gamma', 'everyone', true, false, NULL, '50 ms')},
		q{INSERT INTO egress_credential_gateway VALUES (1, 1)},
		q{INSERT INTO egress_user_limit VALUES ('user', 'ana', 2), ('group', 'staff', 2), ('everyone', NULL, 3)},
		q{CREATE TABLE session (id text PRIMARY KEY)},
		q{CREATE TRIGGER session_ended AFTER DELETE ON session
			FOR EACH ROW EXECUTE FUNCTION egress_release_on_session_end('id')});
}

# Runs the clients and the sweeper, and changes limits meanwhile. Returns what they wrote: sure, perhaps, refused, touched, counts, errors,
# holding (session => its ttl's end, perhaps), died.
sub run_load
{
	my $result = Client->run(clients => [ 0 .. $clients ], seed => $seed, files => "$folder/", for => $seconds,
		meanwhile => sub {
			change();
			sleep rand(0.06);
		});
	$result->{holding} = { map { $_->[0] => { expires => $_->[1], user => $_->[2] } } @{ $result->{holding} // [] } };
	return $result;
}

# Change a limit, or who is in a group, or think better of it.
sub change
{
	my %rows_then = %rows;
	my %member_then = map { $_ => { %{ $member{$_} } } } @users;
	my $commit = rand() < 0.8;
	$admin->do('BEGIN');
	if (rand() < 0.2)
	{
		$admin->do('SAVEPOINT attempt');
		change_one({%rows}, { map { $_ => { %{ $member{$_} } } } @users });
		sleep rand(0.005);
		$admin->do('ROLLBACK TO SAVEPOINT attempt');
	}
	change_one(\%rows_then, \%member_then) for 1 .. 1 + int(rand(2));
	sleep rand(0.01) if rand() < 0.5;
	my $sent = now();
	$admin->do($commit ? 'COMMIT' : 'ROLLBACK');
	return if !$commit;
	%rows = %rows_then;
	%member = %member_then;
	$states[-1][1] = now();
	push @states, [ $sent, FOREVER, allowed(\%rows, \%member) ];
}

sub change_one
{
	my ($rows_then, $member_then) = @_;
	my $user = $users[ rand @users ];
	my $group = $groups[ rand @groups ];
	if (rand() < 0.3)
	{
		if (delete $member_then->{$user}{$group})
		{
			$admin->do('DELETE FROM egress_group_member WHERE (user_id, group_id) = (?, ?)', undef, $user, $group);
		}
		else
		{
			$member_then->{$user}{$group} = 1;
			$admin->do('INSERT INTO egress_group_member VALUES (?, ?)', undef, $user, $group);
		}
		return;
	}

	my ($type, $id) = rand() < 0.5 ? ('user', $user) : rand() < 0.6 ? ('group', $group) : ('everyone', undef);
	my $subject = join ' ', grep { defined } $type, $id;
	if (rand() < 0.3)
	{
		delete $rows_then->{$subject};
		$admin->do('DELETE FROM egress_user_limit WHERE subject_type = ? AND subject_id IS NOT DISTINCT FROM ?', undef, $type, $id);
		return;
	}
	$rows_then->{$subject} = int(rand(5));
	$admin->do(q{INSERT INTO egress_user_limit VALUES (?, ?, ?) ON CONFLICT (subject_type, subject_id)
			DO UPDATE SET active_connection_limit = excluded.active_connection_limit}, undef, $type, $id, $rows_then->{$subject});
}

# the limits of a user that may have been in force at some time of these; undef where there may have been none
sub limits_between
{
	my ($user, $from, $until) = @_;
	my ($low, $high) = (0, $#states);
	while ($low < $high)
	{
		my $middle = int(($low + $high) / 2);
		if ($states[$middle][1] < $from) { $low = $middle + 1 }
		else                             { $high = $middle }
	}
	my @limits;
	for (; $low < @states && $states[$low][0] <= $until; $low++)
	{
		push @limits, $states[$low][2]{$user};
	}
	return @limits;
}

sub highest { return (grep { !defined } @_) ? FOREVER : max(@_) }
sub lowest { return min(FOREVER, grep { defined } @_) }

# no client died, and nothing failed in another way than it may
sub check_clients
{
	is($result->{died}, 0, 'every client came to its end');
	my @unexpected;
	for my $level (sort keys %{ $result->{errors} })
	{
		for my $state (sort keys %{ $result->{errors}{$level} })
		{
			note "$result->{errors}{$level}{$state} times $state at $level";
			push @unexpected, "$state at $level"
			  if $state !~ /^NG00[48]$/ && !($state eq '40001' && $level eq 'SERIALIZABLE');
		}
	}
	is("@unexpected", '', 'only NG004 and NG008 came, and 40001 at SERIALIZABLE');
}

# intervals, each as a hash with these names
sub named
{
	my ($rows, @names) = @_;
	my @named;
	for my $row (@{ $rows // [] })
	{
		my %row;
		@row{@names} = @$row;
		push @named, \%row;
	}
	return sort { $a->{from} <=> $b->{from} } @named;
}

# No user has more than the limit, and no credential: see the top of this file.
sub check_users
{
	my @sure = named($result->{sure}, qw(session user credential from until sent answered));
	my ($tight, $late, @wrong) = (0, 0);
	for my $user (@users)
	{
		my @held;
		for my $lease (grep { $_->{user} eq $user } @sure)
		{
			@held = ((grep { $_->{until} > $lease->{from} } @held), $lease);
			my ($sent, $answered) = (max(map { $_->{sent} } @held), max(map { $_->{answered} } @held));
			my $limit = highest(limits_between($user, $sent, $answered));
			push @wrong, "$user had " . @held . " with a limit of $limit: " . join(', ', map { $_->{session} } @held) if @held > $limit;
			$tight++ if @held == $limit;
			$late++ if grep { defined && $_ < @held } limits_between($user, $answered, min(map { $_->{until} } @held));
		}
	}
	is_short(\@wrong, 'no user has passed the limit, in ' . @sure . ' leases');
	cmp_ok($tight, '>', 0, "the last connection was taken: $tight times");
	cmp_ok($late, '>', 0, "a limit was set below what was in use: $late times");
	for my $id (grep { defined $limits{$_} } sort keys %limits)
	{
		my $most = most_at_once(map { [ @$_{qw(from until)} ] } grep { $_->{credential} == $id } @sure);
		cmp_ok($most, '<=', $limits{$id}, "credential $id: at most its limit held at once");
		cmp_ok($most, '>', 1, "credential $id: $most of $limits{$id}");
	}
}

# NG008 and NG004 come only when there may have been as many as they say: see the top of this file.
sub check_refusals
{
	my @perhaps = named($result->{perhaps}, qw(session user credential from until expires));
	my @touched = named($result->{touched}, qw(what from until));
	my @sure = named($result->{sure}, qw(session user credential from until sent answered));
	my (@leases, @held, @touches, @wrong, %counts);
	for my $refusal (named($result->{refused}, qw(state user gateway from until session)))
	{
		my ($user, $from, $until) = @$refusal{qw(user from until)};
		push @leases, shift @perhaps while @perhaps && $perhaps[0]{from} <= $until;
		push @held, shift @sure while @sure && $sure[0]{from} <= $from;
		push @touches, shift @touched while @touched && $touched[0]{from} <= $until;
		@leases = grep { $_->{until} >= $from } @leases;
		@held = grep { $_->{until} >= $from } @held;
		@touches = grep { $_->{until} >= $from } @touches;

		my %touched = map { $_->{what} => 1 } grep { $_->{from} <= $until && $_->{what} ne "acquire $refusal->{session}" } @touches;
		my (%of_credential, $of_user, $expired) = ();
		($of_user, $expired) = (0, 0);
		for my $lease (grep { $_->{from} <= $until && $_->{session} ne $refusal->{session} } @leases)
		{
			if ($lease->{expires} < $from)
			{
				$expired++ if $lease->{user} eq $user;
				next if !$touched{all} && !$touched{"session $lease->{session}"} && !$touched{"user $lease->{user}"} &&
				  !$touched{"credential $lease->{credential}"};
			}
			$of_credential{ $lease->{credential} }++;
			$of_user++ if $lease->{user} eq $user;
		}
		my @limits = limits_between($user, $from, $until);
		if ($refusal->{state} eq 'NG008')
		{
			my $lowest = lowest(@limits);
			push @wrong, "$refusal->{session}: $user had $of_user, with a limit of $lowest" if $of_user < $lowest;
			$counts{'NG008'}++;
			$counts{'NG008, and one had expired'}++ if $expired;
			next;
		}
		my $sure = grep { $_->{user} eq $user && $_->{from} <= $from && $_->{until} >= $until } @held;
		my $highest = highest(@limits);
		push @wrong, "$refusal->{session}: NG004, though $user had $sure, with a limit of $highest" if $sure >= $highest;
		for my $id (@{ $fitting{ $refusal->{gateway} } })
		{
			push @wrong, "$refusal->{session}: credential $id had a connection free for gateway $refusal->{gateway}"
			  if ($of_credential{$id} // 0) < ($limits{$id} // FOREVER);
		}
		$counts{'NG004'}++;
	}
	is_short(\@wrong, 'nobody was refused who surely could have had a connection');
	cmp_ok($counts{$_} // 0, '>', 0, "refused: $_, " . ($counts{$_} // 0) . ' times') for 'NG008', 'NG008, and one had expired', 'NG004';
}

# the load did what it was meant to do
sub check_variety
{
	my %counts = %{ $result->{counts} };
	note "$_: $counts{$_}" for sort keys %counts;
	note scalar(@states) . ' times limits or groups were changed';
	for my $level (@isolation)
	{
		cmp_ok($counts{"acquired at $level"} // 0, '>', 0, "acquires succeeded at $level");
		cmp_ok($result->{errors}{$level}{$_} // 0, '>', 0, "and were refused with $_ at $level") for 'NG004', 'NG008';
	}
	for my $what ('committed', 'rolled back', 'killed', 'prepared', 'commit prepared', 'rollback prepared', 'savepoint undone',
		'savepoint kept', 'released by function', 'released by trigger', 'released and taken again', 'renewed', 'too late', 'swept',
		'sweep undone', 'acquired any gateway')
	{
		cmp_ok($counts{$what} // 0, '>', 0, $what);
	}
	cmp_ok($counts{"acquired at gateway $_"} // 0, '>', 0, "acquires succeeded at gateway $_") for 1 .. 3;
}

# how many connections a user can take now at a gateway, and what says that there is no more
sub takes
{
	my ($user, $gateway) = @_;
	my $taken = 0;
	$admin->do('BEGIN');
	my $state = '';
	while ($state eq '' && $taken < 20)
	{
		$admin->do('SAVEPOINT one_more');
		$state = sqlstate {
			$admin->do('SELECT egress_acquire_credential(?, NULL, ?, ?)', undef, $user, $gateway, "takes $taken");
			$taken++;
		};
	}
	$admin->do('ROLLBACK');
	return ($taken, $state);
}

# Nothing is held by nobody. As much can be taken as the menu says, and as is left by what is held.
sub check_quiet
{
	my ($prepared) = $admin->selectrow_array('SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()');
	is($prepared, 0, 'no prepared transaction is left');
	is($admin->selectrow_array(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())}), 0, 'no lock is left');

	my %holding = %{ $result->{holding} // {} };
	my $last = max(0, grep { $_ < FOREVER } map { $_->{expires} } values %holding);
	sleep $last - now() + 0.01 if $last > now() - 0.01;
	my %there = map { $_->[0] => $_->[1] } @{ $admin->selectall_arrayref('SELECT session_id, user_id FROM egress_connection') };
	is_deeply(\%there, { map { $_ => $holding{$_}{user} } grep { $holding{$_}{expires} == FOREVER } keys %holding },
		'the leases are those that the clients hold, ' . keys(%there) . ' in all');
	compare_menu('beside what is held', \%there);

	$admin->do(q{INSERT INTO egress_user_limit VALUES ('user', 'ana', 5), ('user', 'bruno', 1), ('everyone', NULL, 0)
		ON CONFLICT (subject_type, subject_id) DO UPDATE SET active_connection_limit = excluded.active_connection_limit});
	@rows{ 'user ana', 'user bruno', 'everyone' } = (5, 1, 0);
	compare_menu('by other limits', \%there);
	$admin->do('DELETE FROM session');
	is($admin->selectrow_array('SELECT count(*) FROM egress_connection'), 0, 'no lease without a session');
	compare_menu('when all sessions have ended', {});
}

# the menu, what can be taken, and what should be left beside these leases: session => user
sub compare_menu
{
	my ($label, $there) = @_;
	my $allowed = allowed(\%rows, \%member);
	for my $user (@users)
	{
		my $left = defined $allowed->{$user} ? max(0, $allowed->{$user} - grep { $_ eq $user } values %$there) : FOREVER;
		for my $gateway (1 .. 3)
		{
			my ($free) = $admin->selectrow_array(q{SELECT sum(available_connections) FROM egress_credential_usage
				WHERE egress_credential_id = ANY (?)}, undef, $fitting{$gateway});
			$free = FOREVER if $gateway == 3;
			my $expected = min($left, $free, 20);
			my ($taken, $state) = takes($user, $gateway);
			is("$taken $state", "$expected " . ($expected == 20 ? '' : $left <= $free ? 'NG008' : 'NG004'),
				"$user, gateway $gateway: what can be taken $label");
			my ($available) = $admin->selectrow_array(
				q{SELECT available_connections FROM egress_available_gateways(?) WHERE egress_gateway_id = ?}, undef, $user, $gateway);
			is(min($available // FOREVER, 20), $expected, "$user, gateway $gateway: the menu says so");
			my ($verdict) = $admin->selectrow_array('SELECT verdict FROM egress_explain_access(?, NULL, ?)', undef, $user, $gateway);
			is($verdict, $left == 0 ? 'user_limit' : $free == 0 ? 'at_limit' : 'available', "$user, gateway $gateway: the explanation, too");
		}
	}
}

# The history: an interval from acquired_at to released_at lies within the time for which the connection was held.
sub check_history
{
	$admin->do('SELECT egress_expire_leases()');
	my $history = $admin->selectall_arrayref(q{SELECT egress_credential_id, (extract(epoch FROM acquired_at) * 1000000)::bigint,
			(extract(epoch FROM released_at) * 1000000)::bigint, session_id FROM egress_lease_history});
	my %sessions = map { $_->[3] => 1 } @$history;
	is(scalar(keys %sessions), scalar(@$history), 'no lease ended twice: ' . @$history . ' in all');
	for my $id (grep { defined $limits{$_} } sort keys %limits)
	{
		my $most = most_at_once(map { [ @$_[ 1, 2 ] ] } grep { $_->[0] == $id && $_->[2] > $_->[1] } @$history);
		cmp_ok($most, '<=', $limits{$id}, "credential $id: the history has no more than its limit at once");
	}
}

# ---------------------------------------------------------------------------------------------------------------

# One client: a connection, the leases that it holds by committed transactions, and its prepared transactions.
package Client;

use strict;
use warnings;
use EgressTest;
use Time::HiRes qw(sleep);

use parent -norequire, 'EgressClient';

use constant FOREVER => main::FOREVER;

sub new
{
	my ($class, $number) = @_;
	return $class->SUPER::new(
		name     => "client-$number",
		file     => "$folder/$number",
		stop     => "$folder/stop",
		connect  => sub { $test->connect },
		greed    => 1 + int(rand(3)),    # how many connections it would like to have
		user     => $users[ $number % @users ],
		holding  => {},                  # session => lease
		prepared => []);                 # transactions
}

# the lease is surely held until this moment or its end, and for what we know not any longer
sub surely_until
{
	my ($self, $lease, $moment) = @_;
	my $until = List::Util::min($moment, $lease->{surely});
	$self->record('sure', @$lease{qw(session user credential since)}, $until, @$lease{qw(sent answered)})
	  if $until > $lease->{since};
	$lease->{since} = FOREVER;
}

# the lease is gone: perhaps held until this moment
sub perhaps_until
{
	my ($self, $lease, $moment) = @_;
	$self->record('perhaps', @$lease{qw(session user credential sent)}, $moment, $lease->{expires});
}

# the statement that was sent has just been answered: what it may have done something with meanwhile
sub touched
{
	my ($self, @what) = @_;
	my $moment = now();
	$self->record('touched', $_, $self->{sent}, $moment) for @what;
}

# the sweeper, whose transactions stay open for a while
sub sweep
{
	my ($self) = @_;
	while (!$self->is_over)
	{
		my $level = $isolation[ rand @isolation ];
		my $undo = rand() < 0.5;
		my $number;
		my $state = sqlstate {
			$self->do("BEGIN ISOLATION LEVEL $level");
			($number) = $self->select('SELECT egress_expire_leases()');
		};
		$self->touched('all');
		sleep rand(0.1) if rand() < 0.7;
		if ($state eq '')
		{
			$state = sqlstate { $self->do($undo ? 'ROLLBACK' : 'COMMIT') };
			$self->count($undo ? 'sweep undone' : 'swept', $number) if $state eq '';
		}
		if ($state ne '')
		{
			$self->record('error', $level, $state);
			$self->do('ROLLBACK');
		}
		sleep rand(0.06);
	}
	$self->finish;
}

sub work
{
	my ($self) = @_;
	while (!$self->is_over)
	{
		$self->transaction;
		$self->finish_prepared if @{ $self->{prepared} } && (rand() < 0.3 || @{ $self->{prepared} } > 1);
		sleep rand(0.01) if rand() < 0.5;
	}
	$self->finish_prepared while @{ $self->{prepared} };

	# what it holds at the end it goes on holding
	for my $lease (map { $self->{holding}{$_} } sort keys %{ $self->{holding} })
	{
		$self->surely_until($lease, now());
		$self->perhaps_until($lease, FOREVER);
		$self->record('holding', $lease->{session}, $lease->{expires}, $lease->{user});
	}
	$self->finish;
}

# One transaction: releases, acquires, renewals, savepoints, and an end
sub transaction
{
	my ($self) = @_;
	my $level = $isolation[ rand @isolation ];
	$self->{level} = $level;

	# what it takes and gives back (session => lease), and renews, as long as it is open
	my $tx = { taken => {}, released => {}, renewed => [] };
	my $killed = 0;

	my $state = sqlstate {
		$self->do("BEGIN ISOLATION LEVEL $level");

		# a snapshot, and some time for it to grow old
		if (rand() < 0.5)
		{
			$self->select('SELECT count(*) FROM egress_user_limit');
			sleep rand(0.01);
		}

		my @releasable = $self->free_to_release;
		my $expired = (grep { $self->{holding}{$_}{expires} < now() } @releasable)[0];
		my $want = $self->{greed} - grep { $_->{expires} > now() } values %{ $self->{holding} };
		my $dice = rand();
		if (@releasable && $dice < 0.15)
		{
			$self->release($tx, $self->{holding}{ $releasable[0] }, 1);
			$self->take($tx);
			$self->count('released and taken again');
		}
		elsif (defined $expired && $dice < 0.5)
		{
			$self->release($tx, $self->{holding}{$expired}, 0);
		}
		elsif (@releasable && ($want <= 0 || $dice < 0.4))
		{
			$self->release($tx, $self->{holding}{ $releasable[0] }, 0);
		}
		else
		{
			$self->take($tx);
			$self->take($tx) if rand() < 0.2;
		}
		my ($renewable) = grep { $self->{holding}{$_}{expires} < FOREVER && $self->{holding}{$_}{expires} > now() && !$tx->{released}{$_} }
		  $self->free_to_release;
		if (defined $renewable && rand() < 0.5)
		{
			$self->renew($tx, $self->{holding}{$renewable});
			$self->release_undone($self->{holding}{$renewable}) if rand() < 0.5;
		}
		sleep rand(0.02) if rand() < 0.4;
		$killed = rand() < 0.03;
		$self->do('SELECT pg_terminate_backend(pg_backend_pid())') if $killed;
	};
	if ($killed)
	{
		# it says so before it has given back what it holds
		my $sent = $self->{sent};
		$self->{dbh}->disconnect;
		$self->reconnect;
		$self->undone($tx, $sent, now() + 5);
		$self->count('killed');
		return;
	}
	if ($state ne '')
	{
		# the statement that failed ended it all
		$self->record('error', $level, $state);
		die "lock_timeout\n" if $state eq '55P03';
		my $sent = $self->{sent};
		$self->do('ROLLBACK');
		$self->undone($tx, $sent, now());
		return;
	}
	$self->end($tx);
}

# acquire, now and then in a savepoint that is undone and tried again, or kept
sub take
{
	my ($self, $tx) = @_;
	my $session = $self->{name} . '-' . ++$self->{serial};

	my $savepoint = rand() < 0.3;
	my $undo = $savepoint && rand() < 0.5;
	$self->do('SAVEPOINT attempt') if $savepoint;
	$self->acquire($tx, $session);
	if ($undo)
	{
		sleep rand(0.002) if rand() < 0.5;
		my $lease = delete $tx->{taken}{$session};
		$self->surely_until($lease, now());
		$self->do('ROLLBACK TO SAVEPOINT attempt');
		$self->perhaps_until($lease, now());
		$self->count('savepoint undone');
		$session .= '-again';
		$self->acquire($tx, $session);
	}
	elsif ($savepoint)
	{
		$self->do('RELEASE SAVEPOINT attempt');
		$self->count('savepoint kept');
	}
	$self->do('INSERT INTO session VALUES (?)', undef, $session);
}

sub acquire
{
	my ($self, $tx, $session) = @_;
	my $any = rand() < 0.15;
	my $gateway = $any ? undef : 1 + int(rand(3));
	my $ttl = rand() < 0.5 ? 0.005 + rand(0.1) : undef;
	my $interval = defined $ttl ? "$ttl seconds" : undef;
	my $id;
	my $state = sqlstate {
		($gateway, $id) = $any ?
		  $self->select('SELECT egress_gateway_id, egress_credential_id FROM egress_acquire_gateway(?, NULL, ?, ttl => ?)', undef,
			$self->{user}, $session, $interval) :
		  $self->select('SELECT $1::bigint, egress_credential_id FROM egress_acquire_credential($2, NULL, $1, $3, $4)', undef,
			$gateway, $self->{user}, $session, $interval);
	};
	my $answered = now();
	my @credentials = $any ? 1 .. 3 : @{ $fitting{$gateway} };
	$self->record('touched', $_, $self->{sent}, $answered) for "user $self->{user}", map { "credential $_" } @credentials;
	if ($state ne '')
	{
		$self->record('refused', $state, $self->{user}, $gateway // 3, $self->{sent}, $answered, $session) if $state =~ /^NG00[48]$/;
		die "refused\n";
	}
	$tx->{taken}{$session} = { session => $session, user => $self->{user}, credential => $id, since => $answered,
		sent => $self->{sent}, answered => $answered, surely => defined $ttl ? $self->{sent} + $ttl : FOREVER,
		expires => defined $ttl ? $answered + $ttl : FOREVER };
	$self->count("acquired at $self->{level}");
	$self->count("acquired at gateway $gateway");
	$self->count('acquired any gateway') if $any;
}

# Release by function or by trigger. When the transaction acquires again, the connection may be given to that.
sub release
{
	my ($self, $tx, $lease, $again) = @_;
	my $session = $lease->{session};
	$self->surely_until($lease, now()) if $again;
	$tx->{released}{$session} = $lease;
	if (rand() < 0.5)
	{
		my ($ended) = $self->select('SELECT egress_release_credential(?)', undef, $session);
		$self->touched("session $session");
		die "$session had no lease to release\n" if !$ended && now() < $lease->{surely};
		$self->count($ended ? 'released by function' : 'too late');
	}
	else
	{
		$self->count('released by trigger');
	}
	$self->do('DELETE FROM session WHERE id = ?', undef, $session);
	$self->touched("session $session");
}

# let a lease live longer, if it has not expired
sub renew
{
	my ($self, $tx, $lease) = @_;
	my $ttl = 0.11 + rand(0.1);
	my ($until) = $self->select('SELECT egress_renew_lease(?, ?)', undef, $lease->{session}, "$ttl seconds");
	$self->touched("session $lease->{session}");
	return if !defined $until;
	push @{ $tx->{renewed} }, [ $lease, $self->{sent} + $ttl ];
	$lease->{expires} = List::Util::max($lease->{expires}, now() + $ttl);
	$self->count('renewed');
}

# give a lease back, and think better of it: while it is held as it was
sub release_undone
{
	my ($self, $lease) = @_;
	$self->do('SAVEPOINT part');
	$self->select('SELECT egress_release_credential(?)', undef, $lease->{session});
	sleep rand(0.1);
	$self->do('ROLLBACK TO SAVEPOINT part');
	$self->touched("session $lease->{session}");
}

# COMMIT, ROLLBACK or PREPARE TRANSACTION
sub end
{
	my ($self, $tx) = @_;
	my $dice = rand();
	my $sent = now();
	if ($dice < 0.65)
	{
		$self->give_back($tx, $sent);
		my $state = sqlstate { $self->do('COMMIT') };
		if ($state ne '')
		{
			$self->record('error', $self->{level}, $state);
			$self->undone($tx, $sent, now());
			return;
		}
		$self->keep($tx);
		$self->count('committed');
	}
	elsif ($dice < 0.8)
	{
		$self->do('ROLLBACK');
		$self->undone($tx, $sent, now());
		$self->count('rolled back');
	}
	else
	{
		$tx->{gid} = $self->{name} . '-prepared-' . ++$self->{serial};
		my $state = sqlstate { $self->do("PREPARE TRANSACTION '$tx->{gid}'") };
		if ($state ne '')
		{
			$self->record('error', $self->{level}, $state);
			$self->undone($tx, $sent, now());
			return;
		}
		push @{ $self->{prepared} }, $tx;
		$self->count('prepared');
	}
}

# after the commit: what it gave back is gone, what it took is ours, and was all the time
sub keep
{
	my ($self, $tx) = @_;
	my $moment = now();
	for my $session (keys %{ $tx->{released} })
	{
		$self->perhaps_until(delete $self->{holding}{$session}, $moment);
	}
	$_->[0]{surely} = $_->[1] for @{ $tx->{renewed} };
	$self->{holding}{$_} = $tx->{taken}{$_} for keys %{ $tx->{taken} };
}

# after a rollback, sent and over at these moments: what it took is gone, what it had given back is ours, surely from now on
sub undone
{
	my ($self, $tx, $sent, $moment) = @_;
	for my $lease (values %{ $tx->{taken} })
	{
		$self->surely_until($lease, $sent);
		$self->perhaps_until($lease, $moment);
	}
	for my $lease (values %{ $tx->{released} })
	{
		$lease->{since} = $moment if $lease->{since} == FOREVER;
	}
}
