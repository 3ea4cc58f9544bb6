# letters.pl -- a wish compares names as lower() does in the database's collation, whoever provides that
#
# With the C library's collation: test/pgtap/wish.sql. Here the database is Turkish, by ICU: I is ı in lower case, and İ is i.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::Bin;
use EgressTest;
use Test::More;

my $test = EgressTest->new('letters');
my $admin = $test->connect('postgres');
# 15 and later can have it as a database's
my $collates = $admin->{pg_server_version} >= 150000 && eval {
	$admin->do("DROP DATABASE IF EXISTS egress_turkish WITH (FORCE)");
	$admin->do("CREATE DATABASE egress_turkish TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'");
	1;
};
plan skip_all => 'this server has no collations of ICU' if !$collates;

my $dbh = $test->connect('egress_turkish');
is(value($dbh, q{SELECT lower('Iİ')}), 'ıi', 'a Turkish database');
$dbh->do($_) for ('CREATE EXTENSION egress', <<'SQL', <<'SQL', <<'SQL', <<'SQL');
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'IŞIK', 'custom')
SQL
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name, country, city)
VALUES (11, 1, 'a', 'IRAK', 'İzmir'), (12, 1, 'b', 'Straße', 'ΣΑΣ')
SQL
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')
SQL
INSERT INTO egress_credential (egress_credential_id, egress_provider_id, name, subject_type) VALUES (1, 1, 'c', 'everyone')
SQL

my $sessions = 0;

# the gateway that a wish comes to, or how it is refused; lists as PostgreSQL writes them
sub wish
{
	my (@lists) = @_;
	my $gateway;
	my $error = sqlstate {
		$gateway = value($dbh, 'SELECT egress_gateway_id FROM egress_acquire_gateway(?::text, NULL::text, ?::text, ?::text[], ?::text[], ?::text[])',
			'ana', 's' . ++$sessions, @lists[0 .. 2]);
	};
	return $error || $gateway;
}

# with so many names beside, it is looked first which places there are
my $many = join ',', map { "Land $_" } 1 .. 100;
for my $beside ('', ",$many")
{
	my $name = $beside ? 'in a long list' : 'in a short list';
	is(wish("{ırak$beside}", '{izmir}', '{ışık}'), 11, "in lower case, $name");
	is(wish("{IRAK$beside}", '{İZMİR}', '{ışIK}'), 11, "in capitals, $name");
	is(wish("{irak$beside}"), 'NG002', "another letter, $name");
	is(wish("{İrak$beside}"), 'NG002', "... as a capital, $name");
	is(wish("{STRASSE$beside}"), 'NG002', "two letters for one, $name");
	is(wish("{sTRAßE$beside}", '{σας}'), 12, "a letter that depends on its place, $name");
}

$dbh->disconnect;
$admin->do('DROP DATABASE egress_turkish WITH (FORCE)');
done_testing;
