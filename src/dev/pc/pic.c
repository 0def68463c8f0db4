/*
 * pic.c - the pair of 8259A interrupt controllers.
 *
 * Theory of operation
 *
 * Each chip keeps its input lines, the edge latch, ISR and IMR; IRR is not
 * stored but follows from line, latch and ELCR.  As the data sheet demands,
 * a request that goes away before the INTA cycle is forgotten, and the cycle
 * then yields IR7 without an ISR bit: the spurious interrupt.
 *
 * The slave's INT is the master's IR2, which behaves as a level whatever
 * ELCR says: two edges cannot merge into one.
 *
 * All state is guarded by one mutex; the INT output is also kept in an
 * atomic, so that a vCPU can look at it without the mutex.
 *
 * Missing: MCS-80 mode (ICW4 bit 0 clear) delivers vectors all the same; LTIM
 * in ICW1 is ignored in favour of ELCR, as in every PC since EISA.
 */
#include "dev/pc/pic.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PIC_MASTER_PORT 0x20
#define PIC_SLAVE_PORT  0xa0
#define PIC_ELCR_PORT   0x4d0
#define PIC_CASCADE     2

#define PIC_ICW1      0x10 /* A0 = 0: marks ICW1 */
#define PIC_ICW1_IC4  0x01
#define PIC_ICW1_SNGL 0x02
#define PIC_ICW4_AEOI 0x02
#define PIC_ICW4_SFNM 0x10
#define PIC_OCW3      0x08 /* A0 = 0, not ICW1: marks OCW3 */
#define PIC_OCW3_RIS  0x01
#define PIC_OCW3_RR   0x02
#define PIC_OCW3_POLL 0x04
#define PIC_OCW3_SMM  0x20
#define PIC_OCW3_ESMM 0x40

struct pic_chip {
	uint8_t lines; /* inputs as they are now */
	uint8_t latch; /* edges seen and not yet acknowledged */
	uint8_t elcr;  /* 1: level-triggered */
	uint8_t elcr_mask;
	uint8_t isr, imr;
	uint8_t icw1, icw2, icw3, icw4;
	uint8_t init_next; /* the ICW expected at A0 = 1; 0: initialised */
	uint8_t lowest;    /* input with the lowest priority */
	bool rotate_aeoi, special_mask, poll, read_isr;
	bool is_master;
};

struct pic {
	struct dev dev;
	struct irq intr;
	atomic_bool pending;
	pthread_mutex_t lock;    /* guards chip[], and changes of pending */
	struct pic_chip chip[2]; /* master, slave */
};

/* --- Priorities ----------------------------------------------------------- */

static uint8_t pic_irr(const struct pic_chip *c)
{
	uint8_t level = c->elcr;

	if (c->is_master)
		level |= 1u << PIC_CASCADE;
	return (c->lines & level) | (c->latch & ~level);
}

/* Rank of the most urgent bit of `bits` (0 first); 8 if there is none. */
static unsigned pic_rank(const struct pic_chip *c, uint8_t bits)
{
	unsigned rank = 0;

	while (rank < 8 && !(bits >> ((c->lowest + 1 + rank) & 7) & 1))
		rank++;
	return rank;
}

/* The input to be served next, or -1. */
static int pic_next(const struct pic_chip *c)
{
	uint8_t in_service = c->isr;
	unsigned rank = pic_rank(c, pic_irr(c) & ~c->imr);

	if (c->init_next || rank == 8)
		return -1;
	if (c->special_mask)
		in_service &= ~c->imr;
	/* Special fully nested: the slave's own priorities decide. */
	if (c->is_master && (c->icw4 & PIC_ICW4_SFNM))
		in_service &= ~(1u << PIC_CASCADE);
	if (rank >= pic_rank(c, in_service))
		return -1;
	return (c->lowest + 1 + rank) & 7;
}

