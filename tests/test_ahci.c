/* test_ahci.c - dev/ata: the AHCI adapter driven by its registers. */
#include "devtest.h"

#include <fcntl.h>
#include <unistd.h>

#include "dev/ata/ahci.h"

#define BAR    0xd0000000ull
#define LIST   0x10000u
#define FISES  0x20000u
#define TABLES 0x30000u
#define DATA   0x80000u
#define DISK   (1u << 20)

struct fix {
	struct dt dt;
	struct dt_line pirq[PCI_PIRQS];
	struct pci_host *host;
	struct ahci *ahci;
};

static uint32_t rd(struct fix *f, unsigned port, unsigned reg)
{
	return (uint32_t)mem_mmio_read(f->dt.env.mem,
				       BAR + 0x100 + port * 0x80 + reg, 4);
}

static void wr(struct fix *f, unsigned port, unsigned reg, uint32_t v)
{
	mem_mmio_write(f->dt.env.mem, BAR + 0x100 + port * 0x80 + reg, 4, v);
}

static struct block *disk(void)
{
	char path[] = "/tmp/hostel-ahci.XXXXXX";
	struct block_open how = { .path = path, .format = "raw" };
	struct block *b;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK), 0);
	close(fd);
	assert_int_equal(block_open(&b, &how, NULL), 0);
	unlink(path);
	return b;
}

