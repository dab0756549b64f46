// checker.h -- checks each access of a checked launch: is it inside an array, aligned, of written
// memory, and ordered against those of all other threads?
#pragma once
#include <dlfcn.h>

#include <vector>

#include "shadow.h"

namespace emu {

// Where an access stands in the code. Compiled accesses have an address in the module; those that
// go through a function of the emulator have a file and a line. Both fit the 32 bits of a visit.
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
    static const void* base_of(const void* address) {
        Dl_info info;
        return dladdr(address, &info) ? info.dli_fbase : nullptr;
    }
    const void* module_;
    std::vector<Call> lines_;
};

class Checker {
  public:
    Checker(Launch& launch, const void* code) : sites(code), launch_(launch) {
        for (int i = 0; i < launch.region_count; ++i) add_shadow(launch.regions[i]);
    }

    Sites sites;
    Order order;

    // Returns the region's index, or -1 where the launch has more than it can tell of.
    int add_shared(const char* name, char* base, size_t bytes, ElementType element_type) {
        if (launch_.region_count == launch_.region_capacity) return -1;
        Region& region = launch_.regions[launch_.region_count];
        region = {base, bytes, element_type, 1, {}};
        for (size_t i = 0; i + 1 < sizeof region.name && name[i]; ++i) region.name[i] = name[i];
        add_shadow(region);
        return launch_.region_count++;
    }

    // Returns whether the access is right; `fault` says what it touches, and what is wrong if not.
    bool check(const Thread& me, char* address, size_t bytes, Access access, uint32_t site,
               Fault& fault) {
        fault.access = access, fault.bytes = int(bytes);
        sites.fill(fault.here, site);
        const int region = find(address, bytes);
        if (region < 0) {
            if (sites.in_module(address)) return fault.region = -1, true;
            locate(address, fault);
            return fault.kind = OUT_OF_BOUNDS, false;
        }
        fault.region = region;
        fault.offset = address - launch_.regions[region].base;
        const bool power_of_two = (bytes & (bytes - 1)) == 0;
        if (power_of_two && (reinterpret_cast<uintptr_t>(address) & (bytes - 1)))
            return fault.kind = MISALIGNED, false;
        const bool shared = launch_.regions[region].shared;
        if (access == ATOMIC && !shared) order.atomic(address, me);
        return visit(me, shared, shadows_[size_t(region)], access, site, fault);
    }

  private:
    void add_shadow(const Region& region) {
        shadows_.emplace_back(region.bytes, size_t(region.element_type.bytes));
    }
    int find(const char* address, size_t bytes) {
        const auto inside = [&](int i) {
            const Region& r = launch_.regions[i];
            return address >= r.base && address + bytes <= r.base + r.bytes;
        };
        if (last_ < launch_.region_count && inside(last_)) return last_;
        for (int i = 0; i < launch_.region_count; ++i)
            if (inside(i)) return last_ = i;
        return -1;
    }
    // The array that lies closest is the one that was meant.
    void locate(const char* address, Fault& fault) {
        uint64_t closest = 1 << 24;
        fault.region = -1;
        fault.offset = int64_t(reinterpret_cast<uintptr_t>(address));
        for (int i = 0; i < launch_.region_count; ++i) {
            const Region& r = launch_.regions[i];
            const char* end = r.base + r.bytes;
            const uint64_t distance = address < r.base ? uint64_t(r.base - address)
                                      : address > end  ? uint64_t(address - end)
                                                       : 0;
            if (distance < closest)
                closest = distance, fault.region = i, fault.offset = address - r.base;
        }
    }

    bool visit(const Thread& me, bool shared, Shadow& shadow, Access access, uint32_t site,
               Fault& fault) {
        const size_t first = size_t(fault.offset), end = first + size_t(fault.bytes);
        if (size_t(fault.bytes) < shadow.grain()) shadow.refine(size_t(fault.bytes));
        for (size_t at = first; at < end; at += shadow.grain()) {
            Cell& cell = shadow.cell(at);
            // Shared memory begins anew with each block: what other blocks left there is nothing.
            const auto counts = [&](const Visit& v) {
                return v.block && (!shared || v.block == order.block());
            };
            if (shared && access != WRITE && !counts(cell.write) && !counts(cell.atomic[0]))
                return fault.offset = int64_t(at), fault.kind = UNINITIALISED, false;
            const Visit* other = nullptr;
            const auto against = [&](const Visit& v, Access kind) {
                if (!other && counts(v) && !order.before(v, me))
                    other = &v, fault.other_access = kind;
            };
            against(cell.write, WRITE);
            for (const Visit& v : cell.read)
                if (access != READ) against(v, READ);
            for (const Visit& v : cell.atomic)
                if (access != ATOMIC) against(v, ATOMIC);
            if (other) return race(*other, at, fault);
            const Visit mine = order.visit(me, site);
            if (access == WRITE) cell.write = mine;
            else keep(access == READ ? cell.read : cell.atomic, mine, me);
        }
        return true;
    }
    bool race(const Visit& other, size_t at, Fault& fault) {
        fault.kind = RACE, fault.offset = int64_t(at);
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

    Launch& launch_;
    std::vector<Shadow> shadows_;
    int last_ = 0;
};

}  // namespace emu
