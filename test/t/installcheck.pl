# installcheck.pl -- make installcheck on a server as a user has it: with a key file, other settings, another superuser
#
# Starts a cluster of its own, with the settings below and egress in template1. The tests of sql/ have to pass there as
# they do in test/run's; of those of test/isolation it is only looked which would run.
use strict;
use warnings;
use File::Basename qw(dirname);
use Test::More;

# what make gets as arguments comes as this script's
my $script = <<'SH';
set -euo pipefail
exec 2>&1
source scripts/cluster
at_end cluster_remove
cluster_create
(umask 077 && head -c 32 /dev/urandom | base64 >"$cluster_folder/key")
[[ $(id -u) != 0 ]] || chown postgres "$cluster_folder/key"
cat >>"$cluster_folder/data/postgresql.conf" <<CONF
egress.secret_key_file = '$cluster_folder/key'
max_prepared_transactions = 0
default_transaction_isolation = 'serializable'
client_min_messages = warning
search_path = 'public, pg_temp'
timezone = 'Asia/Kolkata'
datestyle = 'german, dmy'
intervalstyle = sql_standard
bytea_output = escape
extra_float_digits = 0
row_security = off
log_statement = all
CONF
cluster_start
psql -qX -c 'CREATE ROLE "the boss" SUPERUSER LOGIN'
export PGUSER='the boss'
psql -qX -c 'ALTER ROLE postgres RENAME TO somebody'
psql -qX -d template1 -c 'CREATE EXTENSION egress'

out=$cluster_folder/out
mkdir "$out"
status=0
make -s installcheck PG_CONFIG="$PG_CONFIG" EXTRA_REGRESS_OPTS="--outputdir=$out" "$@" || status=$?
[[ ! -s $out/regression.diffs ]] || cat "$out/regression.diffs"
exit "$status"
SH

# make installcheck, with these arguments: what it said, and whether it succeeded
sub installcheck
{
	open my $make, '-|', 'bash', '-c', $script, 'installcheck', @_ or die "bash: $!";
	my $said = do { local $/; <$make> };
	return ($said, close $make);
}

chdir dirname(__FILE__) . '/../..' or die "chdir: $!";
delete @ENV{qw(MAKEFLAGS MAKELEVEL)};

my ($said, $passed) = installcheck('ISOLATION=');
ok($passed, 'the tests of sql pass') or diag($said);

($said, $passed) = installcheck('--dry-run', 'REGRESS=');
my ($left_out) = $said =~ /^egress: .*max_prepared_transactions = 0.*:(.*)$/m;
my ($run) = $said =~ /^.*pg_isolation_regress (.*)$/m;
like($left_out // q(), qr/ prepared_transaction\b/, 'without prepared transactions, the specs that need them are named');
unlike($run // 'prepared_transaction', qr/\bprepared_transaction\b/, '... and left out');
like($run // '', qr/ same_session\b/, '... and others are not');

done_testing();
