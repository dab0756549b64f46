// interruption.h -- Ctrl-C ends a launch whose kernel would go on for ever.
//
// SIGINT makes the launch fail. A worker sees that whenever its kernel calls the runtime. A kernel that
// does not, as one that spins in registers or is not watched, is left where it stands: the handler runs
// on its stack and switches to the worker's. It does so only from the kernel's own code, which holds no
// lock and owns nothing; from a function that the kernel has called it comes back a little later.
#pragma once
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <thread>
#include <vector>

#include "worker.h"

namespace emu {

// While there is one, SIGINT ends its launch. Made by the thread that Python's handlers run in.
class Interruption {
  public:
    explicit Interruption(Run& run) : run_(run) {
        if (!run.launch.interrupts) return;
        current_ = this;
        struct sigaction ours{};
        ours.sa_sigaction = handle;
        // left for another stack, the handler does not end: its signal must not be held back
        ours.sa_flags = SA_SIGINFO | SA_NODEFER;
        sigaction(SIGINT, &ours, &before_);
    }
    ~Interruption() {
        if (!run_.launch.interrupts) return;
        timer_.stop();
        sigaction(SIGINT, &before_, nullptr);
        current_ = nullptr;
    }
    Interruption(const Interruption&) = delete;

    // Lets the workers of a launch that has failed know, too.
    void pass_on(std::vector<std::thread>& workers) {
        if (run_.failed && run_.launch.interrupts)
            for (std::thread& one : workers) pthread_kill(one.native_handle(), SIGINT);
    }

  private:
    static void handle(int signal, siginfo_t* info, void* context) {
        const int error = errno;
        if (Interruption* here = current_) here->note(signal, info, context);
        if (worker) worker->leave_if_failed(Interrupted(context).pc);
        errno = error;
    }
    void note(int signal, siginfo_t* info, void* context) {
        // sent from here, to come back to a worker
        if (run_.failed) return;
        if (before_.sa_flags & SA_SIGINFO) before_.sa_sigaction(signal, info, context);
        else before_.sa_handler(signal);
        if (++count_ != run_.launch.interrupts) return;
        run_.interrupted = run_.failed = true;
        timer_.start(signal);
    }

    inline static std::atomic<Interruption*> current_{nullptr};
    Run& run_;
    struct sigaction before_{};
    RepeatedSignal timer_;
    std::atomic<int> count_{0};
};

}  // namespace emu
