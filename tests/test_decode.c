/*
 * test_decode.c - the decoder's rules, one by one, on encodings picked by hand.
 *
 * A case is an encoding in a mode and what is to come of it: UD, or the row's
 * name and a line of operands as case_operands() writes them.
 */
#include <stdio.h>
#include <string.h>

#include "test.h"

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/optable.h"

#define M64  X86_MODE_CODE64
#define M32  X86_MODE_CODE32
#define M16  X86_MODE_CODE16
#define REAL (X86_MODE_CODE16 | X86_MODE_REAL)
#define VM86 (X86_MODE_CODE16 | X86_MODE_VM86)

struct decode_case {
	const char *bytes; /* hexadecimal, spaces ignored */
	unsigned mode;
	const char *want; /* "ud", or "name operands" */
};

static unsigned case_bytes(const char *hex, uint8_t *out)
{
	unsigned n = 0, v;

	while (sscanf(hex, " %2x", &v) == 1) {
		out[n++] = v;
		hex += strspn(hex, " ") + 2;
	}
	return n;
}

static int case_memory(char *s, size_t n, const struct x86_insn *in)
{
	static const char *const seg[] = { "es", "cs", "ss", "ds", "fs", "gs" };
	int at = snprintf(s, n, "[%s:", seg[in->seg]);

	if (in->base == X86_REG_RIP)
		at += snprintf(s + at, n - at, "rip");
	else if (in->base == X86_REG_MOFFS)
		return at + snprintf(s + at, n - at, "%#lx]",
				     (unsigned long)in->imm);
	else if (in->base != X86_NO_REG)
		at += snprintf(s + at, n - at, "r%u", in->base);
	if (in->index != X86_NO_REG)
		at += snprintf(s + at, n - at, "+r%u*%u", in->index,
			       1u << in->scale);
	return at + snprintf(s + at, n - at, "%+d]", in->disp);
}

/* One operand: kind, number or value, ":size", access. */
static int case_operand(char *s, size_t n, const struct x86_insn *in,
			const struct x86_operand *o)
{
	static const char *const kind[] = {
		"", "r", "h", "", "", "", "", "s", "cr", "dr", "mm", "v", "st",
	};
	static const char *const access[] = { "", "", "=", "+" };
	int at;

	switch (o->kind) {
	case X86_OPND_MEM:
		at = case_memory(s, n, in);
		break;
	case X86_OPND_IMM:
	case X86_OPND_REL:
		return snprintf(s, n, " %ld", (long)in->imm);
	case X86_OPND_FAR:
		return snprintf(s, n, " %#x:%#lx", in->sel,
				(unsigned long)in->imm);
	default:
		at = snprintf(s, n, "%s%u", kind[o->kind], o->reg);
	}
	return at +
	       snprintf(s + at, n - at, ":%u%s", o->size, access[o->access]);
}

static void case_text(char *s, size_t n, const struct x86_insn *in)
{
	int at = snprintf(s, n, "%s", in->desc->name);

	for (unsigned i = 0; i < 4 && in->o[i].kind; i++) {
		if (in->o[i].kind < X86_OPND_IMM ||
		    in->o[i].kind > X86_OPND_FAR)
			at += snprintf(s + at, n - at, " ");
		at += case_operand(s + at, n - at, in, &in->o[i]);
	}
}

static void check_case(const struct decode_case *c)
{
	uint8_t bytes[32];
	unsigned n = case_bytes(c->bytes, bytes);
	struct x86_insn in;
	char got[128] = "ud";

	switch (x86_decode(&in, bytes, n, c->mode)) {
	case X86_DECODE_OK:
		case_text(got, sizeof(got), &in);
		if (in.len != n)
			fail_msg("%s: length %u", c->bytes, in.len);
		break;
	case X86_DECODE_MORE:
		snprintf(got, sizeof(got), "more");
		break;
	case X86_DECODE_GP:
		snprintf(got, sizeof(got), "gp");
		break;
	case X86_DECODE_UD:
		break;
	}
	if (strcmp(got, c->want))
		fail_msg("%s in mode %#x: '%s', not '%s'", c->bytes, c->mode,
			 got, c->want);
}

#define CHECK_CASES(cases)                                                   \
	do {                                                                 \
		for (unsigned i_ = 0; i_ < sizeof(cases) / sizeof(cases[0]); \
		     i_++)                                                   \
			check_case(&cases[i_]);                              \
	} while (0)

