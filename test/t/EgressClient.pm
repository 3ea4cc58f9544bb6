# EgressClient.pm -- one client of a test under load: a connection, and a file for what it knows
#
#   package Client;
#   use parent -norequire, 'EgressClient';
#   my $client = Client->new(name => 'client-1', file => "$folder/1", stop => "$folder/stop", connect => sub { $test->connect });
#   $client->do($sql, ...); $client->select($sql, ...);      run a statement; $client->{sent} is when it was sent
#   $client->record($kind, @fields);                         a line of the file, whose fields are separated by tabs
#   $client->count($what);                                   one more of these; finish() writes how many
#   until ($client->is_over) { ... }                         until the file stop is there, or the test is gone
#   $client->finish;
#
#   my $result = Client->run(clients => [ 0 .. 8 ], seed => $seed, files => "$folder/", for => $seconds, meanwhile => sub { ... });
#
# runs a client in a process for each number: Client->new($number) sweeps where that is 0, and works otherwise; or it does
# work => sub { my ($number) = @_; ... }. Here it calls meanwhile, again and again for so many seconds, or once. Then all are told to
# stop, by the file that is called as theirs, with "stop" for the number. What they wrote is in a hash: died is how many failed, counts
# has how many of each there were, errors how often each second field came with each first one; of other kinds there are lists of fields.
#
# What a client does, and what the oracle makes of that, is each test's own. A test whose clients have leases (holding: session =>
# lease) and prepared transactions (prepared: {gid, released, renewed}) may use these, and gives surely_until(), keep() and undone():
#
#   $client->free_to_release;                                sessions that no prepared transaction of its is about, the longest first
#   $client->give_back($transaction, $moment);               what it releases is surely held until then
#   $client->finish_prepared;                                COMMIT PREPARED or ROLLBACK PREPARED of the first
package EgressClient;

use strict;
use warnings;
use EgressTest;
use List::Util qw(shuffle);
use POSIX ();

sub new
{
	my ($class, %self) = @_;
	my $self = bless { serial => 0, counts => {}, parent => getppid(), %self }, $class;
	open $self->{out}, '>', $self->{file} or die "$self->{file}: $!";
	$self->reconnect;
	return $self;
}

sub run
{
	my ($class, %run) = @_;
	my %result = (died => 0);
	my $work = $run{work} // sub {
		my $client = $class->new($_[0]);
		$_[0] == 0 ? $client->sweep : $client->work;
	};
	my @pids;
	for my $number (@{ $run{clients} })
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			srand($run{seed} + $number);
			my $ok = eval { $work->($number); 1 };
			print STDERR "client $number: $@" if !$ok;
			POSIX::_exit($ok ? 0 : 1);
		}
		push @pids, $pid;
	}

	srand($run{seed} - 1);
	my $deadline = now() + ($run{for} // 0);
	do { $run{meanwhile}->() } while (now() < $deadline);
	open my $stop, '>', "$run{files}stop" or die "$run{files}stop: $!";
	close $stop;
	for my $pid (@pids)
	{
		waitpid($pid, 0);
		$result{died}++ if $? != 0;
	}

	for my $path (map { "$run{files}$_" } @{ $run{clients} })
	{
		open my $file, '<', $path or die "$path: $!";
		while (<$file>)
		{
			chomp;
			my ($kind, @fields) = split /\t/;
			if    ($kind eq 'count') { $result{counts}{ $fields[0] } += $fields[1] }
			elsif ($kind eq 'error') { $result{errors}{ $fields[0] }{ $fields[1] }++ }
			else                     { push @{ $result{$kind} }, [@fields] }
		}
	}
	return \%result;
}

# nobody waits, but for the short locks: who waits longer is not to wait for ever
sub reconnect
{
	my ($self) = @_;
	$self->{dbh} = $self->{connect}->();
	$self->{dbh}->do(q{SET lock_timeout = '10s'});
}

# moments are written to the nanosecond
sub record
{
	my ($self, @fields) = @_;
	print { $self->{out} } join("\t", map { /^\d+\.\d+$/ ? sprintf('%.9f', $_) : $_ } @fields), "\n";
}

sub count
{
	my ($self, $what, $number) = @_;
	$self->{counts}{$what} += $number // 1;
}

# run a statement, and remember when it was sent
sub do
{
	my ($self, @statement) = @_;
	$self->{sent} = now();
	return $self->{dbh}->do(@statement);
}

sub select
{
	my ($self, @query) = @_;
	$self->{sent} = now();
	return $self->{dbh}->selectrow_array(@query);
}

sub is_over
{
	my ($self) = @_;
	return -e $self->{stop} || getppid() != $self->{parent};
}

# the sessions that it may give back: held by what is committed, and not in a prepared transaction's hands; those with a ttl last
sub free_to_release
{
	my ($self) = @_;
	my %busy = map { $_ => 1 } map { keys %{ $_->{released} }, map { $_->[0]{session} } @{ $_->{renewed} } } @{ $self->{prepared} };
	return sort { $self->{holding}{$b}{expires} <=> $self->{holding}{$a}{expires} }
	  shuffle(grep { !$busy{$_} } sort keys %{ $self->{holding} });
}

# before a commit is sent: what the transaction gave back is held until now
sub give_back
{
	my ($self, $tx, $moment) = @_;
	$self->surely_until($_, $moment) for values %{ $tx->{released} };
}

# COMMIT PREPARED or ROLLBACK PREPARED of one of its prepared transactions
sub finish_prepared
{
	my ($self) = @_;
	my $tx = shift @{ $self->{prepared} };
	my $sent = now();
	if (rand() < 0.6)
	{
		$self->give_back($tx, $sent);
		$self->do("COMMIT PREPARED '$tx->{gid}'");
		$self->keep($tx);
		$self->count('commit prepared');
	}
	else
	{
		$self->do("ROLLBACK PREPARED '$tx->{gid}'");
		$self->undone($tx, $sent, now());
		$self->count('rollback prepared');
	}
}

sub finish
{
	my ($self) = @_;
	$self->record('count', $_, $self->{counts}{$_}) for sort keys %{ $self->{counts} };
	$self->{dbh}->disconnect;
	close $self->{out} or die "cannot write: $!";
}

1;
