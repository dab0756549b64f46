// block.h -- a thread's position in the grid, its block's shared memory, and the block's barriers.
#pragma once
#include <type_traits>

#include "assert.h"
#include "emu/runtime.h"

#define threadIdx (emu_position.thread)
#define blockIdx (emu_position.block)
#define blockDim (emu_position.block_size)
#define gridDim (emu_position.grid_size)
constexpr int warpSize = 32;

namespace emu {

// What a value of type T is to a reader: float4 is four floats.
template <class T, class = void> struct Scalar { using type = T; };
template <class T> struct Scalar<T, std::void_t<decltype(T::x), decltype(T::y)>> {
    using type = decltype(T::x);
};

template <class T> constexpr char code_of() {
    using S = std::remove_cv_t<T>;
    if (std::is_same_v<S, __half>) return 'h';
    if (std::is_same_v<S, __nv_bfloat16>) return 'b';
    if (std::is_floating_point_v<S>) return 'f';
    if (std::is_integral_v<S>) return std::is_signed_v<S> ? 'i' : 'u';
    return '?';
}

template <class T> constexpr ElementType described() {
    using Element = std::remove_all_extents_t<T>;
    using S = typename Scalar<Element>::type;
    ElementType e{code_of<S>(), int(sizeof(S)), int(std::rank_v<T>), {}};
    constexpr size_t extent[] = {std::extent_v<T, 0>, std::extent_v<T, 1>, std::extent_v<T, 2>,
                                    std::extent_v<T, 3>};
    for (int i = 0; i < 4; ++i) e.extent[i] = extent[i];
    if (sizeof(Element) != sizeof(S) && e.rank < 4)
        e.extent[e.rank++] = sizeof(Element) / sizeof(S);
    return e;
}

// A constant: whatever is called here would be watched.
template <class T> inline constexpr ElementType describe = described<T>();

// `__shared__ float tile[16][17];` is rewritten to
// `auto& tile = *emu::shared<float[16][17]>("tile", alignof(float), [] {});`
// The lambda's type is another one in each declaration and each instantiation around it, so the
// address of `key` says which array is meant. (What a function returns a reference to, clang reads
// before it knows whether to.)
template <class T, class Unique> EMU_QUIET T* shared(const char* name, size_t align, Unique) {
    static char key;
    void* address = emu_find_shared(&key);
    if (!address) address = emu_new_shared(&key, name, sizeof(T), align, describe<T>);
    return static_cast<T*>(address);
}

// `extern __shared__ float tile[];` is rewritten to
// `auto* const tile = emu::dynamic_shared<float>("tile");`
template <class T> EMU_QUIET T* dynamic_shared(const char* name) {
    return static_cast<T*>(emu_dynamic_shared(name, describe<T[]>));
}

}  // namespace emu

EMU_QUIET void __syncthreads(EMU_SITE) { emu_barrier(0, emu::FOLD_NONE, emu_file, emu_line); }
EMU_QUIET int __syncthreads_count(int predicate, EMU_SITE) {
    return emu_barrier(predicate, emu::FOLD_COUNT, emu_file, emu_line);
}
EMU_QUIET int __syncthreads_and(int predicate, EMU_SITE) {
    return emu_barrier(predicate, emu::FOLD_AND, emu_file, emu_line);
}
EMU_QUIET int __syncthreads_or(int predicate, EMU_SITE) {
    return emu_barrier(predicate, emu::FOLD_OR, emu_file, emu_line);
}

// What was written may now be handed on: the race checker is told.
EMU_QUIET void __threadfence() { emu_fence(true); }
EMU_QUIET void __threadfence_block() { emu_fence(false); }
EMU_QUIET void __threadfence_system() { emu_fence(true); }

[[noreturn]] EMU_QUIET void __trap(EMU_SITE) {
    emu_fail(emu::TRAP, "__trap()", emu_file, emu_line);
}
