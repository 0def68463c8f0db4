/*
 * light.h - C that translated code calls while vector registers hold the
 * guest's values: compiled with -mgeneral-regs-only, calls no libc.
 */
#ifndef HOSTEL_CPU_TRANSLATOR_LIGHT_H
#define HOSTEL_CPU_TRANSLATOR_LIGHT_H

#include <stdint.h>

struct x86_cpu;

/* kind_size: enum x86_tlb_kind << 16 | bytes. Not 0: the TLB has it now. */
uint64_t xl_light_miss(struct x86_cpu *cpu, uint64_t linear,
		       uint32_t kind_size);
/*
 * The same for a group, whose check failed at host pc.  Not there: the host
 * address where to go on singly, or 0.
 */
#define XL_LIGHT_FILLED 1
uint64_t xl_light_group(struct x86_cpu *cpu, uint64_t linear,
			uint32_t kind_size, uint64_t pc);
/* x86_view_sample(). */
uint64_t xl_light_view(struct x86_cpu *cpu, uint64_t linear, uint32_t unused);
/* Host address of the checked entry at linear; 0: not translated yet. */
uint64_t xl_light_indirect(struct x86_cpu *cpu, uint64_t linear, uint32_t kind);
/* Links a jump (xl_ref() of it) if its target exists: its host address. */
uint64_t xl_light_link(struct x86_cpu *cpu, uint64_t link, uint32_t unused);
/* A block's checked entry failed (its xl_ref()): its body, or 0. */
uint64_t xl_light_check(struct x86_cpu *cpu, uint64_t block, uint32_t unused);
/*
 * Executes the instruction (xl_ref() of a struct xl_insn); the state is in *cpu
 * before and after.  Host address to go on at; 0: to be seen to by the run loop
 * (with the instruction undone and to be interpreted, if it raised something).
 */
uint64_t xl_light_insn(struct x86_cpu *cpu, uint64_t ref);
uint64_t xl_light_mxcsr_masked(struct x86_cpu *cpu, uint64_t unused,
			       uint32_t unused2);

#endif
