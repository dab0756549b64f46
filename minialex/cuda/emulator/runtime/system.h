// system.h -- what of the runtime depends on the system and its processor.
#pragma once
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <new>
#if defined(__linux__)
#include <link.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#endif

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#define EMU_UCONTEXT 1
#endif

namespace emu {

// Where the library that an address is in begins, null where it is in none.
inline const void* base_of(const void* address) {
    Dl_info info;
    return dladdr(address, &info) ? info.dli_fbase : nullptr;
}

// The instructions of a library.
struct Code {
    const char *begin = nullptr, *end = nullptr;
    bool holds(const void* address) const { return address >= begin && address < end; }
};

// ---- signals: on Linux; elsewhere no code is known to be a kernel's, and nothing is repeated ------

#if defined(__linux__)
inline int find_code(dl_phdr_info* library, size_t, void* found) {
    Code& code = *static_cast<Code*>(found);
    for (int i = 0; i < library->dlpi_phnum; ++i) {
        const ElfW(Phdr)& part = library->dlpi_phdr[i];
        const char* begin = reinterpret_cast<const char*>(library->dlpi_addr + part.p_vaddr);
        const bool executes = part.p_type == PT_LOAD && (part.p_flags & PF_X);
        if (executes && code.begin >= begin && code.begin < begin + part.p_memsz)
            return code = {begin, begin + part.p_memsz}, 1;
    }
    return 0;
}
inline Code code_around(const void* address) {
    Code code{static_cast<const char*>(address)};
    return dl_iterate_phdr(find_code, &code) ? code : Code{};
}
// What the machine's thread was about to do when a signal came, by what its handler was given.
struct Interrupted {
    explicit Interrupted(const void* context) {
        const mcontext_t& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
        pc = reinterpret_cast<const void*>(machine.gregs[REG_RIP]);
        stack = reinterpret_cast<const void*>(machine.gregs[REG_RSP]);
#elif defined(__aarch64__)
        pc = reinterpret_cast<const void*>(machine.pc);
        stack = reinterpret_cast<const void*>(machine.sp);
        link = reinterpret_cast<const void*>(machine.regs[30]);
#else
        (void)machine;
#endif
    }
    const void *pc = nullptr, *stack = nullptr, *link = nullptr;
    // Where a function goes back to that has no frame of its own.
    const void* returns_to() const {
#if defined(__x86_64__)
        return *static_cast<const void* const*>(stack);
#else
        return link;
#endif
    }
};
// Sends the process a signal again and again. A handler may start it: these are calls of the system,
// not those of the C library, which are not said to be safe there.
class RepeatedSignal {
  public:
    void start(int signal) {
        sigevent event{};
        event.sigev_notify = SIGEV_SIGNAL, event.sigev_signo = signal;
        const itimerspec each{{0, NANOSECONDS}, {0, NANOSECONDS}};
        there_ = syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer_) == 0;
        if (there_) syscall(SYS_timer_settime, timer_, 0, &each, nullptr);
    }
    void stop() {
        if (there_) syscall(SYS_timer_delete, timer_);
    }

  private:
    static constexpr long NANOSECONDS = 5'000'000;
    bool there_ = false;
    int timer_ = 0;
};
#else
inline Code code_around(const void*) { return {}; }
struct Interrupted {
    explicit Interrupted(const void*) {}
    const void *pc = nullptr, *stack = nullptr;
    const void* returns_to() const { return nullptr; }
};
struct RepeatedSignal {
    void start(int) {}
    void stop() {}
};
#endif

// ---- stacks --------------------------------------------------------------------------------------

// Returns `bytes` of memory above `guard` bytes that may not be touched.
inline char* map_stack(size_t guard, size_t bytes) {
    const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
    void* const all = mmap(nullptr, guard + bytes, PROT_READ | PROT_WRITE, kind, -1, 0);
    if (all == MAP_FAILED) throw std::bad_alloc();
    if (guard) mprotect(all, guard, PROT_NONE);
    return static_cast<char*>(all) + guard;
}
inline void unmap_stack(char* stack, size_t guard, size_t bytes) {
    munmap(stack - guard, guard + bytes);
}


// The head of a function in assembly. In Mach-O names have an underscore, and functions no type.
#if defined(__APPLE__)
#define EMU_FUNCTION(name) ".text\n.p2align 4\n_" name ":\n"
#elif defined(__aarch64__)
#define EMU_FUNCTION(name) ".text\n.type " name ", %function\n" name ":\n"
#else
#define EMU_FUNCTION(name) ".text\n.type " name ", @function\n" name ":\n"
#endif

#if defined(__x86_64__)
// Saves what the calling convention lets a function rely on across a call, and nothing else.
extern "C" void emu_switch(void** save, void* load);
asm(EMU_FUNCTION("emu_switch") R"(
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
asm(EMU_FUNCTION("emu_switch") R"(
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
)");
inline void* first_frame(char* end, void (*body)()) {
    // x30, where `ret` goes, is the twelfth of the twenty saved registers.
    void** frame = reinterpret_cast<void**>(end) - 20;
    for (int i = 0; i < 20; ++i) frame[i] = nullptr;
    frame[11] = reinterpret_cast<void*>(body);
    return frame;
}
#endif

}  // namespace emu
