/*
 * e1000_eeprom.c - the 82540's EEPROM and PHY (SDM 5, 8).
 *
 * The EEPROM is a 93C46: 64 words behind four wires.  After CS rises, bits
 * are taken from DI as SK rises: a start bit, two of operation (10: read), six
 * of address; then the word comes out on DO, highest bit first.  Writing to it
 * is not modelled: it holds the card's address, which is the host's to say.
 */
#include <string.h>

#include "dev/e1000/e1000_impl.h"

#define EECD_SK   0x001
#define EECD_CS   0x002
#define EECD_DI   0x004
#define EECD_DO   0x008
#define EECD_REQ  0x040
#define EECD_GNT  0x080
#define EECD_PRES 0x100

#define EEPROM_COMMAND 9 /* bits */
#define EEPROM_READ    6 /* start bit, 10 */
#define EEPROM_SUM     0xbaba

void e1000_eeprom_init(struct e1000 *e)
{
	uint16_t sum = 0;

	for (unsigned i = 0; i < 3; i++)
		e->word[i] = (uint16_t)(e->own_mac[2 * i] |
					e->own_mac[2 * i + 1] << 8);
	e->word[0x0a] = 0x4008; /* initialization control 1 (SDM 5.6.5) */
	e->word[0x0b] = 0x001e; /* subsystem */
	e->word[0x0c] = 0x8086;
	e->word[0x0d] = 0x100e;
	e->word[0x0e] = 0x8086;
	e->word[0x0f] = 0x3040;
	for (unsigned i = 0; i < 63; i++)
		sum = (uint16_t)(sum + e->word[i]);
	e->word[63] = (uint16_t)(EEPROM_SUM - sum);
}

/* SK has risen. */
static void eeprom_clock(struct e1000 *e, bool di)
{
	struct e1000_eeprom *p = &e->eeprom;

	if (p->out) {
		p->bits += p->bits < 16;
		return;
	}
	if (!p->bits && !di)
		return; /* before the start bit */
	p->shift = (uint16_t)(p->shift << 1 | di);
	if (++p->bits < EEPROM_COMMAND)
		return;
	p->out = p->shift >> 6 == EEPROM_READ;
	p->shift = e->word[p->shift & 63];
	p->bits = 0;
}

void e1000_write_eecd(struct e1000 *e, uint32_t value)
{
	struct e1000_eeprom *p = &e->eeprom;
	uint32_t rose = value & ~p->wires;

	p->wires = value & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ);
	if (!(value & EECD_CS))
		*p = (struct e1000_eeprom){ .wires = p->wires };
	else if (rose & EECD_SK && !p->out)
		eeprom_clock(e, value & EECD_DI);
	else if (rose & EECD_SK)
		eeprom_clock(e, false);
}

/* DO: nothing before SK first rises behind the command, then bit by bit. */
uint32_t e1000_read_eecd(struct e1000 *e)
{
	const struct e1000_eeprom *p = &e->eeprom;
	uint32_t value = p->wires | EECD_PRES;

	if (value & EECD_REQ)
		value |= EECD_GNT;
	if (!p->out || (p->bits && p->shift >> (16 - p->bits) & 1))
		value |= EECD_DO;
	return value;
}

/* SDM 13.4.4: start, address; done, data. */
void e1000_write_eerd(struct e1000 *e, uint32_t value)
{
	uint32_t word = value >> 8 & 0xff;

	if (value & 1)
		value = (value & 0xff00) | 0x10 |
			(word < 64 ? (uint32_t)e->word[word] << 16 : 0);
	*e1000_reg(e, E1000_EERD) = value;
}

/* --- The PHY (SDM 13.4.7, 8.2) -------------------------------------------- */

/* An M88E1000 that has agreed on 1000 Mbit/s, full duplex. */
void e1000_phy_reset(struct e1000 *e)
{
	static const struct {
		uint8_t reg;
		uint16_t value;
	} power_on[] = {
		{ 0, 0x1140 },  { 1, 0x796d },  { 2, 0x0141 },  { 3, 0x0c20 },
		{ 4, 0x0de1 },  { 5, 0xcde1 },  { 6, 0x000f },  { 9, 0x0e00 },
		{ 10, 0x7c00 }, { 15, 0x3000 }, { 16, 0x0360 }, { 17, 0xac00 },
		{ 20, 0x0d60 },
	};

	memset(e->phy, 0, sizeof(e->phy));
	for (size_t i = 0; i < sizeof(power_on) / sizeof(power_on[0]); i++)
		e->phy[power_on[i].reg] = power_on[i].value;
}

static void phy_write(struct e1000 *e, unsigned reg, uint16_t value)
{
	static const uint32_t writable = 1u << 0 | 1u << 4 | 1u << 9 |
					 1u << 16 | 1u << 18 | 1u << 20 |
					 1u << 29 | 1u << 30;

	if (reg == 0 && value & 0x8000)
		e1000_phy_reset(e);
	else if (reg == 0) /* restart ends at once */
		e->phy[0] = value & (uint16_t)~0x0200;
	else if (writable >> reg & 1)
		e->phy[reg] = value;
}

void e1000_write_mdic(struct e1000 *e, uint32_t value)
{
	unsigned reg = value >> 16 & 31, phy = value >> 21 & 31;
	unsigned op = value >> 26 & 3;

	value &= ~(1u << 30);
	if (phy != 1)
		value |= 1u << 30; /* nobody answers */
	else if (op == 1)
		phy_write(e, reg, (uint16_t)value);
	else if (op == 2)
		value = (value & 0xffff0000) | e->phy[reg];
	*e1000_reg(e, E1000_MDIC) = value | 1u << 28;
	/* Interrupt enable (bit 29): MDAC. */
	if (value & 1u << 29)
		e1000_interrupt(e, 0x200);
}
