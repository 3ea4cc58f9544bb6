# make.pl -- make where something is missing that it takes: one line says what, and which package; and in another folder
#
# That something is missing is said to make: variables of PGXS, given as arguments, point to where it is not. The files
# that make reads are copied, so that no build in the tree is touched.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;

delete @ENV{qw(MAKEFLAGS MAKELEVEL)};
my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my $tree = dirname(__FILE__) . '/../..';
my $folder = tempdir('egress-make-XXXXXX', TMPDIR => 1, CLEANUP => 1);
system("mkdir $folder/tree $folder/elsewhere && cd '$tree' && cp --parents Makefile egress.control egress--*.sql src/*.[ch] $folder/tree") == 0
  or die 'cp failed';
my ($major) = `$pg_config --version` =~ /^PostgreSQL (\d+)/;

# make with arguments in one of the two folders: all that it said, and whether it succeeded
sub make
{
	my ($where, $arguments) = @_;
	my $said = `cd $folder/$where && make -s -f ../tree/Makefile PG_CONFIG='$pg_config' $arguments 2>&1`;
	return ($said, $? == 0);
}

# a preprocessor that lacks the header $MISSING
open my $preprocessor, '>', "$folder/cpp" or die "$folder/cpp: $!";
print $preprocessor <<'SH';
#!/bin/sh
given=$(cat)
case $given in *"<$MISSING>"*) exit 1 ;; esac
SH
close $preprocessor or die "$folder/cpp: $!";
chmod 0755, "$folder/cpp";

for ([ 'a compiler', 'CC=no-such-cc', 'gcc' ],
	[ 'the C library', "CC=$folder/cpp MISSING=stdio.h", 'libc6-dev' ],
	[ 'libsodium', "CC=$folder/cpp MISSING=sodium.h", 'libsodium-dev' ],
	[ 'OpenSSL', "CC=$folder/cpp MISSING=openssl/evp.h", 'libssl-dev' ],
	[ "the server's headers", "includedir_server=$folder/nowhere", "postgresql-server-dev-$major" ],
	[ 'clang', 'with_llvm=yes CLANG=/nowhere/clang-1', 'clang-1, or say make with_llvm=no' ])
{
	my ($what, $arguments, $package) = @$_;
	for my $target ('all', 'install')
	{
		my ($said, $made) = make('tree', "$target DESTDIR=$folder/destination $arguments");
		ok(!$made, "without $what, make $target fails");
		like($said, qr/\Aegress: [^\n]* is missing: install \Q$package\E\nmake: [^\n]*\n\z/,
			'... and says in a line what to install');
	}
}
my ($said, $made) = make('tree', "clean CC=no-such-cc includedir_server=$folder/nowhere");
ok($made, 'make clean needs nothing') or diag($said);

($said, $made) = make('elsewhere', 'src/capacity.o with_llvm=no');
ok($made && -f "$folder/elsewhere/src/capacity.o" && !-f "$folder/tree/src/capacity.o", 'make builds in another folder')
  or diag($said);
($said, $made) = make('elsewhere', 'clean');
ok($made && !-f "$folder/elsewhere/src/capacity.o", '... and cleans there') or diag($said);

done_testing();
