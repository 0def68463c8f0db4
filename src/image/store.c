/*
 * store.c - see store.h for the layout.
 *
 * One lock file orders everybody: shared to look, exclusive to change names
 * or remove blobs.  The long work (building, downloading, checksums) is done
 * in tmp/ without it; only the two renames at the end need it.  The order
 * blob, then name, means that a name always has its blob; a crash between
 * leaves a blob without a name, which store_collect() removes.
 */
#include "image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image/home.h"

#define STORE_PARTIAL_S (7 * 24 * 3600)

struct store {
	char dir[PATH_MAX];
	int lock_fd;
	char temp[PATH_MAX]; /* empty: none */
	int temp_lock;
};

/* --- Names ---------------------------------------------------------------- */

static bool store_part_ok(const char *s, size_t len)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789._-";

	return len && s[0] != '.' && s[0] != '-' && strspn(s, letters) >= len;
}

bool store_name_ok(const char *name)
{
	size_t n = strcspn(name, ":");

	if (strlen(name) > STORE_NAME_MAX || !store_part_ok(name, n))
		return false;
	return !name[n] || (store_part_ok(name + n + 1, strlen(name + n + 1)) &&
			    !strchr(name + n + 1, ':'));
}

static int store_name_path(struct store *s, const char *name,
			   char out[PATH_MAX], struct err *err)
{
	if (!store_name_ok(name))
		return err_set(err, EINVAL,
			       "'%.64s' is no name for an image: letters, "
			       "digits, '.', '_', '-', and one ':' before a "
			       "version",
			       name);
	return home_path(out, err, "%s/names/%s.json", s->dir, name);
}

int store_blob(struct store *s, const struct image *image, char out[PATH_MAX],
	       struct err *err)
{
	return home_path(out, err, "%s/blobs/%s.%s", s->dir, image->sha256,
			 image->format);
}

/* --- What a name's file says ---------------------------------------------- */

/* One text field of image.json: where it goes, and how much fits. */
struct store_field {
	const char *key;
	size_t at, size;
};

#define STORE_FIELD(k)                                                        \
	{                                                                     \
#k, offsetof(struct image, k), sizeof(((struct image *)0)->k) \
	}

static const struct store_field store_fields[] = {
	STORE_FIELD(sha256), STORE_FIELD(format),   STORE_FIELD(source),
	STORE_FIELD(user),   STORE_FIELD(password),
};

#define STORE_FIELDS (sizeof(store_fields) / sizeof(store_fields[0]))

static int store_put_json(const struct image *image, const char *path,
			  struct err *err)
{
	json_t *j = json_object();
	char *text;
	int rc;

	for (size_t i = 0; i < STORE_FIELDS; i++)
		json_object_set_new(
			j, store_fields[i].key,
			json_string((const char *)image + store_fields[i].at));
	json_object_set_new(j, "file_size",
			    json_integer((json_int_t)image->file_size));
	json_object_set_new(j, "disk_size",
			    json_integer((json_int_t)image->disk_size));
	json_object_set_new(j, "created", json_integer(image->created));
	text = json_dumps(j, JSON_INDENT(2));
	json_decref(j);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	rc = home_write(path, text, strlen(text), 0600, err);
	free(text);
	return rc;
}

/* Names of blobs are made of these: nothing else may pass. */
static bool store_image_ok(const struct image *image)
{
	return strlen(image->sha256) == 64 &&
	       strspn(image->sha256, "0123456789abcdef") == 64 &&
	       (!strcmp(image->format, "raw") ||
		!strcmp(image->format, "qcow2") ||
		!strcmp(image->format, "vmdk"));
}

static int store_get_json(const char *path, const char *name,
			  struct image *image)
{
	json_t *j = json_load_file(path, 0, NULL);

	memset(image, 0, sizeof(*image));
	snprintf(image->name, sizeof(image->name), "%s", name);
	for (size_t i = 0; i < STORE_FIELDS; i++) {
		const struct store_field *f = &store_fields[i];
		const char *v = json_string_value(json_object_get(j, f->key));

		snprintf((char *)image + f->at, f->size, "%s", v ? v : "");
	}
	image->file_size =
		(uint64_t)json_integer_value(json_object_get(j, "file_size"));
	image->disk_size =
		(uint64_t)json_integer_value(json_object_get(j, "disk_size"));
	image->created = json_integer_value(json_object_get(j, "created"));
	json_decref(j);
	return store_image_ok(image) ? 0 : -EBADMSG;
}

/* --- The store as a whole ------------------------------------------------- */

static int store_lock(struct store *s, int how, struct err *err)
{
	while (flock(s->lock_fd, how))
		if (errno != EINTR)
			return err_set(err, errno, "cannot lock %s: %s", s->dir,
				       strerror(errno));
	return 0;
}

static void store_unlock(struct store *s)
{
	flock(s->lock_fd, LOCK_UN);
}

