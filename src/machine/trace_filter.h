/*
 * trace_filter.h - which events a trace shows: a comma list.
 *
 *	insn, event, port, mmio	kinds; none of them: all
 *	user, kernel		CPL 3, CPL 0 to 2; neither: both
 *	cpu=N			that vCPU; several: any of them; none: all
 *	FROM-TO			code addresses, FROM <= rip < TO (0x for hex);
 *				several: any of them; none: all
 *
 * What no vCPU did passes unless vCPUs, addresses or privileges are asked for.
 */
#ifndef HOSTEL_MACHINE_TRACE_FILTER_H
#define HOSTEL_MACHINE_TRACE_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum trace_kind { TRACE_INSN, TRACE_EVENT, TRACE_PORT, TRACE_MMIO };

#define TRACE_RANGES_MAX 16
#define TRACE_CPUS_MAX   256

struct trace_filter {
	uint8_t kinds; /* 1 << enum trace_kind */
	bool user, kernel;
	unsigned range_count;
	struct {
		uint64_t from, to;
	} range[TRACE_RANGES_MAX];
	bool any_cpu;
	uint64_t cpus[TRACE_CPUS_MAX / 64]; /* valid unless any_cpu */
};

/* list may be NULL or empty: everything.  -EINVAL with a sentence. */
int trace_filter_parse(struct trace_filter *f, const char *list,
		       struct err *err);

static inline bool trace_filter_kind(const struct trace_filter *f,
				     enum trace_kind kind)
{
	return f->kinds >> kind & 1;
}

/* Does the filter show what vCPU `cpu` does at rip? */
bool trace_filter_match(const struct trace_filter *f, unsigned cpu, bool user,
			uint64_t rip);
/* And what happens in a thread that runs no vCPU? */
bool trace_filter_match_other(const struct trace_filter *f);

#endif
