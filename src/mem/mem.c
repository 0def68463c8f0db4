/* mem.c - guest RAM; see mem.h.  Windows: window.c, MMIO: bus.c. */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/mem_priv.h"

/* #syscalls: memfd_create ftruncate fallocate */

/* From here on, zeroing gives whole pages back instead of writing them. */
#define MEM_PUNCH_MIN (64ull << 10)

/* --- Life ----------------------------------------------------------------- */

static int mem_check_size(uint64_t bytes, struct err *err)
{
	if (bytes < MEM_RAM_MIN)
		return err_set(err, EINVAL,
			       "guest memory of %" PRIu64 " bytes is too "
			       "little: give at least 1M",
			       bytes);
	if (bytes > MEM_RAM_MAX)
		return err_set(err, EINVAL,
			       "guest memory of %" PRIu64 " bytes is too "
			       "much: give at most 1024G",
			       bytes);
	if (bytes & MEM_PAGE_MASK)
		return err_set(err, EINVAL,
			       "guest memory of %" PRIu64 " bytes is not a "
			       "multiple of 4096: round it, to %" PRIu64
			       " for example",
			       bytes, (uint64_t)(bytes & ~MEM_PAGE_MASK));
	return 0;
}

static int mem_refused(const struct mem *m, int code, struct err *err)
{
	return err_set(err, code,
		       "the host refuses %" PRIu64 " MiB of guest memory "
		       "(%s): give the guest less, or raise the limit "
		       "(ulimit -v, vm.overcommit_memory)",
		       m->ram_bytes >> 20, strerror(code));
}

/* Nothing is allocated by this: pages come when they are touched. */
static void *mem_reserve(uint64_t len, int flags, int fd)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE,
		    fd, 0);
}

