# EgressCatalog.pm -- all that the system catalogs say of an extension, to compare two installs of it
#
#   my @lines = extension_catalog($dbh, 'egress');             a line a row of a catalog, sorted
#   my @differences = catalog_differences(\@one, \@other);     the lines that only one of them has
#
# Nothing of egress is listed here, so that what is added to it is compared by itself. The objects are the extension's
# members and what belongs to one of these (pg_depend), such as indexes, triggers and row types. The rows are those of these
# objects: an object's own row, a row of which the object is the first column of a unique key (a column of a table, a
# label of an enum), or that names the object by its address (comments, privileges, dependencies). Of each row all
# columns are compared, and where PostgreSQL says that one holds an OID (pg_get_catalog_foreign_keys), the name of that.
package EgressCatalog;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(extension_catalog catalog_differences);

# what depends on when and how the objects were made and on the rows of the tables, not on what the objects are
my %volatile = map { $_ => 1 } (
	# where the data is, and what VACUUM and ANALYZE know of it
	(map { "pg_class.$_" } qw(relfilenode relpages reltuples relallvisible relallfrozen relfrozenxid relminmxid)),
	# an added column's value in the rows that were there before
	'pg_attribute.atthasmissing', 'pg_attribute.attmissingval',
	# rows were updated before the index was made
	'pg_index.indcheckxmin',
	'pg_shdepend.dbid');
my %data = map { $_ => 1 } qw(pg_statistic pg_statistic_ext_data);

# expressions are compared as SQL: as they are stored, they hold OIDs, and places in the script that they come from
my %definition = (
	pg_attrdef => 'pg_get_expr(adbin, adrelid)',
	pg_constraint => 'pg_get_constraintdef(oid)',
	pg_index => 'pg_get_indexdef(indexrelid)',
	pg_proc => 'pg_get_function_arguments(oid)',
	pg_rewrite => 'pg_get_ruledef(oid)',
	pg_trigger => 'pg_get_triggerdef(oid)');

# labels that were added between others have other numbers
my %instead = ('pg_enum.enumsortorder' => '(rank() OVER (PARTITION BY enumtypid ORDER BY enumsortorder))');

# the columns that are an address, and those with the catalogs that they are in
my %catalog_of = (objid => 'classid', objoid => 'classoid', refobjid => 'refclassid');

my $objects = <<'SQL';
WITH RECURSIVE object (classid, objid) AS (
    SELECT 'pg_extension'::regclass::oid, oid FROM pg_extension WHERE extname = ?
    UNION
    SELECT d.classid, d.objid
    FROM object o JOIN pg_depend d ON d.refclassid = o.classid AND d.refobjid = o.objid
    WHERE d.deptype IN ('e', 'i', 'a', 'P', 'S'))
SQL

# name CATALOG, OID: SQL for the name of what an OID of a catalog means
sub name
{
	my ($catalog, $oid) = @_;
	return "(SELECT identity FROM pg_identify_object($catalog, ($oid)::oid, 0))";
}

# query DBH: the SQL for the rows, as catalog and text
sub query
{
	my ($dbh) = @_;
	my $columns = $dbh->selectall_arrayref(<<'SQL', { Slice => {} });
SELECT c.relname AS catalog, a.attname AS column, format_type(a.atttypid, NULL) AS type, f.pktable, f.is_array,
       EXISTS (SELECT 1 FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indisunique AND i.indkey[0] = a.attnum) AS leads
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
LEFT JOIN pg_get_catalog_foreign_keys() f
       ON f.fktable = c.oid AND f.fkcols = ARRAY[a.attname::text] AND f.pkcols = '{oid}'
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
  AND (NOT c.relisshared OR c.relname = 'pg_shdepend')
ORDER BY c.relname, a.attnum
SQL

	my (%values, %conditions);
	for my $column (@$columns)
	{
		my ($catalog, $name, $type, $of) = @$column{qw(catalog column type pktable)};
		my $value = qq("$name");
		next if $data{$catalog} || $volatile{"$catalog.$name"};

		push @{ $conditions{$catalog} }, "('$catalog'::regclass, oid) IN (SELECT * FROM object)" if $name eq 'oid';
		push @{ $conditions{$catalog} }, "($catalog_of{$name}, $name) IN (SELECT * FROM object)"
		  if $catalog_of{$name} && $name !~ /^ref/;
		push @{ $conditions{$catalog} }, "('$of'::regclass, ${name}::oid) IN (SELECT * FROM object)"
		  if defined $of && $column->{leads} && !$column->{is_array};
		next if $name eq 'oid' || ($type eq 'pg_node_tree' && $definition{$catalog});

		if ($catalog_of{$name})
		{
			$value = name($catalog_of{$name}, $value);
		}
		elsif (defined $of)
		{
			$value = $column->{is_array}
			  ? "ARRAY(SELECT ${\name(qq('$of'::regclass), 'o')} FROM unnest($value) WITH ORDINALITY u(o, n) ORDER BY n)"
			  : name("'$of'::regclass", $value);
		}
		elsif ($type eq 'aclitem[]')
		{
			$value = "(SELECT array_agg(a::text ORDER BY a::text) FROM unnest($value) a)";
		}
		push @{ $values{$catalog} }, "'$name=' || " . ($instead{"$catalog.$name"} // "($value)::text");
	}
	push @{ $conditions{pg_shdepend} }, 'dbid = (SELECT oid FROM pg_database WHERE datname = current_database())';

	my @selects;
	for my $catalog (sort keys %conditions)
	{
		my $condition = join $catalog eq 'pg_shdepend' ? ' AND ' : ' OR ', @{ $conditions{$catalog} };
		push @{ $values{$catalog} }, "'definition=' || $definition{$catalog}" if $definition{$catalog};
		push @selects, "SELECT concat_ws(' ', '$catalog', " . join(', ', @{ $values{$catalog} })
		  . ") FROM pg_catalog.$catalog WHERE $condition";
	}
	return $objects . join("\nUNION ALL\n", @selects);
}

sub extension_catalog
{
	my ($dbh, $extension) = @_;
	my ($path) = $dbh->selectrow_array('SHOW search_path');
	$dbh->do('SET search_path = pg_catalog');
	my $lines = $dbh->selectcol_arrayref(query($dbh), undef, $extension);

	# names that PostgreSQL makes from OIDs, and the stamp that newer minor releases put on a column when it is made
	my %name = map { $_->[0] => $_->[1] } @{ $dbh->selectall_arrayref("$objects SELECT objid, "
		  . name('classid', 'objid') . " FROM object WHERE classid = 'pg_class'::regclass", undef, $extension) };
	for (@$lines)
	{
		s/\b(pg_toast)_(\d+)/$1_$name{$2}/g;
		s/\b(RI_ConstraintTrigger_[ac])_\d+/$1/g;
		s/ attoptions=\{pg_attver=\d+\}//;
		s/( attoptions=\{.*?)\bpg_attver=\d+,?/$1/;
	}
	$dbh->do("SET search_path = $path");
	return sort @$lines;
}

sub catalog_differences
{
	my ($one, $other) = @_;
	my %count;
	$count{$_}++ for @$one;
	$count{$_}-- for @$other;
	return map { ($count{$_} > 0 ? 'only the first: ' : 'only the second: ') . $_ } grep { $count{$_} } sort keys %count;
}

1;
