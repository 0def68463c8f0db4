/*
 * format.c - which formats there are, and how a stack of nodes is opened.
 *
 * block_open() opens a file, finds its format and lets the format open its
 * backing file by block_open_backing(), which comes back here with one more
 * link in a chain of files: so a file that is its own ancestor is found before
 * it is locked, and a chain has an end.
 */
#include "block/format.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "block/fault.h"
#include "block/lock.h"
#include "block/posix.h"

#define FORMAT_HEAD 4096u

/* Each file that is being opened, from the innermost outwards. */
struct block_chain {
	const struct block_chain *up;
	unsigned depth;
	dev_t dev;
	ino_t ino;
};

const struct block_format *const block_formats[] = {
	&block_raw,
	&block_qcow2,
	&block_vmdk,
	NULL,
};

const struct block_format *block_format_find(const char *name)
{
	for (unsigned i = 0; block_formats[i]; i++)
		if (!strcmp(block_formats[i]->ops->name, name))
			return block_formats[i];
	return NULL;
}

const struct block_format *format_probe(const void *head, size_t len)
{
	const struct block_format *best = &block_raw;
	int sure = 1;

	for (unsigned i = 0; block_formats[i]; i++) {
		int n = block_formats[i]->probe(head, len);

		if (n > sure) {
			sure = n;
			best = block_formats[i];
		}
	}
	return best;
}

/* --- One file ------------------------------------------------------------- */

static int format_link(struct block_chain *link, const struct block_open *how,
		       struct block *file, struct err *err)
{
	struct stat st;

	if (fstat(posix_fd(file), &st))
		return err_set(err, errno, "%s: %s", how->path,
			       strerror(errno));
	*link = (struct block_chain){ .up = how->chain,
				      .depth = how->chain
						       ? how->chain->depth + 1
						       : 0,
				      .dev = st.st_dev,
				      .ino = st.st_ino };
	for (const struct block_chain *l = how->chain; l; l = l->up)
		if (l->dev == link->dev && l->ino == link->ino)
			return err_set(err, ELOOP,
				       "%s is its own backing file: the chain "
				       "of backing files is a loop",
				       how->path);
	if (link->depth > BLOCK_CHAIN_MAX)
		return err_set(err, ELOOP,
			       "%s: the chain has more than %d backing files; "
			       "shorten it with 'hostel disk commit'",
			       how->path, BLOCK_CHAIN_MAX);
	return 0;
}

static int format_open_file(struct block **out, const struct block_open *how,
			    struct block_chain *link, struct err *err)
{
	struct block *file;
	int rc = posix_open(&file, how, err);

	if (rc < 0)
		return rc;
	rc = format_link(link, how, file, err);
	if (rc == 0 && !how->no_lock)
		rc = lock_image(posix_fd(file), !how->readonly, how->path, err);
	if (rc == 0 && how->fault)
		rc = fault_push(&file, how->fault, true, err);
	if (rc < 0)
		block_close(file);
	else
		*out = file;
	return rc;
}

int block_open_file(struct block **out, const struct block_open *how,
		    struct err *err)
{
	struct block_chain link;

	return format_open_file(out, how, &link, err);
}

/* --- Which format --------------------------------------------------------- */

static int format_by_content(const struct block_format **out,
			     struct block *file, struct err *err)
{
	uint8_t *head = calloc(1, FORMAT_HEAD);
	uint64_t size = atomic_load(&file->size);
	size_t len = size < FORMAT_HEAD ? size : FORMAT_HEAD;
	int rc = head ? block_read(file, head, 0, len) : -ENOMEM;

	if (rc == 0)
		*out = format_probe(head, len);
	else
		err_set(err, -rc, "%s: cannot read: %s", file->path,
			strerror(-rc));
	free(head);
	return rc;
}

static int format_by_name(const struct block_format **out,
			  const struct block_open *how, struct err *err)
{
	*out = block_format_find(how->format);
	if (*out)
		return 0;
	return err_set(err, EINVAL, "%s: there is no disk format called '%s'",
		       how->path, how->format);
}

