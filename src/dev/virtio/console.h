/*
 * console.h - virtio-console: a terminal line for the guest (/dev/hvc0), on a
 * pair of descriptors of the host.
 *
 * Source: VIRTIO 1.2, 5.3.  One port (no MULTIPORT), so two queues: receive,
 * transmit.  Has a size (F_SIZE) and the emergency write register
 * (F_EMERG_WRITE).
 *
 * As with a serial port (dev/pc/uart.h) a vCPU never blocks on a descriptor,
 * and nothing is lost: what the reader does not take stays in the driver's
 * buffers, and bytes are read only while the driver takes them.
 *
 * Threads: as virtio.h says; virtio_console_resize() from any,
 * virtio_console_flush() once the loop has stopped.
 */
#ifndef HOSTEL_DEV_VIRTIO_CONSOLE_H
#define HOSTEL_DEV_VIRTIO_CONSOLE_H

#include "dev/virtio/virtio.h"

struct virtio_console_config {
	int in_fd;  /* -1: nothing is ever received */
	int out_fd; /* -1: what is sent is dropped */
	uint16_t columns, rows;
};

/* The descriptors stay the caller's: see line.h. */
int virtio_console_new(struct virtio_dev **out, struct dev_env *env,
		       const struct virtio_console_config *config,
		       struct err *err);
/* The terminal has another size now; the driver is told. */
void virtio_console_resize(struct virtio_dev *vd, uint16_t columns,
			   uint16_t rows);
/* Writes out what is still buffered, waiting at most timeout_ms in all. */
void virtio_console_flush(struct virtio_dev *vd, unsigned timeout_ms);

#endif
