//! Device memory that is used again.
//!
//! A driver's allocation takes longer than most kernels. So what a buffer gives back is kept and handed out again; that is
//! safe at once, without waiting for the device: all work on a device runs in one stream, so whoever gets the memory next
//! submits work that comes after everything the last owner submitted.
//!
//! - Sizes are rounded up to classes, a quarter of a power of two apart.
//! - Small pieces are cut out of slabs, larger ones are allocations of their own.
//! - When the driver has no more, everything that is kept goes back to it, and it is asked once more.
//!
//! What a graph's work uses stays reserved for the graph: nobody else gets it before the graph is gone, even if the buffers
//! are. While a graph is recorded, what its own work gave back is handed out to its later work, which runs after it each time.
//!
//! With `GRADIX_CUDA_ALLOC=direct` every piece is an allocation of exactly the size asked for, and goes back at once: slow, and
//! what tools that watch memory need to see who writes beyond the end of what.

use crate::driver::{Gpu, Result};
use crate::plans::QuickMap;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pieces up to this size are cut out of slabs.
const SMALL: usize = 256 << 10;
/// The size of a slab, and the granularity of large pieces: the size of the driver's pages.
const SLAB: usize = 2 << 20;
/// Every address is a multiple of this.
const ALIGN: usize = 512;

/// How much memory a device's handle holds, in bytes, rounding included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// In live buffers, and reserved for graphs.
    pub in_use: usize,
    /// Kept for reuse.
    pub cached: usize,
    /// The most that was ever held at once, in use or cached.
    pub peak: usize,
}

/// Where a piece of memory lies, and the size of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) address: u64,
    pub(crate) size: usize,
}

/// A device's memory.
#[derive(Debug)]
pub(crate) struct Pool(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Free pieces of slabs, by class. Every small tensor comes from here, so looking one up must take no time.
    small: QuickMap<usize, Vec<u64>>,
    /// Slabs by address, with the class they are cut into.
    slabs: BTreeMap<u64, usize>,
    /// Free large pieces, by size.
    large: BTreeMap<usize, Vec<u64>>,
    /// What the driver gave, and how much of it is in buffers.
    held: usize,
    in_use: usize,
    peak: usize,
    limit: usize,
    /// Whether nothing is rounded or kept.
    direct: bool,
    /// What graphs use, by address.
    reserved: QuickMap<u64, Reservation>,
    /// Graphs that are being recorded.
    recordings: QuickMap<u64, Recorded>,
}

/// A piece that the work of graphs uses.
#[derive(Debug, Default)]
struct Reservation {
    graphs: SmallVec<[u64; 1]>,
    /// Its size, if no buffer has it any more.
    given_up: Option<usize>,
}

/// The memory of a graph that is being recorded.
#[derive(Debug, Default)]
struct Recorded {
    /// What was handed out for it: nothing else uses that.
    own: HashSet<u64>,
    /// Of these, what came back, by size.
    free: BTreeMap<usize, Vec<u64>>,
}

/// Takes a piece of this size, or of a little more, out of a list.
fn take_from(list: &mut BTreeMap<usize, Vec<u64>>, size: usize, most: usize) -> Option<Piece> {
    let (&found, addresses) = list.range_mut(size..=most).next()?;
    let address = addresses.pop()?;
    if addresses.is_empty() {
        list.remove(&found);
    }
    Some(Piece { address, size: found })
}

/// The class of a size: at most a quarter larger, or 2 MiB.
fn class(bytes: usize) -> usize {
    let step = match bytes {
        0..=2048 => ALIGN,
        _ if bytes >= 8 * SLAB => SLAB,
        _ => (1 << bytes.ilog2()) / 4,
    };
    bytes.max(1).next_multiple_of(step)
}

impl State {
    fn take(&mut self, size: usize) -> Option<Piece> {
        if size <= SMALL {
            let address = self.small.get_mut(&size)?.pop()?;
            return Some(Piece { address, size });
        }
        // A little more than needed is better than more memory.
        take_from(&mut self.large, size, size + size / 8)
    }

    /// Keeps a piece for reuse that nobody has; if it is not to be kept, says so.
    fn keep(&mut self, piece: Piece) -> bool {
        self.in_use -= piece.size;
        if piece.size <= SMALL && !self.direct {
            self.small.entry(piece.size).or_default().push(piece.address);
        } else if self.direct || self.held - self.in_use > self.limit {
            self.held -= piece.size;
            return false;
        } else {
            self.large.entry(piece.size).or_default().push(piece.address);
        }
        true
    }

