/* monitor_devices.c - what is asked of a running guest's devices. */
#include "vmm/monitor_devices.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/virtio/balloon.h"
#include "machine/config_check.h"
#include "machine/config_list.h"
#include "machine/disks.h"
#include "machine/pc.h"

#define DEVICES_SLOTS   32
#define DEVICES_WAIT_MS 10000
#define DEVICES_STEP_MS 20
#define BALLOON_WAIT_MS 1000  /* for the guest's statistics */
#define BALLOON_FREE_MS 10000 /* for its free pages */

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

static int devices_reclaim(struct vm *vm, struct err *err)
{
	int rc;

	if (vm->asked_to_pause)
		return err_set(err, EBUSY, "the guest is paused");
	rc = virtio_balloon_reclaim(pc_balloon(vm), BALLOON_FREE_MS);
	if (rc == -EOPNOTSUPP)
		return err_set(err, EOPNOTSUPP,
			       "the guest's driver gives no hints of free "
			       "pages");
	return rc ? err_set(err, -rc, "the guest does not answer") : 0;
}

void devices_put_balloon(struct vm *vm, unsigned wait_ms, json_t *out)
{
	uint64_t ram = vm->config.memory;
	struct balloon_state s;

	virtio_balloon_get(pc_balloon(vm), wait_ms, &s);
	json_object_set_new(out, "memory",
			    json_integer((json_int_t)(ram - s.actual)));
	json_object_set_new(out, "target",
			    json_integer((json_int_t)(ram - s.target)));
	json_object_set_new(out, "maximum", json_integer((json_int_t)ram));
	json_object_set_new(out, "reported_free",
			    json_integer((json_int_t)s.reported));
	json_object_set_new(out, "reclaimed",
			    json_integer((json_int_t)s.hinted));
	json_object_set_new(
		out, "touched",
		json_integer((json_int_t)mem_touched_bytes(vm->env.mem)));
	if (s.has_stats)
		json_object_set_new(out, "guest", devices_stats(&s));
}

int devices_balloon(struct vm *vm, const json_t *args, int fd, json_t *reply,
		    struct err *err)
{
	json_t *memory = json_object_get(args, "memory");
	struct virtio_dev *vd = pc_balloon(vm);
	uint64_t ram = vm->config.memory, leave;
	int rc = 0;

	if (json_is_true(json_object_get(args, "reclaim")))
		rc = devices_reclaim(vm, err);
	if (rc)
		return rc;
	if (memory) {
		rc = devices_memory(memory, ram, &leave, err);
		if (rc)
			return rc;
		virtio_balloon_set(vd, ram - leave);
	}
	devices_put_balloon(vm, vm->asked_to_pause ? 0 : BALLOON_WAIT_MS,
			    reply);
	return 0;
}

/* --- Hot plug ------------------------------------------------------------- */

/* Only what the bus can take while the guest runs. */
static int devices_check(const struct vm_config *c, bool disk, struct err *err)
{
	if (disk && !disks_on_bus(&c->disks[c->disk_count - 1], "virtio"))
		return err_set(err, EINVAL,
			       "only virtio disks can be plugged into a guest "
			       "that runs");
	if (!disk && c->nets[c->net_count - 1].nic &&
	    strcmp(c->nets[c->net_count - 1].nic, "virtio"))
		return err_set(err, EINVAL,
			       "only virtio cards can be plugged into a guest "
			       "that runs");
	return disk ? config_check_disk(&c->disks[c->disk_count - 1], err)
		    : config_check_net(&c->nets[c->net_count - 1], err);
}

static int devices_add_locked(struct vm *vm, const char *key,
			      const json_t *what, struct err *err)
{
	struct vm_config *c = &vm->config;
	bool disk = !strcmp(key, "disk");
	unsigned *count = disk ? &c->disk_count : &c->net_count;
	unsigned before = *count;
	int slot = config_list_get(c, key, what, err);

	if (slot == 0)
		slot = devices_check(c, disk, err);
	if (slot == 0)
		slot = disk ? pc_plug_disk(vm, before, err)
			    : pc_plug_nic(vm, before, err);
	if (slot < 0 && *count > before)
		config_list_drop_last(c, key);
	return slot;
}

