/*
 * paging.h - what the paging guests share: the matrix of permissions.
 *
 * PAGING_VA is a page that every paging mode maps by a last-level entry of
 * type paging_entry; upper levels allow everything.
 */
#include "guest.h"

#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_PS 0x80ull
#define PTE_G  0x100ull
#define PTE_NX (1ull << 63)

#define PF_P 1
#define PF_W 2
#define PF_U 4
#define PF_R 8
#define PF_I 16

#define CR0_WP    0x10000ul
#define CR4_PSE   0x10ul
#define CR4_PAE   0x20ul
#define CR4_PGE   0x80ul
#define CR4_PCIDE 0x20000ul
#define CR4_SMEP  0x100000ul
#define CR4_SMAP  0x200000ul
#define FLAG_AC   0x40000ul

/* The page behind it: user code that does nothing ("ret"). */
static uint8_t paging_page[4096] __attribute__((aligned(4096))) = { 0xc3 };

#define PAGING_VA 0x40000000ul

static inline void paging_read(unsigned long arg)
{
	(void)*(volatile uint8_t *)arg;
}

static inline void paging_write(unsigned long arg)
{
	*(volatile uint8_t *)(arg + 1) = 1;
}

static inline void paging_exec(unsigned long arg)
{
	((void (*)(void))arg)();
}

static void GUEST_USER paging_user_read(unsigned long arg)
{
	(void)*(volatile uint8_t *)arg;
}

static void GUEST_USER paging_user_write(unsigned long arg)
{
	*(volatile uint8_t *)(arg + 1) = 1;
}

static void GUEST_USER paging_user_exec(unsigned long arg)
{
	((void (*)(void))arg)();
}

enum paging_access { PAGING_READ, PAGING_WRITE, PAGING_EXEC };

/* What the manual says (SDM 3A 4.6): GUEST_NO_FAULT, or the error code. */
struct paging_rules {
	bool present, writable, user, nx, reserved; /* of the page */
	bool wp, smep, smap, ac, nxe;               /* of the processor */
};

static bool paging_denied(const struct paging_rules *r, bool user,
			  enum paging_access a)
{
	if (user && !r->user)
		return true;
	if (!user && r->user && a == PAGING_EXEC && r->smep)
		return true;
	if (!user && r->user && a != PAGING_EXEC && r->smap && !r->ac)
		return true;
	if (a == PAGING_WRITE && !r->writable && (user || r->wp))
		return true;
	return a == PAGING_EXEC && r->nx;
}

static bool paging_expected(const struct paging_rules *r, bool user,
			    enum paging_access a, unsigned *error)
{
	*error = (user ? PF_U : 0) | (a == PAGING_WRITE ? PF_W : 0);
	if (a == PAGING_EXEC && (r->nxe || r->smep))
		*error |= PF_I;
	if (!r->present)
		return false;
	if (r->reserved) {
		*error |= PF_P | PF_R;
		return false;
	}
	if (!paging_denied(r, user, a))
		return true;
	*error |= PF_P;
	return false;
}

static const char *const paging_names[2][3] = {
	{ "kernel read", "kernel write", "kernel exec" },
	{ "user read", "user write", "user exec" },
};

static void paging_say(const struct paging_rules *r, uint64_t entry)
{
	guest_print("  entry ");
	guest_print_hex(entry);
	guest_print(r->wp ? " WP" : "");
	guest_print(r->smep ? " SMEP" : "");
	guest_print(r->smap ? " SMAP" : "");
	guest_print(r->ac ? " AC" : "");
	guest_print("\n");
}

static void paging_check(const struct paging_rules *r, uint64_t entry,
			 bool user, enum paging_access a)
{
	static void (*const fn[2][3])(unsigned long) = {
		{ paging_read, paging_write, paging_exec },
		{ paging_user_read, paging_user_write, paging_user_exec },
	};
	unsigned error, got;
	bool ok = paging_expected(r, user, a, &error);

	got = user ? guest_try_user(fn[1][a], PAGING_VA)
		   : guest_try(fn[0][a], PAGING_VA);
	if (got == (ok ? GUEST_NO_FAULT : 14u) &&
	    (ok || (guest_last.error == error &&
		    (guest_last_cr2 & ~1ul) == PAGING_VA)))
		return;
	guest_check(false, paging_names[user][a]);
	guest_print("  vector ");
	guest_print_hex(got);
	guest_print(" error ");
	guest_print_hex(guest_last.error);
	guest_print(" want ");
	guest_print_hex(ok ? 0x100 : error);
	paging_say(r, entry);
}

/* Accessed and dirty, as the access leaves them; entries of 4 or 8 bytes. */
static void paging_check_ad(volatile void *entry, unsigned size, bool write)
{
	uint32_t low;

	*(volatile uint32_t *)entry &= ~(PTE_A | PTE_D);
	invlpg(PAGING_VA);
	if (write)
		paging_write(PAGING_VA);
	else
		paging_read(PAGING_VA);
	low = *(volatile uint32_t *)entry;
	guest_check(low & PTE_A, "accessed bit");
	guest_check_eq(low & PTE_D, write ? PTE_D : 0, "dirty bit");
	if (write)
		return;
	paging_write(PAGING_VA); /* now through a TLB entry without D */
	guest_check(*(volatile uint32_t *)entry & PTE_D, "dirty bit, later");
}

static void paging_set_cr(bool wp, bool smep, bool smap)
{
	unsigned long cr0 = read_cr0() & ~CR0_WP, cr4 = read_cr4();

	cr4 &= ~(CR4_SMEP | CR4_SMAP);
	write_cr0(cr0 | (wp ? CR0_WP : 0));
	write_cr4(cr4 | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0));
}

/* Features, by CPUID 7. */
static bool paging_has(unsigned bit)
{
	uint32_t r[4];

	cpuid(7, 0, r);
	return r[1] >> bit & 1;
}
#define PAGING_SMEP 7
#define PAGING_SMAP 20

typedef void paging_set_fn(uint64_t entry);

/* Every combination; set() writes the entry and flushes. */
static void paging_matrix(paging_set_fn *set, bool nx, uint64_t reserved)
{
	for (unsigned bits = 0; bits < 512; bits++) {
		struct paging_rules r = {
			.present = bits & 1,
			.writable = bits & 2,
			.user = bits & 4,
			.nx = bits & 8 && nx,
			.wp = bits & 16,
			.smep = bits & 32 && paging_has(PAGING_SMEP),
			.smap = bits & 64 && paging_has(PAGING_SMAP),
			.ac = bits & 128,
			.nxe = nx,
			.reserved = bits & 256 && reserved,
		};
		uint64_t entry =
			(unsigned long)paging_page | (r.present ? PTE_P : 0) |
			(r.writable ? PTE_W : 0) | (r.user ? PTE_U : 0) |
			(r.nx ? PTE_NX : 0) | (r.reserved ? reserved : 0);

		set(entry);
		paging_set_cr(r.wp, r.smep, r.smap);
		for (unsigned i = 0; i < 6; i++) {
			write_flags(r.ac ? FLAG_AC | 2 : 2);
			paging_check(&r, entry, i >= 3, i % 3);
		}
		write_flags(2);
		paging_set_cr(true, false, false);
	}
}
