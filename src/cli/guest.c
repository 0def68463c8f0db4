/* The guests that stay: hostel rm, and their part of hostel list. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/guest.h"
#include "image/instance.h"

static void guest_print_stopped(const char *name)
{
	struct instance in;
	struct err err;

	if (instance_running(name))
		return;
	if (instance_load(&in, name, &err)) {
		printf("%-20s damaged  %s\n", name, err.msg);
		return;
	}
	printf("%-20s stopped  of %s\n", name, in.image);
	instance_free(&in);
}

void guest_list_stopped(void)
{
	char **names;
	unsigned count;

	if (instance_list(&names, &count, NULL))
		return;
	for (unsigned i = 0; i < count; i++) {
		guest_print_stopped(names[i]);
		free(names[i]);
	}
	free(names);
}

int cli_rm(int argc, char **argv)
{
	struct store *store;
	struct err err;
	int status = 0;

	if (argc < 2 || argv[1][0] == '-') {
		err_set(&err, EINVAL, "usage: hostel rm NAME...");
		return cli_fail(&err);
	}
	for (int i = 1; i < argc; i++)
		if (instance_remove(argv[i], &err))
			status = cli_fail(&err);
	/* An image that was only kept for one of them. */
	if (!store_open(&store, &err)) {
		store_collect(store, instance_uses, NULL);
		store_close(store);
	}
	return status;
}
