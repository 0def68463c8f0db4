/*
 * lapic_bus.c - messages to local APICs: IPIs, IOAPIC and MSI.
 *
 * Source: SDM 3A 11.6 (issuing interrupts), 11.11 (MSI), 11.12.10 (x2APIC
 * logical destinations).
 */
#include "cpu/x86/lapic_impl.h"

#define LAPIC_DEST_ALL 0xffffffffu

#define LAPIC_ICR_VECTOR    0xffu
#define LAPIC_ICR_LOGICAL   0x800u
#define LAPIC_ICR_ASSERT    0x4000u
#define LAPIC_ICR_LEVEL     0x8000u
#define LAPIC_ICR_SHORTHAND 0xc0000u

enum lapic_shorthand {
	LAPIC_TO_DEST,
	LAPIC_TO_SELF,
	LAPIC_TO_ALL,
	LAPIC_TO_OTHERS,
};

/* --- Who is meant --------------------------------------------------------- */

/*
 * xAPIC: the destination has 8 bits; flat model: a bit each; cluster model:
 * cluster 7..4, bit 3..0.  x2APIC: cluster 31..16, bit 15..0.
 */
static bool lapic_match_logical(struct lapic *l, uint32_t dest)
{
	uint32_t ldr = l->ldr;

	if (dest == LAPIC_DEST_ALL)
		return true;
	if (lapic_x2apic(l))
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	if (dest > 0xff)
		return false;
	if (dest == 0xff)
		return true;
	ldr >>= 24;
	if (l->dfr >> 28 == 0xf)
		return ldr & dest;
	return (dest >> 4 == 0xf || ldr >> 4 == dest >> 4) && (ldr & dest & 15);
}

static bool lapic_match_physical(struct lapic *l, uint32_t dest)
{
	if (dest == LAPIC_DEST_ALL || dest == l->cpu->index)
		return true;
	return !lapic_x2apic(l) && dest == 0xff;
}

static bool lapic_match(struct lapic *l, const struct lapic_msg *msg)
{
	if (!lapic_enabled(l))
		return false;
	return msg->logical ? lapic_match_logical(l, msg->dest)
			    : lapic_match_physical(l, msg->dest);
}

/* --- Taking a message ----------------------------------------------------- */

static void lapic_receive(struct lapic *l, const struct lapic_msg *msg)
{
	bool enabled = l->svr & LAPIC_SVR_ENABLE;

	switch (msg->mode) {
	case LAPIC_FIXED:
	case LAPIC_LOWEST:
		if (enabled)
			lapic_accept(l, msg->vector, msg->level);
		break;
	case LAPIC_NMI:
		x86_pend(l->cpu, X86_PEND_NMI);
		break;
	case LAPIC_INIT:
		/*
		 * A SIPI that a halted processor has not looked at came before
		 * this INIT: nobody waited for it, so it is lost (SDM 3A 9.4).
		 */
		atomic_fetch_and(&l->cpu->pending, ~(unsigned)X86_PEND_SIPI);
		x86_pend(l->cpu, X86_PEND_INIT);
		break;
	case LAPIC_SIPI:
		atomic_store(&l->cpu->sipi_vector, msg->vector);
		x86_pend(l->cpu, X86_PEND_SIPI);
		break;
	case LAPIC_EXTINT:
		if (enabled) {
			atomic_store(&l->extint, true);
			x86_pend(l->cpu, X86_PEND_INTR);
		}
		break;
	}
}

/*
 * Lowest priority: of the APICs addressed, the one with the lowest processor
 * priority; equals are told apart by the vector, which spreads the load.
 */
static void lapic_deliver_lowest(struct x86_machine *xm,
				 const struct lapic_msg *msg)
{
	struct lapic *best = NULL;

	for (unsigned i = 0; i < xm->cpu_count; i++) {
		unsigned n = (i + msg->vector) % xm->cpu_count;
		struct lapic *l = xm->cpus[n]->lapic;

		if (!lapic_match(l, msg) || !(l->svr & LAPIC_SVR_ENABLE))
			continue;
		if (!best || l->ppr < best->ppr)
			best = l;
	}
	if (best)
		lapic_receive(best, msg);
}

