# monitor - a Multiboot guest that does what single letters tell it, for tests
# of the machine's edges.  The letters after ':' on its command line come
# first, then those that the console brings:
#
#	0..9	write that number to the exit port 0xf4
#	T	triple fault
#	K	reset by the keyboard controller
#	R	reset by port 0xcf9
#	L	loop for ever, interrupts off
#	H	halt for ever, interrupts off
#	F	print 64 KiB of lines, the last one "last"
#	N	print "monitor N" where N counts the letters N
#	other	echo it
	.code32
	.set	COM1, 0x3f8

	.section .multiboot, "a"
	.balign	4
	.long	0x1badb002		# Multiboot 0.6.96, 3.1.1
	.long	0
	.long	-0x1badb002

	.text
	.globl	_start
_start:
	cld
	movl	$stack, %esp
	movl	$banner, %esi
	call	puts
	movl	$none, %esi
	testl	$4, (%ebx)		# flags[2]: there is a command line
	jz	next
	movl	16(%ebx), %esi
1:	lodsb
	testb	%al, %al
	jz	5f
	cmpb	$':', %al
	jne	1b
	jmp	next
5:	decl	%esi			# at the NUL: the console from now on

next:
	lodsb
	testb	%al, %al
	jnz	1f
	decl	%esi
	call	getc
1:	movl	$table, %edi
2:	cmpb	$0, (%edi)
	je	3f
	cmpb	%al, (%edi)
	je	4f
	addl	$5, %edi
	jmp	2b
4:	call	*1(%edi)
	jmp	next
3:	cmpb	$'0', %al
	jb	6f
	cmpb	$'9', %al
	ja	6f
	subb	$'0', %al
	outb	%al, $0xf4
6:	call	putc
	jmp	next

	.macro	letter c, to
	.byte	\c
	.long	\to
	.endm
table:
	letter	'T', triple
	letter	'K', keyboard
	letter	'R', reset
	letter	'L', loop
	letter	'H', halt
	letter	'F', flood
	letter	'N', count
	.byte	0

triple:	lidt	no_idt
	ud2
keyboard:
	movb	$0xfe, %al
	outb	%al, $0x64
	jmp	halt
reset:	movw	$0xcf9, %dx
	movb	$6, %al
	outb	%al, %dx
	jmp	halt
loop:	cli
1:	pause
	jmp	1b
halt:	cli
	hlt
	jmp	halt

flood:	pushl	%esi
	movl	$1024, %ebp		# of 64 bytes each
1:	movl	$line, %esi
	call	puts
	decl	%ebp
	jnz	1b
	movl	$last, %esi
	call	puts
	popl	%esi
	ret

count:	pushl	%esi
	incb	number
	movl	$monitor, %esi
	call	puts
	popl	%esi
	ret

# Waits for a byte: al.
getc:	movw	$COM1 + 5, %dx
1:	inb	%dx, %al
	testb	$1, %al			# LSR.DR
	jz	1b
	movw	$COM1, %dx
	inb	%dx, %al
	ret

puts:	lodsb
	testb	%al, %al
	jz	1f
	call	putc
	jmp	puts
1:	ret

putc:	movb	%al, %ah
	movw	$COM1 + 5, %dx
1:	inb	%dx, %al
	testb	$0x20, %al		# LSR.THRE
	jz	1b
	movb	%ah, %al
	movw	$COM1, %dx
	outb	%al, %dx
	ret

	.data
banner:	.asciz	"monitor ready\r\n"
monitor: .ascii	"monitor "
number:	.asciz	"0\r\n"
line:	.asciz	"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop\r\n"
last:	.asciz	"last\r\n"
none:	.byte	0
no_idt:	.word	0
	.long	0

	.bss
	.skip	4096
stack:
