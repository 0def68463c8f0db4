/*
 * x86_try.h - calls that raise, in unit tests: X86_TRY(cpu, call) is the
 * vector raised, or -1; details are in cpu->fault.
 */
#ifndef HOSTEL_TESTS_X86_TRY_H
#define HOSTEL_TESTS_X86_TRY_H

#include "cpu/x86/cpu.h"

#define X86_TRY(cpu, call)                             \
	({                                             \
		volatile int vector_ = -1;             \
		if (setjmp((cpu)->fault_jmp) == 0)     \
			(void)(call);                  \
		else                                   \
			vector_ = (cpu)->fault.vector; \
		vector_;                               \
	})

#endif
