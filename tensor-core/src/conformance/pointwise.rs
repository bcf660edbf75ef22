//! Every row of every table of operations, in every dtype that it runs in.
//!
//! The operands of a row take their values from short lists, so that the reference interpreter is asked once for every
//! combination; all further tensors are made of the same values and their results are looked up.

use super::case::{Case, Check, In, Probe};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor, LENGTHS, SHAPES};
use super::values::{FloatFormat, Rng, few, many, several};
use crate::op::{BINARY, BinaryOp, COMPARE, CompareOp, TERNARY, TernaryOp, UNARY, UnaryOp};
use crate::program::Reg;
use crate::{Backend, DType, Layout, Program, Scalar, Shape, reference};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// The cases of all rows.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    for subject in subjects() {
        let subject = Arc::new(subject);
        for (aspect, ask) in aspects::<B>() {
            if aspect == "scalars" && subject.operands.len() < 2 || aspect == "in_place" && subject.replaced().is_none()
            {
                continue;
            }
            let asked = subject.clone();
            let case = Case::new("pointwise", subject.name(), subject.dtype, aspect, move |probe| ask(&asked, probe));
            cases.push(case.needing(subject.operands.iter().map(|operand| operand.0)).needing([subject.out]));
        }
    }
    cases
}

type Ask<B> = fn(&Subject, &mut Probe<'_, B>) -> Check;

fn aspects<B: Backend>() -> [(&'static str, Ask<B>); 6] {
    [
        ("values", Subject::values),
        ("lengths", Subject::lengths),
        ("layouts", Subject::layouts),
        ("scalars", Subject::scalars),
        ("in_place", Subject::in_place),
        ("large", Subject::large),
    ]
}

/// An instruction under test.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Unary(UnaryOp),
    Binary(BinaryOp),
    Compare(CompareOp),
    Ternary(TernaryOp),
    Cast(DType),
}

/// An instruction with its operands.
#[derive(Debug)]
struct Subject {
    kind: Kind,
    /// What the report lists it under.
    dtype: DType,
    /// The dtype and domain of each operand.
    operands: Vec<(DType, (f64, f64))>,
    out: DType,
    table: OnceLock<Table>,
}

/// The values of the operands, and the result of every combination.
#[derive(Debug)]
struct Table {
    values: Vec<Vec<Scalar>>,
    /// The same as bytes.
    elements: Vec<Vec<u8>>,
    results: Vec<Scalar>,
    result_elements: Vec<u8>,
}

/// An operand whose elements are picked from a list of values.
struct Picked {
    tensor: HostTensor,
    picks: Vec<u32>,
}

fn subjects() -> Vec<Subject> {
    let mut list = Vec::new();
    let mut add = |kind, dtype, operands: &[(DType, (f64, f64))], out| {
        list.push(Subject { kind, dtype, operands: operands.to_vec(), out, table: OnceLock::new() });
    };
    for row in &UNARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| row.takes.runs_in(dtype)) {
            let out = if row.gives_bool { DType::Bool } else { dtype };
            add(Kind::Unary(row.op), dtype, &[(dtype, row.domain)], out);
        }
    }
    for row in &BINARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| row.takes.runs_in(dtype)) {
            add(Kind::Binary(row.op), dtype, &[(dtype, row.domain.0), (dtype, row.domain.1)], dtype);
        }
    }
    for row in &TERNARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| row.takes.runs_in(dtype)) {
            let first = if row.condition { DType::Bool } else { dtype };
            let operand = (dtype, row.domain);
            add(Kind::Ternary(row.op), dtype, &[(first, row.domain), operand, operand], dtype);
        }
    }
    for row in &COMPARE {
        for dtype in DType::ALL {
            add(Kind::Compare(row.op), dtype, &[(dtype, (-2.0, 2.0)); 2], DType::Bool);
        }
    }
    for to in DType::ALL {
        for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != to) {
            add(Kind::Cast(to), dtype, &[(dtype, (-300.0, 300.0))], to);
        }
    }
    list
}

