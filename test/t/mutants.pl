# mutants.pl -- do all rules of test/mutants/mutants apply to the code as it is, and do the tests that they name exist?
#
# test/mutants/run, which takes long, says whether the tests see the mutants. That a rule survives when its code is moved or
# indented, and is refused when its words are gone or no longer unique, is tried on a tree of a few lines.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use FindBin;
use lib $FindBin::Bin;

use EgressTest qw(slurp);
use Test::More;

my $mutants = dirname(__FILE__) . '/../mutants';
my $small = tempdir('egress-mutants-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# what mutate of a folder says, and whether it succeeded
sub mutate
{
	my ($folder, @arguments) = @_;
	my $said = `'$folder/mutate' @arguments 2>&1`;
	return ($said, $? == 0);
}

my ($said, $good) = mutate($mutants, '--check');
ok($good, 'every rule applies, and its tests exist') or diag $said;
my ($number) = $said =~ /^(\d+) mutants$/m;
cmp_ok($number, '>', 200, 'there are many');
($said) = mutate($mutants, '--list');
is(scalar(() = $said =~ /^\w+(?: \w+\.(?:spec|pl))+$/mg), $number, 'each is in the list, with its tests');

# the small tree, with some files of it as a test wants them
sub tree
{
	my %files = (
		'egress.control' => "default_version = '1.0'\n",
		'egress--1.0.sql' => "/* it's a comment */\nCREATE TABLE egress_a (id bigint, slot integer);\nCREATE TABLE egress_b (id bigint);\n",
		'egress--0.9.sql' => "CREATE TABLE egress_a (id bigint, slot integer);\n",
		'test/isolation/specs/one.spec' => '',
		'test/t/two.pl' => '',
		'src/a.h' => "#define MOST	4\n",
		'src/a.c' => <<'C',
#include "postgres.h"

#include "a.h"

static const int some[] = {MOST, 2};

/* take -- calls look(id, true) */
bool
take(int id, bool *found)
{
	*found = look(id, true) && *found;	/* not: look(id, false) */
	if (id > 4)
		elog(ERROR, "not { look(id, true)");
	return *found;
}

static int
give(int id)
{
	return take(id, NULL) ? 1 : 2;
}
C
		'test/mutants/mutants' => <<'RULES',
# rules

mutant: looks_for_nothing
rule: It looks.
instead: it does not.
seen by: one.spec two.pl
in: take
include: "b.h"
- look(id, true) && *found
+ *found
- id > 4
+ id > MOST

mutant: some_are_others
rule: Some are these.
instead: they are others.
seen by: two.pl
in: some
- MOST, 2
+ MOST
in: MOST
- 4
+ 5
in: CREATE TABLE egress_a
- , slot integer
+
RULES
		@_);

	remove_tree($small, { keep_root => 1 });
	for my $path (keys %files)
	{
		next if !defined $files{$path};
		make_path(dirname("$small/$path"));
		open my $file, '>', "$small/$path" or die "$path: $!";
		print $file $files{$path};
		close $file or die "$path: $!";
	}
	copy("$mutants/mutate", "$small/test/mutants/mutate") or die "mutate: $!";
	chmod 0755, "$small/test/mutants/mutate";
}

# the same with a file changed
sub tree_with (&$)
{
	my ($change, $path) = @_;
	tree();
	local $_ = slurp("$small/$path");
	my $before = $_;
	$change->();
	die "nothing changed in $path" if $_ eq $before;
	tree($path => $_);
}

sub mutate_small { return mutate("$small/test/mutants", @_) }

tree();
is_deeply([ mutate_small('--check') ], [ "2 mutants\n", 1 ], 'the rules of a small tree apply');
my $original = slurp("$small/src/a.c");
is_deeply([ mutate_small('looks_for_nothing') ], [ "src/a.c\n", 1 ], 'a mutant says what it changes');
(my $expected = $original) =~ s/= look\(id, true\) && \*found/= *found/;
$expected =~ s/id > 4/id > MOST/;
$expected =~ s/("a.h"\n)/$1#include "b.h"\n/;
is(slurp("$small/src/a.c"), $expected, 'and changes that, and nothing else');
tree();
is((mutate_small('some_are_others'))[0], "egress--1.0.sql\nsrc/a.c\nsrc/a.h\n", 'one in three files');
is(join('', map { slurp("$small/$_") } 'egress--1.0.sql', 'src/a.h'),
	"/* it's a comment */\nCREATE TABLE egress_a (id bigint);\nCREATE TABLE egress_b (id bigint);\n#define MOST	5\n", 'changes the table, the macro');
like(slurp("$small/src/a.c"), qr/^static const int some\[\] = \{MOST\};$/m, 'and the variable');

# what makes no difference
my %edits = (
	'white space and comments' => sub { tree_with { s/look\(id, true\) &&/look( id,\n\t\t\t \/* of us *\/ true ) \/\/ indeed\n&&/ } 'src/a.c' },
	'a function before its body' => sub { tree_with { s/^/extern bool take(int id, bool *found);\n/ } 'src/a.c' },
	'another function of that name, without the words' => sub { tree('src/b.c' => "static int\ntake(void)\n{\n\treturn 1;\n}\n") },
	'another file' => sub { tree('src/a.c' => undef, 'src/c.c' => $original) });
for my $what (sort keys %edits)
{
	$edits{$what}->();
	($said, $good) = mutate_small('--check');
	ok($good, "$what: no difference") or diag $said;
}
$said = (mutate_small('looks_for_nothing'))[0];
is($said, -f "$small/src/c.c" ? "src/c.c\n" : "src/a.c\n", 'it is changed where it is');

# what does
my %broken = (
	'the words are gone' => sub { tree_with { s/look\(id, true\) && // } 'src/a.c' },
	'the words are there twice' => sub { tree_with { s/(look\(id, true\) && \*found);/$1 || $1;/ } 'src/a.c' },
	'the words are part of longer ones' => sub { tree_with { s/id > 4/id > 44/ } 'src/a.c' },
	'the words are in a comment only' => sub { tree_with { s/look\(id, true\) && \*found/false \/* $& *\// } 'src/a.c' },
	'the function has another name' => sub { tree_with { s/\btake\b/have/g } 'src/a.c' },
	'the words are in another function' => sub { tree_with { s/= look\(id, true\) && \*found/= true/; s/(give.*?\{\n)/$1\tlook(id, true) && *found;\n/s } 'src/a.c' },
	'two changes are of the same words' => sub { tree_with { s/- id > 4/- *found = look/ } 'test/mutants/mutants' },
	'a test is not there' => sub { tree('test/isolation/specs/one.spec' => undef) },
	'nothing says what it does instead' => sub { tree_with { s/^instead: .*\n//m } 'test/mutants/mutants' },
	'it names no test' => sub { tree_with { s/^seen by: .*\n//m } 'test/mutants/mutants' });
for my $what (sort keys %broken)
{
	$broken{$what}->();
	($said, $good) = mutate_small('--check');
	ok(!$good && $said =~ /^looks_for_nothing: (?!twice)/, "it is refused when $what") or diag $said;
}
tree_with { s/some_are_others/looks_for_nothing/ } 'test/mutants/mutants';
($said, $good) = mutate_small('--check');
ok(!$good && $said =~ /^looks_for_nothing: twice in /m, 'or there twice');
tree_with { s/^instead: /in stead: /m } 'test/mutants/mutants';
($said, $good) = mutate_small('--check');
ok(!$good && $said =~ /mutants:\d+: not understood: in stead: /, 'a line that says nothing is not passed over');
done_testing();