void lapic_deliver(struct x86_machine *xm, const struct lapic_msg *msg)
{
	if (msg->mode == LAPIC_LOWEST) {
		lapic_deliver_lowest(xm, msg);
		return;
	}
	if (!msg->logical && msg->dest < xm->cpu_count && msg->dest != 0xff) {
		struct lapic *l = xm->cpus[msg->dest]->lapic;

		if (lapic_enabled(l))
			lapic_receive(l, msg);
		return;
	}
	for (unsigned i = 0; i < xm->cpu_count; i++) {
		struct lapic *l = xm->cpus[i]->lapic;

		if (lapic_match(l, msg))
			lapic_receive(l, msg);
	}
}

/*
 * Address: 31..20 FEE, 19..12 destination, 3 redirection hint, 2 logical.
 * Data: 15 level, 14 assert, 10..8 mode, 7..0 vector.
 */
void lapic_deliver_msi(struct x86_machine *xm, uint64_t addr, uint32_t data)
{
	if (xm->engine_ops && xm->engine_ops->send_msi) {
		xm->engine_ops->send_msi(xm, addr, data);
		return;
	}
	struct lapic_msg msg = {
		.dest = addr >> 12 & 0xff,
		.logical = addr & 4,
		.mode = data >> 8 & 7,
		.vector = (uint8_t)data,
		.level = data & LAPIC_ICR_LEVEL,
	};

	if (msg.dest == 0xff)
		msg.dest = LAPIC_DEST_ALL;
	if ((addr & 8) && msg.logical && msg.mode == LAPIC_FIXED)
		msg.mode = LAPIC_LOWEST;
	lapic_deliver(xm, &msg);
}

void lapic_extint(struct x86_machine *xm, bool level)
{
	if (xm->engine_ops && xm->engine_ops->extint) {
		if (level)
			xm->engine_ops->extint(xm);
		return;
	}
	for (unsigned i = 0; level && i < xm->cpu_count; i++) {
		struct lapic *l = xm->cpus[i]->lapic;

		if (lapic_takes_pic(l))
			x86_pend(l->cpu, X86_PEND_INTR);
	}
}

/* --- IPIs ----------------------------------------------------------------- */

static void lapic_send_others(struct lapic *l, const struct lapic_msg *msg)
{
	struct x86_machine *xm = l->cpu->xm;

	for (unsigned i = 0; i < xm->cpu_count; i++) {
		struct lapic *to = xm->cpus[i]->lapic;

		if (to != l && lapic_enabled(to))
			lapic_receive(to, msg);
	}
}

/*
 * Processors with xAPIC treat every IPI as edge-triggered, and the INIT level
 * de-assert as nothing (SDM 3A 11.6.1).
 */
void lapic_send_ipi(struct lapic *l)
{
	uint32_t low = (uint32_t)l->icr, high = (uint32_t)(l->icr >> 32);
	struct lapic_msg msg = {
		.dest = lapic_x2apic(l) ? high : high >> 24,
		.logical = low & LAPIC_ICR_LOGICAL,
		.mode = low >> 8 & 7,
		.vector = low & LAPIC_ICR_VECTOR,
	};

	if (msg.mode == LAPIC_INIT && (low & LAPIC_ICR_LEVEL) &&
	    !(low & LAPIC_ICR_ASSERT))
		return;
	if (msg.mode <= LAPIC_LOWEST && msg.vector < 16) {
		lapic_error(l, LAPIC_ESR_SEND_VECTOR);
		return;
	}
	switch ((enum lapic_shorthand)((low & LAPIC_ICR_SHORTHAND) >> 18)) {
	case LAPIC_TO_DEST:
		lapic_deliver(l->cpu->xm, &msg);
		break;
	case LAPIC_TO_SELF:
		lapic_receive(l, &msg);
		break;
	case LAPIC_TO_ALL:
		lapic_receive(l, &msg);
		/* fall through */
	case LAPIC_TO_OTHERS:
		lapic_send_others(l, &msg);
		break;
	}
}
