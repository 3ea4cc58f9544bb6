#!/usr/bin/perl
# scripts/reference.pl -- prints doc/reference.md: the extension's objects, settings and SQLSTATEs, as the catalog has them
#
# scripts/reference writes the page with it, and test/t/reference.pl compares. The extension is created in the database that
# PGHOST and so on name, for a superuser, and all is rolled back. The texts are
#  - the COMMENTs of the install script. In that of a function, each line is a paragraph, but for two kinds: "name, name: ..." is
#    about arguments, and "SQLSTATE: code, code meaning; code meaning." is the last one;
#  - the comments of src/errors.h.
# Who may call or read something is found by asking what three roles may do, to each of which egress_grant_access() has granted
# one kind of access. Objects are in the order of the install script.
use strict;
use warnings;
use DBI;
use File::Basename qw(dirname);

my $schema = 'egress_reference';
my @accesses = qw(app monitor admin);

my $dbh = DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 0 });
$dbh->do($_) for 'SET client_min_messages = warning', "CREATE SCHEMA $schema", "SET search_path = $schema",
  "CREATE EXTENSION egress SCHEMA $schema", q{LOAD 'egress'},
  map { ("CREATE ROLE egress_reference_$_", "SELECT egress_grant_access('egress_reference_$_', '$_')") } @accesses;

# the rows of a query
sub rows
{
	my ($sql, @values) = @_;
	return @{ $dbh->selectall_arrayref($sql, { Slice => {} }, @values) };
}

# ------------------------------------------------------------- Markdown

# what has a heading here
my %has_entry;

sub code { return "`$_[0]`" }

