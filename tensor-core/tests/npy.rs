//! `.npy` files: what numpy wrote, round trips, and what is refused.

use proptest::prelude::*;
use std::path::Path;
use tensor_core::npy::{HostArray, load_npy, read_npy, save_npy, write_npy};
use tensor_core::{About, DType, Error, ErrorKind, Scalar, Shape, bf16};

fn written(array: &HostArray) -> Vec<u8> {
    let mut file = Vec::new();
    write_npy(&mut file, array).unwrap();
    file
}

fn read(file: &[u8]) -> Result<HostArray, Error> {
    read_npy(&mut &file[..])
}

/// A file of version 1.0.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

/// The sentence of a format error.
fn refusal(file: &[u8]) -> String {
    let error = read(file).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Format { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn reads_and_writes_what_numpy_writes() {
    let stream = include_bytes!("fixtures/npy/good.npy");
    let mut rest = &stream[..];
    let (mut same, mut converted) = (0, 0);
    for line in include_str!("fixtures/npy/good.txt").lines() {
        let before = rest;
        let array = read_npy(&mut rest).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some(array.dtype().name()), "{line}");
        let dims: Vec<String> = array.shape().dims().iter().map(usize::to_string).collect();
        assert_eq!(words.next(), Some(&*format!("[{}]", dims.join(","))), "{line}");
        let kind = words.next();
        let size = array.dtype().size();
        assert_eq!(words.clone().count(), array.shape().numel(), "{line}");
        for (bytes, word) in array.bytes().chunks_exact(size).zip(words) {
            let expected = match array.dtype() {
                DType::Bool => Scalar::Bool(word.parse().unwrap()),
                dtype if dtype.is_int() => Scalar::Int(word.parse().unwrap()),
                _ => Scalar::Float(word.parse().unwrap()),
            };
            // Debug tells -0.0 from 0.0 and finds NaN equal to NaN.
            let read = Scalar::read(array.dtype(), bytes);
            assert_eq!(format!("{read:?}"), format!("{expected:?}"), "{line}");
        }
        if kind == Some("same") && cfg!(target_endian = "little") {
            assert_eq!(written(&array), before[..before.len() - rest.len()], "{line}");
            same += 1;
        } else {
            assert_eq!(read(&written(&array)).unwrap(), array, "{line}");
            converted += 1;
        }
    }
    assert!(rest.is_empty());
    assert!(same > 90 && converted > 120, "{same} {converted}");
}

#[test]
fn host_arrays_hold_together() {
    let array = HostArray::from_elements([2, 2], &[true, false, false, true]).unwrap();
    assert_eq!(array.bytes(), [1, 0, 0, 1]);
    assert_eq!(array.to_vec::<bool>().unwrap(), [true, false, false, true]);
    let error = array.to_vec::<f32>().unwrap_err();
    assert_eq!(error.to_string(), "HostArray::to_vec: expected elements of bool, got f32");
    let error = HostArray::from_elements([3], &[1i32]).unwrap_err();
    assert_eq!(error.to_string(), "HostArray::from_elements: expected 3 elements for shape [3], got 1 elements");
    let error = HostArray::new(DType::F64, Shape::new([2]).unwrap(), vec![0; 15]).unwrap_err();
    assert_eq!(error.to_string(), "HostArray::new: expected 16 bytes for f64 of shape [2], got 15 bytes");
    let array = HostArray::new(DType::Bool, Shape::new([3]).unwrap(), vec![0, 7, 255]).unwrap();
    assert_eq!(array.bytes(), [0, 1, 1]);
}

#[test]
fn misuse_is_refused_with_a_way_out() {
    let array = HostArray::from_elements([1], &[bf16::ONE]).unwrap();
    let error = write_npy(&mut Vec::new(), &array).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Misuse { about: About::DType, .. }));
    assert_eq!(
        error.to_string(),
        "write_npy: expected a dtype that numpy has, got bf16; hint: cast to f32, which holds every bf16 exactly"
    );
    let array = HostArray::from_elements(vec![1; 65], &[1f32]).unwrap();
    let error = write_npy(&mut Vec::new(), &array).unwrap_err();
    assert_eq!(error.to_string(), "write_npy: expected at most 64 axes, as numpy, got 65 axes");
    let array = HostArray::from_elements(vec![1; 64], &[1f32]).unwrap();
    assert_eq!(read(&written(&array)).unwrap(), array);
}

