// crashes.h -- a kernel that crashes ends its launch, and not the process.
//
// While a launch runs, the signals of a crash come here. If it was the kernel that crashed, its worker
// leaves it where it stands, as interruption.h says; any other goes where it went before.
#pragma once
#include <signal.h>

#include "worker.h"

namespace emu {

constexpr int CRASHES[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// While there is one, the signals come to `handle`. Launches may overlap, each of another thread.
class Crashes {
  public:
    Crashes() {
        std::lock_guard lock(mutex_);
        if (launches_++) return;
        struct sigaction ours{};
        ours.sa_sigaction = handle;
        // left for another stack, the handler does not end: its signal must not be held back
        ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
        for (const int signal : CRASHES) sigaction(signal, &ours, &before_[signal]);
    }
    ~Crashes() {
        std::lock_guard lock(mutex_);
        if (--launches_) return;
        for (const int signal : CRASHES) sigaction(signal, &before_[signal], nullptr);
    }
    Crashes(const Crashes&) = delete;

  private:
    static void handle(int signal, siginfo_t* info, void* context) {
        const bool sent = info->si_code <= 0;
        if (worker && !sent) worker->leave_if_crashed(signal, *info, context);
        // What crashed does so again, and a signal that was sent is sent again.
        sigaction(signal, &before_[signal], nullptr);
        if (sent) raise(signal);
    }

    inline static std::mutex mutex_;
    inline static int launches_ = 0;
    inline static struct sigaction before_[NSIG];
};

// The stack of the handler, in one of the machine's threads: its own may be what is used up.
class CrashStack {
  public:
    CrashStack() {
        stack_t ours{};
        ours.ss_sp = memory_, ours.ss_size = sizeof memory_;
        sigaltstack(&ours, &before_);
    }
    ~CrashStack() { sigaltstack(&before_, nullptr); }
    CrashStack(const CrashStack&) = delete;

  private:
    stack_t before_{};
    alignas(16) char memory_[64 << 10];
};

// Asked by the handler of a signal. The kernel's code holds no lock and owns nothing; nor does a function
// without a frame that it has called, as memcpy is one.
inline void Worker::leave_if_crashed(int signal, const siginfo_t& info, const void* context) {
    if (!current_ || !current_->fibre) return;
    const Fibre& fibre = *current_->fibre;
    const Interrupted at(context);
    const auto* const top = static_cast<const char*>(at.stack);
    const auto* const address = static_cast<const char*>(info.si_addr);
    if (top < fibre.stack - fibre.guard || top >= fibre.stack + STACK_BYTES) return;
    const bool touched = signal == SIGSEGV || signal == SIGBUS;
    const bool full = touched && address >= fibre.stack - fibre.guard && address < fibre.stack;
    // gone to where no code is
    const bool lost = touched && address == at.pc;
    const void* pc = at.pc;
    if (!run_.code.holds(pc) && !lost) {
        pc = top >= fibre.stack ? at.returns_to() : nullptr;
        if (!run_.code.holds(pc)) return;
    }
    Fault fault{};
    fault.region = -1, fault.bytes = signal;
    fault.offset = int64_t(reinterpret_cast<uintptr_t>(address));
    // lines are looked up by the address behind an instruction
    if (watching() && run_.code.holds(pc))
        fault.here.pc = sites().of_pc(static_cast<const char*>(pc) + 1);
    fail(full ? STACK_OVERFLOW : signal == SIGFPE ? BAD_DIVISION : CRASH, {}, &fault);
}

}  // namespace emu
