# launcher.pl -- examples/launcher in a browser: does it show what egress says, and do what its buttons say?
#
# A cluster, the launcher's server and Debian's chromium, all as an unprivileged user. What the pages show is compared with
# what the database answers; what is clicked, with what is in the tables afterwards.
#
# EGRESS_LAUNCHER is a folder that has examples/launcher with what it requires: test/launcher/run makes it.
# EGRESS_SCREENSHOT=doc/launcher.png makes the README's picture anew; without it nothing is written. EGRESS_PICTURES=FOLDER
# keeps pictures of both views, light and dark, wide and narrow, for a person to look at.
use strict;
use warnings;
use utf8;
use Test::More;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP;
use List::Util qw(sum);
use Time::HiRes qw(sleep);

use lib dirname(__FILE__), dirname(__FILE__) . '/../t';
use EgressBrowser;
use EgressTest;

# where the caller may write, who is root until the next line
my $screenshot;
BEGIN { !$ENV{EGRESS_SCREENSHOT} or open $screenshot, '>:raw', $ENV{EGRESS_SCREENSHOT} or die "$ENV{EGRESS_SCREENSHOT}: $!" }
use EgressCluster;

my $folder = tempdir('egress-launcher-XXXXXX', TMPDIR => 1, CLEANUP => 1);

my $db_node = cluster('launcher', 'max_connections = 40');
$db_node->start;
ok($db_node->safe_psql('postgres', 'CREATE DATABASE launcher') eq ''
	  && system('psql', '-XqAt', '-o', "$folder/said", '-v', 'ON_ERROR_STOP=1', '--single-transaction', '-d', $db_node->connstr('launcher'),
		'-f', "$ENV{EGRESS_LAUNCHER}/setup.sql") == 0, 'setup.sql runs');
my $dbh = client($db_node, undef, 'launcher');
$dbh->{pg_enable_utf8} = 1;

# ------------------------------------------------------------- the programs

# not lexical: of these nothing is left at the end when the test dies, and perl would wait for the launcher before
our ($server, $output, $server_log);

sub environment
{
	my ($port) = @_;
	return (%ENV, PGHOST => $db_node->host, PGPORT => $db_node->port, PGDATABASE => 'launcher', PORT => $port, TMPDIR => $folder);
}

# starts the launcher, whose leases last so many seconds; returns its address
sub serve
{
	my ($ttl) = @_;
	$server_log = "$folder/server.log";
	local %ENV = (environment(0), LAUNCHER_TTL => $ttl);
	$server = open $output, '-|', "exec node $ENV{EGRESS_LAUNCHER}/server.js 2>>$server_log" or die "node: $!";
	my $url = <$output> // die "node says nothing: " . `cat $server_log`;
	chomp $url;
	return $url;
}

sub stop_server
{
	kill TERM => $server if $server;
	waitpid $server, 0 if $server;
	undef $server;
	return;
}
END
{
	local $?;
	stop_server();
	diag("the launcher's log:\n" . `cat $server_log`) if $server_log && !Test::More->builder->is_passing;
}

my $url = serve(90);
my $browser = EgressBrowser->new($folder);
my $http = HTTP::Tiny->new;

