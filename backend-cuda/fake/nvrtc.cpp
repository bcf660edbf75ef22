// The stand-in for NVRTC: kernels become shared libraries, by g++ and `kernel.h`.
//
// What it compiled it keeps in a folder, by a hash of everything that the result depends on.
#include "image.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

extern char **environ;

namespace {

// nvrtcResult, as far as it is used.
enum { SUCCESS = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6, INTERNAL = 11 };

struct Program {
    std::string source, log, cubin, ptx;
};

const int ARCHITECTURES[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

// The driver of the fake, if the process uses it: it keeps settings and counters.
template <class F> F from_driver(const char *name) {
    static void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    return library ? reinterpret_cast<F>(dlsym(library, name)) : nullptr;
}

void count(const char *name) {
    if (const auto function = from_driver<void (*)(const char *)>("fake_cuda_count")) function(name);
}

long long setting(const char *name) {
    const auto function = from_driver<long long (*)(const char *)>("fake_cuda_get");
    return function ? function(name) : 0;
}

// The folder of this library.
std::string own_folder() {
    Dl_info info;
    static const int here = 0;
    if (!dladdr(&here, &info) || !info.dli_fname) return ".";
    char *real = realpath(info.dli_fname, nullptr);
    std::string path = real ? real : info.dli_fname;
    free(real);
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::string cache_folder() {
    const char *chosen = getenv("FAKE_CUDA_CACHE");
    const std::string folder = chosen && *chosen ? chosen : own_folder() + "/../kernels";
    mkdir(folder.c_str(), 0777);
    char *real = realpath(folder.c_str(), nullptr);
    const std::string path = real ? real : folder;
    free(real);
    return path;
}

bool read_file(const std::string &path, std::string &bytes) {
    FILE *file = fopen(path.c_str(), "rb");
    if (!file) return false;
    char part[65536];
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) bytes.append(part, n);
    fclose(file);
    return true;
}

// Under another name first, so that nobody reads half a file.
bool write_file(const std::string &path, const std::string &bytes) {
    const std::string own = path + "." + std::to_string(getpid()) + "." + std::to_string(gettid());
    FILE *file = fopen(own.c_str(), "wb");
    if (!file) return false;
    const bool whole = fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    return fclose(file) == 0 && whole && rename(own.c_str(), path.c_str()) == 0;
}

std::string hex(uint64_t value) {
    char text[17];
    snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

// Keeps a source in the folder `FAKE_CUDA_SOURCES`, if there is one, under a name that only this text has: another compiler
// can take all that a run caused.
void note_source(const std::string &source) {
    const char *folder = getenv("FAKE_CUDA_SOURCES");
    if (!folder || !*folder) return;
    mkdir(folder, 0777);
    const std::string path = std::string(folder) + "/" + hex(hash_bytes(source.data(), source.size())) +
                             hex(hash_bytes(source.data(), source.size(), 0x9e3779b97f4a7c15u)) + ".cu";
    if (access(path.c_str(), F_OK) != 0 && !write_file(path, source))
        fprintf(stderr, "fake CUDA: cannot write %s\n", path.c_str());
}

// --- The kernels of a source ---

struct Kernel {
    std::string name;
    // What stands before `void`: the language, `__global__`, the launch bounds; perhaps inside macros.
    std::string prefix;
};

bool is_word(char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool names(const std::string &text, const std::string &word) {
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
        const size_t end = at + word.size();
        if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]))) return true;
    }
    return false;
}

// The words that mark a kernel: `__global__`, and macros that contain it.
std::vector<std::string> marks(const std::string &source) {
    std::vector<std::string> found{"__global__"};
    for (size_t at = source.find("#define "); at != std::string::npos; at = source.find("#define ", at + 1)) {
        const std::string line = source.substr(at, source.find('\n', at) - at);
        size_t end = 8;
        while (end < line.size() && is_word(line[end])) end++;
        if (names(line.substr(end), "__global__")) found.push_back(line.substr(8, end - 8));
    }
    return found;
}

