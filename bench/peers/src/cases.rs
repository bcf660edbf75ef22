//! What is measured.

use crate::limits::Work::{self, Add, Copy, Fma32, Fma64, Free, Read, Write};

/// One row of the table.
pub(crate) struct Case {
    /// What libraries know it by, and `--only` looks at.
    pub(crate) name: &'static str,
    /// What the table calls it.
    pub(crate) title: &'static str,
    /// What the machine has to do at least.
    pub(crate) work: &'static [Work],
    /// How far results may lie apart, relative to the largest of them.
    pub(crate) tolerance: f64,
    /// What ours has to be beside the best of the others.
    pub(crate) goal: Goal,
}

#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// This many times as fast as the best of the others.
    Times(f64),
    /// At most so many seconds, and this many times as fast as the best of the others.
    Within(f64, f64),
    /// As fast as the best of the others, and this share of the machine's limit.
    Share(f64),
}

const K: f64 = 1024.0;
const M: f64 = 1024.0 * 1024.0;
/// Bytes of a matrix of 4096² f32; also of 16M of them.
const BIG: f64 = 64.0 * M;
/// Floating-point operations of a product of square matrices.
const fn square(n: f64) -> f64 {
    2.0 * n * n * n
}

const fn case(name: &'static str, title: &'static str, work: &'static [Work], tolerance: f64, goal: Goal) -> Case {
    Case { name, title, work, tolerance, goal }
}

use Goal::{Share, Times, Within};

/// Every case, in the table's order.
#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    case("scalar_f", "scalar f forward", &[Free], 1e-6, Within(0.4e-6, 2.0)),
    case("scalar_grad", "scalar f forward + backward", &[Free], 1e-6, Within(2e-6, 2.5)),
    case("scalar_add", "scalar add", &[Free], 1e-6, Within(0.1e-6, 1.0)),
    case("add_1k", "add 1k", &[Free], 1e-6, Times(1.0)),
    case("add_64k", "add 64k", &[Free], 1e-6, Times(1.0)),
    case("add_16m", "add 16M", &[Add(3.0 * BIG)], 1e-6, Times(3.0)),
    case("f_16m", "f on 16M", &[Copy(2.0 * BIG)], 1e-5, Times(3.0)),
    case("grad_16m", "f on 16M, forward + backward", &[Copy(2.0 * BIG)], 1e-5, Times(5.0)),
    case("gelu_4m", "gelu 4M", &[Copy(32.0 * M)], 1e-5, Times(1.0)),
    case("sigmoid_4m", "sigmoid 4M", &[Copy(32.0 * M)], 1e-5, Times(1.0)),
    case("exp_4m", "exp 4M", &[Copy(32.0 * M)], 1e-5, Times(1.0)),
    case("tanh_4m", "tanh 4M", &[Copy(32.0 * M)], 1e-5, Times(1.0)),
    case("sum_all", "sum 16M", &[Read(BIG)], 1e-3, Times(1.0)),
    case("sum_rows", "sum of rows 4096²", &[Read(BIG)], 1e-4, Times(1.0)),
    case("sum_columns", "sum of columns 4096²", &[Read(BIG)], 1e-4, Times(2.0)),
    case("argmax_rows", "argmax of rows 4096²", &[Read(BIG)], 0.0, Times(2.0)),
    case("softmax", "softmax of rows 4096²", &[Copy(2.0 * BIG)], 1e-5, Times(3.0)),
    case("logsumexp", "logsumexp of rows 4096²", &[Read(BIG)], 1e-5, Times(2.0)),
    case("layer_norm", "layer norm 8192×1024", &[Copy(BIG)], 1e-4, Times(3.0)),
    case("broadcast_row", "4096² + row", &[Copy(2.0 * BIG)], 1e-6, Times(3.0)),
    case("broadcast_column", "4096² + column", &[Copy(2.0 * BIG)], 1e-6, Times(3.0)),
    case("transpose", "transpose copy 4096²", &[Copy(2.0 * BIG)], 0.0, Times(4.0)),
    case("matmul_64", "matmul f32 64²", &[Fma32(square(64.0))], 1e-5, Times(1.0)),
    case("matmul_128", "matmul f32 128²", &[Fma32(square(128.0))], 1e-5, Times(1.0)),
    case("matmul_256", "matmul f32 256²", &[Fma32(square(256.0))], 1e-5, Times(1.0)),
    case("matmul_512", "matmul f32 512²", &[Fma32(square(512.0))], 1e-4, Share(0.9)),
    case("matmul_1024", "matmul f32 1024²", &[Fma32(square(1024.0))], 1e-4, Share(0.9)),
    case("matmul_2048", "matmul f32 2048²", &[Fma32(square(2048.0))], 1e-4, Share(0.9)),
    case("matmul_f64", "matmul f64 1024²", &[Fma64(square(1024.0))], 1e-12, Times(1.0)),
    case("matmul_abt", "A·Bᵀ f32 1024²", &[Fma32(square(1024.0))], 1e-4, Times(1.0)),
    case("matmul_skinny", "64×4096 · 4096²", &[Fma32(2.0 * 64.0 * 4096.0 * 4096.0)], 1e-4, Times(1.2)),
    case("matmul_batched", "32 of 128² · 128²", &[Fma32(32.0 * square(128.0))], 1e-5, Times(1.2)),
    case("matmul_i64", "matmul i64 256²", &[Free], 0.0, Times(1.0)),
    case("mlp", "MLP 784-512-512-10 step, batch 128", &[Fma32(128.0 * 2.0 * (784.0 * 512.0 * 2.0 + 512.0 * 512.0 * 3.0 + 512.0 * 10.0 * 3.0))], 1e-4, Times(1.2)),
    case("small_mlp", "MLP 2-16-16-1 step, batch 32", &[Free], 1e-4, Within(20e-6, 1.0)),
    case("cnn", "small CNN step, batch 32", &[Free], 1e-3, Times(1.3)),
    case("attention", "causal attention 4×256×256, 8 heads, forward + backward", &[Fma32(3.0 * (2.0 * 1024.0 * 256.0 * 1024.0 + 32.0 * 4.0 * 256.0 * 256.0 * 32.0))], 1e-3, Times(1.5)),
    case("adamw", "AdamW 10M", &[Add(4.0 * 40e6), Write(3.0 * 40e6)], 1e-4, Times(1.0)),
    case("embedding", "embedding 32k×256 of 8k, forward + backward", &[Write(32.0 * K * K)], 1e-4, Times(2.0)),
    case("index_select", "index_select 100k×64", &[Copy(2.0 * 25.6e6)], 0.0, Times(1.0)),
    case("cat", "cat 16 × 1024²", &[Copy(2.0 * BIG)], 0.0, Times(3.0)),
    case("chain", "chain of 100,000 ops, forward + backward", &[Free], 1e-5, Within(30e-3, 1.0)),
];
