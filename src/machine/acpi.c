/*
 * acpi.c - the tables that describe the board, but for the DSDT's contents.
 *
 * Theory of operation
 *
 * Tables are written one behind the other into a block (struct acpi_block)
 * whose address in the guest is known (ACPI_BASE, unless firmware takes it
 * elsewhere: then struct acpi_links tells it what to mend), so a table's guest
 * address follows from where it is in the block.  acpi_begin() reserves a table
 * and fills its header in, acpi_append() makes it longer, acpi_finish() sets
 * length and checksum; a block that is full only notes it, and acpi_build()
 * asks once.
 *
 *	RSDP -> XSDT, RSDT -> FADT -> DSDT, FACS
 *			   -> MADT
 *			   -> MCFG
 *
 * The RSDT, with addresses of 32 bits, is for boot loaders: GRUB reads no
 * other.  Deliberately missing: HPET (the TSC and the paravirtual clock serve
 * better), SMBIOS (not ACPI's).
 */
#include "machine/acpi.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "cpu/x86/lapic.h"
#include "dev/pc/acpi_pm.h"
#include "dev/pc/ioapic.h"
#include "dev/pci/host.h"

/* System description table header (5.2.6) */
struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

/* Generic address structure (5.2.3.2) */
struct acpi_gas {
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

#define ACPI_GAS_IO 1

struct acpi_rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct acpi_fadt { /* 5.2.9, revision 6.5 */
	struct acpi_header h;
	uint32_t facs, dsdt;
	uint8_t reserved1, pm_profile;
	uint16_t sci_irq;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr;
	uint32_t gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cst_cnt;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct acpi_gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt;
	struct acpi_gas x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1;
	struct acpi_gas sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_header) == 36, "table header");
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT of ACPI 6.5");
_Static_assert(sizeof(struct acpi_rsdp) == ACPI_RSDP_SIZE, "RSDP");
_Static_assert(offsetof(struct acpi_rsdp, xsdt) == ACPI_RSDP_XSDT, "RSDP");
_Static_assert(offsetof(struct acpi_rsdp, rsdt) == ACPI_RSDP_RSDT, "RSDP");

/* FADT boot architecture flags (table 5.11) and fixed feature flags (5.10) */
#define ACPI_BOOT_LEGACY  0x0001
#define ACPI_BOOT_8042    0x0002
#define ACPI_BOOT_NO_VGA  0x0004
#define ACPI_BOOT_NO_ASPM 0x0010

#define ACPI_FLAG_WBINVD      (1u << 0)
#define ACPI_FLAG_PROC_C1     (1u << 2)
#define ACPI_FLAG_NO_SLP_BTN  (1u << 5)
#define ACPI_FLAG_NO_FIX_RTC  (1u << 6)
#define ACPI_FLAG_TMR_VAL_EXT (1u << 8)
#define ACPI_FLAG_RESET_REG   (1u << 10)

/* MADT structures (5.2.12) */
struct acpi_madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct acpi_madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t x2apic_id, flags, uid;
} __attribute__((packed));

struct acpi_madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct acpi_madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

struct acpi_madt_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

struct acpi_madt_x2apic_nmi {
	uint8_t type, length;
	uint16_t flags;
	uint32_t uid;
	uint8_t lint, reserved[3];
} __attribute__((packed));

#define ACPI_MADT_ENABLED    1u
#define ACPI_XAPIC_MAX       254u /* ids above need x2APIC entries */
#define ACPI_INTI_LEVEL_HIGH 0x000d

/* Where tables go, one behind the other. */
struct acpi_block {
	const struct acpi_config *config;
	struct acpi_links *links; /* NULL: not wanted */
	uint8_t *buf;
	size_t len;
	bool overflow;
};

static uint8_t acpi_sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return sum;
}

