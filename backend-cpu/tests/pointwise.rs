//! Every row of every table of operations, in every dtype, against the reference interpreter.

mod common;

use common::{In, Kind, Rng, Tensor, assert_close, on_cpu, on_reference, processors, random, specials};
use tensor_core::op::{BINARY, COMPARE, TERNARY, TernaryOp, UNARY};
use tensor_core::program::Reg;
use tensor_core::{DType, Layout, Program, Scalar, Shape};

/// One instruction to test: how it is added to a program, its operands' dtypes and domains, and its bound.
struct Subject<'a> {
    name: String,
    operands: Vec<(DType, (f64, f64))>,
    ulp: u32,
    build: &'a dyn Fn(&mut Program, &[Reg]) -> Reg,
}

impl Subject<'_> {
    fn program(&self) -> (Program, DType) {
        let mut program = Program::new();
        let registers: Vec<Reg> = self.operands.iter().map(|(dtype, _)| program.input(*dtype)).collect();
        let result = (self.build)(&mut program, &registers);
        program.output(result);
        let dtype = program.dtype(result);
        (program, dtype)
    }

    /// A bound for a result of `dtype`. What is within any bound in f32 is within 1 ULP of a storage type.
    fn bound(&self, dtype: DType) -> u64 {
        if dtype.compute() == dtype { self.ulp.into() } else { self.ulp.min(1).into() }
    }

    fn check(&self, shape: &Shape, inputs: &[In], out: &Tensor, case: &dyn Fn() -> String) {
        let (program, _) = self.program();
        let expected = on_reference(&program, shape, inputs, std::slice::from_ref(out));
        for cpu in processors() {
            let got = on_cpu(&cpu, &program, shape, inputs, std::slice::from_ref(out));
            assert_close(out.dtype, &got[0], &expected[0], self.bound(out.dtype), &|number| {
                let operands: Vec<String> = inputs
                    .iter()
                    .map(|input| match input {
                        In::Tensor(tensor) if tensor.layout.is_contiguous() => {
                            let at = number * tensor.dtype.size();
                            Scalar::read(tensor.dtype, &tensor.bytes[at..]).to_string()
                        }
                        _ => "?".to_owned(),
                    })
                    .collect();
                format!("{} of {:?} at {number} ({}), {:?}", self.name, operands, case(), cpu.level())
            });
        }
    }

    /// Special values in all combinations, then random ones, as dense vectors.
    fn check_values(&self, rng: &mut Rng) {
        let lists: Vec<Vec<Scalar>> = self.operands.iter().map(|(dtype, _)| specials(*dtype)).collect();
        let combinations: usize = lists.iter().map(Vec::len).product();
        let some = combinations.min(4000);
        let mut columns: Vec<Vec<Scalar>> = vec![Vec::new(); lists.len()];
        for number in 0..some {
            let mut code = if some < combinations { rng.below(combinations) } else { number };
            for (column, list) in columns.iter_mut().zip(&lists) {
                column.push(list[code % list.len()]);
                code /= list.len();
            }
        }
        for _ in 0..1000 {
            for (column, (dtype, domain)) in columns.iter_mut().zip(&self.operands) {
                column.push(random(*dtype, *domain, rng));
            }
        }
        self.check_vectors(&columns, "values");
    }

    fn check_vectors(&self, columns: &[Vec<Scalar>], case: &str) {
        let (_, dtype) = self.program();
        let inputs: Vec<In> = columns
            .iter()
            .zip(&self.operands)
            .map(|(column, (dtype, _))| In::Tensor(Tensor::vector(*dtype, column)))
            .collect();
        let out = Tensor::vector(dtype, &vec![Scalar::Int(1); columns[0].len()]);
        self.check(out.layout.shape(), &inputs, &out, &|| case.to_owned());
    }

    /// Lengths around the sizes of vectors, repeated constants and tiles.
    fn check_lengths(&self, rng: &mut Rng) {
        for len in [1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 255, 256, 257, 1023, 2049] {
            let columns: Vec<Vec<Scalar>> = self
                .operands
                .iter()
                .map(|(dtype, domain)| (0..len).map(|_| random(*dtype, *domain, rng)).collect())
                .collect();
            self.check_vectors(&columns, "lengths");
        }
    }

    /// Each way to lie in memory at least once for each operand, beside different ones for the others.
    fn check_layouts(&self, rng: &mut Rng) {
        for (rows, columns) in [(9, 70), (70, 9), (3, 300)] {
            for turn in 0..Kind::ALL.len() {
                let kinds: Vec<Kind> = (0..self.operands.len())
                    .map(|k| Kind::ALL[(turn + k * (rows % 4 + 1)) % Kind::ALL.len()])
                    .collect();
                let out = Kind::OUTPUTS[turn % Kind::OUTPUTS.len()];
                self.check_kinds(rows, columns, &kinds, out, rng);
            }
        }
    }

    fn check_kinds(&self, rows: usize, columns: usize, kinds: &[Kind], out: Kind, rng: &mut Rng) {
        let inputs: Vec<In> = self
            .operands
            .iter()
            .zip(kinds)
            .map(|((dtype, domain), kind)| {
                let (layout, len) = kind.layout(rows, columns);
                In::Tensor(Tensor::new(*dtype, layout, len, |_| random(*dtype, *domain, rng)))
            })
            .collect();
        let (_, dtype) = self.program();
        let (layout, len) = out.layout(rows, columns);
        let output = Tensor::new(dtype, layout, len, |number| Scalar::Int(number as i64 % 2).cast(dtype));
        let shape = output.layout.shape().clone();
        self.check(&shape, &inputs, &output, &|| format!("{rows} × {columns}, {kinds:?} to {out:?}"));
    }

    fn check_all(&self) {
        let mut rng = Rng(self.name.len() as u64 + self.operands[0].0 as u64 * 100);
        self.check_values(&mut rng);
        self.check_lengths(&mut rng);
        self.check_layouts(&mut rng);
    }
}

