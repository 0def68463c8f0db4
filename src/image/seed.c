#include "image/seed.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "image/home.h"

/* A key's comment is a person's free text: quotes would end ours. */
static void seed_put_key(FILE *f, const char *key)
{
	fputs("  - \"", f);
	for (; *key && *key != '\n' && *key != '\r'; key++)
		if (*key != '"' && *key != '\\')
			fputc(*key, f);
	fputs("\"\n", f);
}

char *seed_meta_data(const struct seed *seed)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f, "instance-id: %s\nlocal-hostname: %s\n", seed->instance_id,
		seed->name);
	if (seed->key_count)
		fputs("public-keys:\n", f);
	for (unsigned i = 0; i < seed->key_count; i++)
		seed_put_key(f, seed->keys[i]);
	if (seed->meta_data)
		fputs(seed->meta_data, f);
	return fclose(f) ? NULL : text;
}

static bool seed_add(struct archive *a, const char *name, const char *text)
{
	struct archive_entry *e = archive_entry_new();
	size_t len = strlen(text);
	bool ok;

	if (!e)
		return false;
	archive_entry_set_pathname(e, name);
	archive_entry_set_size(e, (la_int64_t)len);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_mtime(e, time(NULL), 0);
	ok = archive_write_header(a, e) == ARCHIVE_OK &&
	     archive_write_data(a, text, len) == (la_ssize_t)len;
	archive_entry_free(e);
	return ok;
}

/* Rock Ridge keeps the names as they are. */
static bool seed_fill(struct archive *a, const char *path, const char *meta,
		      const char *user)
{
	return archive_write_set_format_iso9660(a) == ARCHIVE_OK &&
	       archive_write_set_options(a, "volume-id=cidata,joliet,"
					    "rockridge") == ARCHIVE_OK &&
	       archive_write_open_filename(a, path) == ARCHIVE_OK &&
	       seed_add(a, "meta-data", meta) &&
	       seed_add(a, "user-data", user) &&
	       archive_write_close(a) == ARCHIVE_OK;
}

int seed_write(const char *path, const struct seed *seed, struct err *err)
{
	struct archive *a = archive_write_new();
	char temp[PATH_MAX];
	char *meta = seed_meta_data(seed);
	const char *user =
		seed->user_data ? seed->user_data : "#cloud-config\n";
	int rc = home_path(temp, err, "%s.new", path);

	if (!rc && (!a || !meta))
		rc = err_set(err, ENOMEM, "out of memory");
	if (!rc && (!seed_fill(a, temp, meta, user) || rename(temp, path)))
		rc = err_set(err, EIO, "cannot write the seed %s: %s", path,
			     archive_error_string(a) ? archive_error_string(a)
						     : strerror(errno));
	if (rc)
		unlink(temp);
	archive_write_free(a);
	free(meta);
	return rc;
}
