/*
 * gdb.h - --gdb [ADDR:]PORT: a stub for gdb(1), which attaches with
 * `target remote ADDR:PORT`, sees vCPUs as threads, and may stop, step, read
 * and change the guest.
 *
 * Whoever reaches the port owns the guest: the address defaults to 127.0.0.1.
 * One gdb at a time; the guest stops when it connects, and goes on when it
 * detaches or its connection ends.
 */
#ifndef HOSTEL_MACHINE_GDB_H
#define HOSTEL_MACHINE_GDB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/vm.h"

struct gdb;

/*
 * Listens in a thread of its own, and sets vm->debug_stopped.  Between vm_new()
 * and vm_run().  wait: the guest does not run before gdb says so.  -errno with
 * a sentence: bad address, port in use.  Port 0: any that is free.
 */
int gdb_start(struct gdb **out, struct vm *vm, const char *where, bool wait,
	      struct err *err);
uint16_t gdb_port(const struct gdb *g);
/* The guest has ended with this exit status: tells gdb, closes, frees. */
void gdb_stop(struct gdb *g, int status);

#endif
