/*
 * run_image.c - from an image's name to a login.
 *
 *	run IMAGE ──> store: there? else build, else pull
 *		  ──> guests/NAME: there? else overlay, seed, config.json
 *	start NAME ─> guests/NAME ──> kernel and initrd off its disk
 *		  ──> hostel-vm, again at each reboot
 *
 * Started without --firmware, the guest's kernel is read off its own disk at
 * every start (image/kernel.h), a reboot from inside included: hostel-vm
 * then ends, and what the disk holds by now is started anew.  A disk from
 * which that does not work is booted by its boot loader, with SeaBIOS.
 */
#include "cli/run_image.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "block/block.h"
#include "cli/cli.h"
#include "cli/image.h"
#include "image/home.h"
#include "image/instance.h"
#include "image/kernel.h"
#include "image/keys.h"
#include "image/proc.h"
#include "image/seed.h"
#include "machine/config.h"
#include "vmm/control.h"

#define RUN_DISK_SIZE (10ull << 30)
#define RUN_MEMORY    "1G"
#define RUN_CPUS      2
#define RUN_KEYS_MAX  32
#define RUN_SSH_PORT  22

/* Ours; the guest's description knows nothing of them. */
static const char *const run_image_keys[] = {
	"rm", "disk-size", "user-data", "meta-data", "ssh-key", "ssh-port",
};

/* Of one run, not of the guest: not kept in its config.json. */
static const char *const run_transient[] = {
	"rm",           "name", "restore",  "timeout",   "stats",   "trace",
	"trace-filter", "gdb",  "gdb-wait", "no-reboot", "ssh-key", "disk-size",
};

#define RUN_COUNT(a) (sizeof(a) / sizeof((a)[0]))

bool run_image_option(const char *key)
{
	for (size_t i = 0; i < RUN_COUNT(run_image_keys); i++)
		if (!strcmp(run_image_keys[i], key))
			return true;
	return false;
}

static const char *run_opt(const json_t *options, const char *key)
{
	return json_string_value(json_object_get(options, key));
}

/* --- The image ------------------------------------------------------------ */

static int run_get_image(struct store *s, const char *name, struct image *image,
			 struct err *err)
{
	struct fetch fetch = { .url = fetch_url(name) };
	struct build build = { .release = name };
	struct progress p;
	struct err why;
	int rc = store_find(s, name, image, err);

	if (rc != -ENOENT || (!build_knows(name) && !fetch.url))
		return rc;
	progress_init(&p, stderr);
	rc = build_knows(name) ? build_check_host(&why) : -ENOENT;
	if (!rc)
		rc = image_build(s, &build, name, &p, &why);
	else if (fetch.url)
		rc = image_pull(s, &fetch, name, &p,
				build_knows(name) ? NULL : &why);
	progress_end(&p);
	if (rc)
		return err_set(err, -rc, "%s", why.msg);
	return store_find(s, name, image, err);
}

/* --- A new guest ---------------------------------------------------------- */

/* The overlay is never smaller than what it lies on. */
static int run_disk_size(const json_t *options, const struct image *image,
			 uint64_t *size, struct err *err)
{
	const char *given = run_opt(options, "disk-size");

	*size = RUN_DISK_SIZE;
	if (given && vm_parse_size(given, size, err)) {
		err_prefix(err, "--disk-size");
		return -EINVAL;
	}
	if (given && *size < image->disk_size)
		return err_set(err, EINVAL,
			       "--disk-size: the image %s has %llu bytes "
			       "already",
			       image->name,
			       (unsigned long long)image->disk_size);
	if (*size < image->disk_size)
		*size = image->disk_size;
	return 0;
}

static int run_make_disk(struct store *s, const struct instance *in,
			 const json_t *options, const struct image *image,
			 struct err *err)
{
	char path[PATH_MAX], blob[PATH_MAX];
	struct block_create how = { .path = path,
				    .format = "qcow2",
				    .backing = blob,
				    .backing_format = image->format,
				    .force = true };
	int rc = instance_file(in, "disk.qcow2", path, err);

	if (!rc)
		rc = store_blob(s, image, blob, err);
	if (!rc)
		rc = run_disk_size(options, image, &how.size, err);
	return rc ? rc : block_create(&how, err);
}

/* The store's own key and those of --ssh-key, each a line of its own. */
static int run_collect_keys(const json_t *options, char **text,
			    const char *keys[RUN_KEYS_MAX], unsigned *count,
			    struct err *err)
{
	const json_t *list = json_object_get(options, "ssh-key");
	char *own, *more = NULL, *save, *line;
	int rc = keys_public(&own, err);

