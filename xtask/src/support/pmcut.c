// pmcut: a QEMU 10 TCG plugin that keeps what a power cut would leave of persistent memory.
//
// The guest stores into the file `volatile`, which is its memory. A line that is written back (clwb, clflushopt,
// clflush) or streamed past the caches is set aside as it is at that moment; the next fence of the same processor
// (sfence, mfence, or an instruction that locks the bus) copies what was set aside to the file `durable`. All else is
// lost: the worst case that the architecture permits.
//
// Arguments: base=PHYSICAL,size=BYTES,volatile=FILE,durable=FILE
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// What is used of qemu-plugin.h (API version 4) and of GLib; both are part of the QEMU that loads this.
typedef uint64_t plugin_id;
typedef uint32_t mem_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
struct qemu_plugin_register;
typedef struct { struct qemu_plugin_register *handle; const char *name; const char *feature; } register_info;
typedef struct { char *data; unsigned len; } GArray;
typedef struct { uint8_t *data; unsigned len; } GByteArray;
enum { NO_REGISTERS = 0, READ_REGISTERS = 1, ON_STORES = 2 };
GByteArray *g_byte_array_new(void);
GByteArray *g_byte_array_set_size(GByteArray *, unsigned);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, mem_info, uint64_t, void *), int, int,
                                      void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(mem_info, uint64_t);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
unsigned qemu_plugin_mem_size_shift(mem_info);
GArray *qemu_plugin_get_registers(void);
int qemu_plugin_read_register(struct qemu_plugin_register *, GByteArray *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 4;

// Where Linux maps all memory when it is started with nokaslr and no5lvl.
static const uint64_t DIRECT_MAP = 0xffff888000000000;
static uint64_t base, size;
static uint8_t *volatile_bytes, *durable_bytes;

// Which persistent page a virtual page is, learnt from the stores to it.
enum { PAGES_BITS = 18 };
static struct { uint64_t page, offset; } pages[1 << PAGES_BITS];

static unsigned slot(uint64_t page) {
    return (unsigned)((page * 0x9e3779b97f4a7c15) >> (64 - PAGES_BITS));
}

// What is set aside until the next fence. One processor only: the lab starts no more.
struct aside { uint64_t offset; uint32_t length; uint8_t bytes[64]; };
static struct aside *asides;
static size_t asides_used, asides_room;

static void set_aside(uint64_t offset, uint32_t length) {
    if (asides_used == asides_room) {
        asides_room = asides_room ? 2 * asides_room : 1024;
        asides = realloc(asides, asides_room * sizeof *asides);
        if (!asides) abort();
    }
    struct aside *entry = &asides[asides_used++];
    entry->offset = offset;
    entry->length = length;
    memcpy(entry->bytes, volatile_bytes + offset, length);
}

static void on_fence(unsigned cpu, void *data) {
    for (size_t i = 0; i < asides_used; i++)
        memcpy(durable_bytes + asides[i].offset, asides[i].bytes, asides[i].length);
    asides_used = 0;
}

static void on_store(unsigned cpu, mem_info info, uint64_t address, void *streaming) {
    struct qemu_plugin_hwaddr *target = qemu_plugin_get_hwaddr(info, address);
    if (!target || qemu_plugin_hwaddr_is_io(target)) return;
    uint64_t offset = qemu_plugin_hwaddr_phys_addr(target) - base, page = address >> 12;
    unsigned at = slot(page);
    if (offset >= size) {
        if (pages[at].page == page) pages[at].page = UINT64_MAX;
        return;
    }
    pages[at].page = page;
    pages[at].offset = offset & ~(uint64_t)4095;
    uint32_t length = 1u << qemu_plugin_mem_size_shift(info);
    if (streaming && length <= 64 && offset + length <= size) set_aside(offset, length);
}

// Registers in the order of their numbers in machine code.
static const char *const NAMES[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static struct qemu_plugin_register *registers[16];
static GByteArray *buffer;

static uint64_t value_of(int number) {
    uint64_t value = 0;
    if (number < 0 || !registers[number]) return 0;
    g_byte_array_set_size(buffer, 0);
    qemu_plugin_read_register(registers[number], buffer);
    memcpy(&value, buffer->data, buffer->len < 8 ? buffer->len : 8);
    return value;
}

// The memory operand of an instruction.
struct operand { int base, index, scale; int64_t fixed; };

static void on_write_back(unsigned cpu, void *data) {
    const struct operand *operand = data;
    uint64_t address = (uint64_t)operand->fixed + value_of(operand->base) + (value_of(operand->index) << operand->scale);
    uint64_t offset = address - DIRECT_MAP - base;
    if (offset >= size) {
        unsigned at = slot(address >> 12);
        if (pages[at].page != address >> 12) return; // nothing was stored there
        offset = pages[at].offset + (address & 4095);
    }
    set_aside(offset & ~(uint64_t)63, 64);
}

// Intel SDM volume 2, chapter 2: `code` points at the ModR/M byte, `next` is the address behind the instruction.
static struct operand *decode(const uint8_t *code, int rex, uint64_t next) {
    struct operand *operand = calloc(1, sizeof *operand);
    if (!operand) abort();
    int mode = code[0] >> 6, rm = code[0] & 7, at = 1;
    int32_t far;
    operand->base = operand->index = -1;
    if (rm == 4) {
        int sib = code[at++], index = ((sib >> 3) & 7) | (rex & 2 ? 8 : 0);
        operand->scale = sib >> 6;
        if (index != 4) operand->index = index;
        rm = sib & 7;
        if (rm == 5 && mode == 0) mode = 2;
        else operand->base = rm | (rex & 1 ? 8 : 0);
    } else if (rm == 5 && mode == 0) {
        operand->fixed = (int64_t)next;
        mode = 2;
    } else {
        operand->base = rm | (rex & 1 ? 8 : 0);
    }
    if (mode == 1) operand->fixed += (int8_t)code[at];
    if (mode == 2) {
        memcpy(&far, code + at, 4);
        operand->fixed += far;
    }
    return operand;
}

static void translate(struct qemu_plugin_insn *insn) {
    uint8_t code[24] = {0};
    size_t length = qemu_plugin_insn_size(insn), at = 0;
    qemu_plugin_insn_data(insn, code, length < 15 ? length : 15);
    bool locks = false, wide = false, streams = false;
    int rex = 0;
    for (; at < 14 && memchr("\xf0\x66\xf2\xf3\x2e\x36\x3e\x26\x64\x65\x67", code[at], 11); at++) {
        locks |= code[at] == 0xf0;
        wide |= code[at] == 0x66;
    }
    if ((code[at] & 0xf0) == 0x40) rex = code[at++];
    const uint8_t *op = code + at;
    bool in_memory = op[2] < 0xc0;
    if (op[0] == 0x0f && op[1] == 0xae) {
        int kind = (op[2] >> 3) & 7;
        if (!in_memory && (kind == 6 || kind == 7)) locks = true; // mfence, sfence
        if (in_memory && (kind == 7 || (kind == 6 && wide))) {
            struct operand *operand = decode(op + 2, rex, qemu_plugin_insn_vaddr(insn) + length);
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_write_back, READ_REGISTERS, operand);
            return;
        }
    }
    if (op[0] == 0x0f) streams = op[1] == 0xc3 || op[1] == 0x2b || (op[1] == 0xe7 && wide);
    if (op[0] == 0xc5) streams = op[2] == 0x2b || op[2] == 0xe7;
    if (op[0] == 0xc4) streams = (op[1] & 0x1f) == 1 && (op[3] == 0x2b || op[3] == 0xe7);
    if ((op[0] == 0x86 || op[0] == 0x87) && op[1] < 0xc0) locks = true; // xchg with memory
    if (locks) qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fence, NO_REGISTERS, NULL);
    qemu_plugin_register_vcpu_mem_cb(insn, on_store, NO_REGISTERS, ON_STORES, streams ? insn : NULL);
}

