// copies.h -- asynchronous copies into shared memory, and shared memory's own addresses.
#pragma once
#include "emu/cooperative_groups.h"

EMU_QUIET size_t __cvta_generic_to_shared(const void* p, EMU_SITE) {
    return emu_shared_address(p, "__cvta_generic_to_shared of no shared memory", EMU_AT);
}
EMU_QUIET void* __cvta_shared_to_generic(size_t address) {
    return emu_shared_pointer(unsigned(address));
}
EMU_QUIET unsigned __isShared(const void* p) { return unsigned(emu_is_shared(p)); }
EMU_QUIET unsigned __isGlobal(const void* p) { return !emu_is_shared(p); }

// cuda_pipeline.h's
EMU_QUIET void __pipeline_memcpy_async(void* to, const void* from, size_t bytes, size_t zeros = 0,
                                       EMU_SITE) {
    if (bytes != 4 && bytes != 8 && bytes != 16)
        emu_fail(emu::TRAP, "__pipeline_memcpy_async of other than 4, 8 or 16 bytes", EMU_AT);
    emu_copy_later(to, from, bytes, bytes - zeros, EMU_AT);
}
EMU_QUIET void __pipeline_commit() { emu_close_copies(); }
EMU_QUIET void __pipeline_wait_prior(size_t pending) { emu_wait_for_copies(unsigned(pending)); }

namespace cooperative_groups {

template <size_t alignment> struct aligned_size_t {
    size_t bytes;
    constexpr aligned_size_t(size_t n) : bytes(n) {}
    constexpr operator size_t() const { return bytes; }
};

// The threads take turns at pieces, as wide as they all may be; each call is a group of copies.
template <class Group, class T>
EMU_QUIET void memcpy_async(const Group& group, T* to, const T* from, size_t bytes, EMU_SITE) {
    const size_t both = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | bytes;
    const size_t piece = both % 16 == 0 ? 16 : both % 8 == 0 ? 8 : both % 4 == 0 ? 4 : 1;
    for (size_t i = group.thread_rank() * piece; i < bytes; i += group.size() * piece)
        emu_copy_later(reinterpret_cast<char*>(to) + i, reinterpret_cast<const char*>(from) + i, piece,
                       piece, EMU_AT);
    emu_close_copies();
}
template <class Group, class T, size_t alignment>
EMU_QUIET void memcpy_async(const Group& group, T* to, const T* from,
                            const aligned_size_t<alignment>& size, EMU_SITE) {
    memcpy_async(group, to, from, size.bytes, EMU_AT);
}
template <unsigned pending, class Group> EMU_QUIET void wait_prior(const Group& group, EMU_SITE) {
    emu_wait_for_copies(pending);
    group.sync(EMU_AT);
}
template <class Group> EMU_QUIET void wait(const Group& group, EMU_SITE) {
    wait_prior<0>(group, EMU_AT);
}

}  // namespace cooperative_groups
