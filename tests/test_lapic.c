/* test_lapic.c - cpu/x86/lapic*.c: registers, priorities, IPIs, timer. */
#include "devtest.h"

#include "cpu/x86/lapic_impl.h"

#define CPUS 4

struct fix {
	struct dt dt;
	struct x86_machine xm;
	struct x86_cpu *cpu[CPUS];
	bool pic; /* INTR of the 8259s */
	unsigned pic_acks;
	unsigned eois;
	uint8_t eoi_vector;
};

/* Stand-ins for cpu.c. */
void x86_pend(struct x86_cpu *cpu, unsigned bits)
{
	atomic_fetch_or(&cpu->pending, bits);
}

uint64_t x86_tsc(const struct x86_cpu *cpu)
{
	return clock_tsc() + cpu->tsc_offset;
}

static bool pic_pending_fn(void *opaque)
{
	return ((struct fix *)opaque)->pic;
}

static int pic_ack_fn(void *opaque)
{
	struct fix *f = opaque;

	f->pic = false;
	f->pic_acks++;
	return 0x30;
}

static void eoi_fn(void *opaque, uint8_t vector)
{
	struct fix *f = opaque;

	f->eois++;
	f->eoi_vector = vector;
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	dt_init(&f->dt);
	f->xm = (struct x86_machine){
		.mem = f->dt.env.mem,
		.loop = f->dt.env.loop,
		.clock = f->dt.env.clock,
		.cpu_count = CPUS,
		.cpus = f->cpu,
		.tsc_khz = 1000000,
		.pic_pending = pic_pending_fn,
		.pic_ack = pic_ack_fn,
		.pic = f,
	};
	for (unsigned i = 0; i < CPUS; i++) {
		f->cpu[i] = aligned_alloc(64, (sizeof(struct x86_cpu) + 63) &
						      ~63ul);
		memset(f->cpu[i], 0, sizeof(struct x86_cpu));
		f->cpu[i]->index = i;
		f->cpu[i]->xm = &f->xm;
		f->cpu[i]->lapic = lapic_new(f->cpu[i], NULL);
	}
	lapic_set_eoi_hook(&f->xm, eoi_fn, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	for (unsigned i = 0; i < CPUS; i++) {
		lapic_free(f->cpu[i]->lapic);
		free(f->cpu[i]);
	}
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static struct lapic *apic(struct fix *f, unsigned i)
{
	return f->cpu[i]->lapic;
}

static uint32_t page_read(struct lapic *l, unsigned offset)
{
	uint64_t v = 0;

	assert_true(lapic_mmio(l, LAPIC_BASE + offset, 4, false, &v));
	return (uint32_t)v;
}

static void page_write(struct lapic *l, unsigned offset, uint32_t value)
{
	uint64_t v = value;

	assert_true(lapic_mmio(l, LAPIC_BASE + offset, 4, true, &v));
}

static uint64_t rd(struct lapic *l, uint32_t msr)
{
	uint64_t v = 0;

	assert_true(lapic_rdmsr(l, msr, &v));
	return v;
}

static void wr(struct lapic *l, uint32_t msr, uint64_t value)
{
	assert_true(lapic_wrmsr(l, msr, value));
}

static void enable(struct fix *f, bool x2apic)
{
	for (unsigned i = 0; i < CPUS; i++) {
		struct lapic *l = apic(f, i);

		if (x2apic) {
			wr(l, 0x1b, rd(l, 0x1b) | 0xc00);
			wr(l, 0x80f, 0x1ff);
		} else {
			page_write(l, 0xf0, 0x1ff);
		}
	}
}

/* What the vCPU does when INTR is pending. */
static int take(struct x86_cpu *cpu)
{
	atomic_fetch_and(&cpu->pending, ~X86_PEND_INTR);
	return lapic_pending(cpu->lapic) ? lapic_ack(cpu->lapic) : -1;
}

static bool asked(struct x86_cpu *cpu)
{
	return cpu->pending & X86_PEND_INTR;
}

/* --- Registers ------------------------------------------------------------ */

static void reset_state(void **state)
{
	struct fix *f = *state;

	assert_int_equal(rd(apic(f, 0), 0x1b), 0xfee00900);
	assert_int_equal(rd(apic(f, 1), 0x1b), 0xfee00800);
	assert_int_equal(page_read(apic(f, 3), 0x20), 3u << 24);
	assert_int_equal(page_read(apic(f, 0), 0x30), 0x01050014);
	assert_int_equal(page_read(apic(f, 0), 0xf0), 0xff);
	assert_int_equal(page_read(apic(f, 0), 0xe0), 0xffffffff);
	assert_int_equal(page_read(apic(f, 0), 0x350), 0x700);
	assert_int_equal(page_read(apic(f, 1), 0x350), 0x10000);
	assert_int_equal(page_read(apic(f, 0), 0x320), 0x10000);
}

static void lvt_is_masked_while_disabled(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	page_write(l, 0x320, 0x30);
	assert_int_equal(page_read(l, 0x320), 0x10030);
	enable(f, false);
	page_write(l, 0x320, 0x30);
	assert_int_equal(page_read(l, 0x320), 0x30);
	page_write(l, 0xf0, 0xff);
	assert_int_equal(page_read(l, 0x320), 0x10030);
	assert_int_equal(page_read(l, 0x350), 0x10700);
}

static void base_transitions(void **state)
{
	struct lapic *l = apic(*state, 0);
	uint64_t v = 0;

	assert_false(lapic_wrmsr(l, 0x1b, 0xfee00500)); /* EXTD without EN */
	assert_false(lapic_wrmsr(l, 0x1b, 1ull << 46));
	assert_false(lapic_rdmsr(l, 0x802, &v)); /* not x2APIC yet */
	wr(l, 0x1b, 0xfee00d00);
	assert_int_equal(rd(l, 0x802), 0);
	assert_false(lapic_mmio(l, LAPIC_BASE, 4, false, &v));
	assert_false(lapic_wrmsr(l, 0x1b, 0xfee00900)); /* back to xAPIC */
	wr(l, 0x1b, 0xfee00000);
	assert_int_equal(rd(l, 0x1b), 0xfee00100); /* BSP stays */
	assert_false(lapic_wrmsr(l, 0x1b, 0xfee00d00));
	wr(l, 0x1b, 0xfed00900);
	v = 0;
	assert_false(lapic_mmio(l, LAPIC_BASE + 0x30, 4, false, &v));
	assert_true(lapic_mmio(l, 0xfed00030, 4, false, &v));
	assert_int_equal(v, 0x01050014);
}

static void x2apic_refuses_reserved(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 3);
	uint64_t v;

	enable(f, true);
	assert_int_equal(rd(l, 0x802), 3);
	assert_int_equal(rd(l, 0x80d), 8);
	assert_false(lapic_wrmsr(l, 0x80d, 1));  /* LDR is read-only */
	assert_false(lapic_rdmsr(l, 0x80e, &v)); /* no DFR */
	assert_false(lapic_rdmsr(l, 0x831, &v)); /* no ICR2 */
	assert_false(lapic_rdmsr(l, 0x80b, &v)); /* EOI is write-only */
	assert_false(lapic_wrmsr(l, 0x80b, 1));
	assert_false(lapic_wrmsr(l, 0x828, 1));
	assert_false(lapic_wrmsr(l, 0x808, 0x100));
	assert_false(lapic_wrmsr(l, 0x80f, 0x200));
	assert_false(lapic_rdmsr(l, 0x8ff, &v));
	assert_false(lapic_wrmsr(l, 0x83f, 0x100));
}

static void illegal_register_sets_esr(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, false);
	page_write(l, 0x370, 0xf0);
	page_read(l, 0x2f0);
	assert_int_equal(take(f->cpu[0]), 0xf0);
	assert_int_equal(page_read(l, 0x280), 0);
	page_write(l, 0x280, 0);
	assert_int_equal(page_read(l, 0x280), 0x80);
	page_write(l, 0x280, 0);
	assert_int_equal(page_read(l, 0x280), 0);
}

