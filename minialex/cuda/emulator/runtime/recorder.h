// recorder.h -- writes down what chosen threads do, or what is done to a chosen piece of memory.
#pragma once
#include <string.h>

#include "thread.h"

namespace emu {

class Recorder {
  public:
    explicit Recorder(Launch& launch) : launch_(launch) {}

    bool follows(const Thread& me) const {
        const unsigned* t = launch_.traced_thread;
        const uint3& thread = me.index;
        if (launch_.traced == TRACED_BYTES) return true;
        if (!is_in_traced_block()) return false;
        return launch_.traced == TRACED_BLOCK ||
               (t[0] == thread.x && t[1] == thread.y && t[2] == thread.z);
    }
    bool is_in_traced_block() const {
        const unsigned* b = launch_.traced_block;
        const uint3& block = emu_position.block;
        return b[0] == block.x && b[1] == block.y && b[2] == block.z;
    }
    // The number of the last event, -1 where it found no room.
    int64_t last() const {
        return launch_.event_count <= launch_.event_capacity ? launch_.event_count - 1 : -1;
    }

    // A write is announced before it happens: what it left is read when the thread does
    // something else, before any other thread has run.
    void settle() {
        if (unsettled_) memcpy(unsettled_->result, address_, size_t(unsettled_->bytes));
        unsettled_ = nullptr;
    }
    void access(const Thread& me, const char* address, const Fault& seen) {
        if (launch_.traced == TRACED_BYTES && !is_watched(seen)) return;
        Event* event = next(me, seen.access, seen.here);
        if (!event) return;
        event->region = seen.region, event->offset = seen.offset;
        event->bytes =
            seen.bytes < int(sizeof event->value) ? seen.bytes : int(sizeof event->value);
        memcpy(event->value, address, size_t(event->bytes));
        if (seen.access != READ) unsettled_ = event, address_ = address;
    }
    void call(const Thread& me, int kind, const Call& call) {
        if (launch_.traced != TRACED_BYTES) next(me, kind, location_of(call));
    }
    void warp(const Thread& me, const Call& call, ElementType element_type, size_t bytes,
              const void* value, const void* result) {
        if (launch_.traced == TRACED_BYTES) return;
        Event* event = next(me, EVENT_WARP, location_of(call));
        if (!event || bytes > sizeof event->value) return;
        event->code = element_type.code, event->width = element_type.bytes;
        event->bytes = int(bytes);
        memcpy(event->value, value, bytes);
        memcpy(event->result, result, bytes);
    }

  private:
    static Location location_of(const Call& call) {
        Location location{};
        location.file = call.file, location.line = call.line;
        return location;
    }
    bool is_watched(const Fault& seen) const {
        return seen.region == launch_.watched_region && seen.offset < launch_.watched_end &&
               seen.offset + seen.bytes > launch_.watched_begin;
    }
    Event* next(const Thread& me, int kind, const Location& location) {
        settle();
        // Those that find no room are still counted.
        if (launch_.event_count++ >= launch_.event_capacity) return nullptr;
        Event* event = &launch_.events[launch_.event_count - 1];
        *event = {};
        event->kind = kind, event->region = -1, event->location = location;
        event->phase = int(me.barriers), event->request = -1;
        const uint3& b = emu_position.block;
        const unsigned block[] = {b.x, b.y, b.z};
        const unsigned thread[] = {me.index.x, me.index.y, me.index.z};
        memcpy(event->location.block, block, sizeof block);
        memcpy(event->location.thread, thread, sizeof thread);
        return event;
    }

    Launch& launch_;
    Event* unsettled_ = nullptr;
    const char* address_ = nullptr;
};

}  // namespace emu
