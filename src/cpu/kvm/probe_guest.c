/*
 * probe_guest.c - a guest of a few instructions, to ask a KVM something.
 *
 *	its memory	0x1000 page tables: PML4, PDPT, PD (one 2 MiB page)
 *			0x4000 code, 0x5000 data, 0x6000 stack's end
 *
 * A timer ends a guest that does not come back: one of this thread's own time,
 * since a busy host may keep it waiting for long.
 */
#include "cpu/kvm/probe_guest.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu/kvm/kvm_impl.h"

#define PROBE_MEMORY   (2ul << 20)
#define PROBE_TABLES   0x1000ull
#define PROBE_CODE     0x4000ull
#define PROBE_DATA     0x5000ull
#define PROBE_STACK    0x6000ull
#define PROBE_LIMIT_NS 200000000

/* --- The machine
 * --------------------------------------------------------------- */

static void probe_fill(uint8_t *mem, const uint8_t *code, size_t len)
{
	static const uint64_t tables[3] = {
		(PROBE_TABLES + 0x1000) | 3,       /* present, writable */
		(PROBE_TABLES + 0x2000) | 3, 0x83, /* 2 MiB */
	};

	for (unsigned i = 0; i < 3; i++)
		memcpy(mem + PROBE_TABLES + 0x1000 * i, &tables[i], 8);
	memcpy(mem + PROBE_CODE, code, len);
}

static int probe_make_memory(struct probe_guest *g, const uint8_t *code,
			     size_t len)
{
	struct kvm_userspace_memory_region r = { .memory_size = PROBE_MEMORY };
	void *p = mmap(NULL, PROBE_MEMORY, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	g->mem = p;
	probe_fill(g->mem, code, len);
	r.userspace_addr = (uint64_t)g->mem;
	return ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

static int probe_make_vcpu(struct probe_guest *g, int kvm)
{
	void *p;

	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0ul);
	if (g->vcpu < 0)
		return -errno;
	g->run_bytes = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	p = mmap(NULL, g->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		 g->vcpu, 0);
	if (p == MAP_FAILED)
		return -errno;
	g->run = p;
	return 0;
}

/* Long mode, ring 0, at the code's start. */
static int probe_place(struct probe_guest *g, uint64_t count)
{
	const struct kvm_segment code = { .limit = ~0u,
					  .selector = 8,
					  .type = 11,
					  .present = 1,
					  .s = 1,
					  .l = 1,
					  .g = 1 };
	struct kvm_segment data = code;
	struct kvm_regs regs = { .rip = PROBE_CODE,
				 .rdi = PROBE_DATA,
				 .rsp = PROBE_STACK,
				 .rcx = count,
				 .rflags = X86_FLAG_1 };
	struct kvm_sregs s;

	data.selector = 16;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	if (ioctl(g->vcpu, KVM_GET_SREGS, &s))
		return -errno;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET;
	s.cr3 = PROBE_TABLES;
	s.cr4 = X86_CR4_PAE;
	s.efer = X86_EFER_LME | X86_EFER_LMA;
	if (ioctl(g->vcpu, KVM_SET_SREGS, &s) ||
	    ioctl(g->vcpu, KVM_SET_REGS, &regs))
		return -errno;
	return 0;
}

/* --- The timer
 * ----------------------------------------------------------------- */

/* The signal is blocked but during KVM_RUN, as the engine's kick. */
static int probe_arm(struct probe_guest *g)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID,
			       .sigev_signo = KVM_KICK_SIGNAL };
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KVM_KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &g->old);
	ev._sigev_un._tid = gettid();
	if (setup_signal_mask(g->vcpu) ||
	    timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &g->timer)) {
		pthread_sigmask(SIG_SETMASK, &g->old, NULL);
		return -errno;
	}
	g->armed = true;
	return 0;
}

/* Again in case that it comes just before KVM_RUN unblocks it. */
static void probe_start_timer(struct probe_guest *g)
{
	const struct itimerspec when = {
		.it_value = { .tv_nsec = PROBE_LIMIT_NS },
		.it_interval = { .tv_nsec = PROBE_LIMIT_NS },
	};

	timer_settime(g->timer, 0, &when, NULL);
}

/* Takes the signal that it sent, if it did. */
static void probe_stop_timer(struct probe_guest *g)
{
	static const struct itimerspec never = { 0 };
	static const struct timespec now = { 0, 0 };
	sigset_t kick;

	timer_settime(g->timer, 0, &never, NULL);
	sigemptyset(&kick);
	sigaddset(&kick, KVM_KICK_SIGNAL);
	while (sigtimedwait(&kick, NULL, &now) > 0)
		;
}

/* --- From outside
 * -------------------------------------------------------------- */

int probe_guest_open(struct probe_guest *g, int kvm, const uint8_t *code,
		     size_t len)
{
	int rc;

	*g = (struct probe_guest){ .vm = -1, .vcpu = -1 };
	do {
		g->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	} while (g->vm < 0 && errno == EINTR);
	if (g->vm < 0)
		return -errno;
	rc = probe_make_memory(g, code, len);
	if (rc == 0)
		rc = probe_make_vcpu(g, kvm);
	return rc ? rc : probe_arm(g);
}

void probe_guest_close(struct probe_guest *g)
{
	if (g->armed) {
		timer_delete(g->timer);
		pthread_sigmask(SIG_SETMASK, &g->old, NULL);
	}
	if (g->run)
		munmap(g->run, g->run_bytes);
	if (g->vcpu >= 0)
		close(g->vcpu);
	if (g->vm >= 0)
		close(g->vm);
	if (g->mem)
		munmap(g->mem, PROBE_MEMORY);
}

int probe_guest_run(struct probe_guest *g, uint64_t count, uint64_t *took)
{
	uint64_t start;
	int rc = probe_place(g, count);

	if (rc)
		return rc;
	probe_start_timer(g);
	start = clock_mono_ns();
	if (ioctl(g->vcpu, KVM_RUN, 0))
		rc = -errno;
	*took = clock_mono_ns() - start;
	probe_stop_timer(g);
	return rc == 0 && g->run->exit_reason != KVM_EXIT_IO ? -EIO : rc;
}
