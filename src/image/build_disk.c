/*
 * build_disk.c - the disk of what was installed.
 *
 *	LBA 0		protective MBR, GRUB's boot code
 *	1..33		GPT
 *	1 MiB		14: BIOS boot partition, GRUB's core image
 *	4 MiB		15: EFI system partition, FAT, EFI/BOOT/BOOTX64.EFI
 *	36 MiB		1: the root file system, ext4, to the end: so that it
 *			can grow when the disk does
 *	last 33		GPT again
 *
 * The partitions have the numbers that Debian's cloud images give them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/build.h"
#include "image/bytes.h"
#include "image/gpt.h"
#include "image/home.h"
#include "image/proc.h"

#define BUILD_MIB       (1ull << 20)
#define BUILD_CORE_AT   (1 * BUILD_MIB)
#define BUILD_ESP_AT    (4 * BUILD_MIB)
#define BUILD_ROOT_AT   (36 * BUILD_MIB)
#define BUILD_BOOT_CODE 440 /* of the MBR, before the disk's signature */
#define BUILD_CORE_MAX  (BUILD_ESP_AT - BUILD_CORE_AT)

/* Of an MBR: four entries. */
#define BUILD_PART_TABLE     446
#define BUILD_PART_TABLE_LEN 64

/*
 * Fields of GRUB's images (grub-core/boot/i386/pc/boot.S and diskboot.S):
 * where the boot sector finds the core image, what it does with a drive
 * number that the BIOS gets wrong, and where the core image's first sector
 * finds the rest.
 */
#define BUILD_GRUB_CORE_SECTOR 0x5c
#define BUILD_GRUB_DRIVE_CHECK 0x66
#define BUILD_GRUB_BLOCKLIST   (GPT_SECTOR - 12)
#define BUILD_X86_NOP          0x90

static int build_sh(const char *script, const char *const args[3],
		    struct err *err)
{
	const char *argv[] = { "fakeroot", "sh",    "-euc",  script, "build",
			       args[0],    args[1], args[2], NULL };
	struct proc proc = { argv, -1, NULL, NULL };

	if (!geteuid())
		proc.argv++;
	return proc_run(&proc, err);
}

/* --- Partitions ----------------------------------------------------------- */

static void build_part(struct gpt_part *p, unsigned number, enum gpt_type type,
		       uint64_t from, uint64_t to, const char *name)
{
	memset(p, 0, sizeof(*p));
	p->number = number;
	gpt_set_type(p, type);
	if (getrandom(p->uuid, sizeof(p->uuid), 0) < 0)
		memset(p->uuid, (int)number, sizeof(p->uuid));
	/* RFC 4122, 4.4: random. */
	p->uuid[7] = (uint8_t)((p->uuid[7] & 0x0f) | 0x40);
	p->uuid[8] = (uint8_t)((p->uuid[8] & 0x3f) | 0x80);
	p->first = from / GPT_SECTOR;
	p->last = to / GPT_SECTOR - 1;
	snprintf(p->name, sizeof(p->name), "%s", name);
}

static uint64_t build_root_end(uint64_t size)
{
	return (size - (uint64_t)GPT_TABLE_SECTORS * GPT_SECTOR) / BUILD_MIB *
	       BUILD_MIB;
}

