/*
 * gdb_regs.h - a vCPU's registers as gdb knows them.
 *
 * One table gives gdb's numbers, names, sizes and features; the target
 * description, g/G, p/P and `monitor info registers` are made from it.  The
 * description is always that of a 64-bit processor, whatever mode the guest is
 * in, as gdb cannot change its mind while it is connected.
 */
#ifndef HOSTEL_MACHINE_GDB_REGS_H
#define HOSTEL_MACHINE_GDB_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu/x86/cpu.h"

#define GDB_REG_SIZE_MAX 16

/* gdb's numbers of some registers. */
#define GDB_REG_RBP 6
#define GDB_REG_RSP 7
#define GDB_REG_RIP 16

unsigned gdb_reg_count(void);
unsigned gdb_reg_size(unsigned n); /* bytes; 0: no such register */

/* Little-endian, gdb_reg_size(n) bytes.  The vCPU is stopped. */
void gdb_reg_read(const struct x86_cpu *cpu, unsigned n, uint8_t *out);
/*
 * False: this register cannot be written (selectors and control registers,
 * whose hidden sides a debugger cannot see), or not with this value.
 */
bool gdb_reg_write(struct x86_cpu *cpu, unsigned n, const uint8_t *in);

/* target.xml, NUL-terminated, the caller frees it; NULL: no memory. */
char *gdb_regs_xml(void);
/* As text, for `monitor info registers`. */
void gdb_regs_print(const struct x86_cpu *cpu, FILE *f);

#endif
