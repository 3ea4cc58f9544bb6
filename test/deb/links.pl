# links.pl FOLDER -- says which links of the pages (*.md) under the folder lead to no file; fails when there is one
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Find qw(find);

my ($folder) = @ARGV;
my ($pages, @broken) = 0;
find({ no_chdir => 1, wanted => sub {
	return if !/\.md(?:\.gz)?$/;
	$pages++;
	my $page = $_;
	return push @broken, "$page is compressed, and so no link leads to it" if $page =~ /\.gz$/;
	open my $file, '<', $page or die "$page: $!";
	while (my $line = <$file>)
	{
		while ($line =~ /\]\(([^)\s]+)\)/g)
		{
			my $link = $1 =~ s/#.*//r;
			next if $link eq '' || $link =~ /^[a-z]+:/;
			push @broken, "$page:$.: $link" if !-e dirname($page) . "/$link";
		}
	}
} }, $folder);
die "there is no page under $folder\n" if $pages == 0;
print map { "$_\n" } @broken;
exit(@broken ? 1 : 0);