/* --- Priorities ----------------------------------------------------------- */

static void nesting_and_eoi(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, true);
	wr(l, 0x83f, 0x41);
	wr(l, 0x83f, 0x52);
	assert_int_equal(take(f->cpu[0]), 0x52);
	assert_int_equal(rd(l, 0x80a), 0x50);
	assert_int_equal(take(f->cpu[0]), -1); /* 41 is below */
	wr(l, 0x83f, 0x5f);
	assert_int_equal(take(f->cpu[0]), -1); /* same class */
	wr(l, 0x83f, 0x61);
	assert_int_equal(take(f->cpu[0]), 0x61);
	assert_false(asked(f->cpu[0]));
	wr(l, 0x80b, 0);
	assert_int_equal(take(f->cpu[0]), -1);
	wr(l, 0x80b, 0);
	assert_true(asked(f->cpu[0])); /* 5f comes due */
	assert_int_equal(take(f->cpu[0]), 0x5f);
	wr(l, 0x80b, 0);
	assert_int_equal(take(f->cpu[0]), 0x41);
	wr(l, 0x80b, 0);
	assert_int_equal(rd(l, 0x80a), 0);
	assert_int_equal(f->eois, 0); /* all were edges */
}

static void tpr_holds_back(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, true);
	lapic_set_tpr(l, 5);
	assert_int_equal(rd(l, 0x808), 0x50);
	assert_int_equal(lapic_get_tpr(l), 5);
	wr(l, 0x83f, 0x5f);
	assert_int_equal(take(f->cpu[0]), -1);
	lapic_set_tpr(l, 4);
	assert_true(asked(f->cpu[0]));
	assert_int_equal(take(f->cpu[0]), 0x5f);
}

