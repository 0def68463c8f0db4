/*
 * diff_rows.c - which encodings there are to test.
 *
 * At the start every encoding is tried: each map, prefix, W, L, opcode, and
 * ModRM field that can select a row; those the decoder accepts become
 * templates, gathered by row.  So a row that is added to the tables is tested
 * without a word here.
 */
#include "diff_gen.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/cpuid.h"

/* --- What is left out, and why ------------------------------------------- */

static const struct {
	uint16_t op;
	const char *why;
} diff_left_out[] = {
	/* Different each time, or on each processor */
	{ X86_RDTSC, "time" },
	{ X86_RDTSCP, "time" },
	{ X86_RDPMC, "counters; the host decides who may read them" },
	{ X86_RDRAND, "random" },
	{ X86_RDSEED, "random" },
	{ X86_RDPID, "which processor" },
	{ X86_CPUID, "the guest's processor is another model" },
	{ X86_XGETBV, "the host's XCR0 has more" },
	/* Enter the host's kernel or hypervisor */
	{ X86_SYSCALL, "host system call" },
	{ X86_SYSENTER, "host system call" },
	{ X86_INT, "host's IDT" },
	{ X86_VMCALL, "host's hypervisor" },
	{ X86_INT1, "hypervisors report it as fault or as trap" },
	/* Depend on the host's descriptor tables, or are emulated by its
	 * kernel (UMIP); guests test them */
	{ X86_SGDT, "UMIP" },
	{ X86_SIDT, "UMIP" },
	{ X86_SLDT, "UMIP" },
	{ X86_STR, "UMIP" },
	{ X86_SMSW, "UMIP" },
	{ X86_LAR, "host's GDT" },
	{ X86_LSL, "host's GDT" },
	{ X86_VERR, "host's GDT" },
	{ X86_VERW, "host's GDT" },
	{ X86_POP_SREG, "host's GDT" },
	{ X86_LSS, "host's GDT" },
	{ X86_JMP_FAR, "host's GDT" },
	{ X86_CALL_FAR, "host's GDT" },
	{ X86_RETF, "host's GDT" },
	{ X86_IRET, "host's GDT" },
	/* Intel and AMD differ: which exception in long mode */
	{ X86_SYSEXIT, "#UD on AMD, #GP on Intel" },
};

static bool diff_op_left_out(unsigned op)
{
	for (unsigned i = 0;
	     i < sizeof(diff_left_out) / sizeof(diff_left_out[0]); i++)
		if (diff_left_out[i].op == op)
			return true;
	return false;
}

/*
 * What AMD's processors do otherwise than Intel's, whom the decoder follows:
 * 66 makes a near branch 16 bits wide in 64-bit code too; register forms of
 * 0F 0D are #UD; MOVSXD to 16 bits reads 32.  And F2 and F3, which mean nothing
 * there, turn the condition of LOOPcc round.
 */
bool diff_is_vendors(const struct x86_insn *insn, unsigned mode)
{
	if (mode == X86_MODE_CODE64 && insn->desc->cls == X86_CLASS_FLOW &&
	    insn->prefix & X86_PFX_66 && insn->op <= X86_JCXZ)
		return true;
	if (insn->op == X86_MOVSXD && insn->opsize == 2)
		return true;
	if ((insn->op == X86_LOOPE || insn->op == X86_LOOPNE) &&
	    insn->prefix & (X86_PFX_REPE | X86_PFX_REPNE))
		return true;
	return insn->map == 1 && insn->opcode == 0x0d && insn->modrm >= 0xc0;
}

bool diff_host_is_amd(void)
{
	uint32_t a, b, c, d;

	__cpuid(0, a, b, c, d);
	return b == signature_AMD_ebx;
}

/* MOV from a segment register is tested, to it is not. */
bool diff_is_left_out(const struct x86_insn *insn)
{
	if (insn->op == X86_MOV_SREG && insn->o[0].kind == X86_OPND_SREG)
		return true;
	return diff_op_left_out(insn->op);
}

/* --- Templates ----------------------------------------------------------- */

