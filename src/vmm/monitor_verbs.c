/*
 * monitor_verbs.c - what a running guest can be asked: one table, at the end.
 *
 * "pause" counts once, however often it is asked for: the monitor holds one
 * of the machine's nested pauses, or none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/pc.h"
#include "machine/screenshot.h"
#include "state/state.h"
#include "vmm/monitor.h"
#include "vmm/monitor_devices.h"
#include "vmm/monitor_keys.h"

static int verbs_status(struct vm *vm, const json_t *args, int fd,
			json_t *reply, struct err *err)
{
	const char *full = pc_full_disk(vm);
	const char *state = vm->asked_to_pause ? "paused"
			    : full             ? "no space"
					       : "running";
	double seconds = (clock_mono_ns() - vm->start_mono_ns) / 1e9;

	if (vm->config.name)
		json_object_set_new(reply, "name",
				    json_string(vm->config.name));
	json_object_set_new(reply, "pid", json_integer(getpid()));
	json_object_set_new(reply, "state", json_string(state));
	if (full)
		json_object_set_new(reply, "full", json_string(full));
	json_object_set_new(reply, "engine",
			    json_string(vm->xm.engine_ops->name));
	json_object_set_new(reply, "cpus", json_integer(vm->xm.cpu_count));
	json_object_set_new(reply, "memory",
			    json_integer((json_int_t)vm->config.memory));
	json_object_set_new(
		reply, "memory_touched",
		json_integer((json_int_t)mem_touched_bytes(vm->env.mem)));
	json_object_set_new(reply, "wall_seconds", json_real(seconds));
	return 0;
}

static int verbs_stop(struct vm *vm, const json_t *args, int fd, json_t *reply,
		      struct err *err)
{
	json_t *status = json_object_get(args, "status");

	vm_end(vm, VM_END_STOPPED, (int)json_integer_value(status) & 0xff);
	return 0;
}

static int verbs_power(struct vm *vm, const json_t *args, int fd, json_t *reply,
		       struct err *err)
{
	vm_power_button(vm);
	return 0;
}

static int verbs_reset(struct vm *vm, const json_t *args, int fd, json_t *reply,
		       struct err *err)
{
	vm_request_reset(vm);
	return 0;
}

static int verbs_pause(struct vm *vm, const json_t *args, int fd, json_t *reply,
		       struct err *err)
{
	if (!vm->asked_to_pause)
		vm_pause(vm);
	vm->asked_to_pause = true;
	return 0;
}

static int verbs_resume(struct vm *vm, const json_t *args, int fd,
			json_t *reply, struct err *err)
{
	if (vm->asked_to_pause)
		vm_resume(vm);
	vm->asked_to_pause = false;
	pc_resume_disks(vm);
	return 0;
}

/* The vCPUs' counters are their own: they are stopped to read them. */
static int verbs_stats(struct vm *vm, const json_t *args, int fd, json_t *reply,
		       struct err *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	json_t *stats, *balloon;

	if (!f)
		return err_set(err, ENOMEM, "out of memory");
	vm_pause(vm);
	vm_print_stats(vm, f);
	vm_resume(vm);
	fclose(f);
	stats = json_loadb(text, len, 0, NULL);
	free(text);
	if (!stats)
		return err_set(err, ENOMEM, "out of memory");
	balloon = json_object();
	devices_put_balloon(vm, 0, balloon);
	json_object_set_new(stats, "balloon", balloon);
	json_object_set_new(reply, "stats", stats);
	return 0;
}

static int verbs_save(struct vm *vm, const json_t *args, int fd, json_t *reply,
		      struct err *err)
{
	if (fd < 0)
		return err_set(err, EINVAL, "save: no file came with it");
	return state_save(vm, fd, json_is_true(json_object_get(args, "go-on")),
			  err);
}

static int verbs_screenshot(struct vm *vm, const json_t *args, int fd,
			    json_t *reply, struct err *err)
{
	if (fd < 0)
		return err_set(err, EINVAL, "screenshot: no file came with it");
	if (json_is_true(json_object_get(args, "text")))
		return screenshot_text(vm, fd, err);
	return screenshot_png(vm, fd, err);
}

const struct monitor_verb monitor_verbs[] = {
	{ "status", verbs_status },
	{ "stop", verbs_stop },
	{ "power", verbs_power },
	{ "reset", verbs_reset },
	{ "pause", verbs_pause },
	{ "resume", verbs_resume },
	{ "stats", verbs_stats },
	{ "save", verbs_save },
	{ "screenshot", verbs_screenshot },
	{ "balloon", devices_balloon },
	{ "device-add", devices_add },
	{ "device-remove", devices_remove },
	{ "device-list", devices_list },
	{ "cdrom", devices_cdrom },
	{ "key", monitor_keys },
	{ NULL, NULL },
};
