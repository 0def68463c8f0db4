/*
 * fetch.h - from CS:RIP to a decoded instruction.
 */
#ifndef HOSTEL_CPU_INTERPRETER_FETCH_H
#define HOSTEL_CPU_INTERPRETER_FETCH_H

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/mmu.h"

#define FETCH_NO_PAGE UINT64_MAX

struct fetch {
	struct x86_insn insn;        /* handler chosen, ready to execute */
	uint8_t bytes[X86_INSN_MAX]; /* of which... */
	unsigned count;              /* ...so many were fetched */
	uint64_t gpa;                /* of the first byte */
	uint64_t gpa2;               /* of the first byte on the next page,
				      * or FETCH_NO_PAGE */
};

/* Linear address of cpu->rip. */
static inline uint64_t fetch_linear(const struct x86_cpu *cpu)
{
	if (x86_code64(cpu))
		return cpu->rip;
	return (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
}

/* The address one page up from linear, where an instruction goes on. */
static inline uint64_t fetch_next_page(const struct x86_cpu *cpu,
				       uint64_t linear)
{
	uint64_t next = (linear | MEM_PAGE_MASK) + 1;

	return x86_code64(cpu) ? next : (uint32_t)next;
}

/*
 * Reads and decodes the instruction at cpu->rip, raising what that raises: #PF,
 * #GP beyond the segment's limit.  An undefined opcode is an instruction
 * whose handler raises #UD, and so on: executing tells.
 */
void fetch_insn(struct x86_cpu *cpu, struct fetch *f);

/*
 * How many bytes may be fetched from rip on, up to a whole page: the limit of
 * CS, which 64-bit code does not have.  0: none.
 */
unsigned fetch_within_limit(const struct x86_cpu *cpu, uint64_t rip);

/* A decoder's result that is not an instruction, made one. */
void fetch_make_fault(struct x86_insn *insn, enum x86_decode_result r);

#endif
