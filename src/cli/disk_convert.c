/*
 * disk_convert.c - hostel disk convert: under another name beside the target,
 * which gets its own name when it is whole.
 *
 *	target		DIR/disk.qcow2		DIR/disk.vmdk
 *	until then	DIR/.disk.qcow2.N.part	DIR/.disk.vmdk.N.part/disk.vmdk
 *
 * A vmdk disk can be several files that name each other, so they are made in
 * a directory of their own, by the names that they will have.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "block/copy.h"
#include "cli/disk.h"
#include "cli/interrupt.h"

static const struct opt disk_convert_opts[] = {
	{ "from", "FORMAT", OPT_STRING, "of the source, not by its content" },
	DISK_OPTS_NEW,
	{ "compress", NULL, OPT_FLAG, "qcow2, vmdk: pack what is written" },
	{ "jobs", "N", OPT_COUNT, "threads (default: one a processor)" },
	{ NULL },
};

struct convert {
	const char *target;
	char *part; /* file or directory */
	char *file; /* the image until it is whole */
	bool several, force;
};

/* --- Names ---------------------------------------------------------------- */

/* Beside the target, so that a backing file's name stays right. */
static int convert_names(struct convert *c, struct err *err)
{
	const char *path = c->target, *slash = strrchr(path, '/');
	int n = slash ? (int)(slash - path) + 1 : 0;

	if (asprintf(&c->part, "%.*s.%s.%d.part", n, path, path + n, getpid()) <
	    0)
		c->part = NULL;
	if (c->part &&
	    asprintf(&c->file, "%s%s%s", c->part, c->several ? "/" : "",
		     c->several ? path + n : "") < 0)
		c->file = NULL;
	if (!c->file)
		return err_set(err, ENOMEM, "out of memory");
	if (c->several && mkdir(c->part, 0777))
		return err_set(err, errno, "cannot create %s: %s", path,
			       strerror(errno));
	return 0;
}

static int convert_rename(const struct convert *c, const char *from,
			  const char *to, struct err *err)
{
	int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to,
			   c->force ? 0 : RENAME_NOREPLACE);

	if (rc && errno == EINVAL && !c->force)
		rc = access(to, F_OK) ? rename(from, to) : (errno = EEXIST, -1);
	return rc ? err_set(err, errno, "cannot create %s: %s", to,
			    strerror(errno))
		  : 0;
}

/* Renames or (err NULL) removes what lies beside the image in its directory. */
static int convert_each(const struct convert *c, struct err *err)
{
	const char *slash = strrchr(c->target, '/');
	int n = slash ? (int)(slash - c->target) + 1 : 0, rc = 0;
	DIR *dir = opendir(c->part);
	struct dirent *e;

	while (dir && !rc && (e = readdir(dir))) {
		char from[4096], to[4096];

		if (e->d_name[0] == '.' || !strcmp(e->d_name, c->target + n))
			continue;
		snprintf(from, sizeof(from), "%s/%s", c->part, e->d_name);
		snprintf(to, sizeof(to), "%.*s%s", n, c->target, e->d_name);
		if (err)
			rc = convert_rename(c, from, to, err);
		else
			unlink(from);
	}
	if (dir)
		closedir(dir);
	return rc;
}

/* The image itself last: who finds it finds all of it. */
static int convert_finish(const struct convert *c, struct err *err)
{
	int rc = c->several ? convert_each(c, err) : 0;

	return rc ? rc : convert_rename(c, c->file, c->target, err);
}

static void convert_remove(const struct convert *c)
{
	if (c->file)
		unlink(c->file);
	if (c->file && c->several) {
		convert_each(c, NULL);
		rmdir(c->part);
	}
}

/* A person knows the target, not what it is called until it is whole. */
static void convert_own_words(const struct convert *c, struct err *err)
{
	char *at = c->file ? strstr(err->msg, c->file) : NULL;
	struct err old = *err;

	if (at)
		snprintf(err->msg, sizeof(err->msg), "%.*s%s%s",
			 (int)(at - err->msg), old.msg, c->target,
			 old.msg + (at - err->msg) + strlen(c->file));
}

/* --- Content -------------------------------------------------------------- */

static int convert_copy(const struct disk_args *a, struct block *from,
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
	if (rc) /* what closing it would complain of is thrown away */
		log_set_level(-1);
	block_close(to);
	log_set_level(LOG_WARN);
	return rc;
}

static int convert_make(const struct disk_args *a, struct convert *c,
			struct block *from, struct block_create *how,
			struct err *err)
{
	int rc = convert_names(c, err);

	if (rc)
		return rc;
	how->path = c->file;
	how->force = true;
	rc = block_create(how, err);
	if (!rc)
		rc = convert_copy(a, from, how, err);
	if (!rc)
		rc = convert_finish(c, err);
	return rc;
}

static int convert_to(const struct disk_args *a, struct block *from,
		      struct block_create *how, struct err *err)
{
	struct convert c = { .target = how->path,
			     .several = !strcmp(how->format, "vmdk"),
			     .force = how->force };
	int rc = block_create_check(how, err);

	if (rc)
		return rc;
	interrupt_hold();
	rc = convert_make(a, &c, from, how, err);
	if (rc == -ECANCELED)
		err_set(err, ECANCELED, "interrupted: there is no %s",
			c.target);
	if (rc)
		convert_own_words(&c, err);
	convert_remove(&c);
	free(c.file);
	free(c.part);
	return rc;
}

/* A link to it is refused as one, below. */
static bool convert_same_file(const char *from, const char *to)
{
	struct stat a, b;

	return !stat(from, &a) && !lstat(to, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
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
	if (!rc && convert_same_file(a->word[0], a->word[1]))
		rc = err_set(err, EINVAL,
			     "%s is source and target; give the new image "
			     "another name",
			     a->word[1]);
	how.progress = NULL; /* the copy's own says it all */
	if (!rc)
		rc = block_open(&from, &open, err);
	if (rc)
		return rc;
	how.size = atomic_load(&from->size);
	rc = convert_to(a, from, &how, err);
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