/* --- the rules --------------------------------------------------------------
 */

static void test_operand_size(void **state)
{
	static const struct decode_case cases[] = {
		{ "01 d8", M64, "add r0:4+ r3:4" },
		{ "66 01 d8", M64, "add r0:2+ r3:2" },
		{ "48 01 d8", M64, "add r0:8+ r3:8" },
		{ "66 48 01 d8", M64, "add r0:8+ r3:8" },
		{ "01 d8", M32, "add r0:4+ r3:4" },
		{ "01 d8", M16, "add r0:2+ r3:2" },
		{ "66 01 d8", REAL, "add r0:4+ r3:4" },
		{ "48", M32, "dec r0:4+" },
		{ "04 80", M64, "add r0:1+ 128" },
		{ "05 00 00 00 80", M64, "add r0:4+ -2147483648" },
		{ "66 05 00 80", M64, "add r0:2+ -32768" },
		{ "83 c0 ff", M64, "add r0:4+ -1" },
		{ "48 b8 00 00 00 00 00 00 00 80", M64,
		  "mov r0:8= -9223372036854775808" },
		{ "b8 00 00 00 80", M64, "mov r0:4= 2147483648" },
		{ "48 c7 c0 00 00 00 80", M64, "mov r0:8= -2147483648" },
	};

	CHECK_CASES(cases);
}

/* Pushes, pops and near branches are 64 bits wide in 64-bit code; 66 shrinks
 * the former to 16 bits and, as on Intel's processors, not the latter. */
static void test_default_64(void **state)
{
	static const struct decode_case cases[] = {
		{ "50", M64, "push r0:8" },
		{ "66 50", M64, "push r0:2" },
		{ "41 50", M64, "push r8:8" },
		{ "50", M32, "push r0:4" },
		{ "6a ff", M64, "push -1" },
		{ "8f c0", M64, "pop r0:8=" },
		{ "8f c8", M64, "ud" }, /* XOP */
		{ "0f a0", M64, "push s4:2" },
		{ "e8 fc ff ff ff", M64, "call -4" },
		{ "66 e8 fc ff ff ff", M64, "call -4" },
		{ "66 e8 fc ff", M32, "call -4" },
		{ "eb fe", M64, "jmp -2" },
		{ "66 0f 84 00 01 00 00", M64, "jz 256" },
		{ "ff d0", M64, "call r0:8" },
		{ "66 ff d0", M64, "call r0:8" },
		{ "ff e0", M16, "jmp r0:2" },
		{ "ff 18", M64, "call [ds:r0+0]:6" },
		{ "48 ff 28", M64, "jmp [ds:r0+0]:10" },
		{ "ff d8", M64, "ud" },
		{ "ff f8", M64, "ud" },
		{ "c2 08 00", M64, "ret 8" },
		{ "9a 78 56 34 12 08 00", M32, "call 0x8:0x12345678" },
		{ "ea 34 12 00 f0", REAL, "jmp 0xf000:0x1234" },
		{ "9a 78 56 34 12 08 00", M64, "ud" },
	};

	CHECK_CASES(cases);
}

static void test_rex(void **state)
{
	static const struct decode_case cases[] = {
		{ "88 e0", M64, "mov r0:1= h0:1" },
		{ "40 88 e0", M64, "mov r0:1= r4:1" },
		{ "88 e0", M32, "mov r0:1= h0:1" },
		{ "b7 01", M64, "mov h3:1= 1" },
		{ "45 88 e0", M64, "mov r8:1= r12:1" },
		/* counts only right before the opcode */
		{ "48 66 01 d8", M64, "add r0:2+ r3:2" },
		{ "48 41 01 d8", M64, "add r8:4+ r3:4" },
		{ "48 8e d8", M64, "mov s3:2= r0:2" },
		{ "44 8e d8", M64, "mov s3:2= r0:2" },
		{ "44 0f 6f c1", M64, "movq mm0:8= mm1:8" },
	};

	CHECK_CASES(cases);
}

