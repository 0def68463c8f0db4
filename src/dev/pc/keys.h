/*
 * keys.h - the keys of a US keyboard with 104 keys: their names, what they
 * type, and the bytes that the keyboard sends for them (scan code set 2).
 *
 * Source: IBM PS/2 hardware interface reference, scan code tables.
 */
#ifndef HOSTEL_DEV_PC_KEYS_H
#define HOSTEL_DEV_PC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KEYS_CHORD_MAX 4 /* keys that are held at the same time */
#define KEYS_BYTES_MAX 8 /* of one press or release */

struct key;

/* By its name, "a", "f12", "ctrl"; NULL: there is none. */
const struct key *keys_find(const char *name, size_t len);

/*
 * Keys that are held together, in order: "ctrl-alt-delete".  How many, or
 * -EINVAL with a sentence.
 */
int keys_parse(const char *chord, const struct key *out[KEYS_CHORD_MAX],
	       struct err *err);
/* What types the character: one or two keys; 0: no key does. */
unsigned keys_of_char(char c, const struct key *out[KEYS_CHORD_MAX]);

/* The bytes of a press or a release; how many (Pause: none when released). */
size_t keys_bytes(const struct key *key, bool down,
		  uint8_t out[KEYS_BYTES_MAX]);

#endif
