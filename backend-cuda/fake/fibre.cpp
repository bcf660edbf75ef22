// Threads of a block as fibres: one runs until it waits for others or ends, then the next. Blocks run one after the other.
#include "fake.h"

#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

// Saves what a call has to keep, changes the stack, and goes on there.
asm(R"(
.text
.type fake_switch, @function
fake_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size fake_switch, .-fake_switch
)");
extern "C" void fake_switch(void **save, void *to) asm("fake_switch");

namespace {

enum State : uint8_t { FRESH, READY, AT_BARRIER, AT_WARP, ENDED };

struct Thread {
    void *stack_pointer = nullptr;
    char *stack = nullptr;
    State state = FRESH;
    int line = 0;
    int parity = 0;
    Size3 index{};
};

struct Warp {
    unsigned arrived = 0, mask = 0;
    int parity = 0, line = 0, size = 0;
    alignas(16) char values[2][32][16];
};

// What a barrier has gathered.
struct Barrier {
    unsigned arrived = 0;
    int line = 0, sum = 0;
    bool all = true, any = false;
};

constexpr size_t STACK = 128 << 10, GUARD = 4096;

struct Asan {
    void (*start)(void **, const void *, size_t) = nullptr;
    void (*finish)(void *, const void **, size_t *) = nullptr;
    const void *bottom = nullptr;
    size_t size = 0;
    void *fake_stack = nullptr;
};

Asan asan;
std::vector<char *> free_stacks;
std::vector<Thread> threads;
std::vector<Warp> warps;
// The one that is gathering and the one before it, whose result some have not read yet.
Barrier barriers[2];
unsigned gathering = 0;
const LaunchOf *now = nullptr;
void *scheduler = nullptr;
unsigned self = 0;
bool broken = false, is_random = false;
uint64_t random_state = 1;

uint64_t random_number() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

char *new_stack() {
    if (!free_stacks.empty()) {
        char *stack = free_stacks.back();
        free_stacks.pop_back();
        return stack;
    }
    const size_t bytes = under_asan() ? 4 * STACK : STACK;
    void *map = mmap(nullptr, bytes + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, GUARD, PROT_NONE)) {
        fprintf(stderr, "fake CUDA: no memory for the stack of a thread\n");
        _exit(86);
    }
    return static_cast<char *>(map) + GUARD;
}

size_t stack_size() { return under_asan() ? 4 * STACK : STACK; }

void leave() {
    Thread &me = threads[self];
    void *fake = nullptr;
    if (asan.start) asan.start(me.state == ENDED ? nullptr : &fake, asan.bottom, asan.size);
    fake_switch(&me.stack_pointer, scheduler);
    if (asan.finish) asan.finish(fake, nullptr, nullptr);
}

void thread_main() {
    if (asan.finish) asan.finish(nullptr, &asan.bottom, &asan.size);
    now->entry(now->values);
    threads[self].state = ENDED;
    leave();
    __builtin_trap();
}

void resume(unsigned number) {
    Thread &thread = threads[number];
    if (thread.state == FRESH) {
        thread.stack = new_stack();
        if (asan.start) unpoison(thread.stack, stack_size());
        // As a call would leave it: the return address, aligned so that the function finds its usual alignment.
        void **top = reinterpret_cast<void **>(thread.stack + stack_size()) - 2;
        *top = reinterpret_cast<void *>(thread_main);
        thread.stack_pointer = top - 6;
        memset(thread.stack_pointer, 0, 6 * sizeof(void *));
    }
    thread.state = READY;
    self = number;
    now->module->thread = thread.index;
    if (asan.start) asan.start(&asan.fake_stack, thread.stack, stack_size());
    fake_switch(&scheduler, thread.stack_pointer);
    if (asan.finish) asan.finish(asan.fake_stack, nullptr, nullptr);
    if (thread.state == ENDED) {
        free_stacks.push_back(thread.stack);
        thread.stack = nullptr;
    }
}

void mistake(const char *what, int line) {
    if (!broken) report("%s, at line %d of %s (%s)", what, line, now->source, running().c_str());
    broken = true;
}

int on_barrier(int line, int operation, int value) {
    Barrier &b = barriers[gathering];
    Thread &me = threads[self];
    if (b.arrived == 0) b = Barrier{0, line, 0, true, false};
    if (b.line != line) {
        char text[120];
        snprintf(text, sizeof text, "threads of one block wait at different barriers: one at line %d", b.line);
        mistake(text, line);
    }
    b.arrived++;
    b.sum += value;
    b.all &= value != 0;
    b.any |= value != 0;
    me.state = AT_BARRIER;
    me.line = line;
    leave();
    switch (operation) {
    case 1: return b.sum;
    case 2: return b.all;
    case 3: return b.any;
    default: return 0;
    }
}

const void *on_warp(unsigned mask, const void *value, int size, int line) {
    Thread &me = threads[self];
    Warp &warp = warps[self / 32];
    const unsigned lane = self % 32;
    if (!(mask >> lane & 1)) mistake("a thread calls a function of its warp with a mask that it is not in", line);
    if (warp.arrived == 0) {
        warp.mask = mask;
        warp.line = line;
        warp.size = size;
    } else if (warp.mask != mask || warp.line != line || warp.size != size) {
        mistake("threads of one warp wait in different functions of the warp, or with different masks", line);
    }
    const int parity = warp.parity;
    memcpy(warp.values[parity][lane], value, size_t(size));
    warp.arrived |= 1u << lane;
    if (warp.arrived == mask) {
        warp.arrived = 0;
        warp.parity ^= 1;
        const unsigned first = self / 32 * 32;
        for (unsigned i = first; i < first + 32 && i < threads.size(); i++)
            if (threads[i].state == AT_WARP) threads[i].state = READY;
        // Otherwise the last to arrive would always be the first to go on.
        if (is_random) leave();
    } else {
        me.state = AT_WARP;
        me.line = line;
        leave();
    }
    return warp.values[parity];
}

