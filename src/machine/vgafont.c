/* vgafont.c - see vgafont.h. */
#include "machine/vgafont.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VGAFONT_ROM_MAX 65536

static const char *const vgafont_roms[] = {
	"/usr/share/seabios/vgabios-stdvga.bin",
	"/usr/share/qemu/vgabios-stdvga.bin",
	"/usr/share/seabios/vgabios.bin",
};

static size_t vgafont_read(const char *path, uint8_t rom[VGAFONT_ROM_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	size_t size = 0;

	if (fd < 0)
		return 0;
	while (size < VGAFONT_ROM_MAX &&
	       (n = read(fd, rom + size, VGAFONT_ROM_MAX - size)) > 0)
		size += (size_t)n;
	close(fd);
	return size;
}

/* Code page 437 begins with an empty character and a smiling face. */
static const uint8_t *vgafont_in(const uint8_t *rom, size_t size)
{
	static const uint8_t start[32] = {
		[18] = 0x7e, 0x81, 0xa5, 0x81, 0x81,
		[23] = 0xbd, 0x99, 0x81, 0x81, 0x7e,
	};
	const uint8_t *at = memmem(rom, size, start, sizeof(start));

	return at && size - (size_t)(at - rom) >= VGAFONT_BYTES ? at : NULL;
}

uint8_t *vgafont_find(void)
{
	uint8_t *rom = malloc(VGAFONT_ROM_MAX), *font = NULL;
	size_t count = sizeof(vgafont_roms) / sizeof(vgafont_roms[0]);

	for (size_t i = 0; rom && !font && i < count; i++) {
		size_t size = vgafont_read(vgafont_roms[i], rom);
		const uint8_t *at = vgafont_in(rom, size);

		font = at ? malloc(VGAFONT_BYTES) : NULL;
		if (font)
			memcpy(font, at, VGAFONT_BYTES);
	}
	free(rom);
	return font;
}
