// checker.h -- checks each access of a checked launch: is it inside an array, aligned, of written
// memory, and ordered against those of all other threads?
#pragma once
#include <string.h>

#include <algorithm>
#include <vector>

#include "order.h"
#include "regions.h"
#include "shadow.h"

namespace emu {

class Checker {
  public:
    Checker(Launch& launch, const void* code) : sites(code), launch_(launch), regions_(launch) {
        for (int i = 0; i < launch.array_count; ++i) add_shadow(launch.regions[i]);
    }

    Sites sites;
    Order order;

    // More than the launch has room for are left out.
    void add_shared(const char* name, char* base, size_t bytes, ElementType element_type) {
        if (launch_.region_count == launch_.region_capacity) return;
        Region& region = launch_.regions[launch_.region_count++];
        region = shared_region(name, base, bytes, element_type);
        regions_.add(region);
        add_shadow(region);
    }

    // Returns whether the access is right; `fault` says what it touches, and what is wrong if not.
    bool check(Thread& me, const Attempt& attempt, Fault& fault, bool pending = false) {
        if (!regions_.takes(attempt, sites, fault)) return false;
        const bool shared = fault.region >= 0 && launch_.regions[fault.region].shared;
        Access access = attempt.access;
        if (access == ATOMIC || attempt.is_volatile) access = order_by(me, attempt, shared);
        if (fault.region < 0) return true;
        Visit mine = order.visit(me, attempt.site);
        if (pending) mine.barriers = Visit::PENDING;
        mine.is_volatile = attempt.is_volatile;
        if (access == ATOMIC) order.put_before_fence(mine, me);
        if (attempt.access == ATOMIC) forget_first_look(me, attempt, fault);
        return visit(me, shared, attempt, access, mine, fault);
    }
    // What the thread wrote last is there now. Two that write the same value, as all that find something
    // raise a flag, are no race, in whatever order. Returns whether it is right, else `fault` says what
    // is wrong. `next` is what the thread is about to do: a read of what others change by atomics is
    // the first look of a loop that compares and swaps, if an atomic of the same number follows it.
    bool settle(Fault& fault, const Attempt* next) {
        const bool goes_on = next && next->access == ATOMIC && next->address == looked_at_;
        const bool is_first_look = !looked_at_ || goes_on;
        looked_at_ = nullptr;
        if (!is_first_look) return fault = looked_, false;
        const char* value = values_.data();
        bool right = true;
        for (const Doubt& d : doubts_) {
            const char* now = launch_.regions[doubted_.region].base + d.begin;
            if (right && memcmp(now, value, d.end - d.begin)) {
                fault = doubted_, fault.other_access = WRITE;
                right = race(d.other, d.begin, fault);
            }
            value += d.end - d.begin;
        }
        doubts_.clear(), values_.clear();
        return right;
    }
    bool in_doubt() const { return looked_at_ || !doubts_.empty(); }
    // A copy is there. An access in between has been refused; `fault` says what it writes.
    void land(const Thread& me, char* address, size_t bytes, uint32_t site, Fault& fault) {
        const int region = regions_.find(address, bytes);
        fault.access = WRITE, fault.bytes = int(bytes), fault.region = region;
        fault.offset = address - launch_.regions[region].base;
        sites.fill(fault.here, site);
        Shadow& shadow = shadows_[size_t(region)];
        const size_t first = size_t(fault.offset);
        for (size_t at = first; at < first + bytes; at += shadow.grain())
            shadow.cell(at).write = order.visit(me, site);
    }

  private:
    void add_shadow(const Region& region) {
        shadows_.emplace_back(region.bytes, size_t(region.element_type.bytes));
    }

