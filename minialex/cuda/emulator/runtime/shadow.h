// shadow.h -- who touched each piece of memory last, and who has seen whose work.
//
// Two accesses to one address race if one of them writes, they are not both atomic, do not both write
// the same value, and nothing orders them. Orders are: one thread's own sequence; a barrier between two
// threads of a block; __syncwarp between two lanes; and a fence and an atomic on one side met by an
// atomic on the same address on the other. What happened when does not matter, so a race is found
// in whatever order the threads happened to run.
#pragma once
#include <stdlib.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "thread.h"

namespace emu {

// One access: by which thread, and how many barriers it had passed.
struct Visit {
    uint32_t block = 0;  // its index plus 1; 0: none
    uint32_t barriers;  // passed by all of the block
    uint32_t thread : 10, syncs : 21;  // syncs: __syncwarps passed by that lane
    uint32_t is_plain : 1;  // a write that is kept among atomics
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

// What the running block knows of its own threads and of other blocks.
class Order {
  public:
    void begin_block(uint32_t number, int threads) {
        block_ = number + 1;
        acquired_.clear();
        // A lane starts at 1, so that a visit at 0 syncs was seen by no other lane.
        seen_.assign(size_t(threads), {});
        for (int t = 0; t < threads; ++t) seen_[size_t(t)].count[t % WARP] = 1;
    }
    uint32_t block() const { return block_; }

    Visit visit(const Thread& me, uint32_t site) const {
        Visit v{};
        v.block = block_, v.barriers = me.barriers, v.site = site;
        v.thread = uint32_t(me.id), v.syncs = seen_[size_t(me.id)].count[me.lane()];
        return v;
    }
    // Whether the visit `v` came before all that `me` does from now on.
    bool before(const Visit& v, const Thread& me) const {
        if (v.block != block_) return handed_over(v, me);
        if (v.barriers < me.barriers) return true;
        if (v.is_pending()) return false;
        const int id = int(v.thread);
        if (id == me.id) return true;
        return id / WARP == me.warp() && v.syncs < seen_[size_t(me.id)].count[id % WARP];
    }
    // __syncwarp: each lane of the mask learns what all of them know.
    void join(int warp, unsigned mask) {
        Seen all{};
        for (int lane = 0; lane < WARP; ++lane)
            if (mask >> lane & 1) {
                Seen& mine = seen_[size_t(warp * WARP + lane)];
                ++mine.count[lane];
                for (int l = 0; l < WARP; ++l)
                    if (mine.count[l] > all.count[l]) all.count[l] = mine.count[l];
            }
        for (int lane = 0; lane < WARP; ++lane)
            if (mask >> lane & 1) seen_[size_t(warp * WARP + lane)] = all;
    }
    // An atomic takes over what was handed on at its address, and hands on what a fence covers.
    void atomic(const void* address, const Thread& me) {
        auto& here = published_[address];
        for (const Offer& offer : here)
            if (offer.by.block != block_)
                acquired_[offer.by.block].push_back({offer, visit(me, 0)});
        if (me.fenced) here.push_back({visit(me, 0), seen_[size_t(me.id)]});
    }

  private:
    // For each lane of the own warp, how many of its __syncwarps are known of.
    struct Seen {
        unsigned count[WARP];
    };
    struct Offer {
        Visit by;
        Seen seen;
        bool covers(const Visit& v) const {
            if (v.barriers != by.barriers) return v.barriers < by.barriers;
            return v.thread == by.thread ||
                   (v.thread / WARP == by.thread / WARP && v.syncs < seen.count[v.thread % WARP]);
        }
    };
    struct HandOver {
        Offer offer;
        Visit taken;
    };
    __attribute__((noinline)) bool handed_over(const Visit& v, const Thread& me) const {
        const auto found = acquired_.find(v.block);
        if (found == acquired_.end()) return false;
        for (const HandOver& h : found->second)
            if (h.offer.covers(v) && before(h.taken, me)) return true;
        return false;
    }

    uint32_t block_ = 0;
    std::vector<Seen> seen_;
    std::unordered_map<uint32_t, std::vector<HandOver>> acquired_;
    std::unordered_map<const void*, std::vector<Offer>> published_;
};

}  // namespace emu
