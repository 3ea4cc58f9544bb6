# standby.pl -- a hot standby answers what only reads, refuses what writes, and goes on as a primary when it is promoted
#
# The key file is not replicated: here the standby has none until it is needed.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use MIME::Base64 qw(encode_base64);
use lib dirname(__FILE__);
use EgressCluster;

my $primary = cluster('primary', "egress.secret_key_file = 'primary.key'");
write_key($primary);
$primary->start;
is(ask($primary, <<'SQL'), "credential\ncredential", 'a primary with two leases, one of which has expired');
CREATE EXTENSION egress;
CREATE TABLE session (id text PRIMARY KEY);
CREATE TABLE membership (member text, team text);
INSERT INTO membership VALUES ('ann', 'staff');
SELECT FROM egress_attach_group_members('membership', 'member', 'team') \g /dev/null
INSERT INTO egress_provider (name, provider_type, managed) VALUES ('provider', 'custom', true);
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, 'gateway');
INSERT INTO egress_workspace VALUES ('desktop', true);
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id)
VALUES (1, 'group', 'staff'), (1, 'workspace', 'desktop');
INSERT INTO egress_credential
	(egress_provider_id, name, subject_type, custom_credential, limit_active_connections, active_connection_limit)
VALUES (1, 'credential', 'everyone', 'a secret', true, 2);
SELECT credential_name FROM egress_acquire_credential('ann', NULL, 1, 'lasting');
SELECT credential_name FROM egress_acquire_credential('ann', 'desktop', 1, 'short', '1 millisecond');
SELECT FROM pg_sleep(0.01) \g /dev/null
SQL

my $standby = standby('standby', $primary, "egress.secret_key_file = 'standby.key'");
$standby->start;
is(ask($standby, 'SELECT pg_is_in_recovery()'), 't', 'the other its standby');

# what only reads: the same there and here
my %reads = (
	'the menu' => [ q{SELECT gateway_name, available_connections FROM egress_available_gateways('ann')}, 'gateway|1' ],
	'whether a gateway is required' => [ q{SELECT egress_gateway_required('desktop'), egress_gateway_required('other')}, 't|f' ],
	'egress_credential_usage' => [ q{SELECT active_connections, available_connections FROM egress_credential_usage}, '1|1' ],
	'egress_gateway_usage' => [ q{SELECT active_connections FROM egress_gateway_usage}, '1' ],
	'egress_connection' => [ q{SELECT session_id, expires_at FROM egress_connection}, 'lasting|' ],
	'egress_pool_usage' => [ q{SELECT active_connections, gateways FROM egress_pool_usage}, '1|1' ],
	'egress_upkeep' => [ q{SELECT expired_leases, expired_since IS NOT NULL, history_since IS NOT NULL FROM egress_upkeep}, '1|t|f' ],
	'egress_secret_usage' => [ q{SELECT sum(not_sealed) FROM egress_secret_usage}, '0' ],
	'who was connected' => [ q{SELECT session_id FROM egress_connections_at(now(), 1)}, 'lasting' ],
);
for my $name (sort keys %reads)
{
	my ($sql, $expected) = @{ $reads{$name} };
	is(ask($_, $sql), $expected, "$name, on the " . $_->name) for $primary, $standby;
}

is(ask($_->[0], 'SELECT sum(missing_key) FROM egress_secret_usage'), $_->[1], "secrets without a key, on the " . $_->[0]->name)
  for [ $primary, 0 ], [ $standby, 1 ];
# what an acquire would take, where the key is and where it is not
like(ask($_->[0], q{SELECT verdict, egress_credential_id, detail FROM egress_explain_access('ann', 'desktop')}), $_->[1],
	'an explanation, on the ' . $_->[0]->name)
  for [ $primary, qr/^available\|1\|credential 1 'credential' has 1 of 2 connections free$/ ],
  [ $standby, qr/^at_limit\|\|credential 1 'credential' cannot be opened, as key [0-9a-f]{16} of its custom_credential is missing/ ];

