#include "image/instance.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/home.h"

bool instance_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (!n || n > INSTANCE_NAME_MAX || name[0] == '-' || name[n - 1] == '-')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '-')
			return false;
	return true;
}

void instance_default_name(const char *image, char out[INSTANCE_NAME_MAX + 1])
{
	size_t n = 0;

	for (; *image && n < INSTANCE_NAME_MAX; image++)
		out[n++] = isalnum((unsigned char)*image) ? *image : '-';
	while (n && out[n - 1] == '-')
		n--;
	out[n] = '\0';
}

int instance_path(const char *name, char out[PATH_MAX], struct err *err)
{
	char guests[PATH_MAX];
	int rc;

	if (!instance_name_ok(name))
		return err_set(err, EINVAL,
			       "'%.64s' is no name for a guest: letters, "
			       "digits and '-', at most %d",
			       name, INSTANCE_NAME_MAX);
	rc = home_dir("guests", guests, err);
	return rc ? rc : home_path(out, err, "%s/%s", guests, name);
}

int instance_file(const struct instance *in, const char *file,
		  char out[PATH_MAX], struct err *err)
{
	return home_path(out, err, "%s/%s", in->dir, file);
}

static int instance_start(struct instance *in, const char *name,
			  struct err *err)
{
	*in = (struct instance){ .lock_fd = -1 };
	snprintf(in->name, sizeof(in->name), "%s", name);
	return instance_path(name, in->dir, err);
}

/* --- config.json ---------------------------------------------------------- */

struct instance_field {
	const char *key;
	size_t at, size;
};

#define INSTANCE_FIELD(k)                                 \
	{                                                 \
#k, offsetof(struct instance, k),         \
			sizeof(((struct instance *)0)->k) \
	}

static const struct instance_field instance_fields[] = {
	INSTANCE_FIELD(image),
	INSTANCE_FIELD(sha256),
	INSTANCE_FIELD(user),
	INSTANCE_FIELD(password),
};

#define INSTANCE_FIELDS (sizeof(instance_fields) / sizeof(instance_fields[0]))

bool instance_exists(const char *name)
{
	struct instance in;
	char path[PATH_MAX];

	return !instance_start(&in, name, NULL) &&
	       !instance_file(&in, "config.json", path, NULL) &&
	       !access(path, F_OK);
}

int instance_load(struct instance *in, const char *name, struct err *err)
{
	char path[PATH_MAX];
	json_t *j, *options;
	int rc = instance_start(in, name, err);

	if (!rc)
		rc = instance_file(in, "config.json", path, err);
	if (rc)
		return rc;
	if (access(path, F_OK))
		return err_set(err, ENOENT,
			       "there is no guest %s; hostel list shows them",
			       name);
	j = json_load_file(path, 0, NULL);
	for (size_t i = 0; i < INSTANCE_FIELDS; i++) {
		const struct instance_field *f = &instance_fields[i];
		const char *v = json_string_value(json_object_get(j, f->key));

		snprintf((char *)in + f->at, f->size, "%s", v ? v : "");
	}
	options = json_object_get(j, "options");
	in->options = json_is_object(options) ? json_incref(options) : NULL;
	json_decref(j);
	return in->options ? 0 : err_set(err, EBADMSG, "%s is damaged", path);
}

int instance_save(const struct instance *in, struct err *err)
{
	char path[PATH_MAX];
	json_t *j = json_object();
	char *text;
	int rc = instance_file(in, "config.json", path, err);

	for (size_t i = 0; i < INSTANCE_FIELDS; i++)
		json_object_set_new(
			j, instance_fields[i].key,
			json_string((const char *)in + instance_fields[i].at));
	json_object_set(j, "options", in->options);
	text = json_dumps(j, JSON_INDENT(2));
	json_decref(j);
	if (!rc)
		rc = text ? home_write(path, text, strlen(text), 0600, err)
			  : err_set(err, ENOMEM, "out of memory");
	free(text);
	return rc;
}

/* --- Life ----------------------------------------------------------------- */

