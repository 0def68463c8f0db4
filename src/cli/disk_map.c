/* disk_map.c - hostel disk map: what lies where. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cli/disk.h"

static const struct opt disk_map_opts[] = {
	{ "format", "FORMAT", OPT_STRING, "not by its content" },
	{ "json", NULL, OPT_FLAG, "for programs; also zeroes and holes" },
	{ NULL },
};

struct disk_map_run {
	uint64_t start, length, host;
	unsigned depth;
	enum block_extent_type type;
	bool direct; /* `host` says where in the file */
};

static struct block *disk_map_at(struct block *b, unsigned depth)
{
	while (depth-- && b->backing)
		b = b->backing;
	return b;
}

/* Does the second go on where the first ends? */
static bool disk_map_joins(const struct disk_map_run *a,
			   const struct disk_map_run *b)
{
	return a->type == b->type && a->depth == b->depth &&
	       a->direct == b->direct &&
	       (!a->direct || a->host + a->length == b->host);
}

static void disk_map_text(struct block *top, const struct disk_map_run *r)
{
	struct block *b = disk_map_at(top, r->depth);

	if (r->type != BLOCK_EXTENT_DATA)
		return;
	printf("%#-18llx %#-18llx ", (unsigned long long)r->start,
	       (unsigned long long)r->length);
	if (r->direct)
		printf("%#-18llx %s\n", (unsigned long long)r->host, b->path);
	else
		printf("%-18s %s\n", "compressed", b->path);
}

static json_t *disk_map_json(struct block *top, const struct disk_map_run *r)
{
	bool data = r->type == BLOCK_EXTENT_DATA;
	json_t *j = json_pack(
		"{s:I, s:I, s:i, s:b, s:b, s:b, s:s}", "start",
		(json_int_t)r->start, "length", (json_int_t)r->length, "depth",
		(int)r->depth, "present", r->type != BLOCK_EXTENT_HOLE, "zero",
		!data, "data", data, "file", disk_map_at(top, r->depth)->path);

	if (r->direct)
		json_object_set_new(j, "offset",
				    json_integer((json_int_t)r->host));
	return j;
}

static int disk_map_next(struct block *b, uint64_t at, struct disk_map_run *r)
{
	struct block_extent e;
	int rc = block_map(b, at, atomic_load(&b->size) - at, false, 0, &e);

	if (rc)
		return rc;
	block_map_done(b, &e);
	*r = (struct disk_map_run){ .start = at,
				    .length = e.length,
				    .host = e.fd_offset,
				    .depth = e.depth,
				    .type = e.type,
				    .direct = e.fd >= 0 };
	return 0;
}

static void disk_map_out(struct block *b, const struct disk_map_run *r,
			 json_t *list)
{
	if (!r->length)
		return;
	if (list)
		json_array_append_new(list, disk_map_json(b, r));
	else
		disk_map_text(b, r);
}

static int disk_map_all(struct block *b, json_t *list, struct err *err)
{
	struct disk_map_run last = { .length = 0 }, r;

	for (uint64_t at = 0; at < atomic_load(&b->size); at += r.length) {
		int rc = disk_map_next(b, at, &r);

		if (rc)
			return err_set(err, -rc, "%s: cannot be read: %s",
				       b->path, strerror(-rc));
		if (last.length && disk_map_joins(&last, &r)) {
			last.length += r.length;
			continue;
		}
		disk_map_out(b, &last, list);
		last = r;
	}
	disk_map_out(b, &last, list);
	return 0;
}

static int disk_map_do(const struct disk_args *a, struct err *err)
{
	struct block_open how = { .path = a->word[0],
				  .format = disk_string(a, "format"),
				  .readonly = true };
	json_t *list = disk_flag(a, "json") ? json_array() : NULL;
	struct block *b;
	int rc = block_open(&b, &how, err);

	if (!rc) {
		if (!list)
			printf("%-18s %-18s %-18s %s\n", "Offset", "Length",
			       "Mapped to", "File");
		rc = disk_map_all(b, list, err);
		block_close(b);
	}
	if (!rc && list)
		rc = disk_print_json(json_incref(list));
	json_decref(list);
	return rc;
}

const struct disk_verb disk_map = {
	"map",
	"FILE",
	1,
	1,
	disk_map_opts,
	disk_map_do,
	"print where the data lies, through all backing files",
};
