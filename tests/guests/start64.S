/*
 * start64.S - Multiboot entry of 64-bit guests: long mode, the first 4 GiB
 * mapped one to one by 2 MiB pages: 16..32 MiB for ring 3, the rest not.
 */
	.section .multiboot, "ax"
	.align 4
	.long 0x1badb002
	.long 0
	.long -0x1badb002

	.code32
	.globl _start
_start:
	cli
	cld
	mov	$stack_top, %esp
	/* page directories */
	mov	$guest_pd, %edi
	mov	$0x83, %eax
1:	mov	%eax, (%edi)
	movl	$0, 4(%edi)
	add	$8, %edi
	add	$0x200000, %eax
	jnc	1b
	mov	$guest_pd + 8 * 8, %edi
	mov	$8, %ecx
2:	orl	$4, (%edi)
	add	$8, %edi
	loop	2b
	/* upper levels */
	mov	$guest_pdpt, %edi
	mov	$guest_pd + 7, %eax
	mov	$4, %ecx
3:	mov	%eax, (%edi)
	movl	$0, 4(%edi)
	add	$8, %edi
	add	$4096, %eax
	loop	3b
	movl	$guest_pdpt + 7, guest_pml4
	movl	$0, guest_pml4 + 4
	/* long mode, NX */
	mov	$0x20, %eax
	mov	%eax, %cr4
	mov	$guest_pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x900, %eax
	wrmsr
	mov	%cr0, %eax
	and	$0xfffffff3, %eax	/* EM, TS */
	or	$0x80010021, %eax	/* PG WP NE PE */
	mov	%eax, %cr0
	lgdt	gdtr
	ljmp	$0x08, $start_long

	.code64
start_long:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$stack_top, %esp
	pushq	$0
	popfq
	call	guest_start
4:	hlt
	jmp	4b

/* guest_enter_user(rip, rsp, arg) */
	.globl guest_enter_user
guest_enter_user:
	pushq	$0x23
	pushq	%rsi
	pushfq
	pushq	$0x1b
	pushq	%rdi
	mov	%rdx, %rdi
	iretq

	.align 16
	.globl guest_stubs
guest_stubs:
vector = 0
	.rept 256
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
	.else
	pushq	$0
	.endif
	pushq	$vector
	jmp	common
	.balign 16
vector = vector + 1
	.endr

common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	guest_exception
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

	.data
	.align 16
	.globl guest_gdt
guest_gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 08: 64-bit code */
	.quad 0x00cf93000000ffff	/* 10: data */
	.quad 0x00affb000000ffff	/* 18: user 64-bit code */
	.quad 0x00cff3000000ffff	/* 20: user data */
	.quad 0x00cf9b000000ffff	/* 28: 32-bit code */
	.quad 0x00cffb000000ffff	/* 30: user 32-bit code */
	.fill 25, 8, 0
gdtr:	.word 32 * 8 - 1
	.long guest_gdt, 0

	.bss
	.align 4096
	.globl guest_pml4, guest_pdpt, guest_pd
guest_pml4:	.skip 4096
guest_pdpt:	.skip 4096
guest_pd:	.skip 4 * 4096
	.skip 65536
stack_top:
