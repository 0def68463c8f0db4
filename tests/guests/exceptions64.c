/* exceptions64: vectors, error codes, frames and IST in long mode. */
#include "guest.h"

static uint8_t ist_stack[4096] __attribute__((aligned(16)));

static void divide(unsigned long arg)
{
	__asm__ volatile("div %b0" : : "q"(0), "a"(1) : "cc");
}

static void idivide_overflow(unsigned long arg)
{
	__asm__ volatile("idiv %0" : : "r"(-1l), "a"(0), "d"(1ul << 63) : "cc");
}

static void undefined(unsigned long arg)
{
	__asm__ volatile("ud2");
}

static void breakpoint(unsigned long arg)
{
	__asm__ volatile("int3");
}

static void icebp(unsigned long arg)
{
	__asm__ volatile(".byte 0xf1");
}

static void load_ds(unsigned long arg)
{
	__asm__ volatile("mov %w0, %%ds" : : "r"(arg));
}

static void load_ss(unsigned long arg)
{
	__asm__ volatile("mov %w0, %%ss" : : "r"(arg));
}

static void load(unsigned long arg)
{
	(void)*(volatile uint8_t *)arg;
}

static void store(unsigned long arg)
{
	*(volatile uint8_t *)arg = 1;
}

static void load8(unsigned long arg)
{
	(void)*(volatile uint64_t *)arg;
}

static void fetch(unsigned long arg)
{
	((void (*)(void))arg)();
}

static void load_stack(unsigned long arg)
{
	__asm__ volatile("push %%rbp; mov %0, %%rbp; mov (%%rbp), %%al;"
			 "pop %%rbp"
			 :
			 : "r"(arg)
			 : "rax");
}

static void int_n(unsigned long arg)
{
	if (arg == 0x90)
		__asm__ volatile("int $0x90");
	else
		__asm__ volatile("int $0x91");
}

static void x87(unsigned long arg)
{
	__asm__ volatile("fnop");
}

static void long_insn(unsigned long arg)
{
	__asm__ volatile(".fill 15, 1, 0x66; nop");
}

static void lock_reg(unsigned long arg)
{
	__asm__ volatile(".byte 0xf0, 0x01, 0xc0"); /* lock add */
}

static void GUEST_USER user_hlt(unsigned long arg)
{
	__asm__ volatile("hlt");
}

static void GUEST_USER user_int(unsigned long arg)
{
	__asm__ volatile("int $0x90");
}

static void GUEST_USER user_load(unsigned long arg)
{
	(void)*(volatile uint8_t *)arg;
}

static void GUEST_USER user_store(unsigned long arg)
{
	*(volatile uint8_t *)arg = 0;
}

static void GUEST_USER user_in(unsigned long arg)
{
	(void)inb(0x80);
}

static void test_faults(void)
{
	guest_expect(divide, 0, 0, 0, "DIV by 0");
	guest_expect(idivide_overflow, 0, 0, 0, "IDIV overflow");
	guest_expect(undefined, 0, 6, 0, "UD2");
	guest_check_eq(*(uint16_t *)guest_last.rip, 0x0b0f, "#UD's RIP");
	guest_check(guest_last.flags & 0x10000, "RF in the image of a fault");
	guest_expect(lock_reg, 0, 6, 0, "LOCK with a register");
	guest_expect(long_insn, 0, 13, 0, "16-byte instruction");
	write_cr0(read_cr0() | 8);
	guest_expect(x87, 0, 7, 0, "x87 with CR0.TS");
	write_cr0(read_cr0() & ~8ul);
}

static void test_traps(void)
{
	guest_expect(breakpoint, 0, 3, 0, "INT3");
	guest_check_eq(*(uint8_t *)(guest_last.rip - 1), 0xcc, "INT3's RIP");
	guest_check(!(guest_last.flags & 0x10000), "no RF in a trap's image");
	guest_expect(icebp, 0, 1, 0, "INT1");
	guest_check_eq(*(uint8_t *)(guest_last.rip - 1), 0xf1, "INT1's RIP");
}

static void test_selectors(void)
{
	guest_expect(load_ds, SEL_FREE, 13, SEL_FREE, "empty descriptor");
	guest_expect(load_ds, 0x1000, 13, 0x1000, "beyond the GDT");
	guest_expect(load_ds, 0x1004, 13, 0x1004, "no LDT");
	guest_expect(load_ds, 0, GUEST_NO_FAULT, 0, "null DS");
	guest_expect(load_ds, SEL_DATA, GUEST_NO_FAULT, 0, "DS");
	guest_expect(load_ss, SEL_UDATA, 13, SEL_UDATA & ~3, "SS of ring 3");
	guest_expect(load_ss, 0, GUEST_NO_FAULT, 0, "null SS in ring 0");
	guest_expect(load_ss, SEL_DATA, GUEST_NO_FAULT, 0, "SS");
	guest_gdt[SEL_FREE / 8] = guest_gdt[SEL_DATA / 8] & ~(1ull << 47);
	guest_expect(load_ds, SEL_FREE, 11, SEL_FREE, "absent DS");
	guest_expect(load_ss, SEL_FREE, 12, SEL_FREE, "absent SS");
	guest_gdt[SEL_FREE / 8] = 0;
}

static void test_addresses(void)
{
	unsigned long hole = 0x800000000000ul;

	guest_expect(load, hole, 13, 0, "non-canonical load");
	guest_expect(load8, hole - 4, 13, 0, "load into the hole");
	guest_expect(load_stack, hole, 12, 0, "non-canonical RBP load");
	guest_expect(fetch, hole, 13, 0, "non-canonical jump");
	guest_expect(load, 0x7ffffffff000, 14, 0, "unmapped load");
	guest_check_eq(guest_last_cr2, 0x7ffffffff000, "CR2");
	guest_expect(store, -4096ul, 14, 2, "unmapped store");
	guest_check_eq(guest_last_cr2, -4096ul, "CR2 of a store");
	guest_expect(fetch, 0x600000000000, 14, 0x10, "unmapped fetch");
	guest_check_eq(guest_last.rip, 0x600000000000, "RIP of a fetch fault");
}

static void test_idt(void)
{
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0x0e, 0);
	guest_expect(int_n, 0x90, 11, 0x90 * 8 + 2, "absent gate");
	guest_check_eq(*(uint8_t *)guest_last.rip, 0xcd, "RIP of its INT");
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0x8c, 0);
	guest_expect(int_n, 0x90, 13, 0x90 * 8 + 2, "call gate in the IDT");
	guest_set_gate(0x90, guest_stub(0x90), 0, 0x8e, 0);
	guest_expect(int_n, 0x90, 13, 0, "gate with null CS");
	guest_set_gate(0x90, guest_stub(0x90), SEL_DATA, 0x8e, 0);
	guest_expect(int_n, 0x90, 13, SEL_DATA, "gate with data as CS");
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE32, 0x8e, 0);
	guest_expect(int_n, 0x90, 13, SEL_CODE32, "gate with 32-bit CS");
	guest_set_gate(6, guest_stub(6), SEL_DATA, 0x8e, 0);
	guest_expect(undefined, 0, 13, SEL_DATA | 1, "EXT for an exception");
	guest_set_gate(6, guest_stub(6), SEL_CODE, 0x8e, 0);
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0x8e, 0);
	guest_expect(int_n, 0x90, 0x90, 0, "INT 90h");
}

static void test_ist(void)
{
	uint64_t top = (uint64_t)ist_stack + sizeof(ist_stack) - 8;

	*(uint64_t *)(guest_tss + 0x24 + 8 * 2) = top;
	guest_set_gate(6, guest_stub(6), SEL_CODE, 0x8e, 3);
	guest_hook[6] = NULL;
	guest_expect(undefined, 0, 6, 0, "#UD on an IST");
	guest_set_gate(6, guest_stub(6), SEL_CODE, 0x8e, 0);
}

static struct guest_frame *ist_frame;

static bool note_frame(struct guest_frame *f)
{
	ist_frame = f;
	f->rip += 2;
	return true;
}

static void test_ist_address(void)
{
	uint64_t top = (uint64_t)ist_stack + sizeof(ist_stack);

	/* the processor aligns the stack pointer to 16 bytes */
	*(uint64_t *)(guest_tss + 0x24) = top - 3;
	guest_set_gate(6, guest_stub(6), SEL_CODE, 0x8e, 1);
	guest_hook[6] = note_frame;
	undefined(0);
	guest_hook[6] = NULL;
	guest_set_gate(6, guest_stub(6), SEL_CODE, 0x8e, 0);
	guest_check_eq((uint64_t)(ist_frame + 1), top - 16, "IST alignment");
}