static void start(struct fix *f, unsigned port)
{
	wr(f, port, 0x00, LIST + port * 1024);
	wr(f, port, 0x08, FISES + port * 256);
	wr(f, port, 0x30, 0xffffffff);
	wr(f, port, 0x18, 0x11);
	wr(f, port, 0x14, 0xffffffff);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct pci_host_config pci = { 0 };
	struct ahci_config config = { .slot = AHCI_SLOT, .func = AHCI_FUNC };
	struct mem *m;

	dt_init(&f->dt);
	m = f->dt.env.mem;
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci.pirq[i] = dt_irq(&f->pirq[i]);
	config.port[0].drive = AHCI_DISK;
	config.port[0].block = disk();
	config.port[1].drive = AHCI_CDROM;
	config.port[1].block = disk();
	assert_int_equal(pci_host_new(&f->host, &f->dt.env, &pci, NULL), 0);
	assert_int_equal(ahci_new(&f->ahci, f->host, &config, NULL), 0);
	mem_port_write(m, 0xcf8, 4, 0x8000fa24);
	mem_port_write(m, 0xcfc, 4, (uint32_t)BAR);
	mem_port_write(m, 0xcf8, 4, 0x8000fa04);
	mem_port_write(m, 0xcfc, 2, 6);
	start(f, 0);
	start(f, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->ahci)->free(DEV(f->ahci));
	DEV(f->host)->free(DEV(f->host));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

/* One command of `bytes` bytes; waits for it. */
static void issue(struct fix *f, unsigned port, unsigned slot,
		  const uint8_t fis[20], const uint8_t *cdb, uint32_t bytes)
{
	struct mem *m = f->dt.env.mem;
	uint32_t table = TABLES + slot * 0x400;
	uint32_t header[4] = { 5 | (cdb ? 0x20 : 0) | (bytes ? 1 << 16 : 0), 0,
			       table, 0 };
	uint32_t prd[4] = { DATA, 0, 0, bytes - 1 };
	uint8_t head[0x80] = { 0 };

	memcpy(head, fis, 20);
	if (cdb)
		memcpy(head + 0x40, cdb, 12);
	mem_write(m, LIST + port * 1024 + slot * 32, header, sizeof(header));
	mem_write(m, table, head, sizeof(head));
	mem_write(m, table + 0x80, prd, sizeof(prd));
	if (fis[2] == 0x60 || fis[2] == 0x61)
		wr(f, port, 0x34, 1u << slot);
	wr(f, port, 0x38, 1u << slot);
	DEV(f->ahci)->drain(DEV(f->ahci));
}

static void powers_on_with_signatures(void **state)
{
	struct fix *f = *state;

	assert_int_equal(mem_mmio_read(f->dt.env.mem, BAR + 0x0c, 4), 3);
	assert_int_equal(rd(f, 0, 0x24), 0x00000101);
	assert_int_equal(rd(f, 1, 0x24), 0xeb140101);
	assert_int_equal(rd(f, 0, 0x28), 0x123);
	assert_int_equal(rd(f, 0, 0x20) & 0x88, 0);
	assert_int_equal(rd(f, 2, 0x28), 0); /* no drive */
}

static void identifies_by_pio(void **state)
{
	struct fix *f = *state;
	const uint8_t fis[20] = { 0x27, 0x80, 0xec };
	uint16_t id[256];
	uint8_t sum = 0, type;

	issue(f, 0, 3, fis, NULL, 512);
	assert_int_equal(rd(f, 0, 0x38), 0);
	assert_int_equal(rd(f, 0, 0x10) & 2, 2); /* PIO Setup */
	mem_read(f->dt.env.mem, DATA, id, sizeof(id));
	for (unsigned i = 0; i < 512; i++)
		sum += ((uint8_t *)id)[i];
	assert_int_equal(sum, 0);
	assert_int_equal(id[100], DISK / 512);
	mem_read(f->dt.env.mem, FISES + 0x20, &type, 1);
	assert_int_equal(type, 0x5f);
}

static void writes_and_reads_queued(void **state)
{
	struct fix *f = *state;
	uint8_t fis[20] = { 0x27, 0x80, 0x61, 2, 100, 0, 0, 0x40 };
	uint8_t out[1024], in[1024];

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	mem_write(f->dt.env.mem, DATA, out, sizeof(out));
	fis[12] = 5 << 3;
	issue(f, 0, 5, fis, NULL, 1024);
	assert_int_equal(rd(f, 0, 0x34), 0);
	assert_int_equal(rd(f, 0, 0x10) & 8, 8); /* Set Device Bits */
	mem_zero(f->dt.env.mem, DATA, 1024);
	fis[2] = 0x60;
	fis[12] = 6 << 3;
	issue(f, 0, 6, fis, NULL, 1024);
	mem_read(f->dt.env.mem, DATA, in, sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
}

static void an_error_halts_until_st_is_cleared(void **state)
{
	struct fix *f = *state;
	uint8_t fis[20] = { 0x27, 0x80, 0x25, 0, 0, 0, 0xff, 0x40 };
	const uint8_t good[20] = { 0x27, 0x80, 0xea };

	fis[12] = 1;
	issue(f, 0, 0, fis, NULL, 512);
	assert_int_equal(rd(f, 0, 0x38), 1);
	assert_int_equal(rd(f, 0, 0x20) & 0xffff, 0x1051); /* IDNF */
	assert_int_equal(rd(f, 0, 0x10) >> 30 & 1, 1);
	issue(f, 0, 1, good, NULL, 0);
	assert_int_equal(rd(f, 0, 0x38), 3); /* waits */
	wr(f, 0, 0x18, 0x10);
	assert_int_equal(rd(f, 0, 0x18) >> 15 & 1, 0);
	assert_int_equal(rd(f, 0, 0x38), 0);
	wr(f, 0, 0x18, 0x11);
	issue(f, 0, 1, good, NULL, 0);
	assert_int_equal(rd(f, 0, 0x38), 0);
}

static void tables_outside_ram_halt(void **state)
{
	struct fix *f = *state;
	const uint8_t fis[20] = { 0x27, 0x80, 0xec };

	wr(f, 0, 0x04, 0xffff);
	issue(f, 0, 0, fis, NULL, 512);
	assert_int_equal(rd(f, 0, 0x10) >> 29 & 1, 1); /* host bus error */
}

static void the_cd_says_its_capacity(void **state)
{
	struct fix *f = *state;
	const uint8_t fis[20] = { 0x27, 0x80, 0xa0, 1 };
	const uint8_t cdb[12] = { 0x25 };
	uint8_t r[8];

	issue(f, 1, 0, fis, cdb, 8);
	mem_read(f->dt.env.mem, DATA, r, 8);
	assert_int_equal(r[2] << 8 | r[3], DISK / 2048 - 1);
	assert_int_equal(r[6] << 8 | r[7], 2048);
}

static void an_empty_tray_is_told(void **state)
{
	struct fix *f = *state;
	const uint8_t fis[20] = { 0x27, 0x80, 0xa0, 1 };
	const uint8_t ready[12] = { 0 };

	assert_int_equal(ahci_set_medium(f->ahci, 1, NULL, NULL), 0);
	issue(f, 1, 0, fis, ready, 0);
	assert_int_equal(rd(f, 1, 0x20) >> 12 & 0xf, 2); /* not ready */
}

static void interrupts_follow_is(void **state)
{
	struct fix *f = *state;
	const uint8_t fis[20] = { 0x27, 0x80, 0xea };
	unsigned pirq = pci_pirq(AHCI_SLOT, 1);

	mem_mmio_write(f->dt.env.mem, BAR + 4, 4, 0x80000002);
	wr(f, 0, 0x10, 0xffffffff);
	wr(f, 1, 0x10, 0xffffffff);
	mem_mmio_write(f->dt.env.mem, BAR + 8, 4, 0xffffffff);
	assert_false(f->pirq[pirq].level);
	issue(f, 0, 0, fis, NULL, 0);
	assert_true(f->pirq[pirq].level);
	mem_mmio_write(f->dt.env.mem, BAR + 8, 4, 1); /* the cause stays */
	assert_true(f->pirq[pirq].level);
	wr(f, 0, 0x10, 0xffffffff);
	mem_mmio_write(f->dt.env.mem, BAR + 8, 4, 1);
	assert_false(f->pirq[pirq].level);
}

static void command(struct fix *f, uint16_t value)
{
	mem_port_write(f->dt.env.mem, 0xcf8, 4, 0x8000fa04);
	mem_port_write(f->dt.env.mem, 0xcfc, 2, value);
}

static void commands_wait_for_bus_mastering(void **state)
{
	struct fix *f = *state;
	const uint8_t fis[20] = { 0x27, 0x80, 0xec };
	uint16_t id[256] = { 0 };

	mem_zero(f->dt.env.mem, DATA, 512);
	command(f, 2);
	issue(f, 0, 3, fis, NULL, 512);
	assert_int_equal(rd(f, 0, 0x38), 1 << 3);
	mem_read(f->dt.env.mem, DATA, id, sizeof(id));
	assert_int_equal(id[0], 0);
	command(f, 6);
	DEV(f->ahci)->drain(DEV(f->ahci));
	assert_int_equal(rd(f, 0, 0x38), 0);
	mem_read(f->dt.env.mem, DATA, id, sizeof(id));
	assert_int_equal(id[100], DISK / 512);
}

/* COMRESET: the link goes down, comes up, and the signature comes again. */
static void comreset_brings_the_signature(void **state)
{
	struct fix *f = *state;
	uint8_t fis[20] = { 0 };

	wr(f, 0, 0x30, 0xffffffff);
	wr(f, 0, 0x18, 0x10); /* not while ST is set (AHCI 10.4.2) */
	mem_zero(f->dt.env.mem, FISES, 256);
	wr(f, 0, 0x2c, 0x301);
	assert_int_equal(rd(f, 0, 0x28) & 0xf, 0);
	wr(f, 0, 0x2c, 0x300);
	assert_int_equal(rd(f, 0, 0x28), 0x123);
	assert_int_equal(rd(f, 0, 0x24), 0x00000101);
	assert_int_equal(rd(f, 0, 0x20) & 0x89, 0);
	assert_true(rd(f, 0, 0x30) & 1u << 26); /* DIAG.X: exchanged */
	mem_read(f->dt.env.mem, FISES + 0x40, fis, sizeof(fis));
	assert_int_equal(fis[0], 0x34);
	assert_int_equal(fis[12], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
		T(powers_on_with_signatures),
		T(commands_wait_for_bus_mastering),
		T(comreset_brings_the_signature),
		T(identifies_by_pio),
		T(writes_and_reads_queued),
		T(an_error_halts_until_st_is_cleared),
		T(tables_outside_ram_halt),
		T(the_cd_says_its_capacity),
		T(an_empty_tray_is_told),
		T(interrupts_follow_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
