// run.h -- what the workers of one launch share.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include "system.h"

#include "emu/runtime.h"

namespace emu {

struct Run {
    explicit Run(Launch& l)
        : launch(l),
          blocks(l.chosen ? l.chosen_count : uint64_t(l.grid[0]) * l.grid[1] * l.grid[2]),
          code(code_of(reinterpret_cast<const void*>(l.entry))) {}

    Launch& launch;
    uint64_t blocks;  // that are to run
    const Code code;  // the kernel's, where it may be left
    std::atomic<uint64_t> next{0};
    std::atomic<bool> failed{false}, interrupted{false};
    std::mutex mutex;

    void fail(const Fault& fault) {
        std::lock_guard lock(mutex);
        if (!failed) launch.fault = fault;
        failed = true;
    }
    // One more worker is done.
    void finish() {
        std::lock_guard lock(mutex);
        ++finished_;
        changed_.notify_one();
    }
    // Waits, though not for long; returns whether so many workers are done.
    bool finished(int workers) {
        std::unique_lock lock(mutex);
        return changed_.wait_for(lock, std::chrono::milliseconds(10),
                                 [&] { return finished_ == workers; });
    }

  private:
    // To look through all libraries of the process takes longer than a small launch.
    static Code code_of(const void* entry) {
        static std::mutex mutex;
        static std::unordered_map<const void*, Code> known;
        std::lock_guard lock(mutex);
        Code& code = known[entry];
        if (!code.begin) code = code_around(entry);
        return code;
    }

    int finished_ = 0;
    std::condition_variable changed_;
};

}  // namespace emu
