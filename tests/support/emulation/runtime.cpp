// Runs a kernel's threads as fibers on one thread of the CPU: barriers, shuffles and clusters as on
// a GPU, in an order of the caller's choice. Whatever a GPU would leave undefined is an error here:
// a barrier that some threads never reach, a misaligned or foreign address, the memory of a block
// that has not begun or has ended.
//
// A fiber is started by ucontext and switched by setjmp and longjmp, which call no kernel.

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "cuda.hpp"
#undef threadIdx

namespace {

constexpr size_t STACK = 128 * 1024, SHARED_BYTES = 64 * 1024;

struct Barrier {
    unsigned arrived = 0, generation = 0;
};

// Lanes of a warp that meet under the same mask.
struct Group {
    Barrier barrier;
    unsigned char slots[2][32][8];
};

typedef std::map<unsigned, Group> Warp;

struct Block {
    unsigned rank = 0, threads = 0, begun = 0, ended = 0;
    Barrier barrier;
    std::vector<Warp> warps;
    std::vector<unsigned char> shared;
};

struct Fiber {
    EmulatedThread thread;
    Block* block = nullptr;
    unsigned number = 0;  // in its block
    jmp_buf here;
    ucontext_t start;
    void* stack = nullptr;
    bool started = false, done = true, arrived_at_cluster = false;
    const Barrier* waits = nullptr;
    unsigned generation = 0;
};

struct Range {
    const unsigned char *begin, *end;
    uint64_t read, written;
    unsigned char *reads, *writes;  // how often each byte was touched, or null
};

struct Launch {
    void (*kernel)(void*);
    void* arguments;
    std::vector<Block> blocks;  // of one cluster
    Barrier cluster;
    std::vector<Range> ranges;
} launch;

std::vector<std::unique_ptr<Fiber>> fibers;
Fiber* current;
jmp_buf scheduler;
bool failed;
char message[512];

[[noreturn]] void fail(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    failed = true;
    longjmp(scheduler, 1);
}

const char* where() {
    static char text[96];
    snprintf(text, sizeof text, "block %u, thread %u", current->thread.block.x, current->number);
    return text;
}

void leave() {
    if (!_setjmp(current->here)) _longjmp(scheduler, 1);
}

void run_forever() {
    for (;;) {
        launch.kernel(launch.arguments);
        current->done = true;
        current->block->ended++;
        leave();
    }
}

void resume(Fiber& fiber) {
    current = &fiber;
    emulated_thread = &fiber.thread;
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.here, 1);
    fiber.started = true;
    getcontext(&fiber.start);
    if (!fiber.stack)
        fiber.stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fiber.start.uc_stack.ss_sp = fiber.stack;
    fiber.start.uc_stack.ss_size = STACK;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, run_forever, 0);
    setcontext(&fiber.start);
}

bool open(const Fiber& fiber) { return !fiber.waits || fiber.waits->generation != fiber.generation; }

void wait(const Barrier& barrier, unsigned generation) {
    current->waits = &barrier;
    current->generation = generation;
    while (!open(*current)) leave();
    current->waits = nullptr;
}

void arrive(Barrier& barrier, unsigned expected) {
    const unsigned generation = barrier.generation;
    if (++barrier.arrived == expected) {
        barrier.arrived = 0;
        barrier.generation++;
    }
    wait(barrier, generation);
}

Group& group(unsigned mask) {
    const unsigned lane = current->number % 32;
    if (!(mask >> lane & 1)) fail("%s takes part in a shuffle that leaves it out", where());
    return current->block->warps[current->number / 32][mask];
}

// Whether an address lies in the shared memory of a block that runs.
bool in_shared(const unsigned char* pointer, size_t bytes) {
    for (Block& block : launch.blocks) {
        const unsigned char* begin = block.shared.data();
        if (pointer < begin || pointer + bytes > begin + block.shared.size()) continue;
        if (!block.begun) fail("%s touches the memory of a block that has not begun", where());
        if (&block != current->block && block.ended)
            fail("%s touches the memory of a block that may have ended", where());
        return true;
    }
    return false;
}

}  // namespace

