// regions.h -- the arrays that a kernel may touch, and which of them an address is in.
#pragma once
#include <vector>

#include "system.h"
#include "thread.h"

namespace emu {

// Where an access stands in the code. Compiled accesses have an address in the module; those that
// go through a function of the emulator have a file and a line. Both fit 32 bits.
class Sites {
  public:
    explicit Sites(const void* code) { module_ = base_of(code); }
    uint32_t of_pc(const void* pc) const {
        return uint32_t(static_cast<const char*>(pc) - static_cast<const char*>(module_));
    }
    uint32_t of_line(const char* file, int line) {
        for (size_t i = 0; i < lines_.size(); ++i)
            if (lines_[i].file == file && lines_[i].line == line) return LINE | uint32_t(i);
        lines_.push_back({nullptr, file, line});
        return LINE | uint32_t(lines_.size() - 1);
    }
    void fill(Location& location, uint32_t site) const {
        location.pc = site & LINE ? 0 : site;
        location.file = site & LINE ? lines_[site & ~LINE].file : nullptr;
        location.line = site & LINE ? lines_[site & ~LINE].line : 0;
    }
    // Whether an address is that of a constant or variable of the module itself.
    bool in_module(const void* address) const { return base_of(address) == module_; }

  private:
    static constexpr uint32_t LINE = 0x80000000u;
    const void* module_;
    std::vector<Call> lines_;
};

// An access that a thread is about to make.
struct Attempt {
    char* address;
    size_t bytes;
    Access access;
    uint32_t site;
    bool whole = true;  // it is made as one, and has to be aligned as such
    bool is_volatile = false, exchanges = false;
};

inline Region shared_region(const char* name, char* base, size_t bytes, ElementType element_type) {
    Region region{base, bytes, element_type, 1, 0, 0, 0, 0, {}};
    for (size_t i = 0; i + 1 < sizeof region.name && name[i]; ++i) region.name[i] = name[i];
    return region;
}

class Regions {
  public:
    explicit Regions(const Launch& launch)
        : all_(launch.regions, launch.regions + launch.array_count) {}

    const Region& operator[](int i) const { return all_[size_t(i)]; }
    int count() const { return int(all_.size()); }
    void add(const Region& region) { all_.push_back(region); }

    // The index of the region that holds all of an access, -1 for none.
    int find(const char* address, size_t bytes) {
        const auto inside = [&](int i) {
            const Region& r = all_[size_t(i)];
            return address >= r.base && address + bytes <= r.base + r.bytes;
        };
        if (last_ < count() && inside(last_)) return last_;
        for (int i = 0; i < count(); ++i)
            if (inside(i)) return last_ = i;
        return -1;
    }
    // Whether a GPU takes an access: it is in an array, aligned, and no misuse of a constant. `fault`
    // says what it touches, region -1 for the module's own data, and what is wrong if not.
    bool takes(const Attempt& a, const Sites& sites, Fault& fault) {
        fault.access = a.access, fault.bytes = int(a.bytes);
        sites.fill(fault.here, a.site);
        fault.region = find(a.address, a.bytes);
        if (fault.region < 0) {
            if (sites.in_module(a.address) && !is_beside_variable(a.address)) return true;
            return locate(a.address, fault), fault.kind = OUT_OF_BOUNDS, false;
        }
        const Region& r = all_[size_t(fault.region)];
        fault.offset = a.address - r.base;
        if (a.whole && is_misaligned(r, a)) return fault.kind = MISALIGNED, false;
        if (r.constant && a.access != READ) return fault.kind = WRITTEN_CONSTANT, false;
        if (r.unfilled && a.access == READ) return fault.kind = UNFILLED_CONSTANT, false;
        return true;
    }

  private:
    // NumPy aligns arrays less than CUDA does: an argument's address is counted from where CUDA would
    // have put it.
    static bool is_misaligned(const Region& r, const Attempt& a) {
        const uint64_t at = r.shared ? reinterpret_cast<uintptr_t>(a.address)
                                     : uint64_t(r.phase) + uint64_t(a.address - r.base);
        const bool power_of_two = (a.bytes & (a.bytes - 1)) == 0;
        return power_of_two && (at & (a.bytes - 1));
    }
    // Whether an address in the module is in no array because it is past the end of a variable.
    bool is_beside_variable(const char* address) const {
        for (const Region& r : all_)
            if (r.margin && address >= r.base - r.margin && address < r.base + r.bytes + r.margin)
                return true;
        return false;
    }
    // The array that lies closest is the one that was meant.
    void locate(const char* address, Fault& fault) const {
        uint64_t closest = 1 << 24;
        fault.region = -1;
        fault.offset = int64_t(reinterpret_cast<uintptr_t>(address));
        for (int i = 0; i < count(); ++i) {
            const Region& r = all_[size_t(i)];
            const char* end = r.base + r.bytes;
            const uint64_t distance = address < r.base ? uint64_t(r.base - address)
                                      : address > end  ? uint64_t(address - end)
                                                       : 0;
            if (distance < closest)
                closest = distance, fault.region = i, fault.offset = address - r.base;
        }
    }

    std::vector<Region> all_;
    int last_ = 0;
};

}  // namespace emu
