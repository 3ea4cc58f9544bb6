# shares.pl -- of the dumps of callgrind that test/bench/shares made, the table that it prints
#
#   perl shares.pl FOLDER PAIRS
#
# FOLDER holds the dumps, each with its label as the reason: "lean" and "egress", these pairs; "base", the lean pair without an
# index that is not unique; "lean index NAME" and "egress index NAME", base and one index of that side. PAIRS is how many each of
# them counted. FOLDER/wal has a line a label: label, tab, bytes of WAL a pair.
#
# What an instruction belongs to: the innermost of the functions on the stack that %of_file or %of_function name. So a helper
# (scan.c) and PostgreSQL's functions belong to who called them. Callgrind knows for each pair of caller and callee what the calls
# cost in all. Where a callee that belongs to its callers calls one that does not, each of the callers is taken to have had the
# same share of that.
use strict;
use warnings;

my ($folder, $pairs) = @ARGV;

# what the parts of a pair are, in the order of the table
my @parts = (
	[ 'rows',    'the rows, and their entries in the unique indexes' ],
	[ 'fk',      'foreign keys: is a deletion of the gateway or credential under way, are the keys as declared' ],
	[ 'lock',    'the short locks' ],
	[ 'look',    'the limit: who is full, a slot, the look at the others' ],
	[ 'access',  'who may use what' ],
	[ 'lease',   'the session: its lease, its row in the attached table' ],
	[ 'history', 'the names for the history' ],
	[ 'secret',  'secrets and the config' ],
	[ 'call',    'arguments, tables and indexes as the code has them, the answer' ],
	[ 'commit',  'commit' ],
	[ 'sql',     'all else: protocol, plans, the executor, snapshots' ]);

my %of_file = (
	'lock.c' => 'lock',
	(map { $_ => 'look' } qw(limit.c slots.c user_limit.c once.c fitting.c draw.c bench.c pool.c pool_index.c
		freed.c capacity.c)),
	(map { $_ => 'access' } qw(access.c subject.c)),
	(map { $_ => 'lease' } qw(lease.c sessions.c notify.c)),
	'history.c' => 'history',
	(map { $_ => 'secret' } qw(secret.c keyring.c config.c config_openvpn.c openvpn_directives.c config_wireguard.c certificate.c)),
	(map { $_ => 'call' } qw(acquire.c arguments.c catalog.c shape.c query.c application.c egress.c)));
my %of_function = (
	(map { $_ => 'rows' } qw(heap_insert heap_delete ExecInsertIndexTuples insert_row scan_delete)),
	(map { $_ => 'fk' } qw(scan_row_is_changing scan_row_ends shape_check_foreign_keys)),
	CommitTransactionCommand => 'commit');
# belongs to who calls it
my $helper = 'scan.c';

# what has to be seen, or the names above are those of yesterday
my @expected = qw(heap_insert heap_delete ExecInsertIndexTuples insert_row scan_delete scan_row_is_changing scan_row_ends shape_check_foreign_keys
	CommitTransactionCommand);