static void test_addressing(void **state)
{
	static const struct decode_case cases[] = {
		{ "8b 00", M64, "mov r0:4= [ds:r0+0]:4" },
		{ "8b 45 fc", M64, "mov r0:4= [ss:r5-4]:4" },
		{ "8b 04 24", M64, "mov r0:4= [ss:r4+0]:4" },
		{ "41 8b 04 24", M64, "mov r0:4= [ds:r12+0]:4" },
		{ "41 8b 45 00", M64, "mov r0:4= [ds:r13+0]:4" },
		{ "8b 05 10 00 00 00", M64, "mov r0:4= [ds:rip+16]:4" },
		{ "8b 05 10 00 00 00", M32, "mov r0:4= [ds:+16]:4" },
		{ "8b 04 25 10 00 00 80", M64, "mov r0:4= [ds:-2147483632]:4" },
		{ "8b 04 88", M64, "mov r0:4= [ds:r0+r1*4+0]:4" },
		{ "42 8b 04 a0", M64, "mov r0:4= [ds:r0+r12*4+0]:4" },
		/* index 100 is none, base 101 with mod 0 none either */
		{ "8b 04 65 10 00 00 00", M64, "mov r0:4= [ds:+16]:4" },
		{ "41 8b 04 25 10 00 00 00", M64, "mov r0:4= [ds:+16]:4" },
		{ "8b 84 c5 00 01 00 00", M64, "mov r0:4= [ss:r5+r0*8+256]:4" },
		{ "64 8b 00", M64, "mov r0:4= [fs:r0+0]:4" },
		{ "2e 8b 00", M64, "mov r0:4= [ds:r0+0]:4" },
		{ "2e 8b 00", M32, "mov r0:4= [cs:r0+0]:4" },
		{ "36 64 8b 00", M32, "mov r0:4= [fs:r0+0]:4" },
		{ "8b 00", M16, "mov r0:2= [ds:r3+r6*1+0]:2" },
		{ "8b 02", M16, "mov r0:2= [ss:r5+r6*1+0]:2" },
		{ "8b 46 80", M16, "mov r0:2= [ss:r5-128]:2" },
		{ "8b 06 34 12", M16, "mov r0:2= [ds:+4660]:2" },
		{ "67 8b 04 24", REAL, "mov r0:2= [ss:r4+0]:2" },
		{ "67 8b 00", M32, "mov r0:4= [ds:r3+r6*1+0]:4" },
		{ "a1 ff ff", M16, "mov r0:2= [ds:+65535]:2" },
		{ "48 a1 88 77 66 55 44 33 22 11", M64,
		  "mov r0:8= [ds:0x1122334455667788]:8" },
		{ "67 a0 78 56 34 12", M64, "mov r0:1= [ds:+305419896]:1" },
	};

	CHECK_CASES(cases);
}

static void test_lock(void **state)
{
	static const struct decode_case cases[] = {
		{ "f0 01 18", M64, "add [ds:r0+0]:4+ r3:4" },
		{ "f0 01 d8", M64, "ud" },
		{ "f0 03 18", M64, "ud" },
		{ "f0 39 18", M64, "ud" },
		{ "f0 84 18", M64, "ud" },
		{ "f0 87 18", M64, "xchg [ds:r0+0]:4+ r3:4+" },
		{ "f0 0f a3 18", M64, "ud" },
		{ "f0 0f ab 18", M64, "bts [ds:r0+0]:4+ r3:4" },
		{ "f0 0f c7 08", M64, "cmpxchg8b [ds:r0+0]:8+" },
		{ "f0 48 0f c7 08", M64, "cmpxchg16b [ds:r0+0]:16+" },
		{ "f0 0f 20 c0", M64, "ud" },
		{ "f0 89 18", M64, "ud" },
		{ "f0 90", M64, "ud" },
		{ "f0 d3 20", M64, "ud" },
		{ "f0 a4", M64, "ud" },
	};

	CHECK_CASES(cases);
}