extern "C" {

EmulatedThread* emulated_thread;

void* emulated_shared(unsigned long size) {
    if (size > SHARED_BYTES) fail("%lu bytes of shared memory", size);
    return current->block->shared.data();
}

void emulated_touch(const void* pointer, unsigned long bytes, int writing) {
    const unsigned char* address = static_cast<const unsigned char*>(pointer);
    const char* verb = writing ? "writes" : "reads";
    if (reinterpret_cast<uintptr_t>(address) % bytes && (bytes & (bytes - 1)) == 0)
        fail("%s %s %lu bytes at a misaligned address", where(), verb, bytes);
    for (Range& range : launch.ranges) {
        if (address < range.begin || address + bytes > range.end) continue;
        (writing ? range.written : range.read) += bytes;
        if (unsigned char* counts = writing ? range.writes : range.reads)
            for (unsigned long n = 0; n < bytes; ++n) {
                unsigned char& count = counts[address - range.begin + n];
                count += count < 255;
            }
        return;
    }
    if (!in_shared(address, bytes))
        fail("%s %s %lu bytes outside every array", where(), verb, bytes);
}

void emulated_sync_block() { arrive(current->block->barrier, current->block->threads); }

void emulated_sync_warp(unsigned mask) { arrive(group(mask).barrier, __builtin_popcount(mask)); }

void emulated_shuffle(unsigned mask, const void* value, void* result, unsigned long size, int step) {
    const unsigned lane = current->number % 32, other = lane ^ step;
    Group& here = group(mask);
    if (other > 31 || !(mask >> other & 1))
        fail("%s asks a lane that does not take part", where());
    // in turn: who writes here again has waited since it was read
    auto& slots = here.slots[here.barrier.generation % 2];
    memcpy(slots[lane], value, size);
    arrive(here.barrier, __builtin_popcount(mask));
    memcpy(result, slots[other], size);
}

unsigned emulated_rank() { return current->block->rank; }

void emulated_arrive() {
    if (current->arrived_at_cluster) fail("%s arrives twice at the cluster's barrier", where());
    current->arrived_at_cluster = true;
    current->generation = launch.cluster.generation;
    const unsigned expected = launch.blocks[0].threads * launch.blocks.size();
    if (++launch.cluster.arrived == expected) {
        launch.cluster.arrived = 0;
        launch.cluster.generation++;
    }
}

void emulated_wait() {
    if (!current->arrived_at_cluster) fail("%s waits where it did not arrive", where());
    current->arrived_at_cluster = false;
    wait(launch.cluster, current->generation);
}

void* emulated_shared_of(void* pointer, unsigned rank) {
    if (rank >= launch.blocks.size()) fail("%s asks for block %u of its cluster", where(), rank);
    const ptrdiff_t offset =
        static_cast<unsigned char*>(pointer) - current->block->shared.data();
    return launch.blocks[rank].shared.data() + offset;
}

// Run a kernel; return what went wrong, or null. `order` is that of the threads: 0 forward,
// 1 backward, otherwise random from this seed. `ranges` has four numbers for each array: where it
// begins and ends, and where to count the reads and writes of each byte, or 0; the bytes read and
// written come back in the first two.
const char* emulated_launch(void (*kernel)(void*), void* arguments, unsigned grid, unsigned threads,
                            unsigned cluster, unsigned order, uint64_t* ranges, unsigned arrays) {
    failed = false;
    launch.kernel = kernel;
    launch.arguments = arguments;
    launch.ranges.clear();
    for (unsigned n = 0; n < arrays; ++n) {
        auto* r = ranges + 4 * n;
        launch.ranges.push_back({reinterpret_cast<unsigned char*>(r[0]),
                                 reinterpret_cast<unsigned char*>(r[1]), 0, 0,
                                 reinterpret_cast<unsigned char*>(r[2]),
                                 reinterpret_cast<unsigned char*>(r[3])});
    }
    if (grid % cluster) {
        snprintf(message, sizeof message, "a grid of %u blocks in clusters of %u", grid, cluster);
        return message;
    }
    const unsigned count = threads * cluster;
    while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
    std::vector<std::vector<unsigned>> warps;
    for (unsigned n = 0; n < count; ++n) {
        if (n % threads % 32 == 0) warps.emplace_back();
        warps.back().push_back(n);
    }
    if (order == 1) {
        std::reverse(warps.begin(), warps.end());
        for (auto& warp : warps) std::reverse(warp.begin(), warp.end());
    }
    std::mt19937 random(order);

    for (unsigned first = 0; first < grid && !failed; first += cluster) {
        launch.blocks.assign(cluster, Block());
        launch.cluster = Barrier();
        for (unsigned n = 0; n < cluster; ++n) {
            Block& block = launch.blocks[n];
            block.rank = n;
            block.threads = threads;
            block.warps.resize((threads + 31) / 32);
            block.shared.assign(SHARED_BYTES, 0xff);  // what was not written is NaN
        }
        for (unsigned n = 0; n < count; ++n) {
            Fiber& fiber = *fibers[n];
            fiber.block = &launch.blocks[n / threads];
            fiber.number = n % threads;
            fiber.thread = {{n % threads, 0, 0}, {first + n / threads, 0, 0}, {grid, 1, 1}};
            fiber.done = false;
            fiber.arrived_at_cluster = false;
            fiber.waits = nullptr;
        }
        for (unsigned left = count; left && !failed;) {
            // One warp runs as far as it can before the next gets a turn, so that who does not wait
            // where it must is far ahead of the others.
            if (order > 1) std::shuffle(warps.begin(), warps.end(), random);
            bool moved = false;
            for (auto& warp : warps) {
                for (bool more = true; more && !failed;) {
                    more = false;
                    if (order > 1) std::shuffle(warp.begin(), warp.end(), random);
                    for (unsigned n : warp) {
                        Fiber& fiber = *fibers[n];
                        if (fiber.done || !open(fiber)) continue;
                        fiber.block->begun = 1;
                        more = moved = true;
                        resume(fiber);
                        if (failed) break;
                        left -= fiber.done;
                    }
                }
                if (failed) break;
            }
            if (!moved && !failed) {
                failed = true;
                snprintf(message, sizeof message,
                         "deadlock: %u threads wait for others that never come", left);
            }
        }
        if (failed) fibers.clear();  // their stacks stay where they are, with what they hold
    }
    for (unsigned n = 0; n < arrays; ++n) {
        ranges[4 * n] = launch.ranges[n].read;
        ranges[4 * n + 1] = launch.ranges[n].written;
    }
    return failed ? message : nullptr;
}
}
