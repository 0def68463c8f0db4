/*
 * coalesce.c - writes that the kernel keeps instead of leaving the guest for
 * each (API, KVM_REGISTER_COALESCED_MMIO).
 *
 * The ring is one page for all vCPUs, mapped behind each one's own.  The kernel
 * adds at `last`, and whoever comes out of KVM_RUN first does what is there, in
 * order, before his own exit: so no vCPU sees a device that has yet to hear of
 * what was written to it before.  `first` moves on when a write is done, not
 * when it is taken, so that who finds the ring empty need not wait.
 */
#include "cpu/kvm/kvm_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COALESCE_MAX                                \
	(((size_t)sysconf(_SC_PAGESIZE) -           \
	  sizeof(struct kvm_coalesced_mmio_ring)) / \
	 sizeof(struct kvm_coalesced_mmio))

static void coalesce_do(struct x86_machine *xm,
			const struct kvm_coalesced_mmio *w)
{
	uint32_t value = 0;

	if (w->len > sizeof(w->data))
		return;
	if (!w->pio) {
		exits_write(xm->mem, w->phys_addr, w->data, w->len);
		return;
	}
	memcpy(&value, w->data, w->len < 4 ? w->len : 4);
	mem_port_write(xm->mem, (uint16_t)w->phys_addr, w->len, value);
}

void coalesce_flush(void *opaque)
{
	struct x86_machine *xm = opaque;
	struct kvm_guest *g = kvm_guest(xm);
	struct kvm_coalesced_mmio_ring *ring = g->ring;
	uint32_t first;

	if (!ring ||
	    ring->first == __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))
		return;
	pthread_mutex_lock(&g->ring_lock);
	for (first = ring->first;
	     first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE);) {
		struct kvm_coalesced_mmio w = ring->coalesced_mmio[first];

		coalesce_do(xm, &w);
		first = (first + 1) % (uint32_t)COALESCE_MAX;
		__atomic_store_n(&ring->first, first, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&g->ring_lock);
}

/* What the kernel does not take comes out one by one, as ever. */
static void coalesce_range(void *opaque, char space, uint64_t at, uint64_t len)
{
	struct kvm_guest *g = kvm_guest(opaque);
	struct kvm_coalesced_mmio_zone z = {
		.addr = at,
		.size = (uint32_t)len,
		.pio = space == 'p',
	};

	if (g->ring && (!z.pio || g->ring_takes_ports))
		ioctl(g->fd, KVM_REGISTER_COALESCED_MMIO, &z);
}

void coalesce_start(struct x86_machine *xm, void *run)
{
	const struct mem_coalescer c = { coalesce_range, coalesce_flush, xm };
	struct kvm_guest *g = kvm_guest(xm);
	int page = ioctl(g->kvm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
	size_t at = (size_t)page * (size_t)sysconf(_SC_PAGESIZE);

	if (page <= 0 || at >= g->run_bytes)
		return;
	g->ring = (void *)((char *)run + at);
	g->ring_takes_ports =
		ioctl(g->kvm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) > 0;
	mem_set_coalescer(xm->mem, &c);
}

void coalesce_end(struct x86_machine *xm)
{
	mem_set_coalescer(xm->mem, NULL);
	kvm_guest(xm)->ring = NULL;
}
