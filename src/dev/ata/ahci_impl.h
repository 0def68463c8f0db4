/*
 * ahci_impl.h - what the files of the AHCI adapter share: ahci.c (registers
 * of the adapter, life), ahci_port.c (registers of a port, resets) and
 * ahci_cmd.c (commands and FISes).  All under struct ahci.lock.
 */
#ifndef HOSTEL_DEV_ATA_AHCI_IMPL_H
#define HOSTEL_DEV_ATA_AHCI_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "dev/ata/ahci.h"
#include "dev/ata/ata.h"

#define AHCI_SLOTS 32

/* Port registers, by their dword (AHCI 3.3). */
enum {
	PX_CLB = 0x00 / 4,
	PX_CLBU = 0x04 / 4,
	PX_FB = 0x08 / 4,
	PX_FBU = 0x0c / 4,
	PX_IS = 0x10 / 4,
	PX_IE = 0x14 / 4,
	PX_CMD = 0x18 / 4,
	PX_TFD = 0x20 / 4,
	PX_SIG = 0x24 / 4,
	PX_SSTS = 0x28 / 4,
	PX_SCTL = 0x2c / 4,
	PX_SERR = 0x30 / 4,
	PX_SACT = 0x34 / 4,
	PX_CI = 0x38 / 4,
	PX_REGS = 0x40 / 4,
};

#define AHCI_CMD_ST    (1u << 0)
#define AHCI_CMD_SUD   (1u << 1)
#define AHCI_CMD_POD   (1u << 2)
#define AHCI_CMD_CLO   (1u << 3)
#define AHCI_CMD_FRE   (1u << 4)
#define AHCI_CMD_CCS   (0x1fu << 8)
#define AHCI_CMD_FR    (1u << 14)
#define AHCI_CMD_CR    (1u << 15)
#define AHCI_CMD_ATAPI (1u << 24)
#define AHCI_CMD_DLAE  (1u << 25)
#define AHCI_CMD_ALPE  (1u << 26)
#define AHCI_CMD_ASP   (1u << 27)

#define AHCI_IS_DHRS (1u << 0)
#define AHCI_IS_PSS  (1u << 1)
#define AHCI_IS_SDBS (1u << 3)
#define AHCI_IS_PCS  (1u << 6)
#define AHCI_IS_PRCS (1u << 22)
#define AHCI_IS_OFS  (1u << 24)
#define AHCI_IS_IFS  (1u << 27)
#define AHCI_IS_HBFS (1u << 29)
#define AHCI_IS_TFES (1u << 30)

#define AHCI_SERR_N (1u << 16) /* PhyRdy changed */
#define AHCI_SERR_X (1u << 26) /* exchanged */

#define AHCI_DET_MASK 0xfu
#define AHCI_SSTS_UP  0x003u /* device there, link up */

/* What a command header says (AHCI 4.2.2). */
#define AHCI_HDR_CFL   0x001fu /* dwords of the FIS */
#define AHCI_HDR_ATAPI 0x0020u

/* A slot of the command list, once the HBA has fetched it. */
struct ahci_cmd {
	struct ata_cmd ata;
	struct ahci_port *port;
	uint64_t header; /* gpa, for PRDBC */
	uint8_t fis[64];
	uint16_t flags;
	bool ncq;
	bool aborted;          /* the host has given up on it */
	_Atomic unsigned left; /* requests that are not done */
	_Atomic int result;    /* the first error */
};

struct ahci_port {
	struct ahci *hba;
	unsigned n;
	struct block *block;       /* owned; NULL: no medium */
	struct ata *ata;           /* NULL: not implemented */
	struct block_queue *queue; /* NULL: no medium */
	struct dev_hook on_full;
	uint32_t reg[PX_REGS];
	uint32_t active;     /* slots whose requests are with the queue */
	uint32_t aborted;    /* those of them that nobody waits for */
	bool exclusive;      /* the active one is not a queued command */
	bool halted;         /* by an error, until ST is cleared */
	bool link_wait;      /* COMRESET is done once nothing is active */
	bool full;           /* commands in PxCI wait for room on the host */
	bool srst;           /* the host holds software reset */
	bool fis_waits;      /* the signature, until FRE is set */
	bool running, again; /* ahci_run() is at work; has more to do */
	unsigned last;       /* slot that was fetched last */
	struct ata_tf sig;
	struct ahci_cmd *slot; /* AHCI_SLOTS of them */
};

struct ahci {
	struct dev dev;
	struct pci_dev pci;
	struct dev_env *env;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t idle;  /* a port has nothing active any more */
	uint32_t ghc, is, pi;
	bool level; /* of INTx */
	struct ahci_port port[AHCI_PORTS];
};

/*
 * ahci.c: after PxIS, PxIE, GHC or IS changed.  again: what is left of IS is
 * worth a message, too.
 */
void ahci_update_irq(struct ahci *h, bool again);
/* A port has nothing active any more. */
void ahci_port_idle(struct ahci_port *p);

/* ahci_port.c */
uint32_t ahci_port_read(struct ahci_port *p, unsigned reg);
void ahci_port_write(struct ahci_port *p, unsigned reg, uint32_t v);
/* To the state after GHC.HR; power_on: the drive's settings, too. */
void ahci_port_reset(struct ahci_port *p, bool power_on);
/* Interrupt causes, with those that are other registers' bits. */
uint32_t ahci_port_causes(const struct ahci_port *p);
/* The host gives up on all commands; ahci_port_settle() is to follow. */
void ahci_port_abort(struct ahci_port *p);
/* If nothing is active: what waited for that, if anything. */
void ahci_port_settle(struct ahci_port *p);
/* The drive's first FIS after a reset; held back until FRE. */
void ahci_send_signature(struct ahci_port *p);

/* ahci_cmd.c: fetches and starts what can be.  Drops and retakes the lock. */
void ahci_run(struct ahci_port *p);
/* A Register D2H FIS: tf goes to memory and PxTFD. */
void ahci_post_regs(struct ahci_port *p, const struct ata_tf *tf, bool irq);

#endif
