/*
 * workload.h - integer work of a common kind, for measuring engines.
 *
 * The same source runs natively and, linked to WORKLOAD_BASE, in a guest.
 */
#ifndef HOSTEL_BENCH_WORKLOAD_H
#define HOSTEL_BENCH_WORKLOAD_H

#include <stdint.h>

#define WORKLOAD_BASE    0x100000
#define WORKLOAD_SCRATCH 0x200000 /* bytes from here on are its own */
#define WORKLOAD_SIZE    0x10000

/*
 * Sorts and walks a linked list, multiplies matrices, scans text with a state
 * machine, and sums it all up in a CRC, `rounds` times.  Returns the CRC.
 */
uint32_t workload(void *scratch, uint32_t rounds);

#endif
