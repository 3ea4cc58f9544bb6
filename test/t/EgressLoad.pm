# EgressLoad.pm -- a load that is interrupted, and an oracle that knows what has to be there afterwards
#
#   use EgressLoad;                             before EgressCluster
#   my $load = EgressLoad->new(seed => $seed, connect => sub { client($node) });
#   my $node = cluster('name', $load->settings);
#   $load->create_world;                        tables, gateways, credentials
#   $load->begin($stays);                       the load goes on; who loses its connection ends, or stays and reconnects
#   $load->end;                                 it has ended: by itself, or as it is told to here
#   $load->check($label);                       tests: everything is as the clients know it, or may be
#   $load->check_all_given_back; $load->check_variety(@what);
#
# Clients take leases, with a ttl and without, renew them, ask again and give them back: by function or by the triggers
# of a session table, in single statements and in transactions, in savepoints, in prepared transactions. Beside them a
# provider's list is synced, secrets are rotated and changed, expired leases are swept, tables are vacuumed, and
# checkpoints made.
#
# The oracle: each client keeps what it knows in its own memory. It writes down what a statement is about to do before
# it sends it, and what it did when the answer has come. When a connection is lost
#  - what was acknowledged is there;
#  - what was not sent to its end (a transaction without its COMMIT) is not;
#  - what was sent and not acknowledged is there whole, or not at all: lease, end, history and session row;
#  - a prepared transaction whose PREPARE was acknowledged is there until its COMMIT PREPARED or ROLLBACK PREPARED was
#    sent.
# A lease is known by its session and acquired_at. It is in egress_lease or once in egress_lease_history, and never in
# both; one whose time is over may be in either. What no client knows of must not be there. Read are the tables only,
# by sequential scans; whether the indexes have the same, amcheck says. Only the secrets are opened by egress itself.
package EgressLoad;

use strict;
use warnings;
use EgressTest;
use File::Temp qw(tempdir);
use POSIX ();
use Storable qw(store retrieve);
use Test::More;
use Time::HiRes qw(sleep time);

# credential => limit; 5 has none. Gateways 1 and 2 are for 1 to 3 and for 7, which is once per gateway, gateway 2 also for 4;
# gateway 3 is for 5, and gateway 4, which is in every list, for 6. What was held of 3 and 5 cools down
our %limits = (1 => 1, 2 => 2, 3 => 3, 4 => 4, 6 => 3, 7 => 2);
our @gateways = (1, 2, 3, 4);

# these have secrets too, and nobody may use them: so that a rotation takes its time
our @idle = (101 .. 160);

# what a server needs for it, beside the key file; a start would otherwise sync each file of the cluster, for seconds
my @settings = ('fsync = on', 'max_connections = 30', 'max_prepared_transactions = 30', 'autovacuum_naptime = 1s',
	'log_statement = none', 'log_min_messages = log', 'recovery_init_sync_method = syncfs');

use constant { CLIENTS => 8, MANAGED => 3, COOL_DOWN => 0.02 };

sub new
{
	my ($class, %self) = @_;
	my $self = bless {%self}, $class;
	$self->{folder} = tempdir('egress-load-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	$self->{round} = 0;
	$self->{owner} = $$;
	$self->{pids} = {};
	$self->{actors} = [
		(map { EgressLoad::Client->new($self, "client $_") } 1 .. CLIENTS),
		EgressLoad::Syncer->new($self, 'syncer'), EgressLoad::Rotator->new($self, 'rotator'),
		EgressLoad::Janitor->new($self, 'janitor') ];
	return $self;
}

sub key_file { return "$_[0]{folder}/keys" }
sub settings { return (@settings, "egress.secret_key_file = '@{[ $_[0]->key_file ]}'") }
sub clients { return grep { $_->isa('EgressLoad::Client') } @{ $_[0]{actors} } }

# the text of a credential's secret, at first
sub secret { return "secret of $_[0]" }

sub create_world
{
	my ($self) = @_;
	my $dbh = $self->{connect}->();
	$dbh->do($_) for (
		'CREATE EXTENSION egress',
		'CREATE EXTENSION amcheck',
		q{INSERT INTO egress_provider (egress_provider_id, name, provider_type, managed, enable_new_managed_gateways)
			VALUES (1, 'Lanternway', 'custom', false, false), (2, 'Quillport', 'custom', false, false),
				(3, 'Birch', 'openvpn', true, true), (4, 'Idle', 'custom', false, false)},
		q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, config)
			VALUES (1, 1, 'nl-ams-01', NULL), (2, 1, 'de-fra-01', NULL), (3, 2, 'ch-zrh-01', NULL),
				(4, 3, 'always', 'remote always.example.net')},
		'ALTER TABLE egress_gateway ALTER egress_gateway_id RESTART WITH 100',
		q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type)
			VALUES (1, 'everyone'), (2, 'everyone'), (3, 'everyone')},
		q{CREATE TABLE session (id text PRIMARY KEY, status text NOT NULL)},
		q{SELECT egress_attach_sessions('session', 'id', $$NEW.status = 'stopped'$$)});
	for my $id (1 .. 7)
	{
		my ($provider, $secret) = $id <= 4 || $id == 7 ? (1, 'custom_credential') : $id == 5 ? (2, 'custom_credential') : (3, 'password');
		$dbh->do(qq{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type,
					username, $secret, allow_all_gateways, limit_active_connections, active_connection_limit, once_per_gateway,
					cool_down)
				VALUES (?, ?, ?, 'everyone', ?, ?, ?, ?, ?, ?, ?)}, undef,
			$id, $provider, "credential $id", $id == 6 ? 'user' : undef, secret($id), $id == 4 ? 0 : 1,
			defined $limits{$id} ? 1 : 0, $limits{$id}, $id == 7 ? 1 : 0, $id == 3 || $id == 5 ? COOL_DOWN . ' s' : undef);
	}
	$dbh->do('INSERT INTO egress_credential_gateway (egress_credential_id, egress_gateway_id) VALUES (4, 2)');
	$dbh->do(q{INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type, subject_id,
				custom_credential) VALUES (?, 4, ?, 'user', 'nobody', ?)}, undef, $_, "idle $_", secret($_))
	  for @idle;
	EgressLoad::Syncer::sync($dbh, 0);
	$dbh->disconnect;
}

