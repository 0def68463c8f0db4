/*
 * x86_harness.h - a processor with a little memory, for unit tests.
 *
 * One vCPU of the interpreter, HARNESS_RAM bytes of RAM, no devices.  Segments
 * are flat and cover all of it.  64-bit code needs paging: pages are mapped to
 * themselves, for user and supervisor, in pages of 4 KiB (harness_pte()
 * finds the entry, to make one absent or read-only).
 *
 *	00000..01000	free (real-mode IDT)
 *	01000..02000	GDT, IDT of 16-byte gates from HARNESS_IDT
 *	10000..		code goes here
 *	20000..		data
 *	60000		initial stack pointer
 *	70000..80000	page tables
 *
 * Functions fail the test (cmocka) when the machine cannot be built.
 */
#ifndef HOSTEL_TESTS_X86_HARNESS_H
#define HOSTEL_TESTS_X86_HARNESS_H

#include "test.h"

#include "cpu/interpreter/interp.h"
#include "cpu/x86/cpu.h"
#include "mem/mem.h"

#define HARNESS_RAM   (4ull << 20)
#define HARNESS_GDT   0x1000ull
#define HARNESS_IDT   0x1800ull /* 128 gates of 16 bytes */
#define HARNESS_CODE  0x10000ull
#define HARNESS_DATA  0x20000ull
#define HARNESS_STACK 0x60000ull
#define HARNESS_PT    0x70000ull

#define HARNESS_CPUS 4

/* Selectors in the GDT: null, then code and data of either privilege. */
#define HARNESS_CS  0x08
#define HARNESS_DS  0x10
#define HARNESS_CS3 0x1b
#define HARNESS_DS3 0x23

struct harness {
	struct mem *mem;
	struct x86_machine xm;
	struct x86_cpu *cpu;
	struct x86_cpu *cpus[HARNESS_CPUS];
};

/* bits: 16 (real mode), 32 (protected, no paging) or 64. */
struct harness *harness_new(unsigned bits);
/* The same on another engine. */
struct harness *harness_new_on(const struct engine_ops *ops, unsigned bits);
/* Several vCPUs in the same state, stacks 4 KiB apart; h->cpu is the first. */
struct harness *harness_new_smp(const struct engine_ops *ops, unsigned bits,
				unsigned cpus);
void harness_free(struct harness *h);

/* Code (or data) to an address; harness_code: to HARNESS_CODE, and rip. */
void harness_write(struct harness *h, uint64_t gpa, const void *buf,
		   size_t len);
void harness_code(struct harness *h, const void *code, size_t len);
/*
 * Guest code in assembly, at file scope: HARNESS_ASM(name, 64, "nop; hlt")
 * defines name[] and name_end[]; harness_asm(h, name) loads it.
 */
#define HARNESS_ASM(name, bits, text)                                     \
	__asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text \
		"\n" #name "_end:\n.code64\n.popsection");                \
	extern const uint8_t name[], name##_end[]
#define harness_asm(h, name) harness_code(h, name, (size_t)(name##_end - name))

/* Memory as the test sees it: host pointer to the guest-physical address. */
void *harness_ptr(struct harness *h, uint64_t gpa);
uint64_t harness_u64(struct harness *h, uint64_t gpa);
uint32_t harness_u32(struct harness *h, uint64_t gpa);

/* The page table entry of a page (64-bit machine); flush after changes. */
uint64_t *harness_pte(struct harness *h, uint64_t linear);
/* CPL 3 with flat user segments. */
void harness_user(struct harness *h);
/* A gate of the machine's own mode (16: vector table). */
void harness_gate(struct harness *h, unsigned vector, uint64_t handler);

/*
 * Executes up to n instructions without delivering faults.  False: one
 * raised, see h->cpu->fault.
 */
bool harness_step(struct harness *h, unsigned n);
/* One instruction must raise this exception. */
void harness_expect_fault(struct harness *h, unsigned vector);
/* Runs the engine until HLT; any other exit fails the test. */
void harness_run(struct harness *h);

#endif