static int build_make_file(const char *out, uint64_t size, struct err *err)
{
	struct gpt_part parts[3];
	struct gpt_part disk; /* for its random UUID alone */
	int rc, fd = open(out, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)size)) {
		rc = err_set(err, errno, "cannot make %s: %s", out,
			     strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	build_part(&parts[0], 14, GPT_TYPE_BIOS_BOOT, BUILD_CORE_AT,
		   BUILD_ESP_AT, "bios");
	build_part(&parts[1], 15, GPT_TYPE_ESP, BUILD_ESP_AT, BUILD_ROOT_AT,
		   "esp");
	build_part(&parts[2], 1, GPT_TYPE_ROOT_X86_64, BUILD_ROOT_AT,
		   build_root_end(size), "root");
	build_part(&disk, 16, GPT_TYPE_LINUX, 0, GPT_SECTOR, "");
	rc = gpt_write(fd, size, disk.uuid, parts, 3, err);
	close(fd);
	return rc;
}

/* --- The root file system ------------------------------------------------- */

/* $1 workplace, $2 disk, $3 UUID; sizes are in the text. */
static int build_root(const struct build_parts *p, const char *out,
		      struct err *err)
{
	char script[1024];
	const char *const args[] = { p->dir, out, p->root_uuid };

	snprintf(script, sizeof(script),
		 "mkdir \"$1/root\"\n"
		 "tar -C \"$1/root\" --numeric-owner -xpf \"$1/root.tar\"\n"
		 "rm \"$1/root.tar\"\n"
		 "mv \"$1/root/boot/hostel\" \"$1/grub\"\n"
		 "mke2fs -q -F -t ext4 -L root -U \"$3\" -m 1 "
		 "-O ^metadata_csum_seed,^orphan_file "
		 "-E offset=%llu,lazy_itable_init=0,lazy_journal_init=0 "
		 "-d \"$1/root\" \"$2\" %lluk",
		 BUILD_ROOT_AT,
		 (unsigned long long)(build_root_end(p->size) - BUILD_ROOT_AT) /
			 1024);
	if (!build_sh(script, args, err))
		return 0;
	if (strstr(err->msg, "allocate block") || strstr(err->msg, "No space"))
		return err_set(err, ENOSPC,
			       "the system does not fit; give the image a "
			       "larger --size");
	return -EIO;
}

/* --- What firmware starts ------------------------------------------------- */

static int build_esp(const struct build_parts *p, const char *out,
		     struct err *err)
{
	char script[512];
	const char *const args[] = { p->dir, out, "" };

	snprintf(script, sizeof(script),
		 "export MTOOLS_SKIP_CHECK=1\n"
		 "i=\"$2@@%llu\"\n"
		 "mformat -i \"$i\" -T %llu -h 255 -s 63 -v ESP ::\n"
		 "mmd -i \"$i\" ::/EFI ::/EFI/BOOT\n"
		 "mcopy -i \"$i\" \"$1/grub/bootx64.efi\" "
		 "::/EFI/BOOT/BOOTX64.EFI",
		 BUILD_ESP_AT, (BUILD_ROOT_AT - BUILD_ESP_AT) / GPT_SECTOR);
	return build_sh(script, args, err);
}

static int build_load(const struct build_parts *p, const char *name,
		      uint8_t *buf, size_t max, size_t *len, struct err *err)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd, rc = home_path(path, err, "%s/grub/%s", p->dir, name);

	if (rc)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, max);
	if (fd >= 0)
		close(fd);
	*len = (size_t)n;
	if (n < GPT_SECTOR || (size_t)n == max)
		return err_set(err, EIO, "cannot read GRUB's %s", name);
	return 0;
}

/*
 * mformat leaves what looks like a partition table in the ESP's first sector,
 * and grub-probe complains of it at each update-grub.
 */
static int build_clean_esp(int fd)
{
	static const uint8_t none[BUILD_PART_TABLE_LEN];
	off_t at = (off_t)BUILD_ESP_AT + BUILD_PART_TABLE;

	return pwrite(fd, none, sizeof(none), at) == sizeof(none) ? 0 : -EIO;
}

static int build_grub_write(int fd, uint8_t *boot, uint8_t *core, size_t len)
{
	const uint64_t sector = BUILD_CORE_AT / GPT_SECTOR;

	bytes_put64(boot + BUILD_GRUB_CORE_SECTOR, sector);
	memset(boot + BUILD_GRUB_DRIVE_CHECK, BUILD_X86_NOP, 2);
	bytes_put64(core + BUILD_GRUB_BLOCKLIST, sector + 1);
	if (pwrite(fd, boot, BUILD_BOOT_CODE, 0) != BUILD_BOOT_CODE ||
	    pwrite(fd, core, len, (off_t)BUILD_CORE_AT) != (ssize_t)len)
		return -EIO;
	return 0;
}

static int build_grub(const struct build_parts *p, const char *out,
		      struct err *err)
{
	uint8_t boot[2 * GPT_SECTOR];
	uint8_t *core = malloc(BUILD_CORE_MAX);
	size_t boot_len, core_len;
	int fd = -1, rc = core ? 0 : err_set(err, ENOMEM, "out of memory");

	if (!rc)
		rc = build_load(p, "boot.img", boot, sizeof(boot), &boot_len,
				err);
	if (!rc)
		rc = build_load(p, "core.img", core, BUILD_CORE_MAX, &core_len,
				err);
	if (!rc) {
		fd = open(out, O_RDWR | O_CLOEXEC);
		rc = fd < 0 ? -errno
			    : build_grub_write(fd, boot, core, core_len);
		if (!rc)
			rc = build_clean_esp(fd);
		if (rc)
			err_set(err, -rc, "cannot write %s: %s", out,
				strerror(-rc));
	}
	if (fd >= 0)
		close(fd);
	free(core);
	return rc;
}

int build_disk(const struct build_parts *p, const char *out,
	       struct progress *progress, struct err *err)
{
	int rc;

	progress_step(progress, "Making the disk");
	rc = build_make_file(out, p->size, err);
	if (!rc)
		rc = build_root(p, out, err);
	if (!rc)
		rc = build_esp(p, out, err);
	if (!rc)
		rc = build_grub(p, out, err);
	return rc;
}