static const uint8_t diff_pp[4] = { 0, 0x66, 0xf3, 0xf2 };

/* Prefixes and opcode; rex: R X B bits to set (inverted in VEX by us). */
unsigned diff_put_opcode(uint8_t *b, const struct diff_template *t,
			 unsigned rex, unsigned vvvv)
{
	unsigned n = 0;

	if (t->vex) {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)((~rex & 7) << 5 | t->map);
		b[n++] = (uint8_t)(t->w << 7 | (~vvvv & 15) << 3 | t->l << 2 |
				   t->pp);
		b[n++] = t->opcode;
		return n;
	}
	if (t->pp)
		b[n++] = diff_pp[t->pp];
	if (rex || t->w)
		b[n++] = (uint8_t)(0x40 | t->w << 3 | rex);
	if (t->map)
		b[n++] = 0x0f;
	if (t->map == 2)
		b[n++] = 0x38;
	if (t->map == 3)
		b[n++] = 0x3a;
	b[n++] = t->opcode;
	return n;
}

static void diff_gen_add(struct diff_gen *g, const struct diff_template *t)
{
	if (g->count == g->room) {
		g->room = g->room ? 2 * g->room : 65536;
		g->t = realloc(g->t, g->room * sizeof(*g->t));
		if (!g->t)
			abort();
	}
	g->t[g->count++] = *t;
}

/* A name, or the start of names: "f*". */
static bool diff_named(const char *only, const char *name)
{
	size_t len = strlen(only);

	if (len && only[len - 1] == '*')
		return strncmp(only, name, len - 1) == 0;
	return strcmp(only, name) == 0;
}

/* Does the decoder know it?  Gathers need an index, so SIB has one. */
static bool diff_try_vvvv(struct diff_gen *g, struct diff_template *t,
			  const char *only, unsigned vvvv)
{
	uint8_t b[24] = { 0 };
	struct x86_insn insn;
	unsigned n = diff_put_opcode(b, t, 0, vvvv);

	b[n++] = t->modrm;
	b[n++] = 0x20 | 3; /* index 4 (none; xmm4), base 3 */
	if (x86_decode(&insn, b, X86_INSN_MAX, g->mode) != X86_DECODE_OK)
		return false;
	if (insn.opcode != t->opcode || insn.map != t->map)
		return false; /* the "opcode" is a prefix */
	t->desc = insn.desc;
	t->has_modrm = insn.has_modrm;
	if (diff_is_left_out(&insn) ||
	    (g->host_is_amd && diff_is_vendors(&insn, g->mode)) ||
	    (only && !diff_named(only, insn.desc->name)))
		return false;
	diff_gen_add(g, t);
	return true;
}

/* Gathers want a mask that is no other operand, others perhaps no vvvv. */
static bool diff_try(struct diff_gen *g, struct diff_template *t,
		     const char *only)
{
	return diff_try_vvvv(g, t, only, 0) ||
	       (t->vex && diff_try_vvvv(g, t, only, 9));
}

static void diff_try_modrm(struct diff_gen *g, struct diff_template *t,
			   const char *only)
{
	for (unsigned reg = 0; reg < 8; reg++) {
		t->modrm = (uint8_t)(reg << 3 | 4);
		if (diff_try(g, t, only) && !t->has_modrm)
			return;
		for (unsigned rm = 0; rm < 8; rm++) {
			t->modrm = (uint8_t)(0xc0 | reg << 3 | rm);
			diff_try(g, t, only);
		}
	}
}

static bool diff_is_prefix(const struct diff_template *t, unsigned mode)
{
	static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64,
					    0x65, 0x66, 0x67, 0xf0, 0xf2,
					    0xf3, 0x0f, 0xc4, 0xc5 };

	if (t->map == 1 && !t->vex)
		return t->opcode == 0x38 || t->opcode == 0x3a;
	if (t->map)
		return false;
	return memchr(prefixes, t->opcode, sizeof(prefixes)) ||
	       (mode == X86_MODE_CODE64 && (t->opcode & 0xf0) == 0x40);
}