int devices_add(struct vm *vm, const json_t *args, int fd, json_t *reply,
		struct err *err)
{
	json_t *disk = json_object_get(args, "disk");
	json_t *net = json_object_get(args, "net");
	int slot;

	if (!disk == !net || json_is_array(disk) || json_is_array(net))
		return err_set(err, EINVAL, "name one disk or one network");
	pc_lock_devices(vm);
	slot = devices_add_locked(vm, disk ? "disk" : "net", disk ? disk : net,
				  err);
	pc_unlock_devices(vm);
	if (slot < 0)
		return slot;
	json_object_set_new(reply, "slot", json_integer(slot));
	return 0;
}

/* The disk of that file, whatever it is called; 0: none. */
static unsigned devices_slot_of(const struct vm_config *c, const char *file)
{
	struct stat wanted, st;

	if (stat(file, &wanted))
		return 0;
	for (unsigned i = 0; i < c->disk_count; i++)
		if (!stat(c->disks[i].file, &st) &&
		    st.st_ino == wanted.st_ino && st.st_dev == wanted.st_dev)
			return (unsigned)c->disks[i].slot;
	return 0;
}

static bool devices_is_gone(struct vm *vm, unsigned slot)
{
	pc_lock_devices(vm);
	bool gone = !pc_slot(vm, slot);
	pc_unlock_devices(vm);
	return gone;
}

static int devices_find(struct vm *vm, const json_t *args, unsigned *slot,
			struct err *err)
{
	const char *disk = json_string_value(json_object_get(args, "disk"));
	json_t *number = json_object_get(args, "slot");
	bool ok;

	pc_lock_devices(vm);
	*slot = disk ? devices_slot_of(&vm->config, disk)
		     : (unsigned)json_integer_value(number);
	ok = *slot < DEVICES_SLOTS && pc_can_eject(vm, *slot);
	pc_unlock_devices(vm);
	if (ok)
		return 0;
	if (disk)
		return err_set(err, ENOENT, "the guest has no disk %s", disk);
	return err_set(err, ENOENT,
		       "there is nothing in slot %u that can be taken out",
		       *slot);
}

int devices_remove(struct vm *vm, const json_t *args, int fd, json_t *reply,
		   struct err *err)
{
	unsigned slot;
	int rc = devices_find(vm, args, &slot, err);

	if (rc)
		return rc;
	if (vm->asked_to_pause)
		return err_set(err, EBUSY,
			       "the guest is paused; it must run to let a "
			       "device go");
	pc_ask_to_eject(vm, slot);
	for (unsigned ms = 0; ms < DEVICES_WAIT_MS; ms += DEVICES_STEP_MS) {
		if (devices_is_gone(vm, slot))
			return 0;
		usleep(DEVICES_STEP_MS * 1000);
	}
	return err_set(err, ETIMEDOUT,
		       "the guest does not let go of the device: it may be "
		       "in use, or the guest knows no ACPI hot plug");
}

static json_t *devices_entry(const struct vm_config *c, unsigned slot,
			     const char *name)
{
	json_t *j = json_pack("{s:i, s:s}", "slot", (int)slot, "device", name);

	for (unsigned i = 0; i < c->disk_count; i++)
		if (c->disks[i].slot == slot)
			json_object_set_new(j, "disk",
					    json_string(c->disks[i].file));
	for (unsigned i = 0; i < c->net_count; i++)
		if (c->nets[i].slot == slot)
			json_object_set_new(j, "net",
					    json_string(c->nets[i].kind));
	return j;
}

int devices_list(struct vm *vm, const json_t *args, int fd, json_t *reply,
		 struct err *err)
{
	json_t *list = json_array();

	pc_lock_devices(vm);
	for (unsigned slot = 0; slot < DEVICES_SLOTS; slot++) {
		const char *name = pc_slot(vm, slot);

		if (name)
			json_array_append_new(
				list, devices_entry(&vm->config, slot, name));
	}
	pc_unlock_devices(vm);
	json_object_set_new(reply, "devices", list);
	return 0;
}

/* --- Media ---------------------------------------------------------------- */

int devices_cdrom(struct vm *vm, const json_t *args, int fd, json_t *reply,
		  struct err *err)
{
	const char *file = json_string_value(json_object_get(args, "file"));

	if (!file)
		return err_set(err, EINVAL, "cdrom: name a file, or none");
	return pc_set_cdrom(vm, file, err);
}
