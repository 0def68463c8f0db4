/*
 * build.h - makes a bootable disk image of a Debian, without root.
 *
 * mmdebstrap installs the packages (as root in a chroot; else in a user
 * namespace; else under fakechroot), mke2fs -d makes the root file system of
 * them, mtools the EFI system partition; the partition table and the boot
 * sectors are our own.  The image boots by BIOS, by UEFI, and directly.
 */
#ifndef HOSTEL_IMAGE_BUILD_H
#define HOSTEL_IMAGE_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/progress.h"

struct build {
	const char *release;  /* "debian:12" */
	uint64_t size;        /* of the disk; 0: BUILD_SIZE */
	const char *packages; /* comma-separated, beside what is needed */
	const char *hostname; /* NULL: "debian" */
	const char *user;     /* NULL: "debian"; "root": none but root */
	const char *password; /* NULL: BUILD_PASSWORD */
	const char *ssh_keys; /* text for authorized_keys; NULL: none */
	const char *kernel;   /* NULL or "cloud"; "generic": with all drivers */
	const char *append;   /* more for the kernel's command line */
	const char *mirror;   /* URL; NULL: where the host has Debian from */
};

#define BUILD_SIZE     (2ull << 30)
#define BUILD_SIZE_MIN (1ull << 30)
#define BUILD_PASSWORD "hostel"
#define BUILD_USER     "debian"

/* Is it a release that we can build? */
bool build_knows(const char *release);
/* One sentence if the host lacks a program: which packages to install. */
int build_check_host(struct err *err);
/* Makes the file `out` (raw) in the empty directory `dir`, its workplace. */
int build_image(const struct build *b, const char *dir, const char *out,
		struct progress *progress, struct err *err);

/* --- build_disk.c --------------------------------------------------------- */

/* Where build.c leaves what the disk is made of, in the workplace. */
struct build_parts {
	const char *dir;       /* holds root.tar */
	const char *root_uuid; /* of the file system */
	uint64_t size;
};

int build_disk(const struct build_parts *parts, const char *out,
	       struct progress *progress, struct err *err);

#endif
