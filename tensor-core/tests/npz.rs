//! `.npz` files: what numpy wrote, round trips, and archives that lie.

use flate2::write::DeflateEncoder;
use proptest::prelude::*;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::io::Write;
use std::path::Path;
use tensor_core::npy::{HostArray, read_npy, write_npy};
use tensor_core::npz::{Compression, Npz, load_npz, save_npz, write_npz};
use tensor_core::{About, Error, ErrorKind, bf16};

const BOTH: [Compression; 2] = [Compression::Stored, Compression::Deflated];

fn written(arrays: &[(&str, &HostArray)], compression: Compression) -> Vec<u8> {
    let mut file = Vec::new();
    write_npz(&mut file, arrays.iter().copied(), compression).unwrap();
    file
}

fn read_all(file: &[u8]) -> Result<Vec<(String, HostArray)>, Error> {
    Npz::from_bytes(file)?.read_all()
}

fn refusal(file: &[u8]) -> String {
    let error = read_all(file).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Format { .. }), "{error:?}");
    error.to_string()
}

/// An archive of one deflated or stored member with any content.
fn archive_of(name: &str, content: &[u8], method: CompressionMethod) -> Vec<u8> {
    let mut file = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut file);
    let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
    let descriptor = if method == CompressionMethod::DEFLATE {
        let mut data = config.wrap(DeflateEncoder::new(&mut entry, flate2::Compression::fast()));
        data.write_all(content).unwrap();
        let (encoder, descriptor) = data.finish().unwrap();
        encoder.finish().unwrap();
        descriptor
    } else {
        let mut data = config.wrap(&mut entry);
        data.write_all(content).unwrap();
        data.finish().unwrap().1
    };
    entry.finish(descriptor).unwrap();
    archive.finish().unwrap();
    file
}

fn npy(array: &HostArray) -> Vec<u8> {
    let mut file = Vec::new();
    write_npy(&mut file, array).unwrap();
    file
}

/// Where the directory's `index`th record begins.
fn record(file: &[u8], index: usize) -> usize {
    let starts = |at: &usize| file[*at..].starts_with(b"PK\x01\x02");
    (0..file.len()).filter(starts).nth(index).expect("a record")
}

/// Offsets of fields in a record of the directory.
const FLAGS: usize = 8;
const METHOD: usize = 10;
const CRC: usize = 16;
const COMPRESSED: usize = 20;
const UNCOMPRESSED: usize = 24;
const OFFSET: usize = 42;

fn with_u32(file: &[u8], at: usize, value: u32) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
    file
}

fn with_u16(file: &[u8], at: usize, value: u16) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    file
}

#[test]
fn reads_what_numpy_writes() {
    let mut stream = &include_bytes!("fixtures/npy/good.npy")[..];
    let mut expected = Vec::new();
    for line in include_str!("fixtures/npy/good.txt").lines().take(40) {
        let dtype = line.split(' ').next().unwrap();
        let folder = if expected.len() % 3 == 0 { "layer/" } else { "" };
        expected.push((format!("{folder}{dtype}:{}", expected.len()), read_npy(&mut stream).unwrap()));
    }
    expected.push(("größe".to_owned(), HostArray::from_elements([3], &[0i64, 1, 2]).unwrap()));
    assert_eq!(read_all(include_bytes!("fixtures/npy/good.npz")).unwrap(), expected);
    assert_eq!(read_all(include_bytes!("fixtures/npy/good_compressed.npz")).unwrap(), expected);

    // and such names can be written
    let arrays: Vec<(&str, &HostArray)> = expected.iter().map(|(name, array)| (name.as_str(), array)).collect();
    for compression in BOTH {
        assert_eq!(read_all(&written(&arrays, compression)).unwrap(), expected);
    }
}

#[test]
fn refuses_by_name_what_numpy_can_hold_and_tensors_cannot() {
    let archive = Npz::from_bytes(*include_bytes!("fixtures/npy/refused.npz")).unwrap();
    assert_eq!(archive.names().len(), 10);
    for name in archive.names() {
        let error = archive.read(name).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Format { .. }));
        let sentence = error.to_string();
        let (source, reason) = sentence.split_once(&format!("{name:?}: ")).expect("the array's name");
        assert_eq!(source, "npz data, array ");
        assert!(reason.contains(name), "{name}: {reason}");
    }
}