#[test]
fn what_is_no_npy_file_is_refused() {
    assert_eq!(refusal(b""), "npy data: not a .npy file: it ends within its header");
    assert_eq!(refusal(b"\x93NUMPY\x01"), "npy data: not a .npy file: it ends within its header");
    assert_eq!(refusal(b"hello, world"), "npy data: not a .npy file: it begins with \"hello,\", not \"\\x93NUMPY\"");
    assert!(refusal(b"PK\x03\x04....").ends_with("; it looks like a zip archive, which .npz files are"));
    assert_eq!(
        refusal(b"\x93NUMPY\x09\x01aaaa"),
        "npy data: version 9.1 of the format is unknown; 1.0, 2.0 and 3.0 can be read"
    );
    assert_eq!(
        refusal(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
        "npy data: its header claims 4294967295 bytes; at most 65535 are read"
    );
    assert_eq!(refusal(b"\x93NUMPY\x01\x00\xff\xff{"), "npy data: not a .npy file: it ends within its header");
    assert_eq!(refusal(b"\x93NUMPY\x03\x00\x02\x00\x00\x00\xff\xfe"), "npy data: its header is not UTF-8");
    assert_eq!(refusal(b"\x93NUMPY\x01\x00\x02\x00\xff\xfe"), "npy data: the header has \"ÿþ\" where '{' should stand");
    assert_eq!(
        refusal(&file("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", &[0; 8])),
        "npy data: its dtype is \"<c8\", but complex numbers have no dtype here: save the real and the imaginary part"
    );
}

#[test]
fn truncated_and_huge_files_are_refused() {
    let whole = written(&HostArray::from_elements([2, 3], &[1.5f64; 6]).unwrap());
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
    assert_eq!(
        refusal(&whole[..whole.len() - 1]),
        "npy data: the header promises 48 bytes of data for shape [2, 3], but the file ends after 47"
    );
    assert_eq!(
        refusal(&file("{'descr': '<f8', 'fortran_order': True, 'shape': (1000000, 1000000)}", &[0; 64])),
        "npy data: the header promises 8000000000000 bytes of data for shape [1000000, 1000000], but the file ends after 64"
    );
    assert_eq!(
        refusal(&file("{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", &[])),
        "npy data: the number of elements of shape [4294967296, 4294967296] overflows"
    );
    assert_eq!(
        refusal(&file("{'descr': '<u8', 'fortran_order': False, 'shape': (1,)}", &[255; 8])),
        "npy data: its dtype is uint64, and the value 18446744073709551615 does not fit an i64"
    );
}

#[test]
#[cfg_attr(miri, ignore = "no file system")]
fn files() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npy");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("array.npy");
    let array = HostArray::from_elements([2, 2], &[1i16, -2, 3, -4]).unwrap();
    save_npy(&path, &array).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), written(&array));
    assert_eq!(load_npy(&path).unwrap(), array);

    // What cannot be written leaves the old file alone.
    let unwritable = HostArray::from_elements([1], &[bf16::ONE]).unwrap();
    assert!(save_npy(&path, &unwritable).unwrap_err().to_string().starts_with("save_npy: expected a dtype"));
    assert_eq!(load_npy(&path).unwrap(), array);

    for (change, there) in [(-1, 7), (3, 11)] {
        let mut bytes = written(&array);
        bytes.resize(bytes.len().strict_add_signed(change), 0);
        std::fs::write(&path, bytes).unwrap();
        let error = load_npy(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Format { .. }));
        assert_eq!(
            error.to_string(),
            format!("{}: the header promises 8 bytes of data for shape [2, 2], but {there} follow it", path.display())
        );
    }

    let missing = directory.join("missing.npy");
    let error = load_npy(&missing).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }));
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    let error = save_npy(missing.join("below.npy"), &array).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }));
}

fn arrays() -> impl Strategy<Value = HostArray> {
    let dtypes: Vec<DType> = DType::ALL.into_iter().filter(|dtype| *dtype != DType::BF16).collect();
    (prop::sample::select(dtypes), prop::collection::vec(0usize..5, 0..5)).prop_flat_map(|(dtype, dims)| {
        let shape = Shape::new(&dims).unwrap();
        let length = shape.numel() * dtype.size();
        prop::collection::vec(any::<u8>(), length)
            .prop_map(move |bytes| HostArray::new(dtype, shape.clone(), bytes).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence: None, ..Default::default() })]

    #[test]
    fn round_trips(array in arrays()) {
        let file = written(&array);
        prop_assert_eq!((file.len() - array.bytes().len()) % 64, 0);
        prop_assert_eq!(read(&file).unwrap(), array);
    }

    #[test]
    fn fortran_order_is_undone(dims in prop::collection::vec(1usize..5, 0..5)) {
        let shape = Shape::new(&dims).unwrap();
        // Element by its place in the file: the first axis runs fastest.
        let data: Vec<u8> = (0..shape.numel() as i32).flat_map(i32::to_le_bytes).collect();
        let tuple: String = dims.iter().map(|size| format!("{size},")).collect();
        let array = read(&file(&format!("{{'descr': '<i4', 'fortran_order': True, 'shape': ({tuple})}}"), &data)).unwrap();
        let strides: Vec<usize> = dims.iter().scan(1, |step, size| Some(std::mem::replace(step, *step * size))).collect();
        for (flat, element) in array.to_vec::<i32>().unwrap().into_iter().enumerate() {
            let mut rest = flat;
            let mut place = 0;
            for (size, stride) in dims.iter().zip(&strides).rev() {
                place += rest % size * stride;
                rest /= size;
            }
            prop_assert_eq!(element, place as i32);
        }
    }
}
