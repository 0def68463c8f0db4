/*
 * gdb_bench.h - a machine of two vCPUs that stands still, for a gdb_session.
 *
 * 1 MiB of RAM; paging is off, so linear addresses are physical.  What the
 * session sends is collected in `sent`, what it asks for is counted.
 */
#ifndef HOSTEL_TESTS_GDB_BENCH_H
#define HOSTEL_TESTS_GDB_BENCH_H

#include "machine/gdb_session.h"

struct gdb_bench {
	struct x86_machine xm;
	struct x86_cpu *cpus[2];
	struct gdb_host host;
	struct gdb_session s;
	char sent[1 << 17];
	size_t sent_len;
	int stops, goes, steps, resets, ends, flushes;
	unsigned stepped; /* the vCPU */
	enum vcpu_exit step_exit;
};

struct gdb_bench *gdb_bench_new(void);
void gdb_bench_free(struct gdb_bench *b);

#endif