# Fork everybody; what they know they leave in a file at their end. After: all are connected.
sub begin
{
	my ($self, $stays) = @_;
	my $number = 0;
	$self->{round}++;
	unlink "$self->{folder}/stop";
	$self->{pids} = {};
	for my $actor (@{ $self->{actors} })
	{
		$number++;
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			$SIG{TERM} = 'DEFAULT';
			srand($self->{seed} + 1000 * $self->{round} + $number);
			my $ok = eval { $actor->work($stays); 1 };
			diag "$actor->{name}: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		$self->{pids}{$pid} = $number - 1;
	}
	my $dbh = $self->{connect}->();
	my $here = wait_until {
		$dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'load'}) == $number
	};
	die 'the load does not begin' if !$here;
	$dbh->disconnect;
}

# wait for everybody, who will have ended when they have no server or see this; then know what they know
sub end
{
	my ($self) = @_;
	open my $stop, '>', "$self->{folder}/stop" or die "stop: $!";
	close $stop;
	$self->{died} = '';
	for my $pid (keys %{ $self->{pids} })
	{
		waitpid($pid, 0);
		my $actor = \$self->{actors}[ $self->{pids}{$pid} ];
		if ($? != 0)
		{
			$self->{died} .= "$$actor->{name} ";
			next;
		}
		my $known = retrieve($$actor->file);
		$known->{load} = $self;
		$$actor = $known;
	}
	$self->{pids} = {};
}

# ended by a test that fails or is interrupted
sub DESTROY
{
	my ($self) = @_;
	local $?;
	return if $$ != $self->{owner};
	kill 'TERM', $_ for keys %{ $self->{pids} };
	waitpid $_, 0 for keys %{ $self->{pids} };
}

# What is there: {leases, history}, each by session and acquired_at, of some sessions or of all; but for what cools down.
sub read_leases
{
	my ($dbh, $sessions) = @_;
	my $where = defined $sessions ? 'WHERE session_id = ANY (?)' : '';
	my %there = (leases => {}, history => {});
	for my $row (@{ $dbh->selectall_arrayref(qq{
		SELECT 'leases' AS place, session_id, acquired_at, egress_credential_id AS credential, egress_gateway_id AS gateway,
			slot, extract(epoch FROM expires_at)::float8 AS ends, NULL AS reason
		FROM (SELECT * FROM egress_lease WHERE NOT cooling) l
			LEFT JOIN egress_lease_expiry USING (session_id, egress_credential_id) $where
		UNION ALL
		SELECT 'history', session_id, acquired_at, egress_credential_id, egress_gateway_id,
			NULL, extract(epoch FROM released_at)::float8, release_reason
		FROM egress_lease_history $where}, { Slice => {} }, (defined $sessions ? ($sessions, $sessions) : ())) })
	{
		push @{ $there{ $row->{place} }{"$row->{session_id}\t$row->{acquired_at}"} }, $row;
	}
	return \%there;
}

