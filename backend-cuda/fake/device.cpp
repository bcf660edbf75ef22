// Devices, contexts, and the names of errors.
#include "fake.h"

#include <cstdio>
#include <cstring>

const int MAX_DEVICES = 8;

namespace {

Device devices[MAX_DEVICES];
bool initialised = false;
// A context is a device's primary context; the handle is the device itself.
thread_local Device *bound = nullptr;

struct Error {
    int code;
    const char *name, *text;
};

const Error ERRORS[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {DEVICE_UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE", "device is busy or unavailable"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {PEER_ACCESS_UNSUPPORTED, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "peer access is not supported between these devices"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {PEER_ACCESS_ALREADY_ENABLED, "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", "peer access is already enabled"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};

bool is_device(int number) { return number >= 0 && number < setting("devices") && number < MAX_DEVICES; }

} // namespace

Device *device_of(int number) {
    devices[number].number = number;
    return &devices[number];
}

Device *current() { return bound; }

Result enter(Device *&device) {
    device = bound;
    if (!initialised) return NOT_INITIALIZED;
    if (!device || device->retained == 0) {
        report("a call without a current context");
        return INVALID_CONTEXT;
    }
    if (comes_due("lost_at")) device->lost = int(setting("lost_code"));
    return Result(device->lost);
}

FAKE_EXPORT int cuInit(unsigned) {
    Lock lock(world);
    if (const long long error = setting("init_error")) return int(error);
    if (setting("devices") == 0) return NO_DEVICE;
    initialised = true;
    return SUCCESS;
}

FAKE_EXPORT int cuDriverGetVersion(int *version) {
    *version = int(setting("driver_version"));
    return SUCCESS;
}

FAKE_EXPORT int cuDeviceGetCount(int *n) {
    if (!initialised) return NOT_INITIALIZED;
    *n = int(setting("devices"));
    return SUCCESS;
}

FAKE_EXPORT int cuDeviceGet(int *device, int number) {
    if (!initialised) return NOT_INITIALIZED;
    if (!is_device(number)) return INVALID_DEVICE;
    *device = number;
    return SUCCESS;
}

FAKE_EXPORT int cuDeviceGetName(char *name, int size, int device) {
    if (!is_device(device)) return INVALID_DEVICE;
    snprintf(name, size_t(size), "gradix fake CUDA device %d (a CPU)", device);
    return SUCCESS;
}

FAKE_EXPORT int cuDeviceGetUuid_v2(char *uuid, int device) {
    if (!is_device(device)) return INVALID_DEVICE;
    memset(uuid, 0, 16);
    uuid[15] = char(device);
    return SUCCESS;
}

FAKE_EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    if (!is_device(device)) return INVALID_DEVICE;
    *bytes = size_t(setting("memory"));
    return SUCCESS;
}

FAKE_EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (!is_device(device)) return INVALID_DEVICE;
    const int capability = int(setting("capability"));
    switch (attribute) {
    case 1: *value = 1024; break;                    // threads in a block
    case 2: case 3: *value = 1024; break;            // block x, y
    case 4: *value = 64; break;                      // block z
    case 5: *value = 0x7fffffff; break;              // grid x
    case 6: case 7: *value = 65535; break;           // grid y, z
    case 8: *value = 48 << 10; break;                // shared memory of a block
    case 10: *value = 32; break;                     // warp
    case 12: *value = 65536; break;                  // registers of a block
    case 13: *value = 1000000; break;                // clock, kHz
    case 16: *value = int(setting("processors")); break;
    case 36: *value = 1000000; break;                // memory clock, kHz
    case 37: *value = 64; break;                     // memory bus, bits
    case 38: *value = 4 << 20; break;                // L2
    case 39: *value = 2048; break;                   // threads of a multiprocessor
    case 40: *value = 2; break;                      // copy engines
    case 41: *value = 1; break;                      // unified addressing
    case 75: *value = capability / 10; break;
    case 76: *value = capability % 10; break;
    case 81: *value = 96 << 10; break;               // shared memory of a multiprocessor
    case 83: *value = 1; break;                      // managed memory
    case 97: *value = 96 << 10; break;               // opt-in shared memory of a block
    case 115: *value = setting("pools") != 0; break;
    default: *value = 0; break;
    }
    return SUCCESS;
}

FAKE_EXPORT int cuDevicePrimaryCtxRetain(Device **context, int device) {
    Lock lock(world);
    if (!initialised) return NOT_INITIALIZED;
    if (!is_device(device)) return INVALID_DEVICE;
    *context = device_of(device);
    (*context)->retained += 1;
    return SUCCESS;
}

FAKE_EXPORT int cuDevicePrimaryCtxRelease_v2(int number) {
    Lock lock(world);
    if (!is_device(number)) return INVALID_DEVICE;
    Device *device = device_of(number);
    if (device->retained == 0) {
        report("the primary context of device %d is released more often than it was retained", number);
        return INVALID_CONTEXT;
    }
    if (--device->retained == 0) {
        drain_all();
        free_all_of(number, setting("leaks") != 0);
        device->lost = 0;
        device->peers = 0;
    }
    return SUCCESS;
}

FAKE_EXPORT int cuCtxSetCurrent(Device *context) {
    if (!initialised) return NOT_INITIALIZED;
    bound = context;
    return SUCCESS;
}

FAKE_EXPORT int cuCtxGetCurrent(Device **context) {
    *context = bound;
    return SUCCESS;
}

FAKE_EXPORT int cuCtxGetDevice(int *device) {
    if (!bound) return INVALID_CONTEXT;
    *device = bound->number;
    return SUCCESS;
}

FAKE_EXPORT int cuCtxSynchronize() {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    drain_all();
    return device->lost;
}

FAKE_EXPORT int cuDeviceCanAccessPeer(int *can, int device, int peer) {
    if (!is_device(device) || !is_device(peer)) return INVALID_DEVICE;
    *can = device != peer && setting("peer") != 0;
    return SUCCESS;
}

FAKE_EXPORT int cuCtxEnablePeerAccess(Device *peer, unsigned) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!setting("peer") || peer == device) return PEER_ACCESS_UNSUPPORTED;
    if (device->peers >> peer->number & 1) return PEER_ACCESS_ALREADY_ENABLED;
    device->peers |= uint64_t(1) << peer->number;
    return SUCCESS;
}

FAKE_EXPORT int cuGetErrorName(int code, const char **name) {
    for (const Error &error : ERRORS) {
        if (error.code == code) {
            *name = error.name;
            return SUCCESS;
        }
    }
    *name = nullptr;
    return INVALID_VALUE;
}

FAKE_EXPORT int cuGetErrorString(int code, const char **text) {
    for (const Error &error : ERRORS) {
        if (error.code == code) {
            *text = error.text;
            return SUCCESS;
        }
    }
    *text = nullptr;
    return INVALID_VALUE;
}
