/* hostel balloon: changes to the devices of a running guest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
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
		puts("Usage: hostel balloon NAME [SIZE]\n\n"
		     "Lets the guest use no more than SIZE of its memory, and\n"
		     "prints how it stands.");
		return 0;
	}
	if (argc < 2 || argc > 3) {
		err_set(&err, EINVAL,
			"name a guest, and a size or none: hostel balloon "
			"NAME [SIZE]");
		return cli_fail(&err);
	}
	request = json_pack("{s:s}", "do", "balloon");
	if (argc == 3)
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
