/*
 * openvpn_directives.c -- the directives that openvpn(8) 2.4 to 2.7 has: which are accepted, with which parameters, and why not
 *
 * The allow-list. Only directives that are known to set up a client's tunnel and nothing else are accepted, and only
 * with parameters that openvpn takes. A list of what is forbidden would be as good as the openvpn it was made for: the
 * next release adds a directive that runs a command (2.7: dns-updown), and older spellings and builds have some
 * that this one has not. Directives that are known and refused are in the same table, to say why. What is not
 * in the table is refused without being named: it may be a line of a key that stands outside its block. Refused is also what
 * would send text of the config's choice to a TCP port of the agent's network before there is a VPN: headers for a proxy, packets
 * in the clear, and a wrapped client key.
 */
#include "openvpn_directives.h"

#include <sys/socket.h>

#include "config.h"

/* why a directive is refused */
#define RUNS_COMMAND	"It runs a command on the agent."
#define HANDS_PASSWORDS	"With 3 it hands passwords to what openvpn runs on the agent; 0, 1 and 2 are accepted."
#define LOADS_CODE		"It loads code into openvpn."
#define USES_DEVICE_KEY	"It uses a key of the agent, which is reached through code that openvpn loads."
#define READS			"It reads a file on the agent."
#define READS_CONFIG	"It reads more directives from a file on the agent."
#define PROXY_FILE		"It takes a host and a port; what follows names a file with a password on the agent."
#define FREE_TEXT		"It takes VERSION with 1.0 or 1.1, or AGENT; more would be lines of text to any TCP port that the agent reaches."
#define OPENS_DEVICE	"It opens a file on the agent as a device."
#define WRITES			"It writes a file on the agent."
#define TAKES_OUTPUT	"It takes openvpn, or what it prints, away from the agent that runs it."
#define CHANGES_IDENTITY "It changes the user or the directory that openvpn runs with."
#define MANAGEMENT		"It belongs to the management interface, which can control openvpn and ask it for passwords."
#define ASKS_CONSOLE	"It asks at the agent's console."
#define OTHER_CREDENTIAL "It puts another credential in the place of the lease's."
#define OTHER_TASK		"It makes openvpn do something else than connect."
#define FOR_SERVER		"It is for a server."
#define IS_PUSHED		"It can only come from a server."
#define IS_GONE			"openvpn 2.6 does not have it any more."
#define IS_NEW			"openvpn 2.6 does not have it yet."
#define FOR_OTHERS		"openvpn has it only on other systems or in other builds, and stops at it everywhere else."
#define NO_BLOCK		"It has to be a block."

