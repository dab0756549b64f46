// undefined.h -- what compilers' sanitizers call where a kernel does what C++ leaves undefined: an index
// beyond an array as it is declared, and a division of integers that has no result.
//
// Checked kernels are compiled with -fsanitize=bounds and the like but not linked with its library. Both
// compilers describe the place and the types in the same structures.
#pragma once
#include "worker.h"

namespace emu {

struct SanitizedPlace {
    const char* file;
    uint32_t line, column;
};
struct SanitizedType {
    uint16_t kind, info;
    char name[1];  // in quotes

    // A number as the compiler passes it, which lies in the lower bits.
    int64_t value(uintptr_t passed) const {
        const unsigned unused = 64 - std::min(64u, 1u << (info >> 1));
        return info & 1 ? int64_t(uint64_t(passed) << unused) >> unused : int64_t(passed);
    }
};
struct BadIndex {
    SanitizedPlace place;
    const SanitizedType *array, *index;
};
struct BadDivision {
    SanitizedPlace place;
    const SanitizedType* type;
};

[[noreturn]] inline void fail_undefined(FaultKind kind, const SanitizedPlace& place, const char* what,
                                        int64_t number, const void* pc) {
    // Before anything runs there is no launch to end.
    if (!worker) abort();
    Fault fault{};
    fault.region = -1, fault.offset = number, fault.bytes = int(place.column);
    // A place in the emulator's headers is known by the code that they were inlined into.
    fault.here.pc = worker->sites().of_pc(pc);
    worker->fail(kind, {what, place.file, int(place.line)}, &fault);
}

}  // namespace emu

extern "C" {
void __ubsan_handle_out_of_bounds_abort(const emu::BadIndex* bad, uintptr_t index) {
    emu::fail_undefined(emu::BAD_INDEX, bad->place, bad->array->name, bad->index->value(index),
                        __builtin_return_address(0));
}
void __ubsan_handle_divrem_overflow_abort(const emu::BadDivision* bad, uintptr_t, uintptr_t by) {
    emu::fail_undefined(emu::BAD_DIVISION, bad->place, bad->type->name, bad->type->value(by),
                        __builtin_return_address(0));
}
}
