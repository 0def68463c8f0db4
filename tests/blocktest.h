/*
 * blocktest.h - what the tests of disks share: a directory of their own, and
 * short ways to make and open an image.
 */
#ifndef HOSTEL_TESTS_BLOCKTEST_H
#define HOSTEL_TESTS_BLOCKTEST_H

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"

#define BT_MIB (1ull << 20)

/* As cmocka's setup and teardown: an empty directory, then gone. */
int bt_setup(void **state);
int bt_teardown(void **state);

/* The name of a file in that directory; four at a time. */
const char *bt_path(const char *name);

struct block *bt_open(const struct block_open *how);
/* It must fail with -code; returns the sentence, valid until the next call. */
const char *bt_open_fails(const struct block_open *how, int code);
void bt_create(const char *name, const char *format, uint64_t size);

/* Reads [offset, offset+length) and asserts that every byte is `byte`. */
void bt_assert_bytes(struct block *b, uint64_t offset, size_t length,
		     uint8_t byte);
/* Writes `length` times `byte`; returns what block_write() did. */
int bt_fill(struct block *b, uint64_t offset, size_t length, uint8_t byte);

/* Runs a shell command; its exit status. */
int bt_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
