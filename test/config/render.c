/*
 * render.c -- check or render the config on standard input, from a shell
 *
 *	render openvpn [username password [certificate key]]
 *	render wireguard [private_key]
 *	render import openvpn|wireguard FILE...
 *
 * The certificate and the key are texts; with '' as the username there is none. Without a credential an OpenVPN config is rendered without one, a WireGuard config is only checked. What
 * an import takes out is on standard error, one a line. Exits with 1 and the error on standard error if the config is refused.
 */
#include "standalone.h"

#include "config.h"
#include "errors.h"

static int	argument_count;
static char **arguments;
static text *config;
static text *rendered;

static EgressConfigImport imported;
static EgressConfigFiles beside;

/* read_file -- a file that an import may need; it is a text unless it has a zero in it */
static EgressConfigFile
read_file(const char *path)
{
	EgressConfigFile file = {.name = path};
	FILE	   *handle = fopen(path, "rb");
	char	   *content = calloc(1, 1024 * 1024);

	if (handle == NULL || content == NULL)
		exit(2);
	file.length = fread(content, 1, 1024 * 1024 - 1, handle);
	fclose(handle);
	file.content = content;
	file.is_text = memchr(content, '\0', file.length) == NULL;
	file.is_binary = true;
	return file;
}

/* import_config -- the config as a gateway may have it */
static void
import_config(void *unused)
{
	bool		openvpn = strcmp(arguments[2], "openvpn") == 0;

	rendered = openvpn ? config_openvpn_import(config, &imported) : config_wireguard_import(config, &imported);
	if (openvpn)
		config_openvpn_check(rendered);
	else
		config_wireguard_check(rendered);
}

/* render -- what the command line says */
static void
render(void *unused)
{
	if (strcmp(arguments[1], "openvpn") == 0)
	{
		EgressOpenvpnCredential credential = {0};

		if (argument_count > 2 && *arguments[2])
		{
			credential.username = arguments[2];
			credential.password = arguments[3];
		}
		if (argument_count > 4)
		{
			credential.client_certificate = arguments[4];
			credential.client_key = arguments[5];
		}
		config_openvpn_check(config);
		rendered = config_openvpn_render(config, &credential);
	}
	else
	{
		config_wireguard_check(config);
		rendered = argument_count > 2 ? config_wireguard_render(config, &(EgressWireguardCredential) {.private_key = arguments[2]}) : config;
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
	if (strcmp(argv[1], "import") == 0)
	{
		EgressConfigFile *files = argc < 3 ? NULL : calloc(argc, sizeof(EgressConfigFile));

		if (files == NULL)
			return 2;
		for (int i = 3; i < argc; i++)
			files[i - 3] = read_file(argv[i]);
		beside = (EgressConfigFiles) {files, argc - 3};
		config_sort_files(&beside);
		imported.files = &beside;
	}
	if (!attempt(strcmp(argv[1], "import") == 0 ? import_config : render, NULL))
	{
		fprintf(stderr, "%s: %s\nDETAIL: %s\nHINT: %s\n",
				standalone_error.code == ERRCODE_EGRESS_CONFIG ? "NG007" : "other",
				standalone_error.message, standalone_error.detail, standalone_error.hint);
		return 1;
	}
	for (int i = 0; i < list_length(imported.removed); i++)
	{
		const EgressConfigRemoval *removal = imported.removed->elements[i].ptr_value;

		fprintf(stderr, "line %d: %s: %s\n", removal->number, removal->directive ? removal->directive : "-", removal->reason);
	}
	fwrite(VARDATA(rendered), 1, VARSIZE(rendered) - VARHDRSZ, stdout);
	return 0;
}
