# dist.pl -- do META.json and debian/ say what is so of egress, and does make dist make the zip for PGXN?
#
# META.json has to follow PGXN's specification, version 1.0.0 (https://pgxn.org/spec/), which @META has in short. The
# version is that of egress.control in META.json and in both changelogs. The zip holds what is committed, and nothing
# else. test/deb/run shows that it builds and passes make installcheck, and tests the Debian packages.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use EgressTest qw(slurp);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use JSON::PP ();
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/../..');
chdir $root or die "$root: $!";
delete @ENV{qw(MAKEFLAGS MAKELEVEL)};

# ------------------------------------------------------------------ META.json

my $number = qr/(?:0|[1-9][0-9]*)/;
my $version = qr/$number\.$number\.$number(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?/;
my $range = qr/(?:(?:[=!]=|[<>]=?)\s*)?$version/;
my $path = qr{(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\\]+};
my $url = qr{[a-z]+://[^/\s]+\S*};
my $text = qr/(?s:.*\S.*)/;
my $license = join '|', qw(agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3 gpl_1 gpl_2 gpl_3
	lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib open_source restricted
	unrestricted unknown);
my $phase = '(configure|build|test|runtime|develop)';
my $relation = '(requires|recommends|suggests|conflicts)';

# The places in the structure, by the keys that lead there: * is any name, [] an element of a list; ! means that a key has
# to be there, in the object that would have it. And what stands there: an object, a list or a text.
my @META = (
	[ '', {} ],
	[ 'name!', qr{[^\s/\\[:cntrl:]]{2,}} ], [ 'version!', $version ], [ 'abstract!', $text ], [ 'description', $text ],
	[ 'maintainer!', $text ], [ 'maintainer', [] ], [ 'maintainer/[]', $text ],
	[ 'license!', qr/$license/ ], [ 'license', [] ], [ 'license/[]', qr/$license/ ], [ 'license', {} ], [ 'license/*', $url ],
	[ 'release_status', qr/stable|testing|unstable/ ], [ 'generated_by', $text ],
	[ 'provides!', {} ], [ 'provides/*', {} ], [ 'provides/*/file!', $path ], [ 'provides/*/version!', $version ],
	[ 'provides/*/docfile', $path ], [ 'provides/*/abstract', $text ],
	[ 'prereqs', {} ], [ "prereqs/$phase", {} ], [ "prereqs/$phase/$relation", {} ],
	[ "prereqs/$phase/$relation/*", qr/0|$range(?:,\s*$range)*/ ],
	[ 'resources', {} ], [ 'resources/homepage', $url ],
	[ 'resources/bugtracker', {} ], [ 'resources/bugtracker/web', $url ], [ 'resources/bugtracker/mailto', qr/[^\s@]+@[^\s@]+/ ],
	[ 'resources/repository', {} ], [ 'resources/repository/(url|web)', $url ], [ 'resources/repository/type', qr/[a-z]+/ ],
	[ 'no_index', {} ], [ 'no_index/(file|directory)', [] ], [ 'no_index/(file|directory)/[]', $path ],
	[ 'tags', [] ], [ 'tags/[]', qr{[^/\\[:cntrl:]]{2,255}} ],
	[ 'meta-spec!', {} ], [ 'meta-spec/version!', qr/1\.0\.0/ ], [ 'meta-spec/url', $url ]);

# the regular expression of a place
sub place
{
	my ($place) = map { s/!$//r } @_;
	$place =~ s/\[\]/\\[\\]/;
	$place =~ s{\*}{[^/\\s]{2,}};
	return qr/^$place$/;
}

# what of a META.json is not as the specification has it
sub mistakes
{
	my ($value, $where) = @_;
	return () if $where =~ m{(?:^|/)[xX]_[^/]+$};
	my @here = grep { $where =~ place($_->[0]) } @META;
	return "$where is not known" if !@here;
	return "$where is not as it has to be"
	  if !grep { ref $_ ne 'Regexp' ? ref $value eq ref $_ : defined $value && !ref $value && $value =~ /^(?:$_)$/ } map { $_->[1] } @here;

	my $inside = $where eq '' ? '' : "$where/";
	return map { mistakes($_, "${inside}[]") } @$value if ref $value eq 'ARRAY';
	return () if ref $value ne 'HASH';
	my @missing;
	for (map { $_->[0] } @META)
	{
		my ($object, $key) = m{^(?:(.*)/)?(.*)!$} or next;
		push @missing, "$inside$key is missing" if $where =~ place($object // '') && !exists $value->{$key};
	}
	return (@missing, map { mistakes($value->{$_}, "$inside$_") } sort keys %$value);
}

my $json = JSON::PP->new->utf8;
my $meta = $json->decode(slurp('META.json'));
is_deeply([ mistakes($meta, '') ], [], 'META.json is as PGXN specifies it');

# each of these is found
for (
	[ 'no license', sub { delete $_[0]{license} }, 'license is missing' ],
	[ 'another license', sub { $_[0]{license} = 'PostgreSQL' }, 'license is not as it has to be' ],
	[ 'a version of two numbers', sub { $_[0]{version} = '1.0' }, 'version is not as it has to be' ],
	[ 'an extension without a file', sub { delete $_[0]{provides}{egress}{file} }, 'provides/egress/file is missing' ],
	[ 'a path from the root', sub { $_[0]{provides}{egress}{file} = '/x.sql' }, 'provides/egress/file is not as it has to be' ],
	[ 'a phase that there is not', sub { $_[0]{prereqs}{run} = {} }, 'prereqs/run is not known' ],
	[ 'a range', sub { $_[0]{prereqs}{runtime}{requires}{PostgreSQL} = '15' },
		'prereqs/runtime/requires/PostgreSQL is not as it has to be' ],
	[ 'a tag with a slash', sub { push @{ $_[0]{tags} }, 'a/b' }, 'tags/[] is not as it has to be' ],
	[ 'a resource that there is not', sub { $_[0]{resources}{homepages} = 'https://example.org' }, 'resources/homepages is not known' ],
	[ 'an address', sub { $_[0]{resources}{bugtracker}{web} = 'example.org' }, 'resources/bugtracker/web is not as it has to be' ],
	[ 'a key of its own', sub { $_[0]{x_key} = [ {} ] } ])
{
	my ($what, $plant, @expected) = @$_;
	my $planted = $json->decode(slurp('META.json'));
	$plant->($planted);
	is_deeply([ mistakes($planted, '') ], \@expected, "(the check knows $what)");
}

# ---------------------------------------------------------------- the version

my ($control) = slurp('egress.control') =~ /^default_version = '(.*)'$/m;
is_deeply([ sort keys %{ $meta->{provides} } ], ['egress'], 'META.json provides egress');
my $provides = $meta->{provides}{egress};
is($meta->{version}, "$control.0", 'in the version of egress.control');
is($provides->{version}, "$control.0", 'of which the extension is, too');
is($provides->{file}, "egress--$control.sql", 'whose file is the script of this version');
ok(-f $provides->{$_}, "$provides->{$_} is there") for qw(file docfile);
ok(-d $_, "$_ is there") for @{ $meta->{no_index}{directory} };
my ($comment) = slurp('egress.control') =~ /^comment = '(.*)'$/m;
is($_, $comment, 'what egress is, in the words of egress.control') for $meta->{abstract}, $provides->{abstract};
my ($logged) = slurp('CHANGELOG.md') =~ /^## (\S+)/m;
is($logged, $control, 'the changelog begins with the version');
my ($debian) = slurp('debian/changelog') =~ /^egress \((.*?)-[^-]*\) /;
is($debian, $control, "and Debian's");
my ($maintainer) = slurp('debian/control.in') =~ /^Maintainer: (.*)$/m;
is($meta->{maintainer}, $maintainer, 'the maintainer is the same in META.json and in debian/control.in');

# debian/control is what pg_buildext makes of control.in for one server; it is made again on each Debian release
my ($server) = slurp('debian/control') =~ /^Package: postgresql-(\d+)-egress$/m;
is(slurp('debian/control'), slurp('debian/control.in') =~ s/PGVERSION/$server/gr, "debian/control is control.in for $server");

# -------------------------------------------------------------------- the zip

SKIP:
{
	chomp(my $top = `git -c safe.directory='$root' rev-parse --show-toplevel 2>/dev/null` // '');
	skip 'make dist needs a checkout', 1 if $top ne $root;

	# a clone, so that it is that one's dist that gets it; what is not committed is in no zip
	my $folder = tempdir('egress-dist-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $git = "git -c safe.directory='*' -C '$folder/clone'";
	system("git -c safe.directory='*' clone -q --shared '$root' '$folder/clone'") == 0 or die 'git clone failed';
	for ('src/egress.o', 'egress.so', 'forgotten')
	{
		open my $product, '>', "$folder/clone/$_" or die "$_: $!";
		print $product 'x';
	}
	my $said = `make -s -C '$folder/clone' dist 2>&1`;
	is($said, "egress: what is not committed is not in the zip\ndist/egress-$meta->{version}.zip\n", 'make dist makes a zip')
	  or last SKIP;
	my @committed = sort map { "egress-$meta->{version}/$_" } split /\n/, `$git ls-tree -r --name-only HEAD`;
	my @zipped = sort grep { !m{/$} } split /\n/, `unzip -Z1 '$folder/clone/dist/egress-$meta->{version}.zip'`;
	is_deeply(\@zipped, \@committed, 'of what is committed, in a folder by its name');
	symlink "$folder/clone", "$folder/link" or die "symlink: $!";
	like(`bash -c 'cd "$folder/link" && make -s dist' 2>&1`, qr{^dist/egress-\Q$meta->{version}\E\.zip$}m,
		'... also where the checkout is entered by another name');
	is(`unzip -p '$folder/clone/dist/egress-$meta->{version}.zip' egress-$meta->{version}/META.json`,
		`$git show HEAD:META.json`, 'and META.json is in it');

	is(`perl test/deb/links.pl '$folder/clone'`, '', 'every link of a page in it leads to a file');

	# what make deb builds is a copy of what is there
	unlink "$folder/clone/SECURITY.md" or die "SECURITY.md: $!";
	for my $name ('clone', 'link')
	{
		mkdir "$folder/copy_$name" or die "copy_$name: $!";
		is(`bash -euo pipefail -c 'cd "$folder/$name"; source scripts/tree; tree_copy "$folder/copy_$name"' 2>&1`, '',
			"make deb copies a checkout in which a file was deleted ($name)");
		my @copied = sort map { s{^\./}{}r } split /\n/, `cd '$folder/copy_$name' && find . ! -type d`;
		is_deeply(\@copied, [ sort 'forgotten', grep { $_ ne 'SECURITY.md' } map { s{^[^/]*/}{}r } @committed ],
			'... with what is not committed, without the deleted file and what was built, and without .git');
	}
}

done_testing();
