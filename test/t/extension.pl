# extension.pl -- DROP EXTENSION and CREATE EXTENSION under sessions that live on, in other schemas, in two databases
#
# sql/00_install.sql does it within one session; here two sessions have the library's caches, prepared statements and
# PL/pgSQL plans of an extension that a third one drops, creates elsewhere, or undoes. Each of them must work with the
# tables that are there then. A row's name says where it was written, so an answer from other tables is seen.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use EgressTest;
use EgressWorld;
use Test::More;

my @sessions;

sub session { push @sessions, $_[0]->connect; return $sessions[-1] }

# the extension in a schema, as good as new: one gateway with the name of that, one connection
sub create
{
	my ($dbh, $schema, $name) = @_;
	return statements($dbh, <<"SQL");
CREATE SCHEMA IF NOT EXISTS $schema;;
CREATE EXTENSION egress SCHEMA $schema;;
INSERT INTO $schema.egress_provider (egress_provider_id, name, provider_type) VALUES (1, '$name', 'custom');;
INSERT INTO $schema.egress_gateway (egress_gateway_id, egress_provider_id, name) VALUES (1, 1, '$name');;
INSERT INTO $schema.egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');;
INSERT INTO $schema.egress_credential
    (egress_provider_id, name, subject_type, limit_active_connections, active_connection_limit)
    VALUES (1, '$name', 'everyone', true, 1);;
SQL
}

# what a session has prepared, on the server, and what PL/pgSQL has planned
my %prepared;

sub prepare_all
{
	my ($dbh, $schema) = @_;
	$dbh->do("SET search_path = $schema, public");
	for my $sql (q{SELECT gateway_name || ' ' || available_connections FROM egress_available_gateways('ann')},
		q{SELECT credential_name FROM egress_acquire_credential('ann', NULL, 1, 's')},
		q{SELECT egress_release_credential('s')})
	{
		push @{ $prepared{$dbh} }, $dbh->prepare($sql, { pg_server_prepare => 1, pg_prepare_now => 1 });
	}
	return;
}

# works DBH, NAME: whether all that a session has prepared uses the tables that were filled with NAME
sub works
{
	my ($dbh, $name, $what) = @_;
	my @answers;
	for my $statement (@{ $prepared{$dbh} }[0, 1, 0, 2])
	{
		push @answers, sqlstate { $statement->execute; push @answers, $statement->fetchrow_array; $statement->finish };
	}
	push @answers, one($dbh, 'SELECT in_plpgsql()');
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(join(',', grep { $_ ne '' } @answers), "$name 1,$name,$name 0,1,$name $name released", $what);
}

our $test = EgressTest->new('extension');
our $other_test = EgressTest->new('extension_other');

my $ddl = session($test);
my @live = map { session($test) } 1, 2;
statements($ddl, <<'SQL');
DROP EXTENSION egress;;
CREATE FUNCTION in_plpgsql() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    menu text := (SELECT string_agg(gateway_name, ' ') FROM egress_available_gateways('ann'));
    lease text := (SELECT credential_name FROM egress_acquire_credential('ann', NULL, 1, 'in PL/pgSQL'));
BEGIN
    RETURN concat_ws(' ', menu, lease, CASE WHEN egress_release_credential('in PL/pgSQL') THEN 'released' END);
END$$;;
CREATE TABLE session (id text PRIMARY KEY);;
CREATE TABLE member (who text, grp text, PRIMARY KEY (who, grp));;
SQL
create($ddl, 'vpn', 'first');
prepare_all($_, q{"Odd ""schema""", vpn}) for @live;
works($_, 'first', 'the first') for @live;

# ------------------------------------------------------------- dropped and created

$ddl->do('DROP EXTENSION egress');
is(sqlstate { $_->do(q{SELECT vpn.egress_available_gateways('ann')}) }, '42883', 'dropped: there is no such function')
  for @live;
is(sqlstate { $prepared{$_}[0]->execute }, '42883', 'nor for what was prepared') for @live;
create($ddl, 'vpn', 'second');
works($_, 'second', 'created again in the same schema') for @live;

$ddl->do('DROP EXTENSION egress');
create($ddl, q{"Odd ""schema"""}, 'third');
works($_, 'third', 'created in a schema whose name needs quotes') for @live;

$ddl->do(q{ALTER SCHEMA "Odd ""schema""" RENAME TO "An; other"});
$_->do(q{SET search_path = "An; other", vpn, public}) for @live;
works($_, 'third', 'its schema renamed') for @live;
is(sqlstate { $ddl->do('ALTER EXTENSION egress SET SCHEMA vpn') }, '0A000', 'it stays in its schema');
works($_, 'third', 'and works') for @live;

# ------------------------------------------------------------- attached tables

my $attach = <<'SQL';
SELECT egress_attach_sessions('public.session', 'id');;
SELECT egress_attach_group_members('public.member', 'who', 'grp');;
INSERT INTO public.session VALUES ('a'), ('b');;
INSERT INTO public.member VALUES ('ann', 'x') ON CONFLICT DO NOTHING;;
SQL
my ($one, $two) = @live;
my $end = $two->prepare('DELETE FROM public.session WHERE id = $1', { pg_server_prepare => 1 });
my $join = $two->prepare('INSERT INTO public.member VALUES ($1, $2)', { pg_server_prepare => 1 });

