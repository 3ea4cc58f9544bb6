# terminal.pl -- whose terminal is closed leaves no server behind: neither make demo-psql nor a script with a throwaway cluster
#
# script(1) gives the programs a terminal of their own, which is gone when script is killed. What runs is copied, so that
# a demo's cluster is left alone.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Handle;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'script is not there (package bsdutils)' if system('command -v script >/dev/null') != 0;

delete @ENV{qw(MAKEFLAGS MAKELEVEL)};
my $folder = tempdir('egress-terminal-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $tree = dirname(__FILE__) . '/../..';
system("cd '$tree' && cp -r --parents Makefile egress.control demo/psql scripts $folder") == 0 or die 'cp failed';
chdir $folder or die "chdir: $!";

# a caller that ignores it, as nohup does, hands that down, and no terminal could tell anybody
$SIG{HUP} = 'DEFAULT';

sub eventually
{
	my ($condition) = @_;
	my $deadline = time + 20;
	until ($condition->()) { return 0 if time > $deadline; sleep 0.05 }
	return 1;
}

# the server's process, when its cluster is up; what is in the file, otherwise, is of one that starts or is gone
sub server
{
	my ($cluster) = @_;
	open my $file, '<', "$cluster/data/postmaster.pid" or return;
	chomp(my @lines = <$file>);
	return ($lines[7] // '') =~ /^ready/ ? $lines[0] : undef;
}

# has a process ended, whether somebody has asked how or not?
sub has_ended
{
	my ($pid) = @_;
	return 1 if !kill 0, $pid;
	open my $status, '<', "/proc/$pid/stat" or return !kill 0, $pid;
	return <$status> =~ /\) Z /;
}

# runs in a terminal; returns script's process, and what is typed there
sub in_terminal
{
	my ($command) = @_;
	unlink "$folder/typescript";
	my $pid = open my $keyboard, '|-', "exec script --quiet --flush --command '$command' typescript >/dev/null" or die "script: $!";
	$keyboard->autoflush;
	return ($pid, $keyboard);
}

# the terminal is closed, which its programs notice at once
sub close_terminal
{
	my ($pid, $keyboard) = @_;
	kill 'KILL', $pid;
	close $keyboard;
	return;
}

sub contents
{
	my ($name) = @_;
	open my $file, '<', $name or return '';
	local $/;
	my $text = <$file> // '';
	$text =~ s{\n\z}{};
	return $text;
}

# what a test of this folder that fails must not leave either
my %clusters;
END
{
	my $status = $?;
	for my $cluster (keys %clusters)
	{
		my $pid = server($cluster);
		kill 'QUIT', $pid if defined $pid;
		system('rm', '-rf', $cluster) if $cluster =~ m{/egress-\w{6}$};
	}
	chdir '/';
	$? = $status;
}

# how a program comes to be in a terminal: it is all that runs there, and hears itself that this is closed; or somebody
# has called it from a shell, which tells it, and then ends, after which the system tells it again
my @ways = ([ 'a terminal of its own', sub { return in_terminal($_[0]) } ],
	[ 'a shell in a terminal', sub {
		my @terminal = in_terminal('bash --norc -i');
		print { $terminal[1] } "$_[0]\n";
		return @terminal;
	} ]);

# ---- a cluster that goes with its script

open my $script, '>', 'script' or die "script: $!";
print $script <<'SH';
set -euo pipefail
source scripts/cluster
at_end 'cluster_remove; echo 1 >cleaned; echo 2 >>cleaned'
cluster_create
cluster_start
echo "$cluster_folder" >started
if [[ $1 == waits ]]; then sleep 1000 & wait; else sleep 1000; fi
SH
close $script or die "script: $!";

for my $what (qw(works waits))
{
	for (@ways)
	{
		my ($where, $begin) = @$_;
		unlink 'started', 'cleaned';
		my @terminal = $begin->("bash script $what");
		ok(eventually(sub { contents('started') ne '' }), "a script that $what, in $where, has started a cluster")
		  or diag(contents('typescript'));
		my $cluster = contents('started');
		$clusters{$cluster} = 1;
		my $server = server($cluster);
		close_terminal(@terminal);
		ok(eventually(sub { has_ended($server) }), '... the terminal is closed: the server has ended');
		ok(eventually(sub { contents('cleaned') eq "1\n2" && !-e $cluster }), '... and nothing is left');
	}
}

# ---- told twice, with little time between: the second time comes while the script begins to end

# a script that says what it does; returns its process, what it says, and where it reads from
sub script_that
{
	my ($works) = @_;
	open my $text, '>', 'script_that' or die "script_that: $!";
	print $text "set -e\nsource scripts/at_end\nat_end 'echo cleaned'\necho started\n$works\n";
	close $text or die "script_that: $!";
	pipe my $input, my $keyboard or die "pipe: $!";
	my $pid = open(my $said, '-|') // die "fork: $!";
	if (!$pid)
	{
		setpgrp;
		close $keyboard;
		open STDIN, '<&', $input or die "open: $!";
		open STDERR, '>', '/dev/null' or die "open: $!";
		exec 'bash', 'script_that';
	}
	close $input;
	$keyboard->autoflush;
	readline $said;
	return ($pid, $said, $keyboard);
}

my $lost = 0;
for my $run (1 .. 200)
{
	my ($pid, $said) = script_that('sleep 1000');
	# a signal that meets Bash's child before this has become the program is lost
	eventually(sub { my ($program) = split ' ', contents("/proc/$pid/task/$pid/children"); $program && contents("/proc/$program/comm") eq 'sleep' });
	kill 'HUP', -$pid;
	sleep $run % 10 / 10_000;
	kill 'HUP', -$pid;
	$lost++ if join('', readline $said) ne "cleaned\n";
	close $said;
}
is($lost, 0, 'a script that is told twice cleans up once, each time');

# ---- told when it ends by itself

for my $signal (qw(HUP INT))
{
	$lost = 0;
	for my $run (1 .. 400)
	{
		my ($pid, $said, $keyboard) = script_that('read -r');
		sleep 0.002;
		print $keyboard "\n";
		# less than a tenth of a millisecond
		for (1 .. $run % 40 * 60) { }
		kill $signal, -$pid;
		$lost++ if join('', readline $said) ne "cleaned\n";
		close $said;
	}
	is($lost, 0, "a script that $signal meets at its end cleans up once, each time");
}

# ---- interrupted while initdb runs, which no signal ends

chmod 0711, $folder;
mkdir "$folder/tmp", 01777 or die "mkdir: $!";
chmod 01777, "$folder/tmp";
for my $when (1 .. 4)
{
	local $ENV{TMPDIR} = "$folder/tmp";
	my $pid = fork // die "fork: $!";
	if (!$pid)
	{
		open STDERR, '>', '/dev/null';
		exec 'bash', '-c', 'set -euo pipefail; source scripts/cluster; at_end cluster_remove; cluster_create; sleep 1000';
	}
	eventually(sub { glob "$folder/tmp/egress-*/data/*" });
	sleep 0.1 * $when;
	kill 'TERM', $pid;
	waitpid $pid, 0;
	my @left = glob "$folder/tmp/egress-*";
	ok(!@left, "interrupted $when tenths of a second into initdb, a script leaves no folder");
}

# ---- the demo's, which stays for the next time

system(q{bash -c 'source scripts/cluster; cluster_create; cluster_start; createdb demo; cluster_stop; echo "$cluster_folder" >demo/.cluster'}) == 0
  or die 'there is no cluster';
my $cluster = contents('demo/.cluster');
$clusters{$cluster} = 1;
my $pidfile = "$cluster/data/postmaster.pid";
for my $when ('while it starts', 'at the prompt')
{
	for (@ways)
	{
		my ($where, $begin) = @$_;
		my @terminal = $begin->('make demo-psql');
		ok(eventually(sub { $when eq 'at the prompt' ? contents('typescript') =~ /demo=#/ : contents($pidfile) ne '' }),
			"make demo-psql in $where, $when") or diag(contents('typescript'));
		my ($server) = contents($pidfile) =~ /^(\d+)/;
		close_terminal(@terminal);
		ok(eventually(sub { has_ended($server) }), '... the terminal is closed: the server has ended');
		ok(eventually(sub { !-e $pidfile }) && -e "$cluster/data/PG_VERSION", '... and its data are there');
	}
}

done_testing();
