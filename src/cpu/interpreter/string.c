/*
 * string.c - MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, and REP.
 *
 * A string instruction is a row of elements.  Two functions do the work of
 * each operation: `one` does one element by the checked accessors, and `many`
 * does as many as lie in one page of plain RAM, by the host's own string
 * instruction, whose semantics for overlap, direction and flags are then the
 * right ones by construction.  `many` returns how many it did; 0 sends the
 * next element through `one` (MMIO, code or watched pages, an element across
 * two pages, segments with limits).
 *
 * Registers are up to date after every element or page, so a fault finds the
 * instruction restartable with its progress kept (SDM 2B, REP).  An interrupt
 * that waits is seen at the same places: the instruction steps back onto
 * itself.  So it does after one element while TF single-steps.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"
#include "cpu/x86/host_mem.h"

struct string_op {
	void (*one)(struct x86_cpu *cpu, const struct x86_insn *insn);
	uint64_t (*many)(struct x86_cpu *cpu, const struct x86_insn *insn,
			 uint64_t count);
	bool compares; /* REPE/REPNE also look at ZF */
	bool port;     /* INS, OUTS */
};

/* --- Pointers ------------------------------------------------------------ */

static uint64_t string_offset(const struct x86_cpu *cpu,
			      const struct x86_insn *insn, unsigned reg)
{
	return interp_gpr(cpu, reg, insn->addrsize);
}

static uint64_t string_source(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return x86_seg_linear(cpu, insn->seg, string_offset(cpu, insn, X86_RSI),
			      insn->opsize, false);
}

/* The destination's segment is ES, whatever the prefixes say. */
static uint64_t string_dest(struct x86_cpu *cpu, const struct x86_insn *insn,
			    bool write)
{
	return x86_seg_linear(cpu, X86_ES, string_offset(cpu, insn, X86_RDI),
			      insn->opsize, write);
}

static void string_advance(struct x86_cpu *cpu, const struct x86_insn *insn,
			   unsigned reg, uint64_t count)
{
	uint64_t bytes = count * insn->opsize;

	if (cpu->rflags & X86_FLAG_DF)
		bytes = -bytes;
	interp_set_gpr(cpu, reg, insn->addrsize, cpu->gpr[reg] + bytes);
}

/* May `many` reckon with linear addresses instead of checked segments? */
static bool string_plain(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return x86_code64(cpu) ||
	       (cpu->mode & X86_MODE_FLAT && insn->seg < X86_FS);
}

/*
 * The host address of the element at linear, and into *count how many from
 * there on, in the direction of DF, lie in its page; NULL: use `one`.
 */
static void *string_span(struct x86_cpu *cpu, const struct x86_insn *insn,
			 uint64_t linear, bool write, uint64_t *count)
{
	unsigned size = insn->opsize, at = linear & MEM_PAGE_MASK;
	uint64_t got, fit;
	void *p = x86_span(cpu, linear, size, write, &got);

	if (!p || got < size)
		return NULL;
	fit = cpu->rflags & X86_FLAG_DF ? at / size + 1
					: (MEM_PAGE_SIZE - at) / size;
	if (*count > fit)
		*count = fit;
	return p;
}

/* --- Moves and stores ---------------------------------------------------- */

HOST_BINARY(string_cmp, "cmp")

static bool string_down(const struct x86_cpu *cpu)
{
	return cpu->rflags & X86_FLAG_DF;
}

static void string_host_movs(void *d, const void *s, uint64_t n, unsigned size)
{
#define STRING_MOVS(suffix)                          \
	__asm__ volatile("rep movs" suffix           \
			 : "+D"(d), "+S"(s), "+c"(n) \
			 :                           \
			 : "memory")
	switch (size) {
	case 1:
		STRING_MOVS("b");
		break;
	case 2:
		STRING_MOVS("w");
		break;
	case 4:
		STRING_MOVS("l");
		break;
	default:
		STRING_MOVS("q");
	}
}

static void string_host_stos(void *d, uint64_t v, uint64_t n, unsigned size)
{
#define STRING_STOS(suffix)                 \
	__asm__ volatile("rep stos" suffix  \
			 : "+D"(d), "+c"(n) \
			 : "a"(v)           \
			 : "memory")
	switch (size) {
	case 1:
		STRING_STOS("b");
		break;
	case 2:
		STRING_STOS("w");
		break;
	case 4:
		STRING_STOS("l");
		break;
	default:
		STRING_STOS("q");
	}
}

