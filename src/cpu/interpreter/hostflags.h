/*
 * hostflags.h - arithmetic by the host's own instructions, flags included.
 *
 * The interpreter runs x86 on x86, so the flags of an arithmetic instruction,
 * defined or not, are had by executing that very instruction with the guest's
 * six arithmetic flags loaded.  They travel in AX, as LAHF and SETO leave them:
 *
 *	AH: SF ZF 0 AF 0 PF 1 CF	AL: OF
 *
 * SAHF loads the former; adding 127 to AL overflows just if AL is 1.
 */
#ifndef HOSTEL_CPU_INTERPRETER_HOSTFLAGS_H
#define HOSTEL_CPU_INTERPRETER_HOSTFLAGS_H

#include <stdint.h>

#include "cpu/x86/bits.h"

/* One operation on values of `size` bytes; bits above are don't-care. */
typedef uint64_t host_alu_fn(uint64_t *rflags, unsigned size, uint64_t a,
			     uint64_t b);

#define HOST_FLAGS_LOAD "addb $127, %%al\n\tsahf\n\t"
#define HOST_FLAGS_SAVE "\n\tlahf\n\tseto %%al"

static inline uint32_t host_flags_pack(uint64_t rflags)
{
	return (uint32_t)(rflags & 0xff) << 8 | (rflags >> 11 & 1);
}

/* ax may have anything above bit 15 and in bits 1..7. */
static inline uint64_t host_flags_merge(uint64_t rflags, uint32_t ax)
{
	return (rflags & ~X86_FLAGS_ARITH) | (ax >> 8 & 0xd5) |
	       (uint64_t)(ax & 1) << 11;
}

/*
 * Runs one instruction on a and b.  b lies in RCX, so that shifts by CL and
 * two-operand instructions look alike.
 */
#define HOST_ALU(text)                                        \
	__asm__ volatile(HOST_FLAGS_LOAD text HOST_FLAGS_SAVE \
			 : [a] "+r"(a), "+a"(ax)              \
			 : [b] "c"(b)                         \
			 : "cc")

/* For operations of 2, 4 and 8 bytes. */
#define HOST_ALU_CASES(mnemonic, args_w, args_l, args_q) \
	case 2:                                          \
		HOST_ALU(mnemonic "w " args_w);          \
		break;                                   \
	case 4:                                          \
		HOST_ALU(mnemonic "l " args_l);          \
		break;                                   \
	default:                                         \
		HOST_ALU(mnemonic "q " args_q);          \
		break;

#define HOST_ALU_BODY(byte_case, mnemonic, args_w, args_l, args_q)         \
	uint32_t ax = host_flags_pack(*rflags);                            \
	switch (size) {                                                    \
		byte_case HOST_ALU_CASES(mnemonic, args_w, args_l, args_q) \
	}                                                                  \
	*rflags = host_flags_merge(*rflags, ax);                           \
	return a;

#define HOST_BYTE_CASE(text)    \
	case 1:                 \
		HOST_ALU(text); \
		break;

/* a = a OP b, at any width */
#define HOST_BINARY(name, mnemonic)                                       \
	static uint64_t name(uint64_t *rflags, unsigned size, uint64_t a, \
			     uint64_t b)                                  \
	{                                                                 \
		HOST_ALU_BODY(HOST_BYTE_CASE(mnemonic "b %b[b], %b[a]"),  \
			      mnemonic, "%w[b], %w[a]", "%k[b], %k[a]",   \
			      "%q[b], %q[a]")                             \
	}

/* a = a OP b, not for bytes */
#define HOST_BINARY_WLQ(name, mnemonic)                                   \
	static uint64_t name(uint64_t *rflags, unsigned size, uint64_t a, \
			     uint64_t b)                                  \
	{                                                                 \
		HOST_ALU_BODY(, mnemonic, "%w[b], %w[a]", "%k[b], %k[a]", \
			      "%q[b], %q[a]")                             \
	}

/* a = OP a, at any width; b is not used */
#define HOST_UNARY(name, mnemonic)                                          \
	static uint64_t name(uint64_t *rflags, unsigned size, uint64_t a,   \
			     uint64_t b)                                    \
	{                                                                   \
		HOST_ALU_BODY(HOST_BYTE_CASE(mnemonic "b %b[a]"), mnemonic, \
			      "%w[a]", "%k[a]", "%q[a]")                    \
	}

/* a = a shifted by CL, at any width */
#define HOST_SHIFT(name, mnemonic)                                        \
	static uint64_t name(uint64_t *rflags, unsigned size, uint64_t a, \
			     uint64_t b)                                  \
	{                                                                 \
		HOST_ALU_BODY(HOST_BYTE_CASE(mnemonic "b %%cl, %b[a]"),   \
			      mnemonic, "%%cl, %w[a]", "%%cl, %k[a]",     \
			      "%%cl, %q[a]")                              \
	}

#endif
