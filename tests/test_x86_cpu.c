/*
 * test_x86_cpu.c - reset, flags, pending events, saving and restoring.
 */
#include "x86_harness.h"

#include <stdlib.h>
#include <string.h>

#include "base/walk.h"
#include "cpu/x86/bits.h"

/* --- Reset --------------------------------------------------------------- */

static void test_power_on(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	x86_reset(cpu, false);
	assert_int_equal(cpu->rip, 0xfff0);
	assert_int_equal(cpu->seg[X86_CS].base, 0xffff0000);
	assert_int_equal(cpu->seg[X86_CS].sel, 0xf000);
	assert_int_equal(cpu->cr0, 0x60000010);
	assert_int_equal(cpu->rflags, 2);
	assert_int_equal(cpu->dr[6], 0xffff0ff0);
	assert_int_equal(cpu->dr[7], 0x400);
	assert_int_equal(cpu->msr.efer, 0);
	assert_int_equal(cpu->xcr0, 1);
	assert_int_equal(cpu->idtr.limit, 0xffff);
	assert_true(cpu->mode & X86_MODE_REAL);
	assert_int_equal(cpu->mode & X86_MODE_CODE, X86_MODE_CODE16);
	assert_int_equal(cpu->activity, X86_ACTIVE);
	harness_free(h);
}

/* SDM 3A table 10-1: INIT keeps MSRs, x87, CR0.CD and NW. */
static void test_init_keeps(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	cpu->msr.star = 0x1234;
	cpu->fpu.b[X86_XMM_OFFSET] = 0x55;
	cpu->cr0 &= ~(X86_CR0_CD | X86_CR0_NW);
	x86_reset(cpu, true);
	assert_int_equal(cpu->msr.star, 0x1234);
	assert_int_equal(cpu->fpu.b[X86_XMM_OFFSET], 0x55);
	assert_int_equal(cpu->cr0, X86_CR0_ET);
	assert_int_equal(cpu->msr.efer, 0);
	harness_free(h);
}

static void test_ap_waits_for_sipi(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	cpu->index = 1;
	x86_reset(cpu, false);
	assert_int_equal(cpu->activity, X86_WAIT_SIPI);
	assert_false(x86_wakeup_pending(cpu));
	x86_pend(cpu, X86_PEND_INTR | X86_PEND_NMI);
	assert_false(x86_wakeup_pending(cpu));
	atomic_store(&cpu->pending, 0);
	atomic_store(&cpu->sipi_vector, 0x9a);
	x86_pend(cpu, X86_PEND_SIPI);
	assert_true(x86_wakeup_pending(cpu));
	assert_int_equal(x86_take_pending(cpu), X86_PEND_CONTINUE);
	assert_int_equal(cpu->seg[X86_CS].base, 0x9a000);
	assert_int_equal(cpu->seg[X86_CS].sel, 0x9a00);
	assert_int_equal(cpu->rip, 0);
	cpu->index = 0;
	harness_free(h);
}

/* A second SIPI finds a running processor and is lost. */
static void test_sipi_while_running(void **state)
{
	struct harness *h = harness_new(64);

	h->cpu->rip = 0x1234;
	x86_start_sipi(h->cpu, 0x9a);
	assert_int_equal(h->cpu->rip, 0x1234);
	harness_free(h);
}

/* --- Mode and flags ------------------------------------------------------ */

static void test_mode(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	assert_int_equal(cpu->mode & X86_MODE_CODE, X86_MODE_CODE32);
	assert_true(cpu->mode & X86_MODE_STACK32);
	assert_true(cpu->mode & X86_MODE_FLAT);
	cpu->seg[X86_DS].base = 16;
	x86_mode_changed(cpu);
	assert_false(cpu->mode & X86_MODE_FLAT);
	x86_set_rflags(cpu, X86_FLAG_VM, X86_FLAG_VM);
	assert_true(cpu->mode & X86_MODE_VM86);
	assert_int_equal(cpu->cpl, 3);
	assert_false(cpu->mode & X86_MODE_IOPL);
	x86_set_rflags(cpu, X86_FLAG_IOPL, X86_FLAG_IOPL);
	assert_true(cpu->mode & X86_MODE_IOPL);
	harness_free(h);
}

static void test_rflags_reserved(void **state)
{
	struct harness *h = harness_new(64);

	x86_set_rflags(h->cpu, ~0ull, ~0ull & ~X86_FLAG_VM);
	assert_int_equal(h->cpu->rflags, 0x3d7fd7);
	x86_set_rflags(h->cpu, 0, ~0ull);
	assert_int_equal(h->cpu->rflags, 2);
	harness_free(h);
}

/* --- Pending events ------------------------------------------------------ */

struct pic {
	int vector; /* -1: none */
};

static bool pic_pending(void *opaque)
{
	return ((struct pic *)opaque)->vector >= 0;
}

static int pic_ack(void *opaque)
{
	struct pic *p = opaque;
	int vector = p->vector;

	p->vector = -1;
	return vector;
}

static struct harness *harness_with_pic(struct pic *pic)
{
	struct harness *h = harness_new(64);

