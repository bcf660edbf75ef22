//! What makes OpenCL C and CUDA C++ one language.

use super::library;
use super::{Dialect, Target};

/// The name of every kernel's entry.
pub const ENTRY: &str = "gradix";

const OPENCL: &str = r"#pragma OPENCL FP_CONTRACT OFF
#ifdef HAS_F64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double f64;
#endif
typedef char i8;
typedef uchar u8;
typedef short i16;
typedef ushort u16;
typedef int i32;
typedef uint u32;
typedef long i64;
typedef ulong u64;
typedef float f32;
#define ENTRY(x, y, z) __kernel __attribute__((reqd_work_group_size(x, y, z)))
#define GLOBAL __global
#define LOCAL __local
#define DEVICE static inline
#define RESTRICT restrict
#define ITEM(axis) get_global_id(axis)
#define LOCAL_ITEM(axis) get_local_id(axis)
#define GROUP(axis) get_group_id(axis)
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define MUL_HI_U32(a, b) mul_hi((u32)(a), (u32)(b))
#define BITS_F32(x) as_uint(x)
#define FROM_BITS_F32(x) as_float((u32)(x))
#define LOAD_F16(p, i) vload_half((i), (GLOBAL const half *)(p))
#define STORE_F16(p, i, x) vstore_half_rte((x), (i), (GLOBAL half *)(p))
DEVICE f32 round_f16(f32 x) {
    u16 h;
    vstore_half_rte(x, 0, (half *)&h);
    return vload_half(0, (const half *)&h);
}
";

const CUDA: &str = r#"typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
#define ENTRY(x, y, z) extern "C" __global__ __launch_bounds__((x) * (y) * (z))
#define ENTRY_BESIDE(x, y, z, blocks) extern "C" __global__ __launch_bounds__((x) * (y) * (z), blocks)
#define GLOBAL
#define LOCAL __shared__
#define DEVICE static __device__ __forceinline__
#define RESTRICT __restrict__
#define ITEM_x ((u64)blockIdx.x * blockDim.x + threadIdx.x)
#define ITEM_y ((u64)blockIdx.y * blockDim.y + threadIdx.y)
#define ITEM_z ((u64)blockIdx.z * blockDim.z + threadIdx.z)
#define ITEM(axis) ((axis) == 0 ? ITEM_x : (axis) == 1 ? ITEM_y : ITEM_z)
#define LOCAL_ITEM(axis) ((axis) == 0 ? threadIdx.x : (axis) == 1 ? threadIdx.y : threadIdx.z)
#define GROUP(axis) ((axis) == 0 ? blockIdx.x : (axis) == 1 ? blockIdx.y : blockIdx.z)
#define BARRIER __syncthreads()
#define MUL_HI_U32(a, b) __umulhi((u32)(a), (u32)(b))
#define BITS_F32(x) __float_as_uint(x)
#define FROM_BITS_F32(x) __uint_as_float((u32)(x))
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef GRADIX_FAKE_CUDA
DEVICE f32 from_f16(u16 h) {
    f32 x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}
DEVICE u16 to_f16(f32 x) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
#else
// The same in C, for the stand-in of the driver that runs kernels on a processor.
DEVICE f32 from_f16(u16 h) {
    const u32 sign = (u32)(h & 0x8000) << 16, rest = (u32)(h & 0x7fff) << 13;
    if (rest >= 0x0f800000) return FROM_BITS_F32(sign | 0x7f800000 | rest);
    return FROM_BITS_F32(sign | BITS_F32(FROM_BITS_F32(rest) * 5.192296858534828e33f));
}
DEVICE u16 to_f16(f32 x) {
    const u32 bits = BITS_F32(x) & 0x7fffffff, sign = BITS_F32(x) >> 16 & 0x8000;
    if (bits > 0x7f800000) return (u16)(sign | 0x7e00);
    if (bits >= 0x477ff000) return (u16)(sign | 0x7c00);
    if (bits < 0x38800000) return (u16)(sign | (BITS_F32(FROM_BITS_F32(bits) + 0.5f) - 0x3f000000));
    return (u16)(sign | (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13);
}
#endif
#define LOAD_F16(p, i) from_f16((p)[i])
#define STORE_F16(p, i, x) ((p)[i] = to_f16(x))
#define round_f16(x) from_f16(to_f16(x))
"#;

/// How an entry begins. CUDA's compiler takes as many registers as it deems good, and where it deems too few good, it moves values
/// to memory and back. With `blocks` it takes as many as leave room for that number of groups on a processor at the same time.
pub(super) fn entry(target: &Target, blocks: Option<usize>) -> String {
    match (target.dialect, blocks) {
        (Dialect::Cuda, Some(blocks)) => format!("ENTRY_BESIDE({blocks})"),
        _ => "ENTRY_OF_GROUP".to_owned(),
    }
}

/// The types' and macros' text, then those functions of the library that the body needs, then the body.
pub(super) fn complete(target: &Target, group: [usize; 3], body: &str) -> String {
    let mut text = String::new();
    if target.has_f64 {
        text += "#define HAS_F64 1\n";
    }
    text += match target.dialect {
        Dialect::OpenCl => OPENCL,
        Dialect::Cuda => CUDA,
    };
    text += &library::needed(target, body);
    let [x, y, z] = group;
    let body = match target.dialect {
        Dialect::Cuda => body.replace("ENTRY_BESIDE(", &format!("ENTRY_BESIDE({x}, {y}, {z}, ")),
        Dialect::OpenCl => body.to_owned(),
    };
    text += &body.replace("ENTRY_OF_GROUP", &format!("ENTRY({x}, {y}, {z})"));
    text
}
