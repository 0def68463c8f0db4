/*
 * firmware.c - ROM and flash of the machine; see firmware.h.
 *
 * An image is known by what it is given as, not by what is in it; a FILE is
 * UEFI if it has a firmware volume's signature near its start, which only
 * decides whether variables go with it.
 */
#include "machine/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/pc/pflash.h"
#include "machine/nvram.h"

#define FIRMWARE_TOP       0x100000000ull
#define FIRMWARE_MAX       (8u << 20) /* code and variables */
#define FIRMWARE_UNIT      4096u
#define FIRMWARE_MIN       0x10000u
#define FIRMWARE_ALIAS_GPA 0xe0000u
#define FIRMWARE_LOW_END   0x100000u

struct firmware {
	struct boot_blob code;
	struct nvram nvram;
	bool uefi;
	struct mem *mem;
	struct mem_window *rom;
	uint8_t pam[7]; /* as firmware_shadow() saw it last */
	bool shadowed;  /* it did */
};

static const char *const firmware_bios[] = {
	"/usr/share/seabios/bios-256k.bin",
	"/usr/share/qemu/bios-256k.bin",
	"/usr/share/seabios/bios.bin",
	NULL,
};

static const char *const firmware_uefi[] = {
	"/usr/share/OVMF/OVMF_CODE_4M.fd",
	"/usr/share/OVMF/OVMF_CODE.fd",
	"/usr/share/edk2/x64/OVMF_CODE.4m.fd",
	"/usr/share/edk2/ovmf/OVMF_CODE.fd",
	NULL,
};

/* --- Files ---------------------------------------------------------------- */

static const char *firmware_find(const char *const *list)
{
	while (*list && access(*list, R_OK))
		list++;
	return *list;
}

static const char *firmware_path(const char *what, struct err *err)
{
	const char *path;

	if (!strcmp(what, "bios")) {
		path = firmware_find(firmware_bios);
		if (!path)
			err_set(err, ENOENT,
				"no BIOS is installed: apt install seabios, "
				"or name an image with --firmware FILE");
		return path;
	}
	if (!strcmp(what, "uefi")) {
		path = firmware_find(firmware_uefi);
		if (!path)
			err_set(err, ENOENT,
				"no UEFI firmware is installed: apt install "
				"ovmf, or name an image with --firmware FILE");
		return path;
	}
	return what;
}

/* "_FVH" at 40: the header of a firmware volume (PI 1.7, volume 3, 3.2.1). */
static bool firmware_has_volume(const struct boot_blob *b)
{
	return b->size >= 44 && !memcmp(b->data + 40, "_FVH", 4);
}

static int firmware_check(const struct boot_blob *b, struct err *err)
{
	if (b->size % FIRMWARE_UNIT || b->size < FIRMWARE_MIN)
		return err_set(err, EINVAL,
			       "firmware %s is no ROM image: its %llu bytes "
			       "are not a multiple of 4096 from 64 KiB on",
			       b->name, (unsigned long long)b->size);
	if (b->size > FIRMWARE_MAX)
		return err_set(err, EINVAL,
			       "firmware %s is too large: %llu bytes, at most "
			       "8 MiB",
			       b->name, (unsigned long long)b->size);
	if (firmware_has_volume(b) && firmware_needs_smm(b->data, b->size))
		return err_set(err, EINVAL,
			       "firmware %s needs system management mode, "
			       "which this machine has not: take a build "
			       "without it, as OVMF_CODE_4M.fd is",
			       b->name);
	return 0;
}

/* bios, as nobody can say otherwise, for a guest with a disk alone. */
static const char *firmware_wanted(const struct vm_config *c)
{
	if (c->firmware)
		return c->firmware;
	return !c->kernel && (c->disk_count || c->cdrom) ? "bios" : NULL;
}

static int firmware_open_nvram(struct firmware *f, const struct vm_config *c,
			       struct err *err)
{
	uint64_t room = FIRMWARE_MAX - f->code.size;

	if (!f->uefi && c->nvram)
		return err_set(err, EINVAL,
			       "--nvram is for --firmware uefi: %s keeps no "
			       "variables",
			       f->code.name);
	if (!f->uefi)
		return 0;
	return nvram_open(&f->nvram, c, f->code.name, room, err);
}

int firmware_open(struct firmware **out, const struct vm_config *c,
		  struct err *err)
{
	const char *what = firmware_wanted(c), *path;
	struct firmware *f;
	int ret;

