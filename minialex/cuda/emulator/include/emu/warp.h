// warp.h -- what the 32 threads of a warp do together.
//
// Every primitive is one rendezvous: each lane named in the mask contributes a value, waits until all
// have, and then sees those of all. Shuffles, votes and reductions differ only in what they compute
// from them. Lanes that have returned or do not exist are not waited for, though the mask names them.
#pragma once
#include <string.h>

#include "emu/block.h"

namespace emu {

template <class T> EMU_QUIET T value_of(const Lanes* lanes, int lane) {
    T value;
    memcpy(static_cast<void*>(&value), lanes->value[lane], sizeof value);
    return value;
}

template <class T>
EMU_QUIET Lanes* meet(unsigned mask, const T& value, const char* what, EMU_SITE) {
    static_assert(sizeof(T) <= sizeof Lanes().value[0], "too much for one warp primitive");
    return emu_meet(mask, &value, sizeof value, what, emu_file, emu_line);
}

template <class T>
EMU_QUIET void record(const char* what, const T& value, const T& result, EMU_SITE) {
#ifdef EMU_CHECKED
    emu_record_warp(what, describe<T>, sizeof(T), &value, &result, emu_file, emu_line);
#endif
}

template <class T>
EMU_QUIET T shuffle(unsigned mask, T value, int from, const char* what, EMU_SITE) {
    const Lanes* lanes = meet(mask, value, what, emu_file, emu_line);
    if (lanes->existing & ~mask & 1u << from) emu_fail(LANE_NOT_IN_MASK, what, emu_file, emu_line);
    T result;
    // undefined on a GPU: NaN, or -1
    memset(static_cast<void*>(&result), 0xff, sizeof result);
    if (lanes->took_part >> from & 1) result = value_of<T>(lanes, from);
    record(what, value, result, emu_file, emu_line);
    return result;
}

// A lane outside the caller's segment of `width` lanes gives the caller its own value.
EMU_PART int within(int from, int width, int lane) {
    return from >= lane / width * width && from < lane / width * width + width ? from : lane;
}
EMU_QUIET int lane_of(int number, int width) {
    return emu_lane() / width * width + (number & (width - 1));
}
EMU_QUIET int lane_below(unsigned step, int width) {
    return within(emu_lane() - int(step), width, emu_lane());
}
EMU_QUIET int lane_above(unsigned step, int width) {
    return within(emu_lane() + int(step), width, emu_lane());
}
EMU_QUIET int lane_across(int step, int width) {
    return within(emu_lane() ^ step, width, emu_lane());
}

// Folds the values of all lanes that took part, from the lowest lane up.
template <class T, class Combine>
EMU_QUIET T reduce(unsigned mask, T value, Combine combine, const char* what, EMU_SITE) {
    const Lanes* lanes = meet(mask, value, what, emu_file, emu_line);
    int lane = __builtin_ctz(lanes->took_part);
    T result = value_of<T>(lanes, lane);
    while (++lane < 32)
        if (lanes->took_part >> lane & 1) result = combine(result, value_of<T>(lanes, lane));
    record(what, value, result, emu_file, emu_line);
    return result;
}

// Lanes, as bits: those that took part, and those of them whose value passes a test.
struct Vote {
    unsigned all, passed;
};
template <class T, class Test>
EMU_QUIET Vote lanes_where(unsigned mask, T value, Test test, const char* what, EMU_SITE) {
    const Lanes* lanes = meet(mask, value, what, emu_file, emu_line);
    Vote vote{lanes->took_part, 0};
    for (int lane = 0; lane < 32; ++lane)
        if ((vote.all >> lane & 1) && test(value_of<T>(lanes, lane))) vote.passed |= 1u << lane;
    record(what, std::is_integral_v<T> ? unsigned(value) : !!value, vote.passed, emu_file, emu_line);
    return vote;
}

}  // namespace emu

#define EMU_AT emu_file, emu_line

EMU_QUIET void __syncwarp(unsigned mask = 0xffffffffu, EMU_SITE) { emu_warp_barrier(mask, EMU_AT); }

// The value is copied, and what comes of it stored, in the kernel, as atomics do (atomics.h).
#define EMU_SHUFFLE(name, By, from)                                                         \
    template <class T>                                                                      \
    EMU_PART T name(unsigned mask, T value, By by, int width = 32, EMU_SITE) {              \
        const T result = emu::shuffle(mask, value, emu::from(by, width), #name, EMU_AT);    \
        return result;                                                                      \
    }
EMU_SHUFFLE(__shfl_sync, int, lane_of)
EMU_SHUFFLE(__shfl_up_sync, unsigned, lane_below)
EMU_SHUFFLE(__shfl_down_sync, unsigned, lane_above)
EMU_SHUFFLE(__shfl_xor_sync, int, lane_across)
#undef EMU_SHUFFLE

EMU_QUIET unsigned __ballot_sync(unsigned mask, int predicate, EMU_SITE) {
    return emu::lanes_where(
               mask, predicate, [](int p) { return p != 0; }, "__ballot_sync", EMU_AT)
        .passed;
}
EMU_QUIET int __any_sync(unsigned mask, int predicate, EMU_SITE) {
    const emu::Vote vote = emu::lanes_where(
        mask, predicate, [](int p) { return p != 0; }, "__any_sync", EMU_AT);
    return vote.passed != 0;
}
EMU_QUIET int __all_sync(unsigned mask, int predicate, EMU_SITE) {
    const emu::Vote vote = emu::lanes_where(
        mask, predicate, [](int p) { return p != 0; }, "__all_sync", EMU_AT);
    return vote.passed == vote.all;
}
template <class T> EMU_QUIET unsigned __match_any_sync(unsigned mask, T value, EMU_SITE) {
    return emu::lanes_where(
               mask, value, [value](T v) { return v == value; }, "__match_any_sync", EMU_AT)
        .passed;
}
template <class T>
EMU_QUIET unsigned __match_all_sync(unsigned mask, T value, int* same, EMU_SITE) {
    const emu::Vote vote = emu::lanes_where(
        mask, value, [value](T v) { return v == value; }, "__match_all_sync", EMU_AT);
    *same = vote.passed == vote.all;
    return *same ? vote.all : 0;
}

// As on the device, reductions in hardware are for integers alone.
#define EMU_REDUCE(name, T, expression)                                                     \
    EMU_QUIET T __reduce_##name##_sync(unsigned mask, T value, EMU_SITE) {                  \
        return emu::reduce(                                                                 \
            mask, value, [](T a, T b) { return T(expression); }, "__reduce_" #name "_sync", \
            EMU_AT);                                                                        \
    }
EMU_REDUCE(add, int, unsigned(a) + unsigned(b))
EMU_REDUCE(add, unsigned, a + b)
EMU_REDUCE(min, int, b < a ? b : a)
EMU_REDUCE(min, unsigned, b < a ? b : a)
EMU_REDUCE(max, int, a < b ? b : a)
EMU_REDUCE(max, unsigned, a < b ? b : a)
EMU_REDUCE(and, unsigned, a& b)
EMU_REDUCE(or, unsigned, a | b)
EMU_REDUCE(xor, unsigned, a ^ b)
#undef EMU_REDUCE

// Which lanes run together is a GPU's whim; here it is all that come to the call.
EMU_QUIET unsigned __activemask(EMU_SITE) { return emu_lanes_together("__activemask", EMU_AT); }
