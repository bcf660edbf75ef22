// Settings, counters and reports.
#include "fake.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <unistd.h>

std::recursive_mutex world;
std::atomic<bool> idle{false};

namespace {

struct Setting {
    const char *name;
    long long value;
};

// Every setting and what it is without being asked; README.md says what they do.
const Setting DEFAULTS[] = {
    {"devices", 1},
    {"peer", 1},
    {"memory", 8ll << 30},
    {"capability", 90},
    {"processors", 4},
    {"pools", 1},
    {"driver_version", 13040},
    {"init_error", 0},
    {"order", 0},
    {"seed", 1},
    {"async", 0},
    {"poison", 0xff},
    {"leaks", 0},
    {"oom_at", 0},
    {"oom_above", 0},
    {"host_oom_at", 0},
    {"launch_fail_at", 0},
    {"launch_fail_code", LAUNCH_FAILED},
    {"launch_fail_sticky", 0},
    {"capture_fail_at", 0},
    {"capture_fail_code", NOT_SUPPORTED},
    {"module_fail_at", 0},
    {"module_fail_always", 0},
    {"module_fail_code", INVALID_IMAGE},
    {"lost_at", 0},
    {"lost_code", LAUNCH_FAILED},
    {"nvrtc_fail", 0},
    {"lt_fail", 0},
    {"lt_oom_at", 0},
    {"lt_oom_always", 0},
    {"lt_relu_nan", 1},
    {"idle", 0},
};

std::map<std::string, long long> &settings() {
    static auto *all = new std::map<std::string, long long>;
    return *all;
}

// What the process began with: the defaults, and what the environment says.
std::map<std::string, long long> &beginnings() {
    static auto *all = new std::map<std::string, long long>;
    return *all;
}

std::map<std::string, long long> &counters() {
    static auto *all = new std::map<std::string, long long>;
    return *all;
}

long long number(const char *name, const char *text) {
    if (!strcmp(name, "order")) {
        const char *orders[] = {"ascending", "descending", "random"};
        for (int i = 0; i < 3; i++)
            if (!strcmp(text, orders[i])) return i;
    }
    char *end = nullptr;
    const long long value = strtoll(text, &end, 0);
    if (!*text || *end) {
        fprintf(stderr, "fake CUDA: the setting %s has the value `%s`, which is no number\n", name, text);
        _exit(86);
    }
    return value;
}

void at_exit() {
    Lock lock(world);
    check_canaries("the end of the program");
    if (setting("leaks")) free_all_of(-2, true);
    const long long reports = counters()["reports"];
    if (const char *path = getenv("FAKE_CUDA_COUNTERS")) {
        if (FILE *file = fopen(path, "a")) {
            for (const auto &[name, value] : counters()) fprintf(file, "%s %lld\n", name.c_str(), value);
            fclose(file);
        }
    }
    if (reports > 0) {
        fprintf(stderr, "fake CUDA: %lld mistake(s) reported\n", reports);
        fflush(nullptr);
        _exit(86);
    }
}

__attribute__((constructor)) void start() {
    for (const Setting &row : DEFAULTS) {
        std::string variable = "FAKE_CUDA_";
        for (const char *c = row.name; *c; c++) variable += char(*c == '_' ? '_' : *c - 'a' + 'A');
        const char *text = getenv(variable.c_str());
        settings()[row.name] = text ? number(row.name, text) : row.value;
    }
    beginnings() = settings();
    idle = settings()["idle"] != 0;
    atexit(at_exit);
}

} // namespace

long long setting(const char *name) {
    Lock lock(world);
    const auto found = settings().find(name);
    return found == settings().end() ? 0 : found->second;
}

void set(const char *name, long long value) {
    Lock lock(world);
    settings()[name] = value;
}

void count(const char *name, long long by) {
    Lock lock(world);
    counters()[name] += by;
}

bool comes_due(const char *name) {
    Lock lock(world);
    long long &left = settings()[name];
    return left > 0 && --left == 0;
}

void report(const char *format, ...) {
    Lock lock(world);
    counters()["reports"] += 1;
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "fake CUDA: %s\n", text);
    if (const char *path = getenv("FAKE_CUDA_REPORT")) {
        if (FILE *file = fopen(path, "a")) {
            fprintf(file, "%s\n", text);
            fclose(file);
        }
    }
}

// Sets what the environment variable of that name sets. `"defaults"` puts everything back to what the process began with.
FAKE_EXPORT int fake_cuda_set(const char *name, const char *value) {
    Lock lock(world);
    if (!strcmp(name, "defaults")) {
        for (int i = 0; i < MAX_DEVICES; i++) device_of(i)->lost = 0;
        settings() = beginnings();
        idle = settings()["idle"] != 0;
        return 1;
    }
    for (const Setting &row : DEFAULTS) {
        if (!strcmp(name, row.name)) {
            settings()[row.name] = number(name, value);
            idle = settings()["idle"] != 0;
            return 1;
        }
    }
    return 0;
}

// A setting or a counter; -1 if there is neither.
FAKE_EXPORT long long fake_cuda_get(const char *name) {
    Lock lock(world);
    if (const auto found = settings().find(name); found != settings().end()) return found->second;
    const auto found = counters().find(name);
    return found == counters().end() ? 0 : found->second;
}

// For the other libraries of the fake.
FAKE_EXPORT void fake_cuda_count(const char *name) { count(name); }
FAKE_EXPORT void fake_cuda_report(const char *text) { report("%s", text); }
