/*
 * msix.c - MSI-X and MSI of a PCI function (PCI 3.0, 6.8).
 *
 * The MSI-X table and the pending bits lie in one page of a BAR of their own:
 *
 *	000  table: address, upper address, data, control (bit 0: masked)
 *	800  pending bits
 *
 * The enable and mask bits of the capability are copied to `state` when the
 * guest writes configuration space, so that raising takes but one leaf lock.
 * A message is sent with it held: who masked a vector gets none any more.
 *
 * A message is a write to memory: a function that is no bus master sends none.
 * MSI-X keeps it pending, as if the function were masked; MSI loses it.
 */
#include "dev/pci/msix.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dev/pci/host.h"

#define MSIX_CAP_ID     0x11
#define MSIX_CAP_LEN    12
#define MSIX_CONTROL    2 /* in the capability */
#define MSIX_ON         0x8000
#define MSIX_MASK_ALL   0x4000
#define MSIX_BAR_SIZE   0x1000
#define MSIX_PBA        0x800
#define MSIX_ENTRY      16
#define MSIX_ENTRY_DATA 8
#define MSIX_ENTRY_CTRL 12
#define MSIX_ENTRY_MASK 1

struct msix {
	struct pci_dev *pd;
	unsigned vectors;
	unsigned cap;
	_Atomic uint16_t state; /* MSIX_ON, MSIX_MASK_ALL */
	pthread_mutex_t lock;   /* guards: */
	uint8_t regs[MSIX_BAR_SIZE];
};

/* --- The table ------------------------------------------------------------ */

static bool msix_masked(const struct msix *m, unsigned vector)
{
	uint16_t state = atomic_load(&m->state);
	const uint8_t *entry = m->regs + vector * MSIX_ENTRY;

	return state & MSIX_MASK_ALL || !pci_is_master(m->pd) ||
	       entry[MSIX_ENTRY_CTRL] & MSIX_ENTRY_MASK;
}

static void msix_send(struct msix *m, unsigned vector)
{
	const uint8_t *entry = m->regs + vector * MSIX_ENTRY;

	msi_send(pci_host_msi(m->pd->host), pci_get(entry, 8),
		 (uint32_t)pci_get(entry + MSIX_ENTRY_DATA, 4));
}

/* What waited for an unmasked vector goes. With the lock held. */
static void msix_send_pending(struct msix *m, unsigned from, unsigned to)
{
	if (!(atomic_load(&m->state) & MSIX_ON))
		return;
	for (unsigned v = from; v < to && v < m->vectors; v++) {
		uint8_t *pending = &m->regs[MSIX_PBA + v / 8];

		if (!(*pending & 1 << v % 8) || msix_masked(m, v))
			continue;
		*pending &= ~(1 << v % 8);
		msix_send(m, v);
	}
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
	struct msix *m = opaque;

	pthread_mutex_lock(&m->lock);
	uint64_t value = pci_get(m->regs + offset, size);
	pthread_mutex_unlock(&m->lock);
	return value;
}

static void msix_write(void *opaque, uint64_t offset, unsigned size,
		       uint64_t value)
{
	struct msix *m = opaque;
	unsigned first = offset / MSIX_ENTRY;
	unsigned end = (offset + size + MSIX_ENTRY - 1) / MSIX_ENTRY;

	if (offset + size > m->vectors * MSIX_ENTRY)
		return;
	pthread_mutex_lock(&m->lock);
	pci_put(m->regs + offset, value, size);
	for (unsigned v = first; v < end; v++) {
		uint8_t *ctrl = m->regs + v * MSIX_ENTRY + MSIX_ENTRY_CTRL;

		pci_put(ctrl, *ctrl & MSIX_ENTRY_MASK, 4);
	}
	msix_send_pending(m, first, end);
	pthread_mutex_unlock(&m->lock);
}

static const struct io_ops msix_ops = {
	.read = msix_read,
	.write = msix_write,
};

/* --- Raising -------------------------------------------------------------- */

bool msix_enabled(const struct msix *m)
{
	return atomic_load(&m->state) & MSIX_ON;
}

void msix_raise(struct msix *m, unsigned vector)
{
	if (vector >= m->vectors || !msix_enabled(m))
		return;
	pthread_mutex_lock(&m->lock);
	if (msix_masked(m, vector))
		m->regs[MSIX_PBA + vector / 8] |= 1 << vector % 8;
	else
		msix_send(m, vector);
	pthread_mutex_unlock(&m->lock);
}

