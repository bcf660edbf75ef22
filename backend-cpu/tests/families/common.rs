//! Tensors in host memory with all kinds of layouts, and comparisons.

use backend_cpu::{Buffer, Cpu};
use tensor_core::reference::{HostView, HostViewMut};
use tensor_core::{Backend, DType, Layout, Scalar, Shape, View, ViewMut};

/// A generator of random numbers: xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.bits() >> 16) as usize % bound
    }

    /// From −1 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// What the elements are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Values {
    /// Floats from −2 to 2; integers of all sizes.
    Plain,
    /// A few small integers, so that many are equal.
    Few,
    /// `Few`, with infinities, signed zeros and NaN among the floats.
    Special,
}

/// A tensor on the host and on the device.
pub(crate) struct Tensor {
    pub(crate) bytes: Vec<u8>,
    pub(crate) layout: Layout,
    pub(crate) dtype: DType,
    pub(crate) buffer: Buffer,
}

impl Tensor {
    /// A tensor of these bytes.
    pub(crate) fn new(bytes: Vec<u8>, layout: Layout, dtype: DType) -> Self {
        let mut buffer = Cpu::open().alloc(bytes.len()).unwrap();
        Cpu::open().write(&mut buffer, 0, &bytes).unwrap();
        Self { bytes, layout, dtype, buffer }
    }

    /// Random elements behind a layout.
    pub(crate) fn random(layout: Layout, dtype: DType, values: Values, random: &mut Random) -> Self {
        let elements = layout.bounds().map_or(0, |(_, last)| last + 1) + 3;
        let mut bytes = vec![0; elements * dtype.size()];
        for place in bytes.chunks_mut(dtype.size()) {
            scalar(dtype, values, random).write(dtype, place);
        }
        Self::new(bytes, layout, dtype)
    }

    /// Indices below `bound`.
    pub(crate) fn indices(layout: Layout, bound: usize, random: &mut Random) -> Self {
        let elements = layout.bounds().map_or(0, |(_, last)| last + 1);
        let bytes = (0..elements).flat_map(|_| (random.below(bound) as i64).to_ne_bytes()).collect();
        Self::new(bytes, layout, DType::I64)
    }

    /// A dense tensor whose elements are not zero, to be overwritten.
    pub(crate) fn garbage(dims: &[usize], dtype: DType) -> Self {
        let layout = Layout::contiguous(Shape::new(dims).unwrap());
        let bytes = vec![1; layout.numel() * dtype.size()];
        Self::new(bytes, layout, dtype)
    }

    pub(crate) fn view(&self) -> View<'_, Cpu> {
        View { buffer: &self.buffer, layout: &self.layout, dtype: self.dtype }
    }

    pub(crate) fn view_mut(&mut self) -> ViewMut<'_, Cpu> {
        ViewMut { buffer: &mut self.buffer, layout: &self.layout, dtype: self.dtype }
    }

    pub(crate) fn host(&self) -> HostView<'_> {
        HostView { bytes: &self.bytes, layout: &self.layout, dtype: self.dtype }
    }

    pub(crate) fn host_mut(&mut self) -> HostViewMut<'_> {
        HostViewMut { bytes: &mut self.bytes, layout: &self.layout, dtype: self.dtype }
    }

    /// What the device holds, all of it.
    pub(crate) fn device_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes.len()];
        Cpu::open().read(&self.buffer, 0, &mut bytes).unwrap();
        bytes
    }

    /// Asserts that the device holds what the host does, floats up to `ulps` times the dtype's precision relative to
    /// `scale(i)` or the value itself, whichever is larger.
    pub(crate) fn check(&self, ulps: f64, scale: impl Fn(usize) -> f64, what: &str) {
        let device = self.device_bytes();
        let (size, dtype) = (self.dtype.size(), self.dtype);
        for (i, (host, device)) in self.bytes.chunks(size).zip(device.chunks(size)).enumerate() {
            let (expected, got) = (Scalar::read(dtype, host), Scalar::read(dtype, device));
            let close = match (expected, got) {
                (Scalar::Float(a), Scalar::Float(b)) if a.is_finite() && b.is_finite() => {
                    (a - b).abs() <= ulps * precision(dtype) * a.abs().max(scale(i)) + smallest(dtype)
                }
                (Scalar::Float(a), Scalar::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
                (a, b) => a == b,
            };
            assert!(close, "{what}, {dtype}, element {i}: expected {expected}, got {got}");
        }
    }
}

/// The distance of 1 to the next number.
pub(crate) fn precision(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        DType::F32 => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    }
}

fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-24),
        DType::BF16 | DType::F32 => f64::from(f32::MIN_POSITIVE),
        _ => f64::MIN_POSITIVE,
    }
}

fn scalar(dtype: DType, values: Values, random: &mut Random) -> Scalar {
    const SPECIAL: [f64; 6] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0];
    match (dtype.is_float(), values) {
        (true, Values::Plain) => Scalar::Float(2.0 * random.unit()),
        (true, Values::Special) if random.below(8) == 0 => Scalar::Float(SPECIAL[random.below(SPECIAL.len())]),
        (true, _) => Scalar::Float(random.below(5) as f64 - 2.0),
        (false, Values::Plain) if dtype != DType::Bool => Scalar::Int(random.bits() as i64),
        (false, _) if dtype == DType::Bool => Scalar::Bool(random.below(2) == 0),
        (false, _) => Scalar::Int(random.below(5) as i64 - 2).cast(dtype),
    }
}

/// Layouts of one shape, by name.
pub(crate) fn layouts(dims: &[usize]) -> Vec<(&'static str, Layout)> {
    let shape = Shape::new(dims).unwrap();
    let mut all = vec![("contiguous", Layout::contiguous(shape.clone()))];
    if dims.is_empty() {
        return all;
    }
    let rank = dims.len();
    let reversed: Vec<usize> = dims.iter().rev().copied().collect();
    let order: Vec<isize> = (0..rank as isize).rev().collect();
    all.push(("transposed", Layout::contiguous(Shape::new(&reversed).unwrap()).permute(&order).unwrap()));
    let wide: Vec<usize> = dims.iter().map(|size| 2 * size + 1).collect();
    let mut stepped = Layout::contiguous(Shape::new(&wide).unwrap());
    for (axis, &size) in dims.iter().enumerate() {
        stepped = stepped.slice(axis as isize, 1, size, 2).unwrap();
    }
    all.push(("stepped", stepped));
    let axes: Vec<isize> = (0..rank as isize).collect();
    all.push(("flipped", Layout::contiguous(shape.clone()).flip(&axes).unwrap()));
    for (name, axis) in [("first repeated", 0), ("last repeated", rank - 1)] {
        let mut short = dims.to_vec();
        short[axis] = dims[axis].min(1);
        if dims[axis] > 0 {
            all.push((name, Layout::contiguous(Shape::new(&short).unwrap()).expand(&shape).unwrap()));
        }
    }
    all
}

/// Runs `f` with pools of one and of three threads and on the common one, and asserts that the bytes are the same.
pub(crate) fn same_on_any_number_of_threads(f: impl Fn() -> Vec<u8> + Sync) {
    let expected = f();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for _ in 0..3 {
            assert!(pool.install(&f) == expected, "{threads} threads give other results");
        }
    }
}

/// Integers and floats, without bool.
pub(crate) fn numbers() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bool)
}

pub(crate) fn floats() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|dtype| dtype.is_float())
}
