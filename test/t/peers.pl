# peers.pl -- what `make bench` runs beside egress answers as egress does
#
# The peers are test/bench/peers.sql and the for_update_*.sql beside it. In a random world, sessions come one after
# another: they acquire, ask again, ask for something else and give back, while an administrator switches things off and
# on. The same steps are taken with egress and with each peer, from the same beginning. Every answer is the same, or its
# SQLSTATE is; so are the menus, and the history apart from its ids and times.
#
# The worlds are small, and users, groups and workspaces share their few ids, so that everything collides with
# everything. Limits stay as they are: the slots of a peer do not follow them.
#
# Environment: EGRESS_PEERS_WORLDS, how many worlds there are at least (40). EGRESS_PEERS_SEED, the seed of their dice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use EgressTest;
use File::Temp qw(tempdir);
use List::Util qw(shuffle);
use Test::More;

my $worlds = $ENV{EGRESS_PEERS_WORLDS} // 40;
my $seed   = $ENV{EGRESS_PEERS_SEED} // int(rand(2**31));
my $bench  = "$FindBin::Bin/../bench";
my $folder = tempdir(CLEANUP => 1);
chomp(my $bindir = `@{[$ENV{PG_CONFIG} || 'pg_config']} --bindir`);

srand($seed);
note "$worlds worlds, EGRESS_PEERS_SEED=$seed";
$ENV{PGOPTIONS} = '-c synchronous_commit=off';

my $test = EgressTest->new('peers');
psql("$bench/peers.sql");
my $dbh = $test->connect;

# who acquires, who releases, and, one for each table of leases, whose menu it is
my @sides = (
	[ 'egress', 'egress_acquire_credential', 'egress_release_credential', 'egress_available_gateways' ],
	[ 'FOR UPDATE from the application' ],
	[ 'FOR UPDATE in a function', 'for_update_acquire', 'for_update_release', 'menu' ],
	[ 'FOR UPDATE of what does not look full', 'look_first_acquire', 'for_update_release' ],
	[ 'SKIP LOCKED slots', 'slots_acquire', 'slots_release' ]);

# what of each kind of answer and menu has to come, or nothing of this would mean much
my %enough = (
	(map { $_ => 20 } 'NG001', 'NG002', 'NG004', 'NG005', 'a lease', 'the lease again', 'released', 'nothing to release'),
	(map { $_ => 4 } 'NG003', 'a lease after a full credential', 'the lease again, without access'),
	(map { ("a menu $_" => 20) } 'of several rows', 'of several providers', 'without a row'),
	(map { ("$_ connections" => 20) } 'unlimited', 0, 1, 2));
my %seen = map { $_ => 0 } keys %enough;
my %differences;