static void string_movs_one(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t v = interp_load(cpu, string_source(cpu, insn), size);

	interp_store(cpu, string_dest(cpu, insn, true), size, v);
	string_advance(cpu, insn, X86_RSI, 1);
	string_advance(cpu, insn, X86_RDI, 1);
}

static uint64_t string_movs_many(struct x86_cpu *cpu,
				 const struct x86_insn *insn, uint64_t count)
{
	unsigned size = insn->opsize;
	uint64_t i, n = count;
	uint8_t *s =
		string_span(cpu, insn, string_source(cpu, insn), false, &n);
	uint8_t *d = s ? string_span(cpu, insn, string_dest(cpu, insn, true),
				     true, &n)
		       : NULL;

	if (!s || !d)
		return 0;
	if (!string_down(cpu))
		string_host_movs(d, s, n, size);
	else
		for (i = 0; i < n; i++, d -= size, s -= size)
			host_mem_store(d, size, host_mem_load(s, size));
	string_advance(cpu, insn, X86_RSI, n);
	string_advance(cpu, insn, X86_RDI, n);
	return n;
}

static void string_stos_one(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_store(cpu, string_dest(cpu, insn, true), insn->opsize,
		     cpu->gpr[X86_RAX]);
	string_advance(cpu, insn, X86_RDI, 1);
}

static uint64_t string_stos_many(struct x86_cpu *cpu,
				 const struct x86_insn *insn, uint64_t count)
{
	uint64_t i, n = count, v = cpu->gpr[X86_RAX];
	unsigned size = insn->opsize;
	uint8_t *d =
		string_span(cpu, insn, string_dest(cpu, insn, true), true, &n);

	if (!d)
		return 0;
	if (!string_down(cpu))
		string_host_stos(d, v, n, size);
	else
		for (i = 0; i < n; i++, d -= size)
			host_mem_store(d, size, v);
	string_advance(cpu, insn, X86_RDI, n);
	return n;
}

static void string_lods_one(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;

	interp_set_gpr(cpu, X86_RAX, size,
		       interp_load(cpu, string_source(cpu, insn), size));
	string_advance(cpu, insn, X86_RSI, 1);
}

/* --- Comparisons --------------------------------------------------------- */

/* Does REPE or REPNE go on after a comparison of a with b? */
static bool string_goes_on(const struct x86_insn *insn, bool equal)
{
	return equal == !(insn->prefix & X86_PFX_REPNE);
}

static void string_cmps_one(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t a = interp_load(cpu, string_source(cpu, insn), size);
	uint64_t b = interp_load(cpu, string_dest(cpu, insn, false), size);

	string_cmp(&cpu->rflags, size, a, b);
	string_advance(cpu, insn, X86_RSI, 1);
	string_advance(cpu, insn, X86_RDI, 1);
}

static uint64_t string_cmps_many(struct x86_cpu *cpu,
				 const struct x86_insn *insn, uint64_t count)
{
	int64_t size = insn->opsize, step = string_down(cpu) ? -size : size;
	uint64_t n = count, i = 0, a, b;
	uint8_t *s =
		string_span(cpu, insn, string_source(cpu, insn), false, &n);
	uint8_t *d = s ? string_span(cpu, insn, string_dest(cpu, insn, false),
				     false, &n)
		       : NULL;

	if (!s || !d)
		return 0;
	do {
		a = host_mem_load(s + (int64_t)i * step, size);
		b = host_mem_load(d + (int64_t)i * step, size);
	} while (++i < n && string_goes_on(insn, a == b));
	string_cmp(&cpu->rflags, size, a, b);
	string_advance(cpu, insn, X86_RSI, i);
	string_advance(cpu, insn, X86_RDI, i);
	return i;
}

static void string_scas_one(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t b = interp_load(cpu, string_dest(cpu, insn, false), size);

	string_cmp(&cpu->rflags, size, cpu->gpr[X86_RAX], b);
	string_advance(cpu, insn, X86_RDI, 1);
}