static void level_eoi_is_broadcast(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);
	struct lapic_msg msg = { .vector = 0x77, .level = true };

	enable(f, true);
	lapic_deliver(&f->xm, &msg);
	assert_int_equal(rd(l, 0x81b), 1u << 23);
	assert_int_equal(take(f->cpu[0]), 0x77);
	wr(l, 0x80b, 0);
	assert_int_equal(f->eois, 1);
	assert_int_equal(f->eoi_vector, 0x77);
	wr(l, 0x80f, 0x11ff); /* suppressed */
	lapic_deliver(&f->xm, &msg);
	assert_int_equal(take(f->cpu[0]), 0x77);
	wr(l, 0x80b, 0);
	assert_int_equal(f->eois, 1);
	msg.level = false; /* the same vector as an edge clears TMR */
	lapic_deliver(&f->xm, &msg);
	assert_int_equal(rd(l, 0x81b), 0);
}

/* --- IPIs ----------------------------------------------------------------- */

static unsigned who(struct fix *f, uint8_t vector)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < CPUS; i++) {
		int v = take(f->cpu[i]);

		if (v < 0)
			continue;
		assert_int_equal(v, vector);
		mask |= 1u << i;
		if (lapic_x2apic(apic(f, i)))
			wr(apic(f, i), 0x80b, 0);
		else
			page_write(apic(f, i), 0xb0, 0);
	}
	return mask;
}

static void ipi(struct fix *f, uint32_t high, uint32_t low)
{
	page_write(apic(f, 0), 0x310, high);
	page_write(apic(f, 0), 0x300, low);
}

static void shorthands(void **state)
{
	struct fix *f = *state;

	enable(f, false);
	ipi(f, 0, 0x40050);
	assert_int_equal(who(f, 0x50), 1);
	ipi(f, 0, 0x80051);
	assert_int_equal(who(f, 0x51), 0xf);
	ipi(f, 0, 0xc0052);
	assert_int_equal(who(f, 0x52), 0xe);
}

