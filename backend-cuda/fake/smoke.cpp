// A client that shows that the fake works: right programs give right results, and wrong ones are told of.
//
// `smoke` runs everything; it starts itself once for each planted mistake, as those end the process with status 86.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using Pointer = uint64_t;
extern "C" {
int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuDevicePrimaryCtxRelease_v2(int);
int cuCtxSetCurrent(void *);
int cuStreamCreate(void **, unsigned);
int cuStreamDestroy_v2(void *);
int cuStreamSynchronize(void *);
int cuStreamBeginCapture_v2(void *, int);
int cuStreamEndCapture(void *, void **);
int cuGraphInstantiateWithFlags(void **, void *, unsigned long long);
int cuGraphLaunch(void *, void *);
int cuGraphDestroy(void *);
int cuGraphExecDestroy(void *);
int cuMemAlloc_v2(Pointer *, size_t);
int cuMemFree_v2(Pointer);
int cuMemHostAlloc(void **, size_t, unsigned);
int cuMemFreeHost(void *);
int cuMemcpyHtoDAsync_v2(Pointer, const void *, size_t, void *);
int cuMemcpyDtoHAsync_v2(void *, Pointer, size_t, void *);
int cuModuleLoadData(void **, const void *);
int cuModuleUnload(void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuFuncGetAttribute(int *, int, void *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
int nvrtcCreateProgram(void **, const char *, const char *, int, const char *const *, const char *const *);
int nvrtcCompileProgram(void *, int, const char *const *);
int nvrtcGetProgramLogSize(void *, size_t *);
int nvrtcGetProgramLog(void *, char *);
int nvrtcGetCUBINSize(void *, size_t *);
int nvrtcGetCUBIN(void *, char *);
int nvrtcGetPTXSize(void *, size_t *);
int nvrtcGetPTX(void *, char *);
int nvrtcDestroyProgram(void **);
int fake_cuda_set(const char *, const char *);
long long fake_cuda_get(const char *);
}

namespace {

void *the_stream;

void check(bool good, const char *what) {
    if (good) return;
    printf("smoke: FAILED: %s\n", what);
    fflush(stdout);
    _exit(1);
}
#define CHECK(condition) check(condition, #condition)

// The image of a source, as machine code or as PTX.
std::vector<char> compile(const char *source, const char *architecture = "--gpu-architecture=sm_90") {
    void *program;
    CHECK(nvrtcCreateProgram(&program, source, "kernel", 0, nullptr, nullptr) == 0);
    const char *options[] = {architecture, "--std=c++17", "--fmad=false"};
    const int result = nvrtcCompileProgram(program, 3, options);
    size_t size = 0;
    nvrtcGetProgramLogSize(program, &size);
    std::string log(size, '\0');
    nvrtcGetProgramLog(program, &log[0]);
    if (result) printf("%s\n", log.c_str());
    CHECK(result == 0);
    const bool is_virtual = strstr(architecture, "compute_");
    CHECK((is_virtual ? nvrtcGetPTXSize(program, &size) : nvrtcGetCUBINSize(program, &size)) == 0);
    std::vector<char> image(size);
    CHECK((is_virtual ? nvrtcGetPTX(program, image.data()) : nvrtcGetCUBIN(program, image.data())) == 0);
    CHECK(nvrtcDestroyProgram(&program) == 0);
    return image;
}

struct Kernel {
    void *module = nullptr, *function = nullptr;
    explicit Kernel(const char *source) {
        CHECK(cuModuleLoadData(&module, compile(source).data()) == 0);
        CHECK(cuModuleGetFunction(&function, module, "gradix") == 0);
    }
    ~Kernel() { CHECK(cuModuleUnload(module) == 0); }
    int run(unsigned blocks, unsigned threads, std::vector<void *> values, unsigned shared = 0) const {
        return cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, the_stream, values.data(), nullptr);
    }
};

struct Memory {
    Pointer pointer = 0;
    explicit Memory(size_t bytes) { CHECK(cuMemAlloc_v2(&pointer, bytes) == 0); }
    ~Memory() { CHECK(cuMemFree_v2(pointer) == 0); }
    template <class T> void write(const std::vector<T> &values) const {
        CHECK(cuMemcpyHtoDAsync_v2(pointer, values.data(), values.size() * sizeof(T), the_stream) == 0);
    }
    template <class T> std::vector<T> read(size_t n) const {
        std::vector<T> values(n);
        CHECK(cuMemcpyDtoHAsync_v2(values.data(), pointer, n * sizeof(T), the_stream) == 0);
        CHECK(cuStreamSynchronize(the_stream) == 0);
        return values;
    }
};

// Sums of 64 numbers a block: through shared memory, then through the warp.
const char SUM[] = R"(
struct Params { long long count; };
#define ENTRY(x, y, z) extern "C" __global__ __launch_bounds__((x) * (y) * (z))
ENTRY(64, 1, 1) void gradix(const Params p, const float *__restrict__ in, float *__restrict__ out) {
    __shared__ float part[64];
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    part[threadIdx.x] = i < p.count ? in[i] : 0.0f;
    __syncthreads();
    if (threadIdx.x < 32) {
        float sum = part[threadIdx.x] + part[threadIdx.x + 32];
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (threadIdx.x == 0) out[blockIdx.x] = sum;
    }
    const int odd = __syncthreads_count(threadIdx.x & 1);
    if (threadIdx.x == 5 && odd != 32) out[blockIdx.x] = -1;
})";

void sums() {
    const Kernel kernel(SUM);
    int bound = 0, shared = 0;
    CHECK(cuFuncGetAttribute(&bound, 0, kernel.function) == 0 && bound == 64);
    CHECK(cuFuncGetAttribute(&shared, 1, kernel.function) == 0 && shared == 256);
    std::vector<float> values(1000);
    for (size_t i = 0; i < values.size(); i++) values[i] = float(i % 17);
    const Memory in(4000), out(16 * 4);
    CHECK(std::isnan(out.read<float>(16)[7]));
    in.write(values);
    long long count = 1000;
    for (const char *order : {"ascending", "descending", "random"}) {
        fake_cuda_set("order", order);
        CHECK(kernel.run(16, 64, {&count, const_cast<Pointer *>(&in.pointer), const_cast<Pointer *>(&out.pointer)}) == 0);
        const auto sums = out.read<float>(16);
        for (size_t block = 0; block < 16; block++) {
            float expected = 0;
            for (size_t i = 64 * block; i < 64 * block + 64 && i < 1000; i++) expected += values[i];
            CHECK(sums[block] == expected);
        }
    }
    fake_cuda_set("order", "ascending");
}

// A ticket for each thread, dynamic shared memory, and mathematics of both widths.
const char TICKETS[] = R"(
extern "C" __global__ void gradix(unsigned *tickets, float *out, double *wide) {
    extern __shared__ float held[];
    held[threadIdx.x] = exp((float)threadIdx.x / 8);
    __syncthreads();
    const unsigned ticket = atomicAdd(tickets, 1u);
    out[ticket] = held[blockDim.x - 1 - threadIdx.x];
    atomicAdd(wide, log((double)held[threadIdx.x]));
})";

