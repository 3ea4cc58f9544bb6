# EgressFailover.pm -- a load that goes on while the primary changes, and an oracle that knows what it was told
#
#   use EgressFailover;                            before EgressCluster
#   my $load = EgressFailover->new(connect => sub { ... }, pause => 0.01);
#   EgressFailover::create_world($dbh);            egress, and gateway 1 for the load
#   EgressFailover::add_gateway($dbh, $name, @limits);    one more, with credentials of these limits
#   $load->begin; $load->end;                      the clients work from here to there
#   $load->check($dbh, $times);                    tests, at the primary: all is as the clients know it, and each of them
#                                                  has reconnected so many times or more
#   my $seconds = $load->longest_gap($from, $until);    without an acknowledged acquire, between two moments of now()
#   acquire($gateway, $session, $user); release($session);     statements
#   my $free = free($dbh, $gateway);               how many acquires succeed; rolled back
#
# Clients acquire, renew and give back in a loop, with pauses, at a server that takes writes; connect looks for one, and dies
# when it finds none. Who waits longer for an answer than patience, when that is given, cancels and looks for a server again.
#
# Acknowledged is what was answered without a WARNING. A client whose connection broke, or that cancelled, looks at the server
# that it finds then for all that was acknowledged to it, and asks again. That server may be an old primary that does not know
# yet that there is another one. So what is read counts only when a write in the same transaction is acknowledged, and that a
# gateway is full when one after it is.
#
# A client also writes to a file in which intervals it surely held a connection: from the answer to its acquire until it sends
# the release. These must not overlap beyond the limit, on whichever server they were granted.
package EgressFailover;

use strict;
use warnings;
use EgressTest;
use Exporter 'import';
use File::Temp qw(tempdir);
use List::Util qw(max sum0);
use POSIX ();
use Test::More;

our @EXPORT = qw(acquire release free);

use constant CLIENTS => 6;
my @limits = (1, 1, 2, 3);    # of the credentials 1..4, for gateway 1

sub new
{
	my ($class, %self) = @_;
	return bless { folder => tempdir('egress-failover-XXXXXX', TMPDIR => 1, CLEANUP => 1), owner => $$, pids => {}, %self }, $class;
}

sub create_world
{
	my ($dbh) = @_;
	$dbh->do('CREATE EXTENSION egress');
	add_gateway($dbh, 'load', @limits);
}

# one more gateway, with a provider of its own, and credentials with these limits; all are numbered from 1
sub add_gateway
{
	my ($dbh, $name, @of_credentials) = @_;
	my $provider = value($dbh, q{INSERT INTO egress_provider (name, provider_type) VALUES (?, 'custom')
		RETURNING egress_provider_id}, $name);
	$dbh->do(q{INSERT INTO egress_gateway (egress_provider_id, name) VALUES (?, ?)}, undef, $provider, $name);
	$dbh->do(q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (?, 'everyone')}, undef, $provider);
	$dbh->do(q{INSERT INTO egress_credential
			(egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
		SELECT ?, 'credential ' || number, 'everyone', true, credential_limit
		FROM unnest(?::int[]) WITH ORDINALITY AS c (credential_limit, number)}, undef, $provider, \@of_credentials);
}

sub acquire
{
	my ($gateway, $session, $user) = @_;
	$user //= 'ann';
	return "SELECT egress_credential_id FROM egress_acquire_credential('$user', NULL, $gateway, '$session')";
}

sub release
{
	my ($session) = @_;
	return "SELECT egress_release_credential('$session')";
}

sub free
{
	my ($dbh, $gateway) = @_;
	my $taken = 0;
	$dbh->begin_work;
	$taken++ while sqlstate { $dbh->do(acquire($gateway, "free $taken")) } eq '' && $taken < 100;
	$dbh->rollback;
	return $taken;
}

sub begin
{
	my ($self) = @_;
	for my $number (1 .. CLIENTS)
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			srand($number);
			my $ok = eval {
				EgressFailover::Client->new(name => "client $number", file => "$self->{folder}/$number",
					stop => "$self->{folder}/stop", held => {}, map { $_ => $self->{$_} } qw(connect patience pause))->work;
				1;
			};
			print STDERR "client $number: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		$self->{pids}{$pid} = $number;
	}
}

