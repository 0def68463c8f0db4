/*
 * keys.h - the SSH key pair of a person's store: its public half is in every
 * seed, so that `hostel ssh` needs no question asked.
 */
#ifndef HOSTEL_IMAGE_KEYS_H
#define HOSTEL_IMAGE_KEYS_H

#include <limits.h>
#include <stdint.h>

#include "base/err.h"

#define KEYS_TEXT_MAX 65536

/* Makes the pair at first; path: of the private key. */
int keys_pair(char path[PATH_MAX], struct err *err);
/* The public half, one line; the caller frees it. */
int keys_public(char **line, struct err *err);
/*
 * A person's --ssh-key: a file of public keys, or the key itself.  Each line
 * of the answer is one; the caller frees it.
 */
int keys_given(const char *arg, char **lines, struct err *err);

/* A text file of at most KEYS_TEXT_MAX bytes; the caller frees it. */
int keys_read_file(const char *path, char **text, struct err *err);

#endif
