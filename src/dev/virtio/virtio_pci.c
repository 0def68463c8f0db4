/*
 * virtio_pci.c - virtio over PCI, modern only (VIRTIO 1.2, 4.1).
 *
 * Theory of operation
 *
 * The device's registers lie in BAR 0, each structure in a page of its own;
 * capabilities in configuration space say where:
 *
 *	0000  common configuration	(4.1.4.3)
 *	1000  ISR status		(4.1.4.5)
 *	2000  the device's configuration (4.1.4.6)
 *	3000  notifications: 4 bytes a queue (4.1.4.4)
 *
 * BAR 1 holds MSI-X.  A fifth capability is a window through which firmware
 * without BARs mapped reaches BAR 0 (4.1.4.9).
 *
 * A notification, the one register that is written often, goes from the BAR
 * straight to the device, without a lock.  The common registers are a table;
 * accesses to them hold the transport's lock.
 *
 * Interrupts.  With MSI-X on, a queue's vector is raised; else INTx follows
 * the ISR byte, which the driver's reading clears.  `isr_lock` makes the byte
 * and the wire one; it is a leaf but for the INTx wires.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dev/pci/msix.h"
#include "dev/virtio/transport.h"

#define VPCI_BAR_SIZE 0x4000
#define VPCI_ISR      0x1000
#define VPCI_DEVICE   0x2000
#define VPCI_NOTIFY   0x3000
#define VPCI_PAGE     0x1000
#define VPCI_MULTIPLE 4

#define VPCI_CAP_ID      0x09
#define VPCI_CAP_COMMON  1
#define VPCI_CAP_NOTIFY  2
#define VPCI_CAP_ISR     3
#define VPCI_CAP_DEVICE  4
#define VPCI_CAP_PCI_CFG 5
#define VPCI_CAP_LEN     16 /* without what some have behind it */

struct virtio_pci {
	struct virtio_transport t;
	struct pci_dev pd;
	struct msix *msix;
	unsigned window; /* the PCI configuration access capability */
	_Atomic uint16_t config_vector;
	_Atomic uint16_t vector[VIRTIO_QUEUES_MAX];
	pthread_mutex_t isr_lock; /* guards: */
	uint8_t isr;
	uint64_t doorbells; /* BAR 0 when they were placed; guarded by t.lock */
};

#define VPCI_NO_DOORBELLS UINT64_MAX

/* --- Doorbells ------------------------------------------------------------ */

static void vpci_doorbells(struct virtio_pci *v, uint64_t bar, bool there)
{
	struct virtio_dev *vd = v->t.vd;

	for (unsigned i = 0; i < vd->queue_count; i++)
		mem_doorbell(vd->env->mem,
			     bar + VPCI_NOTIFY + i * VPCI_MULTIPLE,
			     vd->ops->notify_fd(vd, i), there);
}

/*
 * The driver has started or stopped the device, or moved it.  Where they are
 * not placed (yet), vpci_write() hears the notification.  With t.lock held.
 */
static void vpci_place_doorbells(struct virtio_pci *v)
{
	uint64_t bar = atomic_load(&v->pd.bar[0].addr);

	if (!v->t.vd->ops->notify_fd)
		return;
	if (!(v->t.status & VIRTIO_STATUS_DRIVER_OK))
		bar = VPCI_NO_DOORBELLS;
	if (bar == v->doorbells)
		return;
	if (v->doorbells != VPCI_NO_DOORBELLS)
		vpci_doorbells(v, v->doorbells, false);
	v->doorbells = bar;
	if (bar != VPCI_NO_DOORBELLS)
		vpci_doorbells(v, bar, true);
}

/* --- Interrupts ----------------------------------------------------------- */

