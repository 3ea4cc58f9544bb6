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
# What a client does, and what the oracle makes of that, is each test's own.
package EgressClient;

use strict;
use warnings;
use EgressTest;

sub new
{
	my ($class, %self) = @_;
	my $self = bless { serial => 0, counts => {}, parent => getppid(), %self }, $class;
	open $self->{out}, '>', $self->{file} or die "$self->{file}: $!";
	$self->reconnect;
	return $self;
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

sub finish
{
	my ($self) = @_;
	$self->record('count', $_, $self->{counts}{$_}) for sort keys %{ $self->{counts} };
	$self->{dbh}->disconnect;
	close $self->{out} or die "cannot write: $!";
}

1;
