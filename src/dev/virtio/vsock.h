/*
 * vsock.h - virtio-vsock: stream sockets between programs of the guest and
 * programs of the host.
 *
 * Source: VIRTIO 1.2, 5.10.  Queues: receive, transmit, event.
 *
 * The host's end are Unix sockets; nothing of the host's kernel is needed.
 *
 *	host to guest	a program connects to PATH and writes
 *			"CONNECT <port>\n"; once the guest's listener has
 *			taken the connection it reads "OK <hostport>\n", and
 *			from then on it talks to the guest.  If nobody
 *			listens there the socket is closed.
 *	guest to host	a program that connects to CID 2, port P, reaches
 *			whoever listens on the Unix socket PATH_P.
 *
 * Saving: connections belong to this host's programs, so a restored guest is
 * told that they are gone (TRANSPORT_RESET, 5.10.6.7.1); its listeners stay.
 *
 * Threads: as virtio.h says; sockets are served by the I/O loop.
 */
#ifndef HOSTEL_DEV_VIRTIO_VSOCK_H
#define HOSTEL_DEV_VIRTIO_VSOCK_H

#include "dev/virtio/virtio.h"

#define VSOCK_CID_HOST    2u
#define VSOCK_CID_DEFAULT 3u

/* A guest's context ID; -EINVAL with a sentence. */
int virtio_vsock_check_cid(uint64_t cid, struct err *err);

/*
 * Listens on `path`.  A socket that a crashed guest has left there is
 * replaced; one where somebody listens is an error, as is any other file.
 */
int virtio_vsock_new(struct virtio_dev **out, struct dev_env *env, uint64_t cid,
		     const char *path, struct err *err);

#endif