# the state that a page is sent first
sub first_event
{
	my ($path) = @_;
	my ($address) = $url =~ m{//(.*)};
	my $socket = IO::Socket::INET->new($address) or die "$address: $@";
	print $socket "GET $path HTTP/1.1\r\nHost: $address\r\n\r\n";
	local $/ = "\n\n";
	while (my $event = <$socket>)
	{
		return $1 if $event =~ /^data: (.*)$/m;
	}
	return '';
}

# ---------------------------------------------------------------- the pages

# what the menu of a page shows, as rows of the query
my $shown_menu = q{[...document.querySelectorAll('.gateway')].map(button => [button.id.replace('gateway-', ''),
	button.querySelector('.free').textContent, button.ariaDisabled].join(' ')).sort().join('\n')};

sub menu
{
	my ($user, $workspace) = @_;
	return join "\n", sort split /\n/, rows($dbh, q{SELECT concat_ws(' ', egress_gateway_id,
		CASE available_connections WHEN 0 THEN 'Full' ELSE available_connections || ' free' END, available_connections = 0)
		FROM egress_available_gateways(?, ?)}, $user, $workspace) =~ s/\bt$/true/gmr =~ s/\bf$/false/gmr;
}

sub gateway { return value($dbh, 'SELECT egress_gateway_id FROM egress_gateway WHERE name = ?', $_[0]) }
sub button  { return '#gateway-' . gateway($_[0]) }
sub free    { my ($name) = @_; return "document.querySelector('" . button($name) . " .free').textContent" }
sub running
{
	return rows($dbh, q{SELECT gateway, s.workspace_id, l.session_id IS NOT NULL FROM launcher.session s
		LEFT JOIN egress_live_lease l ON l.session_id = s.id::text WHERE account_id = ? AND ended_at IS NULL ORDER BY started_at}, $_[0]);
}
sub leases { return value($dbh, 'SELECT count(*) FROM egress_live_lease WHERE user_id = ?', $_[0]) }
sub message { my ($page, $pattern) = @_; return $page->wait_for("/$pattern/.test(document.getElementById('message').textContent)") }
sub is_shown
{
	my ($page, $expression, $expected, $what) = @_;
	$page->wait_for("($expression) === " . JSON::PP->new->allow_nonref->encode($expected));
	return is($page->js($expression), $expected, $what);
}
my $shown_sessions = q{[...document.querySelectorAll('#sessions li:not(.ended) b')].map(b => b.firstChild.data).join()};

# -------------------------------------------------------------- what is seen

# texts with too little contrast to what is behind them: WCAG wants 4.5
my $faint = q{
	const channels = color => color.match(/[\d.]+/g).map(Number);
	const luminance = color => channels(color).slice(0, 3).map(c => c / 255)
		.map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = element => { const color = getComputedStyle(element).backgroundColor;
		return channels(color)[3] === 0 ? behind(element.parentElement) : color; };
	[...document.querySelectorAll('body *')]
		.filter(element => element.checkVisibility() && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
		.map(element => { const [low, high] = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => a - b);
			return [(high + 0.05) / (low + 0.05), element.textContent.trim()]; })
		.filter(([contrast]) => contrast < 4.5).map(([contrast, text]) => `${contrast.toFixed(2)} ${text}`).join()};

my $ana = $browser->page("$url/?user=ana&workspace=browser", 1280, 810);
$http->post("$url/sessions", { content => encode_json({ user => 'ana', workspace => $_->[0], gateway => gateway($_->[1]) }) })
  for [ 'desktop', 'oslo' ], [ 'browser', 'fra-1' ];
$dbh->do(q{UPDATE launcher.session SET started_at = now() - CASE gateway WHEN 'oslo' THEN interval '96 min' ELSE '12 min' END
	WHERE account_id = 'ana' AND ended_at IS NULL});
for my $view ('launch', 'operations')
{
	for my $width (1280, 400)
	{
		for my $dark (0, 1)
		{
			my $what = join ' ', $view, $dark ? 'dark' : 'light', $width;
			$ana->size($width, 810, $width == 1280 ? 1.5 : 2);
			$ana->dark($dark);
			$ana->go("$url/?user=ana&workspace=browser#$view");
			ok($ana->wait_for("document.querySelectorAll('#$view li:not(.none)').length > 1"), "$what: is there");
			cmp_ok($ana->js('document.documentElement.scrollWidth'), '<=', $width, '... and not wider than the screen');
			is($ana->js($faint), '', '... and no text is faint');
			my $png = $ana->picture;
			print $screenshot $png if $screenshot && $what eq 'launch light 1280';
			next if !$ENV{EGRESS_PICTURES};
			open my $file, '>:raw', "$ENV{EGRESS_PICTURES}/$what.png" =~ tr/ /_/r or die "$ENV{EGRESS_PICTURES}: $!";
			print $file $png;
			close $file;
		}
	}
}
$ana->dark(0);
$ana->size(1280, 900);
$dbh->do(q{UPDATE launcher.session SET ended_at = now(), ended_by = 'user' WHERE account_id = 'ana'});
stop_server();
my $ttl = 3;
$url = serve($ttl);

# ------------------------------------------------------------ what is done

$ana->go("$url/?user=ana&workspace=browser");
is_shown($ana, $shown_menu, menu('ana', 'browser'), 'the menu of ana is what egress says');
is($ana->js(q{document.querySelectorAll('.gateway').length}), 15, '... all gateways');
is($ana->js(q{[...document.querySelectorAll('.gateway[aria-disabled=true]')].map(button => button.querySelector('small').textContent).sort().join()}),
	'Lanternway · gva-1,Lanternway · zrh-1,Quillport · tokyo', '... with the full ones greyed out');
is($ana->js(q{[...document.querySelectorAll('#countries h2')].map(h2 => h2.lastChild.textContent).join()}),
	'France,Germany,Japan,Netherlands,Norway,Switzerland,United States', '... by country');
my $bruno = $browser->page("$url/", 1280, 900);
is_shown($bruno, q{document.getElementById('user').value}, 'ana', 'the page chooses a user');
$bruno->js(q{document.getElementById('user').value = 'bruno'; document.getElementById('user').dispatchEvent(new Event('change'))});
is_shown($bruno, $shown_menu, menu('bruno', 'browser'), 'bruno sees his own menu');
unlike($bruno->js('document.body.innerText'), qr/Quillport/, '... without the provider of the research team');

# a session, from the first key to the end
$ana->press(button('oslo'), 'Enter');
ok(message($ana, 'Oslo Your session leaves through oslo in Oslo'), 'a session starts by keyboard');
is(running('ana'), 'oslo|browser|1', '... and has its lease');
is_shown($ana, $shown_sessions, 'Oslo', '... and is shown');
is_shown($ana, free('oslo'), '2 free', '... and what is left');
is($ana->js('document.activeElement.id'), 'gateway-' . gateway('oslo'), '... while the focus stays');
my ($config) = glob "$folder/egress-launcher-*/*.conf";
like(do { local (@ARGV, $/) = $config; <> }, qr/^PrivateKey = \S{44}$/m, "the workspace's host gets the config with its key");
is((stat $config)[2] & 0777, 0600, '... and nobody else');

# what is done twice by accident
for ([ 'a double click', sub { $ana->double_click(button('ams-1')) } ], [ 'a key that is held', sub { $ana->hold(button('ams-1'), 'Enter', 4) } ])
{
	my ($what, $do) = @$_;
	$do->();
	ok(message($ana, 'Amsterdam Your session leaves through ams-1'), "$what starts a session");
	sleep 1;
	is(running('ana'), "oslo|browser|1\nams-1|browser|1", '... and no other');
	$ana->double_click('#sessions button');
	ok(message($ana, 'Amsterdam Your session has ended'), 'a double click ends a session');
	sleep 1;
	is(running('ana'), 'oslo|browser|1', '... and no other');
}
my $slow = client($db_node, undef, 'launcher');
$slow->begin_work;
$slow->do('LOCK TABLE launcher.session IN SHARE ROW EXCLUSIVE MODE');
my %twice = (headers => { 'Content-Type' => 'application/json' },
	content => encode_json({ user => 'ana', workspace => 'browser', gateway => gateway('ams-1') }));
$ana->click(button('ams-1'));
ok(wait_until { value($dbh, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'launcher_app' AND wait_event_type = 'Lock'}) },
	'a session is being started, slowly');
