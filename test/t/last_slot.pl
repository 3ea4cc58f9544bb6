# last_slot.pl -- the largest limit there is, and the slot with the largest number
#
# A slot is sought from a random one upwards. So that it begins at the last one, a function that is compiled here sets the
# state of PostgreSQL's random numbers to one that gives it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use File::Temp qw(tempdir);
use Test::More;

my $largest = 2147483647;
my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my $folder = tempdir('egress-slot-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $folder;    # the server's user loads what root has made

open my $source, '>', "$folder/dice.c" or die $!;
print $source <<'C';
#include "postgres.h"
#include "common/pg_prng.h"
#include "fmgr.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(load_dice);
PGDLLEXPORT Datum load_dice(PG_FUNCTION_ARGS);

#define ROTATE_RIGHT(x, bits) (((x) >> (bits)) | ((x) << (64 - (bits))))

/* the inverse of an odd number modulo 2^64 */
static uint64
inverse(uint64 odd)
{
	uint64		x = odd;

	for (int i = 0; i < 6; i++)
		x *= 2 - odd * x;
	return x;
}

/* let the next number of pg_prng_uint64(), which is rotate_left(s0 * 5, 7) * 9, be the argument */
Datum
load_dice(PG_FUNCTION_ARGS)
{
	uint64		wanted = (uint64) PG_GETARG_INT64(0);

	pg_global_prng_state.s0 = ROTATE_RIGHT(wanted * inverse(9), 7) * inverse(5);
	pg_global_prng_state.s1 = 1;
	PG_RETURN_BOOL(true);
}
C
close $source or die $!;
chomp(my $cc = `$pg_config --cc`);
chomp(my $include = `$pg_config --includedir-server`);
system("$cc -O1 -fPIC -shared -I'$include' -o '$folder/dice.so' '$folder/dice.c'") == 0 or die 'cannot compile';
chmod 0755, "$folder/dice.so";

my $test = EgressTest->new('last_slot');
my $dbh = $test->connect;
$dbh->do($_) for (
	"CREATE FUNCTION load_dice(bigint) RETURNS boolean LANGUAGE C AS '$folder/dice.so'",
	q{INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (1, 'Lanternway', 'custom')},
	q{INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, 'nl-ams-01')},
	q{INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone')},
	qq{INSERT INTO egress_credential (egress_provider_id, name, subject_type, limit_active_connections,
			active_connection_limit) VALUES (1, 'a', 'everyone', true, $largest), (1, 'b', 'everyone', true, $largest)});

# acquire for a session, with the last slot as the random one; returns which it has got
sub slot
{
	my ($session) = @_;
	# of 1 + (0 .. 2^31 - 2), for which the upper 31 bits are taken
	$dbh->do(q{SELECT load_dice((2147483646::bit(64) << 33)::bigint), egress_acquire_credential('ana', NULL, 1, ?)},
		undef, $session);
	return value($dbh, 'SELECT slot FROM egress_lease WHERE session_id = ?', $session);
}

is(slot('first'), $largest, 'the dice are loaded: the first gets the last slot');
my @others = map { slot("other $_") } 1 .. 5;
is(scalar(grep { $_ >= 1 && $_ < $largest } @others), 5, "the others get slots in 1..limit (@others)");
is(value($dbh, 'SELECT count(DISTINCT slot) FROM egress_lease WHERE egress_credential_id = 1'), 6, 'each its own');
is(value($dbh, q{SELECT available_connections FROM egress_available_gateways('ana')}), 2 * $largest - 6,
	'the menu adds up what two credentials have free');
is(rows($dbh, 'SELECT active_connections, available_connections FROM egress_credential_usage ORDER BY 1'),
	"0|$largest\n6|" . ($largest - 6), 'as the view says of each');

# nobody counts with a limit that was lowered below them
$dbh->do('UPDATE egress_credential SET active_connection_limit = 6');
$dbh->do('DELETE FROM egress_credential WHERE name = ?', undef, 'b');
is(sqlstate { slot('seventh') }, 'NG004', 'a lowered limit counts those above it');
$dbh->do("UPDATE egress_credential SET active_connection_limit = $largest");
cmp_ok(slot('seventh'), '>', 0, 'and a raised one lets in');
done_testing();