#[test]
fn unary_operations() {
    for row in &UNARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| row.takes.runs_in(dtype)) {
            Subject {
                name: format!("{} {dtype}", row.name),
                operands: vec![(dtype, row.domain)],
                ulp: row.ulp,
                build: &|program, operands| program.unary(row.op, operands[0]),
            }
            .check_all();
        }
    }
}

#[test]
fn binary_operations() {
    for row in &BINARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| row.takes.runs_in(dtype)) {
            Subject {
                name: format!("{} {dtype}", row.name),
                operands: vec![(dtype, row.domain.0), (dtype, row.domain.1)],
                ulp: row.ulp,
                build: &|program, operands| program.binary(row.op, operands[0], operands[1]),
            }
            .check_all();
        }
    }
}

#[test]
fn comparisons() {
    for row in &COMPARE {
        for dtype in DType::ALL {
            Subject {
                name: format!("{} {dtype}", row.name),
                operands: vec![(dtype, (-2.0, 2.0)); 2],
                ulp: 0,
                build: &|program, operands| program.compare(row.op, operands[0], operands[1]),
            }
            .check_all();
        }
    }
}

#[test]
fn ternary_operations() {
    for row in &TERNARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| row.takes.runs_in(dtype)) {
            let first = if row.condition { DType::Bool } else { dtype };
            Subject {
                name: format!("{} {dtype}", row.name),
                operands: vec![(first, row.domain), (dtype, row.domain), (dtype, row.domain)],
                ulp: row.ulp,
                build: &|program, operands| program.ternary(row.op, operands[0], operands[1], operands[2]),
            }
            .check_all();
        }
    }
}

#[test]
fn casts() {
    for from in DType::ALL {
        for to in DType::ALL {
            for domain in [(-300.0, 300.0), (-1e20, 1e20)] {
                Subject {
                    name: format!("cast {from} to {to}"),
                    operands: vec![(from, domain)],
                    ulp: 0,
                    build: &|program, operands| program.cast(operands[0], to),
                }
                .check_all();
            }
        }
    }
}

/// Operations of so many elements that threads share them, around the lengths where that begins and ends, from and to elements of
/// different sizes.
#[test]
fn operations_in_parts() {
    use tensor_core::op::{BinaryOp, UnaryOp};
    let mut rng = Rng(7);
    let unary = |op: UnaryOp| move |program: &mut Program, operands: &[Reg]| program.unary(op, operands[0]);
    let (exp, is_nan, neg) = (unary(UnaryOp::Exp), unary(UnaryOp::IsNan), unary(UnaryOp::Neg));
    let sub = |program: &mut Program, operands: &[Reg]| program.binary(BinaryOp::Sub, operands[0], operands[1]);
    let subject = |name: &str, dtype, count, ulp, build| {
        let operands = vec![(dtype, (-10.0, 10.0)); count];
        Subject { name: format!("{name} {dtype}"), operands, ulp, build }
    };
    let subjects: [Subject<'_>; 6] = [
        subject("exp", DType::F32, 1, UNARY.iter().find(|row| row.op == UnaryOp::Exp).unwrap().ulp, &exp),
        subject("isnan", DType::F64, 1, 0, &is_nan),
        subject("neg", DType::I8, 1, 0, &neg),
        subject("sub", DType::F32, 2, 0, &sub),
        subject("sub", DType::I64, 2, 0, &sub),
        subject("sub", DType::F16, 2, 0, &sub),
    ];
    for subject in &subjects {
        for len in [1 << 14, (1 << 14) + 1, (1 << 15) + 77, (1 << 16) + 3, 1 << 17, (1 << 17) + 1] {
            let columns: Vec<Vec<Scalar>> = subject
                .operands
                .iter()
                .map(|(dtype, domain)| (0..len).map(|_| random(*dtype, *domain, &mut rng)).collect())
                .collect();
            subject.check_vectors(&columns, "parts");
        }
    }
}

