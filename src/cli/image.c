/*
 * image.c - hostel image: the store of images, by verbs of its own.
 *
 * What takes long (build, pull, import) is done in a process of its own, in a
 * directory of the store's tmp/: Ctrl-C ends that with all that it started,
 * and what it left is swept (work.h, store.h).  A name in the store, or the
 * file of --output, appears when it is whole.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/image.h"
#include "cli/opts.h"
#include "image/build.h"
#include "image/fetch.h"
#include "image/home.h"
#include "image/import.h"
#include "image/instance.h"
#include "image/keys.h"
#include "image/proc.h"
#include "image/work.h"
#include "machine/config.h"

/* What a verb works with: its options, its words, the store. */
struct image_call {
	json_t *options;
	json_t *words;
	struct store *store;
	struct progress progress;
};

struct image_verb {
	const char *name, *words, *help;
	const struct opt *opts;
	unsigned min, max; /* words */
	int (*fn)(struct image_call *c, struct err *err);
};

static const char *image_opt(const struct image_call *c, const char *key)
{
	return json_string_value(json_object_get(c->options, key));
}

static const char *image_word(const struct image_call *c, size_t i)
{
	return json_string_value(json_array_get(c->words, i));
}

/* --- Work that Ctrl-C ends ------------------------------------------------ */

/* What the work needs; it is done in a process of its own. */
struct image_work {
	struct store *store;
	struct progress *progress;
	const struct build *build;
	const struct fetch *fetch;
	const char *from;   /* a file to import */
	const char *part;   /* the file of --output until it is whole */
	struct image image; /* what is known of it beforehand */
};

static void image_ended(void *opaque)
{
	struct image_work *w = opaque;

	store_sweep(w->store);
	if (w->part)
		unlink(w->part);
	progress_end(w->progress);
	fprintf(stderr, "hostel: interrupted; %s\n",
		w->fetch && !w->fetch->no_verify
			? "what was fetched is kept a week for another try"
			: "nothing was kept");
}

static int image_work(work_fn *fn, struct image_work *w, struct err *err)
{
	int rc = work_run(fn, image_ended, w, err);

	if (rc) /* it may have been killed */
		store_sweep(w->store);
	progress_end(w->progress);
	return rc;
}

/* --- build ---------------------------------------------------------------- */

