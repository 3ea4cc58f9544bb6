# symbols.pl -- the library exports what SQL calls, and nothing else
#
# PostgreSQL may load libraries so that a symbol of one takes the place of another's with the same name: what no SQL names
# stays inside. Compiled queries, which may have our functions in them, do without as well.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use Test::More;

my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
chomp(my $folder = `$pg_config --pkglibdir`);
my @exported = sort map { (split)[-1] } split /\n/, `nm -D --defined-only '$folder/egress.so'`;
is($?, 0, 'nm reads the library');

my $test = EgressTest->new('symbols');
my $dbh = $test->connect;
my @called = map { $_, "pg_finfo_$_" } split /\n/, rows($dbh, q{SELECT DISTINCT prosrc FROM pg_proc
	WHERE probin LIKE '%egress' AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')});
# what only the script of an update calls
push @called, 'egress_grant_to_readers', 'pg_finfo_egress_grant_to_readers';
cmp_ok(scalar @called, '>', 60, 'SQL calls functions of it');
is_deeply(\@exported, [ sort 'Pg_magic_func', '_PG_init', @called ], 'it exports these, and its own entries');

# where queries are not compiled, this is as good as nothing
$dbh->do("SET $_") for 'jit = on', 'jit_above_cost = 0', 'jit_inline_above_cost = 0', 'jit_optimize_above_cost = 0';
$dbh->do('CREATE TABLE session (id text)');
is(value($dbh, 'SELECT sum(length(i::text::egress_secret::text)) FROM generate_series(1, 9) i'), 9, 'in a compiled query, too');
is(value($dbh, q{SELECT count(egress_attach_sessions('session', 'id')) FROM generate_series(1, 1)}), 1,
	'also one that runs with the rights of its caller');

# what the server shows of a library, from 18 on
my $version = value($dbh, q{SELECT default_version FROM pg_available_extensions WHERE name = 'egress'});
is(rows($dbh, q{SELECT module_name, version FROM pg_get_loaded_modules() WHERE file_name LIKE 'egress%'}), "egress|$version",
	'the server knows its name and version')
  if value($dbh, 'SHOW server_version_num') >= 180000;
done_testing();
