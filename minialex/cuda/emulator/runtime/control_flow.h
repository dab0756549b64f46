// control_flow.h -- which basic blocks follow which, as threads have run them, and where paths that
// parted must meet again.
#pragma once
#include <stdint.h>

#include <algorithm>
#include <vector>

namespace emu {

// The graph of a kernel's basic blocks. Where the lanes of a warp go different ways they run on
// together from the immediate post-dominator: the first block that every path comes through. (Fung et
// al., "Dynamic Warp Formation and Scheduling for Efficient GPU Control Flow", MICRO 2007, section 2.)
class ControlFlow {
  public:
    static constexpr int END = 0;  // the return of the kernel

    static constexpr int KERNEL = 0;  // its call; a function that is not inlined has one for each caller

    ControlFlow() : blocks_(1), number_(1) {}

    // The number of the block whose code begins at `site`, an offset into the module, and which a
    // thread enters from the block `from` in a call.
    int enter(int from, uint32_t site, int call) {
        // mostly a way that was taken before
        for (const int to : blocks_[size_t(from)].next)
            if (blocks_[size_t(to)].site == site) return to;
        const int to = block_at(site, call);
        if (from != END) blocks_[size_t(from)].next.push_back(to), stale_ = true;
        return to;
    }
    // The call of a function that `block` makes: blocks of the function are others in each call.
    int call_from(int block) {
        int& call = blocks_[size_t(block)].call;
        if (!call) call = int(number_.size()), number_.emplace_back();
        return call;
    }
    // What of `caller` comes after that call, which ended in the block `last`: another block.
    int after_call(int caller, int last) {
        const int to = rest_of(caller);
        auto& next = blocks_[size_t(last)].next;
        if (std::find(next.begin(), next.end(), to) == next.end())
            next.push_back(to), stale_ = true;
        return to;
    }
    int count() const { return int(blocks_.size()); }
    const std::vector<int>& next(int block) const { return blocks_[size_t(block)].next; }
    uint32_t site(int block) const { return blocks_[size_t(block)].site; }
    bool is_call(int block) const { return blocks_[size_t(block)].call != 0; }
    bool is_rest(int block) const { return blocks_[size_t(block)].is_rest; }

    // What of `block` comes after the barrier in it: another block, which nothing leads to. Until they
    // come to a barrier, lanes have met again, whatever comes after it.
    int after_barrier(int block) { return rest_of(block); }
    int post_dominator(int block) {
        if (stale_) find_post_dominators();
        return blocks_[size_t(block)].post_dominator;
    }

  private:
    struct Block {
        uint32_t site = 0;
        bool is_rest = false;  // of another, whose beginning it has
        std::vector<int> next = {};
        int post_dominator = END;
        int rest = 0, call = 0;
    };

    int block_at(uint32_t site, int call) {
        auto& numbers = number_[size_t(call)];
        if (site >= numbers.size()) numbers.resize(site + 4096);
        if (!numbers[site]) numbers[site] = add({site});
        return numbers[site];
    }
    int rest_of(int block) {
        if (!blocks_[size_t(block)].rest) {
            const int rest = add({blocks_[size_t(block)].site, true});
            blocks_[size_t(block)].rest = rest;
        }
        return blocks_[size_t(block)].rest;
    }
    int add(const Block& block) {
        stale_ = true;
        blocks_.push_back(block);
        return int(blocks_.size()) - 1;
    }

    // Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", on the reversed graph.
    void find_post_dominators() {
        stale_ = false;
        const size_t n = blocks_.size();
        std::vector<std::vector<int>> before(n);
        for (size_t b = 1; b < n; ++b) {
            for (const int to : blocks_[b].next) before[size_t(to)].push_back(int(b));
            // So far no thread has come further than this.
            if (blocks_[b].next.empty()) before[END].push_back(int(b));
        }
        std::vector<int> order, rank(n, -1);
        visit(before, order, rank);
        std::vector<int> found(n, -1);
        found[END] = END;
        for (bool changed = true; changed;) {
            changed = false;
            // `order` lists a block after those that lead on from it; END is the last.
            for (size_t i = order.size() - 1; i-- > 0;) {
                const int b = order[i];
                int meet = -1;
                const auto join = [&](int to) {
                    if (found[size_t(to)] < 0) return;
                    meet = meet < 0 ? to : common(found, rank, meet, to);
                };
                for (const int to : blocks_[size_t(b)].next) join(to);
                if (blocks_[size_t(b)].next.empty()) meet = END;
                if (meet >= 0 && found[size_t(b)] != meet) found[size_t(b)] = meet, changed = true;
            }
        }
        for (size_t b = 1; b < n; ++b)
            blocks_[b].post_dominator = std::max(found[b], int(END));
    }
    // Depth first from END, each block noted when all before it are; without recursion, as a thread's
    // stack is small.
    static void visit(const std::vector<std::vector<int>>& before, std::vector<int>& order,
                      std::vector<int>& rank) {
        std::vector<std::pair<int, size_t>> path{{END, 0}};
        std::vector<bool> seen(before.size());
        seen[END] = true;
        while (!path.empty()) {
            const int here = path.back().first;
            const size_t at = path.back().second++;
            if (at == before[size_t(here)].size()) {
                rank[size_t(here)] = int(order.size());
                order.push_back(here);
                path.pop_back();
            } else if (const int b = before[size_t(here)][at]; !seen[size_t(b)]) {
                seen[size_t(b)] = true;
                path.push_back({b, 0});
            }
        }
    }
    static int common(const std::vector<int>& found, const std::vector<int>& rank, int a, int b) {
        while (a != b) {
            while (rank[size_t(a)] < rank[size_t(b)]) a = found[size_t(a)];
            while (rank[size_t(b)] < rank[size_t(a)]) b = found[size_t(b)];
        }
        return a;
    }

    std::vector<Block> blocks_;
    std::vector<std::vector<int>> number_;  // by call and site
    bool stale_ = false;
};

}  // namespace emu
