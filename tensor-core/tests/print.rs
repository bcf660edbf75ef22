//! The printed form against PyTorch's own, and what printing may cost.

use std::cell::Cell;
use tensor_core::print::{PrintOptions, Suffixes, repr_of_shown, shown, tensor_repr_with};
use tensor_core::{DType, Scalar, Shape};

struct Case<'a> {
    head: &'a str,
    dtype: DType,
    shape: Shape,
    values: Vec<Scalar>,
    suffixes: Suffixes,
    options: PrintOptions,
    expected: String,
}

/// Reads the format that `fixtures/print.py` describes.
fn cases(text: &str) -> Vec<Case<'_>> {
    text.split("== ").skip(1).map(case).collect()
}

fn case(text: &str) -> Case<'_> {
    let mut lines = text.lines();
    let head = lines.next().expect("a head");
    let mut words = head.split(' ');
    let dtype_name = words.next().expect("a dtype");
    let dtype = *DType::ALL.iter().find(|dtype| dtype.name() == dtype_name).expect("a known dtype");
    let dims = words.next().expect("a shape").trim_matches(['[', ']']);
    let dims: Vec<usize> = dims.split(',').filter(|size| !size.is_empty()).map(|size| size.parse().unwrap()).collect();
    let (mut suffixes, mut options) = (Suffixes::default(), PrintOptions::DEFAULT);
    for (key, value) in words.map(|word| word.split_once('=').expect("key=value")) {
        match key {
            "device" => suffixes.device = Some(value.to_owned()),
            "grad_fn" => suffixes.grad_fn = Some(value.to_owned()),
            "requires_grad" => suffixes.requires_grad = value == "True",
            "precision" => options.precision = value.parse().unwrap(),
            "threshold" => options.threshold = value.parse().unwrap(),
            "edgeitems" => options.edgeitems = value.parse().unwrap(),
            "linewidth" => options.linewidth = value.parse().unwrap(),
            "sci_mode" => options.sci_mode = Some(value == "True"),
            _ => panic!("unknown key {key}"),
        }
    }
    let mut values = Vec::new();
    for word in lines.next().expect("values").split_whitespace() {
        match word.split_once("..") {
            Some((from, to)) => {
                let range = from.parse::<i64>().unwrap()..to.parse().unwrap();
                values.extend(range.map(|value| Scalar::Int(value).cast(dtype)));
            }
            None => values.push(match dtype {
                DType::Bool => Scalar::Bool(word.parse().unwrap()),
                dtype if dtype.is_int() => Scalar::Int(word.parse().unwrap()),
                _ => Scalar::Float(word.parse().unwrap()),
            }),
        }
    }
    let expected: Vec<&str> = lines.map(|line| line.strip_prefix('|').expect("a bar")).collect();
    Case { head, dtype, shape: Shape::new(dims).unwrap(), values, suffixes, options, expected: expected.join("\n") }
}

fn flat(shape: &Shape, index: &[usize]) -> usize {
    index.iter().zip(shape.dims()).fold(0, |flat, (i, size)| flat * size + i)
}

#[test]
fn prints_what_pytorch_prints() {
    let cases = cases(include_str!("fixtures/print.txt"));
    assert!(cases.len() > 600, "the fixture is complete");
    for Case { head, dtype, shape, values, suffixes, options, expected } in cases {
        let get = |index: &[usize]| values[flat(&shape, index) % values.len()];
        let printed = tensor_repr_with(dtype, &shape, &get, &suffixes, &options);
        assert_eq!(printed, expected, "{head}\n{printed}\nshould be\n{expected}");
    }
}

