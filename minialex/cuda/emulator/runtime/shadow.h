// shadow.h -- who touched each piece of memory last.
#pragma once
#include <stdint.h>
#include <stdlib.h>

#include <memory>

namespace emu {

// One access: by which thread, and how many barriers it had passed.
struct Visit {
    uint32_t block = 0;  // its index plus 1; 0: none
    uint32_t barriers;  // passed by all of the block
    uint32_t thread : 10, syncs : 20;  // syncs: __syncwarps and fences passed by that lane
    uint32_t is_plain : 1;             // a write that is kept among atomics
    uint32_t is_volatile : 1;
    uint32_t site;

    // A copy that has not been waited for: no access comes after it.
    static constexpr uint32_t PENDING = ~0u;
    bool is_pending() const { return block && barriers == PENDING; }
};

// Of reads and atomics two are kept, as far apart as can be (other blocks, else other warps, else
// other lanes): the next access then conflicts with one of them if with any. `write` is the last of
// all; others that wrote the same value at about the same time stand among the atomics.
struct Cell {
    Visit write, read[2], atomic[2];
};

// The cells of one region, one for each element until something smaller is touched.
class Shadow {
  public:
    Shadow(size_t bytes, size_t element)
        : bytes_(bytes), shift_(shift(element)), cells_(make((bytes >> shift_) + 1)) {}

    size_t grain() const { return size_t(1) << shift_; }
    Cell& cell(size_t offset) { return cells_.get()[offset >> shift_]; }
    void refine(size_t bytes) {
        const int finer = shift(bytes);
        Cells cells = make((bytes_ >> finer) + 1);
        for (size_t i = 0; i << finer < bytes_; ++i) cells.get()[i] = cell(i << finer);
        cells_ = std::move(cells);
        shift_ = finer;
    }

  private:
    // Of the largest power of two that divides `bytes`.
    static int shift(size_t bytes) { return __builtin_ctzll(bytes); }
    struct Free {
        void operator()(Cell* cells) const { free(cells); }
    };
    using Cells = std::unique_ptr<Cell, Free>;
    // All zero is no access, and calloc makes pages real only when they are touched.
    static Cells make(size_t count) {
        return Cells(static_cast<Cell*>(calloc(count, sizeof(Cell))));
    }

    size_t bytes_;
    int shift_;
    Cells cells_;
};

}  // namespace emu
