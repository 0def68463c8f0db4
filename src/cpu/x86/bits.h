/*
 * bits.h - names for the architecture's bits.
 * Source: Intel SDM volume 3A chapter 2, volume 4; AMD APM volume 2.
 */
#ifndef HOSTEL_CPU_X86_BITS_H
#define HOSTEL_CPU_X86_BITS_H

/* RFLAGS */
#define X86_FLAG_CF   0x00000001ull
#define X86_FLAG_1    0x00000002ull
#define X86_FLAG_PF   0x00000004ull
#define X86_FLAG_AF   0x00000010ull
#define X86_FLAG_ZF   0x00000040ull
#define X86_FLAG_SF   0x00000080ull
#define X86_FLAG_TF   0x00000100ull
#define X86_FLAG_IF   0x00000200ull
#define X86_FLAG_DF   0x00000400ull
#define X86_FLAG_OF   0x00000800ull
#define X86_FLAG_IOPL 0x00003000ull
#define X86_FLAG_NT   0x00004000ull
#define X86_FLAG_RF   0x00010000ull
#define X86_FLAG_VM   0x00020000ull
#define X86_FLAG_AC   0x00040000ull
#define X86_FLAG_VIF  0x00080000ull
#define X86_FLAG_VIP  0x00100000ull
#define X86_FLAG_ID   0x00200000ull
/* The six that arithmetic sets. */
#define X86_FLAGS_ARITH                                                        \
	(X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | \
	 X86_FLAG_OF)

/* CR0 */
#define X86_CR0_PE 0x00000001ull
#define X86_CR0_MP 0x00000002ull
#define X86_CR0_EM 0x00000004ull
#define X86_CR0_TS 0x00000008ull
#define X86_CR0_ET 0x00000010ull
#define X86_CR0_NE 0x00000020ull
#define X86_CR0_WP 0x00010000ull
#define X86_CR0_AM 0x00040000ull
#define X86_CR0_NW 0x20000000ull
#define X86_CR0_CD 0x40000000ull
#define X86_CR0_PG 0x80000000ull

/* CR4 */
#define X86_CR4_VME        0x000001ull
#define X86_CR4_PVI        0x000002ull
#define X86_CR4_TSD        0x000004ull
#define X86_CR4_DE         0x000008ull
#define X86_CR4_PSE        0x000010ull
#define X86_CR4_PAE        0x000020ull
#define X86_CR4_MCE        0x000040ull
#define X86_CR4_PGE        0x000080ull
#define X86_CR4_PCE        0x000100ull
#define X86_CR4_OSFXSR     0x000200ull
#define X86_CR4_OSXMMEXCPT 0x000400ull
#define X86_CR4_UMIP       0x000800ull
#define X86_CR4_LA57       0x001000ull
#define X86_CR4_FSGSBASE   0x010000ull
#define X86_CR4_PCIDE      0x020000ull
#define X86_CR4_OSXSAVE    0x040000ull
#define X86_CR4_SMEP       0x100000ull
#define X86_CR4_SMAP       0x200000ull

/* EFER */
#define X86_EFER_SCE 0x001ull
#define X86_EFER_LME 0x100ull
#define X86_EFER_LMA 0x400ull
#define X86_EFER_NXE 0x800ull

/* XCR0 */
#define X86_XCR0_X87 1ull
#define X86_XCR0_SSE 2ull
#define X86_XCR0_AVX 4ull

/* Segment attributes (struct x86_seg.attr) */
#define X86_SEG_TYPE      0x000f
#define X86_SEG_S         0x0010
#define X86_SEG_DPL       0x0060
#define X86_SEG_DPL_SHIFT 5
#define X86_SEG_P         0x0080
#define X86_SEG_AVL       0x1000
#define X86_SEG_L         0x2000
#define X86_SEG_DB        0x4000
#define X86_SEG_G         0x8000
#define X86_SEG_UNUSABLE  0x10000

/* Page table entries */
#define X86_PTE_P  0x001ull
#define X86_PTE_W  0x002ull
#define X86_PTE_U  0x004ull
#define X86_PTE_A  0x020ull
#define X86_PTE_D  0x040ull
#define X86_PTE_PS 0x080ull
#define X86_PTE_G  0x100ull
#define X86_PTE_NX 0x8000000000000000ull

/* Page fault error code */
#define X86_PF_P 0x01
#define X86_PF_W 0x02
#define X86_PF_U 0x04
#define X86_PF_R 0x08
#define X86_PF_I 0x10

/* Exception vectors */
enum x86_vector {
	X86_VEC_DE = 0,
	X86_VEC_DB = 1,
	X86_VEC_NMI = 2,
	X86_VEC_BP = 3,
	X86_VEC_OF = 4,
	X86_VEC_BR = 5,
	X86_VEC_UD = 6,
	X86_VEC_NM = 7,
	X86_VEC_DF = 8,
	X86_VEC_TS = 10,
	X86_VEC_NP = 11,
	X86_VEC_SS = 12,
	X86_VEC_GP = 13,
	X86_VEC_PF = 14,
	X86_VEC_MF = 16,
	X86_VEC_AC = 17,
	X86_VEC_MC = 18,
	X86_VEC_XM = 19,
};

/* DR6, DR7 */
#define X86_DR6_FIXED 0xffff0ff0ull
#define X86_DR6_BD    0x2000ull
#define X86_DR6_BS    0x4000ull
#define X86_DR6_BT    0x8000ull
#define X86_DR7_FIXED 0x400ull
#define X86_DR7_GD    0x2000ull

#endif