# A big pool, all of it full: a menu on the primary notes that for the next one, one on the standby cannot. Each of them
# sees the one that comes free then, the standby although the primary had noted that it was full.
ask($primary, <<'SQL');
INSERT INTO egress_provider (egress_provider_id, name, provider_type) VALUES (2, 'pool', 'custom');
INSERT INTO egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (2, 2, 'pool');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id) VALUES (2, 'user', 'pia');
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, limit_active_connections, active_connection_limit)
SELECT 2, 'pool', 'user', 'pia', true, 1 FROM generate_series(1, 80);
SELECT count(egress_acquire_credential('pia', NULL, 2, 'pool ' || i)) FROM generate_series(1, 80) i;
SQL
my $pool = q{SELECT available_connections FROM egress_available_gateways('pia')};
$primary->wait_for_catchup($standby);
is(ask($_, $pool), '0', 'the menu of a big pool that is full, on the ' . $_->name) for $standby, $primary, $primary, $standby;
$primary->wait_for_catchup($standby);
is(ask($standby, $pool), '0', 'and there again, when the primary has noted it');
ask($primary, q{DELETE FROM egress_lease WHERE session_id = 'pool 7'});
$primary->wait_for_catchup($standby);
is(ask($_, $pool), '1', 'one comes free, on the ' . $_->name) for $standby, $primary;

# what somebody has whom access does not give it any more
ask($primary, 'UPDATE egress_gateway SET enabled = false WHERE egress_gateway_id = 2');
$primary->wait_for_catchup($standby);
is(ask($_, 'SELECT count(*), min(user_id) FROM egress_unentitled_connection'), '79|pia', 'unentitled connections, on the ' . $_->name)
  for $primary, $standby;
ask($primary, 'UPDATE egress_gateway SET enabled = true');
$primary->wait_for_catchup($standby);

# what writes, or tries to
for my $sql (q{egress_end_leases(session_id => 'lasting')}, q{egress_end_leases(user_id => 7)}, q{egress_end_leases(workspace_id => 7)},
	q{egress_end_leases(unentitled => true)}, q{egress_acquire_credential('ann', NULL, 1, 'new')}, q{egress_acquire_credential('ann', NULL, 1, 'lasting')},
	q{egress_renew_lease('lasting', '1 hour')}, q{egress_release_credential('lasting')}, q{egress_release_credential('none')},
	q{egress_expire_leases()}, q{egress_expire_leases(10)}, q{egress_sync_gateways(1, '[]')}, q{egress_prune_history('1 day')},
	q{egress_prune_history('1 day', 10)}, q{egress_rotate_secrets()}, q{egress_attach_sessions('session', 'id')},
	q{egress_detach_sessions('session')}, q{egress_attach_group_members('membership', 'member', 'team')},
	q{egress_detach_group_members('membership')}, q{egress_grant_access('pg_monitor', 'monitor')})
{
	is(ask($standby, "SELECT $sql"), '25006', "$sql, on the standby");
}
is(ask($standby, 'CALL egress_sweep_leases()'), '25006', 'egress_sweep_leases(), on the standby');

$primary->stop;
$standby->promote;
is(ask($standby, q{SELECT count(*) FROM egress_acquire_credential('ann', NULL, 1, 'keyless')}), 'NG006',
	'promoted, it cannot open a secret without the key');
write_key($standby);
is(ask($standby, q{SELECT credential_name FROM egress_acquire_credential('ann', NULL, 1, 'new')}), 'credential',
	'with the key it leases the connection that has expired');
is(ask($standby, q{SELECT count(*) FROM egress_acquire_credential('ann', NULL, 1, 'newer')}), 'NG004', 'and no more');
is(ask($standby, q{SELECT count(*) FROM egress_acquire_credential('pia', NULL, 2, 'pool')}), '1', 'leases what is free of the pool');
is(ask($standby, q{SELECT count(*) FROM egress_acquire_credential('pia', NULL, 2, 'more')}), 'NG004', 'and no more of that');
is(ask($standby, q{SELECT egress_release_credential('lasting')}), 't', 'gives back the one that it knows from before');
is(ask($standby, q{SELECT session_id, release_reason FROM egress_lease_history ORDER BY session_id}), "lasting|released\nshort|expired",
	'and goes on with the history');
done_testing();

sub write_key
{
	my ($node) = @_;
	my $name = sprintf '%s/%s.key', $node->data_dir, $node->name;
	open my $file, '>', $name or die "$name: $!";
	chmod 0600, $file;
	print $file encode_base64('k' x 32);
	close $file or die "$name: $!";
}
