/* hostel-switch: the process of one switch; started by port.c, never by hand.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/hub.h"

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
	return hub_run(HUB_LISTEN_FD, argv[1], &err) ? 1 : 0;
}
