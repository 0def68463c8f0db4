/* disk_check.c - hostel disk check, repair. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/disk.h"

static const struct opt disk_check_opts[] = {
	{ "format", "FORMAT", OPT_STRING, "not by its content" },
	{ "json", NULL, OPT_FLAG, "for programs" },
	{ NULL },
};

static json_t *disk_check_json(const char *path, const struct block_check *c)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "filename",
			 path, "errors", (json_int_t)c->errors, "leaks",
			 (json_int_t)c->leaks, "errors-fixed",
			 (json_int_t)c->fixed_errors, "leaks-fixed",
			 (json_int_t)c->fixed_leaks, "allocated-clusters",
			 (json_int_t)c->allocated_clusters, "total-clusters",
			 (json_int_t)c->total_clusters);
}

static void disk_check_text(const char *path, const struct block_check *c)
{
	if (c->fixed_errors || c->fixed_leaks)
		printf("%s: mended %llu errors and %llu leaks\n", path,
		       (unsigned long long)c->fixed_errors,
		       (unsigned long long)c->fixed_leaks);
	if (c->errors)
		printf("%s: %llu errors: data may be wrong, and writing may "
		       "make it worse\n",
		       path, (unsigned long long)c->errors);
	if (c->leaks)
		printf("%s: %llu leaked clusters: space that nothing uses, "
		       "harmless otherwise\n",
		       path, (unsigned long long)c->leaks);
	if (!c->errors && !c->leaks)
		printf("%s: nothing is wrong\n", path);
	if (c->total_clusters)
		printf("%llu of %llu clusters are in use (%.1f%%)\n",
		       (unsigned long long)c->allocated_clusters,
		       (unsigned long long)c->total_clusters,
		       100.0 * (double)c->allocated_clusters /
			       (double)c->total_clusters);
}

static int disk_check_open(const struct disk_args *a, unsigned repair,
			   struct err *err)
{
	struct block_open how = { .path = a->word[0],
				  .format = disk_string(a, "format"),
				  .readonly = !repair,
				  .repair = repair,
				  .no_backing = true };
	struct block_check c = { 0 };
	bool json = disk_flag(a, "json");
	struct block *b;
	int rc = block_open(&b, &how, err);

	if (rc)
		return rc;
	rc = b->ops->check
		     ? b->ops->check(b, repair, &c, json ? NULL : stdout, err)
		     : err_set(err, ENOTSUP,
			       "%s: %s images hold nothing that could be "
			       "checked",
			       b->path, b->ops->name);
	block_close(b);
	if (rc)
		return rc;
	if (json)
		rc = disk_print_json(disk_check_json(a->word[0], &c));
	else
		disk_check_text(a->word[0], &c);
	if (rc)
		return rc;
	return c.errors ? DISK_STATUS_ERRORS : c.leaks ? DISK_STATUS_LEAKS : 0;
}

static int disk_check_run(const struct disk_args *a, struct err *err)
{
	return disk_check_open(a, 0, err);
}

const struct disk_verb disk_check = {
	"check",
	"FILE",
	1,
	1,
	disk_check_opts,
	disk_check_run,
	"find errors and leaks; status 2 for errors, 3 for leaks alone",
};

static const struct opt disk_repair_opts[] = {
	{ "format", "FORMAT", OPT_STRING, "not by its content" },
	{ "leaks", NULL, OPT_FLAG, "only leaks, which is always safe" },
	{ "json", NULL, OPT_FLAG, "for programs" },
	{ NULL },
};

static int disk_repair_run(const struct disk_args *a, struct err *err)
{
	return disk_check_open(a, disk_flag(a, "leaks") ? 1 : 2, err);
}

const struct disk_verb disk_repair = {
	"repair",
	"FILE",
	1,
	1,
	disk_repair_opts,
	disk_repair_run,
	"mend errors and leaks; the statuses of check for what is left",
};