static void test_mandatory_prefixes(void **state)
{
	static const struct decode_case cases[] = {
		{ "90", M64, "nop" },
		{ "f3 90", M64, "pause" },
		{ "41 90", M64, "xchg r8:4+ r0:4+" },
		{ "0f bc c1", M64, "bsf r0:4+ r1:4" },
		{ "f3 0f bc c1", M64, "tzcnt r0:4= r1:4" },
		{ "f2 0f bc c1", M64, "bsf r0:4+ r1:4" },
		{ "f3 0f bd c1", M64, "lzcnt r0:4= r1:4" },
		{ "f3 0f b8 c1", M64, "popcnt r0:4= r1:4" },
		{ "66 f3 0f b8 c1", M64, "popcnt r0:2= r1:2" },
		{ "0f b8 c1", M64, "ud" },
		/* the last of F2 and F3 counts, and before 66 */
		{ "0f 58 c1", M64, "addps v0:16+ v1:16" },
		{ "66 0f 58 c1", M64, "addpd v0:16+ v1:16" },
		{ "f3 66 0f 58 c1", M64, "addss v0:16+ v1:16" },
		{ "f3 f2 0f 58 c1", M64, "addsd v0:16+ v1:16" },
		{ "f2 f3 0f 58 c1", M64, "addss v0:16+ v1:16" },
		{ "66 0f 38 f6 c1", M64, "adcx r0:4+ r1:4" },
		{ "66 f3 0f 38 f6 c1", M64, "adox r0:4+ r1:4" },
		{ "66 f2 0f 38 f1 c1", M64, "crc32 r0:4+ r1:2" },
		{ "66 0f 38 f1 01", M64, "movbe [ds:r1+0]:2= r0:2" },
		{ "0f 38 f1 c1", M64, "ud" },
		{ "f3 0f 1e fa", M64, "nop r2:4" },
		{ "0f 1f 84 00 00 00 00 00", M64, "nop [ds:r0+r0*1+0]:4" },
	};

	CHECK_CASES(cases);
}

static void test_modes(void **state)
{
	static const struct decode_case cases[] = {
		{ "63 c1", M64, "movsxd r0:4= r1:4" },
		{ "48 63 c1", M64, "movsxd r0:8= r1:4" },
		{ "63 c1", M32, "arpl r1:2+ r0:2" },
		{ "63 c1", REAL, "ud" },
		{ "63 c1", VM86, "ud" },
		{ "06", M32, "push s0:2" },
		{ "06", M64, "ud" },
		{ "27", M64, "ud" },
		{ "d6", M64, "ud" },
		{ "d4 0a", M16, "aam 10" },
		{ "62 08", M32, "bound r1:4 [ds:r0+0]:8" },
		{ "62 f1 7c 48 58 c1", M64, "ud" }, /* EVEX */
		{ "62 c1", M32, "ud" },
		{ "82 c0 01", M32, "add r0:1+ 1" },
		{ "82 c0 01", M64, "ud" },
		{ "0f 05", M64, "syscall" },
		{ "0f 05", M32, "ud" },
		{ "0f 34", M32, "sysenter" },
		{ "0f 34", REAL, "ud" },
		{ "0f 00 d8", M32, "ltr r0:2" },
		{ "0f 00 d8", REAL, "ud" },
		{ "0f 01 f8", M64, "swapgs" },
		{ "0f 01 f8", M32, "ud" },
		{ "f3 0f ae c0", M64, "rdfsbase r0:4=" },
		{ "f3 0f ae c0", M32, "ud" },
		{ "c4 08", M32, "les r1:4= [ds:r0+0]:6 s0:2=" },
		{ "c4 08", M16, "les r1:2= [ds:r3+r6*1+0]:4 s0:2=" },
		{ "0f b2 08", M64, "lss r1:4= [ds:r0+0]:6 s2:2=" },
	};

	CHECK_CASES(cases);
}

static void test_system_registers(void **state)
{
	static const struct decode_case cases[] = {
		{ "0f 20 c0", M64, "mov r0:8= cr0:8" },
		{ "66 0f 20 18", M64, "mov r0:8= cr3:8" }, /* mod ignored */
		{ "44 0f 22 c0", M64, "mov cr8:8= r0:8" },
		{ "0f 22 e0", M16, "mov cr4:4= r0:4" },
		{ "0f 20 c8", M64, "ud" }, /* CR1 */
		{ "0f 20 e8", M64, "ud" }, /* CR5 */
		{ "44 0f 20 c8", M64, "ud" },
		{ "0f 21 f8", M64, "mov r0:8= dr7:8" },
		{ "44 0f 21 f8", M64, "ud" },
		{ "8e c8", M64, "ud" }, /* MOV CS */
		{ "8c c8", M64, "mov r0:4= s1:2" },
		{ "8c 08", M64, "mov [ds:r0+0]:2= s1:2" },
		{ "8e f0", M64, "ud" }, /* segment register 6 */
		{ "0f 01 10", M64, "lgdt [ds:r0+0]:10" },
		{ "0f 01 10", M32, "lgdt [ds:r0+0]:6" },
		{ "0f 01 20", M64, "smsw [ds:r0+0]:2=" },
		{ "0f 01 e0", M64, "smsw r0:4=" },
		{ "0f 01 38", M64, "invlpg [ds:r0+0]:1" },
		{ "66 0f 38 82 08", M64, "invpcid r1:8 [ds:r0+0]:16" },
		{ "0f 01 c8", M64, "ud" }, /* MONITOR */
		{ "0f 01 c1", M64, "vmcall" },
		{ "0f 01 d9", M64, "vmmcall" },
		{ "0f 01 d8", M64, "ud" }, /* VMRUN */
		{ "0f c7 30", M64, "ud" }, /* VMPTRLD */
		{ "0f c7 f0", M64, "rdrand r0:4=" },
		{ "66 0f c7 f8", M64, "rdseed r0:2=" },
		{ "f3 0f c7 f8", M64, "rdpid r0:8=" },
		{ "0f aa", M64, "ud" }, /* RSM */
		{ "0f 0b", M64, "ud2" },
		{ "e4 60", M64, "in r0:1= 96" },
		{ "48 ed", M64, "in r0:4= r2:2" },
		{ "66 ef", M64, "out r2:2 r0:2" },
		{ "c8 10 00 03", M64, "enter 16" },
	};

	CHECK_CASES(cases);
}

