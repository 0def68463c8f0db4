/*
 * diff_compare.c - do host and guest agree?
 *
 * Everything must be equal, bit for bit, but for what the manuals leave open
 * and what the host's kernel hides; each such thing is named here.
 */
#include "diff.h"

#include <stdarg.h>
#include <string.h>

#include "cpu/x86/fpu.h"

struct diff_text {
	char *p;
	size_t size, used;
	unsigned count;
};

__attribute__((format(printf, 2, 3))) static void diff_say(struct diff_text *t,
							   const char *fmt, ...)
{
	va_list ap;

	t->count++;
	if (t->used >= t->size)
		return;
	va_start(ap, fmt);
	t->used +=
		(size_t)vsnprintf(t->p + t->used, t->size - t->used, fmt, ap);
	va_end(ap);
}

static void diff_u64(struct diff_text *t, const char *what, uint64_t host,
		     uint64_t guest)
{
	if (host != guest)
		diff_say(t, " %s:host=%llx,guest=%llx", what,
			 (unsigned long long)host, (unsigned long long)guest);
}

/* --- What is undefined --------------------------------------------------- */

static unsigned diff_shift_count(const struct diff_case *c)
{
	const struct x86_insn *in = &c->insn;
	const struct x86_operand *o = in->op == X86_SHLD || in->op == X86_SHRD
					      ? &in->o[2]
					      : &in->o[1];
	unsigned n = o->kind == X86_OPND_IMM ? (unsigned)in->imm
					     : (unsigned)c->in.gpr[X86_RCX];

	return n & (in->o[0].size == 8 ? 63 : 31);
}

/* SHLD and SHRD by more than the operand's size: all is undefined. */
static bool diff_double_shift_undefined(const struct diff_case *c)
{
	return (c->insn.op == X86_SHLD || c->insn.op == X86_SHRD) &&
	       diff_shift_count(c) > 8u * c->insn.o[0].size;
}

static uint64_t diff_flags_undefined(const struct diff_case *c)
{
	const struct x86_desc *d = c->insn.desc;

	switch (c->insn.op) {
	case X86_ROL:
	case X86_ROR:
	case X86_RCL:
	case X86_RCR:
	case X86_SHL:
	case X86_SHR:
	case X86_SAR:
	case X86_SHLD:
	case X86_SHRD:
		if (diff_shift_count(c) == 0)
			return 0;
		if (diff_double_shift_undefined(c))
			return X86_FLAGS_ARITH;
		if (diff_shift_count(c) > 8u * c->insn.o[0].size)
			return d->flags_undefined | X86_FLAG_CF;
		if (diff_shift_count(c) == 1)
			return d->flags_undefined & ~X86_FLAG_OF;
		return d->flags_undefined;
	}
	return d->flags_undefined;
}

/* Of a sequence; which instruction wrote which flag last is not followed. */
static uint64_t diff_any_undefined(const struct diff_case *c)
{
	uint64_t flags = 0;

	for (unsigned i = 0; i < c->count; i++)
		flags |= c->seq[i].desc->flags_undefined;
	return flags;
}

/* --- Registers ----------------------------------------------------------- */

static const char *const diff_gpr_name[16] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
};

static void diff_compare_int(struct diff_text *t, const struct diff_case *c,
			     const struct diff_state *h,
			     const struct diff_state *g)
{
	/* RF: set by the processor in the image it pushes for a fault. */
	uint64_t ignore = X86_FLAG_RF;

	if (c->count > 1)
		ignore |= diff_any_undefined(c);
	else if (h->vector == DIFF_NO_VECTOR)
		ignore |= diff_flags_undefined(c);
	if (c->mode == X86_MODE_CODE64)
		for (unsigned i = 0; i < 16; i++)
			diff_u64(t, diff_gpr_name[i], h->gpr[i], g->gpr[i]);
	else
		for (unsigned i = 0; i < 8; i++)
			diff_u64(t, diff_gpr_name[i], (uint32_t)h->gpr[i],
				 (uint32_t)g->gpr[i]);
	diff_u64(t, "rip", h->rip, g->rip);
	diff_u64(t, "rflags", h->rflags & ~ignore, g->rflags & ~ignore);
	if (c->mode == X86_MODE_CODE64) {
		diff_u64(t, "fs", h->fs, g->fs);
		diff_u64(t, "gs", h->gs, g->gs);
	}
}

