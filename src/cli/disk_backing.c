/* disk_backing.c - hostel disk commit, rebase. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "block/copy.h"
#include "cli/disk.h"
#include "cli/interrupt.h"

static int disk_no_backing(struct block *b, const struct block_info *i,
			   struct err *err)
{
	return i->backing ? 0
			  : err_set(err, EINVAL, "%s: has no backing file",
				    b->path);
}

/* --- commit --------------------------------------------------------------- */

static const struct opt disk_commit_opts[] = {
	{ "keep", NULL, OPT_FLAG, "do not empty the image afterwards" },
	{ NULL },
};

static int disk_commit_base(const char *path, const struct block_info *i,
			    struct block **out, struct err *err)
{
	struct block top = { .path = (char *)path };
	struct block_open how = { .path = path, .no_lock = true };
	int rc = block_open_backing(&top, &how, i->backing, i->backing_format,
				    err);
	struct block_open base = { .format = i->backing_format,
				   .discard = true };

	if (rc)
		return rc;
	/* Only to learn where it lies; now for writing. */
	base.path = strdup(top.backing->path);
	if (!base.format)
		base.format = top.backing->ops->name;
	block_close(top.backing);
	rc = base.path ? block_open(out, &base, err)
		       : err_set(err, ENOMEM, "out of memory");
	free((char *)base.path);
	return rc;
}

static int disk_commit_empty(struct block *b, struct err *err)
{
	uint64_t size = atomic_load(&b->size);
	int rc = block_discard(b, 0, size);

	if (!rc)
		rc = block_flush(b);
	return rc ? err_set(err, -rc,
			    "%s: committed, but cannot be emptied: %s", b->path,
			    strerror(-rc))
		  : 0;
}

static int disk_commit_into(const struct disk_args *a, struct block *b,
			    const struct block_info *i, struct err *err)
{
	struct block_copy how = { .progress = disk_progress };
	struct block *base = NULL;
	int rc = disk_no_backing(b, i, err);

	if (!rc)
		rc = disk_commit_base(a->word[0], i, &base, err);
	interrupt_hold();
	if (!rc)
		rc = copy_commit(b, base, &how, err);
	block_close(base);
	/* The base is flushed: only now may the image forget. */
	if (!rc && !disk_flag(a, "keep"))
		rc = disk_commit_empty(b, err);
	return rc;
}

static int disk_commit_run(const struct disk_args *a, struct err *err)
{
	struct block_open how = { .path = a->word[0],
				  .no_backing = true,
				  .discard = true };
	struct block_info i;
	struct block *b;
	int rc = block_open(&b, &how, err);

	if (rc)
		return rc;
	rc = block_get_info(b, &i);
	if (rc) {
		err_set(err, -rc, "%s: %s", b->path, strerror(-rc));
	} else {
		rc = disk_commit_into(a, b, &i, err);
		free(i.backing);
		free(i.backing_format);
	}
	block_close(b);
	return rc;
}

const struct disk_verb disk_commit = {
	"commit",
	"FILE",
	1,
	1,
	disk_commit_opts,
	disk_commit_run,
	"write what an image holds into its backing file",
};

/* --- rebase --------------------------------------------------------------- */

static const struct opt disk_rebase_opts[] = {
	{ "backing", "FILE", OPT_STRING, "the new one; '' for none" },
	{ "backing-format", "FORMAT", OPT_STRING, "of that image" },
	{ "unsafe", NULL, OPT_FLAG,
	  "only change the name: the content must be the same" },
	{ NULL },
};

/* Without a format in the image the next reader would have to guess. */
static int disk_rebase_name(struct block *b, const char *base,
			    const char *format, struct err *err)
{
	if (!b->ops->set_backing)
		return err_set(err, ENOTSUP,
			       "%s: %s images have no backing "
			       "file",
			       b->path, b->ops->name);
	return b->ops->set_backing(b, base[0] ? base : NULL, format, err);
}

static int disk_rebase_safe(const struct disk_args *a, struct block *b,
			    const char *base, const char *format,
			    struct err *err)
{
	struct block_copy how = { .progress = disk_progress };
	struct block top = { .path = (char *)a->word[0] };
	struct block_open open = { .path = a->word[0] };
	int rc = 0;

	if (base[0])
		rc = block_open_backing(&top, &open, base, format, err);
	interrupt_hold();
	if (!rc)
		rc = copy_rebase(b, top.backing, &how, err);
	if (!rc)
		rc = disk_rebase_name(
			b, base,
			format || !base[0] ? format : top.backing->ops->name,
			err);
	block_close(top.backing);
	return rc;
}

static int disk_rebase_run(const struct disk_args *a, struct err *err)
{
	const char *base = disk_string(a, "backing");
	const char *format = disk_string(a, "backing-format");
	bool unsafe = disk_flag(a, "unsafe");
	struct block_open how = { .path = a->word[0], .no_backing = unsafe };
	struct block *b;
	int rc;

	if (!base)
		return err_set(err, EINVAL,
			       "say which backing file: --backing FILE, or "
			       "--backing '' for none");
	rc = block_open(&b, &how, err);
	if (rc)
		return rc;
	if (unsafe)
		rc = disk_rebase_name(b, base, format, err);
	else
		rc = disk_rebase_safe(a, b, base, format, err);
	block_close(b);
	return rc;
}

const struct disk_verb disk_rebase = {
	"rebase",
	"FILE",
	1,
	1,
	disk_rebase_opts,
	disk_rebase_run,
	"put an image on another backing file; it reads as before",
};