static void test_vector_operands(void **state)
{
	static const struct decode_case cases[] = {
		{ "f2 0f 58 00", M64, "addsd v0:16+ [ds:r0+0]:8" },
		{ "f3 0f 10 00", M64, "movss v0:16= [ds:r0+0]:4" },
		{ "f3 0f 10 c1", M64, "movss v0:16+ v1:16" },
		{ "f2 48 0f 2a c1", M64, "cvtsi2sd v0:16+ r1:8" },
		{ "f2 0f 2c 00", M64, "cvttsd2si r0:4= [ds:r0+0]:8" },
		{ "66 0f d7 c1", M64, "pmovmskb r0:4= v1:16" },
		{ "66 48 0f 6e c1", M64, "movd v0:16= r1:8" },
		{ "66 0f 7e 00", M64, "movd [ds:r0+0]:4= v0:16" },
		{ "0f 60 00", M64, "punpcklbw mm0:8+ [ds:r0+0]:4" },
		{ "0f 71 d1 03", M64, "psrlw mm1:8+ 3" },
		{ "0f 71 11 03", M64, "ud" },
		{ "66 0f 38 21 00", M64, "pmovsxbd v0:16= [ds:r0+0]:4" },
		{ "66 0f 38 22 00", M64, "pmovsxbq v0:16= [ds:r0+0]:2" },
		{ "66 0f 38 10 c1", M64, "pblendvb v0:16+ v1:16 v0:16" },
		{ "66 0f 3a 14 00 05", M64, "pextrb [ds:r0+0]:1= v0:16 5" },
		{ "66 0f 3a 14 c0 05", M64, "pextrb r0:4= v0:16 5" },
		{ "66 0f 3a 20 c0 05", M64, "pinsrb v0:16+ r0:4 5" },
		{ "66 0f c4 00 01", M64, "pinsrw v0:16+ [ds:r0+0]:2 1" },
		{ "66 0f f7 c1", M64, "maskmovdqu v0:16 v1:16" },
		{ "66 0f f7 01", M64, "ud" },
		{ "0f ae e8", M64, "lfence" },
		{ "0f ae 28", M64, "xrstor [ds:r0+0]:0" },
		{ "66 0f ae 38", M64, "clflushopt [ds:r0+0]:1" },
		{ "d9 00", M64, "fld [ds:r0+0]:4" },
		{ "db 28", M64, "fld [ds:r0+0]:10" },
		{ "de c1", M64, "faddp st1:10+ st0:10" },
		{ "df e0", M64, "fnstsw r0:2=" },
		{ "d9 d1", M64, "ud" },
	};

	CHECK_CASES(cases);
}

