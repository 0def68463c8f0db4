#include "machine/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/sync.h"
#include "cpu/x86/thunk.h"
#include "machine/engines.h"
#include "machine/gdb.h"
#include "machine/pc.h"
#include "machine/run.h"
#include "machine/trace.h"

#define VM_LOW_BIG   0xb0000000ull
#define VM_LOW_LIMIT 0x80000000ull
#define VM_UEFI_BITS 40

/* --- Life -------------------------------------------------------------------
 */

static int vm_new_surroundings(struct vm *vm, struct err *err)
{
	int ret = mem_new(&vm->env.mem, vm->config.memory, err);

	if (ret < 0)
		return ret;
	vm->env.clock = vclock_new();
	if (!vm->env.clock)
		return err_set(err, ENOMEM, "out of memory");
	vm->env.loop = loop_new(vm->env.clock, err);
	return vm->env.loop ? 0 : -ENOMEM;
}

/*
 * What may be shown on this host by its KVM too, so that a guest can be moved
 * there.  A KVM that hides what every processor with virtualization has is
 * none to move to, and software engines lose nothing for it.
 */
static void vm_offered(struct vm *vm, struct x86_model *model)
{
	const struct engine_ops *ops = vm->xm.engine_ops;
	struct x86_model limited, least;

	x86_model_host(model);
	limited = *model;
	kvm_engine.limit_model(&limited);
	least = limited;
	if (ops->limit_model || x86_model_choose(&least, "v2", NULL) == 0)
		*model = limited;
}

static int vm_choose_model(struct vm *vm, struct err *err)
{
	int ret;

	vm_offered(vm, &vm->xm.model);
	ret = x86_model_choose(&vm->xm.model, vm->config.cpu, err);
	vm->xm.has_model = ret == 0;
	return ret;
}

/* The hardware tells of no single instructions. */
static const char *vm_engine_name(const struct vm_config *c)
{
	bool any = !c->engine || !strcmp(c->engine, "auto");

	return any && c->trace ? translator_engine.name : c->engine;
}

/*
 * An engine that was named is taken where it runs at all; what "auto" would
 * have said is worth a word before a kernel is silent for minutes.
 */
static const struct engine_ops *vm_choose_engine(const struct vm_config *c,
						 struct err *err)
{
	const char *name = vm_engine_name(c);
	const struct engine_ops *ops = engines_choose(name, err);
	struct err why = { "" };

	if (ops && ops->advise && name && !strcmp(name, ops->name) &&
	    ops->advise(&why))
		log_warn("--engine %s: %s; --engine auto takes a faster one",
			 name, why.msg);
	return ops;
}

/* What the processors share, and the engine that runs them. */
static int vm_new_machine(struct vm *vm, struct err *err)
{
	struct x86_machine *xm = &vm->xm;
	int ret;

	xm->cpus = calloc(vm->config.cpus, sizeof(*xm->cpus));
	if (!xm->cpus)
		return err_set(err, ENOMEM, "out of memory");
	xm->engine_ops = vm_choose_engine(&vm->config, err);
	if (!xm->engine_ops)
		return -EINVAL;
	xm->mem = vm->env.mem;
	xm->loop = vm->env.loop;
	xm->clock = vm->env.clock;
	xm->tsc_khz = clock_tsc_khz();
	xm->request_reset = run_request_reset;
	xm->wake = run_wake;
	xm->opaque = vm;
	pthread_mutex_init(&xm->bounce_lock, NULL);
	ret = vm_choose_model(vm, err);
	if (ret == 0)
		ret = x86_sync_init(xm, err);
	if (ret == 0)
		ret = xm->engine_ops->vm_init(xm, err);
	if (ret < 0)
		xm->engine_ops = NULL; /* nothing to give back */
	return ret;
}

static int vm_new_cpu(struct vm *vm, unsigned index, struct err *err)
{
	struct x86_machine *xm = &vm->xm;
	struct x86_cpu *cpu = x86_cpu_new(xm, index, err);

	if (!cpu)
		return -ENOMEM;
	xm->cpus[index] = cpu;
	cpu->lapic = lapic_new(cpu, err);
	if (!cpu->lapic)
		return -ENOMEM;
	/* Only now: reset gives the local APIC its power-on state, too. */
	x86_reset(cpu, false);
	vm->threads[index].cpu = cpu;
	vm->threads[index].vm = vm;
	return xm->engine_ops->vcpu_init(cpu, err);
}

