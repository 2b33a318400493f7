//! From QEMU's PVH entry, in 32-bit mode, to `main` in 64-bit mode with the first 4 GiB mapped one to one.
//!
//! Rests on the x86/HVM direct boot ABI (PVH): `ebx` holds the address of the start info.

use core::arch::global_asm;

use pmemset_core::Span;

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
    /// What the loader says of memory.
    memory: &'static [Memory],
}

/// A range of physical addresses, as the loader describes it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Memory {
    start: u64,
    length_bytes: u64,
    kind: u32,
    reserved: u32,
}

/// Kinds of memory (ACPI 6.5, section 15.1): ordinary and persistent. All others are the firmware's and devices'.
const MEMORY: [u32; 3] = [1, 7, 12];

unsafe extern "C" {
    /// The end of this kernel and its stack.
    static image_end: u8;
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
        let is_known = word(0) as u32 == MAGIC && word(0) >> 32 >= 1;
        if !is_known || word(40) == 0 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "the count is the low half")]
        let count = word(48) as u32 as usize;
        // SAFETY: version 1 has the table, which is in memory that is mapped one to one and stays as it is.
        let memory = unsafe { core::slice::from_raw_parts(word(40) as *const Memory, count) };
        Some(Self { command_line: word(24), rsdp: word(32), memory })
    }

    /// Returns whether some of `range` is this kernel, or what the firmware has kept for itself. The rest of ordinary
    /// memory is used for nothing.
    #[must_use]
    pub fn is_in_use(&self, range: Span) -> bool {
        let kept = self.memory.iter().filter(|memory| !MEMORY.contains(&memory.kind));
        let mut kept = kept.filter_map(|memory| Span::new(memory.start, memory.length_bytes));
        range.start() < (&raw const image_end) as u64 || kept.any(|kept| kept.overlaps(range))
    }
}
