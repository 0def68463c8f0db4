/* view.c - which pages are viewed, and mapping them; see view.h. */
#include "cpu/x86/view.h"

#include <sys/mman.h>

#include "cpu/x86/mmu.h"

/*
 * Every 1024th access that could have been faster is looked at, and a page
 * that is seen twice is mapped.  That costs 2 to 5 us, a tenth of the time of
 * the accesses before it: what is mapped in vain costs no more than that.
 */
#define VIEW_PERIOD      1024
#define VIEW_FAILED_MAX  64
#define VIEW_BASE        (0x11ull << 40) /* behind ASan's shadow memory */
#define VIEW_LOW_ADDEND  VIEW_BASE
#define VIEW_HIGH_ADDEND (VIEW_BASE - (1ull << 46))
/* All vCPUs together; the kernel gives a process 65530 mappings. */
#define VIEW_MAX_ALL 8192u

/*
 * The views of all vCPUs lie in one range of host addresses: each is moved
 * on by so much, and where two meet, the second goes without that page.
 */
#define VIEW_STRIDE 0x123457000ull

/* It knows of its memory by where that lies. */
#ifdef __SANITIZE_THREAD__
#define VIEW_OFF true
#else
#define VIEW_OFF false
#endif

void x86_view_init(struct x86_cpu *cpu)
{
	struct x86_view *v = &cpu->tlb.view;
	unsigned cpus = cpu->xm->cpu_count ? cpu->xm->cpu_count : 1;

	v->period = v->countdown = VIEW_PERIOD;
	v->max = VIEW_MAX_ALL / cpus;
	if (v->max > X86_VIEW_MAX)
		v->max = X86_VIEW_MAX;
	v->off = VIEW_OFF;
	v->addend[X86_VIEW_HIGH] = VIEW_HIGH_ADDEND + cpu->index * VIEW_STRIDE;
	v->addend[X86_VIEW_LOW] = VIEW_LOW_ADDEND + cpu->index * VIEW_STRIDE;
	v->minus[X86_VIEW_HIGH] = -v->addend[X86_VIEW_HIGH];
	v->minus[X86_VIEW_LOW] = -v->addend[X86_VIEW_LOW];
}

/* --- Records -------------------------------------------------------------- */

/* The page's slot, or the free one where it would be. */
static const struct x86_view_page *view_slot(const struct x86_view *v,
					     uint64_t linear)
{
	uint64_t h = (linear >> 12) * 0x9e3779b97f4a7c15ull >> 32;
	const struct x86_view_page *p;

	do
		p = &v->page[h++ % X86_VIEW_HASH];
	while (p->host && p->linear != linear);
	return p;
}

static void view_record(struct x86_view *v, uint64_t linear, uint8_t *host)
{
	ptrdiff_t i = view_slot(v, linear) - v->page;

	v->page[i] = (struct x86_view_page){ linear, host };
}

uint64_t view_addend(const struct x86_view *v, uint64_t linear,
		     const uint8_t *host)
{
	if (!v->count || linear >= X86_VIEW_END ||
	    view_slot(v, linear)->host != host)
		return 0;
	return v->addend[x86_view_side(linear)];
}

uint8_t *view_host(const struct x86_view *v, uint64_t linear, uint64_t addend)
{
	uint8_t *host = NULL;

	if (linear < X86_VIEW_END && addend == v->addend[x86_view_side(linear)])
		host = view_slot(v, linear)->host;
	return host ? host : (uint8_t *)(uintptr_t)(linear + addend);
}

static void *view_at(const struct x86_view *v, uint64_t linear)
{
	return (void *)(uintptr_t)(linear + v->addend[x86_view_side(linear)]);
}

/* Is there room for a page there? Notes its region. */
static bool view_room(struct x86_view *v, uint64_t linear)
{
	uint32_t region = (uint32_t)(linear >> 21);
	unsigned i = 0;

	if (v->count >= v->max)
		return false;
	while (i < v->region_count && v->region[i] != region)
		i++;
	if (i == v->region_count) {
		if (i >= X86_VIEW_REGIONS)
			return false;
		v->region[v->region_count++] = region;
	}
	return true;
}

/* --- Mapping -------------------------------------------------------------- */

static bool view_map(struct x86_cpu *cpu, uint64_t linear, uint8_t *host,
		     bool replace)
{
	struct x86_view *v = &cpu->tlb.view;

	if (mem_view(cpu->mem, host, view_at(v, linear), replace)) {
		v->off |= ++v->failed == VIEW_FAILED_MAX;
		return false;
	}
	return true;
}

static void view_add(struct x86_cpu *cpu, uint64_t linear, uint8_t *host)
{
	struct x86_view *v = &cpu->tlb.view;

	if (!view_room(v, linear)) {
		v->full = true;
		return;
	}
	if (!view_map(cpu, linear, host, false))
		return;
	view_record(v, linear, host);
	v->count++;
	tlb_view_page(cpu, linear);
}

/* Is it the second time? A few may displace each other for ever. */
static bool view_seen(struct x86_view *v, uint64_t linear)
{
	uint64_t *seen = &v->seen[(linear >> 12) % X86_VIEW_SEEN];

	if (*seen == linear)
		return true;
	*seen = linear;
	return false;
}

void x86_view_sample(struct x86_cpu *cpu, uint64_t linear)
{
	struct x86_view *v = &cpu->tlb.view;
	uint8_t *host, *viewed;

	linear &= ~MEM_PAGE_MASK;
	v->countdown = v->period;
	host = tlb_host_of(&cpu->tlb, X86_TLB_USER_READ, linear);
	if (!host || linear >= X86_VIEW_END || v->off || v->full ||
	    !view_seen(v, linear))
		return;
	viewed = view_slot(v, linear)->host;
	if (!viewed)
		view_add(cpu, linear, host);
	else if (viewed != host && v->later_count < X86_VIEW_LATER)
		v->later[v->later_count++] =
			(struct x86_view_page){ linear, host };
}

/* --- When the TLB is flushed ---------------------------------------------- */

static void view_drop(struct x86_cpu *cpu)
{
	struct x86_view *v = &cpu->tlb.view;
	unsigned i;

	for (i = 0; i < X86_VIEW_HASH && v->count; i++) {
		struct x86_view_page *p = &v->page[i];

		if (!p->host)
			continue;
		tlb_unview_page(cpu, p->linear);
		munmap(view_at(v, p->linear), MEM_PAGE_SIZE);
		p->host = NULL;
		v->count--;
	}
	v->region_count = v->later_count = 0;
	v->full = false;
}

/* What fails to be mapped anew is gone. */
static void view_replace(struct x86_cpu *cpu)
{
	struct x86_view *v = &cpu->tlb.view;
	unsigned i;

	for (i = 0; i < v->later_count; i++) {
		struct x86_view_page *p = &v->later[i];

		tlb_unview_page(cpu, p->linear);
		if (!view_map(cpu, p->linear, p->host, true)) {
			v->full = true;
			continue;
		}
		view_record(v, p->linear, p->host);
		tlb_view_page(cpu, p->linear);
	}
	v->later_count = 0;
}

void view_settle(struct x86_cpu *cpu)
{
	if (!cpu->tlb.view.full)
		view_replace(cpu);
	if (cpu->tlb.view.full)
		view_drop(cpu);
}

void x86_view_free(struct x86_cpu *cpu)
{
	view_drop(cpu);
}
