// cooperative_groups.h -- CUDA's groups of threads: a block, tiles of a warp, what is here of a warp.
//
// A group is its lanes within a warp, as a mask, or a whole block; what the lanes do together is a
// primitive of warp.h.
#pragma once
#include "emu/warp.h"

namespace cooperative_groups {

EMU_QUIET unsigned rank_in_block() {
    return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
EMU_QUIET unsigned threads_of_block() { return blockDim.x * blockDim.y * blockDim.z; }

// Any group; to pass one by its base keeps all of it.
class thread_group {
  public:
    EMU_QUIET unsigned size() const { return mask_ ? __builtin_popcount(mask_) : threads_of_block(); }
    EMU_QUIET unsigned num_threads() const { return size(); }
    EMU_QUIET unsigned thread_rank() const {
        return mask_ ? __builtin_popcount(mask_ & ((1u << emu_lane()) - 1)) : rank_in_block();
    }
    EMU_QUIET void sync(EMU_SITE) const {
        if (mask_) emu_warp_barrier(mask_, EMU_AT);
        else emu_barrier(0, emu::FOLD_NONE, EMU_AT);
    }
    EMU_QUIET bool is_valid() const { return true; }
    // The lanes; 0 for a block.
    EMU_QUIET unsigned mask() const { return mask_; }

    EMU_QUIET explicit thread_group(unsigned mask) : mask_(mask) {}

  protected:
    unsigned mask_;
};
// `size` lanes side by side, the caller's among them.
EMU_QUIET unsigned neighbours(unsigned size) {
    return (size == 32 ? ~0u : (1u << size) - 1) << (unsigned(emu_lane()) / size * size);
}
EMU_QUIET thread_group tiled_partition(const thread_group&, unsigned size, EMU_SITE) {
    if (size == 0 || size > 32 || (size & (size - 1)))
        emu_fail(emu::TRAP, "tiled_partition by no power of two up to 32", EMU_AT);
    return thread_group(neighbours(size));
}

class thread_block : public thread_group {
  public:
    EMU_QUIET static unsigned size() { return threads_of_block(); }
    EMU_QUIET static unsigned num_threads() { return threads_of_block(); }
    EMU_QUIET static unsigned thread_rank() { return rank_in_block(); }
    EMU_QUIET static void sync(EMU_SITE) { emu_barrier(0, emu::FOLD_NONE, EMU_AT); }
    EMU_QUIET static dim3 group_index() { return blockIdx; }
    EMU_QUIET static dim3 thread_index() { return threadIdx; }
    EMU_QUIET static dim3 group_dim() { return blockDim; }
    EMU_QUIET static dim3 dim_threads() { return blockDim; }

  private:
    EMU_QUIET thread_block() : thread_group(0) {}
    friend thread_block this_thread_block();
};
EMU_QUIET thread_block this_thread_block() { return {}; }

// Blocks run one after another: what waits for all of them never goes on.
class grid_group {
  public:
    EMU_QUIET bool is_valid() const { return true; }
    EMU_QUIET unsigned long long num_blocks() const {
        return (unsigned long long)gridDim.x * gridDim.y * gridDim.z;
    }
    EMU_QUIET unsigned long long block_rank() const {
        return blockIdx.x + gridDim.x * (blockIdx.y + (unsigned long long)gridDim.y * blockIdx.z);
    }
    EMU_QUIET unsigned long long size() const { return num_blocks() * threads_of_block(); }
    EMU_QUIET unsigned long long num_threads() const { return size(); }
    EMU_QUIET unsigned long long thread_rank() const {
        return block_rank() * threads_of_block() + rank_in_block();
    }
    EMU_QUIET dim3 group_dim() const { return gridDim; }
    EMU_QUIET dim3 dim_blocks() const { return gridDim; }
    EMU_QUIET dim3 block_index() const { return blockIdx; }
    void sync() const __attribute__((unavailable(
        "the emulator runs blocks one after another: make what follows a kernel of its own")));
};
EMU_QUIET grid_group this_grid() { return {}; }

// Some lanes of a warp, numbered in their order.
class lane_group : public thread_group {
  public:
    template <class T> EMU_QUIET T shfl(T value, int rank, EMU_SITE) const {
        return emu::shuffle(mask_, value, lane(unsigned(rank) % size()), "shfl", EMU_AT);
    }
    template <class T> EMU_QUIET T shfl_up(T value, unsigned step, EMU_SITE) const {
        const unsigned me = thread_rank(), from = me < step ? me : me - step;
        return emu::shuffle(mask_, value, lane(from), "shfl_up", EMU_AT);
    }
    template <class T> EMU_QUIET T shfl_down(T value, unsigned step, EMU_SITE) const {
        const unsigned me = thread_rank(), from = me + step < size() ? me + step : me;
        return emu::shuffle(mask_, value, lane(from), "shfl_down", EMU_AT);
    }
    EMU_QUIET int any(int predicate, EMU_SITE) const {
        return __any_sync(mask_, predicate, EMU_AT);
    }
    EMU_QUIET int all(int predicate, EMU_SITE) const {
        return __all_sync(mask_, predicate, EMU_AT);
    }
    EMU_QUIET unsigned ballot(int predicate, EMU_SITE) const {
        return ranks(__ballot_sync(mask_, predicate, EMU_AT));
    }
    template <class T> EMU_QUIET unsigned match_any(T value, EMU_SITE) const {
        return ranks(__match_any_sync(mask_, value, EMU_AT));
    }
    template <class T> EMU_QUIET unsigned match_all(T value, int& same, EMU_SITE) const {
        return ranks(__match_all_sync(mask_, value, &same, EMU_AT));
    }

  protected:
    EMU_QUIET explicit lane_group(unsigned mask) : thread_group(mask) {}

  private:
    EMU_QUIET int lane(unsigned rank) const {
        unsigned rest = mask_;
        for (; rank; --rank) rest &= rest - 1;
        return __builtin_ctz(rest);
    }
    // Bits of lanes as bits of ranks.
    EMU_QUIET unsigned ranks(unsigned lanes) const {
        unsigned bits = 0;
        int rank = 0;
        for (unsigned rest = mask_; rest; rest &= rest - 1, ++rank)
            bits |= (lanes >> __builtin_ctz(rest) & 1) << rank;
        return bits;
    }
};

class coalesced_group : public lane_group {
  public:
    EMU_QUIET explicit coalesced_group(unsigned mask) : lane_group(mask) {}
    EMU_QUIET unsigned meta_group_rank() const { return 0; }
    EMU_QUIET unsigned meta_group_size() const { return 1; }
};

EMU_QUIET coalesced_group coalesced_threads(EMU_SITE) {
    return coalesced_group(emu_lanes_together("coalesced_threads", EMU_AT));
}

template <class Group>
EMU_QUIET coalesced_group binary_partition(const Group& group, bool predicate, EMU_SITE) {
    return coalesced_group(__match_any_sync(group.mask(), int(predicate), EMU_AT));
}
template <class Group, class Label>
EMU_QUIET coalesced_group labeled_partition(const Group& group, Label label, EMU_SITE) {
    return coalesced_group(__match_any_sync(group.mask(), label, EMU_AT));
}

template <unsigned count, class Parent = void> class thread_block_tile;

// A tile of a known size, whatever it is a part of.
template <unsigned count> class sized_tile : public lane_group {
    static_assert(count >= 1 && count <= 32 && (count & (count - 1)) == 0,
                  "a tile has a power of two of threads, up to 32 under the emulator");

  public:
    EMU_QUIET static constexpr unsigned size() { return count; }
    EMU_QUIET static constexpr unsigned num_threads() { return count; }
    EMU_QUIET static unsigned thread_rank() { return unsigned(emu_lane()) % count; }
    EMU_QUIET unsigned meta_group_rank() const { return rank_in_block() % parent_ / count; }
    EMU_QUIET unsigned meta_group_size() const { return (parent_ + count - 1) / count; }
    template <class T> EMU_QUIET T shfl_xor(T value, int step, EMU_SITE) const {
        return __shfl_xor_sync(mask_, value, step, count, EMU_AT);
    }

  protected:
    EMU_QUIET explicit sized_tile(unsigned parent)
        : lane_group(neighbours(count)), parent_(parent) {}
    unsigned parent_;  // how many threads that has
};
template <unsigned count> class thread_block_tile<count, void> : public sized_tile<count> {
  public:
    template <class Parent>
    EMU_QUIET thread_block_tile(const thread_block_tile<count, Parent>& tile)
        : sized_tile<count>(tile) {}
};
template <unsigned count, class Parent> class thread_block_tile : public sized_tile<count> {
    EMU_QUIET explicit thread_block_tile(unsigned parent) : sized_tile<count>(parent) {}
    template <unsigned n, class P> friend thread_block_tile<n, P> tiled_partition(const P&);
};
template <unsigned count, class Parent>
EMU_QUIET thread_block_tile<count, Parent> tiled_partition(const Parent& parent) {
    return thread_block_tile<count, Parent>(parent.size());
}

template <class Group> EMU_QUIET void sync(const Group& group, EMU_SITE) { group.sync(EMU_AT); }
void sync(const grid_group&) __attribute__((unavailable(
    "the emulator runs blocks one after another: make what follows a kernel of its own")));
template <class Group> EMU_QUIET unsigned long long group_size(const Group& g) { return g.size(); }
template <class Group> EMU_QUIET unsigned long long thread_rank(const Group& g) {
    return g.thread_rank();
}

#define EMU_FOLD(name, expression)                                                \
    template <class T> struct name {                                              \
        __forceinline__ T operator()(T a, T b) const { return T(expression); }    \
    };
EMU_FOLD(plus, a + b)
EMU_FOLD(less, b < a ? b : a)
EMU_FOLD(greater, a < b ? b : a)
EMU_FOLD(bit_and, a& b)
EMU_FOLD(bit_or, a | b)
EMU_FOLD(bit_xor, a ^ b)
#undef EMU_FOLD

template <class Group, class T, class Fold>
EMU_QUIET T reduce(const Group& group, T value, Fold fold, EMU_SITE) {
    return emu::reduce(group.mask(), value, fold, "reduce", EMU_AT);
}

// What the lanes before the caller, and the caller itself if `own`, fold to; T() if they are none.
template <class T, class Fold>
EMU_QUIET T scan(unsigned mask, T value, Fold fold, bool own, const char* what, EMU_SITE) {
    const emu::Lanes* lanes = emu::meet(mask, value, what, EMU_AT);
    const unsigned before = mask & ((own ? 2u : 1u) << emu_lane()) - 1;
    T result = T();
    for (unsigned rest = before; rest; rest &= rest - 1) {
        const T next = emu::value_of<T>(lanes, __builtin_ctz(rest));
        result = rest == before ? next : fold(result, next);
    }
    emu::record(what, value, result, EMU_AT);
    return result;
}
template <class Group, class T, class Fold = plus<T>>
EMU_QUIET T inclusive_scan(const Group& group, T value, Fold fold = {}, EMU_SITE) {
    return scan(group.mask(), value, fold, true, "inclusive_scan", EMU_AT);
}
template <class Group, class T, class Fold = plus<T>>
EMU_QUIET T exclusive_scan(const Group& group, T value, Fold fold = {}, EMU_SITE) {
    return scan(group.mask(), value, fold, false, "exclusive_scan", EMU_AT);
}

}  // namespace cooperative_groups