static void xapic_destinations(void **state)
{
	struct fix *f = *state;

	enable(f, false);
	ipi(f, 2u << 24, 0x60);
	assert_int_equal(who(f, 0x60), 4);
	ipi(f, 0xffu << 24, 0x61);
	assert_int_equal(who(f, 0x61), 0xf);
	ipi(f, 9u << 24, 0x61);
	assert_int_equal(who(f, 0x61), 0);
	for (unsigned i = 0; i < CPUS; i++)
		page_write(apic(f, i), 0xd0, 1u << (24 + i));
	ipi(f, 0xau << 24, 0x862); /* flat */
	assert_int_equal(who(f, 0x62), 0xa);
	for (unsigned i = 0; i < CPUS; i++) {
		page_write(apic(f, i), 0xe0, 0x0fffffff);
		page_write(apic(f, i), 0xd0,
			   (i / 2) << 28 | (1u + i % 2) << 24);
	}
	ipi(f, 0x13u << 24, 0x863); /* cluster 1, both */
	assert_int_equal(who(f, 0x63), 0xc);
	ipi(f, 0xf2u << 24, 0x864); /* all clusters, member 1 */
	assert_int_equal(who(f, 0x64), 0xa);
}

static void x2apic_destinations(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 1);

	enable(f, true);
	wr(l, 0x830, 3ull << 32 | 0x70);
	assert_int_equal(who(f, 0x70), 8);
	wr(l, 0x830, 0xffffffffull << 32 | 0x71);
	assert_int_equal(who(f, 0x71), 0xf);
	wr(l, 0x830, 0x5ull << 32 | 0x872);
	assert_int_equal(who(f, 0x72), 5);
	wr(l, 0x830, 0x10005ull << 32 | 0x872); /* cluster 1: nobody */
	assert_int_equal(who(f, 0x72), 0);
	wr(l, 0x830, 0xffull << 32 | 0x73); /* an id, not a broadcast */
	assert_int_equal(who(f, 0x73), 0);
	assert_int_equal(rd(l, 0x830), 0xffull << 32 | 0x73);
}

/* The second SIPI of a start finds the processor done and halted. */
static void init_forgets_an_old_sipi(void **state)
{
	struct fix *f = *state;

	ipi(f, 1u << 24, 0x4600 | 0x9f);
	assert_int_equal(f->cpu[1]->pending, X86_PEND_SIPI);
	ipi(f, 1u << 24, 0x4500);
	assert_int_equal(f->cpu[1]->pending, X86_PEND_INIT);
}

static void init_sipi_nmi(void **state)
{
	struct fix *f = *state;

	enable(f, false);
	ipi(f, 1u << 24, 0x4500); /* INIT assert */
	assert_int_equal(f->cpu[1]->pending, X86_PEND_INIT);
	f->cpu[1]->pending = 0;
	ipi(f, 1u << 24, 0x8500); /* INIT level de-assert: nothing */
	assert_int_equal(f->cpu[1]->pending, 0);
	ipi(f, 1u << 24, 0x4699);
	assert_int_equal(f->cpu[1]->pending, X86_PEND_SIPI);
	assert_int_equal(f->cpu[1]->sipi_vector, 0x99);
	ipi(f, 0, 0xc0400); /* NMI to the others */
	assert_int_equal(f->cpu[0]->pending, 0);
	assert_int_equal(f->cpu[3]->pending, X86_PEND_NMI);
}

static void illegal_vector_is_not_sent(void **state)
{
	struct fix *f = *state;

	enable(f, false);
	ipi(f, 1u << 24, 0x0f);
	assert_int_equal(f->cpu[1]->pending, 0);
	page_write(apic(f, 0), 0x280, 0);
	assert_int_equal(page_read(apic(f, 0), 0x280), 0x20);
}

