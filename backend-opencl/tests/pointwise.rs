//! Every row of every table of operations, in every dtype, against the reference interpreter.
//!
//! Devices compile kernels slowly, so a program tests as many operations at once as it has outputs.

mod common;

use backend_opencl::OpenCl;
use common::{In, Kind, Rng, Tensor, assert_close, device, on_device, on_reference, random, specials};
use tensor_core::op::{BINARY, BinaryOp, COMPARE, TERNARY, TernaryOp, UNARY, UnaryOp};
use tensor_core::program::{MAX_OUTPUTS, Reg};
use tensor_core::{DType, Layout, Program, Scalar, Shape};

/// One instruction to test: its bound, and how it is added to a program.
struct Subject {
    name: String,
    ulp: u32,
    domains: Vec<(f64, f64)>,
    build: Build,
}

/// Adds an instruction over the operands.
type Build = Box<dyn Fn(&mut Program, &[Reg]) -> Reg>;

/// Instructions with operands of the same dtypes.
struct Group<'a> {
    operands: &'a [DType],
    subjects: &'a [Subject],
}

impl Group<'_> {
    fn program(&self) -> Program {
        let mut program = Program::new();
        let registers: Vec<Reg> = self.operands.iter().map(|&dtype| program.input(dtype)).collect();
        for subject in self.subjects {
            let result = (subject.build)(&mut program, &registers);
            program.output(result);
        }
        program
    }

    /// A bound for a result of `dtype`. What is within any bound in f32 is within 1 ULP of a storage type.
    fn bound(subject: &Subject, dtype: DType) -> u64 {
        if dtype.compute() == dtype { subject.ulp.into() } else { subject.ulp.min(1).into() }
    }

    fn check(&self, device: &OpenCl, inputs: &[In], outputs: &[Tensor], case: &str) {
        let program = self.program();
        let shape = outputs[0].layout.shape().clone();
        let expected = on_reference(&program, &shape, inputs, outputs);
        let got = on_device(device, &program, &shape, inputs, outputs);
        for (place, (subject, out)) in self.subjects.iter().zip(outputs).enumerate() {
            assert_close(out.dtype, &got[place], &expected[place], Self::bound(subject, out.dtype), &|number| {
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
                format!("{} of {operands:?} at {number} ({case})", subject.name)
            });
        }
    }

    fn outputs(&self, mut layout: impl FnMut(usize) -> (Layout, usize)) -> Vec<Tensor> {
        let program = self.program();
        let registers = program.outputs().iter().enumerate();
        registers
            .map(|(number, &reg)| {
                let (layout, len) = layout(number);
                let dtype = program.dtype(reg);
                Tensor::new(dtype, layout, len, |element| Scalar::Int(element as i64 % 2).cast(dtype))
            })
            .collect()
    }

    /// Special values in all combinations, then random ones of every subject's domain, as dense vectors.
    fn check_values(&self, device: &OpenCl) {
        let mut rng = Rng(self.subjects[0].name.len() as u64);
        let lists: Vec<Vec<Scalar>> = self.operands.iter().map(|&dtype| specials(dtype)).collect();
        let combinations: usize = lists.iter().map(Vec::len).product();
        let some = combinations.min(3000);
        let mut columns: Vec<Vec<Scalar>> = vec![Vec::new(); lists.len()];
        for number in 0..some {
            let mut code = if some < combinations { rng.below(combinations) } else { number };
            for (column, list) in columns.iter_mut().zip(&lists) {
                column.push(list[code % list.len()]);
                code /= list.len();
            }
        }
        for subject in self.subjects {
            for _ in 0..300 {
                for ((column, &dtype), &domain) in columns.iter_mut().zip(self.operands).zip(&subject.domains) {
                    column.push(random(dtype, domain, &mut rng));
                }
            }
        }
        let inputs: Vec<In> = columns
            .iter()
            .zip(self.operands)
            .map(|(column, &dtype)| In::Tensor(Tensor::vector(dtype, column)))
            .collect();
        let layout = Layout::contiguous(Shape::new([columns[0].len()]).unwrap());
        let outputs = self.outputs(|_| (layout.clone(), layout.numel()));
        self.check(device, &inputs, &outputs, "values");
    }

    /// Operands and outputs in different layouts, in each of the kinds that the turn leads to.
    fn check_layouts(&self, device: &OpenCl, rows: usize, columns: usize, turn: usize) {
        let mut rng = Rng(turn as u64);
        let inputs: Vec<In> = self
            .operands
            .iter()
            .enumerate()
            .map(|(number, &dtype)| {
                let kind = Kind::ALL[(turn + number * (rows % 4 + 1)) % Kind::ALL.len()];
                let (layout, len) = kind.layout(rows, columns);
                In::Tensor(Tensor::new(dtype, layout, len, |_| random(dtype, (-30.0, 30.0), &mut rng)))
            })
            .collect();
        let outputs = self.outputs(|number| Kind::OUTPUTS[(turn + number) % Kind::OUTPUTS.len()].layout(rows, columns));
        self.check(device, &inputs, &outputs, &format!("{rows} × {columns}, turn {turn}"));
    }
}