# a link to the heading of a name, of which GitHub leaves out the dots
sub link_to
{
	my ($name, $text) = @_;
	return '[' . code($text // $name) . '](#' . $name =~ tr/.//dr . ')';
}

# a text of the catalog: nothing in it is markup, and what has an underscore is a name, and so code
sub text
{
	my @parts = split /\b((?:\w+\.)?[a-z0-9]+(?:_[a-z0-9]+)+(?:\.\w+)*(?:\([a-z_, \[\]]*\))?)/, $_[0] // '';
	for (0 .. $#parts)
	{
		my $part = $parts[$_];
		my ($name) = grep { $has_entry{$_} } $part =~ /^((\w+)[\w.]*)/;
		$parts[$_] = $_ % 2 == 0 ? $part =~ s/([\\<>*|\[\]`])/\\$1/gr : defined $name ? link_to($name, $part) : code($part);
	}
	return join '', @parts;
}

# a heading, to which others can link by this very name
sub heading { return "\n### `$_[0]`\n" }

# a table: its head, and its rows
sub table
{
	my ($head, @rows) = @_;
	return join "\n", '', (map { '| ' . join(' | ', @$_) . ' |' } $head, [ map { '---' } @$head ], @rows), '';
}

# what has access, as a line of a page; per privilege, where it is not always the same one
sub access
{
	my ($function, $oid, @privileges) = @_;
	my @list;
	for my $access (@accesses)
	{
		my @has = grep { (rows("SELECT $function(?, ?::oid, ?) AS has", "egress_reference_$access", $oid, $_))[0]{has} } @privileges;
		push @list, @privileges > 1 ? "$access (@{[ join ', ', @has ]})" : $access if @has;
	}
	return @list;
}

# ------------------------------------------------------ what is in there

my $member = q{(SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'egress')) AS member};

my @functions = rows(qq{
	SELECT p.oid, proname AS name, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
	       prokind, prorettype = 'trigger'::regtype AS is_trigger, pronargs > 0 AND proargnames IS NULL AS is_support,
	       EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_rewrite'::regclass AND refobjid = p.oid) AS is_of_view,
	       t.typrelid AS row_type, obj_description(p.oid, 'pg_proc') AS comment
	FROM pg_proc p JOIN $member ON classid = 'pg_proc'::regclass AND objid = p.oid JOIN pg_type t ON t.oid = prorettype
	ORDER BY p.oid});
my @relations = rows(qq{
	SELECT c.oid, relname AS name, relkind, obj_description(c.oid, 'pg_class') AS comment
	FROM pg_class c JOIN $member ON classid = 'pg_class'::regclass AND objid = c.oid WHERE relkind IN ('r', 'v') ORDER BY c.oid});
my @settings = rows(q{SELECT * FROM pg_settings WHERE name LIKE 'egress.%' ORDER BY name});
my @types = rows(qq{
	SELECT t.oid, typname AS name, typrelid AS row_type, obj_description(t.oid, 'pg_type') AS comment
	FROM pg_type t JOIN $member ON classid = 'pg_type'::regclass AND objid = t.oid LEFT JOIN pg_class c ON c.oid = typrelid
	WHERE typcategory <> 'A' AND (c.oid IS NULL OR relkind = 'c') ORDER BY t.oid});
$has_entry{ $_->{name} } = 1 for grep { !$_->{is_support} } @functions, @relations, @types, @settings;
my %name_of_row_type = map { ($_->{row_type} => $_->{name}) } grep { $_->{row_type} } @types;

# the sections of functions, which are known by who may call them and by what does
my (%functions, %section);
for my $function (@functions)
{
	my $name = $function->{name};
	push @{ $functions{$name} }, $function;
	$function->{access} = join ', ', access('has_function_privilege', $function->{oid}, 'EXECUTE');
	$section{$name} =
		$function->{is_trigger} ? 'trigger'
	  : $function->{is_support} ? 'support'
	  : $function->{is_of_view} ? 'view'
	  : $function->{access} =~ /app/ ? 'app'
	  : $function->{access} ne '' ? 'admin' : 'owner';
}
my %in_section;
my %seen;
push @{ $in_section{ $section{$_} } }, $_ for grep { !$seen{$_}++ } map { $_->{name} } @functions;

# the SQLSTATEs that the comment of a function lists: a pair of codes and meaning each
sub sqlstates
{
	my ($comment) = @_;
	return if $comment !~ /^SQLSTATE: (.*?)\.?\z/ms;
	my @items = map { [ /^((?:[0-9A-Z]{5}(?:, )?)+) (.*)/s ] } split /; /, $1;
	return map { [ [ split /, /, $_->[0] ], $_->[1] ] } grep { @$_ } @items;
}

# how a function is called, with a line for each argument if it is long
sub declaration
{
	my ($function) = @_;
	my $arguments = $function->{arguments} =~ s/NULL::[a-z_ ]+(?:\[\])?/NULL/gr;
	my $result = defined $function->{result} ? " RETURNS $function->{result}" : '';
	my $line = ($function->{prokind} eq 'p' ? 'CALL ' : '') . "$function->{name}($arguments)$result";
	$line = "$function->{name}(\n    " . $arguments =~ s/, /,\n    /gr . ")$result" if length $line > 100;
	return "\n```\n$line\n```\n";
}

# the comment of a function; what is as in the comment to which it refers, is there
sub explanation
{
	my ($function) = @_;
	my ($text) = split /^SQLSTATE: /m, $function->{comment};
	my $page = '';
	my $in_list = 0;
	for my $line (split /\n/, $text)
	{
		my ($names, $about) = $line =~ /^([a-z_]+(?:, [a-z_]+)*): (.*)/;
		next if defined $names && $about eq 'as there.';
		$page .= "\n" if !$in_list || !defined $names;
		$page .= defined $names ? '- ' . $names =~ s/(\w+)/`$1`/gr . ': ' . text($about) . "\n" : text($line) . "\n";
		$in_list = defined $names;
	}
	my @sqlstates = grep { $_->[1] ne 'as there' } sqlstates($function->{comment});
	$page .= "\nErrors:\n\n" if @sqlstates;
	$page .= '- ' . join(', ', map { code($_) } @{ $_->[0] }) . ': ' . text($_->[1]) . "\n" for @sqlstates;
	return $page;
}

# the columns of a table, with what they take, or of a view or row type
sub columns
{
	my ($oid, $is_table) = @_;
	my @columns = rows(q{
		SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull, col_description(attrelid, attnum) AS comment,
		       attidentity, pg_get_expr(adbin, adrelid) AS value
		FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid = ? AND attnum > 0 AND NOT attisdropped ORDER BY attnum}, $oid);
	my @lines;
	for (@columns)
	{
		my @accepts = ($_->{attnotnull} ? 'no' : 'yes', $_->{attidentity} ? 'identity' : defined $_->{value} ? code($_->{value}) : '');
		push @lines, [ code($_->{attname}), $_->{type}, $is_table ? @accepts : (), text($_->{comment}) ];
	}
	return table([ 'column', 'type', $is_table ? ('null', 'default') : (), 'description' ], @lines);
}

# ------------------------------------------------------------ the sections

# all functions of a name
sub function_entry
{
	my ($name) = @_;
	my $page = heading($name);
	my ($row_type) = map { $_->{row_type} } @{ $functions{$name} };
	my %accesses = map { ($_->{access} => 1) } @{ $functions{$name} };

	$page .= declaration($_) . explanation($_) for @{ $functions{$name} };
	$page .= "\nColumns of the result:\n" . columns($row_type) if $name_of_row_type{$row_type};
	$page .= "\nAccess: $_.\n" for grep { $_ ne '' } join '; ', sort keys %accesses;
	return $page;
}

sub trigger_entry
{
	my ($name) = @_;
	my @triggers = rows(q{
		SELECT relname, pg_get_triggerdef(t.oid, true) AS definition
		FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE tgfoid = ? ORDER BY tgrelid, tgname}, $functions{$name}[0]{oid});
	my $page = function_entry($name);
	$page .= table([ 'table', 'trigger' ], map { [ link_to($_->{relname}), $_->{definition} =~ /TRIGGER \w+ (.*?) ON / ] } @triggers)
	  if @triggers;
	return $page;
}

sub relation_entry
{
	my ($relation) = @_;
	my $is_table = $relation->{relkind} eq 'r';
	my @access = access('has_table_privilege', $relation->{oid}, $is_table ? qw(SELECT INSERT UPDATE DELETE) : 'SELECT');
	return heading($relation->{name}) . "\n" . ucfirst(text($relation->{comment})) . ".\n" . columns($relation->{oid}, $is_table)
	  . "\nAccess: " . join(', ', @access) . ".\n";
}

sub type_entry
{
	my ($type) = @_;
	my @labels = rows('SELECT enumlabel FROM pg_enum WHERE enumtypid = ? ORDER BY enumsortorder', $type->{oid});
	my $page = heading($type->{name}) . "\n" . ucfirst(text($type->{comment})) . ".\n";
	$page .= "\nValues: " . join(', ', map { code($_->{enumlabel}) } @labels) . ".\n" if @labels;
	return $page;
}

sub setting_entry
{
	my ($setting) = @_;
	my ($type, $unit, $default, @range) = @$setting{qw(vartype unit boot_val min_val max_val)};
	my @lines = ("type: $type" . (defined $unit ? ", in $unit" : ''), 'default: ' . (length $default ? code($default) : 'empty'));
	push @lines, 'range: ' . join ' to ', map { code($_) } @range if defined $range[0];
	push @lines, 'values: ' . join ', ', map { code($_) } @{ $setting->{enumvals} } if $setting->{enumvals};
	push @lines, "context: $setting->{context}, see [pg_settings](https://www.postgresql.org/docs/current/view-pg-settings.html)";
	return heading($setting->{name}) . "\n" . text(join ' ', grep { defined } @$setting{qw(short_desc extra_desc)}) . "\n\n"
	  . join '', map { "- $_\n" } @lines;
}

# the SQLSTATEs of src/errors.h: ours by their definitions, PostgreSQL's by a list, with its own names and codes for them
sub sqlstate_tables
{
	my $file = dirname(__FILE__) . '/../src/errors.h';
	open my $errors, '<', $file or die "$file: $!\n";
	my $source = do { local $/; <$errors> };
	close $errors;
	my ($known) = rows(q{SELECT pg_read_file(setting || '/errcodes.txt') AS list FROM pg_config WHERE name = 'SHAREDIR'});
	my (%code_of, %condition_of);
	while ($known->{list} =~ m{^(\w{5}) +[EWS] +(\w+)(?: +(\w+))?}mg)
	{
		$code_of{$2} = $1;
		$condition_of{$1} //= $3;
	}
	my (%raised_by, @ours, @others);

	for my $function (grep { !$_->{is_support} } @functions)
	{
		$raised_by{$_}{ $function->{name} } = 1 for map { @{ $_->[0] } } sqlstates($function->{comment});
	}
	while ($source =~ m{^/\* (.*?) \*/\n#define ERRCODE_EGRESS_(\w+)\s+MAKE_SQLSTATE\((.*?)\)}mg)
	{
		my ($meaning, $name, $code) = ($1, lc $2, $3);
		$code =~ s/\W//g;
		push @ours, [ code($code), code($name), text($meaning), join ', ', map { link_to($_) } sort keys %{ $raised_by{$code} } ];
	}
	while ($source =~ m{^ \* (ERRCODE_\w+): (.*(?:\n \*\t.*)*)}mg)
	{
		my ($name, $meaning) = ($1, $2);
		$meaning =~ s/\n \*\t+/ /g;
		my $code = $code_of{$name} // die "$file: PostgreSQL has no $name\n";
		push @others, [ code($code), code($condition_of{$code}), text($meaning) ];
	}
	return table([ 'SQLSTATE', 'name', 'meaning', 'functions that list it' ], @ours)
	  . "\nPL/pgSQL has no condition names for these: write `WHEN SQLSTATE 'NG004' THEN`. The others are PostgreSQL's own, here with\n"
	  . "their condition names, and with what they mean when egress, or a constraint or privilege of its objects, raises them.\n"
	  . table([ 'SQLSTATE', 'name', 'meaning' ], sort { $a->[0] cmp $b->[0] } @others);
}

# support functions of types and operators, and what is no table, view, function or type
sub others
{
	my @objects = rows(qq{
		SELECT pg_describe_object(classid, objid, 0) AS object, obj_description(objid, classid::regclass::name) AS comment
		FROM $member WHERE classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass) ORDER BY classid, objid});
	my @support = map { { object => "function $_->{name}($_->{arguments})", comment => $_->{comment} } } grep { $_->{is_support} } @functions;
	$_->{comment} =~ s/\nSQLSTATE: (none.*)?/defined $1 ? '' : ' Errors: '/e for @support;
	return table([ 'object', 'description' ],
		map { [ code($_->{object} =~ s/\Q$schema\E\.//gr), ucfirst text($_->{comment}) ] } @support, @objects);
}

my @sections = (
	[ 'Functions for applications', 'app', \&function_entry ],
	[ 'Functions for administrators and monitoring', 'admin', \&function_entry ],
	[ 'Functions for the owner', 'owner', \&function_entry,
		'No access includes these functions. A superuser and the owner of the extension can call them, and can grant EXECUTE on them.' ],
	[ 'Tables', [ grep { $_->{relkind} eq 'r' } @relations ], \&relation_entry ],
	[ 'Views', [ grep { $_->{relkind} eq 'v' } @relations ], \&relation_entry ],
	[ 'Functions of the views', 'view', \&function_entry,
		'A role that reads a view needs EXECUTE on the functions that the view calls.' ],
	[ 'Types', \@types, \&type_entry ],
	[ 'Settings', \@settings, \&setting_entry ],
	[ 'SQLSTATEs', [], \&sqlstate_tables ],
	[ 'Trigger functions', 'trigger', \&trigger_entry ],
	[ 'Other objects', [], \&others ]);
my ($version) = map { $_->{extversion} } rows(q{SELECT extversion FROM pg_extension WHERE extname = 'egress'});
my $contents = '';
my $body = '';
for (@sections)
{
	my ($title, $entries, $entry, $about) = @$_;
	my @entries = @{ ref $entries ? $entries : $in_section{$entries} };
	$contents .= "- [$title](#" . lc($title =~ s/ /-/gr) . ')'
	  . (@entries ? ': ' . join(', ', map { link_to(ref $_ ? $_->{name} : $_) } @entries) : '') . "\n";
	$body .= "\n## $title\n" . (defined $about ? "\n$about\n" : '') . (@entries ? join '', map { $entry->($_) } @entries : $entry->());
}
$dbh->rollback;
$dbh->disconnect;

binmode STDOUT, ':encoding(UTF-8)';
print <<"PAGE", $contents, $body;
# Reference of egress $version

This page lists the objects, settings and SQLSTATEs of the extension. `make reference` makes it from the comments in the
catalog, which `\\d+`, `\\df+` and `\\dT+` of psql show, too. To change it, change a comment in the install script or in
`src/errors.h`, and run that command.

"Access" says which kinds of access of [`egress_grant_access`](#egress_grant_access) include an object. The owner of the
extension and superusers have access to all.

PAGE
