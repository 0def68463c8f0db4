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

#define WORK_GRACE_S 20 /* for others' programs to clean up in */

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

static void work_child(const struct work *w, int fd, work_fn *fn, void *opaque)
{
	struct work_end end = { .rc = 0 };

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
	if (w->pid > 0)
		return 0;
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

/* To all that became our children, as the kernel lists them. */
static void work_kill_all(int sig)
{
	char path[64];
	int pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		kill(pid, sig);
	if (f)
		fclose(f);
}

/* Until nothing that was started runs any more. */
static void work_end_all(void)
{
	const struct timespec pause = { .tv_sec = 1 };
	time_t until = time(NULL) + WORK_GRACE_S;
	sigset_t child;
	pid_t pid;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	work_kill_all(SIGTERM);
	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0) {
		if (pid > 0)
			continue;
		sigtimedwait(&child, NULL, &pause);
		work_kill_all(time(NULL) > until ? SIGKILL : SIGTERM);
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
	/* From a terminal the child gets the signal too, and may die first. */
	if (!sig && WIFSIGNALED(status) &&
	    sigismember(&w.heard, WTERMSIG(status)) == 1)
		sig = WTERMSIG(status);
	if (sig) {
		work_end_all();
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
