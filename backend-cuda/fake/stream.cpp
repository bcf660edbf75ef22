// Streams, events, copies and graphs. With `async` off, work runs when it is submitted; with it on, as late as it may: when
// somebody waits for it.
#include "fake.h"

#include <cstring>
#include <deque>
#include <memory>
#include <set>
#include <vector>

struct Stream {
    int device = 0;
    std::deque<Work> waiting;
    uint64_t submitted = 0, done = 0;
    bool running = false, capturing = false;
    // Whether a call that a capture does not allow has spoilt it.
    bool spoilt = false;
    std::vector<Work> captured;
};

namespace {

struct Event {
    // Which of which stream's work it stands behind.
    Stream *stream = nullptr;
    uint64_t position = 0;
    bool captured = false;
};

struct Graph {
    std::vector<Work> work;
};

struct Executable {
    std::vector<Work> work;
};

template <class T> std::set<T *> &live() {
    static auto *set = new std::set<T *>;
    return *set;
}

// A failure that was found while work ran: the next call that waits gives it back, as all calls after it do.
int failures[8];

template <class T> bool is_live(T *handle, const char *what) {
    if (live<T>().count(handle)) return true;
    report("%s that does not live", what);
    return false;
}

Stream &the_default() {
    static Stream stream;
    return stream;
}

// Runs what waits, up to a number of pieces of work since the stream began.
void drain(Stream &stream, uint64_t until) {
    if (stream.running) return;
    stream.running = true;
    while (stream.done < until && !stream.waiting.empty()) {
        const Work work = std::move(stream.waiting.front());
        stream.waiting.pop_front();
        work();
        stream.done++;
    }
    stream.running = false;
}

Stream *resolve(Stream *stream) { return stream ? stream : &the_default(); }

int failure_of(const Device *device) {
    if (device->lost) return device->lost;
    const int code = failures[device->number];
    failures[device->number] = 0;
    return code;
}

struct Copy {
    char *to;
    const char *from;
    size_t bytes;
};

Result copy(Copy c, Stream *stream) {
    count("copies");
    return submit(stream, [c] { memmove(c.to, c.from, c.bytes); });
}

} // namespace

bool is_live_stream(Stream *stream) {
    return !stream || live<Stream>().count(stream) || is_live<Stream>(stream, "a call with a stream");
}

bool is_capturing(Stream *stream) { return stream && stream->capturing; }

void fail_later(int device, int code) { failures[device] = code; }

Result submit(Stream *handle, Work work) {
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!is_live_stream(handle)) return INVALID_HANDLE;
    Stream &stream = *resolve(handle);
    if (handle && stream.device != device->number) {
        report("work for a stream of device %d while the context of device %d is current", stream.device, device->number);
        return INVALID_HANDLE;
    }
    if (stream.capturing) {
        if (stream.spoilt) return STREAM_CAPTURE_INVALIDATED;
        stream.captured.push_back(std::move(work));
        return SUCCESS;
    }
    stream.submitted++;
    stream.waiting.push_back(std::move(work));
    if (!setting("async")) drain(stream, stream.submitted);
    return SUCCESS;
}

void drain_all() {
    drain(the_default(), UINT64_MAX);
    for (Stream *stream : std::vector<Stream *>(live<Stream>().begin(), live<Stream>().end())) drain(*stream, UINT64_MAX);
}

FAKE_EXPORT int cuStreamCreate(Stream **out, unsigned) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    *out = new Stream;
    (*out)->device = device->number;
    live<Stream>().insert(*out);
    return SUCCESS;
}

FAKE_EXPORT int cuStreamCreateWithPriority(Stream **out, unsigned flags, int) { return cuStreamCreate(out, flags); }

FAKE_EXPORT int cuStreamDestroy_v2(Stream *stream) {
    Lock lock(world);
    if (!is_live(stream, "cuStreamDestroy of a stream")) return INVALID_HANDLE;
    drain(*stream, UINT64_MAX);
    live<Stream>().erase(stream);
    delete stream;
    return SUCCESS;
}

FAKE_EXPORT int cuStreamSynchronize(Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!is_live_stream(stream)) return INVALID_HANDLE;
    if (is_capturing(stream)) {
        stream->spoilt = true;
        return STREAM_CAPTURE_UNSUPPORTED;
    }
    count("synchronizations");
    drain(*resolve(stream), UINT64_MAX);
    return failure_of(device);
}

