/*
 * gdb_regs.c - see gdb_regs.h.
 *
 * Theory of operation
 *
 * gdb_regs[] has a row for each register: what gdb calls it and how wide it
 * is there, and where it lies in a struct x86_cpu (`kind` and `arg`).  Numbers
 * 0 to 56 are what gdb assumes even without a description; tests/test_gdb.c
 * pins them.  All vCPUs share one description.
 *
 * What gdb may write is what a program or kernel could have written without
 * a check: not selectors and control registers, whose writing loads hidden
 * state and may fault, and no value that an instruction would fault on.
 *
 * Deliberately missing: debug registers (watchpoints of gdb's own do that),
 * MSRs other than the bases and EFER.
 *
 * Source: "Debugging with GDB", appendix G.5.16 (i386 features); FXSAVE and
 * XSAVE layouts: SDM volume 1, 10.5.1 and 13.4.
 */
#include "machine/gdb_regs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/lapic.h"

enum gdb_reg_kind {
	GDB_GPR, /* arg: enum x86_gpr */
	GDB_RIP,
	GDB_FLAGS,
	GDB_SEL,  /* arg: enum x86_sreg */
	GDB_BASE, /* arg: enum x86_sreg */
	GDB_WORD, /* arg: offset in struct x86_cpu; writable */
	GDB_ADDR, /* the same, and the value must be canonical */
	GDB_CTRL, /* the same, read-only */
	GDB_CR8,
	GDB_XSAVE, /* arg: offset in the XSAVE area; `field` bytes of it */
	GDB_FTAG,
	GDB_MXCSR,
};

struct gdb_reg {
	const char *name;
	const char *type;
	const char *feature; /* NULL: as the register before */
	uint8_t kind;        /* enum gdb_reg_kind */
	uint8_t size;        /* as gdb sees it */
	uint8_t field;       /* GDB_XSAVE: bytes in the area */
	uint16_t arg;
};

#define GDB_CORE     "org.gnu.gdb.i386.core"
#define GDB_SSE      "org.gnu.gdb.i386.sse"
#define GDB_AVX      "org.gnu.gdb.i386.avx"
#define GDB_SEGMENTS "org.gnu.gdb.i386.segments"
#define GDB_SYSTEM   "org.hostel.i386.system"

#define GDB_OFFSET(member) offsetof(struct x86_cpu, member)

#define GDB_R_GPR(n, r)                             \
	{                                           \
#n, "int64", NULL, GDB_GPR, 8, 0, r \
	}
#define GDB_R_SEL(n, r)                             \
	{                                           \
#n, "int32", NULL, GDB_SEL, 4, 0, r \
	}
#define GDB_R_BASE(n, r)                             \
	{                                            \
#n, "int64", NULL, GDB_BASE, 8, 0, r \
	}
#define GDB_R_CTRL(n, m)                                         \
	{                                                        \
#n, "int64", NULL, GDB_CTRL, 8, 0, GDB_OFFSET(m) \
	}
#define GDB_R_ST(n)                                                       \
	{                                                                 \
		"st" #n, "i387_ext", NULL, GDB_XSAVE, 10, 10, 32 + 16 * n \
	}
#define GDB_R_FCTL(n, off, bytes)                         \
	{                                                 \
#n, "int", NULL, GDB_XSAVE, 4, bytes, off \
	}
#define GDB_R_XMM(n)                                         \
	{                                                    \
		"xmm" #n, "vec128", NULL, GDB_XSAVE, 16, 16, \
			X86_XMM_OFFSET + 16 * n              \
	}
#define GDB_R_YMMH(n)                                             \
	{                                                         \
		"ymm" #n "h", "uint128", NULL, GDB_XSAVE, 16, 16, \
			X86_YMMH_OFFSET + 16 * n                  \
	}

