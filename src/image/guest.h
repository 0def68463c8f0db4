/*
 * guest.h - the files of src/image/guest/, which go into the images that are
 * built; made by embed.py.
 */
#ifndef HOSTEL_IMAGE_GUEST_H
#define HOSTEL_IMAGE_GUEST_H

struct guest_file {
	const char *name; /* NULL: the end */
	const char *text;
};

extern const struct guest_file guest_files[];

#endif
