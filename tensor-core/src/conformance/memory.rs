//! Memory, devices and threads.

use super::case::{Case, Check, In, Probe, ensure, expected_pointwise, wrong};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor};
use super::values::{Rng, sample};
use crate::backend::{Input, View, ViewMut};
use crate::op::BinaryOp;
use crate::{Backend, DType, ErrorKind, Layout, Program, Scalar, Shape};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The cases of memory and of devices.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let memory: [(&str, fn(&mut Probe<'_, B>) -> Check); 11] = [
        ("sizes", sizes),
        ("zero_bytes", zero_bytes),
        ("offset_reads", offset_reads),
        ("offset_writes", offset_writes),
        ("large_transfer", large_transfer),
        ("unique_and_same", unique_and_same),
        ("fresh_buffers_are_apart", fresh_buffers_are_apart),
        ("copy_to", copy_to),
        ("impossible_allocation", impossible_allocation),
        ("buffers_are_given_back", buffers_are_given_back),
        ("many_buffers", many_buffers),
    ];
    let device: [(&str, fn(&mut Probe<'_, B>) -> Check); 5] = [
        ("info", info),
        ("handles", handles),
        ("in_order", in_order),
        ("dropped_while_in_use", dropped_while_in_use),
        ("synchronize", synchronize),
    ];
    let threads: [(&str, fn(&mut Probe<'_, B>) -> Check); 4] = [
        ("own_buffers", own_buffers),
        ("shared_input", shared_input),
        ("one_program", one_program),
        ("buffers_change_hands", buffers_change_hands),
    ];
    let memory = memory.map(|(name, run)| Case::new("memory", name, None, "all", run));
    let device = device.map(|(name, run)| Case::new("device", name, None, "all", run));
    let threads = threads.map(|(name, run)| Case::new("threads", name, None, "all", run));
    let needing = |case: Case<B>| case.needing([DType::I32]);
    memory.into_iter().chain(device.into_iter().map(needing)).chain(threads.into_iter().map(needing)).collect()
}

/// Bytes that tell where they stand.
fn pattern(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed).collect()
}

fn holds<B: Backend>(probe: &Probe<'_, B>, buffer: &B::Buffer, expected: &[u8], what: &str) -> Check {
    let got = probe.download(buffer)?;
    ensure(got.len() == expected.len(), || format!("{what}: {} bytes, expected {}", got.len(), expected.len()))?;
    match got.iter().zip(expected).position(|(got, expected)| got != expected) {
        None => Ok(()),
        Some(at) => Err(wrong(format!(
            "{what}: byte {at} of {} is {:#04x}, expected {:#04x}",
            got.len(),
            got[at],
            expected[at]
        ))),
    }
}

fn sizes<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    for count in [1, 2, 3, 4, 7, 8, 15, 63, 64, 65, 127, 4095, 4096, 4097, 100_003] {
        let bytes = pattern(count, 1);
        let mut buffer = probe.backend.alloc(count)?;
        let size = probe.backend.size(&buffer);
        ensure(size == count, || format!("size() of a buffer of {count} bytes is {size}"))?;
        probe.backend.write(&mut buffer, 0, &bytes)?;
        holds(probe, &buffer, &bytes, "a buffer just written")?;
    }
    Ok(())
}

fn zero_bytes<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut empty = probe.backend.alloc(0)?;
    let size = probe.backend.size(&empty);
    ensure(size == 0, || format!("size() of a buffer of no bytes is {size}"))?;
    probe.backend.write(&mut empty, 0, &[])?;
    probe.backend.read(&empty, 0, &mut [])?;
    ensure(probe.backend.is_unique(&mut empty), || "a fresh buffer of no bytes is not unique".to_owned())?;
    let copy = probe.backend.copy_to(&empty, probe.backend)?;
    ensure(probe.backend.size(&copy) == 0, || "a copy of a buffer of no bytes has some".to_owned())?;
    // Nothing is read or written at the very end of a buffer that has bytes, either.
    let mut buffer = probe.backend.alloc(5)?;
    probe.backend.write(&mut buffer, 0, &[1, 2, 3, 4, 5])?;
    probe.backend.write(&mut buffer, 5, &[])?;
    probe.backend.read(&buffer, 5, &mut [])?;
    holds(probe, &buffer, &[1, 2, 3, 4, 5], "a buffer after nothing was written at its end")
}

/// Parts of a buffer, aligned to nothing.
const PARTS: [(usize, usize); 9] =
    [(0, 1), (1, 1), (3, 4), (4, 8), (7, 250), (255, 2), (256, 256), (1023, 1), (1, 1022)];

fn offset_reads<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let bytes = pattern(1024, 2);
    let mut buffer = probe.backend.alloc(1024)?;
    probe.backend.write(&mut buffer, 0, &bytes)?;
    for (offset, count) in PARTS {
        let mut part = vec![0xEE; count];
        probe.backend.read(&buffer, offset, &mut part)?;
        ensure(part == bytes[offset..offset + count], || {
            format!("{count} bytes read from offset {offset} are not those that were written there")
        })?;
    }
    Ok(())
}

fn offset_writes<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut bytes = pattern(1024, 3);
    let mut buffer = probe.backend.alloc(1024)?;
    probe.backend.write(&mut buffer, 0, &bytes)?;
    for (number, (offset, count)) in PARTS.into_iter().enumerate() {
        let part = pattern(count, 0x40 + number as u8);
        bytes[offset..offset + count].copy_from_slice(&part);
        probe.backend.write(&mut buffer, offset, &part)?;
        holds(probe, &buffer, &bytes, &format!("after {count} bytes were written at offset {offset}"))?;
    }
    Ok(())
}

