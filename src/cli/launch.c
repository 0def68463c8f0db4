#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control.h"

#define LAUNCH_PROGRAM "hostel-vm"

/* path = the directory of this program, then `rest`. */
static int launch_beside(char path[PATH_MAX], const char *rest)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(path + PATH_MAX - slash) <= strlen(rest))
		return -ENAMETOOLONG;
	strcpy(slash, rest);
	return 0;
}

/* Execs hostel-vm from wherever it is; returns only if it is nowhere. */
static void launch_exec(const char *name)
{
	/* As built, and as installed under any prefix. */
	static const char *const beside[] = {
		"/" LAUNCH_PROGRAM,
		"/../libexec/hostel/" LAUNCH_PROGRAM,
	};
	char path[PATH_MAX];
	char *argv[] = { LAUNCH_PROGRAM, (char *)name, NULL };

	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
		if (!launch_beside(path, beside[i]))
			execv(path, argv);
	execv(HOSTEL_LIBEXECDIR "/" LAUNCH_PROGRAM, argv);
	execvp(LAUNCH_PROGRAM, argv);
}

static void launch_report(struct err *why)
{
	json_t *end = json_object();
	json_t *j = json_object();

	json_object_set_new(end, "status", json_integer(CONTROL_STATUS_ERROR));
	json_object_set_new(end, "error", json_string(why->msg));
	json_object_set_new(j, "end", end);
	control_send(CONTROL_FD, j, NULL);
}

/* Standard output carries the guest's bytes and nothing else: not its child's.
 */
static int launch_redirect(int control, int console)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0 || dup2(control, CONTROL_FD) < 0)
		return -errno;
	if (console < 0)
		close(CONTROL_CONSOLE_FD);
	else if (dup2(console, CONTROL_CONSOLE_FD) < 0)
		return -errno;
	return 0;
}

static void launch_child(int control, int console, const char *name)
{
	struct err why;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!launch_redirect(control, console))
		launch_exec(name);
	err_set(&why, errno,
		"cannot start " LAUNCH_PROGRAM ": %s; it belongs beside hostel "
		"or in " HOSTEL_LIBEXECDIR,
		strerror(errno));
	launch_report(&why);
	_exit(CONTROL_STATUS_ERROR);
}

/* --- Descriptors ---------------------------------------------------------- */

/* Above CONTROL_CONSOLE_FD, so that dup2 in the child overwrites none. */
static int launch_move_up(int *fd)
{
	int up = fcntl(*fd, F_DUPFD_CLOEXEC, CONTROL_CONSOLE_FD + 1);

	if (up < 0)
		return -errno;
	close(*fd);
	*fd = up;
	return 0;
}

static int launch_socketpair(int type, int pair[2], struct err *err)
{
	int rc = 0;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair))
		return err_set(err, errno, "cannot make a socket: %s",
			       strerror(errno));
	for (int i = 0; i < 2 && !rc; i++)
		rc = launch_move_up(&pair[i]);
	if (!rc)
		return 0;
	close(pair[0]);
	close(pair[1]);
	return err_set(err, -rc, "cannot make a socket: %s", strerror(-rc));
}

static int launch_open_file(const char *path, int *fd, struct err *err)
{
	*fd = open(path,
		   O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_NONBLOCK |
			   O_CLOEXEC,
		   0666);
	if (*fd < 0 || launch_move_up(fd))
		return err_set(err, errno, "--console: cannot open %s: %s",
			       path, strerror(errno));
	return 0;
}

/* pair[0]: ours, pair[1]: the child's; -1 for what there is none of. */
static int launch_open_console(const struct vm_config *c, int pair[2],
			       struct err *err)
{
	pair[0] = -1;
	pair[1] = -1;
	if (c->console == VM_CONSOLE_FILE)
		return launch_open_file(c->console_file, &pair[1], err);
	if (c->console == VM_CONSOLE_NONE)
		return 0;
	if (launch_socketpair(SOCK_STREAM, pair, err))
		return -EIO;
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	return 0;
}

static void launch_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

static int launch_send_config(int fd, const struct vm_config *config,
			      struct err *err)
{
	json_t *j = json_object();
	int rc;

	json_object_set_new(j, "config", vm_config_to_json(config));
	rc = control_send(fd, j, err);
	/* It ended before it listened, but not without a last word. */
	return rc == -EPIPE ? 0 : rc;
}

static int launch_fork(struct launch *l, int control[2], int console[2],
		       const struct vm_config *config, struct err *err)
{
	pid_t pid = fork();

	if (pid == 0)
		launch_child(control[1], console[1], config->name);
	close(control[1]);
	launch_close(console[1]);
	*l = (struct launch){ pid, control[0], console[0], false };
	if (pid < 0)
		return err_set(err, errno, "cannot start a process: %s",
			       strerror(errno));
	return launch_send_config(l->control, config, err);
}

int launch_start(struct launch *l, const struct vm_config *config,
		 struct err *err)
{
	int control[2], console[2];
	int rc = launch_open_console(config, console, err);

	if (rc)
		return rc;
	rc = launch_socketpair(SOCK_SEQPACKET, control, err);
	if (rc) {
		launch_close(console[0]);
		launch_close(console[1]);
		return rc;
	}
	return launch_fork(l, control, console, config, err);
}
