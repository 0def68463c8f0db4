/*
 * fetch.c - reading instruction bytes through page tables and limits.
 */
#include "cpu/interpreter/fetch.h"

#include <string.h>

#include "cpu/interpreter/interp.h"
#include "cpu/interpreter/ops.h"
#include "mem/mem.h"

/* --- What is not an instruction ------------------------------------------ */

static void fetch_too_long(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_gp(cpu, 0);
}

/* Stand-ins have no length, so that a fault finds RIP where it was. */
void fetch_make_fault(struct x86_insn *insn, enum x86_decode_result r)
{
	static const struct x86_desc bad = {
		.name = "(bad)",
		.op = X86_UD,
		.cls = X86_CLASS_FLOW,
		.attr = X86_ATTR_END,
	};

	memset(insn, 0, sizeof(*insn));
	insn->desc = &bad;
	insn->op = bad.op;
	insn->base = insn->index = X86_NO_REG;
	insn->fn = r == X86_DECODE_GP ? fetch_too_long : interp_op_UD;
}

/* --- Bytes --------------------------------------------------------------- */

unsigned fetch_within_limit(const struct x86_cpu *cpu, uint64_t rip)
{
	uint64_t left;

	if (x86_code64(cpu))
		return MEM_PAGE_SIZE;
	if (rip > cpu->seg[X86_CS].limit)
		return 0;
	left = cpu->seg[X86_CS].limit - rip + 1;
	return left < MEM_PAGE_SIZE ? (unsigned)left : MEM_PAGE_SIZE;
}

/* Code in a device's registers is read byte by byte. */
static void fetch_bytes(struct x86_cpu *cpu, uint64_t gpa, uint8_t *buf,
			unsigned len)
{
	const void *host = mem_host_read(cpu->mem, gpa, len);
	unsigned i;

	if (host) {
		memcpy(buf, host, len);
		return;
	}
	for (i = 0; i < len; i++)
		buf[i] = (uint8_t)mem_mmio_read(cpu->mem, gpa + i, 1);
}

static enum x86_decode_result fetch_decode(struct x86_cpu *cpu, struct fetch *f)
{
	enum x86_decode_result r =
		x86_decode(&f->insn, f->bytes, f->count, cpu->mode);

	if (r == X86_DECODE_UD || r == X86_DECODE_GP)
		fetch_make_fault(&f->insn, r);
	else if (r == X86_DECODE_OK)
		interp_select(&f->insn);
	return r;
}

/*
 * First the bytes on RIP's page; the next page is touched only if they are
 * not enough, for it may be absent.
 */
void fetch_insn(struct x86_cpu *cpu, struct fetch *f)
{
	uint64_t linear = fetch_linear(cpu);
	unsigned allowed = fetch_within_limit(cpu, cpu->rip);
	unsigned here = MEM_PAGE_SIZE - (linear & MEM_PAGE_MASK);

	if (!allowed)
		x86_gp(cpu, 0);
	if (allowed > X86_INSN_MAX)
		allowed = X86_INSN_MAX;
	f->gpa = x86_fetch_gpa(cpu, linear);
	f->gpa2 = FETCH_NO_PAGE;
	f->count = allowed < here ? allowed : here;
	fetch_bytes(cpu, f->gpa, f->bytes, f->count);
	if (fetch_decode(cpu, f) != X86_DECODE_MORE)
		return;
	if (here < allowed) {
		f->gpa2 = x86_fetch_gpa(cpu, fetch_next_page(cpu, linear));
		fetch_bytes(cpu, f->gpa2, f->bytes + here, allowed - here);
		f->count = allowed;
		if (fetch_decode(cpu, f) != X86_DECODE_MORE)
			return;
	}
	x86_gp(cpu, 0); /* the limit cuts it off */
}