static int store_open_lock(const char *dir, struct err *err)
{
	char path[PATH_MAX];
	int fd;

	if (home_path(path, err, "%s/lock", dir))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		err_set(err, errno, "cannot open %s: %s", path,
			strerror(errno));
	return fd < 0 ? -errno : fd;
}

/* A directory of work: free if nobody holds its lock any more. */
static void store_sweep_work(const char *path)
{
	int fd = store_open_lock(path, NULL);

	if (fd < 0)
		return;
	if (!flock(fd, LOCK_EX | LOCK_NB))
		home_remove_tree(path);
	close(fd);
}

static void store_sweep_partial(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && time(NULL) - st.st_mtime > STORE_PARTIAL_S &&
	    !flock(fd, LOCK_EX | LOCK_NB))
		unlink(path);
	close(fd);
}

static void store_sweep_each(struct store *s, const char *sub,
			     void (*fn)(const char *path))
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	if (home_path(path, NULL, "%s/%s", s->dir, sub))
		return;
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' &&
		    !home_path(path, NULL, "%s/%s/%s", s->dir, sub, e->d_name))
			fn(path);
	if (d)
		closedir(d);
}

void store_sweep(struct store *s)
{
	if (store_lock(s, LOCK_EX, NULL))
		return;
	store_sweep_each(s, "tmp", store_sweep_work);
	store_sweep_each(s, "partial", store_sweep_partial);
	store_unlock(s);
}

int store_partial(struct store *s, char dir[PATH_MAX], struct err *err)
{
	return home_path(dir, err, "%s/partial", s->dir);
}

int store_open(struct store **out, struct err *err)
{
	static const char *const subs[] = { "images/names", "images/blobs",
					    "images/tmp", "images/partial" };
	struct store *s = calloc(1, sizeof(*s));
	char path[PATH_MAX];
	int rc = s ? 0 : err_set(err, ENOMEM, "out of memory");

	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]) && !rc; i++)
		rc = home_dir(subs[i], path, err);
	if (!rc)
		rc = home_dir("images", s->dir, err);
	if (!rc) {
		s->lock_fd = store_open_lock(s->dir, err);
		rc = s->lock_fd < 0 ? s->lock_fd : 0;
	}
	if (rc) {
		free(s);
		return rc;
	}
	s->temp_lock = -1;
	*out = s;
	store_sweep(s);
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_drop_temp(s);
	close(s->lock_fd);
	free(s);
}

static int store_make_temp(struct store *s, struct err *err)
{
	int rc = home_path(s->temp, err, "%s/tmp/XXXXXX", s->dir);

	if (rc)
		return rc;
	if (!mkdtemp(s->temp))
		return err_set(err, errno, "cannot make a directory in %s: %s",
			       s->dir, strerror(errno));
	s->temp_lock = store_open_lock(s->temp, err);
	if (s->temp_lock < 0)
		return s->temp_lock;
	flock(s->temp_lock, LOCK_EX);
	return 0;
}

int store_temp(struct store *s, char dir[PATH_MAX], struct err *err)
{
	int rc = store_lock(s, LOCK_SH, err); /* no sweep meanwhile */

	if (rc)
		return rc;
	rc = store_make_temp(s, err);
	store_unlock(s);
	if (!rc)
		strcpy(dir, s->temp);
	return rc;
}

void store_drop_temp(struct store *s)
{
	if (s->temp[0])
		home_remove_tree(s->temp);
	s->temp[0] = '\0';
	if (s->temp_lock >= 0)
		close(s->temp_lock);
	s->temp_lock = -1;
}

/* --- Adding --------------------------------------------------------------- */

static int store_seal(int fd, const char *file, struct image *image,
		      struct progress *progress, struct err *err)
{
	char hex[HASH_HEX_MAX];
	struct stat st;
	int rc;

	progress_step(progress, "Computing the checksum of %s", image->name);
	rc = hash_fd(HASH_SHA256, fd, file, progress, hex, err);
	if (rc)
		return rc;
	if (fstat(fd, &st) || fchmod(fd, 0400) || fsync(fd))
		return err_set(err, errno, "cannot write %s: %s", file,
			       strerror(errno));
	snprintf(image->sha256, sizeof(image->sha256), "%.64s", hex);
	image->file_size = (uint64_t)st.st_size;
	image->created = time(NULL);
	return 0;
}

static int store_publish(struct store *s, const struct image *image,
			 const char *file, struct err *err)
{
	char blob[PATH_MAX], name[PATH_MAX];
	int rc = store_blob(s, image, blob, err);

	if (!rc)
		rc = store_name_path(s, image->name, name, err);
	if (!rc)
		rc = store_lock(s, LOCK_EX, err);
	if (rc)
		return rc;
	if (access(blob, F_OK) && rename(file, blob))
		rc = err_set(err, errno, "cannot put %s into the store: %s",
			     image->name, strerror(errno));
	if (!rc)
		home_sync_dir(blob);
	if (!rc)
		rc = store_put_json(image, name, err);
	store_unlock(s);
	return rc;
}