static void pic_update(struct pic *p)
{
	struct pic_chip *m = &p->chip[0];

	if (pic_next(&p->chip[1]) >= 0)
		m->lines |= 1u << PIC_CASCADE;
	else
		m->lines &= ~(1u << PIC_CASCADE);

	bool out = pic_next(m) >= 0;
	if (out == atomic_load_explicit(&p->pending, memory_order_relaxed))
		return;
	atomic_store_explicit(&p->pending, out, memory_order_release);
	irq_set(&p->intr, out);
}

static void pic_chip_set(struct pic_chip *c, unsigned n, bool level)
{
	uint8_t bit = 1u << n;

	if (level && !(c->lines & bit))
		c->latch |= bit;
	if (level) {
		c->lines |= bit;
	} else {
		c->lines &= ~bit;
		c->latch &= ~bit;
	}
}

void pic_set_irq(struct pic *pic, unsigned n, bool level)
{
	if (n > 15 || n == PIC_CASCADE)
		return;
	pthread_mutex_lock(&pic->lock);
	pic_chip_set(&pic->chip[n >> 3], n & 7, level);
	pic_update(pic);
	pthread_mutex_unlock(&pic->lock);
}

/* --- The INTA cycle ------------------------------------------------------- */

bool pic_pending(void *opaque)
{
	struct pic *p = opaque;

	return atomic_load_explicit(&p->pending, memory_order_acquire);
}

static void pic_take(struct pic_chip *c, unsigned n)
{
	uint8_t bit = 1u << n;

	c->latch &= ~bit;
	if (!(c->icw4 & PIC_ICW4_AEOI))
		c->isr |= bit;
	else if (c->rotate_aeoi)
		c->lowest = n;
}

/* The chip's vector; the request may have gone: IR7 then. */
static int pic_chip_ack(struct pic_chip *c, int *input)
{
	*input = pic_next(c);
	if (*input >= 0)
		pic_take(c, (unsigned)*input);
	return (c->icw2 & 0xf8) | (*input >= 0 ? *input : 7);
}

int pic_ack(void *opaque)
{
	struct pic *p = opaque;
	int input;

	pthread_mutex_lock(&p->lock);
	int vector = pic_chip_ack(&p->chip[0], &input);
	if (input == PIC_CASCADE && !(p->chip[0].icw1 & PIC_ICW1_SNGL))
		vector = pic_chip_ack(&p->chip[1], &input);
	pic_update(p);
	pthread_mutex_unlock(&p->lock);
	return vector;
}

/* --- Command words -------------------------------------------------------- */

/*
 * ICW1 clears the edge latch and the mask, makes IR7 the lowest priority,
 * leaves special mask mode and selects IRR for reading (data sheet, p. 10).
 */
static void pic_icw1(struct pic_chip *c, uint8_t value)
{
	c->icw1 = value;
	c->latch = c->isr = c->imr = 0;
	c->lowest = 7;
	c->special_mask = c->poll = c->read_isr = c->rotate_aeoi = false;
	if (!(value & PIC_ICW1_IC4))
		c->icw4 = 0;
	c->init_next = 2;
}

/* ICW2, ICW3 unless single, ICW4 if asked for. */
static void pic_icw(struct pic_chip *c, uint8_t value)
{
	bool want4 = c->icw1 & PIC_ICW1_IC4;

	switch (c->init_next) {
	case 2:
		c->icw2 = value;
		c->init_next = !(c->icw1 & PIC_ICW1_SNGL) ? 3 : want4 ? 4 : 0;
		break;
	case 3:
		c->icw3 = value;
		c->init_next = want4 ? 4 : 0;
		break;
	default:
		c->icw4 = value;
		c->init_next = 0;
	}
}

/* In special mask mode a masked bit is not what an EOI means (p. 16). */
static int pic_highest_in_service(const struct pic_chip *c)
{
	uint8_t isr = c->special_mask ? c->isr & ~c->imr : c->isr;
	unsigned rank = pic_rank(c, isr);

	return rank == 8 ? -1 : (int)((c->lowest + 1 + rank) & 7);
}