#[test]
fn one_array_can_be_read_by_name() {
    let one = HostArray::from_elements([2], &[1f32, 2.0]).unwrap();
    let two = HostArray::from_elements([0, 3], &[0u8; 0]).unwrap();
    let archive = Npz::from_bytes(written(&[("one", &one), ("a/two", &two)], Compression::Deflated)).unwrap();
    assert_eq!(archive.read("a/two").unwrap(), two);
    assert_eq!(archive.read("one").unwrap(), one);
    let error = archive.read("three").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Misuse { about: About::Value, .. }));
    assert_eq!(error.to_string(), "Npz::read: expected a name among [\"one\", \"a/two\"], got \"three\"");
    assert_eq!(format!("{archive:?}"), "Npz { names: [\"one\", \"a/two\"], .. }");
    assert_eq!(Npz::from_bytes(written(&[], Compression::Stored)).unwrap().names().len(), 0);
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let array = HostArray::from_elements([1], &[1f32]).unwrap();
    let mut file = Vec::new();
    for name in ["", "/etc/passwd", "a//b", "../up", "a/../b", "back\\slash", "a/", "nul\0", "ö:ä"] {
        let error = write_npz(&mut file, [(name, &array)], Compression::Stored).unwrap_err();
        assert_eq!(error.to_string(), format!("write_npz: expected a relative path as name, got {name:?}"));
    }
    let error = write_npz(&mut file, [("a", &array), ("a", &array)], Compression::Stored).unwrap_err();
    assert_eq!(error.to_string(), "write_npz: expected each name once, got \"a\" twice");
    let brain = HostArray::from_elements([1], &[bf16::ONE]).unwrap();
    let error = write_npz(&mut file, [("a", &array), ("b", &brain)], Compression::Stored).unwrap_err();
    assert!(error.to_string().starts_with("write_npz: expected a dtype that numpy has, got bf16"), "{error}");
    assert!(file.is_empty());
}

