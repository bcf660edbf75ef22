// Memory: of devices, pools and page-locked memory of the host. Each allocation has pages of its own, ends (but for its
// alignment) at a page that nobody may touch, and is itself untouchable once it is freed.
#include "fake.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <map>
#include <set>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr size_t PAGE = 4096, ALIGN = 256;
constexpr unsigned char CANARY = 0xc5;
// How much address space freed allocations may keep.
constexpr size_t QUARANTINE = size_t(64) << 30;
constexpr size_t QUARANTINED = 2048;

std::map<Pointer, Allocation> &all() {
    static auto *map = new std::map<Pointer, Allocation>;
    return *map;
}
std::deque<Pointer> freed;
size_t freed_bytes = 0;
uint64_t serial = 0;
struct sigaction former_segv, former_bus;

size_t up(size_t value, size_t to) { return (value + to - 1) / to * to; }

// Tells whose memory was touched before the process dies of it.
void on_fault(int number, siginfo_t *info, void *) {
    const Pointer address = reinterpret_cast<Pointer>(info->si_addr);
    static bool again = false;
    if (!again) {
        again = true;
        const Allocation *near = nullptr;
        for (const auto &[base, allocation] : all()) {
            const Pointer from = reinterpret_cast<Pointer>(allocation.map);
            if (address >= from && address < from + allocation.map_size) near = &allocation;
        }
        if (near) {
            const bool inside = address >= near->base && address < near->base + near->size;
            report("%s at %#llx: %s allocation %llu of %zu bytes, offset %lld (%s)",
                   near->freed ? "use after free" : "access out of bounds", (unsigned long long)address,
                   inside ? "in" : "beside", (unsigned long long)near->serial, near->size,
                   (long long)(address - near->base), running().c_str());
        } else if (running() != "no kernel runs") {
            report("access to %#llx, which is nobody's memory, or not aligned (%s)", (unsigned long long)address,
                   running().c_str());
        }
    }
    sigaction(number, number == SIGSEGV ? &former_segv : &former_bus, nullptr);
}

void watch() {
    static bool watching = false;
    if (watching || under_asan()) return;
    watching = true;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &former_segv);
    sigaction(SIGBUS, &action, &former_bus);
}

void release(Allocation &allocation) {
    if (under_asan()) {
        free(allocation.map);
    } else {
        munmap(allocation.map, allocation.map_size);
    }
}

bool canary_is_whole(const Allocation &a) {
    if (under_asan() || a.freed) return true;
    const auto *bytes = reinterpret_cast<const unsigned char *>(a.base);
    for (size_t i = a.size; i < up(a.size, ALIGN); i++)
        if (bytes[i] != CANARY) return false;
    return true;
}

Result new_allocation(size_t bytes, int device, bool pooled, Pointer *out) {
    if (bytes == 0) return INVALID_VALUE;
    watch();
    Allocation a{};
    a.size = bytes;
    a.device = device;
    a.pooled = pooled;
    const size_t room = up(bytes, ALIGN);
    if (under_asan()) {
        if (posix_memalign(&a.map, ALIGN, bytes)) return OUT_OF_MEMORY;
        a.map_size = bytes;
        a.base = reinterpret_cast<Pointer>(a.map);
    } else {
        a.map_size = up(room, PAGE) + 2 * PAGE;
        a.map = mmap(nullptr, a.map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (a.map == MAP_FAILED) return OUT_OF_MEMORY;
        char *pages = static_cast<char *>(a.map) + PAGE;
        if (mprotect(pages, a.map_size - 2 * PAGE, PROT_READ | PROT_WRITE)) {
            munmap(a.map, a.map_size);
            return OUT_OF_MEMORY;
        }
        a.base = reinterpret_cast<Pointer>(pages + up(room, PAGE) - room);
        memset(reinterpret_cast<char *>(a.base) + bytes, CANARY, room - bytes);
    }
    memset(reinterpret_cast<void *>(a.base), int(setting("poison")), bytes);
    a.serial = ++serial;
    all()[a.base] = a;
    *out = a.base;
    return SUCCESS;
}

Result new_device_allocation(size_t bytes, bool pooled, Pointer *out) {
    Device *device;
    if (const Result result = enter(device)) return result;
    const long long above = setting("oom_above");
    if (comes_due("oom_at") || (above > 0 && bytes > size_t(above)) || device->used + bytes > size_t(setting("memory"))) {
        count("out_of_memory");
        return OUT_OF_MEMORY;
    }
    const Result result = new_allocation(bytes, device->number, pooled, out);
    if (result == SUCCESS) {
        device->used += bytes;
        count("allocations");
        count("live_allocations");
        count("live_bytes", (long long)bytes);
    }
    return result;
}

// The memory becomes untouchable but stays known, so that a later use can be told from others.
void retire(Allocation &a) {
    if (!canary_is_whole(a))
        report("something wrote behind the end of allocation %llu of %zu bytes", (unsigned long long)a.serial, a.size);
    if (a.device >= 0) {
        device_of(a.device)->used -= a.size;
        count("live_allocations", -1);
        count("live_bytes", -(long long)a.size);
    } else {
        count("live_host", -1);
    }
    a.freed = true;
    if (under_asan()) {
        // The sanitizer keeps its own quarantine.
        free(a.map);
        all().erase(a.base);
        return;
    }
    char *pages = static_cast<char *>(a.map);
    madvise(pages, a.map_size, MADV_DONTNEED);
    mprotect(pages, a.map_size, PROT_NONE);
    freed.push_back(a.base);
    freed_bytes += a.map_size;
    while (freed.size() > QUARANTINED || freed_bytes > QUARANTINE) {
        const auto oldest = all().find(freed.front());
        freed.pop_front();
        freed_bytes -= oldest->second.map_size;
        release(oldest->second);
        all().erase(oldest);
    }
}

Result free_allocation(Pointer address, bool host, const char *function) {
    const auto found = all().find(address);
    if (found == all().end()) {
        report("%s of %#llx, which is not the beginning of an allocation", function, (unsigned long long)address);
        return INVALID_VALUE;
    }
    Allocation &a = found->second;
    if (a.freed) {
        report("%s of allocation %llu a second time", function, (unsigned long long)a.serial);
        return INVALID_VALUE;
    }
    if ((a.device < 0) != host) {
        report("%s of allocation %llu, which is the other kind of memory", function, (unsigned long long)a.serial);
        return INVALID_VALUE;
    }
    retire(a);
    return SUCCESS;
}

struct Pool {
    int device;
    uint64_t threshold = 0;
};
std::set<Pool *> &pools() {
    static auto *set = new std::set<Pool *>;
    return *set;
}

} // namespace

