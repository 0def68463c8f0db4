/* The 82540EM as a driver uses it, on a network that the test is. */
#include "devtest.h"
#include "nettest.h"

#include <errno.h>

#include "dev/e1000/e1000.h"
#include "net/packet.h"

#define SLOT  2
#define BAR   0xc0000000u
#define TX    0x10000u /* rings and buffers in the guest's memory */
#define RX    0x11000u
#define DATA  0x20000u
#define COUNT 8

/* Registers (SDM 13.2). */
#define CTRL 0x0000
#define EECD 0x0010
#define EERD 0x0014
#define MDIC 0x0020
#define ICR  0x00c0
#define IMS  0x00d0
#define IMC  0x00d8
#define RCTL 0x0100
#define TCTL 0x0400
#define RAL  0x5400

struct fix {
	struct dt dt;
	struct pci_host *host;
	struct e1000 *e;
	struct net_link link;
	struct dt_line pirq[PCI_PIRQS];
};

static void config_put(struct fix *f, unsigned reg, uint32_t value)
{
	mem_port_write(f->dt.env.mem, 0xcf8, 4, 0x80000000u | SLOT << 11 | reg);
	mem_port_write(f->dt.env.mem, 0xcfc, 4, value);
}

static uint32_t get(struct fix *f, unsigned reg)
{
	return (uint32_t)mem_mmio_read(f->dt.env.mem, BAR + reg, 4);
}

static void put(struct fix *f, unsigned reg, uint32_t value)
{
	mem_mmio_write(f->dt.env.mem, BAR + reg, 4, value);
}

static bool line(const struct fix *f)
{
	return f->pirq[pci_pirq(SLOT, 1)].level;
}

static struct e1000 *make(struct fix *f, unsigned slot)
{
	struct e1000_config config = { .slot = slot,
				       .mac = { 0x52, 1, 2, 3, 4, 5 } };
	struct e1000 *e;

	assert_int_equal(
		e1000_new(&e, &f->dt.env, f->host, &config, &f->link, NULL), 0);
	return e;
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct pci_host_config config = { 0 };

	dt_init(&f->dt);
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		config.pirq[i] = dt_irq(&f->pirq[i]);
	assert_int_equal(pci_host_new(&f->host, &f->dt.env, &config, NULL), 0);
	f->e = make(f, SLOT);
	config_put(f, PCI_BAR0, BAR);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->e)->free(DEV(f->e));
	assert_true(f->link.closed);
	DEV(f->host)->free(DEV(f->host));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

/* Descriptor n of a ring, as two words of eight bytes. */
static void desc(struct fix *f, uint64_t ring, unsigned n, uint64_t addr,
		 uint64_t rest)
{
	uint64_t d[2] = { addr, rest };

	assert_int_equal(mem_write(f->dt.env.mem, ring + n * 16, d, sizeof(d)),
			 0);
}

static uint64_t desc_rest(struct fix *f, uint64_t ring, unsigned n)
{
	uint64_t rest;

	mem_read(f->dt.env.mem, ring + n * 16 + 8, &rest, 8);
	return rest;
}

static void start(struct fix *f)
{
	put(f, 0x3800, TX);
	put(f, 0x3808, COUNT * 16);
	put(f, 0x2800, RX);
	put(f, 0x2808, COUNT * 16);
	put(f, TCTL, 2);
	put(f, RCTL, 2 | 0x8000);
	for (unsigned n = 0; n < COUNT; n++)
		desc(f, RX, n, DATA + 0x10000 + n * 2048, 0);
	put(f, 0x2818, COUNT - 1);
}

static void transmit(struct fix *f, unsigned tail)
{
	put(f, 0x3818, tail);
	f->link.ops->transmit(f->link.opaque);
}

/* --- Tests ---------------------------------------------------------------- */

static unsigned eeprom_bit(struct fix *f, bool di)
{
	put(f, EECD, 2 | (di ? 4 : 0));
	put(f, EECD, 2 | (di ? 4 : 0) | 1);
	return get(f, EECD) >> 3 & 1;
}

