# EgressWorld.pm -- an installation in use, with something of everything, for tests that move it
#
#   statements($dbh, $text);        SQL, each statement ended by ;; at the end of a line
#   one($dbh, $sql);                the first column of the rows, as text
#   grant($dbh, $role);             lets a role do what an application does
#   fill($dbh, $role);              rows in every table; that role's tables public.session and public.membership, attached
#   contents($dbh);                 all rows of the extension's tables, and where its sequences are
#   at_work($dbh);                  tests that what fill() made goes on working; before: as the role
#
# Before: the extension is there, empty, in the connection's search_path, and so are its functions.
#
# Credential 1 (provider 1, gateways 1 to 3) is limited to 5 connections, of which the sessions 3 and 4 hold one each.
# Credential 2 (gateway 4) has one connection, for the group research, which ann is in; "with a ttl" holds it.
# Credential 3 has no limit, and "unlimited" holds a lease.
package EgressWorld;

use strict;
use warnings;
use EgressTest;
use Exporter 'import';
use Test::More;

our @EXPORT = qw(statements one grant fill contents at_work);

sub statements { my ($dbh, $text) = @_; $dbh->do($_) for grep { /\S/ } split /;;\n/, $text; return }

sub one { my ($dbh, $sql) = @_; return join ' ', map { $_ // 'NULL' } @{ $dbh->selectcol_arrayref($sql) } }

sub grant
{
	my ($dbh, $role) = @_;
	return statements($dbh, <<"SQL");
SELECT egress_grant_access('$role', 'app');;
SELECT egress_grant_access('$role', 'monitor');;
GRANT SELECT (name) ON egress_provider TO $role;;
SQL
}

sub fill
{
	my ($dbh, $role) = @_;
	grant($dbh, $role);
	return statements($dbh, <<"SQL");
INSERT INTO egress_provider (name, provider_type, managed) VALUES
    ('Acme', 'openvpn', false), ('Birch', 'wireguard', false), ('Cedar', 'custom', true);;
INSERT INTO egress_gateway (egress_provider_id, name, country, city, config) VALUES
    (1, 'ams-1', 'NL', 'Amsterdam', 'remote ams-1.example'), (1, 'par-1', 'FR', 'Paris', 'remote par-1.example'),
    (1, 'par-2', 'FR', NULL, 'remote par-2.example'),
    (2, 'osl-1', 'NO', 'Oslo', E'[Interface]\\n[Peer]\\nPublicKey = kz4N+i+CzCforkH92fMX6BaO9jOViIl3SfoyT4dMQTM=\\n');;
SELECT egress_sync_gateways(3, '[{"name": "c-1"}, {"name": "c-2", "config": "anything"}]');;
UPDATE egress_gateway SET enabled = true WHERE egress_provider_id = 3;;
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type, subject_id, allow_all_gateways) VALUES
    (1, 'everyone', NULL, true), (2, 'group', 'research', false), (3, 'workspace', 'kiosk', true);;
INSERT INTO egress_provider_mapping_gateway VALUES (2, 4);;
INSERT INTO egress_credential (egress_provider_id, name, subject_type, subject_id, username, password, private_key,
                               custom_credential, allow_all_gateways,
                               limit_active_connections, active_connection_limit) VALUES
    (1, 'pool', 'everyone', NULL, 'acme-7', 'swordfish', NULL, NULL, true, true, 5),
    (2, 'key', 'group', 'research', NULL, NULL, egress_generate_wireguard_key(), NULL, false, true, 1),
    (3, 'free', 'everyone', NULL, NULL, NULL, NULL, 'token', true, false, NULL);;
INSERT INTO egress_credential_gateway VALUES (2, 4);;
INSERT INTO egress_workspace VALUES ('kiosk', true);;
GRANT CREATE ON SCHEMA public TO $role;;
SET ROLE $role;;
CREATE TABLE public.session (id text PRIMARY KEY, status text);;
CREATE TABLE public.membership (member text, team text, PRIMARY KEY (member, team));;
INSERT INTO public.membership VALUES ('ann', 'research'), ('bob', 'sales');;
SELECT egress_attach_sessions('public.session', 'id', \$\$NEW.status = 'over'\$\$);;
SELECT egress_attach_group_members('public.membership', 'member', 'team');;
INSERT INTO public.session SELECT n::text, 'running' FROM generate_series(1, 4) n;;
SELECT count(egress_acquire_credential('ann', NULL, 1, id::text)) FROM public.session;;
SELECT egress_acquire_credential('bob', 'kiosk', 5, 'unlimited');;
SELECT egress_acquire_credential('ann', NULL, 4, 'with a ttl', ttl => '1 hour');;
DELETE FROM public.session WHERE id = '1';;
SELECT egress_release_credential('2');;
RESET ROLE;;
SQL
}

sub contents
{
	my ($dbh) = @_;
	my %contents;
	for my $table (@{ $dbh->selectcol_arrayref(<<'SQL') })
SELECT c.relname FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) WHERE e.extname = 'egress'
SQL
	{
		my $rows = $table =~ /_seq$/ ? 'last_value' : 't';
		$contents{$table} = one($dbh, "SELECT $rows\::text FROM $table t ORDER BY 1");
	}
	return \%contents;
}

sub at_work
{
	my ($dbh, $what) = @_;
	my $acquire = sub {
		my ($session, $gateway) = @_;
		my $sql = 'SELECT egress_acquire_credential(?, NULL, ?, ?)';
		return sqlstate { $dbh->do($sql, undef, 'ann', $gateway, $session) } || 'held';
	};
	is(join(' ', map { $acquire->("new $_", 1) } 1 .. 4), 'held held held NG004',
		"$what: the limit counts the leases from before");
	is($acquire->('another', 4), 'NG004', "$what: also one with a ttl");
	is(one($dbh, q{SELECT egress_renew_lease('with a ttl', '1 day') > now() + '23 hours'}), '1',
		"$what: which can be renewed");
	is(one($dbh, q{SELECT egress_release_credential('unlimited')}), '1', "$what: one without a limit is released");
	statements($dbh, <<'SQL');
UPDATE public.session SET status = 'over' WHERE id = '3';;
DELETE FROM public.session WHERE id = '4';;
INSERT INTO public.membership VALUES ('cyd', 'research');;
DELETE FROM public.membership WHERE member = 'ann';;
SQL
	is(one($dbh, 'SELECT active_connections FROM egress_credential_usage ORDER BY egress_credential_id'), '3 1 0',
		"$what: attached sessions end their leases");
	is(one($dbh, q{SELECT verdict FROM egress_explain_access('ann', NULL, 4) UNION ALL
		SELECT verdict FROM egress_explain_access('cyd', NULL, 4)}), 'not_mapped at_limit',
		"$what: members follow their table");
	$dbh->do('RESET ROLE');
	is(one($dbh, 'SELECT slot FROM egress_lease WHERE egress_credential_id = 1') =~ tr/ //, 2,
		"$what: slots for all of them");
	is(one($dbh, 'SELECT release_reason FROM egress_lease_history ORDER BY egress_lease_history_id'),
		'session_end released released session_end session_end', "$what: history has old and new");
	is(one($dbh, q{SELECT action FROM egress_sync_gateways(3, '[{"name": "c-1"}]')}), 'unchanged withdrawn',
		"$what: a sync knows its gateways");
	$dbh->do(q{INSERT INTO egress_gateway (egress_provider_id, name, config) VALUES (1, 'new', 'remote new.example')});
	is(one($dbh, 'SELECT max(egress_gateway_id) FROM egress_gateway'), 7, "$what: ids go on");
	return;
}

1;
