//! Compiled kernels on disk, so that the next process need not compile them again.
//!
//! A file's name is a hash of everything the image depends on. Its content says how long the image is and what it hashes to:
//! a file that was cut off or changed is not used, and is written anew. Whatever goes wrong here costs time only, so nothing
//! here is an error.

use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"gradix\x00\x01";

/// FNV-1a with 128 bits (Fowler, Noll, Vo): the same on every machine, and wide enough that no two kernels meet.
pub(crate) fn hash(parts: &[&[u8]]) -> u128 {
    const PRIME: u128 = (1 << 88) + 0x13b;
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for part in parts {
        // Lengths keep parts apart.
        for &byte in (part.len() as u64).to_le_bytes().iter().chain(*part) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

/// A folder of images, or none.
#[derive(Clone, Debug)]
pub(crate) struct Cache(Option<PathBuf>);

impl Cache {
    /// The user's: `$GRADIX_CUDA_CACHE` (none if that is empty), else `gradix/cuda` in the system's folder for caches.
    pub(crate) fn of_user() -> Self {
        if let Some(folder) = std::env::var_os("GRADIX_CUDA_CACHE") {
            return Self((!folder.is_empty()).then(|| folder.into()));
        }
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = if cfg!(windows) {
            folder("LOCALAPPDATA")
        } else {
            folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
        };
        Self(base.map(|base| base.join("gradix").join("cuda")))
    }

    #[cfg(test)]
    fn at(folder: &Path) -> Self {
        Self(Some(folder.to_path_buf()))
    }

    fn path(&self, key: u128) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(format!("{key:032x}")))
    }

    /// The image of this key, if a whole one is there.
    pub(crate) fn get(&self, key: u128) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.path(key)?).ok()?;
        let (magic, rest) = bytes.split_at_checked(8)?;
        let (length, rest) = rest.split_at_checked(8)?;
        let (sum, image) = rest.split_at_checked(16)?;
        let whole = magic == MAGIC
            && length == (image.len() as u64).to_le_bytes()
            && sum == hash(&[&key.to_le_bytes(), image]).to_le_bytes();
        whole.then(|| image.to_vec())
    }

    /// Keeps an image. Other processes see the whole file or none.
    pub(crate) fn put(&self, key: u128, image: &[u8]) {
        if let Some(path) = self.path(key) {
            let _ = write(&path, key, image);
        }
    }
}

fn write(path: &Path, key: u128, image: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend((image.len() as u64).to_le_bytes());
    bytes.extend(hash(&[&key.to_le_bytes(), image]).to_le_bytes());
    bytes.extend(image);
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    let held = path.with_extension(format!("{}-{number}", std::process::id()));
    std::fs::write(&held, &bytes)?;
    std::fs::rename(&held, path).inspect_err(|_failed| {
        let _ = std::fs::remove_file(&held);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_images_come_back_and_damaged_ones_do_not() {
        let folder = std::env::temp_dir().join(format!("gradix-cuda-cache-{}", std::process::id()));
        let cache = Cache::at(&folder);
        assert_eq!(cache.get(7), None);
        cache.put(7, b"image");
        assert_eq!(cache.get(7).as_deref(), Some(&b"image"[..]));
        assert_eq!(cache.get(8), None);
        let path = cache.path(7).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], &[]] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(cache.get(7), None);
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 4;
            std::fs::write(&path, &changed).unwrap();
            assert_eq!(cache.get(7), None, "byte {place} was changed");
        }
        // Another key's image under this name.
        cache.put(8, b"other");
        std::fs::copy(cache.path(8).unwrap(), &path).unwrap();
        assert_eq!(cache.get(7), None);
        cache.put(7, b"again");
        assert_eq!(cache.get(7).as_deref(), Some(&b"again"[..]));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(Cache(None).get(7), None);
    }

    #[test]
    fn hashes_are_the_published_ones() {
        // FNV-1a of nothing is its offset basis; parts of no bytes add eight zero bytes each.
        assert_eq!(hash(&[]), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }
}
