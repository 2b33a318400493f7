//! From QEMU's PVH entry, in 32-bit mode, to `main` in 64-bit mode with the first 4 GiB mapped one to one.
//!
//! Rests on the x86/HVM direct boot ABI (PVH): `ebx` holds the address of the start info.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long start

    .section .text.start, "ax", @progbits
    .code32
    .global start
start:
    cli
    cld
    movl $stack_top, %esp
    movl %ebx, %ebp

    /* four page directories of 2 MiB pages: 4 GiB, writable, present, large */
    movl $boot_directories, %edi
    movl $0x83, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b

    movl $boot_directories + 0x0003, boot_pointers
    movl $boot_directories + 0x1003, boot_pointers + 8
    movl $boot_directories + 0x2003, boot_pointers + 16
    movl $boot_directories + 0x3003, boot_pointers + 24
    movl $boot_pointers + 3, root_table

    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $root_table, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80010000, %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $start64

    .code64
start64:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movq $stack_top, %rsp
    movl %ebp, %edi
    call main
2:  hlt
    jmp 2b

    .section .rodata.gdt, "a", @progbits
    .balign 8
gdt:
    .quad 0, 0x00209a0000000000, 0x0000920000000000
gdt_pointer:
    .word 23
    .long gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
    .global root_table
root_table:
    .skip 4096
boot_pointers:
    .skip 4096
boot_directories:
    .skip 16384
    .skip 65536
stack_top:
    "#,
    options(att_syntax)
);

/// What a PVH loader tells, as far as this kernel needs it.
#[derive(Debug, Clone, Copy)]
pub struct StartInfo {
    /// Physical address of the command line, a C string; 0 without one.
    pub command_line: u64,
    /// Physical address of ACPI's root pointer.
    pub rsdp: u64,
}

const MAGIC: u32 = 0x336e_c578;

impl StartInfo {
    /// Reads the start info at `address`; `None` where there is none.
    ///
    /// # Safety
    ///
    /// `address` is what the loader passed in `ebx`, and its memory has not been used for anything else.
    #[must_use]
    pub unsafe fn read(address: usize) -> Option<Self> {
        let word = |offset: usize| {
            // SAFETY: the structure is 40 bytes long and in memory that is mapped one to one.
            u64::from_le_bytes(unsafe { core::ptr::read_unaligned((address + offset) as *const [u8; 8]) })
        };
        #[allow(clippy::cast_possible_truncation, reason = "the magic is the low half")]
        (word(0) as u32 == MAGIC).then(|| Self { command_line: word(24), rsdp: word(32) })
    }
}
