// What a CUDA kernel finds when it is compiled for the fake driver: the language's own words, its built-in variables and
// functions, in terms of g++ and of the table that `fibre.cpp` fills. No other header is included, so that a kernel
// compiles in little time.
#pragma GCC system_header

#define GRADIX_FAKE_CUDA 1
#define __CUDACC__ 1
#define __CUDACC_RTC__ 1

#define __global__
#define __device__
#define __host__
#define __constant__ static
// A section of its own: the driver fills it with garbage before every block. Blocks run one after the other.
#define __shared__ static __attribute__((section("fake_shared")))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

// --- The driver's table ---

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// The same as in `fake.h`.
struct FakeModule {
    uint3 thread, block, block_size, grid_size;
    // Waits for the block; the result is of the values of all threads: 0 nothing, 1 sum, 2 and, 3 or.
    int (*barrier)(int line, int operation, int value);
    // Gives `size` bytes to the warp, and waits until all of the mask have. Returns the 32 values, 16 bytes each.
    const void *(*warp)(unsigned mask, const void *value, int size, int line);
    // Under random order now and then lets another thread run.
    void (*jitter)();
    unsigned (*lane)();
    void *dynamic_shared;
    char *shared_begin, *shared_end;
};

extern "C" {
extern char __start_fake_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_fake_shared[] __attribute__((weak, visibility("hidden")));
__attribute__((visibility("default"))) FakeModule fake_module = {
    {}, {}, {}, {}, nullptr, nullptr, nullptr, nullptr, nullptr, __start_fake_shared, __stop_fake_shared};
}

#define threadIdx (fake_module.thread)
#define blockIdx (fake_module.block)
#define blockDim (fake_module.block_size)
#define gridDim (fake_module.grid_size)
#define warpSize 32

// --- How the driver calls a kernel: parameters come as an array of pointers to their values ---

template <unsigned long... I> struct FakeNumbers {};
template <class T> struct FakeIsPointer { static constexpr unsigned value = 0; };
template <class T> struct FakeIsPointer<T *> { static constexpr unsigned value = 0x80000000u; };
template <class... A, unsigned long... I>
inline void fake_call(void (*kernel)(A...), void **values, FakeNumbers<I...>) {
    kernel(*static_cast<A *>(values[I])...);
}
template <class... A> inline void fake_call(void (*kernel)(A...), void **values) {
    fake_call(kernel, values, FakeNumbers<__integer_pack(sizeof...(A))...>());
}
// The size of each parameter, with the highest bit set for pointers; then 0.
template <class F> struct FakeParameters;
template <class... A> struct FakeParameters<void (*)(A...)> {
    static constexpr unsigned sizes[] = {(unsigned(sizeof(A)) | FakeIsPointer<A>::value)..., 0};
};
// `extern "C" __global__ __launch_bounds__(n)` becomes an expression whose value is n; see `nvrtc.cpp`.
struct FakeBound {
    unsigned value;
};
inline constexpr FakeBound operator*(FakeBound, FakeBound b) { return b; }

// --- Synchronisation ---

#define __syncthreads() ((void)fake_module.barrier(__LINE__, 0, 0))
#define __syncthreads_count(value) (fake_module.barrier(__LINE__, 1, (value) != 0))
#define __syncthreads_and(value) (fake_module.barrier(__LINE__, 2, (value) != 0))
#define __syncthreads_or(value) (fake_module.barrier(__LINE__, 3, (value) != 0))
#define __syncwarp(...) ((void)fake_syncwarp(__LINE__, ##__VA_ARGS__))
#define __threadfence() (fake_module.jitter())
#define __threadfence_block() (fake_module.jitter())
#define __threadfence_system() (fake_module.jitter())
#define __nanosleep(n) (fake_module.jitter())