fn large_transfer<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let bytes = pattern((32 << 20) + 3, 4);
    let mut buffer = probe.backend.alloc(bytes.len())?;
    probe.backend.write(&mut buffer, 0, &bytes)?;
    holds(probe, &buffer, &bytes, "32 MiB and three bytes")
}

fn unique_and_same<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let backend = probe.backend;
    let mut first = backend.alloc(16)?;
    let other = backend.alloc(16)?;
    ensure(backend.is_unique(&mut first), || "a fresh buffer is not unique".to_owned())?;
    ensure(backend.is_same(&first, &first), || "a buffer is not the same as itself".to_owned())?;
    ensure(!backend.is_same(&first, &other), || "two buffers are the same".to_owned())?;
    let mut clone = first.clone();
    ensure(backend.is_same(&first, &clone), || "a buffer and its clone are not the same".to_owned())?;
    ensure(!backend.is_unique(&mut first), || "a buffer with a clone is unique".to_owned())?;
    ensure(!backend.is_unique(&mut clone), || "a clone beside its original is unique".to_owned())?;
    let second = clone.clone();
    drop(first);
    ensure(!backend.is_unique(&mut clone), || "one of two clones is unique".to_owned())?;
    drop(second);
    ensure(backend.is_unique(&mut clone), || "the last clone of a buffer is not unique".to_owned())?;
    backend.write(&mut clone, 0, &pattern(16, 5))?;
    holds(probe, &clone, &pattern(16, 5), "the last clone after it was written")
}

fn fresh_buffers_are_apart<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut held = Vec::new();
    for number in 0..64usize {
        let bytes = pattern(1 + number * 37, number as u8);
        let mut buffer = probe.backend.alloc(bytes.len())?;
        probe.backend.write(&mut buffer, 0, &bytes)?;
        held.push((buffer, bytes));
        // Some go back at once, so that their memory is used again while others live.
        if number % 3 == 2 {
            held.swap_remove(number / 3);
        }
    }
    held.iter().try_for_each(|(buffer, bytes)| holds(probe, buffer, bytes, "one of many buffers"))
}

/// Copies to another handle of the device hold the same bytes, and later writes to the original do not reach them.
fn copy_to<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let target = probe.backend.clone();
    let bytes = pattern(1000, 6);
    let mut buffer = probe.backend.alloc(1000)?;
    probe.backend.write(&mut buffer, 0, &bytes)?;
    let mut copy = probe.backend.copy_to(&buffer, &target)?;
    holds(probe, &copy, &bytes, "a copy")?;
    let size = target.size(&copy);
    ensure(size == 1000, || format!("the copy of a buffer of 1000 bytes has {size}"))?;
    // A device may share memory between the two, but then neither is unique and nobody writes to it.
    if probe.backend.is_unique(&mut buffer) {
        probe.backend.write(&mut buffer, 0, &pattern(1000, 7))?;
        holds(probe, &copy, &bytes, "a copy after its original was written")?;
    }
    drop(buffer);
    ensure(target.is_unique(&mut copy), || "a copy is not unique after its original was dropped".to_owned())?;
    holds(probe, &copy, &bytes, "a copy after its original was dropped")
}

