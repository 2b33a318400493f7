/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the PVH entry (32-bit mode, ebx leads to the start info) to C in 64-bit
 * mode, with the first 4 GiB mapped one to one.
 */
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.section .text.start, "ax", @progbits
	.code32
	.globl start
start:
	cli
	cld
	movl $stack_top, %esp
	movl %ebx, %ebp

	/* Four directories of 2 MiB pages: present, writable, large. */
	movl $directories, %edi
	movl $0x83, %eax
	movl $2048, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b
	movl $directories + 0x0003, pointers
	movl $directories + 0x1003, pointers + 8
	movl $directories + 0x2003, pointers + 16
	movl $directories + 0x3003, pointers + 24
	movl $pointers + 3, root

	movl %cr4, %eax
	orl $0x20, %eax
	movl %eax, %cr4
	movl $root, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80010000, %eax
	movl %eax, %cr0
	lgdt table_pointer
	ljmp $8, $start64

	.code64
start64:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movq $stack_top, %rsp
	movl %ebp, %edi
	call start_c
2:	hlt
	jmp 2b

	.section .rodata.table, "a", @progbits
	.balign 8
table:
	.quad 0, 0x00209a0000000000, 0x0000920000000000
table_pointer:
	.word 23
	.long table

	.section .bss.tables, "aw", @nobits
	.balign 4096
	.globl root
root:
	.skip 4096
pointers:
	.skip 4096
directories:
	.skip 16384
	.skip 65536
stack_top:
