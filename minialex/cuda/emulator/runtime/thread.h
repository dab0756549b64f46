// thread.h -- one thread of the block that runs, and the line where it waits.
#pragma once
#include <string.h>

// before CUDA's keywords, which the standard library's headers would stumble over
#include "fibre.h"

#include "emu/runtime.h"

namespace emu {

constexpr int WARP = 32;

// A primitive and where it stands in the kernel's text.
struct Call {
    const char* what;
    const char* file;
    int line;

    // The same name mostly is the same text, at the same address.
    bool is(const Call& other) const {
        return line == other.line && (what == other.what || !strcmp(what, other.what));
    }
};

struct Thread {
    enum State : char { FRESH, READY, AT_BARRIER, IN_WARP, ASKING, SPINNING, DONE };
    State state;
    int id;
    uint3 index;
    unsigned barriers;  // passed in this block
    // How many syncs it had passed at its last fence, and at the last for other blocks, too; 0: none.
    unsigned fenced, fenced_for_others;
    const void* looked_at;  // in vain, and how often
    unsigned looks;
    int predicate;
    unsigned together;  // the lanes that asked with it who is there
    Fibre* fibre;
    Call call;  // where it waits

    int warp() const { return id / WARP; }
    int lane() const { return id % WARP; }
};

}  // namespace emu
