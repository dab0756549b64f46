// explain.h -- what went wrong in a block, and who was where.
#pragma once
#include "worker.h"

namespace emu {

inline void Worker::locate(Location& location, const Thread& thread) const {
    const uint3& b = emu_position.block;
    const unsigned block[] = {b.x, b.y, b.z};
    const unsigned index[] = {thread.index.x, thread.index.y, thread.index.z};
    for (int i = 0; i < 3; ++i) location.block[i] = block[i], location.thread[i] = index[i];
    const bool waits = thread.state == Thread::AT_BARRIER || thread.state == Thread::IN_WARP;
    if (waits) location.file = thread.call.file, location.line = thread.call.line;
}

inline Fault Worker::fault_at(FaultKind kind, const Thread& thread) const {
    Fault fault{};
    fault.kind = kind;
    fault.region = -1;
    locate(fault.here, thread);
    fault.what = thread.call.what;
    return fault;
}

// Ends the launch from within a kernel.
inline void Worker::fail(FaultKind kind, const Call& call, const Fault* more) {
    Fault fault = more ? *more : Fault{};
    if (!more) fault.region = -1;
    fault.kind = kind;
    locate(fault.here, *current_);
    if (call.what) fault.what = call.what;
    if (call.file) fault.here.file = call.file, fault.here.line = call.line;
    run_.fail(unwritten_ && kind != RACE ? *unwritten_ : fault);
    leave_for_good();
}

inline void Worker::stack_is_full(const void* pc) {
    Fault fault{};
    fault.region = -1, fault.here.pc = sites().of_pc(pc);
    fail(STACK_OVERFLOW, {}, &fault);
}

// No thread can go on, and they do not all wait at one and the same barrier.
inline void Worker::explain_stuck() {
    const auto in = [this](Thread::State state) {
        return std::find_if(threads_.begin(), threads_.end(),
                            [state](auto& t) { return t.state == state; });
    };
    const auto warp = in(Thread::IN_WARP), barrier = in(Thread::AT_BARRIER),
               done = in(Thread::DONE);
    const auto end = threads_.end();
    auto other = end;
    Fault fault{};
    if (warp != end) {
        // A lane that this lane's mask names is elsewhere.
        fault = fault_at(STUCK_WARP, *warp);
        for (const Meeting& m : meetings_[size_t(warp->warp())])
            if (const unsigned missing = m.mask & ~m.arrived & running_[size_t(warp->warp())];
                m.arrived && missing && other == end)
                other = threads_.begin() + warp->warp() * WARP + __builtin_ctz(missing);
    } else if (done != end) {
        fault = fault_at(DIVERGENT_BARRIER, *barrier);
        other = done;
    } else {
        fault = fault_at(DIVERGENT_BARRIER, *barrier);
        other = std::find_if(threads_.begin(), end, [&](auto& t) {
            return t.call.line != barrier->call.line || t.call.file != barrier->call.file;
        });
    }
    if (other != end) {
        locate(fault.other, *other);
        fault.other_what = other->state == Thread::DONE ? "has returned" : other->call.what;
    }
    run_.fail(unwritten_ ? *unwritten_ : fault);
}

inline void Worker::finish_block() {
    if (recorder_) recorder_->settle();
    if (launch_.counted) counter_->finish_block();
    if (unwritten_) run_.fail(*unwritten_);
}

}  // namespace emu
