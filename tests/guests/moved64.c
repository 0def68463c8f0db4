/* moved64: the same user code at one linear address after another, as address
 * space randomisation moves it; then changed, while it is mapped at several. */
#include "guest.h"

#define MOVED_PLACES 6
#define MOVED_MORE   12 /* with those that come after a while */
#define MOVED_PAGES  4

extern uint64_t guest_pml4[512];
static uint64_t moved_pdpt[MOVED_MORE][512] __attribute__((aligned(4096)));
static uint64_t moved_pd[MOVED_MORE][512] __attribute__((aligned(4096)));
static uint64_t moved_pt[MOVED_MORE][512] __attribute__((aligned(4096)));

/*
 * Two pages of code, and two of data behind them.  It computes from
 * RIP-relative data, also where a page ends, calls itself, within the page and
 * beyond it, jumps through a register, runs an instruction that lies on both
 * pages and some that translators leave to a helper, and hands its results to
 * INT 81h.
 */
extern uint8_t moved_code[], moved_data[], moved_imm[], moved_here[];
__asm__(".pushsection .user.text, \"ax\"\n"
	"	.balign 4096\n"
	"moved_code:\n"
	"	mov	$12, %ecx\n"
	"	xor	%ebx, %ebx\n"
	"1:	lea	moved_here(%rip), %rax\n"
	"	call	moved_sum\n"
	"	lea	moved_leaf(%rip), %rdx\n"
	"	call	*%rdx\n"
	"	call	moved_far\n"
	"	dec	%ecx\n"
	"	jnz	1b\n"
	"	lea	2f(%rip), %rdx\n"
	"	jmp	*%rdx\n"
	"	ud2\n"
	"2:	push	%rax\n"
	"	push	%rbx\n"
	"	xor	%eax, %eax\n"
	"	cpuid\n" /* left to the interpreter */
	"	fninit; fld1\n"
	"	fistpl	moved_data + 24(%rip)\n"
	"	pop	%rbx\n"
	"	pop	%rax\n"
	"	add	moved_data + 24(%rip), %ebx\n"
	"	int	$0x81\n"
	"	.balign 64\n"
	"moved_sum:\n" /* 7 + 9 from the data, each time counted there */
	"	add	moved_data(%rip), %rbx\n"
	"	add	moved_data + 8(%rip), %rbx\n"
	"	incq	moved_data + 16(%rip)\n"
	"moved_here:\n"
	"	ret\n"
	"moved_leaf:\n"
	"	.byte	0x81, 0xc3\n" /* add ebx, imm32 */
	"moved_imm:\n"
	"	.long	1000\n"
	"	ret\n"
	"	.org	moved_code + 4096 - 3, 0x90\n"
	"moved_far:\n"
	"	.byte	0x48, 0x81, 0xc3\n" /* add rbx, imm32, on both pages */
	"	.long	100\n"
	"	jmp	3f\n"
	"	.balign 64\n"
	"3:	mov	moved_data + 4084(%rip), %rsi\n"
	"	mov	moved_data + 4092(%rip), %rdi\n" /* one check for both
							  */
	"	add	%rdi, %rbx\n"
	"	jmp	moved_back\n"
	"	.org	moved_code + 8192 - 64, 0x90\n"
	"moved_back:\n"
	"	ret\n"
	"	.balign 4096\n"
	"moved_data:\n"
	"	.quad	7, 9, 0, 0\n"
	"	.org	moved_data + 4092\n"
	"	.quad	3\n"
	"	.org	moved_data + 8192\n"
	".popsection");

static uint64_t moved_rax, moved_rbx;

/* INT 81h from ring 3: notes RAX and RBX, and ends the attempt. */
static bool moved_note(struct guest_frame *f)
{
	moved_rax = f->rax;
	moved_rbx = f->rbx;
	return false;
}

/* Far apart, and none in the low 4 GiB. */
static uint64_t moved_base(unsigned place)
{
	return (uint64_t)(place * 17 + 3) << 39 | (uint64_t)place * 0x5000;
}

static void moved_map(unsigned place)
{
	uint64_t base = moved_base(place);
	unsigned at = base >> 12 & 511;

	guest_pml4[base >> 39] = (unsigned long)moved_pdpt[place] | 7;
	moved_pdpt[place][base >> 30 & 511] =
		(unsigned long)moved_pd[place] | 7;
	moved_pd[place][base >> 21 & 511] = (unsigned long)moved_pt[place] | 7;
	for (unsigned i = 0; i < MOVED_PAGES; i++)
		moved_pt[place][at + i] =
			((unsigned long)moved_code + i * 4096) | 7;
	write_cr3(read_cr3());
}

static void moved_run(unsigned place, uint64_t imm, const char *what)
{
	uint64_t base = moved_base(place);
	void (*fn)(unsigned long) = (void (*)(unsigned long))base;

	guest_check_eq(guest_try_user(fn, 0), 0x81, what);
	guest_check_eq(moved_rax, base + (uint64_t)(moved_here - moved_code),
		       "LEA of its own address");
	guest_check_eq(moved_rbx, 12 * (7 + 9 + imm + 100 + 3) + 1, "sum");
}

/* Until a translator may take it that a program has ended. */
static void moved_wait(void)
{
	uint64_t begin = rdtsc();

	while (rdtsc() - begin < 1ull << 28)
		;
}

/* At new places, and back at the ones before. */
static void moved_after_a_while(unsigned from, unsigned to, uint64_t imm)
{
	for (unsigned i = from; i < to; i++) {
		moved_wait();
		moved_map(i);
		moved_run(i, imm, "at a new place after a while");
		moved_run(i, imm, "and again");
		moved_run(i - 1, imm, "at the place before it");
	}
	moved_run(0, imm, "back at the first");
}

void guest_main(void)
{
	volatile uint64_t *count = (uint64_t *)(moved_data + 16);
	volatile uint32_t *imm = (uint32_t *)moved_imm;

	guest_set_gate(0x81, guest_stub(0x81), SEL_CODE, 0xee, 0);
	guest_hook[0x81] = moved_note;
	for (unsigned i = 0; i < MOVED_PLACES; i++) {
		moved_map(i);
		moved_run(i, 1000, "at a new place");
		moved_run(i, 1000, "once more");
	}
	guest_check_eq(*count, 2 * 12 * MOVED_PLACES, "one data page");
	*imm = 5;
	for (unsigned i = 0; i < MOVED_PLACES; i++)
		moved_run(i, 5, "after a change, in every place");
	*imm = 6;
	moved_run(MOVED_PLACES - 1, 6, "after another, in the last place");
	moved_run(0, 6, "and in the first");
	moved_after_a_while(MOVED_PLACES, 9, 6);
	*imm = 7;
	moved_after_a_while(9, MOVED_MORE, 7);
}
