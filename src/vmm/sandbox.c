/* sandbox.c - see sandbox.h. */
#include "vmm/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "syscalls.h" /* made by tools/syscalls.sh: sandbox_allowed */

/*
 * What the C library does by itself:
 * #syscalls: brk mmap munmap mremap mprotect madvise futex set_robust_list
 * #syscalls: rseq exit exit_group rt_sigaction rt_sigprocmask rt_sigreturn
 * #syscalls: sigaltstack restart_syscall getpid gettid sched_yield
 * #syscalls: sched_getaffinity prlimit64 getrlimit sysinfo uname getrandom
 * #syscalls: clock_gettime clock_getres gettimeofday time times getrusage
 * #syscalls: getuid geteuid getgid getegid getcwd access faccessat faccessat2
 * #syscalls: stat lstat fstat newfstatat statx readlink readlinkat open
 * #syscalls: openat close read write readv writev lseek ioctl fcntl dup dup2
 * #syscalls: dup3 poll pipe2 unlink rename umask set_tid_address
 * Those of the sanitizers' run time, which are harmless:
 * #syscalls: sched_setaffinity getppid mincore
 */

/* Nothing that runs a machine ever asks for these. */
static const char *const sandbox_deadly[] = {
	"acct",
	"add_key",
	"adjtimex",
	"bpf",
	"chroot",
	"clock_adjtime",
	"clock_settime",
	"create_module",
	"delete_module",
	"finit_module",
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"init_module",
	"ioperm",
	"iopl",
	"kcmp",
	"kexec_file_load",
	"kexec_load",
	"keyctl",
	"mount",
	"mount_setattr",
	"move_mount",
	"name_to_handle_at",
	"nfsservctl",
	"open_by_handle_at",
	"open_tree",
	"perf_event_open",
	"personality",
	"pidfd_getfd",
	"pivot_root",
	"process_madvise",
	"process_vm_readv",
	"process_vm_writev",
	"ptrace",
	"quotactl",
	"reboot",
	"request_key",
	"setdomainname",
	"setgid",
	"setgroups",
	"sethostname",
	"setns",
	"setregid",
	"setresgid",
	"setresuid",
	"setreuid",
	"settimeofday",
	"setuid",
	"swapoff",
	"swapon",
	"syslog",
	"umount2",
	"uselib",
	"userfaultfd",
	"vhangup",
};

#define SANDBOX_DEADLY (sizeof(sandbox_deadly) / sizeof(*sandbox_deadly))

/* For the signal handler, which gets no argument. */
static struct {
	void (*end)(const char *why);
	int number[SANDBOX_DEADLY];
} sandbox;

int sandbox_mode(enum sandbox_mode *mode, struct err *err)
{
	static const char *const words[] = { "off", "on", "strict" };
	const char *word = getenv("HOSTEL_SANDBOX");

	*mode = SANDBOX_ON;
	if (!word || !*word)
		return 0;
	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(word, words[i])) {
			*mode = (enum sandbox_mode)i;
			return 0;
		}
	return err_set(err, EINVAL,
		       "HOSTEL_SANDBOX is on, off or strict, not '%.32s'",
		       word);
}

/* --- The end -------------------------------------------------------------- */