fn check_all(operands: &[DType], subjects: &[Subject]) {
    let Some(device) = device() else { return };
    for subjects in subjects.chunks(MAX_OUTPUTS) {
        Group { operands, subjects }.check_values(&device);
    }
}

#[test]
fn unary_operations() {
    for dtype in DType::ALL {
        let rows = UNARY.iter().filter(|row| row.takes.runs_in(dtype));
        let subjects: Vec<Subject> = rows
            .map(|row| Subject {
                name: format!("{} {dtype}", row.name),
                ulp: row.ulp,
                domains: vec![row.domain],
                build: Box::new(|program, operands| program.unary(row.op, operands[0])),
            })
            .collect();
        check_all(&[dtype], &subjects);
    }
}

#[test]
fn binary_operations() {
    for dtype in DType::ALL {
        let rows = BINARY.iter().filter(|row| row.takes.runs_in(dtype));
        let subjects: Vec<Subject> = rows
            .map(|row| Subject {
                name: format!("{} {dtype}", row.name),
                ulp: row.ulp,
                domains: vec![row.domain.0, row.domain.1],
                build: Box::new(|program, operands| program.binary(row.op, operands[0], operands[1])),
            })
            .collect();
        check_all(&[dtype, dtype], &subjects);
    }
}

#[test]
fn comparisons() {
    for dtype in DType::ALL {
        let subjects = COMPARE.each_ref().map(|row| Subject {
            name: format!("{} {dtype}", row.name),
            ulp: 0,
            domains: vec![(-2.0, 2.0); 2],
            build: Box::new(|program, operands| program.compare(row.op, operands[0], operands[1])),
        });
        check_all(&[dtype, dtype], &subjects);
    }
}

#[test]
fn ternary_operations() {
    for dtype in DType::ALL {
        let rows = TERNARY.iter().filter(|row| row.takes.runs_in(dtype));
        let subjects: Vec<Subject> = rows
            .map(|row| Subject {
                name: format!("{} {dtype}", row.name),
                ulp: row.ulp,
                domains: vec![(0.0, 1.0), row.domain, row.domain, row.domain],
                build: Box::new(|program, operands| {
                    let first = if row.condition { operands[0] } else { operands[1] };
                    let rest = if row.condition { [operands[1], operands[2]] } else { [operands[2], operands[3]] };
                    program.ternary(row.op, first, rest[0], rest[1])
                }),
            })
            .collect();
        check_all(&[DType::Bool, dtype, dtype, dtype], &subjects);
    }
}

#[test]
fn casts() {
    for from in DType::ALL {
        let targets: Vec<DType> = DType::ALL.into_iter().filter(|&to| to != from).collect();
        let subjects: Vec<Subject> = targets
            .into_iter()
            .enumerate()
            .map(|(number, to)| Subject {
                name: format!("cast {from} to {to}"),
                ulp: 0,
                domains: vec![[(-300.0, 300.0), (-1e20, 1e20), (-7e4, 7e4)][number % 3]],
                build: Box::new(move |program, operands| program.cast(operands[0], to)),
            })
            .collect();
        check_all(&[from], &subjects);
    }
}