/// All pairs of ways to lie in memory, to all kinds of outputs, over shapes that make short rows, long rows, panels with
/// rests, and axes of size 1.
#[test]
fn every_pair_of_layouts() {
    let mut rng = Rng(5);
    let subject = Subject {
        name: "sub".to_owned(),
        operands: vec![(DType::F32, (-1e3, 1e3)); 2],
        ulp: 0,
        build: &|program, operands| program.binary(tensor_core::op::BinaryOp::Sub, operands[0], operands[1]),
    };
    let bools = Subject {
        name: "where".to_owned(),
        operands: vec![(DType::Bool, (0.0, 1.0)), (DType::F16, (-1e3, 1e3)), (DType::F16, (-1e3, 1e3))],
        ulp: 0,
        build: &|program, operands| program.ternary(TernaryOp::Where, operands[0], operands[1], operands[2]),
    };
    for (rows, columns) in [(20, 65), (65, 20), (1, 17), (17, 1), (35, 530)] {
        for a in Kind::ALL {
            for b in Kind::ALL {
                for out in Kind::OUTPUTS {
                    if rows * columns < 2000 || out == Kind::Contiguous {
                        subject.check_kinds(rows, columns, &[a, b], out, &mut rng);
                        bools.check_kinds(rows, columns, &[a, b, Kind::Transposed], out, &mut rng);
                    }
                }
            }
        }
    }
}

/// Permutations of three and four axes, and broadcasting along each of them.
#[test]
fn many_axes() {
    let mut rng = Rng(6);
    let dims = [5, 1, 9, 67];
    let shape = Shape::new(dims).unwrap();
    let mut program = Program::new();
    let (a, b, c) = (program.input(DType::I32), program.input(DType::I32), program.input(DType::I32));
    let ab = program.binary(tensor_core::op::BinaryOp::Mul, a, b);
    let abc = program.binary(tensor_core::op::BinaryOp::Sub, ab, c);
    program.output(abc);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [0, 3, 2, 1], [2, 0, 1, 3], [3, 0, 1, 2]] {
        for narrow in 0..16 {
            let permuted = |order: [usize; 4], rng: &mut Rng| {
                // A buffer in the order, seen in the shape's own order.
                let sizes = order.map(|axis| dims[axis]);
                let mut back = [0isize; 4];
                for (place, &axis) in order.iter().enumerate() {
                    back[axis] = place as isize;
                }
                let layout = Layout::contiguous(Shape::new(sizes).unwrap()).permute(&back).unwrap();
                Tensor::new(DType::I32, layout, 5 * 9 * 67, |_| random(DType::I32, (0.0, 1.0), rng))
            };
            let sizes: Vec<usize> = (0..4).map(|axis| if narrow >> axis & 1 == 1 { 1 } else { dims[axis] }).collect();
            let len = sizes.iter().product();
            let layout = Layout::contiguous(Shape::new(sizes).unwrap()).expand(&shape).unwrap();
            let broadcast = Tensor::new(DType::I32, layout, len, |_| random(DType::I32, (0.0, 1.0), &mut rng));
            let inputs = [
                In::Tensor(permuted(order, &mut rng)),
                In::Tensor(broadcast),
                In::Tensor(permuted([1, 3, 0, 2], &mut rng)),
            ];
            let zeros = |layout| Tensor::new(DType::I32, layout, shape.numel(), |_| Scalar::Int(0));
            for out in [zeros(Layout::contiguous(shape.clone())), permuted(order, &mut rng)] {
                let out = [out];
                let expected = on_reference(&program, &shape, &inputs, &out);
                for cpu in processors() {
                    assert_eq!(on_cpu(&cpu, &program, &shape, &inputs, &out), expected, "{order:?} {narrow:b}");
                }
            }
        }
    }
}

#[test]
fn scalars_without_axes() {
    let mut program = Program::new();
    let x = program.input(DType::F64);
    let two = program.scalar(Scalar::Float(2.0), DType::F64);
    let y = program.binary(tensor_core::op::BinaryOp::Mul, x, two);
    program.output(y);
    let layout = Layout::contiguous(Shape::scalar());
    let x = Tensor::new(DType::F64, layout.clone(), 1, |_| Scalar::Float(21.0));
    let y = Tensor::new(DType::F64, layout, 1, |_| Scalar::Float(0.0));
    for cpu in processors() {
        let got = on_cpu(&cpu, &program, &Shape::scalar(), &[In::Tensor(x.clone())], std::slice::from_ref(&y));
        assert_eq!(got[0], 42f64.to_ne_bytes());
    }
}
