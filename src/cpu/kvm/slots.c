/*
 * slots.c - guest memory as KVM has it, and which of it was written.
 *
 * mem_slots() says what is memory now; what changed since is taken out and put
 * in.  In between a guest access to a slot that is being replaced comes out as
 * MMIO: exits.c then finds memory there and does it by itself.
 */
#include "cpu/kvm/kvm_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"

/* size 0 takes the slot away. */
static int slots_set(struct kvm_guest *g, unsigned id, const struct mem_slot *s,
		     uint64_t size)
{
	struct kvm_userspace_memory_region r = {
		.slot = id,
		.guest_phys_addr = s->gpa,
		.memory_size = size,
		.userspace_addr = (uint64_t)s->host,
	};

	if (s->readonly)
		r.flags |= KVM_MEM_READONLY;
	else if (g->logging)
		r.flags |= KVM_MEM_LOG_DIRTY_PAGES;
	return ioctl(g->fd, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

static bool slots_same(const struct mem_slot *a, const struct mem_slot *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
	       a->readonly == b->readonly;
}

static bool slots_among(const struct mem_slot *s, const struct mem_slot *list,
			unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i].size && slots_same(s, &list[i]))
			return true;
	return false;
}

/* Puts in what is not there yet; free ids are those of size 0. */
static int slots_add(struct kvm_guest *g, const struct mem_slot *s)
{
	for (unsigned id = 0; id < MEM_SLOTS_MAX; id++) {
		int rc;

		if (g->slot[id].size)
			continue;
		rc = slots_set(g, id, s, s->size);
		if (rc == 0)
			g->slot[id] = *s;
		return rc;
	}
	return -ENOSPC;
}

static int slots_replace(struct kvm_guest *g, const struct mem_slot *now,
			 unsigned n)
{
	int rc = 0;

	for (unsigned id = 0; id < MEM_SLOTS_MAX; id++) {
		struct mem_slot *old = &g->slot[id];

		if (!old->size || slots_among(old, now, n))
			continue;
		slots_set(g, id, old, 0);
		old->size = 0;
	}
	for (unsigned i = 0; i < n && rc == 0; i++)
		if (!slots_among(&now[i], g->slot, MEM_SLOTS_MAX))
			rc = slots_add(g, &now[i]);
	return rc;
}

int slots_update(struct x86_machine *xm, struct err *err)
{
	struct kvm_guest *g = kvm_guest(xm);
	struct mem_slot now[MEM_SLOTS_MAX];
	int rc;

	pthread_mutex_lock(&g->slot_lock);
	rc = slots_replace(g, now, mem_slots(xm->mem, now));
	pthread_mutex_unlock(&g->slot_lock);
	if (rc)
		return err_set(err, -rc,
			       "KVM: cannot give the guest its memory: %s",
			       strerror(-rc));
	return 0;
}

/* mem_remap_hook */
void slots_remapped(void *opaque, uint64_t gpa, uint64_t len, bool done)
{
	struct err err = { "" };

	if (done && slots_update(opaque, &err))
		log_guest("%s", err.msg);
}

/* --- The dirty log ----------------------------------------------------------
 */

int slots_dirty_log(struct x86_machine *xm, bool on, struct err *err)
{
	struct kvm_guest *g = kvm_guest(xm);
	int rc = 0;

	pthread_mutex_lock(&g->slot_lock);
	g->logging = on;
	for (unsigned id = 0; id < MEM_SLOTS_MAX && rc == 0; id++)
		if (g->slot[id].size && !g->slot[id].readonly)
			rc = slots_set(g, id, &g->slot[id], g->slot[id].size);
	pthread_mutex_unlock(&g->slot_lock);
	if (rc)
		return err_set(err, -rc, "KVM: no dirty log: %s",
			       strerror(-rc));
	return 0;
}

static void slots_note(struct mem *mem, const struct mem_slot *s,
		       const uint64_t *bits)
{
	uint8_t *flags = mem_page_flags(mem);
	uint64_t first = mem_page(mem, s->gpa);

	for (uint64_t i = 0; i < s->size >> MEM_PAGE_SHIFT; i++)
		if (bits[i / 64] >> i % 64 & 1)
			__atomic_fetch_or(&flags[first + i], MEM_PAGE_DIRTY,
					  __ATOMIC_RELAXED);
}

static int slots_collect_one(struct x86_machine *xm, unsigned id)
{
	struct kvm_guest *g = kvm_guest(xm);
	const struct mem_slot *s = &g->slot[id];
	uint64_t pages = s->size >> MEM_PAGE_SHIFT;
	uint64_t *bits = calloc((pages + 63) / 64, sizeof(*bits));
	struct kvm_dirty_log log = { .slot = id, .dirty_bitmap = bits };
	int rc = 0;

	if (!bits)
		return -ENOMEM;
	if (ioctl(g->fd, KVM_GET_DIRTY_LOG, &log))
		rc = -errno;
	else
		slots_note(xm->mem, s, bits);
	free(bits);
	return rc;
}

int slots_dirty_collect(struct x86_machine *xm, struct err *err)
{
	struct kvm_guest *g = kvm_guest(xm);
	int rc = 0;

	pthread_mutex_lock(&g->slot_lock);
	for (unsigned id = 0; id < MEM_SLOTS_MAX && rc == 0; id++)
		if (g->slot[id].size && !g->slot[id].readonly)
			rc = slots_collect_one(xm, id);
	pthread_mutex_unlock(&g->slot_lock);
	if (rc)
		return err_set(err, -rc, "KVM: no dirty log: %s",
			       strerror(-rc));
	return 0;
}
