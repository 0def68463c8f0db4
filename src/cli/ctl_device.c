/* hostel attach, detach, devices, cdrom, balloon: changes to the devices of a
 * running guest. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/opts.h"
#include "net/hub.h"
#include "vmm/monitor.h"

static bool device_wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

int cli_balloon(int argc, char **argv)
{
	struct err err = { "" };
	json_t *request, *reply;
	int rc;

	if (device_wants_help(argc, argv)) {
		puts("Usage: hostel balloon NAME [SIZE|reclaim]\n\n"
		     "Lets the guest use no more than SIZE of its memory, or\n"
		     "(reclaim) takes what is free now; prints how it stands.");
		return 0;
	}
	if (argc < 2 || argc > 3) {
		err_set(&err, EINVAL,
			"name a guest, and a size or none: hostel balloon "
			"NAME [SIZE|reclaim]");
		return cli_fail(&err);
	}
	request = json_pack("{s:s}", "do", "balloon");
	if (argc == 3 && !strcmp(argv[2], "reclaim"))
		json_object_set_new(request, "reclaim", json_true());
	else if (argc == 3)
		json_object_set_new(request, "memory", json_string(argv[2]));
	rc = monitor_ask(argv[1], request, -1, &reply, &err);
	if (rc == 0) {
		json_object_del(reply, "ok");
		json_dumpf(reply, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(reply);
	return rc ? cli_fail(&err) : 0;
}

/* --- attach --------------------------------------------------------------- */

static const struct opt attach_opts[] = {
	{ "disk", "FILE[,KEY=VALUE]...", OPT_STRING, "as hostel run has it" },
	{ "net", "KIND[,KEY=VALUE]...", OPT_STRING, "as hostel run has it" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

/* The guest's process has a working directory of its own. */
static json_t *attach_absolute(const char *disk, struct err *err)
{
	char cwd[PATH_MAX];

	if (disk[0] == '/')
		return json_string(disk);
	if (!getcwd(cwd, sizeof(cwd))) {
		err_set(err, errno, "where are we? %s", strerror(errno));
		return NULL;
	}
	return json_sprintf("%s/%s", cwd, disk);
}

/* "switch:NAME,...": the guest's process cannot start it. */
static int attach_switch(const char *net, struct err *err)
{
	char name[HUB_NAME_MAX + 1];

	if (!net || sscanf(net, "switch:%32[^,]", name) != 1)
		return 0;
	return hub_start(name, err);
}

static int attach_ask(const char *name, json_t *options, struct err *err)
{
	const char *disk = json_string_value(json_object_get(options, "disk"));
	const char *net = json_string_value(json_object_get(options, "net"));
	json_t *reply, *path;
	int rc = attach_switch(net, err);

	if (rc < 0)
		return rc;
	if (disk) {
		path = attach_absolute(disk, err);
		if (!path)
			return -EINVAL;
		json_object_set_new(options, "disk", path);
	}
	json_object_set_new(options, "do", json_string("device-add"));
	rc = monitor_ask(name, json_incref(options), -1, &reply, err);
	if (rc == 0)
		printf("slot %d\n",
		       (int)json_integer_value(json_object_get(reply, "slot")));
	json_decref(reply);
	return rc;
}

int cli_attach(int argc, char **argv)
{
	json_t *options = json_object();
	struct err err = { "" };
	int rc = 1;

	if (!device_wants_help(argc, argv))
		rc = argc > 1 && argv[1][0] != '-'
			     ? opts_parse(attach_opts, argc - 1, argv + 1,
					  options, &err)
			     : err_set(&err, EINVAL,
				       "name a guest: hostel attach NAME "
				       "--disk FILE");
	if (rc == 1) {
		puts("Usage: hostel attach NAME --disk FILE | --net KIND\n\n"
		     "Plugs a device into a guest that runs.\n");
		opts_help(attach_opts, stdout);
	}
	if (rc == 0)
		rc = attach_ask(argv[1], options, &err);
	json_decref(options);
	return rc < 0 ? cli_fail(&err) : 0;
}

/* --- detach, devices ------------------------------------------------------ */

/* What is all digits is a slot, else a disk's file. */
static json_t *detach_request(const char *what, struct err *err)
{
	json_t *j = json_pack("{s:s}", "do", "device-remove");
	json_t *path;

	if (what[strspn(what, "0123456789")] == '\0') {
		json_object_set_new(j, "slot", json_integer(atoi(what)));
		return j;
	}
	path = attach_absolute(what, err);
	json_object_set_new(j, "disk", path ? path : json_null());
	return j;
}

int cli_detach(int argc, char **argv)
{
	struct err err = { "" };
	json_t *reply;
	int rc;

	if (device_wants_help(argc, argv)) {
		puts("Usage: hostel detach NAME SLOT|FILE\n\n"
		     "Asks the guest to let go of a device, by its slot or by\n"
		     "the disk's file, and waits until it has.");
		return 0;
	}
	if (argc != 3) {
		err_set(&err, EINVAL,
			"name a guest and a device: hostel detach NAME "
			"SLOT|FILE; `hostel devices NAME` lists them");
		return cli_fail(&err);
	}
	rc = monitor_ask(argv[1], detach_request(argv[2], &err), -1, &reply,
			 &err);
	json_decref(reply);
	return rc ? cli_fail(&err) : 0;
}

static void devices_print(const json_t *list)
{
	json_t *j;
	size_t i;

	printf("%4s  %-16s %s\n", "SLOT", "DEVICE", "WHAT");
	json_array_foreach((json_t *)list, i, j)
	{
		const char *disk =
			json_string_value(json_object_get(j, "disk"));
		const char *net = json_string_value(json_object_get(j, "net"));

		printf("%4d  %-16s %s\n",
		       (int)json_integer_value(json_object_get(j, "slot")),
		       json_string_value(json_object_get(j, "device")),
		       disk  ? disk
		       : net ? net
			     : "");
	}
}

int cli_devices(int argc, char **argv)
{
	struct err err = { "" };
	json_t *reply;
	int rc;

	if (device_wants_help(argc, argv) || argc != 2) {
		puts("Usage: hostel devices NAME\n\n"
		     "Lists what is plugged into a guest's PCI bus.");
		return 0;
	}
	rc = monitor_ask(argv[1], json_pack("{s:s}", "do", "device-list"), -1,
			 &reply, &err);
	if (rc == 0)
		devices_print(json_object_get(reply, "devices"));
	json_decref(reply);
	return rc ? cli_fail(&err) : 0;
}

/* --- cdrom ---------------------------------------------------------------- */

int cli_cdrom(int argc, char **argv)
{
	struct err err = { "" };
	json_t *reply = NULL, *file;
	int rc = -1;

	if (device_wants_help(argc, argv)) {
		puts("Usage: hostel cdrom NAME FILE|none\n\n"
		     "Puts another CD or DVD image into a guest's drive, or "
		     "empties it.");
		return 0;
	}
	if (argc != 3) {
		err_set(&err, EINVAL,
			"name a guest and an image: hostel cdrom NAME "
			"FILE|none");
		return cli_fail(&err);
	}
	file = strcmp(argv[2], "none") ? attach_absolute(argv[2], &err)
				       : json_string("none");
	if (file)
		rc = monitor_ask(
			argv[1],
			json_pack("{s:s, s:o}", "do", "cdrom", "file", file),
			-1, &reply, &err);
	json_decref(reply);
	return rc ? cli_fail(&err) : 0;
}