/* Reserves `len` zeroed bytes at the given alignment; NULL: full. */
static void *acpi_alloc(struct acpi_block *b, size_t len, size_t align)
{
	size_t at = (b->len + align - 1) & ~(align - 1);

	if (b->overflow || len > ACPI_SIZE || at > ACPI_SIZE - len) {
		b->overflow = true;
		return NULL;
	}
	memset(b->buf + b->len, 0, at + len - b->len);
	b->len = at + len;
	return b->buf + at;
}

static uint64_t acpi_gpa(const struct acpi_block *b, const void *table)
{
	return table ? b->config->base + ((const uint8_t *)table - b->buf) : 0;
}

/* There are far fewer than ACPI_LINKS_MAX: the tables' kinds are fixed. */
static void acpi_note_pointer(struct acpi_block *b, const void *field,
			      uint8_t size)
{
	struct acpi_links *l = b->links;

	if (!l || b->overflow || l->pointer_count == ACPI_LINKS_MAX)
		return;
	l->pointer[l->pointer_count++] = (struct acpi_pointer){
		(uint32_t)((const uint8_t *)field - b->buf), size
	};
}

static void acpi_note_table(struct acpi_block *b, const struct acpi_header *h)
{
	struct acpi_links *l = b->links;
	uint32_t start = (uint32_t)((const uint8_t *)h - b->buf);

	if (!l || l->checksum_count == ACPI_LINKS_MAX)
		return;
	l->checksum[l->checksum_count++] = (struct acpi_checksum){
		start + offsetof(struct acpi_header, checksum), start, h->length
	};
}

/* Copies data behind what is there; tables with a list grow so. */
static void acpi_append(struct acpi_block *b, const void *data, size_t len)
{
	void *p = acpi_alloc(b, len, 1);

	if (p)
		memcpy(p, data, len);
}

static struct acpi_header *acpi_begin(struct acpi_block *b, const char *sig,
				      uint8_t revision, size_t len)
{
	struct acpi_header *h = acpi_alloc(b, len, 16);

	if (!h)
		return NULL;
	memcpy(h->signature, sig, 4);
	h->revision = revision;
	memcpy(h->oem_id, "HOSTEL", 6);
	memcpy(h->oem_table_id, "HOSTELPC", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "HSTL", 4);
	h->creator_revision = 1;
	return h;
}

/* The table ends where the block ends now. */
static void acpi_finish(struct acpi_block *b, struct acpi_header *h)
{
	if (!h || b->overflow)
		return;
	h->length = b->buf + b->len - (uint8_t *)h;
	h->checksum = -acpi_sum(h, h->length);
	acpi_note_table(b, h);
}

/* --- The tables --------------------------------------------------------- */

static struct acpi_header *acpi_dsdt_table(struct acpi_block *b)
{
	/* Revision 2: integers have 64 bits (ACPI 6.5, table 5.19). */
	struct acpi_header *h = acpi_begin(b, "DSDT", 2, sizeof(*h));
	struct aml a;

	aml_init(&a, b->buf + b->len, ACPI_SIZE - b->len);
	acpi_dsdt(&a, b->config);
	b->len += a.len;
	b->overflow |= a.overflow;
	acpi_finish(b, h);
	return h;
}

static void *acpi_facs(struct acpi_block *b)
{
	struct acpi_header *facs = acpi_alloc(b, 64, 64); /* 5.2.10 */

	if (facs) {
		memcpy(facs->signature, "FACS", 4);
		facs->length = 64;
		((uint8_t *)facs)[32] = 2; /* version */
	}
	return facs;
}

static struct acpi_gas acpi_port(uint16_t port, uint8_t bytes)
{
	uint8_t access = bytes == 1 ? 1 : bytes == 2 ? 2 : 3;

	return (struct acpi_gas){ ACPI_GAS_IO, bytes * 8, 0, access, port };
}