bool under_asan() {
    static const bool found = dlsym(RTLD_DEFAULT, "__asan_init") != nullptr;
    return found;
}

void unpoison(void *from, size_t bytes) {
    static const auto function =
        reinterpret_cast<void (*)(void *, size_t)>(dlsym(RTLD_DEFAULT, "__asan_unpoison_memory_region"));
    if (function) function(from, bytes);
}

const Allocation *allocation_at(Pointer address, bool may_be_end) {
    auto next = all().upper_bound(address);
    if (next == all().begin()) return nullptr;
    const Allocation &a = std::prev(next)->second;
    const Pointer end = a.base + a.size;
    return address < end || (may_be_end && address == end) ? &a : nullptr;
}

bool check_range(Pointer address, size_t bytes, const Device *device, const char *what) {
    const Allocation *a = allocation_at(address, bytes == 0);
    if (!a) {
        report("%s uses %#llx, which is no memory of a device", what, (unsigned long long)address);
        return false;
    }
    if (a->freed) {
        report("%s uses allocation %llu of %zu bytes, which was freed", what, (unsigned long long)a->serial, a->size);
        return false;
    }
    if (address + bytes > a->base + a->size) {
        report("%s uses %zu bytes from offset %llu of allocation %llu, which has %zu", what, bytes,
               (unsigned long long)(address - a->base), (unsigned long long)a->serial, a->size);
        return false;
    }
    if (device && a->device >= 0 && a->device != device->number && !(device->peers >> a->device & 1)) {
        report("%s on device %d uses memory of device %d without peer access", what, device->number, a->device);
        return false;
    }
    return true;
}

bool is_pinned(const void *address) {
    const Allocation *a = allocation_at(reinterpret_cast<Pointer>(address), false);
    return a && a->device < 0 && !a->freed;
}

void check_canaries(const char *after) {
    for (auto &[base, a] : all()) {
        if (canary_is_whole(a)) continue;
        report("after %s: something wrote behind the end of allocation %llu of %zu bytes", after,
               (unsigned long long)a.serial, a.size);
        memset(reinterpret_cast<char *>(a.base) + a.size, CANARY, up(a.size, ALIGN) - a.size);
    }
}

void free_all_of(int device, bool leaked) {
    std::vector<Pointer> live;
    for (auto &[base, a] : all())
        if (!a.freed && (device == -2 || a.device == device)) live.push_back(base);
    for (const Pointer base : live) {
        Allocation &a = all()[base];
        if (leaked)
            report("leak: allocation %llu of %zu bytes (%s) was never freed", (unsigned long long)a.serial, a.size,
                   a.device < 0 ? "of the host" : a.pooled ? "from a pool" : "of a device");
        if (device != -2) retire(a);
    }
}

FAKE_EXPORT int cuMemAlloc_v2(Pointer *out, size_t bytes) {
    Lock lock(world);
    return new_device_allocation(bytes, false, out);
}

FAKE_EXPORT int cuMemFree_v2(Pointer address) {
    Lock lock(world);
    Device *device;
    const Result state = enter(device);
    if (state == NOT_INITIALIZED || state == INVALID_CONTEXT) return state;
    if (address == 0) return SUCCESS;
    drain_all();
    const Result result = free_allocation(address, false, "cuMemFree");
    return state ? state : result;
}