#[test]
fn what_is_no_archive_is_refused() {
    let tail = "not a .npz file: it has no zip archive's end; it may be truncated";
    assert_eq!(refusal(b""), format!("npz data: {tail}"));
    assert_eq!(refusal(&[7; 5000]), format!("npz data: {tail}"));
    let array = HostArray::from_elements([1], &[1f32]).unwrap();
    assert_eq!(refusal(&npy(&array)), format!("npz data: {tail}"));
    let text = archive_of("readme.txt", b"hello", CompressionMethod::STORE);
    assert_eq!(refusal(&text), "npz data, array \"readme.txt\": not an array: its name does not end in .npy");
    let text = archive_of("readme.npy", b"hello, reader", CompressionMethod::STORE);
    assert!(refusal(&text).starts_with("npz data, array \"readme\": not a .npy file: it begins with \"hello,\""));
    for compression in BOTH {
        let whole = written(&[("a", &array), ("b", &array)], compression);
        for length in 0..whole.len() {
            assert!(read_all(&whole[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let array = HostArray::from_elements([4], &[1f32, 2.0, 3.0, 4.0]).unwrap();
    let stored = written(&[("a", &array)], Compression::Stored);
    let at = record(&stored, 0);
    assert_eq!(refusal(&with_u16(&stored, at + FLAGS, 1)), "npz data, array \"a\": it is encrypted");
    assert_eq!(
        refusal(&with_u16(&stored, at + METHOD, 12)),
        "npz data, array \"a\": it is compressed by method 12 (BZIP2); stored and deflated can be read"
    );
    let sentence = refusal(&with_u32(&stored, at + CRC, 0xdead_beef));
    assert!(sentence.ends_with(", but the archive says deadbeef"), "{sentence}");
    assert_eq!(
        refusal(&with_u32(&stored, at + UNCOMPRESSED, 1 << 30)),
        "npz data, array \"a\": it is stored as 144 bytes, but claims 1073741824"
    );
    let sentence = refusal(&with_u32(&stored, at + COMPRESSED, 1 << 30));
    assert!(sentence.starts_with("npz data, array \"a\": it claims 1073741824 bytes of a file of "), "{sentence}");
    let short = with_u32(&with_u32(&stored, at + COMPRESSED, 143), at + UNCOMPRESSED, 143);
    assert_eq!(
        refusal(&short),
        "npz data, array \"a\": the header promises 16 bytes of data for shape [4], but 15 follow it"
    );
    let long = with_u32(&with_u32(&stored, at + COMPRESSED, 200), at + UNCOMPRESSED, 200);
    assert_eq!(refusal(&long), "npz data: the array \"a\" runs into the archive's directory");
    assert!(refusal(&with_u32(&stored, at + OFFSET, 7)).starts_with("npz data, array \"a\": damaged: "));
    assert!(refusal(&with_u32(&stored, at + OFFSET, u32::MAX - 1)).starts_with("npz data, array \"a\": damaged: "));
    let mut data = stored.clone();
    data[at - 20] ^= 1;
    assert!(refusal(&data).starts_with("npz data, array \"a\": "));
}

#[test]
fn members_that_share_bytes_are_refused() {
    let array = HostArray::from_elements([4], &[1f32, 2.0, 3.0, 4.0]).unwrap();
    let file = written(&[("a", &array), ("b", &array)], Compression::Stored);
    let both = with_u32(&file, record(&file, 1) + OFFSET, 0);
    assert_eq!(refusal(&both), "npz data: the arrays \"a\" and \"b\" share bytes");
    let mut twice = file.clone();
    let at = record(&file, 1) + 46;
    assert_eq!(twice[at], b'b');
    twice[at] = b'a';
    assert_eq!(refusal(&twice), "npz data, array \"a\": there are two of this name");
}

#[test]
fn bombs_do_not_go_off() {
    // What these inflate to would show in the peak of tests/npy_hostile.rs, which does the like; here are the sentences.
    let array = HostArray::from_elements([4], &[1f32, 2.0, 3.0, 4.0]).unwrap();
    let mut content = npy(&array);
    content.resize(20 << 20, 0);
    let bomb = archive_of("a.npy", &content, CompressionMethod::DEFLATE);
    assert_eq!(
        refusal(&bomb),
        "npz data, array \"a\": the header promises 16 bytes of data for shape [4], but 20971392 follow it"
    );
    let at = record(&bomb, 0);
    assert_eq!(
        refusal(&with_u32(&bomb, at + UNCOMPRESSED, 144)),
        "npz data, array \"a\": there is more data than the archive's directory says"
    );
    let sentence = refusal(&with_u32(&bomb, at + UNCOMPRESSED, u32::MAX - 1));
    assert!(
        sentence.contains("it claims 4294967294 bytes, which ") && sentence.ends_with(" deflated ones cannot hold")
    );

    // An honest archive of zeros, read under a limit and without.
    let zeros = HostArray::from_elements([1 << 20], &vec![0u8; 1 << 20]).unwrap();
    let file = written(&[("small", &array), ("zeros", &zeros)], Compression::Deflated);
    assert!(file.len() < 10_000);
    let archive = Npz::from_bytes(file).unwrap().limit(1 << 20);
    assert_eq!(archive.read("small").unwrap(), array);
    assert_eq!(
        archive.read("zeros").unwrap_err().to_string(),
        "npz data, array \"zeros\": it takes 1048704 bytes, above the limit of 1048576"
    );
    assert_eq!(archive.limit(2 << 20).read("zeros").unwrap(), zeros);
}

#[test]
fn a_flipped_byte_never_changes_data_silently() {
    let one = HostArray::from_elements([3], &[1i16, 2, 3]).unwrap();
    let two = HostArray::from_elements([2, 2], &[0.5f64; 4]).unwrap();
    let step = if cfg!(miri) { 97 } else { 1 };
    for compression in BOTH {
        let whole = written(&[("one", &one), ("two", &two)], compression);
        let (mut refused, mut read) = (0, 0);
        for at in (0..whole.len()).step_by(step) {
            for change in [0x01, 0x80, 0xff] {
                let mut file = whole.clone();
                file[at] ^= change;
                match read_all(&file) {
                    Ok(arrays) => {
                        read += 1;
                        let arrays: Vec<HostArray> = arrays.into_iter().map(|(_, array)| array).collect();
                        assert_eq!(arrays, [one.clone(), two.clone()], "byte {at} with {change:x}");
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        // Times, attributes and the local copies of sizes may be anything.
        assert!(refused > read, "{refused} {read}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "no file system")]
fn files() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npz");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("arrays.npz");
    let one = HostArray::from_elements([3], &[1i16, 2, 3]).unwrap();
    let large: Vec<f32> = (0..300_000).map(|i| (i % 1000) as f32).collect();
    let large = HostArray::from_elements([300, 1000], &large).unwrap();
    for compression in BOTH {
        save_npz(&path, [("one", &one), ("large", &large)], compression).unwrap();
        let read = load_npz(&path).unwrap();
        assert_eq!(read, [("one".to_owned(), one.clone()), ("large".to_owned(), large.clone())]);
    }
    let brain = HostArray::from_elements([1], &[bf16::ONE]).unwrap();
    assert!(save_npz(&path, [("b", &brain)], Compression::Stored).is_err());
    assert_eq!(Npz::open(&path).unwrap().read("one").unwrap(), one);

    let missing = directory.join("missing.npz");
    let error = load_npz(&missing).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }));
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    // a folder can be opened, but not read
    assert!(load_npz(&directory).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 64 }, failure_persistence: None, ..Default::default() })]

    #[test]
    fn round_trips(lists in prop::collection::btree_map("[a-z0-9_.:]{1,8}x", prop::collection::vec(any::<i32>(), 0..200), 0..5)) {
        let arrays: Vec<(String, HostArray)> = lists
            .into_iter()
            .map(|(name, list)| (name, HostArray::from_elements([list.len()], &list).unwrap()))
            .collect();
        let named: Vec<(&str, &HostArray)> = arrays.iter().map(|(name, array)| (name.as_str(), array)).collect();
        for compression in BOTH {
            prop_assert_eq!(&read_all(&written(&named, compression)).unwrap(), &arrays);
        }
    }
}
