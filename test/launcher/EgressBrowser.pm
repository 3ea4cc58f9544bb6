# EgressBrowser.pm -- Debian's chromium, without a window, for a test to drive
#
#   my $browser = EgressBrowser->new($folder);      starts it, with its profile in this folder; ended with the object,
#                                               or with the test, before the folder goes
#   my $page = $browser->page($url, $width, $height);      a tab
#   $page->go($url);                                and wait until it is loaded
#   my $value = $page->js($expression);             what the page's JavaScript makes of it; what it throws dies
#   my $came = $page->wait_for($expression);        until it is true, a quarter of a minute at most
#   $page->click($selector);                        with the mouse, in the middle of the element
#   $page->double_click($selector);             twice, at the same place
#   $page->press($selector, $key);                  the focus goes to the element, and then the key is pressed
#   $page->hold($selector, $key, $times);       likewise, and held until it has come so many times
#   $page->dark(1);                                 the system's colours are dark
#   my $png = $page->picture;                       what is to be seen, as the bytes of a PNG
#   my @complaints = $browser->complaints;          exceptions that nothing caught, and what the browser has refused to do
#
# It speaks the DevTools protocol over a pair of pipes: JSON, each message ended by a zero byte. The sandbox is off, because
# it needs namespaces that a container may not give; the pages are those of the test itself.
package EgressBrowser;

use strict;
use warnings;
use Fcntl qw(F_DUPFD);
use IO::Select;
use JSON::PP;
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Time::HiRes qw(sleep time);

my %running;    # whose browsers they are, by their processes
my $json = JSON::PP->new->utf8->allow_nonref;

sub new
{
	my ($class, $folder) = @_;
	pipe my $browser_reads, my $commands or die "pipe: $!";
	pipe my $answers, my $browser_writes or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid)
	{
		setpgrp;
		open STDOUT, '>', "$folder/chromium.log";
		open STDERR, '>&', \*STDOUT;
		# above the two that it wants, so that neither is overwritten before it is copied
		my @pipes = map { fcntl $_, F_DUPFD, 10 } $browser_reads, $browser_writes;
		POSIX::dup2($pipes[$_], 3 + $_) for 0, 1;
		# what it puts into temporary folders is left there, as it is killed
		@ENV{qw(HOME TMPDIR)} = ($folder) x 2;
		exec qw(chromium --headless=new --remote-debugging-pipe --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run
		  --disable-background-networking --disable-component-update --hide-scrollbars --force-color-profile=srgb),
		  "--user-data-dir=$folder/profile", 'about:blank'
		  or POSIX::_exit(127);
	}
	$commands->autoflush(1);
	$running{$pid} = $$;
	return bless { pid => $pid, commands => $commands, answers => $answers, buffer => '', last => 0, complaints => [] },
	  $class;
}

