/*
 * vgafont.h - the letters of a PC's text screen.
 *
 * A video BIOS has them; a guest that starts without firmware gets those of
 * the one that is installed (Debian: seabios).
 */
#ifndef HOSTEL_MACHINE_VGAFONT_H
#define HOSTEL_MACHINE_VGAFONT_H

#include <stdint.h>

#define VGAFONT_BYTES 4096 /* 256 characters of 16 lines, 8 pixels each */

/* malloced; NULL: there is none, letters will not be seen. */
uint8_t *vgafont_find(void);

#endif
