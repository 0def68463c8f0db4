/* hostel(1): finds the verb. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "vmm/control.h"

struct cli_verb {
	const char *name;
	cli_verb_fn *fn;
	const char *help;
};

static const struct cli_verb cli_verbs[] = {
	{ "run", cli_run, "run a guest in the foreground" },
	{ "disk", cli_disk, "make, look at and change disk images" },
	{ "list", cli_list, "list the named guests that run" },
	{ "stop", cli_stop, "shut a guest down; --now: end it at once" },
	{ "power", cli_ctl, "press a guest's power button" },
	{ "reset", cli_ctl, "reset a guest, as its reset button would" },
	{ "pause", cli_ctl, "let a guest stand still" },
	{ "resume", cli_ctl, "let it go on" },
	{ "stats", cli_ctl, "print what a guest has cost so far" },
	{ "attach", cli_attach, "plug a disk or a network card in" },
	{ "detach", cli_detach, "take one out" },
	{ "devices", cli_devices, "list what is on a guest's PCI bus" },
	{ "cdrom", cli_cdrom, "change the CD in a guest's drive" },
	{ "balloon", cli_balloon, "set how much memory a guest may use" },
	{ "save", cli_save, "write a guest into a file, and end it" },
	{ "screenshot", cli_screenshot, "write a guest's screen into a file" },
	{ "sendkey", cli_sendkey, "press keys on a guest's keyboard" },
	{ "start", cli_start, "run a guest that was run before" },
	{ "rm", cli_rm, "remove a guest with its disk" },
	{ "ssh", cli_ssh, "log in to a guest, or run a command there" },
	{ "cp", cli_cp, "copy files to or from a guest" },
	{ "image", cli_image, "build, pull, import, list, remove images" },
	{ "doctor", cli_doctor, "say what this host can run, and why" },
	{ "version", cli_version, "print the version" },
	{ "help", cli_help, "print this" },
};

#define CLI_VERBS (sizeof(cli_verbs) / sizeof(cli_verbs[0]))

int cli_fail(const struct err *err)
{
	fprintf(stderr, "hostel: %s\n", err->msg);
	return CONTROL_STATUS_ERROR;
}

int cli_help(int argc, char **argv)
{
	puts("Usage: hostel VERB [OPTION]...\n\n"
	     "Runs virtual machines.\n");
	for (size_t i = 0; i < CLI_VERBS; i++)
		printf("  %-10s %s\n", cli_verbs[i].name, cli_verbs[i].help);
	puts("\n`hostel run --help` lists the options of a guest; those verbs "
	     "that act on one\ntake the name that --name gave it.");
	return 0;
}

int cli_version(int argc, char **argv)
{
	puts("hostel " HOSTEL_VERSION);
	return 0;
}

/* Files that we open must not become somebody's stdout. */
static int cli_open_std_fds(struct err *err)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (open("/dev/null", O_RDWR) != fd) /* the lowest is free */
			return err_set(err, errno, "cannot open /dev/null: %s",
				       strerror(errno));
	}
	return 0;
}

static const char *cli_alias(const char *name)
{
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		return "help";
	if (!strcmp(name, "--version"))
		return "version";
	return name;
}

int main(int argc, char **argv)
{
	struct err err;
	const char *name;

	if (cli_open_std_fds(&err))
		return cli_fail(&err);
	if (argc < 2) {
		err_set(&err, 1, "a verb is missing; try hostel --help");
		return cli_fail(&err);
	}
	name = cli_alias(argv[1]);
	for (size_t i = 0; i < CLI_VERBS; i++)
		if (!strcmp(cli_verbs[i].name, name))
			return cli_verbs[i].fn(argc - 1, argv + 1);
	err_set(&err, 1, "there is no verb '%.64s'; try hostel --help", name);
	return cli_fail(&err);
}
