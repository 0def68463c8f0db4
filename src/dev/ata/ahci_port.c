/* ahci_port.c - a port's registers, link and resets (AHCI 3.3, 10.4). */
#include <string.h>

#include "dev/ata/ahci_impl.h"

#define PORT_CMD_WRITABLE                                              \
	(AHCI_CMD_ST | AHCI_CMD_FRE | AHCI_CMD_ATAPI | AHCI_CMD_DLAE | \
	 AHCI_CMD_ALPE | AHCI_CMD_ASP)
#define PORT_CMD_FIXED (AHCI_CMD_SUD | AHCI_CMD_POD)

/* Causes that are not other registers' bits. */
#define PORT_IS_OWN  (~(AHCI_IS_PCS | AHCI_IS_PRCS))
#define PORT_IE_BITS 0xfdc000ffu

/* PxSSTS and PxSCTL: 3..0 DET, 7..4 SPD, 11..8 IPM. */
#define PORT_SPEED_1  (1u << 4)
#define PORT_SPEED_2  (2u << 4)
#define PORT_ACTIVE   (1u << 8)
#define PORT_SCTL_SPD 0xf0u
#define PORT_SCTL_ALL 0xfffu
#define PORT_OFFLINE  4u
#define PORT_TFD_NONE 0x7fu
#define PORT_SIG_NONE 0xffffffffu

uint32_t ahci_port_causes(const struct ahci_port *p)
{
	uint32_t is = p->reg[PX_IS];

	if (p->reg[PX_SERR] & AHCI_SERR_X)
		is |= AHCI_IS_PCS;
	if (p->reg[PX_SERR] & AHCI_SERR_N)
		is |= AHCI_IS_PRCS;
	return is;
}

/* --- Link ------------------------------------------------------------------
 */

void ahci_send_signature(struct ahci_port *p)
{
	p->fis_waits = !(p->reg[PX_CMD] & AHCI_CMD_FRE);
	if (p->fis_waits)
		return;
	ahci_post_regs(p, &p->sig, false);
	p->reg[PX_SIG] = (uint32_t)((p->sig.lba & 0xffffff) << 8) |
			 (p->sig.count & 0xff);
}

static void port_link_up(struct ahci_port *p, bool power_on)
{
	bool slow = (p->reg[PX_SCTL] & PORT_SCTL_SPD) == PORT_SPEED_1;

	p->link_wait = false;
	p->srst = false;
	p->reg[PX_SSTS] = AHCI_SSTS_UP | PORT_ACTIVE |
			  (slow ? PORT_SPEED_1 : PORT_SPEED_2);
	p->reg[PX_SERR] |= AHCI_SERR_X | AHCI_SERR_N;
	p->ata->ops->reset(p->ata, power_on, &p->sig);
	ahci_send_signature(p);
}

/* --- Giving up -------------------------------------------------------------
 */

/* What is active comes back some time; until then CR stays (AHCI 10.3.2). */
void ahci_port_abort(struct ahci_port *p)
{
	p->reg[PX_CI] = 0;
	p->reg[PX_SACT] = 0;
	p->halted = false;
	p->full = false;
	p->aborted = p->active;
	for (unsigned s = 0; s < AHCI_SLOTS; s++)
		if (p->active >> s & 1)
			p->slot[s].aborted = true;
}

void ahci_port_settle(struct ahci_port *p)
{
	if (p->active)
		return;
	if (!(p->reg[PX_CMD] & AHCI_CMD_ST))
		p->reg[PX_CMD] &= ~AHCI_CMD_CR;
	if (!(p->reg[PX_CMD] & (AHCI_CMD_CR | AHCI_CMD_FRE)))
		p->reg[PX_CMD] &= ~AHCI_CMD_FR;
	if (p->link_wait)
		port_link_up(p, false);
	ahci_port_idle(p);
}

