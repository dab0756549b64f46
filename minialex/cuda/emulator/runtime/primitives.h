// primitives.h -- what a kernel asks of its worker: barriers, primitives of a warp, shared memory, and
// that its accesses be watched.
#pragma once
#include <string.h>

#include "worker.h"

namespace emu {

// A primitive is a step of the threads that are counted.
inline void Worker::count(int kind, const Call& call) {
    if (counter_) counter_->primitive(*current_, kind, counter_->sites.of_line(call.file, call.line));
}

inline int Worker::barrier(int predicate, int fold, const Call& call) {
    count(EVENT_BARRIER, call);
    if (counter_) counter_->wait_at_barrier(*current_);
    if (recorder_ && recorder_->follows(*current_)) recorder_->call(*current_, EVENT_BARRIER, call);
    current_->predicate = predicate != 0;
    if (waiting_++ == 0) first_ = call, one_barrier_ = true;
    // The same text is at the same address: names need not be compared.
    else one_barrier_ &= first_.line == call.line && first_.file == call.file;
    wait(Thread::AT_BARRIER, call);
    switch (fold) {
        case FOLD_COUNT: return ones_;
        case FOLD_AND: return ones_ == count_;
        case FOLD_OR: return ones_ > 0;
        default: return 0;
    }
}

inline Lanes* Worker::meet(unsigned mask, const void* value, size_t bytes, const Call& call) {
    Thread& me = *current_;
    if (!(mask >> me.lane() & 1)) fail(NOT_IN_MASK, call);
    count(EVENT_WARP, call);
    auto& meetings = meetings_[size_t(me.warp())];
    auto found =
        std::find_if(meetings.begin(), meetings.end(), [mask](auto& m) { return m.mask == mask; });
    if (found == meetings.end()) found = meetings.insert(meetings.end(), Meeting(mask));
    Meeting& meeting = *found;
    const Call& others = meeting.call;
    if (meeting.arrived && !others.is(call)) {
        Fault fault{};
        const int other = __builtin_ctz(meeting.arrived);
        locate(fault.other, threads_[size_t(me.warp() * WARP + other)]);
        fault.other_what = others.what;
        fail(MIXED_PRIMITIVES, call, &fault);
    }
    meeting.call = call, meeting.orders = !bytes;
    Lanes& lanes = meeting.lanes[meeting.number & 1];
    lanes.settled = false;
    if (bytes) memcpy(lanes.value[me.lane()], value, bytes);
    meeting.arrived |= 1u << me.lane();
    end_if_complete(me.warp(), meeting);
    if (meeting.arrived) wait(Thread::IN_WARP, call);
    return &lanes;
}

// A meeting waits for all lanes of its mask that have not returned.
inline void Worker::end_if_complete(int warp, Meeting& meeting) {
    if (!meeting.arrived || meeting.arrived != (meeting.mask & running_[size_t(warp)])) return;
    Lanes& lanes = meeting.lanes[meeting.number & 1];
    lanes.took_part = meeting.arrived, lanes.existing = existing(warp);
    for (unsigned rest = meeting.arrived; rest; rest &= rest - 1)
        threads_[size_t(warp * WARP + __builtin_ctz(rest))].state = Thread::READY;
    if (meeting.orders && checker_) checker_->order.join(warp, meeting.arrived);
    meeting.arrived = 0;
    ++meeting.number;
}

inline void Worker::warp_barrier(unsigned mask, const Call& call) {
    int64_t event = -1;
    if (recorder_ && recorder_->follows(*current_))
        recorder_->call(*current_, EVENT_BARRIER, call), event = recorder_->last();
    meet(mask, nullptr, 0, call);
    recorded(event);
}

inline unsigned Worker::lanes_together(const Call& call) {
    wait(Thread::ASKING, call);
    return current_->together;
}

inline void* Worker::new_shared(const void* key, const char* name, size_t bytes, size_t align,
                                ElementType element_type) {
    char* address = shared_.add(key, bytes, align);
    if (!address) {
        Fault fault{};
        fault.bytes = int(shared_.static_limit());
        fail(TOO_MUCH_SHARED, {name, nullptr, 0}, &fault);
    }
    if (checker_) checker_->add_shared(name, address, bytes, element_type);
    if (whole_) whole_->add_shared(name, address, bytes, element_type);
    return address;
}

inline void* Worker::dynamic_shared(const char* name, ElementType element_type) {
    if (!has_dynamic_) {
        has_dynamic_ = true;
        char* const base = shared_.dynamic();
        if (checker_) checker_->add_shared(name, base, shared_.dynamic_bytes(), element_type);
        if (whole_) whole_->add_shared(name, base, shared_.dynamic_bytes(), element_type);
    }
    return shared_.dynamic();
}

inline void Worker::watch(const Attempt& attempt) {
    if (run_.failed.load(std::memory_order_relaxed)) leave_for_good();
    const char* p = attempt.address;
    const char* stack = current_->fibre->stack;
    const char* position = reinterpret_cast<const char*>(&emu_position);
    if ((p >= stack && p < stack + STACK_BYTES) ||
        (p >= position && p < position + sizeof emu_position))
        return;
    const bool looks = attempt.is_volatile && attempt.access == READ;
    if (looks) look(p);
    if (!checker_) {
        if (!counter_->access(*current_, attempt, sites(), seen_))
            fail(FaultKind(seen_.kind), {}, &seen_);
        return;
    }
    settle(&attempt);
    if (!looks && attempt.access != ATOMIC) vain_looks_ = 0;
    if (checker_->check(*current_, attempt, seen_)) {
        if (looks && is_endless()) fail(ENDLESS_WAIT, {}, &seen_);
        if (seen_.region < 0 || !recorder_ || !recorder_->follows(*current_)) return;
        recorder_->access(*current_, p, seen_);
        if (counter_) counter_->access(*current_, attempt, sites(), seen_);
        recorded(recorder_->last());
    } else if (seen_.kind == UNINITIALISED) {
        // A later, unordered write makes this a race: a better explanation.
        if (unwritten_) return;
        unwritten_ = std::make_unique<Fault>(seen_);
        locate(unwritten_->here, *current_);
    } else {
        fail(FaultKind(seen_.kind), {}, &seen_);
    }
}

inline void Worker::fence(bool to_others) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (checker_) checker_->order.fence(*current_, to_others);
}

