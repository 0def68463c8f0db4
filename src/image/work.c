#include "image/work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORK_GRACE_S 60 /* for others' programs to clean up in */

/* What the child writes into the pipe when it is done: fits in one write. */
struct work_end {
	int rc;
	struct err err;
};

struct work {
	pid_t pid;
	int fd;
	sigset_t heard, old;
};

/* To the group, as Ctrl-C does: some programs end only with their children. */
static void work_child_ends(int sig)
{
	kill(0, SIGINT);
	_exit(1);
}

static void work_child(const struct work *w, int fd, work_fn *fn, void *opaque)
{
	struct work_end end = { .rc = 0 };

	setpgid(0, 0);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, work_child_ends);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigprocmask(SIG_SETMASK, &w->old, NULL);
	end.rc = fn(opaque, &end.err);
	fflush(NULL);
	_exit(write(fd, &end, sizeof(end)) != sizeof(end));
}

/* One that is ignored, as by nohup(1), would wait too once it is blocked. */
static void work_hear(sigset_t *set)
{
	static const int all[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction now;

	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!sigaction(all[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(set, all[i]);
}

/* Whatever the child leaves behind becomes ours, to be waited for. */
static int work_start(struct work *w, work_fn *fn, void *opaque,
		      struct err *err)
{
	int pipes[2];

	work_hear(&w->heard);
	if (pipe2(pipes, O_CLOEXEC))
		return err_set(err, errno, "cannot make a pipe: %s",
			       strerror(errno));
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would take the status away */
	sigprocmask(SIG_BLOCK, &w->heard, &w->old);
	fflush(NULL);
	w->pid = fork();
	if (w->pid == 0)
		work_child(w, pipes[1], fn, opaque);
	close(pipes[1]);
	w->fd = pipes[0];
	if (w->pid > 0) {
		setpgid(w->pid, w->pid); /* whoever is first */
		return 0;
	}
	close(w->fd);
	sigprocmask(SIG_SETMASK, &w->old, NULL);
	return err_set(err, EAGAIN, "cannot start a process: %s",
		       strerror(errno));
}

/* The signal that ended it, or 0: it came to its end. */
static int work_wait(const struct work *w, int *status)
{
	for (;;) {
		siginfo_t info;
		int sig;

		if (waitpid(w->pid, status, WNOHANG) == w->pid)
			return 0;
		sig = sigwaitinfo(&w->heard, &info);
		if (sig > 0 && sig != SIGCHLD)
			return sig;
	}
}

/* Until nothing that was started runs any more. */
static void work_end_all(const struct work *w)
{
	const struct timespec pause = { .tv_sec = 1 };
	time_t until = time(NULL) + WORK_GRACE_S;
	sigset_t child;
	pid_t pid;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	kill(-w->pid, SIGINT);
	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0) {
		if (pid > 0)
			continue;
		sigtimedwait(&child, NULL, &pause);
		if (time(NULL) > until)
			kill(-w->pid, SIGKILL);
	}
}

static int work_said(const struct work *w, int status, struct err *err)
{
	struct work_end end;

	if (read(w->fd, &end, sizeof(end)) != sizeof(end))
		return err_set(err, EIO,
			       WIFSIGNALED(status)
				       ? "the work was ended by signal %d"
				       : "the work ended with status %d",
			       WIFSIGNALED(status) ? WTERMSIG(status)
						   : WEXITSTATUS(status));
	end.err.msg[sizeof(end.err.msg) - 1] = '\0';
	if (end.rc && err)
		*err = end.err;
	return end.rc;
}

int work_run(work_fn *fn, void (*ended)(void *opaque), void *opaque,
	     struct err *err)
{
	struct work w;
	int status = 0, sig, rc = work_start(&w, fn, opaque, err);

	if (rc)
		return rc;
	sig = work_wait(&w, &status);
	if (sig) {
		work_end_all(&w);
		ended(opaque);
		signal(sig, SIG_DFL);
		kill(getpid(), sig);
	} else {
		rc = work_said(&w, status, err);
	}
	close(w.fd);
	sigprocmask(SIG_SETMASK, &w.old, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	return rc;
}