static void diff_compare_vec(struct diff_text *t, const struct diff_state *h,
			     const struct diff_state *g, const char *what,
			     unsigned offset, unsigned len, unsigned stride,
			     unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *a = h->fpu + offset + i * stride;
		const uint8_t *b = g->fpu + offset + i * stride;

		if (memcmp(a, b, len) == 0)
			continue;
		diff_say(t, " %s%u:host=", what, i);
		for (unsigned k = len; k-- > 0;)
			diff_say(t, "%02x", a[k]);
		diff_say(t, ",guest=");
		for (unsigned k = len; k-- > 0;)
			diff_say(t, "%02x", b[k]);
	}
}

static uint64_t diff_field(const struct diff_state *s, unsigned offset,
			   unsigned len)
{
	uint64_t v = 0;

	memcpy(&v, s->fpu + offset, len);
	return v;
}

/* The host's save area holds 0 in place of pointers that it does not report. */
static bool diff_pointers_visible(const struct diff_state *h)
{
	return fpu_host_keeps_pointers() ||
	       diff_field(h, FPU_FSW, 2) & FPU_FSW_ES;
}

struct diff_fpu_field {
	const char *name;
	unsigned offset, len;
	bool pointer;
};

/* How many bits of FIP and FDP a processor keeps is its own affair. */
static uint64_t diff_fpu_field(const struct diff_state *s,
			       struct diff_fpu_field f)
{
	uint64_t v = diff_field(s, f.offset, f.len);

	return f.pointer ? v & 0x7fffffffffff : v;
}

static void diff_compare_fpu(struct diff_text *t, const struct diff_state *h,
			     const struct diff_state *g)
{
	static const struct diff_fpu_field fields[] = {
		{ "fcw", FPU_FCW, 2, false },     { "fsw", FPU_FSW, 2, false },
		{ "ftw", FPU_FTW, 1, false },     { "fop", FPU_FOP, 2, true },
		{ "fip", FPU_FIP, 8, true },      { "fdp", FPU_FDP, 8, true },
		{ "mxcsr", FPU_MXCSR, 4, false },
	};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i].pointer && !diff_pointers_visible(h))
			continue;
		diff_u64(t, fields[i].name, diff_fpu_field(h, fields[i]),
			 diff_fpu_field(g, fields[i]));
	}
	diff_compare_vec(t, h, g, "st", FPU_ST, 10, 16, 8);
	diff_compare_vec(t, h, g, "xmm", X86_XMM_OFFSET, 16, 16, 16);
	diff_compare_vec(t, h, g, "ymmh", X86_YMMH_OFFSET, 16, 16, 16);
}

/* --- Exceptions and memory ----------------------------------------------- */

#define DIFF_TASK_SIZE 0x7ffffffff000ull /* user addresses end here */

/* Linux reports every fault on a kernel address as a protection fault. */
static uint32_t diff_pf_mask(uint64_t cr2)
{
	return cr2 >= DIFF_TASK_SIZE ? ~(uint32_t)X86_PF_P : ~0u;
}

/*
 * Areas (and 10-byte reals) are written piece by piece in an order of the
 * processor's own, and masked moves may report any address of the operand.
 */
static bool diff_is_piecewise(const struct diff_case *c)
{
	for (unsigned i = 0; i < c->count; i++) {
		const struct x86_insn *in = &c->seq[i];
		unsigned op = in->op;

		if (in->has_mem &&
		    (in->o[0].size == 10 || in->o[1].size == 10) &&
		    in->desc->cls == X86_CLASS_X87)
			return true;
		if ((op >= X86_FXSAVE && op <= X86_XRSTORS) ||
		    (op >= X86_FNSTENV && op <= X86_FRSTOR) ||
		    op == X86_MASKMOV || op == X86_VMASKMOV)
			return true;
	}
	return false;
}

static void diff_near_page(struct diff_text *t, uint64_t host, uint64_t guest)
{
	int64_t apart =
		(int64_t)(host & ~0xfffull) - (int64_t)(guest & ~0xfffull);

	if (apart < -4096 || apart > 4096)
		diff_u64(t, "cr2's page", host >> 12, guest >> 12);
}

