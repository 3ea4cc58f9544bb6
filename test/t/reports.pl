# reports.pl -- sessions report a gateway and a credential in many open transactions at once; what was committed survives a
# crash and is seen on a standby (dump.pl has what a dump brings back)
#
# Environment: EGRESS_REPORTERS, how many sessions report at once (100; 500 with EGRESS_TEST_ALL=1).
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use Time::HiRes qw(time);
use lib dirname(__FILE__);
use EgressCluster;

my $reporters = $ENV{EGRESS_REPORTERS} // ($ENV{EGRESS_TEST_ALL} ? 500 : 100);
my $primary = cluster('primary', 'max_connections = ' . ($reporters + 20), 'max_prepared_transactions = 5');
$primary->start;
ask($primary, <<"SQL");
CREATE EXTENSION egress;
INSERT INTO egress_provider (name, provider_type, bench_for) VALUES ('provider', 'custom', '1 hour');
INSERT INTO egress_gateway (egress_provider_id, name) SELECT 1, 'gateway ' || i FROM generate_series(1, 3) i;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) SELECT 1, 'credential ' || i, 'everyone' FROM generate_series(1, 2) i;
SELECT count(egress_acquire_credential('ann', NULL, 1, i::text)) FROM generate_series(1, $reporters) i;
SELECT egress_acquire_credential('ann', NULL, 2, 'elsewhere');
SQL
my $benched = 'SELECT egress_gateway_id, egress_credential_id, failures FROM egress_benched ORDER BY 1, 2';
my $menu = q{SELECT string_agg(egress_gateway_id || ' ' || coalesce(available_connections::text, 'unlimited'), ', ' ORDER BY 1)
	FROM egress_available_gateways('ann')};
my $take = q{SELECT egress_credential_id FROM egress_acquire_credential('ben', NULL, 1, 'ben')};

# many at once, of which none ends its transaction
my @clients = map { client($primary) } 1 .. $reporters;
$_->do(q{SET lock_timeout = '20s'}) for @clients;
# a session's first call reads the catalogs
$_->do(q{SELECT egress_report_success('1')}) for @clients;
$_->begin_work for @clients;
my $begin = time;
for my $i (0 .. $#clients)
{
	$clients[$i]->do(q{SELECT egress_report_failure(?, 'gateway'), egress_report_failure(?, 'credential')}, undef, $i + 1, $i + 1);
}
my $seconds = time - $begin;
note sprintf '%d sessions have reported in %.3f s', $reporters, $seconds;
cmp_ok($seconds, '<', 1 + $reporters / 50, "$reporters sessions report in open transactions, and none waits for another");
is(ask($primary, $benched), '', 'what is open does not count');
is(ask($primary, "BEGIN; $take; ROLLBACK"), '1', 'nor does an acquire wait for it');
$_->commit for @clients[ 0 .. 1 ];
is(ask($primary, $benched), '', 'two are committed');
$_->rollback for @clients[ 2 .. 9 ];
$_->commit for @clients[ 10 .. $#clients ];
is(ask($primary, $benched), "1||3\n|1|3", 'all are: three count of the gateway, and three of the credential');
is(ask($primary, $take), 'NG002', 'an acquire is refused');
is(ask($primary, $menu), '2 unlimited, 3 unlimited', 'and the menu is without it');
is(ask($primary, q{SELECT count(*) FROM egress_failure}), 2 * ($reporters - 8), 'the history has them all');
is(ask($primary, q{SELECT count(*) FROM egress_report}), 2 * ($reporters - 8), 'and they were all written, as none knew of another');
$_->disconnect for @clients;

# a crash
ask($primary, q{BEGIN; SELECT egress_report_failure('1', 'gateway'); SELECT egress_report_success('2'); PREPARE TRANSACTION 'well'});
$primary->stop('immediate');
$primary->start;
is(ask($primary, $benched), "1||3\n|1|3", 'they survive a crash');

# a standby
my $standby = standby('standby', $primary);
$standby->start;
is(ask($standby, $benched), "1||3\n|1|3", 'on a standby: egress_benched');
is(ask($standby, $menu), '2 unlimited, 3 unlimited', 'the menu');
is(ask($standby, q{SELECT verdict FROM egress_explain_access('ann', NULL, 1)}), 'benched', 'the explanation');
is(ask($standby, $_), '25006', $_)
	for q{SELECT egress_report_failure('1', 'gateway')}, q{SELECT egress_report_success('1')}, q{SELECT egress_unbench(1)};
is(ask($primary, "SET default_transaction_read_only = on; $_"), '25006', "read-only: $_")
	for q{SELECT egress_report_failure('1', 'gateway')}, q{SELECT egress_report_success('1')}, q{SELECT egress_unbench(1)};
$standby->stop;

# what is prepared was about to say that all is well
is(ask($primary, q{COMMIT PREPARED 'well'}), '', 'a prepared success');
is(ask($primary, $benched), '', 'takes both off');
is(ask($primary, $take), '1', 'and the gateway is to be had');
is(ask($primary, q{SELECT count(*) FROM egress_report}), '0', 'nothing is left');
$primary->stop;
done_testing();