/* In gdb's order: a register's number is its index. */
static const struct gdb_reg gdb_regs[] = {
	{ "rax", "int64", GDB_CORE, GDB_GPR, 8, 0, X86_RAX },
	GDB_R_GPR(rbx, X86_RBX),
	GDB_R_GPR(rcx, X86_RCX),
	GDB_R_GPR(rdx, X86_RDX),
	GDB_R_GPR(rsi, X86_RSI),
	GDB_R_GPR(rdi, X86_RDI),
	{ "rbp", "data_ptr", NULL, GDB_GPR, 8, 0, X86_RBP },
	{ "rsp", "data_ptr", NULL, GDB_GPR, 8, 0, X86_RSP },
	GDB_R_GPR(r8, X86_R8),
	GDB_R_GPR(r9, X86_R9),
	GDB_R_GPR(r10, X86_R10),
	GDB_R_GPR(r11, X86_R11),
	GDB_R_GPR(r12, X86_R12),
	GDB_R_GPR(r13, X86_R13),
	GDB_R_GPR(r14, X86_R14),
	GDB_R_GPR(r15, X86_R15),
	{ "rip", "code_ptr", NULL, GDB_RIP, 8, 0, 0 },
	{ "eflags", "i386_eflags", NULL, GDB_FLAGS, 4, 0, 0 },
	GDB_R_SEL(cs, X86_CS),
	GDB_R_SEL(ss, X86_SS),
	GDB_R_SEL(ds, X86_DS),
	GDB_R_SEL(es, X86_ES),
	GDB_R_SEL(fs, X86_FS),
	GDB_R_SEL(gs, X86_GS),
	GDB_R_ST(0),
	GDB_R_ST(1),
	GDB_R_ST(2),
	GDB_R_ST(3),
	GDB_R_ST(4),
	GDB_R_ST(5),
	GDB_R_ST(6),
	GDB_R_ST(7),
	GDB_R_FCTL(fctrl, 0, 2),
	GDB_R_FCTL(fstat, 2, 2),
	{ "ftag", "int", NULL, GDB_FTAG, 4, 0, 0 },
	GDB_R_FCTL(fiseg, 12, 2),
	GDB_R_FCTL(fioff, 8, 4),
	GDB_R_FCTL(foseg, 20, 2),
	GDB_R_FCTL(fooff, 16, 4),
	GDB_R_FCTL(fop, 6, 2),
	{ "xmm0", "vec128", GDB_SSE, GDB_XSAVE, 16, 16, X86_XMM_OFFSET },
	GDB_R_XMM(1),
	GDB_R_XMM(2),
	GDB_R_XMM(3),
	GDB_R_XMM(4),
	GDB_R_XMM(5),
	GDB_R_XMM(6),
	GDB_R_XMM(7),
	GDB_R_XMM(8),
	GDB_R_XMM(9),
	GDB_R_XMM(10),
	GDB_R_XMM(11),
	GDB_R_XMM(12),
	GDB_R_XMM(13),
	GDB_R_XMM(14),
	GDB_R_XMM(15),
	{ "mxcsr", "i386_mxcsr", NULL, GDB_MXCSR, 4, 4, 24 },
	{ "ymm0h", "uint128", GDB_AVX, GDB_XSAVE, 16, 16, X86_YMMH_OFFSET },
	GDB_R_YMMH(1),
	GDB_R_YMMH(2),
	GDB_R_YMMH(3),
	GDB_R_YMMH(4),
	GDB_R_YMMH(5),
	GDB_R_YMMH(6),
	GDB_R_YMMH(7),
	GDB_R_YMMH(8),
	GDB_R_YMMH(9),
	GDB_R_YMMH(10),
	GDB_R_YMMH(11),
	GDB_R_YMMH(12),
	GDB_R_YMMH(13),
	GDB_R_YMMH(14),
	GDB_R_YMMH(15),
	{ "fs_base", "int64", GDB_SEGMENTS, GDB_BASE, 8, 0, X86_FS },
	GDB_R_BASE(gs_base, X86_GS),
	{ "k_gs_base", "int64", GDB_SYSTEM, GDB_ADDR, 8, 0,
	  GDB_OFFSET(msr.kernel_gs_base) },
	{ "cr0", "i386_cr0", NULL, GDB_CTRL, 8, 0, GDB_OFFSET(cr0) },
	{ "cr2", "int64", NULL, GDB_WORD, 8, 0, GDB_OFFSET(cr2) },
	GDB_R_CTRL(cr3, cr3),
	{ "cr4", "i386_cr4", NULL, GDB_CTRL, 8, 0, GDB_OFFSET(cr4) },
	{ "cr8", "int64", NULL, GDB_CR8, 8, 0, 0 },
	{ "efer", "i386_efer", NULL, GDB_CTRL, 8, 0, GDB_OFFSET(msr.efer) },
};

