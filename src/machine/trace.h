/*
 * trace.h - --trace FILE: what the guest does, one line each.
 *
 *	0       4711 insn   ffffffff81000000 48 89 e5             mov rbp, rsp
 *	0       4712 event  ffffffff81000003 #PF error 0x2 cr2 0x7f0000001000
 *	1         93 port   write 0x3f8.1 = 0x41 uart
 *	- 	   - mmio   read 0xfec00000.4 = 0x0 ioapic
 *
 * Columns: the vCPU ("-": no vCPU's thread did it), the number of
 * instructions that it had begun, what, and the details: code address, bytes
 * and disassembly; exception or interrupt; access with address.size = value
 * and the device's name.
 *
 * Lines are whole, in the order in which they happened on each vCPU, buffered
 * and complete after trace_close().  A trace may slow the guest a hundredfold.
 */
#ifndef HOSTEL_MACHINE_TRACE_H
#define HOSTEL_MACHINE_TRACE_H

#include "base/err.h"
#include "cpu/x86/cpu.h"

struct trace;

/*
 * Opens (and empties) the file and reads the filter (trace_filter.h; NULL:
 * everything).  -errno with a sentence that names the option.
 */
int trace_open(struct trace **out, const char *path, const char *filter,
	       struct err *err);

/*
 * Sets xm->trace and the tap of xm->mem, each only where the filter wants its
 * lines, so that a trace of ports does not slow instructions down.  Before the
 * first vCPU runs.
 */
void trace_attach(struct trace *t, struct x86_machine *xm);

/* The calling thread runs this vCPU: whose port and MMIO accesses these are. */
void trace_thread(struct trace *t, struct x86_cpu *cpu);

/*
 * Detaches, writes what is left and closes, when no vCPU runs any more.
 * -errno with a sentence if some of the trace could not be written.
 */
int trace_close(struct trace *t, struct err *err);

#endif