/* The seals: who is handed the file cannot shrink it under our feet. */
static int mem_open_file(struct mem *m)
{
	m->fd = memfd_create("hostel-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->file_bytes) ||
	    fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return -errno;
	return 0;
}

static int mem_map_ram(struct mem *m)
{
	int rc = mem_open_file(m);
	void *p;

	if (rc)
		return rc;
	p = mem_reserve(m->file_bytes, MAP_SHARED, m->fd);
	if (p == MAP_FAILED)
		return -errno;
	m->ram = p;
	/* A core dump of ours is not to hold the guest's secrets. */
	madvise(p, m->file_bytes, MADV_DONTDUMP);
	p = mem_reserve(m->file_bytes >> MEM_PAGE_SHIFT,
			MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (p == MAP_FAILED)
		return -errno;
	m->page_flags = p;
	return 0;
}

int mem_new(struct mem **out, uint64_t ram_bytes, struct err *err)
{
	struct mem *m;
	int rc = mem_check_size(ram_bytes, err);

	if (rc)
		return rc;
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(err, ENOMEM, "no memory for a guest");
	m->fd = -1;
	m->ram_bytes = ram_bytes;
	m->file_bytes = ram_bytes + MEM_WINDOW_BYTES;
	mem_shadow_init(m);
	m->low_bytes = ram_bytes < MEM_HOLE_BASE ? ram_bytes : MEM_HOLE_BASE;
	rc = mem_map_ram(m);
	if (rc) {
		mem_refused(m, -rc, err);
		mem_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

void mem_limit_low(struct mem *m, uint64_t bytes)
{
	if (bytes >= MEM_RAM_MIN && bytes < m->low_bytes)
		m->low_bytes = bytes & ~(MEM_RAM_MIN - 1);
}

void mem_free(struct mem *m)
{
	if (!m)
		return;
	bus_free(&m->bus);
	if (m->page_flags)
		munmap(m->page_flags, m->file_bytes >> MEM_PAGE_SHIFT);
	if (m->ram)
		munmap(m->ram, m->file_bytes);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

/* --- Where RAM lies ------------------------------------------------------- */

uint64_t mem_ram_bytes(const struct mem *m)
{
	return m->ram_bytes;
}

unsigned mem_ram_ranges(const struct mem *m, struct mem_range out[2])
{
	out[0] = (struct mem_range){ 0, m->low_bytes };
	out[1] =
		(struct mem_range){ MEM_HOLE_END, m->ram_bytes - m->low_bytes };
	return out[1].size ? 2 : 1;
}

int mem_ram_fd(const struct mem *m)
{
	return m->fd;
}

/* Low RAM as far as it is plain: to the shadow range, if that is not. */
static void mem_find_low(const struct mem *m, uint64_t gpa, struct mem_place *p)
{
	bool short_of = gpa < MEM_SHADOW_BASE && m->shadowed;
	uint64_t end = short_of ? MEM_SHADOW_BASE : m->low_bytes;

	*p = (struct mem_place){ gpa, end - gpa, true };
}

bool mem_find(const struct mem *m, uint64_t gpa, struct mem_place *p)
{
	uint64_t high = gpa - MEM_HOLE_END;

	if (gpa < m->low_bytes) {
		if (m->shadowed &&
		    gpa - MEM_SHADOW_BASE < MEM_SHADOW_END - MEM_SHADOW_BASE)
			return mem_find_shadow(m, gpa, p);
		mem_find_low(m, gpa, p);
		return true;
	}
	if (gpa < MEM_HOLE_END || high >= m->ram_bytes - m->low_bytes)
		return mem_find_window(m, gpa, p);
	p->offset = m->low_bytes + high;
	p->left = m->ram_bytes - p->offset;
	p->writable = true;
	return true;
}

void *mem_host(struct mem *m, uint64_t gpa, uint64_t len)
{
	struct mem_place p;

	if (!mem_find(m, gpa, &p) || len > p.left || !p.writable)
		return NULL;
	return m->ram + p.offset;
}

uint64_t mem_run(struct mem *m, uint64_t gpa)
{
	struct mem_place p;

	return mem_find(m, gpa, &p) && p.writable ? p.left : 0;
}

const void *mem_host_read(struct mem *m, uint64_t gpa, uint64_t len)
{
	struct mem_place p;

	if (!mem_find(m, gpa, &p) || len > p.left)
		return NULL;
	return m->ram + p.offset;
}

uint64_t mem_gpa(const struct mem *m, const void *host)
{
	uint64_t offset = (uint64_t)((const uint8_t *)host - m->ram);

	return offset < m->low_bytes ? offset
				     : offset - m->low_bytes + MEM_HOLE_END;
}

int mem_view(struct mem *m, const void *host, void *at, bool replace)
{
	uint64_t offset = (uint64_t)((const uint8_t *)host - m->ram);
	int fixed = replace ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	void *p;

	if (offset >= m->file_bytes)
		return -EFAULT;
	p = mmap(at, MEM_PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_POPULATE | fixed, m->fd, (off_t)offset);
	if (p == MAP_FAILED)
		return -errno;
	if (p != at) { /* Linux before 4.17 takes it for a hint */
		munmap(p, MEM_PAGE_SIZE);
		return -EEXIST;
	}
	madvise(p, MEM_PAGE_SIZE, MADV_DONTDUMP);
	return 0;
}

uint64_t mem_touched_bytes(const struct mem *m)
{
	struct stat st;

	return fstat(m->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

uint8_t *mem_page_flags(struct mem *m)
{
	return m->page_flags;
}

uint64_t mem_page(const struct mem *m, uint64_t gpa)
{
	struct mem_place p;

	if (!mem_find(m, gpa, &p))
		return UINT64_MAX;
	return p.offset >> MEM_PAGE_SHIFT;
}

uint64_t mem_page_count(const struct mem *m)
{
	return m->file_bytes >> MEM_PAGE_SHIFT;
}

/* --- Copies --------------------------------------------------------------- */

int mem_read(struct mem *m, uint64_t gpa, void *buf, size_t len)
{
	const void *p;

	if (!len)
		return 0;
	p = mem_host_read(m, gpa, len);
	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int mem_write(struct mem *m, uint64_t gpa, const void *buf, size_t len)
{
	void *p;

	if (!len)
		return 0;
	p = mem_host(m, gpa, len);
	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	mem_written(m, gpa, len);
	return 0;
}

/* Whole pages of a large range go back to the host, which gives zeros. */
static void mem_zero_at(struct mem *m, uint64_t offset, uint64_t len)
{
	uint64_t from = (offset + MEM_PAGE_MASK) & ~MEM_PAGE_MASK;
	uint64_t to = (offset + len) & ~MEM_PAGE_MASK;

	if (len < MEM_PUNCH_MIN ||
	    fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)from, (off_t)(to - from))) {
		memset(m->ram + offset, 0, len);
		return;
	}
	memset(m->ram + offset, 0, from - offset);
	memset(m->ram + to, 0, offset + len - to);
}

int mem_zero(struct mem *m, uint64_t gpa, uint64_t len)
{
	struct mem_place p;

	if (!len)
		return 0;
	if (!mem_find(m, gpa, &p) || len > p.left || !p.writable)
		return -EFAULT;
	mem_zero_at(m, p.offset, len);
	mem_written(m, gpa, len);
	return 0;
}

int mem_drop(struct mem *m, uint64_t gpa, uint64_t len)
{
	struct mem_place p;

	if (!len || (gpa | len) & MEM_PAGE_MASK)
		return -EINVAL;
	if (!mem_find(m, gpa, &p) || len > p.left || p.offset >= m->ram_bytes)
		return -EFAULT;
	if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)p.offset, (off_t)len))
		return -errno;
	mem_written(m, gpa, len);
	return 0;
}

void mem_set_code_hook(struct mem *m, mem_code_hook *hook, void *opaque)
{
	m->code_hook = hook;
	m->code_hook_opaque = opaque;
}

/*
 * The fence pairs with the one in x86_mark_code(): an engine marks a page and
 * then reads its code, we write the page and then read the mark.  One of the
 * two sees the other.
 */
void mem_written(struct mem *m, uint64_t gpa, uint64_t len)
{
	struct mem_place p;
	bool code = false;

	if (!len || !mem_find(m, gpa, &p) || len > p.left)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t page = p.offset >> MEM_PAGE_SHIFT;
	     page <= (p.offset + len - 1) >> MEM_PAGE_SHIFT; page++) {
		uint8_t *flags = &m->page_flags[page];
		uint8_t f = __atomic_load_n(flags, __ATOMIC_RELAXED);

		code |= f & MEM_PAGE_CODE;
		if (!(f & MEM_PAGE_DIRTY))
			__atomic_fetch_or(flags, MEM_PAGE_DIRTY,
					  __ATOMIC_RELAXED);
	}
	if (code && m->code_hook)
		m->code_hook(m->code_hook_opaque, gpa, len);
}