	if (!rc && list)
		rc = image_join_keys(list, &more, err);
	if (!rc && asprintf(text, "%s\n%s", own, more ? more : "") < 0)
		rc = err_set(err, ENOMEM, "out of memory");
	if (rc)
		return rc;
	free(own);
	free(more);
	*count = 0;
	for (line = strtok_r(*text, "\r\n", &save);
	     line && *count < RUN_KEYS_MAX;
	     line = strtok_r(NULL, "\r\n", &save))
		if (line[0] != '#')
			keys[(*count)++] = line;
	return 0;
}

static int run_read_opt(const json_t *options, const char *key, char **text,
			struct err *err)
{
	const char *path = run_opt(options, key);
	int rc;

	*text = NULL;
	if (!path)
		return 0;
	rc = keys_read_file(path, text, err);
	if (rc)
		err_prefix(err, "--%s", key);
	return rc;
}

/* What cloud images shall do where the person says nothing. */
#define RUN_USER_DATA                              \
	"#cloud-config\npassword: " BUILD_PASSWORD \
	"\nchpasswd: {expire: false}\nssh_pwauth: false\n"

static int run_make_seed(const struct instance *in, const json_t *options,
			 bool own_password, struct err *err)
{
	const char *keys[RUN_KEYS_MAX];
	char path[PATH_MAX], id[96];
	char *user = NULL, *meta = NULL, *text = NULL;
	struct seed seed = { .name = in->name,
			     .instance_id = id,
			     .keys = keys };
	int rc = instance_file(in, "seed.iso", path, err);

	snprintf(id, sizeof(id), "%s-%llx", in->name,
		 (unsigned long long)time(NULL));
	if (!rc)
		rc = run_read_opt(options, "user-data", &user, err);
	if (!rc)
		rc = run_read_opt(options, "meta-data", &meta, err);
	if (!rc)
		rc = run_collect_keys(options, &text, keys, &seed.key_count,
				      err);
	seed.user_data = user || own_password ? user : RUN_USER_DATA;
	seed.meta_data = meta;
	if (!rc)
		rc = seed_write(path, &seed, err);
	free(user);
	free(meta);
	free(text);
	return rc;
}

static void run_keep_options(struct instance *in, const json_t *options)
{
	in->options = json_deep_copy(options);
	for (size_t i = 0; i < RUN_COUNT(run_transient); i++)
		json_object_del(in->options, run_transient[i]);
}

static int run_fill(struct store *s, struct instance *in,
		    const struct image *image, const json_t *options,
		    struct err *err)
{
	int rc;

	snprintf(in->image, sizeof(in->image), "%s", image->name);
	snprintf(in->sha256, sizeof(in->sha256), "%s", image->sha256);
	snprintf(in->user, sizeof(in->user), "%s", image->user);
	snprintf(in->password, sizeof(in->password), "%s",
		 image->password[0] ? image->password : BUILD_PASSWORD);
	run_keep_options(in, options);
	rc = run_make_disk(s, in, options, image, err);
	if (!rc)
		rc = run_make_seed(in, options, image->password[0], err);
	/* Last: a guest is there when its description is. */
	return rc ? rc : instance_save(in, err);
}

static int run_create(struct store *s, struct instance *in, const char *name,
		      const char *image_name, const json_t *options,
		      struct err *err)
{
	struct image image;
	int rc = run_get_image(s, image_name, &image, err);

	if (!rc)
		rc = instance_create(in, name, err);
	if (rc)
		return rc;
	rc = run_fill(s, in, &image, options, err);
	if (rc) {
		struct err unused;

		instance_free(in);
		instance_remove(name, &unused);
	}
	return rc;
}

static int run_reopen(struct instance *in, const char *name,
		      const char *image_name, struct err *err)
{
	int rc = instance_load(in, name, err);

	if (!rc && image_name && strcmp(in->image, image_name))
		rc = err_set(err, EEXIST,
			     "the guest %s was made of %s; choose another "
			     "--name, or remove it: hostel rm %s",
			     name, in->image, name);
	if (!rc)
		rc = instance_lock(in, err);
	if (rc)
		instance_free(in);
	return rc;
}

/* --- What the guest's process is told ------------------------------------- */

static void run_default(json_t *options, const char *key, json_t *value)
{
	if (json_object_get(options, key))
		json_decref(value);
	else
		json_object_set_new(options, key, value);
}

/* An array of what is there: one entry alone becomes one. */
static json_t *run_list(json_t *options, const char *key)
{
	json_t *list = json_object_get(options, key);

	if (json_is_array(list))
		return list;
	list = list ? json_pack("[O]", list) : json_array();
	json_object_set_new(options, key, list);
	return list;
}

