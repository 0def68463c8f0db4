/*
 * test_kvm.c - the KVM engine's own affairs, on the local /dev/kvm where it
 * runs anything at all (else skipped): memory that changes under the guest,
 * the dirty log, state that goes in and out.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot_images.h"
#include "cpu/kvm/kvm_impl.h"
#include "cpu/x86/lapic.h"
#include "machine/vm.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CODE    0x100000u
#define COUNTER 0x180000u

static struct vm *make(const uint8_t *code, size_t len)
{
	struct image img = image_multiboot_flat(CODE, 0x200);
	char path[] = "/tmp/hostel-kvm-XXXXXX";
	int fd = mkstemp(path);
	struct vm_config c;
	struct err err = { "" };
	struct vm *vm;

	assert_true(fd >= 0);
	memcpy(img.data + 0x40, code, len);
	assert_int_equal(write(fd, img.data, img.size), img.size);
	close(fd);
	image_free(&img);
	vm_config_init(&c);
	c.memory = 4u << 20;
	c.kernel = strdup(path);
	c.engine = strdup("kvm");
	if (vm_new(&vm, &c, -1, -1, &err))
		fail_msg("%s", err.msg);
	unlink(path);
	return vm;
}

static void *run(void *opaque)
{
	int status;

	vm_run(opaque, &status, NULL);
	return NULL;
}

static uint32_t counter(struct vm *vm)
{
	uint32_t v;

	mem_read(vm->env.mem, COUNTER, &v, sizeof(v));
	return v;
}

static void wait_counter(struct vm *vm, uint32_t above)
{
	for (unsigned i = 0; i < 10000 && counter(vm) <= above; i++)
		usleep(1000);
	assert_true(counter(vm) > above);
}

static void end(struct vm *vm, pthread_t thread)
{
	vm_end(vm, VM_END_STOPPED, 0);
	pthread_join(thread, NULL);
	vm_free(vm);
}

/* incl COUNTER; jmp back */
static const uint8_t count_code[] = { 0xff, 0x05, 0x00, 0x00,
				      0x18, 0x00, 0xeb, 0xf8 };

static void the_dirty_log_shows_what_the_guest_wrote(void **state)
{
	struct vm *vm = make(count_code, sizeof(count_code));
	uint8_t *flags = mem_page_flags(vm->env.mem);
	struct err err = { "" };
	pthread_t t;

	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 0);
	vm_pause(vm);
	memset(flags, 0, 1024);
	assert_int_equal(kvm_engine.dirty_log(&vm->xm, true, &err), 0);
	assert_int_equal(kvm_engine.dirty_collect(&vm->xm, &err), 0);
	memset(flags, 0, 1024);
	vm_resume(vm);
	wait_counter(vm, counter(vm));
	vm_pause(vm);
	assert_int_equal(kvm_engine.dirty_collect(&vm->xm, &err), 0);
	assert_true(flags[COUNTER >> 12] & MEM_PAGE_DIRTY);
	assert_false(flags[0x200000 >> 12] & MEM_PAGE_DIRTY);
	assert_int_equal(kvm_engine.dirty_log(&vm->xm, false, &err), 0);
	vm_resume(vm);
	end(vm, t);
}

/* What a debugger changes while the guest stands is there afterwards. */
static void registers_go_in_and_out(void **state)
{
	/* mov %eax, COUNTER; jmp back */
	static const uint8_t code[] = {
		0xa3, 0x00, 0x00, 0x18, 0x00, 0xeb, 0xf9
	};
	struct vm *vm = make(code, sizeof(code));
	struct x86_cpu *cpu = vm->xm.cpus[0];
	pthread_t t;

	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 0); /* Multiboot's magic number */
	for (uint32_t i = 1; i < 50; i++) {
		vm_pause(vm);
		assert_true(cpu->rip == CODE + 0x40 ||
			    cpu->rip == CODE + 0x45 || cpu->rip > CODE);
		cpu->gpr[X86_RAX] = i;
		vm_resume(vm);
		for (unsigned n = 0; n < 5000 && counter(vm) != i; n++)
			usleep(200);
		assert_int_equal(counter(vm), i);
	}
	end(vm, t);
}