static uint16_t eeprom_wires(struct fix *f, unsigned word)
{
	unsigned command = 6 << 6 | word;
	uint16_t value = 0;

	put(f, EECD, 2);
	for (int i = 8; i >= 0; i--)
		eeprom_bit(f, command >> i & 1);
	for (int i = 0; i < 16; i++)
		value = (uint16_t)(value << 1 | eeprom_bit(f, false));
	put(f, EECD, 0);
	return value;
}

static void test_the_eeprom_holds_the_address(void **state)
{
	struct fix *f = *state;
	uint16_t sum = 0;

	for (unsigned n = 0; n < 64; n++) {
		uint16_t word = eeprom_wires(f, n);

		put(f, EERD, n << 8 | 1);
		assert_int_equal(get(f, EERD) >> 16, word);
		assert_true(get(f, EERD) & 0x10);
		sum = (uint16_t)(sum + word);
	}
	assert_int_equal(sum, 0xbaba);
	assert_int_equal(eeprom_wires(f, 0), 0x0152);
	assert_int_equal(eeprom_wires(f, 2), 0x0504);
	assert_int_equal(get(f, RAL), 0x03020152);
	assert_int_equal(get(f, RAL + 4), 0x80000504);
}

static void test_the_phy_has_a_link(void **state)
{
	struct fix *f = *state;

	put(f, MDIC, 2u << 26 | 1u << 21 | 2u << 16);
	assert_int_equal(get(f, MDIC) & 0xffff, 0x0141);
	put(f, MDIC, 2u << 26 | 1u << 21 | 1u << 16);
	assert_true(get(f, MDIC) & 4);
	assert_true(get(f, MDIC) & 1u << 28);
	put(f, MDIC, 2u << 26 | 3u << 21 | 1u << 16); /* no such PHY */
	assert_true(get(f, MDIC) & 1u << 30);
}

static void test_causes_raise_the_line_while_unmasked(void **state)
{
	struct fix *f = *state;

	put(f, 0xc8, 0x80);
	assert_false(line(f));
	put(f, IMS, 0x80);
	assert_true(line(f));
	put(f, IMC, 0x80);
	assert_false(line(f));
	put(f, IMS, 0x80);
	assert_int_equal(get(f, ICR), 0x80);
	assert_false(line(f));
	assert_int_equal(get(f, ICR), 0);
}

static void test_sends_legacy_frames_in_pieces(void **state)
{
	struct fix *f = *state;
	uint8_t data[60];

	start(f);
	put(f, IMS, 3);
	memset(data, 7, sizeof(data));
	mem_write(f->dt.env.mem, DATA, data, sizeof(data));
	desc(f, TX, 0, DATA, 20);
	desc(f, TX, 1, DATA + 20, 40 | 0x09ull << 24); /* RS, EOP */
	transmit(f, 2);
	assert_int_equal(f->link.sent, 1);
	assert_int_equal(f->link.len, 60);
	assert_memory_equal(f->link.frame, data, 60);
	assert_int_equal(get(f, 0x3810), 2);
	assert_true(desc_rest(f, TX, 1) >> 32 & 1);
	assert_false(desc_rest(f, TX, 0) >> 32 & 1);
	assert_true(line(f));
}

/* A context and a frame of 3000 bytes: handed on whole, to be cut. */
static void test_segmentation_is_handed_on(void **state)
{
	struct fix *f = *state;
	uint8_t frame[54 + 3000] = { 2 };

	start(f);
	packet_put16(frame + 12, ETH_TYPE_IPV4);
	memcpy(frame + 14, "\x45\0\0\0\0\1\0\0\x40\6\0\0\12\0\2\17\1\2\3\4",
	       20); /* no length, as drivers leave it */
	frame[46] = 0x50;
	mem_write(f->dt.env.mem, DATA, frame, sizeof(frame));
	desc(f, TX, 0,
	     14 | 24ull << 8 | 33ull << 16 | 34ull << 32 | 50ull << 40,
	     3000 | 0ull << 20 | 0x27ull << 24 | 54ull << 40 | 1460ull << 48);
	desc(f, TX, 1, DATA,
	     sizeof(frame) | 1ull << 20 | 0x2dull << 24 | 3ull << 40);
	transmit(f, 2);
	assert_int_equal(f->link.sent, 1);
	assert_int_equal(f->link.hdr.gso_type, NET_GSO_TCPV4);
	assert_int_equal(f->link.hdr.gso_size, 1460);
	assert_int_equal(f->link.hdr.csum_start, 34);
	assert_int_equal(packet_get16(f->link.frame + 16), sizeof(frame) - 14);
}