#[test]
fn reads_only_what_it_prints() {
    // A tensor far larger than any memory.
    let shape = Shape::new([1 << 20, 2, 1 << 30]).unwrap();
    let calls = Cell::new(0);
    let get = |index: &[usize]| {
        assert!(index[0] < 3 || index[0] >= (1 << 20) - 3);
        assert!(index[2] < 3 || index[2] >= (1 << 30) - 3);
        calls.set(calls.get() + 1);
        Scalar::Int(index[2] as i64)
    };
    let printed = tensor_repr_with(DType::I64, &shape, &get, &Suffixes::default(), &PrintOptions::DEFAULT);
    assert_eq!(calls.get(), 6 * 2 * 6);
    assert_eq!(printed.matches("1073741823").count(), 12);
    // six blocks of two rows of two lines each, an empty line between the blocks, and a line of dots
    assert_eq!(printed.lines().count(), 6 * 2 * 2 + 6 + 1);
}

#[test]
fn elements_fetched_beforehand_print_the_same() {
    let shape = Shape::new([9, 150]).unwrap();
    let get = |index: &[usize]| Scalar::Float(flat(&shape, index) as f64 / 2.0);
    let options = PrintOptions::DEFAULT;
    let axes = shown(&shape, &options);
    let mut values = Vec::new();
    for i in axes[0].head.clone().chain(axes[0].tail.clone()) {
        for j in axes[1].head.clone().chain(axes[1].tail.clone()) {
            values.push(get(&[i, j]));
        }
    }
    let suffixes = Suffixes { device: Some("opencl:0".to_owned()), ..Suffixes::default() };
    let printed = repr_of_shown(DType::F32, &shape, &values, &suffixes, &options);
    assert_eq!(printed, tensor_repr_with(DType::F32, &shape, &get, &suffixes, &options));
    assert!(printed.ends_with(", device='opencl:0')"), "{printed}");
}

#[test]
#[should_panic(expected = "one value for each element shown")]
fn a_wrong_number_of_values_panics() {
    let shape = Shape::new([3]).unwrap();
    repr_of_shown(DType::F32, &shape, &[Scalar::Float(1.0)], &Suffixes::default(), &PrintOptions::DEFAULT);
}

#[test]
fn any_rank_prints() {
    let shape = Shape::new(vec![1; 300]).unwrap();
    let printed =
        tensor_repr_with(DType::I64, &shape, &|_| Scalar::Int(7), &Suffixes::default(), &PrintOptions::DEFAULT);
    assert_eq!(printed, format!("tensor({}7{})", "[".repeat(300), "]".repeat(300)));
}

#[test]
fn options_can_be_global_or_written_in_a_format_string() {
    struct Third;
    impl std::fmt::Display for Third {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let third = |_: &[usize]| Scalar::Float(1.0 / 3.0);
            let options = PrintOptions::for_formatter(f);
            f.write_str(&tensor_repr_with(DType::F32, &Shape::scalar(), &third, &Suffixes::default(), &options))
        }
    }
    assert_eq!(Third.to_string(), "tensor(0.3333)");
    assert_eq!(format!("{Third:.7}"), "tensor(0.3333333)");
    // The only test that sets the global options: the others here pass theirs.
    let before = PrintOptions::set_global(PrintOptions::SHORT);
    assert_eq!(before, PrintOptions::DEFAULT);
    assert_eq!(Third.to_string(), "tensor(0.33)");
    assert_eq!(PrintOptions::set_global(before), PrintOptions::SHORT);
    assert_eq!(PrintOptions::global(), PrintOptions::DEFAULT);
}

#[test]
fn presets() {
    let shape = Shape::new([1100]).unwrap();
    let get = |index: &[usize]| Scalar::Float(index[0] as f64 + 0.125);
    let print = |options| tensor_repr_with(DType::F32, &shape, &get, &Suffixes::default(), &options);
    assert_eq!(print(PrintOptions::SHORT), "tensor([1.25e-01, 1.12e+00,  ..., 1.10e+03, 1.10e+03])");
    assert!(print(PrintOptions::DEFAULT).contains("..."));
    assert!(!print(PrintOptions::FULL).contains("..."));
    assert_eq!(print(PrintOptions::FULL).matches("e+").count(), 1099);
}
