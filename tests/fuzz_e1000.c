/*
 * fuzz_e1000.c - a driver that writes what it likes into the card's registers
 * and descriptor rings, while frames come in: nothing may crash or hang.
 *
 * The input is steps of 8 bytes: what, how, where, value.  Some make good
 * descriptors, so that odd ones find a card that works.
 */
#include "devtest.h"

#include "dev/e1000/e1000_impl.h"
#include "fuzz.h"
#include "nettest.h"

#define SLOT      2
#define BAR       0xc0000000u
#define TX        0x10000u
#define RX        0x11000u
#define DATA      0x20000u
#define COUNT     16u
#define STEPS_MAX 96

struct step {
	uint8_t what, how;
	uint16_t where;
	uint32_t value;
};

struct bench {
	struct dt dt;
	struct pci_host *host;
	struct e1000 *e;
	struct net_link link;
	struct dt_line pirq[PCI_PIRQS];
};

static struct bench *bench_get(void)
{
	static struct bench b;
	struct pci_host_config pci = { 0 };
	struct e1000_config config = { .slot = SLOT,
				       .mac = { 0x52, 1, 2, 3, 4, 5 } };

	if (b.e)
		return &b;
	dt_init(&b.dt);
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci.pirq[i] = dt_irq(&b.pirq[i]);
	if (pci_host_new(&b.host, &b.dt.env, &pci, NULL) ||
	    e1000_new(&b.e, &b.dt.env, b.host, &config, &b.link, NULL))
		abort();
	return &b;
}

static void config_put(struct bench *b, unsigned reg, uint32_t value)
{
	mem_port_write(b->dt.env.mem, 0xcf8, 4, 0x80000000u | SLOT << 11 | reg);
	mem_port_write(b->dt.env.mem, 0xcfc, 4, value);
}

static void put(struct bench *b, unsigned reg, uint32_t value)
{
	mem_mmio_write(b->dt.env.mem, BAR + reg, 4, value);
}

static void bench_start(struct bench *b)
{
	put(b, E1000_TDBAL, TX);
	put(b, E1000_TDBAH, 0);
	put(b, E1000_TDLEN, COUNT * 16);
	put(b, E1000_RDBAL, RX);
	put(b, E1000_RDBAH, 0);
	put(b, E1000_RDLEN, COUNT * 16);
	put(b, E1000_TCTL, E1000_TCTL_EN);
	put(b, E1000_RCTL, E1000_RCTL_EN | E1000_RCTL_UPE | E1000_RCTL_BAM);
	put(b, E1000_IMS, 0xff);
	for (unsigned n = 0; n < COUNT; n++) {
		uint64_t d[2] = { DATA + 0x10000 + n * 2048, 0 };

		mem_write(b->dt.env.mem, RX + n * 16, d, sizeof(d));
	}
	put(b, E1000_RDT, COUNT - 1);
}

/* A legacy, context or data descriptor (SDM 3.3.3, 3.3.6, 3.3.7). */
static void step_desc(struct bench *b, const struct step *s)
{
	uint64_t cmd = s->how & 3 ? 0x20ull : 0, type = s->how & 3 ? 1 : 0;
	uint64_t d[2] = { DATA + (s->where & 0xff) * 256u,
			  (s->value & 0xfffff) | (uint64_t)(s->value >> 20)
							 << 48 };

	if ((s->how & 3) == 1) { /* context: what memory holds */
		d[0] = (uint64_t)s->value << 32 | s->where | 34u << 8;
		type = 0;
	}
	cmd |= s->how >> 2 & 0x0f; /* EOP, IFCS, TSE/IC, RS */
	d[1] |= cmd << 24 | type << 20;
	mem_write(b->dt.env.mem, TX + (s->where >> 8) % COUNT * 16, d,
		  sizeof(d));
}

static void step_give(struct bench *b, const struct step *s)
{
	static uint8_t frame[NET_FRAME_MAX];
	struct net_hdr hdr = { .flags = s->how & 3 };
	size_t len = s->value % (s->how & 4 ? sizeof(frame) : 2000);

	memset(frame, s->how & 8 ? 0xff : 0x52, 6);
	frame[12] = s->how & 16 ? 0x81 : 8;
	frame[15] = (uint8_t)s->where;
	nettest_give(&b->link, &hdr, frame, len < 14 ? 14 : len);
}

static void step_do(struct bench *b, const struct step *s)
{
	struct mem *m = b->dt.env.mem;

	switch (s->what & 15) {
	case 0:
		bench_start(b);
		break;
	case 1: /* any register, of any size */
	case 2:
		mem_mmio_write(m, BAR + (s->where | (s->how & 1u) << 16),
			       1u << (s->how >> 6) % 4, s->value);
		break;
	case 3:
		mem_mmio_read(m, BAR + (s->where | (s->how & 1u) << 16),
			      1u << (s->how >> 6) % 4);
		break;
	case 4: /* anything in rings and frames */
		mem_write(m, TX + s->where, &s->value, 4);
		break;
	case 5:
		mem_write(m, DATA + s->where, &s->value, 4);
		break;
	case 6:
		put(b, E1000_RDT, s->value);
		break;
	case 7:
		b->link.full = s->value & 1;
		break;
	case 8:
	case 9:
		step_give(b, s);
		break;
	case 10:
		dt_advance(&b->dt, s->value);
		break;
	default:
		step_desc(b, s);
		put(b, E1000_TDT, ((s->where >> 8) + 1) % COUNT);
	}
	if (!(s->what & 0x80))
		b->link.ops->transmit(b->link.opaque);
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct step s[20];

	if (i >= 8 || cap < sizeof(s))
		return 0;
	for (unsigned k = 0; k < 20; k++)
		s[k] = (struct step){ k ? (k % 4 ? 11 : 8) : 0,
				      (uint8_t)(k * 5 + i * 4 + 3),
				      (uint16_t)(k << 8 | i), 60 + k * 100 };
	memcpy(buf, s, sizeof(s));
	return sizeof(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bench *b = bench_get();
	struct step s;

	DEV(b->e)->reset(DEV(b->e));
	DEV(b->host)->reset(DEV(b->host));
	b->link.full = false;
	config_put(b, PCI_BAR0, BAR);
	config_put(b, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	for (size_t at = 0, n = 0; at + sizeof(s) <= len && n < STEPS_MAX;
	     at += sizeof(s), n++) {
		memcpy(&s, data + at, sizeof(s));
		step_do(b, &s);
	}
	return 0;
}