is($ana->js("document.querySelector('" . button('ams-1') . "').ariaBusy"), 'true', '... which its button shows');
$dbh->do(q{UPDATE egress_gateway SET city = 'Paris (new)' WHERE name = 'par-1'});
is_shown($ana, "document.querySelector('" . button('par-1') . " b').textContent", 'Paris (new)', '... while the page is built anew');
is($ana->js("document.querySelector('" . button('ams-1') . "').ariaBusy"), 'true', '... with the button as it was');
$dbh->do(q{UPDATE egress_gateway SET city = 'Paris' WHERE name = 'par-1'});
$ana->click($_) for button('ams-1'), button('par-1');
my $second = $http->post("$url/sessions", \%twice);
is("$second->{status} " . decode_json($second->{content})->{sentence}, '409 A session of yours is being started. Wait until it is there.',
	'... and the server does not start a second one');
$slow->rollback;
$slow->disconnect;
ok(message($ana, 'Amsterdam Your session leaves through ams-1'), 'it is started');
sleep 1;
is(running('ana'), "oslo|browser|1\nams-1|browser|1", '... and no other');
ok($ana->wait_for("document.querySelector('" . button('ams-1') . "').ariaBusy === 'false'"), '... and its button is not busy any more');
$ana->click('#sessions button');
is_shown($ana, $shown_sessions, 'Oslo', '... and ends');