    /// Takes back what a graph uses or was recorded with; whether it did.
    fn is_reserved(&mut self, piece: Piece, recording: Option<u64>) -> bool {
        let Some(reservation) = self.reserved.get_mut(&piece.address) else { return false };
        let recorded = recording.filter(|_| !self.direct).and_then(|graph| {
            let alone = reservation.graphs[..] == [graph];
            self.recordings.get_mut(&graph).filter(|recorded| alone && recorded.own.contains(&piece.address))
        });
        match recorded {
            // Each time the graph runs, whoever gets it next uses it after all that used it before.
            Some(recorded) => recorded.free.entry(piece.size).or_default().push(piece.address),
            None => reservation.given_up = Some(piece.size),
        }
        true
    }

    fn reserve(&mut self, graph: u64, address: u64) {
        let graphs = &mut self.reserved.entry(address).or_default().graphs;
        if !graphs.contains(&graph) {
            graphs.push(graph);
        }
    }

    fn grew(&mut self, bytes: usize) {
        self.held += bytes;
        self.peak = self.peak.max(self.held);
    }

    /// Takes out everything that can go back to the driver: large pieces, and slabs of which nothing is in use.
    fn drain(&mut self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (size, list) in std::mem::take(&mut self.large) {
            pieces.extend(list.into_iter().map(|address| Piece { address, size }));
        }
        let mut free: BTreeMap<u64, usize> = BTreeMap::new();
        for &address in self.small.values().flatten() {
            if let Some((&slab, _)) = self.slabs.range(..=address).next_back() {
                *free.entry(slab).or_default() += 1;
            }
        }
        let whole = |slab: &u64, class: &usize| free.get(slab) == Some(&(SLAB / class));
        let unused: Vec<u64> =
            self.slabs.iter().filter(|(slab, class)| whole(slab, class)).map(|(&slab, _)| slab).collect();
        for list in self.small.values_mut() {
            list.retain(|&address| {
                let slab = unused.partition_point(|&slab| slab <= address);
                slab == 0 || address - unused[slab - 1] >= SLAB as u64
            });
        }
        for slab in unused {
            self.slabs.remove(&slab);
            pieces.push(Piece { address: slab, size: SLAB });
        }
        self.held -= pieces.iter().map(|piece| piece.size).sum::<usize>();
        pieces
    }
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            small: QuickMap::default(),
            slabs: BTreeMap::new(),
            large: BTreeMap::new(),
            held: 0,
            in_use: 0,
            peak: 0,
            limit: usize::MAX,
            direct: std::env::var_os("GRADIX_CUDA_ALLOC").is_some_and(|value| value == "direct"),
            reserved: QuickMap::default(),
            recordings: QuickMap::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for `bytes` bytes, at least one.
    pub(crate) fn acquire(&self, bytes: usize, gpu: &Gpu) -> Result<Piece> {
        let mut state = self.lock();
        let size = if state.direct { bytes } else { class(bytes) };
        let recording = gpu.recording();
        let most = if size <= SMALL { size } else { size + size / 8 };
        if let Some(recorded) = recording.and_then(|graph| state.recordings.get_mut(&graph))
            && let Some(piece) = take_from(&mut recorded.free, size, most)
        {
            return Ok(piece);
        }
        let piece = match state.take(size) {
            Some(piece) => piece,
            None => {
                let cuts = size <= SMALL && !state.direct;
                let wanted = if cuts { SLAB } else { size };
                let address = match gpu.alloc(wanted) {
                    Err(code) if code.is_out_of_memory() => {
                        // What goes wrong meanwhile goes wrong in the second try, too.
                        let _ = give_back(&mut state, gpu);
                        gpu.alloc(wanted)?
                    }
                    other => other?,
                };
                state.grew(wanted);
                if cuts {
                    state.slabs.insert(address, size);
                    let others = (1..SLAB / size).rev().map(|number| address + (number * size) as u64);
                    state.small.entry(size).or_default().extend(others);
                }
                Piece { address, size }
            }
        };
        state.in_use += piece.size;
        if let Some(graph) = recording {
            state.reserve(graph, piece.address);
            state.recordings.entry(graph).or_default().own.insert(piece.address);
        }
        Ok(piece)
    }

    /// Takes a piece back that nobody uses any more. Work submitted before may still use it.
    pub(crate) fn release(&self, piece: Piece, gpu: &Gpu) {
        let mut state = self.lock();
        if (!state.reserved.is_empty() && state.is_reserved(piece, gpu.recording())) || state.keep(piece) {
            return;
        }
        drop(state);
        // SAFETY: the piece came from this device's `alloc`, its owner has given it up, and it is not handed out again. A driver
        // that fails here has failed for good, and the next call says so.
        let _ = unsafe { gpu.free(piece.address) };
    }

    /// Reserves pieces, by their addresses, for a graph that is being recorded: its work uses them.
    pub(crate) fn reserve(&self, graph: u64, addresses: impl IntoIterator<Item = u64>) {
        let mut state = self.lock();
        addresses.into_iter().for_each(|address| state.reserve(graph, address));
    }