static void vpci_raise(struct virtio_pci *v, unsigned vector, uint8_t isr)
{
	if (msix_enabled(v->msix)) {
		if (vector != VIRTIO_NO_VECTOR)
			msix_raise(v->msix, vector);
		return;
	}
	pthread_mutex_lock(&v->isr_lock);
	v->isr |= isr;
	pci_set_intx(&v->pd, true);
	pthread_mutex_unlock(&v->isr_lock);
}

static void vpci_interrupt(struct virtio_transport *t, unsigned queue)
{
	struct virtio_pci *v = (struct virtio_pci *)t;

	vpci_raise(v, atomic_load(&v->vector[queue]), VIRTIO_ISR_QUEUE);
}

static void vpci_config_interrupt(struct virtio_transport *t)
{
	struct virtio_pci *v = (struct virtio_pci *)t;

	vpci_raise(v, atomic_load(&v->config_vector), VIRTIO_ISR_CONFIG);
}

static uint8_t vpci_take_isr(struct virtio_pci *v)
{
	pthread_mutex_lock(&v->isr_lock);
	uint8_t isr = v->isr;
	v->isr = 0;
	pci_set_intx(&v->pd, false);
	pthread_mutex_unlock(&v->isr_lock);
	return isr;
}

/* --- Common configuration: a table of registers --------------------------- */

enum vpci_reg {
	VPCI_FEATURE_SEL,
	VPCI_FEATURE,
	VPCI_DRIVER_FEATURE_SEL,
	VPCI_DRIVER_FEATURE,
	VPCI_CONFIG_VECTOR,
	VPCI_NUM_QUEUES,
	VPCI_STATUS,
	VPCI_GENERATION,
	VPCI_QUEUE_SEL,
	VPCI_QUEUE_SIZE,
	VPCI_QUEUE_VECTOR,
	VPCI_QUEUE_ENABLE,
	VPCI_QUEUE_NOTIFY_OFF,
	VPCI_QUEUE_DESC,
	VPCI_QUEUE_DRIVER,
	VPCI_QUEUE_DEVICE,
	VPCI_REGS
};

static const struct {
	uint8_t offset, size;
} vpci_regs[] = {
	[VPCI_FEATURE_SEL] = { 0x00, 4 },
	[VPCI_FEATURE] = { 0x04, 4 },
	[VPCI_DRIVER_FEATURE_SEL] = { 0x08, 4 },
	[VPCI_DRIVER_FEATURE] = { 0x0c, 4 },
	[VPCI_CONFIG_VECTOR] = { 0x10, 2 },
	[VPCI_NUM_QUEUES] = { 0x12, 2 },
	[VPCI_STATUS] = { 0x14, 1 },
	[VPCI_GENERATION] = { 0x15, 1 },
	[VPCI_QUEUE_SEL] = { 0x16, 2 },
	[VPCI_QUEUE_SIZE] = { 0x18, 2 },
	[VPCI_QUEUE_VECTOR] = { 0x1a, 2 },
	[VPCI_QUEUE_ENABLE] = { 0x1c, 2 },
	[VPCI_QUEUE_NOTIFY_OFF] = { 0x1e, 2 },
	[VPCI_QUEUE_DESC] = { 0x20, 8 },
	[VPCI_QUEUE_DRIVER] = { 0x28, 8 },
	[VPCI_QUEUE_DEVICE] = { 0x30, 8 },
};
static_assert(sizeof(vpci_regs) / sizeof(vpci_regs[0]) == VPCI_REGS,
	      "one entry a register");
#define VPCI_COMMON_SIZE 0x38

/* The register that the access lies in; VPCI_REGS: none. */
static enum vpci_reg vpci_find(uint64_t offset, unsigned size)
{
	unsigned i;

	for (i = 0; i < VPCI_REGS; i++)
		if (offset >= vpci_regs[i].offset &&
		    offset + size <= vpci_regs[i].offset + vpci_regs[i].size)
			break;
	return i;
}

