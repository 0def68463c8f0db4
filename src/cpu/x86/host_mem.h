/*
 * host_mem.h - the guest's values where they lie in the host's memory.
 */
#ifndef HOSTEL_CPU_X86_HOST_MEM_H
#define HOSTEL_CPU_X86_HOST_MEM_H

#include <stdint.h>
#include <string.h>

/*
 * Values of 1, 2, 4 or 8 bytes (any other size counts as 8) at an address of
 * any alignment, by one access each: memcpy() of a variable size is much
 * slower, and may tear.
 */
static inline uint64_t host_mem_load(const void *p, unsigned size)
{
	uint64_t v = 0;

	switch (size) {
	case 1:
		memcpy(&v, p, 1);
		break;
	case 2:
		memcpy(&v, p, 2);
		break;
	case 4:
		memcpy(&v, p, 4);
		break;
	default:
		memcpy(&v, p, 8);
	}
	return v;
}

static inline void host_mem_store(void *p, unsigned size, uint64_t v)
{
	switch (size) {
	case 1:
		memcpy(p, &v, 1);
		break;
	case 2:
		memcpy(p, &v, 2);
		break;
	case 4:
		memcpy(p, &v, 4);
		break;
	default:
		memcpy(p, &v, 8);
	}
}

#endif
