/*
 * test_lapic_threads.c - local APICs, I/O APIC and loop from many threads at
 * once: nothing is lost, nothing locks up.  Meant for ThreadSanitizer too.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/lapic.h"
#include "dev/pc/ioapic.h"

#define CPUS   3
#define ROUNDS 3000
#define PING   0x60
#define WIRE   0x70
#define TIMER  0x80

struct fix {
	struct dev_env env;
	struct x86_machine xm;
	struct x86_cpu *cpu[CPUS];
	struct ioapic *io;
	pthread_t loop;
	atomic_uint wire_up;   /* the level-triggered source asks */
	atomic_uint wire_done; /* interrupts it was served */
	atomic_uint timers[CPUS];
	atomic_bool stop;
};

struct vcpu {
	struct fix *f;
	unsigned index;
	unsigned pings;
};

/* Stand-ins for cpu.c. */
void x86_pend(struct x86_cpu *cpu, unsigned bits)
{
	atomic_fetch_or(&cpu->pending, bits);
}

uint64_t x86_tsc(const struct x86_cpu *cpu)
{
	return clock_tsc();
}

static void send(void *opaque, uint64_t addr, uint32_t data)
{
	lapic_deliver_msi(opaque, addr, data);
}

static void *run_loop(void *opaque)
{
	loop_run(opaque);
	return NULL;
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct msi_bus bus = { send, &f->xm };

	f->env.clock = vclock_new();
	f->env.loop = loop_new(f->env.clock, NULL);
	if (mem_new(&f->env.mem, 1 << 20, NULL))
		return -1;
	f->xm = (struct x86_machine){
		.mem = f->env.mem,
		.loop = f->env.loop,
		.clock = f->env.clock,
		.cpu_count = CPUS,
		.cpus = f->cpu,
		.tsc_khz = clock_tsc_khz(),
	};
	for (unsigned i = 0; i < CPUS; i++) {
		f->cpu[i] = aligned_alloc(64, (sizeof(struct x86_cpu) + 63) &
						      ~63ul);
		memset(f->cpu[i], 0, sizeof(struct x86_cpu));
		f->cpu[i]->index = i;
		f->cpu[i]->xm = &f->xm;
		f->cpu[i]->lapic = lapic_new(f->cpu[i], NULL);
	}
	if (ioapic_new(&f->io, &f->env, bus, NULL))
		return -1;
	lapic_set_eoi_hook(&f->xm, ioapic_eoi, f->io);
	*state = f;
	return pthread_create(&f->loop, NULL, run_loop, f->env.loop);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	loop_stop(f->env.loop);
	pthread_join(f->loop, NULL);
	for (unsigned i = 0; i < CPUS; i++) {
		lapic_free(f->cpu[i]->lapic);
		free(f->cpu[i]);
	}
	DEV(f->io)->free(DEV(f->io));
	loop_free(f->env.loop);
	vclock_free(f->env.clock);
	mem_free(f->env.mem);
	free(f);
	return 0;
}

/* The guest's handler: serves the source, then EOI. */
static void handle(struct vcpu *v, int vector)
{
	struct fix *f = v->f;
	struct lapic *l = f->cpu[v->index]->lapic;

	switch (vector) {
	case PING: /* pass it on around the ring */
		v->pings++;
		lapic_wrmsr(l, 0x830,
			    (uint64_t)((v->index + 1) % CPUS) << 32 | PING);
		break;
	case WIRE:
		if (atomic_exchange(&f->wire_up, 0)) {
			ioapic_set_irq(f->io, 16, false);
			atomic_fetch_add(&f->wire_done, 1);
		}
		break;
	case TIMER:
		atomic_fetch_add(&f->timers[v->index], 1);
		lapic_wrmsr(l, 0x6e0, clock_tsc() + 20000);
		break;
	}
	lapic_wrmsr(l, 0x80b, 0);
}

static void *run_vcpu(void *opaque)
{
	struct vcpu *v = opaque;
	struct x86_cpu *cpu = v->f->cpu[v->index];
	struct lapic *l = cpu->lapic;

	lapic_wrmsr(l, 0x1b, 0xfee00c00);
	lapic_wrmsr(l, 0x80f, 0x1ff);
	lapic_wrmsr(l, 0x832, 0x40000 | TIMER);
	lapic_wrmsr(l, 0x6e0, clock_tsc() + 1000);
	while (!atomic_load(&v->f->stop)) {
		if (!atomic_load(&cpu->pending)) {
			sched_yield();
			continue;
		}
		atomic_fetch_and(&cpu->pending, ~X86_PEND_INTR);
		while (lapic_pending(l))
			handle(v, lapic_ack(l));
	}
	return NULL;
}

/*
 * A token runs around the ring of vCPUs by IPI, timers go off by TSC
 * deadline, and a level-triggered device asks again and again.
 */
static void nothing_is_lost(void **state)
{
	struct fix *f = *state;
	struct vcpu v[CPUS];
	pthread_t t[CPUS];
	struct lapic_msg ping = { .dest = 0, .vector = PING };

	for (unsigned i = 0; i < CPUS; i++) {
		v[i] = (struct vcpu){ .f = f, .index = i };
		pthread_create(&t[i], NULL, run_vcpu, &v[i]);
	}
	while (f->timers[0] < 3 || f->timers[1] < 3 || f->timers[2] < 3)
		sched_yield(); /* all are up */
	mem_mmio_write(f->env.mem, IOAPIC_BASE, 4, 0x31);
	mem_mmio_write(f->env.mem, IOAPIC_BASE + 0x10, 4, 1u << 24);
	mem_mmio_write(f->env.mem, IOAPIC_BASE, 4, 0x30);
	mem_mmio_write(f->env.mem, IOAPIC_BASE + 0x10, 4, 0x8000 | WIRE);
	lapic_deliver(&f->xm, &ping);
	for (unsigned i = 0; i < ROUNDS; i++) {
		atomic_store(&f->wire_up, 1);
		ioapic_set_irq(f->io, 16, true);
		while (atomic_load(&f->wire_done) != i + 1)
			sched_yield();
	}
	unsigned before = f->timers[2];
	while (f->timers[2] < before + 10) /* the timers still run */
		sched_yield();
	atomic_store(&f->stop, true);
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(t[i], NULL);
	/* One token: no vCPU can be ahead of its predecessor. */
	assert_in_range(v[0].pings - v[1].pings, 0, 1);
	assert_in_range(v[1].pings - v[2].pings, 0, 1);
	assert_true(v[0].pings > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_lost, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
