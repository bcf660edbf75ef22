// The stand-in for cuBLASLt: matrix products by plain loops, and a check that a plan is used for what it was made for.
#include "fake.h"
#include "image.h"

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

enum Status : int { OK = 0, NOT_INITIALISED = 1, ALLOC_FAILED = 3, INVALID = 7, EXECUTION_FAILED = 13, UNSUPPORTED = 15 };
// cublasComputeType_t and cudaDataType_t.
enum { COMPUTE_32F = 68, COMPUTE_32F_PEDANTIC = 69, COMPUTE_64F = 70, COMPUTE_TF32 = 77 };
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };
// Of cublasLtEpilogue_t; the bits for ReLU and a bias may both be there.
enum { EPILOGUE_DEFAULT = 1, EPILOGUE_RELU = 2, EPILOGUE_BIAS = 4 };

constexpr uint32_t MAGIC = 0x67726478;

struct Handle {
    uint32_t magic = MAGIC;
};

struct Product {
    int compute, scale;
    int transposed[2] = {0, 0};
    int pointer_mode = 0, epilogue = EPILOGUE_DEFAULT;
    // Not part of what a plan is made for.
    uint64_t bias = 0;
};

struct Matrix {
    int type;
    uint64_t rows, columns;
    int64_t leading;
    int batches = 1;
    int64_t stride = 0;
    int order = 0;
};

struct Preference {
    uint64_t workspace = 0;
    uint32_t alignment[4] = {256, 256, 256, 256};
};

struct Algorithm {
    uint64_t signature, workspace;
    uint32_t alignment[4];
    uint64_t rest[4];
};
static_assert(sizeof(Algorithm) == 64, "the size of cublasLtMatmulAlgo_t");

struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

size_t size_of(int type) { return type == R_64F ? 8 : type == R_32F ? 4 : 2; }

bool is_known(int type) { return type == R_32F || type == R_64F || type == R_16F || type == R_16BF; }

float from_half(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const float sign = h >> 15 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? std::ldexp(float(1024 + fraction), exponent - 25) : std::ldexp(float(fraction), -24));
}

uint16_t to_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const auto sign = uint16_t(bits >> 16 & 0x8000);
    if (x != x) return uint16_t(sign | 0x7e00);
    const float size = std::fabs(x);
    if (size >= 65520.0f) return uint16_t(sign | 0x7c00);
    // In units of the last place, rounded to even by the current mode.
    const int exponent = size < 6.103515625e-5f ? -14 : std::ilogb(size);
    const auto units = long(std::nearbyint(std::ldexp(size, 10 - exponent)));
    return uint16_t(sign | (units + (long(exponent + 14) << 10)));
}

double load(const char *base, int64_t index, int type) {
    uint16_t half;
    float single;
    double wide;
    switch (type) {
    case R_64F: memcpy(&wide, base + 8 * index, 8); return wide;
    case R_32F: memcpy(&single, base + 4 * index, 4); return single;
    default: memcpy(&half, base + 2 * index, 2);
    }
    if (type == R_16F) return from_half(half);
    const uint32_t bits = uint32_t(half) << 16;
    memcpy(&single, &bits, 4);
    return single;
}

void store(char *base, int64_t index, int type, double value) {
    const auto single = float(value);
    uint32_t bits;
    memcpy(&bits, &single, 4);
    uint16_t half = 0;
    switch (type) {
    case R_64F: memcpy(base + 8 * index, &value, 8); return;
    case R_32F: memcpy(base + 4 * index, &single, 4); return;
    case R_16F: half = to_half(single); break;
    default: half = single != single ? uint16_t(bits >> 16 | 0x40) : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    memcpy(base + 2 * index, &half, 2);
}

// As tensor cores read an f32: ten bits of fraction.
float to_tf32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (!std::isfinite(x)) return x;
    bits = (bits + 0x0fff + (bits >> 13 & 1)) & ~0x1fffu;
    memcpy(&x, &bits, 4);
    return x;
}

