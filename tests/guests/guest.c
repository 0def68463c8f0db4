/*
 * guest.c - printing, checking and catching exceptions in test guests.
 */
#include "guest.h"

struct guest_frame guest_last;
unsigned long guest_last_cr2;
guest_hook_fn *guest_hook[256];
uint8_t guest_tss[0x2100] __attribute__((aligned(4096)));
uint8_t guest_idt[256 * 16] __attribute__((aligned(16)));
uint8_t guest_user_stack[8192] GUEST_USER_DATA;

#define GUEST_MAX_FAILURES 20
static unsigned guest_failures;
static bool guest_armed;
static void *guest_jump[5];
static unsigned long guest_jump_flags;

void guest_start(void);
void guest_exception(struct guest_frame *f);
extern uint8_t guest_stubs[];

/* gcc may call these for structures. */
void *memcpy(void *dst, const void *src, size_t n)
{
	uint8_t *d = dst;

	for (const uint8_t *s = src; n; n--)
		*d++ = *s++;
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	for (uint8_t *d = dst; n; n--)
		*d++ = c;
	return dst;
}

/* To the first serial port, unpaced by a port that never gets ready. */
void guest_print(const char *s)
{
	for (; *s; s++) {
		for (unsigned i = 0; i < 10000 && !(inb(0x3fd) & 0x20); i++)
			;
		outb(0x3f8, *s);
	}
}

void guest_print_hex(uint64_t v)
{
	char buf[17];
	unsigned i = 16;

	buf[16] = 0;
	do {
		buf[--i] = "0123456789abcdef"[v & 15];
		v >>= 4;
	} while (v && i);
	guest_print(buf + i);
}

void guest_exit(unsigned value)
{
	for (;;) {
		outl(0xf4, value);
		__asm__ volatile("cli; hlt");
	}
}

void guest_finish(void)
{
	guest_exit(guest_failures ? GUEST_FAIL : GUEST_PASS);
}

void guest_check(bool ok, const char *what)
{
	if (ok)
		return;
	if (guest_failures++ == GUEST_MAX_FAILURES)
		guest_exit(GUEST_FAIL);
	guest_print("FAIL: ");
	guest_print(what);
	guest_print("\n");
}

void guest_check_eq(uint64_t got, uint64_t want, const char *what)
{
	if (got == want)
		return;
	guest_check(false, what);
	guest_print("  got ");
	guest_print_hex(got);
	guest_print(", want ");
	guest_print_hex(want);
	guest_print("\n");
}

static void guest_unexpected(struct guest_frame *f)
{
	guest_print("unexpected vector ");
	guest_print_hex(f->vector);
	guest_print(" error ");
	guest_print_hex(f->error);
	guest_print(" at ");
	guest_print_hex(f->cs);
	guest_print(":");
	guest_print_hex(f->rip);
	guest_print(" cr2 ");
	guest_print_hex(read_cr2());
	guest_print("\n");
	guest_exit(GUEST_FAIL);
}

void guest_exception(struct guest_frame *f)
{
	if (guest_hook[f->vector] && guest_hook[f->vector](f))
		return;
	if (!guest_armed)
		guest_unexpected(f);
	guest_armed = false;
	guest_last = *f;
	guest_last_cr2 = read_cr2();
	__builtin_longjmp(guest_jump, 1);
}

static unsigned guest_caught(void)
{
	write_flags(guest_jump_flags);
	return guest_last.vector;
}

unsigned __attribute__((noinline))
guest_try(void (*fn)(unsigned long), unsigned long arg)
{
	guest_jump_flags = read_flags();
	if (__builtin_setjmp(guest_jump))
		return guest_caught();
	guest_armed = true;
	fn(arg);
	guest_armed = false;
	return GUEST_NO_FAULT;
}

void guest_expect(void (*fn)(unsigned long), unsigned long arg, unsigned vector,
		  unsigned long error, const char *what)
{
	guest_check_eq(guest_try(fn, arg), vector, what);
	if (vector != GUEST_NO_FAULT && guest_last.vector == vector)
		guest_check_eq(guest_last.error, error, what);
}

/* --- Ring 3 -------------------------------------------------------------- */

#define GUEST_RETURN_VECTOR 0x80

/* Where a user function returns to. */
static void GUEST_USER guest_user_end(void)
{
	__asm__ volatile("int $0x80");
}

unsigned __attribute__((noinline))
guest_try_user(void (*fn)(unsigned long), unsigned long arg)
{
	unsigned long *sp = (unsigned long *)(guest_user_stack +
					      sizeof(guest_user_stack) - 64);
	unsigned vector;

	guest_jump_flags = read_flags();
	if (__builtin_setjmp(guest_jump)) {
		vector = guest_caught();
		return vector == GUEST_RETURN_VECTOR ? GUEST_NO_FAULT : vector;
	}
	write_flags(guest_jump_flags | 0x40000); /* AC: SMAP may be on */
	sp[1] = arg;                             /* for 32-bit code */
	sp[0] = (unsigned long)guest_user_end;
	write_flags(guest_jump_flags);
	guest_armed = true;
	guest_enter_user((unsigned long)fn, (unsigned long)sp, arg);
}

/* --- Tables -------------------------------------------------------------- */

void *guest_stub(unsigned vector)
{
	return guest_stubs + vector * 16;
}

void guest_set_gate(unsigned vector, void *fn, uint16_t sel, unsigned type_attr,
		    unsigned ist)
{
	unsigned size = sizeof(long) == 8 ? 16 : 8;
	uint8_t *gate = guest_idt + vector * size;
	uint64_t a = (unsigned long)fn;
	uint32_t low = (a & 0xffff) | (uint32_t)sel << 16;
	uint32_t high = (a & 0xffff0000) | type_attr << 8 | ist;

	memcpy(gate, &low, 4);
	memcpy(gate + 4, &high, 4);
	if (size == 16) {
		uint64_t top = a >> 32;

		memcpy(gate + 8, &top, 8);
	}
}

void guest_set_tss_stack(unsigned long rsp0)
{
	memcpy(guest_tss + 4, &rsp0, sizeof(rsp0));
#ifndef __x86_64__
	guest_tss[8] = SEL_DATA;
#endif
}

static void guest_load_tables(void)
{
	struct {
		uint16_t limit;
		unsigned long base;
	} __attribute__((packed))
	idtr = { sizeof(long) == 8 ? 4095 : 2047, (unsigned long)guest_idt };
	uint64_t base = (unsigned long)guest_tss;
	uint16_t none = sizeof(guest_tss);

	for (unsigned v = 0; v < 256; v++)
		guest_set_gate(v, guest_stub(v), SEL_CODE,
			       v == GUEST_RETURN_VECTOR ? 0xee : 0x8e, 0);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	/* Limit 0x20ff: an I/O map for all ports fits, unused at first. */
	guest_gdt[SEL_TSS / 8] = 0x20ff | (base & 0xffffff) << 16 |
				 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	guest_gdt[SEL_TSS / 8 + 1] = base >> 32;
	memcpy(guest_tss + 0x66, &none, 2);
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	/* Reset leaves an LDT at address 0. */
	__asm__ volatile("lldt %w0" : : "r"(0));
}

void guest_start(void)
{
	static uint8_t stack[16384] __attribute__((aligned(16)));

	outb(0x21, 0xff); /* firmware may have left the 8259s open */
	outb(0xa1, 0xff);
	guest_load_tables();
	guest_set_tss_stack((unsigned long)stack + sizeof(stack));
	guest_main();
	guest_finish();
}