std::vector<Kernel> kernels(const std::string &source) {
    std::vector<Kernel> found;
    const std::vector<std::string> words = marks(source);
    for (size_t at = source.find("void "); at != std::string::npos; at = source.find("void ", at + 1)) {
        if (at > 0 && is_word(source[at - 1])) continue;
        size_t begin = at;
        // Back to the end of what came before: a declaration, a body or a line for the preprocessor.
        while (begin > 0 && source[begin - 1] != ';' && source[begin - 1] != '}' && source[begin - 1] != '{') begin--;
        std::string prefix = source.substr(begin, at - begin);
        for (size_t line = prefix.find('#'); line != std::string::npos; line = prefix.find('#')) {
            const size_t end = prefix.find('\n', line);
            prefix.erase(0, end == std::string::npos ? prefix.size() : end + 1);
        }
        bool marked = false;
        for (const std::string &word : words) marked |= names(prefix, word);
        if (!marked) continue;
        size_t name = at + 5;
        while (isspace(static_cast<unsigned char>(source[name]))) name++;
        size_t end = name;
        while (end < source.size() && is_word(source[end])) end++;
        if (end > name) found.push_back({source.substr(name, end - name), prefix});
    }
    return found;
}

// What the driver needs to call the kernels. Here a kernel's prefix turns into the number of its launch bounds: `extern`
// vanishes, "C" and what `__global__` becomes form a comma expression, and `__launch_bounds__` multiplies.
std::string entries(const std::vector<Kernel> &found) {
    std::string text = "\n#undef __global__\n#undef __launch_bounds__\n";
    for (const Kernel &kernel : found)
        text += "extern \"C\" __attribute__((visibility(\"default\"))) void fake_entry_" + kernel.name +
                "(void **values) { fake_call(" + kernel.name + ", values); }\n" +
                "extern \"C\" __attribute__((visibility(\"default\"))) const unsigned *const fake_parameters_" +
                kernel.name + " = FakeParameters<decltype(&" + kernel.name + ")>::sizes;\n" +
                "extern \"C\" {\nextern __attribute__((visibility(\"default\"))) const unsigned fake_bound_" +
                kernel.name + ";\n}\n";
    text += "#define extern\n#define __global__ , FakeBound{1024}\n"
            "#define __launch_bounds__(n, ...) * FakeBound{(n)}\n";
    for (const Kernel &kernel : found)
        text += "const unsigned fake_bound_" + kernel.name + " = (" + kernel.prefix + ").value;\n";
    return text;
}

// `extern __shared__ T name[];` becomes a pointer to what the launch gave.
std::string with_dynamic_shared(std::string source) {
    const std::string words = "extern __shared__ ";
    for (size_t at = source.find(words); at != std::string::npos; at = source.find(words, at)) {
        const size_t end = source.find("[]", at);
        if (end == std::string::npos) break;
        size_t name = end;
        while (name > at && is_word(source[name - 1])) name--;
        const std::string type = source.substr(at + words.size(), name - at - words.size());
        const std::string variable = source.substr(name, end - name);
        source.replace(at, end + 2 - at, type + "*const " + variable + " = (" + type + "*)fake_module.dynamic_shared");
    }
    return source;
}

// --- Running g++ ---

struct Finished {
    int status;
    std::string output;
};

Finished run(const std::vector<std::string> &arguments, const std::string &input) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) return {-1, "no pipe"};
    std::vector<char *> pointers;
    for (const std::string &argument : arguments) pointers.push_back(const_cast<char *>(argument.c_str()));
    pointers.push_back(nullptr);
    // The compiler must not run under the sanitizer that the program under test was started with.
    std::vector<char *> environment;
    for (char **variable = environ; *variable; variable++)
        if (strncmp(*variable, "LD_PRELOAD=", 11) && strncmp(*variable, "LD_LIBRARY_PATH=", 16)) environment.push_back(*variable);
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, out[1], 2);
    pid_t child = 0;
    const int failed = posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    Finished result{-1, {}};
    if (failed) {
        result.output = arguments[0] + ": " + strerror(failed);
    } else {
        // g++ reads everything before it writes; a compiler that stops early must not take this process along.
        for (size_t at = 0; at < input.size();) {
            const ssize_t n = write(in[1], input.data() + at, input.size() - at);
            if (n <= 0) break;
            at += size_t(n);
        }
        close(in[1]);
        in[1] = -1;
        char part[4096];
        for (ssize_t n; (n = read(out[0], part, sizeof part)) > 0;) result.output.append(part, size_t(n));
        waitpid(child, &result.status, 0);
    }
    if (in[1] >= 0) close(in[1]);
    close(out[0]);
    return result;
}

// --- Compiling ---

struct Options {
    int architecture = 75;
    bool is_virtual = false, fuses = true;
};

