#include "vmm/jail.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Next layers, in the order in which they will be added here: namespaces
 * where the host allows them, and a second function, called between vm_new()
 * (which opens the files that the description names) and vm_run(), that drops
 * the file system and loads a seccomp filter made of the system calls listed
 * beside the code that makes them.
 */
int jail_enter(int last_fd, struct err *err)
{
	const struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    setrlimit(RLIMIT_CORE, &none))
		return err_set(err, errno, "cannot confine the guest: %s",
			       strerror(errno));
	/* ENOSYS before Linux 5.9: the parent opens all with O_CLOEXEC. */
	if (close_range((unsigned)last_fd + 1, ~0u, 0) && errno != ENOSYS)
		return err_set(err, errno, "cannot confine the guest: %s",
			       strerror(errno));
	umask(077);
	return 0;
}