static void give(struct fix *f, const uint8_t mac[6], int expect)
{
	struct net_hdr hdr = { 0 };
	uint8_t frame[42] = { 0 };

	memcpy(frame, mac, 6);
	assert_int_equal(nettest_give(&f->link, &hdr, frame, sizeof(frame)),
			 expect);
}

static void test_receives_what_is_for_it(void **state)
{
	static const uint8_t own[6] = { 0x52, 1, 2, 3, 4, 5 };
	static const uint8_t other[6] = { 0x52, 1, 2, 3, 4, 6 };
	static const uint8_t group[6] = { 1, 0, 0x5e, 1, 2, 3 };
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	struct fix *f = *state;

	give(f, own, 0); /* off: dropped */
	start(f);
	put(f, IMS, 0x80);
	give(f, other, 0);
	give(f, group, 0);
	assert_int_equal(get(f, 0x2810), 0);
	assert_false(line(f));
	give(f, own, 0);
	assert_int_equal(get(f, 0x2810), 1);
	assert_true(line(f));
	/* Padded, with a place for the FCS; done, end of packet. */
	assert_int_equal(desc_rest(f, RX, 0) & 0xffff, 64);
	assert_int_equal(desc_rest(f, RX, 0) >> 32 & 3, 3);
	give(f, all, 0);
	assert_int_equal(get(f, 0x2810), 2);
	put(f, RCTL, 2 | 8 | 16); /* promiscuous, but no broadcasts */
	give(f, other, 0);
	give(f, group, 0);
	assert_int_equal(get(f, 0x2810), 4);
}

static void test_without_descriptors_frames_wait(void **state)
{
	static const uint8_t own[6] = { 0x52, 1, 2, 3, 4, 5 };
	struct fix *f = *state;

	start(f);
	for (unsigned n = 0; n < COUNT - 1; n++)
		give(f, own, 0);
	give(f, own, -EAGAIN);
	put(f, 0x2818, 3);
	give(f, own, 0);
}

/* Rings that lie nowhere, are too long, or end outside. */
static void test_wild_rings_harm_nothing(void **state)
{
	static const uint8_t own[6] = { 0x52, 1, 2, 3, 4, 5 };
	struct fix *f = *state;
	uint64_t seed = 3;

	start(f);
	for (unsigned n = 0; n < 20000; n++) {
		static const unsigned regs[] = { 0x2800, 0x2804, 0x2808, 0x2810,
						 0x2818, 0x3800, 0x3804, 0x3808,
						 0x3810, 0x3818, RCTL,   TCTL };
		unsigned reg = regs[dt_random(&seed) % 12];
		struct net_hdr hdr = { 0 };
		uint8_t frame[3000] = { 0x52, 1, 2, 3, 4, 5 };

		if (dt_random(&seed) & 1)
			put(f, reg, (uint32_t)dt_random(&seed));
		else
			desc(f, TX, dt_random(&seed) % COUNT,
			     dt_random(&seed) % 0x200000, dt_random(&seed));
		f->link.ops->transmit(f->link.opaque);
		nettest_give(&f->link, &hdr, frame,
			     14 + dt_random(&seed) % 2900);
	}
	put(f, CTRL, 1u << 26);
	start(f);
	give(f, own, 0);
	assert_int_equal(get(f, 0x2810), 1);
}

static void test_its_state_is_all_saved(void **state)
{
	struct fix *f = *state;
	struct e1000 *other = make(f, SLOT + 1);

	start(f);
	put(f, EECD, 3);
	put(f, IMS, 0x55);
	desc(f, TX, 0, DATA, 20); /* half a frame */
	f->link.opaque = f->e;
	transmit(f, 1);
	dt_copy_state(DEV(f->e), DEV(other));
	DEV(other)->free(DEV(other));
}

