//! Kernels of whole lines over the stand-in for the driver: values that are read several at once, teams of every size, and
//! threads in any order.

mod common;

use backend_cuda::Cuda;
use common::Fake;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::program::Reg;
use tensor_core::reference::Reference;
use tensor_core::rows::{RowKind, RowSpec, RowStep, by_steps};
use tensor_core::{
    Array, Backend, DType, Dims, Layout, Program, ReduceOp, Result, Scalar, ScanOp, Shape, View, ViewMut,
};

const ORDERS: [&str; 3] = ["ascending", "descending", "random"];

/// Numbers between −4 and 4 with few bits, so that sums of them are exact in every dtype that sums are kept in.
fn numbers<B: Backend>(backend: &B, dims: [usize; 2], dtype: DType) -> Result<Array<B>> {
    let count = dims[0] * dims[1];
    let values: Vec<f32> = (0..count).map(|i| ((i * 37 + i / 19) % 129) as f32 / 16.0 - 4.0).collect();
    Array::from_slice(backend, &values, dims)?.cast(dtype)
}

fn values<B: Backend>(array: &Array<B>) -> Vec<f64> {
    array.cast(DType::F64).unwrap().to_vec().unwrap()
}

/// What softmax may be off by, in the numbers of its dtype below 1 and as a part of larger ones.
fn allowed(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => 1.0 / 128.0,
        DType::F16 => 1.0 / 1024.0,
        DType::F32 => 1e-6,
        _ => 1e-14,
    }
}

