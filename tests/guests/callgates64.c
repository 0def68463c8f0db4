/* callgates64: 16-byte call gates, far returns to compatibility mode. */
#include "guest.h"

#define SEL_GATE (SEL_FREE + 3) /* 48h, 50h: DPL 3 */
#define GATE_AT  (SEL_FREE / 8)

extern volatile uint64_t g_seen[4];
extern uint8_t gate_entry[];
__asm__(".pushsection .text\n"
	"gate_entry:\n"
	"	mov %cs, g_seen\n"
	"	mov %ss, g_seen + 8\n"
	"	mov %rsp, g_seen + 16\n"
	"	rex.w lret\n"
	".popsection\n"
	".pushsection .bss\n"
	"g_seen: .skip 32\n"
	".popsection");

static void set_gate(unsigned type, uint16_t sel, uint64_t offset)
{
	guest_gdt[GATE_AT] = (offset & 0xffff) | (uint64_t)sel << 16 |
			     (uint64_t)type << 40 |
			     (offset >> 16 & 0xffff) << 48;
	guest_gdt[GATE_AT + 1] = offset >> 32;
}

static const struct {
	uint32_t offset;
	uint16_t sel;
} __attribute__((packed)) gate_pointer GUEST_USER_DATA = { 0, SEL_GATE };

static void GUEST_USER user_call(unsigned long arg)
{
	__asm__ volatile("lcall *%0" : : "m"(gate_pointer) : "memory");
}

static void do_call(unsigned long arg)
{
	__asm__ volatile("lcall *%0" : : "m"(gate_pointer) : "memory");
}

static void test_inner(void)
{
	uint64_t rsp0 = *(uint64_t *)(guest_tss + 4);

	set_gate(0xec, SEL_CODE, (uint64_t)gate_entry);
	guest_check_eq(guest_try_user(user_call, 0), GUEST_NO_FAULT, "gate");
	guest_check_eq(g_seen[0] & 0xffff, SEL_CODE, "CS");
	guest_check_eq(g_seen[1] & 0xffff, 0, "SS is null");
	guest_check_eq(g_seen[2], rsp0 - 32, "SS RSP CS RIP on RSP0");
}

static void test_refusals(void)
{
	set_gate(0xec, SEL_CODE32, (uint64_t)gate_entry);
	guest_expect(do_call, 0, 13, SEL_CODE32, "gate to 32-bit code");
	set_gate(0xe4, SEL_CODE, (uint64_t)gate_entry);
	guest_expect(do_call, 0, 13, SEL_GATE & ~3, "286 gate");
	set_gate(0xec, SEL_CODE, (uint64_t)gate_entry);
	guest_gdt[GATE_AT + 1] |= 1ull << 40;
	guest_expect(do_call, 0, 13, SEL_GATE & ~3, "type in the upper half");
	set_gate(0xec, SEL_CODE, 1ull << 47);
	guest_expect(do_call, 0, 13, 0, "non-canonical offset");
	set_gate(0x6c, SEL_CODE, (uint64_t)gate_entry);
	guest_expect(do_call, 0, 11, SEL_GATE & ~3, "absent gate");
}

extern uint8_t compat_entry[];
static volatile uint32_t compat_seen;

/* Ring 0: RETF to 32-bit code, which comes back by a far jump. */
static void test_compat(void)
{
	uint32_t eax;

	__asm__ volatile("mov %%rsp, %%rbx\n"
			 "pushq %1\n"
			 "pushq $compat_entry\n"
			 "lretq\n"
			 ".code32\n"
			 "compat_entry:\n"
			 "mov $1, %%eax\n"
			 ".byte 0x48\n" /* DEC EAX */
			 "dec %%eax\n"
			 "ljmp $0x08, $compat_back\n"
			 ".code64\n"
			 "compat_back:\n"
			 "mov %%rbx, %%rsp"
			 : "=a"(eax)
			 : "i"(SEL_CODE32)
			 : "rbx", "memory", "cc");
	guest_check_eq(eax, 0xffffffff, "32-bit code ran");
}

static void bad_code(unsigned long arg)
{
	__asm__ volatile("pushq %0; pushq $0; lretq" : : "r"(arg));
}

void guest_main(void)
{
	test_inner();
	test_refusals();
	test_compat();
	guest_gdt[0x58 / 8] = 0x00ef9b000000ffff; /* L and D */
	guest_expect(bad_code, 0x58, 13, 0x58, "L and D both set");
}