/// What no device has is refused with a word that says so, and nothing else suffers.
fn impossible_allocation<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let bytes = pattern(100, 8);
    let mut before = probe.backend.alloc(100)?;
    probe.backend.write(&mut before, 0, &bytes)?;
    for count in [1usize << 48, 1 << 60, isize::MAX as usize, usize::MAX] {
        match probe.backend.alloc(count) {
            Ok(_) => return Err(wrong(format!("an allocation of {count} bytes succeeded"))),
            Err(error) => {
                ensure(matches!(error.kind(), ErrorKind::OutOfMemory { bytes, .. } if *bytes == count), || {
                    format!(
                        "an allocation of {count} bytes: expected ErrorKind::OutOfMemory that names the bytes, got: {error}"
                    )
                })?;
            }
        }
        let text = probe.backend.alloc(count).map(drop).expect_err("it was refused just now").to_string();
        ensure(text.contains(&*probe.backend.label()), || format!("the error does not name the device: {text}"))?;
    }
    let mut after = probe.backend.alloc(100)?;
    probe.backend.write(&mut after, 0, &bytes)?;
    holds(probe, &after, &bytes, "a buffer made after an allocation failed")?;
    holds(probe, &before, &bytes, "a buffer made before an allocation failed")
}

/// More is allocated and dropped, piece by piece, than the device has (up to a bound, for the sake of time).
fn buffers_are_given_back<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    const BOUND: u64 = 4 << 30;
    let memory = probe.backend.info().memory.unwrap_or(BOUND);
    let piece = (memory / 4).clamp(1 << 10, 64 << 20) as usize;
    let total = (memory + memory / 2).min(BOUND);
    for number in 0..total / piece as u64 {
        let mut buffer = probe.backend.alloc(piece)?;
        // A device may wait with the allocation until something is written.
        probe.backend.write(&mut buffer, piece - 8, &number.to_ne_bytes())?;
        let mut bytes = [0; 8];
        probe.backend.read(&buffer, piece - 8, &mut bytes)?;
        let got = u64::from_ne_bytes(bytes);
        ensure(got == number, || format!("piece {number} holds {got}"))?;
    }
    Ok(())
}

/// Small buffers by the thousand, whose sizes and lifetimes mix.
fn many_buffers<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::new(20);
    let mut held: Vec<(B::Buffer, u64)> = Vec::new();
    for number in 0..5000u64 {
        let size = 8 + rng.below(if number % 50 == 0 { 100_000 } else { 300 });
        let mut buffer = probe.backend.alloc(size)?;
        probe.backend.write(&mut buffer, 0, &number.to_ne_bytes())?;
        held.push((buffer, number));
        if held.len() > 100 {
            let (buffer, expected) = held.swap_remove(rng.below(100));
            let mut bytes = [0; 8];
            probe.backend.read(&buffer, 0, &mut bytes)?;
            let got = u64::from_ne_bytes(bytes);
            ensure(got == expected, || format!("buffer {expected} holds {got} when {number} were made"))?;
        }
    }
    Ok(())
}

fn info<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let info = probe.backend.info();
    ensure(!info.name.trim().is_empty(), || "info().name is empty".to_owned())?;
    ensure(info.memory != Some(0), || "info().memory is 0 bytes; None says that it is not known".to_owned())?;
    for (place, dtype) in info.dtypes.iter().enumerate() {
        ensure(!info.dtypes[..place].contains(dtype), || format!("info().dtypes names {dtype} twice"))?;
    }
    // Masks, indices and the default float are what arrays themselves need.
    for dtype in [DType::Bool, DType::I64, DType::F32] {
        ensure(info.dtypes.contains(&dtype), || {
            format!("info().dtypes lacks {dtype}, which arrays cannot do without")
        })?;
    }
    let label = probe.backend.label();
    ensure(!label.is_empty() && !label.contains(char::is_whitespace), || format!("the label is no word: {label:?}"))
}

fn handles<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let other = probe.backend.clone();
    ensure(*probe.backend == other, || "a handle and its clone are not equal".to_owned())?;
    ensure(probe.backend.label() == other.label(), || "a handle and its clone have different labels".to_owned())?;
    // What one writes the other reads.
    let mut buffer = other.alloc(100)?;
    other.write(&mut buffer, 0, &pattern(100, 9))?;
    holds(probe, &buffer, &pattern(100, 9), "a buffer written by another handle")
}

