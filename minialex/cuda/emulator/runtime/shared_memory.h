// shared_memory.h -- the shared memory of one block: arrays placed as they are first met.
#pragma once
#include <string.h>

#include <algorithm>
#include <vector>

#include "emu/runtime.h"

namespace emu {

constexpr size_t STATIC_LIMIT = 48 << 10;
// What a GPU's compiler happens to place all arrays at, and kernels rely on: no float4 is misaligned.
constexpr size_t USUAL_ALIGNMENT = 16;
constexpr unsigned char POISON = 0xff;  // NaN as float, double, half and bfloat16; -1 as integer

class SharedMemory {
  public:
    // `zone` bytes are left free on both sides of each array, so that a step past its end is seen.
    // An array is aligned to `least` bytes, whatever it is declared as.
    SharedMemory(size_t dynamic_bytes, size_t limit, size_t zone, size_t least)
        : zone_(zone),
          least_(least),
          static_limit_(std::min(STATIC_LIMIT, limit - dynamic_bytes)),
          dynamic_(dynamic_bytes + 2 * zone + 256) {
        dynamic_place_ = align(dynamic_.data() + zone, 128);
        dynamic_bytes_ = dynamic_bytes;
    }

    void poison() {
        for (const Array& array : arrays_) memset(array.address, POISON, array.bytes);
        memset(dynamic_place_, POISON, dynamic_bytes_);
    }
    char* find(const void* key) const {
        for (const Array& array : arrays_)
            if (array.key == key) return array.address;
        return nullptr;
    }
    // Returns null where the block would have more than a device gives it.
    char* add(const void* key, size_t bytes, size_t alignment) {
        if (static_.empty()) static_.resize(2 * STATIC_LIMIT);
        used_ = (used_ + alignment - 1) / alignment * alignment + bytes;
        alignment = std::max(alignment, least_);
        char* address = align(arrays_.empty() ? static_.data() : arrays_.back().end(), alignment);
        if (zone_) {
            // An odd multiple of its alignment, so that a wider access than that is seen.
            address = align(address + zone_, 2 * alignment) + alignment;
        }
        if (used_ > static_limit_ || address + bytes + zone_ > static_.data() + static_.size())
            return nullptr;
        memset(address, POISON, bytes);
        arrays_.push_back({key, address, bytes});
        return address;
    }
    char* dynamic() const { return dynamic_place_; }
    // Addresses keep what is left of a pointer by 1024, which swizzled layouts ask for.
    bool holds(const void* p) const { return in(static_, p) || in(dynamic_, p); }
    unsigned address_of(const void* p) const {
        const char* at = static_cast<const char*>(p);
        return unsigned(in(static_, p) ? at - origin(static_) : at - origin(dynamic_) + DYNAMIC_BASE);
    }
    char* at(unsigned address) const {
        return address < DYNAMIC_BASE ? origin(static_) + address
                                      : origin(dynamic_) + (address - DYNAMIC_BASE);
    }
    size_t dynamic_bytes() const { return dynamic_bytes_; }
    // What arrays of a fixed size may take: no more than dynamic memory leaves of a block's share.
    size_t static_limit() const { return static_limit_; }

  private:
    struct Array {
        const void* key;
        char* address;
        size_t bytes;
        char* end() const { return address + bytes; }
    };
    static constexpr unsigned ORIGIN_ALIGNMENT = 1024;
    static constexpr unsigned DYNAMIC_BASE = 2 * STATIC_LIMIT + ORIGIN_ALIGNMENT;
    static bool in(const std::vector<char>& memory, const void* p) {
        return p >= memory.data() && p < memory.data() + memory.size();
    }
    static char* origin(const std::vector<char>& memory) {
        return reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(memory.data()) &
                                       ~uintptr_t(ORIGIN_ALIGNMENT - 1));
    }
    static char* align(char* p, size_t alignment) {
        return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(p) + alignment - 1) /
                                       alignment * alignment);
    }

    size_t zone_, least_, static_limit_, used_ = 0, dynamic_bytes_ = 0;
    std::vector<Array> arrays_;
    std::vector<char> static_, dynamic_;
    char* dynamic_place_;
};

}  // namespace emu
