/* monitor_devices.c - what is asked of a running guest's devices. */
#include "vmm/monitor_devices.h"

#include <errno.h>

#include "dev/virtio/balloon.h"
#include "machine/pc.h"

#define BALLOON_WAIT_MS 1000 /* for the guest's statistics */

static json_t *devices_stats(const struct balloon_state *s)
{
	json_t *j = json_object();

	for (unsigned i = 0; i < BALLOON_STATS; i++)
		if (s->has[i])
			json_object_set_new(
				j, balloon_stat_names[i],
				json_integer((json_int_t)s->stat[i]));
	return j;
}

/* "memory": bytes that the guest may use, as a number or "256M". */
static int devices_memory(const json_t *j, uint64_t ram, uint64_t *out,
			  struct err *err)
{
	int rc = 0;

	if (json_is_string(j))
		rc = vm_parse_size(json_string_value(j), out, err);
	else if (json_is_integer(j) && json_integer_value(j) >= 0)
		*out = (uint64_t)json_integer_value(j);
	else
		rc = err_set(err, EINVAL, "balloon: memory is not a size");
	if (rc == 0 && (!*out || *out > ram))
		rc = err_set(err, EINVAL,
			     "a balloon leaves the guest at most the %lluM "
			     "that it has, and more than nothing",
			     (unsigned long long)ram >> 20);
	return rc;
}

int devices_balloon(struct vm *vm, const json_t *args, int fd, json_t *reply,
		    struct err *err)
{
	json_t *memory = json_object_get(args, "memory");
	struct virtio_dev *vd = pc_balloon(vm);
	uint64_t ram = vm->config.memory, leave;
	struct balloon_state s;

	if (memory) {
		int rc = devices_memory(memory, ram, &leave, err);

		if (rc)
			return rc;
		virtio_balloon_set(vd, ram - leave);
	}
	virtio_balloon_get(vd, vm->asked_to_pause ? 0 : BALLOON_WAIT_MS, &s);
	json_object_set_new(reply, "memory",
			    json_integer((json_int_t)(ram - s.actual)));
	json_object_set_new(reply, "target",
			    json_integer((json_int_t)(ram - s.target)));
	json_object_set_new(reply, "maximum", json_integer((json_int_t)ram));
	json_object_set_new(reply, "reported_free",
			    json_integer((json_int_t)s.reported));
	json_object_set_new(
		reply, "touched",
		json_integer((json_int_t)mem_touched_bytes(vm->env.mem)));
	if (s.has_stats)
		json_object_set_new(reply, "guest", devices_stats(&s));
	return 0;
}
