/* disk_create.c - hostel disk create, info, resize. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cli/disk.h"
#include "cli/interrupt.h"
#include "machine/config.h"

/* How the field names it: what it is to us. */
static const struct {
	const char *name;
	enum block_prealloc how;
} disk_provisions[] = {
	{ "thin", BLOCK_PREALLOC_OFF },
	{ "metadata", BLOCK_PREALLOC_METADATA },
	{ "thick-lazy", BLOCK_PREALLOC_FALLOC },
	{ "thick-eager", BLOCK_PREALLOC_FULL },
};

static int disk_provision(const char *name, enum block_prealloc *out,
			  struct err *err)
{
	*out = BLOCK_PREALLOC_OFF;
	for (size_t i = 0;
	     i < sizeof(disk_provisions) / sizeof(*disk_provisions); i++) {
		*out = disk_provisions[i].how;
		if (!name || !strcmp(name, disk_provisions[i].name))
			return 0;
	}
	return err_set(err, EINVAL,
		       "--provision is thin, metadata, thick-lazy "
		       "or thick-eager, not '%.64s'",
		       name);
}

/* What only some formats have: words that would be forgotten are refused. */
static const struct {
	const char *option, *formats;
} disk_only[] = {
	{ "backing", "qcow2 vmdk" },  { "backing-format", "qcow2 vmdk" },
	{ "variant", "qcow2 vmdk" },  { "cluster-size", "qcow2 vmdk" },
	{ "refcount-bits", "qcow2" }, { "lazy-refcounts", "qcow2" },
	{ "compression", "qcow2" },
};

static int disk_check_only(const struct disk_args *a, const char *format,
			   struct err *err)
{
	for (size_t i = 0; i < sizeof(disk_only) / sizeof(disk_only[0]); i++)
		if (json_object_get(a->opts, disk_only[i].option) &&
		    !strstr(disk_only[i].formats, format))
			return err_set(err, EINVAL,
				       "--%s: %s images have no such thing",
				       disk_only[i].option, format);
	if (json_object_get(a->opts, "backing-format") &&
	    !json_object_get(a->opts, "backing"))
		return err_set(err, EINVAL,
			       "--backing-format is of the --backing file");
	return 0;
}

int disk_new_image(const struct disk_args *a, struct block_create *how,
		   struct err *err)
{
	const char *format = disk_string(a, "format");
	uint64_t cluster;
	int rc = disk_provision(disk_string(a, "provision"), &how->prealloc,
				err);

	if (!rc)
		rc = disk_size(a, "cluster-size", 0, &cluster, err);
	if (!rc)
		rc = disk_count(a, "refcount-bits", 64, &how->refcount_bits,
				err);
	if (rc)
		return rc;
	if (cluster > UINT32_MAX)
		return err_set(err, EINVAL, "--cluster-size is 512 to 2M");
	how->format = format ? format : "qcow2";
	if (!block_format_find(how->format))
		return err_set(err, EINVAL,
			       "there is no disk format called '%.64s'; take "
			       "raw, qcow2 or vmdk",
			       how->format);
	how->cluster_size = (uint32_t)cluster;
	how->variant = disk_string(a, "variant");
	how->backing = disk_string(a, "backing");
	how->backing_format = disk_string(a, "backing-format");
	how->compression = disk_string(a, "compression");
	how->lazy_refcounts = disk_flag(a, "lazy-refcounts");
	how->force = disk_flag(a, "force");
	how->progress = disk_progress;
	return disk_check_only(a, how->format, err);
}

/* --- create --------------------------------------------------------------- */

/*
 * What the image says of its backing file's format spares every later reader
 * from guessing, which a guest that writes a raw base could mislead.
 */
static int disk_backing_format(struct block_create *how, struct err *err)
{
	struct block top = { .path = (char *)how->path };
	struct block_open open = { .path = how->path, .no_lock = true };
	int rc;

	if (!how->backing || how->backing_format)
		return 0;
	rc = block_open_backing(&top, &open, how->backing, NULL, err);
	if (!rc)
		how->backing_format = top.backing->ops->name;
	block_close(top.backing);
	return rc;
}

static const struct opt disk_create_opts[] = {
	DISK_OPTS_NEW,
	{ NULL },
};

