/*
 * guest.h - the little library that the bare-metal test guests share.
 *
 * A guest is one C file with guest_main(), linked with start32.S or start64.S
 * to a Multiboot ELF.  It talks on the first serial port and ends by writing to
 * port 0xf4: GUEST_PASS (exit status 33) or GUEST_FAIL (35).  Everything runs
 * from physical memory at 1 MiB; what user mode executes or touches is marked
 * GUEST_USER, and lies at 16 MiB, where start64.S maps user pages.
 *
 * Exceptions: guest_try() runs a function and tells which vector ended it, if
 * any, with the details in guest_last; guest_hook[] takes a vector over.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_PASS 16
#define GUEST_FAIL 17

#define GUEST_USER      __attribute__((section(".user.text"), noinline))
#define GUEST_USER_DATA __attribute__((section(".user.data"), aligned(4096)))

/* Selectors that start*.S put into the GDT (guest_gdt), and free slots. */
#define SEL_CODE        0x08 /* ring 0: 32-bit, or 64-bit in start64.S */
#define SEL_DATA        0x10
#define SEL_UCODE       0x1b /* ring 3 */
#define SEL_UDATA       0x23
#define SEL_CODE32      0x28 /* ring 0, 32-bit, in both */
#define SEL_UCODE32     0x33
#define SEL_TSS         0x38 /* two slots */
#define SEL_FREE        0x48 /* from here on a test's own: up to 0xf8 */
#define GUEST_GDT_SLOTS 32
extern uint64_t guest_gdt[GUEST_GDT_SLOTS];

/* What a stub pushed: see stubs in start*.S. */
struct guest_frame {
#ifdef __x86_64__
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, flags, rsp, ss;
#else
	uint32_t gs, fs, es, ds;
	uint32_t rdi, rsi, rbp, ignored, rbx, rdx, rcx, rax;
	uint32_t vector, error, rip, cs, flags, rsp, ss; /* rsp, ss: if from
							  * an outer ring */
	uint32_t vm_es, vm_ds, vm_fs, vm_gs;             /* from VM86 */
#endif
};

extern struct guest_frame guest_last;
extern unsigned long guest_last_cr2;
/* True: handled, return from it. */
typedef bool guest_hook_fn(struct guest_frame *f);
extern guest_hook_fn *guest_hook[256];

/* guest.c */
void guest_print(const char *s);
void guest_print_hex(uint64_t v);
/* A failure is printed and makes guest_main()'s end a GUEST_FAIL. */
void guest_check(bool ok, const char *what);
void guest_check_eq(uint64_t got, uint64_t want, const char *what);
_Noreturn void guest_exit(unsigned value);
/* Passes unless a check failed; guest_main()'s return does the same. */
_Noreturn void guest_finish(void);
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);

#define GUEST_NO_FAULT 0x100u
unsigned guest_try(void (*fn)(unsigned long arg), unsigned long arg);
/* fn in ring 3, with its own stack; it ends by returning. */
unsigned guest_try_user(void (*fn)(unsigned long arg), unsigned long arg);
/* Expects a fault with an error code. */
void guest_expect(void (*fn)(unsigned long), unsigned long arg, unsigned vector,
		  unsigned long error, const char *what);

void guest_set_gate(unsigned vector, void *fn, uint16_t sel, unsigned type_attr,
		    unsigned ist);
/* The stub of a vector, as start*.S installed it. */
void *guest_stub(unsigned vector);
void guest_set_tss_stack(unsigned long rsp0);
extern uint8_t guest_tss[0x2100];
extern uint8_t guest_idt[256 * 16];
extern uint8_t guest_user_stack[8192];

void guest_main(void);

/* start*.S */
_Noreturn void guest_enter_user(unsigned long rip, unsigned long rsp,
				unsigned long arg);

/* --- Instructions -------------------------------------------------------- */

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint64_t rdmsr(uint32_t index)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index));
	return lo | (uint64_t)hi << 32;
}

static inline void wrmsr(uint32_t index, uint64_t v)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(index), "a"((uint32_t)v),
			   "d"((uint32_t)(v >> 32))
			 : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}

static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"(leaf), "c"(sub));
}

#define GUEST_REG(name)                                                     \
	static inline unsigned long read_##name(void)                       \
	{                                                                   \
		unsigned long v;                                            \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(v));          \
		return v;                                                   \
	}                                                                   \
	static inline void write_##name(unsigned long v)                    \
	{                                                                   \
		__asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory"); \
	}
GUEST_REG(cr0)
GUEST_REG(cr2)
GUEST_REG(cr3)
GUEST_REG(cr4)
GUEST_REG(dr0)
GUEST_REG(dr1)
GUEST_REG(dr2)
GUEST_REG(dr3)
GUEST_REG(dr6)
GUEST_REG(dr7)
#ifdef __x86_64__
GUEST_REG(cr8)
#endif

static inline unsigned long read_flags(void)
{
	unsigned long v;

	__asm__ volatile("pushf; pop %0" : "=r"(v) : : "memory");
	return v;
}

static inline void write_flags(unsigned long v)
{
	__asm__ volatile("push %0; popf" : : "r"(v) : "memory", "cc");
}

static inline void invlpg(unsigned long a)
{
	__asm__ volatile("invlpg (%0)" : : "r"(a) : "memory");
}

#endif
