// runtime.h -- the border between compiled kernels, the runtime that schedules them, and Python.
//
// A kernel is compiled again and again, the runtime once: kernels see only these declarations.
// Structures below the second rule are shared with Python (launch.py), field by field.
#pragma once
#include "emu/system.h"
#include "emu/types.h"

namespace emu {

// What threadIdx, blockIdx, blockDim and gridDim read: one per worker, set before a thread runs.
struct Position {
    uint3 thread, block, block_size, grid_size;
};

// The arguments of a warp's lanes to a warp primitive, which lanes took part and which the warp has,
// and whether one of them has since replaced the arguments with the results.
struct Lanes {
    alignas(16) char value[32][48];
    unsigned took_part, existing;
    bool settled;
};

enum Fold { FOLD_NONE, FOLD_COUNT, FOLD_AND, FOLD_OR };

// The element type of an array, for messages and traces.
struct ElementType {
    char code;  // 'f' float, 'i' signed, 'u' unsigned, 'h' half, 'b' bfloat16, '?' anything else
    int bytes;
    int rank;
    size_t extent[4];
};

// ---- shared with Python --------------------------------------------------------------------------

enum Access { READ, WRITE, ATOMIC };

// An array that a kernel may touch: an argument or a variable at file scope, named by Python, or
// shared memory, named here.
struct Region {
    char* base;
    uint64_t bytes;
    ElementType element_type;
    int shared;
    int phase;  // bytes from where its allocation begins, which a GPU aligns
    int constant;  // a __constant__,
    int unfilled;  // which has neither an initialiser nor a value from Python
    int margin;  // so many bytes before and after it are in no other array
    char name[64];
};

// A variable at file scope, which Python knows by its number in the text.
struct Variable {
    Region region;
    int number;
    Variable* next;
};

// Somewhere in a launch: a thread, and a line as a code address (checked accesses) or as text.
struct Location {
    unsigned block[3], thread[3];
    uint64_t pc;
    const char* file;
    int line;
};

enum FaultKind {
    NO_FAULT,
    DIVERGENT_BARRIER,
    STUCK_WARP,
    NOT_IN_MASK,
    MIXED_PRIMITIVES,
    LANE_NOT_IN_MASK,
    OUT_OF_BOUNDS,
    MISALIGNED,
    RACE,
    UNINITIALISED,
    TOO_MUCH_SHARED,
    TRAP,
    INTERRUPTED,
    UNFILLED_CONSTANT,
    WRITTEN_CONSTANT,
    NOT_A_WHOLE_WARP,
    ENDLESS_WAIT,
    BAD_INDEX,  // `offset`, in column `bytes`, of an array whose type is `what`
    BAD_DIVISION,  // by `offset`, of the type `what` where that is known
    CRASH,  // by the signal `bytes`, at the address `offset`
    STACK_OVERFLOW,
};

struct Fault {
    int kind;
    int access, other_access;
    int region;  // index into the launch's regions, -1: none
    int64_t offset;  // bytes from the region's start
    int bytes;
    Location here, other;
    const char* what;  // the primitive, or what the other thread does
    const char* other_what;
};

// One thing that a traced thread did.
struct Event {
    int kind;  // an Access, or one of the below
    int region;
    int64_t offset;
    Location location;
    int phase;  // barriers that the thread has passed
    int bytes;
    char value[16], result[16];
    char code;  // of the numbers in value and result, where no region says it, and their bytes
    int width;
    int request;  // of a traced block: counted through it, the same for lanes that went together; or -1
    // What memory had to do for that request: sectors of global memory, wavefronts of shared memory.
    int cost, least;
};
enum EventKind { EVENT_BARRIER = 3, EVENT_WARP = 4, EVENT_END = 5 };

// Who is traced: one thread, all of its block, or all that touch some bytes of one region.
enum Traced { TRACED_NOTHING, TRACED_THREAD, TRACED_BLOCK, TRACED_BYTES };

// What the warps of a counted launch did at one place: how often, and what memory had to do for it.
struct Tally {
    Location location;  // with the block that did it
    int kind;  // an Access, EVENT_BARRIER, EVENT_WARP, or BRANCH
    int region;  // of an access
    int bytes;  // that each lane asked for; of a branch, the only block that followed it, or -1
    double requests, lanes, divergent;
    double wavefronts, least_wavefronts, sectors, least_sectors, lines, l1_hits, first, successive;
};
enum { BRANCH = 16 };

// How tensor cores add up: tensor_core.h says what each number is.
struct TensorCores {
    int group_bytes;  // 0: there are none
    int extra_bits;
    int least_exponent;
};

struct Launch {
    void (*entry)(void**);
    void** args;
    unsigned grid[3], block[3];
    uint64_t shared;
    uint64_t shared_limit;  // static and dynamic together
    TensorCores tensor_cores;
    int strict_alignment;  // shared arrays are aligned as they are declared, and no more
    int workers;
    int checked;
    int interrupts;  // so many signals SIGINT end it; 0: none does
    uint64_t seed;  // 0: threads and blocks in their natural order
    Region* regions;
    int region_count, region_capacity;
    int array_count;  // the regions that are arguments or variables
    int traced;
    unsigned traced_block[3], traced_thread[3];
    int watched_region;
    int64_t watched_begin, watched_end;  // bytes of it
    Event* events;
    int64_t event_count, event_capacity;
    int counted;
    const uint64_t* chosen;  // the blocks that run, null: all
    uint64_t chosen_count;
    uint64_t l1_bytes;  // of a multiprocessor, for its L1 cache and shared memory together
    int resident_blocks;  // that a multiprocessor holds at a time, if shared memory allows
    Tally* tallies;
    int tally_count, tally_capacity;
    int cut;  // whether a log or the table was too short
    Fault fault;
};

}  // namespace emu

