/*
 * x86_harness.c - a processor with a little memory, for unit tests.
 */
#include "x86_harness.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/x86/bits.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/mmu.h"

#define HARNESS_ATTR_CODE 0x9b
#define HARNESS_ATTR_DATA 0x93

/* --- Memory -------------------------------------------------------------- */

void *harness_ptr(struct harness *h, uint64_t gpa)
{
	void *p = mem_host(h->mem, gpa, 1);

	assert_non_null(p);
	return p;
}

uint64_t harness_u64(struct harness *h, uint64_t gpa)
{
	uint64_t v;

	assert_int_equal(mem_read(h->mem, gpa, &v, 8), 0);
	return v;
}

uint32_t harness_u32(struct harness *h, uint64_t gpa)
{
	return (uint32_t)harness_u64(h, gpa);
}

void harness_write(struct harness *h, uint64_t gpa, const void *buf, size_t len)
{
	assert_int_equal(mem_write(h->mem, gpa, buf, len), 0);
}

static void harness_write_u64(struct harness *h, uint64_t gpa, uint64_t v)
{
	harness_write(h, gpa, &v, 8);
}

void harness_code(struct harness *h, const void *code, size_t len)
{
	harness_write(h, HARNESS_CODE, code, len);
	h->cpu->rip = HARNESS_CODE - h->cpu->seg[X86_CS].base;
}

/* --- Paging: 4 MiB by two tables of 4 KiB pages -------------------------- */

#define HARNESS_RWU (X86_PTE_P | X86_PTE_W | X86_PTE_U)

uint64_t *harness_pte(struct harness *h, uint64_t linear)
{
	return (uint64_t *)harness_ptr(h, HARNESS_PT + 0x3000) + (linear >> 12);
}

static void harness_page_tables(struct harness *h)
{
	uint64_t i;

	harness_write_u64(h, HARNESS_PT, (HARNESS_PT + 0x1000) | HARNESS_RWU);
	harness_write_u64(h, HARNESS_PT + 0x1000,
			  (HARNESS_PT + 0x2000) | HARNESS_RWU);
	for (i = 0; i < 2; i++)
		harness_write_u64(h, HARNESS_PT + 0x2000 + i * 8,
				  (HARNESS_PT + 0x3000 + i * 0x1000) |
					  HARNESS_RWU);
	for (i = 0; i < 1024; i++)
		*harness_pte(h, i << 12) = i << 12 | HARNESS_RWU;
}

/* --- Segments ------------------------------------------------------------ */

static uint64_t harness_descriptor(unsigned bits, bool code, unsigned dpl)
{
	uint64_t attr = (code ? HARNESS_ATTR_CODE : HARNESS_ATTR_DATA) |
			dpl << 5 | X86_SEG_G;

	if (bits == 64 && code)
		attr |= X86_SEG_L;
	else
		attr |= X86_SEG_DB;
	return 0xffffull | attr << 40 | 0xfull << 48;
}

static void harness_set_seg(struct harness *h, unsigned seg, uint16_t sel)
{
	uint64_t d = harness_u64(h, HARNESS_GDT + (sel & ~7u));

	h->cpu->seg[seg] = (struct x86_seg){
		.sel = sel,
		.attr = d >> 40 & 0xf0ff,
		.limit = UINT32_MAX,
	};
}

static void harness_set_segs(struct harness *h, uint16_t cs, uint16_t ds)
{
	static const uint8_t data[] = { X86_ES, X86_SS, X86_DS, X86_FS,
					X86_GS };
	unsigned i;

	harness_set_seg(h, X86_CS, cs);
	for (i = 0; i < sizeof(data); i++)
		harness_set_seg(h, data[i], ds);
	h->cpu->cpl = cs & 3;
	x86_mode_changed(h->cpu);
}

static void harness_protected(struct harness *h, unsigned bits)
{
	struct x86_cpu *cpu = h->cpu;

	harness_write_u64(h, HARNESS_GDT + 8, harness_descriptor(bits, 1, 0));
	harness_write_u64(h, HARNESS_GDT + 16, harness_descriptor(bits, 0, 0));
	harness_write_u64(h, HARNESS_GDT + 24, harness_descriptor(bits, 1, 3));
	harness_write_u64(h, HARNESS_GDT + 32, harness_descriptor(bits, 0, 3));
	cpu->gdtr = (struct x86_dtr){ .base = HARNESS_GDT, .limit = 39 };
	cpu->idtr = (struct x86_dtr){ .base = HARNESS_IDT, .limit = 0x7ff };
	cpu->cr0 |= X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP;
	if (bits == 64) {
		harness_page_tables(h);
		cpu->cr3 = HARNESS_PT;
		cpu->cr4 |= X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
		cpu->msr.efer |= X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE |
				 X86_EFER_SCE;
		cpu->cr0 |= X86_CR0_PG;
	}
	harness_set_segs(h, HARNESS_CS, HARNESS_DS);
}

