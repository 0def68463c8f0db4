#include "machine/bios.h"

#include "dev/pci/host.h"
#include "machine/e820.h"
#include "machine/mptable.h"
#include "machine/vm.h"

/* BIOS data area: what programs read there without asking a BIOS. */
static void bios_data(struct mem *mem)
{
	const uint16_t com1 = 0x3f8, ebda = E820_EBDA >> 4;
	const uint16_t base_kib = E820_EBDA >> 10;

	mem_write(mem, 0x400, &com1, 2);
	mem_write(mem, 0x40e, &ebda, 2);
	mem_write(mem, 0x413, &base_kib, 2);
}

/* --- Code ----------------------------------------------------------------- */

/*
 * Interrupt handlers for kernels that call a BIOS on their way (Xen's
 * trampoline): services fail with CF and "function not supported", hardware
 * interrupts are acknowledged, all else returns.
 */
#define BIOS_STUBS 0xfff00u
#define BIOS_RESET 0xffff0u
enum {
	BIOS_STUB_IRET,
	BIOS_STUB_SERVICE,
	BIOS_STUB_PIC,
	BIOS_STUB_PIC2,
	BIOS_STUB_RESET
};

static const uint8_t bios_stubs[][16] = {
	[BIOS_STUB_IRET] = { 0xcf },
	/* push bp; mov bp, sp; or byte [bp+6], 1; pop bp; mov ah, 86h; iret */
	[BIOS_STUB_SERVICE] = { 0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d,
				0xb4, 0x86, 0xcf },
	/* push ax; mov al, 20h; out 20h, al; pop ax; iret */
	[BIOS_STUB_PIC] = { 0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf },
	[BIOS_STUB_PIC2] = { 0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58,
			     0xcf },
	/* mov dx, cf9h; mov al, 6; out dx, al; hlt */
	[BIOS_STUB_RESET] = { 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4 },
};

static uint32_t bios_far(unsigned stub)
{
	uint32_t at = BIOS_STUBS + stub * sizeof(bios_stubs[0]);

	return 0xf000u << 16 | (at & 0xffff);
}

/* The machine's date and model lie behind the jump that a reset starts at. */
static void bios_reset_vector(struct mem *mem)
{
	uint8_t top[16] = "\xea....01/01/26\0\xfc";
	uint32_t far = bios_far(BIOS_STUB_RESET);

	for (unsigned i = 0; i < 4; i++)
		top[1 + i] = (uint8_t)(far >> i * 8);
	mem_write(mem, BIOS_RESET, top, sizeof(top));
}

static void bios_vectors(struct mem *mem)
{
	for (uint32_t v = 0; v < 256; v++) {
		unsigned stub = v >= 0x08 && v < 0x10   ? BIOS_STUB_PIC
				: v >= 0x10 && v < 0x1c ? BIOS_STUB_SERVICE
				: v >= 0x70 && v < 0x78 ? BIOS_STUB_PIC2
							: BIOS_STUB_IRET;
		uint32_t far = bios_far(stub);

		mem_write(mem, v * 4, &far, 4);
	}
	mem_write(mem, BIOS_STUBS, bios_stubs, sizeof(bios_stubs));
	bios_reset_vector(mem);
}

/* --- PCI: by its ports, as a BIOS would ----------------------------------- */

#define BIOS_ISA_BRIDGE 0xf8 /* 00:1f.0 */
#define BIOS_ELCR       0x4d0
#define BIOS_PIRQ_A     0x60
#define BIOS_IO_FIRST   0xc000
#define BIOS_PAGE       0x1000u /* no two functions in one */

/* PIRQ A-D go to IRQ 10 and 11, in turn: none of them is on the board. */
static const uint8_t bios_irq[PCI_PIRQS] = { 10, 11, 10, 11 };

struct bios_pci {
	struct mem *mem;
	uint64_t next_mem, next_io;
};

