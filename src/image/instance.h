/*
 * instance.h - guests that stay: a guest is a directory of files.
 *
 *	guests/NAME/config.json	image, options of `hostel run`, login
 *	guests/NAME/disk.qcow2	an overlay on the image's blob in the store
 *	guests/NAME/seed.iso	its NoCloud seed
 *	guests/NAME/nvram	the firmware's variables (--firmware uefi)
 *	guests/NAME/kernel, initrd, cmdline
 *				of the last start without firmware
 *	guests/NAME/known_hosts	the guest's own SSH host key
 *	guests/NAME/run.json	while it runs: pid, ssh_port
 *	guests/NAME/lock	held by the `hostel run` that runs it
 */
#ifndef HOSTEL_IMAGE_INSTANCE_H
#define HOSTEL_IMAGE_INSTANCE_H

#include <limits.h>
#include <stdbool.h>
#include <jansson.h>

#include "base/err.h"
#include "image/store.h"

#define INSTANCE_NAME_MAX 63 /* also a host name's */

struct instance {
	char name[INSTANCE_NAME_MAX + 1];
	char dir[PATH_MAX];
	int lock_fd; /* -1: not ours */
	char image[STORE_NAME_MAX + 1];
	char sha256[65]; /* of the image its disk is an overlay on */
	char user[33];
	char password[65];
	json_t *options; /* of hostel run, as given at first; owned */
};

/* Letters, digits and dashes, as a host name. */
bool instance_name_ok(const char *name);
/* "debian:12" -> "debian-12". */
void instance_default_name(const char *image, char out[INSTANCE_NAME_MAX + 1]);
int instance_path(const char *name, char out[PATH_MAX], struct err *err);
/* DIR/file of it. */
int instance_file(const struct instance *in, const char *file,
		  char out[PATH_MAX], struct err *err);

bool instance_exists(const char *name);
/* Reads what is there; -ENOENT with a sentence. */
int instance_load(struct instance *in, const char *name, struct err *err);
/*
 * Makes the directory and takes its lock; in->image to options are the
 * caller's to fill in before instance_save().
 */
int instance_create(struct instance *in, const char *name, struct err *err);
int instance_save(const struct instance *in, struct err *err);
/* For its run; -EBUSY with a sentence if it runs already. */
int instance_lock(struct instance *in, struct err *err);
void instance_free(struct instance *in);

bool instance_running(const char *name);
/* What run.json says; the port 0: none.  -ENOENT: it does not run. */
int instance_running_ssh(const char *name, unsigned *port, struct err *err);
int instance_set_running(const struct instance *in, unsigned ssh_port,
			 struct err *err);
void instance_clear_running(const struct instance *in);

/* Refused while it runs. */
int instance_remove(const char *name, struct err *err);
/* Names, sorted; *names and each in it are the caller's to free. */
int instance_list(char ***names, unsigned *count, struct err *err);
/* For store_remove(): is there a guest whose disk needs this blob? */
bool instance_uses(const char *sha256, void *unused);

#endif
