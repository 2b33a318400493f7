/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the entry at exception level 1 to C, with the GiB of RAM mapped to
 * itself; addresses have 39 bits, so translation begins with GiBs.
 */
	.section .text.start, "ax", @progbits
	.globl start
start:
	adrp x0, stack_top
	add x0, x0, :lo12:stack_top
	mov sp, x0

	/* The memory is a file that has been another boot's. */
	adrp x0, bss_start
	add x0, x0, :lo12:bss_start
	adrp x1, bss_end
	add x1, x1, :lo12:bss_end
1:	stp xzr, xzr, [x0], #16
	cmp x0, x1
	b.lo 1b

	adrp x0, vectors
	add x0, x0, :lo12:vectors
	msr vbar_el1, x0

	/* Block, normal memory, inner shareable, accessed. */
	adrp x0, root
	mov x1, #0x705
	orr x1, x1, #0x40000000
	str x1, [x0, #8]
	msr ttbr0_el1, x0
	mov x1, #0xff00
	msr mair_el1, x1
	/* 39 bits, pages of 4 KiB, walks through the caches; nothing up high. */
	ldr x1, =0x803519
	msr tcr_el1, x1
	dsb sy
	tlbi vmalle1
	ic iallu
	dsb sy
	isb
	mrs x1, sctlr_el1
	orr x1, x1, #0x1
	orr x1, x1, #0x4
	orr x1, x1, #0x1000
	msr sctlr_el1, x1
	isb
	bl start_c
2:	wfi
	b 2b

	.section .text.vectors, "ax", @progbits
	.balign 2048
vectors:
	.rept 16
	bl fault
	.balign 128
	.endr

	.section .bss.tables, "aw", @nobits
	.balign 4096
	.globl root
root:
	.skip 4096
	.skip 65536
stack_top:
