/*
 * pc_hotplug.c - devices that come and go while the guest runs.
 *
 * Plugging in is done by who asks (the monitor's thread), with vCPUs stopped;
 * then the guest is told.  Taking out is up to the guest: it is asked, and
 * some time later a vCPU writes to the eject register.  That one cannot wait
 * for all vCPUs to stand still, so a timer in the loop does the rest.
 *
 * `plugging` guards the list of devices against the others who walk it:
 * saving, reset.
 */
#include "machine/pc_impl.h"

#include "dev/pc/acpi_pm.h"
#include "machine/config_list.h"

#define PC_EJECT_AGAIN_NS 10000000ull

static void pc_on_gpe(void *opaque, uint32_t value)
{
	struct pc *pc = opaque;

	acpi_pm_gpe(pc->pm, value);
}

/* A vCPU cannot wait for all to stand still: the loop does it. */
static void pc_on_eject(void *opaque, uint32_t slot)
{
	struct vm *vm = opaque;

	atomic_fetch_or(&vm->pc->eject, 1u << slot);
	timer_arm(&vm->pc->ejected, vclock_now(vm->env.clock));
}

static void pc_unlink(struct dev **list, struct dev *dev)
{
	while (*list && *list != dev)
		list = &(*list)->next;
	if (*list)
		*list = dev->next;
}

/* With vCPUs stopped and `plugging` held. */
static void pc_unplug(struct vm *vm, unsigned slot)
{
	struct pc *pc = vm->pc;
	struct dev *dev = pc->slot[slot].dev;
	struct virtio_dev *vd = pc->slot[slot].vd;

	/* A guest cannot throw out what belongs to the board. */
	if (!dev || !vd || !config_list_has_slot(&vm->config, slot))
		return;
	pc_unlink(&vm->devs, dev);
	pc->slot[slot].dev = NULL;
	pc->slot[slot].vd = NULL;
	virtio_pci_detach((struct virtio_pci *)dev);
	disks_remove(&pc->disks, vd);
	dev->free(dev);
	config_list_drop_slot(&vm->config, slot);
}

/* In the loop's thread; not while the guest is paused, as guest time is. */
static void pc_on_ejected(void *opaque)
{
	struct vm *vm = opaque;
	struct pc *pc = vm->pc;
	uint32_t slots;

	if (pthread_mutex_trylock(&pc->plugging)) {
		timer_arm(&pc->ejected,
			  vclock_now(vm->env.clock) + PC_EJECT_AGAIN_NS);
		return;
	}
	vm_pause(vm);
	slots = atomic_exchange(&pc->eject, 0);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		if (slots >> slot & 1)
			pc_unplug(vm, slot);
	vm_resume(vm);
	pthread_mutex_unlock(&pc->plugging);
}

int pc_hotplug(struct vm *vm, struct pc *pc, struct err *err)
{
	struct dev_hook gpe = { pc_on_gpe, pc };
	struct dev_hook eject = { pc_on_eject, vm };

	timer_init(&pc->ejected, vm->env.loop, pc_on_ejected, vm);
	return pci_hotplug_new(&pc->hotplug, &vm->env, gpe, eject, err);
}

static int pc_plug(struct vm *vm, unsigned index, bool disk, struct err *err)
{
	struct pc *pc = vm->pc;
	int slot;

	vm_pause(vm);
	/* At the end of vm->devs, which ends with what was plugged in. */
	slot = disk ? pc_disk(vm, pc, &vm->config.disks[index], err)
		    : pc_nic(vm, pc, index, err);
	vm_resume(vm);
	if (slot > 0)
		pci_hotplug_filled(pc->hotplug, (unsigned)slot);
	return slot;
}

int pc_plug_disk(struct vm *vm, unsigned index, struct err *err)
{
	return pc_plug(vm, index, true, err);
}

int pc_plug_nic(struct vm *vm, unsigned index, struct err *err)
{
	return pc_plug(vm, index, false, err);
}

const char *pc_slot(struct vm *vm, unsigned slot)
{
	const struct dev *dev =
		slot < PCI_SLOTS ? vm->pc->slot[slot].dev : NULL;

	return dev ? dev->name : NULL;
}

bool pc_can_eject(struct vm *vm, unsigned slot)
{
	const struct virtio_dev *vd =
		slot < PCI_SLOTS ? vm->pc->slot[slot].vd : NULL;

	return vd && config_list_has_slot(&vm->config, slot);
}

void pc_ask_to_eject(struct vm *vm, unsigned slot)
{
	pci_hotplug_ask(vm->pc->hotplug, slot);
}

void pc_lock_devices(struct vm *vm)
{
	pthread_mutex_lock(&vm->pc->plugging);
}

void pc_unlock_devices(struct vm *vm)
{
	pthread_mutex_unlock(&vm->pc->plugging);
}