void tickets() {
    const Kernel kernel(TICKETS);
    const Memory counter(4), out(4 * 128), wide(8);
    counter.write(std::vector<unsigned>{0});
    wide.write(std::vector<double>{0});
    Pointer a = counter.pointer, b = out.pointer, c = wide.pointer;
    CHECK(kernel.run(4, 32, {&a, &b, &c}, 128) == 0);
    CHECK(counter.read<unsigned>(1)[0] == 128);
    CHECK(std::fabs(wide.read<double>(1)[0] - 4 * 496 / 8.0) < 1e-3);
    CHECK(out.read<float>(1)[0] == std::exp(31 / 8.0f));
}

void graphs() {
    const Kernel kernel("extern \"C\" __global__ void gradix(float *x) { x[threadIdx.x] = x[threadIdx.x] * 2 + 1; }");
    const Memory x(16);
    x.write(std::vector<float>{0, 1, 2, 3});
    Pointer a = x.pointer;
    void *graph, *executable;
    CHECK(cuStreamBeginCapture_v2(the_stream, 0) == 0);
    CHECK(kernel.run(1, 4, {&a}) == 0);
    CHECK(cuStreamEndCapture(the_stream, &graph) == 0);
    CHECK(cuGraphInstantiateWithFlags(&executable, graph, 0) == 0);
    CHECK(x.read<float>(1)[0] == 0);
    for (int i = 0; i < 3; i++) CHECK(cuGraphLaunch(executable, the_stream) == 0);
    CHECK(x.read<float>(4)[3] == 31);
    CHECK(cuGraphExecDestroy(executable) == 0 && cuGraphDestroy(graph) == 0);
}

