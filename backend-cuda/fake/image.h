// The form of the fake's "CUBIN": this header, the path of the kernel's source, then the bytes of a shared library.
#pragma once

#include <cstddef>
#include <cstdint>

struct ImageHeader {
    char magic[8];
    uint32_t architecture;
    uint32_t source_length;
    uint64_t length;
    uint64_t hash;
};

constexpr char IMAGE_MAGIC[9] = "GRDXFAKE";

inline uint64_t hash_bytes(const void *bytes, size_t length, uint64_t hash = 0xcbf29ce484222325u) {
    const auto *at = static_cast<const unsigned char *>(bytes);
    for (size_t i = 0; i < length; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}
