//! Files made to do harm: whatever the bytes, reading neither panics nor takes memory for data that is not there.

use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use tensor_core::npy::{HostArray, read_npy, write_npy};
use tensor_core::npz::{Compression, Npz, write_npz};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What no test here may exceed, all at once: far below what the files ask for, far above what their bytes need.
fn check_memory() {
    let peak = MEMORY.peak_usage_as_mb();
    assert!(peak < 64.0, "{peak} MB were taken");
}

fn try_npy(file: &[u8]) {
    // Whether it can be read does not matter here, only that this returns.
    let _ = read_npy(&mut &file[..]).map(|array| assert!(array.bytes().len() <= 4 * file.len()));
    check_memory();
}

fn try_npz(file: &[u8]) {
    if let Ok(archive) = Npz::from_bytes(file) {
        for name in archive.names() {
            let _ = archive.read(name);
        }
    }
    check_memory();
}

fn npy_file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length = header.len() as u32;
    let length = &length.to_le_bytes()[..if version == 1 { 2 } else { 4 }];
    [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), data].concat()
}

fn npz_file(compression: Compression) -> Vec<u8> {
    let ramp: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let one = HostArray::from_elements([10, 10], &ramp).unwrap();
    let two = HostArray::from_elements([1000], &[0u8; 1000]).unwrap();
    let mut file = Vec::new();
    write_npz(&mut file, [("one", &one), ("two", &two)], compression).unwrap();
    file
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: if cfg!(miri) { 4 } else { count }, failure_persistence: None, ..Default::default() }
}

/// Pieces that headers are made of, and some that they are not.
fn tokens() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        ":",
        "'",
        "\"",
        " ",
        "\n",
        "\\",
        "'descr'",
        "'shape'",
        "'fortran_order'",
        "True",
        "False",
        "None",
        "'<f8'",
        "'>u8'",
        "'|b1'",
        "'<c16'",
        "'|O'",
        "1",
        "0",
        "-1",
        "1e9",
        "999999999999",
        "3L",
        "\0",
        "é",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        try_npy(&bytes);
        try_npy(&[b"\x93NUMPY\x01\x00", &bytes[..]].concat());
        try_npz(&bytes);
    }

    #[test]
    fn random_headers(version in 1u8..4, header in tokens(), data in prop::collection::vec(any::<u8>(), 0..64)) {
        try_npy(&npy_file(version, &header, &data));
    }

    #[test]
    fn random_sizes(
        version in 1u8..4,
        dims in prop::collection::vec(prop_oneof![0usize..4, any::<usize>(), Just(1usize << 20), Just(1usize << 31)], 0..5),
        code in prop::sample::select(vec!["<f8", ">f4", "|u1", "<u2", ">u8", "|b1", "<f2"]),
        fortran in prop::sample::select(vec!["True", "False"]),
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let tuple: String = dims.iter().map(|size| format!("{size},")).collect();
        let header = format!("{{'descr': '{code}', 'fortran_order': {fortran}, 'shape': ({tuple})}}");
        try_npy(&npy_file(version, &header, &data));
    }

    #[test]
    fn mutated_files(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut npy = Vec::new();
        write_npy(&mut npy, &HostArray::from_elements([5, 3], &[1.5f32; 15]).unwrap()).unwrap();
        for (whole, attempt) in [
            (npy, try_npy as fn(&[u8])),
            (npz_file(Compression::Stored), try_npz),
            (npz_file(Compression::Deflated), try_npz),
        ] {
            let mut file = whole;
            for (at, byte) in &changes {
                let at = at.index(file.len());
                file[at] = *byte;
            }
            if let Some(cut) = cut {
                file.truncate(cut.index(file.len()));
            }
            attempt(&file);
        }
    }

    /// The directory and its tail decide where things are: extreme values in every field of them.
    #[test]
    fn mutated_directories(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1usize..9, prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xfe, 0xff])), 1..4),
        compression in prop::sample::select(vec![Compression::Stored, Compression::Deflated]),
    ) {
        let mut file = npz_file(compression);
        let start = file.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        for (at, count, byte) in changes {
            let at = start + at.index(file.len() - start);
            let end = (at + count).min(file.len());
            file[at..end].fill(byte);
        }
        try_npz(&file);
    }
}

#[test]
fn the_largest_promises() {
    for dims in
        ["(1152921504606846975,)", "(1000000000, 1000000000)", "(4611686018427387904, 0)", "(0, 4611686018427387904)"]
    {
        for code in ["<f8", ">u2", "|b1"] {
            for order in ["True", "False"] {
                let header = format!("{{'descr': '{code}', 'fortran_order': {order}, 'shape': {dims}}}");
                try_npy(&npy_file(1, &header, &[0; 100]));
            }
        }
    }
    try_npy(&npy_file(2, &"(".repeat(65_535), &[]));
    try_npy(&[&b"\x93NUMPY\x03\x00\xff\xff\xff\x7f"[..], &[b' '; 1000]].concat());
}

#[test]
fn a_bomb_costs_what_its_header_says() {
    use rawzip::{CompressionMethod, ZipArchiveWriter};
    use std::io::Write as _;
    let mut file = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut file);
    let (mut entry, config) = archive.new_file("a.npy").compression_method(CompressionMethod::DEFLATE).start().unwrap();
    let mut data = config.wrap(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast()));
    data.write_all(&npy_file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", &[])).unwrap();
    // 200 MB of zeros, of which only 16 bytes are the array's.
    for _ in 0..200 {
        data.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let (encoder, descriptor) = data.finish().unwrap();
    encoder.finish().unwrap();
    entry.finish(descriptor).unwrap();
    archive.finish().unwrap();
    try_npz(&file);
    // The same with a directory that says so, too: offset 24 of its record is the size after inflating.
    let at = file.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap() + 24;
    file[at..at + 4].copy_from_slice(&(10 + 55 + 16u32).to_le_bytes());
    try_npz(&file);
    assert!(Npz::from_bytes(file).unwrap().read("a").unwrap_err().to_string().contains("more data than"));
}