FAKE_EXPORT int cuMemGetInfo_v2(size_t *available, size_t *total) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    *total = size_t(setting("memory"));
    *available = *total - device->used;
    return SUCCESS;
}

FAKE_EXPORT int cuMemHostAlloc(void **out, size_t bytes, unsigned) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (comes_due("host_oom_at")) return OUT_OF_MEMORY;
    Pointer address = 0;
    const Result result = new_allocation(bytes, -1, false, &address);
    if (result == SUCCESS) {
        count("live_host");
        *out = reinterpret_cast<void *>(address);
    }
    return result;
}

FAKE_EXPORT int cuMemFreeHost(void *address) {
    Lock lock(world);
    drain_all();
    return free_allocation(reinterpret_cast<Pointer>(address), true, "cuMemFreeHost");
}

// --- Pools: every allocation is new, so that what a pool would hide is seen ---

FAKE_EXPORT int cuMemPoolCreate(Pool **out, const void *properties) {
    Lock lock(world);
    // CUmemPoolProps: allocation type, handle types, location type, location number.
    int fields[4];
    memcpy(fields, properties, sizeof fields);
    if (!setting("pools") || fields[0] != 1 || fields[2] != 1 || fields[3] < 0 || fields[3] >= setting("devices"))
        return INVALID_VALUE;
    *out = new Pool{fields[3]};
    pools().insert(*out);
    return SUCCESS;
}

FAKE_EXPORT int cuMemPoolDestroy(Pool *pool) {
    Lock lock(world);
    if (pools().erase(pool) == 0) {
        report("cuMemPoolDestroy of a pool that does not live");
        return INVALID_VALUE;
    }
    delete pool;
    return SUCCESS;
}

FAKE_EXPORT int cuDeviceGetDefaultMemPool(Pool **out, int device) {
    Lock lock(world);
    static Pool *defaults[8];
    if (device < 0 || device >= setting("devices")) return INVALID_DEVICE;
    if (!setting("pools")) return NOT_SUPPORTED;
    if (!defaults[device]) pools().insert(defaults[device] = new Pool{device});
    *out = defaults[device];
    return SUCCESS;
}

FAKE_EXPORT int cuMemPoolSetAttribute(Pool *pool, int attribute, void *value) {
    Lock lock(world);
    if (!pools().count(pool)) return INVALID_VALUE;
    if (attribute == 4) memcpy(&pool->threshold, value, sizeof pool->threshold);
    return SUCCESS;
}

FAKE_EXPORT int cuMemPoolGetAttribute(Pool *pool, int attribute, void *value) {
    Lock lock(world);
    if (!pools().count(pool)) return INVALID_VALUE;
    uint64_t bytes = 0;
    for (const auto &[base, a] : all())
        if (!a.freed && a.pooled && a.device == pool->device) bytes += a.size;
    if (attribute == 4) bytes = pool->threshold;
    memcpy(value, &bytes, attribute < 4 ? sizeof(int) : sizeof bytes);
    return SUCCESS;
}

FAKE_EXPORT int cuMemPoolTrimTo(Pool *pool, size_t) {
    Lock lock(world);
    return pools().count(pool) ? SUCCESS : INVALID_VALUE;
}

FAKE_EXPORT int cuMemPoolSetAccess(Pool *pool, const void *, size_t) {
    Lock lock(world);
    return pools().count(pool) ? SUCCESS : INVALID_VALUE;
}

static int allocate_ordered(Pointer *out, size_t bytes, Stream *stream) {
    if (!is_live_stream(stream)) return INVALID_HANDLE;
    if (is_capturing(stream)) return STREAM_CAPTURE_UNSUPPORTED;
    return new_device_allocation(bytes, true, out);
}

FAKE_EXPORT int cuMemAllocAsync(Pointer *out, size_t bytes, Stream *stream) {
    Lock lock(world);
    return allocate_ordered(out, bytes, stream);
}

FAKE_EXPORT int cuMemAllocFromPoolAsync(Pointer *out, size_t bytes, Pool *pool, Stream *stream) {
    Lock lock(world);
    return pools().count(pool) ? allocate_ordered(out, bytes, stream) : INVALID_VALUE;
}

FAKE_EXPORT int cuMemFreeAsync(Pointer address, Stream *stream) {
    Lock lock(world);
    Device *device;
    const Result state = enter(device);
    if (state == NOT_INITIALIZED || state == INVALID_CONTEXT) return state;
    const Allocation *a = allocation_at(address, false);
    if (!a || a->base != address || a->freed) return free_allocation(address, false, "cuMemFreeAsync");
    const Result result = submit(stream, [=] { free_allocation(address, false, "cuMemFreeAsync"); });
    return state ? state : result;
}