    /// Ends the recording of a graph. What it reserved stays so.
    pub(crate) fn end_recording(&self, graph: u64) {
        let mut state = self.lock();
        let recorded = state.recordings.remove(&graph).unwrap_or_default();
        for (size, addresses) in recorded.free {
            for address in addresses {
                state.reserved.entry(address).or_default().given_up = Some(size);
            }
        }
    }

    /// Takes back what only this graph had still reserved. Its work must have been submitted for the last time.
    pub(crate) fn forget(&self, graph: u64, gpu: &Gpu) {
        let mut state = self.lock();
        let mut pieces = Vec::new();
        state.reserved.retain(|&address, reservation| {
            reservation.graphs.retain(|number| *number != graph);
            if let (true, Some(size)) = (reservation.graphs.is_empty(), reservation.given_up) {
                pieces.push(Piece { address, size });
            }
            !reservation.graphs.is_empty()
        });
        pieces.retain(|&piece| !state.keep(piece));
        drop(state);
        for piece in pieces {
            // SAFETY: the piece came from this device's `alloc`, its owner has given it up, no graph uses it any more, and it is
            // not handed out again. A driver that fails here has failed for good, and the next call says so.
            let _ = unsafe { gpu.free(piece.address) };
        }
    }

    /// Gives what is kept back to the driver.
    pub(crate) fn trim(&self, gpu: &Gpu) -> Result<()> {
        give_back(&mut self.lock(), gpu)
    }

    pub(crate) fn limit(&self) -> usize {
        self.lock().limit
    }

    pub(crate) fn set_limit(&self, bytes: usize, gpu: &Gpu) -> Result<()> {
        let mut state = self.lock();
        state.limit = bytes;
        if state.held - state.in_use > bytes { give_back(&mut state, gpu) } else { Ok(()) }
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats { in_use: state.in_use, cached: state.held - state.in_use, peak: state.peak }
    }
}

fn give_back(state: &mut State, gpu: &Gpu) -> Result<()> {
    let mut result = Ok(());
    for piece in state.drain() {
        // SAFETY: `drain` gives pieces that came from this device's `alloc` and that nobody has; they are in the pool no more.
        result = result.and(unsafe { gpu.free(piece.address) });
    }
    result.and(gpu.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_close_and_hold_what_is_asked() {
        let mut bytes = 1;
        while bytes < 1 << 40 {
            for asked in [bytes - 1, bytes, bytes + 1] {
                let size = class(asked);
                assert!(size >= asked && size.is_multiple_of(ALIGN), "{asked}: {size}");
                assert!(size <= asked + (asked / 4).max(ALIGN), "{asked}: {size}");
                assert_eq!(class(size), size, "{asked}");
            }
            bytes = bytes * 5 / 4 + 1;
        }
        assert_eq!((class(0), class(1), class(2049), class(SMALL)), (512, 512, 2560, SMALL));
    }

    #[test]
    fn only_slabs_of_which_nothing_is_used_go_back() {
        let mut state = State {
            small: QuickMap::default(),
            slabs: BTreeMap::from([(0x10_0000_0000, 1024), (0x10_0020_0000, 1024)]),
            large: BTreeMap::from([(4 << 20, vec![0x20_0000_0000])]),
            held: 2 * SLAB + (4 << 20),
            in_use: 1024,
            peak: 0,
            limit: 0,
            direct: false,
            reserved: QuickMap::default(),
            recordings: QuickMap::default(),
        };
        let pieces = |slab: u64| (0..SLAB as u64 / 1024).map(move |number| slab + number * 1024);
        let free: Vec<u64> = pieces(0x10_0000_0000).skip(1).chain(pieces(0x10_0020_0000)).collect();
        state.small.insert(1024, free);
        let mut given = state.drain();
        given.sort_by_key(|piece| piece.address);
        let expected = [(0x10_0020_0000, SLAB), (0x20_0000_0000, 4 << 20)];
        assert_eq!(given, expected.map(|(address, size)| Piece { address, size }));
        assert_eq!((state.held, state.slabs.len(), state.small[&1024].len()), (SLAB, 1, SLAB / 1024 - 1));
        assert_eq!(state.drain(), []);
    }

    #[test]
    fn large_pieces_are_taken_if_they_fit_well() {
        let mut state = State {
            small: QuickMap::default(),
            slabs: BTreeMap::new(),
            large: BTreeMap::from([(16 << 20, vec![1, 2])]),
            held: 32 << 20,
            in_use: 0,
            peak: 0,
            limit: 0,
            direct: false,
            reserved: QuickMap::default(),
            recordings: QuickMap::default(),
        };
        assert_eq!(state.take(8 << 20), None);
        assert_eq!(state.take(18 << 20), None);
        assert_eq!(state.take(15 << 20), Some(Piece { address: 2, size: 16 << 20 }));
        assert_eq!(state.take(16 << 20), Some(Piece { address: 1, size: 16 << 20 }));
        assert_eq!(state.take(16 << 20), None);
    }
}