/* A write to a doorbell rings it, and the guest does not come out. */
static void a_doorbell_rings(void **state)
{
	/* mov %eax, 0xfe000000; incl COUNTER; jmp back */
	static const uint8_t code[] = { 0xa3, 0x00, 0x00, 0x00, 0xfe,
					0xff, 0x05, 0x00, 0x00, 0x18,
					0x00, 0xeb, 0xf3 };
	struct vm *vm = make(code, sizeof(code));
	struct mem *mem = vm->env.mem;
	int fd = eventfd(0, EFD_NONBLOCK);
	struct engine_stats before, after;
	eventfd_t rung = 0;
	pthread_t t;

	if (mem_doorbell(mem, 0xfe000000, fd, true)) {
		print_message("this KVM has no ioeventfd of any length\n");
		close(fd);
		vm_free(vm);
		skip();
	}
	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 0);
	vm_pause(vm);
	kvm_engine.stats(vm->xm.cpus[0], &before);
	vm_resume(vm);
	wait_counter(vm, counter(vm) + 20);
	vm_pause(vm);
	kvm_engine.stats(vm->xm.cpus[0], &after);
	assert_true(after.vm_exits - before.vm_exits < 10);
	assert_int_equal(eventfd_read(fd, &rung), 0);
	assert_true(rung > 20);
	assert_int_equal(mem_doorbell(mem, 0xfe000000, fd, false), 0);
	vm_resume(vm);
	end(vm, t);
	close(fd);
}

struct collector {
	uint8_t last;
	unsigned writes, odd, reads;
};

static void collector_write(void *dev, uint64_t offset, unsigned size,
			    uint64_t value)
{
	struct collector *c = dev;

	c->odd += (uint8_t)value != (uint8_t)(c->last + 1);
	c->last = (uint8_t)value;
	c->writes++;
}

/* All that was written before must have come. */
static uint64_t collector_read(void *dev, uint64_t offset, unsigned size)
{
	struct collector *c = dev;

	c->odd += c->last != 0;
	c->reads++;
	return 0;
}

/* Writes that the kernel may keep come all, in order, and in few exits. */
static void kept_writes_come_in_order(void **state)
{
	/*
	 * mov $0x300, %edx
	 * 1: inc %eax; out %al, (%dx); test %al, %al; jnz 1b
	 * in (%dx), %al; incl COUNTER; jmp 1b
	 */
	static const uint8_t code[] = { 0xba, 0x00, 0x03, 0x00, 0x00,
					0x40, 0xee, 0x84, 0xc0, 0x75,
					0xfa, 0xec, 0xff, 0x05, 0x00,
					0x00, 0x18, 0x00, 0xeb, 0xf1 };
	static const struct io_ops ops = { collector_read, collector_write, 4 };
	struct vm *vm = make(code, sizeof(code));
	struct collector c = { 0 };
	struct engine_stats before, after;
	uint32_t turns;
	pthread_t t;

	vm->xm.cpus[0]->gpr[X86_RAX] = 0;
	assert_int_equal(
		mem_map_ports(vm->env.mem, 0x300, 1, &ops, &c, "collector"), 0);
	mem_coalesce(vm->env.mem, 'p', 0x300, 1);
	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 0);
	vm_pause(vm);
	c.odd = 0; /* EAX is Multiboot's at first */
	kvm_engine.stats(vm->xm.cpus[0], &before);
	turns = counter(vm);
	vm_resume(vm);
	wait_counter(vm, turns + 10);
	vm_pause(vm);
	kvm_engine.stats(vm->xm.cpus[0], &after);
	turns = counter(vm) - turns;
	print_message("%u writes, %u reads, %lu exits in %u turns\n", c.writes,
		      c.reads, after.vm_exits - before.vm_exits, turns);
	assert_int_equal(c.odd, 0);
	if (kvm_guest(&vm->xm)->ring_takes_ports)
		assert_true(after.vm_exits - before.vm_exits < 8 * turns + 8);
	assert_true(after.port_exits - before.port_exits >= turns);
	assert_int_equal(after.mmio_exits + after.msr_exits, 0);
	assert_true(c.writes > 256 * turns);
	vm_resume(vm);
	end(vm, t);
}

