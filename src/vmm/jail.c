#include "vmm/jail.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Of what root may do, what a guest's files and networks are known to need:
 * disks and shared directories of other users, a tap device, a ping through
 * NAT, a port below 1024.  An ordinary user has none of them to begin with.
 */
static const unsigned jail_kept[] = {
	CAP_CHOWN,        CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
	CAP_FOWNER,       CAP_FSETID,       CAP_IPC_LOCK,
	CAP_NET_ADMIN,    CAP_NET_RAW,      CAP_NET_BIND_SERVICE,
	CAP_SYS_RESOURCE,
};

static bool jail_keeps(unsigned cap)
{
	for (size_t i = 0; i < sizeof(jail_kept) / sizeof(*jail_kept); i++)
		if (jail_kept[i] == cap)
			return true;
	return false;
}

/* Never more than there was: the sets are cut, not set. */
static int jail_drop_capabilities(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3,
						 0 };
	struct __user_cap_data_struct set[2];

	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!jail_keeps(cap))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (syscall(SYS_capget, &head, set))
		return -errno;
	for (unsigned cap = 0; cap < 64; cap++) {
		uint32_t bit = jail_keeps(cap) ? 0 : 1u << cap % 32;

		set[cap / 32].effective &= ~bit;
		set[cap / 32].permitted &= ~bit;
		set[cap / 32].inheritable = 0;
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &head, set) ? -errno : 0;
}

int jail_enter(int last_fd, struct err *err)
{
	const struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    setrlimit(RLIMIT_CORE, &none) || jail_drop_capabilities())
		return err_set(err, errno, "cannot confine the guest: %s",
			       strerror(errno));
	/* ENOSYS before Linux 5.9: the parent opens all with O_CLOEXEC. */
	if (close_range((unsigned)last_fd + 1, ~0u, 0) && errno != ENOSYS)
		return err_set(err, errno, "cannot confine the guest: %s",
			       strerror(errno));
	umask(077);
	return 0;
}