# the pool fills up
is($bruno->js(free('nyc-1')), '1 free', 'one connection is left overseas');
$ana->click(button('nyc-1'));
is_shown($ana, $shown_sessions, 'New York,Oslo', 'ana takes it');
is_shown($bruno, free('sea-1'), 'Full', "... and bruno's page shows it without being asked");
$bruno->click(button('sea-1'));
ok(message($bruno, 'Seattle All connections are taken. Pick another gateway'), 'NG004 is a sentence');
is(running('bruno'), "zrh-1|browser|1\nams-1|terminal|1", '... and no session is left of it');

my $operations = $browser->page("$url/#operations", 1280, 900);
my $shown_pools = q{[...document.querySelectorAll('#pools li')].map(pool => [pool.querySelector('b').textContent,
	pool.querySelector('small:last-child').textContent].join(': ')).join('\n')};
sub pools
{
	return rows($dbh, q{SELECT credential_name || ': ' || active_connections || COALESCE(' of ' || active_connection_limit, '') || ' held'
		FROM egress_credential_usage ORDER BY provider_name, credential_name});
}
is_shown($operations, $shown_pools, pools(), "the administrator's pools are what egress says");
like(pools(), qr/^overseas: 3 of 3 held$/m, '... with the one that is full');
is($operations->js(q{document.querySelectorAll('#pools .full').length}), 2, '... in its colour, with another');

# what an open transaction has taken is in no menu, and nobody gets it
$ana->click('#sessions button');
is_shown($ana, $shown_sessions, 'Oslo', 'ana ends her session');
is(rows($dbh, q{SELECT gateway_name, release_reason FROM egress_lease_history WHERE user_id = 'ana' ORDER BY released_at DESC LIMIT 1}), 'nyc-1|session_end',
	'... and with it its lease');
is(scalar(() = glob "$folder/egress-launcher-*/*.conf"), 1, '... and its config is gone from the host');
is_shown($bruno, free('sea-1'), '1 free', "... which bruno's page shows");
my $other = client($db_node, undef, 'launcher');
$other->begin_work;
$other->do(q{WITH s AS (INSERT INTO launcher.session (account_id, workspace_id) VALUES ('dan', 'desktop') RETURNING id) TABLE s});
$other->do(q{SELECT egress_acquire_credential(account_id, workspace_id, ?, id) FROM launcher.session WHERE workspace_id = 'desktop' AND account_id = 'dan'},
	undef, gateway('nyc-1'));
$bruno->click(button('sea-1'));
ok(message($bruno, 'Seattle All connections are taken'), 'NG004 is a sentence where the menu shows a connection that somebody is taking');
$other->rollback;
$bruno->click(button('sea-1'));
ok(message($bruno, 'Your session leaves through sea-1 in Seattle'), '... and the next try gets it');

# any gateway of a country
$ana->click('#any-DE');
ok(message($ana, 'Germany Your session leaves through (fra-1|ber-1|frankfurt) in'), 'a wish for a country finds a gateway');
is(leases('ana'), 2, '... and gets its lease');

# a user's own limit
$dbh->do(q{INSERT INTO egress_user_limit VALUES ('user', 'ana', 2)});
ok($ana->wait_for(q{!document.getElementById('nothing').hidden && document.querySelectorAll('.gateway[aria-disabled=false]').length === 0}),
	'a user who has all that is allowed sees that nothing is free');
$ana->click(button('par-1'));
ok(message($ana, 'You have as many connections as you may have at once'), '... and NG008 is a sentence');
$dbh->do('DELETE FROM egress_user_limit');

# the administrator
my $carla = value($dbh, q{SELECT id FROM launcher.session WHERE account_id = 'carla' AND workspace_id = 'desktop'});
$operations->click("#end-$carla");
ok($operations->wait_for("!document.getElementById('end-$carla')"), 'the administrator ends a session');
is(value($dbh, 'SELECT ended_by FROM launcher.session WHERE id = ?', $carla), 'admin', '... in the table of the application');
is_shown($ana, free('tokyo'), '1 free', '... which gives back its connection');
my $oslo = value($dbh, q{SELECT id FROM launcher.session WHERE account_id = 'ana' AND gateway = 'oslo' AND ended_at IS NULL});
$dbh->do('SELECT egress_end_leases(session_id => ?)', undef, $oslo);
ok($ana->wait_for(q{/An administrator has ended this session/.test(document.getElementById('sessions').textContent)}),
	'who ends a lease in psql ends its session, and the user reads it');
ok(!-e $config, '... and its config is gone from the host');
is_shown($operations, $shown_pools, pools(), "the administrator's pools are still what egress says");
is($operations->js(q{document.querySelectorAll('#connections tr').length}), value($dbh, 'SELECT count(*) FROM egress_connection'),
	'... and so are the connections');

