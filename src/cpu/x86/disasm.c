/*
 * disasm.c - one instruction as text, by Zydis.
 *
 * For people only: what an instruction is and does, decode.c says.
 */
#include <Zydis/Zydis.h>

#include <stdio.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

static ZyanStatus disasm_decoder(ZydisDecoder *decoder, unsigned mode)
{
	switch (mode & X86_MODE_CODE) {
	case X86_MODE_CODE64:
		return ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64,
					ZYDIS_STACK_WIDTH_64);
	case X86_MODE_CODE32:
		return ZydisDecoderInit(decoder,
					ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
					ZYDIS_STACK_WIDTH_32);
	default:
		return ZydisDecoderInit(decoder,
					mode & (X86_MODE_REAL | X86_MODE_VM86)
						? ZYDIS_MACHINE_MODE_REAL_16
						: ZYDIS_MACHINE_MODE_LEGACY_16,
					ZYDIS_STACK_WIDTH_16);
	}
}

void x86_disasm(char *out, unsigned out_len, const uint8_t *bytes, unsigned len,
		unsigned mode, uint64_t rip)
{
	ZydisDecoder decoder;
	ZydisFormatter formatter;
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

	if (out_len == 0)
		return;
	if (ZYAN_SUCCESS(disasm_decoder(&decoder, mode)) &&
	    ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, len, &insn,
						operands)) &&
	    ZYAN_SUCCESS(ZydisFormatterInit(&formatter,
					    ZYDIS_FORMATTER_STYLE_INTEL)) &&
	    ZYAN_SUCCESS(ZydisFormatterFormatInstruction(
		    &formatter, &insn, operands, insn.operand_count_visible,
		    out, out_len, rip, NULL)))
		return;
	snprintf(out, out_len, "(bad)");
}