inline void fake_syncwarp(int line, unsigned mask = 0xffffffffu) {
    char nothing = 0;
    fake_module.warp(mask, &nothing, 1, line);
}
template <class T> inline T fake_from_lane(const void *values, unsigned lane) {
    T value;
    __builtin_memcpy(&value, static_cast<const char *>(values) + 16 * lane, sizeof(T));
    return value;
}
template <class T> inline T fake_shuffle(int line, int kind, unsigned mask, T value, int operand, int width = 32) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    const void *values = fake_module.warp(mask, &value, sizeof(T), line);
    const int lane = int(fake_module.lane()), base = lane & ~(width - 1);
    int from = lane;
    switch (kind) {
    case 0: from = base + (operand & (width - 1)); break;
    case 1: from = lane - operand < base ? lane : lane - operand; break;
    case 2: from = lane + operand >= base + width ? lane : lane + operand; break;
    case 3: from = (lane ^ operand) >= base + width ? lane : lane ^ operand; break;
    }
    return fake_from_lane<T>(values, unsigned(from));
}
#define __shfl_sync(...) fake_shuffle(__LINE__, 0, __VA_ARGS__)
#define __shfl_up_sync(...) fake_shuffle(__LINE__, 1, __VA_ARGS__)
#define __shfl_down_sync(...) fake_shuffle(__LINE__, 2, __VA_ARGS__)
#define __shfl_xor_sync(...) fake_shuffle(__LINE__, 3, __VA_ARGS__)

inline unsigned fake_ballot(int line, unsigned mask, int value) {
    const unsigned own = value != 0;
    const void *values = fake_module.warp(mask, &own, sizeof own, line);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) bits |= fake_from_lane<unsigned>(values, lane) << lane;
    return bits;
}
#define __ballot_sync(mask, value) fake_ballot(__LINE__, mask, value)
#define __any_sync(mask, value) (fake_ballot(__LINE__, mask, value) != 0)
#define __all_sync(mask, value) (fake_ballot(__LINE__, mask, value) == (mask))
template <class T, class F> inline T fake_reduce(int line, unsigned mask, T value, F join) {
    const void *values = fake_module.warp(mask, &value, sizeof(T), line);
    bool any = false;
    T total = value;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        const T other = fake_from_lane<T>(values, lane);
        total = any ? join(total, other) : other;
        any = true;
    }
    return total;
}
#define __reduce_add_sync(mask, value) fake_reduce(__LINE__, mask, value, [](auto a, auto b) { return a + b; })
#define __reduce_max_sync(mask, value) fake_reduce(__LINE__, mask, value, [](auto a, auto b) { return a > b ? a : b; })
#define __reduce_min_sync(mask, value) fake_reduce(__LINE__, mask, value, [](auto a, auto b) { return a < b ? a : b; })
#define __reduce_or_sync(mask, value) fake_reduce(__LINE__, mask, value, [](auto a, auto b) { return a | b; })

// --- Atomics ---

#define FAKE_ATOMIC(name, builtin)                                                                                     \
    template <class T> inline T name(T *at, T value) {                                                                 \
        fake_module.jitter();                                                                                          \
        return builtin(at, value, __ATOMIC_RELAXED);                                                                   \
    }