#define GDB_REG_COUNT (sizeof(gdb_regs) / sizeof(*gdb_regs))

_Static_assert(GDB_OFFSET(msr.efer) <= UINT16_MAX, "gdb_reg.arg holds it");

unsigned gdb_reg_count(void)
{
	return GDB_REG_COUNT;
}

unsigned gdb_reg_size(unsigned n)
{
	return n < GDB_REG_COUNT ? gdb_regs[n].size : 0;
}

/* --- x87 tags ------------------------------------------------------------- */

/*
 * FXSAVE keeps one bit a register: not empty.  gdb wants FSTENV's two: 0
 * valid, 1 zero, 2 special, 3 empty (SDM 1, 8.1.7).
 */
static unsigned gdb_x87_tag(const uint8_t st[10])
{
	uint64_t mantissa;
	uint16_t exponent;

	memcpy(&mantissa, st, 8);
	memcpy(&exponent, st + 8, 2);
	exponent &= 0x7fff;
	if (!exponent && !mantissa)
		return 1;
	if (!exponent || exponent == 0x7fff || !(mantissa >> 63))
		return 2;
	return 0;
}

static uint32_t gdb_read_ftag(const struct x86_cpu *cpu)
{
	const uint8_t *b = cpu->fpu.b;
	unsigned top = b[3] >> 3 & 7; /* FSW bits 13..11 */
	uint32_t tags = 0;

	for (unsigned r = 0; r < 8; r++) {
		unsigned tag = 3;

		if (b[4] >> r & 1)
			tag = gdb_x87_tag(b + 32 + 16 * ((r - top) & 7));
		tags |= tag << 2 * r;
	}
	return tags;
}

static void gdb_write_ftag(struct x86_cpu *cpu, uint32_t tags)
{
	uint8_t full = 0;

	for (unsigned r = 0; r < 8; r++)
		if ((tags >> 2 * r & 3) != 3)
			full |= (uint8_t)(1 << r);
	cpu->fpu.b[4] = full;
}

/* --- Reading and writing -------------------------------------------------- */

/* The 8 bytes where the register lies as it is, or NULL. */
static uint64_t *gdb_reg_word(struct x86_cpu *cpu, const struct gdb_reg *r)
{
	switch (r->kind) {
	case GDB_GPR:
		return &cpu->gpr[r->arg];
	case GDB_RIP:
		return &cpu->rip;
	case GDB_BASE:
		return &cpu->seg[r->arg].base;
	case GDB_WORD:
	case GDB_ADDR:
	case GDB_CTRL:
		return (uint64_t *)((char *)cpu + r->arg);
	default:
		return NULL;
	}
}

static uint64_t gdb_reg_value(const struct x86_cpu *cpu,
			      const struct gdb_reg *r)
{
	switch (r->kind) {
	case GDB_FLAGS:
		return cpu->rflags;
	case GDB_SEL:
		return cpu->seg[r->arg].sel;
	case GDB_FTAG:
		return gdb_read_ftag(cpu);
	case GDB_CR8:
		return cpu->lapic ? lapic_get_tpr(cpu->lapic) : 0;
	default:
		return *gdb_reg_word((struct x86_cpu *)cpu, r);
	}
}

void gdb_reg_read(const struct x86_cpu *cpu, unsigned n, uint8_t *out)
{
	const struct gdb_reg *r = &gdb_regs[n];
	uint64_t v;

	memset(out, 0, r->size);
	if (r->kind == GDB_XSAVE || r->kind == GDB_MXCSR) {
		memcpy(out, cpu->fpu.b + r->arg, r->field);
		return;
	}
	v = gdb_reg_value(cpu, r);
	memcpy(out, &v, r->size);
}

/* What POPF at CPL 0 changes; VM, VIF, VIP and the reserved bits stay. */
#define GDB_FLAGS_WRITABLE 0x257fd5ull

static bool gdb_canonical(uint64_t v)
{
	return (uint64_t)((int64_t)(v << 16) >> 16) == v;
}

static bool gdb_write_word(struct x86_cpu *cpu, const struct gdb_reg *r,
			   uint64_t v)
{
	if ((r->kind == GDB_BASE || r->kind == GDB_ADDR) && !gdb_canonical(v))
		return false;
	*gdb_reg_word(cpu, r) = v;
	return true;
}

static bool gdb_write_xsave(struct x86_cpu *cpu, const struct gdb_reg *r,
			    const uint8_t *in)
{
	/* Bits that LDMXCSR faults on; no host instruction may meet them. */
	if (r->kind == GDB_MXCSR && (in[2] | in[3]))
		return false;
	memcpy(cpu->fpu.b + r->arg, in, r->field);
	return true;
}

bool gdb_reg_write(struct x86_cpu *cpu, unsigned n, const uint8_t *in)
{
	const struct gdb_reg *r = &gdb_regs[n];
	uint64_t v = 0;

	memcpy(&v, in, r->size < 8 ? r->size : 8);
	switch (r->kind) {
	case GDB_SEL:
	case GDB_CTRL:
	case GDB_CR8:
		return v == gdb_reg_value(cpu, r);
	case GDB_FLAGS:
		x86_set_rflags(cpu, v, GDB_FLAGS_WRITABLE);
		return true;
	case GDB_FTAG:
		gdb_write_ftag(cpu, (uint32_t)v);
		return true;
	case GDB_XSAVE:
	case GDB_MXCSR:
		return gdb_write_xsave(cpu, r, in);
	default:
		return gdb_write_word(cpu, r, v);
	}
}

/* --- The target description ----------------------------------------------- */

struct gdb_flag {
	const char *name;
	unsigned bit;
};

#define GDB_END_OF_FLAGS \
	{                \
		NULL, 0  \
	}

static const struct gdb_flag gdb_eflags[] = {
	{ "CF", 0 },  { "", 1 },       { "PF", 2 },   { "AF", 4 },
	{ "ZF", 6 },  { "SF", 7 },     { "TF", 8 },   { "IF", 9 },
	{ "DF", 10 }, { "OF", 11 },    { "NT", 14 },  { "RF", 16 },
	{ "VM", 17 }, { "AC", 18 },    { "VIF", 19 }, { "VIP", 20 },
	{ "ID", 21 }, GDB_END_OF_FLAGS
};

static const struct gdb_flag gdb_mxcsr[] = {
	{ "IE", 0 },  { "DE", 1 },  { "ZE", 2 },  { "OE", 3 },  { "UE", 4 },
	{ "PE", 5 },  { "DAZ", 6 }, { "IM", 7 },  { "DM", 8 },  { "ZM", 9 },
	{ "OM", 10 }, { "UM", 11 }, { "PM", 12 }, { "FZ", 15 }, GDB_END_OF_FLAGS
};

static const struct gdb_flag gdb_cr0[] = {
	{ "PE", 0 },  { "MP", 1 },  { "EM", 2 },  { "TS", 3 },
	{ "ET", 4 },  { "NE", 5 },  { "WP", 16 }, { "AM", 18 },
	{ "NW", 29 }, { "CD", 30 }, { "PG", 31 }, GDB_END_OF_FLAGS
};

static const struct gdb_flag gdb_cr4[] = {
	{ "VME", 0 },      { "PVI", 1 },         { "TSD", 2 },
	{ "DE", 3 },       { "PSE", 4 },         { "PAE", 5 },
	{ "MCE", 6 },      { "PGE", 7 },         { "PCE", 8 },
	{ "OSFXSR", 9 },   { "OSXMMEXCPT", 10 }, { "UMIP", 11 },
	{ "LA57", 12 },    { "FSGSBASE", 16 },   { "PCIDE", 17 },
	{ "OSXSAVE", 18 }, { "SMEP", 20 },       { "SMAP", 21 },
	{ "PKE", 22 },     GDB_END_OF_FLAGS
};

static const struct gdb_flag gdb_efer[] = { { "SCE", 0 },
					    { "LME", 8 },
					    { "LMA", 10 },
					    { "NXE", 11 },
					    GDB_END_OF_FLAGS };

static void gdb_xml_flags(FILE *f, const char *id, unsigned size,
			  const struct gdb_flag *flag)
{
	fprintf(f, "<flags id=\"%s\" size=\"%u\">", id, size);
	for (; flag->name; flag++)
		fprintf(f, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>",
			flag->name, flag->bit, flag->bit);
	fputs("</flags>", f);
}

/* The types that gdb itself expects of an XMM register. */
static void gdb_xml_vector(FILE *f)
{
	static const struct {
		char id[8], type[12];
		unsigned count;
	} view[] = {
		{ "v4f", "ieee_single", 4 }, { "v2d", "ieee_double", 2 },
		{ "v16i8", "int8", 16 },     { "v8i16", "int16", 8 },
		{ "v4i32", "int32", 4 },     { "v2i64", "int64", 2 },
	};
	static const char *const member[] = {
		"v4_float", "v2_double", "v16_int8",
		"v8_int16", "v4_int32",  "v2_int64",
	};

	for (size_t i = 0; i < sizeof(view) / sizeof(*view); i++)
		fprintf(f, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>",
			view[i].id, view[i].type, view[i].count);
	fputs("<union id=\"vec128\">", f);
	for (size_t i = 0; i < sizeof(view) / sizeof(*view); i++)
		fprintf(f, "<field name=\"%s\" type=\"%s\"/>", member[i],
			view[i].id);
	fputs("<field name=\"uint128\" type=\"uint128\"/></union>", f);
}

/* Types belong to the feature that uses them. */
static void gdb_xml_types(FILE *f, const char *feature)
{
	if (strcmp(feature, GDB_CORE) == 0)
		gdb_xml_flags(f, "i386_eflags", 4, gdb_eflags);
	if (strcmp(feature, GDB_SSE) == 0) {
		gdb_xml_vector(f);
		gdb_xml_flags(f, "i386_mxcsr", 4, gdb_mxcsr);
	}
	if (strcmp(feature, GDB_SYSTEM) == 0) {
		gdb_xml_flags(f, "i386_cr0", 8, gdb_cr0);
		gdb_xml_flags(f, "i386_cr4", 8, gdb_cr4);
		gdb_xml_flags(f, "i386_efer", 8, gdb_efer);
	}
}

static void gdb_xml_print(FILE *f)
{
	fputs("<?xml version=\"1.0\"?>"
	      "<!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
	      "<target><architecture>i386:x86-64</architecture>",
	      f);
	for (size_t i = 0; i < GDB_REG_COUNT; i++) {
		const struct gdb_reg *r = &gdb_regs[i];

		if (r->feature) {
			fprintf(f, "%s<feature name=\"%s\">",
				i ? "</feature>" : "", r->feature);
			gdb_xml_types(f, r->feature);
		}
		fprintf(f,
			"<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" "
			"regnum=\"%zu\"/>",
			r->name, r->size * 8u, r->type, i);
	}
	fputs("</feature></target>", f);
}

char *gdb_regs_xml(void)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	gdb_xml_print(f);
	fclose(f);
	return text;
}

/* --- For people ----------------------------------------------------------- */

void gdb_regs_print(const struct x86_cpu *cpu, FILE *f)
{
	static const char *const name[] = { "es", "cs", "ss",   "ds",
					    "fs", "gs", "ldtr", "tr" };

	for (size_t i = 0; i < GDB_REG_COUNT; i++)
		if (gdb_regs[i].kind <= GDB_FLAGS ||
		    gdb_regs[i].kind == GDB_WORD ||
		    gdb_regs[i].kind == GDB_ADDR ||
		    gdb_regs[i].kind == GDB_CTRL || gdb_regs[i].kind == GDB_CR8)
			fprintf(f, "%-9s %016" PRIx64 "\n", gdb_regs[i].name,
				gdb_reg_value(cpu, &gdb_regs[i]));
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		fprintf(f,
			"%-9s %04x base %016" PRIx64
			" limit %08x attributes %05x\n",
			name[i], cpu->seg[i].sel, cpu->seg[i].base,
			cpu->seg[i].limit, cpu->seg[i].attr);
	fprintf(f, "%-9s base %016" PRIx64 " limit %04x\n", "gdtr",
		cpu->gdtr.base, cpu->gdtr.limit);
	fprintf(f, "%-9s base %016" PRIx64 " limit %04x\n", "idtr",
		cpu->idtr.base, cpu->idtr.limit);
	fprintf(f, "%-9s %" PRIu64 "\n", "insns", cpu->insn_count);
}
