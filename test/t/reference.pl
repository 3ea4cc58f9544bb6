# reference.pl -- is doc/reference.md what the catalog and src/errors.h say, and do they list the SQLSTATEs that the code raises?
#
# The page is made anew, in a transaction that is rolled back. A SQLSTATE is raised in src by its name, which begins with ERRCODE_.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use EgressTest qw(slurp);
use File::Basename qw(dirname);
use Test::More;

chdir dirname(__FILE__) . '/../..' or die "chdir: $!";

# a list without what another one has
sub without
{
	my ($list, $other) = @_;
	my %in_other = map { ($_ => 1) } @$other;
	my %seen;
	return [ sort grep { !$in_other{$_} && !$seen{$_}++ } @$list ];
}

# ------------------------------------------------------------ the page

my $page = slurp('doc/reference.md');
my $difference = `scripts/reference.pl | diff doc/reference.md - 2>&1`;
is($difference, '', 'doc/reference.md is what the catalog says') or diag('To make the page anew, run: make reference');
like($page, qr/^### `egress_available_gateways`$/m, '... which is something');

my %anchors = map { (tr/ A-Z`./-a-z/dr => 1) } $page =~ /^##+ (.+)$/mg;
is_deeply(without([ $page =~ /\]\(#(.*?)\)/g ], [ keys %anchors ]), [], 'each link within the page leads to a heading');
is(scalar(() = $page =~ /^##+ /mg), scalar keys %anchors, '... and to one only');

# ------------------------------------------------------- the SQLSTATEs

my $errors = slurp('src/errors.h');
my @ours = $errors =~ /#define (ERRCODE_EGRESS_\w+)/g;
my @listed = (@ours, $errors =~ /^ \* (ERRCODE_\w+): /mg);
my $source = join '', map { slurp($_) } glob 'src/*.c';
my @raised = $source =~ /(?<!== )(?<!\w)(ERRCODE_[A-Z_]+)\b(?!\()/g;
cmp_ok(scalar @raised, '>', 80, 'the code raises errors');
is_deeply(without(\@raised, \@listed), [], 'src/errors.h lists each SQLSTATE that the code raises');
is_deeply(without(\@ours, \@raised), [], 'each of class NG is raised');

my ($of_functions, $tables) = $page =~ /\A(.*)^## SQLSTATEs$(.*?)^## /ms;
my @in_tables = $tables =~ /^\| `(\w{5})` /mg;
my @of_functions = map { /`(\w{5})`/g } $page =~ /^- ((?:`[0-9A-Z]{5}`(?:, )?)+):/mg;
is(scalar @in_tables, scalar @listed, 'the page has a line for each');
is_deeply(without(\@of_functions, \@in_tables), [], '... and for each that a function lists');
is_deeply([ $errors =~ /MAKE_SQLSTATE\((.*)\)/g ], [ map { join ', ', map { "'$_'" } split // } grep { /^NG/ } @in_tables ],
	'... with the codes of class NG');
is_deeply(without([ grep { /^NG/ } @in_tables ], \@of_functions), [], '... each of which a function lists');
done_testing();