static bool run_has_nat(const json_t *options)
{
	const json_t *nets = json_object_get(options, "net");
	size_t i;
	json_t *net;

	json_array_foreach(nets, i,
			   net) if (!strncmp(json_string_value(net) ?: "",
					     "nat", 3)) return true;
	return false;
}

static unsigned run_free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned port = 0;

	if (fd >= 0 && !bind(fd, (struct sockaddr *)&a, len) &&
	    !getsockname(fd, (struct sockaddr *)&a, &len))
		port = ntohs(a.sin_port);
	if (fd >= 0)
		close(fd);
	return port;
}

/* 0: the guest has no NAT, or there is no port. */
static unsigned run_forward_ssh(json_t *options)
{
	const json_t *given = json_object_get(options, "ssh-port");
	unsigned port;
	char text[64];

	if (!run_has_nat(options))
		return 0;
	port = given ? (unsigned)json_integer_value(given) : run_free_port();
	if (!port)
		return 0;
	snprintf(text, sizeof(text), "127.0.0.1:%u:%d", port, RUN_SSH_PORT);
	json_array_append_new(run_list(options, "p"), json_string(text));
	return port;
}

static int run_add_disks(const struct instance *in, json_t *options,
			 struct err *err)
{
	char disk[PATH_MAX], seed[PATH_MAX];
	json_t *list = run_list(options, "disk");
	int rc = instance_file(in, "disk.qcow2", disk, err);

	if (!rc)
		rc = instance_file(in, "seed.iso", seed, err);
	if (rc)
		return rc;
	json_array_insert_new(
		list, 0,
		json_pack("{s:s, s:s}", "file", disk, "format", "qcow2"));
	json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "file", seed,
					      "format", "raw", "readonly", 1));
	return 0;
}

static int run_nvram(const struct instance *in, json_t *options,
		     struct err *err)
{
	char path[PATH_MAX];
	const char *firmware = run_opt(options, "firmware");
	int rc = instance_file(in, "nvram", path, err);

	if (!rc && firmware && strcmp(firmware, "bios"))
		run_default(options, "nvram", json_string(path));
	return rc;
}

/* --- The kernel of its disk ----------------------------------------------- */

static int run_block_read(void *opaque, void *buf, uint64_t offset, size_t len)
{
	return block_read(opaque, buf, offset, len);
}

static int run_find_kernel(const struct instance *in,
			   struct kernel_entry *entry, struct err *err)
{
	char path[PATH_MAX];
	struct block_open how = { .path = path,
				  .format = "qcow2",
				  .readonly = true };
	struct source source = { run_block_read, NULL, 0 };
	struct block *b;
	int rc = instance_file(in, "disk.qcow2", path, err);

	if (!rc)
		rc = block_open(&b, &how, err);
	if (rc)
		return rc;
	source.opaque = b;
	source.size = b->size;
	rc = kernel_extract(&source, in->dir, entry, err);
	block_close(b);
	return rc;
}

/* What its own boot loader says to the kernel is not ours to change. */
static void run_by_firmware(json_t *options)
{
	run_default(options, "firmware", json_string("bios"));
	if (json_object_get(options, "append"))
		fputs("hostel: --append does not reach a guest that firmware "
		      "starts; its boot loader has the kernel's command line\n",
		      stderr);
}

/* A disk that cannot even be opened is told; else firmware may know more. */
static int run_set_kernel(const struct instance *in, json_t *options,
			  struct err *err)
{
	char kernel[PATH_MAX], initrd[PATH_MAX];
	const char *append = run_opt(options, "append");
	struct kernel_entry entry;
	struct err why;
	json_t *line;

	if (json_object_get(options, "restore") ||
	    json_object_get(options, "kernel"))
		return 0;
	/* Who says what firmware shall do wants firmware. */
	if (json_object_get(options, "firmware") ||
	    json_object_get(options, "boot") ||
	    run_find_kernel(in, &entry, &why)) {
		run_by_firmware(options);
		return 0;
	}
	if (instance_file(in, "kernel", kernel, err) ||
	    instance_file(in, "initrd", initrd, err))
		return -ENAMETOOLONG;
	line = json_sprintf("%s%s%s", entry.append, append ? " " : "",
			    append ? append : "");
	json_object_set_new(options, "append", line);
	json_object_set_new(options, "kernel", json_string(kernel));
	if (entry.initrd_path[0])
		json_object_set_new(options, "initrd", json_string(initrd));
	return 0;
}

