// counter.h -- counts what the warps of a launch ask of memory, line by line; of a traced block it says
// instead which events were one instruction of a warp.
//
// Lanes run one after another here. So what each of a warp does is logged, up to where all of them
// wait, and then run once more as a GPU would: all lanes that are at the same place at once.
#pragma once
#include <mutex>
#include <unordered_map>

#include "control_flow.h"
#include "memory_system.h"
#include "regions.h"

namespace emu {

class Counter {
  public:
    Counter(Launch& launch, std::mutex& mutex, const void* code)
        : sites(code), launch_(launch), mutex_(mutex), regions_(launch), shared_(launch.shared) {
        for (int i = 0; i < regions_.count(); ++i) numbers_.push_back(i);
        share_l1();
    }

    Sites sites;

    void begin_block(int warps) {
        l1_.clear();
        visits_.resize(size_t(warps));
        inside_.assign(size_t(warps) * LANES, ControlFlow::END);
        entered_ = inside_;
        calls_.resize(inside_.size());
        request_number_ = 0, pieces_ = {};
    }
    // Shared memory of one name is one array, whichever worker has it.
    void add_shared(const char* name, char* base, size_t bytes, ElementType element_type) {
        const Region region = shared_region(name, base, bytes, element_type);
        regions_.add(region);
        // The dynamic memory is counted from the start.
        if (bytes != launch_.shared) shared_ += bytes;
        share_l1();
        std::lock_guard lock(mutex_);
        int i = 0;
        while (i < launch_.region_count && !(launch_.regions[i].shared &&
                                             launch_.regions[i].bytes == bytes &&
                                             !strcmp(launch_.regions[i].name, region.name)))
            ++i;
        if (i == launch_.region_count) {
            if (i == launch_.region_capacity) return numbers_.push_back(-1);
            launch_.regions[launch_.region_count++] = region;
        }
        numbers_.push_back(i);
    }

    // ---- what the lane that runs does ----
    void thread_begins(const Thread& me) {
        log_[me.lane()].clear(), events_[me.lane()].clear();
        inside_[size_t(me.id)] = entered_[size_t(me.id)] = ControlFlow::END;
        calls_[size_t(me.id)].clear();
    }
    void function_begins(const Thread& me) {
        const int caller = inside_[size_t(me.id)];
        const bool is_kernel = caller == ControlFlow::END;
        calls_[size_t(me.id)].push_back(
            {caller, is_kernel ? ControlFlow::KERNEL : flow_.call_from(caller)});
    }
    void function_ends(const Thread& me) {
        auto& calls = calls_[size_t(me.id)];
        if (calls.empty()) return;
        const int caller = calls.back().caller;
        calls.pop_back();
        if (caller == ControlFlow::END) return;
        int& inside = inside_[size_t(me.id)];
        inside = flow_.after_call(caller, inside);
        note(me, {uint64_t(inside), 0, 0, BLOCK});
    }
    void basic_block(const Thread& me, uint32_t site) {
        int& inside = inside_[size_t(me.id)];
        const auto& calls = calls_[size_t(me.id)];
        inside = flow_.enter(inside, site, calls.empty() ? ControlFlow::KERNEL : calls.back().call);
        note(me, {uint64_t(inside), 0, 0, BLOCK});
    }
    // Returns false where a GPU does not take it; `fault` then says where. `known` has the site of the
    // attempt: in a launch that is checked too, these are the checker's.
    bool access(const Thread& me, const Attempt& attempt, const Sites& known, Fault& fault) {
        const bool right = regions_.takes(attempt, known, fault);
        const int region = fault.region;
        if (region < 0) return right;
        if (!right) return fault.region = numbers_[size_t(region)], false;
        const Region& r = regions_[region];
        const uint64_t first = (uint64_t(region) << REGION_SHIFT) + r.phase +
                               uint64_t(attempt.address - r.base);
        // What is wider than any instruction goes in pieces.
        for (uint64_t at = 0; at < attempt.bytes; at += WIDEST) {
            const uint64_t bytes = std::min<uint64_t>(attempt.bytes - at, WIDEST);
            note(me, {first + at, attempt.site, uint16_t(bytes), uint16_t(attempt.access)});
        }
        return true;
    }
    // Of a traced block: which event the lane's last step is.
    void recorded(const Thread& me, int64_t event) {
        const int lane = me.lane();
        if (left_out_[lane]) return;
        events_[lane].resize(log_[lane].size(), -1);
        events_[lane].back() = event;
    }
    void primitive(const Thread& me, int kind, uint32_t site) {
        note(me, {0, site, 0, uint16_t(kind)});
    }
    void wait_at_barrier(const Thread& me) {
        int& inside = inside_[size_t(me.id)];
        if (inside != ControlFlow::END) inside = flow_.after_barrier(inside);
    }

