#include "image/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROC_LINE_MAX 400
#define PROC_CHUNK    65536
#define PROC_NOT_RUN  127

void proc_set_path(void)
{
	const char *old = getenv("PATH");
	char path[PATH_MAX];

	if (old && strstr(old, "/usr/sbin"))
		return;
	if (snprintf(path, sizeof(path), "%s:/usr/local/sbin:/usr/sbin:/sbin",
		     old ? old : "/usr/local/bin:/usr/bin:/bin") <
	    (int)sizeof(path))
		setenv("PATH", path, 1);
}

bool proc_have(const char *name)
{
	const char *at = getenv("PATH");
	char path[PATH_MAX];

	while (at && *at) {
		size_t n = strcspn(at, ":");

		if (snprintf(path, sizeof(path), "%.*s/%s", (int)n, at, name) <
			    (int)sizeof(path) &&
		    !access(path, X_OK))
			return true;
		at += n + (at[n] == ':');
	}
	return false;
}

static void proc_child(const char *const *argv, int out, int err_fd)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	    dup2(out, STDOUT_FILENO) >= 0 &&
	    (err_fd < 0 || dup2(err_fd, STDERR_FILENO) >= 0))
		execvp(argv[0], (char *const *)argv);
	_exit(PROC_NOT_RUN);
}

/* err_fd -1: its stderr is ours.  Returns the end to read from. */
static int proc_start(const char *const *argv, bool with_stderr, pid_t *pid)
{
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	*pid = fork();
	if (*pid == 0)
		proc_child(argv, pipes[1], with_stderr ? pipes[1] : -1);
	close(pipes[1]);
	if (*pid > 0)
		return pipes[0];
	close(pipes[0]);
	return -EAGAIN;
}

static int proc_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return 128 + WTERMSIG(status);
}

static void proc_hear(const struct proc *p, FILE *f, char last[PROC_LINE_MAX])
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, f)) > 0) {
		if (p->log_fd >= 0 && write(p->log_fd, line, (size_t)n) < 0)
			continue; /* a log is no reason to stop */
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0])
			snprintf(last, PROC_LINE_MAX, "%.*s", PROC_LINE_MAX - 1,
				 line);
		if (p->line)
			p->line(p->opaque, line);
	}
	free(line);
}

int proc_run(const struct proc *p, struct err *err)
{
	char last[PROC_LINE_MAX] = "";
	pid_t pid;
	int rc, fd = proc_start(p->argv, true, &pid);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f)
		return err_set(err, EIO, "cannot start %s", p->argv[0]);
	proc_hear(p, f, last);
	fclose(f);
	rc = proc_wait(pid);
	if (rc == PROC_NOT_RUN && !last[0])
		return err_set(err, ENOENT, "there is no program %s here",
			       p->argv[0]);
	if (rc)
		return err_set(err, EIO, "%s failed (status %d): %s",
			       p->argv[0], rc, last);
	return 0;
}

int proc_stream(const char *const *argv,
		int (*sink)(void *opaque, const void *buf, size_t len),
		void *opaque)
{
	pid_t pid;
	int rc = 0, fd = proc_start(argv, false, &pid);
	char *buf = malloc(PROC_CHUNK);
	ssize_t n = 1;

	if (fd < 0 || !buf) {
		free(buf);
		return -EIO;
	}
	while (!rc && n > 0) {
		n = read(fd, buf, PROC_CHUNK);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			rc = sink(opaque, buf, (size_t)n);
	}
	close(fd);
	free(buf);
	n = proc_wait(pid);
	return rc ? rc : n ? -EIO : 0;
}

int proc_output(const char *const *argv, char *out, unsigned size)
{
	pid_t pid;
	unsigned len = 0;
	int fd = proc_start(argv, false, &pid);
	char rest[512];
	ssize_t n = 1;

	if (fd < 0)
		return -EIO;
	while (n > 0) {
		bool full = len + 1 >= size;

		n = full ? read(fd, rest, sizeof(rest))
			 : read(fd, out + len, size - 1 - len);
		if (n > 0 && !full)
			len += (unsigned)n;
	}
	out[len] = '\0';
	close(fd);
	return proc_wait(pid) ? -EIO : 0;
}
