// hooks.h -- what compilers' sanitizers call before each access to memory, and in each basic block.
//
// Watched kernels are compiled with -fsanitize=thread but not linked with its library: these
// functions replace that library, and know what it cannot: blocks, warps and barriers. Those that are
// counted have -fsanitize-coverage=trace-pc too.
#pragma once
#include <string.h>

#include "primitives.h"

namespace emu {
// What a compiler knows to be less aligned than it is wide it moves in pieces, as for a GPU: then it
// is not made as a whole.
inline void watch(void* address, size_t bytes, Access access, const void* pc, bool whole = false,
                  bool is_volatile = false) {
    // Static data is set up when the module is loaded, before anything runs.
    if (bytes && worker && worker->watching())
        worker->watch({static_cast<char*>(address), bytes, access, worker->sites().of_pc(pc), whole,
                       is_volatile});
}
}  // namespace emu

#define EMU_HERE __builtin_return_address(0)
#define EMU_HOOKS_OF(kind, n, is_volatile)                                                        \
    void __tsan_##kind##read##n(void* p) { emu::watch(p, n, emu::READ, EMU_HERE, true, is_volatile); } \
    void __tsan_##kind##write##n(void* p) {                                                       \
        emu::watch(p, n, emu::WRITE, EMU_HERE, true, is_volatile);                                \
    }                                                                                             \
    void __tsan_unaligned_##kind##read##n(void* p) {                                              \
        emu::watch(p, n, emu::READ, EMU_HERE, false, is_volatile);                                \
    }                                                                                             \
    void __tsan_unaligned_##kind##write##n(void* p) {                                             \
        emu::watch(p, n, emu::WRITE, EMU_HERE, false, is_volatile);                               \
    }
#define EMU_HOOKS(n)                                                                         \
    EMU_HOOKS_OF(, n, false)                                                                 \
    EMU_HOOKS_OF(volatile_, n, true)                                                         \
    void __tsan_read##n##_pc(void* p, void* pc) { emu::watch(p, n, emu::READ, pc, true); }   \
    void __tsan_write##n##_pc(void* p, void* pc) { emu::watch(p, n, emu::WRITE, pc, true); }
#define EMU_COPIES(prefix)                                           \
    void* prefix##memcpy(void* to, const void* from, size_t n) {     \
        emu::watch(const_cast<void*>(from), n, emu::READ, EMU_HERE); \
        emu::watch(to, n, emu::WRITE, EMU_HERE);                     \
        return memcpy(to, from, n);                                  \
    }                                                                \
    void* prefix##memmove(void* to, const void* from, size_t n) {    \
        emu::watch(const_cast<void*>(from), n, emu::READ, EMU_HERE); \
        emu::watch(to, n, emu::WRITE, EMU_HERE);                     \
        return memmove(to, from, n);                                 \
    }                                                                \
    void* prefix##memset(void* to, int value, size_t n) {            \
        emu::watch(to, n, emu::WRITE, EMU_HERE);                     \
        return memset(to, value, n);                                 \
    }

extern "C" {
EMU_HOOKS(1)
EMU_HOOKS(2)
EMU_HOOKS(4)
EMU_HOOKS(8)
EMU_HOOKS(16)
void __tsan_read_range(void* p, size_t n) { emu::watch(p, n, emu::READ, EMU_HERE); }
void __tsan_write_range(void* p, size_t n) { emu::watch(p, n, emu::WRITE, EMU_HERE); }
EMU_COPIES(__tsan_)
// Older clangs call the plain functions instead; the kernel is linked with --wrap for these.
EMU_COPIES(__wrap_)
void __tsan_init() {}
void __tsan_func_entry(void*) {
    if (!emu::worker) return;
    emu::worker->check_stack(__builtin_frame_address(0), EMU_HERE);
#ifndef __clang__
    emu::worker->function_begins();
#endif
}
void __tsan_func_exit() {
#ifndef __clang__
    // clang notes a function's first block before it says that it is in one: calls are not told apart
    if (emu::worker) emu::worker->function_ends();
#endif
}
void __sanitizer_cov_trace_pc() {
    if (emu::worker) emu::worker->basic_block(EMU_HERE);
}
}
#undef EMU_COPIES
#undef EMU_HOOKS
#undef EMU_HOOKS_OF
#undef EMU_HERE