# renewals
sleep 2 * $ttl;
is(leases('ana'), 1, 'a lease is renewed while the page is open');
$ana->go('about:blank');
ok(wait_until { !leases('ana') }, '... and ends when it is closed');
ok(wait_until { running('ana') eq '' }, '... as its session does');
$ana->go("$url/?user=ana&workspace=browser");
ok($ana->wait_for(q{/its lease was not renewed/.test(document.getElementById('sessions').textContent)}), '... which the user reads');

# what is in the way
$dbh->do(q{UPDATE egress_gateway SET city = '<img src=x onerror="window.broken = true">' WHERE name = 'par-1'});
is_shown($ana, "document.querySelector('" . button('par-1') . " b').textContent", '<img src=x onerror="window.broken = true">',
	'what is in the database is text for the page');
ok(!$ana->js(q{window.broken || document.querySelector('main img')}), '... and nothing else');
$dbh->do(q{UPDATE egress_gateway SET city = 'Paris' WHERE name = 'par-1'});
$dbh->do(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'launcher%'});
$ana->click(button('par-1'));
ok(message($ana, 'Your session leaves through par-1'), 'a session starts after the connections to the database were lost');
is(running('ana'), 'par-1|browser|1', '... once');
$dbh->do(q{
	CREATE SEQUENCE launcher.attempt;
	CREATE FUNCTION launcher.fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		CASE nextval('launcher.attempt') WHEN 1 THEN RAISE SQLSTATE '40001'; WHEN 2 THEN PERFORM pg_terminate_backend(pg_backend_pid());
			ELSE NULL; END CASE;
		RETURN NULL;
	END $$;
	CREATE TRIGGER fail AFTER INSERT ON launcher.session EXECUTE FUNCTION launcher.fail()});
$ana->click(button('mrs-1'));
ok(message($ana, 'Your session leaves through mrs-1'), '... and after it was told to try again, and lost another one on the way');
is(running('ana'), "par-1|browser|1\nmrs-1|browser|1", '... once, too');
$dbh->do('DROP TRIGGER fail ON launcher.session');

# and when it was committed, but the answer was lost: a commit that waits for a standby is one
sub standby_is { $dbh->do($_) for @_, 'SELECT pg_reload_conf()'; return }
standby_is(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$ana->click(button('ams-1'));
ok(wait_until { value($dbh, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'SyncRep'}) },
	'a session has been committed, but the answer is lost');
standby_is('ALTER SYSTEM RESET synchronous_standby_names');
ok(message($ana, 'Your session leaves through ams-1'), '... and comes when it is asked for again');
is(running('ana'), "par-1|browser|1\nmrs-1|browser|1\nams-1|browser|1", '... once, too');
$dbh->disconnect;
$other->disconnect;
$db_node->stop('fast');
ok(message($ana, 'This does not work now'), 'without a database the page says so');
$db_node->start;
$dbh = client($db_node, undef, 'launcher');
ok($ana->wait_for(q{document.getElementById('message').textContent === ''}), '... until it is back');
$ana->click('#sessions button');
is_shown($ana, $shown_sessions, 'Marseille,Paris', 'a session is ended then');
$dbh->do(q{UPDATE launcher.session SET ended_at = now(), ended_by = 'user' WHERE account_id = 'ana' AND ended_at IS NULL});
is_shown($ana, $shown_sessions, '', 'one that is ended in the table is gone');

# what is stopped answers nobody, as a machine that is gone
my $postmaster = postmaster($db_node);
kill STOP => $postmaster;
$dbh->do(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'launcher%'});
ok(message($ana, 'This does not work now'), 'the page does not wait for a database that takes connections and does not answer');
kill CONT => $postmaster;
ok($ana->wait_for(q{document.getElementById('message').textContent === ''}), '... until it does');
my @backends = split /\n/, rows($dbh, q{SELECT pid FROM pg_stat_activity WHERE usename LIKE 'launcher%'});
kill STOP => $postmaster, @backends;
ok(message($ana, 'This does not work now'), '... nor for one whose connections are dead');
kill CONT => $postmaster, @backends;
ok($ana->wait_for(q{document.getElementById('message').textContent === ''}), '... until they are not');

# ----------------------------------------------------------------- security

