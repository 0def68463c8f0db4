/*
 * window.c - memory that is not RAM: ROM, flash, frame buffers; see mem.h.
 *
 * A window's memory never moves and is never given back while the guest
 * lives, so a host address that somebody looked up before a change is stale,
 * but never wrong.  What changes is one word: place and manner together.
 */
#include <errno.h>
#include <string.h>

#include "mem/mem.h"
#include "mem/mem_priv.h"

#define WINDOW_NOWHERE (MEM_NOWHERE & ~MEM_PAGE_MASK)

/* --- Finding -------------------------------------------------------------- */

static uint64_t window_unit(const struct mem *m, unsigned unit)
{
	return atomic_load_explicit(&m->shadow[unit], memory_order_acquire);
}

/* As far as units of one kind follow each other in the file. */
bool mem_find_shadow(const struct mem *m, uint64_t gpa, struct mem_place *p)
{
	unsigned unit = (gpa - MEM_SHADOW_BASE) / MEM_SHADOW_UNIT;
	uint64_t word = window_unit(m, unit), end = word + MEM_SHADOW_UNIT;
	uint64_t in = gpa & (MEM_SHADOW_UNIT - 1);

	if (!(word & MEM_HOW_MASK))
		return false;
	while (++unit < MEM_SHADOW_UNITS && window_unit(m, unit) == end)
		end += MEM_SHADOW_UNIT;
	p->offset = (word & ~MEM_HOW_MASK) + in;
	p->left = end - word - in;
	p->writable = (word & MEM_HOW_MASK) == MEM_RW;
	/* RAM goes on behind. */
	if (unit == MEM_SHADOW_UNITS && p->writable && p->offset == gpa)
		p->left = m->low_bytes - gpa;
	return true;
}

bool mem_find_window(const struct mem *m, uint64_t gpa, struct mem_place *p)
{
	for (unsigned i = 0; i < m->window_count; i++) {
		const struct mem_window *w = &m->window[i];
		uint64_t word =
			atomic_load_explicit(&w->where, memory_order_acquire);
		uint64_t at = gpa - (word & ~MEM_PAGE_MASK);

		if (!(word & MEM_HOW_MASK) || at >= w->size)
			continue;
		p->offset = w->offset + at;
		p->left = w->size - at;
		p->writable = (word & MEM_HOW_MASK) == MEM_RW;
		return true;
	}
	return false;
}

/* --- Making --------------------------------------------------------------- */

void mem_shadow_init(struct mem *m)
{
	for (unsigned i = 0; i < MEM_SHADOW_UNITS; i++)
		atomic_init(&m->shadow[i],
			    (MEM_SHADOW_BASE + i * MEM_SHADOW_UNIT) | MEM_RW);
}

static int window_make(struct mem *m, uint64_t offset, uint64_t size,
		       struct mem_window **out)
{
	struct mem_window *w;

	if (m->window_count == MEM_WINDOWS_MAX)
		return -ENOSPC;
	w = &m->window[m->window_count++];
	w->offset = offset;
	w->size = size;
	atomic_init(&w->where, WINDOW_NOWHERE | MEM_DEVICE);
	*out = w;
	return 0;
}

int mem_window_new(struct mem *m, uint64_t size, struct mem_window **out)
{
	int rc;

	if (!size || size & MEM_PAGE_MASK)
		return -EINVAL;
	if (size > MEM_WINDOW_BYTES - m->window_bytes)
		return -ENOSPC;
	rc = window_make(m, m->ram_bytes + m->window_bytes, size, out);
	if (rc == 0)
		m->window_bytes += size;
	return rc;
}

int mem_window_alias(struct mem *m, const struct mem_window *of,
		     uint64_t offset, uint64_t size, struct mem_window **out)
{
	if (!size || (size | offset) & MEM_PAGE_MASK || offset > of->size ||
	    size > of->size - offset)
		return -EINVAL;
	return window_make(m, of->offset + offset, size, out);
}

uint8_t *mem_window_host(struct mem *m, const struct mem_window *w)
{
	return m->ram + w->offset;
}

uint64_t mem_window_size(const struct mem_window *w)
{
	return w->size;
}

/* --- Changing ------------------------------------------------------------- */

void mem_set_remap_hook(struct mem *m, mem_remap_hook *hook, void *opaque)
{
	m->remap_hook = hook;
	m->remap_opaque = opaque;
}

static void window_tell(struct mem *m, uint64_t gpa, uint64_t len, bool done)
{
	if (m->remap_hook)
		m->remap_hook(m->remap_opaque, gpa, len, done);
}

/* Where it is, is memory: so that there is something to forget. */
static bool window_seen(const struct mem_window *w, uint64_t *gpa)
{
	uint64_t word = atomic_load_explicit(&w->where, memory_order_acquire);

	*gpa = word & ~MEM_PAGE_MASK;
	return word & MEM_HOW_MASK;
}

void mem_window_set(struct mem *m, struct mem_window *w, uint64_t gpa,
		    enum mem_how how)
{
	uint64_t word = (gpa & ~MEM_PAGE_MASK) | how, old;
	bool was = window_seen(w, &old);

	if (word == atomic_load(&w->where))
		return;
	/* A window that would wrap is nowhere. */
	if (gpa == MEM_NOWHERE || (gpa & ~MEM_PAGE_MASK) + w->size < w->size)
		word = WINDOW_NOWHERE | MEM_DEVICE;
	if (was)
		window_tell(m, old, w->size, false);
	atomic_store_explicit(&w->where, word, memory_order_release);
	if (was)
		window_tell(m, old, w->size, true);
	if (word & MEM_HOW_MASK)
		window_tell(m, word & ~MEM_PAGE_MASK, w->size, true);
}

