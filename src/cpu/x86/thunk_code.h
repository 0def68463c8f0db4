/*
 * thunk_code.h - making the host code of a thunk, and keeping it.
 *
 * Private to thunk.c and thunk_code.c.
 */
#ifndef HOSTEL_CPU_X86_THUNK_CODE_H
#define HOSTEL_CPU_X86_THUNK_CODE_H

#include <stddef.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

/*
 * What a thunk is called with.  fpu: struct x86_xsave; mem: the memory
 * operand; gpr: the one general register operand (THUNK_IMPLICIT: all 16);
 * flags: the guest's RFLAGS.  Returns the new arithmetic flags in RFLAGS'
 * bits, or THUNK_FAULT | vector after an exception, with nothing stored.
 */
typedef uint64_t thunk_fn(void *fpu, void *mem, uint64_t *gpr, uint64_t flags);
#define THUNK_FAULT (1ull << 32)

/* struct thunk.flags */
#define THUNK_MEM_READ  0x0001
#define THUNK_MEM_WRITE 0x0002
#define THUNK_ALIGN     0x0004 /* #GP(0) unless aligned to its size */
#define THUNK_FXSTATE   0x0008 /* loads all x87/SSE state: x87 and MMX */
#define THUNK_WAIT      0x0010 /* #MF first, if an x87 exception is pending */
#define THUNK_POINTERS  0x0020 /* sets FOP, FIP, FDP */
#define THUNK_MXCSR     0x0040 /* runs under the guest's MXCSR */
#define THUNK_FLAGS_IN  0x0080
#define THUNK_FLAGS_OUT 0x0100
#define THUNK_IMPLICIT  0x0200 /* PCMPESTRI and kin: RAX, RDX, RCX, XMM0 */
#define THUNK_CONTROL   0x0400 /* x87, but leaves FOP, FIP, FDP alone */
#define THUNK_X87_STORE 0x0800 /* its store may be withheld */
#define THUNK_X87       0x1000 /* runs on the host's x87 registers as they are */

struct thunk {
	uint64_t key;   /* the instruction as it runs on the host */
	thunk_fn *code; /* NULL: the cache is full */
	uint32_t need;  /* X86_MODE_* without which it is #UD or #NM */
	uint16_t flags; /* THUNK_* */
	uint8_t mem_index, gpr_index; /* operands, or THUNK_NONE */
};
#define THUNK_NONE 0xff

/* Maps code memory once per process; later calls return the first result. */
int thunk_code_init(struct err *err);

/*
 * The thunk of insn as code of `mode`; *t is filled.  If the cache is full,
 * t->code is NULL and thunk_code_uncached() must be used.  Any thread.
 */
const struct thunk *thunk_code_get(struct thunk *t, const struct x86_insn *insn,
				   unsigned mode);

/* Makes the code, runs it, forgets it: slow, one thread at a time. */
uint64_t thunk_code_uncached(const struct thunk *t, const struct x86_insn *insn,
			     void *fpu, void *mem, uint64_t *gpr,
			     uint64_t flags);

/* Is this host address inside a thunk?  Async-signal-safe. */
bool thunk_code_contains(uint64_t pc);
/* Where a thunk that faulted goes on: returns RAX to the caller. */
uint64_t thunk_code_fault_exit(void);

#endif
