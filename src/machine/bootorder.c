#include "machine/bootorder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dev/pc/fw_cfg.h"

static const char *const bootorder_names[BOOTORDER_KINDS] = {
	[BOOTORDER_DISK] = "disk",
	[BOOTORDER_CDROM] = "cdrom",
	[BOOTORDER_NET] = "net",
};

/* --- Devices -------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void
bootorder_add(struct bootorder *b, enum bootorder_kind kind, const char *fmt,
	      ...)
{
	va_list ap;

	if (b->count == BOOTORDER_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(b->entry[b->count].path, sizeof(b->entry[0].path), fmt, ap);
	va_end(ap);
	b->entry[b->count++].kind = kind;
}

void bootorder_virtio_disk(struct bootorder *b, unsigned slot)
{
	bootorder_add(b, BOOTORDER_DISK, "/pci@i0cf8/scsi@%x/disk@0,0", slot);
}

void bootorder_mmio_disk(struct bootorder *b, uint64_t gpa)
{
	bootorder_add(b, BOOTORDER_DISK, "/virtio-mmio@%016" PRIx64 "/disk@0,0",
		      gpa);
}

void bootorder_nic(struct bootorder *b, unsigned slot)
{
	bootorder_add(b, BOOTORDER_NET, "/pci@i0cf8/ethernet@%x/ethernet-phy@0",
		      slot);
}

void bootorder_ahci(struct bootorder *b, enum bootorder_kind kind,
		    unsigned slot, unsigned func, unsigned port)
{
	char at[16];

	if (func)
		snprintf(at, sizeof(at), "%x,%x", slot, func);
	else
		snprintf(at, sizeof(at), "%x", slot);
	bootorder_add(b, kind, "/pci@i0cf8/pci8086,2922@%s/drive@%x/disk@0", at,
		      port);
}

/* --- The order ------------------------------------------------------------ */

static bool bootorder_has(const enum bootorder_kind *order, unsigned count,
			  enum bootorder_kind kind)
{
	for (unsigned i = 0; i < count; i++)
		if (order[i] == kind)
			return true;
	return false;
}

static int bootorder_kind(const char *word, size_t len)
{
	for (int i = 0; i < BOOTORDER_KINDS; i++)
		if (len == strlen(bootorder_names[i]) &&
		    !memcmp(word, bootorder_names[i], len))
			return i;
	return -1;
}

int bootorder_parse(const char *boot, enum bootorder_kind *order, bool *menu,
		    struct err *err)
{
	const char *p = boot;
	unsigned count = 0;

	*menu = false;
	while (p) {
		size_t len = strcspn(p, ",");
		int kind = bootorder_kind(p, len);

		if (len == 4 && !memcmp(p, "menu", 4))
			*menu = true;
		else if (kind < 0 || bootorder_has(order, count, kind))
			return err_set(err, EINVAL,
				       "--boot takes disk, cdrom, net and "
				       "menu, each at most once, not \"%.*s\"",
				       (int)(len < 32 ? len : 32), p);
		else
			order[count++] = kind;
		p = p[len] ? p + len + 1 : NULL;
	}
	for (unsigned i = 0; i < BOOTORDER_KINDS; i++)
		if (!bootorder_has(order, count, i))
			order[count++] = i;
	return 0;
}

/* The file ends with a zero byte, as its readers expect. */
static int bootorder_add_file(const struct bootorder *b,
			      const enum bootorder_kind *order,
			      struct fw_cfg *f)
{
	char text[BOOTORDER_MAX * sizeof(b->entry[0].path)];
	size_t at = 0;

	for (unsigned k = 0; k < BOOTORDER_KINDS; k++)
		for (unsigned i = 0; i < b->count; i++)
			if (b->entry[i].kind == order[k])
				at += (size_t)snprintf(
					text + at, sizeof(text) - at, "%s%s",
					at ? "\n" : "", b->entry[i].path);
	if (!at)
		return 0;
	return fw_cfg_add_file(f, "bootorder", text, (uint32_t)at + 1);
}

int bootorder_finish(const struct bootorder *b, const char *boot,
		     struct fw_cfg *f, struct err *err)
{
	enum bootorder_kind order[BOOTORDER_KINDS];
	bool menu;
	int ret = bootorder_parse(boot, order, &menu, err);

	if (ret < 0)
		return ret;
	ret = bootorder_add_file(b, order, f);
	if (ret == 0 && menu)
		ret = fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, 1);
	return ret ? err_set(err, -ret, "fw_cfg cannot hold the boot order")
		   : 0;
}
