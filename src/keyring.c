/*
 * keyring.c -- the setting egress.secret_key_file, and the keys in that file
 *
 * The key file is outside the database, so that no dump, no table and no statement holds a key. Each of its lines is a
 * key, 32 bytes in base64: the first seals, all of them open. A backend reads the file when it first needs a key, and
 * again after a reload of the server's configuration, and when it is to open a secret and does not have the key. A file
 * that cannot be used is tried again each time, so that putting it right is enough.
 *
 * Only the server's configuration may say where the file is: whoever chooses it knows the keys, and whoever can unset
 * it has secrets stored as they are. PGC_SIGHUP ensures that while the library is loaded. Before that, the setting is
 * a placeholder that anybody may set. What SET did then, the definition of the setting below refuses and undoes. But
 * what ALTER ROLE, ALTER DATABASE or the connection's options said has replaced the configuration's value by then, and
 * when it is refused, the setting seems not to be set. keyring_init() finds that out, and nothing is sealed or opened
 * in such a session.
 *
 * Keys live in memory of sodium_malloc(): locked if the system allows it, between guard pages, wiped when freed. The
 * buffers that the file goes through are wiped on every way out; nothing between their filling and their wiping raises
 * an error.
 */
#include "keyring.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"

#define SETTING "egress.secret_key_file"

/* some thousand keys: what is larger is not a key file */
#define KEY_FILE_MAX_SIZE 65536

/* what a key's id is a fingerprint of, beside the key: nothing else that is ever derived from a key is the same */
#define KEY_ID_LABEL "egress key id"

static char *secret_key_file;	/* the setting */
static bool masked;				/* this session replaced the configuration's value; see the top of this file */

static EgressSecretKey *keys;	/* in sodium_malloc() memory, or NULL */
static int	key_count;
static bool loaded;				/* keys are those of the file, as of this reload: */
static TimestampTz loaded_at;
static char problem[MAXPGPATH + 256];	/* why there are none, as a sentence */

static const char UNUSABLE[] = "The key file that is configured cannot be used; the server's log says why.";