FAKE_EXPORT int cuStreamQuery(Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!is_live_stream(stream)) return INVALID_HANDLE;
    Stream &s = *resolve(stream);
    if (s.waiting.empty()) return failure_of(device);
    // Time passes while somebody asks.
    drain(s, s.done + 1);
    return NOT_READY;
}

// --- Events ---

FAKE_EXPORT int cuEventCreate(Event **out, unsigned) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    live<Event>().insert(*out = new Event);
    return SUCCESS;
}

FAKE_EXPORT int cuEventDestroy_v2(Event *event) {
    Lock lock(world);
    if (!is_live(event, "cuEventDestroy of an event")) return INVALID_HANDLE;
    live<Event>().erase(event);
    delete event;
    return SUCCESS;
}

FAKE_EXPORT int cuEventRecord(Event *event, Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!is_live(event, "cuEventRecord of an event") || !is_live_stream(stream)) return INVALID_HANDLE;
    event->stream = stream;
    event->captured = is_capturing(stream);
    event->position = resolve(stream)->submitted;
    return SUCCESS;
}

// Whether all that an event stands behind is done. A stream that is gone has done everything.
static bool has_happened(const Event &event) {
    if (event.stream && !live<Stream>().count(event.stream)) return true;
    return resolve(event.stream)->done >= event.position;
}

static void wait_for(const Event &event) {
    if (!has_happened(event)) drain(*resolve(event.stream), event.position);
}

FAKE_EXPORT int cuEventQuery(Event *event) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!is_live(event, "cuEventQuery of an event")) return INVALID_HANDLE;
    if (has_happened(*event)) return SUCCESS;
    drain(*resolve(event->stream), resolve(event->stream)->done + 1);
    return NOT_READY;
}

FAKE_EXPORT int cuEventSynchronize(Event *event) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!is_live(event, "cuEventSynchronize of an event")) return INVALID_HANDLE;
    wait_for(*event);
    return failure_of(device);
}

// Time has no meaning here; a time that is not zero spares programs a division by it.
FAKE_EXPORT int cuEventElapsedTime_v2(float *milliseconds, Event *from, Event *to) {
    Lock lock(world);
    if (!is_live(from, "cuEventElapsedTime of an event") || !is_live(to, "cuEventElapsedTime of an event"))
        return INVALID_HANDLE;
    if (!has_happened(*from) || !has_happened(*to)) return NOT_READY;
    *milliseconds = 1;
    return SUCCESS;
}

FAKE_EXPORT int cuEventElapsedTime(float *milliseconds, Event *from, Event *to) {
    return cuEventElapsedTime_v2(milliseconds, from, to);
}

FAKE_EXPORT int cuStreamWaitEvent(Stream *stream, Event *event, unsigned) {
    Lock lock(world);
    if (!is_live(event, "cuStreamWaitEvent for an event")) return INVALID_HANDLE;
    // What the event stands behind now counts, whatever becomes of the event.
    const Event snapshot = *event;
    return submit(stream, [snapshot] { wait_for(snapshot); });
}

// --- Copies ---

FAKE_EXPORT int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (bytes == 0) return SUCCESS;
    if (!check_range(to, bytes, device, "cuMemcpyHtoDAsync")) return INVALID_VALUE;
    auto *target = reinterpret_cast<char *>(to);
    if (is_pinned(from)) return copy({target, static_cast<const char *>(from), bytes}, stream);
    // Pageable memory is read before the call returns.
    auto held = std::make_shared<std::vector<char>>(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
    count("copies");
    return submit(stream, [=] { memcpy(target, held->data(), bytes); });
}

FAKE_EXPORT int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (bytes == 0) return SUCCESS;
    if (!check_range(from, bytes, device, "cuMemcpyDtoHAsync")) return INVALID_VALUE;
    const Result result = copy({static_cast<char *>(to), reinterpret_cast<const char *>(from), bytes}, stream);
    // Pageable memory is written before the call returns.
    if (result == SUCCESS && !is_pinned(to) && !is_capturing(stream)) drain(*resolve(stream), UINT64_MAX);
    return result;
}

FAKE_EXPORT int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (bytes == 0) return SUCCESS;
    if (!check_range(to, bytes, device, "cuMemcpyDtoDAsync") || !check_range(from, bytes, device, "cuMemcpyDtoDAsync"))
        return INVALID_VALUE;
    return copy({reinterpret_cast<char *>(to), reinterpret_cast<const char *>(from), bytes}, stream);
}