for my $world (1 .. 5 * $worlds)
{
	last if $world > $worlds && !scarce();
	new_world();
	my @steps = (steps(), ['history']);
	my $expected;
	for my $side (@sides)
	{
		my ($name, @functions) = @$side;
		my $result = @functions ? play(\@steps, @functions) : play_in_psql(\@steps);
		push @{ $result->{answers} }, history($name eq 'egress' ? 'egress_lease_history' : 'history');
		$expected //= $result;
		compare("world $world", $name, \@steps, $expected, $result);
	}
	count(\@steps, $expected);
}
for my $side (@sides[ 1 .. $#sides ])
{
	my ($name, undef, undef, $has_menu) = @$side;
	for my $what ('answers', $has_menu ? 'menus' : ())
	{
		my @found = @{ $differences{"$name: $what"} };
		is(scalar @found, 0, "$name: the same $what") or diag map { "$_\n" } grep { defined } @found[ 0 .. 4 ];
	}
}
note "$_: $seen{$_}" for sort keys %seen;
is(join(', ', scarce()), '', 'there was enough of each kind of answer and menu');

done_testing();

# the kinds of which more have to come
sub scarce { return grep { $seen{$_} < $enough{$_} } sort keys %enough }

sub chance { return rand() < $_[0] ? 1 : 0 }
sub pick { return $_[ rand @_ ] }

# a type and an id
sub subject
{
	my $type = pick('user', 'group', 'workspace', 'everyone');
	return ($type, $type eq 'everyone' ? undef : pick('a' .. 'c'));
}

# a user, a workspace and a gateway
sub call { return [ pick('a' .. 'c', 'nobody'), pick('a' .. 'c', undef), pick(1 .. 11) ] }

sub insert
{
	my ($table, $columns, @rows) = @_;
	my $values = join ', ', map { '?' } split /,/, $columns;
	my $insert = $dbh->prepare("INSERT INTO $table ($columns) VALUES ($values) ON CONFLICT DO NOTHING");
	$insert->execute(@$_) for @rows;
}

sub new_world
{
	$dbh->begin_work;
	$dbh->do("DELETE FROM $_") for qw(egress_provider egress_group_member egress_workspace);
	insert('egress_workspace', 'workspace_id, override_egress_gateways',
		map { [ $_, chance(0.6) ] } grep { chance(0.6) } 'a' .. 'c');
	insert('egress_group_member', 'user_id, group_id', map { [ pick('a' .. 'c'), pick('a' .. 'c') ] } 0 .. rand(5));
	my @custom = map { chance(0.5) } 0 .. 3;
	insert('egress_provider', 'egress_provider_id, name, provider_type, enabled',
		map { [ $_, pick('l' .. 'n') . $_, $custom[$_] ? 'custom' : 'openvpn', chance(0.85) ] } 1 .. 3);
	insert('egress_gateway', 'egress_gateway_id, egress_provider_id, name, country, city, config, enabled, withdrawn',
		map {
			my $provider = pick(1 .. 3);
			[ $_, $provider, pick('p' .. 'w'), pick('x', 'y', undef), pick('x', 'y', undef),
				$custom[$provider] ? "config $_" : undef, chance(0.85), chance(0.15) ]
		} 1 .. 10);
	insert('egress_provider_mapping',
		'egress_provider_mapping_id, egress_provider_id, subject_type, subject_id, enabled, allow_all_gateways',
		map { [ $_, pick(1 .. 3), subject(), chance(0.8), chance(0.5) ] } 1 .. 8);
	# in an order that is not that of their ids
	insert('egress_credential', 'egress_credential_id, egress_provider_id, name, username, password, custom_credential, '
			. 'subject_type, subject_id, enabled, allow_all_gateways, limit_active_connections, active_connection_limit',
		map {
			my $provider = pick(1 .. 3);
			my @secrets = $custom[$provider] ? (undef, undef, "secret $_") : ("user $_", "password $_", undef);
			[ $_, $provider, pick('c', 'd'), @secrets, subject(),
				chance(0.8), chance(0.5), chance(0.75), pick(0, 1, 1, 2, 2, 3) ]
		} shuffle 1 .. 14);
	$dbh->do('SELECT setseed(?)', undef, rand);
	$dbh->do("INSERT INTO ${_}_gateway (${_}_id, egress_gateway_id) SELECT ${_}_id, egress_gateway_id
			FROM $_ JOIN egress_gateway USING (egress_provider_id) WHERE random() < 0.4")
	  for qw(egress_provider_mapping egress_credential);
	$dbh->do('SELECT slots_fill()');
	$dbh->commit;
}

# What happens in a world: ['acquire', user, workspace, gateway, session], ['release', session], ['switch', statement].
# At the end every lease is released, and every switch is thrown a second time: the world is as it was.
sub steps
{
	my (@steps, %call);
	my $open = $dbh->selectall_arrayref(q{SELECT u, w, egress_gateway_id FROM unnest('{a,b,c,nobody}'::text[]) u,
			unnest('{a,b,c,NULL}'::text[]) w, egress_available_gateways(u, w)});
	for (1 .. 40)
	{
		my $session = 's' . pick(1 .. 8);
		if (chance(0.65))
		{
			# often something that is on a menu, or the same again
			$call{$session} = @$open && chance(0.6) ? pick(@$open) : call() if !$call{$session} || chance(0.5);
			push @steps, [ 'acquire', @{ $call{$session} }, $session ];
		}
		elsif (chance(0.4)) { push @steps, [ 'release', $session ] }
		else
		{
			push @steps, [ 'switch', pick(
				q{UPDATE egress_credential SET enabled = NOT enabled, name = translate(name, 'cC', 'Cc')
					WHERE egress_credential_id = } . pick(1 .. 14),
				'UPDATE egress_gateway SET enabled = NOT enabled WHERE egress_gateway_id = ' . pick(1 .. 10),
				'UPDATE egress_gateway SET withdrawn = NOT withdrawn WHERE egress_gateway_id = ' . pick(1 .. 10),
				'UPDATE egress_provider_mapping SET enabled = NOT enabled
					WHERE egress_provider_mapping_id = ' . pick(1 .. 8),
				'UPDATE egress_workspace SET override_egress_gateways = NOT override_egress_gateways') ];
		}
	}
	return (@steps, (map { [ 'release', "s$_" ] } 1 .. 8), (grep { $_->[0] eq 'switch' } @steps));
}

# Take the steps, but for the last one. answers: of each step. menus: of each step, before what it acquires.
sub play
{
	my ($steps, $acquire, $release, $menu) = @_;
	my (@answers, @menus, %since);
	for my $n (0 .. $#$steps - 1)
	{
		my ($what, @arguments) = @{ $steps->[$n] };
		$menus[$n] = $menu && $what eq 'acquire' ? rows($dbh, "SELECT * FROM $menu(?, ?)", @arguments[ 0, 1 ]) : '';
		$answers[$n] = '';
		if    ($what eq 'switch')  { $dbh->do(@arguments) }
		elsif ($what eq 'release') { $answers[$n] = $dbh->selectrow_array("SELECT $release(?)", undef, @arguments) }
		else
		{
			my $error = sqlstate { $answers[$n] = lease(rows($dbh, "SELECT * FROM $acquire(?, ?, ?, ?)", @arguments), \%since) };
			$answers[$n] = $error if $error;
		}
	}
	return { answers => \@answers, menus => $menu ? \@menus : [] };
}

# the same with the statements of for_update_*.sql, in the loop that an application has around them
sub play_in_psql
{
	my ($steps) = @_;
	my %play = (acquire => "\\set after 0\n\\i '$folder/acquire.sql'\n",
		release => "\\i '$bench/for_update_release.sql'\n\\echo :ROW_COUNT\n");
	write_file("$folder/acquire.sql", <<"SQL");
\\i '$bench/for_update_acquire.sql'
COMMIT;
\\if :free
\\elif :held
\\elif :try
\\echo full
\\set after :credential
\\i '$folder/acquire.sql'
\\else
\\echo :refusal
\\endif
SQL
	my $script = '';
	for (@$steps[ 0 .. $#$steps - 1 ])
	{
		my ($what, @arguments) = @$_;
		$script .= "\\echo -- $what\n";
		if ($what eq 'switch') { $script .= "@arguments;\n"; next }
		my @names = $what eq 'release' ? 'session' : qw(user workspace gateway session);
		# literals, in the quotes of \set
		$script .= "\\set $names[$_] " . (defined $arguments[$_] ? "'''$arguments[$_]'''" : 'NULL') . "\n" for 0 .. $#names;
		$script .= $play{$what};
	}
	write_file("$folder/script.sql", $script);

	my (@answers, %since);
	my (undef, @outputs) = split /^-- /m, psql("$folder/script.sql");
	for (@outputs)
	{
		my ($what, @lines) = split /\n/;
		my $answer = $lines[-1] // '';
		push @answers, $answer =~ /\|/ ? lease($answer, \%since) : $answer;
		$seen{'a lease after a full credential'}++ if @lines > 1 && $answer =~ /\|/;
	}
	return { answers => \@answers, menus => [] };
}

sub write_file
{
	my ($name, $text) = @_;
	open my $file, '>', $name or die "$name: $!";
	print $file $text;
	close $file or die "$name: $!";
}

# what psql prints: rows as in rows()
sub psql
{
	my ($file) = @_;
	open my $output, '-|', "$bindir/psql", qw(-qXAt -v ON_ERROR_STOP=1 -d), $test->{database}, '-f', $file or die "psql: $!";
	my $text = do { local $/; <$output> };
	close $output or die "psql failed\n";
	return $text;
}

# a lease without its time, but whether that has been seen: then it is the same lease
sub lease
{
	my ($row, $since) = @_;
	# a peer has no certificate, client key, address or preshared key behind it
	my ($lease, $acquired_at) = $row =~ /^(.*?)\|([^|]*)(?:\|{4})?$/s or return "no lease: $row";
	return $lease . ($since->{$acquired_at}++ ? '|again' : '|new');
}

# the history of what was played; the next one begins anew
sub history
{
	my ($table) = @_;
	my $rows = rows($dbh, "SELECT session_id, egress_credential_id, credential_name, egress_gateway_id, gateway_name,
			provider_name, country, city, user_id, workspace_id, release_reason FROM $table ORDER BY acquired_at");
	$dbh->do("DELETE FROM $table");
	return $rows;
}

sub compare
{
	my ($world, $name, $steps, $expected, $result) = @_;
	die "$name did not take every step\n" if @{ $result->{answers} } != @$steps;
	for my $what (qw(answers menus))
	{
		my ($there, $here) = ($expected->{$what}, $result->{$what});
		push @{ $differences{"$name: $what"} }, map {
			my $step = join ' ', map { $_ // 'NULL' } @{ $steps->[$_] };
			"$world, step $_, $step\negress:\n$there->[$_]\n$name:\n$here->[$_]"
		} grep { $here->[$_] ne $there->[$_] } 0 .. $#$here;
	}
}

# what kinds of answers and menus there were
sub count
{
	my ($steps, $result) = @_;
	for my $n (0 .. $#$steps)
	{
		my ($what, undef, undef, $gateway) = @{ $steps->[$n] };
		my $answer = $result->{answers}[$n];
		$seen{ $answer ? 'released' : 'nothing to release' }++ if $what eq 'release';
		next if $what ne 'acquire';
		my @menu = map { [ split /\|/, $_, -1 ] } split /\n/, $result->{menus}[$n];
		$seen{ $answer =~ /new$/ ? 'a lease' : $answer =~ /again$/ ? 'the lease again' : $answer }++;
		$seen{'the lease again, without access'}++ if $answer =~ /again$/ && !grep { $_->[0] == $gateway } @menu;
		$seen{'a menu without a row'}++ if !@menu;
		$seen{'a menu of several rows'}++ if @menu > 1;
		$seen{'a menu of several providers'}++ if @menu && $menu[0][4] ne $menu[-1][4];
		$seen{"$_ connections"}++ for map { $_->[7] eq '' ? 'unlimited' : $_->[7] } @menu;
	}
}
