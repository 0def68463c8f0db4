/*
 * start32.S - Multiboot entry of 32-bit guests: flat segments, paging off.
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
	lgdt	gdtr
	ljmp	$0x08, $1f
1:	mov	$0x10, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	xor	%ax, %ax
	mov	%ax, %fs
	mov	%ax, %gs
	pushl	$0
	popf
	call	guest_start
2:	hlt
	jmp	2b

/* guest_enter_user(rip, rsp, arg) */
	.globl guest_enter_user
guest_enter_user:
	mov	4(%esp), %ecx
	mov	8(%esp), %edx
	mov	$0x23, %ax
	mov	%ax, %ds
	mov	%ax, %es
	pushl	$0x23
	pushl	%edx
	pushf
	pushl	$0x1b
	pushl	%ecx
	iret

/* Stubs of 16 bytes: vectors with an error code have one pushed already. */
	.align 16
	.globl guest_stubs
guest_stubs:
vector = 0
	.rept 256
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
	.else
	pushl	$0
	.endif
	pushl	$vector
	jmp	common
	.balign 16
vector = vector + 1
	.endr

common:
	pusha
	push	%ds
	push	%es
	push	%fs
	push	%gs
	mov	$0x10, %ax
	mov	%ax, %ds
	mov	%ax, %es
	cld
	push	%esp
	call	guest_exception
	add	$4, %esp
	pop	%gs
	pop	%fs
	pop	%es
	pop	%ds
	popa
	add	$8, %esp
	iret

	.data
	.align 16
	.globl guest_gdt
guest_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* 08: code */
	.quad 0x00cf93000000ffff	/* 10: data */
	.quad 0x00cffb000000ffff	/* 18: user code */
	.quad 0x00cff3000000ffff	/* 20: user data */
	.quad 0x00cf9b000000ffff	/* 28: code */
	.quad 0x00cffb000000ffff	/* 30: user code */
	.fill 25, 8, 0
gdtr:	.word 32 * 8 - 1
	.long guest_gdt

	.bss
	.align 16
	.skip 65536
stack_top:
