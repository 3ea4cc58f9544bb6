# arguments.pl -- a script that is given an argument which it does not know does nothing, says why, and ends with 2
use strict;
use warnings;
use File::Basename qw(dirname);
use Test::More;

chdir dirname(__FILE__) . '/../..' or die $!;
my @scripts = ('test/run', glob('test/*/run'), 'test/bench/shares', glob('demo/{run,psql,drop}'), map { "scripts/$_" } qw(deb dist reference));
# most of what they would do takes longer than this, and test/model/run compiles before it looks; timeout ends all that was started
for my $script (@scripts)
{
	my $said = `timeout 100 $script --help 2>&1 </dev/null`;
	is($? >> 8, 2, "$script --help");
	like($said, qr/\A(?:usage: \Q$script\E, without arguments; .*|.*there is no .*--help.*)\n\z/, "$script says why") or diag $said;
}
done_testing();