void msix_config_written(struct msix *m)
{
	const uint8_t *control = m->pd->config + m->cap + MSIX_CONTROL;

	pthread_mutex_lock(&m->lock);
	atomic_store(&m->state,
		     pci_get(control, 2) & (MSIX_ON | MSIX_MASK_ALL));
	msix_send_pending(m, 0, m->vectors);
	pthread_mutex_unlock(&m->lock);
}

void msix_reset(struct msix *m)
{
	pthread_mutex_lock(&m->lock);
	memset(m->regs, 0, sizeof(m->regs));
	for (unsigned v = 0; v < m->vectors; v++)
		m->regs[v * MSIX_ENTRY + MSIX_ENTRY_CTRL] = MSIX_ENTRY_MASK;
	pthread_mutex_unlock(&m->lock);
}

/* --- Life ----------------------------------------------------------------- */

int msix_init(struct msix **out, struct pci_dev *pd, unsigned vectors,
	      unsigned bar, struct err *err)
{
	struct msix *m = calloc(1, sizeof(*m));
	int cap;

	if (!m)
		return err_set(err, ENOMEM, "out of memory");
	pthread_mutex_init(&m->lock, NULL);
	m->pd = pd;
	m->vectors = vectors;
	cap = vectors && vectors <= MSIX_VECTORS_MAX
		      ? pci_add_cap(pd, MSIX_CAP_ID, MSIX_CAP_LEN)
		      : -EINVAL;
	if (cap < 0 || pci_add_bar(pd, bar, PCI_BAR_MEM32, false, MSIX_BAR_SIZE,
				   &msix_ops, m)) {
		msix_free(m);
		return err_set(err, EINVAL, "%s: MSI-X does not fit", pd->name);
	}
	m->cap = (unsigned)cap;
	pci_put(pd->config + cap + MSIX_CONTROL, vectors - 1, 2);
	pci_put(pd->wmask + cap + MSIX_CONTROL, MSIX_ON | MSIX_MASK_ALL, 2);
	pci_put(pd->config + cap + 4, bar, 4);
	pci_put(pd->config + cap + 8, MSIX_PBA | bar, 4);
	msix_reset(m);
	*out = m;
	return 0;
}

void msix_free(struct msix *m)
{
	if (!m)
		return;
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void msix_walk(struct msix *m, struct walk *w, unsigned instance)
{
	if (!walk_section(w, "msix", instance, 1))
		return;
	walk_bytes(w, "table", m->regs, m->vectors * MSIX_ENTRY);
	walk_bytes(w, "pending", m->regs + MSIX_PBA, MSIX_VECTORS_MAX / 8);
	walk_end(w);
	if (!walk_restoring(w))
		return;
	for (unsigned v = 0; v < m->vectors; v++) {
		uint8_t *ctrl = m->regs + v * MSIX_ENTRY + MSIX_ENTRY_CTRL;

		pci_put(ctrl, *ctrl & MSIX_ENTRY_MASK, 4);
	}
}

/* --- MSI: one message, a 64-bit address (6.8.1) --------------------------- */

#define MSI_CAP_ID  0x05
#define MSI_CAP_LEN 14
#define MSI_CONTROL 2
#define MSI_ADDR    4
#define MSI_DATA    12
#define MSI_ON      0x0001
#define MSI_64BIT   0x0080

int msi_init(struct pci_dev *pd, struct err *err)
{
	int cap = pci_add_cap(pd, MSI_CAP_ID, MSI_CAP_LEN);

	if (cap < 0)
		return err_set(err, ENOSPC, "%s: MSI does not fit", pd->name);
	pd->msi_cap = (uint8_t)cap;
	pci_put(pd->config + cap + MSI_CONTROL, MSI_64BIT, 2);
	pci_put(pd->wmask + cap + MSI_CONTROL, MSI_ON, 2);
	pci_put(pd->wmask + cap + MSI_ADDR, ~3ull, 8);
	pci_put(pd->wmask + cap + MSI_DATA, 0xffff, 2);
	return 0;
}

void msi_config_written(struct pci_dev *pd)
{
	const uint8_t *cap = pd->config + pd->msi_cap;
	const struct pci_msi msi = {
		.on = pci_get(cap + MSI_CONTROL, 2) & MSI_ON,
		.addr = pci_get(cap + MSI_ADDR, 8),
		.data = (uint16_t)pci_get(cap + MSI_DATA, 2),
	};

	pci_host_set_msi(pd, &msi);
}

bool msi_enabled(struct pci_dev *pd)
{
	return pci_host_get_msi(pd).on;
}

bool msi_raise(struct pci_dev *pd)
{
	struct pci_msi msi = pci_host_get_msi(pd);

	if (msi.on && pci_is_master(pd))
		msi_send(pci_host_msi(pd->host), msi.addr, msi.data);
	return msi.on;
}
