// entry.h -- the way into a kernel: arguments unpacked, and one call a thread.
#pragma once
#include <type_traits>

#include "emu/runtime.h"

namespace emu {

// Numbers from 0 to n - 1. That of <utility> has all of <cmath> behind it in LLVM's library, whose
// functions libm.h declares in its own way.
template <size_t... i> struct Indices {};
template <size_t n, size_t... i> struct IndicesBelow : IndicesBelow<n - 1, n - 1, i...> {};
template <size_t... i> struct IndicesBelow<0, i...> {
    using type = Indices<i...>;
};

// The bytes of what an argument is or points to, 0 where that has no size.
template <class T, class = void> inline constexpr unsigned size_of = 0;
template <class T>
inline constexpr unsigned size_of<T, std::enable_if_t<(sizeof(std::remove_pointer_t<T>) > 0)>> =
    std::is_function_v<std::remove_pointer_t<T>> || std::is_void_v<std::remove_pointer_t<T>>
        ? 0
        : sizeof(std::remove_pointer_t<T>);

template <auto kernel> struct Entry;

template <class... A, void (*kernel)(A...)> struct Entry<kernel> {
    static constexpr unsigned sizes[] = {size_of<A>..., 0};

    template <size_t... i> EMU_QUIET static void threads(void** args, Indices<i...>) {
        do {
#ifdef EMU_COUNTED
            emu_thread_begins();
#endif
            kernel(*static_cast<A*>(args[i])...);
        } while (emu_next_thread());
    }
    EMU_QUIET static void run(void** args) {
        threads(args, typename IndicesBelow<sizeof...(A)>::type());
    }
};

}  // namespace emu

#define EMU_ENTRY(symbol, ...)                                                   \
    extern "C" __attribute__((visibility("default"))) void symbol(void** args) { \
        emu::Entry<&__VA_ARGS__>::run(args);                                     \
    }                                                                            \
    extern "C" __attribute__((visibility("default"))) const unsigned* const symbol##_sizes = \
        emu::Entry<&__VA_ARGS__>::sizes;