    // Whether a visit is one that `me` knows nothing of. Shared memory begins anew with each block: what
    // other blocks left there is nothing.
    bool is_unordered(const Visit& v, const Thread& me, bool shared) const {
        return v.block && (!shared || v.block == order.block()) && !order.before(v, me);
    }
    // What an atomic or a volatile access hands on and takes over. Returns what it counts as: a volatile
    // write after a fence is one that others may wait for, as if it were an atomic.
    //
    // A lock in shared memory that an atomicExch opens without a fence orders, too: formally one is
    // missing, but a multiprocessor carries out what a thread asks of shared memory in its order, and
    // much code relies on it. In global memory it may be overtaken.
    Access order_by(Thread& me, const Attempt& attempt, bool shared) {
        if (attempt.access != WRITE) order.take_over(attempt.address, me);
        if (attempt.exchanges && shared) order.fence(me, false);
        if (attempt.access != WRITE || !me.fenced) return attempt.access;
        order.hand_on(attempt.address, shared, me);
        return ATOMIC;
    }
    bool visit(const Thread& me, bool shared, const Attempt& attempt, Access access,
               const Visit& mine, Fault& fault) {
        Shadow& shadow = shadows_[size_t(fault.region)];
        const size_t first = size_t(fault.offset), end = first + attempt.bytes;
        if (attempt.bytes < shadow.grain()) shadow.refine(attempt.bytes);
        const auto counts = [&](const Visit& v) {
            return v.block && (!shared || v.block == order.block());
        };
        const auto is_written = [&](const Cell& cell) {
            return counts(cell.write) || counts(cell.atomic[0]) || counts(cell.atomic[1]);
        };
        // A struct is copied with the gaps between its members, which no thread writes.
        bool has_gaps = false;
        if (shared && launch_.regions[fault.region].element_type.code == '?')
            for (size_t at = first; at < end; at += shadow.grain())
                has_gaps |= is_written(shadow.cell(at));
        for (size_t at = first; at < end; at += shadow.grain()) {
            Cell& cell = shadow.cell(at);
            if (shared && attempt.access != WRITE && !has_gaps && !is_written(cell))
                return fault.offset = int64_t(at), fault.kind = UNINITIALISED, false;
            const auto unordered = [&](const Visit& v) { return is_unordered(v, me, shared); };
            const auto meets = [&](const Visit& v) {
                return (access != ATOMIC || v.is_plain) && unordered(v);
            };
            const bool any = unordered(cell.write) || meets(cell.atomic[0]) || meets(cell.atomic[1]) ||
                             (access != READ && (unordered(cell.read[0]) || unordered(cell.read[1])));
            if (any && !bear(me, shared, cell, at, access, mine, fault)) {
                const bool looks = attempt.access == READ && fault.other_access == ATOMIC;
                if (!looks || attempt.is_volatile) return false;
                looked_at_ = attempt.address, looked_ = fault;
                fault.kind = NO_FAULT, fault.offset = int64_t(first);
            }
            if (access == WRITE) cell.write = mine;
            else keep(access == READ ? cell.read : cell.atomic, mine, me);
        }
        return true;
    }
    // Whether an access may stand beside those to its cell that it is not ordered against.
    __attribute__((noinline)) bool bear(const Thread& me, bool shared, Cell& cell, size_t at,
                                        Access access, const Visit& mine, Fault& fault) {
        // One that reads a flag again and again knows that it changes. In shared memory volatile is
        // mostly a wish for lanes to run in step, and they do not.
        const bool is_flag = mine.is_volatile && !shared, waits = mine.is_volatile && access == READ;
        const auto unordered = [&](const Visit& v) { return is_unordered(v, me, shared); };
        const auto bars = [&](const Visit& v) {
            return unordered(v) && !(is_flag && access == READ && v.is_volatile);
        };
        const Visit *writer = bars(cell.write) ? &cell.write : nullptr, *other = nullptr;
        for (const Visit& v : cell.read)
            if (access != READ && !(v.is_volatile && (is_flag || access == ATOMIC)) && unordered(v))
                other = &v, fault.other_access = READ;
        for (const Visit& v : cell.atomic)
            if (v.is_plain && bars(v)) writer = writer ? writer : &v;
            else if (!v.is_plain && !waits && access != ATOMIC && unordered(v))
                other = &v, fault.other_access = v.is_volatile ? WRITE : ATOMIC;
        if (writer && (access != WRITE || mine.is_pending() || writer->is_pending()))
            other = writer, fault.other_access = WRITE;
        if (other) return race(*other, at, fault);
        if (writer) doubt(*writer, at, fault);
        if (writer == &cell.write) {
            Visit also = cell.write;
            also.is_plain = 1;
            keep(cell.atomic, also, me);
        }
        return true;
    }
    // A thread's read of what it then changes by an atomic needs no order of its own.
    void forget_first_look(const Thread& me, const Attempt& attempt, const Fault& fault) {
        Shadow& shadow = shadows_[size_t(fault.region)];
        const size_t first = size_t(fault.offset);
        for (size_t at = first; at < first + attempt.bytes; at += shadow.grain())
            for (Visit& v : shadow.cell(at).read)
                if (v.block == order.block() && int(v.thread) == me.id) v = {};
    }
    // The access writes the cell at `at`, which another thread writes, too.
    void doubt(const Visit& other, size_t at, const Fault& fault) {
        if (doubts_.empty()) doubted_ = fault;
        const size_t grain = shadows_[size_t(fault.region)].grain(), cell = at / grain * grain;
        const size_t begin = std::max(cell, size_t(fault.offset));
        const size_t end = std::min(cell + grain, size_t(fault.offset) + size_t(fault.bytes));
        const char* base = launch_.regions[fault.region].base;
        doubts_.push_back({other, begin, end});
        values_.insert(values_.end(), base + begin, base + end);
    }
    bool race(const Visit& other, size_t at, Fault& fault) {
        fault.kind = RACE, fault.offset = int64_t(at);
        fault.other_what = other.is_pending() ? "an asynchronous copy" : nullptr;
        sites.fill(fault.other, other.site);
        const unsigned b = other.block - 1, *grid = launch_.grid, *block = launch_.block,
                       t = other.thread;
        const unsigned blocks[] = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
        const unsigned threads[] = {t % block[0], t / block[0] % block[1], t / block[0] / block[1]};
        for (int i = 0; i < 3; ++i)
            fault.other.block[i] = blocks[i], fault.other.thread[i] = threads[i];
        return false;
    }
    void keep(Visit (&kept)[2], const Visit& mine, const Thread& me) {
        for (Visit& v : kept)
            if (!v.block || (v.block == mine.block && order.before(v, me))) {
                v = mine;
                return;
            }
        const auto together = [](const Visit& a, const Visit& b) {
            return a.block == b.block && a.thread / WARP == b.thread / WARP;
        };
        const bool same_block = kept[0].block == kept[1].block;
        if ((same_block && kept[0].block != mine.block) ||
            (together(kept[0], kept[1]) && !together(kept[0], mine)))
            kept[0] = mine;
    }

    struct Doubt {
        Visit other;
        size_t begin, end;
    };
    Launch& launch_;
    Regions regions_;
    std::vector<Shadow> shadows_;
    std::vector<Doubt> doubts_;
    std::vector<char> values_;  // where they stand, as the others have left them
    Fault doubted_{};
    const char* looked_at_ = nullptr;  // by the thread, with nothing in between
    Fault looked_{};
};

}  // namespace emu
