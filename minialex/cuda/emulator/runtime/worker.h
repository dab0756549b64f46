// worker.h -- one core's share of a launch: it runs blocks one after another, each to its end.
//
// A block's threads are scheduled cooperatively. One runs until it waits (at a barrier, or for its
// warp) or returns; a warp runs as far as it can before the next is scheduled, which is the schedule
// that exposes a missing barrier best. When none can go on, all must wait at one barrier.
#pragma once
#include <signal.h>

#include <deque>
#include <numeric>

#include "checker.h"
#include "copies.h"
#include "counter.h"
#include "random.h"
#include "recorder.h"
#include "run.h"
#include "shared_memory.h"

namespace emu {

// Lanes that meet in a warp primitive, found by their mask. Two sets of values: a lane may be in
// the next meeting already while another still reads what this one brought.
struct Meeting {
    explicit Meeting(unsigned m) : mask(m) {}
    unsigned mask, arrived = 0, number = 0;
    bool orders = false;  // memory, as __syncwarp does
    Call call{};
    Lanes lanes[2];
};

class Worker {
  public:
    // What watches the threads; each may be null.
    struct Watchers {
        Checker* checker;
        Recorder* recorder;
        Counter* counter;  // beside a recorder: it only tells which lanes went together
    };
    Worker(Run& run, std::unique_ptr<Fibres> fibres, Watchers watchers);

    void work();
    std::unique_ptr<Fibres> release() { return std::move(fibres_); }

    // Asked by the kernel, from the fibre of the current thread.
    void thread_begins() {
        if (counter_) counter_->thread_begins(*current_);
    }
    bool next_thread();
    // Of a function that is watched, where it begins: nothing that it calls here is left without.
    void check_stack(const void* frame, const void* pc) {
        if (frame < current_->fibre->stack + STACK_RESERVE && watching()) stack_is_full(pc);
    }
    void function_begins() {
        if (counter_) counter_->function_begins(*current_);
    }
    void function_ends() {
        if (counter_) counter_->function_ends(*current_);
    }
    void basic_block(const void* pc) {
        if (run_.failed.load(std::memory_order_relaxed)) leave_for_good();
        if (counter_) counter_->basic_block(*current_, counter_->sites.of_pc(pc));
        else if (!checker_ && ++blocks_ % BLOCKS == 0) give_way();
    }
    int barrier(int predicate, int fold, const Call& call);
    Lanes* meet(unsigned mask, const void* value, size_t bytes, const Call& call);
    void warp_barrier(unsigned mask, const Call& call);
    unsigned lanes_together(const Call& call);
    void fence(bool to_others);
    // What an atomic did to a number that others may wait for, or that it may wait for itself.
    void changed(const void* address);
    void unchanged(const void* address);
    // It lets others go on, which it may wait for.
    void give_way() { wait(Thread::SPINNING, {}); }
    int lane() const { return current_->lane(); }
    const TensorCores* tensor_cores() const { return &launch_.tensor_cores; }
    void* find_shared(const void* key) const { return shared_.find(key); }
    void* new_shared(const void* key, const char* name, size_t bytes, size_t align,
                     ElementType element_type);
    void* dynamic_shared(const char* name, ElementType element_type);
    void watch(const Attempt& attempt);
    Sites& sites() { return checker_ ? checker_->sites : counter_->sites; }
    bool watching() const { return checker_ || counter_; }
    // An asynchronous copy: into shared memory, in groups, which are waited for but the last `pending`.
    void copy_later(Copy copy, const Call& call);
    void close_copies() { copies_.close_group(*current_); }
    void wait_for_copies(unsigned pending);
    // Shared memory as instructions address it, from 0.
    unsigned shared_address(const void* p, const Call& call);
    bool is_shared(const void* p) const { return shared_.holds(p); }
    char* shared_pointer(unsigned address) const { return shared_.at(address); }
    void record(const Call& call, ElementType element_type, size_t bytes, const void* value,
                const void* result);
    // Asked by the handler of a signal, which came when this was about to be done.
    void leave_if_failed(const void* pc) {
        if (run_.failed && run_.code.holds(pc)) leave_for_good();
    }
    [[noreturn]] void stack_is_full(const void* pc);
    void leave_if_crashed(int signal, const siginfo_t& info, const void* context);
    [[noreturn]] void fail(FaultKind kind, const Call& call, const Fault* more = nullptr);
    void run_fibre();

