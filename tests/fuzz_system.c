/*
 * fuzz_system.c - a hostile guest: random descriptor tables, gates, TSSs and
 * page tables, and code that uses them.  Nothing it does may crash the VMM or
 * keep it from coming back.
 *
 *	byte 0	  mode: 16, 32, 64, 64 in ring 3, VM86, 32 in ring 3
 *	byte 1	  more: paging, TF, breakpoints, IOPL, SMAP, VME
 *	2..65	  code
 *	66..      GDT, LDT, IDT and TSS, one behind the other from HARNESS_GDT
 */
#include <string.h>

#include "fuzz.h"
#include "x86_harness.h"

#include "cpu/x86/bits.h"
#include "cpu/x86/mmu.h"

#define STEPS      64
#define CODE_BYTES 64
#define TSS_AT     0x1a00

struct seed {
	uint8_t mode;
	uint8_t len;
	uint8_t code[30];
};

/* Far JMP and CALL, INT, IRET, RETF, LTR, LLDT, MOV to SREG, CR, DR. */
static const struct seed seeds[] = {
	{ 1, 7, { 0xea, 0, 0, 1, 0, 0x28, 0 } },
	{ 1, 7, { 0x9a, 0, 0, 1, 0, 0x30, 0 } },
	{ 5, 7, { 0x9a, 0, 0, 1, 0, 0x33, 0 } },
	{ 2, 4, { 0xcd, 0x20, 0x48, 0xcf } },
	{ 3, 4, { 0xcd, 0x20, 0x48, 0xcf } },
	{ 1, 3, { 0xcd, 0x08, 0xcf } },
	{ 4, 6, { 0xcd, 0x21, 0xcf, 0xfa, 0x9c, 0x9d } },
	{ 2, 10, { 0x66, 0xb8, 0x28, 0, 0x0f, 0x00, 0xd8, 0x0f, 0x00, 0xd0 } },
	{ 1, 10, { 0x66, 0xb8, 0x30, 0, 0x8e, 0xd8, 0x8e, 0xd0, 0xcb, 0xcf } },
	{ 2, 9, { 0x0f, 0x22, 0xc0, 0x0f, 0x22, 0xe0, 0x0f, 0x23, 0xf8 } },
	{ 2, 8, { 0x0f, 0x30, 0x0f, 0x32, 0x0f, 0x05, 0x0f, 0x07 } },
	{ 2, 8, { 0x0f, 0x34, 0x0f, 0x35, 0x0f, 0x01, 0xf8, 0xf4 } },
	{ 0, 8, { 0xcd, 0x10, 0x8e, 0xd8, 0x8e, 0xd0, 0xcb, 0xcf } },
	{ 1, 6, { 0xf3, 0xa4, 0xf3, 0xab, 0xf3, 0x6f } },
};

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const uint64_t gdt[] = {
		0,
		0x00cf9b000000ffff,
		0x00cf93000000ffff,
		0x00cffb000000ffff,
		0x00cff3000000ffff,
		0x0000890000000067 | TSS_AT << 16,
		0x0000ec0000081000,
		0x0000e50000280000,
	};
	size_t len = 2 + CODE_BYTES + 0xc00;

	if (i >= sizeof(seeds) / sizeof(seeds[0]) || cap < len)
		return 0;
	memset(buf, 0, len);
	buf[0] = seeds[i].mode;
	memcpy(buf + 2, seeds[i].code, seeds[i].len);
	memcpy(buf + 2 + CODE_BYTES, gdt, sizeof(gdt));
	for (unsigned v = 0; v < 32; v++)
		memcpy(buf + 2 + CODE_BYTES + 0x800 + v * 8,
		       "\x00\x10\x08\x00\x00\x8e\x01\x00", 8);
	return len;
}

static void more(struct x86_cpu *cpu, uint8_t bits)
{
	uint64_t flags = 0;

	if (bits & 1)
		flags |= X86_FLAG_TF;
	if (bits & 2) {
		cpu->dr[0] = HARNESS_CODE + 2;
		cpu->dr[1] = HARNESS_STACK - 8;
		cpu->dr[7] = 0x400 | 0xf | 3 << 20;
	}
	if (bits & 4)
		flags |= X86_FLAG_IOPL;
	if (bits & 8)
		flags |= X86_FLAG_NT;
	if (bits & 16)
		cpu->cr4 |= X86_CR4_SMAP | X86_CR4_SMEP;
	if (bits & 32)
		cpu->cr4 |= X86_CR4_VME | X86_CR4_PVI | X86_CR4_DE;
	x86_set_rflags(cpu, flags, flags);
	x86_mode_changed(cpu);
}

static struct harness *machine(uint8_t mode)
{
	static const uint8_t bits[] = { 16, 32, 64, 64, 32, 32 };
	struct harness *h = harness_new(bits[mode % 6]);

	h->cpu->gdtr = (struct x86_dtr){ .base = HARNESS_GDT, .limit = 0x3ff };
	h->cpu->idtr = (struct x86_dtr){ .base = HARNESS_IDT, .limit = 0x1ff };
	h->cpu->seg[X86_TR] = (struct x86_seg){
		.sel = 0x28, .attr = 0x8b, .base = TSS_AT, .limit = 0x1ff
	};
	if (mode % 6 == 3 || mode % 6 == 5)
		harness_user(h);
	if (mode % 6 == 4)
		x86_set_rflags(h->cpu, X86_FLAG_VM, X86_FLAG_VM);
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct harness *h;
	size_t tables;

	if (len < 2 + CODE_BYTES)
		return 0;
	h = machine(data[0]);
	tables = len - 2 - CODE_BYTES;
	if (tables > 0x6000)
		tables = 0x6000;
	harness_write(h, HARNESS_GDT, data + 2 + CODE_BYTES, tables);
	harness_code(h, data + 2, CODE_BYTES);
	more(h->cpu, data[1]);
	for (unsigned i = 0; i < STEPS; i++) {
		if (h->cpu->activity != X86_ACTIVE ||
		    interp_one(h->cpu) == VCPU_EXIT_SHUTDOWN)
			break;
	}
	harness_free(h);
	return 0;
}