#[test]
fn softmax_of_lines_that_registers_hold_and_of_longer_ones() {
    let Some(fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    for (which, length) in [1, 5, 24, 128, 1032, 4096, 8192, 8200].into_iter().enumerate() {
        fake.set("order", ORDERS[which % 3]);
        for dtype in [DType::F32, [DType::F64, DType::F16, DType::BF16][which % 3]] {
            let (ours, theirs) =
                (numbers(&device, [3, length], dtype).unwrap(), numbers(&Reference, [3, length], dtype).unwrap());
            ours.force().unwrap();
            for log in [false, true].into_iter().filter(|&log| dtype == DType::F32 || log == (which % 2 == 0)) {
                let launches = fake.count("launches");
                let got = ours.softmax(1, log).unwrap();
                let held = length <= if dtype == DType::F64 { 4096 } else { 8192 };
                assert_eq!(fake.count("launches") == launches + 1, held, "{length} of {dtype} in one launch");
                let wanted = values(&theirs.softmax(1, log).unwrap());
                for (got, wanted) in values(&got).into_iter().zip(wanted) {
                    let off = (got - wanted).abs() / wanted.abs().max(1e-3);
                    assert!(off <= 4.0 * allowed(dtype), "{length} of {dtype}: {got} for {wanted}");
                }
            }
        }
    }
}

#[test]
fn lines_without_a_pack_of_their_own_are_left_as_they_were() {
    let Some(_fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    let nothing = Scalar::Float(f64::NEG_INFINITY);
    let lines = Array::full(&device, nothing, &Shape::new([2, 40]).unwrap(), DType::F32);
    let got = lines.softmax(1, false).unwrap().to_vec::<f32>().unwrap();
    assert!(got.iter().all(|value| value.is_nan()), "{got:?}");
    // A part of wider lines, which are aligned and whose rest must not count.
    let part = |backend| numbers(backend, [5, 64], DType::F32)?.narrow(1, 8, 20);
    let part_there = numbers(&device, [5, 64], DType::F32).unwrap().narrow(1, 8, 20).unwrap();
    let wanted = values(&part(&Reference).unwrap().softmax(1, false).unwrap());
    for (got, wanted) in values(&part_there.softmax(1, false).unwrap()).into_iter().zip(wanted) {
        assert!((got - wanted).abs() < 1e-6, "{got} for {wanted}");
    }
}

/// All of these are exact, so results must be the reference's bit for bit, in whichever order threads run.
#[test]
fn reductions_of_lines_that_are_read_several_values_at_once() {
    let Some(fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    let operations = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::ArgMin];
    for (kind, dtype) in [DType::F64, DType::F32, DType::F16, DType::U8].into_iter().enumerate() {
        for (which, dims) in [[5, 16], [2, 1000], [1, 4099]].into_iter().enumerate() {
            let (ours, theirs) = (numbers(&device, dims, dtype).unwrap(), numbers(&Reference, dims, dtype).unwrap());
            let op = operations[(kind + which) % 3];
            let wanted = values(&theirs.reduce(op, &[1], false).unwrap());
            for order in ORDERS {
                fake.set("order", order);
                let got = values(&ours.reduce(op, &[1], false).unwrap());
                assert_eq!(got, wanted, "{op:?} of {dims:?}, {dtype}, {order}");
            }
        }
    }
    // With a prologue of which one input is the same along a line.
    let deviation =
        |x: &Array<Cuda>| x.sub(&x.reduce(ReduceOp::Max, &[1], true)?)?.unary(UnaryOp::Square)?.sum(&[1], false);
    let theirs =
        |x: &Array<Reference>| x.sub(&x.reduce(ReduceOp::Max, &[1], true)?)?.unary(UnaryOp::Square)?.sum(&[1], false);
    let got = values(&deviation(&numbers(&device, [4, 512], DType::F32).unwrap()).unwrap());
    assert_eq!(got, values(&theirs(&numbers(&Reference, [4, 512], DType::F32).unwrap()).unwrap()));
}

/// Outputs beside each other, of which an item makes several; exact as above.
#[test]
fn reductions_of_columns_that_are_read_several_at_once() {
    let Some(fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    let operations = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::ArgMin];
    for (kind, dtype) in [DType::F64, DType::F32, DType::F16, DType::U8].into_iter().enumerate() {
        for (which, dims) in [[5, 16], [700, 24], [130, 64]].into_iter().enumerate() {
            let (ours, theirs) = (numbers(&device, dims, dtype).unwrap(), numbers(&Reference, dims, dtype).unwrap());
            let op = operations[(kind + which) % 3];
            let wanted = values(&theirs.reduce(op, &[0], false).unwrap());
            fake.set("order", ORDERS[which]);
            assert_eq!(values(&ours.reduce(op, &[0], false).unwrap()), wanted, "{op:?} of {dims:?}, {dtype}");
        }
    }
    // Of a middle axis, of a part whose beginning is aligned and of one where it is not, and with a prologue whose other input
    // is the same for all columns.
    fn more<B: Backend>(x: &Array<B>) -> Result<Vec<Vec<f64>>> {
        let cube = x.reshape(&Shape::new([3, 20, 64])?)?;
        let far = x.sub(&x.reduce(ReduceOp::Max, &[1], true)?)?.unary(UnaryOp::Square)?;
        Ok(vec![
            values(&cube.sum(&[1], false)?),
            values(&cube.sum(&[0, 1], true)?),
            values(&x.narrow(1, 8, 24)?.sum(&[0], false)?),
            values(&x.narrow(1, 3, 24)?.sum(&[0], false)?),
            values(&far.sum(&[0], false)?),
        ])
    }
    for dtype in [DType::F32, DType::BF16] {
        let got = more(&numbers(&device, [60, 64], dtype).unwrap()).unwrap();
        assert_eq!(got, more(&numbers(&Reference, [60, 64], dtype).unwrap()).unwrap(), "{dtype}");
    }
}

/// Running totals that warps make, of lines in one piece and in several; exact as above.
#[test]
fn running_totals_of_lines_that_warps_walk() {
    let Some(fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    for (kind, dtype) in [DType::F64, DType::F32, DType::F16, DType::I32].into_iter().enumerate() {
        for (which, dims) in [[3, 63], [3, 64], [5, 131], [2, 2000], [1, 40_003]].into_iter().enumerate() {
            let (ours, theirs) = (numbers(&device, dims, dtype).unwrap(), numbers(&Reference, dims, dtype).unwrap());
            ours.force().unwrap();
            fake.set("order", ORDERS[(kind + which) % 3]);
            let launches = fake.count("launches");
            let got = ours.scan(ScanOp::Sum, 1).unwrap();
            // With several pieces their totals come first, and then what comes before each.
            let pieces = fake.count("launches") - launches;
            if dims[1] > 30_000 {
                assert!(pieces >= 3, "{pieces} launches for {dims:?} of {dtype}");
            }
            assert_eq!(values(&got), values(&theirs.scan(ScanOp::Sum, 1).unwrap()), "{dims:?} of {dtype}");
        }
    }
    // Lines that begin at a multiple of 16 bytes, and lines that do not.
    for (start, length) in [(8, 400), (3, 401)] {
        let part = |x: &Array<Cuda>| x.narrow(1, start, length)?.scan(ScanOp::Sum, 1);
        let theirs = numbers(&Reference, [3, 1200], DType::F32).unwrap().narrow(1, start, length).unwrap();
        let got = part(&numbers(&device, [3, 1200], DType::F32).unwrap()).unwrap();
        assert_eq!(values(&got), values(&theirs.scan(ScanOp::Sum, 1).unwrap()), "from {start}");
    }
}

/// A step whose program reads these values, of these dtypes.
fn step(kind: RowKind, reads: &[(u8, DType)], compute: impl FnOnce(&mut Program, &[Reg]) -> Reg) -> RowStep {
    let mut program = Program::new();
    let registers: Vec<Reg> = reads.iter().map(|&(_, dtype)| program.input(dtype)).collect();
    let result = compute(&mut program, &registers);
    program.output(result);
    RowStep::new(kind, program, &reads.iter().map(|&(read, _)| read).collect::<Vec<u8>>())
}

/// A reduction of the value 0, converted, without the value of another number.
fn centred(op: ReduceOp, dtype: DType, without: u8, then: UnaryOp) -> RowStep {
    let wide = dtype.compute();
    step(RowKind::Reduce(op), &[(0, dtype), (without, wide)], |program, read| {
        let x = program.cast(read[0], wide);
        let far = program.binary(BinaryOp::Sub, x, read[1]);
        program.unary(then, far)
    })
}

/// The product of values 0 and 1 summed up, converted.
fn products(dtype: DType) -> RowStep {
    let wide = dtype.compute();
    step(RowKind::Reduce(ReduceOp::Sum), &[(0, dtype), (1, dtype)], |program, read| {
        let [a, b] = [read[0], read[1]].map(|read| program.cast(read, wide));
        program.binary(BinaryOp::Mul, a, b)
    })
}

fn total(dtype: DType) -> RowStep {
    step(RowKind::Reduce(ReduceOp::Sum), &[(0, dtype)], |program, read| program.cast(read[0], dtype.compute()))
}

/// A value times a number, and more if there are more values: `(v·factor + …)`, then the operation.
fn number(reads: &[(u8, DType)], factor: f64, then: Option<UnaryOp>) -> RowStep {
    step(RowKind::Rows, reads, |program, read| {
        let factor = program.scalar(Scalar::Float(factor), reads[0].1);
        let mut value = program.binary(BinaryOp::Mul, read[0], factor);
        for &other in &read[1..] {
            value = program.binary(BinaryOp::Add, value, other);
        }
        then.map_or(value, |op| program.unary(op, value))
    })
}

/// Values 0 to 3 are inputs: x and one of its kind, a number for each place of a row, and one for each row.
fn computations(dtype: DType, length: usize) -> [(&'static str, Vec<RowStep>); 4] {
    let (wide, part) = (dtype.compute(), 1.0 / length as f64);
    let norm = [(0, dtype), (5, wide), (7, wide), (2, dtype), (3, dtype)];
    let layer_norm = vec![
        total(dtype),
        number(&[(4, wide)], part, None),
        centred(ReduceOp::Sum, dtype, 5, UnaryOp::Square),
        number(&[(6, wide)], part, Some(UnaryOp::Sqrt)),
        step(RowKind::Elements, &norm, |program, read| {
            let [x, weight, bias] = [0, 3, 4].map(|place| program.cast(read[place], wide));
            let far = program.binary(BinaryOp::Sub, x, read[1]);
            let one = program.scalar(Scalar::Float(1.0), wide);
            let scale = program.binary(BinaryOp::Add, read[2], one);
            let norm = program.binary(BinaryOp::Div, far, scale);
            let scaled = program.binary(BinaryOp::Mul, norm, weight);
            let result = program.binary(BinaryOp::Add, scaled, bias);
            program.cast(result, dtype)
        }),
    ];
    let largest = RowStep::new(RowKind::Reduce(ReduceOp::Max), Program::copy(dtype), &[0]);
    let logsumexp = vec![
        largest,
        step(RowKind::Rows, &[(4, dtype)], |program, read| program.cast(read[0], wide)),
        centred(ReduceOp::Sum, dtype, 5, UnaryOp::Exp),
        number(&[(6, wide)], 1.0, Some(UnaryOp::Log)),
        step(RowKind::Rows, &[(5, wide), (7, wide)], |program, read| {
            let sum = program.binary(BinaryOp::Add, read[0], read[1]);
            program.cast(sum, dtype)
        }),
    ];
    let gradient = vec![
        products(dtype),
        total(dtype),
        number(&[(4, wide), (5, wide)], part, None),
        step(RowKind::Elements, &[(0, dtype), (1, dtype), (6, wide)], |program, read| {
            let [y, g] = [read[0], read[1]].map(|read| program.cast(read, wide));
            let rest = program.binary(BinaryOp::Sub, g, read[2]);
            let result = program.binary(BinaryOp::Mul, y, rest);
            program.cast(result, dtype)
        }),
    ];
    [("layer norm", layer_norm), ("logsumexp", logsumexp), ("gradient", gradient), ("sum", vec![products(dtype)])]
}

/// The inputs of [`computations`] for rows along `axes`, on a backend: where they lie, and their memory. If they are `apart`,
/// rows of x begin anywhere.
fn operands<B: Backend>(
    backend: &B,
    shape: &Shape,
    axes: &[usize],
    dtype: DType,
    apart: bool,
) -> [(Layout, B::Buffer); 4] {
    let count = shape.numel();
    let strides = shape.contiguous_strides();
    let still = |of_rows: bool| -> Dims<isize> {
        strides.iter().enumerate().map(|(axis, &step)| if axes.contains(&axis) == of_rows { 0 } else { step }).collect()
    };
    let mut x = strides.clone();
    if apart {
        x[0] += 3;
    }
    let layouts = [
        Layout::from_parts(shape.clone(), x, usize::from(apart)),
        Layout::contiguous(shape.clone()),
        Layout::from_parts(shape.clone(), still(false), 0),
        Layout::from_parts(shape.clone(), still(true), 0),
    ];
    let mut seed = 0;
    layouts.map(|layout| {
        seed += 1;
        let values = numbers(&Reference, [1, count + 64], dtype).unwrap().narrow(1, seed, count + 32).unwrap();
        let bytes = values.to_bytes().unwrap();
        let mut buffer = backend.alloc(bytes.len()).unwrap();
        backend.write(&mut buffer, 0, &bytes).unwrap();
        (layout, buffer)
    })
}

/// The result of steps over rows, by the backend's own way or by one step after another.
fn computed<B: Backend>(
    backend: &B,
    spec: &RowSpec<'_>,
    operands: &[(Layout, B::Buffer)],
    dtype: DType,
    own: bool,
) -> Vec<f64> {
    let (layout, to) = (Layout::contiguous(spec.out_shape()), spec.steps[spec.steps.len() - 1].dtype());
    let mut buffer = backend.alloc(layout.numel() * to.size()).unwrap();
    let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype: to };
    let views: Vec<View<'_, B>> = operands.iter().map(|(layout, buffer)| View { buffer, layout, dtype }).collect();
    let run = if own { backend.rows(spec, &views, out) } else { by_steps(backend, spec, &views, out) };
    run.unwrap();
    let mut bytes = vec![0; layout.numel() * to.size()];
    backend.read(&buffer, 0, &mut bytes).unwrap();
    values(&Array::from_bytes(&Reference, to, &bytes, layout.shape()).unwrap())
}

/// Compares with one step after another on the reference, and says in how many launches.
fn check_rows(fake: &Fake, which: usize, dims: &[usize], axes: &[usize], dtype: DType, apart: bool) -> i64 {
    let device = Cuda::open(0).unwrap();
    let shape = Shape::new(dims).unwrap();
    let length = axes.iter().map(|&axis| dims[axis]).product();
    let (name, steps) = &computations(dtype, length)[which];
    let spec = RowSpec { shape: &shape, axes, steps };
    let (ours, theirs) =
        (operands(&device, &shape, axes, dtype, apart), operands(&Reference, &shape, axes, dtype, apart));
    let launches = fake.count("launches");
    let got = computed(&device, &spec, &ours, dtype, true);
    let launches = fake.count("launches") - launches;
    let wanted = computed(&Reference, &spec, &theirs, dtype, false);
    assert_eq!(got.len(), wanted.len());
    for (place, (got, wanted)) in got.into_iter().zip(wanted).enumerate() {
        let off = (got - wanted).abs() / wanted.abs().max(1.0);
        assert!(off <= 4.0 * allowed(dtype), "{name} of {dims:?}, {dtype}, at {place}: {got} for {wanted}");
    }
    launches
}

#[test]
fn computations_over_rows_take_one_launch() {
    let Some(fake) = Fake::get() else { return };
    // Teams of every kind, rows that items hold and longer ones, with and without whole packs.
    let lengths = [1, 3, 64, 200, 768, 1111, 8192, 20_000];
    let dtypes = [DType::F32, DType::F16, DType::BF16, DType::F64];
    for (number, length) in lengths.into_iter().enumerate() {
        fake.set("order", ORDERS[number % 3]);
        for (which, dtype) in [(number % 3, DType::F32), ((number + 1) % 4, dtypes[number % 4])] {
            let launches = check_rows(&fake, which, &[5, length], &[1], dtype, number % 3 == 1);
            assert_eq!(launches, 1, "{length} of {dtype}");
        }
    }
    // Rows of several axes, and numbered by several.
    assert_eq!(check_rows(&fake, 0, &[3, 4, 16], &[1, 2], DType::F32, false), 1);
    assert_eq!(check_rows(&fake, 0, &[2, 4, 64], &[2], DType::F32, true), 1);
    // Another number of elements is another scalar, not another kernel.
    let compiled = fake.count("compiled");
    let device = Cuda::open(0).unwrap();
    let shape = Shape::new([3, 64]).unwrap();
    let operands = operands(&device, &shape, &[1], DType::F32, false);
    let results = [1, 64, 1].map(|length| {
        let steps = &computations(DType::F32, length)[0].1;
        computed(&device, &RowSpec { shape: &shape, axes: &[1], steps }, &operands, DType::F32, true)
    });
    assert_eq!(fake.count("compiled"), compiled);
    assert!(results[0] == results[2] && results[0] != results[1]);
}

#[test]
fn computations_over_rows_that_do_not_lie_densely_or_are_few_and_long() {
    let Some(fake) = Fake::get() else { return };
    assert!(check_rows(&fake, 0, &[40, 6], &[0], DType::F32, false) > 1);
    assert!(check_rows(&fake, 2, &[4, 3, 8], &[0, 2], DType::F16, true) > 1);
    assert!(check_rows(&fake, 1, &[2, 20_000], &[1], DType::F32, true) > 1);
}