sub end
{
	my ($pid) = @_;
	return if (delete $running{$pid} // 0) != $$;
	local ($?, $!);
	kill KILL => -$pid;
	waitpid $pid, 0;
	return;
}
sub DESTROY { my ($self) = @_; return end($self->{pid}) }
END { end($_) for keys %running }

# sends a command, of the browser or of a tab, and waits for its answer
sub call
{
	my ($self, $method, $parameters, $tab) = @_;
	my $id = ++$self->{last};
	my %message = (id => $id, method => $method, params => $parameters // {}, $tab ? (sessionId => $tab) : ());
	{
		local $SIG{PIPE} = 'IGNORE';
		print { $self->{commands} } $json->encode(\%message), "\0" or die "chromium is not there any more: $!";
	}
	my $deadline = time + 60;
	while (1)
	{
		while ($self->{buffer} =~ s/^([^\0]*)\0//)
		{
			my $said = $json->decode($1);
			$self->note($said);
			next if ($said->{id} // 0) != $id;
			die "$method: $said->{error}{message}\n" if $said->{error};
			return $said->{result};
		}
		IO::Select->new($self->{answers})->can_read($deadline - time) or die "chromium does not answer: $method";
		sysread $self->{answers}, $self->{buffer}, 1 << 20, length $self->{buffer} or die 'chromium has ended';
	}
	return;
}

# what a message that answers nothing complains of; an HTTP status is no complaint
sub note
{
	my ($self, $said) = @_;
	my $method = $said->{method} // '';
	my ($entry, $thrown) = ($said->{params}{entry}, $said->{params}{exceptionDetails});
	push @{ $self->{complaints} }, $thrown->{exception}{description} // $thrown->{text} if $method eq 'Runtime.exceptionThrown';
	push @{ $self->{complaints} }, $entry->{text}
	  if $method eq 'Log.entryAdded' && $entry->{level} eq 'error' && $entry->{source} ne 'network';
	return;
}

sub complaints { return @{ $_[0]{complaints} } }

sub page
{
	my ($self, $url, $width, $height) = @_;
	my $target = $self->call('Target.createTarget', { url => 'about:blank', newWindow => JSON::PP::true });
	my $tab = $self->call('Target.attachToTarget', { targetId => $target->{targetId}, flatten => JSON::PP::true })->{sessionId};
	my $page = bless { browser => $self, tab => $tab }, 'EgressBrowser::Page';
	$page->call("$_.enable") for qw(Page Runtime Log);
	$page->size($width, $height);
	$page->go($url);
	return $page;
}

package EgressBrowser::Page;

use Time::HiRes qw(sleep time);

sub call { my ($self, @command) = @_; return $self->{browser}->call(@command[ 0, 1 ], $self->{tab}) }

sub size
{
	my ($self, $width, $height, $scale) = @_;
	return $self->call('Emulation.setDeviceMetricsOverride',
		{ width => $width, height => $height, deviceScaleFactor => $scale // 1, mobile => JSON::PP::false });
}

sub go
{
	my ($self, $url) = @_;
	# from nowhere, because what differs in the fragment only is not loaded
	$self->call('Page.navigate', { url => $_ }) for 'about:blank', $url;
	$self->wait_for('(location.href !== "about:blank") === ' . ($url ne 'about:blank' ? 'true' : 'false') . ' && document.readyState === "complete"')
	  or die "$url does not load";
	return;
}

sub js
{
	my ($self, $expression) = @_;
	my $done = $self->call('Runtime.evaluate',
		{ expression => $expression, awaitPromise => JSON::PP::true, returnByValue => JSON::PP::true });
	die "$expression: $done->{exceptionDetails}{exception}{description}\n" if $done->{exceptionDetails};
	return $done->{result}{value};
}

sub wait_for
{
	my ($self, $expression) = @_;
	my $deadline = time + 15;
	# while a page is left, there is nothing to ask
	until (eval { $self->js($expression) })
	{
		return 0 if time > $deadline;
		sleep 0.05;
	}
	return 1;
}

sub element { my ($self, $selector) = @_; return 'document.querySelector(' . JSON::PP->new->allow_nonref->encode($selector) . ')' }

sub click { my ($self, $selector) = @_; return $self->clicks($selector, 1) }
sub double_click { my ($self, $selector) = @_; return $self->clicks($selector, 1, 2) }

# each with its number in a row
sub clicks
{
	my ($self, $selector, @counts) = @_;
	my $element = $self->element($selector);
	# like a person, who waits until the page no longer moves, as it does when the list of sessions above gets another one
	my $at = $self->js("(async () => {
		for (let last = '', same = 0;;) {
			$element.scrollIntoView({ block: 'center' });
			const box = $element.getBoundingClientRect(), now = [box.x, box.y, box.width, box.height].join();
			same = now === last ? same + 1 : 0;
			if (same === 3) return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
			last = now;
			await new Promise(done => setTimeout(done, 100));
		}
	})()");
	for my $count (@counts)
	{
		sleep 0.2 if $count > 1;    # a person's finger, for which a server's answer does not wait
		$self->call('Input.dispatchMouseEvent', { type => $_, %$at, button => 'left', clickCount => $count }) for qw(mousePressed mouseReleased);
	}
	return;
}

sub press { my ($self, $selector, $key) = @_; return $self->hold($selector, $key, 1) }

sub hold
{
	my ($self, $selector, $key, $times) = @_;
	my %key = (key => $key, code => $key, $key eq 'Enter' ? (windowsVirtualKeyCode => 13, text => "\r") : ());
	$self->js($self->element($selector) . '.focus()');
	for my $time (1 .. $times)
	{
		sleep 0.2 if $time > 1;
		$self->call('Input.dispatchKeyEvent', { type => 'keyDown', %key, $time > 1 ? (autoRepeat => JSON::PP::true) : () });
	}
	$self->call('Input.dispatchKeyEvent', { type => 'keyUp', %key });
	return;
}

sub dark
{
	my ($self, $dark) = @_;
	return $self->call('Emulation.setEmulatedMedia',
		{ features => [ { name => 'prefers-color-scheme', value => $dark ? 'dark' : 'light' } ] });
}

sub picture { my ($self) = @_; return MIME::Base64::decode_base64($self->call('Page.captureScreenshot')->{data}) }

1;
