/*
 * exits.c - why the guest left the hardware, and what is done about it.
 *
 * Devices' callbacks run here, in the vCPU's thread, as on the other engines.
 * What nobody expects ends the guest with everything known about the vCPU on
 * stderr: never a silent loop.
 */
#include "cpu/kvm/kvm_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cpu/interpreter/interp.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/msr.h"

typedef enum vcpu_exit exits_fn(struct x86_cpu *cpu, struct kvm_run *run,
				struct err *err);

static struct engine_stats *exits_stats(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;

	return &v->stats;
}

/* --- Ports ------------------------------------------------------------------
 */

static uint32_t exits_get(const uint8_t *p, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static enum vcpu_exit exits_io(struct x86_cpu *cpu, struct kvm_run *run,
			       struct err *err)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;

	exits_stats(cpu)->port_exits++;
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint32_t v;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			mem_port_write(cpu->mem, run->io.port, size,
				       exits_get(data, size));
			continue;
		}
		v = mem_port_read(cpu->mem, run->io.port, size);
		memcpy(data, &v, size);
	}
	return EXITS_ON;
}

/* --- Memory
 * -------------------------------------------------------------------- */

/* Devices' registers have sizes; where a length is odd, pieces that have. */
static unsigned exits_piece(unsigned left)
{
	return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/*
 * It may be memory that KVM does not have: a slot is being replaced, or the
 * access lies partly in it.
 */
void exits_write(struct mem *mem, uint64_t gpa, const uint8_t *data,
		 unsigned len)
{
	unsigned size;

	if (mem_write(mem, gpa, data, len) == 0)
		return;
	for (unsigned at = 0; at < len; at += size) {
		uint64_t v = 0;

		size = exits_piece(len - at);
		memcpy(&v, data + at, size);
		mem_mmio_write(mem, gpa + at, size, v);
	}
}

static void exits_read(struct mem *mem, uint64_t gpa, uint8_t *data,
		       unsigned len)
{
	unsigned size;

	if (mem_read(mem, gpa, data, len) == 0)
		return;
	for (unsigned at = 0; at < len; at += size) {
		uint64_t v;

		size = exits_piece(len - at);
		v = mem_mmio_read(mem, gpa + at, size);
		memcpy(data + at, &v, size);
	}
}

/* The kernel splits at 8 bytes and at pages, so a length may be odd. */
static enum vcpu_exit exits_mmio(struct x86_cpu *cpu, struct kvm_run *run,
				 struct err *err)
{
	unsigned len = run->mmio.len;

	exits_stats(cpu)->mmio_exits++;
	if (len > sizeof(run->mmio.data))
		return EXITS_ON;
	if (run->mmio.is_write)
		exits_write(cpu->mem, run->mmio.phys_addr, run->mmio.data, len);
	else
		exits_read(cpu->mem, run->mmio.phys_addr, run->mmio.data, len);
	return EXITS_ON;
}

/* --- MSRs
 * ----------------------------------------------------------------------- */

static enum vcpu_exit exits_rdmsr(struct x86_cpu *cpu, struct kvm_run *run,
				  struct err *err)
{
	uint64_t v = 0;

	exits_stats(cpu)->msr_exits++;
	run->msr.error = run->msr.reason == KVM_MSR_EXIT_REASON_INVAL ||
			 !x86_rdmsr(cpu, run->msr.index, &v);
	run->msr.data = v;
	return EXITS_ON;
}

static enum vcpu_exit exits_wrmsr(struct x86_cpu *cpu, struct kvm_run *run,
				  struct err *err)
{
	exits_stats(cpu)->msr_exits++;
	run->msr.error = run->msr.reason == KVM_MSR_EXIT_REASON_INVAL ||
			 !x86_wrmsr(cpu, run->msr.index, run->msr.data) ||
			 state_tsc_moved(cpu);
	return EXITS_ON;
}

/* --- Others
 * ---------------------------------------------------------------------- */

static enum vcpu_exit exits_on(struct x86_cpu *cpu, struct kvm_run *run,
			       struct err *err)
{
	return EXITS_ON;
}

/*
 * The guest can take what the 8259 has: if it still has something.  A window
 * that stays asked for opens again before the next instruction.
 */
static enum vcpu_exit exits_window(struct x86_cpu *cpu, struct kvm_run *run,
				   struct err *err)
{
	run->request_interrupt_window = 0;
	atomic_fetch_or(&cpu->pending, X86_PEND_INTR);
	return EXITS_ON;
}

static enum vcpu_exit exits_eoi(struct x86_cpu *cpu, struct kvm_run *run,
				struct err *err)
{
	exits_stats(cpu)->eoi_exits++;
	lapic_tell_eoi(cpu->lapic, run->eoi.vector);
	return EXITS_ON;
}

static enum vcpu_exit exits_shutdown(struct x86_cpu *cpu, struct kvm_run *run,
				     struct err *err)
{
	return VCPU_EXIT_SHUTDOWN;
}

static enum vcpu_exit exits_debug(struct x86_cpu *cpu, struct kvm_run *run,
				  struct err *err)
{
	return debug_is_hit(cpu) ? VCPU_EXIT_DEBUG : EXITS_ON;
}

/*
 * An instruction that KVM's emulator does not know: ours does.  Everything
 * goes out and in again for it, so it is slow; guests do such things rarely.
 */
static enum vcpu_exit exits_emulate(struct x86_cpu *cpu, struct err *err)
{
	enum vcpu_exit exit;
	bool shutdown;

	if (state_pull(cpu, &shutdown, err))
		return VCPU_EXIT_ERROR;
	log_guest("cpu %u: KVM leaves the instruction at %#lx to the "
		  "interpreter",
		  cpu->index, (unsigned long)cpu->rip);
	exits_stats(cpu)->interpreted++;
	exit = shutdown ? VCPU_EXIT_SHUTDOWN : interp_one(cpu);
	if (exit == VCPU_EXIT_SHUTDOWN)
		return exit;
	return state_push(cpu, err) ? VCPU_EXIT_ERROR : EXITS_ON;
}

static enum vcpu_exit exits_internal(struct x86_cpu *cpu, struct kvm_run *run,
				     struct err *err)
{
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		return exits_emulate(cpu, err);
	err_set(err, EIO,
		"KVM gave up on vCPU %u (internal error %u); its state is on "
		"stderr; --engine translator may run this guest",
		cpu->index, run->internal.suberror);
	exits_dump(cpu, err->msg);
	return VCPU_EXIT_ERROR;
}

static enum vcpu_exit exits_fail_entry(struct x86_cpu *cpu, struct kvm_run *run,
				       struct err *err)
{
	err_set(err, EIO,
		"the processor refuses to run vCPU %u (reason %#llx); its "
		"state is on stderr; --engine translator may run this guest",
		cpu->index,
		(unsigned long long)
			run->fail_entry.hardware_entry_failure_reason);
	exits_dump(cpu, err->msg);
	return VCPU_EXIT_ERROR;
}

static exits_fn *const exits_table[] = {
	[KVM_EXIT_DEBUG] = exits_debug,
	[KVM_EXIT_IO] = exits_io,
	[KVM_EXIT_MMIO] = exits_mmio,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = exits_window,
	[KVM_EXIT_SHUTDOWN] = exits_shutdown,
	[KVM_EXIT_FAIL_ENTRY] = exits_fail_entry,
	[KVM_EXIT_INTR] = exits_on,
	[KVM_EXIT_SET_TPR] = exits_on,
	[KVM_EXIT_INTERNAL_ERROR] = exits_internal,
	[KVM_EXIT_IOAPIC_EOI] = exits_eoi,
	[KVM_EXIT_X86_RDMSR] = exits_rdmsr,
	[KVM_EXIT_X86_WRMSR] = exits_wrmsr,
};

#define EXITS_KINDS (sizeof(exits_table) / sizeof(exits_table[0]))

/* What the kernel completes when it is entered the next time. */
static bool exits_needs_completion(uint32_t reason)
{
	return reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO ||
	       reason == KVM_EXIT_X86_RDMSR || reason == KVM_EXIT_X86_WRMSR;
}

static enum vcpu_exit exits_unknown(struct x86_cpu *cpu, struct kvm_run *run,
				    struct err *err)
{
	err_set(err, EIO,
		"KVM stopped vCPU %u for a reason that Hostel does not know "
		"(%u); its state is on stderr",
		cpu->index, run->exit_reason);
	exits_dump(cpu, err->msg);
	return VCPU_EXIT_ERROR;
}

enum vcpu_exit exits_handle(struct x86_cpu *cpu, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	uint32_t reason = v->run->exit_reason;

	v->stats.vm_exits++;
	v->unfinished = exits_needs_completion(reason);
	if (reason >= EXITS_KINDS || !exits_table[reason])
		return exits_unknown(cpu, v->run, err);
	return exits_table[reason](cpu, v->run, err);
}

/* --- The dump
 * -------------------------------------------------------------------- */

static void exits_dump_run(FILE *f, const struct kvm_run *run)
{
	fprintf(f, "exit reason %u", run->exit_reason);
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		for (uint32_t i = 0; i < run->internal.ndata && i < 16; i++)
			fprintf(f, " %llx",
				(unsigned long long)run->internal.data[i]);
	fputc('\n', f);
}

static void exits_dump_state(struct x86_cpu *cpu, FILE *f)
{
	struct walk *w = walk_dump_to(f);

	if (!w)
		return;
	x86_walk(cpu, w);
	lapic_walk(cpu->lapic, w);
	walk_result(w, NULL);
	walk_free(w);
}

void exits_dump(struct x86_cpu *cpu, const char *what)
{
	struct kvm_vcpu *v = cpu->engine;
	struct err why = { "" };
	char *text = NULL, *line, *rest;
	bool shutdown;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return;
	exits_dump_run(f, v->run);
	if (state_pull(cpu, &shutdown, &why))
		fprintf(f, "incomplete: %s\n", why.msg);
	exits_dump_state(cpu, f);
	fclose(f);
	log_error("vCPU %u: %s", cpu->index, what);
	for (line = strtok_r(text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		log_error("  %s", line);
	free(text);
}
