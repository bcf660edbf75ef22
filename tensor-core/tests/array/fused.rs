//! Random expressions give the same values fused as run one by one, in a bounded number of runs.

use crate::strict::Strict;
use proptest::prelude::*;
use std::sync::Barrier;
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::{Array, DType, Operand, Program, ReduceOp, ScanOp, Shape, bf16, f16};

/// Numbers that decide what happens next, whatever arrays there are by then.
type Choice = [usize; 4];

/// The arrays of an expression, as one device sees them. A dropped one leaves its place to others.
struct World {
    backend: Strict,
    arrays: Vec<Array<Strict>>,
    /// Whether everything is computed at once.
    eager: bool,
    built: usize,
}

impl World {
    fn new(backend: Strict, eager: bool) -> Self {
        let floats = [1.5f32, -2.0, 0.1, 3.0, -0.0, 7.25];
        let halves = floats.map(|x| f16::from_f32(x * 1.1));
        let brains = floats.map(|x| bf16::from_f32(x * 0.7));
        let dims = [2, 3];
        let arrays = vec![
            backend.array(&floats, &dims),
            backend.array(&halves, &dims),
            backend.array(&brains, &dims),
            backend.array(&[1i64, -2, 3, i64::MAX, 0, 5], &dims),
            backend.array(&[1u8, 2, 255, 0, 7, 128], &dims),
            backend.array(&[true, false, true, true, false, false], &dims),
            backend.array(&floats.map(f64::from), &dims),
            backend.array(&[2.0f32, 0.5, -1.0], &[3]),
            backend.array(&[4.0f32, 5.0], &[2, 1]),
            Array::full(&backend, 2.5, &Shape::new(dims).unwrap(), DType::F32),
            Array::full(&backend, 3, &Shape::scalar(), DType::I64),
            Array::rand(&backend, 1, 1, &Shape::new(dims).unwrap(), DType::F32).unwrap(),
        ];
        Self { backend, arrays, eager, built: 0 }
    }

    fn step(&mut self, [kind, a, b, c]: Choice) {
        let count = self.arrays.len();
        // Recent arrays are likelier, so that expressions grow deep.
        let pick = |number: usize| {
            &self.arrays
                [if number.is_multiple_of(3) { number / 3 % count } else { count - 1 - number / 3 % count.min(4) }]
        };
        let (x, y, z) = (pick(a), pick(b), pick(c));
        let result = match kind % 17 {
            0..5 => {
                let op = [
                    BinaryOp::Add,
                    BinaryOp::Sub,
                    BinaryOp::Mul,
                    BinaryOp::Maximum,
                    BinaryOp::Minimum,
                    BinaryOp::Hypot,
                ];
                Array::binary(op[c % op.len()], x, y)
            }
            5 => Array::binary(
                [BinaryOp::Add, BinaryOp::Mul, BinaryOp::Sub][b % 3],
                x,
                Operand::from([2.5, 1e-3, 3.0][c % 3]),
            ),
            6 | 7 => {
                let op = [
                    UnaryOp::Neg,
                    UnaryOp::Abs,
                    UnaryOp::Tanh,
                    UnaryOp::Square,
                    UnaryOp::Floor,
                    UnaryOp::IsNan,
                    UnaryOp::Relu,
                ];
                x.unary(op[b % op.len()])
            }
            8 => Array::compare([CompareOp::Lt, CompareOp::Eq, CompareOp::Ge][c % 3], x, y),
            9 => {
                let condition = x.cast(DType::Bool);
                condition.and_then(|condition| Array::ternary(TernaryOp::Where, &condition, y, z))
            }
            10 => x.cast(DType::ALL[b % DType::ALL.len()]),
            11 if x.rank() == 2 => x.transpose(0, 1).and_then(|x| x.contiguous()).and_then(|x| x.reshape(y.shape())),
            11 | 12 if x.rank() > 0 => x.flip(&[0]),
            13 => {
                let axes: &[isize] = if x.rank() > 0 && b % 2 == 0 { &[-1] } else { &[] };
                x.reduce([ReduceOp::Sum, ReduceOp::Max, ReduceOp::ArgMax][c % 3], axes, x.rank() > 0 && c % 2 == 0)
            }
            14 if x.rank() > 0 => x.scan(ScanOp::Sum, 0),
            15 => {
                // A handle is dropped; what used it lives on.
                let place = a % count;
                self.arrays.swap_remove(place);
                if self.arrays.is_empty() {
                    self.arrays.push(Array::full(&self.backend, 1.0, &Shape::new([2, 3]).unwrap(), DType::F32));
                }
                return;
            }
            16 if x.rank() > 0 => match c % 4 {
                0 => x.normalize(&[-1], b % 2 == 0, 0.5),
                1 => x.normalize_grad(y, &[0], b % 2 == 0, 0.5),
                2 => x.variance(&[], 0, true),
                _ => x.logsumexp(&[-1], true),
            },
            _ => x.add(1),
        };
        // What a dtype or shape refuses is refused in both worlds.
        let Ok(result) = result else { return };
        if self.eager {
            result.force().unwrap();
        }
        self.built += 1;
        self.arrays.push(result);
    }