static uint64_t vpci_get_queue(struct virtio_pci *v, enum vpci_reg reg)
{
	struct virtio_transport *t = &v->t;
	struct virtq *q = virtio_selected(t);

	if (!q) /* 4.1.4.3.1: size 0 says that there is no such queue */
		return reg == VPCI_QUEUE_VECTOR ? VIRTIO_NO_VECTOR : 0;
	switch (reg) {
	case VPCI_QUEUE_SIZE:
		return q->size;
	case VPCI_QUEUE_VECTOR:
		return atomic_load(&v->vector[t->queue_sel]);
	case VPCI_QUEUE_ENABLE:
		return q->ready;
	case VPCI_QUEUE_NOTIFY_OFF:
		return t->queue_sel;
	default:
		return virtio_get_area(t, reg - VPCI_QUEUE_DESC);
	}
}

static uint64_t vpci_get(struct virtio_pci *v, enum vpci_reg reg)
{
	struct virtio_transport *t = &v->t;

	switch (reg) {
	case VPCI_FEATURE_SEL:
		return t->feature_sel;
	case VPCI_FEATURE:
		return virtio_get_feature(t);
	case VPCI_DRIVER_FEATURE_SEL:
		return t->driver_feature_sel;
	case VPCI_DRIVER_FEATURE:
		return t->driver_feature_sel < 2
			       ? (uint32_t)(t->driver_features >>
					    t->driver_feature_sel * 32)
			       : 0;
	case VPCI_CONFIG_VECTOR:
		return atomic_load(&v->config_vector);
	case VPCI_NUM_QUEUES:
		return t->vd->queue_count;
	case VPCI_STATUS:
		return atomic_load(&t->status);
	case VPCI_GENERATION:
		return atomic_load(&t->generation) & 0xff;
	case VPCI_QUEUE_SEL:
		return t->queue_sel;
	default:
		return vpci_get_queue(v, reg);
	}
}

/*
 * 4.1.3.1 wants each register read by its own width; a driver that reads
 * several at once gets them side by side.
 */
static uint64_t vpci_common_read(struct virtio_pci *v, uint64_t offset,
				 unsigned size)
{
	uint64_t value = 0;

	pthread_mutex_lock(&v->t.lock);
	for (unsigned i = 0; i < size; i++) {
		enum vpci_reg reg = vpci_find(offset + i, 1);
		unsigned at;

		if (reg == VPCI_REGS)
			break;
		at = (unsigned)(offset + i) - vpci_regs[reg].offset;
		value |= (vpci_get(v, reg) >> at * 8 & 0xff) << i * 8;
	}
	pthread_mutex_unlock(&v->t.lock);
	return value;
}

/* 4.1.5.1.2: a vector that is not there reads back as none. */
static void vpci_set_vector(struct virtio_pci *v, _Atomic uint16_t *vector,
			    uint64_t value)
{
	bool there = value <= v->t.vd->queue_count;

	atomic_store(vector, there ? (uint16_t)value : VIRTIO_NO_VECTOR);
}

static void vpci_no_vectors(struct virtio_pci *v)
{
	atomic_store(&v->config_vector, VIRTIO_NO_VECTOR);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		atomic_store(&v->vector[i], VIRTIO_NO_VECTOR);
}

static void vpci_set_status(struct virtio_pci *v, uint8_t value)
{
	virtio_set_status(&v->t, value);
	vpci_place_doorbells(v);
	if (value)
		return;
	vpci_no_vectors(v);
	vpci_take_isr(v);
}

static void vpci_set_area(struct virtio_pci *v, enum vpci_reg reg,
			  unsigned shift, unsigned size, uint64_t value)
{
	enum virtq_area area = reg - VPCI_QUEUE_DESC;

	virtio_set_area(&v->t, area, shift, (uint32_t)value);
	if (size == 8)
		virtio_set_area(&v->t, area, 32, (uint32_t)(value >> 32));
}