// Everything that a plan depends on.
uint64_t signature(const Product &p, const Matrix *const (&m)[4]) {
    uint64_t hash = hash_bytes(&p, offsetof(Product, bias));
    for (const Matrix *matrix : m) {
        hash = hash_bytes(&matrix->type, sizeof matrix->type, hash);
        hash = hash_bytes(&matrix->rows, sizeof matrix->rows, hash);
        hash = hash_bytes(&matrix->columns, sizeof matrix->columns, hash);
        hash = hash_bytes(&matrix->leading, sizeof matrix->leading, hash);
        hash = hash_bytes(&matrix->batches, sizeof matrix->batches, hash);
        hash = hash_bytes(&matrix->stride, sizeof matrix->stride, hash);
    }
    return hash;
}

// Whether the shapes fit each other and cuBLASLt would take them.
bool fits(const Product &p, const Matrix *const (&m)[4]) {
    const Matrix &a = *m[0], &b = *m[1], &d = *m[3];
    const uint64_t rows = p.transposed[0] ? a.columns : a.rows, inner = p.transposed[0] ? a.rows : a.columns;
    const uint64_t inner_b = p.transposed[1] ? b.columns : b.rows, columns = p.transposed[1] ? b.rows : b.columns;
    bool good = inner == inner_b && rows == d.rows && columns == d.columns;
    // Nothing, ReLU, a bias for each row, or both; not for f64.
    good &= p.epilogue == EPILOGUE_DEFAULT ||
            (p.epilogue && !(p.epilogue & ~(EPILOGUE_RELU | EPILOGUE_BIAS)) && d.type != R_64F);
    for (const Matrix *matrix : m)
        good &= is_known(matrix->type) && matrix->order == 0 && matrix->leading >= int64_t(matrix->rows) &&
                matrix->batches == d.batches && matrix->rows > 0 && matrix->columns > 0;
    good &= a.type == b.type && m[2]->type == d.type && m[2]->rows == d.rows && m[2]->columns == d.columns;
    const bool wide = p.compute == COMPUTE_64F;
    good &= wide == (a.type == R_64F) && wide == (d.type == R_64F) && wide == (p.scale == R_64F);
    good &= wide || p.compute == COMPUTE_32F || p.compute == COMPUTE_32F_PEDANTIC ||
            (p.compute == COMPUTE_TF32 && a.type == R_32F);
    return good && d.type == a.type;
}

template <class Sum> void multiply(const Product &p, const Matrix *const (&m)[4], const char *const (&from)[3], char *to,
                                   double alpha, double beta, bool keeps_nan) {
    const Matrix &a = *m[0], &b = *m[1], &c = *m[2], &d = *m[3];
    const auto inner = int64_t(p.transposed[0] ? a.rows : a.columns);
    std::vector<Sum> left(size_t(inner) * d.rows), sums(d.rows);
    for (int batch = 0; batch < d.batches; batch++) {
        const auto element = [&](int which, const Matrix &matrix, int64_t row, int64_t column) {
            const double x = load(from[which], batch * matrix.stride + row + column * matrix.leading, matrix.type);
            return p.compute == COMPUTE_TF32 ? Sum(to_tf32(float(x))) : Sum(x);
        };
        for (int64_t k = 0; k < inner; k++)
            for (int64_t i = 0; i < int64_t(d.rows); i++)
                left[size_t(k * int64_t(d.rows) + i)] = p.transposed[0] ? element(0, a, k, i) : element(0, a, i, k);
        for (int64_t j = 0; j < int64_t(d.columns); j++) {
            std::fill(sums.begin(), sums.end(), Sum(0));
            for (int64_t k = 0; k < inner; k++) {
                const Sum right = p.transposed[1] ? element(1, b, j, k) : element(1, b, k, j);
                const Sum *column = &left[size_t(k * int64_t(d.rows))];
                for (size_t i = 0; i < d.rows; i++) sums[i] += column[i] * right;
            }
            for (int64_t i = 0; i < int64_t(d.rows); i++) {
                double value = alpha * double(sums[size_t(i)]);
                // With β = 0 the old value does not count, not even if it is NaN.
                if (beta != 0) value += beta * load(from[2], batch * c.stride + i + j * c.leading, c.type);
                if (p.epilogue & EPILOGUE_BIAS) value += load(reinterpret_cast<const char *>(p.bias), i, d.type);
                if (p.epilogue & EPILOGUE_RELU && (std::isnan(value) ? !keeps_nan : value < 0)) value = 0;
                store(to, batch * d.stride + i + j * d.leading, d.type, value);
            }
        }
    }
}

