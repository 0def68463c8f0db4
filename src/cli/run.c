/* hostel run: one guest in the foreground. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/opts.h"
#include "cli/run_image.h"
#include "machine/config.h"
#include "machine/config_check.h"
#include "state/state.h"
#include "vmm/control.h"
#include "vmm/monitor.h"

static const struct opt run_opts[] = {
	{ "kernel", "FILE", OPT_STRING,
	  "bzImage, ELF with a PVH note, or Multiboot ELF" },
	{ "initrd", "FILE", OPT_STRING, "initial RAM file system" },
	{ "append", "STRING", OPT_STRING,
	  "kernel command line (default: console=ttyS0 or hvc0)" },
	{ "memory", "SIZE", OPT_STRING, "as in 512M, the default" },
	{ "cpus", "N", OPT_COUNT, "virtual processors (default: 1)" },
	{ "engine", "NAME", OPT_STRING,
	  "auto (default), kvm, translator or interpreter" },
	{ "cpu", "NAME", OPT_STRING,
	  "processor: host (default), v2, v3, haswell, zen, ..." },
	{ "restore", "FILE", OPT_STRING,
	  "go on with a guest that hostel save wrote" },
	{ "console", "WHERE", OPT_STRING,
	  "first serial port: stdio (default), none, a FILE; or virtio" },
	{ "no-reboot", NULL, OPT_FLAG, "end where the guest would reboot" },
	{ "timeout", "SECONDS", OPT_SECONDS,
	  "end the guest then, with status 124" },
	{ "stats", NULL, OPT_FLAG, "print one JSON object on stderr at exit" },
	{ "name", "NAME", OPT_STRING,
	  "the guest's name, for hostel list, stop, ..." },
	{ "trace", "FILE", OPT_STRING, "write what the guest does" },
	{ "trace-filter", "LIST", OPT_STRING,
	  "of what, comma-separated: insn, event, port, mmio" },
	{ "gdb", "[ADDR:]PORT", OPT_STRING, "wait for gdb(1) there" },
	{ "gdb-wait", NULL, OPT_FLAG,
	  "stop before the first instruction until gdb says go" },
	{ "disk", "FILE[,KEY=VALUE]...", OPT_LIST,
	  "a disk; keys: format, readonly, bus, cache, discard, bps, ..." },
	{ "cdrom", "FILE", OPT_STRING,
	  "a CD or DVD image in a SATA drive; none: empty" },
	{ "firmware", "WHICH", OPT_STRING,
	  "bios, uefi or an image: start as a PC does" },
	{ "nvram", "FILE", OPT_STRING,
	  "where a UEFI firmware keeps its variables" },
	{ "boot", "LIST", OPT_STRING,
	  "what firmware tries, in order: disk, cdrom, net; or menu" },
	{ "virtio", "WHERE", OPT_STRING,
	  "pci (default) or mmio: where virtio devices are" },
	{ "vga", "WHICH", OPT_STRING,
	  "std or none: a display (default: std with firmware)" },
	{ "screenshot", "FILE", OPT_STRING,
	  "write the screen at the end: a PNG, or its text as FILE.txt" },
	{ "firmware-log", "FILE", OPT_STRING,
	  "write what the firmware tells of its work" },
	{ "net", "WHICH[,KEY=VALUE]...", OPT_LIST,
	  "a network card: nat, switch:NAME, tap:DEVICE or none" },
	{ "p", "[ADDR:]PORT:PORT[/udp]", OPT_LIST,
	  "a port of the host goes to one of the guest, by NAT" },
	{ "v", "HOSTDIR:TAG[:ro]", OPT_LIST,
	  "a directory; in the guest: mount -t 9p TAG /mnt" },
	{ "vsock", "path=SOCKET[,cid=N]", OPT_LIST,
	  "vsock to the host's Unix sockets: SOCKET, SOCKET_PORT" },
	{ "rm", NULL, OPT_FLAG, "IMAGE: remove the guest when it has ended" },
	{ "disk-size", "SIZE", OPT_STRING,
	  "IMAGE: of the guest's disk (default: 10G)" },
	{ "user-data", "FILE", OPT_STRING, "IMAGE: for cloud-init's seed" },
	{ "meta-data", "FILE", OPT_STRING, "IMAGE: the same, added to ours" },
	{ "ssh-key", "FILE", OPT_LIST, "IMAGE: public key that may log in" },
	{ "ssh-port", "PORT", OPT_COUNT,
	  "IMAGE: of this host, for hostel ssh (default: a free one)" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

static int run_help(void)
{
	puts("Usage: hostel run IMAGE [OPTION]...\n"
	     "       hostel run --kernel FILE [OPTION]...\n"
	     "       hostel run [--firmware bios|uefi] --disk FILE "
	     "[OPTION]...\n\n"
	     "Runs a guest in the foreground: its first serial port is this\n"
	     "terminal, Ctrl-] ends it.  IMAGE is one of the store, as\n"
	     "debian:12, which is built or pulled if it is not there; the\n"
	     "guest made of it stays (hostel list, start, rm).\n");
	opts_help(run_opts, stdout);
	puts("\nExit status: 0 the guest powered off; (v << 1) | 1 it wrote v\n"
	     "to port 0xf4; 123 it crashed (--no-reboot); 124 --timeout\n"
	     "passed; 125 Hostel could not, and says why; 128 + n signal n.");
	return 0;
}

/* What is written at the guest's end is refused at its start. */
static int run_check_out(const char *option, const char *path, struct err *err)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char dir[PATH_MAX] = ".";

	if (!path)
		return 0;
	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1,
			 path);
	if (access(access(path, F_OK) ? dir : path, W_OK))
		return err_set(err, errno, "--%s: cannot write %s: %s", option,
			       path, strerror(errno));
	return 0;
}