# lets the clients come to their end, and knows what they wrote
sub end
{
	my ($self) = @_;
	@$self{qw(died intervals problems held released counts)} = (0, [], [], {}, {}, {});
	open my $stop, '>', "$self->{folder}/stop" or die "stop: $!";
	for my $pid (keys %{ $self->{pids} })
	{
		waitpid($pid, 0);
		$self->{died}++ if $? != 0;
	}
	$self->{pids} = {};
	for my $number (1 .. CLIENTS)
	{
		open my $file, '<', "$self->{folder}/$number" or die "$self->{folder}/$number: $!";
		while (<$file>)
		{
			chomp;
			my ($kind, @fields) = split /\t/;
			if    ($kind eq 'interval') { push @{ $self->{intervals} }, [@fields] }
			elsif ($kind eq 'problem')  { push @{ $self->{problems} }, "client $number: $fields[0]" }
			elsif ($kind eq 'held')     { $self->{held}{ $fields[0] } = $fields[1] }
			elsif ($kind eq 'released') { $self->{released}{ $fields[0] } = 1 }
			elsif ($kind eq 'count')    { $self->{counts}{ $fields[0] } += $fields[1] }
		}
	}
}

# ended by a test that fails or is interrupted
sub DESTROY
{
	my ($self) = @_;
	local $?;
	return if $$ != $self->{owner};
	kill 'KILL', keys %{ $self->{pids} };
	waitpid $_, 0 for keys %{ $self->{pids} };
}

