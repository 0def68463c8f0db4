/*
 * disk.h - what the verbs of `hostel disk` share.
 */
#ifndef HOSTEL_CLI_DISK_H
#define HOSTEL_CLI_DISK_H

#include <jansson.h>

#include "block/block.h"
#include "cli/opts.h"

#define DISK_WORDS 3

/* Exit statuses beside 0 and 125 (one sentence on stderr): of check. */
#define DISK_STATUS_ERRORS 2
#define DISK_STATUS_LEAKS  3

/* A command line, read: words that are no options, and the options. */
struct disk_args {
	const char *word[DISK_WORDS];
	int words;
	json_t *opts;
};

/* 0, a status of its own, or -errno with the sentence. */
typedef int disk_fn(const struct disk_args *a, struct err *err);

struct disk_verb {
	const char *name;
	const char *usage; /* the words */
	int min, max;      /* how many */
	const struct opt *opts;
	disk_fn *fn;
	const char *help;
};

extern const struct disk_verb disk_create, disk_info, disk_resize;
extern const struct disk_verb disk_check, disk_repair;
extern const struct disk_verb disk_convert, disk_map, disk_snapshot;
extern const struct disk_verb disk_commit, disk_rebase;

/* NULL, false, `usual`: not given. */
const char *disk_string(const struct disk_args *a, const char *name);
bool disk_flag(const struct disk_args *a, const char *name);
int disk_size(const struct disk_args *a, const char *name, uint64_t usual,
	      uint64_t *out, struct err *err);
int disk_count(const struct disk_args *a, const char *name, unsigned max,
	       unsigned *out, struct err *err);

/* Prints and frees. */
int disk_print_json(json_t *j);

/* What create and convert have in common: a description of the new image. */
int disk_new_image(const struct disk_args *a, struct block_create *how,
		   struct err *err);
/*
 * Tells on stderr how far long work is, if that is a terminal, and has it
 * stopped by Ctrl-C (interrupt_hold()); a block_copy's and block_create's
 * progress.
 */
int disk_progress(void *opaque, uint64_t done, uint64_t total);

#define DISK_OPTS_NEW                                                          \
	{ "format", "FORMAT", OPT_STRING,                                      \
	  "raw, qcow2 (the default) or vmdk" },                                \
		{ "variant", "NAME", OPT_STRING,                               \
		  "qcow2: v2, v3; vmdk: sparse, stream, flat" },               \
		{ "backing", "FILE", OPT_STRING,                               \
		  "hold only what differs from this image" },                  \
		{ "backing-format", "FORMAT", OPT_STRING, "of that image" },   \
		{ "provision", "HOW", OPT_STRING,                              \
		  "thin (the default), metadata, thick-lazy or thick-eager" }, \
		{ "cluster-size", "SIZE", OPT_STRING, "of qcow2: 512 to 2M" }, \
		{ "refcount-bits", "N", OPT_COUNT, "of qcow2: 1 to 64" },      \
		{ "lazy-refcounts", NULL, OPT_FLAG, "mark a qcow2 image so" }, \
		{ "compression", "NAME", OPT_STRING,                           \
		  "what qcow2 compresses with: zlib or zstd" },                \
	{                                                                      \
		"force", NULL, OPT_FLAG, "replace a file that is there"        \
	}

#endif