/* keyring_init -- define the setting; once, when the library is loaded */
void
keyring_init(void)
{
	struct config_generic *placeholder = egress_find_setting(SETTING);

	/* sources are in the order of their strength; up to here they are the server's own */
	masked = placeholder != NULL && placeholder->reset_source > PGC_S_ARGV;

	DefineCustomStringVariable(SETTING,
							   "File with the keys that secrets are sealed under.",
							   "Each line is a key, 32 bytes in base64: the first seals, all of them open. "
							   "Without a key file, secrets are stored as they are.",
							   &secret_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	MarkGUCPrefixReserved("egress");
}

/* forget -- wipe the keys */
static void
forget(void)
{
	sodium_free(keys);			/* wipes; NULL is fine */
	keys = NULL;
	key_count = 0;
	loaded = false;
}

static bool fail(const char *format,...) pg_attribute_printf(1, 2);

/* fail -- remember why the key file cannot be used; returns false */
static bool
fail(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(problem, sizeof(problem), format, args);
	va_end(args);
	return false;
}

/* read_file -- check an open key file and read it whole; false when it cannot be used. *size is 0 before */
static bool
read_file(int fd, const char *path, char *buffer, size_t *size)
{
	struct stat status;
	ssize_t		got;

	/* of what was opened, not of the path: the two may differ by now */
	if (fstat(fd, &status) != 0)
		return fail("Key file \"%s\" cannot be examined: %m.", path);
	if (!S_ISREG(status.st_mode))
		return fail("Key file \"%s\" is not a regular file.", path);
	if (status.st_uid != geteuid())
		return fail("Key file \"%s\" belongs to user %u, and has to belong to the server's user %u.",
					path, (unsigned) status.st_uid, (unsigned) geteuid());
	if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return fail("Key file \"%s\" is open to others: its mode is %04o, and has to be 0600 or 0400.",
					path, (unsigned) (status.st_mode & 07777));

	do
	{
		got = read(fd, buffer + *size, KEY_FILE_MAX_SIZE + 1 - *size);
		if (got > 0)
			*size += got;
	} while ((got > 0 && *size <= KEY_FILE_MAX_SIZE) || (got < 0 && errno == EINTR));

	if (got < 0)
		return fail("Key file \"%s\" cannot be read: %m.", path);
	if (*size > KEY_FILE_MAX_SIZE)
		return fail("Key file \"%s\" is larger than %d bytes.", path, KEY_FILE_MAX_SIZE);
	return true;
}

/* add_key -- take the next key from a line of the file; false when it is none */
static bool
add_key(const char *line, size_t length)
{
	EgressSecretKey *key = &keys[key_count];
	unsigned char fingerprint[crypto_generichash_BYTES_MIN];
	size_t		size = 0;

	if (sodium_base642bin(key->bytes, sizeof(key->bytes), line, length, NULL, &size, NULL,
						  sodium_base64_VARIANT_ORIGINAL) != 0 ||
		size != sizeof(key->bytes))
		return false;

	crypto_generichash(fingerprint, sizeof(fingerprint),
					   (const unsigned char *) KEY_ID_LABEL, strlen(KEY_ID_LABEL),
					   key->bytes, sizeof(key->bytes));
	sodium_bin2hex(key->id, sizeof(key->id), fingerprint, KEY_ID_LENGTH / 2);
	key_count++;
	return true;
}

/* parse -- make the lines of a key file the keys; false when it cannot be used */
static bool
parse(const char *path, const char *buffer, size_t size)
{
	const char *end = buffer + size;
	int			line_number = 1;

	/* a line with a key is longer than a key */
	keys = sodium_allocarray(size / crypto_aead_xchacha20poly1305_ietf_KEYBYTES + 1, sizeof(EgressSecretKey));
	if (keys == NULL)
		return fail("There is not enough memory for the keys of \"%s\".", path);

	for (const char *line = buffer; line < end; line_number++)
	{
		const char *newline = memchr(line, '\n', end - line);
		const char *stop = newline != NULL ? newline : end;
		const char *next = newline != NULL ? newline + 1 : end;

		while (line < stop && (*line == ' ' || *line == '\t'))
			line++;
		while (line < stop && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\r'))
			stop--;
		if (line < stop && !add_key(line, stop - line))
			return fail("Line %d of key file \"%s\" is not 32 bytes in base64.", line_number, path);
		line = next;
	}
	if (key_count == 0)
		return fail("Key file \"%s\" holds no key.", path);

	sodium_mprotect_readonly(keys);
	return true;
}

/*
 * read_keys -- read the key file; false when it cannot be used
 *
 * It may be on a disk that is slow, or on another machine: that is a wait event of its own.
 */
static bool
read_keys(const char *path)
{
	char	   *buffer;
	int			fd;
	size_t		size = 0;
	bool		usable;

	buffer = palloc(KEY_FILE_MAX_SIZE + 1);
	pgstat_report_wait_start(egress_wait_event("EgressKeyFileRead"));
	/* not to wait for a writer, should it be a pipe */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK);
	usable = fd < 0 ? fail("Key file \"%s\" cannot be opened: %m.", path) : read_file(fd, path, buffer, &size);
	pgstat_report_wait_end();
	usable = usable && parse(path, buffer, size);
	sodium_memzero(buffer, KEY_FILE_MAX_SIZE + 1);
	pfree(buffer);
	if (fd >= 0)
		CloseTransientFile(fd);
	return usable;
}

/*
 * keyring_load -- have the keys ready, as of the last reload of the configuration
 *
 * Called before any other function of this file, and by itself raises no error: what an unusable key file means is the
 * caller's to say.
 */
EgressKeyringState
keyring_load(void)
{
	char		path[MAXPGPATH];

	if (masked)
	{
		fail(SETTING " was set for this role, database or connection; only the server's configuration can set it.");
		return KEYRING_UNUSABLE;
	}
	if (loaded && loaded_at == PgReloadTime)
		return KEYRING_READY;

	forget();
	if (secret_key_file[0] == '\0')
		return KEYRING_UNSET;

	if (is_absolute_path(secret_key_file))
		strlcpy(path, secret_key_file, sizeof(path));
	else
		snprintf(path, sizeof(path), "%s/%s", DataDir, secret_key_file);
	if (!read_keys(path))
	{
		forget();
		return KEYRING_UNUSABLE;
	}
	loaded = true;
	loaded_at = PgReloadTime;
	return KEYRING_READY;
}

/*
 * keyring_problem -- why the keyring is KEYRING_UNUSABLE: a sentence for the detail of a message in the server's log
 *
 * It names the file, its owner and its mode, but nothing of its content.
 */
const char *
keyring_problem(void)
{
	return problem;
}

/*
 * keyring_problem_for_client -- the same, as the client may know it
 *
 * Where the file is, the server tells those only who may read the setting. That is asked of the user whom the client is:
 * the functions that come here run with the rights of the extension's owner.
 */
const char *
keyring_problem_for_client(void)
{
	return masked || has_privs_of_role(GetOuterUserId(), ROLE_PG_READ_ALL_SETTINGS) ? problem : UNUSABLE;
}

/* keyring_active -- the key that seals; before: KEYRING_READY */
const EgressSecretKey *
keyring_active(void)
{
	return &keys[0];
}

/* keyring_find -- the key with this id, NULL when there is none; reads no file */
const EgressSecretKey *
keyring_find(const char *id)
{
	for (int i = 0; i < key_count; i++)
		if (memcmp(keys[i].id, id, KEY_ID_LENGTH) == 0)
			return &keys[i];
	return NULL;
}

/*
 * keyring_load_anew -- have the keys ready that are in the file now
 *
 * For who is to open a secret, and keyring_find() has no key. A backend reads the configuration again between two
 * statements only; when a new first key was reloaded during this one, and a rotation committed, it meets secrets that are
 * sealed under that.
 */
void
keyring_load_anew(void)
{
	loaded = false;
	(void) keyring_load();
}