extern "C" {
extern EMU_PER_THREAD emu::Position emu_position;

// Called before each thread of the kernel; and when it has returned, to move on to the next or, where
// 0 is returned, not.
void emu_thread_begins();
int emu_next_thread();
int emu_barrier(int predicate, int fold, const char* file, int line);
emu::Lanes* emu_meet(unsigned mask, const void* value, size_t bytes, const char* what,
                     const char* file, int line);
void emu_warp_barrier(unsigned mask, const char* file, int line);
// The lanes of the warp that come to the same call while the others wait elsewhere.
unsigned emu_lanes_together(const char* what, const char* file, int line);
void emu_fence(int to_other_blocks);
void emu_give_way();  // to others of the block
int emu_lane();
long long emu_clock();  // nanoseconds
const emu::TensorCores* emu_tensor_cores();
void* emu_find_shared(const void* key);
void* emu_new_shared(const void* key, const char* name, size_t bytes, size_t align,
                     emu::ElementType element_type);
void* emu_dynamic_shared(const char* name, emu::ElementType element_type);
// The copies of a thread into shared memory that it has not waited for, in groups.
void emu_copy_later(void* to, const void* from, size_t bytes, size_t filled, const char* file,
                    int line);
void emu_close_copies();
void emu_wait_for_copies(unsigned pending);
// Shared memory as 32-bit addresses, and back.
unsigned emu_shared_address(const void* p, const char* what, const char* file, int line);
int emu_is_shared(const void* p);
void* emu_shared_pointer(unsigned address);
// An atomic, one that writes whatever was there among them; and what it did to the number.
void emu_check_atomic(void* address, size_t bytes, int exchanges, const char* file, int line);
void emu_changed(const void* address);
void emu_unchanged(const void* address);
void emu_record_warp(const char* what, emu::ElementType element_type, size_t bytes, const void* value,
                     const void* result, const char* file, int line);
[[noreturn]] void emu_fail(int kind, const char* what, const char* file, int line);
}
