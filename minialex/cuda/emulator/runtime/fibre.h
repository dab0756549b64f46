// fibre.h -- a stack that runs threads of a block, and the switch from one stack to another.
//
// A thread that waits keeps its stack; one that returns leaves it to the next. So a kernel without
// barriers runs as a plain loop on a single fibre, and one with barriers needs as many as wait.
#pragma once
#include <stdint.h>

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "system.h"

namespace emu {

// The compiler refuses a kernel whose local variables come near this (compiler.py).
constexpr size_t STACK_BYTES = 128 << 10;
// What is left of it for the runtime, with which it may be called.
constexpr size_t STACK_RESERVE = 16 << 10;
// A stack that overflows comes to memory that may not be touched: more of it than the variables of one
// function, which is not stepped over.
constexpr size_t GUARD_BYTES = STACK_BYTES;
// So many fibres of a worker have such memory: it is a mapping of its own, of which a process has
// 65,530. Threads are at one and the same place of a kernel, and the first ones are there first.
constexpr size_t GUARDED_FIBRES = 64;

struct Fibre {
    char* stack = nullptr;
    size_t guard = 0;  // bytes below it
    bool idle = true;
#ifdef EMU_UCONTEXT
    ucontext_t context;
#else
    void* top = nullptr;
#endif
    ~Fibre() { unmap_stack(stack, guard, STACK_BYTES); }
};

// The fibres of one worker, and the stack of the worker itself.
class Fibres {
  public:
    // Returns a fibre that runs no thread; switched to, it calls `body`, which must not return.
    Fibre& idle(void (*body)()) {
        while (first_idle_ < all_.size() && !all_[first_idle_].idle) ++first_idle_;
        if (first_idle_ == all_.size()) add(body);
        return all_[first_idle_];
    }
    void note_idle(Fibre& fibre) { fibre.idle = true, first_idle_ = 0; }

    void enter(Fibre& fibre) {
#ifdef EMU_UCONTEXT
        swapcontext(&home_, &fibre.context);
#else
        emu_switch(&home_, fibre.top);
#endif
    }
    void leave(Fibre& fibre) {
#ifdef EMU_UCONTEXT
        swapcontext(&fibre.context, &home_);
#else
        emu_switch(&fibre.top, home_);
#endif
    }

  private:
    void add(void (*body)()) {
        // A deque, so that a fibre stays where it is when others are added.
        Fibre* fibre = &all_.emplace_back();
        fibre->guard = all_.size() <= GUARDED_FIBRES ? GUARD_BYTES : 0;
        fibre->stack = map_stack(fibre->guard, STACK_BYTES);
        // Stacks that all began at the same offset in a page would fight for the same cache lines.
        char* end = fibre->stack + STACK_BYTES - all_.size() % 16 * 192;
#ifdef EMU_UCONTEXT
        getcontext(&fibre->context);
        fibre->context.uc_stack.ss_sp = fibre->stack;
        fibre->context.uc_stack.ss_size = size_t(end - fibre->stack);
        fibre->context.uc_link = nullptr;
        makecontext(&fibre->context, body, 0);
#else
        fibre->top = first_frame(end, body);
#endif
    }

    std::deque<Fibre> all_;
    size_t first_idle_ = 0;
#ifdef EMU_UCONTEXT
    ucontext_t home_;
#else
    void* home_ = nullptr;
#endif
};

// Fibres are kept from launch to launch: making a stack costs more than running a small block.
class FibrePool {
  public:
    std::unique_ptr<Fibres> take() {
        std::lock_guard lock(mutex_);
        if (free_.empty()) return std::make_unique<Fibres>();
        auto fibres = std::move(free_.back());
        free_.pop_back();
        return fibres;
    }
    void give_back(std::unique_ptr<Fibres> fibres) {
        std::lock_guard lock(mutex_);
        free_.push_back(std::move(fibres));
    }

  private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Fibres>> free_;
};

}  // namespace emu