my $secrets = rows($dbh, q{SELECT password::text FROM egress_credential WHERE password IS NOT NULL
	UNION ALL SELECT private_key::text FROM egress_credential WHERE private_key IS NOT NULL}) =~ s/\n/|/gr =~ s/([+\/])/\\$1/gr;
my %session = (user => 'ana', workspace => 'terminal', gateway => gateway('ams-1'));
my %post = (headers => { 'Content-Type' => 'application/json' }, content => encode_json(\%session));
my $started = $http->post("$url/sessions", \%post);
is($started->{status}, 201, 'a session can be asked for without the page');
my $sent = $started->{content} . first_event('/menu?user=ana&workspace=browser') . first_event('/operations');
like($sent, qr/overseas/, 'what is sent to pages has the pools');
unlike($sent, qr/$secrets|remote|PrivateKey/, '... and no secret, and no config');
is($http->post("$url/sessions", { %post, content => $_ })->{status}, 400, "what makes no sense is refused: $_")
  for '', '[]', '{"user": "ana"}', '{"user": "nobody", "workspace": "browser", "gateway": 1}',
	'{"user": "ana", "workspace": "browser", "gateway": "x"}', '{"user": "ana", "workspace": "browser", "country": "\u0000"}';
like($http->post("$url/sessions", { %post, content => encode_json({ %session, gateway => 99 }) })->{content}, qr/NG001.*not there any more/,
	'NG001 is a sentence');
my $session = "$url/sessions/" . decode_json($started->{content})->{id};
is($http->request(DELETE => "$session?user=bruno")->{status} . ' ' . leases('ana'), '404 1', 'nobody ends the session of another user');
is(join(' ', map { $http->request(DELETE => "$session?user=ana")->{status} } 1, 2), '200 404', 'who has it ends it, once');
is($http->request(DELETE => $session =~ s{/sessions/}{/operations/sessions/}r)->{status}, 404, '... nor does the administrator end it again');
$started = $http->post("$url/sessions", \%post);
is($http->request(POST => "$url/sessions", { %post, headers => { Origin => 'http://elsewhere.example' } })->{status}, 403,
	'another site cannot write here');
my ($port) = $url =~ /(\d+)$/;
like(`printf 'GET /menu?user=ana HTTP/1.1\\r\\nHost: elsewhere.example\\r\\nConnection: close\\r\\n\\r\\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/$port; cat >&3; cat <&3'`,
	qr{^HTTP/1.1 403}, '... nor read, by a name of its own');
is($http->get("$url/../server.js")->{status} . $http->get("$url/server.js")->{status}, '404404', 'no other file is served');
is(ask($db_node, '\c launcher launcher_app' . "\nSELECT password FROM egress_credential"), '42501', "the users' role reads no credential");
is(ask($db_node, '\c launcher launcher_monitor' . "\nSELECT password FROM egress_credential"), '42501', "... nor does the administrator's");

is(join("\n", $browser->complaints), '', 'the browser has nothing to complain of');

# at the port that browsers leave out
SKIP:
{
	my $said = `unshare --user --map-root-user --net true 2>&1`;
	skip "there is no network for port 80: $said", 1 if $? != 0;
	local %ENV = (environment(80), SERVER => "$ENV{EGRESS_LAUNCHER}/server.js");
	is(`unshare --user --map-root-user --net bash -euc '
			ip link set lo up
			coproc node "\$SERVER" 2>&1
			read -ru "\${COPROC[0]}" url
			curl -s -o /dev/null -w "\$url %{http_code} " "\$url/"
			curl -s -o /dev/null -w "%{http_code} " -H "Origin: \$url" "http://localhost/app.js"
			curl -s -o /dev/null -w "%{http_code}" -H "Origin: http://localhost" "http://localhost/app.js"
			kill "\$COPROC_PID"; wait' 2>>$server_log`, 'http://127.0.0.1:80 200 403 200', 'port 80 is served');
}

kill KILL => $server;
stop_server();
($config) = glob "$folder/egress-launcher-configs-*/*.conf";
ok(defined $config, 'a launcher that is killed leaves its configs');
my $others = "$folder/egress-launcher-configs-$$-others";
mkdir $others or die "$others: $!";
$url = serve($ttl);
is(join(' ', map { -e $_ ? 1 : 0 } dirname($config), $others), '0 1', '... which the next one removes, and not those of one that runs');
rmdir $others;
stop_server();
is(scalar(() = glob "$folder/egress-launcher-*"), 0, 'a launcher that is stopped leaves no config');

done_testing();