static void port_link_down(struct ahci_port *p, uint32_t det)
{
	ahci_port_abort(p);
	ahci_port_settle(p);
	p->reg[PX_SSTS] = det == PORT_OFFLINE ? PORT_OFFLINE : 0;
	p->reg[PX_TFD] = PORT_TFD_NONE;
	p->reg[PX_SIG] = PORT_SIG_NONE;
	p->fis_waits = false;
	p->link_wait = false;
}

/* PxSCTL.DET: 1 holds COMRESET, 4 turns the link off, 0 lets it come up. */
static void port_write_sctl(struct ahci_port *p, uint32_t v)
{
	uint32_t before = p->reg[PX_SCTL] & AHCI_DET_MASK;
	uint32_t det = v & AHCI_DET_MASK;

	p->reg[PX_SCTL] = v & PORT_SCTL_ALL;
	if (det == before)
		return;
	if (det)
		port_link_down(p, det);
	else if (p->active)
		p->link_wait = true;
	else
		port_link_up(p, false);
}

/* --- Stopping and starting -------------------------------------------------
 */

static void port_write_cmd(struct ahci_port *p, uint32_t v)
{
	uint32_t before = p->reg[PX_CMD];
	uint32_t now = (before & ~PORT_CMD_WRITABLE) | (v & PORT_CMD_WRITABLE);

	if (now & AHCI_CMD_FRE)
		now |= AHCI_CMD_FR;
	else if (!(now & AHCI_CMD_CR))
		now &= ~AHCI_CMD_FR;
	if (now & AHCI_CMD_ST)
		now |= AHCI_CMD_CR;
	if ((now & ~before) & AHCI_CMD_ST) {
		now &= ~AHCI_CMD_CCS;
		p->last = AHCI_SLOTS - 1;
	}
	p->reg[PX_CMD] = now;
	if ((v & AHCI_CMD_CLO) && !(now & AHCI_CMD_ST))
		p->reg[PX_TFD] &= ~(uint32_t)(ATA_STATUS_BSY | ATA_STATUS_DRQ);
	if ((before & ~now) & AHCI_CMD_ST) {
		ahci_port_abort(p);
		ahci_port_settle(p);
	}
	if (p->fis_waits)
		ahci_send_signature(p);
}

void ahci_port_reset(struct ahci_port *p, bool power_on)
{
	for (unsigned r = PX_IS; r < PX_REGS; r++)
		p->reg[r] = 0;
	p->reg[PX_CMD] = PORT_CMD_FIXED;
	p->reg[PX_TFD] = PORT_TFD_NONE;
	p->reg[PX_SIG] = PORT_SIG_NONE;
	p->halted = false;
	p->full = false;
	p->last = AHCI_SLOTS - 1;
	port_link_up(p, power_on);
}

/* --- Registers -------------------------------------------------------------
 */

uint32_t ahci_port_read(struct ahci_port *p, unsigned reg)
{
	if (reg >= PX_REGS)
		return 0;
	return reg == PX_IS ? ahci_port_causes(p) : p->reg[reg];
}

void ahci_port_write(struct ahci_port *p, unsigned reg, uint32_t v)
{
	switch (reg) {
	case PX_CLB: /* 1 KiB aligned */
		p->reg[reg] = v & ~0x3ffu;
		return;
	case PX_FB: /* 256 bytes */
		p->reg[reg] = v & ~0xffu;
		return;
	case PX_CLBU:
	case PX_FBU:
		p->reg[reg] = v;
		return;
	case PX_IS:
		p->reg[reg] &= ~v;
		break;
	case PX_IE:
		p->reg[reg] = v & PORT_IE_BITS;
		break;
	case PX_CMD:
		port_write_cmd(p, v);
		break;
	case PX_SCTL:
		port_write_sctl(p, v);
		break;
	case PX_SERR:
		p->reg[reg] &= ~v;
		break;
	case PX_SACT: /* counts only together with ST (AHCI 3.3.13) */
	case PX_CI:
		if (p->reg[PX_CMD] & AHCI_CMD_ST)
			p->reg[reg] |= v;
		break;
	default:
		return;
	}
	if (reg == PX_CI || reg == PX_CMD)
		ahci_run(p);
	ahci_update_irq(p->hba, false);
}
