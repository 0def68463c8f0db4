/*
 * fuzz_cpu_state.c - a saved processor is untrusted: restore any bytes, and
 * if they are taken for a processor, run it for a while.
 */
#include <stdlib.h>
#include <string.h>

#include "base/walk.h"
#include "fuzz.h"
#include "x86_harness.h"

#define STEPS 50

static const unsigned modes[] = { 64, 32, 16 };

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct harness *h;
	struct walk *w;
	FILE *f;
	size_t n;

	if (i >= sizeof(modes) / sizeof(modes[0]))
		return 0;
	h = harness_new(modes[i]);
	f = fmemopen(buf, cap, "wb");
	w = walk_save_to(f);
	x86_walk(h->cpu, w);
	n = walk_result(w, NULL) ? 0 : (size_t)ftell(f);
	walk_free(w);
	fclose(f);
	harness_free(h);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct harness *h = harness_new(modes[len % 3]);
	struct walk *w = walk_restore_from(data, len);
	struct err err = { "" };

	x86_walk(h->cpu, w);
	if (walk_result(w, &err) && !err.msg[0])
		abort(); /* a failure without its sentence */
	walk_free(w);
	for (unsigned i = 0; i < STEPS; i++) {
		if (h->cpu->activity != X86_ACTIVE ||
		    interp_one(h->cpu) == VCPU_EXIT_SHUTDOWN)
			break;
		x86_take_pending(h->cpu);
	}
	harness_free(h);
	return 0;
}