/// `x + step` as a program, and the tensor it runs on.
fn adding(step: i64) -> Program {
    let mut program = Program::new();
    let x = program.input(DType::I32);
    let step = program.scalar(Scalar::Int(step), DType::I32);
    let sum = program.binary(BinaryOp::Add, x, step);
    program.output(sum);
    program
}

fn vector(count: usize) -> Layout {
    Arrangement::Contiguous.layout(&[count]).0
}

fn ints(values: impl Iterator<Item = i32>) -> Vec<u8> {
    values.flat_map(i32::to_ne_bytes).collect()
}

/// Adds to a buffer in place.
fn add_in_place<B: Backend>(backend: &B, buffer: &mut B::Buffer, step: i64, count: usize) -> crate::Result<()> {
    let layout = vector(count);
    let out = ViewMut { buffer, layout: &layout, dtype: DType::I32 };
    backend.pointwise(&adding(step), layout.shape(), &[Input::Output(0)], &mut [out])
}

/// Work is seen in the order in which it was submitted: writes, kernels and reads of one buffer in turn.
fn in_order<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    const COUNT: usize = 50_000;
    let mut buffer = probe.backend.alloc(4 * COUNT)?;
    probe.backend.write(&mut buffer, 0, &ints((0..COUNT as i32).map(|_| 0)))?;
    let mut first = 0;
    for round in 0..50 {
        for step in 1..=4 {
            add_in_place(probe.backend, &mut buffer, step, COUNT)?;
        }
        first += 10;
        if round % 7 == 3 {
            probe.backend.write(&mut buffer, 0, &1000i32.to_ne_bytes())?;
            first = 1000;
        }
        let mut ends = [[0; 4]; 2];
        probe.backend.read(&buffer, 0, &mut ends[0])?;
        probe.backend.read(&buffer, 4 * (COUNT - 1), &mut ends[1])?;
        let (got, expected) = (ends.map(i32::from_ne_bytes), [first, 10 * (round + 1)]);
        ensure(got == expected, || format!("round {round}: the ends are {got:?}, expected {expected:?}"))?;
    }
    Ok(())
}

/// Buffers are dropped right after work that reads them was submitted, and new ones take their memory.
fn dropped_while_in_use<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    const COUNT: usize = 100_000;
    let layout = vector(COUNT);
    let mut results = Vec::new();
    for round in 0..8i32 {
        let mut input = probe.backend.alloc(4 * COUNT)?;
        probe.backend.write(&mut input, 0, &ints((0..COUNT as i32).map(|at| at * (round + 1))))?;
        let mut out = probe.backend.alloc(4 * COUNT)?;
        let view = View { buffer: &input, layout: &layout, dtype: DType::I32 };
        let target = ViewMut { buffer: &mut out, layout: &layout, dtype: DType::I32 };
        probe.backend.pointwise(&adding(7), layout.shape(), &[Input::View(view)], &mut [target])?;
        drop(input);
        let mut next = probe.backend.alloc(4 * COUNT)?;
        probe.backend.write(&mut next, 0, &vec![0xFF; 4 * COUNT])?;
        results.push(out);
    }
    for (round, out) in results.iter().enumerate() {
        let expected = ints((0..COUNT as i32).map(|at| at * (round as i32 + 1) + 7));
        holds(probe, out, &expected, &format!("the result of round {round}, whose input was dropped"))?;
    }
    Ok(())
}

fn synchronize<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    probe.backend.synchronize()?;
    let mut buffer = probe.backend.alloc(4000)?;
    probe.backend.write(&mut buffer, 0, &ints(0..1000))?;
    add_in_place(probe.backend, &mut buffer, 5, 1000)?;
    probe.backend.synchronize()?;
    probe.backend.synchronize()?;
    holds(probe, &buffer, &ints((0..1000).map(|at| at + 5)), "a buffer after synchronize()")
}

const THREADS: usize = 8;

/// Runs something on several threads; gives the first failure.
fn on_threads<B: Backend>(backend: &B, run: impl Fn(&mut Probe<'_, B>, usize) -> Check + Sync) -> Check {
    std::thread::scope(|scope| {
        let run = &run;
        let started: Vec<_> =
            (0..THREADS).map(|number| scope.spawn(move || run(&mut Probe::new(backend), number))).collect();
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_panic| Err(wrong("a thread panicked"))))
            .collect::<Vec<Check>>()
            .into_iter()
            .collect()
    })
}

