/*
 * firmware.h - a guest that starts as a PC does: from a ROM at 4 GiB.
 *
 *	--firmware bios		SeaBIOS, a ROM
 *	--firmware uefi		OVMF: flash with code, below it flash with
 *				variables (NVRAM) that outlive the guest
 *	--firmware FILE		an image of either kind
 *
 *	4G - size .. 4G		the image (and the variables below it)
 *	e0000 .. 100000		its last 128 KiB, until the firmware
 *				switches RAM in there (PAM, pci/host.h)
 *	c0000 .. e0000		nothing, until then
 *
 * Where no --nvram is given, a named guest's variables are kept in
 * $XDG_STATE_HOME/hostel/NAME.nvram (~/.local/state; root:
 * /var/lib/hostel), others only in memory.
 *
 * While the machine is built or no vCPU runs, but for firmware_shadow().
 */
#ifndef HOSTEL_MACHINE_FIRMWARE_H
#define HOSTEL_MACHINE_FIRMWARE_H

#include "machine/boot/boot.h"
#include "machine/config.h"

struct vm;
struct firmware;
struct pflash;
struct dev_env;

/* Opens the files.  *out stays NULL for a guest that boots a kernel. */
int firmware_open(struct firmware **out, const struct vm_config *c,
		  struct err *err);
void firmware_free(struct firmware *f);

/*
 * Puts ROM or flash into memory; flash[]: code and variables as devices for
 * the board's list, or NULL.
 */
int firmware_map(struct firmware *f, const struct dev_env *env,
		 struct pflash *flash[2], struct err *err);

/* pci_host_config.pam: opaque is the struct firmware.  Any thread. */
void firmware_shadow(void *opaque, const uint8_t pam[7]);

/* firmware_smm.c: does an image need what the machine has not? */
bool firmware_needs_smm(const uint8_t *data, size_t size);

bool firmware_is_uefi(const struct firmware *f);

#endif
