# cron.pl -- do the jobs for pg_cron of doc/administration.md do their work: do expired leases end, and does old history go?
#
# pg_cron has to be preloaded, so this starts a cluster of its own. The jobs are those of the page, scheduled
# by a role that has no more than egress_grant_access() gives an administrator. pg_cron works by the minute: this takes
# one or two.
use strict;
use warnings;
use Test::More;
use File::Basename qw(dirname);
use Time::HiRes qw(sleep);
use lib dirname(__FILE__);

# read before the user postgres, who may not enter this folder, takes over
use EgressPages;
my $jobs;
BEGIN { ($jobs) = sql('doc/administration.md', 'pg_cron') }
use EgressCluster;

chomp(my $sharedir = `pg_config --sharedir`);
plan skip_all => 'pg_cron is not there, and no package of this server has it'
	if !-e "$sharedir/extension/pg_cron.control";

ok($jobs, 'the page says what to schedule');

my $server = cluster('server', 'max_worker_processes = 20', "shared_preload_libraries = 'pg_cron'",
	'cron.use_background_workers = on');
$server->start;

ask($server, <<'SQL');
CREATE EXTENSION pg_cron;
CREATE EXTENSION egress;
CREATE ROLE keeper LOGIN;
SELECT egress_grant_access('keeper', 'admin');
GRANT USAGE ON SCHEMA cron TO keeper;
INSERT INTO egress_provider (name, provider_type) VALUES ('provider', 'custom');
INSERT INTO egress_gateway (egress_provider_id, name) VALUES (1, 'gateway');
INSERT INTO egress_provider_mapping (egress_provider_id, subject_type) VALUES (1, 'everyone');
INSERT INTO egress_credential (egress_provider_id, name, subject_type) VALUES (1, 'credential', 'everyone');
SELECT FROM unnest(ARRAY['expired', 'live', 'lasting']) session, egress_acquire_credential('ann', NULL, 1, session);
INSERT INTO egress_lease_expiry
VALUES ('expired', 1, clock_timestamp()), ('live', 1, clock_timestamp() + interval '1 day');
INSERT INTO egress_lease_history (session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
                                  provider_name, user_id, acquired_at, released_at, release_reason)
SELECT age || ' days', 1, 'credential', 1, 'gateway', 'provider', 'ann', now() - interval '1 year', now() - age * interval '1 day', 'released'
FROM unnest(ARRAY[89, 91, 200]) age;
SQL

like(ask($server, $jobs, 'keeper'), qr/^\d+\n\d+$/, 'they are scheduled by a role with the access admin');
is(ask($server, 'SELECT string_agg(jobname, \' \' ORDER BY jobid) FROM cron.job'), 'egress-expire egress-prune', 'both');
# the command as it is; not only from 3:00 to 3:59
ask($server, q{UPDATE cron.job SET schedule = '* * * * *'});

my $runs = q{SELECT string_agg(DISTINCT jobname || ': ' || status || ' ' || coalesce(return_message, ''), ', ')
	FROM cron.job_run_details JOIN cron.job USING (jobid) WHERE end_time IS NOT NULL};
my $deadline = time + 130;
my $ended = '';
while (time < $deadline && !($ended =~ /egress-expire/ && $ended =~ /egress-prune/))
{
	sleep 0.5;
	$ended = ask($server, $runs);
}
is(ask($server, q{SELECT string_agg(DISTINCT jobname || ': ' || status, ', ' ORDER BY jobname || ': ' || status)
	FROM cron.job_run_details JOIN cron.job USING (jobid) WHERE end_time IS NOT NULL}),
	'egress-expire: succeeded, egress-prune: succeeded', 'both have run') or diag $ended;

is(ask($server, q{SELECT string_agg(session_id, ', ' ORDER BY session_id) FROM egress_lease}), 'lasting, live',
	'the lease whose time is over has ended, the others have not');
is(ask($server, q{SELECT string_agg(session_id || ': ' || release_reason, ', ' ORDER BY session_id) FROM egress_lease_history}),
	'89 days: released, expired: expired', 'its history is there, and what is older than 90 days is not');

$server->stop;
done_testing();