static void test_vex(void **state)
{
	static const struct decode_case cases[] = {
		{ "c5 f8 58 c1", M64, "vaddps v0:16= v0:16 v1:16" },
		{ "c5 fc 58 00", M64, "vaddps v0:32= v0:32 [ds:r0+0]:32" },
		{ "c5 f8 58 c1", M32, "vaddps v0:16= v0:16 v1:16" },
		{ "c5 f8 58 c1", REAL, "ud" },
		{ "c5 f8 58 c1", VM86, "ud" },
		{ "66 c5 f8 58 c1", M64, "ud" },
		{ "f3 c5 f8 58 c1", M64, "ud" },
		{ "f0 c5 f8 58 c1", M64, "ud" },
		{ "48 c5 f8 58 c1", M64, "ud" },
		{ "64 67 c5 f8 58 00", M64,
		  "vaddps v0:16= v0:16 [fs:r0+0]:16" },
		/* vvvv must be 1111 where it names nothing */
		{ "c5 f8 28 c1", M64, "vmovaps v0:16= v1:16" },
		{ "c5 f0 28 c1", M64, "ud" },
		{ "c4 41 38 58 c1", M64, "vaddps v8:16= v8:16 v9:16" },
		{ "c4 e0 78 58 c1", M64, "ud" }, /* map 0 */
		{ "c4 e4 78 58 c1", M64, "ud" },
		{ "c4 e2 71 96 c2", M64, "vfmaddsub132ps v0:16+ v1:16 v2:16" },
		{ "c4 e2 f1 96 c2", M64, "vfmaddsub132pd v0:16+ v1:16 v2:16" },
		{ "c4 e3 71 4a c2 30", M64,
		  "vblendvps v0:16= v1:16 v2:16 v3:16" },
		{ "c4 e2 70 f2 c2", M64, "andn r0:4= r1:4 r2:4" },
		{ "c4 e2 f0 f2 c2", M64, "andn r0:8= r1:8 r2:8" },
		{ "c4 e2 f0 f2 c2", M32, "andn r0:4= r1:4 r2:4" },
		{ "c4 e2 74 f2 c2", M64, "ud" }, /* L */
		{ "c4 e2 73 f6 c2", M64, "mulx r0:4= r1:4= r2:4" },
		{ "c4 e3 7b f0 c2 07", M64, "rorx r0:4= r2:4 7" },
		{ "c5 f8 77", M64, "vzeroupper" },
		{ "c5 fc 77", M64, "vzeroall" },
		{ "c4 e2 7d 20 00", M64, "vpmovsxbw v0:32= [ds:r0+0]:16" },
		{ "c5 f1 71 d2 04", M64, "vpsrlw v1:16= v2:16 4" },
		/* gathers: SIB is a must, registers must differ */
		{ "c4 e2 69 90 04 08", M64,
		  "vpgatherdd v0:16+ [ds:r0+r1*1+0]:4 v2:16+" },
		{ "c4 e2 69 90 04 20", M64,
		  "vpgatherdd v0:16+ [ds:r0+r4*1+0]:4 v2:16+" },
		{ "c4 e2 69 90 00", M64, "ud" },
		{ "c4 e2 69 90 04 00", M64, "ud" },
		{ "c4 e2 71 90 04 08", M64, "ud" },
		{ "c4 e2 79 90 04 08", M64, "ud" },
	};

	CHECK_CASES(cases);
}

static void test_length(void **state)
{
	static const struct decode_case cases[] = {
		{ "", M64, "more" },
		{ "66", M64, "more" },
		{ "0f", M64, "more" },
		{ "8b", M64, "more" },
		{ "8b 04", M64, "more" },
		{ "8b 05 00 00", M64, "more" },
		{ "05 00 00 00", M64, "more" },
		{ "c4 e2", M64, "more" },
		{ "c4", M32, "more" },
		{ "0f ff", M64, "more" },
		{ "66 66 66 66 66 66 66 66 66 66 66 66 66 66", M64, "more" },
		{ "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", M64,
		  "gp" },
		{ "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", M64, "nop" },
		/* 10 prefixes, opcode, ModRM, SIB, disp32, imm32: 17 bytes */
		{ "2e 2e 2e 2e 2e 2e 2e 2e 81 84 24 00 00 00 00 00", M64,
		  "gp" },
	};

	CHECK_CASES(cases);
}

