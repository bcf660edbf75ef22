//! Compiled programs in files, for runtimes that keep none themselves.
//!
//! A file holds what the program was compiled from, word for word, then the binary. Runtimes trust binaries: given half of one
//! they may end the process. So a file whose lengths or checksum do not fit is as good as none. A cache that cannot be read or
//! written costs time and nothing else.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The beginning of every file, with the version of its form.
const MAGIC: &[u8; 8] = b"gradixC1";

/// A folder with compiled programs.
#[derive(Debug)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// The folder that `GRADIX_OPENCL_CACHE` names, or nothing if it is `off`. Without that variable, the user's folder for
    /// caches; but nothing for a runtime that has a cache of its own.
    pub(crate) fn of_runtime(version: &str) -> Option<Self> {
        match std::env::var_os("GRADIX_OPENCL_CACHE") {
            Some(given) if given == "off" || given.is_empty() => None,
            Some(given) => Some(Self(given.into())),
            // PoCL and NVIDIA keep what they compiled.
            None if ["PoCL", "pocl", "CUDA"].iter().any(|own| version.contains(own)) => None,
            None => user_folder().map(|folder| Self(folder.join("gradix").join("opencl"))),
        }
    }

    /// The binary that was compiled from exactly this text.
    pub(crate) fn get(&self, text: &str) -> Option<Vec<u8>> {
        let file = std::fs::read(self.path(text)).ok()?;
        let rest = file.strip_prefix(MAGIC)?;
        let (header, rest) = rest.split_at_checked(24)?;
        let number = |place: usize| u64::from_le_bytes(header[8 * place..][..8].try_into().expect("eight bytes"));
        let (text_length, length, checksum) = (number(0), number(1), number(2));
        let (held_text, binary) = rest.split_at_checked(usize::try_from(text_length).ok()?)?;
        let is_whole = binary.len() as u64 == length && hash(rest) == checksum && held_text == text.as_bytes();
        is_whole.then(|| binary.to_vec())
    }

    /// Keeps a binary. Whoever reads at the same time finds a whole file or none.
    pub(crate) fn put(&self, text: &str, binary: &[u8]) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut rest = text.as_bytes().to_vec();
        rest.extend_from_slice(binary);
        let mut file = MAGIC.to_vec();
        for number in [text.len() as u64, binary.len() as u64, hash(&rest)] {
            file.extend_from_slice(&number.to_le_bytes());
        }
        file.extend_from_slice(&rest);
        let path = self.path(text);
        let unique = format!("{}-{}.part", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let part = path.with_extension(unique);
        let written = std::fs::create_dir_all(&self.0)
            .and_then(|()| std::fs::write(&part, file))
            .and_then(|()| std::fs::rename(&part, &path));
        if written.is_err() {
            // It may not even be there; and a cache that cannot be written is no failure.
            drop(std::fs::remove_file(&part));
        }
    }

    fn path(&self, text: &str) -> PathBuf {
        self.0.join(format!("{:016x}.bin", hash(text.as_bytes())))
    }
}

fn user_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        return variable("LOCALAPPDATA");
    }
    variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(Path::new(".cache"))))
}

/// FNV-1a in 64 bits (Fowler, Noll, Vo): the same in every version of every program, and enough against accidents.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Cache {
        Cache(std::env::temp_dir().join(format!("gradix-opencl-cache-{}-{name}", std::process::id())))
    }

    #[test]
    fn what_was_put_is_got() {
        let cache = scratch("whole");
        assert_eq!(cache.get("source"), None);
        cache.put("source", b"binary");
        assert_eq!(cache.get("source").as_deref(), Some(&b"binary"[..]));
        assert_eq!(cache.get("source2"), None);
        cache.put("source", b"another");
        assert_eq!(cache.get("source").as_deref(), Some(&b"another"[..]));
        assert_eq!(std::fs::read_dir(&cache.0).unwrap().count(), 1, "nothing is left beside the file");
        std::fs::remove_dir_all(cache.0).unwrap();
    }

    #[test]
    fn damaged_files_count_as_none() {
        let cache = scratch("damaged");
        cache.put("source", b"some binary");
        let path = cache.path("source");
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(cache.get("source"), None, "the first {length} bytes");
        }
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            assert_eq!(cache.get("source"), None, "byte {place}");
        }
        // A file of another text under this one's name.
        std::fs::rename(&path, cache.path("other")).unwrap();
        std::fs::write(cache.path("other"), &whole).unwrap();
        assert_eq!(cache.get("other"), None);
        std::fs::remove_dir_all(cache.0).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_failure() {
        let file = scratch("file");
        std::fs::write(&file.0, "a file").unwrap();
        let cache = Cache(file.0.join("folder"));
        cache.put("source", b"binary");
        assert_eq!(cache.get("source"), None);
        std::fs::remove_file(file.0).unwrap();
    }
}
