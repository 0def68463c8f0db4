/* gdb_points.c - a session's breakpoints and watchpoints. */
#include <errno.h>
#include <string.h>

#include "cpu/x86/mmu.h"
#include "machine/gdb_session.h"

const struct gdb_point *gdb_point_at(const struct gdb_session *s, uint64_t addr,
				     bool watch)
{
	for (unsigned i = 0; i < s->point_count; i++)
		if (s->point[i].addr == addr &&
		    (s->point[i].type >= GDB_WATCH_WRITE) == watch)
			return &s->point[i];
	return NULL;
}

static int gdb_find_point(const struct gdb_session *s,
			  const struct gdb_point *p)
{
	for (unsigned i = 0; i < s->point_count; i++)
		if (s->point[i].type == p->type &&
		    s->point[i].addr == p->addr && s->point[i].len == p->len)
			return (int)i;
	return -1;
}

static bool gdb_add_watch(struct x86_debug *d, const struct gdb_point *p)
{
	unsigned n = d->watch_count;

	if (n == sizeof(d->watch) / sizeof(d->watch[0]))
		return false;
	d->watch[n].addr = p->addr;
	d->watch[n].len = p->len;
	d->watch[n].read = p->type != GDB_WATCH_WRITE;
	d->watch[n].write = p->type != GDB_WATCH_READ;
	d->watch_count++;
	return true;
}

static bool gdb_add_break(struct x86_debug *d, uint64_t addr)
{
	for (unsigned i = 0; i < d->bp_count; i++)
		if (d->bp[i] == addr)
			return true;
	if (d->bp_count == X86_DEBUG_MAX_BP)
		return false;
	d->bp[d->bp_count++] = addr;
	return true;
}

/* Without any, engines need not look, and run at full speed. */
bool gdb_point_apply(struct gdb_session *s)
{
	struct x86_debug *d = &s->debug;
	unsigned watched = d->watch_count;
	bool ok = true;

	d->bp_count = 0;
	d->watch_count = 0;
	for (unsigned i = 0; i < s->point_count; i++)
		ok &= s->point[i].type < GDB_WATCH_WRITE
			      ? gdb_add_break(d, s->point[i].addr)
			      : gdb_add_watch(d, &s->point[i]);
	if (s->waking)
		ok &= gdb_add_break(d, s->waking_addr);
	s->host->xm->debug = d->bp_count || d->watch_count ? d : NULL;
	if (watched || d->watch_count)
		for (unsigned i = 0; i < s->host->xm->cpu_count; i++)
			x86_tlb_flush_all(s->host->xm->cpus[i]);
	return ok;
}

int gdb_point_add(struct gdb_session *s, const struct gdb_point *p)
{
	if (gdb_find_point(s, p) >= 0)
		return 0;
	if (s->point_count == GDB_POINTS_MAX)
		return -ENOSPC;
	s->point[s->point_count++] = *p;
	if (gdb_point_apply(s))
		return 0;
	s->point_count--;
	gdb_point_apply(s);
	return -ENOSPC;
}

void gdb_point_remove(struct gdb_session *s, const struct gdb_point *p)
{
	int at = gdb_find_point(s, p);

	if (at < 0)
		return;
	s->point[at] = s->point[--s->point_count];
	gdb_point_apply(s);
}

void gdb_point_remove_all(struct gdb_session *s)
{
	s->point_count = 0;
	s->waking = false;
	gdb_point_apply(s);
}

static bool gdb_point_known(const struct gdb_session *s, uint64_t addr)
{
	for (unsigned i = 0; i < s->known_count; i++)
		if (s->known[i] == addr)
			return true;
	return false;
}

void gdb_point_commit(struct gdb_session *s)
{
	const struct x86_machine *xm = s->host->xm;
	const struct x86_debug *d = &s->debug;
	bool same = d->bp_count == s->known_count;

	for (unsigned i = 0; i < d->bp_count; i++)
		same &= gdb_point_known(s, d->bp[i]);
	if (same)
		return;
	s->known_count = d->bp_count;
	memcpy(s->known, d->bp, d->bp_count * sizeof(d->bp[0]));
	for (unsigned i = 0; i < xm->cpu_count; i++)
		xm->engine_ops->flush(xm->cpus[i]);
}