    fn values(&self) -> Vec<(DType, Vec<usize>, Vec<u8>)> {
        let bytes = |array: &Array<Strict>| {
            // Every NaN is as good as another.
            let nan = array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
            let size = array.dtype().size();
            let bytes = array.to_bytes().unwrap();
            bytes
                .chunks(size)
                .zip(nan)
                .flat_map(|(bytes, x)| if x.is_nan() { vec![0xff; size] } else { bytes.to_vec() })
                .collect()
        };
        self.arrays.iter().map(|array| (array.dtype(), array.dims().to_vec(), bytes(array))).collect()
    }
}

proptest! {
    #![proptest_config(crate::cases(600))]

    #[test]
    fn fused_is_eager(choices in prop::collection::vec(prop::array::uniform4(0usize..1000), 0..60), order: bool) {
        let mut fused = World::new(Strict::far("fused"), false);
        let mut near = World::new(Strict::near("near"), false);
        let mut eager = World::new(Strict::eager("eager"), true);
        for &choice in &choices {
            fused.step(choice);
            near.step(choice);
            eager.step(choice);
        }
        if order {
            // The last one first, so that the run which needs most decides what is kept.
            fused.arrays.reverse();
            near.arrays.reverse();
            eager.arrays.reverse();
        }
        let expected = eager.values();
        prop_assert_eq!(fused.values(), expected.clone());
        prop_assert_eq!(near.values(), expected);
        // Each run completes at least one array. (A step may build two, and each value is read through a cast.)
        let built = 2 * fused.built + 4 * fused.arrays.len() + 1;
        prop_assert!(fused.backend.runs() <= built, "{} runs for {} arrays", fused.backend.runs(), built);
        prop_assert!(fused.backend.instructions() <= 32 * built, "{} instructions", fused.backend.instructions());
    }
}

/// `x == max(x)` finds the maximum of halves although it was computed in f32.
#[test]
fn storage_types_are_rounded_between_operations() {
    let d = Strict::far("far");
    for dtype in [DType::F16, DType::BF16] {
        let x = d.vector(&[1.1f32, 1.3, 0.7]).cast(dtype).unwrap();
        x.force().unwrap();
        let square = x.mul(&x).unwrap();
        let top = square.reduce(ReduceOp::Max, &[], true).unwrap();
        let found = Array::compare(CompareOp::Eq, &square, &top).unwrap();
        assert_eq!(found.to_vec::<bool>().unwrap(), [false, true, false], "{dtype}");
        // Differences of rounded values, not of what they were rounded from.
        let square = x.mul(&x).unwrap();
        let again = x.mul(&x).unwrap();
        again.force().unwrap();
        let nothing = square.sub(&again).unwrap().cast(DType::F32).unwrap();
        assert_eq!(nothing.to_vec::<f32>().unwrap(), [0.0; 3], "{dtype}");
    }
}