static void test_user(void)
{
	guest_check_eq(guest_try_user(user_hlt, 0), 13, "HLT in ring 3");
	guest_check_eq(guest_last.cs, SEL_UCODE, "CS of ring 3");
	guest_check_eq(guest_last.ss, SEL_UDATA, "SS of ring 3");
	guest_check_eq(guest_try_user(user_int, 0), 13, "INT n with DPL 0");
	guest_check_eq(guest_last.error, 0x90 * 8 + 2, "its error code");
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0xee, 0);
	guest_check_eq(guest_try_user(user_int, 0), 0x90, "INT n with DPL 3");
	guest_check_eq(guest_try_user(user_load, 0x100000), 14, "kernel page");
	guest_check_eq(guest_last.error, 5, "its error code");
	guest_check_eq(guest_try_user(user_store, 0x100000), 14, "kernel page");
	guest_check_eq(guest_last.error, 7, "its error code");
	guest_check_eq(guest_try_user(user_in, 0), 13, "IN without a map");
}

static void test_io_map(void)
{
	*(uint16_t *)(guest_tss + 0x66) = 0x68;
	for (unsigned i = 0; i < 0x2000; i++)
		guest_tss[0x68 + i] = 0xff;
	guest_check_eq(guest_try_user(user_in, 0), 13, "port not allowed");
	guest_tss[0x68 + 0x80 / 8] = 0xfe;
	guest_check_eq(guest_try_user(user_in, 0), GUEST_NO_FAULT,
		       "port allowed");
	*(uint16_t *)(guest_tss + 0x66) = sizeof(guest_tss);
}

/* --- Alignment: ring 3, CR0.AM and EFLAGS.AC ----------------------------- */

static uint64_t aligned[4] GUEST_USER_DATA;

#define SET_AC   "pushfq; orl $0x40000, (%%rsp); popfq; "
#define CLEAR_AC "; pushfq; andl $~0x40000, (%%rsp); popfq"

static void GUEST_USER user_load_ac(unsigned long arg)
{
	__asm__ volatile(SET_AC "mov (%0), %%eax" CLEAR_AC
			 :
			 : "r"(arg)
			 : "rax", "memory", "cc");
}

static void GUEST_USER user_locked_ac(unsigned long arg)
{
	__asm__ volatile(SET_AC "lock incq (%0)" CLEAR_AC
			 :
			 : "r"(arg)
			 : "memory", "cc");
}

static void GUEST_USER user_string_ac(unsigned long arg)
{
	void *d = (void *)arg;
	unsigned long n = 2;

	__asm__ volatile(SET_AC "rep stosw" CLEAR_AC
			 : "+D"(d), "+c"(n)
			 : "a"(0)
			 : "memory", "cc");
}

static void test_alignment(void)
{
	unsigned long at = (unsigned long)aligned;

	guest_check_eq(guest_try_user(user_load_ac, at + 1), GUEST_NO_FAULT,
		       "misaligned without CR0.AM");
	write_cr0(read_cr0() | 0x40000);
	guest_check_eq(guest_try_user(user_load_ac, at + 4), GUEST_NO_FAULT,
		       "aligned");
	guest_check_eq(guest_try_user(user_load_ac, at + 2), 17, "misaligned");
	guest_check_eq(guest_last.error, 0, "error code of #AC");
	guest_check_eq(guest_try_user(user_locked_ac, at + 4), 17, "locked");
	guest_check_eq(guest_try_user(user_string_ac, at + 2), GUEST_NO_FAULT,
		       "aligned string");
	guest_check_eq(guest_try_user(user_string_ac, at + 1), 17, "string");
	guest_check_eq(guest_try_user(user_load_ac, 0x7ffffffff001), 14,
		       "a page fault comes first");
	write_flags(0x40002);
	(void)*(volatile uint32_t *)(at + 1); /* ring 0: no check */
	write_flags(2);
	write_cr0(read_cr0() & ~0x40000ul);
}

void guest_main(void)
{
	test_faults();
	test_traps();
	test_selectors();
	test_addresses();
	test_idt();
	test_ist();
	test_ist_address();
	test_user();
	test_io_map();
	test_alignment();
}
