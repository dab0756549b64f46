// order.h -- which accesses come before which, whatever happened when.
//
// Two accesses to one address race if one of them writes, they are not both atomic, do not both write
// the same value, and nothing orders them. Orders are: one thread's own sequence; a barrier between two
// threads of a block; __syncwarp between two lanes; and what is handed on: a fence and then an atomic on
// one side, met by an atomic on the same address on the other. So a race is found in whatever order
// the threads happened to run.
#pragma once
#include <algorithm>
#include <unordered_map>
#include <vector>

#include "shadow.h"
#include "thread.h"

namespace emu {

// What is known through atomics: of each place, all that was handed on there before a time.
class Known {
  public:
    bool has(uint32_t place, uint64_t time) const {
        const auto found = until_.find(place);
        return found != until_.end() && time < found->second;
    }
    void add(uint32_t place, uint64_t time) { until_[place] = std::max(until_[place], time); }
    void add(const Known& other) {
        for (const auto& [place, time] : other.until_) add(place, time);
    }

  private:
    std::unordered_map<uint32_t, uint64_t> until_;
};

// What the running block knows of its own threads and of other blocks.
class Order {
  public:
    void begin_block(uint32_t number, int threads) {
        block_ = number + 1;
        known_.clear(), here_ = {}, known_to_all_ = {}, knows_any_ = false;
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
        if (v.block == block_) {
            if (v.barriers < me.barriers) return true;
            if (v.is_pending()) return false;
            const int id = int(v.thread);
            if (id == me.id) return true;
            if (id / WARP == me.warp() && v.syncs < seen_[size_t(me.id)].count[id % WARP]) return true;
        }
        return knows_any_ && was_handed_over(v, me);
    }
    // The block's barrier: all threads learn what any of them knows.
    void barrier() {
        for (const auto& [thread, known] : known_) known_to_all_.add(known);
        known_.clear();
    }
    // __syncwarp: each lane of the mask learns what all of them know.
    void join(int warp, unsigned mask) {
        Seen all{};
        Known known;
        for (unsigned rest = mask; rest; rest &= rest - 1) {
            const int lane = __builtin_ctz(rest), thread = warp * WARP + lane;
            Seen& mine = seen_[size_t(thread)];
            ++mine.count[lane];
            for (int l = 0; l < WARP; ++l)
                if (mine.count[l] > all.count[l]) all.count[l] = mine.count[l];
            if (const auto found = known_.find(thread); found != known_.end()) known.add(found->second);
        }
        for (unsigned rest = mask; rest; rest &= rest - 1) {
            const int thread = warp * WARP + __builtin_ctz(rest);
            seen_[size_t(thread)] = all;
            if (!known_.empty()) known_[thread] = known;
        }
    }

    // ---- what is handed on, from thread to thread and from block to block ----

    // What the thread has done so far may be handed on, to its own block alone or to others, too.
    void fence(Thread& me, bool to_others) {
        me.fenced = ++seen_[size_t(me.id)].count[me.lane()];
        if (to_others) me.fenced_for_others = me.fenced;
    }
    // An atomic that hands on is handed on itself: those who saw it may set it back.
    void put_before_fence(Visit& v, const Thread& me) const {
        if (me.fenced) v.syncs = (me.fenced_for_others ? me.fenced_for_others : me.fenced) - 1;
    }
    // An atomic takes over what was handed on at its address,
    void take_over(const void* address, const Thread& me) {
        take_from(here_, address, me);
        take_from(everywhere_, address, me);
    }
    // and one that writes hands on what a fence covers, and all that the thread knows of others.
    void hand_on(const void* address, bool shared, const Thread& me) {
        if (shared || me.fenced > me.fenced_for_others) put_at(here_[address], me.fenced, me);
        if (shared || !me.fenced_for_others) return;
        Place& place = everywhere_[address];
        put_at(place, me.fenced_for_others, me);
        offer(of_block_[block_], {place.number, me.barriers, time_});
    }

  private:
    // For each lane of the own warp, how many of its __syncwarps and fences are known of.
    struct Seen {
        unsigned count[WARP];
    };
    // An address that atomics hand on at.
    struct Place {
        uint32_t number = 0;
        uint64_t last = 0;  // when something was handed on there
        Known known = {};   // by those who did
    };
    // If they are many, as the locks of a table are, most are taken for one.
    class Places {
      public:
        bool empty() const { return of_.empty(); }
        Place& operator[](const void* address) {
            return of_.size() < MOST || of_.count(address) ? of_[address] : rest_;
        }

      private:
        static constexpr size_t MOST = 64;
        std::unordered_map<const void*, Place> of_;
        Place rest_;
    };
    // What was handed on: visits of a thread, or of a whole block, before so many syncs or barriers.
    struct Offer {
        uint32_t place, before;
        uint64_t time;
    };
    void take_from(Places& places, const void* address, const Thread& me) {
        if (places.empty()) return;
        const Place& place = places[address];
        Known& mine = known_[me.id];
        if (!place.number || mine.has(place.number, place.last)) return;
        mine.add(place.number, time_ + 1);
        mine.add(place.known);
        knows_any_ = true;
    }
    void put_at(Place& place, uint32_t before, const Thread& me) {
        if (!before) return;
        if (!place.number) place.number = ++places_made_;
        place.last = ++time_;
        offer(of_thread_[key(block_, uint32_t(me.id))], {place.number, before, time_});
        const Seen& seen = seen_[size_t(me.id)];
        for (int lane = 0; lane < WARP; ++lane)
            if (lane != me.lane() && seen.count[lane])
                offer(of_thread_[key(block_, uint32_t(me.warp() * WARP + lane))],
                      {place.number, seen.count[lane], time_});
        place.known.add(known_to_all_);
        if (const auto found = known_.find(me.id); found != known_.end()) place.known.add(found->second);
    }
    static uint64_t key(uint32_t block, uint32_t thread) { return uint64_t(block) << 10 | thread; }
    static void offer(std::vector<Offer>& offers, const Offer& offer) {
        const bool again = !offers.empty() && offers.back().place == offer.place &&
                           offers.back().before == offer.before;
        if (!again) offers.push_back(offer);
    }
    __attribute__((noinline)) bool was_handed_over(const Visit& v, const Thread& me) const {
        const auto mine = known_.find(me.id);
        const auto is_among = [&](const auto& offers, uint64_t at, uint32_t when) {
            const auto found = offers.find(at);
            if (found == offers.end()) return false;
            for (const Offer& o : found->second)
                if (when < o.before &&
                    (known_to_all_.has(o.place, o.time) ||
                     (mine != known_.end() && mine->second.has(o.place, o.time))))
                    return true;
            return false;
        };
        return is_among(of_thread_, key(v.block, v.thread), v.syncs) ||
               (v.block != block_ && is_among(of_block_, v.block, v.barriers));
    }

    uint32_t block_ = 0;
    std::vector<Seen> seen_;
    bool knows_any_ = false;  // whether anything was taken over in this block
    Known known_to_all_;  // up to the last barrier,
    std::unordered_map<int, Known> known_;  // and by each thread since
    uint64_t time_ = 0;  // counts what is handed on
    uint32_t places_made_ = 0;
    Places here_, everywhere_;  // where threads of this block, and of all, hand on
    std::unordered_map<uint64_t, std::vector<Offer>> of_thread_, of_block_;
};

}  // namespace emu