# session two ends a session, and someone joins a group: the triggers write into the tables that are there
sub follows
{
	my ($what) = @_;
	$one->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'a')});
	$end->execute('a');
	is(one($one, q{SELECT session_id FROM egress_lease_history WHERE release_reason = 'session_end'}), 'a',
		 "$what: the end of a session ends its lease");
	$join->execute('bob', $what);
	is(one($one, q{SELECT user_id || ' ' || group_id FROM egress_group_member ORDER BY user_id DESC LIMIT 1}), "bob $what",
		"$what: members follow");
	return;
}
statements($one, $attach);
follows('attached');
is(sqlstate { $ddl->do('DROP EXTENSION egress') }, '2BP01', 'attached tables keep it from being dropped');
$ddl->do('DROP EXTENSION egress CASCADE');
is(one($ddl, q{SELECT tgname FROM pg_trigger WHERE tgrelid IN ('session'::regclass, 'member'::regclass)}), '',
	'CASCADE takes their triggers');
is(one($ddl, 'SELECT id FROM session') . one($ddl, 'SELECT count(*) FROM member'), 'b2', 'and leaves their rows');
$end->execute('b');
create($ddl, 'vpn', 'fourth');
$ddl->do('TRUNCATE member');
statements($one, $attach);
follows('attached again');
works($_, 'fourth', 'and all else works') for @live;

# ------------------------------------------------------------- in transactions that do not commit

sub undone
{
	my ($session, $begin, $end, $what) = @_;
	$session->do('SET client_min_messages = warning');
	$session->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'stays')});
	statements($session, $begin);
	$session->do('DROP EXTENSION egress CASCADE');
	create($session, q{"An; other"}, 'undone');
	works($session, 'undone', "$what: the session itself works with the new one");
	$session->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'goes')});
	statements($session, $end);
	is(one($_, 'SELECT session_id FROM egress_lease'), 'stays', "$what: undone, the lease from before is there") for @live;
	is(sqlstate { $_->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 's')}) }, 'NG004', "$what: and counts")
	  for @live;
	$session->do(q{SELECT egress_release_credential('stays')});
	works($_, 'fourth', "$what: all works") for @live;
	$ddl->do(q{INSERT INTO session VALUES ('a')});
	$ddl->do('DELETE FROM vpn.egress_lease_history');
	follows($what);
	return;
}
undone($one, "BEGIN;;\n", "ROLLBACK;;\n", 'rolled back');
undone($two, "BEGIN;;\nSAVEPOINT before;;\n", "ROLLBACK TO SAVEPOINT before;;\nCOMMIT;;\n",
	'rolled back to a savepoint');
undone($one, "BEGIN ISOLATION LEVEL SERIALIZABLE;;\n", "ROLLBACK;;\n", 'rolled back when serializable');

# a session's own cursor over the menu, whose rows were read when it was opened
statements($one, <<'SQL');
BEGIN;;
DECLARE menu CURSOR WITH HOLD FOR SELECT gateway_name FROM egress_available_gateways('ann');;
COMMIT;;
SQL

# ------------------------------------------------------------- dropped and created in one transaction

$ddl->do('BEGIN');
$ddl->do('DROP EXTENSION egress CASCADE');
create($ddl, 'vpn', 'fifth');
$ddl->do('COMMIT');
works($_, 'fifth', 'replaced in one transaction') for @live;
is(one($one, 'FETCH ALL FROM menu'), 'fourth', 'a cursor that was held has its rows');

# ------------------------------------------------------------- two databases, with the same ids

my $there = session($other_test);
$there->do('DROP EXTENSION egress');
create($there, 'elsewhere', 'other');
$there->do('SET search_path = elsewhere, public');
statements($_, "BEGIN;;\nSELECT egress_acquire_credential('ann', NULL, 1, 'same');;\n") for $one, $there;
is(sqlstate { $two->do(q{SELECT egress_acquire_credential('ann', NULL, 1, 'one more')}) }, 'NG004',
	'an open acquire is seen in its database');
$one->do('COMMIT');
$there->do('ROLLBACK');
is(join('/', map { one($_, 'SELECT session_id FROM egress_lease') } $two, $there), 'same/',
	'databases have leases of their own');
$ddl->do('BEGIN');
$ddl->do('DROP EXTENSION egress CASCADE');
$there->do(q{SET lock_timeout = '20s'});
is(one($there, q{SELECT credential_name FROM egress_acquire_credential('ann', NULL, 1, 'same')}), 'other',
	'a DROP EXTENSION in one database is nothing to another');
$ddl->do('COMMIT');
is(one($there, q{SELECT gateway_name || available_connections FROM egress_available_gateways('ann')}), 'other0',
	'when it has committed, too');

$_->disconnect for @sessions;
undef %prepared;
done_testing();