/* Bits 7..5: rotate, specific level, EOI. */
static void pic_ocw2(struct pic_chip *c, uint8_t value)
{
	bool rotate = value & 0x80, specific = value & 0x40, eoi = value & 0x20;
	int n = specific ? value & 7 : pic_highest_in_service(c);

	if (!eoi && !specific) {
		c->rotate_aeoi = rotate;
		return;
	}
	if (n < 0)
		return;
	if (eoi)
		c->isr &= ~(1u << n);
	if (rotate)
		c->lowest = n;
}

static void pic_ocw3(struct pic_chip *c, uint8_t value)
{
	if (value & PIC_OCW3_ESMM)
		c->special_mask = value & PIC_OCW3_SMM;
	c->poll = value & PIC_OCW3_POLL;
	if (value & PIC_OCW3_RR)
		c->read_isr = value & PIC_OCW3_RIS;
}

static void pic_chip_write(struct pic_chip *c, bool a0, uint8_t value)
{
	if (a0 && c->init_next)
		pic_icw(c, value);
	else if (a0)
		c->imr = value;
	else if (value & PIC_ICW1)
		pic_icw1(c, value);
	else if (value & PIC_OCW3)
		pic_ocw3(c, value);
	else
		pic_ocw2(c, value);
}

/* Poll: the read is an INTA cycle that tells the input instead. */
static uint8_t pic_poll(struct pic_chip *c)
{
	int input;

	c->poll = false;
	pic_chip_ack(c, &input);
	return input < 0 ? 0 : 0x80 | input;
}

static uint8_t pic_chip_read(struct pic_chip *c, bool a0)
{
	if (c->poll)
		return pic_poll(c);
	if (a0)
		return c->imr;
	return c->read_isr ? c->isr : pic_irr(c);
}

