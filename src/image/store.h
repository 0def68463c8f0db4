/*
 * store.h - the local store of images.
 *
 *	images/lock		held shared while names are read, exclusively
 *				while they change
 *	images/names/NAME.json	what NAME is: one image, by its SHA-256
 *	images/blobs/SHA256.raw	the images themselves (or .qcow2), read-only
 *	images/tmp/XXXXXX/	work in progress; its `lock` is held meanwhile
 *	images/partial/SUM	downloads that were interrupted, for a week
 *
 * A blob never changes: guests' disks are overlays on it.  Several names may
 * mean one; it goes when no name and no guest has it any more.  What appears
 * in names/ and blobs/ is renamed there whole; what was interrupted is left
 * in tmp/ and swept by the next that opens the store.
 */
#ifndef HOSTEL_IMAGE_STORE_H
#define HOSTEL_IMAGE_STORE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/hash.h"
#include "image/progress.h"

#define STORE_NAME_MAX 64

struct image {
	char name[STORE_NAME_MAX + 1]; /* "debian:12" */
	char sha256[65];
	char format[8]; /* "raw", "qcow2", "vmdk" */
	uint64_t file_size;
	uint64_t disk_size; /* that a guest sees */
	int64_t created;    /* seconds since 1970 */
	char source[256];   /* URL, file, or "build"; for people */
	char user[33];      /* to log in as; empty: not known */
	char password[65];  /* on the console; empty: not known */
};

struct store;

/* Of images: [a-z0-9][a-z0-9._-]*[:[A-Za-z0-9._-]+]. */
bool store_name_ok(const char *name);

int store_open(struct store **out, struct err *err);
void store_close(struct store *s);

/* A directory of our own to make an image in; removed by store_drop_temp(). */
int store_temp(struct store *s, char dir[PATH_MAX], struct err *err);
void store_drop_temp(struct store *s);
/* Where downloads wait to be taken up again. */
int store_partial(struct store *s, char dir[PATH_MAX], struct err *err);
/* Removes what work that is no longer there has left behind. */
void store_sweep(struct store *s);

/*
 * Takes the file over (it must lie in store_temp's directory): computes its
 * checksum, makes it a blob and image->name its name.  Fills in sha256,
 * file_size, created.
 */
int store_add(struct store *s, struct image *image, const char *file,
	      struct progress *progress, struct err *err);

/* -ENOENT with a sentence. */
int store_find(struct store *s, const char *name, struct image *image,
	       struct err *err);
/* All, sorted by name; *images is the caller's to free. */
int store_list(struct store *s, struct image **images, unsigned *count,
	       struct err *err);
/* Where the blob of an image lies. */
int store_blob(struct store *s, const struct image *image, char out[PATH_MAX],
	       struct err *err);
/* Reads the blob and compares; -EBADMSG with a sentence. */
int store_verify(struct store *s, const struct image *image,
		 struct progress *progress, struct err *err);

/* Does a guest need this blob? */
typedef bool store_used_fn(const char *sha256, void *opaque);

/* Forgets the name; the blob goes too unless it is used. */
int store_remove(struct store *s, const char *name, store_used_fn *used,
		 void *opaque, struct err *err);
/* Removes every blob without a name that is not used. */
void store_collect(struct store *s, store_used_fn *used, void *opaque);

#endif
