// recorder.h -- writes down all that one chosen thread does.
#pragma once
#include <string.h>

#include "thread.h"

namespace emu {

class Recorder {
  public:
    explicit Recorder(Launch& launch) : launch_(launch) {}

    bool follows(const Thread& me) const {
        const unsigned *b = launch_.traced_block, *t = launch_.traced_thread;
        const uint3 &block = emu_position.block, &thread = me.index;
        return launch_.traced && b[0] == block.x && b[1] == block.y && b[2] == block.z &&
               t[0] == thread.x && t[1] == thread.y && t[2] == thread.z;
    }

    // A write is announced before it happens: what it left is read when the thread does
    // something else, before any other thread has run.
    void settle() {
        if (unsettled_) memcpy(unsettled_->result, address_, size_t(unsettled_->bytes));
        unsettled_ = nullptr;
    }
    void access(const char* address, const Fault& seen) {
        Event* event = next(seen.access, seen.here);
        if (!event) return;
        event->region = seen.region, event->offset = seen.offset;
        event->bytes =
            seen.bytes < int(sizeof event->value) ? seen.bytes : int(sizeof event->value);
        memcpy(event->value, address, size_t(event->bytes));
        if (seen.access != READ) unsettled_ = event, address_ = address;
    }
    void call(int kind, const Call& call) {
        Location location{};
        location.file = call.file, location.line = call.line;
        if (Event* event = next(kind, location)) event->what = call.what;
    }
    void warp(const Call& call, ElementType element_type, size_t bytes, const void* value,
              const void* result) {
        Location location{};
        location.file = call.file, location.line = call.line;
        Event* event = next(EVENT_WARP, location);
        if (!event || bytes > sizeof event->value) return;
        event->what = call.what, event->element_type = element_type, event->bytes = int(bytes);
        memcpy(event->value, value, bytes);
        memcpy(event->result, result, bytes);
    }

  private:
    Event* next(int kind, const Location& location) {
        settle();
        // Those that find no room are still counted.
        if (launch_.event_count++ >= launch_.event_capacity) return nullptr;
        Event* event = &launch_.events[launch_.event_count - 1];
        *event = {};
        event->kind = kind, event->region = -1, event->location = location;
        return event;
    }

    Launch& launch_;
    Event* unsettled_ = nullptr;
    const char* address_ = nullptr;
};

}  // namespace emu
