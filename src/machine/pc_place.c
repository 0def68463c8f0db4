/*
 * pc_place.c - where the board's devices go: into slots of the PCI bus, or onto
 * no bus at all (virtio over MMIO).
 *
 * Those on no bus have a page of registers each, and share the four pins
 * behind PCI's: a pin is high while one of its devices wants it to be.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dev/pc/irqs.h"
#include "machine/acpi.h"
#include "machine/pc_impl.h"

int pc_take_slot(struct pc *pc, uint64_t wanted, struct err *err)
{
	unsigned slot = wanted ? (unsigned)wanted : PCI_HOTPLUG_FIRST;

	if (wanted && (wanted < PCI_HOTPLUG_FIRST || wanted >= PCI_HOTPLUG_END))
		return err_set(err, EINVAL,
			       "slot %llu is not one for this: take %u to %u",
			       (unsigned long long)wanted, PCI_HOTPLUG_FIRST,
			       PCI_HOTPLUG_END - 1);
	while (!wanted && slot < PCI_HOTPLUG_END && pc->slot[slot].dev)
		slot++;
	if (slot == PCI_HOTPLUG_END)
		return err_set(err, ENOSPC,
			       "more devices than the PCI bus has slots: "
			       "at most %u",
			       PCI_HOTPLUG_END - PCI_HOTPLUG_FIRST);
	if (pc->slot[slot].dev)
		return err_set(err, EEXIST, "slot %u is taken by %s", slot,
			       pc->slot[slot].dev->name);
	return (int)slot;
}

/* --- On the PCI bus ------------------------------------------------------- */

static int pc_put_virtio(struct pc *pc, struct virtio_dev *vd, uint64_t wanted,
			 struct err *err)
{
	int slot = pc_take_slot(pc, wanted, err);
	struct virtio_pci *v;
	int ret;

	if (slot < 0) {
		vd->ops->free(vd);
		return slot;
	}
	/* So that a state is found again whatever came and went. */
	vd->instance = (unsigned)slot;
	ret = virtio_pci_new(&v, pc->pci, (unsigned)slot, vd, err);
	if (ret < 0)
		return ret;
	pc->slot[slot].dev = DEV(v);
	pc->slot[slot].vd = vd;
	pc_add(&pc->plugged, v);
	return slot;
}

/* --- On no bus ------------------------------------------------------------ */

static_assert(ACPI_VIRTIO_GSI == 16 + 4, "PIRQ E is pin 20");
#define PC_WIRE_FIRST 4 /* PIRQ E */

static void pc_set_wire(void *opaque, unsigned n, bool level)
{
	struct pc *pc = opaque;
	struct irq wire =
		irqs_pirq(pc->irqs, PC_WIRE_FIRST + n % ACPI_VIRTIO_GSIS);
	uint32_t sharing = 0x11111111u << n % ACPI_VIRTIO_GSIS;

	static_assert(ACPI_VIRTIO_GSIS == 4, "every fourth device shares");
	pthread_mutex_lock(&pc->wires.lock);
	pc->wires.levels &= ~(1u << n);
	pc->wires.levels |= (uint32_t)level << n;
	irq_set(&wire, pc->wires.levels & sharing);
	pthread_mutex_unlock(&pc->wires.lock);
}

int pc_place_virtio(struct vm *vm, struct pc *pc, struct virtio_dev *vd,
		    struct err *err)
{
	unsigned n = pc->wires.count;
	struct irq wire = { .set = pc_set_wire, .opaque = pc, .n = n };
	struct virtio_mmio *v;
	int ret;

	if (n == ACPI_VIRTIO_MAX) {
		vd->ops->free(vd);
		return err_set(err, ENOSPC,
			       "at most %u virtio devices can be on no bus "
			       "(bus=mmio, --virtio mmio)",
			       ACPI_VIRTIO_MAX);
	}
	vd->instance = PCI_SLOTS + n;
	ret = virtio_mmio_new(&v, &vm->env,
			      ACPI_VIRTIO_BASE + n * ACPI_VIRTIO_STEP, wire, vd,
			      err);
	if (ret < 0)
		return ret;
	pc->wires.count++;
	pc_add(&pc->plugged, v);
	return 0;
}

uint64_t pc_placed_at(const struct pc *pc)
{
	return ACPI_VIRTIO_BASE + (pc->wires.count - 1) * ACPI_VIRTIO_STEP;
}

/* A guest looks for those on no bus only when it starts. */
static bool pc_on_no_bus(const struct vm *vm, const struct pc *pc)
{
	const char *where = vm->config.virtio;

	return where && !strcmp(where, "mmio") && !pc->built;
}

int pc_plug_virtio(struct vm *vm, struct pc *pc, struct virtio_dev *vd,
		   uint64_t wanted, struct err *err)
{
	return !wanted && pc_on_no_bus(vm, pc)
		       ? pc_place_virtio(vm, pc, vd, err)
		       : pc_put_virtio(pc, vd, wanted, err);
}

int pc_plug_usual(struct vm *vm, struct pc *pc, struct virtio_dev *vd,
		  unsigned slot, struct err *err)
{
	return pc_plug_virtio(vm, pc, vd, pc_on_no_bus(vm, pc) ? 0 : slot, err);
}