impl Subject {
    fn name(&self) -> Cow<'static, str> {
        match self.kind {
            Kind::Unary(op) => op.name().into(),
            Kind::Binary(op) => op.name().into(),
            Kind::Compare(op) => op.name().into(),
            Kind::Ternary(op) => op.name().into(),
            Kind::Cast(to) => format!("to_{to}").into(),
        }
    }

    fn rng(&self, aspect: &str) -> Rng {
        Rng::named(&format!("{} {} {aspect}", self.name(), self.dtype))
    }

    /// The program of this one instruction; `scalar` makes one operand a run-time scalar.
    fn program(&self, scalar: Option<(usize, Scalar)>) -> Program {
        let mut program = Program::new();
        let mut registers = Vec::new();
        for (number, (dtype, _)) in self.operands.iter().enumerate() {
            registers.push(match scalar {
                Some((place, value)) if place == number => program.scalar(value, *dtype),
                _ => program.input(*dtype),
            });
        }
        let result = self.instruction(&mut program, &registers);
        program.output(result);
        program
    }

    fn instruction(&self, program: &mut Program, r: &[Reg]) -> Reg {
        match self.kind {
            Kind::Unary(op) => program.unary(op, r[0]),
            Kind::Binary(op) => program.binary(op, r[0], r[1]),
            Kind::Compare(op) => program.compare(op, r[0], r[1]),
            Kind::Ternary(op) => program.ternary(op, r[0], r[1], r[2]),
            Kind::Cast(to) => program.cast(r[0], to),
        }
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| {
            let mut rng = self.rng("table");
            let list = match self.operands.len() {
                1 => many,
                2 => several,
                _ => few,
            };
            let values: Vec<Vec<Scalar>> =
                self.operands.iter().map(|&(dtype, domain)| list(dtype, domain, &mut rng)).collect();
            let (program, shape) = (self.program(None), Shape::scalar());
            let count = values.iter().map(Vec::len).product();
            let results: Vec<Scalar> = (0..count)
                .map(|tuple| {
                    let operands = digits(&values, tuple);
                    reference::evaluate(&program, &shape, &[], |number| operands[number])[0].cast(self.out)
                })
                .collect();
            let elements = values.iter().zip(&self.operands).map(|(list, (dtype, _))| to_bytes(*dtype, list)).collect();
            let result_elements = to_bytes(self.out, &results);
            Table { values, elements, results, result_elements }
        })
    }

    /// What is accepted for a combination of operands.
    fn bound(&self, tuple: usize) -> Bound {
        let table = self.table();
        let operands = digits(&table.values, tuple);
        let compute = self.dtype.compute();
        let numbers: Vec<f64> = operands.iter().map(|value| value.as_f64()).collect();
        match self.kind {
            // Nothing is computed but the sign bit.
            Kind::Unary(UnaryOp::Neg | UnaryOp::Abs) | Kind::Ternary(TernaryOp::Where) => Bound::SAME,
            Kind::Cast(to) if to.is_float() && self.dtype.is_float() => Bound::SAME,
            Kind::Compare(_) | Kind::Cast(_) => Bound::EXACT,
            _ if !self.out.is_float() => Bound::EXACT,
            Kind::Unary(op) => Bound::ulp(op.row().ulp, self.out),
            Kind::Binary(BinaryOp::TruncDiv) => truncated(numbers[0], numbers[1], self.out),
            Kind::Binary(BinaryOp::FloorDiv) => {
                // The quotient is made from the exact remainder, a division and a correction by less than a half. While the
                // quotient is well below the precision that finds the integer; beyond, integers are as far apart as ULPs.
                let beyond = f64::from(FloatFormat::of(compute).precision - 2).exp2();
                let quotient = numbers[0] / numbers[1];
                if quotient.abs() < beyond { Bound::EXACT } else { Bound::ulp(2, self.out) }
            }
            Kind::Binary(op) => Bound::ulp(op.row().ulp, self.out),
            Kind::Ternary(TernaryOp::Lerp) => interpolated(&numbers, self.out),
            Kind::Ternary(op) => Bound::ulp(op.row().ulp, self.out),
        }
    }

    fn tuple(&self, picks: &[usize]) -> usize {
        let values = &self.table().values;
        picks.iter().zip(values).fold(0, |tuple, (pick, list)| tuple * list.len() + pick)
    }

    /// An operand of random values, or of evenly stepping ones where there are many.
    fn picked(&self, number: usize, (layout, len): (Layout, usize), rng: &mut Rng) -> Picked {
        let table = self.table();
        let (count, dtype) = (table.values[number].len(), self.operands[number].0);
        let (start, step) = (rng.below(count), 1 + rng.below(count - 1));
        let stepping = len > 20_000;
        let picks: Vec<u32> = (0..len)
            .map(|at| if stepping { ((start + at * step) % count) as u32 } else { rng.below(count) as u32 })
            .collect();
        let size = dtype.size();
        let mut bytes = Vec::with_capacity(len * size);
        for &pick in &picks {
            bytes.extend_from_slice(&table.elements[number][pick as usize * size..][..size]);
        }
        Picked { tensor: HostTensor { bytes, layout, dtype }, picks }
    }

    /// Runs the program over operands and compares with the table. `replaced` names the operand that the output holds
    /// before; `scalar` the operand that is a run-time scalar, and which of its values.
    fn check<B: Backend>(
        &self,
        probe: &mut Probe<'_, B>,
        operands: &[Option<Picked>],
        arranged: (Layout, usize),
        replaced: Option<usize>,
        scalar: Option<(usize, usize)>,
        what: &dyn Fn() -> String,
    ) -> Check {
        let table = self.table();
        let program = self.program(scalar.map(|(number, pick)| (number, table.values[number][pick])));
        let out = match replaced.map(|number| &operands[number]) {
            Some(Some(picked)) => picked.tensor.clone(),
            _ => HostTensor::unwritten(self.out, arranged),
        };
        let shape = out.shape().clone();
        let mut walks: Vec<_> = operands
            .iter()
            .map(|operand| operand.as_ref().map(|picked| (picked.tensor.layout.indices(), &picked.picks)))
            .collect();
        let tuples: Vec<usize> = (0..shape.numel())
            .map(|_| {
                let picks: Vec<usize> = walks
                    .iter_mut()
                    .map(|walk| match walk {
                        Some((indices, picks)) => picks[indices.next().expect("an index for each element")] as usize,
                        None => scalar.expect("an operand that is no tensor is a scalar").1,
                    })
                    .collect();
                self.tuple(&picks)
            })
            .collect();
        let mut wanted = out.bytes.clone();
        let size = self.out.size();
        for (at, &tuple) in out.layout.indices().zip(&tuples) {
            wanted[at * size..][..size].copy_from_slice(&table.result_elements[tuple * size..][..size]);
        }
        let inputs: Vec<In> = operands
            .iter()
            .enumerate()
            .filter_map(|(number, operand)| {
                let picked = operand.as_ref()?;
                Some(if replaced == Some(number) { In::Output(0) } else { In::Tensor(picked.tensor.clone()) })
            })
            .collect();
        let got = probe.pointwise(&program, &shape, &inputs, std::slice::from_ref(&out))?;
        let describe = |number: usize| {
            let operands: Vec<String> = digits(&table.values, tuples[number]).iter().map(Scalar::to_string).collect();
            format!(", {} of {} ({})", self.name(), operands.join(" and "), what())
        };
        probe.compare(&out, &got[0], &wanted, &|number| self.bound(tuples[number]), &describe)
    }

    /// Dense operands of one shape.
    fn check_dense<B: Backend>(&self, probe: &mut Probe<'_, B>, dims: &[usize], rng: &mut Rng) -> Check {
        let dense = || Arrangement::Contiguous.layout(dims);
        let operands: Vec<_> = (0..self.operands.len()).map(|number| Some(self.picked(number, dense(), rng))).collect();
        self.check(probe, &operands, dense(), None, None, &|| format!("contiguous {dims:?}"))
    }

    /// Every combination of values, as vectors; and tensors without axes.
    fn values<B: Backend>(&self, probe: &mut Probe<'_, B>) -> Check {
        let table = self.table();
        let count = table.results.len();
        let operands: Vec<Option<Picked>> = (0..self.operands.len())
            .map(|number| {
                let later: usize = table.values[number + 1..].iter().map(Vec::len).product();
                let picks: Vec<u32> =
                    (0..count).map(|tuple| (tuple / later % table.values[number].len()) as u32).collect();
                let (layout, _) = Arrangement::Contiguous.layout(&[count]);
                let values: Vec<Scalar> = picks.iter().map(|&pick| table.values[number][pick as usize]).collect();
                let dtype = self.operands[number].0;
                Some(Picked { tensor: HostTensor { bytes: to_bytes(dtype, &values), layout, dtype }, picks })
            })
            .collect();
        let dense = Arrangement::Contiguous.layout(&[count]);
        self.check(probe, &operands, dense, None, None, &|| format!("contiguous [{count}]"))?;
        let mut rng = self.rng("values");
        for arrangement in [Arrangement::Contiguous, Arrangement::Window] {
            let operands: Vec<_> = (0..self.operands.len())
                .map(|number| Some(self.picked(number, arrangement.layout(&[]), &mut rng)))
                .collect();
            self.check(probe, &operands, arrangement.layout(&[]), None, None, &|| format!("0-d, {arrangement:?}"))?;
        }
        Ok(())
    }

    fn lengths<B: Backend>(&self, probe: &mut Probe<'_, B>) -> Check {
        let mut rng = self.rng("lengths");
        LENGTHS.into_iter().try_for_each(|length| self.check_dense(probe, &[length], &mut rng))
    }

    /// Each way to lie in memory at least once for each operand, beside others for the other operands.
    fn layouts<B: Backend>(&self, probe: &mut Probe<'_, B>) -> Check {
        let mut rng = self.rng("layouts");
        for (which, dims) in SHAPES.into_iter().enumerate() {
            let turns = if which < 2 { Arrangement::ALL.len() } else { 3 };
            for turn in 0..turns {
                let turn = if which < 2 { turn } else { rng.below(Arrangement::ALL.len()) };
                let kinds: Vec<Arrangement> = (0..self.operands.len())
                    .map(|number| Arrangement::ALL[(turn + number * (which + 1)) % Arrangement::ALL.len()])
                    .collect();
                let out = Arrangement::OUTPUTS[(turn + which) % Arrangement::OUTPUTS.len()];
                let operands: Vec<_> = kinds
                    .iter()
                    .enumerate()
                    .map(|(number, kind)| Some(self.picked(number, kind.layout(dims), &mut rng)))
                    .collect();
                let what = || format!("{dims:?}, {kinds:?} to {out:?}");
                self.check(probe, &operands, out.layout(dims), None, None, &what)?;
            }
        }
        Ok(())
    }

    /// Each operand in turn as a run-time scalar.
    fn scalars<B: Backend>(&self, probe: &mut Probe<'_, B>) -> Check {
        let mut rng = self.rng("scalars");
        for place in 0..self.operands.len() {
            let count = self.table().values[place].len();
            for turn in 0..count.min(8) {
                // The special values come first.
                let pick = if turn < 4 { turn } else { rng.below(count) };
                let dims = [70];
                let operands: Vec<_> = (0..self.operands.len())
                    .map(|number| {
                        let dense = Arrangement::Contiguous.layout(&dims);
                        (number != place).then(|| self.picked(number, dense, &mut rng))
                    })
                    .collect();
                let what = || format!("operand {place} is a scalar");
                let dense = Arrangement::Contiguous.layout(&dims);
                self.check(probe, &operands, dense, None, Some((place, pick)), &what)?;
            }
        }
        Ok(())
    }

    /// The first operand whose place the output can take.
    fn replaced(&self) -> Option<usize> {
        self.operands.iter().position(|(dtype, _)| *dtype == self.out)
    }

    /// The output takes the place of an operand.
    fn in_place<B: Backend>(&self, probe: &mut Probe<'_, B>) -> Check {
        let mut rng = self.rng("in_place");
        let places: Vec<usize> = (0..self.operands.len()).filter(|&k| self.operands[k].0 == self.out).collect();
        for place in places {
            for arrangement in [Arrangement::Contiguous, Arrangement::StepLast, Arrangement::Transposed] {
                let dims = [5, 67];
                let operands: Vec<_> = (0..self.operands.len())
                    .map(|number| {
                        let kind = if number == place { arrangement } else { Arrangement::Contiguous };
                        Some(self.picked(number, kind.layout(&dims), &mut rng))
                    })
                    .collect();
                let what = || format!("{arrangement:?} {dims:?}, in place of operand {place}");
                self.check(probe, &operands, arrangement.layout(&dims), Some(place), None, &what)?;
            }
        }
        Ok(())
    }

    /// Enough elements for several threads, dense and not.
    fn large<B: Backend>(&self, probe: &mut Probe<'_, B>) -> Check {
        let mut rng = self.rng("large");
        self.check_dense(probe, &[60_003], &mut rng)?;
        let dims = [211, 157];
        let operands: Vec<_> = (0..self.operands.len())
            .map(|number| {
                let kind = [Arrangement::Transposed, Arrangement::Row, Arrangement::StepLast][number];
                Some(self.picked(number, kind.layout(&dims), &mut rng))
            })
            .collect();
        let dense = Arrangement::Contiguous.layout(&dims);
        self.check(probe, &operands, dense, None, None, &|| format!("transposed {dims:?}"))
    }
}