    // ---- what the warp did ----
    void finish_warp(int warp, int threads) {
        Mask mask = 0;
        uint64_t logged = 0, kept = 0;
        for (int lane = 0; lane < LANES && warp * LANES + lane < threads; ++lane) {
            mask |= uint64_t(!log_[lane].empty()) << lane;
            at_[lane] = 0;
            logged += log_[lane].size() + left_out_[lane], kept += log_[lane].size();
        }
        if (!mask) return;
        // What did not fit is taken to be like what did.
        scale_ = double(logged) / double(kept);
        went_on_.assign(size_t(regions_.count()) * ACCESSES, {});
        previous_ = &entered_[size_t(warp) * LANES];
        warp_ = size_t(warp);
        run(mask, NOWHERE);
        for (int lane = 0; lane < LANES; ++lane)
            if (mask >> lane & 1) previous_[lane] = inside_[size_t(warp * LANES + lane)];
        for (int lane = 0; lane < LANES; ++lane)
            log_[lane].clear(), events_[lane].clear(), left_out_[lane] = 0;
        cut_ |= logged > kept;
    }
    // All warps have been finished up to where they wait. A GPU runs them side by side, so L1 is asked
    // by one after another, each for one request.
    void finish_warps() {
        for (bool more = true; more;) {
            more = false;
            for (Visits& of_warp : visits_) more |= visit_next(of_warp);
        }
        for (Visits& of_warp : visits_) {
            of_warp.requests.clear(), of_warp.sectors.clear();
            of_warp.next = of_warp.sector = 0;
        }
        sectors_kept_ = 0;
    }
    // Notes what the block did among what the launch did.
    void finish_block() {
        std::lock_guard lock(mutex_);
        launch_.cut |= cut_;
        for (auto& [key, tally] : tallies_) hand_in(tally);
        tallies_.clear();
        for (size_t block = 0; block < ends_.size(); ++block) {
            const auto& next = flow_.next(int(block));
            if (!ends_[block].requests) continue;
            Tally tally = ends_[block];
            tally.kind = BRANCH;
            sites.fill(tally.location, flow_.site(int(block)));
            // Another worker may have seen it go elsewhere.
            tally.bytes = next.size() > 1 ? -1 : int(flow_.site(next[0]));
            hand_in(tally);
            ends_[block] = {};
        }
    }

  private:
    using Mask = uint32_t;
    enum { BLOCK = 17 };
    static constexpr int REGION_SHIFT = 40, NOWHERE = -1;
    static constexpr int ACCESSES = ATOMIC + 1;
    static constexpr uint64_t WIDEST = 16;
    static constexpr size_t MAX_STEPS = 1 << 17;  // of one lane between two barriers: 2 MiB
    // of a block between two barriers, 64 MiB; of more, warps are side by side in part
    static constexpr size_t MAX_SECTORS = 1 << 23;

    struct Step {
        uint64_t at;  // an address, or a block's number
        uint32_t site;
        uint16_t bytes, kind;
    };

    // A block has its part of what the shared memory of all that are resident leaves. The driver keeps
    // 1 KiB a block for itself.
    void share_l1() {
        const size_t own = shared_ ? shared_ + 1024 : 0;
        size_t resident = size_t(std::max(launch_.resident_blocks, 1));
        if (own) resident = std::max<size_t>(std::min<size_t>(resident, launch_.l1_bytes / own), 1);
        const size_t part = launch_.l1_bytes / resident;
        l1_.resize(part > own ? part - own : 0);
    }
    void hand_in(Tally& tally) {
        const uint3& b = emu_position.block;
        const unsigned block[] = {b.x, b.y, b.z};
        memcpy(tally.location.block, block, sizeof block);
        if (launch_.tally_count == launch_.tally_capacity) launch_.cut = 1;
        else launch_.tallies[launch_.tally_count++] = tally;
    }
    void note(const Thread& me, const Step& step) {
        auto& log = log_[me.lane()];
        if (log.size() < MAX_STEPS) log.push_back(step);
        else ++left_out_[me.lane()];
    }
    const Step* next(int lane) const {
        return at_[lane] < log_[lane].size() ? &log_[lane][at_[lane]] : nullptr;
    }
    static int lowest(Mask mask) { return __builtin_ctz(mask); }