static void vpci_set(struct virtio_pci *v, enum vpci_reg reg, uint64_t value)
{
	struct virtio_transport *t = &v->t;

	switch (reg) {
	case VPCI_FEATURE_SEL:
		t->feature_sel = (uint32_t)value;
		break;
	case VPCI_DRIVER_FEATURE_SEL:
		t->driver_feature_sel = (uint32_t)value;
		break;
	case VPCI_DRIVER_FEATURE:
		virtio_set_feature(t, (uint32_t)value);
		break;
	case VPCI_CONFIG_VECTOR:
		vpci_set_vector(v, &v->config_vector, value);
		break;
	case VPCI_STATUS:
		vpci_set_status(v, (uint8_t)value);
		break;
	case VPCI_QUEUE_SEL:
		t->queue_sel = (uint16_t)value;
		break;
	case VPCI_QUEUE_SIZE:
		virtio_set_queue_size(t, (uint32_t)value);
		break;
	case VPCI_QUEUE_VECTOR:
		if (virtio_selected(t))
			vpci_set_vector(v, &v->vector[t->queue_sel], value);
		break;
	case VPCI_QUEUE_ENABLE:
		if (value == 1)
			virtio_queue_enable(t);
		break;
	default:
		break;
	}
}

/* 4.1.3.1: each register whole, a 64-bit one also by halves. */
static void vpci_common_write(struct virtio_pci *v, uint64_t offset,
			      unsigned size, uint64_t value)
{
	enum vpci_reg reg = vpci_find(offset, size);
	unsigned at;

	if (reg == VPCI_REGS)
		return;
	at = (unsigned)offset - vpci_regs[reg].offset;
	pthread_mutex_lock(&v->t.lock);
	if (vpci_regs[reg].size == 8 && size >= 4 && at % 4 == 0)
		vpci_set_area(v, reg, at * 8, size, value);
	else if (size == vpci_regs[reg].size)
		vpci_set(v, reg, value);
	pthread_mutex_unlock(&v->t.lock);
}

/* --- BAR 0 ---------------------------------------------------------------- */

static uint64_t vpci_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_pci *v = opaque;

	if (offset < VPCI_ISR)
		return vpci_common_read(v, offset, size);
	if (offset == VPCI_ISR)
		return vpci_take_isr(v);
	if (offset >= VPCI_DEVICE && offset < VPCI_NOTIFY)
		return virtio_config_read(&v->t, offset - VPCI_DEVICE, size);
	return 0;
}

static void vpci_write(void *opaque, uint64_t offset, unsigned size,
		       uint64_t value)
{
	struct virtio_pci *v = opaque;

	if (offset >= VPCI_NOTIFY)
		virtio_notify(&v->t,
			      (unsigned)(offset - VPCI_NOTIFY) / VPCI_MULTIPLE);
	else if (offset >= VPCI_DEVICE)
		virtio_config_write(&v->t, offset - VPCI_DEVICE, size, value);
	else if (offset < VPCI_ISR)
		vpci_common_write(v, offset, size, value);
}

static const struct io_ops vpci_ops = {
	.read = vpci_read,
	.write = vpci_write,
};

/* --- Configuration space -------------------------------------------------- */

/*
 * 4.1.4.9: the guest writes BAR, offset and length (1, 2 or 4) into the
 * capability and reads or writes the four bytes behind it.
 */
static bool vpci_window(struct virtio_pci *v, unsigned offset, unsigned size,
			uint32_t *at, uint32_t *length)
{
	const uint8_t *cap = v->pd.config + v->window;
	unsigned data = v->window + VPCI_CAP_LEN;

	if (offset >= data + 4 || offset + size <= data || size > 4)
		return false;
	*at = (uint32_t)pci_get(cap + 8, 4);
	*length = (uint32_t)pci_get(cap + 12, 4);
	return cap[4] == 0 && (*length == 1 || *length == 2 || *length == 4) &&
	       *at % *length == 0 && *at < VPCI_BAR_SIZE;
}