/* A ROM appears where RAM was, and goes. */
static void memory_changes_under_the_guest(void **state)
{
	/* mov 0xe0000, %eax; mov %eax, COUNTER; jmp back */
	static const uint8_t code[] = { 0xa1, 0x00, 0x00, 0x0e, 0x00, 0xa3,
					0x00, 0x00, 0x18, 0x00, 0xeb, 0xf4 };
	struct vm *vm = make(code, sizeof(code));
	struct mem *mem = vm->env.mem;
	struct mem_window *w;
	const uint32_t ram = 0x11111111, rom = 0x22222222;
	pthread_t t;

	assert_int_equal(mem_window_new(mem, 0x20000, &w), 0);
	memcpy(mem_window_host(mem, w), &rom, sizeof(rom));
	mem_write(mem, 0xe0000, &ram, sizeof(ram));
	pthread_create(&t, NULL, run, vm);
	for (unsigned i = 0; i < 20; i++) {
		uint32_t want = i & 1 ? rom : ram;

		mem_shadow(mem, 0xe0000, 0x20000, i & 1 ? w : NULL, 0,
			   i & 1 ? MEM_ROM : MEM_RW);
		for (unsigned n = 0; n < 5000 && counter(vm) != want; n++)
			usleep(200);
		assert_int_equal(counter(vm), want);
	}
	end(vm, t);
}

/* The local APIC's registers come back from the kernel as they went in. */
static void the_local_apic_goes_in_and_out(void **state)
{
	struct vm *vm = make(count_code, sizeof(count_code));
	struct lapic *l = vm->xm.cpus[0]->lapic;
	struct lapic_regs in, out;
	pthread_t t;

	lapic_get_regs(l, &in);
	in.reg[0x0f] = 0x1ff;      /* SVR: enabled, vector ff */
	in.reg[0x08] = 0x20;       /* TPR */
	in.reg[0x20] = 0;          /* IRR */
	in.reg[0x22] = 0x00010000; /* vector 50h waits, IF is 0 */
	in.reg[0x32] = 0x20040;    /* timer: periodic, vector 40h */
	in.reg[0x38] = 0x40000000;
	in.reg[0x3e] = 0xb;
	in.running = 1;
	in.start = vclock_now(vm->env.clock);
	lapic_set_regs(l, &in);
	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 0);
	vm_pause(vm);
	lapic_get_regs(l, &out);
	vm_resume(vm);
	assert_true(out.running);
	assert_true(out.start - in.start + 100000000 < 200000000);
	out.start = in.start;
	assert_memory_equal(&in, &out, sizeof(in));
	end(vm, t);
}

/* A restored device interrupts before the vCPU has run. */
static void a_message_before_the_first_run_waits(void **state)
{
	struct vm *vm = make(count_code, sizeof(count_code));
	struct x86_cpu *cpu = vm->xm.cpus[0];
	struct lapic_regs r;

	lapic_get_regs(cpu->lapic, &r);
	r.reg[0x0f] = 0x1ff; /* SVR: enabled, vector ff */
	lapic_set_regs(cpu->lapic, &r);
	kvm_engine.adopt(cpu);
	lapic_deliver_msi(&vm->xm, 0xfee00000, 0x50);
	kvm_engine.refresh(cpu);
	lapic_get_regs(cpu->lapic, &r);
	assert_int_equal(r.reg[0x22], 0x00010000);
	vm_free(vm);
}

/* All that the process says meanwhile; free it. */
static char *said_by(struct vm *vm, uint32_t reason, struct err *err)
{
	struct kvm_vcpu *v = vm->xm.cpus[0]->engine;
	char path[] = "/tmp/hostel-kvm-XXXXXX", *text = calloc(1, 65536);
	int fd = mkstemp(path), old = dup(2);

	dup2(fd, 2);
	v->run->exit_reason = reason;
	assert_int_equal(exits_handle(v->cpu, err), VCPU_EXIT_ERROR);
	v->unfinished = false;
	dup2(old, 2);
	assert_true(pread(fd, text, 65535, 0) > 0);
	close(old);
	close(fd);
	unlink(path);
	return text;
}

/* A sentence for the user, the whole vCPU for who looks into it. */
static void an_unknown_exit_tells_the_vcpus_state(void **state)
{
	static const char *const parts[] = {
		"exit reason 77", "rip = 0x1000", "cr0",   "efer",
		"gdtr_base",      "xsave",        "lapic", "mtrr_def_type",
	};
	struct vm *vm = make(count_code, sizeof(count_code));
	struct err err = { "" };
	pthread_t t;
	char *text;

	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 0);
	vm_pause(vm);
	text = said_by(vm, 77, &err);
	assert_non_null(strstr(err.msg, "(77)"));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strstr(text, parts[i]))
			fail_msg("no '%s' in %s", parts[i], text);
	free(text);
	vm_resume(vm);
	wait_counter(vm, counter(vm));
	end(vm, t);
}