/* AMD's misaligned SSE mode: the host takes MXCSR bit 17, guests have none. */
static bool diff_is_misaligned_mode(const struct diff_case *c,
				    const struct diff_state *h,
				    const struct diff_state *g)
{
	return c->uses_fpu && g->vector == X86_VEC_GP &&
	       diff_field(h, FPU_MXCSR, 4) & 0x20000;
}

/* AMD's processors want a canonical offset also before FS or GS are added. */
static bool diff_is_offset_check(const struct diff_case *c,
				 const struct diff_state *h,
				 const struct diff_state *g)
{
	if (h->vector != X86_VEC_GP || g->vector == X86_VEC_GP)
		return false;
	for (unsigned i = 0; i < c->count; i++)
		if (h->rip == DIFF_INSN + c->start[i])
			return c->seq[i].seg >= X86_FS;
	return false;
}

/* Which piece of an area in two segments' or pages' reach is tried first. */
static bool diff_is_order_open(const struct diff_case *c,
			       const struct diff_state *h,
			       const struct diff_state *g)
{
	return diff_is_piecewise(c) && c->mode == X86_MODE_CODE32 &&
	       h->vector >= X86_VEC_SS && h->vector <= X86_VEC_PF &&
	       g->vector >= X86_VEC_SS && g->vector <= X86_VEC_PF;
}

static void diff_compare_event(struct diff_text *t, const struct diff_case *c,
			       const struct diff_state *h,
			       const struct diff_state *g)
{
	if (h->vector != g->vector && !diff_is_order_open(c, h, g)) {
		diff_say(t, " vector:host=%d,guest=%d", h->vector, g->vector);
		return;
	}
	if (h->vector != g->vector)
		return;
	if (h->vector == X86_VEC_PF) {
		uint32_t mask = diff_pf_mask(h->cr2);

		if (diff_is_piecewise(c)) {
			/* with 16-bit addresses pieces may wrap around */
			if (c->insn.addrsize != 2)
				diff_near_page(t, h->cr2, g->cr2);
		} else
			diff_u64(t, "cr2", h->cr2, g->cr2);
		diff_u64(t, "error", h->error & mask, g->error & mask);
	} else if (h->vector >= 0) {
		diff_u64(t, "error", h->error, g->error);
	}
}

static void diff_compare_data(struct diff_text *t, const uint8_t *h,
			      const uint8_t *g)
{
	unsigned shown = 0;

	if (memcmp(h, g, DIFF_DATA_BYTES) == 0)
		return;
	for (unsigned i = 0; i < DIFF_DATA_BYTES && shown < 4; i++) {
		if (h[i] == g[i])
			continue;
		diff_say(t, " [%llx]:host=%02x,guest=%02x",
			 (unsigned long long)(DIFF_DATA + i), h[i], g[i]);
		shown++;
	}
}

/* Of faults on other hosts than AMD's: see diff.h. */
static bool diff_is_loose(const struct diff_state *h,
			  const struct diff_state *g)
{
	return (h->vector != DIFF_NO_VECTOR || g->vector != DIFF_NO_VECTOR) &&
	       !diff_host_is_amd();
}

unsigned diff_compare(const struct diff_case *c, const struct diff_state *host,
		      const struct diff_state *guest, const uint8_t *host_data,
		      const uint8_t *guest_data, char *text, size_t size)
{
	struct diff_text t = { .p = text, .size = size };

	if (size)
		text[0] = '\0';
	if (diff_is_misaligned_mode(c, host, guest) ||
	    diff_is_offset_check(c, host, guest) ||
	    (diff_is_loose(host, guest) && host->vector == guest->vector))
		return 0;
	diff_compare_event(&t, c, host, guest);
	if (host->vector == DIFF_NO_VECTOR && diff_double_shift_undefined(c))
		return t.count;
	diff_compare_int(&t, c, host, guest);
	if (c->uses_fpu)
		diff_compare_fpu(&t, host, guest);
	diff_compare_data(&t, host_data, guest_data);
	return t.count;
}
