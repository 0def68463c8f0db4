/*
 * fw_cfg.h - how firmware asks the machine for tables and settings.
 *
 * Source: the interface's specification, docs/specs/fw_cfg in QEMU's tree
 * (its facts; firmware of many projects relies on it).
 * Ports 510 (selector, 16 bits), 511 (data), 514-51b (DMA address).
 *
 * Items are added while the machine is built; a guest can only read them.
 * Threads: ports from any vCPU.
 */
#ifndef HOSTEL_DEV_PC_FW_CFG_H
#define HOSTEL_DEV_PC_FW_CFG_H

#include "dev/dev.h"

struct fw_cfg;

#define FW_CFG_SIGNATURE    0x00
#define FW_CFG_ID           0x01
#define FW_CFG_RAM_SIZE     0x03
#define FW_CFG_NOGRAPHIC    0x04
#define FW_CFG_NB_CPUS      0x05
#define FW_CFG_KERNEL_ADDR  0x07
#define FW_CFG_KERNEL_SIZE  0x08
#define FW_CFG_INITRD_ADDR  0x0a
#define FW_CFG_INITRD_SIZE  0x0b
#define FW_CFG_BOOT_MENU    0x0e
#define FW_CFG_MAX_CPUS     0x0f
#define FW_CFG_KERNEL_DATA  0x11
#define FW_CFG_INITRD_DATA  0x12
#define FW_CFG_CMDLINE_SIZE 0x14
#define FW_CFG_CMDLINE_DATA 0x15
#define FW_CFG_SETUP_SIZE   0x17
#define FW_CFG_SETUP_DATA   0x18
#define FW_CFG_FILE_DIR     0x19
#define FW_CFG_E820         0x8003

int fw_cfg_new(struct fw_cfg **out, const struct dev_env *env, struct err *err);

/* Bytes are copied.  -EEXIST: the key is taken; -ENOSPC; -ENOMEM. */
int fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, uint32_t len);
int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value);
int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value);
int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value);
/* A named file ("etc/acpi/tables"): at most 55 characters, unique. */
int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data,
		    uint32_t len);
/*
 * A file whose len bytes are made anew each time the guest selects it: what
 * it tells depends on what the firmware did before.  Called in a vCPU's
 * thread, with the device's lock held; data holds what was made last.
 */
typedef void fw_cfg_make(void *opaque, uint8_t *data, uint32_t len);
int fw_cfg_add_made(struct fw_cfg *f, const char *name, uint32_t len,
		    fw_cfg_make *make, void *opaque);

#endif