/*
 * Reset forgets that the 8259 had something; the window that was asked for then
 * must not open again and again, instead of instructions.
 */
static void a_window_that_nobody_needs_is_closed(void **state)
{
	/* 1: sti; incl COUNTER; jmp 1b */
	static const uint8_t code[] = { 0xfb, 0xff, 0x05, 0x00, 0x00,
					0x18, 0x00, 0xeb, 0xf7 };
	struct vm *vm = make(code, sizeof(code));
	struct kvm_vcpu *v = vm->xm.cpus[0]->engine;
	pthread_t t;

	v->run->request_interrupt_window = 1;
	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 1000);
	assert_int_equal(v->run->request_interrupt_window, 0);
	assert_true(v->stats.vm_exits < 10);
	end(vm, t);
}

/* A factor to the bit: the kernel's mul_u64_u32_div(1 << bits, khz, host). */
static void the_tscs_factor_is_the_kernels(void **state)
{
	assert_int_equal(scale_ratio(2000000, 2000000, 32), 1ull << 32);
	assert_int_equal(scale_ratio(3000000, 2000000, 48), 3ull << 47);
	assert_int_equal(scale_ratio(1000000, 3000000, 32), 0x55555555);
	assert_int_equal(scale_ratio(4000000, 1000000, 48), 4ull << 48);
}

/* The processor scales the TSC as x86_tsc() does, or the guest is refused. */
static void the_tsc_is_scaled_or_refused(void **state)
{
	/* 1: rdtsc; mov %eax, DATA; mov %edx, DATA + 4; incl COUNTER; jmp 1b */
	static const uint8_t code[] = {
		0x0f, 0x31, 0xa3, 0x08, 0x00, 0x18, 0x00,
		0x89, 0x15, 0x0c, 0x00, 0x18, 0x00, 0xff,
		0x05, 0x00, 0x00, 0x18, 0x00, 0xeb, 0xeb,
	};
	struct vm *vm = make(code, sizeof(code));
	struct x86_machine *xm = &vm->xm;
	struct kvm_guest *g = kvm_guest(xm);
	struct err err = { "" };
	uint64_t read, now;
	pthread_t t;

	if (x86_set_tsc_khz(xm, xm->tsc_khz / 2, &err)) {
		assert_true(ioctl(g->kvm, KVM_CHECK_EXTENSION,
				  KVM_CAP_TSC_CONTROL) <= 0);
		assert_non_null(strstr(err.msg, "--engine translator"));
		vm_free(vm);
		return;
	}
	xm->cpus[0]->tsc_offset = -x86_host_tsc(xm);
	pthread_create(&t, NULL, run, vm);
	wait_counter(vm, 100);
	vm_pause(vm);
	mem_read(vm->env.mem, COUNTER + 8, &read, sizeof(read));
	now = x86_tsc(xm->cpus[0]);
	print_message("%lu cycles ago\n", now - read);
	assert_true(read < now && now - read < xm->tsc_khz * 1000ull);
	vm_resume(vm);
	end(vm, t);
}

int main(void)
{
	struct err why = { "" };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_dirty_log_shows_what_the_guest_wrote),
		cmocka_unit_test(registers_go_in_and_out),
		cmocka_unit_test(a_doorbell_rings),
		cmocka_unit_test(kept_writes_come_in_order),
		cmocka_unit_test(memory_changes_under_the_guest),
		cmocka_unit_test(the_local_apic_goes_in_and_out),
		cmocka_unit_test(a_message_before_the_first_run_waits),
		cmocka_unit_test(an_unknown_exit_tells_the_vcpus_state),
		cmocka_unit_test(a_window_that_nobody_needs_is_closed),
		cmocka_unit_test(the_tscs_factor_is_the_kernels),
		cmocka_unit_test(the_tsc_is_scaled_or_refused),
	};

	if (kvm_engine.probe(&why)) {
		fprintf(stderr, "skipped: %s\n", why.msg);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
