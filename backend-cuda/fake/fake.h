// What the parts of the fake driver share. See README.md.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#define FAKE_EXPORT extern "C" __attribute__((visibility("default")))

// The stand-in for cuBLASLt is a library of its own and uses these too.
#pragma GCC visibility push(default)

// CUresult, as far as it is used.
enum Result : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    DEVICE_UNAVAILABLE = 46,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    PEER_ACCESS_UNSUPPORTED = 217,
    INVALID_PTX = 218,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    PEER_ACCESS_ALREADY_ENABLED = 704,
    LAUNCH_FAILED = 719,
    NOT_PERMITTED = 800,
    NOT_SUPPORTED = 801,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_INVALIDATED = 901,
};

using Pointer = uint64_t;

// --- setting.cpp ---

// A number that the environment (FAKE_CUDA_<NAME>) or a test (fake_cuda_set) chose.
long long setting(const char *name);
void set(const char *name, long long value);
// Counts up one of the numbers that tests read.
void count(const char *name, long long by = 1);
// Takes one off a countdown: true if it has just come to its end.
bool comes_due(const char *name);
// Tells of a mistake of the program under test. It goes to stderr, and the process will end with status 86.
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

// One lock for everything: what is tested is what happens, not at the same time as what.
extern std::recursive_mutex world;
// Launches and products return at once and do nothing.
extern std::atomic<bool> idle;
using Lock = std::lock_guard<std::recursive_mutex>;

// --- device.cpp ---

struct Device {
    int number = 0;
    int retained = 0;
    // Why every call fails from now on, if it does.
    int lost = 0;
    uint64_t peers = 0;
    size_t used = 0;
};

extern const int MAX_DEVICES;
Device *device_of(int number);
// The device of the calling thread's context; null if there is none.
Device *current();
// What every call that works on a device asks first. Counts towards losing the device.
Result enter(Device *&device);

// --- memory.cpp ---

struct Allocation {
    Pointer base;
    size_t size;
    // -1 for page-locked host memory.
    int device;
    uint64_t serial;
    bool pooled;
    bool freed;
    void *map;
    size_t map_size;
};

bool under_asan();
void unpoison(void *from, size_t bytes);
// The allocation, live or freed, that an address lies in or just behind; null if none.
const Allocation *allocation_at(Pointer address, bool may_be_end);
// Whether a piece of memory may be used by a device; says so if not.
bool check_range(Pointer address, size_t bytes, const Device *device, const char *what);
bool is_pinned(const void *address);
// Looks whether anything was written behind the end of an allocation.
void check_canaries(const char *after);
void free_all_of(int device, bool leaked);

// --- stream.cpp ---

struct Stream;
using Work = std::function<void()>;
// Runs work on a stream: now, later, or, if the stream is being captured, whenever the graph runs. Null is the default stream.
Result submit(Stream *stream, Work work);
bool is_live_stream(Stream *stream);
bool is_capturing(Stream *stream);
void drain_all();
// Gives every stream's failure back: work that failed says so at the next synchronisation.
void fail_later(int device, int code);

// --- fibre.cpp ---

struct Size3 {
    unsigned x, y, z;
};

// The same as in `kernel.h`.
struct FakeModule {
    Size3 thread, block, block_size, grid_size;
    int (*barrier)(int line, int operation, int value);
    const void *(*warp)(unsigned mask, const void *value, int size, int line);
    void (*jitter)();
    unsigned (*lane)();
    void *dynamic_shared;
    char *shared_begin, *shared_end;
};

struct LaunchOf {
    FakeModule *module;
    void (*entry)(void **);
    const char *name;
    const char *source;
    Size3 grid, block;
    unsigned shared_bytes;
    void **values;
};

// Runs a kernel to its end; false if it made a mistake, which has been reported.
bool run_kernel(const LaunchOf &launch);
// What runs just now, for messages.
std::string running();

#pragma GCC visibility pop