/// Each thread writes, computes and reads buffers of its own.
fn own_buffers<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    on_threads(probe.backend, |probe, number| {
        let mut rng = Rng::new(number as u64);
        for round in 0..20 {
            let count = 1 + rng.below(if round % 5 == 0 { 60_000 } else { 500 });
            let mut buffer = probe.backend.alloc(4 * count)?;
            let start = (number * 1000 + round) as i32;
            probe.backend.write(&mut buffer, 0, &ints((0..count as i32).map(|at| at + start)))?;
            add_in_place(probe.backend, &mut buffer, number as i64, count)?;
            let expected = ints((0..count as i32).map(|at| at + start + number as i32));
            holds(probe, &buffer, &expected, &format!("thread {number}, round {round}"))?;
        }
        Ok(())
    })
}

/// All threads read one buffer and drop their clones of it.
fn shared_input<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    const COUNT: usize = 30_000;
    let mut shared = probe.backend.alloc(4 * COUNT)?;
    probe.backend.write(&mut shared, 0, &ints(0..COUNT as i32))?;
    let layout = vector(COUNT);
    on_threads(probe.backend, |probe, number| {
        for round in 0..10 {
            let input = shared.clone();
            let mut out = probe.backend.alloc(4 * COUNT)?;
            let view = View { buffer: &input, layout: &layout, dtype: DType::I32 };
            let target = ViewMut { buffer: &mut out, layout: &layout, dtype: DType::I32 };
            let step = (number * 10 + round) as i32;
            probe.backend.pointwise(&adding(step.into()), layout.shape(), &[Input::View(view)], &mut [target])?;
            drop(input);
            holds(
                probe,
                &out,
                &ints((0..COUNT as i32).map(|at| at + step)),
                &format!("thread {number}, round {round}"),
            )?;
        }
        Ok(())
    })?;
    ensure(probe.backend.is_unique(&mut shared), || "a buffer whose clones were dropped is not unique".to_owned())
}

/// All threads compile and run the same programs at the same time, as a cache meets them first.
fn one_program<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let turn = AtomicUsize::new(0);
    on_threads(probe.backend, |probe, number| {
        let mut rng = Rng::new(100 + number as u64);
        while turn.fetch_add(1, Ordering::Relaxed) < 12 * THREADS {
            for length in 1..6 {
                let mut program = Program::new();
                let mut value = program.input(DType::I32);
                for step in 0..length {
                    let step = program.scalar(Scalar::Int(step + 2), DType::I32);
                    let op = if length % 2 == 0 { BinaryOp::Mul } else { BinaryOp::BitXor };
                    value = program.binary(op, value, step);
                }
                program.output(value);
                let input = HostTensor::dense(DType::I32, &[33, 7], || sample(DType::I32, (0.0, 0.0), &mut rng));
                let out = HostTensor::unwritten(DType::I32, Arrangement::Transposed.layout(&[33, 7]));
                let shape = Shape::new([33, 7])?;
                let (inputs, out) = ([In::Tensor(input)], [out]);
                let got = probe.pointwise(&program, &shape, &inputs, &out)?;
                let wanted = expected_pointwise(&program, &shape, &inputs, &out);
                probe.compare_all(&out[0], &got[0], &wanted[0], Bound::EXACT, &format!("thread {number}"))?;
            }
        }
        Ok(())
    })
}

/// A buffer that one thread fills, the next one adds to, and so on around.
fn buffers_change_hands<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    const COUNT: usize = 20_000;
    let mut buffer = probe.backend.alloc(4 * COUNT)?;
    probe.backend.write(&mut buffer, 0, &ints(0..COUNT as i32))?;
    let backend = probe.backend;
    for number in 0..THREADS {
        let moved = std::thread::spawn({
            let backend = backend.clone();
            move || {
                let mut buffer = buffer;
                add_in_place(&backend, &mut buffer, number as i64 + 1, COUNT).map(|()| buffer)
            }
        });
        buffer = moved.join().map_err(|_panic| wrong("a thread panicked"))??;
    }
    let added = (THREADS * (THREADS + 1) / 2) as i32;
    holds(probe, &buffer, &ints((0..COUNT as i32).map(|at| at + added)), "a buffer that went through all threads")
}
