# EgressPages.pm -- reads the project's pages, for all tests that run what a page shows or check what it says
#
#   my @paths = pages();                   all pages, by their paths from the root of the tree
#   my $text = text($path);                one of them
#   my @blocks = blocks($path);            its fenced blocks, in the order of the page
#   my @sql = sql($path, $mark);           the text of its SQL blocks that have a mark, or of those that have none
#   my @links = links($path);              its links within the project: [ file, anchor ], either may be empty
#   my @anchors = anchors($path);          what such links can name in it
#
# A block begins with ```LANGUAGE MARK..., and is a hash of language, marks (a hash), text, line (the number of its first line)
# and section (the heading above it). A block without a language that follows an SQL block, with nothing but an empty line in
# between, is what psql prints for that: output of the SQL block. The marks of SQL blocks say who runs them:
#
#   app, admin      pages.pl, as a role with that access
#   error=SQLSTATE  pages.pl: the block ends with that error
#   import          secrets.pl
#   pg_cron         cron.pl
#
# Without a mark, a superuser runs a block. What is read is read when this is loaded or called: before EgressCluster.pm makes the
# user postgres of root, who may not be allowed to enter this folder.
package EgressPages;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Find ();

our @EXPORT = qw(blocks sql);
our @EXPORT_OK = qw(pages text without_blocks links anchors);

my $root = abs_path(dirname(__FILE__) . '/../..');

sub pages
{
	my @paths;
	File::Find::find({ no_chdir => 1, wanted => sub {
		$File::Find::prune = 1 if -d && m{/(?:\.git|node_modules|dist|tmp_check|build-\w+)\z|/debian/postgresql-};
		push @paths, substr($_, 1 + length $root) if -f && /\.md\z/;
	} }, $root);
	return sort @paths;
}

my %text;

sub text
{
	my ($path) = @_;
	return $text{$path} //= do {
		open my $page, '<:encoding(UTF-8)', "$root/$path" or die "$path: $!";
		local $/;
		<$page>;
	};
}

# a page without its fenced blocks, whose lines stay as empty ones
sub without_blocks
{
	my ($path) = @_;
	return text($path) =~ s/^```.*?^```$/"\n" x ($& =~ tr,\n,,)/gmser;
}

sub blocks
{
	my ($path) = @_;
	my $text = text($path);
	my @blocks;
	my $end;
	while ($text =~ /^```(\S*)([^\n]*)\n(.*?)^```$/msg)
	{
		my ($language, $marks, $content, $begin) = ($1, $2, $3, $-[0]);
		my $between = defined $end ? substr($text, $end, $begin - $end) : '';
		my @headings = substr($text, 0, $begin) =~ /^##+ (.*)$/mg;
		push @blocks, { language => $language, text => $content, section => $headings[-1] // '',
			marks => { map { my ($name, $value) = split /=/; ($name => $value // 1) } split ' ', $marks },
			line => 1 + (substr($text, 0, $begin) =~ tr/\n//) };
		$end = pos $text;
		next if $language ne '' || @blocks < 2 || $blocks[-2]{language} ne 'sql' || $between =~ /\S/;
		pop @blocks;
		$blocks[-1]{output} = $content;
	}
	return @blocks;
}

sub sql
{
	my ($path, $mark) = @_;
	return map { $_->{text} } grep { $_->{language} eq 'sql' && (defined $mark ? $_->{marks}{$mark} : !%{ $_->{marks} }) } blocks($path);
}

# what a heading, or an element with an id, can be called by in a link, as GitHub has it
sub anchors
{
	my ($path) = @_;
	my $text = without_blocks($path);
	my (%times, @anchors);
	for my $heading ($text =~ /^#+ +(.*?) *$/mg)
	{
		my $anchor = lc($heading =~ s/\[([^\]]*)\]\([^)]*\)/$1/gr =~ s/[^\w\- ]//gr =~ tr/ /-/r);
		push @anchors, $anchor . ($times{$anchor}++ ? '-' . ($times{$anchor} - 1) : '');
	}
	return (@anchors, $text =~ /<a (?:id|name)="([^"]+)"/g);
}

# the links of a page to files of the project, or within it: [ file, anchor ], either may be empty; code is left out
sub links
{
	my ($path) = @_;
	my $text = without_blocks($path) =~ s/^    .*$//mgr =~ s/`[^`\n]*`(?!\])/code/gr;
	my @links = ($text =~ /\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g, $text =~ /^\[[^\]]+\]: +(\S+)/mg, $text =~ /<(?:img|source|a)\s[^>]*(?:src|href|srcset)="([^"]+)"/g);
	return map { [ /\A([^#]*)(?:#(.*))?\z/ ] } grep { !/\A[a-z][a-z0-9+.-]*:/i } @links;
}

1;
