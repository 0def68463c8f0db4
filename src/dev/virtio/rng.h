/*
 * rng.h - virtio-rng: the host's random numbers for the guest.
 *
 * Source: VIRTIO 1.2, 5.4.  One queue; no configuration, no features.
 */
#ifndef HOSTEL_DEV_VIRTIO_RNG_H
#define HOSTEL_DEV_VIRTIO_RNG_H

#include "dev/virtio/virtio.h"

int virtio_rng_new(struct virtio_dev **out, struct dev_env *env,
		   struct err *err);

#endif
