/* disk_snapshot.c - hostel disk snapshot list|create|apply|delete. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/disk.h"

static const struct opt disk_snapshot_opts[] = {
	{ "format", "FORMAT", OPT_STRING, "not by its content" },
	{ "json", NULL, OPT_FLAG, "list: for programs" },
	{ NULL },
};

static json_t *disk_snapshot_json(const struct block_snapshot *s)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "id", s->id, "name",
			 s->name, "disk-size", (json_int_t)s->disk_size,
			 "vm-state-size", (json_int_t)s->vm_state_size,
			 "date-ns", (json_int_t)s->date_ns);
}

static void disk_snapshot_text(const struct block_snapshot *s)
{
	time_t t = (time_t)(s->date_ns / 1000000000);
	char date[32] = "";
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%-6s %-24s %-20s %14llu %14llu\n", s->id, s->name, date,
	       (unsigned long long)s->disk_size,
	       (unsigned long long)s->vm_state_size);
}

static int disk_snapshot_list(const struct disk_args *a, struct block *b,
			      struct err *err)
{
	struct block_snapshot *list;
	unsigned n;
	json_t *j = disk_flag(a, "json") ? json_array() : NULL;
	int rc = b->ops->snapshot_list(b, &list, &n, err);

	if (rc) {
		json_decref(j);
		return rc;
	}
	if (!j && n)
		printf("%-6s %-24s %-20s %14s %14s\n", "ID", "NAME", "DATE",
		       "DISK SIZE", "VM STATE");
	for (unsigned i = 0; i < n; i++) {
		if (j)
			json_array_append_new(j, disk_snapshot_json(&list[i]));
		else
			disk_snapshot_text(&list[i]);
	}
	free(list);
	return j ? disk_print_json(j) : 0;
}

static int disk_snapshot_change(const char *what, const char *name,
				struct block *b, struct err *err)
{
	if (!strcmp(what, "create"))
		return b->ops->snapshot_create(b, name, err);
	if (!strcmp(what, "apply"))
		return b->ops->snapshot_apply(b, name, err);
	return b->ops->snapshot_delete(b, name, err);
}

static int disk_snapshot_words(const struct disk_args *a, bool *list,
			       struct err *err)
{
	const char *what = a->word[0];
	bool change = !strcmp(what, "create") || !strcmp(what, "apply") ||
		      !strcmp(what, "delete");

	*list = !strcmp(what, "list");
	if (!change && !*list)
		return err_set(err, EINVAL,
			       "snapshot: '%.64s' is not one of list, create, "
			       "apply, delete",
			       what);
	if (change && a->words < 3)
		return err_set(err, EINVAL,
			       "usage: hostel disk snapshot %s FILE NAME",
			       what);
	return 0;
}

static int disk_snapshot_run(const struct disk_args *a, struct err *err)
{
	struct block_open how = { .path = a->word[1],
				  .format = disk_string(a, "format"),
				  .no_backing = true };
	struct block *b;
	bool list;
	int rc = disk_snapshot_words(a, &list, err);

	how.readonly = how.no_lock = list;
	if (!rc)
		rc = block_open(&b, &how, err);
	if (rc)
		return rc;
	if (!b->ops->snapshot_list)
		rc = err_set(err, ENOTSUP,
			     "%s: %s images hold no snapshots; convert it to "
			     "qcow2",
			     b->path, b->ops->name);
	else
		rc = list ? disk_snapshot_list(a, b, err)
			  : disk_snapshot_change(a->word[0], a->word[2], b,
						 err);
	block_close(b);
	return rc;
}

const struct disk_verb disk_snapshot = {
	"snapshot",
	"list|create|apply|delete FILE [NAME]",
	2,
	3,
	disk_snapshot_opts,
	disk_snapshot_run,
	"keep a state of the disk inside the image, go back to it, drop it",
};
