// memory_system.h -- what one request of a warp costs: sectors and lines of global memory, wavefronts
// through the banks of shared memory, and what the L1 cache still has.
#pragma once
#include <stdint.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace emu {

constexpr int LANES = 32;
constexpr uint64_t SECTOR_BYTES = 32, LINE_BYTES = 128, WORD_BYTES = 4;
constexpr size_t BANKS = 32;

// The addresses of the lanes that take part in a request, and the bytes that each asks for.
struct Request {
    uint64_t address[LANES];
    int lane[LANES];
    int count = 0;
    uint64_t bytes = 0;

    void add(int l, uint64_t a) { lane[count] = l, address[count++] = a; }
};

// Several small numbers, each once.
class Distinct {
  public:
    // All pieces of `size` bytes that a request touches.
    Distinct(const Request& request, uint64_t size) {
        for (int i = 0; i < request.count; ++i) {
            const uint64_t a = request.address[i];
            for (uint64_t n = a / size; n <= (a + request.bytes - 1) / size; ++n) add(n);
        }
        if (!sorted_) std::sort(begin(), end_);
        end_ = std::unique(begin(), end_);
    }
    uint64_t* begin() { return numbers_; }
    uint64_t* end() { return end_; }
    int count() { return int(end_ - numbers_); }

  private:
    void add(uint64_t n) {
        if (end_ > numbers_ && n < end_[-1]) sorted_ = false;
        *end_++ = n;
    }
    // 16 bytes a lane are 4 words, or 5 where they are not aligned
    uint64_t numbers_[LANES * 5];
    uint64_t* end_ = numbers_;
    bool sorted_ = true;
};

inline int ceil_div(uint64_t n, uint64_t by) { return int((n + by - 1) / by); }

// How many bytes the lanes ask for, those that several ask for once.
inline uint64_t distinct_bytes(const Request& request) {
    return uint64_t(Distinct(request, request.bytes).count()) * request.bytes;
}

// The passes through the banks that some lanes take: as many as one bank has different words to give.
inline int passes(const Request& request, int begin, int end) {
    uint64_t words[BANKS][LANES];
    int count[BANKS] = {}, most = 0;
    for (int i = begin; i < end; ++i) {
        const uint64_t a = request.address[i];
        for (uint64_t w = a / WORD_BYTES; w <= (a + request.bytes - 1) / WORD_BYTES; ++w) {
            uint64_t* here = words[w % BANKS];
            int& n = count[w % BANKS];
            if (std::find(here, here + n, w) == here + n) here[n++] = w;
            most = std::max(most, n);
        }
    }
    return most;
}

struct Wavefronts {
    int count = 0, least = 0;  // `least` is without bank conflicts: a pass for each group of lanes
};

// Whether every lane has the address of the lane whose number differs in `bit`, or that is inactive.
inline bool pairs_agree(const Request& request, int bit) {
    uint64_t of[LANES];
    unsigned active = 0;
    for (int i = 0; i < request.count; ++i)
        of[request.lane[i]] = request.address[i], active |= 1u << request.lane[i];
    for (int lane = 0; lane < LANES; ++lane) {
        const int other = lane ^ bit;
        if ((active >> lane & 1) && (active >> other & 1) && of[lane] != of[other]) return false;
    }
    return true;
}

// The warp is served as a whole, in halves where each lane has 8 bytes, in quarters for 16: a pass
// gives at most 128 bytes to registers. Reads of shared memory are served in groups of twice that
// size where lanes agree in pairs. (NVIDIA's engineers in its developer forum, threads 77228 and
// 165293; the cases that were measured on an A100 are in tests/cuda/test_counts.py.)
inline Wavefronts wavefronts(const Request& request, bool merges) {
    int share = request.bytes <= 4 ? LANES : request.bytes <= 8 ? LANES / 2 : LANES / 4;
    if (merges && share < LANES && (pairs_agree(request, 1) || pairs_agree(request, 2))) share *= 2;
    Wavefronts sum;
    for (int begin = 0, end; begin < request.count; begin = end) {
        end = begin;
        while (end < request.count && request.lane[end] / share == request.lane[begin] / share)
            ++end;
        sum.count += passes(request, begin, end);
        ++sum.least;
    }
    return sum;
}

// The L1 cache as one block has it: lines of four sectors, the one that was used longest ago goes
// first. Reads fill it; writes go through it and leave it as it is.
class L1Cache {
  public:
    void resize(size_t bytes) { capacity_ = bytes / LINE_BYTES; }
    void clear() { lines_.clear(), used_.clear(), oldest_ = 0, count_held_ = 0; }

    struct Found {
        bool hit, first;
    };
    Found read(uint64_t sector) {
        Line& line = touch(sector);
        const uint8_t bit = bit_of(sector);
        const Found found{(line.held & bit) != 0, (line.read & bit) == 0};
        line.held |= bit, line.read |= bit;
        return found;
    }
    // Returns whether the block writes this sector for the first time.
    bool write(uint64_t sector) {
        Line& line = lines_[sector / (LINE_BYTES / SECTOR_BYTES)];
        const bool first = !(line.written & bit_of(sector));
        line.written |= bit_of(sector);
        return first;
    }

  private:
    struct Line {
        uint64_t used = 0;
        uint8_t held = 0, read = 0, written = 0;  // sectors, as bits
    };
    static uint8_t bit_of(uint64_t sector) {
        return uint8_t(1u << sector % (LINE_BYTES / SECTOR_BYTES));
    }
    // Marks a line as used now, and lets go of one where there are too many.
    Line& touch(uint64_t sector) {
        const uint64_t number = sector / (LINE_BYTES / SECTOR_BYTES);
        Line& line = lines_[number];
        if (!line.held) ++count_held_;
        line.used = used_.size();
        used_.push_back(number);
        while (count_held_ > capacity_ && oldest_ < used_.size()) {
            const size_t at = oldest_++;
            Line& old = lines_[used_[at]];
            // an entry that was used again since is not its last use
            if (old.used == at && old.held && &old != &line) old.held = 0, --count_held_;
        }
        return line;
    }

    size_t capacity_ = 0, count_held_ = 0;
    std::unordered_map<uint64_t, Line> lines_;
    std::vector<uint64_t> used_;  // lines in the order of their uses
    size_t oldest_ = 0;
};

}  // namespace emu