void harness_user(struct harness *h)
{
	harness_set_segs(h, HARNESS_CS3, HARNESS_DS3);
}

/* Segments at 0, so that addresses below 64 KiB are as elsewhere. */
static void harness_real(struct harness *h)
{
	unsigned i;

	for (i = 0; i <= X86_GS; i++) {
		h->cpu->seg[i].sel = 0;
		h->cpu->seg[i].base = 0;
	}
	h->cpu->seg[X86_CS].sel = HARNESS_CODE >> 4;
	h->cpu->seg[X86_CS].base = HARNESS_CODE;
	x86_mode_changed(h->cpu);
}

void harness_gate(struct harness *h, unsigned vector, uint64_t handler)
{
	bool wide = x86_long_mode(h->cpu);
	uint64_t lo = (handler & 0xffff) | (uint64_t)HARNESS_CS << 16 |
		      0x8eull << 40 | (handler >> 16 & 0xffff) << 48;

	if (!(h->cpu->cr0 & X86_CR0_PE)) {
		uint32_t far = (uint32_t)(HARNESS_CODE >> 4) << 16 |
			       (uint16_t)(handler - HARNESS_CODE);

		harness_write(h, vector * 4, &far, 4);
		return;
	}
	harness_write_u64(h, HARNESS_IDT + vector * (wide ? 16 : 8), lo);
	if (wide)
		harness_write_u64(h, HARNESS_IDT + vector * 16 + 8,
				  handler >> 32);
}

/* --- Life ---------------------------------------------------------------- */

static void harness_add_cpu(struct harness *h, unsigned i, unsigned bits)
{
	struct err err;

	h->cpu = h->cpus[i] = x86_cpu_new(&h->xm, i, &err);
	assert_non_null(h->cpu);
	assert_int_equal(h->xm.engine_ops->vcpu_init(h->cpu, &err), 0);
	h->cpu->activity = X86_ACTIVE;
	if (bits == 16)
		harness_real(h);
	else
		harness_protected(h, bits);
	h->cpu->gpr[X86_RSP] =
		(bits == 16 ? 0x8000 : HARNESS_STACK) - i * 0x1000;
	h->cpu->rip = bits == 16 ? 0 : HARNESS_CODE;
}

struct harness *harness_new_smp(const struct engine_ops *ops, unsigned bits,
				unsigned cpus)
{
	struct harness *h = calloc(1, sizeof(*h));
	struct err err;
	unsigned i;

	assert_non_null(h);
	assert_true(cpus <= HARNESS_CPUS);
	assert_int_equal(mem_new(&h->mem, HARNESS_RAM, &err), 0);
	h->xm.mem = h->mem;
	h->xm.cpus = h->cpus;
	h->xm.cpu_count = cpus;
	h->xm.engine_ops = ops;
	pthread_mutex_init(&h->xm.bounce_lock, NULL);
	assert_int_equal(ops->vm_init(&h->xm, &err), 0);
	for (i = cpus; i-- > 0;)
		harness_add_cpu(h, i, bits);
	return h;
}

struct harness *harness_new_on(const struct engine_ops *ops, unsigned bits)
{
	return harness_new_smp(ops, bits, 1);
}

struct harness *harness_new(unsigned bits)
{
	return harness_new_on(&interpreter_engine, bits);
}

void harness_free(struct harness *h)
{
	unsigned i;

	for (i = 0; i < h->xm.cpu_count; i++)
		h->xm.engine_ops->vcpu_free(h->cpus[i]);
	for (i = 0; i < h->xm.cpu_count; i++)
		x86_cpu_free(h->cpus[i]);
	h->xm.engine_ops->vm_free(&h->xm);
	pthread_mutex_destroy(&h->xm.bounce_lock);
	mem_free(h->mem);
	free(h);
}

/* --- Running ------------------------------------------------------------- */

bool harness_step(struct harness *h, unsigned n)
{
	while (n--)
		if (!interp_one_raw(h->cpu))
			return false;
	return true;
}

void harness_expect_fault(struct harness *h, unsigned vector)
{
	uint64_t rip = h->cpu->rip;

	assert_false(harness_step(h, 1));
	assert_int_equal(h->cpu->fault.vector, vector);
	assert_int_equal(h->cpu->rip, rip);
}

void harness_run(struct harness *h)
{
	struct err err;

	h->cpu->activity = X86_ACTIVE;
	assert_int_equal(h->xm.engine_ops->run(h->cpu, &err), VCPU_EXIT_HALT);
}
