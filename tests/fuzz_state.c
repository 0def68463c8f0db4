/*
 * fuzz_state.c - a saved machine is untrusted: restore what no machine ever
 * saved, then let its processors, devices and timers go on from there.
 *
 * An input is a list of edits, 16 bytes each: a field of the saved state of a
 * machine that ran a little, a place in it, and what to write there.  So
 * nearly every input reaches the devices' own checks; damage to the stream
 * itself is fuzz_walk.c's affair.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot_images.h"
#include "fuzz.h"
#include "machine/vm.h"

#define FUZZ_STEPS 50
#define FUZZ_NS    50000

/* in al, 61h; out 80h, al; sti; jmp back */
static const uint8_t fuzz_code[] = { 0xe4, 0x61, 0xe6, 0x80, 0xfb, 0xeb, 0xf9 };

static struct vm *fuzz_vm(void)
{
	struct image img = image_multiboot_flat(0x100000, 0x200);
	char path[] = "/tmp/hostel-fuzz-XXXXXX";
	int fd = mkstemp(path);
	struct vm_config c;
	struct vm *vm;

	memcpy(img.data + 0x40, fuzz_code, sizeof(fuzz_code));
	if (fd < 0 || write(fd, img.data, img.size) != (ssize_t)img.size)
		abort();
	close(fd);
	image_free(&img);
	vm_config_init(&c);
	c.memory = 2u << 20;
	c.cpus = 2;
	c.kernel = strdup(path);
	c.engine = strdup("interpreter");
	if (vm_new(&vm, &c, -1, -1, NULL))
		abort();
	unlink(path);
	return vm;
}

static size_t fuzz_save(struct vm *vm, uint8_t *buf, size_t cap)
{
	FILE *f = fmemopen(buf, cap, "wb");
	struct walk *w = walk_save_to(f);
	size_t n;

	vm_walk(vm, w);
	n = walk_result(w, NULL) ? 0 : (size_t)ftell(f);
	walk_free(w);
	fclose(f);
	return n;
}

static void fuzz_steps(struct vm *vm, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned c = 0; c < vm->xm.cpu_count; c++)
			vm->xm.engine_ops->step(vm->xm.cpus[c], NULL);
}

static void fuzz_stop(void *opaque)
{
	loop_stop(opaque);
}

/* Timers that are due, calls, and a reset if one was asked for. */
static void fuzz_loop(struct vm *vm)
{
	struct timer stop;

	timer_init(&stop, vm->env.loop, fuzz_stop, vm->env.loop);
	timer_arm(&stop, vclock_now(vm->env.clock) + FUZZ_NS);
	loop_run(vm->env.loop);
	timer_disarm(&stop);
}

static void fuzz_devices(struct vm *vm)
{
	for (unsigned port = 0; port < 0x700; port++)
		if (port != 0xf4) /* ends the guest */
			mem_port_read(vm->env.mem, (uint16_t)port, 1);
	for (unsigned port = 0; port < 0x400; port++)
		if (port != 0xf4)
			mem_port_write(vm->env.mem, (uint16_t)port, 1, port);
	for (unsigned at = 0; at < 0x400; at += 0x10) {
		mem_mmio_write(vm->env.mem, 0xfec00000, 4, at / 0x10);
		mem_mmio_read(vm->env.mem, 0xfec00010, 4);
	}
}

/* --- A saved state, and where its fields lie ------------------------------ */

#define FUZZ_STATE_MAX  (1u << 20)
#define FUZZ_FIELDS_MAX 8192
#define FUZZ_EDITS_MAX  6

struct fuzz_saved {
	uint8_t buf[FUZZ_STATE_MAX];
	size_t len;
	struct {
		size_t at, size;
	} field[FUZZ_FIELDS_MAX];
	unsigned field_count;
};

static uint32_t fuzz_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The stream's format: src/base/walk.c. */
static void fuzz_index_section(struct fuzz_saved *s, size_t at, size_t end)
{
	while (at < end && s->field_count < FUZZ_FIELDS_MAX) {
		size_t name = s->buf[at],
		       size = fuzz_u32(s->buf + at + 1 + name);

		at += 5 + name;
		s->field[s->field_count].at = at;
		s->field[s->field_count++].size = size;
		at += size;
	}
}

static void fuzz_index(struct fuzz_saved *s)
{
	size_t at = 8;

	while (s->buf[at] == 'S') {
		size_t body = at + 2 + s->buf[at + 1] + 16;
		size_t len = fuzz_u32(s->buf + body - 8);

		fuzz_index_section(s, body, body + len);
		at = body + len;
	}
}

static const struct fuzz_saved *fuzz_state(void)
{
	static struct fuzz_saved *saved;
	struct vm *vm;

	if (saved)
		return saved;
	saved = calloc(1, sizeof(*saved));
	vm = fuzz_vm();
	fuzz_devices(vm);
	fuzz_steps(vm, FUZZ_STEPS);
	vm_pause(vm);
	saved->len = fuzz_save(vm, saved->buf, sizeof(saved->buf));
	vm_free(vm);
	if (!saved->len)
		abort();
	fuzz_index(saved);
	return saved;
}

/* u32 field, u32 place, u8 width, 7 bytes of value. */
static void fuzz_edit(uint8_t *buf, const struct fuzz_saved *s,
		      const uint8_t edit[16])
{
	unsigned n = fuzz_u32(edit) % s->field_count;
	size_t size = s->field[n].size, place, width = edit[8] % 7 + 1;

	if (!size)
		return;
	place = fuzz_u32(edit + 4) % size;
	if (width > size - place)
		width = size - place;
	memcpy(buf + s->field[n].at + place, edit + 9, width);
}

static void fuzz_go_on(struct vm *vm)
{
	vm_resume(vm);
	fuzz_steps(vm, FUZZ_STEPS);
	fuzz_loop(vm);
	fuzz_devices(vm);
	fuzz_steps(vm, FUZZ_STEPS);
	fuzz_loop(vm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct fuzz_saved *s = fuzz_state();
	uint8_t *buf = malloc(s->len);
	struct vm *vm = fuzz_vm();
	struct err err = { "" };
	struct walk *w;

	memcpy(buf, s->buf, s->len);
	for (size_t i = 0; i < FUZZ_EDITS_MAX && i < len / 16; i++)
		fuzz_edit(buf, s, data + i * 16);
	w = walk_restore_from(buf, s->len);
	vm_pause(vm);
	vm_walk(vm, w);
	if (walk_result(w, &err) == 0)
		fuzz_go_on(vm);
	else if (!err.msg[0])
		abort(); /* a failure without its sentence */
	walk_free(w);
	vm_free(vm);
	free(buf);
	return 0;
}