static int format_choose(const struct block_format **out, struct block *file,
			 const struct block_open *how, struct err *err)
{
	return how->format ? format_by_name(out, how, err)
			   : format_by_content(out, file, err);
}

/* --- A stack -------------------------------------------------------------- */

/* The node above `file`, which it takes over. */
static int format_stack(struct block **out, struct block *file,
			const struct block_open *how, struct err *err)
{
	struct block *b = calloc(1, sizeof(*b));
	const struct block_format *format = NULL;
	int rc;

	if (b)
		b->path = strdup(how->path);
	if (!b || !b->path) {
		free(b);
		block_close(file);
		return err_set(err, ENOMEM, "out of memory");
	}
	b->file = file;
	b->readonly = how->readonly;
	rc = format_choose(&format, file, how, err);
	if (rc == 0)
		rc = format->open(b, how, err);
	if (rc < 0) {
		block_close(b); /* ops are not set: only what lies below */
		return rc;
	}
	b->ops = format->ops;
	*out = b;
	return 0;
}

/* What lies on top of the format. */
static int format_filters(struct block **b, const struct block_open *how,
			  struct err *err)
{
	int rc = how->fault ? fault_push(b, how->fault, false, err) : 0;

	if (rc == 0 && (how->throttle.bps || how->throttle.iops))
		rc = throttle_push(b, &how->throttle, err);
	(*b)->writethrough = how->cache == BLOCK_CACHE_WRITETHROUGH;
	return rc;
}

int block_open(struct block **out, const struct block_open *how,
	       struct err *err)
{
	struct block *b = NULL;
	struct block_chain link;
	struct block_open below = *how;
	struct block *file;
	int rc = format_open_file(&file, how, &link, err);

	if (rc < 0)
		return rc;
	below.chain = &link;
	rc = format_stack(&b, file, &below, err);
	if (rc == 0)
		rc = format_filters(&b, how, err);
	if (rc < 0)
		block_close(b);
	else
		*out = b;
	return rc;
}

/* --- Backing files -------------------------------------------------------- */

/* QEMU's images may name what is no file of this host. */
static int format_check_name(const char *image, const char *file,
			     struct err *err)
{
	static const char *const refused[] = {
		"json:", "nbd:", "nbd+unix:", "http:",  "https:", "ftp:",
		"ftps:", "ssh:", "rbd:",      "iscsi:", "nfs:",   "gluster:"
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (!strncmp(file, refused[i], strlen(refused[i])))
			return err_set(err, ENOTSUP,
				       "%s: its backing file '%s' is not a "
				       "file of this host; name one with "
				       "'hostel disk rebase'",
				       image, file);
	return 0;
}

/* A name in an image is relative to the image. The caller's to free. */
static char *format_resolve(const char *image, const char *file)
{
	const char *slash = strrchr(image, '/');
	char *path;

	if (!strncmp(file, "file:", 5))
		file += 5;
	if (file[0] == '/' || !slash)
		return strdup(file);
	if (asprintf(&path, "%.*s/%s", (int)(slash - image), image, file) < 0)
		return NULL;
	return path;
}

int block_open_backing(struct block *b, const struct block_open *how,
		       const char *file, const char *format, struct err *err)
{
	struct block_open backing = { .format = format,
				      .readonly = true,
				      .no_lock = how->no_lock,
				      .cache = how->cache,
				      .chain = how->chain };
	char *path;
	int rc = format_check_name(how->path, file, err);

	if (rc < 0)
		return rc;
	path = format_resolve(how->path, file);
	if (!path)
		return err_set(err, ENOMEM, "out of memory");
	backing.path = path;
	rc = block_open(&b->backing, &backing, err);
	if (rc < 0 && rc != -ELOOP)
		err_prefix(err, "backing file of %s", how->path);
	free(path);
	return rc;
}