static int vm_new_cpus(struct vm *vm, struct err *err)
{
	int ret = thunk_init(err);

	for (unsigned i = 0; i < vm->xm.cpu_count && ret == 0; i++)
		ret = vm_new_cpu(vm, i, err);
	return ret;
}

static int vm_new_trace(struct vm *vm, struct err *err)
{
	const struct vm_config *c = &vm->config;
	int ret;

	if (!c->trace)
		return 0;
	ret = trace_open(&vm->trace, c->trace, c->trace_filter, err);
	if (ret < 0)
		return ret;
	trace_attach(vm->trace, &vm->xm);
	if (vm->xm.engine_ops == &kvm_engine && vm->xm.trace &&
	    (vm->xm.trace->insn || vm->xm.trace->event))
		return err_set(err, EINVAL,
			       "--engine kvm sees no single instructions and "
			       "events: take translator or interpreter, or "
			       "--trace-filter port,mmio");
	return 0;
}

static int vm_new_gdb(struct vm *vm, struct err *err)
{
	const struct vm_config *c = &vm->config;

	if (!c->gdb)
		return 0;
	return gdb_start(&vm->gdb, vm, c->gdb, c->gdb_wait, err);
}

static int vm_build(struct vm *vm, struct err *err)
{
	int ret = vm_new_surroundings(vm, err);

	vm->xm.cpu_count = vm->config.cpus;
	if (ret == 0)
		ret = run_init(vm, err);
	if (ret == 0)
		ret = guest_open(&vm->run->guest, vm, err);
	/* OVMF takes 40 bits for QEMU's standard, and 36 to be enough then;
	 * with more it builds 256 MiB of page tables. */
	if (ret == 0 && vm->run->guest.firmware &&
	    firmware_is_uefi(vm->run->guest.firmware))
		vm->xm.phys_bits = VM_UEFI_BITS;
	/* Q35's firmware has its ECAM at b0000000 or above. */
	if (ret == 0 && vm->run->guest.firmware &&
	    vm->config.memory > VM_LOW_BIG)
		mem_limit_low(vm->env.mem, VM_LOW_LIMIT);
	if (ret == 0)
		ret = vm_new_machine(vm, err);
	if (ret == 0)
		ret = vm_new_cpus(vm, err);
	if (ret < 0)
		return ret;
	ret = pc_new(vm, err);
	if (ret == 0)
		ret = guest_load(&vm->run->guest, vm, err);
	if (ret == 0)
		ret = vm_new_trace(vm, err);
	return ret ? ret : vm_new_gdb(vm, err);
}

int vm_new(struct vm **out, struct vm_config *config, int console_in,
	   int console_out, struct err *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int ret;

	*out = NULL;
	if (!vm)
		return err_set(err, ENOMEM, "out of memory");
	vm->config = *config;
	*config = (struct vm_config){ 0 };
	vm->console_in = console_in;
	vm->console_out = console_out;
	ret = vm_build(vm, err);
	if (ret < 0)
		vm_free(vm);
	else
		*out = vm;
	return ret;
}

/* An engine may look at every vCPU while it gives one back. */
static void vm_free_engine(struct x86_machine *xm)
{
	for (unsigned i = 0; xm->cpus && i < xm->cpu_count; i++) {
		struct x86_cpu *cpu = xm->cpus[i];

		if (cpu && cpu->engine)
			xm->engine_ops->vcpu_free(cpu);
	}
	if (xm->engine_ops)
		xm->engine_ops->vm_free(xm);
}

static void vm_free_cpus(struct vm *vm)
{
	struct x86_machine *xm = &vm->xm;

	vm_free_engine(xm);
	for (unsigned i = 0; xm->cpus && i < xm->cpu_count; i++) {
		struct x86_cpu *cpu = xm->cpus[i];

		if (cpu && cpu->lapic)
			lapic_free(cpu->lapic);
		if (cpu)
			x86_cpu_free(cpu);
	}
	if (xm->mem) {
		x86_sync_free(xm);
		pthread_mutex_destroy(&xm->bounce_lock);
	}
	free(xm->cpus);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	gdb_stop(vm->gdb, vm->end_status);
	if (vm->trace)
		trace_close(vm->trace, NULL);
	if (vm->pc)
		pc_free(vm);
	vm_free_cpus(vm);
	run_free(vm);
	if (vm->env.loop)
		loop_free(vm->env.loop);
	if (vm->env.clock)
		vclock_free(vm->env.clock);
	if (vm->env.mem)
		mem_free(vm->env.mem);
	vm_config_free(&vm->config);
	free(vm);
}