// With late execution page-locked memory has its values only after somebody waited.
void late() {
    fake_cuda_set("async", "1");
    void *host;
    CHECK(cuMemHostAlloc(&host, 4, 0) == 0);
    const Memory x(4);
    x.write(std::vector<int>{7});
    *static_cast<int *>(host) = 1;
    CHECK(cuMemcpyDtoHAsync_v2(host, x.pointer, 4, the_stream) == 0);
    CHECK(*static_cast<int *>(host) == 1);
    CHECK(cuStreamSynchronize(the_stream) == 0);
    CHECK(*static_cast<int *>(host) == 7);
    CHECK(cuMemFreeHost(host) == 0);
    fake_cuda_set("async", "0");
}

void faults() {
    Pointer pointer;
    fake_cuda_set("oom_at", "2");
    const Memory first(64);
    CHECK(cuMemAlloc_v2(&pointer, 64) == 2);
    const Memory third(64);
    const Kernel kernel("extern \"C\" __global__ void gradix(int *x) { x[0] = 1; }");
    Pointer a = first.pointer;
    fake_cuda_set("launch_fail_at", "1");
    CHECK(kernel.run(1, 1, {&a}) == 719);
    CHECK(kernel.run(1, 1, {&a}) == 0);
    void *module;
    const auto image = compile("extern \"C\" __global__ void gradix(int *x) { x[0] = 1; }");
    fake_cuda_set("module_fail_at", "1");
    CHECK(cuModuleLoadData(&module, image.data()) == 200);
    auto spoilt = image;
    spoilt[spoilt.size() / 2] = char(spoilt[spoilt.size() / 2] ^ 1);
    CHECK(cuModuleLoadData(&module, spoilt.data()) == 200);
    CHECK(cuModuleLoadData(&module, compile("extern \"C\" __global__ void gradix() {}", "--gpu-architecture=sm_80").data()) == 209);
    CHECK(cuModuleLoadData(&module, compile("extern \"C\" __global__ void gradix() {}", "--gpu-architecture=compute_75").data()) == 0);
    CHECK(cuModuleUnload(module) == 0);
    fake_cuda_set("lost_at", "1");
    CHECK(cuStreamSynchronize(the_stream) == 719);
    CHECK(kernel.run(1, 1, {&a}) == 719);
    fake_cuda_set("defaults", "");
    CHECK(kernel.run(1, 1, {&a}) == 0);
}

// --- Mistakes, each of which has to be reported ---

struct Mistake {
    const char *name, *says, *source;
    unsigned threads;
};

const Mistake MISTAKES[] = {
    {"a barrier that some do not reach", "different barriers",
     "extern \"C\" __global__ void gradix(int *x) { if (threadIdx.x < 3) { __syncthreads(); } else {\n__syncthreads(); } x[0] = 1; }", 8},
    {"an early return", "ended while others",
     "extern \"C\" __global__ void gradix(int *x) { if (threadIdx.x == 3) return; __syncthreads(); x[0] = 1; }", 8},
    {"a wrong mask", "mask", "extern \"C\" __global__ void gradix(int *x) { x[0] = __shfl_down_sync(0xffu, 1, 1); }", 32},
    {"a warp that is not whole", "never come",
     "extern \"C\" __global__ void gradix(int *x) { x[0] = __shfl_down_sync(0xffffffffu, 1, 1); }", 16},
    {"a write behind the end", "behind the end", "extern \"C\" __global__ void gradix(int *x) { x[4 + threadIdx.x] = 1; }", 1},
    {"a write far behind the end", "out of bounds", "extern \"C\" __global__ void gradix(int *x) { x[1000] = 1; }", 1},
    {"a misaligned vector", "not aligned",
     "extern \"C\" __global__ void gradix(float *x) { *(volatile float4 *)nullptr; float4 v = *(float4 *)(x + 1); x[0] = v.x + v.w; }", 1},
};

