/*
 * hostel list, stop, power, reset, pause, resume, stats: guests that run, by
 * the name that --name gave them.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/guest.h"
#include "cli/opts.h"
#include "image/instance.h"
#include "vmm/monitor.h"

#define CTL_STOP_SECONDS 30

/* argv[1] is the name, and nothing follows; 1: help was asked for. */
static int ctl_name(int argc, char **argv, const char **name, struct err *err)
{
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return 1;
	if (argc < 2 || argv[1][0] == '-')
		return err_set(err, EINVAL,
			       "name a guest: hostel %s NAME; `hostel list` "
			       "shows those that run",
			       argv[0]);
	*name = argv[1];
	return 0;
}

static json_t *ctl_request(const char *verb)
{
	return json_pack("{s:s}", "do", verb);
}

/* --- list ----------------------------------------------------------------- */

/* A guest may end while we look. */
static void ctl_list_one(const char *name)
{
	const char *state = "?", *engine = "?";
	json_int_t pid = 0, cpus = 0, memory = 0;
	json_t *reply;

	if (!monitor_ask(name, ctl_request("status"), -1, &reply, NULL)) {
		json_unpack(reply, "{s:s, s:s, s:I, s:I, s:I}", "state", &state,
			    "engine", &engine, "pid", &pid, "cpus", &cpus,
			    "memory", &memory);
		printf("%-20s %-8s %8lld %4lld %6lldM  %s\n", name, state,
		       (long long)pid, (long long)cpus, (long long)memory >> 20,
		       engine);
	}
	json_decref(reply);
}

int cli_list(int argc, char **argv)
{
	struct err err = { "" };
	char **names;
	int n;

	if (argc > 1) {
		puts("Usage: hostel list\n\nLists the named guests that run, "
		     "and those of images that could\n(hostel start, rm).");
		return 0;
	}
	n = monitor_list(&names, &err);
	if (n < 0)
		return cli_fail(&err);
	printf("%-20s %-8s %8s %4s %7s  %s\n", "NAME", "STATE", "PID", "CPUS",
	       "MEMORY", "ENGINE");
	for (int i = 0; i < n; i++) {
		ctl_list_one(names[i]);
		free(names[i]);
	}
	free(names);
	guest_list_stopped();
	return 0;
}

/* --- stop ----------------------------------------------------------------- */

static const struct opt stop_opts[] = {
	{ "now", NULL, OPT_FLAG, "end it at once, as if the plug were pulled" },
	{ "timeout", "SECONDS", OPT_SECONDS,
	  "how long to wait before that (default: 30)" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

static int stop_help(void)
{
	puts("Usage: hostel stop NAME [OPTION]...\n\n"
	     "Presses the guest's power button and waits until it is off; "
	     "ends\n"
	     "it if that takes too long.\n");
	opts_help(stop_opts, stdout);
	return 0;
}

/* Until the guest's end of the connection is closed. */
static bool stop_wait(int sock, double seconds)
{
	struct pollfd p = { sock, POLLIN, 0 };

	return poll(&p, 1, seconds > 2e6 ? -1 : (int)(seconds * 1000)) > 0;
}

/*
 * Until `hostel run` has seen the guest end and let go of what is the guest's,
 * so that one who waits for us can start or remove it.
 */
static void stop_wait_lock(const char *name)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (int i = 0; i < CTL_STOP_SECONDS * 50; i++) {
		if (!instance_name_ok(name) || !instance_running(name))
			return;
		nanosleep(&pause, NULL);
	}
}

static int stop_guest(int sock, const json_t *options, struct err *err)
{
	json_t *timeout = json_object_get(options, "timeout");
	double seconds = timeout ? json_real_value(timeout) : CTL_STOP_SECONDS;
	json_t *reply;
	int rc;

	if (!json_object_get(options, "now") && seconds > 0) {
		rc = monitor_ask_on(sock, ctl_request("power"), -1, &reply,
				    err);
		json_decref(reply);
		if (rc || stop_wait(sock, seconds))
			return rc;
		fprintf(stderr,
			"hostel: it did not shut down in %g seconds; "
			"it is ended\n",
			seconds);
	}
	rc = monitor_ask_on(sock, ctl_request("stop"), -1, &reply, err);
	json_decref(reply);
	return rc;
}

int cli_stop(int argc, char **argv)
{
	json_t *options = json_object();
	struct err err = { "" };
	const char *name;
	int sock = -1;
	int rc = ctl_name(argc, argv, &name, &err);

	if (rc == 0)
		rc = opts_parse(stop_opts, argc - 1, argv + 1, options, &err);
	if (rc == 1) {
		json_decref(options);
		return stop_help();
	}
	if (rc == 0)
		rc = sock = monitor_connect(name, &err);
	if (sock >= 0) {
		rc = stop_guest(sock, options, &err);
		/* So that its name is free when we return. */
		if (rc == 0)
			stop_wait(sock, CTL_STOP_SECONDS);
		close(sock);
		if (rc == 0 || rc == -EPIPE)
			stop_wait_lock(name);
	}
	json_decref(options);
	return rc < 0 && rc != -EPIPE ? cli_fail(&err) : 0;
}

/* --- power, reset, pause, resume, stats ----------------------------------- */

int cli_ctl(int argc, char **argv)
{
	struct err err = { "" };
	const char *name;
	json_t *reply, *stats;
	int rc = ctl_name(argc, argv, &name, &err);

	if (rc == 1) {
		printf("Usage: hostel %s NAME\n", argv[0]);
		return 0;
	}
	if (rc)
		return cli_fail(&err);
	rc = monitor_ask(name, ctl_request(argv[0]), -1, &reply, &err);
	stats = json_object_get(reply, "stats");
	if (stats) {
		json_dumpf(stats, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(reply);
	return rc ? cli_fail(&err) : 0;
}
