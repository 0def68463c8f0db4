/* trim.c - see trim.h.  #syscalls: madvise */
#include "vmm/trim.h"

#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define TRIM_STACK_BYTES (1ul << 20)

/*
 * The usual 8 MiB have room for a page of 2 MiB, which the kernel may put there
 * as soon as one byte is touched.
 */
void trim_stacks(void)
{
	pthread_attr_t attr;

	if (pthread_getattr_default_np(&attr))
		return;
	if (!pthread_attr_setstacksize(&attr, TRIM_STACK_BYTES))
		pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

/*
 * A segment of code that cannot be written is as it is in its file: what is
 * dropped comes back (but for a debugger's breakpoints: set them after this).
 */
static void trim_segment(uintptr_t start, uintptr_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = start & ~(page - 1);

	madvise((void *)from, start + len - from, MADV_DONTNEED);
}

static int trim_object(struct dl_phdr_info *info, size_t size, void *opaque)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && p->p_flags & PF_X &&
		    !(p->p_flags & PF_W))
			trim_segment(info->dlpi_addr + p->p_vaddr, p->p_memsz);
	}
	return 0;
}

void trim_memory(void)
{
	malloc_trim(0);
	dl_iterate_phdr(trim_object, NULL);
}