/* Cleared by reading; octets when their upper half is read. */
static void test_statistics_are_cleared_by_reading(void **state)
{
	static const uint8_t own[6] = { 0x52, 1, 2, 3, 4, 5 };
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	struct fix *f = *state;
	uint8_t data[600] = { 1 };

	start(f);
	give(f, own, 0);
	give(f, all, 0);
	mem_write(f->dt.env.mem, DATA, data, sizeof(data));
	desc(f, TX, 0, DATA, sizeof(data) | 0x09ull << 24);
	transmit(f, 1);
	put(f, 0x4074, 77);                  /* read-only */
	assert_int_equal(get(f, 0x4074), 2); /* good packets in */
	assert_int_equal(get(f, 0x4074), 0);
	assert_int_equal(get(f, 0x4078), 1); /* broadcast */
	assert_int_equal(get(f, 0x405c), 2); /* of 64 bytes */
	assert_int_equal(get(f, 0x40c0), 128);
	assert_int_equal(get(f, 0x40c0), 128);
	assert_int_equal(get(f, 0x40c4), 0);
	assert_int_equal(get(f, 0x40c0), 0);
	assert_int_equal(get(f, 0x4080), 1); /* good packets out */
	assert_int_equal(get(f, 0x40e8), 1); /* of 512 to 1023 bytes */
	assert_int_equal(get(f, 0x40f0), 1); /* multicast */
	assert_int_equal(get(f, 0x4090), 604);
}

static void test_reserved_bits_read_as_zero(void **state)
{
	static const uint32_t rows[][2] = {
		{ 0x2808, 0x000fff80 }, { 0x2800, 0xfffffff0 },
		{ 0x2820, 0x0000ffff }, { 0x0410, 0x3fffffff },
		{ 0x540c, 0x8003ffff }, { 0x5204, 0xffffffff },
	};
	struct fix *f = *state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(f, rows[i][0], 0xffffffff);
		assert_int_equal(get(f, rows[i][0]), rows[i][1]);
	}
}

static void test_loopback_comes_back(void **state)
{
	struct fix *f = *state;
	uint8_t data[60], back[60];

	start(f);
	put(f, IMS, 0x80);
	put(f, RCTL, 2 | 0x8000 | 3 << 6);
	memset(data, 0xff, sizeof(data));
	mem_write(f->dt.env.mem, DATA, data, sizeof(data));
	desc(f, TX, 0, DATA, sizeof(data) | 0x09ull << 24);
	transmit(f, 1);
	assert_int_equal(f->link.sent, 0);
	assert_int_equal(get(f, 0x2810), 1);
	assert_true(line(f));
	mem_read(f->dt.env.mem, DATA + 0x10000, back, sizeof(back));
	assert_memory_equal(back, data, sizeof(data));
}

/* Neither descriptors are read nor frames written until it may. */
static void test_only_a_bus_master_moves_frames(void **state)
{
	static const uint8_t own[6] = { 0x52, 1, 2, 3, 4, 5 };
	struct fix *f = *state;

	start(f);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEM);
	desc(f, TX, 0, DATA, 60 | 0x09ull << 24);
	transmit(f, 1);
	give(f, own, 0);
	assert_int_equal(f->link.sent, 0);
	assert_int_equal(get(f, 0x3810), 0);
	assert_int_equal(get(f, 0x2810), 0);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	transmit(f, 1); /* as the kick does */
	assert_int_equal(f->link.sent, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_eeprom_holds_the_address),
		TEST(test_the_phy_has_a_link),
		TEST(test_causes_raise_the_line_while_unmasked),
		TEST(test_sends_legacy_frames_in_pieces),
		TEST(test_segmentation_is_handed_on),
		TEST(test_receives_what_is_for_it),
		TEST(test_without_descriptors_frames_wait),
		TEST(test_wild_rings_harm_nothing),
		TEST(test_statistics_are_cleared_by_reading),
		TEST(test_reserved_bits_read_as_zero),
		TEST(test_loopback_comes_back),
		TEST(test_only_a_bus_master_moves_frames),
		TEST(test_its_state_is_all_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
