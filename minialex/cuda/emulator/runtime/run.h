// run.h -- what the workers of one launch share.
#pragma once
#include <atomic>
#include <mutex>

#include "emu/runtime.h"

namespace emu {

struct Run {
    explicit Run(Launch& l)
        : launch(l),
          blocks(l.counted ? l.chosen_count : uint64_t(l.grid[0]) * l.grid[1] * l.grid[2]) {}

    Launch& launch;
    uint64_t blocks;  // that are to run
    std::atomic<uint64_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;

    void fail(const Fault& fault) {
        std::lock_guard lock(mutex);
        if (!failed) launch.fault = fault;
        failed = true;
    }
};

}  // namespace emu
