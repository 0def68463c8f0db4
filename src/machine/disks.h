/*
 * disks.h - the disks of a guest's description, and what becomes of the guest
 * when the host has no room for what it writes.
 */
#ifndef HOSTEL_MACHINE_DISKS_H
#define HOSTEL_MACHINE_DISKS_H

#include <jansson.h>
#include <pthread.h>

#include "block/queue.h"
#include "dev/dev.h"
#include "machine/config.h"

struct vm;
struct virtio_dev;

/* Opens the stack that a --disk describes. */
int disks_open(struct block **out, const struct vm_disk *disk, struct err *err);
/* Is it for this kind of controller ("virtio", "mmio", "ahci")? */
bool disks_on_bus(const struct vm_disk *disk, const char *bus);

/*
 * A full host disk.  The guest is paused, a sentence on stderr says so, and
 * every few seconds, or when disks_resume() asks, the requests that were kept
 * are made again; when all went through, the guest goes on.
 */
struct disks;

struct disks_entry {
	struct disks *disks; /* NULL: free */
	char *path;          /* the configuration's */
	/*
	 * The device's: makes kept requests again, and returns how many are
	 * kept once more.  Set before the guest runs.
	 */
	unsigned (*retry)(void *device);
	/* May be NULL. */
	void (*stats)(void *device, struct block_queue_stats *out);
	void *device;
};

struct disks {
	pthread_mutex_t trying;   /* held while kept requests are made again */
	pthread_mutex_t lock;     /* below it */
	struct disks_entry *full; /* guarded by lock; NULL: none is */
	struct vm *vm;
	int timer_fd; /* the host's time: guest time stands still */
	struct disks_entry entry[VM_DISKS_MAX];
};

int disks_init(struct disks *d, struct vm *vm, struct err *err);
void disks_exit(struct disks *d);
/* NULL: too many.  Not while vCPUs run. */
struct disks_entry *disks_add(struct disks *d, const struct vm_disk *disk);
/* For the device: it keeps a request for want of room.  Any thread. */
struct dev_hook disks_full_hook(struct disks_entry *e);
/* The device is going away. */
void disks_remove(struct disks *d, void *device);
/*
 * Between the two nothing is tried again: for saving a guest.  The same
 * thread, not the loop's.
 */
void disks_hold(struct disks *d);
void disks_release(struct disks *d);
/* For --stats: an array, an object a disk.  With vCPUs stopped. */
json_t *disks_stats(struct disks *d);
/* The image that wants room on the host; NULL: none.  Any thread. */
const char *disks_full(struct disks *d);
/* Try again now.  False: no disk is full.  Any thread. */
bool disks_resume(struct disks *d);

#endif