/// Views in between do not let a chain wait without bound: it neither runs nor drops recursively.
#[test]
fn endless_chains_of_views_do_not_pile_up() {
    let steps = if cfg!(miri) { 50 } else { 100_000 };
    let d = Strict::far("far");
    let start = d.array(&[0.0f32, 1.0], &[1, 2]);
    let identity = Program::copy(DType::F32);
    for form in 0..5 {
        let mut x = start.clone();
        for _ in 0..steps {
            x = match form {
                0 => x.flip(&[1]).unwrap().add(1.0).unwrap(),
                1 => x.transpose(0, 1).unwrap().add(1.0).unwrap(),
                2 => x
                    .reshape(&Shape::new(if x.rank() == 1 { &[1, 2][..] } else { &[2] }).unwrap())
                    .unwrap()
                    .add(1.0)
                    .unwrap(),
                3 => Array::map(&identity, &[&x], "copy").unwrap(),
                _ => x.expand(&Shape::new([2, 2]).unwrap()).unwrap().mul(1.0).unwrap().narrow(0, 1, 1).unwrap(),
            };
        }
        let total = x.sum(&[], false).unwrap().item().unwrap().as_f64();
        let expected = if form < 3 { 1.0 + 2.0 * steps as f64 } else { 1.0 };
        assert_eq!(total, expected, "form {form}");
    }
    // Dropped without ever being asked for.
    let mut x = start;
    for _ in 0..steps {
        x = x.flip(&[0]).unwrap().add(&x).unwrap().mul(0.5).unwrap();
    }
    drop(x);
}

/// More parts are held than one run can write out.
#[test]
fn more_held_parts_than_outputs() {
    let d = Strict::far("far");
    let x = d.vector(&[1i64, 2]);
    let parts: Vec<Array<Strict>> = (0..20)
        .scan(x, |x, i| {
            *x = x.add(i).unwrap();
            Some(x.clone())
        })
        .collect();
    let expected = |n: i64| vec![1 + n * (n + 1) / 2, 2 + n * (n + 1) / 2];
    assert_eq!(parts[19].to_vec::<i64>().unwrap(), expected(19));
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(part.to_vec::<i64>().unwrap(), expected(n as i64));
    }
    assert!(d.runs() <= 20);
}

/// Threads build on and force the same expressions, again and again, so that they meet at every point.
#[test]
fn threads_share_expressions() {
    let rounds = if cfg!(miri) { 3 } else { 300 };
    let threads = 4;
    for round in 0..rounds {
        let d = Strict::far("far");
        let x = d.vector(&[1i64, 2, 3]);
        let a = x.add(1).unwrap();
        let b = a.mul(&x).unwrap();
        let c = b.flip(&[0]).unwrap();
        let gate = Barrier::new(threads);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (a, b, c, gate) = (&a, &b, &c, &gate);
                scope.spawn(move || {
                    gate.wait();
                    match (round + thread) % 4 {
                        0 => assert_eq!(b.sum(&[], false).unwrap().item().unwrap().as_i64(), 20),
                        1 => assert_eq!(a.mul(b).unwrap().to_vec::<i64>().unwrap(), [4, 18, 48]),
                        2 => assert_eq!(c.add(a).unwrap().to_vec::<i64>().unwrap(), [14, 9, 6]),
                        _ => {
                            b.force().unwrap();
                            assert_eq!(b.add(a).unwrap().sum(&[0], false).unwrap().item().unwrap().as_i64(), 29);
                        }
                    }
                });
            }
        });
        assert_eq!(b.to_vec::<i64>().unwrap(), [2, 6, 12]);
    }
}