void plant(const Mistake &mistake) {
    const Kernel kernel(mistake.source);
    const Memory x(16);
    Pointer a = x.pointer;
    kernel.run(1, mistake.threads, {&a});
    cuStreamSynchronize(the_stream);
}

void plant_in_host(const char *name) {
    Pointer pointer;
    if (!strcmp(name, "use after free")) {
        const Kernel kernel("extern \"C\" __global__ void gradix(int *x) { x[0] = 1; }");
        CHECK(cuMemAlloc_v2(&pointer, 64) == 0 && cuMemFree_v2(pointer) == 0);
        kernel.run(1, 1, {&pointer});
    } else if (!strcmp(name, "double free")) {
        CHECK(cuMemAlloc_v2(&pointer, 64) == 0 && cuMemFree_v2(pointer) == 0);
        cuMemFree_v2(pointer);
    } else if (!strcmp(name, "leak")) {
        fake_cuda_set("leaks", "1");
        CHECK(cuMemAlloc_v2(&pointer, 64) == 0);
    } else if (!strcmp(name, "long copy")) {
        char bytes[65] = {};
        CHECK(cuMemAlloc_v2(&pointer, 64) == 0);
        cuMemcpyHtoDAsync_v2(pointer, bytes, 65, the_stream);
    }
}

const char *const HOST_MISTAKES[] = {"use after free", "double free", "leak", "long copy"};

// Runs this program again for one mistake, and looks for the report.
void expect(const char *program, const char *name, const char *says) {
    const std::string command = std::string(program) + " --plant '" + name + "' 2>&1";
    FILE *pipe = popen(command.c_str(), "r");
    std::string output;
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, pipe)) > 0;) output.append(part, n);
    const int status = pclose(pipe);
    if (output.find(says) == std::string::npos || status == 0) {
        printf("smoke: FAILED: %s was not reported (status %d): %s\n", name, status, output.c_str());
        fflush(stdout);
        _exit(1);
    }
}

void begin() {
    void *context;
    CHECK(cuInit(0) == 0 && cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxSetCurrent(context) == 0);
    CHECK(cuStreamCreate(&the_stream, 1) == 0);
}

} // namespace

int main(int n, char **arguments) {
    setvbuf(stdout, nullptr, _IOLBF, 0);
    if (n == 3 && !strcmp(arguments[1], "--plant")) {
        begin();
        for (const Mistake &mistake : MISTAKES)
            if (!strcmp(mistake.name, arguments[2])) plant(mistake);
        plant_in_host(arguments[2]);
        return 0;
    }
    begin();
    sums();
    tickets();
    graphs();
    late();
    faults();
    CHECK(cuStreamDestroy_v2(the_stream) == 0);
    CHECK(fake_cuda_get("live_allocations") == 0 && fake_cuda_get("reports") == 0);
    CHECK(cuDevicePrimaryCtxRelease_v2(0) == 0);
    int planted = 0;
    for (const Mistake &mistake : MISTAKES) {
        if (strstr(mistake.name, "misaligned")) continue;
        expect(arguments[0], mistake.name, mistake.says);
        planted++;
    }
    const char *const says[] = {"was freed", "second time", "leak:", "65 bytes"};
    for (size_t i = 0; i < 4; i++) {
        expect(arguments[0], HOST_MISTAKES[i], says[i]);
        planted++;
    }
    printf("smoke: everything right, and %d of %d mistakes reported\n", planted, planted);
    return 0;
}