    // Runs the lanes of `mask`, which are at one place, until they are at the block `until` or at the
    // end of their logs.
    void run(Mask mask, int until) {
        for (;;) {
            straight(mask);
            for (Mask rest = mask; rest; rest &= rest - 1)
                if (!next(lowest(rest))) mask &= ~(1u << lowest(rest));
            if (!mask) return;
            mask = branch(mask, until);
            if (!mask) return;
        }
    }
    // All up to the next block; lanes in one block do the same things in the same order.
    void straight(Mask mask) {
        for (;;) {
            Mask together = 0;
            const Step* first = nullptr;
            for (Mask rest = mask; rest; rest &= rest - 1) {
                const int lane = lowest(rest);
                const Step* step = next(lane);
                if (!step || step->kind == BLOCK) continue;
                if (!first) first = step;
                if (step->site == first->site && step->kind == first->kind &&
                    step->bytes == first->bytes)
                    together |= 1u << lane;
            }
            if (!first) return;
            const Step step = *first;
            request_.count = 0, request_.bytes = step.bytes;
            for (Mask rest = together; rest; rest &= rest - 1) {
                const int lane = lowest(rest);
                request_.add(lane, log_[lane][at_[lane]++].at);
            }
            if (launch_.counted) count(step, together);
            else number_events(step, together);
        }
    }
    // What a request takes of memory, and as little as would do.
    struct Cost {
        int count = 0, least = 0;
    };
    Cost cost_of(const Step& step) {
        if (step.kind > ATOMIC) return {};
        const Region& region = regions_[int(request_.address[0] >> REGION_SHIFT)];
        if (region.constant) return {};
        if (region.shared) {
            const Wavefronts passes = wavefronts(request_, step.kind == READ);
            return {passes.count, passes.least};
        }
        return {Distinct(request_, SECTOR_BYTES).count(),
                ceil_div(distinct_bytes(request_), SECTOR_BYTES)};
    }
    // The lanes have just gone past the step. What is wider than any instruction is one event, that of
    // its last piece.
    void number_events(const Step& step, Mask together) {
        const Cost one = cost_of(step);
        pieces_.count += one.count, pieces_.least += one.least;
        bool any = false;
        for (Mask rest = together; rest; rest &= rest - 1) {
            const size_t lane = size_t(lowest(rest)), step = at_[lane] - 1;
            const int64_t event = step < events_[lane].size() ? events_[lane][step] : -1;
            if (event < 0) continue;
            Event& of_lane = launch_.events[event];
            of_lane.request = request_number_, any = true;
            of_lane.cost = pieces_.count, of_lane.least = pieces_.least;
        }
        if (!any) return;
        ++request_number_;
        pieces_ = {};
    }
    // Takes the lanes into their next blocks; returns those that then are at one place, none where
    // that is `until`.
    Mask branch(Mask mask, int until) {
        const int target = int(next(lowest(mask))->at);
        Mask same = 0;
        for (Mask rest = mask; rest; rest &= rest - 1)
            if (int(next(lowest(rest))->at) == target) same |= rest & -rest;
        const int from = previous_[lowest(mask)];
        // To call and to return is no branch.
        if (from != ControlFlow::END && !flow_.is_call(from) && !flow_.is_rest(target)) {
            if (size_t(from) >= ends_.size()) ends_.resize(size_t(flow_.count()));
            Tally& tally = ends_[size_t(from)];
            tally.requests += scale_, tally.lanes += scale_ * __builtin_popcount(mask);
            if (same != mask) tally.divergent += scale_;
        }
        if (same == mask) {
            if (target == until) return 0;
            enter(mask, target);
            return mask;
        }
        const int meet = from == ControlFlow::END ? until : flow_.post_dominator(from);
        for (Mask rest = mask; rest;) {
            const int there = int(next(lowest(rest))->at);
            Mask some = 0;
            for (Mask m = rest; m; m &= m - 1)
                if (int(next(lowest(m))->at) == there) some |= m & -m;
            rest &= ~some;
            if (there == meet) continue;
            enter(some, there);
            run(some, meet);
        }
        // Those that have come to the meeting point are about to enter it.
        Mask met = 0;
        for (Mask rest = mask; rest; rest &= rest - 1) {
            const Step* step = next(lowest(rest));
            if (step && step->kind == BLOCK && int(step->at) == meet) met |= rest & -rest;
        }
        if (!met || meet == until) return 0;
        enter(met, meet);
        return met;
    }
    void enter(Mask mask, int block) {
        for (; mask; mask &= mask - 1) {
            const int lane = lowest(mask);
            ++at_[lane];
            previous_[lane] = block;
        }
    }

