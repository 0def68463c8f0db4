/*
 * view.h - hot guest pages once more, side by side as the guest has them.
 *
 * A guest's pages lie scattered over its physical memory, so each has an
 * addend of its own, and an access waits for two loads one after the other:
 * that of the addend, then its own.  Where the address was itself just loaded
 * (a list, a tree), nothing hides that.  So pages that such code is found to
 * use are mapped a second time, at linear + addend with one addend for all of
 * them, and the TLB's entries for them have that addend.  Code that compares
 * it with the view's and then uses the latter does not wait for the TLB, as
 * the host's processor predicts that they are equal.
 *
 *	low	linear + 0x1100_0000_0000: user pages below 2^46
 *	high	linear - 0x2f00_0000_0000: user pages from there on
 *
 * (An addend for both would put some of them where host programs lie, or
 * outside of what a host program may map.)
 *
 * A view is another mapping of the memory file: what is written through
 * either is seen through both, and pages given back to the host vanish from
 * both.  What is mapped for a guest's page is recorded, and an entry of the
 * TLB gets the view's addend only if the guest has the same host page there:
 * so a view may be out of date, but is not used then.  All kinds of entries
 * for a viewed page lead through the view: a processor's first cache may keep
 * a line under one address only.
 *
 * Translated code keeps addends for the length of a block, therefore what is
 * mapped changes, or goes, only when the TLB is flushed.
 *
 * A vCPU's own, used in its thread, or while it does not run.
 */
#ifndef HOSTEL_CPU_X86_VIEW_H
#define HOSTEL_CPU_X86_VIEW_H

#include <stdbool.h>
#include <stdint.h>

enum x86_view_side { X86_VIEW_HIGH, X86_VIEW_LOW, X86_VIEW_SIDES };

#define X86_VIEW_MAX     2048u              /* pages: 8 MiB */
#define X86_VIEW_REGIONS (X86_VIEW_MAX / 8) /* of 2 MiB each */
#define X86_VIEW_HASH    (2 * X86_VIEW_MAX)
#define X86_VIEW_LATER   16
#define X86_VIEW_SEEN    512
#define X86_VIEW_END     (1ull << 47) /* of user pages */

/* A page that is mapped: linear may be 0; host is NULL in a free slot. */
struct x86_view_page {
	uint64_t linear;
	uint8_t *host; /* where it is among all of RAM */
};

struct x86_view {
	uint64_t addend[X86_VIEW_SIDES], minus[X86_VIEW_SIDES]; /* -addend */
	/* Accesses with another addend until one of them is looked at. */
	uint32_t countdown, period;
	bool off;  /* the host refused too often */
	bool full; /* all are to go when the TLB is flushed */
	unsigned count, max, failed;
	uint64_t seen[X86_VIEW_SEEN]; /* looked at once: linear */
	struct x86_view_page page[X86_VIEW_HASH];
	/* Their places: linear >> 21, each costs a page table of the host's. */
	uint32_t region[X86_VIEW_REGIONS];
	unsigned region_count;
	/* To be mapped instead of what is there, when the TLB is flushed. */
	struct x86_view_page later[X86_VIEW_LATER];
	unsigned later_count;
};

struct x86_cpu;

static inline enum x86_view_side x86_view_side(uint64_t linear)
{
	return linear >> 46 & 1 ? X86_VIEW_HIGH : X86_VIEW_LOW;
}

void x86_view_init(struct x86_cpu *cpu);
void x86_view_free(struct x86_cpu *cpu);

/*
 * A user's read at linear, which is in the TLB, did not go through the view,
 * and the countdown came to its end: the page may be mapped.
 */
void x86_view_sample(struct x86_cpu *cpu, uint64_t linear);

/* For tlb.c: the addend of the page if the view has host there; else 0. */
uint64_t view_addend(const struct x86_view *v, uint64_t linear,
		     const uint8_t *host);
/* For tlb.c: the host's page that linear + addend is, among all of RAM. */
uint8_t *view_host(const struct x86_view *v, uint64_t linear, uint64_t addend);
/* For tlb.c, once nothing uses an addend that was looked up before. */
void view_settle(struct x86_cpu *cpu);
static inline bool view_unsettled(const struct x86_view *v)
{
	return v->full || v->later_count;
}

#endif
