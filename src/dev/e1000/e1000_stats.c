/*
 * e1000_stats.c - what the 82540 counts (SDM 13.7).
 *
 * A register is cleared by reading it, and stays at its end where it would
 * overflow.  Octets are counted in pairs of registers, which reading the upper
 * one clears; they include the FCS.
 */
#include "dev/e1000/e1000_impl.h"
#include "net/packet.h"

#define STATS_FIRST 0x4000
#define STATS_END   0x4100
#define STATS_FCS   4

/* Registers of one direction. */
struct stats_regs {
	unsigned sizes, good, broadcast, multicast, good_octets, octets, total;
};

static const struct stats_regs stats_rx = { 0x405c, 0x4074, 0x4078, 0x407c,
					    0x4088, 0x40c0, 0x40d0 };
static const struct stats_regs stats_tx = { 0x40d8, 0x4080, 0x40f4, 0x40f0,
					    0x4090, 0x40c8, 0x40d4 };

static void stats_add(struct e1000 *e, unsigned reg)
{
	uint32_t *r = e1000_reg(e, reg);

	*r += *r != UINT32_MAX;
}

static void stats_add_octets(struct e1000 *e, unsigned reg, uint64_t n)
{
	uint32_t *low = e1000_reg(e, reg), *high = e1000_reg(e, reg + 4);
	uint64_t sum = ((uint64_t)*high << 32 | *low) + n;

	if (sum < n)
		sum = UINT64_MAX;
	*low = (uint32_t)sum;
	*high = (uint32_t)(sum >> 32);
}

/* Up to 64, 127, 255, 511, 1023 bytes, and more. */
static unsigned stats_size(size_t len)
{
	unsigned n = 0;

	for (size_t limit = 64; n < 5 && len > limit; n++)
		limit = n ? limit * 2 + 1 : 127;
	return n;
}

static void stats_frame(struct e1000 *e, const struct stats_regs *regs,
			const uint8_t *frame, size_t len)
{
	size_t bytes = (len < 60 ? 60 : len) + STATS_FCS;

	stats_add(e, regs->sizes + stats_size(bytes) * 4);
	stats_add(e, regs->good);
	stats_add(e, regs->total);
	if (packet_is_broadcast(frame))
		stats_add(e, regs->broadcast);
	else if (packet_is_group(frame))
		stats_add(e, regs->multicast);
	stats_add_octets(e, regs->good_octets, bytes);
	stats_add_octets(e, regs->octets, bytes);
}

void e1000_count_sent(struct e1000 *e, const uint8_t *frame, size_t len)
{
	stats_frame(e, &stats_tx, frame, len);
}

void e1000_count_received(struct e1000 *e, const uint8_t *frame, size_t len)
{
	stats_frame(e, &stats_rx, frame, len);
}

void e1000_count_missed(struct e1000 *e)
{
	stats_add(e, E1000_RNBC);
}

bool e1000_is_statistic(uint64_t offset)
{
	return offset >= STATS_FIRST && offset < STATS_END;
}

/* Where the lower half of a pair is: it stays until the upper one is read. */
static bool stats_is_pair(uint64_t offset, bool upper)
{
	uint64_t low = upper ? offset - 4 : offset;

	return low == stats_rx.good_octets || low == stats_tx.good_octets ||
	       low == stats_rx.octets || low == stats_tx.octets;
}

uint32_t e1000_read_statistic(struct e1000 *e, uint64_t offset)
{
	uint32_t value = e->reg[offset / 4];

	if (stats_is_pair(offset, false))
		return value;
	e->reg[offset / 4] = 0;
	if (stats_is_pair(offset, true))
		e->reg[offset / 4 - 1] = 0;
	return value;
}