	h->xm.pic = pic;
	h->xm.pic_pending = pic_pending;
	h->xm.pic_ack = pic_ack;
	harness_gate(h, 0x20, 0x11000);
	harness_gate(h, 2, 0x12000);
	return h;
}

static void test_masked_interrupt_comes_with_if(void **state)
{
	struct pic pic = { 0x20 };
	struct harness *h = harness_with_pic(&pic);
	struct x86_cpu *cpu = h->cpu;

	x86_pend(cpu, X86_PEND_INTR);
	assert_int_equal(x86_take_pending(cpu), X86_PEND_CONTINUE);
	assert_int_equal(atomic_load(&cpu->pending), 0);
	assert_int_equal(cpu->rip, HARNESS_CODE);
	x86_set_rflags(cpu, X86_FLAG_IF, X86_FLAG_IF);
	assert_int_equal(atomic_load(&cpu->pending), X86_PEND_INTR);
	assert_int_equal(x86_take_pending(cpu), X86_PEND_CONTINUE);
	assert_int_equal(cpu->rip, 0x11000);
	assert_false(cpu->rflags & X86_FLAG_IF);
	harness_free(h);
}

static void test_shadow_holds_off(void **state)
{
	struct pic pic = { 0x20 };
	struct harness *h = harness_with_pic(&pic);
	struct x86_cpu *cpu = h->cpu;

	x86_set_rflags(cpu, X86_FLAG_IF, X86_FLAG_IF);
	cpu->int_shadow = 1;
	x86_pend(cpu, X86_PEND_INTR | X86_PEND_NMI);
	assert_int_equal(x86_take_pending(cpu), X86_PEND_CONTINUE);
	assert_int_equal(cpu->rip, HARNESS_CODE);
	cpu->int_shadow = 0;
	x86_take_pending(cpu);
	assert_int_equal(cpu->rip, 0x12000); /* NMI first */
	harness_free(h);
}

static void test_nmi_blocks_nmi(void **state)
{
	struct pic pic = { -1 };
	struct harness *h = harness_with_pic(&pic);
	struct x86_cpu *cpu = h->cpu;

	x86_pend(cpu, X86_PEND_NMI);
	x86_take_pending(cpu);
	assert_int_equal(cpu->rip, 0x12000);
	cpu->rip = 0x13000;
	x86_pend(cpu, X86_PEND_NMI);
	x86_take_pending(cpu);
	assert_int_equal(cpu->rip, 0x13000);
	assert_int_equal(atomic_load(&cpu->pending), X86_PEND_NMI);
	cpu->nmi_blocked = false; /* IRET */
	x86_take_pending(cpu);
	assert_int_equal(cpu->rip, 0x12000);
	harness_free(h);
}

static void test_kick_leaves(void **state)
{
	struct pic pic = { 0x20 };
	struct harness *h = harness_with_pic(&pic);

	x86_set_rflags(h->cpu, X86_FLAG_IF, X86_FLAG_IF);
	x86_pend(h->cpu, X86_PEND_KICK | X86_PEND_INTR);
	assert_int_equal(x86_take_pending(h->cpu), X86_PEND_LEAVE);
	assert_int_equal(atomic_load(&h->cpu->pending), X86_PEND_INTR);
	harness_free(h);
}

static void test_hlt_wakes(void **state)
{
	struct pic pic = { -1 };
	struct harness *h = harness_with_pic(&pic);
	struct x86_cpu *cpu = h->cpu;

	cpu->activity = X86_HALTED;
	assert_false(x86_wakeup_pending(cpu));
	pic.vector = 0x20;
	x86_pend(cpu, X86_PEND_INTR);
	assert_false(x86_wakeup_pending(cpu)); /* IF clear */
	cpu->rflags |= X86_FLAG_IF;
	assert_true(x86_wakeup_pending(cpu));
	x86_take_pending(cpu);
	assert_int_equal(cpu->activity, X86_ACTIVE);
	harness_free(h);
}

static void test_unhalt_ignores_if(void **state)
{
	struct pic pic = { -1 };
	struct harness *h = harness_with_pic(&pic);

	h->cpu->activity = X86_HALTED;
	x86_pend(h->cpu, X86_PEND_UNHALT);
	assert_true(x86_wakeup_pending(h->cpu));
	x86_take_pending(h->cpu);
	assert_int_equal(h->cpu->activity, X86_ACTIVE);
	harness_free(h);
}

/* An acknowledge that finds nothing is no interrupt. */
static void test_spurious_pending(void **state)
{
	struct pic pic = { -1 };
	struct harness *h = harness_with_pic(&pic);

	h->cpu->rflags |= X86_FLAG_IF;
	x86_pend(h->cpu, X86_PEND_INTR);
	assert_int_equal(x86_take_pending(h->cpu), X86_PEND_CONTINUE);
	assert_int_equal(h->cpu->rip, HARNESS_CODE);
	harness_free(h);
}

/* --- State --------------------------------------------------------------- */

struct saved {
	char *buf;
	size_t len;
};

static struct saved save(struct x86_cpu *cpu)
{
	struct saved s;
	FILE *f = open_memstream(&s.buf, &s.len);
	struct walk *w = walk_save_to(f);
	struct err err;

	x86_walk(cpu, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	fclose(f);
	return s;
}

static int restore(struct x86_cpu *cpu, const struct saved *s)
{
	struct walk *w = walk_restore_from(s->buf, s->len);
	struct err err;
	int ret;

	x86_walk(cpu, w);
	ret = walk_result(w, &err);
	walk_free(w);
	return ret;
}

static void test_save_restore(void **state)
{
	struct harness *h = harness_new(64), *other = harness_new(32);
	struct x86_cpu *cpu = h->cpu;
	struct saved s;
	uint64_t tsc;

	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = 0x1111111111111111ull * i;
	cpu->msr.lstar = 0xffff800000001234;
	cpu->msr.mtrr_phys[15] = 0x800;
	cpu->dr[3] = 0x77;
	cpu->fpu.b[X86_YMMH_OFFSET + 255] = 0xaa;
	cpu->nmi_blocked = true;
	x86_pend(cpu, X86_PEND_NMI);
	s = save(cpu);
	assert_int_equal(restore(other->cpu, &s), 0);
	assert_memory_equal(other->cpu->gpr, cpu->gpr, sizeof(cpu->gpr));
	assert_memory_equal(other->cpu->fpu.b, cpu->fpu.b, X86_XSAVE_SIZE);
	assert_int_equal(other->cpu->msr.lstar, cpu->msr.lstar);
	assert_int_equal(other->cpu->msr.mtrr_phys[15], 0x800);
	assert_int_equal(other->cpu->dr[3], 0x77);
	assert_int_equal(other->cpu->mode, cpu->mode);
	assert_true(other->cpu->nmi_blocked);
	assert_true(atomic_load(&other->cpu->pending) & X86_PEND_NMI);
	tsc = x86_tsc(cpu); /* it stood still while it was saved */
	assert_true(tsc - x86_tsc(other->cpu) < 1ull << 32);
	free(s.buf);
	harness_free(other);
	harness_free(h);
}

/* While guest time stands still, so does what is saved of the TSC. */
static void test_stopped_tsc(void **state)
{
	struct harness *h = harness_new(64), *other = harness_new(64);
	struct saved a, b;

	h->xm.tsc_stopped = 1000000;
	h->cpu->tsc_offset = 234;
	a = save(h->cpu);
	b = save(h->cpu);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.buf, b.buf, a.len);
	other->xm.tsc_stopped = 5000000;
	assert_int_equal(restore(other->cpu, &b), 0);
	assert_int_equal(other->cpu->tsc_offset + 5000000, 1000234);
	free(a.buf);
	free(b.buf);
	harness_free(other);
	harness_free(h);
}

static void expect_refused(void (*spoil)(struct x86_cpu *cpu))
{
	struct harness *h = harness_new(64);
	struct saved s;

	spoil(h->cpu);
	s = save(h->cpu);
	assert_true(restore(h->cpu, &s) < 0);
	free(s.buf);
	harness_free(h);
}

static void spoil_mxcsr(struct x86_cpu *cpu)
{
	cpu->fpu.b[26] = 1;
}

static void spoil_header(struct x86_cpu *cpu)
{
	cpu->fpu.b[520] = 1;
}

static void spoil_cpl(struct x86_cpu *cpu)
{
	cpu->cpl = 4;
}

static void spoil_activity(struct x86_cpu *cpu)
{
	cpu->activity = 9;
}

static void spoil_paging(struct x86_cpu *cpu)
{
	cpu->cr0 &= ~X86_CR0_PE;
}

static void spoil_lma(struct x86_cpu *cpu)
{
	cpu->msr.efer &= ~X86_EFER_LMA;
}

static void spoil_base(struct x86_cpu *cpu)
{
	cpu->seg[X86_GS].base = 1ull << 47;
}

static void test_impossible_states(void **state)
{
	expect_refused(spoil_mxcsr);
	expect_refused(spoil_header);
	expect_refused(spoil_cpl);
	expect_refused(spoil_activity);
	expect_refused(spoil_paging);
	expect_refused(spoil_lma);
	expect_refused(spoil_base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_on),
		cmocka_unit_test(test_init_keeps),
		cmocka_unit_test(test_ap_waits_for_sipi),
		cmocka_unit_test(test_sipi_while_running),
		cmocka_unit_test(test_mode),
		cmocka_unit_test(test_rflags_reserved),
		cmocka_unit_test(test_masked_interrupt_comes_with_if),
		cmocka_unit_test(test_shadow_holds_off),
		cmocka_unit_test(test_nmi_blocks_nmi),
		cmocka_unit_test(test_kick_leaves),
		cmocka_unit_test(test_hlt_wakes),
		cmocka_unit_test(test_unhalt_ignores_if),
		cmocka_unit_test(test_spurious_pending),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_stopped_tsc),
		cmocka_unit_test(test_impossible_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