static int disk_create_run(const struct disk_args *a, struct err *err)
{
	struct block_create how = { .path = a->word[0] };
	int rc = disk_new_image(a, &how, err);

	if (!rc && a->words > 1)
		rc = vm_parse_size(a->word[1], &how.size, err);
	if (!rc && a->words < 2 && !how.backing)
		rc = err_set(err, EINVAL,
			     "a disk needs a size, as in: hostel "
			     "disk create %.200s 20G",
			     how.path);
	if (!rc)
		rc = disk_backing_format(&how, err);
	if (rc)
		return rc;
	interrupt_hold();
	rc = block_create(&how, err);
	return rc == -ECANCELED
		       ? err_set(err, ECANCELED,
				 "interrupted: there is no new %s", how.path)
		       : rc;
}

const struct disk_verb disk_create = {
	"create",
	"FILE [SIZE]",
	1,
	2,
	disk_create_opts,
	disk_create_run,
	"make an empty image, or one on top of another",
};

/* --- info ----------------------------------------------------------------- */

static const struct opt disk_info_opts[] = {
	{ "format", "FORMAT", OPT_STRING, "not by its content" },
	{ "chain", NULL, OPT_FLAG, "the backing files as well" },
	{ "json", NULL, OPT_FLAG, "for programs" },
	{ NULL },
};

static json_t *disk_info_snapshots(struct block *b)
{
	struct block_snapshot *list = NULL;
	unsigned n = 0;
	json_t *out = json_array();

	if (!b->ops->snapshot_list || b->ops->snapshot_list(b, &list, &n, NULL))
		return out;
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(
			out,
			json_pack("{s:s, s:s, s:I, s:I, s:I}", "id", list[i].id,
				  "name", list[i].name, "disk-size",
				  (json_int_t)list[i].disk_size,
				  "vm-state-size",
				  (json_int_t)list[i].vm_state_size, "date-ns",
				  (json_int_t)list[i].date_ns));
	free(list);
	return out;
}

static json_t *disk_info_json(struct block *b, const struct block_info *i)
{
	json_t *j =
		json_pack("{s:s, s:s, s:I, s:I}", "filename", b->path, "format",
			  i->format, "virtual-size", (json_int_t)i->size,
			  "actual-size", (json_int_t)i->allocated);

	if (i->cluster_size)
		json_object_set_new(j, "cluster-size",
				    json_integer(i->cluster_size));
	if (i->backing)
		json_object_set_new(j, "backing-filename",
				    json_string(i->backing));
	if (i->backing_format)
		json_object_set_new(j, "backing-format",
				    json_string(i->backing_format));
	if (i->detail[0])
		json_object_set_new(j, "detail", json_string(i->detail));
	json_object_set_new(j, "snapshots", disk_info_snapshots(b));
	return j;
}

static void disk_info_bytes(const char *name, uint64_t n)
{
	static const char units[] = "KMGTPE";
	double d = (double)n;
	int u = -1;

	while (d >= 1024 && u < 5) {
		d /= 1024;
		u++;
	}
	if (u < 0)
		printf("%-12s %llu bytes\n", name, (unsigned long long)n);
	else
		printf("%-12s %.4g %ciB (%llu bytes)\n", name, d, units[u],
		       (unsigned long long)n);
}

static void disk_info_text(const json_t *j)
{
	const json_t *list = json_object_get(j, "snapshots");
	const char *s;

	printf("image        %s\nformat       %s\n",
	       json_string_value(json_object_get(j, "filename")),
	       json_string_value(json_object_get(j, "format")));
	s = json_string_value(json_object_get(j, "detail"));
	if (s)
		printf("details      %s\n", s);
	disk_info_bytes("size", (uint64_t)json_integer_value(
					json_object_get(j, "virtual-size")));
	disk_info_bytes("on the host",
			(uint64_t)json_integer_value(
				json_object_get(j, "actual-size")));
	if (json_object_get(j, "cluster-size"))
		disk_info_bytes("cluster",
				(uint64_t)json_integer_value(
					json_object_get(j, "cluster-size")));
	s = json_string_value(json_object_get(j, "backing-filename"));
	if (s)
		printf("backing      %s\n", s);
	s = json_string_value(json_object_get(j, "backing-format"));
	if (s)
		printf("  of format  %s\n", s);
	for (size_t i = 0; i < json_array_size(list); i++)
		printf("snapshot     %s\n",
		       json_string_value(json_object_get(
			       json_array_get(list, i), "name")));
}