static void disabled_takes_no_interrupts(void **state)
{
	struct fix *f = *state;
	struct lapic_msg msg = { .dest = 1, .vector = 0x50 };

	lapic_deliver(&f->xm, &msg); /* software disabled */
	assert_int_equal(take(f->cpu[1]), -1);
	msg.mode = LAPIC_INIT;
	lapic_deliver(&f->xm, &msg);
	assert_int_equal(f->cpu[1]->pending, X86_PEND_INIT);
	f->cpu[1]->pending = 0;
	wr(apic(f, 1), 0x1b, 0);
	lapic_deliver(&f->xm, &msg);
	assert_int_equal(f->cpu[1]->pending, 0);
}

static void lowest_priority(void **state)
{
	struct fix *f = *state;

	enable(f, true);
	for (unsigned i = 0; i < CPUS; i++)
		lapic_set_tpr(apic(f, i), i == 2 ? 1 : 3);
	/* Logical, all of cluster 0, redirection hint. */
	lapic_deliver_msi(&f->xm, 0xfee0f00c, 0x4150);
	assert_int_equal(who(f, 0x50), 4);
	lapic_deliver_msi(&f->xm, 0xfee01000, 0x4051); /* physical, fixed */
	assert_int_equal(who(f, 0x51), 2);
	lapic_deliver_msi(&f->xm, 0xfeeff000, 0x4052);
	assert_int_equal(who(f, 0x52), 0xf);
}

/* --- ExtINT --------------------------------------------------------------- */

static void extint_through_lint0(void **state)
{
	struct fix *f = *state;

	f->pic = true;
	lapic_extint(&f->xm, true);
	assert_true(asked(f->cpu[0]));
	assert_false(asked(f->cpu[1]));
	assert_int_equal(take(f->cpu[0]), 0x30);
	assert_int_equal(f->pic_acks, 1);
	enable(f, false);
	page_write(apic(f, 0), 0x350, 0x10700);
	f->pic = true;
	lapic_extint(&f->xm, true);
	assert_int_equal(take(f->cpu[0]), -1);
	page_write(apic(f, 0), 0x350, 0x700); /* unmasking finds it */
	assert_true(asked(f->cpu[0]));
	assert_int_equal(take(f->cpu[0]), 0x30);
}

static void extint_with_apic_disabled(void **state)
{
	struct fix *f = *state;

	wr(apic(f, 0), 0x1b, 0);
	f->pic = true;
	lapic_extint(&f->xm, true);
	assert_int_equal(take(f->cpu[0]), 0x30);
}

/* --- Timer ---------------------------------------------------------------- */

static void timer_one_shot(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, false);
	page_write(l, 0x3e0, 0x3); /* by 16 */
	page_write(l, 0x320, 0xee);
	page_write(l, 0x380, 1000);
	dt_advance(&f->dt, 8000);
	assert_int_equal(page_read(l, 0x390), 500);
	dt_advance(&f->dt, 7999);
	assert_int_equal(take(f->cpu[0]), -1);
	dt_advance(&f->dt, 1);
	assert_int_equal(take(f->cpu[0]), 0xee);
	assert_int_equal(page_read(l, 0x390), 0);
	assert_int_equal(page_read(l, 0x380), 1000);
	page_write(l, 0xb0, 0);
	dt_advance(&f->dt, DT_S);
	assert_int_equal(take(f->cpu[0]), -1);
}

static void timer_stopped_by_zero(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, false);
	page_write(l, 0x320, 0xee);
	page_write(l, 0x380, 1000);
	page_write(l, 0x380, 0);
	dt_advance(&f->dt, DT_S);
	assert_int_equal(take(f->cpu[0]), -1);
}

static void timer_periodic(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);
	unsigned n = 0;

	enable(f, false);
	page_write(l, 0x3e0, 0xb); /* by 1 */
	page_write(l, 0x320, 0x200ee);
	page_write(l, 0x380, DT_MS);
	for (unsigned i = 0; i < 1000; i++) {
		dt_advance(&f->dt, DT_MS / 10);
		if (take(f->cpu[0]) == 0xee) {
			n++;
			page_write(l, 0xb0, 0);
		}
	}
	assert_int_equal(n, 100);
	/* Late by five periods: one interrupt, phase kept. */
	dt_jump(&f->dt, 5 * DT_MS + DT_MS / 2);
	assert_int_equal(take(f->cpu[0]), 0xee);
	page_write(l, 0xb0, 0);
	assert_int_equal(take(f->cpu[0]), -1);
	assert_int_equal(page_read(l, 0x390), DT_MS / 2);
	dt_advance(&f->dt, DT_MS / 2);
	assert_int_equal(take(f->cpu[0]), 0xee);
}

