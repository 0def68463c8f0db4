/* fuzz_walk.c - a saved state is untrusted: restore and compare any bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/walk.h"
#include "fuzz.h"

struct fuzz_dev {
	bool on;
	uint8_t a;
	uint16_t b;
	uint32_t c, regs[5];
	uint64_t d, big[3];
	uint8_t fifo[40];
};

static void fuzz_dev_walk(struct fuzz_dev *d, unsigned instance, struct walk *w)
{
	if (!walk_section(w, "dev", instance, 2))
		return;
	walk_bool(w, "on", &d->on);
	walk_u8(w, "a", &d->a);
	walk_u16(w, "b", &d->b);
	walk_u32(w, "c", &d->c);
	walk_u64(w, "d", &d->d);
	walk_u32s(w, "regs", d->regs, 5);
	walk_u64s(w, "big", d->big, 3);
	walk_bytes(w, "fifo", d->fifo, sizeof(d->fifo));
	walk_end(w);
	if (walk_restoring(w) && d->c > 1000)
		walk_fail(w, "c is out of range");
}

static void fuzz_machine_walk(struct fuzz_dev d[2], struct walk *w)
{
	fuzz_dev_walk(&d[0], 0, w);
	fuzz_dev_walk(&d[1], 1, w);
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct fuzz_dev d[2] = { { .on = true, .c = 7 }, { .d = ~0ull } };
	FILE *f;
	struct walk *w;
	size_t n;

	if (i)
		return 0;
	f = fmemopen(buf, cap, "wb");
	w = walk_save_to(f);
	fuzz_machine_walk(d, w);
	n = walk_result(w, NULL) ? 0 : (size_t)ftell(f);
	walk_free(w);
	fclose(f);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_dev d[2];
	struct err err = { "" };
	struct walk *w = walk_restore_from(data, len);
	char *text;
	size_t text_len;
	FILE *f = open_memstream(&text, &text_len);

	memset(d, 0, sizeof(d));
	fuzz_machine_walk(d, w);
	if (walk_result(w, &err) && !err.msg[0])
		abort(); /* a failure without its sentence */
	walk_free(w);
	w = walk_diff_with(data, len, f);
	fuzz_machine_walk(d, w);
	walk_result(w, &err);
	walk_free(w);
	fclose(f);
	free(text);
	return 0;
}