/* -EWOULDBLOCK: somebody has it. */
static int instance_try_lock(const struct instance *in, bool make)
{
	char path[PATH_MAX];
	int fd, rc = instance_file(in, "lock", path, NULL);

	if (rc)
		return rc;
	fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	if (fd < 0)
		return -errno;
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

int instance_lock(struct instance *in, struct err *err)
{
	int fd = instance_try_lock(in, true);

	if (fd == -EWOULDBLOCK)
		return err_set(err, EBUSY,
			       "the guest %s is running already; --name gives "
			       "another one a name of its own",
			       in->name);
	if (fd < 0)
		return err_set(err, -fd, "cannot lock %s: %s", in->dir,
			       strerror(-fd));
	in->lock_fd = fd;
	return 0;
}

int instance_create(struct instance *in, const char *name, struct err *err)
{
	int rc = instance_start(in, name, err);

	if (rc)
		return rc;
	if (mkdir(in->dir, 0700) && errno != EEXIST)
		return err_set(err, errno, "cannot make %s: %s", in->dir,
			       strerror(errno));
	return instance_lock(in, err);
}

void instance_free(struct instance *in)
{
	if (in->lock_fd >= 0)
		close(in->lock_fd);
	in->lock_fd = -1;
	json_decref(in->options);
	in->options = NULL;
}

bool instance_running(const char *name)
{
	struct instance in;
	int fd;

	if (instance_start(&in, name, NULL))
		return false;
	fd = instance_try_lock(&in, false);
	if (fd >= 0)
		close(fd);
	return fd == -EWOULDBLOCK;
}

int instance_running_ssh(const char *name, unsigned *port, struct err *err)
{
	struct instance in;
	char path[PATH_MAX];
	json_t *j;
	int rc = instance_load(&in, name, err);

	if (!rc)
		rc = instance_file(&in, "run.json", path, err);
	if (rc)
		return rc;
	instance_free(&in);
	if (!instance_running(name))
		return err_set(err, ENOENT,
			       "the guest %s does not run; hostel start %s",
			       name, name);
	j = json_load_file(path, 0, NULL);
	*port = (unsigned)json_integer_value(json_object_get(j, "ssh_port"));
	json_decref(j);
	return 0;
}

int instance_set_running(const struct instance *in, unsigned ssh_port,
			 struct err *err)
{
	char path[PATH_MAX], text[96];
	int rc = instance_file(in, "run.json", path, err);

	snprintf(text, sizeof(text), "{\"pid\": %d, \"ssh_port\": %u}\n",
		 (int)getpid(), ssh_port);
	return rc ? rc : home_write(path, text, strlen(text), 0600, err);
}

void instance_clear_running(const struct instance *in)
{
	char path[PATH_MAX];

	if (!instance_file(in, "run.json", path, NULL))
		unlink(path);
}

int instance_remove(const char *name, struct err *err)
{
	struct instance in;
	struct stat st;
	int rc = instance_start(&in, name, err);

	if (rc)
		return rc;
	if (lstat(in.dir, &st) || !S_ISDIR(st.st_mode))
		return err_set(err, ENOENT,
			       "there is no guest %s; hostel list shows them",
			       name);
	in.lock_fd = instance_try_lock(&in, true);
	if (in.lock_fd == -EWOULDBLOCK)
		return err_set(err, EBUSY,
			       "the guest %s is running; end it first", name);
	home_remove_tree(in.dir);
	if (in.lock_fd >= 0)
		close(in.lock_fd);
	return !access(in.dir, F_OK)
		       ? err_set(err, EIO, "cannot remove all of %s", in.dir)
		       : 0;
}

/* --- All of them ---------------------------------------------------------- */

static int instance_is_dir(const struct dirent *e)
{
	return instance_name_ok(e->d_name);
}

int instance_list(char ***names, unsigned *count, struct err *err)
{
	char dir[PATH_MAX];
	struct dirent **entries;
	int n, rc = home_dir("guests", dir, err);

	if (rc)
		return rc;
	n = scandir(dir, &entries, instance_is_dir, alphasort);
	*names = n < 0 ? NULL : calloc((size_t)n + 1, sizeof(**names));
	*count = 0;
	for (int i = 0; i < n; i++) {
		if (*names && instance_exists(entries[i]->d_name))
			(*names)[(*count)++] = strdup(entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return *names ? 0
		      : err_set(err, errno, "cannot read %s: %s", dir,
				strerror(errno));
}

bool instance_uses(const char *sha256, void *unused)
{
	struct instance in;
	char **names;
	unsigned count;
	bool used = false;

	/* When in doubt, it is in use. */
	if (instance_list(&names, &count, NULL))
		return true;
	for (unsigned i = 0; i < count; i++) {
		if (!used && !instance_load(&in, names[i], NULL)) {
			used = !strcmp(in.sha256, sha256);
			instance_free(&in);
		}
		free(names[i]);
	}
	free(names);
	return used;
}
