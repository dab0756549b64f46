// fibre.h -- a stack that runs threads of a block, and the switch from one stack to another.
//
// A thread that waits keeps its stack; one that returns leaves it to the next. So a kernel without
// barriers runs as a plain loop on a single fibre, and one with barriers needs as many as wait.
#pragma once
#include <stdint.h>
#include <stdlib.h>

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#define EMU_UCONTEXT 1
#endif

namespace emu {

// The compiler refuses a kernel whose local variables come near this (compiler.py).
constexpr size_t STACK_BYTES = 128 << 10;

struct Fibre {
    char* stack = nullptr;
    bool idle = true;
#ifdef EMU_UCONTEXT
    ucontext_t context;
#else
    void* top = nullptr;
#endif
    ~Fibre() { free(stack); }
};

#if defined(__x86_64__)
// Saves what the calling convention lets a function rely on across a call, and nothing else.
extern "C" void emu_switch(void** save, void* load);
asm(R"(
.text
.type emu_switch, @function
emu_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size emu_switch, . - emu_switch
)");
inline void* first_frame(char* end, void (*body)()) {
    // Above the six saved registers stands the address that the final `ret` goes to; a function
    // expects the stack 8 bytes off a multiple of 16 when it is entered.
    void** frame = reinterpret_cast<void**>(end) - 8;
    for (int i = 0; i < 8; ++i) frame[i] = nullptr;
    frame[6] = reinterpret_cast<void*>(body);
    return frame;
}
#elif defined(__aarch64__)
extern "C" void emu_switch(void** save, void* load);
asm(R"(
.text
.type emu_switch, %function
emu_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size emu_switch, . - emu_switch
)");
inline void* first_frame(char* end, void (*body)()) {
    // x30, where `ret` goes, is the twelfth of the twenty saved registers.
    void** frame = reinterpret_cast<void**>(end) - 20;
    for (int i = 0; i < 20; ++i) frame[i] = nullptr;
    frame[11] = reinterpret_cast<void*>(body);
    return frame;
}
#endif

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
        fibre->stack = static_cast<char*>(aligned_alloc(64, STACK_BYTES));
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