bool read_options(int n, const char *const *given, Options &options, std::string &log) {
    for (int i = 0; i < n; i++) {
        const std::string option = given[i];
        const size_t equal = option.find('=');
        const std::string name = option.substr(0, equal);
        const std::string value = equal == std::string::npos ? "" : option.substr(equal + 1);
        if (name == "--gpu-architecture" || name == "-arch") {
            options.is_virtual = value.rfind("compute_", 0) == 0;
            const size_t digits = value.find('_') + 1;
            options.architecture = atoi(value.c_str() + digits);
            bool known = false;
            for (const int architecture : ARCHITECTURES) known |= architecture == options.architecture;
            if (!known) {
                log = "nvrtc: error: invalid value for --gpu-architecture (-arch)\n";
                return false;
            }
        } else if (name == "--fmad" || name == "-fmad") {
            options.fuses = value == "true";
        } else if (name == "--use_fast_math") {
            log = "the fake NVRTC has no fast mathematics\n";
            return false;
        } else if (option.rfind("-", 0) != 0) {
            log = "nvrtc: error: unrecognized option " + option + " found\n";
            return false;
        }
    }
    return true;
}

const char *compiler() {
    const char *chosen = getenv("FAKE_CUDA_CXX");
    return chosen && *chosen ? chosen : "g++";
}

bool sanitized() {
    const char *chosen = getenv("FAKE_CUDA_SANITIZE");
    return chosen && *chosen && strcmp(chosen, "0");
}

// A file of the compiler's, by one of its options that print where something is.
std::string from_compiler(const std::string &option) {
    std::string path = run({compiler(), option}, "").output;
    while (!path.empty() && isspace(static_cast<unsigned char>(path.back()))) path.pop_back();
    return path;
}

// How a source from the standard input becomes an object, or under the sanitizers a library at once.
std::vector<std::string> command(const Options &options) {
    std::vector<std::string> words{compiler(),
                                   "-x",
                                   "c++",
                                   "-std=c++17",
                                   "-O1",
                                   "-fPIC",
                                   "-fvisibility=hidden",
                                   "-fno-exceptions",
                                   "-fno-rtti",
                                   "-fno-math-errno",
                                   "-fwrapv",
                                   "-fno-strict-aliasing",
                                   "-fno-threadsafe-statics",
                                   "-fno-asynchronous-unwind-tables",
                                   "-w",
                                   "-pipe",
                                   options.fuses ? "-ffp-contract=fast" : "-ffp-contract=off"};
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) words.insert(words.end(), {"-mavx2", "-mfma", "-mf16c"});
    if (sanitized()) {
        for (std::string &word : words)
            if (word == "-fwrapv") word = "-fno-wrapv";
        words.insert(words.end(), {"-shared", "-nostartfiles", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
                                   "-fsanitize-sections=fake_shared", "-fno-omit-frame-pointer", "-g1"});
    } else {
        words.push_back("-c");
    }
    words.insert(words.end(), {"-", "-o"});
    return words;
}

// A library of an object. g++ would take three times as long as the linker that it calls in the end.
Finished link(const std::string &object, const std::string &library) {
    static const std::string linker = from_compiler("-print-prog-name=ld"), math = from_compiler("-print-file-name=libm.so.6"),
                             support = from_compiler("-print-libgcc-file-name");
    // Thousands are loaded at a time: few segments each.
    return run({linker, "-shared", "-z", "noseparate-code", "-z", "norelro", "--build-id=none", object, math, support, "-o", library}, "");
}

// The image of a source: from the cache or from g++. False with the compiler's words in the log.
bool image_of(const std::string &source, const Options &options, std::string &path, std::string &image, std::string &log) {
    std::string text;
    if (!read_file(own_folder() + "/kernel.h", text)) {
        log = "the fake NVRTC lacks its kernel.h\n";
        return false;
    }
    const std::string architecture = std::to_string(options.architecture);
    const std::vector<std::string> words = command(options);
    std::string key;
    for (const std::string &word : words) key += word + " ";
    // Line numbers are those of the caller's source.
    text += "#define __CUDA_ARCH__ " + architecture + "0\n#line 1 \"kernel\"\n" + with_dynamic_shared(source) +
            entries(kernels(source));
    key += __VERSION__ + text;
    const std::string folder = cache_folder();
    const std::string stem = folder + "/" + hex(hash_bytes(key.data(), key.size())) +
                             hex(hash_bytes(key.data(), key.size(), 0x9e3779b97f4a7c15u));
    path = stem + ".cubin";
    if (read_file(path, image)) {
        count("cache_hits");
        return true;
    }
    const std::string own = stem + "." + std::to_string(getpid()) + "." + std::to_string(gettid());
    const std::string object = own + ".o", library = own + ".so";
    std::vector<std::string> arguments = words;
    arguments.push_back(sanitized() ? library : object);
    if (sanitized()) arguments.push_back("-lm");
    Finished finished = run(arguments, text);
    if (finished.status == 0 && !sanitized()) {
        const Finished linked = link(object, library);
        finished = {linked.status, finished.output + linked.output};
    }
    std::string body;
    const std::string kept = stem + ".cu";
    const bool done = finished.status == 0 && read_file(library, body);
    unlink(object.c_str());
    unlink(library.c_str());
    log = finished.output;
    if (!done) {
        log += "the fake NVRTC: " + std::string(compiler()) + " ended with status " + std::to_string(finished.status) + "\n";
        return false;
    }
    write_file(kept, source);
    ImageHeader header{};
    memcpy(header.magic, IMAGE_MAGIC, 8);
    header.architecture = uint32_t(options.architecture);
    header.source_length = uint32_t(kept.size());
    header.length = body.size();
    body = kept + body;
    header.hash = hash_bytes(body.data(), body.size());
    image.assign(reinterpret_cast<const char *>(&header), sizeof header);
    image += body;
    write_file(path, image);
    count("compiled");
    return true;
}

} // namespace