static void acpi_fadt_ports(struct acpi_fadt *f)
{
	f->sci_irq = ACPI_PM_SCI_IRQ;
	f->pm1a_evt = ACPI_PM_EVT;
	f->pm1_evt_len = 4;
	f->x_pm1a_evt = acpi_port(ACPI_PM_EVT, 4);
	f->x_pm1a_evt.access = 2; /* status and enable: 16 bits each */
	f->pm1a_cnt = ACPI_PM_CNT;
	f->pm1_cnt_len = 2;
	f->x_pm1a_cnt = acpi_port(ACPI_PM_CNT, 2);
	f->pm_tmr = ACPI_PM_TMR;
	f->pm_tmr_len = 4;
	f->x_pm_tmr = acpi_port(ACPI_PM_TMR, 4);
	f->gpe0 = ACPI_PM_GPE0;
	f->gpe0_len = ACPI_PM_GPE0_LEN;
	f->x_gpe0 = acpi_port(ACPI_PM_GPE0, ACPI_PM_GPE0_LEN);
	f->x_gpe0.access = 1;
	f->reset_reg = acpi_port(0xcf9, 1);
	f->reset_value = 6;
}

static struct acpi_header *acpi_fadt(struct acpi_block *b, uint64_t dsdt)
{
	struct acpi_header *h =
		acpi_begin(b, "FACP", 6, sizeof(struct acpi_fadt));
	struct acpi_fadt *f = (struct acpi_fadt *)h;
	void *facs;

	if (!h)
		return NULL;
	f->x_dsdt = f->dsdt = dsdt;
	f->c2_latency = 0xfff;  /* above 100 us: no C2 */
	f->c3_latency = 0xffff; /* above 1000 us: no C3 */
	f->century = 0x32;
	f->boot_arch = ACPI_BOOT_LEGACY | ACPI_BOOT_8042 | ACPI_BOOT_NO_ASPM |
		       (b->config->vga ? 0 : ACPI_BOOT_NO_VGA);
	f->flags = ACPI_FLAG_WBINVD | ACPI_FLAG_PROC_C1 | ACPI_FLAG_NO_SLP_BTN |
		   ACPI_FLAG_NO_FIX_RTC | ACPI_FLAG_TMR_VAL_EXT |
		   ACPI_FLAG_RESET_REG;
	f->minor = 5;
	memcpy(f->hypervisor, "Hostel", 6);
	acpi_fadt_ports(f);
	acpi_finish(b, h);
	facs = acpi_facs(b);
	/* One of the two: the 32-bit field where it reaches (5.2.9). */
	f->facs = acpi_gpa(b, facs);
	acpi_note_pointer(b, &f->facs, 4);
	acpi_note_pointer(b, &f->dsdt, 4);
	acpi_note_pointer(b, &f->x_dsdt, 8);
	h->checksum = 0;
	h->checksum = -acpi_sum(h, h->length);
	return h;
}

static void acpi_madt_cpu(struct acpi_block *b, unsigned id)
{
	struct acpi_madt_lapic l = { 0, sizeof(l), id, id, ACPI_MADT_ENABLED };
	struct acpi_madt_x2apic x = {
		9, sizeof(x), 0, id, ACPI_MADT_ENABLED, id
	};

	if (id <= ACPI_XAPIC_MAX)
		acpi_append(b, &l, sizeof(l));
	else
		acpi_append(b, &x, sizeof(x));
}

static struct acpi_header *acpi_madt(struct acpi_block *b)
{
	unsigned cpus = b->config->cpus;
	struct acpi_header *h = acpi_begin(b, "APIC", 5, sizeof(*h));
	static const uint32_t head[] = { LAPIC_BASE, 1 /* has 8259s */ };
	static const struct acpi_madt_ioapic io = { 1, sizeof(io),  0,
						    0, IOAPIC_BASE, 0 };
	/* irqs.h: the timer is on pin 2; SCI is level, active high */
	static const struct acpi_madt_override over[] = {
		{ 2, sizeof(over[0]), 0, 0, 2, 0 },
		{ 2, sizeof(over[0]), 0, ACPI_PM_SCI_IRQ, ACPI_PM_SCI_IRQ,
		  ACPI_INTI_LEVEL_HIGH },
	};
	static const struct acpi_madt_nmi nmi = { 4, sizeof(nmi), 0xff, 0, 1 };
	static const struct acpi_madt_x2apic_nmi xnmi = { 10, sizeof(xnmi),
							  0,  0xffffffff,
							  1,  { 0 } };

