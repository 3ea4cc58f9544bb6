/*
 * render.c -- check or render the config on standard input, from a shell
 *
 *	render openvpn [username password [certificate key]]
 *	render wireguard [private_key]
 *
 * The certificate and the key are texts; with '' as the username there is none. Without a credential an OpenVPN config is rendered without one, a WireGuard config is only checked. Exits with 1
 * and the error on standard error if the config is refused.
 */
#include "standalone.h"

#include "config.h"
#include "errors.h"

static int	argument_count;
static char **arguments;
static text *config;
static text *rendered;

/* render -- what the command line says */
static void
render(void *unused)
{
	if (strcmp(arguments[1], "openvpn") == 0)
	{
		openvpn_check_config(config);
		rendered = openvpn_render_config(config, &(OpenvpnCredential) {
			.username = argument_count > 2 && *arguments[2] ? arguments[2] : NULL,
			.password = argument_count > 2 && *arguments[2] ? arguments[3] : NULL,
			.client_certificate = argument_count > 4 ? arguments[4] : NULL,
			.client_key = argument_count > 4 ? arguments[5] : NULL
		});
	}
	else
	{
		wireguard_check_config(config);
		rendered = argument_count > 2 ? wireguard_render_config(config, &(WireguardCredential) {.private_key = arguments[2]}) : config;
	}
}

int
main(int argc, char **argv)
{
	size_t		capacity = 64 * 1024 * 1024;
	char	   *input;

	if (argc < 2)
		return 2;
	input = malloc(capacity);
	if (input == NULL)
		return 2;
	argument_count = argc;
	arguments = argv;
	config = make_text(input, fread(input, 1, capacity, stdin));
	free(input);
	if (!attempt(render, NULL))
	{
		fprintf(stderr, "%s: %s\nDETAIL: %s\nHINT: %s\n",
				standalone_error.code == ERRCODE_EGRESS_CONFIG ? "NG007" : "other",
				standalone_error.message, standalone_error.detail, standalone_error.hint);
		return 1;
	}
	fwrite(VARDATA(rendered), 1, VARSIZE(rendered) - VARHDRSZ, stdout);
	return 0;
}