/* One entry for the image, and one for each backing file. */
static int disk_info_list(struct block *b, json_t *out, struct err *err)
{
	for (; b; b = b->backing) {
		struct block_info i;
		int rc = block_get_info(b, &i);

		if (rc)
			return err_set(err, -rc, "%s: %s", b->path,
				       strerror(-rc));
		json_array_append_new(out, disk_info_json(b, &i));
		free(i.backing);
		free(i.backing_format);
	}
	return 0;
}

static int disk_info_print(const struct disk_args *a, json_t *list)
{
	json_t *j;

	if (disk_flag(a, "json")) {
		j = disk_flag(a, "chain") ? list : json_array_get(list, 0);
		return disk_print_json(json_incref(j));
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (i)
			puts("");
		disk_info_text(json_array_get(list, i));
	}
	return 0;
}

static int disk_info_run(const struct disk_args *a, struct err *err)
{
	struct block_open how = { .path = a->word[0],
				  .format = disk_string(a, "format"),
				  .readonly = true,
				  .no_lock = true,
				  .no_backing = !disk_flag(a, "chain") };
	json_t *list = json_array();
	struct block *b;
	int rc = block_open(&b, &how, err);

	if (!rc) {
		rc = disk_info_list(b, list, err);
		block_close(b);
	}
	if (!rc)
		rc = disk_info_print(a, list);
	json_decref(list);
	return rc;
}

const struct disk_verb disk_info = {
	"info",
	"FILE",
	1,
	1,
	disk_info_opts,
	disk_info_run,
	"tell what an image is, also while a guest uses it",
};

/* --- resize --------------------------------------------------------------- */

static const struct opt disk_resize_opts[] = {
	{ "format", "FORMAT", OPT_STRING, "not by its content" },
	{ "shrink", NULL, OPT_FLAG, "cut off what lies behind the new end" },
	{ NULL },
};

/* "20G", "+5G", "-5G" */
static int disk_new_size(const char *s, uint64_t old, uint64_t *out,
			 struct err *err)
{
	bool more = s[0] == '+', less = s[0] == '-';
	int rc = vm_parse_size(s + (more || less), out, err);

	if (rc)
		return rc;
	if (more && *out > INT64_MAX - old)
		return err_set(err, EFBIG, "no disk is that large");
	if (less && *out >= old)
		return err_set(err, EINVAL, "the disk has only %llu bytes",
			       (unsigned long long)old);
	*out = more ? old + *out : less ? old - *out : *out;
	return *out ? 0 : err_set(err, EINVAL, "a disk needs a size");
}

static int disk_resize_open(const struct disk_args *a, struct block *b,
			    struct err *err)
{
	uint64_t old = atomic_load(&b->size), size;
	int rc = disk_new_size(a->word[1], old, &size, err);

	if (!rc && size < old && !disk_flag(a, "shrink"))
		rc = err_set(err, EINVAL,
			     "%s: that cuts off %llu bytes and what they hold; "
			     "say --shrink if you mean it",
			     b->path, (unsigned long long)(old - size));
	if (!rc)
		rc = block_resize(b, size, err);
	return rc;
}

static int disk_resize_run(const struct disk_args *a, struct err *err)
{
	struct block_open how = { .path = a->word[0],
				  .format = disk_string(a, "format"),
				  .discard = true };
	struct block *b;
	int rc = block_open(&b, &how, err);

	if (rc)
		return rc;
	rc = disk_resize_open(a, b, err);
	if (!rc) {
		rc = block_flush(b);
		if (rc)
			err_set(err, -rc, "%s: %s", b->path, strerror(-rc));
	}
	block_close(b);
	return rc;
}

const struct disk_verb disk_resize = {
	"resize",
	"FILE [+|-]SIZE",
	2,
	2,
	disk_resize_opts,
	disk_resize_run,
	"make an image larger or smaller",
};
