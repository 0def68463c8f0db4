/*
 * fuzz_ahci.c - a driver that writes what it likes into the AHCI adapter's
 * registers and command tables: nothing may crash or hang.
 *
 * The input is steps of 8 bytes: what, port, where, value.  Some steps make
 * good commands, so that odd ones find a port that works.
 */
#include <fcntl.h>
#include <unistd.h>

#include "dev/ata/ahci.h"
#include "devtest.h"
#include "fuzz.h"

#define BAR       0xd0000000ull
#define LIST      0x10000u
#define FISES     0x20000u
#define TABLES    0x30000u
#define DATA      0x80000u
#define DISK_SIZE (1u << 20)

struct step {
	uint8_t what, port;
	uint16_t where;
	uint32_t value;
};

struct bench {
	struct dt dt;
	struct dt_line pirq[PCI_PIRQS];
	struct pci_host *host;
	struct ahci *ahci;
	char path[64];
};

static void reg_write(struct bench *b, unsigned port, unsigned reg, uint32_t v)
{
	mem_mmio_write(b->dt.env.mem, BAR + 0x100 + port * 0x80 + reg, 4, v);
}

static struct block *bench_disk(struct bench *b)
{
	struct block_open how = { .path = b->path,
				  .format = "raw",
				  .no_lock = true };
	struct block *disk;

	if (block_open(&disk, &how, NULL))
		abort();
	return disk;
}

static void bench_pci(struct bench *b)
{
	struct mem *m = b->dt.env.mem;

	mem_port_write(m, 0xcf8, 4, 0x8000fa24);
	mem_port_write(m, 0xcfc, 4, (uint32_t)BAR);
	mem_port_write(m, 0xcf8, 4, 0x8000fa04);
	mem_port_write(m, 0xcfc, 2, 6);
}

static struct bench *bench_get(void)
{
	static struct bench b;
	struct pci_host_config pci = { 0 };
	struct ahci_config config = { .slot = AHCI_SLOT, .func = AHCI_FUNC };
	int fd;

	if (b.ahci)
		return &b;
	dt_init(&b.dt);
	snprintf(b.path, sizeof(b.path), "/tmp/hostel-fuzz-ahci.XXXXXX");
	fd = mkstemp(b.path);
	if (fd < 0 || ftruncate(fd, DISK_SIZE))
		abort();
	close(fd);
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci.pirq[i] = dt_irq(&b.pirq[i]);
	config.port[0].drive = AHCI_DISK;
	config.port[0].block = bench_disk(&b);
	config.port[1].drive = AHCI_CDROM;
	config.port[1].block = bench_disk(&b);
	config.port[4].drive = AHCI_CDROM;
	if (pci_host_new(&b.host, &b.dt.env, &pci, NULL) ||
	    ahci_new(&b.ahci, b.host, &config, NULL))
		abort();
	unlink(b.path);
	return &b;
}

/* Registers that point to memory of ours, and a port that runs. */
static void bench_start(struct bench *b, unsigned port)
{
	reg_write(b, port, 0x00, LIST + port * 1024);
	reg_write(b, port, 0x04, 0);
	reg_write(b, port, 0x08, FISES + port * 256);
	reg_write(b, port, 0x0c, 0);
	reg_write(b, port, 0x18, 0);
	reg_write(b, port, 0x30, 0xffffffff);
	reg_write(b, port, 0x18, 0x11);
	reg_write(b, port, 0x14, 0xffffffff);
}

/* A command that makes sense: `where` is the code, or the packet's. */
static void bench_command(struct bench *b, unsigned port, uint8_t code,
			  uint32_t value)
{
	struct mem *m = b->dt.env.mem;
	unsigned slot = value & 31;
	uint64_t table = TABLES + slot * 0x400, list = LIST + port * 1024;
	uint32_t header[4] = { 5 | (value >> 8 & 3) << 16, 0, (uint32_t)table,
			       0 };
	uint32_t prd[8] = { DATA,           0, 0, (value >> 12 & 0xffff) | 1,
			    DATA + 0x40000, 0, 0, 0xffff };
	uint8_t fis[0x80] = {
		0x27, 0x80, code, (uint8_t)(value >> 16), (uint8_t)(value >> 5),
		0,    0,    0x40
	};

	fis[12] = (uint8_t)(code == 0x60 || code == 0x61 ? slot << 3
							 : value >> 24);
	if (port) {
		fis[2] = 0xa0;
		fis[3] = value >> 10 & 1;
		fis[0x40] = code;
		fis[0x44] = (uint8_t)(value >> 5);
		fis[0x48] = (uint8_t)(value >> 16);
		header[0] |= 0x20;
	}
	mem_write(m, list + slot * 32, header, sizeof(header));
	mem_write(m, table, fis, sizeof(fis));
	mem_write(m, table + 0x80, prd, sizeof(prd));
	reg_write(b, port, 0x38, 1u << slot);
}

static void bench_step(struct bench *b, const struct step *s)
{
	struct mem *m = b->dt.env.mem;
	static const uint8_t ports[] = { 0, 1, 4, 0 };
	unsigned port = ports[s->port & 3];

	switch (s->what & 7) {
	case 0:
		bench_start(b, port);
		return;
	case 1:
	case 2:
		bench_command(b, port, (uint8_t)s->where, s->value);
		return;
	case 3: /* any register */
		mem_mmio_write(m, BAR + (s->where & 0xfff),
			       1u << (s->port >> 6), s->value);
		return;
	case 4:
		mem_mmio_read(m, BAR + (s->where & 0xfff), 4);
		return;
	case 5: /* any byte of lists and tables */
		mem_write(m, LIST + (s->where | (s->port & 3u) << 16),
			  &s->value, 4);
		return;
	case 6:
		reg_write(b, port, (s->where & 0x7c) % 0x40, s->value);
		return;
	default:
		DEV(b->ahci)->drain(DEV(b->ahci));
	}
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const uint8_t codes[] = { 0xec, 0x25, 0x35, 0x60, 0x61, 0x06,
					 0xea, 0xb0, 0x28, 0x12, 0x43, 0x46,
					 0x4a, 0x5a, 0x1b, 0xbe };
	struct step s[16];

	if (i >= 16 || cap < sizeof(s))
		return 0;
	for (unsigned k = 0; k < 16; k++)
		s[k] = (struct step){ k ? 1 : 0, (uint8_t)(i / 8), codes[i],
				      k * 0x01011421u };
	memcpy(buf, s, sizeof(s));
	return sizeof(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bench *b = bench_get();
	struct step s;

	DEV(b->ahci)->reset(DEV(b->ahci));
	DEV(b->host)->reset(DEV(b->host));
	bench_pci(b);
	for (size_t at = 0; at + sizeof(s) <= len; at += sizeof(s)) {
		memcpy(&s, data + at, sizeof(s));
		bench_step(b, &s);
	}
	DEV(b->ahci)->drain(DEV(b->ahci));
	return 0;
}
