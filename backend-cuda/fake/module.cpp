// Modules, functions and launches.
#include "fake.h"
#include "image.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct Function {
    std::string name, source;
    int device;
    FakeModule *module;
    void (*entry)(void **);
    const unsigned *parameters;
    unsigned bound;
};

struct Module {
    void *library = nullptr;
    int device = 0;
    std::string source;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

std::set<Module *> &modules() {
    static auto *set = new std::set<Module *>;
    return *set;
}
std::set<Function *> &functions() {
    static auto *set = new std::set<Function *>;
    return *set;
}

// Every library has a name of its own, as the loader takes one of a known name for loaded already.
Result open_library(const char *bytes, size_t length, Module &module) {
    static uint64_t number = 0;
    const char *folder = getenv("TMPDIR");
    const std::string path = std::string(folder && *folder ? folder : "/tmp") + "/gradix-fake-cuda-" +
                             std::to_string(getpid()) + "-" + std::to_string(number++) + ".so";
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    const bool whole = file >= 0 && write(file, bytes, length) == ssize_t(length);
    if (file >= 0) close(file);
    if (whole) module.library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!module.library) fprintf(stderr, "fake CUDA: %s\n", whole ? dlerror() : ("cannot write " + path).c_str());
    unlink(path.c_str());
    return module.library ? SUCCESS : INVALID_IMAGE;
}

// What stands for PTX is text that names a file with an image.
std::string read_ptx(const char *text) {
    const char *at = strstr(text, "// image ");
    if (!at) return {};
    at += strlen("// image ");
    const std::string path(at, strcspn(at, "\n"));
    FILE *file = fopen(path.c_str(), "rb");
    if (!file) return {};
    std::string bytes;
    char part[65536];
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) bytes.append(part, n);
    fclose(file);
    return bytes;
}

Result load(const void *image, int device, Module &module) {
    if (comes_due("module_fail_at") || setting("module_fail_always")) return Result(setting("module_fail_code"));
    std::string held;
    const auto *bytes = static_cast<const char *>(image);
    const bool is_ptx = memcmp(bytes, IMAGE_MAGIC, 8) != 0;
    if (is_ptx) {
        if (strncmp(bytes, "//", 2) != 0) return INVALID_IMAGE;
        held = read_ptx(bytes);
        if (held.size() < sizeof(ImageHeader)) return INVALID_PTX;
        bytes = held.data();
    }
    ImageHeader header;
    memcpy(&header, bytes, sizeof header);
    const char *body = bytes + sizeof header;
    const size_t length = header.source_length + header.length;
    if (memcmp(header.magic, IMAGE_MAGIC, 8) != 0 || hash_bytes(body, length) != header.hash) return INVALID_IMAGE;
    const long long own = setting("capability");
    const long long other = header.architecture;
    // A CUBIN runs on its own major generation, from its minor one on; PTX on everything newer.
    if (is_ptx ? other > own : (other / 10 != own / 10 || other > own)) return NO_BINARY_FOR_GPU;
    module.device = device;
    module.source.assign(body, header.source_length);
    count(is_ptx ? "ptx_modules" : "cubin_modules");
    return open_library(body + header.source_length, header.length, module);
}

// Parameters that are pointers must point to memory that this device may use.
bool check_pointers(const Function &function, void **values, const Device *device) {
    for (unsigned i = 0; function.parameters[i]; i++) {
        Pointer value;
        if (!(function.parameters[i] >> 31)) continue;
        memcpy(&value, values[i], sizeof value);
        if (value == 0) continue;
        char what[256];
        snprintf(what, sizeof what, "parameter %u of kernel %s (%s)", i, function.name.c_str(), function.source.c_str());
        if (!check_range(value, 0, device, what)) return false;
    }
    return true;
}

} // namespace

FAKE_EXPORT int cuModuleLoadData(Module **out, const void *image) {
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    auto module = std::make_unique<Module>();
    if (const Result result = load(image, device->number, *module)) return result;
    count("modules");
    modules().insert(*out = module.release());
    return SUCCESS;
}

FAKE_EXPORT int cuModuleLoadDataEx(Module **out, const void *image, unsigned, int *, void **) {
    return cuModuleLoadData(out, image);
}

FAKE_EXPORT int cuModuleUnload(Module *module) {
    Lock lock(world);
    if (!modules().count(module)) {
        report("cuModuleUnload of a module that does not live");
        return INVALID_HANDLE;
    }
    drain_all();
    for (const auto &[name, function] : module->functions) functions().erase(function.get());
    // A sanitizer keeps the names of what is loaded; unloading would leave it with addresses of nothing.
    if (!under_asan()) dlclose(module->library);
    modules().erase(module);
    delete module;
    return SUCCESS;
}

