// entry.h -- the way into a kernel: arguments unpacked, and one call a thread.
#pragma once
#include <utility>

#include "emu/runtime.h"

namespace emu {

template <auto kernel> struct Entry;

template <class... A, void (*kernel)(A...)> struct Entry<kernel> {
    template <size_t... i> EMU_QUIET static void threads(void** args, std::index_sequence<i...>) {
        do {
#ifdef EMU_COUNTED
            emu_thread_begins();
#endif
            kernel(*static_cast<A*>(args[i])...);
        } while (emu_next_thread());
    }
    EMU_QUIET static void run(void** args) { threads(args, std::index_sequence_for<A...>{}); }
};

}  // namespace emu

#define EMU_ENTRY(symbol, ...)                                                   \
    extern "C" __attribute__((visibility("default"))) void symbol(void** args) { \
        emu::Entry<&__VA_ARGS__>::run(args);                                     \
    }