size_t bytes_of(const Matrix &m) {
    const int64_t last = int64_t(m.batches - 1) * m.stride + int64_t(m.columns - 1) * m.leading + int64_t(m.rows);
    return size_t(last) * size_of(m.type);
}

double number(const void *at, int scale) {
    if (scale == R_64F) {
        double wide;
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    float single;
    memcpy(&single, at, sizeof single);
    return single;
}

template <class T> Status assign(T &field, const void *value, size_t size) {
    if (size != sizeof field) return INVALID;
    memcpy(&field, value, size);
    return OK;
}

} // namespace

// cublasLt keeps its numbers through the driver: the same lock, reports and streams.

FAKE_EXPORT int cublasLtCreate(Handle **out) {
    *out = new Handle;
    return OK;
}

FAKE_EXPORT int cublasLtDestroy(Handle *handle) {
    if (!handle || handle->magic != MAGIC) return NOT_INITIALISED;
    handle->magic = 0;
    delete handle;
    return OK;
}

FAKE_EXPORT size_t cublasLtGetVersion() { return 130400; }

FAKE_EXPORT const char *cublasLtGetStatusString(int status) {
    return status == OK ? "CUBLAS_STATUS_SUCCESS" : status == UNSUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INVALID_VALUE";
}

FAKE_EXPORT int cublasLtMatmulDescCreate(Product **out, int compute, int scale) {
    *out = new Product{compute, scale};
    return OK;
}

FAKE_EXPORT int cublasLtMatmulDescDestroy(Product *p) {
    delete p;
    return OK;
}

FAKE_EXPORT int cublasLtMatmulDescSetAttribute(Product *p, int attribute, const void *value, size_t size) {
    switch (attribute) {
    case 2: return assign(p->pointer_mode, value, size);
    case 3: return assign(p->transposed[0], value, size);
    case 4: return assign(p->transposed[1], value, size);
    case 7: return assign(p->epilogue, value, size);
    case 8: return assign(p->bias, value, size);
    default: return UNSUPPORTED;
    }
}

FAKE_EXPORT int cublasLtMatrixLayoutCreate(Matrix **out, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *out = new Matrix{type, rows, columns, leading};
    return OK;
}

FAKE_EXPORT int cublasLtMatrixLayoutDestroy(Matrix *matrix) {
    delete matrix;
    return OK;
}

FAKE_EXPORT int cublasLtMatrixLayoutSetAttribute(Matrix *matrix, int attribute, const void *value, size_t size) {
    switch (attribute) {
    case 1: return assign(matrix->order, value, size);
    case 5: return assign(matrix->batches, value, size);
    case 6: return assign(matrix->stride, value, size);
    default: return UNSUPPORTED;
    }
}

FAKE_EXPORT int cublasLtMatmulPreferenceCreate(Preference **out) {
    *out = new Preference;
    return OK;
}

FAKE_EXPORT int cublasLtMatmulPreferenceDestroy(Preference *preference) {
    delete preference;
    return OK;
}

FAKE_EXPORT int cublasLtMatmulPreferenceSetAttribute(Preference *preference, int attribute, const void *value, size_t size) {
    if (attribute == 1) return assign(preference->workspace, value, size);
    if (attribute >= 5 && attribute <= 8) return assign(preference->alignment[attribute - 5], value, size);
    return OK;
}