static uint32_t bios_read(struct bios_pci *b, unsigned fn, unsigned reg)
{
	mem_port_write(b->mem, 0xcf8, 4, 0x80000000u | fn << 8 | reg);
	return mem_port_read(b->mem, 0xcfc, 4);
}

static void bios_write(struct bios_pci *b, unsigned fn, unsigned reg,
		       uint32_t value)
{
	mem_port_write(b->mem, 0xcf8, 4, 0x80000000u | fn << 8 | reg);
	mem_port_write(b->mem, 0xcfc, 4, value);
}

/* Takes `size` bytes of one of the two spaces; 0: they are not there. */
static uint32_t bios_take(uint64_t *next, uint64_t size, uint64_t end)
{
	uint64_t at = (*next + size - 1) & -size;

	if (!size || at + size > end)
		return 0;
	*next = at + size;
	return (uint32_t)at;
}

/* Sizes a BAR (PCI 3.0, 6.2.5.1) and places it; returns how many it took. */
static unsigned bios_bar(struct bios_pci *b, unsigned fn, unsigned reg)
{
	uint32_t old = bios_read(b, fn, reg), mask, at;

	bios_write(b, fn, reg, UINT32_MAX);
	mask = bios_read(b, fn, reg);
	bios_write(b, fn, reg, old);
	if (!mask)
		return 1;
	if (mask & 1) {
		at = bios_take(&b->next_io, -(mask & ~3u) & 0xffff, PCI_IO_END);
	} else {
		uint32_t size = -(mask & ~0xfu);

		at = bios_take(&b->next_mem,
			       size < BIOS_PAGE ? BIOS_PAGE : size,
			       PCI_MMIO2_END);
	}
	bios_write(b, fn, reg, at);
	return (mask & 7) == 4 ? 2 : 1; /* the upper half stays 0 */
}

static void bios_function(struct bios_pci *b, unsigned fn)
{
	unsigned pin = bios_read(b, fn, PCI_INT_LINE) >> 8 & 0xff;

	for (unsigned n = 0; n < PCI_BARS;)
		n += bios_bar(b, fn, PCI_BAR0 + n * 4);
	if (pin)
		bios_write(b, fn, PCI_INT_LINE,
			   bios_irq[pci_pirq(fn >> 3, pin)]);
	bios_write(b, fn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEM);
}

/* The router's four registers are one dword; PCI's IRQs are levels. */
static void bios_route(struct bios_pci *b)
{
	uint32_t links = 0;
	uint16_t level = 0;

	for (unsigned i = 0; i < PCI_PIRQS; i++) {
		links |= (uint32_t)bios_irq[i] << i * 8;
		level |= 1u << bios_irq[i];
	}
	bios_write(b, BIOS_ISA_BRIDGE, BIOS_PIRQ_A, links);
	mem_port_write(b->mem, BIOS_ELCR + 1, 1, level >> 8);
}

/* The host bridge (function 0) has nothing to place. */
static void bios_pci(struct mem *mem)
{
	struct bios_pci b = { mem, PCI_MMIO2_BASE, BIOS_IO_FIRST };

	for (unsigned fn = 1; fn < PCI_SLOTS * PCI_FUNCS; fn++)
		if (bios_read(&b, fn, PCI_VENDOR_ID) != UINT32_MAX)
			bios_function(&b, fn);
	bios_route(&b);
	mem_port_write(mem, 0xcf8, 4, 0);
}

/* --- Tables --------------------------------------------------------------- */

static void bios_tables(struct vm *vm)
{
	uint8_t mp[MPTABLE_SIZE], pir[PIRTABLE_SIZE];

	mem_write(vm->env.mem, MPTABLE_BASE, mp,
		  mptable_build(mp, vm->xm.cpu_count));
	mem_write(vm->env.mem, PIRTABLE_BASE, pir, pirtable_build(pir));
}

void bios_leave(struct vm *vm, bool tables)
{
	bios_data(vm->env.mem);
	bios_vectors(vm->env.mem);
	if (tables)
		bios_tables(vm);
	bios_pci(vm->env.mem);
}