void on_jitter() {
    if (is_random && random_number() % 4 == 0) leave();
}

unsigned on_lane() { return self % 32; }

__attribute__((no_sanitize("address"))) void fill_shared(char *from, char *to) {
    for (volatile char *at = from; at < to; at++) *at = char(0xff);
}

// Visits 0 to n - 1 in the wanted order.
struct Order {
    uint64_t n, start = 0, step = 1;
    explicit Order(uint64_t n) : n(n) {
        if (setting("order") == 1) {
            start = n - 1;
            step = n - 1;
        } else if (is_random && n > 1) {
            start = random_number() % n;
            do {
                step = random_number() % n;
            } while (step == 0 || divisor(step, n) != 1);
        }
        if (n == 1) step = 0;
    }
    static uint64_t divisor(uint64_t a, uint64_t b) { return b ? divisor(b, a % b) : a; }
    uint64_t at(uint64_t i) const { return uint64_t((start + (unsigned __int128)i * step) % n); }
};

bool run_block() {
    const unsigned n = unsigned(threads.size());
    for (Thread &thread : threads) thread.state = FRESH;
    for (Warp &warp : warps) warp.arrived = 0;
    barriers[0] = barriers[1] = Barrier{};
    unsigned ended = 0;
    while (ended < n && !broken) {
        const Order order(n);
        bool moved = false;
        uint64_t at = order.start;
        for (unsigned i = 0; i < n && !broken; i++, at = (at + order.step) % n) {
            Thread &thread = threads[at];
            if (thread.state != FRESH && thread.state != READY) continue;
            resume(unsigned(at));
            moved = true;
            ended += thread.state == ENDED;
        }
        Barrier &b = barriers[gathering];
        if (b.arrived > 0 && b.arrived == n - ended) {
            if (ended > 0) mistake("threads ended while others of their block wait at a barrier", b.line);
            gathering ^= 1;
            barriers[gathering].arrived = 0;
            for (Thread &thread : threads)
                if (thread.state == AT_BARRIER) thread.state = READY;
        } else if (!moved) {
            int line = 0;
            for (const Thread &thread : threads)
                if (thread.state == AT_BARRIER || thread.state == AT_WARP) line = thread.line;
            mistake("threads wait for others that never come", line);
        }
    }
    for (Thread &thread : threads) {
        if (thread.stack) free_stacks.push_back(thread.stack);
        thread.stack = nullptr;
    }
    return !broken;
}

} // namespace

std::string running() {
    if (!now) return "no kernel runs";
    char text[512];
    const Size3 b = now->module->block, t = now->module->thread;
    snprintf(text, sizeof text, "kernel %s, block (%u, %u, %u) of (%u, %u, %u), thread (%u, %u, %u), source %s", now->name,
             b.x, b.y, b.z, now->grid.x, now->grid.y, now->grid.z, t.x, t.y, t.z, now->source);
    return text;
}

bool run_kernel(const LaunchOf &launch) {
    if (under_asan() && !asan.start) {
        asan.start = reinterpret_cast<decltype(asan.start)>(dlsym(RTLD_DEFAULT, "__sanitizer_start_switch_fiber"));
        asan.finish = reinterpret_cast<decltype(asan.finish)>(dlsym(RTLD_DEFAULT, "__sanitizer_finish_switch_fiber"));
    }
    is_random = setting("order") == 2;
    random_state = uint64_t(setting("seed")) * 0x9e3779b97f4a7c15u | 1;
    now = &launch;
    broken = false;
    FakeModule &module = *launch.module;
    module.barrier = on_barrier;
    module.warp = on_warp;
    module.jitter = on_jitter;
    module.lane = on_lane;
    module.block_size = launch.block;
    module.grid_size = launch.grid;
    const unsigned n = launch.block.x * launch.block.y * launch.block.z;
    threads.resize(n);
    warps.resize((n + 31) / 32);
    for (unsigned i = 0; i < n; i++)
        threads[i].index = {i % launch.block.x, i / launch.block.x % launch.block.y, i / launch.block.x / launch.block.y};
    // The end lies at the end of the memory, so that a sanitizer sees what goes beyond.
    std::vector<char> dynamic(launch.shared_bytes + 16);
    module.dynamic_shared = reinterpret_cast<void *>((reinterpret_cast<uintptr_t>(dynamic.data()) + 15) & ~uintptr_t(15));
    const uint64_t blocks = uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
    const Order order(blocks);
    uint64_t at = order.start;
    for (uint64_t i = 0; i < blocks && !broken; i++, at = (at + order.step) % blocks) {
        module.block = {unsigned(at % launch.grid.x), unsigned(at / launch.grid.x % launch.grid.y),
                        unsigned(at / launch.grid.x / launch.grid.y)};
        fill_shared(module.shared_begin, module.shared_end);
        if (launch.shared_bytes) memset(module.dynamic_shared, 0xff, launch.shared_bytes);
        run_block();
    }
    now = nullptr;
    return !broken;
}
