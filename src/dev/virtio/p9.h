/*
 * p9.h - virtio-9p: a directory of the host in the guest (9P2000.L).
 *
 *	mount -t 9p -o trans=virtio,version=9p2000.L TAG /mnt
 *
 * Source: VIRTIO 1.2, 5 (device type 9; configuration: length of the tag, tag);
 * Linux kernel, Documentation/filesystems/9p.rst; diod's protocol.md
 * (9P2000.L).
 *
 * The guest reaches nothing outside of the directory: names are single
 * components, opened from the directory they were walked to, never through a
 * symbolic link (the guest resolves those itself), and of what is there only
 * regular files and directories are ever opened.  No device node is made, and
 * no set-user-ID bit.  Owners are shown as they are; what the host refuses to
 * give away stays the host user's.
 *
 * Requests are worked at one after the other in a thread of the device's own.
 */
#ifndef HOSTEL_DEV_VIRTIO_P9_H
#define HOSTEL_DEV_VIRTIO_P9_H

#include "dev/virtio/virtio.h"

#define P9_TAG_MAX 64

/* dir: opened and checked here; tag: 1..P9_TAG_MAX printable characters. */
int virtio_9p_new(struct virtio_dev **out, struct dev_env *env, const char *dir,
		  const char *tag, bool readonly, struct err *err);

#endif
