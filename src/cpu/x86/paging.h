/*
 * paging.h - the page walk, without side effects on the TLB.
 * Source: Intel SDM volume 3A, 4.3 to 4.7.
 */
#ifndef HOSTEL_CPU_X86_PAGING_H
#define HOSTEL_CPU_X86_PAGING_H

#include "cpu/x86/cpu.h"

struct page_access {
	bool write, fetch;
	bool user;  /* with CPL 3's rights */
	bool ac;    /* supervisor may touch user pages though SMAP is set */
	bool debug; /* set no accessed and dirty bits, check no permission */
};

struct page_result {
	uint64_t gpa;  /* of the byte asked for */
	bool writable; /* a write would be allowed, and D is set */
	bool global;
	uint8_t shift;  /* 12, 21, 22 or 30: size of the page */
	uint32_t error; /* when it failed: the #PF error code */
};

/*
 * Translates linear (canonical, or below 4 GiB outside long mode).  Sets A
 * and, for writes, D atomically.  False: page fault with r->error.
 */
bool page_walk(struct x86_cpu *cpu, uint64_t linear,
	       const struct page_access *a, struct page_result *r);

#endif
