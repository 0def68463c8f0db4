/*
 * fuzz.h - what a fuzz harness offers, and what fuzz_main.c makes of it.
 *
 * A harness is one file with LLVMFuzzerTestOneInput(), as libFuzzer wants it
 * (build it there with clang -fsanitize=fuzzer), and optionally fuzz_seed().
 * Linked with fuzz_main.c it becomes a program of its own:
 *
 *	fuzz_x FILE...			replays these inputs
 *	fuzz_x [-seed=N] [-runs=N] [-first=N] [-max_len=N]
 *					mutates the harness's seeds
 *
 * Same seed, same inputs.  When an input crashes, the run's number is printed:
 * -first=N -runs=1 with the same seed repeats it alone.
 */
#ifndef HOSTEL_TESTS_FUZZ_H
#define HOSTEL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/*
 * Writes well-formed input number i to buf and returns its length; 0: there
 * are no more.  Without it, inputs are random bytes.
 */
size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap) __attribute__((weak));

#endif