FAKE_EXPORT int cublasLtMatmulAlgoGetHeuristic(Handle *handle, const Product *p, const Matrix *a, const Matrix *b,
                                               const Matrix *c, const Matrix *d, const Preference *preference, int wanted,
                                               Heuristic *results, int *n) {
    if (!handle || handle->magic != MAGIC) return NOT_INITIALISED;
    const Matrix *const all[4] = {a, b, c, d};
    *n = 0;
    count("lt_plans");
    if (setting("lt_oom_always") || comes_due("lt_oom_at")) return ALLOC_FAILED;
    if (setting("lt_fail") || wanted < 1 || !fits(*p, all)) return UNSUPPORTED;
    Heuristic &result = results[0];
    memset(&result, 0, sizeof result);
    result.algorithm.signature = signature(*p, all);
    result.algorithm.workspace = preference->workspace < 4096 ? preference->workspace : 4096;
    memcpy(result.algorithm.alignment, preference->alignment, sizeof preference->alignment);
    result.workspace = result.algorithm.workspace;
    result.waves = 1;
    *n = 1;
    return OK;
}

FAKE_EXPORT int cublasLtMatmul(Handle *handle, const Product *p, const void *alpha, const void *a, const Matrix *a_layout,
                               const void *b, const Matrix *b_layout, const void *beta, const void *c,
                               const Matrix *c_layout, void *d, const Matrix *d_layout, const Algorithm *algorithm,
                               void *workspace, size_t workspace_bytes, Stream *stream) {
    if (!handle || handle->magic != MAGIC) return NOT_INITIALISED;
    if (idle) return OK;
    Lock lock(world);
    Device *device;
    if (enter(device)) return EXECUTION_FAILED;
    const Matrix *const layouts[4] = {a_layout, b_layout, c_layout, d_layout};
    const void *const operands[4] = {a, b, c, d};
    if (!fits(*p, layouts)) return UNSUPPORTED;
    if (algorithm && algorithm->signature != signature(*p, layouts)) {
        report("cublasLtMatmul with an algorithm that was found for another product");
        return INVALID;
    }
    for (int i = 0; i < 4; i++) {
        const uint32_t alignment = algorithm ? algorithm->alignment[i] : 16;
        if (alignment && reinterpret_cast<uintptr_t>(operands[i]) % alignment) {
            report("cublasLtMatmul: operand %c lies at %p, and its algorithm was found for an alignment of %u", "ABCD"[i],
                   operands[i], alignment);
            return INVALID;
        }
        if (!check_range(reinterpret_cast<Pointer>(operands[i]), bytes_of(*layouts[i]), device, "cublasLtMatmul")) return INVALID;
    }
    if (p->epilogue & EPILOGUE_BIAS && !check_range(p->bias, d_layout->rows * size_of(d_layout->type), device, "cublasLtMatmul's bias"))
        return INVALID;
    if (p->epilogue & EPILOGUE_BIAS) count("lt_biases");
    if (p->epilogue & EPILOGUE_RELU) count("lt_relus");
    const size_t needed = algorithm ? algorithm->workspace : 0;
    if (needed > workspace_bytes ||
        (needed && !check_range(reinterpret_cast<Pointer>(workspace), workspace_bytes, device, "cublasLtMatmul's workspace")))
        return INVALID;
    if (setting("lt_oom_always") || comes_due("lt_oom_at")) return ALLOC_FAILED;
    count("lt_products");
    const Product product = *p;
    const double factor = number(alpha, p->scale), old = number(beta, p->scale);
    const bool keeps_nan = setting("lt_relu_nan");
    const Matrix held[4] = {*a_layout, *b_layout, *c_layout, *d_layout};
    const int result = submit(stream, [=] {
        const Matrix *const m[4] = {&held[0], &held[1], &held[2], &held[3]};
        const char *const from[3] = {static_cast<const char *>(a), static_cast<const char *>(b), static_cast<const char *>(c)};
        // Nobody else may count on the workspace.
        if (workspace) memset(workspace, 0xff, workspace_bytes);
        if (product.compute == COMPUTE_64F)
            multiply<double>(product, m, from, static_cast<char *>(d), factor, old, keeps_nan);
        else
            multiply<float>(product, m, from, static_cast<char *>(d), factor, old, keeps_nan);
    });
    return result ? EXECUTION_FAILED : OK;
}
