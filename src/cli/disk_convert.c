/*
 * disk_convert.c - hostel disk convert: into a file beside the target, which
 * gets its name when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block/copy.h"
#include "cli/disk.h"

static const struct opt disk_convert_opts[] = {
	{ "from", "FORMAT", OPT_STRING, "of the source, not by its content" },
	DISK_OPTS_NEW,
	{ "compress", NULL, OPT_FLAG, "qcow2, vmdk: pack what is written" },
	{ "jobs", "N", OPT_COUNT, "threads (default: one a processor)" },
	{ NULL },
};

static int disk_convert_copy(const struct disk_args *a, struct block *from,
			     const struct block_create *how, struct err *err)
{
	/* Whole at the end or not there at all: no flush on the way counts. */
	struct block_open open = { .path = how->path, .format = how->format };
	struct block_copy copy = { .compress = disk_flag(a, "compress"),
				   .progress = disk_progress };
	struct block *to;
	int rc = disk_count(a, "jobs", 16, &copy.workers, err);

	if (!rc)
		rc = block_open(&to, &open, err);
	if (rc)
		return rc;
	rc = copy_disk(from, to, &copy, err);
	block_close(to);
	return rc;
}

static int disk_convert_rename(const char *from, const char *to, bool force,
			       struct err *err)
{
	int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to,
			   force ? 0 : RENAME_NOREPLACE);

	if (rc && errno == EINVAL && !force)
		rc = access(to, F_OK) ? rename(from, to) : (errno = EEXIST, -1);
	return rc ? err_set(err, errno, "cannot create %s: %s", to,
			    strerror(errno))
		  : 0;
}

/* A name beside the target, so that a backing file's name stays right. */
static char *disk_convert_temp(const char *path)
{
	const char *slash = strrchr(path, '/');
	int n = slash ? (int)(slash - path) + 1 : 0;
	char *temp;

	if (asprintf(&temp, "%.*s.%s.%d.part", n, path, path + n, getpid()) < 0)
		return NULL;
	return temp;
}

/*
 * The target's own name is made first, empty: it finds out whether that is
 * possible before hours of work, and has block_create() say so.
 */
static int disk_convert_to(const struct disk_args *a, struct block *from,
			   struct block_create *how, struct err *err)
{
	const char *path = how->path;
	char *temp = disk_convert_temp(path);
	bool force = how->force;
	int rc;

	if (!temp)
		return err_set(err, ENOMEM, "out of memory");
	if (!force && access(path, F_OK) == 0) {
		free(temp);
		return err_set(err, EEXIST,
			       "%s exists already; remove it, or use --force "
			       "to replace it",
			       path);
	}
	how->path = temp;
	how->force = true;
	rc = block_create(how, err);
	if (!rc) {
		rc = disk_convert_copy(a, from, how, err);
		if (!rc)
			rc = disk_convert_rename(temp, path, force, err);
		if (rc)
			unlink(temp);
	}
	free(temp);
	return rc;
}

static int disk_convert_run(const struct disk_args *a, struct err *err)
{
	struct block_open open = { .path = a->word[0],
				   .format = disk_string(a, "from"),
				   .readonly = true };
	struct block_create how = { .path = a->word[1] };
	struct block *from;
	int rc = disk_new_image(a, &how, err);

	how.compressed = disk_flag(a, "compress");
	if (!rc && how.compressed && !strcmp(how.format, "raw"))
		rc = err_set(err, EINVAL,
			     "raw images are never compressed; take qcow2");
	how.progress = NULL; /* the copy's own says it all */
	if (!rc)
		rc = block_open(&from, &open, err);
	if (rc)
		return rc;
	how.size = atomic_load(&from->size);
	rc = disk_convert_to(a, from, &how, err);
	block_close(from);
	return rc;
}

const struct disk_verb disk_convert = {
	"convert",
	"SOURCE TARGET",
	2,
	2,
	disk_convert_opts,
	disk_convert_run,
	"copy a disk into a new image, of another kind if you like",
};