static void timer_tiny_period_is_no_storm(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, false);
	page_write(l, 0x3e0, 0xb);
	page_write(l, 0x320, 0x200ee);
	page_write(l, 0x380, 1);
	unsigned before = dt_timer_runs(&f->dt);
	dt_advance(&f->dt, 10 * DT_MS);
	assert_in_range(dt_timer_runs(&f->dt) - before, 100, 410);
}

static void timer_divide_change_keeps_count(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, false);
	page_write(l, 0x3e0, 0xb); /* by 1 */
	page_write(l, 0x320, 0xee);
	page_write(l, 0x380, 1000);
	dt_advance(&f->dt, 500);
	page_write(l, 0x3e0, 0x0); /* by 2 */
	assert_int_equal(page_read(l, 0x390), 500);
	dt_advance(&f->dt, 998);
	assert_int_equal(take(f->cpu[0]), -1);
	dt_advance(&f->dt, 2);
	assert_int_equal(take(f->cpu[0]), 0xee);
}

static void tsc_deadline(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, true);
	wr(l, 0x6e0, 12345); /* not in deadline mode: ignored */
	assert_int_equal(rd(l, 0x6e0), 0);
	wr(l, 0x832, 0x400ec);
	wr(l, 0x838, 1000); /* no count in this mode */
	assert_int_equal(rd(l, 0x838), 0);
	wr(l, 0x6e0, 1); /* over already */
	assert_int_equal(rd(l, 0x6e0), 0);
	assert_int_equal(take(f->cpu[0]), 0xec);
	wr(l, 0x80b, 0);
	/* A real TSC under a clock that is told: far enough off to be late. */
	uint64_t deadline = x86_tsc(f->cpu[0]) + 1000000;
	wr(l, 0x6e0, deadline);
	assert_int_equal(rd(l, 0x6e0), deadline);
	dt_advance(&f->dt, 100);
	assert_int_equal(take(f->cpu[0]), -1);
	while (x86_tsc(f->cpu[0]) < deadline)
		;
	dt_advance(&f->dt, 10 * DT_MS);
	assert_int_equal(take(f->cpu[0]), 0xec);
	assert_int_equal(rd(l, 0x6e0), 0);
}

static void tsc_written_meanwhile(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, true);
	wr(l, 0x832, 0x400ec);
	wr(l, 0x6e0, x86_tsc(f->cpu[0]) + 3600 * DT_S);
	dt_advance(&f->dt, 10 * DT_MS);
	assert_int_equal(take(f->cpu[0]), -1);
	f->cpu[0]->tsc_offset += 3600 * DT_S; /* the guest wrote its TSC */
	lapic_tsc_moved(l);
	assert_int_equal(take(f->cpu[0]), 0xec);
	assert_int_equal(rd(l, 0x6e0), 0);
	lapic_tsc_moved(l); /* once */
	assert_int_equal(take(f->cpu[0]), -1);
}

static void tsc_deadline_disarmed(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);

	enable(f, true);
	wr(l, 0x832, 0x400ec);
	wr(l, 0x6e0, x86_tsc(f->cpu[0]) + 100000000);
	wr(l, 0x6e0, 0);
	dt_advance(&f->dt, 10 * DT_S);
	assert_int_equal(take(f->cpu[0]), -1);
	wr(l, 0x6e0, x86_tsc(f->cpu[0]) + 100000000);
	wr(l, 0x832, 0xec); /* leaving the mode disarms */
	assert_int_equal(rd(l, 0x6e0), 0);
	wr(l, 0x6e0, ~0ull);
	wr(l, 0x832, 0x400ec);
	wr(l, 0x6e0, ~0ull); /* for ever */
	dt_advance(&f->dt, 10 * DT_S);
	assert_int_equal(take(f->cpu[0]), -1);
}