/* Early, so that a typing mistake is told before anything is started. */
static int run_check_file(const char *option, const char *path, struct err *err)
{
	struct stat st;
	int fd;

	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_set(err, errno, "--%s: cannot open %s: %s", option,
			       path, strerror(errno));
	if (fstat(fd, &st))
		st.st_mode = 0;
	close(fd);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "--%s: %s is not a regular file",
			       option, path);
	if (!st.st_size)
		return err_set(err, EINVAL, "--%s: %s is empty", option, path);
	return 0;
}

static int run_check(const struct vm_config *c, struct err *err)
{
	char dir[256];

	if (c->name && monitor_dir(c->name, dir, sizeof(dir), err)) {
		err_prefix(err, "--name");
		return -EINVAL;
	}
	if (c->restore)
		return 0; /* a kernel is needed for reboots only */
	if (config_check(c, err))
		return -EINVAL;
	if (!c->kernel && !c->firmware && !c->disk_count && !c->cdrom)
		return err_set(err, EINVAL,
			       "nothing to run: name an image, as debian:12, "
			       "or a --kernel; or start as a PC does, with "
			       "--firmware, --disk or --cdrom");
	if (c->gdb_wait && !c->gdb)
		return err_set(err, EINVAL,
			       "--gdb-wait needs --gdb [ADDR:]PORT");
	if (c->trace_filter && !c->trace)
		return err_set(err, EINVAL,
			       "--trace-filter needs --trace FILE");
	if (run_check_file("kernel", c->kernel, err))
		return -EINVAL;
	if ((c->cdrom && strcmp(c->cdrom, "none") &&
	     run_check_file("cdrom", c->cdrom, err)) ||
	    run_check_out("screenshot", c->screenshot, err))
		return -EINVAL;
	return run_check_file("initrd", c->initrd, err);
}

