/*
 * enter.c - puts the boot processor into the state that a loader wants.
 */
#include <stddef.h>

#include "cpu/x86/mmu.h"
#include "machine/boot/boot.h"

/* Present, accessed, type as loaded from the descriptors of place.c. */
#define LOAD_ATTR_DATA   (X86_SEG_G | X86_SEG_DB | X86_SEG_P | X86_SEG_S | 3)
#define LOAD_ATTR_CODE32 (X86_SEG_G | X86_SEG_DB | X86_SEG_P | X86_SEG_S | 11)
#define LOAD_ATTR_CODE64 (X86_SEG_G | X86_SEG_L | X86_SEG_P | X86_SEG_S | 11)

static void load_segments(struct x86_cpu *cpu, const struct boot_entry *e)
{
	static const uint8_t data[] = { X86_ES, X86_SS, X86_DS, X86_FS,
					X86_GS };

	for (size_t i = 0; i < sizeof(data); i++)
		cpu->seg[data[i]] = (struct x86_seg){
			.sel = e->ds,
			.attr = LOAD_ATTR_DATA,
			.limit = 0xffffffff,
		};
	cpu->seg[X86_CS] = (struct x86_seg){
		.sel = e->cs,
		.attr = e->kind == BOOT_LONG64 ? LOAD_ATTR_CODE64
					       : LOAD_ATTR_CODE32,
		.limit = 0xffffffff,
	};
	/* PVH: TR is a busy 32-bit TSS, base 0, limit 0x67. */
	cpu->seg[X86_TR] =
		(struct x86_seg){ .attr = X86_SEG_P | 11, .limit = 0x67 };
	cpu->gdtr = (struct x86_dtr){ e->gdt_base, e->gdt_limit };
}

void boot_enter(struct x86_cpu *cpu, const struct boot_entry *e)
{
	load_segments(cpu, e);
	cpu->cr0 = X86_CR0_PE | X86_CR0_ET;
	cpu->cr4 = 0;
	if (e->kind == BOOT_LONG64) {
		cpu->cr3 = e->cr3;
		cpu->cr4 = X86_CR4_PAE;
		cpu->msr.efer = X86_EFER_LME | X86_EFER_LMA;
		cpu->cr0 |= X86_CR0_PG;
	}
	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = 0;
	cpu->gpr[X86_RAX] = e->rax;
	cpu->gpr[X86_RBX] = e->rbx;
	cpu->gpr[X86_RSI] = e->rsi;
	cpu->gpr[X86_RSP] = e->rsp;
	cpu->rip = e->rip;
	cpu->rflags = X86_FLAG_1;
	cpu->cpl = 0;
	cpu->activity = X86_ACTIVE;
	x86_tlb_flush_all(cpu);
	x86_mode_changed(cpu);
}