FAKE_EXPORT int cuModuleGetFunction(Function **out, Module *module, const char *name) {
    Lock lock(world);
    if (!modules().count(module)) {
        report("cuModuleGetFunction of a module that does not live");
        return INVALID_HANDLE;
    }
    auto &held = module->functions[name];
    if (!held) {
        const std::string entry = std::string("fake_entry_") + name, parameters = std::string("fake_parameters_") + name;
        const std::string bound = std::string("fake_bound_") + name;
        auto function = std::make_unique<Function>();
        function->name = name;
        function->source = module->source;
        function->device = module->device;
        function->module = static_cast<FakeModule *>(dlsym(module->library, "fake_module"));
        function->entry = reinterpret_cast<void (*)(void **)>(dlsym(module->library, entry.c_str()));
        const auto *list = static_cast<const unsigned *const *>(dlsym(module->library, parameters.c_str()));
        const auto *most = static_cast<const unsigned *>(dlsym(module->library, bound.c_str()));
        if (!function->module || !function->entry || !list || !most) {
            module->functions.erase(name);
            return NOT_FOUND;
        }
        function->parameters = *list;
        function->bound = *most;
        functions().insert(function.get());
        held = std::move(function);
    }
    *out = held.get();
    return SUCCESS;
}

FAKE_EXPORT int cuFuncGetAttribute(int *value, int attribute, Function *function) {
    Lock lock(world);
    if (!functions().count(function)) return INVALID_HANDLE;
    switch (attribute) {
    case 0: *value = int(function->bound); break;
    case 1: *value = int(function->module->shared_end - function->module->shared_begin); break;
    case 4: *value = 32; break;
    case 5: case 6: *value = int(setting("capability")); break;
    default: *value = 0; break;
    }
    return SUCCESS;
}

FAKE_EXPORT int cuFuncSetAttribute(Function *function, int, int) {
    Lock lock(world);
    return functions().count(function) ? SUCCESS : INVALID_HANDLE;
}

FAKE_EXPORT int cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                               unsigned bz, unsigned shared, Stream *stream, void **values, void **extra) {
    if (idle) return SUCCESS;
    Lock lock(world);
    Device *device;
    if (const Result result = enter(device)) return result;
    if (!functions().count(function)) {
        report("a launch of a function whose module does not live");
        return INVALID_HANDLE;
    }
    count("launches");
    if (comes_due("launch_fail_at")) {
        const int code = int(setting("launch_fail_code"));
        if (setting("launch_fail_sticky")) device->lost = code;
        return code;
    }
    if (extra) return NOT_SUPPORTED;
    if (function->device != device->number) {
        report("kernel %s was loaded on device %d and is launched on device %d", function->name.c_str(), function->device,
               device->number);
        return INVALID_HANDLE;
    }
    const uint64_t threads = uint64_t(bx) * by * bz;
    const long long static_shared = function->module->shared_end - function->module->shared_begin;
    if (!gx || !gy || !gz || !threads || gx > 0x7fffffff || gy > 65535 || gz > 65535 || bx > 1024 || by > 1024 || bz > 64) {
        report("kernel %s is launched with grid (%u, %u, %u) and block (%u, %u, %u)", function->name.c_str(), gx, gy, gz, bx,
               by, bz);
        return INVALID_VALUE;
    }
    if (threads > function->bound || static_shared + shared > 48 << 10) {
        report("kernel %s takes %u threads a block and is launched with %llu; it uses %lld bytes of shared memory",
               function->name.c_str(), function->bound, (unsigned long long)threads, static_shared + shared);
        return LAUNCH_OUT_OF_RESOURCES;
    }
    size_t bytes = 0;
    for (unsigned i = 0; function->parameters[i]; i++) bytes += function->parameters[i] & 0x7fffffff;
    if (bytes > 4096) {
        report("kernel %s has %zu bytes of parameters; devices take 4096", function->name.c_str(), bytes);
        return INVALID_VALUE;
    }
    if (!check_pointers(*function, values, device)) {
        fail_later(device->number, ILLEGAL_ADDRESS);
        return SUCCESS;
    }
    // The values are read before the call returns.
    auto held = std::make_shared<std::vector<std::vector<char>>>();
    for (unsigned i = 0; function->parameters[i]; i++) {
        const auto *from = static_cast<const char *>(values[i]);
        held->emplace_back(from, from + (function->parameters[i] & 0x7fffffff));
    }
    count("threads", (long long)(threads * gx * gy * gz));
    return submit(stream, [=] {
        if (device->lost) return;
        if (!functions().count(function)) {
            report("a module was unloaded before its kernel ran");
            return;
        }
        std::vector<void *> pointers;
        for (auto &value : *held) pointers.push_back(value.data());
        // What a graph repeats may have lost its memory meanwhile.
        if (!check_pointers(*function, pointers.data(), device)) {
            device->lost = ILLEGAL_ADDRESS;
            return;
        }
        LaunchOf launch{function->module,     function->entry, function->name.c_str(), function->source.c_str(),
                        {gx, gy, gz},         {bx, by, bz},    shared,                 pointers.data()};
        if (!run_kernel(launch)) device->lost = LAUNCH_FAILED;
        check_canaries(("kernel " + function->name + ", source " + function->source).c_str());
    });
}
