// variables.h -- __device__ and __constant__ variables: placed apart, and listed for Python.
#pragma once
#include "emu/block.h"

// Those of this library, in no order.
extern "C" {
__attribute__((visibility("default"))) emu::Variable* emu_variables;
}

namespace emu {

constexpr int MARGIN = 16 << 10;

// `__device__ float k[5];` is rewritten to
// `__device__ emu::Apart<float[5]> emu_apart_k; static auto& k = emu_apart_k.variable;`
// What goes past an end is then in no other variable, and vectors of 16 bytes are aligned.
template <class T> struct alignas(256) Apart {
    char before[MARGIN];
    T variable;
    char after[MARGIN];
};

struct Listed : Variable {
    template <class T>
    EMU_QUIET Listed(int number_, T& variable, int constant, int unfilled, int margin) {
        char& first = const_cast<char&>(reinterpret_cast<const volatile char&>(variable));
        region = {&first, sizeof(T), describe<T>, 0, 0, constant, unfilled, margin, {}};
        number = number_, next = emu_variables;
        emu_variables = this;
    }
};

}  // namespace emu

#define EMU_VARIABLE(name, number, constant, unfilled, margin) \
    static emu::Listed emu_variable_##number(number, name, constant, unfilled, margin);
