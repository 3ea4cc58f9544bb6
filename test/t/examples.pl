# examples.pl -- the program of examples/ for Perl, which is there for the tests; test/drivers/run has those of all languages
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use lib dirname(__FILE__);
use EgressExamples;

world();
run_examples({ 'perl-dbd-pg.pl' => [ $^X, file('perl-dbd-pg.pl') ] });
done_testing();