/// Ways to lie in memory, lengths around the sizes of vectors and groups, and several dtypes at once.
#[test]
fn layouts_and_lengths() {
    let Some(device) = device() else { return };
    let subject = |name: &str, build: Build| Subject { name: name.to_owned(), ulp: 0, domains: Vec::new(), build };
    let subjects = [
        subject("sub f32", Box::new(|program, operands| program.binary(BinaryOp::Sub, operands[0], operands[1]))),
        subject(
            "where f16",
            Box::new(|program, operands| program.ternary(TernaryOp::Where, operands[2], operands[3], operands[4])),
        ),
        subject("neg i64", Box::new(|program, operands| program.unary(UnaryOp::Neg, operands[5]))),
    ];
    let operands = [DType::F32, DType::F32, DType::Bool, DType::F16, DType::F16, DType::I64];
    let group = Group { operands: &operands, subjects: &subjects };
    for (rows, columns) in [(9, 70), (70, 9), (3, 300), (1, 17), (17, 1), (35, 530), (1, 1)] {
        for turn in 0..Kind::ALL.len() {
            group.check_layouts(&device, rows, columns, turn);
        }
    }
    for len in [1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 255, 256, 257, 1023, 2049] {
        let mut rng = Rng(len as u64);
        let layout = Layout::contiguous(Shape::new([len]).unwrap());
        let mut vector = |dtype| Tensor::new(dtype, layout.clone(), len, |_| random(dtype, (-9.0, 9.0), &mut rng));
        let inputs = operands.map(|dtype| In::Tensor(vector(dtype)));
        let outputs = group.outputs(|_| (layout.clone(), len));
        group.check(&device, &inputs, &outputs, &format!("length {len}"));
    }
}

/// Permutations of many axes, and broadcasting along each of them; more axes than a kernel walks.
#[test]
fn many_axes() {
    let Some(device) = device() else { return };
    let mut program = Program::new();
    let (a, b) = (program.input(DType::I32), program.input(DType::I32));
    let ab = program.binary(BinaryOp::Mul, a, b);
    let last = program.iota(1);
    let last = program.cast(last, DType::I32);
    let out = program.binary(BinaryOp::Sub, ab, last);
    program.output(out);
    let mut rng = Rng(6);
    for dims in [&[5, 1, 9, 67][..], &[3, 2, 4, 2, 3, 2, 2, 3], &[2, 3, 2, 2, 2, 3, 1, 2, 2, 2, 2]] {
        let shape = Shape::new(dims).unwrap();
        let rank = dims.len();
        for turn in 0..4 {
            // An order of the axes in memory, seen in the shape's own order.
            let mut order: Vec<usize> = (0..rank).collect();
            if turn > 0 {
                order.sort_by_key(|&axis| (axis * (2 * turn + 1) + turn) % rank * 10 + axis % 2);
            }
            let sizes: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
            let mut back = vec![0isize; rank];
            for (place, &axis) in order.iter().enumerate() {
                back[axis] = place as isize;
            }
            let layout = Layout::contiguous(Shape::new(&sizes).unwrap()).permute(&back).unwrap();
            let len = shape.numel();
            let a = Tensor::new(DType::I32, layout.clone(), len, |_| random(DType::I32, (0.0, 1.0), &mut rng));
            let narrow: Vec<usize> =
                (0..rank).map(|axis| if (axis + turn) % 3 == 0 { 1 } else { dims[axis] }).collect();
            let small = Shape::new(&narrow).unwrap();
            let held = small.numel();
            let wide = Layout::contiguous(small).expand(&shape).unwrap();
            let b = Tensor::new(DType::I32, wide, held, |_| random(DType::I32, (0.0, 1.0), &mut rng));
            for layout in [Layout::contiguous(shape.clone()), layout] {
                let out = [Tensor::new(DType::I32, layout, len, |_| Scalar::Int(0))];
                let inputs = [In::Tensor(a.clone()), In::Tensor(b.clone())];
                let expected = on_reference(&program, &shape, &inputs, &out);
                assert_eq!(on_device(&device, &program, &shape, &inputs, &out), expected, "{dims:?}, turn {turn}");
            }
        }
    }
}

#[test]
fn scalars_without_axes() {
    let Some(device) = device() else { return };
    let mut program = Program::new();
    let x = program.input(DType::F32);
    let two = program.scalar(Scalar::Float(2.0), DType::F32);
    let y = program.binary(BinaryOp::Mul, x, two);
    program.output(y);
    let layout = Layout::contiguous(Shape::scalar());
    let x = Tensor::new(DType::F32, layout.clone(), 1, |_| Scalar::Float(21.0));
    let y = Tensor::new(DType::F32, layout, 1, |_| Scalar::Float(0.0));
    let got = on_device(&device, &program, &Shape::scalar(), &[In::Tensor(x)], std::slice::from_ref(&y));
    assert_eq!(got[0], 42f32.to_ne_bytes());
}