static void test_flags(void **state)
{
	static const struct {
		const char *bytes;
		unsigned read, written, undefined, maybe;
	} cases[] = {
		{ "01 d8", 0, 0x8d5, 0, 0 },
		{ "11 d8", 1, 0x8d5, 0, 0 },
		{ "21 d8", 0, 0x8c5, 0x10, 0 },
		{ "ff c0", 0, 0x8d4, 0, 0 },
		{ "d3 e0", 0, 0x8c5, 0x810, 0x8d5 },
		{ "d1 e0", 0, 0x8c5, 0x10, 0 },
		{ "d1 d0", 1, 0x801, 0, 0 },
		{ "f7 e0", 0, 0x801, 0xd4, 0 },
		{ "f7 f0", 0, 0, 0x8d5, 0 },
		{ "0f a3 c1", 0, 1, 0x894, 0 },
		{ "0f bc c1", 0, 0x40, 0x895, 0 },
		{ "7e 00", 0x8c0, 0, 0, 0 },
		{ "72 00", 1, 0, 0, 0 },
		{ "0f 2e c1", 0, 0x8d5, 0, 0 },
		{ "89 d8", 0, 0, 0, 0 },
		{ "66 0f 38 f6 c1", 1, 1, 0, 0 },
		{ "f3 0f 38 f6 c1", 0x800, 0x800, 0, 0 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[16];
		unsigned n = case_bytes(cases[i].bytes, bytes);
		struct x86_insn in;

		assert_int_equal(x86_decode(&in, bytes, n, M64), X86_DECODE_OK);
		assert_int_equal(in.desc->flags_read, cases[i].read);
		assert_int_equal(in.desc->flags_written, cases[i].written);
		assert_int_equal(in.desc->flags_undefined, cases[i].undefined);
		assert_int_equal(in.desc->flags_maybe, cases[i].maybe);
	}
}

/* What handlers read besides operands. */
static void test_fields(void **state)
{
	struct x86_insn in;
	uint8_t b[16];

	assert_int_equal(x86_decode(&in, b, case_bytes("f3 48 a5", b), M64),
			 X86_DECODE_OK);
	assert_int_equal(in.opsize, 8);
	assert_int_equal(in.addrsize, 8);
	assert_true(in.prefix & X86_PFX_REPE);
	assert_int_equal(in.pp, 0);

	x86_decode(&in, b, case_bytes("65 67 a4", b), M32);
	assert_int_equal(in.opsize, 1);
	assert_int_equal(in.addrsize, 2);
	assert_int_equal(in.seg, X86_GS);

	x86_decode(&in, b, case_bytes("f3 44 0f 2c c1", b), M64);
	assert_int_equal(in.pp, 2);
	assert_int_equal(in.rex, 4);
	assert_false(in.prefix & X86_PFX_REPE);

	x86_decode(&in, b, case_bytes("0f 9f c0", b), M64);
	assert_int_equal(in.cond, 15);
	assert_int_equal(in.opsize, 1);

	x86_decode(&in, b, case_bytes("c8 10 00 03", b), M64);
	assert_int_equal(in.sel, 3);
	assert_int_equal(in.imm_bytes, 3);

	x86_decode(&in, b, case_bytes("ee", b), M64);
	assert_int_equal(in.opsize, 1);
}

static void test_disasm(void **state)
{
	static const uint8_t lea[] = { 0x48, 0x8d, 0x05, 0x10, 0, 0, 0 };
	static const uint8_t bad[] = { 0x0f, 0x04 };
	char s[64];

	x86_disasm(s, sizeof(s), lea, sizeof(lea), M64, 0x1000);
	assert_string_equal(s, "lea rax, [0x0000000000001017]");
	x86_disasm(s, sizeof(s), bad, sizeof(bad), M64, 0);
	assert_string_equal(s, "(bad)");
	x86_disasm(s, 0, lea, sizeof(lea), M64, 0);
}

/* Rows of one opcode stand together and agree on whether ModRM follows. */
static void test_table_shape(void **state)
{
	for (unsigned i = 0; x86_desc_at(i); i++) {
		const struct x86_desc *d = x86_desc_at(i);
		unsigned last = optable_index[d->map][d->last];

		assert_true(d->op > X86_OP_INVALID && d->op < X86_OP_COUNT);
		assert_true(d->name && d->name[0]);
		assert_true(d->first <= d->last);
		assert_true(last > i);
		for (unsigned k = i + 1; k < last; k++) {
			const struct x86_desc *e = x86_desc_at(k);

			assert_int_equal(e->map, d->map);
			assert_true(e->first <= d->last && e->last >= d->first);
			assert_int_equal(e->match & OPTABLE_NO_MODRM,
					 d->match & OPTABLE_NO_MODRM);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operand_size),
		cmocka_unit_test(test_default_64),
		cmocka_unit_test(test_rex),
		cmocka_unit_test(test_addressing),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_mandatory_prefixes),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_system_registers),
		cmocka_unit_test(test_vector_operands),
		cmocka_unit_test(test_vex),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_disasm),
		cmocka_unit_test(test_table_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