int store_add(struct store *s, struct image *image, const char *file,
	      struct progress *progress, struct err *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", file,
			       strerror(errno));
	rc = store_seal(fd, file, image, progress, err);
	close(fd);
	return rc ? rc : store_publish(s, image, file, err);
}

/* --- Looking -------------------------------------------------------------- */

int store_find(struct store *s, const char *name, struct image *image,
	       struct err *err)
{
	char path[PATH_MAX];
	int rc = store_name_path(s, name, path, err);

	if (!rc)
		rc = store_lock(s, LOCK_SH, err);
	if (rc)
		return rc;
	if (access(path, F_OK))
		rc = err_set(err, ENOENT,
			     "there is no image '%s'; hostel image list shows "
			     "what there is",
			     name);
	else if (store_get_json(path, name, image))
		rc = err_set(err, EBADMSG, "%s is damaged: remove it", path);
	store_unlock(s);
	return rc;
}

static int store_is_json(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && n - 5 <= STORE_NAME_MAX &&
	       !strcmp(e->d_name + n - 5, ".json");
}

/* Without the lock; damaged ones are left out. */
static int store_scan(struct store *s, struct image **images, unsigned *count)
{
	char path[PATH_MAX];
	struct dirent **entries;
	int n;

	*count = 0;
	*images = NULL;
	if (home_path(path, NULL, "%s/names", s->dir))
		return -ENAMETOOLONG;
	n = scandir(path, &entries, store_is_json, alphasort);
	if (n < 0)
		return -errno;
	*images = calloc((size_t)n + 1, sizeof(**images));
	for (int i = 0; i < n; i++) {
		char *name = entries[i]->d_name;

		if (*images &&
		    !home_path(path, NULL, "%s/names/%s", s->dir, name)) {
			name[strlen(name) - 5] = '\0';
			if (!store_get_json(path, name, &(*images)[*count]))
				(*count)++;
		}
		free(entries[i]);
	}
	free(entries);
	return *images ? 0 : -ENOMEM;
}

int store_list(struct store *s, struct image **images, unsigned *count,
	       struct err *err)
{
	int rc = store_lock(s, LOCK_SH, err);

	if (rc)
		return rc;
	rc = store_scan(s, images, count);
	store_unlock(s);
	if (rc)
		return err_set(err, -rc, "cannot read %s: %s", s->dir,
			       strerror(-rc));
	return 0;
}

int store_verify(struct store *s, const struct image *image,
		 struct progress *progress, struct err *err)
{
	char path[PATH_MAX], hex[HASH_HEX_MAX];
	int fd, rc = store_blob(s, image, path, err);

	if (rc)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path,
			       strerror(errno));
	progress_step(progress, "Checking %s", image->name);
	rc = hash_fd(HASH_SHA256, fd, path, progress, hex, err);
	close(fd);
	if (!rc && strcmp(hex, image->sha256))
		rc = err_set(err, EBADMSG,
			     "%s is damaged: %s does not have the checksum of "
			     "its name; remove it and build or pull it again",
			     image->name, path);
	return rc;
}

/* --- Removing ------------------------------------------------------------- */

static bool store_named(const struct image *images, unsigned count,
			const char *sha256)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(images[i].sha256, sha256))
			return true;
	return false;
}

/* With the lock held exclusively. */
static void store_collect_locked(struct store *s, store_used_fn *used,
				 void *opaque)
{
	struct image *images;
	char path[PATH_MAX], sha[65];
	unsigned count;
	struct dirent *e;
	DIR *d = NULL;

	if (!store_scan(s, &images, &count) &&
	    !home_path(path, NULL, "%s/blobs", s->dir))
		d = opendir(path);
	while (d && (e = readdir(d))) {
		if (strlen(e->d_name) < 66 || e->d_name[64] != '.')
			continue;
		snprintf(sha, sizeof(sha), "%.64s", e->d_name);
		if (!store_named(images, count, sha) && !used(sha, opaque) &&
		    !home_path(path, NULL, "%s/blobs/%s", s->dir, e->d_name))
			unlink(path);
	}
	if (d)
		closedir(d);
	free(images);
}

void store_collect(struct store *s, store_used_fn *used, void *opaque)
{
	if (store_lock(s, LOCK_EX, NULL))
		return;
	store_collect_locked(s, used, opaque);
	store_unlock(s);
}

int store_remove(struct store *s, const char *name, store_used_fn *used,
		 void *opaque, struct err *err)
{
	char path[PATH_MAX];
	int rc = store_name_path(s, name, path, err);

	if (!rc)
		rc = store_lock(s, LOCK_EX, err);
	if (rc)
		return rc;
	if (unlink(path))
		rc = err_set(err, errno, "there is no image '%s'", name);
	else
		store_collect_locked(s, used, opaque);
	store_unlock(s);
	return rc;
}
