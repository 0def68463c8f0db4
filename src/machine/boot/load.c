/*
 * load.c - picks the loader for a kernel.
 */
#include <errno.h>
#include <stddef.h>

#include "machine/boot/boot.h"

typedef int load_fn(const struct boot_params *p, struct boot_entry *e,
		    struct err *err);

/* In this order: an ELF kernel may carry both a PVH note and Multiboot. */
static load_fn *const load_formats[] = {
	boot_load_bzimage,
	boot_load_pvh,
	boot_load_multiboot,
};

int boot_load(const struct boot_params *p, struct boot_entry *entry,
	      struct err *err)
{
	*entry = (struct boot_entry){ 0 };
	for (size_t i = 0; i < sizeof(load_formats) / sizeof(*load_formats);
	     i++) {
		int ret = load_formats[i](p, entry, err);

		if (ret != -ENOEXEC)
			return ret;
	}
	return err_set(err, ENOEXEC,
		       "kernel %s is of no known kind; Hostel boots a Linux "
		       "bzImage, an ELF kernel with a PVH note, and a "
		       "Multiboot kernel",
		       p->kernel.name);
}
