/*
 * config.h - the description of a guest, as `hostel run` sends it to
 * hostel-vm: one JSON object, each option of the command line by its name.
 */
#ifndef HOSTEL_MACHINE_CONFIG_H
#define HOSTEL_MACHINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "base/err.h"

#define VM_CPUS_MAX 64

enum vm_console { VM_CONSOLE_STDIO, VM_CONSOLE_NONE, VM_CONSOLE_FILE };

/* Strings are owned by the config; NULL: not given. */
struct vm_config {
	char *name;
	char *kernel;
	char *initrd;
	char *append;
	char *engine;    /* "auto", "translator", "interpreter", "kvm" */
	uint64_t memory; /* bytes */
	unsigned cpus;
	enum vm_console console;
	char *console_file;
	bool no_reboot;
	bool stats;
	double timeout;     /* seconds; 0: none */
	char *trace;        /* file */
	char *trace_filter; /* comma list: insn, event, port, mmio, ... */
	char *gdb;          /* [ADDR:]PORT */
	bool gdb_wait;      /* stop before the first instruction */
};

/* Defaults: 512M, 1 CPU, engine NULL (auto), console on stdio. */
void vm_config_init(struct vm_config *c);
void vm_config_free(struct vm_config *c);
/* A new object, owned by the caller; NULL: out of memory. */
json_t *vm_config_to_json(const struct vm_config *c);
/*
 * Untrusted: checks types, ranges, unknown keys; one sentence on failure, and
 * then *c holds the defaults.  "memory" may be a number of bytes or a string
 * for vm_parse_size(); "console" is "stdio", "none" or a file's name.
 */
int vm_config_from_json(struct vm_config *c, const json_t *j, struct err *err);
/* "512M", "1G", "262144K", "1073741824": bytes; -EINVAL with a sentence. */
int vm_parse_size(const char *s, uint64_t *out, struct err *err);

#endif