static void diff_try_all(struct diff_gen *g, const char *only)
{
	/* bits: 0..7 opcode, 8..9 pp, 10 W, 11..12 map, 13 L, 14 VEX */
	for (unsigned i = 0; i < 1u << 15; i++) {
		struct diff_template t = {
			.opcode = (uint8_t)i,
			.pp = i >> 8 & 3,
			.w = i >> 10 & 1,
			.map = i >> 11 & 3,
			.l = i >> 13 & 1,
			.vex = i >> 14 & 1,
		};

		if ((t.vex ? t.map == 0 : t.l) || diff_is_prefix(&t, g->mode))
			continue;
		diff_try_modrm(g, &t, only);
	}
}

static int diff_template_order(const void *a, const void *b)
{
	const struct diff_template *x = a, *y = b;

	if (x->desc != y->desc)
		return x->desc < y->desc ? -1 : 1;
	return memcmp(x, y, sizeof(*x));
}

static void diff_gather_rows(struct diff_gen *g)
{
	g->rows = calloc(g->count + 1, sizeof(*g->rows));
	if (!g->rows)
		abort();
	for (unsigned i = 0; i < g->count; i++) {
		if (i == 0 || g->t[i].desc != g->t[i - 1].desc)
			g->rows[g->row_count++].first = i;
		g->rows[g->row_count - 1].count++;
	}
}

struct diff_gen *diff_gen_new(unsigned mode, const char *only, unsigned length)
{
	struct diff_gen *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->mode = mode;
	g->length = length;
	g->host_is_amd = diff_host_is_amd();
	diff_try_all(g, only);
	if (g->count == 0) {
		free(g);
		return NULL;
	}
	qsort(g->t, g->count, sizeof(*g->t), diff_template_order);
	diff_gather_rows(g);
	return g;
}

void diff_gen_free(struct diff_gen *g)
{
	if (!g)
		return;
	free(g->t);
	free(g->rows);
	free(g);
}

unsigned diff_gen_rows(const struct diff_gen *g)
{
	return g->row_count;
}

/* Rows of which diff_is_left_out() and diff_is_vendors() leave nothing. */
static bool diff_row_left_out(const struct diff_gen *g,
			      const struct x86_desc *d)
{
	bool needs_rex = d->op == X86_MOVSXD || d->op == X86_CMPXCHG16B ||
			 strcmp(d->name, "vpextrq") == 0 ||
			 strcmp(d->name, "vpinsrq") == 0;

	return diff_op_left_out(d->op) ||
	       (needs_rex && g->mode != X86_MODE_CODE64) ||
	       (d->op == X86_MOV_SREG && d->first == 0x8e) ||
	       (d->op == X86_NOP && d->first == 0x0d && g->host_is_amd);
}

static bool diff_gen_has(const struct diff_gen *g, const struct x86_desc *d)
{
	for (unsigned i = 0; i < g->row_count; i++)
		if (g->t[g->rows[i].first].desc == d)
			return true;
	return false;
}

unsigned diff_gen_missing(const struct diff_gen *g, FILE *out)
{
	unsigned wrong_mode =
		g->mode == X86_MODE_CODE64 ? X86_ATTR_NO64 : X86_ATTR_ONLY64;
	unsigned missing = 0;
	const struct x86_desc *d;

	for (unsigned i = 0; (d = x86_desc_at(i)); i++) {
		if (d->attr & wrong_mode || diff_row_left_out(g, d) ||
		    (d->feature && !x86_has(d->feature)) || diff_gen_has(g, d))
			continue;
		fprintf(out, "diff: row %u, %s (opcode %02x), is not tested\n",
			i, d->name, d->first);
		missing++;
	}
	return missing;
}

void diff_gen_report(const struct diff_gen *g, FILE *out)
{
	for (unsigned i = 0; i < g->row_count; i++)
		fprintf(out, "%-20s %6u encodings %10llu cases\n",
			g->t[g->rows[i].first].desc->name, g->rows[i].count,
			(unsigned long long)g->rows[i].cases);
}