  private:
    static constexpr unsigned LOOKS = 64;  // at one place, until a thread is taken to wait for it
    static constexpr unsigned BLOCKS = 1 << 12;  // basic blocks of fast kernels with volatile flags
    static constexpr uint64_t MOST_VAIN_LOOKS = 1 << 23;

    // What the thread wrote last is there, and nothing else has happened since.
    void settle(const Attempt* next = nullptr) {
        if (checker_ && checker_->in_doubt() && !checker_->settle(seen_, next)) fail(RACE, {}, &seen_);
    }
    // The launch has failed: the fibre that says so is never gone back to.
    [[noreturn]] void leave_for_good() {
        for (;;) fibres_->leave(*current_->fibre);
    }
    void end_if_complete(int warp, Meeting& meeting);
    void run_block(uint64_t number);
    void prepare(uint64_t number);
    bool run_warp(int warp);
    bool answer(int warp);
    void resume(Thread& thread);
    void begin(Thread& thread, Fibre& fibre);
    void wait(Thread::State state, const Call& call);
    void open_barrier();
    void spin_on();
    void look(const void* address);
    bool is_endless() const { return checker_ && vain_looks_ > MOST_VAIN_LOOKS; }
    void explain_stuck();
    void finish_block();
    void shuffle_order();
    unsigned existing(int warp) const {
        return count_ - warp * WARP < WARP ? (1u << count_ % WARP) - 1 : ~0u;
    }
    Fault fault_at(FaultKind kind, const Thread& thread) const;
    void locate(Location& location, const Thread& thread) const;
    void count(int kind, const Call& call);
    void recorded(int64_t event);

