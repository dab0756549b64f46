// random.h -- the shuffled order of threads and warps that a seed stands for.
#pragma once
#include <stdint.h>

#include <utility>

namespace emu {

struct Random {
    uint64_t state;
    uint64_t operator()() {
        // splitmix64
        uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    template <class Iterator> void shuffle(Iterator begin, Iterator end) {
        for (auto n = end - begin; n > 1; --n)
            std::swap(begin[n - 1], begin[(*this)() % uint64_t(n)]);
    }
};

}  // namespace emu