static const struct opt image_build_opts[] = {
	{ "size", "SIZE", OPT_STRING, "of the disk (default: 2G)" },
	{ "packages", "LIST", OPT_STRING, "more packages, commas between" },
	{ "hostname", "NAME", OPT_STRING, "default: debian" },
	{ "user", "NAME", OPT_STRING,
	  "who may log in and use sudo (default: debian)" },
	{ "password", "WORD", OPT_STRING,
	  "for the console (default: hostel); ssh takes keys only" },
	{ "ssh-key", "FILE", OPT_LIST, "public key that may log in" },
	{ "kernel", "WHICH", OPT_STRING,
	  "cloud (default), or generic: drivers for all machines" },
	{ "append", "STRING", OPT_STRING,
	  "more for the kernel's command line" },
	{ "mirror", "URL", OPT_STRING,
	  "of Debian (default: what this host uses)" },
	{ "name", "NAME", OPT_STRING, "in the store (default: the release)" },
	{ "output", "FILE", OPT_STRING,
	  "write the raw disk there, not to the store" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

int image_join_keys(const json_t *list, char **out, struct err *err)
{
	char *all = NULL, *one;
	size_t len = 0, i;
	json_t *j;
	FILE *f = open_memstream(&all, &len);
	int rc = f ? 0 : err_set(err, ENOMEM, "out of memory");

	json_array_foreach(list, i, j)
	{
		if (rc)
			break;
		rc = keys_given(json_string_value(j), &one, err);
		if (!rc) {
			fprintf(f, "%s\n", one);
			free(one);
		}
	}
	if (f)
		fclose(f);
	if (rc)
		free(all);
	else
		*out = all;
	return rc;
}

static int image_build_options(struct image_call *c, struct build *b,
			       char **keys, struct err *err)
{
	const char *size = image_opt(c, "size");

	*b = (struct build){
		.release = image_word(c, 0),
		.packages = image_opt(c, "packages"),
		.hostname = image_opt(c, "hostname"),
		.user = image_opt(c, "user"),
		.password = image_opt(c, "password"),
		.kernel = image_opt(c, "kernel"),
		.append = image_opt(c, "append"),
		.mirror = image_opt(c, "mirror"),
	};
	if (size && vm_parse_size(size, &b->size, err)) {
		err_prefix(err, "--size");
		return -EINVAL;
	}
	if (!json_object_get(c->options, "ssh-key"))
		return 0;
	if (image_join_keys(json_object_get(c->options, "ssh-key"), keys, err))
		return -EINVAL;
	b->ssh_keys = *keys;
	return 0;
}

/* Builds in the store's workplace, where `out` then lies. */
static int image_build_raw(const struct image_work *w, char out[PATH_MAX],
			   struct err *err)
{
	char dir[PATH_MAX];
	int rc = store_temp(w->store, dir, err);

	if (!rc)
		rc = home_path(out, err, "%s/disk.raw", dir);
	return rc ? rc : build_image(w->build, dir, out, w->progress, err);
}

static int image_build_work(void *opaque, struct err *err)
{
	struct image_work *w = opaque;
	char file[PATH_MAX];
	int rc = image_build_raw(w, file, err);

	if (!rc)
		rc = store_add(w->store, &w->image, file, w->progress, err);
	store_drop_temp(w->store);
	return rc;
}

int image_build(struct store *s, const struct build *b, const char *name,
		struct progress *p, struct err *err)
{
	struct image_work w = { .store = s, .progress = p, .build = b };
	struct image *image = &w.image;

	strcpy(image->format, "raw");
	image->disk_size = b->size ? b->size : BUILD_SIZE;
	snprintf(image->name, sizeof(image->name), "%s", name);
	snprintf(image->source, sizeof(image->source), "built from %s",
		 b->release);
	snprintf(image->user, sizeof(image->user), "%s",
		 b->user ? b->user : BUILD_USER);
	snprintf(image->password, sizeof(image->password), "%s",
		 b->password ? b->password : BUILD_PASSWORD);
	return image_work(image_build_work, &w, err);
}

static int image_output_work(void *opaque, struct err *err)
{
	struct image_work *w = opaque;
	char file[PATH_MAX];
	int rc = image_build_raw(w, file, err);

	if (!rc) {
		progress_step(w->progress, "Writing %.80s", w->part);
		rc = import_copy(file, w->part, w->progress, err);
	}
	store_drop_temp(w->store);
	return rc;
}

static int image_build_to(struct image_call *c, const struct build *b,
			  const char *out, struct err *err)
{
	char part[PATH_MAX];
	struct image_work w = { .store = c->store,
				.progress = &c->progress,
				.build = b,
				.part = part };
	int rc = home_path(part, err, "%s.%d.part", out, getpid());

	if (!rc && !access(out, F_OK))
		rc = err_set(err, EEXIST, "--output: %s exists already", out);
	if (rc)
		return rc;
	rc = image_work(image_output_work, &w, err);
	if (!rc && renameat2(AT_FDCWD, part, AT_FDCWD, out, RENAME_NOREPLACE))
		rc = err_set(err, errno, "--output: cannot make %s: %s", out,
			     strerror(errno));
	if (rc)
		unlink(part);
	return rc;
}

static int image_do_build(struct image_call *c, struct err *err)
{
	const char *name = image_opt(c, "name");
	const char *out = image_opt(c, "output");
	struct build b;
	char *keys = NULL;
	int rc = image_build_options(c, &b, &keys, err);

	if (!rc && name && !store_name_ok(name))
		rc = err_set(err, EINVAL, "--name: '%.64s' is none", name);
	if (!rc && out)
		rc = image_build_to(c, &b, out, err);
	else if (!rc)
		rc = image_build(c->store, &b, name ? name : b.release,
				 &c->progress, err);
	free(keys);
	return rc;
}

/* --- pull and import ------------------------------------------------------ */

static const struct opt image_pull_opts[] = {
	{ "name", "NAME", OPT_STRING, "in the store" },
	{ "sha256", "HEX", OPT_STRING, "the checksum it must have" },
	{ "sha512", "HEX", OPT_STRING, "the same" },
	{ "no-verify", NULL, OPT_FLAG, "take it without a checksum" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

static const struct opt image_import_opts[] = {
	{ "user", "NAME", OPT_STRING, "who can log in, if you know" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

/* "https://.../debian-12-generic-amd64.qcow2" -> "debian-12-generic-amd64" */
static void image_name_of(const char *path, char out[STORE_NAME_MAX + 1])
{
	const char *slash = strrchr(path, '/');
	char *dot;

	snprintf(out, STORE_NAME_MAX + 1, "%s", slash ? slash + 1 : path);
	/* "disk.raw.xz" has two, "ubuntu-24.04" none. */
	for (int i = 0; i < 2; i++) {
		dot = strrchr(out, '.');
		if (dot && dot > out && isalpha((unsigned char)dot[1]))
			*dot = '\0';
	}
}

static int image_pull_work(void *opaque, struct err *err)
{
	struct image_work *w = opaque;
	struct fetch f = *w->fetch;
	char dir[PATH_MAX], got[PATH_MAX], file[PATH_MAX], partial[PATH_MAX];
	int rc = store_temp(w->store, dir, err);

	if (!rc)
		rc = store_partial(w->store, partial, err);
	if (!rc)
		rc = home_path(got, err, "%s/image", dir);
	f.partial = partial;
	if (!rc)
		rc = fetch_image(&f, dir, got, w->progress, err);
	if (!rc)
		rc = import_take(got, true, dir, file, &w->image, w->progress,
				 err);
	if (!rc)
		rc = store_add(w->store, &w->image, file, w->progress, err);
	store_drop_temp(w->store);
	return rc;
}

int image_pull(struct store *s, const struct fetch *f, const char *name,
	       struct progress *p, struct err *err)
{
	struct image_work w = { .store = s, .progress = p, .fetch = f };
	struct image *image = &w.image;

	snprintf(image->name, sizeof(image->name), "%s", name);
	snprintf(image->source, sizeof(image->source), "%s", f->url);
	if (!strncmp(name, "debian", 6))
		strcpy(image->user, "debian");
	else if (!strncmp(name, "ubuntu", 6))
		strcpy(image->user, "ubuntu");
	return image_work(image_pull_work, &w, err);
}

static int image_do_pull(struct image_call *c, struct err *err)
{
	const char *what = image_word(c, 0), *known = fetch_url(what);
	const char *name = image_opt(c, "name");
	char from_url[STORE_NAME_MAX + 1];
	struct fetch f = {
		.url = known ? known : what,
		.sha256 = image_opt(c, "sha256"),
		.sha512 = image_opt(c, "sha512"),
		.no_verify =
			json_is_true(json_object_get(c->options, "no-verify")),
	};

	image_name_of(f.url, from_url);
	if (!name)
		name = known ? what : from_url;
	if (!store_name_ok(name))
		return err_set(err, EINVAL,
			       "%.200s does not end in a name for the image; "
			       "give one by --name",
			       f.url);
	return image_pull(c->store, &f, name, &c->progress, err);
}

static int image_import_work(void *opaque, struct err *err)
{
	struct image_work *w = opaque;
	char dir[PATH_MAX], file[PATH_MAX];
	int rc = store_temp(w->store, dir, err);

	if (!rc)
		rc = import_take(w->from, false, dir, file, &w->image,
				 w->progress, err);
	if (!rc)
		rc = store_add(w->store, &w->image, file, w->progress, err);
	store_drop_temp(w->store);
	return rc;
}

static int image_do_import(struct image_call *c, struct err *err)
{
	const char *name = image_word(c, 1), *user = image_opt(c, "user");
	struct image_work w = { .store = c->store,
				.progress = &c->progress,
				.from = image_word(c, 0) };
	struct image *image = &w.image;
	char own[STORE_NAME_MAX + 1];

	image_name_of(w.from, own);
	snprintf(image->name, sizeof(image->name), "%s", name ? name : own);
	snprintf(image->source, sizeof(image->source), "%s", w.from);
	snprintf(image->user, sizeof(image->user), "%s", user ? user : "");
	if (!store_name_ok(image->name))
		return err_set(err, EINVAL,
			       "'%.64s' is no name for an image; give one: "
			       "hostel image import FILE NAME",
			       image->name);
	return image_work(image_import_work, &w, err);
}

/* --- list, info, verify, remove ------------------------------------------- */

static const struct opt image_no_opts[] = {
	{ NULL, NULL, OPT_FLAG, NULL },
};

static void image_date(int64_t when, char out[32])
{
	time_t t = (time_t)when;
	struct tm tm;

	strftime(out, 32, "%Y-%m-%d %H:%M", localtime_r(&t, &tm));
}

static int image_do_list(struct image_call *c, struct err *err)
{
	struct image *images;
	unsigned count;
	char date[32];
	int rc = store_list(c->store, &images, &count, err);

	if (rc)
		return rc;
	if (count)
		printf("%-24s %-12s %8s  %-16s  %s\n", "NAME", "ID", "DISK",
		       "CREATED", "SOURCE");
	for (unsigned i = 0; i < count; i++) {
		image_date(images[i].created, date);
		printf("%-24s %.12s %6.1f G  %-16s  %s\n", images[i].name,
		       images[i].sha256,
		       (double)images[i].disk_size / (1 << 30), date,
		       images[i].source);
	}
	free(images);
	return 0;
}

static int image_do_info(struct image_call *c, struct err *err)
{
	struct image image;
	char path[PATH_MAX], date[32];
	int rc = store_find(c->store, image_word(c, 0), &image, err);

	if (!rc)
		rc = store_blob(c->store, &image, path, err);
	if (rc)
		return rc;
	image_date(image.created, date);
	printf("name     %s\nsha256   %s\nformat   %s\nfile     %s\n"
	       "disk     %llu bytes\ncreated  %s\nsource   %s\nuser     %s\n"
	       "guests   %s\n",
	       image.name, image.sha256, image.format, path,
	       (unsigned long long)image.disk_size, date, image.source,
	       image.user[0] ? image.user : "unknown",
	       instance_uses(image.sha256, NULL) ? "yes" : "none");
	return 0;
}

static int image_do_verify(struct image_call *c, struct err *err)
{
	struct image image;
	int rc = store_find(c->store, image_word(c, 0), &image, err);

	return rc ? rc : store_verify(c->store, &image, &c->progress, err);
}

static int image_do_remove(struct image_call *c, struct err *err)
{
	return store_remove(c->store, image_word(c, 0), instance_uses, NULL,
			    err);
}

/* --- The verb ------------------------------------------------------------- */

static const struct image_verb image_verbs[] = {
	{ "build", "RELEASE", "make an image, as debian:12, from its packages",
	  image_build_opts, 1, 1, image_do_build },
	{ "pull", "NAME|URL", "download one, checked by its checksum",
	  image_pull_opts, 1, 1, image_do_pull },
	{ "import", "FILE [NAME]",
	  "take a disk into the store, also packed (xz, gz, zst, tar)",
	  image_import_opts, 1, 2, image_do_import },
	{ "list", "", "list what is in the store", image_no_opts, 0, 0,
	  image_do_list },
	{ "info", "NAME", "tell all of one", image_no_opts, 1, 1,
	  image_do_info },
	{ "verify", "NAME", "compare it with its checksum", image_no_opts, 1, 1,
	  image_do_verify },
	{ "remove", "NAME",
	  "forget it; guests that were made of it keep their disks",
	  image_no_opts, 1, 1, image_do_remove },
};

#define IMAGE_VERBS (sizeof(image_verbs) / sizeof(image_verbs[0]))

static int image_help(void)
{
	puts("Usage: hostel image VERB [OPTION]...\n\n"
	     "Images of disks that guests are made of, each by a name.\n");
	for (size_t i = 0; i < IMAGE_VERBS; i++)
		printf("  %-7s %-12s %s\n", image_verbs[i].name,
		       image_verbs[i].words, image_verbs[i].help);
	puts("\n`hostel image VERB --help` lists the options of one.");
	return 0;
}

static int image_verb_help(const struct image_verb *v)
{
	printf("Usage: hostel image %s %s%s\n\n%s\n\n", v->name, v->words,
	       v->opts[0].name ? " [OPTION]..." : "", v->help);
	opts_help(v->opts, stdout);
	return 0;
}

static int image_run(const struct image_verb *v, struct image_call *c,
		     struct err *err)
{
	size_t words = json_array_size(c->words);
	int rc;

	if (words < v->min || words > v->max)
		return err_set(err, EINVAL, "usage: hostel image %s %s",
			       v->name, v->words);
	proc_set_path();
	progress_init(&c->progress, stderr);
	rc = store_open(&c->store, err);
	if (rc)
		return rc;
	rc = v->fn(c, err);
	progress_end(&c->progress);
	store_close(c->store);
	return rc;
}

static int image_call(const struct image_verb *v, int argc, char **argv)
{
	struct image_call c = { json_object(), json_array(), NULL, { 0 } };
	struct err err = { "" };
	int rc =
		opts_parse_words(v->opts, argc, argv, c.options, c.words, &err);

	if (rc == 1)
		rc = image_verb_help(v);
	else if (!rc)
		rc = image_run(v, &c, &err);
	json_decref(c.options);
	json_decref(c.words);
	return rc ? cli_fail(&err) : 0;
}

int cli_image(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";
	struct err err;

	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		return image_help();
	for (size_t i = 0; i < IMAGE_VERBS; i++)
		if (!strcmp(image_verbs[i].name, name))
			return image_call(&image_verbs[i], argc - 1, argv + 1);
	err_set(&err, EINVAL,
		"there is no verb 'image %.64s'; try hostel image --help",
		name);
	return cli_fail(&err);
}
