/*
 * fuzz_virtio_blk.c - a disk whose driver writes what it likes into rings and
 * requests: nothing may crash or hang, and the image's file must keep its
 * length.
 *
 * The input is steps of 8 bytes: what, where, value.  Some steps make good
 * requests, so that odd ones find a device that works.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/virtio/blk.h"
#include "vdriver.h"

#define DISK_SIZE (256u << 10)
#define STEPS_MAX 64

struct step {
	uint8_t what, queue;
	uint16_t where;
	uint32_t value;
};

static char disk_path[64];

static void fuzz_fail(const char *why)
{
	fprintf(stderr, "fuzz_virtio_blk: %s\n", why);
	abort();
}

static void disk_remove(void)
{
	unlink(disk_path);
}

static void disk_make(void)
{
	int fd;

	if (!disk_path[0]) {
		snprintf(disk_path, sizeof(disk_path),
			 "/tmp/hostel-fuzz-blk.%d", getpid());
		atexit(disk_remove);
	}
	fd = open(disk_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, DISK_SIZE))
		fuzz_fail("no disk");
	close(fd);
}

static struct virtio_dev *disk_device(struct vdriver *d)
{
	struct block_open how = { .path = disk_path,
				  .format = "raw",
				  .no_lock = true,
				  .discard = true,
				  .cache = BLOCK_CACHE_UNSAFE };
	struct virtio_blk_config config = { .queues = VDRIVER_QUEUES };
	struct virtio_dev *vd = NULL;

	if (block_open(&config.disk, &how, NULL) ||
	    virtio_blk_new(&vd, &d->env, &config, NULL))
		fuzz_fail("no device");
	return vd;
}

/* A request as a driver makes it; bits of `value` bend it a little. */
static void step_request(struct vdriver *d, const struct step *s)
{
	static const uint32_t types[] = { 0, 1, 4, 8, 11, 13, 1, 0 };
	uint32_t type = types[s->value & 7];
	uint32_t len = s->value >> 3 & 0x3fff;
	uint64_t sector = s->value >> 20;
	uint32_t base = VDRIVER_DATA + (s->where & 0xff) * 0x1000u;
	struct vpiece p[] = { { base, 16, false },
			      { base + 64, len & ~0x1ffu, type == 0 },
			      { base + 32, 1, true } };

	if (s->where & 0x100)
		p[1].len = len;
	if (s->where & 0x200)
		p[1].gpa = s->value;
	if (s->where & 0x400)
		p[2].in = false;
	if (s->where & 0x800)
		p[0].len = s->value & 31;
	if (type == 11 || type == 13)
		p[1].len = 16;
	memcpy(d->ram + base, &type, 4);
	memcpy(d->ram + base + 8, &sector, 8);
	vdriver_add(d, s->queue % VDRIVER_QUEUES, p, 3);
}

static void step_do(struct vdriver *d, const struct step *s)
{
	unsigned queue = s->queue % VDRIVER_QUEUES;

	switch (s->what % 6) {
	case 0: /* anything in the rings */
		memcpy(d->ram + VDRIVER_RINGS * (queue + 1) + (s->where & ~3),
		       &s->value, 4);
		break;
	case 1: /* anything in the requests */
		memcpy(d->ram + VDRIVER_DATA + s->where, &s->value, 4);
		break;
	case 2:
		vdriver_notify(d, queue);
		break;
	case 3:
		d->vd->ops->write_config(d->vd, s->where % 60, &s->value, 1);
		break;
	default:
		step_request(d, s);
		if (s->what & 0x80)
			vdriver_notify(d, queue);
	}
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct step s[STEPS_MAX];
	unsigned n = 8 + i * 4;

	if (i >= 8 || sizeof(s[0]) * n > cap)
		return 0;
	for (unsigned k = 0; k < n; k++)
		s[k] = (struct step){ .what = k % 3 ? 4 : 0x84,
				      .queue = (uint8_t)(k & i),
				      .where = (uint16_t)(k * 0x33 & 0xff),
				      .value = k * 0x01105003u + i };
	memcpy(buf, s, sizeof(s[0]) * n);
	return sizeof(s[0]) * n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct vdriver d;
	struct stat st;

	disk_make();
	if (vdriver_ram(&d))
		fuzz_fail("no memory");
	vdriver_start(&d, disk_device(&d),
		      len & 8 ? VIRTIO_F_INDIRECT_DESC
			      : VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < STEPS_MAX && len >= sizeof(struct step); i++) {
		struct step s;

		memcpy(&s, data, sizeof(s));
		step_do(&d, &s);
		data += sizeof(s);
		len -= sizeof(s);
	}
	vdriver_stop(&d);
	if (stat(disk_path, &st) || st.st_size != DISK_SIZE)
		fuzz_fail("the disk has another size");
	return 0;
}