	*out = NULL;
	if (!what)
		return 0;
	if (c->kernel)
		return err_set(err, EINVAL,
			       "--kernel starts a kernel without firmware: "
			       "give --kernel or --firmware");
	path = firmware_path(what, err);
	if (!path)
		return -ENOENT;
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(err, ENOMEM, "out of memory");
	f->nvram.fd = -1;
	ret = boot_blob_open(&f->code, path, "firmware", err);
	if (ret == 0)
		ret = firmware_check(&f->code, err);
	if (ret == 0) {
		f->uefi = firmware_has_volume(&f->code);
		ret = firmware_open_nvram(f, c, err);
	}
	if (ret < 0)
		firmware_free(f);
	else
		*out = f;
	return ret;
}

void firmware_free(struct firmware *f)
{
	if (!f)
		return;
	boot_blob_close(&f->code);
	nvram_close(&f->nvram);
	free(f);
}

bool firmware_is_uefi(const struct firmware *f)
{
	return f->uefi;
}

/* --- Memory --------------------------------------------------------------- */

static int firmware_flash(struct firmware *f, const struct dev_env *env,
			  struct pflash *flash[2], struct err *err)
{
	struct nvram *n = &f->nvram;
	struct pflash_config code = {
		.base = FIRMWARE_TOP - f->code.size,
		.size = (uint32_t)f->code.size,
		.readonly = true,
		.fd = -1,
		.name = f->code.name,
	};
	struct pflash_config vars = {
		.base = code.base - n->size,
		.size = n->size,
		.instance = 1,
		.fd = n->fd,
		.name = n->name,
	};
	int ret = pflash_new(&flash[0], env, &code, f->code.data, err);

	if (ret < 0)
		return ret;
	f->rom = pflash_window(flash[0]);
	if (!n->size)
		return 0;
	ret = pflash_new(&flash[1], env, &vars, n->data, err);
	if (ret == 0)
		n->fd = -1; /* its owner now */
	return ret;
}

/* A mask ROM needs no device: writes end nowhere. */
static int firmware_rom(struct firmware *f, struct err *err)
{
	int rc = mem_window_new(f->mem, f->code.size, &f->rom);

	if (rc < 0)
		return err_set(err, -rc, "no room for the firmware");
	memcpy(mem_window_host(f->mem, f->rom), f->code.data, f->code.size);
	mem_window_set(f->mem, f->rom, FIRMWARE_TOP - f->code.size, MEM_ROM);
	return 0;
}

int firmware_map(struct firmware *f, const struct dev_env *env,
		 struct pflash *flash[2], struct err *err)
{
	static const uint8_t rom_everywhere[7];
	int ret;

	f->mem = env->mem;
	ret = f->uefi ? firmware_flash(f, env, flash, err)
		      : firmware_rom(f, err);
	boot_blob_idle(&f->code);
	if (ret == 0)
		firmware_shadow(f, rom_everywhere);
	return ret;
}

/* --- The range below 1 MiB ------------------------------------------------ */

#define FIRMWARE_PAM_READ  1 /* reads go to RAM */
#define FIRMWARE_PAM_WRITE 2

/* What one of PAM's four-bit fields makes of [gpa, gpa+size). */
static void firmware_set_range(struct firmware *f, uint64_t gpa, uint64_t size,
			       uint8_t bits)
{
	uint64_t low = FIRMWARE_LOW_END - mem_window_size(f->rom);

	if (bits & FIRMWARE_PAM_READ)
		mem_shadow(f->mem, gpa, size, NULL, 0,
			   bits & FIRMWARE_PAM_WRITE ? MEM_RW : MEM_ROM);
	else if (gpa >= FIRMWARE_ALIAS_GPA && (int64_t)(gpa - low) >= 0)
		mem_shadow(f->mem, gpa, size, f->rom, gpa - low, MEM_ROM);
	else
		mem_shadow(f->mem, gpa, size, NULL, 0, MEM_DEVICE);
}

/*
 * 316966, 5.1.15: PAM0 5..4 is f0000-fffff; PAM1 1..0 c0000-c3fff, 5..4
 * c4000-c7fff, and so on.  RAM that is written while ROM is read there
 * (bits 10) is not to be had: it stays ROM.
 */
void firmware_shadow(void *opaque, const uint8_t pam[7])
{
	struct firmware *f = opaque;

	for (unsigned i = 0; i < 7; i++) {
		uint8_t changed = f->shadowed ? pam[i] ^ f->pam[i] : 0xff;
		uint64_t gpa = 0xc0000 + (i - 1) * 0x8000ull;

		f->pam[i] = pam[i];
		if (!i) {
			if (changed & 0x30)
				firmware_set_range(f, 0xf0000, 0x10000,
						   pam[0] >> 4 & 3);
			continue;
		}
		if (changed & 0x03)
			firmware_set_range(f, gpa, 0x4000, pam[i] & 3);
		if (changed & 0x30)
			firmware_set_range(f, gpa + 0x4000, 0x4000,
					   pam[i] >> 4 & 3);
	}
	f->shadowed = true;
}