    Run& run_;
    Launch& launch_;
    std::unique_ptr<Fibres> fibres_;
    Checker* checker_;
    Recorder* recorder_;
    Counter* const whole_;  // of all blocks that run,
    Counter* counter_;  // and of this one
    SharedMemory shared_;
    Copies copies_;
    int count_, warps_, done_ = 0;
    bool has_dynamic_ = false;  // the kernel has asked for its dynamic shared memory
    int fresh_ = 0, warp_end_ = 0;  // the slots of the warp whose threads have not begun
    int waiting_ = 0, spinning_ = 0;  // threads at a barrier, and those that have given way
    unsigned blocks_ = 0;
    uint64_t vain_looks_ = 0;  // since any thread of the block did something else
    bool one_barrier_ = true;  // whether that is the same one for all
    Call first_{};  // where the first of them waits
    std::vector<Thread> threads_;
    std::vector<int> order_, warp_order_;  // within each warp, and of the warps
    std::vector<std::deque<Meeting>> meetings_;
    std::vector<unsigned> running_;  // of each warp, the lanes that have not returned
    Random random_{0};
    Thread* current_ = nullptr;
    int ones_ = 0;  // predicates that were true at the last barrier
    Fault seen_{};  // the last access that was checked: to clear one for each takes time
    std::unique_ptr<Fault> unwritten_;  // the first read of uninitialised shared memory
};

inline EMU_PER_THREAD Worker* worker = nullptr;

inline Worker::Worker(Run& run, std::unique_ptr<Fibres> fibres, Watchers watchers)
    : run_(run),
      launch_(run.launch),
      fibres_(std::move(fibres)),
      checker_(watchers.checker),
      recorder_(watchers.recorder),
      whole_(watchers.counter),
      counter_(watchers.counter),
      shared_(launch_.shared, launch_.shared_limit, checker_ ? 256 : 0,
              launch_.strict_alignment ? 1 : USUAL_ALIGNMENT),
      count_(int(launch_.block[0] * launch_.block[1] * launch_.block[2])),
      warps_((count_ + WARP - 1) / WARP),
      threads_(size_t(count_)),
      order_(size_t(count_)),
      warp_order_(size_t(warps_)),
      meetings_(size_t(warps_)),
      running_(size_t(warps_)) {
    std::iota(order_.begin(), order_.end(), 0);
    std::iota(warp_order_.begin(), warp_order_.end(), 0);
    const unsigned *b = launch_.block, *g = launch_.grid;
    emu_position.block_size = {b[0], b[1], b[2]};
    emu_position.grid_size = {g[0], g[1], g[2]};
    for (int t = 0; t < count_; ++t) {
        const unsigned u = unsigned(t);
        threads_[size_t(t)].id = t;
        threads_[size_t(t)].index = {u % b[0], u / b[0] % b[1], u / (b[0] * b[1])};
    }
}

inline void Worker::work() {
    worker = this;
    for (uint64_t n; !run_.failed && (n = run_.next++) < run_.blocks;) {
        // A seed starts the blocks at another one, and an odd seed runs them backwards.
        const uint64_t turned = launch_.seed ? (n + launch_.seed) % run_.blocks : n;
        const uint64_t number = launch_.seed % 2 ? run_.blocks - 1 - turned : turned;
        if (launch_.counted) counter_->begin_block(warps_);
        run_block(launch_.chosen ? launch_.chosen[number] : number);
    }
    worker = nullptr;
}

inline void Worker::run_block(uint64_t number) {
    prepare(number);
    for (;;) {
        if (launch_.seed) shuffle_order();
        for (const int warp : warp_order_)
            if (!run_warp(warp)) return;
        if (counter_) counter_->finish_warps();
        if (done_ == count_) return finish_block();
        if (spinning_) {
            spin_on();
            continue;
        }
        if (waiting_ < count_ || !one_barrier_) return explain_stuck();
        open_barrier();
    }
}

inline void Worker::prepare(uint64_t number) {
    const unsigned n = unsigned(number), *g = launch_.grid;
    emu_position.block = {n % g[0], n / g[0] % g[1], n / g[0] / g[1]};
    for (Thread& thread : threads_)
        thread.state = Thread::FRESH, thread.fenced = thread.fenced_for_others = thread.barriers = 0,
        thread.looks = 0;
    for (int warp = 0; warp < warps_; ++warp) running_[size_t(warp)] = existing(warp);
    done_ = waiting_ = spinning_ = 0;
    vain_looks_ = 0;
    shared_.poison();
    copies_.begin_block(size_t(count_));
    random_.state = launch_.seed + number * 0x632be59bd9b4e019;
    if (checker_) checker_->order.begin_block(n, count_);
    if (recorder_ && whole_) {
        counter_ = recorder_->is_in_traced_block() ? whole_ : nullptr;
        if (counter_) counter_->begin_block(warps_);
    }
}

inline void Worker::shuffle_order() {
    random_.shuffle(warp_order_.begin(), warp_order_.end());
    for (int first = 0; first < count_; first += WARP)
        random_.shuffle(order_.begin() + first, order_.begin() + std::min(first + WARP, count_));
}

// Runs the threads of one warp until none can go on. Returns false once the launch has failed.
inline bool Worker::run_warp(int warp) {
    const int first = warp * WARP, end = std::min(first + WARP, count_);
    fresh_ = threads_[size_t(order_[size_t(first)])].state == Thread::FRESH ? first : end;
    warp_end_ = end;
    for (bool again = true; again;) {
        again = false;
        for (int i = first; i < end; ++i) {
            Thread& thread = threads_[size_t(order_[size_t(i)])];
            if (thread.state != Thread::FRESH && thread.state != Thread::READY) continue;
            resume(thread);
            if (run_.failed) return false;
            again = true;
        }
        if (!again) again = answer(warp);
    }
    if (counter_) counter_->finish_warp(warp, count_);
    return true;
}

// Lanes that ask who runs with them are those that come to one call while all others of the warp
// wait elsewhere or have returned: in whatever order they ran. Those at the first line go on first:
// what is left of a loop comes before what follows it. Returns whether any asked.
inline bool Worker::answer(int warp) {
    const auto first = threads_.begin() + warp * WARP;
    const auto end = first + std::min(WARP, count_ - warp * WARP);
    const auto asks = [](const Thread& t) { return t.state == Thread::ASKING; };
    const Thread* chosen = nullptr;
    for (auto t = first; t != end; ++t)
        if (asks(*t) && (!chosen || t->call.line < chosen->call.line)) chosen = &*t;
    if (!chosen) return false;
    const Call call = chosen->call;
    unsigned mask = 0;
    for (auto t = first; t != end; ++t)
        if (asks(*t) && t->call.is(call)) mask |= 1u << t->lane();
    for (auto t = first; t != end; ++t)
        if (mask >> t->lane() & 1) t->state = Thread::READY, t->together = mask;
    return true;
}

inline void Worker::resume(Thread& thread) {
    if (thread.state == Thread::FRESH) begin(thread, fibres_->idle([] { worker->run_fibre(); }));
    current_ = &thread;
    emu_position.thread = thread.index;
    fibres_->enter(*thread.fibre);
}

inline void Worker::begin(Thread& thread, Fibre& fibre) {
    fibre.idle = false;
    thread.fibre = &fibre;
    thread.state = Thread::READY;
    ++fresh_;
}

// Asked anew after each switch: in the next launch a fibre may go on in another of the machine's
// threads, and a compiler that looked up where this one has its variables would not look again.
inline __attribute__((noinline)) Worker& worker_here() {
    asm volatile("");
    return *worker;
}

// The body of every fibre: one thread after another, as long as there are new ones in the warp.
inline void Worker::run_fibre() {
    for (;;) {
        Worker& here = worker_here();
        here.launch_.entry(here.launch_.args);
        Fibre& fibre = *here.current_->fibre;
        here.fibres_->note_idle(fibre);
        here.fibres_->leave(fibre);
    }
}

inline bool Worker::next_thread() {
    settle();
    vain_looks_ = 0;
    if (recorder_ && recorder_->follows(*current_)) recorder_->call(*current_, EVENT_END, {});
    current_->state = Thread::DONE;
    ++done_;
    const int warp = current_->warp();
    running_[size_t(warp)] &= ~(1u << current_->lane());
    // which may have been all that others waited for
    for (Meeting& meeting : meetings_[size_t(warp)]) end_if_complete(warp, meeting);
    if (fresh_ == warp_end_) return false;
    Thread& next = threads_[size_t(order_[size_t(fresh_)])];
    begin(next, *current_->fibre);
    current_ = &next;
    emu_position.thread = next.index;
    return true;
}

inline void Worker::wait(Thread::State state, const Call& call) {
    settle();
    Thread& me = *current_;
    if (state == Thread::SPINNING) ++spinning_;
    else vain_looks_ = 0;
    me.state = state;
    me.call = call;
    fibres_->leave(*me.fibre);
}

inline void Worker::open_barrier() {
    ones_ = waiting_ = 0;
    for (Thread& thread : threads_) {
        thread.state = Thread::READY;
        ++thread.barriers;
        ones_ += thread.predicate;
    }
    if (checker_) checker_->order.barrier();
}

inline void Worker::spin_on() {
    spinning_ = 0;
    for (Thread& thread : threads_)
        if (thread.state == Thread::SPINNING) thread.state = Thread::READY;
}

}  // namespace emu