/* All directives of openvpn 2.4 to 2.7, by name. */
static const EgressDirective directives[] = {
	{"allow-compression", 0, "no|asym|yes", NULL},
	{"allow-deprecated-insecure-static-crypto", IGNORABLE | TAKEN_OUT, NULL, IS_NEW},
	{"allow-nonadmin", 0, NULL, OTHER_TASK},
	{"allow-pull-fqdn", 0, "", NULL},
	{"allow-recursive-routing", 0, "", NULL},
	{"askpass", TAKEN_OUT, NULL, ASKS_CONSOLE},
	{"auth", 0, "WORD", NULL},
	{"auth-gen-token", 0, NULL, FOR_SERVER},
	{"auth-gen-token-secret", 0, NULL, READS},
	{"auth-nocache", 0, "", NULL},
	{"auth-retry", 0, "none|nointeract|interact", NULL},
	{"auth-token", 0, NULL, OTHER_CREDENTIAL},
	{"auth-token-user", 0, NULL, OTHER_CREDENTIAL},
	{"auth-user-pass", INLINE, "ANY?", NULL},
	{"auth-user-pass-optional", 0, NULL, FOR_SERVER},
	{"auth-user-pass-verify", 0, NULL, RUNS_COMMAND},
	{"bcast-buffers", 0, NULL, FOR_SERVER},
	{"bind", CONNECTION, "ipv6only?", NULL},
	{"bind-dev", 0, "DEVICE", NULL},
	{"block-ipv6", 0, "", NULL},
	{"block-outside-dns", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"ca", INLINE | FROM_FILE | PEM, NULL, READS},
	{"capath", 0, NULL, READS},
	{"ccd-exclusive", 0, NULL, FOR_SERVER},
	{"cd", TAKEN_OUT, NULL, CHANGES_IDENTITY},
	{"cert", INLINE | FROM_FILE | PEM, NULL, READS},
	{"chroot", TAKEN_OUT, NULL, CHANGES_IDENTITY},
	{"cipher", 0, "WORD", NULL},
	{"client", 0, "", NULL},
	{"client-cert-not-required", 0, NULL, IS_GONE},
	{"client-config-dir", 0, NULL, READS},
	{"client-connect", 0, NULL, RUNS_COMMAND},
	{"client-crresponse", 0, NULL, RUNS_COMMAND},
	{"client-disconnect", 0, NULL, RUNS_COMMAND},
	{"client-nat", 0, "snat|dnat IP4 IP4 IP4", NULL},
	{"client-to-client", 0, NULL, FOR_SERVER},
	{"comp-lzo", 0, "yes|no|adaptive?", NULL},
	{"comp-noadapt", 0, "", NULL},
	{"compat-mode", 0, "RELEASE WORD?", NULL},
	{"compat-names", TAKEN_OUT, NULL, IS_GONE},
	{"compress", 0, "stub|stub-v2|migrate|lzo|lz4|lz4-v2?", NULL},
	{"config", 0, NULL, READS_CONFIG},
	{"connect-freq", 0, NULL, FOR_SERVER},
	{"connect-freq-initial", 0, NULL, FOR_SERVER},
	{"connect-retry", CONNECTION, "NUMBER NUMBER?", NULL},
	{"connect-retry-max", CONNECTION, "NUMBER", NULL},
	{"connect-timeout", CONNECTION, "NUMBER", NULL},
	{"connection", INLINE, NULL, NO_BLOCK},
	{"crl-verify", INLINE | FROM_FILE | PEM, NULL, READS},
	{"cryptoapicert", 0, NULL, USES_DEVICE_KEY},
	{"daemon", TAKEN_OUT, NULL, TAKES_OUTPUT},
	{"data-ciphers", 0, "WORD", NULL},
	{"data-ciphers-fallback", 0, "WORD", NULL},
	{"dev", 0, "DEVICE", NULL},
	{"dev-node", TAKEN_OUT, NULL, OPENS_DEVICE},
	{"dev-type", 0, "tun|tap", NULL},
	{"dh", INLINE | FROM_FILE | PEM, "none", READS},
	{"dhcp-internal", 0, NULL, OTHER_TASK},
	{"dhcp-option", 0, "WORD WORD?", NULL},
	{"dhcp-pre-release", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"dhcp-release", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"dhcp-renew", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"disable", 0, NULL, FOR_SERVER},
	{"disable-dco", 0, "", NULL},
	{"disable-occ", 0, "", NULL},
	{"dns", 0, "WORD ANY ANY*", NULL},
	{"dns-updown", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"down", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"down-pre", 0, "", NULL},
	{"duplicate-cn", 0, NULL, FOR_SERVER},
	{"ecdh-curve", 0, "WORD", NULL},
	{"echo", 0, "ANY*", NULL},
	{"engine", 0, NULL, LOADS_CODE},
	{"errors-to-stderr", 0, "", NULL},
	{"explicit-exit-notify", CONNECTION, "NUMBER?", NULL},
	{"extra-certs", INLINE | FROM_FILE | PEM, NULL, READS},
	{"fast-io", 0, "", NULL},
	{"float", CONNECTION, "", NULL},
	{"force-tls-key-material-export", 0, NULL, FOR_SERVER},
	{"foreign-option", 0, NULL, IS_GONE},
	{"fragment", CONNECTION, "68..65535 mtu?", NULL},
	{"genkey", 0, NULL, OTHER_TASK},
	{"gremlin", 0, NULL, OTHER_TASK},
	{"group", TAKEN_OUT, NULL, CHANGES_IDENTITY},
	{"hand-window", 0, "NUMBER", NULL},
	{"hash-size", 0, NULL, FOR_SERVER},
	{"help", 0, NULL, OTHER_TASK},
	{"http-proxy", CONNECTION, "HOST PORT auto|auto-nct?", PROXY_FILE},
	{"http-proxy-option", CONNECTION, "VERSION|AGENT TEXT", FREE_TEXT},
	{"http-proxy-override", TAKEN_OUT, NULL, MANAGEMENT},
	{"http-proxy-retry", CONNECTION, "ANY*", NULL},
	{"http-proxy-timeout", CONNECTION, "NUMBER", NULL},
	{"http-proxy-user-pass", INLINE | FROM_FILE | SECRET, NULL, READS},
	{"ifconfig", 0, "IP4 IP4", NULL},
	{"ifconfig-ipv6", 0, "IP6NET IP6", NULL},
	{"ifconfig-ipv6-pool", 0, NULL, FOR_SERVER},
	{"ifconfig-ipv6-push", 0, NULL, FOR_SERVER},
	{"ifconfig-noexec", 0, "", NULL},
	{"ifconfig-nowarn", 0, "", NULL},
	{"ifconfig-pool", 0, NULL, FOR_SERVER},
	{"ifconfig-pool-linear", 0, NULL, FOR_SERVER},
	{"ifconfig-pool-persist", 0, NULL, WRITES},
	{"ifconfig-push", 0, NULL, FOR_SERVER},
	{"ifconfig-push-constraint", 0, NULL, FOR_SERVER},
	{"ignore-unknown-option", 0, "WORD WORD*", NULL},
	{"inactive", 0, "NUMBER NUMBER?", NULL},
	{"inetd", 0, NULL, OTHER_TASK},
	{"ip-remote-hint", 0, "HOST?", NULL},
	{"ip-win32", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"ipchange", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"iproute", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"iroute", 0, NULL, FOR_SERVER},
	{"iroute-ipv6", 0, NULL, FOR_SERVER},
	{"keepalive", 0, "NUMBER NUMBER", NULL},
	{"key", INLINE | FROM_FILE | SECRET | PEM, NULL, READS},
	{"key-derivation", 0, NULL, IS_PUSHED},
	{"key-direction", CONNECTION, "0|1", NULL},
	{"key-method", IGNORABLE | TAKEN_OUT, NULL, IS_GONE},
	{"keying-material-exporter", 0, NULL, FOR_SERVER},
	{"keysize", IGNORABLE | TAKEN_OUT, NULL, IS_GONE},
	{"learn-address", 0, NULL, RUNS_COMMAND},
	{"link-mtu", CONNECTION, "NUMBER", NULL},
	{"lladdr", 0, "MAC", NULL},
	{"local", CONNECTION, "HOST", NULL},
	{"log", TAKEN_OUT, NULL, TAKES_OUTPUT},
	{"log-append", TAKEN_OUT, NULL, TAKES_OUTPUT},
	{"lport", CONNECTION, "PORT", NULL},
	{"machine-readable-output", 0, "", NULL},
	{"management", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-client", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-client-auth", 0, NULL, MANAGEMENT},
	{"management-client-group", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-client-pf", 0, NULL, MANAGEMENT},
	{"management-client-user", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-external-cert", 0, NULL, MANAGEMENT},
	{"management-external-key", 0, NULL, MANAGEMENT},
	{"management-forget-disconnect", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-hold", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-log-cache", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-query-passwords", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-query-proxy", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-query-remote", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-signal", TAKEN_OUT, NULL, MANAGEMENT},
	{"management-up-down", TAKEN_OUT, NULL, MANAGEMENT},
	{"mark", 0, "NUMBER", NULL},
	{"max-clients", 0, NULL, FOR_SERVER},
	{"max-packet-size", CONNECTION, "NUMBER", NULL},
	{"max-routes", 0, "NUMBER?", NULL},
	{"max-routes-per-client", 0, NULL, FOR_SERVER},
	{"memstats", TAKEN_OUT, NULL, WRITES},
	{"mktun", 0, NULL, OTHER_TASK},
	{"mlock", 0, "", NULL},
	{"mode", 0, "p2p", NULL},
	{"msg-channel", 0, NULL, IS_GONE},
	{"mssfix", CONNECTION, "NUMBER? mtu|fixed?", NULL},
	{"mtu-disc", CONNECTION, "yes|maybe|no", NULL},
	{"mtu-dynamic", 0, NULL, IS_GONE},
	{"mtu-test", 0, "", NULL},
	{"multihome", 0, "", NULL},
	{"mute", 0, "NUMBER", NULL},
	{"mute-replay-warnings", 0, "", NULL},
	{"ncp-ciphers", 0, "WORD", NULL},
	{"ncp-disable", IGNORABLE | TAKEN_OUT, NULL, IS_GONE},
	{"nice", 0, "0..19", NULL},
	{"no-iv", IGNORABLE | TAKEN_OUT, NULL, IS_GONE},
	{"no-name-remapping", TAKEN_OUT, NULL, IS_GONE},
	{"no-replay", 0, "", NULL},
	{"nobind", CONNECTION, "", NULL},
	{"ns-cert-type", 0, "server|client", NULL},
	{"opt-verify", 0, NULL, FOR_SERVER},
	{"override-username", 0, NULL, OTHER_CREDENTIAL},
	{"parameter", 0, "ANY*", NULL},
	{"passtos", 0, "", NULL},
	{"pause-exit", TAKEN_OUT, NULL, FOR_OTHERS},
	{"peer-fingerprint", INLINE, "FINGERPRINT", NULL},
	{"peer-id", 0, "NUMBER", NULL},
	{"persist-key", 0, "", NULL},
	{"persist-local-ip", 0, "", NULL},
	{"persist-remote-ip", 0, "", NULL},
	{"persist-tun", 0, "", NULL},
	{"ping", 0, "NUMBER", NULL},
	{"ping-exit", 0, "NUMBER", NULL},
	{"ping-restart", 0, "NUMBER", NULL},
	{"ping-timer-rem", 0, "", NULL},
	{"pkcs11-cert-private", 0, NULL, USES_DEVICE_KEY},
	{"pkcs11-id", 0, NULL, USES_DEVICE_KEY},
	{"pkcs11-id-management", 0, NULL, USES_DEVICE_KEY},
	{"pkcs11-pin-cache", 0, NULL, USES_DEVICE_KEY},
	{"pkcs11-private-mode", 0, NULL, USES_DEVICE_KEY},
	{"pkcs11-protected-authentication", 0, NULL, USES_DEVICE_KEY},
	{"pkcs11-providers", 0, NULL, LOADS_CODE},
	{"pkcs12", INLINE | FROM_FILE | SECRET, NULL, READS},
	{"plugin", 0, NULL, LOADS_CODE},
	{"port", CONNECTION, "PORT", NULL},
	{"port-share", 0, NULL, FOR_SERVER},
	{"preresolve", 0, "ANY?", NULL},
	{"prng", 0, "WORD NUMBER?", NULL},
	{"proto", CONNECTION, "PROTO", NULL},
	{"proto-force", 0, "udp|tcp", NULL},
	{"protocol-flags", 0, NULL, IS_PUSHED},
	{"providers", 0, NULL, LOADS_CODE},
	{"pull", 0, "", NULL},
	{"pull-filter", 0, "accept|ignore|reject ANY", NULL},
	{"push", 0, NULL, FOR_SERVER},
	{"push-continuation", 0, NULL, IS_PUSHED},
	{"push-peer-info", 0, "", NULL},
	{"push-remove", 0, NULL, FOR_SERVER},
	{"push-reset", 0, NULL, FOR_SERVER},
	{"rcvbuf", 0, "NUMBER", NULL},
	{"rdns-internal", 0, NULL, OTHER_TASK},
	{"redirect-gateway", 0, "local|autolocal|def1|bypass-dhcp|bypass-dns|block-local|ipv6|!ipv4*", NULL},
	{"redirect-private", 0, "local|autolocal|def1|bypass-dhcp|bypass-dns|block-local|ipv6|!ipv4*", NULL},
	{"register-dns", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"remap-usr1", 0, "SIGHUP|SIGTERM", NULL},
	{"remote", CONNECTION, "HOST PORT? PROTO?", NULL},
	{"remote-cert-eku", 0, "TEXT", NULL},
	{"remote-cert-ku", 0, "WORD*", NULL},
	{"remote-cert-tls", 0, "server|client", NULL},
	{"remote-random", 0, "", NULL},
	{"remote-random-hostname", 0, "", NULL},
	{"reneg-bytes", 0, "NUMBER", NULL},
	{"reneg-pkts", 0, "NUMBER", NULL},
	{"reneg-sec", 0, "NUMBER NUMBER?", NULL},
	{"replay-persist", 0, NULL, WRITES},
	{"replay-window", 0, "0..65536 0..600?", NULL},
	{"resolv-retry", 0, "infinite|NUMBER", NULL},
	{"rmtun", 0, NULL, OTHER_TASK},
	{"route", 0, "HOST HOST? HOST? default|NUMBER?", NULL},
	{"route-delay", 0, "NUMBER? NUMBER?", NULL},
	{"route-gateway", 0, "dhcp|vpn_gateway|net_gateway|remote_host|IP4", NULL},
	{"route-ipv6", 0, "NETWORK default|IP6? NUMBER?", NULL},
	{"route-ipv6-gateway", 0, "IP6", NULL},
	{"route-method", 0, "adaptive|ipapi|exe", NULL},
	{"route-metric", 0, "NUMBER", NULL},
	{"route-noexec", 0, "", NULL},
	{"route-nopull", 0, "", NULL},
	{"route-pre-down", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"route-table", IGNORABLE, NULL, IS_NEW},
	{"route-up", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"rport", CONNECTION, "PORT", NULL},
	{"script-security", TAKEN_OUT, "0..2", HANDS_PASSWORDS},
	{"secret", INLINE | FROM_FILE | SECRET, NULL, READS},
	{"server", 0, NULL, FOR_SERVER},
	{"server-bridge", 0, NULL, FOR_SERVER},
	{"server-ipv6", 0, NULL, FOR_SERVER},
	{"server-poll-timeout", CONNECTION, "NUMBER", NULL},
	{"service", TAKEN_OUT, NULL, FOR_OTHERS},
	{"session-timeout", 0, "NUMBER", NULL},
	{"setcon", TAKEN_OUT, NULL, CHANGES_IDENTITY},
	{"setenv", TAKEN_OUT, "WORD ANY?", NULL},
	{"setenv-safe", TAKEN_OUT, NULL, SETS_ENVIRONMENT},
	{"shaper", 0, "100..100000000", NULL},
	{"show-adapters", 0, NULL, OTHER_TASK},
	{"show-ciphers", 0, NULL, OTHER_TASK},
	{"show-curves", 0, NULL, OTHER_TASK},
	{"show-digests", 0, NULL, OTHER_TASK},
	{"show-engines", 0, NULL, OTHER_TASK},
	{"show-gateway", 0, NULL, OTHER_TASK},
	{"show-groups", 0, NULL, OTHER_TASK},
	{"show-net", 0, NULL, OTHER_TASK},
	{"show-net-up", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"show-pkcs11-ids", 0, NULL, OTHER_TASK},
	{"show-tls", 0, NULL, OTHER_TASK},
	{"show-valid-subnets", 0, NULL, OTHER_TASK},
	{"single-session", 0, "", NULL},
	{"sndbuf", 0, "NUMBER", NULL},
	{"socket-flags", 0, "TCP_NODELAY*", NULL},
	{"socks-proxy", CONNECTION, "HOST PORT?", PROXY_FILE},
	{"socks-proxy-retry", CONNECTION, "ANY*", NULL},
	{"stale-routes-check", 0, NULL, FOR_SERVER},
	{"static-challenge", 0, NULL, ASKS_CONSOLE},
	{"status", TAKEN_OUT, NULL, WRITES},
	{"status-version", 0, "1..3", NULL},
	{"suppress-timestamps", 0, "", NULL},
	{"syslog", TAKEN_OUT, NULL, TAKES_OUTPUT},
	{"tap-sleep", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"tcp-nodelay", 0, "", NULL},
	{"tcp-queue-limit", 0, NULL, FOR_SERVER},
	{"test-crypto", 0, NULL, OTHER_TASK},
	{"tls-auth", INLINE | CONNECTION | FROM_FILE, NULL, READS},
	{"tls-cert-profile", 0, "legacy|preferred|insecure|suiteb", NULL},
	{"tls-cipher", 0, "WORD", NULL},
	{"tls-ciphersuites", 0, "WORD", NULL},
	{"tls-client", 0, "", NULL},
	{"tls-crypt", INLINE | CONNECTION | FROM_FILE, NULL, READS},
	{"tls-crypt-v2", INLINE | CONNECTION | FROM_FILE | SECRET, NULL, READS},
	{"tls-crypt-v2-max-age", 0, NULL, FOR_SERVER},
	{"tls-crypt-v2-verify", 0, NULL, RUNS_COMMAND},
	{"tls-exit", 0, "", NULL},
	{"tls-export-cert", TAKEN_OUT, NULL, WRITES},
	{"tls-groups", 0, "WORD", NULL},
	{"tls-remote", 0, NULL, IS_GONE},
	{"tls-server", 0, NULL, FOR_SERVER},
	{"tls-timeout", 0, "NUMBER", NULL},
	{"tls-verify", 0, NULL, RUNS_COMMAND},
	{"tls-version-max", 0, "1.0|1.1|1.2|1.3", NULL},
	{"tls-version-min", 0, "1.0|1.1|1.2|1.3 or-highest?", NULL},
	{"tmp-dir", TAKEN_OUT, NULL, WRITES},
	{"topology", 0, "net30|p2p|subnet", NULL},
	{"tran-window", 0, "NUMBER", NULL},
	{"tun-ipv6", 0, "", NULL},
	{"tun-mtu", CONNECTION, "100..65536 NUMBER?", NULL},
	{"tun-mtu-extra", CONNECTION, "NUMBER", NULL},
	{"tun-mtu-max", CONNECTION, "68..65536 NUMBER?", NULL},
	{"txqueuelen", 0, "NUMBER", NULL},
	{"udp-mtu", CONNECTION, "NUMBER", NULL},
	{"up", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"up-delay", 0, "", NULL},
	{"up-restart", 0, "", NULL},
	{"use-prediction-resistance", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"user", TAKEN_OUT, NULL, CHANGES_IDENTITY},
	{"username-as-common-name", 0, NULL, FOR_SERVER},
	{"verb", 0, "NUMBER", NULL},
	{"verify-client-cert", 0, NULL, FOR_SERVER},
	{"verify-hash", INLINE, "FINGERPRINT SHA1|SHA256?", NULL},
	{"verify-x509-name", 0, "TEXT subject|name|name-prefix?", NULL},
	{"version", 0, NULL, OTHER_TASK},
	{"vlan-accept", 0, NULL, FOR_SERVER},
	{"vlan-pvid", 0, NULL, FOR_SERVER},
	{"vlan-tagging", 0, NULL, FOR_SERVER},
	{"win-sys", TAKEN_OUT, NULL, RUNS_COMMAND},
	{"windows-driver", IGNORABLE | TAKEN_OUT, NULL, FOR_OTHERS},
	{"writepid", TAKEN_OUT, NULL, WRITES},
	{"x509-track", 0, NULL, FOR_SERVER},
	{"x509-username-field", 0, NULL, FOR_SERVER},
};

StaticAssertDecl(lengthof(directives) == OPENVPN_DIRECTIVE_COUNT, "OPENVPN_DIRECTIVE_COUNT is not how many directives there are");

/* is_word -- a name, a list of algorithms or the like: nothing that a shell or a script could stumble over */
static bool
is_word(const char *value)
{
	for (const char *c = value; *c; c++)
		if (*c <= ' ' || *c >= '\x7f' || strchr("\"'\\`$&;|<>()*", *c))
			return false;
	return *value != '\0';
}

/* is_any -- text, which may be empty */
static bool
is_any(const char *value)
{
	return true;
}

/* is_text -- text */
static bool
is_text(const char *value)
{
	return *value != '\0';
}

/* is_any_number -- a number that fits in openvpn's int */
static bool
is_any_number(const char *value)
{
	return config_is_number(value, 0, PG_INT32_MAX);
}

/* is_proto -- a client's transport */
static bool
is_proto(const char *value)
{
	static const char *const protos[] = {
		"udp", "udp4", "udp6", "tcp", "tcp4", "tcp6", "tcp-client", "tcp4-client", "tcp6-client"
	};

	for (size_t i = 0; i < lengthof(protos); i++)
		if (strcmp(value, protos[i]) == 0)
			return true;
	return false;
}

/* is_device -- the name of a network device, not the path of a file or of a program */
static bool
is_device(const char *value)
{
	return config_is_plain_name(value) && strlen(value) <= 15;
}

/* is_ip4 -- an IPv4 address */
static bool
is_ip4(const char *value)
{
	return config_is_address(AF_INET, value);
}

/* is_ip6 -- an IPv6 address */
static bool
is_ip6(const char *value)
{
	return config_is_address(AF_INET6, value);
}

/* is_network -- an IPv6 network */
static bool
is_network(const char *value)
{
	return strchr(value, ':') && config_is_address_range(value);
}

/* is_ip6_net -- an IPv6 address with a prefix of a length that ifconfig-ipv6 takes */
static bool
is_ip6_net(const char *value)
{
	const char *slash = strchr(value, '/');

	return slash && is_network(value) && config_is_number(slash + 1, 64, 124);
}

/* is_hex_list -- bytes in hexadecimal, separated by colons */
static bool
is_hex_list(const char *value, size_t count)
{
	size_t		length = strlen(value);

	if (length != count * 3 - 1)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!(i % 3 == 2 ? value[i] == ':' : strchr("0123456789abcdefABCDEF", value[i]) != NULL))
			return false;
	return true;
}

/* is_mac -- the address of a network card */
static bool
is_mac(const char *value)
{
	return is_hex_list(value, 6);
}

/* is_fingerprint -- a SHA-256 hash, or an old SHA-1 one */
static bool
is_fingerprint(const char *value)
{
	return is_hex_list(value, 32) || is_hex_list(value, 20);
}

/* is_release -- three numbers */
static bool
is_release(const char *value)
{
	for (int i = 0; i < 3; i++)
	{
		size_t		digits = strspn(value, "0123456789");

		if (digits < 1 || digits > 5 || value[digits] != (i < 2 ? '.' : '\0'))
			return false;
		value += digits + 1;
	}
	return true;
}

static const struct
{
	const char *name;
	bool		(*is_valid) (const char *value);
}			kinds[] = {
	{"ANY", is_any},
	{"DEVICE", is_device},
	{"FINGERPRINT", is_fingerprint},
	{"HOST", config_is_host},
	{"IP4", is_ip4},
	{"IP6", is_ip6},
	{"IP6NET", is_ip6_net},
	{"MAC", is_mac},
	{"NETWORK", is_network},
	{"NUMBER", is_any_number},
	{"PORT", config_is_port},
	{"PROTO", is_proto},
	{"RELEASE", is_release},
	{"TEXT", is_text},
	{"WORD", is_word},
};

/* match_alternative -- is a parameter of this kind, within this range, or this word? */
static bool
match_alternative(const char *alternative, size_t length, const char *value)
{
	size_t		digits = strspn(alternative, "0123456789");

	if (digits + 2 < length && strncmp(alternative + digits, "..", 2) == 0)
		return config_is_number(value, strtoll(alternative, NULL, 10), strtoll(alternative + digits + 2, NULL, 10));
	for (size_t i = 0; i < lengthof(kinds); i++)
		if (strlen(kinds[i].name) == length && strncmp(kinds[i].name, alternative, length) == 0)
			return kinds[i].is_valid(value);
	return strlen(value) == length && strncmp(alternative, value, length) == 0;
}

/*
 * openvpn_directives_match -- does a directive take these parameters?
 *
 * The pattern has an item for each parameter: kinds, ranges and words, separated by "|"; with "?" behind them
 * the parameter may be left out, and with "*" it may be there any number of times.
 */
bool
openvpn_directives_match(const char *pattern, int count, char **parameters)
{
	int			next = 0;

	while (*pattern)
	{
		size_t		length = strcspn(pattern, " ");
		bool		repeated = pattern[length - 1] == '*';
		bool		optional = repeated || pattern[length - 1] == '?';
		const char *item_end = pattern + length - (optional ? 1 : 0);

		do
		{
			const char *alternative = pattern;
			bool		matched = false;

			if (next == count)
				break;
			while (!matched && alternative < item_end)
			{
				size_t		alternative_length = strcspn(alternative, "| ?*");

				matched = match_alternative(alternative, alternative_length, parameters[next]);
				alternative += alternative_length + 1;
			}
			if (!matched)
				return false;
			next++;
			optional = true;
		} while (repeated);
		if (!optional)
			return false;
		pattern += length;
		pattern += strspn(pattern, " ");
	}
	return next == count;
}

/* is_name_server -- what "dns server" takes: an address with or without a port */
static bool
is_name_server(char *value)
{
	char	   *port = strrchr(value, ':');

	if (*value == '[')
	{
		if (port == NULL || port[-1] != ']' || !config_is_number(port + 1, 1, 65535))
			return false;
		port[-1] = '\0';
		return config_is_address(AF_INET6, value + 1);
	}
	if (port && strchr(value, ':') == port)
	{
		if (!config_is_number(port + 1, 1, 65535))
			return false;
		*port = '\0';
	}
	return config_is_address(AF_UNSPEC, value);
}

/* are_dns_parameters -- what dns takes: search domains, or a property of a server */
static bool
are_dns_parameters(int count, char **parameters)
{
	if (strcmp(parameters[0], "search-domains") == 0)
		return openvpn_directives_match("HOST HOST*", count - 1, parameters + 1);
	if (strcmp(parameters[0], "server") != 0 || count < 4 || !config_is_number(parameters[1], 0, 127))
		return false;
	if (strcmp(parameters[2], "address") == 0)
	{
		for (int i = 3; i < count; i++)
			if (!is_name_server(parameters[i]))
				return false;
		return count - 3 <= 8;
	}
	return openvpn_directives_match("resolve-domains HOST HOST*", count - 2, parameters + 2) ||
		openvpn_directives_match("dnssec yes|no|optional", count - 2, parameters + 2) ||
		openvpn_directives_match("transport plain|DoH|DoT", count - 2, parameters + 2) ||
		openvpn_directives_match("sni HOST", count - 2, parameters + 2);
}

/* openvpn_directives_take -- does a directive take these parameters as a line? */
bool
openvpn_directives_take(const EgressDirective *directive, int count, char **parameters)
{
	if (directive->parameters == NULL || !openvpn_directives_match(directive->parameters, count, parameters))
		return false;
	if (strcmp(directive->name, "dns") == 0)
		return are_dns_parameters(count, parameters);
	if (strcmp(directive->name, "keepalive") == 0)
		return atoi(parameters[0]) > 0 && atoi(parameters[1]) / 2 >= atoi(parameters[0]);
	if (strcmp(directive->name, "http-proxy-option") == 0)
		return strcmp(parameters[0], "AGENT") == 0 || openvpn_directives_match("1.0|1.1", 1, parameters + 1);
	return true;
}

/* openvpn_directives_find -- by name; NULL if openvpn has none of that name */
const EgressDirective *
openvpn_directives_find(const char *name)
{
	size_t		low = 0;
	size_t		high = lengthof(directives);

	while (low < high)
	{
		size_t		middle = (low + high) / 2;
		int			order = strcmp(name, directives[middle].name);

		if (order == 0)
			return &directives[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* config_openvpn_has_directive -- does a line begin with the name of a directive? */
bool
config_openvpn_has_directive(const char *start, const char *end)
{
	char		name[64];
	size_t		length = 0;

	while (start + length < end && !config_is_space(start[length]) && length < sizeof(name) - 1)
	{
		name[length] = start[length];
		length++;
	}
	name[length] = '\0';
	return openvpn_directives_find(name) != NULL;
}

/* openvpn_directives_hint -- what a directive takes, as a message tells it */
const char *
openvpn_directives_hint(const EgressDirective *directive)
{
	static const char before[] = "It takes ";
	static const char after[] = ", as openvpn(8) has it; \"?\" is behind what may be left out, \"*\" behind what may be there more than once.";
	size_t		length = strlen(directive->parameters);
	char	   *hint;

	if (length == 0)
		return "It takes no parameter.";
	hint = palloc(sizeof(before) + length + sizeof(after));
	memcpy(hint, before, sizeof(before));
	memcpy(hint + sizeof(before) - 1, directive->parameters, length);
	memcpy(hint + sizeof(before) - 1 + length, after, sizeof(after));
	return hint;
}

/* openvpn_directives_get -- by its number, from 0 */
const EgressDirective *
openvpn_directives_get(int number)
{
	return &directives[number];
}

/* openvpn_directives_number -- the number of a directive */
int
openvpn_directives_number(const EgressDirective *directive)
{
	return directive - directives;
}