static void vpci_config_reading(struct pci_dev *pd, unsigned offset,
				unsigned size)
{
	struct virtio_pci *v =
		(struct virtio_pci *)((uint8_t *)pd -
				      offsetof(struct virtio_pci, pd));
	uint32_t at, length;

	if (vpci_window(v, offset, size, &at, &length))
		pci_put(pd->config + v->window + VPCI_CAP_LEN,
			vpci_read(v, at, length), length);
}

static void vpci_config_written(struct pci_dev *pd, unsigned offset,
				unsigned size)
{
	struct virtio_pci *v =
		(struct virtio_pci *)((uint8_t *)pd -
				      offsetof(struct virtio_pci, pd));
	uint32_t at, length;

	msix_config_written(v->msix);
	pthread_mutex_lock(&v->t.lock);
	vpci_place_doorbells(v);
	pthread_mutex_unlock(&v->t.lock);
	if (vpci_window(v, offset, size, &at, &length))
		vpci_write(
			v, at, length,
			pci_get(pd->config + v->window + VPCI_CAP_LEN, length));
}

/* 4.1.4: cap_len, cfg_type, bar, id, padding, offset, length. */
static int vpci_add_cap(struct pci_dev *pd, uint8_t type, uint32_t offset,
			uint32_t length, unsigned extra)
{
	int at = pci_add_cap(pd, VPCI_CAP_ID, VPCI_CAP_LEN + extra);

	if (at < 0)
		return at;
	pd->config[at + 2] = VPCI_CAP_LEN + extra;
	pd->config[at + 3] = type;
	pci_put(pd->config + at + 8, offset, 4);
	pci_put(pd->config + at + 12, length, 4);
	return at;
}

/* All of them fit behind the header, with room for MSI-X. */
static void vpci_add_caps(struct virtio_pci *v)
{
	struct pci_dev *pd = &v->pd;
	unsigned device = v->t.vd->config_size ? v->t.vd->config_size : 4;
	int at;

	vpci_add_cap(pd, VPCI_CAP_COMMON, 0, VPCI_COMMON_SIZE, 0);
	vpci_add_cap(pd, VPCI_CAP_ISR, VPCI_ISR, 1, 0);
	vpci_add_cap(pd, VPCI_CAP_DEVICE, VPCI_DEVICE, device, 0);
	at = vpci_add_cap(pd, VPCI_CAP_NOTIFY, VPCI_NOTIFY,
			  VIRTIO_QUEUES_MAX * VPCI_MULTIPLE, 4);
	pci_put(pd->config + at + VPCI_CAP_LEN, VPCI_MULTIPLE, 4);
	at = vpci_add_cap(pd, VPCI_CAP_PCI_CFG, 0, 0, 4);
	v->window = (unsigned)at;
	pd->wmask[at + 4] = 0xff;
	pci_put(pd->wmask + at + 8, 0xffffffff, 4);
	pci_put(pd->wmask + at + 12, 0xffffffff, 4);
	pci_put(pd->wmask + at + VPCI_CAP_LEN, 0xffffffff, 4);
}

/* --- Life ----------------------------------------------------------------- */

static void vpci_reset(struct dev *dev)
{
	struct virtio_pci *v = (struct virtio_pci *)dev;

	pthread_mutex_lock(&v->t.lock);
	vpci_set_status(v, 0);
	pthread_mutex_unlock(&v->t.lock);
	msix_reset(v->msix);
}

static void vpci_drain(struct dev *dev)
{
	virtio_transport_drain((struct virtio_transport *)dev);
}

