/*
 * image.h - getting an image into the store, for `hostel image` and
 * `hostel run IMAGE`.
 */
#ifndef HOSTEL_CLI_IMAGE_H
#define HOSTEL_CLI_IMAGE_H

#include <jansson.h>

#include "base/err.h"
#include "image/build.h"
#include "image/fetch.h"
#include "image/progress.h"
#include "image/store.h"

int image_build(struct store *s, const struct build *b, const char *name,
		struct progress *p, struct err *err);
int image_pull(struct store *s, const struct fetch *f, const char *name,
	       struct progress *p, struct err *err);
/* All that --ssh-key names, a key a line; the caller frees it. */
int image_join_keys(const json_t *list, char **out, struct err *err);

#endif