sub check
{
	my ($self, $dbh, $times) = @_;
	my $counts = $self->{counts};
	note "$_: $counts->{$_}" for sort keys %$counts;
	is($self->{died}, 0, 'every client came to its end');
	is(join("\n", @{ $self->{problems} }), '', 'every client found at the new primary what it had been told');
	cmp_ok($counts->{reconnected} // 0, '>=', CLIENTS * $times, 'each of them after each failover');

	for my $credential (1 .. @limits)
	{
		my $most = most_at_once(map { [ @$_[1, 2] ] } grep { $_->[0] == $credential } @{ $self->{intervals} });
		is($most, $limits[ $credential - 1 ], "credential $credential: its limit was held at once, and not more");
	}

	my %leases = map { @$_ } @{ $dbh->selectall_arrayref(
			'SELECT session_id, egress_credential_id FROM egress_lease WHERE egress_gateway_id = 1') };
	is_deeply(\%leases, $self->{held}, 'the leases are those that the clients hold');
	my %history = map { @$_ } @{ $dbh->selectall_arrayref(
			'SELECT session_id, count(*) FROM egress_lease_history WHERE egress_gateway_id = 1 GROUP BY session_id') };
	is_deeply(\%history, $self->{released}, 'the history has each that they gave back, once');
	$dbh->do(release($_)) for keys %leases;
	is(free($dbh, 1), sum0(@limits), 'the whole capacity can be taken');
}

sub longest_gap
{
	my ($self, $from, $until) = @_;
	my @moments = sort { $a <=> $b } $from, $until, grep { $_ > $from && $_ < $until } map { $_->[1] } @{ $self->{intervals} };
	return max(map { $moments[$_] - $moments[ $_ - 1 ] } 1 .. $#moments);
}

# ---------------------------------------------------------------------------------------------------------------

# A client: a connection to the server that takes writes, and what it has been told.
package EgressFailover::Client;

use strict;
use warnings;
use DBD::Pg qw(:async);
use EgressTest;
use JSON::PP qw(decode_json);
use Time::HiRes qw(sleep);
use parent 'EgressClient';

# a transaction that writes: when it is acknowledged, this is the primary
my $confirm = q{SELECT pg_logical_emit_message(true, 'test', '')};

# connect finds none for a while
sub reconnect
{
	my ($self) = @_;
	wait_until { eval { $self->SUPER::reconnect; 1 } } or die "no server takes writes: $@";
	$self->{dbh}{PrintWarn} = 1;
}

sub work
{
	my ($self) = @_;
	until ($self->is_over)
	{
		my @sessions = sort keys %{ $self->{held} };
		my $dice = rand();
		if    (!@sessions || @sessions == 1 && $dice < 0.4) { $self->acquire }
		elsif ($dice < 0.6)                                 { $self->renew($sessions[ rand @sessions ]) }
		else                                                { $self->release($sessions[ rand @sessions ]) }
		sleep rand($self->{pause});
	}
	for my $session (sort keys %{ $self->{held} })
	{
		$self->held_until($session, now());
		$self->record('held', $session, $self->{held}{$session}{credential});
	}
	$self->finish;
}

# The row that a statement returns, acknowledged. Dies when it has failed, or was given up.
sub ask
{
	my ($self, $sql, @values) = @_;
	my ($dbh, $warning) = ($self->{dbh}, '');
	local $SIG{__WARN__} = sub { $warning .= $_[0] };
	my $give_up = now() + ($self->{patience} // 'inf');
	my $statement = $dbh->prepare($sql, { pg_async => PG_ASYNC, pg_server_prepare => 0 });
	$statement->execute(@values);
	until ($statement->pg_ready)
	{
		if (now() > $give_up)
		{
			$self->{gave_up} = 1;
			$dbh->pg_cancel;
			die "no answer\n";
		}
		vec(my $socket = '', $dbh->{pg_socket}, 1) = 1;
		select $socket, undef, undef, 0.1;
	}
	$dbh->pg_result;
	my @row = $statement->fetchrow_array;
	$statement->finish;
	die "not acknowledged: $warning" if $warning ne '';
	return @row;
}

# The answer to a statement about a session, asked again until it is acknowledged; undef for NG004.
sub answer
{
	my ($self, $what, $session, $sql) = @_;
	my $again = 0;
	for (;;)
	{
		my $answer;
		my $acknowledged = eval {
			$self->look($session) if $again;
			if (!eval { ($answer) = $self->ask($sql); 1 })
			{
				die $@ if $self->{dbh}->state ne 'NG004';
				$self->ask($confirm);
			}
			1;
		};
		return $answer if $acknowledged;
		if (delete $self->{gave_up}) { $self->count("given up: $what") }
		elsif ($self->is_connected)  { die $@ }
		eval { $self->{dbh}->disconnect };
		$self->reconnect;
		$self->count("asked again: $what");
		$again = 1;
	}
}

# whether the connection is there; what a server says that ends it is no surprise
sub is_connected
{
	my ($self) = @_;
	local $SIG{__WARN__} = sub { };
	return $self->{dbh}->ping;
}

# After a failover: are the leases, and their ends, what was acknowledged? Of one session the last answer is missing.
sub look
{
	my ($self, $in_doubt) = @_;
	my ($found) = $self->ask(qq{
		SELECT coalesce(jsonb_object_agg(session_id,
			jsonb_build_object('credential', egress_credential_id, 'expires_at', expires_at::text)), '{}'), ($confirm)
		FROM egress_lease LEFT JOIN egress_lease_expiry USING (session_id, egress_credential_id)
		WHERE user_id = ?}, $self->{name});
	my $leases = decode_json($found);
	$self->count('reconnected');
	for my $session (grep { $_ ne $in_doubt } keys %{ { %$leases, %{ $self->{held} } } })
	{
		my ($lease, $told) = ($leases->{$session}, $self->{held}{$session});
		$self->record('problem', "$session came back") if !$told;
		$self->record('problem', "$session is lost")   if !$lease;
		next if !$told || !$lease;
		$self->record('problem', "$session has another credential") if $lease->{credential} != $told->{credential};
		$self->record('problem', "$session ends at $lease->{expires_at}, not at $told->{expires_at}")
		  if ($lease->{expires_at} // '') ne ($told->{expires_at} // '');
	}
}

sub acquire
{
	my ($self) = @_;
	my $session = "$self->{name}: " . ++$self->{serial};
	my $credential = $self->answer('acquire', $session, EgressFailover::acquire(1, $session, $self->{name}));
	$self->count(defined $credential ? 'acquired' : 'full');
	$self->{held}{$session} = { credential => $credential, since => now() } if defined $credential;
}

sub renew
{
	my ($self, $session) = @_;
	$self->{held}{$session}{expires_at} =
	  $self->answer('renewal', $session, "SELECT egress_renew_lease('$session', '1 hour')::text");
	$self->record('problem', "$session cannot be renewed") if !defined $self->{held}{$session}{expires_at};
	$self->count('renewed');
}

sub release
{
	my ($self, $session) = @_;
	$self->held_until($session, now());
	delete $self->{held}{$session};
	$self->answer('release', $session, EgressFailover::release($session));
	$self->record('released', $session);
	$self->count('released');
}

sub held_until
{
	my ($self, $session, $moment) = @_;
	my $lease = $self->{held}{$session};
	$self->record('interval', $lease->{credential}, $lease->{since}, $moment);
}

1;