static void vpci_walk(struct dev *dev, struct walk *w)
{
	struct virtio_pci *v = (struct virtio_pci *)dev;
	uint16_t vector[VIRTIO_QUEUES_MAX + 1];
	char name[] = "vector00";

	msix_walk(v->msix, w, v->pd.slot);
	if (walk_section(w, "virtio-pci", v->pd.slot, 1)) {
		vector[0] = atomic_load(&v->config_vector);
		walk_u16(w, "config_vector", &vector[0]);
		for (unsigned i = 0; i < v->t.vd->queue_count; i++) {
			vector[i + 1] = atomic_load(&v->vector[i]);
			name[6] = (char)('0' + i / 10);
			name[7] = (char)('0' + i % 10);
			walk_u16(w, name, &vector[i + 1]);
		}
		walk_u8(w, "isr", &v->isr);
		walk_end(w);
		vpci_set_vector(v, &v->config_vector, vector[0]);
		for (unsigned i = 0; i < v->t.vd->queue_count; i++)
			vpci_set_vector(v, &v->vector[i], vector[i + 1]);
	}
	virtio_transport_walk(&v->t, w, v->pd.slot);
	pthread_mutex_lock(&v->t.lock);
	vpci_place_doorbells(v);
	pthread_mutex_unlock(&v->t.lock);
}

static void vpci_free(struct dev *dev)
{
	struct virtio_pci *v = (struct virtio_pci *)dev;

	if (v->doorbells != VPCI_NO_DOORBELLS)
		vpci_doorbells(v, v->doorbells, false);
	virtio_transport_free(&v->t);
	msix_free(v->msix);
	pthread_mutex_destroy(&v->isr_lock);
	free(v);
}

/* 4.1.2: the device ID is 1040h and the type; revision 1, INTA. */
static int vpci_init(struct virtio_pci *v, struct err *err)
{
	struct virtio_dev *vd = v->t.vd;
	const struct pci_id id = {
		.vendor = 0x1af4,
		.device = 0x1040 + vd->id,
		.subsys_vendor = 0x1af4,
		.subsys = 0x1100,
		.class_code = vd->class_code,
		.revision = 1,
		.int_pin = 1,
	};

	pci_init(&v->pd, vd->name, &id);
	v->pd.config_written = vpci_config_written;
	v->pd.config_reading = vpci_config_reading;
	pci_add_bar(&v->pd, 0, PCI_BAR_MEM32, false, VPCI_BAR_SIZE, &vpci_ops,
		    v);
	vpci_add_caps(v);
	return msix_init(&v->msix, &v->pd, vd->queue_count + 1, 1, err);
}

/*
 * A guest may eject what its driver still uses: reset waits for what is in
 * flight, and after it nothing raises an interrupt on a bus that is gone.
 */
void virtio_pci_detach(struct virtio_pci *v)
{
	vpci_reset(&v->t.dev);
	pci_detach(&v->pd);
}

int virtio_pci_new(struct virtio_pci **out, struct pci_host *host,
		   unsigned slot, struct virtio_dev *vd, struct err *err)
{
	struct virtio_pci *v = calloc(1, sizeof(*v));
	int ret = v ? virtio_transport_init(&v->t, vd, err)
		    : err_set(err, ENOMEM, "out of memory");

	if (ret < 0) {
		vd->ops->free(vd);
		free(v);
		return ret;
	}
	pthread_mutex_init(&v->isr_lock, NULL);
	v->doorbells = VPCI_NO_DOORBELLS;
	v->t.dev = (struct dev){ .name = vd->name,
				 .instance = vd->instance,
				 .reset = vpci_reset,
				 .drain = vpci_drain,
				 .walk = vpci_walk,
				 .free = vpci_free };
	v->t.interrupt = vpci_interrupt;
	v->t.config_interrupt = vpci_config_interrupt;
	vpci_no_vectors(v);
	ret = vpci_init(v, err);
	if (ret == 0)
		ret = pci_attach(host, &v->pd, slot, 0, err);
	if (ret < 0) {
		vpci_free(&v->t.dev);
		return ret;
	}
	*out = v;
	return 0;
}