/* Every place at which bytes [from, to) of the file can be seen. */
static void window_each(struct mem *m, uint64_t from, uint64_t to,
			void (*fn)(struct mem *m, uint64_t gpa, uint64_t len))
{
	for (unsigned i = 0; i < m->window_count; i++) {
		const struct mem_window *w = &m->window[i];
		uint64_t a = from > w->offset ? from : w->offset;
		uint64_t end = w->offset + w->size, gpa;
		uint64_t b = to < end ? to : end;

		if (window_seen(w, &gpa) && a < b)
			fn(m, gpa + (a - w->offset), b - a);
	}
	for (unsigned i = 0; i < MEM_SHADOW_UNITS; i++) {
		uint64_t word = window_unit(m, i), at = word & ~MEM_HOW_MASK;

		if (at < to && from < at + MEM_SHADOW_UNIT)
			fn(m, MEM_SHADOW_BASE + i * MEM_SHADOW_UNIT,
			   MEM_SHADOW_UNIT);
	}
}

static void window_forget(struct mem *m, uint64_t gpa, uint64_t len)
{
	window_tell(m, gpa, len, false);
}

void mem_window_written(struct mem *m, const struct mem_window *w,
			uint64_t offset, uint64_t len)
{
	if (len && offset < w->size && len <= w->size - offset)
		window_each(m, w->offset + offset, w->offset + offset + len,
			    window_forget);
}

static void window_note_shadowed(struct mem *m)
{
	bool shadowed = false;

	for (unsigned i = 0; i < MEM_SHADOW_UNITS; i++)
		shadowed |= window_unit(m, i) !=
			    ((MEM_SHADOW_BASE + i * MEM_SHADOW_UNIT) | MEM_RW);
	atomic_store(&m->shadowed, shadowed);
}

static void window_set_units(struct mem *m, uint64_t gpa, uint64_t size,
			     uint64_t word, uint64_t step)
{
	unsigned unit = (gpa - MEM_SHADOW_BASE) / MEM_SHADOW_UNIT;

	for (uint64_t at = 0; at < size; at += MEM_SHADOW_UNIT)
		atomic_store_explicit(&m->shadow[unit++],
				      word + (step ? at : 0),
				      memory_order_release);
}

int mem_shadow(struct mem *m, uint64_t gpa, uint64_t size,
	       const struct mem_window *w, uint64_t offset, enum mem_how how)
{
	uint64_t base = w ? w->offset + offset : gpa;

	if (gpa < MEM_SHADOW_BASE || gpa >= MEM_SHADOW_END || !size ||
	    size > MEM_SHADOW_END - gpa || (gpa | size) % MEM_SHADOW_UNIT)
		return -EINVAL;
	if (w && (offset & MEM_PAGE_MASK || offset > w->size ||
		  size > w->size - offset))
		return -EINVAL;
	window_tell(m, gpa, size, false);
	if (how == MEM_DEVICE)
		window_set_units(m, gpa, size, MEM_DEVICE, 0);
	else
		window_set_units(m, gpa, size, base | how, 1);
	window_note_shadowed(m);
	window_tell(m, gpa, size, true);
	return 0;
}

/* --- Listing -------------------------------------------------------------- */

static bool window_add_slot(struct mem *m, struct mem_slot *out, unsigned *n,
			    uint64_t gpa, uint64_t size)
{
	struct mem_place p;

	if (!size || !mem_find(m, gpa, &p) || *n == MEM_SLOTS_MAX)
		return false;
	out[(*n)++] = (struct mem_slot){
		.gpa = gpa,
		.size = p.left < size ? p.left : size,
		.host = m->ram + p.offset,
		.readonly = !p.writable,
	};
	return true;
}

/* RAM below the hole, as the shadow range cuts it. */
static unsigned window_low_slots(struct mem *m, struct mem_slot *out)
{
	uint64_t gpa = 0;
	unsigned n = 0;

	while (gpa < m->low_bytes) {
		if (window_add_slot(m, out, &n, gpa, m->low_bytes - gpa))
			gpa += out[n - 1].size;
		else
			gpa += MEM_SHADOW_UNIT;
	}
	return n;
}

static void window_sort(struct mem_slot *slot, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j && slot[j].gpa < slot[j - 1].gpa; j--) {
			struct mem_slot t = slot[j];

			slot[j] = slot[j - 1];
			slot[j - 1] = t;
		}
}

/* A window that lies partly under something else is left to MMIO there. */
static bool window_is_free(const struct mem_slot *slot, unsigned n,
			   uint64_t gpa, uint64_t size)
{
	for (unsigned i = 0; i < n; i++)
		if (gpa < slot[i].gpa + slot[i].size &&
		    slot[i].gpa < gpa + size)
			return false;
	return true;
}

unsigned mem_slots(struct mem *m, struct mem_slot out[MEM_SLOTS_MAX])
{
	unsigned n = window_low_slots(m, out);

	window_add_slot(m, out, &n, MEM_HOLE_END, m->ram_bytes - m->low_bytes);
	for (unsigned i = 0; i < m->window_count; i++) {
		const struct mem_window *w = &m->window[i];
		uint64_t gpa;

		if (window_seen(w, &gpa) &&
		    window_is_free(out, n, gpa, w->size))
			window_add_slot(m, out, &n, gpa, w->size);
	}
	window_sort(out, n);
	return n;
}