FAKE_EXPORT int cuMemcpyPeerAsync(Pointer to, Device *to_context, Pointer from, Device *from_context, size_t bytes,
                                  Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (bytes == 0) return SUCCESS;
    if (!check_range(to, bytes, to_context, "cuMemcpyPeerAsync") ||
        !check_range(from, bytes, from_context, "cuMemcpyPeerAsync"))
        return INVALID_VALUE;
    return copy({reinterpret_cast<char *>(to), reinterpret_cast<const char *>(from), bytes}, stream);
}

FAKE_EXPORT int cuMemsetD8Async(Pointer to, unsigned char value, size_t bytes, Stream *stream) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (bytes == 0) return SUCCESS;
    if (!check_range(to, bytes, device, "cuMemsetD8Async")) return INVALID_VALUE;
    return submit(stream, [=] { memset(reinterpret_cast<void *>(to), value, bytes); });
}

// --- Graphs ---

// What every call that concerns graphs asks first; the steps of making one can be told to fail.
static Result enter_graph(bool makes) {
    Device *device;
    if (const Result result = enter(device)) return result;
    return makes && comes_due("capture_fail_at") ? Result(setting("capture_fail_code")) : SUCCESS;
}

FAKE_EXPORT int cuStreamBeginCapture_v2(Stream *stream, int) {
    Lock lock(world);
    if (!stream) return STREAM_CAPTURE_UNSUPPORTED;
    if (!is_live_stream(stream)) return INVALID_HANDLE;
    if (const Result result = enter_graph(true)) return result;
    if (stream->capturing) return INVALID_VALUE;
    stream->capturing = true;
    stream->spoilt = false;
    stream->captured.clear();
    return SUCCESS;
}

FAKE_EXPORT int cuStreamIsCapturing(Stream *stream, int *status) {
    Lock lock(world);
    if (!is_live_stream(stream)) return INVALID_HANDLE;
    *status = !is_capturing(stream) ? 0 : stream->spoilt ? 2 : 1;
    return SUCCESS;
}

FAKE_EXPORT int cuStreamEndCapture(Stream *stream, Graph **out) {
    Lock lock(world);
    if (!stream || !is_live_stream(stream)) return INVALID_HANDLE;
    if (!stream->capturing) return INVALID_VALUE;
    stream->capturing = false;
    std::vector<Work> work = std::move(stream->captured);
    *out = nullptr;
    if (stream->spoilt) return STREAM_CAPTURE_INVALIDATED;
    if (const Result result = enter_graph(true)) return result;
    live<Graph>().insert(*out = new Graph{std::move(work)});
    count("live_graphs");
    return SUCCESS;
}

FAKE_EXPORT int cuGraphInstantiateWithFlags(Executable **out, Graph *graph, unsigned long long) {
    Lock lock(world);
    if (!is_live(graph, "cuGraphInstantiate of a graph")) return INVALID_HANDLE;
    if (const Result result = enter_graph(true)) return result;
    live<Executable>().insert(*out = new Executable{graph->work});
    count("live_graphs");
    return SUCCESS;
}

FAKE_EXPORT int cuGraphLaunch(Executable *executable, Stream *stream) {
    Lock lock(world);
    if (!is_live(executable, "cuGraphLaunch of a graph")) return INVALID_HANDLE;
    if (const Result result = enter_graph(false)) return result;
    count("graphs");
    if (comes_due("launch_fail_at")) return int(setting("launch_fail_code"));
    return submit(stream, [work = executable->work] {
        for (const Work &step : work) step();
    });
}

FAKE_EXPORT int cuGraphUpload(Executable *executable, Stream *) {
    Lock lock(world);
    return is_live(executable, "cuGraphUpload of a graph") ? SUCCESS : INVALID_HANDLE;
}

FAKE_EXPORT int cuGraphDestroy(Graph *graph) {
    Lock lock(world);
    if (!is_live(graph, "cuGraphDestroy of a graph")) return INVALID_HANDLE;
    live<Graph>().erase(graph);
    count("live_graphs", -1);
    delete graph;
    return SUCCESS;
}

FAKE_EXPORT int cuGraphExecDestroy(Executable *executable) {
    Lock lock(world);
    if (!is_live(executable, "cuGraphExecDestroy of a graph")) return INVALID_HANDLE;
    live<Executable>().erase(executable);
    count("live_graphs", -1);
    delete executable;
    return SUCCESS;
}
