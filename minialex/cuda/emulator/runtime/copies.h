// copies.h -- asynchronous copies into shared memory: each thread's own, in groups, until they are
// waited for. Until then nothing is there, and to touch the place is a race.
#pragma once
#include <string.h>

#include <vector>

#include "thread.h"

namespace emu {

struct Copy {
    char* to;
    const char* from;
    size_t bytes, filled;  // what is not filled becomes zero
    uint32_t site;
    unsigned group;
};

class Copies {
  public:
    void begin_block(size_t threads) { of_threads_.assign(threads, {}); }
    void add(const Thread& me, Copy copy) {
        Queue& queue = of_threads_[size_t(me.id)];
        copy.group = queue.open;
        queue.copies.push_back(copy);
    }
    void close_group(const Thread& me) { ++of_threads_[size_t(me.id)].open; }
    // Calls `land` with each copy of all groups but the last `pending` closed ones, in their order.
    template <class Land> void wait(const Thread& me, unsigned pending, Land land) {
        Queue& queue = of_threads_[size_t(me.id)];
        size_t done = 0;
        while (done < queue.copies.size() && queue.copies[done].group + pending < queue.open)
            land(queue.copies[done++]);
        queue.copies.erase(queue.copies.begin(), queue.copies.begin() + long(done));
    }

  private:
    struct Queue {
        std::vector<Copy> copies;
        unsigned open = 0;  // the number of the group that is not closed
    };
    std::vector<Queue> of_threads_;
};

}  // namespace emu