static uint64_t pic_read(struct pic *p, unsigned chip, uint64_t offset)
{
	pthread_mutex_lock(&p->lock);
	uint8_t value = pic_chip_read(&p->chip[chip], offset & 1);
	pic_update(p);
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void pic_write(struct pic *p, unsigned chip, uint64_t offset,
		      uint8_t value)
{
	pthread_mutex_lock(&p->lock);
	pic_chip_write(&p->chip[chip], offset & 1, value);
	pic_update(p);
	pthread_mutex_unlock(&p->lock);
}

static uint64_t pic_master_read(void *dev, uint64_t offset, unsigned size)
{
	return pic_read(dev, 0, offset);
}

static void pic_master_write(void *dev, uint64_t offset, unsigned size,
			     uint64_t value)
{
	pic_write(dev, 0, offset, (uint8_t)value);
}

static uint64_t pic_slave_read(void *dev, uint64_t offset, unsigned size)
{
	return pic_read(dev, 1, offset);
}

static void pic_slave_write(void *dev, uint64_t offset, unsigned size,
			    uint64_t value)
{
	pic_write(dev, 1, offset, (uint8_t)value);
}

/* --- ELCR ----------------------------------------------------------------- */

static uint64_t pic_elcr_read(void *dev, uint64_t offset, unsigned size)
{
	struct pic *p = dev;

	pthread_mutex_lock(&p->lock);
	uint8_t value = p->chip[offset & 1].elcr;
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void pic_elcr_write(void *dev, uint64_t offset, unsigned size,
			   uint64_t value)
{
	struct pic *p = dev;
	struct pic_chip *c = &p->chip[offset & 1];

	pthread_mutex_lock(&p->lock);
	c->elcr = (uint8_t)value & c->elcr_mask;
	pic_update(p);
	pthread_mutex_unlock(&p->lock);
}

static const struct io_ops pic_master_ops = {
	.read = pic_master_read,
	.write = pic_master_write,
	.max_size = 1,
};

static const struct io_ops pic_slave_ops = {
	.read = pic_slave_read,
	.write = pic_slave_write,
	.max_size = 1,
};

static const struct io_ops pic_elcr_ops = {
	.read = pic_elcr_read,
	.write = pic_elcr_write,
	.max_size = 1,
};

/* --- Life ----------------------------------------------------------------- */

/*
 * The data sheet leaves the power-on state open; everything masked keeps a
 * guest that starts without firmware from interrupts it has not set up.
 * IRQ 0, 1, 2, 8 and 13 cannot be level-triggered (PIIX 4.2.5).
 */
static void pic_chip_reset(struct pic_chip *c, bool master)
{
	uint8_t lines = c->lines;

	*c = (struct pic_chip){ .lines = lines,
				.imr = 0xff,
				.lowest = 7,
				.is_master = master,
				.icw1 = PIC_ICW1 | PIC_ICW1_IC4,
				.icw4 = 0x01,
				.elcr_mask = master ? 0xf8 : 0xde };
}

static void pic_reset(struct dev *dev)
{
	struct pic *p = (struct pic *)dev;

	pthread_mutex_lock(&p->lock);
	pic_chip_reset(&p->chip[0], true);
	pic_chip_reset(&p->chip[1], false);
	pic_update(p);
	pthread_mutex_unlock(&p->lock);
}

static void pic_chip_walk(struct pic_chip *c, unsigned i, struct walk *w)
{
	if (!walk_section(w, "pic", i, 1))
		return;
	walk_u8(w, "lines", &c->lines);
	walk_u8(w, "latch", &c->latch);
	walk_u8(w, "elcr", &c->elcr);
	walk_u8(w, "isr", &c->isr);
	walk_u8(w, "imr", &c->imr);
	walk_u8(w, "icw1", &c->icw1);
	walk_u8(w, "icw2", &c->icw2);
	walk_u8(w, "icw3", &c->icw3);
	walk_u8(w, "icw4", &c->icw4);
	walk_u8(w, "init_next", &c->init_next);
	walk_u8(w, "lowest", &c->lowest);
	walk_bool(w, "rotate_aeoi", &c->rotate_aeoi);
	walk_bool(w, "special_mask", &c->special_mask);
	walk_bool(w, "poll", &c->poll);
	walk_bool(w, "read_isr", &c->read_isr);
	walk_end(w);
	if (!walk_restoring(w))
		return;
	c->elcr &= c->elcr_mask;
	if (c->lowest > 7 || c->init_next > 4) {
		c->lowest = 7;
		walk_fail(w, "pic: impossible priority or initialisation");
	}
}

static void pic_walk(struct dev *dev, struct walk *w)
{
	struct pic *p = (struct pic *)dev;

	pthread_mutex_lock(&p->lock);
	pic_chip_walk(&p->chip[0], 0, w);
	pic_chip_walk(&p->chip[1], 1, w);
	if (walk_restoring(w))
		pic_update(p);
	pthread_mutex_unlock(&p->lock);
}

static void pic_free(struct dev *dev)
{
	struct pic *p = (struct pic *)dev;

	pthread_mutex_destroy(&p->lock);
	free(p);
}

int pic_new(struct pic **out, const struct dev_env *env, struct irq intr,
	    struct err *err)
{
	struct pic *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return err_set(err, ENOMEM, "no memory for the 8259s");
	p->dev = (struct dev){ .name = "pic",
			       .reset = pic_reset,
			       .walk = pic_walk,
			       .free = pic_free };
	p->intr = intr;
	pthread_mutex_init(&p->lock, NULL);
	rc = mem_map_ports(env->mem, PIC_MASTER_PORT, 2, &pic_master_ops, p,
			   "pic");
	if (rc == 0)
		rc = mem_map_ports(env->mem, PIC_SLAVE_PORT, 2, &pic_slave_ops,
				   p, "pic");
	if (rc == 0)
		rc = mem_map_ports(env->mem, PIC_ELCR_PORT, 2, &pic_elcr_ops, p,
				   "elcr");
	if (rc < 0) {
		pic_free(&p->dev);
		return err_set(err, -rc, "8259s: ports in use");
	}
	pic_reset(&p->dev);
	*out = p;
	return 0;
}
