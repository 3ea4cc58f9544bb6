# readme.pl -- the README's SQL runs, in the order in which a reader meets it
#
# Every block marked sql is given to psql, which stops at the first error, in a fresh database; those of an administrator's
# day as a role that has 'admin' access and nothing else.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);

my $database = "egress_readme_$$";
my $readme = dirname(__FILE__) . '/../../README.md';

open my $file, '<', $readme or die "$readme: $!";
my $text = do { local $/; <$file> };
close $file;
my @blocks;
for my $section (split /^(?=## )/m, $text)
{
	my $of_admin = $section =~ /^## An administrator's day$/m;
	push @blocks, map { [ $_, $of_admin ] } $section =~ /^```sql\n(.*?)^```$/msg;
}
cmp_ok(scalar @blocks, '>=', 4, 'the README shows SQL');
is(scalar(grep { $_->[1] } @blocks), 1, 'a day of an administrator, too');

my $admin = "egress_readme_admin_$$";
my $is_admin = <<"SQL";
CREATE ROLE $admin;
SELECT egress_grant_access('$admin', 'admin');
SET ROLE $admin;
SQL

system('createdb', $database) == 0 or die 'createdb failed';
my $number = 0;
for my $block (@blocks)
{
	my ($sql, $of_admin) = @$block;
	$number++;
	open my $psql, '|-', "psql -X -q -v ON_ERROR_STOP=1 -d $database >/dev/null" or die "psql: $!";
	print $psql $of_admin ? $is_admin : '', $sql;
	ok(close $psql, "block $number runs: " . (split /\n/, $sql)[0]);
}

my $menu = `psql -XAt -d $database -c "SELECT gateway_name, available_connections FROM egress_available_gateways('ann')"`;
is($menu, "par-1|3\nams-1|3\nosl-1|3\n", 'and leaves what it says: the menu of ann');

system('dropdb', $database);
system('psql', '-Xq', '-d', 'postgres', '-c', "DROP ROLE workspaces, $admin");
done_testing();