	acpi_append(b, head, sizeof(head));
	for (unsigned i = 0; i < cpus; i++)
		acpi_madt_cpu(b, i);
	acpi_append(b, &io, sizeof(io));
	acpi_append(b, over, sizeof(over));
	acpi_append(b, &nmi, sizeof(nmi));
	if (cpus > ACPI_XAPIC_MAX + 1)
		acpi_append(b, &xnmi, sizeof(xnmi));
	acpi_finish(b, h);
	return h;
}

static struct acpi_header *acpi_mcfg(struct acpi_block *b)
{
	struct acpi_header *h = acpi_begin(b, "MCFG", 1, sizeof(*h));
	const struct {
		uint64_t reserved, base;
		uint16_t segment;
		uint8_t first_bus, last_bus;
		uint32_t reserved2;
	} __attribute__((packed))
	mcfg = { 0, b->config->ecam, 0, 0, PCI_ECAM_BUSES - 1, 0 };

	acpi_append(b, &mcfg, sizeof(mcfg));
	acpi_finish(b, h);
	return h;
}

static void acpi_rsdp(struct acpi_rsdp *r, uint64_t xsdt, uint64_t rsdt)
{
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem_id, "HOSTEL", 6);
	r->revision = 2;
	r->length = sizeof(*r);
	r->xsdt = xsdt;
	r->rsdt = (uint32_t)rsdt;
	r->checksum = -acpi_sum(r, 20);
	r->extended_checksum = -acpi_sum(r, sizeof(*r));
}

/* The XSDT, or with a width of 4 bytes the RSDT. */
static struct acpi_header *acpi_list(struct acpi_block *b, const char *name,
				     const uint64_t *tables, unsigned count,
				     uint8_t width)
{
	struct acpi_header *h = acpi_begin(b, name, 1, sizeof(*h));

	for (unsigned i = 0; i < count; i++)
		acpi_append(b, &tables[i], width); /* little-endian */
	acpi_finish(b, h);
	for (unsigned i = 0; h && i < count; i++)
		acpi_note_pointer(b, (uint8_t *)(h + 1) + i * width, width);
	return h;
}

void acpi_config_init(struct acpi_config *c, unsigned cpus)
{
	*c = (struct acpi_config){
		.cpus = cpus,
		.base = ACPI_BASE,
		.ecam = PCI_ECAM_BASE,
		.mem64_base = PCI_MMIO64_BASE,
		.mem64_end = PCI_MMIO64_END,
	};
}

int acpi_build(uint8_t *buf, const struct acpi_config *c,
	       struct acpi_links *links, struct err *err)
{
	struct acpi_block b = { .config = c, .links = links, .buf = buf };
	struct acpi_rsdp *rsdp = acpi_alloc(&b, sizeof(*rsdp), 16);
	struct acpi_header *dsdt = acpi_dsdt_table(&b), *xsdt, *rsdt;
	uint64_t tables[] = {
		acpi_gpa(&b, acpi_fadt(&b, acpi_gpa(&b, dsdt))),
		acpi_gpa(&b, acpi_madt(&b)),
		acpi_gpa(&b, acpi_mcfg(&b)),
	};

	const unsigned count = sizeof(tables) / sizeof(tables[0]);

	xsdt = acpi_list(&b, "XSDT", tables, count, 8);
	rsdt = acpi_list(&b, "RSDT", tables, count, 4);
	if (b.overflow)
		return err_set(err, ENOSPC,
			       "the ACPI tables of %u processors do not fit",
			       c->cpus);
	acpi_rsdp(rsdp, acpi_gpa(&b, xsdt), acpi_gpa(&b, rsdt));
	return b.len;
}
