/*
 * e1000_impl.h - between e1000.c (registers), e1000_ring.c (descriptors),
 * e1000_stats.c (counters) and e1000_eeprom.c (EEPROM and PHY).
 */
#ifndef HOSTEL_DEV_E1000_E1000_IMPL_H
#define HOSTEL_DEV_E1000_E1000_IMPL_H

#include <pthread.h>

#include "dev/e1000/e1000.h"
#include "dev/pci/pci.h"

#define E1000_REGS_SIZE 0x20000 /* BAR 0 */
#define E1000_REGS      (0x6000 / 4)

/* Registers, by offset (SDM 13.2). */
#define E1000_CTRL   0x0000
#define E1000_STATUS 0x0008
#define E1000_EECD   0x0010
#define E1000_EERD   0x0014
#define E1000_MDIC   0x0020
#define E1000_VET    0x0038
#define E1000_ICR    0x00c0
#define E1000_ICS    0x00c8
#define E1000_IMS    0x00d0
#define E1000_IMC    0x00d8
#define E1000_RCTL   0x0100
#define E1000_TCTL   0x0400
#define E1000_PBA    0x1000
#define E1000_RDBAL  0x2800
#define E1000_RDBAH  0x2804
#define E1000_RDLEN  0x2808
#define E1000_RDH    0x2810
#define E1000_RDT    0x2818
#define E1000_TDBAL  0x3800
#define E1000_TDBAH  0x3804
#define E1000_TDLEN  0x3808
#define E1000_TDH    0x3810
#define E1000_TDT    0x3818
#define E1000_RNBC   0x40a0
#define E1000_MTA    0x5200
#define E1000_RAL    0x5400
#define E1000_VFTA   0x5600

#define E1000_PHY_LOOPBACK 0x4000 /* of its register 0 */
#define E1000_CTRL_RST     (1u << 26)
#define E1000_CTRL_VME     (1u << 30)
#define E1000_CTRL_PHY     (1u << 31)
#define E1000_RCTL_EN      (1u << 1)
#define E1000_RCTL_UPE     (1u << 3)
#define E1000_RCTL_MPE     (1u << 4)
#define E1000_RCTL_LPE     (1u << 5)
#define E1000_RCTL_LBM     (3u << 6)
#define E1000_RCTL_BAM     (1u << 15)
#define E1000_RCTL_VFE     (1u << 18)
#define E1000_RCTL_BSEX    (1u << 25)
#define E1000_RCTL_CRC     (1u << 26)
#define E1000_TCTL_EN      (1u << 1)

/* Interrupt causes (SDM 13.4.17). */
#define E1000_TXDW 0x01
#define E1000_TXQE 0x02
#define E1000_LSC  0x04
#define E1000_RDMT 0x10
#define E1000_RXT0 0x80

/* What a context descriptor says (SDM 3.3.6). */
struct e1000_context {
	uint8_t ipcss, ipcso, tucss, tucso;
	uint16_t ipcse, mss;
	uint8_t tucmd;
};

struct e1000_eeprom {
	uint32_t wires; /* EECD as last written */
	uint16_t shift; /* what came in, or is to go out */
	uint8_t bits;   /* of the command, or of the word */
	bool out;
};

struct e1000 {
	struct dev dev;
	struct pci_dev pci;
	struct net_link *link;
	const struct dev_env *env;
	struct timer resume;
	uint8_t own_mac[NET_MAC_LEN];
	uint16_t word[64]; /* EEPROM's; constant */
	pthread_mutex_t lock;
	/* guarded by lock: */
	bool drained;
	uint32_t reg[E1000_REGS];
	uint32_t io_addr; /* of the window in the I/O BAR */
	uint16_t phy[32];
	struct e1000_eeprom eeprom;
	struct e1000_context context[2]; /* plain, TCP segmentation */
	bool rx_new;                     /* frames since the last interrupt */
	/* A frame as its descriptors come: */
	bool tx_started;
	bool tx_skip; /* too long */
	uint8_t tx_popts, tx_dcmd;
	uint32_t tx_len;
	uint8_t tx_frame[NET_FRAME_MAX + 4];
};

static inline uint32_t *e1000_reg(struct e1000 *e, unsigned offset)
{
	return &e->reg[offset / 4];
}

/* With the lock held: causes appear, or masks changed. */
void e1000_interrupt(struct e1000 *e, uint32_t causes);

/* --- e1000_ring.c --------------------------------------------------------- */

extern const struct net_nic_ops e1000_nic;

/* --- e1000_stats.c; with the lock held ------------------------------------ */

void e1000_count_sent(struct e1000 *e, const uint8_t *frame, size_t len);
void e1000_count_received(struct e1000 *e, const uint8_t *frame, size_t len);
/* A frame found no descriptor. */
void e1000_count_missed(struct e1000 *e);
bool e1000_is_statistic(uint64_t offset);
uint32_t e1000_read_statistic(struct e1000 *e, uint64_t offset);

/* --- e1000_eeprom.c ------------------------------------------------------- */

void e1000_eeprom_init(struct e1000 *e);
void e1000_phy_reset(struct e1000 *e);
void e1000_write_eecd(struct e1000 *e, uint32_t value);
uint32_t e1000_read_eecd(struct e1000 *e);
void e1000_write_eerd(struct e1000 *e, uint32_t value);
void e1000_write_mdic(struct e1000 *e, uint32_t value);

#endif
