/*
 * monitor_dir.h - the directory of a named guest: making, finding, removing
 * it.  For monitor*.c; monitor.h says what is in it.
 *
 * Who holds the lock (an open file description's, which ends with the
 * process) owns the directory.
 */
#ifndef HOSTEL_VMM_MONITOR_DIR_H
#define HOSTEL_VMM_MONITOR_DIR_H

#include <sys/un.h>

#include "base/err.h"

struct monitor_dir {
	int dir;  /* the directory */
	int lock; /* the locked file */
	char path[256];
};

/* Makes it or takes it over; -EBUSY: such a guest runs. */
int monitor_dir_own(struct monitor_dir *d, const char *name, struct err *err);
/* Removes what is in it, the directory and the lock. */
void monitor_dir_drop(struct monitor_dir *d);
/* Writes a small file in it. */
int monitor_dir_write(struct monitor_dir *d, const char *file, const char *text,
		      struct err *err);
/* The socket's address, through the directory: a path may be too long. */
void monitor_dir_address(int dir, struct sockaddr_un *out);
/* The directory that holds all of them. */
int monitor_dir_base(char *out, size_t size, struct err *err);

#endif
