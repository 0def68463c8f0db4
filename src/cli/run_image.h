/*
 * run_image.h - `hostel run IMAGE` and `hostel start NAME`: guests that are
 * made of an image and stay (image/instance.h).
 */
#ifndef HOSTEL_CLI_RUN_IMAGE_H
#define HOSTEL_CLI_RUN_IMAGE_H

#include <stdbool.h>
#include <jansson.h>

/*
 * Runs one guest by options as the command line gives them; *reset: it ended
 * where it would have started again (no-reboot).  run.c's.
 */
int run_guest(const json_t *options, bool *reset);

/*
 * Gets the image (from the store, else built, else pulled), makes the guest
 * or takes the one that is there, runs it.  Returns the exit status.
 */
int run_image(const char *image, json_t *options);
/* Options that are given count before those the guest was made with. */
int run_instance(const char *name, json_t *options);

/* Is it an option that only these two know? */
bool run_image_option(const char *key);

#endif
