/* fuzz_boot.h - one run of a loader on bytes that nobody vouches for. */
#ifndef HOSTEL_TESTS_FUZZ_BOOT_H
#define HOSTEL_TESTS_FUZZ_BOOT_H

#include "boot_images.h"
#include "fuzz.h"
#include "machine/boot/boot.h"

typedef int fuzz_boot_fn(const struct boot_params *p, struct boot_entry *e,
			 struct err *err);

/* Aborts if the loader refuses without a sentence or enters outside RAM. */
void fuzz_boot_run(fuzz_boot_fn *load, const uint8_t *data, size_t len);

/* Copies an image into a seed's buffer and frees it. */
size_t fuzz_boot_seed(struct image img, uint8_t *buf, size_t cap);

#endif