inline void Worker::changed(const void* address) {
    vain_looks_ = 0;
    if (checker_ && current_->fenced)
        checker_->order.hand_on(address, shared_.holds(address), *current_);
}
inline void Worker::unchanged(const void* address) {
    if (is_endless()) fail(ENDLESS_WAIT, {}, &seen_);
    look(address);
}

// A thread looks at what others may change. After some time it gives way to them: the one that it waits
// for may be one that itself waits, for its warp or for its turn.
inline void Worker::look(const void* address) {
    Thread& me = *current_;
    if (me.looked_at != address) me.looked_at = address, me.looks = 0;
    ++vain_looks_;
    if (++me.looks >= LOOKS) give_way();
}

inline void Worker::copy_later(Copy copy, const Call& call) {
    if (watching()) {
        copy.site = sites().of_line(call.file, call.line);
        if (copy.filled) watch({const_cast<char*>(copy.from), copy.filled, READ, copy.site});
        const Attempt landing{copy.to, copy.bytes, WRITE, copy.site};
        if (!checker_) watch(landing);
        else if (!checker_->check(*current_, landing, seen_, true))
            fail(FaultKind(seen_.kind), {}, &seen_);
    }
    copies_.add(*current_, copy);
}

inline void Worker::wait_for_copies(unsigned pending) {
    settle();
    copies_.wait(*current_, pending, [this](const Copy& copy) {
        if (checker_) {
            checker_->land(*current_, copy.to, copy.bytes, copy.site, seen_);
            if (recorder_ && recorder_->follows(*current_))
                recorder_->access(*current_, copy.to, seen_), recorded(recorder_->last());
        }
        memcpy(copy.to, copy.from, copy.filled);
        memset(copy.to + copy.filled, 0, copy.bytes - copy.filled);
    });
}

inline unsigned Worker::shared_address(const void* p, const Call& call) {
    if (!shared_.holds(p)) fail(TRAP, call);
    return shared_.address_of(p);
}

inline void Worker::record(const Call& call, ElementType element_type, size_t bytes,
                           const void* value, const void* result) {
    if (recorder_ && recorder_->follows(*current_))
        recorder_->warp(*current_, call, element_type, bytes, value, result),
            recorded(recorder_->last());
}

// What the thread just did was written down as `event`.
inline void Worker::recorded(int64_t event) {
    if (counter_ && recorder_) counter_->recorded(*current_, event);
}

}  // namespace emu