/* --- Running -------------------------------------------------------------- */

static void run_tell(const struct instance *in, unsigned port)
{
	fprintf(stderr, "hostel: starting %s (%s)", in->name, in->image);
	if (in->user[0] && in->password[0])
		fprintf(stderr, "; log in as %s, password %s", in->user,
			in->password);
	if (port)
		fprintf(stderr, "; from another terminal: hostel ssh %s",
			in->name);
	fputs("; Ctrl-] ends it\n", stderr);
}

/*
 * One life of the machine after the other.  A triple fault is a reset like
 * any other on a PC, so that too starts the guest again.
 */
static int run_lives(const struct instance *in, const json_t *options)
{
	bool stays = json_is_true(json_object_get(options, "no-reboot"));
	double limit = json_number_value(json_object_get(options, "timeout"));
	uint64_t began = clock_mono_ns();
	struct err err = { "" };
	bool reset = true;
	int status = 0;

	while (reset) {
		double used = (double)(clock_mono_ns() - began) / 1e9;
		json_t *life = json_deep_copy(options);

		if (run_set_kernel(in, life, &err)) {
			json_decref(life);
			return cli_fail(&err);
		}
		if (limit > 0)
			json_object_set_new(life, "timeout",
					    json_real(limit - used > 0.001
							      ? limit - used
							      : 0.001));
		if (json_object_get(life, "kernel"))
			json_object_set_new(life, "no-reboot", json_true());
		status = run_guest(life, &reset);
		reset = !stays && json_object_get(life, "kernel") &&
			(reset || status == CONTROL_STATUS_CRASH);
		json_decref(life);
	}
	return status;
}

/* Takes over what is in *in. */
static int run_it(struct instance *in, json_t *options)
{
	bool remove = json_is_true(json_object_get(options, "rm"));
	struct err err = { "" };
	unsigned port = 0;
	int status;

	run_default(options, "memory", json_string(RUN_MEMORY));
	run_default(options, "cpus", json_integer(RUN_CPUS));
	run_default(options, "net", json_pack("[s]", "nat"));
	json_object_set_new(options, "name", json_string(in->name));
	if (run_add_disks(in, options, &err) || run_nvram(in, options, &err)) {
		status = cli_fail(&err);
	} else {
		port = run_forward_ssh(options);
		instance_set_running(in, port, NULL);
		run_tell(in, port);
		status = run_lives(in, options);
		instance_clear_running(in);
	}
	instance_free(in);
	if (remove && instance_remove(in->name, &err))
		cli_fail(&err);
	return status;
}

/* What is given now counts before what the guest was made with. */
static int run_merged(struct instance *in, const json_t *options)
{
	json_t *all = json_deep_copy(in->options);
	int status;

	json_object_update(all, (json_t *)options);
	status = run_it(in, all);
	json_decref(all);
	return status;
}

static void run_name(const char *image, const json_t *options,
		     char name[INSTANCE_NAME_MAX + 1])
{
	const char *given = run_opt(options, "name");
	unsigned number = 0;
	size_t n;

	if (given) {
		snprintf(name, INSTANCE_NAME_MAX + 1, "%s", given);
		return;
	}
	instance_default_name(image, name);
	if (!json_is_true(json_object_get(options, "rm")))
		return;
	/* One that goes again takes no other's place. */
	n = strlen(name) < INSTANCE_NAME_MAX - 9 ? strlen(name)
						 : INSTANCE_NAME_MAX - 9;
	if (getrandom(&number, sizeof(number), 0) < 0)
		number = (unsigned)getpid();
	snprintf(name + n, INSTANCE_NAME_MAX + 1 - n, "-%08x", number);
}

int run_image(const char *image, json_t *options)
{
	char name[INSTANCE_NAME_MAX + 1];
	struct instance in;
	struct store *s;
	struct err err;
	int rc;

	proc_set_path();
	run_name(image, options, name);
	rc = store_open(&s, &err);
	if (rc)
		return cli_fail(&err);
	if (!instance_name_ok(name))
		rc = err_set(&err, EINVAL,
			     "--name: '%.64s' is none for a guest that stays: "
			     "letters, digits and '-'",
			     name);
	else if (instance_exists(name))
		rc = run_reopen(&in, name, image, &err);
	else
		rc = run_create(s, &in, name, image, options, &err);
	store_close(s);
	return rc ? cli_fail(&err) : run_merged(&in, options);
}

int run_instance(const char *name, json_t *options)
{
	struct instance in;
	struct err err;

	if (run_reopen(&in, name, NULL, &err))
		return cli_fail(&err);
	return run_merged(&in, options);
}