/* --restore: the saved guest is as it was, but for what is said now. */
static int run_take_saved(json_t *options, struct err *err)
{
	const char *path =
		json_string_value(json_object_get(options, "restore"));
	json_t *saved;
	int rc;

	if (!path)
		return 0;
	rc = state_read_config(path, &saved, err);
	if (rc) {
		err_prefix(err, "--restore");
		return rc;
	}
	json_object_update_missing(options, saved);
	json_decref(saved);
	return 0;
}

static const char *run_default_append(const json_t *options)
{
	const char *console =
		json_string_value(json_object_get(options, "console"));

	return console && !strcmp(console, "virtio") ? "console=hvc0"
						     : "console=ttyS0";
}

static int run_config(const json_t *options, struct vm_config *config,
		      struct err *err)
{
	json_t *own = json_copy((json_t *)options);
	const char *key;
	json_t *value;
	void *next;
	int rc;

	json_object_foreach_safe(own, next, key,
				 value) if (run_image_option(key))
		json_object_del(own, key);
	rc = run_take_saved(own, err);
	if (!rc && !json_object_get(own, "append"))
		json_object_set_new(own, "append",
				    json_string(run_default_append(own)));
	if (!rc)
		rc = vm_config_from_json(config, own, err);
	json_decref(own);
	return rc ? rc : run_check(config, err);
}

static int run_start(const struct vm_config *config, bool *reset)
{
	struct err err = { "" };
	struct launch launch;
	int status;

	if (launch_start(&launch, config, &err))
		return cli_fail(&err);
	status = attach_run(&launch, config, &err);
	if (config->name)
		monitor_sweep(config->name); /* if hostel-vm could not */
	*reset = launch.reset;
	if (err.msg[0])
		cli_fail(&err);
	return status;
}

int run_guest(const json_t *options, bool *reset)
{
	struct vm_config config;
	struct err err;
	int status;

	*reset = false;
	vm_config_init(&config);
	if (run_config(options, &config, &err))
		status = cli_fail(&err);
	else
		status = run_start(&config, reset);
	vm_config_free(&config);
	return status;
}

static int run_check_kernel(const json_t *options, struct err *err)
{
	static const char *const keys[] = { "append", "initrd" };

	if (json_object_get(options, "kernel") ||
	    json_object_get(options, "restore"))
		return 0;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (json_object_get(options, keys[i]))
			return err_set(err, EINVAL,
				       "--%s is for a kernel that starts "
				       "without firmware: give --kernel too",
				       keys[i]);
	return 0;
}

/* Options that mean nothing here are refused, not forgotten. */
static int run_plain(const json_t *options)
{
	struct err err;
	const char *key;
	json_t *value;
	bool reset;

	if (run_check_kernel(options, &err))
		return cli_fail(&err);
	json_object_foreach((json_t *)options, key,
			    value) if (run_image_option(key))
	{
		err_set(&err, EINVAL,
			"--%s goes with an image: hostel run IMAGE", key);
		return cli_fail(&err);
	}
	return run_guest(options, &reset);
}

static int run_verb(int argc, char **argv, bool start)
{
	json_t *options = json_object(), *words = json_array();
	struct err err;
	int status, rc = opts_parse_words(run_opts, argc, argv, options, words,
					  &err);
	const char *word = json_string_value(json_array_get(words, 0));

	if (!rc && json_array_size(words) > 1)
		rc = err_set(&err, EINVAL,
			     "'%.64s' is one word too many: one image, and "
			     "files by name, as in --kernel FILE",
			     json_string_value(json_array_get(words, 1)));
	if (!rc && start && !word)
		rc = err_set(&err, EINVAL, "usage: hostel start NAME");
	if (rc == 1)
		status = run_help();
	else if (rc)
		status = cli_fail(&err);
	else if (start)
		status = run_instance(word, options);
	else
		status = word ? run_image(word, options) : run_plain(options);
	json_decref(words);
	json_decref(options);
	return status;
}

int cli_run(int argc, char **argv)
{
	return run_verb(argc, argv, false);
}

int cli_start(int argc, char **argv)
{
	return run_verb(argc, argv, true);
}