/* --- Requests ------------------------------------------------------------- */

void vm_power_button(struct vm *vm)
{
	pc_power_button(vm);
}

/* 146 years: sums with timers' periods stay far from overflow. */
#define VM_CLOCK_MAX (1ull << 62)

static void vm_walk_clock(struct vm *vm, struct walk *w)
{
	uint64_t now = vclock_now(vm->env.clock);

	if (!walk_section(w, "clock", 0, 1))
		return;
	walk_u64(w, "now", &now);
	walk_end(w);
	if (now > VM_CLOCK_MAX)
		walk_fail(w, "clock: no guest is that old");
	else if (walk_restoring(w))
		vclock_set(vm->env.clock, now);
}

/*
 * Two hosts' TSCs are never quite the same; guests live with this much.  With
 * more the guest's is scaled.
 */
#define VM_TSC_PPM_MAX 500
/* No processor's is slower; nor is there a ratio for 0. */
#define VM_TSC_KHZ_MIN 100000

static bool vm_tsc_fits(uint32_t a, uint32_t b)
{
	uint64_t more = a > b ? a - b : b - a;

	return more * 1000000 <= (uint64_t)b * VM_TSC_PPM_MAX;
}

static void vm_check_model(struct vm *vm, const struct x86_model *want,
			   uint32_t khz, struct walk *w)
{
	struct x86_model offered;
	const char *missing = "";
	struct err err = { "" };

	x86_model_host(&offered);
	if (vm->xm.engine_ops->limit_model)
		vm->xm.engine_ops->limit_model(&offered);
	if (!x86_model_within(want, &offered, &missing))
		walk_fail(w,
			  "the guest was started with %s, which engine %s "
			  "cannot show it on this host; start guests that are "
			  "to be moved with less, as in --cpu v2",
			  missing, vm->xm.engine_ops->name);
	else if (khz < VM_TSC_KHZ_MIN)
		walk_fail(w, "the time stamp counter runs at %u kHz", khz);
	else if (!vm_tsc_fits(khz, vm->xm.tsc_khz) &&
		 x86_set_tsc_khz(&vm->xm, khz, &err))
		walk_fail(w, "%s", err.msg);
	else
		vm->xm.model = *want;
}

static void vm_walk_model(struct vm *vm, struct walk *w)
{
	struct x86_model model = vm->xm.model;
	uint32_t khz = vm->xm.tsc_khz;

	if (!walk_section(w, "machine", 0, 1))
		return;
	x86_model_walk(&model, w);
	walk_u32(w, "tsc_khz", &khz);
	walk_end(w);
	if (walk_restoring(w))
		vm_check_model(vm, &model, khz, w);
}

/* fn: the engine's, or NULL. */
static void vm_each_cpu(struct vm *vm, void (*fn)(struct x86_cpu *cpu))
{
	for (unsigned i = 0; fn && i < vm->xm.cpu_count; i++)
		fn(vm->xm.cpus[i]);
}

void vm_walk(struct vm *vm, struct walk *w)
{
	const struct engine_ops *ops = vm->xm.engine_ops;

	/* Restoring, it does no harm: it comes before what is restored. */
	vm_each_cpu(vm, ops->refresh);
	vm_walk_model(vm, w);
	vm_walk_clock(vm, w);
	for (unsigned i = 0; i < vm->xm.cpu_count; i++) {
		x86_walk(vm->xm.cpus[i], w);
		lapic_walk(vm->xm.cpus[i]->lapic, w);
	}
	/* Before the devices: restored, they may interrupt at once. */
	if (walk_restoring(w))
		vm_each_cpu(vm, ops->adopt);
	pc_walk(vm, w);
	if (!walk_restoring(w))
		return;
	vm_each_cpu(vm, ops->flush);
	loop_clock_moved(vm->env.loop);
}