/// A quotient with its fraction cut off. A division that is right to the last bit may still round up to an integer that the
/// exact quotient stays below, so both integers are right where the two are that close.
fn truncated(a: f64, b: f64, dtype: DType) -> Bound {
    let quotient = a / b;
    let format = FloatFormat::of(dtype.compute());
    let whole = f64::from(format.precision - 1).exp2();
    if !quotient.is_finite() || quotient.abs() >= whole {
        return Bound::ulp(1, dtype);
    }
    let near = quotient.round_ties_even();
    // A quotient that is an integer has no excuse.
    if (quotient - near).abs() > format.spacing(quotient) || near.mul_add(b, -a) == 0.0 {
        return Bound::EXACT;
    }
    // The reference has one of the two; which one depends on what f64 rounded.
    let other = if quotient.trunc() == near { near - quotient.signum() } else { near };
    Bound { also: Some(Scalar::Float(other).cast(dtype)), ..Bound::EXACT }
}

/// a + w·(b − a): small results are differences of large numbers, whose rounding they inherit.
fn interpolated(operands: &[f64], dtype: DType) -> Bound {
    let [a, b, w] = operands else { unreachable!("lerp has three operands") };
    if !operands.iter().all(|value| value.is_finite()) {
        return Bound::EXACT;
    }
    let span = b - a;
    let largest = [*a, *b, span, span * w, span * (1.0 - w)].into_iter().fold(0.0, |m: f64, value| m.max(value.abs()));
    if largest > FloatFormat::of(dtype.compute()).largest {
        // Whether b − a overflows depends on the format that it is computed in, and so does all that follows.
        return Bound::ANYTHING;
    }
    Bound::at_scale(4.0, largest, dtype)
}

/// The operands of a combination: its number's digits, the last operand's running fastest.
fn digits(values: &[Vec<Scalar>], mut tuple: usize) -> Vec<Scalar> {
    let mut operands = vec![Scalar::Bool(false); values.len()];
    for (operand, list) in operands.iter_mut().zip(values).rev() {
        *operand = list[tuple % list.len()];
        tuple /= list.len();
    }
    operands
}

fn to_bytes(dtype: DType, values: &[Scalar]) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * dtype.size()];
    for (value, element) in values.iter().zip(bytes.chunks_exact_mut(dtype.size())) {
        value.write(dtype, element);
    }
    bytes
}
