/*
 * op.h - the names of operations.
 *
 * One X86_<MNEMONIC> for each operation that the interpreter handles by itself.
 * Vector, MMX, x87 and other instructions that run on the host through a
 * thunk share X86_THUNK; their row's name tells which it is.
 */
#ifndef HOSTEL_CPU_X86_OP_H
#define HOSTEL_CPU_X86_OP_H

/* clang-format off */
#define X86_OPS(X) \
	/* integer: interpreter/int_*.c */ \
	X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) X(TEST) \
	X(INC) X(DEC) X(NOT) X(NEG) X(MUL) X(IMUL1) X(IMUL2) X(DIV) X(IDIV) \
	X(ROL) X(ROR) X(RCL) X(RCR) X(SHL) X(SHR) X(SAR) X(SHLD) X(SHRD) \
	X(MOV) X(MOVZX) X(MOVSX) X(MOVSXD) X(LEA) X(XCHG) X(XADD) \
	X(CMPXCHG) X(CMPXCHG8B) X(CMPXCHG16B) X(BSWAP) X(MOVBE) \
	X(CBW) X(CWD) X(SETCC) X(CMOVCC) X(BT) X(BTS) X(BTR) X(BTC) \
	X(BSF) X(BSR) X(TZCNT) X(LZCNT) X(POPCNT) X(CRC32) X(ADCX) X(ADOX) \
	X(ANDN) X(BEXTR) X(BLSI) X(BLSMSK) X(BLSR) X(BZHI) X(MULX) X(PDEP) \
	X(PEXT) X(RORX) X(SARX) X(SHLX) X(SHRX) \
	X(PUSH) X(POP) X(PUSHA) X(POPA) X(PUSHF) X(POPF) X(ENTER) X(LEAVE) \
	X(LAHF) X(SAHF) X(CLC) X(STC) X(CMC) X(CLD) X(STD) X(SALC) \
	X(XLAT) X(AAA) X(AAS) X(AAM) X(AAD) X(DAA) X(DAS) X(BOUND) \
	X(NOP) X(PAUSE) X(PREFETCH) X(FENCE) X(CLFLUSH) X(RDRAND) X(RDSEED) \
	X(MOVNTI) X(RDPID) X(MOVDIRI) \
	/* control flow: interpreter/flow.c */ \
	X(JCC) X(JMP) X(JMP_IND) X(JMP_FAR) X(CALL) X(CALL_IND) X(CALL_FAR) \
	X(RET) X(RETF) X(IRET) X(LOOP) X(LOOPE) X(LOOPNE) X(JCXZ) \
	X(INT) X(INT3) X(INTO) X(INT1) X(UD) \
	/* strings: interpreter/string.c */ \
	X(MOVS) X(CMPS) X(STOS) X(LODS) X(SCAS) X(INS) X(OUTS) \
	/* system: interpreter/system.c */ \
	X(IN) X(OUT) X(CLI) X(STI) X(HLT) X(CPUID) X(RDTSC) X(RDTSCP) \
	X(RDPMC) X(RDMSR) X(WRMSR) X(MOV_CR) X(MOV_DR) X(CLTS) X(LMSW) \
	X(SMSW) X(LGDT) X(LIDT) X(SGDT) X(SIDT) X(LLDT) X(LTR) X(SLDT) X(STR) \
	X(INVLPG) X(INVPCID) X(INVD) X(WBINVD) X(SWAPGS) X(SYSCALL) \
	X(SYSRET) X(SYSENTER) X(SYSEXIT) X(ARPL) X(LAR) X(LSL) X(VERR) \
	X(VERW) X(MOV_SREG) X(PUSH_SREG) X(POP_SREG) X(LSS) X(CLAC) X(STAC) \
	X(RDFSBASE) X(RDGSBASE) X(WRFSBASE) X(WRGSBASE) X(XGETBV) X(XSETBV) \
	X(VMCALL) X(MONITOR) X(MWAIT) X(RSM) \
	/* floating-point state: interpreter/fpstate.c */ \
	X(FXSAVE) X(FXRSTOR) X(XSAVE) X(XSAVEOPT) X(XSAVEC) X(XRSTOR) \
	X(XSAVES) X(XRSTORS) X(LDMXCSR) X(STMXCSR) X(VZEROUPPER) X(VZEROALL) \
	X(FNSTENV) X(FLDENV) X(FNSAVE) X(FRSTOR) X(FWAIT) X(EMMS) \
	X(MASKMOV) X(VMASKMOV) X(VGATHER) \
	/* everything that runs on the host: x86/thunk.h */ \
	X(THUNK)
/* clang-format on */

enum x86_op {
	X86_OP_INVALID,
#define X(name) X86_##name,
	X86_OPS(X)
#undef X
		X86_OP_COUNT
};

#endif
