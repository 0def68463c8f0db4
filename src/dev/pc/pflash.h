/*
 * pflash.h - a NOR flash chip on the board: firmware, or its variables.
 *
 * Source: Intel 28F640J3 and Application Note 646 (common flash interface),
 * as firmware for virtual machines drives them: command set 1, one byte wide.
 *
 *	read array	ff		the contents; plain memory
 *	read status	70, clear 50	bit 7 ready, 5 erase, 4 program failed
 *	read ID		90		0: 89h, 1: 18h, 2: 0
 *	CFI query	98
 *	program		10 or 40, then the byte: bits can only be cleared
 *	erase		20, then d0, anywhere in the block: all ones
 *	buffered	e8 n-1 bytes... d0: program up to PFLASH_BUFFER bytes
 *
 * While it is read as an array it is a window of memory (mem.h), from which
 * code runs; any write makes it answer as a device until "read array".
 *
 * What is programmed is in the file when the chip is back in array mode, at
 * reset and at the end; with the file on stable storage at the end.
 * Threads: any vCPU.
 */
#ifndef HOSTEL_DEV_PC_PFLASH_H
#define HOSTEL_DEV_PC_PFLASH_H

#include "dev/dev.h"

#define PFLASH_BLOCK  4096u
#define PFLASH_BUFFER 64u

struct pflash;

struct pflash_config {
	uint64_t base; /* page-aligned */
	uint32_t size; /* a multiple of PFLASH_BLOCK */
	unsigned instance;
	bool readonly;    /* no command is obeyed */
	int fd;           /* for what is programmed; -1: nowhere. Taken over */
	const char *name; /* of the file, for messages */
};

/* data: `size` bytes, copied. */
int pflash_new(struct pflash **out, const struct dev_env *env,
	       const struct pflash_config *config, const void *data,
	       struct err *err);
/* The window, for aliases (isa-bios). */
struct mem_window *pflash_window(struct pflash *p);

#endif
