// runtime.cpp -- the part of the emulator that is compiled once: it launches kernels over the
// machine's cores, and answers what they ask (include/emu/runtime.h).
#include "crashes.h"
#include "explain.h"
#include "hooks.h"
#include "interruption.h"
#include "undefined.h"

EMU_PER_THREAD emu::Position emu_position;

namespace {

emu::FibrePool pool;

// Starting a thread costs as much as running this many threads of a small kernel.
constexpr uint64_t THREADS_WORTH_A_WORKER = 4096;

void run_worker(emu::Run& run, emu::Worker::Watchers watchers) {
    emu::Worker worker(run, pool.take(), watchers);
    const emu::CrashStack stack;
    worker.work();
    // After a failure some fibres stand in the middle of a kernel: they are of no more use.
    if (!run.failed) pool.give_back(worker.release());
}

int worker_count(const emu::Launch& launch, uint64_t blocks) {
    const uint64_t threads = blocks * launch.block[0] * launch.block[1] * launch.block[2];
    const uint64_t most = std::min(blocks, threads / THREADS_WORTH_A_WORKER + 1);
    return int(std::min(uint64_t(std::max(launch.workers, 1)), most));
}

void run_counted(emu::Run& run) {
    emu::Counter counter(run.launch, run.mutex, reinterpret_cast<const void*>(run.launch.entry));
    run_worker(run, {nullptr, nullptr, &counter});
}

void run_checked(emu::Run& run) {
    // One core: what is found, and in which order, is then the same in every run.
    emu::Launch& launch = run.launch;
    emu::Checker checker(launch, reinterpret_cast<const void*>(launch.entry));
    emu::Recorder recorder(launch);
    emu::Counter counter(launch, run.mutex, reinterpret_cast<const void*>(launch.entry));
    run_worker(run, {&checker, launch.traced ? &recorder : nullptr,
                     launch.traced == emu::TRACED_BLOCK ? &counter : nullptr});
}

void run_on_cores(emu::Run& run, emu::Interruption& interruption) {
    const auto work = [&run] {
        if (run.launch.counted) run_counted(run);
        else run_worker(run, {});
    };
    std::vector<std::thread> others;
    for (int i = 1; i < worker_count(run.launch, run.blocks); ++i)
        others.emplace_back([&] { work(), run.finish(); });
    work();
    while (!run.finished(int(others.size()))) interruption.pass_on(others);
    for (std::thread& other : others) other.join();
}

}  // namespace

extern "C" int emu_launch(emu::Launch* launch) {
    emu::Run run(*launch);
    const emu::Crashes crashes;
    emu::Interruption interruption(run);
    if (launch->checked) run_checked(run);
    else run_on_cores(run, interruption);
    if (run.interrupted) launch->fault.kind = emu::INTERRUPTED;
    return run.failed;
}

using emu::worker;

extern "C" {
void emu_thread_begins() { worker->thread_begins(); }
int emu_next_thread() { return worker->next_thread(); }
int emu_barrier(int predicate, int fold, const char* file, int line) {
    static const char* const names[] = {"__syncthreads", "__syncthreads_count", "__syncthreads_and",
                                        "__syncthreads_or"};
    return worker->barrier(predicate, fold, {names[fold], file, line});
}
emu::Lanes* emu_meet(unsigned mask, const void* value, size_t bytes, const char* what,
                     const char* file, int line) {
    return worker->meet(mask, value, bytes, {what, file, line});
}
void emu_warp_barrier(unsigned mask, const char* file, int line) {
    worker->warp_barrier(mask, {"__syncwarp", file, line});
}
unsigned emu_lanes_together(const char* what, const char* file, int line) {
    return worker->lanes_together({what, file, line});
}
void emu_fence(int to_other_blocks) { worker->fence(to_other_blocks != 0); }
void emu_give_way() { worker->give_way(); }
long long emu_clock() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}
int emu_lane() { return worker->lane(); }
const emu::TensorCores* emu_tensor_cores() { return worker->tensor_cores(); }
void* emu_find_shared(const void* key) { return worker->find_shared(key); }
void* emu_new_shared(const void* key, const char* name, size_t bytes, size_t align,
                     emu::ElementType element_type) {
    return worker->new_shared(key, name, bytes, align, element_type);
}
void* emu_dynamic_shared(const char* name, emu::ElementType element_type) {
    return worker->dynamic_shared(name, element_type);
}
void emu_copy_later(void* to, const void* from, size_t bytes, size_t filled, const char* file,
                    int line) {
    worker->copy_later({static_cast<char*>(to), static_cast<const char*>(from), bytes, filled, 0, 0},
                       {"cp.async", file, line});
}
void emu_close_copies() { worker->close_copies(); }
void emu_wait_for_copies(unsigned pending) { worker->wait_for_copies(pending); }
unsigned emu_shared_address(const void* p, const char* what, const char* file, int line) {
    return worker->shared_address(p, {what, file, line});
}
int emu_is_shared(const void* p) { return worker->is_shared(p); }
void* emu_shared_pointer(unsigned address) { return worker->shared_pointer(address); }
void emu_check_atomic(void* address, size_t bytes, int exchanges, const char* file, int line) {
    const uint32_t site = worker->sites().of_line(file, line);
    worker->watch({static_cast<char*>(address), bytes, emu::ATOMIC, site, true, false, exchanges != 0});
}
void emu_changed(const void* address) { worker->changed(address); }
void emu_unchanged(const void* address) { worker->unchanged(address); }
void emu_record_warp(const char* what, emu::ElementType element_type, size_t bytes, const void* value,
                     const void* result, const char* file, int line) {
    worker->record({what, file, line}, element_type, bytes, value, result);
}
void emu_fail(int kind, const char* what, const char* file, int line) {
    worker->fail(emu::FaultKind(kind), {what, file, line});
}
}

// Python checks its own idea of these structures against the compiler's.
extern "C" const uint64_t emu_sizes[] = {sizeof(emu::Region), sizeof(emu::Fault),
                                         sizeof(emu::Event), sizeof(emu::Tally),
                                         sizeof(emu::Launch), sizeof(emu::Variable)};
