// atomics.h -- read, change, write, with no other thread in between.
#pragma once
#include <string.h>

#include <type_traits>

#include "emu/runtime.h"

namespace emu {

template <size_t bytes> struct Bits;
template <> struct Bits<2> { using type = uint16_t; };
template <> struct Bits<4> { using type = uint32_t; };
template <> struct Bits<8> { using type = uint64_t; };

template <class To, class From> EMU_PART To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(static_cast<void*>(&to), &from, sizeof to);
    return to;
}

// Blocks run on several cores, so this is a real atomic of the host. A checked launch runs on one
// core, and there the plain form is atomic: no fibre gives way inside it.
template <class T, class Change>
EMU_QUIET T atomic_update(T* p, Change change, bool exchanges, EMU_SITE) {
    using U = typename Bits<sizeof(T)>::type;
#ifdef EMU_CHECKED
    emu_check_atomic(p, sizeof(T), exchanges, emu_file, emu_line);
#endif
#if defined(EMU_CHECKED) && !defined(EMU_COUNTED)
    const T old = *p;
    const U before = bits_as<U>(old), after = bits_as<U>(change(old));
    *p = bits_as<T>(after);
#else
    U* cell = reinterpret_cast<U*>(p);
    U before = __atomic_load_n(cell, __ATOMIC_RELAXED), after;
    do after = bits_as<U>(change(bits_as<T>(before)));
    while (!__atomic_compare_exchange_n(cell, &before, after, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE));
#endif
    if (before == after) emu_unchanged(p);
#ifdef EMU_CHECKED
    else emu_changed(p);
#endif
    return bits_as<T>(before);
}

// Keeps T to be deduced from the pointer alone, so that atomicAdd(&count, 1) works for any type.
template <class T> struct Same { using type = T; };
template <class T> using same_t = typename Same<T>::type;

}  // namespace emu

// Which threads have to see an atomic as one, the block's or those of the host too, makes no
// difference here.
#define EMU_ATOMIC(name, expression)           \
    EMU_ATOMIC_NAMED(name, expression)         \
    EMU_ATOMIC_NAMED(name##_block, expression) \
    EMU_ATOMIC_NAMED(name##_system, expression)
// The value is copied, and the old one stored, in the kernel: g++ watches no struct, as half2 is one,
// that a call takes from memory or puts there.
#define EMU_ATOMIC_NAMED(name, expression)                                                     \
    namespace emu {                                                                            \
    template <class T> EMU_QUIET T update_##name(T* p, T value, EMU_SITE) {                    \
        return atomic_update(                                                                  \
            p, [value](T old) { return T(expression); }, #name[0] == 'E', emu_file, emu_line); \
    }                                                                                          \
    }                                                                                          \
    template <class T> EMU_PART T atomic##name(T* p, emu::same_t<T> value, EMU_SITE) {         \
        const T old = emu::update_##name(p, value, emu_file, emu_line);                        \
        return old;                                                                            \
    }
EMU_ATOMIC(Add, old + value)
EMU_ATOMIC(Sub, old - value)
EMU_ATOMIC(Exch, value)
EMU_ATOMIC(Max, old < value ? value : old)
EMU_ATOMIC(Min, value < old ? value : old)
EMU_ATOMIC(And, old& value)
EMU_ATOMIC(Or, old | value)
EMU_ATOMIC(Xor, old ^ value)
EMU_ATOMIC(Inc, old >= value ? 0 : old + 1)
EMU_ATOMIC(Dec, old == 0 || old > value ? value : old - 1)
#undef EMU_ATOMIC_NAMED
#undef EMU_ATOMIC

#define EMU_CAS(name)                                                                       \
    template <class T>                                                                      \
    EMU_QUIET T name(T* p, emu::same_t<T> expected, emu::same_t<T> value, EMU_SITE) {       \
        return emu::atomic_update(                                                          \
            p, [expected, value](T old) { return old == expected ? value : old; }, false, emu_file, \
            emu_line);                                                                      \
    }
EMU_CAS(atomicCAS)
EMU_CAS(atomicCAS_block)
EMU_CAS(atomicCAS_system)
#undef EMU_CAS
