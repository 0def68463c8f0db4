/*
 * hostel-switch: the process of one switch; started by port.c, never by hand.
 *
 * It is two processes: one that moves frames, and its parent, which holds the
 * listening socket and starts another if that one dies.  Guests' processes may
 * start none; they find the new one at the old address.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/hub.h"

#define SWITCH_LIVES    64 /* one that cannot live is left alone at last */
#define SWITCH_PAUSE_US 100000

/* Returns in a process that is to be the switch. */
static void switch_supervise(void)
{
	int status;

	for (unsigned life = 0; life < SWITCH_LIVES; life++) {
		pid_t pid = fork();

		if (pid <= 0) /* without a parent, if need be */
			return;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (WIFEXITED(status))
			exit(WEXITSTATUS(status));
		usleep(SWITCH_PAUSE_US);
	}
	exit(1);
}

int main(int argc, char **argv)
{
	struct err err = { "" };

	if (argc != 2 || fcntl(HUB_LISTEN_FD, F_GETFL) < 0) {
		fprintf(stderr, "hostel-switch: started by hostel run --net "
				"switch:NAME, not by hand\n");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	umask(077);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	close_range(HUB_LISTEN_FD + 1, ~0u, 0);
	switch_supervise();
	return hub_run(HUB_LISTEN_FD, argv[1], &err) ? 1 : 0;
}