FAKE_ATOMIC(fake_add, __atomic_fetch_add)
FAKE_ATOMIC(atomicSub, __atomic_fetch_sub)
FAKE_ATOMIC(atomicAnd, __atomic_fetch_and)
FAKE_ATOMIC(atomicOr, __atomic_fetch_or)
FAKE_ATOMIC(atomicXor, __atomic_fetch_xor)
template <class T, class F> inline T fake_update(T *at, F next) {
    fake_module.jitter();
    T old = *at, wanted;
    do {
        wanted = next(old);
    } while (!__atomic_compare_exchange(at, &old, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
inline int atomicAdd(int *at, int value) { return fake_add(at, value); }
inline unsigned atomicAdd(unsigned *at, unsigned value) { return fake_add(at, value); }
inline unsigned long long atomicAdd(unsigned long long *at, unsigned long long value) { return fake_add(at, value); }
inline float atomicAdd(float *at, float value) {
    return fake_update(at, [=](float old) { return old + value; });
}
inline double atomicAdd(double *at, double value) {
    return fake_update(at, [=](double old) { return old + value; });
}
template <class T> inline T atomicMax(T *at, T value) {
    return fake_update(at, [=](T old) { return old > value ? old : value; });
}
template <class T> inline T atomicMin(T *at, T value) {
    return fake_update(at, [=](T old) { return old < value ? old : value; });
}
template <class T> inline T atomicExch(T *at, T value) {
    return fake_update(at, [=](T) { return value; });
}
template <class T> inline T atomicCAS(T *at, T expected, T value) {
    fake_module.jitter();
    __atomic_compare_exchange(at, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

// --- Bits and integers ---

inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
template <class To, class From> inline To fake_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
inline unsigned __float_as_uint(float x) { return fake_bits<unsigned>(x); }
inline int __float_as_int(float x) { return fake_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return fake_bits<float>(x); }
inline float __int_as_float(int x) { return fake_bits<float>(x); }
inline long long __double_as_longlong(double x) { return fake_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return fake_bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
template <class T> inline T __ldg(const T *at) { return *at; }
template <class T> inline T __ldcs(const T *at) { return *at; }
template <class T> inline void __stcs(T *at, T value) { *at = value; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }

// --- Mathematics: the C library's, under the names and overloads of CUDA ---

#define FAKE_1(name)                                                                                                   \
    extern "C" double name(double);                                                                                    \
    extern "C" float name##f(float);                                                                                   \
    inline float name(float x) { return name##f(x); }
#define FAKE_2(name)                                                                                                   \
    extern "C" double name(double, double);                                                                            \
    extern "C" float name##f(float, float);                                                                            \
    inline float name(float x, float y) { return name##f(x, y); }
FAKE_1(fabs) FAKE_1(ceil) FAKE_1(floor) FAKE_1(rint) FAKE_1(nearbyint) FAKE_1(round) FAKE_1(trunc) FAKE_1(sqrt)
FAKE_1(cbrt) FAKE_1(exp) FAKE_1(exp2) FAKE_1(expm1) FAKE_1(log) FAKE_1(log2) FAKE_1(log10) FAKE_1(log1p) FAKE_1(sin)
FAKE_1(cos) FAKE_1(tan) FAKE_1(asin) FAKE_1(acos) FAKE_1(atan) FAKE_1(sinh) FAKE_1(cosh) FAKE_1(tanh) FAKE_1(asinh)
FAKE_1(acosh) FAKE_1(atanh) FAKE_1(erf) FAKE_1(erfc) FAKE_1(lgamma) FAKE_1(tgamma)
FAKE_2(fmod) FAKE_2(pow) FAKE_2(atan2) FAKE_2(hypot) FAKE_2(copysign) FAKE_2(fmax) FAKE_2(fmin) FAKE_2(nextafter)
FAKE_2(fdim) FAKE_2(remainder)
extern "C" double fma(double, double, double);
extern "C" float fmaf(float, float, float);
inline float fma(float a, float b, float c) { return fmaf(a, b, c); }
extern "C" double ldexp(double, int);
extern "C" float ldexpf(float, int);
inline float ldexp(float x, int e) { return ldexpf(x, e); }
inline double rsqrt(double x) { return 1 / __builtin_sqrt(x); }
inline float rsqrtf(float x) { return float(1 / __builtin_sqrt(double(x))); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
// A product or sum that must not become part of a fused one.
inline float fake_alone(float x) { asm volatile("" : "+x"(x)); return x; }
inline double fake_alone(double x) { asm volatile("" : "+x"(x)); return x; }
inline float __fmul_rn(float a, float b) { return fake_alone(a * b); }
inline float __fadd_rn(float a, float b) { return fake_alone(a + b); }
inline float __fsub_rn(float a, float b) { return fake_alone(a - b); }
inline double __dmul_rn(double a, double b) { return fake_alone(a * b); }
inline double __dadd_rn(double a, double b) { return fake_alone(a + b); }
inline double __dsub_rn(double a, double b) { return fake_alone(a - b); }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
template <class T> inline bool isnan(T x) { return __builtin_isnan(x); }
template <class T> inline bool isinf(T x) { return __builtin_isinf(x); }
template <class T> inline bool isfinite(T x) { return __builtin_isfinite(x); }
template <class T> inline bool signbit(T x) { return __builtin_signbit(x); }

// --- Vectors, with CUDA's alignment: the compiler uses aligned instructions, which trap on other addresses ---

#define FAKE_VECTOR(type, name)                                                                                        \
    struct __align__(2 * sizeof(type)) name##2 { type x, y; };                                                         \
    struct name##3 { type x, y, z; };                                                                                  \
    struct __align__(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 { type x, y, z, w; };                      \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                                   \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
FAKE_VECTOR(signed char, char) FAKE_VECTOR(unsigned char, uchar) FAKE_VECTOR(short, short) FAKE_VECTOR(int, int)
FAKE_VECTOR(unsigned short, ushort) FAKE_VECTOR(long long, longlong) FAKE_VECTOR(unsigned long long, ulonglong)
FAKE_VECTOR(float, float) FAKE_VECTOR(double, double)
struct __align__(8) uint2 { unsigned x, y; };
struct __align__(16) uint4 { unsigned x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
