/*
 * kernel.h - what a disk's own GRUB would boot, taken from the disk.
 *
 * Started without firmware a guest reaches its login seconds earlier.  So
 * that it boots what it would boot by itself, also after a kernel was
 * installed in it, the first entry of its grub.cfg is read at each start.
 */
#ifndef HOSTEL_IMAGE_KERNEL_H
#define HOSTEL_IMAGE_KERNEL_H

#include <limits.h>

#include "base/err.h"
#include "image/source.h"

struct kernel_entry {
	char linux_path[256];
	char initrd_path[256];
	char append[2048];
};

/*
 * The first menu entry of a grub.cfg.  Untrusted.  -ENOTSUP with a sentence
 * where another entry is the default or the words need GRUB to be
 * understood.
 */
int kernel_parse_grub(const char *text, struct kernel_entry *entry,
		      struct err *err);

/*
 * Looks through the disk's partitions for it, and writes DIR/kernel,
 * DIR/initrd and DIR/cmdline.  -errno with a sentence: boot by firmware.
 */
int kernel_extract(const struct source *disk, const char *dir,
		   struct kernel_entry *entry, struct err *err);

#endif