static uint64_t string_scas_many(struct x86_cpu *cpu,
				 const struct x86_insn *insn, uint64_t count)
{
	int64_t size = insn->opsize, step = string_down(cpu) ? -size : size;
	uint64_t a = interp_gpr(cpu, X86_RAX, size), n = count, i = 0, b;
	uint8_t *d = string_span(cpu, insn, string_dest(cpu, insn, false),
				 false, &n);

	if (!d)
		return 0;
	do {
		b = host_mem_load(d + (int64_t)i * step, size);
	} while (++i < n && string_goes_on(insn, a == b));
	string_cmp(&cpu->rflags, size, a, b);
	string_advance(cpu, insn, X86_RDI, i);
	return i;
}

/* --- Ports --------------------------------------------------------------- */

/* The port is read only once the store cannot fault any more. */
static void string_ins_one(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t port = (uint16_t)cpu->gpr[X86_RDX];
	unsigned size = insn->opsize;
	uint64_t linear;

	x86_check_io(cpu, port, size);
	linear = string_dest(cpu, insn, true);
	x86_probe(cpu, linear, size, true);
	interp_store(cpu, linear, size, mem_port_read(cpu->mem, port, size));
	string_advance(cpu, insn, X86_RDI, 1);
}

static void string_outs_one(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t port = (uint16_t)cpu->gpr[X86_RDX];
	unsigned size = insn->opsize;
	uint64_t v;

	x86_check_io(cpu, port, size);
	v = interp_load(cpu, string_source(cpu, insn), size);
	mem_port_write(cpu->mem, port, size, (uint32_t)v);
	string_advance(cpu, insn, X86_RSI, 1);
}

/* --- REP ----------------------------------------------------------------- */

static uint64_t string_some(struct x86_cpu *cpu, const struct x86_insn *insn,
			    const struct string_op *op, uint64_t count)
{
	uint64_t n = 0;

	if (op->many && string_plain(cpu, insn) && !(cpu->mode & X86_MODE_TF))
		n = op->many(cpu, insn, count);
	if (!n) {
		op->one(cpu, insn);
		n = 1;
	}
	return n;
}

static bool string_must_pause(struct x86_cpu *cpu)
{
	return cpu->mode & X86_MODE_TF ||
	       atomic_load_explicit(&cpu->pending, memory_order_relaxed);
}

/*
 * Back onto the instruction; RF, so that a breakpoint on it that was passed
 * does not hit once more (SDM 3B 17.3.1.1).
 */
static void string_pause(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rip -= insn->len;
	if (cpu->mode & X86_MODE_DEBUG)
		cpu->rflags |= X86_FLAG_RF;
}

static void string_rep(struct x86_cpu *cpu, const struct x86_insn *insn,
		       const struct string_op *op)
{
	uint64_t count = interp_gpr(cpu, X86_RCX, insn->addrsize);

	while (count) {
		count -= string_some(cpu, insn, op, count);
		interp_set_gpr(cpu, X86_RCX, insn->addrsize, count);
		if (op->compares &&
		    !string_goes_on(insn, cpu->rflags & X86_FLAG_ZF))
			return;
		if (count && string_must_pause(cpu)) {
			string_pause(cpu, insn);
			return;
		}
	}
}

static void string_exec(struct x86_cpu *cpu, const struct x86_insn *insn,
			const struct string_op *op)
{
	if (op->port) /* also if the count is 0 */
		x86_check_io(cpu, (uint16_t)cpu->gpr[X86_RDX], insn->opsize);
	if (insn->prefix & (X86_PFX_REPE | X86_PFX_REPNE))
		string_rep(cpu, insn, op);
	else
		op->one(cpu, insn);
}

#define STRING_OP(NAME, one_fn, many_fn, does_compare, has_port) \
	void interp_op_##NAME(struct x86_cpu *cpu,               \
			      const struct x86_insn *insn)       \
	{                                                        \
		static const struct string_op op = {             \
			.one = one_fn,                           \
			.many = many_fn,                         \
			.compares = does_compare,                \
			.port = has_port,                        \
		};                                               \
		string_exec(cpu, insn, &op);                     \
	}

STRING_OP(MOVS, string_movs_one, string_movs_many, false, false)
STRING_OP(STOS, string_stos_one, string_stos_many, false, false)
STRING_OP(LODS, string_lods_one, NULL, false, false)
STRING_OP(CMPS, string_cmps_one, string_cmps_many, true, false)
STRING_OP(SCAS, string_scas_one, string_scas_many, true, false)
STRING_OP(INS, string_ins_one, NULL, false, true)
STRING_OP(OUTS, string_outs_one, NULL, false, true)