EXPORT int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 4;
    return SUCCESS;
}

EXPORT const char *nvrtcGetErrorString(int code) {
    switch (code) {
    case SUCCESS: return "NVRTC_SUCCESS";
    case INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILATION: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR_INTERNAL_ERROR";
    }
}

EXPORT int nvrtcGetNumSupportedArchs(int *n) {
    *n = int(sizeof ARCHITECTURES / sizeof *ARCHITECTURES);
    return SUCCESS;
}

EXPORT int nvrtcGetSupportedArchs(int *architectures) {
    memcpy(architectures, ARCHITECTURES, sizeof ARCHITECTURES);
    return SUCCESS;
}

EXPORT int nvrtcCreateProgram(Program **out, const char *source, const char *, int headers, const char *const *,
                              const char *const *) {
    if (!source || headers != 0) return INVALID_INPUT;
    *out = new Program;
    (*out)->source = source;
    return SUCCESS;
}

EXPORT int nvrtcDestroyProgram(Program **program) {
    if (!program || !*program) return INVALID_PROGRAM;
    delete *program;
    *program = nullptr;
    return SUCCESS;
}

EXPORT int nvrtcCompileProgram(Program *program, int n, const char *const *given) {
    if (!program) return INVALID_PROGRAM;
    if (setting("nvrtc_fail")) {
        program->log = "kernel(1): error: this compiler was told to fail\n";
        return COMPILATION;
    }
    Options options;
    if (!read_options(n, given, options, program->log)) return INVALID_OPTION;
    std::string path, image;
    if (!image_of(program->source, options, path, image, program->log)) return COMPILATION;
    note_source(program->source);
    program->ptx = "//\n// Generated by the fake NVRTC of gradix\n// image " + path + "\n.version 8.8\n.target sm_" +
                   std::to_string(options.architecture) + "\n";
    program->ptx.push_back('\0');
    // Only a real architecture has machine code.
    program->cubin = options.is_virtual ? std::string() : image;
    return SUCCESS;
}

EXPORT int nvrtcGetProgramLogSize(Program *program, size_t *size) {
    if (!program) return INVALID_PROGRAM;
    *size = program->log.size() + 1;
    return SUCCESS;
}

EXPORT int nvrtcGetProgramLog(Program *program, char *log) {
    if (!program) return INVALID_PROGRAM;
    memcpy(log, program->log.c_str(), program->log.size() + 1);
    return SUCCESS;
}

EXPORT int nvrtcGetCUBINSize(Program *program, size_t *size) {
    if (!program) return INVALID_PROGRAM;
    *size = program->cubin.size();
    return SUCCESS;
}

EXPORT int nvrtcGetCUBIN(Program *program, char *cubin) {
    if (!program) return INVALID_PROGRAM;
    memcpy(cubin, program->cubin.data(), program->cubin.size());
    return SUCCESS;
}

EXPORT int nvrtcGetPTXSize(Program *program, size_t *size) {
    if (!program) return INVALID_PROGRAM;
    *size = program->ptx.size();
    return SUCCESS;
}

EXPORT int nvrtcGetPTX(Program *program, char *ptx) {
    if (!program) return INVALID_PROGRAM;
    memcpy(ptx, program->ptx.data(), program->ptx.size());
    return SUCCESS;
}