# Everything is as the clients know it, or may be; and the whole capacity can be taken. Prepared transactions stay for
# the next round now and then, unless the label is "end".
sub check
{
	my ($self, $label) = @_;
	my $dbh = $self->{connect}->();
	is($self->{died}, '', "$label: everybody has said what it knows");
	$dbh->do("SET $_ = off") for qw(enable_indexscan enable_indexonlyscan enable_bitmapscan);

	for my $actor (@{ $self->{actors} })
	{
		$actor->{dbh} = $dbh;
		$actor->wrong($@) if !eval { $actor->resolve; 1 };
		delete $actor->{dbh};
	}
	my @wrong = map { my $actor = $_; map { "$actor->{name}: $_" } splice @{ $actor->{wrong} } } @{ $self->{actors} };
	is_short(\@wrong, "$label: what was under way is there whole or not at all, what is prepared is");

	is_short($self->compare_leases($dbh), "$label: every lease and every end that was acknowledged is there, once");
	is_short($self->compare_rows($dbh), "$label: so are the sessions");
	is_short($dbh->selectcol_arrayref(q{
		WITH held AS (
			SELECT l.*, c.limit_active_connections, c.active_connection_limit, c.once_per_gateway
			FROM egress_lease l JOIN egress_credential c USING (egress_credential_id)
			LEFT JOIN egress_lease_expiry e USING (session_id)
			-- what was over, and was being ended when the server went down, is there beside the lease that came after it
			WHERE (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
			AND NOT (l.cooling AND coalesce(l.acquired_at + c.cool_down, '-infinity') <= clock_timestamp()))
		SELECT format('credential %s: %s leases, slots %s', egress_credential_id, count(*), array_agg(slot ORDER BY slot))
		FROM held
		GROUP BY egress_credential_id, limit_active_connections, active_connection_limit
		HAVING limit_active_connections AND (count(*) > active_connection_limit OR count(*) <> count(DISTINCT slot))
		UNION ALL
		SELECT format('credential %s: %s leases at gateway %s', egress_credential_id, count(*), egress_gateway_id)
		FROM held WHERE once_per_gateway
		GROUP BY egress_credential_id, egress_gateway_id HAVING count(*) > 1
		UNION ALL
		SELECT format('an end without a lease: %s', session_id) FROM egress_lease_expiry e
		WHERE NOT EXISTS (SELECT FROM egress_lease l WHERE (l.session_id, l.egress_credential_id)
			= (e.session_id, e.egress_credential_id))}), "$label: no limit is passed, and nothing twice at a gateway where it may be once");

	my $indexes = $dbh->selectcol_arrayref(q{
		SELECT indexrelid::regclass FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
		WHERE indrelid::regclass::text ~ '^(egress_|session$)' AND relam = (SELECT oid FROM pg_am WHERE amname = 'btree')});
	my $state = sqlstate { $dbh->do('SELECT bt_index_check(?::regclass, true)', undef, $_) for @$indexes };
	is($state, '', "$label: the indexes have the same as the tables") or diag $DBI::errstr;

	$self->finish_prepared($dbh, $label eq 'end' ? 1 : rand() < 0.5 ? 1 : 0.5);
	$dbh->do('RESET ALL');
	$self->check_capacity($dbh, $label);
	$dbh->disconnect;
}

sub compare_leases
{
	my ($self, $dbh) = @_;
	my $there = read_leases($dbh);
	my @wrong;
	for my $client ($self->clients)
	{
		for my $lease (values %{ $client->{held} }, @{ $client->{past} })
		{
			my $key = EgressLoad::Client::key($lease);
			push @wrong, "$client->{name}: " . EgressLoad::Client::describe($lease, $there)
			  if !EgressLoad::Client::is_there($lease, $there);
			delete $there->{$_}{$key} for qw(leases history);
		}
	}
	for my $place (sort keys %$there)
	{
		push @wrong, map { "nobody's, in $place: $_" } sort keys %{ $there->{$place} };
	}
	return \@wrong;
}

sub compare_rows
{
	my ($self, $dbh) = @_;
	my %rows = map { @$_ } @{ $dbh->selectall_arrayref('SELECT id, status FROM session') };
	my @wrong;
	for my $client ($self->clients)
	{
		for my $session (sort keys %{ $client->{rows} })
		{
			my $status = delete $rows{$session} // 'not there';
			push @wrong, "session $session: $status, not $client->{rows}{$session}" if $status ne $client->{rows}{$session};
		}
	}
	push @wrong, map { "nobody's session: $_" } sort keys %rows;
	return \@wrong;
}

# commit or roll back prepared transactions, each with this probability
sub finish_prepared
{
	my ($self, $dbh, $probability) = @_;
	for my $client ($self->clients)
	{
		for my $prepared (splice @{ $client->{prepared} })
		{
			if (rand() > $probability)
			{
				push @{ $client->{prepared} }, $prepared;
				next;
			}
			my $commit = rand() < 0.6;
			$dbh->do(($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$prepared->{gid}'");
			$client->apply($prepared->{tx}) if $commit;
			$client->{counts}{'prepared, finished after the crash'}++;
		}
	}
}

# Take all that is free, and give it back: nobody else is there.
sub check_capacity
{
	my ($self, $dbh, $label) = @_;

	# what ends soon has ended, so that there is no doubt
	my ($soon) = sort { $b <=> $a } 0, grep { $_ < time + 60 } map { $_->{until} ? $_->{until}[1] : () }
	  map { values %{ $_->{held} } } $self->clients;
	sleep $soon - time + 0.002 if $soon >= time - 0.001;

	# what was given back a moment ago cools down
	sleep 2 * COOL_DOWN;
	my %free = %limits;
	my ($prepared) = $dbh->selectrow_array('SELECT count(*) FROM pg_prepared_xacts');
	for my $client ($self->clients)
	{
		$free{ $_->{credential} }--
		  for grep { !$_->{until} || $_->{until}[0] + ($_->{credential} == 3 ? COOL_DOWN : 0) > time } values %{ $client->{held} };

		# an acquire that is prepared holds a connection of its own, unless the session had one before
		for my $tx (map { $_->{tx} } @{ $client->{prepared} })
		{
			$free{ $_->{credential} }-- for grep { defined && !$client->{held}{ $_->{session} } } values %{ $tx->{held} };
		}
	}
	delete $free{5};

	my %taken = map { $_ => 0 } keys %limits;
	my $client = EgressLoad::Client->new($self, "all $self->{round}");
	$client->{dbh} = $dbh;
	my $full = '';
	for my $gateway (1, 2, 4)
	{
		my $number = 0;
		my $state = '';
		while ($state eq '')
		{
			my $tx = $client->new_tx;
			$state = sqlstate { $client->take($tx, "all $self->{round} $gateway " . ++$number, $gateway, undef) };
			next if $state ne '';
			$client->apply($tx);
			$taken{ $client->{held}{"all $self->{round} $gateway $number"}{credential} }++;
		}
		$full .= "$state ";
	}
	is($full, 'NG004 NG004 NG004 ', "$label: until NG004 says that all is taken");
	if ($prepared)
	{
		my @more = grep { $taken{$_} > $free{$_} } sort keys %free;
		is_short([ map { "credential $_: $taken{$_} taken, $free{$_} free" } @more ],
			"$label: no more was free than prepared transactions leave");
	}
	else
	{
		is_deeply(\%taken, \%free, "$label: all was free that is not held");
	}

	for my $session (sort keys %{ $client->{held} })
	{
		my $tx = $client->new_tx;
		$client->give($tx, $session);
		$client->apply($tx);
	}
	is("@{ $client->{wrong} }", '', "$label: and was given back");

	# from now on these are the first client's to know
	push @{ $self->{actors}[0]{past} }, @{ $client->{past} };
	$self->{actors}[0]{known}{$_} = 1 for keys %{ $client->{known} };
}

# All sessions end; the whole capacity is free. Before: check() with the label "end".
sub check_all_given_back
{
	my ($self) = @_;
	my $dbh = $self->{connect}->();
	for my $client ($self->clients)
	{
		$client->{dbh} = $dbh;
		for my $session (sort keys %{ $client->{held} })
		{
			my $tx = $client->new_tx;
			$client->give($tx, $session);
			$client->apply($tx);
		}
		delete $client->{dbh};
	}
	is_short($self->compare_leases($dbh), 'all sessions have ended');
	$dbh->do('SELECT egress_expire_leases()');
	is($dbh->selectrow_array('SELECT count(*) FROM egress_lease WHERE NOT cooling'), 0, 'no lease is left');
	$self->{round}++;
	$self->check_capacity($dbh, 'all given back');
	is($dbh->selectrow_array(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), 0, 'no lock is left');
	$dbh->disconnect;
}

# the load did what it was meant to do
sub check_variety
{
	my ($self, @what) = @_;
	my %counts;
	for my $actor (@{ $self->{actors} })
	{
		$counts{$_} += $actor->{counts}{$_} for keys %{ $actor->{counts} };
	}
	note "$_: $counts{$_}" for sort keys %counts;
	is(join(', ', grep { !$counts{$_} } @what), '', 'the load had all in it that it should');
}

# ---------------------------------------------------------------------------------------------------------------

# Somebody with a connection, and what it knows: wrong (what must not be, as sentences), counts.
# Each kind has step(), one thing to do, and resolve(), which finds out what became of it when no answer came.
package EgressLoad::Actor;

use strict;
use warnings;
use EgressTest;
use Storable qw(store);
use Time::HiRes qw(sleep);

sub new
{
	my ($class, $load, $name, %state) = @_;
	return bless { load => $load, name => $name, wrong => [], counts => {}, %state }, $class;
}

sub file { return "$_[0]{load}{folder}/" . ($_[0]{name} =~ s/ /-/r) }
sub count { $_[0]{counts}{ $_[1] }++ }
sub wrong { push @{ $_[0]{wrong} }, $_[1] }

sub do
{
	my ($self, @statement) = @_;
	return $self->{dbh}->do(@statement);
}

sub select
{
	my ($self, @query) = @_;
	return $self->{dbh}->selectrow_array(@query);
}

sub connect
{
	my ($self) = @_;
	$self->{dbh} = $self->{load}{connect}->();
	$self->{dbh}->do(q{SET application_name = 'load'});
	$self->{dbh}->do(q{SET lock_timeout = '10s'});
	$self->{lost} = 0;
}

# run something; returns '', the SQLSTATE, or 'lost' when the connection is
sub try
{
	my ($self, $code) = @_;
	my $state = &sqlstate($code);
	if ($state ne '' && !$self->{dbh}->ping)
	{
		$self->{lost} = 1;
		$state = 'lost';
	}
	$self->count("answer $state") if $state ne '';
	$self->wrong("$state: $DBI::errstr") if $state !~ /^(|lost|NG004|57014)$/;
	return $state;
}

# what has to be done, although a cancel that comes late or a timeout may hit it; not when the connection is lost
sub insist
{
	my ($self, $code) = @_;
	my $state;
	do { $state = $self->try($code) } while $state eq '57014';
	die "$self->{name}: $DBI::errstr\n" if $state !~ /^(|lost)$/;
}

# the end of a transaction that failed
sub roll_back
{
	my ($self) = @_;
	$self->insist(sub { $self->do('ROLLBACK') }) if !$self->{lost};
}

# connect again, when what the old backend had under way is at its end, and find out what became of it
sub come_back
{
	my ($self) = @_;
	my $old = $self->{dbh}{pg_pid};
	my $done = wait_until
	{
		eval {
			$self->{dbh}->disconnect;
			$self->connect;
			while ($self->select('SELECT true FROM pg_stat_activity WHERE pid = ?', undef, $old)) { sleep 0.005 }
			$self->resolve;
			!$self->{lost};
		}
	};
	die "no way back: $@" if !$done;
	$self->count('came back');
}

# Until it is told to stop, or its connection is lost and it does not stay; then leave what it knows in a file.
sub work
{
	my ($self, $stays) = @_;
	my $parent = getppid();
	$self->{lost} = 1;
	$self->{dbh} = undef;
	my $connected = wait_until { eval { $self->connect; 1 } };
	die "no connection: $@" if !$connected;
	while (!-e "$self->{load}{folder}/stop" && getppid() == $parent)
	{
		$self->step($stays);
		next if !$self->{lost};
		last if !$stays;
		$self->come_back;
	}
	$self->{dbh}->disconnect;
	my %known = %$self;
	delete @known{qw(dbh load lost)};
	store(bless(\%known, ref $self), $self->file);
}

# ---------------------------------------------------------------------------------------------------------------

# A client knows
#   held     session => lease: which it holds by what was committed
#   past     leases that it gave back, or whose time was over when it looked
#   known    the leases that it ever knew of
#   rows     session => status: its rows of the session table
#   prepared list of {gid, tx, step}
#   tx       the transaction whose end it does not know
# A lease is {session, acquired_at, credential, gateway, until, reason, sure}. until: undef, or between which moments
# its time is over. reason: why it ended. sure: its time was surely not over then. A lease is never changed, but
# replaced. A tx is what a transaction changes in these, {held, past, rows}, and maybe: it may be committed.
package EgressLoad::Client;

use strict;
use warnings;
use EgressTest;
use Time::HiRes qw(sleep time);
our @ISA = ('EgressLoad::Actor');

use constant LONG => 3600;

sub new
{
	my ($class, @who) = @_;
	return $class->SUPER::new(@who, serial => 0, held => {}, past => [], known => {}, rows => {}, prepared => []);
}

sub new_tx { return { held => {}, past => [], rows => {}, maybe => 0 } }
sub key { return "$_[0]{session}\t" . ($_[0]{acquired_at} // '') }

# is the lease there as it should be?
sub is_there
{
	my ($lease, $there) = @_;
	my $key = key($lease);
	my ($row, @more) = (@{ $there->{leases}{$key} // [] }, @{ $there->{history}{$key} // [] });
	return 0 if !$row || @more || $row->{credential} != $lease->{credential} || $row->{gateway} != $lease->{gateway};

	my $until = $lease->{until};
	my $in_time = $until && defined $row->{ends} && $row->{ends} > $until->[0] - 0.001 && $row->{ends} < $until->[1] + 0.001;
	my $over = $until && $until->[0] <= time && !$lease->{sure};
	return $row->{reason} eq ($lease->{reason} // '') || $over && $in_time && $row->{reason} eq 'expired'
	  if defined $row->{reason};
	return (!defined $lease->{reason} || $over) && ($until ? $in_time : !defined $row->{ends});
}

sub describe
{
	my ($lease, $there) = @_;
	my $show = sub {
		my ($hash) = @_;
		return join ' ', map { "$_=" . (ref $hash->{$_} ? "@{ $hash->{$_} }" : $hash->{$_} // '-') } sort keys %$hash;
	};
	my $key = key($lease);
	return $show->($lease) . "\n  there: " . join("\n  and ", map { $show->($_) }
		@{ $there->{leases}{$key} // [] }, @{ $there->{history}{$key} // [] });
}

# the transaction is committed
sub apply
{
	my ($self, $tx) = @_;
	for my $session (keys %{ $tx->{held} })
	{
		my $lease = $tx->{held}{$session};
		delete $self->{held}{$session};
		$self->{held}{$session} = $lease if defined $lease;
	}
	push @{ $self->{past} }, @{ $tx->{past} };
	$self->{known}{ key($_) } = 1 for grep { defined } values %{ $tx->{held} }, @{ $tx->{past} };
	for my $session (keys %{ $tx->{rows} })
	{
		my $status = $tx->{rows}{$session};
		delete $self->{rows}{$session};
		$self->{rows}{$session} = $status if defined $status;
	}
}

# ------------------------------------------------------------------ what it does

sub step
{
	my ($self, $stays) = @_;

	# those who stay are interrupted in single statements, too
	$self->limit_time(rand() < 0.3 ? 1 + int(rand(12)) : 0) if $stays;
	$self->transaction if !$self->{lost};
	$self->end_prepared if !$self->{lost} && @{ $self->{prepared} } && (rand() < 0.2 || @{ $self->{prepared} } > 1);
	sleep rand(0.01) if rand() < 0.3;
}

# let statements end after so many milliseconds, or never for 0
sub limit_time
{
	my ($self, $timeout) = @_;
	return if $timeout == ($self->{timeout} // 0);
	$self->insist(sub { $self->do("SET statement_timeout = $timeout") });
	$self->{timeout} = $timeout;
}

sub connect
{
	my ($self) = @_;
	$self->SUPER::connect;
	$self->{timeout} = 0;
}

# the sessions whose leases are held, and not in a prepared transaction's hands
sub free_sessions
{
	my ($self) = @_;
	my %busy = map { $_ => 1 } map { keys %{ $_->{tx}{held} } } @{ $self->{prepared} };
	return grep { !$busy{$_} } sort keys %{ $self->{held} };
}

# One transaction, of a single statement or of several. When its end is not known, it stays in tx.
sub transaction
{
	my ($self) = @_;
	my $tx = $self->{tx} = new_tx();
	my $several = rand() < 0.6;
	$tx->{maybe} = !$several;
	my $state = $self->try(sub {
		return $self->something($tx, 0) if !$several;
		$self->do('BEGIN ISOLATION LEVEL ' . (rand() < 0.5 ? 'READ COMMITTED' : 'REPEATABLE READ'));
		for (0 .. rand(3))
		{
			rand() < 0.3 ? $self->savepoint($tx) : $self->something($tx, 1);
		}
		sleep rand(0.005) if rand() < 0.3;
	});
	return $self->end_transaction($tx) if $state eq '' && $several;
	$self->has_ended($tx, $state, $state eq '', 'single statement');
}

# The answer to the statement that ends a transaction has come, or to the one that failed: then nothing of it is there.
sub has_ended
{
	my ($self, $tx, $state, $committed, $what) = @_;
	return if $state eq 'lost';
	if ($state eq '')
	{
		$self->apply($tx) if $committed;
		$self->count($what);
		delete $self->{tx};
		return;
	}
	$tx->{maybe} = 0;
	$self->roll_back;
	return delete $self->{tx} if $state eq 'NG004' && !$self->{lost};
	$self->resolve if !$self->{lost};
}

sub end_transaction
{
	my ($self, $tx) = @_;
	my $dice = rand();
	if ($dice < 0.7)
	{
		$tx->{maybe} = 1;
		$self->has_ended($tx, $self->try(sub { $self->do('COMMIT') }), 1, 'committed');
	}
	elsif ($dice < 0.85)
	{
		$self->has_ended($tx, $self->try(sub { $self->do('ROLLBACK') }), 0, 'rolled back');
	}
	else
	{
		my $prepared = { gid => "$self->{name}-" . ++$self->{serial}, tx => $tx, step => 'PREPARE' };
		push @{ $self->{prepared} }, $prepared;
		delete $self->{tx};
		my $state = $self->try(sub { $self->do("PREPARE TRANSACTION '$prepared->{gid}'") });
		return if $state eq 'lost';
		if ($state eq '')
		{
			$prepared->{step} = 'prepared';
			$self->count('prepared');
			return;
		}
		$self->roll_back;
		$self->resolve if !$self->{lost};
	}
}

# commit or roll back a prepared transaction
sub end_prepared
{
	my ($self) = @_;
	my $prepared = $self->{prepared}[0];
	my $how = rand() < 0.7 ? 'COMMIT' : 'ROLLBACK';
	$prepared->{step} = $how;
	my $state = $self->try(sub { $self->do("$how PREPARED '$prepared->{gid}'") });
	return if $state eq 'lost';
	return $self->resolve if $state ne '';
	shift @{ $self->{prepared} };
	$self->apply($prepared->{tx}) if $how eq 'COMMIT';
	$self->count(lc "$how prepared");
}

# something in a savepoint, which is kept or undone; also when it failed
sub savepoint
{
	my ($self, $tx) = @_;
	my %before = (held => { %{ $tx->{held} } }, past => [ @{ $tx->{past} } ], rows => { %{ $tx->{rows} } });
	$self->do('SAVEPOINT attempt');
	my $state = sqlstate { $self->something($tx, 1) };
	if ($state eq '' && rand() < 0.5)
	{
		$self->do('RELEASE SAVEPOINT attempt');
		$self->count('savepoint kept');
	}
	elsif ($state eq '' || $state eq 'NG004')
	{
		$self->do('ROLLBACK TO SAVEPOINT attempt');
		%$tx = (%$tx, %before);
		$self->count('savepoint undone');
	}
	else
	{
		die "the error of the statement\n";
	}
}

# the lease of a session, as the transaction has it
sub lease_of
{
	my ($self, $tx, $session) = @_;
	return exists $tx->{held}{$session} ? $tx->{held}{$session} : $self->{held}{$session};
}

# one of what a client does; only a transaction of several statements may write a session's row and acquire in it
sub something
{
	my ($self, $tx, $several) = @_;
	my %sessions = map { $_ => 1 } $self->free_sessions, keys %{ $tx->{held} };
	my @held = grep { $self->lease_of($tx, $_) } sort keys %sessions;
	my $session = @held ? $held[ rand @held ] : undef;
	my $dice = rand();

	if (!@held || @held < 4 && $dice < 0.4)
	{
		$session = "$self->{name}-" . ++$self->{serial};
		my $gateway = $EgressLoad::gateways[ rand @EgressLoad::gateways ];
		if ($several && rand() < 0.5)
		{
			$tx->{rows}{$session} = 'running';
			$self->do(q{INSERT INTO session VALUES (?, 'running')}, undef, $session);
		}
		$self->take($tx, $session, $gateway, rand() < 0.5 ? undef : rand() < 0.5 ? LONG : 0.1 + rand(0.7));
	}
	elsif ($dice < 0.6)
	{
		$self->renew($tx, $session, rand() < 0.2 ? undef : rand() < 0.6 ? LONG : 0.1 + rand(0.7));
	}
	elsif ($dice < 0.7)
	{
		$self->ask_again($tx, $session);
	}
	else
	{
		my $lease = $self->lease_of($tx, $session);
		my $again = $several && lasts($lease) && !defined $self->row_of($tx, $session) && rand() < 0.3;
		$self->give($tx, $session);
		if ($again)
		{
			$self->take($tx, $session, $lease->{gateway}, undef);
			$self->count('given back and taken again');
		}
	}
}

sub row_of
{
	my ($self, $tx, $session) = @_;
	return exists $tx->{rows}{$session} ? $tx->{rows}{$session} : $self->{rows}{$session};
}

sub query_acquire
{
	my ($self, $session, $gateway, $ttl) = @_;
	return $self->select(q{SELECT egress_credential_id, acquired_at, coalesce(password, custom_credential)
		FROM egress_acquire_credential('ana', NULL, ?, ?, make_interval(secs => ?))}, undef, $gateway, $session, $ttl);
}

# when the time of a ttl, which the server adds to its clock between these moments, is over
sub over
{
	my ($ttl, $from, $to) = @_;
	return defined $ttl ? [ $from + $ttl, $to + $ttl ] : undef;
}

sub take
{
	my ($self, $tx, $session, $gateway, $ttl) = @_;
	my $sent = time;
	my $lease = $tx->{held}{$session} = { session => $session, gateway => $gateway, ttl => $ttl, sent => $sent };
	my ($credential, $acquired_at, $secret) = $self->query_acquire($session, $gateway, $ttl);
	$tx->{held}{$session} = { session => $session, gateway => $gateway, credential => $credential,
		acquired_at => $acquired_at, until => over($ttl, $sent, time) };
	$self->wrong("acquire: the secret of $credential is '$secret'") if $secret ne EgressLoad::secret($credential);
	$self->count('acquired');
}

# does it not end by itself, or not soon?
sub lasts
{
	my ($lease) = @_;
	return !$lease->{until} || $lease->{until}[0] > time + LONG / 2;
}

# a session that holds a lease gets the same one
sub ask_again
{
	my ($self, $tx, $session) = @_;
	my $lease = $self->lease_of($tx, $session);
	return if !lasts($lease);
	my ($credential, $acquired_at) = $self->query_acquire($session, $lease->{gateway}, undef);
	$self->wrong("asked again, $session got $credential of $acquired_at, not $lease->{credential} of $lease->{acquired_at}")
	  if $credential != $lease->{credential} || $acquired_at ne $lease->{acquired_at};
	$self->count('asked again');
}

sub renew
{
	my ($self, $tx, $session, $ttl) = @_;
	my $lease = $self->lease_of($tx, $session);
	my $sent = time;
	$tx->{held}{$session} = { %$lease, until => over($ttl, $sent, $sent + 60) };
	my ($until) = $self->select('SELECT extract(epoch FROM egress_renew_lease(?, make_interval(secs => ?)))::float8',
		undef, $session, $ttl);
	if (defined $until)
	{
		$tx->{held}{$session} = { %$lease, until => defined $ttl ? [ $until, $until ] : undef };
		$self->count('renewed');
	}
	else
	{
		$self->lapsed($tx, $lease, 'renewal');
	}
}

# the time of a lease was over when it was looked at, or should have been
sub lapsed
{
	my ($self, $tx, $lease, $what) = @_;
	$self->wrong("$what: $lease->{session} has no lease of $lease->{acquired_at}")
	  if !$lease->{until} || $lease->{until}[0] > time;
	$tx->{held}{ $lease->{session} } = undef;
	push @{ $tx->{past} }, $lease;
	$self->count('too late');
}

# give a lease back: by the session's row, when it has one, or by the function
sub give
{
	my ($self, $tx, $session) = @_;
	my $lease = $self->lease_of($tx, $session);
	my $past = $tx->{past};
	my $place = @$past;
	$tx->{held}{$session} = undef;
	if (defined $self->row_of($tx, $session))
	{
		my $delete = rand() < 0.5;
		push @$past, { %$lease, reason => 'session_end' };
		$tx->{rows}{$session} = $delete ? undef : 'stopped';
		$self->do($delete ? 'DELETE FROM session WHERE id = ?' : q{UPDATE session SET status = 'stopped' WHERE id = ?},
			undef, $session);
		$past->[$place]{sure} = !$lease->{until} || $lease->{until}[0] > time;
		$self->count('ended by trigger');
		return;
	}
	push @$past, { %$lease, reason => 'released' };
	my ($released) = $self->select('SELECT egress_release_credential(?)', undef, $session);
	if ($released)
	{
		$past->[$place]{sure} = 1;
		$self->count('released');
	}
	else
	{
		pop @$past;
		$self->lapsed($tx, $lease, 'release');
	}
}

# ------------------------------------------------------------------ what became of it

# Find out what became of the transaction whose end is not known, and of the prepared ones. Before: nobody is at work
# on them any more. Nothing has happened when the connection is lost before the answers are there.
sub resolve
{
	my ($self) = @_;
	my $tx = $self->{tx};
	my %sessions = map { $_ => 1 }
	  map { keys %{ $_->{held} }, keys %{ $_->{rows} } } grep { defined } $tx, map { $_->{tx} } @{ $self->{prepared} };
	my ($there, %gids);
	$self->limit_time(0);
	$self->insist(sub {
		$there = EgressLoad::read_leases($self->{dbh}, [ keys %sessions ]);
		$there->{rows} = { map { @$_ } @{ $self->{dbh}->selectall_arrayref(
				'SELECT id, status FROM session WHERE id = ANY (?)', undef, [ keys %sessions ]) } };
		%gids = map { $_ => 1 } @{ $self->{dbh}->selectcol_arrayref('SELECT gid FROM pg_prepared_xacts') };
	});
	return if $self->{lost};

	delete $self->{tx};
	$self->decide($tx, $there, 'transaction', $tx->{maybe}, 1) if $tx;
	for my $prepared (splice @{ $self->{prepared} })
	{
		my ($gid, $step) = @$prepared{qw(gid step)};
		if ($gids{$gid})
		{
			$prepared->{step} = 'prepared';
			push @{ $self->{prepared} }, $prepared;
			$self->count('prepared transaction found');
			$self->decide($prepared->{tx}, $there, "$gid, prepared", 0, 1);
		}
		else
		{
			$self->wrong("$gid was prepared, and is not there") if $step eq 'prepared';
			$self->decide($prepared->{tx}, $there, "$gid after $step", $step eq 'COMMIT', $step ne 'COMMIT');
		}
	}
}

# Was the transaction committed, or undone? Says it when what is there is neither, of those that may be; applies it when
# it was committed. What may be seen as both has changed nothing.
sub decide
{
	my ($self, $tx, $there, $what, $may_be_committed, $may_be_undone) = @_;
	my $undone = $may_be_undone && $self->is_undone($tx, $there);
	my $committed = !$undone && $may_be_committed && $self->is_committed($tx, $there);
	$self->apply($tx) if $committed;
	$self->count('no answer, but ' . ($committed ? 'committed' : 'undone')) if $may_be_committed && $may_be_undone;
	return if $committed || $undone;
	my $wanted = join ' nor ', ($may_be_committed ? 'committed' : ()), ($may_be_undone ? 'undone' : ());
	$self->wrong("$what: not $wanted\n"
		. join("\n", map { describe($_, $there) } grep { defined } values %{ $tx->{held} }, @{ $tx->{past} })
		. join('', map { "\nsession $_: " . ($there->{rows}{$_} // '-') } sort keys %{ $tx->{rows} }));
}

# the leases of a session that are there and were never known
sub unknown
{
	my ($self, $session, $there) = @_;
	my @found;
	for my $leases (@$there{qw(leases history)})
	{
		push @found, map { @{ $leases->{$_} } } grep { /^\Q$session\E\t/ && !$self->{known}{$_} } keys %$leases;
	}
	return @found;
}

# Is all that the transaction changed there? What it did without an answer is known now.
sub is_committed
{
	my ($self, $tx, $there) = @_;
	for my $lease (grep { defined && !defined $_->{acquired_at} } values %{ $tx->{held} })
	{
		my ($row, @more) = $self->unknown($lease->{session}, $there);
		return 0 if !$row || @more;
		$tx->{held}{ $lease->{session} } = { session => $lease->{session}, gateway => $lease->{gateway},
			credential => $row->{credential}, acquired_at => $row->{acquired_at},
			until => over($lease->{ttl}, $lease->{sent}, time) };
	}
	my @held = grep { defined } values %{ $tx->{held} };
	return 0 if grep { !is_there($_, $there) } @held, @{ $tx->{past} };
	return 0 if grep { ($tx->{rows}{$_} // '') ne ($there->{rows}{$_} // '') } keys %{ $tx->{rows} };
	for my $lease (grep { $_->{until} } @held)
	{
		my ($row) = map { @{ $there->{$_}{ key($lease) } // [] } } qw(leases history);
		$tx->{held}{ $lease->{session} } = { %$lease, until => [ $row->{ends}, $row->{ends} ] };
	}
	return 1;
}

# Is nothing there that the transaction changed?
sub is_undone
{
	my ($self, $tx, $there) = @_;
	for my $session (keys %{ $tx->{held} })
	{
		my $before = $self->{held}{$session};
		return 0 if defined $before && !is_there($before, $there);
		return 0 if $self->unknown($session, $there);
	}
	return !grep { ($self->{rows}{$_} // '') ne ($there->{rows}{$_} // '') } keys %{ $tx->{rows} };
}

# ---------------------------------------------------------------------------------------------------------------

# Whoever makes the gateways of the managed provider those of a list, again and again. It knows
#   gateways  name => what is there of it
#   next      the same after the list whose end is not known, or undef
#   maybe     it may be committed
package EgressLoad::Syncer;

use strict;
use warnings;
use EgressTest;
use Time::HiRes qw(sleep);
our @ISA = ('EgressLoad::Actor');

sub new
{
	my ($class, @who) = @_;
	my $self = $class->SUPER::new(@who, serial => 0, gateways => {});
	$self->{gateways} = $self->after(0);
	return $self;
}

# what a list has: names, the last one in each list
sub names { return ((map { "gateway $_" } 5 * ($_[0] % 7) .. 5 * ($_[0] % 7) + 30), 'always') }
sub gateway { return join '|', "list $_[1]", "client\nremote always.example.net 1194\n# $_[0] of list $_[1]\n" }

# what is there after a list
sub after
{
	my ($self, $list) = @_;
	my %after = map { $_ => $self->{gateways}{$_} =~ s/\|here$/|withdrawn/r } keys %{ $self->{gateways} };
	$after{$_} = gateway($_, $list) . '|here' for names($list);
	return \%after;
}

sub sync
{
	my ($dbh, $list) = @_;
	$dbh->do(q{SELECT egress_sync_gateways(?, jsonb_agg(jsonb_build_object('name', name, 'city', 'list ' || ?, 'config',
			format(E'client\nremote always.example.net 1194\n# %s of list %s\n', name, ?::text))), 1) FROM unnest(?::text[]) name},
		undef, EgressLoad::MANAGED, $list, $list, [ names($list) ]);
}

sub step
{
	my ($self) = @_;
	my $list = ++$self->{serial};
	my ($several, $commit) = (rand() < 0.5, rand() < 0.8);
	$self->{next} = $self->after($list);
	$self->{maybe} = !$several;
	my $state = $self->try(sub {
		$self->do('BEGIN') if $several;
		sync($self->{dbh}, $list);
		return if !$several;
		sleep rand(0.02);
		$self->{maybe} = $commit;
		$self->do($commit ? 'COMMIT' : 'ROLLBACK');
	});
	return if $state eq 'lost';
	if ($state eq '')
	{
		my $next = delete $self->{next};
		$self->{gateways} = $next if $commit || !$several;
		$self->count('synced');
	}
	else
	{
		$self->{maybe} = 0;
		$self->roll_back;
		$self->resolve if !$self->{lost};
	}
	sleep rand(0.02);
}

# the gateways are those of the last list, or of the one without an answer
sub resolve
{
	my ($self) = @_;
	my %there;
	$self->insist(sub {
		%there = map { @$_ } @{ $self->{dbh}->selectall_arrayref(q{
			SELECT name, concat_ws('|', city, config, CASE WHEN withdrawn THEN 'withdrawn' ELSE 'here' END)
			FROM egress_gateway WHERE egress_provider_id = ? AND enabled}, undef, EgressLoad::MANAGED) };
	});
	return if $self->{lost};
	my $next = delete $self->{next};
	my @wrong = wrong_ones($self->{gateways}, \%there);
	return if !@wrong;
	if ($next && $self->{maybe} && !wrong_ones($next, \%there))
	{
		$self->{gateways} = $next;
		$self->count('list without an answer committed');
		return;
	}
	$self->wrong("list $self->{serial}" . ($next ? '' : ', acknowledged') . ": not as before: @wrong");
	$self->wrong("list $self->{serial}: not as after: @{[ wrong_ones($next, \%there) ]}") if $next && $self->{maybe};
}

sub wrong_ones
{
	my ($expected, $there) = @_;
	my %names = (%$expected, %$there);
	return grep { ($expected->{$_} // '') ne ($there->{$_} // '') } sort keys %names;
}

# ---------------------------------------------------------------------------------------------------------------

# Whoever gives the key file a new first key, rotates, takes the old keys out of the file, and changes a secret. It
# knows
#   keys      the lines of the file
#   key_id    the id of the key that all secrets were sealed under by the last rotation, when it could be looked up
#   rotating  a rotation may be committed since then
#   secrets   credential => text
#   changing  [credential, text]: the one that may be
package EgressLoad::Rotator;

use strict;
use warnings;
use EgressTest;
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(sleep);
our @ISA = ('EgressLoad::Actor');

sub new
{
	my ($class, @who) = @_;
	my $self = $class->SUPER::new(@who, serial => 0, keys => [],
		secrets => { map { $_ => EgressLoad::secret($_) } 1 .. 7, @EgressLoad::idle });
	$self->write_keys(new_key());
	return $self;
}

sub new_key
{
	open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!";
	read $random, my $bytes, 32;
	return encode_base64($bytes, '');
}

# the key file has these lines now, and never less than the whole of them
sub write_keys
{
	my ($self, @keys) = @_;
	my $path = $self->{load}->key_file;
	my $mask = umask 077;
	open my $file, '>', "$path.new" or die "$path.new: $!";
	print $file map { "$_\n" } @keys;
	close $file or die "$path.new: $!";
	umask $mask;
	rename "$path.new", $path or die "$path: $!";
	$self->{keys} = \@keys;
}

# the server has read its configuration again, and so has this backend
sub reload
{
	my ($self) = @_;
	my $before = $self->select('SELECT pg_conf_load_time()');
	$self->do('SELECT pg_reload_conf()');
	wait_until { $self->select('SELECT pg_conf_load_time()') ne $before } or die 'the configuration is not read';
}

sub step
{
	my ($self) = @_;
	my $state = $self->try(sub {
		$self->write_keys(new_key(), @{ $self->{keys} });
		$self->reload;
		$self->rotate;
		$self->wait_for_older;
		$self->write_keys($self->{keys}[0]);
		$self->reload;
		$self->change;
		sleep rand(0.05);
	});
	return if $state eq 'lost' || $state eq '';
	$self->roll_back;
	$self->{rotating} = 0 if $self->{rotating} && !$self->{sent};
	$self->resolve if !$self->{lost};
}

sub rotate
{
	my ($self) = @_;
	my $several = rand() < 0.5;
	$self->do('BEGIN') if $several;
	$self->{rotating} = !$several;
	$self->do('SELECT egress_rotate_secrets()');
	$self->{rotating} = 1;
	$self->do('COMMIT') if $several;
	my $old = $self->{key_id};
	delete $self->{key_id};
	$self->{rotating} = 0;
	$self->count('rotated');

	my $ids = $self->{dbh}->selectcol_arrayref(q{
		SELECT DISTINCT split_part(coalesce(password, custom_credential)::text, ':', 3) FROM egress_credential});
	$self->{key_id} = $ids->[0];
	$self->wrong("after a rotation secrets are sealed under @$ids, before it " . ($old // '?'))
	  if @$ids != 1 || defined $old && $ids->[0] eq $old;
}

# whoever began before the rotation may still read what was sealed under the old key
sub wait_for_older
{
	my ($self) = @_;
	my $rotated = $self->select('SELECT clock_timestamp()');
	wait_until {
		!$self->select(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
			AND datname = current_database() AND pid <> pg_backend_pid() AND xact_start < ?}, undef, $rotated)
	} or die 'a transaction does not end';
}

sub change
{
	my ($self) = @_;
	my $id = $EgressLoad::idle[ rand @EgressLoad::idle ];
	my $text = "secret of $id, changed " . ++$self->{serial};
	$self->{changing} = [ $id, $text ];
	$self->do('UPDATE egress_credential SET custom_credential = ? WHERE egress_credential_id = ?', undef, $text, $id);
	$self->{secrets}{$id} = $text;
	delete $self->{changing};
	$self->count('secret changed');
}

# all secrets open, and are sealed under one key: that of the last rotation, unless another one was under way
sub resolve
{
	my ($self) = @_;
	my $rows;
	$self->insist(sub {
		$rows = $self->{dbh}->selectall_arrayref(q{SELECT egress_credential_id, sealed::text, egress_reveal_secret(sealed)
			FROM egress_credential, coalesce(password, custom_credential) sealed});
	});
	return if $self->{lost};
	my ($changing, $text) = @{ delete $self->{changing} // [0] };
	my %ids;
	my %secrets;
	for my $row (@$rows)
	{
		my ($id, $sealed, $secret) = @$row;
		$secrets{$id} = $secret;
		$ids{ $sealed =~ /^egress:v1:(\w+):/ ? $1 : 'none' }++;
		next if $secret eq $self->{secrets}{$id} || $id == $changing && $secret eq $text;
		$self->wrong("the secret of $id is '$secret', not '$self->{secrets}{$id}'");
	}
	$self->wrong('not all secrets are there') if keys %secrets != keys %{ $self->{secrets} };
	$self->{secrets} = \%secrets;

	my ($key_id, @more) = sort keys %ids;
	$self->wrong("secrets are sealed under $key_id @more") if @more;
	$self->wrong("secrets are sealed under $key_id, and were rotated to $self->{key_id}")
	  if defined $self->{key_id} && $key_id ne $self->{key_id} && !$self->{rotating};
	$self->count('rotation without an answer') if $self->{rotating};
	$self->{key_id} = $key_id;
	$self->{rotating} = 0;
}

# ---------------------------------------------------------------------------------------------------------------

# Whoever sweeps what has expired, and does what the server does from time to time.
package EgressLoad::Janitor;

use strict;
use warnings;
use Time::HiRes qw(sleep);
our @ISA = ('EgressLoad::Actor');

my @chores = (
	[ 'swept', 'SELECT egress_expire_leases()' ],
	[ 'vacuumed', 'VACUUM egress_lease, egress_lease_expiry, egress_lease_history, egress_gateway, egress_credential' ],
	[ 'swept', 'SELECT egress_expire_leases()' ],
	[ 'checkpoint', 'CHECKPOINT' ]);

sub step
{
	my ($self) = @_;
	my ($what, $statement) = @{ $chores[ $self->{serial}++ % @chores ] };
	my $state = $self->try(sub { $self->do($statement) });
	$self->count($what) if $state eq '';
	sleep rand(0.2);
}

sub resolve { }

1;