/* snprintf() may not be called here. */
static size_t sandbox_number(char *out, unsigned n)
{
	char digits[12];
	size_t len = 0, at = 0;

	do {
		digits[len++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	while (len)
		out[at++] = digits[--len];
	return at;
}

static void sandbox_on_signal(int sig, siginfo_t *info, void *context)
{
	static const char head[] = "the guest's process made a system call "
				   "that its jail forbids, and was ended: ";
	char why[160], *at = why + sizeof(head) - 1;
	const char *name = NULL;

	memcpy(why, head, sizeof(head));
	for (size_t i = 0; i < SANDBOX_DEADLY; i++)
		if (sandbox.number[i] == info->si_syscall)
			name = sandbox_deadly[i];
	if (name) {
		strcpy(at, name);
	} else {
		memcpy(at, "number ", 7);
		at += 7;
		at += sandbox_number(at, (unsigned)info->si_syscall);
		*at = '\0';
	}
	sandbox.end(why);
}

static void sandbox_catch(void)
{
	struct sigaction sa = { .sa_sigaction = sandbox_on_signal,
				.sa_flags = SA_SIGINFO };

	sigfillset(&sa.sa_mask);
	sigaction(SIGSYS, &sa, NULL);
}

/* --- The filter ----------------------------------------------------------- */

/*
 * Names that this libseccomp or processor does not know are left out, and so
 * is what happens anyway, which libseccomp calls -EACCES.
 */
static int sandbox_rule(scmp_filter_ctx f, uint32_t action, const char *name)
{
	int number = seccomp_syscall_resolve_name(name), rc = 0;

	if (number >= 0)
		rc = seccomp_rule_add(f, action, number, 0);
	return rc == -EACCES ? 0 : rc;
}

/* Threads, but no processes: clone3's flags are out of a filter's sight. */
static int sandbox_threads(scmp_filter_ctx f)
{
	static const char *const refused[] = { "execve", "execveat", "fork",
					       "vfork" };
	int rc = seccomp_rule_add(
		f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (rc == 0)
		rc = seccomp_rule_add(
			f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	if (rc == 0)
		rc = sandbox_rule(f, SCMP_ACT_ERRNO(ENOSYS), "clone3");
	for (size_t i = 0; i < 4 && rc == 0; i++)
		rc = sandbox_rule(f, SCMP_ACT_ERRNO(EPERM), refused[i]);
	return rc;
}

/*
 * Signals to its own threads only; and a umask of its own for the thread that
 * serves shared files (p9.c), but no namespace.
 */
static int sandbox_some(scmp_filter_ctx f, uint32_t other)
{
	int rc = seccomp_rule_add(
		f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));

	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(unshare), 1,
				      SCMP_A0(SCMP_CMP_EQ, CLONE_FS, 0));
	if (rc == 0 && other != SCMP_ACT_TRAP)
		rc = seccomp_rule_add(f, SCMP_ACT_TRAP, SCMP_SYS(unshare), 1,
				      SCMP_A0(SCMP_CMP_NE, CLONE_FS, 0));
	return rc;
}

static int sandbox_rules(scmp_filter_ctx f, uint32_t other)
{
	int rc = sandbox_threads(f);

	if (rc == 0)
		rc = sandbox_some(f, other);

	for (size_t i = 0; sandbox_allowed[i] && rc == 0; i++)
		rc = sandbox_rule(f, SCMP_ACT_ALLOW, sandbox_allowed[i]);
	for (size_t i = 0; i < SANDBOX_DEADLY && rc == 0; i++) {
		sandbox.number[i] =
			seccomp_syscall_resolve_name(sandbox_deadly[i]);
		rc = sandbox_rule(f, SCMP_ACT_TRAP, sandbox_deadly[i]);
	}
	return rc;
}

static int sandbox_load(enum sandbox_mode mode)
{
	uint32_t other =
		mode == SANDBOX_STRICT ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(ENOSYS);
	scmp_filter_ctx f = seccomp_init(other);
	int rc;

	if (!f)
		return -ENOMEM;
	/* Every thread; and a binary search instead of one call after another,
	 * where libseccomp can. */
	rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	seccomp_attr_set(f, SCMP_FLTATR_API_SYSRAWRC, 1);
	/* Kernels before 5.16 slow all stores and indirect branches of a
	 * process with a filter (CVE-2018-3639), translated code too;
	 * what could be read so is the guest's own process. */
	seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
	/* 32-bit calls are none of ours. */
	if (rc == 0)
		rc = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH,
				      SCMP_ACT_TRAP);
	if (rc == 0)
		rc = sandbox_rules(f, other);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc;
}

int sandbox_enter(enum sandbox_mode mode, void (*end)(const char *why),
		  struct err *err)
{
	int rc;

	if (mode == SANDBOX_OFF)
		return 0;
	sandbox.end = end;
	sandbox_catch();
	rc = sandbox_load(mode);
	/* A kernel that was built without it. */
	if (rc == 0 ||
	    ((rc == -EINVAL || rc == -ENOSYS) && mode != SANDBOX_STRICT))
		return 0;
	return err_set(err, -rc, "cannot confine the guest: seccomp: %s",
		       strerror(-rc));
}
