# demo.pl -- the demo's story runs to its end as it is told
#
# Its three files are given to psql as demo/run does, in a database of its own.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);

my $database = "egress_demo_$$";
my $demo = dirname(__FILE__) . '/../../demo';
my $psql = "psql -X -d $database";

system('createdb', $database) == 0 or die 'createdb failed';
END { my $status = $?; system('dropdb', $database); $? = $status }

for my $load ("-c 'CREATE EXTENSION egress'", "-f $demo/world.sql", "-f $demo/app.sql")
{
	my $said = `$psql -q -v ON_ERROR_STOP=1 --single-transaction -o /dev/null $load 2>&1`;
	is("$? $said", '0 ', "without a word: $load");
}
my $story = `$psql -f $demo/walk.sql 2>&1`;
is($?, 0, 'the walk comes to its end');
my @errors = $story =~ /^.*?((?:ERROR|WARNING|NOTICE):.*)$/mg;
is("@errors", 'ERROR:  no connection is free for gateway 5 "ch-zrh-01"', '... with the one error that belongs to it');
like($story, qr/\A\s*A company /, '... begins with who is who');
my @steps = $story =~ /^(\d+)\. /mg;
is("@steps", join(' ', 1 .. @steps), '... its steps are in order');
# Dan comes twice
my @sessions = $story =~ /^INSERT INTO app\.sessions .* VALUES \((\d+)/mg;
is("@sessions", '1 2 3 4 5 5 6 7', '... and so are the ids of its sessions');
is(`$psql -Atc 'INSERT INTO app.sessions (user_id, workspace_id) SELECT id, \$\$kiosk\$\$ FROM app.users LIMIT 1 RETURNING id'` =~ /^(\d+)/ && $1, 8,
	'... after which the next is the next');

done_testing();
