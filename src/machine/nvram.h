/*
 * nvram.h - the file in which a UEFI firmware keeps its variables.
 *
 * A copy of the template that comes with the firmware (OVMF_VARS*.fd beside
 * OVMF_CODE*.fd) is made when the file is not there; afterwards it is the
 * guest's own.  Locked while the guest runs.
 */
#ifndef HOSTEL_MACHINE_NVRAM_H
#define HOSTEL_MACHINE_NVRAM_H

#include "machine/config.h"

struct nvram {
	uint8_t *data; /* as the guest starts */
	uint32_t size; /* 0: the firmware has no variables beside it */
	int fd;        /* -1: changes are not kept */
	char *name;    /* for messages */
};

/*
 * code: the firmware's file, by which the template is found; room: the most
 * that fits.
 */
int nvram_open(struct nvram *n, const struct vm_config *c, const char *code,
	       uint64_t room, struct err *err);
void nvram_close(struct nvram *n);

#endif