    Tally& of(int kind, uint32_t site, int region, int bytes) {
        const uint64_t key = uint64_t(site) << 32 | uint64_t(region & 0xffff) << 16 |
                             uint64_t(kind) << 8 | uint64_t(bytes);
        Tally& tally = tallies_[key];
        if (!tally.requests) {
            tally.kind = kind, tally.region = region, tally.bytes = bytes;
            sites.fill(tally.location, site);
        }
        return tally;
    }
    void count(const Step& step, Mask together) {
        const bool memory = step.kind <= ATOMIC;
        const int region = memory ? int(request_.address[0] >> REGION_SHIFT) : -1;
        // Constants have a cache of their own, of which nothing is known here.
        if (memory && regions_[region].constant) return;
        Tally& tally = of(step.kind, step.site, memory ? numbers_[size_t(region)] : -1, step.bytes);
        tally.requests += scale_;
        tally.lanes += scale_ * __builtin_popcount(together);
        if (!memory) return;
        const bool shared = regions_[region].shared;
        const Wavefronts passes = wavefronts(request_, shared && step.kind == READ);
        tally.wavefronts += scale_ * passes.count;
        tally.least_wavefronts += scale_ * passes.least;
        tally.successive += scale_ * is_successive(region, step.kind);
        if (shared) return;
        Distinct sectors(request_, SECTOR_BYTES);
        tally.sectors += scale_ * sectors.count();
        tally.least_sectors += scale_ * ceil_div(distinct_bytes(request_), SECTOR_BYTES);
        tally.lines += scale_ * Distinct(request_, LINE_BYTES).count();
        Visits& mine = visits_[warp_];
        mine.sectors.insert(mine.sectors.end(), sectors.begin(), sectors.end());
        mine.requests.push_back({&tally, scale_, mine.sectors.size(), step.kind == READ});
        sectors_kept_ += size_t(sectors.count());
        if (sectors_kept_ > MAX_SECTORS) finish_warps();
    }

    // What a warp asks of L1 between two barriers.
    struct Visit {
        Tally* tally;
        double scale;
        size_t end;  // of its sectors
        bool reads;
    };
    struct Visits {
        std::vector<Visit> requests;
        std::vector<uint64_t> sectors;
        size_t next = 0, sector = 0;
    };
    // Returns whether there was one.
    bool visit_next(Visits& of_warp) {
        if (of_warp.next == of_warp.requests.size()) return false;
        const Visit& visit = of_warp.requests[of_warp.next++];
        for (; of_warp.sector < visit.end; ++of_warp.sector) {
            const uint64_t sector = of_warp.sectors[of_warp.sector];
            if (visit.reads) {
                const L1Cache::Found found = l1_.read(sector);
                visit.tally->l1_hits += visit.scale * found.hit;
                visit.tally->first += visit.scale * found.first;
            } else {
                visit.tally->first += visit.scale * l1_.write(sector);
            }
        }
        return true;
    }

    // Whether all lanes of the request begin where their last access to the array ended, and both
    // together are aligned as one of twice the width has to be.
    bool is_successive(int region, int kind) {
        auto& ended = went_on_[size_t(region * ACCESSES + kind)].ended;
        bool all = true;
        for (int i = 0; i < request_.count; ++i) {
            uint64_t& end = ended[request_.lane[i]];
            all &= request_.address[i] == end && end % (2 * request_.bytes) == request_.bytes;
            end = request_.address[i] + request_.bytes;
        }
        return all;
    }

    Launch& launch_;
    std::mutex& mutex_;
    Regions regions_;
    std::vector<int> numbers_;  // of each region in the launch's list
    size_t shared_;  // bytes of shared memory that the block has
    L1Cache l1_;
    ControlFlow flow_;
    double scale_ = 1;
    bool cut_ = false;
    std::vector<int> inside_;   // the block that each thread is in, as it is logged,
    std::vector<int> entered_;  // and as its warp is run
    struct Called {
        int caller, call;  // the block that called, and the number of its call
    };
    std::vector<std::vector<Called>> calls_;  // the functions that each thread is in
    std::vector<Step> log_[LANES];
    std::vector<int64_t> events_[LANES];  // of a traced block: that of each step, or -1
    int request_number_ = 0;
    Cost pieces_;
    size_t at_[LANES] = {}, left_out_[LANES] = {};
    int* previous_ = nullptr;  // `entered_` of the warp that is run
    struct Ends {
        uint64_t ended[LANES] = {};
    };
    std::vector<Ends> went_on_;  // since the last barrier, for each region and access
    std::vector<Visits> visits_;  // of each warp
    size_t sectors_kept_ = 0, warp_ = 0;
    Request request_;
    std::unordered_map<uint64_t, Tally> tallies_;
    std::vector<Tally> ends_;  // what happened at the end of each block
};

}  // namespace emu
