// system.h -- what of the runtime depends on the system and its processor.
#pragma once
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

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

// ---- the switch from one stack to another --------------------------------------------------------

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