# read_dump -- a dump as { label, total, self => { function => cost }, calls => { caller => { callee => cost } } };
# a function is FILE:NAME, of the extension's file without its folder
sub read_dump
{
	my ($path) = @_;
	my %dump = (label => '', total => 0, self => {}, calls => {});
	my ($file, $function, $called_file, $called, $is_call) = ('', '', undef, undef, 0);

	open my $lines, '<', $path or die "$path: $!\n";
	while (my $line = <$lines>)
	{
		chomp $line;
		if ($line =~ /^desc: Trigger: Client Request: (.*)/) { $dump{label} = $1; }
		elsif ($line =~ /^summary: (\d+)/) { $dump{total} = $1; }
		elsif ($line =~ /^(?:fl|fi|fe)=(.*)/) { $file = short($1); }
		elsif ($line =~ /^fn=(.*)/) { $function = "$file:" . bare_name($1); }
		elsif ($line =~ /^cf[il]=(.*)/) { $called_file = short($1); }
		elsif ($line =~ /^cfn=(.*)/) { $called = ($called_file // $file) . ':' . bare_name($1); }
		elsif ($line =~ /^calls=/) { $is_call = 1; }
		elsif ($line =~ /^[+*\d-]\S* (\d+)$/)
		{
			if ($is_call) { $dump{calls}{$function}{$called} += $1; }
			else { $dump{self}{$function} += $1; }
			($is_call, $called_file) = (0, undef) if $is_call;
		}
	}
	close $lines;
	return \%dump;
}

# short -- a file's name, without its folder
sub short { return $_[0] =~ s{.*/}{}r; }

# bare_name -- a function's name without what the compiler and callgrind add
sub bare_name { return $_[0] =~ s/'\d+$//r =~ s/\.(?:constprop|isra|part|cold)\.?\d*//gr; }

# part_of -- which part a function is of, '' for one that belongs to its callers
sub part_of
{
	my ($file, $name) = split /:/, $_[0], 2;
	return $of_function{$name} // $of_file{$file} // '';
}

# parts -- what each part of a dump costs
sub parts
{
	my ($dump) = @_;
	my (%cost, %kept);

	# what of a call of a function belongs to its caller, as a share
	my $kept = sub {
		my ($kept, $function) = @_;
		return $kept{$function} if defined $kept{$function};
		$kept{$function} = 1;    # for a recursion
		my $calls = $dump->{calls}{$function} // {};
		my ($all, $own) = (($dump->{self}{$function} // 0)) x 2;
		for my $callee (keys %$calls)
		{
			$all += $calls->{$callee};
			$own += $calls->{$callee} * $kept->($kept, $callee) if part_of($callee) eq '';
		}
		return $kept{$function} = $all > 0 ? $own / $all : 1;
	};
	my %functions = map { $_ => 1 } keys %{ $dump->{self} }, keys %{ $dump->{calls} };
	for my $function (keys %functions)
	{
		my $part = part_of($function);
		next if $part eq '';
		my $calls = $dump->{calls}{$function} // {};
		$cost{$part} += $dump->{self}{$function} // 0;
		$cost{$part} += $calls->{$_} * $kept->($kept, $_) for grep { part_of($_) eq '' } keys %$calls;
	}
	my $sum = 0;
	$sum += $_ for values %cost;
	$cost{sql} = $dump->{total} - $sum;
	return \%cost;
}

# check -- die when the names above do not fit
sub check
{
	my ($dump, $sources) = @_;
	my %names = map { (split /:/)[1] => 1 } keys %{ $dump->{self} };

	die "shares.pl: nothing is of a file in src: was it compiled without -g?\n"
		unless grep { $sources->{ (split /:/)[0] } } keys %{ $dump->{self} };
	for my $name (@expected)
	{
		die "shares.pl: $name() is not called in the pair of egress: which parts are there now?\n" unless $names{$name};
	}
	for my $function (keys %{ $dump->{self} })
	{
		my ($file) = split /:/, $function;
		die "shares.pl: of which part is $file?\n" if $sources->{$file} && $file ne $helper && part_of($function) eq '';
	}
}

# thousands -- a number of instructions a pair, in thousands
sub thousands { return sprintf '%.1f', $_[0] / 1000 / $pairs; }

sub row { print '| ', join(' | ', @_), " |\n"; }

my %dumps;
for my $path (glob "$folder/*.*")
{
	my $dump = read_dump($path);
	$dumps{ $dump->{label} } = $dump if $dump->{label} ne '';
}
for my $label ('lean', 'base', 'egress')
{
	die "shares.pl: there is no dump \"$label\"\n" unless $dumps{$label} && $dumps{$label}{total} > 0;
}
my %sources = map { short($_) => 1 } glob 'src/*.c';
check($dumps{egress}, \%sources);

open my $lines, '<', "$folder/wal" or die "$folder/wal: $!\n";
my %wal = map { chomp; split /\t/ } <$lines>;
close $lines;

my %cost = map { $_ => parts($dumps{$_}) } 'lean', 'egress';
my $difference = ($dumps{egress}{total} - $dumps{lean}{total}) / 100;

# what the indexes add to the base; the rows' part has them
my (@indexes, %indexes_wal);
for my $label (sort { $b cmp $a } grep { / index / } keys %dumps)
{
	my ($side, $name) = $label =~ /^(\w+) index (.*)/;
	my $added = $dumps{$label}{total} - $dumps{base}{total};
	my $added_wal = $wal{$label} - $wal{base};
	$cost{$side}{rows} -= $added;
	$indexes_wal{$side} += $added_wal;
	push @indexes, [ "index $name", $side, $added, $added_wal ];
}

row('of a pair', 'thousand instructions: lean', 'egress', 'share of the difference', 'bytes of WAL: lean', 'egress');
row('---', ('--:') x 5);
for my $part (@parts)
{
	my ($key, $what) = @$part;
	my ($lean, $egress) = map { $cost{$_}{$key} // 0 } 'lean', 'egress';
	my @bytes = $key eq 'rows' ? map { sprintf '%.0f', $wal{$_} - ($indexes_wal{$_} // 0) } 'lean', 'egress' : ('', '');

	row($what, ($lean == 0 ? '' : thousands($lean)), thousands($egress),
		sprintf('%.0f %%', ($egress - $lean) / $difference), @bytes);
	next if $key ne 'rows';
	for my $index (@indexes)
	{
		my ($name, $side, $added, $added_wal) = @$index;
		my @costs = $side eq 'lean' ? (thousands($added), '') : ('', thousands($added));
		my @wals = $side eq 'lean' ? (sprintf('%.0f', $added_wal), '') : ('', sprintf('%.0f', $added_wal));
		row($name, @costs, sprintf('%.0f %%', ($side eq 'lean' ? -$added : $added) / $difference), @wals);
	}
}
row('in all', (map { thousands($dumps{$_}{total}) } 'lean', 'egress'), '100 %', map { sprintf '%.0f', $wal{$_} } 'lean', 'egress');
