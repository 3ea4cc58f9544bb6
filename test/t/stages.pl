# stages.pl -- test/launcher/run and test/drivers/run, when they are ended, leave nothing that they have started
#
# What they would run is replaced: scripts/setup installs nothing, and each of npm, go and perl is a program that starts
# another one, which ignores what it can, and works for ever. It is the script alone that gets the signal.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use FindBin;
use lib $FindBin::Bin;
use EgressTest qw(wait_until);
use POSIX ();
use Test::More;

my $folder = tempdir('egress-stages-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $tree = dirname(__FILE__) . '/../..';
system("cd '$tree' && mkdir $folder/bin $folder/tmp && cp -r --parents scripts examples test/launcher test/drivers $folder") == 0 or die 'cp failed';

sub program
{
	my ($name, $text) = @_;
	open my $file, '>', "$folder/$name" or die "$name: $!";
	print $file $text;
	close $file or die "$name: $!";
	chmod 0755, "$folder/$name" or die "$name: $!";
	return;
}

sub contents
{
	my ($name) = @_;
	open my $file, '<', "$folder/$name" or return '';
	return join ' ', map { chomp; $_ } <$file>;
}

# those that run; one that has ended may wait until somebody has asked how
sub runs { return grep { `cat /proc/$_/stat 2>&1` =~ /\) [^Z] / } @_ }

program('scripts/setup', "#!/bin/sh\necho pg_config\n");
my @programs = qw(npm go perl);
program("bin/$_", <<~SH) for @programs;
	#!/bin/bash
	[[ \$WORKS == $_ ]] || exit 0
	bash -c 'trap "" INT HUP; sleep 1000 & wait; wait' &
	printf '%s\\n' \$\$ \$! >'$folder/processes.new'
	mv '$folder/processes.new' '$folder/processes'
	wait
	SH

# what a test that fails must not leave either
my @left;
END { kill 'KILL', @left if @left }

for ([ 'launcher', 'npm', 'TERM' ], [ 'launcher', 'perl', 'TERM' ], [ 'launcher', 'perl', 'INT' ], [ 'launcher', 'perl', 'HUP' ],
	[ 'drivers', 'npm', 'TERM' ], [ 'drivers', 'go', 'TERM' ], [ 'drivers', 'perl', 'TERM' ])
{
	my ($stage, $works, $signal) = @$_;
	unlink "$folder/processes";
	my $script = fork() // die "fork: $!";
	if ($script == 0)
	{
		# a caller that ignores them hands that down
		@SIG{qw(HUP INT TERM)} = ('DEFAULT') x 3;
		@ENV{qw(PATH TMPDIR WORKS)} = ("$folder/bin:$ENV{PATH}", "$folder/tmp", $works);
		open STDOUT, '>', "$folder/log";
		open STDERR, '>&', \*STDOUT;
		exec 'bash', "$folder/test/$stage/run" or POSIX::_exit(127);
	}
	ok((wait_until { contents('processes') ne '' }), "test/$stage/run runs $works") or diag(contents('log'));
	my @processes = split / /, contents('processes');
	@left = ($script, @processes);
	kill $signal => $script;
	my $status;
	ok((wait_until { waitpid($script, POSIX::WNOHANG()) == $script ? defined($status = $?) : 0 } 20), "... and ends at $signal");
	isnt($status, 0, '... which is no success');
	ok((wait_until { !runs(@processes) } 5), '... as does what it has started');
	is(join(' ', glob "$folder/tmp/*"), '', '... and its folder is gone');
	kill 'KILL', @processes;
	@left = ();
}

done_testing();
