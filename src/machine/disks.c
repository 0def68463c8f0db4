/* disks.c - see disks.h. */
#include "machine/disks.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "machine/vm.h"

#define DISKS_RETRY_S 2

/* --- Opening -------------------------------------------------------------- */

static const struct {
	const char *name;
	enum block_cache cache;
} disks_caches[] = {
	{ "writeback", BLOCK_CACHE_WRITEBACK },
	{ "none", BLOCK_CACHE_NONE },
	{ "writethrough", BLOCK_CACHE_WRITETHROUGH },
	{ "unsafe", BLOCK_CACHE_UNSAFE },
};

static enum block_cache disks_cache(const char *name)
{
	for (size_t i = 0; i < sizeof(disks_caches) / sizeof(disks_caches[0]);
	     i++)
		if (name && !strcmp(name, disks_caches[i].name))
			return disks_caches[i].cache;
	return BLOCK_CACHE_WRITEBACK;
}

int disks_open(struct block **out, const struct vm_disk *disk, struct err *err)
{
	struct block_open how = {
		.path = disk->file,
		.format = disk->format,
		.readonly = disk->readonly,
		.discard = disk->discard,
		.cache = disks_cache(disk->cache),
		.throttle = { .bps = disk->bps,
			      .iops = disk->iops,
			      .bps_burst = disk->bps_burst,
			      .iops_burst = disk->iops_burst },
		.fault = disk->fault,
	};
	int rc = block_open(out, &how, err);

	if (rc < 0)
		err_prefix(err, "--disk");
	return rc;
}

bool disks_on_bus(const struct vm_disk *disk, const char *bus)
{
	return !strcmp(disk->bus ? disk->bus : "virtio", bus);
}

/* --- Full ----------------------------------------------------------------- */

static void disks_arm(struct disks *d, unsigned seconds)
{
	struct itimerspec when = { .it_value.tv_sec = seconds };

	timerfd_settime(d->timer_fd, 0, &when, NULL);
}

const char *disks_full(struct disks *d)
{
	const char *path;

	pthread_mutex_lock(&d->lock);
	path = d->full ? d->full->path : NULL;
	pthread_mutex_unlock(&d->lock);
	return path;
}

/* In the loop's thread: a vCPU's own cannot wait for all to stop. */
static void disks_stop(void *opaque)
{
	struct disks *d = opaque;
	const char *name = d->vm->config.name;

	vm_pause(d->vm);
	log_error("%s: no space is left on the host's disk: the guest is "
		  "paused until there is; it tries again every %d seconds%s%s",
		  disks_full(d), DISKS_RETRY_S,
		  name ? ", or at once by: hostel resume " : "",
		  name ? name : "");
	disks_arm(d, DISKS_RETRY_S);
}

static void disks_on_full(void *opaque, uint32_t value)
{
	struct disks_entry *e = opaque;
	struct disks *d = e->disks;
	bool first;

	pthread_mutex_lock(&d->lock);
	first = !d->full;
	d->full = e;
	pthread_mutex_unlock(&d->lock);
	if (first && loop_call(d->vm->env.loop, disks_stop, d) < 0)
		disks_arm(d, DISKS_RETRY_S); /* no memory: without a pause */
}

/* True: something is kept still. */
static bool disks_retry_all(struct disks *d)
{
	unsigned kept = 0;

	if (pthread_mutex_trylock(&d->trying))
		return true; /* the guest is being saved */
	for (unsigned i = 0; i < VM_DISKS_MAX; i++)
		if (d->entry[i].retry)
			kept += d->entry[i].retry(d->entry[i].device);
	pthread_mutex_unlock(&d->trying);
	return kept;
}

/* In the loop's thread, while the guest is paused. */
static void disks_retry(void *opaque)
{
	struct disks *d = opaque;

	if (!disks_full(d))
		return;
	if (disks_retry_all(d)) {
		disks_arm(d, DISKS_RETRY_S);
		return;
	}
	pthread_mutex_lock(&d->lock);
	d->full = NULL;
	pthread_mutex_unlock(&d->lock);
	log_warn("there is space on the host's disk again: the guest goes on");
	vm_resume(d->vm);
}

static void disks_on_timer(void *opaque, int fd, uint32_t events)
{
	uint64_t ticks;

	if (read(fd, &ticks, sizeof(ticks)) == sizeof(ticks))
		disks_retry(opaque);
}

bool disks_resume(struct disks *d)
{
	bool full = disks_full(d);

	if (full)
		loop_call(d->vm->env.loop, disks_retry, d);
	return full;
}

struct dev_hook disks_full_hook(struct disks_entry *e)
{
	return (struct dev_hook){ disks_on_full, e };
}

void disks_remove(struct disks *d, void *device)
{
	pthread_mutex_lock(&d->trying);
	for (unsigned i = 0; i < VM_DISKS_MAX; i++)
		if (d->entry[i].device == device)
			d->entry[i] = (struct disks_entry){ .disks = NULL };
	pthread_mutex_unlock(&d->trying);
}

static json_t *disks_entry_stats(struct disks_entry *e)
{
	struct block_queue_stats s;

	e->stats(e->device, &s);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "file", e->path, "reads",
			 (json_int_t)s.ops[BLOCK_OP_READ], "read_bytes",
			 (json_int_t)s.read_bytes, "writes",
			 (json_int_t)s.ops[BLOCK_OP_WRITE], "written_bytes",
			 (json_int_t)s.written_bytes, "flushes",
			 (json_int_t)s.ops[BLOCK_OP_FLUSH], "at_once",
			 (json_int_t)s.at_once, "io_uring", (json_int_t)s.ring,
			 "threads", (json_int_t)s.pool);
}

json_t *disks_stats(struct disks *d)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < VM_DISKS_MAX; i++)
		if (d->entry[i].stats)
			json_array_append_new(array,
					      disks_entry_stats(&d->entry[i]));
	return array;
}

void disks_hold(struct disks *d)
{
	pthread_mutex_lock(&d->trying);
}

void disks_release(struct disks *d)
{
	pthread_mutex_unlock(&d->trying);
}

/* --- Life ----------------------------------------------------------------- */

struct disks_entry *disks_add(struct disks *d, const struct vm_disk *disk)
{
	struct disks_entry *e = d->entry;

	while (e < d->entry + VM_DISKS_MAX && e->disks)
		e++;
	if (e == d->entry + VM_DISKS_MAX)
		return NULL;
	e->disks = d;
	e->path = disk->file;
	return e;
}

int disks_init(struct disks *d, struct vm *vm, struct err *err)
{
	int rc;

	memset(d, 0, sizeof(*d));
	pthread_mutex_init(&d->trying, NULL);
	pthread_mutex_init(&d->lock, NULL);
	d->vm = vm;
	d->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (d->timer_fd < 0)
		return err_set(err, errno, "cannot have a timer: %s",
			       strerror(errno));
	rc = loop_add_fd(vm->env.loop, d->timer_fd, EPOLLIN, disks_on_timer, d);
	if (rc < 0)
		return err_set(err, -rc, "cannot watch a timer: %s",
			       strerror(-rc));
	return 0;
}

void disks_exit(struct disks *d)
{
	if (d->timer_fd >= 0) {
		loop_del_fd(d->vm->env.loop, d->timer_fd);
		close(d->timer_fd);
	}
	pthread_mutex_destroy(&d->lock);
	pthread_mutex_destroy(&d->trying);
}