static void on_block(plugin_id id, struct qemu_plugin_tb *block) {
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) translate(qemu_plugin_tb_get_insn(block, i));
}

static void on_cpu(plugin_id id, unsigned cpu) {
    if (cpu > 0) {
        fprintf(stderr, "pmcut: one processor only\n");
        exit(1);
    }
    GArray *list = qemu_plugin_get_registers();
    register_info *info = (register_info *)list->data;
    for (unsigned i = 0; i < list->len; i++)
        for (int number = 0; number < 16; number++)
            if (!strcmp(info[i].name, NAMES[number])) registers[number] = info[i].handle;
    buffer = g_byte_array_new();
}

static uint8_t *map(const char *path, bool writable) {
    int file = open(path, writable ? O_RDWR : O_RDONLY);
    void *bytes = file < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return bytes;
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    const char *memory = NULL, *durable = NULL;
    for (int i = 0; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value++) return 1;
        if (!strncmp(arguments[i], "base=", 5)) base = strtoull(value, NULL, 0);
        if (!strncmp(arguments[i], "size=", 5)) size = strtoull(value, NULL, 0);
        if (!strncmp(arguments[i], "volatile=", 9)) memory = value;
        if (!strncmp(arguments[i], "durable=", 8)) durable = value;
    }
    if (!memory || !durable || !size) return 1;
    memset(pages, 0xff, sizeof pages);
    volatile_bytes = map(memory, false);
    durable_bytes = map(durable, true);
    qemu_plugin_register_vcpu_init_cb(id, on_cpu);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    return 0;
}