/* --- State ---------------------------------------------------------------- */

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 0);
	char *buf = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&buf, &len);
	struct walk *w = walk_save_to(file);

	enable(f, true);
	wr(l, 0x832, 0x200ee);
	wr(l, 0x83e, 0xb);
	wr(l, 0x838, DT_MS);
	wr(l, 0x83f, 0x44);
	lapic_walk(l, w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(file);
	lapic_reset(l, false);
	f->cpu[0]->pending = 0;
	w = walk_restore_from(buf, len);
	lapic_walk(l, w);
	struct err err;
	if (walk_result(w, &err))
		fail_msg("%s", err.msg);
	walk_free(w);
	assert_true(asked(f->cpu[0]));
	assert_int_equal(take(f->cpu[0]), 0x44);
	dt_advance(&f->dt, DT_MS);
	assert_int_equal(take(f->cpu[0]), 0xee);
	free(buf);
}

static void init_keeps_mode(void **state)
{
	struct fix *f = *state;
	struct lapic *l = apic(f, 3);

	enable(f, true);
	wr(l, 0x808, 0x20);
	lapic_reset(l, true);
	assert_int_equal(rd(l, 0x80d), 8);
	assert_int_equal(rd(l, 0x808), 0);
	assert_int_equal(rd(l, 0x80f), 0xff);
}

/* Random accesses of every kind: nothing but definite values may happen. */
static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 1;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = dt_random(&seed), v = dt_random(&seed);
		struct lapic *l = apic(f, r & 3);
		unsigned reg = r >> 8 & 0xff;

		if ((r >> 2 & 7) == 0)
			v &= 0xff;
		switch (r >> 5 & 7) {
		case 0:
		case 1:
			lapic_wrmsr(l, 0x800 + reg % 0x48, v >> (r >> 20 & 63));
			break;
		case 2:
			lapic_rdmsr(l, 0x800 + reg % 0x48, &v);
			break;
		case 3:
			lapic_mmio(l, LAPIC_BASE + reg * 16, 4, true, &v);
			break;
		case 4:
			lapic_mmio(l, LAPIC_BASE + (r >> 8 & 0xff0), 4, false,
				   &v);
			break;
		case 5:
			if ((r >> 20 & 15) == 0)
				lapic_wrmsr(l, 0x1b, v & 0xd00);
			else
				lapic_wrmsr(l, 0x6e0, v >> (r >> 24 & 63));
			break;
		case 6:
			lapic_deliver_msi(&f->xm, v, (uint32_t)(v >> 32));
			break;
		default:
			take(l->cpu);
			dt_advance(&f->dt, r >> 8 & 0xffff);
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(reset_state),
		T(lvt_is_masked_while_disabled),
		T(base_transitions),
		T(x2apic_refuses_reserved),
		T(illegal_register_sets_esr),
		T(nesting_and_eoi),
		T(tpr_holds_back),
		T(level_eoi_is_broadcast),
		T(shorthands),
		T(xapic_destinations),
		T(x2apic_destinations),
		T(init_forgets_an_old_sipi),
		T(init_sipi_nmi),
		T(illegal_vector_is_not_sent),
		T(disabled_takes_no_interrupts),
		T(lowest_priority),
		T(extint_through_lint0),
		T(extint_with_apic_disabled),
		T(timer_one_shot),
		T(timer_stopped_by_zero),
		T(timer_periodic),
		T(timer_tiny_period_is_no_storm),
		T(timer_divide_change_keeps_count),
		T(tsc_deadline),
		T(tsc_deadline_disarmed),
		T(tsc_written_meanwhile),
		T(state_survives),
		T(init_keeps_mode),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
